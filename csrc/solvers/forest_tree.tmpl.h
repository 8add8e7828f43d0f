/* forest_tree: trees of n points: union of sets, and the maximum spanning forest of a symmetric matrix by Prim's
 * algorithm, a vector of points at a time. For spanning_forest. */
#ifndef PT_REAL
#error "forest_tree.tmpl.h is a template: include it from registry.tmpl.h"
#endif
#include <assert.h>

#ifndef PT_FOREST_POINTS
#define PT_FOREST_POINTS 32768 /* of a complete graph: two of them fit 30 bits */
#define PT_FOREST_SHIFT 15
#define PT_FOREST_POLL 65536 /* edges between two questions to group->stop */
#endif
#define FOREST_FEW 4 /* vectors of points that stay in registers, and let two draws go together */
#define FOREST_NONE ((PT_SBITS)INT32_MAX) /* larger than any pair of points */

/* Index of edge i < j of the complete graph of n points. */
static inline int64_t PT_NAME(forest_index)(int64_t n, int64_t i, int64_t j) {
    return i * (2 * n - i - 1) / 2 + j - i - 1;
}

/* The points of an edge: of a list, or i < j of the complete graph (ends = NULL). */
static void PT_NAME(forest_points)(int64_t n, const int64_t *ends, int64_t edge, int64_t ij[2]) {
    if (ends) {
        ij[0] = ends[2 * edge];
        ij[1] = ends[2 * edge + 1];
        return;
    }
    int64_t i = 0, top = n - 1; /* the last row whose first index is not beyond the edge */
    while (i < top) {
        const int64_t middle = (i + top + 1) / 2;
        if (PT_NAME(forest_index)(n, middle, middle + 1) <= edge)
            i = middle;
        else
            top = middle - 1;
    }
    ij[0] = i;
    ij[1] = edge - PT_NAME(forest_index)(n, i, i + 1) + i + 1;
}

/* ---- union of trees ------------------------------------------------------------------------------------------ */

/* The least point of v's tree.   Invariant: parent[v] <= v. */
static inline int32_t PT_NAME(forest_root)(int32_t *parent, int32_t v) {
    while (parent[v] != v) {
        parent[v] = parent[parent[v]];
        v = parent[v];
    }
    return v;
}

static void PT_NAME(forest_alone)(int32_t *parent, int64_t n) {
    for (int64_t v = 0; v < n; v++)
        parent[v] = (int32_t)v;
}

/* Join the trees of two points; 0 where they were one. */
static inline int PT_NAME(forest_join)(int32_t *parent, int32_t u, int32_t v) {
    u = PT_NAME(forest_root)(parent, u);
    v = PT_NAME(forest_root)(parent, v);
    if (u < v)
        parent[v] = u;
    else
        parent[u] = v;
    return u != v;
}

/* ---- complete graph ------------------------------------------------------------------------------------------ */

static inline int64_t PT_NAME(forest_stride)(int64_t n) {
    const int64_t stride = (n + FOREST_LANES - 1) / FOREST_LANES * FOREST_LANES;
    /* columns of a matrix whose rows lie a power of two apart would share a few sets of the cache */
    return stride % 256 ? stride : stride + FOREST_LANES;
}

/* The part below the diagonal of rows i0 .. i1 - 1, columns j0 .. j1 - 1, from the part above; i0 and j0 are multiples
 * of 4. */
static void PT_NAME(forest_mirror)(PT_REAL *w, int64_t stride, int64_t i0, int64_t i1, int64_t j0,
                                   int64_t j1) {
    for (int64_t i = i0; i < i1; i += 4) {
        int64_t j = j0;
        for (; j < j1 && j < i && i + 4 <= i1; j += 4) {
            const PT_REAL *above[4];
            for (int l = 0; l < 4; l++)
                above[l] = w + (j + l) * stride + i;
            PT_NAME(turn_square)(above, w + i * stride + j, stride);
        }
        for (int64_t row = i; row < i1 && row < i + 4; row++)
            for (int64_t k = j; k < j1 && k < row; k++)
                w[row * stride + k] = w[k * stride + row];
    }
}

