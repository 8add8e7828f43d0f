"""Exact expected ranks against closed forms of pairs, quadrature and differences."""

import mpmath
import numpy as np
import pytest
from exact_values import NOISES, argmax_exact, derivative, difference_cdf, gradient, ranking_exact, ranking_value
from scipy import special, stats

import perturbed as pt

RNG = np.random.default_rng(8)
NAMES = ["normal", "gumbel", "centered", "logistic", "laplace"]
SIX = np.array([0.3, -0.5, 0.9, 0.0, 0.4, 0.3])


def exact(theta, epsilon=1.0, noise="normal", descending=False, **instance):
    layer = pt.Perturbed(pt.Ranking(descending=descending), noise=noise, epsilon=epsilon, estimator="exact")
    est = layer.estimate(theta, **instance)
    assert est.method == "exact"
    return est


def pair_excess(name, d):
    """E max(Z1 + |d|, Z2) - |d| - E Z."""
    a = np.abs(d)
    return {
        "normal": lambda: np.sqrt(2) * stats.norm.pdf(a / np.sqrt(2)) - a * special.ndtr(-a / np.sqrt(2)),
        "gumbel": lambda: np.log1p(np.exp(-a)),
        "logistic": lambda: np.where(a > 0, a, 1) / np.expm1(np.where(a > 0, a, np.log(2))),
        "laplace": lambda: (3 + a) * np.exp(-a) / 4,
    }[name]()


def pairs_of(name):
    return "gumbel" if name == "centered" else name


@pytest.mark.parametrize("theta", [SIX, RNG.standard_normal(40) * 3, np.array([1.0, 1.0]), np.array([2.0])])
@pytest.mark.parametrize("name", NAMES)
def test_closed_forms(name, theta):
    epsilon, noise = 0.7, NOISES[name][0]
    ranks, jacobian = ranking_exact(theta, epsilon, pairs_of(name))
    est = exact(theta, epsilon, noise)
    np.testing.assert_allclose(est.y, ranks, rtol=1e-13)
    np.testing.assert_allclose(est.jacobian(), jacobian, atol=1e-9)
    g, t = RNG.standard_normal((2, theta.size))
    np.testing.assert_allclose(est.vjp(g), est.jacobian() @ g, atol=1e-13)
    np.testing.assert_allclose(est.jvp(t), est.jacobian() @ t, atol=1e-13)
    assert est.value == pytest.approx(ranking_value(theta, epsilon, name), rel=1e-12)
    np.testing.assert_array_equal(est.value_grad(), est.y)
    assert (est.y_stderr == 0).all()
    assert (est.vjp_stderr(g) == 0).all()


