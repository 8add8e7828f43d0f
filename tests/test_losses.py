"""The Fenchel-Young loss: exact values, the same draws in NumPy, its sign, its gradient, its shapes."""

import itertools

import numpy as np
import pytest
from exact_values import NOISES, argmax_exact, assert_unbiased, gradient, record
from scipy import special

import perturbed as pt

RNG = np.random.default_rng(21)
SAMPLES = 60


def loss_of(solver, reduction="none", **options):
    options = {"samples": SAMPLES, "epsilon": 0.7, "estimator": "score", "seed": 3} | options
    return pt.FenchelYoungLoss(pt.Perturbed(solver, **options), reduction)


def solutions_of(solver, shape):
    """All of Y for small items, by brute force, as (count, *item)."""
    n = int(np.prod(shape))
    if isinstance(solver, pt.Argmax):
        return np.eye(n)
    if isinstance(solver, pt.TopK):
        return np.array([[i in c for i in range(n)] for c in itertools.combinations(range(n), solver.k)], float)
    if isinstance(solver, pt.Ranking):
        return np.array(list(itertools.permutations(range(1, n + 1))), float)
    h, w = shape
    steps = [s for s in itertools.product((-1, 0, 1), repeat=2) if s != (0, 0)]
    steps = [s for s in steps if solver.neighbors == 8 or 0 in s]
    found = []

    def walk(path):
        r, c = path[-1]
        if (r, c) == (h - 1, w - 1):
            y = np.zeros(shape)
            for cell in path:
                y[cell] = 1
            found.append(y)
            return
        for dr, dc in steps:
            cell = (r + dr, c + dc)
            if 0 <= cell[0] < h and 0 <= cell[1] < w and cell not in path:
                walk([*path, cell])

    walk([(0, 0)])
    return np.array(found)


def objective(solver, noisy, y):
    """Objective of y (any leading dimensions) at noisy items, fixed signs and clipping included."""
    axes = tuple(range(-solver._item_ndim, 0))
    if isinstance(solver, pt.GridPath):
        noisy = np.minimum(noisy, 0)
    sign = -1 if getattr(solver, "descending", False) else 1
    return sign * np.where(y == 0, 0, y * np.where(y == 0, 0, noisy)).sum(axes)


CASES = [
    (pt.Argmax(), RNG.standard_normal((4, 5))),
    (pt.TopK(2), RNG.standard_normal((4, 5))),
    (pt.Ranking(), RNG.standard_normal((4, 4))),
    (pt.Ranking(descending=True), RNG.standard_normal((4, 4))),
    (pt.GridPath(), -RNG.uniform(0.1, 1, (4, 3, 3))),
    (pt.GridPath(neighbors=4), -RNG.uniform(0.1, 1, (4, 3, 4))),
]
CASE_NAMES = ["argmax", "top_k", "ranking", "descending", "grid8", "grid4"]
NOISE_CASES = {
    "normal": pt.Normal(),
    "gumbel": pt.Gumbel(),
    "scaled": pt.Laplace(scale=0.5),
    "student": pt.StudentT(4),
    "multiplicative": pt.Multiplicative(),
    "multiplicative gumbel": pt.Multiplicative("gumbel"),
}


