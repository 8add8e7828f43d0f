/* forest_partitions: clusters under constraints, by edges in their order, by colours, or by dynamic programming; their
 * trees. For forest_search.tmpl.h; what is asked stands in forest_constraints.tmpl.h. */
#ifndef PT_REAL
#error "forest_partitions.tmpl.h is a template: include it from registry.tmpl.h"
#endif

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
