/* noise_mean: c(w) = log E exp(w Z), what a multiplicative noise of width w is divided by, and its derivative. */
#ifndef PT_NOISE_MEAN_H
#define PT_NOISE_MEAN_H

#define PT_PI 3.141592653589793

/* Is c(w) finite? Gumbel, Laplace and logistic have E exp(w Z) for w < 1 only; Student t never. */
static inline int pt_noise_has_mean(pt_noise_kind kind, double w) {
    switch (kind) {
    case PT_NORMAL:
        return 1;
    case PT_GUMBEL:
    case PT_LAPLACE:
    case PT_LOGISTIC:
        return w < 1;
    default:
        return 0;
    }
}

static inline double pt_sin_pi(double w) {
    double sine, cosine;
    sincos_turn_f64((uint64_t)(w * 0x1p52), &sine, &cosine);
    return sine;
}

/* Normal w^2/2; Gumbel log Gamma(1 - w); Laplace -log(1 - w^2); logistic log(pi w / sin(pi w)). */
static inline double pt_noise_log_mean(const pt_noise *noise, double w) {
    double c = 0;
    switch (noise->kind) {
    case PT_GUMBEL:
        c = pt_lgamma_unit(1 - w);
        break;
    case PT_LAPLACE:
        c = -log1p_f64(-w * w);
        break;
    case PT_LOGISTIC:
        c = w < 1e-5 ? PT_PI * PT_PI * w * w / 6 : log_f64(PT_PI * w / pt_sin_pi(w));
        break;
    default:
        c = 0.5 * w * w;
        break;
    }
    return c + w * noise->shift;
}

/* psi(x) = d log Gamma / dx for 0 < x <= 1: up by the recurrence, then the asymptotic series (Abramowitz & Stegun
 * 6.3.18). */
static inline double pt_digamma_unit(double x) {
    double sum = 0;
    for (; x < 12; x += 1)
        sum -= 1 / x;
    const double s = 1 / (x * x);
    return sum + log_f64(x) - 0.5 / x -
           s * (1.0 / 12 - s * (1.0 / 120 - s * (1.0 / 252 - s * (1.0 / 240 - s / 132))));
}

static inline double pt_noise_log_mean_slope(const pt_noise *noise, double w) {
    double slope = 0;
    switch (noise->kind) {
    case PT_GUMBEL:
        slope = -pt_digamma_unit(1 - w);
        break;
    case PT_LAPLACE:
        slope = 2 * w / (1 - w * w);
        break;
    case PT_LOGISTIC: {
        double sine, cosine;
        sincos_turn_f64((uint64_t)(w * 0x1p52), &sine, &cosine);
        slope = w < 1e-4 ? PT_PI * PT_PI * w / 3 : 1 / w - PT_PI * cosine / sine;
        break;
    }
    default:
        slope = w;
        break;
    }
    return slope + noise->shift;
}

#endif
