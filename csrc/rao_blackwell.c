/* rao_blackwell: y_eps and J^T g from blocks of Rao-Blackwell terms, added in order. */
#include "engine.h"
#include "real.h"

#include <stdlib.h>

#define MOST_PARTS 256        /* blocks summed side by side before they are added */
#define PARTS_BYTES (8 << 20) /* and about so much memory for them */

typedef struct {
    pt_call *call;
    const pt_wave *wave;
    const void *g;
    int64_t row0, width;    /* of the run; entries of a row's sums */
    double *sums, *squares; /* run rows x width; squares or NULL */
    double *parts, *part_squares;
    int64_t n_parts, first, n_blocks; /* parts at a time; unit of the first; blocks a row */
    pt_error *errors;                 /* n_parts */
    void *out, *out_error;
} rao;

static pt_status rao_begin(void *ctx, int64_t row0, int64_t n_rows) {
    rao *b = ctx;
    b->row0 = row0;
    memset(b->sums, 0, (size_t)(n_rows * b->width) * sizeof(double));
    if (b->squares)
        memset(b->squares, 0, (size_t)(n_rows * b->width) * sizeof(double));
    return PT_OK;
}

/* One block of draws of a row, into its part. */
static pt_status rao_part(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    rao *b = ctx;
    const pt_job *job = b->call->job;
    const pt_wave *w = b->wave;
    const int64_t unit = b->first + index, row = w->row0 + unit / b->n_blocks;
    const int64_t m0 = unit % b->n_blocks * PT_RAO_BLOCK;
    const int64_t m1 = m0 + PT_RAO_BLOCK < w->n_m ? m0 + PT_RAO_BLOCK : w->n_m;
    const void *g = b->g ? pt_real_row(job, b->g, row, job->problem.y_size) : NULL;
    b->errors[index] = (pt_error){ PT_OK, -1, "" };
    return b->call->kernels->rao_blackwell(job, w, row, w->m0 + m0, w->m0 + m1, g,
                                           b->parts + index * b->width,
                                           b->squares ? b->part_squares + index * b->width : NULL,
                                           work, stop, stop_ctx, &b->errors[index]);
}

static pt_status rao_wave(void *ctx, const pt_wave *wave) {
    rao *b = ctx;
    const pt_job *job = b->call->job;
    b->wave = wave;
    b->n_blocks = (wave->n_m + PT_RAO_BLOCK - 1) / PT_RAO_BLOCK;
    const int64_t units = wave->n_rows * b->n_blocks;
    const double cost = 20.0 * (double)wave->n_rows * (double)wave->n_m * (double)job->n;
    for (b->first = 0; b->first < units; b->first += b->n_parts) {
        const int64_t count = units - b->first < b->n_parts ? units - b->first : b->n_parts;
        const pt_status status = pt_run(b->call, count, cost, rao_part, b);
        for (int64_t i = 0; status != PT_OK && i < count; i++)
            if (b->errors[i].status != PT_OK)
                pt_fail(b->call->err, b->errors[i].status, b->errors[i].row, "%s",
                        b->errors[i].message);
        if (status != PT_OK)
            return status;
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = (wave->row0 - b->row0 + (b->first + i) / b->n_blocks) * b->width;
            for (int64_t j = 0; j < b->width; j++)
                b->sums[at + j] += b->parts[i * b->width + j];
            for (int64_t j = 0; b->squares && j < b->width; j++)
                b->squares[at + j] += b->part_squares[i * b->width + j];
        }
    }
    return PT_OK;
}

static pt_status rao_end(void *ctx, int64_t row0, int64_t n_rows) {
    const rao *b = ctx;
    const pt_job *job = b->call->job;
    const double m = (double)job->n_samples, units = job->sampler == PT_ANTITHETIC ? m / 2 : m;
    for (int64_t i = 0; i < n_rows * b->width; i++) {
        if (b->squares)
            b->squares[i] = pt_standard_error(b->sums[i] * (units / m), b->squares[i], units);
        b->sums[i] /= m;
    }
    pt_to_real(job, b->sums, n_rows * b->width, b->out, row0 * b->width);
    if (b->squares)
        pt_to_real(job, b->squares, n_rows * b->width, b->out_error, row0 * b->width);
    return PT_OK;
}

int pt_has_rao_blackwell(const pt_job *job) {
    const pt_noise_kind kind = job->noise.kind;
    return job->problem.moves != PT_MOVES_UNKNOWN &&
           (kind == PT_NORMAL || kind == PT_GUMBEL || kind == PT_LAPLACE || kind == PT_LOGISTIC);
}

pt_status pt_rao_blackwell(pt_job *job, const void *g, void *out, void *out_error, pt_error *err) {
    pt_call call;
    const int64_t width = g ? job->n : job->problem.y_size;
    const pt_kernels *kernels = job->kernels;
    pt_status status = pt_call_begin_with(&call, job, job->n_samples, kernels->rao_size(job), err);
    rao b = { .call = &call, .g = g, .width = width, .out = out, .out_error = out_error };
    pt_consumer want = { .begin = rao_begin,
                         .wave = rao_wave,
                         .end = rao_end,
                         .ctx = &b,
                         .codes = 1,
                         .row_bytes = (size_t)(8 * width * (1 + (out_error != NULL))) };
    const int64_t fit = job->memory_limit / 2 / (int64_t)want.row_bytes;
    const int64_t run = fit < 1 ? 1 : fit < job->n_rows ? fit : job->n_rows;
    const int64_t most = PARTS_BYTES / (8 * width);
    b.n_parts = most < 2 * call.n_threads ? 2 * call.n_threads
                : most > MOST_PARTS       ? MOST_PARTS
                                          : most;
    b.sums = pt_zeros(run * width, sizeof(double));
    b.parts = pt_zeros(b.n_parts * width, sizeof(double));
    b.errors = pt_zeros(b.n_parts, sizeof *b.errors);
    b.squares = out_error ? pt_zeros(run * width, sizeof(double)) : NULL;
    b.part_squares = out_error ? pt_zeros(b.n_parts * width, sizeof(double)) : NULL;
    if (status == PT_OK &&
        (!b.sums || !b.parts || !b.errors || (out_error && (!b.squares || !b.part_squares))))
        status =
            pt_fail(err, PT_E_NOMEM, -1, "no memory for the sums of %lld rows", (long long)run);
    if (status == PT_OK)
        status = pt_walk(&call, &want);
    free(b.sums);
    free(b.squares);
    free(b.parts);
    free(b.part_squares);
    free(b.errors);
    pt_call_end(&call);
    return status;
}
