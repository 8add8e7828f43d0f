"""Estimators of other papers, for research that compares: black-box, identity, implicit MLE, SPO+.

They share the interface of `Perturbed`: ``layer(theta)`` and ``y, pullback = layer.vjp(theta)``. Their gradients are
biased, each in its own way; `Perturbed` has unbiased ones. To be imported by name: ``from perturbed import baselines``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import Real, Seed, as_array, as_bool, as_int, one_of
from ._run import PLAIN, Problem, start
from ._values import Frozen
from .layers import Perturbed
from .noise import NoiseBase
from .solvers import Solver

__all__ = ["IMLE", "Blackbox", "Identity", "SPOPlus"]

Pullback = Callable[[ArrayLike], Real]


def _check_solver(solver: object, linear: bool) -> None:
    if not isinstance(solver, Solver):
        raise TypeError(f"solver must be a solver such as pt.Argmax(), got {solver!r}")
    if linear and not solver._of_value()._linear:
        raise ValueError(f"solver must be a linear oracle, got {solver!r}")


def _as_step(value: object) -> float:
    array = as_array("lambda_", value)
    if array.ndim or array.dtype.kind not in "fiu":
        raise TypeError(f"lambda_ must be a number, got {value!r}")
    if not (np.isfinite(array) and array > 0):
        raise ValueError(f"lambda_ must be positive and finite, got {value!r}")
    return float(array)


def _solutions(problem: Problem) -> Real:
    """(rows, core solution), with no noise."""
    return start(problem, PLAIN).forward(False, False, None)[0]


def _like_items(solver: Solver, problem: Problem) -> None:
    """A cotangent that is added to theta has to be shaped like it."""
    if problem.solution != problem.item:
        raise ValueError(f"solver must have solutions shaped like theta's items, got {problem.solution} of {solver!r}")


def _moved(problem: Problem, theta: Real, cotangent: Real, step: float) -> Problem:
    """The problem at theta - step g."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = theta - theta.dtype.type(step) * cotangent.reshape(theta.shape)
    if not np.isfinite(moved[np.isfinite(theta)]).all():
        raise ValueError("theta - lambda_ g must be finite: lambda_ or g is too large")
    return replace(problem, theta=moved)


def _open_only(grad: Real, theta: Real) -> Real:
    return np.where(np.isneginf(theta), grad.dtype.type(0), grad)


@dataclass(frozen=True, eq=False, repr=False)
class Blackbox(Frozen):
    """Black-box differentiation: the pullback is a difference of two solutions. Maximises <y, theta> like its solver.

    ``pullback(g)`` is (y*(theta) - y*(theta - lambda g)) / lambda: the gradient of a piecewise linear interpolation of
    the loss, not of a smoothing.

    Parameters
    ----------
    solver : Solver
        With solutions shaped like theta.
    lambda_ : float, default 10
        Length of the step along the cotangent, > 0, in the unit of theta over that of g.

    Raises
    ------
    ValueError
        Where solutions have another shape than theta, or ``lambda_`` is not positive.

    Notes
    -----
    One solve forward and one in each pullback, no noise. Ties as the solver breaks them.

    References
    ----------
    Vlastelica et al., "Differentiation of blackbox combinatorial solvers", ICLR 2020, algorithm 1, with theta = -w.

    Examples
    --------
    >>> import perturbed as pt
    >>> from perturbed.baselines import Blackbox
    >>> y, pullback = Blackbox(pt.TopK(1), lambda_=2.).vjp([1., 2., 0.])
    >>> y, pullback([0., 1., 0.])
    (array([0., 1., 0.]), array([-0.5,  0.5,  0. ]))
    """

    solver: Solver
    _: KW_ONLY
    lambda_: float = 10.0

    def __post_init__(self) -> None:
        _check_solver(self.solver, False)
        object.__setattr__(self, "lambda_", _as_step(self.lambda_))

    def __call__(self, theta: ArrayLike, **instance: Any) -> Real:
        """The solution y*(theta), exact.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores, to be maximised.
        **instance
            Instance arguments of the solver.

        Returns
        -------
        ndarray, shape (*batch, *solution)
        """
        return self.solver(theta, **instance)

    def vjp(self, theta: ArrayLike, **instance: Any) -> tuple[Real, Pullback]:
        """y*(theta), and the pullback. Parameters and errors as for a call.

        Returns
        -------
        y : ndarray, shape (*batch, *solution)
        pullback : callable
            ``pullback(g)``, g like y, gives the gradient, like theta.
        """
        problem = self.solver._problem(theta, instance)
        _like_items(self.solver, problem)
        y = _solutions(problem)

        def pullback(g: ArrayLike) -> Real:
            moved = _moved(problem, problem.theta, problem.cotangent(g), self.lambda_)
            change = (y - _solutions(moved)).reshape(problem.theta.shape)
            return problem.grad(_open_only(change / change.dtype.type(self.lambda_), problem.theta))

        return problem.solutions(y), pullback


