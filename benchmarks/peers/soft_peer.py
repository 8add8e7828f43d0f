"""Other differentiable orders, on torch: soft ranks (torchsort) and SOFT top-k.

They smooth in another way than noise does,
so their results are not compared with ours, only their times.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def soft_rank(theta: Any, g: Any, strength: float, threads: int, regularization: str = "l2") -> dict[str, Any]:
    """Projection on the permutahedron by isotonic regression (Blondel et al. 2020)."""
    import torch
    import torchsort

    torch.set_num_threads(threads)
    x, cotangent = torch.from_numpy(theta.copy()).requires_grad_(True), torch.from_numpy(g.copy())

    def rank() -> Any:
        return torchsort.soft_rank(x, regularization=regularization, regularization_strength=strength)

    def forward() -> Any:
        with torch.no_grad():
            return np.asarray(rank())

    def both() -> tuple[Any, Any]:
        x.grad = None
        y = rank()
        y.backward(cotangent)
        return np.asarray(y.detach()), np.asarray(x.grad)

    return {"forward": forward, "forward+vjp": both}


def soft_top_k(theta: Any, g: Any, k: int, strength: float, threads: int, iterations: int = 200) -> dict[str, Any]:
    """Entropic transport of the entries to "in" and "out" by Sinkhorn iterations (Xie et al. 2020).

    Its derivative in closed form, from the implicit function theorem: with s = y (1 - y) / strength, J g is
    s (g - <s, g> / sum s).
    """
    import torch

    torch.set_num_threads(threads)
    n = theta.shape[1]
    x, cotangent = torch.from_numpy(theta.copy()), torch.from_numpy(g.copy())
    target = torch.tensor([n - k, k], dtype=torch.float32) / n

    @torch.no_grad()
    def forward() -> Any:
        span = x - x.mean(1, keepdim=True)
        kernel = torch.stack([torch.exp(-span / (2 * strength)), torch.exp(span / (2 * strength))], 2)
        v = torch.ones(len(x), 2)
        for _ in range(iterations):
            u = 1 / (n * torch.einsum("bnj,bj->bn", kernel, v))
            v = target / torch.einsum("bnj,bn->bj", kernel, u)
        return n * u * kernel[:, :, 1] * v[:, 1:]

    @torch.no_grad()
    def both() -> tuple[Any, Any]:
        y = forward()
        s = y * (1 - y) / strength
        along = (s * cotangent).sum(1, keepdim=True) / s.sum(1, keepdim=True)
        return np.asarray(y), np.asarray(s * (cotangent - along))

    return {"forward": lambda: np.asarray(forward()), "forward+vjp": both}
