/* refined: the score estimator of J^T g done best for few draws of a linear oracle (MATH, section 3).
 *
 * J is a Hessian: J g = J^T g, and it is zero across the hull of the solutions. So each draw gives two unbiased terms,
 *   a_m = <c_m, g> P s_m / width   and   b_m = c_m <s_m, (P g) / width>,   c_m = y_m - its hybrid baseline,
 * which are mixed as w_m a_m + (1 - w_m) b_m, w_m = V_b / (V_a + V_b) from the squared sizes that the other draws' terms
 * have about y*(theta): independent of Z_m (a baseline that has y_m would not be), so the mix is unbiased. Two passes over
 * the noise.
 */
#include "pullback.h"
#include "real.h"

#include <stdlib.h>

#define MOST_ELEMENTS 131072 /* noise of a row: beyond, the second pass costs more than it brings */

/* Scratch of a task, for one row. */
typedef struct {
    double *widths, *base, *grad, *x, *squares; /* n each; squares or NULL */
    double *column;                             /* PT_COLUMN_BLOCK */
    double along[PT_SAMPLE_BLOCK], size[PT_SAMPLE_BLOCK], share[PT_SAMPLE_BLOCK];
    void *tangent, *y; /* n real each */
    char *rest;        /* for the kernels */
} scratch;

static size_t scratch_size(const pt_job *job) {
    return (size_t)(5 * job->n + PT_COLUMN_BLOCK) * sizeof(double) +
           2 * (size_t)job->n * sizeof(double) + 1024;
}

static scratch *cut(const pt_job *job, void *work, int with_squares) {
    char *at = work;
    scratch *s = (scratch *)(void *)at;
    at += (sizeof *s + 63) & ~(size_t)63;
    double *doubles = (double *)(void *)at;
    const int64_t n = job->n;
    s->widths = doubles;
    s->base = doubles + n;
    s->grad = doubles + 2 * n;
    s->x = doubles + 3 * n;
    s->squares = with_squares ? doubles + 4 * n : NULL;
    s->tangent = doubles + 5 * n;
    s->y = doubles + 6 * n;
    s->column = doubles + 7 * n;
    s->rest = (char *)(s->column + PT_COLUMN_BLOCK);
    s->rest += -(intptr_t)s->rest & 63;
    return s;
}

int pt_is_refined(const pt_job *job) {
    const pt_problem *p = &job->problem;
    return job->baseline == PT_BEST && p->linear && !p->clipped && p->y_size == job->n &&
           p->code_kind != PT_CODE_LABELS && !job->noise.multiplicative &&
           job->noise.kind < PT_SUM_OF_GAMMA && job->sampler == PT_IID &&
           job->n_samples <= PT_SAMPLE_BLOCK && job->n <= MOST_ELEMENTS / job->n_samples;
}

/* E s(Z)^2. */
static double information(const pt_noise *noise) {
    if (noise->kind == PT_LOGISTIC)
        return 1.0 / 3;
    return noise->kind == PT_STUDENT_T ? (noise->param[0] + 1) / (noise->param[0] + 3) : 1;
}

/* along[m] = <s_m, (P g) / width>. */
static void dot_tangent(pt_pullback *b, const pt_wave *w, int64_t row, scratch *s) {
    const pt_job *job = b->call->job;
    for (int64_t j = 0; j < job->n; j++)
        s->x[j] = s->widths[j] == 0 ? 0 : pt_real_at(job, b->g, row * job->n + j);
    pt_shorten(job, row, s->widths, s->x);
    pt_to_real(job, s->x, job->n, s->tangent, 0);
    b->call->kernels->draw_sum(PT_DOT_SCORE, job, w, row, 0, job->n_samples, s->tangent, s->along,
                               s->rest);
}

/* base = the baseline's constant part; size[m] = ||y_m - y*(theta)||^2. */
static void measure_centred(pt_pullback *b, const pt_wave *w, int64_t row, scratch *s) {
    const pt_job *job = b->call->job;
    const pt_kernels *kernels = b->call->kernels;
    const pt_problem *p = &job->problem;
    const int32_t *plain = b->plain + (row - b->row0) * p->code_len;
    const double m = (double)job->n_samples;
    for (int64_t j = 0; j < job->n; j++)
        s->x[j] = 0;
    kernels->code_add(p, plain, 1.0, s->x);
    for (int64_t j = 0; j < job->n; j++)
        s->base[j] = b->base.of_sum * m * pt_real_at(job, job->y_mean, row * job->n + j) +
                     b->base.of_plain * s->x[j];
    for (int64_t d = 0; d < job->n_samples; d++) {
        kernels->code_expand(p, pt_wave_code(w, p->code_len, row, d), s->y);
        s->size[d] = 0;
        for (int64_t j = 0; j < job->n; j++) {
            const double c = pt_real_at(job, s->y, j) - s->x[j];
            s->size[d] += c * c;
        }
    }
}

