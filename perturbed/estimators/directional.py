"""The directional estimator: jumps of y* across the tangent, the noise along it integrated by parts."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Real
from ..noise import NoiseBase, Normal
from ..solvers import Solver
from .score import ScoreEstimate


def has_directional(solver: Solver, noise: NoiseBase) -> bool:
    """Say whether the noise is additive and normal: then any solver has a JVP, and linear oracles a VJP."""
    return isinstance(noise, Normal)


def symmetric(solver: Solver, beyond: str | None = None) -> bool:
    """Say whether J is a Hessian (up to a sign): a linear oracle, nothing clipped, and nothing found by search."""
    return solver._linear and not solver._clipped and solver._of_value() is solver and beyond is None


class DirectionalEstimate(ScoreEstimate):
    """Half the jump of y* over the noise along a tangent, in expectation: two solves a draw, made when asked for."""

    method: ClassVar[str] = "directional"

    @staticmethod
    def check_vjp(solver: Solver, beyond: str | None = None) -> None:
        """Refuse what needs a symmetric J."""
        if not symmetric(solver, beyond):
            raise ValueError(
                f"estimator 'directional' has no VJP for {beyond or repr(solver)}, whose J is not symmetric: use its "
                "jvp, or estimator='score'"
            )

    @property
    def _symmetric(self) -> bool:
        return symmetric(self._solver, self._problem.beyond)

    def _vjp(self, cotangent: Real) -> Real:
        return self._along(cotangent, False)[0].reshape(self._problem.theta.shape)

    def _along(self, t: Real, stderr: bool) -> tuple[Real, Real | None]:
        """J g = J^T g of a linear oracle, where g is a tangent, too."""
        self.check_vjp(self._solver, self._problem.beyond)
        return self._run.directional(t, True, stderr)

    def _vjp_stderr(self, cotangent: Real) -> Real:
        """Standard deviation of the jumps over the root of their number: an upper bound, as radii are stratified."""
        error = self._along(cotangent, True)[1]
        assert error is not None
        return error.reshape(self._problem.theta.shape)

    def vjp_epsilon(self, g: ArrayLike) -> Real:
        """d<g, y_eps>/d epsilon, by the score where J is not symmetric."""
        if self._symmetric:
            return super().vjp_epsilon(g)
        return self._per_row(self._run.vjp_epsilon(self._cotangent(g)))

    def jvp(self, tangent: ArrayLike) -> Real:
        """J t, by jumps along t."""
        return self._change(self._run.directional(self._tangent(tangent), self._symmetric, False)[0])

    def jacobian(self) -> Real:
        """All of J, one tangent for each entry of theta."""
        rows, n = len(self._epsilon()), math.prod(self._problem.core_item)
        columns = []
        for j in range(n):
            t = np.zeros((rows, n), self._problem.theta.dtype)
            t[:, j] = 1
            columns.append(self._run.directional(t.reshape(self._problem.theta.shape), self._symmetric, False)[0])
        return self._problem.jacobian(np.ascontiguousarray(np.stack(columns, axis=-1)))
