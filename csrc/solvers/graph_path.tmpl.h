/* graph_path: heaviest path of a graph from a source to a target, scores on edges or on nodes.
 *   ints       {nodes, arcs, kind, on_nodes}. GRAPH_DAG: directed, without cycles; GRAPH_CYCLIC: directed;
 *              GRAPH_UNDIRECTED: each edge is two arcs. on_nodes: theta scores nodes, else edges
 *   arrays     const int64_t*: the source [0] and the target [1] of each row; const int32_t*: the graph [2]
 *              start of each node's arcs in, nodes + 1 of them; for each arc its other node and its edge, in order of edges
 *              GRAPH_CYCLIC: the same of the arcs out.   GRAPH_DAG: the user's name of each node, as nodes are numbered so
 *              that arcs go up; arrays 0 and 1 use these numbers
 *   code       bit j is set if the path uses edge, or node, j. On nodes both ends are included
 *
 * GRAPH_DAG, any sign. V(v) = max over arcs (u, v) of V(u) + theta(u, v), from 0 at the source; on nodes
 * V(v) = theta(v) + max over arcs of V(u), from theta(source). Rounded at each step; PT_LANES draws advance together.
 * Tie rule: walking back from the target, the first edge in the user's order whose sum is the maximum.
 *
 * Else a path could turn for ever: costs max(-theta, 0), and as in grid_path.tmpl.h the least cost D of a walk, rounded
 * at each step, obeys D(v) = min over arcs (u, v) of fl(D(u) + c), whatever the order of relaxation: here that of
 * Dijkstra 1959 from a heap with four children a node (Johnson 1975), where entries that have become too large stay and
 * are skipped. It ends above D(target).
 * Tie rule: of paths of tight arcs, fl(D(u) + c) = D(v), the one with the fewest; of those, walking back from the target,
 * the first edge in the user's order. A breadth-first search from the target back finds it, over plateaus of cost 0 too. */
#ifndef PT_REAL
#error "graph_path.tmpl.h is a template: include it from registry.tmpl.h"
#endif
#include <assert.h>

#define GRAPH_DAG 0
#define GRAPH_CYCLIC 1
#define GRAPH_UNDIRECTED 2
#define GRAPH_POLL 16384 /* arcs between two questions to group->stop */

typedef PT_REAL PT_NAME(graph_reals) __attribute__((vector_size(PT_VECTOR)));
typedef PT_BITS PT_NAME(graph_words) __attribute__((vector_size(PT_VECTOR)));

/* Arcs of a node: those from start[v] to before start[v + 1]. */
typedef struct {
    const int32_t *start;
    const struct PT_NAME(graph_arc) { int32_t node, edge; } * arc;
} PT_NAME(graph_arcs);

/* An entry of the heap, (key, node) in one word: the bits of numbers >= 0 are ordered as they are, so that one comparison
 * of integers, with no branch, picks the lesser entry. */
#if PT_F64
typedef unsigned __int128 PT_NAME(graph_entry);
#else
typedef uint64_t PT_NAME(graph_entry);
#endif

typedef struct {
    int64_t nodes, arcs;
    int kind, on_nodes;
    PT_NAME(graph_arcs) in, out; /* out: not of GRAPH_DAG */
    const int32_t *name;         /* NULL: nodes have the user's numbers */
} PT_NAME(graph);

static PT_NAME(graph_arcs) PT_NAME(graph_lists)(const int32_t *from, int64_t nodes) {
    return (PT_NAME(graph_arcs)){ from, (const void *)(from + nodes + 1) };
}

static PT_NAME(graph) PT_NAME(graph_open)(const pt_problem *p) {
    const int32_t *from = p->arrays[2].data;
    PT_NAME(graph)
    g = { .nodes = p->ints[0],
          .arcs = p->ints[1],
          .kind = (int)p->ints[2],
          .on_nodes = (int)p->ints[3] };
    const int32_t *rest = from + g.nodes + 1 + 2 * g.arcs;
    g.in = PT_NAME(graph_lists)(from, g.nodes);
    g.out = g.kind == GRAPH_CYCLIC ? PT_NAME(graph_lists)(rest, g.nodes) : g.in;
    g.name = g.kind == GRAPH_DAG ? rest : NULL;
    return g;
}

/* The source (end = 0) or the target (1) of a row. */
static inline int64_t PT_NAME(graph_end)(const pt_problem *p, int end, int64_t row) {
    const int64_t v = ((const int64_t *)p->arrays[end].data)[row * p->arrays[end].row_stride];
    assert(v >= 0 && v < p->ints[0]);
    return v;
}

