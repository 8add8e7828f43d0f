"""Cluster digits by an embedding learned from a tenth of the labels, one class of digits never labelled.

python docs/gallery/semi_supervised_clustering.py [--out DIR]     under a minute; writes semi_supervised_clustering.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

import perturbed as pt

POINTS, BATCH, STEPS = 60, 4, 400
HIDDEN, DEPTH, RATE, BLUR = 128, 16, 2e-3, 1.0
UNSEEN = 9  # no label of this class is ever told
rng = np.random.default_rng(0)

digits = load_digits()
order = rng.permutation(1797)
x, labels = digits.data[order] / 16.0, digits.target[order]
train, test = slice(0, 1200), slice(1200, 1797)
known = (rng.random(1200) < 0.1) & (labels[train] != UNSEEN)
told = np.where(known, labels[train], -1)  # -1: unknown

weights = [rng.normal(size=(65, HIDDEN)) * 2 / np.sqrt(65), rng.normal(size=(HIDDEN, DEPTH)) / np.sqrt(HIDDEN)]


def embed(x):
    """Images to unit vectors; what is needed for the way back, too."""
    x = np.hstack([x, np.ones((len(x), 1))])
    hidden = np.maximum(x @ weights[0], 0)
    out = hidden @ weights[1]
    size = np.linalg.norm(out, axis=1, keepdims=True)
    return x, hidden, out / size, size


def pull_back(kept, grad):
    """Gradients of both layers from that of the unit vectors."""
    x, hidden, unit, size = kept
    grad = (grad - unit * (grad * unit).sum(1, keepdims=True)) / size
    back = (grad @ weights[1].T) * (hidden > 0)
    return [x.T @ back, hidden.T @ grad]


layer = pt.Perturbed(pt.SpanningForest(10), epsilon=BLUR, samples=50, seed=0)
loss = pt.PartialFenchelYoungLoss(layer)
moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]


def adam(step, gradients):
    for w, (first, second), g in zip(weights, moments, gradients, strict=True):
        first += 0.1 * (g - first)
        second += 0.001 * (g * g - second)
        w -= RATE * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)


for step in range(1, STEPS + 1):
    kept, thetas, rows = [], [], []
    for _ in range(BATCH):  # half of a batch is labelled
        picked = np.concatenate([
            rng.choice(np.flatnonzero(known), POINTS // 2, replace=False),
            rng.choice(np.flatnonzero(~known), POINTS // 2, replace=False),
        ])  # fmt: skip
        kept.append(embed(x[train][picked]))
        thetas.append(kept[-1][2] @ kept[-1][2].T)
        rows.append(told[picked])
    value, grad = loss.value_and_grad(np.array(thetas), pt.constraints_from_labels(rows))
    gradients = [0.0, 0.0]
    for one, g in zip(kept, grad, strict=True):
        gradients = [a + b for a, b in zip(gradients, pull_back(one, (g + g.T) @ one[2]), strict=True)]
    adam(step, gradients)
    if step % 100 == 0:
        print(f"step {step}: loss {value:.2f}")

# ---- held-out digits ----


def discovered(found):
    """The best F1 of any cluster as a detector of the class that nobody labelled."""
    unseen = labels[test] == UNSEEN
    return max(2 * (unseen & (found == c)).sum() / (unseen.sum() + (found == c).sum()) for c in np.unique(found))


def clusterings(points):
    yield "k-means", KMeans(10, n_init=10, random_state=0).fit_predict(points)
    spectral = SpectralClustering(10, affinity="nearest_neighbors", n_neighbors=10, random_state=0)
    yield "spectral", spectral.fit_predict(points)


raw, learned = x[test], embed(x[test])[2]
print(f"{len(raw)} held-out digits, {known.sum()} labels told, none of class {UNSEEN}:")
print("                     ARI    F1 of the unseen class")
for name, points in (("raw pixels", raw), ("learned", learned)):
    for method, found in clusterings(points):
        print(f"  {name:10s} {method:8s} {adjusted_rand_score(labels[test], found):.3f}  {discovered(found):.3f}")

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
