/* ranking: ranks 1..n of an item; y = argmax <y, theta> (descending: argmax -<y, theta>) over the orders of 1..n.
 * Needs PT_REAL, PT_BITS, PT_F64 and PT_NAME; order.tmpl.h included before.
 *
 * ints = {descending}. A -inf leaves its element out: the n' others share the ranks 1..n', it gets 0.
 * code[i] = 1 + #{j: t_j < t_i} + #{j < i: t_j = t_i}; descending: 1 + #{j: t_j > t_i} + #{j < i: t_j = t_i}. */
#ifndef PT_REAL
#error "ranking.tmpl.h: define PT_REAL, PT_BITS, PT_F64 and PT_NAME first"
#endif

static pt_status PT_NAME(ranking_prepare)(pt_problem *p, pt_error *err) {
    const pt_status status = PT_NAME(order_prepare)(p, err);
    if (status != PT_OK)
        return status;
    p->y_size = p->n;
    p->code_kind = PT_CODE_DENSE;
    p->linear = 1;
    p->even = 1;
    p->moves = PT_MOVES_PLACE;
    p->places = p->n;
    p->from_top = p->ints[0] != 0;
    p->sign = p->ints[0] ? -1 : 1;
    return PT_OK;
}

static pt_status PT_NAME(ranking_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                        void *work, pt_error *err) {
    (void)err;
    return PT_NAME(order_solve)(p, group, 0, code, work);
}

static const pt_solver PT_NAME(ranking) = {
    .name = "ranking",
    .prepare = PT_NAME(ranking_prepare),
    .check = NULL,
    .work_size = PT_NAME(order_work_size),
    .solve = PT_NAME(ranking_solve),
    .exact = &PT_NAME(ranking_exact),
};
