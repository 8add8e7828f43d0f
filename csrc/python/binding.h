/* binding: what the files of the Python face share. */
#ifndef PT_BINDING_H
#define PT_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdio.h>
#include <string.h>

#ifndef PT_IMPORTS_NUMPY /* defined by module.c alone */
#define NO_IMPORT_ARRAY
#endif
#define PY_ARRAY_UNIQUE_SYMBOL perturbed_core_numpy
#include <numpy/arrayobject.h>

#include "../perturbed.h"

/* A job and the Python objects that it points into. */
typedef struct {
    PyObject_HEAD pt_job job;
    PyObject *solver, *theta, *epsilon, *scale, *arrays; /* owned */
    PyObject *y;                                         /* the mean that forward gave, owned */
    PyObject *oracle, *sample;                           /* callables or NULL */
} Run;

static inline PyObject *raise_status(pt_status status, const pt_error *err) {
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

static inline PyArrayObject *as_array(PyObject *o) {
    return (PyArrayObject *)(void *)o;
}

static inline int real_type(const Run *self) {
    return self->job.f64 ? NPY_DOUBLE : NPY_FLOAT;
}

/* o must be a C-contiguous aligned native array of this type and size; sets TypeError otherwise. */
static inline const void *expect_array(PyObject *o, int type, int64_t size, const char *name) {
    if (!PyArray_Check(o) || PyArray_TYPE(as_array(o)) != type ||
        !PyArray_ISCARRAY_RO(as_array(o)) ||
        (size >= 0 && (int64_t)PyArray_SIZE(as_array(o)) != size)) {
        PyErr_Format(PyExc_TypeError,
                     "%s must be a C-contiguous array of the expected type and size", name);
        return NULL;
    }
    return PyArray_DATA(as_array(o));
}

static inline PyObject *new_array(int ndim, const npy_intp *dims, int type) {
    return PyArray_SimpleNew(ndim, (npy_intp *)(uintptr_t)dims, type);
}

/* A new array with one entry, or one solution, a row. */
static inline PyObject *new_rows(const Run *self, int64_t length, int type) {
    const npy_intp dims[2] = { (npy_intp)self->job.n_rows, (npy_intp)length };
    return new_array(length < 0 ? 1 : 2, dims, type);
}

#define LARGE_ARRAY ((npy_intp)1 << 25) /* malloc takes what is larger from the system, zeroed */

/* An array for the mean of solutions. *is_zero: it is zeroed, since most of it stays 0 and the system zeroes what it gives.
 * Not where solutions are all that is asked for: threads then clear their own rows sooner than the system does. */
static inline PyObject *new_solutions(const Run *self, int *is_zero) {
    const pt_job *job = &self->job;
    npy_intp dims[2] = { (npy_intp)job->n_rows, (npy_intp)job->problem.y_size };
    const double bytes = (double)dims[0] * (double)dims[1] * (job->f64 ? 8 : 4);
    *is_zero = job->epsilon && bytes >= (double)LARGE_ARRAY && pt_y_is_sparse(job);
    if (!*is_zero)
        return new_array(2, dims, real_type(self));
    return PyArray_ZEROS(2, dims, real_type(self), 0);
}

static inline PyObject *new_like_theta(const Run *self) {
    PyArrayObject *theta = as_array(self->theta);
    return new_array(PyArray_NDIM(theta), PyArray_DIMS(theta), real_type(self));
}

static inline void *data_or_null(PyObject *array) {
    return array ? PyArray_DATA(as_array(array)) : NULL;
}

/* (items), None for those that are NULL; takes over the references. */
static inline PyObject *pack(PyObject **items, Py_ssize_t n) {
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

/* ---- calls of the core ---- */

/* What the callbacks of one call work with. */
typedef struct {
    Run *self;
    PyObject *z, *score; /* the user's noise of the row in work, owned */
} callbacks;

int call_oracle(void *ctx, int64_t row, int64_t first, int64_t n_draws, const void *theta, void *y);
int call_noise(void *ctx, int64_t row, const void **z, const void **score);
int poll_signals(void *ctx);

/* A copy of the job for one call, so that two threads may pull back through one Run. */
void enter(Run *self, pt_job *job, callbacks *c);
void leave(Run *self, const pt_job *job, callbacks *c);

/* Run one core call without the GIL. Evaluates to its status. */
#define PT_CALL(call)                                                                              \
    do {                                                                                           \
        enter(self, &job, &context);                                                               \
        Py_BEGIN_ALLOW_THREADS status = (call);                                                    \
        Py_END_ALLOW_THREADS leave(self, &job, &context);                                          \
    } while (0)

/* run.c, methods.c: the type's parts. */
PyObject *run_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
void run_dealloc(PyObject *object);
extern PyMethodDef run_methods[];
extern PyGetSetDef run_getters[];

#endif
