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

#include "cuts.h"

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
    p->open_is_right = 1;
    p->linear = 1;
    p->sign = 1;
    p->moves = PT_MOVES_THRESHOLD;
    p->moves_lanes = 1;
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

static int PT_NAME(dtw_idle)(const pt_problem *p, int64_t row, int64_t at[2]) {
    at[0] = 0;
    at[1] = PT_NAME(dtw_last)(p, row, 0) * p->dims[1] + PT_NAME(dtw_last)(p, row, 1);
    return 2;
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

/* ---- thresholds (MATH, section 5): best paths through each cell, and without it ---- */

/* Tables of one draw, in double. A cell's rest is a best path through it, without its own score. */
typedef struct {
    const PT_REAL *theta, *g; /* g: NULL where changes are not asked for */
    int64_t m, last[2];
    path_sum *rest; /* n x m: of the part before a cell, then of all */
    path_sum
        *line; /* m + 1: best parts from a row's cells on, own score included; column j at j + 1 */
    path_cut
        *cuts; /* n + m - 1 levels i + j; a diagonal step from (i, j) crosses level i + j + 1 */
} PT_NAME(dtw_marginals);

static inline path_sum PT_NAME(dtw_cell)(const PT_NAME(dtw_marginals) * t, int64_t v) {
    return (path_sum){ (double)t->theta[v], t->g ? (double)t->g[v] : 0 };
}

/* rest of each cell = the best part before it. */
static void PT_NAME(dtw_before)(const PT_NAME(dtw_marginals) * t) {
    for (int64_t j = 0; j <= t->m; j++)
        t->line[j] = path_none();
    t->line[0] = (path_sum){ 0, 0 };
    for (int64_t i = 0; i <= t->last[0]; i++) {
        path_sum diagonal = t->line[0], left = path_none();
        t->line[0] = left;
        for (int64_t j = 0; j <= t->last[1]; j++) {
            const int64_t v = i * t->m + j;
            const path_sum up = t->line[j + 1];
            t->rest[v] = path_most(path_most(diagonal, up), left);
            diagonal = up;
            t->line[j + 1] = left = path_join(t->rest[v], PT_NAME(dtw_cell)(t, v));
        }
    }
}

/* rest of each cell, from that before it and the best part after it; cuts. line: of row i + 1, then of row i. */
static void PT_NAME(dtw_after)(const PT_NAME(dtw_marginals) * t) {
    for (int64_t j = 0; j <= t->m; j++)
        t->line[j] = path_none();
    for (int64_t l = 0; l <= t->last[0] + t->last[1]; l++)
        t->cuts[l] = path_cut_none();
    for (int64_t i = t->last[0]; i >= 0; i--) {
        path_sum diagonal = path_none(), right = path_none();
        for (int64_t j = t->last[1]; j >= 0; j--) {
            const int64_t v = i * t->m + j;
            const int end = i == t->last[0] && j == t->last[1];
            const path_sum own = PT_NAME(dtw_cell)(t, v), down = t->line[j + 1];
            const path_sum past =
                end ? (path_sum){ 0, 0 } : path_most(path_most(diagonal, down), right);
            path_sum all = path_join(t->rest[v], own);
            if (diagonal.score > -INFINITY)
                path_cut_offer(&t->cuts[i + j + 1], path_join(all, diagonal), -1);
            t->rest[v] = path_join(t->rest[v], past);
            all = path_join(all, past);
            path_cut_offer(&t->cuts[i + j], all, v);
            diagonal = down;
            t->line[j + 1] = right = path_join(own, past);
        }
    }
}

/* A cell off the draw's path enters against that path; one on it leaves for the best other crossing of its level. */
static void PT_NAME(dtw_changes)(const PT_NAME(dtw_marginals) * t, const int32_t *code,
                                 PT_REAL *tau, PT_REAL *change) {
    const path_sum whole = path_join(t->rest[0], PT_NAME(dtw_cell)(t, 0));
    for (int64_t i = 0; i <= t->last[0]; i++)
        for (int64_t j = 0; j <= t->last[1]; j++) {
            const int64_t v = i * t->m + j;
            const path_sum in = path_join(t->rest[v], PT_NAME(dtw_cell)(t, v));
            if (!(in.score > -INFINITY))
                continue;
            const int on = code[v / 32] >> v % 32 & 1;
            const path_sum out = on ? path_cut_without(&t->cuts[i + j], v) : whole;
            tau[v] = (PT_REAL)(out.score - t->rest[v].score);
            if (t->g)
                change[v] = (PT_REAL)(in.g - out.g);
        }
}

static size_t PT_NAME(dtw_thresholds_size)(const pt_problem *p) {
    const size_t n = (size_t)p->dims[0], m = (size_t)p->dims[1];
    return (n * m + m + 1) * sizeof(path_sum) + (n + m) * sizeof(path_cut);
}

static pt_status PT_NAME(dtw_thresholds)(const pt_problem *p, const pt_group *group,
                                         const int32_t *code, const void *g, void *taus,
                                         void *changes, void *work, pt_error *err) {
    const int64_t n = p->dims[0], m = p->dims[1];
    path_sum *rest = work;
    PT_NAME(dtw_marginals) t = { .g = g, .m = m, .rest = rest, .line = rest + n * m };
    (void)err;
    t.cuts = (path_cut *)(void *)(t.line + m + 1);
    for (int axis = 0; axis < 2; axis++)
        t.last[axis] = PT_NAME(dtw_last)(p, group->row[0], axis);
    for (int64_t d = 0; d < group->n_draws; d++) {
        PT_REAL *tau = (PT_REAL *)taus + d * group->draw_step;
        PT_REAL *change = g ? (PT_REAL *)changes + d * group->draw_step : NULL;
        t.theta = (const PT_REAL *)group->theta + d * group->draw_step;
        for (int64_t v = 0; v < n * m; v++)
            tau[v] = PT_INFINITY;
        for (int64_t v = 0; g && v < n * m; v++)
            change[v] = 0;
        PT_NAME(dtw_before)(&t);
        PT_NAME(dtw_after)(&t);
        PT_NAME(dtw_changes)(&t, code + d * p->code_len, tau, change);
        if (group->stop && group->stop(group->stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static const pt_solver PT_NAME(dtw) = {
    .name = "dtw",
    .prepare = PT_NAME(dtw_prepare),
    .check = PT_NAME(dtw_check),
    .work_size = PT_NAME(dtw_work_size),
    .solve = PT_NAME(dtw_solve),
    .idle = PT_NAME(dtw_idle),
    .thresholds = PT_NAME(dtw_thresholds),
    .thresholds_size = PT_NAME(dtw_thresholds_size),
};
