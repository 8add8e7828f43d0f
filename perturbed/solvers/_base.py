"""What every solver shares: a noise-free call, its value, its objective, its instance arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Real, as_array, as_ints, as_mask, as_theta, broadcast, place
from .._run import PLAIN, Draw, Problem, solve, start
from .._values import Frozen

_COUNTS = {1: "0 or 1", 2: "0, 1 or 2"}  # how often a solution uses an entry


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

        Raises
        ------
        ValueError
            As a call does, and where a maximum is too large for theta's dtype.
        """
        self._need_linear("value")
        problem = self._of_value()._passing(theta, instance)
        with np.errstate(over="ignore"):
            values = problem.per_row(solve(problem, value=True)[1])
        finite = np.isfinite(values)
        if not finite.all():
            where = np.unravel_index(int(np.argmin(finite)), finite.shape)
            raise ValueError(f"{place('theta', where)}: the maximum is too large for {values.dtype}")
        return values

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
    array = as_ints(name, values)
    check_trailing(name, array, batch, trailing)
    if array.shape == trailing:
        return np.array(array, order="C").reshape(1, *trailing)
    return np.array(broadcast(name, array, batch + trailing), order="C").reshape(-1, *trailing)


def check_trailing(name: str, array: NDArray[Any], batch: tuple[int, ...], trailing: tuple[int, ...]) -> None:
    """An entry has its own shape: only rows are broadcast."""
    if array.shape[max(array.ndim - len(trailing), 0) :] != trailing:
        shapes = " or ".join(map(str, dict.fromkeys((trailing, batch + trailing))))
        raise ValueError(f"{name} must have shape {shapes}, got {array.shape}")


def first_row(bad: Any, batch: tuple[int, ...]) -> tuple[int, str]:
    """The first bad entry of `per_row_ints`, and what an error calls its row: "3", or "(1, 0)" of a 2-D batch."""
    row = int(np.argmax(bad))
    if len(bad) == 1 or len(batch) == 1:
        return row, str(row)
    return row, str(tuple(int(i) for i in np.unravel_index(row, batch)))


def decode(y: object, item_ndim: int, most: int = 1) -> tuple[list[tuple[str, NDArray[Any]]], bool]:
    """Solutions of a decoder, whole numbers up to `most`, each after its name, and whether it was one alone."""
    array = as_array("y", y)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"y must be real, got {array.dtype}")
    if array.ndim < item_ndim:
        raise ValueError(f"y must have at least {item_ndim} dimension{'s' * (item_ndim > 1)}, got {array.ndim}")
    batch = array.shape[: array.ndim - item_ndim]
    if 0 in array.shape[len(batch) :]:
        raise ValueError(f"y must have at least one entry an item, got shape {array.shape}")
    good = np.logical_or.reduce([array == count for count in range(most + 1)])
    if not good.all():
        where = tuple(np.argwhere(~good)[0])
        raise ValueError(f"y must be {_COUNTS[most]}, got {array[where]} at {place('y', where)}")
    return [(place("y", row), array[row]) for row in np.ndindex(batch)], not batch
