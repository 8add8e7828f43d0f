/* forest_constraints: forests of k trees where some points must share a tree and some may not. For spanning_forest.
 *
 * A solution is a partition into k clusters; its forest is the maximum spanning tree of each. Points that must share a
 * cluster are one unit. Few units: the best partition, by dynamic programming over subsets. Else, a search:
 *   1. greedy: edges in their order join units unless that is not allowed, until k clusters are left (Stewart et al. 2023);
 *      where it ends with more, units are coloured by their cannot-links instead (Brelaz 1979);
 *   2. every cluster gets its own maximum spanning tree;
 *   3. exchanges, the best one first, as long as one makes the forest heavier: a point moves to another cluster; a
 *      subtree does; an edge or a point is cut off and two clusters are joined by an edge.
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

/* ---- partitions ------------------------------------------------------------------------------------------------ */

/* Number the clusters 0, 1, ... by their first points; returns how many there are. */
static int64_t PT_NAME(forest_number)(PT_NAME(forest_search) * c) {
    int64_t count = 0;
    for (int64_t v = 0; v < c->n; v++)
        c->count[v] = -1;
    for (int64_t v = 0; v < c->n; v++) {
        int32_t *number = &c->count[c->cluster[v]];
        if (*number < 0)
            *number = (int32_t)count++;
        c->cluster[v] = *number;
    }
    return count;
}

/* The maximum spanning tree of each cluster; its weight, -inf where a cluster is not connected. */
static pt_status PT_NAME(forest_resolve)(PT_NAME(forest_search) * c, double *total) {
    const int64_t n = c->n;
    for (int64_t i = 0; i < n; i++) {
        const PT_REAL *restrict from = c->w + i * c->stride;
        PT_REAL *restrict to = c->s.w + i * c->stride;
        for (int64_t j = 0; j < n; j++)
            to[j] = c->cluster[j] == c->cluster[i] ? from[j] : -PT_INFINITY;
        for (int64_t j = n; j < c->stride; j++)
            to[j] = -PT_INFINITY;
    }
    if (PT_NAME(forest_trees)(&c->s, 1, n, c->group))
        return PT_E_STOPPED;
    *total = c->s.count == n - c->k ? 0 : -(double)PT_INFINITY;
    for (int64_t e = 0; e < c->s.count; e++)
        *total += (double)c->s.weight[e];
    return PT_OK;
}

/* Kruskal over units: returns the number of clusters, k unless the constraints were in the way. */
static int64_t PT_NAME(forest_greedy)(PT_NAME(forest_search) * c, const pt_problem *p,
                                      const int64_t *ends) {
    const int64_t n = c->n;
    int64_t clusters = c->n_units;
    memcpy(c->cluster, c->unit, (size_t)n * sizeof *c->cluster);
    PT_NAME(forest_clashes)(c, c->unit, n);
    for (int64_t r = 0; r < p->n && clusters > c->k && c->sorted[r] >= 0; r++) {
        int64_t ij[2];
        PT_NAME(forest_points)(n, ends, c->sorted[r], ij);
        const int32_t a = PT_NAME(forest_root)(c->cluster, (int32_t)ij[0]),
                      b = PT_NAME(forest_root)(c->cluster, (int32_t)ij[1]);
        if (a == b || c->clash[a * n + b])
            continue;
        const int32_t low = a < b ? a : b, high = a < b ? b : a;
        c->cluster[high] = low;
        clusters--;
        for (int64_t v = 0; v < n; v++)
            if (c->clash[high * n + v])
                c->clash[low * n + v] = c->clash[v * n + low] = 1;
    }
    for (int64_t v = 0; v < n; v++)
        c->cluster[v] = PT_NAME(forest_root)(c->cluster, (int32_t)v);
    return PT_NAME(forest_number)(c);
}

/* Colour the units: of those without a colour, the one that sees most colours (then most clashes) gets the first one
 * free. Then units leave clusters of several until there are k. Returns the number of clusters. */
