"""The layer: seeds and call numbers, options, repr, the estimate object, pullbacks in threads."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from exact_values import record

import perturbed as pt
from perturbed import _core

RNG = np.random.default_rng(31)
THETA = RNG.standard_normal((3, 6))
G = RNG.standard_normal((3, 6))


def layer_of(solver=None, **options):
    options = {"estimator": "score", "samples": 20} | options
    return pt.Perturbed(solver or pt.Ranking(), **options)


def first_draws(layer, calls, **options):
    return [layer(THETA, **options) for _ in range(calls)]


# ---- seeds ----


def test_calls_are_counted():
    runs = [first_draws(layer_of(seed=5), 4) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len({y.tobytes() for y in runs[0]}) == 4


def test_each_public_method_is_one_call():
    methods = [
        lambda layer: layer(THETA),
        lambda layer: layer.value(THETA),
        lambda layer: layer.value_and_grad(THETA)[0],
        lambda layer: layer.vjp(THETA)[1](G),
        lambda layer: layer.jvp(THETA, G)[1],
        lambda layer: layer.jacobian(THETA),
        lambda layer: layer.sample(THETA, 3),
        lambda layer: layer.estimate(THETA).y,
        lambda layer: pt.FenchelYoungLoss(layer)(THETA, pt.Ranking()(THETA)),
    ]
    for method in methods:
        layer, counted = layer_of(seed=5), first_draws(layer_of(seed=5), 2)
        method(layer)
        np.testing.assert_array_equal(layer(THETA), counted[1])


def test_a_pullback_is_no_call():
    layer, counted = layer_of(seed=5), first_draws(layer_of(seed=5), 2)
    _, pullback = layer.vjp(THETA)
    pullback(G)
    pullback(G)
    np.testing.assert_array_equal(layer(THETA), counted[1])


def test_a_call_with_a_seed_is_call_0():
    layer = layer_of(seed=5)
    first = layer(THETA)
    layer(THETA)
    np.testing.assert_array_equal(layer(THETA, seed=5), first)
    third = first_draws(layer_of(seed=5), 3)[2]
    np.testing.assert_array_equal(layer(THETA), third)  # a call with a seed of its own is not counted
    np.testing.assert_array_equal(layer_of()(THETA, seed=5), first)
    np.testing.assert_array_equal(layer_of(seed=99)(THETA, seed=5), first)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_keep_the_count(again):
    for seed in (5, np.random.SeedSequence(5)):
        layer = layer_of(seed=seed)
        layer(THETA)
        twin = again(layer)
        assert repr(twin) == repr(layer)
        second = layer(THETA)
        np.testing.assert_array_equal(twin(THETA), second)
        assert (twin(THETA) != second).any()
        np.testing.assert_array_equal(layer(THETA, seed=1), twin(THETA, seed=1))


def test_seed_sequence_is_read_not_advanced():
    sequence = np.random.SeedSequence(7, spawn_key=(3,))
    before = sequence.state
    a, b = layer_of(seed=sequence)(THETA), layer_of()(THETA, seed=sequence)
    np.testing.assert_array_equal(a, b)
    assert sequence.state == before
    sequence.spawn(2)
    np.testing.assert_array_equal(layer_of()(THETA, seed=sequence), a)
    other = layer_of()(THETA, seed=np.random.SeedSequence(7, spawn_key=(4,)))
    assert (other != a).any()
    assert (layer_of(seed=sequence)(THETA) != layer_of(seed=7)(THETA)).any()
    twice = first_draws(layer_of(seed=sequence), 2)
    assert (twice[0] != twice[1]).any()


def test_generator_gives_one_draw():
    ours, theirs = np.random.default_rng(3), np.random.default_rng(3)
    a = layer_of()(THETA, seed=ours)
    assert theirs.integers(2**64, dtype=np.uint64) is not None
    assert ours.bit_generator.state == theirs.bit_generator.state
    b = layer_of()(THETA, seed=ours)
    assert (a != b).any()
    layer = layer_of(seed=np.random.default_rng(3))
    np.testing.assert_array_equal(layer(THETA), a)
    np.testing.assert_array_equal(layer(THETA), b)


def test_no_seed_differs_every_time():
    layer = layer_of()
    assert len({y.tobytes() for y in [*first_draws(layer, 5), *first_draws(layer_of(), 5)]}) == 10


def test_wide_and_numpy_seeds():
    np.testing.assert_array_equal(layer_of()(THETA, seed=np.int32(5)), layer_of()(THETA, seed=5))
    seeds = [0, 1, 2**32, 2**63, 2**64 - 1, 2**64, 2**64 + 1, 2**200]
    results = [layer_of()(THETA, seed=seed) for seed in seeds]
    assert len({y.tobytes() for y in results}) == len(seeds)
    np.testing.assert_array_equal(results[-1], layer_of(seed=2**200)(THETA))
    assert len({_core.key(s, 0, 0) for s in seeds[:5]}) == 5


def test_a_refused_call_is_not_counted():
    layer, counted = layer_of(seed=5), first_draws(layer_of(seed=5), 2)
    for bad in (np.zeros(()), [["a"]], np.zeros((2, 0))):
        with pytest.raises((ValueError, TypeError), match="theta must"):
            layer(bad)
    with pytest.raises(ValueError, match="epsilon must be positive"):
        layer(THETA, epsilon=-1)
    with pytest.raises(TypeError, match="weight is no instance argument of Ranking"):
        layer(THETA, weight=1)
    np.testing.assert_array_equal(layer(THETA), counted[0])


def test_threads_share_one_count():
    """Calls from many threads take different numbers: together the same set as one after the other."""
    layer, other = layer_of(seed=5), layer_of(seed=5)
    with ThreadPoolExecutor(8) as pool:
        got = {y.tobytes() for y in pool.map(lambda _: layer(THETA), range(40))}
    assert got == {y.tobytes() for y in first_draws(other, 40)}


def test_user_noise_follows_the_seed():
    noise = pt.Noise(lambda rng, shape: rng.standard_normal(shape), score=lambda z: z)
    layer = layer_of(noise=noise, seed=5)
    first, second = layer(THETA), layer(THETA)
    assert (first != second).any()
    np.testing.assert_array_equal(layer(THETA, seed=5), first)


# ---- options and repr ----


def test_repr_is_the_call():
    assert repr(pt.Perturbed(pt.Argmax())) == "Perturbed(Argmax())"
    layer = pt.Perturbed(
        pt.TopK(2), noise=pt.Gumbel(scale=2.0), epsilon=0.5, samples=8, estimator="score", sampler="antithetic",
        baseline=None, seed=3,
    )  # fmt: skip
    assert repr(layer) == (
        "Perturbed(TopK(k=2), noise=Gumbel(scale=2.0), epsilon=0.5, samples=8, estimator='score', "
        "sampler='antithetic', baseline=None, seed=3)"
    )
    again = eval(repr(layer), vars(pt))
    np.testing.assert_array_equal(again(THETA), layer(THETA))
    rows = pt.Perturbed(pt.Argmax(), epsilon=[0.5, 1.0, 2.0])
    assert repr(rows) == "Perturbed(Argmax(), epsilon=[0.5, 1.0, 2.0])"
    np.testing.assert_array_equal(eval(repr(rows), vars(pt))(THETA), rows(THETA))


def test_attributes():
    layer = pt.Perturbed(pt.TopK(2), noise="gumbel", epsilon=2, samples=8)
    assert layer.solver == pt.TopK(2)
    assert layer.noise == pt.Gumbel()
    assert layer.epsilon == 2.0
    assert layer.samples == 8
    for name in ("solver", "noise", "epsilon", "samples", "estimator"):
        with pytest.raises(AttributeError, match=name):
            setattr(layer, name, None)


def test_epsilon_is_a_private_copy():
    widths = np.array([0.5, 1.0, 2.0])
    layer = layer_of(epsilon=widths, seed=0)
    before = layer(THETA, seed=0)
    widths[:] = 100
    np.testing.assert_array_equal(layer(THETA, seed=0), before)
    sequence = np.random.SeedSequence(3)
    layer = layer_of(seed=sequence)
    sequence.spawn(1)
    np.testing.assert_array_equal(layer(THETA), layer_of(seed=np.random.SeedSequence(3))(THETA))


def test_epsilon_of_a_call():
    layer = layer_of(epsilon=0.5)
    wide = layer_of(epsilon=2.0)
    np.testing.assert_array_equal(layer(THETA, epsilon=2.0, seed=1), wide(THETA, seed=1))
    assert (layer(THETA, seed=1) != wide(THETA, seed=1)).any()
    rows = layer(THETA, epsilon=[2.0, 0.5, 2.0], seed=1)
    np.testing.assert_array_equal(rows[[0, 2]], wide(THETA, seed=1)[[0, 2]])
    np.testing.assert_array_equal(rows[1], layer(THETA, seed=1)[1])
    # theta / epsilon is all that counts
    np.testing.assert_array_equal(wide(4 * THETA, epsilon=2.0, seed=1), layer(THETA, seed=1))


@pytest.mark.parametrize(
    ("solver", "noise", "expected"),
    [
        (pt.Argmax(), "normal", "exact"),
        (pt.Argmax(), "gumbel", "exact"),
        (pt.Argmax(), pt.Gumbel(scale=2.0), "exact"),
        (pt.Argmax(), pt.Gumbel(scale=[1.0, 2.0]), "exact"),
        (pt.Argmax(), pt.Normal(scale=[1.0, 0.0]), "rao_blackwell"),
        (pt.Argmax(), "laplace", "exact"),
        (pt.Argmax(), pt.Multiplicative(), "rao_blackwell"),
        (pt.Argmax(), pt.StudentT(3), "score"),
        (pt.TopK(1), "gumbel", "exact"),
        (pt.TopK(1), "laplace", "rao_blackwell"),
        (pt.TopK(2, ordered=True), "logistic", "exact"),
        (pt.Permutation(descending=True), "normal", "exact"),
        (pt.Ranking(), "normal", "exact"),
        (pt.Ranking(), pt.Gumbel(scale=[1.0, 2.0]), "rao_blackwell"),
        (pt.DTW(), "normal", "rao_blackwell"),
        (pt.Viterbi(np.eye(2)), "normal", "rao_blackwell"),
        (pt.Alignment("local", gap_open=1.0), "normal", "rao_blackwell"),
        (pt.Alignment("global", gap_open=1.0), "normal", "rao_blackwell"),
        (pt.GridPath(), "normal", "score"),
        (pt.Oracle(np.sign, linear=False), "normal", "score"),
    ],
)
def test_auto(solver, noise, expected):
    layer = pt.Perturbed(solver, noise=noise)
    assert layer.estimator == expected
    theta = -np.ones((2, 2))
    assert layer.estimate(theta).method == expected
    assert pt.Perturbed(solver, noise=noise, estimator="score").estimate(theta).method == "score"


def test_auto_sampler_and_baseline():
    theta = THETA[0]
    for solver in (pt.Permutation(), pt.GridPath(), pt.Oracle(np.sign, linear=False)):
        x = -np.abs(THETA) if isinstance(solver, pt.GridPath) else theta
        auto = pt.Perturbed(solver, samples=10, estimator="score").estimate(x, seed=1)
        named = pt.Perturbed(solver, samples=10, estimator="score", sampler="iid", baseline="hybrid").estimate(
            x, seed=1
        )
        g = RNG.standard_normal(auto.y.shape)
        np.testing.assert_array_equal(auto.vjp(g), named.vjp(g))


def test_first_draws_of_more():
    """iid: M draws are the first M of 2M."""
    few, many = record("normal", (3, 5), 7), record("normal", (3, 5), 14)
    np.testing.assert_array_equal(few, many[:, :7])
    np.testing.assert_array_equal(layer_of().sample(THETA, 5, seed=1), layer_of().sample(THETA, 9, seed=1)[:, :5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "samples"), [(3, 5), (2, 7), (5, 4), (17, 1), (70, 4), (3, 16)])
def test_short_groups_keep_their_rows(rows, samples, dtype):
    """Draws are solved 16 together, rows mixed: each with the theta of its own row."""
    for solver, shape in ((pt.Argmax(), (6,)), (pt.TopK(2), (6,)), (pt.Ranking(), (6,)), (pt.GridPath(), (3, 4))):
        theta = -3 * RNG.uniform(0.1, 1, (rows, *shape)).astype(dtype)
        noisy = record(
            "normal", theta.shape, samples, dtype=dtype, theta=theta, item_ndim=len(shape), epsilon=0.5, seed=1
        )
        draws = pt.Perturbed(solver, epsilon=0.5).sample(theta, samples, seed=1)
        np.testing.assert_array_equal(draws, solver(noisy))


# ---- the estimate ----


def test_methods_agree_with_the_estimate():
    layer = layer_of(epsilon=0.5)
    est = layer.estimate(THETA, seed=2)
    y, pullback = layer.vjp(THETA, seed=2)
    np.testing.assert_array_equal(layer(THETA, seed=2), est.y)
    np.testing.assert_array_equal(y, est.y)
    np.testing.assert_array_equal(pullback(G), est.vjp(G))
    np.testing.assert_array_equal(layer.value(THETA, seed=2), est.value)
    value, grad = layer.value_and_grad(THETA, seed=2)
    np.testing.assert_array_equal(value, est.value)
    np.testing.assert_array_equal(grad, est.value_grad())
    y, dy = layer.jvp(THETA, G, seed=2)
    np.testing.assert_array_equal(y, est.y)
    np.testing.assert_array_equal(dy, est.jvp(G))
    np.testing.assert_array_equal(layer.jacobian(THETA, seed=2), est.jacobian())


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes(batch, dtype):
    theta = RNG.standard_normal((*batch, 5)).astype(dtype)
    cases = {
        pt.Argmax(): (5,), pt.TopK(2): (5,), pt.TopK(2, ordered=True): (2, 5), pt.Permutation(): (5, 5),
        pt.Oracle(lambda x: x[:3] * 2, linear=False): (3,), pt.Oracle(lambda x: x.sum(), linear=False): (),
    }  # fmt: skip
    for solver, solution in cases.items():
        est = pt.Perturbed(solver, samples=6, seed=0).estimate(theta)
        g = np.ones((*batch, *solution))
        results = {
            (*batch, *solution): [est.y, est.y_stderr, est.jvp(theta)],
            (*batch, 5): [est.vjp(g), est.vjp_stderr(g)],
            batch: [est.vjp_epsilon(g), est.clipped],
            (*batch, *solution, 5): [est.jacobian()],
        }
        if solver._linear:
            results.setdefault(batch, []).extend([est.value, est.value_stderr, est.value_epsilon])
        for shape, arrays in results.items():
            for array in arrays:
                assert type(array) is np.ndarray
                assert array.shape == shape
                assert array.dtype == dtype
                assert array.flags.c_contiguous
        assert pt.Perturbed(solver).sample(theta, 4).shape == (*batch, 4, *solution)
    grid = -np.ones((*batch, 3, 4), dtype)
    layer = pt.Perturbed(pt.GridPath(), samples=6)
    assert layer.jacobian(grid).shape == (*batch, 3, 4, 3, 4)
    assert layer.sample(grid, 2).shape == (*batch, 2, 3, 4)


@pytest.mark.parametrize("solver", [pt.Argmax(), pt.TopK(2), pt.Ranking(), pt.Permutation()])
def test_atoms(solver):
    samples = 150  # more than one block of draws
    layer = pt.Perturbed(solver, samples=samples, seed=0, estimator="score", epsilon=0.7)
    theta = RNG.standard_normal((2, 2, 4))
    est = layer.estimate(theta)
    draws = layer.sample(theta, samples, seed=0).reshape(4, samples, -1)
    for row in range(4):
        atoms, weights = est.atoms(row)
        flat = atoms.reshape(len(atoms), -1)
        distinct, counts = np.unique(draws[row], axis=0, return_counts=True)
        assert len(flat) == len(distinct)
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        assert (np.diff(weights) <= 0).all()
        told = {y.tobytes(): w for y, w in zip(flat, weights, strict=True)}
        for y, count in zip(distinct, counts, strict=True):
            assert told[y.tobytes()] == count / samples
        # of equal weight the first drawn comes first
        first = [int((draws[row] == y).all(1).argmax()) for y in flat]
        assert all(a < b for a, b, v, w in zip(first, first[1:], weights, weights[1:], strict=False) if v == w)
        mean = np.tensordot(weights, atoms, 1)
        np.testing.assert_allclose(mean, est.y.reshape(4, *atoms.shape[1:])[row], atol=1e-12)
    for bad in (-1, 4):
        with pytest.raises(ValueError, match=f"i must be between 0 and 3, got {bad}"):
            est.atoms(bad)
    with pytest.raises(TypeError, match="i must be an integer, got float"):
        est.atoms(0.5)


def test_sample_solves_noisy_items():
    layer = layer_of(pt.TopK(2), epsilon=0.7)
    draws = layer.sample(THETA, 50, seed=4)
    noisy = record("normal", THETA.shape, 50, theta=THETA, epsilon=0.7, seed=4)
    np.testing.assert_array_equal(draws, pt.TopK(2)(noisy))
    pairs = layer_of(pt.TopK(2), epsilon=0.7, sampler="antithetic")  # independent all the same
    np.testing.assert_array_equal(pairs.sample(THETA, 49, seed=4), draws[:, :49])
    np.testing.assert_array_equal(layer_of(pt.TopK(2), epsilon=0.7, samples=50)(THETA, seed=4), draws.mean(1))
    part = layer.sample(THETA[1:], 50, seed=4, row_offset=1)
    np.testing.assert_array_equal(part, draws[1:])
    for bad in (0, -1):
        with pytest.raises(ValueError, match="n must be between 1"):
            layer.sample(THETA, bad)


def test_results_belong_to_the_user():
    """Writing into what came back, or into what was given, changes nothing that comes later."""
    for estimator in ("score", "exact"):
        layer = pt.Perturbed(pt.Argmax(), estimator=estimator, samples=20, seed=0)
        theta, g = THETA.copy(), G.copy()
        y, pullback = layer.vjp(theta, seed=1)
        expected = pullback(g)
        y[:] = np.nan
        theta[:] = 7
        first = pullback(g)
        np.testing.assert_array_equal(first, expected)
        first[:] = np.nan
        np.testing.assert_array_equal(pullback(g), expected)
        np.testing.assert_array_equal(g, G)
        est, clean = layer.estimate(THETA, seed=1), layer.estimate(THETA, seed=1)
        for name in ("y", "value", "value_stderr", "y_stderr", "clipped"):
            getattr(est, name)[...] = 5.0
        np.testing.assert_array_equal(est.vjp(G), clean.vjp(G))
        np.testing.assert_array_equal(est.jacobian(), clean.jacobian())
        np.testing.assert_array_equal(est.value_epsilon, clean.value_epsilon)
        np.testing.assert_array_equal(est.vjp_epsilon(G), clean.vjp_epsilon(G))
        np.testing.assert_array_equal(est.value_grad(), clean.value_grad())
        for mine, theirs in zip(est.atoms(0), clean.atoms(0), strict=True):
            np.testing.assert_array_equal(mine, theirs)


# ---- pullbacks ----


def test_pullback_is_linear_and_reusable():
    y, pullback = layer_of(epsilon=0.5, baseline="hybrid").vjp(THETA, seed=1)
    other = RNG.standard_normal(y.shape)
    np.testing.assert_allclose(pullback(2 * G - other), 2 * pullback(G) - pullback(other), atol=1e-12)
    np.testing.assert_array_equal(pullback(G), pullback(G))
    assert (pullback(np.zeros_like(y)) == 0).all()
    np.testing.assert_array_equal(pullback(G.tolist()), pullback(G))


@pytest.mark.parametrize("limit", [2**28, 1000])
@pytest.mark.parametrize("estimator", ["score", "exact"])
def test_pullback_in_threads(estimator, limit):
    """One pullback from eight threads at once, with codes kept and with codes solved again."""
    before = pt.get_memory_limit()
    pt.set_memory_limit(limit)
    try:
        layer = pt.Perturbed(pt.Argmax(), estimator=estimator, samples=100)
        theta = RNG.standard_normal((20, 50))
        _, pullback = layer.vjp(theta, seed=1)
        cotangents = [RNG.standard_normal(theta.shape) for _ in range(24)]
        expected = [pullback(g) for g in cotangents]
        start = threading.Barrier(8)

        def many(worker):
            start.wait(10)
            return [pullback(g) for g in cotangents[worker::8]]

        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(many, range(8)))
        for worker in range(8):
            for a, b in zip(got[worker], expected[worker::8], strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        pt.set_memory_limit(before)


def test_estimate_in_threads():
    """All that an estimate tells, asked from many threads at once."""
    for estimator in ("score", "exact"):
        layer = pt.Perturbed(pt.Argmax(), estimator=estimator, samples=2000, epsilon=0.5)
        theta = RNG.standard_normal((8, 30))
        for seed in range(5):
            est, alone = layer.estimate(theta, seed=seed), layer.estimate(theta, seed=seed)
            with ThreadPoolExecutor(8) as pool:
                got = list(pool.map(est.atoms, list(range(8)) * 3))
            expected = [alone.atoms(row) for row in range(8)]
            for i, (atoms, weights) in enumerate(got):
                np.testing.assert_array_equal(atoms, expected[i % 8][0])
                np.testing.assert_array_equal(weights, expected[i % 8][1])


def test_pullback_of_an_oracle_in_threads():
    layer = layer_of(pt.Oracle(np.sign, linear=False), samples=30)
    y, pullback = layer.vjp(THETA, seed=1)
    expected = pullback(G)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(pullback, [G] * 32):
            np.testing.assert_array_equal(got, expected)
    assert y.shape == THETA.shape


def test_pullback_outlives_its_layer():
    layer = layer_of(seed=1)
    _, pullback = layer.vjp(THETA)
    expected = pullback(G)
    del layer
    junk = [np.ones(10**5) for _ in range(20)]
    np.testing.assert_array_equal(pullback(G), expected)
    assert len(junk) == 20


def test_refused_cotangents():
    _, pullback = layer_of(seed=1).vjp(THETA)
    with pytest.raises(ValueError, match=r"g must have shape \(3, 6\), got \(6,\)"):
        pullback(G[0])
    bad = G.copy()
    bad[1, 2] = np.inf
    with pytest.raises(ValueError, match=r"g must be finite, got inf at g\[1, 2\]"):
        pullback(bad)
    with pytest.raises(TypeError, match=r"g must be real .*, got complex128"):
        pullback(G * 1j)
    with pytest.raises(ValueError, match=r"tangent must have shape \(3, 6\), got \(3, 5\)"):
        layer_of().jvp(THETA, G[:, :5])


def test_values_need_a_linear_oracle():
    for solver in (pt.Permutation(), pt.TopK(2, ordered=True), pt.Oracle(np.sign, linear=False)):
        layer = pt.Perturbed(solver)
        for call in (layer.value, layer.value_and_grad):
            with pytest.raises(ValueError, match="value needs a linear oracle"):
                call(THETA)
        est = layer.estimate(THETA)
        for name in ("value", "value_stderr", "value_epsilon"):
            with pytest.raises(ValueError, match="value needs a linear oracle"):
                getattr(est, name)
        with pytest.raises(ValueError, match="value needs a linear oracle"):
            est.value_grad()


def test_refused_options():
    single = THETA.astype(np.float32)
    two = pt.Normal(scale=[1, 2])
    cases = [
        (TypeError, "solver must be a solver such as pt.Argmax", lambda: pt.Perturbed("argmax")),
        (TypeError, "solver must be a solver", lambda: pt.Perturbed(pt.Argmax)),
        (ValueError, "noise must be one of 'normal', .* got 'cauchy'", lambda: layer_of(noise="cauchy")),
        (TypeError, "noise must be one of", lambda: layer_of(noise=3)),
        (ValueError, "estimator must be .* for Ranking.* got 'best'", lambda: layer_of(estimator="best")),
        (ValueError, "estimator must be one of", lambda: layer_of(estimator=None)),
        (ValueError, "sampler must be one of 'auto', 'iid', .* got 'qmc'", lambda: layer_of(sampler="qmc")),
        (ValueError, "baseline must be one of 'auto', None, .* got 'mean'", lambda: layer_of(baseline="mean")),
        (ValueError, "samples must be between 1 and .*, got 0", lambda: layer_of(samples=0)),
        (TypeError, "samples must be an integer, got float", lambda: layer_of(samples=10.0)),
        (TypeError, "samples must be an integer, got bool", lambda: layer_of(samples=True)),
        (ValueError, "epsilon must be positive and finite, got 0", lambda: layer_of(epsilon=0)),
        (ValueError, "epsilon must be positive and finite, got nan", lambda: layer_of(epsilon=[1, np.nan])),
        (TypeError, "epsilon must be a real number", lambda: layer_of(epsilon="wide")),
        (ValueError, "seed must not be negative, got -1", lambda: layer_of(seed=-1)),
        (TypeError, "seed must be an int, .* got float", lambda: layer_of(seed=1.0)),
        (TypeError, "seed must be an int, .* got bool", lambda: layer_of(seed=True)),
        (TypeError, "seed must be an int", lambda: layer_of()(THETA, seed="x")),
        (ValueError, "seed must not be negative", lambda: layer_of()(THETA, seed=-3)),
        (ValueError, "row_offset must be between 0", lambda: layer_of()(THETA, row_offset=-1)),
        (ValueError, r"epsilon must broadcast to shape \(3,\), got \(2,\)", lambda: layer_of()(THETA, epsilon=[1, 2])),
        (ValueError, r"scale must broadcast to shape \(6,\), got \(2,\)", lambda: layer_of(noise=two)(THETA)),
        (ValueError, "scale must be finite and not negative, got -1", lambda: pt.Normal(scale=-1)),
        (ValueError, r"epsilon must be between 1e-30 and 1e\+30 for float32", lambda: layer_of()(single, epsilon=1e60)),
    ]  # fmt: skip
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()


def test_noise_objects_are_values():
    for noise in (
        pt.Normal(), pt.Gumbel(centered=True, scale=2.0), pt.Laplace(scale=[1.0, 0.5]), pt.Logistic(), pt.StudentT(3.5),
        pt.SumOfGamma(3, iterations=4), pt.Multiplicative(pt.Gumbel(), scale=0.5), pt.Multiplicative("laplace"),
    ):  # fmt: skip
        again = eval(repr(noise), vars(pt))
        assert again == noise
        assert hash(again) == hash(noise)
        assert pickle.loads(pickle.dumps(noise)) == noise
        with pytest.raises(AttributeError, match="cannot assign to field"):
            noise.scale = 3.0
    assert pt.Normal() != pt.Laplace()
    assert pt.Normal(scale=2) == pt.Normal(scale=2.0) != pt.Normal(scale=3)
    assert len({pt.Normal(), pt.Normal(), pt.Gumbel()}) == 2
    widths = np.array([1.0, 2.0])
    held = pt.Normal(scale=widths)
    widths[0] = 9
    assert held == pt.Normal(scale=[1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        held.scale[0] = 3
