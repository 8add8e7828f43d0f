/* grid_thresholds: for grid_path.tmpl.h, where each cell enters and leaves the path of a draw.
 *
 * Cell v off the path. With S(v) = min over neighbours of D, and T(v) the same from the target on, the best walk through v
 * costs S(v) + T(v) besides v itself, so v is in while its own cost is below
 *     X = D[target] - S(v) - T(v).
 * Walks are enough: one that meets a cell twice is no cheaper than its shortcut without v, so X <= 0 for it. X < 0: v is
 * never in. X = 0, two ways of one cost once v is free: the one with fewer cells is taken. Two trees of cheapest ways with
 * the fewest cells, from the source and from the target on, tell the cost, cells and sum of g of the way through v. Where
 * several ways are alike, or X = 0 and v's has no more cells than the path, v is solved again. D and its twin from the
 * target on come from two solves of all lanes.
 *
 * Cell v on the path leaves where the best path without it is as cheap: solved again with v closed. The ends stay. */
#ifndef PT_REAL
#error "grid_thresholds.tmpl.h is a template: include it from grid_path.tmpl.h"
#endif

/* The cheapest way with the fewest cells from a cell to an end, both included. */
typedef struct {
    PT_NAME(again_sum) sum;
    int32_t cells; /* 0: not known */
    int32_t several;
} PT_NAME(grid_way);

/* Ways of one lane to one end; all arrays with a border. */
typedef struct {
    PT_NAME(grid) grid; /* of all lanes: dist from this end on */
    PT_REAL *dist;      /* the lane's */
    PT_NAME(grid_way) * way;
} PT_NAME(grid_tree);

typedef struct {
    PT_NAME(again) * again;
    PT_NAME(grid_tree) to, on; /* from the source on, from the target on */
    PT_REAL *gain;             /* of the lane in work */
    double *along;             /* g, or 0 */
    int64_t path;              /* cells of the lane's path */
    PT_REAL slack;             /* rounding of a sum of costs */
} PT_NAME(grid_walks);

static size_t PT_NAME(grid_thresholds_size)(const pt_problem *p) {
    const int64_t cells = (p->dims[0] + 2) * (p->dims[1] + 1) + 1;
    return PT_NAME(again_size)(p, 2 * pt_take_size(1, PT_NAME(grid_work_size)(p)) +
                                      3 * pt_take_size(cells, sizeof(PT_REAL)) +
                                      2 * pt_take_size(cells, sizeof(PT_NAME(grid_way))) +
                                      pt_take_size(cells, sizeof(double)));
}

static PT_NAME(grid_walks)
    PT_NAME(grid_walk)(PT_NAME(again) * a, const pt_problem *p, const pt_group *group) {
    PT_NAME(grid_walks) w = { .again = a };
    PT_NAME(grid_tree) * trees[] = { &w.on, &w.to };
    char *at =
        a->work; /* its first part serves to solve again, when the trees are no longer needed */
    for (int i = 0; i < 2; i++) {
        void *table = pt_take(&at, 1, PT_NAME(grid_work_size)(p));
        PT_NAME(grid_open)(p, group, table, &trees[i]->grid);
        trees[i]->dist = pt_take(&at, trees[i]->grid.cells, sizeof(PT_REAL));
        trees[i]->way = pt_take(&at, trees[i]->grid.cells, sizeof(PT_NAME(grid_way)));
    }
    for (int l = 0; l < PT_LANES; l++) {
        w.on.grid.end[0][l] = w.to.grid.end[1][l];
        w.on.grid.end[1][l] = w.to.grid.end[0][l];
    }
    w.gain = pt_take(&at, w.to.grid.cells, sizeof(PT_REAL));
    w.along = pt_take(&at, w.to.grid.cells, sizeof(double));
    for (int64_t v = 0; v < p->n; v++)
        w.along[PT_NAME(grid_place)(&w.to.grid, v)] = a->g ? (double)a->g[v] : 0;
    return w;
}

/* Breadth-first over tight steps, through cells of costs up to `most`: all that come before a cell come before it in the
 * queue. */
static void PT_NAME(grid_grow)(const PT_NAME(grid_walks) * w, PT_NAME(grid_tree) * t, int lane,
                               PT_REAL most) {
    PT_NAME(grid) *g = &t->grid;
    const int64_t end = g->end[0][lane];
    int64_t size = 1;
    for (int64_t p = 0; p < g->cells; p++) {
        t->dist[p] = g->dist[p * PT_LANES + lane];
        t->way[p].cells = 0;
    }
    g->cell[0] = (int32_t)end;
    t->way[end] = (PT_NAME(grid_way)){ { (double)w->gain[end], w->along[end] }, 1, 0 };
    for (int64_t i = 0; i < size; i++) {
        const int64_t p = g->cell[i];
        const PT_NAME(grid_way) from = t->way[p];
        for (int k = 0; k < g->dirs; k++) {
            const int64_t u = p + g->step[k];
            PT_NAME(grid_way) *way = &t->way[u];
            if (!(t->dist[u] <= most) || t->dist[p] - w->gain[u] != t->dist[u])
                continue;
            if (way->cells == from.cells + 1)
                way->several = 1;
            if (way->cells)
                continue;
            *way = (PT_NAME(grid_way)){ { from.sum.worth + (double)w->gain[u],
                                          from.sum.along + w->along[u] },
                                        from.cells + 1,
                                        from.several };
            g->cell[size++] = (int32_t)u;
        }
    }
}

