"""The largest entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ._base import Solver


@dataclass(frozen=True, eq=False, repr=False)
class Argmax(Solver):
    """One-hot vector of the largest entry. Maximises <y, theta> over the unit vectors: pass costs negated.

    The item is theta (n,), the solution y (n,) with a single 1. Instance argument: ``mask`` (bool, item shape; False is
    left out); -inf leaves an entry out too.

    Raises
    ------
    ValueError
        Where theta holds NaN or +inf, or a row has no entry that is allowed.

    Notes
    -----
    Ties go to the lowest index. O(n) a draw. theta, epsilon and value share one unit; y has none. With Gumbel, normal,
    logistic or Laplace noise the layer is exact (``estimator="exact"``), with no draws at all.

    References
    ----------
    Berthet et al., "Learning with differentiable perturbed optimizers", NeurIPS 2020.

    Examples
    --------
    >>> import perturbed as pt
    >>> pt.Argmax()([.2, 1.5, -.3])
    array([0., 1., 0.])
    """

    _core_name: ClassVar[str] = "argmax"
    _moves: ClassVar[bool] = True
    _instance: ClassVar[tuple[str, ...]] = ("mask",)
