"""The score estimator against exact values. Rows of a batch draw independently: equal rows are replicates."""

from functools import cache

import numpy as np
import pytest
from exact_values import (
    NOISES,
    argmax_exact,
    assert_unbiased,
    derivative,
    difference_cdf,
    gradient,
    log_mean,
    multiplicative_exact,
    ranking_exact,
    ranking_value,
    record,
    z_scores,
)

import perturbed as pt

BASELINES = [None, "loo", "solution", "hybrid"]
THETA = np.array([0.75, 0.3, 0.1])
EPSILON = 0.7
G = np.array([1.5, -1.0, 0.25])
T = np.array([1.0, -0.5, 0.5])


def replicate(theta, rows):
    return np.tile(np.asarray(theta, float), (rows, 1))


def score_layer(solver, **options):
    options = {"estimator": "score", "epsilon": EPSILON, "seed": 0, "baseline": "hybrid"} | options
    return pt.Perturbed(solver, **options)


def check_consistent(layer, theta):
    """On the same draws J, J t and J^T g agree, and the value with its derivative by epsilon."""
    est = layer.estimate(theta)
    y, rng = est.y, np.random.default_rng(1)
    g, t = rng.standard_normal(y.shape), rng.standard_normal(theta.shape)
    jacobian = est.jacobian()
    size = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(est.jvp(t), np.einsum("b...j,bj->b...", jacobian, t), **size)
    flat = jacobian.reshape(len(theta), -1, theta.shape[1])
    np.testing.assert_allclose(est.vjp(g), np.einsum("bi,bij->bj", g.reshape(len(g), -1), flat), **size)
    if layer.solver._linear and layer.noise._additive:
        inner = layer.solver._sign * (y * theta).sum(-1)
        np.testing.assert_allclose(est.value_epsilon, (est.value - inner) / layer.epsilon, **size)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("name", NOISES)
def test_argmax(name, sampler, baseline):
    noise, distribution, _ = NOISES[name]
    p, value, jacobian = argmax_exact(THETA, EPSILON, distribution)
    layer = score_layer(pt.Argmax(), noise=noise, samples=8, sampler=sampler, baseline=baseline)
    rows = 250_000 if baseline is None else 100_000
    est = layer.estimate(replicate(THETA, rows))
    assert est.method == "score"
    assert_unbiased("y", est.y, p)
    assert_unbiased("value", est.value, value)
    assert_unbiased("vjp", est.vjp(replicate(G, rows)), G @ jacobian)
    check_consistent(layer, replicate(THETA, 200))


@pytest.mark.parametrize("name", ["normal", "gumbel"])
def test_argmax_derivatives(name):
    """What test_argmax takes from consistency: J, J t and the derivatives by epsilon, each on its own."""
    distribution = NOISES[name][1]
    jacobian = argmax_exact(THETA, EPSILON, distribution)[2]
    rows = 8_000
    est = score_layer(pt.Argmax(), noise=NOISES[name][0], samples=100).estimate(replicate(THETA, rows))
    g, t = replicate(G, rows), replicate(T, rows)
    assert_unbiased("jvp", est.jvp(t), jacobian @ T)
    assert_unbiased("jacobian", est.jacobian(), jacobian)
    slope = derivative(lambda e: argmax_exact(THETA, e, distribution)[1], EPSILON, 1e-3)
    assert_unbiased("value_epsilon", est.value_epsilon, slope)
    slope = derivative(lambda e: argmax_exact(THETA, e, distribution)[0] @ G, EPSILON, 1e-3)
    got = est.vjp_epsilon(g)
    assert_unbiased("vjp_epsilon", got, slope, seen=0.2)
    np.testing.assert_allclose(got, -(est.vjp(g) * THETA).sum(-1) / EPSILON, rtol=1e-9, atol=1e-9)


def test_oracle_epsilon():
    """An oracle may not be homogeneous: d/d epsilon comes from the noise score."""
    theta, distribution = np.array([1.0, 0.0]), NOISES["normal"][1]
    best = pt.Oracle(lambda items: (items == items.max(-1, keepdims=True)) * 1.0, batched=True)
    est = score_layer(best, samples=40_000).estimate(replicate(theta, 60))
    p, value, jacobian = argmax_exact(theta, EPSILON, distribution)
    g = np.array([1.0, -0.5])
    assert_unbiased("y", est.y, p)
    assert_unbiased("value", est.value, value)
    assert_unbiased("vjp", est.vjp(replicate(g, 60)), g @ jacobian)
    slope = derivative(lambda e: argmax_exact(theta, e, distribution)[0] @ g, EPSILON, 1e-3)
    assert_unbiased("vjp_epsilon", est.vjp_epsilon(replicate(g, 60)), slope)


