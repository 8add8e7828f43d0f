/* square: a square of 4 x 4 numbers, rows to columns. */
#ifndef PT_REAL
#error "square.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

/* to[j * stride + l] = from[l][j] for four j and l. */
static inline void PT_NAME(turn_square)(const PT_REAL *const from[4], PT_REAL *to, int64_t stride) {
#if defined(__SSE2__) && !PT_F64
    __m128 a = _mm_loadu_ps(from[0]), b = _mm_loadu_ps(from[1]), c = _mm_loadu_ps(from[2]),
           d = _mm_loadu_ps(from[3]);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + stride, b);
    _mm_storeu_ps(to + 2 * stride, c);
    _mm_storeu_ps(to + 3 * stride, d);
#else
    for (int64_t j = 0; j < 4; j++)
        for (int64_t l = 0; l < 4; l++)
            to[j * stride + l] = from[l][j];
#endif
}
