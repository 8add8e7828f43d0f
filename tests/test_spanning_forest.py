"""SpanningForest against Kruskal's algorithm, enumeration of all forests, networkx and scipy."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from contract import BASELINES, NOISES, Reference, SolverContract, close, everything, same
from scipy.sparse.csgraph import minimum_spanning_tree

import perturbed as pt

# Five points; two parallel edges, one point with a single edge.
EDGES = np.array([(0, 1), (2, 1), (0, 2), (1, 3), (0, 1), (3, 2), (4, 2)])


def complete(n):
    return np.array(list(combinations(range(n), 2)), dtype=np.int64).reshape(-1, 2)


def matrix(packed, n, diagonal=0.0):
    """Symmetric matrices (..., n, n) of what belongs to the pairs i < j."""
    out = np.full((*packed.shape[:-1], n, n), diagonal, packed.dtype)
    i, j = complete(n).T
    out[..., i, j] = out[..., j, i] = packed
    return out


def connect(n, edges, order, wanted):
    """Take edges in this order unless they close a cycle, until `wanted` are: which, and the tree of each point."""
    tree, taken = np.arange(n), []
    for e in order:
        a, b = tree[edges[e]]
        if a != b and len(taken) < wanted:
            tree[tree == max(a, b)] = min(a, b)
            taken.append(e)
    return taken, tree


def kruskal(n, edges, w, k):
    """0/1 of the edges of the heaviest forest of k trees and each point's tree; None where there is none."""
    order = [e for e in np.argsort(-w, kind="stable") if w[e] > -np.inf]
    taken, tree = connect(n, edges, order, n - k)
    if len(taken) < n - k:
        return None
    y = np.zeros(len(w), w.dtype)
    y[taken] = 1
    return y, tree


class TestEdgeList(SolverContract):
    solver = pt.SpanningForest(2, EDGES)
    item = (len(EDGES),)

    def twin(self, theta):
        return kruskal(5, EDGES, theta, 2)[0]

    def from_repr(self, solver):
        return eval(repr(solver), vars(pt))


class TestTree(SolverContract):
    """k = 1 of a complete graph of 8 points: enough edges for buckets."""

    solver = pt.SpanningForest(edges=complete(8))
    item = (28,)
    plain_sample = 700
    noise_names = ("normal", "multiplicative")

    def twin(self, theta):
        return kruskal(8, complete(8), theta, 1)[0]


# ---- against oracles ----


