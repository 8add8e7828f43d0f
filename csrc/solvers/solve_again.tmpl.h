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
 * Exact for every solver of nonnegative worth in each coordinate. At most n solves a draw, PT_LANES at a time whichever
 * draws they belong to; a solver that knows some thresholds otherwise says so beforehand, and these are left out. */
#ifndef PT_REAL
#error "solve_again.tmpl.h is a template: include it before a solver that uses it"
#endif

typedef pt_status (*PT_NAME(again_fn))(const pt_problem *p, const pt_group *group, int32_t *code,
                                       void *work, pt_error *err);

/* A draw's solution: its objective and its sum of g. */
typedef struct {
    double worth, along;
} PT_NAME(again_sum);

/* A group of draws, and scratch. */
typedef struct {
    const pt_problem *p;
    const pt_group *group; /* and codes, g, tau, change: as in pt_solver.thresholds */
    const int32_t *codes;
    const PT_REAL *g;
    PT_REAL *tau, *change;
    PT_NAME(again_fn) solve;
    PT_NAME(again_sum) own[PT_RAO_BLOCK];
    double most[PT_RAO_BLOCK];                           /* that a coordinate can be worth */
    int64_t draw[PT_LANES], j[PT_LANES], rows[PT_LANES]; /* what waits to be solved */
    int64_t loaded[PT_LANES]; /* draw whose theta is in a lane of items */
    int count;
    PT_REAL *items, *y; /* n x PT_LANES; y_size */
    int32_t *code;      /* PT_LANES x code_len */
    void *work;
} PT_NAME(again);

static size_t PT_NAME(again_size)(const pt_problem *p, size_t work_size) {
    return pt_take_size(p->n * PT_LANES, sizeof(PT_REAL)) +
           pt_take_size(p->y_size, sizeof(PT_REAL)) +
           pt_take_size(PT_LANES * p->code_len, sizeof(int32_t)) + work_size;
}

static PT_NAME(again)
    PT_NAME(again_start)(PT_NAME(again_fn) solve, const pt_problem *p, const pt_group *group,
                         const int32_t *codes, const void *g, void *tau, void *change, void *work) {
    char *at = work;
    PT_NAME(again)
    a = { .p = p,
          .group = group,
          .codes = codes,
          .g = g,
          .tau = tau,
          .change = g ? change : NULL,
          .solve = solve };
    a.items = pt_take(&at, p->n * PT_LANES, sizeof(PT_REAL));
    a.y = pt_take(&at, p->y_size, sizeof(PT_REAL));
    a.code = pt_take(&at, PT_LANES * p->code_len, sizeof(int32_t));
    a.work = at;
    for (int l = 0; l < PT_LANES; l++)
        a.loaded[l] = -1;
    return a;
}

static inline PT_REAL PT_NAME(again_theta)(const PT_NAME(again) * a, int64_t draw, int64_t j) {
    return ((const PT_REAL *)a->group->theta)[draw * a->group->draw_step + j * a->group->item_step];
}

/* What j is worth to a solution that uses it. */
static inline double PT_NAME(again_worth)(const PT_NAME(again) * a, int64_t draw, int64_t j) {
    const PT_REAL x = PT_NAME(again_theta)(a, draw, j);
    return a->p->clipped && x > 0 ? 0 : (double)x;
}

static inline void PT_NAME(again_set)(const PT_NAME(again) * a, int64_t draw, int64_t j, double tau,
                                      double change) {
    const int64_t at = draw * a->group->draw_step + j * a->group->item_step;
    a->tau[at] = (PT_REAL)tau;
    if (a->change)
        a->change[at] = (PT_REAL)change;
}

/* Still to be found? */
static inline int PT_NAME(again_open)(const PT_NAME(again) * a, int64_t draw, int64_t j) {
    const PT_REAL tau = a->tau[draw * a->group->draw_step + j * a->group->item_step];
    return tau != tau;
}

static inline int PT_NAME(again_uses)(const PT_NAME(again) * a, int64_t draw, int64_t j) {
    const uint32_t bits = (uint32_t)a->codes[draw * a->p->code_len + j / 32];
    return (int)(bits >> j % 32 & 1);
}

/* Objective and sum of g of a solution, its bits in code, at a draw, coordinate j left out of the objective. */
static PT_NAME(again_sum)
    PT_NAME(again_sums)(const PT_NAME(again) * a, int64_t draw, const int32_t *code, int64_t j) {
    PT_NAME(again_sum) sum = { 0, 0 };
    for (int64_t i = 0; i < a->p->code_len; i++)
        for (uint32_t bits = (uint32_t)code[i]; bits; bits &= bits - 1) {
            const int64_t k = i * 32 + __builtin_ctz(bits);
            sum.worth += k == j ? 0 : PT_NAME(again_worth)(a, draw, k);
            sum.along += a->g ? (double)a->g[k] : 0;
        }
    return sum;
}

