/* order: ranks and sorting orders of many short or a few long items, for ranking and permutation.
 * Needs PT_REAL, PT_BITS, PT_F64 and PT_NAME; perturbed.h, stdint.h and string.h included before.
 *
 * Stable (ties to the lowest index, -0 = +0); an element that is left out has a -inf, and goes behind all others.
 * The code is ranks (code[i] = 1 + place of i, 0 where i is left out) or, with `inverse`, the order (code[place] = i,
 * -1 in the places beyond the last). `sign` = -1 turns the order round without touching ties.
 *
 * Short items: all pairs are compared, PT_LANES draws at a time. Longer ones, a draw at a time: one pass into buckets
 * linear in theta, which noisy data fill evenly; where they do not, or the item is very long, a radix sort. Each way is
 * exact, so the choice between them never shows. */
#ifndef PT_REAL
#error "order.tmpl.h: define PT_REAL, PT_BITS, PT_F64 and PT_NAME first"
#endif

/* Longest item solved in lanes, in bytes: measured, about where counting pairs costs as much as buckets do. */
#define PT_ORDER_LANES_BYTES 512
#define PT_ORDER_TILE 4 /* items at a time in the pair count: all fit the registers */
#define PT_ORDER_STRIP (PT_VECTOR / (int)sizeof(PT_REAL))
/* Longest item for buckets, and the fullest bucket allowed: measured, beyond them radix sort is the faster one. */
#define PT_ORDER_BUCKETS_MAX (PT_F64 ? 1 << 19 : 1 << 15)
#define PT_ORDER_FULL 24
#define PT_ORDER_CHUNK (1 << 18) /* elements between two calls of stop */
#define PT_ORDER_INF ((PT_REAL)__builtin_inf())

/* a < b of two vectors is all ones, -1, where it holds. */
typedef PT_REAL PT_NAME(order_reals) __attribute__((vector_size(PT_VECTOR)));
typedef PT_BITS PT_NAME(order_bits) __attribute__((vector_size(PT_VECTOR)));

/* A key that sorts like the real it was made from, and where it came from. */
typedef struct {
    PT_BITS key;
    uint32_t index;
} PT_NAME(order_pair);

/* A solve: what is wanted, and where its arrays lie in the scratch, in bytes. */
typedef struct {
    int64_t n;
    int descending, inverse;
    size_t x, rank;                      /* lanes */
    size_t bucket, start, sorted, index; /* buckets */
    size_t pairs, pairs2, count;         /* radix */
    int digit, n_digits;                 /* bits of a digit; how many digits a key has */
    size_t total;
} PT_NAME(order_plan);

static inline PT_NAME(order_reals) PT_NAME(order_load)(const PT_REAL *x) {
    PT_NAME(order_reals) v;
    memcpy(&v, x, sizeof v);
    return v;
}

static size_t PT_NAME(order_slice)(size_t *at, int64_t count, size_t size) {
    const size_t begin = *at;
    *at += ((size_t)count * size + 63) / 64 * 64;
    return begin;
}

static PT_NAME(order_plan) PT_NAME(order_make_plan)(const pt_problem *p, int inverse) {
    const int64_t n = p->n;
    PT_NAME(order_plan) s = { .n = n, .descending = p->ints[0] != 0, .inverse = inverse };
    if (p->lanes == PT_LANES) {
        s.x = PT_NAME(order_slice)(&s.total, n * PT_LANES, sizeof(PT_REAL));
        s.rank = PT_NAME(order_slice)(&s.total, n * PT_LANES, sizeof(PT_BITS));
        return s;
    }
    if (n <= PT_ORDER_BUCKETS_MAX) {
        s.bucket = PT_NAME(order_slice)(&s.total, n + PT_LANES, sizeof(int32_t));
        s.start = PT_NAME(order_slice)(&s.total, 2 * n + 1, sizeof(uint32_t));
        s.sorted =
            PT_NAME(order_slice)(&s.total, n + 2 * PT_ORDER_FULL + PT_LANES, sizeof(PT_REAL));
        s.index = PT_NAME(order_slice)(&s.total, n, sizeof(int32_t));
    }
    /* Small digits where clearing and adding up counts would cost more than the passes saved. */
    s.digit = n < 2048 ? 8 : 11;
    s.n_digits = ((int)sizeof(PT_BITS) * 8 + s.digit - 1) / s.digit;
    s.pairs = PT_NAME(order_slice)(&s.total, n, sizeof(PT_NAME(order_pair)));
    s.pairs2 = PT_NAME(order_slice)(&s.total, n, sizeof(PT_NAME(order_pair)));
    s.count = PT_NAME(order_slice)(&s.total, (int64_t)s.n_digits << s.digit, sizeof(uint32_t));
    return s;
}

