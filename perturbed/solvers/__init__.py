"""Solvers: small frozen objects, one a file."""

from ._base import Solver
from .alignment import Alignment, pack_alignment
from .argmax import Argmax
from .assignment import Assignment
from .dtw import DTW
from .graph_path import GraphPath
from .grid_path import GridPath
from .oracle import Oracle
from .permutation import Permutation
from .ranking import Ranking
from .spanning_forest import SpanningForest, constraints_from_labels
from .top_k import TopK
from .viterbi import Viterbi

__all__ = [
    "DTW",
    "Alignment",
    "Argmax",
    "Assignment",
    "GraphPath",
    "GridPath",
    "Oracle",
    "Permutation",
    "Ranking",
    "Solver",
    "SpanningForest",
    "TopK",
    "Viterbi",
    "constraints_from_labels",
    "pack_alignment",
]
