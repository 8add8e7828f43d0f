"""A small network in plain NumPy: forward, backward, and Adam with averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.floating[Any]]
Weights = list[Array]  # a matrix and a bias for each layer

SIZES = (64, 128, 64, 1)  # pixels, two hidden layers of tanh, a cost


def initial_weights(
    rng: np.random.Generator, sizes: tuple[int, ...] = SIZES, cost: float = 5.0, dtype: DTypeLike = np.float32
) -> Weights:
    """Random weights of a network whose costs lie about `cost`.

    Parameters
    ----------
    rng : Generator
        Where they are drawn from.
    sizes : tuple of int
        Inputs, hidden units of each layer, 1.
    cost : float
        What the last bias starts from.
    dtype : dtype, default float32
        All arithmetic is done in it.
    """
    weights: Weights = []
    for n_in, n_out in pairwise(sizes):
        gain = 2.0 if not weights else 1.0  # pixels vary less than activations
        weights.append((rng.standard_normal((n_in, n_out)) * (gain / np.sqrt(n_in))).astype(dtype))
        weights.append(np.zeros(n_out, dtype))
    weights[-1] += weights[-1].dtype.type(cost)
    return weights


def forward(weights: Weights, images: Array) -> tuple[Array, Callable[[Array], Weights]]:
    """Cost of each image, and the pullback of the network.

    Parameters
    ----------
    weights : list of ndarray
        As `initial_weights` makes them.
    images : ndarray, shape (n, pixels)
        Centred pixels.

    Returns
    -------
    costs : ndarray, shape (n,)
        All positive: the last layer is a softplus.
    pullback : callable
        From the loss's gradient in the costs, shape (n,), to its gradient in the weights.
    """
    values = [images]
    for matrix, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        values.append(np.tanh(values[-1] @ matrix + bias))
    last = values[-1] @ weights[-2] + weights[-1]
    costs = np.logaddexp(last.dtype.type(0), last)[:, 0]

    def pullback(gradient: Array) -> Weights:
        g = gradient[:, None] * (0.5 + 0.5 * np.tanh(0.5 * last))  # softplus' = 1 / (1 + e^-x)
        result: Weights = []
        for layer in reversed(range(len(values))):
            result = [values[layer].T @ g, g.sum(0), *result]
            if layer:
                g = (g @ weights[2 * layer].T) * (1 - values[layer] ** 2)
        return result

    return costs, pullback


@dataclass
class Adam:
    """Adam; beside the weights it keeps their running average, which is what is used at last.

    Parameters
    ----------
    weights : list of ndarray
        Changed in place.
    memory : float
        Share of the average that a step keeps.
    """

    weights: Weights
    memory: float = 0.995

    def __post_init__(self) -> None:
        self.average = [w.copy() for w in self.weights]
        self._first = [np.zeros_like(w) for w in self.weights]
        self._second = [np.zeros_like(w) for w in self.weights]
        self._n_steps = 0

    def step(self, gradient: Weights, rate: float) -> None:
        """Move the weights against the gradient."""
        self._n_steps += 1
        n = self._n_steps
        keep = min(self.memory, n / (n + 9))
        scale = rate / (1 - 0.9**n)
        for i, g in enumerate(gradient):
            self._first[i] += 0.1 * (g - self._first[i])
            self._second[i] += 0.001 * (g * g - self._second[i])
            self.weights[i] -= scale * self._first[i] / (np.sqrt(self._second[i] / (1 - 0.999**n)) + 1e-8)
            self.average[i] += (1 - keep) * (self.weights[i] - self.average[i])
