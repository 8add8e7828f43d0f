/* noise: draws Z and noise scores s(Z) = -d log p(Z) / dZ at an address (key, row, sample, coordinate).
 *
 * A Philox block serves `per_block` coordinates: block b holds coordinates b * per_block .. + per_block - 1.
 *   float:  4 (one word each; normal: a Box-Muller pair from two words), Student t: 2, sum of gamma: 1
 *   double: 2 (two words each),                                          Student t: 1, sum of gamma: 1
 * Counter: (block, sample, row low, row high). Small words mean large Z, so that a word bounds its Z from above.
 * Antithetic draws 2p and 2p + 1 share the counter of sample p; in the second the words are complemented (u -> 1 - u),
 * and the signs of normal and Student t turned.
 */
#ifndef PT_REAL
#error "noise.tmpl.h is a template: include it from core.tmpl.h"
#endif

/* What stands at the addresses of a chunk. */
typedef struct {
    const pt_noise *noise;
    uint64_t key;
    int antithetic;
    pt_sampler sampler; /* PT_LHS, PT_SOBOL: draws by strata */
    uint32_t count;     /* draws in all; mirrored ones are one */
    uint64_t strata_key;
} PT_NAME(noise_source);

/* Real z[r][l]: coordinate r of block l. */
typedef struct {
    PT_REAL z[4][PT_CHUNK];
} PT_NAME(noise_chunk);

static int64_t PT_NAME(noise_per_block)(pt_noise_kind kind) {
    if (kind == PT_SUM_OF_GAMMA)
        return 1;
    if (kind == PT_STUDENT_T)
        return PT_F64 ? 1 : 2;
    return PT_F64 ? 2 : 4;
}

/* Uniform in (0, 1), open at both ends also after rounding. */
#if PT_F64
#define PT_TURN(w0, w1) (((uint64_t)(w0) << 32 | (w1)) >> 11)
static inline double uniform_f64(uint32_t high, uint32_t low) {
    const double u = ((double)(int32_t)(high ^ 0x80000000u) + 2147483648.0) * 0x1p-32 +
                     ((double)(int32_t)(low >> 11) + 0.5) * 0x1p-53;
    return u < 1.0 ? u : 1.0 - 0x1p-53;
}
#else
static inline float uniform_f32(uint32_t word) {
    const float u = ((float)word + 0.5f) * 0x1p-32f;
    return u < 1.0f ? u : 1.0f - 0x1p-24f;
}
#endif

#if PT_F64
#define PT_WORDS(r) words->word[2 * (r)][l], words->word[2 * (r) + 1][l]
#define PT_UNIFORMS 2
#else
#define PT_WORDS(r) words->word[r][l]
#define PT_UNIFORMS 4
#endif

/* Box & Muller 1958: sqrt(-2 log u1) (cos, sin)(2 pi u2). */
static void PT_NAME(normal_chunk)(const pt_words *words, PT_NAME(noise_chunk) * out) {
    for (int l = 0; l < PT_CHUNK; l++) {
        for (int r = 0; r < PT_UNIFORMS; r += 2) {
            PT_REAL sine, cosine;
#if PT_F64
            const PT_REAL u = uniform_f64(words->word[0][l], words->word[1][l]);
            sincos_turn_f64(PT_TURN(words->word[2][l], words->word[3][l]), &sine, &cosine);
#else
            const PT_REAL u = uniform_f32(words->word[r][l]);
            sincos_turn_f32(words->word[r + 1][l], &sine, &cosine);
#endif
            const PT_REAL radius = PT_SQRT((PT_REAL)-2.0 * PT_NAME(log_pos)(u));
            out->z[r][l] = radius * cosine;
            out->z[r + 1][l] = radius * sine;
        }
    }
}

/* E = -log(1 - u) is exponential, fine for small E (large Z = -log E); the score is 1 - E. */
static void PT_NAME(gumbel_chunk)(const pt_words *words, int score, PT_NAME(noise_chunk) * out) {
    for (int r = 0; r < PT_UNIFORMS; r++) {
        if (score)
            for (int l = 0; l < PT_CHUNK; l++)
                out->z[r][l] = (PT_REAL)1.0 + PT_NAME(log1p)(-PT_NAME(uniform)(PT_WORDS(r)));
        else
            for (int l = 0; l < PT_CHUNK; l++)
                out->z[r][l] = -PT_NAME(log_pos)(-PT_NAME(log1p)(-PT_NAME(uniform)(PT_WORDS(r))));
    }
}

