/* engine: checks a job, plans waves within the memory limit, solves them in parallel. */
#include "engine.h"
#include "threads.h"

#include <stdlib.h>
#include <string.h>

/* Elementary steps below which a second thread costs more than it brings. */
#define SERIAL_COST 40000.0
#define SOLE_ITEM 512 /* entries from which on one draw may be a task of its own */

/* ---- one call ---- */

pt_status pt_call_begin(pt_call *call, const pt_job *job, int64_t n_m, pt_error *err) {
    return pt_call_begin_with(call, job, n_m, 0, err);
}

pt_status pt_call_begin_with(pt_call *call, const pt_job *job, int64_t n_m, size_t least,
                             pt_error *err) {
    const pt_kernels *kernels = job->kernels;
    *call = (pt_call){ .job = job, .kernels = kernels, .err = err };
    call->n_threads = pt_threads_take(job->n_threads);
    call->fp_mode = pt_fp_enter();
    call->next_poll = pt_first_poll();
    call->work_stride = kernels->work_size(job, n_m);
    if (call->work_stride < least)
        call->work_stride = least;
    call->work_stride = (call->work_stride + 127) & ~(size_t)63;
    call->work = pt_block(call->n_threads, call->work_stride);
    if (!call->work)
        return pt_fail(err, PT_E_NOMEM, -1, "no memory for the work of %d threads",
                       call->n_threads);
    return PT_OK;
}

void pt_call_end(pt_call *call) {
    free(call->work);
    if (call->n_threads) {
        pt_threads_give(call->n_threads);
        pt_fp_leave(call->fp_mode);
    }
    call->work = NULL;
    call->n_threads = 0;
}

int pt_worthwhile(const pt_call *call, double cost) {
    return cost < SERIAL_COST ? 1 : call->n_threads;
}

typedef struct {
    pt_call *call;
    pt_work_fn task;
    void *ctx;
} run_context;

static pt_status run_task(void *ctx, int64_t index, int worker, pt_poll_fn stop, void *stop_ctx) {
    const run_context *run = ctx;
    void *work = run->call->work + (size_t)worker * run->call->work_stride;
    return run->task(run->ctx, index, work, stop, stop_ctx);
}

pt_status pt_run(pt_call *call, int64_t n_tasks, double cost, pt_work_fn task, void *ctx) {
    run_context run = { call, task, ctx };
    pt_status status = pt_parallel_for(n_tasks, pt_worthwhile(call, cost), run_task, &run,
                                       call->job->poll, call->job->poll_ctx, &call->next_poll);
    if (status == PT_E_STOPPED)
        pt_fail(call->err, PT_E_STOPPED, -1, "stopped");
    return status;
}

/* What a solver reports, with the row's name before it. */
static pt_status fail_row(const pt_job *job, const pt_error *own, pt_error *err) {
    char place[PT_MESSAGE_SIZE / 2];
    if (own->status != PT_E_INFEASIBLE)
        return pt_fail(err, own->status, own->row, "%s", own->message);
    pt_name_place(job, own->row, -1, place, sizeof place);
    return pt_fail(err, own->status, own->row, "%s: %s", place, own->message);
}

/* NaN, +inf, -inf where it has no meaning, no solution. */
static pt_status check_row(const pt_call *call, int64_t row, void *work, pt_error *err) {
    const pt_job *job = call->job;
    const void *theta = (const char *)job->theta + (size_t)(row * job->n) * (job->f64 ? 8 : 4);
    char what = 0, place[PT_MESSAGE_SIZE / 2];
    const int64_t bad = call->kernels->find_bad(&job->problem, row, theta, &what);
    if (bad >= 0) {
        pt_name_place(job, row, bad, place, sizeof place);
        if (what == 'm')
            return pt_fail(err, PT_E_VALUE, row,
                           "theta must not contain -inf for this solver (pass mask= instead), got"
                           " -inf at %s",
                           place);
        return pt_fail(err, PT_E_VALUE, row, "theta must not contain %s, got %s at %s",
                       what == 'n' ? "NaN" : "+inf", what == 'n' ? "NaN" : "+inf", place);
    }
    if (!job->solve->check)
        return PT_OK;
    pt_error own = { PT_OK, -1, "" };
    const pt_status status = job->solve->check(&job->problem, row, theta, work, &own);
    return own.status == PT_OK ? status : fail_row(job, &own, err);
}

