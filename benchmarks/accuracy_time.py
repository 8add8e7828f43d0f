"""Time to an error: forward and VJP of jaxopt and optax, compiled, and the least time in which ours are as close.

Each peer counts with its best setting at each M: with and without its control variate, whichever has less error, over
the batch by vmap or by a loop, whichever is faster; compile time is left out. Ours is what "auto" takes, which is exact
in these cases, or a few Rao-Blackwell draws where that is faster. A ratio is the least time of the peers over ours, for
the smallest error of the peers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import perturbed as pt

from . import timing
from .accuracy import rmse
from .peers import jax_peer

ROWS, EPSILONS, SAMPLES, TARGET = 32, (1.0, 0.3), (10, 100, 1000, 10_000), 20.0
LONGEST = 0.1  # seconds: a peer that takes longer is not asked for ten times the draws
SETTINGS: dict[str, tuple[dict[str, bool], ...]] = {
    "jaxopt": ({}, {"loop": True}, {"control": True}),
    "optax": ({}, {"control": True}),  # no loop: see jax_peer
}
OURS: dict[str, dict[str, Any]] = {
    "auto": {},
    **{f"rao_blackwell, M {m}": {"estimator": "rao_blackwell", "samples": m} for m in (1, 2, 4, 8, 16, 32, 64)},
}


@dataclass(frozen=True)
class Case:
    """A solver, its name in jax_peer and the entries of an item."""

    name: str
    solver: pt.Solver
    kind: str
    n: int


CASES = (
    Case("argmax n100", pt.Argmax(), "argmax", 100),
    Case("ranking n100", pt.Ranking(), "ranking", 100),
    Case("top-5 of 20", pt.TopK(5), "top_k", 20),
)


@dataclass(frozen=True)
class Data:
    """A batch, its cotangents and the exact VJP."""

    theta: Any
    g: Any
    exact: Any


def _finished(both: Callable[..., Any], data: Data) -> Callable[[], None]:
    """A call of a compiled function that has ended when it returns."""
    key = jax_peer.key_of(0)

    def run() -> None:
        for x in both(data.theta, key, data.g):
            x.block_until_ready()

    return run


def _peer(case: Case, package: str, epsilon: float, samples: int, data: Data) -> dict[str, Any] | None:
    """The best setting of a peer: its error, and a run to be timed. None where it is not installed."""
    tried = []
    for setting in SETTINGS[package]:
        try:
            both = jax_peer.compiled(package, case.kind, epsilon, samples, getattr(case.solver, "k", 0), **setting)[1]
        except ImportError:
            return None
        seeds = range(16 if samples < 1000 else 2)
        error = rmse(np.array([both(data.theta, jax_peer.key_of(seed), data.g)[1] for seed in seeds]), data.exact)
        run = _finished(both, data)
        seconds = min(timing.once(run) for _ in range(2))
        tried.append({"error": error, "seconds": seconds, "setting": setting, "run": run})
    least = min(one["error"] for one in tried)
    return min((one for one in tried if one["error"] < 1.1 * least), key=lambda one: one["seconds"])


def _ours(case: Case, epsilon: float, data: Data) -> dict[str, dict[str, Any]]:
    """Our choices, each with its error and least time, and a run to be timed."""
    found = {}
    for name, options in OURS.items():
        layer = pt.Perturbed(case.solver, epsilon=epsilon, seed=0, **options)

        def run(layer: pt.Perturbed = layer) -> Any:
            return layer.vjp(data.theta)[1](data.g)

        error = rmse(np.array([run() for _ in range(1 if name == "auto" else 16)]), data.exact)
        found[name] = {"error": error, "seconds": min(timing.spell(run) for _ in range(5)), "run": run}
    return found


def _row(samples: int, peers: dict[str, Any], ours: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Times of the peers and ours in turn, and their ratios."""
    error = min(peer["error"] for peer in peers.values())
    close = [name for name, choice in ours.items() if choice["error"] <= error]
    names = dict.fromkeys(["auto", *([min(close, key=lambda name: ours[name]["seconds"])] if close else [])])
    runs = {name: ours[name]["run"] for name in names} | {name: peer.pop("run") for name, peer in peers.items()}
    times = {name: t / ROWS for name, t in timing.interleave(runs, 1.0, 20, tuple(runs)).items()}
    for name, peer in peers.items():
        peer["seconds"] = times[name]
    theirs = min(times[name] for name in peers)
    choices = {
        name: {"error": ours[name]["error"], "seconds": times[name], "ratio": theirs / times[name]}
        for name in names
        if name in close
    }
    best = max(choices, key=lambda name: choices[name]["ratio"], default=None)
    return {"samples": samples, "peers": peers, "ours": choices, "best": best}


