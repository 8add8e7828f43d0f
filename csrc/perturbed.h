/* perturbed: the contract of the C core.
 *
 * A solver returns y*(theta) = argmax over a finite set Y of <y, theta>. The core draws noise Z, solves
 * theta + epsilon Z for n_samples draws of each row, and turns the solutions into means, values and derivatives.
 *
 * Life of a job: fill a pt_job (zero it first), call pt_prepare, then any of the calls below as often as wanted, then
 * pt_release. Nothing is kept outside the job; two jobs may run in two threads at once; one job may not.
 * All arrays are C-contiguous, owned by the caller, and may not overlap. `real` is float or double (pt_job.f64).
 * All calls return PT_OK or fill `err`; outputs are then undefined. Results are the same bits for any thread count,
 * memory limit and instruction set.
 */
#ifndef PERTURBED_H
#define PERTURBED_H

#include <stddef.h>
#include <stdint.h>

#define PT_MAX_DIMS 32  /* of a batch, and of an item */
#define PT_MAX_ARRAYS 4 /* instance arrays of a solver */
#define PT_MAX_INTS 8   /* integer options of a solver */
#define PT_MESSAGE_SIZE 320

/* ---- status ------------------------------------------------------------------------------------------------- */

typedef enum {
    PT_OK = 0,
    PT_E_VALUE,      /* an argument's contents are wrong: message names it */
    PT_E_INFEASIBLE, /* a row has no solution: message names the row */
    PT_E_STOPPED,    /* poll asked to stop */
    PT_E_CALLBACK,   /* a callback failed; it has kept its own report */
    PT_E_NOMEM,      /* memory, or a size beyond 64 bits */
    PT_E_INTERNAL,   /* a broken promise inside the core */
    PT_E_NOT_FINITE  /* from solve to the engine: look closer at these items */
} pt_status;

typedef struct {
    pt_status status;
    int64_t row;                   /* flat row of the report, -1 if it is about no row */
    char message[PT_MESSAGE_SIZE]; /* one sentence, NUL-terminated; names the argument and index */
} pt_error;

/* Fill err and return status. A report about a row lower than the one already there replaces it, so that the lowest
 * bad row is told whatever the order of work. printf-like; `err` may be NULL. */
