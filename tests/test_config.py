"""Threads, environment, memory, forks, signals, imports, and promises about the source that a grep can keep."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import perturbed as pt
from perturbed import _core

ROOT = Path(__file__).resolve().parents[1]
THETA = np.random.default_rng(41).standard_normal((40, 30))

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux alone offers")


def compute(seed=1):
    """One call with its pullback: bytes to compare."""
    y, pullback = pt.Perturbed(pt.TopK(3), samples=200).vjp(THETA, seed=seed)
    return y.tobytes() + pullback(THETA).tobytes()


def python(code, timeout=60, *, check=True, **environment):
    """Run code in a fresh interpreter, which sees the environment with these changes (None: unset)."""
    env = {name: value for name, value in (os.environ | environment).items() if value is not None}
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd="/", capture_output=True, text=True, timeout=timeout, check=False
    )
    assert not check or run.returncode == 0, run.stderr
    return run


# ---- threads ----


def test_threads_nest_and_give_back():
    before = pt.get_num_threads()
    with pt.threads(3):
        assert pt.get_num_threads() == 3
        with pt.threads(1):
            assert pt.get_num_threads() == 1
        assert pt.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), pt.threads(2):
            1 / 0  # noqa: B018
        assert pt.get_num_threads() == 3
    assert pt.get_num_threads() == before


def test_threads_hold_for_one_thread_only():
    seen = []
    with pt.threads(7):
        other = threading.Thread(target=lambda: seen.append(pt.get_num_threads()))
        other.start()
        other.join()
    assert seen == [pt.get_num_threads()]
    assert seen != [7]


def test_set_num_threads():
    code = """
import perturbed as pt
pt.set_num_threads(3)
assert pt.get_num_threads() == 3
with pt.threads(2):
    pt.set_num_threads(5)
    assert pt.get_num_threads() == 2
assert pt.get_num_threads() == 5 == pt.get_config()["threads"]
"""
    python(code, PERTURBED_NUM_THREADS="9")


@pytest.mark.parametrize(
    ("own", "openmp", "expected"),
    [
        ("3", "5", 3),
        (None, "5", 5),
        (None, "4,2", 4),
        ("", "6", 6),
        ("2", None, 2),
        (None, None, None),
        ("5000", "5", 4096),
        ("9" * 20, "5", 4096),
        (None, "9" * 20, 4096),
    ],
)
def test_environment(own, openmp, expected):
    code = "import perturbed as pt; print(pt.get_num_threads())"
    got = int(python(code, PERTURBED_NUM_THREADS=own, OMP_NUM_THREADS=openmp).stdout)
    assert got == (_core.config()["cores"] if expected is None else expected)


@pytest.mark.parametrize("name", ["PERTURBED_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "²"])
def test_bad_environment(name, text):
    code = "import perturbed as pt; pt.Perturbed(pt.Argmax())([1., 2.])"
    unset = {"PERTURBED_NUM_THREADS": None, "OMP_NUM_THREADS": None} | {name: text}
    run = python(code, check=False, **unset)
    assert f"ValueError: {name} must be a positive integer, got {text!r}" in run.stderr


@linux
def test_affinity_is_respected():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import perturbed as pt; print(pt.get_num_threads())"
    )
    assert python(code, PERTURBED_NUM_THREADS=None, OMP_NUM_THREADS=None).stdout.strip() == "1"


@pytest.mark.parametrize("call", [pt.set_num_threads, lambda n: pt.threads(n).__enter__()])
def test_refused_thread_counts(call):
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"n must be positive, got {bad}"):
            call(bad)
    for bad in (1.0, "2", None, True):
        with pytest.raises(TypeError, match="n must be an integer, got"):
            call(bad)


def test_thread_pool_gives_the_same_bits():
    expected = [compute(seed) for seed in range(4)]
    for n in (1, 2, 5):
        with ThreadPoolExecutor(8) as pool, pt.threads(n):
            assert list(pool.map(compute, list(range(4)) * 4)) == expected * 4


# ---- configuration ----


def test_get_config():
    config = pt.get_config()
    assert list(config) == ["version", "compiler", "isa", "openmp", "threads", "memory_limit", "numpy"]
    assert config["version"] == pt.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", pt.__version__)
    assert config["isa"] in ("baseline", "avx2", "avx512")
    assert re.match(r"(gcc|clang) \d", config["compiler"])
    assert isinstance(config["openmp"], bool)
    assert config["threads"] == pt.get_num_threads()
    assert config["memory_limit"] == pt.get_memory_limit()
    assert config["numpy"] == np.__version__


def test_show_config(capsys):
    pt.show_config()
    lines = dict(line.strip().split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["isa"] == pt.get_config()["isa"]
    assert lines["threads"] == str(pt.get_num_threads())
    assert list(lines) == list(pt.get_config())


def test_show_config_tells_of_a_serial_build(capsys, monkeypatch):
    serial = {**_core.config(), "openmp": False}
    monkeypatch.setattr("perturbed._config._core.config", lambda: serial)
    pt.show_config()
    assert "openmp: False (this build is serial: no OpenMP)" in capsys.readouterr().out


def test_memory_limit():
    before = pt.get_memory_limit()
    assert python("import perturbed as pt; print(pt.get_memory_limit())").stdout.strip() == str(256 * 2**20)
    try:
        pt.set_memory_limit(12345)
        assert pt.get_memory_limit() == 12345 == pt.get_config()["memory_limit"]
        for bad in (0, -5):
            with pytest.raises(ValueError, match=f"n_bytes must be positive, got {bad}"):
                pt.set_memory_limit(bad)
        with pytest.raises(TypeError, match="n_bytes must be an integer, got float"):
            pt.set_memory_limit(1e6)
        assert pt.get_memory_limit() == 12345
    finally:
        pt.set_memory_limit(before)


# the kernel's own peak: ru_maxrss of a child starts with what its parent held
PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
"""


