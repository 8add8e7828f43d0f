/* exact_ranking: expected ranks, value and derivatives of a perturbed ranking, in its own element type.
 *
 * With K the cdf and k the density of the difference of two noises (MATH, section 6), d_ij = (theta_i - theta_j)/w_ij:
 *   E rank_i = 1 + sum_{j != i} K(d_ij),   J_ij = -k(d_ij)/w_ij off the diagonal, rows sum to 0,
 *   F = sum_i E theta'_i + sum_{i<j} E max(theta'_i, theta'_j),   E max = max(theta_i, theta_j) + w (E Z + T(|d|)),
 * T(d) = int_d^inf (1 - K). w is the one width, or sqrt(w_i^2 + w_j^2) (of a standard normal) for normal noise.
 *
 * Each pair i < j is worked out once: what i gets is what j is charged (a rank starts at 1 + its place in the order).
 * Long items are sorted first: pairs out of reach are settled, and the pairs of an entry are a stretch of its
 * neighbours. Very long ones are cut into PT_RANK_PARTS tasks of whole entries, which work out each pair twice. */
#ifndef PT_REAL
#error "exact_ranking.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

#define PT_RANK_SORTED 256 /* from so many entries on they are sorted */
#define PT_RANK_PARTED 2048
#define PT_RANK_PARTS 16
#define PT_RANK_BLOCK 512 /* pairs worked out together */
#define PT_RANK_CHUNK 16  /* a stretch of pairs is padded to a multiple of this */

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

/* One row: the entries that are in, ascending where they are many. */
typedef struct {
    int64_t n;
    pt_noise_kind kind;
    PT_REAL *theta, *g; /* n and a chunk; g or t, or NULL */
    PT_REAL *square;    /* likewise: squared widths where they differ, else NULL */
    PT_REAL inverse;    /* 1 / w where they do not */
    double
        unit; /* what terms of k are still to be multiplied by, and of T divided: 1 / w, or 1 where w differs */
    double reach; /* in theta's unit, from any entry; infinite: all pairs are worked out */
    int32_t *place;
    PT_REAL *d, *slope, *out; /* block each: scratch */
} PT_NAME(ranks);

/* Sums of PT_REAL in 64 bytes' worth of lanes. */
typedef PT_REAL PT_NAME(line) __attribute__((vector_size(64)));

static inline double PT_NAME(sum_chunks)(const PT_REAL *x, int64_t count) {
    enum { lanes = 64 / sizeof(PT_REAL) };
    PT_NAME(line) sum = { 0 };
    PT_REAL part[lanes];
    for (int64_t i = 0; i < count; i += lanes) {
        PT_NAME(line) v;
        memcpy(&v, x + i, sizeof v);
        sum += v;
    }
    memcpy(part, &sum, sizeof part);
    for (int l = lanes / 2; l > 0; l /= 2)
        for (int m = 0; m < l; m++)
            part[m] += part[m + l];
    return (double)part[0];
}

/* Pairs of entry i with entries j .. j + count - 1. */
typedef struct {
    int64_t i, j, count;
} PT_NAME(stretch);

/* Pairs that are worked out together, each stretch padded to whole chunks: a loop over few of them costs as much as one
 * over many. */
typedef struct {
    const PT_NAME(ranks) * r;
    pt_pair_part part;
    int64_t filled, n; /* pairs with padding; stretches */
    PT_NAME(stretch) stretches[PT_RANK_BLOCK / PT_RANK_CHUNK];
    /* Take the terms of a stretch: count of them, then zeros up to whole chunks. */
    void (*take)(void *ctx, const PT_NAME(stretch) * of, const PT_REAL *terms);
    void *ctx;
} PT_NAME(pair_batch);

static inline int64_t PT_NAME(whole_chunks)(int64_t count) {
    return (count + PT_RANK_CHUNK - 1) / PT_RANK_CHUNK * PT_RANK_CHUNK;
}

/* K; or (g_i - g_j) k; or k where g is NULL; or T: of all stretches, and hand them on. Where widths differ it is k/w and
 * w T. */
