"""Assignment: against enumeration (ties too), SciPy, and a check of optimality by prices."""

import itertools

import numpy as np
import pytest
from contract import SolverContract, same
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import perturbed as pt


def first_heaviest(q, closed):
    """Place of each line in the lexicographically first heaviest matching, by enumeration; q holds Python integers."""
    best = None
    for places in itertools.permutations(range(q.shape[1]), q.shape[0]):
        if not any(closed[i, j] for i, j in enumerate(places)):
            value = sum(q[i, j] for i, j in enumerate(places))
            if best is None or value > best[0]:
                best = (value, places)
    return best[1]


def enumerate_matchings(theta):
    """The rule in full: integers of 49 bits, of the entries that an optimal matching may use."""
    if theta.shape[0] > theta.shape[1]:
        return enumerate_matchings(theta.T).T
    n = len(theta)
    closed = np.isneginf(theta)
    while True:
        used = np.where(closed, 0.0, theta.astype(np.float64))
        exponent = int(np.frexp(np.abs(used).max())[1])
        q = np.rint(np.ldexp(np.ldexp(used, 25), 24 - exponent)).astype(np.int64).astype(object)
        places = first_heaviest(q, closed)
        top = np.array([max(q[i, j] for j in range(theta.shape[1]) if not closed[i, j]) for i in range(n)])
        excess = 2 * n + sum(top[i] - q[i, j] for i, j in enumerate(places))
        useless = (q < (top - excess)[:, None]) & ~closed
        if max(*top, *(excess - top)) >= 2**43 or not useless.any():
            y = np.zeros(theta.shape, theta.dtype)
            y[range(n), places] = 1
            return y
        closed = closed | useless


def scipy_value(theta):
    closed = np.isneginf(theta)
    cost = np.where(closed, 1e7, -theta.astype(np.float64))
    rows, columns = linear_sum_assignment(cost)
    assert not closed[rows, columns].any()
    return -cost[rows, columns].sum()


def check_matching(theta, y):
    """A matching of full size by open cells, as heavy as SciPy's."""
    assert y.shape == theta.shape
    assert y.dtype == theta.dtype
    assert set(np.unique(y)) <= {0, 1}
    assert y.sum() == min(theta.shape)
    assert max(y.sum(0).max(), y.sum(1).max()) == 1
    value = theta[y == 1].astype(np.float64).sum()
    size = np.abs(theta[np.isfinite(theta)]).max()
    assert abs(value - scipy_value(theta)) <= 1e-13 * size * min(theta.shape)


class TestAssignment(SolverContract):
    solver = pt.Assignment()
    item = (3, 4)
    noise_names = ("normal", "gumbel", "laplace", "user", "multiplicative")

    def twin(self, theta):
        return enumerate_matchings(theta)


# ---- ties: the lexicographically first ----


@given(st.data())
def test_enumeration(data):
    n, m = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    low = data.draw(st.sampled_from([0, -1, -3]))
    entry = st.integers(low, low + data.draw(st.integers(0, 3)))
    theta = np.array(data.draw(st.lists(entry, min_size=n * m, max_size=n * m)), np.float64).reshape(n, m)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(pt.Assignment()(theta.astype(dtype)), enumerate_matchings(theta))
    closed = np.array(data.draw(st.lists(st.booleans(), min_size=n * m, max_size=n * m))).reshape(n, m)
    closed[range(min(n, m)), data.draw(st.permutations(range(min(n, m))))] = False
    theta[closed] = -np.inf
    np.testing.assert_array_equal(pt.Assignment()(theta), enumerate_matchings(theta))


