/* exact_argmax: chances, value and derivatives of a perturbed argmax.
 *
 * Gumbel noise of one width: P = softmax(theta / eps), F = eps (logsumexp(theta / eps) + gamma).
 * Else, with P_j(x) the cdf of theta'_j, S = sum_j log P_j, r_j = P_j' / P_j (MATH, section 6):
 *   P(j wins) = int e^S r_j dx,   F = lo + int (1 - e^S) dx,   (J g)_j = int e^S r_j (g_j sum_l r_l - <r, g>) dx
 * by Gauss-Legendre panels between lo, where e^S = 1e-21, and hi, where 1 - e^S = 1e-21. A Laplace cdf has a kink at
 * theta_j: panels end there. At a kink in the window every theta above it halves e^S, so there are at most 70. */
#ifndef PT_REAL
#error "exact_argmax.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

#define PT_EULER_GAMMA 0.57721566490153286
#define PT_KINKS 128

/* Sums of one row; NULL: not wanted. */
typedef struct {
    double *y, *product, *jac; /* n, n, n x n, of the entries that are in */
    const double *g;
    double value;
    double *hazard, *u, *log_cdf; /* scratch: n x lanes, block x lanes twice */
    pt_poll_fn stop;
    void *stop_ctx;
} PT_NAME(argmax_sums);

/* S(x), a block of entries at a time. */
static double PT_NAME(log_all_below)(const pt_race *race, PT_NAME(argmax_sums) * s, double x) {
    double part[PT_EXACT_LANES] = { 0 };
    const int64_t most = PT_EXACT_BLOCK * PT_EXACT_LANES / 2;
    for (int64_t i0 = 0; i0 < race->n; i0 += most) {
        const int64_t count = race->n - i0 < most ? race->n - i0 : most;
        for (int64_t i = 0; i < count; i++)
            s->u[i] = (x - race->theta[i0 + i]) / race->width[i0 + i];
        pt_fill_hazards(race->kind, count, s->u, s->log_cdf, s->u + most);
        for (int64_t i = 0; i < count; i++)
            part[i % PT_EXACT_LANES] += s->log_cdf[i];
    }
    return pt_sum_lanes(part);
}

/* Where S reaches `level`: bisection, to a twentieth of the widest noise; the outer end. */
static double PT_NAME(level_at)(const pt_race *race, PT_NAME(argmax_sums) * s, double level,
                                int upper) {
    const double reach = race->kind == PT_NORMAL ? 16 : 128;
    double low = -reach * race->widest, high = reach * race->widest;
    while (high - low > 0.05 * race->widest && !s->stop(s->stop_ctx)) {
        const double middle = 0.5 * (low + high);
        if (PT_NAME(log_all_below)(race, s, middle) < level)
            low = middle;
        else
            high = middle;
    }
    return upper ? high : low;
}

/* hazards of all entries at these nodes, and their sums over entries: S, R = sum_l r_l, G = <r, g>. */
static void PT_NAME(sum_hazards)(const pt_race *race, PT_NAME(argmax_sums) * s, const double *x,
                                 double *log_all, double *rates, double *along) {
    for (int64_t i0 = 0; i0 < race->n; i0 += PT_EXACT_BLOCK) {
        const int64_t count = race->n - i0 < PT_EXACT_BLOCK ? race->n - i0 : PT_EXACT_BLOCK;
        double *hazard = s->hazard + i0 * PT_EXACT_LANES;
        for (int64_t i = 0; i < count; i++) {
            const double inverse = 1 / race->width[i0 + i], theta = race->theta[i0 + i];
            for (int l = 0; l < PT_EXACT_LANES; l++)
                s->u[i * PT_EXACT_LANES + l] = (x[l] - theta) * inverse;
        }
        pt_fill_hazards(race->kind, count * PT_EXACT_LANES, s->u, s->log_cdf, hazard);
        for (int64_t i = 0; i < count; i++) {
            const double inverse = 1 / race->width[i0 + i], g = s->g ? s->g[i0 + i] : 0;
            for (int l = 0; l < PT_EXACT_LANES; l++) {
                const double r = hazard[i * PT_EXACT_LANES + l] * inverse;
                hazard[i * PT_EXACT_LANES + l] = r;
                log_all[l] += s->log_cdf[i * PT_EXACT_LANES + l];
                rates[l] += r;
                along[l] += r * g;
            }
        }
    }
}

