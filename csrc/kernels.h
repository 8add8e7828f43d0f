/* kernels: what one ISA object offers to the engine, for one element type. Between engine.c and the templates only. */
#ifndef PT_KERNELS_H
#define PT_KERNELS_H

#include "perturbed.h"

#define PT_SAMPLE_BLOCK                                                                            \
    64 /* draws summed in `real` before they go into a double: part of the results' bits */
#define PT_COLUMN_BLOCK 2048 /* coordinates handled together in sums over draws; likewise */
#define PT_GROUP                                                                                   \
    64 /* most draws handed to a solver together (but an oracle takes all of a wave's row) */
#define PT_GROUP_ITEMS 8192 /* about so many elements of theta' at a time */
#define PT_RAO_BLOCK                                                                               \
    16 /* draws whose Rao-Blackwell terms are summed together: part of the results' bits */
#define PT_LONG 32768          /* an item from which on few draws are a task of their own */
#define PT_COUNTABLE (1 << 22) /* so many draws can be counted in a float, entries of 2 included */

/* A part of the draws that is in work: rows row0 .. + n_rows - 1, draws m0 .. + n_m - 1 of each. */
typedef struct {
    int64_t row0, n_rows, m0, n_m;
    int32_t *
        codes; /* of draw m of row r at ((r - code_row0) * code_stride + (m - code_m0)) * code_len */
    int64_t code_row0, code_m0, code_stride;
    double *values;        /* n_rows x n_m objectives (less the target's), or NULL */
    double *clipped;       /* n_rows x n_m counts, or NULL */
    const void *target;    /* n_rows of the job x n real, or NULL */
    const void *z, *score; /* the user's noise for row0 (then n_rows = 1), draw 0 first; or NULL */
    int plain;             /* no noise: theta' = theta */
    int look; /* contents are not checked yet: PT_E_NOT_FINITE if an entry is not finite */
} pt_wave;

static inline int32_t *pt_wave_code(const pt_wave *w, int64_t code_len, int64_t row, int64_t m) {
    return w->codes + ((row - w->code_row0) * w->code_stride + (m - w->code_m0)) * code_len;
}

/* Are this wave's draws handed to the solver PT_LANES at a time, interleaved? */
static inline int pt_interleaved(const pt_problem *p, const pt_wave *w) {
    return p->lanes == PT_LANES && (p->lanes_from == 0 || (!w->plain && w->n_m >= p->lanes_from));
}

/* What is summed over draws for each coordinate j. */
typedef enum {
    PT_SUM_SCORE,     /* weight_m s_mj */
    PT_SUM_VALUE_GRAD /* w_mj (y_mj - target_j), w as in pt_value_grad */
} pt_column_sum;

/* What is summed over coordinates for each draw m. */
typedef enum {
    PT_DOT_SCORE,    /* s_mj t_j / (epsilon scale_j) (multiplicative: / theta_j too) */
    PT_DOT_EPSILON,  /* (s_mj z_mj - 1) / epsilon, and the multiplicative correction */
    PT_DOT_VALUE_EPS /* y_mj d theta'_mj / d epsilon */
} pt_draw_sum;

