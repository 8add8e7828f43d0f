"""The directional estimator: its draws by hand, its mean against exact values and the score estimator."""

import numpy as np
import pytest
from contract import same
from exact_values import argmax_exact

import perturbed as pt

SOLVERS = {
    "argmax": (pt.Argmax(), (5,)),
    "argmax, long": (pt.Argmax(), (300,)),
    "top 2": (pt.TopK(2), (6,)),
    "ranking": (pt.Ranking(), (5,)),
    "ranking down": (pt.Ranking(descending=True), (5,)),
    "permutation": (pt.Permutation(), (4,)),
    "warping": (pt.DTW(), (3, 4)),
    "assignment": (pt.Assignment(), (3, 3)),
    "assignment, tall": (pt.Assignment(), (4, 2)),
    "path": (pt.GridPath(), (3, 4)),
    "oracle": (pt.Oracle(lambda x: (x > 0) * 1.0), (4,)),
}
LINEAR = [
    "argmax",
    "argmax, long",
    "top 2",
    "ranking",
    "ranking down",
    "warping",
    "oracle",
    "assignment",
    "assignment, tall",
]


def layer_of(solver, **options):
    return pt.Perturbed(solver, **{"estimator": "directional", "samples": 4000, "epsilon": 0.7, "seed": 0, **options})


def theta_of(item, seed=0):
    return np.random.default_rng(seed).normal(size=item) - (2.0 if len(item) == 2 else 0.0)


@pytest.mark.parametrize("scaled", [False, True])
def test_argmax_is_unbiased(scaled):
    theta, g = np.array([0.3, -0.5, 0.9, 0.0, 0.4]), np.array([1.0, -2.0, 0.5, 0.3, -0.7])
    scale = np.array([0.5, 1.0, 1.5, 0.8, 1.2]) if scaled else 1.0
    from scipy import stats

    jacobian = argmax_exact(theta, 0.7, stats.norm, scale)[2]
    est = layer_of(pt.Argmax(), noise=pt.Normal(scale=scale), samples=400_000).estimate(theta)
    assert est.method == "directional"
    for got, error in ((est.vjp(g), est.vjp_stderr(g)), (est.jvp(g), est.vjp_stderr(g))):
        assert (np.abs(got - jacobian @ g) < 5 * error).all()
        assert (np.abs(1.02 * got - jacobian @ g) > 5 * error).any()  # a factor that is off by 2 % shows


@pytest.mark.parametrize("sampler", ["lhs", "sobol"])
def test_pairs_by_strata(sampler):
    """Across the direction the noise of the M pairs has one draw in each stratum: no bias, less error."""
    rows, theta = 60_000, np.array([0.3, -0.5, 0.9, 0.0, 0.4])
    g = np.array([1.0, -2.0, 0.5, 0.3, -0.7])
    from scipy import stats

    jacobian = argmax_exact(theta, 0.7, stats.norm)[2]
    many = [np.broadcast_to(x, (rows, 5)) for x in (theta, g)]
    spread = {}
    for name in (sampler, "iid", "antithetic"):
        est = layer_of(pt.Argmax(), samples=8, sampler=name).estimate(many[0])
        got = est.vjp(many[1])
        error = got.std(0, ddof=1) / np.sqrt(rows)
        assert (np.abs(got.mean(0) - jacobian @ g) < 5 * error).all()
        assert (np.abs(1.02 * got.mean(0) - jacobian @ g) > 5 * error).any()
        spread[name] = got.var(0).sum()
        with_y = np.corrcoef(est.y.T, got.T)[:5, 5:]
        assert (np.abs(with_y) < 5 / np.sqrt(rows)).all()  # strata of their own
    assert spread[sampler] < 0.85 * spread["iid"]  # .79 and .81; shares of 2M instead of M have .9
    assert spread["antithetic"] == spread["iid"]  # pairs are mirrored along the direction, whatever the sampler


@pytest.mark.parametrize("name", SOLVERS)
def test_jvp_agrees_with_the_score(name):
    solver, item = SOLVERS[name]
    theta, t = theta_of(item), np.random.default_rng(1).normal(size=item)
    rows = 200
    many = np.broadcast_to(theta, (rows, *item))
    directions = np.broadcast_to(t, many.shape)
    a = layer_of(solver, samples=20).estimate(many).jvp(directions)
    b = pt.Perturbed(solver, estimator="score", samples=200, epsilon=0.7, seed=1).estimate(many).jvp(directions)
    error = np.sqrt(a.var(0, ddof=1) / rows + b.var(0, ddof=1) / rows)
    assert (np.abs(a.mean(0) - b.mean(0)) <= 5 * error + 1e-12).all()
    assert a.var(0).sum() < b.var(0).sum() * 10  # ten times fewer draws, two solves each


