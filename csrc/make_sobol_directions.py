"""Writes sobol_directions.h: direction numbers of the first dimensions, from the table that SciPy carries.

    python csrc/make_sobol_directions.py > csrc/sobol_directions.h

Joe & Kuo 2008, "Constructing Sobol sequences with better two-dimensional projections" (new-joe-kuo-6): a primitive
polynomial and initial numbers m_1 .. m_s for each dimension; v_k = m_k 2^(32 - k), then
v_k = a_1 v_{k-1} ^ ... ^ a_{s-1} v_{k-s+1} ^ v_{k-s} ^ (v_{k-s} >> s).
"""

from pathlib import Path

import numpy as np
import scipy.stats

DIMENSIONS, BITS = 64, 32


def directions(poly, initial):
    s = int(poly).bit_length() - 1
    v = [int(m) << (BITS - 1 - k) for k, m in enumerate(initial[:s])]
    for k in range(s, BITS):
        new = v[k - s] ^ (v[k - s] >> s)
        for i in range(1, s):
            if poly >> (s - i) & 1:
                new ^= v[k - i]
        v.append(new)
    return v


def main():
    table = np.load(Path(scipy.stats.__file__).parent / "_sobol_direction_numbers.npz")
    rows = [[1 << (BITS - 1 - k) for k in range(BITS)]]  # van der Corput
    rows += [directions(table["poly"][d], table["vinit"][d]) for d in range(1, DIMENSIONS)]
    print("/* sobol_directions: v[d][k] = direction number k of dimension d; written by make_sobol_directions.py. */")
    print("#ifndef PT_SOBOL_DIRECTIONS_H\n#define PT_SOBOL_DIRECTIONS_H\n\n#include <stdint.h>\n")
    print(f"#define PT_SOBOL_DIMENSIONS {DIMENSIONS}\n")
    print("/* clang-format off */")
    print(f"static const uint32_t pt_sobol_directions[PT_SOBOL_DIMENSIONS][{BITS}] = {{")
    for row in rows:
        print("    {" + ",".join(f"0x{x:08x}" for x in row) + "},")
    print("};\n/* clang-format on */\n\n#endif")


if __name__ == "__main__":
    main()
