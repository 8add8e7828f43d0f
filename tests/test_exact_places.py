"""Exact chances of places (top-k, ordered top-k, permutations) against tables made from scratch, and differences."""

import numpy as np
import pytest
from exact_values import NOISES, argmax_exact, derivative, exceed_tables, gradient, places_exact
from scipy import integrate, special

import perturbed as pt

RNG = np.random.default_rng(21)
NAMES = ["normal", "gumbel", "centered", "logistic"]
FIVE = np.array([0.3, -0.5, 0.9, 0.0, 0.4])
ITEMS = {
    "one": np.array([2.0]),
    "two": np.array([0.1, -0.4]),
    "five": FIVE,
    "ties": np.array([0.2, 0.2, 0.2, -1.0, -1.0]),
    "spread": np.array([-7.0, 3.0, 0.0, 0.4, 9.0]),
    "clusters": np.array([0.0, 300.0, 0.5, 300.2, -900.0]),
}


def exact(solver, theta, epsilon=0.7, noise="normal", **instance):
    est = pt.Perturbed(solver, noise=noise, epsilon=epsilon, estimator="exact").estimate(theta, **instance)
    assert est.method == "exact"
    return est


def close(got, want):
    """Within 1e-9 of the largest entry."""
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * max(np.abs(want).max(), 1e-3))


def check(est, p, jacobian):
    """y, VJP, JVP and J of an estimate; p shaped like y, jacobian like it and theta."""
    close(est.y, p)
    large = p > 1e-12
    np.testing.assert_allclose(est.y[large], p[large], rtol=1e-7)
    g, t = RNG.standard_normal(p.shape), RNG.standard_normal(jacobian.shape[-1])
    close(est.jacobian(), jacobian)
    close(est.jvp(t), jacobian @ t)
    close(est.vjp(g), np.tensordot(g, jacobian, p.ndim))
    assert (est.y_stderr == 0).all()
    assert est.vjp_stderr(g).shape == est.vjp(g).shape


def reference(theta, epsilon, name, scale=1.0):
    """places_exact, cluster by cluster where they are far apart."""
    distribution = NOISES[name][1]
    if np.ptp(theta) < 100:
        return places_exact(theta, epsilon, distribution, scale)
    n, first = theta.size, 0
    p, jacobian = np.zeros((n, n)), np.zeros((n, n, n))
    for top in (300, 0, -900):
        inside = np.flatnonzero(abs(theta - top) < 100)
        rows = first + np.arange(inside.size)
        p[np.ix_(rows, inside)], jacobian[np.ix_(rows, inside, inside)] = places_exact(
            theta[inside], epsilon, distribution
        )
        first += inside.size
    return p, jacobian


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("name", NAMES)
def test_permutation(name, item):
    theta, noise = ITEMS[item], NOISES[name][0]
    p, jacobian = reference(theta, 0.7, name)
    check(exact(pt.Permutation(descending=True), theta, 0.7, noise), p, jacobian)
    check(exact(pt.Permutation(), theta, 0.7, noise), p[::-1], jacobian[::-1])


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("name", NAMES)
def test_top_k(name, item):
    theta, noise = ITEMS[item], NOISES[name][0]
    p, jacobian = reference(theta, 0.7, name)
    for k in range(1, theta.size + 1):
        est = exact(pt.TopK(k), theta, 0.7, noise)
        check(est, p[:k].sum(0), jacobian[:k].sum(0))
        assert est.y.sum() == pytest.approx(k, rel=1e-11)
        np.testing.assert_array_equal(est.value_grad(), est.y)
        check(exact(pt.TopK(k, ordered=True), theta, 0.7, noise), p[:k], jacobian[:k])


@pytest.mark.parametrize("scale", [[1, 1, 2, 1, 0.5], [0.2, 1, 1, 3, 1], [0.05, 1, 1, 1, 1]])
@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic"])
def test_widths(name, scale):
    p, jacobian = places_exact(FIVE, 0.7, NOISES[name][1], scale, spacing=0.05)
    noise = type(NOISES[name][0])(scale=scale)
    check(exact(pt.TopK(2), FIVE, 0.7, noise), p[:2].sum(0), jacobian[:2].sum(0))
    check(exact(pt.TopK(3, ordered=True), FIVE, 0.7, noise), p[:3], jacobian[:3])
    check(exact(pt.Permutation(descending=True), FIVE, 0.7, noise), p, jacobian)
    slopes = gradient(lambda t: exact(pt.TopK(2), t, 0.7, noise).value, FIVE, 1e-3)
    close(exact(pt.TopK(2), FIVE, 0.7, noise).value_grad(), slopes)


