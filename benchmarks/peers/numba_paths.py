"""Numba: Dijkstra over 8 neighbours with a binary heap, rows in parallel. The noise comes from NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np


def _push(heap_cost: Any, heap_cell: Any, size: int, cost: Any, cell: int) -> int:
    at = size
    while at > 0:
        up = (at - 1) >> 1
        if heap_cost[up] <= cost:
            break
        heap_cost[at], heap_cell[at] = heap_cost[up], heap_cell[up]
        at = up
    heap_cost[at], heap_cell[at] = cost, cell
    return size + 1


def _pop(heap_cost: Any, heap_cell: Any, size: int) -> int:
    """Take the top away; the new size."""
    size -= 1
    cost, cell, at = heap_cost[size], heap_cell[size], 0
    while True:
        down = 2 * at + 1
        if down >= size:
            break
        if down + 1 < size and heap_cost[down + 1] < heap_cost[down]:
            down += 1
        if heap_cost[down] >= cost:
            break
        heap_cost[at], heap_cell[at] = heap_cost[down], heap_cell[down]
        at = down
    heap_cost[at], heap_cell[at] = cost, cell
    return size


def _compiled() -> Any:
    """The batch function: fills y (mean of the paths) and grad (score estimator) of each row."""
    import numba

    jit = numba.njit(fastmath=True, inline="always")
    push, pop = jit(_push), jit(_pop)

    @numba.njit(fastmath=True)
    def search(costs, h, w, distance, before, heap_cost, heap_cell):  # type: ignore[no-untyped-def]
        distance[:] = np.inf
        distance[0], before[0] = costs[0], -1
        size = push(heap_cost, heap_cell, 0, costs[0], 0)
        while size:
            here, cell = heap_cost[0], heap_cell[0]
            size = pop(heap_cost, heap_cell, size)
            if cell == h * w - 1:
                return
            i, j = cell // w, cell % w
            for a in range(max(i - 1, 0), min(i + 2, h)):
                for b in range(max(j - 1, 0), min(j + 2, w)):
                    next_cell = a * w + b
                    through = here + costs[next_cell]
                    if through < distance[next_cell]:
                        distance[next_cell], before[next_cell] = through, cell
                        size = push(heap_cost, heap_cell, size, through, next_cell)

    @numba.njit(parallel=True, fastmath=True)
    def batch(theta, z, epsilon, g, h, w, y, grad):  # type: ignore[no-untyped-def]
        samples, n = z.shape[1], h * w
        for b in numba.prange(theta.shape[0]):
            costs, distance = np.empty(n, np.float32), np.empty(n, np.float32)
            heap_cost, heap_cell = np.empty(8 * n, np.float32), np.empty(8 * n, np.int32)
            before = np.empty(n, np.int32)
            for m in range(samples):
                for c in range(n):
                    costs[c] = max(-(theta[b, c] + epsilon * z[b, m, c]), np.float32(0))
                search(costs, h, w, distance, before, heap_cost, heap_cell)
                cell, weight = n - 1, np.float32(0)
                while cell >= 0:
                    y[b, cell] += np.float32(1) / np.float32(samples)
                    if g.size:
                        weight += g[b, cell]
                    cell = before[cell]
                if g.size:
                    weight /= np.float32(samples) * epsilon
                    for c in range(n):
                        grad[b, c] += weight * z[b, m, c]

    return batch


def build(theta: Any, g: Any, epsilon: float, samples: int, threads: int) -> dict[str, Any]:
    import numba

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    batch, generator = _compiled(), np.random.Generator(np.random.SFC64(0))
    rows, h, w = theta.shape
    flat, g_flat, nothing = theta.reshape(rows, -1), g.reshape(rows, -1), np.empty((0, 0), np.float32)
    z = np.empty((rows, samples, h * w), np.float32)

    def run(g: Any) -> tuple[Any, Any]:
        y, grad = np.zeros_like(flat), np.zeros_like(flat)
        generator.standard_normal(out=z, dtype=np.float32)
        batch(flat, z, np.float32(epsilon), g, h, w, y, grad)
        return y.reshape(theta.shape), grad.reshape(theta.shape)

    return {"forward": lambda: run(nothing)[0], "forward+vjp": lambda: run(g_flat)}
