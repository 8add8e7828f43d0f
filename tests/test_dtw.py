"""DTW against its recurrence in plain NumPy, and that against all paths."""

import numpy as np
import pytest
from contract import SolverContract, everything, perturbed_items, same

import perturbed as pt


def warp(theta, band=None):
    """Cells of the docstring's path, in theta's own arithmetic; None where there is none."""
    n, m = theta.shape
    v = np.full((n + 1, m + 1), -np.inf, theta.dtype)
    v[0, 0] = 0
    for i, j in np.ndindex(n, m):
        if band is None or abs(i - j) <= band:
            v[i + 1, j + 1] = theta[i, j] + max(v[i, j], v[i, j + 1], v[i + 1, j])
        if i == j == 0:
            v[0, 0] = -np.inf
    if np.isneginf(v[n, m]):
        return None
    path = [(n - 1, m - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        before = ((i - 1, j - 1), (i - 1, j), (i, j - 1))  # "the diagonal step, else from above, else from the left"
        path.append(max(before, key=lambda c: v[c[0] + 1, c[1] + 1]))
    return path[::-1]


def marked(path, shape):
    y = np.zeros(shape)
    y[tuple(np.transpose(path))] = 1
    return y


def all_paths(n, m, cell=(0, 0)):
    if cell == (n - 1, m - 1):
        yield [cell]
    for di, dj in ((1, 1), (1, 0), (0, 1)):
        if cell[0] + di < n and cell[1] + dj < m:
            for rest in all_paths(n, m, (cell[0] + di, cell[1] + dj)):
                yield [cell, *rest]


class TestDTW(SolverContract):
    solver = pt.DTW()
    item = (3, 4)

    def twin(self, theta):
        return marked(warp(theta), theta.shape)


class TestLongDTW(SolverContract):
    """More columns than steps in a word, for both types."""

    solver = pt.DTW()
    item = (2, 37)
    plain_sample = 700
    noise_names = ("normal", "multiplicative")

    def twin(self, theta):
        return marked(warp(theta), theta.shape)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 4), (3, 5), (5, 3)])
def test_all_paths(shape):
    rng = np.random.default_rng(0)
    paths = list(all_paths(*shape))
    for theta in rng.integers(-3, 4, (60, *shape)).astype(float):  # small integers: exact sums, many ties
        score = [sum(theta[c] for c in path) for path in paths]
        best = [path for path, s in zip(paths, score, strict=True) if s == max(score)]
        # of the best: diagonal before up before left, walking back
        order = {(1, 1): 0, (1, 0): 1, (0, 1): 2}
        want = min(best, key=lambda path: [order[tuple(s)] for s in np.diff(path[::-1], axis=0) * -1])
        assert pt.DTW().value(theta) == max(score)
        np.testing.assert_array_equal(pt.DTW()(theta), marked(want, shape))
        assert warp(theta) == want


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_band_and_closed_cells(dtype):
    rng = np.random.default_rng(1)
    found = none = 0
    for _ in range(300):
        n, m = rng.integers(1, 12, 2) if rng.random() < 0.7 else rng.integers(20, 45, 2)
        theta = rng.normal(size=(n, m)) if rng.random() < 0.5 else rng.integers(-2, 3, (n, m))
        theta = theta.astype(dtype)
        theta[rng.random((n, m)) < 0.1] = -np.inf
        band = int(rng.integers(0, 25)) if rng.random() < 0.7 else None
        want = warp(theta, band)
        if want is None:
            none += 1
            with pytest.raises(ValueError, match=r"^theta: no path"):
                pt.DTW(band)(theta)
            continue
        found += 1
        y = pt.DTW(band)(theta)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, marked(want, (n, m)))
        assert pt.DTW(band).pairs(y).tolist() == [list(c) for c in want]
    assert found > 60
    assert none > 60


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("band", [0, 1, 3, 50])
def test_a_band_is_closed_cells(band, dtype):
    rng = np.random.default_rng(2)
    theta, g, t = (rng.normal(size=(3, 20, 20)).astype(dtype) for _ in range(3))
    outside = abs(np.arange(20)[:, None] - np.arange(20)) > band
    closed = np.where(outside, -np.inf, theta).astype(dtype)
    options = {"samples": 20, "estimator": "score"}
    got = everything(pt.Perturbed(pt.DTW(band), **options), theta, g, t, seed=1)
    want = everything(pt.Perturbed(pt.DTW(), **options), closed, g, t, seed=1)
    for name, value in want.items():
        same(got[name], value)
    assert (got["vjp"][:, outside] == 0).all()
    if band == 0:
        np.testing.assert_array_equal(got["y"], np.broadcast_to(np.eye(20), (3, 20, 20)))
    assert pt.DTW(0).objective(np.zeros((2, 2)), [[1, 1], [0, 1]]) == -np.inf


