/* pullback: what the score estimator's calls share. Between pullback.c and jacobian.c only. */
#ifndef PT_PULLBACK_H
#define PT_PULLBACK_H

#include "engine.h"

/* y_m - b_m = alpha y_m + kappa (y_m + y_mate) - of_plain y*(theta) - of_sum sum_m y_m: every baseline is of this form
 * (MATH, section 3), so none needs more than one pass. */
typedef struct {
    double alpha, kappa, of_plain, of_sum;
} pt_baseline_weights;

/* A call: what is summed over draws, for a run of rows. */
typedef struct {
    pt_call *call;
    pt_job *job;
    const pt_wave *wave;
    int64_t row0, width; /* of the run; entries of a row's sums */
    pt_baseline_weights base;
    const void *g, *t; /* cotangent, tangent, or NULL */
    int32_t *plain;    /* run rows x code_len: y*(theta), where the baseline needs it */
    double *constant;  /* run rows: <b's constant part, g> */
    double *weights;   /* wave rows x n_m */
    double *sums,
        *squares; /* run rows x width; not there where columns are finished in their own tasks */
    int with_squares,
        whole;         /* whole: each wave has all draws, and columns enough for all threads */
    size_t least_work; /* bytes of scratch that the tasks need besides the kernels' */
    pt_column_sum what;
    pt_draw_sum dot;
    int64_t n_columns, n_blocks; /* units of a wave */
    int64_t first_block;         /* of a group of blocks summed side by side */
    double *parts, *part_squares;
    void *result, *result_error;
    double *scalar;
} pt_pullback;

pt_baseline_weights pt_make_baseline(const pt_job *job);

/* A consumer's begin: zero the sums, solve y*(theta) where the baseline needs it. */
pt_status pt_begin_sums(void *ctx, int64_t row0, int64_t n_rows);

/* weights[m] = the draw's sum over coordinates (times the weight that is there, with a cotangent). */
pt_status pt_dot_draws(pt_pullback *b, const pt_wave *wave);

/* weights[m] = <y_m - b_m, g>. */
pt_status pt_weigh_draws(pt_pullback *b, const pt_wave *wave);

/* refined.c: does the score estimator of this job's J^T g mix both forms, and its sums. */
int pt_is_refined(const pt_job *job);
pt_status pt_vjp_refined(pt_job *job, const void *g, void *grad, void *grad_error, pt_error *err);

/* Allocate what b needs, walk, free. */
pt_status pt_pull_back(pt_job *job, pt_pullback *b, pt_consumer *want, int with_squares,
                       int with_weights, int with_constant, pt_error *err);

#endif
