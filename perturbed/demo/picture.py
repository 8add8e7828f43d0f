"""One picture of the job: a map, its hidden and learned costs, both paths, and how learning went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # a file is all that is wanted, also without a screen

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize

from .maps import SIDE, TILE, Float32, World
from .training import CostModel, Epoch, Scores

TRUE, LEARNED, INK = "#0f9d76", "#d1495b", "#333333"


def _route(path: Float32) -> tuple[Any, Any]:
    """Columns and rows of a path's cells, in order."""
    import perturbed as pt

    cells = pt.GridPath().path(path)
    return cells[:, 1], cells[:, 0]


def _show_map(ax: Any, world: World, i: int, learned: Float32) -> None:
    ax.imshow(world.test.pixels(i), cmap="gray_r", alpha=0.8)
    for k in range(1, SIDE):  # between tiles
        ax.axhline(k * TILE - 0.5, color="#b8c4ce", lw=0.8)
        ax.axvline(k * TILE - 0.5, color="#b8c4ce", lw=0.8)
    for path, colour, width, label in (
        (world.test.paths[i], TRUE, 6.5, "cheapest by hidden costs"),
        (learned, LEARNED, 2.2, "by learned costs"),
    ):
        x, y = _route(path)
        ax.plot(x * TILE + 3.5, y * TILE + 3.5, color=colour, lw=width, alpha=0.9, solid_capstyle="round", label=label)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncol=2, frameon=False, fontsize=8.5, handlelength=1.4)
    ax.set_title("a map of unseen images", fontsize=10.5)


def _show_costs(ax: Any, costs: Float32, path: Float32, colour: str, title: str, scale: Normalize) -> Any:
    image = ax.imshow(costs, cmap="cividis", norm=scale)
    x, y = _route(path)
    ax.plot(x, y, color="white", lw=3.4, solid_capstyle="round")
    ax.plot(x, y, color=colour, lw=1.8, solid_capstyle="round")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title, fontsize=10.5)
    return image


def _show_digits(ax: Any, world: World, costs: Float32) -> None:
    """Learned against hidden cost of every test image."""
    hidden = np.zeros(len(world.test.images), np.float32)
    hidden[world.test.tiles.ravel()] = world.test.costs.ravel()
    seen = np.zeros(len(hidden), bool)
    seen[world.test.tiles.ravel()] = True
    jitter = np.random.default_rng(0).uniform(-0.18, 0.18, len(hidden))
    ax.plot([0, 10], [0, 10], color="#bbbbbb", lw=1, zorder=0)
    ax.scatter((hidden + jitter)[seen], costs[seen], s=7, color=LEARNED, alpha=0.45, lw=0)
    for digit, cost in enumerate(world.digit_costs):
        ax.text(cost, 11.2, str(digit), ha="center", va="center", fontsize=8.5, color=INK)
    ax.set(xlim=(0.2, 9.8), ylim=(0, 12), xlabel="hidden cost (top: its digit)", ylabel="learned cost")
    ax.set_title("never shown, yet learned", fontsize=10.5)


def _show_curve(ax: Any, history: list[Epoch], test: Scores, by_costs: Scores) -> None:
    epochs = [e.number for e in history]
    ax.plot(epochs, [100 * e.scores.optimal for e in history], color=LEARNED, lw=2, marker="o", ms=3)
    ax.set(ylim=(0, 100), xlabel="epoch", ylabel="exactly optimal paths, %")
    ax.yaxis.label.set_color(LEARNED)
    right = ax.twinx()
    right.plot(epochs, [e.loss for e in history], color="#4a6fa5", lw=1.6, ls="--")
    right.set_ylabel("Fenchel-Young loss", color="#4a6fa5")
    right.set_ylim(bottom=0)
    right.spines["top"].set_visible(False)
    ax.spines["top"].set_visible(False)
    ax.set_title(f"test: {100 * test.optimal:.0f} % optimal from paths, {100 * by_costs.optimal:.0f} % from costs",
                 fontsize=10.5)  # fmt: skip


def save_picture(
    out: Path, world: World, model: CostModel, history: list[Epoch], test: Scores, by_costs: Scores
) -> None:
    """Draw and save the picture.

    Parameters
    ----------
    out : Path
        A PNG file, written at once when it is complete.
    world : World
        Maps and hidden costs.
    model : CostModel
        What was learned.
    history : list of Epoch
        How.
    test, by_costs : Scores
        On the test maps, learned from paths and from costs.
    """
    costs = model.costs(world.test.images)
    hidden = world.test.costs
    scale = float((costs[world.test.tiles] * hidden).mean() / (costs[world.test.tiles] ** 2).mean())
    scaled = costs * np.float32(scale)
    paths = model.paths(world.test)
    lengths = world.test.paths.sum((1, 2)) + 3 * (world.test.paths * (paths == 0)).sum((1, 2)).clip(0, 3)
    i = int(np.argmax(lengths))  # a long way, not quite the same for both
    plt.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": "#888888"})
    figure = plt.figure(figsize=(12, 6.6), layout="constrained")
    figure.suptitle("Costs of digits learned from shortest paths alone", fontsize=14, fontweight="bold")
    grid = figure.add_gridspec(2, 3, width_ratios=(1.62, 1, 1))
    _show_map(figure.add_subplot(grid[:, 0]), world, i, paths[i])
    norm = Normalize(0, 10)
    axes = [figure.add_subplot(grid[0, k]) for k in (1, 2)]
    _show_costs(axes[0], hidden[i], world.test.paths[i], TRUE, "hidden costs", norm)
    image = _show_costs(axes[1], scaled[world.test.tiles[i]], paths[i], LEARNED, "learned costs (scaled)", norm)
    figure.colorbar(image, ax=axes, shrink=0.85, label="cost of a tile")
    _show_digits(figure.add_subplot(grid[1, 1]), world, scaled)
    _show_curve(figure.add_subplot(grid[1, 2]), history, test, by_costs)
    part = out.with_name(out.name + ".part")
    figure.savefig(part, dpi=150, format="png")
    plt.close(figure)
    part.replace(out)
