"""NumPy: chunks of draws of one row that stay in cache; the fastest bit generator; float32 throughout.

With workers, tasks are shared out over a thread pool, each thread with its own generator: NumPy lets go of the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

CHUNK = 2**16  # floats: 256 kB
Array = np.ndarray[Any, np.dtype[Any]]
Step = Callable[[Array, "Array | None"], "tuple[Array, Array | None]"]  # perturbed, g -> sum of y, <g, y> of each draw


def argmax_step(x: Array, g: Array | None) -> tuple[Array, Array | None]:
    best = x.argmax(axis=1)
    return np.bincount(best, minlength=x.shape[1]), None if g is None else g[best]


def top_k_step(k: int) -> Step:
    def step(x: Array, g: Array | None) -> tuple[Array, Array | None]:
        best = x.argpartition(x.shape[1] - k, axis=1)[:, -k:]
        return np.bincount(best.ravel(), minlength=x.shape[1]), None if g is None else g[best].sum(axis=1)

    return step


def ranking_step(x: Array, g: Array | None) -> tuple[Array, Array | None]:
    ranks = np.empty_like(x)
    np.put_along_axis(ranks, x.argsort(axis=1), np.arange(1, x.shape[1] + 1, dtype=x.dtype)[None], axis=1)
    return ranks.sum(axis=0), None if g is None else ranks @ g


def build(step: Step, theta: Array, g: Array, epsilon: float, samples: int, workers: int = 1) -> dict[str, Any]:
    rows, n = theta.shape
    chunk = max(1, min(samples, CHUNK // n))
    tasks = [(b, m, min(samples, m + chunk)) for b in range(rows) for m in range(0, samples, chunk)]
    generators = [np.random.Generator(np.random.SFC64(w)) for w in range(workers)]
    eps = np.float32(epsilon)

    def share(w: int, g: Array | None) -> tuple[Array, Array]:
        y, grad = np.zeros_like(theta), np.zeros_like(theta)
        noise, perturbed = np.empty((chunk, n), np.float32), np.empty((chunk, n), np.float32)
        for b, m, stop in tasks[w::workers]:
            z, x = noise[: stop - m], perturbed[: stop - m]
            generators[w].standard_normal(out=z, dtype=np.float32)
            np.multiply(z, eps, out=x)
            x += theta[b]
            total, weights = step(x, None if g is None else g[b])
            y[b] += total
            if weights is not None:
                grad[b] += weights @ z
        return y, grad

    pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def run(g: Array | None) -> tuple[Array, Array]:
        parts = [share(0, g)] if pool is None else list(pool.map(lambda w: share(w, g), range(workers)))
        return sum(p[0] for p in parts) / np.float32(samples), sum(p[1] for p in parts) / (samples * eps)

    return {"forward": lambda: run(None)[0], "forward+vjp": lambda: run(g)}
