/* alignment_parts: best parts of alignments that lead to each position, and that go on from there.
 *
 * States are M, X, Y. Where a global or semiglobal alignment starts, on a border, M stands for the start; a local one starts
 * by S > M, anywhere. Sums in double: differences of two long ones follow. */
#ifndef PT_REAL
#error "alignment_parts.tmpl.h is a template: include it from alignment.tmpl.h"
#endif

enum { PT_NAME(alignment_n_arcs) = 9, PT_NAME(alignment_most_channels) = 9 };

/* An edge of the state machine, and what a step by it is charged as with fixed gaps, learned gaps and transitions. */
typedef struct {
    int from, into, channel[3];
} PT_NAME(alignment_arc);

static const PT_NAME(alignment_arc) PT_NAME(alignment_arcs)[PT_NAME(alignment_n_arcs)] = {
    { PT_NAME(alignment_s), PT_NAME(alignment_m), { 0, 0, 0 } },
    { PT_NAME(alignment_m), PT_NAME(alignment_m), { 0, 0, 1 } },
    { PT_NAME(alignment_x), PT_NAME(alignment_m), { 0, 0, 2 } },
    { PT_NAME(alignment_y), PT_NAME(alignment_m), { 0, 0, 3 } },
    { PT_NAME(alignment_m), PT_NAME(alignment_x), { 1, 1, 4 } },
    { PT_NAME(alignment_x), PT_NAME(alignment_x), { 2, 2, 5 } },
    { PT_NAME(alignment_m), PT_NAME(alignment_y), { 1, 1, 6 } },
    { PT_NAME(alignment_x), PT_NAME(alignment_y), { 1, 1, 7 } },
    { PT_NAME(alignment_y), PT_NAME(alignment_y), { 2, 2, 8 } },
};

/* Tables of one draw over positions, (n + 1) x (m + 1), by state from M on. */
typedef struct {
    PT_NAME(alignment_item) a;
    const PT_REAL *g; /* NULL where changes are not asked for */
    path_sum *to[4];  /* best parts that end there, with the entry that leads there */
    path_sum *on[4];  /* best parts from there to an end */
} PT_NAME(alignment_parts);

static inline int64_t PT_NAME(alignment_at)(const PT_NAME(alignment_parts) * t, int64_t i,
                                            int64_t j) {
    return i * (t->a.m + 1) + j;
}

/* The entry that a step to (i, j) is charged at. */
static inline int64_t PT_NAME(alignment_entry)(const PT_NAME(alignment_parts) * t, int64_t i,
                                               int64_t j, int channel) {
    return (i > 0 ? i - 1 : 0) * t->a.pitch + (j > 0 ? j - 1 : 0) * t->a.channels + channel;
}

ALIGNMENT_INLINE path_sum PT_NAME(alignment_taken)(const PT_NAME(alignment_parts) * t, int kind,
                                                   int64_t i, int64_t j, int channel) {
    if (channel > 0 && kind == PT_NAME(alignment_fixed))
        return (path_sum){ (double)t->a.gap[channel - 1], 0 };
    const int64_t e = PT_NAME(alignment_entry)(t, i, j, channel);
    return (path_sum){ (double)t->a.theta[e], t->g ? (double)t->g[e] : 0 };
}

/* What can precede the step to (i, j) by this arc. */
ALIGNMENT_INLINE path_sum PT_NAME(alignment_part_to)(const PT_NAME(alignment_parts) * t,
                                                     const PT_NAME(alignment_arc) * arc, int64_t i,
                                                     int64_t j) {
    i -= arc->into != PT_NAME(alignment_x);
    j -= arc->into != PT_NAME(alignment_y);
    if (i < 0 || j < 0)
        return path_none();
    if (arc->from == PT_NAME(alignment_s))
        return t->a.mode == PT_NAME(alignment_local) ? (path_sum){ 0, 0 } : path_none();
    return t->to[arc->from][PT_NAME(alignment_at)(t, i, j)];
}

/* The step from (i, j) by this arc and what follows. */
ALIGNMENT_INLINE path_sum PT_NAME(alignment_part_by)(const PT_NAME(alignment_parts) * t, int kind,
                                                     const PT_NAME(alignment_arc) * arc, int64_t i,
                                                     int64_t j) {
    i += arc->into != PT_NAME(alignment_x);
    j += arc->into != PT_NAME(alignment_y);
    if (i > t->a.n || j > t->a.m)
        return path_none();
    return path_join(PT_NAME(alignment_taken)(t, kind, i, j, arc->channel[kind]),
                     t->on[arc->into][PT_NAME(alignment_at)(t, i, j)]);
}

