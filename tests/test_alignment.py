"""Alignment against its recurrences in plain NumPy, and these against all alignments."""

from functools import cache
from itertools import groupby

import numpy as np
import parasail
import pytest
from biotite import sequence
from biotite.sequence import align as aligners
from contract import SolverContract, perturbed_items, same

import perturbed as pt

ENDS = ("query", "target")
EDGES = ("SM", "MM", "XM", "YM", "MX", "XX", "MY", "XY", "YY")
ORDER = "SMXY"


# ---- all alignments, from the definition ----


@cache
def all_alignments(n, m, mode, free=ENDS):
    """(start, steps): a position, and what is consumed from there: M a row and a column, X a column, Y a row."""

    def may_start(i, j):
        if mode == "semiglobal":  # a prefix of one sequence is left out
            return (i == 0 or "query" in free) and (j == 0 or "target" in free) and (i == 0 or j == 0)
        return mode == "local" or (i, j) == (0, 0)

    def may_end(i, j):
        if mode == "semiglobal":  # a suffix of one sequence is left out
            return (i == n or "query" in free) and (j == m or "target" in free) and (i == n or j == m)
        return mode == "local" or (i, j) == (n, m)

    def walks(i, j, steps):
        if steps and may_end(i, j) and not (mode == "local" and steps[-1] != "M"):
            yield steps
        for step, di, dj in (("M", 1, 1), ("X", 0, 1), ("Y", 1, 0)):
            fits = i + di <= n and j + dj <= m
            if fits and steps[-1:] + step != "YX" and (steps or mode != "local" or step == "M"):
                yield from walks(i + di, j + dj, steps + step)

    starts = [s for s in np.ndindex(n + 1, m + 1) if may_start(*s)]
    found = [(start, steps) for start in starts for steps in walks(*start, "")]
    if any(may_end(*s) for s in starts):
        found.append(((0, 0), ""))  # the empty alignment, once
    return found


def positions(start, steps):
    """Rows and columns behind each step."""
    i, j = start
    for step in steps:
        i, j = i + (step != "X"), j + (step != "Y")
        yield i, j


def counts(start, steps, n, m, channels):
    """How often an alignment uses each entry of theta."""
    y = np.zeros((n, m, channels))
    state = "S"
    for step, (i, j) in zip(steps, positions(start, steps), strict=True):
        channel = EDGES.index(state + step) if channels == 9 else 0 if step == "M" else 2 if step == state else 1
        if channel < channels and y.size:
            y[max(i - 1, 0), max(j - 1, 0), channel] += 1
        state = step
    return y[..., 0] if channels == 1 else y


def gap_costs(steps, gap_open, gap_extend):
    return sum(gap_open + gap_extend * (len(list(run)) - 1) for step, run in groupby(steps) if step != "M")


def order(start, steps):
    """The tie rule: the empty alignment, then ends row by row, then back from the end start, M, X, Y."""
    end = list(positions(start, steps))[-1:]
    return (end, [ORDER.index(s) for s in steps[::-1]] + [0])


def cigar(steps):
    return "".join(f"{len(list(run))}{'MID'['MYX'.index(step)]}" for step, run in groupby(steps))


def options(solver):
    """mode, channels, (open, extend) and free ends."""
    gaps = None
    if solver.gap_open is not None:
        gaps = (solver.gap_open, solver.gap_open if solver.gap_extend is None else solver.gap_extend)
    return solver.mode, 1 if gaps else 9 if solver.transitions else 3, gaps, solver.free_ends


@cache
def table(solver, n, m):
    """All alignments, their counts and minus their gaps."""
    mode, channels, gaps, free = options(solver)
    found = all_alignments(n, m, mode, free)
    used = np.array([counts(*a, n, m, channels) for a in found]).reshape(len(found), -1)
    return found, used, np.array([-gap_costs(a[1], *gaps) if gaps else 0.0 for a in found])


def by_enumeration(solver, theta):
    """Value and alignment of the tie rule; theta of small integers, so that sums are exact."""
    found, used, fixed = table(solver, *theta.shape[:2])
    closed = np.isneginf(theta.ravel())
    score = used @ np.where(closed, 0.0, theta.ravel()) + fixed
    score[(used[:, closed] > 0).any(1)] = -np.inf
    best = score.max()
    return best, min((a for a, s in zip(found, score, strict=True) if s == best), key=lambda a: order(*a))


# ---- the recurrences ----