@pytest.mark.parametrize("d", [0.0, 1e-9, 1e-3, 0.3, 0.999, 1.001, 4.0, 30.0])
def test_logistic_pairs_to_20_digits(d):
    """Two entries a gap d apart: the closed forms cancel near 0, where a series takes over."""
    est = exact([d, 0.0], 1.0, "logistic")
    with mpmath.workdps(60):
        x = mpmath.mpf(d) if d else mpmath.mpf("1e-9")
        cdf = lambda t: (1 - mpmath.exp(-t) - t * mpmath.exp(-t)) / (1 - mpmath.exp(-t)) ** 2  # noqa: E731
        above, slope = float(1 - cdf(x)), float(mpmath.diff(cdf, x))
        excess = float(x * mpmath.exp(-x) / (1 - mpmath.exp(-x)))
    assert est.y[1] - 1 == pytest.approx(above, rel=1e-11 if d else 1e-8, abs=3e-16)
    assert est.jacobian()[0, 0] == pytest.approx(slope, rel=1e-10)
    assert est.value == pytest.approx(d + d + excess, rel=1e-13 if d else 1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_by_differences(name):
    noise, g = NOISES[name][0], RNG.standard_normal(6)
    est = exact(SIX + 1, 0.6, noise)
    slopes = gradient(lambda t: exact(t, 0.6, noise).y, SIX + 1, 1e-3)
    tolerance = 1e-3 if name == "laplace" else 1e-9  # a tie: the density has a kink there
    np.testing.assert_allclose(est.jacobian(), slopes, atol=tolerance)
    np.testing.assert_allclose(est.y, gradient(lambda t: exact(t, 0.6, noise).value, SIX + 1, 1e-3), atol=1e-6)
    assert est.vjp_epsilon(g) == pytest.approx(derivative(lambda e: exact(SIX + 1, e, noise).y @ g, 0.6), abs=1e-8)
    assert est.value_epsilon == pytest.approx(derivative(lambda e: exact(SIX + 1, e, noise).value, 0.6), abs=1e-8)


@pytest.mark.parametrize("n", [5, 400])
def test_widths(n):
    """Normal widths of their own, with one far from the others: pairs of width sqrt(w1^2 + w2^2)."""
    theta, scale, epsilon = RNG.standard_normal(n) * 2, RNG.uniform(0.3, 2, n), 0.7
    scale[1] = 1e-4
    est = exact(theta, epsilon, pt.Normal(scale=scale))
    wide = epsilon * np.hypot(scale[:, None], scale)
    d = (theta[:, None] - theta) / wide
    np.testing.assert_allclose(est.y, 0.5 + special.ndtr(d).sum(1), rtol=1e-13)
    jacobian = -stats.norm.pdf(d) / wide
    np.fill_diagonal(jacobian, 0)
    np.fill_diagonal(jacobian, -jacobian.sum(1))
    np.testing.assert_allclose(est.jacobian(), jacobian, atol=1e-12)
    g = RNG.standard_normal(n)
    np.testing.assert_allclose(est.vjp(g), jacobian @ g, atol=1e-11)
    larger = theta[:, None] * special.ndtr(d) + theta * special.ndtr(-d) + wide * stats.norm.pdf(d)
    assert est.value == pytest.approx(theta.sum() + np.triu(larger, 1).sum(), rel=1e-12)


@pytest.mark.parametrize("n", [255, 256, 300, 2048, 2049, 3000])
@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic", "laplace"])
def test_sorted_and_cut_into_parts(name, n):
    """Long items are sorted, and pairs out of reach are counted only; very long ones are cut into tasks."""
    theta = RNG.standard_normal(n) * 40
    theta[::7] = theta[0]
    est = exact(theta, 0.5, name)
    inside = RNG.choice(n, 12, replace=False)
    d = (theta[inside, None] - theta) / 0.5
    np.testing.assert_allclose(est.y[inside], 0.5 + difference_cdf(name, d).sum(1), rtol=1e-14, atol=1e-11)
    assert est.y.sum() == pytest.approx(n * (n + 1) / 2, rel=1e-13)
    g = RNG.standard_normal(n)
    slope = derivative(lambda t: difference_cdf(name, d + t), 0.0, 1e-3) / 0.5
    if name == "laplace":  # no kink in the differences of the other three
        slope = (1 + np.abs(d)) * np.exp(-np.abs(d)) / 4 / 0.5
    want = (slope * (g[inside, None] - g)).sum(1)
    np.testing.assert_allclose(est.vjp(g)[inside], want, atol=1e-7)
    assert est.vjp(g).sum() == pytest.approx(0, abs=1e-9)
    means = theta.sum() + n * 0.5 * NOISES[name][1].mean()
    assert est.value - means > np.sort(theta) @ np.arange(n) - 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_value_of_a_sorted_item(name):
    theta = RNG.standard_normal(300) * 20
    noise, distribution, _ = NOISES[name]
    few = theta[:8]
    want = exact(few, 0.5, noise).value
    assert want == pytest.approx(ranking_value(few, 0.5, name), rel=1e-12)
    est = exact(theta, 0.5, noise)
    d = (theta[:, None] - theta) / 0.5
    pairs = np.maximum(theta[:, None], theta) + 0.5 * (pair_excess(pairs_of(name), d) + distribution.mean())
    total = theta.sum() + 300 * 0.5 * distribution.mean() + np.triu(pairs, 1).sum()
    assert est.value == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("n", [6, 300, 2500])
@pytest.mark.parametrize("name", ["normal", "gumbel"])
def test_descending_and_mask(name, n):
    theta, g = RNG.standard_normal((2, n))
    mask = RNG.random(n) < 0.8
    mask[:2] = True
    noise, keep = NOISES[name][0], np.flatnonzero(mask)
    up, down = exact(theta, 0.5, noise, mask=mask), exact(theta, 0.5, noise, True, mask=mask)
    small, turned = exact(theta[keep], 0.5, noise), exact(theta[keep], 0.5, noise, True)
    for est, own in ((up, small), (down, turned)):
        np.testing.assert_allclose(est.y[keep], own.y, rtol=1e-13)
        assert (est.y[~mask] == 0).all()
        assert est.value == pytest.approx(float(own.value), rel=1e-13)
        product = est.vjp(g)
        assert (product[~mask] == 0).all()
        np.testing.assert_allclose(product[keep], own.vjp(g[keep]), atol=1e-11)
        if n < 1000:
            assert (est.jacobian()[~mask] == 0).all()
            assert (est.jacobian()[:, ~mask] == 0).all()
    np.testing.assert_allclose(turned.y, keep.size + 1 - small.y, rtol=1e-12)
    np.testing.assert_allclose(turned.vjp(g[keep]), -small.vjp(g[keep]), atol=1e-11)
    np.testing.assert_array_equal(turned.value_grad(), -turned.y)
    if n == 6:
        slopes = gradient(lambda t: exact(t, 0.5, noise, True).value, theta[keep], 1e-3)
        np.testing.assert_allclose(turned.value_grad(), slopes, atol=1e-8)
        expected = -(keep.size + 1) * (theta[keep].sum() + keep.size * 0.5 * NOISES[name][1].mean())
        assert turned.value == pytest.approx(float(small.value) + expected, rel=1e-12)
        g = g[keep]
        slope = derivative(lambda e: exact(theta[keep], e, noise, True).value, 0.5)
        assert turned.value_epsilon == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gap", [10, 1e3, 1e6, 1e30])
def test_gaps_without_limit(name, gap, dtype):
    theta = np.array([0, -gap, gap, gap, 0.5 * gap], dtype)
    est = exact(theta, 1.0, NOISES[name][0])
    results = [est.y, est.value, est.jacobian(), est.vjp(np.arange(5, dtype=dtype)), est.value_epsilon]
    for result in results:
        assert result.dtype == dtype
        assert np.isfinite(result).all()
    assert est.y[2:4] == pytest.approx([4.5, 4.5], abs=0.05)
    if gap >= 1e3:
        np.testing.assert_array_equal(est.y, [2, 1, 4.5, 4.5, 3])
        least = 1e-200 if gap == 1e3 else 0
        assert (abs(est.jacobian()[[0, 1, 4]]) <= least).all()
        assert (abs(est.vjp([5, 4, 0, 0, 3.0])[[0, 1, 4]]) <= least).all()


@pytest.mark.parametrize("name", NAMES)
def test_single_precision(name):
    theta, g = RNG.standard_normal((2, 3, 400)).astype(np.float32)
    for part in (slice(0, 60), slice(None)):
        x, along = theta[:, part], g[:, part]
        single, double = exact(x, 0.5, NOISES[name][0]), exact(x.astype(float), 0.5, NOISES[name][0])
        assert single.y.dtype == np.float32
        for a, b in ((single.y, double.y), (single.vjp(along), double.vjp(along)), (single.value, double.value)):
            assert np.abs(a - b).max() <= 2e-6 * np.abs(b).max()


def test_ten_thousand_entries():
    theta = RNG.standard_normal(10_000)
    est = exact(theta, 0.01)
    order = theta.argsort()
    assert (np.diff(est.y[order]) >= 0).all()
    i = order[5000]
    assert est.y[i] == pytest.approx(0.5 + special.ndtr((theta[i] - theta) / 0.01 / np.sqrt(2)).sum(), abs=1e-9)


def test_batches_threads_and_offsets():
    theta = RNG.standard_normal((3, 2100))
    epsilon = np.array([0.2, 0.5, 3.0])
    found = set()
    for threads in (1, 2, 5):
        with pt.threads(threads):
            est = exact(theta, epsilon)
            found.add(est.y.tobytes() + est.value.tobytes() + est.vjp(theta).tobytes())
    assert len(found) == 1
    for row in range(3):
        np.testing.assert_array_equal(est.y[row], exact(theta[row], epsilon[row]).y)
    assert exact(np.zeros((0, 3))).y.shape == (0, 3)


def test_loss():
    """Gradient y_eps - y, its negative when descending; the value that of its definition."""
    theta = RNG.standard_normal((4, 7))
    for descending, sign in ((False, 1), (True, -1)):
        for noise in ("normal", "gumbel"):
            solver = pt.Ranking(descending=descending)
            layer = pt.Perturbed(solver, noise=noise, epsilon=0.5)
            y = solver(RNG.standard_normal((4, 7)))
            value, grad = pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, y)
            np.testing.assert_allclose(grad, sign * (layer(theta) - y), atol=1e-13)
            mean = NOISES[noise][1].mean() * 0.5
            want = layer.value(theta) - sign * ((y * theta).sum(1) + mean * y.sum(1))
            np.testing.assert_allclose(value, want, rtol=1e-10)
            assert (value > 0).all()
            slopes = gradient(lambda t: pt.FenchelYoungLoss(layer, "none")(t, y[0]), theta[0], 1e-3)  # noqa: B023
            np.testing.assert_allclose(grad[0], slopes, atol=1e-7)
            far = pt.FenchelYoungLoss(layer, "none")(1e4 * theta, solver(theta))
            assert (far >= 0).all()
            assert (far < 1e-3).all()


