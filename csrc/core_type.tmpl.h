/* core_type: the templates of one element type, in order, and their table. */
#ifndef PT_REAL
#error "core_type.tmpl.h is a template: include it from core.tmpl.h"
#endif

#include "noise.tmpl.h"

#include "square.tmpl.h"

#include "codes.tmpl.h"

#include "estimators/exact.tmpl.h"

#include "estimators/exact_argmax.tmpl.h"

#include "estimators/exact_pairs.tmpl.h"

#include "estimators/exact_ranking.tmpl.h"

#include "estimators/exact_places.tmpl.h"

#include "solvers/registry.tmpl.h"

#include "draws.tmpl.h"

#include "screen.tmpl.h"

#include "estimators/score.tmpl.h"

#include "estimators/rao_terms.tmpl.h"

#include "estimators/rao_places.tmpl.h"

#include "estimators/rao_blackwell.tmpl.h"

static int64_t PT_NAME(find_bad)(const pt_problem *p, int64_t row, const void *item, char *what) {
    const PT_REAL *theta = item;
    const pt_array *mask = p->no_neg_inf && p->n_arrays > 0 ? &p->arrays[0] : NULL;
    const uint8_t *allowed =
        mask && mask->data ? (const uint8_t *)mask->data + row * mask->row_stride : NULL;
    int bad = 0;
    for (int64_t j = 0; j < p->n; j++)
        bad |=
            (theta[j] < PT_INFINITY ? 0 : 1) | (p->no_neg_inf & (theta[j] == -PT_INFINITY ? 1 : 0));
    if (!bad)
        return -1;
    for (int64_t j = 0; j < p->n; j++) {
        *what = theta[j] != theta[j] ? 'n' : theta[j] == PT_INFINITY ? 'i' : 'm';
        if (!(theta[j] < PT_INFINITY))
            return j;
        if (p->no_neg_inf && theta[j] == -PT_INFINITY && (!allowed || allowed[j]))
            return j;
    }
    return -1;
}

static size_t PT_NAME(work_size)(const pt_job *job, int64_t n_m) {
    const size_t solve = PT_NAME(solve_work_size)(job, n_m) + PT_NAME(screen_work_size)(job, n_m);
    const size_t score = PT_NAME(score_work_size)(job);
    return solve > score ? solve : score;
}

#define PT_MATH_CASE(function)                                                                     \
    if (strcmp(name, #function) == 0) {                                                            \
        for (int64_t i = 0; i < count; i++)                                                        \
            out[i] = PT_NAME(function)(x[i]);                                                      \
        return 1;                                                                                  \
    }

static int PT_NAME(math)(const char *name, int64_t count, const void *from, void *to) {
    const PT_REAL *x = from;
    PT_REAL *out = to;
    PT_MATH_CASE(log)
    PT_MATH_CASE(log_pos)
    PT_MATH_CASE(log1p)
    PT_MATH_CASE(exp)
    PT_MATH_CASE(expm1)
    PT_MATH_CASE(tanh_half)
    for (int64_t i = 0; i < count;
         i++) { /* sin and cos of 2 pi (x + 1/2) 2^-32 (float), 2^-53 (double) */
        PT_REAL sine, cosine;
        PT_NAME(sincos_turn)((PT_BITS)(x[i] > 0 ? x[i] : 0), &sine, &cosine);
        if (strcmp(name, "sin_turn") == 0)
            out[i] = sine;
        else if (strcmp(name, "cos_turn") == 0)
            out[i] = cosine;
#if PT_F64
        else if (strcmp(name, "ndtr") == 0)
            out[i] = pt_ndtr(x[i]);
        else if (strcmp(name, "log_ndtr") == 0)
            out[i] = pt_log_ndtr(x[i]);
        else if (strcmp(name, "mills") == 0)
            out[i] = pt_mills(x[i]);
        else if (strcmp(name, "ndtri") == 0)
            out[i] = pt_ndtri(x[i]);
        else if (strcmp(name, "lgamma_unit") == 0)
            out[i] = pt_lgamma_unit(x[i]);
#endif
        else
            return 0;
    }
    return count > 0;
}

#undef PT_MATH_CASE

static const pt_kernels PT_NAME(kernels) = {
    .isa = PT_ISA,
    .solvers = PT_NAME(solvers),
    .find_bad = PT_NAME(find_bad),
    .work_size = PT_NAME(work_size),
    .solve = PT_NAME(solve),
    .perturb = PT_NAME(perturb),
    .column_sum = PT_NAME(column_sum),
    .draw_sum = PT_NAME(draw_sum),
    .outer_sum = PT_NAME(outer_sum),
    .rao_blackwell = PT_NAME(rao_blackwell),
    .rao_size = PT_NAME(rao_size),
    .code_count = PT_NAME(code_count),
    .divide = PT_NAME(divide),
    .mean_dot = PT_NAME(mean_dot),
    .code_divide = PT_NAME(code_divide),
    .code_mean_dot = PT_NAME(code_mean_dot),
    .code_add = PT_NAME(code_add),
    .code_add_squares = PT_NAME(code_add_squares),
    .code_dot = PT_NAME(code_dot),
    .code_expand = PT_NAME(code_expand),
    .objective = PT_NAME(objective),
    .score_widths = PT_NAME(score_widths),
    .finish_score = PT_NAME(finish_score),
    .math = PT_NAME(math),
};
#undef PT_EACH_LANE
