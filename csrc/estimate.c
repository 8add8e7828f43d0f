/* estimate: the public calls that estimate from draws. Each is a consumer of the engine's walk. */
#include "engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF_PARTS 8 /* pieces that one row's draws are cut into where there are few rows */

/* ---- reals ---- */

static void to_real(const pt_job *job, const double *from, int64_t count, void *to, int64_t at) {
    if (job->f64)
        memcpy((double *)to + at, from, (size_t)count * sizeof(double));
    else
        for (int64_t i = 0; i < count; i++)
            ((float *)to)[at + i] = (float)from[i];
}

static double real_at(const pt_job *job, const void *x, int64_t i) {
    return job->f64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static const void *real_row(const pt_job *job, const void *x, int64_t row, int64_t length) {
    return (const char *)x + (size_t)(row * length) * (job->f64 ? sizeof(double) : sizeof(float));
}

/* Standard error of a mean of n values from their sum and sum of squares (about any pivot). */
static double standard_error(double sum, double squares, double n) {
    if (n < 2)
        return NAN;
    const double variance = (squares - sum * (sum / n)) / (n - 1);
    return sqrt(variance > 0 ? variance / n : 0);
}

/* ---- baselines: y_m - b_m = alpha y_m + kappa (y_m + y_mate) - of_plain y*(theta) - of_sum sum_m y_m ---- */

typedef struct {
    double alpha, kappa, of_plain, of_sum;
} baseline;

static baseline make_baseline(const pt_job *job) {
    const double m = (double)job->n_samples, pairs = m / 2;
    const int mirrored = job->sampler == PT_ANTITHETIC;
    switch (job->baseline) {
    case PT_SOLUTION:
        return (baseline){ 1, 0, 1, 0 };
    case PT_LOO: /* mean of the other draws, or of the other pairs' */
        return mirrored ? (baseline){ 1, 1 / (m - 2), 0, 1 / (m - 2) }
                        : (baseline){ m / (m - 1), 0, 0, 1 / (m - 1) };
    case PT_HYBRID: /* (y*(theta) + the others) over their number */
        return mirrored ? (baseline){ 1, 0.5 / pairs, 1 / pairs, 0.5 / pairs }
                        : (baseline){ (m + 1) / m, 0, 1 / m, 1 / m };
    default:
        return (baseline){ 1, 0, 0, 0 };
    }
}

/* ---- pt_forward ---- */

typedef struct {
    pt_call *call;
    const pt_wave *wave;
    double *y_sum;  /* run rows x y_size */
    double *values; /* run rows x 4: pivot, sum, sum of squares, clipped */
    int64_t row0;
    int64_t parts;     /* pieces that each row's draws are cut into */
    double *part_sums; /* run rows x parts x y_size, where parts > 1 */
    const pt_forward_out *out;
} forward;

static pt_status forward_begin(void *ctx, int64_t row0, int64_t n_rows) {
    forward *f = ctx;
    const pt_job *job = f->call->job;
    f->row0 = row0;
    if (f->y_sum)
        memset(f->y_sum, 0, (size_t)(n_rows * job->problem.y_size) * sizeof(double));
    memset(f->values, 0, (size_t)n_rows * 4 * sizeof(double));
    return PT_OK;
}

static pt_status add_part(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    forward *f = ctx;
    const pt_job *job = f->call->job;
    const pt_wave *w = f->wave;
    const pt_problem *p = &job->problem;
    const int64_t row = w->row0 + index / f->parts, part = index % f->parts;
    double *sum =
        f->parts > 1 ? f->part_sums + index * p->y_size : f->y_sum + (row - f->row0) * p->y_size;
    (void)work;
    for (int64_t m = w->n_m * part / f->parts; m < w->n_m * (part + 1) / f->parts; m++) {
        f->call->kernels->code_add(p, pt_wave_code(w, p->code_len, row, w->m0 + m), 1.0, sum);
        if (m % 64 == 0 && stop(stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

/* Sums of 0/1 or integer solutions are exact, so their pieces may be added in any grouping. */
static pt_status add_solutions(forward *f, const pt_wave *wave) {
    const pt_job *job = f->call->job;
    const pt_problem *p = &job->problem;
    f->wave = wave;
    f->parts = 1;
    if (wave->n_rows < 2 * f->call->n_threads && f->call->n_threads > 1 &&
        p->code_kind != PT_CODE_REAL && wave->n_m >= 64 && p->y_size <= 1 << 20) {
        f->parts = COUNT_OF_PARTS;
        f->part_sums = pt_zeros(wave->n_rows * f->parts * p->y_size, sizeof(double));
        if (!f->part_sums)
            f->parts = 1;
    }
    const double cost = (double)wave->n_rows * (double)wave->n_m * (double)p->code_len;
    pt_status status = pt_run(f->call, wave->n_rows * f->parts, cost, add_part, f);
    if (f->parts > 1)
        for (int64_t i = 0; i < wave->n_rows * f->parts; i++) {
            double *sum = f->y_sum + (wave->row0 - f->row0 + i / f->parts) * p->y_size;
            for (int64_t j = 0; j < p->y_size; j++)
                sum[j] += f->part_sums[i * p->y_size + j];
        }
    free(f->part_sums);
    f->part_sums = NULL;
    return status;
}

/* Sums about the first draw's value, over draws, or pairs of mirrored draws. */
static void add_values(forward *f, const pt_wave *wave) {
    const int64_t step = f->call->job->sampler == PT_ANTITHETIC ? 2 : 1;
    for (int64_t r = 0; r < wave->n_rows; r++) {
        double *v = f->values + (wave->row0 - f->row0 + r) * 4;
        const double *x = wave->values + r * wave->n_m;
        if (wave->m0 == 0)
            v[0] = x[0];
        for (int64_t m = 0; m < wave->n_m; m += step) {
            const double y = step == 2 ? 0.5 * (x[m] + x[m + 1]) - v[0] : x[m] - v[0];
            v[1] += y;
            v[2] += y * y;
        }
    }
}

static pt_status forward_wave(void *ctx, const pt_wave *wave) {
    forward *f = ctx;
    if (wave->values)
        add_values(f, wave);
    for (int64_t i = 0; wave->clipped && i < wave->n_rows * wave->n_m; i++)
        f->values[(wave->row0 - f->row0 + i / wave->n_m) * 4 + 3] += wave->clipped[i];
    return f->y_sum ? add_solutions(f, wave) : PT_OK;
}

static pt_status forward_end(void *ctx, int64_t row0, int64_t n_rows) {
    forward *f = ctx;
    const pt_job *job = f->call->job;
    const int64_t size = job->problem.y_size;
    const double m = (double)job->n_samples, units = job->sampler == PT_ANTITHETIC ? m / 2 : m;
    for (int64_t r = 0; r < n_rows; r++) {
        double *sum = f->y_sum ? f->y_sum + r * size : NULL;
        for (int64_t j = 0; sum && j < size; j++)
            sum[j] /= m;
        if (sum)
            to_real(job, sum, size, job->y_mean, (row0 + r) * size);
        const double *v = f->values + r * 4;
        if (f->out->value)
            f->out->value[row0 + r] = v[0] + v[1] / units;
        if (f->out->value_stderr)
            f->out->value_stderr[row0 + r] = standard_error(v[1], v[2], units);
        if (!f->out->clipped)
            continue;
        int64_t open = 0;
        for (int64_t j = 0; j < job->n; j++)
            open += real_at(job, job->theta, (row0 + r) * job->n + j) > -INFINITY;
        f->out->clipped[row0 + r] = open ? v[3] / (m * (double)open) : 0;
    }
    return PT_OK;
}

/* Keep the codes if they fit. */
static pt_status allocate_kept(pt_job *job, pt_error *err) {
    const pt_problem *p = &job->problem;
    size_t draws, bytes;
    const size_t real = job->f64 ? sizeof(double) : sizeof(float);
    pt_release(job);
    if (!pt_mul_size(job->n_rows, p->y_size, &bytes) ||
        !(job->y_mean = pt_zeros((int64_t)bytes, real)))
        return pt_fail(err, PT_E_NOMEM, -1, "no memory for %lld solutions of %lld entries",
                       (long long)job->n_rows, (long long)p->y_size);
    if (pt_mul_size(job->n_rows, job->n_samples, &draws) &&
        pt_mul_size((int64_t)draws, p->code_len, &bytes) && bytes <= (size_t)INT64_MAX / 4 &&
        (int64_t)(bytes * 4) <= job->memory_limit && bytes > 0)
        job->codes = aligned_alloc(64, (bytes * 4 + 127) & ~(size_t)63);
    return PT_OK;
}

pt_status pt_forward(pt_job *job, const pt_forward_out *out, pt_error *err) {
    const pt_problem *p = &job->problem;
    pt_status status = allocate_kept(job, err);
    if (status != PT_OK)
        return status;
    pt_call call;
    status = pt_call_begin(&call, job, job->n_samples, err);
    forward f = { .call = &call, .out = out };
    const int64_t row_bytes = 8 * (p->y_size + 4);
    pt_consumer want = { .begin = forward_begin,
                         .wave = forward_wave,
                         .end = forward_end,
                         .ctx = &f,
                         .row_bytes = (size_t)row_bytes,
                         .values = out->value != NULL,
                         .clipped = out->clipped != NULL && p->clipped,
                         .codes = 1,
                         .target = out->target };
    const int64_t fit = job->memory_limit / 2 / row_bytes;
    const int64_t run = fit < 1 ? 1 : fit < job->n_rows ? fit : job->n_rows;
    if (status == PT_OK) {
        f.y_sum = pt_zeros(run * p->y_size, sizeof(double));
        f.values = pt_zeros(run * 4, sizeof(double));
        if (!f.y_sum || !f.values)
            status =
                pt_fail(err, PT_E_NOMEM, -1, "no memory for the sums of %lld rows", (long long)run);
    }
    if (status == PT_OK)
        status = pt_walk_and_keep(&call, &want);
    if (status == PT_OK && out->y)
        memcpy(out->y, job->y_mean,
               (size_t)(job->n_rows * p->y_size) * (job->f64 ? sizeof(double) : sizeof(float)));
    free(f.y_sum);
    free(f.values);
    pt_call_end(&call);
    return status;
}

/* ---- what pullbacks share: weights of draws, sums by columns ---- */

typedef struct {
    pt_call *call;
    const pt_wave *wave;
    int64_t row0, width; /* of the run; entries of a row's sums */
    baseline base;
    const void *g, *t;      /* cotangent, tangent, or NULL */
    int32_t *plain;         /* run rows x code_len: y*(theta), where the baseline needs it */
    double *constant;       /* run rows: <b's constant part, g> */
    double *weights;        /* wave rows x n_m */
    double *sums, *squares; /* run rows x width */
    pt_column_sum what;
    pt_draw_sum dot;
    int64_t n_columns, n_blocks; /* units of a wave */
    int64_t first_block;         /* of a group of blocks summed side by side */
    double *parts, *part_squares;
    void *result, *result_error;
    double *scalar;
} pullback;

/* y*(theta) of the run's rows and <of_plain y*(theta) + of_sum sum_m y_m, g>. */
static pt_status baseline_constants(pullback *b, int64_t row0, int64_t n_rows) {
    const pt_job *job = b->call->job;
    const pt_problem *p = &job->problem;
    if (b->plain) {
        pt_status status = pt_solve_plain(b->call, row0, n_rows, b->plain);
        if (status != PT_OK)
            return status;
    }
    for (int64_t r = 0; b->constant && r < n_rows; r++) {
        const void *g = real_row(job, b->g, row0 + r, p->y_size);
        double sum = 0;
        for (int64_t j = 0; b->base.of_sum != 0 && j < p->y_size; j++)
            sum += real_at(job, job->y_mean, (row0 + r) * p->y_size + j) * real_at(job, g, j);
        sum *= b->base.of_sum * (double)job->n_samples;
        if (b->plain)
            sum += b->base.of_plain * b->call->kernels->code_dot(p, b->plain + r * p->code_len, g);
        b->constant[r] = sum;
    }
    return PT_OK;
}

static pt_status begin_sums(void *ctx, int64_t row0, int64_t n_rows) {
    pullback *b = ctx;
    b->row0 = row0;
    memset(b->sums, 0, (size_t)(n_rows * b->width) * sizeof(double));
    if (b->squares)
        memset(b->squares, 0, (size_t)(n_rows * b->width) * sizeof(double));
    return baseline_constants(b, row0, n_rows);
}

/* One block of draws of a row: <y_m - b_m, g>. */
static pt_status weigh_block(void *ctx, int64_t index, void *work, pt_poll_fn stop,
                             void *stop_ctx) {
    pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_problem *p = &job->problem;
    const pt_wave *w = b->wave;
    const int64_t row = w->row0 + index / b->n_blocks, m0 = index % b->n_blocks * PT_SAMPLE_BLOCK;
    const int64_t m1 = m0 + PT_SAMPLE_BLOCK < w->n_m ? m0 + PT_SAMPLE_BLOCK : w->n_m;
    const void *g = real_row(job, b->g, row, p->y_size);
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

static pt_status weigh_draws(pullback *b, const pt_wave *wave) {
    b->wave = wave;
    b->n_blocks = (wave->n_m + PT_SAMPLE_BLOCK - 1) / PT_SAMPLE_BLOCK;
    const double cost =
        (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->problem.code_len;
    return pt_run(b->call, wave->n_rows * b->n_blocks, cost, weigh_block, b);
}

static void block_sum(pullback *b, int64_t row, int64_t column, int64_t block, double *sum,
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

static void add_block(pullback *b, int64_t row, int64_t column, const double *sum,
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

/* A column block of a row, all of its blocks of draws in order. */
static pt_status sum_column(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pullback *b = ctx;
    const int64_t row = b->wave->row0 + index / b->n_columns, column = index % b->n_columns;
    double sum[PT_COLUMN_BLOCK], squares[PT_COLUMN_BLOCK];
    for (int64_t block = 0; block < b->n_blocks; block++) {
        block_sum(b, row, column, block, sum, b->squares ? squares : NULL, work);
        add_block(b, row, column, sum, squares);
        if (stop(stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

/* One block of draws of a column block, into its part. */
static pt_status sum_part(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pullback *b = ctx;
    const int64_t unit = index / COUNT_OF_PARTS, block = b->first_block + index % COUNT_OF_PARTS;
    (void)stop, (void)stop_ctx;
    if (block < b->n_blocks)
        block_sum(b, b->wave->row0 + unit / b->n_columns, unit % b->n_columns, block,
                  b->parts + index * PT_COLUMN_BLOCK,
                  b->squares ? b->part_squares + index * PT_COLUMN_BLOCK : NULL, work);
    return PT_OK;
}

/* Few rows: blocks of draws side by side, then added in the order in which sum_column adds them. */
static pt_status sum_in_parts(pullback *b, double cost) {
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

static pt_status sum_columns(pullback *b, const pt_wave *wave) {
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
    const pt_status status = weigh_draws(ctx, wave);
    return status == PT_OK ? sum_columns(ctx, wave) : status;
}

/* Sums to means: times 1 / width_j (score), over the number of draws. */
static pt_status vjp_end(void *ctx, int64_t row0, int64_t n_rows) {
    pullback *b = ctx;
    const pt_job *job = b->call->job;
    const double m = (double)job->n_samples, units = job->sampler == PT_ANTITHETIC ? m / 2 : m;
    double *widths = pt_zeros(job->n, sizeof(double));
    if (!widths)
        return pt_fail(b->call->err, PT_E_NOMEM, -1, "no memory for a row");
    for (int64_t r = 0; r < n_rows; r++) {
        double *sum = b->sums + r * job->n, *squares = b->squares ? b->squares + r * job->n : NULL;
        if (b->what == PT_SUM_SCORE)
            b->call->kernels->score_widths(job, row0 + r, widths);
        for (int64_t j = 0; j < job->n; j++) {
            const double width = b->what == PT_SUM_SCORE ? widths[j] : job->problem.sign;
            if (squares)
                squares[j] = fabs(width) * standard_error(sum[j] * (units / m), squares[j], units);
            sum[j] = width == 0 ? 0 : sum[j] / m * width;
        }
        to_real(job, sum, job->n, b->result, (row0 + r) * job->n);
        if (squares)
            to_real(job, squares, job->n, b->result_error, (row0 + r) * job->n);
    }
    free(widths);
    return PT_OK;
}

/* Allocate what `b` needs, walk, free. */
static pt_status pull_back(pt_job *job, pullback *b, pt_consumer *want, int with_squares,
                           int with_weights, int with_constant, pt_error *err) {
    pt_call call;
    pt_status status = pt_call_begin(&call, job, job->n_samples, err);
    const pt_problem *p = &job->problem;
    b->call = &call;
    want->ctx = b;
    want->codes = 1;
    want->draw_bytes = 16;
    want->row_bytes = (size_t)(8 * b->width * (1 + with_squares) + 4 * p->code_len + 64);
    const int64_t fit = job->memory_limit / 2 / (int64_t)want->row_bytes;
    const int64_t run = fit < 1 ? 1 : fit < job->n_rows ? fit : job->n_rows;
    if (status == PT_OK) {
        b->sums = pt_zeros(run * b->width, sizeof(double));
        b->squares = with_squares ? pt_zeros(run * b->width, sizeof(double)) : NULL;
        b->constant = with_constant ? pt_zeros(run, sizeof(double)) : NULL;
        b->plain = b->base.of_plain != 0 ? pt_zeros(run * p->code_len, sizeof(int32_t)) : NULL;
        const double draws = (double)job->n_samples * (double)run;
        const double most =
            draws * 32 > (double)job->memory_limit ? (double)job->memory_limit / 32 : draws;
        b->weights =
            with_weights ? pt_zeros((int64_t)most + PT_SAMPLE_BLOCK, sizeof(double)) : NULL;
        if (!b->sums || (with_squares && !b->squares) || (with_constant && !b->constant) ||
            (b->base.of_plain != 0 && !b->plain) || (with_weights && !b->weights))
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
    pullback b = { .width = job->n,
                   .base = make_baseline(job),
                   .g = g,
                   .what = PT_SUM_SCORE,
                   .result = grad,
                   .result_error = grad_error };
    pt_consumer want = { .begin = begin_sums, .wave = vjp_wave, .end = vjp_end };
    return pull_back(job, &b, &want, grad_error != NULL, 1, 1, err);
}

static pt_status value_grad_wave(void *ctx, const pt_wave *wave) {
    return sum_columns(ctx, wave);
}

pt_status pt_value_grad(pt_job *job, const void *target, void *grad, pt_error *err) {
    pullback b = {
        .width = job->n, .base = { 1, 0, 0, 0 }, .what = PT_SUM_VALUE_GRAD, .result = grad
    };
    pt_consumer want = {
        .begin = begin_sums, .wave = value_grad_wave, .end = vjp_end, .target = target
    };
    return pull_back(job, &b, &want, 0, 0, 0, err);
}

/* ---- sums over coordinates, a number for each draw ---- */

static pt_status dot_block(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_wave *w = b->wave;
    const int64_t row = w->row0 + index / b->n_blocks, m0 = index % b->n_blocks * PT_SAMPLE_BLOCK;
    const int64_t m1 = m0 + PT_SAMPLE_BLOCK < w->n_m ? m0 + PT_SAMPLE_BLOCK : w->n_m;
    const void *t = b->t ? real_row(job, b->t, row, job->n) : NULL;
    double out[PT_SAMPLE_BLOCK], *x = b->weights + (row - w->row0) * w->n_m + m0;
    (void)stop, (void)stop_ctx;
    b->call->kernels->draw_sum(b->dot, job, w, row, w->m0 + m0, w->m0 + m1, t, out, work);
    for (int64_t m = 0; m < m1 - m0; m++)
        x[m] = b->g ? x[m] * out[m] : out[m];
    return PT_OK;
}

static pt_status dot_draws(pullback *b, const pt_wave *wave) {
    b->wave = wave;
    b->n_blocks = (wave->n_m + PT_SAMPLE_BLOCK - 1) / PT_SAMPLE_BLOCK;
    const double cost = (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->n;
    return pt_run(b->call, wave->n_rows * b->n_blocks, cost, dot_block, b);
}

/* Weights (if there is a cotangent) times the draws' sums, added up. */
static pt_status scalar_wave(void *ctx, const pt_wave *wave) {
    pullback *b = ctx;
    pt_status status = b->g ? weigh_draws(b, wave) : PT_OK;
    if (status == PT_OK)
        status = dot_draws(b, wave);
    for (int64_t i = 0; status == PT_OK && i < wave->n_rows * wave->n_m; i++)
        b->sums[wave->row0 - b->row0 + i / wave->n_m] += b->weights[i];
    return status;
}

static pt_status scalar_end(void *ctx, int64_t row0, int64_t n_rows) {
    pullback *b = ctx;
    for (int64_t r = 0; r < n_rows; r++)
        b->scalar[row0 + r] = b->sums[r] / (double)b->call->job->n_samples;
    return PT_OK;
}

pt_status pt_vjp_epsilon(pt_job *job, const void *g, double *out, pt_error *err) {
    pullback b = {
        .width = 1, .base = make_baseline(job), .g = g, .dot = PT_DOT_EPSILON, .scalar = out
    };
    pt_consumer want = { .begin = begin_sums, .wave = scalar_wave, .end = scalar_end };
    return pull_back(job, &b, &want, 0, 1, 1, err);
}

pt_status pt_value_epsilon(pt_job *job, double *out, pt_error *err) {
    pullback b = { .width = 1, .base = { 1, 0, 0, 0 }, .dot = PT_DOT_VALUE_EPS, .scalar = out };
    pt_consumer want = { .begin = begin_sums, .wave = scalar_wave, .end = scalar_end };
    return pull_back(job, &b, &want, 0, 1, 0, err);
}

/* ---- pt_jvp: sum_m y_m (alpha t_m + kappa (t_m + t_mate)) - (constant part of b) sum_m t_m ---- */

static pt_status jvp_row(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    pullback *b = ctx;
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
    pullback *b = ctx;
    pt_status status = dot_draws(b, wave);
    const double cost =
        (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->problem.code_len;
    return status == PT_OK ? pt_run(b->call, wave->n_rows, cost, jvp_row, b) : status;
}

static pt_status jvp_end(void *ctx, int64_t row0, int64_t n_rows) {
    pullback *b = ctx;
    const pt_job *job = b->call->job;
    const pt_problem *p = &job->problem;
    const double m = (double)job->n_samples;
    for (int64_t r = 0; r < n_rows; r++) {
        double *sum = b->sums + r * b->width;
        const double total = sum[p->y_size];
        for (int64_t i = 0; i < p->y_size; i++)
            sum[i] -=
                b->base.of_sum * m * real_at(job, job->y_mean, (row0 + r) * p->y_size + i) * total;
        if (b->plain)
            b->call->kernels->code_add(p, b->plain + r * p->code_len, -b->base.of_plain * total,
                                       sum);
        for (int64_t i = 0; i < p->y_size; i++)
            sum[i] /= m;
        to_real(job, sum, p->y_size, b->result, (row0 + r) * p->y_size);
    }
    return PT_OK;
}

pt_status pt_jvp(pt_job *job, const void *t, void *dy, pt_error *err) {
    pullback b = { .width = job->problem.y_size + 1,
                   .base = make_baseline(job),
                   .t = t,
                   .dot = PT_DOT_SCORE,
                   .result = dy };
    pt_consumer want = { .begin = begin_sums, .wave = jvp_wave, .end = jvp_end };
    return pull_back(job, &b, &want, 0, 1, 0, err);
}

/* ---- pt_jacobian ---- */

static pt_status jacobian_column(void *ctx, int64_t index, void *work, pt_poll_fn stop,
                                 void *stop_ctx) {
    pullback *b = ctx;
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
    pullback *b = ctx;
    b->wave = wave;
    b->n_columns = (b->call->job->n + PT_COLUMN_BLOCK - 1) / PT_COLUMN_BLOCK;
    const double cost = (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->n * 4;
    return pt_run(b->call, wave->n_rows * b->n_columns, cost, jacobian_column, b);
}

static pt_status jacobian_end(void *ctx, int64_t row0, int64_t n_rows) {
    pullback *b = ctx;
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
        b->call->kernels->score_widths(job, row0 + r, widths);
        for (int64_t i = 0; i < p->y_size; i++)
            base[i] = b->base.of_sum * m * real_at(job, job->y_mean, (row0 + r) * p->y_size + i);
        if (b->plain)
            b->call->kernels->code_add(p, b->plain + r * p->code_len, b->base.of_plain, base);
        for (int64_t i = 0; i < p->y_size; i++)
            for (int64_t j = 0; j < job->n; j++) {
                double *x = sum + i * job->n + j;
                *x = widths[j] == 0 ? 0 : (*x - base[i] * total[j]) / m * widths[j];
            }
        to_real(job, sum, p->y_size * job->n, b->result, (row0 + r) * p->y_size * job->n);
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
    pullback b = { .width = (int64_t)size + job->n, .base = make_baseline(job), .result = jac };
    pt_consumer want = { .begin = begin_sums, .wave = jacobian_wave, .end = jacobian_end };
    return pull_back(job, &b, &want, 0, 0, 0, err);
}
