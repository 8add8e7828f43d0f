"""From checked arguments to one run of the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _config, _core
from ._checks import Real, as_like

SAMPLERS = {"iid": 0, "antithetic": 1, "lhs": 2, "sobol": 3}
BASELINES = {None: 0, "loo": 1, "solution": 2, "hybrid": 3}
BEST = 4  # "auto": hybrid, and for few draws of a linear oracle both forms of the estimator mixed


class Layout(Protocol):
    """How the core's arrays differ from the user's: matrices whose upper triangle says all, for one."""

    def pack_width(self, name: str, x: NDArray[Any]) -> NDArray[Any]:
        """Widths of noise like an item, to the core's."""

    def pack_solution(self, name: str, y: Real) -> Real:
        """Solutions that somebody else chose, to the core's."""

    def pack_tangent(self, t: Real) -> Real:
        """A change of theta, to the core's."""

    def pack_cotangent(self, g: Real) -> Real:
        """A linear function of solutions, to one of the core's."""

    def unpack_solution(self, y: Real) -> Real:
        """The core's solutions, last axis, to the user's."""

    def unpack_change(self, y: Real) -> Real:
        """The core's changes of solutions, last axis, to the user's."""

    def unpack_grad(self, grad: Real) -> Real:
        """A gradient with respect to the core's theta, last axis, to one with respect to the user's."""


@dataclass(slots=True)
class Problem:
    """A solver applied to a batch, laid out for the core."""

    name: str
    ints: tuple[int, ...]
    arrays: tuple[NDArray[Any] | None, ...]
    theta: Real  # private, C-contiguous, (*batch, *the core's item)
    batch: tuple[int, ...]
    item: tuple[int, ...]  # the user's
    solution: tuple[int, ...]  # the user's
    oracle: Callable[..., Any] | None = None
    layout: Layout | None = None  # None: the core's arrays are the user's
    beyond: str | None = None  # what its instance arguments bring that is no linear oracle (`Solver._no_moves`)

    @property
    def core_item(self) -> tuple[int, ...]:
        """Shape of an item in the core."""
        return self.theta.shape[len(self.batch) :]

    # from the user's arrays to the core's, and back; all have the batch in front

    def given(self, name: str, y: ArrayLike) -> Real:
        """Solutions like an item, checked."""
        own = as_like(name, y, self.batch + self.item, self.theta.dtype)
        return own if self.layout is None else self.layout.pack_solution(name, own)

    def cotangent(self, g: ArrayLike) -> Real:
        own = as_like("g", g, self.batch + self.solution, self.theta.dtype)
        return own if self.layout is None else self.layout.pack_cotangent(own)

    def tangent(self, t: ArrayLike) -> Real:
        own = as_like("tangent", t, self.batch + self.item, self.theta.dtype)
        return own if self.layout is None else self.layout.pack_tangent(own)

    def solutions(self, y: Real, *between: int) -> Real:
        """Solutions of the core, with axes `between` the batch's and their own."""
        if self.layout is None:
            return y.reshape(self.batch + between + self.solution)
        return self.layout.unpack_solution(y.reshape(*self.batch, *between, y.shape[-1]))

    def changes(self, y: Real) -> Real:
        """Changes of solutions: linear, where solutions may have a constant part."""
        if self.layout is None:
            return y.reshape(self.batch + self.solution)
        return self.layout.unpack_change(y.reshape(*self.batch, y.shape[-1]))

    def item_solutions(self, y: Real) -> Real:
        """Solutions of one item: (K, core solution) to (K, *solution)."""
        return y.reshape(len(y), *self.solution) if self.layout is None else self.layout.unpack_solution(y)

    def grad(self, grad: Real) -> Real:
        """A gradient by the core's theta, as one by the user's."""
        return grad if self.layout is None else self.layout.unpack_grad(grad)

    def jacobian(self, jacobian: Real) -> Real:
        """(rows, core solution, core item) to (*batch, *solution, *item)."""
        if self.layout is None:
            return jacobian.reshape(self.batch + self.solution + self.item)
        wide = self.layout.unpack_grad(jacobian)  # (rows, core solution, *item)
        wide = np.moveaxis(wide, 1, -1)  # (rows, *item, core solution)
        wide = self.layout.unpack_change(np.ascontiguousarray(wide))
        n = len(self.item)
        wide = np.moveaxis(wide, range(1, 1 + n), range(-n, 0))
        return np.ascontiguousarray(wide).reshape(self.batch + self.solution + self.item)

    def per_row(self, values: NDArray[np.float64] | None) -> Real:
        """Numbers of rows as (*batch,), in theta's dtype."""
        assert values is not None
        own = values.reshape(self.batch)
        return own.copy() if self.theta.dtype == np.float64 else _core.narrow(own)


_NO_NOISE = (0, 0.0, 0.0, 0.0, False, None, None, True)


@dataclass(slots=True)
class Draw:
    """How theta is perturbed, and which draws are made."""

    epsilon: NDArray[np.float64] | None = None
    noise: tuple[Any, ...] = _NO_NOISE
    key: int = 0
    row_offset: int = 0
    samples: int = 1
    sampler: int = 0
    baseline: int = 0
    call: int = -1  # its number in the layer's count; -1: none was taken


PLAIN = Draw()


def solve(problem: Problem, value: bool = False) -> tuple[Real, NDArray[np.float64] | None]:
    """Solutions of the core and, if wanted, their objectives, with no noise; raises what is wrong with theta."""
    late = problem.oracle is None  # an oracle is called when all rows are known to be right
    y, values, _, _ = start(problem, PLAIN, check_late=late).forward(value, False, None)
    return y, values


def start(problem: Problem, draw: Draw, check_late: bool = False) -> _core.Run:
    """Plan and, unless `forward` does, check contents; raises what is wrong with theta."""
    return _core.Run(
        problem.name,
        problem.ints,
        problem.arrays,
        problem.theta,
        len(problem.core_item),
        draw.epsilon,
        draw.noise,
        draw.key,
        draw.row_offset,
        draw.samples,
        draw.sampler,
        draw.baseline,
        _config._memory_limit,
        _config.get_num_threads(),
        problem.oracle,
        check_late,
    )
