/* exact_ranking: expected ranks, value and derivatives of a perturbed ranking, in its own element type.
 *
 * With K the cdf and k the density of the difference of two noises (MATH, section 6), d_ij = (theta_i - theta_j)/w_ij:
 *   E rank_i = 1 + sum_{j != i} K(d_ij),   J_ij = -k(d_ij)/w_ij off the diagonal, rows sum to 0,
 *   F = sum_i E theta'_i + sum_{i<j} E max(theta'_i, theta'_j),   E max = max(theta_i, theta_j) + w (E Z + T(|d|)),
 * T(d) = int_d^inf (1 - K). w is the one width, or sqrt(w_i^2 + w_j^2) (of a standard normal) for normal noise.
 *
 * Each pair i < j is worked out once: what i gets is what j is charged (a rank starts at 1 + its place in the order).
 * Long items are sorted first: pairs out of reach are settled, and the pairs of an entry are a stretch of its
 * neighbours. Very long ones are cut into PT_RANK_PARTS tasks of whole entries, which work out each pair twice. Crowded
 * rows go by a series (rank_series.h). */
#ifndef PT_REAL
#error "exact_ranking.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

#define PT_RANK_SORTED 256 /* from so many entries on they are sorted */
#define PT_RANK_PARTED 2048
#define PT_RANK_PARTS 16
#define PT_RANK_CROWDED                                                                            \
    (PT_F64 ? PT_RANK_SORTED : 32) /* from so many entries on by a series, where that pays */
#define PT_RANK_BLOCK 512          /* pairs worked out together */
#define PT_RANK_CHUNK 16           /* a stretch of pairs is padded to a multiple of this */

