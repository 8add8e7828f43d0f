"""The way across a net of roads: random points joined to their Delaunay neighbours, costs around the length."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import perturbed as pt

from ..peers import graph_paths
from ..registry import Case, Peer
from ._vectors import our_runs

NODES, SAMPLES, TARGET = 33_400, 16, 4.0  # about 100,000 edges
EPSILON = 0.2  # of the mean cost


def roads(nodes: int) -> tuple[Any, Any]:
    """Edges and their costs, mean 1; from one corner (node 0) to the opposite one (the last)."""
    from scipy.spatial import Delaunay

    points = np.random.default_rng(0).random((nodes, 2))
    points = points[np.argsort(np.floor(points[:, 0] * 60) + points[:, 1])]  # neighbours in memory, too
    points[0], points[-1] = (0.0, 0.0), (1.0, 1.0)
    corners = Delaunay(points).simplices
    sides = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]]), axis=1)
    edges = np.unique(sides, axis=0).astype(np.int64)
    costs = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    return edges, (costs / costs.mean()).astype(np.float32)


def build() -> Case:
    edges, costs = roads(NODES)
    g = np.random.default_rng(1).standard_normal(len(edges), dtype=np.float32)
    solver = pt.GraphPath(edges, 0, NODES - 1, directed=False)
    layer = pt.Perturbed(solver, epsilon=EPSILON, samples=SAMPLES, estimator="score", sampler="iid", seed=0)
    library = partial(graph_paths.build, edges=edges, nodes=NODES, theta=-costs, g=g, epsilon=EPSILON, samples=SAMPLES)
    return Case(
        name="graph-path",
        title=f"roads of {len(edges)} edges, M{SAMPLES}",
        targets={"scipy": TARGET},
        draws=len(edges) * SAMPLES,
        ours=lambda: our_runs(layer, -costs, g),
        stderr=lambda: layer.estimate(-costs).y_stderr,
        peers=tuple(Peer(name, partial(library, name)) for name in ("scipy", "rustworkx")),
    )


def cases(threads: int) -> list[Case]:
    try:
        return [build()]
    except ImportError:
        return []
