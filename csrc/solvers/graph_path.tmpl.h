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
 * Else a path could turn for ever: costs are max(-theta, 0), see graph_cycles.tmpl.h. */
#ifndef PT_REAL
#error "graph_path.tmpl.h is a template: include it from registry.tmpl.h"
#endif
#include <assert.h>

#define GRAPH_DAG 0
#define GRAPH_CYCLIC 1
#define GRAPH_UNDIRECTED 2
#define GRAPH_POLL 16384 /* arcs between two questions to group->stop */
#define GRAPH_FEW 4      /* draws of a row from which on they go together, with cycles */

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

static int PT_NAME(graph_idle)(const pt_problem *p, int64_t row, int64_t at[2]) {
    const PT_NAME(graph) g = PT_NAME(graph_open)(p);
    for (int end = 0; end < 2; end++)
        at[end] = PT_NAME(graph_name)(&g, PT_NAME(graph_end)(p, end, row));
    return g.on_nodes ? 2 : 0;
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
    p->lanes = PT_LANES;
    p->moves = PT_MOVES_THRESHOLD;
    p->moves_lanes = 1;
    p->lanes_from = p->ints[2] == GRAPH_DAG ? 0 : GRAPH_FEW;
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
    return nodes * ((PT_LANES + 1) * sizeof(PT_REAL) + 3 * sizeof(int32_t)) + sizeof(PT_REAL) +
           (arcs + 8) * sizeof(PT_NAME(graph_entry)) + (size_t)p->n * sizeof(PT_REAL);
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

#include "graph_cycles.tmpl.h"

static pt_status PT_NAME(graph_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                      void *work, pt_error *err) {
    return p->ints[2] == GRAPH_DAG ? PT_NAME(graph_solve_dag)(p, group, code, work, err)
                                   : PT_NAME(graph_solve_cyclic)(p, group, code, work, err);
}

static pt_status PT_NAME(graph_thresholds)(const pt_problem *p, const pt_group *group,
                                           const int32_t *code, const void *g, void *tau,
                                           void *change, void *work, pt_error *err) {
    PT_NAME(again)
    a = PT_NAME(again_start)(PT_NAME(graph_solve), p, group, code, g, tau, change, work);
    PT_NAME(again_mark_all)(&a);
    return PT_NAME(again_rest)(&a, err);
}

static size_t PT_NAME(graph_thresholds_size)(const pt_problem *p) {
    return PT_NAME(again_size)(p, PT_NAME(graph_work_size)(p));
}

static const pt_solver PT_NAME(graph_path) = {
    .name = "graph_path",
    .prepare = PT_NAME(graph_prepare),
    .check = PT_NAME(graph_check),
    .work_size = PT_NAME(graph_work_size),
    .solve = PT_NAME(graph_solve),
    .idle = PT_NAME(graph_idle),
    .thresholds = PT_NAME(graph_thresholds),
    .thresholds_size = PT_NAME(graph_thresholds_size),
};
