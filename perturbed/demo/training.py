"""Learn the cost of a tile: from shortest paths alone, or, to compare, from the costs themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

import perturbed as pt

from .maps import TILE, Float32, Maps
from .model import Adam, Array, Weights, forward, initial_weights

BATCH = 100  # maps a step
RATE = 2e-2  # falls to 0 along a cosine
SHIFT = 0.4  # pixels that a training image is moved by, at most
NOISE = 0.15  # and the width of the noise on its pixels
EPSILON = 0.5  # width of the perturbation, in the unit of the costs
SAMPLES = 4
MEAN_COST = 5.0  # paths tell costs up to their scale: the mean is held here
ANCHOR = 10.0


class Scores(NamedTuple):
    """How good predicted paths are, by the hidden costs."""

    ratio: float  # mean of cost over least cost
    optimal: float  # share of paths that cost no more than the cheapest


class Epoch(NamedTuple):
    """Where training stands."""

    number: int
    loss: float
    scores: Scores  # on maps of images that are not trained on


@dataclass
class CostModel:
    """Weights, and the mean image that inputs are centred by."""

    weights: Weights
    mean: Float32

    def costs(self, images: Float32) -> Float32:
        """Cost of each image, shape (n,)."""
        return forward(self.weights, images - self.mean)[0]

    def paths(self, maps: Maps) -> Float32:
        """Cheapest paths by the model's costs, like ``maps.paths``."""
        return pt.GridPath()(-self.costs(maps.images)[maps.tiles])

    def scores(self, maps: Maps) -> Scores:
        """Judge the model's paths by the hidden costs."""
        least = (maps.costs * maps.paths).sum((1, 2))
        cost = (maps.costs * self.paths(maps)).sum((1, 2))
        return Scores(float((cost / least).mean()), float((cost <= least * (1 + 1e-5)).mean()))


def untrained(maps: Maps, seed: int) -> CostModel:
    """The model that training starts from."""
    return CostModel(initial_weights(np.random.default_rng([seed, 1])), maps.images.mean(0))


def moved(images: Float32, rng: np.random.Generator) -> Float32:
    """Shift each image by a part of a pixel (bilinear) and add a little noise.

    This keeps a small model from learning the images by heart.
    """
    padded = np.pad(images.reshape(-1, TILE, TILE), ((0, 0), (1, 1), (1, 1)))
    down, right = rng.uniform(-SHIFT, SHIFT, (2, len(images), 1, 1)).astype(np.float32)
    rows = (1 - abs(down)) * padded[:, 1:-1] + abs(down) * np.where(down > 0, padded[:, 2:], padded[:, :-2])
    both = (1 - abs(right)) * rows[:, :, 1:-1] + abs(right) * np.where(right > 0, rows[:, :, 2:], rows[:, :, :-2])
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    result: Float32 = both.reshape(images.shape) + np.float32(NOISE) * noise
    return result


LossAndGradient = Callable[[Array, "np.ndarray[tuple[int, ...], np.dtype[np.intp]]"], tuple[float, Array]]


def path_loss(maps: Maps, seed: int) -> LossAndGradient:
    """Fenchel-Young loss of the maps' paths, and its gradient in the cost of each image.

    theta = -cost: a tile's gradient enters with a minus, and an image gathers those of all tiles that show it.
    """
    layer = pt.Perturbed(pt.GridPath(), epsilon=EPSILON, samples=SAMPLES, seed=seed)
    loss = pt.FenchelYoungLoss(layer)
    n = len(maps.images)

    def evaluate(costs: Array, batch: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> tuple[float, Array]:
        tiles = maps.tiles[batch]
        value, grad = loss.value_and_grad(-costs[tiles], maps.paths[batch])
        by_image = -np.bincount(tiles.ravel(), grad.ravel(), n).astype(np.float32)
        return float(value), by_image + np.float32(ANCHOR * (costs.mean() - MEAN_COST) / n)

    return evaluate


def cost_loss(maps: Maps) -> LossAndGradient:
    """Mean squared error of the cost of every tile, and its gradient in the cost of each image."""
    n = len(maps.images)

    def evaluate(costs: Array, batch: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> tuple[float, Array]:
        tiles = maps.tiles[batch]
        error = costs[tiles] - maps.costs[batch]
        by_image = np.bincount(tiles.ravel(), (2 / error.size * error).ravel(), n).astype(np.float32)
        return float((error**2).mean()), by_image

    return evaluate


def train(
    model: CostModel, maps: Maps, watch: Maps, epochs: int, seed: int, learn_from: Literal["paths", "costs"]
) -> Iterator[Epoch]:
    """Train `model` in place; yields after each epoch, and leaves the averaged weights in the model.

    Parameters
    ----------
    model : CostModel
        What is trained.
    maps, watch : Maps
        To learn from, and to judge progress on.
    epochs : int
        Passes over `maps`.
    seed : int
        Of the order of maps, the moved images and the perturbation.
    learn_from : {"paths", "costs"}
        What of `maps` is shown.
    """
    rng = np.random.default_rng([seed, 2])
    evaluate = path_loss(maps, seed) if learn_from == "paths" else cost_loss(maps)
    adam = Adam([w.copy() for w in model.weights])
    starts = range(0, len(maps), BATCH)
    step, n_steps = 0, epochs * len(starts)
    for number in range(1, epochs + 1):
        order = rng.permutation(len(maps))
        losses = []
        for start in starts:
            step += 1
            costs, pullback = forward(adam.weights, moved(maps.images, rng) - model.mean)
            loss, gradient = evaluate(costs, order[start : start + BATCH])
            adam.step(pullback(gradient), RATE * 0.5 * (1 + np.cos(np.pi * step / n_steps)))
            losses.append(loss)
        model.weights = [w.copy() for w in adam.average]
        yield Epoch(number, float(np.mean(losses)), model.scores(watch))
