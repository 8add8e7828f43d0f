"""results.png: how many times faster than each peer, on a log axis, with the targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BEST, OTHER, TARGET = "#1f6f8b", "#b9d0d8", "#c1440e"


def _bars(results: dict[str, Any]) -> list[dict[str, Any]]:
    """One bar for each peer of each case's last direction, fastest peer first, and a gap after each case."""
    bars, at = [], 0.0
    for case in results["cases"]:
        direction, times = list(case["times"].items())[-1]
        targets = [(row["group"], row["target"], row["peer"]) for row in case["rows"] if row["target"]]
        peers = sorted((name for name in times if name != "perturbed"), key=times.__getitem__)
        for i, name in enumerate(peers):
            bar = {"at": at, "name": name, "ratio": times[name] / times["perturbed"], "title": None}
            bar["targets"] = [target for _, target, best in targets if best == name]
            if i == 0:
                bar["title"] = f"{case['title']}   ({direction}: {times['perturbed'] * 1e3:.3g} ms)"
            bars.append(bar)
            at += 1
        at += 1.2 if peers else 0
    return bars


def draw(results: dict[str, Any], folder: Path) -> Path | None:
    """The picture's path; None where no peer was timed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    bars = _bars(results)
    if not bars:
        return None
    figure, axes = plt.subplots(figsize=(9, 0.24 * (bars[-1]["at"] + 6)), layout="constrained")
    for bar in bars:
        axes.barh(bar["at"], bar["ratio"], height=0.8, color=BEST if bar["targets"] else OTHER)
        axes.text(bar["ratio"] * 1.03, bar["at"], f"{bar['ratio']:.1f}", va="center", fontsize=8)
        if bar["title"]:
            axes.text(1.03, bar["at"] - 0.95, bar["title"], va="center", fontsize=9, weight="bold")
        for target in bar["targets"]:
            axes.plot([target] * 2, [bar["at"] - 0.5, bar["at"] + 0.5], color=TARGET, linewidth=2.5)
    axes.set(xscale="log", ylim=(bars[-1]["at"] + 0.8, -1.6), yticks=[bar["at"] for bar in bars])
    axes.set_xlim(min(1.0, *(0.9 * bar["ratio"] for bar in bars)), 1.4 * max(bar["ratio"] for bar in bars))
    axes.set_yticklabels([bar["name"] for bar in bars], fontsize=8)
    axes.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%gx"))
    axes.axvline(1, color="black", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    machine = results["machine"]
    measured = (machine["processor"], f"{machine['threads']} threads", machine["perturbed"].get("isa"))
    axes.set_title(
        "perturbed: times faster than each peer (dark: the fastest; line: target)\n"
        + ", ".join(map(str, (*measured, f"{results['clock']} time", machine["date"]))),
        fontsize=10,
        loc="left",
    )
    path = folder / "results.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
