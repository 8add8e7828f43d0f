/* methods: one core call each: allocate the results, let the GIL go, turn a status into an exception. */
#include "binding.h"

/* forward(value, clipped, target) -> (y, value, value_stderr, clipped) */
static PyObject *run_forward(PyObject *object, PyObject *args) {
    Run *self = (Run *)object;
    int want_value, want_clipped, is_zero;
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
    int failed = !(out[0] = new_solutions(self, &is_zero));
    failed |= want_value && !(out[1] = new_rows(self, -1, NPY_DOUBLE));
    failed |= want_value && !(out[2] = new_rows(self, -1, NPY_DOUBLE));
    failed |= want_clipped && !(out[3] = new_rows(self, -1, NPY_DOUBLE));
    if (failed)
        goto done;
    if (want_clipped)
        memset(PyArray_DATA(as_array(out[3])), 0, (size_t)self->job.n_rows * sizeof(double));
    const pt_forward_out wanted = { data_or_null(out[0]),
                                    data_or_null(out[1]),
                                    data_or_null(out[2]),
                                    data_or_null(out[3]),
                                    y,
                                    is_zero };
    PT_CALL(pt_forward(&job, &wanted, &err));
    self->job.codes = job.codes;
    self->job.plain = job.plain;
    self->job.y_mean = job.y_mean;
    self->job.y_is_callers = job.y_is_callers;
    Py_CLEAR(self->y);
    self->y = Py_NewRef(out[0]);
    if (status == PT_OK)
        return pack(out, 4);
    raise_status(status, &err);
done:
    for (int i = 0; i < 4; i++)
        Py_XDECREF(out[i]);
    return NULL;
}

