/* place_tables: which entry stands at which place, at PT_EXACT_LANES nodes: tables of counts of all other entries. In
 * double; included once by each ISA's object, by places.h, which has the formulas.
 *
 * All leave-one-out tables by halving: a node of items carries the table of all items outside it; its halves each get the
 * other half's items counted in, one by one: O(n k log n) a node of integration, positive terms only, so that every entry
 * keeps its relative accuracy. Counts above k - 1 are cut off. */
#ifndef PT_PLACE_TABLES_H
#define PT_PLACE_TABLES_H

#include "quadrature.h"

/* The lanes of one number, in the vectors of this instruction set. */
typedef double pt_wide __attribute__((vector_size(PT_VECTOR)));
#define PT_WIDES (PT_EXACT_LANES * (int64_t)sizeof(double) / PT_VECTOR)

/* What is wanted, of the entries that are in; NULL: not. Entry j at place r stands at [r * n + j] where the order counts
 * (ordered), else at [j], summed over the places. */
typedef struct {
    int64_t n, k; /* entries, places wanted */
    int ordered;
    double *y, *jvp, *vjp;
    const double *t, *g;
    double *value; /* of the sum of the k largest */
    pt_poll_fn stop;
    void *stop_ctx;
} pt_places_want;

/* The items in reach of PT_EXACT_LANES nodes. */
typedef struct {
    int64_t n, rows;                     /* items; entries of a table */
    int64_t offset;                      /* items that exceed all nodes */
    int64_t *item;                       /* n: which entry of the race */
    double *u, *above, *below, *density; /* n x lanes each */
    double *slope;                       /* n x lanes: dY/dp */
    double *special;                     /* n x lanes: weight of the second special item */
    double *tables;                      /* the stack of tables */
    double *sum;                         /* lanes */
    const double *weight, *x; /* lanes: of the trapezoidal rule; nodes from the cluster's origin */
    double moment;            /* of the value */
    const pt_places_want *want;
    int with_special, with_second, with_slope;
} pt_places;

#define PT_TABLE(places) ((places)->rows * PT_EXACT_LANES)

