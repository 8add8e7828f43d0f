/* lap: cheapest matching of all rows of an integer cost matrix with no more rows than columns (linear assignment).
 *
 * Prices v_j <= 0 (0 for a free column) and u_i = min_j c_ij - v_j; a matched cell is one where c_ij - v_j = u_i. Integers:
 * no sum is rounded, so that the optimum is one, and equal sums are equal. Costs are even. Source: Jonker & Volgenant 1987 (augmenting row
 * reduction, then shortest augmenting paths); no column reduction, which needs a square. */
#ifndef PT_LAP_H
#define PT_LAP_H

#include "bipartite.h"

/* Costs are at most 2^LAP_BITS(n) in size; a price differs from another's by at most the range of the costs for each row on
 * the path between them, so that prices, and sums of a few, stay below LAP_FAR / 2. */
#define LAP_FAR (INT64_C(1) << 60)
#define LAP_CLOSED                                                                                 \
    (INT64_C(1) << 61)  /* a cell that is not used; less any price it is beyond LAP_FAR */
#define LAP_STRIDE 16   /* columns are padded to a multiple, with closed cells */
#define LAP_POLL 131072 /* cells between two questions to stop */

typedef struct {
    int64_t n, m, stride;
    int64_t *cost;   /* n x stride */
    int64_t *price;  /* stride */
    int64_t *key;    /* stride: scratch: reduced costs, or distances of columns */
    int64_t *open;   /* stride: price, or -LAP_CLOSED once a column is scanned */
    int64_t *from;   /* stride: row before a column on its shortest path */
    int64_t *at;     /* stride: distance at which the scanned column number k was */
    int32_t *scan;   /* stride: scanned columns in order */
    int32_t *free;   /* n: rows without a column */
    int32_t *column; /* n + 1, of graph */
    int32_t *owner;  /* m, of graph */
    bipartite graph;
    int64_t cells; /* looked at since stop was asked */
    pt_poll_fn stop;
    void *stop_ctx;
} lap;

/* Count cells that were looked at, and ask whether to stop now and then. */
static inline int lap_stopped(lap *s, int64_t cells) {
    s->cells += cells;
    if (s->cells < LAP_POLL)
        return 0;
    s->cells = 0;
    return s->stop && s->stop(s->stop_ctx);
}

static int64_t lap_stride(int64_t m) {
    return (m + LAP_STRIDE - 1) / LAP_STRIDE * LAP_STRIDE;
}

/* Largest e so that costs up to 2^e in size are within the bounds above, and halves of them are exact in a double's sum. */
static int lap_bits(int64_t n) {
    int bits = 0;
    while (n >> bits)
        bits++;
    return bits > 6 ? 56 - bits : 50;
}

static size_t lap_size(int64_t n, int64_t m) {
    const size_t stride = (size_t)lap_stride(m);
    return ((size_t)n + 5) * stride * sizeof(int64_t) + ((size_t)n + stride) * sizeof(int32_t) +
           128 + bipartite_size(n, m);
}

/* Lay a problem over work, lap_size bytes; the cost matrix is to be filled. */
static lap lap_begin(int64_t n, int64_t m, void *work) {
    lap s = { .n = n, .m = m, .stride = lap_stride(m), .cost = work };
    s.price = s.cost + n * s.stride;
    s.key = s.price + s.stride;
    s.open = s.key + s.stride;
    s.from = s.open + s.stride;
    s.at = s.from + s.stride;
    s.scan = (int32_t *)(s.at + s.stride);
    s.free = s.scan + s.stride;
    const size_t used = (size_t)((char *)(s.free + n) - (char *)work);
    s.graph = bipartite_begin(n, m, (char *)work + (used + 63) / 64 * 64);
    s.column = s.graph.column;
    s.owner = s.graph.owner;
    return s;
}

/* Integers of one vector register; x < y is all ones where it holds. */
typedef int64_t lap_vector __attribute__((vector_size(PT_VECTOR)));
#define LAP_LANES ((int)(PT_VECTOR / sizeof(int64_t)))

