"""The core from a plain C program: it checks itself, and gives the bits of the Python layer."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import perturbed as pt
from perturbed import _core

ROOT = Path(__file__).resolve().parents[1]
THETA = np.array([[0.5, 1.5, -0.25, 1.0], [-1.0, 0.125, 2.0, 0.0]])

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program, built from the core's sources for one instruction set."""
    target = tmp_path_factory.mktemp("c") / "c_program"
    sources = [
        path for path in sorted((ROOT / "csrc").glob("*.c")) if path.name not in ("core_avx2.c", "core_avx512.c")
    ]
    assert len(sources) >= 5
    flags = ["-std=c11", "-O1", "-ffp-contract=off", f"-I{ROOT / 'csrc'}"]
    command = ["cc", *flags, ROOT / "tests" / "c_program.c", *sources, "-o", target, "-lm", "-pthread"]
    build = subprocess.run(command, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stderr
    return target


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_program(program, seed):
    key = _core.key(seed, 0, 0)
    env = {name: value for name, value in os.environ.items() if name != "PERTURBED_CPU"}  # it has the baseline alone
    run = subprocess.run([program, str(key)], capture_output=True, text=True, timeout=60, check=False, env=env)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    y, grad = np.array([[float.fromhex(x) for x in line.split()] for line in run.stdout.splitlines()]).T
    layer = pt.Perturbed(pt.Ranking(), epsilon=[0.5, 1.0], samples=100, estimator="score")
    expected, pullback = layer.vjp(THETA, seed=seed)
    np.testing.assert_array_equal(y.reshape(2, 4), expected)
    np.testing.assert_array_equal(grad.reshape(2, 4), pullback(THETA))


def test_header_stands_alone(tmp_path):
    """perturbed.h includes what it needs, may be included twice, and names nothing of Python."""
    text = (ROOT / "csrc" / "perturbed.h").read_text()
    assert "Py" not in text
    command = ["cc", "-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}", "-fsyntax-only"]
    alone = tmp_path / "alone.c"
    alone.write_text('#include "perturbed.h"\n#include "perturbed.h"\n')
    for source in (alone, ROOT / "tests" / "c_program.c"):
        build = subprocess.run([*command, source], capture_output=True, text=True, check=False)
        assert build.returncode == 0, build.stderr