static int64_t PT_NAME(forest_colour)(PT_NAME(forest_search) * c) {
    const int64_t n = c->n;
    PT_NAME(forest_clashes)(c, c->unit, n);
    memset(c->shut, 0, (size_t)(n * n)); /* colours that a unit sees */
    for (int64_t v = 0; v < n; v++)
        c->cluster[v] = -1;
    for (int64_t done = 0; done < c->n_units; done++) {
        int64_t best = -1, most = -1, colour = 0;
        for (int64_t u = 0; u < n; u++) {
            if (c->unit[u] != u || c->cluster[u] >= 0)
                continue;
            int64_t sees = 0;
            for (int64_t v = 0; v < n; v++)
                sees += (n + 1) * c->shut[u * n + v] + c->clash[u * n + v];
            if (sees > most) {
                most = sees;
                best = u;
            }
        }
        while (c->shut[best * n + colour])
            colour++;
        for (int64_t v = 0; v < n; v++) {
            c->cluster[v] = c->unit[v] == best ? (int32_t)colour : c->cluster[v];
            c->shut[v * n + colour] |= c->clash[best * n + v];
        }
    }
    int64_t clusters = PT_NAME(forest_number)(c);
    for (int64_t u = n - 1; u >= 0 && clusters < c->k; u--) {
        int alone = c->unit[u] == u;
        for (int64_t v = 0; alone && v < u; v++)
            if (c->cluster[v] == c->cluster[u])
                alone = 2;
        for (int64_t v = 0; alone == 2 && v < n; v++)
            c->cluster[v] = c->unit[v] == u ? (int32_t)clusters : c->cluster[v];
        clusters += alone == 2;
    }
    return clusters;
}

/* ---- few units: dynamic programming ---------------------------------------------------------------------------- */

/* Weight of the maximum spanning tree of some points, -inf where there is none.   at: n words, best: n reals */
static double PT_NAME(forest_weigh)(const PT_NAME(forest_search) * c, int32_t *at, int64_t count,
                                    PT_REAL *best) {
    double sum = 0;
    for (int64_t i = 1; i < count; i++)
        best[i] = c->w[at[0] * c->stride + at[i]];
    for (int64_t left = count - 1; left > 0; left--) {
        int64_t first = 1;
        for (int64_t i = 2; i <= left; i++)
            first = best[i] > best[first] ? i : first;
        const int32_t v = at[first];
        sum += (double)best[first];
        at[first] = at[left];
        best[first] = best[left];
        const PT_REAL *row = c->w + v * c->stride;
        for (int64_t i = 1; i < left; i++)
            best[i] = best[i] > row[at[i]] ? best[i] : row[at[i]];
    }
    return sum;
}

/* best[t][S] = max over subsets T of S with S's first unit of tree(T) + best[t - 1][S - T]. */
static int64_t PT_NAME(forest_exact)(PT_NAME(forest_search) * c) {
    enum { sets = 1 << PT_FOREST_UNITS };
    const double none = -(double)PT_INFINITY;
    double tree[sets], best[2][sets];
    int16_t took[PT_FOREST_UNITS + 1][sets];
    int32_t number[PT_FOREST_UNITS];
    const int64_t n = c->n, m = c->n_units, all = ((int64_t)1 << m) - 1;
    int64_t units = 0;
    PT_NAME(forest_clashes)(c, c->unit, n);
    for (int64_t v = 0; v < n; v++)
        if (c->unit[v] == v)
            number[units++] = (int32_t)v;
    for (int64_t set = 1; set <= all; set++) {
        int64_t count = 0, clash = 0;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = i + 1; j < m; j++)
                clash |= set >> i & set >> j & c->clash[number[i] * n + number[j]];
        for (int64_t v = 0; v < n && !clash; v++)
            for (int64_t i = 0; i < m; i++)
                if (c->unit[v] == number[i] && set >> i & 1)
                    c->order[count++] = (int32_t)v;
        tree[set] = clash ? none : PT_NAME(forest_weigh)(c, c->order, count, c->tie);
    }
    for (int64_t set = 0; set <= all; set++)
        best[0][set] = set ? none : 0;
    for (int64_t t = 1; t <= c->k; t++)
        for (int64_t set = 0; set <= all; set++) {
            const int64_t first = set & -set;
            double *value = &best[t % 2][set];
            *value = none;
            took[t][set] = 0;
            for (int64_t rest = set - first;; rest = (rest - 1) & (set - first)) {
                const int64_t sub = rest | first;
                const double x = set ? tree[sub] + best[(t - 1) % 2][set - sub] : none;
                if (x > *value) {
                    *value = x;
                    took[t][set] = (int16_t)sub;
                }
                if (rest <= 0)
                    break;
            }
        }
    if (!(best[c->k % 2][all] > none))
        return -1;
    int64_t set = all;
    for (int64_t t = c->k; t > 0; set -= took[t][set], t--)
        for (int64_t i = 0; i < m; i++)
            for (int64_t v = 0; took[t][set] >> i & 1 && v < n; v++)
                if (c->unit[v] == number[i])
                    c->cluster[v] = (int32_t)(t - 1);
    return c->k;
}

