"""The cases: what is timed, against whom, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Run = Callable[[], Any]  # one call, finished when it returns
Build = Callable[..., dict[str, Run]]  # settings -> direction ("forward", "forward+vjp", ...) -> run

LIBRARIES = ("scipy", "rustworkx")


@dataclass(frozen=True)
class Peer:
    """A package that does the same.

    build(**setting) imports it, and raises ImportError where it is absent; with several settings the fastest counts.
    """

    name: str
    build: Build
    settings: tuple[dict[str, Any], ...] = ({},)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    targets: peer group ("best", "library" or a peer's name) -> what the last direction must reach, with AVX-512
    draws: coordinates of noise that the case needs, one 32-bit word each; 0 of a solve without noise
    stderr: y_stderr of our y, which the peers' y is checked against; without noise what rounding explains;
        None: peers compute something else
    """

    name: str
    title: str
    targets: dict[str, float]
    draws: int
    ours: Callable[[], dict[str, Run]]
    stderr: Callable[[], Any] | None
    peers: tuple[Peer, ...] = field(default=())


def in_group(peer: str, group: str) -> bool:
    """Does this peer belong to the group that a target names?"""
    return group == "best" or peer == group or (group == "library" and peer in LIBRARIES)