@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("noise", NOISE_CASES.values(), ids=NOISE_CASES)
@pytest.mark.parametrize(("solver", "theta"), CASES, ids=CASE_NAMES)
def test_by_draws(solver, theta, noise, sampler):
    """mean_m max_y <y, theta_m> - <given, theta_m> and its gradient, over the noisy items that an oracle records."""
    ndim = solver._item_ndim
    item, axes = theta.shape[1:], tuple(range(2, 2 + ndim))
    loss = loss_of(solver, noise=noise, sampler=sampler)
    noisy = record(noise, theta.shape, SAMPLES, theta=theta, item_ndim=ndim, epsilon=0.7, seed=3, sampler=sampler)
    every = solutions_of(solver, item)
    given = every[RNG.integers(len(every), size=len(theta))]
    values = np.stack([objective(solver, noisy, y) for y in every])  # (solutions, rows, draws)
    best = every[values.argmax(0)]
    want = values.max(0) - objective(solver, noisy, given[:, None])
    assert want.min() >= -1e-9
    value, grad = loss.value_and_grad(theta, given)  # call 0, with the key of the record
    np.testing.assert_allclose(value, want.mean(1), rtol=1e-9, atol=1e-12)
    weight = np.ones_like(noisy)
    if isinstance(noise, pt.Multiplicative):
        weight = noisy / theta[:, None]
    if isinstance(solver, pt.GridPath):
        weight = weight * (noisy < 0)
        if not isinstance(noise, pt.Multiplicative):
            assert 0.02 < (noisy > 0).mean() < 0.9  # there is something to clip
    sign = -1 if getattr(solver, "descending", False) else 1
    expected = sign * (weight * (best - given[:, None])).mean(1)
    np.testing.assert_allclose(grad, expected, rtol=1e-9, atol=1e-12)
    assert axes
    np.testing.assert_array_equal(loss(theta, given, seed=3), loss(theta, given, seed=3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("solver", "theta"), CASES, ids=CASE_NAMES)
def test_never_negative(solver, theta, dtype):
    """Draw by draw: with one draw, for the solution of that very draw the loss is 0, for others it is not below 0."""
    every = solutions_of(solver, theta.shape[1:])
    loss = loss_of(solver, samples=1, epsilon=0.4)
    rows = np.repeat(theta, 50, 0).astype(dtype)
    for seed in range(3):
        best = loss.layer(rows, seed=seed)
        np.testing.assert_array_equal(loss(rows, best, seed=seed), 0)
        given = every[RNG.integers(len(every), size=len(rows))].astype(dtype)
        values = loss(rows, given, seed=seed)
        assert values.dtype == dtype
        assert (values >= 0).all()
        assert (values > 0).any()


@pytest.mark.parametrize("name", ["normal", "gumbel", "centered"])
def test_exact_argmax(name):
    """F_eps - <y, theta> - epsilon <E Z, y>, and finite differences of it."""
    noise, distribution, _ = NOISES[name]
    theta = np.array([0.3, -0.5, 0.9, 0.1])
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Argmax(), noise=noise, epsilon=0.6))
    assert loss.layer.estimator == "exact"
    for given in (np.eye(4)[1], np.array([0.1, 0.2, 0.3, 0.4])):
        value, grad = loss.value_and_grad(theta, given)
        p, top, _ = argmax_exact(theta, 0.6, distribution)
        assert value == pytest.approx(top - given @ theta - 0.6 * distribution.mean(), abs=1e-12)
        np.testing.assert_allclose(grad, p - given, atol=1e-13)
        np.testing.assert_allclose(grad, gradient(lambda t, y=given: loss(t, y), theta, 1e-3), atol=1e-9)
    assert loss(theta, np.eye(4)[1]) == value or value >= 0


def test_exact_gumbel_is_cross_entropy():
    theta = RNG.standard_normal((6, 9))
    labels = RNG.integers(9, size=6)
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Argmax(), noise="gumbel", epsilon=1.0), "none")
    entropy = special.logsumexp(theta, -1) - theta[np.arange(6), labels]
    np.testing.assert_allclose(loss(theta, np.eye(9)[labels]), entropy, rtol=1e-13)


def test_exact_is_clamped():
    """Where the loss vanishes, rounding does not make it negative."""
    theta = np.array([[0.0, 40.0], [0.0, 1e6], [0.0, 1e12]])
    for noise in ("normal", "gumbel"):
        loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Argmax(), noise=noise), "none")
        values = loss(theta, np.array([[0.0, 1.0]] * 3))
        assert (values >= 0).all()
        assert (values < 1e-3).all()


