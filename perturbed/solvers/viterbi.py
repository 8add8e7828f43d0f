"""Heaviest sequence of states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Real, as_array, as_theta
from .._run import Problem
from ._base import Solver, decode, first_row, per_row_ints

_EDGES, _ONE, _EACH = range(3)


@dataclass(frozen=True, eq=False, repr=False)
class Viterbi(Solver):
    """Heaviest sequence of states, one of S at each of T steps. Maximises <y, theta>: pass costs negated.

    With fixed `transitions` the item is theta (T, S), the score of each state at each step, of any sign; the solution
    y (T, S) has a 1 at each state taken, and what is maximised is <y, theta> plus the transitions used. With none the
    item is theta (T - 1, S, S), the score of each edge from a state (row) to the next (column), and y (T - 1, S, S) has
    a 1 at each edge. There is no start score but theta[0]. Instance arguments: ``mask`` (bool, item shape; False closes
    a state or edge) and ``lengths`` (int, (*batch,) or ()): row i has T_i states, and what theta holds beyond is
    ignored; -inf closes a state or edge too.

    Parameters
    ----------
    transitions : array_like, shape (S, S) or (T - 1, S, S), optional
        Fixed scores from state (row) to state (column), for all steps or for each; -inf forbids an edge. They get no
        noise and no gradient. None: theta has a score for every edge.

    Raises
    ------
    TypeError
        Where transitions are not real.
    ValueError
        Where theta holds NaN or +inf, transitions do or do not fit theta, lengths are not in 1..T, or a row has no
        sequence over what is open.

    Notes
    -----
    V(t, s) = theta(t, s) + max over r of (V(t-1, r) + edge(r, s)), in theta's precision, from V(0, s) = theta(0, s), or
    0 for edges. Ties: walking back from the end, the lowest state whose V, or V + edge, is the largest.

    `value`, `objective` and the losses have the transitions in them. Of a y between solutions the objective takes the
    sum of y(t, r) transitions(r, s) y(t+1, s): the mean over independent states with these chances.

    O(T S^2) a draw; 16 draws are solved at a time in vector lanes. "rao_blackwell" adds two more passes, one draw at a
    time in double precision. Noise falls on states, or on edges: two different
    smoothings, and T S against (T - 1) S^2 draws of noise. theta, transitions, epsilon and value share one unit; y has
    none.

    References
    ----------
    Forney, "The Viterbi algorithm", Proceedings of the IEEE 61, 1973.

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> stay = pt.Viterbi([[0., -1.], [-1., 0.]])
    >>> y = stay([[2., 0.], [0., .5], [1., 0.], [0., 4.]])
    >>> y
    array([[1., 0.],
           [1., 0.],
           [1., 0.],
           [0., 1.]])
    >>> stay.states(y), stay.value([[2., 0.], [0., .5], [1., 0.], [0., 4.]])
    (array([0, 0, 0, 1]), array(6.))
    """

    transitions: ArrayLike | None = None

    _core_name: ClassVar[str] = "viterbi"
    _moves: ClassVar[bool] = True
    _instance: ClassVar[tuple[str, ...]] = ("mask", "lengths")

    def __post_init__(self) -> None:
        if self.transitions is not None:
            object.__setattr__(self, "transitions", _as_transitions(self.transitions))

    @property
    def _fixed(self) -> NDArray[np.float64] | None:
        return self.transitions  # type: ignore[return-value]

    @property
    def _item_ndim(self) -> int:  # type: ignore[override]
        return 3 if self._fixed is None else 2

    @property
    def _homogeneous(self) -> bool:  # type: ignore[override]
        return self._fixed is None

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        fixed = self._fixed
        if fixed is None:
            return (_EDGES, 0)
        return (_ONE if fixed.ndim == 2 else _EACH, int(np.isneginf(fixed).any()))

    def _arrays(self, theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
        edges = self._check_item(theta)
        super()._arrays(theta, rows, instance)
        if instance.get("lengths") is None:
            return (None, edges)
        batch = theta.shape[: theta.ndim - self._item_ndim]
        more = int(self._fixed is None)  # states, less entries of theta
        steps = theta.shape[len(batch)]
        lengths = per_row_ints("lengths", instance["lengths"], batch, ())
        bad = (lengths < 1) | (lengths > steps + more)
        if bad.any():
            row, name = first_row(bad, batch)
            raise ValueError(f"lengths must be in 1..{steps + more}, got {lengths[row]} in row {name}")
        beyond = np.arange(steps) >= lengths[:, None] - more
        flat = theta.reshape(rows, *theta.shape[len(batch) :])
        flat[np.broadcast_to(beyond, (rows, steps))] = -np.inf
        return (lengths, edges)

    def _check_item(self, theta: Real) -> NDArray[Any] | None:
        """Fixed scores in theta's precision, as (1, ...), where theta goes with them."""
        fixed, item = self._fixed, theta.shape[theta.ndim - self._item_ndim :]
        if fixed is None:
            if item[1] != item[2]:
                raise ValueError(f"theta must have items of shape (T - 1, S, S) without transitions, got {item}")
            return None
        if item[1] != fixed.shape[-1] or (fixed.ndim == 3 and item[0] != len(fixed) + 1):
            steps = "T" if fixed.ndim == 2 else len(fixed) + 1
            raise ValueError(
                f"theta must have items of shape ({steps}, {fixed.shape[-1]}) with transitions of shape {fixed.shape}, "
                f"got {item}"
            )
        with np.errstate(over="ignore"):
            edges = fixed.astype(theta.dtype)
        if (np.isinf(edges) & np.isfinite(fixed)).any():
            raise ValueError(f"transitions must be within the range of {theta.dtype}, got {abs(fixed).max()}")
        return edges[None]

    def _passing(self, theta: ArrayLike, instance: dict[str, Any]) -> Problem:
        if instance:
            return self._problem(theta, instance)
        return self._lay_out(as_theta(theta, self._item_ndim, private=False), instance)  # it is only read

    def states(self, y: ArrayLike) -> Any:
        """States in order.

        Parameters
        ----------
        y : array_like, shape (T, S) or (T - 1, S, S), or a batch of them
            Solutions of this solver.

        Returns
        -------
        ndarray of int, shape (T,), or a list of them
            The state of each step, up to the length of the row. Edges that are none tell no state: then it is empty.

        Raises
        ------
        ValueError
            Where y is no sequence of states.
        """
        items, alone = decode(y, self._item_ndim)
        states = [self._one_sequence(name, item) for name, item in items]
        return states[0] if alone else states

    def _one_sequence(self, name: str, y: NDArray[Any]) -> NDArray[np.int64]:
        flat = y.reshape(len(y), -1)
        used = flat != 0
        count = used.sum(1)
        length = int(count.sum())
        place = used.argmax(1)[:length]
        good = bool((count[:length] == 1).all())
        if self._fixed is None:
            before, after = np.divmod(place, y.shape[-1])
            good = good and (before[1:] == after[:-1]).all()
            place = np.concatenate([before[:1], after])
        if not good:
            raise ValueError(f"{name} must be one sequence of states, got {length} ones that form none")
        states: NDArray[np.int64] = place.astype(np.int64, copy=False)
        return states


def _as_transitions(transitions: ArrayLike) -> NDArray[np.float64]:
    array = as_array("transitions", transitions)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"transitions must be real, got {array.dtype}")
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2] or array.size == 0:
        raise ValueError(f"transitions must have shape (S, S) or (T - 1, S, S), got {array.shape}")
    bad = np.isnan(array) | (array == np.inf)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"transitions must be finite or -inf, got {array[where]} at transitions[{', '.join(map(str, where))}]"
        )
    result = np.array(array, dtype=np.float64, order="C")
    result.flags.writeable = False
    return result
