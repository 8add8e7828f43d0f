/* directional: J t from the jumps of y* across a tangent (MATH, section 4).
 *
 * With h_j = t_j / (epsilon sigma_j), h^ = h / ||h|| and z_perp the noise across h^, r a Rayleigh draw,
 *   J t = ||h|| / sqrt(2 pi) E[y*(theta + epsilon sigma (z_perp + r h^)) - y*(theta + epsilon sigma (z_perp - r h^))].
 * A job of its own draws and solves: pair m are its draws 2m and 2m + 1.
 */
#include "engine.h"
#include "real.h"

#include <stdlib.h>

#define DIRECTIONAL_DOMAIN 0x64697265u /* of the key */
#define ONE_OVER_ROOT_2_PI 0.3989422804014327

typedef struct {
    pt_call *call;
    const pt_wave *wave;
    const double *length; /* n_rows: ||h|| */
    int64_t row0;
    double *sums, *squares; /* run rows x y_size; squares or NULL */
    void *out, *out_error;
} directional;

/* Fill the unit direction of a row; returns ||h||. */
static double aim(const pt_job *job, int64_t row, const void *tangent, int symmetric,
                  double *widths, double *direction) {
    const pt_kernels *kernels = job->kernels;
    double square = 0;
    kernels->score_widths(job, row, 0, job->n, widths);
    for (int64_t j = 0; j < job->n; j++)
        direction[j] = widths[j] == 0 ? 0 : pt_real_at(job, tangent, row * job->n + j);
    if (symmetric)
        pt_shorten(job, row, widths, direction);
    for (int64_t j = 0; j < job->n; j++) {
        direction[j] *= widths[j];
        square += direction[j] * direction[j];
    }
    const double length = sqrt(square);
    for (int64_t j = 0; length > 0 && j < job->n; j++)
        direction[j] /= length;
    return length;
}

static pt_status directional_begin(void *ctx, int64_t row0, int64_t n_rows) {
    directional *b = ctx;
    const size_t bytes = (size_t)(n_rows * b->call->job->problem.y_size) * sizeof(double);
    b->row0 = row0;
    memset(b->sums, 0, bytes);
    if (b->squares)
        memset(b->squares, 0, bytes);
    return PT_OK;
}

static pt_status jump_row(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    directional *b = ctx;
    const pt_wave *w = b->wave;
    const pt_kernels *kernels = b->call->kernels;
    const pt_problem *p = &b->call->job->problem;
    const int64_t row = w->row0 + index, at = (row - b->row0) * p->y_size;
    double *sum = b->sums + at, *jump = b->squares ? work : sum;
    for (int64_t m = 0; m < w->n_m; m += 2) {
        if (b->squares)
            memset(jump, 0, (size_t)p->y_size * sizeof(double));
        kernels->code_add(p, pt_wave_code(w, p->code_len, row, w->m0 + m), 1.0, jump);
        kernels->code_add(p, pt_wave_code(w, p->code_len, row, w->m0 + m + 1), -1.0, jump);
        for (int64_t i = 0; b->squares && i < p->y_size; i++) {
            sum[i] += jump[i];
            b->squares[at + i] += jump[i] * jump[i];
        }
        if (m % 64 == 0 && stop(stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static pt_status directional_wave(void *ctx, const pt_wave *wave) {
    directional *b = ctx;
    const double cost =
        (double)wave->n_rows * (double)wave->n_m * (double)b->call->job->problem.code_len;
    b->wave = wave;
    return pt_run(b->call, wave->n_rows, cost, jump_row, b);
}

static pt_status directional_end(void *ctx, int64_t row0, int64_t n_rows) {
    const directional *b = ctx;
    const pt_job *job = b->call->job;
    const int64_t size = job->problem.y_size;
    const double pairs = (double)(job->n_samples / 2);
    for (int64_t i = 0; i < n_rows * size; i++) {
        const double factor = b->length[row0 + i / size] * ONE_OVER_ROOT_2_PI;
        if (b->squares)
            b->squares[i] = factor * pt_standard_error(b->sums[i], b->squares[i], pairs);
        b->sums[i] *= factor / pairs;
    }
    pt_to_real(job, b->sums, n_rows * size, b->out, row0 * size);
    if (b->squares)
        pt_to_real(job, b->squares, n_rows * size, b->out_error, row0 * size);
    return PT_OK;
}

/* Draw, solve and add up in the directed job. */
static pt_status walk_along(pt_job *job, directional *b, pt_error *err) {
    pt_call call;
    const int64_t size = job->problem.y_size;
    pt_status status =
        pt_call_begin_with(&call, job, job->n_samples, (size_t)size * sizeof(double), err);
    pt_consumer want = { .begin = directional_begin,
                         .wave = directional_wave,
                         .end = directional_end,
                         .ctx = b,
                         .codes = 1,
                         .row_bytes = (size_t)(16 * size) };
    const int64_t fit = job->memory_limit / 2 / (int64_t)want.row_bytes;
    const int64_t run = fit < 1 ? 1 : fit < job->n_rows ? fit : job->n_rows;
    b->call = &call;
    b->sums = pt_zeros(run * size, sizeof(double));
    b->squares = b->out_error ? pt_zeros(run * size, sizeof(double)) : NULL;
    if (status == PT_OK && (!b->sums || (b->out_error && !b->squares)))
        status =
            pt_fail(err, PT_E_NOMEM, -1, "no memory for the sums of %lld rows", (long long)run);
    if (status == PT_OK)
        status = pt_walk(&call, &want);
    free(b->sums);
    free(b->squares);
    pt_call_end(&call);
    return status;
}

pt_status pt_directional(pt_job *job, const void *t, int symmetric, void *out, void *out_error,
                         pt_error *err) {
    if (job->noise.kind != PT_NORMAL || job->noise.multiplicative)
        return pt_fail(err, PT_E_VALUE, -1,
                       "the directional estimator needs additive normal noise");
    if (job->n_samples > UINT32_MAX / 2)
        return pt_fail(err, PT_E_VALUE, -1,
                       "samples must be at most %lld for the directional estimator",
                       (long long)(UINT32_MAX / 2));
    pt_job own = *job;
    double *direction = pt_zeros(job->n_rows * job->n + job->n, sizeof(double));
    double *length = pt_zeros(job->n_rows, sizeof(double));
    pt_status status = PT_OK;
    if (!direction || !length)
        status =
            pt_fail(err, PT_E_NOMEM, -1, "no memory for %lld directions", (long long)job->n_rows);
    const uint64_t mode = pt_fp_enter();
    for (int64_t row = 0; status == PT_OK && row < job->n_rows; row++)
        length[row] =
            aim(job, row, t, symmetric, direction + job->n_rows * job->n, direction + row * job->n);
    pt_fp_leave(mode);
    own.codes = own.plain = NULL;
    own.y_mean = NULL;
    own.key = pt_key(job->key, 0, DIRECTIONAL_DOMAIN);
    own.n_samples = 2 * job->n_samples;
    own.strata_key = pt_key(own.key, 0, STRATA_DOMAIN);
    if (own.sampler == PT_ANTITHETIC)
        own.sampler = PT_IID; /* they are mirrored along the direction already */
    own.direction = direction;
    directional b = { .length = length, .out = out, .out_error = out_error };
    if (status == PT_OK)
        status = walk_along(&own, &b, err);
    free(direction);
    free(length);
    return status;
}
