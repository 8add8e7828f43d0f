/* module: perturbed._core, its functions and its one type. */
#define PT_IMPORTS_NUMPY
#include "binding.h"

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

static PyObject *core_narrow(PyObject *module, PyObject *x) {
    (void)module;
    const double *from = expect_array(x, NPY_DOUBLE, -1, "x");
    PyObject *out =
        from ? new_array(PyArray_NDIM(as_array(x)), PyArray_DIMS(as_array(x)), NPY_FLOAT) : NULL;
    if (out)
        pt_narrow(from, (int64_t)PyArray_SIZE(as_array(x)), PyArray_DATA(as_array(out)));
    return out;
}

static int is_real(PyObject *x) {
    return PyArray_Check(x) &&
           (PyArray_TYPE(as_array(x)) == NPY_FLOAT || PyArray_TYPE(as_array(x)) == NPY_DOUBLE) &&
           PyArray_ISCARRAY_RO(as_array(x));
}

/* all_finite(x, threads) */
static PyObject *core_all_finite(PyObject *module, PyObject *args) {
    PyObject *x;
    int threads, finite;
    (void)module;
    if (!PyArg_ParseTuple(args, "Oi", &x, &threads))
        return NULL;
    if (!is_real(x)) {
        PyErr_SetString(PyExc_TypeError, "x must be a C-contiguous float32 or float64 array");
        return NULL;
    }
    const int f64 = PyArray_TYPE(as_array(x)) == NPY_DOUBLE;
    const int64_t count = (int64_t)PyArray_SIZE(as_array(x));
    const void *data = PyArray_DATA(as_array(x));
    Py_BEGIN_ALLOW_THREADS finite = pt_all_finite(data, f64, count, threads);
    Py_END_ALLOW_THREADS return PyBool_FromLong(finite);
}

/* copy(x, threads) */
static PyObject *core_copy(PyObject *module, PyObject *args) {
    PyObject *x;
    int threads;
    (void)module;
    if (!PyArg_ParseTuple(args, "Oi", &x, &threads))
        return NULL;
    if (!is_real(x)) {
        PyErr_SetString(PyExc_TypeError, "x must be a C-contiguous float32 or float64 array");
        return NULL;
    }
    PyArrayObject *from = as_array(x);
    PyObject *out = new_array(PyArray_NDIM(from), PyArray_DIMS(from), PyArray_TYPE(from));
    if (!out)
        return NULL;
    const void *data = PyArray_DATA(from);
    const size_t bytes = (size_t)PyArray_NBYTES(from);
    void *to = PyArray_DATA(as_array(out));
    Py_BEGIN_ALLOW_THREADS pt_copy(data, bytes, to, threads);
    Py_END_ALLOW_THREADS return out;
}

static PyObject *core_config(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    return Py_BuildValue("{s:s,s:s,s:O,s:i,s:z}", "compiler", pt_compiler(), "isa", pt_isa(),
                         "openmp", pt_has_openmp() ? Py_True : Py_False, "cores", pt_usable_cores(),
                         "problem", pt_isa_problem());
}

/* exact_noises(solver) -> (noises, noises that need one width, widest over narrowest width) or None */
static PyObject *core_exact_noises(PyObject *module, PyObject *name) {
    const char *solver = PyUnicode_AsUTF8AndSize(name, NULL);
    (void)module;
    if (!solver)
        return NULL;
    const pt_exact_form *form = pt_find_exact(solver);
    if (!form)
        Py_RETURN_NONE;
    return Py_BuildValue("IId", form->noises, form->one_width, form->widest_ratio);
}

static PyMethodDef core_methods[] = {
    { "key", core_key, METH_VARARGS, "64 bits of key from (seed, call, domain)." },
    { "philox", core_philox, METH_VARARGS, "One Philox 4x32-10 block from (counter, key)." },
    { "math", core_math, METH_VARARGS, "An elementary function of the core, element by element." },
    { "narrow", core_narrow, METH_O, "float64 to float32, in no special mode of the thread." },
    { "all_finite", core_all_finite, METH_VARARGS, "Whether all entries are finite." },
    { "copy", core_copy, METH_VARARGS, "A copy, by several threads." },
    { "exact_noises", core_exact_noises, METH_O,
      "Noises for which a solver has exact forms: (bits, bits that need one width, ratio)." },
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
