"""What every solver promises. A solver's test class inherits `SolverContract` and says `solver` and `twin`.

Everything that a layer tells of its draws is checked against formulas written out in NumPy (`Reference`), from the very
noise that the layer used: an `Oracle` with the same seed sees the same perturbed items and writes them down.
"""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import perturbed as pt
from perturbed.estimators import available
from perturbed.estimators.directional import symmetric

EULER_GAMMA = 0.57721566490153286061


def user_sample(rng, shape):
    return rng.normal(size=shape) * 2.0


def user_score(z):
    return z / 4.0


# name: noise, its noise score as a function of z, E Z
NOISES = {
    "normal": (pt.Normal(), lambda z: z),
    "gumbel": (pt.Gumbel(), lambda z: 1 - np.exp(-z)),
    "centered gumbel": (pt.Gumbel(centered=True), lambda z: 1 - np.exp(-z - EULER_GAMMA)),
    "laplace": (pt.Laplace(), np.sign),
    "logistic": (pt.Logistic(), lambda z: np.tanh(z / 2)),
    "student": (pt.StudentT(5.0), lambda z: 6 * z / (5 + z * z)),
    "user": (pt.Noise(user_sample, user_score, 0.0), user_score),
    "multiplicative": (pt.Multiplicative(pt.Normal()), lambda z: z),
}
MIRRORED = {"normal", "gumbel", "centered gumbel", "laplace", "logistic", "student", "multiplicative"}
SAMPLERS = ("iid", "antithetic")
BASELINES = (None, "loo", "solution", "hybrid")


def perturbed_items(theta, item_ndim, *, noise, epsilon, samples, sampler="iid", seed, row_offset=0):
    """The items theta + epsilon Z that a layer with these options solves: (rows, samples, *item)."""
    stacks = []

    def write_down(stack):
        stacks.append(stack.copy())
        return np.zeros(len(stack))

    oracle = pt.Oracle(write_down, item_ndim=item_ndim, batched=True, linear=False)
    layer = pt.Perturbed(oracle, noise=noise, epsilon=epsilon, samples=samples, sampler=sampler, baseline=None)
    layer(theta, seed=seed, row_offset=row_offset)
    item = np.shape(theta)[np.ndim(theta) - item_ndim :]
    return np.concatenate(stacks).reshape(-1, samples, *item)


def part_of_all(solver, item):
    """Entries that every solution uses: nothing depends on them."""
    every = np.zeros(item, bool)
    if isinstance(solver, pt.DTW):
        every[0, 0] = every[-1, -1] = True
    elif isinstance(solver, pt.GridPath):
        every[solver.source or (0, 0)] = every[solver.target or (-1, -1)] = True
    elif isinstance(solver, pt.GraphPath) and solver.weights == "node":
        every[[solver.source, solver.target]] = True
    return every.ravel()


