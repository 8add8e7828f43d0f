"""Other papers' estimators: by their formulas, on the identity oracle, and against exact derivatives."""

import itertools
import pickle

import numpy as np
import pytest
from contract import same

import perturbed as pt
from perturbed.baselines import IMLE, Blackbox, Identity, SPOPlus

RNG = np.random.default_rng
SOLVERS = {
    "argmax": (pt.Argmax(), (5,)),
    "top_k": (pt.TopK(2), (6,)),
    "ranking": (pt.Ranking(descending=True), (5,)),
    "grid_path": (pt.GridPath(), (4, 5)),
    "dtw": (pt.DTW(), (4, 5)),
    "viterbi": (pt.Viterbi(np.eye(3)), (4, 3)),
    "assignment": (pt.Assignment(), (3, 4)),
}


def hand_over(x):
    return x


LAYERS = {"blackbox": Blackbox, "identity": Identity, "imle": IMLE}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_identity_oracle(name, dtype):
    """J = I: each of them hands g on, whatever lambda, epsilon and noise are."""
    theta, g = RNG(0).normal(size=(2, 3, 5)).astype(dtype)
    options = {"lambda_": 0.5} if name != "identity" else {}
    options |= {"samples": 3, "epsilon": 0.5, "seed": 1} if name == "imle" else {}
    layer = LAYERS[name](pt.Oracle(hand_over), **options)
    y, pullback = layer.vjp(theta)
    grad = pullback(g)
    assert y.dtype == grad.dtype == dtype
    np.testing.assert_allclose(grad, g, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)
    if name != "imle":
        same(y, theta)
        same(layer(theta), theta)


@pytest.mark.parametrize("name", SOLVERS)
def test_blackbox_is_its_formula(name):
    solver, item = SOLVERS[name]
    theta, g = -np.abs(RNG(1).normal(size=(2, 3, *item)))
    layer = Blackbox(solver, lambda_=3.0)
    y, pullback = layer.vjp(theta)
    same(y, solver(theta))
    same(layer(theta), solver(theta))
    for _ in range(2):
        same(pullback(g), (solver(theta) - solver(theta - 3.0 * g)) / 3.0)


@pytest.mark.parametrize("sampler_noise", ["normal", "gumbel"])
@pytest.mark.parametrize("name", SOLVERS)
def test_imle_is_its_formula(name, sampler_noise):
    """The draws are those of a layer with the same seed."""
    solver, item = SOLVERS[name]
    theta, g = -np.abs(RNG(2).normal(size=(2, 2, *item)))
    layer = IMLE(solver, lambda_=2.0, noise=sampler_noise, epsilon=0.5, samples=4, seed=7)
    y, pullback = layer.vjp(theta)
    plain = pt.Perturbed(solver, noise=sampler_noise, epsilon=0.5, samples=4, estimator="score", seed=7)
    same(y, plain(theta))
    noise = pt.Perturbed(
        pt.Oracle(hand_over, item_ndim=len(item), linear=False), noise=sampler_noise, epsilon=0.5, samples=4, seed=7
    )
    noisy = noise.sample(theta, 4)
    want = (solver(noisy) - solver(noisy - 2.0 * g[:, None])).mean(1) / 2.0
    np.testing.assert_allclose(pullback(g), want, rtol=0, atol=1e-13)
    assert layer(theta).tobytes() != y.tobytes() or name == "grid_path"  # the count goes on
    same(layer(theta, seed=7), plain(theta, seed=7))


def test_imle_tends_to_the_derivative():
    """For a small step the difference is that of the perturbed maximizer: sign, scale and direction."""
    theta, g = np.array([0.3, -0.2, 0.5, 0.0]), np.array([1.0, -0.5, 0.2, 0.7])
    want = pt.Perturbed(pt.Argmax(), epsilon=0.8).vjp(theta)[1](g)
    step, n = 0.1, 100
    grads = np.stack(
        [
            IMLE(pt.Argmax(), lambda_=step, noise="normal", epsilon=0.8, samples=500).vjp(theta, seed=i)[1](g)
            for i in range(n)
        ]
    )
    error = grads.std(0, ddof=1) / np.sqrt(n)
    middle = pt.Perturbed(pt.Argmax(), epsilon=0.8).vjp(theta - step / 2 * g)[1](g)  # the mean value, to second order
    assert (np.abs(grads.mean(0) - middle) < 5 * error + 1e-3).all()
    assert (np.abs(want) > 20 * error).any()