pt_status pt_fail(pt_error *err, pt_status status, int64_t row, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

/* out = a * b; returns 0 where that overflows size_t or a factor is negative. */
int pt_mul_size(int64_t a, int64_t b, size_t *out);

/* ---- callbacks: the only calls that go up -------------------------------------------------------------------- */

/* Asked from the calling thread, about every 20 ms. Not 0: stop. */
typedef int (*pt_poll_fn)(void *ctx);

/* A user's solver. Solve n_draws perturbed items of one row.
 *   row, first  [in]   flat row (without row_offset) and the number of the first draw; first = -1: the item as it is
 *   theta       [in]   n_draws x n real
 *   y           [out]  n_draws x y_size real
 * Called from one thread, in order of rows and draws. Not 0: failed (PT_E_CALLBACK). */
typedef int (*pt_oracle_fn)(void *ctx, int64_t row, int64_t first, int64_t n_draws,
                            const void *theta, void *y);

/* A user's noise. Give all draws of one row.
 *   z, score  [out]  set to n_samples x n real each, valid until the next call; score stays NULL if there is none
 * Called from one thread. Not 0: failed (PT_E_CALLBACK). */
typedef int (*pt_noise_fn)(void *ctx, int64_t row, const void **z, const void **score);

/* ---- problem -------------------------------------------------------------------------------------------------- */

typedef enum {
    PT_NORMAL = 0,
    PT_GUMBEL,
    PT_LAPLACE,
    PT_LOGISTIC,
    PT_STUDENT_T,    /* param[0] = degrees of freedom */
    PT_SUM_OF_GAMMA, /* param[0] = k, param[1] = iterations; forward only */
    PT_USER_NOISE    /* pt_noise.fn; no noise score unless has_score */
} pt_noise_kind;

typedef struct {
    pt_noise_kind kind;
    double param[2];
    double shift; /* added to each draw of Z: -gamma centres a Gumbel; 0 otherwise */
    int multiplicative; /* 0: theta + epsilon scale Z.  1: theta exp(epsilon scale Z - log E exp(epsilon scale Z)) */
    const double
        *scale; /* n widths >= 0, or NULL for 1; 0: that coordinate has no noise and gradient 0 */
    int has_score; /* user noise: fn gives a noise score */
    pt_noise_fn fn;
    void *ctx;
} pt_noise;

/* How the draws of a row depend on each other. */
typedef enum {
    PT_IID = 0,
    PT_ANTITHETIC, /* draws 2p, 2p+1 are mirrored; n_samples even */
    PT_LHS,        /* each coordinate has one draw in each of n_samples shares of equal chance */
    PT_SOBOL /* a scrambled Sobol sequence. Both: not for Student t, sums of gammas, the user's own */
} pt_sampler;

/* What is subtracted from y in the score estimator, for draw m (MATH.md, section 3). */
typedef enum {
    PT_NO_BASELINE = 0,
    PT_LOO,
    PT_SOLUTION,
    PT_HYBRID,
    PT_BEST /* hybrid; for few draws of a linear oracle J^T g mixes both forms of the estimator (refined.c) */
} pt_baseline;

typedef struct {
    const void *data;   /* NULL: not given. Type and meaning: see the solver's file */
    int64_t row_stride; /* elements from one row to the next, 0 where all rows share it */
} pt_array;

/* What a solution's code means (int32, code_len of them a draw).
 *   INDEX   y[code[i] + i * code_step] += 1, equal ones in a row; code[i] = -1: nothing
 *   DENSE   y[i] = code[i]
 *   BITS    y[i] = bit i % 32 of code[i / 32]
 *   REAL    the code is y itself, y_size reals laid over the int32
 *   LABELS  pairs i < j of code_step points, row by row: y = 1 where code[i] = code[j]. From code[code_step] on: theta's
 *           elements whose sum is the objective, -1: nothing */
typedef enum {
    PT_CODE_INDEX = 0,
    PT_CODE_DENSE,
    PT_CODE_BITS,
    PT_CODE_REAL,
    PT_CODE_LABELS
} pt_code_kind;

/* How y answers when one coordinate of theta' moves while the others stay: what the Rao-Blackwell estimator integrates
 * out (MATH.md, section 5). */
typedef enum {
    PT_MOVES_UNKNOWN = 0, /* no such estimator */
    PT_MOVES_THRESHOLD, /* y_j goes once from 0 to 1, a few on to 2: pt_solver.thresholds says where */
    PT_MOVES_PLACE      /* y tells places in the order of theta' (places, from_top) */
} pt_moves;

/* One solver applied to one kind of item: filled by pt_prepare from the job, then read-only. */
typedef struct {
    const int64_t *ints; /* the solver's options, as its file says */
    int64_t n_ints;
    const pt_array *arrays; /* the instance's arrays, as the solver's file says */
    int64_t n_arrays;
    int64_t n;           /* elements of an item */
    const int64_t *dims; /* its shape */
    int64_t n_dims;
    pt_oracle_fn oracle;
    void *oracle_ctx;
    /* filled by the solver's prepare */
    int64_t y_size;    /* elements of a solution */
    int64_t code_len;  /* int32 a draw */
    int64_t code_step; /* PT_CODE_INDEX, PT_CODE_LABELS */
    pt_code_kind code_kind;
    int lanes; /* 1: draws one after the other.  PT_LANES: items of PT_LANES draws interleaved */
    int lanes_from; /* > 0: only so many draws of a row or more are interleaved, those of one row together */
    int linear;  /* y maximises <sign y, theta>, y shaped like the item: values and losses exist */
    double sign; /* +1, or -1 where <-y, theta> is maximised */
    int clipped; /* theta is cut to <= 0 after noise */
    int no_neg_inf;    /* -inf is an error except where arrays[0] (uint8 mask) is 0 */
    int open_is_right; /* items whose entries are all finite pass check */
    int looks; /* solve itself looks where a group asks for it. Groups that are interleaved need not be asked for */
    int64_t top; /* > 0: the code is the indices of the `top` largest, ties to the lowest index */
    int serial;  /* calls back: one thread only */
    int even;    /* the sum of y over open entries is the same for all solutions */
    pt_moves moves;
    int moves_lanes; /* thresholds takes groups of this many lanes: 1 or PT_LANES */
    /* PT_MOVES_THRESHOLD: y_j can be 2 for j = twice_first + k twice_step, k < n_twice; lanes and moves_lanes are 1 then */
    int64_t n_twice, twice_first, twice_step;
    int64_t
        places; /* PT_MOVES_PLACE: rows of y, the highest places; where y is shaped like the item: ranks */
    int from_top; /* the first place is the largest entry's */
} pt_problem;

#define PT_LANES 16

/* A group of perturbed items for a solver. */
typedef struct {
    const void *
        theta; /* real, finite or -inf; element j of draw d at theta[j * item_step + d * draw_step] */
    int64_t item_step; /* 1, or PT_LANES when interleaved */
    int64_t draw_step; /* >= n (for thresholds n + n_twice), or 1 when interleaved */
    int64_t n_draws; /* <= PT_LANES when interleaved; then the lanes beyond hold copies of draw 0 */
    const int64_t *row; /* the flat row of each draw (PT_LANES of them when interleaved) */
    int64_t first;      /* number of the first draw in its row, for an oracle's report */
    pt_poll_fn stop;    /* cheap; to be asked between long steps. Not 0: return PT_E_STOPPED */
    void *stop_ctx;
    int look; /* items are not checked yet: PT_E_NOT_FINITE if an entry is NaN or infinite (pt_problem.looks) */
} pt_group;

struct pt_exact_form; /* below: it sees the job */

/* A solver, for one element type. No function allocates, keeps a pointer or touches a global. */
typedef struct {
    const char *name;
    /* Check options and sizes; fill the second half of p. */
    pt_status (*prepare)(pt_problem *p, pt_error *err);
    /* Is this row solvable? theta: the unperturbed item. NULL: always. */
    pt_status (*check)(const pt_problem *p, int64_t row, const void *theta, void *work,
                       pt_error *err);
    /* Bytes of scratch that check and solve need, 64-byte aligned when given. */
    size_t (*work_size)(const pt_problem *p);
    /* Solve a group.
     *   code [out]  n_draws x code_len int32
     *   work [tmp]  work_size(p) bytes, contents undefined before and after
     * Returns PT_OK, PT_E_STOPPED, PT_E_CALLBACK, PT_E_NOT_FINITE or PT_E_INFEASIBLE (err filled: as from check with the row, whose name
     * the engine puts before the message). Re-entrant. */
    pt_status (*solve)(const pt_problem *p, const pt_group *group, int32_t *code, void *work,
                       pt_error *err);
    /* What the objective of a solution has besides <sign y, theta>: the part that comes from options, such as the
     * penalties of gaps. y maximises the sum of both. NULL: nothing. Linear solvers.
     *   code, y  [in]  the solution: its code, or (code = NULL) n real that somebody else chose. A y inside the hull gets
     *                  what some mixture of solutions with this mean has, and what is no solution at all any number
     * Returns the part, -inf where y uses what the options forbid. */
    double (*fixed)(const pt_problem *p, int64_t row, const int32_t *code, const void *y);
    /* x = its projection on the span of differences of solutions. theta is the row's own, -inf where an entry is closed.
     * NULL: where p->even the mean over open entries is taken out, else x stays.   x [in, out] n doubles */
    void (*project)(const pt_problem *p, int64_t row, const void *theta, double *x);
    /* Entries of theta that are part of every solution of a row, so that none depends on them. Returns how many.
     * NULL: none.   at [out] 2 */
    int (*idle)(const pt_problem *p, int64_t row, int64_t at[2]);
    /* PT_MOVES_THRESHOLD: with all else fixed, y_j is 1 where theta'_j > tau_j. All draws are of one row. A coordinate that
     * can be 2 has a second threshold, as element n + k: the first for y_j >= 1, the second for y_j = 2. Where y_j goes
     * from 0 to 2 at once both are the same, and each has half of the change.
     *   code    [in]   n_draws x code_len: the draws' solutions
     *   g       [in]   n real, or NULL
     *   tau     [out]  laid out as the group's theta; +inf: never 1; -inf: always
     *   change  [out]  likewise: <g, y_in - y_out>, y_in the best solution with j and y_out the best without; where
     *                  there is only one of them, any finite number.   NULL where g is
     *   work    [tmp]  thresholds_size(p) bytes */
    pt_status (*thresholds)(const pt_problem *p, const pt_group *group, const int32_t *code,
                            const void *g, void *tau, void *change, void *work, pt_error *err);
    size_t (*thresholds_size)(const pt_problem *p);
    /* temperature log sum over all solutions of exp(objective / temperature) of one item, a group of one draw, and its
     * gradient. NULL: not there.   value [out] 1;   grad [out] n real, or NULL;   work [tmp] soft_size(p) bytes */
    pt_status (*soft)(const pt_problem *p, const pt_group *group, double temperature, double *value,
                      void *grad, void *work, pt_error *err);
    size_t (*soft_size)(const pt_problem *p);
    /* Expectations without draws. NULL: none. */
    const struct pt_exact_form *exact;
} pt_solver;

/* ---- job -------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *solver; /* a name in solvers/registry.tmpl.h */
    int64_t ints[PT_MAX_INTS];
    int64_t n_ints;
    pt_array arrays[PT_MAX_ARRAYS];
    int64_t n_arrays;
    pt_oracle_fn oracle;
    void *oracle_ctx;

    int f64; /* 0: real is float.  1: double */
    int64_t batch_dims[PT_MAX_DIMS], n_batch_dims;
    int64_t item_dims[PT_MAX_DIMS], n_item_dims;
    const void *theta;     /* n_rows x n real */
    const double *epsilon; /* n_rows, positive; NULL: no noise, every draw is theta itself */

    pt_noise noise;
    uint64_t key;       /* of the noise: from seed and call number */
    int64_t row_offset; /* added to the flat row in the noise's address */
    int64_t n_samples;  /* draws a row */
    pt_sampler sampler;
    pt_baseline baseline;

    int64_t memory_limit; /* bytes of codes kept or in work at a time */
    int n_threads;        /* at most; >= 1 */
    int check_late; /* without noise: pt_forward, which has to follow, checks contents, not pt_prepare */
    pt_poll_fn poll; /* may be NULL */
    void *poll_ctx;

    /* filled by pt_prepare */
    int64_t n_rows, n;
    uint64_t strata_key; /* of PT_LHS and PT_SOBOL */
    pt_problem problem;
    const void *kernels; /* of this element type */
    const pt_solver *solve;
    /* filled by pt_directional, in a job of its own: draws 2m and 2m + 1 are moved along it, to and fro */
    const double *direction; /* n_rows x n unit vectors, 0 where there is no noise; or NULL */
    /* filled by pt_forward */
    int32_t *codes;   /* n_rows x n_samples x code_len, or NULL when over the memory limit */
    void *y_mean;     /* n_rows x y_size real */
    int y_is_callers; /* y_mean is pt_forward_out.y */
    int32_t *
        plain; /* n_rows x code_len: y*(theta), from the first pullback that wants it, where codes are kept; or NULL */
} pt_job;

