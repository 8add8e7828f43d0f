/* score: sums over draws and over coordinates that the score estimator and the value's derivatives are made of.
 *
 * Sums over draws run in `real` over at most PT_SAMPLE_BLOCK draws, in order, coordinate by coordinate; sums over
 * coordinates in PT_LANES partial sums over PT_COLUMN_BLOCK coordinates. The engine adds such blocks in double, in order.
 */
#ifndef PT_REAL
#error "score.tmpl.h is a template: include it from core.tmpl.h"
#endif

/* Draws whose noise is made together, so that it stays in the first-level cache. */
static inline int64_t PT_NAME(strip)(int64_t n_items) {
    int64_t draws = 2 * PT_COLUMN_BLOCK / n_items;
    draws = draws < 2 ? 2 : draws > PT_SAMPLE_BLOCK ? PT_SAMPLE_BLOCK : draws;
    return draws & ~(int64_t)1;
}

static inline int64_t PT_NAME(round_up)(int64_t n, int64_t step) {
    return (n + step - 1) / step * step;
}

/* sum_j += w[d] s[d][j], four draws a pass, each added in order. */
static void PT_NAME(add_weighted)(const PT_REAL *restrict s, int64_t stride,
                                  const PT_REAL *restrict w, int64_t n_draws, int64_t n,
                                  PT_REAL *restrict sum) {
    int64_t d = 0;
    for (; d + 4 <= n_draws; d += 4) {
        const PT_REAL *restrict a = s + d * stride, *restrict b = a + stride,
                                *restrict c = b + stride, *restrict e = c + stride;
        const PT_REAL wa = w[d], wb = w[d + 1], wc = w[d + 2], we = w[d + 3];
        for (int64_t j = 0; j < n; j++)
            sum[j] = (((sum[j] + wa * a[j]) + wb * b[j]) + wc * c[j]) + we * e[j];
    }
    for (; d < n_draws; d++)
        for (int64_t j = 0; j < n; j++)
            sum[j] += w[d] * s[d * stride + j];
}

static void PT_NAME(add_squares)(const PT_REAL *restrict s, int64_t stride,
                                 const PT_REAL *restrict w, int64_t n_draws, int64_t n, int pairs,
                                 double *restrict squares) {
    if (pairs)
        for (int64_t d = 0; d + 1 < n_draws; d += 2)
            for (int64_t j = 0; j < n; j++) {
                const double x = 0.5 * ((double)w[d] * (double)s[d * stride + j] +
                                        (double)w[d + 1] * (double)s[(d + 1) * stride + j]);
                squares[j] += x * x;
            }
    else
        for (int64_t d = 0; d < n_draws; d++)
            for (int64_t j = 0; j < n; j++) {
                const double x = (double)w[d] * (double)s[d * stride + j];
                squares[j] += x * x;
            }
}

static void PT_NAME(score_columns)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m0,
                                   int64_t m1, int64_t c0, int64_t c1, const double *weight,
                                   double *sum, double *squares, char *work) {
    const int64_t n = c1 - c0,
                  items = PT_NAME(round_up)(n, PT_NAME(noise_per_block)(job->noise.kind));
    const int64_t strip = PT_NAME(strip)(items);
    PT_REAL *acc = PT_NAME(slice)(&work, (size_t)items * sizeof(PT_REAL));
    PT_REAL *s = PT_NAME(slice)(&work, (size_t)(strip * items) * sizeof(PT_REAL));
    PT_REAL w[PT_SAMPLE_BLOCK];
    for (int64_t m = 0; m < m1 - m0; m++)
        w[m] = (PT_REAL)weight[m];
    memset(acc, 0, (size_t)items * sizeof(PT_REAL));
    if (squares)
        memset(squares, 0, (size_t)n * sizeof(double));
    for (int64_t m = m0; m < m1; m += strip) {
        const int64_t count = m1 - m < strip ? m1 - m : strip;
        PT_NAME(raw_noise)(job, wave, row, m, count, c0, items, 1, s);
        PT_NAME(add_weighted)(s, items, w + (m - m0), count, n, acc);
        if (squares)
            PT_NAME(add_squares)
        (s, items, w + (m - m0), count, n, job->sampler == PT_ANTITHETIC, squares);
    }
    for (int64_t j = 0; j < n; j++)
        sum[j] = (double)acc[j];
}