/* Add PT_EXACT_LANES nodes x of weights w to the sums. */
static void PT_NAME(argmax_nodes)(const pt_race *race, PT_NAME(argmax_sums) * s, const double *x,
                                  const double *w) {
    double log_all[PT_EXACT_LANES] = { 0 }, rates[PT_EXACT_LANES] = { 0 };
    double along[PT_EXACT_LANES] = { 0 }, all[PT_EXACT_LANES], term[PT_EXACT_LANES];
    PT_NAME(sum_hazards)(race, s, x, log_all, rates, along);
    for (int l = 0; l < PT_EXACT_LANES; l++) {
        all[l] = w[l] * exp_f64(log_all[l]);
        term[l] = -w[l] * expm1_f64(log_all[l]);
    }
    s->value += pt_sum_lanes(term);
    for (int64_t i = 0; i < race->n && (s->y || s->product); i++) {
        const double *r = s->hazard + i * PT_EXACT_LANES, g = s->g ? s->g[i] : 0;
        double chance[PT_EXACT_LANES];
        for (int l = 0; l < PT_EXACT_LANES; l++) {
            chance[l] = all[l] * r[l];
            term[l] = chance[l] * (g * rates[l] - along[l]);
        }
        if (s->y)
            s->y[i] += pt_sum_lanes(chance);
        if (s->product)
            s->product[i] += pt_sum_lanes(term);
    }
    for (int64_t i = 0; s->jac && i < race->n; i++) {
        double chance[PT_EXACT_LANES];
        for (int l = 0; l < PT_EXACT_LANES; l++)
            chance[l] = all[l] * s->hazard[i * PT_EXACT_LANES + l];
        for (int64_t j = i + 1; j < race->n; j++) {
            for (int l = 0; l < PT_EXACT_LANES; l++)
                term[l] = chance[l] * s->hazard[j * PT_EXACT_LANES + l];
            s->jac[i * race->n + j] -= pt_sum_lanes(term);
        }
    }
}

/* J is symmetric and its rows sum to 0: the rest of it from what lies above the diagonal. */
static void PT_NAME(complete_jacobian)(int64_t n, double *jac) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++) {
            if (j < i)
                jac[i * n + j] = jac[j * n + i];
            sum -= j != i ? jac[i * n + j] : 0;
        }
        jac[i * n + i] = sum;
    }
}

/* Between two edges, in panels of PT_NODES nodes that resolve the narrowest noise. */
static pt_status PT_NAME(argmax_between)(const pt_race *race, PT_NAME(argmax_sums) * s, double from,
                                         double to) {
    const double panel = race->kind == PT_NORMAL ? 21 : race->kind == PT_GUMBEL ? 10 : 26;
    const int64_t n_panels = 1 + (int64_t)((to - from) / (panel * race->narrowest));
    const double half = 0.5 * (to - from) / (double)n_panels;
    for (int64_t q = 0; q < n_panels * PT_NODES; q += PT_EXACT_LANES) {
        const double middle = from + (double)(2 * (q / PT_NODES) + 1) * half;
        double x[PT_EXACT_LANES], w[PT_EXACT_LANES];
        for (int64_t l = 0; l < PT_EXACT_LANES; l++) {
            const int64_t k = q % PT_NODES + l, positive = k >= PT_NODES / 2;
            const double *node =
                pt_gauss_legendre[positive ? k - PT_NODES / 2 : PT_NODES / 2 - 1 - k];
            x[l] = middle + (positive ? half : -half) * node[0];
            w[l] = half * node[1];
        }
        if (s->stop(s->stop_ctx))
            return PT_E_STOPPED;
        PT_NAME(argmax_nodes)(race, s, x, w);
    }
    return PT_OK;
}

/* Kinks between low and high, ascending.   Returns how many. */
static int64_t PT_NAME(find_kinks)(const pt_race *race, double low, double high, double *kinks) {
    int64_t count = 0;
    for (int64_t i = 0; race->kind == PT_LAPLACE && i < race->n && count < PT_KINKS; i++) {
        const double x = race->theta[i];
        int64_t at = count;
        if (!(x > low && x < high))
            continue;
        while (at > 0 && kinks[at - 1] > x)
            at--;
        if (at > 0 && kinks[at - 1] == x)
            continue;
        memmove(kinks + at + 1, kinks + at, (size_t)(count - at) * sizeof *kinks);
        kinks[at] = x;
        count++;
    }
    return count;
}

static pt_status PT_NAME(argmax_by_quadrature)(const pt_race *race, PT_NAME(argmax_sums) * s) {
    const double low = PT_NAME(level_at)(race, s, PT_LOG_MASS, 0);
    const double high = PT_NAME(level_at)(race, s, -PT_MASS, 1);
    double edges[PT_KINKS + 2];
    const int64_t count = PT_NAME(find_kinks)(race, low, high, edges + 1);
    pt_status status = PT_OK;
    edges[0] = low;
    edges[count + 1] = high;
    s->value = low;
    for (int64_t i = 0; i <= count && status == PT_OK; i++)
        status = PT_NAME(argmax_between)(race, s, edges[i], edges[i + 1]);
    if (s->jac)
        PT_NAME(complete_jacobian)(race->n, s->jac);
    s->value += race->top;
    return status;
}

