"""Permutation against a stable argsort."""

import numpy as np
import pytest
from contract import SolverContract, perturbed_items, same

import perturbed as pt


def sorting_matrix(theta, descending=False, mask=None):
    n = theta.size
    allowed = np.flatnonzero(np.ones(n, bool) if mask is None else mask)
    key = -theta[allowed] if descending else theta[allowed]
    y = np.zeros((n, n))
    for place, i in enumerate(allowed[np.argsort(key, kind="stable")]):
        y[place, i] = 1
    return y


class PermutationContract(SolverContract):
    item = (4,)
    refuses_neg_inf = True

    def twin(self, theta):
        return sorting_matrix(theta, self.solver.descending)


class TestPermutation(PermutationContract):
    solver = pt.Permutation()


class TestDescendingPermutation(PermutationContract):
    solver = pt.Permutation(descending=True)


@pytest.mark.parametrize("n", [1, 2, 7, 63, 64, 65, 128, 129, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("descending", [False, True])
def test_sorts_stably(n, dtype, descending):
    rng = np.random.default_rng(n)
    solver = pt.Permutation(descending=descending)
    for theta in (rng.normal(size=n), rng.integers(-2, 2, n), np.zeros(n), np.where(np.arange(n) == 0, 1e30, 0.0)):
        theta = theta.astype(dtype)
        y = solver(theta)
        same(y, sorting_matrix(theta, descending).astype(dtype))
        order = np.sort(theta)[::-1] if descending else np.sort(theta)
        np.testing.assert_array_equal(y @ theta, order)
        mask = rng.random(n) < 0.7
        same(solver(theta, mask=mask), sorting_matrix(theta, descending, mask).astype(dtype))


@pytest.mark.parametrize("n", [5, 140])
def test_ranks_are_its_transpose_times_places(n):
    theta = np.random.default_rng(0).integers(-3, 3, (4, n)).astype(np.float64)
    y = pt.Permutation()(theta)
    np.testing.assert_array_equal(np.arange(1, n + 1) @ y, pt.Ranking()(theta))
    layer, other = (pt.Perturbed(s, samples=20) for s in (pt.Permutation(), pt.Ranking()))
    np.testing.assert_allclose(np.arange(1, n + 1) @ layer(theta, seed=1), other(theta, seed=1), rtol=1e-12)
    g = np.random.default_rng(1).normal(size=(4, n))
    wide = np.arange(1.0, n + 1)[None, :, None] * g[:, None, :]
    np.testing.assert_allclose(layer.vjp(theta, seed=1)[1](wide), other.vjp(theta, seed=1)[1](g), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [6, 150])
def test_noisy_with_a_mask(n):
    theta = np.random.default_rng(0).normal(size=(2, n))
    mask = np.random.default_rng(1).random((2, n)) < 0.7
    noisy = perturbed_items(theta, 1, noise="laplace", epsilon=0.5, samples=20, seed=2)
    layer = pt.Perturbed(pt.Permutation(), epsilon=0.5, samples=20, noise="laplace")
    want = np.stack([[sorting_matrix(x, mask=m) for x in stack] for stack, m in zip(noisy, mask, strict=True)])
    same(layer.sample(theta, 20, seed=2, mask=mask), want)


def test_all_masked_is_zero():
    assert (pt.Permutation()(np.zeros((2, 3)), mask=np.zeros(3, bool)) == 0).all()


def test_doubly_stochastic():
    y = pt.Perturbed(pt.Permutation(), estimator="score", samples=64)(
        np.random.default_rng(0).normal(size=(3, 9)), seed=0
    )
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(y.sum(2), 1, rtol=1e-12)


def test_no_value_and_no_loss():
    layer = pt.Perturbed(pt.Permutation())
    for call in (layer.value, layer.value_and_grad):
        with pytest.raises(ValueError, match=r"value needs a linear oracle, and Permutation\(\) is none"):
            call(np.zeros(3))
    with pytest.raises(ValueError, match="value needs a linear oracle"):
        pt.FenchelYoungLoss(layer)
    est = layer.estimate(np.zeros(3))
    for name in ("value", "value_stderr", "value_epsilon"):
        with pytest.raises(ValueError, match="value needs a linear oracle"):
            getattr(est, name)


def test_too_long():
    with pytest.raises(ValueError, match="theta must have at most 46340 entries for a Permutation, got 46341"):
        pt.Permutation()(np.zeros(46341, np.float32))