@pytest.mark.parametrize(("sampler", "baseline"), [("iid", "hybrid"), ("antithetic", "loo"), ("iid", "solution")])
@pytest.mark.parametrize("name", ["normal", "gumbel", "laplace", "logistic"])
def test_ranking(name, sampler, baseline):
    ranks, jacobian = ranking_exact(THETA, EPSILON, name)
    value = ranking_value(THETA, EPSILON, name)
    rows = 50_000
    for descending in (False, True):
        turn = -1 if descending else 1
        layer = score_layer(
            pt.Ranking(descending=descending), noise=name, samples=8, sampler=sampler, baseline=baseline
        )
        est = layer.estimate(replicate(THETA, rows))
        assert_unbiased("y", est.y, 4 - ranks if descending else ranks)
        assert_unbiased("vjp", est.vjp(replicate(G, rows)), turn * G @ jacobian)
        check_consistent(layer, replicate(THETA, 200))
        # max -<y, theta'> over ranks 4 - y: the ascending value less 4 times the sum of theta'
        total = 4 * (THETA.sum() + 3 * EPSILON * NOISES[name][1].mean())
        assert_unbiased("value", est.value, np.asarray(value - descending * total), seen=np.inf if descending else 0.02)


def test_permutation():
    """Row r of y is the r-th smallest: for two items P and 1 - P of an argmax."""
    theta = THETA[:2]
    p, _, jacobian = argmax_exact(theta, EPSILON, NOISES["normal"][1])
    rows = 50_000
    layer = score_layer(pt.Permutation(), samples=8)
    est = layer.estimate(replicate(theta, rows))
    assert_unbiased("y", est.y, np.stack([p[::-1], p]))
    g = np.array([[0.5, -1.0], [1.0, 2.0]])
    exact = g[1] @ jacobian - g[0] @ jacobian
    assert_unbiased("vjp", est.vjp(np.broadcast_to(g, (rows, 2, 2))), exact, seen=0.03)
    check_consistent(layer, replicate(THETA, 200))


def test_top_k():
    """The two largest of three leave the smallest out: 1 - P of an argmin."""
    p, _, jacobian = argmax_exact(-THETA, EPSILON, NOISES["normal"][1])
    rows = 40_000
    est = score_layer(pt.TopK(2), samples=10).estimate(replicate(THETA, rows))
    assert_unbiased("y", est.y, 1 - p)
    assert_unbiased("vjp", est.vjp(replicate(G, rows)), G @ jacobian, seen=0.03)
    assert_unbiased("jvp", est.jvp(replicate(T, rows)), jacobian @ T, seen=0.03)


def test_single_precision():
    noise, distribution, _ = NOISES["normal"]
    p, value, jacobian = argmax_exact(THETA, EPSILON, distribution)
    theta = replicate(THETA, 40_000).astype(np.float32)
    est = score_layer(pt.Argmax(), noise=noise, samples=10).estimate(theta)
    got = est.vjp(replicate(G, 40_000).astype(np.float32))
    assert got.dtype == np.float32
    assert_unbiased("vjp", got, G @ jacobian, seen=0.03)
    assert_unbiased("y", est.y, p)
    assert_unbiased("value", est.value, value)


@pytest.mark.parametrize("baseline", BASELINES)
def test_many_seeds(baseline):
    """Replicates by seed instead of by row."""
    _, _, jacobian = argmax_exact(THETA, EPSILON, NOISES["normal"][1])
    layer = score_layer(pt.Argmax(), samples=2000, baseline=baseline)
    estimates = [layer.vjp(THETA, seed=seed)[1](G) for seed in range(300)]
    assert_unbiased("vjp", estimates, G @ jacobian, seen=0.05)
    assert len({e.tobytes() for e in map(np.asarray, estimates)}) == 300


# ---- standard errors ----


def told_and_measured(values, told):
    return np.sqrt((np.asarray(told, float) ** 2).mean(0)) / np.std(values, 0, ddof=1)


