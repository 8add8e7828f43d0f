/* permutation: the n x n 0/1 matrix that sorts an item: y[r][i] = 1 where element i stands in place r.
 * Needs PT_REAL, PT_BITS, PT_F64 and PT_NAME; order.tmpl.h included before.
 *
 * ints = {descending}. code[r] = index of the r-th smallest (descending: largest), ties to the lowest index: a stable
 * argsort of theta (of -theta). A -inf leaves its element out: the n' others fill the first places, the rest get -1. */
#ifndef PT_REAL
#error "permutation.tmpl.h: define PT_REAL, PT_BITS, PT_F64 and PT_NAME first"
#endif

/* y_size = n * n stays below 2^31. */
#define PT_PERMUTATION_MAX 46340

static pt_status PT_NAME(permutation_prepare)(pt_problem *p, pt_error *err) {
    if (p->n > PT_PERMUTATION_MAX)
        return pt_fail(err, PT_E_VALUE, -1,
                       "theta must have at most %d entries for a Permutation, got %lld",
                       PT_PERMUTATION_MAX, (long long)p->n);
    const pt_status status = PT_NAME(order_prepare)(p, err);
    if (status != PT_OK)
        return status;
    p->y_size = p->n * p->n;
    p->code_kind = PT_CODE_INDEX;
    p->code_step = p->n;
    p->linear = 0;
    p->moves = PT_MOVES_PLACE;
    p->places = p->n;
    p->from_top = p->ints[0] != 0;
    p->sign = 1;
    return PT_OK;
}

static pt_status PT_NAME(permutation_solve)(const pt_problem *p, const pt_group *group,
                                            int32_t *code, void *work, pt_error *err) {
    (void)err;
    return PT_NAME(order_solve)(p, group, 1, code, work);
}

static const pt_solver PT_NAME(permutation) = {
    .name = "permutation",
    .prepare = PT_NAME(permutation_prepare),
    .check = NULL,
    .work_size = PT_NAME(order_work_size),
    .solve = PT_NAME(permutation_solve),
    .exact = &PT_NAME(permutation_exact),
};
