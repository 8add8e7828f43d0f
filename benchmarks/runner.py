"""One case: build every side, check that they agree, time them, compare with the targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

import perturbed as pt

from .registry import Case, Peer, Run, in_group
from .timing import fastest, interleave

DISAGREES = 1.5  # times the rms difference that two estimates of the same y have


@dataclass(frozen=True)
class Plan:
    """How much time there is."""

    seconds: float  # for the rounds of one direction of one case
    rounds: int
    quick: bool  # last direction only, first setting of each peer only
    peers: bool
    threads: int
    target_scale: float  # 1 with AVX-512, else 2/3


def run_case(case: Case, plan: Plan, deadline: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Everything measured about a case, ready for JSON. Peers not begun by the deadline are left out and named."""
    ours = case.ours()
    directions = list(ours)[-1:] if plan.quick else list(ours)
    result: dict[str, Any] = {"name": case.name, "title": case.title, "draws": case.draws, "times": {}}
    result |= {"settings": {}, "missing": {}, "agreement": {}}
    for direction in directions:
        ours[direction]()
    runs: dict[str, dict[str, Run]] = {"perturbed": {d: ours[d] for d in directions}}
    for peer in case.peers if plan.peers else ():
        tell(f"{case.title}: {peer.name}")
        if perf_counter() > deadline:
            result["missing"][peer.name] = "no time left for it"
            continue
        try:
            runs[peer.name] = _choose(peer, directions, plan.quick, result["settings"])
        except ImportError as error:
            result["missing"][peer.name] = str(error)
    tell(f"{case.title}: agreement")
    result["agreement"] = _agreement(case, {name: run[directions[-1]] for name, run in runs.items()})
    kept = tuple(group for group in case.targets if group not in ("best", "library"))
    for direction in directions:
        tell(f"{case.title}: {direction}")
        timed = {name: run[direction] for name, run in runs.items()}
        result["times"][direction] = interleave(timed, plan.seconds, plan.rounds, kept)
    tell(f"{case.title}: threads")
    result["threads"] = _threads(runs["perturbed"][directions[-1]], plan)
    result["rows"] = [row for d in directions for row in _rows(case, result, d, d == directions[-1], plan)]
    return result


def _choose(peer: Peer, directions: list[str], quick: bool, chosen: dict[str, Any]) -> dict[str, Run]:
    """The fastest setting of a peer, direction by direction; warmed up."""
    built = [peer.build(**setting) for setting in (peer.settings[:1] if quick else peer.settings)]
    best: dict[str, Run] = {}
    for direction in directions:
        i = fastest([runs[direction] for runs in built])
        best[direction] = built[i][direction]
        if len(built) > 1:
            chosen.setdefault(peer.name, {})[direction] = peer.settings[i]
    return best


def _agreement(case: Case, runs: dict[str, Run]) -> dict[str, float]:
    """Rms difference of each peer's y (or loss gradient) from ours, over what noise explains: about 1."""
    if case.stderr is None:
        return {}
    firsts = {}
    for name, run in runs.items():
        made = run()
        firsts[name] = np.asarray(made[0] if isinstance(made, tuple) else made)
    ours = firsts.pop("perturbed")
    expected = float(np.sqrt(2 * np.mean(np.square(case.stderr(), dtype=np.float64)))) if firsts else 1.0
    return {
        name: float(np.sqrt(np.mean(np.square(y - ours, dtype=np.float64)))) / expected for name, y in firsts.items()
    }


def _threads(run: Run, plan: Plan) -> dict[str, float] | None:
    """Our time on all threads and on one, where one thread takes over 10 ms."""
    if plan.threads < 2:
        return None

    def alone() -> None:
        with pt.threads(1):
            run()

    names = (str(plan.threads), "1")
    times = interleave(dict(zip(names, (run, alone), strict=True)), plan.seconds / 3, 3 * plan.rounds, names)
    return {**times, "ratio": times["1"] / times[names[0]]} if times["1"] > 0.01 else None


def _rows(case: Case, result: dict[str, Any], direction: str, judged: bool, plan: Plan) -> list[dict[str, Any]]:
    """Rows of the table: one for each group of peers that has a target."""
    times = result["times"][direction]
    rows = []
    for group, target in case.targets.items():
        peers = {name: t for name, t in times.items() if name != "perturbed" and in_group(name, group)}
        row: dict[str, Any] = {"direction": direction, "group": group, "seconds": times["perturbed"], "peer": None}
        row["target"] = target * plan.target_scale if judged else None
        if peers:
            row["peer"] = min(peers, key=peers.__getitem__)
            row["peer_seconds"] = peers[row["peer"]]
            row["ratio"] = row["peer_seconds"] / row["seconds"]
            row["met"] = row["ratio"] >= row["target"] if judged else None
        rows.append(row)
    return rows
