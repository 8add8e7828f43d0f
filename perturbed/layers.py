"""Perturbed: a solver made differentiable."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ._checks import Real, Seed, as_epsilon, as_int, as_key, check_epsilon, check_seed, check_widths, one_of
from ._run import BASELINES, BEST, SAMPLERS, Draw, Problem, start
from ._values import _show
from .estimators import ESTIMATES, BeyondExactError, Estimate, ExactEstimate, available, need_score, need_value
from .noise import Noise, NoiseBase, as_noise
from .solvers import Solver

Pullback = Callable[[ArrayLike], Real]

_DEFAULTS = {"noise": "normal", "epsilon": 1.0, "samples": 100, "estimator": "auto", "sampler": "auto",
             "baseline": "auto", "seed": None}  # fmt: skip


class Perturbed:
    """The perturbed maximizer y_eps(theta) = E y*(theta + epsilon Z) of a solver, with its derivatives.

    Estimates are unbiased; exact where a closed form exists. theta, epsilon and values share one unit; y has none.

    Parameters
    ----------
    solver : Solver
        What is perturbed.
    noise : {"normal", "gumbel", "laplace", "logistic"} or noise object, default "normal"
        Distribution of Z.
    epsilon : float or array_like, broadcasts to the batch, default 1
        Width of the noise, > 0, in the unit of theta. It, and its products with the noise's `scale` (where that is not
        0), must be from 1e-30 to 1e30 for float32, from 1e-100 to 1e100 for float64.
    samples : int, default 100
        Draws M of each row.
    estimator : {"auto", "exact", "rao_blackwell", "directional", "score"}, default "auto"
        How derivatives are estimated; "auto" takes the best that solver and noise allow. "score" exists for all;
        "rao_blackwell" integrates each coordinate's own noise out; "directional" (normal noise) makes two solves a
        draw in the pullback, and has a VJP for linear oracles only (not for constrained forests).
    sampler : {"auto", "iid", "antithetic", "lhs", "sobol"}, default "auto"
        How draws depend on each other. Antithetic draws come in mirrored pairs (M even); "lhs" (Latin hypercube) has
        one draw in each of M equally likely shares of every coordinate; its standard errors are those of independent
        draws, an upper bound. "sobol" is a scrambled Sobol sequence, best for M a power of two; each standard error
        asked for is the spread of four more estimates from independent scrambles, four times the solves (an Oracle's
        ``fn`` is called as often). "auto" is "iid".
    baseline : {"auto", "loo", "solution", "hybrid"} or None, default "auto"
        What the score estimator subtracts from y*, with no bias: nothing; the mean of the other draws; y*(theta), one
        more solve; y*(theta) and the other draws averaged together. "auto" is "hybrid" (with lhs and sobol, where that
        would be biased, "solution"), and for up to 64 independent draws of a linear oracle ``vjp`` then mixes J^T g and
        J g, which are equal, entry by entry and projects on the hull of the solutions: less error, not linear in g.
    seed : int, SeedSequence, Generator or None
        With a seed, calls are numbered 0, 1, 2, ...; noise is a function of (seed, number, row, draw, coordinate).
        Without one the operating system gives one for each call. Copies and pickles keep the number. A call that fails
        gives its number back, unless another one was made meanwhile. A Generator is asked for one number a call, which
        a call that fails does not give back where it failed by what theta or another array holds.

    Raises
    ------
    ValueError, TypeError
        For an option that does not exist for this solver and noise.

    Notes
    -----
    The same seed gives the same bits for any number of threads, any split of the batch (``row_offset=``), any
    instruction set and any memory limit. Ties, which noise makes rare, are broken as the solver says.

    References
    ----------
    Berthet et al., "Learning with differentiable perturbed optimizers", NeurIPS 2020, equations 2 to 5.

    Examples
    --------
    >>> import perturbed as pt
    >>> layer = pt.Perturbed(pt.Ranking(), epsilon=.5, samples=1000, seed=0)
    >>> y, pullback = layer.vjp([.2, 1.5, -.3])
    >>> y.shape, pullback([1., 0., 0.]).shape
    ((3,), (3,))
    """

    def __init__(
        self,
        solver: Solver,
        *,
        noise: str | NoiseBase = "normal",
        epsilon: ArrayLike = 1.0,
        samples: int = 100,
        estimator: Literal["auto", "exact", "rao_blackwell", "directional", "score"] = "auto",
        sampler: Literal["auto", "iid", "antithetic", "lhs", "sobol"] = "auto",
        baseline: Literal["auto", "loo", "solution", "hybrid"] | None = "auto",
        seed: Seed = None,
    ) -> None:
        if not isinstance(solver, Solver):
            raise TypeError(f"solver must be a solver such as pt.Argmax(), got {solver!r}")
        check_epsilon(epsilon)
        check_seed(seed)
        self._solver, self._noise = solver, as_noise(noise)
        self._epsilon = epsilon if isinstance(epsilon, float) else _frozen(epsilon)
        self._samples = as_int("samples", samples, 1, 2**32 - 1)
        self._options: dict[str, Any] = {"estimator": estimator, "sampler": sampler, "baseline": baseline}
        self._method = self._pick_estimator(estimator)
        self._sampler = self._pick_sampler(sampler)
        self._baseline = self._pick_baseline(baseline)
        self._seed = copy.deepcopy(seed) if isinstance(seed, np.random.SeedSequence) else seed
        self._calls = 0
        self._lock = threading.Lock()

    # ---- options ----

    def _pick_estimator(self, estimator: str) -> str:
        names = available(self._solver, self._noise)
        if isinstance(estimator, str) and estimator == "auto":
            return names[0]
        if not isinstance(estimator, str) or estimator not in names:
            known = ", ".join(map(repr, ["auto", *names]))
            raise ValueError(
                f"estimator must be one of {known} for {self._solver!r} and {self._noise!r}, got {estimator!r}"
            )
        return estimator

    def _pick_sampler(self, sampler: str) -> int:
        one_of("sampler", sampler, ("auto", *SAMPLERS))
        if sampler == "antithetic":
            if not self._noise._mirrors:
                raise ValueError(f"sampler must be 'iid' for {self._noise!r}, got 'antithetic'")
            if self._samples % 2:
                raise ValueError(f"samples must be even for the antithetic sampler, got {self._samples}")
        if sampler in ("lhs", "sobol") and not self._noise._has_quantile:
            raise ValueError(f"sampler {sampler!r} needs noise with a quantile, and {self._noise!r} has none")
        return SAMPLERS["iid" if sampler == "auto" else sampler]

    def _pick_baseline(self, baseline: str | None) -> int:
        one_of("baseline", baseline, ("auto", *BASELINES))
        dependent = self._sampler in (SAMPLERS["lhs"], SAMPLERS["sobol"])
        if baseline == "auto":
            baseline = "solution" if dependent else self._solver._default_baseline
            if baseline == "hybrid":
                return BEST
        if dependent and baseline in ("loo", "hybrid"):
            raise ValueError(
                f"baseline {baseline!r} is biased with sampler 'lhs' or 'sobol', whose draws depend on each other: use "
                "'solution' or None"
            )
        needed = 4 if self._sampler == SAMPLERS["antithetic"] else 2
        if baseline == "loo" and self._samples < needed:
            raise ValueError(f"samples must be at least {needed} for baseline 'loo', got {self._samples}")
        return BASELINES[baseline]

    @property
    def solver(self) -> Solver:
        """The solver that is perturbed."""
        return self._solver

    @property
    def noise(self) -> NoiseBase:
        """The distribution of Z."""
        return self._noise

    @property
    def epsilon(self) -> Any:
        """Width of the noise."""
        return self._epsilon

    @property
    def samples(self) -> int:
        """Draws of each row."""
        return self._samples

    @property
    def estimator(self) -> str:
        """The estimator in use: "auto" resolved."""
        return self._method

    def __repr__(self) -> str:
        given = {"noise": self._noise, "epsilon": self._epsilon, "samples": self._samples, **self._options}
        given["seed"] = self._seed
        shown = []
        for name, value in given.items():
            default = as_noise("normal") if name == "noise" else _DEFAULTS[name]
            if isinstance(value, np.ndarray) or type(value) is not type(default) or value != default:
                shown.append(f", {name}={_show(value)}")
        return f"Perturbed({self._solver!r}{''.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    # ---- a call ----

    def _take_key(self, draw: Draw, seed: Seed) -> None:
        """The key of this call: of the seed given, else of the layer's own, whose count goes on."""
        if seed is not None or self._seed is None:
            draw.key = as_key(seed, 0)
            return
        with self._lock:
            draw.call = self._calls
            self._calls += 1
            draw.key = as_key(self._seed, draw.call)

    def _give_back(self, call: int) -> None:
        """The number of a call that failed, unless a later one is taken."""
        with self._lock:
            if self._calls == call + 1:
                self._calls = call

    def _counting(self, draw: Draw) -> _Counting:
        """Inside, a call that fails is none."""
        return _Counting(self, draw)

    def _prepare(
        self, theta: ArrayLike, epsilon: ArrayLike | None, seed: Seed, row_offset: int, instance: dict[str, Any],
        samples: int | None = None, value: bool = False,
    ) -> tuple[Problem, Draw]:  # fmt: skip
        """Everything about a call, checked but for what the core checks; the layer's count goes on when that is right.

        The rest of the call is made inside `_counting`, which takes the count back where the rest fails.

        value: the problem is the one whose objective the value is (`Solver._of_value`).
        """
        solver = self._solver
        if seed is not None:
            check_seed(seed)
        draw = Draw(
            None,
            (),
            0,
            row_offset
            if type(row_offset) is int and 0 <= row_offset < 2**62
            else as_int("row_offset", row_offset, 0, 2**62),
            self._samples if samples is None else samples,
            self._sampler if samples is None else 0,
            self._baseline,
        )
        if solver._core_name == "oracle":
            return self._prepare_oracle(theta, epsilon, seed, draw, instance)
        problem = (solver._of_value() if value else solver)._problem(theta, instance)
        problem.beyond = solver._no_moves(instance)
        if problem.beyond is not None and draw.baseline == BEST:  # which takes J for symmetric
            draw.baseline = BASELINES["hybrid"]
        self._finish(draw, problem.batch, problem.item, problem.theta.dtype, epsilon, seed, problem)
        return problem, draw

    def _prepare_oracle(
        self, theta: ArrayLike, epsilon: ArrayLike | None, seed: Seed, draw: Draw, instance: dict[str, Any]
    ) -> tuple[Problem, Draw]:
        """An oracle needs the noise before the problem is known: its first answer tells the shape of a solution."""
        from ._checks import as_theta

        array = as_theta(theta, self._solver._item_ndim)
        split = array.ndim - self._solver._item_ndim
        self._finish(draw, array.shape[:split], array.shape[split:], array.dtype, epsilon, seed)
        with self._counting(draw):
            return self._solver._problem(array, instance, draw), draw

    def _finish(
        self, draw: Draw, batch: tuple[int, ...], item: tuple[int, ...], dtype: np.dtype[Any],
        epsilon: ArrayLike | None, seed: Seed, problem: Problem | None = None,
    ) -> None:  # fmt: skip
        noise = self._noise
        draw.epsilon = as_epsilon(self._epsilon if epsilon is None else epsilon, batch, dtype)
        draw.noise = noise._spec(item)
        if draw.noise[5] is not None:
            check_widths(draw.epsilon, draw.noise[5], dtype)
        if problem is not None and problem.layout is not None:
            item, widths = problem.core_item, draw.noise[5]
            if widths is not None:
                packed = problem.layout.pack_width("scale", widths.reshape(problem.item))
                draw.noise = (*draw.noise[:5], packed, *draw.noise[6:])
        if not noise._additive and len(draw.epsilon):
            widths = draw.noise[5]
            noise._check_width(float(draw.epsilon.max()) * (1.0 if widths is None else float(widths.max())), dtype)
        self._take_key(draw, seed)
        if isinstance(noise, Noise):
            draw.noise = _bind_sample(noise, draw, item, dtype)

    def _estimate(
        self, theta: ArrayLike, epsilon: ArrayLike | None, seed: Seed, row_offset: int, instance: dict[str, Any],
        value: bool, only_value: bool = False,
    ) -> Estimate:  # fmt: skip
        method = self._by_draws(instance)
        problem, draw = self._prepare(theta, epsilon, seed, row_offset, instance, value=only_value)
        solver = self._solver._of_value() if only_value else self._solver
        with self._counting(draw):
            if self._method == "exact":
                exact = self._exact(solver, problem, draw, value)
                if exact is not None:
                    return exact
            method = self._for_size(method, problem)
            result: Estimate = ESTIMATES[method](solver, self._noise, problem, draw, value=value)
            return result

    def _by_draws(self, instance: dict[str, Any]) -> str:
        """The estimator of a call that has no exact form."""
        method = self._method if self._method != "exact" else self._without_exact()[0]
        beyond = self._solver._no_moves(instance) if method == "rao_blackwell" else None
        if beyond is None:
            return method
        if self._options["estimator"] == "rao_blackwell":
            names = [name for name in self._without_exact() if name != "rao_blackwell"]
            known = ", ".join(map(repr, ["auto", *names]))
            raise ValueError(f"estimator must be one of {known} for {beyond}, got 'rao_blackwell'")
        return "score"

    def _for_size(self, method: str, problem: Problem) -> str:
        """What "auto" takes for an item of this size."""
        large = math.prod(problem.core_item) > self._solver._moves_most
        return "score" if large and method == "rao_blackwell" and self._options["estimator"] == "auto" else method

    def _without_exact(self) -> list[str]:
        return [name for name in available(self._solver, self._noise) if name != "exact"]

    def _exact(self, solver: Solver, problem: Problem, draw: Draw, value: bool) -> ExactEstimate | None:
        """The exact estimate; None where "auto" leaves an item of this size to draws."""
        auto = self._options["estimator"] == "auto"
        try:
            return ExactEstimate(solver, self._noise, problem, draw, value=value, preferred=auto)
        except BeyondExactError as beyond:
            if auto:
                return None
            known = ", ".join(map(repr, ["auto", *self._without_exact()]))
            raise ValueError(f"estimator must be one of {known}, got 'exact': {beyond}") from None

    # ---- what users call ----

    def __call__(
        self, theta: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> Real:  # fmt: skip
        """The perturbed maximizer y_eps.

        Parameters
        ----------
        theta : array_like, shape (*batch, *item)
            Scores, to be maximised: pass costs negated. float32 and float64 compute in their own precision.
        epsilon : float or array_like, broadcasts to the batch, optional
            Instead of the layer's.
        seed : int, SeedSequence, Generator, optional
            Makes this call number 0 of that seed, whatever came before.
        row_offset : int, default 0
            Flat index of theta's first row in a larger batch: a batch equals its parts, each with its own offset.
        **instance
            Instance arguments of the solver.

        Returns
        -------
        ndarray, shape (*batch, *solution)
            In theta's dtype; no unit.

        Raises
        ------
        TypeError
            Where theta is not real, or an instance argument is unknown.
        ValueError
            Where theta holds NaN or +inf, or a row has no solution: the message names the argument and the row.
        """
        estimate = self._estimate(theta, epsilon, seed, row_offset, instance, False)
        with self._counting(estimate._draw):
            return estimate._give_y(True)

    def value(
        self, theta: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> Real:  # fmt: skip
        """The perturbed maximum F_eps = E max <y, theta + epsilon Z>. Parameters as for a call.

        Returns
        -------
        ndarray, shape (*batch,)
            In the unit of theta.

        Raises
        ------
        ValueError
            Where the solver is no linear oracle, or the noise has no mean; else as for a call.
        """
        need_value(self._solver, self._noise)
        estimate = self._estimate(theta, epsilon, seed, row_offset, instance, True, True)
        with self._counting(estimate._draw):
            return estimate.value

    def value_and_grad(
        self, theta: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> tuple[Real, Real]:  # fmt: skip
        """The perturbed maximum and its gradient. Parameters and errors as for `value`.

        Returns
        -------
        value : ndarray, shape (*batch,)
            F_eps, in the unit of theta.
        grad : ndarray, like theta
            y_eps for linear oracles (``Ranking(descending=True)``: -y_eps); where costs are clipped, or noise is
            multiplicative, E[w y*], w the derivative of the noisy cost.
        """
        need_value(self._solver, self._noise)
        estimate = self._estimate(theta, epsilon, seed, row_offset, instance, True, True)
        with self._counting(estimate._draw):
            return estimate.value, estimate.value_grad()

    def vjp(
        self, theta: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> tuple[Real, Pullback]:  # fmt: skip
        """y_eps, and the pullback g -> J^T g. Parameters as for a call.

        Returns
        -------
        y : ndarray, shape (*batch, *solution)
            y_eps.
        pullback : callable
            ``pullback(g)``, g like y, gives the gradient, like theta. It can be called again and is safe in threads.

        Raises
        ------
        ValueError
            Where the noise has no score; else as for a call.

        References
        ----------
        Berthet et al., NeurIPS 2020, equation 5.
        """
        need_score(self._noise)
        ESTIMATES[self._method].check_vjp(self._solver, self._solver._no_moves(instance))
        estimate = self._estimate(theta, epsilon, seed, row_offset, instance, False)
        with self._counting(estimate._draw):
            return estimate._give_y(False), estimate.vjp

    def jvp(
        self, theta: ArrayLike, tangent: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None,
        row_offset: int = 0, **instance: Any,
    ) -> tuple[Real, Real]:  # fmt: skip
        """y_eps and its derivative J t along a tangent t. Other parameters and errors as for `vjp`.

        Parameters
        ----------
        tangent : array_like, like theta
            The direction t.

        Returns
        -------
        y, dy : ndarray, shape (*batch, *solution)
            y_eps and J t.
        """
        need_score(self._noise)
        estimate = self._estimate(theta, epsilon, seed, row_offset, instance, False)
        with self._counting(estimate._draw):
            return estimate.y, estimate.jvp(tangent)

    def jacobian(
        self, theta: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> Real:  # fmt: skip
        """The Jacobian J = d y_eps / d theta. Parameters and errors as for `vjp`.

        Returns
        -------
        ndarray, shape (*batch, *solution, *item)
            Row by row of the batch, in 1 / the unit of theta.
        """
        need_score(self._noise)
        estimate = self._estimate(theta, epsilon, seed, row_offset, instance, False)
        with self._counting(estimate._draw):
            return estimate.jacobian()

    def sample(
        self, theta: ArrayLike, n: int, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> Real:  # fmt: skip
        """Solutions of n independent draws: the perturbed model p_theta. Other parameters as for a call.

        Parameters
        ----------
        n : int
            How many, >= 1.

        Returns
        -------
        ndarray, shape (*batch, n, *solution)
            One solution a draw, always independent ones, whatever the layer's sampler and estimator.
        """
        count = as_int("n", n, 1, 2**32 - 1)
        problem, draw = self._prepare(theta, epsilon, seed, row_offset, instance, count)
        with self._counting(draw):
            run = start(problem, draw)
            y = run.solutions(0, len(draw.epsilon), 0, count)  # type: ignore[arg-type]
            return problem.solutions(y, count)

    def estimate(
        self, theta: ArrayLike, *, epsilon: ArrayLike | None = None, seed: Seed = None, row_offset: int = 0,
        **instance: Any,
    ) -> Estimate:  # fmt: skip
        """All of the above, with standard errors, from one set of solves. Parameters and errors as for a call.

        Returns
        -------
        Estimate
            With `y`, `value`, derivatives, standard errors and atoms.
        """
        return self._estimate(theta, epsilon, seed, row_offset, instance, True)


class _Counting:
    """The part of a call that comes after its number is taken: where it fails the number is given back."""

    __slots__ = ("draw", "layer")

    def __init__(self, layer: Perturbed, draw: Draw) -> None:
        self.layer, self.draw = layer, draw

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self.draw.call >= 0:
            self.layer._give_back(self.draw.call)


def _frozen(epsilon: ArrayLike) -> Any:
    array = np.array(epsilon, dtype=np.float64)
    if array.ndim == 0:
        return float(array)
    array.flags.writeable = False
    return array


def _bind_sample(noise: Noise, draw: Draw, item: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """The user's noise, asked by row."""
    shape, key, offset = (draw.samples, *item), draw.key, draw.row_offset

    def sample(row: int) -> tuple[Real, Real | None]:
        return noise._draw(key, row + offset, shape, dtype)

    return (*draw.noise[:6], sample, draw.noise[7])
