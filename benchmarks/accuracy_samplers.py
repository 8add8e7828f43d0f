"""What dependent draws gain: error of y and of the VJP at sixteen draws, over that of independent ones.

All estimates are unbiased, so the error is their standard deviation over seeds: no reference is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .accuracy import Row, cotangent, exists, layer_of

SAMPLES, INSTANCES = 16, 3
SAMPLERS = ("iid", "antithetic", "lhs", "sobol")
ESTIMATORS = ("score", "rao_blackwell")


def _spread(x: Any) -> float:
    return float(np.sqrt(x.var(0, ddof=1).mean()))


def _errors(row: Row, estimator: str, epsilon: float, theta: Any, g: Any, seeds: int) -> dict[str, tuple[float, float]]:
    many, all_g = np.broadcast_to(theta, (seeds, *theta.shape)), np.broadcast_to(g, (seeds, *g.shape))
    errors = {}
    for sampler in SAMPLERS:
        est = layer_of(row, epsilon, estimator, SAMPLES, 5, sampler=sampler).estimate(many)
        errors[sampler] = (_spread(est.y), _spread(est.vjp(all_g)))
    return errors


def measure(rows: list[Row], seeds: int, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Ratios by case and estimator: geometric means over instances and epsilons."""
    results = []
    for row in (row for row in rows if not row.name.endswith("n100")):
        for estimator in (name for name in ESTIMATORS if exists(row, name)):
            tell(f"{row.name}: samplers, {estimator}")
            logs: dict[str, list[Any]] = {sampler: [] for sampler in SAMPLERS[1:]}
            for epsilon in row.epsilons:
                for i in range(INSTANCES):
                    rng = np.random.default_rng(100 + i)
                    theta = row.theta(rng)
                    errors = _errors(row, estimator, epsilon, theta, cotangent(row, rng, theta), seeds)
                    for sampler, found in logs.items():
                        found.append(np.log(np.divide(errors[sampler], errors["iid"])))
            ratios = {sampler: np.exp(np.mean(found, 0)).tolist() for sampler, found in logs.items()}
            results.append({"name": row.name, "estimator": estimator, "ratios": ratios})
    return results


def _line(row: dict[str, Any]) -> list[str]:
    numbers = [f"{row['ratios'][sampler][place]:.2f}" for place in (0, 1) for sampler in SAMPLERS[1:]]
    return [row["name"], row["estimator"], *numbers]


def show(results: list[dict[str, Any]], console: Any) -> None:
    from rich.table import Table

    table = Table(title=f"error at {SAMPLES} draws over that of independent draws")
    for name in ("case", "estimator", *(f"{what}, {sampler}" for what in ("y", "VJP") for sampler in SAMPLERS[1:])):
        table.add_column(name, justify="left" if name in ("case", "estimator") else "right")
    for row in results:
        table.add_row(*_line(row))
    console.print(table)


def as_markdown(results: list[dict[str, Any]]) -> str:
    """The table for the docs."""
    names = [f'{what}, `"{sampler}"`' for what in ("y", "VJP") for sampler in SAMPLERS[1:]]
    lines = ["| case | estimator | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for row in results:
        name, estimator, *numbers = _line(row)
        lines.append(f'| {name} | `"{estimator}"` | {" | ".join(numbers)} |')
    return "\n".join(lines) + "\n"
