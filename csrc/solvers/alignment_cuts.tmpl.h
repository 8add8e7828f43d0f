/* alignment_cuts: thresholds of local alignments with fixed or learned gaps (MATH, section 5).
 *
 * A step arrives at a position (i, j) of level i + j by one entry of the cell before it; a match also crosses level
 * i + j - 1. Without an entry: the best other crossing of its level, or an alignment that ends before it or starts after
 * it, or the empty one. */
#ifndef PT_REAL
#error "alignment_cuts.tmpl.h is a template: include it from alignment.tmpl.h"
#endif

/* Tables of one draw over positions, (n + 1) x (m + 1), in double. */
typedef struct {
    PT_NAME(alignment_item) a;
    const PT_REAL *g; /* NULL where changes are not asked for */
    path_sum *to[3];  /* best parts that end in M, X, Y, with the entry that leads there */
    path_sum *on[3];  /* best parts from there on, without it */
    path_sum *ends;   /* by level: best alignments that end there or before */
    path_sum *starts; /* by level: best whose first match crosses no level below */
    path_cut *cuts;   /* by level */
} PT_NAME(alignment_marginals);

/* The entry that a step to position (i, j) takes: channel 0 match, 1 open, 2 extend. */
static inline int64_t PT_NAME(alignment_entry)(const PT_NAME(alignment_marginals) * t, int64_t i,
                                               int64_t j, int channel) {
    return (i - 1) * t->a.pitch + (j - 1) * t->a.channels + channel;
}

static inline path_sum PT_NAME(alignment_taken)(const PT_NAME(alignment_marginals) * t, int64_t i,
                                                int64_t j, int channel) {
    if (channel > 0 && t->a.kind == PT_NAME(alignment_fixed))
        return (path_sum){ (double)t->a.gap[channel - 1], 0 };
    const int64_t e = PT_NAME(alignment_entry)(t, i, j, channel);
    return (path_sum){ (double)t->a.theta[e], t->g ? (double)t->g[e] : 0 };
}

static void PT_NAME(alignment_parts_to)(const PT_NAME(alignment_marginals) * t) {
    const int64_t pitch = t->a.m + 1;
    const path_sum start = { 0, 0 };
    for (int64_t i = 0; i <= t->a.n; i++)
        for (int64_t j = 0; j <= t->a.m; j++) {
            const int64_t v = i * pitch + j, up = v - pitch;
            for (int k = 0; k < 3; k++)
                t->to[k][v] = path_none();
            if (i == 0 || j == 0)
                continue;
            const path_sum open = PT_NAME(alignment_taken)(t, i, j, 1),
                           extend = PT_NAME(alignment_taken)(t, i, j, 2);
            path_sum best = path_most(path_most(start, t->to[0][up - 1]), t->to[1][up - 1]);
            best = path_most(best, t->to[2][up - 1]);
            t->to[0][v] = path_join(best, PT_NAME(alignment_taken)(t, i, j, 0));
            t->to[1][v] =
                path_most(path_join(t->to[0][v - 1], open), path_join(t->to[1][v - 1], extend));
            t->to[2][v] = path_most(path_join(path_most(t->to[0][up], t->to[1][up]), open),
                                    path_join(t->to[2][up], extend));
        }
}

static void PT_NAME(alignment_parts_on)(const PT_NAME(alignment_marginals) * t) {
    const int64_t pitch = t->a.m + 1, n = t->a.n, m = t->a.m;
    for (int64_t i = n; i >= 0; i--)
        for (int64_t j = m; j >= 0; j--) {
            const int64_t v = i * pitch + j;
            path_sum match = path_none(), x = match, xx = match, y = match, yy = match;
            if (i < n && j < m)
                match = path_join(PT_NAME(alignment_taken)(t, i + 1, j + 1, 0),
                                  t->on[0][v + pitch + 1]);
            if (j < m && i > 0) {
                x = path_join(PT_NAME(alignment_taken)(t, i, j + 1, 1), t->on[1][v + 1]);
                xx = path_join(PT_NAME(alignment_taken)(t, i, j + 1, 2), t->on[1][v + 1]);
            }
            if (i < n && j > 0) {
                y = path_join(PT_NAME(alignment_taken)(t, i + 1, j, 1), t->on[2][v + pitch]);
                yy = path_join(PT_NAME(alignment_taken)(t, i + 1, j, 2), t->on[2][v + pitch]);
            }
            t->on[0][v] = path_most(path_most((path_sum){ 0, 0 }, match), path_most(x, y));
            t->on[1][v] = path_most(match, path_most(xx, y));
            t->on[2][v] = path_most(match, yy);
        }
}

/* Best alignments through the entry of each channel at (i, j), its own score not included. */
static void PT_NAME(alignment_rest)(const PT_NAME(alignment_marginals) * t, int64_t i, int64_t j,
                                    path_sum rest[3]) {
    const int64_t pitch = t->a.m + 1, v = i * pitch + j, up = v - pitch;
    path_sum best = path_most((path_sum){ 0, 0 }, t->to[0][up - 1]);
    best = path_most(path_most(best, t->to[1][up - 1]), t->to[2][up - 1]);
    rest[0] = path_join(best, t->on[0][v]);
    rest[1] = path_most(path_join(t->to[0][v - 1], t->on[1][v]),
                        path_join(path_most(t->to[0][up], t->to[1][up]), t->on[2][v]));
    rest[2] =
        path_most(path_join(t->to[1][v - 1], t->on[1][v]), path_join(t->to[2][up], t->on[2][v]));
}

