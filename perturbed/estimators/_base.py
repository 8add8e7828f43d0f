"""What every estimator tells: shapes, checks, and what all share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._checks import Real, as_int
from .._run import Draw, Problem
from ..noise import NoiseBase
from ..solvers import Solver
from ._scrambles import scrambled, scrambles, spread


def need_value(solver: Solver, noise: NoiseBase) -> None:
    """Refuse values of what has none."""
    solver._need_linear("value")
    if not noise._has_value:
        raise ValueError(f"value needs noise with a mean, and {noise!r} has none")


def need_score(noise: NoiseBase) -> None:
    """Refuse derivatives by a noise without a score."""
    if not noise._has_score:
        raise ValueError(f"derivatives need noise with a score, and {noise!r} has none: forward only")


class Estimate:
    """All that one set of solves tells about the perturbed maximizer.

    Made by ``layer.estimate(theta, ...)``. `y` and `value` come with it; the rest is computed from the same draws when
    it is asked for. theta, epsilon and values share one unit; y has none.

    Attributes
    ----------
    method : str
        ``"exact"``, ``"rao_blackwell"``, ``"directional"`` or ``"score"``: what was used.

    Raises
    ------
    ValueError
        What needs a value, of a solver that is no linear oracle; derivatives, with noise that has no score.

    Notes
    -----
    Standard errors: sample standard deviation over sqrt M; of the M / 2 pair means for antithetic draws. NaN for one
    draw, 0 when exact. With lhs that is an upper bound. Sobol draws do not tell their own spread: there a standard
    error is the standard deviation of four more estimates, from independent scrambles of the same M points, made each
    time one is asked for: four times the solves (calls of ``fn``, for an Oracle). Its square is unbiased, with three
    degrees of freedom, so ``error / stderr`` follows a t distribution with three, not a normal one; M may be 1.

    Examples
    --------
    >>> import perturbed as pt
    >>> est = pt.Perturbed(pt.Argmax(), noise="gumbel").estimate([.2, 1.5, -.3])
    >>> est.method, est.y.round(3), est.vjp([1., 0., 0.]).round(3)
    ('exact', array([0.19 , 0.695, 0.115]), array([ 0.154, -0.132, -0.022]))
    """

    method: ClassVar[str] = ""

    def __init__(self, solver: Solver, noise: NoiseBase, problem: Problem, draw: Draw, run: _core.Run) -> None:
        self._solver, self._noise, self._problem, self._draw, self._run = solver, noise, problem, draw, run

    @staticmethod
    def check_vjp(solver: Solver, beyond: str | None = None) -> None:
        """Refuse pullbacks where the estimator has none; `beyond` as in `Problem`."""

    # ---- shapes ----

    def _solution(self, flat: Real) -> Real:
        return self._problem.solutions(flat)

    def _change(self, flat: Real) -> Real:
        return self._problem.changes(flat)

    def _cotangent(self, g: ArrayLike) -> Real:
        return self._problem.cotangent(g)

    def _tangent(self, t: ArrayLike) -> Real:
        return self._problem.tangent(t)

    def _per_row(self, values: NDArray[np.float64] | None) -> Real:
        return self._problem.per_row(values)

    def _epsilon(self) -> NDArray[np.float64]:
        assert self._draw.epsilon is not None
        return self._draw.epsilon

    def _sums(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of each row's item."""
        return _row_sums(x.reshape(len(self._epsilon()), math.prod(self._problem.core_item)))

    def _need_value(self) -> None:
        need_value(self._solver, self._noise)

    def _need_score(self) -> None:
        need_score(self._noise)

    # ---- shared by all estimators ----

    def vjp_epsilon(self, g: ArrayLike) -> Real:
        """d<g, y_eps>/d epsilon.

        Parameters
        ----------
        g : array_like, like y
            Cotangent.

        Returns
        -------
        ndarray, shape (*batch,)
        """
        self._need_score()
        cotangent = self._cotangent(g)
        # a coordinate with no noise is a constant to the score estimator: its share of <J^T g, theta> would be missing
        constants = bool((np.asarray(self._noise.scale) == 0).any())
        if constants or not (self._solver._homogeneous and self._noise._additive):
            return self._per_row(self._run.vjp_epsilon(cotangent))
        # y_eps depends on theta / epsilon alone: -<J^T g, theta> / epsilon
        theta = np.where(np.isneginf(self._problem.theta), 0.0, self._problem.theta).astype(np.float64)
        product = self._vjp(cotangent).astype(np.float64) * theta
        return self._per_row(-self._sums(product) / self._epsilon())

    def atoms(self, i: int) -> tuple[Real, NDArray[np.float64]]:
        """Distinct solutions among the draws of one row.

        Parameters
        ----------
        i : int
            Flat index of the row.

        Returns
        -------
        solutions : ndarray, shape (K, *solution)
            Heaviest first; of equal weight the first drawn first.
        weights : ndarray of float64, shape (K,)
            Shares of the draws.
        """
        if len(self._epsilon()) == 0:
            raise ValueError(f"i must be the flat index of a row, and an empty batch has none, got {i!r}")
        row = as_int("i", i, 0, len(self._epsilon()) - 1)
        counts: dict[bytes, int] = {}
        first: dict[bytes, Real] = {}
        for m in range(0, self._draw.samples, 64):
            block = self._drawn().solutions(row, 1, m, min(64, self._draw.samples - m))[0]
            for y in block:
                key = (y + 0.0).tobytes()  # -0 and 0 are one solution
                counts[key] = counts.get(key, 0) + 1
                first.setdefault(key, y)
        order = sorted(counts, key=lambda key: -counts[key])  # stable: of equal counts the first drawn
        solutions = np.array([first[key] for key in order], dtype=self._problem.theta.dtype)
        weights = np.array([counts[key] / self._draw.samples for key in order])
        return self._problem.item_solutions(solutions), weights

    def _drawn(self) -> _core.Run:
        return self._run

    def _again(self, draw: Draw, value: bool) -> Self:
        """The same estimate from other draws."""
        raise NotImplementedError

    def _spread(self, told: Callable[[Self], Real], value: bool = False) -> Real:
        """Standard error of what one estimate tells, from others with scrambles of their own, one at a time."""
        return spread(told(self._again(draw, value)) for draw in scrambles(self._draw))

    # ---- what an estimator says ----

    @property
    def y(self) -> Real:
        """The perturbed maximizer y_eps = E y*(theta + epsilon Z), shape (*batch, *solution)."""
        raise NotImplementedError

    def _give_y(self, last: bool) -> Real:
        """`y` for whoever asks nothing more (last), or nothing but vjp: without a copy where that can be."""
        return self.y

    @property
    def y_stderr(self) -> Real:
        """Standard error of `y`, like y."""
        if scrambled(self._draw):
            return self._spread(lambda other: other.y)
        return self._y_stderr()

    def _y_stderr(self) -> Real:
        """`y_stderr` from the draws themselves."""
        raise NotImplementedError

    @property
    def value(self) -> Real:
        """The perturbed maximum F_eps = E max <y, theta + epsilon Z>, shape (*batch,), in the unit of theta."""
        raise NotImplementedError

    @property
    def value_stderr(self) -> Real:
        """Standard error of `value`, shape (*batch,); NaN where the noise has no variance."""
        self._need_value()
        if scrambled(self._draw) and self._noise._has_variance:
            return self._spread(lambda other: other.value, value=True)
        return self._value_stderr()

    def _value_stderr(self) -> Real:
        """`value_stderr` from the draws themselves."""
        raise NotImplementedError

    @property
    def value_epsilon(self) -> Real:
        """dF_eps/d epsilon = E<y*, Z>, shape (*batch,)."""
        raise NotImplementedError

    @property
    def clipped(self) -> Real:
        """Share of noisy costs, over all open elements and draws, that were clipped at 0; shape (*batch,)."""
        raise NotImplementedError

    def value_grad(self) -> Real:
        """Gradient of the value, like theta: y_eps for additive noise where nothing is clipped."""
        raise NotImplementedError

    def vjp(self, g: ArrayLike) -> Real:
        """J^T g, like theta, for a cotangent g like y."""
        return self._problem.grad(self._vjp(self._cotangent(g)))

    def _vjp(self, cotangent: Real) -> Real:
        """J^T g in the core's layout, for a cotangent in the core's."""
        raise NotImplementedError

    def vjp_stderr(self, g: ArrayLike) -> Real:
        """Standard error of ``vjp(g)``, like theta."""
        self._need_score()
        cotangent = self._cotangent(g)
        if scrambled(self._draw):
            return self._spread(lambda other: other._problem.grad(other._vjp(cotangent)))
        return self._problem.grad(self._vjp_stderr(cotangent))

    def _vjp_stderr(self, cotangent: Real) -> Real:
        """`vjp_stderr` from the draws themselves, in the core's layout."""
        raise NotImplementedError

    def jvp(self, tangent: ArrayLike) -> Real:
        """J t, like y, for a tangent t like theta."""
        raise NotImplementedError

    def jacobian(self) -> Real:
        """J = d y_eps / d theta, shape (*batch, *solution, *item)."""
        raise NotImplementedError


def _row_sums(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of rows in an order that numpy's version and machine do not change: halves are added, again and again."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        odd = x[..., 2 * half :]
        x = x[..., :half] + x[..., half : 2 * half]
        if odd.shape[-1]:
            x = np.concatenate([x, odd], axis=-1)
    return x[..., 0] if x.shape[-1] else np.zeros(x.shape[:-1])
