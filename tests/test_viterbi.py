"""Viterbi against its recurrence in plain NumPy, that against all sequences, and hmmlearn's decoder."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from contract import SolverContract, everything, perturbed_items, same

import perturbed as pt


def sequence(theta, transitions=None):
    """The docstring's states, in theta's own arithmetic; None where there are none."""
    if transitions is None:
        edges, states = theta, np.zeros((len(theta) + 1, theta.shape[1]), theta.dtype)
    else:
        edges, states = np.broadcast_to(transitions, (len(theta) - 1, *np.shape(transitions)[-2:])), theta
        edges = edges.astype(theta.dtype)
    v, came = [states[0]], []
    for t in range(1, len(states)):
        through = v[-1][:, None] + edges[t - 1]
        came.append(through.argmax(0))  # "the lowest state"
        v.append(through.max(0) + states[t] if transitions is not None else through.max(0))
    if np.isneginf(v[-1].max()):
        return None
    path = [int(v[-1].argmax())]
    for from_ in came[::-1]:
        path.append(int(from_[path[-1]]))
    return path[::-1]


def one_hot(states, shape):
    """Solution of a sequence: states (T, S), or edges (T - 1, S, S)."""
    y = np.zeros(shape)
    if len(shape) == 2:
        y[np.arange(len(states)), states] = 1
    else:
        y[np.arange(len(states) - 1), states[:-1], states[1:]] = 1
    return y


def whole(theta, transitions, states):
    """The objective of a sequence."""
    if transitions is None:
        return sum(theta[t, r, s] for t, (r, s) in enumerate(itertools.pairwise(states)))
    edges = np.broadcast_to(transitions, (len(theta) - 1, *np.shape(transitions)[-2:]))
    used = sum(edges[t, r, s] for t, (r, s) in enumerate(itertools.pairwise(states)))
    return sum(theta[t, s] for t, s in enumerate(states)) + used


class TestViterbi(SolverContract):
    matrix = np.array([[0.5, -0.25, 0.25], [0.0, 0.25, -0.5], [-1.0, 0.0, 0.25]])
    solver = pt.Viterbi(matrix)
    item = (4, 3)

    def twin(self, theta):
        return one_hot(sequence(theta, self.matrix), theta.shape)

    def fixed(self, y):
        return float(np.einsum("tr,rs,ts", y[:-1], self.matrix, y[1:]))


class TestViterbiOfSteps(SolverContract):
    """A matrix for each step, some edges forbidden, more states than a block."""

    matrices = np.random.default_rng(0).integers(-4, 5, (2, 11, 11)) / 4.0
    matrices[0, 3, :4] = matrices[1, :, 7] = -np.inf
    solver = pt.Viterbi(matrices)
    item = (3, 11)
    plain_sample = 700
    noise_names = ("normal", "multiplicative", "user")

    def twin(self, theta):
        return one_hot(sequence(theta, self.matrices), theta.shape)

    def from_repr(self, solver):
        return eval(repr(solver), {**vars(pt), "inf": np.inf})

    def fixed(self, y):
        states = y.argmax(1)
        return float(self.matrices[np.arange(2), states[:-1], states[1:]].sum())


class TestViterbiOfEdges(SolverContract):
    solver = pt.Viterbi()
    item = (3, 3, 3)
    noise_names = ("normal", "gumbel", "laplace", "multiplicative")

    def twin(self, theta):
        return one_hot(sequence(theta), theta.shape)


@pytest.mark.parametrize(("steps", "states"), [(1, 1), (1, 4), (5, 1), (2, 3), (4, 2), (4, 3), (3, 5)])
@pytest.mark.parametrize("form", ["one", "each", "edges"])
def test_all_sequences(form, steps, states):
    if form == "edges" and steps == 1:
        pytest.skip("one state has no edge")
    rng = np.random.default_rng(0)
    sequences = list(itertools.product(range(states), repeat=steps))
    for _ in range(40):  # small integers: exact sums, many ties
        transitions = None
        if form != "edges":
            transitions = rng.integers(-2, 3, (steps - 1, states, states) if form == "each" and steps > 1
                                       else (states, states)).astype(float)  # fmt: skip
        shape = (steps - 1, states, states) if form == "edges" else (steps, states)
        theta = rng.integers(-2, 3, shape).astype(float)
        score = [whole(theta, transitions, s) for s in sequences]
        best = [s for s, x in zip(sequences, score, strict=True) if x == max(score)]
        want = min(best, key=lambda s: s[::-1])  # of the best the lowest state, walking back
        solver = pt.Viterbi(transitions)
        assert solver.value(theta) == max(score)
        np.testing.assert_array_equal(solver(theta), one_hot(want, shape))
        assert sequence(theta, transitions) == list(want)
        assert solver.states(solver(theta)).tolist() == list(want)
        for s, x in zip(sequences, score, strict=True):
            assert solver.objective(theta, one_hot(s, shape)) == x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_closed_states_and_edges(dtype):
    rng = np.random.default_rng(1)
    found = none = 0
    for _ in range(300):
        steps, states = rng.integers(1, 9), rng.integers(1, 14)
        transitions = rng.normal(size=(states, states)) if rng.random() < 0.7 else None
        shape = (steps, states) if transitions is not None else (steps, states, states)
        theta = rng.normal(size=shape) if rng.random() < 0.5 else rng.integers(-2, 3, shape)
        theta = theta.astype(dtype)
        theta[rng.random(shape) < 0.4] = -np.inf
        if transitions is not None:
            transitions[rng.random(transitions.shape) < 0.3] = -np.inf
        want = sequence(theta, transitions)
        solver = pt.Viterbi(transitions)
        if want is None:
            none += 1
            with pytest.raises(ValueError, match=r"^theta: no sequence of \d+ states over states and edges"):
                solver(theta)
            continue
        found += 1
        y = solver(theta)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, one_hot(want, shape))
        assert solver.objective(theta, y) > -np.inf
        assert solver.objective(theta, y) == solver.value(theta)
    assert found > 60
    assert none > 30


def test_objective_of_what_is_forbidden():
    solver = pt.Viterbi([[0.0, -np.inf], [1.0, 0.0]])
    theta = np.zeros((2, 3, 2))
    y = np.array([[[1, 0], [0, 1], [0, 1]], [[0, 1], [1, 0], [1, 0]]])
    np.testing.assert_array_equal(solver.objective(theta, y), [-np.inf, 1.0])
    with pytest.raises(ValueError, match=r"^y\[0\] uses an entry that theta forbids"):
        pt.FenchelYoungLoss(pt.Perturbed(solver))(theta, y, seed=0)


def test_loss_of_a_mixture():
    """Inside the hull the loss stays >= 0: its fixed part is what independent states have."""
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(3, 3)) * 3
    layer = pt.Perturbed(pt.Viterbi(matrix), samples=50)
    theta = rng.normal(size=(200, 4, 3))
    y = rng.dirichlet(np.ones(3) / 3, size=(200, 4))
    want = np.einsum("btr,rs,bts->b", y[:, :-1], matrix, y[:, 1:]) + (y * theta).sum((1, 2))
    np.testing.assert_allclose(layer.solver.objective(theta, y), want, rtol=1e-12)
    value, grad = pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, y, seed=1)
    assert (value > 0).all()
    np.testing.assert_allclose(grad, layer(theta, seed=1) - y, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_of_the_solution_with_large_parts_that_cancel(dtype):
    """Scores and transitions of 1e6 that nearly cancel: what is left of the rounding does not make a loss < 0."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(4, 4)) + 1e6
    theta = (rng.normal(size=(50, 5, 4)) - 1e6).astype(dtype)
    layer = pt.Perturbed(pt.Viterbi(matrix), samples=1, epsilon=1e-3)
    draw = pt.Perturbed(pt.Viterbi(matrix), samples=1, epsilon=1e-3, estimator="score")(theta, seed=1)
    assert (pt.FenchelYoungLoss(layer, "none")(theta, draw, seed=1) == 0).all()


