"""Spanning forests of complete graphs: many draws of a small one, a batch of them, a few draws of a large one."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import perturbed as pt

from ..peers import forests
from ..registry import Case, Peer
from ._vectors import EPSILON, our_runs

K = 10


def forest_case(rows: int, n: int, samples: int, target: float, *, vjp: bool = True, jax: bool = True) -> Case:
    x, g = np.random.default_rng(0).standard_normal((2, rows, n, n), dtype=np.float32)
    theta = x + x.swapaxes(1, 2)
    layer = pt.Perturbed(pt.SpanningForest(K), epsilon=EPSILON, samples=samples, estimator="score", seed=0)

    def wanted(runs: dict[str, Any]) -> dict[str, Any]:
        return runs if vjp else {"forward": runs["forward"]}

    def build(make: Any) -> dict[str, Any]:
        return wanted(forests.build(make, theta, g, K, EPSILON, samples))

    peers = [Peer("scipy", partial(build, forests.scipy_solver)), Peer("igraph", partial(build, forests.igraph_solver))]
    if jax:
        peers.append(Peer("jax", lambda: wanted(forests.build_jax(theta, g, K, EPSILON, samples))))
    return Case(
        name=f"forest-{n}-B{rows}",
        title=f"forest n{n} k{K}, B{rows} M{samples}",
        targets={"best": target},
        draws=rows * n * (n - 1) // 2 * samples,
        ours=lambda: wanted(our_runs(layer, theta, g)),
        stderr=lambda: layer.estimate(theta).y_stderr,
        peers=tuple(peers),
    )


def cases(threads: int) -> list[Case]:
    return [
        forest_case(1, 64, 1000, 50.0),
        forest_case(16, 64, 1000, 60.0, vjp=False, jax=False),
        forest_case(1, 1000, 10, 10.0, jax=False),
    ]
