"""Standard errors of Sobol draws: the estimate made again, from independent scrambles of the same points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .. import _core
from .._checks import Real
from .._run import SAMPLERS, Draw

SCRAMBLES = 4
_DOMAIN = 0x73637261  # of their keys


def scrambled(draw: Draw) -> bool:
    """Say whether draws depend on each other so that only further scrambles tell their spread."""
    return draw.sampler == SAMPLERS["sobol"]


def scrambles(draw: Draw) -> Iterator[Draw]:
    """The same points, scrambled by further keys: each as independent of the call's own as of the others."""
    for i in range(SCRAMBLES):
        yield replace(draw, key=_core.key(draw.key, i, _DOMAIN))


def spread(estimates: Iterator[Real]) -> Real:
    """Sample standard deviation of independent estimates: its square is unbiased for the variance of one.

    Invariant (Welford 1962): after `count` of them, `squares` is the sum of squared deviations from their `mean`.
    """
    first = next(estimates)
    mean, count = first.astype(np.float64), 1
    squares = np.zeros_like(mean)
    for count, estimate in enumerate(estimates, 2):
        x = estimate.astype(np.float64)
        step = x - mean
        mean += step / count
        squares += step * (x - mean)
    return np.asarray(np.sqrt(squares / (count - 1)), dtype=first.dtype)
