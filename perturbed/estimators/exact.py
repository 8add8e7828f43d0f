"""Expectations without draws: closed forms and quadratures."""

from __future__ import annotations

import threading
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._checks import Real
from .._run import Draw, Problem, start
from ..noise import NoiseBase
from ..solvers import Solver
from ._base import Estimate


def has_exact(solver: Solver, noise: NoiseBase) -> bool:
    """Say whether the core has exact forms of this solver for this noise; an item may still be too large for them."""
    known = _core.exact_noises(solver._core_name)
    if known is None or not noise._additive:
        return False
    noises, one_width, ratio = known
    scale = np.asarray(noise.scale)
    widest, narrowest = (float(scale.max()), float(scale.min())) if scale.size else (1.0, 1.0)
    one = widest == narrowest or not one_width >> noise._kind & 1
    return bool(noises >> noise._kind & 1) and one and 0 < widest <= ratio * narrowest


class BeyondExactError(ValueError):
    """An item that the exact forms do not cover, or where draws are to be preferred."""


class ExactEstimate(Estimate):
    """Expectations by closed forms and quadratures: no draws, no standard errors.

    ``preferred=True`` refuses items too, for which an exact form exists but draws are much faster.
    """

    method: ClassVar[str] = "exact"

    def __init__(
        self, solver: Solver, noise: NoiseBase, problem: Problem, draw: Draw, *, value: bool = False,
        preferred: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(solver, noise, problem, draw, start(problem, draw))
        if self._run.has_exact < (2 if preferred else 1):
            raise BeyondExactError(f"items of {problem.item} are beyond the exact forms of {solver!r}")
        wanted = value and solver._linear
        y, self._values, _, _, _ = self._run.exact(True, wanted, None, None, False)
        assert y is not None
        self._y = self._solution(y)
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
        """Chances, or expected ranks."""
        return self._y.copy()  # what users write into it changes nothing here

    @property
    def y_stderr(self) -> Real:
        """0: nothing is drawn."""
        return np.zeros_like(self._y)

    def _value(self) -> NDArray[np.float64]:
        self._need_value()
        if self._values is None:
            self._values = self._run.exact(False, True, None, None, False)[1]
        assert self._values is not None
        return self._values

    @property
    def value(self) -> Real:
        """F_eps, by the same nodes or pairs as y."""
        return self._per_row(self._value())

    @property
    def value_stderr(self) -> Real:
        """0: nothing is drawn."""
        self._need_value()
        return self.clipped

    @property
    def value_epsilon(self) -> Real:
        """(F_eps - <y_eps, theta>) / epsilon; with the solver's sign where it maximises -<y, theta>."""
        self._need_value()
        theta = np.where(np.isneginf(self._problem.theta), 0.0, self._problem.theta).astype(np.float64)
        inner = self._solver._sign * self._sums(self._y.astype(np.float64) * theta)
        return self._per_row((self._value() - inner) / self._epsilon())

    @property
    def clipped(self) -> Real:
        """0: nothing is clipped."""
        return self._per_row(np.zeros(len(self._epsilon())))

    def value_grad(self) -> Real:
        """y_eps itself; -y_eps where -<y, theta> is maximised."""
        self._need_value()
        return self._y.copy() if self._solver._sign > 0 else -self._y

    def _vjp(self, cotangent: Real) -> Real:
        """J^T g, by the same nodes or pairs as y."""
        product = self._run.exact(False, False, cotangent, None, False)[2]
        assert product is not None
        return product

    def vjp_stderr(self, g: ArrayLike) -> Real:
        """0: nothing is drawn."""
        self._cotangent(g)
        return np.zeros_like(self._problem.theta)

    def jvp(self, tangent: ArrayLike) -> Real:
        """J t, by the same nodes or pairs as y."""
        product = self._run.exact(False, False, None, self._tangent(tangent), False)[3]
        assert product is not None
        return self._solution(product)

    def jacobian(self) -> Real:
        """All of J, by the same nodes or pairs as y."""
        jacobian = self._run.exact(False, False, None, None, True)[4]
        assert jacobian is not None
        return self._problem.jacobian(jacobian)
