"""Argmax: many rows, few coordinates, a million coordinates."""

from __future__ import annotations

import perturbed as pt

from ..peers.numpy_peer import argmax_step
from ..registry import Case
from ._vectors import vector_case

SIZES = [((128, 1000), 1000, 9.0), ((32, 100), 1000, 8.0), ((1, 1_000_000), 100, 8.0)]


def cases(threads: int) -> list[Case]:
    return [vector_case(pt.Argmax(), "argmax", "argmax", argmax_step, *size, threads) for size in SIZES]
