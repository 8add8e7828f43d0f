"""The score estimator: from draws alone, for any solver."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Real
from .._run import Draw, Problem, start
from ..noise import NoiseBase
from ..solvers import Solver
from ._base import Estimate


class ScoreEstimate(Estimate):
    """The score estimator: J^T g = E[<y* - b, g> s(Z)] / epsilon, unbiased for any solver and baseline b."""

    method: ClassVar[str] = "score"

    def __init__(self, solver: Solver, noise: NoiseBase, problem: Problem, draw: Draw, *, value: bool = False) -> None:
        super().__init__(solver, noise, problem, draw, start(problem, draw))
        wanted = value and solver._linear and noise._has_value
        y, value_, stderr, clipped = self._run.forward(wanted, value and solver._clipped, None)
        self._y = y
        self._values = None if value_ is None else (value_, stderr)
        self._clipped = clipped

    def _again(self, draw: Draw, value: bool) -> Self:
        return type(self)(self._solver, self._noise, self._problem, draw, value=value)

    @property
    def y(self) -> Real:
        """Mean of the draws."""
        return self._solution(self._y.copy())  # what users write into it changes nothing here

    def _give_y(self, last: bool) -> Real:
        if last or self._run.give_y():
            y, self._y = self._y, self._y[:0]
            return self._solution(y)
        return self.y

    def _y_stderr(self) -> Real:
        """Sample standard deviation of the draws (or pair means) over the root of their number."""
        return self._change(self._run.y_stderr())

    @property
    def value(self) -> Real:
        """Mean of the draws' maxima."""
        self._need_value()
        assert self._values is not None
        return self._per_row(self._values[0])

    def _value_stderr(self) -> Real:
        """Sample standard deviation of the maxima over the root of their number."""
        assert self._values is not None
        error = self._values[1]
        return self._per_row(error if self._noise._has_variance else np.full_like(error, np.nan))

    @property
    def value_epsilon(self) -> Real:
        """Mean of <y*, Z>, by the envelope theorem."""
        self._need_value()
        return self._per_row(self._run.value_epsilon())

    @property
    def clipped(self) -> Real:
        """Counted over the draws; 0 for solvers that clip nothing."""
        return self._per_row(np.zeros(len(self._epsilon())) if self._clipped is None else self._clipped)

    def value_grad(self) -> Real:
        """The mean of the draws, each weighted by d theta'/d theta."""
        self._need_value()
        problem = self._problem
        if self._solver._clipped or not self._noise._additive or self._solver._of_value() is not self._solver:
            return problem.grad(self._run.value_grad(None))
        y = self._y.reshape(problem.theta.shape)
        return problem.grad(y * self._solver._sign if self._solver._sign != 1 else y.copy())

    def vjp(self, g: ArrayLike) -> Real:
        """Mean of <y* - b, g> s(Z) / epsilon."""
        self._need_score()
        return super().vjp(g)

    def _vjp(self, cotangent: Real) -> Real:
        return self._run.vjp(cotangent, False)[0]

    def _vjp_stderr(self, cotangent: Real) -> Real:
        """Standard deviation of the draws' contributions over the root of their number."""
        error = self._run.vjp(cotangent, True)[1]
        assert error is not None
        return error

    def jvp(self, tangent: ArrayLike) -> Real:
        """Mean of (y* - b) <s(Z), t> / epsilon."""
        self._need_score()
        return self._change(self._run.jvp(self._tangent(tangent)))

    def jacobian(self) -> Real:
        """Mean of (y* - b) s(Z)^T / epsilon."""
        self._need_score()
        return self._problem.jacobian(self._run.jacobian())
