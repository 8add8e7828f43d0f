/* sort_places: whole numbers into ascending order, in place. Shell 1959 with the gaps of Ciura 2001: short lists, and what
 * is nearly in order, are done at once. */
#ifndef PT_SORT_PLACES_H
#define PT_SORT_PLACES_H

#include <stdint.h>

static inline void pt_sort_places(int32_t *x, int64_t n) {
    static const int64_t gaps[] = { 300000, 130000, 58000, 25000, 11000, 4700, 2000, 900,
                                    701,    301,    132,   57,    23,    10,   4,    1 };
    for (unsigned k = 0; k < sizeof gaps / sizeof *gaps; k++)
        for (int64_t i = gaps[k]; i < n; i++) {
            const int32_t own = x[i];
            int64_t at = i;
            for (; at >= gaps[k] && x[at - gaps[k]] > own; at -= gaps[k])
                x[at] = x[at - gaps[k]];
            x[at] = own;
        }
}

#endif