/* ---- solving a wave ---- */

typedef struct {
    pt_call *call;
    const pt_wave *wave;
    int64_t chunk;
    pt_error *errors; /* one a task */
} solve_context;

#define CHECKED_BYTES 262144 /* of theta that stay in a core's cache until they are solved */

/* Rows that are checked, then solved. */
static int64_t checked_rows(const pt_call *call, const pt_wave *wave) {
    const pt_job *job = call->job;
    const int64_t rows = CHECKED_BYTES / (job->n * (job->f64 ? 8 : 4));
    const int64_t unit = pt_interleaved(&job->problem, wave) ? PT_LANES : 1;
    return rows < unit ? unit : rows / unit * unit;
}

/* Contents are checked here (pt_job.check_late): in the pass that reads them to solve, where that can be, and closer only
 * where an entry is not finite. */
static pt_status check_and_solve(const solve_context *c, int64_t first, int64_t count, void *work,
                                 pt_poll_fn stop, void *stop_ctx, pt_error *own, pt_error *error) {
    const pt_job *job = c->call->job;
    const pt_problem *p = &job->problem;
    pt_wave wave = *c->wave;
    pt_status status = PT_E_NOT_FINITE;
    wave.look = p->open_is_right && (p->looks || pt_interleaved(p, &wave));
    if (wave.look)
        status = c->call->kernels->solve(job, &wave, first, count, work, stop, stop_ctx, own);
    if (status != PT_E_NOT_FINITE)
        return status;
    status = PT_OK;
    for (int64_t i = 0; i < count && status == PT_OK; i++)
        status = check_row(c->call, wave.row0 + first + i, work, error);
    wave.look = 0;
    return status == PT_OK
               ? c->call->kernels->solve(job, &wave, first, count, work, stop, stop_ctx, own)
               : status;
}

static pt_status solve_task(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    const solve_context *c = ctx;
    const pt_job *job = c->call->job;
    const int64_t total = c->wave->n_rows * c->wave->n_m, first = index * c->chunk;
    const int64_t end = total - first < c->chunk ? total : first + c->chunk;
    const int late = job->check_late && c->wave->plain && c->wave->n_m == 1;
    const int64_t part = late ? checked_rows(c->call, c->wave) : c->chunk;
    pt_status status = PT_OK;
    for (int64_t at = first; at < end && status == PT_OK; at += part) {
        const int64_t count = end - at < part ? end - at : part;
        pt_error own = { PT_OK, -1, "" };
        status = late
                     ? check_and_solve(c, at, count, work, stop, stop_ctx, &own, &c->errors[index])
                     : c->call->kernels->solve(job, c->wave, at, count, work, stop, stop_ctx, &own);
        if (own.status != PT_OK)
            status = fail_row(job, &own, &c->errors[index]);
    }
    return status;
}

/* Draws a task: some tasks a thread, in whole lane groups, unless draws are solved one by one and large; where screening pays,
 * whole rows or even parts of one. */
static int64_t solve_chunk(const pt_call *call, const pt_wave *wave) {
    const int64_t threads = call->n_threads, total = wave->n_rows * wave->n_m;
    const int lanes = pt_interleaved(&call->job->problem, wave);
    if (call->job->problem.serial)
        return total;
    int64_t chunk = (total + 8 * threads - 1) / (8 * threads);
    if (call->job->problem.top > 0 && chunk < 8 * PT_GROUP) {
        const int64_t pieces = call->job->n >= PT_LONG ? 2 * threads : threads;
        const int64_t share = (total + pieces - 1) / pieces;
        const int64_t most = share < 8 * PT_GROUP ? share : 8 * PT_GROUP;
        const int64_t parts = (wave->n_m + most - 1) / most;
        chunk = (wave->n_m + parts - 1) / parts;
        if (wave->n_m < 2 * PT_GROUP || chunk % PT_LANES == 0 || !lanes)
            return chunk < PT_LANES ? most : chunk;
    }
    if (!lanes && call->job->n >= SOLE_ITEM)
        return chunk;
    return (chunk + PT_LANES - 1) / PT_LANES * PT_LANES;
}