@pytest.mark.parametrize(
    ("band", "shape"), [(None, (30, 30)), (None, (25, 40)), (0, (9, 9)), (3, (30, 30)), (20, (60, 60))]
)
def test_dtaidistance_warps_the_same(band, shape):
    """Its distance is the root of the least sum of squares; its window counts the diagonal."""
    dtw = pytest.importorskip("dtaidistance.dtw")
    rng = np.random.default_rng(10)
    options = {} if band is None else {"window": band + 1}
    for _ in range(10):
        a, b = (rng.normal(size=n).cumsum() for n in shape)
        theta, solver = -((a[:, None] - b) ** 2), pt.DTW(band)
        assert solver.value(theta) == pytest.approx(-(dtw.distance(a, b, **options) ** 2), rel=1e-12)
        path = dtw.warping_path(a, b, **options)
        assert solver.pairs(solver(theta)).tolist() == [list(map(int, cell)) for cell in path]


# ---- lengths ----


@pytest.mark.parametrize("band", [None, 4])
def test_lengths_by_row(band):
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(2, 10, 9, 40))
    n = rng.integers(1, 10, (2, 10))
    m = rng.integers(1, 41, (2, 10)) if band is None else np.clip(n + rng.integers(-4, 5, n.shape), 1, 40)
    lengths = np.stack([n, m], -1)
    solver, keep = pt.DTW(band), (theta.copy(), lengths.copy())
    y = solver(theta, lengths=lengths)
    for i in np.ndindex(2, 10):
        part = slice(n[i]), slice(m[i])
        same(y[i][part], solver(np.ascontiguousarray(theta[i][part])))
        assert y[i].sum() == y[i][part].sum()
        same(y[i], solver(theta[i], lengths=tuple(lengths[i])))
        assert solver.pairs(y[i])[-1].tolist() == [n[i] - 1, m[i] - 1]
    # noisy draws: 16 draws of several rows, each with its own lengths
    layer = pt.Perturbed(solver, epsilon=0.3, samples=5, estimator="score")
    draws = layer.sample(theta, 5, seed=1, lengths=lengths)
    noisy = perturbed_items(theta, 2, noise="normal", epsilon=0.3, samples=5, seed=1).reshape(2, 10, 5, 9, 40)
    inside = (np.arange(9)[:, None] < n[..., None, None]) & (np.arange(40) < m[..., None, None])
    for i in np.ndindex(2, 10):
        for k in range(5):
            part = noisy[i][k][: n[i], : m[i]]
            np.testing.assert_array_equal(draws[i][k][: n[i], : m[i]], marked(warp(part, band), part.shape))
    assert (draws.sum(2)[~inside] == 0).all()
    # what lies outside is ignored, and has no gradient
    g = rng.normal(size=theta.shape)
    junk = np.where(inside, theta, np.nan)
    same(layer(junk, seed=1, lengths=lengths), layer(theta, seed=1, lengths=lengths))
    grad = layer.vjp(junk, seed=1, lengths=lengths)[1](g)
    assert np.isfinite(grad).all()
    assert (grad[~inside] == 0).all()
    np.testing.assert_array_equal(theta, keep[0])
    np.testing.assert_array_equal(lengths, keep[1])


def test_one_pair_of_lengths_for_all_rows():
    theta = np.random.default_rng(4).normal(size=(3, 5, 6))
    want = np.stack([pt.DTW()(x, lengths=(4, 2)) for x in theta])
    for lengths in ((4, 2), [4, 2], np.array([4, 2], np.uint8), [[4, 2]], np.full((3, 2), (2, 4))[:, ::-1]):
        same(pt.DTW()(theta, lengths=lengths), want)
    same(pt.DTW()(theta, lengths=(5, 6)), pt.DTW()(theta))
    same(pt.DTW()(theta, lengths=None), pt.DTW()(theta))
    mask = np.ones((5, 6), bool)
    mask[0, 0] = False
    with pytest.raises(ValueError, match=r"^theta\[0\]: no path from \(0, 0\) to \(3, 1\) over cells"):
        pt.DTW()(theta, lengths=(4, 2), mask=mask)
    assert pt.DTW()(theta[:0], lengths=(4, 2)).shape == (0, 5, 6)


# ---- errors ----


