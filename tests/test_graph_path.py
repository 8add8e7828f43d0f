"""GraphPath against twins in plain NumPy, these against all paths, and networkx and scipy."""

import copy
import pickle
import time

import networkx as nx
import numpy as np
import pytest
from contract import SolverContract, everything, perturbed_items, same
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

import perturbed as pt

# ---- twins ----


def arcs(edges, directed):
    """(tail, head, edge) in the order of edges."""
    found = [(t, h, e) for e, (t, h) in enumerate(edges)]
    return found if directed else sorted(found + [(h, t, e) for t, h, e in found], key=lambda a: a[2])


def is_dag(edges):
    return nx.is_directed_acyclic_graph(nx.DiGraph(list(map(tuple, edges))))


def longest(edges, theta, source, target, on_nodes):
    """Edges and nodes of the docstring's path in a DAG, in theta's own arithmetic; None where there is none."""
    graph = nx.DiGraph(list(map(tuple, edges)))
    graph.add_nodes_from((source, target))
    v = {source: theta[source] if on_nodes else theta.dtype.type(0)}
    came = {}
    for node in nx.topological_sort(graph):
        best = None
        for t, h, e in arcs(edges, True):
            if h == node != source and t in v:
                x = v[t] if on_nodes else v[t] + theta[e]
                if x > -np.inf and (best is None or x > best[0]):  # "the first edge"
                    best = (x, t, e)
        if best is not None:
            v[node] = best[0] + theta[node] if on_nodes else best[0]
            came[node] = best[1:]
    nodes, used = [target], []
    while nodes[-1] != source:
        if nodes[-1] not in came or v[nodes[-1]] == -np.inf:
            return None
        t, e = came[nodes[-1]]
        used.append(e)
        nodes.append(t)
    return used[::-1], nodes[::-1]


def cheapest(edges, theta, source, target, on_nodes, directed):
    """The same with cycles: costs clipped at 0, fewest edges, then the first edges walking back."""
    cost = np.maximum(-theta, 0)
    steps = arcs(edges, directed)
    n = max(int(np.max(edges)), source, target) + 1
    d = np.full(n, np.inf, theta.dtype)
    d[source] = cost[source] if on_nodes else 0
    changed = True
    while changed:  # Bellman and Ford
        changed = False
        for t, h, e in steps:
            x = d[t] + cost[h if on_nodes else e]
            if x < d[h]:
                d[h], changed = x, True
    if d[target] == np.inf:
        return None
    tight = [(t, h, e) for t, h, e in steps if d[t] < np.inf and d[t] + cost[h if on_nodes else e] == d[h]]
    hops = np.full(n, 10**9)
    hops[source] = 0
    for _ in range(n):
        for t, h, _e in tight:
            hops[h] = min(hops[h], hops[t] + 1)
    nodes, used = [target], []
    while nodes[-1] != source:
        t, _, e = next(a for a in tight if a[1] == nodes[-1] and hops[a[0]] == hops[nodes[-1]] - 1)
        used.append(e)
        nodes.append(t)
    return used[::-1], nodes[::-1]


def twin(solver, theta, source=None, target=None):
    """Entries of y that are 1, and nodes in order; None where there is no path."""
    source = solver.source if source is None else source
    target = solver.target if target is None else target
    on_nodes, edges = solver.weights == "node", solver.edges.tolist()
    if on_nodes and (theta[source] == -np.inf or theta[target] == -np.inf):
        return None
    if solver.directed and is_dag(edges):
        found = longest(edges, theta, source, target, on_nodes)
    else:
        found = cheapest(edges, theta, source, target, on_nodes, solver.directed)
    return found and (found[1] if on_nodes else found[0], found[1])


def marked(places, n):
    y = np.zeros(n)
    y[places] = 1
    return y


def all_paths(edges, source, target, directed):
    """Every simple path as (edges, nodes)."""
    steps = arcs(edges, directed)

    def on(nodes, used):
        if nodes[-1] == target:
            yield used, nodes
            return
        for t, h, e in steps:
            if t == nodes[-1] and h not in nodes:
                yield from on([*nodes, h], [*used, e])

    return list(on([source], []))


