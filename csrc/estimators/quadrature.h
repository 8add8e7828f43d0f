/* quadrature: what the exact forms by integration share: a row in double, distributions, nodes. In double for both
 * element types; included once by each ISA's object, after math.tmpl.h.
 *
 * Everything is worked out for PT_EXACT_LANES nodes side by side: entry i at node l stands at [i * PT_EXACT_LANES + l].
 * That number is part of the results' bits. */
#ifndef PT_QUADRATURE_H
#define PT_QUADRATURE_H

#include "gauss_legendre.h"

#define PT_EXACT_LANES 16
#define PT_EXACT_BLOCK 64 /* entries worked out together */
#define PT_MASS 1e-21     /* what a window of integration may leave out at either end */
#define PT_COARSE_MASS 1e-12
#define PT_LOG_MASS (-48.35428695287496)
#define PT_LOG_2 0.6931471805599453

/* What is asked of a pair of entries: K, k or T (exact_ranking). */
typedef enum { PT_PAIR_CDF, PT_PAIR_DENSITY, PT_PAIR_EXCESS } pt_pair_part;

/* The entries of a row that are in, in double, the largest shifted to 0. */
typedef struct {
    int64_t n;
    pt_noise_kind kind;
    double top;               /* the shift; a shift of the noise is part of theta */
    double *theta, *width;    /* n each */
    int64_t *place;           /* of each in the item */
    double widest, narrowest; /* of the widths */
    int coarse;               /* results are floats: PT_COARSE_MASS may be left out */
} pt_race;

/* Hand out the next slice of a block, 64-byte aligned. */
static inline void *pt_take(char **work, int64_t count, size_t element) {
    void *p = *work;
    *work += ((size_t)count * element + 63) & ~(size_t)63;
    return p;
}

static inline size_t pt_take_size(int64_t count, size_t element) {
    return ((size_t)count * element + 63) & ~(size_t)63;
}

/* Sum over the lanes, in a fixed order. */
static inline double pt_sum_lanes(const double *x) {
    double s[8];
    for (int l = 0; l < 8; l++)
        s[l] = x[l] + x[l + 8];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* Tails and density of the normal at u: one exponential and one polynomial. */
static inline void pt_normal_parts(double u, double *above, double *below, double *density) {
    const double a = pt_abs(u), e = pt_gauss(1.0, a), tail = 0.5 * pt_scaled_erfc(a) * e;
    *above = u > 0.0 ? tail : 1.0 - tail;
    *below = u > 0.0 ? 1.0 - tail : tail;
    *density = 0.3989422804014327 * e;
}

/* pt_log_ndtr and pt_mills together. */
static inline void pt_normal_hazard(double u, double *log_cdf, double *hazard) {
    const double a = pt_abs(u) < 1e160 ? pt_abs(u) : 1e160;
    const double w = 0.5 * pt_scaled_erfc(a), e = pt_gauss(1.0, a), q = w * e, rest = 1.0 - q;
    const double log_rest = log_sum_f64(u > 0.0 ? rest : w, u > 0.0 ? -q - (rest - 1.0) : 0.0);
    *log_cdf = log_rest - (u > 0.0 ? 0.0 : 0.5 * a * a);
    *hazard = 0.3989422804014327 * (u > 0.0 ? e : 1.0) / (u > 0.0 ? rest : w);
}

/* A Gumbel's e^-u, kept where its square is finite. */
static inline double pt_gumbel_rate(double u) {
    return exp_f64(u > -40.0 ? -u : 40.0);
}

/* log P(Z <= u) and density / P(Z <= u), for `count` values of u. */
static void pt_fill_hazards(pt_noise_kind kind, int64_t count, const double *restrict u,
                            double *restrict log_cdf, double *restrict hazard) {
    switch (kind) {
    case PT_GUMBEL:
        for (int64_t i = 0; i < count; i++) {
            hazard[i] = pt_gumbel_rate(u[i]);
            log_cdf[i] = -hazard[i];
        }
        break;
    case PT_LOGISTIC:
        for (int64_t i = 0; i < count; i++) {
            const double e = exp_f64(-pt_abs(u[i])), d = 1.0 / (1.0 + e);
            hazard[i] = u[i] > 0.0 ? e * d : d;
            log_cdf[i] = (u[i] > 0.0 ? 0.0 : u[i]) - log1p_f64(e);
        }
        break;
    case PT_LAPLACE:
        for (int64_t i = 0; i < count; i++) {
            const double half = 0.5 * exp_f64(-pt_abs(u[i]));
            hazard[i] = u[i] > 0.0 ? half / (1.0 - half) : 1.0;
            log_cdf[i] = u[i] > 0.0 ? log1p_f64(-half) : u[i] - PT_LOG_2;
        }
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            pt_normal_hazard(u[i], &log_cdf[i], &hazard[i]);
        break;
    }
}

/* P(Z > u), P(Z <= u) and the density, each right in its own tail, for `count` values of u. */
static void pt_fill_parts(pt_noise_kind kind, int64_t count, const double *restrict u,
                          double *restrict above, double *restrict below,
                          double *restrict density) {
    switch (kind) {
    case PT_GUMBEL:
        for (int64_t i = 0; i < count; i++) {
            const double rate = pt_gumbel_rate(u[i]);
            below[i] = exp_f64(-rate);
            above[i] = -expm1_f64(-rate);
            density[i] = rate * below[i];
        }
        break;
    case PT_LOGISTIC:
        for (int64_t i = 0; i < count; i++) {
            const double e = exp_f64(-pt_abs(u[i])), d = 1.0 / (1.0 + e);
            above[i] = u[i] > 0.0 ? e * d : d;
            below[i] = u[i] > 0.0 ? d : e * d;
            density[i] = e * d * d;
        }
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            pt_normal_parts(u[i], &above[i], &below[i], &density[i]);
        break;
    }
}

/* Widths below and above theta_j beyond which less than PT_MASS of the noise lies, or PT_COARSE_MASS. */
static inline double pt_reach_below(const pt_race *race) {
    const double fine = race->kind == PT_NORMAL ? 9.6 : race->kind == PT_GUMBEL ? 4.0 : 49.0;
    const double coarse = race->kind == PT_NORMAL ? 7.1 : race->kind == PT_GUMBEL ? 3.4 : 28.0;
    return race->coarse ? coarse : fine;
}
static inline double pt_reach_above(const pt_race *race) {
    return race->kind == PT_NORMAL ? pt_reach_below(race) : race->coarse ? 28.0 : 49.0;
}

#endif