/* ---- exchanges: what there is to know of a forest ---------------------------------------------------------------- */

/* Points parents first, each tree from a point with a constraint if it has one. */
static void PT_NAME(forest_hang)(PT_NAME(forest_search) * c) {
    const int64_t n = c->n, edges = n - c->k;
    memset(c->start, 0, (size_t)(n + 1) * sizeof *c->start);
    for (int64_t e = 0; e < edges; e++) {
        c->start[(c->s.edge[e] >> PT_FOREST_SHIFT) + 1]++;
        c->start[(c->s.edge[e] & (PT_FOREST_POINTS - 1)) + 1]++;
    }
    for (int64_t v = 0; v < n; v++)
        c->start[v + 1] += c->start[v];
    for (int64_t v = 0; v < n; v++) {
        c->count[v] = c->start[v];
        c->up[v] = -2;
    }
    for (int64_t e = 0; e < edges; e++) {
        const int32_t i = (int32_t)(c->s.edge[e] >> PT_FOREST_SHIFT),
                      j = (int32_t)(c->s.edge[e] & (PT_FOREST_POINTS - 1));
        c->beside[c->count[i]++] = j;
        c->beside[c->count[j]++] = i;
    }
    int64_t end = 0, at = 0;
    for (int bound = 1; bound >= 0; bound--)
        for (int64_t root = 0; root < n; root++) {
            if (c->up[root] != -2 || c->bound[root] < bound)
                continue;
            c->up[root] = -1;
            c->order[end++] = (int32_t)root;
            for (; at < end; at++) {
                const int32_t v = c->order[at];
                for (int32_t i = c->start[v]; i < c->start[v + 1]; i++) {
                    const int32_t u = c->beside[i];
                    if (u == c->up[v])
                        continue;
                    c->up[u] = v;
                    c->tie[u] = c->w[u * c->stride + v];
                    c->order[end++] = u;
                }
            }
        }
}

/* whole[v]: cutting v from its parent leaves every unit whole. */
static void PT_NAME(forest_wholes)(PT_NAME(forest_search) * c) {
    const int64_t n = c->n;
    for (int64_t v = 0; v < n; v++)
        c->whole[v] = c->up[v] >= 0;
    for (int64_t unit = 0; unit < n; unit++) {
        const int32_t size = c->unit_size[unit];
        if (size < 2)
            continue;
        for (int64_t v = 0; v < n; v++)
            c->count[v] = c->unit[v] == unit;
        for (int64_t i = n - 1; i >= 0; i--) {
            const int32_t v = c->order[i];
            if (c->up[v] < 0)
                continue;
            if (c->count[v] > 0 && c->count[v] < size)
                c->whole[v] = 0;
            c->count[c->up[v]] += c->count[v];
        }
    }
}

/* add[q][x]: what cluster q's tree gains by point x, all q and x at once (Chin & Houck 1978).
 * flow[v][x] is the best edge from v's subtree to x; at v's edge to its parent the heavier of the two stays in the tree,
 * the lighter one goes up. */
