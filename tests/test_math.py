"""The core's elementary functions against known answers (data/math_answers.csv), within their stated errors."""

import csv
import math
from collections import defaultdict
from pathlib import Path

import mpmath
import numpy as np
import pytest

from perturbed import _core

DTYPES = {"f32": np.float32, "f64": np.float64}
ULPS = {"log": 0.97, "log_pos": 0.97, "log1p": 1.6, "exp": 1.1, "expm1": 2.0, "tanh_half": 2.6}
RELATIVE = {"log_ndtr": 2e-15, "mills": 2e-15, "ndtr": 2e-15}
TURNS = {"f32": 9e-8, "f64": 1.4e-16}


def read_answers():
    answers = defaultdict(lambda: ([], []))
    with (Path(__file__).parent / "data" / "math_answers.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            turn = line["function"].endswith("turn")
            x, y = answers[line["function"], line["dtype"]]
            x.append(float(int(line["x"])) if turn else float.fromhex(line["x"]))
            y.append(float(line["y"]))
    return {name: (np.array(x), np.array(y)) for name, (x, y) in answers.items()}


ANSWERS = read_answers()


def evaluate(name, dtype, x):
    result = _core.math(name, np.ascontiguousarray(x, DTYPES[dtype]))
    assert result.dtype == DTYPES[dtype]
    return result.astype(float)


def ulp(y, dtype):
    """Distance of neighbours at y, in this precision."""
    info = np.finfo(DTYPES[dtype])
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log2(np.abs(y)))
    return np.ldexp(1.0, np.maximum(exponent - info.nmant, np.log2(info.smallest_subnormal)).astype(int))


def special_values(y):
    return ~np.isfinite(y) | (y == 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ULPS)
def test_ulps(name, dtype):
    x, y = ANSWERS[name, dtype]
    got = evaluate(name, dtype, x)
    edge = special_values(y)
    np.testing.assert_array_equal(got[edge], y[edge])
    # the answers are themselves rounded, by half a unit: the stated errors are against unrounded values
    got, y = got[~edge], y[~edge]
    assert len(y) > 30
    assert (np.abs(got - y) / ulp(y, dtype)).max() <= ULPS[name] + 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ULPS if name != "log_pos"])
def test_unrounded_ulps(name, dtype):
    function = {"log": mpmath.log, "log1p": mpmath.log1p, "exp": mpmath.exp, "expm1": mpmath.expm1}.get(
        name, lambda t: mpmath.tanh(t / 2)
    )
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(-1, 1, 400), rng.uniform(-80, 80, 200), 10 ** rng.uniform(-6, 1, 200)])
    x = np.abs(x) if name == "log" else np.where(x <= -1, -x, x) if name == "log1p" else x
    x = x.astype(DTYPES[dtype]).astype(float)
    got = evaluate(name, dtype, x)
    with mpmath.workdps(40):
        exact = [function(mpmath.mpf(t)) for t in x]
        off = np.array([float(abs(mpmath.mpf(a) - b)) for a, b in zip(got, exact, strict=True)])
        size = ulp(np.array([float(b) for b in exact]), dtype)
    assert (off / size).max() <= ULPS[name]


@pytest.mark.parametrize("name", RELATIVE)
def test_normal_tails(name):
    x, y = ANSWERS[name, "f64"]
    got = evaluate(name, "f64", x)
    edge = special_values(y)
    np.testing.assert_array_equal(got[edge], y[edge])
    normal = ~edge & (np.abs(y) >= np.finfo(float).tiny)
    assert normal.sum() > 40
    assert np.abs(got[normal] / y[normal] - 1).max() <= RELATIVE[name]
    small = ~edge & ~normal
    assert (np.abs(got[small] - y[small]) <= 2 * np.finfo(float).smallest_subnormal).all()


def test_lgamma():
    x, y = ANSWERS["lgamma_unit", "f64"]
    got = evaluate("lgamma_unit", "f64", x)
    assert (np.abs(got - y) / (1 + np.abs(y))).max() <= 2e-16
    assert evaluate("lgamma_unit", "f64", [1.0])[0] == 0
    assert evaluate("lgamma_unit", "f64", [0.5])[0] == pytest.approx(math.log(math.pi) / 2, rel=4e-16)


@pytest.mark.parametrize("name", ["sin_turn", "cos_turn"])
def test_turns(name):
    """sin and cos of 2 pi (k + 1/2) 2^-53."""
    k, y = ANSWERS[name, "f64"]
    assert np.abs(evaluate(name, "f64", k) - y).max() <= TURNS["f64"]


@pytest.mark.parametrize("name", ["sin_turn", "cos_turn"])
def test_turns_in_single(name):
    """sin and cos of 2 pi (k + 1/2) 2^-32, at the k that a float holds."""
    top = np.random.default_rng(3).integers(2**24, size=4000).astype(float) * 256
    k = np.concatenate([top, np.arange(3000.0), np.arange(8) * 2.0**29, 2.0**32 - 256 * np.arange(1, 100)])
    function = np.sin if name == "sin_turn" else np.cos
    exact = function(2 * np.pi * (k + 0.5) / 2**32)
    assert np.abs(evaluate(name, "f32", k) - exact).max() <= TURNS["f32"]
    known = ANSWERS[name, "f32"]
    held = known[0].astype(np.float32) == known[0]
    assert held.sum() >= 8
    assert np.abs(evaluate(name, "f32", known[0][held]) - known[1][held]).max() <= TURNS["f32"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_edges(dtype):
    inf = math.inf
    info = np.finfo(DTYPES[dtype])
    cases = {
        "log": [(1, 0), (0, -inf), (inf, inf), (-1, math.nan)],
        "log1p": [(0, 0), (-1, -inf), (inf, inf), (-1.5, math.nan)],
        "exp": [(0, 1), (-inf, 0), (inf, inf), (1e4, inf), (-1e4, 0)],
        "expm1": [(0, 0), (-inf, -1), (inf, inf), (-1e4, -1)],
        "tanh_half": [(0, 0), (-inf, -1), (inf, 1), (200, 1), (-200, -1)],
    }
    for name, pairs in cases.items():
        x, y = np.array(pairs, float).T
        np.testing.assert_array_equal(evaluate(name, dtype, x), y, err_msg=name)
        assert np.isnan(evaluate(name, dtype, [math.nan])).all(), name
    assert evaluate("log", dtype, [info.smallest_subnormal])[0] == pytest.approx(
        math.log(info.smallest_subnormal), rel=1e-6
    )
    assert evaluate("exp", dtype, [math.log(float(info.tiny)) - 3])[0] > 0  # underflows gradually
    assert np.signbit(_core.math("tanh_half", np.array([-0.0], DTYPES[dtype])))[0]


def test_every_length_gives_the_same_bits():
    """Vector bodies and scalar ends of loops agree."""
    x = np.random.default_rng(1).uniform(0.01, 9, 67)
    for dtype in DTYPES:
        for name in [*ULPS, "sin_turn", "cos_turn"]:
            whole = evaluate(name, dtype, x)
            assert (whole == [evaluate(name, dtype, [t])[0] for t in x]).all(), name


def test_refusals():
    with pytest.raises(ValueError, match="elementary function of the core, got sinh"):
        _core.math("sinh", np.ones(2))
    with pytest.raises(ValueError, match="got ndtr"):
        _core.math("ndtr", np.ones(2, np.float32))
    with pytest.raises(TypeError, match="C-contiguous float32 or float64"):
        _core.math("exp", np.ones((4, 4))[:, ::2])
    with pytest.raises(TypeError, match="C-contiguous float32 or float64"):
        _core.math("exp", np.ones(2, int))