@linux
@pytest.mark.slow_under_sanitizer
def test_peak_memory():
    """argmax B64 n10000 M1000 with its VJP stays under 300 MB, theta and gradient included."""
    code = f"""{PEAK}
import numpy as np, perturbed as pt
theta = np.random.default_rng(0).standard_normal((64, 10_000), dtype=np.float32)
y, pullback = pt.Perturbed(pt.Argmax(), samples=1000, estimator="score").vjp(theta, seed=0)
g = pullback(theta)
print(peak(), abs(g).max())
"""
    peak, largest = map(float, python(code, timeout=100).stdout.split())
    assert peak < 300
    assert largest > 0


@linux
def test_memory_does_not_grow_with_samples():
    """Above the limit codes are not kept: Ranking, whose codes are n a draw."""
    code = """
import numpy as np, perturbed as pt
pt.set_memory_limit(4 * 2**20)
theta = np.random.default_rng(0).standard_normal((2, 200), dtype=np.float32)
y, pullback = pt.Perturbed(pt.Ranking(), samples=SAMPLES).vjp(theta, seed=0)
pullback(theta)
print(peak())
"""
    few, many = (float(python(PEAK + code.replace("SAMPLES", str(m))).stdout) for m in (100, 60_000))
    assert many - few < 30  # 96 MB of codes


# ---- instruction sets ----


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx-512"])
def test_unknown_cpu(name):
    run = python("import perturbed", check=False, PERTURBED_CPU=name)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last == "ImportError: PERTURBED_CPU must be baseline, avx2 or avx512, and this build must have it"


def test_cpu_is_followed():
    code = "import perturbed as pt; print(pt.get_config()['isa'])"
    assert python(code, PERTURBED_CPU="baseline").stdout.strip() == "baseline"
    assert python(code, PERTURBED_CPU="").stdout.strip() == python(code, PERTURBED_CPU=None).stdout.strip()
    for name in ("avx2", "avx512"):
        run = python(code, check=False, PERTURBED_CPU=name)
        lacks = "ImportError: PERTURBED_CPU asks for an instruction set that this processor lacks" in run.stderr
        none = "and this build must have it" in run.stderr
        assert run.stdout.strip() == name or lacks or none, run.stderr


# ---- processes ----