/* d theta'_j / d theta_j, times whether the cost escaped clipping. */
static inline double PT_NAME(value_weight)(const pt_job *job, PT_REAL theta, PT_REAL noisy) {
    if (job->problem.clipped && noisy > 0)
        return 0;
    return job->noise.multiplicative && theta != 0 ? (double)noisy / (double)theta : 1;
}

static void PT_NAME(value_grad_columns)(const pt_job *job, const pt_wave *wave, int64_t row,
                                        int64_t m0, int64_t m1, int64_t c0, int64_t c1, double *sum,
                                        char *work) {
    const pt_problem *p = &job->problem;
    const PT_REAL *theta = PT_NAME(theta_row)(job, row);
    const PT_REAL *target = wave->target ? (const PT_REAL *)wave->target + row * job->n : NULL;
    PT_REAL *noisy = PT_NAME(slice)(&work, (size_t)PT_NAME(padded)(job) * sizeof(PT_REAL));
    PT_REAL *y = PT_NAME(slice)(&work, (size_t)job->n * sizeof(PT_REAL));
    memset(sum, 0, (size_t)(c1 - c0) * sizeof(double));
    for (int64_t m = m0; m < m1; m++) {
        PT_NAME(perturb_draws)(job, wave, row, m, 1, noisy);
        PT_NAME(code_uses)(p, pt_wave_code(wave, p->code_len, row, m), y);
        for (int64_t j = c0; j < c1; j++) {
            const double difference = (double)y[j] - (target ? (double)target[j] : 0.0);
            if (difference != 0)
                sum[j - c0] += difference * PT_NAME(value_weight)(job, theta[j], noisy[j]);
        }
    }
}

static void PT_NAME(column_sum)(pt_column_sum what, const pt_job *job, const pt_wave *wave,
                                int64_t row, int64_t m0, int64_t m1, int64_t c0, int64_t c1,
                                const double *weight, double *sum, double *squares, void *work) {
    if (what == PT_SUM_SCORE)
        PT_NAME(score_columns)(job, wave, row, m0, m1, c0, c1, weight, sum, squares, work);
    else
        PT_NAME(value_grad_columns)(job, wave, row, m0, m1, c0, c1, sum, work);
}

/* Idle entries of columns c0 .. c1 - 1, counted from c0. Returns how many. */
static int PT_NAME(idle_columns)(const pt_job *job, int64_t row, int64_t c0, int64_t c1,
                                 int64_t at[2]) {
    int64_t all[2];
    const int n = job->solve->idle ? job->solve->idle(&job->problem, row, all) : 0;
    int count = 0;
    for (int i = 0; i < n; i++)
        if (all[i] >= c0 && all[i] < c1)
            at[count++] = all[i] - c0;
    return count;
}

static void PT_NAME(score_widths)(const pt_job *job, int64_t row, int64_t c0, int64_t c1,
                                  double *out) {
    const PT_REAL *theta = PT_NAME(theta_row)(job, row);
    const int alone = !job->noise.scale && !job->noise.multiplicative;
    const double alike = 1 / job->epsilon[row];
    int64_t idle[2];
    for (int64_t j = c0; alone && j < c1; j++)
        out[j - c0] = theta[j] > -PT_INFINITY ? alike : 0;
    for (int64_t j = c0; !alone && j < c1; j++) {
        double w = PT_NAME(width)(job, row, j);
        if (job->noise.multiplicative)
            w *= (double)theta[j];
        out[j - c0] = theta[j] > -PT_INFINITY && w != 0 ? 1 / w : 0;
    }
    for (int i = PT_NAME(idle_columns)(job, row, c0, c1, idle) - 1; i >= 0; i--)
        out[idle[i]] = 0;
}

/* What pullback.c does with sums and widths, in one pass. Dividing by one changes nothing, and is slow. */
static void PT_NAME(finish_score)(const pt_job *job, int64_t row, int64_t c0, int64_t c1,
                                  const double *restrict sum, void *result) {
    const PT_REAL *restrict theta = PT_NAME(theta_row)(job, row) + c0;
    PT_REAL *restrict out = result;
    const int64_t n = c1 - c0;
    const double m = (double)job->n_samples, alike = 1 / job->epsilon[row];
    double widths[PT_COLUMN_BLOCK];
    int64_t idle[2];
    if (job->noise.scale || job->noise.multiplicative) {
        PT_NAME(score_widths)(job, row, c0, c1, widths);
        for (int64_t j = 0; j < n; j++)
            out[j] = (PT_REAL)(widths[j] == 0 ? 0 : sum[j] / m * widths[j]);
    } else if (job->n_samples == 1)
        for (int64_t j = 0; j < n; j++)
            out[j] = theta[j] > -PT_INFINITY ? (PT_REAL)(sum[j] * alike) : (PT_REAL)0;
    else
        for (int64_t j = 0; j < n; j++)
            out[j] = theta[j] > -PT_INFINITY ? (PT_REAL)(sum[j] / m * alike) : (PT_REAL)0;
    for (int i = PT_NAME(idle_columns)(job, row, c0, c1, idle) - 1; i >= 0; i--)
        out[idle[i]] = 0;
}