def align(solver, theta):
    """Start and steps by the docstring's recurrences, in theta's own arithmetic; None where there is no alignment."""
    mode, channels, gaps, free = options(solver)
    n, m = theta.shape[:2]
    zero, none = theta.dtype.type(0), theta.dtype.type(-np.inf)
    v = {s: np.full((n + 1, m + 1), none) for s in ORDER}
    before = {}

    def weight(channel, i, j):
        if gaps and channel:
            return -theta.dtype.type(gaps[channel - 1])
        if n == 0 or m == 0:
            return zero
        cell = max(i - 1, 0), max(j - 1, 0)
        return theta[cell] if gaps else theta[(*cell, channel)]

    def first(names, i, j):
        return max(names, key=lambda s: v[s][i, j])  # max takes the first of equal ones

    for i, j in np.ndindex(n + 1, m + 1):
        skips = mode == "semiglobal" and ((j == 0 and "query" in free) or (i == 0 and "target" in free))
        if mode == "local" or (i, j) == (0, 0) or skips:
            v["S"][i, j] = 0
        ways = {}  # state: (value, state before), the first of equal ones kept
        if i and j:
            if channels == 9:
                ways["M"] = [(v[s][i - 1, j - 1] + weight(EDGES.index(s + "M"), i, j), s) for s in "SMXY"]
            else:
                s = first("SMXY", i - 1, j - 1)
                ways["M"] = [(v[s][i - 1, j - 1] + weight(0, i, j), s)]
        opening = "M" if mode == "local" else "SM"
        if j:
            if channels == 9:
                ways["X"] = [(v[s][i, j - 1] + weight(EDGES.index(s + "X"), i, j), s) for s in "MX"]
            else:
                s = first(opening, i, j - 1)
                ways["X"] = [(v[s][i, j - 1] + weight(1, i, j), s), (v["X"][i, j - 1] + weight(2, i, j), "X")]
        if i:
            if channels == 9:
                ways["Y"] = [(v[s][i - 1, j] + weight(EDGES.index(s + "Y"), i, j), s) for s in "MXY"]
            else:
                s = first(opening + "X", i - 1, j)
                ways["Y"] = [(v[s][i - 1, j] + weight(1, i, j), s), (v["Y"][i - 1, j] + weight(2, i, j), "Y")]
        for state, choices in ways.items():
            value, source = max(choices, key=lambda c: c[0])
            v[state][i, j], before[state, i, j] = value, source
    ends = [(n, m)]
    if mode == "local":
        ends = list(np.ndindex(n + 1, m + 1))
    elif mode == "semiglobal":
        ends = [(i, m) for i in range(n if "query" in free else 0)]
        ends += [(n, j) for j in range(0 if "target" in free else m, m + 1)]
    finals = [(v[s][e], e, s) for e in ends for s in ("SM" if mode == "local" else "SMXY")]
    empty = [f for f in finals if f[2] == "S" and f[0] == 0]
    value, (i, j), state = max(empty[:1] + [f for f in finals if f[2] != "S"], key=lambda f: f[0])
    if np.isneginf(value):
        return None
    steps = ""
    while state != "S":
        source = before[state, i, j]
        steps = state + steps
        i, j = i - (state != "X"), j - (state != "Y")
        state = source
    return ((i, j) if steps else (0, 0)), steps


def solution(solver, theta):
    n, m = theta.shape[:2]
    return counts(*align(solver, theta), n, m, options(solver)[1])


SOLVERS = {
    "global": pt.Alignment("global", gap_open=2, gap_extend=1),
    "global linear": pt.Alignment("global", gap_open=1),
    "global cheap gaps": pt.Alignment("global", gap_open=0, gap_extend=1),
    "local": pt.Alignment("local", gap_open=1, gap_extend=0),
    "semiglobal": pt.Alignment("semiglobal", gap_open=1),
    "semiglobal query": pt.Alignment("semiglobal", gap_open=1, gap_extend=0, free_ends=("query",)),
    "semiglobal target": pt.Alignment("semiglobal", gap_open=2, gap_extend=1, free_ends=("target",)),
    "global learned": pt.Alignment("global"),
    "local learned": pt.Alignment("local"),
    "semiglobal learned": pt.Alignment("semiglobal"),
    "semiglobal learned query": pt.Alignment("semiglobal", free_ends=("query",)),
    "semiglobal learned target": pt.Alignment("semiglobal", free_ends=["target"]),
    "transitions": pt.Alignment("local", transitions=True),
}


class AlignmentContract(SolverContract):
    plain_sample = 300

    def twin(self, theta):
        return solution(self.solver, theta)

    def fixed(self, y):
        """Minus the cheapest gaps of all alignments with these matches."""
        if self.solver.gap_open is None:
            return 0.0
        _, used, fixed = table(self.solver, *self.item[:2])
        return fixed[(used == y.ravel()).all(1)].max()


class TestGlobal(AlignmentContract):
    solver = pt.Alignment("global", gap_open=1.25, gap_extend=0.5)
    item = (3, 4)


class TestLocalLearned(AlignmentContract):
    solver = pt.Alignment("local")
    item = (3, 3, 3)
    noise_names = ("normal", "gumbel", "multiplicative")


class TestSemiglobalLearned(AlignmentContract):
    solver = pt.Alignment("semiglobal")
    item = (2, 2, 3)
    noise_names = ("normal", "multiplicative")


class TestTransitions(AlignmentContract):
    solver = pt.Alignment("local", transitions=True)
    item = (2, 2, 9)
    noise_names = ("normal",)


SHAPES = [(1, 1), (1, 4), (4, 1), (2, 3), (3, 2), (3, 3)]


def integers(rng, shape, solver, low=-3):
    channels = options(solver)[1]
    return rng.integers(low, 4, shape if channels == 1 else (*shape, channels)).astype(float)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SOLVERS)