/* u folded to (0, 1/2], and the sign of Z: + for small words. */
static inline PT_REAL PT_NAME(folded)(
#if PT_F64
    uint32_t high, uint32_t low, PT_REAL *sign) {
    const uint32_t fold = (uint32_t)((int32_t)high >> 31);
    *sign = fold ? -1.0 : 1.0;
    return uniform_f64(high ^ fold, low ^ fold);
}
#else
    uint32_t word, PT_REAL *sign) {
    const uint32_t fold = (uint32_t)((int32_t)word >> 31);
    *sign = fold ? -1.0f : 1.0f;
    return uniform_f32(word ^ fold);
}
#endif

static void PT_NAME(laplace_chunk)(const pt_words *words, int score, PT_NAME(noise_chunk) * out) {
    for (int r = 0; r < PT_UNIFORMS; r++)
        for (int l = 0; l < PT_CHUNK; l++) {
            PT_REAL sign;
            const PT_REAL u = PT_NAME(folded)(PT_WORDS(r), &sign);
            out->z[r][l] = score ? sign : -sign * PT_NAME(log_pos)((PT_REAL)2.0 * u);
        }
}

/* Z = log((1 - u) / u); the score tanh(Z / 2) is 1 - 2 u. */
static void PT_NAME(logistic_chunk)(const pt_words *words, int score, PT_NAME(noise_chunk) * out) {
    for (int r = 0; r < PT_UNIFORMS; r++)
        for (int l = 0; l < PT_CHUNK; l++) {
            PT_REAL sign;
            const PT_REAL u = PT_NAME(folded)(PT_WORDS(r), &sign);
            const PT_REAL high = (PT_REAL)1.0 - u;
            out->z[r][l] = sign * (score ? high - u : PT_NAME(log_pos)(high / u));
        }
}

/* Bailey 1994: sqrt(df (u1^(-2/df) - 1)) cos(2 pi u2). */
static void PT_NAME(student_chunk)(const pt_words *words, PT_REAL df, int score,
                                   PT_NAME(noise_chunk) * out) {
    for (int r = 0; r < PT_UNIFORMS / 2; r++)
        for (int l = 0; l < PT_CHUNK; l++) {
            PT_REAL sine, cosine;
#if PT_F64
            const PT_REAL u = uniform_f64(words->word[0][l], words->word[1][l]);
            sincos_turn_f64(PT_TURN(words->word[2][l], words->word[3][l]), &sine, &cosine);
#else
            const PT_REAL u = uniform_f32(words->word[2 * r][l]);
            sincos_turn_f32(words->word[2 * r + 1][l], &sine, &cosine);
#endif
            const PT_REAL grown = PT_NAME(expm1)((PT_REAL)-2.0 / df * PT_NAME(log_pos)(u));
            PT_REAL radius = PT_SQRT(df * grown); /* kept where its square is finite */
            radius = radius < PT_FAR ? radius : PT_FAR;
            const PT_REAL z = radius * cosine;
            out->z[r][l] = score ? (df + (PT_REAL)1.0) * z / (df + z * z) : z;
        }
}

static void PT_NAME(gamma_chunk)(const pt_counters *counters, const PT_NAME(noise_source) * source,
                                 int n_blocks, PT_NAME(noise_chunk) * out) {
    for (int l = 0; l < n_blocks; l++) {
        const uint32_t counter[4] = { counters->word[0][l], counters->word[1][l],
                                      counters->word[2][l], counters->word[3][l] };
        out->z[0][l] = (PT_REAL)sum_of_gamma(counter, source->key, source->noise->param[0],
                                             source->noise->param[1]);
    }
}

/* Turn the mirrored draws of a chunk (flip[l] all ones) before or after the transform. */
static void PT_NAME(flip_words)(const uint32_t *flip, pt_words *words) {
    for (int w = 0; w < 4; w++)
        for (int l = 0; l < PT_CHUNK; l++)
            words->word[w][l] ^= flip[l];
}

static void PT_NAME(flip_signs)(const uint32_t *flip, int rows, PT_NAME(noise_chunk) * out) {
    for (int r = 0; r < rows; r++)
        for (int l = 0; l < PT_CHUNK; l++)
            out->z[r][l] = flip[l] ? -out->z[r][l] : out->z[r][l];
}

/* Are mirrored draws made by turning the sign (else by complementing the words)? */
static inline int PT_NAME(flips_sign)(pt_noise_kind kind) {
    return kind == PT_NORMAL || kind == PT_STUDENT_T;
}

