/* forest_thresholds: where each edge enters or leaves the heaviest forest F of k trees (MATH, section 5).
 * Forests of n - k edges are the bases of a matroid: the best one with e, or without it, is F after one exchange.
 *   e not in F, ends in one tree:   for the lightest edge of the path between them
 *   e not in F, ends in two trees:  for the lightest edge of F, as k trees stay
 *   e in F:                         for the heaviest edge outside F that joins two trees of F - e
 * For spanning_forest. */
#ifndef PT_REAL
#error "forest_thresholds.tmpl.h is a template: include it from registry.tmpl.h"
#endif

/* The forest of a draw, n of each. Its edges are numbered as in the code, the heaviest first. */
typedef struct {
    int64_t n, size; /* points, edges */
    const int64_t *ends;
    const int32_t *code;
    int32_t *begin;           /* n + 1: where a point's neighbours begin */
    int32_t *near;            /* 2 n: neighbours, */
    int32_t *by;              /* 2 n: and the edges to them */
    int32_t *queue;           /* points, the nearer to a root the earlier */
    int32_t *root, *up, *own; /* of a point: its tree's root, its parent, the edge to it or -1 */
    int32_t *depth;
    int32_t *top;          /* the highest point that is reached over edges which have a successor */
    int32_t *next;         /* of an edge: the one that takes its place, or -1 */
    int32_t *joined, *age; /* union by size: parent, and the edge that joined to it */
    int32_t *order;        /* all edges, the heaviest first */
    char *rest;
} PT_NAME(forest_swaps);

static size_t PT_NAME(forest_swaps_size)(const pt_problem *p) {
    return PT_NAME(forest_room)(((size_t)p->ints[0] * 14 + (size_t)p->n + 2) * sizeof(int32_t)) +
           PT_NAME(forest_sort_size)(p);
}

static PT_NAME(forest_swaps) PT_NAME(forest_swaps_lay)(const pt_problem *p, void *work) {
    const int64_t n = p->ints[0];
    PT_NAME(forest_swaps) s = { .n = n, .begin = work };
    s.near = s.begin + n + 2;
    s.by = s.near + 2 * n;
    s.queue = s.by + 2 * n;
    s.root = s.queue + n;
    s.up = s.root + n;
    s.own = s.up + n;
    s.depth = s.own + n;
    s.top = s.depth + n;
    s.next = s.top + n;
    s.joined = s.next + n;
    s.age = s.joined + n;
    s.order = s.age + n;
    s.rest =
        (char *)work + PT_NAME(forest_room)(((size_t)n * 14 + (size_t)p->n + 2) * sizeof(int32_t));
    return s;
}

/* Neighbours of each point in the forest. begin[v + 1] counts, then is where v's are written, then where they end. */
static void PT_NAME(forest_swaps_near)(PT_NAME(forest_swaps) * s) {
    int64_t ij[2];
    memset(s->begin, 0, (size_t)(s->n + 2) * sizeof *s->begin);
    for (int64_t f = 0; f < s->size; f++) {
        PT_NAME(forest_points)(s->n, s->ends, s->code[f], ij);
        s->begin[ij[0] + 2]++;
        s->begin[ij[1] + 2]++;
    }
    for (int64_t v = 0; v < s->n; v++)
        s->begin[v + 2] += s->begin[v + 1];
    for (int64_t f = 0; f < s->size; f++) {
        PT_NAME(forest_points)(s->n, s->ends, s->code[f], ij);
        for (int side = 0; side < 2; side++) {
            const int32_t at = s->begin[ij[side] + 1]++;
            s->near[at] = (int32_t)ij[1 - side];
            s->by[at] = (int32_t)f;
        }
    }
}

/* Hang each tree from its least point, breadth first. */
static void PT_NAME(forest_swaps_hang)(PT_NAME(forest_swaps) * s) {
    int64_t tail = 0, head = 0;
    for (int64_t v = 0; v < s->n; v++)
        s->root[v] = -1;
    for (int64_t r = 0; r < s->n; r++) {
        if (s->root[r] >= 0)
            continue;
        s->root[r] = s->up[r] = (int32_t)r;
        s->own[r] = -1;
        s->depth[r] = 0;
        s->queue[tail++] = (int32_t)r;
        for (; head < tail; head++) {
            const int32_t u = s->queue[head];
            for (int32_t at = s->begin[u]; at < s->begin[u + 1]; at++) {
                const int32_t v = s->near[at];
                if (s->root[v] >= 0)
                    continue;
                s->root[v] = (int32_t)r;
                s->up[v] = u;
                s->own[v] = s->by[at];
                s->depth[v] = s->depth[u] + 1;
                s->queue[tail++] = v;
            }
        }
    }
}

/* Edges joined in their order, the smaller set below the larger one: ages grow towards the root, and the oldest edge
 * under which two points meet is the lightest on their path. */