def test_all_alignments(name, shape):
    """Values, solutions and ties against the definition; -inf entries now and then."""
    solver, rng = SOLVERS[name], np.random.default_rng(0)
    for k in range(25):
        theta = integers(rng, shape, solver)
        if k % 5 == 0:
            theta[rng.random(theta.shape) < 0.15] = -np.inf
        value, best = by_enumeration(solver, theta)
        if np.isneginf(value):
            with pytest.raises(ValueError, match=r"^theta: no alignment of"):
                solver(theta)
            assert align(solver, theta) is None
            continue
        y = solver(theta)
        np.testing.assert_array_equal(y, counts(*best, *shape, options(solver)[1]))
        assert solver.value(theta) == value == solver.objective(theta, y)
        assert align(solver, theta) == best
        matches = [(i - 1, j - 1) for s, (i, j) in zip(best[1], positions(*best), strict=True) if s == "M"]
        assert solver.pairs(y).tolist() == [list(c) for c in matches]
        if solver.gap_open is None:
            same_counts = [a for a, c in zip(*table(solver, *shape)[:2], strict=True) if (c == y.ravel()).all()]
            assert solver.cigar(y) in {cigar(a[1]) for a in same_counts}
        else:
            assert gap_costs(read(solver.cigar(y)), *options(solver)[2]) == gap_costs(best[1], *options(solver)[2])
            assert solver.cigar(y) == cigar(best[1]) or solver.gap_extend == 0 or solver.gap_open == 0


def read(text):
    """A string such as 2M1I as steps."""
    steps, number = "", ""
    for c in text:
        number, steps = (number + c, steps) if c.isdigit() else ("", steps + int(number) * "MYX"["MID".index(c)])
    return steps


def test_noise_is_the_enumerations():
    """Real scores: values by enumeration, up to rounding."""
    rng = np.random.default_rng(1)
    for name, solver in SOLVERS.items():
        for shape in ((3, 3), (2, 4), (4, 2)):
            theta = rng.normal(size=(10, *integers(rng, shape, solver).shape))
            for x, value in zip(theta, solver.value(theta), strict=True):
                np.testing.assert_allclose(value, by_enumeration(solver, x)[0], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SOLVERS)
def test_sizes_beyond_a_band(name, dtype):
    """More rows than lanes, more columns than a tile has steps; ties and closed entries."""
    solver, rng = SOLVERS[name], np.random.default_rng(2)
    for shape in ((17, 33), (1, 130), (70, 1), (20, 64)):
        theta = integers(rng, shape, solver).astype(dtype)
        if shape[0] % 2:
            theta = theta + rng.normal(size=theta.shape).astype(dtype)
        if min(shape) > 1:
            theta[rng.random(theta.shape) < 0.02] = -np.inf
        np.testing.assert_array_equal(solver(theta), solution(solver, theta))


# ---- lengths ----


@pytest.mark.parametrize("name", SOLVERS)
def test_lengths_by_row(name):
    rng = np.random.default_rng(3)
    solver = SOLVERS[name]
    theta = rng.normal(size=(2, 12, *integers(rng, (6, 7), solver).shape))
    n, m = rng.integers(0, 7, (2, 12)), rng.integers(0, 8, (2, 12))
    n[0, :3], m[0, 1:3] = 0, 0
    lengths = np.stack([n, m], -1)
    keep = theta.copy(), lengths.copy()
    y, values = solver(theta, lengths=lengths), solver.value(theta, lengths=lengths)
    strings = solver.cigar(y, lengths=lengths)
    layer = pt.Perturbed(solver, epsilon=0.3, samples=4, estimator="score")
    draws = layer.sample(theta, 4, seed=1, lengths=lengths)
    noisy = perturbed_items(theta, solver._item_ndim, noise="normal", epsilon=0.3, samples=4, seed=1)
    noisy = noisy.reshape(2, 12, 4, *theta.shape[2:])
    for i in np.ndindex(2, 12):
        part = slice(n[i]), slice(m[i])
        want = align(solver, theta[i][part])
        np.testing.assert_array_equal(y[i][part], solution(solver, theta[i][part]))
        assert y[i].sum() == y[i][part].sum()
        for k in range(4):
            np.testing.assert_array_equal(draws[i][k][part], solution(solver, noisy[i][k][part]))
            assert draws[i][k].sum() == draws[i][k][part].sum()
        if n[i] and m[i]:
            np.testing.assert_allclose(values[i], solver.value(theta[i][part]), rtol=1e-13)
            assert solver.cigar(y[i][part]) == strings[12 * i[0] + i[1]]
        elif solver.gap_open is not None:
            assert values[i] == -gap_costs(want[1], *options(solver)[2])
            assert strings[12 * i[0] + i[1]] == cigar(want[1])
        else:
            assert values[i] == 0
        np.testing.assert_array_equal(solver(theta[i], lengths=tuple(lengths[i])), y[i])
    # what lies outside is ignored, and has no gradient
    inside = (np.arange(6)[:, None] < n[..., None, None]) & (np.arange(7) < m[..., None, None])
    junk = theta.copy()
    junk[~inside] = np.nan
    same(layer(junk, seed=1, lengths=lengths), layer(theta, seed=1, lengths=lengths))
    grad = layer.vjp(junk, seed=1, lengths=lengths)[1](rng.normal(size=theta.shape))
    assert np.isfinite(grad).all()
    assert (grad[~inside] == 0).all()
    assert (grad != 0).any()
    loss, slope = pt.FenchelYoungLoss(layer, "none").value_and_grad(junk, y, seed=1, lengths=lengths)
    assert (loss >= 0).all()
    assert np.isfinite(loss).all()
    assert (slope[~inside] == 0).all()
    np.testing.assert_array_equal(theta, keep[0])
    np.testing.assert_array_equal(lengths, keep[1])


