"""Exact values by quadrature and closed forms, recorded noise, z-scores: what several files of tests share."""

from functools import cache

import numpy as np
from scipy import integrate, special, stats

import perturbed as pt

# name: (noise, distribution, noise score)
NOISES = {
    "normal": (pt.Normal(), stats.norm, lambda z: z),
    "gumbel": (pt.Gumbel(), stats.gumbel_r, lambda z: 1 - np.exp(-z)),
    "centered": (
        pt.Gumbel(centered=True),
        stats.gumbel_r(loc=-np.euler_gamma),
        lambda z: 1 - np.exp(-z - np.euler_gamma),
    ),
    "laplace": (pt.Laplace(), stats.laplace, np.sign),
    "logistic": (pt.Logistic(), stats.logistic, lambda z: np.tanh(z / 2)),
    "student": (pt.StudentT(5), stats.t(5), lambda z: 6 * z / (5 + z * z)),
}

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(30)
_TAIL = 10.0 ** -np.arange(1, 17, 0.5)
_LEVELS = np.sort(np.concatenate([_TAIL, np.linspace(0.1, 0.9, 17)[1:-1]]))


def panels(edges):
    """Nodes and weights of Gauss-Legendre rules between consecutive edges."""
    a, b = edges[:-1, None], edges[1:, None]
    return ((b - a) / 2 * _NODES + (a + b) / 2).ravel(), ((b - a) / 2 * _WEIGHTS).ravel()


def argmax_exact(theta, epsilon, distribution, scale=1.0):
    """P, F and J of a perturbed argmax. Where scale is 0 the entry is a constant, and J there is NaN."""
    theta = np.asarray(theta, float)
    width = epsilon * np.broadcast_to(scale, theta.shape).astype(float)
    noisy = (width > 0) & (theta > -np.inf)
    quantiles = np.concatenate([distribution.ppf(_LEVELS), distribution.isf(_TAIL), [distribution.median()]])
    grid = (theta[noisy, None] + width[noisy, None] * quantiles).ravel()
    if np.ptp(width[noisy]) == 0:  # one width: the largest entry's quantiles will do
        grid = theta[noisy].max() + width[noisy][0] * quantiles
    floor = max(theta[~noisy], default=-np.inf)
    low = max((theta[noisy] + width[noisy] * distribution.ppf(1e-17)).max(), floor)
    high = (theta[noisy] + width[noisy] * distribution.isf(1e-16)).max()
    kinks = theta[noisy] + width[noisy] * distribution.median() if distribution is stats.laplace else []
    edges = np.unique(np.concatenate([[low, high], grid, kinks, np.linspace(low, low + 10 * width.max(), 33)]))
    edges = edges[(edges >= low) & (edges <= high)]
    x, w = panels(edges)
    u = (x[:, None] - theta[noisy]) / width[noisy]
    log_cdf = distribution.logcdf(u)
    hazard = np.exp(distribution.logpdf(u) - log_cdf) / width[noisy]
    total = log_cdf.sum(1)
    every = np.exp(total)
    p, jacobian = np.zeros(theta.size), np.full((theta.size, theta.size), np.nan)
    p[noisy] = (w * every) @ hazard
    p[(theta == floor) & ~noisy] = np.exp(distribution.logcdf((floor - theta[noisy]) / width[noisy]).sum())
    inner = -np.einsum("q,qi,qj->ij", w * every, hazard, hazard)
    np.fill_diagonal(inner, 0)
    np.fill_diagonal(inner, -inner.sum(1))
    jacobian[np.ix_(noisy, noisy)] = inner
    jacobian[theta == -np.inf] = jacobian[:, theta == -np.inf] = 0
    return p, low + w @ -np.expm1(total), jacobian


def derivative(f, x, step=1e-4):
    """Central differences with one Richardson step: error O(step^4)."""
    once = (np.asarray(f(x + step)) - f(x - step)) / (2 * step)
    twice = (np.asarray(f(x + 2 * step)) - f(x - 2 * step)) / (4 * step)
    return (4 * once - twice) / 3