@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("name", ["normal", "gumbel", "student"])
def test_standard_errors(name, baseline, sampler):
    rows = 6000
    layer = score_layer(pt.Argmax(), noise=NOISES[name][0], samples=20, sampler=sampler, baseline=baseline)
    est = layer.estimate(replicate(THETA, rows))
    g = replicate(G, rows)
    np.testing.assert_allclose(told_and_measured(est.y, est.y_stderr), 1, atol=0.05)
    np.testing.assert_allclose(
        told_and_measured(est.value, est.value_stderr), 1, atol=0.1 if name == "student" else 0.05
    )
    # pairs: 10 independent contributions, and a baseline that they share
    bound = 0.1 if sampler == "iid" else 0.15
    np.testing.assert_allclose(told_and_measured(est.vjp(g), est.vjp_stderr(g)), 1, atol=bound)


@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
def test_standard_errors_of_other_solvers(sampler):
    rows = 4000
    for solver in (pt.Ranking(), pt.TopK(2), pt.Permutation(), pt.Ranking(descending=True)):
        est = score_layer(solver, samples=40, sampler=sampler).estimate(replicate(THETA, rows))
        spread = est.y.std(0, ddof=1) > 0
        assert spread.all()
        np.testing.assert_allclose(told_and_measured(est.y, est.y_stderr), 1, atol=0.06)
        g = np.broadcast_to(np.arange(est.y[0].size, dtype=float).reshape(est.y[0].shape) ** 2 % 5, est.y.shape)
        np.testing.assert_allclose(told_and_measured(est.vjp(g), est.vjp_stderr(g)), 1, atol=0.1)


def test_standard_errors_of_few_draws():
    one = score_layer(pt.Argmax(), samples=1).estimate(THETA)
    pair = score_layer(pt.Argmax(), samples=2, sampler="antithetic").estimate(THETA)
    for est in (one, pair):
        for error in (est.y_stderr, est.value_stderr, est.vjp_stderr(G)):
            assert np.isnan(error).all()
        assert np.isfinite(est.vjp(G)).all()
    assert np.isfinite(score_layer(pt.Argmax(), samples=2).estimate(THETA).y_stderr).all()


def test_value_stderr_needs_a_variance():
    est = score_layer(pt.Argmax(), noise=pt.StudentT(2)).estimate(THETA)
    assert np.isnan(est.value_stderr)
    assert np.isfinite(est.value)
    assert np.isfinite(est.vjp_stderr(G)).all()


# ---- widths ----

SCALE = np.array([0.5, 1.5, 1.0])


@pytest.mark.parametrize("baseline", ["hybrid", "loo"])
@pytest.mark.parametrize("name", ["normal", "gumbel", "laplace"])
def test_scale(name, baseline):
    distribution = NOISES[name][1]
    p, value, jacobian = argmax_exact(THETA, EPSILON, distribution, SCALE)
    noise = type(NOISES[name][0])(scale=SCALE)
    rows = 100_000
    layer = score_layer(pt.Argmax(), noise=noise, samples=8, baseline=baseline)
    est = layer.estimate(replicate(THETA, rows))
    assert_unbiased("y", est.y, p)
    assert_unbiased("value", est.value, value)
    assert_unbiased("vjp", est.vjp(replicate(G, rows)), G @ jacobian)
    check_consistent(layer, replicate(THETA, 200))
    slope = derivative(lambda e: argmax_exact(THETA, e, distribution, SCALE)[0] @ G, EPSILON, 1e-3)
    assert_unbiased("vjp_epsilon", est.vjp_epsilon(replicate(G, rows)), slope, seen=0.3)


@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("name", ["normal", "gumbel"])
def test_scale_zero(name, sampler):
    """A coordinate with no noise is a constant: gradient exactly 0 there, right elsewhere, and so is d/d epsilon."""
    distribution, scale = NOISES[name][1], np.array([1.0, 0.0, 1.5])
    noise = type(NOISES[name][0])(scale=scale)
    exact = lambda theta, e: argmax_exact(theta, e, distribution, scale)  # noqa: E731
    theta = np.array([0.2, 0.9, -0.1])
    p, value, _ = exact(theta, EPSILON)
    jacobian = gradient(lambda t: exact(t, EPSILON)[0], theta, 1e-3)
    rows = 100_000
    layer = score_layer(pt.Argmax(), noise=noise, samples=8, sampler=sampler)
    est = layer.estimate(replicate(theta, rows))
    g = replicate(G, rows)
    assert_unbiased("y", est.y, p)
    assert_unbiased("value", est.value, value)
    product = est.vjp(g)
    assert (product[:, 1] == 0).all()
    assert (est.vjp_stderr(g)[:, 1] == 0).all()
    assert_unbiased("vjp", product[:, [0, 2]], (G @ jacobian)[[0, 2]])
    check_consistent(layer, replicate(theta, 200))
    assert (layer.jacobian(replicate(theta, 9))[:, :, 1] == 0).all()
    slope = derivative(lambda e: exact(theta, e)[0] @ G, EPSILON, 1e-3)
    assert_unbiased("vjp_epsilon", est.vjp_epsilon(g), slope, seen=0.1)