@pytest.mark.parametrize("name", LINEAR)
def test_vjp_is_the_jvp_of_a_hessian(name):
    solver, item = SOLVERS[name]
    theta, g = theta_of((2, *item)), np.random.default_rng(1).normal(size=(2, *item))
    est = layer_of(solver, samples=30).estimate(theta)
    same(est.vjp(g), est.jvp(g))
    y, pullback = layer_of(solver, samples=30).vjp(theta)
    same(pullback(g), est.vjp(g))
    same(y, est.y)


@pytest.mark.parametrize("name", ["permutation", "path"])
def test_no_vjp_where_j_is_not_symmetric(name):
    solver, item = SOLVERS[name]
    est = layer_of(solver, samples=4).estimate(theta_of(item))
    with pytest.raises(ValueError, match="estimator 'directional' has no VJP for"):
        est.vjp(np.zeros(est.y.shape))
    with pytest.raises(ValueError, match="estimator 'directional' has no VJP for"):
        layer_of(solver, samples=4).vjp(theta_of(item))


def test_constrained_forests_have_a_jvp_alone():
    """Found by search they are no linear oracle: nothing may take J for symmetric, the mixed baseline neither."""
    n, rows = 13, 4000
    rng = np.random.default_rng(0)
    theta, t = (x + x.T for x in np.triu(rng.normal(size=(2, n, n)), 1))
    constraints = pt.constraints_from_labels([0, 0, 1, 1] + [-1] * 9)
    layer = layer_of(pt.SpanningForest(3), samples=8)
    message = "estimator 'directional' has no VJP for constrained forests, whose J is not symmetric"
    est = layer.estimate(theta, constraints=constraints)
    for call in (
        lambda: layer.vjp(theta, constraints=constraints),
        lambda: est.vjp(t),
        lambda: est.vjp_stderr(t),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    layer.vjp(theta, constraints=None)
    score = pt.Perturbed(pt.SpanningForest(3), estimator="score", samples=8, epsilon=0.7, seed=5)
    many = [np.broadcast_to(x, (rows, n, n)) for x in (theta, t)]
    ways = [x.estimate(many[0], constraints=constraints) for x in (layer, score)]
    mixed, hybrid = (
        pt.Perturbed(pt.SpanningForest(3), estimator="score", samples=8, seed=1, baseline=baseline)
        .estimate(theta, constraints=constraints)
        .vjp(t)
        for baseline in ("auto", "hybrid")
    )
    same(mixed, hybrid)
    for told in (lambda e: e.jvp(many[1]), lambda e: e.vjp_epsilon(many[1])):
        one, other = (told(e) for e in ways)
        error = np.sqrt((one.var(0, ddof=1) + other.var(0, ddof=1)) / rows)
        assert (np.abs(one.mean(0) - other.mean(0)) <= 5 * error).all()


def test_other_noises_have_none():
    for noise in ("gumbel", pt.Multiplicative(pt.Normal()), pt.StudentT(5.0)):
        with pytest.raises(ValueError, match=r"estimator must be one of 'auto', .* for Argmax\(\)"):
            pt.Perturbed(pt.Argmax(), noise=noise, estimator="directional")


def test_moving_all_alike_changes_nothing():
    """A cotangent that is the same everywhere is no direction at all: 0 exactly."""
    for name in ("argmax", "top 2", "ranking"):
        solver, item = SOLVERS[name]
        est = layer_of(solver, samples=10).estimate(theta_of(item))
        np.testing.assert_allclose(est.vjp(np.full(item, 3.0)), 0, atol=1e-13)
        assert (est.vjp(np.zeros(item)) == 0).all()


def test_entries_without_noise_or_closed():
    theta = np.array([0.3, -np.inf, 0.9, 0.0, 0.4])
    scale = np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    g = np.array([1.0, 4.0, -2.0, 0.3, 0.5])
    est = layer_of(pt.Argmax(), noise=pt.Normal(scale=scale), samples=200_000).estimate(theta)
    plain = pt.Perturbed(
        pt.Argmax(), noise=pt.Normal(scale=scale), estimator="score", samples=400_000, epsilon=0.7, seed=2
    ).estimate(theta)
    got, want = est.jvp(g), plain.jvp(g)
    rows = plain.jacobian()
    assert (rows[:, [1, 2]] == 0).all()
    assert np.abs(got - want).max() < 0.02
    assert got[1] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["argmax", "argmax, long", "ranking", "warping"])
