/* spanning_forest: heaviest forest with exactly k trees, that is n - k edges, of n points; any sign.
 *   ints       {n, k, output, n_edges}: output 0: the forest, 1: who shares a tree; n_edges = 0: the complete graph
 *   arrays     const int64_t*: ends of the edges, n_edges pairs, no loops; NULL for the complete graph
 *              const int64_t*: k of each row, 1..n; NULL: ints[1]
 *              const int8_t*: n x n constraints of each row, symmetric: > 0: these points share a tree, < 0: they do not;
 *              NULL: none. See forest_constraints.tmpl.h
 *   theta      one weight for each edge, -inf: not allowed; of the complete graph the upper triangle, row by row
 *              (one entry, never used, where n = 1)
 *   code       forest: its edges in the order below, then -1 up to n - 1 of them
 *              output 1: n labels, equal where two points share a tree, and then as above (PT_CODE_LABELS)
 *
 * Tie rule: edges are ordered by weight, the heaviest first, and of equal weight by index, the lowest first; this order is
 * strict, so the heaviest forest is one: the first n - k edges that Kruskal takes in this order, which are the first
 * n - k of the maximum spanning tree (a forest where the graph falls apart).
 * Complete graph: Prim's algorithm, a vector of points at a time. Edge list: Kruskal's.
 * Sources: Kruskal 1956; Prim 1957. */
#ifndef PT_REAL
#error "spanning_forest.tmpl.h is a template: include it from registry.tmpl.h"
#endif
#include <assert.h>

/* ---- what is asked ------------------------------------------------------------------------------------------- */

static inline int64_t PT_NAME(forest_k)(const pt_problem *p, int64_t row) {
    const pt_array *k = p->n_arrays > 1 ? &p->arrays[1] : NULL;
    return k && k->data ? ((const int64_t *)k->data)[row * k->row_stride] : p->ints[1];
}

static inline const int64_t *PT_NAME(forest_ends)(const pt_problem *p) {
    return p->ints[3] > 0 ? p->arrays[0].data : NULL;
}

static inline int PT_NAME(forest_limited)(const pt_problem *p) {
    return p->n_arrays > 2 && p->arrays[2].data;
}

/* The row's constraints, n x n of them, or NULL where it has none. */
static inline const int8_t *PT_NAME(forest_limits)(const pt_problem *p, int64_t row) {
    const int64_t size = p->ints[0] * p->ints[0];
    if (!PT_NAME(forest_limited)(p))
        return NULL;
    const int8_t *limit = (const int8_t *)p->arrays[2].data + row * p->arrays[2].row_stride;
    for (int64_t i = 0; i < size; i++)
        if (limit[i])
            return limit;
    return NULL;
}

/* Scratch: points' parents, then either the matrix and Prim's rows, or the order of the edges and what sorts them, or
 * what a search under constraints takes. */
static size_t PT_NAME(forest_work_size)(const pt_problem *p) {
    const int64_t n = p->ints[0];
    const size_t parents = PT_NAME(forest_room)((size_t)n * sizeof(int32_t));
    if (PT_NAME(forest_limited)(p)) {
        PT_NAME(forest_search) search;
        return parents + PT_NAME(forest_lay)(p, NULL, &search) + PT_NAME(forest_sort_size)(p);
    }
    if (p->ints[3] > 0)
        return parents + PT_NAME(forest_room)((size_t)p->n * sizeof(int32_t)) +
               PT_NAME(forest_sort_size)(p);
    const size_t together = n <= FOREST_FEW * FOREST_LANES ? 2 : 1;
    return parents + together * PT_NAME(forest_prim_size)(n);
}

/* ---- solver --------------------------------------------------------------------------------------------------- */