static void PT_NAME(forest_additions)(PT_NAME(forest_search) * c) {
    const int64_t n = c->n, stride = c->stride;
    memcpy(c->flow, c->w, (size_t)(n * stride) * sizeof *c->flow);
    memset(c->add, 0, (size_t)(c->k * stride) * sizeof *c->add);
    for (int64_t i = n - 1; i >= 0; i--) {
        const int32_t v = c->order[i], up = c->up[v];
        const PT_REAL *restrict flow = c->flow + v * stride;
        PT_REAL *restrict add = c->add + c->cluster[v] * stride;
        if (up < 0) {
            for (int64_t x = 0; x < stride; x++)
                add[x] += flow[x];
            continue;
        }
        PT_REAL *restrict above = c->flow + up * stride;
        const PT_REAL tie = c->tie[v];
        for (int64_t x = 0; x < stride; x++) {
            const PT_REAL keep = flow[x] > tie ? flow[x] : tie, low = flow[x] > tie ? tie : flow[x];
            add[x] += keep - tie;
            above[x] = above[x] > low ? above[x] : low;
        }
    }
}

/* near[v][q] and shut[v][q], of points. */
static void PT_NAME(forest_nearest)(PT_NAME(forest_search) * c) {
    const int64_t n = c->n, stride = c->stride;
    for (int64_t v = 0; v < n; v++) {
        PT_REAL *near = c->near + v * stride;
        const PT_REAL *w = c->w + v * stride;
        for (int64_t q = 0; q < c->k; q++)
            near[q] = -PT_INFINITY;
        for (int64_t u = 0; u < n; u++) {
            PT_REAL *best = near + c->cluster[u];
            *best = *best > w[u] ? *best : w[u];
        }
        memset(c->shut + v * n, 0, (size_t)c->k);
    }
    for (int64_t i = 0; i < c->n_pairs; i++) {
        const int64_t u = c->pair[2 * i], v = c->pair[2 * i + 1];
        c->shut[u * n + c->cluster[v]] = c->shut[v * n + c->cluster[u]] = 1;
    }
}

/* near and shut, of subtrees. */
static void PT_NAME(forest_gather)(PT_NAME(forest_search) * c) {
    for (int64_t i = c->n - 1; i >= 0; i--) {
        const int64_t v = c->order[i], up = c->up[v];
        for (int64_t q = 0; up >= 0 && q < c->k; q++) {
            PT_REAL *best = c->near + up * c->stride + q;
            const PT_REAL own = c->near[v * c->stride + q];
            *best = *best > own ? *best : own;
            c->shut[up * c->n + q] |= c->shut[v * c->n + q];
        }
    }
}

/* ---- exchanges ----------------------------------------------------------------------------------------------------- */

/* What an exchange does: cut (a point or a subtree; cut < 0: nothing) gets a cluster of its own, then it moves to
 * cluster `to`, or the clusters of i and j become one. */
typedef struct {
    double gain;
    int subtree;
    int64_t cut, to, i, j;
} PT_NAME(forest_exchange);

/* What the tree of x's cluster loses with x. */
static double PT_NAME(forest_removal)(PT_NAME(forest_search) * c, int64_t x) {
    int64_t count = 0;
    double loss = 0;
    if (c->up[x] >= 0 && c->start[x + 1] - c->start[x] == 1)
        return -(double)c->tie[x];
    for (int64_t v = 0; v < c->n; v++)
        if (c->cluster[v] == c->cluster[x]) {
            loss -= c->up[v] >= 0 ? (double)c->tie[v] : 0.0;
            if (v != x)
                c->count[count++] = (int32_t)v;
        }
    return PT_NAME(forest_weigh)(c, c->count, count, c->flow) + loss;
}

/* The heaviest edge between two clusters that may be one. */
static PT_NAME(forest_exchange) PT_NAME(forest_link)(const PT_NAME(forest_search) * c) {
    PT_NAME(forest_exchange) best = { -(double)PT_INFINITY, 0, -1, -1, 0, 0 };
    for (int64_t i = 0; i < c->n; i++) {
        const PT_REAL *near = c->near + i * c->stride;
        const uint8_t *clash = c->clash + c->cluster[i] * c->n;
        for (int64_t q = 0; q < c->k; q++)
            if ((double)near[q] > best.gain && q != c->cluster[i] && !clash[q]) {
                best.gain = (double)near[q];
                best.i = i;
                best.to = q;
            }
    }
    for (int64_t j = 0; best.to >= 0 && j < c->n; j++)
        if (c->cluster[j] == best.to && (double)c->w[best.i * c->stride + j] == best.gain)
            best.j = j;
    best.to = -1;
    return best;
}

