"""The five largest of 1000."""

from __future__ import annotations

import perturbed as pt

from ..peers.numpy_peer import top_k_step
from ..registry import Case
from ._vectors import vector_case


def cases(threads: int) -> list[Case]:
    return [vector_case(pt.TopK(5), "top-5", "top_k", top_k_step(5), (64, 1000), 500, 10.0, threads)]
