"""SciPy and rustworkx on an undirected graph built once: one shortest path a draw, with the draw's weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Solve = Callable[[Array], Array]  # costs of edges -> edges of the cheapest path from the first to the last node


def scipy_solver(edges: Array, nodes: int) -> Solve:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    tails, heads = np.concatenate([edges, edges[:, ::-1]]).T
    order = np.lexsort((heads, tails))
    start = np.searchsorted(tails[order], np.arange(nodes + 1)).astype(np.int32)
    edge = np.tile(np.arange(len(edges)), 2)[order]
    graph = csr_array((np.ones(len(order)), heads[order].astype(np.int32), start), shape=(nodes, nodes))

    def solve(costs: Array) -> Array:
        graph.data[:] = costs[edge]
        _, before = dijkstra(graph, indices=0, return_predecessors=True)
        at, path = nodes - 1, []
        while at:
            tail = int(before[at])
            k = start[tail] + np.searchsorted(graph.indices[start[tail] : start[tail + 1]], at)
            path.append(edge[k])
            at = tail
        return np.array(path)

    return solve


def rustworkx_solver(edges: Array, nodes: int) -> Solve:
    import rustworkx

    graph = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from([(t, h, e) for e, (t, h) in enumerate(edges.tolist())])
    last = nodes - 1

    def solve(costs: Array) -> Array:
        weight_of = costs.tolist().__getitem__  # an edge's payload is its index
        path = list(rustworkx.dijkstra_shortest_paths(graph, 0, target=last, weight_fn=weight_of)[last])
        return np.array([graph.get_edge_data(a, b) for a, b in pairwise(path)])

    return solve


SOLVERS = {"scipy": scipy_solver, "rustworkx": rustworkx_solver}


def build(
    package: str, edges: Array, nodes: int, theta: Array, g: Array, epsilon: float, samples: int
) -> dict[str, Any]:
    solve, generator = SOLVERS[package](edges, nodes), np.random.Generator(np.random.SFC64(0))

    def run(with_vjp: bool) -> tuple[Array, Array | None]:
        y, weights = np.zeros_like(theta), np.zeros(samples, np.float32)
        z = generator.standard_normal((samples, len(theta)), dtype=np.float32)
        costs = np.maximum(-(theta + np.float32(epsilon) * z), 1e-12).astype(np.float64)  # a stored 0 is no edge there
        for m in range(samples):
            path = solve(costs[m])
            y[path] += 1
            weights[m] = g[path].sum()
        return y / np.float32(samples), weights @ z / np.float32(samples * epsilon) if with_vjp else None

    return {"forward": lambda: run(False)[0], "forward+vjp": lambda: run(True)}