# ---- the fixed part ----


@pytest.mark.parametrize("name", [name for name, solver in SOLVERS.items() if solver.gap_open is not None])
def test_objective_has_the_cheapest_gaps(name):
    solver, rng = SOLVERS[name], np.random.default_rng(4)
    for shape in SHAPES:
        theta = rng.normal(size=shape)
        _, used, fixed = table(solver, *shape)
        best = {}
        for y, gaps in zip(used, fixed, strict=True):
            best[y.tobytes()] = max(best.get(y.tobytes(), -np.inf), gaps)
        for bits in range(2 ** min(np.prod(shape), 9)):
            y = np.array([bits >> k & 1 for k in range(np.prod(shape))], float)
            want = y @ theta.ravel() + best.get(y.tobytes(), -np.inf)
            np.testing.assert_allclose(solver.objective(theta, y.reshape(shape)), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_is_not_negative(dtype):
    """Draw by draw, against all alignments as targets; 0 where the target is every draw's solution."""
    rng = np.random.default_rng(5)
    for solver in SOLVERS.values():
        _, used, _ = table(solver, 2, 3)
        shape = integers(rng, (2, 3), solver).shape
        y = np.unique(used, axis=0).reshape(-1, *shape).astype(dtype)
        theta = np.broadcast_to((10 * rng.normal(size=shape)).astype(dtype), y.shape)
        loss = pt.FenchelYoungLoss(pt.Perturbed(solver, samples=1, epsilon=0.5), "none")
        assert all((loss(theta, y, seed=s) >= 0).all() for s in range(20))
        least = pt.FenchelYoungLoss(pt.Perturbed(solver, samples=1, epsilon=1e-6), "none")(theta, y, seed=1)
        assert least.min() < 1e-4


def test_y_is_no_alignment():
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Alignment("global", gap_open=1.0)))
    theta = np.zeros((2, 3, 3))
    for bad in (np.eye(3)[::-1], np.ones((3, 3)), np.eye(3) / 2):
        y = np.stack([np.eye(3), bad])
        with pytest.raises(ValueError, match=r"y\[1\] must be an alignment"):
            loss(theta, y)
        with pytest.raises(ValueError, match=r"y\[1\] must be an alignment"):
            loss.value_and_grad(theta, y)
    with pytest.raises(ValueError, match=r"y\[1\] must be an alignment"):
        loss(theta, np.stack([np.eye(3), np.eye(3)]), lengths=[[3, 3], [2, 2]])


# ---- three channels and nine edges ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nine_edges_are_three_channels(dtype):
    rng = np.random.default_rng(6)
    for shape in ((5, 6), (30, 41), (1, 4)):
        for kind in (rng.integers(-3, 4, (8, *shape, 3)), rng.normal(size=(8, *shape, 3))):
            theta = kind.astype(dtype)
            packed = pt.pack_alignment(*np.moveaxis(theta, -1, 0))
            assert packed.dtype == dtype
            y, edges = pt.Alignment("local")(theta), pt.Alignment("local", transitions=True)(packed)
            merged = np.stack([edges[..., :4].sum(-1), edges[..., [4, 6, 7]].sum(-1), edges[..., [5, 8]].sum(-1)], -1)
            ours, theirs = pt.Alignment("local").value(theta), (edges * packed).sum((1, 2, 3))
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)
            if kind.dtype == np.float64:  # no ties
                np.testing.assert_array_equal(merged, y)
    for solver, item in ((pt.Alignment("local"), theta), (pt.Alignment("local", transitions=True), packed)):
        np.testing.assert_array_equal(solver.pairs(solver(item))[0], pt.Alignment("local").pairs(y[0]))
        assert solver.cigar(solver(item)[0]) == pt.Alignment("local").cigar(y[0])


def test_pack_alignment():
    match = np.arange(6.0).reshape(2, 3)
    packed = pt.pack_alignment(match.tolist(), -3, np.full(3, -1.0, np.float32))
    assert packed.shape == (2, 3, 9)
    assert packed.dtype == np.float64
    assert packed[1, 2].tolist() == [5, 5, 5, 5, -3, -1, -3, -3, -1]
    assert pt.pack_alignment(match.astype(np.float32), -3.0, -1.0).dtype == np.float32
    assert pt.pack_alignment(np.zeros((4, 2, 3)), np.zeros((4, 1, 1)), -1).shape == (4, 2, 3, 9)
    assert np.isneginf(pt.pack_alignment(match.astype("f"), -np.inf, -1)[..., 4]).all()  # forbidden
    for args, error, words in (
        ((np.zeros(3), 0, 0), ValueError, "match must have at least 2 dimensions, got 1"),
        ((match, np.zeros(2), 0), ValueError, r"gap_open must broadcast to shape \(2, 3\), got \(2,\)"),
        ((match, 0, np.zeros((2, 3, 1))), ValueError, r"gap_extend must broadcast to shape \(2, 3\)"),
        ((match, 1j, 0), TypeError, "gap_open must be real"),
        ((match.astype("f"), -1e300, -1), ValueError, r"^gap_open must be within the range of float32, got -1e\+300$"),
        ((match.astype("f"), -1, 1e39), ValueError, r"^gap_extend must be within the range of float32, got 1e\+39$"),
        ((np.zeros((2, 2), complex), 0, 0), TypeError, "match must be real"),
    ):
        with pytest.raises(error, match=words):
            pt.pack_alignment(*args)