@dataclass(frozen=True, eq=False, repr=False)
class Identity(Frozen):
    """The solver as if it were the identity: the pullback hands the cotangent on. Maximises <y, theta> like its solver.

    ``pullback(g)`` is P g, P the projection on the span of differences of solutions: what moves no solution is taken
    out, as the mean of g where all solutions have the same sum.

    Parameters
    ----------
    solver : Solver
        With solutions shaped like theta.
    project : bool, default True
        False: g as it stands (0 where theta forbids).
    normalize : bool, default False
        Solve theta less its mean, over its standard deviation, row by row; the pullback is that of the normalised
        theta, its own derivative included.

    Raises
    ------
    ValueError
        Where solutions have another shape than theta.

    Notes
    -----
    One solve, none in the pullback, no noise. The gradient has the unit of g: theta's own does not come into it.

    References
    ----------
    Sahoo et al., "Backpropagation through combinatorial algorithms: identity with projection works", ICLR 2023.

    Examples
    --------
    >>> import perturbed as pt
    >>> from perturbed.baselines import Identity
    >>> y, pullback = Identity(pt.TopK(1)).vjp([1., 2., 0.])
    >>> y, pullback([0., 3., 0.])
    (array([0., 1., 0.]), array([-1.,  2., -1.]))
    """

    solver: Solver
    _: KW_ONLY
    project: bool = True
    normalize: bool = False

    def __post_init__(self) -> None:
        _check_solver(self.solver, False)
        object.__setattr__(self, "project", as_bool("project", self.project))
        object.__setattr__(self, "normalize", as_bool("normalize", self.normalize))

    def __call__(self, theta: ArrayLike, **instance: Any) -> Real:
        """The solution y*(theta) (of the normalised theta), exact.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores, to be maximised.
        **instance
            Instance arguments of the solver.

        Returns
        -------
        ndarray, shape (*batch, *solution)
        """
        problem = self.solver._problem(theta, instance)
        return problem.solutions(_solutions(self._scaled(problem)[0]))

    def vjp(self, theta: ArrayLike, **instance: Any) -> tuple[Real, Pullback]:
        """y*(theta), and the pullback. Parameters and errors as for a call.

        Returns
        -------
        y : ndarray, shape (*batch, *solution)
        pullback : callable
            ``pullback(g)``, g like y, gives the gradient, like theta.
        """
        problem = self.solver._problem(theta, instance)
        _like_items(self.solver, problem)
        scaled, deviation = self._scaled(problem)
        run = start(scaled, PLAIN)
        y = run.forward(False, False, None)[0]

        def pullback(g: ArrayLike) -> Real:
            own = problem.cotangent(g).reshape(y.shape)
            own = run.project(own).reshape(own.shape) if self.project else own
            own = _open_only(own, scaled.theta.reshape(own.shape))
            if self.normalize:
                own = _through_scaling(own, scaled.theta.reshape(own.shape), deviation)
            return problem.grad(own.reshape(problem.theta.shape).astype(problem.theta.dtype, copy=False))

        return problem.solutions(y), pullback

    def _scaled(self, problem: Problem) -> tuple[Problem, Real]:
        """The problem that is solved, and the standard deviation of each row of theta over its open entries."""
        rows = math.prod(problem.batch)
        theta = problem.theta.reshape(rows, math.prod(problem.core_item))
        if not self.normalize:
            return problem, np.ones((rows, 1), theta.dtype)
        start(problem, PLAIN)  # NaN and +inf are named
        open_ = np.isfinite(theta)
        count = np.maximum(open_.sum(1, keepdims=True), 1)
        mean = np.where(open_, theta, 0).sum(1, keepdims=True, dtype=np.float64) / count
        centred = np.where(open_, theta - mean, 0)
        deviation = np.sqrt((centred**2).sum(1, keepdims=True) / count)
        deviation[deviation == 0] = 1.0
        scaled = np.where(open_, centred / deviation, -np.inf).astype(theta.dtype)
        return replace(problem, theta=np.ascontiguousarray(scaled.reshape(problem.theta.shape))), deviation


