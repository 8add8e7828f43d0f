"""Torch: argmax, topk and argsort on chunks of draws of one row, without autograd (the derivative is a product)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CHUNK = 2**18  # floats


def _steps() -> dict[str, Callable[..., Any]]:
    import torch

    def argmax(x: Any, g: Any, k: int) -> tuple[Any, Any]:
        best = x.argmax(dim=1)
        return torch.bincount(best, minlength=x.shape[1]), None if g is None else g[best]

    def top_k(x: Any, g: Any, k: int) -> tuple[Any, Any]:
        best = x.topk(k, dim=1, sorted=False).indices
        return torch.bincount(best.view(-1), minlength=x.shape[1]), None if g is None else g[best].sum(dim=1)

    def ranking(x: Any, g: Any, k: int) -> tuple[Any, Any]:
        steps = torch.arange(1, x.shape[1] + 1, dtype=x.dtype).expand(x.shape)
        ranks = torch.empty_like(x).scatter_(1, x.argsort(dim=1), steps)
        return ranks.sum(dim=0), None if g is None else ranks @ g

    return {"argmax": argmax, "top_k": top_k, "ranking": ranking}


def build(solver: str, theta: Any, g: Any, epsilon: float, samples: int, threads: int, k: int = 0) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    step = _steps()[solver]
    n = theta.shape[1]
    chunk = max(1, min(samples, CHUNK // n))
    noise, perturbed = torch.empty(chunk, n), torch.empty(chunk, n)
    theta_t, g_t = torch.from_numpy(theta.copy()), torch.from_numpy(g.copy())

    @torch.no_grad()
    def run(g_or_none: Any) -> tuple[Any, Any]:
        y, grad = torch.zeros_like(theta_t), torch.zeros_like(theta_t)
        for b in range(len(theta_t)):
            for m in range(0, samples, chunk):
                z, x = noise[: samples - m], perturbed[: samples - m]
                z.normal_()
                torch.add(theta_t[b], z, alpha=epsilon, out=x)
                total, weights = step(x, None if g_or_none is None else g_or_none[b], k)
                y[b] += total
                if weights is not None:
                    grad[b] += weights @ z
        return np.asarray(y) / np.float32(samples), np.asarray(grad) / np.float32(samples * epsilon)

    return {"forward": lambda: run(None)[0], "forward+vjp": lambda: run(g_t)}