/* ---- lanes -------------------------------------------------------------------------------------------------- */

/* Compare item i with items from..to-1, all lanes. See order_count. */
static void PT_NAME(order_count_one)(int64_t i, int64_t from, int64_t to, const PT_REAL *restrict x,
                                     PT_BITS *restrict rank) {
    const PT_REAL *restrict xi = x + i * PT_LANES;
    PT_BITS a[PT_LANES] = { 0 };
    for (int64_t j = from; j < to; j++)
        for (int l = 0; l < PT_LANES; l++) {
            const PT_BITS less = x[j * PT_LANES + l] < xi[l];
            a[l] += less;
            rank[j * PT_LANES + l] -= less;
        }
    for (int l = 0; l < PT_LANES; l++)
        rank[i * PT_LANES + l] += a[l];
}

/* rank_i = #{j: x_j < x_i} + #{j < i: x_j = x_i}. A pair i < j gives 1 to i where x_j < x_i, else to j: start from
 * rank_j = j, then add c = (x_j < x_i) to rank_i and take it from rank_j. Invariant of the inner loop: `a` holds the
 * ranks of a tile of i, counted against all items before j. */
static void PT_NAME(order_count)(int64_t n, const PT_REAL *restrict x, PT_BITS *restrict rank) {
    enum { tile = PT_ORDER_TILE };
    for (int64_t i = 0; i < n * PT_LANES; i++)
        rank[i] = (PT_BITS)(i / PT_LANES);
    int64_t i = 0;
    for (; i + tile <= n; i += tile) {
        for (int k = 0; k < tile; k++)
            PT_NAME(order_count_one)(i + k, i + k + 1, i + tile, x, rank);
        for (int64_t s = i * PT_LANES; s < (i + 1) * PT_LANES; s += PT_ORDER_STRIP) {
            PT_NAME(order_reals) xi[tile];
            PT_NAME(order_bits) a[tile], r;
            for (int k = 0; k < tile; k++) {
                xi[k] = PT_NAME(order_load)(x + s + k * PT_LANES);
                memcpy(&a[k], rank + s + k * PT_LANES, sizeof a[k]);
            }
            for (int64_t j = s + tile * PT_LANES; j < n * PT_LANES; j += PT_LANES) {
                const PT_NAME(order_reals) xj = PT_NAME(order_load)(x + j);
                memcpy(&r, rank + j, sizeof r);
                for (int k = 0; k < tile; k++) {
                    const PT_NAME(order_bits) less = (PT_NAME(order_bits))(xj < xi[k]);
                    a[k] -= less;
                    r += less;
                }
                memcpy(rank + j, &r, sizeof r);
            }
            for (int k = 0; k < tile; k++)
                memcpy(rank + s + k * PT_LANES, &a[k], sizeof a[k]);
        }
    }
    for (; i < n; i++)
        PT_NAME(order_count_one)(i, i + 1, n, x, rank);
}

/* Solve up to PT_LANES draws, interleaved. */
static void PT_NAME(order_lanes)(const PT_NAME(order_plan) * s, const pt_group *group,
                                 int32_t *restrict code, char *work) {
    const int64_t n = s->n;
    const PT_REAL sign = s->descending ? -1 : 1;
    const PT_REAL *restrict theta = group->theta;
    PT_REAL *restrict x = (PT_REAL *)(work + s->x);
    PT_BITS *restrict rank = (PT_BITS *)(work + s->rank);
    for (int64_t i = 0; i < n * PT_LANES; i++)
        x[i] = theta[i] == -PT_ORDER_INF ? PT_ORDER_INF : sign * theta[i];
    PT_NAME(order_count)(n, x, rank);
    if (!s->inverse)
        for (int64_t i = 0; i < n * PT_LANES; i++)
            rank[i] = x[i] == PT_ORDER_INF ? 0 : rank[i] + 1;
    for (int64_t d = 0; d < group->n_draws; d++) {
        int32_t *restrict c = code + d * n;
        if (!s->inverse) {
            for (int64_t i = 0; i < n; i++)
                c[i] = (int32_t)rank[i * PT_LANES + d];
            continue;
        }
        for (int64_t i = 0; i < n; i++)
            c[rank[i * PT_LANES + d]] = (int32_t)i;
        for (int64_t r = n - 1; r >= 0 && x[c[r] * PT_LANES + d] == PT_ORDER_INF; r--)
            c[r] = -1;
    }
}

