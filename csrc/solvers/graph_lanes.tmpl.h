/* graph_lanes: for graph_cycles.tmpl.h, the costs D of PT_LANES draws of one row at once, with cycles.
 *
 * Dijkstra's algorithm with vectors for numbers: a node waits in the heap at the mean of its costs, and leads its arcs
 * whenever any draw's cost is new. Draws differ by noise only, so that one order serves them all nearly as well as their
 * own: few nodes come back. D needs no order at all (graph_cycles.tmpl.h), so its bits are the same. Where noise is as large
 * as the costs, nodes come back often; after GRAPH_AGAIN times the nodes reached, each draw is left to its own heap.
 *
 * A cost is kept wherever it is less than before, and told on where it is not above that draw's target, too. */
#ifndef PT_REAL
#error "graph_lanes.tmpl.h is a template: include it from graph_cycles.tmpl.h"
#endif

#ifndef GRAPH_AGAIN
#define GRAPH_AGAIN 4
#endif

/* Is any word all ones, where each is or is 0? */
static inline int PT_NAME(graph_any)(PT_NAME(graph_words) which) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)which, (__m512i)which) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)which, (__m256i)which);
#elif defined(__SSE2__)
    return _mm_movemask_epi8((__m128i)which) != 0;
#else
    uint64_t part[PT_VECTOR / 8], any = 0;
    memcpy(part, &which, sizeof part);
    for (int i = 0; i < PT_VECTOR / 8; i++)
        any |= part[i];
    return any != 0;
#endif
}

/* Lower costs `to` by an arc from a node of costs `from`. Is one of them new, and not above `most`?
 *   from, most [in], to [in, out]  PT_LANES of them;   theta [in] likewise, of the arc */
static inline int PT_NAME(graph_relax)(const PT_REAL *from, const PT_REAL *theta,
                                       const PT_REAL *most, PT_REAL *to) {
    const PT_NAME(graph_reals) zero = { 0 };
    PT_NAME(graph_words) any = { 0 };
    for (int l = 0; l < PT_LANES; l += PT_VECTOR / (int)sizeof(PT_REAL)) {
        const PT_NAME(graph_reals) score = PT_NAME(graph_load)(theta + l),
                                   old = PT_NAME(graph_load)(to + l);
        const PT_NAME(graph_words) costs = (PT_NAME(graph_words))(score < zero);
        const PT_NAME(graph_reals) x = PT_NAME(graph_load)(from + l) -
                                       (PT_NAME(graph_reals))((PT_NAME(graph_words))score & costs);
        const PT_NAME(graph_words) less = (PT_NAME(graph_words))(x < old);
        const PT_NAME(graph_reals) now = (PT_NAME(graph_reals))PT_NAME(graph_pick)(
            less, (PT_NAME(graph_words))x, (PT_NAME(graph_words))old);
        any |= less & (PT_NAME(graph_words))(x <= PT_NAME(graph_load)(most + l));
        memcpy(to + l, &now, sizeof now);
    }
    return PT_NAME(graph_any)(any);
}

/* Is any cost of a node not above `most`? */
static inline int PT_NAME(graph_within)(const PT_REAL *costs, const PT_REAL *most) {
    PT_NAME(graph_words) any = { 0 };
    for (int l = 0; l < PT_LANES; l += PT_VECTOR / (int)sizeof(PT_REAL))
        any |=
            (PT_NAME(graph_words))(PT_NAME(graph_load)(costs + l) <= PT_NAME(graph_load)(most + l));
    return PT_NAME(graph_any)(any);
}

/* Where a node waits: PT_LANES times the mean of its costs, finite. */
static inline PT_REAL PT_NAME(graph_place)(const PT_REAL *costs) {
    PT_REAL sum[PT_LANES / 2];
    for (int l = 0; l < PT_LANES / 2; l++)
        sum[l] = costs[l] + costs[l + PT_LANES / 2];
    for (int half = PT_LANES / 4; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            sum[l] += sum[l + half];
    return sum[0] < PT_LARGEST ? sum[0] : PT_LARGEST;
}

static void PT_NAME(graph_start_together)(PT_NAME(graph_draw) * d) {
    for (int64_t i = 0; i < d->graph.nodes * PT_LANES; i++)
        d->dist[i] = PT_INFINITY;
    for (int64_t v = 0; v < d->graph.nodes; v++)
        d->key[v] = PT_INFINITY;
    for (int l = 0; l < PT_LANES; l++) {
        const PT_REAL x = d->graph.on_nodes ? d->theta[d->source * PT_LANES + l] : 0;
        d->dist[d->source * PT_LANES + l] = x < 0 ? 0 - x : 0;
    }
    d->key[d->source] = 0;
    d->heap[0] = PT_NAME(graph_join)(0, (int32_t)d->source);
}

/* Lead the arcs out of node v, which left the heap from `place`.   Returns how many nodes are new; size [in, out] */
static inline int64_t PT_NAME(graph_lead)(PT_NAME(graph_draw) * d, int32_t v, PT_REAL place,
                                          int64_t *size) {
    const PT_NAME(graph_arcs) out = d->graph.out;
    const PT_REAL *from = d->dist + (int64_t)v * PT_LANES, *target = d->dist + d->target * PT_LANES;
    int64_t found = 0;
    for (int32_t k = out.start[v]; k < out.start[v + 1]; k++) {
        const int64_t u = out.arc[k].node,
                      j = PT_NAME(graph_entry_of)(&d->graph, u, out.arc[k].edge);
        PT_REAL *to = d->dist + u * PT_LANES;
        if (!PT_NAME(graph_relax)(from, d->theta + j * PT_LANES, target, to))
            continue;
        const PT_REAL was = d->key[u], own = PT_NAME(graph_place)(to);
        const int waits = was >= 0 && was < PT_INFINITY;
        if (waits && !(own < was && own < place)) /* it need not be next */
            continue;
        found += was == PT_INFINITY;
        d->key[u] = own;
        PT_NAME(graph_lift)(d->heap, (*size)++, PT_NAME(graph_join)(own, (int32_t)u));
    }
    return found;
}

/* As graph_costs, for PT_LANES draws.
 *   key [tmp]  where a node waits in the heap; infinite: it never did, negative: it has left
 * 1: dist is there.  0: it took too long.  -1: stop */
static int PT_NAME(graph_costs_together)(PT_NAME(graph_draw) * d) {
    const int32_t *start = d->graph.out.start;
    int64_t size = 1, found = 1, left = 0;
    PT_NAME(graph_start_together)(d);
    while (size > 0) {
        const PT_REAL place = PT_NAME(graph_key)(d->heap[0]);
        const int32_t v = (int32_t)(uint32_t)d->heap[0], arcs = start[v + 1] - start[v];
        const int waits = d->key[v] >= 0;
        PT_NAME(graph_pop)(d->heap, size--);
        d->key[v] = -1;
        if (!waits ||
            !PT_NAME(graph_within)(d->dist + (int64_t)v * PT_LANES, d->dist + d->target * PT_LANES))
            continue;
        if (++left > GRAPH_AGAIN * found + 64 || size + arcs > d->graph.arcs)
            return 0;
        found += PT_NAME(graph_lead)(d, v, place, &size);
        if (PT_NAME(graph_stop)(d, (arcs + 1) * 4))
            return -1;
    }
    return 1;
}
