/* engine: the walk over rows and draws that every public call makes. Between engine.c and the estimators' files only. */
#ifndef PT_ENGINE_H
#define PT_ENGINE_H

#include "kernels.h"
#include "threads.h"

#define STRATA_DOMAIN 0x73747261u /* of the key of lhs and sobol */

/* A call in progress. */
typedef struct {
    const pt_job *job;
    const pt_kernels *kernels;
    int n_threads;    /* taken for this call */
    uint64_t fp_mode; /* the calling thread's own, put back at the end */
    double next_poll; /* on pt_now's clock */
    char *work;       /* n_threads slices of work_stride bytes */
    size_t work_stride;
    pt_error *err;
} pt_call;

/* What a call does with solved draws. Rows come in runs; for each run: begin, then wave once or more (draws in order,
 * PT_SAMPLE_BLOCK aligned), then end. Any may be NULL. */
typedef struct {
    pt_status (*begin)(void *ctx, int64_t row0, int64_t n_rows);
    pt_status (*wave)(void *ctx, const pt_wave *wave);
    pt_status (*end)(void *ctx, int64_t row0, int64_t n_rows);
    void *ctx;
    size_t row_bytes;           /* memory that the consumer holds for each row of a run */
    size_t draw_bytes;          /* and for each draw of a wave */
    int64_t m0, m1;             /* the draws wanted; m1 = 0: all */
    int64_t row0, row1;         /* the rows wanted; row1 = 0: all */
    int values, clipped, codes; /* what the waves must hold */
    const void *target;
} pt_consumer;

/* Take threads and scratch; pt_call_end gives them back and must follow, also after an error. */
pt_status pt_call_begin(pt_call *call, const pt_job *job, int64_t n_m, pt_error *err);
/* The same, with slices of at least `least` bytes. */
pt_status pt_call_begin_with(pt_call *call, const pt_job *job, int64_t n_m, size_t least,
                             pt_error *err);
void pt_call_end(pt_call *call);

/* Threads worth using for about `cost` elementary steps. */
int pt_worthwhile(const pt_call *call, double cost);

/* Solve (or reuse the job's codes) and feed the consumer. */
pt_status pt_walk(pt_call *call, const pt_consumer *consumer);

/* Solve rows row0 .. without noise, once a job where that has room for them.   codes [out] n_rows x code_len */
pt_status pt_solve_plain(pt_call *call, pt_job *job, int64_t row0, int64_t n_rows, int32_t *codes);

/* Run tasks on the call's threads; each gets its slice of the scratch. */
typedef pt_status (*pt_work_fn)(void *ctx, int64_t index, void *work, pt_poll_fn stop,
                                void *stop_ctx);
pt_status pt_run(pt_call *call, int64_t n_tasks, double cost, pt_work_fn task, void *ctx);

/* As pt_walk, but the waves' codes are always solved, into job->codes where it is there. */
pt_status pt_walk_and_keep(pt_call *call, const pt_consumer *consumer);

/* printf at out + at, never past size; returns the new end. */
size_t pt_append(char *out, size_t size, size_t at, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

/* 64-byte aligned, contents undefined; in large pages where the system has them. NULL as pt_zeros. */
void *pt_block(int64_t count, size_t element);

/* 64-byte aligned, zeroed; NULL when out of memory or the size overflows. */
void *pt_zeros(int64_t count, size_t element);

/* "theta[2, 0, 5]" for an element of a row (element >= 0) or "theta[2, 0]" for the row. */
void pt_name_place(const pt_job *job, int64_t row, int64_t element, char *out, size_t size);

/* hull.c: projections on the span of differences of solutions. widths: 1 / (epsilon sigma_j), 0 where closed. Where an
 * open entry has no noise, nothing is changed.
 *   t  [in, out]  becomes the tangent with the same J t for which the sum of (t_j widths_j)^2 is least
 *   x  [in, out]  becomes its orthogonal projection */
void pt_shorten(const pt_job *job, int64_t row, const double *widths, double *t);
void pt_into_hull(const pt_job *job, int64_t row, const double *widths, double *x);

#endif
