"""Minima over interleaved runs, within a budget of time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from time import perf_counter, process_time
from typing import Any

SPELL = 0.02  # seconds: shorter runs are repeated in a row until they fill this
HOPELESS = 1.6  # a run this many times slower than the fastest peer is left out from the third round on


CLOCKS = {"wall": perf_counter, "cpu": process_time}
clock = perf_counter


def use_clock(name: str) -> None:
    """Wall time, or processor time of all threads of the process: what a busy machine disturbs least."""
    global clock
    clock = CLOCKS[name]


def once(run: Callable[[], Any]) -> float:
    start = clock()
    run()
    return clock() - start


def spell(run: Callable[[], Any]) -> float:
    """Least time of enough calls in a row to fill a spell."""
    start = perf_counter()
    best = once(run)
    while perf_counter() - start < SPELL:
        best = min(best, once(run))
    return best


def fastest(runs: list[Callable[[], Any]]) -> int:
    """Index of the fastest of several settings of one peer; all are warmed up."""
    for run in runs:
        run()
    times = [once(run) for run in runs] if len(runs) > 1 else [0.0]
    return times.index(min(times))


def interleave(
    runs: Mapping[str, Callable[[], Any]], seconds: float, rounds: int, keep: tuple[str, ...] = ()
) -> dict[str, float]:
    """Least time of each run, all in turn, round after round; the third round on only while there is time left.

    The first run is ours. Of the others, those that cannot be the fastest leave more rounds for the rest, unless kept.
    """
    best = dict.fromkeys(runs, float("inf"))
    ours, *others = runs
    gc.collect()
    gc.disable()
    start = perf_counter()
    try:
        for i in range(rounds):
            if i >= 2 and perf_counter() - start > seconds:
                break
            limit = HOPELESS * min((best[name] for name in others), default=0.0)
            for name in runs:
                if i < 2 or name in (ours, *keep) or best[name] <= limit:
                    best[name] = min(best[name], spell(runs[name]))
    finally:
        gc.enable()
    return best