def _measure(case: Case, epsilon: float, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    theta, g = np.random.default_rng(0).standard_normal((2, ROWS, case.n), dtype=np.float32)
    exact = pt.Perturbed(case.solver, epsilon=epsilon, estimator="exact").vjp(theta.astype(np.float64))[1](g)
    data = Data(theta, g, exact)
    tell(f"{case.name}: epsilon {epsilon}, our choices")
    ours, rows, asked = _ours(case, epsilon, data), [], dict.fromkeys(SETTINGS, True)
    for samples in SAMPLES:
        tell(f"{case.name}: epsilon {epsilon}, time to the error of {samples} draws of other packages")
        tried = {name: _peer(case, name, epsilon, samples, data) for name in SETTINGS if asked[name]}
        peers = {name: peer for name, peer in tried.items() if peer is not None}
        if not peers:
            break
        rows.append({"name": case.name, "epsilon": epsilon} | _row(samples, peers, ours))
        asked = {name: name in peers and peers[name]["seconds"] * ROWS < LONGEST for name in SETTINGS}
    return rows


def measure(wanted: list[str], tell: Callable[[str], None]) -> list[dict[str, Any]]:
    cases = [case for case in CASES if not wanted or any(part in case.name for part in wanted)]
    return [row for case in cases for epsilon in EPSILONS for row in _measure(case, epsilon, tell)]


COLUMNS = ("case", "epsilon", "M", "jaxopt RMSE", "us a row", "optax RMSE", "us a row", "`auto` us a row", "ratio",
           "our fastest", "RMSE", "us a row", "ratio")  # fmt: skip


def _line(row: dict[str, Any]) -> list[str]:
    cells = [row["name"], f"{row['epsilon']:g}", f"{row['samples']}"]
    for name in SETTINGS:
        peer = row["peers"].get(name)
        cells += ["", ""] if peer is None else [f"{peer['error']:.2g}", _micro(peer)]
    auto, best = row["ours"].get("auto"), row["ours"].get(row["best"])
    cells += ["", ""] if auto is None else [_micro(auto), _ratio(auto)]
    cells += ["none", "", "", ""] if best is None else [row["best"], f"{best['error']:.1g}", _micro(best), _ratio(best)]
    return cells


def _micro(x: dict[str, Any]) -> str:
    return f"{x['seconds'] * 1e6:.3g}" if x["seconds"] < 1e-3 else f"{x['seconds'] * 1e6:.0f}"


def _ratio(x: dict[str, Any]) -> str:
    return f"{x['ratio']:.2g}" if x["ratio"] < 10 else f"{x['ratio']:.0f}"


def show(rows: list[dict[str, Any]], console: Any) -> None:
    from rich.table import Table

    if not rows:
        console.print("time to an error: neither jaxopt nor optax is installed")
        return
    table = Table(title=f"time to the error of a VJP, batch {ROWS}, float32; ratio of times, target >= {TARGET:g}")
    for name in COLUMNS:
        table.add_column(name.replace("`", ""), justify="left" if name == "case" else "right")
    for row in rows:
        *cells, last = _line(row)
        met = row["best"] is not None and row["ours"][row["best"]]["ratio"] >= TARGET
        table.add_row(*cells, f"[{'green' if met else 'red'}]{last or '-'}[/]")
    console.print(table)
    for samples in SAMPLES:
        ratios = [row["ours"].get(row["best"], {"ratio": 0.0})["ratio"] for row in rows if row["samples"] == samples]
        if ratios:
            console.print(f"M {samples}: least ratio {min(ratios):.1f}", highlight=False)


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The table for the docs."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|" + "---|" * (len(COLUMNS) - 1)]
    return "\n".join(lines + [f"| {' | '.join(_line(row))} |" for row in rows]) + "\n"