@pytest.mark.parametrize("name", [n for n in SOLVERS if n not in ("ranking", "grid_path", "viterbi", "dtw")])
def test_they_go_downhill(name):
    """Along minus the gradient of <y, g> the solution costs less: the sign is right."""
    solver, item = SOLVERS[name]
    theta, g = RNG(3).normal(size=(2, 40, *item))
    axes = tuple(range(1, theta.ndim))
    for layer in (Blackbox(solver, lambda_=2.0), Identity(solver), IMLE(solver, epsilon=0.3, samples=3, seed=0)):
        grad = layer.vjp(theta)[1](g)
        before, after = (solver(x) * g for x in (theta, theta - 3.0 * grad))
        assert after.sum(axes).mean() < before.sum(axes).mean() - 0.1
        assert ((grad * g).sum(axes) >= -1e-12).all()  # J is positive semi-definite


# ---- projections ----


def solutions_of(solver, item, **instance):
    """Many solutions, so that their differences span."""
    return np.unique(solver(RNG(4).normal(size=(400, *item)), **instance).reshape(400, -1), axis=0)


@pytest.mark.parametrize(
    ("solver", "item"),
    [
        (pt.Argmax(), (5,)),
        (pt.TopK(3), (6,)),
        (pt.Ranking(), (4,)),
        (pt.Assignment(), (3, 3)),
        (pt.Assignment(), (3, 5)),
        (pt.Assignment(), (4, 2)),
    ],
)
def test_projection_on_differences(solver, item):
    differences = solutions_of(solver, item)
    differences = (differences - differences[0])[1:]
    _, size, span = np.linalg.svd(differences, full_matrices=False)
    span = span[size > 1e-9]
    g = RNG(5).normal(size=(3, *item))
    got = Identity(solver).vjp(RNG(6).normal(size=(3, *item)))[1](g)
    want = (g.reshape(3, -1) @ span.T) @ span
    np.testing.assert_allclose(got.reshape(3, -1), want, atol=1e-12)


def test_projection_leaves_out_what_is_closed():
    theta, g = RNG(7).normal(size=(2, 3, 4))
    mask = np.array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]], bool)
    grad = Identity(pt.Assignment()).vjp(theta, mask=mask)[1](g)
    means = np.where(mask, g, 0).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
    np.testing.assert_allclose(grad, np.where(mask, g - means, 0), atol=1e-14)
    theta = np.array([1.0, -np.inf, 2.0])
    np.testing.assert_allclose(Identity(pt.Argmax()).vjp(theta)[1]([1.0, 5.0, 2.0]), [-0.5, 0.0, 0.5])
    same(Identity(pt.Argmax(), project=False).vjp(theta)[1]([1.0, 5.0, 2.0]), np.array([1.0, 0.0, 2.0]))
    for layer in (Blackbox(pt.Argmax()), IMLE(pt.Argmax(), seed=0)):
        assert layer.vjp(theta)[1]([1.0, 50.0, 2.0])[1] == 0


def test_normalized_identity():
    theta, g = RNG(8).normal(size=(2, 2, 3, 4))
    theta[0, 1, 2] = -np.inf
    y, pullback = Identity(pt.Assignment(), normalize=True, project=False).vjp(theta)
    same(y, pt.Assignment()(theta))  # the same order of all sums

    def scaled(x):
        open_ = np.isfinite(x)
        return np.where(open_, (x - x[open_].mean()) / x[open_].std(), 0)

    for row in range(2):
        for at in ((0, 0), (1, 2), (2, 3)):
            if not np.isfinite(theta[row][at]):
                assert pullback(g)[row][at] == 0
                continue
            h = np.zeros((3, 4))
            h[at] = 1e-6
            slope = ((scaled(theta[row] + h) - scaled(theta[row] - h)) * g[row]).sum() / 2e-6
            np.testing.assert_allclose(pullback(g)[row][at], slope, rtol=1e-6, atol=1e-8)
    assert np.isfinite(Identity(pt.Argmax(), normalize=True).vjp(np.zeros(3))[1](np.ones(3))).all()
    same(Identity(pt.Argmax(), normalize=True)(np.arange(3.0)), pt.Argmax()(np.arange(3.0)))