/* The first message from an array of them, into err. */
static void keep_error(const pt_error *errors, int64_t n, pt_error *err) {
    for (int64_t i = 0; i < n; i++)
        if (errors[i].status != PT_OK)
            pt_fail(err, errors[i].status, errors[i].row, "%s", errors[i].message);
}

static pt_status solve_wave(pt_call *call, const pt_wave *wave) {
    const int64_t total = wave->n_rows * wave->n_m, chunk = solve_chunk(call, wave);
    const int64_t n_tasks = (total + chunk - 1) / chunk;
    pt_error small[16] = { { PT_OK, 0, "" } };
    pt_error *errors = n_tasks <= 16 ? small : pt_zeros(n_tasks, sizeof *errors);
    if (!errors)
        return pt_fail(call->err, PT_E_NOMEM, -1, "no memory for %lld tasks", (long long)n_tasks);
    solve_context c = { call, wave, chunk, errors };
    const double cost = call->job->problem.serial ? 0 : (double)total * (double)call->job->n;
    pt_status status = pt_run(call, n_tasks, cost, solve_task, &c);
    keep_error(errors, n_tasks, call->err);
    if (errors != small)
        free(errors);
    return status;
}

/* Keep y*(theta) of all rows for later pullbacks, if there is memory. */
static void keep_plain(pt_job *job, const int32_t *codes) {
    job->plain = pt_block(job->n_rows * job->problem.code_len, sizeof *codes);
    if (job->plain)
        memcpy(job->plain, codes, (size_t)(job->n_rows * job->problem.code_len) * sizeof *codes);
}

pt_status pt_solve_plain(pt_call *call, pt_job *job, int64_t row0, int64_t n_rows, int32_t *codes) {
    const int64_t len = job->problem.code_len;
    if (job->plain) {
        memcpy(codes, job->plain + row0 * len, (size_t)(n_rows * len) * sizeof *codes);
        return PT_OK;
    }
    pt_wave wave = { .row0 = row0,
                     .n_rows = n_rows,
                     .n_m = 1,
                     .codes = codes,
                     .code_row0 = row0,
                     .code_stride = 1,
                     .plain = 1 };
    const pt_status status = solve_wave(call, &wave);
    if (status == PT_OK && job->codes && n_rows == job->n_rows)
        keep_plain(job, codes);
    return status;
}

/* ---- the walk ---- */

typedef struct {
    int64_t run_rows;          /* rows of a run */
    int64_t wave_rows, wave_m; /* of a wave */
} plan;

static plan make_plan(const pt_call *call, const pt_consumer *want, int64_t n_m) {
    const pt_job *job = call->job;
    const double limit = (double)job->memory_limit / 2;
    double draw_bytes = (double)want->draw_bytes + 8.0 * (want->values + want->clipped);
    if (want->codes && !job->codes)
        draw_bytes += 4.0 * (double)job->problem.code_len;
    plan p = { job->n_rows, job->n_rows, n_m };
    if (job->noise.kind == PT_USER_NOISE && job->epsilon)
        p.run_rows = 1;
    else if (want->row_bytes > 0) {
        const double fit = limit / (double)want->row_bytes;
        p.run_rows = fit < 1 ? 1 : fit < (double)job->n_rows ? (int64_t)fit : job->n_rows;
    }
    p.wave_rows = p.run_rows;
    if (draw_bytes * (double)n_m * (double)p.wave_rows > limit) {
        const double rows = limit / (draw_bytes * (double)n_m);
        p.wave_rows = rows < 1 ? 1 : (int64_t)rows;
        if (rows < 1) {
            const int64_t blocks = (int64_t)(limit / draw_bytes) / PT_SAMPLE_BLOCK;
            p.wave_m = (blocks < 1 ? 1 : blocks) * PT_SAMPLE_BLOCK;
        }
        p.run_rows = p.wave_rows;
    }
    return p;
}

