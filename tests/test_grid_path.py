"""GridPath against Dijkstra with a heap and the tie rule told by the docstring, and against networkx."""

from collections import deque
from heapq import heappop, heappush

import networkx as nx
import numpy as np
import pytest
from contract import SolverContract, perturbed_items, same
from hypothesis import given
from hypothesis import strategies as st

import perturbed as pt

# "the first predecessor in the order up, left, right, down, up-left, up-right, down-left, down-right"
STEPS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))


def near(cell, shape, neighbors):
    for dr, dc in STEPS[:neighbors]:
        r, c = cell[0] + dr, cell[1] + dc
        if 0 <= r < shape[0] and 0 <= c < shape[1]:
            yield r, c


def cheapest(theta, neighbors, source=None, target=None):
    """The path of the docstring, cell by cell: cheapest in theta's own arithmetic, then fewest cells, then in order."""
    theta = np.asarray(theta)
    shape = theta.shape
    source = source or (0, 0)
    target = target or (shape[0] - 1, shape[1] - 1)
    cost = np.maximum(-theta, 0)
    far = np.full(shape, np.inf, theta.dtype)
    far[source] = cost[source]
    heap = [(far[source], source)]
    while heap:
        d, cell = heappop(heap)
        if d > far[cell]:
            continue
        for other in near(cell, shape, neighbors):
            if d + cost[other] < far[other]:
                far[other] = d + cost[other]
                heappush(heap, (far[other], other))
    assert np.isfinite(far[target])

    def tight(u, v):
        return np.isfinite(far[v]) and far[u] + cost[v] == far[v]

    steps = {source: 0}
    queue = deque([source])
    while queue:
        u = queue.popleft()
        for v in near(u, shape, neighbors):
            if v not in steps and tight(u, v):
                steps[v] = steps[u] + 1
                queue.append(v)
    path = [target]
    while path[-1] != source:
        v = path[-1]
        path.append(next(u for u in near(v, shape, neighbors) if tight(u, v) and steps.get(u) == steps[v] - 1))
    return path[::-1]


def marked(path, shape):
    y = np.zeros(shape)
    for cell in path:
        y[cell] = 1
    return y


class GridContract(SolverContract):
    item = (3, 4)

    def twin(self, theta):
        s = self.solver
        return marked(cheapest(theta, s.neighbors, s.source, s.target), theta.shape)


class TestGridPath(GridContract):
    solver = pt.GridPath()


class TestGridPathOfFour(GridContract):
    solver = pt.GridPath(4, source=(2, 0), target=(0, 3))
    noise_names = ("normal", "gumbel", "multiplicative")


def random_grid(rng, h, w):
    """Costs with ties, plateaus of zero and closed cells."""
    kind = rng.integers(5)
    if kind == 0:
        return -rng.integers(0, 3, (h, w)).astype(np.float64)
    if kind == 1:
        return rng.normal(size=(h, w))
    if kind == 2:
        return -rng.random((h, w))
    if kind == 3:
        return np.where(rng.random((h, w)) < 0.7, 0.0, -1.0)
    return -(10.0 ** rng.uniform(-3, 3, (h, w)))