typedef struct {
    const char *isa;
    const pt_solver *const *solvers; /* NULL at the end */

    /* First bad element of a row: its flat index, or -1. *what: 'n' NaN, 'i' +inf, 'm' -inf where it is refused. */
    int64_t (*find_bad)(const pt_problem *p, int64_t row, const void *theta, char *what);

    /* Bytes of scratch of the tasks below. */
    size_t (*work_size)(const pt_job *job, int64_t n_m);

    /* Perturb and solve draws first .. first + count - 1 of a wave, in flat order (row, draw). */
    pt_status (*solve)(const pt_job *job, const pt_wave *wave, int64_t first, int64_t count,
                       void *work, pt_poll_fn stop, void *stop_ctx, pt_error *err);

    /* Noisy item of one draw.   out [out] n real */
    void (*perturb)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m, void *out,
                    void *work);

    /* Sum over draws m0 .. m1 - 1 (at most PT_SAMPLE_BLOCK) of coordinates c0 .. c1 - 1 of a row.
     *   weight  [in]   of draw m0 on; PT_SUM_SCORE only
     *   sum     [out]  c1 - c0 doubles
     *   squares [out]  likewise, sums of squares (of pair means when antithetic), or NULL */
    void (*column_sum)(pt_column_sum what, const pt_job *job, const pt_wave *wave, int64_t row,
                       int64_t m0, int64_t m1, int64_t c0, int64_t c1, const double *weight,
                       double *sum, double *squares, void *work);

    /* Sums over the coordinates, for draws m0 .. m1 - 1 (at most PT_SAMPLE_BLOCK) of a row.
     *   t [in]  n real of this row (PT_DOT_SCORE), else NULL;   out [out]  m1 - m0 */
    void (*draw_sum)(pt_draw_sum what, const pt_job *job, const pt_wave *wave, int64_t row,
                     int64_t m0, int64_t m1, const void *t, double *out, void *work);

    /* jac += sum over draws m0 .. m1 - 1 of y_m (alpha s_m + kappa (s_m + s_mate)) and total += s_m, for coordinates
     * c0 .. c1 - 1.   jac [in, out] y_size rows, n doubles apart;   total [in, out] n doubles */
    void (*outer_sum)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m0, int64_t m1,
                      int64_t c0, int64_t c1, double alpha, double kappa, double *jac,
                      double *total, void *work);

    /* Rao-Blackwell terms of draws m0 .. m1 - 1 (at most PT_RAO_BLOCK) of a row, summed in order.
     *   g        [in]   of this row: terms of J^T g; NULL: of y
     *   sum      [out]  n doubles (y_size without g)
     *   squares  [out]  likewise, sums of squares (of pair means when antithetic), or NULL
     *   work     [tmp]  rao_size(job) bytes */
    pt_status (*rao_blackwell)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m0,
                               int64_t m1, const void *g, double *sum, double *squares, void *work,
                               pt_poll_fn stop, void *stop_ctx, pt_error *err);
    size_t (*rao_size)(const pt_job *job);

    /* Codes to solutions. code_count: y += solution for index and bits codes, exact below PT_COUNTABLE draws. */
    void (*code_count)(const pt_problem *p, const int32_t *code, void *y);
    void (*divide)(int64_t count, double m, void *y); /* y[j] /= m */
    double (*mean_dot)(int64_t n, const void *mean, const void *g);
    void (*code_divide)(const pt_problem *p, const int32_t *code, int64_t n_draws, double m,
                        void *y);
    double (*code_mean_dot)(const pt_problem *p, const int32_t *code, int64_t n_draws,
                            const void *g, int32_t *place);
    void (*code_add)(const pt_problem *p, const int32_t *code, double weight, double *sum);
    void (*code_add_squares)(const pt_problem *p, const int32_t *code, double *sum);
    double (*code_dot)(const pt_problem *p, const int32_t *code, const void *g);
    void (*code_expand)(const pt_problem *p, const int32_t *code, void *y);

    /* Objective of a given y (n real) at a row as it is; -inf where y uses what is forbidden. */
    double (*objective)(const pt_job *job, int64_t row, const void *y);

    /* d theta'_j / d theta_j's constant part: 1 / (epsilon scale_j) (or / (epsilon scale_j theta_j)), 0 for coordinates
     * without a gradient; coordinates c0 .. c1 - 1.   out [out] c1 - c0 doubles */
    void (*score_widths)(const pt_job *job, int64_t row, int64_t c0, int64_t c1, double *out);

    /* Sums of the score estimator to means: sum / m times score_widths, 0 where that is 0.   out [out] c1 - c0 real */
    void (*finish_score)(const pt_job *job, int64_t row, int64_t c0, int64_t c1, const double *sum,
                         void *out);

    int (*math)(const char *name, int64_t count, const void *x, void *out);
} pt_kernels;

typedef struct {
    const char *isa;
    const pt_kernels *f32, *f64;
} pt_kernel_set;

extern const pt_kernel_set pt_kernels_base;
extern const pt_kernel_set pt_kernels_avx2;
extern const pt_kernel_set pt_kernels_avx512;

/* cpu.c: the set this process uses. */
const pt_kernel_set *pt_kernels_in_use(void);

#endif