/* The user's number of a node. */
static inline int64_t PT_NAME(graph_name)(const PT_NAME(graph) * g, int64_t v) {
    return g->name ? g->name[v] : v;
}

/* Which entry of theta an arc into v is charged. */
static inline int64_t PT_NAME(graph_entry_of)(const PT_NAME(graph) * g, int64_t v, int32_t edge) {
    return g->on_nodes ? PT_NAME(graph_name)(g, v) : edge;
}

static inline void PT_NAME(graph_mark)(int32_t *code, int64_t j) {
    code[j / 32] |= (int32_t)(UINT32_C(1) << j % 32);
}

static pt_status PT_NAME(graph_prepare)(pt_problem *p, pt_error *err) {
    const int64_t nodes = p->n_ints == 4 ? p->ints[0] : 0;
    size_t bytes; /* of the scratch or more */
    if (nodes < 1 || p->n_arrays != 3 || p->n_dims != 1 || (p->ints[3] && p->n != nodes))
        return pt_fail(err, PT_E_VALUE, -1,
                       "theta must have items of one score an edge, or a node");
    if (p->n > INT32_MAX || nodes > INT32_MAX / 2 || p->ints[1] > INT32_MAX / 4 ||
        !pt_mul_size(nodes + p->ints[1] + 16, 512, &bytes))
        return pt_fail(err, PT_E_VALUE, -1, "edges are too many: %lld", (long long)p->ints[1]);
    p->y_size = p->n;
    p->code_len = (p->n + 31) / 32;
    p->code_kind = PT_CODE_BITS;
    p->lanes = p->ints[2] == GRAPH_DAG ? PT_LANES : 1;
    p->clipped = p->ints[2] != GRAPH_DAG;
    p->linear = 1;
    p->sign = 1;
    return PT_OK;
}

/* Is the target reached over what is open? Breadth-first, from the target back.   work: nodes x (int32 and a byte) */
static pt_status PT_NAME(graph_check)(const pt_problem *p, int64_t row, const void *item,
                                      void *work, pt_error *err) {
    const PT_NAME(graph) g = PT_NAME(graph_open)(p);
    const int64_t end[2] = { PT_NAME(graph_end)(p, 0, row), PT_NAME(graph_end)(p, 1, row) };
    const long long name[2] = { PT_NAME(graph_name)(&g, end[0]), PT_NAME(graph_name)(&g, end[1]) };
    const PT_REAL *theta = item;
    int32_t *queue = work;
    uint8_t *seen = (uint8_t *)(queue + g.nodes);
    int64_t size = 1;
    for (int i = 0; i < 2 && g.on_nodes; i++)
        if (theta[name[i]] == -PT_INFINITY)
            return pt_fail(err, PT_E_INFEASIBLE, row, "%s %lld is closed (-inf)",
                           i ? "target" : "source", name[i]);
    memset(seen, 0, (size_t)g.nodes);
    queue[0] = (int32_t)end[1];
    seen[end[1]] = 1;
    for (int64_t i = 0; i < size && !seen[end[0]]; i++)
        for (int64_t v = queue[i], k = g.in.start[v]; k < g.in.start[v + 1]; k++) {
            const int32_t u = g.in.arc[k].node;
            if (seen[u] || theta[PT_NAME(graph_entry_of)(&g, v, g.in.arc[k].edge)] == -PT_INFINITY)
                continue;
            seen[u] = 1;
            queue[size++] = u;
        }
    if (seen[end[0]])
        return PT_OK;
    return pt_fail(err, PT_E_INFEASIBLE, row, "no path from source %lld to target %lld", name[0],
                   name[1]);
}

static size_t PT_NAME(graph_work_size)(const pt_problem *p) {
    const size_t nodes = (size_t)p->ints[0], arcs = (size_t)p->ints[1];
    if (p->ints[2] == GRAPH_DAG)
        return nodes * (PT_LANES * (sizeof(PT_REAL) + sizeof(PT_BITS)) + 1) + nodes * 8;
    return nodes * (sizeof(PT_REAL) + 3 * sizeof(int32_t)) + nodes * 8 +
           (arcs + 8) * sizeof(PT_NAME(graph_entry));
}

/* ---- without cycles ---- */