# ---- errors ----


def test_bad_options():
    for args, kwargs, error, words in (
        (("overlap",), {}, ValueError, "mode must be one of 'global', 'local', 'semiglobal', got 'overlap'"),
        (("global",), {"gap_open": -1}, ValueError, "gap_open must be a penalty >= 0, got -1"),
        (("global",), {"gap_open": 1, "gap_extend": -0.5}, ValueError, "gap_extend must be a penalty >= 0, got -0.5"),
        (("global",), {"gap_open": np.nan}, ValueError, "gap_open must be a penalty >= 0, got nan"),
        (("global",), {"gap_open": np.inf}, ValueError, "gap_open must be a penalty >= 0, got inf"),
        (("global",), {"gap_open": "1"}, TypeError, "gap_open must be a real number or None, got '1'"),
        (("global",), {"gap_open": True}, TypeError, "gap_open must be a real number or None, got True"),
        (("global",), {"gap_open": [1.0]}, TypeError, "gap_open must be a real number or None"),
        (("global",), {"gap_extend": 1}, ValueError, "gap_extend needs gap_open beside it, got gap_extend=1.0 alone"),
        (("global",), {"transitions": True}, ValueError, "mode must be 'local' with transitions=True, got 'global'"),
        (("local",), {"transitions": 1}, TypeError, "transitions must be True or False, got 1"),
        (("local",), {"transitions": True, "gap_open": 1}, ValueError, "gap_open must not be given with transitions"),
        (("local",), {"free_ends": ("query",)}, ValueError, "free_ends is for mode 'semiglobal', got"),
        (("semiglobal",), {"free_ends": "query"}, ValueError, "free_ends must be a tuple of 'query' and 'target'"),
        (("semiglobal",), {"free_ends": ("rows",)}, ValueError, r"free_ends must be a tuple .* got \('rows',\)"),
        (("local", 1), {}, TypeError, "positional"),
    ):
        with pytest.raises(error, match=words):
            pt.Alignment(*args, **kwargs)
    assert pt.Alignment("semiglobal", free_ends=["target", "query"]) == pt.Alignment("semiglobal")
    assert pt.Alignment("local", gap_open=np.float32(2)) == pt.Alignment("local", gap_open=2.0)


def test_bad_theta():
    fixed = pt.Alignment("local", gap_open=1.0)
    with pytest.raises(ValueError, match="theta must have at least 2 dimensions, got 1"):
        fixed(np.zeros(3))
    for solver, shape, words in (
        (pt.Alignment("local"), (3, 4), "theta must have at least 3 dimensions, got 2"),
        (pt.Alignment("local"), (3, 4, 9), r"theta must have items of shape \(n, m, 3\), got shape \(3, 4, 9\)"),
        (
            pt.Alignment("local", transitions=True),
            (2, 3, 4, 3),
            r"items of shape \(n, m, 9\), got shape \(2, 3, 4, 3\)",
        ),
        (fixed, (2, 0, 3), r"theta must have at least one entry an item, got shape \(2, 0, 3\)"),
    ):
        for call in (solver, pt.Perturbed(solver), solver.value):
            with pytest.raises(ValueError, match=words):
                call(np.zeros(shape))


def test_bad_lengths():
    solver, theta = pt.Alignment("local", gap_open=1.0), np.zeros((2, 3, 4))
    for lengths, words in (
        ([[3, 4], [4, 4]], r"lengths must be in 0..3 and 0..4, got \(4, 4\) in row 1"),
        ((-1, 2), r"lengths must be in 0..3 and 0..4, got \(-1, 2\) in row 0"),
        ([[3, 4]] * 3, r"lengths must broadcast to shape \(2, 2\), got \(3, 2\)"),
    ):
        for call in (solver, pt.Perturbed(solver), solver.value, lambda x, lengths: solver.cigar(solver(x), lengths)):
            with pytest.raises(ValueError, match=words):
                call(theta, lengths=lengths)
    with pytest.raises(TypeError, match="lengths must be integers, got float64"):
        solver(theta, lengths=[3.0, 4.0])


