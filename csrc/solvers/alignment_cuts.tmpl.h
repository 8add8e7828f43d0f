/* alignment_cuts: thresholds of alignments (MATH, section 5).
 *
 * The level of (i, j) is i + j, less 1 where both are > 0. A step is charged at a cell of the level that it arrives at, and
 * crosses this level; a match inside crosses the one before too. An alignment crosses each level from its start to its
 * end once, so without an entry there is the best other crossing of its level, or an alignment that ends before it or
 * starts at or after it.
 *
 * Gaps at cells of the first row and column are charged by two positions, (0, l) and (1, l) or (l, 0) and (l, 1), of one
 * level: the step from the border to the line beside it crosses none. So what an alignment does at level l with the
 * border or the line beside it tells how often it uses each of these entries, 0, 1 or 2 times. With A_k the best of
 * those that use an entry k times, without its own score, y is the k of max A_k + k theta'. */
#ifndef PT_REAL
#error "alignment_cuts.tmpl.h is a template: include it from alignment.tmpl.h"
#endif

/* By level. */
typedef struct {
    path_cut *cuts;   /* crossings by steps charged inside: matches, other gaps than those below */
    path_sum *ends;   /* best alignments that end there or before */
    path_sum *starts; /* best that start there or after */
    path_sum *others; /* best that use no entry inside at this level */
} PT_NAME(alignment_levels);

/* The gap entries of a level on the border: opening and extending at cell (0, l - 1), the same at (l - 1, 0). */
#define ALIGNMENT_BORDERS 4
#define ALIGNMENT_MOST_USES 2

/* Best alignments that meet the border at a level, by how often they use each of its entries. */
typedef struct {
    path_sum best[ALIGNMENT_BORDERS][ALIGNMENT_MOST_USES + 1];
    int64_t level;
} PT_NAME(alignment_tally);

static inline int64_t PT_NAME(alignment_level)(int64_t i, int64_t j) {
    return i + j - (i > 0 && j > 0);
}

static inline int PT_NAME(alignment_matches)(int kind, int channel) {
    return channel == 0 || (kind == PT_NAME(alignment_edges) && channel < 4);
}

/* Is the step that gets to (i, j) by this channel the only one charged at its entry? */
static inline int PT_NAME(alignment_inside)(const PT_NAME(alignment_parts) * t, int kind, int64_t i,
                                            int64_t j, int channel) {
    return PT_NAME(alignment_matches)(kind, channel) || t->a.mode == PT_NAME(alignment_local) ||
           (i > 1 && j > 1);
}

/* A draw's thresholds and changes. */
typedef struct {
    const uint8_t *used;   /* entries of its solution */
    PT_REAL *tau, *change; /* with second thresholds behind; change: NULL where g is */
} PT_NAME(alignment_answer);

static void PT_NAME(alignment_set)(const PT_NAME(alignment_answer) * to, int64_t e, double tau,
                                   double change) {
    to->tau[e] = (PT_REAL)tau;
    if (to->change)
        to->change[e] = (PT_REAL)change;
}

/* ---- levels ---- */

/* What gets to (i, j) inside; thresholds of what the solution leaves out. whole: the solution. */
ALIGNMENT_INLINE void PT_NAME(alignment_cross_by)(const PT_NAME(alignment_parts) * t, int kind,
                                                  const PT_NAME(alignment_levels) * by, int64_t i,
                                                  int64_t j, path_sum whole,
                                                  const PT_NAME(alignment_answer) * to) {
    const int64_t l = PT_NAME(alignment_level)(i, j);
    const int channels = kind == PT_NAME(alignment_edges) ? 9 : 3,
              entries = kind == PT_NAME(alignment_fixed) ? 1 : channels;
    path_sum rest[PT_NAME(alignment_most_channels)];
    PT_NAME(alignment_rest)(t, kind, i, j, rest);
    for (int k = 0; k < channels; k++) {
        if (!PT_NAME(alignment_inside)(t, kind, i, j, k))
            continue;
        const path_sum all = path_join(rest[k], PT_NAME(alignment_taken)(t, kind, i, j, k));
        const int64_t e = k < entries ? PT_NAME(alignment_entry)(t, i, j, k) : -1;
        path_cut_offer(&by->cuts[l], all, e);
        if (PT_NAME(alignment_matches)(kind, k) && i > 1 && j > 1)
            path_cut_offer(&by->cuts[l - 1], all, -1);
        if (e >= 0 && !to->used[e] && all.score > -INFINITY)
            PT_NAME(alignment_set)(to, e, whole.score - rest[k].score, all.g - whole.g);
    }
}

