"""Build of the C core. What each object is compiled with stands here and nowhere else.

Environment: CC picks the compiler (gcc or clang), and
  PERTURBED_WERROR=1           warnings are errors
  PERTURBED_NO_OPENMP=1        a serial core, even where OpenMP is found
  PERTURBED_SANITIZE=LIST      a debug build under these sanitizers, such as address,undefined
"""

import copy
import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError
from setuptools.modified import newer_group

WERROR = os.environ.get("PERTURBED_WERROR") == "1"
NO_OPENMP = os.environ.get("PERTURBED_NO_OPENMP") == "1"
SANITIZE = os.environ.get("PERTURBED_SANITIZE", "")

# CPython hands down -fwrapv and -DNDEBUG: the first hides overflows from UBSan, the second the assertions.
SANITIZED = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-g", "-O1", "-fno-omit-frame-pointer"]
SANITIZED += ["-fno-wrapv", "-UNDEBUG"]

# No flag here may let the result depend on the compiler, the builder's machine or the instruction set.
FLAGS = ["-std=c11", *(SANITIZED if SANITIZE else ["-O3"]), "-ffp-contract=off", "-fno-math-errno"]
FLAGS += ["-fno-trapping-math", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wconversion", "-Wshadow"]
FLAGS += ["-Werror"] if WERROR else []

AVX2 = ["-mavx2", "-mbmi", "-mbmi2", "-mpopcnt"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512cd", "-mprefer-vector-width=512"]

OPENMP = [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])]  # the second: Apple's clang

HEADERS = sorted(glob("csrc/**/*.h", recursive=True))
BINDING = sorted(glob("csrc/python/*.c"))
PLAIN = sorted(set(glob("csrc/*.c")) - set(glob("csrc/core_*.c")))
NUMPY_MACROS = [("NPY_NO_DEPRECATED_API", "NPY_1_23_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_1_23_API_VERSION")]

ISA_PROBE = """
#include <immintrin.h>
#if !defined(__x86_64__) || !defined(%s)
#error "another machine, or the flag does nothing"
#endif
int main(void) { return 0; }
"""
OPENMP_PROBE = """
#include <omp.h>
int main(void) {
    int n = 0;
#pragma omp parallel for reduction(+ : n)
    for (int i = 0; i < 8; i++) n += omp_get_thread_num() >= 0;
    return n != 8;
}
"""


class BuildCore(build_ext):
    """Compiles each source with its own flags; an object is kept while source, headers and flags are the same."""

    def build_extension(self, ext):
        if self.compiler.compiler_type == "msvc":
            raise PlatformError("perturbed needs gcc or clang: the flags that keep results the same are theirs")
        openmp, openmp_link = self.find_openmp()
        isas = [(name, flags) for name, flags in (("AVX2", AVX2), ("AVX512", AVX512)) if self.has_isa(name, flags)]
        self.announce(f"OpenMP: {'yes' if openmp_link else 'no'}, objects: base {[name for name, _ in isas]}", level=2)

        own = {source: ([], []) for source in [*PLAIN, "csrc/core_base.c"]}  # source -> (flags, macros)
        own["csrc/threads.c"] = (openmp, [])
        own["csrc/cpu.c"] = ([], [(f"PT_HAVE_{name}", "1") for name, _ in isas])
        own |= {f"csrc/core_{name.lower()}.c": (flags, []) for name, flags in isas}
        numpy_headers = ["-isystem", numpy.get_include()]  # their warnings are not ours
        own |= {source: (numpy_headers, [*ext.define_macros, *NUMPY_MACROS]) for source in BINDING}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(self.compile_one, own, *zip(*own.values(), strict=True)))

        linked = copy.copy(ext)
        linked.sources, linked.extra_objects = [], objects
        linked.extra_link_args = [*openmp_link, *([f"-fsanitize={SANITIZE}"] if SANITIZE else [])]
        self.force = True  # a module in place may come from other flags
        super().build_extension(linked)

    def compile_one(self, source, flags, macros):
        (target,) = self.compiler.object_filenames([source], output_dir=self.build_temp)
        stamp = Path(f"{target}.flags")
        command = json.dumps([self.compiler.compiler_so, FLAGS, flags, macros])
        fresh = stamp.exists() and stamp.read_text() == command and not newer_group([source, *HEADERS], target)
        if self.force or not fresh:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.unlink(missing_ok=True)
            self.compiler.compile([source], self.build_temp, macros, ["csrc"], extra_postargs=[*FLAGS, *flags])
            stamp.write_text(command)
        return target

    def find_openmp(self):
        """Flags to compile and to link with, both empty where a program with OpenMP cannot be built."""
        if not NO_OPENMP:
            for flags, link in OPENMP:
                if self.builds(OPENMP_PROBE, flags, link):
                    return flags, link
        return [], []

    def has_isa(self, name, flags):
        return self.builds(ISA_PROBE % {"AVX2": "__AVX2__", "AVX512": "__AVX512BW__"}[name], flags, [])

    def builds(self, text, flags, link):
        """Whether this program compiles and links."""
        with tempfile.TemporaryDirectory() as folder:
            source, target, program = (os.path.join(folder, name) for name in ("probe.c", "probe.o", "probe"))
            Path(source).write_text(text)
            compile_command = [*self.compiler.compiler_so, *flags, "-c", source, "-o", target]
            link_command = [*self.compiler.linker_exe, target, *link, "-o", program]
            return all(
                subprocess.run(command, capture_output=True).returncode == 0
                for command in (compile_command, link_command)
            )


setup(
    ext_modules=[
        Extension(
            "perturbed._core",
            sources=[*PLAIN, *sorted(glob("csrc/core_*.c")), *BINDING],
            depends=HEADERS,
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildCore},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