def test_no_noise_at_all():
    est = score_layer(pt.Ranking(), noise=pt.Normal(scale=0.0)).estimate(THETA)
    np.testing.assert_array_equal(est.y, pt.Ranking()(THETA))
    assert (est.vjp(G) == 0).all()
    assert (est.jacobian() == 0).all()
    assert est.value == pytest.approx(float(pt.Ranking().value(THETA)))
    assert (est.y_stderr == 0).all()
    assert est.value_epsilon == 0


def test_epsilon_of_each_row():
    epsilons = np.array([0.3, 0.7, 2.0])
    rows = 20_000
    theta = np.broadcast_to(THETA, (3, rows, 3))
    layer = score_layer(pt.Argmax(), samples=20)
    est = layer.estimate(theta, epsilon=epsilons[:, None])
    g = np.broadcast_to(G, theta.shape)
    product = est.vjp(g)
    for i, epsilon in enumerate(epsilons):
        p, value, exact = argmax_exact(THETA, epsilon, NOISES["normal"][1])
        assert_unbiased("y", est.y[i], p)
        assert_unbiased("value", est.value[i], value)
        assert_unbiased("vjp", product[i], G @ exact, seen=0.03)
    given = score_layer(pt.Argmax(), samples=20, epsilon=epsilons[:, None]).estimate(theta)
    np.testing.assert_array_equal(given.vjp(g), product)
    few = layer.estimate(theta[:, :200], epsilon=epsilons[:, None])
    np.testing.assert_allclose(few.vjp(g[:, :200]), np.einsum("i,rbij->rbj", G, few.jacobian()), rtol=1e-9, atol=1e-9)
    inner = (few.y * THETA).sum(-1)
    np.testing.assert_allclose(few.value_epsilon, (few.value - inner) / epsilons[:, None], rtol=1e-9)


def test_left_out_entries_get_no_gradient():
    theta = np.array([0.75, -np.inf, 0.3, 0.1])
    _, _, jacobian = argmax_exact(theta, EPSILON, NOISES["normal"][1])
    rows = 40_000
    g = replicate([1.5, 7.0, -1.0, 0.25], rows)
    est = score_layer(pt.Argmax(), samples=10).estimate(replicate(theta, rows))
    product = est.vjp(g)
    assert (product[:, 1] == 0).all()
    assert (est.y[:, 1] == 0).all()
    assert_unbiased("vjp", product, g[0] @ jacobian, seen=0.03)
    assert np.isfinite(est.vjp_epsilon(g)).all()
    assert (est.jacobian()[:, :, 1] == 0).all()


# ---- multiplicative noise ----

POSITIVE = np.array([1.5, 1.0, 0.7])
INNER = ["normal", "gumbel", "laplace", "logistic"]


@cache
def multiplicative_slopes(name, scale):
    """(*P, F), derivatives by theta and by epsilon."""
    f = lambda x, e: multiplicative_exact(x, e, name, scale)  # noqa: E731
    at_theta = gradient(lambda x: f(x, 0.3), POSITIVE, 1e-3)
    return f(POSITIVE, 0.3), at_theta, derivative(lambda e: f(POSITIVE, e), 0.3, 1e-3)


