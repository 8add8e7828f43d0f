"""The same seed, the same bits: for any thread count, split of the batch, memory limit, instruction set, compiler,
and floating-point mode that another library has left behind."""

import ctypes
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from contract import everything
from hypothesis import given, settings
from hypothesis import strategies as st

import perturbed as pt

DATA = Path(__file__).parent / "data"
sys.path.insert(0, str(DATA))

import make_golden  # noqa: E402

GOLDEN = json.loads(make_golden.GOLDEN.read_text())
X86 = platform.machine() in ("x86_64", "AMD64")


def differing(got):
    return sorted(name for name in GOLDEN.keys() | got.keys() if GOLDEN.get(name) != got.get(name))


def test_golden_digests():
    assert differing(make_golden.digests()) == []


def test_golden_digests_are_all_different():
    """A digest of nothing would pass everywhere."""
    assert len(GOLDEN) > 200
    assert len(set(GOLDEN.values())) == len(GOLDEN)


def has_isa(name, run_python):
    """Whether this processor and build have it, as the library says."""
    code = """
    try:
        import perturbed as pt
        print(pt.get_config()["isa"])
    except ImportError as error:
        print(error)
    """
    return run_python(code, PERTURBED_CPU=name).strip()


@pytest.mark.skipif(not X86, reason="one instruction set on this machine")
@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_instruction_sets(isa, run_python):
    answer = has_isa(isa, run_python)
    if answer != isa:
        flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        assert {"avx2": "avx2", "avx512": "avx512bw"}.get(isa, " ") not in flags, answer
        pytest.skip(f"this processor has no {isa}: {answer}")
    code = f"""
    import sys
    sys.path.insert(0, {str(DATA)!r})
    import json, make_golden, perturbed as pt
    assert pt.get_config()["isa"] == {isa!r}
    print(json.dumps(make_golden.digests()))
    """
    assert differing(json.loads(run_python(code, PERTURBED_CPU=isa))) == []


def test_unknown_instruction_set(run_python):
    answer = has_isa("sse9", run_python)
    assert answer.startswith("PERTURBED_CPU must be baseline, avx2 or avx512")


@pytest.mark.parametrize("threads", [3])
def test_other_thread_counts(threads, run_python):
    code = f"""
    import sys
    sys.path.insert(0, {str(DATA)!r})
    import json, make_golden, perturbed as pt
    assert pt.get_num_threads() == {threads}
    print(json.dumps(make_golden.digests()))
    """
    assert differing(json.loads(run_python(code, PERTURBED_NUM_THREADS=threads))) == []


def test_small_memory_limit(memory_limit):
    memory_limit(1)
    assert differing(make_golden.digests()) == []


# ---- large enough for threads ----

LINKS = [(i, i + k) for i in range(149) for k in (1, 5, 7) if i + k < 150]
LARGE = {
    "argmax": (pt.Argmax(), (3000,), 300),
    "top_k": (pt.TopK(7), (60,), 1500),
    "top_k long": (pt.TopK(20), (500,), 300),
    "ranking": (pt.Ranking(), (40,), 1500),
    "ranking long": (pt.Ranking(), (300,), 300),
    "grid_path": (pt.GridPath(), (12, 12), 500),
    "graph_path": (pt.GraphPath(LINKS, 0, 149), (437,), 100),
    "graph_path cyclic": (pt.GraphPath(LINKS, 0, 149, directed=False), (437,), 200),
    "dtw": (pt.DTW(), (12, 40), 200),
    "viterbi": (pt.Viterbi(np.eye(13)), (12, 13), 500),
    "viterbi edges": (pt.Viterbi(), (6, 9, 9), 200),
    "assignment": (pt.Assignment(), (8, 9), 500),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LARGE)
