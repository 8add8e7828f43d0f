"""Estimators: what one set of draws, or a closed form, tells of y_eps, F_eps and their derivatives.

A new estimator is one file with a subclass of `Estimate`, its entry in `ESTIMATES` and its line in `available`.
"""

from __future__ import annotations

from typing import Any

from ..noise import NoiseBase
from ..solvers import Solver
from ._base import Estimate, need_score, need_value
from .directional import DirectionalEstimate, has_directional
from .exact import BeyondExactError, ExactEstimate, has_exact
from .rao_blackwell import RaoBlackwellEstimate, has_rao_blackwell
from .score import ScoreEstimate

ESTIMATES: dict[str, Any] = {
    "exact": ExactEstimate,
    "rao_blackwell": RaoBlackwellEstimate,
    "directional": DirectionalEstimate,
    "score": ScoreEstimate,
}


def available(solver: Solver, noise: NoiseBase) -> list[str]:
    """Estimators that exist for this solver and noise, the best first."""
    exact = ["exact"] if has_exact(solver, noise) else []
    smooth = ["rao_blackwell"] if has_rao_blackwell(solver, noise) else []
    along = ["directional"] if has_directional(solver, noise) else []
    draws = [*smooth, "score"] if solver._moves_most else ["score", *smooth]
    return [*exact, *draws, *along]


__all__ = [
    "ESTIMATES",
    "BeyondExactError",
    "Estimate",
    "ExactEstimate",
    "RaoBlackwellEstimate",
    "ScoreEstimate",
    "available",
    "need_score",
    "need_value",
]