def child_result(reader, pid, timeout=30):
    """What a forked child wrote, or a failure when it hangs."""
    end = time.monotonic() + timeout
    data = b""
    os.set_blocking(reader, False)
    while time.monotonic() < end:
        try:
            chunk = os.read(reader, 1 << 20)
        except BlockingIOError:
            time.sleep(0.01)
            continue
        if not chunk:
            os.waitpid(pid, 0)
            return data
        data += chunk
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail("the child hangs")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_after_use():
    """GNU's OpenMP hangs in a child forked after its parent used it; the child runs serially instead."""
    with pt.threads(4):
        expected = compute()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                with os.fdopen(writer, "wb") as out:
                    out.write(compute())
            finally:
                os._exit(0)
        os.close(writer)
        got = child_result(reader, pid)
        os.close(reader)
    assert got == expected
    assert compute() == expected  # and the parent goes on


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method, tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(
        """
import sys
from multiprocessing import get_context
import numpy as np
import perturbed as pt

def work(item):
    layer, theta, row = item
    y, pullback = layer.vjp(theta, seed=3, row_offset=row)
    return y.tobytes() + pullback(theta).tobytes()

if __name__ == "__main__":
    theta = np.random.default_rng(0).standard_normal((4, 10, 20))
    layer = pt.Perturbed(pt.Ranking(), samples=100)
    items = [(layer, theta[i], 10 * i) for i in range(4)]
    with pt.threads(4):
        here = [work(item) for item in items]
        with get_context(sys.argv[1]).Pool(2) as pool:
            there = pool.map_async(work, items).get(60)
    assert here == there
    print("same")
"""
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script, method],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert run.stdout.strip() == "same", run.stderr
    assert method in get_context(method).get_start_method()


GRID = "-np.random.default_rng(0).uniform(0, 1, (4, 1500, 1500))"
LONG_CALLS = {
    "rows": "pt.Perturbed(pt.Ranking(), estimator='score', samples=10**7)(np.zeros((100, 300)))",
    "pullback": "pt.Perturbed(pt.Argmax(), samples=10**8, estimator='score').jacobian(np.zeros(2000))",
    "one solve": "pt.GridPath()(costs)",
    "oracle": "pt.Perturbed(pt.Oracle(np.sign, linear=False), samples=10**8)(np.zeros(3))",
}


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("call", LONG_CALLS)
def test_interrupt(call):
    """Ctrl-C in the middle of a call that would take minutes."""
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
import numpy as np, perturbed as pt
costs = {GRID if call == "one solve" else 0}
print("ready", flush=True)
try:
    {LONG_CALLS[call]}
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(pt.Perturbed(pt.Argmax())(np.zeros(4)).sum())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd="/") as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert out.split()[:1] == ["interrupted"]
    assert float(out.split()[1]) == pytest.approx(1)
    assert process.returncode == 0


# ---- imports ----


def test_import_loads_numpy_alone():
    """What `import perturbed` adds to `import numpy`: its own modules and the standard library."""
    code = """
import sys, json, numpy
before = set(sys.modules)
import perturbed
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""
    loaded = set(json.loads(python(code).stdout))
    assert "perturbed" in loaded
    numpys = {"numpy", "cython_runtime"} | {name for name in loaded if name.startswith("_cython_")}
    assert loaded - {"perturbed"} - numpys <= sys.stdlib_module_names


def test_source_folder_without_a_core(tmp_path):
    """One sentence that says what to do."""
    names = shutil.ignore_patterns("*.so", "*.pyd", "*.dylib", "__pycache__")
    shutil.copytree(ROOT / "perturbed", tmp_path / "perturbed", ignore=names)
    # an editable installation would find the core all the same
    code = f"""
