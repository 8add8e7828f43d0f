/* rank_series: expected ranks of crowded rows by a Fourier series, instead of pair by pair. In double for both element
 * types; included once by each ISA's object, after quadrature.h.
 *
 * With u_i = theta_i / w, K the cdf and k the density of the difference of two noises, e(x) its characteristic function,
 * and a period P that is longer than the widest gap by the reach of k, the images of k that the period adds stay out of
 * sight. So for every pair, with x_m = 2 pi m / P:
 *   k(d) = (1 + 2 sum_m e(x_m) cos(x_m d)) / P,      K(d) = 1/2 + d/P + (2/P) sum_m e(x_m) sin(x_m d) / x_m,
 *   E|d + noise| = E|noise| + d^2/P + (4/P) sum_m e(x_m) (1 - cos(x_m d)) / x_m^2,
 * cut off where e is below the rounding of a double. Sums over all pairs then need the moments sum_j cos(x_m u_j),
 * sum_j sin(x_m u_j), and those weighted by g_j: n times the number of modes, not n^2. */
#ifndef PT_RANK_SERIES_H
#define PT_RANK_SERIES_H

#include "quadrature.h"

#define PT_SERIES_BLOCK 256 /* entries worked out together */

#define PT_SERIES_STEP 8 /* of them in a vector */

typedef double pt_eight __attribute__((vector_size(64)));

/* A row in reach of the series, and its moments. */
typedef struct {
    pt_noise_kind kind;
    int64_t n, modes;
    double period;
    double *t, *g;  /* n: u / P from the lowest entry on, in [0, 1); g, or zeros */
    double *weight; /* modes: 2 e(x_m) / P */
    double *cosine, *sine, *g_cosine, *g_sine;   /* modes: moments, the last two with g */
    double *plain, *mixed;                       /* block: sums over modes of one block's entries */
    double *c, *s, *c_first, *s_first, *g_block; /* block: scratch */
    pt_poll_fn stop;
    void *stop_ctx;
} pt_series;

/* What to add to the widest gap for a period, and where e(x) has fallen below 1e-17. */
static inline double pt_series_margin(pt_noise_kind kind) {
    return kind == PT_NORMAL ? 8.6 : 42;
}
static inline double pt_series_end(pt_noise_kind kind) {
    return kind == PT_NORMAL ? 8.9 : kind == PT_GUMBEL ? 13.9 : 7.4;
}

/* Modes that a row with this widest gap needs; -1: there is no series for this noise. */
static double pt_series_modes(pt_noise_kind kind, double widest_gap) {
    if (kind != PT_NORMAL && kind != PT_GUMBEL && kind != PT_LOGISTIC)
        return -1;
    return pt_series_end(kind) * (widest_gap + pt_series_margin(kind)) / 6.283185307179586 + 1;
}

static inline double pt_series_frequency(const pt_series *p, int64_t m) {
    return 6.283185307179586 * (double)(m + 1) / p->period;
}

/* weight = 2 e(x) / P: e of a normal exp(-x^2 / 2), of a logistic (two Gumbels) y / sinh y with y = pi x, of two logistics
 * its square. */
static void pt_series_decay(const pt_series *p) {
    const double unit = pt_series_frequency(p, 0), two = 2 / p->period;
    double *restrict w = p->weight;
    for (int64_t m = 0; m < p->modes; m++) {
        const double x = unit * (double)(int)(m + 1);
        w[m] = p->kind == PT_NORMAL ? -0.5 * x * x : -3.141592653589793 * x;
    }
    for (int64_t m = 0; m < p->modes; m++)
        w[m] = exp_f64(w[m]);
    for (int64_t m = 0; p->kind != PT_NORMAL && m < p->modes; m++) {
        const double y = 3.141592653589793 * unit * (double)(m + 1);
        const double e = 2 * y * w[m] / (1 - w[m] * w[m]);
        w[m] = p->kind == PT_GUMBEL ? e : e * e;
    }
    for (int64_t m = 0; m < p->modes; m++)
        w[m] *= two;
}

static size_t pt_series_size(int64_t n) {
    return 7 * pt_take_size(n, sizeof(double)) + 7 * pt_take_size(PT_SERIES_BLOCK, sizeof(double));
}