def gradient(f, theta, step=1e-4):
    """Derivatives of f along each entry of theta, on the last axis."""
    theta = np.asarray(theta, float)
    columns = [derivative(lambda t, e=e: f(theta + t * e), 0.0, step) for e in np.eye(theta.size)]
    return np.stack(columns, -1)


def difference_cdf(name, d):
    """P(Z1 - Z2 <= d) of two draws."""
    d = np.asarray(d, float)
    a = np.abs(d)
    with np.errstate(invalid="ignore"):
        above = {
            "normal": lambda: special.ndtr(a / np.sqrt(2)),
            "gumbel": lambda: special.expit(a),
            "laplace": lambda: 1 - (2 + a) * np.exp(-a) / 4,
            "logistic": lambda: np.where(
                a < 0.1, 0.5 + a / 6 - a**3 / 180 + a**5 / 5040, (1 - np.exp(-a) * (1 + a)) / np.expm1(-a) ** 2
            ),
        }[name]()
    return np.where(d >= 0, above, 1 - above)


def ranking_exact(theta, epsilon, name):
    """Expected ascending ranks and their Jacobian."""
    theta = np.asarray(theta, float)
    d = (theta[:, None] - theta) / epsilon
    ranks = 1 + difference_cdf(name, d).sum(1) - 0.5
    inner = -derivative(lambda t: difference_cdf(name, d + t), 0.0, 1e-3) / epsilon
    np.fill_diagonal(inner, 0)
    np.fill_diagonal(inner, -inner.sum(1))
    return ranks, inner


def ranking_value(theta, epsilon, name):
    """F of a perturbed ascending ranking: sum of means and of the larger of each pair."""
    distribution = NOISES[name][1]
    theta = np.asarray(theta, float)
    total = theta.sum() + epsilon * theta.size * distribution.mean()
    for i in range(theta.size):
        for j in range(i):
            total += argmax_exact(theta[[i, j]], epsilon, distribution)[1]
    return total


@cache
def log_mean(name, w):
    """log E exp(w Z), by quadrature."""
    distribution = NOISES[name][1]
    lo, hi = {"normal": (-12, 15), "gumbel": (-4, 90), "laplace": (-90, 90), "logistic": (-90, 90)}[name]
    f = lambda z: np.exp(w * z + distribution.logpdf(z))  # noqa: E731
    return np.log(integrate.quad(f, lo, hi, points=[0, 1], limit=400, epsabs=1e-14, epsrel=1e-13)[0])


def multiplicative_exact(theta, epsilon, name, scale=1.0):
    """(*P, F) of an argmax of theta exp(epsilon Z) / E exp(epsilon Z), all theta > 0: an argmax of logarithms."""
    distribution = NOISES[name][1]
    theta, width = np.asarray(theta, float), epsilon * np.broadcast_to(scale, np.shape(theta)).astype(float)
    shift = np.log(theta) - [log_mean(name, float(w)) for w in width]
    p = argmax_exact(shift, epsilon, distribution, scale)[0]
    # F = int exp(x) dG(x), G the cdf of the largest logarithm: e^low + int e^x (1 - G)
    low = (shift + width * distribution.ppf(1e-17)).max()
    edges = np.unique(np.concatenate([np.arange(low, low + 200 * width.max(), width.max() / 2), shift]))
    x, w = panels(edges[edges >= low])
    total = distribution.logcdf((x[:, None] - shift) / width).sum(1)
    return np.append(p, np.exp(low) + w @ (np.exp(x) * -np.expm1(total)))


