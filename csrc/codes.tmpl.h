/* codes: from a solution's int32 code to sums, products and dense arrays, for each kind of code. */
#ifndef PT_REAL
#error "codes.tmpl.h is a template: include it from core.tmpl.h"
#endif

#define PT_DOT_LANES 8 /* partial sums of a dot product: the same on every ISA */

static inline PT_REAL PT_NAME(code_real)(const int32_t *code, int64_t i) {
    PT_REAL y;
    memcpy(&y, (const char *)code + i * (int64_t)sizeof(PT_REAL), sizeof y);
    return y;
}

/* y_i of a code of kind DENSE or REAL. */
static inline double PT_NAME(code_entry)(const pt_problem *p, const int32_t *code, int64_t i) {
    return p->code_kind == PT_CODE_DENSE ? (double)code[i] : (double)PT_NAME(code_real)(code, i);
}

/* Is no entry forbidden? In blocks: a loop that may end at any entry is no vector code. */
static inline int PT_NAME(all_open)(const PT_REAL *theta, int64_t n) {
    for (int64_t j = 0; j < n; j += 512) {
        const int64_t end = j + 512 < n ? j + 512 : n;
        PT_SBITS closed = 0;
        for (int64_t k = j; k < end; k++)
            closed |= theta[k] > -PT_INFINITY ? 0 : 1;
        if (closed)
            return 0;
    }
    return 1;
}

static void PT_NAME(code_add)(const pt_problem *p, const int32_t *code, double weight,
                              double *restrict sum) {
    switch (p->code_kind) {
    case PT_CODE_INDEX:
        for (int64_t i = 0; i < p->code_len; i++)
            if (code[i] >= 0)
                sum[code[i] + i * p->code_step] += weight;
        break;
    case PT_CODE_DENSE:
        for (int64_t i = 0; i < p->y_size; i++)
            sum[i] += weight * (double)code[i];
        break;
    case PT_CODE_BITS:
        for (int64_t i = 0; i < p->code_len; i++)
            for (uint32_t bits = (uint32_t)code[i]; bits; bits &= bits - 1)
                sum[i * 32 + __builtin_ctz(bits)] += weight;
        break;
    case PT_CODE_REAL:
        for (int64_t i = 0; i < p->y_size; i++)
            sum[i] += weight * (double)PT_NAME(code_real)(code, i);
        break;
    case PT_CODE_LABELS:
        for (int64_t i = 0; i < p->code_step; i++)
            for (int64_t j = i + 1; j < p->code_step; j++)
                *sum++ += code[j] == code[i] ? weight : 0.0;
        break;
    }
}

/* y += the solution of an index or bits code: exact below PT_COUNTABLE. */
static void PT_NAME(code_count)(const pt_problem *p, const int32_t *code, void *out) {
    PT_REAL *y = out;
    if (p->code_kind == PT_CODE_INDEX) {
        for (int64_t i = 0; i < p->code_len; i++)
            if (code[i] >= 0)
                y[code[i] + i * p->code_step] += (PT_REAL)1;
    } else
        for (int64_t i = 0; i < p->code_len; i++)
            for (uint32_t bits = (uint32_t)code[i]; bits; bits &= bits - 1)
                y[i * 32 + __builtin_ctz(bits)] += (PT_REAL)1;
}

/* Are all of these 256 bytes 0? */
static inline int PT_NAME(all_zero)(const PT_REAL *y) {
    typedef uint64_t words __attribute__((vector_size(64)));
    words v[4];
    memcpy(v, y, sizeof v);
    v[0] |= v[1] | v[2] | v[3];
    return !(v[0][0] | v[0][1] | v[0][2] | v[0][3] | v[0][4] | v[0][5] | v[0][6] | v[0][7]);
}

/* Sum of y_j g_j in order; most y_j may be 0, and none is -0. */
static double PT_NAME(mean_dot)(int64_t n, const void *mean, const void *cotangent) {
    enum { together = 256 / sizeof(PT_REAL) };
    const PT_REAL *y = mean, *g = cotangent;
    double sum = 0;
    for (int64_t j = 0; j < n; j += together) {
        const int64_t end = j + together < n ? j + together : n;
        if (end == j + together && PT_NAME(all_zero)(y + j))
            continue;
        for (int64_t k = j; k < end; k++)
            sum += (double)y[k] * (double)g[k];
    }
    return sum;
}

/* y[j] = y[j] / m */
static void PT_NAME(divide)(int64_t count, double m, void *out) {
    PT_REAL *y = out;
    for (int64_t j = 0; j < count; j++)
        y[j] = (PT_REAL)((double)y[j] / m);
}

/* The same where all draws are known and most entries are 0: the entries that n_draws index codes name, each once, its
 * sign telling that it is done. y is 0 elsewhere, and stays untouched. */
