/* forest_vectors: vectors of weights and of edges, for forest_tree.tmpl.h. */
#ifndef PT_REAL
#error "forest_vectors.tmpl.h is a template: include it from registry.tmpl.h"
#endif

#define FOREST_LANES (PT_VECTOR / (int)sizeof(PT_REAL))

typedef PT_REAL PT_NAME(forest_reals) __attribute__((vector_size(PT_VECTOR)));
typedef PT_SBITS PT_NAME(forest_words) __attribute__((vector_size(PT_VECTOR)));

/* All ones where edge (w, at) comes before edge (v, bt). */
static inline PT_NAME(forest_words)
    PT_NAME(forest_before)(PT_NAME(forest_reals) w, PT_NAME(forest_words) at,
                           PT_NAME(forest_reals) v, PT_NAME(forest_words) bt) {
    return (PT_NAME(forest_words))(w > v) |
           ((PT_NAME(forest_words))(w == v) & (PT_NAME(forest_words))(at < bt));
}

static inline PT_NAME(forest_words)
    PT_NAME(forest_pick)(PT_NAME(forest_words) which, PT_NAME(forest_words) x,
                         PT_NAME(forest_words) y) {
    return (x & which) | (y & ~which);
}

static inline PT_NAME(forest_reals)
    PT_NAME(forest_pick_real)(PT_NAME(forest_words) which, PT_NAME(forest_reals) x,
                              PT_NAME(forest_reals) y) {
    return (PT_NAME(forest_reals))PT_NAME(forest_pick)(which, (PT_NAME(forest_words))x,
                                                       (PT_NAME(forest_words))y);
}

/* The larger one, lane by lane: no NaN is there, and which zero is given does not matter. */
static inline PT_NAME(forest_reals)
    PT_NAME(forest_more)(PT_NAME(forest_reals) x, PT_NAME(forest_reals) y) {
#if defined(__AVX512F__) && PT_F64
    return (PT_NAME(forest_reals))_mm512_max_pd((__m512d)x, (__m512d)y);
#elif defined(__AVX512F__)
    return (PT_NAME(forest_reals))_mm512_max_ps((__m512)x, (__m512)y);
#elif defined(__AVX2__) && PT_F64
    return (PT_NAME(forest_reals))_mm256_max_pd((__m256d)x, (__m256d)y);
#elif defined(__AVX2__)
    return (PT_NAME(forest_reals))_mm256_max_ps((__m256)x, (__m256)y);
#else
    return PT_NAME(forest_pick_real)((PT_NAME(forest_words))(x > y), x, y);
#endif
}

/* Lane l becomes lane l ^ half. */
#if defined(__clang__)
#define FOREST_SWAP(x, y, half)                                                                    \
    for (int l = 0; l < FOREST_LANES; l++)                                                         \
    (y)[l] = (x)[l ^ (half)]
#else
#define FOREST_SWAP(x, y, half) (y) = __builtin_shuffle((x), ids ^ (half))
#endif

/* The heaviest of a vector of weights, in every lane. */
static inline PT_NAME(forest_reals)
    PT_NAME(forest_most)(PT_NAME(forest_reals) w, PT_NAME(forest_words) ids) {
    (void)ids;
    for (int half = FOREST_LANES / 2; half > 0; half /= 2) {
        PT_NAME(forest_reals) v = w;
        FOREST_SWAP(w, v, half);
        w = PT_NAME(forest_more)(v, w);
    }
    return w;
}

/* Bit l is set where lane l is all ones; lanes are, or are 0. */
static inline uint32_t PT_NAME(forest_bits)(PT_NAME(forest_words) which) {
#if defined(__AVX512F__) && PT_F64
    return _mm512_movepi64_mask((__m512i)which);
#elif defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)which);
#elif defined(__AVX2__) && PT_F64
    return (uint32_t)_mm256_movemask_pd((__m256d)which);
#elif defined(__AVX2__)
    return (uint32_t)_mm256_movemask_ps((__m256)which);
#elif defined(__SSE2__) && PT_F64
    return (uint32_t)_mm_movemask_pd((__m128d)which);
#elif defined(__SSE2__)
    return (uint32_t)_mm_movemask_ps((__m128)which);
#else
    uint32_t bits = 0;
    for (int l = 0; l < FOREST_LANES; l++)
        bits |= (uint32_t)(which[l] & 1) << l;
    return bits;
#endif
}
