"""perturbed: discrete solvers made differentiable by perturbation."""

try:
    from . import _core
except ImportError as error:
    if "_core" not in str(error):
        raise
    raise ImportError(
        "this folder holds the source of perturbed, with no compiled core beside it: run `pip install -e .` in it, or "
        "leave it to import the installed package"
    ) from None

if _core.config()["problem"]:
    raise ImportError(_core.config()["problem"])

from ._config import (
    get_config,
    get_memory_limit,
    get_num_threads,
    set_memory_limit,
    set_num_threads,
    show_config,
    threads,
)
from ._version import __version__
from .estimators import Estimate
from .frank_wolfe import frank_wolfe
from .layers import Perturbed
from .losses import FenchelYoungLoss, PartialFenchelYoungLoss
from .noise import Gumbel, Laplace, Logistic, Multiplicative, Noise, Normal, StudentT, SumOfGamma
from .solvers import (
    DTW,
    Alignment,
    Argmax,
    Assignment,
    GraphPath,
    GridPath,
    Oracle,
    Permutation,
    Ranking,
    Solver,
    SpanningForest,
    TopK,
    Viterbi,
    constraints_from_labels,
    pack_alignment,
)

__all__ = [
    "DTW",
    "Alignment",
    "Argmax",
    "Assignment",
    "Estimate",
    "FenchelYoungLoss",
    "GraphPath",
    "GridPath",
    "Gumbel",
    "Laplace",
    "Logistic",
    "Multiplicative",
    "Noise",
    "Normal",
    "Oracle",
    "PartialFenchelYoungLoss",
    "Permutation",
    "Perturbed",
    "Ranking",
    "Solver",
    "SpanningForest",
    "StudentT",
    "SumOfGamma",
    "TopK",
    "Viterbi",
    "__version__",
    "constraints_from_labels",
    "frank_wolfe",
    "get_config",
    "get_memory_limit",
    "get_num_threads",
    "pack_alignment",
    "set_memory_limit",
    "set_num_threads",
    "show_config",
    "threads",
]
