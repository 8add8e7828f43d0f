/* graph_cycles: for graph_path.tmpl.h, graphs in which a path could turn for ever.
 *
 * Costs max(-theta, 0), and as in grid_path.tmpl.h the least cost D of a walk, rounded at each step, obeys
 * D(v) = min over arcs (u, v) of fl(D(u) + c), whatever the order of relaxation: here that of Dijkstra 1959 from a heap
 * with four children a node (Johnson 1975), where entries that have become too large stay and are skipped. It ends above
 * D(target). Several draws of a row go together: graph_lanes.tmpl.h.
 * Tie rule: of paths of tight arcs, fl(D(u) + c) = D(v), the one with the fewest; of those, walking back from the target,
 * the first edge in the user's order. A breadth-first search from the target back finds it, over plateaus of cost 0 too. */
#ifndef PT_REAL
#error "graph_cycles.tmpl.h is a template: include it from graph_path.tmpl.h"
#endif

/* One draw in work, or the draws of a row, which lie side by side. */
typedef struct {
    PT_NAME(graph) graph;
    const pt_group *group;
    const PT_REAL *theta;
    int64_t step; /* from one entry of theta to the next, and of dist: 1, or PT_LANES */
    int64_t source, target;
    PT_REAL *dist;               /* D or more */
    PT_REAL *key;                /* graph_lanes.tmpl.h */
    PT_NAME(graph_entry) * heap; /* arcs + 8 */
    int32_t *next, *via,
        *queue;   /* of the search back: 1 + the next node, the edge to it; nodes in order */
    int64_t work; /* arcs since the last poll */
} PT_NAME(graph_draw);

/* Less the cost of an arc into v. */
static inline PT_REAL PT_NAME(graph_gain)(const PT_NAME(graph_draw) * d, int64_t v, int32_t edge) {
    const PT_REAL x = d->theta[(d->graph.on_nodes ? v : edge) * d->step];
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
    const int64_t step = d->step;
    PT_REAL *dist = d->dist, *target = dist + d->target * step;
    int64_t size = 0;
    for (int64_t v = 0; v < d->graph.nodes; v++)
        dist[v * step] = PT_INFINITY;
    dist[d->source * step] = d->graph.on_nodes ? 0 - PT_NAME(graph_gain)(d, d->source, 0) : 0;
    d->heap[size++] = PT_NAME(graph_join)(dist[d->source * step], (int32_t)d->source);
    while (size > 0 && PT_NAME(graph_key)(d->heap[0]) <= *target) {
        const PT_REAL least = PT_NAME(graph_key)(d->heap[0]);
        const int32_t v = (int32_t)(uint32_t)d->heap[0];
        PT_NAME(graph_pop)(d->heap, size--);
        if (least > dist[v * step])
            continue;
        const int32_t first = out.start[v], end = out.start[v + 1];
        for (int32_t k = first; k < end; k++) {
            const int32_t u = out.arc[k].node;
            const PT_REAL x = least - PT_NAME(graph_gain)(d, u, out.arc[k].edge);
            if (!(x < dist[u * step]) || x > *target)
                continue;
            dist[u * step] = x;
            PT_NAME(graph_lift)(d->heap, size++, PT_NAME(graph_join)(x, u));
        }
        if (PT_NAME(graph_stop)(d, end - first + 1))
            return 1;
    }
    return 0;
}

#include "graph_lanes.tmpl.h"

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
            if (d->next[u] ||
                !(d->dist[u * d->step] - PT_NAME(graph_gain)(d, v, edge) == d->dist[v * d->step]))
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

/* Costs, unless they are there, and path of one draw. */
static pt_status PT_NAME(graph_solve_draw)(PT_NAME(graph_draw) * d, int done, int64_t row,
                                           int32_t *code, pt_error *err) {
    if (!done && PT_NAME(graph_costs)(d))
        return PT_E_STOPPED;
    if (!(d->dist[d->target * d->step] < PT_INFINITY))
        return pt_fail(err, PT_E_INFEASIBLE, row, "the cost of the path overflows");
    return PT_NAME(graph_trace)(d, code) ? PT_E_STOPPED : PT_OK;
}

/* Draws of one row side by side. */
static pt_status PT_NAME(graph_solve_lanes)(const pt_problem *p, PT_NAME(graph_draw) * d,
                                            PT_REAL *own, int32_t *code, pt_error *err) {
    const PT_REAL *theta = d->theta;
    PT_REAL *dist = d->dist;
    d->step = PT_LANES;
    const int done = PT_NAME(graph_costs_together)(d);
    pt_status status = done < 0 ? PT_E_STOPPED : PT_OK;
    for (int l = 0; status == PT_OK && l < d->group->n_draws; l++) {
        d->theta = theta + l;
        d->dist = dist + l;
        if (!done) { /* one by one, from a copy */
            for (int64_t j = 0; j < p->n; j++)
                own[j] = theta[j * PT_LANES + l];
            d->theta = own;
            d->dist = dist;
            d->step = 1;
        }
        status = PT_NAME(graph_solve_draw)(d, done, d->group->row[l], code + l * p->code_len, err);
    }
    return status;
}

static pt_status PT_NAME(graph_solve_cyclic)(const pt_problem *p, const pt_group *group,
                                             int32_t *code, void *work, pt_error *err) {
    PT_NAME(graph_draw)
    d = { .graph = PT_NAME(graph_open)(p),
          .group = group,
          .theta = group->theta,
          .step = 1,
          .dist = work };
    const int64_t nodes = d.graph.nodes;
    pt_status status = PT_OK;
    d.heap = (void *)(d.dist + nodes * PT_LANES);
    d.key = (PT_REAL *)(d.heap + d.graph.arcs + 8);
    d.next = (int32_t *)(d.key + nodes);
    d.via = d.next + nodes;
    d.queue = d.via + nodes;
    PT_REAL *own = (PT_REAL *)(void *)(d.queue + nodes + (nodes & 1));
    memset(d.next, 0, (size_t)nodes * sizeof *d.next);
    memset(code, 0, (size_t)(group->n_draws * p->code_len) * sizeof *code);
    for (int64_t i = 0; i < (group->item_step == 1 ? group->n_draws : 1) && status == PT_OK; i++) {
        d.theta = (const PT_REAL *)group->theta + i * group->draw_step;
        d.source = PT_NAME(graph_end)(p, 0, group->row[i]);
        d.target = PT_NAME(graph_end)(p, 1, group->row[i]);
        status = group->item_step == 1
                     ? PT_NAME(graph_solve_draw)(&d, 0, group->row[i], code + i * p->code_len, err)
                     : PT_NAME(graph_solve_lanes)(p, &d, own, code, err);
    }
    return status;
}
