"""Ranks of 100 and of 1000."""

from __future__ import annotations

import perturbed as pt

from ..peers.numpy_peer import ranking_step
from ..registry import Case
from ._vectors import vector_case

SIZES = [((128, 100), 500, 8.0), ((32, 1000), 100, 6.0)]


def cases(threads: int) -> list[Case]:
    return [vector_case(pt.Ranking(), "ranking", "ranking", ranking_step, *size, threads) for size in SIZES]
