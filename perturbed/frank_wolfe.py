"""Minimise a smooth convex function over the convex hull of a solver's solutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import Real, Seed, as_array, as_int, as_key, as_like, check_seed, one_of, real_dtype
from .layers import Perturbed
from .noise import NoiseBase
from .solvers import Solver

ValueAndGrad = Callable[[Real], tuple[Any, ArrayLike]]


@dataclass(frozen=True, eq=False)
class Minimum:
    """What `frank_wolfe` found.

    Attributes
    ----------
    x : ndarray, shape (*item,)
        The point, a mixture of solutions and x0.
    value : float
        f(x).
    gap : float
        <grad f(x), x - v>, v the solution that minimises <grad f(x), v>: for convex f, f(x) is at most this much above
        its minimum.
    steps : int
        Steps made.
    """

    x: Real
    value: float
    gap: float
    steps: int


def frank_wolfe(
    value_and_grad: ValueAndGrad,
    solver: Solver,
    x0: ArrayLike,
    *,
    steps: int = 100,
    lipschitz: float | None = None,
    method: Literal["auto", "accelerated", "plain"] = "auto",
    tolerance: float = 0.0,
    epsilon: float = 0.3,
    noise: str | NoiseBase = "gumbel",
    samples: int | None = None,
    seed: Seed = None,
    **instance: Any,
) -> Minimum:
    """Minimise f over the convex hull of a solver's solutions, by linear oracles alone.

    Plain Frank-Wolfe steps to solutions; the accelerated method averages gradients and maps them back by a *perturbed*
    maximum, whose draws are solved in parallel.

    Parameters
    ----------
    value_and_grad : callable
        ``value_and_grad(x)`` gives f(x), a number, and its gradient, like x. f convex, its gradient Lipschitz.
    solver : Solver
        A linear oracle without a fixed part: it gives the solution of largest <y, theta> over the set.
    x0 : array_like, shape (*item,)
        Where to start: in the hull. float32 and float64 compute in their own precision.
    steps : int, default 100
        At most so many.
    lipschitz : float, optional
        Lipschitz constant L of the gradient in the Euclidean norm. The accelerated method needs it.
    method : {"auto", "accelerated", "plain"}, default "auto"
        "auto": accelerated where `lipschitz` is given.
    tolerance : float, default 0
        Stop when the gap is not above it; the plain method looks at each step, the accelerated at every tenth.
    epsilon : float, default 0.3
        Width of the noise over L: how smooth the map back to the hull is.
    noise : name or noise object, default "gumbel"
        Distribution of the noise. Where it has a closed form with this solver, as with `Argmax`, no draws are made.
    samples : int, optional
        Draws of each step. Unless given, step k (from 1 on) makes k of them: with few draws the gain is lost.
    seed : int, SeedSequence, Generator or None
        Of the noise; the same seed, the same result.
    **instance
        Instance arguments of the solver.

    Returns
    -------
    Minimum
        x, f(x), the certificate `gap`, and the number of steps.

    Raises
    ------
    ValueError, TypeError
        Where the solver is no linear oracle over its set, an option is out of range, f or its gradient is not finite
        or has the wrong shape, or (costs clipped at 0) a gradient is negative.

    Notes
    -----
    Plain: x += 2 / (k + 1) (v - x), step k = 1, 2, ... Accelerated, with a_k = k / 2, A_k = a_1 + ... + a_k and
    tau = a_k / A_k: G += a_k grad f((1 - tau) x + tau z); z = mean of argmax <y, -G + epsilon L Z>;
    x = (1 - tau) x + tau z. One gradient a step, and one for the certificate.

    References
    ----------
    Jaggi, "Revisiting Frank-Wolfe", ICML 2013, for the plain method and the gap; Nesterov, "Primal-dual subgradient
    methods for convex problems", 2009, for dual averaging; Berthet et al., NeurIPS 2020, for the perturbed maximum.

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> b = np.array([.5, .3, .2, -.4])
    >>> found = pt.frank_wolfe(lambda x: (((x - b) ** 2).sum() / 2, x - b), pt.Argmax(), np.full(4, .25),
    ...                        lipschitz=1., steps=200)
    >>> print(found.x.round(2), found.gap < .01)
    [0.5 0.3 0.2 0. ] True
    """
    _check(solver, method, lipschitz, tolerance, epsilon)
    count = as_int("steps", steps, 0, 2**31 - 1)
    if samples is not None:
        samples = as_int("samples", samples, 1, 2**31 - 1)
    start = as_array("x0", x0)
    x = np.array(as_like("x0", start, start.shape, real_dtype("x0", start.dtype)))
    if x.ndim != solver._item_ndim:
        raise ValueError(f"x0 must be one item of {solver._item_ndim} dimensions, got shape {x.shape}")
    oracle = _Oracle(value_and_grad, solver, instance)
    if method == "plain" or lipschitz is None:
        return _plain(oracle, x, count, tolerance)
    check_seed(seed)
    mirror = _Mirror(solver, noise, epsilon * lipschitz, samples, as_key(seed, 0), instance)
    return _accelerated(oracle, mirror, x, count, tolerance)


def _check(solver: object, method: object, lipschitz: object, tolerance: object, epsilon: object) -> None:
    if not isinstance(solver, Solver):
        raise TypeError(f"solver must be a solver such as pt.Argmax(), got {solver!r}")
    if not solver._linear or not (solver._homogeneous or solver._core_name == "oracle"):
        raise ValueError(f"solver must be a linear oracle without a fixed part, got {solver!r}")
    one_of("method", method, ("auto", "accelerated", "plain"))
    if method == "accelerated" and lipschitz is None:
        raise ValueError("lipschitz must be given for the accelerated method")
    named = {"tolerance": tolerance, "epsilon": epsilon, **({} if lipschitz is None else {"lipschitz": lipschitz})}
    for name, value in named.items():
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not (math.isfinite(value) and (value > 0 or (value == 0 and name == "tolerance"))):
            raise ValueError(
                f"{name} must be {'finite and not negative' if name == 'tolerance' else 'positive'}, got {value}"
            )


@dataclass(frozen=True)
class _Oracle:
    """f with its gradient, and the solution that is best along it."""

    fn: ValueAndGrad
    solver: Solver
    instance: dict[str, Any]

    def __call__(self, x: Real) -> tuple[float, Real]:
        given, grad = self.fn(x.copy())
        value = float(given)
        if not math.isfinite(value):
            raise ValueError(f"value_and_grad must give a finite value, got {value}")
        gradient = as_like("the gradient", grad, x.shape, x.dtype)
        if self.solver._clipped and gradient.size and gradient.min() < 0:
            raise ValueError(f"the gradient must not be negative for {self.solver!r}, got {gradient.min()}")
        return value, gradient

    def best(self, grad: Real) -> Real:
        # Scores are minus the gradient, or the gradient where -<y, theta> is maximised.
        return self.solver(grad * grad.dtype.type(-self.solver._sign), **self.instance)

    def gap(self, x: Real, grad: Real) -> float:
        return max(float(np.vdot(grad.astype(np.float64), x.astype(np.float64) - self.best(grad))), 0.0)


@dataclass(frozen=True)
class _Mirror:
    """From a sum of gradients to the mean of the perturbed solutions that are best along it."""

    solver: Solver
    noise: str | NoiseBase
    width: float
    samples: int | None
    key: int
    instance: dict[str, Any]

    def __call__(self, total: NDArray[np.float64], step: int, dtype: np.dtype[Any]) -> Real:
        options: dict[str, Any] = {"noise": self.noise, "epsilon": self.width, "samples": self.samples or step}
        layer = Perturbed(self.solver, **options)
        if layer.estimator != "exact":  # the mean of draws is in the hull; other estimates of it may not be
            layer = Perturbed(self.solver, estimator="score", **options)
        theta = (-self.solver._sign * total).astype(dtype)
        return layer(theta, seed=as_key(self.key, step), **self.instance)


def _plain(oracle: _Oracle, x: Real, steps: int, tolerance: float) -> Minimum:
    for k in range(1, steps + 2):
        value, grad = oracle(x)
        best = oracle.best(grad)
        gap = max(float(np.vdot(grad.astype(np.float64), x.astype(np.float64) - best)), 0.0)
        if k > steps or gap <= tolerance:
            break
        x = x + x.dtype.type(2 / (k + 1)) * (best - x)
    return Minimum(x, value, gap, k - 1)


def _accelerated(oracle: _Oracle, mirror: _Mirror, x: Real, steps: int, tolerance: float) -> Minimum:
    total, weights, z = np.zeros(x.shape), 0.0, x
    for k in range(1, steps + 1):
        weights += k / 2
        tau = x.dtype.type(k / 2 / weights)
        total += k / 2 * oracle(x + tau * (z - x))[1]
        z = mirror(total, k, x.dtype)
        x = x + tau * (z - x)
        if tolerance > 0 and k % 10 == 0 and k < steps:
            value, grad = oracle(x)
            gap = oracle.gap(x, grad)
            if gap <= tolerance:
                return Minimum(x, value, gap, k)
    value, grad = oracle(x)
    return Minimum(x, value, oracle.gap(x, grad), steps)
