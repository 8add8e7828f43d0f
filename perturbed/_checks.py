"""Arrays, options and seeds from users: the one place for errors of type and shape."""

import os
from collections.abc import Iterable
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _config, _core

Real = NDArray[np.floating[Any]]
if TYPE_CHECKING:
    Seed = int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | None
else:
    Seed = Any  # numpy.random is loaded when a seed first needs it

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_RANGE = {_F32: (1e-30, 1e30), _F64: (1e-100, 1e100)}  # widths of noise: their squares, and draws, are numbers, too
_LARGE = 4 * 2**20  # bytes from which on a copy is for all threads
_REFUSED = {"MaskedArray": "pass mask= instead", "matrix": "pass np.asarray(it)"}


def _refuse(name: str, x: object) -> None:
    """Containers that np.asarray would convert silently to something else than they mean."""
    kind = type(x).__name__
    if isinstance(x, np.ma.MaskedArray):
        advice = "pass np.ma.filled(it, False)" if name == "mask" else _REFUSED["MaskedArray"]
        raise TypeError(f"{name} must be a plain array, got MaskedArray ({advice})")
    if isinstance(x, np.matrix):
        raise TypeError(f"{name} must be a plain array, got matrix ({_REFUSED['matrix']})")
    if hasattr(x, "tocsr") and hasattr(x, "nnz"):
        raise TypeError(f"{name} must be a dense array, got sparse {kind}")
    if getattr(x, "requires_grad", False):
        raise TypeError(f"{name} must be an array, got a tensor that wants gradients (use perturbed.torch)")


def as_array(name: str, x: object) -> NDArray[Any]:
    """`x` as numpy sees it, refused by name where that would not be what is meant."""
    if type(x) is np.ndarray:
        return x
    _refuse(name, x)
    try:
        return np.asarray(x)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{name} must be an array of numbers: {error}") from None


def place(name: str, where: Iterable[Any]) -> str:
    """What an error calls a row or an entry: "y[1, 0]", or "y" where there is but one."""
    text = ", ".join(str(int(i)) for i in where)
    return f"{name}[{text}]" if text else name


