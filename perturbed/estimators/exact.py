"""Closed forms and quadratures."""

from __future__ import annotations

import threading
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from .._checks import Real
from .._run import Draw, Problem, start
from ..noise import Gumbel, NoiseBase, Normal
from ..solvers import Argmax, Solver
from ._base import Estimate


def _uniform(noise: NoiseBase) -> bool:
    scale = np.asarray(noise.scale)
    return bool((scale > 0).all() and (scale == scale.flat[0]).all()) if scale.size else True


def _comparable(noise: NoiseBase) -> bool:
    """Widths so alike that a quadrature resolves the narrowest in reasonable time."""
    scale = np.asarray(noise.scale)
    return not scale.size or bool(0 < scale.max() <= 512 * scale.min())


def has_exact(solver: Solver, noise: NoiseBase) -> bool:
    """Say whether there is a closed form, or a quadrature, for this solver and noise."""
    closed = (isinstance(noise, Normal) and _comparable(noise)) or (isinstance(noise, Gumbel) and _uniform(noise))
    return isinstance(solver, Argmax) and closed


class ExactEstimate(Estimate):
    """Closed forms of a perturbed argmax: softmax for Gumbel noise, quadrature for normal noise. No standard errors."""

    method: ClassVar[str] = "exact"

    def __init__(self, solver: Solver, noise: NoiseBase, problem: Problem, draw: Draw, *, value: bool = False) -> None:
        super().__init__(solver, noise, problem, draw, start(problem, draw))
        y, self._values, _, _ = self._run.exact(True, value, None, False)
        assert y is not None
        self._y = y
        self._has_drawn = False
        self._lock = threading.Lock()

    def _drawn(self) -> _core.Run:
        with self._lock:  # a second forward would free the codes that another thread reads
            if not self._has_drawn:
                self._run.forward(False, False, None)
                self._has_drawn = True
        return self._run

    @property
    def y(self) -> Real:
        """Softmax, or the chances of each entry by quadrature."""
        return self._y.copy()  # what users write into it changes nothing here

    @property
    def y_stderr(self) -> Real:
        """0: nothing is drawn."""
        return np.zeros_like(self._y)

    @property
    def value(self) -> Real:
        """Log-sum-exp plus Euler's constant times epsilon, or a quadrature."""
        if self._values is None:
            self._values = self._run.exact(False, True, None, False)[1]
        return self._per_row(self._values)

    @property
    def value_stderr(self) -> Real:
        """0: nothing is drawn."""
        return self.clipped

    @property
    def value_epsilon(self) -> Real:
        """(F_eps - <y_eps, theta>) / epsilon."""
        theta = np.where(np.isneginf(self._problem.theta), 0.0, self._problem.theta).astype(np.float64)
        inner = self._sums(self._y.astype(np.float64) * theta)
        value = self._values if self._values is not None else self._run.exact(False, True, None, False)[1]
        assert value is not None
        return self._per_row((value - inner) / self._epsilon())

    @property
    def clipped(self) -> Real:
        """0: an argmax clips nothing."""
        return self._per_row(np.zeros(len(self._epsilon())))

    def value_grad(self) -> Real:
        """y_eps itself."""
        return self._y.copy()

    def _vjp(self, cotangent: Real) -> Real:
        """J g, by the same nodes as y; J is symmetric."""
        product = self._run.exact(False, False, cotangent, False)[2]
        assert product is not None
        return product

    def vjp_stderr(self, g: ArrayLike) -> Real:
        """0: nothing is drawn."""
        return np.zeros_like(self._cotangent(g))

    def jvp(self, tangent: ArrayLike) -> Real:
        """J t, by the same nodes as y."""
        product = self._run.exact(False, False, self._tangent(tangent), False)[2]  # J is symmetric
        assert product is not None
        return product

    def jacobian(self) -> Real:
        """All of J, by the same nodes as y."""
        jacobian = self._run.exact(False, False, None, True)[3]
        assert jacobian is not None
        return self._problem.jacobian(jacobian)