static void PT_NAME(batch_flush)(PT_NAME(pair_batch) * batch) {
    const PT_NAME(ranks) *r = batch->r;
    PT_REAL *restrict out = r->out, *restrict slope = r->slope;
    PT_NAME(fill_pairs)(r->kind, batch->part, batch->filled, r->d, out);
    if (r->square && batch->part == PT_PAIR_EXCESS)
        for (int64_t l = 0; l < batch->filled; l++)
            out[l] /= slope[l];
    else if (r->square && batch->part == PT_PAIR_DENSITY)
        for (int64_t l = 0; l < batch->filled; l++)
            out[l] *= slope[l];
    int64_t at = 0;
    for (int64_t s = 0; s < batch->n; s++) {
        const PT_NAME(stretch) *of = &batch->stretches[s];
        const int64_t whole = PT_NAME(whole_chunks)(of->count);
        PT_REAL *restrict terms = out + at;
        if (batch->part == PT_PAIR_DENSITY && r->g) {
            const PT_REAL own = r->g[of->i], *restrict other = r->g + of->j;
            for (int64_t l = 0; l < whole; l++)
                terms[l] *= own - other[l];
        }
        for (int64_t l = of->count; l < whole; l++)
            terms[l] = 0;
        batch->take(batch->ctx, of, terms);
        at += whole;
    }
    batch->filled = batch->n = 0;
}

static void PT_NAME(batch_add)(PT_NAME(pair_batch) * batch, int64_t i, int64_t from, int64_t to) {
    const PT_NAME(ranks) *r = batch->r;
    const PT_REAL theta = r->theta[i];
    for (int64_t j = from; j < to;) {
        const int64_t room = PT_RANK_BLOCK - batch->filled;
        const int64_t count = to - j < room ? to - j : room, whole = PT_NAME(whole_chunks)(count);
        const PT_REAL *restrict other = r->theta + j;
        PT_REAL *restrict d = r->d + batch->filled, *restrict slope = r->slope + batch->filled;
        if (r->square)
            for (int64_t l = 0; l < whole; l++) {
                slope[l] = 1 / PT_SQRT(r->square[i] + r->square[j + l]);
                d[l] = (theta - other[l]) * slope[l];
            }
        else
            for (int64_t l = 0; l < whole; l++)
                d[l] = (theta - other[l]) * r->inverse;
        batch->stretches[batch->n++] = (PT_NAME(stretch)){ i, j, count };
        batch->filled += whole;
        j += count;
        if (batch->filled == PT_RANK_BLOCK)
            PT_NAME(batch_flush)(batch);
    }
}

/* First entry above i that is out of its reach; the last entry below is found the same way. */
static int64_t PT_NAME(reach_up)(const PT_NAME(ranks) * r, int64_t i, int64_t from) {
    while (from < r->n && (double)r->theta[from] - (double)r->theta[i] <= r->reach)
        from++;
    return from;
}

static int64_t PT_NAME(reach_down)(const PT_NAME(ranks) * r, int64_t i, int64_t from) {
    while (from < i && (double)r->theta[i] - (double)r->theta[from] > r->reach)
        from++;
    return from;
}

/* All pairs i < j in reach, for i in from .. to - 1; or all pairs of these i, from both sides. */
static pt_status PT_NAME(walk_pairs)(PT_NAME(pair_batch) * batch, int64_t from, int64_t to,
                                     int both_sides, pt_poll_fn stop, void *stop_ctx) {
    int64_t start = 0, end = 0;
    for (int64_t i = from; i < to; i++) {
        start = both_sides ? PT_NAME(reach_down)(batch->r, i, start) : i + 1;
        end = PT_NAME(reach_up)(batch->r, i, end);
        PT_NAME(batch_add)(batch, i, start, end);
        if (i % 64 == 63 && stop(stop_ctx)) /* a clock is asked each time */
            return PT_E_STOPPED;
    }
    PT_NAME(batch_flush)(batch);
    return PT_OK;
}

/* sum[i] += terms, sum[j] -= terms. */
static void PT_NAME(take_both)(void *ctx, const PT_NAME(stretch) * of, const PT_REAL *terms) {
    const int64_t whole = PT_NAME(whole_chunks)(of->count);
    double *sum = ctx, *restrict other = sum + of->j;
    sum[of->i] += PT_NAME(sum_chunks)(terms, whole);
    for (int64_t l = 0; l < whole; l++)
        other[l] -= (double)terms[l];
}

/* sum[i] += terms. */
static void PT_NAME(take_own)(void *ctx, const PT_NAME(stretch) * of, const PT_REAL *terms) {
    double *sum = ctx;
    sum[of->i] += PT_NAME(sum_chunks)(terms, PT_NAME(whole_chunks)(of->count));
}

/* The sums of entries from .. to - 1 alone, from both sides. What lies below and out of reach has K = 1, and of what an
 * entry is to itself 1/2 is taken off again. */
