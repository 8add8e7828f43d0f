/* exact: closed forms of a perturbed argmax, in double for both element types.
 *
 * Gumbel noise of one width: P = softmax(theta / eps), F = eps (logsumexp(theta / eps) + gamma).
 * Normal noise: with P_j(x) = Phi((x - theta_j) / w_j), S = sum_j log P_j, r_j = P_j' / P_j,
 *   P(j wins) = int e^S r_j dx,   F = lo + int (1 - e^S) dx,   (J g)_j = int e^S r_j (g_j sum_l r_l - <r, g>) dx
 * by 64 Gauss-Legendre nodes between lo, where e^S = 1e-18, and hi, where 1 - e^S = 1e-17 (MATH, section 6).
 */
#ifndef PT_REAL
#error "exact.tmpl.h is a template: include it from core.tmpl.h"
#endif

#define PT_PANEL                                                                                   \
    21.0 /* widths of the narrowest noise a panel: the whole window where all widths are equal */
#define PT_EULER_GAMMA 0.57721566490153286

/* One row in double, the largest entry shifted to 0. */
typedef struct {
    int64_t n;
    double top;    /* the shift */
    double *theta; /* -inf where left out */
    double *inverse_width;
    double widest, narrowest; /* of the entries that are in */
    double *r;                /* scratch, n */
} PT_NAME(race);

static PT_NAME(race) PT_NAME(race_start)(const pt_job *job, int64_t row, char **work) {
    const PT_REAL *theta = PT_NAME(theta_row)(job, row);
    const size_t bytes = (size_t)job->n * sizeof(double);
    PT_NAME(race) race = { .n = job->n, .top = -PT_INFINITY, .narrowest = PT_INFINITY };
    race.theta = PT_NAME(slice)(work, bytes);
    race.inverse_width = PT_NAME(slice)(work, bytes);
    race.r = PT_NAME(slice)(work, bytes);
    for (int64_t j = 0; j < job->n; j++)
        race.top = (double)theta[j] > race.top ? (double)theta[j] : race.top;
    for (int64_t j = 0; j < job->n; j++) {
        const double w = PT_NAME(width)(job, row, j);
        race.theta[j] = (double)theta[j] - race.top;
        race.inverse_width[j] = 1 / w;
        if (!(theta[j] > -PT_INFINITY))
            continue;
        race.widest = w > race.widest ? w : race.widest;
        race.narrowest = w < race.narrowest ? w : race.narrowest;
    }
    return race;
}

static double PT_NAME(log_all_below)(const PT_NAME(race) * race, double x) {
    double part[PT_DOT_LANES] = { 0 };
    for (int64_t j = 0; j < race->n; j += PT_DOT_LANES) {
        const int64_t end = race->n - j < PT_DOT_LANES ? race->n - j : PT_DOT_LANES;
        for (int64_t l = 0; l < end; l++) {
            const double u = (x - race->theta[j + l]) * race->inverse_width[j + l];
            part[l] += u < 38 ? pt_log_ndtr(u) : 0;
        }
    }
    return PT_NAME(add_lanes)(part);
}

