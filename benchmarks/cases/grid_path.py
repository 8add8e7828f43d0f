"""Paths from corner to corner of a map, as the main job has it and ten times as wide."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import perturbed as pt

from ..peers import library_paths, numba_paths
from ..registry import Case, Peer
from ._vectors import EPSILON, our_runs

SIZES = [((70, 12, 12), 100, {"library": 20.0, "numba": 10.0}), ((8, 128, 128), 10, {"library": 6.0})]


def maps(shape: tuple[int, int, int]) -> Any:
    """Cells of ten costs from .8 to 9.2, negated."""
    kinds = np.linspace(0.8, 9.2, 10, dtype=np.float32)
    return -kinds[np.random.default_rng(0).integers(10, size=shape)]


def grid_case(shape: tuple[int, int, int], samples: int, targets: dict[str, float], threads: int) -> Case:
    rows, h, w = shape
    theta, g = maps(shape), np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    layer = pt.Perturbed(pt.GridPath(), epsilon=EPSILON, samples=samples, estimator="score", sampler="iid", seed=0)
    library = partial(library_paths.build, theta=theta, g=g, epsilon=EPSILON, samples=samples)
    return Case(
        name=f"grid-{h}x{w}",
        title=f"grid {h}x{w}, B{rows} M{samples}",
        targets=targets,
        draws=rows * h * w * samples,
        ours=lambda: our_runs(layer, theta, g),
        stderr=lambda: layer.estimate(theta).y_stderr,
        peers=(
            Peer("numba", partial(numba_paths.build, theta, g, EPSILON, samples, threads)),
            Peer("scipy", partial(library, "scipy")),
            Peer("rustworkx", partial(library, "rustworkx")),
        ),
    )


def cases(threads: int) -> list[Case]:
    return [grid_case(*size, threads) for size in SIZES]
