/* alignment: heaviest alignment of two sequences of n and m entries; affine gaps.
 *   ints       {mode: 0 global, 1 local, 2 semiglobal;  gaps: 0 fixed, 1 learned, 2 transitions (local only);
 *              free ends of a semiglobal one: 1 the query's (rows), 2 the target's (columns), 3 both}
 *   arrays     const int64_t*: n_i, m_i of each row, 0 allowed; NULL: n, m
 *              const double*: what opening and extending a gap costs, >= 0; NULL unless gaps are fixed
 *   theta      (n, m), (n, m, 3) or (n, m, 9); what lies outside the lengths is never read
 *   code       indices of what the alignment uses, from its end back: matched cells (fixed gaps), or a channel of a cell
 *              for each step, which may come twice
 *
 * M consumes a row and a column, X a column, Y a row; Y > X is not allowed, so an alignment is one path. A gap step that
 * arrives at (i, j) is charged at cell (max(i - 1, 0), max(j - 1, 0)). Global: from (0, 0) to (n, m). Local: from M to M,
 * or empty, 0. Semiglobal: from a border to a border whose ends are free. At a start, S stands for M: gaps may follow.
 * Tie rule: from the end back, of equal ones the first in the order start, M, X, Y (scores of states, before a gap's
 * score is added; transitions: after). Of equal ends the empty alignment, else the first row by row.
 * Source: Gotoh 1982; transitions: Llinares-Lopez et al. 2023. Rows of one draw advance together in a band. */
#ifndef PT_REAL
#error "alignment.tmpl.h is a template: include it from registry.tmpl.h"
#endif
#include <assert.h>

#include "cuts.h"
#include "alignment_cells.tmpl.h"
#include "alignment_trace.tmpl.h"
#include "alignment_gaps.tmpl.h"

#define ALIGNMENT_POLL 262144 /* cells between two questions to group->stop */

static int PT_NAME(alignment_channels)(const pt_problem *p) {
    return p->n_dims == 2 ? 1 : (int)p->dims[2];
}

/* Rows (axis = 0) or columns (1) in use. */
static int64_t PT_NAME(alignment_length)(const pt_problem *p, int64_t row, int axis) {
    const pt_array *lengths = &p->arrays[0];
    if (!lengths->data)
        return p->dims[axis];
    const int64_t length = ((const int64_t *)lengths->data)[row * lengths->row_stride + axis];
    assert(length >= 0 && length <= p->dims[axis]);
    return length;
}

/* Opening a gap at cell (0, j) is used twice by the steps (0, j) > (0, j + 1) > (1, j + 1), if an alignment can start at
 * (0, j); nothing else is: any other two positions that are charged at one cell are not on one path, or one of them
 * is opened and the other extended. */
static void PT_NAME(alignment_find_twice)(pt_problem *p) {
    if (p->ints[0] == PT_NAME(alignment_local) || p->ints[1] != PT_NAME(alignment_learned) ||
        p->n == 0)
        return;
    p->n_twice = p->ints[0] == PT_NAME(alignment_semiglobal) && p->ints[2] >> 1 ? p->dims[1] : 1;
    p->twice_first = 1;
    p->twice_step = 3;
}