/* Nothing more, where an alignment may end in this state. */
ALIGNMENT_INLINE path_sum PT_NAME(alignment_part_at_end)(const PT_NAME(alignment_parts) * t,
                                                         int state, int64_t i, int64_t j) {
    return PT_NAME(alignment_is_end)(&t->a, state, i, j) ? (path_sum){ 0, 0 } : path_none();
}

/* Does a global or semiglobal alignment start at (i, j)? */
static inline int PT_NAME(alignment_starts_at)(const PT_NAME(alignment_parts) * t, int64_t i,
                                               int64_t j) {
    return t->a.mode != PT_NAME(alignment_local) && (i == 0 || j == 0) &&
           PT_NAME(alignment_starts)(&t->a, i, j);
}

/* kind: t->a.kind, as a constant, here and below. */
ALIGNMENT_INLINE void PT_NAME(alignment_parts_to_by)(const PT_NAME(alignment_parts) * t, int kind) {
    for (int64_t i = 0; i <= t->a.n; i++)
        for (int64_t j = 0; j <= t->a.m; j++) {
            path_sum best[4] = { path_none(), path_none(), path_none(), path_none() };
            path_sum taken[PT_NAME(alignment_most_channels)];
            if (PT_NAME(alignment_starts_at)(t, i, j))
                best[PT_NAME(alignment_m)] = (path_sum){ 0, 0 };
            for (int k = 0; k < (kind == PT_NAME(alignment_edges) ? 9 : 3); k++)
                taken[k] = PT_NAME(alignment_taken)(t, kind, i, j, k);
            for (int k = 0; k < PT_NAME(alignment_n_arcs); k++) {
                const PT_NAME(alignment_arc) *arc = &PT_NAME(alignment_arcs)[k];
                best[arc->into] =
                    path_most(best[arc->into], path_join(PT_NAME(alignment_part_to)(t, arc, i, j),
                                                         taken[arc->channel[kind]]));
            }
            for (int s = PT_NAME(alignment_m); s <= PT_NAME(alignment_y); s++)
                t->to[s][PT_NAME(alignment_at)(t, i, j)] = best[s];
        }
}

ALIGNMENT_INLINE void PT_NAME(alignment_parts_on_by)(const PT_NAME(alignment_parts) * t, int kind) {
    for (int64_t i = t->a.n; i >= 0; i--)
        for (int64_t j = t->a.m; j >= 0; j--) {
            path_sum best[4];
            for (int s = PT_NAME(alignment_m); s <= PT_NAME(alignment_y); s++)
                best[s] = PT_NAME(alignment_part_at_end)(t, s, i, j);
            for (int k = 1; k < PT_NAME(alignment_n_arcs); k++) {
                const PT_NAME(alignment_arc) *arc = &PT_NAME(alignment_arcs)[k];
                best[arc->from] =
                    path_most(best[arc->from], PT_NAME(alignment_part_by)(t, kind, arc, i, j));
            }
            for (int s = PT_NAME(alignment_m); s <= PT_NAME(alignment_y); s++)
                t->on[s][PT_NAME(alignment_at)(t, i, j)] = best[s];
        }
}

/* Both tables. */
static void PT_NAME(alignment_fill_parts)(const PT_NAME(alignment_parts) * t) {
    switch (t->a.kind) {
    case PT_NAME(alignment_fixed):
        PT_NAME(alignment_parts_to_by)(t, PT_NAME(alignment_fixed));
        PT_NAME(alignment_parts_on_by)(t, PT_NAME(alignment_fixed));
        break;
    case PT_NAME(alignment_learned):
        PT_NAME(alignment_parts_to_by)(t, PT_NAME(alignment_learned));
        PT_NAME(alignment_parts_on_by)(t, PT_NAME(alignment_learned));
        break;
    default:
        PT_NAME(alignment_parts_to_by)(t, PT_NAME(alignment_edges));
        PT_NAME(alignment_parts_on_by)(t, PT_NAME(alignment_edges));
    }
}

/* Best alignments through each channel by which a step gets to (i, j), its own score not included. */
ALIGNMENT_INLINE void PT_NAME(alignment_rest)(const PT_NAME(alignment_parts) * t, int kind,
                                              int64_t i, int64_t j,
                                              path_sum rest[PT_NAME(alignment_most_channels)]) {
    for (int k = 0; k < PT_NAME(alignment_most_channels); k++)
        rest[k] = path_none();
    for (int k = 0; k < PT_NAME(alignment_n_arcs); k++) {
        const PT_NAME(alignment_arc) *arc = &PT_NAME(alignment_arcs)[k];
        const int channel = arc->channel[kind];
        rest[channel] =
            path_most(rest[channel], path_join(PT_NAME(alignment_part_to)(t, arc, i, j),
                                               t->on[arc->into][PT_NAME(alignment_at)(t, i, j)]));
    }
}
