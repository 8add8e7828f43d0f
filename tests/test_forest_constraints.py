"""Forests under must-links and cannot-links, against enumeration and the plain greedy; the partial loss."""

from functools import lru_cache
from itertools import combinations

import numpy as np
import pytest
from contract import same
from scipy.sparse.csgraph import minimum_spanning_tree

import perturbed as pt


def symmetric(rng, *shape):
    w = np.triu(rng.normal(size=(*shape, shape[-1])), 1)
    return w + w.swapaxes(-1, -2)


@lru_cache
def partitions(n):
    """All partitions of n points, as labels 0.. by first member."""
    found = [(0,)]
    for _ in range(n - 1):
        found = [(*p, c) for p in found for c in range(max(p) + 2)]
    return [np.array(p) for p in found]


def tree_weight(w, points):
    """Of the maximum spanning tree of some points."""
    best, total = {p: w[points[0], p] for p in points[1:]}, 0.0
    while best:
        v = max(best, key=best.get)
        total += best.pop(v)
        for u in best:
            best[u] = max(best[u], w[v, u])
    return total


def fast_weight(w, points):
    return 10.0 * (len(points) - 1) - minimum_spanning_tree(np.triu(10 - w[np.ix_(points, points)], 1)).sum()


def meets(labels, constraints):
    together = labels[:, None] == labels
    return not ((constraints == 1) & ~together).any() and not ((constraints == -1) & together).any()


def best_value(w, constraints, k):
    """By enumeration; -inf where nothing meets the constraints."""
    weigh = lru_cache(lambda points: tree_weight(w, points))
    values = [
        sum(weigh(tuple(np.flatnonzero(p == c).tolist())) for c in range(k))
        for p in partitions(len(w))
        if p.max() + 1 == k and meets(p, constraints)
    ]
    return max(values, default=-np.inf)


def greedy_value(w, constraints, k):
    """Must-links first, then the heaviest edges that are allowed."""
    n = len(w)
    i, j = np.triu_indices(n, 1)
    order = np.argsort(-w[i, j], kind="stable")
    must = constraints[i, j][order] == 1
    tree, total, taken = np.arange(n), 0.0, 0
    for e in [*order[must], *order[~must]]:
        a, b = tree[i[e]], tree[j[e]]
        if a != b and taken < n - k and not (constraints[np.ix_(tree == a, tree == b)] == -1).any():
            tree[tree == b] = a
            total, taken = total + w[i[e], j[e]], taken + 1
    return total


def some_labels(rng, n, known, classes):
    labels = np.full(n, -1)
    labels[rng.permutation(n)[:known]] = [*range(classes), *rng.integers(0, classes, known - classes)]
    return labels


def one_pair_each(rng, n):
    constraints = np.zeros((n, n), np.int8)
    pairs = list(combinations(range(n), 2))
    for pair, value in zip(rng.permutation(len(pairs))[:2], (1, -1), strict=True):
        i, j = pairs[pair]
        constraints[i, j] = constraints[j, i] = value
    return constraints


# ---- few units: the best forest ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["labels", "pairs"])
def test_small_instances_are_solved_exactly(kind, dtype):
    rng = np.random.default_rng(0)
    solved = greedy = 0
    for _ in range(40):
        w = symmetric(rng, 6).astype(dtype)
        if kind == "labels":
            constraints = pt.constraints_from_labels(some_labels(rng, 6, 4, int(rng.integers(2, 4))))
        else:
            constraints = one_pair_each(rng, 6)
        for k in range(1, 7):
            want = best_value(w.astype(np.float64), constraints, k)
            if want == -np.inf:
                with pytest.raises(ValueError, match=r"^theta: constraints (need at least|leave at most)"):
                    pt.SpanningForest(k)(w, constraints=constraints)
                continue
            solver = pt.SpanningForest(k)
            y = solver(w, constraints=constraints)
            assert meets(solver.labels(y), constraints)
            assert y.sum() == 2 * (6 - k)
            np.testing.assert_allclose(solver.objective(w, y), want, rtol=1e-6)
            np.testing.assert_allclose(solver.value(w, constraints=constraints), want, rtol=1e-6)
            edges = np.array(list(combinations(range(6), 2)))
            listed = pt.SpanningForest(k, edges)(w[edges[:, 0], edges[:, 1]], constraints=constraints)
            np.testing.assert_array_equal(listed, y[edges[:, 0], edges[:, 1]])
            solved += 1
            greedy += greedy_value(w.astype(np.float64), constraints, k) > want - 1e-6
    assert solved > 100
    assert greedy < 0.85 * solved  # a plain greedy fails often: the cases are hard enough


