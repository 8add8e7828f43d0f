/* dtw: heaviest warping path of an n x m score matrix, from (0, 0) by steps (1, 0), (0, 1), (1, 1); any sign.
 *   ints       {band}: cells with |i - j| <= band; -1: all
 *   arrays     const int64_t*: n_i, m_i of each row: its path ends in (n_i - 1, m_i - 1); NULL: in (n - 1, m - 1)
 *   theta      -inf outside band and lengths
 *   code       bit v is set if the path visits cell v = i * m + j
 *
 * V(i,j) = theta(i,j) + max(V(i-1,j-1), V(i-1,j), V(i,j-1)), rounded at each step; V(-1,-1) = 0, else -inf outside.
 * Tie rule: walking back from the end, the first in the order diagonal, up, left whose V is the maximum.
 * Source: Sakoe & Chiba 1978, here with weight 1 for every step. PT_LANES draws, innermost, advance together. */
#ifndef PT_REAL
#error "dtw.tmpl.h is a template: include it from registry.tmpl.h"
#endif
#include <assert.h>

#define DTW_POLL 65536                      /* cells between two questions to group->stop */
#define DTW_WORD (4 * (int)sizeof(PT_REAL)) /* steps in a word: two bits each */

/* Reals of one vector register, and as many words; x > y is all ones where it holds. */
typedef PT_REAL PT_NAME(dtw_reals) __attribute__((vector_size(PT_VECTOR)));
typedef PT_BITS PT_NAME(dtw_words) __attribute__((vector_size(PT_VECTOR)));