def test_forests_count_edges_once():
    """The gradient by a matrix is half of that by its edges, twice."""
    n = 5
    i, j = np.triu_indices(n, 1)
    edges = RNG(9).normal(size=len(i))
    matrix = np.zeros((n, n))
    matrix[i, j] = matrix[j, i] = edges
    g = RNG(10).normal(size=(n, n))
    listed = pt.SpanningForest(2, np.stack([i, j], 1))
    for make in (
        lambda s: Blackbox(s, lambda_=2.0).vjp,
        lambda s: Identity(s).vjp,
        lambda s: IMLE(s, samples=3, seed=1).vjp,
    ):
        by_edges = make(listed)(edges)[1](g[i, j] + g[j, i])
        by_matrix = make(pt.SpanningForest(2))(matrix)[1](g)
        np.testing.assert_allclose(by_matrix[i, j], by_edges / 2, atol=1e-14)
        same(by_matrix, np.ascontiguousarray(by_matrix.T))
    true = RNG(11).normal(size=len(i))
    other = np.zeros((n, n))
    other[i, j] = other[j, i] = true
    value, grad = SPOPlus(listed).value_and_grad(edges, true)
    value_matrix, grad_matrix = SPOPlus(pt.SpanningForest(2)).value_and_grad(matrix, other)
    np.testing.assert_allclose(value_matrix, value)
    np.testing.assert_allclose(grad_matrix[i, j], grad / 2)


# ---- SPO+ ----


@pytest.mark.parametrize("name", SOLVERS)
def test_spo_plus(name):
    """By enumeration's words: a bound on the regret, zero at the truth, convex, with its subgradient."""
    solver, item = SOLVERS[name]
    theta, scores = -0.2 - RNG(12).random(size=(2, 30, *item))
    if name != "grid_path":
        theta, scores = RNG(12).normal(size=(2, 30, *item))
    loss = SPOPlus(solver, "none")
    value, grad = loss.value_and_grad(theta, scores)
    best = solver(scores)
    want = solver.value(2 * theta - scores) - 2 * solver.objective(theta, best) + solver.value(scores)
    np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-12)
    same(loss(theta, scores), value)
    np.testing.assert_allclose(loss(scores, scores), 0, atol=1e-12)
    clipped = name == "grid_path" and (2 * theta - scores > 0).reshape(30, -1).any(1)
    regret = solver.value(scores) - solver.objective(scores, solver(theta))
    assert ((value >= regret - 1e-12) | clipped).all()
    assert (value > 0.1).any()
    step = RNG(13).normal(size=theta.shape)
    axes = tuple(range(1, theta.ndim))
    h = 1e-7
    slope = (loss(theta + h * step, scores) - loss(theta - h * step, scores)) / (2 * h)
    np.testing.assert_allclose(slope, (grad * step).sum(axes), rtol=1e-5, atol=1e-5)


