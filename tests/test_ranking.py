"""Ranking against scipy's rankdata and against all permutations; in lanes, in buckets and by radix sort."""

from itertools import permutations

import numpy as np
import pytest
from contract import SolverContract, perturbed_items, same
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

import perturbed as pt


def ranks(theta, descending=False, mask=None):
    """rankdata, row by row, of the allowed entries."""
    rows = np.atleast_2d(theta)
    allowed = np.broadcast_to(True if mask is None else mask, rows.shape)
    y = np.zeros(rows.shape)
    for i, row in enumerate(rows):
        y[i, allowed[i]] = rankdata(-row[allowed[i]] if descending else row[allowed[i]], "ordinal")
    return y.reshape(np.shape(theta))


class RankingContract(SolverContract):
    refuses_neg_inf = True

    def twin(self, theta):
        return ranks(theta, self.solver.descending)


class TestRanking(RankingContract):
    solver = pt.Ranking()
    item = (5,)


class TestDescendingRanking(RankingContract):
    solver = pt.Ranking(descending=True)
    item = (5,)


class TestLongRanking(RankingContract):
    """More entries than are compared in vector lanes."""

    solver = pt.Ranking()
    item = (140,)
    plain_sample = 400
    noise_names = ("normal", "gumbel", "user")


class TestLongDescendingRanking(RankingContract):
    solver = pt.Ranking(descending=True)
    item = (130,)
    plain_sample = 400
    noise_names = ("normal", "laplace", "multiplicative")


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=5), st.booleans())
def test_best_of_all_permutations(values, descending):
    theta = np.array(values, np.float64)
    solver = pt.Ranking(descending=descending)
    sign = -1 if descending else 1
    best = max(sign * theta @ np.array(p) for p in permutations(range(1, theta.size + 1)))
    y = solver(theta)
    assert sorted(y) == list(range(1, theta.size + 1))
    assert sign * y @ theta == best == solver.value(theta)


SIZES = [1, 2, 3, 4, 5, 31, 63, 64, 65, 127, 128, 129, 200, 2047, 2048, 5000]


def hard(n, rng):
    """Items that take the different ways: spread out, tied, all equal, far outliers, subnormal, huge, sorted."""
    return {
        "normal": rng.normal(size=(3, n)),
        "ties": rng.integers(-3, 3, (3, n)).astype(np.float64),
        "equal": np.full((1, n), -2.5),
        "zeros": np.where(rng.random((2, n)) < 0.5, 0.0, -0.0),
        "outlier": np.where(np.arange(n) == n // 2, 1e30, rng.normal(size=(2, n))),
        "huge": rng.normal(size=(2, n)) * 1e38,
        "tiny": rng.integers(-5, 5, (2, n)) * 2.0**-149,
        "up": np.arange(n, dtype=np.float64)[None],
        "down": -np.arange(n, dtype=np.float64)[None],
        "two clusters": np.where(rng.random((2, n)) < 0.5, 1.0, -1.0) + 1e-6 * rng.normal(size=(2, n)),
    }


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_way_of_sorting(n, dtype):
    rng = np.random.default_rng(n)
    for name, theta in hard(n, rng).items():
        theta = theta.clip(-3e38, 3e38).astype(dtype)
        mask = rng.random(theta.shape) < 0.8
        for descending in (False, True):
            solver = pt.Ranking(descending=descending)
            np.testing.assert_array_equal(solver(theta), ranks(theta, descending), err_msg=name)
            got = solver(theta, mask=mask)
            np.testing.assert_array_equal(got, ranks(theta, descending, mask), err_msg=f"{name}, masked")


def test_very_long():
    theta = np.random.default_rng(0).normal(size=(1, 600_000)).astype(np.float32)
    np.testing.assert_array_equal(pt.Ranking()(theta)[0, np.argsort(theta[0], kind="stable")], np.arange(1, 600_001))


@pytest.mark.parametrize("n", [5, 130])
def test_all_masked_is_zero(n):
    theta = np.random.default_rng(0).normal(size=(2, n))
    mask = np.ones((2, n), bool)
    mask[0] = False
    y = pt.Ranking()(theta, mask=mask)
    assert (y[0] == 0).all()
    np.testing.assert_array_equal(y[1], ranks(theta[1]))
    layer = pt.Perturbed(pt.Ranking(), samples=20)
    est = layer.estimate(theta, seed=1, mask=mask)
    assert (est.y[0] == 0).all()
    assert est.value[0] == 0
    assert (est.vjp(theta)[0] == 0).all()


@pytest.mark.parametrize("n", [6, 150])
@pytest.mark.parametrize("descending", [False, True])
def test_noisy_ranks_with_a_mask(n, descending):
    theta = np.random.default_rng(0).normal(size=(3, n))
    mask = np.random.default_rng(1).random((3, n)) < 0.7
    noisy = perturbed_items(theta, 1, noise="normal", epsilon=0.5, samples=40, seed=2)
    layer = pt.Perturbed(pt.Ranking(descending=descending), estimator="score", epsilon=0.5, samples=40)
    want = np.stack([[ranks(x, descending, m) for x in stack] for stack, m in zip(noisy, mask, strict=True)])
    same(layer.sample(theta, 40, seed=2, mask=mask), want)
    sign = -1 if descending else 1
    value, grad = layer.value_and_grad(theta, seed=2, mask=mask)
    np.testing.assert_allclose(grad, sign * want.mean(1), rtol=1e-12)
    np.testing.assert_allclose(value, sign * (want * noisy).sum(2).mean(1), rtol=1e-12)


def test_descending_signs():
    """Maximises -<y, theta>: the value's gradient is -y_eps and the loss's y - y_eps."""
    theta, y = np.array([[0.3, -0.1, 0.7]]), np.array([[1.0, 3.0, 2.0]])
    layer = pt.Perturbed(pt.Ranking(descending=True), samples=50)
    _, grad = layer.value_and_grad(theta, seed=1)
    mean = layer(theta, seed=1)
    np.testing.assert_allclose(grad, -mean, rtol=1e-12)
    loss, loss_grad = pt.FenchelYoungLoss(layer, "sum").value_and_grad(theta, y, seed=1)
    np.testing.assert_allclose(loss_grad, y - mean, rtol=1e-12)
    assert loss > 0


def test_loss_with_a_mask():
    theta = np.random.default_rng(0).normal(size=(2, 5))
    mask = np.array([[True] * 5, [True, False, True, True, False]])
    y = ranks(np.random.default_rng(1).normal(size=(2, 5)), mask=mask)
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Ranking(), samples=50), "none")
    value, grad = loss.value_and_grad(theta, y, seed=1, mask=mask)
    assert (value > 0).all()
    assert (grad[~mask] == 0).all()
    bad = y.copy()
    bad[1, 1] = 2
    with pytest.raises(ValueError, match=r"y\[1\] uses an entry that theta forbids"):
        loss(theta, bad, seed=1, mask=mask)