def test_centred_gumbel_of_widths_of_their_own():
    """Centring then moves each entry by its own width."""
    scale = np.array([1, 0.5, 2, 1, 1])
    moved = FIVE - np.euler_gamma * 0.7 * scale
    one = exact(pt.TopK(2), FIVE, 0.7, pt.Gumbel(centered=True, scale=scale))
    two = exact(pt.TopK(2), moved, 0.7, pt.Gumbel(scale=scale))
    np.testing.assert_allclose(one.y, two.y, atol=1e-12)
    assert one.value == pytest.approx(float(two.value), abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_value(name, k):
    """F by its gradient (differences), its epsilon derivative, and where it starts: k = 1 is an argmax, k = n a sum."""
    noise, distribution, _ = NOISES[name]
    est = exact(pt.TopK(k), FIVE + 3, 0.7, noise)
    close(est.y, gradient(lambda t: exact(pt.TopK(k), t, 0.7, noise).value, FIVE + 3, 1e-3))
    slope = derivative(lambda e: exact(pt.TopK(k), FIVE + 3, e, noise).value, 0.7, 1e-3)
    assert est.value_epsilon == pytest.approx(slope, abs=1e-8)
    g = RNG.standard_normal(5)
    slope = derivative(lambda e: exact(pt.TopK(k), FIVE + 3, e, noise).y @ g, 0.7, 1e-3)
    assert est.vjp_epsilon(g) == pytest.approx(slope, abs=1e-8)
    if k == 1:
        assert est.value == pytest.approx(argmax_exact(FIVE + 3, 0.7, distribution)[1], abs=1e-10)
    if k == 5:
        assert est.value == pytest.approx((FIVE + 3).sum() + 5 * 0.7 * distribution.mean(), abs=1e-10)
    with pytest.raises(ValueError, match="value needs a linear oracle"):
        _ = exact(pt.TopK(2, ordered=True), FIVE).value
    with pytest.raises(ValueError, match="value needs a linear oracle"):
        _ = exact(pt.Permutation(), FIVE).value_grad()


@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic"])
@pytest.mark.parametrize(("n", "k"), [(20, 5), (100, 5), (100, 60), (300, 10)])
def test_larger_items(name, n, k):
    """Chances of a few entries by adaptive quadrature; derivatives by differences."""
    noise, distribution, _ = NOISES[name]
    theta = RNG.standard_normal(n)
    est, ordered = (exact(pt.TopK(k, ordered=o), theta, 0.5, noise) for o in (False, True))
    order = theta.argsort()[::-1]
    for j in order[[0, k - 1, k, min(n - 1, 3 * k)]]:
        others = np.delete(theta, j)

        def tables(x, others=others):
            return exceed_tables(distribution.sf((x - others) / 0.5)[:, None])[:k, 0]

        def chance(x, j=j, tables=tables):
            return distribution.pdf((x - theta[j]) / 0.5) / 0.5 * tables(x).sum()

        low, high = theta[j] - 5, max(theta) + (18 if name != "normal" else 5)
        want = integrate.quad(chance, low, high, limit=60, epsabs=1e-10, epsrel=1e-9)[0]
        assert est.y[j] == pytest.approx(want, abs=3e-9)
    np.testing.assert_allclose(ordered.y.sum(0), est.y, atol=1e-12)
    np.testing.assert_allclose(ordered.y.sum(1), 1, atol=1e-10)
    g, t = RNG.standard_normal((k, n)), RNG.standard_normal(n)
    slope = derivative(lambda s: exact(pt.TopK(k, ordered=True), theta + s * t, 0.5, noise).y, 0.0, 1e-3)
    np.testing.assert_allclose(ordered.jvp(t), slope, atol=1e-8)
    assert ordered.vjp(g) @ t == pytest.approx((g * slope).sum(), abs=1e-7)
    np.testing.assert_allclose(est.vjp(t), ordered.jvp(t).sum(0), atol=1e-11)


def test_large_permutation():
    theta = RNG.standard_normal(100)
    est = exact(pt.Permutation(), theta, 0.3)
    np.testing.assert_allclose(est.y.sum(0), 1, atol=1e-12)
    np.testing.assert_allclose(est.y.sum(1), 1, atol=1e-12)
    ranks = exact(pt.Ranking(), theta, 0.3)
    np.testing.assert_allclose(np.arange(1, 101) @ est.y, ranks.y, rtol=1e-11)
    g = RNG.standard_normal(100)
    np.testing.assert_allclose(est.vjp(np.outer(np.arange(1, 101), g)), ranks.vjp(g), atol=1e-9)
    np.testing.assert_allclose(np.arange(1, 101) @ est.jvp(g), ranks.jvp(g), atol=1e-9)


def test_high_precision_in_the_tail():
    """Chances down to 1e-12 to seven digits: two entries, Phi(-d / sqrt 2)."""
    for gap in np.linspace(0, 9.9, 12):
        for solver in (pt.TopK(1), pt.Permutation(descending=True), pt.Argmax()):
            y = exact(solver, [gap, 0.0], 1.0).y.reshape(-1, 2)[0]
            assert y[1] == pytest.approx(special.ndtr(-gap / np.sqrt(2)), rel=1e-7)


@pytest.mark.parametrize("name", ["normal", "gumbel"])
def test_left_out_entries(name):
    noise = NOISES[name][0]
    theta = np.array([0.2, 0.5, 0.7, 3.0, -0.1])
    mask, keep = np.array([True, False, True, False, True]), [0, 2, 4]
    g, t = RNG.standard_normal((5, 5)), RNG.standard_normal(5)
    for solver, rows in (
        (pt.TopK(2), slice(None)),
        (pt.TopK(2, ordered=True), [0, 1]),
        (pt.Permutation(), [0, 1, 2]),
        (pt.Permutation(descending=True), [0, 1, 2]),
    ):
        est, small = exact(solver, theta, 0.5, noise, mask=mask), exact(solver, theta[keep], 0.5, noise)
        wide = np.zeros_like(est.y)
        where = (..., keep) if isinstance(rows, slice) else np.ix_(rows, keep)
        wide[where] = small.y
        np.testing.assert_allclose(est.y, wide, atol=1e-14)
        own_g = g[: est.y.shape[0]] if est.y.ndim == 2 else g[0]
        product = np.zeros(5)
        product[keep] = small.vjp(own_g[where])
        np.testing.assert_allclose(est.vjp(own_g), product, atol=1e-13)
        wide[where] = small.jvp(t[keep])
        np.testing.assert_allclose(est.jvp(t), wide, atol=1e-13)
        assert (est.jacobian()[..., [1, 3]] == 0).all()
    inf = np.where(mask, theta, -np.inf)
    np.testing.assert_array_equal(
        exact(pt.TopK(2), inf, 0.5, noise).y, exact(pt.TopK(2), theta, 0.5, noise, mask=mask).y
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic"])
@pytest.mark.parametrize("gap", [10, 1e3, 1e6, 1e30])
def test_gaps_without_limit(name, gap, dtype):
    theta = np.array([0, -gap, gap, gap, 0.5 * gap], dtype)
    for solver in (pt.TopK(2), pt.TopK(3), pt.TopK(3, ordered=True), pt.Permutation()):
        est = exact(solver, theta, 1.0, NOISES[name][0])
        g = np.ones_like(est.y) * np.arange(5, dtype=dtype)
        results = [est.y, est.jacobian(), est.vjp(g), est.jvp(np.arange(5, dtype=dtype)), est.vjp_epsilon(g)]
        if solver._linear:
            results += [est.value, est.value_epsilon]
        for result in results:
            assert result.dtype == dtype
            assert np.isfinite(result).all()
        if gap >= 1e3:
            sure = {0: 2, 1: 1, 4: 3}
            for j, place in sure.items():
                assert (abs(est.jacobian()[..., j]) < 1e-12).all()
                if isinstance(solver, pt.Permutation):
                    assert est.y[place - 1, j] == pytest.approx(1, abs=1e-6)
            if solver == pt.TopK(3, ordered=True):
                np.testing.assert_allclose(est.y[:2, 2:4], 0.5, atol=1e-6)
            if solver == pt.TopK(3):
                assert est.value == pytest.approx(2.5 * gap + 3 * NOISES[name][1].mean(), rel=1e-6)


@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic"])
@pytest.mark.parametrize("n", [30, 200])
def test_single_precision(name, n):
    """It takes fewer nodes: within roundings of the largest entry, and 1e-5 of each."""
    theta = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    solvers = [pt.TopK(4), pt.TopK(n // 2), pt.TopK(4, ordered=True)] + [pt.Permutation()] * (n < 100)
    for solver in solvers:
        single, double = exact(solver, theta, 0.5, name), exact(solver, theta.astype(float), 0.5, name)
        np.testing.assert_allclose(single.y, double.y, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(single.y, double.y, atol=1e-7)
        g = RNG.standard_normal(single.y.shape).astype(np.float32)
        largest = abs(double.vjp(g)).max()
        np.testing.assert_allclose(single.vjp(g), double.vjp(g), atol=1e-6 * largest)


@pytest.mark.slow_under_sanitizer
@pytest.mark.parametrize(("n", "k"), [(1000, 100), (500, 250), (3000, 40)])
@pytest.mark.parametrize("name", ["normal", "gumbel", "logistic"])
def test_places_that_pass_quickly(name, n, k):
    """Of many entries each place is narrow: nodes must follow it, wherever in a wide window it lies. By differences."""
    theta, t = np.random.default_rng(n + k).standard_normal((2, n))
    est = exact(pt.TopK(k), theta, 0.5, name)
    assert est.y.sum() == pytest.approx(k, rel=1e-12)
    slope = derivative(lambda h: exact(pt.TopK(k), theta + h * t, 0.5, name).y, 0.0, 1e-4)
    product = est.jvp(t)
    np.testing.assert_allclose(product, slope, atol=1e-8 * abs(product).max())
    assert product.sum() == pytest.approx(0, abs=1e-11)


def test_batches_and_threads():
    theta = RNG.standard_normal((6, 30))
    epsilon = np.array([0.2, 0.5, 3.0, 1, 1, 9.0])
    for solver in (pt.TopK(4), pt.Permutation()):
        found = set()
        for threads in (1, 2, 5):
            with pt.threads(threads):
                est = exact(solver, theta, epsilon)
                found.add(est.y.tobytes() + est.vjp(est.y).tobytes())
        assert len(found) == 1
        for row in range(6):
            np.testing.assert_array_equal(est.y[row], exact(solver, theta[row], epsilon[row]).y)
    assert exact(pt.Permutation(), np.zeros((0, 5))).jacobian().shape == (0, 5, 5, 5)


@pytest.mark.parametrize("name", ["normal", "gumbel"])
def test_loss_of_top_k(name):
    theta = RNG.standard_normal((4, 7))
    layer = pt.Perturbed(pt.TopK(3), noise=name, epsilon=0.5)
    loss = pt.FenchelYoungLoss(layer, "none")
    y = pt.TopK(3)(RNG.standard_normal((4, 7)))
    value, grad = loss.value_and_grad(theta, y)
    np.testing.assert_allclose(grad, layer(theta) - y, atol=1e-13)
    want = layer.value(theta) - (y * theta).sum(1) - 3 * 0.5 * NOISES[name][1].mean()
    np.testing.assert_allclose(value, want, atol=1e-11)
    close(grad, np.stack([gradient(lambda t, r=r: loss(t, y[r]), theta[r], 1e-3) for r in range(4)]))
    assert (loss(1e5 * theta, pt.TopK(3)(theta)) >= 0).all()


def test_where_it_exists():
    for solver in (pt.TopK(2), pt.TopK(2, ordered=True), pt.Permutation()):
        for noise in ("laplace", pt.StudentT(4), pt.Normal(scale=[1.0, 1e-4]), pt.Multiplicative("normal")):
            with pytest.raises(ValueError, match=r"estimator must be one of 'auto', .*'score'.* for"):
                pt.Perturbed(solver, noise=noise, estimator="exact")
            assert pt.Perturbed(solver, noise=noise).estimator != "exact"
        assert pt.Perturbed(solver).estimator == "exact"
    layer = pt.Perturbed(pt.Permutation(), samples=4)
    assert layer.estimate(np.zeros(12)).method == "exact"
    assert layer.estimate(np.zeros(257)).method != "exact"
    message = r"estimator must be one of 'auto', .*'score'.*, got 'exact': items of \(257,\) are beyond the exact forms"
    with pytest.raises(ValueError, match=message):
        pt.Perturbed(pt.Permutation(), estimator="exact")(np.zeros(257))
    top = pt.Perturbed(pt.TopK(600), samples=4)
    assert top.estimate(np.arange(2000.0)).method != "exact"  # 600 x 2000 > 2^17
    value, grad = pt.FenchelYoungLoss(top).value_and_grad(np.arange(2000.0), pt.TopK(600)(np.arange(2000.0)))
    assert value >= 0
    assert grad.shape == (2000,)


def test_drawn_atoms_agree():
    est = exact(pt.TopK(2), FIVE[None])
    solutions, weights = est.atoms(0)
    assert (solutions.sum(-1) == 2).all()
    assert weights.sum() == pytest.approx(1)
    assert np.abs(weights @ solutions - est.y[0]).max() < 5 * 0.5 / np.sqrt(100)
