"""Any solver, shape, layout, dtype and options: no crash, and results that are well formed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perturbed as pt


def smooth(x):
    return np.stack([x.sum(), np.tanh(x).max()])


def biggest(x):
    return (np.arange(x.size) == x.argmax()).reshape(x.shape)


DTYPES = [np.float32, np.float64, np.float16, np.int8, np.int64, np.uint16, np.bool_, ">f4", ">f8", ">i4", "<f2"]
NOISES = [
    pt.Normal(),
    pt.Gumbel(),
    pt.Gumbel(centered=True),
    pt.Laplace(),
    pt.Logistic(),
    pt.StudentT(2.5),
    pt.StudentT(0.7),
    pt.SumOfGamma(3.0),
    pt.Multiplicative(),
    pt.Multiplicative("logistic", scale=0.1),
    pt.Noise(lambda rng, shape: rng.normal(size=shape), lambda z: z, 0.0),
    pt.Noise(lambda rng, shape: rng.random(shape)),
]


@st.composite
def solvers(draw):
    """A solver and the shape of an item for it."""
    kind = draw(st.sampled_from(["argmax", "top_k", "ordered", "ranking", "permutation", "grid", "linear", "oracle"]))
    n = draw(st.one_of(st.integers(1, 9), st.sampled_from([16, 63, 64, 65, 127, 128, 129, 200])))
    if kind == "argmax":
        return pt.Argmax(), (n,)
    if kind in ("top_k", "ordered"):
        return pt.TopK(draw(st.integers(1, n)), ordered=kind == "ordered"), (n,)
    if kind == "ranking":
        return pt.Ranking(descending=draw(st.booleans())), (n,)
    if kind == "permutation":
        return pt.Permutation(descending=draw(st.booleans())), (min(n, 20),)
    if kind == "grid":
        h, w = draw(st.integers(1, 7)), draw(st.integers(1, 7))
        ends = [(draw(st.integers(0, h - 1)), draw(st.integers(0, w - 1))) for _ in range(2)]
        return pt.GridPath(draw(st.sampled_from([4, 8])), *ends), (h, w)
    shape = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    if kind == "linear":
        return pt.Oracle(biggest, len(shape)), shape
    return pt.Oracle(smooth, len(shape), linear=False), shape


@st.composite
def arrays(draw, shape, dtype):
    """Numbers of this shape in any layout: ties, large and small sizes, sometimes views of something else."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0, 1, 3, 100]))
    kind = draw(st.sampled_from(["integers", "normal", "power"]))
    if kind == "integers":
        x = rng.integers(-spread, spread + 1, shape).astype(np.float64)
    elif kind == "normal":
        x = rng.normal(size=shape) * spread
    else:
        x = rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-6, 4, shape)
    x = np.asarray(x)
    dtype = np.dtype(dtype)
    if dtype.kind in "iub":
        x = np.abs(x) % 100 if dtype.kind != "i" else x.clip(-100, 100)
    x = x.astype(dtype)
    layout = draw(st.sampled_from(["c", "f", "reversed", "strided", "moved", "read only", "unaligned", "list"]))
    if layout == "f" and x.ndim:
        return np.asfortranarray(x)
    if layout == "reversed":
        return x[..., ::-1].copy()[..., ::-1] if x.ndim else x
    if layout == "strided" and x.ndim:
        return np.repeat(x, 3, axis=0)[::3]
    if layout == "moved" and x.ndim > 1:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
    if layout == "unaligned":
        raw = np.zeros(x.nbytes + 1, np.uint8)[1:]
        y = raw.view(x.dtype).reshape(x.shape)
        y[...] = x
        return y
    if layout == "list" and x.dtype == np.float64 and x.size:
        return x.tolist()
    if layout == "read only" and x.ndim:
        x.flags.writeable = False
    return x


def contents(x):
    return x.tobytes() if isinstance(x, np.ndarray) else repr(x)


