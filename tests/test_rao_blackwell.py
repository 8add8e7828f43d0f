"""The Rao-Blackwell estimator: its terms against thresholds found by solving again, its mean against exact values."""

import itertools

import numpy as np
import pytest
from contract import close, everything, perturbed_items, same
from exact_values import argmax_exact
from scipy import stats

import perturbed as pt

NOISES = {
    "normal": (pt.Normal(), stats.norm),
    "gumbel": (pt.Gumbel(), stats.gumbel_r),
    "centered": (pt.Gumbel(centered=True), stats.gumbel_r(loc=-np.euler_gamma)),
    "laplace": (pt.Laplace(), stats.laplace),
    "logistic": (pt.Logistic(), stats.logistic),
}
COMPLETE = list(itertools.combinations(range(5), 2))
SPARSE = [(0, 1), (1, 2), (1, 2), (0, 2), (3, 2), (3, 4), (5, 4), (5, 3), (6, 5)]
ROADS = [(0, 1), (1, 2), (2, 0), (0, 3), (3, 1), (2, 5), (3, 4), (4, 5), (2, 5)]
FORWARD = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (2, 4), (1, 3)]
SOLVERS = {
    "argmax": (pt.Argmax(), (5,)),
    "argmax long": (pt.Argmax(), (300,)),
    "top 2": (pt.TopK(2), (6,)),
    "top 9": (pt.TopK(9), (12,)),
    "all": (pt.TopK(4), (4,)),
    "ordered": (pt.TopK(2, ordered=True), (6,)),
    "ordered, all": (pt.TopK(4, ordered=True), (4,)),
    "ranking": (pt.Ranking(), (5,)),
    "ranking down": (pt.Ranking(descending=True), (6,)),
    "permutation": (pt.Permutation(), (4,)),
    "permutation down": (pt.Permutation(descending=True), (5,)),
    "warping": (pt.DTW(), (3, 4)),
    "warping in a band": (pt.DTW(band=1), (4, 5)),
    "states": (pt.Viterbi([[0.5, -1.0, 0.2], [-0.3, 0.0, -np.inf], [1.0, -0.2, 0.1]]), (4, 3)),
    "states, each": (pt.Viterbi(np.random.default_rng(7).normal(size=(3, 3, 3))), (4, 3)),
    "edges": (pt.Viterbi(), (3, 2, 2)),
    "alignment": (pt.Alignment("local", gap_open=0.3, gap_extend=0.1), (4, 5)),
    "alignment, learned": (pt.Alignment("local"), (3, 4, 3)),
    "alignment, transitions": (pt.Alignment("local", transitions=True), (2, 3, 9)),
    "alignment end to end": (pt.Alignment("global", gap_open=0.3, gap_extend=0.1), (4, 3)),
    "alignment end to end, learned": (pt.Alignment("global"), (3, 3, 3)),
    "alignment with free ends": (pt.Alignment("semiglobal", gap_open=0.5, free_ends=("query",)), (3, 4)),
    "alignment with free ends, learned": (pt.Alignment("semiglobal"), (3, 3, 3)),
    "grid": (pt.GridPath(), (3, 3)),
    "grid of 4 neighbours": (pt.GridPath(neighbors=4, source=(1, 0), target=(2, 2)), (3, 4)),
    "one way": (pt.GridPath(), (1, 3)),
    "roads": (pt.GraphPath(ROADS, source=0, target=5), (9,)),
    "roads both ways": (pt.GraphPath(ROADS, source=0, target=5, directed=False), (9,)),
    "crossings": (pt.GraphPath(ROADS, source=0, target=5, weights="node"), (6,)),
    "no way back": (pt.GraphPath(FORWARD, source=0, target=4), (7,)),
    "stations": (pt.GraphPath(FORWARD, source=0, target=4, weights="node"), (5,)),
    "tree": (pt.SpanningForest(edges=COMPLETE), (10,)),
    "forest": (pt.SpanningForest(3, edges=COMPLETE), (10,)),
    "no edges": (pt.SpanningForest(5, edges=COMPLETE), (10,)),
    "sparse forest": (pt.SpanningForest(2, edges=SPARSE), (9,)),
    "assignment": (pt.Assignment(), (4, 4)),
    "wide assignment": (pt.Assignment(), (3, 5)),
    "tall assignment": (pt.Assignment(), (5, 2)),
}
CLIPPED = ["grid", "grid of 4 neighbours", "roads", "roads both ways", "crossings"]
TWICE = "alignment with free ends, learned"
PATHS = ["warping", "warping in a band", "states", "states, each", "edges"]
PATHS += [name for name in SOLVERS if name.startswith("alignment")]