static pt_status PT_NAME(sum_pairs_of)(PT_NAME(pair_batch) * batch, int64_t from, int64_t to,
                                       pt_poll_fn stop, void *stop_ctx) {
    double *sum = batch->ctx;
    int64_t start = 0;
    batch->take = PT_NAME(take_own);
    const pt_status status = PT_NAME(walk_pairs)(batch, from, to, 1, stop, stop_ctx);
    for (int64_t i = from; i < to && batch->part == PT_PAIR_CDF; i++) {
        start = PT_NAME(reach_down)(batch->r, i, start);
        sum[i] -= (double)(i - start) + 0.5;
    }
    return status;
}

typedef struct {
    const PT_NAME(ranks) * r;
    double excess, larger;
} PT_NAME(value_sum);

/* T, and the larger theta of each pair. */
static void PT_NAME(take_value)(void *ctx, const PT_NAME(stretch) * of, const PT_REAL *terms) {
    PT_NAME(value_sum) *sum = ctx;
    const PT_REAL *theta = sum->r->theta, own = theta[of->i];
    double larger = 0;
    sum->excess += PT_NAME(sum_chunks)(terms, PT_NAME(whole_chunks)(of->count));
    for (int64_t l = of->j; l < of->j + of->count; l++)
        larger += (double)(own > theta[l] ? own : theta[l]);
    sum->larger += larger;
}

/* F of an ascending ranking, less what E Z adds: sum of theta over entries, and of the larger over pairs.
 *   tails [tmp] n + 1; tails[0] is then the sum of theta */
static pt_status PT_NAME(sum_value)(const PT_NAME(ranks) * r, double *tails, double *value,
                                    pt_poll_fn stop, void *stop_ctx) {
    PT_NAME(value_sum) sum = { r, 0, 0 };
    PT_NAME(pair_batch)
    batch = { .r = r, .part = PT_PAIR_EXCESS, .take = PT_NAME(take_value), .ctx = &sum };
    const pt_status status = PT_NAME(walk_pairs)(&batch, 0, r->n, 0, stop, stop_ctx);
    int64_t end = 0;
    tails[r->n] = 0;
    for (int64_t i = r->n - 1; i >= 0; i--)
        tails[i] = tails[i + 1] + (double)r->theta[i];
    for (int64_t i = 0; i < r->n; i++) {
        end = PT_NAME(reach_up)(r, i, end);
        sum.larger += (double)r->theta[i] + tails[end > i ? end : i + 1];
    }
    *value = sum.larger + sum.excess / r->unit;
    return status;
}

/* place[0..n) by theta, ascending: merge sort, bottom up. */
static void PT_NAME(sort_places)(const PT_REAL *theta, int64_t n, int32_t *place, int32_t *spare) {
    int32_t *from = place, *to = spare;
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t start = 0; start < n; start += 2 * width) {
            const int64_t middle = start + width < n ? start + width : n;
            const int64_t end = start + 2 * width < n ? start + 2 * width : n;
            int64_t a = start, b = middle;
            for (int64_t i = start; i < end; i++)
                to[i] = b >= end || (a < middle && theta[from[a]] <= theta[from[b]]) ? from[a++]
                                                                                     : from[b++];
        }
        int32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != place)
        memcpy(place, from, (size_t)n * sizeof *place);
}