def test_many_ties():
    """With a part of a matrix all alike, the rule says where every row goes."""
    for n, m in ((1, 1), (5, 5), (3, 70), (64, 64), (65, 130), (200, 200), (1500, 1500)):
        for level in (0.0, 2.0, -3.0):
            same(pt.Assignment()(np.full((n, m), level)), np.eye(n, m))
            same(pt.Assignment()(np.full((m, n), level)), np.eye(m, n))
    theta = np.zeros((100, 100))
    theta[:, :30] = 1  # column j weighs the same for all rows
    same(pt.Assignment()(theta), np.eye(100))
    wide = np.zeros((70, 100))
    wide[:, 50:] = 1
    want = np.eye(70, 100)
    want[20:] = np.eye(50, 100, 50)  # 50 of the columns from 50 on have to be used, by the last rows
    same(pt.Assignment()(wide), want)
    same(pt.Assignment()(wide.T), np.ascontiguousarray(want.T))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_in_turn(dtype):
    """Larger than enumeration can do: no row can have a lower column without loss, given the rows before it."""
    rng = np.random.default_rng(1)
    for n, m in ((9, 9), (7, 12), (12, 12)):
        theta = rng.integers(0, 3, (n, m)).astype(dtype)
        y = pt.Assignment()(theta)
        best = scipy_value(theta)
        for i, j in np.argwhere(y == 1):
            for lower in range(j):
                if y[:i, lower].any():
                    continue
                tried = theta.copy()
                for row, column in [*np.argwhere(y == 1)[:i], (i, lower)]:
                    tried[row, :] = -100
                    tried[row, column] = theta[row, column]
                assert scipy_value(tried) < best


def test_order_of_rows_does_not_matter_without_ties():
    rng = np.random.default_rng(2)
    theta = rng.normal(size=(40, 50)).astype(np.float32)
    rows, columns = rng.permutation(40), rng.permutation(50)
    same(pt.Assignment()(theta[rows][:, columns]), pt.Assignment()(theta)[rows][:, columns])
    same(pt.Assignment()(theta.T), np.ascontiguousarray(pt.Assignment()(theta).T))


# ---- values ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scipy(dtype):
    rng = np.random.default_rng(3)
    for n, m in (
        (1, 1),
        (1, 6),
        (6, 1),
        (4, 7),
        (17, 16),
        (16, 17),
        (33, 33),
        (50, 50),
        (63, 64),
        (64, 130),
        (130, 65),
    ):
        for theta in (
            rng.normal(size=(n, m)),
            rng.integers(-5, 6, (n, m)),
            rng.normal(size=(n, 1)) + rng.normal(size=m) + 1e-3 * rng.normal(size=(n, m)),
            -np.abs(np.sort(rng.normal(size=(n, 1)), 0) - rng.normal(size=m)),
            rng.exponential(size=(n, m)) ** 3 - 1e4,
        ):
            theta = theta.astype(dtype)
            check_matching(theta, pt.Assignment()(theta))
            closed = rng.random((n, m)) < 0.7
            closed[rng.permutation(n)[: min(n, m)], rng.permutation(m)[: min(n, m)]] = False
            theta[closed] = -np.inf
            check_matching(theta, pt.Assignment()(theta))
            np.testing.assert_array_equal(
                pt.Assignment()(np.where(closed, 9, theta), mask=~closed), pt.Assignment()(theta)
            )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large(dtype):
    rng = np.random.default_rng(4)
    for theta in (rng.normal(size=(300, 300)), rng.integers(0, 9, (210, 190)), rng.normal(size=(40, 1500))):
        check_matching(theta.astype(dtype), pt.Assignment()(theta.astype(dtype)))


def test_one_chain_of_closed_cells():
    """Prices as far apart as they can be: each row has two columns, and the last row pulls all along."""
    n = 200
    theta = np.full((n, n), -np.inf)
    theta[range(n), range(n)] = 0.0
    theta[range(n - 1), range(1, n)] = 1.0
    theta[n - 1, n - 1] = -1.0
    same(pt.Assignment()(theta), np.eye(n))
    theta[n - 1, 0] = -n - 0.5  # cheaper by the chain: n - 1 - n - 0.5 < -1
    same(pt.Assignment()(theta), np.eye(n))
    theta[n - 1, 0] = 0.5 - n
    same(pt.Assignment()(theta), np.roll(np.eye(n), 1, axis=1))