def forests(n, edges, k):
    """All forests of k trees, as tuples of edges."""
    for taken in combinations(range(len(edges)), n - k):
        if len(connect(n, edges, taken, n)[0]) == n - k:
            yield taken


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_all_forests(n):
    rng = np.random.default_rng(0)
    edges = complete(n)
    for k in range(1, n + 1):
        every = list(forests(n, edges, k))
        for theta in rng.integers(-2, 3, (20, len(edges))).astype(float):  # small integers: exact sums, many ties
            score = [sum(theta[list(f)]) for f in every]
            best = [f for f, s in zip(every, score, strict=True) if s == max(score)]
            # "the heaviest first, and of equal weight by index": the first in that order, edge by edge
            place = np.argsort(np.argsort(-theta, kind="stable"))
            want = min(best, key=lambda f: sorted(place[list(f)]))
            y = np.zeros(len(edges))
            y[list(want)] = 1
            got = pt.SpanningForest(k)(matrix(theta, n))
            np.testing.assert_array_equal(got, matrix(y, n))
            assert pt.SpanningForest(k).value(matrix(theta, n)) == max(score)
            if n > 1:
                np.testing.assert_array_equal(pt.SpanningForest(k, edges)(theta), y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_graph(dtype):
    rng = np.random.default_rng(1)
    none = 0
    for _ in range(250):
        n = int(rng.integers(2, 45))
        edges, k = complete(n), int(rng.integers(1, n + 1))
        w = rng.normal(size=len(edges)) if rng.random() < 0.5 else rng.integers(-2, 3, len(edges))
        w = w.astype(dtype)
        w[rng.random(len(w)) < rng.choice([0, 0.3, 0.9])] = -np.inf
        dense, listed = pt.SpanningForest(k), pt.SpanningForest(k, edges)
        want = kruskal(n, edges, w, k)
        if want is None:
            none += 1
            parts = nx.number_connected_components(nx.Graph(edges[w > -np.inf].tolist())) if (w > -np.inf).any() else 0
            alone = n - len(np.unique(edges[w > -np.inf]))
            words = rf"^theta: no forest of k = {k} trees: its edges leave {parts + alone} parts unconnected$"
            for call in (lambda s=listed, w=w: s(w), lambda s=dense, w=w, n=n: s(matrix(w, n))):
                with pytest.raises(ValueError, match=words):
                    call()
            continue
        y, tree = want
        np.testing.assert_array_equal(listed(w), y)
        np.testing.assert_array_equal(dense(matrix(w, n)), matrix(y, n))
        together = (tree[:, None] == tree).astype(dtype)
        same(pt.SpanningForest(k, edges, output="clusters")(w), together)
        same(pt.SpanningForest(k, output="clusters")(matrix(w, n)), together)
        labels = dense.labels(matrix(y, n))
        np.testing.assert_array_equal(labels[:, None] == labels, together)
        assert [int(x) for x in dict.fromkeys(labels.tolist())] == list(range(k))
        np.testing.assert_array_equal(listed.labels(y), labels)
        np.testing.assert_array_equal(pt.SpanningForest(k, output="clusters").labels(together), labels)
    assert 10 < none < 150


@pytest.mark.parametrize("n", [64, 130, 256, 700])
def test_against_scipy_and_networkx(n):
    rng = np.random.default_rng(2)
    w = rng.normal(size=n * (n - 1) // 2).astype(np.float32)
    theta = matrix(w, n)
    cost = np.triu(10 - theta.astype(np.float64), 1)  # > 0: scipy takes 0 for no edge
    tree = minimum_spanning_tree(cost).toarray() > 0
    np.testing.assert_array_equal(pt.SpanningForest()(theta), tree | tree.T)
    lightest = np.sort(theta[tree])
    np.testing.assert_array_equal(pt.SpanningForest(10)(theta), (tree | tree.T) & (theta > lightest[8]))
    if n < 200:
        graph = nx.from_numpy_array(cost + cost.T)
        want = nx.to_numpy_array(nx.minimum_spanning_tree(graph)) > 0
        np.testing.assert_array_equal(tree | tree.T, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_edge_list(dtype):
    rng = np.random.default_rng(3)
    edges = rng.integers(0, 3000, (40000, 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    for w in (rng.normal(size=len(edges)), rng.integers(-3, 4, len(edges))):
        w = w.astype(dtype)
        n = int(edges.max()) + 1
        parts = nx.number_connected_components(nx.Graph(edges.tolist())) + n - len(np.unique(edges))
        y = pt.SpanningForest(parts + 50, edges)(w)
        assert y.sum() == n - parts - 50
        graph = nx.Graph(edges[y > 0].tolist())
        assert nx.is_forest(graph)
        # the tree's weight is networkx's; the forest is the tree's heaviest part
        tree = pt.SpanningForest(parts, edges)(w) > 0
        graph = nx.MultiGraph([(*e, {"weight": float(x)}) for e, x in zip(edges.tolist(), w, strict=True)])
        heaviest = sum(d["weight"] for *_, d in nx.maximum_spanning_edges(graph))
        np.testing.assert_allclose(w[tree].sum(dtype=float), heaviest, rtol=1e-9)
        kept = np.flatnonzero(tree)[np.argsort(-w[tree], kind="stable")][: n - parts - 50]
        np.testing.assert_array_equal(np.flatnonzero(y), np.sort(kept))


# ---- matrices are edge lists ----


def both(n, k, output="forest"):
    return pt.SpanningForest(k, output=output), pt.SpanningForest(k, complete(n), output=output)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("output", ["forest", "clusters"])
@pytest.mark.parametrize("noise", ["normal", "gumbel", "multiplicative", "user", "scaled"])
def test_a_matrix_is_its_edges(noise, output, dtype):
    """All that a matrix gives is what its pairs give; an edge's derivative is halved between its entries."""
    rng, n = np.random.default_rng(4), 6
    i, j = complete(n).T
    w = rng.normal(size=(2, 15)).astype(dtype)
    w[1, 7] = -np.inf
    t, g = (rng.normal(size=(2, n, n)).astype(dtype) for _ in range(2))
    t_edges = (t[:, i, j] / 2 + t[:, j, i] / 2).astype(dtype)
    dense, listed = both(n, 3, output)
    scale = rng.uniform(0.5, 1.5, 15)
    scale[3] = 0
    options = {"samples": 40, "epsilon": np.array([0.5, 0.8]), "estimator": "score", "baseline": "hybrid"}
    if noise == "scaled":
        own, other = pt.Normal(scale=matrix(scale, n)), pt.Normal(scale=scale)
    else:
        own = other = NOISES[noise][0]
    forest = listed._of_value()
    y = forest(rng.normal(size=(2, 15)).astype(dtype) + np.where(np.isneginf(w), -np.inf, 0).astype(dtype))
    if output == "forest":
        g_edges = g[:, i, j] + g[:, j, i]
        got = everything(pt.Perturbed(dense, noise=own, **options), matrix(w, n), g, t, matrix(y, n), seed=1)
        want = everything(pt.Perturbed(listed, noise=other, **options), w, g_edges, t_edges, y, seed=1)
    else:
        got = everything(pt.Perturbed(dense, noise=own, **options), matrix(w, n), g, t, matrix(y, n), seed=1)
        want = everything(pt.Perturbed(listed, noise=other, **options), w, g, t_edges, y, seed=1)
    halved = {"vjp", "vjp stderr", "pullback", "value grad", "loss grad"}
    for name, x in want.items():
        if name in halved:
            x = matrix(x / 2, n)
        elif "jacobian" in name:
            x = matrix(x / 2, n)
            if output == "forest":
                x = np.moveaxis(matrix(np.ascontiguousarray(np.moveaxis(x, 1, -1)), n), (1, 2), (-2, -1))
        elif output == "forest" and x.ndim > 1:
            x = matrix(x, n)
        same(got[name], x)
    # the jacobian says the same as its products
    jacobian = got["jacobian"].astype(np.float64)
    close(np.einsum("bijkl,bij->bkl", jacobian, g).astype(dtype), got["vjp"], dtype, 10)
    close(np.einsum("bijkl,bkl->bij", jacobian, t).astype(dtype), got["jvp"], dtype, 10)


def test_atoms_and_samples_are_matrices():
    theta = matrix(np.random.default_rng(5).normal(size=(2, 10)), 5)
    layer = pt.Perturbed(pt.SpanningForest(2), samples=50, estimator="score", epsilon=0.5)
    solutions, weights = layer.estimate(theta, seed=1).atoms(1)
    np.testing.assert_allclose(np.tensordot(weights, solutions, 1), layer(theta, seed=1)[1], rtol=1e-12)
    assert solutions.shape[1:] == (5, 5)
    draws = layer.sample(theta, 50, seed=1)
    assert draws.shape == (2, 50, 5, 5)
    np.testing.assert_allclose(draws.mean(1), layer(theta, seed=1), rtol=1e-12)


def test_gradient_is_that_of_the_full_matrix():
    """d value / d theta_ij and d theta_ji each get half: the chain rule through a similarity X X^T holds."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(7, 3))
    layer = pt.Perturbed(pt.SpanningForest(3), epsilon=0.4, estimator="score", samples=200)

    def value(x):
        return layer.value(x @ x.T, seed=2)

    _, grad = layer.value_and_grad(x @ x.T, seed=2)
    np.testing.assert_array_equal(grad, layer(x @ x.T, seed=2) / 2)
    by_chain = grad @ x + grad.T @ x
    for at in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[at] = 1e-6
        np.testing.assert_allclose((value(x + step) - value(x - step)) / 2e-6, by_chain[at], atol=1e-5)


def test_rounding_is_averaged_away():
    rng = np.random.default_rng(7)
    for dtype, small, large in ((np.float32, 0.5e-5, 3e-5), (np.float64, 0.5e-12, 3e-12)):
        theta = matrix(rng.normal(size=(3, 15)).astype(dtype), 6)
        theta /= np.abs(theta).max(axis=(1, 2), keepdims=True)
        near, far = theta.copy(), theta.copy()
        near[1, 4, 2] += dtype(small)
        far[1, 4, 2] += dtype(large)
        middle = theta.copy()
        middle[1, 4, 2] = middle[1, 2, 4] = near[1, 2, 4] + (near[1, 4, 2] - near[1, 2, 4]) / 2
        layer = pt.Perturbed(pt.SpanningForest(2), samples=20)
        same(layer.value(near, seed=1), layer.value(middle, seed=1))
        with pytest.raises(ValueError, match=r"^theta must be symmetric, .* at theta\[1, 2, 4\] and .*\[1, 4, 2\]$"):
            layer(far, seed=1)


def test_the_diagonal_is_ignored():
    theta = matrix(np.random.default_rng(8).normal(size=(2, 10)), 5)
    want = pt.SpanningForest(2)(theta)
    for junk in (np.nan, np.inf, -np.inf, 1e300):
        other = theta.copy()
        other[:, range(5), range(5)] = junk
        same(pt.SpanningForest(2)(other), want)
        layer = pt.Perturbed(pt.SpanningForest(2))
        same(layer.value(other, seed=1), layer.value(theta, seed=1))


def test_one_point():
    for theta in (np.zeros((1, 1)), np.full((3, 1, 1), np.nan, np.float32)):
        batch = theta.shape[:-2]
        same(pt.SpanningForest()(theta), np.zeros_like(theta))
        same(pt.SpanningForest(output="clusters")(theta), np.ones_like(theta))
        est = pt.Perturbed(pt.SpanningForest(output="clusters"), samples=4).estimate(theta, seed=1)
        same(est.y, np.ones_like(theta))
        same(est.vjp(np.ones_like(theta)), np.zeros_like(theta))
        assert est.jacobian().shape == (*batch, 1, 1, 1, 1)
        assert (est.value == 0).all()


# ---- clusters ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
def test_clusters_by_formulas(baseline, sampler, dtype):
    rng = np.random.default_rng(9)
    theta, t = rng.normal(size=(2, 2, len(EDGES))).astype(dtype)
    g = rng.normal(size=(2, 5, 5)).astype(dtype)
    g[:, range(5), range(5)] = 0  # the diagonal is constant and left out of the estimate
    solver = pt.SpanningForest(2, EDGES, output="clusters")
    options = {"noise": pt.Normal(), "epsilon": 0.7, "samples": 60, "sampler": sampler, "baseline": baseline}
    ref = Reference(solver, theta, score=lambda z: z, seed=3, **options)
    est = pt.Perturbed(solver, estimator="score", **options).estimate(theta, seed=3)
    size = float(np.abs(ref.contributions(g)).max())
    close(est.y, ref.mean(), dtype)
    close(est.y_stderr, ref.mean_error(), dtype)
    close(est.vjp(g), ref.vjp(g), dtype, size)
    close(est.vjp_stderr(g), ref.vjp_error(g), dtype, size)
    close(est.vjp_epsilon(g), ref.vjp_epsilon(g), dtype, 10 * size)
    jvp, jacobian = ref.jvp(t), ref.jacobian()
    if baseline is None:  # the constant diagonal has no derivative
        jvp[:, range(5), range(5)] = jacobian[:, range(5), range(5)] = 0
    close(est.jvp(t), jvp, dtype, size)
    close(est.jacobian(), jacobian, dtype, size)


@pytest.mark.parametrize("noise", ["normal", "multiplicative"])
@pytest.mark.parametrize("edges", [None, EDGES])
def test_values_of_clusters_are_the_forests(edges, noise):
    rng = np.random.default_rng(10)
    if edges is None:
        theta, other = matrix(rng.normal(size=(2, 3, 10)), 5)
    else:
        theta, other = rng.normal(size=(2, 3, len(EDGES)))
    forest, clusters = (pt.SpanningForest(2, edges, output=o) for o in ("forest", "clusters"))
    y = forest(other)
    same(clusters.value(theta), forest.value(theta))
    same(clusters.objective(theta, y), forest.objective(theta, y))
    one, two = (
        pt.Perturbed(s, samples=30, estimator="score", noise=NOISES[noise][0], epsilon=0.5) for s in (forest, clusters)
    )
    for a, b in zip(one.value_and_grad(theta, seed=1), two.value_and_grad(theta, seed=1), strict=True):
        same(a, b)
    est, want = two.estimate(theta, seed=1), one.estimate(theta, seed=1)
    for name in ("value", "value_stderr", "value_epsilon", "clipped"):
        same(getattr(est, name), getattr(want, name))
    same(est.value_grad(), want.value_grad())
    losses = [pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, y, seed=1) for layer in (one, two)]
    same(losses[0][0], losses[1][0])
    same(losses[0][1], losses[1][1])


def test_connectivity_of_draws():
    theta = matrix(np.random.default_rng(11).normal(size=(1, 2016)).astype(np.float32), 64)
    forest, clusters = (pt.SpanningForest(10, output=o) for o in ("forest", "clusters"))
    draws = pt.Perturbed(forest).sample(theta, 20, seed=1)[0]
    labels = np.array(forest.labels(draws))
    want = (labels[:, :, None] == labels[:, None]).astype(np.float32)
    same(pt.Perturbed(clusters).sample(theta, 20, seed=1)[0], want)
    est = pt.Perturbed(clusters, samples=20).estimate(theta, seed=1)
    close(est.y[0], want.mean(0), np.float32)
    assert (labels.max(1) == 9).all()


# ---- instance arguments ----


def test_k_by_row():
    rng = np.random.default_rng(12)
    w = rng.normal(size=(2, 3, 15))
    k = np.array([[1, 2, 6], [3, 3, 5]])
    for output in ("forest", "clusters"):
        dense, listed = both(6, 4, output)
        y, flat = dense(matrix(w, 6), k=k), listed(w, k=k)
        layer = pt.Perturbed(dense, samples=20)
        noisy = layer.vjp(matrix(w, 6), k=k, seed=1)[1](np.ones((2, 3, 6, 6)))
        for at in np.ndindex(2, 3):
            own, of_list = both(6, int(k[at]), output)
            same(y[at], own(matrix(w[at], 6)))
            same(flat[at], of_list(w[at]))
            row = 3 * at[0] + at[1]
            alone = pt.Perturbed(own, samples=20).vjp(matrix(w[at], 6), seed=1, row_offset=row)[1](np.ones((6, 6)))
            same(noisy[at], alone)
    same(pt.SpanningForest(9)(matrix(w, 6), k=2), pt.SpanningForest(2)(matrix(w, 6)))
    same(pt.SpanningForest(2)(matrix(w, 6), k=None), pt.SpanningForest(2)(matrix(w, 6)))


def test_mask_forbids_edges():
    rng = np.random.default_rng(13)
    w = rng.normal(size=(3, 15))
    keep = rng.random((3, 15)) < 0.7
    dense, listed = both(6, 3)
    same(listed(w, mask=keep), listed(np.where(keep, w, -np.inf)))
    mask = matrix(keep.astype(np.int8), 6) > 0
    same(dense(matrix(w, 6), mask=mask), matrix(listed(w, mask=keep), 6))
    same(dense(matrix(w, 6), mask=mask[1]), matrix(listed(w, mask=keep[1]), 6))
    crooked = mask.copy()
    crooked[1, 0, 5] = not crooked[1, 5, 0]
    with pytest.raises(ValueError, match=r"^mask must be symmetric, .* at mask\[1, 0, 5\] and .* at mask\[1, 5, 0\]$"):
        dense(matrix(w, 6), mask=crooked)


# ---- errors ----


def test_bad_theta():
    good = matrix(np.random.default_rng(14).normal(size=(2, 2, 10)), 5)
    for solver in (pt.SpanningForest(2), pt.Perturbed(pt.SpanningForest(2))):
        for bad, words in ((np.nan, "NaN"), (np.inf, r"\+inf")):
            theta = good.copy()
            theta[1, 0, 2, 4] = theta[1, 0, 4, 2] = bad
            with pytest.raises(ValueError, match=rf"^theta must not contain {words}, got .* theta\[1, 0, 2, 4\]$"):
                solver(theta)
            with pytest.raises(ValueError, match=rf"theta must not contain {words}, got {words} at theta\[2, 4\]$"):
                solver(theta[1, 0])
        theta = good.copy()
        theta[1, 1, 3, 1] = -np.inf
        with pytest.raises(ValueError, match=r"^theta must be symmetric, got .* at theta\[1, 1, 1, 3\] and -inf at"):
            solver(theta)
        theta[1, 1, 3] = theta[1, 1, :, 3] = -np.inf
        solver(theta)
        theta[1, 1, 2] = theta[1, 1, :, 2] = -np.inf
        words = r"^theta\[1, 1\]: no forest of k = 2 trees: its edges leave 3 parts unconnected$"
        with pytest.raises(ValueError, match=words):
            solver(theta)
    with pytest.raises(ValueError, match=r"theta must have items of shape \(n, n\), got \(2, 3\)"):
        pt.SpanningForest()(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="theta must have at least 2 dimensions, got 1"):
        pt.SpanningForest()(np.zeros(3))
    with pytest.raises(ValueError, match=r"theta must have one entry for each of 7 edges, got \(6,\)"):
        pt.SpanningForest(2, EDGES)(np.zeros((7, 6)))
    with pytest.raises(ValueError, match=r"^y must be symmetric"):
        pt.SpanningForest(2).objective(good[0, 0], np.triu(np.ones((5, 5))))
    with pytest.raises(ValueError, match=r"^scale must be symmetric, got"):
        pt.Perturbed(pt.SpanningForest(2), noise=pt.Normal(scale=np.arange(25.0).reshape(5, 5)))(good)


def test_bad_k():
    theta = np.zeros((2, 3, 4, 4))
    for k, words in (
        ([[1, 2, 4], [4, 5, 1]], r"k must be between 1 and 4 .*, got 5 in row \(1, 1\)"),
        (0, "k must be between 1 and 4 .*, got 0 in row 0"),
        ([[1, 2]], r"k must broadcast to shape \(2, 3\), got \(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=words):
            pt.SpanningForest()(theta, k=k)
    with pytest.raises(TypeError, match="k must be integers, got float64"):
        pt.SpanningForest()(theta, k=2.0)
    with pytest.raises(ValueError, match=r"k must be between 1 and 4 \(the number of points\), got 5"):
        pt.SpanningForest(5)(theta)
    with pytest.raises(ValueError, match="k must be between 1 and 5, got 6"):
        pt.SpanningForest(6, EDGES)
    with pytest.raises(ValueError, match="k must be between 1 and 32768, got 0"):
        pt.SpanningForest(0)


def test_bad_options():
    for edges, error, words in (
        ([(0, 1), (2, 2)], ValueError, r"edges must join two points, got \(2, 2\) at edges\[1\]"),
        ([(0, 1), (-1, 2)], ValueError, "edges must be points from 0 to .*, got -1"),
        ([0, 1], ValueError, r"edges must have shape \(E, 2\), E >= 1, got \(2,\)"),
        (np.zeros((0, 2), int), ValueError, r"edges must have shape \(E, 2\), E >= 1, got \(0, 2\)"),
        ([(0.0, 1.0)], TypeError, "edges must be integers, got float64"),
    ):
        with pytest.raises(error, match=words):
            pt.SpanningForest(1, edges)
    with pytest.raises(ValueError, match="output must be one of 'forest', 'clusters', got 'labels'"):
        pt.SpanningForest(output="labels")
    with pytest.raises(TypeError, match="positional"):
        pt.SpanningForest(1, None, "clusters")
    assert pt.SpanningForest(2) == pt.SpanningForest(k=np.int8(2)) != pt.SpanningForest(2, EDGES)
    assert pt.SpanningForest(2, EDGES.tolist()) == pt.SpanningForest(2, EDGES.astype(np.int32))
    assert "clusters" in repr(pt.SpanningForest(output="clusters"))
    assert repr(pt.SpanningForest(2)) == "SpanningForest(k=2, edges=None)"
    edges = EDGES.copy()
    solver = pt.SpanningForest(2, edges)
    edges[...] = 0
    assert solver == pt.SpanningForest(2, EDGES)


def test_bad_labels():
    with pytest.raises(ValueError, match=r"y must have items of shape \(n, n\), got \(2, 3\)"):
        pt.SpanningForest().labels(np.zeros((2, 3)))
    together = np.eye(3)
    together[0, 1] = together[1, 0] = together[1, 2] = together[2, 1] = 1
    with pytest.raises(ValueError, match=r"y must say of each pair of points .* and contradicts itself"):
        pt.SpanningForest(output="clusters").labels(together)
    with pytest.raises(ValueError, match=r"^y\[1, 0\] must say of each pair of points"):
        pt.SpanningForest(output="clusters").labels([[np.eye(3)], [together]])
    with pytest.raises(ValueError, match=r"^y must have items of shape \(5, 5\), got \(3, 3\)"):
        pt.SpanningForest(edges=[(0, 4)], output="clusters").labels(np.eye(3))
    listed = pt.SpanningForest(edges=[(0, 1), (1, 2), (0, 2), (0, 1)])
    for bad, words in (
        (np.tril(together, -1), r"must be symmetric"),
        (np.triu(together, 1), r"must be symmetric"),
        (np.ones((3, 3)), r"must be a forest, got 3 edges with a cycle"),
    ):
        with pytest.raises(ValueError, match=f"^y {words}"):
            pt.SpanningForest().labels(bad)
        with pytest.raises(ValueError, match=rf"^y\[0, 1\] {words}"):
            pt.SpanningForest().labels([[np.eye(3), bad]])
    for bad in ([1, 1, 1, 0], [1, 0, 0, 1]):
        with pytest.raises(ValueError, match=r"^y\[1\] must be a forest, got [23] edges with a cycle"):
            listed.labels([[1, 1, 0, 0], bad])
    with pytest.raises(ValueError, match=r"^y must have one entry for each of 4 edges, got \(3,\)"):
        listed.labels([1, 1, 0])
    assert listed.labels([0, 1, 0, 0]).tolist() == [0, 1, 1]
    assert pt.SpanningForest().labels(together).tolist() == [0, 0, 0]
    assert [x.tolist() for x in pt.SpanningForest().labels(np.zeros((2, 2, 2)))] == [[0, 1], [0, 1]]