/* A point moves, or it is cut off and the link made. Needs near of points. */
static void PT_NAME(forest_try_points)(PT_NAME(forest_search) * c,
                                       const PT_NAME(forest_exchange) * link,
                                       PT_NAME(forest_exchange) * best) {
    for (int64_t x = 0; x < c->n; x++) {
        const int64_t own = c->cluster[x];
        const PT_REAL top = c->near[x * c->stride + own];
        if (c->unit_size[c->unit[x]] > 1 || !(top > -PT_INFINITY))
            continue;
        double most = -(double)PT_INFINITY;
        int64_t to = -1;
        for (int64_t q = 0; q < c->k; q++)
            if (q != own && !c->shut[x * c->n + q] && (double)c->add[q * c->stride + x] > most) {
                most = (double)c->add[q * c->stride + x];
                to = q;
            }
        const int moves = most >= link->gain; /* then a cut and a link gain no more */
        most = moves ? most : link->gain;
        if (!(most - (double)top > best->gain)) /* no removal loses less than x's best edge */
            continue;
        const double gain = most + PT_NAME(forest_removal)(c, x);
        if (gain > best->gain)
            *best = moves ? (PT_NAME(forest_exchange)){ gain, 0, x, to, 0, 0 }
                          : (PT_NAME(forest_exchange)){ gain, 0, x, -1, link->i, link->j };
    }
}

/* A subtree moves, or it is cut off and the link made. Needs near of subtrees. */
static void PT_NAME(forest_try_subtrees)(const PT_NAME(forest_search) * c,
                                         const PT_NAME(forest_exchange) * link,
                                         PT_NAME(forest_exchange) * best) {
    for (int64_t v = 0; v < c->n; v++) {
        if (!c->whole[v])
            continue;
        const double tie = (double)c->tie[v];
        const PT_REAL *near = c->near + v * c->stride;
        for (int64_t q = 0; q < c->k; q++)
            if ((double)near[q] - tie > best->gain && q != c->cluster[v] && !c->shut[v * c->n + q])
                *best = (PT_NAME(forest_exchange)){ (double)near[q] - tie, 1, v, q, 0, 0 };
        if (link->gain - tie > best->gain)
            *best = (PT_NAME(forest_exchange)){ link->gain - tie, 1, v, -1, link->i, link->j };
    }
}

static void PT_NAME(forest_apply)(PT_NAME(forest_search) * c, const PT_NAME(forest_exchange) * e) {
    const int32_t fresh = (int32_t)(e->to >= 0 ? e->to : c->k);
    for (int64_t v = 0; v < c->n; v++)
        c->count[v] = v == e->cut;
    for (int64_t i = 0; e->subtree && i < c->n; i++) {
        const int32_t v = c->order[i];
        c->count[v] |= c->up[v] >= 0 && c->count[c->up[v]];
    }
    for (int64_t v = 0; v < c->n; v++)
        c->cluster[v] = c->count[v] ? fresh : c->cluster[v];
    if (e->to >= 0)
        return;
    const int32_t a = c->cluster[e->i], b = c->cluster[e->j];
    for (int64_t v = 0; v < c->n; v++) {
        c->cluster[v] = c->cluster[v] == b ? a : c->cluster[v];
        c->cluster[v] = c->cluster[v] == fresh && a != fresh ? b : c->cluster[v];
    }
    if (a == fresh) /* b's number is free, fresh is one too many */
        for (int64_t v = 0; v < c->n; v++)
            c->cluster[v] = c->cluster[v] == fresh ? b : c->cluster[v];
}

/* Exchange while that makes the forest heavier. On entry and return c->s holds the clusters' trees. */
static pt_status PT_NAME(forest_improve)(PT_NAME(forest_search) * c, double total,
                                         double rounding) {
    pt_status status = PT_OK;
    for (int64_t round = 0; round < PT_FOREST_ROUNDS * c->n && status == PT_OK; round++) {
        PT_NAME(forest_exchange) best = { rounding, 0, -1, -1, 0, 0 };
        double after = 0;
        PT_NAME(forest_hang)(c);
        PT_NAME(forest_wholes)(c);
        PT_NAME(forest_additions)(c);
        PT_NAME(forest_nearest)(c);
        PT_NAME(forest_clashes)(c, c->cluster, c->k);
        const PT_NAME(forest_exchange) link = PT_NAME(forest_link)(c);
        PT_NAME(forest_try_points)(c, &link, &best);
        PT_NAME(forest_gather)(c);
        PT_NAME(forest_try_subtrees)(c, &link, &best);
        if (best.cut < 0)
            break;
        memcpy(c->before, c->cluster, (size_t)c->n * sizeof *c->before);
        PT_NAME(forest_apply)(c, &best);
        status = PT_NAME(forest_resolve)(c, &after);
        if (status == PT_OK && !(after > total + 0.5 * rounding)) {
            memcpy(c->cluster, c->before, (size_t)c->n * sizeof *c->before);
            return PT_NAME(forest_resolve)(c, &total);
        }
        total = after;
    }
    return status;
}