def test_derivative_by_epsilon():
    """With transitions y_eps depends on more than theta / epsilon: a difference quotient of the exact expectation."""
    rng = np.random.default_rng(4)
    theta, matrix = rng.normal(size=(2, 2)), np.array([[1.0, -1.0], [-0.5, 0.7]])
    layer = pt.Perturbed(pt.Viterbi(matrix), samples=200000, estimator="score")
    g = rng.normal(size=theta.shape)
    est = layer.estimate(theta, epsilon=0.8, seed=1)
    h = 0.02
    ahead, behind = (layer(theta, epsilon=0.8 + d, seed=1) for d in (h, -h))
    slope = ((ahead - behind) * g).sum() / (2 * h)
    # the difference of two means over the same draws: at most |<g, y>| at the few draws that change
    spread = 2 * abs(g).sum() * np.sqrt(2 * h / 200000) / (2 * h)
    assert abs(est.vjp_epsilon(g) - slope) < 5 * (spread + 3 * abs(g).sum() / np.sqrt(200000))
    assert abs(slope) > 0.05


# ---- lengths ----


@pytest.mark.parametrize("form", ["one", "each", "edges"])
def test_lengths_by_row(form):
    rng = np.random.default_rng(5)
    steps, states = 7, 5
    shape = (steps - 1, states, states) if form == "edges" else (steps, states)
    transitions = {"one": rng.normal(size=(5, 5)), "each": rng.normal(size=(6, 5, 5)), "edges": None}[form]
    solver, theta = pt.Viterbi(transitions), rng.normal(size=(2, 10, *shape))
    lengths = rng.integers(1, steps + 1, (2, 10))
    lengths[0, :2] = 1, steps
    keep = theta.copy(), lengths.copy()
    more = form == "edges"

    def part(x, n):
        """The own states of a row, solved by the twin."""
        y = np.zeros(shape)
        if n > more:
            own = transitions[: n - 1] if form == "each" else transitions
            own = np.zeros((states, states)) if form == "each" and n == 1 else own
            y[: n - more] = one_hot(sequence(x[: n - more], own), x[: n - more].shape)
        return y

    y = solver(theta, lengths=lengths)
    for i in np.ndindex(2, 10):
        np.testing.assert_array_equal(y[i], part(theta[i], lengths[i]))
        same(y[i], solver(theta[i], lengths=lengths[i]))
        found = solver.states(y[i])
        assert len(found) == (0 if form == "edges" and lengths[i] == 1 else lengths[i])
        if form != "edges":
            own = transitions[: lengths[i] - 1] if form == "each" else transitions
            if lengths[i] > 1:
                want = whole(theta[i][: lengths[i]], own, found)
                np.testing.assert_allclose(solver.objective(theta[i], y[i], lengths=lengths[i]), want)
                np.testing.assert_allclose(solver.value(theta[i], lengths=lengths[i]), want)
    # noisy draws: 16 draws of several rows, each with its own length
    layer = pt.Perturbed(solver, epsilon=0.3, samples=5, estimator="score")
    draws = layer.sample(theta, 5, seed=1, lengths=lengths)
    noisy = perturbed_items(theta, len(shape), noise="normal", epsilon=0.3, samples=5, seed=1).reshape(draws.shape)
    for i in np.ndindex(2, 10, 5):
        np.testing.assert_array_equal(draws[i], part(noisy[i], lengths[i[:2]]))
    # what lies beyond is ignored, and has no gradient
    beyond = np.arange(shape[0]) >= lengths[..., None] - more
    junk, g = theta.copy(), rng.normal(size=theta.shape)
    junk[beyond] = np.nan
    same(layer(junk, seed=1, lengths=lengths), layer(theta, seed=1, lengths=lengths))
    grad = layer.vjp(junk, seed=1, lengths=lengths)[1](g)
    assert np.isfinite(grad).all()
    assert (grad[beyond] == 0).all()
    value, loss_grad = pt.FenchelYoungLoss(layer, "none").value_and_grad(junk, y, seed=1, lengths=lengths)
    assert (value >= 0).all()
    assert (loss_grad[beyond] == 0).all()
    np.testing.assert_array_equal(theta, keep[0])
    np.testing.assert_array_equal(lengths, keep[1])


