"""Noise: known answers of Philox, a NumPy twin of every draw at its address, distributions."""

import math

import numpy as np
import pytest
from exact_values import record
from scipy import stats

import perturbed as pt
from perturbed import _core

MASK = 2**32 - 1
GAMMA = np.euler_gamma


def philox(counter, key):
    """Philox 4x32-10, one block, as Salmon et al. 2011 write it."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k0, q & MASK, (p >> 32) ^ d ^ k1, p & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return a, b, c, d


# Random123, kat_vectors: philox4x32 10
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK,) * 4, (MASK,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_known_answers(counter, key, answer):
    assert _core.philox(counter, key) == answer
    assert philox(counter, key) == answer


def test_philox_twin():
    words = np.random.default_rng(2).integers(2**32, size=(300, 6)).tolist()
    for row in words:
        assert _core.philox(tuple(row[:4]), tuple(row[4:])) == philox(row[:4], row[4:])


def test_keys_differ():
    keys = {
        _core.key(seed, call, domain) for seed in (0, 1, 2**32, 2**63) for call in (0, 1, 2**32) for domain in range(4)
    }
    assert len(keys) == 48


# ---- a twin of every draw ----


def words_at(key, counter):
    return philox(counter, (key & MASK, key >> 32))


def uniform(words, f64):
    """Uniforms of a block: one from two words, or one from each."""
    if f64:
        return [words[2 * i] / 2**32 + ((words[2 * i + 1] >> 11) + 0.5) / 2**53 for i in range(2)]
    single = [(np.float32(w) + np.float32(0.5)) * np.float32(2.0**-32) for w in words]
    return [float(min(u, np.float32(1 - 2.0**-24))) for u in single]


def turn(words, f64):
    """2 pi times the uniform that a pair's second half stands for."""
    if f64:
        return 2 * math.pi * (((words[0] << 32 | words[1]) >> 11) + 0.5) / 2**53
    return 2 * math.pi * (words[0] + 0.5) / 2**32


def polar(words, f64, radius):
    """(cos, sin) of the second half of a pair times the radius of the first; one pair (double) or two a block."""
    pairs = [(words[:2], words[2:])] if f64 else [(words[:1], words[1:2]), (words[2:3], words[3:])]
    out = []
    for first, second in pairs:
        u = uniform((*first, *first, *first, *first)[:4], f64)[0]
        out.append((radius(u) * math.cos(turn(second, f64)), radius(u) * math.sin(turn(second, f64))))
    return out


def block(name, words, f64):
    """Draws of one block of words."""
    if name == "normal":
        return [z for pair in polar(words, f64, lambda u: math.sqrt(-2 * math.log(u))) for z in pair]
    if name == "student":
        return [z for z, _ in polar(words, f64, lambda u: math.sqrt(3.5 * math.expm1(-2 / 3.5 * math.log(u))))]
    out = []
    for i, u in enumerate(uniform(words, f64)):
        if name in ("gumbel", "centered"):
            out.append(-math.log(-math.log1p(-u)) - GAMMA * (name == "centered"))
            continue
        fold = words[2 * i if f64 else i] >> 31
        v = uniform([w ^ MASK for w in words], f64)[i] if fold else u
        sign = -1 if fold else 1
        out.append(sign * (-math.log(2 * v) if name == "laplace" else math.log((1 - v) / v)))
    return out


TWINS = {
    "normal": (pt.Normal(), lambda z: z),
    "gumbel": (pt.Gumbel(), lambda z: 1 - np.exp(-z)),
    "centered": (pt.Gumbel(centered=True), lambda z: 1 - np.exp(-z - GAMMA)),
    "laplace": (pt.Laplace(), np.sign),
    "logistic": (pt.Logistic(), lambda z: np.tanh(z / 2)),
    "student": (pt.StudentT(3.5), lambda z: 4.5 * z / (3.5 + z * z)),
}


