"""Compute the polynomial coefficients of math.tmpl.h.   python csrc/fit_polynomials.py [NAME ...]

Each polynomial minimises the largest weighted error |w(x) (g(x) - p(x))| over an interval (Remez exchange on a fine
grid of Chebyshev points, 60 digits). On [0, hi] coefficients are rounded one at a time, from the constant term up, and
the remaining ones are fitted again to what is left, so that the rounding of one is made good by the next; on intervals
around 0, where the exchange does not converge for what is left, all are rounded at once. Needs mpmath; printed values
are hex floats.
"""

import sys
from itertools import pairwise

import numpy as np
from mpmath import mp, mpf

mp.dps = 60
GRID = 1200


def remez(x, g, w, n):
    """The n coefficients of the best polynomial on the grid, and its largest weighted error."""
    at = np.unique(np.round((1 - np.cos(np.pi * np.arange(n + 1) / n)) / 2 * (len(x) - 1)).astype(int))
    best, best_error = None, mp.inf
    for _ in range(12):
        rows = [[x[i] ** j for j in range(n)] + [(-1) ** s / w[i]] for s, i in enumerate(at)]
        c = list(mp.lu_solve(mp.matrix(rows), mp.matrix([g[i] for i in at])))[:n]
        p = x * 0
        for coefficient in reversed(c):
            p = p * x + coefficient
        error = w * (g - p)
        worst = max(abs(error))
        if worst < best_error:
            best, best_error = c, worst
        sign = error > 0
        starts = [0, *(np.flatnonzero(sign[1:] != sign[:-1]) + 1), len(x)]
        peaks = [a + int(np.argmax(abs(error[a:b]))) for a, b in pairwise(starts)]
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        if len(peaks) <= n or list(at) == peaks:
            break
        at = peaks
    return best, best_error


def rounded(value, dtype):
    """Nearest float32 or float64, as a Python float (mpmath rounds correctly to the precision asked for)."""
    with mp.workprec(24 if dtype == "f32" else 53):
        return float(+value)


def fit(f, weight, lo, hi, n, dtype):
    """Rounded coefficients, and the largest weighted error after rounding."""
    lo, hi = mpf(lo), mpf(hi)
    x = np.array([(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * (i + mpf(1) / 2) / GRID) for i in range(GRID)])
    g, w = np.array([f(v) for v in x]), np.array([abs(weight(v)) for v in x])
    coefficients, c = [], None
    for left in range(n, 0, -1):
        c = remez(x, g, w, left)[0] if lo == 0 or left == n else c[1:]
        coefficients.append(rounded(c[0], dtype))
        g, w = (g - coefficients[-1]) / x, w * abs(x)
    return coefficients, max(abs(w * g))


def log_tail(z):
    """(log((1 + s)/(1 - s)) - 2 s)/(s z), z = s^2."""
    s = mp.sqrt(z)
    return 2 * (mp.atanh(s) / s - 1) / z


def scaled_erfc(v):
    """(a + K) exp(a^2/2) erfc(a/sqrt 2) where v = 1 - 2 K/(a + K)."""
    a = K * (1 + v) / (1 - v)
    return (a + K) * mp.exp(a * a / 2) * mp.erfc(a / mp.sqrt(2))


def lgamma_tail(v):
    """log Gamma(1 + x)/(x (x - 1)), x = v + 1/2."""
    x = v + mpf(1) / 2
    return mp.loggamma(1 + x) / (x * (x - 1))


def scaled_tail(a):
    """exp(a^2/2) erfc(a/sqrt 2) / 2."""
    return mp.exp(a * a / 2) * mp.erfc(a / mp.sqrt(2)) / 2


K = mpf(5)
H = mpf("2.8")
Z_LOG = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mpf("1.0001")
R_EXP = mp.log(2) / 2 * mpf("1.0001")


def polynomials(dtype):
    """name: function, weight that turns its error into the error of the result, interval, number of coefficients."""
    turn = mp.pi / 2
    first = rounded(turn, dtype)

    def sin_tail(z):
        y = mp.sqrt(z)
        return (mp.sin(turn * y) - first * y) / (y * z)

    def cos_tail(z):
        return (mp.cos(turn * mp.sqrt(z)) - 1) / z

    def pick(n32, n64):
        return n32 if dtype == "f32" else n64

    return {
        "log_tail": (log_tail, lambda z: z, 0, Z_LOG, pick(3, 7)),
        "exp_tail": (lambda r: (mp.expm1(r) - r) / r**2, lambda r: r * r / mp.expm1(r), -R_EXP, R_EXP, pick(5, 11)),
        "sin_tail": (sin_tail, lambda z: z * mp.sqrt(z), 0, mpf(1) / 4, pick(3, 6)),
        "cos_tail": (cos_tail, lambda z: z, 0, mpf(1) / 4, pick(4, 7)),
        "erfc_tail": (scaled_erfc, lambda v: 1 / scaled_erfc(v), -1, 1, pick(0, 24)),
        "pair_tail": (
            lambda v: scaled_tail(H * (1 + v)),
            lambda v: mp.exp(-((H * (1 + v)) ** 2) / 2),
            -1,
            1,
            pick(11, 0),
        ),
        "lgamma_tail": (lgamma_tail, lambda v: 1, mpf(-1) / 2, mpf(1) / 2, pick(0, 20)),
    }


def main(names):
    for dtype, bits, short in (("f32", 24, 15), ("f64", 53, 41)):
        # ln 2 = hi + lo; hi is short enough for n * hi to be exact
        hi = mp.floor(mp.ldexp(mp.log(2), short)) / mpf(2) ** short
        print(f"{dtype} ln2_hi {float(hi).hex()} ln2_lo {rounded(mp.log(2) - hi, dtype).hex()}")
        for name, (f, weight, lo, hi, n) in polynomials(dtype).items():
            if n and (not names or name in names):
                coefficients, error = fit(f, weight, lo, hi, n, dtype)
                print(f"{dtype} {name} (error {mp.nstr(error, 3)} = {mp.nstr(error * 2**bits, 3)} x 2^-{bits})")
                print("\n".join(f"    {c.hex()}{'f' if dtype == 'f32' else ''}," for c in coefficients))


if __name__ == "__main__":
    main(sys.argv[1:])