static void PT_NAME(code_divide)(const pt_problem *p, const int32_t *code, int64_t n_draws,
                                 double m, void *out) {
    PT_REAL *y = out;
    const int64_t count = n_draws * p->code_len;
    for (int64_t i = 0; i < count; i++)
        if (code[i] >= 0) {
            PT_REAL *at = y + code[i] + i % p->code_len * p->code_step;
            *at = *at > 0 ? -(PT_REAL)((double)*at / m) : *at;
        }
    for (int64_t i = 0; i < count; i++)
        if (code[i] >= 0) {
            PT_REAL *at = y + code[i] + i % p->code_len * p->code_step;
            *at = *at < 0 ? -*at : *at;
        }
}

/* mean_dot of the mean of n_draws index codes, the same bits without the mean.   place [tmp] n_draws x code_len */
static double PT_NAME(code_mean_dot)(const pt_problem *p, const int32_t *code, int64_t n_draws,
                                     const void *cotangent, int32_t *place) {
    const PT_REAL *g = cotangent;
    int64_t count = 0;
    double sum = 0;
    for (int64_t i = n_draws * p->code_len; i-- > 0;) /* ways back become ways forth */
        if (code[i] >= 0)
            place[count++] = (int32_t)(code[i] + i % p->code_len * p->code_step);
    pt_sort_places(place, count);
    for (int64_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && place[next] == place[i];)
            next++;
        const PT_REAL y = (PT_REAL)((double)(PT_REAL)(next - i) / (double)n_draws);
        sum += (double)y * (double)g[place[i]];
    }
    return sum;
}

/* For codes of 0/1 solutions a square is the entry itself; of an entry that stands k times in a row in an index code,
 * 1 + 3 + ... + (2 k - 1). */
static void PT_NAME(code_add_squares)(const pt_problem *p, const int32_t *code,
                                      double *restrict sum) {
    if (p->code_kind == PT_CODE_BITS || p->code_kind == PT_CODE_LABELS) {
        PT_NAME(code_add)(p, code, 1.0, sum);
        return;
    }
    if (p->code_kind == PT_CODE_INDEX) {
        int64_t before = -1;
        double odd = 1;
        for (int64_t i = 0; i < p->code_len; i++) {
            const int64_t at = code[i] + i * p->code_step;
            odd = at == before ? odd + 2 : 1;
            before = at;
            if (code[i] >= 0)
                sum[at] += odd;
        }
        return;
    }
    for (int64_t i = 0; i < p->y_size; i++) {
        const double y = PT_NAME(code_entry)(p, code, i);
        sum[i] += y * y;
    }
}

static inline double PT_NAME(add_lanes)(const double part[PT_DOT_LANES]) {
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7]));
}

/* PT_DOT_LANES entries at a time, as vectors. */
typedef int32_t PT_NAME(dot_codes) __attribute__((vector_size(PT_DOT_LANES * sizeof(int32_t))));
typedef PT_REAL PT_NAME(dot_reals) __attribute__((vector_size(PT_DOT_LANES * sizeof(PT_REAL))));
typedef double PT_NAME(dot_doubles) __attribute__((vector_size(PT_DOT_LANES * sizeof(double))));

/* Sum of y_i g_i, all g finite. */
static double PT_NAME(finite_dot)(const int32_t *code, const PT_REAL *g, int64_t n) {
    PT_NAME(dot_doubles) sum = { 0 };
    int64_t i = 0;
    for (; i + PT_DOT_LANES <= n; i += PT_DOT_LANES) {
        PT_NAME(dot_codes) c;
        PT_NAME(dot_reals) x;
        memcpy(&c, code + i, sizeof c);
        memcpy(&x, g + i, sizeof x);
        sum += __builtin_convertvector(c, PT_NAME(dot_doubles)) *
               __builtin_convertvector(x, PT_NAME(dot_doubles));
    }
    double part[PT_DOT_LANES];
    memcpy(part, &sum, sizeof part);
    for (int l = 0; i < n; i++, l++)
        part[l] += (double)code[i] * (double)g[i];
    return PT_NAME(add_lanes)(part);
}

/* Sum of y_i x_i with x_i skipped where y_i = 0. */
static double PT_NAME(real_dot)(const PT_REAL *y, const PT_REAL *x, int64_t n) {
    double part[PT_DOT_LANES] = { 0 };
    int64_t i = 0;
    for (; i + PT_DOT_LANES <= n; i += PT_DOT_LANES)
        for (int l = 0; l < PT_DOT_LANES; l++)
            part[l] += y[i + l] != 0 ? (double)y[i + l] * (double)x[i + l] : 0.0;
    for (int l = 0; i < n; i++, l++)
        part[l] += y[i] != 0 ? (double)y[i] * (double)x[i] : 0.0;
    return PT_NAME(add_lanes)(part);
}

/* Sum of g over the pairs of n points that have one label; g as the upper triangle, row by row. */
static double PT_NAME(label_dot)(const int32_t *label, const PT_REAL *g, int64_t n) {
    PT_NAME(dot_doubles) sum = { 0 };
    double part[PT_DOT_LANES], rest[PT_DOT_LANES] = { 0 };
    for (int64_t i = 0; i < n; i++) {
        int64_t j = i + 1;
        for (; j + PT_DOT_LANES <= n; j += PT_DOT_LANES, g += PT_DOT_LANES) {
            PT_NAME(dot_codes) c;
            PT_NAME(dot_reals) x;
            memcpy(&c, label + j, sizeof c);
            memcpy(&x, g, sizeof x);
            sum += __builtin_convertvector(-(PT_NAME(dot_codes))(c == label[i]),
                                           PT_NAME(dot_doubles)) *
                   __builtin_convertvector(x, PT_NAME(dot_doubles));
        }
        for (int l = 0; j < n; j++, l++, g++)
            rest[l] += label[j] == label[i] ? (double)*g : 0.0;
    }
    memcpy(part, &sum, sizeof part);
    return PT_NAME(add_lanes)(part) + PT_NAME(add_lanes)(rest);
}

