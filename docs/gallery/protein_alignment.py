"""Learn to align proteins: substitution scores and gap costs from reference alignments, by a perturbed alignment.

python docs/gallery/protein_alignment.py [--out DIR]     under a minute; writes protein_alignment.png into DIR
"""

import argparse
from itertools import product
from pathlib import Path

import logomaker
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from biotite.sequence.align import SubstitutionMatrix

import perturbed as pt

arguments = argparse.ArgumentParser()
arguments.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
out = arguments.parse_args().out

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
TRAIN, TEST, STEPS, BATCH, RATE, SAMPLES = 600, 400, 200, 64, 0.05, 8
rng = np.random.default_rng(0)

# ---- pairs of WW domains and how the family's alignment pairs their residues ----

path = Path(logomaker.__file__).parent / "examples" / "datafiles" / "ww_sequences.fa"
lines = [line.strip().upper().replace(".", "-") for line in path.read_text().splitlines()]
rows = {line for line in lines if len(line) == 44 and set(line) <= set(LETTERS + "-")}
family = np.array([list(row) for row in sorted(rows)])
family = family[rng.permutation(len(family))]
halves = np.array_split(family, 2)  # the proteins of training and test are others


def far_pairs(proteins, count):
    """Pairs with less than 40 % identity and at least two gaps between them."""
    pairs = []
    while len(pairs) < count:
        a, b = proteins[rng.choice(len(proteins), 2, replace=False)]
        both, either = (a != "-") & (b != "-"), (a != "-") | (b != "-")
        if (a == b)[both].mean() < 0.4 and both.sum() >= 20 and (either & ~both).sum() >= 2:
            pairs.append((a, b))
    return pairs


def read(pair):
    """Residues of both as numbers, and the matched ones as an array (K, 2)."""
    a, b = pair
    both = (a != "-") & (b != "-")
    matched = np.stack([np.cumsum(a != "-")[both] - 1, np.cumsum(b != "-")[both] - 1], 1)
    return *(np.array([LETTERS.index(c) for c in x[x != "-"]]) for x in pair), matched


train, test = ([read(pair) for pair in far_pairs(half, n)] for half, n in zip(halves, (TRAIN, TEST), strict=True))


def batch_of(items):
    """Residues padded with 0, lengths."""
    lengths = np.array([(len(a), len(b)) for a, b, _ in items])
    a, b = (np.zeros((len(items), n), int) for n in lengths.max(0))
    for k, item in enumerate(items):
        a[k, : len(item[0])], b[k, : len(item[1])] = item[0], item[1]
    return a, b, lengths


def reference(items, shape):
    """The counts y of the reference alignments: gaps between matches, in the target first."""
    y = np.zeros((len(items), *shape, 3))
    for k, (a, b, matched) in enumerate(items):
        i = j = 0
        for row, column in [*matched.tolist(), (len(a), len(b))]:
            for step, count in ((0, column - j), (1, row - i)):
                for number in range(count):
                    i, j = i + step, j + 1 - step
                    y[k, max(i - 1, 0), max(j - 1, 0), 1 + (number > 0)] += 1
            if row < len(a):
                y[k, row, column, 0] = 1
                i, j = row + 1, column + 1
    return y


def f1(solver, y, items):
    """Of the aligned pairs, over all items."""
    hits = found = true = 0
    for pairs, (_, _, matched) in zip(solver.pairs(y), items, strict=True):
        hits += len(set(map(tuple, pairs.tolist())) & set(map(tuple, matched.tolist())))
        found, true = found + len(pairs), true + len(matched)
    return 2 * hits / (found + true)


# ---- BLOSUM62 with the fixed gaps that are best on the training pairs ----

matrix = SubstitutionMatrix.std_protein_matrix()
blosum = np.array([[matrix.get_score(x, y) for y in LETTERS] for x in LETTERS], float)


def by_blosum(items, gap_open, gap_extend):
    a, b, lengths = batch_of(items)
    solver = pt.Alignment("global", gap_open=gap_open, gap_extend=gap_extend)
    return f1(solver, solver(blosum[a[:, :, None], b[:, None]], lengths=lengths), items)