/* The cheapest way with the fewest cells that starts beside p.   least [out] its cost in the table */
static PT_NAME(grid_way)
    PT_NAME(grid_beside)(const PT_NAME(grid_tree) * t, int64_t p, PT_REAL *least) {
    PT_NAME(grid_way) best = { { 0, 0 }, 0, 0 };
    *least = PT_INFINITY;
    for (int k = 0; k < t->grid.dirs; k++) {
        const int64_t u = p + t->grid.step[k];
        const PT_NAME(grid_way) *way = &t->way[u];
        if (t->dist[u] > *least || !(t->dist[u] < PT_INFINITY))
            continue;
        if (t->dist[u] < *least || way->cells < best.cells)
            best = *way;
        else if (way->cells == best.cells)
            best.several = 1;
        *least = t->dist[u];
    }
    return best;
}

/* Threshold of cell v off the path, where it can be told. */
static void PT_NAME(grid_enter)(const PT_NAME(grid_walks) * w, int64_t v, int lane) {
    const PT_NAME(grid) *grid = &w->to.grid;
    const int64_t p = PT_NAME(grid_place)(grid, v);
    PT_REAL before, after;
    const PT_NAME(grid_way) to = PT_NAME(grid_beside)(&w->to, p, &before),
                            on = PT_NAME(grid_beside)(&w->on, p, &after);
    const PT_REAL x = w->to.dist[grid->end[1][lane]] - before - after;
    const PT_NAME(again_sum)
        sum = { to.sum.worth + on.sum.worth, to.sum.along + on.sum.along + w->along[p] };
    const int known = to.cells > 0 && on.cells > 0;
    if (x < -w->slack || !(before + after < PT_INFINITY) ||
        (known && x <= w->slack && to.cells + on.cells + 1 > w->path))
        PT_NAME(again_set)(w->again, lane, v, (double)PT_INFINITY, 0);
    else if (known && x > w->slack && !to.several && !on.several)
        PT_NAME(again_switch)(w->again, lane, v, 0, sum);
}

/* What can be told of one draw without solving it again. */
static void PT_NAME(grid_tell)(PT_NAME(grid_walks) * w, int lane) {
    const PT_NAME(again) *a = w->again;
    const PT_NAME(grid) *grid = &w->to.grid;
    const PT_REAL least = grid->dist[grid->end[1][lane] * PT_LANES + lane];
    for (int64_t v = 0; v < a->p->n; v++)
        w->gain[PT_NAME(grid_place)(grid, v)] =
            PT_NAME(grid_gain)(grid->theta[v * PT_LANES + lane]);
    w->slack = least * (PT_REAL)a->p->n * (PT_REAL)(PT_F64 ? DBL_EPSILON : FLT_EPSILON);
    PT_NAME(grid_grow)(w, &w->to, lane, least + w->slack);
    PT_NAME(grid_grow)(w, &w->on, lane, least + w->slack);
    w->path = w->to.way[grid->end[1][lane]].cells;
    for (int i = 0; i < 2; i++) {
        const int64_t v = PT_NAME(grid_flat)(grid, grid->end[i][lane]);
        PT_NAME(again_set)(a, lane, v, (double)-PT_INFINITY, 0);
    }
    for (int64_t v = 0; v < a->p->n; v++)
        if (PT_NAME(again_open)(a, lane, v) && !PT_NAME(again_uses)(a, lane, v))
            PT_NAME(grid_enter)(w, v, lane);
}

static pt_status PT_NAME(grid_thresholds)(const pt_problem *p, const pt_group *group,
                                          const int32_t *code, const void *g, void *tau,
                                          void *change, void *work, pt_error *err) {
    PT_NAME(again)
    a = PT_NAME(again_start)(PT_NAME(grid_solve), p, group, code, g, tau, change, work);
    PT_NAME(grid_walks) w = PT_NAME(grid_walk)(&a, p, group);
    PT_NAME(again_mark_all)(&a);
    if (PT_NAME(grid_costs)(&w.to.grid) || PT_NAME(grid_costs)(&w.on.grid))
        return PT_E_STOPPED;
    for (int l = 0; l < group->n_draws; l++)
        PT_NAME(grid_tell)(&w, l);
    return PT_NAME(again_rest)(&a, err);
}
