"""Sequences of 100 steps over 20 states, as a tagger has them."""

from __future__ import annotations

from functools import partial

import numpy as np

import perturbed as pt

from ..peers import state_sequences
from ..registry import Case, Peer
from ._vectors import EPSILON, our_runs


def viterbi_case(rows: int, steps: int, states: int, samples: int, target: float, threads: int) -> Case:
    generator = np.random.default_rng(0)
    theta, g = generator.standard_normal((2, rows, steps, states), dtype=np.float32)
    edges = generator.standard_normal((states, states))
    layer = pt.Perturbed(pt.Viterbi(edges), epsilon=EPSILON, samples=samples, estimator="score", sampler="iid", seed=0)
    numpy = partial(state_sequences.build, theta, edges, g, EPSILON, samples)
    return Case(
        name="viterbi",
        title=f"Viterbi T{steps} S{states}, B{rows} M{samples}",
        targets={"numpy": target},
        draws=rows * steps * states * samples,
        ours=lambda: our_runs(layer, theta, g),
        stderr=lambda: layer.estimate(theta).y_stderr,
        peers=(
            Peer("numpy", numpy),
            *([Peer(f"numpy {threads} threads", partial(numpy, workers=threads))] if threads > 1 else []),
        ),
    )


def cases(threads: int) -> list[Case]:
    return [viterbi_case(32, 100, 20, 100, 10.0, threads)]
