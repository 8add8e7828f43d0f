"""Maps whose tiles are images of handwritten digits, their hidden costs and their cheapest paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import perturbed as pt

SIDE = 12  # tiles along a side of a map
TILE = 8  # pixels along a side of a tile
N_TEST_IMAGES = 300
N_VALIDATION_IMAGES = 100

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Maps:
    """Maps drawn from one set of images. A learner may look at `images`, `tiles` and `paths`; `costs` are hidden.

    Parameters
    ----------
    images : ndarray of float32, shape (n_images, 64)
        Pixels between 0 and 1.
    tiles : ndarray of int, shape (n_maps, 12, 12)
        The row of `images` that lies on each tile.
    costs : ndarray of float32, shape (n_maps, 12, 12)
        Hidden cost of each tile.
    paths : ndarray of float32, shape (n_maps, 12, 12)
        The cheapest path from corner to corner, 1 on its tiles.
    """

    images: Float32
    tiles: NDArray[np.intp]
    costs: Float32
    paths: Float32

    def __len__(self) -> int:
        return len(self.tiles)

    def pixels(self, i: int) -> Float32:
        """Map i as one picture, shape (96, 96)."""
        tiles = self.images[self.tiles[i]].reshape(SIDE, SIDE, TILE, TILE)
        picture: Float32 = tiles.transpose(0, 2, 1, 3).reshape(SIDE * TILE, SIDE * TILE)
        return picture


@dataclass(frozen=True)
class World:
    """Maps to learn from, to watch and to test on; no image lies on maps of two kinds.

    Parameters
    ----------
    train, validation, test : Maps
        All with the same hidden costs.
    digit_costs : ndarray of float32, shape (10,)
        Hidden cost of each digit.
    """

    train: Maps
    validation: Maps
    test: Maps
    digit_costs: Float32


def make_world(seed: int, n_train: int, n_validation: int, n_test: int) -> World:
    """Split the images, hide the costs, draw the maps and solve them.

    Parameters
    ----------
    seed : int
        Decides all three.
    n_train, n_validation, n_test : int
        Number of maps of each kind.

    Returns
    -------
    World
        The same for the same arguments.
    """
    rng = np.random.default_rng(seed)
    digit_costs = rng.permutation(np.linspace(0.8, 9.2, 10)).astype(np.float32)
    data = load_digits()
    pixels, image_costs = (data.data / 16).astype(np.float32), digit_costs[data.target]
    order = rng.permutation(len(pixels))
    test, validation, train = np.split(order, [N_TEST_IMAGES, N_TEST_IMAGES + N_VALIDATION_IMAGES])

    def draw(n_maps: int, chosen: NDArray[np.intp]) -> Maps:
        tiles = rng.integers(len(chosen), size=(n_maps, SIDE, SIDE))
        costs = image_costs[chosen][tiles]
        return Maps(pixels[chosen], tiles, costs, pt.GridPath()(-costs))

    return World(draw(n_train, train), draw(n_validation, validation), draw(n_test, test), digit_costs)