def test_one_length_for_all_rows():
    theta = np.random.default_rng(6).normal(size=(3, 5, 4))
    solver = pt.Viterbi(np.eye(4))
    want = np.stack([solver(x, lengths=3) for x in theta])
    for lengths in (3, [3], [3, 3, 3], np.uint8(3), np.full((3,), 3)[::-1]):
        same(solver(theta, lengths=lengths), want)
    same(solver(theta, lengths=5), solver(theta))
    same(solver(theta, lengths=None), solver(theta))
    mask = np.ones((5, 4), bool)
    mask[3] = False
    with pytest.raises(ValueError, match=r"^theta\[0\]: no sequence of 5 states"):
        solver(theta, mask=mask)
    same(solver(theta, lengths=3, mask=mask), want)
    assert solver(theta[:0], lengths=3).shape == (0, 5, 4)


# ---- edges and states are one model ----


def test_edges_with_states_written_into_them():
    """Scores of states and transitions as scores of edges: the same states and value."""
    rng = np.random.default_rng(7)
    theta, matrix = rng.integers(-3, 4, (40, 6, 5)), rng.integers(-2, 3, (5, 5))
    edges = matrix + theta[:, 1:, None, :] + np.where(np.arange(5)[:, None] == 0, theta[:, :-1, None, :] * 0, 0)
    edges[:, 0] += theta[:, 0, :, None]
    one, other = pt.Viterbi(matrix), pt.Viterbi()
    np.testing.assert_array_equal(one.value(theta), other.value(edges))
    first = [s.tolist() for s in one.states(one(theta))]
    assert [s.tolist() for s in other.states(other(edges))] == first


