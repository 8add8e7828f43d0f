/* exact_pairs: distribution, density and expected excess of the difference of two noises, many pairs at a time. */
#ifndef PT_REAL
#error "exact_pairs.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

static inline PT_REAL PT_NAME(pair_gap)(PT_REAL d) {
    return PT_NAME(from_bits)(PT_NAME(to_bits)(d) & (~(PT_BITS)0 >> 1));
}

/* e^x, x <= 0; what is below the normal numbers becomes 0. */
static inline PT_REAL PT_NAME(pair_exp)(PT_REAL x) {
    const PT_REAL least = PT_F64 ? -708 : -87, held = x > least ? x : least;
    PT_BITS n;
    const PT_REAL r = PT_NAME(exp_split)(held, -(PT_REAL)0, &n);
    const PT_REAL p = 1 + (r + r * r * PT_NAME(exp_tail)(r));
    const PT_BITS bits = (n + PT_NAME(exponent_bias)()) << PT_NAME(mantissa_bits)();
    return x > least ? p * PT_NAME(from_bits)(bits) : 0;
}

/* exp(a^2/2) erfc(a/sqrt 2) / 2, a >= 0. Float: up to a = 5.6, a constant beyond, with an error below 1.6e-7 after it is
 * multiplied by exp(-a^2/2). The coefficients (pair_tail) come from fit_polynomials.py. */
static inline PT_REAL PT_NAME(scaled_tail)(PT_REAL a) {
#if PT_F64
    return 0.5 * pt_scaled_erfc(a);
#else
    const float v = (a < 5.6f ? a : 5.6f) * (1 / 2.8f) - 1.0f;
    float p = 0x1.8bea92p-5f;
    p = p * v + 0x1.c6102ep-4f;
    p = p * v + 0x1.b3cbc4p-4f;
    p = p * v - 0x1.211d00p-8f;
    p = p * v - 0x1.5f07a0p-6f;
    p = p * v - 0x1.a1936ep-5f;
    p = p * v + 0x1.572080p-5f;
    p = p * v - 0x1.eabcb8p-5f;
    p = p * v + 0x1.58e508p-4f;
    p = p * v - 0x1.b7e968p-4f;
    return p * v + 0x1.07bc32p-3f;
#endif
}

/* Logistic minus logistic, a >= 0, m = 1 - e^-a. T = a/(e^a - 1) = 1 - a/2 + sum_k B_2k a^2k/(2k)!, and K, k are its
 * derivatives: by that series below 1, where the closed forms cancel. */
static inline PT_REAL PT_NAME(logistic_pair)(pt_pair_part part, PT_REAL a) {
    const PT_REAL e = PT_NAME(pair_exp)(-a), m = a < (PT_REAL)0.5 ? 1 : 1 - e, z = a * a;
    PT_REAL series, closed;
    if (part == PT_PAIR_CDF) { /* the upper tail */
        series = (PT_REAL)(14 / 74724249600.0) - z * (PT_REAL)(16 * 3617 / 10670622842880000.0);
        series = (PT_REAL)(12 * 691 / 1307674368000.0) - z * series;
        series = (PT_REAL)(10 / 47900160.0) - z * series;
        series = (PT_REAL)(8 / 1209600.0) - z * series;
        series = (PT_REAL)(6 / 30240.0) - z * series;
        series = (PT_REAL)(4 / 720.0) - z * series;
        series = (PT_REAL)(2 / 12.0) - z * series;
        series = (PT_REAL)0.5 - a * series;
        closed = e * (a - m) / (m * m);
    } else if (part == PT_PAIR_DENSITY) {
        series = (PT_REAL)(182 / 74724249600.0) - z * (PT_REAL)(240 * 3617 / 10670622842880000.0);
        series = (PT_REAL)(132 * 691 / 1307674368000.0) - z * series;
        series = (PT_REAL)(90 / 47900160.0) - z * series;
        series = (PT_REAL)(56 / 1209600.0) - z * series;
        series = (PT_REAL)(30 / 30240.0) - z * series;
        series = (PT_REAL)(12 / 720.0) - z * series;
        series = (PT_REAL)(2 / 12.0) - z * series;
        closed = e * (a * (1 + e) - 2 * m) / (m * m * m);
    } else {
        series = (PT_REAL)(1 / 74724249600.0) - z * (PT_REAL)(3617 / 10670622842880000.0);
        series = (PT_REAL)(691 / 1307674368000.0) - z * series;
        series = (PT_REAL)(1 / 47900160.0) - z * series;
        series = (PT_REAL)(1 / 1209600.0) - z * series;
        series = (PT_REAL)(1 / 30240.0) - z * series;
        series = (PT_REAL)(1 / 720.0) - z * series;
        series = (PT_REAL)(1 / 12.0) - z * series;
        series = 1 - (PT_REAL)0.5 * a + z * series;
        closed = a * e / m;
    }
    return a < 1 ? series : closed;
}

/* K(d), k(d) or T(|d|) of one pair; for normal noise in units of the difference's deviation. */
static inline PT_REAL PT_NAME(pair)(pt_noise_kind kind, pt_pair_part part, PT_REAL d) {
    const PT_REAL a = PT_NAME(pair_gap)(d);
    PT_REAL x; /* the upper tail where K is asked for */
    if (kind == PT_LOGISTIC)
        x = PT_NAME(logistic_pair)(part, a);
    else if (kind == PT_NORMAL) {
        const PT_REAL e = PT_NAME(pair_exp)((PT_REAL)-0.5 * a * a),
                      phi = (PT_REAL)0.3989422804014327 * e;
        x = part == PT_PAIR_DENSITY ? phi
            : part == PT_PAIR_CDF   ? e * PT_NAME(scaled_tail)(a)
                                    : phi - a * (e * PT_NAME(scaled_tail)(a));
    } else if (kind == PT_GUMBEL) {
        const PT_REAL e = PT_NAME(pair_exp)(-a), p = 1 / (1 + e);
        x = part == PT_PAIR_DENSITY ? e * p * p : part == PT_PAIR_CDF ? e * p : PT_NAME(log1p)(e);
    } else {
        const PT_REAL e = (PT_REAL)0.25 * PT_NAME(pair_exp)(-a);
        x = e * (a + (part == PT_PAIR_DENSITY ? 1 : part == PT_PAIR_CDF ? 2 : 3));
    }
    return part == PT_PAIR_CDF && d > 0 ? 1 - x : x;
}

#define PT_PAIR_CASE(kind, part)                                                                   \
    case 4 * (int)kind + (int)part:                                                                \
        for (int64_t i = 0; i < count; i++)                                                        \
            out[i] = PT_NAME(pair)(kind, part, d[i]);                                              \
        break;
#define PT_PAIR_CASES(kind)                                                                        \
    PT_PAIR_CASE(kind, PT_PAIR_CDF)                                                                \
    PT_PAIR_CASE(kind, PT_PAIR_DENSITY)                                                            \
    PT_PAIR_CASE(kind, PT_PAIR_EXCESS)

static void PT_NAME(fill_pairs)(pt_noise_kind kind, pt_pair_part part, int64_t count,
                                const PT_REAL *restrict d, PT_REAL *restrict out) {
    switch (4 * (int)kind + (int)part) {
        PT_PAIR_CASES(PT_NORMAL)
        PT_PAIR_CASES(PT_GUMBEL)
        PT_PAIR_CASES(PT_LAPLACE)
        PT_PAIR_CASES(PT_LOGISTIC)
    default:
        break;
    }
}

#undef PT_PAIR_CASE
#undef PT_PAIR_CASES
