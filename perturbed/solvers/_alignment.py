"""Decoders of alignments: from counts to pairs and strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Steps = str  # one of "M", "I", "D" a step
Entry = tuple[int, ...]  # row, column, channel
Position = tuple[int, ...]  # rows and columns behind it
Choice = tuple[Position, int, int]  # where a gap of columns and then one of rows starts

_EDGES = {"SM": 0, "MM": 1, "DM": 2, "IM": 3, "MD": 4, "DD": 5, "MI": 6, "DI": 7, "II": 8}


def match_channels(name: str, y: NDArray[Any], channels: int) -> NDArray[Any]:
    """How often each cell is matched, (n, m)."""
    if channels > 1 and y.shape[-1] != channels:
        raise ValueError(f"{name} must have items of shape (n, m, {channels}), got {y.shape}")
    if channels == 1:
        return y
    result: NDArray[Any] = y[..., 0] if channels == 3 else y[..., :4].sum(-1)
    return result


def pairs_of(name: str, matched: NDArray[Any]) -> NDArray[np.int64]:
    """Matched cells in order; they have to be a chain."""
    cells = np.argwhere(matched != 0).astype(np.int64, copy=False)
    if (np.diff(cells, axis=0) <= 0).any() or (matched[tuple(cells.T)] != 1).any():
        raise ValueError(f"{name} must be one alignment, got {len(cells)} matched cells that are none")
    return cells


def cigar_of(
    name: str,
    y: NDArray[Any],
    channels: int,
    mode: str,
    free: tuple[str, ...],
    costs: tuple[float, float] | None,
    n: int,
    m: int,
) -> str:
    """Runs of steps, such as "3M1D2M"."""
    cells = pairs_of(name, match_channels(name, y, channels))
    if len(cells) and (cells[-1] >= (n, m)).any():
        raise ValueError(
            f"{name} must be an alignment within lengths ({n}, {m}), got a match at {tuple(cells[-1].tolist())}"
        )
    inner = "".join(
        "D" * (b[1] - a[1] - 1) + "I" * (b[0] - a[0] - 1) + "M"
        for a, b in zip(cells[:-1].tolist(), cells[1:].tolist(), strict=True)
    )
    start: Position = (0, 0)
    if mode == "local":
        steps = "M" + inner if len(cells) else ""
        start = tuple(cells[0].tolist()) if len(cells) else start
    elif not free:
        steps = _all_of(cells, n, m, inner)
    elif costs is not None:
        steps = _cheapest_ends(cells, n, m, inner, free, costs)
    else:
        start, steps = _counted_ends(name, cells, n, m, inner, free, y)
    text = "".join(f"{len(list(run))}{step}" for step, run in groupby(steps))
    used = Counter(_uses(start, steps, channels) if n and m else ())  # gaps beside nothing have no cell
    if channels > 1 and used != _counts(y):
        raise ValueError(f"{name} must be an alignment, got other counts of gaps than those of its steps {text!r}")
    return text


def _counts(y: NDArray[Any]) -> Counter[Entry]:
    return Counter({tuple(entry): int(y[tuple(entry)]) for entry in np.argwhere(y).tolist()})


def _uses(start: Position, steps: Steps, channels: int) -> Iterator[Entry]:
    """The entry that each step uses, on the way from the position `start`."""
    i, j = start
    for last, step in pairwise("S" + steps):
        i, j = i + (step != "D"), j + (step != "I")
        channel = _EDGES[last + step] if channels == 9 else 0 if step == "M" else 2 if last == step else 1
        yield max(i - 1, 0), max(j - 1, 0), channel


def _all_of(cells: NDArray[np.int64], n: int, m: int, inner: Steps) -> Any:
    if not len(cells):
        return "D" * m + "I" * n
    (i, j), (k, h) = cells[0].tolist(), cells[-1].tolist()
    return "D" * j + "I" * i + "M" + inner + "D" * (m - h - 1) + "I" * (n - k - 1)


def _cheapest_ends(
    cells: NDArray[np.int64], n: int, m: int, inner: Steps, free: tuple[str, ...], costs: tuple[float, float]
) -> Steps:
    """The ends that fixed gaps choose: what is left out is free, the rest a gap; ties as the solver breaks them."""

    def gap(length: int) -> float:
        return costs[0] + costs[1] * (length - 1) if length else 0.0

    def end(rows: int, columns: int) -> Steps:
        if "target" in free and ("query" not in free or gap(rows) < gap(columns)):
            return "I" * rows
        return "D" * columns

    if not len(cells):
        return "" if len(free) == 2 else end(n, m)
    (i, j), (k, h) = cells[0].tolist(), cells[-1].tolist()
    return end(i, j) + "M" + inner + end(n - k - 1, m - h - 1)


def _find_ends(name: str, y: Counter[Entry], choices: Iterable[Choice]) -> Choice:
    """The first choice whose gaps are charged just what y counts."""
    size = y.total()
    for start, columns, rows in choices:
        gaps = "D" * columns + "I" * rows
        if len(gaps) == size and Counter(_uses(start, gaps, 3)) == y:
            return start, columns, rows
    raise ValueError(f"{name} must be an alignment, got counts of gaps that none has")


def _counted_ends(
    name: str, cells: NDArray[np.int64], n: int, m: int, inner: Steps, free: tuple[str, ...], y: NDArray[Any]
) -> tuple[Position, Steps]:
    """Start and steps of a semiglobal alignment whose gaps y counts."""
    left = Counter({entry: count for entry, count in _counts(y).items() if entry[2]})
    query, target = "query" in free, "target" in free
    if n == 0 or m == 0:  # such gaps have no cell
        return (0, 0), "D" * m * (not target) + "I" * n * (not query)
    if not len(cells):
        starts = [(i, 0) for i in range(n * query + 1)] + [(0, j) for j in range(1, m * target + 1)]
        ends = [(n, j) for j in range(0 if target else m, m + 1)] + [(i, m) for i in range(n * query)]
        both = ((s, e[1] - s[1], e[0] - s[0]) for s in starts for e in ends if e[0] >= s[0] and e[1] >= s[1])
        start, columns, rows = _find_ends(name, left, both)
        return start, "D" * columns + "I" * rows
    (i, j), (k, h) = cells[0].tolist(), cells[-1].tolist()
    left -= Counter(_uses((i, j), "M" + inner, 3))
    before = Counter({c: x for c, x in left.items() if c[0] < i or c[1] < j})
    firsts = [((s, 0), j, i - s) for s in range(i * query + 1)] + [((0, s), j - s, i) for s in range(1, j * target + 1)]
    start, columns, rows = _find_ends(name, before, firsts)
    end, most_rows, most_columns = (k + 1, h + 1), n - k - 1, m - h - 1
    lasts = [(end, most_columns, r) for r in range(0 if query else most_rows, most_rows + 1)]
    lasts += [(end, c, most_rows) for c in range(most_columns * target)]
    _, more_columns, more_rows = _find_ends(name, left - before, lasts)
    return start, "D" * columns + "I" * rows + "M" + inner + "D" * more_columns + "I" * more_rows
