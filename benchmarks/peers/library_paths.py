"""SciPy and rustworkx: one shortest path a draw, over a graph built once whose weights are those of the heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Solve = Callable[[Array], Any]  # costs of the cells -> cells of the heaviest path, corner to corner


def edges(h: int, w: int) -> tuple[Array, Array]:
    """Tails and heads of the moves to 8 neighbours, tail by tail."""
    cells = np.arange(h * w).reshape(h, w)
    padded = np.pad(cells, 1, constant_values=-1)
    around = [padded[1 + i : 1 + i + h, 1 + j : 1 + j + w] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    heads = np.stack(around, axis=-1).reshape(h * w, 8)
    tails = np.broadcast_to(np.arange(h * w)[:, None], heads.shape)
    return tails[heads >= 0], heads[heads >= 0]


def scipy_solver(h: int, w: int) -> Solve:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    tails, heads = edges(h, w)
    start = np.searchsorted(tails, np.arange(h * w + 1)).astype(np.int32)
    graph = csr_array((np.ones(len(heads)), heads.astype(np.int32), start), shape=(h * w, h * w))

    def solve(costs: Array) -> list[int]:
        graph.data[:] = costs[heads]
        _, before = dijkstra(graph, indices=0, return_predecessors=True)
        at, path = h * w - 1, [h * w - 1]
        while at:
            at = int(before[at])
            path.append(at)
        return path

    return solve


def rustworkx_solver(h: int, w: int) -> Solve:
    import rustworkx

    tails, heads = edges(h, w)
    graph = rustworkx.PyDiGraph(multigraph=False)
    graph.add_nodes_from(range(h * w))
    graph.add_edges_from(list(zip(tails.tolist(), heads.tolist(), heads.tolist(), strict=True)))
    last = h * w - 1

    def solve(costs: Array) -> Any:
        weight_of = costs.tolist().__getitem__  # an edge's payload is its head
        paths = rustworkx.digraph_dijkstra_shortest_paths(graph, 0, target=last, weight_fn=weight_of)
        return list(paths[last])

    return solve


SOLVERS = {"scipy": scipy_solver, "rustworkx": rustworkx_solver}


def build(package: str, theta: Array, g: Array, epsilon: float, samples: int) -> dict[str, Any]:
    rows, h, w = theta.shape
    solve, generator = SOLVERS[package](h, w), np.random.Generator(np.random.SFC64(0))
    flat, g_flat = theta.reshape(rows, -1), g.reshape(rows, -1)

    def run(with_vjp: bool) -> tuple[Array, Array]:
        y, grad = np.zeros_like(flat), np.zeros_like(flat)
        weights = np.zeros(samples, np.float32)
        for b in range(rows):
            z = generator.standard_normal((samples, h * w), dtype=np.float32)
            costs = np.maximum(-(flat[b] + np.float32(epsilon) * z), 0).astype(np.float64)
            for m in range(samples):
                path = solve(costs[m])
                y[b, path] += 1
                if with_vjp:
                    weights[m] = g_flat[b, path].sum()
            if with_vjp:
                grad[b] = weights @ z
        return (y / np.float32(samples)).reshape(theta.shape), grad.reshape(theta.shape) / np.float32(samples * epsilon)

    return {"forward": lambda: run(False)[0], "forward+vjp": lambda: run(True)}


def build_loss(package: str, theta: Array, y_true: Array, epsilon: float, samples: int) -> dict[str, Any]:
    """Fenchel-Young loss of a batch and its gradient, from the same shortest paths."""
    rows, h, w = theta.shape
    solve, generator = SOLVERS[package](h, w), np.random.Generator(np.random.SFC64(0))
    flat, target = theta.reshape(rows, -1), y_true.reshape(rows, -1)

    def run() -> tuple[Array, Any]:
        grad, value = np.zeros_like(flat), 0.0
        z = generator.standard_normal((rows, samples, h * w), dtype=np.float32)
        costs = np.maximum(-(flat[:, None] + np.float32(epsilon) * z), 0).astype(np.float64)
        for b in range(rows):
            for m in range(samples):
                path = solve(costs[b, m])
                grad[b, path] += 1
                value -= costs[b, m, path].sum()
        value += np.einsum("bj,bmj->", target.astype(np.float64), costs)
        grad = (grad / np.float32(samples) - target) / np.float32(rows)
        return grad.reshape(theta.shape), value / (rows * samples)

    return {"value_and_grad": run}
