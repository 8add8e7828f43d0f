"""Heaviest path across a grid of node scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Real, as_index, as_int
from ._base import Solver, decode, first_row, per_row_ints

Cell = tuple[int, int]

_STEPS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))


def _as_cell(name: str, cell: object) -> Cell | None:
    if cell is None:
        return None
    if not isinstance(cell, tuple | list | np.ndarray) or len(cell) != 2:
        raise TypeError(f"{name} must be a (row, column) pair, got {cell!r}")
    return (as_int(name, cell[0], 0, 2**31 - 1), as_int(name, cell[1], 0, 2**31 - 1))


@dataclass(frozen=True, eq=False, repr=False)
class GridPath(Solver):
    """Heaviest path between two cells of a grid. Maximises <y, theta> over paths: pass costs negated.

    The item is theta (h, w), the score of each cell; the solution y (h, w) has a 1 at each cell of the path, both ends
    included. Instance arguments: ``mask`` (bool, item shape; False closes a cell), ``source`` and ``target`` ((row,
    column), or (*batch, 2) of them); -inf closes a cell too.

    Parameters
    ----------
    neighbors : {8, 4}, default 8
        Which cells a step may reach.
    source, target : (row, column), optional
        Ends of the path; the first and the last cell unless given. Equal ends: the one cell.

    Raises
    ------
    ValueError
        Where theta holds NaN or +inf, an end lies outside, or a row has no path between its ends.

    Notes
    -----
    Costs -theta are clipped at 0 after noise, in `value` and `objective` too: exact for any costs >= 0, as a path could
    otherwise turn for ever. ``est.clipped`` tells which share of the noisy costs was.

    Of paths of equal (rounded) cost the one with the fewest cells is taken; of those, walking back from the target, the
    first predecessor in the order up, left, right, down, up-left, up-right, down-left, down-right. So a solution has no
    shortcut between its own cells, and `path` finds their order.

    16 draws are solved at a time in vector lanes, by sweeps: O(h w) a draw for most costs, O(h w log(h w)) for any.
    theta, epsilon and value share one unit; y has none.

    References
    ----------
    Vlastelica et al., "Differentiation of blackbox combinatorial solvers", ICLR 2020 (the Warcraft benchmark).

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> cost = np.array([[1., 9., 1.], [1., 9., 1.], [1., 1., 1.]])
    >>> y = pt.GridPath(neighbors=4)(-cost)
    >>> y
    array([[1., 0., 0.],
           [1., 0., 0.],
           [1., 1., 1.]])
    >>> pt.GridPath(neighbors=4).path(y).tolist()
    [[0, 0], [1, 0], [2, 0], [2, 1], [2, 2]]
    """

    neighbors: int = 8
    source: Cell | None = None
    target: Cell | None = None

    _core_name: ClassVar[str] = "grid_path"
    _item_ndim: ClassVar[int] = 2
    _instance: ClassVar[tuple[str, ...]] = ("mask", "source", "target")
    _moves: ClassVar[bool] = True
    _moves_most: ClassVar[int] = 0  # each threshold is another solve: the score is as good in the same time
    _clipped: ClassVar[bool] = True

    def __post_init__(self) -> None:
        neighbors = as_index("neighbors", self.neighbors)
        if neighbors not in (4, 8):
            raise ValueError(f"neighbors must be 4 or 8, got {neighbors}")
        object.__setattr__(self, "neighbors", neighbors)
        object.__setattr__(self, "source", _as_cell("source", self.source))
        object.__setattr__(self, "target", _as_cell("target", self.target))

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        return (self.neighbors,)

    def _arrays(self, theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
        super()._arrays(theta, rows, instance)
        h, w = theta.shape[-2:]
        return (
            self._ends("source", instance.get("source"), self.source or (0, 0), theta.shape),
            self._ends("target", instance.get("target"), self.target or (h - 1, w - 1), theta.shape),
        )

    def _ends(self, name: str, given: object, own: Cell, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Flat cells, one a row or one for all."""
        h, w = shape[-2:]
        if given is None:
            if own[0] >= h or own[1] >= w:
                raise ValueError(f"{name} must be a cell of the {h} x {w} grid, got {own}")
            return np.array([own[0] * w + own[1]], dtype=np.int64)
        cells = per_row_ints(name, given, shape[:-2], (2,))
        bad = (cells < 0).any(-1) | (cells >= (h, w)).any(-1)
        if bad.any():
            row, called = first_row(bad, shape[:-2])
            raise ValueError(
                f"{name} must be a cell of the {h} x {w} grid, got {tuple(cells[row].tolist())} in row {called}"
            )
        return np.ascontiguousarray(cells[:, 0] * w + cells[:, 1])

    def path(self, y: ArrayLike, *, source: Cell | None = None) -> Any:
        """Cells of a path in order.

        Parameters
        ----------
        y : array_like, shape (h, w) or (*batch, h, w)
            Solutions of this solver.
        source : (row, column), optional
            Where the path starts; else the solver's own source if that is an end, else the end that comes first.

        Returns
        -------
        ndarray of int, shape (K, 2), or a list of them
            Row and column of each cell.

        Raises
        ------
        ValueError
            Where the cells of y form no path.
        """
        items, alone = decode(y, 2)
        start = _as_cell("source", source) or self.source or (0, 0)
        paths = [self._one_path(name, item, start) for name, item in items]
        return paths[0] if alone else paths

    def _near(self, cell: Cell, cells: dict[Cell, int]) -> Iterator[Cell]:
        for step in _STEPS[: self.neighbors]:
            other = (cell[0] + step[0], cell[1] + step[1])
            if other in cells:
                yield other

    def _one_path(self, name: str, y: NDArray[Any], source: Cell) -> NDArray[np.int64]:
        cells = {(int(r), int(c)): 0 for r, c in np.argwhere(y)}
        ends = [cell for cell in cells if sum(1 for _ in self._near(cell, cells)) <= 1]
        starts = [source] if source in cells and (source in ends or not ends) else ends
        for start in starts:
            order = self._walk(start, cells)
            if order is not None:
                return np.array(order, dtype=np.int64)
        raise ValueError(
            f"{name} must be one path of {self.neighbors}-connected cells, got {len(cells)} cells that form none"
        )

    def _walk(self, start: Cell, cells: dict[Cell, int]) -> list[Cell] | None:
        """A path from start through all cells, by depth-first search; without chords it never has to go back."""
        order, used, branches = [start], {start}, [self._near(start, cells)]
        for _ in range(64 * len(cells) + 1000):
            if len(order) == len(cells):
                return order
            step = next((c for c in branches[-1] if c not in used), None) if branches else None
            if step is not None:
                order.append(step)
                used.add(step)
                branches.append(self._near(step, cells))
            elif not order:
                return None
            else:
                used.discard(order.pop())
                branches.pop()
        return None
