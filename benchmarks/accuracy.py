"""Error of the estimators: RMSE of the VJP against the exact value, and against time.

Every ratio is to the best of the three estimators that peers use (plain score, solution baseline, leave-one-out), which
are our own score estimator with that baseline, on the same number of calls of the solver. A directional draw costs two.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

import perturbed as pt

CALLS = 10
REFERENCE = 0.02  # of the smallest RMSE of a row: what the error of a reference that is no exact value stays below
PARTS = ("estimators", "time", "samplers")
PEERS = {"score, no baseline": None, "score, y*(theta)": "solution", "score, leave-one-out": "loo"}


@dataclass(frozen=True)
class Row:
    """One case: `theta(rng)` makes an item; targets by estimator, None where the issue asks for nothing."""

    name: str
    solver: pt.Solver
    theta: Callable[[np.random.Generator], Any]
    targets: dict[str, float | None]
    epsilons: tuple[float, ...] = (0.3, 1.0)
    instances: int = 8


def _symmetric(rng: np.random.Generator) -> Any:
    x = rng.normal(size=(16, 16))
    return np.triu(x, 1) + np.triu(x, 1).T


def _gaps(rng: np.random.Generator) -> Any:
    x = rng.normal(size=(20, 20, 3))
    x[..., 1:] -= 2
    return x


def rows() -> list[Row]:
    def normal(*shape: int) -> Callable[[np.random.Generator], Any]:
        return lambda rng: rng.normal(size=shape)

    def targets(score: float, directional: float | None, smooth: float) -> dict[str, float | None]:
        return {"score": score, "directional": directional, "rao_blackwell": smooth}

    return [
        Row("argmax n10", pt.Argmax(), normal(10), targets(0.95, 0.68, 0.24)),
        Row("argmax n100", pt.Argmax(), normal(100), targets(0.72, 0.38, 0.065), instances=3),
        Row("ranking n10", pt.Ranking(), normal(10), targets(0.95, 0.40, 0.10)),
        Row("ranking n100", pt.Ranking(), normal(100), targets(1.0, 0.125, 0.015), instances=3),
        Row("top-5 of 20", pt.TopK(5), normal(20), targets(0.88, 0.52, 0.165)),
        Row(
            "grid 5x5",
            pt.GridPath(),
            lambda rng: -rng.uniform(0.5, 1.5, size=(5, 5)),
            targets(1.0, None, 0.22),
            epsilons=(0.2, 0.5),
        ),
        Row("alignment 20x20", pt.Alignment("local"), _gaps, targets(0.95, 0.60, 0.35)),
        Row("forest n16 k4", pt.SpanningForest(4), _symmetric, targets(0.95, 0.60, 0.25)),
        Row("assignment n10", pt.Assignment(), normal(10, 10), targets(0.95, 0.60, 0.35)),
    ]


def cotangent(row: Row, rng: np.random.Generator, theta: Any) -> Any:
    """g, symmetric where theta is."""
    return row.theta(rng) if row.name == "forest n16 k4" else rng.normal(size=theta.shape)


def peers_solver(row: Row) -> pt.Solver:
    """What peers see of a grid path: a function. Ours knows that the ends are in every path, their gradient 0."""
    return pt.Oracle(row.solver, item_ndim=2, batched=True) if isinstance(row.solver, pt.GridPath) else row.solver


def layer_of(row: Row, epsilon: float, estimator: str, samples: int, seed: int, **options: Any) -> pt.Perturbed:
    return pt.Perturbed(row.solver, estimator=estimator, epsilon=epsilon, samples=samples, seed=seed, **options)  # type: ignore[arg-type]


def exists(row: Row, estimator: str) -> bool:
    try:
        layer = layer_of(row, 0.5, estimator, 2, 0)
        theta = row.theta(np.random.default_rng(0))
        layer.vjp(theta)[1](np.zeros_like(theta))
    except ValueError:
        return False
    return True


def _gradients(layer: pt.Perturbed, theta: Any, g: Any, seeds: int) -> Any:
    """Estimates of one VJP with `seeds` independent sets of draws."""
    shape = (seeds, *theta.shape)
    estimate = layer.estimate(np.broadcast_to(theta, shape))
    return estimate.vjp(np.broadcast_to(g, shape))


def _reference(row: Row, epsilon: float, theta: Any, g: Any, best: str, draws: int) -> tuple[Any, float]:
    """What errors are measured against: the exact VJP, or a mean of `draws` draws; and its own RMSE by vjp_stderr."""
    if best == "exact":
        return layer_of(row, epsilon, "exact", 1, 0).estimate(theta).vjp(g), 0.0
    seeds, draws = 100, max(draws, int(2 * CALLS / REFERENCE**2))
    shape = (seeds, *theta.shape)
    estimate = layer_of(row, epsilon, best, draws // seeds, 10**6).estimate(np.broadcast_to(theta, shape))
    many_g = np.broadcast_to(g, shape)
    return estimate.vjp(many_g).mean(0), float(np.sqrt(np.mean(estimate.vjp_stderr(many_g) ** 2) / seeds))


def measure_row(row: Row, seeds: int, draws: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """RMSE of each estimator over seeds, as a ratio to the best peer: geometric mean over instances and epsilons."""
    estimators = [name for name in ("score", "directional", "rao_blackwell", "exact") if exists(row, name)]
    best = next(name for name in ("exact", "rao_blackwell", "directional", "score") if name in estimators)
    ratios: dict[str, list[float]] = {name: [] for name in estimators}
    doubt = 0.0
    for epsilon in row.epsilons:
        for i in range(row.instances):
            tell(f"{row.name}: epsilon {epsilon}, instance {i + 1} of {row.instances}")
            rng = np.random.default_rng(i)
            theta = row.theta(rng)
            g = cotangent(row, rng, theta)
            exact, off = _reference(row, epsilon, theta, g, best, draws)
            error = {}
            asked = replace(row, solver=peers_solver(row))
            for name, baseline in PEERS.items():
                layer = layer_of(asked, epsilon, "score", CALLS, 1, baseline=baseline)
                error[name] = rmse(_gradients(layer, theta, g, seeds), exact)
            for name in estimators:
                layer = layer_of(row, epsilon, name, CALLS // 2 if name == "directional" else CALLS, 2)
                error[name] = rmse(_gradients(layer, theta, g, 1 if name == "exact" else seeds), exact)
            peer = min(error[name] for name in PEERS)
            for name in estimators:
                ratios[name].append(error[name] / peer)
            doubt = max(doubt, off / min(error.values()) if off else 0.0)
    return {
        "name": row.name,
        "reference": best,
        "reference_error": doubt,  # over the smallest RMSE, the worst instance
        "targets": row.targets,
        "ratios": {name: float(np.exp(np.mean(np.log(np.maximum(x, 1e-300))))) for name, x in ratios.items()},
    }


def rmse(estimates: Any, exact: Any) -> float:
    return float(np.sqrt(np.mean((estimates - exact) ** 2)))


def measure_time(row: Row, seeds: int, draws: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Error and time of forward and VJP, a batch of 32 rows, for growing M; one instance, the larger epsilon."""
    epsilon, rng = row.epsilons[-1], np.random.default_rng(0)
    theta = row.theta(rng)
    g = cotangent(row, rng, theta)
    estimators = [name for name in ("score", "directional", "rao_blackwell", "exact") if exists(row, name)]
    best = next(name for name in ("exact", "rao_blackwell", "directional", "score") if name in estimators)
    exact = _reference(row, epsilon, theta, g, best, draws)[0]
    batch, many_g = np.broadcast_to(theta, (32, *theta.shape)), np.broadcast_to(g, (32, *g.shape))
    points: dict[str, list[tuple[float, float]]] = {}
    for name in (*PEERS, *estimators):
        tell(f"{row.name}: error against time, {name}")
        estimator, options = ("score", {"baseline": PEERS[name]}) if name in PEERS else (name, {})
        for samples in (10,) if name == "exact" else (4, 16, 64, 256):
            layer = layer_of(row, epsilon, estimator, samples, 3, **options)
            error = rmse(_gradients(layer, theta, g, 1 if name == "exact" else max(32, seeds // 8)), exact)
            points.setdefault(name, []).append((_seconds(layer, batch, many_g) / 32, max(error, 1e-17)))
    return {"name": row.name, "points": points}


def same_time(points: dict[str, list[tuple[float, float]]]) -> float | None:
    """Error of "rao_blackwell" over that of "score" in the same time, geometric mean over its numbers of draws.

    The score's error between its own points: interpolated logarithms; outside of them: as one over the root of time.
    """
    if "rao_blackwell" not in points:
        return None
    seconds, error = np.log(np.array(points["score"])).T
    ratios = []
    for at, own in np.log(np.array(points["rao_blackwell"])):
        inside = np.clip(at, seconds[0], seconds[-1])
        ratios.append(own - np.interp(inside, seconds, error) + 0.5 * (at - inside))
    return float(np.exp(np.mean(ratios)))


def _seconds(layer: pt.Perturbed, theta: Any, g: Any) -> float:
    """Processor time of one thread, the least of some calls: what other processes disturb least."""

    def call() -> float:
        start = process_time()
        layer.vjp(theta)[1](g)
        return process_time() - start

    with pt.threads(1):
        call()
        return min(call() for _ in range(7))


def show(results: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    table = Table(title=f"RMSE of the VJP at {CALLS} calls of the solver, over the best of three peers' estimators")
    for name in ("case", "score", "directional", "rao_blackwell", "exact"):
        table.add_column(name, justify="left" if name == "case" else "right")
    table.add_column("rao_blackwell, same time as score", justify="right")
    table.add_column("error of the reference", justify="right")
    for row, times in zip(results["rows"], results["times"], strict=True):
        cells = []
        for name in ("score", "directional", "rao_blackwell", "exact"):
            ratio, target = row["ratios"].get(name), row["targets"].get(name)
            text = "-" if ratio is None else f"{ratio:.3f}" if ratio > 1e-3 else f"{ratio:.0e}"
            if ratio is not None and target is not None:
                text = f"[{'green' if ratio <= target else 'red'}]{text} (<= {target})[/]"
            cells.append(text)
        same = same_time(times["points"])
        cells.append("-" if same is None else f"[{'green' if same <= 0.5 else 'red'}]{same:.2f} (<= 0.5)[/]")
        doubt = row["reference_error"]
        colour = "green" if doubt < REFERENCE else "red"
        cells.append(f"[{colour}]{100 * doubt:.2f} % of the least[/]" if doubt else "exact")
        table.add_row(row["name"], *cells)
    console.print(table)


def as_markdown(results: dict[str, Any]) -> str:
    """The table for the docs."""
    names = ("score", "directional", "rao_blackwell", "exact")
    heads = " | ".join(f'`"{name}"`' for name in names)
    lines = [f'| case | {heads} | `"rao_blackwell"` in the score\'s time |', "|---|" + "---|" * (len(names) + 1)]
    for row, times in zip(results["rows"], results["times"], strict=True):
        ratios = [row["ratios"].get(name) for name in names]
        cells = ["-" if x is None else "0" if x < 1e-6 else f"{x:.3f}" for x in ratios]
        same = same_time(times["points"])
        cells.append("-" if same is None else f"{same:.2f}")
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(results: dict[str, Any], folder: Path) -> Path:
    """accuracy.png: error against time, a panel a case."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"score": "#7fa9b8", "directional": "#d98c3f", "rao_blackwell": "#1f6f8b", "exact": "#c1440e"}
    cases = results["times"]
    figure, grid = plt.subplots(3, -(-len(cases) // 3), figsize=(11, 9), layout="constrained")
    for axes, case in zip(grid.flat, cases, strict=False):
        for name, points in case["points"].items():
            seconds, error = np.array(points).T
            if name == "exact":
                axes.axvline(seconds[0] * 1e6, color=colours[name], linestyle=":", label=name)
                continue
            style = {"color": colours[name], "marker": "o", "label": name} if name in colours else {"color": "0.75"}
            axes.plot(seconds * 1e6, error, markersize=4, **style)
        axes.set(xscale="log", yscale="log", title=case["name"])
        finite = [e for points in case["points"].values() for _, e in points if e > 1e-12]
        axes.set_ylim(min(finite) / 3, max(finite) * 2)
    grid.flat[0].legend(fontsize=8)
    figure.supxlabel("microseconds a row, forward and VJP (float64, one thread; dotted: exact, no error)")
    figure.supylabel("RMSE of the VJP (grey: peers' estimators, at our speed)")
    path = folder / "accuracy.png"
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path


def _estimators(seeds: int, draws: int, chosen: list[Row], folder: Path, console: Any) -> dict[str, Any]:
    results: dict[str, Any] = {"calls": CALLS, "seeds": seeds, "rows": [], "times": []}
    with console.status("accuracy") as status:
        for row in chosen:
            results["rows"].append(measure_row(row, seeds, draws, status.update))
            results["times"].append(measure_time(row, seeds, draws, status.update))
    show(results, console)
    (folder / "accuracy.md").write_text(as_markdown(results))
    console.print(f"written: {draw(results, folder)}", soft_wrap=True)
    return results


def run(seeds: int, draws: int, wanted: list[str], parts: list[str], folder: Path, console: Any) -> None:
    """Measure the parts asked for; parts of an earlier accuracy.json that are not asked for stay in it."""
    from . import accuracy_samplers, accuracy_time

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "accuracy.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    chosen = [row for row in rows() if not wanted or any(part in row.name for part in wanted)]
    if "time" in parts:  # first: what follows warms the processor
        with console.status("time to an error") as status:
            results["time"] = accuracy_time.measure(wanted, status.update)
        accuracy_time.show(results["time"], console)
        (folder / "accuracy_time.md").write_text(accuracy_time.as_markdown(results["time"]))
    if "samplers" in parts:
        with console.status("samplers") as status:
            results["samplers"] = accuracy_samplers.measure(chosen, min(seeds, 400), status.update)
        accuracy_samplers.show(results["samplers"], console)
        (folder / "samplers.md").write_text(accuracy_samplers.as_markdown(results["samplers"]))
    if "estimators" in parts:
        results |= _estimators(seeds, draws, chosen, folder, console)
    path.write_text(json.dumps(results, indent=1))
    console.print(f"written: {path}", soft_wrap=True)
