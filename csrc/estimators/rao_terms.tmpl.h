/* rao_terms: what Rao-Blackwell terms are made of: chances and densities of a coordinate's own noise at thresholds.
 *
 * Coordinate j with threshold tau (MATH, section 5): u = (tau - theta_j) / w_j, w_j = epsilon sigma_j;
 *   P(theta'_j > tau) = 1 - H(u),   d/d theta_j of it = p(u) / w_j.
 * Multiplicative noise: u = (log(tau / theta_j) + c_j) / w_j where the signs agree; for theta_j < 0 the chance is H(u);
 * the derivative is p(u) / (w_j |theta_j|).
 */
#ifndef PT_REAL
#error "rao_terms.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

/* How the coordinates of a row move with their own noise; those that y can use twice once more, from n on. slope = 0: no
 * noise, or closed: no derivative. */
typedef struct {
    PT_REAL *theta;
    PT_REAL *inverse, *shift; /* u = (tau - theta) inverse, or (log(tau / theta) + shift) inverse */
    PT_REAL *slope;           /* d/d theta_j = p(u) slope */
    int multiplicative;
} PT_NAME(movers);

/* The coordinate whose second threshold is element n + k. */
static inline int64_t PT_NAME(twice)(const pt_problem *p, int64_t k) {
    return p->twice_first + k * p->twice_step;
}

static void PT_NAME(fill_movers)(const pt_job *job, int64_t row, PT_NAME(movers) * m) {
    memcpy(m->theta, PT_NAME(theta_row)(job, row), (size_t)job->n * sizeof(PT_REAL));
    m->multiplicative = job->noise.multiplicative;
    for (int64_t j = 0; j < job->n; j++) {
        const double theta = (double)m->theta[j], w = PT_NAME(width)(job, row, j);
        m->inverse[j] = m->shift[j] = m->slope[j] = 0;
        if (!(theta > -PT_INFINITY) || w == 0 || (m->multiplicative && theta == 0))
            continue;
        m->inverse[j] = m->slope[j] = (PT_REAL)(1 / w);
        if (m->multiplicative) {
            m->shift[j] = (PT_REAL)pt_noise_log_mean(&job->noise, w);
            m->slope[j] = (PT_REAL)(1 / (w * (theta < 0 ? -theta : theta)));
        }
    }
    for (int64_t k = 0; k < job->problem.n_twice; k++) {
        const int64_t from = PT_NAME(twice)(&job->problem, k), to = job->n + k;
        m->theta[to] = m->theta[from];
        m->inverse[to] = m->inverse[from];
        m->shift[to] = m->shift[from];
        m->slope[to] = m->slope[from];
    }
}

/* Kept where no formula below overflows; never NaN. */
static inline PT_REAL PT_NAME(bounded)(PT_REAL u) {
    const PT_REAL far = (PT_REAL)1e9;
    u = u < far ? u : far;
    return u > -far ? u : -far;
}

/* Where multiplicative noise must be for theta' to be at tau. */
static PT_REAL PT_NAME(factor_at)(const PT_NAME(movers) * m, int64_t j, PT_REAL tau) {
    const PT_REAL theta = m->theta[j];
    if (tau == 0 ||
        (tau < 0) != (theta < 0)) /* theta' keeps its sign: above tau if positive, else below */
        return (PT_REAL)-1e9;
    if (!(tau > -PT_INFINITY && tau < PT_INFINITY))
        return (PT_REAL)1e9;
    return PT_NAME(bounded)((PT_NAME(log)(tau / theta) + m->shift[j]) * m->inverse[j]);
}