@pytest.mark.parametrize(
    ("name", "scale", "baseline"),
    [(name, scale, "hybrid") for name in INNER for scale in (1.0, (1.0, 0.5, 1.2))]
    + [("normal", 1.0, None), ("normal", 1.0, "loo"), ("gumbel", 1.0, "loo")],
)
def test_multiplicative(name, scale, baseline):
    """theta exp(epsilon Z) over its mean, against quadrature: P, F, and finite differences of both."""
    noise = pt.Multiplicative(NOISES[name][0], scale=scale)
    exact, by_theta, by_epsilon = multiplicative_slopes(name, scale)
    rows = 300_000 if baseline is None else 100_000
    layer = score_layer(pt.Argmax(), noise=noise, samples=8, epsilon=0.3, baseline=baseline)
    est = layer.estimate(replicate(POSITIVE, rows))
    assert_unbiased("y", est.y, exact[:3])
    assert_unbiased("value", est.value, exact[3])
    g = replicate(G, rows)
    assert_unbiased("vjp", est.vjp(g), G @ by_theta[:3], seen=0.025)
    check_consistent(layer, replicate(POSITIVE, 200))
    if baseline == "hybrid":
        assert_unbiased("vjp_epsilon", est.vjp_epsilon(g), G @ by_epsilon[:3], seen=0.07)
        assert_unbiased("value_grad", layer.estimate(replicate(POSITIVE, 10_000)).value_grad(), by_theta[3])
        assert_unbiased("value_epsilon", est.value_epsilon, by_epsilon[3], seen=0.1)


@pytest.mark.parametrize("scale", [1.0, (1.0, 0.5, 1.2)])
@pytest.mark.parametrize("name", INNER)
def test_multiplicative_by_draws(name, scale):
    """The same numbers from recorded noisy items, to rounding."""
    epsilon, samples = 0.3, 50
    noise = pt.Multiplicative(NOISES[name][0], scale=scale)
    layer = score_layer(pt.Argmax(), noise=noise, samples=samples, epsilon=epsilon, baseline=None)
    theta = replicate(POSITIVE, 3)
    est = layer.estimate(theta)
    noisy = record(noise, theta.shape, samples, theta=theta, epsilon=epsilon)
    width = epsilon * np.broadcast_to(scale, 3).astype(float)
    c = np.array([log_mean(name, w) for w in width.tolist()])
    slope = np.array([derivative(lambda w: log_mean(name, float(w)), w, 1e-3) for w in width])
    z = (np.log(noisy / POSITIVE) + c) / width
    s = NOISES[name][2](z)
    y = (noisy == noisy.max(-1, keepdims=True)) * 1.0
    size = {"rtol": 1e-8, "atol": 1e-9}
    np.testing.assert_allclose(est.value, (y * noisy).sum(-1).mean(1), **size)
    np.testing.assert_allclose(est.value_grad(), (y * noisy / POSITIVE).mean(1), **size)
    moved = noisy * (z - slope) * width / epsilon
    np.testing.assert_allclose(est.value_epsilon, (y * moved).sum(-1).mean(1), **size)
    weight = y @ G
    np.testing.assert_allclose(est.vjp(replicate(G, 3)), (weight[..., None] * s / (width * POSITIVE)).mean(1), **size)
    by_epsilon = (s * z - 1 - s * slope).sum(-1) / epsilon
    np.testing.assert_allclose(est.vjp_epsilon(replicate(G, 3)), (weight * by_epsilon).mean(1), **size)


@pytest.mark.parametrize("name", INNER)
def test_multiplicative_of_costs(name):
    """Two costs, theta < 0: the smaller cost wins, P = K(log(cost ratio) / epsilon)."""
    epsilon, theta = 0.4, np.array([-1.0, -1.3])
    rows = 40_000
    est = score_layer(pt.Argmax(), noise=pt.Multiplicative(NOISES[name][0]), samples=10, epsilon=epsilon).estimate(
        replicate(theta, rows)
    )
    chance = lambda x: difference_cdf(name, np.log(x[1] / x[0]) / epsilon)  # noqa: E731
    p = float(chance(theta))
    assert_unbiased("y", est.y, np.array([p, 1 - p]))
    slopes = gradient(chance, theta, 1e-4)
    assert_unbiased("vjp", est.vjp(replicate([1.0, 0.0], rows)), slopes, seen=0.03)
    noisy = record(pt.Multiplicative(NOISES[name][0]), (1, 200), 400, theta=-2.0, epsilon=epsilon)
    assert (noisy < 0).all()
    factors = noisy.ravel() / -2
    assert abs(factors.mean() - 1) < 5 * factors.std() / np.sqrt(factors.size)


def test_multiplicative_leaves_zero_alone():
    layer = score_layer(pt.Argmax(), noise=pt.Multiplicative(), samples=50, epsilon=0.4)
    est = layer.estimate([[1.0, 0.0, -np.inf, 0.7]])
    g = np.array([[1.0, 2.0, 3.0, -1.0]])
    assert (est.vjp(g)[0, 1:3] == 0).all()
    assert np.isfinite(est.vjp(g)).all()
    assert np.isfinite(est.vjp_epsilon(g)).all()
    assert np.isfinite(est.value_grad()).all()
    assert (est.value_grad()[0, 1:3] == 0).all()
    assert record(pt.Multiplicative(), (1, 3), 5, theta=[1.0, 0.0, -2.0])[0, :, 1].tolist() == [0] * 5