def record(noise, shape, samples, *, dtype=np.float64, theta=0.0, item_ndim=1, **options):
    """Noisy items theta + Z of each row and draw, (rows, samples, *item), as an oracle sees them."""
    seen = []

    def look(items):
        seen.append(items.copy())
        return np.zeros((len(items), 1))

    options = {"epsilon": 1.0, "seed": 0} | options
    call = {name: options.pop(name) for name in ("row_offset",) if name in options}
    oracle = pt.Oracle(look, item_ndim=item_ndim, batched=True, linear=False)
    rows = np.broadcast_to(np.asarray(theta, dtype), shape)
    pt.Perturbed(oracle, noise=noise, samples=samples, **options)(rows, **call)
    item = shape[len(shape) - item_ndim :]
    return np.concatenate(seen).reshape(-1, samples, *item)


def z_scores(estimates, exact):
    """(mean - exact) / standard error over replicates on the first axis; where all agree, 0 if they hit, else inf."""
    estimates = np.asarray(estimates, float)
    error = estimates.std(0, ddof=1) / np.sqrt(len(estimates))
    off = estimates.mean(0) - exact
    still = error <= 1e-9 * (1 + np.abs(exact))
    return np.where(still, np.where(np.abs(off) < 1e-6, 0.0, np.inf), off / np.where(still, 1.0, error))


def assert_unbiased(what, estimates, exact, *, seen=0.02):
    """Replicates (R, ...) agree with the exact value within 5 standard errors, in each entry and along it.

    The test says of itself that it would fail, were the estimates too large or too small by a factor of 1 + `seen`.
    """
    estimates, exact = np.asarray(estimates, float), np.asarray(exact, float)
    assert estimates.shape[1:] == exact.shape
    z = z_scores(estimates, exact)
    worst = np.unravel_index(np.abs(z).argmax(), z.shape)
    assert np.abs(z).max() < 5, f"{what}{list(map(int, worst))}: z = {z[worst]:.1f}"
    flat = estimates.reshape(len(estimates), -1)
    along = flat @ exact.ravel() / (exact.ravel() @ exact.ravel())  # 1 in the mean
    error = along.std(ddof=1) / np.sqrt(len(along))
    off = along.mean() - 1
    assert abs(off) < 5 * error + 1e-9, f"{what} is off by a factor of {1 + off:.4f} +- {error:.4f}"
    assert 5 * error + abs(off) < seen, f"{what} sees factors of {1 + 5 * error + abs(off):.4f} only"


def exceed_tables(chances):
    """P(r of these exceed), r on axis 0, for chances (items, nodes): one item after the other."""
    table = np.zeros((len(chances) + 1, *chances.shape[1:]))
    table[0] = 1
    for count, p in enumerate(chances, 1):
        table[1 : count + 1] = (1 - p) * table[1 : count + 1] + p * table[:count]
        table[0] *= 1 - p
    return table


def places_exact(theta, epsilon, distribution, scale=1.0, spacing=0.02):
    """P[r, j] that entry j is the r-th largest (0-based), and dP[r, j]/d theta_l: each table from scratch."""
    theta = np.asarray(theta, float)
    n = theta.size
    width = epsilon * np.broadcast_to(scale, theta.shape).astype(float)
    low = (theta + width * distribution.ppf(1e-18)).min()
    high = (theta + width * distribution.isf(1e-18)).max()
    step = spacing * width.min()
    x = np.arange(low, high, step)
    u = (x - theta[:, None]) / width[:, None]
    above, density = distribution.sf(u), distribution.pdf(u) / width[:, None]
    others = lambda *left_out: exceed_tables(above[[i for i in range(n) if i not in left_out]])  # noqa: E731
    p, jacobian = np.zeros((n, n)), np.zeros((n, n, n))
    for j in range(n):
        p[:, j] = step * (others(j) * density[j]).sum(-1)
        for i in range(n):
            if i != j:
                table = np.pad(others(i, j), [(1, 1), (0, 0)])
                jacobian[:, j, i] = step * (density[i] * density[j] * (table[:-1] - table[1:])).sum(-1)
        jacobian[:, j, j] = -jacobian[:, j].sum(-1)
    return p, jacobian