/* Check options, sizes and, unless check_late, contents (NaN, +inf, -inf where it has no meaning, rows without a solution). */
pt_status pt_prepare(pt_job *job, pt_error *err);

/* Free what pt_forward kept. The job may be prepared again. */
void pt_release(pt_job *job);

/* What pt_forward is to compute besides the codes; NULL: not wanted. Later calls read y, which has to live as long. */
typedef struct {
    void *y;       /* n_rows x y_size real: mean of the draws */
    double *value; /* n_rows: mean of max <y, theta'> */
    double
        *value_stderr; /* n_rows: its standard error; NaN for one draw (or one antithetic pair) */
    double *clipped;   /* n_rows: share of open noisy costs that were clipped */
    const void *
        target; /* in: n_rows x n real; then value is the mean of max <y', theta'> - <target, theta'> */
    int y_is_zero; /* in: y is 0 already */
} pt_forward_out;

/* Draw, solve, add up. Keeps the codes where they fit the memory limit, and the mean for the baselines. */
pt_status pt_forward(pt_job *job, const pt_forward_out *out, pt_error *err);

/* 1 if most of y will be 0, so that fresh memory, which is zeroed, needs no second pass. */
int pt_y_is_sparse(const pt_job *job);

/* After pt_forward: 1 if pt_vjp can do without the mean, and the caller may have pt_forward_out.y for its own. */
int pt_give_y(pt_job *job);

