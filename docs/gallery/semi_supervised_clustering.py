"""Cluster digits by an embedding learned from a tenth of the labels, one class of digits never labelled.

python docs/gallery/semi_supervised_clustering.py [--out DIR]     under a minute; writes semi_supervised_clustering.png
"""

import argparse
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

import perturbed as pt

POINTS, BATCH = 60, 4
HIDDEN, DEPTH, RATE = 128, 16, 2e-3
WIDTHS, HELD = (0.1, 0.3, 1.0, 3.0), (7, 8)  # of the noise, tried on classes that are told but held back
UNSEEN = 9  # no label of this class is ever told
rng = np.random.default_rng(0)

digits = load_digits()
order = rng.permutation(1797)
x, labels = digits.data[order] / 16.0, digits.target[order]
train, test = slice(0, 1200), slice(1200, 1797)
known = (rng.random(1200) < 0.1) & (labels[train] != UNSEEN)
told = np.where(known, labels[train], -1)  # -1: unknown


def embed(weights, x):
    """Images to unit vectors; what is needed for the way back, too."""
    x = np.hstack([x, np.ones((len(x), 1))])
    hidden = np.maximum(x @ weights[0], 0)
    out = hidden @ weights[1]
    size = np.linalg.norm(out, axis=1, keepdims=True)
    return x, hidden, out / size, size


def pull_back(weights, kept, grad):
    """Gradients of both layers from that of the unit vectors."""
    x, hidden, unit, size = kept
    grad = (grad - unit * (grad * unit).sum(1, keepdims=True)) / size
    back = (grad @ weights[1].T) * (hidden > 0)
    return [x.T @ back, hidden.T @ grad]


def adam(step, weights, moments, gradients):
    for w, (first, second), g in zip(weights, moments, gradients, strict=True):
        first += 0.1 * (g - first)
        second += 0.001 * (g * g - second)
        w -= RATE * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)


def trained(told, width, steps, tell=False):
    """Weights after some steps of the partial loss; told: a label a point, or -1."""
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(65, HIDDEN)) * 2 / np.sqrt(65), rng.normal(size=(HIDDEN, DEPTH)) / np.sqrt(HIDDEN)]
    moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
    loss = pt.PartialFenchelYoungLoss(pt.Perturbed(pt.SpanningForest(10), epsilon=width, samples=50, seed=0))
    for step in range(1, steps + 1):
        kept, thetas, rows = [], [], []
        for _ in range(BATCH):  # half of a batch is labelled
            picked = np.concatenate([
                rng.choice(np.flatnonzero(told >= 0), POINTS // 2, replace=False),
                rng.choice(np.flatnonzero(told < 0), POINTS // 2, replace=False),
            ])  # fmt: skip
            kept.append(embed(weights, x[train][picked]))
            thetas.append(kept[-1][2] @ kept[-1][2].T)
            rows.append(told[picked])
        value, grad = loss.value_and_grad(np.array(thetas), pt.constraints_from_labels(rows))
        gradients = [0.0, 0.0]
        for one, g in zip(kept, grad, strict=True):
            back = pull_back(weights, one, (g + g.T) @ one[2])
            gradients = [a + b for a, b in zip(gradients, back, strict=True)]
        adam(step, weights, moments, gradients)
        if tell and step % 100 == 0:
            print(f"step {step}: loss {value:.2f}")
    return weights


def discovered(found, unseen):
    """The best F1 of any cluster as a detector of a class that training did not see."""
    return max(2 * (unseen & (found == c)).sum() / (unseen.sum() + (found == c).sum()) for c in np.unique(found))


# ---- the width of the noise, by labels that are told but held back ----


def score(width):
    """Mean of ARI and F1 on labels held back: all of one class and half of the others."""
    scores = []
    for held in HELD:
        back = known & ((told == held) | (np.arange(1200) % 2 == 0))
        weights = trained(np.where(back, -1, told), width, 200)
        found = KMeans(10, n_init=5, random_state=0).fit_predict(embed(weights, x[train])[2])[back]
        scores += [adjusted_rand_score(told[back], found), discovered(found, told[back] == held)]
    return np.mean(scores)


scores = {width: score(width) for width in WIDTHS}
width = max(scores, key=scores.get)
print("on labels held back:", ", ".join(f"{x:.3f} at width {width:g}" for width, x in scores.items()))
weights = trained(told, width, 400, tell=True)

# ---- held-out digits ----


def clusterings(points):
    yield "k-means", KMeans(10, n_init=10, random_state=0).fit_predict(points)
    spectral = SpectralClustering(10, affinity="nearest_neighbors", n_neighbors=10, random_state=0)
    yield "spectral", spectral.fit_predict(points)


warnings.filterwarnings("ignore", "Graph is not fully connected")  # learned classes lie apart
raw, learned = x[test], embed(weights, x[test])[2]
print(f"{len(raw)} held-out digits, {known.sum()} labels told, none of class {UNSEEN}:")
print("                     ARI    F1 of the unseen class")
for name, points in (("raw pixels", raw), ("learned", learned)):
    for method, found in clusterings(points):
        ari, f1 = adjusted_rand_score(labels[test], found), discovered(found, labels[test] == UNSEEN)
        print(f"  {name:10s} {method:8s} {ari:.3f}  {f1:.3f}")

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, default=Path())
figure, axes = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
for axis, points, name in zip(axes, (raw, learned), ("raw pixels", "learned from a tenth of the labels"), strict=True):
    centred = points - points.mean(0)
    flat = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    for c in range(10):
        here = labels[test] == c
        shown = {"color": "black", "marker": "x"} if c == UNSEEN else {"color": plt.cm.tab10(c), "marker": "o"}
        axis.scatter(*flat[here].T, s=9, label=f"{c}{' (never told)' * (c == UNSEEN)}", **shown)
    axis.set(title=name, xticks=[], yticks=[])
axes[1].legend(fontsize=7, ncols=2)
figure.savefig(parser.parse_args().out / "semi_supervised_clustering.png", dpi=90)
