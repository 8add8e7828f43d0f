"""Symmetric matrices to the pairs i < j that say all of them, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import Real

_ROUNDING = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}


@lru_cache(maxsize=4)
def places(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat places of (i, j) and of (j, i) in an n x n matrix, for the pairs i < j row by row."""
    i, j = np.triu_indices(n, 1)
    both = (i * n + j, j * n + i)
    for x in both:
        x.flags.writeable = False
    return both


def _halves(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    n = x.shape[-1]
    flat = x.reshape(*x.shape[:-2], n * n)
    up, down = places(n)
    return np.take(flat, up, axis=-1), np.take(flat, down, axis=-1)


def _filled(x: NDArray[Any], alone: object) -> NDArray[Any]:
    """The core knows no empty items: one point has one entry, which is never used."""
    return x if x.shape[-1] else np.full((*x.shape[:-1], 1), alone, x.dtype)


def _place(name: str, batch: tuple[int, ...], row: int, n: int, flat: int) -> str:
    rows = [int(i) for i in np.unravel_index(row, batch)] if batch else []
    return f"{name}[{', '.join(map(str, [*rows, *divmod(flat, n)]))}]"


def pack_same(name: str, x: NDArray[Any], alone: object = 0) -> NDArray[Any]:
    """Pairs of matrices that must be symmetric to the last bit (or the last bool); the diagonal is ignored."""
    above, below = _halves(x)
    if not np.array_equal(above, below):
        _refuse_asymmetric(name, x, (above != below).reshape(-1, above.shape[-1]), above, below)
    return _filled(above, alone)


def pack_symmetric(name: str, x: Real, alone: float = 0.0) -> Real:
    """Pairs of symmetric matrices, rounding averaged away; the diagonal is ignored. Contents are named here."""
    above, below = _halves(x)
    if not (np.isfinite(above).all() and np.array_equal(above, below)):
        _refuse_contents(name, x)
        above = _average(name, x, above, below)
    return _filled(above, alone)


def _average(name: str, x: Real, above: Real, below: Real) -> Real:
    same = above == below
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.where(same, 0.0, np.abs(above - below))
        middle = np.where(same, above, above + (below - above) / 2)
        largest = np.maximum(*(np.abs(np.where(np.isfinite(h), h, 0)).max(-1, initial=0) for h in (above, below)))
    bad = ~(gap <= _ROUNDING[x.dtype] * largest[..., None].astype(np.float64))
    if bad.any():
        _refuse_asymmetric(name, x, bad.reshape(-1, bad.shape[-1]), above, below)
    result: Real = middle.astype(x.dtype, copy=False)
    return result


def _refuse_asymmetric(name: str, x: NDArray[Any], bad: NDArray[np.bool_], a: NDArray[Any], b: NDArray[Any]) -> None:
    row, pair = divmod(int(np.argmax(bad)), bad.shape[-1])
    n, batch = x.shape[-1], x.shape[:-2]
    up, down = (_place(name, batch, row, n, int(p[pair])) for p in places(n))
    first, second = (h.reshape(bad.shape)[row, pair] for h in (a, b))
    raise ValueError(f"{name} must be symmetric, got {first} at {up} and {second} at {down}")


def _refuse_contents(name: str, x: Real) -> None:
    n = x.shape[-1]
    bad = ~(x < np.inf) & ~np.eye(n, dtype=bool)
    if bad.any():
        row, flat = divmod(int(np.argmax(bad)), n * n)
        what = "NaN" if np.isnan(x.reshape(-1, n * n)[row, flat]) else "+inf"
        raise ValueError(f"{name} must not contain {what}, got {what} at {_place(name, x.shape[:-2], row, n, flat)}")


def unpack(x: NDArray[Any], n: int, diagonal: float) -> NDArray[Any]:
    """Symmetric matrices (..., n, n) from pairs (..., n (n - 1) / 2)."""
    out = np.empty((*x.shape[:-1], n * n), x.dtype)
    out[..., :: n + 1] = diagonal
    if n > 1:
        up, down = places(n)
        out[..., up] = x
        out[..., down] = x
    return out.reshape(*x.shape[:-1], n, n)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Layout of items, solutions or both as symmetric n x n matrices that the core holds as pairs."""

    n: int
    item: bool
    solution: bool
    diagonal: float = 0.0  # of solutions

    def pack_width(self, name: str, x: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(pack_same(name, x)) if self.item else x.reshape(-1)

    def pack_solution(self, name: str, y: Real) -> Real:
        return np.ascontiguousarray(pack_symmetric(name, y)) if self.item else y

    def pack_tangent(self, t: Real) -> Real:
        if not self.item:
            return t
        above, below = _halves(t)
        return _filled(np.ascontiguousarray(above / 2 + below / 2), 0)

    def pack_cotangent(self, g: Real) -> Real:
        if not self.solution:
            return g
        above, below = _halves(g)
        return _filled(np.ascontiguousarray(above + below), 0)

    def unpack_solution(self, y: Real) -> Real:
        return unpack(y, self.n, self.diagonal) if self.solution else y

    def unpack_change(self, y: Real) -> Real:
        return unpack(y, self.n, 0.0) if self.solution else y

    def unpack_grad(self, grad: Real) -> Real:
        return unpack(grad / 2, self.n, 0.0) if self.item else grad
