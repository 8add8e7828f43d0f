"""Threads, memory limit, and what is in use: the settings of the process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import index

import numpy as np

from . import _core
from ._version import __version__

_MEMORY_LIMIT = 256 * 2**20
_MOST_THREADS = 4096

_threads_set: int | None = None
_threads_here: ContextVar[int | None] = ContextVar("perturbed_threads", default=None)
_memory_limit: int = _MEMORY_LIMIT
_default: tuple[str | None, str | None, int] | None = None


def _positive(name: str, value: object) -> int:
    try:
        n = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be an integer, got bool")
    if n < 1:
        raise ValueError(f"{name} must be positive, got {n}")
    return n


def _from_environment(name: str, text: str) -> int:
    first = text.split(",")[0].strip()  # OMP_NUM_THREADS may list one number for each nesting level
    if not first.isdecimal() or int(first) < 1:
        raise ValueError(f"{name} must be a positive integer, got {text!r}")
    return min(int(first), _MOST_THREADS)


def _default_threads() -> int:
    global _default
    own, openmp = os.environ.get("PERTURBED_NUM_THREADS"), os.environ.get("OMP_NUM_THREADS")
    if _default is None or _default[:2] != (own, openmp):
        if own:
            n = _from_environment("PERTURBED_NUM_THREADS", own)
        elif openmp:
            n = _from_environment("OMP_NUM_THREADS", openmp)
        else:
            n = int(_core.config()["cores"])
        _default = (own, openmp, n)
    return _default[2]


def get_num_threads() -> int:
    """Threads that a call may use.

    Returns
    -------
    int
        The innermost ``with pt.threads(n)``, else `set_num_threads`, else ``PERTURBED_NUM_THREADS``, else
        ``OMP_NUM_THREADS``, else all usable cores (affinity and control group respected). Results do not depend on it.
    """
    return _threads_here.get() or _threads_set or _default_threads()


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, in the whole process.

    Parameters
    ----------
    n : int
        At least 1.
    """
    global _threads_set
    _threads_set = min(_positive("n", n), _MOST_THREADS)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block, in this thread (or task) only.

    Parameters
    ----------
    n : int
        At least 1.
    """
    token = _threads_here.set(min(_positive("n", n), _MOST_THREADS))
    try:
        yield
    finally:
        _threads_here.reset(token)


def get_memory_limit() -> int:
    """Bytes of working memory that do not grow with the number of samples.

    Returns
    -------
    int
        256 MiB unless set. Solutions are kept for a pullback, as compact codes, up to this limit; above it the
        pullback solves again, with the same result.
    """
    return _memory_limit


def set_memory_limit(n_bytes: int) -> None:
    """Set the limit that `get_memory_limit` tells, in the whole process.

    Parameters
    ----------
    n_bytes : int
        At least 1. Small limits cost time, never results.
    """
    global _memory_limit
    _memory_limit = min(_positive("n_bytes", n_bytes), 2**62)


def get_config() -> dict[str, object]:
    """What is in use.

    Returns
    -------
    dict
        ``version``, ``compiler``, ``isa`` (``"baseline"``, ``"avx2"`` or ``"avx512"``), ``openmp``, ``threads``,
        ``memory_limit`` and ``numpy``.
    """
    core = _core.config()
    return {
        "version": __version__,
        "compiler": core["compiler"],
        "isa": core["isa"],
        "openmp": core["openmp"],
        "threads": get_num_threads(),
        "memory_limit": get_memory_limit(),
        "numpy": np.__version__,
    }


def show_config() -> None:
    """Print what `get_config` tells, a line each."""
    for name, value in get_config().items():
        note = " (this build is serial: no OpenMP)" if name == "openmp" and not value else ""
        print(f"{name:>12}: {value}{note}")
