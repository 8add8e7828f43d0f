"""SciPy and igraph: one spanning tree a draw, less its lightest edges, noise and sums in NumPy.

JAX: Kruskal's algorithm as a scan over sorted edges with the points' labels as its state, all draws at once, the way of
Stewart et al. 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Solve = Callable[[Array], Any]  # weights of the pairs i < j, row by row -> indices of the forest's edges


def scipy_solver(n: int, k: int) -> Solve:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    i, j = np.triu_indices(n, 1)
    start = np.searchsorted(i, np.arange(n + 1)).astype(np.int32)
    graph = csr_array((np.ones(len(j)), j.astype(np.int32), start), shape=(n, n))
    number = np.zeros((n, n), np.int64)
    number[i, j] = np.arange(len(i))

    def solve(weights: Array) -> Array:
        np.subtract(float(weights.max()) + 1, weights, out=graph.data)  # costs > 0: it takes 0 for no edge
        tree = minimum_spanning_tree(graph).tocoo()
        kept = np.argpartition(tree.data, n - k - 1)[: n - k]
        found: Array = number[tree.row[kept], tree.col[kept]]
        return found

    return solve


def igraph_solver(n: int, k: int) -> Solve:
    import igraph

    graph = igraph.Graph.Full(n)  # its edges are the pairs i < j, row by row

    def solve(weights: Array) -> Array:
        tree = np.array(graph.spanning_tree((-weights).tolist(), return_tree=False))
        found: Array = tree[np.argpartition(-weights[tree], n - k - 1)[: n - k]]
        return found

    return solve


def build(make: Callable[..., Solve], theta: Array, g: Array, k: int, epsilon: float, samples: int) -> dict[str, Any]:
    rows, n, _ = theta.shape
    i, j = np.triu_indices(n, 1)
    solve, generator = make(n, k), np.random.Generator(np.random.SFC64(0))
    pairs, g_pairs = theta[:, i, j], g[:, i, j] + g[:, j, i]

    def matrix(x: Array) -> Array:
        out = np.zeros((rows, n, n), np.float32)
        out[:, i, j] = out[:, j, i] = x
        return out

    def run(with_vjp: bool) -> tuple[Array, Array]:
        y, grad = np.zeros_like(pairs), np.zeros_like(pairs)
        weights = np.zeros(samples, np.float32)
        for b in range(rows):
            z = generator.standard_normal((samples, len(i)), dtype=np.float32)
            noisy = pairs[b] + np.float32(epsilon) * z
            for m in range(samples):
                edges = solve(noisy[m])
                y[b, edges] += 1
                if with_vjp:
                    weights[m] = g_pairs[b, edges].sum()
            if with_vjp:
                grad[b] = weights @ z
        return matrix(y / np.float32(samples)), matrix(grad / np.float32(2 * samples * epsilon))

    return {"forward": lambda: run(False)[0], "forward+vjp": lambda: run(True)}


def build_jax(theta: Array, g: Array, k: int, epsilon: float, samples: int) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    rows, n, _ = theta.shape
    i, j = (jnp.asarray(x) for x in np.triu_indices(n, 1))

    def forest(weights: Any) -> Any:
        order = jnp.argsort(-weights)

        def step(state: Any, e: Any) -> Any:
            labels, left = state
            a, b = labels[i[e]], labels[j[e]]
            take = (a != b) & (left > 0)
            return (jnp.where(take & (labels == b), a, labels), left - take), take

        _, taken = jax.lax.scan(step, (jnp.arange(n), n - k), order)
        return jnp.zeros(len(weights)).at[order].set(taken.astype(jnp.float32))

    def matrix(x: Any) -> Any:
        out = jnp.zeros((rows, n, n)).at[:, i, j].set(x)
        return out.at[:, j, i].set(x)

    @jax.jit
    def run(theta: Any, g: Any, key: Any) -> Any:
        z = jax.random.normal(key, (rows, samples, len(i)))
        y = jax.vmap(jax.vmap(forest))(theta[:, i, j][:, None] + epsilon * z)
        weights = jnp.einsum("bme,be->bm", y, g[:, i, j] + g[:, j, i])
        return matrix(y.mean(1)), matrix(jnp.einsum("bm,bme->be", weights, z) / (2 * samples * epsilon))

    theta_j, g_j, key = jnp.asarray(theta), jnp.asarray(g), jax.random.key(0, impl="rbg")
    return {
        "forward": lambda: run(theta_j, g_j, key)[0].block_until_ready(),
        "forward+vjp": lambda: jax.block_until_ready(run(theta_j, g_j, key)),
    }