def _through_scaling(g: Real, scaled: Real, deviation: Real) -> Real:
    """J^T g of x = (theta - mean) / deviation: (g - mean(g) - x mean(x g)) / deviation over open entries."""
    open_ = np.isfinite(scaled)
    count = np.maximum(open_.sum(1, keepdims=True), 1)
    x = np.where(open_, scaled, 0).astype(np.float64)
    along = (x * g).sum(1, keepdims=True) / count
    result: Real = np.where(open_, (g - g.sum(1, keepdims=True, dtype=np.float64) / count - x * along) / deviation, 0)
    return result


class IMLE:
    """Implicit maximum likelihood: a difference of perturbed solutions. Maximises <y, theta> like its solver.

    y is the mean of y*(theta'), theta' = theta + epsilon Z; ``pullback(g)`` the mean of
    (y*(theta') - y*(theta' - lambda g)) / lambda with the same noise.

    Parameters
    ----------
    solver : Solver
        With solutions shaped like theta.
    lambda_ : float, default 10
        Length of the step along the cotangent, > 0.
    noise : name or noise object, default "gumbel"
        Distribution of Z; the paper's is ``pt.SumOfGamma(k, iterations)``, k the number of ones in a solution.
    epsilon : float or array_like, default 1
        Width of the noise (the paper's temperature).
    samples : int, default 1
        Draws of each row.
    seed : int, SeedSequence, Generator or None
        As for `Perturbed`.

    Raises
    ------
    ValueError
        Where solutions have another shape than theta, or an option is out of range.

    Notes
    -----
    `samples` solves forward and as many in each pullback. The same seed gives the draws of a `Perturbed` layer.

    References
    ----------
    Niepert, Minervini & Franceschi, "Implicit MLE: backpropagating through discrete exponential family distributions",
    NeurIPS 2021, equation 9 and section 3.2.

    Examples
    --------
    >>> import perturbed as pt
    >>> from perturbed.baselines import IMLE
    >>> layer = IMLE(pt.TopK(2), noise=pt.SumOfGamma(2., 10), samples=4, seed=0)
    >>> y, pullback = layer.vjp([1., 2., 0., .5])
    >>> print(y.sum(), abs(pullback([0., 1., 0., 0.]).sum()) < 1e-12)
    2.0 True
    """

    def __init__(
        self, solver: Solver, *, lambda_: float = 10.0, noise: str | NoiseBase = "gumbel", epsilon: ArrayLike = 1.0,
        samples: int = 1, seed: Seed = None,
    ) -> None:  # fmt: skip
        _check_solver(solver, False)
        self._lambda, samples = _as_step(lambda_), as_int("samples", samples, 1, 2**31 - 1)
        options = {"noise": noise, "epsilon": epsilon, "samples": samples, "seed": seed}
        self._layer = Perturbed(solver, estimator="score", baseline=None, **options)  # type: ignore[arg-type]

    @property
    def solver(self) -> Solver:
        """The solver that is perturbed."""
        return self._layer.solver

    @property
    def lambda_(self) -> float:
        """Length of the step along the cotangent."""
        return self._lambda

    def __repr__(self) -> str:
        layer = self._layer
        return (
            f"IMLE({layer.solver!r}, lambda_={self._lambda!r}, noise={layer.noise!r}, epsilon={layer.epsilon!r}, "
            f"samples={layer.samples!r})"
        )

    def __call__(
        self, theta: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> Real:  # fmt: skip
        """Mean of the perturbed solutions.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores, to be maximised.
        epsilon, seed, row_offset, **instance
            As for a call of `Perturbed`.

        Returns
        -------
        ndarray, shape (*batch, *solution)
        """
        return self._layer(theta, epsilon=epsilon, seed=seed, row_offset=row_offset, **instance)

    def vjp(
        self, theta: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> tuple[Real, Pullback]:  # fmt: skip
        """Mean of the perturbed solutions, and the pullback. Parameters and errors as for a call.

        Returns
        -------
        y : ndarray, shape (*batch, *solution)
        pullback : callable
            ``pullback(g)``, g like y, gives the gradient, like theta.
        """
        problem, draw = self._layer._prepare(theta, epsilon, seed, row_offset, instance)
        with self._layer._counting(draw):
            _like_items(self.solver, problem)
            run = start(problem, draw)
            y = run.forward(False, False, None)[0]
        samples, rows, shape = self._layer.samples, len(y), problem.theta.shape

        def pullback(g: ArrayLike) -> Real:
            cotangent = problem.cotangent(g)
            change = np.zeros(shape, np.float64)
            for m in range(samples):
                noisy = run.perturb(0, rows, m, 1).reshape(shape)
                drawn = run.solutions(0, rows, m, 1).reshape(shape)
                change += drawn - _solutions(_moved(problem, noisy, cotangent, self._lambda)).reshape(shape)
            grad = (change / (samples * self._lambda)).astype(problem.theta.dtype)
            return problem.grad(_open_only(grad, problem.theta))

        return problem.solutions(y), pullback


@dataclass(frozen=True, eq=False, repr=False)
class SPOPlus(Frozen):
    """SPO+ loss of predicted scores against true ones: a convex bound on the regret. Scores are maximised.

    With true scores c: max_y <y, 2 theta - c> - 2 <y*(c), theta> + max_y <y, c>, at least the regret
    <y*(c), c> - <y*(theta), c> of deciding by theta.

    Parameters
    ----------
    solver : Solver
        A linear oracle.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the rows' losses are put together.

    Raises
    ------
    ValueError
        Where the solver is no linear oracle.

    Notes
    -----
    Two solves, no noise. Its gradient 2 (y*(2 theta - c) - y*(c)) is a subgradient. Solvers with a fixed part count it
    in each term. Where a solver clips costs at 0 (`GridPath`, cyclic graphs), 2 theta - c is clipped as theta is, and
    the loss is a bound only where nothing is clipped. theta, c and the loss share one unit.

    References
    ----------
    Elmachtoub & Grigas, "Smart 'predict, then optimize'", Management Science 68, 2022, definition 3, for costs -theta.

    Examples
    --------
    >>> import perturbed as pt
    >>> from perturbed.baselines import SPOPlus
    >>> value, grad = SPOPlus(pt.Argmax()).value_and_grad([1., 2., 0.], [3., 1., 0.])
    >>> print(value, grad)
    4.0 [-2.  2.  0.]
    """

    solver: Solver
    reduction: Literal["mean", "sum", "none"] = "mean"

    def __post_init__(self) -> None:
        _check_solver(self.solver, True)
        one_of("reduction", self.reduction, ("mean", "sum", "none"))

    def __call__(self, theta: ArrayLike, scores: ArrayLike, **instance: Any) -> Any:
        """The loss.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Predicted scores.
        scores : array_like, like theta
            True scores c, finite; what theta forbids they forbid too.
        **instance
            Instance arguments of the solver.

        Returns
        -------
        scalar, or ndarray of shape (*batch,) with ``reduction="none"``
            In the unit of theta.
        """
        return self.value_and_grad(theta, scores, **instance)[0]

    def value_and_grad(self, theta: ArrayLike, scores: ArrayLike, **instance: Any) -> tuple[Any, Real]:
        """The loss and its gradient. Parameters and errors as for a call.

        Returns
        -------
        value : scalar, or ndarray of shape (*batch,) with ``reduction="none"``
            The loss, in the unit of theta.
        grad : ndarray, like theta
            A subgradient; of the mean, that of each row divided by the number of rows.
        """
        solver = self.solver._of_value()
        problem = solver._problem(theta, instance)
        given = as_array("scores", scores)
        if given.shape != problem.batch + problem.item:
            raise ValueError(f"scores must have shape {problem.batch + problem.item}, got {given.shape}")
        true = solver._problem(given.astype(problem.theta.dtype), instance)
        predicted = start(problem, PLAIN)  # theta's NaN and +inf are named
        closed = np.isneginf(problem.theta)
        np.copyto(true.theta, -np.inf, where=closed)
        if not np.isfinite(true.theta[~closed]).all():
            raise ValueError("scores must be finite")
        with np.errstate(invalid="ignore", over="ignore"):
            between = replace(problem, theta=np.where(closed, -np.inf, 2 * problem.theta - true.theta))
        between.theta = np.ascontiguousarray(between.theta, dtype=problem.theta.dtype)
        y, best, _, _ = start(true, PLAIN).forward(True, False, None)
        other, most, _, _ = start(between, PLAIN).forward(True, False, None)
        assert best is not None
        assert most is not None
        values = most - 2 * predicted.objective(y) + best
        shape = problem.theta.shape
        up, down = other.reshape(shape), y.reshape(shape)
        if solver._clipped:  # no derivative where a cost was cut
            up, down = up * (between.theta < 0), down * (problem.theta < 0)
        grad = problem.grad((2 * solver._sign * (up - down)).astype(problem.theta.dtype))
        return self._reduce(values, grad, problem)

    def _reduce(self, values: NDArray[np.float64], grad: Real, problem: Problem) -> tuple[Any, Real]:
        if self.reduction == "none":
            return problem.per_row(values), grad
        total, dtype = math.fsum(values), problem.theta.dtype.type
        if self.reduction == "sum":
            return dtype(total), grad
        rows = len(values)
        return dtype(total / rows if rows else math.nan), grad / dtype(max(rows, 1))
