/* forward: draw, solve, add up. */
#include "pullback.h"
#include "real.h"

#include <stdlib.h>

#define COUNT_OF_PARTS 8 /* pieces that one row's draws are cut into where there are few rows */

typedef struct {
    pt_call *call;
    const pt_wave *wave;
    double *y_sum;  /* run rows x y_size; NULL: solutions are counted in job->y_mean itself */
    double *values; /* run rows x 4: pivot, sum, sum of squares, clipped */
    int64_t row0;
    int64_t parts;     /* pieces that each row's draws are cut into */
    double *part_sums; /* run rows x parts x y_size, where parts > 1 */
    int first, last;   /* is the wave its rows' first, their last? */
    const pt_forward_out *out;
} forward;

static void *mean_row(const pt_job *job, int64_t row) {
    const size_t real = job->f64 ? sizeof(double) : sizeof(float);
    return (char *)job->y_mean + (size_t)(row * job->problem.y_size) * real;
}

static pt_status forward_begin(void *ctx, int64_t row0, int64_t n_rows) {
    forward *f = ctx;
    const pt_job *job = f->call->job;
    f->row0 = row0;
    if (f->y_sum)
        memset(f->y_sum, 0, (size_t)(n_rows * job->problem.y_size) * sizeof(double));
    memset(f->values, 0, (size_t)n_rows * 4 * sizeof(double));
    return PT_OK;
}

/* A piece of a row's draws. */
static pt_status add_part(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    forward *f = ctx;
    const pt_job *job = f->call->job;
    const pt_wave *w = f->wave;
    const pt_problem *p = &job->problem;
    const int64_t row = w->row0 + index / f->parts, part = index % f->parts;
    double *sum = f->parts > 1 ? f->part_sums + index * p->y_size
                  : f->y_sum   ? f->y_sum + (row - f->row0) * p->y_size
                               : NULL;
    (void)work;
    if (!sum && f->first && !f->out->y_is_zero)
        memset(mean_row(job, row), 0, (size_t)p->y_size * (job->f64 ? 8 : 4));
    for (int64_t m = w->n_m * part / f->parts; m < w->n_m * (part + 1) / f->parts; m++) {
        const int32_t *code = pt_wave_code(w, p->code_len, row, w->m0 + m);
        if (sum)
            f->call->kernels->code_add(p, code, 1.0, sum);
        else
            f->call->kernels->code_count(p, code, mean_row(job, row));
        if (m % 64 == 0 && stop(stop_ctx))
            return PT_E_STOPPED;
    }
    const int whole = f->out->y_is_zero && f->first && f->last;
    if (whole && !sum && job->n_samples > 1)
        f->call->kernels->code_divide(p, pt_wave_code(w, p->code_len, row, 0), job->n_samples,
                                      (double)job->n_samples, mean_row(job, row));
    else if (!f->y_sum && f->parts == 1 && f->last && job->n_samples > 1)
        f->call->kernels->divide(p->y_size, (double)job->n_samples, mean_row(job, row));
    return PT_OK;
}

/* Put the pieces of each row together. */
static void add_pieces(forward *f, const pt_wave *wave) {
    const pt_job *job = f->call->job;
    const int64_t size = job->problem.y_size;
    for (int64_t r = 0; r < wave->n_rows; r++) {
        double *sum = f->part_sums + r * f->parts * size;
        if (f->y_sum)
            for (int64_t i = 0; i < f->parts * size; i++)
                f->y_sum[(wave->row0 - f->row0 + r) * size + i % size] += sum[i];
        else {
            for (int64_t i = size; i < f->parts * size; i++)
                sum[i % size] += sum[i];
            for (int64_t j = 0; j < size && !f->first; j++)
                sum[j] += pt_real_at(job, job->y_mean, (wave->row0 + r) * size + j);
            for (int64_t j = 0; j < size && f->last; j++)
                sum[j] /= (double)job->n_samples;
            pt_to_real(job, sum, size, job->y_mean, (wave->row0 + r) * size);
        }
    }
}

