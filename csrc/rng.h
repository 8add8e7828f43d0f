/* rng: Philox 4x32-10, 32-bit words from an address (key, counter). No state.
 * Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
 *
 * A round multiplies words 0 and 2 to 64 bits. Each vector of 32-bit counters is cut into its even and odd lanes, which
 * stay in 64-bit lanes for all ten rounds: the upper halves hold garbage that neither the multiply nor the result sees.
 */
#ifndef PT_RNG_H
#define PT_RNG_H

#include "sobol_directions.h"

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define PT_CHUNK 64 /* blocks made together; a multiple of every vector length */

/* Counters of PT_CHUNK blocks, word by word. */
typedef struct {
    uint32_t word[4][PT_CHUNK];
} pt_counters;

/* Words of PT_CHUNK blocks. */
typedef struct {
    uint32_t word[4][PT_CHUNK];
} pt_words;

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

#if defined(__AVX512F__)
typedef __m512i philox_vec;
#define PHILOX_LANES 16
#define PHILOX_LOAD(p) _mm512_loadu_si512(p)
#define PHILOX_STORE(p, v) _mm512_storeu_si512(p, v)
#define PHILOX_ALL(k) _mm512_set1_epi32((int)(k))
#define PHILOX_MUL _mm512_mul_epu32
#define PHILOX_HIGH(v) _mm512_shuffle_epi32(v, _MM_PERM_DDBB) /* not on the multiplier's port */
#define PHILOX_XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define PHILOX_JOIN(even, odd) _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32))
#elif defined(__AVX2__)
typedef __m256i philox_vec;
#define PHILOX_LANES 8
#define PHILOX_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define PHILOX_STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define PHILOX_ALL(k) _mm256_set1_epi32((int)(k))
#define PHILOX_MUL _mm256_mul_epu32
#define PHILOX_HIGH(v) _mm256_srli_epi64(v, 32)
#define PHILOX_XOR3(a, b, c) _mm256_xor_si256(_mm256_xor_si256(a, b), c)
#define PHILOX_JOIN(even, odd) _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA)
#elif defined(__SSE2__)
typedef __m128i philox_vec;
#define PHILOX_LANES 4
#define PHILOX_LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define PHILOX_STORE(p, v) _mm_storeu_si128((__m128i *)(void *)(p), v)
#define PHILOX_ALL(k) _mm_set1_epi32((int)(k))
#define PHILOX_MUL _mm_mul_epu32
#define PHILOX_HIGH(v) _mm_srli_epi64(v, 32)
#define PHILOX_XOR3(a, b, c) _mm_xor_si128(_mm_xor_si128(a, b), c)
#define PHILOX_JOIN(even, odd)                                                                     \
    _mm_or_si128(_mm_and_si128(even, _mm_set1_epi64x(0xFFFFFFFF)), _mm_slli_epi64(odd, 32))
#endif

/* One block, for single addresses and for machines without the vectors above. */
static inline void pt_philox_block(const uint32_t counter[4], uint64_t key, uint32_t out[4]) {
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)a * PHILOX_M0, q = (uint64_t)c * PHILOX_M1;
        a = (uint32_t)(q >> 32) ^ b ^ k0;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ k1;
        d = (uint32_t)p;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* Words of the first n_blocks blocks (rounded up to a vector) of a chunk. */