static double PT_NAME(code_dot)(const pt_problem *p, const int32_t *code, const void *cotangent) {
    const PT_REAL *g = cotangent;
    double sum = 0;
    switch (p->code_kind) {
    case PT_CODE_INDEX:
        for (int64_t i = 0; i < p->code_len; i++)
            if (code[i] >= 0)
                sum += (double)g[code[i] + i * p->code_step];
        return sum;
    case PT_CODE_DENSE:
        return PT_NAME(finite_dot)(code, g, p->y_size);
    case PT_CODE_BITS:
        for (int64_t i = 0; i < p->code_len; i++)
            for (uint32_t bits = (uint32_t)code[i]; bits; bits &= bits - 1)
                sum += (double)g[i * 32 + __builtin_ctz(bits)];
        return sum;
    case PT_CODE_REAL:
        return PT_NAME(real_dot)((const PT_REAL *)(const void *)code, g, p->y_size);
    case PT_CODE_LABELS:
        return PT_NAME(label_dot)(code, g, p->code_step);
    }
    return sum;
}

static void PT_NAME(code_expand)(const pt_problem *p, const int32_t *code, void *out) {
    PT_REAL *y = out;
    if (p->code_kind == PT_CODE_REAL) {
        memcpy(y, code, (size_t)p->y_size * sizeof(PT_REAL));
        return;
    }
    if (p->code_kind == PT_CODE_DENSE) {
        for (int64_t i = 0; i < p->y_size; i++)
            y[i] = (PT_REAL)code[i];
        return;
    }
    memset(y, 0, (size_t)p->y_size * sizeof(PT_REAL));
    if (p->code_kind == PT_CODE_LABELS) {
        for (int64_t i = 0; i < p->code_step; i++)
            for (int64_t j = i + 1; j < p->code_step; j++)
                *y++ = code[j] == code[i];
    } else if (p->code_kind == PT_CODE_INDEX) {
        for (int64_t i = 0; i < p->code_len; i++)
            if (code[i] >= 0)
                y[code[i] + i * p->code_step] += (PT_REAL)1;
    } else
        for (int64_t i = 0; i < p->code_len; i++)
            for (uint32_t bits = (uint32_t)code[i]; bits; bits &= bits - 1)
                y[i * 32 + __builtin_ctz(bits)] = (PT_REAL)1;
}

/* What the objective is linear in: how often each of theta's n elements counts. Other than y for labels alone. */
static void PT_NAME(code_uses)(const pt_problem *p, const int32_t *code, PT_REAL *uses) {
    if (p->code_kind != PT_CODE_LABELS) {
        PT_NAME(code_expand)(p, code, uses);
        return;
    }
    memset(uses, 0, (size_t)p->n * sizeof(PT_REAL));
    for (int64_t i = p->code_step; i < p->code_len; i++)
        if (code[i] >= 0)
            uses[code[i]] = 1;
}

/* sign <y, theta'> of a linear solver's solution, costs clipped where the solver clips. */
static double PT_NAME(code_objective)(const pt_problem *p, const int32_t *code,
                                      const PT_REAL *theta, int64_t step) {
    double sum = 0;
    switch (p->code_kind) {
    case PT_CODE_INDEX:
    case PT_CODE_LABELS:
        for (int64_t i = p->code_kind == PT_CODE_LABELS ? p->code_step : 0; i < p->code_len; i++)
            if (code[i] >= 0)
                sum += (double)theta[code[i] * step];
        break;
    case PT_CODE_BITS:
        for (int64_t i = 0; i < p->code_len; i++)
            for (uint32_t bits = (uint32_t)code[i]; bits; bits &= bits - 1) {
                const double x = (double)theta[(i * 32 + __builtin_ctz(bits)) * step];
                sum += p->clipped && x > 0 ? 0.0 : x;
            }
        break;
    case PT_CODE_DENSE:
    case PT_CODE_REAL:
        for (int64_t i = 0; i < p->y_size; i++) {
            const double y = PT_NAME(code_entry)(p, code, i);
            sum += y != 0 ? y * (double)theta[i * step] : 0.0;
        }
        break;
    }
    return p->sign * sum;
}

/* The same for a dense y that somebody else chose. */
static double PT_NAME(y_objective)(const pt_problem *p, const PT_REAL *y, const PT_REAL *theta,
                                   int64_t step) {
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++) {
        const double x = (double)theta[i * step];
        if (y[i] != 0)
            sum += (double)y[i] * (p->clipped && x > 0 ? 0.0 : x);
    }
    return p->sign * sum;
}