/* ---- sums over coordinates ---- */

static double PT_NAME(lane_sum)(const PT_REAL *restrict x, const PT_REAL *restrict y, int64_t n) {
    PT_REAL part[PT_LANES] = { 0 };
    int64_t j = 0;
    for (; j + PT_LANES <= n; j += PT_LANES)
        for (int l = 0; l < PT_LANES; l++)
            part[l] += x[j + l] * y[j + l];
    for (int l = 0; j < n; j++, l++)
        part[l] += x[j] * y[j];
    for (int half = PT_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            part[l] += part[l + half];
    return (double)part[0];
}

/* What the score at coordinate j is multiplied by: t_j / width_j, or for the derivative by epsilon 1 where noise is. */
static void PT_NAME(dot_weights)(pt_draw_sum what, const pt_job *job, int64_t row, const PT_REAL *t,
                                 PT_REAL *out, double *widths) {
    PT_NAME(score_widths)(job, row, 0, job->n, widths);
    for (int64_t j = 0; j < job->n; j++)
        out[j] = what == PT_DOT_SCORE ? (PT_REAL)(widths[j] != 0 ? (double)t[j] * widths[j] : 0.0)
                                      : (PT_REAL)(widths[j] != 0);
}

/* (s z - 1) / epsilon, for multiplicative noise (s z - 1 - s sigma c'(epsilon sigma)) / epsilon: the noise score of a
 * change of epsilon, as a factor for dot_weights. In place: s. */
static void PT_NAME(epsilon_scores)(const pt_job *job, int64_t row, int64_t c0, int64_t n,
                                    const PT_REAL *z, PT_REAL *s) {
    const double epsilon = job->epsilon[row];
    for (int64_t j = 0; j < n; j++) {
        const double score = (double)s[j];
        double x = score * (double)z[j] - 1;
        if (job->noise.multiplicative)
            x -= score * pt_noise_log_mean_slope(&job->noise, PT_NAME(width)(job, row, c0 + j));
        s[j] = (PT_REAL)(x / epsilon);
    }
}

/* One draw's sum over coordinates of y_j d theta'_j / d epsilon. */
static double PT_NAME(value_slope)(const pt_job *job, int64_t row, const PT_REAL *y,
                                   const PT_REAL *z, const PT_REAL *noisy) {
    double sum = 0;
    for (int64_t j = 0; j < job->n; j++) {
        if (y[j] == 0 || (job->problem.clipped && noisy[j] > 0))
            continue;
        const double scale = job->noise.scale ? job->noise.scale[j] : 1,
                     w = PT_NAME(width)(job, row, j);
        double slope = scale * (double)z[j];
        if (job->noise.multiplicative)
            slope =
                (double)noisy[j] * scale * ((double)z[j] - pt_noise_log_mean_slope(&job->noise, w));
        sum += (double)y[j] * slope;
    }
    return job->problem.sign * sum;
}

static void PT_NAME(value_slopes)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m0,
                                  int64_t m1, double *out, char *work) {
    const size_t bytes = (size_t)PT_NAME(padded)(job) * sizeof(PT_REAL);
    PT_REAL *z = PT_NAME(slice)(&work, bytes), *noisy = PT_NAME(slice)(&work, bytes);
    PT_REAL *y = PT_NAME(slice)(&work, (size_t)job->n * sizeof(PT_REAL));
    for (int64_t m = m0; m < m1; m++) {
        PT_NAME(raw_noise)(job, wave, row, m, 1, 0, PT_NAME(padded)(job), 0, z);
        memcpy(noisy, z, bytes);
        PT_NAME(perturb_row)(job, row, noisy);
        PT_NAME(code_uses)(&job->problem, pt_wave_code(wave, job->problem.code_len, row, m), y);
        out[m - m0] = PT_NAME(value_slope)(job, row, y, z, noisy);
    }
}