static PT_NAME(ranks)
    PT_NAME(ranks_start)(const pt_job *job, int64_t row, const void *g, char **work) {
    const PT_REAL *theta = (const PT_REAL *)job->theta + row * job->n, *along = g;
    const double *scale = job->noise.scale;
    PT_NAME(ranks) r = { .kind = job->noise.kind };
    double widest = 0, narrowest = PT_INFINITY;
    int32_t *spare = pt_take(work, job->n, sizeof *spare);
    r.place = pt_take(work, job->n, sizeof *r.place);
    r.theta = pt_take(work, job->n + PT_RANK_CHUNK, sizeof(PT_REAL));
    r.g = pt_take(work, job->n + PT_RANK_CHUNK, sizeof(PT_REAL));
    r.square = pt_take(work, job->n + PT_RANK_CHUNK, sizeof(PT_REAL));
    r.d = pt_take(work, PT_RANK_BLOCK, sizeof(PT_REAL));
    r.slope = pt_take(work, PT_RANK_BLOCK, sizeof(PT_REAL));
    r.out = pt_take(work, PT_RANK_BLOCK, sizeof(PT_REAL));
    for (int64_t j = 0; j < job->n; j++)
        if (theta[j] > -PT_INFINITY)
            r.place[r.n++] = (int32_t)j;
    const int sorted = r.n >= PT_RANK_SORTED;
    if (sorted)
        PT_NAME(sort_places)(theta, r.n, r.place, spare);
    for (int64_t i = 0; i < r.n; i++) {
        const double w = job->epsilon[row] * (scale ? scale[r.place[i]] : 1.0);
        r.theta[i] = theta[r.place[i]];
        r.g[i] = g ? along[r.place[i]] : 0;
        r.square[i] = (PT_REAL)(w * w);
        widest = w > widest ? w : widest;
        narrowest = w < narrowest ? w : narrowest;
    }
    for (int64_t i = r.n; i < r.n + PT_RANK_CHUNK; i++) /* what padding reads */
        r.theta[i] = r.g[i] = r.square[i] = 1;
    const double root = r.kind == PT_NORMAL ? 1.4142135623730951 : 1;
    const double tail = r.kind == PT_NORMAL ? (PT_F64 ? 8.6 : 6.0) : (PT_F64 ? 42 : 22);
    r.inverse = (PT_REAL)(1 / (widest * root));
    r.reach = sorted ? tail * root * widest : PT_INFINITY;
    if (widest == narrowest || r.n == 0)
        r.square = NULL;
    r.unit = r.square ? 1 : 1 / (widest * root);
    if (!g)
        r.g = NULL;
    return r;
}

static int64_t PT_NAME(ranking_parts)(const pt_job *job) {
    return job->n > PT_RANK_PARTED ? PT_RANK_PARTS : 1;
}

static size_t PT_NAME(ranking_exact_size)(const pt_job *job, const pt_exact_io *io) {
    (void)io;
    return 2 * pt_take_size(job->n, sizeof(int32_t)) +
           3 * pt_take_size(job->n + PT_RANK_CHUNK, sizeof(PT_REAL)) +
           3 * pt_take_size(PT_RANK_BLOCK, sizeof(PT_REAL)) +
           pt_take_size(job->n + PT_RANK_CHUNK, sizeof(double));
}

static pt_status PT_NAME(ranking_value)(const pt_job *job, int64_t row, const PT_NAME(ranks) * r,
                                        double *work, double *value, pt_poll_fn stop,
                                        void *stop_ctx) {
    const double n = (double)r->n, mean = job->noise.kind == PT_GUMBEL ? PT_EULER_GAMMA : 0;
    const double moved = (mean + job->noise.shift) * job->epsilon[row] *
                         (job->noise.scale ? job->noise.scale[0] : 1);
    const pt_status status = PT_NAME(sum_value)(r, work, value, stop, stop_ctx);
    *value += moved * n * (n + 1) / 2;
    if (job->problem.sign < 0) /* max -<y, theta'> = max <n + 1 - y, theta'> - (n + 1) sum theta' */
        *value -= (n + 1) * (work[0] + n * moved);
    return status;
}

typedef struct {
    const PT_NAME(ranks) * r;
    double *sum, sign;
    PT_REAL *jac;
    int64_t n;
} PT_NAME(jacobian_sum);

static void PT_NAME(take_jacobian)(void *ctx, const PT_NAME(stretch) * of, const PT_REAL *terms) {
    const PT_NAME(jacobian_sum) *s = ctx;
    const int64_t i = s->r->place[of->i];
    for (int64_t l = 0; l < of->count; l++) {
        const int64_t j = s->r->place[of->j + l];
        s->sum[of->i] += (double)terms[l];
        s->sum[of->j + l] += (double)terms[l];
        s->jac[i * s->n + j] = s->jac[j * s->n + i] = (PT_REAL)(-s->sign * (double)terms[l]);
    }
}

/* All of J: -k/w off the diagonal. */
static pt_status PT_NAME(ranking_jacobian)(const pt_job *job, const PT_NAME(ranks) * r, double *sum,
                                           PT_REAL *jac, pt_poll_fn stop, void *stop_ctx) {
    const int64_t n = job->n;
    PT_NAME(jacobian_sum) s = { r, sum, job->problem.sign * r->unit, jac, n };
    PT_NAME(pair_batch)
    batch = { .r = r, .part = PT_PAIR_DENSITY, .take = PT_NAME(take_jacobian), .ctx = &s };
    memset(jac, 0, (size_t)(n * n) * sizeof *jac);
    memset(sum, 0, (size_t)n * sizeof *sum);
    const pt_status status = PT_NAME(walk_pairs)(&batch, 0, r->n, 0, stop, stop_ctx);
    for (int64_t i = 0; i < r->n; i++)
        jac[r->place[i] * (n + 1)] = (PT_REAL)(s.sign * sum[i]);
    return status;
}

