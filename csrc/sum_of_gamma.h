/* sum_of_gamma: one draw of Z = (sum_{i=1..r} Gamma(1/k, k/i) - log r) / k.   Source: Niepert et al. 2021 (IMLE).
 *
 * Gamma(a) for a <= 1 is Gamma(a + 1) U^(1/a), and Gamma(a + 1) by rejection (Marsaglia & Tsang 2000). Each term and
 * each try has a key of its own, so a draw is a pure function of its address. In double for both element types.
 */
#ifndef PT_SUM_OF_GAMMA_H
#define PT_SUM_OF_GAMMA_H

/* A uniform in (0, 1) from two words. */
static double gamma_uniform(uint32_t high, uint32_t low) {
    double u = (double)high * 0x1p-32 + ((double)(low >> 11) + 0.5) * 0x1p-53;
    return u < 1.0 ? u : 1.0 - 0x1p-53;
}

static double gamma_term(const uint32_t counter[4], uint64_t key, uint32_t term, double k) {
    const double d = 1.0 / k + 1.0 - 1.0 / 3.0, c = 1.0 / __builtin_sqrt(9.0 * d);
    for (uint32_t attempt = 0;; attempt++) {
        uint32_t a[4], b[4];
        const uint64_t domain = ((uint64_t)(term + 1) << 32 | attempt) * 0x9E3779B97F4A7C15u;
        pt_philox_block(counter, key ^ domain, a);
        pt_philox_block(counter, key ^ domain ^ 0x6A09E667F3BCC909u, b);
        double sine, cosine;
        sincos_turn_f64(((uint64_t)a[2] << 32 | a[3]) >> 11, &sine, &cosine);
        const double x = __builtin_sqrt(-2.0 * log_f64(gamma_uniform(a[0], a[1]))) * cosine;
        double v = 1.0 + c * x;
        v = v * v * v;
        if (v <= 0.0)
            continue;
        if (log_f64(gamma_uniform(b[0], b[1])) < 0.5 * x * x + d - d * v + d * log_f64(v))
            return d * v * exp_f64(k * log_f64(gamma_uniform(b[2], b[3])));
    }
}

static double sum_of_gamma(const uint32_t counter[4], uint64_t key, double k, double iterations) {
    const int r = (int)iterations;
    double sum = 0;
    for (int i = 1; i <= r; i++)
        sum += gamma_term(counter, key, (uint32_t)i, k) * (k / i);
    return (sum - log_f64(iterations)) / k;
}

#endif