@pytest.mark.parametrize("neighbors", [4, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_grids_with_closed_cells_and_any_ends(neighbors, dtype):
    rng = np.random.default_rng(neighbors)
    for _ in range(120):
        h, w = rng.integers(1, 9, 2)
        theta = random_grid(rng, h, w).astype(dtype)
        theta[rng.random((h, w)) < 0.15] = -np.inf
        source, target = ((int(rng.integers(h)), int(rng.integers(w))) for _ in range(2))
        theta[source], theta[target] = min(theta[source], 0) if np.isfinite(theta[source]) else 0, 0
        graph = nx.Graph()
        cells = [c for c in np.ndindex(h, w) if np.isfinite(theta[c])]
        graph.add_nodes_from(cells)
        graph.add_edges_from((a, b) for a in cells for b in near(a, (h, w), neighbors) if np.isfinite(theta[b]))
        solver = pt.GridPath(neighbors, source=source, target=target)
        if not nx.has_path(graph, source, target):
            message = rf"theta: no path from source \({source[0]}, {source[1]}\) to target \({target[0]}, {target[1]}\)"
            with pytest.raises(ValueError, match=message):
                solver(theta)
            continue
        y = solver(theta)
        want = cheapest(theta, neighbors, source, target)
        np.testing.assert_array_equal(y, marked(want, (h, w)))
        np.testing.assert_array_equal(solver.path(y), want)
        used = np.minimum(theta.astype(np.float64), 0)
        length = nx.dijkstra_path_length(graph, source, target, weight=lambda u, v, _, used=used: -used[v])
        np.testing.assert_allclose(solver.value(theta), used[source] - length, rtol=1e-5)


@given(st.data())
def test_fewest_cells_among_the_cheapest(data):
    """Integer costs: networkx with a cell's cost times 1000 plus 1 finds cost and number of cells at once."""
    h, w = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    cost = np.array(data.draw(st.lists(st.integers(0, 2), min_size=h * w, max_size=h * w))).reshape(h, w)
    for neighbors in (4, 8):
        graph = nx.DiGraph()
        graph.add_node((0, 0))
        for a in np.ndindex(h, w):
            for b in near(a, (h, w), neighbors):
                graph.add_edge(a, b, weight=1000 * int(cost[b]) + 1)
        best = nx.dijkstra_path_length(graph, (0, 0), (h - 1, w - 1)) + 1000 * int(cost[0, 0]) + 1
        y = pt.GridPath(neighbors)(-cost)
        assert 1000 * (y * cost).sum() + y.sum() == best
        assert pt.GridPath(neighbors).value(-cost) == -(best // 1000)


def snake(n):
    """Walls with gaps at alternate ends: the path turns back in every corridor."""
    theta = -np.ones((n, n))
    for r in range(1, n, 2):
        theta[r] = -np.inf
        theta[r, -1 if r % 4 == 1 else 0] = -1
    return theta


def spiral(n):
    theta = np.full((n, n), -np.inf)
    r, c, dr, dc = 0, 0, 0, 1
    theta[0, 0] = -1
    while True:
        turned = 0
        while turned < 2:
            r2, c2, r3, c3 = r + dr, c + dc, r + 2 * dr, c + 2 * dc
            free = 0 <= r2 < n and 0 <= c2 < n and np.isneginf(theta[r2, c2])
            if free and not (0 <= r3 < n and 0 <= c3 < n and np.isfinite(theta[r3, c3])):
                break
            dr, dc = dc, -dr
            turned += 1
        if turned == 2:
            return theta, (r, c)
        r, c = r + dr, c + dc
        theta[r, c] = -1


@pytest.mark.parametrize("n", [5, 9, 33, 61])
def test_snake(n):
    theta = snake(n)
    y = pt.GridPath(4)(theta)
    np.testing.assert_array_equal(y, marked(cheapest(theta, 4), theta.shape))
    corridors = (n + 1) // 2
    assert y.sum() == corridors * n + corridors - 1
    assert len(pt.GridPath(4).path(y)) == y.sum()
    np.testing.assert_array_equal(pt.GridPath(8)(theta), marked(cheapest(theta, 8), theta.shape))


@pytest.mark.parametrize("n", [5, 9, 33, 61])
def test_spiral(n):
    theta, centre = spiral(n)
    rng = np.random.default_rng(n)
    theta = np.where(np.isfinite(theta), -rng.random((n, n)), -np.inf)
    for ends in ({"target": centre}, {"source": centre, "target": (0, 0)}):
        solver = pt.GridPath(4, **ends)
        y = solver(theta)
        np.testing.assert_array_equal(y, np.isfinite(theta))
        path = solver.path(y)
        assert tuple(path[0]) == ends.get("source", (0, 0))
        assert tuple(path[-1]) == ends["target"]
        assert (np.abs(np.diff(path, axis=0)).sum(1) == 1).all()
    # the same wall costs much instead of being closed: noisy draws keep to the corridor
    soft = np.where(np.isfinite(theta), theta, -1e6)
    layer = pt.Perturbed(pt.GridPath(4, target=centre), epsilon=0.1, samples=5)
    np.testing.assert_array_equal(layer(soft, seed=1), np.isfinite(theta))


def test_up_and_left_moves():
    """A detour that has to go up and to the left."""
    theta = np.array(
        [[-1, -9, -1, -1, -1], [-1, -9, -1, -9, -1], [-1, -1, -1, -9, -1], [-9, -9, -9, -9, -1], [-1, -1, -1, -1, -1]]
    )
    theta = theta.astype(float)
    theta[theta == -9] = -100
    y = pt.GridPath(4, target=(4, 0))(theta)
    np.testing.assert_array_equal(y, marked(cheapest(theta, 4, target=(4, 0)), (5, 5)))
    assert y[0, 2:].sum() == 3


@pytest.mark.parametrize("neighbors", [4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (16, 16), (15, 33), (40, 3)])
def test_zero_plateaus(neighbors, shape):
    """All costs 0, or all clipped: the fewest cells, in the order of the rule."""
    for level in (0.0, -0.0, 5.0):
        theta = np.full(shape, level)
        y = pt.GridPath(neighbors)(theta)
        np.testing.assert_array_equal(y, marked(cheapest(theta, neighbors), shape))
        h, w = shape
        assert y.sum() == (max(h, w) if neighbors == 8 else h + w - 1)
        assert pt.GridPath(neighbors).value(theta) == 0
        assert not np.signbit(pt.GridPath(neighbors).value(theta)) or level <= 0
    rng = np.random.default_rng(0)
    for _ in range(10):
        theta = np.where(rng.random(shape) < 0.8, rng.random(shape), -rng.integers(1, 3, shape))
        np.testing.assert_array_equal(pt.GridPath(neighbors)(theta), marked(cheapest(theta, neighbors), shape))


@pytest.mark.parametrize("neighbors", [4, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_grids(neighbors, dtype):
    rng = np.random.default_rng(0)
    for theta in (-rng.random((70, 90)), -rng.integers(0, 4, (64, 100)), rng.normal(size=(50, 130)) - 0.5):
        theta = theta.astype(dtype)
        y = pt.GridPath(neighbors)(theta)
        np.testing.assert_array_equal(y, marked(cheapest(theta, neighbors), theta.shape))


def test_few_draws_of_a_huge_grid_do_without_lanes():
    """Two draws of a million cells lie one after the other, three side by side; the paths are the same."""
    theta = -np.random.default_rng(0).random((1024, 1025), dtype=np.float32)
    layer = pt.Perturbed(pt.GridPath(4, target=(1000, 0)), epsilon=0.1)
    few, more = (layer.sample(theta, n, seed=0) for n in (2, 3))
    same(few, more[:2])
    assert (few[0] != few[1]).any()
    with pytest.raises(ValueError, match="theta: the cost of the path overflows"):
        pt.GridPath()(np.full((1024, 1024), -1e38, np.float32))


def test_costs_that_vanish_beside_others():
    """Tiny costs are lost in rounding beside a large one: ties of rounded sums."""
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        theta = (-rng.random((9, 9)) * 1e-9).astype(dtype)
        theta[0, 0] = -1e9
        for neighbors in (4, 8):
            y = pt.GridPath(neighbors)(theta)
            np.testing.assert_array_equal(y, marked(cheapest(theta, neighbors), theta.shape))


# ---- ends ----


def test_ends_by_row():
    rng = np.random.default_rng(0)
    theta = -rng.random((2, 5, 6, 7))
    source, target = rng.integers(0, 6, (2, 5, 2)), rng.integers(0, 6, (2, 5, 2))
    keep = source.copy(), target.copy()
    for neighbors in (4, 8):
        solver = pt.GridPath(neighbors)
        y = solver(theta, source=source, target=target)
        for i in np.ndindex(2, 5):
            ends = tuple(source[i].tolist()), tuple(target[i].tolist())
            np.testing.assert_array_equal(y[i], marked(cheapest(theta[i], neighbors, *ends), (6, 7)))
            same(y[i], solver(theta[i], source=ends[0], target=ends[1]))
            same(y[i], pt.GridPath(neighbors, *ends)(theta[i]))
        # noisy draws: 16 draws of several rows, each with its own ends
        layer = pt.Perturbed(solver, epsilon=0.3, samples=5)
        draws = layer.sample(theta, 5, seed=1, source=source, target=target)
        noisy = perturbed_items(theta, 2, noise="normal", epsilon=0.3, samples=5, seed=1).reshape(2, 5, 5, 6, 7)
        for i in np.ndindex(2, 5):
            ends = tuple(source[i].tolist()), tuple(target[i].tolist())
            for m in range(5):
                np.testing.assert_array_equal(draws[i][m], marked(cheapest(noisy[i][m], neighbors, *ends), (6, 7)))
    np.testing.assert_array_equal(source, keep[0])
    np.testing.assert_array_equal(target, keep[1])


def test_one_pair_of_ends_for_all_rows_and_broadcasting():
    theta = -np.random.default_rng(0).random((4, 5, 5))
    solver = pt.GridPath()
    want = np.stack([solver(x, source=(1, 1), target=(4, 0)) for x in theta])
    for ends in ((1, 1), [1, 1], np.array([1, 1], np.uint8), np.array([[1, 1]]), np.full((4, 2), 1)[::-1]):
        same(solver(theta, source=ends, target=(4, 0)), want)
    same(pt.GridPath(source=(1, 1), target=(4, 0))(theta), want)
    # the call's ends win over the solver's
    same(pt.GridPath(source=(0, 0), target=(2, 2))(theta, source=(1, 1), target=(4, 0)), want)


def test_equal_ends_are_one_cell():
    theta = -np.random.default_rng(0).random((3, 4))
    y = pt.GridPath(source=(1, 2), target=(1, 2))(theta)
    np.testing.assert_array_equal(y, marked([(1, 2)], (3, 4)))
    assert pt.GridPath(source=(1, 2), target=(1, 2)).value(theta) == theta[1, 2]
    np.testing.assert_array_equal(pt.GridPath()([[-3.0]]), [[1]])


def test_unreachable_and_closed_ends_name_the_row():
    theta = -np.ones((2, 2, 4, 4))
    theta[1, 0, 2] = -np.inf
    with pytest.raises(ValueError, match=r"^theta\[1, 0\]: no path from source \(0, 0\) to target \(3, 3\)$"):
        pt.GridPath()(theta)
    for call in (pt.Perturbed(pt.GridPath()), pt.Perturbed(pt.GridPath()).estimate):
        with pytest.raises(ValueError, match=r"^theta\[1, 0\]: no path from source"):
            call(theta)
    # diagonal gaps let 8 neighbours through, not 4
    diagonal = np.where(np.eye(4) > 0, -1.0, -np.inf)
    assert pt.GridPath(8)(diagonal).sum() == 4
    with pytest.raises(ValueError, match=r"^theta: no path"):
        pt.GridPath(4)(diagonal)
    closed = -np.ones((3, 3, 3))
    closed[2, 2, 2] = -np.inf
    with pytest.raises(ValueError, match=r"^theta\[2\]: target \(2, 2\) is closed \(-inf\)$"):
        pt.GridPath()(closed)
    closed[1, 0, 0] = -np.inf
    with pytest.raises(ValueError, match=r"^theta\[1\]: source \(0, 0\) is closed \(-inf\)$"):
        pt.GridPath()(closed)
    mask = np.ones((3, 3), bool)
    mask[0, 0] = False
    with pytest.raises(ValueError, match=r"source \(0, 0\) is closed"):
        pt.GridPath()(-np.ones((3, 3)), mask=mask)
    with pytest.raises(ValueError, match="is closed"):
        pt.GridPath()(-np.ones((3, 3)), mask=np.zeros((3, 3), bool))


def test_ends_outside():
    theta = np.zeros((2, 3, 4))
    for name in ("source", "target"):
        with pytest.raises(ValueError, match=rf"{name} must be a cell of the 3 x 4 grid, got \(3, 0\)"):
            pt.GridPath(**{name: (3, 0)})(theta)
        with pytest.raises(ValueError, match=rf"{name} must be a cell of the 3 x 4 grid, got \(0, -1\) in row 1"):
            pt.GridPath()(theta, **{name: [[0, 0], [0, -1]]})
        with pytest.raises(ValueError, match=rf"{name} must be between 0 and"):
            pt.GridPath(**{name: (-1, 0)})
        with pytest.raises(TypeError, match=rf"{name} must be a \(row, column\) pair"):
            pt.GridPath(**{name: 3})
        with pytest.raises(TypeError, match=rf"{name} must be a \(row, column\) pair"):
            pt.GridPath(**{name: (1, 2, 3)})
        with pytest.raises(TypeError, match=rf"{name} must be an integer, got float"):
            pt.GridPath(**{name: (1.0, 2)})
        with pytest.raises(TypeError, match=rf"{name} must be integers, got float64"):
            pt.GridPath()(theta, **{name: [[0.0, 0.0], [0.0, 1.0]]})
        with pytest.raises(ValueError, match=rf"{name} must broadcast to shape \(2, 2\)"):
            pt.GridPath()(theta, **{name: [[0, 0]] * 3})
    for neighbors in (6, 0):
        with pytest.raises(ValueError, match="neighbors must be 4 or 8"):
            pt.GridPath(neighbors)
    for neighbors in ("8", True, None, 4.0):
        with pytest.raises(TypeError, match="neighbors must be an integer, got"):
            pt.GridPath(neighbors)
    assert pt.GridPath(np.int8(4)) == pt.GridPath(4)


def test_an_item_needs_two_dimensions():
    with pytest.raises(ValueError, match="theta must have at least 2 dimensions, got 1"):
        pt.GridPath()(np.zeros(4))


# ---- clipping ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sampler", ["iid", "antithetic"])
def test_clipped_counts_the_noisy_costs(dtype, sampler):
    rng = np.random.default_rng(0)
    theta = (rng.normal(size=(2, 3, 5, 6)) - 0.5).astype(dtype)
    theta[0, 0, 1:3, 1:3] = -np.inf
    theta[1, 1] = 100.0
    theta[1, 2] = -100.0
    options = {"noise": "gumbel", "epsilon": 0.7, "samples": 26, "sampler": sampler}
    noisy = perturbed_items(theta, 2, **options, seed=3).reshape(2, 3, 26, 5, 6)
    est = pt.Perturbed(pt.GridPath(), **options).estimate(theta, seed=3)
    open_ = np.isfinite(theta).sum((2, 3))
    want = (noisy > 0).sum((2, 3, 4)) / (26 * open_)
    assert est.clipped.dtype == dtype
    np.testing.assert_allclose(est.clipped, want, rtol=1e-6)
    assert est.clipped[1, 1] == 1
    assert est.clipped[1, 2] == 0
    # all clipped: the value is 0, flat in theta
    assert est.value[1, 1] == 0
    assert (est.value_grad()[1, 1] == 0).all()
    # nothing clipped: the value's gradient is y_eps
    np.testing.assert_allclose(est.value_grad()[1, 2], est.y[1, 2], rtol=1e-6)


def test_value_and_objective_clip():
    theta = np.array([[2.0, -1.0], [5.0, 3.0]])
    solver = pt.GridPath(4)
    np.testing.assert_array_equal(solver(theta), [[1, 0], [1, 1]])
    assert solver.value(theta) == 0
    assert solver.objective(theta, [[1, 1], [0, 1]]) == -1
    assert solver.objective(theta, [[1, 0], [1, 1]]) == 0


def test_objective_of_a_forbidden_cell():
    theta = np.array([[-1.0, -np.inf], [-1.0, -1.0]])
    assert pt.GridPath().objective(theta, [[1, 1], [0, 1]]) == -np.inf
    loss = pt.FenchelYoungLoss(pt.Perturbed(pt.GridPath()))
    with pytest.raises(ValueError, match=r"^y uses an entry that theta forbids"):
        loss(theta, [[1, 1], [0, 1]])
    with pytest.raises(ValueError, match=r"^y\[1, 0\] uses an entry that theta forbids"):
        loss([[-np.ones((2, 2))], [theta]], np.array([[[1, 1], [0, 1]]] * 2)[:, None])


# ---- order of the cells ----


def test_path_of_a_batch_is_a_list():
    theta = -np.random.default_rng(0).random((2, 3, 5, 6))
    solver = pt.GridPath()
    paths = solver.path(solver(theta))
    assert isinstance(paths, list)
    assert len(paths) == 6
    for path, item in zip(paths, theta.reshape(6, 5, 6), strict=True):
        assert path.dtype.kind == "i"
        np.testing.assert_array_equal(path, cheapest(item, 8))


def test_path_starts_where_it_is_told():
    solver = pt.GridPath(4, source=(2, 2), target=(0, 0))
    y = solver(-np.ones((3, 3)))
    assert solver.path(y)[0].tolist() == [2, 2]
    assert solver.path(y, source=(0, 0))[0].tolist() == [0, 0]
    np.testing.assert_array_equal(solver.path(y), solver.path(y, source=(0, 0))[::-1])
    assert pt.GridPath(4).path(y)[0].tolist() == [0, 0]
    # neither the solver's source nor told: the end that comes first
    other = pt.GridPath(4)(-np.ones((3, 3)), source=(1, 2), target=(2, 0))
    assert pt.GridPath(4).path(other)[0].tolist() == [1, 2]
    assert pt.GridPath().path([[0, 1], [0, 0]]).tolist() == [[0, 1]]


def test_no_path():
    solver = pt.GridPath(4)
    for y in (np.zeros((3, 3)), np.eye(3), [[1, 0, 1]], [[1, 1, 1], [0, 1, 0]]):
        with pytest.raises(ValueError, match="y must be one path of 4-connected cells"):
            solver.path(y)
    with pytest.raises(ValueError, match=r"^y\[0, 1\] must be one path of 4-connected cells, got 2 cells"):
        solver.path([[[[1, 1], [0, 0]], [[1, 0], [0, 1]]]])
    with pytest.raises(TypeError, match="y must be real"):
        solver.path(np.array([["a"]]))


@given(st.integers(0, 10**6))
def test_path_is_found_for_any_solution(seed):
    rng = np.random.default_rng(seed)
    theta = random_grid(rng, *rng.integers(1, 8, 2))
    for neighbors in (4, 8):
        solver = pt.GridPath(neighbors)
        path = solver.path(solver(theta))
        np.testing.assert_array_equal(path, cheapest(theta, neighbors))


def test_repr():
    assert repr(pt.GridPath()) == "GridPath(neighbors=8, source=None, target=None)"
    assert pt.GridPath(np.int64(4), [0, 1], np.array([1, 1])) == pt.GridPath(4, (0, 1), (1, 1))
    assert hash(pt.GridPath(source=[0, 1])) == hash(pt.GridPath(source=(0, 1)))
