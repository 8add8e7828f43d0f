/* real: reading and writing arrays whose element type the job says. */
#ifndef PT_REAL_H
#define PT_REAL_H

#include "perturbed.h"

#include <math.h>
#include <string.h>

static inline void pt_to_real(const pt_job *job, const double *from, int64_t count, void *to,
                              int64_t at) {
    if (job->f64)
        memcpy((double *)to + at, from, (size_t)count * sizeof(double));
    else
        for (int64_t i = 0; i < count; i++)
            ((float *)to)[at + i] = (float)from[i];
}

static inline double pt_real_at(const pt_job *job, const void *x, int64_t i) {
    return job->f64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static inline const void *pt_real_row(const pt_job *job, const void *x, int64_t row,
                                      int64_t length) {
    return (const char *)x + (size_t)(row * length) * (job->f64 ? sizeof(double) : sizeof(float));
}

/* Standard error of a mean of n values from their sum and sum of squares (about any pivot). */
static inline double pt_standard_error(double sum, double squares, double n) {
    if (n < 2)
        return NAN;
    const double variance = (squares - sum * (sum / n)) / (n - 1);
    return sqrt(variance > 0 ? variance / n : 0);
}

#endif
