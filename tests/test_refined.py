"""The score estimator with baseline "auto": few draws of a linear oracle, both forms mixed, projected on the hull."""

import numpy as np
import pytest
from contract import close, part_of_all, perturbed_items, same
from exact_values import argmax_exact
from scipy import stats

import perturbed as pt

NOISES = {
    "normal": (pt.Normal(), lambda z: z, stats.norm),
    "gumbel": (pt.Gumbel(), lambda z: 1 - np.exp(-z), stats.gumbel_r),
    "logistic": (pt.Logistic(), lambda z: np.tanh(z / 2), stats.logistic),
    "student": (pt.StudentT(5.0), lambda z: 6 * z / (5 + z * z), stats.t(5)),
}


def by_hand(solver, theta, g, *, noise, score, epsilon, scale, samples, seed):
    """One row: the leave-one-out mix of both forms, from the draws (MATH, section 3)."""
    options = {"noise": noise, "epsilon": epsilon, "samples": samples, "seed": seed}
    items = perturbed_items(theta, theta.ndim, **options)[0]
    plain = type(noise)(*([5.0] if isinstance(noise, pt.StudentT) else []))
    z = perturbed_items(np.zeros_like(theta), theta.ndim, **(options | {"noise": plain, "epsilon": 1.0}))[0]
    y = np.stack([solver(x) for x in items]).astype(np.float64).reshape(samples, -1)
    own = solver(theta).astype(np.float64).ravel()
    c = y - (own + y.sum(0) - y) / samples
    open_ = np.isfinite(theta.ravel()) & (scale.ravel() > 0) & ~part_of_all(solver, theta.shape)
    width = np.where(open_, 1 / np.where(open_, epsilon * scale.ravel(), 1), 0)
    s = score(z.astype(np.float64)).reshape(samples, -1) * width
    raw, weight = g.ravel(), c @ g.ravel()
    g = np.where(open_, g.ravel(), 0)
    even = isinstance(solver, pt.Argmax | pt.TopK | pt.Ranking) and (scale > 0).all()
    if even:
        g = np.where(open_, g - (g * width**2).sum() / (width**2).sum(), 0)
    along = s @ g
    off = y - own  # weights know nothing of their own draw: no baseline that has it
    moves = np.where(open_, off, 0) ** 2
    others = moves.sum(0) - moves
    mean = others.sum(1, keepdims=True) / open_.sum()
    v_a = (((off @ raw) ** 2).sum() - (off @ raw) ** 2)[:, None] / max(samples - 1, 1) * width**2
    v_b = (others + 0.1 * mean) / (samples - 1 + 0.1) * (g**2 * width**2).sum()
    share = np.where(v_a + v_b > 0, v_b / np.where(v_a + v_b > 0, v_a + v_b, 1), 0.5)
    terms = np.where(open_, share * weight[:, None] * s + (1 - share) * along[:, None] * c, 0)
    if even:
        terms = np.where(open_, terms - terms[:, open_].mean(1, keepdims=True), 0)
    return terms.reshape(samples, *theta.shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    ("solver", "item"),
    [
        (pt.Argmax(), (6,)),
        (pt.TopK(2), (7,)),
        (pt.Ranking(), (5,)),
        (pt.Ranking(descending=True), (5,)),
        (pt.DTW(), (3, 4)),
    ],
)
@pytest.mark.parametrize("scaled", [False, True])
def test_the_formula(solver, item, noise, dtype, scaled):
    noise_object, score, _ = NOISES[noise]
    rng = np.random.default_rng(3)
    theta, g = rng.normal(size=item).astype(dtype), rng.normal(size=item).astype(dtype)
    scale = rng.uniform(0.5, 1.5, item) if scaled else np.ones(item)
    if scaled and isinstance(solver, pt.Argmax):
        scale[1] = 0
    if isinstance(solver, pt.TopK):
        theta[2] = -np.inf
    shape = {"df": 5.0} if noise == "student" else {}
    noise_object = type(noise_object)(**shape, scale=scale)
    terms = by_hand(
        solver, theta, g.astype(np.float64), noise=noise_object, score=score, epsilon=1.5, scale=scale,
        samples=9, seed=4,
    )  # fmt: skip
    est = pt.Perturbed(solver, estimator="score", noise=noise_object, epsilon=1.5, samples=9, seed=4).estimate(theta)
    size = float(np.abs(terms).max())
    close(est.vjp(g), terms.mean(0), dtype, size)
    close(est.vjp_stderr(g), terms.std(0, ddof=1) / 3, dtype, size)
    assert size > 0.1


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("samples", [1, 2, 10])
def test_no_bias(noise, samples):
    noise_object, _, distribution = NOISES[noise]
    theta, g = np.array([0.3, -0.5, 0.9, 0.0, 0.4]), np.array([1.0, -2.0, 0.5, 0.3, -0.7])
    jacobian = argmax_exact(theta, 0.7, distribution)[2]
    rows = 400_000 // samples
    layer = pt.Perturbed(pt.Argmax(), estimator="score", noise=noise_object, samples=samples, epsilon=0.7, seed=0)
    product = layer.estimate(np.broadcast_to(theta, (rows, 5))).vjp(np.broadcast_to(g, (rows, 5)))
    error = product.std(0, ddof=1) / np.sqrt(rows)
    assert (np.abs(product.mean(0) - jacobian @ g) < 5 * error).all()
    assert (np.abs(1.05 * product.mean(0) - jacobian @ g) > 5 * error).any()


