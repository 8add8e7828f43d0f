/* exact: rows in and out of the exact forms, which work in double. */
#ifndef PT_REAL
#error "exact.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

static size_t PT_NAME(race_size)(const pt_job *job) {
    return 2 * pt_take_size(job->n, sizeof(double)) + pt_take_size(job->n, sizeof(int64_t));
}

/* theta [in] the row; what is left out (-inf) does not take part. */
static pt_race PT_NAME(race_start)(const pt_job *job, int64_t row, char **work) {
    const PT_REAL *theta = (const PT_REAL *)job->theta + row * job->n;
    pt_race race = {
        .kind = job->noise.kind, .top = -PT_INFINITY, .narrowest = PT_INFINITY, .coarse = !PT_F64
    };
    race.theta = pt_take(work, job->n, sizeof(double));
    race.width = pt_take(work, job->n, sizeof(double));
    race.place = pt_take(work, job->n, sizeof(int64_t));
    for (int64_t j = 0; j < job->n; j++) {
        if (!(theta[j] > -PT_INFINITY))
            continue;
        const double w = job->epsilon[row] * (job->noise.scale ? job->noise.scale[j] : 1.0);
        race.theta[race.n] = (double)theta[j] + w * job->noise.shift;
        race.width[race.n] = w;
        race.place[race.n] = j;
        race.top = race.theta[race.n] > race.top ? race.theta[race.n] : race.top;
        race.widest = w > race.widest ? w : race.widest;
        race.narrowest = w < race.narrowest ? w : race.narrowest;
        race.n++;
    }
    for (int64_t i = 0; i < race.n; i++) {
        race.theta[i] -= race.top;
        race.theta[i] = race.theta[i] > -1e300 ? race.theta[i] : -1e300;
    }
    return race;
}

/* x at the entries that are in (NULL stays NULL).   out [out] race->n */
static const double *PT_NAME(gather)(const pt_race *race, const void *x, double *out) {
    const PT_REAL *from = x;
    for (int64_t i = 0; x && i < race->n; i++)
        out[i] = (double)from[race->place[i]];
    return x ? out : NULL;
}

/* The other way round: 0 for the entries that are left out.   out [out] n real, or NULL */
static void PT_NAME(scatter)(const pt_race *race, const double *x, int64_t n, void *out) {
    PT_REAL *to = out;
    for (int64_t j = 0; to && j < n; j++)
        to[j] = 0;
    for (int64_t i = 0; to && i < race->n; i++)
        to[race->place[i]] = (PT_REAL)x[i];
}

static int64_t PT_NAME(one_part)(const pt_job *job) {
    (void)job;
    return 1;
}

/* Rows and columns of the entries that are in.   out [out] n x n real */
static void PT_NAME(scatter_square)(const pt_race *race, const double *x, int64_t n, void *out) {
    PT_REAL *to = out;
    memset(to, 0, (size_t)(n * n) * sizeof(PT_REAL));
    for (int64_t i = 0; i < race->n; i++)
        for (int64_t j = 0; j < race->n; j++)
            to[race->place[i] * n + race->place[j]] = (PT_REAL)x[i * race->n + j];
}