ALIGNMENT_INLINE void PT_NAME(alignment_cross_all)(const PT_NAME(alignment_parts) * t, int kind,
                                                   const PT_NAME(alignment_levels) * by,
                                                   const PT_NAME(alignment_answer) * to) {
    const path_sum whole = by->ends[t->a.n + t->a.m - 1];
    for (int64_t i = 1; i <= t->a.n; i++)
        for (int64_t j = 1; j <= t->a.m; j++)
            PT_NAME(alignment_cross_by)(t, kind, by, i, j, whole, to);
}

static void PT_NAME(alignment_cross)(const PT_NAME(alignment_parts) * t,
                                     const PT_NAME(alignment_levels) * by,
                                     const PT_NAME(alignment_answer) * to) {
    if (t->a.kind == PT_NAME(alignment_fixed))
        PT_NAME(alignment_cross_all)(t, PT_NAME(alignment_fixed), by, to);
    else if (t->a.kind == PT_NAME(alignment_learned))
        PT_NAME(alignment_cross_all)(t, PT_NAME(alignment_learned), by, to);
    else
        PT_NAME(alignment_cross_all)(t, PT_NAME(alignment_edges), by, to);
}

/* Alignments that start or end at (i, j). */
static void PT_NAME(alignment_bound)(const PT_NAME(alignment_parts) * t,
                                     const PT_NAME(alignment_levels) * by, int64_t i, int64_t j) {
    const int64_t l = PT_NAME(alignment_level)(i, j), v = PT_NAME(alignment_at)(t, i, j);
    for (int s = PT_NAME(alignment_m); s <= PT_NAME(alignment_y); s++)
        if (PT_NAME(alignment_is_end)(&t->a, s, i, j))
            by->ends[l] = path_most(by->ends[l], t->to[s][v]);
    if (PT_NAME(alignment_starts_at)(t, i, j))
        by->starts[l] = path_most(by->starts[l], t->on[PT_NAME(alignment_m)][v]);
    if (t->a.mode == PT_NAME(alignment_local))
        by->starts[l] =
            path_most(by->starts[l],
                      PT_NAME(alignment_part_by)(t, t->a.kind, &PT_NAME(alignment_arcs)[0], i, j));
}

static void PT_NAME(alignment_bounds)(const PT_NAME(alignment_parts) * t,
                                      const PT_NAME(alignment_levels) * by) {
    const int64_t n = t->a.n, m = t->a.m;
    const path_sum empty = t->a.mode == PT_NAME(alignment_local) ? (path_sum){ 0, 0 } : path_none();
    for (int64_t l = 0; l <= n + m; l++) {
        by->cuts[l] = path_cut_none();
        by->ends[l] = by->starts[l] = empty;
    }
    for (int64_t i = 0; i <= n; i++)
        for (int64_t j = 0; j <= m; j++)
            PT_NAME(alignment_bound)(t, by, i, j);
    for (int64_t l = 1; l <= n + m; l++)
        by->ends[l] = path_most(by->ends[l], by->ends[l - 1]);
    for (int64_t l = n + m; l > 0; l--)
        by->starts[l - 1] = path_most(by->starts[l - 1], by->starts[l]);
}

/* ---- the border ---- */

static void PT_NAME(alignment_count)(PT_NAME(alignment_tally) * tally, path_sum all,
                                     const int uses[ALIGNMENT_BORDERS]) {
    for (int k = 0; k < ALIGNMENT_BORDERS; k++) {
        const int used = uses[k] + (tally->level == 1 ? uses[(k + 2) % ALIGNMENT_BORDERS] : 0);
        tally->best[k][used] = path_most(tally->best[k][used], all);
    }
}

/* Alignments that are at a position of the border, in a state reached by `part`: to the line beside it, or not. */
static void PT_NAME(alignment_count_from)(const PT_NAME(alignment_parts) * t,
                                          PT_NAME(alignment_tally) * tally, int column,
                                          path_sum part, int state,
                                          const int uses[ALIGNMENT_BORDERS]) {
    const int64_t i = column ? tally->level : 0, j = column ? 0 : tally->level;
    const int across = column ? PT_NAME(alignment_x) : PT_NAME(alignment_y);
    path_sum stays = PT_NAME(alignment_part_at_end)(t, state, i, j);
    for (int k = 1; k < PT_NAME(alignment_n_arcs); k++) {
        const PT_NAME(alignment_arc) *arc = &PT_NAME(alignment_arcs)[k];
        if (arc->from != state)
            continue;
        const path_sum on = PT_NAME(alignment_part_by)(t, t->a.kind, arc, i, j);
        if (arc->into != across) {
            stays = path_most(stays, on);
            continue;
        }
        int more[ALIGNMENT_BORDERS];
        memcpy(more, uses, sizeof more);
        more[2 * column + arc->channel[t->a.kind] - 1]++;
        PT_NAME(alignment_count)(tally, path_join(part, on), more);
    }
    PT_NAME(alignment_count)(tally, path_join(part, stays), uses);
}

