/* forest_constraints: forests of k trees where some points must share a tree and some may not. For spanning_forest.
 *
 * A solution is a partition into k clusters; its forest is the maximum spanning tree of each. Points that must share a
 * cluster are one unit. Few units: the best partition, by dynamic programming over subsets. Else, a search:
 *   1. greedy: edges in their order join units unless that is not allowed, until k clusters are left (Stewart et al. 2023);
 *      where it ends with more, units are coloured by their cannot-links instead (Brelaz 1979);
 *   2. every cluster gets its own maximum spanning tree;
 *   3. exchanges, the best one first, as long as one makes the forest heavier: a point moves to another cluster; a
 *      subtree does; an edge or a point is cut off and two clusters are joined by an edge.
 * Here: the state of a search, and what a row asks. Steps 1 and 2: forest_partitions.tmpl.h; 3: forest_exchanges.tmpl.h;
 * all of it, for a draw: forest_search.tmpl.h.
 * No random choice and no clock: the same forest everywhere. Ties of step 3: the first found in the order of the code. */
#ifndef PT_REAL
#error "forest_constraints.tmpl.h is a template: include it from registry.tmpl.h"
#endif

#ifndef PT_FOREST_UNITS
#define PT_FOREST_UNITS                                                                            \
    10 /* most units for dynamic programming: 3^10 / 2 pairs of subsets a tree */
#define PT_FOREST_WORK 16384 /* and most points times subsets */
#define PT_FOREST_ROUNDS 4   /* exchanges a point */
#define PT_FOREST_GAIN 1e-12 /* of the sum of all weights' sizes: a smaller gain may be rounding */
#endif

/* A row's constraints and one draw's search. Matrices have rows of `stride`. */
typedef struct {
    int64_t n, k, stride, n_units, n_pairs;
    const pt_group *group;
    PT_REAL *w;                  /* the weights */
    PT_NAME(forest_prim) s;      /* the clusters' trees, and Prim's matrix */
    PT_REAL *flow, *add;         /* see forest_additions */
    PT_REAL *near;               /* best edge of a point, then of its subtree, to each cluster */
    PT_REAL *tie;                /* weight of the edge to the parent */
    int32_t *unit, *unit_size;   /* a unit is its least point */
    int32_t *cluster, *before;   /* of each point: now, and in front of an exchange */
    int32_t *order, *up, *count; /* points, parents first; parent or -1 */
    int32_t *start, *beside;     /* neighbours in the trees, beside[start[v] ..] */
    int32_t *pair;               /* cannot-links, two points each */
    int32_t *sorted;             /* edges in their order */
    int32_t *id;                 /* edge list: index of the edge between two points */
    uint8_t *shut;               /* a point's, then a subtree's, closed clusters */
    uint8_t *clash;              /* may two units, or clusters, not be one? */
    uint8_t *whole, *bound; /* may the edge to the parent be cut? has the point a constraint? */
    char *rest;             /* for sorting */
} PT_NAME(forest_search);

static inline void *PT_NAME(forest_slice)(size_t *at, char *work, int64_t count, size_t element) {
    const size_t begin = *at;
    *at += PT_NAME(forest_room)((size_t)count * element);
    return work ? work + begin : NULL;
}

/* Cut the scratch; returns its size without what sorting takes. work = NULL: the size alone. */
static size_t PT_NAME(forest_lay)(const pt_problem *p, char *work, PT_NAME(forest_search) * c) {
    const int64_t n = p->ints[0], stride = PT_NAME(forest_stride)(n);
    const size_t real = sizeof(PT_REAL), word = sizeof(int32_t);
    size_t at = 0;
    memset(c, 0, sizeof *c);
    c->n = n;
    c->stride = stride;
    c->w = PT_NAME(forest_slice)(&at, work, n * stride, real);
    char *prim = PT_NAME(forest_slice)(&at, work, (int64_t)PT_NAME(forest_prim_size)(n), 1);
    if (work)
        c->s = PT_NAME(forest_cut)(n, prim);
    c->flow = PT_NAME(forest_slice)(&at, work, n * stride, real);
    c->add = PT_NAME(forest_slice)(&at, work, n * stride, real);
    c->near = PT_NAME(forest_slice)(&at, work, n * stride, real);
    c->tie = PT_NAME(forest_slice)(&at, work, n, real);
    int32_t **each[] = { &c->unit,  &c->unit_size, &c->cluster, &c->before,
                         &c->order, &c->up,        &c->count };
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        *each[i] = PT_NAME(forest_slice)(&at, work, n, word);
    c->start = PT_NAME(forest_slice)(&at, work, n + 1, word);
    c->beside = PT_NAME(forest_slice)(&at, work, 2 * n, word);
    c->pair = PT_NAME(forest_slice)(&at, work, n * n, word);
    c->sorted = PT_NAME(forest_slice)(&at, work, p->n, word);
    c->id = p->ints[3] > 0 ? PT_NAME(forest_slice)(&at, work, n * n, word) : NULL;
    c->shut = PT_NAME(forest_slice)(&at, work, n * n, 1);
    c->clash = PT_NAME(forest_slice)(&at, work, n * n, 1);
    c->whole = PT_NAME(forest_slice)(&at, work, n, 1);
    c->bound = PT_NAME(forest_slice)(&at, work, n, 1);
    c->rest = work ? work + at : NULL;
    return at;
}

