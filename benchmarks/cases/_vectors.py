"""What the cases on vectors share: data, our side, the list of peers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import perturbed as pt

from ..peers import jax_peer, numpy_peer, torch_peer
from ..registry import Case, Peer

EPSILON = 0.5


def our_runs(layer: Any, theta: Any, g: Any) -> dict[str, Any]:
    def both() -> tuple[Any, Any]:
        y, pullback = layer.vjp(theta)
        return y, pullback(g)

    return {"forward": lambda: layer(theta), "forward+vjp": both}


def vector_case(
    solver: Any, name: str, kind: str, step: Any, shape: tuple[int, int], samples: int, target: float, threads: int
) -> Case:
    rows, n = shape
    generator = np.random.default_rng(0)
    theta, g = generator.standard_normal((2, *shape), dtype=np.float32)
    layer = pt.Perturbed(solver, epsilon=EPSILON, samples=samples, estimator="score", sampler="iid", seed=0)
    k = getattr(solver, "k", 0)
    jax_build = partial(jax_peer.build, solver=kind, theta=theta, g=g, epsilon=EPSILON, samples=samples, k=k)
    numpy_build = partial(numpy_peer.build, step, theta, g, EPSILON, samples)
    loops = ({"loop": False}, {"loop": True}) if rows > 1 else ({},)
    peers = (
        Peer("numpy", numpy_build),
        *([Peer(f"numpy {threads} threads", partial(numpy_build, workers=threads))] if threads > 1 else []),
        Peer("torch", partial(torch_peer.build, kind, theta, g, EPSILON, samples, threads, k)),
        Peer("jaxopt", partial(jax_build, "jaxopt"), loops),
        Peer("optax", partial(jax_build, "optax")),
    )
    return Case(
        name=f"{name}-{rows}x{n}x{samples}",
        title=f"{name.replace('-', ' ')}, B{rows} n{n} M{samples}",
        targets={"best": target},
        draws=rows * n * samples,
        ours=lambda: our_runs(layer, theta, g),
        stderr=lambda: layer.estimate(theta).y_stderr,
        peers=peers,
    )