grid = list(product((4, 6, 8, 10, 12, 14), (0.25, 0.5, 1, 2)))
best = max(grid, key=lambda gaps: by_blosum(train, *gaps))
print(
    f"BLOSUM62, gaps {best[0]} and {best[1]}: F1 {by_blosum(train, *best):.3f} train, {by_blosum(test, *best):.3f} test"
)

# ---- learned: a score for each pair of letters here, before and after, and two gap scores ----

solver = pt.Alignment("global")
loss = pt.FenchelYoungLoss(pt.Perturbed(solver, epsilon=1.0, samples=SAMPLES, estimator="score", seed=0))
OFFSETS = (-1, 0, 1)
weights = {"match": np.zeros((3, 20, 20)), "gaps": np.array([-6.0, -1.0])}
weights["match"][1] = blosum / 2


def scores(a, b):
    theta = np.zeros((*a.shape, b.shape[1], 3))
    for w, offset in zip(weights["match"], OFFSETS, strict=True):
        x, y = (np.roll(s, -offset, axis=1) for s in (a, b))
        theta[..., 0] += w[x[:, :, None], y[:, None]]
    theta[..., 1:] = weights["gaps"]
    return theta


def pull_back(a, b, slope):
    match = np.zeros((3, 20, 20))
    for g, offset in zip(match, OFFSETS, strict=True):
        x, y = (np.roll(s, -offset, axis=1) for s in (a, b))
        np.add.at(g, (x[:, :, None], y[:, None]), slope[..., 0])
    return {"match": (match + match.transpose(0, 2, 1)) / 2, "gaps": slope[..., 1:].sum((0, 1, 2))}


def by_learned(items):
    a, b, lengths = batch_of(items)
    return f1(solver, solver(scores(a, b), lengths=lengths), items)


first, second, curve = {k: 0 * w for k, w in weights.items()}, {k: 0 * w for k, w in weights.items()}, []
for step in range(1, STEPS + 1):
    items = [train[k] for k in rng.integers(TRAIN, size=BATCH)]
    a, b, lengths = batch_of(items)
    value, slope = loss.value_and_grad(scores(a, b), reference(items, (a.shape[1], b.shape[1])), lengths=lengths)
    for name, g in pull_back(a, b, slope).items():  # Adam
        first[name] = 0.9 * first[name] + 0.1 * g
        second[name] = 0.99 * second[name] + 0.01 * g * g
        moved = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.99**step)) + 1e-8)
        weights[name] = weights[name] - RATE * (1 - step / STEPS) * (moved + 0.002 * weights[name])
    if step % 20 == 0:
        curve.append((step, float(value), by_learned(test)))
print(f"learned, gaps {-weights['gaps'][0]:.1f} and {-weights['gaps'][1]:.1f}: ", end="")
print(f"F1 {by_learned(train):.3f} train, {by_learned(test):.3f} test")

# ---- a picture ----

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
steps, _, score = zip(*curve, strict=True)
left.plot(steps, score, label="learned")
left.axhline(by_blosum(test, *best), color="gray", ls="--", label="BLOSUM62, best fixed gaps")
left.set(xlabel="step", ylabel="F1 of aligned pairs, held out", title="Learning")
left.legend()
change = weights["match"][1]
middle.imshow(change, cmap="RdBu", vmin=-abs(change).max(), vmax=abs(change).max())
middle.set(xticks=range(20), yticks=range(20), title="Learned substitution scores")
middle.set_xticklabels(LETTERS, fontsize=7)
middle.set_yticklabels(LETTERS, fontsize=7)
a, b, lengths = batch_of(test[:100])
posterior = pt.Perturbed(solver, epsilon=1.0, samples=200, estimator="score", seed=1)(scores(a, b), lengths=lengths)
k = int((posterior * (1 - posterior)).clip(0).sum((1, 2, 3)).argmax())  # the least certain of 100
right.imshow(posterior[k, : lengths[k, 0], : lengths[k, 1], 0], cmap="Greys", vmin=0, vmax=1)
right.plot(*test[k][2].T[::-1], "o", mfc="none", color="tab:red", ms=5, label="reference")
right.set(xlabel="target", ylabel="query", title="A held-out pair: perturbed posterior")
right.legend()
figure.savefig(out / "protein_alignment.png", dpi=110)
