"""NumPy: a Viterbi pass over all draws of a row at once, draws along the last axis, in one thread or several."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def decode(scores: Array, edges: Array) -> Array:
    """States (steps, draws) of scores (steps, states, draws): values forward, the best states back."""
    steps, states, draws = scores.shape
    values, through = np.empty_like(scores), np.empty((states, states, draws), scores.dtype)
    values[0] = scores[0]
    for t in range(1, steps):
        np.add(values[t - 1][:, None], edges[:, :, None], out=through)
        np.maximum.reduce(through, axis=0, out=values[t])
        values[t] += scores[t]
    path = np.empty((steps, draws), np.intp)
    path[-1] = values[-1].argmax(0)
    for t in range(steps - 1, 0, -1):
        path[t - 1] = (values[t - 1] + edges[:, path[t]]).argmax(0)
    return path


def build(theta: Array, edges: Array, g: Array, epsilon: float, samples: int, workers: int = 1) -> dict[str, Any]:
    rows, steps, states = theta.shape
    seeds = np.random.SeedSequence(0).spawn(rows)
    generators = [np.random.Generator(np.random.SFC64(s)) for s in seeds]
    step = np.arange(steps)[:, None]
    edges = edges.astype(theta.dtype)
    pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def one(b: int, with_vjp: bool) -> tuple[Array, Array | None]:
        z = generators[b].standard_normal((steps, states, samples), dtype=np.float32)
        scores = np.float32(epsilon) * z
        scores += theta[b][:, :, None]
        path = decode(scores, edges)
        y = np.bincount((step * states + path).ravel(), minlength=steps * states).reshape(steps, states)
        y = y.astype(np.float32) / np.float32(samples)
        if not with_vjp:
            return y, None
        weights = g[b][step, path].sum(0)
        return y, z @ (weights / np.float32(samples * epsilon))

    def run(with_vjp: bool) -> tuple[Array, Array | None]:
        jobs = pool.map if pool else map
        found = list(jobs(one, range(rows), [with_vjp] * rows))
        y = np.stack([y for y, _ in found])
        return y, np.stack([grad for _, grad in found]) if with_vjp else None

    return {"forward": lambda: run(False)[0], "forward+vjp": lambda: run(True)}