/* Alignments that start on the first row (column = 0) or column at a level, or come along it or the line beside it. */
static void PT_NAME(alignment_count_line)(const PT_NAME(alignment_parts) * t,
                                          PT_NAME(alignment_tally) * tally, int column) {
    const int64_t l = tally->level;
    const int along = column ? PT_NAME(alignment_y) : PT_NAME(alignment_x);
    const int none[ALIGNMENT_BORDERS] = { 0 };
    for (int beside = 0; beside < 2; beside++) {
        const int64_t i = column ? l : beside, j = column ? beside : l;
        const int64_t v = PT_NAME(alignment_at)(t, i, j);
        if (!beside)
            PT_NAME(alignment_count_from)
        (t, tally, column, t->to[PT_NAME(alignment_m)][v], PT_NAME(alignment_m), none);
        for (int k = 1; k < PT_NAME(alignment_n_arcs); k++) {
            const PT_NAME(alignment_arc) *arc = &PT_NAME(alignment_arcs)[k];
            const int channel = arc->channel[t->a.kind];
            int uses[ALIGNMENT_BORDERS] = { 0 };
            if (arc->into != along || (beside && l == 1)) /* (1, 1) is reached from the border */
                continue;
            const path_sum part = path_join(PT_NAME(alignment_part_to)(t, arc, i, j),
                                            PT_NAME(alignment_taken)(t, t->a.kind, i, j, channel));
            uses[2 * column + channel - 1] = 1;
            if (beside)
                PT_NAME(alignment_count)(tally, path_join(part, t->on[along][v]), uses);
            else
                PT_NAME(alignment_count_from)(t, tally, column, part, along, uses);
        }
    }
}

/* Where the uses of entry e go up, from the best of k uses without its own score; at `second`, if >= 0, from 1 to 2. */
static void PT_NAME(alignment_switch)(const PT_NAME(alignment_answer) * to, int64_t e,
                                      int64_t second, const path_sum best[3]) {
    const double infinity = (double)INFINITY, a = best[0].score, b = best[1].score,
                 c = best[2].score;
    if (2 * b < a + c) { /* from 0 to 2 at once */
        const double change = (best[2].g - best[0].g) / 2;
        PT_NAME(alignment_set)(to, e, (a - c) / 2, change);
        PT_NAME(alignment_set)(to, second, (a - c) / 2, change);
        return;
    }
    PT_NAME(alignment_set)(to, e, a > -infinity ? a - b : -infinity, best[1].g - best[0].g);
    if (second >= 0)
        PT_NAME(alignment_set)
    (to, second, c > -infinity ? b - c : infinity, best[2].g - best[1].g);
}

/* The gap entries at cells of the first row or column of a level, learned gaps. */
static void PT_NAME(alignment_switch_line)(const pt_problem *p, const PT_NAME(alignment_parts) * t,
                                           const PT_NAME(alignment_levels) * by,
                                           const PT_NAME(alignment_tally) * tally, int column,
                                           const PT_NAME(alignment_answer) * to) {
    const int64_t l = tally->level;
    for (int channel = 1; channel <= 2; channel++) {
        const int64_t e = PT_NAME(alignment_entry)(t, column ? l : 0, column ? 0 : l, channel);
        const int twice = channel == 1 && !column && l <= p->n_twice;
        const double own = (double)t->a.theta[e];
        path_sum best[ALIGNMENT_MOST_USES + 1];
        if (!(own > -INFINITY))
            continue;
        for (int k = 0; k <= ALIGNMENT_MOST_USES; k++) {
            best[k] = tally->best[2 * column + channel - 1][k];
            best[k].score -= k * own;
        }
        best[0] = path_most(path_most(best[0], by->cuts[l].best[0]),
                            path_most(by->ends[l - 1], by->starts[l + 1]));
        PT_NAME(alignment_switch)(to, e, twice ? p->n + l - 1 : -1, best);
    }
}

/* What meets the border: by->others, and the thresholds of its entries. */
static void PT_NAME(alignment_borders)(const pt_problem *p, const PT_NAME(alignment_parts) * t,
                                       const PT_NAME(alignment_levels) * by,
                                       const PT_NAME(alignment_answer) * to) {
    const int64_t size[2] = { t->a.m, t->a.n };
    const int local = t->a.mode == PT_NAME(alignment_local);
    for (int64_t l = 1; l < t->a.n + t->a.m; l++) {
        PT_NAME(alignment_tally) tally = { .level = l };
        for (int e = 0; e < ALIGNMENT_BORDERS; e++)
            for (int k = 0; k <= ALIGNMENT_MOST_USES; k++)
                tally.best[e][k] = path_none();
        for (int column = 0; column < 2; column++)
            if (!local && l <= size[column])
                PT_NAME(alignment_count_line)(t, &tally, column);
        by->others[l] = path_most(by->ends[l - 1], by->starts[l]);
        for (int k = 0; k <= ALIGNMENT_MOST_USES; k++)
            by->others[l] = path_most(by->others[l], tally.best[0][k]);
        for (int column = 0; column < 2; column++)
            if (!local && t->a.kind == PT_NAME(alignment_learned) && l <= size[column] &&
                (l > 1 || !column)) /* cell (0, 0) once */
                PT_NAME(alignment_switch_line)(p, t, by, &tally, column, to);
    }
}

