"""The k largest entries."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from .._checks import as_bool, as_int
from ._base import Solver


@dataclass(frozen=True, eq=False, repr=False)
class TopK(Solver):
    """The k largest entries. Maximises <y, theta> over 0/1 vectors with exactly k ones: pass costs negated.

    The item is theta (n,), the solution y (n,), or (k, n) when `ordered`. Instance argument: ``mask`` (bool, item
    shape; False is left out); -inf leaves an entry out too.

    Parameters
    ----------
    k : int
        How many, 1 <= k <= n.
    ordered : bool, default False
        Row i of y is the one-hot vector of the i-th largest entry. This is not a linear oracle: no value, no loss.

    Raises
    ------
    ValueError
        Where k is not in 1..n, theta holds NaN or +inf, or a row has fewer than k entries that are allowed.

    Notes
    -----
    Ties go to the lowest index. O(n + k log k) a draw for most theta, O(n log k) for any. theta, epsilon and value
    share one unit; y has none. With normal, Gumbel or logistic noise the layer is exact up to n k = 2^20.

    References
    ----------
    Cordonnier et al., "Differentiable patch selection for image recognition", CVPR 2021.

    Examples
    --------
    >>> import perturbed as pt
    >>> pt.TopK(2)([.2, 1.5, -.3, .4])
    array([0., 1., 0., 1.])
    >>> pt.TopK(2, ordered=True)([.2, 1.5, -.3, .4])
    array([[0., 1., 0., 0.],
           [0., 0., 0., 1.]])
    """

    k: int
    _: KW_ONLY
    ordered: bool = False

    _core_name: ClassVar[str] = "top_k"
    _moves: ClassVar[bool] = True
    _instance: ClassVar[tuple[str, ...]] = ("mask",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", as_int("k", self.k, 1, 2**31 - 1))
        object.__setattr__(self, "ordered", as_bool("ordered", self.ordered))

    @property
    def _linear(self) -> bool:  # type: ignore[override]
        return not self.ordered

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        return (self.k, int(self.ordered))

    def _solution_shape(self, item: tuple[int, ...]) -> tuple[int, ...]:
        return (self.k, *item) if self.ordered else item
