"""TopK against a stable argsort and against all subsets, on each of its three code paths."""

from itertools import combinations

import numpy as np
import pytest
from contract import NOISES, SolverContract, perturbed_items, same
from hypothesis import given
from hypothesis import strategies as st

import perturbed as pt


def largest(theta, k):
    """Indices of the k largest, best first, ties to the lowest index."""
    return np.argsort(-theta, axis=-1, kind="stable")[..., :k]


def as_solution(index, n, ordered):
    y = (index[..., None] == np.arange(n)).astype(np.float64)
    return y if ordered else y.sum(-2)


class TopKContract(SolverContract):
    def twin(self, theta):
        return as_solution(largest(theta, self.solver.k), theta.size, self.solver.ordered)


class TestTopK(TopKContract):
    solver = pt.TopK(2)


class TestOrderedTopK(TopKContract):
    solver = pt.TopK(3, ordered=True)


class TestLongTopK(TopKContract):
    """Searched draw by draw, with a heap; many draws are screened."""

    solver = pt.TopK(3)
    item = (140,)
    plain_sample = 400
    noise_names = ("normal", "gumbel", "user")


class TestAllButOne(TopKContract):
    solver = pt.TopK(5)


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=6), st.data())
def test_best_of_all_subsets(values, data):
    k = data.draw(st.integers(1, len(values)))
    theta = np.array(values, np.float64)
    y = pt.TopK(k)(theta)
    best = max(theta[list(chosen)].sum() for chosen in combinations(range(theta.size), k))
    assert y.sum() == k
    assert set(y) <= {0, 1}
    assert y @ theta == best == pt.TopK(k).value(theta)
    # of equal sums the lexicographically first set of a greedy choice
    np.testing.assert_array_equal(y, as_solution(largest(theta, k), theta.size, False))
    np.testing.assert_array_equal(pt.TopK(k, ordered=True)(theta), as_solution(largest(theta, k), theta.size, True))


@pytest.mark.parametrize(
    ("n", "k"), [(64, 8), (64, 9), (65, 8), (65, 1), (64, 64), (200, 200), (1000, 17), (3, 3), (1, 1)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_on_every_path(n, k, dtype):
    rng = np.random.default_rng(n + k)
    for theta in (
        rng.integers(-2, 3, (21, n)),
        rng.normal(size=(21, n)),
        np.zeros((21, n)),
        -np.arange(n) * np.ones((21, 1)),
    ):
        theta = theta.astype(dtype)
        for ordered in (False, True):
            want = as_solution(largest(theta, k), n, ordered)
            same(pt.TopK(k, ordered=ordered)(theta), want.astype(dtype))
        np.testing.assert_allclose(pt.TopK(k).value(theta), -np.sort(-theta, 1)[:, :k].astype(float).sum(1), rtol=1e-6)


def test_all_of_them_is_ones():
    theta = np.random.default_rng(0).normal(size=(3, 10))
    assert (pt.TopK(10)(theta) == 1).all()
    layer = pt.Perturbed(pt.TopK(10), estimator="score")
    assert (layer(theta, seed=1) == 1).all()
    # with a baseline no draw differs from it
    np.testing.assert_allclose(layer.vjp(theta, seed=1)[1](theta), 0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5, 32])
@pytest.mark.parametrize("name", ["normal", "gumbel", "laplace", "logistic"])
def test_screened_draws_are_the_full_ones(name, k, ordered, dtype):
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(3, 128)).astype(dtype)
    theta[1] = rng.integers(-1, 1, 128)
    theta[2, 1::2] = -np.inf
    options = {"noise": NOISES[name][0], "epsilon": 0.4}
    noisy = perturbed_items(theta, 1, **options, samples=300, seed=11)
    layer = pt.Perturbed(pt.TopK(k, ordered=ordered), estimator="score", samples=300, **options)
    draws = layer.sample(theta, 300, seed=11)
    same(draws, as_solution(largest(noisy, k), 128, ordered).astype(dtype))
    for few in (1, 47):
        same(layer.sample(theta, few, seed=11), np.ascontiguousarray(draws[:, :few]))
    np.testing.assert_allclose(layer(theta, seed=11), draws.astype(np.float64).mean(1), rtol=1e-6)
    if not ordered:
        best = -np.sort(-noisy, axis=2)[:, :, :k]
        np.testing.assert_allclose(
            layer.value(theta, seed=11), best.astype(np.float64).sum(2).mean(1), rtol=2e-6, atol=1e-6
        )


def test_antithetic_screening():
    theta = np.random.default_rng(3).normal(size=(2, 200))
    for name in ("normal", "gumbel", "laplace", "logistic", "centered gumbel"):
        options = {"noise": NOISES[name][0], "epsilon": 0.4, "samples": 200, "sampler": "antithetic"}
        noisy = perturbed_items(theta, 1, **options, seed=5)
        layer = pt.Perturbed(pt.TopK(4), estimator="score", **options)
        want = as_solution(largest(noisy, 4), 200, False).mean(1)
        np.testing.assert_allclose(layer(theta, seed=5), want, atol=1e-14, err_msg=name)


def test_k_out_of_range():
    for k in (0, -1, 2**31):
        with pytest.raises(ValueError, match=f"k must be between 1 and 2147483647, got {k}"):
            pt.TopK(k)
    for k in (1.5, "2", None):
        with pytest.raises(TypeError, match="k must be an integer"):
            pt.TopK(k)
    with pytest.raises(TypeError, match="k must be an integer, got bool"):
        pt.TopK(True)
    with pytest.raises(ValueError, match=r"k must be between 1 and 3 \(the length of theta\), got 4"):
        pt.TopK(4)(np.zeros((2, 3)))


def test_too_few_allowed_names_the_row():
    theta = np.zeros((2, 2, 4))
    theta[1, 0, :3] = -np.inf
    with pytest.raises(ValueError, match=r"theta\[1, 0\]: 1 of 4 entries are allowed .* 2 needed"):
        pt.TopK(2)(theta)
    mask = np.ones((2, 2, 4), bool)
    mask[0, 1, 1:] = False
    with pytest.raises(ValueError, match=r"theta\[0, 1\]: 1 of 4 entries are allowed"):
        pt.Perturbed(pt.TopK(2))(np.zeros((2, 2, 4)), mask=mask)
    # exactly enough
    np.testing.assert_array_equal(pt.TopK(1)(theta)[1, 0], [0, 0, 0, 1])


def test_numpy_integers_and_repr():
    assert pt.TopK(np.int64(3)) == pt.TopK(3)
    assert repr(pt.TopK(np.int64(3))) == "TopK(k=3)"
    assert repr(pt.TopK(3, ordered=np.bool_(True))) == "TopK(k=3, ordered=True)"
    assert pt.TopK(3) != pt.TopK(3, ordered=True)
    assert len({pt.TopK(3), pt.TopK(3), pt.TopK(4)}) == 2
    with pytest.raises(TypeError, match="ordered must be True or False"):
        pt.TopK(3, ordered=1)
    with pytest.raises(TypeError, match="positional"):
        pt.TopK(3, True)