/* ---- thresholds ---- */

/* The threshold of an entry inside that the solution uses. */
static void PT_NAME(alignment_leave)(const pt_problem *p, const PT_NAME(alignment_parts) * t,
                                     const PT_NAME(alignment_levels) * by, int64_t e,
                                     const PT_NAME(alignment_answer) * to) {
    const int64_t cell = e / t->a.channels, i = cell / p->dims[1] + 1, j = cell % p->dims[1] + 1;
    const int channel = (int)(e % t->a.channels), kind = t->a.kind;
    const int64_t l = PT_NAME(alignment_level)(i, j);
    path_sum rest[PT_NAME(alignment_most_channels)];
    if (!PT_NAME(alignment_inside)(t, kind, i, j, channel))
        return;
    PT_NAME(alignment_rest)(t, kind, i, j, rest);
    const path_sum in = path_join(rest[channel], PT_NAME(alignment_taken)(t, kind, i, j, channel));
    const path_sum out = path_most(path_cut_without(&by->cuts[l], e), by->others[l]);
    PT_NAME(alignment_set)(to, e, out.score - rest[channel].score, in.g - out.g);
}

/* ---- draws ---- */

static size_t PT_NAME(alignment_thresholds_size)(const pt_problem *p) {
    const size_t n = (size_t)p->dims[0] + 1, m = (size_t)p->dims[1] + 1;
    return (6 * n * m + 3 * (n + m)) * sizeof(path_sum) + (n + m) * sizeof(path_cut) + (size_t)p->n;
}

/* One draw. */
static void PT_NAME(alignment_thresholds_of)(const pt_problem *p, PT_NAME(alignment_parts) * t,
                                             const PT_NAME(alignment_levels) * by,
                                             const int32_t *code, uint8_t *used, PT_REAL *tau,
                                             PT_REAL *change) {
    const PT_NAME(alignment_answer) to = { used, tau, change };
    memset(used, 0, (size_t)p->n);
    for (int64_t k = 0; k < p->code_len; k++)
        if (code[k] >= 0)
            used[code[k]] = 1;
    for (int64_t j = 0; j < p->n + p->n_twice; j++)
        PT_NAME(alignment_set)(&to, j, (double)INFINITY, 0);
    if (t->a.n == 0 || t->a.m == 0)
        return;
    PT_NAME(alignment_fill_parts)(t);
    PT_NAME(alignment_bounds)(t, by);
    PT_NAME(alignment_cross)(t, by, &to);
    PT_NAME(alignment_borders)(p, t, by, &to);
    for (int64_t k = 0; k < p->code_len; k++)
        if (code[k] >= 0)
            PT_NAME(alignment_leave)(p, t, by, code[k], &to);
}

static pt_status PT_NAME(alignment_thresholds)(const pt_problem *p, const pt_group *group,
                                               const int32_t *code, const void *g, void *taus,
                                               void *changes, void *work, pt_error *err) {
    const int64_t size = (p->dims[0] + 1) * (p->dims[1] + 1), levels = p->dims[0] + p->dims[1] + 2;
    PT_NAME(alignment_parts) t = { .g = g };
    path_sum *at = work;
    (void)err;
    PT_NAME(alignment_open)(p, group->row[0], group->theta, &t.a);
    for (int s = PT_NAME(alignment_m); s <= PT_NAME(alignment_y); s++, at += 2 * size) {
        t.to[s] = at;
        t.on[s] = at + size;
    }
    PT_NAME(alignment_levels)
    by = { (path_cut *)(void *)(at + 3 * levels), at, at + levels, at + 2 * levels };
    uint8_t *used = (uint8_t *)(void *)(by.cuts + levels);
    for (int64_t d = 0; d < group->n_draws; d++) {
        const int64_t from = d * group->draw_step;
        t.a.theta = (const PT_REAL *)group->theta + from;
        PT_NAME(alignment_thresholds_of)
        (p, &t, &by, code + d * p->code_len, used, (PT_REAL *)taus + from,
         g ? (PT_REAL *)changes + from : NULL);
        if (group->stop && group->stop(group->stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}