static void PT_NAME(argmax_softmax)(const pt_race *race, PT_NAME(argmax_sums) * s) {
    const double epsilon = race->widest;
    const int64_t n = race->n;
    double *p = s->hazard, part[PT_EXACT_LANES] = { 0 }, dot[PT_EXACT_LANES] = { 0 };
    for (int64_t j = 0; j < n; j++)
        p[j] = exp_f64(race->theta[j] / epsilon);
    for (int64_t j = 0; j < n; j++)
        part[j % PT_EXACT_LANES] += p[j];
    const double sum = pt_sum_lanes(part);
    for (int64_t j = 0; j < n; j++) {
        p[j] /= sum;
        dot[j % PT_EXACT_LANES] += s->g ? p[j] * s->g[j] : 0;
    }
    const double along = pt_sum_lanes(dot);
    s->value = race->top + epsilon * (log_f64(sum) + PT_EULER_GAMMA);
    for (int64_t j = 0; j < n; j++) {
        if (s->y)
            s->y[j] = p[j];
        if (s->product)
            s->product[j] = p[j] * (s->g[j] - along) / epsilon;
        for (int64_t i = 0; s->jac && i < n; i++)
            s->jac[i * n + j] = p[i] * ((i == j) - p[j]) / epsilon;
    }
}

static size_t PT_NAME(argmax_exact_size)(const pt_job *job, const pt_exact_io *io) {
    const int64_t square = io->jac ? job->n * job->n : 0;
    return PT_NAME(race_size)(job) + 3 * pt_take_size(job->n, sizeof(double)) +
           pt_take_size(job->n * PT_EXACT_LANES, sizeof(double)) +
           2 * pt_take_size(PT_EXACT_BLOCK * PT_EXACT_LANES, sizeof(double)) +
           pt_take_size(square, sizeof(double));
}

/* J g where J is symmetric: for g, or for t. */
static pt_status PT_NAME(argmax_exact_row)(const pt_job *job, int64_t row, int64_t part,
                                           const pt_exact_io *io, void *work, pt_poll_fn stop,
                                           void *stop_ctx) {
    char *at = work;
    const pt_race race = PT_NAME(race_start)(job, row, &at);
    const int64_t n = job->n;
    double *y = pt_take(&at, n, sizeof(double)), *product = pt_take(&at, n, sizeof(double)),
           *g = pt_take(&at, n, sizeof(double));
    PT_NAME(argmax_sums) s = { .y = io->y ? y : NULL, .stop = stop, .stop_ctx = stop_ctx };
    s.hazard = pt_take(&at, n * PT_EXACT_LANES, sizeof(double));
    s.u = pt_take(&at, PT_EXACT_BLOCK * PT_EXACT_LANES, sizeof(double));
    s.log_cdf = pt_take(&at, PT_EXACT_BLOCK * PT_EXACT_LANES, sizeof(double));
    s.jac = io->jac ? pt_take(&at, n * n, sizeof(double)) : NULL;
    s.g = PT_NAME(gather)(&race, io->g ? io->g : io->t, g);
    s.product = s.g ? product : NULL;
    memset(y, 0, (size_t)n * sizeof(double));
    memset(product, 0, (size_t)n * sizeof(double));
    if (s.jac)
        memset(s.jac, 0, (size_t)(n * n) * sizeof(double));
    (void)part;
    pt_status status = PT_OK;
    if (race.kind == PT_GUMBEL && race.widest == race.narrowest)
        PT_NAME(argmax_softmax)(&race, &s);
    else
        status = PT_NAME(argmax_by_quadrature)(&race, &s);
    PT_NAME(scatter)(&race, y, n, io->y);
    PT_NAME(scatter)(&race, product, n, io->g ? io->vjp : io->jvp);
    if (io->jac)
        PT_NAME(scatter_square)(&race, s.jac, n, io->jac);
    if (io->value)
        *io->value = s.value;
    return status;
}

static const pt_exact_form PT_NAME(argmax_exact) = {
    .noises = 1u << PT_NORMAL | 1u << PT_GUMBEL | 1u << PT_LOGISTIC | 1u << PT_LAPLACE,
    .widest_ratio = 512,
    .covers = NULL,
    .parts = PT_NAME(one_part),
    .work_size = PT_NAME(argmax_exact_size),
    .row = PT_NAME(argmax_exact_row),
};
