"""The permutation matrix that sorts."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from .._checks import Real, as_bool
from ._base import Solver
from .ranking import mask_array


@dataclass(frozen=True, eq=False, repr=False)
class Permutation(Solver):
    """Permutation matrix y such that ``y @ theta`` is sorted: differentiable sort and argsort.

    The item is theta (n,), the solution y (n, n): row r is the one-hot vector of the r-th smallest entry (descending:
    the r-th largest). It maximises <y, outer(1..n, theta)>, which is no linear function of theta alone: no value, no
    loss. Instance argument: ``mask`` (bool, item shape): masked columns, and the last rows, are 0.

    Parameters
    ----------
    descending : bool, default False
        Sort from the largest down.

    Raises
    ------
    ValueError
        Where theta holds NaN or an infinity (leave entries out by ``mask=``), or more than 46340 entries.

    Notes
    -----
    Stable: equal entries keep their order, also descending (a stable argsort of -theta). Cost as `Ranking`. theta and
    epsilon share one unit; y has none. With normal, Gumbel or logistic noise the layer is exact up to n = 256.

    References
    ----------
    Berthet et al., "Learning with differentiable perturbed optimizers", NeurIPS 2020, for any function of theta.

    Examples
    --------
    >>> import perturbed as pt
    >>> pt.Permutation()([.2, 1.5, -.3])
    array([[0., 0., 1.],
           [1., 0., 0.],
           [0., 1., 0.]])
    """

    _: KW_ONLY
    descending: bool = False

    _core_name: ClassVar[str] = "permutation"
    _moves: ClassVar[bool] = True
    _moves_most: ClassVar[int] = 2048
    _instance: ClassVar[tuple[str, ...]] = ("mask",)
    _linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "descending", as_bool("descending", self.descending))

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        return (int(self.descending),)

    def _solution_shape(self, item: tuple[int, ...]) -> tuple[int, ...]:
        return (*item, *item)

    def _arrays(self, theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
        return mask_array(theta, rows, instance)