/* The symmetric matrix of the packed upper triangle; diagonal and padding -inf. */
static void PT_NAME(forest_expand)(int64_t n, const PT_REAL *restrict theta, PT_REAL *restrict w) {
    enum { tile = 32 };
    const int64_t stride = PT_NAME(forest_stride)(n);
    for (int64_t i = 0; i < n; i++) {
        PT_REAL *row = w + i * stride;
        row[i] = -PT_INFINITY;
        memcpy(row + i + 1, theta + PT_NAME(forest_index)(n, i, i + 1),
               (size_t)(n - 1 - i) * sizeof *row);
        for (int64_t j = n; j < stride; j++)
            row[j] = -PT_INFINITY;
    }
    for (int64_t i = 0; i < n; i += tile)
        for (int64_t j = 0; j <= i; j += tile)
            PT_NAME(forest_mirror)(w, stride, i, i + tile < n ? i + tile : n, j, j + tile);
}

/* What Prim's algorithm holds of point v: the first edge to the tree, its weight in `best` and its points in `at`, or, in
 * the tree, -inf and FOREST_NONE. */
typedef struct {
    PT_REAL *w; /* the matrix, rows of `stride` */
    PT_NAME(forest_reals) * best;
    PT_NAME(forest_words) * at;
    PT_REAL *weight; /* of the edges taken, in the order in which they are */
    PT_SBITS *edge;  /* their points, as i << PT_FOREST_SHIFT | j */
    int64_t count;   /* of them */
} PT_NAME(forest_prim);

/* Of the points whose edge weighs `most`, the one with the first edge. */
static int64_t PT_NAME(forest_first)(const PT_NAME(forest_reals) * best,
                                     const PT_NAME(forest_words) * at, PT_NAME(forest_reals) most,
                                     int64_t vectors) {
    const PT_NAME(forest_words) none = (PT_NAME(forest_words)){ 0 } + FOREST_NONE;
    PT_SBITS least = FOREST_NONE;
    int64_t first = -1;
    for (int64_t j = 0; j < vectors; j++) {
        const PT_NAME(forest_words) here =
            PT_NAME(forest_pick)((PT_NAME(forest_words))(best[j] == most), at[j], none);
        for (int l = 0; l < FOREST_LANES; l++)
            if (here[l] < least) {
                least = here[l];
                first = j * FOREST_LANES + l;
            }
    }
    return first;
}

/* Point u joins the tree; which point has the first edge from the tree, and of what weight?
 *   best, at [in, out]  `vectors` of them */
static inline __attribute__((always_inline)) int64_t
PT_NAME(forest_grow)(const PT_REAL *row, int64_t vectors, int64_t u, PT_NAME(forest_reals) * best,
                     PT_NAME(forest_words) * at, PT_REAL *weight) {
    const PT_SBITS us = (PT_SBITS)u;
    const PT_NAME(forest_words) all = { 0 }, u_all = all + us, none = all + FOREST_NONE;
    const PT_NAME(forest_reals) nothing = (PT_NAME(forest_reals)){ 0 } - PT_INFINITY;
    PT_NAME(forest_words) ids;
    PT_NAME(forest_reals) most = nothing;
    for (int l = 0; l < FOREST_LANES; l++)
        ids[l] = l;
    PT_NAME(forest_words) v = ids;
    for (int64_t j = 0; j < vectors; j++, v += FOREST_LANES) {
        PT_NAME(forest_reals) x;
        memcpy(&x, row + j * FOREST_LANES, sizeof x);
        const PT_NAME(forest_words) below = (PT_NAME(forest_words))(v < us),
                                    itself = (PT_NAME(forest_words))(v == us);
        const PT_NAME(forest_words) own =
            PT_NAME(forest_pick)(below, v << PT_FOREST_SHIFT | u_all, u_all << PT_FOREST_SHIFT | v);
        const PT_NAME(forest_words) better = PT_NAME(forest_before)(x, own, best[j], at[j]) &
                                             (PT_NAME(forest_words))(at[j] != FOREST_NONE);
        best[j] = PT_NAME(forest_pick_real)(itself, nothing,
                                            PT_NAME(forest_pick_real)(better, x, best[j]));
        at[j] = PT_NAME(forest_pick)(itself, none, PT_NAME(forest_pick)(better, own, at[j]));
        most = PT_NAME(forest_more)(best[j], most);
    }
    most = PT_NAME(forest_most)(most, ids);
    int64_t found = -1;
    uint32_t more = 0; /* not 0: another one is as heavy */
    for (int64_t j = 0; j < vectors; j++) {
        const uint32_t bits = PT_NAME(forest_bits)((PT_NAME(forest_words))(best[j] == most));
        more |= found < 0 ? bits & (bits - 1) : bits;
        found = bits ? j * FOREST_LANES + __builtin_ctz(bits) : found;
    }
    *weight = most[0];
    return more ? PT_NAME(forest_first)(best, at, most, vectors) : found;
}