/* tau from the draw's own solution and another one, which differs at j. */
static void PT_NAME(again_switch)(const PT_NAME(again) * a, int64_t draw, int64_t j, int uses,
                                  PT_NAME(again_sum) other) {
    PT_NAME(again_sum) own = a->own[draw];
    own.worth -= uses ? PT_NAME(again_worth)(a, draw, j) : 0;
    const double at = uses ? other.worth - own.worth : own.worth - other.worth;
    const double change = uses ? own.along - other.along : other.along - own.along;
    PT_NAME(again_set)(a, draw, j, a->p->clipped && at > 0 ? 0 : at, change);
}

/* Which thresholds are there to be found: NaN; +inf where j is closed, or free already and not taken. */
static void PT_NAME(again_mark)(PT_NAME(again) * a, int64_t draw) {
    double most = 1;
    for (int64_t j = 0; j < a->p->n; j++) {
        const PT_REAL x = PT_NAME(again_theta)(a, draw, j);
        const int never =
            !(x > -PT_INFINITY) || (a->p->clipped && x >= 0 && !PT_NAME(again_uses)(a, draw, j));
        most += x > -PT_INFINITY ? 2 * (double)(x < 0 ? -x : x) : 0;
        PT_NAME(again_set)(a, draw, j, never ? (double)PT_INFINITY : __builtin_nan(""), 0);
    }
    a->most[draw] = a->p->clipped ? 0 : most;
    a->own[draw] = PT_NAME(again_sums)(a, draw, a->codes + draw * a->p->code_len, -1);
}

/* The same for all draws. Lanes that are none get thresholds that are never crossed. */
static void PT_NAME(again_mark_all)(PT_NAME(again) * a) {
    for (int64_t d = 0; d < a->group->n_draws; d++)
        PT_NAME(again_mark)(a, d);
    for (int64_t d = a->group->n_draws; a->group->item_step == PT_LANES && d < PT_LANES; d++)
        for (int64_t j = 0; j < a->p->n; j++)
            PT_NAME(again_set)(a, d, j, (double)PT_INFINITY, 0);
}

/* Solve what waits.   items [in, out] loaded[l] in lane l */
static pt_status PT_NAME(again_flush)(PT_NAME(again) * a, pt_error *err) {
    const pt_problem *p = a->p;
    const int64_t item = p->lanes == 1 ? 1 : PT_LANES, lane = p->lanes == 1 ? p->n : 1;
    const pt_group *whole = a->group;
    const pt_group group = {
        a->items,        item, lane, a->count, a->rows, whole->first + a->draw[0], whole->stop,
        whole->stop_ctx, 0
    };
    for (int l = 0; l < PT_LANES; l++) { /* lanes that stay empty have the last draw */
        const int64_t draw = a->draw[l < a->count ? l : a->count - 1];
        a->rows[l] = whole->row[draw];
        for (int64_t k = 0; a->loaded[l] != draw && k < p->n; k++)
            a->items[k * item + l * lane] = PT_NAME(again_theta)(a, draw, k);
        a->loaded[l] = draw;
    }
    for (int l = 0; l < a->count; l++)
        a->items[a->j[l] * item + l * lane] = PT_NAME(again_uses)(a, a->draw[l], a->j[l])
                                                  ? -(PT_REAL)(PT_F64 ? 1e290 : 1e30)
                                                  : (PT_REAL)a->most[a->draw[l]];
    const pt_status status = a->solve(p, &group, a->code, a->work, err);
    for (int l = 0; l < a->count && status == PT_OK; l++) {
        const int32_t *code = a->code + l * p->code_len;
        const int64_t draw = a->draw[l], j = a->j[l];
        const int uses = PT_NAME(again_uses)(a, draw, j);
        if ((int)((uint32_t)code[j / 32] >> j % 32 & 1) == uses) /* always in, or never */
            PT_NAME(again_set)(a, draw, j, (double)(uses ? -PT_INFINITY : PT_INFINITY), 0);
        else
            PT_NAME(again_switch)(a, draw, j, uses, PT_NAME(again_sums)(a, draw, code, j));
        a->items[j * item + l * lane] = PT_NAME(again_theta)(a, draw, j);
    }
    a->count = 0;
    return status;
}

/* Solve for all thresholds that are still open. */
static pt_status PT_NAME(again_rest)(PT_NAME(again) * a, pt_error *err) {
    for (int64_t d = 0; d < a->group->n_draws; d++)
        for (int64_t j = 0; j < a->p->n; j++) {
            if (!PT_NAME(again_open)(a, d, j))
                continue;
            a->draw[a->count] = d;
            a->j[a->count++] = j;
            const pt_status status = a->count == PT_LANES ? PT_NAME(again_flush)(a, err) : PT_OK;
            if (status != PT_OK)
                return status;
        }
    return a->count ? PT_NAME(again_flush)(a, err) : PT_OK;
}