def breaks(solver, item, j):
    """Where entry j of an item may switch the solution: of a path by its values, else at the others."""
    if isinstance(solver, pt.DTW | pt.Viterbi | pt.Alignment):
        low, high = line(solver, item, j, -100.0), line(solver, item, j, 100.0)
        return np.array(corners(solver, item, j, low, high))
    if isinstance(solver, pt.GridPath | pt.GraphPath) and solver not in (
        SOLVERS["no way back"][0],
        SOLVERS["stations"][0],
    ):
        return clipped_threshold(solver, item.astype(np.float64), j)
    if isinstance(solver, pt.SpanningForest | pt.Assignment | pt.GraphPath):
        return threshold(solver, item.astype(np.float64), j)
    others = np.delete(item.reshape(-1), j)
    return np.unique(others[np.isfinite(others)])[-2 if item.size > 100 else 0 :]  # of the long argmax: at the largest


def line(solver, item, j, x):
    """Uses of entry j in the best solution where it is x, and what that has from the others."""
    item = item.astype(np.float64)
    item.flat[j] = x
    uses = solver(item).flat[j]
    return uses, solver.value(item) - uses * x


def corners(solver, item, j, low, high):
    """Where the uses of entry j go up between two lines, of which one may lie above their meeting point."""
    if low[0] == high[0]:
        return []
    at = (low[1] - high[1]) / (high[0] - low[0])
    between = line(solver, item, j, at)
    if between[0] * at + between[1] < low[0] * at + low[1] + 1e-9:
        return [at]
    return corners(solver, item, j, low, between) + corners(solver, item, j, between, high)


def threshold(solver, item, j):
    """The best value without entry j, less what the best solution with it has from the others."""
    low, high = -1e3, 1e3
    without, with_it = moved(solver, item, j, low), moved(solver, item, j, high)
    if without.flat[j] == 1 or with_it.flat[j] == 0:
        return np.array([])
    others = np.where(np.isfinite(item), item, 0)
    others.flat[j] = 0
    return np.array([((without - with_it) * others).sum()])


def clipped_threshold(solver, item, j):
    """The same of costs cut at 0: an entry is worth most where its cost is 0."""
    without, with_it = moved(solver, item, j, -1e3), moved(solver, item, j, 0.0)
    if without.flat[j] == 1 or with_it.flat[j] == 0:
        return np.array([])
    others = np.where(np.isfinite(item), np.minimum(item, 0), 0)
    others.flat[j] = 0
    return np.minimum([((without - with_it) * others).sum()], 0)


def moved(solver, item, j, value):
    item = item.copy()
    item.reshape(-1)[j] = value
    return solver(item).astype(np.float64)


def terms(solver, theta, items, distribution, width, g=None):
    """One term a draw, from scratch: solve with theta'_j in each interval between two breaks."""
    result = []
    for item in items:
        own = solver(item).astype(np.float64)
        term = own.copy() if g is None else np.zeros(theta.shape)
        for j in range(theta.size):
            if not np.isfinite(theta.flat[j]) or width.flat[j] == 0:
                continue
            at = breaks(solver, item, j)
            edges = np.concatenate([[at[0] - 2], at, [at[-1] + 2]]) if at.size else np.array([-1.0, 1.0])
            ys = [moved(solver, item, j, x) for x in (edges[1:] + edges[:-1]) / 2]
            u = (at - theta.flat[j]) / width.flat[j]
            if g is None:
                chance = np.diff(np.concatenate([[0], distribution.cdf(u), [1]]))
                mean = sum(p * y for p, y in zip(chance, ys, strict=True))
                column = np.zeros(theta.size, bool)
                column[j] = True
                column = np.broadcast_to(column.reshape(theta.shape), own.shape)
                term[column] = mean[column]
            else:
                jumps = [float(np.sum(g * (b - a))) for a, b in itertools.pairwise(ys)]
                term.flat[j] = (distribution.pdf(u) * jumps).sum() / width.flat[j]
        result.append(term)
    return np.array(result)