/* One row: the entries that are in, ascending where they are many. */
typedef struct {
    int64_t n;
    pt_noise_kind kind;
    PT_REAL *theta, *g; /* n and a chunk; g or t, or NULL */
    PT_REAL *square;    /* likewise: squared widths where they differ, else NULL */
    PT_REAL inverse;    /* 1 / w where they do not */
    double
        unit; /* what terms of k are still to be multiplied by, and of T divided: 1 / w, or 1 where w differs */
    double widest; /* of the differences' widths */
    double reach;  /* in theta's unit, from any entry; infinite: all pairs are worked out */
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

/* theta, g and widths of the entries in r->place, in that order. */
static void PT_NAME(ranks_fill)(const pt_job *job, int64_t row, const PT_REAL *g,
                                PT_NAME(ranks) * r) {
    const PT_REAL *theta = (const PT_REAL *)job->theta + row * job->n;
    const double *scale = job->noise.scale;
    for (int64_t i = 0; i < r->n; i++) {
        const double w = job->epsilon[row] * (scale ? scale[r->place[i]] : 1.0);
        r->theta[i] = theta[r->place[i]];
        if (g)
            r->g[i] = g[r->place[i]];
        if (r->square)
            r->square[i] = (PT_REAL)(w * w);
    }
}

/* A row in the order of its item; g may be NULL.   spare [out] job->n, for ranks_sort */
static PT_NAME(ranks) PT_NAME(ranks_start)(const pt_job *job, int64_t row, const PT_REAL *g,
                                           int32_t **spare, char **work) {
    const PT_REAL *theta = (const PT_REAL *)job->theta + row * job->n;
    const double *scale = job->noise.scale, epsilon = job->epsilon[row];
    PT_NAME(ranks) r = { .kind = job->noise.kind, .reach = PT_INFINITY };
    double widest = epsilon * (scale ? 0 : 1), narrowest = scale ? PT_INFINITY : widest;
    *spare = pt_take(work, job->n, sizeof **spare);
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
    for (int64_t i = 0; scale && i < r.n; i++) {
        const double w = epsilon * scale[r.place[i]];
        widest = w > widest ? w : widest;
        narrowest = w < narrowest ? w : narrowest;
    }
    for (int64_t i = r.n; i < r.n + PT_RANK_CHUNK; i++) /* what padding reads */
        r.theta[i] = r.g[i] = r.square[i] = 1;
    const double root = r.kind == PT_NORMAL ? 1.4142135623730951 : 1;
    r.widest = widest * root;
    r.inverse = (PT_REAL)(1 / r.widest);
    if (widest == narrowest || r.n == 0)
        r.square = NULL;
    r.unit = r.square ? 1 : 1 / r.widest;
    PT_NAME(ranks_fill)(job, row, g, &r);
    if (!g)
        r.g = NULL;
    return r;
}

/* Sort a long row, which gives its pairs a reach. */
static void PT_NAME(ranks_sort)(const pt_job *job, int64_t row, const PT_REAL *g, int32_t *spare,
                                PT_NAME(ranks) * r) {
    if (r->n < PT_RANK_SORTED)
        return;
    PT_NAME(sort_places)((const PT_REAL *)job->theta + row * job->n, r->n, r->place, spare);
    PT_NAME(ranks_fill)(job, row, g, r);
    r->reach = (r->kind == PT_NORMAL ? (PT_F64 ? 8.6 : 6.0) : (PT_F64 ? 42 : 22)) * r->widest;
}

static int64_t PT_NAME(ranking_parts)(const pt_job *job) {
    return job->n > PT_RANK_PARTED ? PT_RANK_PARTS : 1;
}

static size_t PT_NAME(ranking_exact_size)(const pt_job *job, const pt_exact_io *io) {
    (void)io;
    return 2 * pt_take_size(job->n, sizeof(int32_t)) +
           3 * pt_take_size(job->n + PT_RANK_CHUNK, sizeof(PT_REAL)) +
           3 * pt_take_size(PT_RANK_BLOCK, sizeof(PT_REAL)) +
           pt_take_size(job->n + PT_RANK_CHUNK, sizeof(double)) + pt_series_size(job->n);
}

/* The value from F of an ascending ranking without what E Z adds, and the sum of theta. */
static double PT_NAME(whole_value)(const pt_job *job, int64_t row, double total, double value,
                                   double n) {
    const double mean = job->noise.kind == PT_GUMBEL ? PT_EULER_GAMMA : 0;
    const double moved = (mean + job->noise.shift) * job->epsilon[row] *
                         (job->noise.scale ? job->noise.scale[0] : 1);
    value += moved * n * (n + 1) / 2;
    if (job->problem.sign < 0) /* max -<y, theta'> = max <n + 1 - y, theta'> - (n + 1) sum theta' */
        value -= (n + 1) * (total + n * moved);
    return value;
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

/* About how many pairs of a row are in reach: those in one cell as wide as a pair's reach, and half of those in two cells
 * side by side. cells [tmp] zeros */
static double PT_NAME(pairs_in_reach)(const PT_NAME(ranks) * r, double lowest, double reach,
                                      int64_t n_cells, int32_t *cells) {
    const double inverse = 1 / reach;
    double pairs = 0, before = 0;
    for (int64_t i = 0; i < r->n; i++)
        cells[(int64_t)(((double)r->theta[i] - lowest) * inverse)]++;
    for (int64_t c = 0; c < n_cells; c++) {
        const double in = cells[c];
        pairs += 0.5 * in * (in - 1 + before);
        before = in;
    }
    return pairs;
}

/* The widest gap of a row that a series is made for, in units of noise; negative: it goes pair by pair. A mode costs about
 * as much as a pair. With so many pairs in reach that this pays, some entries of J are far from small, and errors of the
 * series, absolute ones, small against them.
 *   lowest [out]  theta
 *   cells  [tmp]  n */
static double PT_NAME(crowded_gap)(const PT_NAME(ranks) * r, double *lowest, int32_t *cells) {
    if (r->n < PT_RANK_CROWDED || r->square)
        return -1;
    PT_REAL least = r->theta[0], most = r->theta[0];
    for (int64_t i = 1; i < r->n; i++) {
        least = r->theta[i] < least ? r->theta[i] : least;
        most = r->theta[i] > most ? r->theta[i] : most;
    }
    *lowest = (double)least;
    const double gap = ((double)most - (double)least) * r->unit, n = (double)r->n;
    const double modes = pt_series_modes(r->kind, gap), reach = pt_series_margin(r->kind);
    if (modes < 0 || !(2 * modes <= n)) /* also where the gap overflows */
        return -1;
    if (r->n < PT_RANK_SORTED) /* all pairs count */
        return gap;
    const int64_t n_cells = (int64_t)(gap / reach) + 2;
    memset(cells, 0, (size_t)n_cells * sizeof *cells);
    const double pairs = PT_NAME(pairs_in_reach)(r, *lowest, reach / r->unit, n_cells, cells);
    return modes * n <= pairs ? gap : -1;
}

/* y, the product with g or t, and the value of a crowded row, by its series. */
static pt_status PT_NAME(ranking_by_series)(const pt_job *job, int64_t row,
                                            const PT_NAME(ranks) * r, double lowest, double gap,
                                            const pt_exact_io *io, PT_REAL *product, double *sum,
                                            char **work, pt_poll_fn stop, void *stop_ctx) {
    pt_series p = pt_series_start(r->kind, r->n, gap, work);
    const double sign = job->problem.sign, n = (double)r->n;
    const double unit = r->unit / p.period;
    for (int64_t i = 0; i < r->n; i++)
        p.t[i] = ((double)r->theta[i] - lowest) * unit;
    for (int64_t i = 0; i < r->n; i++)
        p.g[i] = r->g ? (double)r->g[i] : 0;
    p.stop = stop;
    p.stop_ctx = stop_ctx;
    pt_status status = pt_series_moments(&p, product != NULL);
    PT_REAL *ranks = io->y;
    if (ranks && status == PT_OK) {
        status = pt_series_evaluate(&p, 0, sum);
        for (int64_t i = 0; i < r->n; i++)
            ranks[r->place[i]] = (PT_REAL)(sign > 0 ? 0.5 + sum[i] : n + 0.5 - sum[i]);
    }
    if (product && status == PT_OK) {
        status = pt_series_evaluate(&p, 1, sum);
        for (int64_t i = 0; i < r->n; i++)
            product[r->place[i]] = (PT_REAL)(sign * r->unit * sum[i]);
    }
    if (io->value) {
        double total = 0;
        for (int64_t i = 0; i < r->n; i++)
            total += (double)r->theta[i];
        const double larger = total * (n + 1) / 2 + pt_series_spread(&p) / (2 * r->unit);
        *io->value = PT_NAME(whole_value)(job, row, total, larger, n);
    }
    return status;
}

/* The same pair by pair, of one part. */
static pt_status PT_NAME(ranking_by_pairs)(const pt_job *job, int64_t row, int64_t part,
                                           const PT_NAME(ranks) * r, const pt_exact_io *io,
                                           PT_REAL *product, double *sum, pt_poll_fn stop,
                                           void *stop_ctx) {
    pt_status status = PT_OK;
    if (io->y)
        status = PT_NAME(ranking_sums)(job, r, PT_PAIR_CDF, part, sum, io->y, stop, stop_ctx);
    if (product && status == PT_OK)
        status = PT_NAME(ranking_sums)(job, r, PT_PAIR_DENSITY, part, sum, product, stop, stop_ctx);
    if (io->value && part == 0 && status == PT_OK) {
        status = PT_NAME(sum_value)(r, sum, io->value, stop, stop_ctx);
        *io->value = PT_NAME(whole_value)(job, row, sum[0], *io->value, (double)r->n);
    }
    return status;
}

static pt_status PT_NAME(ranking_exact_row)(const pt_job *job, int64_t row, int64_t part,
                                            const pt_exact_io *io, void *work, pt_poll_fn stop,
                                            void *stop_ctx) {
    char *at = work;
    const PT_REAL *along = io->g ? io->g : io->t;
    int32_t *spare;
    PT_NAME(ranks) r = PT_NAME(ranks_start)(job, row, along, &spare, &at);
    double *sum = pt_take(&at, job->n + PT_RANK_CHUNK, sizeof(double));
    PT_REAL *product = io->g ? io->vjp : io->t ? io->jvp : NULL;
    double lowest = 0;
    const double gap = PT_NAME(crowded_gap)(&r, &lowest, spare);
    pt_status status = PT_OK;
    if (io->y)
        PT_NAME(ranking_clear)(job, row, part, io->y);
    if (product)
        PT_NAME(ranking_clear)(job, row, part, product);
    if (!(gap >= 0))
        PT_NAME(ranks_sort)(job, row, along, spare, &r);
    if (!(gap >= 0))
        status = PT_NAME(ranking_by_pairs)(job, row, part, &r, io, product, sum, stop, stop_ctx);
    else if (part == 0 && (io->y || product || io->value))
        status = PT_NAME(ranking_by_series)(job, row, &r, lowest, gap, io, product, sum, &at, stop,
                                            stop_ctx);
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