def test_repeated_matrix_is_one_matrix():
    rng = np.random.default_rng(8)
    theta, g, t = (rng.normal(size=(3, 6, 4)) for _ in range(3))
    matrix = rng.normal(size=(4, 4))
    layers = [pt.Perturbed(pt.Viterbi(m), samples=20) for m in (matrix, np.broadcast_to(matrix, (5, 4, 4)))]
    one, each = (everything(layer, theta, g, t, theta * 0, seed=1) for layer in layers)
    for name, value in one.items():
        same(each[name], value)


def test_hmmlearn_decodes_the_same():
    hmm = pytest.importorskip("hmmlearn.hmm")
    rng = np.random.default_rng(9)
    for states, symbols, steps in ((2, 3, 10), (4, 5, 60), (6, 8, 200)):
        model = hmm.CategoricalHMM(states, init_params="", algorithm="viterbi")
        model.startprob_ = rng.dirichlet(np.ones(states))
        model.transmat_ = rng.dirichlet(np.ones(states), states)
        model.emissionprob_ = rng.dirichlet(np.ones(symbols), states)
        model.n_features = symbols
        seen = rng.integers(0, symbols, steps)
        score, want = model.decode(seen[:, None])
        theta = np.log(model.emissionprob_).T[seen]
        theta[0] += np.log(model.startprob_)
        solver = pt.Viterbi(np.log(model.transmat_))
        np.testing.assert_allclose(solver.value(theta), score, rtol=1e-12)
        np.testing.assert_allclose(solver.objective(theta, one_hot(want, theta.shape)), score, rtol=1e-12)


# ---- errors and values ----