/* Score estimator of J^T g.  After pt_forward.
 *   g          [in]   n_rows x y_size real
 *   grad       [out]  n_rows x n real; exactly 0 where theta is -inf or scale is 0
 *   grad_error [out]  n_rows x n real standard errors, or NULL */
pt_status pt_vjp(pt_job *job, const void *g, void *grad, void *grad_error, pt_error *err);

/* Score estimator of J t.  After pt_forward.   t [in] n_rows x n real;  dy [out] n_rows x y_size real */
pt_status pt_jvp(pt_job *job, const void *t, void *dy, pt_error *err);

/* Score estimator of J.  After pt_forward.   jac [out] n_rows x y_size x n real */
pt_status pt_jacobian(pt_job *job, void *jac, pt_error *err);

/* Standard error of the mean solution.  After pt_forward.   y_error [out] n_rows x y_size real */
pt_status pt_y_stderr(pt_job *job, void *y_error, pt_error *err);

/* d <g, y_eps> / d epsilon by the noise score, for solvers that are not positively homogeneous.  After pt_forward.
 *   out [out] n_rows */
pt_status pt_vjp_epsilon(pt_job *job, const void *g, double *out, pt_error *err);

/* dF / d epsilon = E <y*, d theta' / d epsilon>.  Linear solvers.  After pt_forward.   out [out] n_rows */
pt_status pt_value_epsilon(pt_job *job, double *out, pt_error *err);

