"""Aligners: biotite with scores of each position, and a smooth one in JAX.

parasail has letters for 128 columns only, so it takes no such scores here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def _cells(rows: Array, columns: Array, shape: tuple[int, ...]) -> Array:
    y = np.zeros(shape, np.float32)
    y[rows, columns] = 1
    return y


def biotite_solve(theta: Array, gaps: tuple[int, int], local: bool) -> Any:
    """theta (n, m) of whole numbers -> y; each position is a letter of its own."""
    import biotite.sequence as sequence
    import biotite.sequence.align as align

    n, m = theta.shape
    first, second = sequence.Alphabet(range(n)), sequence.Alphabet(range(m))
    matrix = align.SubstitutionMatrix(first, second, theta.astype(np.int32))
    query, target = sequence.GeneralSequence(first, range(n)), sequence.GeneralSequence(second, range(m))

    def solve() -> Array:
        penalty = (-gaps[0], -gaps[1])
        trace = align.align_optimal(query, target, matrix, gap_penalty=penalty, local=local, max_number=1)[0].trace
        return _cells(*trace[(trace >= 0).all(1)].T, theta.shape)

    return solve


def solves(make: Any, theta: Array, gaps: tuple[int, int], local: bool, repeats: int = 1) -> dict[str, Any]:
    """A loop over the batch, `repeats` solves of each item."""
    ready = [make(item, gaps, local) for item in theta]

    def run() -> Any:
        for _ in range(repeats):
            y = [one() for one in ready]
        return np.stack(y)

    return {"solve": run, "forward+vjp": run}


def smooth(theta: Array, gaps: tuple[float, float]) -> dict[str, Any]:
    """Smooth local alignment with affine gaps, by a scan over anti-diagonals, and its gradient."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no alarms about the time that compiling takes
    import jax
    import jax.numpy as jnp

    n, m = theta.shape[1:]
    i, j = np.mgrid[:n, :m]

    def value(x: Any) -> Any:
        diagonals = jnp.full((n + m - 1, n), -1e9).at[i + j, i].set(x)

        def step(before: Any, scores: Any) -> Any:
            (m2, x2, y2), (m1, x1, y1) = before

            def down(v: Any) -> Any:
                return jnp.concatenate([jnp.full(1, -1e9), v[:-1]])

            matched = scores + jax.nn.logsumexp(jnp.stack([jnp.zeros(n), down(m2), down(x2), down(y2)]), axis=0)
            along = jnp.logaddexp(m1 - gaps[0], x1 - gaps[1])
            up = jax.nn.logsumexp(jnp.stack([down(m1) - gaps[0], down(x1) - gaps[0], down(y1) - gaps[1]]), axis=0)
            return ((m1, x1, y1), (matched, along, up)), matched

        none = (jnp.full(n, -1e9),) * 3
        _, matched = jax.lax.scan(step, (none, none), diagonals)
        return jax.nn.logsumexp(jnp.append(matched.ravel(), 0.0))

    run_all = jax.jit(jax.vmap(jax.value_and_grad(value)))
    given = jnp.asarray(theta)

    def both() -> Any:
        values, posterior = jax.block_until_ready(run_all(given))
        return posterior, values

    return {"forward+vjp": both, "forward": lambda: both()[0]}
