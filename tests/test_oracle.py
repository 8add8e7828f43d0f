"""Oracle: a Python function as a solver. How often, in which order and with what it is called, and what comes back."""

import pickle
import warnings
from collections import deque
from functools import partial

import numpy as np
import pytest
from contract import BASELINES, NOISES, SolverContract, perturbed_items, same

import perturbed as pt


def pick(theta):
    """One-hot of the largest."""
    y = np.zeros(theta.shape)
    np.put_along_axis(y, theta.argmax(-1)[..., None], 1.0, -1)
    return y


def steps(theta):
    """Not linear, of another shape than theta."""
    return np.stack([np.sign(theta), np.floor(theta.clip(-9, 9))], axis=-2)


class OracleContract(SolverContract):
    plain_sample = 300

    def from_repr(self, solver):
        return eval(repr(solver), {"Oracle": pt.Oracle, "pick": pick, "steps": steps})

    def test_mask_is_neg_inf(self):
        with pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
            self.solver(self.theta(), mask=np.ones(self.item, bool))

    def test_unknown_instance_argument(self):
        for call in (self.solver, self.layer()):
            with pytest.raises(TypeError, match="unexpected keyword argument 'masks'"):
                call(self.theta(), masks=1)


class TestLinearOracle(OracleContract):
    solver = pt.Oracle(pick)

    def twin(self, theta):
        return pt.Argmax()(theta)

    def test_equals_the_solver_in_c(self):
        theta, g, t, _ = self.inputs(3)
        for noise in NOISES.values():
            for baseline in BASELINES:
                options = {"noise": noise[0], "baseline": baseline, "samples": 9, "estimator": "score"}
                one, other = (pt.Perturbed(s, **options).estimate(theta, seed=1) for s in (self.solver, pt.Argmax()))
                same(one.y, other.y)
                np.testing.assert_allclose(one.value, other.value, rtol=1e-14)
                np.testing.assert_allclose(one.vjp(g), other.vjp(g), rtol=1e-12, atol=1e-14)
                np.testing.assert_allclose(one.jvp(t), other.jvp(t), rtol=1e-12, atol=1e-14)
                np.testing.assert_allclose(one.y_stderr, other.y_stderr, rtol=1e-12)


class TestBatchedOracle(OracleContract):
    solver = pt.Oracle(pick, batched=True)
    noise_names = ("normal", "user")

    def twin(self, theta):
        return pt.Argmax()(theta)


class TestAnyFunction(OracleContract):
    solver = pt.Oracle(steps, linear=False)
    noise_names = ("normal", "laplace", "user")

    def twin(self, theta):
        return steps(theta)

    def test_neg_inf_leaves_out(self):
        """What it means is up to fn; the entry's own gradient is 0."""
        theta = self.theta(2)
        theta[1, 1] = -np.inf
        g = self.cotangent(theta)
        est = self.layer(samples=20).estimate(theta, seed=1)
        assert (est.y[1, :, 1] == [-1, -9]).all()
        assert est.vjp(g)[1, 1] == 0
        assert (est.vjp(g)[0] != 0).any()
        assert np.isfinite(est.jacobian()).all()


# ---- calls ----


class Counted:
    def __init__(self, fn):
        self.fn, self.seen, self.keywords = fn, [], []

    def __call__(self, x, **keywords):
        self.seen.append(np.array(x))
        self.keywords.append(keywords)
        return self.fn(x)