/* Gradient of the value (or, with target, of the loss): E [w (y* - target)], w = d max / d theta' d theta' / d theta:
 * 1 for additive noise, the factor of a multiplicative one, 0 where a cost was clipped.  After pt_forward.
 *   target [in] n_rows x n real or NULL;   grad [out] n_rows x n real */
pt_status pt_value_grad(pt_job *job, const void *target, void *grad, pt_error *err);

/* Rows row0 .. row0 + n_rows - 1, draws first .. first + count - 1 of each. */
typedef struct {
    int64_t row0, n_rows, first, count;
} pt_draw_range;

/* Solutions of these draws; the kept codes are used where there are any.   y [out] n_rows x count x y_size real */
pt_status pt_solutions(pt_job *job, const pt_draw_range *which, void *y, pt_error *err);

/* Noisy items of these draws.   out [out] n_rows x count x n real */
pt_status pt_perturb(pt_job *job, const pt_draw_range *which, void *out, pt_error *err);

/* Projection of vectors on the span of differences of solutions; any that keeps these in place. Solutions like items.
 *   x [in]   n_rows x n real;   out [out] likewise, 0 where theta is -inf */
pt_status pt_project(pt_job *job, const void *x, void *out, pt_error *err);

/* Objective of given solutions: sign <y, theta> (with costs clipped), and the solver's fixed part.  Linear solvers.
 *   y [in] n_rows x n real;   out [out] n_rows */
pt_status pt_objective(pt_job *job, const void *y, double *out, pt_error *err);

/* Directional estimate of J t (MATH.md, section 4) from n_samples pairs of solves of its own; normal noise, additive.
 *   t          [in]   n_rows x n real
 *   symmetric  [in]   J is a Hessian: t is replaced by the shortest direction with the same J t
 *   out        [out]  n_rows x y_size real
 *   out_error  [out]  likewise its standard error, or NULL */
pt_status pt_directional(pt_job *job, const void *t, int symmetric, void *out, void *out_error,
                         pt_error *err);

/* Rao-Blackwell estimates: each coordinate's own noise is integrated out, the others' are drawn. After pt_forward; for
 * noise with a density and a cdf (pt_has_rao_blackwell).
 *   g          [in]   n_rows x y_size real: J^T g is wanted; NULL: y_eps
 *   out        [out]  n_rows x n real (y_size without g)
 *   out_error  [out]  likewise its standard error, or NULL */