/* ---- buckets ------------------------------------------------------------------------------------------------ */

/* lo, hi = least and largest of sign * t over the allowed elements; lo > hi if there are none. */
static void PT_NAME(order_range)(int64_t n, const PT_REAL *restrict t, PT_REAL sign, PT_REAL *lo,
                                 PT_REAL *hi) {
    PT_REAL low[PT_LANES], high[PT_LANES];
    for (int l = 0; l < PT_LANES; l++) {
        low[l] = PT_ORDER_INF;
        high[l] = -PT_ORDER_INF;
    }
    /* Items here are longer than PT_LANES. The last block overlaps the one before it. */
    for (int64_t at = 0; at < n; at += PT_LANES) {
        const PT_REAL *restrict b = t + (at + PT_LANES <= n ? at : n - PT_LANES);
        for (int l = 0; l < PT_LANES; l++) {
            const PT_REAL down = b[l] == -PT_ORDER_INF ? PT_ORDER_INF : sign * b[l];
            const PT_REAL up = b[l] == -PT_ORDER_INF ? -PT_ORDER_INF : sign * b[l];
            low[l] = down < low[l] ? down : low[l];
            high[l] = up > high[l] ? up : high[l];
        }
    }
    *lo = low[0];
    *hi = high[0];
    for (int l = 1; l < PT_LANES; l++) {
        *lo = low[l] < *lo ? low[l] : *lo;
        *hi = high[l] > *hi ? high[l] : *hi;
    }
}

/* place[p] = place of the element at p, for x in bucket order: a bucket has its elements in a stretch of at most
 * reach + 1, in order of index, so it is enough to compare with `reach` elements on either side:
 * place = p + #{0 < w <= reach: x[p + w] < x[p]} - #{0 < w <= reach: x[p - w] > x[p]}.
 * x has `reach` times -inf before it and reach + PT_LANES times +inf behind it; place has PT_LANES to spare. */
static void PT_NAME(order_settle)(int64_t n, int64_t reach, const PT_REAL *restrict x,
                                  int32_t *restrict place) {
    for (int64_t p = 0; p < n; p += PT_ORDER_STRIP) {
        const PT_NAME(order_reals) xp = PT_NAME(order_load)(x + p);
        PT_NAME(order_bits) a = { 0 };
        for (int64_t w = 1; w <= reach; w++) {
            a -= (PT_NAME(order_bits))(PT_NAME(order_load)(x + p + w) < xp);
            a += (PT_NAME(order_bits))(xp < PT_NAME(order_load)(x + p - w));
        }
        for (int l = 0; l < PT_ORDER_STRIP; l++)
            place[p + l] = (int32_t)(p + l) + (int32_t)a[l];
    }
}

/* Sort one draw. Returns 0, with nothing written, where buckets do not suit it.
 * Monotone rounding: t <= u gives bucket(t) <= bucket(u), so buckets need no more than to be sorted inside. The last
 * one is (hi - lo) * scale <= (n_buckets - 1) (1 + 2^-22), below n_buckets <= 2^20. */
