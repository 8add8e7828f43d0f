/* solutions: the public calls that need no estimator: draws, objectives, keys. */
#include "engine.h"
#include "real.h"
#include "rng.h"

#include <stdlib.h>

static char *real_place(const pt_job *job, void *x, int64_t i) {
    return (char *)x + (size_t)i * (job->f64 ? sizeof(double) : sizeof(float));
}

/* ---- draws ---- */

typedef struct {
    pt_call *call;
    int64_t row0, first, count, size; /* rows and draws wanted; entries of a draw in out */
    void *out;
} draws;

static pt_status expand_wave(void *ctx, const pt_wave *wave) {
    const draws *d = ctx;
    const pt_job *job = d->call->job;
    for (int64_t r = 0; r < wave->n_rows; r++)
        for (int64_t m = 0; m < wave->n_m; m++)
            d->call->kernels->code_expand(
                &job->problem,
                pt_wave_code(wave, job->problem.code_len, wave->row0 + r, wave->m0 + m),
                real_place(job, d->out,
                           ((wave->row0 - d->row0 + r) * d->count + wave->m0 + m - d->first) *
                               d->size));
    return PT_OK;
}

static pt_status perturb_wave(void *ctx, const pt_wave *wave) {
    const draws *d = ctx;
    const pt_job *job = d->call->job;
    for (int64_t r = 0; r < wave->n_rows; r++)
        for (int64_t m = 0; m < wave->n_m; m++)
            d->call->kernels->perturb(
                job, wave, wave->row0 + r, wave->m0 + m,
                real_place(job, d->out,
                           ((wave->row0 - d->row0 + r) * d->count + wave->m0 + m - d->first) *
                               d->size),
                d->call->work);
    return PT_OK;
}

static pt_status give_draws(pt_job *job, const pt_draw_range *which, int64_t size, int codes,
                            void *out, pt_status (*give)(void *, const pt_wave *), pt_error *err) {
    if (which->count < 1 || which->first < 0 || which->first + which->count > job->n_samples)
        return pt_fail(err, PT_E_VALUE, -1, "draws must be between 0 and %lld, got %lld to %lld",
                       (long long)job->n_samples, (long long)which->first,
                       (long long)(which->first + which->count));
    if (which->row0 < 0 || which->n_rows < 0 || which->row0 + which->n_rows > job->n_rows)
        return pt_fail(err, PT_E_VALUE, -1, "rows must be between 0 and %lld, got %lld to %lld",
                       (long long)job->n_rows, (long long)which->row0,
                       (long long)(which->row0 + which->n_rows));
    if (which->n_rows == 0)
        return PT_OK;
    pt_call call;
    pt_status status = pt_call_begin(&call, job, job->n_samples, err);
    draws d = { &call, which->row0, which->first, which->count, size, out };
    pt_consumer want = { .wave = give,
                         .ctx = &d,
                         .m0 = which->first,
                         .m1 = which->first + which->count,
                         .row0 = which->row0,
                         .row1 = which->row0 + which->n_rows,
                         .codes = codes };
    if (status == PT_OK)
        status = pt_walk(&call, &want);
    pt_call_end(&call);
    return status;
}

pt_status pt_solutions(pt_job *job, const pt_draw_range *which, void *y, pt_error *err) {
    return give_draws(job, which, job->problem.y_size, 1, y, expand_wave, err);
}

pt_status pt_perturb(pt_job *job, const pt_draw_range *which, void *out, pt_error *err) {
    return give_draws(job, which, job->n, 0, out, perturb_wave, err);
}

/* ---- standard error of the mean solution ---- */

typedef struct {
    pt_call *call;
    int64_t row0;
    double *sum, *squares, *pair; /* run rows x y_size, likewise, y_size */
    void *out;
} spread;

static pt_status spread_begin(void *ctx, int64_t row0, int64_t n_rows) {
    spread *s = ctx;
    s->row0 = row0;
    for (int64_t i = 0; i < n_rows * s->call->job->problem.y_size; i++)
        s->sum[i] = s->squares[i] = 0;
    return PT_OK;
}

static void spread_draw(spread *s, const pt_wave *wave, int64_t row, int64_t m, double *sum,
                        double *squares) {
    const pt_kernels *k = s->call->kernels;
    const pt_problem *p = &s->call->job->problem;
    const int32_t *code = pt_wave_code(wave, p->code_len, row, m);
    if (s->call->job->sampler != PT_ANTITHETIC) {
        k->code_add(p, code, 1.0, sum);
        k->code_add_squares(p, code, squares);
    } else if (m % 2 == 0) { /* the pair's mean */
        for (int64_t i = 0; i < p->y_size; i++)
            s->pair[i] = 0;
        k->code_add(p, code, 0.5, s->pair);
        k->code_add(p, code + p->code_len, 0.5, s->pair);
        for (int64_t i = 0; i < p->y_size; i++) {
            sum[i] += s->pair[i];
            squares[i] += s->pair[i] * s->pair[i];
        }
    }
}