# ---- the contract ----


class Graph(SolverContract):
    plain_sample = 1500
    noise_names = ("normal", "gumbel", "user", "multiplicative")

    def theta(self, *batch, dtype=np.float64, seed=0):
        """With cycles mostly costs > 0, so that a factor to them changes the path."""
        return super().theta(*batch, dtype=dtype, seed=seed) - np.dtype(dtype).type(1.5 * self.solver._clipped)

    def twin(self, theta):
        return marked(twin(self.solver, theta)[0], theta.shape)


# from 0 over one of 1, 2, 3 and one of 4, 5, 6 to 7
LAYERS = [(0, 1), (0, 2), (0, 3), *((i, j) for i in (1, 2, 3) for j in (4, 5, 6)), (4, 7), (5, 7), (6, 7)]
NAMES = np.array([3, 7, 1, 5, 0, 2, 6, 4])  # out of order


class TestDag(Graph):
    """With a parallel edge and a way past a layer."""

    solver = pt.GraphPath([*NAMES[LAYERS].tolist(), (3, 7), (7, 4)], 3, 4)
    item = (17,)


class TestDagOfNodes(Graph):
    solver = pt.GraphPath([*NAMES[LAYERS].tolist(), (7, 1), (0, 2)], 3, 4, weights="node")
    item = (9,)  # node 8 has no edge


class TestDirected(Graph):
    solver = pt.GraphPath([*NAMES[LAYERS].tolist(), (2, 7), (4, 3), (0, 1), (5, 1)], 3, 4)
    item = (19,)


class TestUndirected(Graph):
    solver = pt.GraphPath(LAYERS, 7, 0, directed=False)
    item = (15,)


class TestNodes(Graph):
    solver = pt.GraphPath([*LAYERS, (4, 1), (7, 0), (5, 3)], 0, 7, weights="node")
    item = (8,)


class TestUndirectedNodes(Graph):
    solver = pt.GraphPath(LAYERS, 0, 7, directed=False, weights="node")
    item = (8,)


# ---- all paths ----


def random_edges(rng, n, count, dag):
    edges = rng.integers(0, n, (count * 3, 2))
    edges = edges[edges[:, 0] != edges[:, 1]][:count]
    if dag:
        order = rng.permutation(n)
        up = order[edges[:, 0]] < order[edges[:, 1]]
        edges = np.where(up[:, None], edges, edges[:, ::-1])
    return edges


@pytest.mark.parametrize("weights", ["edge", "node"])
@pytest.mark.parametrize("kind", ["dag", "directed", "undirected"])
def test_all_paths(kind, weights):
    """Small integers: exact sums, many ties and, with cycles, plateaus of cost 0."""
    rng = np.random.default_rng(0)
    found = none = same_ends = 0
    for _ in range(250):
        n = int(rng.integers(2, 7))
        edges = random_edges(rng, n, int(rng.integers(1, 12)), kind == "dag")
        if len(edges) == 0:
            continue
        n = int(edges.max()) + 1
        source, target = (int(v) for v in rng.integers(0, n, 2))
        solver = pt.GraphPath(edges, source, target, directed=kind != "undirected", weights=weights)
        size = n if weights == "node" else len(edges)
        dag = kind == "dag" or (kind == "directed" and is_dag(edges.tolist()))
        assert solver._clipped == (not dag)
        theta = rng.integers(-3, 3, size).astype(rng.choice([np.float32, np.float64]))
        theta[rng.random(size) < 0.1] = -np.inf
        paths = all_paths(edges.tolist(), source, target, solver.directed)
        score = theta if dag else np.minimum(theta, 0)
        totals = [float(score[nodes if weights == "node" else used].sum()) for used, nodes in paths]
        want = twin(solver, theta)
        if not totals or max(totals) == -np.inf:
            none += 1
            assert want is None
            with pytest.raises(
                ValueError, match=r"^theta: (no path from source \d+ to target \d+|(source|target) \d+ is)"
            ):
                solver(theta)
            continue
        found += 1
        same_ends += source == target
        y = solver(theta)
        np.testing.assert_array_equal(y, marked(want[0], size))
        assert solver.value(theta) == max(totals) == solver.objective(theta, y)
        assert solver.path(y, source=source).tolist() == want[1]
        best = [p for p, x in zip(paths, totals, strict=True) if x == max(totals)]
        if not dag:
            assert len(want[1]) == min(len(nodes) for _, nodes in best)
            best = [p for p in best if len(p[1]) == len(want[1])]
        # walking back, the first edge
        first = min(used[::-1] for used, _ in best)
        back = next(p for p in best if p[0][::-1] == first)
        np.testing.assert_array_equal(y, marked(back[1] if weights == "node" else back[0], size))
    assert found > 80
    assert none > 30
    assert same_ends > 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weights", ["edge", "node"])