static int PT_NAME(order_buckets)(const PT_NAME(order_plan) * s, const PT_REAL *restrict t,
                                  int32_t *restrict code, char *work) {
    const int64_t n = s->n;
    const PT_REAL sign = s->descending ? -1 : 1;
    const int32_t n_buckets = (int32_t)(2 * n);
    int32_t *restrict bucket = (int32_t *)(work + s->bucket);
    uint32_t *restrict start = (uint32_t *)(work + s->start);
    PT_REAL *restrict x = (PT_REAL *)(work + s->sorted) + PT_ORDER_FULL;
    int32_t *restrict index = (int32_t *)(work + s->index);
    PT_REAL lo, hi;
    PT_NAME(order_range)(n, t, sign, &lo, &hi);
    const PT_REAL scale = (PT_REAL)(n_buckets - 1) / (hi - lo);
    if (!(hi - lo > 0 && hi - lo < PT_ORDER_INF && scale < PT_ORDER_INF))
        return 0;

    /* Elements left out have a bucket of their own behind the others. */
    memset(start, 0, (size_t)(n_buckets + 1) * sizeof *start);
    for (int64_t i = 0; i < n; i++) {
        const PT_REAL up = t[i] > -PT_ORDER_INF ? sign * t[i] - lo : 0;
        const int32_t b = (int32_t)(up * scale);
        bucket[i] = t[i] > -PT_ORDER_INF ? b : n_buckets;
    }
    for (int64_t i = 0; i < n; i++)
        start[bucket[i]]++;
    uint32_t sum = 0, fullest = 0;
    for (int32_t b = 0; b < n_buckets; b++) {
        const uint32_t c = start[b];
        start[b] = sum;
        sum += c;
        fullest = c > fullest ? c : fullest;
    }
    start[n_buckets] = sum;
    if (fullest > PT_ORDER_FULL)
        return 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t at = start[bucket[i]]++;
        x[at] = sign * t[i];
        index[at] = (int32_t)i;
    }
    const int64_t allowed = sum, reach = fullest - 1;
    for (int64_t w = 0; w < reach; w++)
        x[-1 - w] = -PT_ORDER_INF;
    for (int64_t w = 0; w < reach + PT_LANES; w++)
        x[allowed + w] = PT_ORDER_INF;
    int32_t *restrict place = bucket;
    PT_NAME(order_settle)(allowed, reach, x, place);
    if (!s->inverse) {
        for (int64_t i = 0; i < allowed; i++)
            code[index[i]] = place[i] + 1;
        for (int64_t i = allowed; i < n; i++)
            code[index[i]] = 0;
    } else {
        for (int64_t i = 0; i < allowed; i++)
            code[place[i]] = index[i];
        for (int64_t i = allowed; i < n; i++)
            code[i] = -1;
    }
    return 1;
}

/* ---- radix -------------------------------------------------------------------------------------------------- */

/* Sign and magnitude to an unsigned integer of the same order; descending: of the opposite one. -0 becomes +0. All ones
 * is no finite number's key and stands for an element left out. */
static PT_BITS PT_NAME(order_key)(PT_REAL t, int descending) {
    const PT_BITS top = (PT_BITS)1 << (sizeof(PT_BITS) * 8 - 1);
    PT_BITS b;
    memcpy(&b, &t, sizeof b);
    b ^= descending ? top : 0;
    b = (b & ~top) ? b : 0;
    b = (b & top) ? ~b : b | top;
    return t == -PT_ORDER_INF ? ~(PT_BITS)0 : b;
}

/* Make the pairs from..to-1 and count all digits of their keys. Returns how many are allowed. */
static int64_t PT_NAME(order_pack)(const PT_NAME(order_plan) * s, int64_t from, int64_t to,
                                   const PT_REAL *restrict t, PT_NAME(order_pair) *restrict pairs,
                                   uint32_t *restrict count) {
    const int digit = s->digit, n_digits = s->n_digits;
    const PT_BITS low = ((PT_BITS)1 << digit) - 1;
    int64_t allowed = 0;
    for (int64_t i = from; i < to; i++) {
        const PT_BITS key = PT_NAME(order_key)(t[i], s->descending);
        allowed += key != ~(PT_BITS)0;
        pairs[i].key = key;
        pairs[i].index = (uint32_t)i;
        for (int d = 0; d < n_digits; d++)
            count[((size_t)d << digit) + (size_t)(key >> (d * digit) & low)]++;
    }
    return allowed;
}

/* Counts of a digit to first places. Returns 0 where all n have the same digit. */
static int PT_NAME(order_starts)(int64_t n, int64_t n_values, uint32_t *restrict count) {
    uint32_t sum = 0;
    for (int64_t v = 0; v < n_values; v++) {
        const uint32_t c = count[v];
        if (c == (uint32_t)n)
            return 0;
        count[v] = sum;
        sum += c;
    }
    return 1;
}