/* Z (or the noise score) from words. */
static void PT_NAME(noise_transform)(const PT_NAME(noise_source) * source, const uint32_t *flip,
                                     pt_words *words, int score, PT_NAME(noise_chunk) * out) {
    const pt_noise_kind kind = source->noise->kind;
    if (source->antithetic && !PT_NAME(flips_sign)(kind))
        PT_NAME(flip_words)(flip, words);
    switch (kind) {
    case PT_NORMAL:
        PT_NAME(normal_chunk)(words, out);
        break;
    case PT_GUMBEL:
        PT_NAME(gumbel_chunk)(words, score, out);
        break;
    case PT_LAPLACE:
        PT_NAME(laplace_chunk)(words, score, out);
        break;
    case PT_LOGISTIC:
        PT_NAME(logistic_chunk)(words, score, out);
        break;
    case PT_STUDENT_T:
        PT_NAME(student_chunk)(words, (PT_REAL)source->noise->param[0], score, out);
        break;
    default:
        break;
    }
    if (source->antithetic && PT_NAME(flips_sign)(kind))
        PT_NAME(flip_signs)(flip, PT_UNIFORMS, out);
    if (source->noise->shift != 0.0 && !score)
        for (int r = 0; r < PT_UNIFORMS; r++)
            for (int l = 0; l < PT_CHUNK; l++)
                out->z[r][l] += (PT_REAL)source->noise->shift;
}

#include "strata.tmpl.h"

/* Noise of the first n_blocks blocks of a chunk. */
static void PT_NAME(noise_make)(const PT_NAME(noise_source) * source, const pt_counters *counters,
                                const uint32_t *flip, int n_blocks, int score,
                                PT_NAME(noise_chunk) * out) {
    if (source->noise->kind == PT_SUM_OF_GAMMA) {
        PT_NAME(gamma_chunk)(counters, source, n_blocks, out);
        return;
    }
    if (source->sampler == PT_LHS || source->sampler == PT_SOBOL) {
        PT_NAME(strata_chunk)(source, counters, n_blocks, score, out);
        if (source->antithetic) /* along a direction, where noise is normal */
            PT_NAME(flip_signs)(flip, PT_UNIFORMS, out);
        return;
    }
    pt_words words;
    if (n_blocks < PT_CHUNK) /* the transforms run over whole chunks */
        memset(&words, 0, sizeof words);
    pt_philox_chunk(counters, source->key, n_blocks, &words);
    PT_NAME(noise_transform)(source, flip, &words, score, out);
}

/* Where a draw stands: its row (offset included) and its number. */
typedef struct {
    uint64_t row;
    uint32_t sample;
} PT_NAME(draw_address);

static inline void PT_NAME(set_counter)(pt_counters *counters, uint32_t *flip, int l,
                                        uint32_t block, PT_NAME(draw_address) at, int antithetic) {
    counters->word[0][l] = block;
    counters->word[1][l] = antithetic ? at.sample >> 1 : at.sample;
    counters->word[2][l] = (uint32_t)at.row;
    counters->word[3][l] = (uint32_t)(at.row >> 32);
    flip[l] = antithetic && (at.sample & 1) ? 0xFFFFFFFFu : 0;
}

/* Store a chunk block after block: coordinate r of block l to out[l * per_block + r]. */
static inline void PT_NAME(store_blocks)(const PT_NAME(noise_chunk) * chunk, int n_blocks,
                                         int64_t per_block, PT_REAL *restrict out) {
    if (per_block == 4)
        for (int l = 0; l < n_blocks; l++) {
            out[4 * l] = chunk->z[0][l];
            out[4 * l + 1] = chunk->z[1][l];
            out[4 * l + 2] = chunk->z[2][l];
            out[4 * l + 3] = chunk->z[3][l];
        }
    else if (per_block == 2)
        for (int l = 0; l < n_blocks; l++) {
            out[2 * l] = chunk->z[0][l];
            out[2 * l + 1] = chunk->z[1][l];
        }
    else
        memcpy(out, chunk->z[0], (size_t)n_blocks * sizeof(PT_REAL));
}

/* A walk over the blocks of consecutive draws of one row, PT_CHUNK blocks at a time across the ends of draws. */
typedef struct {
    uint32_t first, n_blocks; /* of each draw */
    uint32_t sample, block;   /* where the next chunk begins */
    int antithetic;
    uint32_t block_of[2 * PT_CHUNK],
        draw_of[2 * PT_CHUNK]; /* of the i-th block from a draw's start; small draws */
} PT_NAME(block_walk);

