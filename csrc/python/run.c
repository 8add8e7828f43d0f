/* run: a Run from its arguments, and its end. Takes buffers and keeps what they belong to. */
#include "binding.h"

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

/* arrays: a tuple of None or (rows, ...) or (1, ...) C-contiguous arrays, of types as the solver's file says. */
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
    if (!PyArg_ParseTuple(args, "UO!O!OiOO!KLLiiLiOp", &solver, &PyTuple_Type, &ints, &PyTuple_Type,
                          &arrays, &theta, &item_ndim, &epsilon, &PyTuple_Type, &noise, &key,
                          &row_offset, &samples, &sampler, &baseline, &memory_limit,
                          &job->n_threads, &oracle, &job->check_late))
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

PyObject *run_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
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

void run_dealloc(PyObject *object) {
    Run *self = (Run *)object;
    PyTypeObject *type = Py_TYPE(object);
    pt_release(&self->job);
    Py_CLEAR(self->solver);
    Py_CLEAR(self->theta);
    Py_CLEAR(self->epsilon);
    Py_CLEAR(self->scale);
    Py_CLEAR(self->arrays);
    Py_CLEAR(self->y);
    Py_CLEAR(self->oracle);
    Py_CLEAR(self->sample);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(object);
    Py_DECREF(type);
}