def close_errors(got, want, dtype):
    """Equal within the rounding of a difference of squares."""
    assert got.dtype == dtype
    np.testing.assert_allclose(
        got, want, rtol=1e-6 if dtype == np.float64 else 2e-3, atol=1e-7 if dtype == np.float64 else 2e-4
    )


# one noise is enough for the long item, which takes another path through the solver alone
CASES = [(name, noise) for name, (_, item) in SOLVERS.items() for noise in NOISES if item[0] < 100 or noise == "normal"]


@pytest.mark.parametrize(("name", "noise"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_terms_are_what_solving_again_finds(name, noise, dtype):
    solver, item = SOLVERS[name]
    noise_object, distribution = NOISES[noise]
    rng = np.random.default_rng(5)
    theta = rng.normal(size=item).astype(dtype)
    scale = np.ones(item)
    if item[0] < 100:
        scale = rng.uniform(0.5, 1.5, item)
        scale.flat[0] = 0
        if name not in ("all", "ordered, all", "one way") and "ranking" not in name and "permutation" not in name:
            theta.flat[4 if "learned" in name else 1] = -np.inf  # a gap, but not the one that counts twice
    noise_object = type(noise_object)(**({"centered": True} if noise == "centered" else {}), scale=scale)
    options = {"noise": noise_object, "epsilon": 0.7, "samples": 4, "seed": 3}
    items = perturbed_items(theta, len(item), **options)[0]
    width = 0.7 * scale.reshape(-1)
    est = pt.Perturbed(solver, estimator="rao_blackwell", **options).estimate(theta)
    assert est.method == "rao_blackwell"
    g = rng.normal(size=est.y.shape).astype(dtype)
    want = terms(solver, theta, items, distribution, width)
    close(est.y, want.mean(0), dtype)
    close_errors(est.y_stderr, want.std(0, ddof=1) / 2, dtype)
    want = terms(solver, theta, items, distribution, width, g.astype(np.float64))
    close(est.vjp(g), want.mean(0), dtype)
    close_errors(est.vjp_stderr(g), want.std(0, ddof=1) / 2, dtype)


@pytest.mark.parametrize("name", ["argmax", "top 2", "ranking", "permutation down", "ordered"])
def test_masked_entries_have_no_place(name):
    solver, item = SOLVERS[name]
    mask = np.ones(item, bool)
    mask[1] = False
    theta = np.random.default_rng(0).normal(size=item)
    layer = pt.Perturbed(solver, estimator="rao_blackwell", samples=500, seed=0)
    y, pullback = layer.vjp(theta, mask=mask)
    assert (y[..., 1] == 0).all()
    grad = pullback(np.random.default_rng(1).normal(size=y.shape))
    assert grad[1] == 0
    # the same as the item without that entry
    expected = pt.Perturbed(solver, estimator="score", samples=200_000, seed=1).estimate(np.delete(theta, 1))
    rest = np.delete(y, 1, axis=-1)
    if rest.shape != expected.y.shape:  # a permutation's last row is empty
        rest = rest[: expected.y.shape[0]]
    assert np.abs(rest - expected.y).max() < 0.05


@pytest.mark.parametrize("noise", ["normal", "gumbel", "laplace", "logistic"])
def test_argmax_is_unbiased(noise):
    theta, g = np.array([0.3, -0.5, 0.9, 0.0, 0.4]), np.array([1.0, -2.0, 0.5, 0.3, -0.7])
    p, _, jacobian = argmax_exact(theta, 0.7, NOISES[noise][1])
    layer = pt.Perturbed(pt.Argmax(), noise=noise, epsilon=0.7, estimator="rao_blackwell", samples=200_000, seed=1)
    est = layer.estimate(theta)
    assert (np.abs(est.y - p) < 5 * est.y_stderr).all()
    assert (np.abs(est.vjp(g) - jacobian @ g) < 5 * est.vjp_stderr(g)).all()
    # a factor that is off by 2 % shows
    assert (np.abs(1.02 * est.vjp(g) - jacobian @ g) > 5 * est.vjp_stderr(g)).any()


@pytest.mark.slow_under_sanitizer
@pytest.mark.parametrize("noise", ["normal", "gumbel", "laplace", "logistic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "solver",
    [pt.SpanningForest(3), pt.SpanningForest(2, edges=SPARSE), pt.Assignment()],
    ids=["dense", "edges", "pairs"],
)
def test_means_are_those_of_the_score(solver, dtype, noise):
    rng = np.random.default_rng(4)
    theta = rng.normal(size=(9,) if solver == pt.SpanningForest(2, edges=SPARSE) else (6, 6)).astype(dtype)
    theta = theta + theta.T
    options = {"noise": noise, "epsilon": 0.7, "seed": 1}
    a = pt.Perturbed(solver, samples=4_000, **options)
    assert a.estimator == "rao_blackwell"
    a = a.estimate(theta)
    b = pt.Perturbed(solver, samples=160_000, estimator="score", **options).estimate(theta, seed=2)
    g = rng.normal(size=a.y.shape).astype(dtype)
    for x, y, ex, ey in (
        (a.y, b.y, a.y_stderr, b.y_stderr),
        (a.vjp(g), b.vjp(g), a.vjp_stderr(g), b.vjp_stderr(g)),
    ):
        assert (np.abs(x - y) <= 4.5 * np.sqrt(ex**2 + ey**2 + 1e-10)).all()
        assert (np.abs(1.15 * x - y) > 4.5 * np.sqrt(ex**2 + ey**2 + 1e-10)).any()


@pytest.mark.parametrize("k", [1, 3, 6])
def test_a_matrix_is_its_edges(k):
    """And k by row is the solver's; y and gradients of both forms are the same."""
    i, j = np.triu_indices(6, 1)
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(2, 6, 6))
    theta += theta.swapaxes(1, 2)
    options = {"estimator": "rao_blackwell", "samples": 8, "seed": 0}
    dense = pt.Perturbed(pt.SpanningForest(), **options).estimate(theta, k=np.array([k, 2]))
    edges = pt.Perturbed(pt.SpanningForest(k, edges=np.stack([i, j], 1)), **options).estimate(theta[:, i, j])
    g = rng.normal(size=theta.shape)
    same(dense.y[0, i, j], edges.y[0])
    np.testing.assert_allclose(2 * dense.vjp(g)[0, i, j], edges.vjp((g + g.swapaxes(1, 2))[:, i, j])[0], rtol=1e-12)
    assert (dense.vjp(g)[0] != 0).any() == (k < 6)


def test_one_point_and_one_pair_never_change():
    for solver, theta in ((pt.SpanningForest(), [[1.0]]), (pt.Assignment(), [[2.0]])):
        est = pt.Perturbed(solver, estimator="rao_blackwell", samples=3, seed=0).estimate(theta)
        same(est.y, solver(theta))
        assert est.vjp(np.ones((1, 1))) == 0


def test_a_long_assignment_agrees_with_solving_again():
    """More lines than a poll waits for, and thresholds of float32 within its rounding."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(80, 90)).astype(np.float32)
    est = pt.Perturbed(pt.Assignment(), estimator="rao_blackwell", samples=1, epsilon=1e-3, seed=0).estimate(theta)
    (item,) = perturbed_items(theta, 2, noise=pt.Normal(), epsilon=1e-3, samples=1, seed=0)[0]
    y = pt.Assignment()(item)
    for cell in [*np.flatnonzero(y)[:10], *np.flatnonzero(item > 0.5)[:10]]:
        at = threshold(pt.Assignment(), item.astype(np.float64), cell)
        chance = stats.norm.sf((at - theta.flat[cell].astype(np.float64)) / 1e-3)
        np.testing.assert_allclose(est.y.flat[cell], chance[0], atol=2e-3)


def test_constrained_forests_are_left_to_the_score():
    theta, constraints = np.zeros((4, 4)), np.zeros((4, 4), np.int8)
    constraints[0, 1] = constraints[1, 0] = 1
    auto = pt.Perturbed(pt.SpanningForest(2), samples=4, seed=0)
    assert auto.estimate(theta).method == "rao_blackwell"
    assert auto.estimate(theta, constraints=constraints).method == "score"
    assert auto.estimate(theta, constraints=None).method == "rao_blackwell"
    named = pt.Perturbed(pt.SpanningForest(2), estimator="rao_blackwell", samples=4, seed=0)
    message = r"estimator must be one of 'auto', 'score', 'directional' for constrained forests, got 'rao_blackwell'"
    for call in (named, named.value, named.vjp, named.estimate):
        with pytest.raises(ValueError, match=message):
            call(theta, constraints=constraints)
    first = named(theta)  # the refused calls are not counted
    same(first, pt.Perturbed(pt.SpanningForest(2), estimator="rao_blackwell", samples=4, seed=0)(theta))
    loss = pt.FenchelYoungLoss(auto)
    y = pt.SpanningForest(2)(theta, constraints=constraints)
    score = pt.FenchelYoungLoss(pt.Perturbed(pt.SpanningForest(2), estimator="score", samples=4))
    for a, b in zip(
        loss.value_and_grad(theta, y, seed=1, constraints=constraints),
        score.value_and_grad(theta, y, seed=1, constraints=constraints),
        strict=True,
    ):
        same(a, b)


def test_clusters_have_no_thresholds():
    solver = pt.SpanningForest(2, output="clusters")
    assert pt.Perturbed(solver).estimator == "score"
    with pytest.raises(ValueError, match=r"estimator must be one of 'auto', .*'score'.* for"):
        pt.Perturbed(solver, estimator="rao_blackwell")


def test_ranking_is_unbiased():
    theta, g = np.array([0.3, -0.5, 0.9, 0.0, 0.4]), np.array([1.0, -2.0, 0.5, 0.3, -0.7])
    d = (theta[:, None] - theta) / 0.7
    ranks = 1 + (stats.norm.cdf(d / np.sqrt(2)) - 0.5 * np.eye(5)).sum(1)
    density = stats.norm.pdf(d / np.sqrt(2)) / np.sqrt(2) / 0.7
    grad = (density * (g[:, None] - g)).sum(1)
    est = pt.Perturbed(pt.Ranking(), epsilon=0.7, estimator="rao_blackwell", samples=200_000, seed=1).estimate(theta)
    assert (np.abs(est.y - ranks) < 5 * est.y_stderr).all()
    assert (np.abs(est.vjp(g) - grad) < 5 * est.vjp_stderr(g)).all()
    assert (np.abs(1.02 * est.vjp(g) - grad) > 5 * est.vjp_stderr(g)).any()


@pytest.mark.slow_under_sanitizer
@pytest.mark.parametrize("noise", ["normal", "gumbel", "laplace", "logistic", pt.Multiplicative(pt.Normal())])
@pytest.mark.parametrize("name", PATHS)
def test_paths_are_unbiased(name, noise):
    solver, item = SOLVERS[name]
    rng = np.random.default_rng(2)
    theta = rng.normal(size=item)
    options = {"noise": noise, "epsilon": 0.8}
    a = pt.Perturbed(solver, estimator="rao_blackwell", samples=40_000, seed=0, **options).estimate(theta)
    b = pt.Perturbed(solver, estimator="score", samples=160_000, seed=1, **options).estimate(theta)
    g = rng.normal(size=item)
    for x, y, ex, ey in (
        (a.y, b.y, a.y_stderr, b.y_stderr),
        (a.vjp(g), b.vjp(g), a.vjp_stderr(g), b.vjp_stderr(g)),
    ):
        error = np.sqrt(ex**2 + ey**2 + 1e-10)  # a cell that no draw took has no stderr
        assert (np.abs(x - y) < 5 * error).all()
        assert (np.abs(1.1 * x - y) > 5 * error).any()


@pytest.mark.slow_under_sanitizer
@pytest.mark.parametrize("noise", ["normal", "gumbel", "laplace", "logistic", pt.Multiplicative(pt.Normal())])
@pytest.mark.parametrize("name", ["no way back", "stations", *CLIPPED])
def test_paths_by_solving_again_are_unbiased(name, noise):
    """Also where about one cost in ten is cut to 0."""
    solver, item = SOLVERS[name]
    rng = np.random.default_rng(2)
    theta, g = rng.normal(-1, 0.4, size=item), rng.normal(size=item)
    options = {"noise": noise, "epsilon": 0.8}
    a = pt.Perturbed(solver, estimator="rao_blackwell", samples=20_000, seed=0, **options).estimate(theta)
    b = pt.Perturbed(solver, estimator="score", samples=320_000, seed=1, **options).estimate(theta)
    for x, y, ex, ey in (
        (a.y, b.y, a.y_stderr, b.y_stderr),
        (a.vjp(g), b.vjp(g), a.vjp_stderr(g), b.vjp_stderr(g)),
    ):
        error = np.sqrt(ex**2 + ey**2 + 1e-10)
        assert (np.abs(x - y) < 5 * error).all()
        assert (np.abs(1.1 * x - y) > 5 * error).any()


@pytest.mark.parametrize("theta", [[[-1.0, 0.3, -1.0], [-2.0, -0.2, -0.1], [-1.0, -0.4, -1.0]], np.zeros((3, 3))])
def test_costs_on_a_plateau(theta):
    """Ties decide where a middle row is often free: chances of many draws, and J by their differences."""
    theta = np.asarray(theta) + 0.4
    layer = pt.Perturbed(pt.GridPath(neighbors=4), epsilon=0.5, estimator="rao_blackwell", samples=20_000, seed=0)
    est = layer.estimate(theta)
    assert est.clipped > 0.3
    many = pt.Perturbed(pt.GridPath(neighbors=4), epsilon=0.5, estimator="score", samples=400_000)
    g, step = np.random.default_rng(0).normal(size=(3, 3)), 0.2
    y = many.estimate(theta, seed=1)
    assert (np.abs(est.y - y.y) < 5 * np.hypot(est.y_stderr, y.y_stderr) + 1e-5).all()
    for cell in ((0, 1), (1, 1), (2, 1)):
        ends = []
        for i, sign in enumerate((-1, 1)):
            moved = theta.copy()
            moved[cell] += sign * step
            ends.append(many.estimate(moved, seed=2 + i))
        slope = ((ends[1].y - ends[0].y) * g).sum() / (2 * step)
        error = np.sqrt(sum((e.y_stderr**2 * g**2).sum() for e in ends)) * 3 / (2 * step)  # cells go together
        assert abs(est.vjp(g)[cell] - slope) < 5 * error + 0.1 * abs(slope)


LENGTHS = {"warping": [(3, 2), (1, 4), (3, 4), (1, 1)], "warping in a band": [(4, 5), (2, 3), (3, 2), (1, 1)]}
LENGTHS |= {"states": [4, 2, 1], "edges": [4, 3, 2]}
LENGTHS |= {"alignment": [(4, 5), (2, 3), (1, 4)], "alignment, learned": [(3, 4), (2, 3), (3, 1)]}
LENGTHS |= {"alignment end to end": [(4, 3), (2, 3), (1, 3)], "alignment end to end, learned": [(3, 3), (2, 3), (3, 1)]}
LENGTHS |= {"alignment with free ends, learned": [(3, 2), (2, 3), (1, 3)], "alignment, transitions": [(2, 3), (1, 3)]}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(LENGTHS))
def test_lengths_and_masks_of_paths(name, dtype):
    solver, item = SOLVERS[name]
    lengths = np.array(LENGTHS[name])
    rng = np.random.default_rng(4)
    theta = rng.normal(size=(len(lengths), *item)).astype(dtype)
    g = rng.normal(size=theta.shape).astype(dtype)
    mask = np.ones(theta.shape, bool)
    mask[0].reshape(-1)[1] = False
    options = {"epsilon": 0.7, "samples": 5, "seed": 3}
    items = perturbed_items(theta, len(item), noise="normal", **options)
    est = pt.Perturbed(solver, estimator="rao_blackwell", **options).estimate(theta, lengths=lengths, mask=mask)
    grad = est.vjp(g)
    for i, size in enumerate(lengths):
        inside = tuple(slice(0, k - (name == "edges")) for k in np.atleast_1d(size))
        closed = np.where(mask[i], theta[i], -np.inf)[inside]
        noisy = np.where(mask[i], items[i], -np.inf)[:, *inside]
        width = np.full(closed.shape, 0.7)
        y, want = np.zeros(item), np.zeros(item)
        y[inside] = terms(solver, closed, noisy, stats.norm, width).mean(0)
        want[inside] = terms(solver, closed, noisy, stats.norm, width, g[i][inside].astype(np.float64)).mean(0)
        close(est.y[i], y, dtype)
        close(grad[i], want, dtype)


@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("noise", ["normal", "gumbel"])
@pytest.mark.parametrize("name", ["top 2", "ranking", "ordered", "warping", "states", "forest", "assignment", TWICE])
def test_standard_errors_are_calibrated(name, noise, sampler):
    solver, item = SOLVERS[name]
    theta = np.random.default_rng(0).normal(size=item)
    layer = pt.Perturbed(solver, noise=noise, sampler=sampler, estimator="rao_blackwell", samples=40, seed=0)
    many = layer.estimate(np.broadcast_to(theta, (3000, *item)))
    g = np.random.default_rng(1).normal(size=many.y.shape[1:])
    all_g = np.broadcast_to(g, many.y.shape)
    for x, error in ((many.y, many.y_stderr), (many.vjp(all_g), many.vjp_stderr(all_g))):
        spread = x.std(0, ddof=1)
        told = np.sqrt((error**2).mean(0))
        seen = spread > 1e-9
        np.testing.assert_allclose(told[seen], spread[seen], rtol=0.1)


def test_jvp_and_jacobian_agree_with_pullbacks():
    rng = np.random.default_rng(0)
    for name, (solver, item) in SOLVERS.items():
        if item[0] > 20:
            continue
        theta = rng.normal(size=(2, *item))
        est = pt.Perturbed(solver, estimator="rao_blackwell", samples=6, seed=0).estimate(theta)
        t, g = rng.normal(size=theta.shape), rng.normal(size=est.y.shape)
        jacobian = est.jacobian()
        assert jacobian.shape == est.y.shape + item, name
        matrix = jacobian.reshape(2, -1, theta[0].size)
        by_rows = np.einsum("rij,ri->rj", matrix, g.reshape(2, -1))
        np.testing.assert_allclose(est.vjp(g).reshape(2, -1), by_rows, atol=1e-12)
        if solver._linear and not solver._clipped:  # of a symmetric J the pullback is as good an estimate
            same(est.jvp(t), est.vjp(t))
        else:
            by_rows = np.einsum("rij,rj->ri", matrix, t.reshape(2, -1))
            np.testing.assert_allclose(est.jvp(t).reshape(2, -1), by_rows, atol=1e-12)


@pytest.mark.parametrize("noise", ["normal", pt.Multiplicative(pt.Normal())], ids=["normal", "multiplicative"])
@pytest.mark.parametrize("name", ["argmax", "ranking", "ranking down", "warping", "forest", "grid"])
def test_gradients_of_values_and_losses(name, noise):
    """y itself, with the solver's sign; of clipped costs and multiplicative noise what the draws themselves tell."""
    solver, item = SOLVERS[name]
    theta, y = (-np.random.default_rng(seed).uniform(0.1, 1, size=(3, *item)) for seed in (0, 1))
    y, options = solver(y), {"noise": noise, "epsilon": 0.7, "samples": 50, "seed": 0}
    layer, plain = (pt.Perturbed(solver, estimator=e, **options) for e in ("rao_blackwell", "score"))
    loss, plain_loss = pt.FenchelYoungLoss(layer, "none"), pt.FenchelYoungLoss(plain, "none")
    est, by_draws = layer.estimate(theta, seed=1), plain.estimate(theta, seed=1)
    got = est.value_grad(), layer.value_and_grad(theta, seed=1)[1], loss.value_and_grad(theta, y, seed=1)[1]
    if noise == "normal" and name not in CLIPPED:
        want = solver._sign * est.y, solver._sign * est.y, solver._sign * (est.y - y)
        assert np.abs(est.y - by_draws.y).max() > 1e-3
    else:
        of_value = by_draws.value_grad()
        want = of_value, of_value, plain_loss.value_and_grad(theta, y, seed=1)[1]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("theta", [[1.0, 2.0, 0.5, 3.0], [-1.0, -2.0, -0.5, -3.0], [1.0, -2.0, 0.0, 3.0]])
@pytest.mark.parametrize("name", ["argmax", "ranking", "ordered"])
def test_multiplicative_noise(name, theta):
    solver, theta, noise = SOLVERS[name][0], np.array(theta), pt.Multiplicative(pt.Normal())
    layer = pt.Perturbed(solver, noise=noise, epsilon=0.6, estimator="rao_blackwell", samples=40_000, seed=0)
    plain = pt.Perturbed(solver, noise=noise, epsilon=0.6, estimator="score", samples=400_000, seed=1)
    a, b = layer.estimate(theta), plain.estimate(theta)
    g = np.random.default_rng(0).normal(size=a.y.shape)
    for x, y, ex, ey in (
        (a.y, b.y, a.y_stderr, b.y_stderr),
        (a.vjp(g), b.vjp(g), a.vjp_stderr(g), b.vjp_stderr(g)),
    ):
        error = np.sqrt(ex**2 + ey**2 + 1e-8)
        assert (np.abs(x - y) <= 5 * error).all()
        assert (np.abs(1.15 * x - y) > 5 * error).any()  # and a factor that is off by so much shows
    assert a.vjp(g)[theta == 0].sum() == 0


@pytest.mark.parametrize("name", ["argmax", "top 9", "ranking", "permutation", "ordered", *PATHS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_is_a_loop_whatever_threads_and_memory(name, dtype):
    solver, item = SOLVERS[name]
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(5, *item)).astype(dtype)
    layer = pt.Perturbed(solver, estimator="rao_blackwell", samples=70, seed=0)
    g = rng.normal(size=solver(theta).shape).astype(dtype)
    t = rng.normal(size=theta.shape).astype(dtype)
    with pt.threads(1):
        whole = everything(layer, theta, g, t, seed=3, row_offset=2)
    with pt.threads(2):
        for key, value in everything(layer, theta, g, t, seed=3, row_offset=2).items():
            same(value, whole[key])
    limit = pt.get_memory_limit()
    pt.set_memory_limit(4096)
    try:
        for key, value in everything(layer, theta, g, t, seed=3, row_offset=2).items():
            same(value, whole[key])
    finally:
        pt.set_memory_limit(limit)
    for i in range(5):
        one = everything(layer, theta[i : i + 1], g[i : i + 1], t[i : i + 1], seed=3, row_offset=2 + i)
        for key, value in one.items():
            assert value[0].tobytes() == whole[key][i].tobytes(), key


@pytest.mark.parametrize(("solver", "noise"), [(pt.Oracle(np.sign), "normal"), (pt.Argmax(), pt.StudentT(5.0))])
def test_what_has_no_thresholds_says_so(solver, noise):
    with pytest.raises(ValueError, match=r"estimator must be one of 'auto', .*'score'.* for"):
        pt.Perturbed(solver, noise=noise, estimator="rao_blackwell")


@pytest.mark.parametrize(("solver", "item"), [(pt.Assignment(), (129, 128)), (pt.DTW(), (257, 256))])
def test_auto_leaves_large_items_to_the_score(solver, item):
    theta = np.random.default_rng(0).normal(size=item)
    assert pt.Perturbed(solver, samples=2, seed=0).estimate(theta).method == "score"
    assert pt.Perturbed(solver, samples=2, seed=0).estimate(theta[:9, :9]).method == "rao_blackwell"
    loss = pt.FenchelYoungLoss(pt.Perturbed(solver, samples=2, seed=0))
    plain = pt.FenchelYoungLoss(pt.Perturbed(solver, samples=2, seed=0, estimator="score"))
    y = solver(theta)
    same(loss.value_and_grad(theta, y)[1], plain.value_and_grad(theta, y)[1])