/* Where S reaches `level`: bisection, to a thousandth of the widest noise. */
static double PT_NAME(level_at)(const PT_NAME(race) * race, double level, pt_poll_fn stop,
                                void *stop_ctx) {
    double low = -10 * race->widest, high = 11 * race->widest;
    for (int i = 0; i < 15 && !stop(stop_ctx); i++) {
        const double middle = 0.5 * (low + high);
        if (PT_NAME(log_all_below)(race, middle) < level)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* r_j = P_j'(x) / P_j(x); returns their sum. */
static double PT_NAME(hazards)(const PT_NAME(race) * race, double x, double *r) {
    double part[PT_DOT_LANES] = { 0 };
    for (int64_t j = 0; j < race->n; j += PT_DOT_LANES) {
        const int64_t end = race->n - j < PT_DOT_LANES ? race->n - j : PT_DOT_LANES;
        for (int64_t l = 0; l < end; l++) {
            const double u = (x - race->theta[j + l]) * race->inverse_width[j + l];
            r[j + l] = u < 38 ? pt_mills(u) * race->inverse_width[j + l] : 0;
            part[l] += r[j + l];
        }
    }
    return PT_NAME(add_lanes)(part);
}

static double PT_NAME(double_dot)(const double *x, const double *y, int64_t n) {
    double part[PT_DOT_LANES] = { 0 };
    for (int64_t j = 0; j < n; j++)
        part[j % PT_DOT_LANES] += x[j] * y[j];
    return PT_NAME(add_lanes)(part);
}

/* Add one node of weight w to the sums that are wanted (NULL: not). */
static void PT_NAME(add_node)(PT_NAME(race) * race, double x, double w, const double *g, double *y,
                              double *value, double *product, double *jac) {
    const double log_all = PT_NAME(log_all_below)(race, x), all = w * exp_f64(log_all);
    *value -= w * expm1_f64(log_all);
    if (!y && !product && !jac)
        return;
    double *r = race->r;
    const double sum = PT_NAME(hazards)(race, x, r),
                 along = g ? PT_NAME(double_dot)(r, g, race->n) : 0;
    for (int64_t j = 0; y && j < race->n; j++)
        y[j] += all * r[j];
    for (int64_t j = 0; product && j < race->n; j++)
        product[j] += all * r[j] * (g[j] * sum - along);
    for (int64_t i = 0; jac && i < race->n; i++)
        for (int64_t j = 0; r[i] > 0 && j < race->n; j++)
            if (i != j) {
                jac[i * race->n + j] -= all * r[i] * r[j];
                jac[i * race->n + i] += all * r[i] * r[j];
            }
}

/* Widths that differ: panels of the window, each no wider than one that 64 nodes resolve for the narrowest noise. */
static pt_status PT_NAME(exact_normal)(PT_NAME(race) * race, const double *g, double *y,
                                       double *value, double *product, double *jac, pt_poll_fn stop,
                                       void *stop_ctx) {
    const double low = PT_NAME(level_at)(race, -41.446531673892822, stop, stop_ctx);
    const double high = PT_NAME(level_at)(race, -1e-17, stop, stop_ctx);
    const int64_t n_panels = 1 + (int64_t)((high - low) / (PT_PANEL * race->narrowest));
    const double half = 0.5 * (high - low) / (double)n_panels;
    *value = low;
    for (int64_t q = 0; q < n_panels * PT_NODES; q++) {
        const double middle = low + (double)(2 * (q / PT_NODES) + 1) * half;
        const int64_t k = q % PT_NODES;
        const double *node =
            pt_gauss_legendre[k < PT_NODES / 2 ? PT_NODES / 2 - 1 - k : k - PT_NODES / 2];
        const double x = middle + half * (k < PT_NODES / 2 ? -node[0] : node[0]);
        if (stop(stop_ctx))
            return PT_E_STOPPED;
        PT_NAME(add_node)(race, x, half * node[1], g, y, value, product, jac);
    }
    *value += race->top;
    return PT_OK;
}

static pt_status PT_NAME(exact_gumbel)(PT_NAME(race) * race, double shift, const double *g,
                                       double *y, double *value, double *product, double *jac) {
    const double epsilon = race->widest;
    double *p = race->r, part[PT_DOT_LANES] = { 0 };
    for (int64_t j = 0; j < race->n; j++) {
        p[j] = exp_f64(race->theta[j] / epsilon);
        part[j % PT_DOT_LANES] += p[j];
    }
    const double sum = PT_NAME(add_lanes)(part);
    for (int64_t j = 0; j < race->n; j++)
        p[j] /= sum;
    *value = race->top + epsilon * (log_f64(sum) + PT_EULER_GAMMA + shift);
    const double along = g ? PT_NAME(double_dot)(p, g, race->n) : 0;
    for (int64_t j = 0; j < race->n; j++) {
        if (y)
            y[j] = p[j];
        if (product)
            product[j] = p[j] * (g[j] - along) / epsilon;
        for (int64_t i = 0; jac && i < race->n; i++)
            jac[i * race->n + j] = p[i] * ((i == j) - p[j]) / epsilon;
    }
    return PT_OK;
}

static void PT_NAME(store)(const double *from, int64_t count, PT_REAL *to) {
    for (int64_t i = 0; to && i < count; i++)
        to[i] = (PT_REAL)from[i];
}

/* Scratch: eight rows of doubles, and n x n of them where the Jacobian is wanted. */
static pt_status PT_NAME(exact)(const pt_job *job, int64_t row, void *y, double *value,
                                const void *g, void *product, void *jac, void *scratch,
                                pt_poll_fn stop, void *stop_ctx) {
    char *work = scratch;
    const size_t bytes = (size_t)job->n * sizeof(double);
    PT_NAME(race) race = PT_NAME(race_start)(job, row, &work);
    double *sum_y = PT_NAME(slice)(&work, bytes), *sum_product = PT_NAME(slice)(&work, bytes);
    double *cotangent = PT_NAME(slice)(&work, bytes),
           *sum_jac = jac ? (double *)(void *)work : NULL, sum_value = 0;
    memset(sum_y, 0, bytes);
    memset(sum_product, 0, bytes);
    if (jac)
        memset(sum_jac, 0, bytes * (size_t)job->n);
    for (int64_t j = 0; g && j < job->n; j++)
        cotangent[j] = race.theta[j] > -PT_INFINITY ? (double)((const PT_REAL *)g)[j] : 0;
    pt_status status = PT_OK;
    double *wants_y = y ? sum_y : NULL, *wants_product = product ? sum_product : NULL;
    const double *along = g ? cotangent : NULL;
    if (job->noise.kind == PT_GUMBEL)
        status = PT_NAME(exact_gumbel)(&race, job->noise.shift, along, wants_y, &sum_value,
                                       wants_product, sum_jac);
    else
        status = PT_NAME(exact_normal)(&race, along, wants_y, &sum_value, wants_product, sum_jac,
                                       stop, stop_ctx);
    PT_NAME(store)(sum_y, job->n, y);
    PT_NAME(store)(sum_product, job->n, product);
    PT_NAME(store)(sum_jac, job->n * job->n, jac);
    if (value)
        *value = sum_value;
    return status;
}
