"""Heaviest warping path of a score matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Real, as_int, as_theta
from .._run import Problem
from ._base import Solver, decode, first_row, per_row_ints


@dataclass(frozen=True, eq=False, repr=False)
class DTW(Solver):
    """Heaviest warping path of a score matrix (dynamic time warping). Maximises <y, theta>: pass costs negated.

    The item is theta (n, m), minus the cost of matching entry i of one series with entry j of another, of any sign; the
    solution y (n, m) has a 1 at each cell of the path from the first cell to the last, both included, by steps (1, 0),
    (0, 1) and (1, 1). Instance arguments: ``mask`` (bool, item shape; False closes a cell) and ``lengths`` (int,
    (*batch, 2) or (2,)): row i has n_i x m_i cells, its path ends in (n_i - 1, m_i - 1), and what theta holds outside
    is ignored; -inf closes a cell too.

    Parameters
    ----------
    band : int, optional
        Only cells with ``abs(i - j) <= band`` are used (Sakoe-Chiba band). All unless given.

    Raises
    ------
    ValueError
        Where theta holds NaN or +inf, lengths are not in 1..n and 1..m, or a row has no path over open cells.

    Notes
    -----
    V(i, j) = theta(i, j) + max(V(i-1, j-1), V(i-1, j), V(i, j-1)), in theta's precision. Ties: walking back from the
    end, the diagonal step if its V is the largest, else the one from above (i-1, j), else that from the left (i, j-1).

    O(n m) a draw, O(n band) for the path in a band; 16 draws are solved at a time in vector lanes, and the way back
    takes 4 bytes a cell for all of them. "rao_blackwell" adds two more passes over all cells a draw, one draw at a time
    in double precision. theta, epsilon and value share one unit; y has none.

    References
    ----------
    Sakoe & Chiba, "Dynamic programming algorithm optimization for spoken word recognition", IEEE Transactions on
    Acoustics, Speech, and Signal Processing 26, 1978 (here with weight 1 for every step).

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> a, b = np.array([0., 1., 3.]), np.array([0., 0., 1., 3.])
    >>> y = pt.DTW()(-(a[:, None] - b) ** 2)
    >>> y
    array([[1., 1., 0., 0.],
           [0., 0., 1., 0.],
           [0., 0., 0., 1.]])
    >>> pt.DTW().pairs(y).tolist()
    [[0, 0], [0, 1], [1, 2], [2, 3]]
    """

    band: int | None = None

    _core_name: ClassVar[str] = "dtw"
    _item_ndim: ClassVar[int] = 2
    _moves: ClassVar[bool] = True
    _instance: ClassVar[tuple[str, ...]] = ("mask", "lengths")

    def __post_init__(self) -> None:
        if self.band is not None:
            object.__setattr__(self, "band", as_int("band", self.band, 0, 2**31 - 1))

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        return (-1 if self.band is None else self.band,)

    def _arrays(self, theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
        super()._arrays(theta, rows, instance)
        n, m = theta.shape[-2:]
        i, j = np.arange(n)[:, None], np.arange(m)
        if self.band is not None:
            np.copyto(theta, -np.inf, where=abs(i - j) > self.band)
        if instance.get("lengths") is None:
            return (None,)
        lengths = per_row_ints("lengths", instance["lengths"], theta.shape[:-2], (2,))
        bad = (lengths < 1).any(-1) | (lengths > (n, m)).any(-1)
        if bad.any():
            row, name = first_row(bad, theta.shape[:-2])
            raise ValueError(f"lengths must be in 1..{n} and 1..{m}, got {tuple(lengths[row].tolist())} in row {name}")
        last = lengths[:, :, None, None]
        np.copyto(theta.reshape(-1, n, m), -np.inf, where=(i >= last[:, 0]) | (j >= last[:, 1]))
        return (lengths,)

    def _passing(self, theta: ArrayLike, instance: dict[str, Any]) -> Problem:
        if instance or self.band is not None:
            return self._problem(theta, instance)
        return self._lay_out(as_theta(theta, self._item_ndim, private=False), instance)  # it is only read

    def pairs(self, y: ArrayLike) -> Any:
        """Cells of a path in order: which entries of the two series are matched.

        Parameters
        ----------
        y : array_like, shape (n, m) or (*batch, n, m)
            Solutions of this solver.

        Returns
        -------
        ndarray of int, shape (K, 2), or a list of them
            Row and column of each cell.

        Raises
        ------
        ValueError
            Where the cells of y form no path from (0, 0) on.
        """
        items, alone = decode(y, 2)
        pairs = [_one_path(name, item) for name, item in items]
        return pairs[0] if alone else pairs


def _one_path(name: str, y: NDArray[Any]) -> NDArray[np.int64]:
    cells = np.argwhere(y).astype(np.int64, copy=False)  # row by row: the order of any path
    steps = np.diff(cells, axis=0)
    if len(cells) == 0 or cells[0].any() or ((steps < 0) | (steps > 1)).any():
        raise ValueError(f"{name} must be one path from (0, 0) by steps (1, 0), (0, 1), (1, 1), got {len(cells)} cells")
    return cells