/* ---- a draw ---------------------------------------------------------------------------------------------------------- */

/* The matrix of an edge list: of parallel edges the first in order. */
static void PT_NAME(forest_expand_list)(PT_NAME(forest_search) * c, const pt_problem *p,
                                        const int64_t *ends, const PT_REAL *theta) {
    for (int64_t i = 0; i < c->n * c->stride; i++)
        c->w[i] = -PT_INFINITY;
    for (int64_t e = 0; e < p->n; e++) {
        const int64_t i = ends[2 * e], j = ends[2 * e + 1];
        if (!(theta[e] > c->w[i * c->stride + j]))
            continue;
        c->w[i * c->stride + j] = c->w[j * c->stride + i] = theta[e];
        c->id[i * c->n + j] = c->id[j * c->n + i] = (int32_t)e;
    }
}

static pt_status PT_NAME(forest_search_start)(PT_NAME(forest_search) * c, const pt_problem *p,
                                              const int64_t *ends, int64_t d, int *exact) {
    const int few = c->n_units <= PT_FOREST_UNITS;
    *exact = few && c->n << c->n_units <= PT_FOREST_WORK;
    int64_t clusters = -1;
    if (*exact)
        clusters = PT_NAME(forest_exact)(c);
    else {
        const pt_status status = PT_NAME(forest_sort)(p, c->group, d, c->sorted, c->rest);
        if (status != PT_OK)
            return status;
        clusters = PT_NAME(forest_greedy)(c, p, ends);
        if (clusters != c->k)
            clusters = PT_NAME(forest_colour)(c);
    }
    return clusters == c->k ? PT_OK : PT_E_INFEASIBLE;
}

/* Solve draw d of a group under a row's constraints.   edges [out] n - 1 words, as of a code */
static pt_status PT_NAME(forest_constrained)(const pt_problem *p, const pt_group *group, int64_t d,
                                             int64_t k, const int64_t *ends, const int8_t *limit,
                                             int32_t *edges, char *work, pt_error *err) {
    const PT_REAL *theta = (const PT_REAL *)group->theta + d * group->draw_step;
    PT_NAME(forest_search) c;
    double total = 0, rounding = 0;
    int exact;
    PT_NAME(forest_lay)(p, work, &c);
    c.k = k;
    c.group = group;
    PT_NAME(forest_take)(&c, limit);
    if (ends)
        PT_NAME(forest_expand_list)(&c, p, ends, theta);
    else
        PT_NAME(forest_expand)(c.n, theta, c.w);
    for (int64_t e = 0; e < p->n; e++) {
        const double x = (double)(theta[e] < 0 ? -theta[e] : theta[e]);
        rounding += theta[e] > -PT_INFINITY ? x * PT_FOREST_GAIN : 0.0;
    }
    pt_status status = PT_NAME(forest_search_start)(&c, p, ends, d, &exact);
    if (status == PT_OK)
        status = PT_NAME(forest_resolve)(&c, &total);
    if (status == PT_E_INFEASIBLE || (status == PT_OK && !(total > -(double)PT_INFINITY)))
        return pt_fail(err, PT_E_INFEASIBLE, group->row[d],
                       "no forest found of k = %lld trees under its constraints", (long long)k);
    if (status == PT_OK && !exact)
        status = PT_NAME(forest_improve)(&c, total, rounding);
    c.s.count = c.n - k;
    if (status == PT_OK)
        PT_NAME(forest_write)(&c.s, c.n, k, c.id, edges);
    return status;
}
