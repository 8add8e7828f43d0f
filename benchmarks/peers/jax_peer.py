"""jaxopt and optax, compiled: their perturbed function of one row, over the batch by vmap or by a loop.

Keys are of the "rbg" kind, which on a CPU is faster than JAX's default; no control variate unless asked for. No loop
for optax: under lax.map its gradient comes out wrong (a quarter of the vmapped one, seen with optax 0.2.8 and jax
0.10.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _solver(name: str, k: int) -> Callable[[Any], Any]:
    import jax
    import jax.numpy as jnp

    def argmax(x: Any) -> Any:
        return jax.nn.one_hot(jnp.argmax(x), x.shape[0])

    def top_k(x: Any) -> Any:
        return jnp.zeros_like(x).at[jax.lax.top_k(x, k)[1]].set(1.0)

    def ranking(x: Any) -> Any:
        return jnp.zeros_like(x).at[jnp.argsort(x)].set(jnp.arange(1.0, x.shape[0] + 1))

    return {"argmax": argmax, "top_k": top_k, "ranking": ranking}[name]


def _of_one_row(
    package: str, solver: Callable[[Any], Any], epsilon: float, samples: int, control: bool
) -> Callable[[Any, Any], Any]:
    if package == "jaxopt":
        from jaxopt import perturbations

        smooth: Any = perturbations.make_perturbed_argmax(solver, samples, epsilon, perturbations.Normal(), control)
        return smooth
    from optax import perturbations as of_optax

    key_first: Any = of_optax.make_perturbed_fun(solver, samples, epsilon, of_optax.Normal(), use_baseline=control)
    return lambda x, key: key_first(key, x)


def compiled(
    package: str, solver: str, epsilon: float, samples: int, k: int = 0, loop: bool = False, control: bool = False
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """forward(theta, key) and both(theta, key, g): y, and y with the VJP."""
    import jax

    one = _of_one_row(package, _solver(solver, k), epsilon, samples, control)

    @jax.jit
    def forward(theta: Any, key: Any) -> Any:
        keys = jax.random.split(key, theta.shape[0])
        return jax.lax.map(lambda row: one(*row), (theta, keys)) if loop else jax.vmap(one)(theta, keys)

    @jax.jit
    def both(theta: Any, key: Any, g: Any) -> Any:
        y, pullback = jax.vjp(lambda x: forward(x, key), theta)
        return y, pullback(g)[0]

    return forward, both


def key_of(seed: int) -> Any:
    import jax

    return jax.random.key(seed, impl="rbg")


def build(
    package: str, solver: str, theta: Any, g: Any, epsilon: float, samples: int, k: int = 0, loop: bool = False
) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    forward, both = compiled(package, solver, epsilon, samples, k, loop)
    theta_j, g_j, key = jnp.asarray(theta), jnp.asarray(g), key_of(0)

    return {
        "forward": lambda: forward(theta_j, key).block_until_ready(),
        "forward+vjp": lambda: jax.block_until_ready(both(theta_j, key, g_j)),
    }