@pytest.mark.parametrize("samples", [1, 2, 7, 64, 100])
def test_one_call_a_draw(samples):
    theta = np.random.default_rng(0).normal(size=(3, 4))
    noisy = perturbed_items(theta, 1, noise="normal", epsilon=0.5, samples=samples, seed=1)
    for baseline in BASELINES if samples > 1 else (None, "solution", "hybrid"):
        fn = Counted(pick)
        layer = pt.Perturbed(pt.Oracle(fn), epsilon=0.5, samples=samples, baseline=baseline)
        y, pullback = layer.vjp(theta, seed=1)
        np.testing.assert_array_equal(fn.seen, noisy.reshape(-1, 4))
        np.testing.assert_allclose(y, pick(noisy).mean(1), rtol=1e-14)
        assert all(x.shape == (4,) for x in fn.seen)
        grad = pullback(y)
        same(pullback(y), grad)  # with what is known already
        plain = 3 if baseline in ("solution", "hybrid") else 0
        assert len(fn.seen) == 3 * samples + plain
        for x, row in zip(fn.seen[3 * samples :], theta, strict=plain > 0):
            np.testing.assert_array_equal(x, row)


@pytest.mark.parametrize("samples", [1, 2, 7, 64, 100])
def test_batched_sees_the_whole_stack(samples):
    theta = np.random.default_rng(0).normal(size=(3, 4))
    noisy = perturbed_items(theta, 1, noise="normal", epsilon=0.5, samples=samples, seed=1)
    fn = Counted(pick)
    layer = pt.Perturbed(pt.Oracle(fn, batched=True), epsilon=0.5, samples=samples, baseline=None)
    y, pullback = layer.vjp(theta, seed=1)
    assert [x.shape for x in fn.seen] == [(samples, 4)] * 3
    np.testing.assert_array_equal(fn.seen, noisy)
    np.testing.assert_allclose(y, pick(noisy).mean(1), rtol=1e-14)
    pullback(y)
    assert len(fn.seen) == 3


def test_without_noise_one_call_a_row():
    theta = np.random.default_rng(0).normal(size=(2, 3, 4))
    for batched in (False, True):
        fn = Counted(pick)
        y = pt.Oracle(fn, batched=batched)(theta)
        assert len(fn.seen) == 6
        np.testing.assert_array_equal(np.reshape(fn.seen, (2, 3, 4)), theta)
        np.testing.assert_array_equal(y, pick(theta))


def test_items_are_copies_in_thetas_type():
    def spoil(x):
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        y = np.sign(x)
        x[...] = 99
        return y

    theta = np.ones((2, 3), np.float32)
    layer = pt.Perturbed(pt.Oracle(spoil, linear=False), epsilon=1e-3, samples=5)
    est = layer.estimate(theta, seed=0)
    assert (est.y == 1).all()
    est.vjp(theta)
    assert (theta == 1).all()
    assert est.y.dtype == np.float32


@pytest.mark.parametrize("batched", [False, True])
def test_fn_may_fill_one_buffer_again_and_again(batched):
    theta = np.random.default_rng(0).normal(size=(4, 3))
    samples = 25
    buffer = np.zeros((samples, 3) if batched else 3)

    def fill(x):
        answer = buffer[: len(x)] if batched else buffer
        answer[...] = pick(x)
        return answer

    options = {"samples": samples, "estimator": "score", "seed": 0}
    one = pt.Perturbed(pt.Oracle(fill, batched=batched), **options).estimate(theta)
    other = pt.Perturbed(pt.Argmax(), **options).estimate(theta)
    same(one.y, other.y)
    same(one.vjp(theta), pt.Perturbed(pt.Oracle(pick), **options).estimate(theta).vjp(theta))


@pytest.mark.parametrize("answer", [bool, np.int8, np.float16, np.float32, np.float64, list])
def test_answers_of_any_real_type(answer):
    def fn(x):
        y = x > 0
        return y.tolist() if answer is list else y.astype(answer)

    theta = np.array([[1.0, -1.0], [3.0, -2.0]])
    same(pt.Oracle(fn, linear=False)(theta), (theta > 0).astype(np.float64))


