/* _core: the Python face of the core. Takes buffers, allocates results, lets the GIL go, makes one core call, turns a
 * status into an exception. No arithmetic, nothing about single solvers. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdio.h>
#include <string.h>

#include <numpy/arrayobject.h>

#include "../perturbed.h"

/* A job and the Python objects that it points into. */
typedef struct {
    PyObject_HEAD pt_job job;
    PyObject *solver, *theta, *epsilon, *scale, *arrays; /* owned */
    PyObject *oracle, *sample;                           /* callables or NULL */
} Run;

/* ---- small helpers ---- */

static PyObject *raise_status(pt_status status, const pt_error *err) {
    if (status == PT_E_STOPPED || status == PT_E_CALLBACK) { /* the cause is already set */
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, err->message);
    } else if (status == PT_E_NOMEM)
        PyErr_SetString(PyExc_MemoryError, err->message);
    else
        PyErr_SetString(status == PT_E_INTERNAL ? PyExc_SystemError : PyExc_ValueError,
                        err->message);
    return NULL;
}

static PyArrayObject *as_array(PyObject *o) {
    return (PyArrayObject *)(void *)o;
}

static int real_type(const Run *self) {
    return self->job.f64 ? NPY_DOUBLE : NPY_FLOAT;
}

/* o must be a C-contiguous aligned native array of this type and size; sets TypeError otherwise. */
static const void *expect_array(PyObject *o, int type, int64_t size, const char *name) {
    if (!PyArray_Check(o) || PyArray_TYPE(as_array(o)) != type ||
        !PyArray_ISCARRAY_RO(as_array(o)) ||
        (size >= 0 && (int64_t)PyArray_SIZE(as_array(o)) != size)) {
        PyErr_Format(PyExc_TypeError,
                     "%s must be a C-contiguous array of the expected type and size", name);
        return NULL;
    }
    return PyArray_DATA(as_array(o));
}

static PyObject *new_array(int ndim, const npy_intp *dims, int type) {
    return PyArray_SimpleNew(ndim, (npy_intp *)(uintptr_t)dims, type);
}

/* A new array with one entry, or one solution, a row. */
static PyObject *new_rows(const Run *self, int64_t length, int type) {
    const npy_intp dims[2] = { (npy_intp)self->job.n_rows, (npy_intp)length };
    return new_array(length < 0 ? 1 : 2, dims, type);
}

static PyObject *new_like_theta(const Run *self) {
    PyArrayObject *theta = as_array(self->theta);
    return new_array(PyArray_NDIM(theta), PyArray_DIMS(theta), real_type(self));
}

static void *data_or_null(PyObject *array) {
    return array ? PyArray_DATA(as_array(array)) : NULL;
}

/* (items), None for those that are NULL; takes over the references. */
static PyObject *pack(PyObject **items, Py_ssize_t n) {
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = items[i] ? items[i] : Py_NewRef(Py_None);
        if (tuple)
            PyTuple_SetItem(tuple, i, item);
        else
            Py_DECREF(item);
    }
    return tuple;
}

/* ---- callbacks ---- */

typedef struct {
    Run *self;
    PyObject *z, *score; /* the user's noise of the row in work, owned */
} callbacks;