/* One kind of sums for the entries of a part, written to their places: base + sign x sum. */
static pt_status PT_NAME(ranking_sums)(const pt_job *job, const PT_NAME(ranks) * r,
                                       pt_pair_part what, int64_t part, double *sum, PT_REAL *out,
                                       pt_poll_fn stop, void *stop_ctx) {
    const int64_t parts = PT_NAME(ranking_parts)(job), from = r->n * part / parts,
                  to = r->n * (part + 1) / parts;
    const double sign = job->problem.sign;
    PT_NAME(pair_batch) batch = { .r = r, .part = what, .take = PT_NAME(take_both), .ctx = sum };
    memset(sum, 0, (size_t)r->n * sizeof *sum);
    const pt_status status = parts == 1 ? PT_NAME(walk_pairs)(&batch, 0, r->n, 0, stop, stop_ctx)
                                        : PT_NAME(sum_pairs_of)(&batch, from, to, stop, stop_ctx);
    for (int64_t i = from; i < to; i++) {
        const double rank = (double)(1 + i) + sum[i];
        out[r->place[i]] = (PT_REAL)(what == PT_PAIR_DENSITY ? sign * r->unit * sum[i]
                                     : sign > 0              ? rank
                                                             : (double)(r->n + 1) - rank);
    }
    return status;
}

/* What is left out gets 0: each part sees to its share of the item. */
static void PT_NAME(ranking_clear)(const pt_job *job, int64_t row, int64_t part, PT_REAL *out) {
    const PT_REAL *theta = (const PT_REAL *)job->theta + row * job->n;
    const int64_t parts = PT_NAME(ranking_parts)(job);
    for (int64_t j = job->n * part / parts; j < job->n * (part + 1) / parts; j++)
        if (!(theta[j] > -PT_INFINITY))
            out[j] = 0;
}

static pt_status PT_NAME(ranking_exact_row)(const pt_job *job, int64_t row, int64_t part,
                                            const pt_exact_io *io, void *work, pt_poll_fn stop,
                                            void *stop_ctx) {
    char *at = work;
    const void *along = io->g ? io->g : io->t;
    PT_NAME(ranks) r = PT_NAME(ranks_start)(job, row, along, &at);
    double *sum = pt_take(&at, job->n + PT_RANK_CHUNK, sizeof(double));
    PT_REAL *product = io->g ? io->vjp : io->jvp;
    pt_status status = PT_OK;
    if (io->y) {
        PT_NAME(ranking_clear)(job, row, part, io->y);
        status = PT_NAME(ranking_sums)(job, &r, PT_PAIR_CDF, part, sum, io->y, stop, stop_ctx);
    }
    if (along && status == PT_OK) {
        PT_NAME(ranking_clear)(job, row, part, product);
        status =
            PT_NAME(ranking_sums)(job, &r, PT_PAIR_DENSITY, part, sum, product, stop, stop_ctx);
    }
    if (io->value && part == 0 && status == PT_OK)
        status = PT_NAME(ranking_value)(job, row, &r, sum, io->value, stop, stop_ctx);
    r.g = NULL;
    if (io->jac && part == 0 && status == PT_OK)
        status = PT_NAME(ranking_jacobian)(job, &r, sum, io->jac, stop, stop_ctx);
    return status;
}

/* Beyond this, M draws are sooner there. */
static int PT_NAME(ranking_covers)(const pt_job *job) {
    return job->n > INT32_MAX ? 0 : job->n > 16384 ? 1 : 2;
}

static const pt_exact_form PT_NAME(ranking_exact) = {
    .noises = 1u << PT_NORMAL | 1u << PT_GUMBEL | 1u << PT_LOGISTIC | 1u << PT_LAPLACE,
    .one_width = 1u << PT_GUMBEL | 1u << PT_LOGISTIC | 1u << PT_LAPLACE,
    .widest_ratio = PT_INFINITY,
    .covers = PT_NAME(ranking_covers),
    .parts = PT_NAME(ranking_parts),
    .work_size = PT_NAME(ranking_exact_size),
    .row = PT_NAME(ranking_exact_row),
};
