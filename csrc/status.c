/* status: error reports and checked sizes. */
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