def test_multiplicative_needs_narrow_noise():
    for name in ("gumbel", "laplace", "logistic"):
        layer = pt.Perturbed(pt.Argmax(), noise=pt.Multiplicative(NOISES[name][0], scale=2.0), epsilon=0.5)
        with pytest.raises(ValueError, match=r"epsilon times scale must be below 1 for .*, got 1"):
            layer([1.0, 2.0])
        assert layer([1.0, 2.0], epsilon=0.4).shape == (2,)
    with pytest.raises(ValueError, match="noise must have a finite E exp"):
        pt.Multiplicative(pt.StudentT(5))


# ---- the identity oracle ----


@pytest.mark.parametrize("scale", [1.0, [0.5, 2.0]])
@pytest.mark.parametrize("epsilon", [0.2, 3.0])
@pytest.mark.parametrize("name", NOISES)
def test_identity(name, epsilon, scale):
    """y = theta': E y = theta + epsilon E Z and J = I for each noise and width."""
    base = NOISES[name][0]
    options = {"df": 5} if name == "student" else {"centered": True} if name == "centered" else {}
    noise = type(base)(**options, scale=scale)
    theta = np.array([0.5, -1.0]) * epsilon
    rows = 1500
    layer = score_layer(pt.Oracle(lambda x: x, batched=True, linear=False), noise=noise, epsilon=epsilon, samples=200)
    y, pullback = layer.vjp(replicate(theta, rows))
    est = layer.estimate(replicate(theta, rows))
    assert_unbiased("jacobian", est.jacobian(), np.eye(2), seen=0.05)
    assert_unbiased("vjp", pullback(replicate([2.0, -1.0], rows)), np.array([2.0, -1.0]), seen=0.05)
    assert_unbiased("jvp", est.jvp(replicate([2.0, -1.0], rows)), np.array([2.0, -1.0]), seen=0.05)
    mean = theta + epsilon * np.asarray(scale) * NOISES[name][1].mean()
    assert_unbiased("y", y, mean, seen=0.1)
    # d<g, y>/d epsilon = <g, scale> E Z
    slope = np.asarray(2 * np.broadcast_to(scale, 2)[0] * NOISES[name][1].mean())
    got = est.vjp_epsilon(replicate([2.0, 0.0], rows))
    assert abs(z_scores(got, slope)) < 5


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
def test_identity_baselines(sampler, baseline):
    layer = score_layer(
        pt.Oracle(lambda x: x, batched=True, linear=False), samples=10, sampler=sampler, baseline=baseline
    )
    est = layer.estimate(replicate([0.5, -1.0], 15_000))
    assert_unbiased("jacobian", est.jacobian(), np.eye(2), seen=0.1 if baseline is None else 0.06)


def test_identity_multiplicative():
    layer = score_layer(
        pt.Oracle(lambda x: x, batched=True, linear=False), noise=pt.Multiplicative(), epsilon=0.3, samples=100
    )
    est = layer.estimate(replicate([0.5, -1.0], 2000))
    assert_unbiased("y", est.y, np.array([0.5, -1.0]))
    assert_unbiased("jacobian", est.jacobian(), np.eye(2), seen=0.05)
    assert abs(z_scores(est.vjp_epsilon(replicate([1.0, 0.5], 2000)), 0.0)) < 5


# ---- noises with less, or with more ----


def test_user_noise_with_a_score():
    """The user's normal noise gives what theory says, calls and all."""
    noise = pt.Noise(lambda rng, shape: rng.standard_normal(shape), score=lambda z: z, mean=0.0)
    p, value, jacobian = argmax_exact(THETA, EPSILON, NOISES["normal"][1])
    rows = 400
    for sampler_seed in (0, 1):
        est = score_layer(pt.Argmax(), noise=noise, samples=1500, seed=sampler_seed).estimate(replicate(THETA, rows))
        assert_unbiased("y", est.y, p)
        assert_unbiased("value", est.value, value)
        assert_unbiased("vjp", est.vjp(replicate(G, rows)), G @ jacobian, seen=0.04)
        assert_unbiased("jvp", est.jvp(replicate(T, rows)), jacobian @ T, seen=0.04)
        assert_unbiased("jacobian", est.jacobian(), jacobian, seen=0.04)
        slope = derivative(lambda e: argmax_exact(THETA, e, NOISES["normal"][1])[1], EPSILON, 1e-3)
        assert_unbiased("value_epsilon", est.value_epsilon, slope)
        np.testing.assert_allclose(told_and_measured(est.y, est.y_stderr), 1, atol=0.15)