def test_nothing_allowed():
    """With fixed gaps something is always left; learned ones may have no way from end to end."""
    closed = np.zeros((2, 3, 4), bool)
    closed[0] = True
    theta = np.ones((2, 3, 4))
    assert pt.Alignment("local", gap_open=1.0).value(theta, mask=closed).tolist() == [3, 0]
    assert pt.Alignment("global", gap_open=1.0).value(theta, mask=closed).tolist() == [2, -7]
    mask = np.broadcast_to(closed[..., None], (2, 3, 4, 3))
    learned = np.ones((2, 3, 4, 3))
    assert pt.Alignment("local").value(learned, mask=mask)[1] == 0
    assert pt.Alignment("semiglobal").value(learned, mask=mask)[1] == 0
    for solver in (pt.Alignment("global"), pt.Alignment("semiglobal", free_ends=("query",))):
        with pytest.raises(ValueError, match=r"^theta\[1\]: no alignment of 3 rows and 4 columns over entries that"):
            solver(learned, mask=mask)
        with pytest.raises(ValueError, match=r"^theta\[1\]: no alignment of 2 rows and 3 columns"):
            pt.Perturbed(solver)(learned, mask=mask, lengths=(2, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_that_overflow(dtype):
    theta = np.full((2, 3, 3), np.finfo(dtype).max, dtype)
    theta[0] = 0
    for mode in ("global", "local", "semiglobal"):
        with pytest.raises(ValueError, match=r"^theta\[1\]: the score of the alignment overflows$"):
            pt.Alignment(mode, gap_open=1.0)(theta)
    with pytest.raises(ValueError, match=r"^theta: the score of the alignment overflows$"):
        pt.Alignment("global", gap_open=np.finfo(dtype).max)(-theta[1])


def test_bad_solutions_of_decoders():
    fixed, edges = pt.Alignment("global", gap_open=1.0), pt.Alignment("local", transitions=True)
    for decoder in (fixed.pairs, fixed.cigar):
        for bad in (np.ones((2, 2)), np.eye(2)[::-1]):
            with pytest.raises(ValueError, match=r"^y must be one alignment, got [24] matched cells"):
                decoder(bad)
            with pytest.raises(ValueError, match=r"^y\[1, 0\] must be one alignment, got [24] matched cells"):
                decoder([[np.eye(2)], [bad]])
        with pytest.raises(ValueError, match=r"^y must be 0 or 1, got 2.0 at y\[0, 0\]$"):
            decoder(2 * np.eye(2))
    with pytest.raises(ValueError, match=r"y must be an alignment within lengths \(1, 2\), got a match at \(1, 1\)"):
        fixed.cigar(np.eye(2), lengths=(1, 2))
    with pytest.raises(ValueError, match=r"y must have items of shape \(n, m, 9\)"):
        edges.pairs(np.zeros((2, 2, 3)))
    assert fixed.pairs(np.zeros((2, 2))).shape == (0, 2)
    assert edges.cigar(np.zeros((3, 2, 2, 9))) == ["", "", ""]
    twice = np.zeros((2, 2, 3))
    twice[0, 0, 0] = 2
    with pytest.raises(ValueError, match=r"^y must be one alignment, got 1 matched cells that are none"):
        pt.Alignment("local").pairs(twice)


LEARNED = [name for name, solver in SOLVERS.items() if solver.gap_open is None]


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 2), (3, 2)])
def test_counts_of_gaps_are_checked(name, shape):
    """Every y of an alignment is decoded; one count more or less is refused unless that is another alignment's."""
    solver, rng = SOLVERS[name], np.random.default_rng(7)
    channels = options(solver)[1]
    alignments, ys, _ = table(solver, *shape)
    known = {y.tobytes() for y in np.asarray(ys, float)}
    for alignment, row in zip(alignments, np.asarray(ys, float), strict=True):
        same = {cigar(a[1]) for a, y in zip(alignments, ys, strict=True) if (y == row).all()}
        assert cigar(alignment[1]) in same
        assert solver.cigar(row.reshape(*shape, channels)) in same
        for at in rng.permutation(len(row))[:6]:
            wrong = row.copy()
            wrong[at] += 1 if wrong[at] == 0 or rng.random() < 0.5 else -1
            if wrong.tobytes() not in known:
                with pytest.raises(ValueError, match=r"^y must be "):
                    solver.cigar(wrong.reshape(*shape, channels))


def test_counts_of_gaps_that_do_not_fit():
    match = np.zeros((3, 3, 3))
    match[0, 1, 0] = 1
    free = pt.Alignment("semiglobal", free_ends=("query",))
    none = pt.Alignment("semiglobal", free_ends=())
    with pytest.raises(ValueError, match=r"^y must be an alignment, got counts of gaps that none has$"):
        free.cigar(np.zeros((2, 2, 3)))
    for solver in (pt.Alignment("global"), none):
        for bad, steps in ((match, "1D1M1D2I"), (np.zeros((2, 2, 3)), "2D2I")):
            with pytest.raises(ValueError, match=rf"^y must be an alignment, got other counts of .* steps '{steps}'$"):
                solver.cigar(bad)
    edges = np.zeros((3, 3, 9))
    edges[0, 0, 1] = 1  # a match after a match, and none before it
    with pytest.raises(ValueError, match=r"^y\[1\] must be an alignment, got other counts of gaps .* steps '1M'$"):
        pt.Alignment("local", transitions=True).cigar([0 * edges, edges])
    # beside an empty sequence no gap has a cell
    assert pt.Alignment("global").cigar(np.zeros((2, 2, 3)), lengths=(0, 2)) == "2D"
    for solver in (pt.Alignment("global"), free):
        with pytest.raises(ValueError, match=r"^y must be an alignment, got other counts of gaps"):
            solver.cigar(np.eye(3)[None, [1]], lengths=(0, 1))


