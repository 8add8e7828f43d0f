"""Frank-Wolfe: against known minima, its certificate, and plain against accelerated."""

import numpy as np
import pytest
from contract import same

import perturbed as pt


def least_squares(n, seed):
    """A problem whose minimum over the simplex is 0, with few ones in the solution."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n // 2, n)) / np.sqrt(n)
    b = a @ rng.dirichlet(np.full(n, 0.05))
    return lambda x: (((a @ x - b) ** 2).sum() / 2, a.T @ (a @ x - b)), np.linalg.norm(a, 2) ** 2


def towards(target):
    return lambda x: (((x - target) ** 2).sum() / 2, x - target)


def project_on_simplex(b):
    ordered = np.sort(b)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, b.size + 1)
    return np.maximum(b - excess[np.flatnonzero(ordered > excess)[-1]], 0)


@pytest.mark.parametrize("n", [100, 300])
def test_accelerated_beats_plain(n):
    """Least squares on a simplex, 255 steps: 20 to 30 times lower, with draws and with the closed form."""
    ratios = []
    for seed in range(2):
        f, constant = least_squares(n, seed)
        start = np.full(n, 1 / n)
        plain = pt.frank_wolfe(f, pt.Argmax(), start, steps=255)
        drawn = pt.frank_wolfe(
            f,
            pt.Argmax(),
            start,
            steps=255,
            lipschitz=constant,
            noise=pt.Gumbel(scale=np.r_[1.0 + 1e-9, np.ones(n - 1)]),
        )
        exact = pt.frank_wolfe(f, pt.Argmax(), start, steps=255, lipschitz=constant)
        for found in (plain, drawn, exact):
            assert found.steps == 255
            assert 0 <= found.value <= found.gap  # the minimum is 0
            np.testing.assert_allclose(found.x.sum(), 1)
            assert found.x.min() >= 0
        ratios.append((plain.value / drawn.value, plain.value / exact.value))
    assert (np.exp(np.log(ratios).mean(0)) > 15).all(), ratios


@pytest.mark.parametrize("options", [{"steps": 2000}, {"steps": 300, "lipschitz": 1.0, "epsilon": 0.05}])
def test_projection_on_a_simplex(options):
    b = np.random.default_rng(1).normal(size=8)
    found = pt.frank_wolfe(towards(b), pt.Argmax(), np.eye(8)[0], **options)
    np.testing.assert_allclose(found.x, project_on_simplex(b), atol=0.02)
    best = ((project_on_simplex(b) - b) ** 2).sum() / 2
    assert best - 1e-12 <= found.value <= best + found.gap + 1e-12
    assert found.gap < 0.02


@pytest.mark.parametrize("method", ["plain", "accelerated"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_doubly_stochastic(method, dtype):
    """A target inside the hull is reached; one outside meets its certificate."""
    rng = np.random.default_rng(2)
    inside = np.mean([np.eye(5)[rng.permutation(5)] for _ in range(20)], axis=0)
    for target, known in ((inside, True), (rng.normal(size=(5, 5)), False)):
        found = pt.frank_wolfe(
            towards(target.astype(dtype)), pt.Assignment(), np.eye(5, dtype=dtype), steps=200, lipschitz=1.0,
            method=method, epsilon=0.1, noise="normal", seed=0,
        )  # fmt: skip
        assert found.x.dtype == dtype
        np.testing.assert_allclose([found.x.sum(0), found.x.sum(1)], 1, rtol=1e-4)
        assert found.value == pytest.approx(((found.x - target) ** 2).sum() / 2, rel=1e-4)
        vertex = pt.Assignment()(target - found.x)
        assert found.gap == pytest.approx(((found.x - target) * (found.x - vertex)).sum(), rel=1e-3, abs=1e-6)
        assert found.gap < 0.15
        if known:
            assert found.value < 0.02


def test_other_solvers():
    rng = np.random.default_rng(3)
    b = rng.uniform(1, 4, 4)
    up = pt.frank_wolfe(towards(b), pt.Ranking(), [1.0, 2, 3, 4], steps=500)
    down = pt.frank_wolfe(towards(b), pt.Ranking(descending=True), [1.0, 2, 3, 4], steps=500)
    np.testing.assert_allclose(up.x, down.x, atol=0.1)  # one hull
    mask = np.array([True, True, False, True])
    masked = pt.frank_wolfe(towards(np.array([0.2, 0.3, 0.9, 0.1])), pt.Argmax(), [1.0, 0, 0, 0], steps=300, mask=mask)
    assert masked.x[2] == 0
    lengths = rng.uniform(1, 2, (5, 6))
    path = pt.frank_wolfe(lambda x: ((lengths * (x + x**2 / 2)).sum(), lengths * (1 + x)), pt.GridPath(),
                          pt.GridPath()(-lengths), steps=100)  # fmt: skip
    assert path.x[0, 0] == path.x[-1, -1] == 1
    assert path.gap < 0.4
    pairs = pt.frank_wolfe(
        towards(np.full((4, 4), 0.5)), pt.SpanningForest(), pt.SpanningForest()(np.ones((4, 4))), steps=200
    )
    same(pairs.x, np.ascontiguousarray(pairs.x.T))
    np.testing.assert_allclose(pairs.x[np.triu_indices(4, 1)], 0.5, atol=0.05)
    own = pt.Oracle(lambda x: np.eye(3)[np.argmax(x)])
    weights = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(pt.frank_wolfe(towards(weights), own, [1.0, 0, 0], steps=500).x, weights, atol=0.02)


def test_seeds():
    f, constant = least_squares(20, 0)
    options = {"steps": 12, "lipschitz": constant, "noise": "laplace"}  # no closed form: draws

    def run(**more):
        return pt.frank_wolfe(f, pt.TopK(1), np.full(20, 0.05), **{**options, **more}).x

    same(run(seed=3), run(seed=3))
    same(run(seed=np.random.SeedSequence(3)), run(seed=np.random.SeedSequence(3)))
    assert run(seed=3).tobytes() != run(seed=4).tobytes()
    assert run().tobytes() != run().tobytes()
    assert run(seed=3, samples=5).tobytes() != run(seed=3, samples=6).tobytes()


def test_few_draws_lose_the_gain():
    """Which is why their number grows."""
    f, constant = least_squares(100, 5)
    options = {"steps": 150, "lipschitz": constant, "noise": "laplace", "seed": 0}
    few, grown = (pt.frank_wolfe(f, pt.TopK(1), np.full(100, 0.01), samples=m, **options) for m in (1, None))
    assert few.value > 3 * grown.value


def test_tolerance():
    f = towards(np.array([0.2, 0.3, 0.5]))
    for options in ({}, {"lipschitz": 1.0}):
        found = pt.frank_wolfe(f, pt.Argmax(), [1.0, 0, 0], steps=10_000, tolerance=0.05, **options)
        assert found.gap <= 0.05
        assert found.steps < 300
    assert pt.frank_wolfe(f, pt.Argmax(), [1.0, 0, 0], steps=0).steps == 0
    at_rest = pt.frank_wolfe(lambda x: (0.0, np.zeros(3)), pt.Argmax(), [1.0, 0, 0])
    assert at_rest.steps == at_rest.gap == 0


def test_the_callers_arrays_stay():
    start, seen = np.array([1.0, 0, 0]), []

    def f(x):
        seen.append(x)
        x += 100  # the caller's own
        return 0.0, np.array([1.0, 2, 3])

    pt.frank_wolfe(f, pt.Argmax(), start, steps=3)
    same(start, np.array([1.0, 0, 0]))
    assert len({id(x) for x in seen}) > 1 or len(seen) == 1


def test_errors():
    f, x = towards(np.zeros(3)), [1.0, 0, 0]
    for solver in (pt.Permutation(), pt.TopK(1, ordered=True), pt.Oracle(np.sign, linear=False)):
        with pytest.raises(ValueError, match="solver must be a linear oracle without a fixed part"):
            pt.frank_wolfe(f, solver, x)
    with pytest.raises(ValueError, match="without a fixed part, got Viterbi"):
        pt.frank_wolfe(f, pt.Viterbi(np.eye(2)), np.zeros((3, 2)))
    for name in ("lipschitz", "epsilon", "tolerance"):
        with pytest.raises(ValueError, match=f"{name} must be"):
            pt.frank_wolfe(f, pt.Argmax(), x, **{name: -1.0})
        with pytest.raises(TypeError, match=f"{name} must be a number, got '1'"):
            pt.frank_wolfe(f, pt.Argmax(), x, **{name: "1"})
    with pytest.raises(ValueError, match="lipschitz must be given for the accelerated method"):
        pt.frank_wolfe(f, pt.Argmax(), x, method="accelerated")
    with pytest.raises(ValueError, match="method must be one of"):
        pt.frank_wolfe(f, pt.Argmax(), x, method="away")
    with pytest.raises(ValueError, match="steps must be between 0"):
        pt.frank_wolfe(f, pt.Argmax(), x, steps=-1)
    with pytest.raises(ValueError, match="samples must be between 1"):
        pt.frank_wolfe(f, pt.Argmax(), x, lipschitz=1.0, samples=0)
    with pytest.raises(ValueError, match=r"x0 must be one item of 1 dimensions, got shape \(2, 3\)"):
        pt.frank_wolfe(f, pt.Argmax(), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="x0 must be finite"):
        pt.frank_wolfe(f, pt.Argmax(), [np.nan, 0.0])
    with pytest.raises(ValueError, match="value_and_grad must give a finite value, got nan"):
        pt.frank_wolfe(lambda x: (np.nan, x), pt.Argmax(), x)
    with pytest.raises(ValueError, match=r"the gradient must have shape \(3,\), got \(2,\)"):
        pt.frank_wolfe(lambda x: (0.0, x[:2]), pt.Argmax(), x)
    with pytest.raises(ValueError, match="the gradient must not be negative for GridPath"):
        pt.frank_wolfe(lambda x: (0.0, -x), pt.GridPath(), np.eye(3))
    with pytest.raises(TypeError, match="solver must be a solver"):
        pt.frank_wolfe(f, np.argmax, x)
    with pytest.raises(TypeError, match="masks is no instance argument"):
        pt.frank_wolfe(f, pt.Argmax(), x, masks=1)