static void PT_NAME(forest_swaps_age)(PT_NAME(forest_swaps) * s) {
    int32_t *size = s->queue;
    for (int64_t v = 0; v < s->n; v++) {
        s->joined[v] = (int32_t)v;
        s->age[v] = INT32_MAX;
        size[v] = 1;
    }
    for (int64_t f = 0; f < s->size; f++) {
        int64_t ij[2];
        PT_NAME(forest_points)(s->n, s->ends, s->code[f], ij);
        int32_t u = (int32_t)ij[0], v = (int32_t)ij[1];
        while (s->joined[u] != u)
            u = s->joined[u];
        while (s->joined[v] != v)
            v = s->joined[v];
        const int32_t small = size[u] < size[v] ? u : v, large = small == u ? v : u;
        s->joined[small] = large;
        s->age[small] = (int32_t)f;
        size[large] += size[small];
    }
}

/* The edge that leaves when one between u and v enters, or -1. */
static inline int64_t PT_NAME(forest_leaves)(const PT_NAME(forest_swaps) * s, int64_t u,
                                             int64_t v) {
    int64_t f = s->size - 1; /* -1 where there are no edges */
    if (s->root[u] != s->root[v])
        return f;
    while (u != v) {
        if (s->age[u] > s->age[v]) {
            const int64_t w = u;
            u = v;
            v = w;
        }
        f = s->age[u];
        u = s->joined[u];
    }
    return f;
}

static inline int32_t PT_NAME(forest_top)(int32_t *top, int32_t v) {
    while (top[v] != v) {
        top[v] = top[top[v]];
        v = top[v];
    }
    return v;
}

/* Edges outside F, the heaviest first: each takes the place of those on its path that have no successor yet. One between
 * two trees could take any place, so the rest is its. */
static void PT_NAME(forest_successors)(PT_NAME(forest_swaps) * s, int64_t n_edges) {
    int64_t left = s->size;
    for (int64_t v = 0; v < s->n; v++)
        s->top[v] = (int32_t)v;
    for (int64_t f = 0; f < s->size; f++)
        s->next[f] = -1;
    for (int64_t r = 0; r < n_edges && s->order[r] >= 0 && left > 0; r++) {
        const int32_t e = s->order[r];
        int64_t ij[2];
        PT_NAME(forest_points)(s->n, s->ends, e, ij);
        int32_t u = (int32_t)ij[0], v = (int32_t)ij[1];
        if ((s->own[u] >= 0 && s->code[s->own[u]] == e) ||
            (s->own[v] >= 0 && s->code[s->own[v]] == e))
            continue;
        if (s->root[u] != s->root[v]) {
            for (int64_t f = 0; f < s->size; f++)
                s->next[f] = s->next[f] < 0 ? e : s->next[f];
            return;
        }
        u = PT_NAME(forest_top)(s->top, u);
        v = PT_NAME(forest_top)(s->top, v);
        while (u != v) {
            int32_t *deep = s->depth[u] < s->depth[v] ? &v : &u;
            s->next[s->own[*deep]] = e;
            s->top[*deep] = s->up[*deep];
            *deep = PT_NAME(forest_top)(s->top, *deep);
            left--;
        }
    }
}

/* Thresholds of one draw from what is known of its exchanges. */
static void PT_NAME(forest_swaps_tell)(const PT_NAME(forest_swaps) * s, int64_t n_edges,
                                       const PT_REAL *theta, const PT_REAL *g, PT_REAL *tau,
                                       PT_REAL *change) {
    int64_t i = 0, j = 1; /* of the complete graph */
    for (int64_t e = 0; e < n_edges; e++) {
        const int64_t u = s->ends ? s->ends[2 * e] : i, v = s->ends ? s->ends[2 * e + 1] : j;
        const int64_t f = s->n > 1 ? PT_NAME(forest_leaves)(s, u, v) : -1;
        tau[e] = f < 0 ? PT_INFINITY : theta[s->code[f]];
        if (g)
            change[e] = f < 0 ? 0 : g[e] - g[s->code[f]];
        if (++j == s->n)
            j = ++i + 1;
    }
    for (int64_t f = 0; f < s->size; f++) {
        const int32_t e = s->code[f], in = s->next[f];
        tau[e] = in < 0 ? -PT_INFINITY : theta[in];
        if (g)
            change[e] = in < 0 ? 0 : g[e] - g[in];
    }
}

/* One draw.   code: its forest, n - k edges in their order */
static pt_status PT_NAME(forest_swap)(const pt_problem *p, const pt_group *group, int64_t d,
                                      int64_t k, const int64_t *ends, const int32_t *code,
                                      const PT_REAL *g, PT_REAL *tau, PT_REAL *change, void *work) {
    PT_NAME(forest_swaps) s = PT_NAME(forest_swaps_lay)(p, work);
    s.size = s.n - k;
    s.ends = ends;
    s.code = code;
    const pt_status status = PT_NAME(forest_sort)(p, group, d, s.order, s.rest);
    if (status != PT_OK)
        return status;
    PT_NAME(forest_swaps_near)(&s);
    PT_NAME(forest_swaps_hang)(&s);
    PT_NAME(forest_swaps_age)(&s);
    PT_NAME(forest_successors)(&s, p->n);
    PT_NAME(forest_swaps_tell)
    (&s, p->n, (const PT_REAL *)group->theta + d * group->draw_step, g, tau, change);
    return group->stop && group->stop(group->stop_ctx) ? PT_E_STOPPED : PT_OK;
}
