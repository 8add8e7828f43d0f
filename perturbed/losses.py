"""Losses whose gradient is a difference of solutions."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import Real, Seed, one_of, place
from ._run import Draw, Problem, start
from .estimators import ExactEstimate, need_value
from .layers import Perturbed


class _Loss:
    """What losses of a layer share: options and reduction."""

    def __init__(self, layer: Perturbed, reduction: Literal["mean", "sum", "none"] = "mean") -> None:
        if not isinstance(layer, Perturbed):
            raise TypeError(f"layer must be a Perturbed layer, got {type(layer).__name__}")
        one_of("reduction", reduction, ("mean", "sum", "none"))
        need_value(layer._solver, layer._noise)
        self._layer, self._reduction = layer, reduction

    @property
    def layer(self) -> Perturbed:
        """The layer whose loss this is."""
        return self._layer

    @property
    def reduction(self) -> str:
        """How the rows' losses are put together."""
        return self._reduction

    def __repr__(self) -> str:
        tail = "" if self._reduction == "mean" else f", reduction={self._reduction!r}"
        return f"{type(self).__name__}({self._layer!r}{tail})"

    def _reduce(self, values: Real) -> Any:
        if self._reduction == "none":
            return values
        total = values.reshape(-1).astype(np.float64)
        sum_ = np.float64(0.0)
        for x in total:  # in order: a sum by halves would depend on numpy's build
            sum_ += x
        if self._reduction == "mean":
            sum_ = sum_ / total.size if total.size else np.float64(np.nan)
        return values.dtype.type(sum_)

    def _reduce_both(self, value: Real, grad: Real | None) -> tuple[Any, Real]:
        assert grad is not None
        if self._reduction == "mean" and value.size:
            grad /= grad.dtype.type(value.size)
        return self._reduce(value), grad


class FenchelYoungLoss(_Loss):
    """Fenchel-Young loss of a perturbed maximizer: L(theta; y) = F_eps(theta) - E<y, theta + epsilon Z> >= 0.

    Convex in theta; 0 in the limit where y is the solution of every draw. Its gradient is y_eps - y, so learning from
    (input, solution) pairs needs no derivative of the solver. theta, epsilon and the loss share one unit; y has none.

    Parameters
    ----------
    layer : Perturbed
        Of a linear oracle, with noise that has a mean.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the rows' losses are put together.

    Raises
    ------
    ValueError
        Where a y uses what theta forbids (-inf or masked), naming the row, or the layer has no value.

    Notes
    -----
    Estimated draw by draw with the same noise in both terms, mean_m [max_y' <y', theta_m> - <y, theta_m>]: unbiased,
    and never negative for a feasible y. For y inside the hull of the solutions it is an upper bound with the same
    gradient. Where costs are clipped or noise is multiplicative the gradient is E[w (y* - y)], w the derivative of the
    noisy cost. ``Ranking(descending=True)`` maximises -<y, theta>: there the gradient is y - y_eps.

    References
    ----------
    Blondel, Martins & Niculae, "Learning with Fenchel-Young losses", JMLR 2020; Berthet et al., NeurIPS 2020,
    section 3.

    Examples
    --------
    >>> import perturbed as pt
    >>> loss = pt.FenchelYoungLoss(pt.Perturbed(pt.Argmax(), noise="gumbel"))
    >>> value, grad = loss.value_and_grad([[.2, 1.5, -.3]], [[1., 0., 0.]])
    >>> print(f"{value:.4f}", grad.round(4))
    1.6631 [[-0.8105  0.6955  0.115 ]]
    """

    def __call__(
        self, theta: ArrayLike, y: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None,
        row_offset: int = 0, **instance: Any,
    ) -> Any:  # fmt: skip
        """The loss.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores.
        y : array_like, shape (*batch, *item)
            Solutions to be learned.
        epsilon, seed, row_offset, **instance
            As for a call of the layer.

        Returns
        -------
        scalar, or ndarray of shape (*batch,) with ``reduction="none"``
            In the unit of theta.

        Raises
        ------
        ValueError
            Where y has another shape than theta, or uses what theta forbids.
        """
        return self._reduce(self._evaluate(theta, y, epsilon, seed, row_offset, instance, False)[0])

    def value_and_grad(
        self, theta: ArrayLike, y: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None,
        row_offset: int = 0, **instance: Any,
    ) -> tuple[Any, Real]:  # fmt: skip
        """The loss and its gradient. Parameters and errors as for a call.

        Returns
        -------
        value : scalar, or ndarray of shape (*batch,) with ``reduction="none"``
            The loss, in the unit of theta.
        grad : ndarray, like theta
            Its gradient; of the mean, that of each row divided by the number of rows. Without unit.
        """
        value, grad = self._evaluate(theta, y, epsilon, seed, row_offset, instance, True)
        return self._reduce_both(value, grad)

    def _evaluate(
        self, theta: ArrayLike, y: ArrayLike, epsilon: ArrayLike | None, seed: Seed, row_offset: int,
        instance: dict[str, Any], grad: bool,
    ) -> tuple[Real, Real | None]:  # fmt: skip
        layer = self._layer
        method = layer._by_draws(instance)
        problem, draw = layer._prepare(theta, epsilon, seed, row_offset, instance, value=True)
        with layer._counting(draw):
            given = problem.given("y", y)
            smooth = layer._for_size(method, problem) == "rao_blackwell"
            exact = layer._exact(layer._solver, problem, draw, True) if layer._method == "exact" else None
            gradient: Real | None
            if exact is not None:
                values, gradient = _exactly(layer, exact, problem, draw, given)
            else:
                values, gradient = _by_draws(layer, problem, draw, given, grad, smooth)
            if not np.isfinite(values).all():
                where = np.unravel_index(int(np.argmin(np.isfinite(values))), problem.batch)
                raise ValueError(f"{place('y', where)} {layer._solver._forbidden}")
            return problem.per_row(values), gradient


