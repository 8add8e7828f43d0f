"""Depth from two pictures, scan line by scan line: learn what a mismatch and a jump of disparity cost.

python docs/gallery/stereo_viterbi.py [--out DIR]     under a minute; writes stereo_viterbi.png into DIR
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import uniform_filter
from skimage.data import stereo_motorcycle
from skimage.transform import downscale_local_mean

import perturbed as pt

SHIFTS = np.arange(3, 31)  # disparities in pixels of the halved pictures: the states
STEPS, LINES, RATE = 240, 6, 0.2
rng = np.random.default_rng(0)

# ---- data: halved pictures, the true disparity of each left pixel ----

left, right, disparity = stereo_motorcycle()
left, right = (downscale_local_mean(x[:, :740] / 255.0, (2, 2, 1)).astype(np.float32) for x in (left, right))
disparity = disparity[::2, :740:2] / 2
height, width = disparity.shape
known = np.isfinite(disparity)
held_out = np.arange(height) // 25 % 2 == 1  # every second band of 25 lines


def filled(line, there):
    """Where the truth is unknown (mostly what the right camera does not see) the farther of two known neighbours."""
    at = np.arange(len(line))
    before = np.maximum.accumulate(np.where(there, at, -1))
    after = np.minimum.accumulate(np.where(there, at, len(line))[::-1])[::-1]
    near = [line[np.where((i >= 0) & (i < len(line)), i, j)] for i, j in ((before, after), (after, before))]
    return np.minimum(*near)


truth = np.stack([filled(line, there) for line, there in zip(disparity, known, strict=True)])
truth = np.clip(np.rint(truth).astype(int), SHIFTS[0], SHIFTS[-1]) - SHIFTS[0]

# ---- what a mismatch may be made of: (features, height, width, disparities), each about 0 to 1 ----


def compared(a, b, difference, limit):
    """Differences of each pixel of a from those of b that it may show, cut at a limit; the limit where b ends."""
    volume = np.full((height, width, len(SHIFTS)), limit, np.float32)
    for k, shift in enumerate(SHIFTS):
        volume[:, shift:, k] = np.minimum(difference(a[:, shift:], b[:, :-shift]), limit)
    return volume / limit


def slopes(x):
    return np.stack(np.gradient(x.mean(-1)), axis=-1)


def brighter(x):
    """Which of 24 neighbours are brighter than the pixel (census transform)."""
    grey = np.pad(x.mean(-1), 2, mode="edge")
    moved = [grey[i : i + height, j : j + width] for i in range(5) for j in range(5) if (i, j) != (2, 2)]
    return np.stack(moved, axis=-1) > x.mean(-1)[..., None]


def mean_gap(a, b):
    return np.abs(a - b).mean(-1)


def unlike(a, b):
    return (a != b).mean(-1)


colour = compared(left, right, mean_gap, 0.15)
slope = compared(slopes(left), slopes(right), mean_gap, 0.05)
census = compared(brighter(left), brighter(right), unlike, 0.5)
mismatch = np.stack([uniform_filter(v, (size, size, 1)) for v in (colour, slope, census) for size in (1, 3, 7)])

# ---- what a jump from one pixel to the next may be made of; dearer or cheaper where the picture has an edge ----

change = SHIFTS - SHIFTS[:, None]
jumps = np.stack([change == 0, abs(change) == 1, change > 1, change < -1, np.minimum(abs(change), 8) / 8.0])
jumps = jumps.astype(np.float32)
edge = np.minimum(np.abs(np.diff(left.mean(-1), axis=1)) / 0.1, 1).astype(np.float32)  # between neighbours


def scores(lines, weights):
    """theta (lines, T - 1, S, S): a linear function of the weights, of mismatches and then of jumps."""
    nodes = -np.tensordot(weights[: len(mismatch)], mismatch[:, lines], 1)
    plain, at_edges = np.tensordot(weights[len(mismatch) :].reshape(2, -1), jumps, 1)
    theta = nodes[:, 1:, None, :] - plain - edge[lines][:, :, None, None] * at_edges
    theta[:, 0] += nodes[:, 0, :, None]
    return theta.astype(np.float32)


def weights_grad(lines, theta_grad):
    """Of the weights, from that of theta."""
    nodes = np.concatenate([theta_grad[:, :1].sum(3), theta_grad.sum(2)], axis=1)
    of_mismatch = -np.tensordot(mismatch[:, lines], nodes, 3)
    plain = theta_grad.sum((0, 1))
    at_edges = np.tensordot(edge[lines], theta_grad, 2)
    return np.concatenate([of_mismatch, *(-np.tensordot(jumps, g, 2) for g in (plain, at_edges))])


solver = pt.Viterbi()
layer = pt.Perturbed(solver, epsilon=1.0, samples=2, estimator="score", seed=0)
loss = pt.FenchelYoungLoss(layer)


def learn(weights):
    """Adam on the Fenchel-Young loss of lines whose disparities are known."""
    lines_known, mean, square = np.flatnonzero(~held_out), np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, STEPS + 1):
        lines = rng.choice(lines_known, LINES, replace=False)
        y = np.zeros((LINES, width - 1, len(SHIFTS), len(SHIFTS)), np.float32)
        states = truth[lines]
        y[np.arange(LINES)[:, None], np.arange(width - 1), states[:, :-1], states[:, 1:]] = 1
        value, theta_grad = loss.value_and_grad(scores(lines, weights), y)
        grad = weights_grad(lines, theta_grad)
        mean += 0.1 * (grad - mean)
        square += 0.01 * (grad * grad - square)
        rate = RATE * (1 - step / STEPS) / (1 - 0.9**step)
        weights = weights - rate * mean / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        if step % 60 == 0:
            print(f"step {step}: loss {value / width:.3f} a pixel")
    return weights


# ---- held-out lines ----


def by_hand():
    """Windows of 7 x 7 colours and slopes; small jumps cost 1, others 3, and half of that at edges of the picture."""
    weights = np.zeros(len(mismatch) + 2 * len(jumps))
    weights[[2, 5]] = 3.0  # of 1.5, 3, 5, 7 and 10 the best on the other lines
    weights[len(mismatch) :] = [0, 1, 3, 3, 0, 0, -0.5, -1.5, -1.5, 0]
    return weights


def decoded(weights):
    """Disparities of all lines, by the exact solver."""
    parts = np.array_split(np.arange(height), 10)
    states = [s for lines in parts for s in solver.states(solver(scores(lines, weights)))]
    return SHIFTS[0] + np.array(states)


def wrong(found):
    """Share of held-out pixels of known disparity that are off by more than one pixel."""
    return (np.abs(found - disparity) > 1)[held_out[:, None] & known].mean()


def picture(folder, panels):
    """Whole pictures; the bands that costs were learned from are pale."""
    figure, axes = plt.subplots(1, len(panels) + 1, figsize=(11, 1.75))
    axes[0].imshow(left)
    axes[0].set_title("left picture", fontsize=9)
    for axis, (name, shown) in zip(axes[1:], panels.items(), strict=True):
        axis.imshow(shown, vmin=SHIFTS[0], vmax=SHIFTS[-1], cmap="viridis", interpolation="none")
        axis.set_title(name, fontsize=9)
    for axis in axes:
        for band in range(0, height, 50):
            axis.axhspan(band - 0.5, min(band + 25, height) - 0.5, color="white", alpha=0.45, lw=0)
        axis.set_axis_off()
    figure.subplots_adjust(left=0.003, right=0.997, top=0.87, bottom=0.01, wspace=0.03)
    figure.savefig(Path(folder) / "stereo_viterbi.png", dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=".", help="folder of the picture")
    folder = parser.parse_args().out
    hand = by_hand()
    learned = learn(hand)
    best = SHIFTS[0] + np.argmin(mismatch[2] + mismatch[5], axis=-1)
    found = {"each pixel alone": best, "costs set by hand": decoded(hand), "learned costs": decoded(learned)}
    print(f"held-out pixels off by more than one ({held_out.sum()} lines):")
    for name, disparities in found.items():
        print(f"  {name:18s}  {wrong(disparities):.1%}")
    picture(folder, {"true disparity": disparity, **found})
