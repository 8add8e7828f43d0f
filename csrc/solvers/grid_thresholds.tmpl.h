/* grid_thresholds: for grid_path.tmpl.h, where each cell enters and leaves the path of a draw.
 *
 * Cell v off the path. With S(v) = min over neighbours of D, and T(v) the same from the target on, the best walk through v
 * costs S(v) + T(v) besides v itself, so v is in while its own cost is below
 *     X = D[target] - S(v) - T(v).
 * Walks are enough: one that meets a cell twice is no cheaper than its shortcut without v, so X <= 0 for it. X < 0: v is
 * never in. X = 0, two ways of one cost once v is free: the one with fewer cells is taken. Traced on unique tight steps, the
 * way through v is the only best one, and tells its cost, cells and sum of g; where steps tie, v is left to be solved again,
 * as is X = 0 with no more cells than the path. D and its twin from the target on come from two solves of all lanes.
 *
 * Cell v on the path leaves where the best path without it is as cheap: solved again with v closed. The ends stay. */
#ifndef PT_REAL
#error "grid_thresholds.tmpl.h is a template: include it from grid_path.tmpl.h"
#endif

/* Both tables of one group: dist from the sources on, and from the targets on. */
typedef struct {
    PT_NAME(again) * again;
    PT_NAME(grid) to, on;
} PT_NAME(grid_walks);

/* A way from next to v to an end. */
typedef struct {
    PT_NAME(again_sum) sum;
    int64_t cells;
} PT_NAME(grid_way);

static size_t PT_NAME(grid_thresholds_size)(const pt_problem *p) {
    const size_t table = PT_NAME(grid_work_size)(p);
    return PT_NAME(again_size)(p, pt_take_size(1, table) + table);
}

/* Least cost of a neighbour. */
static inline PT_REAL PT_NAME(grid_beside)(const PT_NAME(grid) * g, int64_t p, int lane) {
    PT_REAL least = PT_INFINITY;
    for (int k = 0; k < g->dirs; k++) {
        const PT_REAL x = g->dist[(p + g->step[k]) * PT_LANES + lane];
        least = x < least ? x : least;
    }
    return least;
}

/* Follow tight steps from p, at which `d` is wanted of a neighbour, to the end that the table starts from.
 * 0: at some step there is not just one. */
static int PT_NAME(grid_follow)(const PT_NAME(grid_walks) * w, const PT_NAME(grid) * g, int64_t p,
                                PT_REAL d, int lane, PT_NAME(grid_way) * way) {
    const int64_t end = g->end[0][lane];
    PT_REAL gain = 0; /* of p, but none of the cell that the way starts beside */
    for (; p != end; way->cells++) {
        int64_t next = 0;
        int count = 0;
        for (int k = 0; k < g->dirs; k++) {
            const int64_t u = p + g->step[k];
            const int tight = g->dist[u * PT_LANES + lane] - gain == d;
            next = tight ? u : next;
            count += tight;
        }
        if (count != 1 || way->cells > g->h * g->w)
            return 0;
        p = next;
        d = g->dist[p * PT_LANES + lane];
        gain = PT_NAME(grid_gain_at)(g, p, lane);
        const int64_t v = PT_NAME(grid_flat)(g, p);
        way->sum.worth += (double)gain;
        way->sum.along += w->again->g ? (double)w->again->g[v] : 0;
    }
    return 1;
}

/* Threshold of cell v off the path, where it can be told.   path: cells of the path */
static void PT_NAME(grid_enter)(const PT_NAME(grid_walks) * w, int64_t v, int lane, int64_t path) {
    const PT_NAME(grid) *to = &w->to, *on = &w->on;
    const int64_t p = (v / to->w + 1) * to->pitch + v % to->w + 1;
    const PT_REAL least = to->dist[to->end[1][lane] * PT_LANES + lane],
                  before = PT_NAME(grid_beside)(to, p, lane),
                  after = PT_NAME(grid_beside)(on, p, lane), x = least - before - after;
    /* Sums of h w numbers or fewer, rounded. */
    const PT_REAL slack =
        least * (PT_REAL)(to->h * to->w) * (PT_REAL)(PT_F64 ? DBL_EPSILON : FLT_EPSILON);
    PT_NAME(grid_way) way = { { 0, w->again->g ? (double)w->again->g[v] : 0 }, 1 };
    if (x < -slack || !(before + after < PT_INFINITY)) {
        PT_NAME(again_set)(w->again, lane, v, (double)PT_INFINITY, 0);
        return;
    }
    if (!PT_NAME(grid_follow)(w, to, p, before, lane, &way) ||
        !PT_NAME(grid_follow)(w, on, p, after, lane, &way))
        return;
    if (x > slack)
        PT_NAME(again_switch)(w->again, lane, v, 0, way.sum);
    else if (way.cells > path)
        PT_NAME(again_set)(w->again, lane, v, (double)PT_INFINITY, 0);
}

/* What can be told of one draw without solving it again. */
static void PT_NAME(grid_tell)(const PT_NAME(grid_walks) * w, int lane) {
    const PT_NAME(again) *a = w->again;
    int64_t path = 0;
    for (int i = 0; i < 2; i++)
        PT_NAME(again_set)
    (a, lane, PT_NAME(grid_flat)(&w->to, w->to.end[i][lane]), (double)-PT_INFINITY, 0);
    for (int64_t i = 0; i < a->p->code_len; i++)
        path += __builtin_popcount((uint32_t)a->codes[lane * a->p->code_len + i]);
    for (int64_t v = 0; v < a->p->n; v++)
        if (PT_NAME(again_open)(a, lane, v) && !PT_NAME(again_uses)(a, lane, v))
            PT_NAME(grid_enter)(w, v, lane, path);
}

static pt_status PT_NAME(grid_thresholds)(const pt_problem *p, const pt_group *group,
                                          const int32_t *code, const void *g, void *tau,
                                          void *change, void *work, pt_error *err) {
    PT_NAME(again)
    a = PT_NAME(again_start)(PT_NAME(grid_solve), p, group, code, g, tau, change, work);
    PT_NAME(grid_walks) w = { .again = &a };
    char *at = a.work;
    char *other = pt_take(&at, 1, PT_NAME(grid_work_size)(p));
    PT_NAME(grid_open)(p, group, other, &w.to);
    PT_NAME(grid_open)(p, group, at, &w.on);
    for (int l = 0; l < PT_LANES; l++) {
        w.on.end[0][l] = w.to.end[1][l];
        w.on.end[1][l] = w.to.end[0][l];
    }
    PT_NAME(again_mark_all)(&a);
    if (PT_NAME(grid_costs)(&w.to) || PT_NAME(grid_costs)(&w.on))
        return PT_E_STOPPED;
    for (int l = 0; l < group->n_draws; l++)
        PT_NAME(grid_tell)(&w, l);
    return PT_NAME(again_rest)(&a, err);
}
