"""A training step of the main job: Fenchel-Young loss of a batch of maps and its gradient."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import perturbed as pt

from ..peers import library_paths
from ..registry import Case, Peer
from ._vectors import EPSILON
from .grid_path import maps

SHAPE, SAMPLES = (70, 12, 12), 4


def cases(threads: int) -> list[Case]:
    theta = maps(SHAPE)
    y = pt.GridPath()(theta + np.random.default_rng(1).normal(0, 1, SHAPE).astype(np.float32))
    layer = pt.Perturbed(pt.GridPath(), epsilon=EPSILON, samples=SAMPLES, estimator="score", sampler="iid", seed=0)
    loss = pt.FenchelYoungLoss(layer)

    def step() -> tuple[Any, Any]:
        value, grad = loss.value_and_grad(theta, y)
        return grad, value

    library = partial(library_paths.build_loss, theta=theta, y_true=y, epsilon=EPSILON, samples=SAMPLES)
    return [
        Case(
            name="fenchel-young-12x12",
            title="Fenchel-Young, grid 12x12, B70 M4",
            targets={"library": 20.0},
            draws=SAMPLES * theta.size,
            ours=lambda: {"value_and_grad": step},
            stderr=lambda: layer.estimate(theta).y_stderr / SHAPE[0],
            peers=(Peer("scipy", partial(library, "scipy")), Peer("rustworkx", partial(library, "rustworkx"))),
        )
    ]