def twin(name, key, shape, samples, f64, row_offset, antithetic):
    """Draws at the addresses that csrc/noise.tmpl.h documents: counter (block, sample, row low, row high)."""
    rows, n = shape
    z = np.empty((rows, samples, n))
    for row in range(rows):
        for m in range(samples):
            values, at, mirrored = [], 0, antithetic and m % 2
            while len(values) < n:
                address = row + row_offset
                words = words_at(key, (at, m // 2 if antithetic else m, address & MASK, address >> 32))
                if mirrored and name not in ("normal", "student"):
                    words = tuple(w ^ MASK for w in words)
                values += block(name, words, f64)
                at += 1
            z[row, m] = values[:n]
            if mirrored and name in ("normal", "student"):
                z[row, m] *= -1
    return z


@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", TWINS)
def test_draws_are_functions_of_their_address(name, dtype, sampler):
    noise, _ = TWINS[name]
    shape, samples, offset = (3, 7), 6, 2**33 + 5
    got = record(noise, shape, samples, dtype=dtype, seed=11, sampler=sampler, row_offset=offset)
    assert got.dtype == dtype
    want = twin(name, _core.key(11, 0, 0), shape, samples, dtype == np.float64, offset, sampler == "antithetic")
    size = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, want, rtol=size, atol=2 * size)


@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", TWINS)
def test_scores_belong_to_the_draws(name, dtype, sampler):
    """With y_m the m-th unit vector and no baseline, J = s(Z) / (M epsilon)."""
    noise, score = TWINS[name]
    shape, samples, epsilon = (2, 9), 6, 0.5
    numbered = pt.Oracle(lambda items: np.eye(samples), batched=True, linear=False)
    layer = pt.Perturbed(
        numbered, noise=noise, epsilon=epsilon, samples=samples, baseline=None, sampler=sampler, seed=11
    )
    jacobian = layer.jacobian(np.zeros(shape, dtype), row_offset=3)
    z = twin(name, _core.key(11, 0, 0), shape, samples, dtype == np.float64, 3, sampler == "antithetic")
    size = 16 * np.finfo(dtype).eps
    np.testing.assert_allclose(jacobian * samples * epsilon, score(z), rtol=size, atol=2 * size)


def test_later_calls_have_their_own_keys():
    seen = []
    look = pt.Oracle(lambda x: seen.append(x.copy()) or x, linear=False)
    layer = pt.Perturbed(look, samples=1, seed=5)
    for _ in range(3):
        layer(np.zeros(4))
    for call, z in enumerate(seen):
        np.testing.assert_allclose(
            z, twin("normal", _core.key(5, call, 0), (1, 4), 1, True, 0, False)[0, 0], rtol=1e-14
        )
    assert len(seen) == 3


def test_mask_and_scale_move_no_address():
    theta = np.array([[0.0, -np.inf, 0.0, 0.0, 0.0]])
    plain, held = record("normal", (1, 5), 4), record("normal", (1, 5), 4, theta=theta)
    np.testing.assert_array_equal(held[..., [0, 2, 3, 4]], plain[..., [0, 2, 3, 4]])
    assert (held[..., 1] == -np.inf).all()
    scaled = record(pt.Normal(scale=[2, 1, 0, 1, 0.5]), (1, 5), 4)
    np.testing.assert_array_equal(scaled, plain * [2, 1, 0, 1, 0.5])


# ---- distributions ----

LAWS = {
    "normal": (pt.Normal(), stats.norm),
    "gumbel": (pt.Gumbel(), stats.gumbel_r),
    "centered": (pt.Gumbel(centered=True), stats.gumbel_r(loc=-GAMMA)),
    "laplace": (pt.Laplace(), stats.laplace),
    "logistic": (pt.Logistic(), stats.logistic),
    "student": (pt.StudentT(3.5), stats.t(3.5)),
    "student9": (pt.StudentT(9), stats.t(9)),
}
MILLION = (1, 1000)


def million(name, dtype):
    return record(LAWS[name][0], MILLION, 1000, dtype=dtype, seed=1).astype(float).ravel()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAWS)
def test_distribution(name, dtype):
    law, z = LAWS[name][1], million(name, dtype)
    assert len(z) == 10**6
    assert stats.kstest(law.cdf(z), "uniform").pvalue > 1e-3
    # tails, to which that test is blind: how many draws lie beyond the quantiles of 1e-3, 1e-4, 1e-5
    for q in (1e-3, 1e-4, 1e-5):
        expected = q * len(z)
        for count in ((z < law.ppf(q)).sum(), (z > law.isf(q)).sum()):
            assert abs(count - expected) < 5 * math.sqrt(expected), (q, count)
    assert np.isfinite(z).all()


@pytest.mark.parametrize("name", [name for name in LAWS if name != "student"])
def test_moments(name):
    law, z = LAWS[name][1], million(name, np.float64)
    mean, variance, _, kurtosis = (float(m) for m in law.stats(moments="mvsk"))
    assert abs(z.mean() - mean) < 5 * math.sqrt(variance / len(z))
    squares = (z - mean) ** 2
    assert abs(squares.mean() - variance) < 5 * variance * math.sqrt((kurtosis + 2) / len(z))


@pytest.mark.parametrize("name", ["normal", "gumbel", "laplace", "logistic"])
def test_antithetic_marginals(name):
    z = record(LAWS[name][0], (1, 200), 1000, sampler="antithetic", seed=4)
    for half in (z[:, ::2], z[:, 1::2]):
        assert stats.kstest(LAWS[name][1].cdf(half.ravel()), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["normal", "laplace", "logistic", "student"])
def test_antithetic_mirrors_exactly(name, dtype):
    z = record(LAWS[name][0], (3, 11), 8, dtype=dtype, sampler="antithetic")
    np.testing.assert_array_equal(z[:, ::2], -z[:, 1::2])
    assert np.unique(np.abs(z)).size == 3 * 11 * 4
    iid = record(LAWS[name][0], (3, 11), 4, dtype=dtype)
    np.testing.assert_array_equal(z[:, ::2], iid)


