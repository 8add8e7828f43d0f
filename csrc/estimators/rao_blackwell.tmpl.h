/* rao_blackwell: terms of y_eps and J^T g with each coordinate's own noise integrated out (MATH, section 5).
 *   y_j:        P(theta'_j > tau_j), given the other coordinates
 *   (J^T g)_j:  p(u_j) / w_j <g, y_in - y_out>
 * of a coordinate with two thresholds their sums.
 */
#ifndef PT_REAL
#error "rao_blackwell.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

/* A block of draws in work. */
typedef struct {
    const pt_job *job;
    const PT_REAL *g;
    PT_NAME(movers) movers;
    PT_REAL *noisy, *tau, *change, *own; /* PT_RAO_BLOCK items, likewise, likewise; one solution */
    PT_NAME(place_list) list;
    double *x, *pair; /* terms of a draw, and of its mate */
    void *solver_work;
} PT_NAME(rao);

static size_t PT_NAME(rao_size)(const pt_job *job) {
    const pt_problem *p = &job->problem;
    const size_t n = (size_t)PT_NAME(padded)(job), y = (size_t)p->y_size;
    size_t size = ((3 * PT_RAO_BLOCK + 4) * n + y) * sizeof(PT_REAL) +
                  2 * (y > n ? y : n) * sizeof(double) + 1024;
    if (p->moves == PT_MOVES_PLACE)
        size += PT_NAME(places_size)(p);
    if (job->solve->thresholds_size)
        size += job->solve->thresholds_size(p);
    return size;
}

static PT_NAME(rao) PT_NAME(rao_start)(const pt_job *job, int64_t row, const void *g, char *work) {
    const pt_problem *p = &job->problem;
    const size_t n = (size_t)PT_NAME(padded)(job), y = (size_t)p->y_size;
    PT_NAME(rao) rao = { .job = job, .g = g };
    rao.movers.theta = PT_NAME(slice)(&work, n * sizeof(PT_REAL));
    rao.movers.inverse = PT_NAME(slice)(&work, n * sizeof(PT_REAL));
    rao.movers.shift = PT_NAME(slice)(&work, n * sizeof(PT_REAL));
    rao.movers.slope = PT_NAME(slice)(&work, n * sizeof(PT_REAL));
    PT_NAME(fill_movers)(job, row, &rao.movers);
    rao.noisy = PT_NAME(slice)(&work, PT_RAO_BLOCK * n * sizeof(PT_REAL));
    rao.tau = PT_NAME(slice)(&work, PT_RAO_BLOCK * n * sizeof(PT_REAL));
    rao.change = PT_NAME(slice)(&work, PT_RAO_BLOCK * n * sizeof(PT_REAL));
    rao.own = PT_NAME(slice)(&work, y * sizeof(PT_REAL));
    rao.x = PT_NAME(slice)(&work, (y > n ? y : n) * sizeof(double));
    rao.pair = PT_NAME(slice)(&work, (y > n ? y : n) * sizeof(double));
    if (p->moves == PT_MOVES_PLACE)
        PT_NAME(places_start)(p, &work, &rao.list);
    rao.solver_work = work;
    return rao;
}

/* Draws m0 .. of a row, perturbed as the solver's thresholds wants them. */
static pt_group PT_NAME(rao_group)(PT_NAME(rao) * rao, const pt_wave *wave, int64_t row, int64_t m0,
                                   int64_t n_draws, int64_t rows[PT_LANES]) {
    const pt_job *job = rao->job;
    pt_group group = { rao->noisy, 1, PT_NAME(padded)(job), n_draws, rows, m0, NULL, NULL, 0 };
    int64_t m[PT_LANES];
    for (int l = 0; l < PT_LANES; l++) {
        rows[l] = row;
        m[l] = m0 + (l < n_draws ? l : 0);
    }
    if (job->problem.moves == PT_MOVES_THRESHOLD && job->problem.moves_lanes == PT_LANES) {
        group.item_step = PT_LANES;
        group.draw_step = 1;
        PT_NAME(perturb_group_lanes)(job, wave, rows, m, rao->noisy);
    } else
        PT_NAME(perturb_draws)(job, wave, row, m0, n_draws, rao->noisy);
    return group;
}

/* tau of all draws to densities times slopes, or to chances: whole vectors, in the group's layout. */
static void PT_NAME(rao_weigh)(PT_NAME(rao) * rao, const pt_group *group) {
    const pt_job *job = rao->job;
    const int lanes = (int)group->item_step;
    const int64_t n = job->n + job->problem.n_twice, outer = lanes == 1 ? group->n_draws : 1;
    for (int64_t d = 0; d < outer; d++) {
        PT_REAL *tau = rao->tau + d * group->draw_step;
        PT_NAME(arguments)(&rao->movers, n, lanes, tau);
        if (rao->g)
            PT_NAME(densities)(&job->noise, n * lanes, tau);
        else
            PT_NAME(tails)(&job->noise, n * lanes, tau);
    }
}

