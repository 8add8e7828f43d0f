"""Threads for everybody, and what the figures were measured on."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "numba", "torch", "jax", "jaxlib", "jaxopt", "optax", "rustworkx")
VARIABLES = ("OMP", "OPENBLAS", "MKL", "NUMBA", "PERTURBED")


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(threads: int) -> None:
    """Before anything is imported: as many cores and threads as asked for, for us and for the peers."""
    for name in VARIABLES:
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity") and threads < usable_cores():
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe(threads: int) -> dict[str, Any]:
    import perturbed as pt

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": usable_cores(),
        "threads": threads,
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "PERTURBED_CPU": os.environ.get("PERTURBED_CPU"),
        "perturbed": {key: value for key, value in pt.get_config().items() if isinstance(value, str | int | bool)},
        "packages": versions,
    }