def check_solution(solver, y, theta):
    """y (*batch, *solution): feasible, entry by entry."""
    y = np.asarray(y, np.float64)
    rows = y.reshape(-1, *y.shape[theta.ndim - solver._item_ndim :])
    if isinstance(solver, pt.Oracle):
        return
    if isinstance(solver, pt.Ranking):
        n = rows.shape[1]
        assert (np.sort(rows, axis=1) == np.arange(1, n + 1)).all()
        return
    assert set(np.unique(rows)) <= {0.0, 1.0}
    if isinstance(solver, pt.Argmax):
        assert (rows.sum(1) == 1).all()
    elif isinstance(solver, pt.TopK) and solver.ordered:
        assert (rows.sum(2) == 1).all()
        assert (rows.sum(1) <= 1).all()
    elif isinstance(solver, pt.TopK):
        assert (rows.sum(1) == solver.k).all()
    elif isinstance(solver, pt.Permutation):
        assert (rows.sum(1) == 1).all()
        assert (rows.sum(2) == 1).all()
    else:
        for row in rows:
            path = solver.path(row)
            assert tuple(path[0]) == solver.source
            assert tuple(path[-1]) == solver.target
            steps = np.abs(np.diff(path, axis=0))
            assert (steps.max(axis=1, initial=0) == 1).all()
            if solver.neighbors == 4:
                assert (steps.sum(1) == 1).all()


def check_mean(solver, y):
    """The mean of solutions keeps what is linear in them."""
    y = np.asarray(y, np.float64)
    bound = 1e-5 * max([1, *y.shape])
    if isinstance(solver, pt.Argmax | pt.TopK):
        want = 1 if isinstance(solver, pt.Argmax) or solver.ordered else solver.k
        np.testing.assert_allclose(y.sum(-1), want, atol=bound)
    elif isinstance(solver, pt.Ranking):
        n = y.shape[-1]
        np.testing.assert_allclose(y.sum(-1), n * (n + 1) / 2, rtol=1e-5)
        assert (y >= 1 - 1e-5).all()
        assert (y <= n + 1e-5 * n).all()
    elif isinstance(solver, pt.Permutation):
        np.testing.assert_allclose(y.sum(-1), 1, atol=bound)
        np.testing.assert_allclose(y.sum(-2), 1, atol=bound)
    elif isinstance(solver, pt.GridPath):
        assert (y[..., solver.source[0], solver.source[1]] == 1).all()
        assert (y[..., solver.target[0], solver.target[1]] == 1).all()
        assert (y >= 0).all()
        assert (y <= 1).all()


def result_dtype(theta):
    dtype = np.asarray(theta).dtype
    return np.dtype(np.float32) if dtype.kind == "f" and dtype.itemsize <= 4 else np.dtype(np.float64)


@settings(max_examples=150)
@given(st.data())
def test_solvers(data):
    solver, item = data.draw(solvers())
    batch = tuple(data.draw(st.lists(st.integers(0, 3), max_size=3)))
    theta = data.draw(arrays((*batch, *item), data.draw(st.sampled_from(DTYPES))))
    before = contents(theta)
    y = solver(theta)
    assert contents(theta) == before
    assert y.dtype == result_dtype(theta)
    assert y.flags.c_contiguous
    array = np.asarray(theta)
    if 0 not in batch:
        check_solution(solver, y, array)
    if solver._linear:
        value = solver.value(theta)
        assert value.shape == batch
        assert value.dtype == y.dtype
        size = max(1.0, np.abs(array.astype(np.float64)).max(initial=0)) * max(1, array.size)
        np.testing.assert_allclose(value, solver.objective(theta, y), rtol=1e-5, atol=1e-5 * size)


