"""dtaidistance (C) and tslearn (Numba): one warping path a row."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Paths:
    """Lists of cells, a 0/1 matrix each where somebody compares them: not while the peer is timed."""

    def __init__(self, paths: list[Any], shape: tuple[int, ...]) -> None:
        self.paths, self.shape = paths, shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        y = np.zeros(self.shape, dtype or np.float32)
        for i, path in enumerate(self.paths):
            y[(i, *np.transpose(path))] = 1
        return y


def build(package: str, a: Array, b: Array, costs: Array) -> dict[str, Any]:
    if package == "dtaidistance":  # series in, float64: it has no matrices
        from dtaidistance import dtw_cc

        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
        return {
            "solve": lambda: Paths(
                [dtw_cc.warping_path(*pair) for pair in zip(wide_a, wide_b, strict=True)], costs.shape
            )
        }
    if package == "tslearn series":
        from tslearn.metrics import dtw_path

        return {"solve": lambda: Paths([dtw_path(*pair)[0] for pair in zip(a, b, strict=True)], costs.shape)}
    from tslearn.metrics import dtw_path_from_metric

    return {"solve": lambda: Paths([dtw_path_from_metric(c, metric="precomputed")[0] for c in costs], costs.shape)}