/* Solve one wave, unless its codes are there, and hand it on. buffers: codes, values, clipped of a wave. */
static pt_status do_wave(pt_call *call, const pt_consumer *want, pt_wave *wave, int have_codes) {
    const pt_job *job = call->job;
    pt_status status = PT_OK;
    if (job->noise.kind == PT_USER_NOISE && job->epsilon &&
        job->noise.fn(job->noise.ctx, wave->row0, &wave->z, &wave->score))
        return pt_fail(call->err, PT_E_CALLBACK, wave->row0, "sample failed");
    wave->plain = !job->epsilon;
    if (want->codes && !have_codes)
        status = solve_wave(call, wave);
    if (status == PT_OK && want->wave)
        status = want->wave(want->ctx, wave);
    return status;
}

static pt_status walk_run(pt_call *call, const pt_consumer *want, const plan *p, pt_wave *wave,
                          int64_t m0, int64_t m1, int keep) {
    const pt_job *job = call->job;
    pt_status status = want->begin ? want->begin(want->ctx, wave->row0, wave->n_rows) : PT_OK;
    for (int64_t m = m0; m < m1 && status == PT_OK; m += p->wave_m) {
        wave->m0 = m;
        wave->n_m = m1 - m < p->wave_m ? m1 - m : p->wave_m;
        if (!job->codes) {
            wave->code_row0 = wave->row0;
            wave->code_m0 = m;
            wave->code_stride = wave->n_m;
        }
        status = do_wave(call, want, wave, job->codes && !keep);
    }
    if (status == PT_OK && want->end)
        status = want->end(want->ctx, wave->row0, wave->n_rows);
    return status;
}

static pt_status walk(pt_call *call, const pt_consumer *want, int keep) {
    const pt_job *job = call->job;
    const int64_t m0 = want->m0, m1 = want->m1 ? want->m1 : job->n_samples;
    const plan p = make_plan(call, want, m1 - m0);
    const int64_t most = p.wave_rows * p.wave_m;
    pt_wave wave = { .codes = job->codes, .code_stride = job->n_samples, .target = want->target };
    int32_t *codes = NULL;
    pt_status status = PT_OK;
    if (want->codes && !job->codes) {
        size_t elements;
        if (pt_mul_size(most, job->problem.code_len, &elements) && elements < INT64_MAX)
            codes = pt_block((int64_t)elements, sizeof *codes);
        wave.codes = codes;
    }
    wave.values = want->values ? pt_zeros(most, sizeof(double)) : NULL;
    wave.clipped = want->clipped ? pt_zeros(most, sizeof(double)) : NULL;
    if ((want->codes && !wave.codes) || (want->values && !wave.values) ||
        (want->clipped && !wave.clipped))
        status = pt_fail(call->err, PT_E_NOMEM, -1, "no memory for %lld draws at a time",
                         (long long)most);
    const int64_t row1 = want->row1 ? want->row1 : job->n_rows;
    for (int64_t row = want->row0; row < row1 && status == PT_OK; row += p.run_rows) {
        wave.row0 = row;
        wave.n_rows = row1 - row < p.run_rows ? row1 - row : p.run_rows;
        status = walk_run(call, want, &p, &wave, m0, m1, keep);
    }
    free(codes);
    free(wave.values);
    free(wave.clipped);
    return status;
}

pt_status pt_walk(pt_call *call, const pt_consumer *want) {
    return walk(call, want, 0);
}

pt_status pt_walk_and_keep(pt_call *call, const pt_consumer *want) {
    return walk(call, want, 1);
}

/* ---- preparing a job ---- */

