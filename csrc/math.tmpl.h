/* math: elementary functions with the same bits from every compiler, on every instruction set.
 * Needs PT_REAL, PT_BITS, PT_SBITS, PT_F64, PT_NAME. Only + - * / and comparisons, bit casts, no
 * branches: a loop over any of these functions vectorises. Compile with -ffp-contract=off.
 * Errors: the largest seen against 64-bit long double or mpmath, in units in the last place of the
 * result (ulp), float / double. tests/data/math_answers.csv holds known answers. A NaN gives a NaN.
 * The coefficients come from fit_polynomials.py. */
#ifndef PT_REAL
#error "math.tmpl.h: define PT_REAL, PT_BITS, PT_SBITS, PT_F64 and PT_NAME first"
#endif

static inline PT_REAL PT_NAME(from_bits)(PT_BITS bits) {
    PT_REAL x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline PT_BITS PT_NAME(to_bits)(PT_REAL x) {
    PT_BITS bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Layout of PT_REAL: bits after the point, bias of the exponent. */
static inline int PT_NAME(mantissa_bits)(void) {
    return PT_F64 ? 52 : 23;
}
static inline PT_BITS PT_NAME(exponent_bias)(void) {
    return PT_F64 ? 1023 : 127;
}

/* Its highest bit is set where x is NaN or infinite: an exponent of ones carries into it. */
static inline PT_BITS PT_NAME(odd)(PT_REAL x) {
    return (PT_NAME(to_bits)(x) & ~(PT_BITS)0 >> 1) + ((PT_BITS)1 << PT_NAME(mantissa_bits)());
}

static inline PT_REAL PT_NAME(infinity)(void) {
    const PT_BITS bias = PT_NAME(exponent_bias)();
    return PT_NAME(from_bits)((2 * bias + 1) << PT_NAME(mantissa_bits)());
}

static inline PT_REAL PT_NAME(not_a_number)(void) {
    const PT_BITS quiet = (PT_BITS)1 << (PT_NAME(mantissa_bits)() - 1);
    return PT_NAME(from_bits)(PT_NAME(to_bits)(PT_NAME(infinity)()) | quiet);
}

/* ln 2 = ln2_hi + ln2_lo; n * ln2_hi is exact for every exponent n. */
static inline PT_REAL PT_NAME(ln2_hi)(void) {
    return PT_F64 ? (PT_REAL)0x1.62e42fefa3000p-1 : (PT_REAL)0x1.62e4p-1;
}

static inline PT_REAL PT_NAME(ln2_lo)(void) {
    return PT_F64 ? (PT_REAL)0x1.3de6af278ece6p-42 : (PT_REAL)0x1.7f7d1cp-20;
}

/* The fitted polynomials:
 *   log_tail(z)  (log((1+s)/(1-s)) - 2 s)/(s z),  z = s^2 <= 0.0295
 *   exp_tail(r)  (e^r - 1 - r)/r^2,               |r| <= ln(2)/2
 *   sin_tail(z)  (sin(pi/2 y) - h y)/y^3,         z = y^2 <= 1/4, h = pi/2 rounded
 *   cos_tail(z)  (cos(pi/2 y) - 1)/y^2,           z = y^2 <= 1/4 */
#if PT_F64
static inline double PT_NAME(log_tail)(double z) {
    double p = 0x1.2f0457214fe00p-3;
    p = p * z + 0x1.39a1daae76580p-3;
    p = p * z + 0x1.74663d68f3496p-3;
    p = p * z + 0x1.c71c521253dd1p-3;
    p = p * z + 0x1.24924941e33bcp-2;
    p = p * z + 0x1.999999997ff04p-2;
    return p * z + 0x1.5555555555592p-1;
}

static inline double PT_NAME(exp_tail)(double r) {
    double p = 0x1.1ee8894a1b5bfp-29;
    p = p * r + 0x1.af5e750388edbp-26;
    p = p * r + 0x1.27e5362b2ac63p-22;
    p = p * r + 0x1.71ddf87ebb8b5p-19;
    p = p * r + 0x1.a01a017bc6e9ap-16;
    p = p * r + 0x1.a01a01afd3e02p-13;
    p = p * r + 0x1.6c16c16c1f077p-10;
    p = p * r + 0x1.111111110f6dap-7;
    p = p * r + 0x1.555555555553fp-5;
    p = p * r + 0x1.5555555555559p-3;
    return p * r + 0x1.0p-1;
}

static inline double PT_NAME(sin_tail)(double z) {
    double p = 0x1.e33135cddc016p-25;
    p = p * z - 0x1.e2fe094d5acap-19;
    p = p * z + 0x1.50782cec0b6d9p-13;
    p = p * z - 0x1.32d2ccdf7c452p-8;
    p = p * z + 0x1.466bc67754a63p-4;
    return p * z - 0x1.4abbce625be06p-1;
}

static inline double PT_NAME(cos_tail)(double z) {
    double p = -0x1.afee49e04bd9bp-28;
    p = p * z + 0x1.f9c3d3caf14bap-22;
    p = p * z - 0x1.a6d1e138ceff2p-16;
    p = p * z + 0x1.e1f506749a432p-11;
    p = p * z - 0x1.55d3c7e3bf5abp-6;
    p = p * z + 0x1.03c1f081b5a4fp-2;
    return p * z - 0x1.3bd3cc9be45dep+0;
}
#else
static inline float PT_NAME(log_tail)(float z) {
    float p = 0x1.31e0d8p-2f;
    p = p * z + 0x1.995ed4p-2f;
    return p * z + 0x1.55557ap-1f;
}

static inline float PT_NAME(exp_tail)(float r) {
    float p = 0x1.6bec06p-10f;
    p = p * r + 0x1.122776p-7f;
    p = p * r + 0x1.555674p-5f;
    p = p * r + 0x1.5554bp-3f;
    return p * r + 0x1.fffffep-2f;
}

static inline float PT_NAME(sin_tail)(float z) {
    float p = -0x1.2ef848p-8f;
    p = p * z + 0x1.4668e6p-4f;
    return p * z - 0x1.4abbe6p-1f;
}

static inline float PT_NAME(cos_tail)(float z) {
    float p = 0x1.d47d48p-11f;
    p = p * z - 0x1.55b146p-6f;
    p = p * z + 0x1.03c1aep-2f;
    return p * z - 0x1.3bd3ccp+0f;
}
#endif

/* x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), for positive normal x.
 * Returns f; *biased = k + bias. */
static inline PT_REAL PT_NAME(log_split)(PT_REAL x, PT_BITS *biased) {
    const int mant = PT_NAME(mantissa_bits)();
    const PT_BITS sqrt_half = (PT_BITS)(PT_F64 ? 0x3fe6a09e667f3bcdULL : 0x3f3504f3ULL);
    const PT_BITS shifted = PT_NAME(to_bits)(x) - sqrt_half + (PT_NAME(exponent_bias)() << mant);
    *biased = shifted >> mant;
    return PT_NAME(from_bits)((shifted & (((PT_BITS)1 << mant) - 1)) + sqrt_half) - (PT_REAL)1;
}

/* k as a real, from k + bias.   Made from the bits of 2^mant + integer: SSE2 and AVX2 cannot
 * convert 64-bit integers. */
static inline PT_REAL PT_NAME(log_exponent)(PT_BITS biased) {
    const int mant = PT_NAME(mantissa_bits)();
    const PT_BITS bias = PT_NAME(exponent_bias)();
    const PT_REAL two_mant = (PT_REAL)((PT_BITS)1 << mant);
    return PT_NAME(from_bits)(((bias + (PT_BITS)mant) << mant) | biased) -
           (two_mant + (PT_REAL)bias);
}

/* k ln 2 + log(1 + f).   With s = f/(2 + f), z = s^2: log(1 + f) = 2 s + s z log_tail(z)
 * = f - s (f - z log_tail(z)); in this form the rounding errors of s hit only the small second
 * term. One division costs less than the six more coefficients of a polynomial in f. */
static inline PT_REAL PT_NAME(log_join)(PT_REAL k, PT_REAL f) {
    const PT_REAL s = f / (f + (PT_REAL)2);
    const PT_REAL z = s * s;
    const PT_REAL tail = s * (f - z * PT_NAME(log_tail)(z));
    return k * PT_NAME(ln2_hi)() + (f - (tail - k * PT_NAME(ln2_lo)()));
}

/* log x for positive, normal, finite x; anything else gives garbage.   Error 0.96 / 0.97 ulp. */
static inline PT_REAL PT_NAME(log_pos)(PT_REAL x) {
    PT_BITS biased;
    const PT_REAL f = PT_NAME(log_split)(x, &biased);
    return PT_NAME(log_join)(PT_NAME(log_exponent)(biased), f);
}

/* log x for any x: -inf at 0, NaN below.   Error 0.96 / 0.97 ulp. */
static inline PT_REAL PT_NAME(log)(PT_REAL x) {
    const int mant = PT_NAME(mantissa_bits)();
    const PT_REAL smallest_normal = PT_NAME(from_bits)((PT_BITS)1 << mant);
    const PT_REAL two_mant = (PT_REAL)((PT_BITS)1 << mant);
    const PT_REAL inf = PT_NAME(infinity)();
    const PT_REAL scaled = x < smallest_normal ? x * two_mant : x;
    PT_BITS biased;
    const PT_REAL f = PT_NAME(log_split)(scaled, &biased);
    const PT_REAL k = PT_NAME(log_exponent)(biased) - (x < smallest_normal ? (PT_REAL)mant : 0);
    PT_REAL y = PT_NAME(log_join)(k, f);
    y = x == inf ? inf : y;
    y = x == 0 ? -inf : y;
    return x >= 0 ? y : PT_NAME(not_a_number)();
}

/* log(u + d), u > 0 normal, d what was lost when u was rounded. */
static inline PT_REAL PT_NAME(log_sum)(PT_REAL u, PT_REAL d) {
    const int mant = PT_NAME(mantissa_bits)();
    const PT_BITS bias = PT_NAME(exponent_bias)();
    PT_BITS biased;
    const PT_REAL f = PT_NAME(log_split)(u, &biased);
    /* 2^(1-k), not 2^-k: never outside the range of exponents */
    const PT_REAL scale = PT_NAME(from_bits)((2 * bias + 1 - biased) << mant);
    return PT_NAME(log_join)(PT_NAME(log_exponent)(biased), f + (d * scale) * (PT_REAL)0.5);
}

/* log(1 + x) for any x: -inf at -1, NaN below.   Error 1.6 / 1.5 ulp. */
static inline PT_REAL PT_NAME(log1p)(PT_REAL x) {
    const PT_REAL inf = PT_NAME(infinity)();
    const PT_REAL u = (PT_REAL)1 + x;
    PT_REAL y = PT_NAME(log_sum)(u, x - (u - (PT_REAL)1));
    y = x == inf ? inf : y;
    y = u == 0 ? -inf : y;
    return u >= 0 ? y : PT_NAME(not_a_number)();
}

/* hi + lo = n ln 2 + r, |r| <= ln(2)/2 and a little.   Returns r; *n is n as a two's complement
 * number. x + 1.5 * 2^mant rounds x to an integer and leaves it in the low bits. */
static inline PT_REAL PT_NAME(exp_split)(PT_REAL hi, PT_REAL lo, PT_BITS *n) {
    const PT_REAL magic = (PT_REAL)((PT_BITS)3 << (PT_NAME(mantissa_bits)() - 1));
    const PT_REAL shifted = (hi + lo) * (PT_REAL)0x1.71547652b82fep+0 + magic;
    const PT_REAL whole = shifted - magic;
    *n = PT_NAME(to_bits)(shifted) - PT_NAME(to_bits)(magic);
    return ((hi - whole * PT_NAME(ln2_hi)()) + lo) - whole * PT_NAME(ln2_lo)();
}

/* c exp(hi + lo), |hi| <= 800, |lo| <= 2.   2^n in two factors: underflow is gradual and rounds
 * once, overflow gives inf. */
static inline PT_REAL PT_NAME(exp_scaled)(PT_REAL c, PT_REAL hi, PT_REAL lo) {
    const int mant = PT_NAME(mantissa_bits)();
    PT_BITS n;
    const PT_REAL r = PT_NAME(exp_split)(hi, lo, &n);
    const PT_REAL p = (PT_REAL)1 + (r + r * r * PT_NAME(exp_tail)(r));
    const PT_BITS twice = n + 2 * PT_NAME(exponent_bias)();
    const PT_BITS half = twice >> 1;
    return c * p * PT_NAME(from_bits)(half << mant) * PT_NAME(from_bits)((twice - half) << mant);
}

/* e^x for any x; overflows to inf, underflows gradually.   Error 1.1 / 1.0 ulp. */
static inline PT_REAL PT_NAME(exp)(PT_REAL x) {
    const PT_REAL least = PT_F64 ? -746 : -104, most = PT_F64 ? 710 : 89;
    x = x < least ? least : x;
    x = x > most ? most : x;
    return PT_NAME(exp_scaled)((PT_REAL)1, x, -(PT_REAL)0);
}

/* e^x - 1 for any x.   Error 1.8 / 2.0 ulp.
 * 2^n (e^r - 1) + (2^n - 1), at half its size so that the largest n is no exception. */
static inline PT_REAL PT_NAME(expm1)(PT_REAL x) {
    const PT_REAL least = PT_F64 ? -40 : -20, most = PT_F64 ? 710 : 89, half = (PT_REAL)0.5;
    PT_BITS n;
    x = x < least ? least : x;
    x = x > most ? most : x;
    const PT_REAL r = PT_NAME(exp_split)(x, -(PT_REAL)0, &n);
    const PT_REAL q = r + r * r * PT_NAME(exp_tail)(r);
    const PT_REAL scale =
        PT_NAME(from_bits)((n + PT_NAME(exponent_bias)() - 1) << PT_NAME(mantissa_bits)());
    const PT_REAL y = (scale * q + (scale - half)) * (PT_REAL)2;
    return scale == half ? q : y; /* n = 0 */
}

/* tanh(x/2) for any x.   Error 2.6 / 2.6 ulp.
 * With e = e^-|x| - 1: -e/(2 + e), and the sign of x. */
static inline PT_REAL PT_NAME(tanh_half)(PT_REAL x) {
    const PT_BITS sign = PT_NAME(to_bits)(x) & ((PT_BITS)1 << (8 * sizeof(PT_BITS) - 1));
    const PT_REAL magnitude = PT_NAME(from_bits)(PT_NAME(to_bits)(x) ^ sign);
    const PT_REAL e = PT_NAME(expm1)(-magnitude);
    return PT_NAME(from_bits)(PT_NAME(to_bits)(-e / ((PT_REAL)2 + e)) | sign);
}

/* Sine and cosine of 2 pi t; float: t = (k + 1/2) 2^-32, double: t = (k + 1/2) 2^-53, k < 2^53.
 * Absolute error 8.8e-8 / 1.3e-16.
 * 4 t = q + y, q the nearest quarter turn, y in [-1/2, 1/2]; then sin and cos of pi/2 y, swapped
 * for odd q. */
static inline void PT_NAME(sincos_turn)(PT_BITS k, PT_REAL *s, PT_REAL *c) {
    const PT_BITS top = (PT_BITS)1 << (8 * sizeof(PT_BITS) - 1);
#if PT_F64
    /* 2^52 y = 2 k + 1 modulo 2^52 as a signed number, through the bits of 2^52 + integer */
    const PT_BITS low = (2 * k + 1 + (1ULL << 51)) & ((1ULL << 52) - 1);
    const double y = (PT_NAME(from_bits)(low | 0x4330000000000000ULL) - 0x1.8p52) * 0x1p-52;
    const PT_BITS turned = (k << 11) + (top >> 2);
#else
    const float y = (float)(PT_SBITS)(k << 2 | 2) * 0x1p-32f;
    const PT_BITS turned = k + (top >> 2);
#endif
    const PT_REAL z = y * y;
    const PT_REAL sine = y * (PT_REAL)0x1.921fb54442d18p+0 + y * z * PT_NAME(sin_tail)(z);
    const PT_REAL cosine = (PT_REAL)1 + z * PT_NAME(cos_tail)(z);
    /* the two top bits of turned are q: swap for 1 and 3; the sine is negative for 2 and 3, the
     * cosine for 1 and 2 */
    const PT_BITS swap = (PT_BITS)0 - (turned >> (8 * sizeof(PT_BITS) - 2) & 1);
    const PT_BITS a = PT_NAME(to_bits)(sine), b = PT_NAME(to_bits)(cosine);
    const PT_BITS change = (a ^ b) & swap;
    *s = PT_NAME(from_bits)(a ^ change ^ (turned & top));
    *c = PT_NAME(from_bits)(b ^ change ^ ((turned + (top >> 1)) & top));
}

#if PT_F64
/* (a + 5) exp(a^2/2) erfc(a/sqrt 2), v = 1 - 10/(a + 5) in [-1, 1]. */
static inline double pt_erfc_tail(double v) {
    double p = -0x1.2c0a8d4d8cd66p-33;
    p = p * v - 0x1.bc1059c2ed8e9p-30;
    p = p * v + 0x1.f10303aeb75d2p-30;
    p = p * v + 0x1.42dc35892f5adp-26;
    p = p * v - 0x1.9ef50abb7b0f6p-27;
    p = p * v - 0x1.22c7010ca9786p-23;
    p = p * v + 0x1.407db773d7bffp-24;
    p = p * v + 0x1.d1d8f3f3c038ep-21;
    p = p * v - 0x1.64f3e3c2feb97p-21;
    p = p * v - 0x1.73ac9c1ef4c0ap-18;
    p = p * v + 0x1.0b021a784bbbbp-17;
    p = p * v + 0x1.17dc6b355719bp-15;
    p = p * v - 0x1.a16f4866acbaap-14;
    p = p * v - 0x1.f21439378e619p-14;
    p = p * v + 0x1.1daf1813489e5p-10;
    p = p * v - 0x1.a250386431088p-10;
    p = p * v - 0x1.88590e7fe009ep-8;
    p = p * v + 0x1.54b4d4f53ec04p-5;
    p = p * v - 0x1.1b1c254cb2efcp-3;
    p = p * v + 0x1.51f6329f00a36p-2;
    p = p * v - 0x1.410ed5f87572ep-1;
    p = p * v + 0x1.fb31653876fb2p-1;
    p = p * v - 0x1.54ad03f27ca1bp+0;
    return p * v + 0x1.89d3abe1f95aep+0;
}

/* log Gamma(1 + x)/(x (x - 1)), v = x - 1/2 in [-1/2, 1/2]. */
static inline double pt_lgamma_tail(double v) {
    double p = -0x1.3faad83faf109p-16;
    p = p * v + 0x1.dbd1eb2421df4p-16;
    p = p * v - 0x1.5e0713f5124e2p-16;
    p = p * v + 0x1.2550b16a6de6bp-15;
    p = p * v - 0x1.1e426037c2c91p-14;
    p = p * v + 0x1.c3d62db99687cp-14;
    p = p * v - 0x1.615776cd17859p-13;
    p = p * v + 0x1.1c0d19894eebcp-12;
    p = p * v - 0x1.cb53e4448cea9p-12;
    p = p * v + 0x1.7510b1d8cad8cp-11;
    p = p * v - 0x1.313e3bbbf8a1dp-10;
    p = p * v + 0x1.f814855f93dc6p-10;
    p = p * v - 0x1.a50354227b961p-9;
    p = p * v + 0x1.64f066cf97528p-8;
    p = p * v - 0x1.34dbda1135567p-7;
    p = p * v + 0x1.13342351db051p-6;
    p = p * v - 0x1.007aa83cf0d4ep-5;
    p = p * v + 0x1.01af62a292eb9p-4;
    p = p * v - 0x1.2aed059bd608p-3;
    return p * v + 0x1.eeb95b094c191p-2;
}

/* exp(a^2/2) erfc(a/sqrt 2), a >= 0: twice the upper tail of the normal without its fast factor. */
static inline double pt_scaled_erfc(double a) {
    const double t = 1.0 / (a + 5.0);
    return t * pt_erfc_tail(1.0 - 10.0 * t);
}

/* c exp(-a^2/2), a >= 0.
 * b = a cut to 26 bits: b^2/2 is exact, so that the exponent (up to 745) loses nothing. */
static inline double pt_gauss(double c, double a) {
    a = a < 40.0 ? a : 40.0;
    const double b = PT_NAME(from_bits)(PT_NAME(to_bits)(a) & ~((1ULL << 27) - 1));
    return PT_NAME(exp_scaled)(c, -0.5 * b * b, -0.5 * (a - b) * (a + b));
}

static inline double pt_abs(double x) {
    return PT_NAME(from_bits)(PT_NAME(to_bits)(x) & ~(1ULL << 63));
}

/* Normal cdf, any x.   Relative error 1.1e-15 (subnormal results: 1.2 ulp). */
static inline double pt_ndtr(double x) {
    const double a = pt_abs(x);
    const double q = pt_gauss(0.5 * pt_scaled_erfc(a), a);
    return x > 0.0 ? 1.0 - q : q;
}

/* Log of the normal cdf, any x.   Relative error 1.5e-15 (subnormal results: 1.2 ulp).
 * log1p(-Q(x)) for x > 0, else -x^2/2 + log of what is left; one logarithm serves both. */
static inline double pt_log_ndtr(double x) {
    double a = pt_abs(x);
    a = a > 1e160 ? 1e160 : a;
    const double w = 0.5 * pt_scaled_erfc(a);
    const double q = pt_gauss(w, a);
    const double rest = 1.0 - q;
    const double u = x > 0.0 ? rest : w;
    const double d = x > 0.0 ? -q - (rest - 1.0) : 0.0;
    return PT_NAME(log_sum)(u, d) - (x > 0.0 ? 0.0 : 0.5 * a * a);
}

/* phi(x)/Phi(x), any x.   Relative error 1.1e-15 (subnormal results: 1.2 ulp).
 * The fast factor cancels for x <= 0. */
static inline double pt_mills(double x) {
    const double a = pt_abs(x);
    const double w = pt_scaled_erfc(a);
    const double e = pt_gauss(1.0, a);
    const double above = x > 0.0 ? e : 1.0;
    const double below = x > 0.0 ? 2.0 - e * w : w;
    return 0.7978845608028654 * above / below;
}

/* log Gamma(x), 0 < x <= 1.   Error 1.6e-16 (1 + |result|), exactly 0 at 1.
 * log Gamma(1 + x) - log x; a polynomial spares the second logarithm of Stirling's series. */
static inline double pt_lgamma_unit(double x) {
    return x * (x - 1.0) * pt_lgamma_tail(x - 0.5) - PT_NAME(log)(x);
}

/* a[0] + a[1] x + ... + a[7] x^7 */
static inline double pt_degree_seven(const double a[8], double x) {
    double p = a[7];
    for (int i = 6; i >= 0; i--)
        p = p * x + a[i];
    return p;
}

/* Quantile of the normal: u in (0, 1) to x with Phi(x) = u.   Relative error about 1e-16 of |x| or u.
 * Source: Wichura 1988, algorithm AS 241 (PPND16): rational functions of u near 1/2, and of sqrt(-log u) in two tails. */
static inline double pt_ndtri(double u) {
    static const double table[6][8] = {
        { 3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
          1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
          3.3430575583588128105e4, 2.5090809287301226727e3 },
        { 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
          2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
          5.2264952788528545610e3 },
        { 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
          3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
          2.27238449892691845833e-2, 7.74545014278341407640e-4 },
        { 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
          1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
          1.05075007164441684324e-9 },
        { 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
          2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
          2.71155556874348757815e-5, 2.01033439929228813265e-7 },
        { 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
          7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
          2.04426310338993978564e-15 },
    };
    const double q = u - 0.5;
    if (q < 0.425 && q > -0.425) {
        const double r = 0.180625 - q * q;
        return q * pt_degree_seven(table[0], r) / pt_degree_seven(table[1], r);
    }
    const double r = __builtin_sqrt(-PT_NAME(log)(q < 0 ? u : 1.0 - u));
    const int far = r > 5.0;
    const double t = far ? r - 5.0 : r - 1.6;
    const double x =
        pt_degree_seven(table[far ? 4 : 2], t) / pt_degree_seven(table[far ? 5 : 3], t);
    return q < 0 ? -x : x;
}
#endif
