/* hull: projections on the span of differences of solutions, across which J is zero (MATH, section 3). */
#include "engine.h"
#include "real.h"

/* Has every open entry noise? A constant among them is none of the coordinates that J is about. */
static int all_move(const pt_job *job, int64_t row, const double *widths, int *alike) {
    double least = INFINITY, most = 0;
    for (int64_t j = 0; j < job->n; j++) {
        if (!(pt_real_at(job, job->theta, row * job->n + j) > -INFINITY))
            continue;
        least = widths[j] < least ? widths[j] : least;
        most = widths[j] > most ? widths[j] : most;
    }
    *alike = least == most;
    return least > 0 && most > 0;
}

/* x_j -= <x, w> / sum w for open entries, or the solver's own projection. */
static void take_out(const pt_job *job, int64_t row, const double *widths, int weighted,
                     double *x) {
    const pt_problem *p = &job->problem;
    int alike;
    if (!all_move(job, row, widths, &alike))
        return;
    if (job->solve->project) {
        if (alike || !weighted)
            job->solve->project(p, row, pt_real_row(job, job->theta, row, job->n), x);
        return;
    }
    double above = 0, below = 0;
    for (int64_t j = 0; p->even && j < job->n; j++) {
        const double w = widths[j] == 0 ? 0 : weighted ? widths[j] * widths[j] : 1;
        above += x[j] * w;
        below += w;
    }
    for (int64_t j = 0; p->even && j < job->n; j++)
        if (widths[j] != 0)
            x[j] -= above / below;
}

void pt_shorten(const pt_job *job, int64_t row, const double *widths, double *t) {
    take_out(job, row, widths, 1, t);
}

void pt_into_hull(const pt_job *job, int64_t row, const double *widths, double *x) {
    take_out(job, row, widths, 0, x);
}