def test_integers_and_forbidden_edges():
    rng = np.random.default_rng(1)
    found = none = 0
    for _ in range(60):
        w = np.triu(rng.integers(-2, 3, (6, 6)).astype(float), 1)
        w = w + w.T
        shut = np.triu(rng.random((6, 6)) < 0.3, 1)
        w[shut | shut.T] = -np.inf
        constraints, k = one_pair_each(rng, 6), int(rng.integers(1, 6))
        want = best_value(w, constraints, k)
        if want > -np.inf:
            assert pt.SpanningForest(k).value(w, constraints=constraints) == want
            found += 1
        else:
            with pytest.raises(ValueError, match=r"^theta: (constraints|no forest) "):
                pt.SpanningForest(k)(w, constraints=constraints)
            none += 1
    assert found > 20
    assert none > 5


# ---- many units: a search ----


def test_the_search_is_rarely_beaten():
    """More units than are solved exactly. Two classes and two trees: every free point goes to one or the other."""
    rng = np.random.default_rng(2)
    best = 0
    for _ in range(10):
        w = symmetric(rng, 15)
        labels = some_labels(rng, 15, 5, 2)
        free = np.flatnonzero(labels == -1)
        want = -np.inf
        for bits in range(2 ** len(free)):
            labels[free] = bits >> np.arange(len(free)) & 1
            sides = [np.flatnonzero(labels == c).tolist() for c in (0, 1)]
            want = max(want, sum(fast_weight(w, side) for side in sides))
        labels[free] = -1
        got = pt.SpanningForest(2).value(w, constraints=pt.constraints_from_labels(labels))
        assert got <= want + 1e-9
        best += got >= want - 1e-9
    assert best >= 5


