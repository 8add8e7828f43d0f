"""Frozen values: repr, equality and hash by content, arrays included."""

from dataclasses import fields
from typing import Any

import numpy as np


def _content(value: object) -> object:
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    return value


def _show(value: object) -> str:
    if isinstance(value, np.ndarray):
        if value.size > 1000:
            return f"<{value.dtype} array of shape {value.shape}>"
        return repr(value.tolist())
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    return repr(value)


class Frozen:
    """A frozen dataclass whose repr is the constructor call, without options that have their default."""

    def _contents(self) -> tuple[object, ...]:
        return tuple(_content(getattr(self, f.name)) for f in fields(self))  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._contents() == other._contents()

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._contents()))

    def __repr__(self) -> str:
        named = sorted(fields(self), key=lambda f: bool(f.kw_only))  # type: ignore[arg-type]
        shown = [f for f in named if not self._is_default(f)]
        return f"{type(self).__name__}({', '.join(f'{f.name}={_show(getattr(self, f.name))}' for f in shown)})"

    def _is_default(self, f: Any) -> bool:
        return bool(f.kw_only) and _content(getattr(self, f.name)) == _content(f.default)
