/* refined: the score estimator of J^T g done best for few draws of a linear oracle (MATH, section 3).
 *
 * J is a Hessian: J g = J^T g, and it is zero across the hull of the solutions. So each draw gives two unbiased terms,
 *   a_m = <c_m, g> P s_m / width   and   b_m = c_m <s_m, (P g) / width>,   c_m = y_m - its hybrid baseline,
 * which are mixed entry by entry as w_mj a_mj + (1 - w_mj) b_mj, w = V_b / (V_a + V_b). The variances are guessed from the
 * other draws' distances d_l = y_l - y*(theta), l != m, of which Z_m knows nothing (nor would it of a baseline without y_m):
 *   V_a = E s^2 / width_j^2  mean <d_l, g>^2      V_b = E s^2 ||(P g) / width||^2  mean d_lj^2
 * so the mix is unbiased. An entry that no other draw has moved may move all the same: PRIOR of a draw moves it by the mean
 * over entries. What matters is where: entries that never move have b = 0, and a is all noise.
 */
#include "pullback.h"
#include "real.h"

#include <stdlib.h>

#define MOST_ELEMENTS 131072 /* noise of a row: beyond, the second pass costs more than it brings */

#define PRIOR 0.1 /* draws; of .01 to 3 the best over argmax, top-k and ranking */

/* Scratch of a task, for one row. */
typedef struct {
    double *widths, *base, *grad, *x, *squares; /* n each; squares or NULL */
    double *plain, *moves; /* y*(theta); sum over draws of its distances' squares */
    double *column;        /* PT_COLUMN_BLOCK */
    double along[PT_SAMPLE_BLOCK];
    double of_a[PT_SAMPLE_BLOCK]; /* V_a = of_a width^2 (widths are inverse here) */
    double at_rest[PT_SAMPLE_BLOCK],
        of_moves;      /* V_b = at_rest + of_moves (moves of the other draws) */
    void *tangent, *y; /* n real each */
    char *rest;        /* for the kernels */
} scratch;