static pt_status PT_NAME(alignment_prepare)(pt_problem *p, pt_error *err) {
    static const int channels[3] = { 1, 3, 9 };
    if (p->n_ints != 3 || p->n_arrays != 2 || p->ints[0] < 0 || p->ints[0] > 2 || p->ints[1] < 0 ||
        p->ints[1] > 2 || p->ints[2] < 0 || p->ints[2] > 3)
        return pt_fail(err, PT_E_VALUE, -1, "mode, gaps and free ends must be known ones");
    if (p->ints[1] == PT_NAME(alignment_edges) && p->ints[0] != PT_NAME(alignment_local))
        return pt_fail(err, PT_E_VALUE, -1, "mode must be local with transitions");
    const double *gaps = p->arrays[1].data;
    if ((p->ints[1] == PT_NAME(alignment_fixed)) != (gaps != NULL) ||
        (gaps && !(gaps[0] >= 0 && gaps[1] >= 0)))
        return pt_fail(err, PT_E_VALUE, -1,
                       "gap penalties must be there where gaps are fixed, >= 0");
    const int want = channels[p->ints[1]];
    if (p->n_dims != (want == 1 ? 2 : 3) || PT_NAME(alignment_channels)(p) != want)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have items of shape (n, m) and %d channels",
                       want);
    const int64_t n = p->dims[0], m = p->dims[1];
    size_t bytes; /* more than the scratch, and than the number of steps */
    if (p->n > INT32_MAX || !pt_mul_size(n + 64, (m + 64) * 256, &bytes))
        return pt_fail(err, PT_E_VALUE, -1, "theta has too many cells: %lld x %lld", (long long)n,
                       (long long)m);
    p->y_size = p->n;
    p->code_len = want == 1 ? (n < m ? n : m) : n + m;
    p->code_kind = PT_CODE_INDEX;
    p->linear = 1;
    p->sign = 1;
    p->open_is_right = 1;
    p->looks = !p->arrays[0].data; /* only check looks at what lies outside the lengths */
    p->moves = PT_MOVES_THRESHOLD;
    p->moves_lanes = 1;
    PT_NAME(alignment_find_twice)(p);
    return PT_OK;
}

/* ---- the scratch ---- */

static int64_t PT_NAME(alignment_words_of_band)(int64_t m) {
    return (m + ALIGNMENT_WIDTH - 1 + ALIGNMENT_PER_WORD - 1) / ALIGNMENT_PER_WORD;
}

static inline void *PT_NAME(alignment_part)(char **work, size_t bytes) {
    void *part = *work;
    *work += (bytes + 63) & ~(size_t)63;
    return part;
}

/* Lay out the scratch for items of n x m at work; returns its end. */
static char *PT_NAME(alignment_lay_out)(PT_NAME(alignment_item) * a, int64_t n, int64_t m,
                                        char *work) {
    const int64_t bands = (n + ALIGNMENT_WIDTH - 1) / ALIGNMENT_WIDTH;
    const size_t row = (size_t)(m + 1 + 3 * ALIGNMENT_WIDTH) * sizeof(PT_REAL);
    for (int k = 0; k < 3; k++)
        a->row[k] = (PT_REAL *)PT_NAME(alignment_part)(&work, row) + ALIGNMENT_WIDTH;
    a->column = PT_NAME(alignment_part)(&work, (size_t)(n + 1) * sizeof(PT_REAL));
    a->row_bits = PT_NAME(alignment_part)(&work, (size_t)(m + 1));
    a->column_bits = PT_NAME(alignment_part)(&work, (size_t)(n + 1));
    a->tile = PT_NAME(alignment_part)(&work, (size_t)a->channels * ALIGNMENT_TILE * PT_VECTOR);
    a->words = PT_NAME(alignment_words_of_band)(m);
    a->bits = PT_NAME(alignment_part)(&work, (size_t)(bands * a->words) * PT_VECTOR);
    return work;
}

static size_t PT_NAME(alignment_work_size)(const pt_problem *p) {
    PT_NAME(alignment_item) a = { .channels = PT_NAME(alignment_channels)(p) };
    char *none = (char *)(uintptr_t)64; /* any aligned address */
    return (size_t)((uintptr_t)PT_NAME(alignment_lay_out)(&a, p->dims[0], p->dims[1], none) -
                    (uintptr_t)none);
}

