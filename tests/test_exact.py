"""Exact perturbed argmax against closed forms and adaptive quadrature."""

import mpmath
import numpy as np
import pytest
from exact_values import NOISES, argmax_exact, derivative
from scipy import integrate, special, stats

import perturbed as pt

RNG = np.random.default_rng(12)
FIVE = np.array([0.3, -0.5, 0.9, 0.0, 0.4])


def exact(theta, epsilon=1.0, noise="normal", **options):
    layer = pt.Perturbed(pt.Argmax(), noise=noise, epsilon=epsilon, estimator="exact", **options)
    est = layer.estimate(theta)
    assert est.method == "exact"
    return est


@pytest.mark.parametrize("epsilon", [0.01, 0.7, 30.0])
def test_two_items(epsilon):
    """Phi((a - b) / (epsilon sqrt 2)) and all that follows."""
    a = np.array([0.0, 0.3, 1.0, -2.5, 5.0]) * epsilon + 4
    theta = np.stack([a, np.full(5, 4.0)], 1)
    est = exact(theta, epsilon)
    d = (a - 4) / (epsilon * np.sqrt(2))
    p, density = special.ndtr(d), stats.norm.pdf(d)
    np.testing.assert_allclose(est.y, np.stack([p, special.ndtr(-d)], 1), rtol=1e-12, atol=1e-14)
    slope = density / (epsilon * np.sqrt(2))
    want = slope[:, None, None] * np.array([[1, -1], [-1, 1]])
    np.testing.assert_allclose(est.jacobian(), want, rtol=1e-11, atol=1e-14 / epsilon)
    value = a * p + 4 * (1 - p) + epsilon * np.sqrt(2) * density
    np.testing.assert_allclose(est.value, value, rtol=1e-13)
    np.testing.assert_allclose(est.value_epsilon, np.sqrt(2) * density, atol=2e-12)
    g = np.array([[2.0, -1.0]] * 5)
    np.testing.assert_allclose(est.vjp_epsilon(g), -3 * slope * (a - 4) / epsilon, atol=1e-12 / epsilon)


@pytest.mark.parametrize("name", ["normal", "gumbel", "centered", "logistic", "laplace"])
@pytest.mark.parametrize("theta", [FIVE, RNG.standard_normal(100), np.zeros(3), np.array([-40.0, 0.0, -39.0, 0.5])])
def test_quadrature(name, theta):
    noise, distribution, _ = NOISES[name]
    epsilon = 0.7
    p, value, jacobian = argmax_exact(theta, epsilon, distribution)
    est = exact(theta, epsilon, noise)
    np.testing.assert_allclose(est.y, p, atol=2e-13)
    assert est.value == pytest.approx(value, abs=2e-12)
    np.testing.assert_allclose(est.jacobian(), jacobian, atol=2e-13 / epsilon)
    g, t = RNG.standard_normal((2, theta.size))
    np.testing.assert_allclose(est.vjp(g), jacobian @ g, atol=1e-12)
    np.testing.assert_allclose(est.jvp(t), jacobian @ t, atol=1e-12)
    np.testing.assert_array_equal(est.value_grad(), est.y)
    assert est.y.sum() == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic", "laplace"])
def test_epsilon_derivatives(name):
    noise, distribution, _ = NOISES[name]
    g = RNG.standard_normal(5)
    est = exact(FIVE + 2, 0.6, noise)
    slope = derivative(lambda e: argmax_exact(FIVE + 2, e, distribution)[0] @ g, 0.6, 1e-3)
    assert est.vjp_epsilon(g) == pytest.approx(slope, abs=1e-9)
    slope = derivative(lambda e: argmax_exact(FIVE + 2, e, distribution)[1], 0.6, 1e-3)
    assert est.value_epsilon == pytest.approx(slope, abs=1e-9)


def test_high_precision():
    """Three items to 20 digits."""
    theta, epsilon = [0.25, -0.5, 1.0], 0.5
    with mpmath.workdps(20):
        cdf = [lambda x, t=t: mpmath.ncdf((x - t) / mpmath.mpf(epsilon)) for t in theta]
        pdf = lambda x, t: mpmath.npdf((x - t) / mpmath.mpf(epsilon)) / epsilon  # noqa: E731
        points = [-5, -1, 0.5, 2, 7]
        p = [
            float(mpmath.quad(lambda x, i=i: pdf(x, theta[i]) * cdf[i - 1](x) * cdf[i - 2](x), points))
            for i in range(3)
        ]
        value = float(-5 + mpmath.quad(lambda x: 1 - cdf[0](x) * cdf[1](x) * cdf[2](x), points))
        slope = float(-mpmath.quad(lambda x: pdf(x, theta[0]) * pdf(x, theta[1]) * cdf[2](x), points))
    est = exact(theta, epsilon)
    np.testing.assert_allclose(est.y, p, atol=3e-14)
    assert est.value == pytest.approx(value, abs=1e-13)
    assert est.jacobian()[0, 1] == pytest.approx(slope, abs=3e-14)