@pytest.mark.parametrize("name", ["normal", "gumbel", "laplace"])
def test_estimate_is_unbiased(name):
    noise, distribution, _ = NOISES[name]
    theta, rows = np.array([0.3, -0.5, 0.9]), 20_000
    p, top, _ = argmax_exact(theta, 0.7, distribution)
    given = np.array([0.0, 1.0, 0.0])
    loss = loss_of(pt.Argmax(), noise=noise, samples=4)
    value, grad = loss.value_and_grad(np.tile(theta, (rows, 1)), np.tile(given, (rows, 1)))
    assert_unbiased("loss", value, np.asarray(top - given @ theta - 0.7 * distribution.mean()))
    assert_unbiased("gradient", grad, p - given)


def test_scale_in_the_exact_loss():
    theta, scale = np.array([0.3, -0.5, 0.9]), np.array([1.0, 1.5, 0.8])
    given = np.array([0.2, 0.3, 0.5])
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Argmax(), noise=pt.Normal(scale=scale), epsilon=0.6))
    top = argmax_exact(theta, 0.6, NOISES["normal"][1], scale)[1]
    assert loss(theta, given) == pytest.approx(top - given @ theta, abs=1e-9)
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Argmax(), noise=pt.Gumbel(scale=2.0), epsilon=0.6))
    top = argmax_exact(theta, 1.2, NOISES["gumbel"][1])[1]
    assert loss(theta, given) == pytest.approx(top - given @ theta - 1.2 * np.euler_gamma, abs=1e-12)


@pytest.mark.parametrize("estimator", ["exact", "score"])
def test_reductions(estimator):
    theta = RNG.standard_normal((2, 3, 4)).astype(np.float32)
    y = np.eye(4, dtype=np.float32)[RNG.integers(4, size=(2, 3))]
    layer = pt.Perturbed(pt.Argmax(), estimator=estimator, samples=20)
    each, each_grad = pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, y, seed=1)
    assert each.shape == (2, 3)
    assert each.dtype == each_grad.dtype == np.float32
    total, total_grad = pt.FenchelYoungLoss(layer, "sum").value_and_grad(theta, y, seed=1)
    mean, mean_grad = pt.FenchelYoungLoss(layer).value_and_grad(theta, y, seed=1)
    assert np.ndim(total) == np.ndim(mean) == 0
    assert total == pytest.approx(float(each.sum()), rel=1e-6)
    assert mean == pytest.approx(float(each.mean()), rel=1e-6)
    np.testing.assert_array_equal(total_grad, each_grad)
    np.testing.assert_allclose(mean_grad, each_grad / 6, rtol=1e-6)
    for reduction, value in (("none", each), ("sum", total), ("mean", mean)):
        np.testing.assert_array_equal(pt.FenchelYoungLoss(layer, reduction)(theta, y, seed=1), value)
    one = pt.FenchelYoungLoss(layer, "none")(theta[0, 0], y[0, 0], seed=1)
    assert one.shape == ()
    assert one == each[0, 0]


@pytest.mark.parametrize("estimator", ["exact", "score"])
def test_empty_batch(estimator):
    layer = pt.Perturbed(pt.Argmax(), estimator=estimator)
    for reduction, expected in (("none", np.zeros(0)), ("sum", 0.0), ("mean", np.nan)):
        value, grad = pt.FenchelYoungLoss(layer, reduction).value_and_grad(np.zeros((0, 3)), np.zeros((0, 3)))
        np.testing.assert_array_equal(value, expected)
        assert grad.shape == (0, 3)


@pytest.mark.parametrize("estimator", ["exact", "score"])
def test_mask(estimator):
    """A masked loss is that of the allowed entries alone."""
    theta = RNG.standard_normal((3, 5))
    mask = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
    y = np.eye(5)[[0, 2, 4]]
    layer = pt.Perturbed(pt.Argmax(), estimator=estimator, samples=30)
    value, grad = pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, y, mask=mask, seed=2)
    assert (grad[~mask] == 0).all()
    closed = np.where(mask, theta, -np.inf)
    again, grad_again = pt.FenchelYoungLoss(layer, "none").value_and_grad(closed, y, seed=2)
    np.testing.assert_array_equal(value, again)
    np.testing.assert_array_equal(grad, grad_again)
    assert np.isfinite(value).all()