static void PT_NAME(walk_start)(PT_NAME(block_walk) * walk, PT_NAME(draw_address) at, int64_t first,
                                int64_t n_blocks, int antithetic, pt_counters *counters) {
    walk->first = (uint32_t)first;
    walk->n_blocks = (uint32_t)n_blocks;
    walk->sample = at.sample;
    walk->block = 0;
    walk->antithetic = antithetic;
    uint32_t block = 0, draw = 0;
    for (int i = 0; n_blocks < PT_CHUNK && i < 2 * PT_CHUNK; i++) {
        walk->block_of[i] = block;
        walk->draw_of[i] = draw;
        if (++block == walk->n_blocks) {
            block = 0;
            draw++;
        }
    }
    for (int l = 0; l < PT_CHUNK; l++) {
        counters->word[2][l] = (uint32_t)at.row;
        counters->word[3][l] = (uint32_t)(at.row >> 32);
    }
}

static inline void PT_NAME(walk_next)(PT_NAME(block_walk) * walk, pt_counters *counters,
                                      uint32_t *flip) {
    const uint32_t n_blocks = walk->n_blocks, block = walk->block, sample = walk->sample;
    uint32_t of_draw[PT_CHUNK];
    if (n_blocks >= PT_CHUNK)
        for (uint32_t l = 0; l < PT_CHUNK; l++) {
            const uint32_t i = block + l;
            counters->word[0][l] = walk->first + (i < n_blocks ? i : i - n_blocks);
            of_draw[l] = i < n_blocks ? sample : sample + 1;
        }
    else
        for (uint32_t l = 0; l < PT_CHUNK; l++) {
            counters->word[0][l] = walk->first + walk->block_of[block + l];
            of_draw[l] = sample + walk->draw_of[block + l];
        }
    if (walk->antithetic)
        for (int l = 0; l < PT_CHUNK; l++) {
            counters->word[1][l] = of_draw[l] >> 1;
            flip[l] = 0u - (of_draw[l] & 1u);
        }
    else
        memcpy(counters->word[1], of_draw, sizeof of_draw);
    walk->block += PT_CHUNK;
    while (walk->block >= n_blocks) {
        walk->block -= n_blocks;
        walk->sample++;
    }
}

/* Blocks first .. first + n_blocks - 1 of n_draws draws of one row, from draw `at` on.
 *   out [out]  n_draws x (n_blocks * per_block), draw after draw */
static void PT_NAME(noise_draws)(const PT_NAME(noise_source) * source, PT_NAME(draw_address) at,
                                 int64_t n_draws, int64_t first, int64_t n_blocks, int score,
                                 PT_REAL *restrict out) {
    const int64_t per_block = PT_NAME(noise_per_block)(source->noise->kind),
                  total = n_draws * n_blocks;
    PT_NAME(block_walk) walk;
    pt_counters counters;
    uint32_t flip[PT_CHUNK];
    PT_NAME(noise_chunk) chunk;
    PT_NAME(walk_start)(&walk, at, first, n_blocks, source->antithetic, &counters);
    for (int64_t f = 0; f < total; f += PT_CHUNK) {
        const int count = total - f < PT_CHUNK ? (int)(total - f) : PT_CHUNK;
        PT_NAME(walk_next)(&walk, &counters, flip);
        PT_NAME(noise_make)(source, &counters, flip, count, score, &chunk);
        PT_NAME(store_blocks)(&chunk, count, per_block, out + f * per_block);
    }
}

/* All blocks of PT_LANES draws, interleaved: coordinate j of lane d to out[j * PT_LANES + d].
 *   out [out]  (n_blocks * per_block) x PT_LANES */
static void PT_NAME(noise_lanes)(const PT_NAME(noise_source) * source,
                                 const PT_NAME(draw_address) at[PT_LANES], int64_t n_blocks,
                                 PT_REAL *restrict out) {
    enum { together = PT_CHUNK / PT_LANES };
    const int64_t per_block = PT_NAME(noise_per_block)(source->noise->kind);
    pt_counters counters;
    uint32_t flip[PT_CHUNK];
    PT_NAME(noise_chunk) chunk;
    for (int k = 0; k < together; k++)
        for (int d = 0; d < PT_LANES; d++)
            PT_NAME(set_counter)
    (&counters, flip, k * PT_LANES + d, (uint32_t)k, at[d], source->antithetic);
    for (int64_t b = 0; b < n_blocks; b += together) {
        const int count = n_blocks - b < together ? (int)(n_blocks - b) : together;
        PT_NAME(noise_make)(source, &counters, flip, count * PT_LANES, 0, &chunk);
        for (int k = 0; k < count; k++)
            for (int64_t r = 0; r < per_block; r++)
                memcpy(out + ((b + k) * per_block + r) * PT_LANES, &chunk.z[r][k * PT_LANES],
                       PT_LANES * sizeof(PT_REAL));
        for (int l = 0; l < PT_CHUNK; l++)
            counters.word[0][l] += together;
    }
}

#undef PT_WORDS
#undef PT_UNIFORMS
#if PT_F64
#undef PT_TURN
#endif
