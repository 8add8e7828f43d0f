"""What is no ratio to a peer: a tiny call, the time of the import, the peak of memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

import perturbed as pt

from .timing import spell

IMPORT = """
import time
import numpy
start = time.perf_counter()
import perturbed
print(time.perf_counter() - start)
"""
MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
import perturbed as pt
layer = pt.Perturbed(pt.Argmax(), samples=1000, estimator="score", sampler="iid", seed=0)
theta, g = np.random.default_rng(0).standard_normal((2, 64, 10_000), dtype=np.float32)
y, pullback = layer.vjp(theta)
pullback(g)
status = Path("/proc/self/status")
if status.exists():  # there ru_maxrss starts from the peak of the process that started this one
    print([1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")][0])
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def _in_new_process(script: str, bytecode: str | None = None) -> float:
    """What a script prints. bytecode: folder for compiled modules, whatever the environment says about them."""
    environment = dict(os.environ)
    if bytecode is not None:
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = bytecode
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    return float(made.stdout)


def import_time(repeats: int) -> float:
    """Seconds that perturbed adds to NumPy's import, once its modules are compiled."""
    with tempfile.TemporaryDirectory() as bytecode:
        _in_new_process(IMPORT, bytecode)
        return min(_in_new_process(IMPORT, bytecode) for _ in range(repeats))


def tiny_call(directions: str) -> float:
    """Seconds of a call on a 10-vector with M=10."""
    theta, g = np.random.default_rng(0).standard_normal((2, 10), dtype=np.float32)
    layer = pt.Perturbed(pt.Argmax(), samples=10, estimator="score", sampler="iid", seed=0)
    if directions == "forward":
        return min(spell(lambda: layer(theta)) for _ in range(10))
    return min(spell(lambda: layer.vjp(theta)[1](g)) for _ in range(10))


def measure(quick: bool) -> list[dict[str, Any]]:
    repeats = 3 if quick else 8
    found = [
        ("call on a 10-vector, M=10, forward", tiny_call("forward") * 1e6, "us", 20),
        ("call on a 10-vector, M=10, forward+vjp", tiny_call("forward+vjp") * 1e6, "us", None),
        ("import, over NumPy's", import_time(repeats) * 1e3, "ms", 30),
        ("peak memory, argmax B64 n10000 M1000, forward+vjp", _in_new_process(MEMORY) / 1e6, "MB", 300),
    ]
    return [
        {"name": name, "value": value, "unit": unit, "below": below, "met": None if below is None else value < below}
        for name, value, unit, below in found
    ]
