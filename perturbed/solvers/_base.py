"""What every solver shares: a noise-free call, its value, its objective, its instance arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Real, as_array, as_mask, as_theta, broadcast
from .._run import PLAIN, Draw, Problem, solve, start
from .._values import Frozen


@dataclass(frozen=True, eq=False, repr=False)
class Solver(Frozen):
    """A solver y*(theta) = argmax over a finite set Y of <y, theta>. Base class of all solvers.

    It maximises: pass costs negated. A solver is a frozen value: picklable, hashable, comparable, its repr its
    constructor call. Your own solver is an `Oracle`, not a subclass of this.

    Examples
    --------
    >>> import perturbed as pt
    >>> pt.TopK(2) == pt.TopK(k=2), isinstance(pt.TopK(2), pt.Solver)
    (True, True)
    """

    _core_name: ClassVar[str] = ""
    _item_ndim: ClassVar[int] = 1
    _instance: ClassVar[tuple[str, ...]] = ()
    _linear: ClassVar[bool] = True
    _sign: ClassVar[float] = 1.0  # -1: maximises -<y, theta>
    _clipped: ClassVar[bool] = False
    _homogeneous: ClassVar[bool] = True  # y*(c theta) = y*(theta) for c > 0
    _moves: ClassVar[bool] = False  # the core knows the thresholds of a draw: Rao-Blackwell exists
    _moves_most: ClassVar[int] = (
        65536  # entries up to which "auto" takes it: its time and memory grow faster than a solve's
    )
    _default_baseline: ClassVar[str] = "hybrid"
    _forbidden: ClassVar[str] = "uses an entry that theta forbids (-inf or masked)"  # what is wrong with such a y

    # ---- what a solver says about itself ----

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        """Options for the core."""
        return ()

    def _solution_shape(self, item: tuple[int, ...]) -> tuple[int, ...]:
        return item

    def _of_value(self) -> Solver:
        """The linear oracle whose objective is this solver's value; itself unless it returns something else."""
        return self

    def _no_moves(self, instance: dict[str, Any]) -> str | None:
        """What these instance arguments bring that has no thresholds and no symmetric J, where others have them."""
        return None

    def _arrays(self, theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
        """Instance arrays for the core; may write -inf into theta, which is private."""
        if instance.get("mask") is not None:
            theta[~as_mask(instance["mask"], theta.shape)] = -np.inf
        return ()

    # ---- what users call ----

    def __call__(self, theta: ArrayLike, **instance: Any) -> Real:
        """Solve a batch exactly, with no noise.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores, to be maximised: pass costs negated.
        **instance
            Instance arguments of this solver, one for each row or broadcast.

        Returns
        -------
        ndarray, shape (*batch, *solution)
            The maximiser, in theta's dtype; ties by the rule of this solver.

        Raises
        ------
        TypeError
            Where theta is not real, or an instance argument is unknown.
        ValueError
            Where theta holds NaN or +inf, or a row has no solution: the message names the argument and the row.
        """
        problem = self._passing(theta, instance)
        return problem.solutions(solve(problem)[0])

    def value(self, theta: ArrayLike, **instance: Any) -> Real:
        """Maximum over y of the objective.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores.
        **instance
            Instance arguments of this solver.

        Returns
        -------
        ndarray, shape (*batch,)
            In the unit of theta.
        """
        self._need_linear("value")
        problem = self._of_value()._passing(theta, instance)
        return problem.per_row(solve(problem, value=True)[1])

    def objective(self, theta: ArrayLike, y: ArrayLike, **instance: Any) -> Real:
        """Objective of a given solution.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores.
        y : array_like, shape (*batch, *item)
            Solutions; -inf results where one uses what theta forbids.
        **instance
            Instance arguments of this solver.

        Returns
        -------
        ndarray, shape (*batch,)
            <y, theta> in the unit of theta.
        """
        self._need_linear("objective")
        problem = self._of_value()._passing(theta, instance)
        return problem.per_row(start(problem, PLAIN).objective(problem.given("y", y)))

    # ---- inside ----

    def _need_linear(self, what: str) -> None:
        if not self._linear:
            raise ValueError(f"{what} needs a linear oracle, and {self!r} is none")

    def _check_instance(self, instance: dict[str, Any]) -> None:
        for name in instance:
            if name not in self._instance:
                known = ", ".join(self._instance) or "none"
                raise TypeError(f"{name} is no instance argument of {type(self).__name__} (it has: {known})")

    def _problem(self, theta: ArrayLike, instance: dict[str, Any], draw: Draw = PLAIN) -> Problem:
        """Theta and instance arguments, checked and laid out for the core."""
        if instance:
            self._check_instance(instance)
        return self._lay_out(as_theta(theta, self._item_ndim), instance)

    def _passing(self, theta: ArrayLike, instance: dict[str, Any]) -> Problem:
        """As `_problem`, for a call without noise, over when it returns: theta may be the user's own array then."""
        return self._problem(theta, instance)

    def _lay_out(self, array: Real, instance: dict[str, Any]) -> Problem:
        split = array.ndim - self._item_ndim
        batch, item = array.shape[:split], array.shape[split:]
        rows = math.prod(batch)
        arrays = self._arrays(array, rows, instance)
        return Problem(self._core_name, self._ints(item), arrays, array, batch, item, self._solution_shape(item))


def per_row_ints(name: str, values: object, batch: tuple[int, ...], trailing: tuple[int, ...]) -> NDArray[np.int64]:
    """Integers, one entry of shape `trailing` a row or one for all: (rows or 1, *trailing)."""
    array = as_array(name, values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    if array.shape == trailing:
        return np.array(array, dtype=np.int64, order="C").reshape(1, *trailing)
    return np.array(broadcast(name, array, batch + trailing), dtype=np.int64, order="C").reshape(-1, *trailing)


def decode(name: str, y: object, item_ndim: int) -> tuple[NDArray[Any], bool]:
    """Solutions of a decoder as (rows, *item), and whether it was one alone."""
    array = as_array(name, y)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real, got {array.dtype}")
    if array.ndim < item_ndim:
        raise ValueError(f"{name} must have at least {item_ndim} dimensions, got {array.ndim}")
    split = array.ndim - item_ndim
    return array.reshape(-1, *array.shape[split:]), split == 0
