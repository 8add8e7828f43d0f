/* status: error reports, the names in them, and checked sizes. */
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>

pt_status pt_fail(pt_error *err, pt_status status, int64_t row, const char *format, ...) {
    if (!err || (err->status != PT_OK && err->row >= 0 && (row < 0 || row >= err->row)))
        return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    err->row = row;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

int pt_mul_size(int64_t a, int64_t b, size_t *out) {
    if (a < 0 || b < 0 || (b > 0 && (uint64_t)a > (uint64_t)SIZE_MAX / (uint64_t)b))
        return 0;
    *out = (size_t)a * (size_t)b;
    return 1;
}

size_t pt_append(char *out, size_t size, size_t at, const char *format, ...) {
    if (at >= size)
        return at;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(out + at, size - at, format, args);
    va_end(args);
    return n < 0 ? at : at + (size_t)n;
}

void pt_name_place(const pt_job *job, int64_t row, int64_t element, char *out, size_t size) {
    int64_t index[2 * PT_MAX_DIMS];
    const int64_t nb = job->n_batch_dims, ni = element >= 0 ? job->n_item_dims : 0;
    for (int64_t i = nb + ni - 1; i >= nb; i--) {
        index[i] = element % job->item_dims[i - nb];
        element /= job->item_dims[i - nb];
    }
    for (int64_t i = nb - 1; i >= 0; i--) {
        index[i] = row % job->batch_dims[i];
        row /= job->batch_dims[i];
    }
    size_t at = pt_append(out, size, 0, "theta");
    for (int64_t i = 0; i < nb + ni; i++)
        at = pt_append(out, size, at, "%s%lld", i ? ", " : "[", (long long)index[i]);
    if (nb + ni)
        pt_append(out, size, at, "]");
}
