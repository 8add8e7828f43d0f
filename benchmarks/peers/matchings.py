"""SciPy and lap (of lapx): one assignment a draw, noise and sums in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Solve = Callable[[Array], Any]  # costs -> column of each row


def scipy_solver() -> Solve:
    from scipy.optimize import linear_sum_assignment

    return lambda costs: linear_sum_assignment(costs)[1]


def lap_solver(function: str) -> Solve:
    import lap

    solve = getattr(lap, function)
    if function == "lapjvsa":
        return lambda costs: solve(costs, return_cost=False)[:, 1]
    return lambda costs: solve(costs, return_cost=False)[1]


def build(make: Callable[..., Solve], theta: Array, g: Array, epsilon: float, samples: int, **setting: Any) -> Any:
    rows, n, _ = theta.shape
    solve, generator, lines = make(**setting), np.random.Generator(np.random.SFC64(0)), np.arange(n)

    def run(with_vjp: bool) -> tuple[Array, Array]:
        y, grad = np.zeros_like(theta), np.zeros_like(theta)
        weights = np.zeros(samples, np.float32)
        for b in range(rows):
            z = generator.standard_normal((samples, n, n), dtype=np.float32)
            costs = -theta[b] - np.float32(epsilon) * z
            for m in range(samples):
                columns = solve(costs[m])
                y[b, lines, columns] += 1
                if with_vjp:
                    weights[m] = g[b, lines, columns].sum()
            if with_vjp:
                grad[b] = (weights @ z.reshape(samples, n * n)).reshape(n, n)
        return y / np.float32(samples), grad / np.float32(samples * epsilon)

    return {"forward": lambda: run(False)[0], "forward+vjp": lambda: run(True)}