def test_user_noise_with_a_scale():
    noise = pt.Noise(lambda rng, shape: rng.logistic(size=shape), score=lambda z: np.tanh(z / 2), scale=SCALE)
    p, _, jacobian = argmax_exact(THETA, EPSILON, NOISES["logistic"][1], SCALE)
    est = score_layer(pt.Argmax(), noise=noise, samples=1500).estimate(replicate(THETA, 400))
    assert_unbiased("y", est.y, p)
    assert_unbiased("vjp", est.vjp(replicate(G, 400)), G @ jacobian, seen=0.06)


@pytest.mark.parametrize("noise", [pt.SumOfGamma(2), pt.Noise(lambda rng, shape: rng.standard_normal(shape))])
def test_forward_only(noise):
    layer = pt.Perturbed(pt.Argmax(), noise=noise, seed=0)
    assert layer.estimator == "score"
    y, value = layer(THETA), layer.value(THETA)
    assert y.sum() == pytest.approx(1)
    assert np.isfinite(value)
    assert layer.sample(THETA, 5).shape == (5, 3)
    est = layer.estimate(THETA)
    assert np.isfinite(est.y_stderr).all()
    assert np.isfinite(est.value_epsilon)
    calls = [
        lambda: layer.vjp(THETA),
        lambda: layer.jvp(THETA, T),
        lambda: layer.jacobian(THETA),
        lambda: est.vjp(G),
        lambda: est.vjp_stderr(G),
        lambda: est.jvp(T),
        lambda: est.jacobian(),
        lambda: est.vjp_epsilon(G),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"derivatives need noise with a score, and .* has none: forward only"):
            call()


def test_sum_of_gamma_value():
    """The value of one item is theta + epsilon E Z, its derivative E Z."""
    noise = pt.SumOfGamma(2, iterations=5)
    mean = (sum(1 / i for i in range(1, 6)) - np.log(5)) / 2
    est = pt.Perturbed(pt.Argmax(), noise=noise, epsilon=0.5, seed=1, samples=50).estimate(np.ones((4000, 1)))
    assert_unbiased("value", est.value, np.asarray(1 + 0.5 * mean))
    assert_unbiased("value_epsilon", est.value_epsilon, np.asarray(mean), seen=0.1)


@pytest.mark.parametrize("df", [0.5, 1])
def test_student_without_a_mean(df):
    layer = pt.Perturbed(pt.Argmax(), noise=pt.StudentT(df), seed=0)
    assert layer(THETA).sum() == pytest.approx(1)
    assert np.isfinite(layer.vjp(THETA)[1](G)).all()
    for call in (layer.value, layer.value_and_grad):
        with pytest.raises(ValueError, match=r"value needs noise with a mean, and StudentT.* has none"):
            call(THETA)
    est = layer.estimate(THETA)
    for name in ("value", "value_stderr", "value_epsilon"):
        with pytest.raises(ValueError, match="value needs noise with a mean"):
            getattr(est, name)
    with pytest.raises(ValueError, match="value needs noise with a mean"):
        pt.FenchelYoungLoss(layer)


def test_student_with_one_degree_is_cauchy():
    """P of two items under Cauchy noise: 1/2 + atan(d / (2 epsilon)) / pi."""
    rows = 40_000
    est = score_layer(pt.Argmax(), noise=pt.StudentT(1), samples=10).estimate(replicate([0.5, 0.0], rows))
    p = 0.5 + np.arctan(0.5 / (2 * EPSILON)) / np.pi
    slope = 1 / np.pi / (2 * EPSILON) / (1 + (0.5 / (2 * EPSILON)) ** 2)
    assert_unbiased("y", est.y, np.array([p, 1 - p]))
    assert_unbiased("vjp", est.vjp(replicate([1.0, 0.0], rows)), np.array([slope, -slope]), seen=0.04)