/* Sort one draw by least significant digits first (Knuth, The Art of Computer Programming 3, section 5.2.5).
 * Invariant: before digit d, `from` is stably sorted by the d lower ones. Step -1 makes the pairs, in `to`. */
static pt_status PT_NAME(order_radix)(const PT_NAME(order_plan) * s, const pt_group *group,
                                      const PT_REAL *t, int32_t *restrict code, char *work) {
    const int64_t n = s->n;
    const int digit = s->digit, n_digits = s->n_digits;
    const PT_BITS low = ((PT_BITS)1 << digit) - 1;
    PT_NAME(order_pair) *from = (PT_NAME(order_pair) *)(work + s->pairs);
    PT_NAME(order_pair) *to = (PT_NAME(order_pair) *)(work + s->pairs2);
    uint32_t *count = (uint32_t *)(work + s->count);
    int64_t allowed = 0;
    memset(count, 0, ((size_t)n_digits << digit) * sizeof *count);
    for (int d = -1; d < n_digits; d++) {
        uint32_t *restrict next = count + ((size_t)(d < 0 ? 0 : d) << digit);
        if (d >= 0 && !PT_NAME(order_starts)(n, (int64_t)1 << digit, next))
            continue;
        for (int64_t a = 0; a < n; a += PT_ORDER_CHUNK) {
            const int64_t b = n - a > PT_ORDER_CHUNK ? a + PT_ORDER_CHUNK : n;
            if (group->stop && group->stop(group->stop_ctx))
                return PT_E_STOPPED;
            if (d < 0)
                allowed += PT_NAME(order_pack)(s, a, b, t, to, count);
            else
                for (int64_t i = a; i < b; i++)
                    to[next[from[i].key >> (d * digit) & low]++] = from[i];
        }
        PT_NAME(order_pair) *const swap = from;
        from = to;
        to = swap;
    }
    for (int64_t i = 0; i < n; i++)
        if (s->inverse)
            code[i] = i < allowed ? (int32_t)from[i].index : -1;
        else
            code[from[i].index] = i < allowed ? (int32_t)i + 1 : 0;
    return PT_OK;
}

/* ---- what the solvers call ---------------------------------------------------------------------------------- */

/* The part of prepare that both solvers share: options, size, lanes. ints = {descending}. */
static pt_status PT_NAME(order_prepare)(pt_problem *p, pt_error *err) {
    if (p->ints[0] != 0 && p->ints[0] != 1)
        return pt_fail(err, PT_E_VALUE, -1, "descending must be 0 or 1, got %lld",
                       (long long)p->ints[0]);
    if (p->n > INT32_MAX)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have at most 2147483647 entries, got %lld",
                       (long long)p->n);
    p->code_len = p->n;
    p->lanes = p->n <= PT_ORDER_LANES_BYTES / (int)sizeof(PT_REAL) ? PT_LANES : 1;
    p->clipped = 0;
    p->no_neg_inf = 1;
    return PT_OK;
}

static size_t PT_NAME(order_work_size)(const pt_problem *p) {
    return PT_NAME(order_make_plan)(p, 0).total;
}

static pt_status PT_NAME(order_solve)(const pt_problem *p, const pt_group *group, int inverse,
                                      int32_t *code, void *work) {
    const PT_NAME(order_plan) s = PT_NAME(order_make_plan)(p, inverse);
    pt_status status = PT_OK;
    if (p->lanes == PT_LANES) {
        PT_NAME(order_lanes)(&s, group, code, work);
        return PT_OK;
    }
    for (int64_t d = 0; d < group->n_draws && status == PT_OK; d++, code += p->n) {
        const PT_REAL *t = (const PT_REAL *)group->theta + d * group->draw_step;
        if (group->stop && group->stop(group->stop_ctx))
            return PT_E_STOPPED;
        if (p->n < PT_LANES || p->n > PT_ORDER_BUCKETS_MAX ||
            !PT_NAME(order_buckets)(&s, t, code, work))
            status = PT_NAME(order_radix)(&s, group, t, code, work);
    }
    return status;
}