/* Thresholds of coordinates 0 .. n - 1 to where their noise must be, in place; `lanes` draws of each side by side. */
static void PT_NAME(arguments)(const PT_NAME(movers) * m, int64_t n, int lanes,
                               PT_REAL *restrict tau) {
    const PT_REAL *restrict theta = m->theta, *restrict inverse = m->inverse;
    if (m->multiplicative)
        for (int64_t i = 0; i < n * lanes; i++)
            tau[i] = PT_NAME(factor_at)(m, i / lanes, tau[i]);
    else if (lanes == 1)
        for (int64_t j = 0; j < n; j++)
            tau[j] = PT_NAME(bounded)((tau[j] - theta[j]) * inverse[j]);
    else
        for (int64_t j = 0; j < n; j++)
            for (int l = 0; l < PT_LANES; l++)
                tau[j * PT_LANES + l] =
                    PT_NAME(bounded)((tau[j * PT_LANES + l] - theta[j]) * inverse[j]);
}

/* u to p(u), in place. Z = z + shift for a shifted noise. */
static void PT_NAME(densities)(const pt_noise *noise, int64_t n, PT_REAL *restrict u) {
    const PT_REAL half = (PT_REAL)0.5, shift = (PT_REAL)noise->shift;
    switch (noise->kind) {
    case PT_GUMBEL:
        for (int64_t i = 0; i < n; i++) {
            PT_REAL x = u[i] - shift;
            x = x > -60 ? x : -60;
            u[i] = PT_NAME(exp)(-x - PT_NAME(exp)(-x));
        }
        break;
    case PT_LAPLACE:
        for (int64_t i = 0; i < n; i++)
            u[i] = half * PT_NAME(exp)(u[i] < 0 ? u[i] : -u[i]);
        break;
    case PT_LOGISTIC:
        for (int64_t i = 0; i < n; i++) {
            const PT_REAL e = PT_NAME(exp)(u[i] < 0 ? u[i] : -u[i]), below = 1 + e;
            u[i] = e / (below * below);
        }
        break;
    default:
        for (int64_t i = 0; i < n; i++)
            u[i] = (PT_REAL)0.3989422804014327 * PT_NAME(exp)(-half * u[i] * u[i]);
        break;
    }
}

/* u to 1 - H(u), in place. */
static void PT_NAME(tails)(const pt_noise *noise, int64_t n, PT_REAL *restrict u) {
    const PT_REAL half = (PT_REAL)0.5, shift = (PT_REAL)noise->shift;
    switch (noise->kind) {
    case PT_GUMBEL:
        for (int64_t i = 0; i < n; i++) {
            PT_REAL x = u[i] - shift;
            x = x > -60 ? x : -60;
            u[i] = -PT_NAME(expm1)(-PT_NAME(exp)(-x));
        }
        break;
    case PT_LAPLACE:
        for (int64_t i = 0; i < n; i++) {
            const PT_REAL e = half * PT_NAME(exp)(u[i] < 0 ? u[i] : -u[i]);
            u[i] = u[i] < 0 ? 1 - e : e;
        }
        break;
    case PT_LOGISTIC:
        for (int64_t i = 0; i < n; i++) {
            const PT_REAL e = PT_NAME(exp)(u[i] < 0 ? u[i] : -u[i]);
            u[i] = (u[i] < 0 ? 1 : e) / (1 + e);
        }
        break;
    default:
        for (int64_t i = 0; i < n; i++)
            u[i] = (PT_REAL)pt_ndtr(-(double)u[i]);
        break;
    }
}

/* Fixed partial sums of a product. */
static double PT_NAME(product_sum)(const PT_REAL *restrict x, const PT_REAL *restrict y,
                                   int64_t n) {
    double part[PT_DOT_LANES] = { 0 };
    int64_t i = 0;
    for (; i + PT_DOT_LANES <= n; i += PT_DOT_LANES)
        for (int l = 0; l < PT_DOT_LANES; l++)
            part[l] += (double)x[i + l] * (double)y[i + l];
    for (int l = 0; i < n; i++, l++)
        part[l] += (double)x[i] * (double)y[i];
    return PT_NAME(add_lanes)(part);
}
