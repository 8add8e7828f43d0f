/* solve_again: thresholds of a 0/1 coordinate by solving once more with it closed, or with it free.
 *
 * y_in is the best solution with j, y_out the best without, the other coordinates as they are; one of them is the draw's
 * own. With C(y) the objective that y has from the others, y_j = 1 where theta'_j > tau_j = C(y_out) - C(y_in) (MATH,
 * section 5).
 *   j in the solution: y_out by closing j. Where that leaves no other solution, y_j = 1 always.
 *   j not in it:       y_in by the most that j can be worth: 0 where theta is clipped there, else more than all others
 *                      together can lose. A solution that still leaves j out never takes it.
 * Clipped costs: tau_j <= 0 then. Where y_in and y_out tie without j's cost, the solver's own tie rule has chosen y_in, and
 * tau_j = 0: j is in where its cost is cut to 0. So plateaus of zero cost are right too.
 * Exact for every solver of nonnegative worth in each coordinate; n solves a draw, PT_LANES coordinates at a time. */
#ifndef PT_REAL
#error "solve_again.tmpl.h is a template: include it before a solver that uses it"
#endif

/* What it needs of a solver, and scratch. */
typedef struct {
    pt_status (*solve)(const pt_problem *p, const pt_group *group, int32_t *code, void *work,
                       pt_error *err);
    const pt_problem *p;
    PT_REAL *items, *own, *y; /* n x PT_LANES; y_size each */
    int32_t *code;            /* PT_LANES x code_len */
    void *work;
} PT_NAME(again);

static size_t PT_NAME(again_size)(const pt_problem *p, size_t work_size) {
    return pt_take_size(p->n * PT_LANES, sizeof(PT_REAL)) +
           2 * pt_take_size(p->y_size, sizeof(PT_REAL)) +
           pt_take_size(PT_LANES * p->code_len, sizeof(int32_t)) + work_size;
}

/* What a solution has from all coordinates but j: its objective and its sum of g. */
static void PT_NAME(again_sums)(const PT_NAME(again) * a, const PT_REAL *theta, const PT_REAL *y,
                                const PT_REAL *g, int64_t j, double *worth, double *along) {
    double sum = 0, sum_g = 0;
    for (int64_t i = 0; i < a->p->n; i++) {
        if (y[i] == 0)
            continue;
        if (i != j)
            sum += (double)(a->p->clipped && theta[i] > 0 ? 0 : theta[i]);
        sum_g += g ? (double)g[i] : 0;
    }
    *worth = sum;
    *along = sum_g;
}

/* Thresholds of coordinates which[0 .. count - 1] of one draw.   items [in, out] the draw in every lane */
static pt_status PT_NAME(again_solve)(const PT_NAME(again) * a, const pt_group *whole, int64_t draw,
                                      const int64_t *which, int count, const PT_REAL *theta,
                                      double most, const PT_REAL *g, PT_REAL *tau, PT_REAL *change,
                                      pt_error *err) {
    const pt_problem *p = a->p;
    const int64_t item = p->lanes == 1 ? 1 : PT_LANES, lane = p->lanes == 1 ? p->n : 1;
    int64_t rows[PT_LANES];
    for (int l = 0; l < PT_LANES; l++)
        rows[l] = whole->row[draw];
    const pt_group group = {
        a->items, item, lane, count, rows, whole->first + draw, whole->stop, whole->stop_ctx, 0
    };
    for (int l = 0; l < count; l++)
        a->items[which[l] * item + l * lane] =
            a->own[which[l]] != 0 ? -(PT_REAL)(PT_F64 ? 1e290 : 1e30) : (PT_REAL)most;
    const pt_status status = a->solve(p, &group, a->code, a->work, err);
    for (int l = 0; l < count && status == PT_OK; l++) {
        const int64_t j = which[l];
        double own, other, g_own, g_other;
        PT_NAME(code_expand)(p, a->code + l * p->code_len, a->y);
        if (a->y[j] == a->own[j]) { /* always in, or never */
            tau[j] = a->own[j] != 0 ? -PT_INFINITY : PT_INFINITY;
            continue;
        }
        PT_NAME(again_sums)(a, theta, a->own, g, j, &own, &g_own);
        PT_NAME(again_sums)(a, theta, a->y, g, j, &other, &g_other);
        const double at = a->own[j] != 0 ? other - own : own - other;
        tau[j] = (PT_REAL)(p->clipped && at > 0 ? 0 : at);
        if (g)
            change[j] = (PT_REAL)(a->own[j] != 0 ? g_own - g_other : g_other - g_own);
    }
    for (int l = 0; l < count; l++)
        a->items[which[l] * item + l * lane] = theta[which[l]];
    return status;
}

static pt_status PT_NAME(again_draw)(const PT_NAME(again) * a, const pt_group *group, int64_t d,
                                     const PT_REAL *g, PT_REAL *tau, PT_REAL *change,
                                     pt_error *err) {
    const pt_problem *p = a->p;
    const PT_REAL *theta = (const PT_REAL *)group->theta + d * group->draw_step;
    int64_t which[PT_LANES];
    int count = 0;
    double most = 1;
    for (int64_t j = 0; j < p->n; j++) {
        for (int l = 0; l < PT_LANES; l++)
            a->items[p->lanes == 1 ? l * p->n + j : j * PT_LANES + l] = theta[j];
        if (theta[j] > -PT_INFINITY)
            most += 2 * (double)(theta[j] < 0 ? -theta[j] : theta[j]);
    }
    if (p->clipped)
        most = 0;
    for (int64_t j = 0; j < p->n; j++) {
        tau[j] = PT_INFINITY;
        if (g)
            change[j] = 0;
        /* closed; or free already, and not taken */
        if (!(theta[j] > -PT_INFINITY) || (p->clipped && theta[j] >= 0 && a->own[j] == 0))
            continue;
        which[count++] = j;
        if (count < PT_LANES)
            continue;
        const pt_status status =
            PT_NAME(again_solve)(a, group, d, which, count, theta, most, g, tau, change, err);
        if (status != PT_OK)
            return status;
        count = 0;
    }
    return count ? PT_NAME(again_solve)(a, group, d, which, count, theta, most, g, tau, change, err)
                 : PT_OK;
}

/* As pt_solver.thresholds, of draws one after the other (moves_lanes = 1). */
static pt_status PT_NAME(solve_again)(pt_status (*solve)(const pt_problem *, const pt_group *,
                                                         int32_t *, void *, pt_error *),
                                      const pt_problem *p, const pt_group *group,
                                      const int32_t *code, const void *g, void *tau, void *change,
                                      void *work, pt_error *err) {
    char *at = work;
    PT_NAME(again) a = { .solve = solve, .p = p };
    a.items = pt_take(&at, p->n * PT_LANES, sizeof(PT_REAL));
    a.own = pt_take(&at, p->y_size, sizeof(PT_REAL));
    a.y = pt_take(&at, p->y_size, sizeof(PT_REAL));
    a.code = pt_take(&at, PT_LANES * p->code_len, sizeof(int32_t));
    a.work = at;
    for (int64_t d = 0; d < group->n_draws; d++) {
        const int64_t from = d * group->draw_step;
        PT_NAME(code_expand)(p, code + d * p->code_len, a.own);
        const pt_status status = PT_NAME(again_draw)(&a, group, d, g, (PT_REAL *)tau + from,
                                                     change ? (PT_REAL *)change + from : NULL, err);
        if (status != PT_OK)
            return status;
    }
    return PT_OK;
}