static inline pt_wide pt_load_wide(const double *x) {
    pt_wide v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void pt_store_wide(pt_wide v, double *x) {
    memcpy(x, &v, sizeof v);
}

/* Count an item in: a[r] = below a[r] + above a[r-1], and for a table with a special item
 * s[r] = below s[r] + above s[r-1] + weight a[r]. Both tables have `filled` entries before and one more after (at most
 * rows). second: another special table, or NULL. */
static inline void pt_count_in(const pt_places *p, int64_t i, int64_t filled, double *a, double *s,
                               double *second) {
    const int64_t last = filled < p->rows ? filled : p->rows - 1;
    for (int64_t c = 0; c < PT_WIDES; c++) {
        const int64_t lane = c * (PT_VECTOR / (int64_t)sizeof(double));
        const pt_wide up = pt_load_wide(p->above + i * PT_EXACT_LANES + lane);
        const pt_wide stay = pt_load_wide(p->below + i * PT_EXACT_LANES + lane);
        if (s) {
            const pt_wide f = pt_load_wide(p->density + i * PT_EXACT_LANES + lane);
            for (int64_t r = last; r >= 0; r--) {
                double *at = s + r * PT_EXACT_LANES + lane;
                pt_wide x =
                    stay * pt_load_wide(at) + f * pt_load_wide(a + r * PT_EXACT_LANES + lane);
                if (r > 0)
                    x += up * pt_load_wide(at - PT_EXACT_LANES);
                pt_store_wide(x, at);
            }
        }
        if (second) {
            const pt_wide f = pt_load_wide(p->special + i * PT_EXACT_LANES + lane);
            for (int64_t r = last; r >= 0; r--) {
                double *at = second + r * PT_EXACT_LANES + lane;
                pt_wide x =
                    stay * pt_load_wide(at) + f * pt_load_wide(a + r * PT_EXACT_LANES + lane);
                if (r > 0)
                    x += up * pt_load_wide(at - PT_EXACT_LANES);
                pt_store_wide(x, at);
            }
        }
        for (int64_t r = last; r >= 0; r--) {
            double *at = a + r * PT_EXACT_LANES + lane;
            pt_wide x = stay * pt_load_wide(at);
            if (r > 0)
                x += up * pt_load_wide(at - PT_EXACT_LANES);
            pt_store_wide(x, at);
        }
    }
}

/* The other way for derivatives: before [in] the table that item i was counted into; grad [in, out] dY/d(table after),
 * then dY/d(table before). Adds to slope. */
static inline void pt_count_back(const pt_places *p, int64_t i, int64_t filled,
                                 const double *before, double *grad) {
    const int64_t last = filled < p->rows ? filled : p->rows - 1;
    for (int64_t c = 0; c < PT_WIDES; c++) {
        const int64_t lane = c * (PT_VECTOR / (int64_t)sizeof(double));
        const pt_wide up = pt_load_wide(p->above + i * PT_EXACT_LANES + lane);
        const pt_wide stay = pt_load_wide(p->below + i * PT_EXACT_LANES + lane);
        pt_wide slope = pt_load_wide(p->slope + i * PT_EXACT_LANES + lane), was = { 0 };
        for (int64_t r = 0; r <= last; r++) {
            double *at = grad + r * PT_EXACT_LANES + lane;
            const pt_wide x = pt_load_wide(at),
                          a = pt_load_wide(before + r * PT_EXACT_LANES + lane);
            slope += x * (was - a);
            was = a;
            const pt_wide above = r < last ? pt_load_wide(at + PT_EXACT_LANES) : (pt_wide){ 0 };
            pt_store_wide(stay * x + up * above, at);
        }
        pt_store_wide(slope, p->slope + i * PT_EXACT_LANES + lane);
    }
}

/* Item i's table is ready: add its part of y, J t, and the special part of J^T g; leaves dY/d(table) in grad. */
static void pt_place_leaf(pt_places *p, int64_t i, const double *a, const double *s,
                          const double *second, double *grad) {
    const pt_places_want *want = p->want;
    const int64_t j = p->item[i], n = want->n;
    const double *f = p->density + i * PT_EXACT_LANES;
    double wf[PT_EXACT_LANES], term[PT_EXACT_LANES];
    for (int l = 0; l < PT_EXACT_LANES; l++)
        wf[l] = p->weight[l] * f[l];
    double total[PT_EXACT_LANES] = { 0 }, along[PT_EXACT_LANES] = { 0 };
    for (int64_t r = 0; r < p->rows; r++) {
        const double *row = a + r * PT_EXACT_LANES;
        const int64_t at = (p->offset + r) * n + j;
        for (int l = 0; l < PT_EXACT_LANES; l++)
            term[l] = wf[l] * row[l];
        if (want->y)
            want->y[at] += pt_sum_lanes(term);
        if (want->jvp) {
            const double *one = s + r * PT_EXACT_LANES, *both = second + r * PT_EXACT_LANES;
            const double t = want->t[j];
            for (int l = 0; l < PT_EXACT_LANES; l++) {
                const double now = both[l] - t * one[l];
                term[l] = wf[l] * (along[l] - now);
                along[l] = now;
            }
            want->jvp[at] += pt_sum_lanes(term);
        }
        if (want->vjp) {
            const double g = want->g[at], next = p->offset + r + 1 < want->k ? want->g[at + n] : 0;
            const double *one = s + r * PT_EXACT_LANES;
            for (int l = 0; l < PT_EXACT_LANES; l++) {
                total[l] += one[l] * (g - next);
                grad[r * PT_EXACT_LANES + l] = f[l] * g;
            }
        }
    }
    for (int l = 0; l < PT_EXACT_LANES; l++)
        term[l] = wf[l] * total[l];
    if (want->vjp)
        want->vjp[j] += pt_sum_lanes(term);
}

/* Items from .. to - 1: a, s, second [in] tables of all other items, `filled` entries each; free [tmp] the stack above.
 * grad [out] dY/da, where slopes are wanted. */
static void pt_place_node(pt_places *p, int64_t from, int64_t to, int64_t filled, const double *a,
                          const double *s, const double *second, double *grad, double *stack) {
    if (to - from == 1) {
        pt_place_leaf(p, from, a, s, second, grad);
        return;
    }
    const int64_t size = PT_TABLE(p), middle = (from + to) / 2;
    const size_t bytes = (size_t)size * sizeof(double);
    double *own = p->with_slope ? stack : NULL; /* grad of a half */
    stack += p->with_slope ? size : 0;
    for (int half = 0; half < 2; half++) {
        const int64_t i0 = half ? from : middle, i1 = half ? middle : to;
        double *free_ = stack, *b = free_, *sb = NULL, *second_b = NULL;
        if (p->with_special) {
            sb = free_ += size;
            memcpy(sb, s, bytes);
        }
        if (p->with_second) {
            second_b = free_ += size;
            memcpy(second_b, second, bytes);
        }
        double *kept = free_ += size; /* tables before each item, for the way back */
        memcpy(b, a, bytes);
        free_ += p->with_slope ? (i1 - i0) * size : 0;
        for (int64_t i = i0; i < i1; i++) {
            if (p->with_slope)
                memcpy(kept + (i - i0) * size, b, bytes);
            pt_count_in(p, i, filled + (i - i0), b, sb, second_b);
        }
        pt_place_node(p, half ? middle : from, half ? to : middle, filled + (i1 - i0), b, sb,
                      second_b, own, free_);
        if (!p->with_slope)
            continue;
        for (int64_t i = i1 - 1; i >= i0; i--)
            pt_count_back(p, i, filled + (i - i0), kept + (i - i0) * size, own);
        for (int64_t l = 0; l < size; l++)
            grad[l] = half ? grad[l] + own[l] : own[l];
    }
}

/* Tables on the stack at most: for each level those of a node, and with slopes those before each item. */
static int64_t pt_place_tables(int64_t n, int with_slope) {
    int64_t tables = 4 + 4;
    for (int64_t size = n; size > 1; size = (size + 1) / 2)
        tables += 5 + (with_slope ? (size + 1) / 2 : 0);
    return tables;
}

/* All items at these nodes. */
static void pt_place_all(pt_places *p) {
    const int64_t size = PT_TABLE(p);
    const size_t bytes = (size_t)size * sizeof(double);
    double *a = p->tables, *s = a + size, *second = s + size, *grad = second + size;
    memset(a, 0, 4 * bytes);
    for (int l = 0; l < PT_EXACT_LANES; l++)
        a[l] = 1;
    if (p->with_slope)
        memset(p->slope, 0, (size_t)(p->n * PT_EXACT_LANES) * sizeof(double));
    pt_place_node(p, 0, p->n, 1, a, p->with_special ? s : NULL, p->with_second ? second : NULL,
                  grad, grad + size);
    for (int64_t i = 0; p->with_slope && i < p->n; i++) {
        const double *f = p->density + i * PT_EXACT_LANES, *slope = p->slope + i * PT_EXACT_LANES;
        double term[PT_EXACT_LANES];
        for (int l = 0; l < PT_EXACT_LANES; l++)
            term[l] = p->weight[l] * f[l] * slope[l];
        p->want->vjp[p->item[i]] += pt_sum_lanes(term);
    }
}

#endif