def test_bad_transitions():
    for transitions, error, words in (
        (np.zeros((2, 3)), ValueError, r"transitions must have shape \(S, S\) or \(T - 1, S, S\), got \(2, 3\)"),
        (np.zeros(3), ValueError, r"transitions must have shape \(S, S\) or \(T - 1, S, S\), got \(3,\)"),
        (np.zeros((0, 0)), ValueError, r"transitions must have shape .*, got \(0, 0\)"),
        ([[0, np.nan], [0, 0]], ValueError, r"transitions must be finite or -inf, got nan at transitions\[0, 1\]"),
        ([[0, 0], [np.inf, 0]], ValueError, r"transitions must be finite or -inf, got inf at transitions\[1, 0\]"),
        ([[1j]], TypeError, "transitions must be real, got complex128"),
        ("ab", TypeError, "transitions must be real, got <U2"),
    ):
        with pytest.raises(error, match=words):
            pt.Viterbi(transitions)
    for shape, transitions, words in (
        ((5, 3), np.zeros((4, 4)), r"theta must have items of shape \(T, 4\) with transitions .*, got \(5, 3\)"),
        ((2, 5, 4), np.zeros((3, 4, 4)), r"theta must have items of shape \(4, 4\) with transitions .*, got \(5, 4\)"),
        ((5, 4, 3), None, r"theta must have items of shape \(T - 1, S, S\) without transitions, got \(5, 4, 3\)"),
        ((4, 3), None, "theta must have at least 3 dimensions, got 2"),
    ):
        with pytest.raises(ValueError, match=words):
            pt.Viterbi(transitions)(np.zeros(shape))
    with pytest.raises(ValueError, match=r"transitions must be within the range of float32, got 1e\+300"):
        pt.Viterbi([[0, -1e300], [0, 0]])(np.zeros((3, 2), np.float32))
    pt.Viterbi([[0, -1e300], [0, 0]])(np.zeros((3, 2)))


def test_bad_lengths():
    theta = np.zeros((2, 3, 4))
    for solver, x, most in ((pt.Viterbi(np.zeros((4, 4))), theta, 3), (pt.Viterbi(), np.zeros((2, 3, 4, 4)), 4)):
        for lengths, words in (
            ([1, most + 1], rf"lengths must be in 1..{most}, got {most + 1} in row 1"),
            (0, rf"lengths must be in 1..{most}, got 0 in row 0"),
            ([[1, 1]] * 3, r"lengths must broadcast to shape \(2,\), got \(3, 2\)"),
        ):
            with pytest.raises(ValueError, match=words):
                solver(x, lengths=lengths)
        with pytest.raises(TypeError, match="lengths must be integers, got float64"):
            solver(x, lengths=2.0)


def test_no_sequence_names_the_row():
    theta = np.zeros((2, 2, 3, 4))
    theta[1, 0, 1] = -np.inf
    solver = pt.Viterbi(np.zeros((4, 4)))
    for call in (solver, pt.Perturbed(solver), pt.Perturbed(solver).estimate):
        with pytest.raises(ValueError, match=r"^theta\[1, 0\]: no sequence of 3 states over states and edges that are"):
            call(theta)
    with pytest.raises(ValueError, match=r"^theta\[0, 0\]: no sequence of 3 states"):
        pt.Viterbi(np.full((4, 4), -np.inf))(theta)


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_that_overflow(sign):
    for dtype in (np.float32, np.float64):
        theta = np.full((2, 3, 3), sign * np.finfo(dtype).max, dtype)
        theta[0] = 0
        with pytest.raises(ValueError, match=r"^theta\[1\]: the score of the states overflows$"):
            pt.Viterbi(np.zeros((3, 3)))(theta)