/* give_y() -> bool: may what forward gave be handed on? Then only vjp may follow. */
static PyObject *run_give_y(PyObject *object, PyObject *none) {
    Run *self = (Run *)object;
    (void)none;
    if (!self->y || !pt_give_y(&self->job))
        Py_RETURN_FALSE;
    Py_CLEAR(self->y);
    Py_RETURN_TRUE;
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
    if ((!self->job.codes && !ready(self)) || !PyArg_ParseTuple(args, "Op", &g, &want_error))
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

/* rao_blackwell(g or None, stderr) -> (grad or y, its stderr) */
static PyObject *run_rao_blackwell(PyObject *object, PyObject *args) {
    Run *self = (Run *)object;
    PyObject *g, *out[2] = { NULL };
    int want_error;
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    if (!ready(self) || !PyArg_ParseTuple(args, "Op", &g, &want_error))
        return NULL;
    const int64_t size = self->job.problem.y_size;
    const void *cotangent = NULL;
    if (g != Py_None &&
        !(cotangent = expect_array(g, real_type(self), self->job.n_rows * size, "g")))
        return NULL;
    for (int i = 0; i < 1 + want_error; i++)
        if (!(out[i] = cotangent ? new_like_theta(self) : new_rows(self, size, real_type(self))))
            goto done;
    PT_CALL(pt_rao_blackwell(&job, cotangent, data_or_null(out[0]), data_or_null(out[1]), &err));
    if (status == PT_OK)
        return pack(out, 2);
    raise_status(status, &err);
done:
    Py_XDECREF(out[0]);
    Py_XDECREF(out[1]);
    return NULL;
}

/* directional(t, symmetric, stderr) -> (J t, its stderr) */
static PyObject *run_directional(PyObject *object, PyObject *args) {
    Run *self = (Run *)object;
    PyObject *t, *out[2] = { NULL };
    int symmetric, want_error;
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    if (!PyArg_ParseTuple(args, "Opp", &t, &symmetric, &want_error))
        return NULL;
    const int64_t size = self->job.problem.y_size;
    const void *tangent = expect_array(t, real_type(self), self->job.n_rows * self->job.n, "t");
    if (!tangent)
        return NULL;
    for (int i = 0; i < 1 + want_error; i++)
        if (!(out[i] = new_rows(self, size, real_type(self))))
            goto done;
    PT_CALL(
        pt_directional(&job, tangent, symmetric, data_or_null(out[0]), data_or_null(out[1]), &err));
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
    PROJECT,
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
    case PROJECT:
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
    case PROJECT:
        return pt_project(job, in, out, err);
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
    if (which != OBJECTIVE && which != PROJECT && !ready(self))
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

static PyObject *run_project(PyObject *self, PyObject *x) {
    return run_one((Run *)self, PROJECT, x, item_size((Run *)self));
}

static PyObject *run_objective(PyObject *self, PyObject *y) {
    return run_one((Run *)self, OBJECTIVE, y, item_size((Run *)self));
}

/* soft(temperature, grad) -> (value, grad) */
static PyObject *run_soft(PyObject *object, PyObject *args) {
    Run *self = (Run *)object;
    double temperature;
    int want_grad;
    PyObject *out[2] = { NULL };
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    if (!PyArg_ParseTuple(args, "dp", &temperature, &want_grad))
        return NULL;
    if (!(out[0] = new_rows(self, -1, NPY_DOUBLE)) ||
        (want_grad && !(out[1] = new_like_theta(self))))
        goto done;
    PT_CALL(pt_soft_value(&job, temperature, data_or_null(out[0]), data_or_null(out[1]), &err));
    if (status == PT_OK)
        return pack(out, 2);
    raise_status(status, &err);
done:
    Py_XDECREF(out[0]);
    Py_XDECREF(out[1]);
    return NULL;
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

/* exact(y, value, g, t, jacobian) -> (y, value, J^T g, J t, J) */
static PyObject *run_exact(PyObject *object, PyObject *args) {
    Run *self = (Run *)object;
    int want_y, want_value, want_jac;
    PyObject *g, *t, *out[5] = { NULL };
    pt_error err = { PT_OK, -1, "" };
    pt_status status;
    pt_job job;
    callbacks context;
    pt_exact_io io = { 0 };
    if (!PyArg_ParseTuple(args, "ppOOp", &want_y, &want_value, &g, &t, &want_jac))
        return NULL;
    const int64_t y_size = self->job.problem.y_size;
    if (g != Py_None && !(io.g = expect_array(g, real_type(self), solution_size(self), "g")))
        return NULL;
    if (t != Py_None && !(io.t = expect_array(t, real_type(self), item_size(self), "tangent")))
        return NULL;
    const npy_intp square[3] = { (npy_intp)self->job.n_rows, (npy_intp)y_size,
                                 (npy_intp)self->job.n };
    int failed = want_y && !(out[0] = new_rows(self, y_size, real_type(self)));
    failed |= want_value && !(out[1] = new_rows(self, -1, NPY_DOUBLE));
    failed |= io.g && !(out[2] = new_like_theta(self));
    failed |= io.t && !(out[3] = new_rows(self, y_size, real_type(self)));
    failed |= want_jac && !(out[4] = new_array(3, square, real_type(self)));
    if (failed)
        goto done;
    io.y = data_or_null(out[0]);
    io.value = data_or_null(out[1]);
    io.vjp = data_or_null(out[2]);
    io.jvp = data_or_null(out[3]);
    io.jac = data_or_null(out[4]);
    PT_CALL(pt_exact(&job, &io, &err));
    if (status == PT_OK)
        return pack(out, 5);
    raise_status(status, &err);
done:
    for (int i = 0; i < 5; i++)
        Py_XDECREF(out[i]);
    return NULL;
}

static PyObject *run_has_exact(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromLong(pt_has_exact(&((Run *)self)->job));
}

static PyObject *run_has_rao_blackwell(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(pt_has_rao_blackwell(&((Run *)self)->job));
}

static PyObject *run_keeps_codes(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(((Run *)self)->job.codes != NULL);
}

PyMethodDef run_methods[] = {
    { "give_y", run_give_y, METH_NOARGS, "Whether y may be handed on." },
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
    { "project", run_project, METH_O, "Projection on the span of differences of solutions." },
    { "objective", run_objective, METH_O, "Objective of given solutions." },
    { "solutions", run_solutions, METH_VARARGS, "Solutions of (row0, n_rows, first, count)." },
    { "perturb", run_perturb, METH_VARARGS, "Noisy items of (row0, n_rows, first, count)." },
    { "rao_blackwell", run_rao_blackwell, METH_VARARGS,
      "Rao-Blackwell estimate of J^T g, or of y without g, and its standard error." },
    { "soft", run_soft, METH_VARARGS, "Log-sum-exp over all solutions and its gradient." },
    { "directional", run_directional, METH_VARARGS,
      "Directional estimate of J t and its standard error." },
    { "exact", run_exact, METH_VARARGS, "Exact form: (y, value, J^T g, J t, J)." },
    { NULL, NULL, 0, NULL }
};

PyGetSetDef run_getters[] = {
    { "has_exact", run_has_exact, NULL,
      "Is there an exact form for this solver, noise and size? 2: to be preferred to draws.",
      NULL },
    { "has_rao_blackwell", run_has_rao_blackwell, NULL,
      "Does the Rao-Blackwell estimator exist for this solver and noise?", NULL },
    { "keeps_codes", run_keeps_codes, NULL, "Do the codes fit the memory limit?", NULL },
    { NULL, NULL, NULL, NULL, NULL }
};