static void PT_NAME(draw_sum)(pt_draw_sum what, const pt_job *job, const pt_wave *wave, int64_t row,
                              int64_t m0, int64_t m1, const void *t, double *out, void *scratch) {
    char *work = scratch;
    if (what == PT_DOT_VALUE_EPS) {
        PT_NAME(value_slopes)(job, wave, row, m0, m1, out, work);
        return;
    }
    double *widths = PT_NAME(slice)(&work, (size_t)job->n * sizeof(double));
    PT_REAL *weights = PT_NAME(slice)(&work, (size_t)job->n * sizeof(PT_REAL));
    PT_NAME(dot_weights)(what, job, row, t, weights, widths);
    memset(out, 0, (size_t)(m1 - m0) * sizeof(double));
    const int64_t block = job->n < PT_COLUMN_BLOCK ? job->n : PT_COLUMN_BLOCK;
    const int64_t strip = PT_NAME(strip)(block), room = PT_NAME(round_up)(block, 4);
    PT_REAL *s = PT_NAME(slice)(&work, (size_t)(strip * room) * sizeof(PT_REAL));
    PT_REAL *z = PT_NAME(slice)(&work, (size_t)(strip * room) * sizeof(PT_REAL));
    for (int64_t c0 = 0; c0 < job->n; c0 += PT_COLUMN_BLOCK) {
        const int64_t n = job->n - c0 < PT_COLUMN_BLOCK ? job->n - c0 : PT_COLUMN_BLOCK;
        const int64_t items = PT_NAME(round_up)(n, PT_NAME(noise_per_block)(job->noise.kind));
        for (int64_t m = m0; m < m1; m += strip) {
            const int64_t count = m1 - m < strip ? m1 - m : strip;
            PT_NAME(raw_noise)(job, wave, row, m, count, c0, items, 1, s);
            if (what == PT_DOT_EPSILON) {
                PT_NAME(raw_noise)(job, wave, row, m, count, c0, items, 0, z);
                for (int64_t d = 0; d < count; d++)
                    PT_NAME(epsilon_scores)(job, row, c0, n, z + d * items, s + d * items);
            }
            for (int64_t d = 0; d < count; d++)
                out[m - m0 + d] += PT_NAME(lane_sum)(s + d * items, weights + c0, n);
        }
    }
}

/* ---- outer products ---- */

static void PT_NAME(outer_sum)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m0,
                               int64_t m1, int64_t c0, int64_t c1, double alpha, double kappa,
                               double *jac, double *total, void *scratch) {
    const pt_problem *p = &job->problem;
    const int64_t n = c1 - c0,
                  items = PT_NAME(round_up)(n, PT_NAME(noise_per_block)(job->noise.kind));
    char *work = scratch;
    PT_REAL *s = PT_NAME(slice)(&work, (size_t)(2 * items) * sizeof(PT_REAL));
    PT_REAL *y = PT_NAME(slice)(&work, (size_t)p->y_size * sizeof(PT_REAL));
    const int64_t step = job->sampler == PT_ANTITHETIC ? 2 : 1;
    for (int64_t m = m0; m < m1; m += step) {
        PT_NAME(raw_noise)(job, wave, row, m, step, c0, items, 1, s);
        for (int64_t d = 0; d < step; d++) {
            const PT_REAL *own = s + d * items, *mate = s + (step - 1 - d) * items;
            PT_NAME(code_expand)(p, pt_wave_code(wave, p->code_len, row, m + d), y);
            for (int64_t j = 0; j < n; j++)
                total[c0 + j] += (double)own[j];
            for (int64_t i = 0; i < p->y_size; i++)
                if (y[i] != 0)
                    for (int64_t j = 0; j < n; j++)
                        jac[i * job->n + c0 + j] +=
                            (double)y[i] *
                            (alpha * (double)own[j] + kappa * ((double)own[j] + (double)mate[j]));
        }
    }
}

static size_t PT_NAME(score_work_size)(const pt_job *job) {
    const size_t strips = 2 * (2 * PT_COLUMN_BLOCK + PT_SAMPLE_BLOCK * 4) + PT_COLUMN_BLOCK;
    const size_t items = (size_t)(4 * PT_NAME(padded)(job)), y = (size_t)job->problem.y_size;
    return (strips + items + y) * sizeof(PT_REAL) + (size_t)job->n * sizeof(double) + 1024;
}