def test_threads_and_memory_together(name, dtype, memory_limit):
    """Work that is cut in every way: few rows with parts of draws, many rows, waves."""
    solver, item, samples = LARGE[name]
    rng = np.random.default_rng(0)
    layer = pt.Perturbed(solver, samples=samples, estimator="score", noise="gumbel")
    for rows in (1, 5):
        theta = rng.normal(size=(rows, *item)).astype(dtype)
        g, y = (rng.normal(size=theta.shape).astype(dtype) for _ in range(2))
        y = solver(y)
        found = set()
        for threads, limit in ((1, 2**28), (2, 2**28), (5, 2**28), (2, 2**17), (3, 2**12)):
            memory_limit(limit)
            with pt.threads(threads):
                est = layer.estimate(theta, seed=3)
                arrays = [est.y, est.value, est.value_stderr, est.vjp(g), est.vjp_stderr(g), est.y_stderr, est.clipped]
                arrays += [est.jvp(g), est.value_epsilon, est.vjp_epsilon(g)]
                arrays += pt.FenchelYoungLoss(layer, "none").value_and_grad(theta, y, seed=3)
            found.add(make_golden.digest(arrays))
        assert len(found) == 1, rows


# ---- splits ----


@settings(max_examples=25)
@given(st.data())
def test_any_split_of_the_batch(data):
    name = data.draw(st.sampled_from(list(make_golden.SOLVERS)))
    solver, item = make_golden.SOLVERS[name]
    dtype = data.draw(st.sampled_from(make_golden.DTYPES))
    rows, samples = data.draw(st.integers(2, 12)), 2 * data.draw(st.integers(1, 20))
    noise = data.draw(st.sampled_from([n for n in make_golden.NOISES.values() if n._has_score]))
    sampler = data.draw(st.sampled_from(make_golden.SAMPLERS if noise._mirrors else ("iid",)))
    cuts = sorted(data.draw(st.sets(st.integers(1, rows - 1), max_size=4)))
    first = data.draw(st.sampled_from([0, 1, 2**31, 2**40]))
    theta = make_golden.items(solver, (rows, *item), dtype, 1)
    g = make_golden.numbers(solver(theta).shape, dtype, 2)
    t = make_golden.items(solver, theta.shape, dtype, 3)
    y = solver._of_value()(t) if solver._linear else None
    layer = pt.Perturbed(solver, noise=noise, sampler=sampler, samples=samples, epsilon=0.5, estimator="score")
    whole = everything(layer, theta, g, t, y, seed=9, row_offset=first)
    for a, b in zip([0, *cuts], [*cuts, rows], strict=True):
        part = slice(a, b)
        own = None if y is None else y[part]
        for key, value in everything(layer, theta[part], g[part], t[part], own, seed=9, row_offset=first + a).items():
            assert value.tobytes() == whole[key][part].tobytes(), (key, a, b)


def test_row_offset_is_a_64_bit_address():
    layer = pt.Perturbed(pt.Ranking(), samples=4, estimator="score")
    theta = np.zeros(20)
    seen = {layer(theta, seed=1, row_offset=o).tobytes() for o in (0, 1, 2**31, 2**32, 2**32 + 1, 2**61)}
    assert len(seen) == 6


# ---- floating-point modes ----

FLUSH = 0x8040  # flush results to zero, take denormal operands as zero
TOWARDS_ZERO = 0x6000

CONTROL = """
#include <xmmintrin.h>
void set_mode(unsigned bits) { _mm_setcsr((_mm_getcsr() & ~0xFFC0u) | 0x1F80u | bits); }
unsigned get_mode(void) { return _mm_getcsr() & 0xE040u; }
"""


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """A library that sets the floating-point mode of the calling thread."""
    if not X86:
        pytest.skip("the control register is x86's")
    folder = tmp_path_factory.mktemp("control")
    (folder / "control.c").write_text(CONTROL)
    target = folder / "control.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", target, folder / "control.c"], check=True)
    return target