@settings(max_examples=300)
@given(st.data())
def test_layers(data):
    solver, item = data.draw(solvers())
    batch = tuple(data.draw(st.lists(st.integers(0, 3), max_size=2)))
    theta = data.draw(arrays((*batch, *item), data.draw(st.sampled_from(DTYPES))))
    dtype = result_dtype(theta)
    noise = data.draw(st.sampled_from(NOISES))
    sampler = data.draw(st.sampled_from(["auto", "iid", "antithetic"] if noise._mirrors else ["auto", "iid"]))
    samples = data.draw(st.integers(1, 70)) * (2 if sampler == "antithetic" else 1)
    enough = samples >= (4 if sampler == "antithetic" else 2)
    baseline = data.draw(st.sampled_from(["auto", None, "solution", "hybrid", *(["loo"] if enough else [])]))
    epsilon = data.draw(st.sampled_from([1e-3, 0.3, 0.9]))
    if data.draw(st.booleans()):
        epsilon = np.full(batch, epsilon)
    seed = data.draw(st.sampled_from([0, 2**64 - 1, 2**70, np.uint8(3), np.random.SeedSequence(5)]))
    layer = pt.Perturbed(
        solver,
        noise=noise,
        epsilon=epsilon,
        samples=samples,
        estimator=data.draw(st.sampled_from(["auto", "score"])),
        sampler=sampler,
        baseline=baseline,
    )
    call = {"seed": seed, "row_offset": data.draw(st.sampled_from([0, 7, 2**50]))}
    before = contents(theta)
    est = layer.estimate(theta, **call)
    shape = np.shape(est.y)
    assert est.y.dtype == dtype
    assert np.isfinite(est.y).all()
    if 0 not in batch:
        if est.method != "rao_blackwell":  # its entries are smoothed one by one: their mean is no mean of solutions
            check_mean(solver, est.y)
        check_solution(solver, layer.sample(theta, 4, **call), np.zeros((*batch, 4, *item)))
        solutions, weights = est.atoms(0)
        assert weights.sum() == pytest.approx(1)
        assert (np.diff(weights) <= 0).all()
        assert len(np.unique(solutions.reshape(len(solutions), -1), axis=0)) == len(weights)
        check_solution(solver, solutions, np.zeros((len(weights), *item)))
    assert layer(theta, **call).tobytes() == est.y.tobytes()
    assert ((est.clipped >= 0) & (est.clipped <= 1)).all()
    if noise._has_score:
        g = data.draw(arrays(shape, np.float64))
        t = data.draw(arrays((*batch, *item), np.float64))
        for got, want in (
            (est.vjp(g), (*batch, *item)),
            (est.vjp_stderr(g), (*batch, *item)),
            (est.jvp(t), shape),
            (est.vjp_epsilon(g), batch),
            (est.jacobian(), (*shape, *item)),
            (est.y_stderr, shape),
        ):
            assert got.shape == want
            assert got.dtype == dtype
        assert np.isfinite(est.vjp(g)).all()
        assert np.isfinite(est.jvp(t)).all()
        assert layer.vjp(theta, **call)[1](g).tobytes() == est.vjp(g).tobytes()
    if solver._linear and noise._has_value and not (isinstance(noise, pt.Noise) and noise.mean is None):
        value, grad = layer.value_and_grad(theta, **call)
        assert value.shape == est.value_stderr.shape == est.value_epsilon.shape == batch
        assert grad.shape == (*batch, *item)
        assert np.isfinite(value).all()
        assert np.isfinite(grad).all()
        target = solver(data.draw(arrays((*batch, *item), np.float64))).astype(dtype)
        loss, grad = pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, target, **call)
        assert loss.shape == batch
        assert (loss >= 0).all()
        assert np.isfinite(grad).all()
    assert contents(theta) == before


def connected(solver, mask):
    """Whether each row's ends are joined by open cells."""
    for row in mask.reshape(-1, *mask.shape[-2:]):
        seen, todo = set(), [solver.source] if row[solver.source] else []
        while todo:
            r, c = cell = todo.pop()
            seen.add(cell)
            for dr, dc in np.ndindex(3, 3):
                other = r + dr - 1, c + dc - 1
                straight = solver.neighbors == 8 or dr == 1 or dc == 1
                inside = 0 <= other[0] < row.shape[0] and 0 <= other[1] < row.shape[1]
                if straight and inside and row[other] and other not in seen:
                    todo.append(other)
        if solver.target not in seen:
            return False
    return True