class Reference:
    """Row by row what the draws of a layer tell, by the formulas of the score estimator."""

    def __init__(self, solver, theta, *, noise, score, epsilon, samples, sampler, baseline, seed, fixed=None):
        self.solver, self.sampler, self.samples, self.fixed = solver, sampler, samples, fixed
        ndim = solver._item_ndim
        self.batch, self.item = theta.shape[: theta.ndim - ndim], theta.shape[theta.ndim - ndim :]
        self.theta = theta.reshape(-1, *self.item)
        self.eps = np.broadcast_to(np.asarray(epsilon, np.float64), self.batch).reshape(-1)
        draw = {"samples": samples, "sampler": sampler, "seed": seed}
        self.noisy = perturbed_items(theta, ndim, noise=noise, epsilon=epsilon, **draw)
        self.multiplicative = isinstance(noise, pt.Multiplicative)
        plain = replace(noise.noise if self.multiplicative else noise, scale=1.0)
        self.z = perturbed_items(np.zeros_like(theta), ndim, noise=plain, epsilon=1.0, **draw).astype(np.float64)
        self.s = score(self.z)
        self.sigma = np.broadcast_to(np.asarray(noise.scale, np.float64), self.item)
        self.y = np.stack([solver(x) for x in self.noisy]).astype(np.float64)
        self.solution = self.y.shape[2:]
        plain_y = np.stack([solver(x) for x in self.theta]).astype(np.float64)
        self.c = self.y - self._baseline(baseline, plain_y)

    def _baseline(self, baseline, plain):
        y, plain, m = self.y, plain[:, None], self.samples
        unit = y if self.sampler == "iid" else self._pairs(y).repeat(2, axis=1)
        units = m if self.sampler == "iid" else m // 2
        others = unit.sum(1, keepdims=True) / (1 if self.sampler == "iid" else 2) - unit
        if baseline is None:
            return 0.0
        if baseline == "loo":
            return others / (units - 1)
        return plain if baseline == "solution" else (plain + others) / units

    def _pairs(self, x):
        return (x[:, 0::2] + x[:, 1::2]) / 2

    def _flat(self, x):
        return x.reshape(*x.shape[:2], -1)

    def _width(self, j=slice(None)):
        """d theta' by one unit of noise, over d theta' / d theta: (rows, n); inf where there is no gradient."""
        width = self.eps[:, None] * self.sigma.reshape(-1)
        theta = self.theta.reshape(len(width), -1).astype(np.float64)
        if self.multiplicative:
            width = width * theta
        moves = (width != 0) & np.isfinite(theta) & ~part_of_all(self.solver, self.item)
        return np.where(moves, width, np.inf)

    def _error(self, x):
        x = x if self.sampler == "iid" else self._pairs(x)
        return x.std(1, ddof=1) / np.sqrt(x.shape[1])

    def _dot(self, x, g):
        return np.einsum("rmi,ri->rm", self._flat(x), g.reshape(len(g), -1).astype(np.float64))

    def rows(self, x, shape):
        return x.reshape(self.batch + shape)

    def mean(self):
        return self.rows(self.y.mean(1), self.solution)

    def mean_error(self):
        return self.rows(self._error(self.y), self.solution)

    def contributions(self, g):
        weight = self._dot(self.c, g.reshape(len(self.y), -1))
        return weight[:, :, None] * self._flat(self.s) / self._width()[:, None]

    def vjp(self, g):
        return self.rows(self.contributions(g).mean(1), self.item)

    def vjp_error(self, g):
        return self.rows(self._error(self.contributions(g)), self.item)

    def jacobian(self):
        jacobian = np.einsum("rmi,rmj->rij", self._flat(self.c), self._flat(self.s)) / self.samples
        return self.rows(jacobian / self._width()[:, None], self.solution + self.item)

    def jvp(self, t):
        factor = t.reshape(len(self.y), -1).astype(np.float64) / self._width()
        weight = self._dot(self.s, factor)
        return self.rows(np.einsum("rmi,rm->ri", self._flat(self.c), weight) / self.samples, self.solution)

    def vjp_epsilon(self, g):
        if self.solver._homogeneous and not self.multiplicative and (self.sigma > 0).all():
            product = self.vjp(g).reshape(len(self.y), -1) * self.theta.reshape(len(self.y), -1)
            return self.rows(-product.sum(1) / self.eps, ())
        weight = self._dot(self.c, g.reshape(len(self.y), -1))
        slope = self._flat(self.s * self.z - 1)
        if self.multiplicative:  # log E exp(w Z) = w^2/2
            slope = slope - self._flat(self.s) * (self.eps[:, None] * self.sigma.reshape(-1))[:, None]
        slope = (slope * np.isfinite(self._width())[:, None]).sum(2) / self.eps[:, None]
        return self.rows((weight * slope).mean(1), ())

    # ---- linear oracles ----

    def _cost(self):
        noisy = self.noisy.astype(np.float64)
        return np.minimum(noisy, 0.0) if self.solver._clipped else noisy

    def objectives(self, y):
        """Of solutions (rows, samples, *item) or one a row, at every draw."""
        used = np.where(y != 0, y * np.where(y != 0, self._cost(), 0.0), 0.0)
        fixed = np.array([[self.fixed(one) for one in row] for row in y]) if self.fixed else 0.0
        return self.solver._sign * self._flat(used).sum(2) + fixed

    def value(self):
        return self.rows(self.objectives(self.y).mean(1), ())

    def value_error(self):
        return self.rows(self._error(self.objectives(self.y)[:, :, None]), ())

    def _slopes(self):
        """d theta' / d theta, 0 where a cost was clipped."""
        open_ = (self.noisy <= 0) if self.solver._clipped else np.ones(self.noisy.shape, bool)
        factor = self.noisy.astype(np.float64) / self.theta[:, None] if self.multiplicative else 1.0
        return open_ * factor

    def value_grad(self, target=0.0):
        return self.rows((self.solver._sign * self._slopes() * (self.y - target)).mean(1), self.item)

    def loss(self, target):
        target = target.reshape(-1, 1, *self.item).astype(np.float64)
        return self.rows((self.objectives(self.y) - self.objectives(target)).mean(1), ())

    def loss_grad(self, target):
        return self.value_grad(target.reshape(-1, 1, *self.item).astype(np.float64))

    def value_epsilon(self):
        slope = self.sigma * self.z
        if self.multiplicative:
            width = self.eps.reshape(-1, *[1] * (self.noisy.ndim - 1)) * self.sigma
            slope = self.noisy * self.sigma * (self.z - width)
        if self.solver._clipped:
            slope = slope * (self.noisy <= 0)
        return self.rows((self.solver._sign * self._flat(self.y * slope)).sum(2).mean(1), ())

    def clipped(self):
        if not self.solver._clipped:
            return np.zeros(self.batch)
        shut = np.isneginf(self.theta).reshape(len(self.y), -1).sum(1)
        count = (self._flat(self.noisy) > 0).sum((1, 2))
        return self.rows(count / (self.samples * (self.theta[0].size - shut)), ())


