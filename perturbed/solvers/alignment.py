"""Heaviest alignment of two sequences."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Real, as_array, as_bool, as_theta, broadcast, one_of, real_dtype
from .._run import PLAIN, Problem, start
from ._alignment import cigar_of, match_channels, pairs_of
from ._base import Solver, decode, first_row, per_row_ints

_MODES = ("global", "local", "semiglobal")
_ENDS = ("query", "target")


@dataclass(frozen=True, eq=False, repr=False)
class Alignment(Solver):
    """Heaviest alignment of two sequences with affine gaps. Maximises <y, theta> - gaps(y): pass costs negated.

    Rows are the first sequence (the query), columns the second (the target). A step M matches a row with a column, X
    consumes a column only, Y a row only; a gap in one sequence may follow one in the other in the order X, Y, not Y, X.

    ========================  ===========  ==============================================================
    gaps                      item         channels
    ========================  ===========  ==============================================================
    fixed (`gap_open` given)  (n, m)       score of matching row i with column j; y marks matched cells
    learned                   (n, m, 3)    match, gap open, gap extend (scores: a penalty enters negated)
    ``transitions=True``      (n, m, 9)    S>M, M>M, X>M, Y>M, M>X, X>X, M>Y, X>Y, Y>Y (`pack_alignment`)
    ========================  ===========  ==============================================================

    A gap step that arrives with i rows and j columns behind it, freely skipped ones included, is charged at cell
    (max(i-1, 0), max(j-1, 0)); y counts how often each entry is used: at most once, but up to twice for opening at cell
    (0, 0), and at any (0, j) where the target's start is free.
    Instance arguments: ``mask`` (bool, item shape; False forbids an entry) and ``lengths`` (int, (*batch, 2) or (2,)):
    row i aligns its first n_i rows with its first m_i columns, 0 allowed, and what theta holds outside is ignored.

    Parameters
    ----------
    mode : {"global", "local", "semiglobal"}
        All of both sequences; the best parts of them, from a match to a match, or nothing, which scores 0; or all but a
        prefix of one sequence and a suffix of one, which are left out for nothing: what is left is aligned globally,
        and no overlap at all scores 0.
    gap_open, gap_extend : float, optional
        A gap of length L costs ``gap_open + gap_extend * (L - 1)``, both >= 0; `gap_extend` is `gap_open` unless given
        (linear gaps). Without `gap_open` the gaps' scores are in theta.
    transitions : bool, default False
        A score for each edge of the state machine; for mode "local".
    free_ends : tuple of "query" and "target", default both
        Whose ends are free in mode "semiglobal".

    Raises
    ------
    ValueError
        Where options do not go together or penalties are negative; where theta holds NaN or +inf or has the wrong
        channels, lengths are not in 0..n and 0..m, or a row has no alignment over what is allowed.

    Notes
    -----
    With V = max(M, X, Y), and at a start V = M = 0,
    M(i, j) = match(i, j) + V(i-1, j-1) (in local mode max(0, V)), X(i, j) = max(M(i, j-1) + open, X(i, j-1) + extend),
    Y(i, j) = max(max(M, X)(i-1, j) + open, Y(i-1, j) + extend), in theta's precision, all scores those of the entered
    cell. Ties: walking back from the end, the first in the order start, M, X, Y; of equal ends the empty alignment,
    else the first, row by row.

    With fixed gaps `objective` takes the matched cells of y and the cheapest gaps that go with them, those at the ends
    included; it is -inf where y is no alignment. Noise on three channels and noise on nine edges are different
    smoothings: in the second the four ways into M are drawn separately. Beside an empty sequence learned gaps have no
    cell and score 0.

    O(n m) a draw; rows of one draw are solved in vector lanes, and the way back takes 5 bits a cell. theta, penalties,
    epsilon and value share one unit; y has none.

    References
    ----------
    Gotoh, "An improved algorithm for matching biological sequences", Journal of Molecular Biology 162, 1982.
    Llinares-Lopez et al., "Deep embedding and alignment of protein sequences", Nature Methods 20, 2023 (transitions).

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> a, b = np.array(list("GATTACA")), np.array(list("GCATACA"))
    >>> solver = pt.Alignment("global", gap_open=1.)
    >>> y = solver(np.where(a[:, None] == b, 1., -1.))
    >>> solver.cigar(y), float(solver.value(np.where(a[:, None] == b, 1., -1.)))
    ('1M1D1M1I4M', 4.0)
    """

    mode: Literal["global", "local", "semiglobal"]
    _: KW_ONLY
    gap_open: float | None = None
    gap_extend: float | None = None
    transitions: bool = False
    free_ends: tuple[str, ...] = _ENDS

    _core_name: ClassVar[str] = "alignment"
    _instance: ClassVar[tuple[str, ...]] = ("mask", "lengths")
    _moves: ClassVar[bool] = True

    def __post_init__(self) -> None:
        one_of("mode", self.mode, _MODES)
        for name in ("gap_open", "gap_extend"):
            object.__setattr__(self, name, _as_penalty(name, getattr(self, name)))
        object.__setattr__(self, "transitions", as_bool("transitions", self.transitions))
        object.__setattr__(self, "free_ends", _as_ends(self.free_ends))
        if self.gap_open is None and self.gap_extend is not None:
            raise ValueError(f"gap_extend needs gap_open beside it, got gap_extend={self.gap_extend} alone")
        if self.transitions and self.gap_open is not None:
            raise ValueError(f"gap_open must not be given with transitions=True, got {self.gap_open}")
        if self.transitions and self.mode != "local":
            raise ValueError(f"mode must be 'local' with transitions=True, got {self.mode!r}")
        if self.free_ends != _ENDS and self.mode != "semiglobal":
            raise ValueError(f"free_ends is for mode 'semiglobal', got {self.free_ends!r} for {self.mode!r}")

    @property
    def _item_ndim(self) -> int:  # type: ignore[override]
        return 2 if self.gap_open is not None else 3

    @property
    def _homogeneous(self) -> bool:  # type: ignore[override]
        return self.gap_open is None  # penalties do not grow with theta

    @property
    def _forbidden(self) -> str:  # type: ignore[override]
        if self.gap_open is None:
            return "uses an entry that theta forbids (-inf or masked)"
        return "must be an alignment (0 or 1, its ones a chain), of entries that theta allows"

    @property
    def _channels(self) -> int:
        return 1 if self.gap_open is not None else 9 if self.transitions else 3

    @property
    def _most(self) -> int:
        """How often a solution may use an entry."""
        return 2 if self._channels == 3 else 1

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        ends = sum(1 << _ENDS.index(name) for name in self.free_ends)
        return (_MODES.index(self.mode), (1, 3, 9).index(self._channels), ends)

    def _costs(self) -> tuple[float, float] | None:
        if self.gap_open is None:
            return None
        return (self.gap_open, self.gap_open if self.gap_extend is None else self.gap_extend)

    def _arrays(self, theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
        channels = self._channels
        if channels > 1 and theta.shape[-1] != channels:
            raise ValueError(f"theta must have items of shape (n, m, {channels}), got shape {theta.shape}")
        super()._arrays(theta, rows, instance)
        batch = theta.shape[: theta.ndim - self._item_ndim]
        n, m = theta.shape[len(batch) : len(batch) + 2]
        costs = None if self.gap_open is None else np.array([self._costs()], dtype=np.float64)
        if instance.get("lengths") is None:
            return (None, costs)
        lengths = as_lengths(instance["lengths"], batch, n, m)
        i, j, last = np.arange(n)[:, None, None], np.arange(m)[:, None], lengths[:, :, None, None, None]
        np.copyto(theta.reshape(-1, n, m, channels), -np.inf, where=(i >= last[:, 0]) | (j >= last[:, 1]))
        return (lengths, costs)

    def _passing(self, theta: ArrayLike, instance: dict[str, Any]) -> Problem:
        if instance:
            return self._problem(theta, instance)
        return self._lay_out(as_theta(theta, self._item_ndim, private=False), instance)  # it is only read

    def soft_value(self, theta: ArrayLike, temperature: float = 1.0, **instance: Any) -> Real:
        """Log-sum-exp over all alignments, T log sum_y exp(objective(y) / T), the empty one included where it is one.

        The soft counterpart of `value`, which it tends to as T -> 0, over exactly the same alignments: what smooths by
        a temperature instead of noise. No noise, no draws.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores.
        temperature : float, default 1
            T > 0, in the unit of theta.
        **instance
            Instance arguments of this solver.

        Returns
        -------
        ndarray, shape (*batch,)
            In the unit of theta.

        Raises
        ------
        ValueError
            Where the temperature is not positive, or as for a call.

        Examples
        --------
        >>> import numpy as np
        >>> import perturbed as pt
        >>> pt.Alignment("local", gap_open=1.).soft_value(np.zeros((1, 1)))  # matched or not: log 2
        array(0.69314718)
        """
        return self._soft(theta, temperature, instance, False)[0]

    def soft_value_and_grad(self, theta: ArrayLike, temperature: float = 1.0, **instance: Any) -> tuple[Real, Real]:
        """`soft_value` and its gradient: the chance of each entry under p(y) ~ exp(objective(y) / T).

        Parameters and errors as for `soft_value`.

        Returns
        -------
        value : ndarray, shape (*batch,)
            In the unit of theta.
        grad : ndarray, like theta
            How often each entry is used on average; without unit.
        """
        value, grad = self._soft(theta, temperature, instance, True)
        assert grad is not None
        return value, grad

    def _soft(
        self, theta: ArrayLike, temperature: float, instance: dict[str, Any], want_grad: bool
    ) -> tuple[Real, Real | None]:
        array = as_array("temperature", temperature)
        if array.ndim or array.dtype.kind not in "fiu":
            raise TypeError(f"temperature must be a real number, got {temperature!r}")
        problem = self._passing(theta, instance)
        value, grad = start(problem, PLAIN).soft(float(array), want_grad)
        return problem.per_row(value), grad

    def pairs(self, y: ArrayLike) -> Any:
        """Matched rows and columns, in order.

        Parameters
        ----------
        y : array_like, like an item of theta or a batch of them
            Solutions of this solver.

        Returns
        -------
        ndarray of int, shape (K, 2), or a list of them
            Row and column of each matched cell.

        Raises
        ------
        ValueError
            Where the matched cells of y are no alignment.
        """
        items, alone = decode(y, self._item_ndim, self._most)
        pairs = [pairs_of(name, match_channels(name, item, self._channels)) for name, item in items]
        return pairs[0] if alone else pairs

    def cigar(self, y: ArrayLike, lengths: ArrayLike | None = None) -> Any:
        """Alignment as a string: M for a matched pair, I where the query alone advances (Y), D the target alone (X).

        Skipped ends are not written. With fixed gaps, where y marks matches alone, the ends of a semiglobal alignment
        are those of least cost.

        Parameters
        ----------
        y : array_like, like an item of theta or a batch of them
            Solutions of this solver.
        lengths : array_like of int, shape (*batch, 2) or (2,), optional
            Rows and columns in use, as they were when y was solved. All unless given.

        Returns
        -------
        str, or a list of them
            Such as "3M1D2M"; "" for an empty alignment.

        Raises
        ------
        ValueError
            Where y is no alignment, its gaps included where y counts them, or lengths are out of range.
        """
        items, alone = decode(y, self._item_ndim, self._most)
        shape = as_array("y", y).shape
        batch, (n, m) = shape[: len(shape) - self._item_ndim], shape[len(shape) - self._item_ndim :][:2]
        given = (n, m) if lengths is None else lengths
        sizes = np.broadcast_to(as_lengths(given, batch, n, m), (len(items), 2))
        free = self.free_ends if self.mode == "semiglobal" else ()
        strings = [
            cigar_of(name, item, self._channels, self.mode, free, self._costs(), *map(int, size))
            for (name, item), size in zip(items, sizes, strict=True)
        ]
        return strings[0] if alone else strings


def pack_alignment(match: ArrayLike, gap_open: ArrayLike, gap_extend: ArrayLike) -> Real:
    """Scores of three channels as the nine edges of ``Alignment("local", transitions=True)``.

    Parameters
    ----------
    match : array_like, shape (*batch, n, m)
        Scores of matching row i with column j.
    gap_open, gap_extend : array_like, broadcast to match
        Scores of opening and extending a gap by a step into a cell: penalties enter negated.

    Returns
    -------
    ndarray, shape (*batch, n, m, 9)
        The four edges into M carry `match`; M>X, M>Y and X>Y `gap_open`; X>X and Y>Y `gap_extend`.

    Raises
    ------
    ValueError
        Where `match` has fewer than two dimensions or the gaps' scores do not broadcast to it, or overflow its dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> pt.pack_alignment(np.zeros((2, 3)), -10., -1.)[0, 0].tolist()
    [0.0, 0.0, 0.0, 0.0, -10.0, -1.0, -10.0, -10.0, -1.0]
    """
    arrays = {"match": match, "gap_open": gap_open, "gap_extend": gap_extend}
    parts = {name: as_array(name, value) for name, value in arrays.items()}
    dtypes = [real_dtype(name, part.dtype) for name, part in parts.items()]
    base = parts["match"]
    if base.ndim < 2:
        raise ValueError(f"match must have at least 2 dimensions, got {base.ndim}")
    edges = ["match"] * 4 + ["gap_open", "gap_extend", "gap_open", "gap_open", "gap_extend"]
    dtype = np.result_type(dtypes[0], *(d for d, part in zip(dtypes, parts.values(), strict=True) if part.ndim))
    with np.errstate(over="ignore"):  # what overflows is told, below
        cast = {name: part.astype(dtype, copy=False) for name, part in parts.items()}
    for name, part in parts.items():
        bad = np.isinf(cast[name]) & np.isfinite(part)
        if bad.any():
            raise ValueError(f"{name} must be within the range of {dtype}, got {part[bad].flat[0]}")
    return np.stack([broadcast(name, cast[name], base.shape) for name in edges], axis=-1)


def as_lengths(lengths: object, batch: tuple[int, ...], n: int, m: int) -> NDArray[np.int64]:
    """Rows and columns in use, (rows or 1, 2)."""
    array = per_row_ints("lengths", lengths, batch, (2,))
    bad = (array < 0).any(-1) | (array > (n, m)).any(-1)
    if bad.any():
        row, name = first_row(bad, batch)
        raise ValueError(f"lengths must be in 0..{n} and 0..{m}, got {tuple(array[row].tolist())} in row {name}")
    return array


def _as_penalty(name: str, value: object) -> float | None:
    if value is None:
        return None
    array = as_array(name, value)
    if array.ndim or array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a real number or None, got {value!r}")
    penalty = float(array)
    if not 0 <= penalty < np.inf:
        raise ValueError(f"{name} must be a penalty >= 0, got {penalty}")
    return penalty


def _as_ends(ends: object) -> tuple[str, ...]:
    if not isinstance(ends, tuple | list | set | frozenset) or not all(isinstance(e, str) and e in _ENDS for e in ends):
        raise ValueError(f"free_ends must be a tuple of 'query' and 'target', got {ends!r}")
    return tuple(name for name in _ENDS if name in ends)