/* What threshold `at` of a draw adds to y_j or (J^T g)_j. */
static inline double PT_NAME(rao_term)(const PT_NAME(rao) * rao, int64_t at, const PT_REAL *weight,
                                       const PT_REAL *change) {
    const PT_NAME(movers) *m = &rao->movers;
    if (rao->g)
        return (double)m->slope[at] * (double)*weight * (double)*change;
    return m->multiplicative && m->theta[at] < 0 ? 1 - (double)*weight : (double)*weight;
}

/* One draw's terms from the weights. A coordinate that does not move keeps its own y. */
static void PT_NAME(rao_thresholds)(PT_NAME(rao) * rao, const pt_group *group, int64_t d,
                                    const int32_t *code, double *x) {
    const pt_job *job = rao->job;
    const pt_problem *p = &job->problem;
    const PT_REAL *weight = rao->tau + d * group->draw_step,
                  *change = rao->change + d * group->draw_step;
    const int64_t step = group->item_step;
    for (int64_t j = 0; j < job->n; j++)
        x[j] = PT_NAME(rao_term)(rao, j, weight + j * step, change + j * step);
    for (int64_t k = 0, at = job->n; k < p->n_twice; k++, at++)
        x[PT_NAME(twice)(p, k)] += PT_NAME(rao_term)(rao, at, weight + at, change + at);
    if (rao->g)
        return;
    PT_NAME(code_expand)(p, code, rao->own);
    for (int64_t j = 0; j < job->n; j++)
        if (rao->movers.slope[j] == 0)
            x[j] = (double)rao->own[j];
}

static void PT_NAME(rao_places)(PT_NAME(rao) * rao, const PT_REAL *noisy, const int32_t *code,
                                double *x) {
    const pt_job *job = rao->job;
    const pt_problem *p = &job->problem;
    PT_NAME(places_of)(p, code, noisy, &rao->list);
    if (rao->g) {
        PT_NAME(place_steps)(p, rao->g, &rao->list);
        for (int64_t j = 0; j < job->n; j++)
            x[j] = PT_NAME(place_slope)(job, rao->g, j, &rao->movers, &rao->list);
        return;
    }
    PT_NAME(code_expand)(p, code, rao->own);
    for (int64_t i = 0; i < p->y_size; i++)
        x[i] = (double)rao->own[i];
    for (int64_t j = 0; j < job->n; j++) {
        if (rao->movers.slope[j] == 0)
            continue;
        for (int64_t r = 0; r < p->y_size / p->n; r++)
            x[r * p->n + j] = 0;
        PT_NAME(place_chances)(job, j, &rao->movers, &rao->list, x);
    }
}

/* Add a draw's terms; of mirrored draws the squares of pair means. */
static void PT_NAME(rao_add)(PT_NAME(rao) * rao, int64_t m, int64_t width, double *sum,
                             double *squares) {
    double *x = rao->x, *pair = rao->pair;
    for (int64_t i = 0; i < width; i++)
        sum[i] += x[i];
    if (!squares)
        return;
    if (rao->job->sampler != PT_ANTITHETIC)
        for (int64_t i = 0; i < width; i++)
            squares[i] += x[i] * x[i];
    else if (m % 2 == 0)
        memcpy(pair, x, (size_t)width * sizeof(double));
    else
        for (int64_t i = 0; i < width; i++) {
            const double mean = 0.5 * (pair[i] + x[i]);
            squares[i] += mean * mean;
        }
}

static pt_status PT_NAME(rao_blackwell)(const pt_job *job, const pt_wave *wave, int64_t row,
                                        int64_t m0, int64_t m1, const void *g, double *sum,
                                        double *squares, void *work, pt_poll_fn stop,
                                        void *stop_ctx, pt_error *err) {
    const pt_problem *p = &job->problem;
    const int64_t width = g ? job->n : p->y_size;
    int64_t rows[PT_LANES];
    PT_NAME(rao) rao = PT_NAME(rao_start)(job, row, g, work);
    pt_group group = PT_NAME(rao_group)(&rao, wave, row, m0, m1 - m0, rows);
    const int32_t *code = pt_wave_code(wave, p->code_len, row, m0);
    group.stop = stop;
    group.stop_ctx = stop_ctx;
    memset(sum, 0, (size_t)width * sizeof(double));
    if (squares)
        memset(squares, 0, (size_t)width * sizeof(double));
    if (p->moves == PT_MOVES_THRESHOLD) {
        const pt_status status = job->solve->thresholds(
            p, &group, code, g, rao.tau, g ? rao.change : NULL, rao.solver_work, err);
        if (status != PT_OK)
            return status;
        PT_NAME(rao_weigh)(&rao, &group);
    }
    for (int64_t d = 0; d < m1 - m0; d++) {
        const int32_t *own = code + d * p->code_len;
        const PT_REAL *noisy = rao.noisy + d * group.draw_step;
        if (p->moves == PT_MOVES_THRESHOLD)
            PT_NAME(rao_thresholds)(&rao, &group, d, own, rao.x);
        else
            PT_NAME(rao_places)(&rao, noisy, own, rao.x);
        PT_NAME(rao_add)(&rao, m0 + d, width, sum, squares);
        if (stop(stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}
