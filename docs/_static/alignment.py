"""Draw docs/_static/alignment.png: one alignment, and the mean of its perturbed ones.

python docs/_static/alignment.py [--out DIR]
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import perturbed as pt

arguments = argparse.ArgumentParser()
arguments.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the picture")
out = arguments.parse_args().out

query, target = "HEAGAWGHEE", "PAWHEAE"  # the pair of Durbin et al. 1998, chapter 2
theta = np.where(np.array(list(query))[:, None] == list(target), 5.0, -2.0)
solver = pt.Alignment("local", gap_open=4.0, gap_extend=1.0)
layer = pt.Perturbed(solver, epsilon=1.5, samples=1000, estimator="score", seed=0)

figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained")
soft = solver.soft_value_and_grad(theta, 1.5)[1]
for panel, title, y in zip(
    axes,
    ("solver(theta)", "layer(theta): epsilon 1.5", "soft: temperature 1.5"),
    (solver(theta), layer(theta), soft),
    strict=True,
):
    shown = panel.imshow(y, cmap="Blues", vmin=0, vmax=1)
    panel.set(title=title, xticks=range(len(target)), yticks=range(len(query)))
    panel.set_xticklabels(target)
    panel.set_yticklabels(query)
figure.colorbar(shown, ax=axes, shrink=0.8, label="share of alignments that match")
figure.savefig(out / "alignment.png", dpi=110)