def test_answer_that_is_no_plain_array():
    fortran = pt.Oracle(lambda x: np.asfortranarray(np.outer(x, x)), linear=False)
    same(fortran(np.array([1.0, 2.0, 3.0])), np.outer([1.0, 2, 3], [1.0, 2, 3]))
    reversed_ = pt.Oracle(lambda x: x[::-1], linear=False)
    same(reversed_(np.array([1.0, 2.0, 3.0])), np.array([3.0, 2.0, 1.0]))
    swapped = pt.Oracle(lambda x: x.astype(">f8"), linear=False)
    same(swapped(np.array([1.0, 2.0])), np.array([1.0, 2.0]))
    scalar = pt.Oracle(lambda x: x.max(), linear=False)
    same(scalar(np.array([[1.0, 2.0], [5.0, 3.0]])), np.array([2.0, 5.0]))
    assert pt.Perturbed(scalar, samples=4).jacobian(np.zeros((3, 2)), seed=0).shape == (3, 2)


def test_items_of_no_and_of_three_dimensions():
    number = pt.Oracle(np.sign, 0, linear=False)
    same(number(np.array([-2.0, 5.0])), np.array([-1.0, 1.0]))
    assert number(3.0).shape == ()
    layer = pt.Perturbed(number, samples=10)
    assert layer.vjp(np.array([0.1, 0.2]), seed=1)[1](np.ones(2)).shape == (2,)
    cube = pt.Oracle(lambda x: x.sum((0, 2)), item_ndim=3, linear=False)
    theta = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    np.testing.assert_allclose(cube(theta), theta.sum((1, 3)))
    assert pt.Perturbed(cube, samples=4).jacobian(theta, seed=0).shape == (2, 3, 2, 3, 4)


# ---- keywords ----


def test_keywords_are_cut_to_their_row():
    theta = np.zeros((2, 3, 4))
    fn = Counted(pick)
    weight = np.arange(12).reshape(2, 3, 2)
    pt.Perturbed(pt.Oracle(fn), samples=5)(theta, seed=0, weight=weight)
    assert [k["weight"].tolist() for k in fn.keywords] == [w for w in weight.reshape(6, 2).tolist() for _ in range(5)]


def test_sequences_are_keywords_too():
    fn = Counted(pick)
    pt.Oracle(fn)(np.zeros((3, 4)), graph=["a", {"b": 1}, None], size=(1, 2, 3))
    assert fn.keywords == [{"graph": "a", "size": 1}, {"graph": {"b": 1}, "size": 2}, {"graph": None, "size": 3}]


@pytest.mark.parametrize("value", [range(3), deque([0, 1, 2]), (0, 1, 2), np.arange(3)])
def test_any_sequence_is_a_keyword(value):
    fn = Counted(pick)
    pt.Oracle(fn)(np.zeros((3, 4)), size=value)
    assert [k["size"] for k in fn.keywords] == [0, 1, 2]


def test_nested_sequences_are_keywords_of_wider_batches():
    theta = np.zeros((2, 3, 4))
    for value in ([["a", "b", "c"], ("d", "e", "f")], [np.array(["a", "b", "c"]), deque("def")]):
        fn = Counted(pick)
        pt.Oracle(fn)(theta, name=value)
        assert [k["name"] for k in fn.keywords] == list("abcdef")
    for value in (["abc", "def"], [["a", "b", "c"], ["d", "e"]], [[1, 2], [3, 4], [5, 6]], list("abcdef"), 7):
        with pytest.raises(ValueError, match=r"name must have one entry for each row of the batch \(2, 3\)"):
            pt.Oracle(pick)(theta, name=value)