/* A series of at most n modes, its arrays in work. t and g are for the caller to fill. */
static pt_series pt_series_start(pt_noise_kind kind, int64_t n, double widest_gap, char **work) {
    pt_series p = { .kind = kind, .n = n };
    p.modes = (int64_t)pt_series_modes(kind, widest_gap);
    p.period = widest_gap + pt_series_margin(kind);
    double **const of_row[] = { &p.t, &p.g, &p.weight, &p.cosine, &p.sine, &p.g_cosine, &p.g_sine };
    for (size_t a = 0; a < sizeof of_row / sizeof *of_row; a++)
        *of_row[a] = pt_take(work, n, sizeof(double));
    double **const of_block[] = {
        &p.plain, &p.mixed, &p.c, &p.s, &p.c_first, &p.s_first, &p.g_block
    };
    for (size_t a = 0; a < sizeof of_block / sizeof *of_block; a++)
        *of_block[a] = pt_take(work, PT_SERIES_BLOCK, sizeof(double));
    pt_series_decay(&p);
    return p;
}

/* Begin with a block: mode 0, and what turns it on; g. It is filled up to whole vectors with entries that weigh nothing.
 *   again  [in]  the block was the last one begun, too
 * Returns its entries, with those. */
static int64_t pt_series_block(const pt_series *p, int64_t from, int again) {
    const int64_t left = p->n - from, count = left < PT_SERIES_BLOCK ? left : PT_SERIES_BLOCK;
    const int64_t whole = (count + PT_SERIES_STEP - 1) / PT_SERIES_STEP * PT_SERIES_STEP;
    double *restrict c = p->c, *restrict s = p->s, *restrict g = p->g_block;
    for (int64_t i = 0; i < whole; i++) {
        c[i] = i < count ? 1 : 0;
        s[i] = 0;
    }
    if (again)
        return whole;
    const double *restrict t = p->t + from;
    double *restrict c_first = p->c_first, *restrict s_first = p->s_first;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t bits = to_bits_f64(1 + t[i]) & ~(uint64_t)0 >> 12;
        sincos_turn_f64(bits << 1, s_first + i, c_first + i);
    }
    memcpy(g, p->g + from, (size_t)count * sizeof *g);
    for (int64_t i = count; i < whole; i++)
        g[i] = c_first[i] = s_first[i] = 0;
    return whole;
}

/* Vectors go by address: as arguments their place would differ between instruction sets. */
static inline void pt_load_eight(const double *x, pt_eight *v) {
    memcpy(v, x, sizeof *v);
}

static inline void pt_add_eight(double *x, const pt_eight *v) {
    pt_eight sum;
    memcpy(&sum, x, sizeof sum);
    sum += *v;
    memcpy(x, &sum, sizeof sum);
}

/* The next mode of entries i on: turn by the angle of the first. */
static inline void pt_series_turn(const pt_series *p, int64_t i, pt_eight *cosine, pt_eight *sine) {
    pt_eight c, s, c1, s1;
    pt_load_eight(p->c + i, &c);
    pt_load_eight(p->s + i, &s);
    pt_load_eight(p->c_first + i, &c1);
    pt_load_eight(p->s_first + i, &s1);
    *cosine = c * c1 - s * s1;
    *sine = s * c1 + c * s1;
    memcpy(p->c + i, cosine, sizeof *cosine);
    memcpy(p->s + i, sine, sizeof *sine);
}