/* share[m] = w_m. */
static void mix(pt_pullback *b, const pt_wave *w, int64_t row, scratch *s) {
    const pt_job *job = b->call->job;
    const pt_kernels *kernels = b->call->kernels;
    const pt_problem *p = &job->problem;
    const void *g = pt_real_row(job, b->g, row, job->n);
    const double plain = kernels->code_dot(p, b->plain + (row - b->row0) * p->code_len, g);
    double scale = 0, sum_a = 0, sum_b = 0, a[PT_SAMPLE_BLOCK];
    for (int64_t j = 0; j < job->n; j++)
        scale += s->widths[j] * s->widths[j];
    scale *= information(&job->noise);
    for (int64_t d = 0; d < job->n_samples; d++) {
        const double off = kernels->code_dot(p, pt_wave_code(w, p->code_len, row, d), g) - plain;
        a[d] = off * off * scale;
        s->size[d] *= s->along[d] * s->along[d];
        sum_a += a[d];
        sum_b += s->size[d];
    }
    for (int64_t d = 0; d < job->n_samples; d++) {
        const double others_a = sum_a - a[d] > 0 ? sum_a - a[d] : 0;
        const double others_b = sum_b - s->size[d] > 0 ? sum_b - s->size[d] : 0;
        s->share[d] = others_a + others_b > 0 ? others_b / (others_a + others_b) : 0.5;
    }
}

/* x = the mix of draws first .. end - 1, summed. */
static void sum_terms(pt_pullback *b, const pt_wave *w, int64_t row, const double *weight,
                      int64_t first, int64_t end, scratch *s) {
    const pt_job *job = b->call->job;
    const pt_problem *p = &job->problem;
    double mixed[PT_SAMPLE_BLOCK], total = 0;
    for (int64_t j = 0; j < job->n; j++)
        s->x[j] = 0;
    for (int64_t d = first; d < end; d++) {
        const double along = (1 - s->share[d]) * s->along[d];
        mixed[d - first] = s->share[d] * weight[d];
        b->call->kernels->code_add(p, pt_wave_code(w, p->code_len, row, d), b->base.alpha * along,
                                   s->x);
        total += along;
    }
    for (int64_t j = 0; j < job->n; j++)
        s->x[j] = s->widths[j] == 0 ? 0 : s->x[j] - total * s->base[j];
    for (int64_t c0 = 0; c0 < job->n; c0 += PT_COLUMN_BLOCK) {
        const int64_t c1 = c0 + PT_COLUMN_BLOCK < job->n ? c0 + PT_COLUMN_BLOCK : job->n;
        b->call->kernels->column_sum(PT_SUM_SCORE, job, w, row, first, end, c0, c1, mixed,
                                     s->column, NULL, s->rest);
        for (int64_t j = c0; j < c1; j++)
            s->x[j] += s->column[j - c0] * s->widths[j];
    }
    pt_into_hull(job, row, s->widths, s->x);
}

static pt_status refine_row(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pt_pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_wave *w = b->wave;
    const int64_t row = w->row0 + index;
    const double m = (double)job->n_samples, *weight = b->weights + index * w->n_m;
    scratch *s = cut(job, work, b->result_error != NULL);
    b->call->kernels->score_widths(job, row, 0, job->n, s->widths);
    dot_tangent(b, w, row, s);
    measure_centred(b, w, row, s);
    mix(b, w, row, s);
    sum_terms(b, w, row, weight, 0, job->n_samples, s);
    for (int64_t j = 0; j < job->n; j++)
        s->grad[j] = s->x[j] / m;
    pt_to_real(job, s->grad, job->n, b->result, row * job->n);
    if (!s->squares)
        return stop(stop_ctx) ? PT_E_STOPPED : PT_OK;
    for (int64_t j = 0; j < job->n; j++)
        s->squares[j] = 0;
    for (int64_t d = 0; d < job->n_samples; d++) {
        sum_terms(b, w, row, weight, d, d + 1, s);
        for (int64_t j = 0; j < job->n; j++)
            s->squares[j] += (s->x[j] - s->grad[j]) * (s->x[j] - s->grad[j]);
        if (stop(stop_ctx))
            return PT_E_STOPPED;
    }
    for (int64_t j = 0; j < job->n; j++)
        s->squares[j] = s->widths[j] == 0 ? 0 : pt_standard_error(0, s->squares[j], m);
    pt_to_real(job, s->squares, job->n, b->result_error, row * job->n);
    return PT_OK;
}

static pt_status refine_wave(void *ctx, const pt_wave *wave) {
    pt_pullback *b = ctx;
    const pt_status status = pt_weigh_draws(b, wave);
    const double cost = 2 * (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->n;
    return status == PT_OK ? pt_run(b->call, wave->n_rows, cost, refine_row, b) : status;
}

pt_status pt_vjp_refined(pt_job *job, const void *g, void *grad, void *grad_error, pt_error *err) {
    const pt_kernels *kernels = job->kernels;
    pt_pullback b = { .width = 1,
                      .base = pt_make_baseline(job),
                      .g = g,
                      .least_work = scratch_size(job) + sizeof(scratch) + 256 +
                                    kernels->work_size(job, job->n_samples),
                      .result = grad,
                      .result_error = grad_error };
    pt_consumer want = { .begin = pt_begin_sums, .wave = refine_wave };
    return pt_pull_back(job, &b, &want, 0, 1, 1, err);
}