@pytest.mark.parametrize("kind", ["dag", "directed", "undirected"])
def test_twin_on_larger_graphs(kind, weights, dtype):
    rng = np.random.default_rng(1)
    for n, count in ((12, 30), (40, 130), (120, 300)):
        edges = random_edges(rng, n, count, kind == "dag")
        n = int(edges.max()) + 1
        solver = pt.GraphPath(edges, directed=kind != "undirected", weights=weights)
        size = n if weights == "node" else len(edges)
        graph = (nx.DiGraph if solver.directed else nx.Graph)(edges.tolist())
        graph.add_nodes_from(range(n))
        for values in (
            rng.normal(size=size),
            rng.integers(-2, 2, size),
            -1.0 * (rng.random(size) < 0.5),
            np.zeros(size),
        ):
            theta = values.astype(dtype)
            ends = [v for v in rng.integers(0, n, (40, 2)).tolist() if nx.has_path(graph, *v)]
            assert ends
            for source, target in ends[:3]:
                want = twin(solver, theta, source, target)
                y = solver(theta, source=source, target=target)
                assert y.dtype == dtype
                np.testing.assert_array_equal(y, marked(want[0], size))
                assert solver.path(y, source=source).tolist() == want[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weights", ["edge", "node"])
@pytest.mark.parametrize("directed", [True, False])
def test_draws_together_equal_draws_alone(directed, weights, dtype):
    """From few draws of a row on they share a heap, until noise is so large that each gets its own."""
    rng = np.random.default_rng(6)
    n = 300
    ring = np.stack([np.arange(n), np.roll(np.arange(n), -1)], 1)
    solver = pt.GraphPath(np.concatenate([ring, random_edges(rng, n, 900, False)]), directed=directed, weights=weights)
    theta = -0.5 - rng.random((2, n if weights == "node" else len(solver.edges))).astype(dtype)
    theta[rng.random(theta.shape) < 0.02] = -np.inf
    theta[:, :n] = -9  # the ring keeps all nodes connected
    ends = {"source": np.array([3, 150]), "target": np.array([160, 290])}
    for epsilon in (0.2, 1.5, 30.0):
        for samples in (3, 17, 32):
            draws = pt.Perturbed(solver, epsilon=epsilon, samples=samples, estimator="score").sample(
                theta, samples, seed=7, **ends
            )
            noisy = perturbed_items(theta, 1, noise="normal", epsilon=epsilon, samples=samples, seed=7)
            alone = solver(
                noisy.reshape(draws.shape), source=ends["source"].repeat(samples).reshape(2, samples),
                target=ends["target"].repeat(samples).reshape(2, samples),
            )  # fmt: skip
            np.testing.assert_array_equal(draws, alone)
        want = twin(solver, noisy.reshape(draws.shape)[1, -1], 150, 290)
        np.testing.assert_array_equal(draws[1, -1], marked(want[0], theta.shape[1]))


def test_networkx_agrees():
    """Longest paths of DAGs with any sign; cheapest paths with cycles, parallel edges too."""
    rng = np.random.default_rng(2)
    compared = 0
    for _ in range(40):
        n = 30
        edges = random_edges(rng, n, 90, True)
        theta = rng.normal(size=len(edges))
        graph = nx.DiGraph()
        for (t, h), x in zip(edges.tolist(), theta, strict=True):
            if not graph.has_edge(t, h) or graph[t][h]["weight"] > -x:
                graph.add_edge(t, h, weight=-x)
        source, target = edges[0, 0], edges[-1, 1]
        if nx.has_path(graph, source, target) and source != target:
            want = nx.bellman_ford_path_length(graph, source, target)
            assert pt.GraphPath(edges, source, target).value(theta) == pytest.approx(-want, abs=1e-12)
            compared += 1
        edges = random_edges(rng, n, 90, False)
        graph = nx.MultiGraph()
        for (t, h), x in zip(edges.tolist(), theta, strict=False):
            graph.add_edge(t, h, weight=max(-x, 0))
        source, target = edges[0, 0], edges[-1, 1]
        if nx.has_path(graph, source, target):
            want = nx.dijkstra_path_length(graph, source, target)
            got = pt.GraphPath(edges, source, target, directed=False).value(theta[: len(edges)])
            assert got == pytest.approx(-want, abs=1e-12)
            compared += 1
    assert compared > 50


def test_paths_turn_back():
    """A snake through walls of dear edges, and a spiral against the numbering."""
    side = 15
    cell = np.arange(side * side).reshape(side, side)
    edges = np.concatenate([np.stack([cell[:, :-1].ravel(), cell[:, 1:].ravel()], 1),
                            np.stack([cell[:-1].ravel(), cell[1:].ravel()], 1)])  # fmt: skip
    snake = np.concatenate([row if r % 2 == 0 else row[::-1] for r, row in enumerate(cell)])
    cheap = {frozenset(p) for p in zip(snake[:-1].tolist(), snake[1:].tolist(), strict=True)}
    theta = np.array([-1.0 if frozenset(e) in cheap else -1000.0 for e in edges.tolist()])
    for directed, links in ((False, edges), (True, np.concatenate([edges[:, ::-1], edges]))):
        solver = pt.GraphPath(links, snake[0], snake[-1], directed=directed)
        scores = theta if not directed else np.tile(theta, 2)
        y = solver(scores)
        assert solver.path(y).tolist() == snake.tolist()
        assert solver.value(scores) == -(side * side - 1)
        back = solver(scores, source=snake[-1], target=snake[0])
        assert solver.path(back, source=snake[-1]).tolist() == snake[::-1].tolist()


def test_plateaus_of_zero_costs():
    """Everything is free: the path with the fewest edges, and no circle."""
    rng = np.random.default_rng(3)
    for directed in (True, False):
        edges = random_edges(rng, 200, 900, False)
        solver = pt.GraphPath(edges, directed=directed)
        graph = (nx.DiGraph if directed else nx.Graph)(edges.tolist())
        for target in range(1, 40):
            y = solver(np.full(len(edges), 2.0), source=0, target=target)
            assert y.sum() == nx.shortest_path_length(graph, 0, target)
            nodes = solver.path(y, source=0)
            assert nodes[0] == 0
            assert nodes[-1] == target
            assert len(set(nodes.tolist())) == len(nodes)


# ---- ends, masks, batches ----


@pytest.mark.parametrize("weights", ["edge", "node"])
@pytest.mark.parametrize("kind", ["dag", "directed", "undirected"])
def test_ends_by_row(kind, weights):
    rng = np.random.default_rng(4)
    edges = random_edges(rng, 15, 60, kind == "dag")
    solver = pt.GraphPath(edges, 0, 1, directed=kind != "undirected", weights=weights)
    size = 17 if weights == "node" else len(edges)
    pairs = [(s, t) for s in range(15) for t in range(15) if twin(solver, np.zeros(size), s, t) is not None]
    source, target = rng.choice(pairs, (2, 20)).transpose(2, 0, 1)
    theta = rng.normal(size=(2, 20, size))
    keep = theta.copy(), source.copy(), target.copy()
    y = solver(theta, source=source, target=target)
    for i in np.ndindex(2, 20):
        np.testing.assert_array_equal(
            y[i], marked(twin(solver, theta[i], *(int(x[i]) for x in (source, target)))[0], size)
        )
        same(y[i], solver(theta[i], source=source[i], target=target[i]))
        own = pt.GraphPath(edges, int(source[i]), int(target[i]), directed=kind != "undirected", weights=weights)
        same(y[i], own(theta[i]))
        path = solver.path(y[i], source=int(source[i]))
        assert path[0] == source[i]
        assert path[-1] == target[i]
    layer = pt.Perturbed(solver, epsilon=0.4, samples=5, estimator="score")
    draws = layer.sample(theta, 5, seed=1, source=source, target=target)
    noisy = perturbed_items(theta, 1, noise="normal", epsilon=0.4, samples=5, seed=1).reshape(draws.shape)
    for i in np.ndindex(2, 20, 5):
        want = twin(solver, noisy[i], int(source[i[:2]]), int(target[i[:2]]))[0]
        np.testing.assert_array_equal(draws[i], marked(want, size))
    assert np.isfinite(layer.vjp(theta, seed=1, source=source, target=target)[1](theta)).all()
    for a, b in zip((theta, source, target), keep, strict=True):
        np.testing.assert_array_equal(a, b)
    # one end for all rows
    reached = [t for s, t in pairs if s == 3]
    for end in (reached[-1], np.uint8(reached[-1]), [[reached[-1]]]):
        same(solver(theta, source=3, target=end), solver(theta, source=np.full((2, 20), 3), target=reached[-1]))


def test_source_is_target():
    edges = [(0, 1), (1, 2), (2, 0)]
    for directed, links in ((True, edges), (False, edges), (True, edges[:2])):
        solver = pt.GraphPath(links, 1, 1, directed=directed)
        theta = np.array([3.0, -1.0, -2.0])[: len(links)]
        assert not solver(theta).any()
        assert solver.value(theta) == 0
        assert solver.path(solver(theta)).tolist() == [1]
        value, grad = pt.Perturbed(solver).value_and_grad(theta, seed=0)
        assert value == 0
        assert not grad.any()
        nodes = pt.GraphPath(links, 1, 1, directed=directed, weights="node")
        np.testing.assert_array_equal(nodes([3.0, -1.0, -2.0]), [0, 1, 0])
        assert nodes.value([3.0, -1.0, -2.0]) == -1
        assert nodes.path([0, 1, 0]).tolist() == [1]
        alone = pt.GraphPath(links, 5, 5, directed=directed, weights="node")  # a node without edges
        np.testing.assert_array_equal(alone(np.zeros(6)), np.eye(6)[5])


def test_undirected_is_both_ways_with_one_score():
    """Not so with noise: an undirected edge has one draw, two arcs have two."""
    rng = np.random.default_rng(5)
    edges = random_edges(rng, 20, 60, False)
    theta, g, t = (rng.normal(size=(4, 60)) for _ in range(3))
    one = pt.GraphPath(edges, edges[0, 0], edges[-1, 1], directed=False)
    both = pt.GraphPath(np.stack([edges, edges[:, ::-1]], 1).reshape(-1, 2), edges[0, 0], edges[-1, 1])
    twice = theta.repeat(2, axis=1)
    np.testing.assert_allclose(one.value(theta), both.value(twice), rtol=1e-13)
    np.testing.assert_array_equal(one(theta), both(twice).reshape(4, 60, 2).sum(2))
    layer = pt.Perturbed(one, samples=8)
    noisy = perturbed_items(theta, 1, noise="normal", epsilon=1.0, samples=8, seed=2)
    np.testing.assert_array_equal(layer.sample(theta, 8, seed=2), one(noisy))
    assert everything(layer, theta, g, t, one(t), seed=2)["clipped"].min() > 0.2


def test_turned_graph_has_the_same_paths():
    rng = np.random.default_rng(6)
    edges = random_edges(rng, 30, 100, True)
    theta = rng.normal(size=(10, 100))
    there, back = pt.GraphPath(edges), pt.GraphPath(edges[:, ::-1])
    pairs = [v for v in rng.integers(0, 30, (60, 2)).tolist() if nx.has_path(nx.DiGraph(edges.tolist()), *v)]
    for source, target in pairs:
        one, other = there(theta, source=source, target=target), back(theta, source=target, target=source)
        np.testing.assert_array_equal(one, other)
    assert len(pairs) > 5


# ---- errors ----


def test_bad_edges():
    for edges, error, words in (
        ([(0, 1), (2, 2)], ValueError, r"edges must be between two nodes, not self-loops, got \(2, 2\) at edges\[1\]"),
        ([(0, 1), (1, -1)], ValueError, r"edges must be nodes from 0 to 536870911, got \(1, -1\) at edges\[1\]"),
        ([(0, 2**60)], ValueError, r"edges must be nodes from 0 .*, got \(0, 1152921504606846976\) at edges\[0\]"),
        (np.zeros((0, 2), int), ValueError, r"edges must have shape \(E, 2\), E >= 1, got \(0, 2\)"),
        ([1, 2], ValueError, r"edges must have shape \(E, 2\), E >= 1, got \(2,\)"),
        ([(0, 1, 2)], ValueError, r"edges must have shape \(E, 2\), E >= 1, got \(1, 3\)"),
        ([(0.0, 1.0)], TypeError, "edges must be integers, got float64"),
        (np.zeros((2, 2), bool), TypeError, "edges must be integers, got bool"),
    ):
        with pytest.raises(error, match=words):
            pt.GraphPath(edges, 0, 1)
    for options, error, words in (
        ({"weights": "nodes"}, ValueError, "weights must be one of 'edge', 'node', got 'nodes'"),
        ({"directed": 1}, TypeError, "directed must be True or False, got 1"),
        ({"source": 3}, ValueError, "source must be between 0 and 2, got 3"),
        ({"target": -1}, ValueError, "target must be between 0 and 2, got -1"),
        ({"target": 1.0}, TypeError, "target must be an integer, got float"),
    ):
        with pytest.raises(error, match=words):
            pt.GraphPath([(0, 1), (1, 2)], **{"source": 0, "target": 2, **options})
    with pytest.raises(TypeError):
        pt.GraphPath([(0, 1)], 0, 1, False)


@pytest.mark.parametrize("kind", ["dag", "directed", "undirected"])
def test_bad_calls(kind):
    edges = [(0, 1), (1, 2), (3, 4)] + [(2, 0)] * (kind == "directed")
    options = {"directed": kind != "undirected"}
    solver = pt.GraphPath(edges, 0, 2, **options)
    theta = np.zeros((2, 2, len(edges)))
    for call, words in (
        ({"target": [[2, 2], [2, 5]]}, r"target must be a node, 0 to 4, got 5 in row \(1, 1\)"),
        ({"source": -1}, "source must be a node, 0 to 4, got -1 in row 0"),
        ({"source": [0, 1, 2]}, r"source must broadcast to shape \(2, 2\), got \(3,\)"),
        ({"target": [[2, 2], [4, 2]]}, r"^theta\[1, 0\]: no path from source 0 to target 4$"),
    ):
        for made in (solver, pt.Perturbed(solver), pt.Perturbed(solver).estimate):
            with pytest.raises(ValueError, match=words):
                made(theta, **call)
    with pytest.raises(TypeError, match="source must be integers, got float64"):
        solver(theta, source=0.0)
    with pytest.raises(ValueError, match="source must be given, to the solver or to the call"):
        pt.GraphPath(edges, **options)(theta, target=2)
    with pytest.raises(ValueError, match=rf"theta must have one entry for each of {len(edges)} edges, got 7"):
        solver(np.zeros((2, 7)))
    closed = theta.copy()
    closed[0, 1, 1] = -np.inf
    with pytest.raises(ValueError, match=r"^theta\[0, 1\]: no path from source 0 to target 2$"):
        solver(closed)
    nodes = pt.GraphPath(edges, 0, 2, weights="node", **options)
    with pytest.raises(ValueError, match="theta must have an entry for each node, 5 or more, got 4"):
        nodes(np.zeros(4))
    for at, name in ((0, "source 0"), (2, "target 2")):
        mask = np.arange(6) != at
        with pytest.raises(ValueError, match=rf"^theta\[0\]: {name} is closed \(-inf\)$"):
            nodes(np.zeros((2, 6)), mask=mask)
    with pytest.raises(ValueError, match="target must be a node, 0 to 5, got 6"):
        nodes(np.zeros(6), target=6)
    with pytest.raises(ValueError, match=r"target must be a node, 0 to 5, got 8$"):
        pt.GraphPath(edges, 0, 8, weights="node", **options)(np.zeros(6))


@pytest.mark.parametrize("directed", [True, False])
def test_sums_that_overflow(directed):
    for dtype in (np.float32, np.float64):
        theta = np.full((2, 2), -np.finfo(dtype).max, dtype)
        theta[0] = 0
        kind = "score" if directed else "cost"
        with pytest.raises(ValueError, match=rf"^theta\[1\]: the {kind} of the path overflows$"):
            pt.GraphPath([(0, 1), (1, 2)], 0, 2, directed=directed)(theta)


def test_path():
    edges = [(0, 1), (1, 2), (2, 0), (2, 3), (1, 3)]
    solver, loose = pt.GraphPath(edges, 0, 3), pt.GraphPath(edges, directed=False)
    assert solver.path([1, 1, 0, 1, 0]).tolist() == [0, 1, 2, 3]
    assert [p.tolist() for p in solver.path([[1, 0, 0, 0, 1], [0, 0, 0, 1, 0]])] == [[0, 1, 3], [2, 3]]
    assert solver.path([1, 0, 0, 0, 0]).dtype == np.int64
    assert loose.path([1, 0, 1, 1, 0]).tolist() == [1, 0, 2, 3]
    assert loose.path([1, 0, 1, 1, 0], source=3).tolist() == [3, 2, 0, 1]
    assert pt.GraphPath(edges, 3, directed=False).path([1, 0, 1, 1, 0]).tolist() == [3, 2, 0, 1]
    for bad in ([1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 1], [1, 1, 0, 1]):
        with pytest.raises(ValueError, match=r"^y must be one path, got \d edges of \d that form none"):
            solver.path(bad)
    with pytest.raises(ValueError, match=r"^y\[1, 0\] must be one path, got 2 edges of 5 that form none"):
        solver.path([[[1, 0, 0, 0, 1]], [[1, 0, 0, 1, 0]]])
    with pytest.raises(ValueError, match="y must be one path"):
        solver.path([1, 1, 0, 1, 0], source=1)
    nodes = pt.GraphPath(edges, 0, 3, weights="node")
    assert nodes.path([1, 1, 0, 1]).tolist() == [0, 1, 3]
    assert nodes.path([0, 1, 0, 1, 0]).tolist() == [1, 3]
    for bad in ([1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0]):
        with pytest.raises(ValueError, match=r"^y must be one path, got \d nodes of \d that form none"):
            nodes.path(bad)
    dag = pt.GraphPath([(3, 1), (1, 0), (3, 0)], weights="node")
    assert dag.path([1, 1, 0, 1]).tolist() == [3, 1, 0]
    with pytest.raises(ValueError, match="y must be one path"):
        dag.path([1, 1, 1, 1])


# ---- the solver as a value ----


def test_edges_are_frozen_content():
    given = np.array([(0, 1), (1, 2)], np.int32)
    solver = pt.GraphPath(given, 0, 2)
    given[:] = 7
    assert solver == pt.GraphPath([[0, 1], [1, 2]], source=0, target=2) != pt.GraphPath([[0, 1], [2, 1]], 0, 2)
    assert hash(solver) == hash(pt.GraphPath([[0, 1], [1, 2]], 0, 2))
    with pytest.raises(ValueError, match="read-only"):
        solver.edges[0, 0] = 1
    assert repr(solver) == "GraphPath(edges=[[0, 1], [1, 2]], source=0, target=2)"
    assert repr(pt.GraphPath([[0, 1]], directed=False, weights="node")) == (
        "GraphPath(edges=[[0, 1]], source=None, target=None, directed=False, weights='node')"
    )
    large = pt.GraphPath(np.stack([np.arange(600), np.arange(1, 601)], 1), 0, 600)
    assert repr(large) == "GraphPath(edges=<int64 array of shape (600, 2)>, source=0, target=600)"


def test_lists_of_neighbours_are_no_part_of_the_value():
    edges = np.stack([np.arange(600), np.arange(1, 601)], 1)
    used, fresh = pt.GraphPath(edges, 0, 600), pt.GraphPath(edges, 0, 600)
    size = len(pickle.dumps(fresh))
    used(np.zeros(600))
    first = used._graph(601)[2]
    used(np.zeros(600))
    assert used._graph(601)[2] is first  # made once
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert len(pickle.dumps(used)) == size
    for other in (copy.copy(used), copy.deepcopy(used), pickle.loads(pickle.dumps(used))):
        assert other == used
        assert other.value(np.ones(600)) == 600


# ---- sizes ----


def roads(side, rng):
    """A grid with a diagonal in each square, as an undirected graph."""
    cell = np.arange(side * side).reshape(side, side)
    falls = rng.random((side - 1, side - 1)) < 0.5
    tail = np.where(falls, cell[:-1, :-1], cell[:-1, 1:])
    head = np.where(falls, cell[1:, 1:], cell[1:, :-1])
    pairs = [(cell[:, :-1], cell[:, 1:]), (cell[:-1], cell[1:]), (tail, head)]
    return np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in pairs])