/* Sums of 0/1 or integer solutions are exact, so their pieces may be added in any grouping. */
static pt_status add_solutions(forward *f, const pt_wave *wave) {
    const pt_job *job = f->call->job;
    const pt_problem *p = &job->problem;
    f->wave = wave;
    f->parts = 1;
    f->first = wave->m0 == 0;
    f->last = wave->m0 + wave->n_m == job->n_samples;
    const double additions = (double)wave->n_m * (double)p->code_len;
    if (wave->n_rows < 2 * f->call->n_threads && f->call->n_threads > 1 &&
        p->code_kind != PT_CODE_REAL && additions > 4.0 * COUNT_OF_PARTS * (double)p->y_size) {
        f->parts = COUNT_OF_PARTS;
        f->part_sums = pt_zeros(wave->n_rows * f->parts * p->y_size, sizeof(double));
        if (!f->part_sums)
            f->parts = 1;
    }
    const double cost = (double)wave->n_rows * ((double)wave->n_m * (double)p->code_len +
                                                (f->y_sum ? 0 : 0.25 * (double)p->y_size));
    pt_status status = pt_run(f->call, wave->n_rows * f->parts, cost, add_part, f);
    if (f->parts > 1 && status == PT_OK)
        add_pieces(f, wave);
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
    return add_solutions(f, wave);
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
            pt_to_real(job, sum, size, job->y_mean, (row0 + r) * size);
        const double *v = f->values + r * 4;
        if (f->out->value)
            f->out->value[row0 + r] = v[0] + v[1] / units;
        if (f->out->value_stderr)
            f->out->value_stderr[row0 + r] = pt_standard_error(v[1], v[2], units);
        if (!f->out->clipped)
            continue;
        int64_t open = 0;
        for (int64_t j = 0; j < job->n; j++)
            open += pt_real_at(job, job->theta, (row0 + r) * job->n + j) > -INFINITY;
        f->out->clipped[row0 + r] = open ? v[3] / (m * (double)open) : 0;
    }
    return PT_OK;
}

/* Keep the mean, in y where that is there, and the codes if they fit. */
static pt_status allocate_kept(pt_job *job, void *y, pt_error *err) {
    const pt_problem *p = &job->problem;
    size_t draws, bytes;
    const size_t real = job->f64 ? sizeof(double) : sizeof(float);
    pt_release(job);
    if (!pt_mul_size(job->n_rows, p->y_size, &bytes) ||
        !(job->y_mean = y ? y : pt_block((int64_t)bytes, real)))
        return pt_fail(err, PT_E_NOMEM, -1, "no memory for %lld solutions of %lld entries",
                       (long long)job->n_rows, (long long)p->y_size);
    job->y_is_callers = y != NULL;
    if (pt_mul_size(job->n_rows, job->n_samples, &draws) &&
        pt_mul_size((int64_t)draws, p->code_len, &bytes) && bytes <= (size_t)INT64_MAX / 4 &&
        (int64_t)(bytes * 4) <= job->memory_limit && bytes > 0)
        job->codes = pt_block((int64_t)bytes, sizeof *job->codes);
    return PT_OK;
}

int pt_y_is_sparse(const pt_job *job) {
    const pt_problem *p = &job->problem;
    return p->code_kind == PT_CODE_INDEX && p->y_size <= INT32_MAX &&
           job->n_samples <= PT_COUNTABLE &&
           (double)job->n_samples * (double)p->code_len <= 0.125 * (double)p->y_size;
}

int pt_give_y(pt_job *job) {
    if (!job->codes || !job->y_is_callers || !pt_y_is_sparse(job) || pt_is_refined(job))
        return 0;
    job->y_mean = NULL;
    job->y_is_callers = 0;
    return 1;
}

pt_status pt_forward(pt_job *job, const pt_forward_out *out, pt_error *err) {
    const pt_problem *p = &job->problem;
    pt_status status = allocate_kept(job, out->y, err);
    if (status != PT_OK)
        return status;
    pt_call call;
    status = pt_call_begin(&call, job, job->n_samples, err);
    forward f = { .call = &call, .out = out };
    const int counted = (p->code_kind == PT_CODE_INDEX || p->code_kind == PT_CODE_BITS) &&
                        job->n_samples <= PT_COUNTABLE;
    const int64_t row_bytes = 8 * ((counted ? 0 : p->y_size) + 4);
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
        f.y_sum = counted ? NULL : pt_zeros(run * p->y_size, sizeof(double));
        f.values = pt_zeros(run * 4, sizeof(double));
        if ((!counted && !f.y_sum) || !f.values)
            status =
                pt_fail(err, PT_E_NOMEM, -1, "no memory for the sums of %lld rows", (long long)run);
    }
    if (status == PT_OK)
        status = pt_walk_and_keep(&call, &want);
    free(f.y_sum);
    free(f.values);
    pt_call_end(&call);
    return status;
}
