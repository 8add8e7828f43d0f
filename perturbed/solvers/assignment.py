"""Heaviest matching of the rows and columns of a score matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._base import Solver, decode


@dataclass(frozen=True, eq=False, repr=False)
class Assignment(Solver):
    """Heaviest matching of rows and columns (linear assignment). Maximises <y, theta>: pass costs negated.

    The item is theta (n, m), the score of pairing row i with column j, of any sign; the solution y (n, m) has a 1 at
    each of min(n, m) pairs, no two in one row or column: every row is in one where n <= m, every column where n >= m.
    Instance argument: ``mask`` (bool, item shape; False closes a pair); -inf closes a pair too.

    Raises
    ------
    ValueError
        Where theta holds NaN or +inf, or a row of the batch has no matching of min(n, m) open pairs: the message tells
        which rows have too few columns.

    Notes
    -----
    Exact: theta is rounded to multiples of a power of 2, ``2**-49`` of the largest entry that an optimal matching may
    use (a bit more from 64 pairs on: ``2**-46`` for 500), and solved in integers. So integers of up to 46 bits, and
    sums of them, are compared as they are. Ties: of all heaviest matchings the lexicographically first, where row 0 has
    the lowest column it can have, then row 1, and so on; where n > m, column 0 has the lowest row, then column 1.

    Augmenting row reduction, then shortest augmenting paths: O(min(n, m)^2 max(n, m)) at worst, much less for most
    theta; 8 bytes a cell of scratch a thread. theta, epsilon and value share one unit; y has none.

    References
    ----------
    Jonker & Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems",
    Computing 38, 1987.

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> costs = np.array([[4., 1., 3.], [2., 0., 5.]])
    >>> y = pt.Assignment()(-costs)
    >>> y
    array([[0., 1., 0.],
           [1., 0., 0.]])
    >>> pt.Assignment().pairs(y).tolist()
    [[0, 1], [1, 0]]
    """

    _core_name: ClassVar[str] = "assignment"
    _item_ndim: ClassVar[int] = 2
    _instance: ClassVar[tuple[str, ...]] = ("mask",)
    _moves: ClassVar[bool] = True
    _moves_most: ClassVar[int] = 16384

    def pairs(self, y: ArrayLike) -> Any:
        """Pairs of a matching: which row goes with which column.

        Parameters
        ----------
        y : array_like, shape (n, m) or (*batch, n, m)
            Solutions of this solver.

        Returns
        -------
        ndarray of int, shape (K, 2), or a list of them
            Row and column of each of the K = min(n, m) pairs, by row.

        Raises
        ------
        ValueError
            Where y is no matching of min(n, m) pairs.
        """
        items, alone = decode(y, 2)
        pairs = [_one_matching(name, item) for name, item in items]
        return pairs[0] if alone else pairs


def _one_matching(name: str, y: NDArray[Any]) -> NDArray[np.int64]:
    pairs = np.argwhere(y != 0).astype(np.int64, copy=False)
    most = max(int(np.bincount(side).max(initial=0)) for side in pairs.T)
    size = min(y.shape)
    if len(pairs) != size or most > 1:
        raise ValueError(
            f"{name} must be a matching of {size} pairs, ones in different rows and columns, got {len(pairs)} ones, at "
            f"most {most} in a row or column"
        )
    return pairs
