/* top_tables: who is among the first k, at PT_EXACT_LANES nodes. In double; included once by each ISA's object, by
 * places.h, which has the formulas.
 *
 * With the tables of the items before j and of those after it, P(N_-j <= k - 1) = sum_a before[a] (after[0] + .. +
 * after[k - 1 - a]), and the last entries of S_-j and St_-j are such sums of products too: O(n k) a node of integration,
 * positive terms only. Tables before an item are kept for one chunk of items at a time, and made again from its start. */
#ifndef PT_TOP_TABLES_H
#define PT_TOP_TABLES_H

#include "place_tables.h"

/* Items of a chunk: so that starts of chunks and tables of a chunk are about as many. */
static inline int64_t pt_top_chunk(int64_t n) {
    int64_t chunk = 32;
    while (chunk * chunk < n)
        chunk += 32;
    return chunk;
}

/* Tables with their two special ones, in units of k numbers a lane: starts of chunks, those before an item, the one after. */
static int64_t pt_top_tables(int64_t n) {
    const int64_t chunk = pt_top_chunk(n);
    return 3 * (n / chunk + 1 + chunk + 1 + 1);
}

/* Entry r of a table: its lanes, then those of the special tables where there are any (parts = 3). */
static inline int64_t pt_top_entry(int64_t r, int parts) {
    return r * parts * PT_EXACT_LANES;
}

/* Count item i in: to[r] = below from[r] + above from[r-1], special ones plus their weight x from[r]. `filled` entries of
 * from are not 0, and one more of to (at most rows). May be in place. */
static inline void pt_top_count(const pt_places *p, int64_t i, int64_t filled, int parts,
                                const double *from, double *to) {
    const int64_t last = filled < p->rows ? filled : p->rows - 1;
    for (int64_t c = 0; c < PT_WIDES; c++) {
        const int64_t lane = c * (PT_VECTOR / (int64_t)sizeof(double));
        const int64_t item = i * PT_EXACT_LANES + lane;
        const pt_wide up = pt_load_wide(p->above + item), stay = pt_load_wide(p->below + item);
        const pt_wide f = pt_load_wide(p->density + item), ft = pt_load_wide(p->special + item);
        pt_wide a_was = { 0 }, s_was = { 0 }, t_was = { 0 };
        for (int64_t r = 0; r <= last; r++) {
            const int64_t at = pt_top_entry(r, parts) + lane;
            const pt_wide a = pt_load_wide(from + at);
            pt_store_wide(stay * a + up * a_was, to + at);
            a_was = a;
            if (parts == 1)
                continue;
            const pt_wide s = pt_load_wide(from + at + PT_EXACT_LANES);
            const pt_wide t = pt_load_wide(from + at + 2 * PT_EXACT_LANES);
            pt_store_wide((stay * s + f * a) + up * s_was, to + at + PT_EXACT_LANES);
            pt_store_wide((stay * t + ft * a) + up * t_was, to + at + 2 * PT_EXACT_LANES);
            s_was = s;
            t_was = t;
        }
    }
}

/* Sums over the two tables around an item. total: P(N_-j <= rows - 1); one, both: the last entries of S_-j and St_-j. */
static inline void pt_top_join(const pt_places *p, int parts, const double *before,
                               const double *after, double *total, double *one, double *both) {
    for (int64_t c = 0; c < PT_WIDES; c++) {
        const int64_t lane = c * (PT_VECTOR / (int64_t)sizeof(double));
        pt_wide sum = { 0 }, at_most = { 0 }, s = { 0 }, t = { 0 };
        for (int64_t r = 0; r < p->rows; r++) {
            const double *x = before + pt_top_entry(p->rows - 1 - r, parts) + lane;
            const double *z = after + pt_top_entry(r, parts) + lane;
            const pt_wide a = pt_load_wide(x), b = pt_load_wide(z);
            at_most += b;
            sum += a * at_most;
            if (parts == 1)
                continue;
            s += pt_load_wide(x + PT_EXACT_LANES) * b + a * pt_load_wide(z + PT_EXACT_LANES);
            t +=
                pt_load_wide(x + 2 * PT_EXACT_LANES) * b + a * pt_load_wide(z + 2 * PT_EXACT_LANES);
        }
        pt_store_wide(sum, total + lane);
        pt_store_wide(s, one + lane);
        pt_store_wide(t, both + lane);
    }
}

/* Add item i's part of y, the value and J t (J is symmetric; differences of tables add up to their last entries). */
static inline void pt_top_leaf(pt_places *p, int64_t i, int parts, const double *before,
                               const double *after) {
    const pt_places_want *want = p->want;
    const int64_t j = p->item[i];
    const double *f = p->density + i * PT_EXACT_LANES;
    double total[PT_EXACT_LANES], one[PT_EXACT_LANES], both[PT_EXACT_LANES], term[PT_EXACT_LANES];
    pt_top_join(p, parts, before, after, total, one, both);
    for (int l = 0; l < PT_EXACT_LANES; l++)
        term[l] = p->weight[l] * f[l] * total[l];
    if (want->y)
        want->y[j] += pt_sum_lanes(term);
    if (want->value) {
        for (int l = 0; l < PT_EXACT_LANES; l++)
            term[l] *= p->x[l];
        p->moment += pt_sum_lanes(term);
    }
    if (parts > 1 && p->offset + p->rows == want->k) {
        for (int l = 0; l < PT_EXACT_LANES; l++)
            term[l] = p->weight[l] * f[l] * (want->t[j] * one[l] - both[l]);
        want->jvp[j] += pt_sum_lanes(term);
    }
}

static inline void pt_top_walk(pt_places *p, int parts) {
    const int64_t size = pt_top_entry(p->rows, parts), chunk = pt_top_chunk(p->n);
    const int64_t chunks = (p->n + chunk - 1) / chunk;
    double *starts = p->tables, *before = starts + chunks * size,
           *after = before + (chunk + 1) * size;
    memset(starts, 0, (size_t)size * sizeof(double));
    memset(after, 0, (size_t)size * sizeof(double));
    for (int l = 0; l < PT_EXACT_LANES; l++)
        starts[l] = after[l] = 1;
    for (int64_t c = 0; c + 1 < chunks; c++) {
        double *next = starts + (c + 1) * size;
        memcpy(next, starts + c * size, (size_t)size * sizeof(double));
        for (int64_t i = c * chunk; i < (c + 1) * chunk; i++)
            pt_top_count(p, i, i + 1, parts, next, next);
    }
    memset(before, 0, (size_t)((chunk + 1) * size) * sizeof(double));
    for (int64_t c = chunks - 1; c >= 0; c--) {
        const int64_t first = c * chunk, end = first + chunk < p->n ? first + chunk : p->n;
        memcpy(before, starts + c * size, (size_t)size * sizeof(double));
        for (int64_t i = first; i + 1 < end; i++) /* all of it: a later chunk has filled more */
            pt_top_count(p, i, chunks > 1 ? p->rows : i + 1, parts, before + (i - first) * size,
                         before + (i - first + 1) * size);
        for (int64_t i = end - 1; i >= first; i--) {
            pt_top_leaf(p, i, parts, before + (i - first) * size, after);
            pt_top_count(p, i, p->n - i, parts, after, after);
        }
    }
}

/* All items at these nodes. */
static void pt_top_all(pt_places *p) {
    if (p->with_second)
        pt_top_walk(p, 3);
    else
        pt_top_walk(p, 1);
}

#endif