/* One item, without scratch. */
static void PT_NAME(alignment_open)(const pt_problem *p, int64_t row, const PT_REAL *theta,
                                    PT_NAME(alignment_item) * a) {
    const double *gaps = p->arrays[1].data;
    *a = (PT_NAME(alignment_item)){ .mode = (int)p->ints[0],
                                    .kind = (int)p->ints[1],
                                    .channels = PT_NAME(alignment_channels)(p),
                                    .n = PT_NAME(alignment_length)(p, row, 0),
                                    .m = PT_NAME(alignment_length)(p, row, 1),
                                    .theta = theta };
    const int free_ends = a->mode == PT_NAME(alignment_semiglobal) ? (int)p->ints[2] : 0;
    a->query_is_free = free_ends & 1;
    a->target_is_free = free_ends >> 1;
    a->pitch = p->dims[1] * a->channels;
    for (int k = 0; gaps && k < 2; k++)
        a->gap[k] = -(PT_REAL)gaps[k];
}

static void PT_NAME(alignment_begin)(const pt_problem *p, int64_t row, const PT_REAL *theta,
                                     void *work, PT_NAME(alignment_item) * a) {
    PT_NAME(alignment_open)(p, row, theta, a);
    char *end = PT_NAME(alignment_lay_out)(a, a->n, a->m, work);
    (void)end;
}

/* ---- bands ---- */

/* Steps t0 .. t0 + count - 1 of the band whose first row is i0, side by side by lane: the rows as streams of scores, each
 * a column behind the one above, turned over a square at a time. -inf where there is no cell.
 * seen [in, out] unless NULL: its highest bits are set where a score is NaN or infinite */
ALIGNMENT_INLINE void PT_NAME(alignment_fill)(const PT_NAME(alignment_item) * a, int64_t i0,
                                              int64_t t0, int64_t count,
                                              PT_NAME(alignment_words) * seen) {
    enum { width = ALIGNMENT_WIDTH };
    const int64_t rows = a->n - i0 < width ? a->n - i0 : width, size = count * a->channels;
    const int64_t inside = (a->m - t0) * a->channels; /* scores left of the first row */
    const PT_REAL *row[width];
    for (int64_t r = 0; r < rows; r++)
        row[r] = a->theta + (i0 + r) * a->pitch + (t0 - r) * a->channels;
    for (int64_t q = 0; q < size; q += width) {
        PT_NAME(alignment_reals) v[width];
        const int64_t end = size - q < width ? size - q : width;
        const int whole = q + t0 * a->channels >= (width - 1) * a->channels && q + width <= inside;
        for (int64_t r = 0; r < width; r++) {
            PT_NAME(alignment_reals) x = PT_NAME(alignment_all)(-PT_INFINITY);
            const int64_t first = (r - t0) * a->channels - q, last = inside + r * a->channels - q;
            if (whole && r < rows) {
                x = PT_NAME(alignment_load)(row[r] + q);
                if (seen)
                    *seen |= PT_NAME(alignment_odd)(x);
                if (i0 + r + width < a->n) /* the next band's, which comes soon */
                    __builtin_prefetch(row[r] + width * a->pitch + q, 0, 2);
            } else if (r < rows)
                for (int64_t k = first > 0 ? first : 0; k < last && k < end; k++) {
                    x[k] = row[r][q + k];
                    if (seen)
                        (*seen)[0] |= PT_NAME(odd)(row[r][q + k]);
                }
            v[width - 1 - r] = x;
        }
        PT_NAME(turn)(v);
        memcpy(a->tile + q * width, v, (size_t)end * sizeof *v);
    }
}

static void PT_NAME(alignment_run)(PT_NAME(alignment_front) * front,
                                   const PT_NAME(alignment_band) * b, int64_t t0, int64_t count,
                                   int ends) {
    enum { fixed = PT_NAME(alignment_fixed), learned = PT_NAME(alignment_learned) };
    if (b->kind == PT_NAME(alignment_edges))
        PT_NAME(alignment_tile)(front, b, t0, count, PT_NAME(alignment_edges), 1, 1);
    else if (b->kind == fixed && b->local)
        PT_NAME(alignment_tile)(front, b, t0, count, fixed, 1, 1);
    else if (b->kind == fixed)
        PT_NAME(alignment_tile)(front, b, t0, count, fixed, 0, ends);
    else if (b->local)
        PT_NAME(alignment_tile)(front, b, t0, count, learned, 1, 1);
    else
        PT_NAME(alignment_tile)(front, b, t0, count, learned, 0, ends);
}