pt_status pt_rao_blackwell(pt_job *job, const void *g, void *out, void *out_error, pt_error *err);
/* 1 if pt_rao_blackwell covers this job's solver and noise. */
int pt_has_rao_blackwell(const pt_job *job);

/* temperature log sum over all solutions of exp(objective / temperature), without noise.
 *   value [out] n_rows;   grad [out] n_rows x n real, or NULL */
pt_status pt_soft_value(pt_job *job, double temperature, double *value, void *grad, pt_error *err);

/* ---- exact forms: expectations without draws -------------------------------------------------------------------- */

/* What is wanted of an exact form; NULL: not. In a call n_rows of each; for a solver's form those of one row. At most one
 * of g and t is given. */
typedef struct {
    void *y;       /* [out] y_size real: y_eps */
    double *value; /* [out] F_eps; linear solvers */
    const void *g; /* [in]  y_size real */
    void *vjp;     /* [out] n real: J^T g */
    const void *t; /* [in]  n real */
    void *jvp;     /* [out] y_size real: J t */
    void *jac;     /* [out] y_size x n real: J */
} pt_exact_io;

/* A solver's exact forms, for one element type. No function allocates or keeps a pointer. */
typedef struct pt_exact_form {
    unsigned noises;    /* 1u << pt_noise_kind for each additive noise it knows */
    unsigned one_width; /* those of them for which all entries must have one width */
    double
        widest_ratio; /* of the widest width to the narrowest, at most; all widths are positive */
    /* Items of this kind: 0 no, 1 yes, 2 yes and to be preferred to draws. NULL: 2. */
    int (*covers)(const pt_job *job);
    /* Tasks that a row is cut into, >= 1: a function of the job's sizes alone. Each fills entries of its own; the value and
     * the Jacobian are filled by part 0. */
    int64_t (*parts)(const pt_job *job);
    /* Bytes of scratch for what is wanted. */
    size_t (*work_size)(const pt_job *job, const pt_exact_io *wanted);
    /* One part of a row. -inf leaves an entry out. Returns PT_OK or PT_E_STOPPED. */
    pt_status (*row)(const pt_job *job, int64_t row, int64_t part, const pt_exact_io *io,
                     void *work, pt_poll_fn stop, void *stop_ctx);
} pt_exact_form;

/* Exact forms of all rows.   io [in, out] arrays of n_rows each; PT_E_VALUE where the job has none */
pt_status pt_exact(pt_job *job, const pt_exact_io *io, pt_error *err);

/* Is there an exact form for this solver, noise and size? 0 no, 1 yes, 2 yes and to be preferred to draws. */
int pt_has_exact(const pt_job *job);

/* The form of a solver by its name; NULL: none, or no such solver. */
const pt_exact_form *pt_find_exact(const char *solver);

/* ---- configuration ----------------------------------------------------------------------------------------------- */

const char *pt_isa(void);         /* instruction set in use: "baseline", "avx2" or "avx512" */
const char *pt_isa_problem(void); /* NULL, or why PERTURBED_CPU could not be followed */
const char *pt_compiler(void);
int pt_has_openmp(void);
int pt_usable_cores(void); /* affinity and cgroup respected */

/* 64 bits of key from a seed and a call number: one Philox block. domain tells uses apart. */
uint64_t pt_key(uint64_t seed, uint64_t call, uint32_t domain);
/* One Philox 4x32-10 block, for known-answer tests. */
void pt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* Are all entries finite? Whole copies of large blocks. On up to n_threads threads. */
int pt_all_finite(const void *x, int f64, int64_t count, int n_threads);
void pt_copy(const void *from, size_t bytes, void *to, int n_threads);
/* to[i] = from[i] in float, rounded to nearest whatever mode the thread is in. */
void pt_narrow(const double *from, int64_t count, float *to);
/* out[i] = f(x[i]) for the core's own elementary functions, for accuracy tests. Returns 0 if `name` is unknown. */
int pt_math(const char *name, int f64, int64_t count, const void *x, void *out);

#endif