static pt_status PT_NAME(forest_prepare)(pt_problem *p, pt_error *err) {
    const int64_t n = p->ints[0], n_edges = p->ints[3],
                  most = n_edges > 0 && !PT_NAME(forest_limited)(p) ? INT32_MAX : PT_FOREST_POINTS;
    const int64_t pairs = n > 1 && n <= INT32_MAX ? n * (n - 1) / 2 : 1;
    if (p->n_ints != 4 || n < 1 || n > most)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have between 1 and %lld points, got %lld",
                       (long long)most, (long long)n);
    if (p->n != (n_edges > 0 ? n_edges : pairs) || n_edges > INT32_MAX)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have one entry an edge, got %lld entries",
                       (long long)p->n);
    if (p->ints[1] < 1 || p->ints[1] > n)
        return pt_fail(err, PT_E_VALUE, -1, "k must be between 1 and %lld, got %lld", (long long)n,
                       (long long)p->ints[1]);
    p->y_size = p->n;
    p->code_len = n > 1 ? n - 1 : 1;
    p->code_kind = PT_CODE_INDEX;
    if (p->ints[2]) {
        p->y_size = pairs;
        p->code_len += n;
        p->code_step = n;
        p->code_kind = PT_CODE_LABELS;
    }
    p->linear = 1;
    p->even = !p->ints[2];
    p->sign = 1;
    if (!p->ints[2] && !PT_NAME(forest_limited)(p))
        p->moves = PT_MOVES_THRESHOLD;
    p->moves_lanes = 1;
    return PT_OK;
}

/* Do the edges that are allowed leave no more than k trees? */
static pt_status PT_NAME(forest_check)(const pt_problem *p, int64_t row, const void *theta,
                                       void *work, pt_error *err) {
    const PT_REAL *t = theta;
    const int64_t n = p->ints[0], k = PT_NAME(forest_k)(p, row), *ends = PT_NAME(forest_ends)(p);
    int32_t *parent = work;
    int64_t e = 0, trees = n;
    if (k < 1 || k > n)
        return pt_fail(err, PT_E_INFEASIBLE, row, "k must be between 1 and %lld, got %lld",
                       (long long)n, (long long)k);
    if (PT_NAME(forest_limits)(p, row)) {
        char *rest = (char *)work + PT_NAME(forest_room)((size_t)n * sizeof *parent);
        const pt_status status =
            PT_NAME(forest_check_limits)(p, row, k, PT_NAME(forest_limits)(p, row), rest, err);
        if (status != PT_OK)
            return status;
    }
    while (!ends && e < p->n && t[e] > -PT_INFINITY)
        e++;
    if ((!ends && e == p->n) || n == 1)
        return PT_OK;
    PT_NAME(forest_alone)(parent, n);
    e = 0;
    if (ends)
        for (; e < p->n && trees > k; e++)
            trees -= t[e] > -PT_INFINITY &&
                     PT_NAME(forest_join)(parent, (int32_t)ends[2 * e], (int32_t)ends[2 * e + 1]);
    else
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = i + 1; j < n; j++, e++)
                trees -=
                    t[e] > -PT_INFINITY && PT_NAME(forest_join)(parent, (int32_t)i, (int32_t)j);
    if (trees <= k)
        return PT_OK;
    return pt_fail(err, PT_E_INFEASIBLE, row,
                   "no forest of k = %lld trees: its edges leave %lld parts unconnected",
                   (long long)k, (long long)trees);
}

/* How many draws from d on forest_dense takes together; its scratch has room for two of few points. */
static inline int PT_NAME(forest_together)(const pt_problem *p, const pt_group *group, int64_t d) {
    const int few = p->ints[0] <= FOREST_FEW * FOREST_LANES && !PT_NAME(forest_limited)(p);
    return few && d + 1 < group->n_draws ? 2 : 1;
}

/* Draws from d to before end.   code [out] of the first, from its edges on */
static pt_status PT_NAME(forest_dense)(const pt_problem *p, const pt_group *group, int64_t d,
                                       int64_t end, int32_t *code, char *work) {
    const int64_t n = p->ints[0];
    PT_NAME(forest_prim) s[2];
    for (int64_t i = d; i < end; i++, work += PT_NAME(forest_prim_size)(n)) {
        const PT_REAL *theta = (const PT_REAL *)group->theta + i * group->draw_step;
        s[i - d] = PT_NAME(forest_cut)(n, work);
        if (n > 1)
            PT_NAME(forest_expand)(n, theta, s[i - d].w);
    }
    const int stopped = PT_NAME(forest_trees)(s, (int)(end - d), n, group);
    for (int64_t i = d; i < end && !stopped; i++, code += p->code_len) {
        const int64_t k = PT_NAME(forest_k)(p, group->row[i]);
        PT_NAME(forest_write)(&s[i - d], n, k, NULL, code);
    }
    return stopped ? PT_E_STOPPED : PT_OK;
}