/* What lies left of the band's rows, by lane. */
static PT_NAME(alignment_edge)
    PT_NAME(alignment_left)(const PT_NAME(alignment_item) * a, int64_t i0) {
    PT_NAME(alignment_edge) edge;
    for (int k = 0; k < ALIGNMENT_WIDTH; k++) {
        const int64_t i = i0 + ALIGNMENT_WIDTH - k;
        const int there = i <= a->n && a->mode != PT_NAME(alignment_local);
        edge.start[k] = there && PT_NAME(alignment_starts)(a, i, 0) ? 0 : -PT_INFINITY;
        edge.y[k] = there ? a->column[i] : -PT_INFINITY;
    }
    return edge;
}

/* Rows i0 + 1 .. of the positions, all columns.   look: PT_E_NOT_FINITE if a score is NaN or infinite */
static pt_status PT_NAME(alignment_sweep)(const PT_NAME(alignment_item) * a, int64_t i0, int look,
                                          PT_NAME(alignment_front) * f) {
    const int64_t steps = a->m + ALIGNMENT_WIDTH - 1, band = i0 / ALIGNMENT_WIDTH;
    const PT_NAME(alignment_edge) edge = PT_NAME(alignment_left)(a, i0);
    PT_NAME(alignment_band)
    b = { .kind = a->kind,
          .local = a->mode == PT_NAME(alignment_local),
          .m = a->m,
          .gap = { a->gap[0], a->gap[1] },
          .theta = a->tile,
          .row = { a->row[0], a->row[1], a->row[2] },
          .bits = a->bits + band * a->words * ALIGNMENT_WIDTH,
          .first = (PT_BITS)(band * steps),
          .edge = &edge,
          .row_is_free = a->target_is_free,
          .column_is_free = a->query_is_free };
    for (int k = 0; k < ALIGNMENT_WIDTH; k++) {
        const int64_t i = i0 + ALIGNMENT_WIDTH - k;
        b.last_row[k] = i == a->n ? ~(PT_BITS)0 : 0;
        b.inside[k] = i <= a->n ? ~(PT_BITS)0 : 0;
    }
    PT_NAME(alignment_hold)(f, &b, ~(PT_NAME(alignment_words)){ 0 });
    if (b.local && a->kind != PT_NAME(alignment_edges))
        f->down[0] = PT_NAME(alignment_all)(0);
    for (int k = 0; k < 3; k++)
        f->diagonal[k] = PT_NAME(alignment_all)(a->row[k][0]);
    PT_NAME(alignment_words) seen = { 0 };
    for (int64_t t = 0; t < steps; t += ALIGNMENT_TILE) {
        const int64_t count = steps - t < ALIGNMENT_TILE ? steps - t : ALIGNMENT_TILE;
        const int ends = i0 + ALIGNMENT_WIDTH >= a->n || t + count >= a->m;
        if (look)
            PT_NAME(alignment_fill)(a, i0, t, count, &seen);
        else
            PT_NAME(alignment_fill)(a, i0, t, count, NULL);
        PT_NAME(alignment_run)(f, &b, t, count, ends);
    }
    PT_BITS odd = 0;
    for (int k = 0; k < ALIGNMENT_WIDTH; k++)
        odd |= seen[k];
    return odd >> (8 * sizeof odd - 1) ? PT_E_NOT_FINITE : PT_OK;
}

