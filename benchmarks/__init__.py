"""Benchmarks: perturbed and its peers side by side in one process. Run as `python -m benchmarks`.

Each peer gets the same threads and the settings that suit it best: compiled and warmed up, float32, in chunks that stay
in cache. Times are minima over interleaved runs, so that a machine that slows down slows all. A new case is one file in
cases/ and its name in cases/__init__.py; a new peer is one file in peers/.
"""