def test_where_it_exists():
    for noise in (pt.Gumbel(scale=[1, 2]), pt.Logistic(scale=[1, 2]), pt.StudentT(3), pt.Normal(scale=[1, 0])):
        with pytest.raises(ValueError, match=r"estimator must be one of 'auto', .*'score'.* for Ranking\(\)"):
            pt.Perturbed(pt.Ranking(), noise=noise, estimator="exact")
    layer = pt.Perturbed(pt.Ranking(), samples=2)
    assert layer.estimate(np.zeros(16_384)).method == "exact"
    assert layer.estimate(np.zeros(16_385)).method != "exact"
    assert argmax_exact([0.0, 1.0], 1.0, stats.norm)[0][1] + 1 == pytest.approx(exact([0.0, 1.0]).y[1], abs=1e-12)


@pytest.mark.parametrize(("n", "dtype"), [(32, np.float32), (100, np.float32), (257, np.float64), (700, np.float64)])
@pytest.mark.parametrize("spread", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic"])
def test_crowded_rows(name, spread, n, dtype):
    """Rows whose entries have many others in reach go by a Fourier series: against sums over pairs."""
    rng = np.random.default_rng(n)
    theta, g = (rng.standard_normal((2, n)) * [[spread], [1]]).astype(dtype)
    theta += dtype(3)
    layer = pt.Perturbed(pt.Ranking(), noise=name, epsilon=0.5, estimator="exact")
    est = layer.estimate(theta)
    wide, along = theta.astype(float), g.astype(float)
    d = (wide[:, None] - wide) / 0.5
    slope = derivative(lambda t: difference_cdf(name, d + t), 0.0, 1e-3) / 0.5
    want = (slope * (along[:, None] - along)).sum(1)
    tight = dtype is np.float64
    np.testing.assert_allclose(est.y, 0.5 + difference_cdf(name, d).sum(1), rtol=5e-7 * (not tight), atol=2e-14 * n)
    np.testing.assert_allclose(est.vjp(g), want, atol=(2e-9 if tight else 2e-7) * np.abs(slope).sum(1).max())
    np.testing.assert_array_equal(est.jvp(g), est.vjp(g))
    larger = np.maximum(wide[:, None], wide) + 0.5 * (pair_excess(name, d) + NOISES[name][1].mean())
    total = wide.sum() + n * 0.5 * NOISES[name][1].mean() + np.triu(larger, 1).sum()
    assert est.value == pytest.approx(total, rel=1e-13 if tight else 1e-6)


def test_crowded_and_sparse_rows_agree():
    """The same entries with one far from all others, and without: by pairs and by series."""
    rng = np.random.default_rng(3)
    theta, g = rng.standard_normal((2, 400))
    near, far = exact(theta, 0.5), exact(np.append(theta, 1e6), 0.5)
    np.testing.assert_allclose(far.y[:-1], near.y, rtol=1e-14)
    np.testing.assert_allclose(far.vjp(np.append(g, 5.0))[:-1], near.vjp(g), atol=1e-12)
    assert far.vjp(np.append(g, 5.0))[-1] == 0
    assert far.value == pytest.approx(near.value + 401e6, rel=1e-14)