/* The best end of all lanes. */
static void PT_NAME(alignment_collect)(const PT_NAME(alignment_item) * a,
                                       const PT_NAME(alignment_front) * f,
                                       PT_NAME(alignment_end) * end) {
    const int64_t steps = a->m + ALIGNMENT_WIDTH - 1;
    for (int k = 0; k < ALIGNMENT_WIDTH; k++) {
        const int64_t at = (int64_t)f->at[k], r = ALIGNMENT_WIDTH - 1 - k;
        const int64_t i = at / steps * ALIGNMENT_WIDTH + r + 1, j = at % steps - r + 1;
        if (f->best[k] > -PT_INFINITY)
            PT_NAME(alignment_offer)(end, f->best[k], i, j, 0);
    }
}

/* Align one item. */
static pt_status PT_NAME(alignment_align)(const PT_NAME(alignment_item) * a, const pt_group *group,
                                          int64_t *cells, PT_NAME(alignment_end) * end) {
    PT_NAME(alignment_front) f = { .best = PT_NAME(alignment_all)(-PT_INFINITY) };
    const int local = a->mode == PT_NAME(alignment_local);
    *end = (PT_NAME(alignment_end)){ local ? 0 : -PT_INFINITY, 0, 0, local };
    PT_NAME(alignment_first_row)(a, end);
    if (!local)
        PT_NAME(alignment_first_column)(a, end);
    for (int64_t i = 0; i < a->n && a->m > 0; i += ALIGNMENT_WIDTH) {
        const pt_status status = PT_NAME(alignment_sweep)(a, i, group->look, &f);
        if (status != PT_OK)
            return status;
        if ((*cells += a->m * ALIGNMENT_WIDTH) >= ALIGNMENT_POLL) {
            *cells = 0;
            if (group->stop && group->stop(group->stop_ctx))
                return PT_E_STOPPED;
        }
    }
    PT_NAME(alignment_collect)(a, &f, end);
    return PT_OK;
}

static pt_status PT_NAME(alignment_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                          void *work, pt_error *err) {
    int64_t cells = 0;
    assert(group->item_step == 1);
    for (int64_t d = 0; d < group->n_draws; d++) {
        PT_NAME(alignment_item) a;
        PT_NAME(alignment_end) end;
        const PT_REAL *theta = (const PT_REAL *)group->theta + d * group->draw_step;
        PT_NAME(alignment_begin)(p, group->row[d], theta, work, &a);
        const pt_status status = PT_NAME(alignment_align)(&a, group, &cells, &end);
        if (status != PT_OK)
            return status;
        if (!(end.value > -PT_INFINITY && end.value < PT_INFINITY))
            return pt_fail(err, PT_E_INFEASIBLE, group->row[d],
                           "the score of the alignment overflows");
        PT_NAME(alignment_trace)(&a, &end, p->code_len, code + d * p->code_len);
    }
    return PT_OK;
}

/* ---- what is feasible ---- */

/* States of (i, j) that open steps lead to, as bits: 1 M (or a start), 2 X, 4 Y. left, above, diagonal: of its
 * neighbours, 0 where there is none. */
static uint8_t PT_NAME(alignment_reach)(const PT_NAME(alignment_item) * a, int64_t i, int64_t j,
                                        int left, int above, int diagonal) {
    if (i > 0 && j > 0 && !(a->theta[(i - 1) * a->pitch + (j - 1) * a->channels] > -PT_INFINITY))
        diagonal = 0;
    const int opens = PT_NAME(alignment_gap)(a, 1, i, j) > -PT_INFINITY,
              extends = PT_NAME(alignment_gap)(a, 2, i, j) > -PT_INFINITY;
    const int starts = i > 0 && j > 0 ? 0 : PT_NAME(alignment_starts)(a, i, j);
    const int x = (left & 1 && opens) || (left & 2 && extends);
    const int y = (above & 3 && opens) || (above & 4 && extends);
    return (uint8_t)((starts || diagonal) | x << 1 | y << 2);
}