# ---- sizes of entries ----


def test_scale_does_not_matter():
    theta = np.random.default_rng(5).normal(size=(20, 25))
    want = pt.Assignment()(theta)
    for power in (-1060, -1000, -300, -20, 20, 300, 1000):
        near = np.ldexp(theta, power)
        if power < -1022:  # too small for all digits
            check_matching(np.ldexp(near, 1000), pt.Assignment()(near))
        else:
            same(pt.Assignment()(near), want)
    small = theta.astype(np.float32)
    for power in (-110, -60, 60, 110):
        same(pt.Assignment()(np.ldexp(small, power)), pt.Assignment()(small))


@pytest.mark.parametrize(("dtype", "huge"), [(np.float32, -1e30), (np.float64, -1e200), (np.float64, -1e9)])
def test_entries_that_are_never_used_cost_no_digits(dtype, huge):
    """Large negative scores in place of -inf, with scores so close that digits matter."""
    rng = np.random.default_rng(6)
    theta = 1 + np.finfo(dtype).eps * rng.integers(0, 200, (12, 14)).astype(dtype)
    shut = rng.random(theta.shape) < 0.5
    shut[range(12), rng.permutation(12)] = False
    open_ = theta.copy()
    theta[shut], open_[shut] = huge, -np.inf
    same(pt.Assignment()(theta), pt.Assignment()(open_))
    same(pt.Assignment()(theta.T), pt.Assignment()(open_.T))
    theta[0] = huge  # now one has to be used
    assert pt.Assignment()(theta).sum() == 12


def test_integers_are_exact():
    """Sums of 46-bit integers that differ by one."""
    rng = np.random.default_rng(7)
    for _ in range(20):
        q = rng.integers(-(2**46), 2**46, (4, 1)) + rng.integers(-(2**46), 2**46, 5) + rng.integers(0, 2, (4, 5))
        y = pt.Assignment()(q)
        places = first_heaviest(q.astype(object), np.zeros(q.shape, bool))
        np.testing.assert_array_equal(y.argmax(1), places)


# ---- errors ----


def test_no_matching_names_the_row():
    theta = np.zeros((4, 3, 5))
    theta[3, :2, 1:] = -np.inf
    words = (
        r"^theta\[3\]: no matching of all 3 rows over cells that are not closed \(-inf\): 2 of them, such as row 1, "
    )
    for call in (pt.Assignment(), pt.Perturbed(pt.Assignment()), pt.Perturbed(pt.Assignment()).estimate):
        with pytest.raises(ValueError, match=words + "have only 1 open column$"):
            call(theta)
    with pytest.raises(ValueError, match=r"all 3 columns .* 2 of them, such as column 1, have only 1 open row$"):
        pt.Assignment()(theta.transpose(0, 2, 1))
    theta[1, 2] = -np.inf
    with pytest.raises(ValueError, match=r"^theta\[1\]: no matching of all 3 rows .*: row 2 has none$"):
        pt.Assignment()(theta)
    mask = np.ones((3, 5), bool)
    mask[:, 2:] = False
    with pytest.raises(ValueError, match=r"^theta\[0\]: no .* 3 of them, such as row 2, have only 2 open columns$"):
        pt.Assignment()(np.zeros((4, 3, 5)), mask=mask)
    with pytest.raises(ValueError, match="theta must have at least 2 dimensions, got 1"):
        pt.Assignment()(np.zeros(4))
    with pytest.raises(ValueError, match="theta must have"):
        pt.Assignment()(np.zeros((2, 0, 3)))


