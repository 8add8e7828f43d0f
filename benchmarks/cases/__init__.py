"""The list of cases, in the order of the table."""

from __future__ import annotations

from ..registry import Case
from . import (
    alignment,
    argmax,
    assignment,
    dtw,
    exact,
    fenchel_young,
    forest,
    graph_path,
    grid_path,
    ranking,
    top_k,
    viterbi,
)


def all_cases(threads: int) -> list[Case]:
    modules = (
        argmax,
        top_k,
        ranking,
        exact,
        grid_path,
        graph_path,
        viterbi,
        dtw,
        alignment,
        assignment,
        forest,
        fenchel_young,
    )
    return [case for module in modules for case in module.cases(threads)]
