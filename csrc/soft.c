/* soft: the log-sum-exp counterpart of a solver's maximum, row by row. */
#include "engine.h"
#include "real.h"

#include <stdlib.h>

typedef struct {
    pt_call *call;
    double temperature, *value;
    void *grad;
    char *work;
    size_t work_stride;
    pt_error *errors; /* one a row */
} soft;

static pt_status soft_row(void *ctx, int64_t row, int worker, pt_poll_fn stop, void *stop_ctx) {
    const soft *s = ctx;
    const pt_job *job = s->call->job;
    const size_t real = job->f64 ? sizeof(double) : sizeof(float);
    const pt_group group = { .theta = pt_real_row(job, job->theta, row, job->n),
                             .item_step = 1,
                             .draw_step = job->n,
                             .n_draws = 1,
                             .row = &row,
                             .stop = stop,
                             .stop_ctx = stop_ctx };
    void *grad = s->grad ? (char *)s->grad + (size_t)(row * job->n) * real : NULL;
    return job->solve->soft(&job->problem, &group, s->temperature, s->value + row, grad,
                            s->work + (size_t)worker * s->work_stride, &s->errors[row]);
}

/* The lowest row's report, with its name. */
static void tell_first(const pt_job *job, const pt_error *errors, pt_error *err) {
    char place[PT_MESSAGE_SIZE / 2];
    for (int64_t r = 0; r < job->n_rows; r++)
        if (errors[r].status != PT_OK) {
            pt_name_place(job, r, -1, place, sizeof place);
            pt_fail(err, errors[r].status, r, "%s: %s", place, errors[r].message);
            return;
        }
}

pt_status pt_soft_value(pt_job *job, double temperature, double *value, void *grad, pt_error *err) {
    pt_call call;
    if (!job->solve->soft)
        return pt_fail(err, PT_E_VALUE, -1, "soft_value is not there for this solver");
    if (!(temperature > 0 && temperature < INFINITY))
        return pt_fail(err, PT_E_VALUE, -1, "temperature must be positive and finite, got %g",
                       temperature);
    pt_status status = pt_call_begin(&call, job, 1, err);
    soft s = { &call, temperature, value, grad, NULL, 0, NULL };
    if (status == PT_OK) {
        const int threads = pt_worthwhile(&call, 100.0 * (double)job->n_rows * (double)job->n);
        s.work_stride = (job->solve->soft_size(&job->problem) + 127) & ~(size_t)63;
        s.work = pt_block(threads, s.work_stride);
        s.errors = pt_zeros(job->n_rows, sizeof *s.errors);
        if (!s.work || !s.errors)
            status = pt_fail(err, PT_E_NOMEM, -1, "no memory for the sums of %d rows", threads);
        else
            status = pt_parallel_for(job->n_rows, threads, soft_row, &s, job->poll, job->poll_ctx,
                                     &call.next_poll);
        if (status == PT_E_STOPPED)
            pt_fail(err, status, -1, "stopped");
        else if (status != PT_OK && s.errors)
            tell_first(job, s.errors, err);
    }
    free(s.work);
    free(s.errors);
    pt_call_end(&call);
    return status;
}
