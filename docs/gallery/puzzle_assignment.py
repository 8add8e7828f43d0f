"""Put torn digits together: learn which left half belongs to which right half, by a perturbed assignment.

python docs/gallery/puzzle_assignment.py [--out DIR]     under a minute; writes puzzle_assignment.png into DIR
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import perturbed as pt

PIECES, PUZZLES, STEPS, TESTS = 30, 4, 500, 20
HIDDEN, DEPTH, RATE, BLUR = 256, 32, 2e-3, 0.2
rng = np.random.default_rng(0)

digits = load_digits().images[rng.permutation(1797)] / 16.0
train, test = digits[:1200], digits[1200:]


def tear(images):
    """Left and right halves, each with a 1 at its end for the network's bias."""
    ones = np.ones((len(images), 1))
    return [np.hstack([half.reshape(len(images), -1), ones]) for half in (images[:, :, :4], images[:, :, 4:])]


# ---- scores made by hand ----


def by_borders(left, right):
    """Minus the squared differences of the pixels along the tear."""
    a, b = left[:, :-1].reshape(-1, 8, 4)[:, :, 3], right[:, :-1].reshape(-1, 8, 4)[:, :, 0]
    return -((a[:, None] - b) ** 2).sum(-1)


known_left, known_right = tear(train)


def by_neighbours(left, right):
    """The right half that the ten most similar left halves known have on average, against each right half."""
    far = ((left[:, None] - known_left) ** 2).sum(-1)
    guess = known_right[np.argpartition(far, 10, axis=1)[:, :10]].mean(1)
    return -((guess[:, None] - right) ** 2).sum(-1)


# ---- scores that are learned: <f(left), h(right)>, f and h with one hidden layer each ----

sizes = [(33, HIDDEN), (HIDDEN, DEPTH)] * 2
weights = [rng.normal(size=size) * (2 - i % 2) / np.sqrt(size[0]) for i, size in enumerate(sizes)]


def embed(half, first, second):
    hidden = np.maximum(half @ first, 0)
    return hidden, hidden @ second


def learned(left, right):
    return embed(left, *weights[:2])[1] @ embed(right, *weights[2:])[1].T


def gradients(theta_grad, left, right):
    """Of the weights, from that of the scores: theta = e f^T puzzle by puzzle."""
    (h, e), (k, f) = embed(left, *weights[:2]), embed(right, *weights[2:])
    e_grad = (theta_grad @ f.reshape(PUZZLES, PIECES, DEPTH)).reshape(-1, DEPTH)
    f_grad = (theta_grad.swapaxes(1, 2) @ e.reshape(PUZZLES, PIECES, DEPTH)).reshape(-1, DEPTH)
    h_grad, k_grad = (e_grad @ weights[1].T) * (h > 0), (f_grad @ weights[3].T) * (k > 0)
    return left.T @ h_grad, h.T @ e_grad, right.T @ k_grad, k.T @ f_grad


layer = pt.Perturbed(pt.Assignment(), epsilon=1.0, samples=10, estimator="score", seed=0)
loss = pt.FenchelYoungLoss(layer)
truth = np.broadcast_to(np.eye(PIECES), (PUZZLES, PIECES, PIECES))


def learn():
    """Adam on the Fenchel-Young loss of puzzles whose solution is known."""
    mean, square = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step in range(1, STEPS + 1):
        images = train[rng.choice(len(train), PUZZLES * PIECES, replace=False)]
        left, right = tear(np.clip(images + rng.normal(size=images.shape) * BLUR, 0, 1))
        e, f = embed(left, *weights[:2])[1], embed(right, *weights[2:])[1]
        theta = e.reshape(PUZZLES, PIECES, DEPTH) @ f.reshape(PUZZLES, PIECES, DEPTH).swapaxes(1, 2)
        value, theta_grad = loss.value_and_grad(theta, truth)
        for w, g, m, s in zip(weights, gradients(theta_grad, left, right), mean, square, strict=True):
            m += 0.1 * (g - m)
            s += 0.01 * (g * g - s)
            rate = RATE * (1 - step / STEPS) / (1 - 0.9**step)
            w -= rate * m / (np.sqrt(s / (1 - 0.99**step)) + 1e-8)
        if step % 100 == 0:
            print(f"step {step}: loss {value:.1f}")


# ---- held-out puzzles ----


def solve(score, images):
    """Right half of each left half."""
    return pt.Assignment()(score(*tear(images))).argmax(1)


def accuracy(score):
    """Share of halves that find the other one, over puzzles of digits that nothing was learned from."""
    draw = np.random.default_rng(1)
    puzzles = [test[draw.choice(len(test), PIECES, replace=False)] for _ in range(TESTS)]
    return np.mean([solve(score, images) == np.arange(PIECES) for images in puzzles])


def picture(folder, scores):
    images = test[np.random.default_rng(2).choice(len(test), PIECES, replace=False)]
    shuffled = np.random.default_rng(3).permutation(PIECES)
    rows = {"torn": shuffled, **{name: solve(score, images) for name, score in scores.items()}}
    figure, axes = plt.subplots(len(rows), 1, figsize=(10, 2.1))
    for axis, (name, order) in zip(axes, rows.items(), strict=True):
        strip = np.concatenate([images[:, :, :4], images[order][:, :, 4:], np.zeros((PIECES, 8, 2))], axis=2)
        axis.imshow(np.hstack(list(strip)), cmap="gray_r", vmin=0, vmax=1.3)
        for i in np.flatnonzero(order != np.arange(PIECES)) if name != "torn" else ():
            axis.plot([10 * i, 10 * i + 7], [8.2, 8.2], color="tab:red", lw=2, clip_on=False)
        axis.set_axis_off()
        axis.text(-4, 3.5, name, ha="right", va="center", fontsize=9)
    figure.subplots_adjust(left=0.11, right=0.995, top=1, bottom=0.02, hspace=0.1)
    figure.savefig(Path(folder) / "puzzle_assignment.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=".", help="folder of the picture")
    folder = parser.parse_args().out
    untrained = accuracy(learned)
    learn()
    scores = {"borders": by_borders, "neighbours": by_neighbours, "learned": learned}
    print(f"pairs found in {TESTS} held-out puzzles of {PIECES} digits:")
    print(f"  untrained scores  {untrained:.1%}")
    for name, score in scores.items():
        print(f"  {name:16s}  {accuracy(score):.1%}")
    picture(folder, scores)