@pytest.mark.parametrize(
    ("solver", "item", "most"), [(pt.Argmax(), (10,), 0.9), (pt.TopK(5), (20,), 0.85), (pt.Ranking(), (10,), 0.95)]
)
def test_less_error_than_every_named_baseline(solver, item, most):
    rng = np.random.default_rng(0)
    theta, g = (np.broadcast_to(rng.normal(size=item), (3000, *item)) for _ in range(2))
    spread = {}
    for baseline in ("auto", None, "solution", "loo"):
        layer = pt.Perturbed(solver, estimator="score", samples=10, epsilon=1.0, seed=0, baseline=baseline)
        spread[baseline] = np.sqrt(layer.estimate(theta).vjp(g).var(0).sum())
    assert spread["auto"] < most * min(spread[None], spread["solution"], spread["loo"])


def test_standard_errors_are_calibrated():
    theta = np.broadcast_to([0.3, -0.5, 0.9, 0.0, 0.4, 0.1], (4000, 6))
    g = np.broadcast_to([1.0, -2.0, 0.5, 0.3, -0.7, 0.0], (4000, 6))
    est = pt.Perturbed(pt.TopK(2), estimator="score", samples=40, seed=0).estimate(theta)
    spread, told = est.vjp(g).std(0, ddof=1), np.sqrt((est.vjp_stderr(g) ** 2).mean(0))
    np.testing.assert_allclose(told, spread, rtol=0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_is_a_loop_whatever_threads_and_memory(dtype):
    rng = np.random.default_rng(0)
    theta, g = rng.normal(size=(5, 300)).astype(dtype), rng.normal(size=(5, 300)).astype(dtype)
    layer = pt.Perturbed(pt.Argmax(), estimator="score", samples=20, seed=0)

    def both(rows, **call):
        est = layer.estimate(theta[rows], **call)
        return est.vjp(g[rows]), est.vjp_stderr(g[rows])

    with pt.threads(1):
        whole = both(slice(None), seed=3, row_offset=2)
    limit = pt.get_memory_limit()
    pt.set_memory_limit(4096)
    try:
        with pt.threads(2):
            for got, want in zip(both(slice(None), seed=3, row_offset=2), whole, strict=True):
                same(got, want)
    finally:
        pt.set_memory_limit(limit)
    for i in range(5):
        for got, want in zip(both(slice(i, i + 1), seed=3, row_offset=2 + i), whole, strict=True):
            same(got[0], want[i])


def test_where_it_does_not_apply_auto_is_hybrid():
    rng = np.random.default_rng(0)
    for solver, item, options in (
        (pt.Argmax(), (6,), {"samples": 65}),
        (pt.Argmax(), (6,), {"samples": 8, "sampler": "antithetic"}),
        (pt.Argmax(), (6,), {"samples": 8, "noise": pt.Multiplicative()}),
        (pt.GridPath(), (3, 4), {"samples": 8}),
        (pt.Permutation(), (4,), {"samples": 8}),
    ):
        theta = -rng.uniform(0.5, 1.5, item)
        auto = pt.Perturbed(solver, estimator="score", seed=0, epsilon=0.5, **options).estimate(theta)
        named = pt.Perturbed(solver, estimator="score", seed=0, epsilon=0.5, baseline="hybrid", **options).estimate(
            theta
        )
        g = rng.normal(size=auto.y.shape)
        same(auto.vjp(g), named.vjp(g))