def test_scipy_agrees_on_many_edges():
    rng = np.random.default_rng(7)
    edges = rng.permutation(roads(580, rng))
    assert len(edges) > 1_000_000
    cost = rng.random(len(edges)).astype(np.float32)
    n = 580 * 580
    solver = pt.GraphPath(edges, 0, n - 1, directed=False)
    start = time.perf_counter()
    y = solver(-cost)
    assert time.perf_counter() - start < 20  # 2 seconds at most on an idle machine
    graph = csr_matrix((cost.astype(np.float64), edges.T), shape=(n, n))
    want = dijkstra(graph, directed=False, indices=0)[n - 1]
    assert -solver.value(-cost) == pytest.approx(want, rel=1e-5)
    assert (y * cost.astype(np.float64)).sum() == pytest.approx(want, rel=1e-5)
    path = solver.path(y)
    assert len(path) == y.sum() + 1


def test_dag_of_many_edges():
    """All edges up, numbered at random: the longest path by an order that the solver finds."""
    rng = np.random.default_rng(8)
    n = 100_000
    tail = np.repeat(np.arange(n - 1), 3)
    head = np.minimum(tail + np.tile([1, 2, 7], n - 1), n - 1)
    keep = np.arange(len(tail)) % 3 < np.where(tail + 7 < n, 3, 1)
    names = rng.permutation(n)
    edges = np.stack([names[tail], names[head]], 1)[keep]
    theta = rng.normal(size=len(edges))
    solver = pt.GraphPath(edges, int(names[0]), int(names[-1]))
    assert not solver._clipped
    v = [0.0] + [-np.inf] * (n - 1)
    for t, h, x in zip(tail[keep].tolist(), head[keep].tolist(), theta.tolist(), strict=True):
        v[h] = max(v[h], v[t] + x)
    assert solver.value(theta) == pytest.approx(v[-1], rel=1e-12)
    place = np.argsort(names)
    assert (np.diff(place[solver.path(solver(theta))]) > 0).all()


def test_parallel_edges_are_an_argmax():
    """Exact values: of parallel edges from source to target one is taken, as by an argmax."""
    theta, g = np.random.default_rng(9).normal(size=(2, 6, 5))
    est = pt.Perturbed(pt.GraphPath([(0, 1)] * 5, 0, 1), samples=20000, estimator="score").estimate(theta, seed=3)
    exact = pt.Perturbed(pt.Argmax()).estimate(theta)
    for got, error, want in (
        (est.y, est.y_stderr, exact.y),
        (est.vjp(g), est.vjp_stderr(g), exact.vjp(g)),
        (est.value, est.value_stderr, exact.value),
    ):
        assert abs((got - want) / error).max() < 4.5
        assert want.ndim == 1 or 0.5 < ((got - want) / error).std() < 1.6