static size_t scratch_size(const pt_job *job) {
    return (size_t)(9 * job->n + PT_COLUMN_BLOCK) * sizeof(double) + 1024;
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
    s->plain = doubles + 7 * n;
    s->moves = doubles + 8 * n;
    s->column = doubles + 9 * n;
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

/* along[m] = <s_m, (P g) / width>. Returns ||(P g) / width||^2. */
static double dot_tangent(pt_pullback *b, const pt_wave *w, int64_t row, scratch *s) {
    const pt_job *job = b->call->job;
    double size = 0;
    for (int64_t j = 0; j < job->n; j++)
        s->x[j] = s->widths[j] == 0 ? 0 : pt_real_at(job, b->g, row * job->n + j);
    pt_shorten(job, row, s->widths, s->x);
    pt_to_real(job, s->x, job->n, s->tangent, 0);
    b->call->kernels->draw_sum(PT_DOT_SCORE, job, w, row, 0, job->n_samples, s->tangent, s->along,
                               s->rest);
    for (int64_t j = 0; j < job->n; j++)
        size += s->x[j] * s->widths[j] * (s->x[j] * s->widths[j]);
    return size;
}

static void expand(pt_pullback *b, const pt_wave *w, int64_t row, int64_t draw, scratch *s) {
    const pt_problem *p = &b->call->job->problem;
    b->call->kernels->code_expand(p, pt_wave_code(w, p->code_len, row, draw), s->y);
}

/* base = the baseline's constant part; plain and moves. mean[m] = mean over entries that have noise of the other draws'
 * squared distances, summed. */
static void measure_moves(pt_pullback *b, const pt_wave *w, int64_t row, scratch *s, double *mean) {
    const pt_job *job = b->call->job;
    const int32_t *plain = b->plain + (row - b->row0) * job->problem.code_len;
    const double m = (double)job->n_samples;
    double total = 0, noisy = 0;
    for (int64_t j = 0; j < job->n; j++) {
        s->plain[j] = s->moves[j] = 0;
        noisy += s->widths[j] != 0;
    }
    b->call->kernels->code_add(&job->problem, plain, 1.0, s->plain);
    for (int64_t j = 0; j < job->n; j++)
        s->base[j] = b->base.of_sum * m * pt_real_at(job, job->y_mean, row * job->n + j) +
                     b->base.of_plain * s->plain[j];
    for (int64_t d = 0; d < job->n_samples; d++) {
        double own = 0;
        expand(b, w, row, d, s);
        for (int64_t j = 0; j < job->n; j++) {
            const double c = s->widths[j] == 0 ? 0 : pt_real_at(job, s->y, j) - s->plain[j];
            s->moves[j] += c * c;
            own += c * c;
        }
        mean[d] = own;
        total += own;
    }
    for (int64_t d = 0; d < job->n_samples; d++)
        mean[d] = noisy > 0 ? (total - mean[d]) / noisy : 0;
}

/* What the variances of both terms are made of.   size: ||(P g) / width||^2 */
static void guess_variances(pt_pullback *b, const pt_wave *w, int64_t row, double size,
                            scratch *s) {
    const pt_job *job = b->call->job;
    const pt_kernels *kernels = b->call->kernels;
    const pt_problem *p = &job->problem;
    const void *g = pt_real_row(job, b->g, row, job->n);
    const double plain = kernels->code_dot(p, b->plain + (row - b->row0) * p->code_len, g);
    const double others = (double)job->n_samples - 1, weight = 1 / (others + PRIOR);
    double sum = 0, mean[PT_SAMPLE_BLOCK];
    measure_moves(b, w, row, s, mean);
    for (int64_t d = 0; d < job->n_samples; d++) {
        const double off = kernels->code_dot(p, pt_wave_code(w, p->code_len, row, d), g) - plain;
        s->of_a[d] = off * off;
        sum += off * off;
        s->at_rest[d] = PRIOR * weight * mean[d] * size;
    }
    s->of_moves = weight * size;
    for (int64_t d = 0; d < job->n_samples; d++)
        s->of_a[d] = sum > s->of_a[d] ? (sum - s->of_a[d]) / others : 0;
}

/* x += the mixed terms of draw d.   weight: <c, g> */
static void add_terms(pt_pullback *b, const pt_wave *w, int64_t row, int64_t d, double weight,
                      scratch *s) {
    const pt_job *job = b->call->job;
    const double one = 1, alpha = b->base.alpha, along = s->along[d], of_a = s->of_a[d],
                 of_b = s->of_moves, at_rest = s->at_rest[d];
    expand(b, w, row, d, s);
    for (int64_t c0 = 0; c0 < job->n; c0 += PT_COLUMN_BLOCK) {
        const int64_t c1 = c0 + PT_COLUMN_BLOCK < job->n ? c0 + PT_COLUMN_BLOCK : job->n;
        b->call->kernels->column_sum(PT_SUM_SCORE, job, w, row, d, d + 1, c0, c1, &one, s->column,
                                     NULL, s->rest);
        for (int64_t j = c0; j < c1; j++) {
            const double y = pt_real_at(job, s->y, j), width = s->widths[j];
            const double own = y - s->plain[j], moved = s->moves[j] - own * own;
            const double v_b = at_rest + of_b * (moved > 0 ? moved : 0), v_a = of_a * width * width;
            const double share = v_a + v_b > 0 ? v_b / (v_a + v_b) : 0.5;
            const double of_score = share * weight * s->column[j - c0] * width,
                         of_jump = (1 - share) * along * (alpha * y - s->base[j]);
            s->x[j] += width == 0 ? 0 : of_score + of_jump;
        }
    }
}

/* x = the terms of draws first .. end - 1, summed. */
static void sum_terms(pt_pullback *b, const pt_wave *w, int64_t row, const double *weight,
                      int64_t first, int64_t end, scratch *s) {
    const pt_job *job = b->call->job;
    for (int64_t j = 0; j < job->n; j++)
        s->x[j] = 0;
    for (int64_t d = first; d < end; d++)
        add_terms(b, w, row, d, weight[d], s);
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
    guess_variances(b, w, row, dot_tangent(b, w, row, s), s);
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