static inline lap_vector lap_load(const int64_t *from) {
    lap_vector x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline lap_vector lap_pick(lap_vector which, lap_vector x, lap_vector y) {
    return (x & which) | (y & ~which);
}

static inline lap_vector lap_spread(int64_t x) {
    return (lap_vector){ 0 } + x;
}

/* 0, 1, 2, ... in the lanes. */
static inline lap_vector lap_count(void) {
    int64_t at[LAP_LANES];
    for (int l = 0; l < LAP_LANES; l++)
        at[l] = l;
    return lap_load(at);
}

/* The two least of some numbers, and the place of the first: in each lane, or of one lane alone. */
typedef struct {
    lap_vector least, at, second;
} lap_pairs;

typedef struct {
    int64_t least, at, second;
} lap_pair;

static inline lap_vector lap_min(lap_vector x, lap_vector y) {
    return lap_pick(x < y, x, y);
}

static inline void lap_enter(lap_pairs *best, lap_vector x, lap_vector at) {
    const lap_vector first = x < best->least;
    best->second = lap_min(best->second, lap_pick(first, best->least, x));
    best->least = lap_pick(first, x, best->least);
    best->at = lap_pick(first, at, best->at);
}

/* The two least of all lanes, in a tree. */
static inline lap_pair lap_fold(const lap_pairs chain[2]) {
    int64_t least[2 * LAP_LANES], at[2 * LAP_LANES], second[2 * LAP_LANES];
    for (int c = 0; c < 2; c++) {
        memcpy(least + c * LAP_LANES, &chain[c].least, PT_VECTOR);
        memcpy(at + c * LAP_LANES, &chain[c].at, PT_VECTOR);
        memcpy(second + c * LAP_LANES, &chain[c].second, PT_VECTOR);
    }
    for (int half = LAP_LANES; half > 0; half /= 2)
        for (int l = 0; l < half; l++) {
            const int64_t x = least[l], y = least[l + half];
            const int64_t more = x < y ? y : x;
            int64_t next = second[l] < second[l + half] ? second[l] : second[l + half];
            least[l] = x < y ? x : y;
            at[l] = y < x ? at[l + half] : at[l];
            second[l] = more < next ? more : next;
        }
    return (lap_pair){ least[0], at[0], second[0] };
}

/* The two cheapest columns of row i, by reduced cost. Two chains, since each step of one waits for the last. */
static lap_pair lap_reduce(const lap *s, int64_t i) {
    const int64_t *cost = s->cost + i * s->stride;
    const lap_vector far = lap_spread(INT64_MAX), zero = { 0 };
    lap_pairs chain[2] = { { far, zero, far }, { far, zero, far } };
    lap_vector at = lap_count();
    for (int64_t j = 0; j < s->stride; j += 2 * LAP_LANES) {
        const int64_t k = j + LAP_LANES;
        lap_enter(&chain[0], lap_load(cost + j) - lap_load(s->price + j), at);
        lap_enter(&chain[1], lap_load(cost + k) - lap_load(s->price + k), at + LAP_LANES);
        at += 2 * LAP_LANES;
    }
    return lap_fold(chain);
}

/* A column other than j of the same reduced cost in row i. */
static int64_t lap_other(const lap *s, int64_t i, int64_t j) {
    const int64_t *cost = s->cost + i * s->stride;
    const int64_t same = cost[j] - s->price[j];
    int64_t k = 0;
    while (k == j || cost[k] - s->price[k] != same)
        k++;
    return k;
}

static int64_t lap_least(const int64_t *key, int64_t stride) {
    int64_t least = INT64_MAX;
    for (int64_t j = 0; j < stride; j++)
        least = key[j] < least ? key[j] : least;
    return least;
}

/* Augmenting row reduction: row i takes its cheapest column and lowers that one's price until the second is as cheap; the row
 * that had it goes on, while the budget lasts. Returns how many rows are left in free, or -1 to stop. */
static int64_t lap_bid(lap *s, int64_t count) {
    int64_t n_free = 0, budget = s->n / 4;
    for (int64_t k = 0; k < count; k++) {
        int64_t i = s->free[k];
        for (;;) {
            if (lap_stopped(s, s->stride))
                return -1;
            const lap_pair best = lap_reduce(s, i);
            const int only = best.second >= LAP_FAR; /* one open cell: no price is too low */
            int64_t j = best.at;
            if (only && s->owner[j] >= 0) {
                s->free[n_free++] = (int32_t)i;
                break;
            }
            if (!only && best.least < best.second)
                s->price[j] -= best.second - best.least;
            else if (!only && s->owner[j] >= 0)
                j = lap_other(s, i, j);
            const int32_t before = s->owner[j];
            s->owner[j] = (int32_t)i;
            s->column[i] = (int32_t)j;
            if (before < 0)
                break;
            s->column[before] = -1;
            if (best.least == best.second || budget-- <= 0) {
                s->free[n_free++] = before;
                break;
            }
            i = before;
        }
    }
    return n_free;
}

/* Distances over row i, which is `base` nearer than its reduced costs say. Returns the least of the columns not scanned.
 * A scanned column has open = -LAP_CLOSED, key = LAP_FAR: no distance goes below that. */
static int64_t lap_relax(const lap *s, int64_t i, int64_t base, int64_t *at) {
    const int64_t *cost = s->cost + i * s->stride;
    const lap_vector row = lap_spread(i), less = lap_spread(base);
    lap_vector least = lap_spread(INT64_MAX), least_at = { 0 }, place = lap_count();
    for (int64_t j = 0; j < s->stride; j += LAP_LANES) {
        const lap_vector x = lap_load(cost + j) - lap_load(s->open + j) - less,
                         old = lap_load(s->key + j);
        const lap_vector nearer = x < old;
        const lap_vector now = lap_pick(nearer, x, old),
                         from = lap_pick(nearer, row, lap_load(s->from + j));
        const lap_vector first = now < least;
        memcpy(s->key + j, &now, sizeof now);
        memcpy(s->from + j, &from, sizeof from);
        least = lap_pick(first, now, least);
        least_at = lap_pick(first, place, least_at);
        place += LAP_LANES;
    }
    int64_t lane[LAP_LANES], lane_at[LAP_LANES];
    memcpy(lane, &least, sizeof least);
    memcpy(lane_at, &least_at, sizeof least_at);
    int best = 0;
    for (int l = 1; l < LAP_LANES; l++)
        if (lane[l] < lane[best])
            best = l;
    *at = lane_at[best];
    return lane[best];
}

/* A shortest path from a free row to a free column over reduced costs (Dijkstra, dense); prices and matching follow it.
 * Distances are even; one more is added for a column that is not free, so that a free one comes first among equals. */
static pt_status lap_augment(lap *s, int64_t row) {
    int64_t i = row, base = 0, least, count = 0, j;
    for (int64_t k = 0; k < s->stride; k++) {
        s->open[k] = s->price[k] - (k < s->m && s->owner[k] >= 0);
        s->key[k] = LAP_FAR;
    }
    for (;;) {
        least = lap_relax(s, i, base, &j);
        if (least >= LAP_FAR)
            return PT_E_INTERNAL;
        if (lap_stopped(s, s->stride))
            return PT_E_STOPPED;
        if (s->owner[j] < 0)
            break;
        least &= ~INT64_C(1);
        s->scan[count] = (int32_t)j;
        s->at[count++] = least;
        s->open[j] = -LAP_CLOSED;
        s->key[j] = LAP_FAR;
        i = s->owner[j];
        base = s->cost[i * s->stride + j] - s->price[j] - least;
    }
    for (int64_t k = 0; k < count; k++)
        s->price[s->scan[k]] += s->at[k] - least;
    for (;;) {
        i = s->from[j];
        const int32_t before = s->column[i];
        s->owner[j] = (int32_t)i;
        s->column[i] = (int32_t)j;
        if (i == row)
            return PT_OK;
        j = before;
    }
}

/* 64 columns of row i from j on, as bits: which are tight, their reduced cost u? Lane l of vector k has bit
 * k LAP_LANES + l. Cells past the last column are closed. */
static inline uint64_t lap_tight_word(const lap *s, int64_t i, int64_t j, int64_t u) {
    const int64_t *cost = s->cost + i * s->stride, end = j + 64 < s->stride ? j + 64 : s->stride;
    const lap_vector wanted = lap_spread(u);
    lap_vector found = { 0 }, bit = lap_spread(1) << lap_count();
    for (; j < end; j += LAP_LANES) {
        found |= (lap_load(cost + j) - lap_load(s->price + j) == wanted) & bit;
        bit <<= LAP_LANES;
    }
    int64_t lane[LAP_LANES];
    uint64_t word = 0;
    memcpy(lane, &found, sizeof found);
    for (int l = 0; l < LAP_LANES; l++)
        word |= (uint64_t)lane[l];
    return word;
}

/* The tight cells: an optimal matching uses these and no others, and has every column whose price is not 0. */
static pt_status lap_tight(lap *s) {
    bipartite *g = &s->graph;
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t own = s->column[i], u = s->cost[i * s->stride + own] - s->price[own];
        for (int64_t w = 0; w < g->words; w++)
            g->edge[i * g->words + w] = lap_tight_word(s, i, w * 64, u);
        if (lap_stopped(s, s->stride))
            return PT_E_STOPPED;
    }
    for (int64_t j = 0; s->m > s->n && j < s->m; j++) {
        if (s->price[j] == 0)
            bits_set(g->edge + s->n * g->words, j);
        if (s->owner[j] < 0)
            s->owner[j] = (int32_t)s->n;
    }
    return PT_OK;
}

/* Forget the last solution. */
static void lap_reset(lap *s) {
    bipartite_reset(&s->graph);
    memset(s->price, 0, (size_t)s->stride * sizeof *s->price);
}

/* Solve: after lap_reset, column[i] is the column of row i in the cheapest matching; of equal ones the lexicographically first. */
static pt_status lap_solve(lap *s) {
    int64_t n_free = s->n;
    for (int64_t i = 0; i < s->n; i++)
        s->free[i] = (int32_t)i;
    for (int pass = 0; pass < 2 && n_free > 0; pass++)
        n_free = lap_bid(s, n_free);
    if (n_free < 0)
        return PT_E_STOPPED;
    for (int64_t k = 0; k < n_free; k++) {
        const pt_status status = lap_augment(s, s->free[k]);
        if (status != PT_OK)
            return status;
    }
    if (lap_tight(s) != PT_OK)
        return PT_E_STOPPED;
    bipartite *g = &s->graph;
    for (int64_t i = bipartite_settle(g) ? s->n : 0; i < s->n; i++) {
        g->reached = 0;
        bipartite_prefer(g, i);
        if (lap_stopped(s, (g->reached + 1) * g->words))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

#endif