static pt_status fill_sizes(pt_job *job, pt_error *err) {
    size_t rows = 1, n = 1;
    for (int64_t i = 0; i < job->n_batch_dims; i++)
        if (!pt_mul_size((int64_t)rows, job->batch_dims[i], &rows))
            return pt_fail(err, PT_E_NOMEM, -1, "theta has too many rows");
    for (int64_t i = 0; i < job->n_item_dims; i++)
        if (!pt_mul_size((int64_t)n, job->item_dims[i], &n))
            return pt_fail(err, PT_E_NOMEM, -1, "theta's items are too large");
    if (n < 1)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have at least one entry an item, got none");
    job->n_rows = (int64_t)rows;
    job->n = (int64_t)n;
    if (job->n_samples < 1 || job->n_samples > UINT32_MAX)
        return pt_fail(err, PT_E_VALUE, -1, "samples must be between 1 and 4294967295, got %lld",
                       (long long)job->n_samples);
    if (job->sampler == PT_ANTITHETIC && job->n_samples % 2)
        return pt_fail(err, PT_E_VALUE, -1,
                       "samples must be even for the antithetic sampler, got %lld",
                       (long long)job->n_samples);
    if (job->sampler > PT_ANTITHETIC && job->noise.kind > PT_LOGISTIC)
        return pt_fail(err, PT_E_VALUE, -1, "sampler needs noise with a quantile");
    return PT_OK;
}

static pt_status find_solver(pt_job *job, pt_error *err) {
    const pt_kernel_set *set = pt_kernels_in_use();
    const pt_kernels *kernels = job->f64 ? set->f64 : set->f32;
    job->kernels = kernels;
    job->solve = NULL;
    for (const pt_solver *const *s = kernels->solvers; *s; s++)
        if (strcmp((*s)->name, job->solver) == 0)
            job->solve = *s;
    if (!job->solve)
        return pt_fail(err, PT_E_VALUE, -1, "solver must be one that this core has, got %.64s",
                       job->solver);
    job->problem = (pt_problem){ .ints = job->ints,
                                 .n_ints = job->n_ints,
                                 .arrays = job->arrays,
                                 .n_arrays = job->n_arrays,
                                 .n = job->n,
                                 .dims = job->item_dims,
                                 .n_dims = job->n_item_dims,
                                 .oracle = job->oracle,
                                 .oracle_ctx = job->oracle_ctx,
                                 .y_size = job->n,
                                 .code_len = 1,
                                 .lanes = 1,
                                 .linear = 1,
                                 .sign = 1 };
    return job->solve->prepare(&job->problem, err);
}

typedef struct {
    pt_call *call;
    int64_t rows; /* a task */
    pt_error *errors;
} check_context;

static pt_status check_task(void *ctx, int64_t index, void *work, pt_poll_fn stop, void *stop_ctx) {
    const check_context *c = ctx;
    (void)stop;
    (void)stop_ctx;
    for (int64_t row = index * c->rows; row < (index + 1) * c->rows && row < c->call->job->n_rows;
         row++) {
        pt_status status = check_row(c->call, row, work, &c->errors[index]);
        if (status != PT_OK)
            return status;
    }
    return PT_OK;
}

static pt_status check_contents(pt_job *job, pt_error *err) {
    pt_call call;
    pt_status status = pt_call_begin(&call, job, 1, err);
    pt_error errors[32] = { { PT_OK, 0, "" } };
    if (status == PT_OK && job->n_rows > 0) {
        check_context c = { &call, (job->n_rows + 31) / 32, errors };
        status = pt_run(&call, (job->n_rows + c.rows - 1) / c.rows,
                        0.1 * (double)job->n_rows * (double)job->n, check_task, &c);
        keep_error(errors, 32, err);
    }
    pt_call_end(&call);
    return status;
}

pt_status pt_prepare(pt_job *job, pt_error *err) {
    job->strata_key = pt_key(job->key, 0, STRATA_DOMAIN);
    job->codes = NULL;
    job->plain = NULL;
    job->y_mean = NULL;
    job->y_is_callers = 0;
    pt_status status = fill_sizes(job, err);
    if (status == PT_OK)
        status = find_solver(job, err);
    if (status == PT_OK && !job->check_late)
        status = check_contents(job, err);
    return status;
}

void pt_release(pt_job *job) {
    free(job->codes);
    free(job->plain);
    if (!job->y_is_callers)
        free(job->y_mean);
    job->codes = job->plain = NULL;
    job->y_mean = NULL;
}