static inline PT_NAME(graph_reals) PT_NAME(graph_load)(const PT_REAL *from) {
    PT_NAME(graph_reals) x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline PT_NAME(graph_words)
    PT_NAME(graph_pick)(PT_NAME(graph_words) which, PT_NAME(graph_words) x,
                        PT_NAME(graph_words) y) {
    return (x & which) | (y & ~which);
}

/* V of node v and the number of the arc in that gives it, for a vector's worth of draws from lane l on. */
static inline void PT_NAME(graph_node)(const PT_NAME(graph) * g, int64_t v, int l,
                                       const PT_REAL *theta, PT_REAL *value, PT_BITS *from) {
    PT_NAME(graph_reals) best = (PT_NAME(graph_reals)){ 0 } - PT_INFINITY;
    PT_NAME(graph_words) came = { 0 };
    const int64_t first = g->in.start[v], end = g->in.start[v + 1];
    for (int64_t k = first; k < end; k++) {
        PT_NAME(graph_reals) x = PT_NAME(graph_load)(value + g->in.arc[k].node * PT_LANES + l);
        if (!g->on_nodes)
            x += PT_NAME(graph_load)(theta + (int64_t)g->in.arc[k].edge * PT_LANES + l);
        const PT_NAME(graph_words) more = (PT_NAME(graph_words))(x > best);
        best = (PT_NAME(graph_reals))PT_NAME(graph_pick)(more, (PT_NAME(graph_words))x,
                                                         (PT_NAME(graph_words))best);
        came = PT_NAME(graph_pick)(more, (PT_NAME(graph_words)){ 0 } + (PT_BITS)(k - first), came);
    }
    if (g->on_nodes)
        best += PT_NAME(graph_load)(theta + g->name[v] * PT_LANES + l);
    memcpy(value + v * PT_LANES + l, &best, sizeof best);
    memcpy(from + v * PT_LANES + l, &came, sizeof came);
}

/* V of all nodes from the first source to the last target.   value, from [out] nodes x PT_LANES   Not 0: stop. */
static int PT_NAME(graph_values)(const PT_NAME(graph) * g, const pt_group *group,
                                 int64_t end[2][PT_LANES], PT_REAL *value, PT_BITS *from,
                                 uint8_t *starts) {
    const PT_REAL *theta = group->theta;
    int64_t first = end[0][0], last = end[1][0], work = 0;
    memset(starts, 0, (size_t)g->nodes);
    for (int l = 0; l < PT_LANES; l++) {
        first = end[0][l] < first ? end[0][l] : first;
        last = end[1][l] > last ? end[1][l] : last;
        starts[end[0][l]] = 1;
    }
    for (int64_t k = 0; k < first * PT_LANES; k++)
        value[k] = -PT_INFINITY;
    for (int64_t v = first; v <= last; v++) {
        for (int l = 0; l < PT_LANES; l += PT_VECTOR / (int)sizeof(PT_REAL))
            PT_NAME(graph_node)(g, v, l, theta, value, from);
        for (int l = 0; starts[v] && l < PT_LANES; l++)
            if (end[0][l] == v)
                value[v * PT_LANES + l] = g->on_nodes ? theta[g->name[v] * PT_LANES + l] : 0;
        work += (1 + g->in.start[v + 1] - g->in.start[v]) * PT_LANES;
        if (work < GRAPH_POLL * PT_LANES)
            continue;
        work = 0;
        if (group->stop && group->stop(group->stop_ctx))
            return 1;
    }
    return 0;
}

static pt_status PT_NAME(graph_solve_dag)(const pt_problem *p, const pt_group *group, int32_t *code,
                                          void *work, pt_error *err) {
    const PT_NAME(graph) g = PT_NAME(graph_open)(p);
    PT_REAL *value = work;
    PT_BITS *from = (PT_BITS *)(value + g.nodes * PT_LANES);
    int64_t end[2][PT_LANES];
    assert(group->item_step == PT_LANES && group->draw_step == 1 && group->n_draws <= PT_LANES);
    for (int i = 0; i < 2 * PT_LANES; i++)
        end[i / PT_LANES][i % PT_LANES] =
            PT_NAME(graph_end)(p, i / PT_LANES, group->row[i % PT_LANES]);
    const int stopped =
        PT_NAME(graph_values)(&g, group, end, value, from, (uint8_t *)(from + g.nodes * PT_LANES));
    if (stopped)
        return PT_E_STOPPED;
    memset(code, 0, (size_t)(group->n_draws * p->code_len) * sizeof *code);
    for (int l = 0; l < group->n_draws; l++) {
        int32_t *own = code + l * p->code_len;
        int64_t v = end[1][l];
        const PT_REAL score = value[v * PT_LANES + l];
        if (end[0][l] > v || !(score > -PT_INFINITY && score < PT_INFINITY))
            return pt_fail(err, PT_E_INFEASIBLE, group->row[l], "the score of the path overflows");
        while (v != end[0][l]) {
            const int64_t k = g.in.start[v] + (int64_t)from[v * PT_LANES + l];
            assert(k < g.in.start[v + 1]);
            PT_NAME(graph_mark)(own, PT_NAME(graph_entry_of)(&g, v, g.in.arc[k].edge));
            v = g.in.arc[k].node;
        }
        if (g.on_nodes)
            PT_NAME(graph_mark)(own, g.name[v]);
    }
    return PT_OK;
}

/* ---- with cycles ---- */

/* One draw in work. */
typedef struct {
    PT_NAME(graph) graph;
    const pt_group *group;
    const PT_REAL *theta;
    int64_t source, target;
    PT_REAL *dist;               /* D or more */
    PT_NAME(graph_entry) * heap; /* arcs + 8 */
    int32_t *next, *via,
        *queue;   /* of the search back: 1 + the next node, the edge to it; nodes in order */
    int64_t work; /* arcs since the last poll */
} PT_NAME(graph_draw);

/* Less the cost of an arc into v. */
static inline PT_REAL PT_NAME(graph_gain)(const PT_NAME(graph_draw) * d, int64_t v, int32_t edge) {
    const PT_REAL x = d->theta[d->graph.on_nodes ? v : edge];
    return x < 0 ? x : 0;
}

static inline int PT_NAME(graph_stop)(PT_NAME(graph_draw) * d, int64_t count) {
    if ((d->work += count) < GRAPH_POLL)
        return 0;
    d->work = 0;
    return d->group->stop && d->group->stop(d->group->stop_ctx);
}

static inline PT_NAME(graph_entry) PT_NAME(graph_join)(PT_REAL key, int32_t node) {
    PT_BITS bits;
    memcpy(&bits, &key, sizeof bits);
    return (PT_NAME(graph_entry))bits << 32 | (uint32_t)node;
}

static inline PT_REAL PT_NAME(graph_key)(PT_NAME(graph_entry) entry) {
    const PT_BITS bits = (PT_BITS)(entry >> 32);
    PT_REAL key;
    memcpy(&key, &bits, sizeof key);
    return key;
}

/* Put an entry into a hole i of the heap, or above it. */
static inline void PT_NAME(graph_lift)(PT_NAME(graph_entry) * heap, int64_t i,
                                       PT_NAME(graph_entry) entry) {
    for (; i > 0 && entry < heap[(i - 1) / 4]; i = (i - 1) / 4)
        heap[i] = heap[(i - 1) / 4];
    heap[i] = entry;
}

/* Drop the first of `size` entries: its hole sinks to a leaf, where the last entry is put. Entries behind the last, up to
 * the children of its parent, are the largest there are. */
static inline void PT_NAME(graph_pop)(PT_NAME(graph_entry) * heap, int64_t size) {
    const int64_t end = size - 1;
    const PT_NAME(graph_entry) last = heap[end];
    int64_t i = 0;
    for (int64_t k = end; k < end + 4; k++)
        heap[k] = ~(PT_NAME(graph_entry))0;
    for (int64_t k = 1; k < end; k = 4 * i + 1) {
        const PT_NAME(graph_entry) *x = heap + k;
        const int64_t a = x[1] < x[0], b = 2 + (x[3] < x[2]), least = k + (x[b] < x[a] ? b : a);
        heap[i] = heap[least];
        i = least;
    }
    PT_NAME(graph_lift)(heap, i, last);
}

/* D of all nodes that are not above the target's; elsewhere dist stays above that.   Not 0: stop. */
static int PT_NAME(graph_costs)(PT_NAME(graph_draw) * d) {
    const PT_NAME(graph_arcs) out = d->graph.out;
    PT_REAL *dist = d->dist;
    int64_t size = 0;
    for (int64_t v = 0; v < d->graph.nodes; v++)
        dist[v] = PT_INFINITY;
    dist[d->source] = d->graph.on_nodes ? 0 - PT_NAME(graph_gain)(d, d->source, 0) : 0;
    d->heap[size++] = PT_NAME(graph_join)(dist[d->source], (int32_t)d->source);
    while (size > 0 && PT_NAME(graph_key)(d->heap[0]) <= dist[d->target]) {
        const PT_REAL least = PT_NAME(graph_key)(d->heap[0]);
        const int32_t v = (int32_t)(uint32_t)d->heap[0];
        PT_NAME(graph_pop)(d->heap, size--);
        if (least > dist[v])
            continue;
        const int32_t first = out.start[v], end = out.start[v + 1];
        for (int32_t k = first; k < end; k++) {
            const int32_t u = out.arc[k].node;
            const PT_REAL x = least - PT_NAME(graph_gain)(d, u, out.arc[k].edge);
            if (!(x < dist[u]) || x > dist[d->target])
                continue;
            dist[u] = x;
            PT_NAME(graph_lift)(d->heap, size++, PT_NAME(graph_join)(x, u));
        }
        if (PT_NAME(graph_stop)(d, end - first + 1))
            return 1;
    }
    return 0;
}

/* Mark the path: search back from the target over tight arcs. Little besides the path and its plateaus is seen.
 *   next [0 before and after]   Not 0: stop. */
static int PT_NAME(graph_trace)(PT_NAME(graph_draw) * d, int32_t *code) {
    const PT_NAME(graph_arcs) in = d->graph.in;
    int64_t size = 1, stop = 0;
    d->queue[0] = (int32_t)d->target;
    d->next[d->target] = (int32_t)d->target + 1;
    for (int64_t i = 0; d->next[d->source] == 0 && !stop; i++) {
        const int32_t v = d->queue[i];
        assert(i < size);
        for (int32_t k = in.start[v]; k < in.start[v + 1]; k++) {
            const int32_t u = in.arc[k].node, edge = in.arc[k].edge;
            if (d->next[u] || !(d->dist[u] - PT_NAME(graph_gain)(d, v, edge) == d->dist[v]))
                continue;
            d->next[u] = v + 1;
            d->via[u] = edge;
            d->queue[size++] = u;
        }
        stop = PT_NAME(graph_stop)(d, in.start[v + 1] - in.start[v] + 1);
    }
    for (int64_t v = d->source; v != d->target && !stop; v = d->next[v] - 1)
        PT_NAME(graph_mark)(code, d->graph.on_nodes ? v : d->via[v]);
    if (d->graph.on_nodes)
        PT_NAME(graph_mark)(code, d->target);
    for (int64_t i = 0; i < size; i++)
        d->next[d->queue[i]] = 0;
    return stop != 0;
}

static pt_status PT_NAME(graph_solve_cyclic)(const pt_problem *p, const pt_group *group,
                                             int32_t *code, void *work, pt_error *err) {
    PT_NAME(graph_draw) d = { .graph = PT_NAME(graph_open)(p), .group = group };
    const int64_t nodes = d.graph.nodes;
    d.heap = work;
    d.dist = (PT_REAL *)(d.heap + d.graph.arcs + 8);
    d.next = (int32_t *)(d.dist + nodes);
    d.via = d.next + nodes;
    d.queue = d.via + nodes;
    memset(d.next, 0, (size_t)nodes * sizeof *d.next);
    memset(code, 0, (size_t)(group->n_draws * p->code_len) * sizeof *code);
    for (int64_t i = 0; i < group->n_draws; i++) {
        d.theta = (const PT_REAL *)group->theta + i * group->draw_step;
        d.source = PT_NAME(graph_end)(p, 0, group->row[i]);
        d.target = PT_NAME(graph_end)(p, 1, group->row[i]);
        if (PT_NAME(graph_costs)(&d))
            return PT_E_STOPPED;
        if (!(d.dist[d.target] < PT_INFINITY))
            return pt_fail(err, PT_E_INFEASIBLE, group->row[i], "the cost of the path overflows");
        if (PT_NAME(graph_trace)(&d, code + i * p->code_len))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static pt_status PT_NAME(graph_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                      void *work, pt_error *err) {
    return p->ints[2] == GRAPH_DAG ? PT_NAME(graph_solve_dag)(p, group, code, work, err)
                                   : PT_NAME(graph_solve_cyclic)(p, group, code, work, err);
}

static const pt_solver PT_NAME(graph_path) = {
    .name = "graph_path",
    .prepare = PT_NAME(graph_prepare),
    .check = PT_NAME(graph_check),
    .work_size = PT_NAME(graph_work_size),
    .solve = PT_NAME(graph_solve),
};