static inline PT_NAME(dtw_reals) PT_NAME(dtw_load)(const PT_REAL *from) {
    PT_NAME(dtw_reals) x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline PT_NAME(dtw_reals)
    PT_NAME(dtw_pick)(PT_NAME(dtw_words) which, PT_NAME(dtw_reals) x, PT_NAME(dtw_reals) y) {
    return (PT_NAME(dtw_reals))(((PT_NAME(dtw_words))x & which) | ((PT_NAME(dtw_words))y & ~which));
}

/* Row i from column `from` to before `to`, for a vector's worth of draws.
 *   v      [in, out]  V of row i - 1 becomes that of row i; column j at v[(j + 1) * PT_LANES]
 *   theta  [in]       of row i; column j at theta[j * PT_LANES]
 *   steps  [out]      how each cell was reached: 0 diagonal, 1 up, 2 or 3 left; DTW_WORD columns a word, last lowest */
static inline void PT_NAME(dtw_row)(PT_REAL *restrict v, const PT_REAL *restrict theta,
                                    PT_BITS *restrict steps, int64_t from, int64_t to) {
    PT_NAME(dtw_reals) diagonal = PT_NAME(dtw_load)(v + from * PT_LANES);
    PT_NAME(dtw_reals) left = (PT_NAME(dtw_reals)){ 0 } - PT_INFINITY;
    for (int64_t j = from; j < to;) {
        const int64_t word = j / DTW_WORD,
                      end = (word + 1) * DTW_WORD < to ? (word + 1) * DTW_WORD : to;
        PT_NAME(dtw_words) taken = { 0 };
        for (; j < end; j++) {
            const PT_NAME(dtw_reals) up = PT_NAME(dtw_load)(v + (j + 1) * PT_LANES);
            const PT_NAME(dtw_words) is_up = (PT_NAME(dtw_words))(up > diagonal);
            const PT_NAME(dtw_reals) above = PT_NAME(dtw_pick)(is_up, up, diagonal);
            const PT_NAME(dtw_words) is_left = (PT_NAME(dtw_words))(left > above);
            left =
                PT_NAME(dtw_pick)(is_left, left, above) + PT_NAME(dtw_load)(theta + j * PT_LANES);
            memcpy(v + (j + 1) * PT_LANES, &left, sizeof left);
            diagonal = up;
            taken = taken << 2 | (is_up & 1) | (is_left & 2);
        }
        memcpy(steps + word * PT_LANES, &taken, sizeof taken);
    }
}

/* Columns from[0] <= j < from[1] of row i that lie inside the band. */
static inline void PT_NAME(dtw_columns)(const pt_problem *p, int64_t i, int64_t from[2]) {
    const int64_t band = p->ints[0], m = p->dims[1];
    from[0] = band >= 0 && i > band ? i - band : 0;
    from[1] = band >= 0 && i + band < m ? i + band + 1 : m;
}

static inline int64_t PT_NAME(dtw_words_of_row)(const pt_problem *p) {
    return (p->dims[1] + DTW_WORD - 1) / DTW_WORD;
}

/* Last row (axis = 0) or column (1) of the path of a row. */
static inline int64_t PT_NAME(dtw_last)(const pt_problem *p, int64_t row, int axis) {
    const pt_array *lengths = p->n_arrays > 0 ? &p->arrays[0] : NULL;
    if (!lengths || !lengths->data)
        return p->dims[axis] - 1;
    const int64_t length = ((const int64_t *)lengths->data)[row * lengths->row_stride + axis];
    assert(length >= 1 && length <= p->dims[axis]);
    return length - 1;
}

/* Mark the path of one lane that ends in (i, j). */
static void PT_NAME(dtw_trace)(const pt_problem *p, const PT_BITS *steps, int lane, int64_t i,
                               int64_t j, int64_t to, int32_t *code) {
    for (;;) {
        const int64_t v = i * p->dims[1] + j, word = j / DTW_WORD;
        int64_t inside[2];
        assert(i >= 0 && j >= 0);
        code[v / 32] |= (int32_t)(UINT32_C(1) << v % 32);
        if (i == 0 && j == 0)
            return;
        PT_NAME(dtw_columns)(p, i, inside);
        int64_t end = inside[1] < to ? inside[1] : to;
        end = (word + 1) * DTW_WORD < end ? (word + 1) * DTW_WORD : end;
        const PT_BITS step =
            steps[(i * PT_NAME(dtw_words_of_row)(p) + word) * PT_LANES + lane] >> 2 * (end - 1 - j);
        i -= !(step & 2);
        j -= (step & 2) || !(step & 1);
    }
}

static pt_status PT_NAME(dtw_prepare)(pt_problem *p, pt_error *err) {
    if (p->n_ints != 1 || p->ints[0] < -1)
        return pt_fail(err, PT_E_VALUE, -1, "band must not be negative");
    if (p->n_dims != 2 || p->dims[0] < 1 || p->dims[1] < 1)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have items of shape (n, m) with n, m >= 1");
    const long long n = p->dims[0], m = p->dims[1];
    size_t bytes; /* more than the scratch */
    if (n > INT32_MAX || m > INT32_MAX || !pt_mul_size(n + 2, (m + 2) * 256, &bytes))
        return pt_fail(err, PT_E_VALUE, -1, "theta has too many cells: %lld x %lld", n, m);
    p->y_size = p->n;
    p->code_len = (p->n + 31) / 32;
    p->code_kind = PT_CODE_BITS;
    p->lanes = PT_LANES;
    p->linear = 1;
    p->sign = 1;
    return PT_OK;
}

/* Which cells are reached over open ones, row by row, where an item has closed ones.   work: m bytes */
static pt_status PT_NAME(dtw_check)(const pt_problem *p, int64_t row, const void *theta, void *work,
                                    pt_error *err) {
    const PT_REAL *t = theta;
    const int64_t m = p->dims[1], n_last = PT_NAME(dtw_last)(p, row, 0),
                  m_last = PT_NAME(dtw_last)(p, row, 1);
    const long long gap = n_last > m_last ? n_last - m_last : m_last - n_last;
    uint8_t *reached = work;
    if (PT_NAME(all_open)(t, p->n))
        return PT_OK;
    if (p->ints[0] >= 0 && gap > p->ints[0])
        return pt_fail(err, PT_E_INFEASIBLE, row, "no path to (%lld, %lld) within a band of %lld",
                       (long long)n_last, (long long)m_last, (long long)p->ints[0]);
    memset(reached, 0, (size_t)m);
    for (int64_t i = 0; i <= n_last; i++) {
        uint8_t diagonal = i == 0, left = 0;
        for (int64_t j = 0; j <= m_last; j++) {
            const uint8_t up = reached[j];
            left = (uint8_t)((diagonal | up | left) & (t[i * m + j] > -PT_INFINITY));
            reached[j] = left;
            diagonal = up;
        }
    }
    if (reached[m_last])
        return PT_OK;
    return pt_fail(err, PT_E_INFEASIBLE, row,
                   "no path from (0, 0) to (%lld, %lld) over cells that are not closed (-inf)",
                   (long long)n_last, (long long)m_last);
}

static size_t PT_NAME(dtw_work_size)(const pt_problem *p) {
    const size_t n = (size_t)p->dims[0], m = (size_t)p->dims[1];
    return PT_LANES *
           ((m + 1) * sizeof(PT_REAL) + n * (size_t)PT_NAME(dtw_words_of_row)(p) * sizeof(PT_BITS));
}

static pt_status PT_NAME(dtw_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                    void *work, pt_error *err) {
    enum { lanes = PT_VECTOR / sizeof(PT_REAL) };
    const int64_t m = p->dims[1], words = PT_NAME(dtw_words_of_row)(p);
    int64_t last[2][PT_LANES], end[2] = { 0, 0 }, cells = 0;
    pt_status status = PT_OK;
    PT_REAL *v = work;
    PT_BITS *steps = (PT_BITS *)(v + (m + 1) * PT_LANES);
    assert(group->item_step == PT_LANES && group->draw_step == 1 && group->n_draws <= PT_LANES);
    for (int k = 0; k < 2 * PT_LANES; k++) {
        int64_t *at = &last[k / PT_LANES][k % PT_LANES];
        *at = PT_NAME(dtw_last)(p, group->row[k % PT_LANES], k / PT_LANES);
        end[k / PT_LANES] = *at < end[k / PT_LANES] ? end[k / PT_LANES] : *at + 1;
    }
    for (int64_t k = 0; k < (m + 1) * PT_LANES; k++)
        v[k] = k < PT_LANES ? 0 : -PT_INFINITY; /* V(-1, j - 1) */
    for (int64_t i = 0; i < end[0]; i++) {
        int64_t inside[2];
        PT_NAME(dtw_columns)(p, i, inside);
        const int64_t to = inside[1] < end[1] ? inside[1] : end[1];
        const PT_REAL *theta = (const PT_REAL *)group->theta + i * m * PT_LANES;
        PT_BITS *row = steps + i * words * PT_LANES;
        for (int l = 0; l < PT_LANES; l += lanes)
            PT_NAME(dtw_row)(v + l, theta + l, row + l, inside[0], to);
        for (int l = 0; l < PT_LANES; l++) {
            v[l] = -PT_INFINITY; /* V(i, -1) */
            const PT_REAL x = v[(last[1][l] + 1) * PT_LANES + l];
            if (i == last[0][l] && l < group->n_draws && !(x > -PT_INFINITY && x < PT_INFINITY))
                status =
                    pt_fail(err, PT_E_INFEASIBLE, group->row[l], "the score of the path overflows");
        }
        if ((cells += (to - inside[0]) * PT_LANES) >= DTW_POLL) {
            cells = 0;
            if (group->stop && group->stop(group->stop_ctx))
                return PT_E_STOPPED;
        }
    }
    memset(code, 0, (size_t)(group->n_draws * p->code_len) * sizeof *code);
    for (int l = 0; status == PT_OK && l < group->n_draws; l++)
        PT_NAME(dtw_trace)(p, steps, l, last[0][l], last[1][l], end[1], code + l * p->code_len);
    return status;
}

static const pt_solver PT_NAME(dtw) = {
    .name = "dtw",
    .prepare = PT_NAME(dtw_prepare),
    .check = PT_NAME(dtw_check),
    .work_size = PT_NAME(dtw_work_size),
    .solve = PT_NAME(dtw_solve),
};
