/* strata: noise from one point in each stratum of (0, 1), by quantiles, with no state: Latin hypercubes and Sobol points.
 *
 * lhs:    u = (pi(m) + v) / M, pi a keyed bijection of the M draws for each row and coordinate, v uniform.
 * sobol:  point m of a Sobol sequence, Owen-scrambled by hashing (Burley 2020); the low bits are v. Coordinates beyond the
 *         table's dimensions go by groups, each with its draws in an order of its own.
 */
#ifndef PT_REAL
#error "strata.tmpl.h is a template: include it from noise.tmpl.h"
#endif

/* Z, or its noise score, where the cdf is u. Source of a normal quantile: pt_ndtri. */
static double PT_NAME(quantile)(pt_noise_kind kind, double u, int score) {
    switch (kind) {
    case PT_GUMBEL: {
        const double e = -log_f64(u);
        return score ? 1 - e : -log_f64(e);
    }
    case PT_LAPLACE:
        if (score)
            return u < 0.5 ? -1 : 1;
        return u < 0.5 ? log_f64(2 * u) : -log_f64(2 * (1 - u));
    case PT_LOGISTIC:
        return score ? 2 * u - 1 : log_f64(u / (1 - u));
    default:
        return pt_ndtri(u);
    }
}

/* Words for coordinate r of each block of a chunk: of the coordinate, or of its group of dimensions. */
static void PT_NAME(stratum_words)(const pt_counters *counters, uint64_t key, int64_t per_block,
                                   int64_t r, int of_group, int n_blocks, pt_words *out) {
    pt_counters own = *counters;
    for (int l = 0; l < PT_CHUNK; l++) {
        const uint32_t j = counters->word[0][l] * (uint32_t)per_block + (uint32_t)r;
        own.word[0][l] = of_group ? j / PT_SOBOL_DIMENSIONS : j;
        own.word[1][l] = of_group ? 1u : 0u;
    }
    pt_philox_chunk(&own, key, n_blocks, out);
}

/* (0, 1) from 32 bits, or from 52 where there are two words. */
static inline double PT_NAME(fill)(const pt_words *words, int64_t r, int l) {
#if PT_F64
    const double low = ((double)(words->word[2 * r + 1][l] >> 12) + 0.5) * 0x1p-20;
    return ((double)words->word[2 * r][l] + low) * 0x1p-32;
#else
    return ((double)words->word[r][l] + 0.5) * 0x1p-32;
#endif
}

static void PT_NAME(strata_chunk)(const PT_NAME(noise_source) * source, const pt_counters *counters,
                                  int n_blocks, int score, PT_NAME(noise_chunk) * out) {
    const int64_t per_block = PT_NAME(noise_per_block)(source->noise->kind);
    const double count = (double)source->count, shift = score ? 0 : source->noise->shift;
    pt_words words, own, group;
    memset(&group, 0, sizeof group);
    pt_philox_chunk(counters, source->key, n_blocks, &words);
    for (int64_t r = 0; r < per_block; r++) {
        PT_NAME(stratum_words)(counters, source->strata_key, per_block, r, 0, n_blocks, &own);
        if (source->sampler == PT_SOBOL)
            PT_NAME(stratum_words)(counters, source->strata_key, per_block, r, 1, n_blocks, &group);
        for (int l = 0; l < n_blocks; l++) {
            const double v = PT_NAME(fill)(&words, r, l);
            const uint32_t m = counters->word[1][l],
                           j = counters->word[0][l] * (uint32_t)per_block + (uint32_t)r;
            const uint32_t key[4] = { own.word[0][l], own.word[1][l], own.word[2][l],
                                      own.word[3][l] };
            double u = source->sampler == PT_SOBOL
                           ? ((double)pt_sobol_point(m, j, key[0], group.word[0][l]) + v) * 0x1p-32
                           : ((double)pt_stratum(m, source->count, key) + v) / count;
            u = u < 1 ? u : 1 - 0x1p-53;
            out->z[r][l] = (PT_REAL)(PT_NAME(quantile)(source->noise->kind, u, score) + shift);
        }
    }
}