def test_antithetic_gumbel_mirrors_uniforms():
    z = record("gumbel", (3, 11), 8, sampler="antithetic")
    u = np.exp(-np.exp(-z))
    np.testing.assert_allclose(u[:, ::2] + u[:, 1::2], 1, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["normal", "gumbel"])
def test_nothing_is_correlated(name, dtype):
    """Neighbours along rows, draws and coordinates, of other calls and other seeds; of values and of squares."""
    law = LAWS[name][1]
    shape = (40, 33)
    z = (record(LAWS[name][0], shape, 66, dtype=dtype, seed=8) - law.mean()) / law.std()
    others = {
        "seed": (record(LAWS[name][0], shape, 66, dtype=dtype, seed=9) - law.mean()) / law.std(),
        "far row": (record(LAWS[name][0], shape, 66, dtype=dtype, seed=8, row_offset=2**32) - law.mean()) / law.std(),
    }
    pairs = {what: (z, other) for what, other in others.items()}
    for axis, what in enumerate(("row", "draw", "coordinate")):
        for lag in (1, 2, 3, 4, 8, 16, 32):
            first = np.take(z, range(z.shape[axis] - lag), axis)
            pairs[f"{what} {lag}"] = (first, np.take(z, range(lag, z.shape[axis]), axis))
    for what, (a, b) in pairs.items():
        a, b = a.astype(float).ravel(), b.astype(float).ravel()
        for x, y in ((a, b), (a * a - 1, b * b - 1), (a, b * b - 1)):
            product = x * y
            score = product.mean() / (product.std() / math.sqrt(product.size))
            assert abs(score) < 5, (what, score)


def test_all_draws_differ():
    z = record("laplace", (50, 40), 50)
    assert np.unique(z).size == z.size


# ---- sum of gamma ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("k", "r"), [(1, 10), (3, 10), (5, 4), (2.5, 1)])
def test_sum_of_gamma_moments(k, r, dtype):
    z = record(pt.SumOfGamma(k, iterations=r), (1, 400), 500, dtype=dtype, seed=3).astype(float).ravel()
    i = np.arange(1, r + 1)
    mean, variance = ((1 / i).sum() - math.log(r)) / k, (1 / (k * i**2)).sum()
    fourth = (6 / (k * i**4)).sum()  # the fourth cumulant of Gamma(1/k, k/i)/k is 6/(k i^4)
    assert abs(z.mean() - mean) < 5 * math.sqrt(variance / z.size)
    spread = math.sqrt((fourth + 2 * variance**2) / z.size)
    assert abs(((z - mean) ** 2).mean() - variance) < 5 * spread


def test_sum_of_gamma_law():
    """For k = 1 the sum of Exp(i) is the largest of r exponentials; else against NumPy's gammas."""
    r = 7
    z = record(pt.SumOfGamma(1, iterations=r), (1, 400), 500, seed=3).ravel() + math.log(r)
    assert stats.kstest((-np.expm1(-z)) ** r, "uniform").pvalue > 1e-3
    rng = np.random.default_rng(0)
    other = sum(rng.gamma(1 / 4, 4 / i, 200_000) for i in range(1, r + 1)) / 4 - math.log(r) / 4
    mine = record(pt.SumOfGamma(4, iterations=r), (1, 400), 500, seed=6).ravel()
    assert stats.ks_2samp(mine, other).pvalue > 1e-3


def test_sum_of_gammas_tends_to_gumbel():
    """k of them summed, with many terms."""
    k = 5
    z = record(pt.SumOfGamma(k, iterations=200), (1, 10 * k), 400, seed=2).reshape(-1, k).sum(1)
    assert stats.kstest(stats.gumbel_r.cdf(z), "uniform").pvalue > 1e-3


def test_user_noise_is_asked_again_in_the_same_state():
    """No noise is kept: whatever solves or looks at the draws again gets them from sample."""
    drawn = []

    def sample(rng, shape):
        drawn.append(rng.standard_normal(shape))
        return drawn[-1]

    layer = pt.Perturbed(pt.Argmax(), noise=pt.Noise(sample, lambda z: z), samples=6, seed=0)
    est = layer.estimate(np.zeros((2, 5)))
    g = np.ones((2, 5))
    for ask in (lambda: est.vjp(g), lambda: est.jvp(g), est.jacobian):
        first, before = drawn[-2:], len(drawn)
        ask()
        assert len(drawn) >= before + 2
        np.testing.assert_array_equal(drawn[-2:], first)


def test_user_noise_is_keyed_by_row():
    shapes = []

    def sample(rng, shape):
        shapes.append(shape)
        return rng.standard_normal(shape)

    noise = pt.Noise(sample)
    z = record(noise, (3, 5), 4, seed=2)
    assert set(shapes) == {(4, 5)}
    np.testing.assert_array_equal(z[1:], record(noise, (2, 5), 4, seed=2, row_offset=1))
    assert np.unique(z).size == z.size
    assert not np.isin(record(noise, (3, 5), 4, seed=3), z).any()
