"""The user's own solver or function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Real, as_array, as_bool, as_int, as_theta
from .._run import PLAIN, Draw, Problem, start
from ._base import Solver


@dataclass(frozen=True, eq=False, repr=False)
class Oracle(Solver):
    """Any function of one array as a solver. A linear one maximises <y, theta>: negate costs inside or outside `fn`.

    Parameters
    ----------
    fn : callable
        ``fn(item, **keywords)`` gives the solution of one item, or ``fn(stack, **keywords)`` those of the whole stack
        (M, *item) when `batched`. Each solution has the same shape; it is converted to theta's dtype. Keywords of the
        call go to `fn`, each cut to its row's entry: an array whose first dimensions are the batch, or a sequence (any
        but str and bytes; nested for a batch of more dimensions) with one entry a row. What is the same for all rows
        belongs into `fn`: ``functools.partial``.
    item_ndim : int, default 1
        Dimensions of an item; those before are batch.
    batched : bool, default False
        `fn` takes all draws of a row together.
    linear : bool, default True
        `fn` maximises <y, theta> over a finite set and y is shaped like theta: value and losses exist. Otherwise any
        function is made differentiable by smoothing, a renderer, a simulator, a controller; no value, no loss.

    Raises
    ------
    Exception
        What `fn` raises comes back as itself, with a note of the row and draw.
    ValueError
        Where `fn` returns numbers that are not finite, a wrong shape or, if `linear`, a y that is not 0 where theta is
        -inf.

    Notes
    -----
    `fn` is called in one thread, in order of rows and draws. Ties are broken as `fn` breaks them. As picklable and
    hashable as `fn`. theta and epsilon share one unit; y has that of `fn`.

    References
    ----------
    Abernethy, Lee & Tewari, "Perturbation techniques in online learning and optimization", 2016, for smoothing.

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> sign = pt.Oracle(np.sign, linear=False)
    >>> sign([.2, -1.5])
    array([ 1., -1.])
    """

    fn: Callable[..., Any]
    item_ndim: int = 1
    _: KW_ONLY
    batched: bool = False
    linear: bool = True

    _core_name: ClassVar[str] = "oracle"
    _homogeneous: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise TypeError(f"fn must be callable, got {type(self.fn).__name__}")
        object.__setattr__(self, "item_ndim", as_int("item_ndim", self.item_ndim, 0, 32))
        object.__setattr__(self, "batched", as_bool("batched", self.batched))
        object.__setattr__(self, "linear", as_bool("linear", self.linear))

    @property
    def _item_ndim(self) -> int:  # type: ignore[override]
        return self.item_ndim

    @property
    def _linear(self) -> bool:  # type: ignore[override]
        return self.linear

    def _problem(self, theta: ArrayLike, instance: dict[str, Any], draw: Draw = PLAIN) -> Problem:
        array = as_theta(theta, self.item_ndim)
        split = array.ndim - self.item_ndim
        batch, item = array.shape[:split], array.shape[split:]
        call = _Call(self, batch, array.dtype, _cut(instance, batch))
        if math.prod(batch):
            call.learn_shape(array, item, draw)
        else:
            call.solution = item
        if self.linear and call.solution != item:
            raise ValueError(f"fn must return theta's shape {item} for a linear oracle, got {call.solution}")
        ints = (int(self.linear), math.prod(call.solution))
        return Problem("oracle", ints, (), array, batch, item, call.solution, call)


def _cut(instance: dict[str, Any], batch: tuple[int, ...]) -> list[dict[str, Any]]:
    """Keywords of each row."""
    rows = math.prod(batch)
    if not batch or not instance:
        return [instance] * rows
    flat: dict[str, Any] = {}
    for name, value in instance.items():
        entries = _entries(value, batch)
        if entries is None:
            raise ValueError(f"{name} must have one entry for each row of the batch {batch}, got {_size(value)}")
        flat[name] = entries
    return [{name: value[row] for name, value in flat.items()} for row in range(rows)]


def _entries(value: object, batch: tuple[int, ...]) -> Sequence[Any] | NDArray[Any] | None:
    """Those of each row; None where value is no array or (nested) sequence of the batch's shape."""
    if isinstance(value, np.ndarray):
        fits = value.shape[: len(batch)] == batch
        return value.reshape(math.prod(batch), *value.shape[len(batch) :]) if fits else None
    level: list[Any] = [value]
    for n in batch:
        if not all(_is_sequence(part) and len(part) == n for part in level):
            return None
        level = [entry for part in level for entry in part]
    return level


