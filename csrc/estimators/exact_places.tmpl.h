/* exact_places: rows of top-k and of permutations, by places.h. */
#ifndef PT_REAL
#error "exact_places.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

/* How a solver's solution is laid out. */
typedef struct {
    int64_t k; /* places wanted; of a permutation all that are in */
    int ordered, ascending;
} PT_NAME(places_layout);

static PT_NAME(places_layout) PT_NAME(places_layout_of)(const pt_job *job, int64_t n) {
    const int is_top = job->problem.top > 0;
    return (PT_NAME(places_layout)){ .k = is_top ? job->problem.top : n,
                                     .ordered = job->problem.y_size != job->n || !is_top,
                                     .ascending = !is_top && !job->problem.ints[0] };
}

/* Entries of y or g, k x n or n of those that are in, from or to their places in a solution. */
static int64_t PT_NAME(solution_place)(const PT_NAME(places_layout) * layout, const pt_race *race,
                                       int64_t n, int64_t r, int64_t i) {
    const int64_t row = layout->ascending ? layout->k - 1 - r : r;
    return (layout->ordered ? row * n : 0) + race->place[i];
}

static void PT_NAME(gather_places)(const PT_NAME(places_layout) * layout, const pt_race *race,
                                   int64_t n, const PT_REAL *from, double *to) {
    for (int64_t r = 0; r < (layout->ordered ? layout->k : 1); r++)
        for (int64_t i = 0; i < race->n; i++)
            to[r * race->n + i] = (double)from[PT_NAME(solution_place)(layout, race, n, r, i)];
}

/* `step` reals from one entry of the solution to the next: 1, or n in a column of the Jacobian. */
static void PT_NAME(scatter_places)(const PT_NAME(places_layout) * layout, const pt_race *race,
                                    int64_t n, const double *from, int64_t step, PT_REAL *to) {
    for (int64_t r = 0; r < (layout->ordered ? layout->k : 1); r++)
        for (int64_t i = 0; i < race->n; i++)
            to[PT_NAME(solution_place)(layout, race, n, r, i) * step] =
                (PT_REAL)from[r * race->n + i];
}

static size_t PT_NAME(places_exact_size)(const pt_job *job, const pt_exact_io *io) {
    const PT_NAME(places_layout) layout = PT_NAME(places_layout_of)(job, job->n);
    return PT_NAME(race_size)(job) + 4 * pt_take_size(job->problem.y_size, sizeof(double)) +
           2 * pt_take_size(job->n, sizeof(double)) +
           pt_places_size(job->n, layout.k, io->g && layout.ordered);
}

/* All of J, a column for each tangent. */
static pt_status PT_NAME(places_jacobian)(const pt_job *job, const pt_race *race,
                                          const PT_NAME(places_layout) * layout,
                                          pt_places_want *want, double *t, PT_REAL *jac,
                                          void *work) {
    const int64_t size = (layout->ordered ? layout->k : 1) * race->n;
    pt_status status = PT_OK;
    want->t = t;
    memset(jac, 0, (size_t)(job->problem.y_size * job->n) * sizeof *jac);
    for (int64_t i = 0; i < race->n && status == PT_OK; i++) {
        memset(t, 0, (size_t)race->n * sizeof *t);
        memset(want->jvp, 0, (size_t)size * sizeof(double));
        t[i] = 1;
        status = pt_places_run(race, want, work);
        PT_NAME(scatter_places)(layout, race, job->n, want->jvp, job->n, jac + race->place[i]);
    }
    return status;
}

static pt_status PT_NAME(places_exact_row)(const pt_job *job, int64_t row, int64_t part,
                                           const pt_exact_io *io, void *work, pt_poll_fn stop,
                                           void *stop_ctx) {
    char *at = work;
    const pt_race race = PT_NAME(race_start)(job, row, &at);
    const PT_NAME(places_layout) layout = PT_NAME(places_layout_of)(job, race.n);
    const int64_t n = job->n, size = job->problem.y_size;
    const size_t bytes = (size_t)size * sizeof(double);
    double *y = pt_take(&at, size, sizeof(double)), *jvp = pt_take(&at, size, sizeof(double)),
           *g = pt_take(&at, size, sizeof(double)), value = 0;
    double *vjp = pt_take(&at, n, sizeof(double)), *t = pt_take(&at, n, sizeof(double));
    const void *tangent = io->g && !layout.ordered ? io->g : io->t; /* there J is symmetric */
    pt_places_want want = { .n = race.n, .k = layout.k, .ordered = layout.ordered };
    want.y = io->y ? y : NULL;
    want.value = io->value ? &value : NULL;
    want.jvp = tangent ? jvp : NULL;
    want.vjp = io->g && layout.ordered ? vjp : NULL;
    want.stop = stop;
    want.stop_ctx = stop_ctx;
    want.t = PT_NAME(gather)(&race, tangent, t);
    want.g = g;
    memset(y, 0, bytes);
    memset(jvp, 0, bytes);
    memset(vjp, 0, (size_t)n * sizeof(double));
    if (want.vjp)
        PT_NAME(gather_places)(&layout, &race, n, io->g, g);
    (void)part;
    pt_status status = PT_OK;
    if (want.y || want.value || want.jvp || want.vjp)
        status = pt_places_run(&race, &want, at);
    if (io->y) {
        memset(io->y, 0, (size_t)size * sizeof(PT_REAL));
        PT_NAME(scatter_places)(&layout, &race, n, y, 1, io->y);
    }
    if (want.jvp) {
        PT_REAL *to = io->g ? io->vjp : io->jvp;
        memset(to, 0, (size_t)size * sizeof *to);
        PT_NAME(scatter_places)(&layout, &race, n, jvp, 1, to);
    }
    if (want.vjp)
        PT_NAME(scatter)(&race, vjp, n, io->vjp);
    if (io->value)
        *io->value = value;
    want = (pt_places_want){ .n = race.n, .k = layout.k, .ordered = layout.ordered };
    want.jvp = jvp;
    want.stop = stop;
    want.stop_ctx = stop_ctx;
    if (io->jac && status == PT_OK)
        status = PT_NAME(places_jacobian)(job, &race, &layout, &want, t, io->jac, at);
    return status;
}

/* Tables of n k numbers a lane: within reason, and where draws are not much sooner there. */
static int PT_NAME(top_k_covers)(const pt_job *job) {
    const int64_t k = job->problem.top;
    return job->n > ((int64_t)1 << 20) / k ? 0 : job->n > ((int64_t)1 << 17) / k ? 1 : 2;
}

static int PT_NAME(permutation_covers)(const pt_job *job) {
    return job->n > 256 ? 0 : 2;
}

static const pt_exact_form PT_NAME(top_k_exact) = {
    .noises = 1u << PT_NORMAL | 1u << PT_GUMBEL | 1u << PT_LOGISTIC,
    .widest_ratio = 512,
    .covers = PT_NAME(top_k_covers),
    .parts = PT_NAME(one_part),
    .work_size = PT_NAME(places_exact_size),
    .row = PT_NAME(places_exact_row),
};

static const pt_exact_form PT_NAME(permutation_exact) = {
    .noises = 1u << PT_NORMAL | 1u << PT_GUMBEL | 1u << PT_LOGISTIC,
    .widest_ratio = 512,
    .covers = PT_NAME(permutation_covers),
    .parts = PT_NAME(one_part),
    .work_size = PT_NAME(places_exact_size),
    .row = PT_NAME(places_exact_row),
};
