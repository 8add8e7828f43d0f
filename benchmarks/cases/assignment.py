"""Matchings of rows and columns: a few hundred small ones, and some of 500 pairs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import perturbed as pt

from ..peers import matchings
from ..registry import Case, Peer
from ._vectors import EPSILON, our_runs

SIZES = [((8, 50), 100, 4.0), ((1, 500), 10, 2.0)]  # rows and pairs, samples, target
LAP = tuple({"function": name} for name in ("lapjvc", "lapjvs", "lapjvsa"))


def assignment_case(shape: tuple[int, int], samples: int, target: float) -> Case:
    rows, n = shape
    theta, g = np.random.default_rng(0).standard_normal((2, rows, n, n), dtype=np.float32)
    layer = pt.Perturbed(pt.Assignment(), epsilon=EPSILON, samples=samples, estimator="score", sampler="iid", seed=0)

    def build(make: Any, **setting: Any) -> Any:
        return matchings.build(make, theta, g, EPSILON, samples, **setting)

    return Case(
        name=f"assignment-{n}",
        title=f"assignment n{n}, B{rows} M{samples}",
        targets={"best": target},
        draws=rows * n * n * samples,
        ours=lambda: our_runs(layer, theta, g),
        stderr=lambda: layer.estimate(theta).y_stderr,
        peers=(
            Peer("scipy", partial(build, matchings.scipy_solver)),
            Peer("lap", partial(build, matchings.lap_solver), LAP),
        ),
    )


def cases(threads: int) -> list[Case]:
    return [assignment_case(*size) for size in SIZES]