/* As forest_trees, for numbers of draws and vectors that the compiler may know: few of them stay in registers.
 *   best [tmp]  draws x vectors */
static inline __attribute__((always_inline)) int
PT_NAME(forest_trees_of)(PT_NAME(forest_prim) * s, int draws, int64_t n, const pt_group *group,
                         int64_t vectors, PT_NAME(forest_reals) * best) {
    const int64_t stride = PT_NAME(forest_stride)(n);
    int64_t u[2] = { 0, 0 }, seen = 0;
    for (int64_t j = 0; j < draws * vectors; j++)
        best[j] = (PT_NAME(forest_reals)){ 0 } - PT_INFINITY;
    for (int d = 0; d < draws; d++) {
        PT_SBITS *at = (PT_SBITS *)(void *)s[d].at;
        for (int64_t v = 0; v < vectors * FOREST_LANES; v++)
            at[v] = v < n ? FOREST_NONE - 1 : FOREST_NONE;
        s[d].count = 0;
    }
    for (int64_t step = 1; step < n; step++) {
#pragma GCC unroll 2
        for (int d = 0; d < draws; d++) {
            PT_REAL weight;
            u[d] = PT_NAME(forest_grow)(s[d].w + u[d] * stride, vectors, u[d], best + d * vectors,
                                        s[d].at, &weight);
            const PT_SBITS edge = ((const PT_SBITS *)(const void *)s[d].at)[u[d]];
            assert(edge >= 0 && edge < FOREST_NONE - 1);
            s[d].weight[s[d].count] = weight;
            s[d].edge[s[d].count] = edge;
            s[d].count += weight > -PT_INFINITY;
        }
        if ((seen += n) >= PT_FOREST_POLL) {
            seen = 0;
            if (group->stop && group->stop(group->stop_ctx))
                return 1;
        }
    }
    return 0;
}

/* Maximum spanning trees of one draw or two, whose steps fill each other's waits; where no edge is left, a point begins
 * the next tree.   Not 0: stop */
static int PT_NAME(forest_trees)(PT_NAME(forest_prim) * s, int draws, int64_t n,
                                 const pt_group *group) {
    const int64_t vectors = (n + FOREST_LANES - 1) / FOREST_LANES;
    PT_NAME(forest_reals) best[2 * FOREST_FEW];
    assert(draws == 1 || (draws == 2 && vectors <= FOREST_FEW));
    switch (draws * 8 + (vectors <= FOREST_FEW ? vectors : 0)) {
    case 9:
        return PT_NAME(forest_trees_of)(s, 1, n, group, 1, best);
    case 10:
        return PT_NAME(forest_trees_of)(s, 1, n, group, 2, best);
    case 11:
        return PT_NAME(forest_trees_of)(s, 1, n, group, 3, best);
    case 12:
        return PT_NAME(forest_trees_of)(s, 1, n, group, 4, best);
    case 17:
        return PT_NAME(forest_trees_of)(s, 2, n, group, 1, best);
    case 18:
        return PT_NAME(forest_trees_of)(s, 2, n, group, 2, best);
    case 19:
        return PT_NAME(forest_trees_of)(s, 2, n, group, 3, best);
    case 20:
        return PT_NAME(forest_trees_of)(s, 2, n, group, 4, best);
    default:
        return PT_NAME(forest_trees_of)(s, 1, n, group, vectors, s->best);
    }
}

