/* pullback: J^T g and the other sums over draws that weigh each draw by <y_m - b_m, g>. */
#include "pullback.h"
#include "real.h"

#include <stdlib.h>

#define COUNT_OF_PARTS 8 /* blocks of draws summed side by side where there are few rows */

pt_baseline_weights pt_make_baseline(const pt_job *job) {
    const double m = (double)job->n_samples, pairs = m / 2;
    const int mirrored = job->sampler == PT_ANTITHETIC;
    switch (job->baseline) {
    case PT_SOLUTION:
        return (pt_baseline_weights){ 1, 0, 1, 0 };
    case PT_LOO: /* mean of the other draws, or of the other pairs' */
        return mirrored ? (pt_baseline_weights){ 1, 1 / (m - 2), 0, 1 / (m - 2) }
                        : (pt_baseline_weights){ m / (m - 1), 0, 0, 1 / (m - 1) };
    case PT_BEST:
    case PT_HYBRID: /* (y*(theta) + the others) over their number */
        return mirrored ? (pt_baseline_weights){ 1, 0.5 / pairs, 1 / pairs, 0.5 / pairs }
                        : (pt_baseline_weights){ (m + 1) / m, 0, 1 / m, 1 / m };
    default:
        return (pt_baseline_weights){ 1, 0, 0, 0 };
    }
}

/* <of_plain y*(theta) + of_sum sum_m y_m, g> of a row. */
static pt_status constant_of_row(void *ctx, int64_t index, void *work, pt_poll_fn stop,
                                 void *stop_ctx) {
    pt_pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_problem *p = &job->problem;
    const int64_t row = b->row0 + index;
    const pt_kernels *kernels = b->call->kernels;
    const void *g = pt_real_row(job, b->g, row, p->y_size);
    (void)stop, (void)stop_ctx;
    double sum = 0;
    if (b->base.of_sum != 0 && job->codes && pt_y_is_sparse(job))
        sum = kernels->code_mean_dot(p, job->codes + row * job->n_samples * p->code_len,
                                     job->n_samples, g, work);
    else if (b->base.of_sum != 0)
        sum = kernels->mean_dot(p->y_size, pt_real_row(job, job->y_mean, row, p->y_size), g);
    sum *= b->base.of_sum * (double)job->n_samples;
    if (b->plain)
        sum += b->base.of_plain * kernels->code_dot(p, b->plain + index * p->code_len, g);
    b->constant[index] = sum;
    return PT_OK;
}

/* y*(theta) and the constants of the run's rows. */
static pt_status baseline_constants(pt_pullback *b, int64_t row0, int64_t n_rows) {
    pt_status status = PT_OK;
    if (b->plain)
        status = pt_solve_plain(b->call, b->job, row0, n_rows, b->plain);
    if (b->constant && status == PT_OK)
        status =
            pt_run(b->call, n_rows, 0.5 * (double)n_rows * (double)b->call->job->problem.y_size,
                   constant_of_row, b);
    return status;
}

pt_status pt_begin_sums(void *ctx, int64_t row0, int64_t n_rows) {
    pt_pullback *b = ctx;
    b->row0 = row0;
    if (b->sums)
        memset(b->sums, 0, (size_t)(n_rows * b->width) * sizeof(double));
    if (b->squares)
        memset(b->squares, 0, (size_t)(n_rows * b->width) * sizeof(double));
    return baseline_constants(b, row0, n_rows);
}

/* One block of draws of a row: <y_m - b_m, g>. */
static pt_status weigh_block(void *ctx, int64_t index, void *work, pt_poll_fn stop,
                             void *stop_ctx) {
    pt_pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_problem *p = &job->problem;
    const pt_wave *w = b->wave;
    const int64_t row = w->row0 + index / b->n_blocks, m0 = index % b->n_blocks * PT_SAMPLE_BLOCK;
    const int64_t m1 = m0 + PT_SAMPLE_BLOCK < w->n_m ? m0 + PT_SAMPLE_BLOCK : w->n_m;
    const void *g = pt_real_row(job, b->g, row, p->y_size);
    double *x = b->weights + (row - w->row0) * w->n_m;
    (void)work, (void)stop, (void)stop_ctx;
    for (int64_t m = m0; m < m1; m++)
        x[m] = b->call->kernels->code_dot(p, pt_wave_code(w, p->code_len, row, w->m0 + m), g);
    const double constant = b->constant[row - b->row0];
    if (b->base.kappa != 0)
        for (int64_t m = m0; m < m1; m += 2) {
            const double pair = b->base.kappa * (x[m] + x[m + 1]) - constant;
            x[m] = b->base.alpha * x[m] + pair;
            x[m + 1] = b->base.alpha * x[m + 1] + pair;
        }
    else
        for (int64_t m = m0; m < m1; m++)
            x[m] = b->base.alpha * x[m] - constant;
    return PT_OK;
}