import sys
sys.meta_path[:] = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("__editable__")]
sys.path.insert(0, {str(tmp_path)!r})
import perturbed
"""
    run = python(code, check=False)
    assert run.returncode == 1
    assert run.stderr.strip().splitlines()[-1] == (
        "ImportError: this folder holds the source of perturbed, with no compiled core beside it: "
        "run `pip install -e .` in it, or leave it to import the installed package"
    )
    assert "During handling" not in run.stderr


def test_public_names():
    assert len(set(pt.__all__)) == len(pt.__all__)  # their order is the linter's
    assert not [name for name in pt.__all__ if not hasattr(pt, name)]
    assert {name for name in vars(pt) if name[0].isupper()} <= set(pt.__all__)


# ---- the source ----


def source(pattern):
    files = sorted((ROOT / "csrc").glob(pattern))
    assert files
    return {file.relative_to(ROOT / "csrc").as_posix(): file.read_text() for file in files}


def test_openmp_stays_in_one_file():
    for name, text in source("**/*.[ch]").items():
        found = re.search(r"#\s*include\s*<omp\.h>|#\s*pragma\s+omp|\bomp_\w+\(", text)
        assert bool(found) == (name == "threads.c"), name
        assert "omp_set_num_threads(" not in text, name


def test_python_stays_in_the_binding():
    files = source("**/*.[ch]")
    found = {name for name, text in files.items() if re.search(r"#\s*include\s*[<\"](Python\.h|numpy/)", text)}
    assert found
    assert all(name.startswith("python/") for name in found), found
    used = {name for name, text in files.items() if re.search(r"\bPy[A-Z]\w+\(", text)}
    assert all(name.startswith("python/") for name in used), used


def test_core_keeps_to_its_own_mathematics():
    """No libm but sqrt and friends, no printing, no ends of the process."""
    banned = "|".join(f"{name}f?l?" for name in ("exp", "log", "sin", "cos", "tan", "tanh", "pow", "erf", "erfc"))
    banned += "|log1pf?|expm1f?|[lt]gammaf?|rand|abort|exit|printf"
    for name, text in source("**/*.[ch]").items():
        code = re.sub(r"/\*.*?\*/|\"(\\.|[^\"\\])*\"", "", text, flags=re.S)
        assert not re.search(rf"\b({banned})\s*\(", code), (name, re.search(rf"\b({banned})\s*\(", code))


def test_flags():
    text = (ROOT / "setup.py").read_text()
    for flag in ("-march=native", "-ffast-math", "-Ofast", "-funsafe-math", "-mfma", "-march=", "-mtune=", '-w"'):
        assert flag not in text, flag
    assert "-ffp-contract=off" in text


@pytest.mark.skipif(shutil.which("cc") is None or shutil.which("nm") is None, reason="needs cc and nm")
@pytest.mark.parametrize("isa", ["base", "avx2", "avx512"])
def test_objects_export_one_symbol(isa, tmp_path):
    """Anything more could be linked into code for other processors."""
    text = (ROOT / "setup.py").read_text()
    found = {
        name: re.findall(r"\"(-m[^\"]+)\"", line) for name, line in re.findall(r"^(AVX2|AVX512) = (.*)$", text, re.M)
    }
    flags = {"base": [], "avx2": found["AVX2"], "avx512": found["AVX2"] + found["AVX512"]}[isa]
    target = tmp_path / f"{isa}.o"
    command = ["cc", "-std=c11", "-O1", "-DNDEBUG", "-ffp-contract=off", *flags, f"-I{ROOT / 'csrc'}", "-c"]
    build = subprocess.run(
        [*command, ROOT / "csrc" / f"core_{isa}.c", "-o", target], capture_output=True, text=True, check=False
    )
    if build.returncode and isa != "base":
        pytest.skip("this compiler cannot build for that instruction set")
    assert build.returncode == 0, build.stderr
    names = subprocess.run(["nm", "-g", target], capture_output=True, text=True, check=True).stdout
    defined = [line.split()[-1].lstrip("_") for line in names.splitlines() if " U " not in line and line.strip()]
    assert defined == [f"pt_kernels_{isa}"]
    wanted = {line.split()[-1].lstrip("_") for line in names.splitlines() if " U " in line}
    allowed = {
        "memchr",
        "memcpy",
        "memset",
        "memmove",
        "strcmp",
        "sqrt",
        "sqrtf",
        "GLOBAL_OFFSET_TABLE_",
        "stack_chk_fail",
    }
    assert wanted <= allowed | {name for name in wanted if name.startswith("pt_")}, wanted


@linux
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_the_module_exports_its_start_alone():
    names = subprocess.run(["nm", "-D", "--defined-only", _core.__file__], capture_output=True, text=True, check=True)
    symbols = [line.split()[-1] for line in names.stdout.splitlines()]
    assert [name for name in symbols if not name.startswith("_")] == ["PyInit__core"]


def test_abi3():
    assert ".abi3." in Path(_core.__file__).name