/* Kruskal: edges in their order, each taken unless it closes a cycle, until n - k are. */
static pt_status PT_NAME(forest_list)(const pt_problem *p, const pt_group *group, int64_t d,
                                      int32_t *code, int32_t *parent, char *work) {
    const int64_t n = p->ints[0], k = PT_NAME(forest_k)(p, group->row[d]);
    const int64_t *ends = PT_NAME(forest_ends)(p);
    int32_t *order = (int32_t *)(void *)work;
    const size_t own = PT_NAME(forest_room)((size_t)p->n * sizeof *order);
    const pt_status status = PT_NAME(forest_sort)(p, group, d, order, work + own);
    if (status != PT_OK)
        return status;
    int64_t at = 0;
    PT_NAME(forest_alone)(parent, n);
    for (int64_t r = 0; at < n - k; r++) {
        assert(r < p->n && order[r] >= 0);
        const int64_t e = order[r];
        if (PT_NAME(forest_join)(parent, (int32_t)ends[2 * e], (int32_t)ends[2 * e + 1]))
            code[at++] = (int32_t)e;
    }
    while (at < (n > 1 ? n - 1 : 1))
        code[at++] = -1;
    return PT_OK;
}

/* Each point's label: the least point of its tree. */
static void PT_NAME(forest_label)(const pt_problem *p, const int32_t *edges, int32_t *label) {
    const int64_t n = p->ints[0], *ends = PT_NAME(forest_ends)(p);
    PT_NAME(forest_alone)(label, n);
    for (int64_t e = 0; e < n - 1 && edges[e] >= 0; e++) {
        int64_t ij[2];
        PT_NAME(forest_points)(n, ends, edges[e], ij);
        PT_NAME(forest_join)(label, (int32_t)ij[0], (int32_t)ij[1]);
    }
    for (int64_t v = 0; v < n; v++)
        label[v] = PT_NAME(forest_root)(label, (int32_t)v);
}

static pt_status PT_NAME(forest_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                       void *work, pt_error *err) {
    const int64_t n = p->ints[0], labels = p->ints[2] ? n : 0;
    int32_t *parent = work;
    char *rest = (char *)work + PT_NAME(forest_room)((size_t)n * sizeof *parent);
    for (int64_t d = 0, next; d < group->n_draws; d = next) {
        const int64_t row = group->row[d];
        const int8_t *limit = PT_NAME(forest_limits)(p, row);
        int32_t *edges = code + d * p->code_len + labels;
        pt_status status;
        next = d + 1;
        if (limit)
            status = PT_NAME(forest_constrained)(p, group, d, PT_NAME(forest_k)(p, row),
                                                 PT_NAME(forest_ends)(p), limit, edges, rest, err);
        else if (p->ints[3] > 0)
            status = PT_NAME(forest_list)(p, group, d, edges, parent, rest);
        else {
            next = d + PT_NAME(forest_together)(p, group, d);
            status = PT_NAME(forest_dense)(p, group, d, next, edges, rest);
        }
        if (status != PT_OK)
            return status;
        for (; labels && d < next; d++)
            PT_NAME(forest_label)(p, code + d * p->code_len + labels, code + d * p->code_len);
        if (group->stop && group->stop(group->stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static pt_status PT_NAME(forest_thresholds)(const pt_problem *p, const pt_group *group,
                                            const int32_t *code, const void *g, void *tau,
                                            void *change, void *work, pt_error *err) {
    (void)err;
    for (int64_t d = 0; d < group->n_draws; d++) {
        const int64_t at = d * group->draw_step;
        const pt_status status =
            PT_NAME(forest_swap)(p, group, d, PT_NAME(forest_k)(p, group->row[d]),
                                 PT_NAME(forest_ends)(p), code + d * p->code_len, g,
                                 (PT_REAL *)tau + at, g ? (PT_REAL *)change + at : NULL, work);
        if (status != PT_OK)
            return status;
    }
    return PT_OK;
}

static const pt_solver PT_NAME(spanning_forest) = {
    .name = "spanning_forest",
    .prepare = PT_NAME(forest_prepare),
    .check = PT_NAME(forest_check),
    .work_size = PT_NAME(forest_work_size),
    .solve = PT_NAME(forest_solve),
    .thresholds = PT_NAME(forest_thresholds),
    .thresholds_size = PT_NAME(forest_swaps_size),
};

#undef FOREST_FEW
#undef FOREST_LANES
#undef FOREST_NONE
#undef FOREST_SWAP
