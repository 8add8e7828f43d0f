"""What all tests share: a repeatable hypothesis profile, and Python in a process of its own."""

import os
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, settings

import perturbed as pt

# A contract's properties run once for each class that inherits them: that is meant.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=40,
    database=None,
    suppress_health_check=[HealthCheck.differing_executors],
)
settings.load_profile("repeatable")


@pytest.fixture
def run_python():
    """Run code in a new interpreter with these environment variables (None: unset); gives what it prints."""

    def run(code, timeout=120, **environment):
        env = {**os.environ, **{name: str(value) for name, value in environment.items() if value is not None}}
        for name in [name for name, value in environment.items() if value is None]:
            env.pop(name, None)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def memory_limit():
    """Set the memory limit in a test; put back afterwards."""
    before = pt.get_memory_limit()
    yield pt.set_memory_limit
    pt.set_memory_limit(before)