def test_a_batch_is_a_loop_whatever_threads_and_memory(name, dtype):
    solver, item = SOLVERS[name]
    theta, g = theta_of((5, *item)).astype(dtype), np.random.default_rng(1).normal(size=(5, *item)).astype(dtype)
    layer = layer_of(solver, samples=70)

    def everything(rows, **call):
        est = layer.estimate(theta[rows], **call)
        return est.vjp(g[rows]), est.vjp_stderr(g[rows]), est.jacobian() if theta.size < 100 else est.y

    with pt.threads(1):
        whole = everything(slice(None), seed=3, row_offset=2)
    with pt.threads(2):
        for got, want in zip(everything(slice(None), seed=3, row_offset=2), whole, strict=True):
            same(got, want)
    limit = pt.get_memory_limit()
    pt.set_memory_limit(4096)
    try:
        for got, want in zip(everything(slice(None), seed=3, row_offset=2), whole, strict=True):
            same(got, want)
    finally:
        pt.set_memory_limit(limit)
    for i in range(5):
        for got, want in zip(everything(slice(i, i + 1), seed=3, row_offset=2 + i), whole, strict=True):
            same(got[0], want[i])


def test_standard_error_is_an_upper_bound():
    theta = np.broadcast_to(theta_of((6,)), (3000, 6))
    g = np.broadcast_to(np.random.default_rng(1).normal(size=6), (3000, 6))
    est = layer_of(pt.TopK(2), samples=40).estimate(theta)
    spread, told = est.vjp(g).std(0, ddof=1), np.sqrt((est.vjp_stderr(g) ** 2).mean(0))
    assert (told > 0.93 * spread).all()
    assert (told < 1.5 * spread).all()


def test_standard_error_is_that_of_independent_pairs():
    """Its square is the variance of one pair over M; within strata at most M / (M - 1) times that."""
    theta, g = theta_of((6,)), np.random.default_rng(1).normal(size=6)
    variance = {}
    for samples, rows in ((1, 200_000), (40, 5000)):
        est = layer_of(pt.TopK(2), samples=samples).estimate(np.broadcast_to(theta, (rows, 6)))
        many = np.broadcast_to(g, (rows, 6))
        variance[samples] = est.vjp(many).var(0) if samples == 1 else (est.vjp_stderr(many) ** 2).mean(0) * 40
    # five errors of a variance over 200,000 rows: kurtoses are below 20
    np.testing.assert_allclose(variance[40], variance[1], rtol=1 / 39 + 5 * np.sqrt(19 / 200_000))


def test_moving_all_alike_is_taken_out():
    """Of tangents with the same J t the shortest is walked along."""
    for name in ("argmax", "top 2", "ranking", "ranking down"):
        solver, item = SOLVERS[name]
        g = np.random.default_rng(1).normal(size=item)
        est = layer_of(solver, samples=100).estimate(theta_of(item))
        np.testing.assert_allclose(est.vjp(g + 50), est.vjp(g), atol=1e-9)
        assert (est.vjp(g) != 0).any()


@pytest.mark.parametrize("name", ["permutation", "path"])
def test_epsilon_of_what_has_no_vjp(name):
    """By the noise score of a change of epsilon; the score estimator itself has it from J^T g."""
    solver, item = SOLVERS[name]
    theta = np.broadcast_to(theta_of(item), (100_000, *item))
    g = np.broadcast_to(np.random.default_rng(1).normal(size=solver(theta[0]).shape), solver(theta).shape)
    means, errors = [], []
    for seed, estimator in enumerate(("directional", "score")):
        got = layer_of(solver, samples=16, estimator=estimator, seed=seed).estimate(theta).vjp_epsilon(g)
        means.append(got.mean())
        errors.append(got.std(ddof=1) / np.sqrt(len(got)))
    bound = 5 * np.hypot(*errors)
    assert abs(means[0] - means[1]) < bound
    assert abs(1.2 * means[0] - means[1]) > bound  # a factor that is off by a fifth shows


def test_jacobian_is_all_tangents():
    theta = theta_of((2, 5))
    est = layer_of(pt.Ranking(), samples=20).estimate(theta)
    jacobian = est.jacobian()
    for j in range(5):
        t = np.zeros((2, 5))
        t[:, j] = 1
        same(jacobian[:, :, j], est.jvp(t))
