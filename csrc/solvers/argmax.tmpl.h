/* argmax: the largest entry. theta (n,); code: its index. */
#ifndef PT_REAL
#error "argmax.tmpl.h is a template: include it from registry.tmpl.h"
#endif

static pt_status PT_NAME(argmax_prepare)(pt_problem *p, pt_error *err) {
    return PT_NAME(top_prepare)(p, 1, 0, err);
}

static const pt_solver PT_NAME(argmax) = {
    .name = "argmax",
    .prepare = PT_NAME(argmax_prepare),
    .check = PT_NAME(top_check),
    .work_size = PT_NAME(top_work_size),
    .solve = PT_NAME(top_solve),
    .thresholds = PT_NAME(top_thresholds),
    .thresholds_size = PT_NAME(top_thresholds_size),
    .exact = &PT_NAME(argmax_exact),
};