static void PT_NAME(alignment_cut)(const PT_NAME(alignment_marginals) * t) {
    const int64_t n = t->a.n, m = t->a.m, pitch = m + 1;
    for (int64_t l = 0; l <= n + m + 2; l++) {
        t->cuts[l] = path_cut_none();
        t->ends[l] = t->starts[l] = (path_sum){ 0, 0 };
    }
    for (int64_t i = 1; i <= n; i++)
        for (int64_t j = 1; j <= m; j++) {
            const int64_t l = i + j, v = i * pitch + j;
            path_sum rest[3];
            PT_NAME(alignment_rest)(t, i, j, rest);
            for (int k = 0; k < 3; k++) {
                const path_sum all = path_join(rest[k], PT_NAME(alignment_taken)(t, i, j, k));
                const int entry = k == 0 || t->a.kind != PT_NAME(alignment_fixed);
                path_cut_offer(&t->cuts[l], all, entry ? PT_NAME(alignment_entry)(t, i, j, k) : -1);
                if (k == 0)
                    path_cut_offer(&t->cuts[l - 1], all, -1);
            }
            t->ends[l] = path_most(t->ends[l], t->to[0][v]);
            t->starts[l - 1] = path_most(
                t->starts[l - 1], path_join(PT_NAME(alignment_taken)(t, i, j, 0), t->on[0][v]));
        }
    for (int64_t l = 1; l <= n + m + 2; l++)
        t->ends[l] = path_most(t->ends[l], t->ends[l - 1]);
    for (int64_t l = n + m + 2; l > 0; l--)
        t->starts[l - 1] = path_most(t->starts[l - 1], t->starts[l]);
}

static void PT_NAME(alignment_changes)(const PT_NAME(alignment_marginals) * t, const uint8_t *used,
                                       PT_REAL *tau, PT_REAL *change) {
    const int64_t n = t->a.n, m = t->a.m;
    const path_sum whole = t->ends[n + m];
    for (int64_t i = 1; i <= n; i++)
        for (int64_t j = 1; j <= m; j++) {
            const int64_t l = i + j;
            path_sum rest[3];
            PT_NAME(alignment_rest)(t, i, j, rest);
            for (int k = 0; k < t->a.channels; k++) {
                const int64_t e = PT_NAME(alignment_entry)(t, i, j, k);
                const path_sum in = path_join(rest[k], PT_NAME(alignment_taken)(t, i, j, k));
                if (!(in.score > -INFINITY))
                    continue;
                path_sum out = whole;
                if (used[e])
                    out = path_most(path_cut_without(&t->cuts[l], e),
                                    path_most(t->ends[l - 1], t->starts[l + 1]));
                tau[e] = (PT_REAL)(out.score - rest[k].score);
                if (t->g)
                    change[e] = (PT_REAL)(in.g - out.g);
            }
        }
}

static size_t PT_NAME(alignment_thresholds_size)(const pt_problem *p) {
    const size_t n = (size_t)p->dims[0] + 1, m = (size_t)p->dims[1] + 1;
    return (6 * n * m + 2 * (n + m + 2)) * sizeof(path_sum) + (n + m + 2) * sizeof(path_cut) +
           (size_t)p->n;
}

static pt_status PT_NAME(alignment_thresholds)(const pt_problem *p, const pt_group *group,
                                               const int32_t *code, const void *g, void *taus,
                                               void *changes, void *work, pt_error *err) {
    const int64_t size = (p->dims[0] + 1) * (p->dims[1] + 1), levels = p->dims[0] + p->dims[1] + 4;
    const double *gaps = p->arrays[1].data;
    PT_NAME(alignment_marginals) t = { .g = g };
    path_sum *at = work;
    (void)err;
    t.a.kind = (int)p->ints[1];
    t.a.channels = PT_NAME(alignment_channels)(p);
    t.a.pitch = p->dims[1] * t.a.channels;
    t.a.n = PT_NAME(alignment_length)(p, group->row[0], 0);
    t.a.m = PT_NAME(alignment_length)(p, group->row[0], 1);
    for (int k = 0; gaps && k < 2; k++)
        t.a.gap[k] = -(PT_REAL)gaps[k];
    for (int k = 0; k < 3; k++, at += 2 * size) {
        t.to[k] = at;
        t.on[k] = at + size;
    }
    t.ends = at;
    t.starts = at + levels;
    t.cuts = (path_cut *)(void *)(at + 2 * levels);
    uint8_t *used = (uint8_t *)(void *)(t.cuts + levels);
    for (int64_t d = 0; d < group->n_draws; d++) {
        PT_REAL *tau = (PT_REAL *)taus + d * group->draw_step;
        PT_REAL *change = g ? (PT_REAL *)changes + d * group->draw_step : NULL;
        t.a.theta = (const PT_REAL *)group->theta + d * group->draw_step;
        memset(used, 0, (size_t)p->n);
        for (int64_t k = 0; k < p->code_len; k++)
            if (code[d * p->code_len + k] >= 0)
                used[code[d * p->code_len + k]] = 1;
        for (int64_t j = 0; j < p->n; j++) {
            tau[j] = PT_INFINITY;
            if (g)
                change[j] = 0;
        }
        PT_NAME(alignment_parts_to)(&t);
        PT_NAME(alignment_parts_on)(&t);
        PT_NAME(alignment_cut)(&t);
        PT_NAME(alignment_changes)(&t, used, tau, change);
        if (group->stop && group->stop(group->stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}