@settings(max_examples=60)
@given(st.data())
def test_masks(data):
    solver, item = data.draw(solvers().filter(lambda x: "mask" in x[0]._instance))
    batch = tuple(data.draw(st.lists(st.integers(1, 3), max_size=2)))
    theta = data.draw(arrays((*batch, *item), np.float64))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    mask = rng.random((*batch, *item)) < data.draw(st.sampled_from([0.3, 0.8, 1.0]))
    layer = pt.Perturbed(solver, samples=5, estimator="score")
    needed = {pt.Argmax: 1, pt.TopK: getattr(solver, "k", 0)}.get(type(solver), 0)
    closed = isinstance(solver, pt.GridPath) and not connected(solver, mask)
    if closed or (mask.sum(-1) < needed).any():
        for call in (solver, layer):
            with pytest.raises(ValueError, match=r"^theta(\[.*\])?: "):
                call(theta, mask=mask)
        return
    y = solver(theta, mask=mask)
    for result in (y, layer(theta, mask=mask, seed=0)):
        if isinstance(solver, pt.Permutation):
            used, count = result.sum(-2), mask.sum(-1)
            np.testing.assert_allclose(used, mask, atol=1e-12)
            np.testing.assert_allclose(result.sum(-1), np.arange(item[0]) < count[..., None], atol=1e-12)
        elif isinstance(solver, pt.TopK) and solver.ordered:
            assert (np.swapaxes(result, -1, -2)[~mask] == 0).all()
        else:
            assert (result[~mask] == 0).all()
        if isinstance(solver, pt.Ranking):
            count = mask.sum(-1)
            np.testing.assert_allclose(result.sum(-1), count * (count + 1) / 2, rtol=1e-12)
    g = rng.normal(size=y.shape)
    grad = layer.vjp(theta, mask=mask, seed=0)[1](g)
    assert (grad[~mask] == 0).all()
    assert np.isfinite(grad).all()


def wide(width):
    """Normal noise of a width that no epsilon may have."""
    return pt.Noise(lambda rng, shape: width * rng.standard_normal(shape))


@settings(max_examples=40)
@given(st.data())
def test_sizes_at_the_edge_of_numbers(data):
    """Scores and widths near overflow and underflow: well formed or a clear error, never a crash."""
    solver, item = data.draw(solvers().filter(lambda x: not isinstance(x[0], pt.Oracle)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    info = np.finfo(dtype)
    size = data.draw(st.sampled_from([float(info.max), float(info.max) / 4, float(info.tiny), float(info.tiny) / 1024]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    theta = (rng.integers(-4, 5, (2, *item)) / 4 * (size / 2 if size > 1 else size)).astype(dtype)
    layer = pt.Perturbed(solver, noise=wide(data.draw(st.sampled_from([size / 64, 1.0]))), samples=9, estimator="score")
    results, message = [], ""
    for call in (lambda: solver(theta), lambda: layer(theta, seed=0)):
        try:
            results.append(call())
        except ValueError as error:
            message = str(error)
    if message:
        assert isinstance(solver, pt.GridPath)
        assert "overflow" in message
        return
    check_solution(solver, results[0], theta)
    check_mean(solver, results[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "solver", [pt.Argmax(), pt.TopK(3), pt.TopK(2, ordered=True), pt.Ranking(), pt.Permutation()], ids=repr
)
@pytest.mark.parametrize("n", [4, 200])
@pytest.mark.parametrize("sign", [1, -1])
def test_noise_that_overflows(solver, n, sign, dtype):
    """Finite scores and widths whose sum is not finite: a clear error, or draws that are solutions."""
    top = float(np.finfo(dtype).max)
    theta = np.full((2, n), sign * top, dtype)
    layer = pt.Perturbed(solver, noise=wide(top / 10), samples=60, estimator="score")
    try:
        draws = layer.sample(theta, 60, seed=0)
    except ValueError as error:
        message = str(error)
    else:
        check_solution(solver, draws, np.zeros((2, 60, n)))
        check_mean(solver, layer(theta, seed=0))
        return
    assert "theta" in message
    assert "overflow" in message