def _by_draws(
    layer: Perturbed, problem: Problem, draw: Draw, y: Real, grad: bool, smooth: bool
) -> tuple[NDArray[np.float64], Real | None]:
    run = start(problem, draw)
    solutions, values, _, _ = run.forward(True, False, y)
    assert values is not None
    if not grad or not np.isfinite(values).all():
        return values, None
    if layer._solver._clipped or not layer._noise._additive:
        return values, problem.grad(run.value_grad(y))
    if smooth:
        solutions = run.rao_blackwell(None, False)[0]
    difference = solutions.reshape(y.shape) - y
    sign = layer._solver._sign
    return values, problem.grad(difference * y.dtype.type(sign) if sign != 1 else difference)


def _exactly(
    layer: Perturbed, estimate: ExactEstimate, problem: Problem, draw: Draw, y: Real
) -> tuple[NDArray[np.float64], Real]:
    """F_eps(theta) - <y, theta> - epsilon <E Z, y>, clamped at 0; <-y, .> where that is maximised."""
    values, sign = estimate._value(), layer._solver._sign
    assert draw.epsilon is not None
    rows = len(values)
    used = start(problem, Draw()).objective(y)
    widths = layer._noise._widths(problem.item)
    weight = y.reshape(rows, math.prod(problem.item)).astype(np.float64) * (sign if widths is None else sign * widths)
    total = np.zeros(rows)
    for column in weight.T if layer._noise._mean else ():
        total += column
    loss = np.maximum(values - used - draw.epsilon * layer._noise._mean * total, 0.0)
    return loss, (estimate._y - y) * y.dtype.type(sign)