# ---- the soft counterpart ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SOLVERS)
def test_soft_value_sums_over_all_alignments(name, dtype):
    solver, rng = SOLVERS[name], np.random.default_rng(7)
    rtol = 1e-12 if dtype == np.float64 else 1e-6
    for shape in SHAPES:
        theta = rng.normal(size=integers(rng, shape, solver).shape).astype(dtype)
        if min(shape) > 2:
            theta[1, 1] = -np.inf
        _, used, fixed = table(solver, *shape)
        closed = np.isneginf(theta.ravel())
        score = used @ np.where(closed, 0, theta.ravel()) + fixed
        score[(used[:, closed] > 0).any(1)] = -np.inf
        for temperature in (1, 0.3, 5.0):
            weights = np.exp((score - score.max()) / temperature)
            want = temperature * np.log(weights.sum()) + score.max()
            grad = (weights / weights.sum()) @ used
            value, slope = solver.soft_value_and_grad(theta, temperature)
            assert value.dtype == slope.dtype == dtype
            np.testing.assert_allclose(value, want, rtol=rtol, atol=rtol)
            np.testing.assert_allclose(slope.ravel(), grad, rtol=rtol, atol=rtol)
            same(solver.soft_value(theta, temperature=temperature), value)


@pytest.mark.parametrize("name", SOLVERS)
def test_soft_value_of_longer_ones(name):
    """Finite differences; lengths; the limit T -> 0."""
    solver, rng = SOLVERS[name], np.random.default_rng(8)
    theta = rng.normal(size=(3, *integers(rng, (9, 11), solver).shape))
    lengths = [[9, 11], [4, 6], [0, 3]]
    value, grad = solver.soft_value_and_grad(theta, 0.7, lengths=lengths)
    step = rng.normal(size=theta.shape)
    ahead, behind = (solver.soft_value(theta + h * step, 0.7, lengths=lengths) for h in (1e-5, -1e-5))
    axes = tuple(range(1, theta.ndim))
    np.testing.assert_allclose((ahead - behind) / 2e-5, (grad * step).sum(axes), rtol=1e-7, atol=1e-7)
    assert (grad[1, 4:] == 0).all()
    assert (grad[2] == 0).all()
    same(value[1], solver.soft_value(theta[1, :4, :6], 0.7))
    hard = solver.value(theta, lengths=lengths)
    assert (value >= hard).all()
    cold, y = solver.soft_value_and_grad(theta, 1e-4, lengths=lengths)
    np.testing.assert_allclose(cold, hard, atol=1e-3)
    np.testing.assert_allclose(y, solver(theta, lengths=lengths), atol=1e-6)
    with pt.threads(1):
        same(solver.soft_value_and_grad(theta, 0.7, lengths=lengths)[1], grad)


def test_bad_temperatures():
    solver = pt.Alignment("local", gap_open=1.0)
    for temperature, error, words in (
        (0, ValueError, "temperature must be positive and finite, got 0"),
        (-1.5, ValueError, "temperature must be positive and finite, got -1.5"),
        (np.nan, ValueError, "temperature must be positive and finite, got nan"),
        ("1", TypeError, "temperature must be a real number, got '1'"),
        ([1.0], TypeError, "temperature must be a real number"),
    ):
        with pytest.raises(error, match=words):
            solver.soft_value(np.zeros((2, 2)), temperature)
    with pytest.raises(ValueError, match=r"^theta\[1\]: no alignment of"):
        pt.Alignment("global").soft_value(np.stack([np.zeros((2, 2, 3)), np.full((2, 2, 3), -np.inf)]))
    with pytest.raises(ValueError, match=r"theta must not contain NaN, got NaN at theta\[0, 1\]"):
        solver.soft_value(np.array([[0, np.nan]]))
    with pytest.raises(ValueError, match=r"^theta: the score of the alignment overflows"):
        solver.soft_value(np.full((3, 3), 1e308))


# ---- real proteins against biotite and parasail ----

# human hemoglobin, alpha and beta
ALPHA = (
    "VLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAV"
    "AHVDDMPNALSALSDLHAHKLRVDPVNFKLLSHCLLVTLAAHLPAEFTPAVHASLDKFLASVSTVLTSKYR"
)
BETA = (
    "VHLTPEEKSAVTALWGKVNVDEVGGEALGRLLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHL"
    "DNLKGTFATLSELHCDKLHVDPENFRLLGNVLVCVLAHHFGKEFTPPVQAAYQKVVAGVANALAHKYH"
)
PROTEINS = [(ALPHA, BETA), (ALPHA, BETA[30:70]), (BETA[:25], ALPHA[100:]), (ALPHA[20:60], ALPHA), (BETA, BETA)]


@pytest.fixture(scope="module")
def blosum():
    return aligners.SubstitutionMatrix.std_protein_matrix()