static int poll_signals(void *ctx) {
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

static int call_oracle(void *ctx, int64_t row, int64_t first, int64_t n_draws, const void *theta,
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

static int call_noise(void *ctx, int64_t row, const void **z, const void **score) {
    PyGILState_STATE gil = PyGILState_Ensure();
    const int failed = ask_noise(ctx, row, z, score);
    PyGILState_Release(gil);
    return failed;
}

/* A copy of the job for one call, so that two threads may pull back through one Run. */
static void enter(Run *self, pt_job *job, callbacks *c) {
    *c = (callbacks){ self, NULL, NULL };
    *job = self->job;
    job->oracle_ctx = job->problem.oracle_ctx = c;
    job->noise.ctx = c;
    job->poll = poll_signals;
}

static void leave(callbacks *c) {
    Py_CLEAR(c->z);
    Py_CLEAR(c->score);
}

/* Run one core call without the GIL. Evaluates to its status. */
#define PT_CALL(call)                                                                              \
    do {                                                                                           \
        enter(self, &job, &context);                                                               \
        Py_BEGIN_ALLOW_THREADS status = (call);                                                    \
        Py_END_ALLOW_THREADS leave(&context);                                                      \
    } while (0)

/* ---- construction ---- */

static int take_ints(pt_job *job, PyObject *ints) {
    job->n_ints = PyTuple_Size(ints);
    if (job->n_ints > PT_MAX_INTS) {
        PyErr_SetString(PyExc_TypeError, "too many solver options");
        return 0;
    }
    for (Py_ssize_t i = 0; i < job->n_ints; i++)
        job->ints[i] = PyLong_AsLongLong(PyTuple_GetItem(ints, i));
    return !PyErr_Occurred();
}

/* arrays: a tuple of None or (rows, ...) or (1, ...) C-contiguous arrays of int64 or bool. */
static int take_arrays(pt_job *job, PyObject *arrays) {
    job->n_arrays = PyTuple_Size(arrays);
    if (job->n_arrays > PT_MAX_ARRAYS) {
        PyErr_SetString(PyExc_TypeError, "too many instance arrays");
        return 0;
    }
    for (Py_ssize_t i = 0; i < job->n_arrays; i++) {
        PyObject *o = PyTuple_GetItem(arrays, i);
        if (o == Py_None)
            continue;
        if (!PyArray_Check(o) || !PyArray_ISCARRAY_RO(as_array(o)) ||
            PyArray_NDIM(as_array(o)) < 1) {
            PyErr_SetString(PyExc_TypeError, "instance arrays must be C-contiguous");
            return 0;
        }
        const npy_intp rows = PyArray_DIM(as_array(o), 0);
        job->arrays[i].data = PyArray_DATA(as_array(o));
        job->arrays[i].row_stride = rows > 1 ? (int64_t)(PyArray_SIZE(as_array(o)) / rows) : 0;
    }
    return 1;
}

static int take_theta(Run *self, PyObject *theta, int item_ndim) {
    pt_job *job = &self->job;
    if (!PyArray_Check(theta) || !PyArray_ISCARRAY_RO(as_array(theta)) ||
        (PyArray_TYPE(as_array(theta)) != NPY_FLOAT &&
         PyArray_TYPE(as_array(theta)) != NPY_DOUBLE)) {
        PyErr_SetString(PyExc_TypeError, "theta must be a C-contiguous float32 or float64 array");
        return 0;
    }
    const int ndim = PyArray_NDIM(as_array(theta));
    if (item_ndim > ndim || item_ndim > PT_MAX_DIMS || ndim - item_ndim > PT_MAX_DIMS) {
        PyErr_SetString(PyExc_TypeError, "theta has the wrong number of dimensions");
        return 0;
    }
    self->theta = Py_NewRef(theta);
    job->f64 = PyArray_TYPE(as_array(theta)) == NPY_DOUBLE;
    job->theta = PyArray_DATA(as_array(theta));
    job->n_batch_dims = ndim - item_ndim;
    job->n_item_dims = item_ndim;
    for (int i = 0; i < ndim; i++)
        *(i < ndim - item_ndim ? &job->batch_dims[i] : &job->item_dims[i - (ndim - item_ndim)]) =
            PyArray_DIM(as_array(theta), i);
    return 1;
}

/* noise: (kind, param, param, shift, multiplicative, scale or None, sample or None, has_score). */
static int take_noise(Run *self, PyObject *noise) {
    pt_job *job = &self->job;
    int kind;
    PyObject *scale, *sample;
    if (!PyArg_ParseTuple(noise, "idddpOOp", &kind, &job->noise.param[0], &job->noise.param[1],
                          &job->noise.shift, &job->noise.multiplicative, &scale, &sample,
                          &job->noise.has_score))
        return 0;
    job->noise.kind = (pt_noise_kind)kind;
    if (kind < PT_NORMAL || kind > PT_USER_NOISE ||
        (kind == PT_USER_NOISE && !PyCallable_Check(sample))) {
        PyErr_SetString(PyExc_TypeError, "unknown kind of noise");
        return 0;
    }
    if (kind == PT_USER_NOISE) {
        self->sample = Py_NewRef(sample);
        job->noise.fn = call_noise;
    }
    if (scale != Py_None) {
        self->scale = Py_NewRef(scale);
        job->noise.scale = expect_array(scale, NPY_DOUBLE, -1, "scale");
        if (!job->noise.scale)
            return 0;
    }
    return 1;
}

static int take_epsilon(Run *self, PyObject *epsilon, int64_t rows) {
    if (epsilon == Py_None)
        return 1;
    self->epsilon = Py_NewRef(epsilon);
    self->job.epsilon = expect_array(epsilon, NPY_DOUBLE, rows, "epsilon");
    return self->job.epsilon != NULL;
}

static int fill_job(Run *self, PyObject *args) {
    pt_job *job = &self->job;
    PyObject *solver, *ints, *arrays, *theta, *epsilon, *noise, *oracle;
    int item_ndim, sampler, baseline;
    unsigned long long key;
    long long row_offset, samples, memory_limit;
    if (!PyArg_ParseTuple(args, "UO!O!OiOO!KLLiiLiO", &solver, &PyTuple_Type, &ints, &PyTuple_Type,
                          &arrays, &theta, &item_ndim, &epsilon, &PyTuple_Type, &noise, &key,
                          &row_offset, &samples, &sampler, &baseline, &memory_limit,
                          &job->n_threads, &oracle))
        return 0;
    self->solver = Py_NewRef(solver);
    self->arrays = Py_NewRef(arrays);
    job->solver = PyUnicode_AsUTF8AndSize(solver, NULL);
    job->key = key;
    job->row_offset = row_offset;
    job->n_samples = samples;
    job->sampler = (pt_sampler)sampler;
    job->baseline = (pt_baseline)baseline;
    job->memory_limit = memory_limit;
    if (oracle != Py_None) {
        self->oracle = Py_NewRef(oracle);
        job->oracle = call_oracle;
    }
    if (!job->solver || !take_ints(job, ints) || !take_arrays(job, arrays) ||
        !take_theta(self, theta, item_ndim) || !take_noise(self, noise))
        return 0;
    int64_t rows = 1, n = 1;
    for (int64_t i = 0; i < job->n_batch_dims; i++)
        rows *= job->batch_dims[i];
    for (int64_t i = 0; i < job->n_item_dims; i++)
        n *= job->item_dims[i];
    if (self->scale && !expect_array(self->scale, NPY_DOUBLE, n, "scale"))
        return 0;
    for (int64_t i = 0; i < job->n_arrays; i++) {
        PyObject *o = PyTuple_GetItem(arrays, (Py_ssize_t)i);
        if (o != Py_None && PyArray_DIM(as_array(o), 0) != 1 &&
            PyArray_DIM(as_array(o), 0) != rows) {
            PyErr_SetString(PyExc_TypeError, "instance arrays must have one entry a row, or one");
            return 0;
        }
    }
    return take_epsilon(self, epsilon, rows);
}

static PyObject *run_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Run *self = (Run *)alloc(type, 0);
    if (!self)
        return NULL;
    if (!fill_job(self, args)) {
        Py_DECREF(self);
        return NULL;
    }
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    self->job.poll = poll_signals;
    Py_BEGIN_ALLOW_THREADS status = pt_prepare(&self->job, &err);
    Py_END_ALLOW_THREADS if (status != PT_OK) {
        raise_status(status, &err);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void run_dealloc(PyObject *object) {
    Run *self = (Run *)object;
    PyTypeObject *type = Py_TYPE(object);
    pt_release(&self->job);
    Py_CLEAR(self->solver);
    Py_CLEAR(self->theta);
    Py_CLEAR(self->epsilon);
    Py_CLEAR(self->scale);
    Py_CLEAR(self->arrays);
    Py_CLEAR(self->oracle);
    Py_CLEAR(self->sample);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(object);
    Py_DECREF(type);
}

/* ---- methods ---- */

/* forward(value, clipped, target) -> (y, value, value_stderr, clipped) */
static PyObject *run_forward(PyObject *object, PyObject *args) {
    Run *self = (Run *)object;
    int want_value, want_clipped;
    PyObject *target, *out[4] = { NULL };
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    if (!PyArg_ParseTuple(args, "ppO", &want_value, &want_clipped, &target))
        return NULL;
    const void *y = NULL;
    if (target != Py_None &&
        !(y = expect_array(target, real_type(self), self->job.n_rows * self->job.n, "y")))
        return NULL;
    int failed = !(out[0] = new_rows(self, self->job.problem.y_size, real_type(self)));
    failed |= want_value && !(out[1] = new_rows(self, -1, NPY_DOUBLE));
    failed |= want_value && !(out[2] = new_rows(self, -1, NPY_DOUBLE));
    failed |= want_clipped && !(out[3] = new_rows(self, -1, NPY_DOUBLE));
    if (failed)
        goto done;
    if (want_clipped)
        memset(PyArray_DATA(as_array(out[3])), 0, (size_t)self->job.n_rows * sizeof(double));
    const pt_forward_out wanted = { data_or_null(out[0]), data_or_null(out[1]),
                                    data_or_null(out[2]), data_or_null(out[3]), y };
    PT_CALL(pt_forward(&job, &wanted, &err));
    self->job.codes = job.codes;
    self->job.y_mean = job.y_mean;
    if (status == PT_OK)
        return pack(out, 4);
    raise_status(status, &err);
done:
    for (int i = 0; i < 4; i++)
        Py_XDECREF(out[i]);
    return NULL;
}

static int ready(const Run *self) {
    if (!self->job.y_mean)
        PyErr_SetString(PyExc_RuntimeError, "forward must be called first");
    return self->job.y_mean != NULL;
}

/* vjp(g, stderr) -> (grad, grad_stderr) */
static PyObject *run_vjp(PyObject *object, PyObject *args) {
    Run *self = (Run *)object;
    PyObject *g, *out[2] = { NULL };
    int want_error;
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    if (!ready(self) || !PyArg_ParseTuple(args, "Op", &g, &want_error))
        return NULL;
    const void *cotangent =
        expect_array(g, real_type(self), self->job.n_rows * self->job.problem.y_size, "g");
    if (!cotangent || !(out[0] = new_like_theta(self)) ||
        (want_error && !(out[1] = new_like_theta(self))))
        goto done;
    PT_CALL(pt_vjp(&job, cotangent, data_or_null(out[0]), data_or_null(out[1]), &err));
    if (status == PT_OK)
        return pack(out, 2);
    raise_status(status, &err);
done:
    Py_XDECREF(out[0]);
    Py_XDECREF(out[1]);
    return NULL;
}

/* Calls with one array in (or None) and one out. */
typedef enum {
    JVP,
    JACOBIAN,
    Y_STDERR,
    VJP_EPSILON,
    VALUE_EPSILON,
    VALUE_GRAD,
    OBJECTIVE
} one_call;

static PyObject *one_result(const Run *self, one_call which) {
    const pt_job *job = &self->job;
    const npy_intp square[3] = { (npy_intp)job->n_rows, (npy_intp)job->problem.y_size,
                                 (npy_intp)job->n };
    switch (which) {
    case JACOBIAN:
        return new_array(3, square, real_type(self));
    case VALUE_GRAD:
        return new_like_theta(self);
    case JVP:
    case Y_STDERR:
        return new_rows(self, job->problem.y_size, real_type(self));
    default:
        return new_rows(self, -1, NPY_DOUBLE);
    }
}

static pt_status one_core_call(one_call which, pt_job *job, const void *in, void *out,
                               pt_error *err) {
    switch (which) {
    case JVP:
        return pt_jvp(job, in, out, err);
    case JACOBIAN:
        return pt_jacobian(job, out, err);
    case Y_STDERR:
        return pt_y_stderr(job, out, err);
    case VJP_EPSILON:
        return pt_vjp_epsilon(job, in, out, err);
    case VALUE_EPSILON:
        return pt_value_epsilon(job, out, err);
    case VALUE_GRAD:
        return pt_value_grad(job, in, out, err);
    default:
        return pt_objective(job, in, out, err);
    }
}

static PyObject *run_one(Run *self, one_call which, PyObject *in, int64_t in_size) {
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    const void *from = NULL;
    if (which != OBJECTIVE && !ready(self))
        return NULL;
    if (in != Py_None && !(from = expect_array(in, real_type(self), in_size, "the argument")))
        return NULL;
    PyObject *out = one_result(self, which);
    if (!out)
        return NULL;
    PT_CALL(one_core_call(which, &job, from, PyArray_DATA(as_array(out)), &err));
    if (status == PT_OK)
        return out;
    Py_DECREF(out);
    return raise_status(status, &err);
}

static int64_t item_size(const Run *self) {
    return self->job.n_rows * self->job.n;
}

static int64_t solution_size(const Run *self) {
    return self->job.n_rows * self->job.problem.y_size;
}

static PyObject *run_jvp(PyObject *self, PyObject *t) {
    return run_one((Run *)self, JVP, t, item_size((Run *)self));
}

static PyObject *run_jacobian(PyObject *self, PyObject *none) {
    (void)none;
    return run_one((Run *)self, JACOBIAN, Py_None, 0);
}

static PyObject *run_y_stderr(PyObject *self, PyObject *none) {
    (void)none;
    return run_one((Run *)self, Y_STDERR, Py_None, 0);
}

static PyObject *run_vjp_epsilon(PyObject *self, PyObject *g) {
    return run_one((Run *)self, VJP_EPSILON, g, solution_size((Run *)self));
}

static PyObject *run_value_epsilon(PyObject *self, PyObject *none) {
    (void)none;
    return run_one((Run *)self, VALUE_EPSILON, Py_None, 0);
}

static PyObject *run_value_grad(PyObject *self, PyObject *target) {
    return run_one((Run *)self, VALUE_GRAD, target, item_size((Run *)self));
}

static PyObject *run_objective(PyObject *self, PyObject *y) {
    return run_one((Run *)self, OBJECTIVE, y, item_size((Run *)self));
}

/* (row0, n_rows, first, count) */
static PyObject *run_draws(Run *self, PyObject *args, int perturbed) {
    long long row0, n_rows, first, count;
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    if (!PyArg_ParseTuple(args, "LLLL", &row0, &n_rows, &first, &count))
        return NULL;
    const pt_draw_range which = { row0, n_rows, first, count };
    const npy_intp dims[3] = { (npy_intp)(n_rows > 0 ? n_rows : 0),
                               (npy_intp)(count > 0 ? count : 0),
                               (npy_intp)(perturbed ? self->job.n : self->job.problem.y_size) };
    PyObject *out = new_array(3, dims, real_type(self));
    if (!out)
        return NULL;
    PT_CALL(
        (perturbed ? pt_perturb : pt_solutions)(&job, &which, PyArray_DATA(as_array(out)), &err));
    if (status == PT_OK)
        return out;
    Py_DECREF(out);
    return raise_status(status, &err);
}

static PyObject *run_solutions(PyObject *self, PyObject *args) {
    return run_draws((Run *)self, args, 0);
}

static PyObject *run_perturb(PyObject *self, PyObject *args) {
    return run_draws((Run *)self, args, 1);
}

/* exact(y, value, g, jacobian) -> (y, value, product, jacobian) */
static PyObject *run_exact(PyObject *object, PyObject *args) {
    Run *self = (Run *)object;
    int want_y, want_value, want_jac;
    PyObject *g, *out[4] = { NULL };
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    if (!PyArg_ParseTuple(args, "ppOp", &want_y, &want_value, &g, &want_jac))
        return NULL;
    const void *cotangent = NULL;
    if (g != Py_None && !(cotangent = expect_array(g, real_type(self), item_size(self), "g")))
        return NULL;
    const npy_intp square[3] = { (npy_intp)self->job.n_rows, (npy_intp)self->job.n,
                                 (npy_intp)self->job.n };
    int failed = want_y && !(out[0] = new_like_theta(self));
    failed |= want_value && !(out[1] = new_rows(self, -1, NPY_DOUBLE));
    failed |= cotangent && !(out[2] = new_like_theta(self));
    failed |= want_jac && !(out[3] = new_array(3, square, real_type(self)));
    if (failed)
        goto done;
    PT_CALL(pt_exact(&job, data_or_null(out[0]), data_or_null(out[1]), cotangent,
                     data_or_null(out[2]), data_or_null(out[3]), &err));
    if (status == PT_OK)
        return pack(out, 4);
    raise_status(status, &err);
done:
    for (int i = 0; i < 4; i++)
        Py_XDECREF(out[i]);
    return NULL;
}

static PyObject *run_has_exact(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(pt_has_exact(&((Run *)self)->job));
}

static PyObject *run_keeps_codes(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(((Run *)self)->job.codes != NULL);
}

static PyMethodDef run_methods[] = {
    { "forward", run_forward, METH_VARARGS,
      "Draw, solve, add up: (y, value, value_stderr, clipped)." },
    { "vjp", run_vjp, METH_VARARGS, "Score estimate of J^T g and its standard error." },
    { "jvp", run_jvp, METH_O, "Score estimate of J t." },
    { "jacobian", run_jacobian, METH_NOARGS, "Score estimate of J." },
    { "y_stderr", run_y_stderr, METH_NOARGS, "Standard error of the mean solution." },
    { "vjp_epsilon", run_vjp_epsilon, METH_O, "Score estimate of d<g, y>/d epsilon." },
    { "value_epsilon", run_value_epsilon, METH_NOARGS, "Estimate of dF/d epsilon." },
    { "value_grad", run_value_grad, METH_O,
      "Gradient of the value, or of the loss given a target." },
    { "objective", run_objective, METH_O, "Objective of given solutions." },
    { "solutions", run_solutions, METH_VARARGS, "Solutions of (row0, n_rows, first, count)." },
    { "perturb", run_perturb, METH_VARARGS, "Noisy items of (row0, n_rows, first, count)." },
    { "exact", run_exact, METH_VARARGS, "Closed form: (y, value, J g, J)." },
    { NULL, NULL, 0, NULL }
};

static PyGetSetDef run_getters[] = {
    { "has_exact", run_has_exact, NULL, "Is there a closed form for this solver and noise?", NULL },
    { "keeps_codes", run_keeps_codes, NULL, "Do the codes fit the memory limit?", NULL },
    { NULL, NULL, NULL, NULL, NULL }
};

#ifdef __GNUC__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* slots hold functions as void pointers */
#endif
static PyType_Slot run_slots[] = { { Py_tp_doc, "One call's data, draws and codes." },
                                   { Py_tp_new, (void *)run_new },
                                   { Py_tp_dealloc, (void *)run_dealloc },
                                   { Py_tp_methods, run_methods },
                                   { Py_tp_getset, run_getters },
                                   { 0, NULL } };
#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif

static PyType_Spec run_spec = { "perturbed._core.Run", sizeof(Run), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, run_slots };

/* ---- module functions ---- */

static PyObject *core_key(PyObject *module, PyObject *args) {
    unsigned long long seed, call;
    unsigned int domain;
    (void)module;
    if (!PyArg_ParseTuple(args, "KKI", &seed, &call, &domain))
        return NULL;
    return PyLong_FromUnsignedLongLong(pt_key(seed, call, domain));
}

static PyObject *core_philox(PyObject *module, PyObject *args) {
    uint32_t counter[4], key[2], word[4];
    (void)module;
    if (!PyArg_ParseTuple(args, "(IIII)(II)", &counter[0], &counter[1], &counter[2], &counter[3],
                          &key[0], &key[1]))
        return NULL;
    pt_philox(counter, key, word);
    return Py_BuildValue("IIII", word[0], word[1], word[2], word[3]);
}

static PyObject *core_math(PyObject *module, PyObject *args) {
    const char *name;
    PyObject *x;
    (void)module;
    if (!PyArg_ParseTuple(args, "sO", &name, &x))
        return NULL;
    const int type = PyArray_Check(x) ? PyArray_TYPE(as_array(x)) : NPY_NOTYPE;
    if ((type != NPY_FLOAT && type != NPY_DOUBLE) || !PyArray_ISCARRAY_RO(as_array(x))) {
        PyErr_SetString(PyExc_TypeError, "x must be a C-contiguous float32 or float64 array");
        return NULL;
    }
    PyObject *out = new_array(PyArray_NDIM(as_array(x)), PyArray_DIMS(as_array(x)), type);
    if (out && !pt_math(name, type == NPY_DOUBLE, (int64_t)PyArray_SIZE(as_array(x)),
                        PyArray_DATA(as_array(x)), PyArray_DATA(as_array(out)))) {
        Py_CLEAR(out);
        PyErr_Format(PyExc_ValueError, "name must be an elementary function of the core, got %s",
                     name);
    }
    return out;
}

static PyObject *core_config(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    return Py_BuildValue("{s:s,s:s,s:O,s:i,s:z}", "compiler", pt_compiler(), "isa", pt_isa(),
                         "openmp", pt_has_openmp() ? Py_True : Py_False, "cores", pt_usable_cores(),
                         "problem", pt_isa_problem());
}

static PyMethodDef core_methods[] = {
    { "key", core_key, METH_VARARGS, "64 bits of key from (seed, call, domain)." },
    { "philox", core_philox, METH_VARARGS, "One Philox 4x32-10 block from (counter, key)." },
    { "math", core_math, METH_VARARGS, "An elementary function of the core, element by element." },
    { "config", core_config, METH_NOARGS, "Compiler, instruction set, OpenMP, usable cores." },
    { NULL, NULL, 0, NULL }
};

static struct PyModuleDef core_module = { PyModuleDef_HEAD_INIT,
                                          "perturbed._core",
                                          "The compiled core of perturbed.",
                                          -1,
                                          core_methods,
                                          NULL,
                                          NULL,
                                          NULL,
                                          NULL };

PyMODINIT_FUNC PyInit__core(void) {
    import_array();
    PyObject *module = PyModule_Create(&core_module),
             *type = module ? PyType_FromSpec(&run_spec) : NULL;
    if (!type || PyModule_AddObjectRef(module, "Run", type) < 0)
        Py_CLEAR(module);
    Py_XDECREF(type);
    return module;
}
