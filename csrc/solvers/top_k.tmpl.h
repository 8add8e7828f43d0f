/* top_k: the k largest entries. theta (n,); ints: k, ordered; code: their indices, largest first. */
#ifndef PT_REAL
#error "top_k.tmpl.h is a template: include it from registry.tmpl.h"
#endif

static pt_status PT_NAME(top_k_prepare)(pt_problem *p, pt_error *err) {
    const int64_t k = p->ints[0];
    if (k < 1 || k > p->n)
        return pt_fail(err, PT_E_VALUE, -1,
                       "k must be between 1 and %lld (the length of theta), got %lld",
                       (long long)p->n, (long long)k);
    return PT_NAME(top_prepare)(p, k, p->ints[1] != 0, err);
}

static const pt_solver PT_NAME(top_k) = {
    .name = "top_k",
    .prepare = PT_NAME(top_k_prepare),
    .check = PT_NAME(top_check),
    .work_size = PT_NAME(top_work_size),
    .solve = PT_NAME(top_solve),
    .thresholds = PT_NAME(top_thresholds),
    .thresholds_size = PT_NAME(top_thresholds_size),
    .exact = &PT_NAME(top_k_exact),
};