/* How many of the `count` edges come before each of FOREST_LANES edges from e on. */
static inline PT_NAME(forest_words)
    PT_NAME(forest_ranks)(const PT_NAME(forest_prim) * s, int64_t count, int64_t e) {
    PT_NAME(forest_words) sum = { 0 }, at;
    PT_NAME(forest_reals) w;
    memcpy(&w, s->weight + e, sizeof w);
    memcpy(&at, s->edge + e, sizeof at);
    for (int64_t f = 0; f < count; f++)
        sum -= PT_NAME(forest_before)((PT_NAME(forest_reals)){ 0 } + s->weight[f],
                                      (PT_NAME(forest_words)){ 0 } + s->edge[f], w, at);
    return sum;
}

/* Write the first n - k edges of a tree as indices, in their order, then -1.
 *   id [in]  index of the edge between two points, n x n, or NULL for the complete graph's */
static void PT_NAME(forest_write)(const PT_NAME(forest_prim) * s, int64_t n, int64_t k,
                                  const int32_t *id, int32_t *code) {
    const int64_t count = s->count;
    assert(count >= n - k);
    for (int64_t e = count; e < count + FOREST_LANES; e++) {
        s->weight[e] = -PT_INFINITY;
        s->edge[e] = FOREST_NONE;
    }
    for (int64_t e = 0; e < count; e += FOREST_LANES) {
        const PT_NAME(forest_words) ranks = PT_NAME(forest_ranks)(s, count, e);
        PT_SBITS rank[FOREST_LANES];
        memcpy(rank, &ranks, sizeof rank);
        for (int64_t f = e; f < count && f < e + FOREST_LANES; f++) {
            const int64_t i = (int64_t)s->edge[f] >> PT_FOREST_SHIFT,
                          j = s->edge[f] & (PT_FOREST_POINTS - 1);
            if (rank[f - e] < n - k)
                code[rank[f - e]] = id ? id[i * n + j] : (int32_t)PT_NAME(forest_index)(n, i, j);
        }
    }
    for (int64_t at = n - k; at < (n > 1 ? n - 1 : 1); at++)
        code[at] = -1;
}

/* ---- scratch -------------------------------------------------------------------------------------------------- */

static inline size_t PT_NAME(forest_room)(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

static inline size_t PT_NAME(forest_prim_size)(int64_t n) {
    const int64_t stride = PT_NAME(forest_stride)(n);
    return PT_NAME(forest_room)((size_t)(n * stride + 4 * (stride + FOREST_LANES)) *
                                sizeof(PT_REAL)) +
           64;
}

/* work is 64-byte aligned, and so are rows of a multiple of FOREST_LANES */
static PT_NAME(forest_prim) PT_NAME(forest_cut)(int64_t n, char *work) {
    const int64_t stride = PT_NAME(forest_stride)(n), row = stride + FOREST_LANES;
    PT_NAME(forest_prim) s;
    s.w = (PT_REAL *)(void *)work;
    PT_REAL *rest = s.w + n * stride;
    s.best = (PT_NAME(forest_reals) *)(void *)rest;
    s.at = (PT_NAME(forest_words) *)(void *)(rest + row);
    s.weight = rest + 2 * row;
    s.edge = (PT_SBITS *)(void *)(rest + 3 * row);
    s.count = 0;
    return s;
}

/* ---- edges in their order --------------------------------------------------------------------------------------- */

/* Edges are sorted as a problem of their own: theta's elements, descending, stable. */
static inline pt_problem PT_NAME(forest_sorting)(const pt_problem *p) {
    static const int64_t descending[1] = { 1 };
    pt_problem q = *p;
    q.ints = descending;
    q.n_ints = 1;
    q.lanes = 1;
    return q;
}

static size_t PT_NAME(forest_sort_size)(const pt_problem *p) {
    const pt_problem q = PT_NAME(forest_sorting)(p);
    return PT_NAME(order_work_size)(&q);
}

/* order [out]  indices of draw d's p->n edges, the first one first; -1 behind those that are allowed */
static pt_status PT_NAME(forest_sort)(const pt_problem *p, const pt_group *group, int64_t d,
                                      int32_t *order, char *work) {
    const pt_problem q = PT_NAME(forest_sorting)(p);
    pt_group one = *group;
    one.theta = (const PT_REAL *)group->theta + d * group->draw_step;
    one.n_draws = 1;
    return PT_NAME(order_solve)(&q, &one, 1, order, work);
}