static pt_status spread_wave(void *ctx, const pt_wave *wave) {
    spread *s = ctx;
    const int64_t size = s->call->job->problem.y_size;
    for (int64_t r = 0; r < wave->n_rows; r++) {
        const int64_t at = (wave->row0 - s->row0 + r) * size;
        for (int64_t m = 0; m < wave->n_m; m++)
            spread_draw(s, wave, wave->row0 + r, wave->m0 + m, s->sum + at, s->squares + at);
    }
    return PT_OK;
}

static pt_status spread_end(void *ctx, int64_t row0, int64_t n_rows) {
    const spread *s = ctx;
    const pt_job *job = s->call->job;
    const int64_t size = n_rows * job->problem.y_size;
    const double m = (double)job->n_samples, n = job->sampler == PT_ANTITHETIC ? m / 2 : m;
    for (int64_t i = 0; i < size; i++)
        s->sum[i] = pt_standard_error(s->sum[i], s->squares[i], n);
    pt_to_real(job, s->sum, size, s->out, row0 * job->problem.y_size);
    return PT_OK;
}

pt_status pt_y_stderr(pt_job *job, void *y_error, pt_error *err) {
    pt_call call;
    pt_status status = pt_call_begin(&call, job, job->n_samples, err);
    const int64_t size = job->problem.y_size;
    spread s = { .call = &call, .out = y_error };
    pt_consumer want = { .begin = spread_begin,
                         .wave = spread_wave,
                         .end = spread_end,
                         .ctx = &s,
                         .codes = 1,
                         .row_bytes = (size_t)(16 * size) };
    const int64_t fit = job->memory_limit / 2 / (16 * size), run = fit < 1 ? 1
                                                                   : fit < job->n_rows
                                                                       ? fit
                                                                       : job->n_rows;
    s.sum = pt_zeros(run * size, sizeof(double));
    s.squares = pt_zeros(run * size, sizeof(double));
    s.pair = pt_zeros(size, sizeof(double));
    if (status == PT_OK && (!s.sum || !s.squares || !s.pair))
        status =
            pt_fail(err, PT_E_NOMEM, -1, "no memory for the sums of %lld rows", (long long)run);
    if (status == PT_OK)
        status = pt_walk(&call, &want);
    free(s.sum);
    free(s.squares);
    free(s.pair);
    pt_call_end(&call);
    return status;
}

/* ---- objectives ---- */

pt_status pt_objective(pt_job *job, const void *y, double *out, pt_error *err) {
    const pt_kernels *kernels = job->kernels;
    (void)err;
    const uint64_t mode = pt_fp_enter();
    for (int64_t r = 0; r < job->n_rows; r++)
        out[r] = kernels->objective(job, r, real_place(job, (void *)(uintptr_t)y, r * job->n));
    pt_fp_leave(mode);
    return PT_OK;
}

/* ---- projections ---- */

static void project_row(const pt_job *job, int64_t row, double *x) {
    const void *theta = pt_real_row(job, job->theta, row, job->n);
    double sum = 0;
    int64_t open = 0;
    if (job->solve->project) {
        job->solve->project(&job->problem, row, theta, x);
        return;
    }
    for (int64_t j = 0; j < job->n; j++) {
        const int shut = !(pt_real_at(job, job->theta, row * job->n + j) > -INFINITY);
        x[j] = shut ? 0 : x[j];
        open += !shut;
        sum += x[j];
    }
    for (int64_t j = 0; job->problem.even && j < job->n; j++)
        if (pt_real_at(job, job->theta, row * job->n + j) > -INFINITY)
            x[j] -= sum / (double)open;
}

pt_status pt_project(pt_job *job, const void *x, void *out, pt_error *err) {
    double *own = pt_zeros(job->n, sizeof *own);
    if (!own)
        return pt_fail(err, PT_E_NOMEM, -1, "no memory for a row");
    const uint64_t mode = pt_fp_enter();
    for (int64_t r = 0; r < job->n_rows; r++) {
        for (int64_t j = 0; j < job->n; j++)
            own[j] = pt_real_at(job, x, r * job->n + j);
        project_row(job, r, own);
        pt_to_real(job, own, job->n, out, r * job->n);
    }
    pt_fp_leave(mode);
    free(own);
    return PT_OK;
}

/* ---- keys ---- */

uint64_t pt_key(uint64_t seed, uint64_t call, uint32_t domain) {
    const uint32_t counter[4] = { (uint32_t)call, (uint32_t)(call >> 32), domain, 0x70657274u };
    uint32_t word[4];
    pt_philox_block(counter, seed, word);
    return (uint64_t)word[1] << 32 | word[0];
}

void pt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    pt_philox_block(counter, (uint64_t)key[1] << 32 | key[0], out);
}

int pt_math(const char *name, int f64, int64_t count, const void *x, void *out) {
    const pt_kernel_set *set = pt_kernels_in_use();
    return (f64 ? set->f64 : set->f32)->math(name, count, x, out);
}

void pt_narrow(const double *from, int64_t count, float *to) {
    const uint64_t mode = pt_fp_enter();
    for (int64_t i = 0; i < count; i++)
        to[i] = (float)from[i];
    pt_fp_leave(mode);
}
