"""Alignments: solves of whole-number scores beside other aligners, and the layer beside a smooth alignment."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import perturbed as pt

from ..peers import aligners
from ..registry import Case, Peer

GAPS = (4, 1)
TOLERANCE = np.float64(0.05)  # rms of y: peers may break ties in another way, and a soft alignment is no mean of draws


def scores(rows: int, n: int) -> Any:
    return np.random.default_rng(0).integers(-5, 4, (rows, n, n)).astype(np.float32)


def solve_case(mode: Any, rows: int, n: int, target: float) -> Case:
    theta = scores(rows, n)
    solver = pt.Alignment(mode, gap_open=GAPS[0], gap_extend=GAPS[1])
    loop = partial(aligners.solves, theta=theta, gaps=GAPS, local=mode == "local")
    return Case(
        name=f"alignment-{mode}-{n}",
        title=f"alignment {mode} {n}x{n}, B{rows}",
        targets={"best": target},
        draws=0,
        ours=lambda: {"solve": lambda: solver(theta)},
        stderr=lambda: TOLERANCE,
        peers=(Peer("biotite", partial(loop, aligners.biotite_solve)),),
    )


def learned_case(rows: int, n: int) -> Case:
    """Learned gaps beside our own fixed ones: at most three times their time."""
    theta = scores(rows, n)
    learned = np.stack([theta, np.full_like(theta, -GAPS[0]), np.full_like(theta, -GAPS[1])], axis=-1)
    fixed, free = pt.Alignment("local", gap_open=GAPS[0], gap_extend=GAPS[1]), pt.Alignment("local")

    def build() -> dict[str, Any]:
        return {"solve": lambda: fixed(theta)}

    return Case(
        name=f"alignment-learned-{n}",
        title=f"alignment local {n}x{n}, learned gaps, B{rows}",
        targets={"fixed gaps": 1 / 3},
        draws=0,
        ours=lambda: {"solve": lambda: free(learned)[..., 0]},
        stderr=lambda: TOLERANCE,
        peers=(Peer("fixed gaps", build),),
    )


def layer_case(rows: int, n: int, samples: int, peer: str, target: float) -> Case:
    theta = scores(rows, n)
    g = np.random.default_rng(1).standard_normal(theta.shape, dtype=np.float32)
    solver = pt.Alignment("local", gap_open=GAPS[0], gap_extend=GAPS[1])
    layer = pt.Perturbed(solver, epsilon=0.5, samples=samples, estimator="score", sampler="iid", seed=0)

    def both() -> Any:
        y, pullback = layer.vjp(theta)
        return y, pullback(g)

    loop = partial(aligners.solves, aligners.biotite_solve, theta, GAPS, True, samples)
    peers = {
        "smooth": Peer("smooth", partial(aligners.smooth, theta, GAPS)),
        "biotite": Peer("biotite", loop),
    }
    return Case(
        name=f"alignment-layer-{n}x{samples}",
        title=f"alignment local {n}x{n}, B{rows} M{samples}",
        targets={peer: target},
        draws=theta.size * samples,
        ours=lambda: {"forward+vjp": both},
        stderr=lambda: TOLERANCE,
        peers=(peers[peer],),
    )


def cases(threads: int) -> list[Case]:
    return [
        solve_case("local", 32, 512, 60.0),
        solve_case("global", 160, 256, 30.0),
        learned_case(32, 512),
        layer_case(32, 512, 1, "smooth", 100.0),
        layer_case(32, 512, 10, "biotite", 30.0),
    ]