def test_ranking_mask():
    theta = RNG.standard_normal((2, 5))
    mask = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 0, 1]], bool)
    loss = loss_of(pt.Ranking())
    y = loss.layer.solver(theta, mask=mask)
    value, grad = loss.value_and_grad(theta, y, mask=mask)
    assert (value >= 0).all()
    assert (grad[~mask] == 0).all()


@pytest.mark.parametrize("estimator", ["exact", "score"])
def test_forbidden_entries_name_the_row(estimator):
    theta = np.zeros((2, 3, 4))
    theta[1, 2, 3] = -np.inf
    y = np.tile(np.eye(4)[0], (2, 3, 1))
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Argmax(), estimator=estimator))
    assert loss(theta, y) >= 0
    y[1, 2] = np.eye(4)[3]
    for call in (loss, loss.value_and_grad):
        with pytest.raises(ValueError, match=r"y\[1, 2\] uses an entry that theta forbids"):
            call(theta, y)
    with pytest.raises(ValueError, match="y uses an entry that theta forbids"):
        loss(theta[1, 2], y[1, 2])
    mask = np.ones((2, 3, 4), bool)
    mask[0, 1, 0] = False
    with pytest.raises(ValueError, match=r"y\[0, 1\] uses an entry that theta forbids"):
        loss(np.zeros((2, 3, 4)), y, mask=mask)


def test_forbidden_cells_of_a_grid():
    theta = -np.ones((2, 3, 3))
    theta[1, 1, 1] = -np.inf
    y = np.tile(np.eye(3), (2, 1, 1))
    with pytest.raises(ValueError, match=r"y\[1\] uses an entry that theta forbids"):
        loss_of(pt.GridPath())(theta, y)


@pytest.mark.parametrize(("solver", "theta"), CASES, ids=CASE_NAMES)
def test_inside_the_hull(solver, theta):
    """For y inside the hull the loss is the average of those of its vertices, the gradient likewise."""
    every = solutions_of(solver, theta.shape[1:])
    weights = RNG.dirichlet(np.ones(len(every)), len(theta))
    inside = np.tensordot(weights, every, 1)
    loss = loss_of(solver)
    value, grad = loss.value_and_grad(theta, inside, seed=4)
    parts = [loss.value_and_grad(theta, np.broadcast_to(y, theta.shape), seed=4) for y in every]
    np.testing.assert_allclose(value, (weights * np.stack([v for v, _ in parts], 1)).sum(1), rtol=1e-10)
    together = np.einsum("bk,kb...->b...", weights, np.stack([g for _, g in parts]))
    np.testing.assert_allclose(grad, together, rtol=1e-9, atol=1e-12)


def test_clipping_is_told():
    """est.clipped is the share of noisy costs above 0, and value_grad leaves them out."""
    theta = -RNG.uniform(0.1, 1, (3, 3, 4))
    layer = pt.Perturbed(pt.GridPath(), epsilon=0.7, samples=SAMPLES, seed=3)
    est = layer.estimate(theta)
    noisy = record("normal", theta.shape, SAMPLES, theta=theta, item_ndim=2, epsilon=0.7, seed=3)
    np.testing.assert_allclose(est.clipped, (noisy > 0).mean((1, 2, 3)), rtol=1e-12)
    y = np.stack([pt.GridPath()(noisy[:, m]) for m in range(SAMPLES)], 1)
    np.testing.assert_allclose(est.value_grad(), (y * (noisy < 0)).mean(1), rtol=1e-12)
    np.testing.assert_allclose(est.value, (y * np.minimum(noisy, 0)).sum((2, 3)).mean(1), rtol=1e-12)
    z = (noisy - theta[:, None]) / 0.7
    np.testing.assert_allclose(est.value_epsilon, (y * z * (noisy < 0)).sum((2, 3)).mean(1), rtol=1e-9)
    closed = theta.copy()
    closed[:, 1, 1] = -np.inf
    keep = np.ones((3, 4), bool)
    keep[1, 1] = False
    open_noise = noisy[..., keep]
    np.testing.assert_allclose(layer.estimate(closed, seed=3).clipped, (open_noise > 0).mean((1, 2)), rtol=1e-12)
    assert (pt.Perturbed(pt.Argmax()).estimate(np.zeros((2, 3))).clipped == 0).all()


