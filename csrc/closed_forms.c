/* closed_forms: the public calls of exact forms. What a solver has stands in its pt_exact_form. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

static const pt_solver *find_solver(const char *name) {
    for (const pt_solver *const *s = pt_kernels_in_use()->f64->solvers; *s; s++)
        if (strcmp((*s)->name, name) == 0)
            return *s;
    return NULL;
}

const pt_exact_form *pt_find_exact(const char *solver) {
    const pt_solver *s = find_solver(solver);
    return s ? s->exact : NULL;
}

int pt_has_exact(const pt_job *job) {
    const pt_exact_form *form = job->solve->exact;
    const pt_noise *noise = &job->noise;
    if (!form || !job->epsilon || noise->multiplicative || !(form->noises >> noise->kind & 1))
        return 0;
    double widest = noise->scale ? noise->scale[0] : 1, narrowest = widest;
    for (int64_t j = 0; noise->scale && j < job->n; j++) {
        widest = noise->scale[j] > widest ? noise->scale[j] : widest;
        narrowest = noise->scale[j] < narrowest ? noise->scale[j] : narrowest;
    }
    if (!(narrowest > 0) || widest > form->widest_ratio * narrowest ||
        (widest != narrowest && form->one_width >> noise->kind & 1))
        return 0;
    return form->covers ? form->covers(job) : 2;
}

typedef struct {
    const pt_job *job;
    const pt_exact_io *io;
    int64_t parts;
    char *work;
    size_t work_stride;
} closed;

static void *place(const pt_job *job, const void *x, int64_t row, int64_t length) {
    return x ? (char *)(uintptr_t)x + (size_t)(row * length) * (job->f64 ? 8 : 4) : NULL;
}

static pt_status closed_task(void *ctx, int64_t index, int worker, pt_poll_fn stop,
                             void *stop_ctx) {
    const closed *c = ctx;
    const pt_job *job = c->job;
    const int64_t row = index / c->parts, n = job->n, y_size = job->problem.y_size;
    const pt_exact_io io = {
        .y = place(job, c->io->y, row, y_size),
        .value = c->io->value ? c->io->value + row : NULL,
        .g = place(job, c->io->g, row, y_size),
        .vjp = place(job, c->io->vjp, row, n),
        .t = place(job, c->io->t, row, n),
        .jvp = place(job, c->io->jvp, row, y_size),
        .jac = place(job, c->io->jac, row, y_size * n),
    };
    return job->solve->exact->row(job, row, index % c->parts, &io,
                                  c->work + (size_t)worker * c->work_stride, stop, stop_ctx);
}

pt_status pt_exact(pt_job *job, const pt_exact_io *io, pt_error *err) {
    if (!pt_has_exact(job))
        return pt_fail(err, PT_E_VALUE, -1, "this solver, noise and size have no exact form");
    const pt_exact_form *form = job->solve->exact;
    pt_call call;
    pt_status status = pt_call_begin(&call, job, 1, err);
    closed c = { .job = job, .io = io, .parts = form->parts(job) };
    const int threads = pt_worthwhile(&call, 500.0 * (double)job->n_rows * (double)job->n);
    size_t size;
    if (status == PT_OK) {
        if (!io->jac || pt_mul_size(job->problem.y_size, job->n, &size))
            c.work_stride = (form->work_size(job, io) + 1024) & ~(size_t)63;
        if (c.work_stride)
            c.work = pt_block(threads, c.work_stride);
        if (!c.work)
            status = pt_fail(err, PT_E_NOMEM, -1, "no memory for the exact form of %lld entries",
                             (long long)job->n);
    }
    if (status == PT_OK)
        status = pt_parallel_for(job->n_rows * c.parts, threads, closed_task, &c, job->poll,
                                 job->poll_ctx, &call.next_poll);
    if (status == PT_E_STOPPED)
        pt_fail(err, status, -1, "stopped");
    free(c.work);
    pt_call_end(&call);
    return status;
}