/* Learned gaps may be closed, so that no alignment from end to end is left.   work: m + 1 bytes */
static pt_status PT_NAME(alignment_check)(const pt_problem *p, int64_t row, const void *theta,
                                          void *work, pt_error *err) {
    PT_NAME(alignment_item) a;
    PT_NAME(alignment_begin)(p, row, theta, work, &a);
    uint8_t *reach = a.row_bits;
    int64_t closed = 0, found = 0;
    if (a.mode == PT_NAME(alignment_local) || a.kind != PT_NAME(alignment_learned))
        return PT_OK;
    for (int64_t i = 0; i < a.n; i++)
        for (int64_t k = 0; k < a.m * a.channels; k++)
            closed += !(a.theta[i * a.pitch + k] > -PT_INFINITY);
    for (int64_t i = 0; closed && i <= a.n; i++) {
        int diagonal = 0, left = 0;
        for (int64_t j = 0; j <= a.m; j++) {
            const int above = i > 0 ? reach[j] : 0;
            left = PT_NAME(alignment_reach)(&a, i, j, left, above, diagonal);
            reach[j] = (uint8_t)left;
            diagonal = above;
            found += left && PT_NAME(alignment_ends)(&a, i, j);
        }
    }
    if (!closed || found)
        return PT_OK;
    return pt_fail(
        err, PT_E_INFEASIBLE, row,
        "no alignment of %lld rows and %lld columns over entries that are not closed (-inf)",
        (long long)a.n, (long long)a.m);
}

/* ---- the fixed part ---- */

static void PT_NAME(alignment_costs_of)(const pt_problem *p, int64_t row,
                                        PT_NAME(alignment_costs) * c) {
    const double *gaps = p->arrays[1].data;
    const int free_ends = p->ints[0] == PT_NAME(alignment_semiglobal) ? (int)p->ints[2] : 0;
    *c = (PT_NAME(alignment_costs)){ gaps[0],
                                     gaps[1],
                                     (int)p->ints[0],
                                     free_ends & 1,
                                     free_ends >> 1,
                                     PT_NAME(alignment_length)(p, row, 0),
                                     PT_NAME(alignment_length)(p, row, 1) };
}

/* Minus the cheapest gaps that go with a solution's matches; of a y that is no alignment -inf. */
static double PT_NAME(alignment_fixed_part)(const pt_problem *p, int64_t row, const int32_t *code,
                                            const void *solution) {
    const PT_REAL *y = solution;
    PT_NAME(alignment_costs) c;
    PT_NAME(alignment_chain) chain = { 0, -1, -1, 0 };
    if (p->ints[1] != PT_NAME(alignment_fixed))
        return 0;
    PT_NAME(alignment_costs_of)(p, row, &c);
    if (code)
        for (int64_t i = p->code_len; i-- > 0;) {
            if (code[i] >= 0)
                PT_NAME(alignment_match)(&c, &chain, code[i] / p->dims[1], code[i] % p->dims[1]);
        }
    else
        for (int64_t v = 0; v < p->n; v++)
            if (y[v] != 0) {
                chain.broken |= y[v] != 1;
                PT_NAME(alignment_match)(&c, &chain, v / p->dims[1], v % p->dims[1]);
            }
    return PT_NAME(alignment_chain_end)(&c, &chain);
}

#include "alignment_soft.tmpl.h"
#include "alignment_parts.tmpl.h"
#include "alignment_cuts.tmpl.h"

static const pt_solver PT_NAME(alignment) = {
    .name = "alignment",
    .prepare = PT_NAME(alignment_prepare),
    .check = PT_NAME(alignment_check),
    .work_size = PT_NAME(alignment_work_size),
    .solve = PT_NAME(alignment_solve),
    .fixed = PT_NAME(alignment_fixed_part),
    .thresholds = PT_NAME(alignment_thresholds),
    .thresholds_size = PT_NAME(alignment_thresholds_size),
    .soft = PT_NAME(alignment_soft),
    .soft_size = PT_NAME(alignment_soft_size),
};