def _is_sequence(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _size(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"shape {value.shape}"
    kind = type(value).__name__
    return f"{kind} of length {len(value)}" if _is_sequence(value) else f"{kind}, which is no array or sequence"


def _which(first: int, count: int) -> str:
    """The draws of a call of fn, in words."""
    if first < 0:
        return "with no noise"
    return f"sample {first}" if count == 1 else f"samples {first} to {first + count - 1}"


class _Call:
    """One call's bridge between the core and fn. Answers already had are used again, so fn is never asked twice."""

    def __init__(
        self, oracle: Oracle, batch: tuple[int, ...], dtype: np.dtype[Any], keywords: list[dict[str, Any]]
    ) -> None:
        self.oracle, self.batch, self.dtype, self.keywords = oracle, batch, dtype, keywords
        self.solution: tuple[int, ...] = ()
        self.known: dict[int, Real] = {}  # first answers of row 0: by number of the first draw

    def learn_shape(self, theta: Real, item: tuple[int, ...], draw: Draw) -> None:
        """Ask for the first draw (all draws of the first row, when batched): only fn knows the shape of a solution."""
        count = draw.samples if self.oracle.batched else 1
        probe = Problem("oracle", (0, 1), (), theta, self.batch, item, (), lambda *_: None)
        items = start(probe, draw).perturb(0, 1, 0, count).reshape(count, *item)
        where = -1 if draw.epsilon is None else 0
        answer = self._ask(0, where, items, None)
        self.solution = answer.shape[1:]
        self.known[where] = answer

    def __call__(self, row: int, first: int, items: Real) -> Real:
        """Solutions of a stack of items of one row, as (draws, size)."""
        known = self.known.pop(first, None) if row == 0 else None
        if known is None:
            answer = self._ask(row, first, items, self.solution)
        elif len(known) >= len(items):
            answer = known[: len(items)]
            if len(known) > len(items):
                self.known[first + len(items)] = known[len(items) :]
        else:
            rest = self._ask(row, first + len(known), items[len(known) :], self.solution)
            answer = np.concatenate([known, rest])
        return np.ascontiguousarray(answer).reshape(len(items), -1)

    def _ask(self, row: int, first: int, items: Real, solution: tuple[int, ...] | None) -> Real:
        keywords = self.keywords[row]
        closed = np.isneginf(items) if self.oracle.linear else None  # before fn, which may write into its items
        if self.oracle.batched:
            answer = self._call(row, first, len(items), items, keywords)
            if answer.ndim < 1 or len(answer) != len(items):
                raise ValueError(f"fn must return {len(items)} solutions for a stack of as many, got {answer.shape}")
            result = np.empty(answer.shape, self.dtype)
            result[...] = self._converted(answer)
        else:
            result = np.empty(0, self.dtype)
            for m, item in enumerate(items):
                answer = self._call(row, first + m if first >= 0 else -1, 1, item, keywords)
                if m == 0:
                    result = np.empty((len(items), *answer.shape), self.dtype)
                elif answer.shape != result.shape[1:]:
                    raise ValueError(
                        f"fn must return one shape for all items, got {result.shape[1:]} and {answer.shape}"
                    )
                result[m] = self._converted(answer)  # a copy: fn may fill one buffer again and again
        if solution is not None and result.shape[1:] != solution:
            raise ValueError(f"fn must return one shape for all items, got {solution} and {result.shape[1:]}")
        if not np.isfinite(result).all():
            raise ValueError(f"fn must return finite numbers, got {result[~np.isfinite(result)].flat[0]} in row {row}")
        if closed is not None and closed.shape == result.shape and result[closed].any():
            m = int(np.argmax(((result != 0) & closed).reshape(len(items), -1).any(1)))
            which = _which(first + m if first >= 0 else -1, 1)
            raise ValueError(f"fn's answer uses an entry that theta forbids (-inf), for row {row}, {which}")
        return result

    def _converted(self, answer: NDArray[Any]) -> Real:
        """An answer in theta's dtype."""
        if answer.dtype == self.dtype:
            return answer
        with np.errstate(over="ignore"):  # what overflows is not finite, and told so
            return answer.astype(self.dtype)

    def _call(self, row: int, first: int, count: int, items: Real, keywords: dict[str, Any]) -> NDArray[Any]:
        try:
            answer = as_array("the result of fn", self.oracle.fn(items, **keywords))
        except Exception as error:
            error.add_note(f"raised by fn for row {row}, {_which(first, count)}")
            raise
        if answer.dtype.kind not in "fiub":
            raise TypeError(f"fn must return real numbers, got {answer.dtype}")
        return answer