def test_grid_gradient_by_finite_differences():
    """d/d theta of the clipped loss, on common noise at a step that few draws notice: E[1(theta' < 0)(y* - y)]."""
    theta, step = -np.array([[0.5, 0.9], [0.7, 0.2]]), 0.02
    rows = 40_000
    loss = loss_of(pt.GridPath(neighbors=4), samples=16, epsilon=0.6)
    given = np.array([[1.0, 1.0], [0.0, 1.0]])
    batch, target = np.broadcast_to(theta, (rows, 2, 2)), np.broadcast_to(given, (rows, 2, 2))
    _, grad = loss.value_and_grad(batch, target, seed=1)
    for cell in ((0, 0), (0, 1), (1, 0), (1, 1)):
        move = np.zeros((2, 2))
        move[cell] = step
        slope = (loss(batch + move, target, seed=1) - loss(batch - move, target, seed=1)) / (2 * step)
        off = slope - grad[:, *cell]
        assert abs(off.mean()) < 5 * off.std() / np.sqrt(rows) + 1e-3, cell


def test_loss_shares_the_draws_of_the_layer():
    """value - objective under the same noise; the count of the layer goes on once a call."""
    theta, y = RNG.standard_normal((3, 5)), np.eye(5)[[0, 1, 2]]
    layer = pt.Perturbed(pt.Argmax(), estimator="score", seed=8)
    loss = pt.FenchelYoungLoss(layer, "none")
    first, second = loss(theta, y), loss(theta, y)
    assert (first != second).any()
    again = pt.FenchelYoungLoss(pt.Perturbed(pt.Argmax(), estimator="score", seed=8), "none")
    np.testing.assert_array_equal(again(theta, y), first)
    np.testing.assert_array_equal(again.value_and_grad(theta, y)[0], second)
    _, grad = loss.value_and_grad(theta, y, seed=9)
    np.testing.assert_allclose(grad, layer(theta, seed=9) - y, atol=1e-15)
    parts = [loss(theta[i : i + 1], y[i : i + 1], seed=9, row_offset=i)[0] for i in range(3)]
    np.testing.assert_array_equal(loss(theta, y, seed=9), parts)
    wide = loss(theta, y, seed=9, epsilon=[0.1, 1.0, 5.0])
    assert wide[1] == loss(theta, y, seed=9)[1]


def test_refusals():
    layer = pt.Perturbed(pt.Argmax())
    with pytest.raises(ValueError, match="reduction must be one of 'mean', 'sum', 'none', got 'avg'"):
        pt.FenchelYoungLoss(layer, "avg")
    with pytest.raises(TypeError, match="layer must be a Perturbed layer, got Argmax"):
        pt.FenchelYoungLoss(pt.Argmax())
    for solver in (pt.Permutation(), pt.TopK(2, ordered=True), pt.Oracle(abs, linear=False)):
        with pytest.raises(ValueError, match="value needs a linear oracle"):
            pt.FenchelYoungLoss(pt.Perturbed(solver))
    loss = pt.FenchelYoungLoss(layer)
    with pytest.raises(ValueError, match=r"y must have shape \(2, 3\), got \(3,\)"):
        loss(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match=r"y must be finite, got nan at y\[1\]"):
        loss(np.zeros(2), [0, np.nan])
    with pytest.raises(TypeError, match="size is no instance argument of Argmax"):
        loss(np.zeros(2), [0, 1], size=3)


def test_repr():
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.TopK(2), epsilon=0.5, seed=1), reduction="sum")
    assert repr(loss) == "FenchelYoungLoss(Perturbed(TopK(k=2), epsilon=0.5, seed=1), reduction='sum')"
    assert loss.reduction == "sum"
    assert loss.layer.solver == pt.TopK(2)