def test_spo_plus_by_hand():
    theta, scores = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 5.0]]), np.array([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    rows = [3.0 - 2 * 1.0 + 3.0, 8.0 - 2 * 5.0 + 2.0]
    same(SPOPlus(pt.Argmax(), "none")(theta, scores), np.array(rows))
    value, grad = SPOPlus(pt.Argmax()).value_and_grad(theta, scores)
    assert value == np.mean(rows)
    same(grad, np.array([[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    value, grad = SPOPlus(pt.Argmax(), "sum").value_and_grad(theta.astype(np.float32), scores)
    assert value == sum(rows)
    assert value.dtype == grad.dtype == np.float32
    same(grad, np.array([[-2, 2, 0], [0, 0, 0]], np.float32))


def test_spo_plus_keeps_to_what_is_open():
    theta, scores = RNG(14).normal(size=(2, 4, 4))
    mask = RNG(15).random((4, 4)) < 0.7
    mask |= np.eye(4, dtype=bool)
    closed = np.where(mask, theta, -np.inf)
    loss = SPOPlus(pt.Assignment(), "none")
    value, grad = loss.value_and_grad(theta, scores, mask=mask)
    same(np.asarray(loss(closed, scores)), np.asarray(value))
    assert (grad[~mask] == 0).all()
    places = [p for p in itertools.permutations(range(4)) if all(mask[i, j] for i, j in enumerate(p))]

    def weight(x, p):
        return sum(x[i, j] for i, j in enumerate(p))

    best = max(places, key=lambda p: weight(scores, p))
    want = max(weight(2 * theta - scores, p) for p in places) - 2 * weight(theta, best) + weight(scores, best)
    np.testing.assert_allclose(value, want)


# ---- the objects ----


@pytest.mark.parametrize("made", [Blackbox(pt.TopK(2), lambda_=3.0), Identity(pt.TopK(2)), SPOPlus(pt.TopK(2), "sum")])
def test_frozen_values(made):
    names = {**vars(pt), "Blackbox": Blackbox, "Identity": Identity, "SPOPlus": SPOPlus}
    for other in (pickle.loads(pickle.dumps(made)), eval(repr(made), names)):
        assert other == made
        assert hash(other) == hash(made)
    with pytest.raises(AttributeError):
        made.solver = pt.Argmax()


def test_imle_as_a_value():
    layer = IMLE(pt.TopK(2), noise=pt.SumOfGamma(2.0, 5), samples=3, seed=1)
    assert repr(layer).startswith("IMLE(TopK(k=2), lambda_=10.0, noise=SumOfGamma(")
    assert layer.solver == pt.TopK(2)
    assert layer.lambda_ == 10.0
    theta = RNG(16).normal(size=(2, 5))
    same(pickle.loads(pickle.dumps(layer))(theta), layer(theta))


def test_empty_batches():
    theta = np.zeros((0, 4))
    for layer in (Blackbox(pt.TopK(2)), Identity(pt.TopK(2)), Identity(pt.TopK(2), normalize=True), IMLE(pt.TopK(2))):
        y, pullback = layer.vjp(theta)
        assert y.shape == pullback(theta).shape == (0, 4)
    value, grad = SPOPlus(pt.TopK(2)).value_and_grad(theta, theta)
    assert np.isnan(value)
    assert grad.shape == (0, 4)
    assert SPOPlus(pt.TopK(2), "none")(theta, theta).shape == (0,)


def test_errors():
    for make in (Blackbox, Identity, IMLE, SPOPlus):
        with pytest.raises(TypeError, match=r"solver must be a solver such as pt.Argmax\(\), got 3"):
            make(3)
    for make in (Blackbox, IMLE):
        for bad in (0.0, -1.0, np.inf, np.nan):
            with pytest.raises(ValueError, match="lambda_ must be positive and finite"):
                make(pt.Argmax(), lambda_=bad)
        with pytest.raises(TypeError, match="lambda_ must be a number"):
            make(pt.Argmax(), lambda_="1")
    for layer in (Blackbox(pt.Permutation()), Identity(pt.Permutation()), IMLE(pt.Permutation())):
        with pytest.raises(ValueError, match="solver must have solutions shaped like theta's items"):
            layer.vjp([1.0, 2.0])
    for layer in (Blackbox(pt.Argmax()), Identity(pt.Argmax(), normalize=True), IMLE(pt.Argmax())):
        with pytest.raises(ValueError, match="theta must not contain NaN"):
            layer.vjp([1.0, np.nan])
        with pytest.raises(ValueError, match=r"g must have shape \(2,\)"):
            layer.vjp([1.0, 2.0])[1]([1.0])
    with pytest.raises(ValueError, match="theta - lambda_ g must be finite"):
        Blackbox(pt.Argmax(), lambda_=1e300).vjp([1.0, 2.0])[1]([1e300, 0.0])
    with pytest.raises(TypeError, match="project must be True or False"):
        Identity(pt.Argmax(), project=1)
    with pytest.raises(ValueError, match="solver must be a linear oracle, got Permutation"):
        SPOPlus(pt.Permutation())
    with pytest.raises(ValueError, match="reduction must be one of"):
        SPOPlus(pt.Argmax(), "median")
    with pytest.raises(ValueError, match=r"scores must have shape \(2,\), got \(3,\)"):
        SPOPlus(pt.Argmax())([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="scores must be finite"):
        SPOPlus(pt.Argmax())([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(ValueError, match="samples must be between 1"):
        IMLE(pt.Argmax(), samples=0)
