"""Estimators: what one set of draws, or a closed form, tells of y_eps, F_eps and their derivatives.

A new estimator is one subclass of `Estimate` here and its name in `available`.
"""

from __future__ import annotations

import math
import threading
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._checks import Real, as_int, as_like
from ._run import Draw, Problem, start
from .noise import Gumbel, NoiseBase, Normal
from .solvers import Argmax, Solver


def _uniform(noise: NoiseBase) -> bool:
    scale = np.asarray(noise.scale)
    return bool((scale > 0).all() and (scale == scale.flat[0]).all()) if scale.size else True


def _comparable(noise: NoiseBase) -> bool:
    """Widths so alike that a quadrature resolves the narrowest in reasonable time."""
    scale = np.asarray(noise.scale)
    return not scale.size or bool(0 < scale.max() <= 512 * scale.min())


def available(solver: Solver, noise: NoiseBase) -> list[str]:
    """Estimators that exist for this solver and noise, the best first."""
    names = ["score"]
    closed = (isinstance(noise, Normal) and _comparable(noise)) or (isinstance(noise, Gumbel) and _uniform(noise))
    if isinstance(solver, Argmax) and closed:
        names.insert(0, "exact")
    return names


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
        ``"exact"`` or ``"score"``: what was used.

    Raises
    ------
    ValueError
        What needs a value, of a solver that is no linear oracle; derivatives, with noise that has no score.

    Notes
    -----
    Standard errors: sample standard deviation over sqrt M; of the M / 2 pair means for antithetic draws. NaN for one
    draw, 0 when exact.

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

    # ---- shapes ----

    def _solution(self, flat: Real) -> Real:
        return flat.reshape(self._problem.batch + self._problem.solution)

    def _cotangent(self, g: ArrayLike) -> Real:
        problem = self._problem
        return as_like("g", g, problem.batch + problem.solution, problem.theta.dtype)

    def _tangent(self, t: ArrayLike) -> Real:
        return as_like("tangent", t, self._problem.theta.shape, self._problem.theta.dtype)

    def _per_row(self, values: NDArray[np.float64] | None) -> Real:
        return self._problem.per_row(values)

    def _epsilon(self) -> NDArray[np.float64]:
        assert self._draw.epsilon is not None
        return self._draw.epsilon

    def _sums(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of each row's item."""
        return _row_sums(x.reshape(len(self._epsilon()), math.prod(self._problem.item)))

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
        product = self.vjp(g).astype(np.float64) * theta
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
        return solutions.reshape(len(order), *self._problem.solution), weights

    def _drawn(self) -> _core.Run:
        return self._run

    # ---- what an estimator says ----

    @property
    def y(self) -> Real:
        """The perturbed maximizer y_eps = E y*(theta + epsilon Z), shape (*batch, *solution)."""
        raise NotImplementedError

    @property
    def y_stderr(self) -> Real:
        """Standard error of `y`, like y."""
        raise NotImplementedError

    @property
    def value(self) -> Real:
        """The perturbed maximum F_eps = E max <y, theta + epsilon Z>, shape (*batch,), in the unit of theta."""
        raise NotImplementedError

    @property
    def value_stderr(self) -> Real:
        """Standard error of `value`, shape (*batch,); NaN where the noise has no variance."""
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
        raise NotImplementedError

    def vjp_stderr(self, g: ArrayLike) -> Real:
        """Standard error of ``vjp(g)``, like theta."""
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


class ScoreEstimate(Estimate):
    """The score estimator: J^T g = E[<y* - b, g> s(Z)] / epsilon, unbiased for any solver and baseline b."""

    method: ClassVar[str] = "score"

    def __init__(self, solver: Solver, noise: NoiseBase, problem: Problem, draw: Draw, *, value: bool = False) -> None:
        super().__init__(solver, noise, problem, draw, start(problem, draw))
        wanted = value and solver._linear and noise._has_value
        y, value_, stderr, clipped = self._run.forward(wanted, value and solver._clipped, None)
        self._y = self._solution(y)
        self._values = None if value_ is None else (value_, stderr)
        self._clipped = clipped

    @property
    def y(self) -> Real:
        """Mean of the draws."""
        return self._y.copy()  # what users write into it changes nothing here

    @property
    def y_stderr(self) -> Real:
        """Sample standard deviation of the draws (or pair means) over the root of their number."""
        return self._solution(self._run.y_stderr())

    @property
    def value(self) -> Real:
        """Mean of the draws' maxima."""
        self._need_value()
        assert self._values is not None
        return self._per_row(self._values[0])

    @property
    def value_stderr(self) -> Real:
        """Sample standard deviation of the maxima over the root of their number."""
        self._need_value()
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
        if self._solver._clipped or not self._noise._additive:
            return self._run.value_grad(None)
        return self._y * self._solver._sign if self._solver._sign != 1 else self._y.copy()

    def vjp(self, g: ArrayLike) -> Real:
        """Mean of <y* - b, g> s(Z) / epsilon."""
        self._need_score()
        return self._run.vjp(self._cotangent(g), False)[0]

    def vjp_stderr(self, g: ArrayLike) -> Real:
        """Standard deviation of the draws' contributions over the root of their number."""
        self._need_score()
        error = self._run.vjp(self._cotangent(g), True)[1]
        assert error is not None
        return error

    def jvp(self, tangent: ArrayLike) -> Real:
        """Mean of (y* - b) <s(Z), t> / epsilon."""
        self._need_score()
        return self._solution(self._run.jvp(self._tangent(tangent)))

    def jacobian(self) -> Real:
        """Mean of (y* - b) s(Z)^T / epsilon."""
        self._need_score()
        problem = self._problem
        return self._run.jacobian().reshape(problem.batch + problem.solution + problem.item)


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

    def vjp(self, g: ArrayLike) -> Real:
        """J g, by the same nodes as y; J is symmetric."""
        product = self._run.exact(False, False, self._cotangent(g), False)[2]
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
        return jacobian.reshape(self._problem.batch + self._problem.solution + self._problem.item)


ESTIMATES: dict[str, Any] = {"score": ScoreEstimate, "exact": ExactEstimate}