static inline void pt_philox_chunk(const pt_counters *counters, uint64_t key, int n_blocks,
                                   pt_words *out) {
#ifdef PHILOX_LANES
    const philox_vec m0 = PHILOX_ALL(PHILOX_M0), m1 = PHILOX_ALL(PHILOX_M1);
    for (int l = 0; l < n_blocks; l += PHILOX_LANES) {
        philox_vec even[4], odd[4];
        for (int w = 0; w < 4; w++) {
            even[w] = PHILOX_LOAD(&counters->word[w][l]);
            odd[w] = PHILOX_HIGH(even[w]);
        }
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            const philox_vec v0 = PHILOX_ALL(k0), v1 = PHILOX_ALL(k1);
            const philox_vec p = PHILOX_MUL(even[0], m0), q = PHILOX_MUL(even[2], m1);
            even[0] = PHILOX_XOR3(PHILOX_HIGH(q), even[1], v0);
            even[1] = q;
            even[2] = PHILOX_XOR3(PHILOX_HIGH(p), even[3], v1);
            even[3] = p;
            const philox_vec r = PHILOX_MUL(odd[0], m0), s = PHILOX_MUL(odd[2], m1);
            odd[0] = PHILOX_XOR3(PHILOX_HIGH(s), odd[1], v0);
            odd[1] = s;
            odd[2] = PHILOX_XOR3(PHILOX_HIGH(r), odd[3], v1);
            odd[3] = r;
            k0 += PHILOX_W0;
            k1 += PHILOX_W1;
        }
        for (int w = 0; w < 4; w++)
            PHILOX_STORE(&out->word[w][l], PHILOX_JOIN(even[w], odd[w]));
    }
#else
    for (int l = 0; l < n_blocks; l++) {
        uint32_t c[4], x[4];
        for (int w = 0; w < 4; w++)
            c[w] = counters->word[w][l];
        pt_philox_block(c, key, x);
        for (int w = 0; w < 4; w++)
            out->word[w][l] = x[w];
    }
#endif
}

/* A keyed bijection of [0, count), evaluated at m: strata of a Latin hypercube without a table. Rounds of additions, odd
 * factors and shifts, each a bijection of the b-bit integers; what leaves [0, count) goes round again. The last rotation
 * makes every value equally likely. */
static inline uint32_t pt_stratum(uint32_t m, uint32_t count, const uint32_t key[4]) {
    uint32_t mask = count - 1;
    int bits = 1;
    while (mask >> bits)
        bits++;
    mask = bits == 32 ? 0xFFFFFFFFu : (1u << bits) - 1;
    const int half = (bits + 1) / 2;
    do
        for (int round = 0; round < 6; round++) { /* each with other bits of the key */
            const uint32_t own = key[round & 3] >> (round < 4 ? 0 : 16);
            m = (m + own) & mask;
            m = m * (own >> 7 | 1u) & mask;
            m ^= m >> half;
        }
    while (m >= count);
    const uint32_t turned = (uint32_t)((uint64_t)key[3] * count >> 32);
    return m >= count - turned ? m - (count - turned) : m + turned;
}

static inline uint32_t pt_reversed(uint32_t x) {
    x = (x & 0x55555555u) << 1 | (x >> 1 & 0x55555555u);
    x = (x & 0x33333333u) << 2 | (x >> 2 & 0x33333333u);
    x = (x & 0x0F0F0F0Fu) << 4 | (x >> 4 & 0x0F0F0F0Fu);
    x = (x & 0x00FF00FFu) << 8 | (x >> 8 & 0x00FF00FFu);
    return x << 16 | x >> 16;
}

/* Owen scrambling by a hash in which a bit depends on the higher ones only: Laine & Karras 2011, constants of Burley
 * 2020 ("Practical hash-based Owen scrambling"). */
static inline uint32_t pt_owen_scramble(uint32_t x, uint32_t seed) {
    x = pt_reversed(x);
    x ^= x * 0x3D20ADEAu;
    x += seed;
    x *= seed >> 16 | 1u;
    x ^= x * 0x05526C56u;
    x ^= x * 0x53A22864u;
    return pt_reversed(x);
}

/* Point m of the Sobol sequence in coordinate j; the order of the points is shuffled, too, alike for the coordinates of
 * a group. */
static inline uint32_t pt_sobol_point(uint32_t m, uint32_t j, uint32_t seed, uint32_t order) {
    const uint32_t *v = pt_sobol_directions[j % PT_SOBOL_DIMENSIONS];
    uint32_t x = 0;
    m = pt_owen_scramble(m, order);
    for (int k = 0; m; k++, m >>= 1)
        x ^= m & 1 ? v[k] : 0;
    return pt_owen_scramble(x, seed);
}

#endif
