"""Exact forms against other differentiable orders: ranks, and the k largest."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import perturbed as pt

from ..peers import soft_peer
from ..registry import Case, Peer
from ._vectors import EPSILON, our_runs

TOP = [((128, 20), 5), ((8, 1000), 5)]


def case(solver: Any, name: str, shape: tuple[int, int], peers: Any, target: float) -> Case:
    rows, n = shape
    theta, g = np.random.default_rng(0).standard_normal((2, *shape), dtype=np.float32)
    layer = pt.Perturbed(solver, epsilon=EPSILON, estimator="exact")
    return Case(
        name=f"{name}-{rows}x{n}",
        title=f"{name.replace('-', ' ')}, B{rows} n{n}",
        targets={"best": target},
        draws=0,
        ours=lambda: our_runs(layer, theta, g),
        stderr=None,
        peers=tuple(Peer(peer, partial(build, theta, g), settings) for peer, build, settings in peers),
    )


def cases(threads: int) -> list[Case]:
    ranks = partial(soft_peer.soft_rank, strength=EPSILON, threads=threads)
    torchsort = ("torchsort", ranks, ({"regularization": "l2"}, {"regularization": "kl"}))
    made = [case(pt.Ranking(), "exact-ranking", (128, 100), [torchsort], 1.0)]
    for shape, k in TOP:
        soft = ("SOFT top-k", partial(soft_peer.soft_top_k, k=k, strength=EPSILON, threads=threads), ({},))
        made.append(case(pt.TopK(k), f"exact-top-{k}", shape, [soft], 1.0))
    return made