MODES = """
import ctypes, sys
sys.path.insert(0, {data!r})
import numpy as np, perturbed as pt, make_golden
control = ctypes.CDLL({library!r})
control.get_mode.restype = ctypes.c_uint

def tiny(dtype):
    # scores and noise far below the smallest normal number: no epsilon makes such noise, and it is made beforehand, as
    # numpy would flush it
    unit = 2.0 ** (-140 if dtype == np.float32 else -1060)
    for name, (solver, item) in make_golden.SOLVERS.items():
        theta = (make_golden.items(solver, (3, *item), np.float64, 1) * unit).astype(dtype)
        draws = (np.random.default_rng(0).standard_normal(997) * unit).astype(dtype)
        noise = pt.Noise(lambda rng, shape, draws=draws: np.resize(draws, shape))
        layer = pt.Perturbed(solver, noise=noise, samples=70, estimator="score")
        yield name, solver, layer, theta

def bits(mode):
    found = []
    for dtype in make_golden.DTYPES:
        for name, solver, layer, theta in tiny(dtype):
            control.set_mode(mode)
            arrays = [solver(theta), layer(theta, seed=1), layer.sample(theta, 5, seed=1)]
            if solver._linear:
                arrays.append(layer.value(theta, seed=1))
            left = control.get_mode()
            control.set_mode(0)
            assert left == mode & 0xE040, (name, hex(left))
            found += [(name, np.dtype(dtype).name, i, make_golden.digest([a])) for i, a in enumerate(arrays)]
    return found

def golden(mode):
    found = {{}}
    for name, compute in make_golden.cases():
        if ", iid, " in name and ("normal" in name or "gumbel" in name):
            control.set_mode(mode)
            try:
                value = compute()
            finally:
                control.set_mode(0)
            found[name] = value
    return found
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_flush_to_zero(control, run_python, threads):
    """Set before the first call, so that worker threads inherit it too."""
    code = MODES.format(data=str(DATA), library=str(control))
    code += f"""
flushed = bits({FLUSH})
plain = bits(0)
print([a[:3] for a, b in zip(flushed, plain) if a != b])
assert len(set(plain)) > 40
"""
    assert run_python(code, PERTURBED_NUM_THREADS=threads).strip() == "[]"


def test_flush_to_zero_and_golden(control, run_python):
    code = MODES.format(data=str(DATA), library=str(control))
    code += f"""
import json
print(json.dumps(golden({FLUSH})))
"""
    got = json.loads(run_python(code, PERTURBED_NUM_THREADS=2))
    assert len(got) > 40
    assert [name for name, value in got.items() if GOLDEN[name] != value] == []


def test_rounding_mode(control, run_python):
    """NumPy's own steps would round otherwise too, so solutions alone are compared."""
    code = MODES.format(data=str(DATA), library=str(control))
    code += f"""
def rounded(mode):
    for dtype in make_golden.DTYPES:
        for name, (solver, item) in make_golden.SOLVERS.items():
            theta = make_golden.items(solver, (3, *item), dtype, 1)
            layer = pt.Perturbed(solver, samples=70, estimator="score")
            control.set_mode(mode)
            y = layer(theta, seed=1)
            draws = layer.sample(theta, 5, seed=1)
            left = control.get_mode()
            control.set_mode(0)
            assert left == mode
            yield name, make_golden.digest([y, draws])
print(list(rounded({TOWARDS_ZERO})) == list(rounded(0)))
"""
    assert run_python(code, PERTURBED_NUM_THREADS=2).strip() == "True"


def test_the_control_library_does_something(control):
    """Otherwise the tests above could not fail."""
    library = ctypes.CDLL(str(control))
    library.get_mode.restype = ctypes.c_uint
    x = np.full(4, 2.0**-1030)
    try:
        library.set_mode(FLUSH)
        assert library.get_mode() == FLUSH & 0xE040
        flushed = x * 0.5
        library.set_mode(0)
        kept = x * 0.5
    finally:
        library.set_mode(0)
    assert (flushed == 0).all()
    assert (kept == 2.0**-1031).all()