class PartialFenchelYoungLoss(_Loss):
    """Loss of a perturbed maximizer where only constraints are known: F_eps(theta) - F_eps(theta; constraints) >= 0.

    For supervision that tells only part of a solution, such as the labels of some points: the loss is 0 where the best
    solutions meet the constraints by themselves. Its gradient is y_eps(theta) - y_eps(theta; constraints), halved for
    matrices (`SpanningForest`). Not convex in theta. theta, epsilon and the loss share one unit.

    Parameters
    ----------
    layer : Perturbed
        Of a solver with an instance argument ``constraints``, with noise that has a mean.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the rows' losses are put together.

    Raises
    ------
    TypeError, ValueError
        Where the layer's solver takes no constraints, or the layer has no value.

    Notes
    -----
    Both terms, and their gradients, are means over the same draws, those of the estimator "score", whatever the layer's
    estimator is: each draw's difference is >= 0, and its variance is small. Where the solver's answer under constraints
    is not the best one (see its docstring), the loss is larger by what is missing, and still >= 0.

    References
    ----------
    Stewart, Bach, Llinares-Lopez & Berthet, "Differentiable clustering with perturbed spanning forests", NeurIPS 2023,
    section 3.

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> x = np.array([0., .1, 5., 5.3])
    >>> loss = pt.PartialFenchelYoungLoss(pt.Perturbed(pt.SpanningForest(2), samples=200, epsilon=.1, seed=0))
    >>> theta = -abs(x[:, None] - x)
    >>> value, grad = loss.value_and_grad(theta, pt.constraints_from_labels([0, -1, 1, -1]))
    >>> print(f"{value:.3f}")
    0.000
    >>> value, grad = loss.value_and_grad(theta, pt.constraints_from_labels([0, -1, -1, 0]))
    >>> print(f"{value:.1f}", (grad == grad.T).all())
    4.8 True
    """

    def __init__(self, layer: Perturbed, reduction: Literal["mean", "sum", "none"] = "mean") -> None:
        super().__init__(layer, reduction)
        if "constraints" not in layer._solver._instance:
            raise TypeError(f"layer must be of a solver that takes constraints, got {layer._solver!r}")

    def __call__(
        self, theta: ArrayLike, constraints: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None,
        row_offset: int = 0, **instance: Any,
    ) -> Any:  # fmt: skip
        """The loss.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores.
        constraints : array_like
            What is known of each row's solution, as the solver's instance argument.
        epsilon, seed, row_offset, **instance
            As for a call of the layer.

        Returns
        -------
        scalar, or ndarray of shape (*batch,) with ``reduction="none"``
            In the unit of theta.

        Raises
        ------
        ValueError
            Where a row's constraints cannot be met.
        TypeError
            Where constraints are None or no integers.
        """
        return self._reduce(self._evaluate(theta, constraints, epsilon, seed, row_offset, instance, False)[0])

    def value_and_grad(
        self, theta: ArrayLike, constraints: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None,
        row_offset: int = 0, **instance: Any,
    ) -> tuple[Any, Real]:  # fmt: skip
        """The loss and its gradient. Parameters and errors as for a call.

        Returns
        -------
        value : scalar, or ndarray of shape (*batch,) with ``reduction="none"``
            The loss, in the unit of theta.
        grad : ndarray, like theta
            Its gradient; of the mean, that of each row divided by the number of rows. Without unit.
        """
        return self._reduce_both(*self._evaluate(theta, constraints, epsilon, seed, row_offset, instance, True))

    def _evaluate(
        self, theta: ArrayLike, constraints: ArrayLike, epsilon: ArrayLike | None, seed: Seed, row_offset: int,
        instance: dict[str, Any], grad: bool,
    ) -> tuple[Real, Real | None]:  # fmt: skip
        layer = self._layer
        if constraints is None:
            raise TypeError("constraints must be given, got None: without any the loss is 0")
        bound, draw = layer._prepare(
            theta, epsilon, seed, row_offset, {**instance, "constraints": constraints}, value=True
        )
        with layer._counting(draw):
            free = layer._solver._of_value()._problem(theta, instance)
            values, slopes = [], []
            for problem in (free, bound):
                run = start(problem, draw)
                solutions, value, _, _ = run.forward(True, False, None)
                assert value is not None
                values.append(value)
                if grad and (layer._solver._clipped or not layer._noise._additive):
                    slopes.append(run.value_grad(None))
                elif grad:
                    slopes.append(
                        solutions.reshape(problem.theta.shape) * problem.theta.dtype.type(layer._solver._sign)
                    )
            # each draw's difference is >= 0 but for rounding
            loss = free.per_row(np.maximum(values[0] - values[1], 0.0))
            return loss, free.grad(slopes[0] - slopes[1]) if grad else None