def test_biased_together():
    with pytest.raises(ValueError, match="samples must be at least 2 for baseline 'loo', got 1"):
        pt.Perturbed(pt.Argmax(), estimator="score", samples=1, baseline="loo")
    with pytest.raises(ValueError, match="samples must be at least 4 for baseline 'loo', got 2"):
        pt.Perturbed(pt.Argmax(), estimator="score", samples=2, baseline="loo", sampler="antithetic")
    with pytest.raises(ValueError, match="samples must be even for the antithetic sampler, got 3"):
        pt.Perturbed(pt.Argmax(), samples=3, sampler="antithetic")
    with pytest.raises(ValueError, match="sampler must be 'iid' for SumOfGamma"):
        pt.Perturbed(pt.Argmax(), noise=pt.SumOfGamma(2), sampler="antithetic")
    with pytest.raises(ValueError, match="sampler must be 'iid' for Noise"):
        pt.Perturbed(pt.Argmax(), noise=pt.Noise(np.zeros), sampler="antithetic")


@pytest.mark.parametrize("samples", [1, 2])
def test_hybrid_from_one_draw_on(samples):
    """Unbiased for any number of draws."""
    _, _, jacobian = argmax_exact(THETA, EPSILON, NOISES["normal"][1])
    rows = 250_000
    est = score_layer(pt.Argmax(), samples=samples, baseline="hybrid").estimate(replicate(THETA, rows))
    assert_unbiased("vjp", est.vjp(replicate(G, rows)), G @ jacobian, seen=0.05)
    pairs = score_layer(pt.Argmax(), samples=2, baseline="hybrid", sampler="antithetic", noise="gumbel")
    _, _, jacobian = argmax_exact(THETA, EPSILON, NOISES["gumbel"][1])
    assert_unbiased("pair vjp", pairs.estimate(replicate(THETA, rows)).vjp(replicate(G, rows)), G @ jacobian, seen=0.05)


def test_memory_limit_changes_nothing():
    """Above the limit a pullback solves again: the same bits."""
    theta = np.tile(THETA, (5, 40))
    g = np.random.default_rng(0).standard_normal(theta.shape)
    results = []
    for limit in (2**30, 2000, 1):
        before = pt.get_memory_limit()
        pt.set_memory_limit(limit)
        try:
            for solver in (pt.Argmax(), pt.Ranking(), pt.TopK(7)):
                est = score_layer(solver, samples=130).estimate(theta)
                assert est._run.keeps_codes == (limit == 2**30)
                t = est.jvp(theta)
                results.append([est.y, est.value, est.vjp(g), est.vjp_stderr(g), t, est.jacobian(), est.y_stderr])
        finally:
            pt.set_memory_limit(before)
    for one, two, three in zip(results[:3], results[3:6], results[6:], strict=True):
        for a, b, c in zip(one, two, three, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("estimator", ["score", "exact"])
def test_empty_batch(estimator):
    est = pt.Perturbed(pt.Argmax(), estimator=estimator).estimate(np.zeros((2, 0, 3)))
    empty = np.zeros((2, 0, 3))
    for name in ("value", "value_stderr", "value_epsilon", "clipped"):
        assert getattr(est, name).shape == (2, 0)
    assert est.vjp_epsilon(empty).shape == (2, 0)
    for result in (est.y, est.y_stderr, est.vjp(empty), est.vjp_stderr(empty), est.jvp(empty), est.value_grad()):
        assert result.shape == (2, 0, 3)
    assert est.jacobian().shape == (2, 0, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"score": lambda z: 2 * z}, r"E Z score\(Z\) must be 1, got 2.02 .* score is not -d log p/dz of sample"),
        ({"score": lambda z: z + 0.5}, r"E score\(Z\) must be 0, got 0.498"),
        ({"score": lambda z: z / 1.3}, r"E Z score\(Z\) must be 1, got 0.7"),
        ({"mean": 0.2}, r"E Z must be 0.2, got .* mean is not that of sample"),
    ],
)
def test_a_wrong_score_or_mean_warns(arguments, words):
    with pytest.warns(UserWarning, match=words):
        pt.Noise(lambda rng, shape: rng.standard_normal(shape), **arguments)


def test_a_right_score_does_not_warn():
    for df in (1.5, 3, 30):  # heavy tails as well
        pt.Noise(
            lambda rng, shape, df=df: rng.standard_t(df, size=shape), lambda z, df=df: (df + 1) * z / (df + z * z), 0.0
        )

    def only_long(rng, shape):
        if shape[-1] < 100:
            raise ValueError("too short")
        return rng.standard_normal(shape)

    pt.Noise(only_long, lambda z: 3 * z)  # cannot be tried out