def close(got, want, dtype, size=1.0):
    """Equal within rounding, in units of the largest entry wanted (at least `size`)."""
    assert got.dtype == dtype
    assert got.shape == want.shape
    bound = (1e-11 if dtype == np.float64 else 2e-4) * max(size, float(np.abs(want).max(initial=0)))
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


def same(got, want):
    """The same bits, in the same shape and type."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    assert got.tobytes() == want.tobytes()


def everything(layer, theta, g, t, y=None, **call):
    """Every result of a layer as a dict of arrays; g is like y, t like theta, y a target or None."""
    est = layer.estimate(theta, **call)
    result = {
        "y": est.y,
        "stderr": est.y_stderr,
        "vjp": est.vjp(g),
        "vjp stderr": est.vjp_stderr(g),
        "jvp": est.jvp(t),
        "jacobian": est.jacobian(),
        "d epsilon": est.vjp_epsilon(g),
        "clipped": est.clipped,
        "call": layer(theta, **call),
        "pullback": layer.vjp(theta, **call)[1](g),
        "layer jvp": layer.jvp(theta, t, **call)[1],
        "layer jacobian": layer.jacobian(theta, **call),
        "sample": layer.sample(theta, 3, **call),
    }
    if layer.solver._linear:
        value, grad = layer.value_and_grad(theta, **call)
        result |= {"value": value, "value grad": grad, "only value": layer.value(theta, **call)}
        result |= {"value stderr": est.value_stderr, "value d epsilon": est.value_epsilon, "est value": est.value}
        if y is not None:
            loss = pt.FenchelYoungLoss(layer, "none")
            value, grad = loss.value_and_grad(theta, y, **call)
            result |= {"loss": value, "loss grad": grad, "only loss": loss(theta, y, **call)}
    return result


class SolverContract:
    """Promises of every solver. A class that inherits says `solver`, `item` and `twin(theta) -> y`."""

    solver: pt.Solver
    item = (6,)
    refuses_neg_inf = False  # Ranking, Permutation: pass mask= instead
    plain_sample = 7000  # draws that make the engine use its threads
    noise_names = tuple(NOISES)
    fixed = None  # y -> the part of its objective that is not <y, theta>

    def twin(self, theta):
        raise NotImplementedError

    # ---- inputs ----

    def theta(self, *batch, dtype=np.float64, seed=0):
        return np.random.default_rng(seed).normal(size=(*batch, *self.item)).astype(dtype)

    def cotangent(self, theta, seed=1):
        y = self.solver(theta)
        return np.random.default_rng(seed).normal(size=y.shape).astype(y.dtype)

    def target(self, theta, seed=2):
        """Solutions of something else."""
        return self.solver(self.theta(*theta.shape[: theta.ndim - len(self.item)], dtype=theta.dtype, seed=seed))

    def layer(self, **options):
        return pt.Perturbed(self.solver, **{"estimator": "score", "samples": 6, **options})

    def inputs(self, *batch, dtype=np.float64):
        theta = self.theta(*batch, dtype=dtype)
        y = self.target(theta) if self.solver._linear else None
        return theta, self.cotangent(theta), self.theta(*batch, dtype=dtype, seed=3), y

    # ---- no noise ----

    @given(st.data())
    def test_solution_is_the_twins(self, data):
        entry = st.one_of(st.integers(-3, 3), st.floats(-2, 2, width=32))
        size = int(np.prod(self.item))
        values = data.draw(st.lists(entry, min_size=min(size, 20), max_size=min(size, 20)))
        for dtype in (np.float32, np.float64):
            theta = np.resize(np.array(values, dtype), self.item)
            y = self.solver(theta)
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, self.twin(theta))

    def test_ties_everywhere(self):
        for level in (0.0, -1.0, -0.0):
            theta = np.full(self.item, level)
            np.testing.assert_array_equal(self.solver(theta), self.twin(theta))

    def test_value_is_the_objective_of_the_solution(self):
        theta = self.theta(4)
        if not self.solver._linear:
            for call in (lambda: self.solver.value(theta), lambda: self.solver.objective(theta, theta)):
                with pytest.raises(ValueError, match="needs a linear oracle"):
                    call()
            return
        value = self.solver.value(theta)
        np.testing.assert_allclose(value, self.solver.objective(theta, self.solver(theta)), rtol=1e-13)
        used = np.minimum(theta, 0) if self.solver._clipped else theta
        by_hand = self.solver._sign * (self.solver(theta) * used).reshape(4, -1).sum(1)
        if self.fixed:
            by_hand += [self.fixed(y) for y in self.solver(theta)]
        np.testing.assert_allclose(value, by_hand, rtol=1e-12)
        # no other solution does better
        assert (value >= self.solver.objective(theta, self.target(theta))).all()

    # ---- batches ----

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize(("rows", "samples"), [(2, 4), (5, 3), (3, 70), (18, 2)])
    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_batch_is_a_loop(self, rows, samples, dtype, sampler):
        samples += samples % 2 if sampler == "antithetic" else 0
        theta, g, t, y = self.inputs(rows, dtype=dtype)
        layer = self.layer(samples=samples, sampler=sampler)
        whole = everything(layer, theta, g, t, y, seed=3, row_offset=2)
        for i in range(rows):
            part = slice(i, i + 1)
            one = everything(
                layer, theta[part], g[part], t[part], None if y is None else y[part], seed=3, row_offset=2 + i
            )
            for name, value in one.items():
                assert value[0].tobytes() == whole[name][i].tobytes(), (name, i)
            single = layer(theta[i], seed=3, row_offset=2 + i)
            same(single, whole["y"][i])

    def test_batch_of_two_dimensions_is_flat(self):
        theta, g, t, y = self.inputs(2, 3)
        flat = [None if x is None else x.reshape(6, *x.shape[2:]) for x in (theta, g, t, y)]
        layer = self.layer()
        whole, rows = everything(layer, theta, g, t, y, seed=1), everything(layer, *flat, seed=1)
        for name, value in whole.items():
            assert value.shape[:2] == (2, 3), name
            assert value.tobytes() == rows[name].tobytes(), name

    def test_empty_batch(self):
        for batch in ((0,), (2, 0), (0, 3)):
            theta, g, t, y = self.inputs(*batch, dtype=np.float32)
            assert self.solver(theta).shape == g.shape
            for name, value in everything(self.layer(), theta, g, t, y, seed=1).items():
                assert value.shape[: len(batch)] == batch, name
                assert value.dtype == np.float32, name
            with pytest.raises(ValueError, match="i must be"):
                self.layer().estimate(theta, seed=1).atoms(0)

    def test_epsilon_by_row(self):
        theta, g, t, y = self.inputs(2, 3)
        epsilon = np.array([[0.5, 1.0, 2.0]]) * np.array([[1.0], [3.0]])
        whole = everything(self.layer(epsilon=epsilon), theta, g, t, y, seed=1)
        for i, j in np.ndindex(2, 3):
            for call in (
                {"layer": self.layer(epsilon=epsilon[i, j]), "epsilon": None},
                {"layer": self.layer(), "epsilon": epsilon[i, j]},
            ):
                own = None if y is None else y[i, j]
                one = everything(call["layer"], theta[i, j], g[i, j], t[i, j], own, epsilon=call["epsilon"], seed=1,
                                 row_offset=3 * i + j)  # fmt: skip
                for name, value in one.items():
                    assert value.tobytes() == whole[name][i, j].tobytes(), name

    # ---- estimators ----

    @pytest.mark.parametrize("noise", ["normal", "gumbel"])
    def test_layer_gives_what_the_estimate_tells(self, noise):
        """A layer takes shorter ways than an estimate where only y or a pullback is asked for."""
        theta, g, t, _ = self.inputs(2)
        for name in available(self.solver, pt.Perturbed(self.solver, noise=noise).noise):
            layer = self.layer(estimator=name, noise=noise)
            est = layer.estimate(theta, seed=4)
            same(layer(theta, seed=4), est.y)
            y, jvp = layer.jvp(theta, t, seed=4)
            same(y, est.y)
            same(jvp, est.jvp(t))
            if name == "directional" and not symmetric(self.solver):
                continue
            y, pullback = layer.vjp(theta, seed=4)
            same(y, est.y)
            for _ in range(2):
                same(pullback(g), est.vjp(g))

    # ---- arrays ----

    def views(self, x):
        """The same numbers laid out in other ways."""
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        locked = x.copy()
        locked.flags.writeable = False
        odd = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        odd[...] = x
        return {
            "fortran": np.asfortranarray(x),
            "transposed": np.ascontiguousarray(x.T).T,
            "strided": wide[..., ::2],
            "reversed": np.ascontiguousarray(x[..., ::-1])[..., ::-1],
            "read only": locked,
            "other byte order": x.astype(x.dtype.newbyteorder()),
            "unaligned": odd,
            "broadcast": np.broadcast_to(x[None], (1, *x.shape))[0],
        }

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_any_layout_gives_the_same(self, dtype):
        theta, g, t, y = self.inputs(3, dtype=dtype)
        layer = self.layer()
        want = everything(layer, theta, g, t, y, seed=1)
        others = [self.views(x) for x in (theta, g, t)]
        for name in others[0]:
            x, gx, tx = (views[name] for views in others)
            yx = None if y is None else self.views(y)[name]
            arrays = [a for a in (x, gx, tx, yx) if a is not None]
            before = [a.tobytes() for a in arrays]
            got = everything(layer, x, gx, tx, yx, seed=1)
            assert [a.tobytes() for a in arrays] == before, f"{name}: an input was changed"
            for key, value in got.items():
                assert value.dtype == dtype
                assert value.dtype.isnative
                assert value.flags.c_contiguous
                assert value.flags.writeable
                assert value.tobytes() == want[key].tobytes(), (name, key)
            same(self.solver(x), self.solver(theta))

    def test_other_types_are_converted(self):
        theta = np.random.default_rng(0).integers(-4, 4, (3, *self.item))
        for other, dtype in (
            (theta, np.float64),
            (theta.astype(np.int8), np.float64),
            (theta.astype(">i2"), np.float64),
            ((theta % 2).astype(np.uint16), np.float64),
            ((theta % 2).astype(bool), np.float64),
            (theta.tolist(), np.float64),
            (theta.astype(np.float16), np.float32),
            (theta.astype(">f2"), np.float32),
        ):
            want = np.asarray(other).astype(dtype)
            same(self.solver(other), self.solver(want))
            same(self.layer()(other, seed=1), self.layer()(want, seed=1))

    def test_results_are_new_arrays(self):
        theta, g, _, _ = self.inputs(2)
        est = self.layer().estimate(theta, seed=1)
        first = est.vjp(g)
        keep = first.copy()
        first[...] = 7
        same(est.vjp(g), keep)
        y, pullback = self.layer().vjp(theta, seed=1)
        y[...] = 9
        theta[...] = 5
        same(pullback(g), keep)

    # ---- contents ----

    @pytest.mark.parametrize(("bad", "words"), [(np.nan, "NaN"), (np.inf, r"\+inf")])
    def test_bad_entries_are_named(self, bad, words):
        theta = self.theta(2, 3)
        last = tuple(n - 1 for n in self.item)
        theta[(1, 0, *last)] = bad
        theta[(1, 2, *last)] = bad
        place = ", ".join(map(str, (1, 0, *last)))
        keep = theta.copy()
        for call in (self.solver, self.layer(), self.layer(estimator="auto")):
            with pytest.raises(ValueError, match=rf"theta must not contain {words}.*theta\[{place}\]"):
                call(theta)
        np.testing.assert_array_equal(theta, keep)
        with pytest.raises(ValueError, match=rf"theta must not contain {words}.*theta\[{', '.join(map(str, last))}\]"):
            self.solver(theta[1, 0])

    def forbidden(self):
        """An item's entry that can be left out."""
        return (1,) * len(self.item)

    def test_neg_inf_leaves_out(self):
        theta = self.theta(2)
        at = (1, *self.forbidden())
        theta[at] = -np.inf
        if self.refuses_neg_inf:
            place = ", ".join(map(str, at))
            for call in (self.solver, self.layer()):
                with pytest.raises(ValueError, match=rf"pass mask= instead.*theta\[{place}\]"):
                    call(theta)
            return
        np.testing.assert_array_equal(self.solver(theta)[1], self.twin(theta[1]))
        g, t = self.cotangent(theta), self.theta(2, seed=3)
        for noise in self.noise_names:
            layer = self.layer(noise=NOISES[noise][0], epsilon=0.5, samples=12)
            est = layer.estimate(theta, seed=1)
            assert np.isfinite(est.vjp(g)).all(), noise
            assert est.vjp(g)[at] == 0, noise
            assert (est.vjp(g)[0] != 0).any(), noise
            assert np.isfinite(est.jvp(t)).all(), noise
            assert np.isfinite(est.jacobian()).all(), noise
            assert (est.jacobian()[(1, ..., *self.forbidden())] == 0).all(), noise
            assert np.isfinite(est.vjp_epsilon(g)).all(), noise
            # an entry that is never taken does not matter
            assert (np.moveaxis(est.y[1], 0, 0)[..., *self.forbidden()] == 0).all(), noise
            if self.solver._linear:
                assert np.isfinite(est.value).all(), noise
                assert np.isfinite(est.value_epsilon).all(), noise
                assert est.value_grad()[at] == 0, noise

    def test_mask_is_neg_inf(self):
        if "mask" not in self.solver._instance:
            with pytest.raises(TypeError, match="mask is no instance argument"):
                self.solver(self.theta(), mask=np.ones(self.item, bool))
            return
        theta, g, t, _ = self.inputs(3)
        mask = np.ones((3, *self.item), bool)
        mask[(1, *self.forbidden())] = False
        keep = mask.copy()
        layer = self.layer(samples=20)
        got = everything(layer, theta, g, t, None, seed=1, mask=mask)
        np.testing.assert_array_equal(mask, keep)
        # a row where nothing is left out is what it is without a mask
        free = everything(layer, theta[2], g[2], t[2], None, seed=1, row_offset=2)
        for name, value in free.items():
            assert got[name][2].tobytes() == value.tobytes(), name
        assert got["vjp"][(1, *self.forbidden())] == 0
        assert (got["vjp"][0] != 0).any()
        # broadcast over the batch, another layout, a list
        wide = np.asfortranarray(np.broadcast_to(mask[1], mask.shape))
        for other in (mask[1], mask[1].tolist(), wide, mask[1][None]):
            same(self.solver(theta, mask=other), self.solver(theta, mask=wide.copy()))
        np.testing.assert_array_equal(self.solver(theta, mask=mask)[0], self.solver(theta[0]))
        same(self.solver(theta, mask=None), self.solver(theta))
        if not self.refuses_neg_inf:
            closed = np.where(mask, theta, -np.inf)
            for name, value in everything(layer, closed, g, t, None, seed=1).items():
                assert got[name].tobytes() == value.tobytes(), name

    def test_unknown_instance_argument(self):
        for call in (self.solver, self.layer(), self.layer().estimate):
            with pytest.raises(TypeError, match="masks is no instance argument of"):
                call(self.theta(), masks=1)

    # ---- the solver as a value ----

    def from_repr(self, solver):
        return eval(repr(solver), vars(pt))

    def test_is_a_frozen_value(self):
        s = self.solver
        for other in (copy.copy(s), copy.deepcopy(s), pickle.loads(pickle.dumps(s)), self.from_repr(s)):
            assert other == s
            assert hash(other) == hash(s)
            assert repr(other) == repr(s)
            assert type(other) is type(s)
        assert s != object()
        assert s != pt.SumOfGamma(2.0)
        with pytest.raises(AttributeError):
            s.anything = 1

    def test_layer_pickles_and_copies(self):
        layer = self.layer(noise="gumbel", seed=4)
        theta = self.theta(2)
        layer(theta)
        copies = (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)))
        want = layer(theta)
        for other in copies:
            assert repr(other) == repr(layer)
            same(other(theta), want)

    # ---- the same bits ----

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("rows", [1, 3])
    def test_threads_do_not_show(self, dtype, rows):
        theta, g, t, y = self.inputs(rows, dtype=dtype)
        layer = self.layer(samples=self.plain_sample)
        results = []
        for n in (1, 2, 5):
            with pt.threads(n):
                est = layer.estimate(theta, seed=5)
                got = [
                    est.y,
                    est.y_stderr,
                    est.vjp(g),
                    est.vjp_stderr(g),
                    est.jvp(t),
                    est.vjp_epsilon(g),
                    est.jacobian(),
                ]
                if self.solver._linear:
                    got += [est.value, est.value_stderr, est.value_epsilon, est.clipped]
                    got += pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, y, seed=5)
                results.append([x.tobytes() for x in got])
        assert results[0] == results[1] == results[2]

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_memory_limit_does_not_show(self, dtype, sampler, memory_limit):
        theta, g, t, y = self.inputs(3, dtype=dtype)
        layer = self.layer(samples=140, sampler=sampler)
        want = everything(layer, theta, g, t, y, seed=5)
        atoms = layer.estimate(theta, seed=5).atoms(2)
        for limit in (1, 10000):
            memory_limit(limit)
            for name, value in everything(layer, theta, g, t, y, seed=5).items():
                assert value.tobytes() == want[name].tobytes(), (name, limit)
            for got, wanted in zip(layer.estimate(theta, seed=5).atoms(2), atoms, strict=True):
                same(got, wanted)

    def test_a_seed_is_a_seed(self):
        theta, g, t, y = self.inputs(3)
        layer = self.layer(samples=30)
        want = everything(layer, theta, g, t, y, seed=5)
        again = everything(self.layer(samples=30, seed=9), theta, g, t, y, seed=5)
        for name, value in want.items():
            assert value.tobytes() == again[name].tobytes(), name
        for other in ({"seed": 6}, {"seed": 5, "row_offset": 1}):
            assert want["sample"].tobytes() != layer.sample(theta, 3, **other).tobytes()
            assert want["vjp"].tobytes() != layer.vjp(theta, **other)[1](g).tobytes()
        counted = self.layer(samples=30, seed=5)
        calls = [counted.vjp(theta)[1](g) for _ in range(3)]
        same(calls[0], want["pullback"])
        assert len({c.tobytes() for c in calls}) == 3

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_draws_are_the_first_of_more(self, dtype):
        theta = self.theta(3, dtype=dtype)
        few, many = (self.layer(epsilon=0.7).sample(theta, n, seed=5) for n in (17, 150))
        same(np.ascontiguousarray(many[:, :17]), few)
        for samples, draws in ((17, few), (150, many)):
            est = self.layer(epsilon=0.7, samples=samples).estimate(theta, seed=5)
            np.testing.assert_allclose(est.y, draws.astype(np.float64).mean(1), rtol=1e-6)
            for i in range(3):
                solutions, weights = est.atoms(i)
                found = np.unique(draws[i].reshape(samples, -1), axis=0, return_counts=True)
                assert solutions.dtype == dtype
                assert solutions.shape == (len(found[1]), *draws.shape[2:])
                assert (np.diff(weights) <= 0).all()
                order = np.lexsort(solutions.reshape(len(solutions), -1).T[::-1])
                np.testing.assert_array_equal(solutions.reshape(len(solutions), -1)[order], found[0])
                np.testing.assert_allclose(weights[order], found[1] / samples, rtol=1e-15)
                first = [min(np.flatnonzero([np.array_equal(d, s) for d in draws[i]])) for s in solutions]
                for k in range(1, len(first)):  # of equal weight the first drawn first
                    assert weights[k] < weights[k - 1] or first[k] > first[k - 1]

    def test_sample_is_iid_whatever_the_sampler(self):
        theta = self.theta(2)
        same(self.layer(sampler="antithetic").sample(theta, 5, seed=1), self.layer().sample(theta, 5, seed=1))

    # ---- what the draws tell ----

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("scaled", [False, True])
    def test_formulas(self, scaled, dtype):
        for name in self.noise_names:
            self.check_formulas(name, scaled, dtype)

    def check_formulas(self, name, scaled, dtype):
        noise, score = NOISES[name]
        theta, g, t, y = self.inputs(2, dtype=dtype)
        if scaled:
            scale = np.random.default_rng(8).uniform(0.5, 1.5, self.item)
            scale[self.forbidden()] = 0.0
            noise = replace(noise, scale=scale)
        epsilon = np.array([0.6, 0.3])
        for sampler in SAMPLERS if name in MIRRORED else ("iid",):
            for baseline in BASELINES:
                options = {"noise": noise, "epsilon": epsilon, "samples": 70, "sampler": sampler, "baseline": baseline}
                ref = Reference(self.solver, theta, score=score, seed=3, fixed=self.fixed, **options)
                est = self.layer(**options).estimate(theta, seed=3)
                self.compare(ref, est, theta, g, t, y, dtype, self.layer(**options))
                if scaled:
                    assert (est.vjp(g)[(slice(None), *self.forbidden())] == 0).all()

    def compare(self, ref, est, theta, g, t, y, dtype, layer):
        assert est.method == "score"
        close(est.y, ref.mean(), dtype)
        close(est.y_stderr, ref.mean_error(), dtype)
        size = float(np.abs(ref.contributions(g)).max())
        close(est.vjp(g), ref.vjp(g), dtype, size)
        close(est.vjp_stderr(g), ref.vjp_error(g), dtype, size)
        close(est.jvp(t), ref.jvp(t), dtype, size)
        close(est.jacobian(), ref.jacobian(), dtype, size)
        # the three say one thing
        rows, n = len(theta), int(np.prod(self.item))
        jacobian = est.jacobian().reshape(rows, -1, n).astype(np.float64)
        by_matrix = np.einsum("ryj,ry->rj", jacobian, g.reshape(rows, -1)).reshape(theta.shape)
        close(est.vjp(g), by_matrix, dtype, size)
        forward = np.einsum("ryj,rj->ry", jacobian, t.reshape(rows, -1)).reshape(est.y.shape)
        close(est.jvp(t), forward, dtype, size)
        close(est.vjp_epsilon(g), ref.vjp_epsilon(g), dtype, 10 * size)
        if not self.solver._linear:
            return
        close(est.value, ref.value(), dtype, 10.0)
        close(est.value_stderr, ref.value_error(), dtype, 10.0)
        close(est.value_grad(), ref.value_grad(), dtype, 10.0)
        close(est.value_epsilon, ref.value_epsilon(), dtype, 10.0)
        close(est.clipped, ref.clipped(), dtype)
        loss = pt.FenchelYoungLoss(layer, "none")
        value, grad = loss.value_and_grad(theta, y, seed=3)
        close(value, ref.loss(y), dtype, 10.0)
        close(grad, ref.loss_grad(y), dtype, 10.0)
        assert (value >= 0).all()
        mean, mean_grad = pt.FenchelYoungLoss(layer).value_and_grad(theta, y, seed=3)
        np.testing.assert_allclose(mean, value.mean(), rtol=1e-5)
        np.testing.assert_allclose(mean_grad, grad / len(theta), rtol=1e-5)
        np.testing.assert_allclose(pt.FenchelYoungLoss(layer, "sum")(theta, y, seed=3), value.sum(), rtol=1e-5)

    def test_value_is_convex_with_its_gradient(self):
        """F(theta + d) >= F(theta) + <grad, d> with the same noise, for any d; clipped costs: a difference quotient."""
        if not self.solver._linear:
            return
        layer, theta = self.layer(samples=40), self.theta(3)
        value, grad = layer.value_and_grad(theta, seed=1)
        step = self.theta(3, seed=7)
        if not self.solver._clipped:
            for size in (0.01, 1.0, 10.0):
                ahead = layer.value(theta + size * step, seed=1)
                rise = size * (grad * step).reshape(3, -1).sum(1)
                assert (ahead - value - rise >= -1e-12 * (1 + abs(ahead))).all()
        h = 1e-8
        slope = (layer.value(theta + h * step, seed=1) - layer.value(theta - h * step, seed=1)) / (2 * h)
        np.testing.assert_allclose(slope, (grad * step).reshape(3, -1).sum(1), rtol=1e-5, atol=1e-5)

    def test_one_sample(self):
        theta, g, _, _ = self.inputs(2)
        est = self.layer(samples=1).estimate(theta, seed=1)
        same(est.y, self.layer().sample(theta, 1, seed=1)[:, 0])
        assert np.isnan(est.y_stderr).all()
        error = est.vjp_stderr(g).reshape(2, -1)
        every = part_of_all(self.solver, self.item)
        assert np.isnan(error[:, ~every]).all()
        assert (error[:, every] == 0).all()
        if self.solver._linear:
            assert np.isnan(est.value_stderr).all()
