"""Write math_answers.csv: known answers for csrc/math.tmpl.h, correctly rounded from 60 digits.   Needs mpmath.

Columns: function, dtype (f32, f64), x (hex float; the integer k for sin_turn and cos_turn), y (repr of the value as a
double).
"""

import csv
import math
import random
import struct
from pathlib import Path

from mpmath import mp, mpf

mp.dps = 60
LAYOUT = {"f32": (24, -149, 128), "f64": (53, -1074, 1024)}  # digits, least exponent, overflow


def rounded(value, dtype):
    digits, least, most = LAYOUT[dtype]
    if not mp.isfinite(value) or value == 0:
        return float(value)
    ulp = mpf(2) ** max(mp.frexp(value)[1] - digits, least)
    value = mp.nint(value / ulp) * ulp
    return float(value) if abs(value) < mpf(2) ** most else math.copysign(math.inf, value)


def to_dtype(x, dtype):
    return struct.unpack("<f", struct.pack("<f", x))[0] if dtype == "f32" and math.isfinite(x) else x


def upper(x):
    return mp.erfc(x / mp.sqrt(2)) / 2


def log_ndtr(x):
    return mp.log1p(-upper(x)) if x > 0 else mp.log(upper(-x))


def mills(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi) / upper(-x)


# name: function, its domain as (lo, hi), values at -inf and inf, a spread of points to mix with small and edge values
REAL = {
    "log": (lambda x: mp.log(x) if x else -mp.inf, (0, mp.inf), (mp.nan, mp.inf)),
    "log1p": (lambda x: mp.log1p(x) if x > -1 else -mp.inf, (-1, mp.inf), (mp.nan, mp.inf)),
    "exp": (mp.exp, (-mp.inf, mp.inf), (0, mp.inf)),
    "expm1": (mp.expm1, (-mp.inf, mp.inf), (-1, mp.inf)),
    "tanh_half": (lambda x: mp.tanh(x / 2), (-mp.inf, mp.inf), (-1, 1)),
}
REAL64 = {
    "log_ndtr": (log_ndtr, (-1e8, 38), (-mp.inf, 0)),
    "mills": (mills, (-1e8, 38), (mp.inf, 0)),
    "ndtr": (lambda x: upper(-x), (-1e8, 38), (0, 1)),
}


def points(dtype, rng):
    digits, least, most = LAYOUT[dtype]
    tiny, top = math.ldexp(1.0, least + digits - 1), math.ldexp(2.0 - math.ldexp(2.0, -digits), most - 1)
    eps = math.ldexp(1.0, 1 - digits)
    edges = [0.0, math.ldexp(1.0, least), tiny, tiny - math.ldexp(1.0, least), top, 1.0, 1.0 - eps / 2, 1.0 + eps, 2.0]
    edges += [
        math.log(2) / 2,
        math.sqrt(0.5),
        math.sqrt(2),
        9.0,
        17.0,
        37.5,
        87.5,
        88.8,
        103.9,
        105.0,
        709.5,
        710.0,
        745.5,
        746.5,
    ]
    spread = (
        [rng.uniform(0, 4) for _ in range(8)]
        + [10 ** rng.uniform(-12, 3) for _ in range(8)]
        + [rng.uniform(0, 38) for _ in range(6)]
    )
    return sorted({to_dtype(s * x, dtype) for x in edges + spread for s in (1, -1)})


def rows():
    rng = random.Random(1)
    for dtype, (digits, least, _most) in LAYOUT.items():
        for name, (f, (lo, hi), (at_minus, at_plus)) in {**REAL, **(REAL64 if dtype == "f64" else {})}.items():
            for x in points(dtype, rng):
                if lo <= x <= hi:
                    yield name, dtype, x.hex(), rounded(mpf(f(mpf(x))), dtype)
                elif name in REAL and x < -1:
                    yield name, dtype, x.hex(), math.nan
            for x, y in ((-math.inf, at_minus), (math.inf, at_plus), (math.nan, mp.nan)):
                yield name, dtype, x.hex(), float(y)
        for x in points(dtype, rng):
            if math.ldexp(1.0, least + digits - 1) <= x:
                yield "log_pos", dtype, x.hex(), rounded(mp.log(mpf(x)), dtype)
        bits = 32 if dtype == "f32" else 53
        eighths = [(i << (bits - 3)) + d & (1 << bits) - 1 for i in range(8) for d in (-1, 0, 1)]
        for k in sorted(eighths + [rng.getrandbits(bits) for _ in range(16)]):
            angle = 2 * mp.pi * (k + mpf(1) / 2) / 2**bits
            yield "sin_turn", dtype, k, rounded(mp.sin(angle), dtype)
            yield "cos_turn", dtype, k, rounded(mp.cos(angle), dtype)
    for x in sorted({x for x in points("f64", rng) if 0 < x <= 1} | {rng.random() for _ in range(24)}):
        yield "lgamma_unit", "f64", x.hex(), rounded(mp.loggamma(mpf(x)), "f64")


with Path(__file__).with_name("math_answers.csv").open("w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("function", "dtype", "x", "y"))
    writer.writerows(rows())