@given(st.data())
def test_hall(data):
    """An error exactly where enumeration finds no matching."""
    n, m = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    closed = np.array(data.draw(st.lists(st.booleans(), min_size=n * m, max_size=n * m))).reshape(n, m)
    short = closed if n <= m else closed.T
    feasible = any(
        not short[range(len(short)), list(places)].any()
        for places in itertools.permutations(range(short.shape[1]), len(short))
    )
    theta = np.where(closed, -np.inf, 0.0)
    if feasible:
        check_matching(theta + np.where(closed, 0.0, 1.0), pt.Assignment()(theta + np.where(closed, 0.0, 1.0)))
    else:
        with pytest.raises(ValueError, match=r"^theta: no matching of all"):
            pt.Assignment()(theta)


# ---- pairs ----


def test_pairs():
    theta = np.random.default_rng(8).normal(size=(2, 3, 6, 4))
    y = pt.Assignment()(theta)
    pairs = pt.Assignment().pairs(y)
    assert len(pairs) == 6
    for got, item in zip(pairs, theta.reshape(6, 6, 4), strict=True):
        assert got.dtype == np.int64
        assert got.tolist() == np.array(linear_sum_assignment(item, maximize=True)).T.tolist()
    assert pt.Assignment().pairs([[0, 1]]).tolist() == [[0, 1]]
    assert pt.Assignment().pairs(np.zeros((0, 2, 2))) == []


def test_what_is_no_matching_has_no_pairs():
    for bad in (
        [[1, 0], [1, 0]],
        [[1, 1], [0, 0]],
        [[1, 0], [0, 0]],
        [[1, 1], [0, 1]],
    ):
        with pytest.raises(ValueError, match=r"^y must be a matching of 2 pairs, ones in different rows and columns"):
            pt.Assignment().pairs(bad)
    with pytest.raises(ValueError, match=r"^y\[1\] must be a matching of 2 pairs"):
        pt.Assignment().pairs([np.eye(2), np.ones((2, 2))])
    with pytest.raises(ValueError, match=r"^y\[1, 0\] must be a matching of 2 pairs"):
        pt.Assignment().pairs([[np.eye(2)], [np.ones((2, 2))]])


# ---- the layer ----


def test_mean_is_doubly_stochastic():
    theta = np.random.default_rng(9).normal(size=(3, 5, 5))
    y = pt.Perturbed(pt.Assignment(), samples=200, estimator="score", seed=0)(theta)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(y.sum(2), 1, rtol=1e-12)


def test_gradient_by_enumeration():
    """Two by two is one comparison of normal numbers: Phi, and its density."""
    theta = np.array([[0.3, -0.2], [0.1, 0.4]])
    gap, width = theta[0, 0] + theta[1, 1] - theta[0, 1] - theta[1, 0], 2 * 0.8
    est = pt.Perturbed(pt.Assignment(), epsilon=0.8, samples=50_000, estimator="score").estimate(theta, seed=1)
    chance = pt.Perturbed(pt.Argmax(), epsilon=width / np.sqrt(2))([gap, 0.0])[0]
    assert abs(est.y[0, 0] - chance) < 5 * est.y_stderr[0, 0]
    density = np.exp(-((gap / width) ** 2) / 2) / np.sqrt(2 * np.pi) / width
    g = np.array([[1.0, 0.0], [0.0, 0.0]])
    want = density * np.array([[1, -1], [-1, 1]])
    assert (np.abs(est.vjp(g) - want) < 5 * est.vjp_stderr(g)).all()


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (8, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_are_solved_one_by_one(shape, dtype, memory_limit):
    """No draw depends on those solved with it."""
    theta = np.random.default_rng(10).normal(size=(5, *shape)).astype(dtype)
    layer = pt.Perturbed(pt.Assignment(), epsilon=0.5, samples=150, estimator="score")
    g = np.random.default_rng(11).normal(size=theta.shape).astype(dtype)
    results = []
    for threads, limit in ((1, 2**28), (2, 2**28), (5, 2**16), (3, 1)):
        memory_limit(limit)
        with pt.threads(threads):
            y, pullback = layer.vjp(theta, seed=3)
            results.append((y.tobytes(), pullback(g).tobytes()))
    assert len(set(results)) == 1
