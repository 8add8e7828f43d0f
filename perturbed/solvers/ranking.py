"""Ranks of the entries."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._checks import Real, as_bool, as_mask
from ._base import Solver


def mask_array(theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
    """Write -inf where the mask leaves out; the core refuses -inf anywhere else."""
    if instance.get("mask") is None:
        return (None,)
    allowed = as_mask(instance["mask"], theta.shape)
    theta[~allowed] = -np.inf
    return (allowed.reshape(rows, -1) if rows else None,)


@dataclass(frozen=True, eq=False, repr=False)
class Ranking(Solver):
    """Ranks 1..n of the entries. Maximises <y, theta> over the permutations of 1..n (descending: -<y, theta>).

    The item is theta (n,), the solution y (n,): ``scipy.stats.rankdata(theta, "ordinal")``, the largest entry gets n;
    descending ``rankdata(-theta, "ordinal")``, the largest gets 1. Instance argument: ``mask`` (bool, item shape): the
    n' allowed entries get 1..n', the others 0.

    Parameters
    ----------
    descending : bool, default False
        Rank from the largest down. Noise is added to theta before the sign turns; the value is max -<y, theta>, its
        gradient -y_eps, and the Fenchel-Young loss's gradient y - y_eps.

    Raises
    ------
    ValueError
        Where theta holds NaN or an infinity (leave entries out by ``mask=``).

    Notes
    -----
    Of equal entries the one with the lower index gets the lower rank. O(n^2) a draw up to 128 entries (16 draws at a
    time in vector lanes), O(n) above. theta and epsilon share one unit; y counts places. With normal noise, or Gumbel,
    logistic or Laplace noise of one width, the layer is exact: O(n log n + pairs of entries in reach of each other).

    References
    ----------
    Berthet et al., "Learning with differentiable perturbed optimizers", NeurIPS 2020, section 4.

    Examples
    --------
    >>> import perturbed as pt
    >>> pt.Ranking()([.2, 1.5, -.3])
    array([2., 3., 1.])
    """

    _: KW_ONLY
    descending: bool = False

    _core_name: ClassVar[str] = "ranking"
    _moves: ClassVar[bool] = True
    _moves_most: ClassVar[int] = 2048
    _instance: ClassVar[tuple[str, ...]] = ("mask",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "descending", as_bool("descending", self.descending))

    @property
    def _sign(self) -> float:  # type: ignore[override]
        return -1.0 if self.descending else 1.0

    def _ints(self, item: tuple[int, ...]) -> tuple[int, ...]:
        return (int(self.descending),)

    def _arrays(self, theta: Real, rows: int, instance: dict[str, Any]) -> tuple[NDArray[Any] | None, ...]:
        return mask_array(theta, rows, instance)
