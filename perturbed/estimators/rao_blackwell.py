"""The Rao-Blackwell estimator: each coordinate's own noise is integrated out."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Real
from .._run import Draw, Problem
from ..noise import Gumbel, Laplace, Logistic, Multiplicative, NoiseBase, Normal
from ..solvers import Solver
from .score import ScoreEstimate


def has_rao_blackwell(solver: Solver, noise: NoiseBase) -> bool:
    """Say whether all thresholds of this solver come with a draw, and this noise has a density and a cdf."""
    own = noise.noise if isinstance(noise, Multiplicative) else noise
    return solver._moves and isinstance(own, Normal | Gumbel | Laplace | Logistic)


class RaoBlackwellEstimate(ScoreEstimate):
    """The expectation over each coordinate's own noise, by its thresholds, averaged over draws of the others."""

    method: ClassVar[str] = "rao_blackwell"

    def __init__(self, solver: Solver, noise: NoiseBase, problem: Problem, draw: Draw, *, value: bool = False) -> None:
        super().__init__(solver, noise, problem, draw, value=value)
        self._smooth: Real | None = None

    @property
    def _symmetric(self) -> bool:
        """J is a Hessian, up to a sign."""
        return self._solver._linear and not self._solver._clipped and self._noise._additive

    def _smooth_y(self) -> Real:
        if self._smooth is None:
            self._smooth = self._run.rao_blackwell(None, False)[0]
        return self._smooth.copy()  # what users write into it changes nothing here

    @property
    def y(self) -> Real:
        """Mean over draws of each entry's expectation given all noise but its own."""
        return self._solution(self._smooth_y())

    def _give_y(self, last: bool) -> Real:
        return self.y

    def _y_stderr(self) -> Real:
        """Sample standard deviation of these expectations over the root of the number of draws (or pairs)."""
        error = self._run.rao_blackwell(None, True)[1]
        assert error is not None
        return self._change(error)

    def value_grad(self) -> Real:
        """`y` itself; by draws where costs are clipped or noise is multiplicative."""
        self._need_value()
        if not self._symmetric:
            return super().value_grad()
        y = self._smooth_y().reshape(self._problem.theta.shape)
        return self._problem.grad(y * y.dtype.type(self._solver._sign))

    def _vjp(self, cotangent: Real) -> Real:
        """Mean of p(u) <g, y_in - y_out> / epsilon, u where a coordinate's own noise switches the solution."""
        return self._run.rao_blackwell(cotangent, False)[0]

    def _vjp_stderr(self, cotangent: Real) -> Real:
        """Standard deviation of the draws' contributions over the root of their number."""
        error = self._run.rao_blackwell(cotangent, True)[1]
        assert error is not None
        return error

    def jvp(self, tangent: ArrayLike) -> Real:
        """J t: of a linear oracle J^T t, else by all of J."""
        t = self._tangent(tangent)
        if self._symmetric:
            return self._change(self._run.rao_blackwell(t, False)[0].reshape(self._y.shape))
        rows = self._jacobian_rows()
        out = np.empty(rows.shape[:2], rows.dtype)
        for i in range(rows.shape[1]):
            out[:, i] = self._sums(rows[:, i].astype(np.float64) * t.reshape(rows[:, i].shape))
        return self._change(out)

    def jacobian(self) -> Real:
        """All of J, one pullback for each entry of a solution."""
        return self._problem.jacobian(self._jacobian_rows())

    def _jacobian_rows(self) -> Real:
        rows, size = self._y.reshape(len(self._epsilon()), math.prod(self._y.shape[1:])).shape
        n = math.prod(self._problem.core_item)
        out = np.empty((rows, size, n), self._problem.theta.dtype)
        for i in range(size):
            g = np.zeros((rows, size), out.dtype)
            g[:, i] = 1
            out[:, i] = self._run.rao_blackwell(g, False)[0].reshape(rows, n)
        return out