def test_gumbel_is_softmax():
    theta = RNG.standard_normal((4, 50)) * 3
    epsilon = np.array([0.1, 1.0, 2.5, 40.0])
    est = exact(theta, epsilon, "gumbel")
    wide = epsilon[:, None]
    np.testing.assert_allclose(est.y, special.softmax(theta / wide, -1), rtol=1e-13)
    want = epsilon * (special.logsumexp(theta / wide, -1) + np.euler_gamma)
    np.testing.assert_allclose(est.value, want, rtol=1e-14)
    np.testing.assert_allclose(
        exact(theta, epsilon, pt.Gumbel(centered=True)).value, want - epsilon * np.euler_gamma, rtol=1e-13
    )
    doubled = exact(theta, epsilon, pt.Gumbel(scale=2.0))
    np.testing.assert_allclose(doubled.y, special.softmax(theta / wide / 2, -1), rtol=1e-13)
    constant = exact(theta, epsilon, pt.Gumbel(scale=np.full(50, 2.0)))
    np.testing.assert_array_equal(constant.y, doubled.y)


@pytest.mark.parametrize("scale", [[1, 1, 2, 1, 0.5], [0.2, 1, 1, 3, 1], [0.05, 1, 1, 1, 1], [1, 0.01, 1, 0.003, 1]])
@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic", "laplace"])
def test_widths(name, scale):
    """Widths of their own, down to a three-hundredth of the widest."""
    p, value, jacobian = argmax_exact(FIVE, 0.7, NOISES[name][1], scale)
    est = exact(FIVE, 0.7, type(NOISES[name][0])(scale=scale))
    np.testing.assert_allclose(est.y, p, atol=1e-10)
    assert est.value == pytest.approx(value, abs=1e-10)
    np.testing.assert_allclose(est.jacobian(), jacobian, atol=1e-8)


@pytest.mark.parametrize("ratio", [0.5, 0.1, 0.01, 0.002])
def test_two_widths(ratio):
    """Phi((a - b) / sqrt(w1^2 + w2^2)), at a tie and beside it."""
    for a, b in ((0.0, 0.0), (0.2, -0.4), (-0.3, 0.1)):
        est = exact([a, b], 1.0, pt.Normal(scale=[1.0, ratio]))
        wide = np.hypot(1.0, ratio)
        p = special.ndtr((a - b) / wide)
        np.testing.assert_allclose(est.y, [p, 1 - p], atol=1e-9)
        value = a * p + b * (1 - p) + wide * stats.norm.pdf((a - b) / wide)
        assert est.value == pytest.approx(value, abs=1e-9)


def test_widths_too_far_apart():
    """A quadrature that resolved both would take for ever: left to the draws."""
    noise = pt.Normal(scale=[1.0, 1e-4])
    assert pt.Perturbed(pt.Argmax(), noise=noise).estimator == "rao_blackwell"
    with pytest.raises(ValueError, match=r"estimator must be one of 'auto', .*'score'"):
        pt.Perturbed(pt.Argmax(), noise=noise, estimator="exact")


