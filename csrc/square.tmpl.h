/* square: squares of numbers, rows to columns: as wide as a vector, and of four. */
#ifndef PT_REAL
#error "square.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

#define PT_WIDTH (PT_VECTOR / (PT_F64 ? 8 : 4)) /* entries of a vector */

typedef PT_REAL PT_NAME(reals) __attribute__((vector_size(PT_VECTOR)));
typedef PT_BITS PT_NAME(words) __attribute__((vector_size(PT_VECTOR)));

/* f(d, l) of all lanes l, as a list. */
#if PT_VECTOR == 16 && PT_F64
#define PT_EACH_LANE(f, d) f(d, 0), f(d, 1)
#elif PT_VECTOR == 16 || (PT_VECTOR == 32 && PT_F64)
#define PT_EACH_LANE(f, d) f(d, 0), f(d, 1), f(d, 2), f(d, 3)
#elif PT_VECTOR == 32 || PT_F64
#define PT_EACH_LANE(f, d) f(d, 0), f(d, 1), f(d, 2), f(d, 3), f(d, 4), f(d, 5), f(d, 6), f(d, 7)
#else
#define PT_EACH_LANE(f, d)                                                                         \
    f(d, 0), f(d, 1), f(d, 2), f(d, 3), f(d, 4), f(d, 5), f(d, 6), f(d, 7), f(d, 8), f(d, 9),      \
        f(d, 10), f(d, 11), f(d, 12), f(d, 13), f(d, 14), f(d, 15)
#endif

/* Lane l of the result is lane f(d, l) of x and y, one after the other. */
#if defined(__clang__) || __GNUC__ >= 12
#define PT_SHUFFLE(x, y, f, d) __builtin_shufflevector(x, y, PT_EACH_LANE(f, d))
#else
#define PT_SHUFFLE(x, y, f, d) __builtin_shuffle(x, y, (PT_NAME(words)){ PT_EACH_LANE(f, d) })
#endif

#define SQUARE_LOW(d, l) ((l) & (d) ? PT_WIDTH + (l) - (d) : (l))
#define SQUARE_HIGH(d, l) ((l) & (d) ? PT_WIDTH + (l) : (l) + (d))

/* Swap bit d of the vector's number with bit d of the lane's. */
#define SQUARE_SWAP(d)                                                                             \
    for (int i = 0; (d) < PT_WIDTH && i < PT_WIDTH; i++)                                           \
        if (!(i & (d))) {                                                                          \
            const PT_NAME(reals) low = v[i], high = v[(i + (d)) % PT_WIDTH];                       \
            v[i] = PT_SHUFFLE(low, high, SQUARE_LOW, (d) % PT_WIDTH);                              \
            v[(i + (d)) % PT_WIDTH] = PT_SHUFFLE(low, high, SQUARE_HIGH, (d) % PT_WIDTH);          \
        }

/* Entry l of vector k becomes entry k of vector l. */
static inline __attribute__((always_inline)) void PT_NAME(turn)(PT_NAME(reals) v[PT_WIDTH]) {
    SQUARE_SWAP(1)
    SQUARE_SWAP(2)
    SQUARE_SWAP(4)
    SQUARE_SWAP(8)
}
#undef SQUARE_SWAP
#undef SQUARE_LOW
#undef SQUARE_HIGH

/* to[j * stride + l] = from[l][j] for PT_WIDTH j and l. */
static inline void PT_NAME(turn_vectors)(const PT_REAL *const from[PT_WIDTH], PT_REAL *to,
                                         int64_t stride) {
    PT_NAME(reals) v[PT_WIDTH];
    for (int l = 0; l < PT_WIDTH; l++)
        memcpy(&v[l], from[l], sizeof v[l]);
    PT_NAME(turn)(v);
    for (int j = 0; j < PT_WIDTH; j++)
        memcpy(to + j * stride, &v[j], sizeof v[j]);
}

/* The same for four j and l. */
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
