/* callbacks: the calls that go up, from the core to Python. Each takes the GIL. */
#include "binding.h"

#include <stdlib.h>

int poll_signals(void *ctx) {
    (void)ctx;
    PyGILState_STATE gil = PyGILState_Ensure();
    const int stop = PyErr_CheckSignals();
    PyGILState_Release(gil);
    return stop;
}

/* (row, first, stack of items) -> (draws, y_size) array of theta's dtype. */
static int ask_oracle(const Run *self, int64_t row, int64_t first, int64_t n_draws,
                      const void *theta, void *y) {
    const pt_job *job = &self->job;
    const size_t real = job->f64 ? sizeof(double) : sizeof(float);
    npy_intp dims[PT_MAX_DIMS + 1] = { (npy_intp)n_draws };
    for (int64_t i = 0; i < job->n_item_dims; i++)
        dims[i + 1] = (npy_intp)job->item_dims[i];
    PyObject *items = new_array((int)job->n_item_dims + 1, dims, real_type(self)), *answer = NULL;
    int failed = 1;
    if (!items)
        return 1;
    memcpy(PyArray_DATA(as_array(items)), theta, (size_t)(n_draws * job->n) * real);
    answer = PyObject_CallFunction(self->oracle, "LLO", (long long)row, (long long)first, items);
    const void *from = answer ? expect_array(answer, real_type(self), n_draws * job->problem.y_size,
                                             "the answer of fn")
                              : NULL;
    if (from) {
        memcpy(y, from, (size_t)(n_draws * job->problem.y_size) * real);
        failed = 0;
    }
    Py_XDECREF(answer);
    Py_DECREF(items);
    return failed;
}

int call_oracle(void *ctx, int64_t row, int64_t first, int64_t n_draws, const void *theta,
                void *y) {
    PyGILState_STATE gil = PyGILState_Ensure();
    const int failed = ask_oracle(((callbacks *)ctx)->self, row, first, n_draws, theta, y);
    PyGILState_Release(gil);
    return failed;
}

/* row -> (z, score or None), each (samples, n) of theta's dtype. */
static int ask_noise(callbacks *c, int64_t row, const void **z, const void **score) {
    const int64_t size = c->self->job.n_samples * c->self->job.n;
    PyObject *pair = PyObject_CallFunction(c->self->sample, "L", (long long)row);
    Py_CLEAR(c->z);
    Py_CLEAR(c->score);
    if (!pair || !PyArg_ParseTuple(pair, "OO", &c->z, &c->score)) {
        c->z = c->score = NULL;
        Py_XDECREF(pair);
        return 1;
    }
    Py_INCREF(c->z);
    Py_INCREF(c->score);
    Py_DECREF(pair);
    *z = expect_array(c->z, real_type(c->self), size, "the draws of sample");
    *score =
        c->score == Py_None ? NULL : expect_array(c->score, real_type(c->self), size, "the scores");
    return PyErr_Occurred() != NULL;
}

int call_noise(void *ctx, int64_t row, const void **z, const void **score) {
    PyGILState_STATE gil = PyGILState_Ensure();
    const int failed = ask_noise(ctx, row, z, score);
    PyGILState_Release(gil);
    return failed;
}

void enter(Run *self, pt_job *job, callbacks *c) {
    *c = (callbacks){ self, NULL, NULL };
    *job = self->job;
    job->oracle_ctx = job->problem.oracle_ctx = c;
    job->noise.ctx = c;
    job->poll = poll_signals;
}

void leave(Run *self, const pt_job *job, callbacks *c) {
    /* y*(theta) is kept for the next call; if another thread's was there first, that stays */
    if (!self->job.plain)
        self->job.plain = job->plain;
    else if (job->plain != self->job.plain)
        free(job->plain);
    Py_CLEAR(c->z);
    Py_CLEAR(c->score);
}