@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic", "laplace"])
def test_left_out_entries(name):
    noise = NOISES[name][0]
    theta = np.array([0.2, -np.inf, 0.7, -np.inf, -0.1])
    keep = [0, 2, 4]
    est, small = exact(theta, 0.5, noise), exact(theta[keep], 0.5, noise)
    np.testing.assert_allclose(est.y[keep], small.y, atol=1e-15)
    assert (est.y[[1, 3]] == 0).all()
    assert est.value == pytest.approx(float(small.value), abs=1e-15)
    jacobian = est.jacobian()
    np.testing.assert_allclose(jacobian[np.ix_(keep, keep)], small.jacobian(), atol=1e-15)
    assert (jacobian[[1, 3]] == 0).all()
    assert (jacobian[:, [1, 3]] == 0).all()
    g = np.array([1.0, 5.0, -1.0, 7.0, 2.0])
    np.testing.assert_allclose(est.vjp(g), jacobian @ g, atol=1e-14)
    assert np.isfinite(est.vjp_epsilon(g))
    assert np.isfinite(est.value_epsilon)
    layer = pt.Perturbed(pt.Argmax(), noise=noise, epsilon=0.5)
    mask = theta > -np.inf
    np.testing.assert_array_equal(layer(np.where(mask, theta, 0.3), mask=mask), est.y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic", "laplace"])
@pytest.mark.parametrize("gap", [10, 39, 1e3, 1e6, 1e30])
def test_gaps_without_limit(name, gap, dtype):
    theta = np.array([0, -gap, gap, gap, 0.5 * gap], dtype)
    est = exact(theta, 1.0, NOISES[name][0])
    results = [est.y, est.value, est.jacobian(), est.vjp(np.arange(5, dtype=dtype)), est.value_epsilon]
    for result in [*results, est.vjp_epsilon(np.arange(5, dtype=dtype))]:
        assert result.dtype == dtype
        assert np.isfinite(result).all()
    two = 1.0 if gap >= 1e3 else float(est.y[2] + est.y[3])
    np.testing.assert_allclose(est.y[2:4], [two / 2, two / 2], atol=1e-6 if dtype == np.float32 else 1e-13)
    if gap >= 1e3:
        mean = {"normal": 1 / np.sqrt(np.pi), "gumbel": np.log(2) + np.euler_gamma, "logistic": 1, "laplace": 0.75}[
            name
        ]
        assert est.value == pytest.approx(gap + mean, rel=4 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic", "laplace"])
def test_structure(name, dtype):
    """J is symmetric, its rows sum to 0, its diagonal is not negative."""
    theta = RNG.standard_normal((3, 2, 40)).astype(dtype)
    est = exact(theta, np.array([[0.1], [1.0], [9.0]]), NOISES[name][0])
    jacobian = est.jacobian()
    assert jacobian.shape == (3, 2, 40, 40)
    assert jacobian.dtype == dtype
    size = np.finfo(dtype).eps * 8
    np.testing.assert_allclose(jacobian, jacobian.swapaxes(-1, -2), atol=size)
    np.testing.assert_allclose(jacobian.sum(-1), 0, atol=40 * size)
    assert (np.diagonal(jacobian, axis1=-2, axis2=-1) >= 0).all()
    off = jacobian * (1 - np.eye(40))
    assert (off <= 0).all()
    assert (est.y_stderr == 0).all()
    assert (est.value_stderr == 0).all()
    assert (est.clipped == 0).all()
    g = RNG.standard_normal(theta.shape).astype(dtype)
    assert (est.vjp_stderr(g) == 0).all()
    np.testing.assert_allclose(est.vjp(g), (jacobian @ g[..., None])[..., 0], rtol=1e-4, atol=40 * size)


def test_single_precision_is_double_rounded():
    theta = RNG.standard_normal(30).astype(np.float32)
    for noise in ("normal", "gumbel", "logistic", "laplace"):
        single, double = exact(theta, 0.5, noise), exact(theta.astype(float), 0.5, noise)
        np.testing.assert_array_equal(single.y, double.y.astype(np.float32))
        np.testing.assert_array_equal(single.value, double.value.astype(np.float32))


@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic", "laplace"])
def test_one_item(name):
    noise, distribution, _ = NOISES[name]
    est = exact([3.0], 0.5, noise)
    assert est.y[0] == pytest.approx(1, abs=1e-14)
    assert est.value == pytest.approx(3 + 0.5 * distribution.mean(), abs=1e-13)
    assert abs(est.jacobian()).max() < 1e-13
    assert abs(est.vjp([2.0])).max() < 1e-13


@pytest.mark.parametrize("n", [1000, 10_000])
def test_many_items(n):
    theta = RNG.standard_normal(n)
    est = exact(theta, 0.5)
    assert est.y.sum() == pytest.approx(1, abs=1e-12)
    top = int(theta.argmax())
    others = np.delete(theta, top)

    def wins(x):
        return stats.norm.pdf(x - theta[top] / 0.5) * np.exp(special.log_ndtr(x - others / 0.5).sum())

    low, high = theta.max() / 0.5 - 4, theta.max() / 0.5 + 9
    p = integrate.quad(wins, low, high, limit=200, epsabs=1e-13)[0]
    assert est.y[top] == pytest.approx(p, abs=1e-11)
    g = np.zeros(n)
    g[top] = 1
    product = est.vjp(g)
    assert product.sum() == pytest.approx(0, abs=1e-12)
    step = 1e-4
    up, down = theta.copy(), theta.copy()
    up[top] += step
    down[top] -= step
    slope = (exact(up, 0.5).y - exact(down, 0.5).y) / (2 * step)
    np.testing.assert_allclose(product, slope, atol=1e-7)


def test_batches_and_epsilons():
    theta = RNG.standard_normal((4, 6))
    epsilon = np.array([0.2, 0.5, 1.0, 3.0])
    est = exact(theta, epsilon)
    for row in range(4):
        np.testing.assert_array_equal(est.y[row], exact(theta[row], epsilon[row]).y)
        np.testing.assert_array_equal(est.value[row], exact(theta[row], epsilon[row]).value)
    assert exact(np.zeros((0, 3))).y.shape == (0, 3)
    assert exact(np.zeros((0, 3))).jacobian().shape == (0, 3, 3)


def test_drawn_atoms_agree_with_the_closed_form():
    """atoms of an exact estimate come from M draws: their weights are near the probabilities."""
    samples = 40_000
    est = exact(FIVE[None], 0.7, samples=samples, seed=0)
    solutions, weights = est.atoms(0)
    p = est.y[0][solutions.argmax(-1)]
    assert (np.abs(weights - p) < 5 * np.sqrt(p * (1 - p) / samples)).all()
    assert len(weights) == 5


@pytest.mark.parametrize("name", ["normal", "logistic", "laplace"])
@pytest.mark.parametrize("theta", [[0.0, -2, -4, -8, -12], np.append(np.zeros(12), -2.5), np.linspace(-3, 0, 200)])
def test_small_chances_keep_seven_digits(name, theta):
    theta = np.asarray(theta)
    p = argmax_exact(theta, 1.0, NOISES[name][1])[0]
    y = exact(theta, 1.0, name).y
    large = p > 1e-12
    np.testing.assert_allclose(y[large], p[large], rtol=1e-7)


def test_gumbel_by_quadrature_is_softmax():
    """Widths that differ a little go another way than equal ones."""
    theta = RNG.standard_normal(20)
    scale = np.ones(20)
    scale[3] = 1 + 1e-9
    one, two = exact(theta, 0.7, "gumbel"), exact(theta, 0.7, pt.Gumbel(scale=scale))
    np.testing.assert_allclose(two.y, one.y, rtol=1e-8)
    np.testing.assert_allclose(two.vjp(theta), one.vjp(theta), atol=1e-8)
    assert two.value == pytest.approx(float(one.value), abs=1e-8)


@pytest.mark.parametrize("n", [3, 69, 300])
def test_laplace_kinks(n):
    """Kinks close together: panels end at each, and those of far entries lie outside of the window."""
    theta = np.linspace(0, 0.3, n)
    est = exact(theta, 1.0, "laplace")
    p, value, _ = argmax_exact(theta, 1.0, stats.laplace)
    np.testing.assert_allclose(est.y, p, atol=1e-12)
    assert est.value == pytest.approx(value, abs=1e-11)


def test_hundred_thousand_items():
    theta = RNG.standard_normal(100_000)
    for noise in ("normal", "gumbel"):
        est = exact(theta, 0.5, noise)
        assert est.y.sum() == pytest.approx(1, abs=1e-11)
        assert est.vjp(theta).sum() == pytest.approx(0, abs=1e-11)


def test_only_where_it_exists():
    for noise in (
        pt.StudentT(3),
        pt.Multiplicative("normal"),
        pt.Normal(scale=[1.0, 0.0]),
        pt.Logistic(scale=[1, 1e-3]),
    ):
        with pytest.raises(ValueError, match=r"estimator must be one of 'auto', .*'score'.* for"):
            pt.Perturbed(pt.Argmax(), noise=noise, estimator="exact")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", ["normal", "gumbel", "laplace", "logistic"])
def test_the_widest_and_the_thinnest_noise(noise, dtype):
    """At the ends of the range of epsilon: even chances where it drowns theta, the maximum where it is nothing."""
    ends, theta = (1e30, 1e-30) if dtype == np.float32 else (1e100, 1e-100), np.array([0.5, 2.0, -1.0, 1.0], dtype)
    g = np.array([1.0, 0.5, -2.0, 0.0], dtype)
    for estimator in ("exact", "score"):
        wide, thin = (
            pt.Perturbed(pt.Argmax(), noise=noise, epsilon=x, estimator=estimator, samples=4000, seed=0).estimate(theta)
            for x in ends
        )
        np.testing.assert_allclose(wide.y, 0.25, atol=1e-5 if estimator == "exact" else 0.04)
        np.testing.assert_allclose(thin.y, [0, 1, 0, 0], atol=1e-15)
        for est in (wide, thin):
            assert np.isfinite([*est.vjp(g), est.value, est.vjp_epsilon(g)]).all()
    still = pt.Perturbed(pt.Argmax(), noise=pt.Normal(scale=[0.0, 1.0, 1.0, 1.0]), epsilon=1e-30, samples=8, seed=0)
    np.testing.assert_array_equal(still(theta), [0, 1, 0, 0])
