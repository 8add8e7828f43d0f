"""Latin hypercube and Sobol draws: strata, uniform marginals, no bias, less error, and what they refuse."""

import numpy as np
import pytest
from contract import perturbed_items, same
from exact_values import argmax_exact
from scipy import special, stats
from scipy.stats import qmc

import perturbed as pt
from perturbed import _core

NOISES = {"normal": stats.norm, "gumbel": stats.gumbel_r, "laplace": stats.laplace, "logistic": stats.logistic}


def draws(sampler, samples, item=(7,), rows=30, noise="normal", dtype=np.float64, seed=0):
    theta = np.zeros((rows, *item), dtype)
    options = {"noise": noise, "epsilon": 1.0, "samples": samples, "sampler": sampler, "seed": seed}
    return perturbed_items(theta, len(item), **options).astype(np.float64)


def test_normal_quantile():
    u = np.concatenate(
        [np.random.default_rng(0).random(1000), 10.0 ** -np.arange(1, 300), 1 - 10.0 ** -np.arange(1, 16)]
    )
    np.testing.assert_allclose(_core.math("ndtri", u), special.ndtri(u), rtol=3e-15, atol=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("samples", [1, 2, 10, 17, 300])
@pytest.mark.parametrize("noise", NOISES)
def test_one_draw_in_each_share(noise, samples, dtype):
    z = draws("lhs", samples, noise=noise, dtype=dtype)
    share = np.sort(NOISES[noise].cdf(z) * samples, axis=1)
    # float32 rounds Z, so a draw at the border of a share may seem to lie in the next
    inside = np.abs(share - (np.arange(samples)[None, :, None] + 0.5)) <= 0.5 + 2e-6 * samples
    assert inside.all()


@pytest.mark.parametrize("samples", [16, 128])
def test_sobol_has_one_draw_in_each_share_and_box(samples):
    z = draws("sobol", samples, item=(150,), rows=4)
    share = np.sort(np.floor(stats.norm.cdf(z) * samples), axis=1)
    np.testing.assert_array_equal(share, np.broadcast_to(np.arange(samples)[None, :, None], share.shape))
    u = stats.norm.cdf(z)  # the first two dimensions are a (0, m, 2) net: boxes of area 1/M hold one point each
    boxes = np.floor(u[:, :, 0] * 4) * (samples // 4) + np.floor(u[:, :, 1] * (samples // 4))
    np.testing.assert_array_equal(np.sort(boxes, axis=1), np.broadcast_to(np.arange(samples), boxes.shape))


@pytest.mark.parametrize("sampler", ["lhs", "sobol"])
def test_every_draw_is_uniform_and_rows_are_independent(sampler):
    u = stats.norm.cdf(draws(sampler, 10, item=(2,), rows=20_000))
    for m in (0, 3, 9):
        counts = np.bincount((u[:, m, 0] * 10).astype(int), minlength=10)
        assert stats.chisquare(counts).pvalue > 1e-4
        table = np.histogram2d(u[:, m, 0], u[:, m, 1], bins=8, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(table.ravel()).pvalue > 1e-4
    assert abs(np.corrcoef(u[:-1, 0, 0], u[1:, 0, 0])[0, 1]) < 5 / np.sqrt(20_000)


def test_pairs_of_shares_are_equally_likely():
    u = (stats.norm.cdf(draws("lhs", 10, item=(1,), rows=40_000)) * 10).astype(int)[:, :, 0]
    table = np.zeros((10, 10))
    np.add.at(table, (u[:, 2], u[:, 7]), 1)
    assert np.trace(table) == 0
    assert stats.chisquare(table[~np.eye(10, dtype=bool)]).pvalue > 1e-4


def test_the_sequence_is_sobols():
    """Scrambling keeps the net: each prefix of 2^k shuffled points has the discrepancy of one, not of random points."""
    u = stats.norm.cdf(draws("sobol", 64, item=(5,), rows=20))
    random = np.random.default_rng(0).random(u.shape)
    ours = np.mean([qmc.discrepancy(x) for x in u])
    assert ours < 0.3 * np.mean([qmc.discrepancy(x) for x in random])


@pytest.mark.parametrize("sampler", ["lhs", "sobol"])
@pytest.mark.parametrize("noise", NOISES)
def test_no_bias(noise, sampler):
    theta, g = np.array([0.3, -0.5, 0.9, 0.0, 0.4]), np.array([1.0, -2.0, 0.5, 0.3, -0.7])
    p, value, jacobian = argmax_exact(theta, 0.7, NOISES[noise])
    rows = 4000
    layer = pt.Perturbed(pt.Argmax(), noise=noise, estimator="score", sampler=sampler, samples=16, epsilon=0.7, seed=0)
    est = layer.estimate(np.broadcast_to(theta, (rows, 5)))
    for x, want in (
        (est.y, p),
        (est.value, value),
        (est.vjp(np.broadcast_to(g, (rows, 5))), jacobian @ g),
        (est.jvp(np.broadcast_to(g, (rows, 5))), jacobian @ g),
    ):
        error = x.std(0, ddof=1) / np.sqrt(rows)
        assert (np.abs(x.mean(0) - want) < 5 * error).all()
        assert (np.abs(1.1 * x.mean(0) - want) > 5 * error).any()  # and what is off by a tenth shows


# error of y by lhs over that of ten independent draws; top-k and grid have .62 and .76 over the instances of the guide
@pytest.mark.parametrize(
    ("solver", "item", "most"),
    [(pt.Ranking(), (20,), 0.53), (pt.TopK(5), (20,), 0.70), (pt.Argmax(), (10,), 0.82), (pt.GridPath(), (5, 5), 0.82)],
)
def test_less_error_than_independent_draws(solver, item, most):
    theta = np.random.default_rng(0).normal(size=item) - (2 if len(item) == 2 else 0)
    many = np.broadcast_to(theta, (2000, *item))
    spread = {}
    for sampler in ("iid", "lhs"):
        layer = pt.Perturbed(solver, estimator="score", sampler=sampler, samples=10, epsilon=0.5, seed=0)
        est = layer.estimate(many)
        spread[sampler] = np.sqrt(est.y.var(0).sum())
        told = np.sqrt((est.y_stderr**2).mean(0).sum())
        assert told > 0.95 * spread[sampler]  # an upper bound for lhs
    assert spread["lhs"] < most * spread["iid"]


# ---- standard errors of Sobol draws ----


def share_beyond(estimates, errors, exact):
    """Shares of error / stderr beyond quantiles of t with 3 degrees of freedom, with the bounds of as many rows."""
    with np.errstate(divide="ignore"):  # four means of few atoms may agree by chance: an error of 0
        t = (np.asarray(estimates, float) - exact) / errors
    for tail in (0.5, 0.1, 0.02):
        share = np.mean(np.abs(t) > stats.t(3).isf(tail / 2))
        yield share, tail, 5 * np.sqrt(tail * (1 - tail) / len(t))


def assert_calibrated(estimates, errors, exact):
    """The shares are right, and would not be, were the errors off by a fifth (a spread over 4 instead of 3 is .13)."""
    assert all(abs(share - tail) < bound for share, tail, bound in share_beyond(estimates, errors, exact))
    for factor in (0.8, 1.2):
        seen = share_beyond(estimates, factor * np.asarray(errors, float), exact)
        assert any(abs(share - tail) > bound for share, tail, bound in seen)


@pytest.mark.slow_under_sanitizer
@pytest.mark.parametrize("estimator", ["score", "rao_blackwell", "directional"])
def test_standard_errors_are_those_of_scrambles(estimator):
    theta, g = np.array([0.3, -0.5, 0.9, 0.0, 0.4]), np.array([1.0, -2.0, 0.5, 0.3, -0.7])
    p, value, jacobian = argmax_exact(theta, 0.7, stats.norm)
    rows = 3000
    layer = pt.Perturbed(pt.Argmax(), estimator=estimator, sampler="sobol", samples=512, epsilon=0.7, seed=0)
    est = layer.estimate(np.broadcast_to(theta, (rows, 5)))
    many = np.broadcast_to(g, (rows, 5))
    assert_calibrated(est.y[:, 0], est.y_stderr[:, 0], p[0])
    assert_calibrated(est.value, est.value_stderr, value)
    assert_calibrated(est.vjp(many)[:, 0], est.vjp_stderr(many)[:, 0], (jacobian @ g)[0])


def test_standard_errors_of_one_draw():
    """One point, scrambled, is one draw."""
    rows = 12_000
    layer = pt.Perturbed(pt.Ranking(), estimator="rao_blackwell", sampler="sobol", samples=1, seed=0)
    est = layer.estimate(np.zeros((rows, 4)))
    for x, error in ((est.y, est.y_stderr), (est.vjp(np.eye(4)[[0] * rows]), est.vjp_stderr(np.eye(4)[[0] * rows]))):
        np.testing.assert_allclose((error**2).mean(0), x.var(0, ddof=1), rtol=0.1)
        assert (np.abs(0.7 * (error**2).mean(0) / x.var(0, ddof=1) - 1) > 0.1).all()


@pytest.mark.parametrize(("estimator", "least"), [("score", (1.5, 20)), ("rao_blackwell", (3, 10))])
def test_standard_errors_fall_with_the_error(estimator, least):
    """A smooth case: the value, and ranks given all noise but their own. y_eps and F_eps of Sobol draws are closer."""
    theta = np.random.default_rng(0).normal(size=4)
    told = {}
    for sampler in ("iid", "sobol"):
        layer = pt.Perturbed(pt.Ranking(), estimator=estimator, sampler=sampler, samples=1024, seed=0)
        est = layer.estimate(np.broadcast_to(theta, (400, 4)))
        told[sampler] = [np.sqrt((x**2).mean()) for x in (est.y_stderr, est.value_stderr)]
        for x, error in ((est.y, told[sampler][0]), (est.value, told[sampler][1])):
            np.testing.assert_allclose(error, np.sqrt(x.var(0, ddof=1).mean()), rtol=0.15)
    assert (np.array(told["iid"]) > np.array(least) * told["sobol"]).all()


@pytest.mark.parametrize("estimator", ["score", "rao_blackwell", "directional"])
def test_standard_errors_of_scrambles_know_no_batch(estimator):
    theta = np.random.default_rng(0).normal(size=(3, 2, 6)).astype(np.float32)
    layer = pt.Perturbed(pt.TopK(2), estimator=estimator, sampler="sobol", samples=8, seed=0)

    def errors(part, seed=5, **call):
        est = layer.estimate(part, seed=seed, **call)
        return est.y_stderr, est.value_stderr, est.vjp_stderr(part)

    whole = errors(theta, row_offset=7)
    assert [x.dtype for x in whole] == [np.float32] * 3
    assert [x.shape for x in whole] == [theta.shape, (3, 2), theta.shape]
    assert all(np.mean(x > 0) > 0.8 for x in whole)  # means of eight atoms may agree by chance
    for got, want in zip(errors(theta, row_offset=7), whole, strict=True):
        same(got, want)
    for got, want in zip(errors(theta, seed=6, row_offset=7), whole, strict=True):
        assert np.mean(got != want) > 0.5
    for i in range(3):
        for k in range(2):
            for got, want in zip(errors(theta[i, k], row_offset=7 + 2 * i + k), whole, strict=True):
                assert isinstance(got, np.ndarray)
                same(got, want[i, k])


def test_standard_errors_of_an_oracle_ask_again():
    """Four scrambles for each error; the same numbers as the solver it stands for, and matrices in their own layout."""
    stacks = []

    def best(stack):
        stacks.append(len(stack))
        return (stack == stack.max(1, keepdims=True)) * 1.0

    options = {"estimator": "score", "sampler": "sobol", "samples": 16, "baseline": None, "seed": 0}
    theta = np.random.default_rng(0).normal(size=(3, 5))
    asked = pt.Perturbed(pt.Oracle(best, batched=True), **options).estimate(theta)
    known = pt.Perturbed(pt.Argmax(), **options).estimate(theta)
    calls = len(stacks)
    same(asked.y_stderr, known.y_stderr)
    assert len(stacks) == 5 * calls
    same(asked.vjp_stderr(theta), known.vjp_stderr(theta))
    same(asked.y, known.y)
    matrix = np.random.default_rng(1).normal(size=(4, 4))
    est = pt.Perturbed(pt.SpanningForest(2), **options).estimate(matrix + matrix.T)
    error, grad = est.y_stderr, est.vjp_stderr(matrix)
    assert (np.diagonal(error) == 0).all()
    assert (error[np.triu_indices(4, 1)] > 0).any()
    same(error, error.T)
    same(grad, grad.T)


@pytest.mark.parametrize("sampler", ["lhs", "sobol"])
@pytest.mark.parametrize("solver", [pt.Argmax(), pt.DTW(), pt.Ranking()])
def test_a_batch_is_a_loop_whatever_threads_and_memory(solver, sampler):
    item = (3, 4) if isinstance(solver, pt.DTW) else (150,)
    theta = np.random.default_rng(0).normal(size=(5, *item))
    layer = pt.Perturbed(solver, estimator="score", sampler=sampler, samples=70, seed=0)

    def everything(rows, **call):
        est = layer.estimate(theta[rows], **call)
        return est.y, est.value, est.vjp(theta[rows]), est.vjp_stderr(theta[rows]), est.jvp(theta[rows])

    with pt.threads(1):
        whole = everything(slice(None), seed=3, row_offset=2)
    limit = pt.get_memory_limit()
    pt.set_memory_limit(4096)
    try:
        with pt.threads(2):
            for got, want in zip(everything(slice(None), seed=3, row_offset=2), whole, strict=True):
                same(got, want)
    finally:
        pt.set_memory_limit(limit)
    for i in range(5):
        for got, want in zip(everything(slice(i, i + 1), seed=3, row_offset=2 + i), whole, strict=True):
            same(got[0], want[i])


@pytest.mark.parametrize("sampler", ["lhs", "sobol"])
def test_what_is_refused(sampler):
    for baseline in ("loo", "hybrid"):
        with pytest.raises(ValueError, match=f"baseline '{baseline}' is biased with sampler 'lhs' or 'sobol'"):
            pt.Perturbed(pt.Argmax(), sampler=sampler, baseline=baseline)
    for noise in (pt.StudentT(5.0), pt.SumOfGamma(2, 10), pt.Noise(lambda rng, shape: rng.normal(size=shape))):
        with pytest.raises(ValueError, match=f"sampler '{sampler}' needs noise with a quantile"):
            pt.Perturbed(pt.Argmax(), noise=noise, sampler=sampler)
    for baseline in (None, "solution", "auto"):
        pt.Perturbed(pt.Argmax(), sampler=sampler, baseline=baseline)