def test_keywords_that_do_not_fit_are_told():
    for value, words in (
        (5, "got int, which is no array or sequence"),
        ("abc", "got str, which is no array or sequence"),
        ([1, 2], "got list of length 2"),
        (np.zeros((2, 3)), r"got shape \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            pt.Oracle(pick)(np.zeros((3, 4)), weight=value)


def test_one_item_takes_keywords_as_they_are():
    fn = Counted(pick)
    graph = object()
    pt.Oracle(fn)(np.zeros(4), graph=graph, sizes=[1, 2])
    assert fn.keywords == [{"graph": graph, "sizes": [1, 2]}]


def test_keywords_of_the_pullback_are_the_same():
    fn = Counted(pick)
    y, pullback = pt.Perturbed(pt.Oracle(fn), samples=2, baseline="solution").vjp(np.zeros((2, 3)), k=[7, 8])
    pullback(y)
    assert [k["k"] for k in fn.keywords] == [7, 7, 8, 8, 7, 8]


@pytest.mark.parametrize("value", [np.zeros((2, 2)), [1, 2], 5, "abcd", np.float64(3), {"a": 1}])
def test_keywords_without_an_entry_for_each_row(value):
    with pytest.raises(ValueError, match=r"weight must have one entry for each row of the batch \(3,\)"):
        pt.Oracle(pick)(np.zeros((3, 4)), weight=value)


# ---- failures ----


class Boom(Exception):
    pass


@pytest.mark.parametrize("batched", [False, True])
def test_exceptions_come_back_as_themselves(batched):
    theta = np.random.default_rng(0).normal(size=(3, 4))
    noisy = perturbed_items(theta, 1, noise="normal", epsilon=1.0, samples=6, seed=2)
    bad = noisy[1, 4]

    def fn(x):
        if (np.atleast_2d(x) == bad).all(1).any():
            raise Boom("from inside")
        return pick(x)

    layer = pt.Perturbed(pt.Oracle(fn, batched=batched), samples=6)
    with pytest.raises(Boom, match="from inside") as caught:
        layer(theta, seed=2)
    which = "samples 0 to 5" if batched else "sample 4"
    assert caught.value.__notes__ == [f"raised by fn for row 1, {which}"]
    same(pt.Perturbed(pt.Oracle(pick), samples=6)(theta, seed=3), pt.Perturbed(pt.Oracle(fn), samples=6)(theta, seed=3))


def test_exceptions_without_noise_and_in_a_pullback():
    def fn(x):
        if (x == 5).any():
            raise KeyError("five")
        return pick(x)

    theta = np.array([[1.0, 2.0], [3.0, 5.0]])
    with pytest.raises(KeyError, match="five") as caught:
        pt.Oracle(fn)(theta)
    assert caught.value.__notes__ == ["raised by fn for row 1, with no noise"]
    y, pullback = pt.Perturbed(pt.Oracle(fn), samples=3, baseline="solution").vjp(theta, seed=1)
    for _ in range(2):
        with pytest.raises(KeyError, match="five") as caught:
            pullback(y)
        assert caught.value.__notes__ == ["raised by fn for row 1, with no noise"]


def test_interrupts_pass_through():
    def fn(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pt.Perturbed(pt.Oracle(fn))(np.zeros(3))


@pytest.mark.parametrize("batched", [False, True])
def test_nan_is_named(batched):
    def fn(x):
        y = pick(x)
        y[..., 0] = np.where(x[..., 0] > 1, np.nan, y[..., 0])
        return y

    with pytest.raises(ValueError, match="fn must return finite numbers, got nan in row 1"):
        pt.Oracle(fn, batched=batched)(np.array([[0.0, 0.0], [2.0, 0.0]]))
    with pytest.raises(ValueError, match="fn must return finite numbers, got -inf in row 0"):
        pt.Oracle(lambda x: x - np.inf, batched=batched, linear=False)(np.zeros(2))


@pytest.mark.parametrize("batched", [False, True])
def test_forbidden_entries_may_not_be_used(batched):
    """By a linear oracle: <y, theta> would be NaN or infinite."""
    closed, open_ = np.array([-np.inf, 1.0, 2.0]), np.zeros(3)

    def first(x):
        y = np.zeros(x.shape)
        y[..., 0] = 1
        x[...] = 0  # its items are its own
        return y

    oracle = pt.Oracle(first, batched=batched)
    words = r"fn's answer uses an entry that theta forbids \(-inf\), for row"
    for call in (oracle, oracle.value):
        with pytest.raises(ValueError, match=f"{words} 0, with no noise"):
            call(closed)
        with pytest.raises(ValueError, match=f"{words} 1, with no noise"):
            call(np.stack([open_, closed]))
    with pytest.raises(ValueError, match=f"{words} 1, sample 0"):
        pt.Perturbed(oracle, samples=3)(np.stack([open_, closed]))
    seldom = pt.Oracle(lambda x: pick(np.where(x[..., 1:2] > 1, 0, x)), batched=batched)
    theta = np.broadcast_to(np.array([-np.inf, 0.0, -5.0]), (1, 3))
    drawn = perturbed_items(theta, 1, noise="normal", epsilon=1.0, samples=40, seed=0)[0]
    m = int(np.argmax(drawn[:, 1] > 1))
    assert m > 0
    with pytest.raises(ValueError, match=f"{words} 0, sample {m}$"):
        pt.Perturbed(seldom, samples=40)(theta, seed=0)
    same(pt.Oracle(first, batched=batched, linear=False)(closed), np.array([1.0, 0.0, 0.0]))


@pytest.mark.parametrize("batched", [False, True])
def test_answers_beyond_single_precision(batched):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="fn must return finite numbers, got inf in row 0"):
            pt.Oracle(lambda x: x + np.float64(1e300), batched=batched, linear=False)(np.zeros(2, np.float32))


def test_wrong_answers():
    theta = np.zeros((2, 3))
    linear = "fn must return theta's shape"
    for fn, words in (
        (lambda x: x[:2], linear),
        (lambda x: x.sum(), linear),
        (lambda x: np.outer(x, x), linear),
    ):
        with pytest.raises(ValueError, match=words):
            pt.Oracle(fn)(theta)
        with pytest.raises(ValueError, match=words):
            pt.Perturbed(pt.Oracle(fn))(theta)
        pt.Perturbed(pt.Oracle(fn, linear=False), samples=2)(theta)
    for fn in (lambda x: x * 1j, lambda x: ["a"] * 3, lambda x: None, lambda x: [object()] * 3):
        with pytest.raises(TypeError, match="fn must return real numbers"):
            pt.Oracle(fn)(theta)
    with pytest.raises(ValueError, match="fn"):
        pt.Oracle(lambda x: [[1], [1, 2], [3]])(theta)
    with pytest.raises(TypeError, match=r"fn.*MaskedArray"):
        pt.Oracle(np.ma.masked_array)(theta)

    ragged = iter([np.zeros(3), np.zeros(3), np.zeros(4)])
    with pytest.raises(ValueError, match=r"fn must return one shape for all items, got \(3,\) and \(4,\)"):
        pt.Perturbed(pt.Oracle(lambda x: next(ragged), linear=False), samples=5)(np.zeros(3))
    for stack in (lambda x: x[:1], lambda x: np.zeros(()), lambda x: np.zeros((9, 3))):
        with pytest.raises(ValueError, match="fn must return 4 solutions for a stack of as many"):
            pt.Perturbed(pt.Oracle(stack, batched=True), samples=4)(theta)


def test_bad_options():
    with pytest.raises(TypeError, match="fn must be callable, got int"):
        pt.Oracle(3)
    for ndim, error in ((-1, ValueError), (33, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="item_ndim must be"):
            pt.Oracle(pick, ndim)
    for name in ("batched", "linear"):
        with pytest.raises(TypeError, match=f"{name} must be True or False, got 1"):
            pt.Oracle(pick, **{name: 1})


def test_value_object():
    assert pickle.loads(pickle.dumps(pt.Oracle(pick, 2))) == pt.Oracle(pick, item_ndim=2)
    assert pt.Oracle(pick) != pt.Oracle(steps)
    assert pt.Oracle(partial(pick)) != pt.Oracle(partial(pick))
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(pt.Oracle(lambda x: x))
    with pytest.raises(TypeError, match="unhashable"):
        hash(pt.Oracle(Unhashable()))


class Unhashable:
    __hash__ = None

    def __call__(self, x):
        return x


# ---- the identity: its Jacobian is I for any noise of any width ----

MEANS = {"normal": 0.0, "gumbel": 0.57721566490153286, "centered gumbel": 0.0, "laplace": 0.0, "logistic": 0.0,
         "student": 0.0, "user": 0.0}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("width", ["one", "epsilon", "scale", "by coordinate"])
def test_identity_has_jacobian_one(name, width, dtype):
    """|z| < 5, the standard deviation measured over independent rows; and tight enough to see 2 %."""
    noise, _ = NOISES[name]
    scale = {"scale": 2.5, "by coordinate": [0.3, 1.0, 4.0]}.get(width, 1.0)
    noise = type(noise)(**{**vars(noise), "scale": scale})
    epsilon = 0.4 if width == "epsilon" else 1.0
    rows = 8000
    theta = np.broadcast_to(np.array([0.5, -1.0, 2.0], dtype), (rows, 3))
    identity = pt.Oracle(lambda x: x, batched=True, linear=False)
    layer = pt.Perturbed(identity, noise=noise, epsilon=epsilon, samples=8)
    est = layer.estimate(theta, seed=6)
    jacobian = est.jacobian().astype(np.float64)
    error = jacobian.std(0, ddof=1) / np.sqrt(rows)
    z = (jacobian.mean(0) - np.eye(3)) / error
    assert np.abs(z).max() < 5
    assert 5 * error[np.arange(3), np.arange(3)].max() < 0.1
    y = est.y.astype(np.float64)
    shift = MEANS[name] * epsilon * np.broadcast_to(scale, 3)
    assert (np.abs(y.mean(0) - theta[0] - shift) < 5 * y.std(0, ddof=1) / np.sqrt(rows)).all()
    # d<g, theta + eps sigma E Z>/d eps
    g = np.broadcast_to(np.array([1.0, -0.5, 2.0], dtype), theta.shape)
    slope = est.vjp_epsilon(g).astype(np.float64)
    want = float((g[0] * MEANS[name] * np.broadcast_to(scale, 3)).sum())
    assert abs(slope.mean() - want) < 5 * slope.std(ddof=1) / np.sqrt(rows)


@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_no_baseline_is_biased(baseline, sampler):
    """The pullback of a step function: the same mean for all, here F(theta) = Phi(theta / eps)."""
    step = pt.Oracle(lambda x: (x > 0).astype(float), batched=True, linear=False)
    rows, theta = 4000, 0.3
    layer = pt.Perturbed(step, epsilon=0.5, samples=6, baseline=baseline, sampler=sampler)
    grad = layer.vjp(np.full((rows, 1), theta), seed=1)[1](np.ones((rows, 1)))[:, 0]
    want = np.exp(-((theta / 0.5) ** 2) / 2) / np.sqrt(2 * np.pi) / 0.5
    error = grad.std(ddof=1) / np.sqrt(rows)
    assert abs(grad.mean() - want) < 5 * error
    assert error < 0.02 * want


def test_above_the_memory_limit_fn_is_asked_again(memory_limit):
    theta = np.random.default_rng(0).normal(size=(2, 4))
    fn = Counted(pick)
    layer = pt.Perturbed(pt.Oracle(fn), samples=70, baseline=None)
    want = layer.vjp(theta, seed=1)[1](theta)
    assert len(fn.seen) == 140
    memory_limit(1)
    fn.seen.clear()
    y, pullback = layer.vjp(theta, seed=1)
    assert len(fn.seen) == 140
    same(pullback(theta), want)
    assert len(fn.seen) == 280
    assert y.shape == (2, 4)
