"""Rao-Blackwell terms of alignments against all alignments: where an entry is used 0, 1 or 2 times, what changes."""

from itertools import pairwise

import numpy as np
import pytest
from contract import close, perturbed_items
from scipy import stats
from test_alignment import SOLVERS, integers, options, table

import perturbed as pt

LEARNED = [name for name, solver in SOLVERS.items() if options(solver)[1] == 3 and solver.mode != "local"]
SHAPES = [(1, 1), (1, 4), (4, 1), (2, 3), (3, 3), (4, 4)]


def uses(solver, item, g, j):
    """[(k, from where, <g, y>)]: the numbers of uses of entry j that are best somewhere, as its own score grows."""
    _, used, fixed = table(solver, *item.shape[:2])
    open_ = np.isfinite(item.ravel())
    rest = used[:, open_] @ item.ravel()[open_].astype(np.float64) + fixed
    rest[(used[:, ~open_] > 0).any(1)] = -np.inf
    rest = rest - used[:, j] * np.float64(item.flat[j])
    along = used @ g.ravel().astype(np.float64)
    best = {k: np.where(used[:, j] == k, rest, -np.inf) for k in np.unique(used[:, j])}
    best = {k: (row.max(), along[row.argmax()]) for k, row in best.items() if row.max() > -np.inf}
    k = min(best)
    found = [(k, -np.inf, best[k][1])]
    while more := [(s, best[s]) for s in best if s > k]:
        at, _, s = min(((best[k][0] - a) / (s - k), -s, s) for s, (a, _) in more)
        k = s
        found.append((k, at, best[k][1]))
    return found


def terms(solver, theta, item, g, epsilon):
    """One draw's terms of y_eps and J^T g, normal noise."""
    y, grad = np.zeros(theta.shape), np.zeros(theta.shape)
    for j in np.flatnonzero(np.isfinite(theta)):
        steps = uses(solver, item, g, j)
        y.flat[j] = steps[0][0]
        for (k, _, before), (s, at, after) in pairwise(steps):
            u = (at - np.float64(theta.flat[j])) / epsilon
            y.flat[j] += (s - k) * stats.norm.sf(u)
            grad.flat[j] += stats.norm.pdf(u) / epsilon * (after - before)
    return y, grad


def feasible(solver, theta):
    try:
        solver(theta)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_terms_are_the_enumerations(name, shape, dtype):
    """Closed entries in some rows, lengths of their own in the last ones."""
    solver, rng = SOLVERS[name], np.random.default_rng(7)
    theta = rng.normal(size=(7, *integers(rng, shape, solver).shape)).astype(dtype)
    for row in theta[2:5]:
        closed = np.where(rng.random(row.shape) < 0.15, -np.inf, row).astype(dtype)
        if feasible(solver, closed):
            row[...] = closed
    g = rng.normal(size=theta.shape).astype(dtype)
    lengths = np.array([shape] * 5 + [rng.integers(0, np.add(shape, 1)) for _ in range(2)])
    call = {"epsilon": 0.8, "samples": 1, "seed": 11}
    items = perturbed_items(theta, solver._item_ndim, noise="normal", **call)[:, 0]
    est = pt.Perturbed(solver, estimator="rao_blackwell", **call).estimate(theta, lengths=lengths)
    y, grad = np.zeros(theta.shape), np.zeros(theta.shape)
    for i, (n, m) in enumerate(lengths):
        if n and m:
            y[i, :n, :m], grad[i, :n, :m] = terms(solver, theta[i, :n, :m], items[i, :n, :m], g[i, :n, :m], 0.8)
    close(est.y, y, dtype)
    close(est.vjp(g), grad, dtype)


@pytest.mark.parametrize("name", LEARNED)
def test_entries_used_twice(name):
    """Opening a gap at (0, 0), at any (0, j) where the target's start is free: at once, and one use after the other."""
    solver, rng = SOLVERS[name], np.random.default_rng(8)
    theta, g = rng.normal(size=(2, 40, 3, 3, 3))
    call = {"epsilon": 0.8, "samples": 1, "seed": 12}
    items = perturbed_items(theta, 3, noise="normal", **call)[:, 0]
    est = pt.Perturbed(solver, estimator="rao_blackwell", **call).estimate(theta)
    grad = est.vjp(g)
    seen = {}
    for i, item in enumerate(items):
        y, slope = terms(solver, theta[i], item, g[i], 0.8)
        close(est.y[i], y, np.float64)
        close(grad[i], slope, np.float64)
        for j in range(27):
            steps = tuple(int(step[0]) for step in uses(solver, item, g[i], j))
            if steps[-1] == 2:
                seen.setdefault((j // 9, j // 3 % 3, j % 3), set()).add(steps)
    free = solver.mode == "semiglobal" and "target" in solver.free_ends
    assert set(seen) == {(0, j, 1) for j in range(3 if free else 1)}
    assert set().union(*seen.values()) >= {(0, 1, 2), (0, 2)}
    assert est.y.max() > 1
