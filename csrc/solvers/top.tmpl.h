/* top: the k largest entries of a draw, best first; equal values to the lowest index. Shared by argmax and top_k. */
#ifndef PT_REAL
#error "top.tmpl.h is a template: include it from registry.tmpl.h"
#endif

/* Up to this n, and this k, draws are searched side by side in vector lanes. */
#define PT_TOP_LANES_N 256
#define PT_TOP_LANES_K 8

typedef struct {
    PT_REAL value;
    int32_t index;
} PT_NAME(entry);

/* A heap of at most k entries with the worst on top. */
typedef struct {
    PT_NAME(entry) * entries;
    int64_t size, k;
} PT_NAME(top);

static inline int PT_NAME(better)(PT_NAME(entry) a, PT_NAME(entry) b) {
    return a.value > b.value || (a.value == b.value && a.index < b.index);
}

/* Invariant: no entry is better than one below it. Put e at the top and let it sink. */
static void PT_NAME(top_sink)(PT_NAME(entry) * heap, int64_t size, PT_NAME(entry) e) {
    int64_t i = 0;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= size)
            break;
        if (child + 1 < size && PT_NAME(better)(heap[child], heap[child + 1]))
            child++;
        if (PT_NAME(better)(heap[child], e))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = e;
}

static void PT_NAME(top_offer)(PT_NAME(top) * t, PT_REAL value, int32_t index) {
    const PT_NAME(entry) e = { value, index };
    if (t->size == t->k) {
        if (PT_NAME(better)(e, t->entries[0]))
            PT_NAME(top_sink)(t->entries, t->k, e);
        return;
    }
    int64_t i = t->size++;
    while (i > 0 && PT_NAME(better)(t->entries[(i - 1) / 2], e)) {
        t->entries[i] = t->entries[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->entries[i] = e;
}

/* Take the entries out, worst first, into the code from its end. */
static void PT_NAME(top_finish)(PT_NAME(top) * t, int32_t *code) {
    for (int64_t i = t->k - 1; i >= 0; i--) {
        if (i >= t->size) {
            code[i] = -1;
            continue;
        }
        code[i] = t->entries[0].index;
        const PT_NAME(entry) last = t->entries[--t->size];
        PT_NAME(top_sink)(t->entries, t->size, last);
    }
}

/* One draw, entries side by side. Chunks without an entry above the bar (most of them) cost a comparison. */
static void PT_NAME(top_of_row)(const PT_REAL *theta, int64_t n, PT_NAME(top) * t, int32_t *code) {
    PT_REAL bar = -PT_INFINITY;
    t->size = 0;
    for (int64_t base = 0; base < n; base += PT_LANES) {
        const int64_t end = n - base < PT_LANES ? n - base : PT_LANES;
        int any = 0;
        if (end == PT_LANES)
            for (int l = 0; l < PT_LANES; l++)
                any |= theta[base + l] > bar;
        else
            any = 1;
        if (!any)
            continue;
        for (int64_t l = 0; l < end; l++)
            if (theta[base + l] > bar) {
                PT_NAME(top_offer)(t, theta[base + l], (int32_t)(base + l));
                if (t->size == t->k)
                    bar = t->entries[0].value;
            }
    }
    PT_NAME(top_finish)(t, code);
}

/* Reals of one vector register, and as many integers; x > y is all ones where it holds. */
typedef PT_REAL PT_NAME(top_reals) __attribute__((vector_size(PT_VECTOR)));
typedef PT_SBITS PT_NAME(top_bits) __attribute__((vector_size(PT_VECTOR)));

/* A vector's worth of draws side by side, each with a list of k, best first: an entry sinks to its place.
 *   theta  [in]   entry j of the draws at theta[j * PT_LANES]
 *   index  [out]  k x lanes */
static inline void PT_NAME(top_of_vector)(const PT_REAL *restrict theta, int64_t n, int64_t k,
                                          PT_NAME(top_bits) *restrict index) {
    PT_NAME(top_reals) best[PT_TOP_LANES_K];
    for (int64_t i = 0; i < k; i++) {
        best[i] = (PT_NAME(top_reals)){ 0 } - PT_INFINITY;
        index[i] = (PT_NAME(top_bits)){ 0 } - 1;
    }
    for (int64_t j = 0; j < n; j++) {
        PT_NAME(top_reals) in;
        PT_NAME(top_bits) at = (PT_NAME(top_bits)){ 0 } + (PT_SBITS)j;
        PT_NAME(top_bits) up = { 0 };
        memcpy(&in, theta + j * PT_LANES, sizeof in);
        for (int64_t i = 0; i < k; i++) {
            up |= in > best[i]; /* once an entry is displaced, all below it move */
            const PT_NAME(top_bits) x = ((PT_NAME(top_bits))in ^ (PT_NAME(top_bits))best[i]) & up;
            const PT_NAME(top_bits) y = (at ^ index[i]) & up;
            best[i] = (PT_NAME(top_reals))((PT_NAME(top_bits))best[i] ^ x);
            in = (PT_NAME(top_reals))((PT_NAME(top_bits))in ^ x);
            index[i] ^= y;
            at ^= y;
        }
    }
}

static void PT_NAME(top_of_lanes)(const PT_REAL *restrict theta, int64_t n, int64_t k,
                                  int64_t n_draws, int32_t *restrict code) {
    enum { lanes = PT_VECTOR / sizeof(PT_REAL) };
    for (int64_t d = 0; d < n_draws; d += lanes) {
        PT_NAME(top_bits) index[PT_TOP_LANES_K];
        if (k == 1) /* a constant k unrolls */
            PT_NAME(top_of_vector)(theta + d, n, 1, index);
        else
            PT_NAME(top_of_vector)(theta + d, n, k, index);
        for (int64_t l = 0; l < lanes && d + l < n_draws; l++)
            for (int64_t i = 0; i < k; i++)
                code[(d + l) * k + i] = (int32_t)index[i][l];
    }
}

static size_t PT_NAME(top_work_size)(const pt_problem *p) {
    return (size_t)p->top * sizeof(PT_NAME(entry));
}

static pt_status PT_NAME(top_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                    void *work, pt_error *err) {
    const PT_REAL *theta = group->theta;
    (void)err;
    if (p->lanes == PT_LANES) {
        PT_NAME(top_of_lanes)(theta, p->n, p->top, group->n_draws, code);
        return PT_OK;
    }
    PT_NAME(top) t = { work, 0, p->top };
    for (int64_t d = 0; d < group->n_draws; d++)
        PT_NAME(top_of_row)(theta + d * group->draw_step, p->n, &t, code + d * p->top);
    return PT_OK;
}

static pt_status PT_NAME(top_prepare)(pt_problem *p, int64_t k, int ordered, pt_error *err) {
    if (p->n > INT32_MAX)
        return pt_fail(err, PT_E_VALUE, -1,
                       "theta must have at most 2147483647 entries an item, got %lld",
                       (long long)p->n);
    p->top = p->code_len = k;
    p->code_kind = PT_CODE_INDEX;
    p->code_step = ordered ? p->n : 0;
    p->y_size = ordered ? k * p->n : p->n;
    p->lanes = p->n <= PT_TOP_LANES_N && k <= PT_TOP_LANES_K ? PT_LANES : 1;
    p->linear = !ordered;
    p->even = !ordered;
    p->moves = ordered ? PT_MOVES_PLACE : PT_MOVES_THRESHOLD;
    p->places = k;
    p->from_top = 1;
    p->moves_lanes = 1;
    return PT_OK;
}

static pt_status PT_NAME(top_check)(const pt_problem *p, int64_t row, const void *theta, void *work,
                                    pt_error *err) {
    const PT_REAL *x = theta;
    int64_t allowed = 0;
    (void)work;
    for (int64_t i = 0; i < p->n && allowed < p->top; i++)
        allowed += x[i] > -PT_INFINITY;
    if (allowed >= p->top)
        return PT_OK;
    return pt_fail(err, PT_E_INFEASIBLE, row,
                   "%lld of %lld entries are allowed (not -inf or masked), %lld needed",
                   (long long)allowed, (long long)p->n, (long long)p->top);
}

/* The best entry of a draw that is not among its k: the k-th's successor in the order. -1: there is none. */
static int64_t PT_NAME(top_next)(const PT_REAL *theta, int64_t n, PT_NAME(entry) last) {
    PT_NAME(entry) next = { -PT_INFINITY, -1 };
    for (int64_t j = 0; j < n; j++) {
        const PT_NAME(entry) e = { theta[j], (int32_t)j };
        if (e.value > next.value && PT_NAME(better)(last, e))
            next = e;
    }
    return next.index;
}

/* An entry among the k leaves below the next one, which takes its place; another enters above the last, whose place it
 * takes. */
static pt_status PT_NAME(top_thresholds)(const pt_problem *p, const pt_group *group,
                                         const int32_t *code, const void *cotangent, void *taus,
                                         void *changes, void *work, pt_error *err) {
    const PT_REAL *g = cotangent;
    (void)work, (void)err;
    for (int64_t d = 0; d < group->n_draws; d++) {
        const int32_t *in = code + d * p->code_len;
        const PT_REAL *theta = (const PT_REAL *)group->theta + d * group->draw_step;
        PT_REAL *tau = (PT_REAL *)taus + d * group->draw_step;
        PT_REAL *change = (PT_REAL *)changes + d * group->draw_step;
        const int32_t last = in[p->top - 1];
        const int64_t next = PT_NAME(top_next)(theta, p->n, (PT_NAME(entry)){ theta[last], last });
        for (int64_t j = 0; j < p->n; j++)
            tau[j] = theta[last];
        for (int64_t j = 0; g && j < p->n; j++)
            change[j] = g[j] - g[last];
        for (int64_t i = 0; i < p->top; i++) {
            tau[in[i]] = next < 0 ? -PT_INFINITY : theta[next];
            if (g)
                change[in[i]] = next < 0 ? 0 : g[in[i]] - g[next];
        }
    }
    return PT_OK;
}

static size_t PT_NAME(top_thresholds_size)(const pt_problem *p) {
    (void)p;
    return 0;
}