def test_states():
    solver, edges = pt.Viterbi(np.zeros((3, 3))), pt.Viterbi()
    assert solver.states(np.eye(3)[[2, 0, 1]]).tolist() == [2, 0, 1]
    assert [s.tolist() for s in solver.states(np.eye(3)[[[2, 0], [1, 1]]])] == [[2, 0], [1, 1]]
    assert solver.states(np.eye(3)[[2, 0]]).dtype == np.int64
    assert edges.states(one_hot([1, 2, 2, 0], (3, 3, 3))).tolist() == [1, 2, 2, 0]
    assert edges.states(np.zeros((2, 3, 3))).tolist() == []
    for bad in (np.ones((2, 3)), [[0, 0, 0], [1, 0, 0]]):
        with pytest.raises(ValueError, match=r"^y must be one sequence of states, got"):
            solver.states(bad)
        with pytest.raises(ValueError, match=r"^y\[0, 1\] must be one sequence of states, got"):
            solver.states([[np.eye(3)[:2], bad]])
    broken = one_hot([1, 2, 2], (2, 3, 3))
    broken[1] = np.eye(3)[[0, 1, 1]] * [[1], [0], [0]]  # starts in another state than that reached
    with pytest.raises(ValueError, match="y must be one sequence of states, got 2 ones"):
        edges.states(broken)


def test_transitions_are_frozen_content():
    given = np.array([[1, 2], [3, 4]], np.float32)
    solver = pt.Viterbi(given)
    given[:] = 0
    assert solver == pt.Viterbi([[1, 2], [3, 4]]) != pt.Viterbi([[1, 2], [3, 5]])
    assert hash(solver) == hash(pt.Viterbi(transitions=[[1.0, 2.0], [3.0, 4.0]]))
    assert pt.Viterbi([[1.0]]) != pt.Viterbi([[[1.0]]]) != pt.Viterbi()
    with pytest.raises(ValueError, match="read-only"):
        solver.transitions[0, 0] = 1
    assert repr(solver) == "Viterbi(transitions=[[1.0, 2.0], [3.0, 4.0]])"
    assert repr(pt.Viterbi()) == "Viterbi(transitions=None)"
    large = pt.Viterbi(np.zeros((40, 40)))
    assert repr(large) == "Viterbi(transitions=<float64 array of shape (40, 40)>)"
    assert pickle.loads(pickle.dumps(large)) == copy.deepcopy(large) == large


# ---- sizes ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large(dtype):
    rng = np.random.default_rng(10)
    for steps, states in ((3, 301), (2000, 3), (70, 37), (1, 5000)):
        theta = rng.normal(size=(steps, states)).astype(dtype)
        matrix = rng.integers(-3, 4, (states, states)) if states < 1000 else np.zeros((1, 1))
        if states < 1000:
            y = pt.Viterbi(matrix)(theta)
            np.testing.assert_array_equal(y, one_hot(sequence(theta, matrix), theta.shape))
    theta = rng.integers(-2, 3, (9, 45, 45)).astype(dtype)
    np.testing.assert_array_equal(pt.Viterbi()(theta), one_hot(sequence(theta), theta.shape))


def test_one_step_is_an_argmax():
    """Exact values: of one step the states, or the edges, are the entries of an argmax."""
    rng = np.random.default_rng(11)
    for solver, shape in ((pt.Viterbi(np.zeros((4, 4))), (1, 4)), (pt.Viterbi(), (1, 2, 2))):
        theta, g = rng.normal(size=(2, 5, *shape))
        est = pt.Perturbed(solver, samples=20000, estimator="score").estimate(theta, seed=3)
        exact = pt.Perturbed(pt.Argmax()).estimate(theta.reshape(5, 4))
        for got, error, want in (
            (est.y, est.y_stderr, exact.y),
            (est.vjp(g), est.vjp_stderr(g), exact.vjp(g.reshape(5, 4))),
            (est.value, est.value_stderr, exact.value),
        ):
            z = (got.reshape(want.shape) - want) / error.reshape(want.shape)
            assert abs(z).max() < 4.5
            assert want.ndim == 1 or 0.5 < z.std() < 1.6