def test_bad_lengths():
    theta = np.zeros((2, 3, 4))
    for lengths, words in (
        ([[3, 4], [4, 4]], r"lengths must be in 1..3 and 1..4, got \(4, 4\) in row 1"),
        ((3, 0), r"lengths must be in 1..3 and 1..4, got \(3, 0\) in row 0"),
        ((-1, 2), r"lengths must be in 1..3 and 1..4, got \(-1, 2\) in row 0"),
        ([[3, 4]] * 3, r"lengths must broadcast to shape \(2, 2\), got \(3, 2\)"),
        ([3, 4, 1], r"lengths must have shape \(2,\) or \(2, 2\), got \(3,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            pt.DTW()(theta, lengths=lengths)
    with pytest.raises(TypeError, match="lengths must be integers, got float64"):
        pt.DTW()(theta, lengths=[3.0, 4.0])


def test_bad_band():
    for band, error, words in (
        (-1, ValueError, "band must be between 0 and"),
        (1.0, TypeError, "band must be an integer, got float"),
        (True, TypeError, "band must be an integer, got bool"),
    ):
        with pytest.raises(error, match=words):
            pt.DTW(band)
    assert pt.DTW(np.int8(3)) == pt.DTW(band=3) != pt.DTW()


def test_no_path_names_the_row():
    theta = np.zeros((2, 2, 3, 6))
    theta[1, 0, :, 2] = -np.inf
    for call in (pt.DTW(), pt.Perturbed(pt.DTW()), pt.Perturbed(pt.DTW()).estimate):
        with pytest.raises(ValueError, match=r"^theta\[1, 0\]: no path from \(0, 0\) to \(2, 5\) over cells"):
            call(theta)
    with pytest.raises(ValueError, match=r"^theta\[0, 0\]: no path to \(2, 5\) within a band of 2$"):
        pt.DTW(2)(theta)
    with pytest.raises(ValueError, match=r"^theta\[0, 1\]: no path to \(0, 4\) within a band of 3$"):
        pt.DTW(3)(np.zeros((2, 2, 3, 6)), lengths=[[[1, 3], [1, 5]]])
    for corner in ((0, 0), (2, 5)):
        closed = np.zeros((3, 6))
        closed[corner] = -np.inf
        with pytest.raises(ValueError, match=r"^theta: no path"):
            pt.DTW()(closed)
    with pytest.raises(ValueError, match="theta must have at least 2 dimensions, got 1"):
        pt.DTW()(np.zeros(4))


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_that_overflow(sign):
    for dtype in (np.float32, np.float64):
        theta = np.full((2, 3, 3), sign * np.finfo(dtype).max, dtype)
        theta[0] = 0
        with pytest.raises(ValueError, match=r"^theta\[1\]: the score of the path overflows$"):
            pt.DTW()(theta)


def test_pairs():
    theta = np.random.default_rng(5).normal(size=(2, 3, 5, 6))
    y = pt.DTW()(theta)
    pairs = pt.DTW().pairs(y)
    assert len(pairs) == 6
    for got, item in zip(pairs, theta.reshape(6, 5, 6), strict=True):
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, warp(item))
    for bad in (np.zeros((3, 3)), np.eye(3)[::-1], [[1, 0, 0], [0, 0, 0], [0, 0, 1]], [[1, 1], [1, 1]], [[0, 1]]):
        with pytest.raises(ValueError, match=r"^y must be one path from \(0, 0\)"):
            pt.DTW().pairs(bad)
        with pytest.raises(ValueError, match=r"^y\[1, 0\] must be one path from \(0, 0\)"):
            pt.DTW().pairs([[np.ones(np.shape(bad)) * np.eye(*np.shape(bad))], [bad]])


# ---- sizes ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large(dtype):
    rng = np.random.default_rng(6)
    for theta in (rng.normal(size=(150, 211)), rng.integers(-1, 2, (199, 130)), -rng.random((1, 3000))):
        theta = theta.astype(dtype)
        np.testing.assert_array_equal(pt.DTW()(theta), marked(warp(theta), theta.shape))
    theta = rng.normal(size=(1000, 1000)).astype(dtype)
    np.testing.assert_array_equal(pt.DTW(band=2)(theta), marked(warp(theta, 2), theta.shape))


def test_shifted_series_are_warped_back():
    time = np.arange(200)
    a, b = np.sin(time / 9), np.sin((time - 15) / 9)
    y = pt.DTW()(-np.abs(a[:, None] - b))
    i, j = pt.DTW().pairs(y).T
    assert np.abs(a[i] - b[j]).mean() < 0.1 * np.abs(a - b).mean()
    same(pt.DTW(band=40)(-np.abs(a[:, None] - b)), y)