pt_status pt_weigh_draws(pt_pullback *b, const pt_wave *wave) {
    b->wave = wave;
    b->n_blocks = (wave->n_m + PT_SAMPLE_BLOCK - 1) / PT_SAMPLE_BLOCK;
    const double cost =
        (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->problem.code_len;
    return pt_run(b->call, wave->n_rows * b->n_blocks, cost, weigh_block, b);
}

static void block_sum(pt_pullback *b, int64_t row, int64_t column, int64_t block, double *sum,
                      double *squares, void *work) {
    const pt_wave *w = b->wave;
    const int64_t m0 = block * PT_SAMPLE_BLOCK, n = b->call->job->n;
    const int64_t m1 = m0 + PT_SAMPLE_BLOCK < w->n_m ? m0 + PT_SAMPLE_BLOCK : w->n_m;
    const int64_t c0 = column * PT_COLUMN_BLOCK,
                  c1 = c0 + PT_COLUMN_BLOCK < n ? c0 + PT_COLUMN_BLOCK : n;
    const double *weight = b->weights ? b->weights + (row - w->row0) * w->n_m + m0 : NULL;
    b->call->kernels->column_sum(b->what, b->call->job, w, row, w->m0 + m0, w->m0 + m1, c0, c1,
                                 weight, sum, squares, work);
}

static void add_block(pt_pullback *b, int64_t row, int64_t column, const double *sum,
                      const double *squares) {
    const int64_t n = b->call->job->n, c0 = column * PT_COLUMN_BLOCK;
    const int64_t c1 = c0 + PT_COLUMN_BLOCK < n ? c0 + PT_COLUMN_BLOCK : n;
    double *to = b->sums + (row - b->row0) * n,
           *to_squares = b->squares ? b->squares + (row - b->row0) * n : NULL;
    for (int64_t j = c0; j < c1; j++)
        to[j] += sum[j - c0];
    for (int64_t j = c0; to_squares && j < c1; j++)
        to_squares[j] += squares[j - c0];
}

/* Sums to means: times 1 / width_j (score), over the number of draws. In place, then into the results.
 * c0, c1: at most PT_COLUMN_BLOCK coordinates of a row */
static void finish_columns(const pt_pullback *b, int64_t row, int64_t c0, int64_t c1, double *sum,
                           double *squares) {
    const pt_job *job = b->call->job;
    const double m = (double)job->n_samples, units = job->sampler == PT_ANTITHETIC ? m / 2 : m;
    double widths[PT_COLUMN_BLOCK];
    if (b->what == PT_SUM_SCORE && !squares) {
        const size_t real = job->f64 ? sizeof(double) : sizeof(float);
        b->call->kernels->finish_score(job, row, c0, c1, sum,
                                       (char *)b->result + (size_t)(row * job->n + c0) * real);
        return;
    }
    if (b->what == PT_SUM_SCORE)
        b->call->kernels->score_widths(job, row, c0, c1, widths);
    for (int64_t j = 0; j < c1 - c0; j++) {
        const double width = b->what == PT_SUM_SCORE ? widths[j] : job->problem.sign;
        if (squares)
            squares[j] = width == 0 ? 0
                                    : fabs(width) * pt_standard_error(sum[j] * (units / m),
                                                                      squares[j], units);
        sum[j] = width == 0 ? 0 : sum[j] / m * width;
    }
    pt_to_real(job, sum, c1 - c0, b->result, row * job->n + c0);
    if (squares)
        pt_to_real(job, squares, c1 - c0, b->result_error, row * job->n + c0);
}

/* A column block of a row, all of its blocks of draws in order. */
static pt_status sum_column(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pt_pullback *b = ctx;
    const int64_t row = b->wave->row0 + index / b->n_columns, column = index % b->n_columns;
    const int64_t n = b->call->job->n, c0 = column * PT_COLUMN_BLOCK,
                  c1 = c0 + PT_COLUMN_BLOCK < n ? c0 + PT_COLUMN_BLOCK : n;
    double sum[PT_COLUMN_BLOCK], squares[PT_COLUMN_BLOCK];
    double all[PT_COLUMN_BLOCK], all_squares[PT_COLUMN_BLOCK];
    for (int64_t block = 0; block < b->n_blocks; block++) {
        block_sum(b, row, column, block, sum, b->with_squares ? squares : NULL, work);
        if (!b->whole)
            add_block(b, row, column, sum, squares);
        for (int64_t j = 0; b->whole && b->n_blocks > 1 && j < c1 - c0; j++) {
            all[j] = (block > 0 ? all[j] : 0.0) + sum[j];
            if (b->with_squares)
                all_squares[j] = (block > 0 ? all_squares[j] : 0.0) + squares[j];
        }
        if (stop(stop_ctx))
            return PT_E_STOPPED;
    }
    if (b->whole)
        finish_columns(b, row, c0, c1, b->n_blocks > 1 ? all : sum,
                       !b->with_squares  ? NULL
                       : b->n_blocks > 1 ? all_squares
                                         : squares);
    return PT_OK;
}

/* One block of draws of a column block, into its part. */
static pt_status sum_part(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pt_pullback *b = ctx;
    const int64_t unit = index / COUNT_OF_PARTS, block = b->first_block + index % COUNT_OF_PARTS;
    (void)stop, (void)stop_ctx;
    if (block < b->n_blocks)
        block_sum(b, b->wave->row0 + unit / b->n_columns, unit % b->n_columns, block,
                  b->parts + index * PT_COLUMN_BLOCK,
                  b->squares ? b->part_squares + index * PT_COLUMN_BLOCK : NULL, work);
    return PT_OK;
}

/* Few rows: blocks of draws side by side, then added in the order in which sum_column adds them. */
static pt_status sum_in_parts(pt_pullback *b, double cost) {
    const int64_t units = b->wave->n_rows * b->n_columns;
    b->parts = pt_zeros(units * COUNT_OF_PARTS * PT_COLUMN_BLOCK, sizeof(double));
    b->part_squares =
        b->squares ? pt_zeros(units * COUNT_OF_PARTS * PT_COLUMN_BLOCK, sizeof(double)) : NULL;
    pt_status status = PT_OK;
    if (!b->parts || (b->squares && !b->part_squares))
        status = pt_fail(b->call->err, PT_E_NOMEM, -1, "no memory for partial sums");
    for (b->first_block = 0; b->first_block < b->n_blocks && status == PT_OK;
         b->first_block += COUNT_OF_PARTS) {
        status = pt_run(b->call, units * COUNT_OF_PARTS, cost, sum_part, b);
        for (int64_t i = 0; i < units * COUNT_OF_PARTS && status == PT_OK; i++) {
            const int64_t unit = i / COUNT_OF_PARTS;
            if (b->first_block + i % COUNT_OF_PARTS < b->n_blocks)
                add_block(b, b->wave->row0 + unit / b->n_columns, unit % b->n_columns,
                          b->parts + i * PT_COLUMN_BLOCK,
                          b->squares ? b->part_squares + i * PT_COLUMN_BLOCK : NULL);
        }
    }
    free(b->parts);
    free(b->part_squares);
    b->parts = b->part_squares = NULL;
    return status;
}

static pt_status sum_columns(pt_pullback *b, const pt_wave *wave) {
    b->wave = wave;
    b->n_blocks = (wave->n_m + PT_SAMPLE_BLOCK - 1) / PT_SAMPLE_BLOCK;
    b->n_columns = (b->call->job->n + PT_COLUMN_BLOCK - 1) / PT_COLUMN_BLOCK;
    const double cost = (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->n;
    const int64_t units = wave->n_rows * b->n_columns;
    if (pt_worthwhile(b->call, cost) > 1 && units < 4 * b->call->n_threads && b->n_blocks > 1)
        return sum_in_parts(b, cost);
    return pt_run(b->call, units, cost, sum_column, b);
}

static pt_status vjp_wave(void *ctx, const pt_wave *wave) {
    const pt_status status = pt_weigh_draws(ctx, wave);
    return status == PT_OK ? sum_columns(ctx, wave) : status;
}

static pt_status vjp_end(void *ctx, int64_t row0, int64_t n_rows) {
    const pt_pullback *b = ctx;
    const int64_t n = b->call->job->n;
    for (int64_t r = 0; r < n_rows && !b->whole; r++)
        for (int64_t c = 0; c < n; c += PT_COLUMN_BLOCK)
            finish_columns(b, row0 + r, c, c + PT_COLUMN_BLOCK < n ? c + PT_COLUMN_BLOCK : n,
                           b->sums + r * n + c, b->squares ? b->squares + r * n + c : NULL);
    return PT_OK;
}

/* Do waves have all draws of a row, and rows columns enough, so that each column may be finished in its task? */
static int finishes_columns(const pt_call *call, const pt_consumer *want) {
    const pt_job *job = call->job;
    const double draw =
        (double)want->draw_bytes + (job->codes ? 0 : 4.0 * (double)job->problem.code_len);
    return want->end == vjp_end && job->n >= (int64_t)4 * PT_COLUMN_BLOCK * call->n_threads &&
           draw * (double)job->n_samples <= (double)job->memory_limit / 2;
}

/* Allocate what `b` needs, walk, free. */
pt_status pt_pull_back(pt_job *job, pt_pullback *b, pt_consumer *want, int with_squares,
                       int with_weights, int with_constant, pt_error *err) {
    pt_call call;
    pt_status status = pt_call_begin_with(&call, job, job->n_samples, b->least_work, err);
    const pt_problem *p = &job->problem;
    b->call = &call;
    b->job = job;
    want->ctx = b;
    want->codes = 1;
    want->draw_bytes = 16;
    b->with_squares = with_squares;
    b->whole = status == PT_OK && finishes_columns(&call, want);
    const int64_t sums = b->whole ? 0 : b->width;
    want->row_bytes = (size_t)(8 * sums * (1 + with_squares) + 4 * p->code_len + 64);
    const int64_t fit = job->memory_limit / 2 / (int64_t)want->row_bytes;
    const int64_t run = fit < 1 ? 1 : fit < job->n_rows ? fit : job->n_rows;
    if (status == PT_OK) {
        b->sums = b->whole ? NULL : pt_zeros(run * sums, sizeof(double));
        b->squares = with_squares && !b->whole ? pt_zeros(run * sums, sizeof(double)) : NULL;
        b->constant = with_constant ? pt_zeros(run, sizeof(double)) : NULL;
        b->plain = b->base.of_plain != 0 ? pt_zeros(run * p->code_len, sizeof(int32_t)) : NULL;
        const double draws = (double)job->n_samples * (double)run;
        const double most =
            draws * 32 > (double)job->memory_limit ? (double)job->memory_limit / 32 : draws;
        b->weights =
            with_weights ? pt_zeros((int64_t)most + PT_SAMPLE_BLOCK, sizeof(double)) : NULL;
        if ((!b->whole && (!b->sums || (with_squares && !b->squares))) ||
            (with_constant && !b->constant) || (b->base.of_plain != 0 && !b->plain) ||
            (with_weights && !b->weights))
            status =
                pt_fail(err, PT_E_NOMEM, -1, "no memory for the sums of %lld rows", (long long)run);
    }
    if (status == PT_OK)
        status = pt_walk(&call, want);
    free(b->sums);
    free(b->squares);
    free(b->constant);
    free(b->plain);
    free(b->weights);
    pt_call_end(&call);
    return status;
}

pt_status pt_vjp(pt_job *job, const void *g, void *grad, void *grad_error, pt_error *err) {
    if (pt_is_refined(job))
        return pt_vjp_refined(job, g, grad, grad_error, err);
    pt_pullback b = { .width = job->n,
                      .base = pt_make_baseline(job),
                      .g = g,
                      .what = PT_SUM_SCORE,
                      .result = grad,
                      .result_error = grad_error };
    pt_consumer want = { .begin = pt_begin_sums, .wave = vjp_wave, .end = vjp_end };
    return pt_pull_back(job, &b, &want, grad_error != NULL, 1, 1, err);
}

static pt_status value_grad_wave(void *ctx, const pt_wave *wave) {
    return sum_columns(ctx, wave);
}

pt_status pt_value_grad(pt_job *job, const void *target, void *grad, pt_error *err) {
    pt_pullback b = {
        .width = job->n, .base = { 1, 0, 0, 0 }, .what = PT_SUM_VALUE_GRAD, .result = grad
    };
    pt_consumer want = {
        .begin = pt_begin_sums, .wave = value_grad_wave, .end = vjp_end, .target = target
    };
    return pt_pull_back(job, &b, &want, 0, 0, 0, err);
}
/* ---- sums over coordinates, a number for each draw ---- */

static pt_status dot_block(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pt_pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_wave *w = b->wave;
    const int64_t row = w->row0 + index / b->n_blocks, m0 = index % b->n_blocks * PT_SAMPLE_BLOCK;
    const int64_t m1 = m0 + PT_SAMPLE_BLOCK < w->n_m ? m0 + PT_SAMPLE_BLOCK : w->n_m;
    const void *t = b->t ? pt_real_row(job, b->t, row, job->n) : NULL;
    double out[PT_SAMPLE_BLOCK], *x = b->weights + (row - w->row0) * w->n_m + m0;
    (void)stop, (void)stop_ctx;
    b->call->kernels->draw_sum(b->dot, job, w, row, w->m0 + m0, w->m0 + m1, t, out, work);
    for (int64_t m = 0; m < m1 - m0; m++)
        x[m] = b->g ? x[m] * out[m] : out[m];
    return PT_OK;
}

pt_status pt_dot_draws(pt_pullback *b, const pt_wave *wave) {
    b->wave = wave;
    b->n_blocks = (wave->n_m + PT_SAMPLE_BLOCK - 1) / PT_SAMPLE_BLOCK;
    const double cost = (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->n;
    return pt_run(b->call, wave->n_rows * b->n_blocks, cost, dot_block, b);
}

/* Weights (if there is a cotangent) times the draws' sums, added up. */
static pt_status scalar_wave(void *ctx, const pt_wave *wave) {
    pt_pullback *b = ctx;
    pt_status status = b->g ? pt_weigh_draws(b, wave) : PT_OK;
    if (status == PT_OK)
        status = pt_dot_draws(b, wave);
    for (int64_t i = 0; status == PT_OK && i < wave->n_rows * wave->n_m; i++)
        b->sums[wave->row0 - b->row0 + i / wave->n_m] += b->weights[i];
    return status;
}

static pt_status scalar_end(void *ctx, int64_t row0, int64_t n_rows) {
    pt_pullback *b = ctx;
    for (int64_t r = 0; r < n_rows; r++)
        b->scalar[row0 + r] = b->sums[r] / (double)b->call->job->n_samples;
    return PT_OK;
}

pt_status pt_vjp_epsilon(pt_job *job, const void *g, double *out, pt_error *err) {
    pt_pullback b = {
        .width = 1, .base = pt_make_baseline(job), .g = g, .dot = PT_DOT_EPSILON, .scalar = out
    };
    pt_consumer want = { .begin = pt_begin_sums, .wave = scalar_wave, .end = scalar_end };
    return pt_pull_back(job, &b, &want, 0, 1, 1, err);
}

pt_status pt_value_epsilon(pt_job *job, double *out, pt_error *err) {
    pt_pullback b = { .width = 1, .base = { 1, 0, 0, 0 }, .dot = PT_DOT_VALUE_EPS, .scalar = out };
    pt_consumer want = { .begin = pt_begin_sums, .wave = scalar_wave, .end = scalar_end };
    return pt_pull_back(job, &b, &want, 0, 1, 0, err);
}
