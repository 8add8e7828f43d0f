/* forest_exchanges: make a forest heavier, one exchange at a time, under the constraints of forest_constraints.tmpl.h. */
#ifndef PT_REAL
#error "forest_exchanges.tmpl.h is a template: include it from registry.tmpl.h"
#endif

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
