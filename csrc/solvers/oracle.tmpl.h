/* oracle: a user's solver behind pt_oracle_fn. Any item; ints: linear, y_size; code: the solution itself. */
#ifndef PT_REAL
#error "oracle.tmpl.h is a template: include it from registry.tmpl.h"
#endif

static pt_status PT_NAME(oracle_prepare)(pt_problem *p, pt_error *err) {
    if (!p->oracle)
        return pt_fail(err, PT_E_INTERNAL, -1, "an oracle needs a callback");
    p->y_size = p->ints[1];
    if (p->y_size > INT32_MAX / 2)
        return pt_fail(err, PT_E_VALUE, -1, "fn must return at most 1073741823 elements, got %lld",
                       (long long)p->y_size);
    p->code_len = p->y_size * (int64_t)(sizeof(PT_REAL) / sizeof(int32_t));
    p->code_kind = PT_CODE_REAL;
    p->linear = p->ints[0] != 0;
    p->serial = 1;
    return PT_OK;
}

static size_t PT_NAME(oracle_work_size)(const pt_problem *p) {
    (void)p;
    return 0;
}

/* The engine gives draws of one row, packed (draw_step = n). */
static pt_status PT_NAME(oracle_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                       void *work, pt_error *err) {
    (void)work;
    if (p->oracle(p->oracle_ctx, group->row[0], group->first, group->n_draws, group->theta, code))
        return pt_fail(err, PT_E_CALLBACK, group->row[0], "fn failed");
    return PT_OK;
}

static const pt_solver PT_NAME(oracle) = {
    .name = "oracle",
    .prepare = PT_NAME(oracle_prepare),
    .work_size = PT_NAME(oracle_work_size),
    .solve = PT_NAME(oracle_solve),
};
