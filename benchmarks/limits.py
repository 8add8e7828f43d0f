"""What the machine allows: words of the counter generator, and bytes to and from memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

CSRC = Path(__file__).resolve().parent.parent / "csrc"
FLAGS = {
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
    "avx2": ["-mavx2"],
}
PROGRAM = """
#define _POSIX_C_SOURCE 199309L
#include "rng.h"
#include <stdio.h>
#include <time.h>
int main(void) {
    static pt_counters counters;
    static pt_words words;
    double best = 1e9;
    uint32_t all = 0;
    for (int run = 0; run < 20; run++) {
        struct timespec start, stop;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint32_t i = 0; i < 40000; i++) {
            for (uint32_t l = 0; l < PT_CHUNK; l++)
                counters.word[0][l] = i * PT_CHUNK + l;
            pt_philox_chunk(&counters, 12345u + (uint64_t)run, PT_CHUNK, &words);
            all ^= words.word[run & 3][i & (PT_CHUNK - 1)];
        }
        clock_gettime(CLOCK_MONOTONIC, &stop);
        double ns = 1e9 * (double)(stop.tv_sec - start.tv_sec) + (double)(stop.tv_nsec - start.tv_nsec);
        ns /= 40000. * PT_CHUNK * 4;
        best = ns < best ? ns : best;
    }
    printf("%.6f %u\\n", best, all);
    return 0;
}
"""


def counter_ns_per_word(isa: str, threads: int) -> float | None:
    """Time of one 32-bit Philox word, all threads at work together; None without a compiler or the sources."""
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None or not (CSRC / "rng.h").exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "counter.c"), Path(folder, "counter")
        source.write_text(PROGRAM)
        command = [compiler, "-std=c11", "-O3", *FLAGS.get(isa, []), f"-I{CSRC}", str(source), "-o", str(program)]
        if subprocess.run(command, capture_output=True).returncode:
            return None
        running = [subprocess.Popen([program], stdout=subprocess.PIPE, text=True) for _ in range(threads)]
        times = [float(process.communicate()[0].split()[0]) for process in running]
    return 1 / sum(1 / t for t in times)


def copy_bytes_per_second(threads: int, runs: int) -> float:
    """Bytes read and written by a copy between arrays that no cache below the last level holds."""
    source = np.ones((threads, 2**26 // threads), np.float32)
    target = np.zeros_like(source)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(runs):
            start = perf_counter()
            list(pool.map(np.copyto, target, source))
            best = min(best, perf_counter() - start)
    return 2 * source.nbytes / best


def measure(isa: str, threads: int, quick: bool) -> dict[str, Any]:
    return {
        "counter_ns_per_word": counter_ns_per_word(isa, threads),
        "copy_bytes_per_second": copy_bytes_per_second(threads, 3 if quick else 10),
    }