static inline double pt_sum_eight(const pt_eight *x) {
    double v[8];
    memcpy(v, x, sizeof v);
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/* Asks now and then: whether to go on after the block at `from`. */
static int pt_series_stopped(const pt_series *p, int64_t from) {
    return from / PT_SERIES_BLOCK % 16 == 15 && p->stop(p->stop_ctx);
}

/* Moments of one block, added. */
static inline void pt_series_gather(const pt_series *p, int64_t from, int with_g) {
    const int64_t whole = pt_series_block(p, from, 0);
    const pt_series q = *p; /* so that its pointers stay in registers */
    for (int64_t m = 0; m < q.modes; m++) {
        pt_eight sums[4] = { { 0 } };
        for (int64_t i = 0; i < whole; i += PT_SERIES_STEP) {
            pt_eight c, s;
            pt_series_turn(&q, i, &c, &s);
            sums[0] += c;
            sums[1] += s;
            if (with_g) {
                pt_eight g;
                pt_load_eight(q.g_block + i, &g);
                sums[2] += g * c;
                sums[3] += g * s;
            }
        }
        q.cosine[m] += pt_sum_eight(sums);
        q.sine[m] += pt_sum_eight(sums + 1);
        if (with_g) {
            q.g_cosine[m] += pt_sum_eight(sums + 2);
            q.g_sine[m] += pt_sum_eight(sums + 3);
        }
    }
}

static pt_status pt_series_moments(const pt_series *p, int with_g) {
    double *const all[] = { p->cosine, p->sine, p->g_cosine, p->g_sine };
    for (int a = 0; a < 4; a++)
        memset(all[a], 0, (size_t)p->modes * sizeof(double));
    for (int64_t from = 0; from < p->n; from += PT_SERIES_BLOCK) {
        if (with_g)
            pt_series_gather(p, from, 1);
        else
            pt_series_gather(p, from, 0);
        if (pt_series_stopped(p, from))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

/* For each entry of a block: sum_m (2/P) e/x (sin C - cos S); with g, sum_m (2/P) e (cos C + sin S) and the same of the
 * moments with g. */
static inline void pt_series_sums(const pt_series *p, int64_t from, int with_g) {
    memset(p->plain, 0, PT_SERIES_BLOCK * sizeof(double));
    memset(p->mixed, 0, PT_SERIES_BLOCK * sizeof(double));
    const int64_t whole = pt_series_block(p, from, p->n <= PT_SERIES_BLOCK);
    const pt_series q = *p;
    for (int64_t m = 0; m < q.modes; m++) {
        const double e = q.weight[m] / (with_g ? 1 : pt_series_frequency(&q, m));
        const double cosine = e * q.cosine[m], sine = e * q.sine[m];
        const double g_cosine = e * q.g_cosine[m], g_sine = e * q.g_sine[m];
        for (int64_t i = 0; i < whole; i += PT_SERIES_STEP) {
            pt_eight c, s;
            pt_series_turn(&q, i, &c, &s);
            const pt_eight plain = with_g ? c * cosine + s * sine : s * cosine - c * sine;
            pt_add_eight(q.plain + i, &plain);
            if (with_g) {
                const pt_eight mixed = c * g_cosine + s * g_sine;
                pt_add_eight(q.mixed + i, &mixed);
            }
        }
    }
}

/* out[i] = sum over all j, i itself included, of K(d_ij); or with g of (g_i - g_j) k(d_ij). */
static pt_status pt_series_evaluate(const pt_series *p, int with_g, double *out) {
    double total = 0, g_total = 0;
    for (int64_t i = 0; i < p->n; i++) {
        total += p->t[i];
        g_total += with_g ? p->g[i] : 0;
    }
    const double n = (double)p->n;
    for (int64_t from = 0; from < p->n; from += PT_SERIES_BLOCK) {
        if (with_g)
            pt_series_sums(p, from, 1);
        else
            pt_series_sums(p, from, 0);
        for (int64_t i = 0; i < PT_SERIES_BLOCK && from + i < p->n; i++)
            out[from + i] = with_g ? p->g[from + i] * (n / p->period + p->plain[i]) -
                                         (g_total / p->period + p->mixed[i])
                                   : 0.5 * n + (n * p->t[from + i] - total) + p->plain[i];
        if (pt_series_stopped(p, from))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

/* Sum over pairs i < j of E|d_ij + noise|. */
static double pt_series_spread(const pt_series *p) {
    const double n = (double)p->n, apart = p->kind == PT_NORMAL ? 0.7978845608028654 /* E|noise| */
                                           : p->kind == PT_GUMBEL ? 1.3862943611198906
                                                                  : 2;
    double total = 0, squares = 0, waves = 0;
    for (int64_t i = 0; i < p->n; i++) {
        total += p->t[i];
        squares += p->t[i] * p->t[i];
    }
    for (int64_t m = p->modes - 1; m >= 0; m--) {
        const double x = pt_series_frequency(p, m);
        const double seen = p->cosine[m] * p->cosine[m] + p->sine[m] * p->sine[m];
        waves += p->weight[m] / (x * x) * (n * n - seen);
    }
    return 0.5 * n * (n - 1) * apart + p->period * (n * squares - total * total) + waves;
}

#endif