def real_dtype(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 or float64: what an array of this dtype is computed in."""
    if dtype in (_F64, _F32):
        return _F64 if dtype == _F64 else _F32
    if dtype.kind in "biu":
        return _F64
    if dtype.kind == "f" and dtype.itemsize == 2:
        return _F32
    if dtype.kind == "f" and dtype.itemsize in (4, 8):  # the other byte order
        return _F32 if dtype.itemsize == 4 else _F64
    raise TypeError(f"{name} must be real (float32, float64, float16, integer or bool), got {dtype}")


def as_theta(x: object, item_ndim: int, private: bool = True) -> Real:
    """Theta as a C-contiguous float32 or float64 array: a copy, or if not `private` itself where it is one already."""
    array = as_array("theta", x)
    dtype = real_dtype("theta", array.dtype)
    if array.ndim < item_ndim:
        raise ValueError(f"theta must have at least {item_ndim} dimension{'s' * (item_ndim > 1)}, got {array.ndim}")
    if 0 in array.shape[array.ndim - item_ndim :]:
        raise ValueError(f"theta must have at least one entry an item, got shape {array.shape}")
    if not private:
        return np.require(array, dtype, ["C", "A"])
    if array.dtype == dtype and array.flags.carray and array.nbytes >= _LARGE:
        return _core.copy(array, _config.get_num_threads())
    return np.array(array, dtype=dtype, order="C")


def as_like(name: str, x: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Real:
    """A finite array of this very shape, converted to this dtype."""
    array = as_array(name, x)
    real_dtype(name, array.dtype)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    with np.errstate(over="ignore"):  # what overflows is not finite, below
        result = np.require(array, dtype, ["C", "A"])
    if not _core.all_finite(result, _config.get_num_threads()):
        bad = np.unravel_index(int(np.argmin(np.isfinite(result))), shape)
        raise ValueError(f"{name} must be finite, got {result[bad]} at {name}[{', '.join(map(str, bad))}]")
    return result


def as_mask(mask: object, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Bool array that broadcasts to theta; False is left out."""
    array = as_array("mask", mask)
    if array.dtype != np.bool_:
        raise TypeError(f"mask must be bool, got {array.dtype}")
    return np.ascontiguousarray(broadcast("mask", array, shape))


def broadcast(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{name} must broadcast to shape {shape}, got {array.shape}") from None


def as_ints(name: str, values: object) -> NDArray[np.int64]:
    """Integers as int64; those beyond it are told as they are given."""
    array = as_array(name, values)
    wide = array.dtype == object and all(isinstance(x, int) and not isinstance(x, bool) for x in array.flat)
    for x in array.flat if wide or array.dtype == np.uint64 else ():
        if not -(2**63) <= int(x) < 2**63:
            raise ValueError(f"{name} must be between {-(2**63)} and {2**63 - 1}, got {x}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    return array.astype(np.int64, copy=False)


def as_epsilon(epsilon: object, batch: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Positive widths, one a row."""
    if type(epsilon) is not float:
        check_epsilon(epsilon)
    values = np.asarray(epsilon, dtype=np.float64)
    rows = 1
    for n in batch:
        rows *= n
    if values.ndim == 0:
        result: NDArray[np.float64] = np.empty(rows)
        result.fill(values)
        worst = float(values)
    else:
        result = np.array(broadcast("epsilon", values, batch), dtype=np.float64, order="C").reshape(rows)
        worst = float(values.min()) if values.size else 1.0
    largest = float(values.max()) if values.size else 1.0
    least, most = _RANGE[dtype]
    if not (worst >= least and largest <= most):
        check_epsilon(epsilon)
        raise ValueError(
            f"epsilon must be between {least:g} and {most:g} for {dtype}, got {worst if worst < least else largest}"
        )
    return result


def check_widths(epsilon: NDArray[np.float64], scale: NDArray[np.float64], dtype: np.dtype[Any]) -> None:
    """Refuse widths of noise out of the range of epsilon; a scale of 0 is none."""
    scale = scale[scale > 0]
    if not epsilon.size or not scale.size:
        return
    thinnest, widest = float(epsilon.min()) * float(scale.min()), float(epsilon.max()) * float(scale.max())
    least, most = _RANGE[dtype]
    if not (thinnest >= least and widest <= most):
        raise ValueError(
            f"epsilon times scale must be between {least:g} and {most:g} for {dtype}, got "
            f"{thinnest if thinnest < least else widest}"
        )


def check_epsilon(epsilon: object) -> None:
    array = as_array("epsilon", epsilon)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"epsilon must be a real number or an array of them, got {array.dtype}")
    good = np.isfinite(array) & (array > 0)
    if not good.all():
        raise ValueError(f"epsilon must be positive and finite, got {array[~good].flat[0]}")


def as_index(name: str, value: object) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be an integer, got bool")
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None


def as_int(name: str, value: object, low: int, high: int) -> int:
    n = as_index(name, value)
    if not low <= n <= high:
        raise ValueError(f"{name} must be between {low} and {high}, got {n}")
    return n


def as_bool(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def one_of(name: str, value: object, options: Iterable[object]) -> None:
    options = tuple(options)
    if not any(value is o or (isinstance(value, str) and value == o) for o in options):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")


# What a seed comes from has a key domain of its own, so that 3 and SeedSequence(3) do not collide.
_INT, _SEQUENCE, _GENERATOR, _SYSTEM = range(4)


def check_seed(seed: object) -> None:
    if seed is None or isinstance(seed, np.random.SeedSequence | np.random.Generator):
        return
    if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an int, a SeedSequence, a Generator or None, got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")


def as_key(seed: Seed, call: int) -> int:
    """64 bits of key from a seed and the number of the call."""
    if type(seed) is int and 0 <= seed < 2**64:
        return _core.key(seed, call, _INT)
    check_seed(seed)
    if seed is None:
        return _core.key(int.from_bytes(os.urandom(8), "little"), 0, _SYSTEM)
    if isinstance(seed, np.random.Generator):
        return _core.key(int(seed.integers(2**64, dtype=np.uint64)), 0, _GENERATOR)
    if isinstance(seed, int | np.integer):
        if int(seed) < 2**64:
            return _core.key(int(seed), call, _INT)
        seed = np.random.SeedSequence(int(seed))
    return _core.key(int(seed.generate_state(1, np.uint64)[0]), call, _SEQUENCE)
