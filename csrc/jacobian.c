/* jacobian: J t and J, sums over draws of solutions. */
#include "pullback.h"
#include "real.h"

#include <stdlib.h>

/* ---- pt_jvp: sum_m y_m (alpha t_m + kappa (t_m + t_mate)) - (constant part of b) sum_m t_m ---- */

static pt_status jvp_row(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pt_pullback *b = ctx;
    const pt_problem *p = &b->call->job->problem;
    const pt_wave *w = b->wave;
    const double *x = b->weights + index * w->n_m;
    double *sum = b->sums + (w->row0 - b->row0 + index) * b->width;
    (void)work;
    for (int64_t m = 0; m < w->n_m; m++) {
        const double weight =
            b->base.alpha * x[m] + (b->base.kappa != 0 ? b->base.kappa * (x[m] + x[m ^ 1]) : 0);
        b->call->kernels->code_add(p, pt_wave_code(w, p->code_len, w->row0 + index, w->m0 + m),
                                   weight, sum);
        sum[p->y_size] += x[m];
        if (m % 64 == 0 && stop(stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static pt_status jvp_wave(void *ctx, const pt_wave *wave) {
    pt_pullback *b = ctx;
    pt_status status = pt_dot_draws(b, wave);
    const double cost =
        (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->problem.code_len;
    return status == PT_OK ? pt_run(b->call, wave->n_rows, cost, jvp_row, b) : status;
}

static pt_status jvp_end(void *ctx, int64_t row0, int64_t n_rows) {
    pt_pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_problem *p = &job->problem;
    const double m = (double)job->n_samples;
    for (int64_t r = 0; r < n_rows; r++) {
        double *sum = b->sums + r * b->width;
        const double total = sum[p->y_size];
        for (int64_t i = 0; i < p->y_size; i++)
            sum[i] -= b->base.of_sum * m *
                      pt_real_at(job, job->y_mean, (row0 + r) * p->y_size + i) * total;
        if (b->plain)
            b->call->kernels->code_add(p, b->plain + r * p->code_len, -b->base.of_plain * total,
                                       sum);
        for (int64_t i = 0; i < p->y_size; i++)
            sum[i] /= m;
        pt_to_real(job, sum, p->y_size, b->result, (row0 + r) * p->y_size);
    }
    return PT_OK;
}

pt_status pt_jvp(pt_job *job, const void *t, void *dy, pt_error *err) {
    pt_pullback b = { .width = job->problem.y_size + 1,
                      .base = pt_make_baseline(job),
                      .t = t,
                      .dot = PT_DOT_SCORE,
                      .result = dy };
    pt_consumer want = { .begin = pt_begin_sums, .wave = jvp_wave, .end = jvp_end };
    return pt_pull_back(job, &b, &want, 0, 1, 0, err);
}
/* ---- pt_jacobian ---- */

static pt_status jacobian_column(void *ctx, int64_t index, void *work, pt_poll_fn stop,
                                 void *stop_ctx) {
    pt_pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_wave *w = b->wave;
    const int64_t row = w->row0 + index / b->n_columns, c0 = index % b->n_columns * PT_COLUMN_BLOCK;
    const int64_t c1 = c0 + PT_COLUMN_BLOCK < job->n ? c0 + PT_COLUMN_BLOCK : job->n;
    double *sum = b->sums + (row - b->row0) * b->width, *total = sum + job->problem.y_size * job->n;
    for (int64_t m = 0; m < w->n_m; m += PT_SAMPLE_BLOCK) {
        const int64_t end = m + PT_SAMPLE_BLOCK < w->n_m ? m + PT_SAMPLE_BLOCK : w->n_m;
        b->call->kernels->outer_sum(job, w, row, w->m0 + m, w->m0 + end, c0, c1, b->base.alpha,
                                    b->base.kappa, sum, total, work);
        if (stop(stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static pt_status jacobian_wave(void *ctx, const pt_wave *wave) {
    pt_pullback *b = ctx;
    b->wave = wave;
    b->n_columns = (b->call->job->n + PT_COLUMN_BLOCK - 1) / PT_COLUMN_BLOCK;
    const double cost = (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->n * 4;
    return pt_run(b->call, wave->n_rows * b->n_columns, cost, jacobian_column, b);
}

static pt_status jacobian_end(void *ctx, int64_t row0, int64_t n_rows) {
    pt_pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_problem *p = &job->problem;
    const double m = (double)job->n_samples;
    double *widths = pt_zeros(job->n + p->y_size, sizeof(double)),
           *base = widths ? widths + job->n : NULL;
    if (!widths)
        return pt_fail(b->call->err, PT_E_NOMEM, -1, "no memory for a row");
    for (int64_t r = 0; r < n_rows; r++) {
        double *sum = b->sums + r * b->width;
        const double *total = sum + p->y_size * job->n;
        b->call->kernels->score_widths(job, row0 + r, 0, job->n, widths);
        for (int64_t i = 0; i < p->y_size; i++)
            base[i] = b->base.of_sum * m * pt_real_at(job, job->y_mean, (row0 + r) * p->y_size + i);
        if (b->plain)
            b->call->kernels->code_add(p, b->plain + r * p->code_len, b->base.of_plain, base);
        for (int64_t i = 0; i < p->y_size; i++)
            for (int64_t j = 0; j < job->n; j++) {
                double *x = sum + i * job->n + j;
                *x = widths[j] == 0 ? 0 : (*x - base[i] * total[j]) / m * widths[j];
            }
        pt_to_real(job, sum, p->y_size * job->n, b->result, (row0 + r) * p->y_size * job->n);
    }
    free(widths);
    return PT_OK;
}

pt_status pt_jacobian(pt_job *job, void *jac, pt_error *err) {
    size_t size;
    if (!pt_mul_size(job->problem.y_size, job->n, &size) || size > INT64_MAX / 32)
        return pt_fail(err, PT_E_NOMEM, -1,
                       "a Jacobian of %lld x %lld entries does not fit the memory",
                       (long long)job->problem.y_size, (long long)job->n);
    pt_pullback b = { .width = (int64_t)size + job->n,
                      .base = pt_make_baseline(job),
                      .result = jac };
    pt_consumer want = { .begin = pt_begin_sums, .wave = jacobian_wave, .end = jacobian_end };
    return pt_pull_back(job, &b, &want, 0, 0, 0, err);
}