@pytest.mark.parametrize("gaps", [(11, 1), (5, 5), (8, 2)])
def test_scores_are_biotites(blosum, gaps):
    for a, b in PROTEINS:
        first, second = sequence.ProteinSequence(a), sequence.ProteinSequence(b)
        theta = np.array([[blosum.get_score(x, y) for y in b] for x in a], float)
        for mode, local in (("global", False), ("local", True)):
            solver = pt.Alignment(mode, gap_open=gaps[0], gap_extend=gaps[1])
            penalty = -gaps[0] if gaps[0] == gaps[1] else (-gaps[0], -gaps[1])
            options = {"gap_penalty": penalty, "local": local, "terminal_penalty": True, "max_number": 1}
            theirs = aligners.align_optimal(first, second, blosum, **options)[0]
            assert solver.value(theta) == theirs.score
            scores = aligners.score(theirs, blosum, penalty, terminal_penalty=not local)
            pairs = theirs.trace[(theirs.trace >= 0).all(1)]
            y = np.zeros_like(theta)
            y[tuple(pairs.T)] = 1
            assert solver.objective(theta, y) == scores == theirs.score


@pytest.mark.parametrize("gaps", [(11, 1), (5, 5), (8, 2)])
def test_scores_are_parasails(gaps):
    matrix, order = parasail.blosum62, "ARNDCQEGHILKMFPSTWYVBZX*"
    for a, b in PROTEINS:
        theta = matrix.matrix[np.ix_([order.index(x) for x in a], [order.index(y) for y in b])].astype(float)
        for mode, free, name in (
            ("global", ENDS, "nw"),
            ("local", ENDS, "sw"),
            ("semiglobal", ENDS, "sg"),
            ("semiglobal", ("query",), "sg_qx"),
            ("semiglobal", ("target",), "sg_dx"),
        ):
            solver = pt.Alignment(mode, gap_open=gaps[0], gap_extend=gaps[1], free_ends=free)
            theirs = getattr(parasail, name)(a, b, *gaps, matrix).score
            assert solver.value(theta) == theirs, (name, len(a), len(b))


# ---- derivatives against exact ones ----


@pytest.mark.parametrize(
    ("solver", "shape"),
    [
        (pt.Alignment("global", gap_open=0.7, gap_extend=0.2), (2, 3)),
        (pt.Alignment("semiglobal", gap_open=0.3), (3, 2)),
        (pt.Alignment("local"), (2, 2, 3)),
        (pt.Alignment("global"), (1, 2, 3)),
        (pt.Alignment("local", transitions=True), (1, 2, 9)),
    ],
)
def test_vjp_of_every_channel(solver, shape):
    """J^T g against differences of a mean over the enumeration's maxima, with the same noise on both sides."""
    rng = np.random.default_rng(9)
    theta, g = rng.normal(size=shape), rng.normal(size=shape)
    _, used, fixed = table(solver, *shape[:2])
    draws, h = 10000, 0.1
    z = rng.normal(size=(draws, theta.size))

    def mean_dot(x):
        best = ((x.ravel() + z) @ used.T + fixed).argmax(1)
        return (used @ g.ravel())[best]

    est = pt.Perturbed(solver, samples=20000, estimator="score", seed=1).estimate(theta)
    grad, error = est.vjp(g).ravel(), est.vjp_stderr(g).ravel()
    for j in range(theta.size):
        step = np.zeros(theta.size)
        step[j] = h
        change = (mean_dot(theta.ravel() + step) - mean_dot(theta.ravel() - step)) / (2 * h)
        z_score = (grad[j] - change.mean()) / np.hypot(error[j], change.std() / np.sqrt(draws))
        assert abs(z_score) < 5 + 2 * h, j


# ---- large batches take shorter ways ----


@pytest.mark.parametrize("samples", [1, 3])
def test_a_batch_of_many_megabytes_is_its_parts(samples, memory_limit):
    """y comes zeroed and only what codes name is divided; y is handed over and the pullback does without it."""
    rng = np.random.default_rng(5)
    theta = rng.integers(-5, 4, (9, 1000, 1000)).astype(np.float32)
    theta[4, :30] = -np.inf
    g = rng.standard_normal(theta.shape, dtype=np.float32)
    layer = pt.Perturbed(
        pt.Alignment("local", gap_open=4, gap_extend=1), samples=samples, estimator="score", sampler="iid", seed=3
    )
    whole, pullback = layer.vjp(theta, seed=7)
    y = whole.copy()
    whole[:] = 5
    grad = pullback(g)
    same(grad, pullback(g))
    same(y, layer(theta, seed=7))
    memory_limit(2000)  # no codes are kept: the mean's product comes from the mean
    for r in range(len(theta)):
        part, pull = layer.vjp(theta[r : r + 1], seed=7, row_offset=r)
        assert part.sum() > 100
        same(part, y[r : r + 1])
        same(pull(g[r : r + 1]), grad[r : r + 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_large_cotangent_that_is_not_finite(dtype, bad):
    theta = np.zeros((3, 700, 700), dtype)
    pullback = pt.Perturbed(pt.Alignment("local", gap_open=1.0), samples=1, estimator="score").vjp(theta)[1]
    for at in ((0, 0, 0), (1, 333, 77), (2, 699, 699)):
        g = np.full_like(theta, np.finfo(dtype).max)
        g[at] = bad
        with pytest.raises(ValueError, match=rf"g must be finite, got {bad} at g\[{at[0]}, {at[1]}, {at[2]}\]"):
            pullback(g)
