"""Warping paths of pairs of series, without noise, from their matrices of squared differences."""

from __future__ import annotations

from functools import partial

import numpy as np

import perturbed as pt

from ..peers import warping
from ..registry import Case, Peer

ROWS, LENGTH, TARGET = 320, 128, 20.0


def build() -> Case:
    a, b = np.random.default_rng(0).standard_normal((2, ROWS, LENGTH), dtype=np.float32).cumsum(-1)
    costs = (a[:, :, None] - b[:, None]) ** 2
    solver, theta = pt.DTW(), -costs
    return Case(
        name="dtw",
        title=f"DTW {LENGTH}x{LENGTH}, B{ROWS}",
        targets={"best": TARGET},
        draws=0,
        ours=lambda: {"solve": lambda: solver(theta)},
        stderr=lambda: np.float64(0.01),  # no noise: rounding may turn a few paths that all but tie
        peers=tuple(
            Peer(name, partial(warping.build, name, a, b, costs))
            for name in ("dtaidistance", "tslearn", "tslearn series")
        ),
    )


def cases(threads: int) -> list[Case]:
    return [build()]