/* ---- a row's constraints --------------------------------------------------------------------------------------- */

/* Units, cannot-links between them, and which units clash.   limit: n x n */
static void PT_NAME(forest_take)(PT_NAME(forest_search) * c, const int8_t *limit) {
    const int64_t n = c->n;
    PT_NAME(forest_alone)(c->unit, n);
    for (int64_t v = 0; v < n; v++)
        c->bound[v] = 0;
    c->n_pairs = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++) {
            if (limit[i * n + j])
                c->bound[i] = c->bound[j] = 1;
            if (limit[i * n + j] > 0)
                PT_NAME(forest_join)(c->unit, (int32_t)i, (int32_t)j);
            if (limit[i * n + j] < 0) {
                c->pair[2 * c->n_pairs] = (int32_t)i;
                c->pair[2 * c->n_pairs++ + 1] = (int32_t)j;
            }
        }
    memset(c->unit_size, 0, (size_t)n * sizeof *c->unit_size);
    c->n_units = 0;
    for (int64_t v = 0; v < n; v++) {
        c->unit[v] = PT_NAME(forest_root)(c->unit, (int32_t)v);
        c->n_units += c->unit[v] == v;
        c->unit_size[c->unit[v]]++;
    }
}

/* clash[a n + b] = 1 where two points with labels a and b may not share a tree. */
static void PT_NAME(forest_clashes)(PT_NAME(forest_search) * c, const int32_t *label,
                                    int64_t n_labels) {
    for (int64_t a = 0; a < n_labels; a++)
        memset(c->clash + a * c->n, 0, (size_t)n_labels);
    for (int64_t i = 0; i < c->n_pairs; i++) {
        const int64_t a = label[c->pair[2 * i]], b = label[c->pair[2 * i + 1]];
        c->clash[a * c->n + b] = c->clash[b * c->n + a] = 1;
    }
}

/* Units that clash with each other, all of them: found greedily from the unit with the most clashes. */
static int64_t PT_NAME(forest_clique)(const PT_NAME(forest_search) * c, int32_t *clique) {
    int64_t size = 0, most = -1, first = 0;
    for (int64_t u = 0; u < c->n; u++) {
        int64_t clashes = 0;
        for (int64_t v = 0; c->unit[u] == u && v < c->n; v++)
            clashes += c->clash[u * c->n + v];
        if (c->unit[u] == u && clashes > most) {
            most = clashes;
            first = u;
        }
    }
    clique[size++] = (int32_t)first;
    for (int64_t u = 0; u < c->n; u++) {
        int fits = c->unit[u] == u && u != first;
        for (int64_t i = 0; fits && i < size; i++)
            fits = c->clash[u * c->n + clique[i]];
        if (fits)
            clique[size++] = (int32_t)u;
    }
    return size;
}

/* Contradictions, and numbers of trees that cannot be. */
static pt_status PT_NAME(forest_check_limits)(const pt_problem *p, int64_t row, int64_t k,
                                              const int8_t *limit, char *work, pt_error *err) {
    PT_NAME(forest_search) c;
    PT_NAME(forest_lay)(p, work, &c);
    PT_NAME(forest_take)(&c, limit);
    for (int64_t i = 0; i < c.n_pairs; i++)
        if (c.unit[c.pair[2 * i]] == c.unit[c.pair[2 * i + 1]])
            return pt_fail(err, PT_E_INFEASIBLE, row,
                           "constraints contradict each other: points %d and %d must not share a"
                           " tree, and must-links join them",
                           c.pair[2 * i], c.pair[2 * i + 1]);
    if (k > c.n_units)
        return pt_fail(err, PT_E_INFEASIBLE, row,
                       "constraints leave at most %lld trees, got k = %lld", (long long)c.n_units,
                       (long long)k);
    PT_NAME(forest_clashes)(&c, c.unit, c.n);
    const int64_t least = PT_NAME(forest_clique)(&c, c.order);
    if (k < least)
        return pt_fail(err, PT_E_INFEASIBLE, row,
                       "constraints need at least %lld trees, got k = %lld", (long long)least,
                       (long long)k);
    return PT_OK;
}
