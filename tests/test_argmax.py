"""Argmax against numpy.argmax, and draws that are screened against draws that are made in full."""

import numpy as np
import pytest
from contract import NOISES, SolverContract, perturbed_items, same

import perturbed as pt


def one_hot(i, n, dtype=np.float64):
    y = np.zeros(n, dtype)
    y[i] = 1
    return y


class TestArgmax(SolverContract):
    solver = pt.Argmax()

    def twin(self, theta):
        return one_hot(np.argmax(theta), theta.size)


class TestLongArgmax(SolverContract):
    """More entries than are searched in vector lanes."""

    solver = pt.Argmax()
    item = (150,)
    plain_sample = 400
    noise_names = ("normal", "gumbel", "user")

    def twin(self, theta):
        return one_hot(np.argmax(theta), theta.size)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 63, 64, 65, 1000, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_go_to_the_lowest_index(n, dtype):
    rng = np.random.default_rng(n)
    theta = rng.integers(-2, 2, (40, n)).astype(dtype)
    theta[rng.random((40, n)) < 0.2] = -np.inf
    theta[:, rng.integers(n)] = rng.integers(-2, 2, 40)
    y = pt.Argmax()(theta)
    np.testing.assert_array_equal(y.argmax(1), theta.argmax(1))
    np.testing.assert_array_equal(y.sum(1), 1)
    np.testing.assert_array_equal(pt.Argmax().value(theta), theta.max(1))


def test_minus_zero_is_zero():
    np.testing.assert_array_equal(pt.Argmax()([-0.0, 0.0]), [1, 0])
    np.testing.assert_array_equal(pt.Argmax()([0.0, -0.0]), [1, 0])


# ---- screening: long items with many draws do not make most of the noise ----

SCREENED = [name for name in NOISES if name not in ("student", "user", "multiplicative")]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("name", SCREENED)
def test_screened_draws_are_the_full_ones(name, sampler, dtype):
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(4, 300)).astype(dtype)
    theta[1] = rng.integers(-1, 1, 300)
    theta[2, ::3] = -np.inf
    theta[3, 7] = 25.0  # one entry far above the others: the level hardly cuts
    options = {"noise": NOISES[name][0], "epsilon": np.array([0.5, 1.0, 2.0, 1.0]), "samples": 400}
    noisy = perturbed_items(theta, 1, **options, sampler=sampler, seed=11)
    chosen = noisy.argmax(2)
    layer = pt.Perturbed(pt.Argmax(), estimator="score", sampler=sampler, **options)
    est = layer.estimate(theta, seed=11)
    for row in range(4):
        share = np.bincount(chosen[row], minlength=300) / 400
        np.testing.assert_allclose(est.y[row], share, rtol=1e-6)
    np.testing.assert_allclose(est.value, noisy.max(2).astype(np.float64).mean(1), rtol=1e-6)
    if sampler == "iid":
        draws = layer.sample(theta, 400, seed=11)
        np.testing.assert_array_equal(draws.argmax(2), chosen)
        for few in (1, 5, 47):  # too few to be screened
            same(layer.sample(theta, few, seed=11), np.ascontiguousarray(draws[:, :few]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_screening_with_widths(dtype):
    rng = np.random.default_rng(3)
    scale = rng.uniform(0, 2, 200)
    scale[::5] = 0
    theta = rng.normal(size=(3, 200)).astype(dtype)
    for name in SCREENED:
        noise = type(NOISES[name][0])(scale=scale)
        noisy = perturbed_items(theta, 1, noise=noise, epsilon=0.7, samples=300, seed=2)
        layer = pt.Perturbed(pt.Argmax(), estimator="score", noise=noise, epsilon=0.7)
        np.testing.assert_array_equal(layer.sample(theta, 300, seed=2).argmax(2), noisy.argmax(2), err_msg=name)


def test_screening_where_nothing_is_random():
    """All widths but one are 0: every draw ties or is decided by one entry."""
    scale = np.zeros(200)
    scale[150] = 1.0
    theta = np.zeros((1, 200))
    noise = pt.Normal(scale=scale)
    draws = pt.Perturbed(pt.Argmax(), estimator="score", noise=noise).sample(theta, 500, seed=2)
    noisy = perturbed_items(theta, 1, noise=noise, epsilon=1.0, samples=500, seed=2)
    assert set(noisy.argmax(2).ravel()) == {0, 150}
    np.testing.assert_array_equal(draws.argmax(2), noisy.argmax(2))


def test_screening_keeps_ties_to_the_lowest_index():
    """Noise so small beside float32 theta that draws fall on a few values."""
    theta = np.full((2, 256), 1000.0, np.float32)
    options = {"noise": "normal", "epsilon": 1e-4, "samples": 600}
    noisy = perturbed_items(theta, 1, **options, seed=4)
    ties = (noisy == noisy.max(2, keepdims=True)).sum(2)
    assert (ties > 1).mean() > 0.3
    draws = pt.Perturbed(pt.Argmax(), estimator="score", **options).sample(theta, 600, seed=4)
    np.testing.assert_array_equal(draws.argmax(2), noisy.argmax(2))


def test_exact_is_what_auto_takes_and_agrees_with_draws():
    theta = np.array([0.3, -0.2, 1.0])
    for noise in ("normal", "gumbel"):
        exact = pt.Perturbed(pt.Argmax(), noise=noise)
        assert exact.estimator == "exact"
        score = pt.Perturbed(pt.Argmax(), noise=noise, estimator="score", samples=40000).estimate(theta, seed=1)
        est = exact.estimate(theta)
        g, t = np.array([1.0, -0.5, 0.2]), np.array([0.1, 0.7, -1.0])
        assert (np.abs(score.y - est.y) < 5 * score.y_stderr).all()
        assert abs(score.value - est.value) < 5 * score.value_stderr
        assert (np.abs(score.vjp(g) - est.vjp(g)) < 5 * score.vjp_stderr(g)).all()
        np.testing.assert_allclose(est.jvp(t), est.jacobian() @ t, atol=1e-14)
        np.testing.assert_allclose(est.vjp(g), est.jacobian().T @ g, atol=1e-14)
        assert est.y_stderr.max() == est.vjp_stderr(g).max() == est.value_stderr == 0
        # atoms are of draws
        solutions, weights = est.atoms(0)
        assert weights.sum() == pytest.approx(1)
        assert (solutions.sum(1) == 1).all()


def test_all_left_out_names_the_row():
    theta = np.zeros((2, 3, 4))
    theta[1, 2] = -np.inf
    with pytest.raises(ValueError, match=r"theta\[1, 2\]: 0 of 4 entries are allowed .* 1 needed"):
        pt.Argmax()(theta)
    with pytest.raises(ValueError, match=r"theta: 0 of 4 entries are allowed"):
        pt.Argmax()(np.zeros(4), mask=np.zeros(4, bool))
    with pytest.raises(ValueError, match=r"theta\[1, 2\]: 0 of 4"):
        pt.Perturbed(pt.Argmax())(theta)
