"""From checked arguments to one run of the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _config, _core
from ._checks import Real

SAMPLERS = {"iid": 0, "antithetic": 1}
BASELINES = {None: 0, "loo": 1, "solution": 2, "hybrid": 3}


@dataclass(slots=True)
class Problem:
    """A solver applied to a batch, laid out for the core."""

    name: str
    ints: tuple[int, ...]
    arrays: tuple[NDArray[Any] | None, ...]
    theta: Real  # private, C-contiguous, (*batch, *item)
    batch: tuple[int, ...]
    item: tuple[int, ...]
    solution: tuple[int, ...]
    oracle: Callable[..., Any] | None = None

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


PLAIN = Draw()


def start(problem: Problem, draw: Draw) -> _core.Run:
    """Check contents and plan; raises what is wrong with theta."""
    return _core.Run(
        problem.name,
        problem.ints,
        problem.arrays,
        problem.theta,
        len(problem.item),
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
    )