@pytest.mark.parametrize(("n", "classes", "k"), [(30, 2, 4), (64, 3, 10), (100, 5, 10), (100, 5, 90)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_never_below_the_greedy(n, classes, k, dtype):
    rng = np.random.default_rng(3)
    gains = []
    for _ in range(4):
        w = symmetric(rng, n).astype(dtype)
        constraints = pt.constraints_from_labels(some_labels(rng, n, n // 10 + 2, classes))
        solver = pt.SpanningForest(k)
        y = solver(w, constraints=constraints)
        assert meets(solver.labels(y), constraints)
        assert y.sum() == 2 * (n - k)
        value = float(solver.objective(w, y))
        greedy = greedy_value(w.astype(np.float64), constraints, k)
        assert value >= greedy - 1e-5 * abs(greedy)
        gains.append(value - greedy)
        # every tree is the best one of its points
        labels = solver.labels(y)
        again = sum(tree_weight(w.astype(np.float64), np.flatnonzero(labels == c).tolist()) for c in range(k))
        np.testing.assert_allclose(value, again, rtol=1e-5)
    assert max(gains) > 0 or k == 90


def test_one_known_point_a_class_is_solved_by_the_greedy():
    """Without must-links that tie classes together the greedy is exact: the search must keep what it finds."""
    rng = np.random.default_rng(4)
    w = symmetric(rng, 40)
    constraints = pt.constraints_from_labels(some_labels(rng, 40, 5, 5))
    for k in (5, 8, 40):
        np.testing.assert_allclose(
            pt.SpanningForest(k).value(w, constraints=constraints), greedy_value(w, constraints, k)
        )


def test_cannot_links_that_the_greedy_fails_on():
    """A graph of two colours: joining by weight gets stuck, colours do not."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        side = rng.permutation(np.repeat([0, 1], 8))
        constraints = np.where((side[:, None] != side) & (rng.random((16, 16)) < 0.4), -1, 0)
        constraints = np.minimum(constraints, constraints.T).astype(np.int8)
        solver = pt.SpanningForest(2)
        y = solver(symmetric(rng, 16), constraints=constraints)
        assert meets(solver.labels(y), constraints)
        assert y.sum() == 28
    odd = np.zeros((12, 12), np.int8)
    for i in range(11):  # a ring of 11 points needs three colours, and no three of them clash with each other
        odd[i, (i + 1) % 11] = odd[(i + 1) % 11, i] = -1
    with pytest.raises(ValueError, match=r"^theta: no forest found of k = 2 trees under its constraints$"):
        pt.SpanningForest(2)(symmetric(rng, 12), constraints=odd)
    assert meets(pt.SpanningForest(3).labels(pt.SpanningForest(3)(symmetric(rng, 12), constraints=odd)), odd)


def test_rows_have_their_own_constraints():
    rng = np.random.default_rng(6)
    w = symmetric(rng, 5, 12)
    labels = np.stack([some_labels(rng, 12, 4, 2) for _ in range(5)])
    labels[2] = -1
    constraints, k = pt.constraints_from_labels(labels), np.array([2, 3, 4, 2, 10])
    for output in ("forest", "clusters"):
        solver = pt.SpanningForest(output=output)
        y = solver(w, constraints=constraints, k=k)
        layer = pt.Perturbed(solver, samples=8)
        noisy = layer(w, constraints=constraints, k=k, seed=1)
        for r in range(5):
            own = pt.SpanningForest(int(k[r]), output=output)
            same(y[r], own(w[r], constraints=constraints[r]))
            assert meets(own.labels(y[r]), constraints[r])
            same(noisy[r], pt.Perturbed(own, samples=8)(w[r], constraints=constraints[r], seed=1, row_offset=r))
        same(y[2], pt.SpanningForest(4, output=output)(w[2]))  # nothing known, nothing changed
        same(solver(w[:2], constraints=constraints[0], k=3), solver(w[:2], constraints=constraints[[0, 0]], k=3))
    with pt.threads(1):
        alone = pt.Perturbed(pt.SpanningForest(3), samples=300).vjp(w[0], constraints=constraints[0], seed=1)[1](w[1])
    with pt.threads(3):
        same(
            pt.Perturbed(pt.SpanningForest(3), samples=300).vjp(w[0], constraints=constraints[0], seed=1)[1](w[1]),
            alone,
        )


def test_labels_are_feasible_exactly_between_c_and_c_plus_u():
    rng = np.random.default_rng(7)
    for n, known, classes in ((6, 4, 3), (20, 6, 2), (25, 5, 5)):
        constraints = pt.constraints_from_labels(some_labels(rng, n, known, classes))
        w = symmetric(rng, n)
        for k in range(1, n + 1):
            if classes <= k <= classes + n - known:
                assert meets(pt.SpanningForest(k).labels(pt.SpanningForest(k)(w, constraints=constraints)), constraints)
                continue
            words = f"need at least {classes}" if k < classes else f"leave at most {classes + n - known}"
            with pytest.raises(ValueError, match=rf"^theta\[1\]: constraints {words} trees, got k = {k}$"):
                pt.SpanningForest(k)(np.stack([w, w]), constraints=np.stack([np.zeros_like(constraints), constraints]))


# ---- errors ----


def test_contradictions_are_named():
    constraints = np.zeros((2, 5, 5), np.int8)
    for i, j, value in ((0, 1, 1), (1, 4, 1), (0, 4, -1)):
        constraints[1, i, j] = constraints[1, j, i] = value
    words = r"^theta\[1\]: constraints contradict each other: points 0 and 4 must not share a tree, and must-links join"
    for call in (pt.SpanningForest(2), pt.Perturbed(pt.SpanningForest(2))):
        with pytest.raises(ValueError, match=words):
            call(np.zeros((2, 5, 5)), constraints=constraints)


def test_bad_constraints():
    theta, free = np.zeros((2, 4, 4)), np.zeros((4, 4), np.int8)
    crooked = free.copy()
    crooked[1, 3] = 1
    for constraints, error, words in (
        (free.astype(float), TypeError, "constraints must be integers, got float64"),
        (free + 2, ValueError, r"constraints must be 1 \(must-link\), -1 \(cannot-link\) or 0, got 2"),
        (
            crooked,
            ValueError,
            r"constraints must be symmetric, got 1 at constraints\[1, 3\] and 0 at constraints\[3, 1\]",
        ),
        (free[:3], ValueError, r"constraints must have shape \(4, 4\) or \(2, 4, 4\), got \(3, 4\)"),
        (np.zeros((3, 4, 4), int), ValueError, r"constraints must broadcast to shape \(2, 4, 4\), got \(3, 4, 4\)"),
    ):
        with pytest.raises(error, match=words):
            pt.SpanningForest(2)(theta, constraints=constraints)


def test_constraints_from_labels():
    labels = np.array([[2, -1, 0, 2], [-1, -1, 1, 3]])
    got = pt.constraints_from_labels(labels)
    assert got.dtype == np.int8
    for row, x in zip(labels, got, strict=True):
        for i, j in np.ndindex(4, 4):
            known = i != j and row[i] >= 0 and row[j] >= 0
            assert x[i, j] == (0 if not known else 1 if row[i] == row[j] else -1)
    assert pt.constraints_from_labels([0, 0]).tolist() == [[0, 1], [1, 0]]
    for bad, error, words in (
        ([0.0, 1.0], TypeError, "labels must be integers, got float64"),
        ([0, -2], ValueError, r"labels must be -1 \(unknown\) or not negative, got -2 at labels\[1\]$"),
        ([[[0, -1], [0, -2], [-3, 0]]], ValueError, r"labels must be .*, got -2 at labels\[0, 1, 1\]$"),
        (3, ValueError, "labels must have at least 1 dimension, got 0"),
    ):
        with pytest.raises(error, match=words):
            pt.constraints_from_labels(bad)


# ---- the partial loss ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("output", ["forest", "clusters"])
@pytest.mark.parametrize("noise", ["normal", "gumbel", "multiplicative"])
def test_partial_loss_is_a_difference_of_values(noise, output, dtype):
    rng = np.random.default_rng(8)
    theta = symmetric(rng, 3, 8).astype(dtype)
    constraints = pt.constraints_from_labels(np.stack([some_labels(rng, 8, 4, 2) for _ in range(3)]))
    kind = pt.Multiplicative() if noise == "multiplicative" else noise
    layer = pt.Perturbed(pt.SpanningForest(3, output=output), noise=kind, epsilon=0.4, samples=30, estimator="score")
    value, grad = pt.PartialFenchelYoungLoss(layer, "none").value_and_grad(theta, constraints, seed=1)
    free, free_grad = layer.value_and_grad(theta, seed=1)
    bound, bound_grad = layer.value_and_grad(theta, seed=1, constraints=constraints)
    assert value.dtype == grad.dtype == dtype
    np.testing.assert_allclose(value, free - bound, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grad, free_grad - bound_grad, atol=1e-6)
    assert (value > 0).all()
    same(pt.PartialFenchelYoungLoss(layer, "none")(theta, constraints, seed=1), value)
    mean, mean_grad = pt.PartialFenchelYoungLoss(layer).value_and_grad(theta, constraints, seed=1)
    np.testing.assert_allclose(mean, value.mean(), rtol=1e-6)
    np.testing.assert_allclose(mean_grad, grad / 3, rtol=1e-6)
    np.testing.assert_allclose(
        pt.PartialFenchelYoungLoss(layer, "sum")(theta, constraints, seed=1), value.sum(), rtol=1e-6
    )


def test_partial_loss_is_never_negative():
    rng = np.random.default_rng(9)
    theta = symmetric(rng, 20, 30).astype(np.float32)
    constraints = pt.constraints_from_labels(np.stack([some_labels(rng, 30, 3, 3) for _ in range(20)]))
    loss = pt.PartialFenchelYoungLoss(pt.Perturbed(pt.SpanningForest(8), epsilon=0.01, samples=1), "none")
    for seed in range(5):
        assert (loss(theta, constraints, seed=seed) >= 0).all()
    # nothing known: nothing lost
    value, grad = loss.value_and_grad(theta, np.zeros((30, 30), np.int8), seed=1)
    assert (value == 0).all()
    assert (grad == 0).all()


def test_finite_differences_of_the_losses():
    """Central differences of the value with other seeds, within five standard errors of the gradient along a line."""
    rng = np.random.default_rng(10)
    theta = symmetric(rng, 6)
    constraints = pt.constraints_from_labels([0, -1, 1, 0, -1, -1])
    layer = pt.Perturbed(pt.SpanningForest(3), epsilon=0.7, samples=2000)
    partial, full = pt.PartialFenchelYoungLoss(layer), pt.FenchelYoungLoss(layer)
    y = pt.SpanningForest(3)(symmetric(rng, 6))
    h = 0.05
    for call, known in ((full, y), (partial, constraints)):
        step = call.value_and_grad(theta, known, seed=50)[1]
        step /= np.abs(step).max()
        slopes = np.array(
            [
                (call(theta + h * step, known, seed=s) - call(theta - h * step, known, seed=s)) / (2 * h)
                for s in range(12)
            ]
        )
        grads = np.array([(call.value_and_grad(theta, known, seed=100 + s)[1] * step).sum() for s in range(12)])
        gap = slopes.mean() - grads.mean()
        error = np.sqrt((slopes.var(ddof=1) + grads.var(ddof=1)) / 12)
        assert abs(gap) < 5 * error + 1e-3  # h^2 times a third derivative
        assert abs(grads.mean()) > 20 * error  # a factor of two would show


def test_partial_loss_options():
    layer = pt.Perturbed(pt.SpanningForest(2), seed=3)
    assert repr(pt.PartialFenchelYoungLoss(layer, "sum")) == f"PartialFenchelYoungLoss({layer!r}, reduction='sum')"
    with pytest.raises(TypeError, match=r"layer must be of a solver that takes constraints, got TopK\(k=2\)"):
        pt.PartialFenchelYoungLoss(pt.Perturbed(pt.TopK(2)))
    with pytest.raises(TypeError, match="layer must be a Perturbed layer, got SpanningForest"):
        pt.PartialFenchelYoungLoss(pt.SpanningForest(2))
    with pytest.raises(ValueError, match="reduction must be one of"):
        pt.PartialFenchelYoungLoss(layer, "max")
    loss, theta = pt.PartialFenchelYoungLoss(layer), np.zeros((2, 4, 4))
    with pytest.raises(ValueError, match=r"^theta\[1\]: constraints need at least 3 trees, got k = 2$"):
        loss(theta, pt.constraints_from_labels([[0, 1, -1, -1], [0, 1, 2, -1]]))
    with pytest.raises(TypeError, match="constraints must be given, got None"):
        loss(theta, None)
    with pytest.raises(TypeError, match="masks is no instance argument of SpanningForest"):
        loss(theta, pt.constraints_from_labels([0, 1, -1, -1]), masks=1)
    # both terms are means of the draws, whatever the layer's estimator
    weights, known = symmetric(np.random.default_rng(2), 6), pt.constraints_from_labels([0, 0, 1, 1, -1, -1])
    plain, *others = (
        pt.PartialFenchelYoungLoss(pt.Perturbed(pt.SpanningForest(2), estimator=name, samples=3)).value_and_grad(
            weights, known, seed=1
        )
        for name in ("score", "rao_blackwell", "directional")
    )
    for value, grad in others:
        same(value, plain[0])
        same(grad, plain[1])
    # one call, one number
    loss = pt.PartialFenchelYoungLoss(pt.Perturbed(pt.SpanningForest(2), seed=3))
    first, second = (loss(theta, pt.constraints_from_labels([0, 0, 1, -1])) for _ in range(2))
    assert first != second
    again = pt.PartialFenchelYoungLoss(pt.Perturbed(pt.SpanningForest(2), seed=3))
    assert again(theta, pt.constraints_from_labels([0, 0, 1, -1])) == first
