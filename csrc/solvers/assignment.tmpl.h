/* assignment: heaviest matching of an n x m score matrix that has min(n, m) pairs.
 *   code       column of each row, as its cell i * m + j; where n > m the row of each column, likewise
 *
 * "Lines" below are the rows, or the columns where these are fewer; "places" are the other ones. Theta is rounded to integers,
 * multiples of 2^-e with |integer| <= 2^b (b = 49, less from 64 lines on: lap.h) for the largest entry that an optimal
 * matching may use. So the optimum is exact for theta on that grid, and does not depend on the way to it.
 * Tie rule: the lexicographically first of the heaviest: line 0 has the lowest place it can have, then line 1, ... */
#ifndef PT_REAL
#error "assignment.tmpl.h is a template: include it from registry.tmpl.h"
#endif
#include "lap.h"

#define ASSIGNMENT_GRID 6 /* bits that entries out of use may take from the grid */

/* Lines and places of an item, and the steps between them in theta. */
typedef struct {
    int64_t n, m, line_step, place_step;
} PT_NAME(assignment_shape);

static PT_NAME(assignment_shape) PT_NAME(assignment_lines)(const pt_problem *p) {
    const int64_t n = p->dims[0], m = p->dims[1];
    const PT_NAME(assignment_shape) rows = { n, m, m, 1 }, columns = { m, n, 1, m };
    return n <= m ? rows : columns;
}

#include "assignment_thresholds.tmpl.h"

static pt_status PT_NAME(assignment_prepare)(pt_problem *p, pt_error *err) {
    if (p->n_dims != 2 || p->dims[0] < 1 || p->dims[1] < 1)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have items of shape (n, m) with n, m >= 1");
    const PT_NAME(assignment_shape) shape = PT_NAME(assignment_lines)(p);
    size_t bytes; /* more than the scratch */
    if (p->n > INT32_MAX || !pt_mul_size(shape.n + 64, (shape.m + 64) * 16, &bytes))
        return pt_fail(err, PT_E_VALUE, -1, "theta has too many cells: %lld x %lld",
                       (long long)p->dims[0], (long long)p->dims[1]);
    p->y_size = p->n;
    p->code_len = shape.n;
    p->code_kind = PT_CODE_INDEX;
    p->linear = 1;
    p->sign = 1;
    p->even = 1;
    p->moves = PT_MOVES_THRESHOLD;
    p->moves_lanes = 1;
    return PT_OK;
}

static size_t PT_NAME(assignment_work_size)(const pt_problem *p) {
    const PT_NAME(assignment_shape) shape = PT_NAME(assignment_lines)(p);
    return lap_size(shape.n, shape.m);
}

/* A matching of all lines by open cells, where an item has closed ones. */
static pt_status PT_NAME(assignment_check)(const pt_problem *p, int64_t row, const void *theta,
                                           void *work, pt_error *err) {
    const PT_NAME(assignment_shape) shape = PT_NAME(assignment_lines)(p);
    const PT_REAL *t = theta;
    int64_t open = 0;
    for (int64_t k = 0; k < p->n; k++)
        open += t[k] > -PT_INFINITY;
    if (open == p->n)
        return PT_OK;
    bipartite g = bipartite_begin(shape.n, shape.m, work);
    for (int64_t i = 0; i < shape.n; i++)
        for (int64_t j = 0; j < shape.m; j++)
            if (t[i * shape.line_step + j * shape.place_step] > -PT_INFINITY)
                bits_set(g.edge + i * g.words, j);
    const int64_t bad = bipartite_match(&g);
    if (bad == shape.n)
        return PT_OK;
    const char *line = p->dims[0] <= p->dims[1] ? "row" : "column",
               *place = p->dims[0] <= p->dims[1] ? "column" : "row";
    if (g.reached == 1)
        return pt_fail(err, PT_E_INFEASIBLE, row,
                       "no matching of all %lld %ss over cells that are not closed (-inf): %s %lld "
                       "has none",
                       (long long)shape.n, line, line, (long long)bad);
    return pt_fail(err, PT_E_INFEASIBLE, row,
                   "no matching of all %lld %ss over cells that are not closed (-inf): %lld of "
                   "them, such as %s %lld, have only %lld open %s%s",
                   (long long)shape.n, line, (long long)g.reached, line, (long long)bad,
                   (long long)g.reached - 1, place, g.reached == 2 ? "" : "s");
}

/* 2^e, in two factors that are both doubles. */
static void PT_NAME(assignment_power)(int e, double factor[2]) {
    const int half = e / 2;
    for (int k = 0; k < 2; k++) {
        const uint64_t bits = (uint64_t)(1023 + (k ? e - half : half)) << 52;
        memcpy(&factor[k], &bits, sizeof bits);
    }
}

/* The least e for which size <= 2^e, or one more; size >= 0. */
static int PT_NAME(assignment_exponent)(double size) {
    uint64_t bits;
    const double scaled = size < 0x1p-1000 ? size * 0x1p64 : size; /* no subnormal */
    memcpy(&bits, &scaled, sizeof bits);
    return (int)(bits >> 52) - 1022 - (size < 0x1p-1000 ? 64 : 0);
}

/* Line i of theta, one place after the other. again: -inf where a cell is not in use any more. */
static const PT_REAL *PT_NAME(assignment_line)(const lap *s, PT_NAME(assignment_shape) shape,
                                               const PT_REAL *t, int64_t i, int again) {
    if (shape.place_step == 1 && !again)
        return t + i * shape.line_step;
    PT_REAL *line = (PT_REAL *)s->key;
    for (int64_t j = 0; j < s->m; j++)
        line[j] = again && s->cost[i * s->stride + j] == LAP_CLOSED
                      ? -PT_INFINITY
                      : t[i * shape.line_step + j * shape.place_step];
    return line;
}

/* Largest finite size in a line, as bits: these are in the order of what they stand for. */
static PT_BITS PT_NAME(assignment_largest)(const PT_REAL *line, int64_t m) {
    const PT_REAL infinity = PT_INFINITY;
    PT_BITS closed, largest = 0;
    memcpy(&closed, &infinity, sizeof closed);
    for (int64_t j = 0; j < m; j++) {
        PT_BITS bits;
        memcpy(&bits, &line[j], sizeof bits);
        bits &= (PT_BITS) ~(PT_BITS)0 >> 1;
        bits = bits == closed ? 0 : bits;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

/* Costs of a line: -theta factor[0] factor[1] to the nearest integer, twice. Adding `round` rounds |x| < 2^51, and leaves the integer
 * in the low bits. */
static void PT_NAME(assignment_round)(const PT_REAL *restrict line, const double factor[2],
                                      int64_t m, int64_t *restrict cost) {
    const double round = 0x1.8p52, f = factor[0], g = factor[1];
    int64_t offset;
    memcpy(&offset, &round, sizeof offset);
    for (int64_t j = 0; j < m; j++) {
        const int open = line[j] > -PT_INFINITY;
        const double shifted = round - (double)(open ? line[j] : 0) * f * g;
        int64_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        cost[j] = open ? 2 * (bits - offset) : LAP_CLOSED;
    }
}

static pt_status PT_NAME(assignment_costs)(lap *s, PT_NAME(assignment_shape) shape,
                                           const PT_REAL *t, int again) {
    PT_BITS most = 0;
    PT_REAL largest;
    double factor[2];
    for (int64_t i = 0; i < s->n; i++) {
        const PT_REAL *line = PT_NAME(assignment_line)(s, shape, t, i, again);
        const PT_BITS bits = PT_NAME(assignment_largest)(line, s->m);
        most = bits > most ? bits : most;
    }
    memcpy(&largest, &most, sizeof most);
    const int exponent = PT_NAME(assignment_exponent)((double)largest);
    PT_NAME(assignment_power)(lap_bits(s->n) - 1 - exponent, factor);
    for (int64_t i = 0; i < s->n; i++) {
        const PT_REAL *line = PT_NAME(assignment_line)(s, shape, t, i, again);
        int64_t *cost = s->cost + i * s->stride;
        PT_NAME(assignment_round)(line, factor, s->m, cost);
        for (int64_t j = s->m; j < s->stride; j++)
            cost[j] = LAP_CLOSED;
        if (lap_stopped(s, s->stride))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

/* An entry takes no part if even with the cheapest cells of all other lines its matching costs more than the one found. Where
 * all that take part are much smaller than the largest one of all, close the others: a finer grid is right for these.
 * Returns 1 if there were any to close. */
static int PT_NAME(assignment_narrow)(lap *s) {
    const int64_t limit = INT64_C(1) << (lap_bits(s->n) - ASSIGNMENT_GRID);
    int64_t excess = 4 * s->n, most = 0; /* of rounding */
    int closed = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t *cost = s->cost + i * s->stride, least = lap_least(cost, s->stride);
        s->at[i] = least;
        excess += cost[s->column[i]] - least;
        most = most < -least ? -least : most;
    }
    for (int64_t i = 0; i < s->n; i++)
        most = most < s->at[i] + excess ? s->at[i] + excess : most;
    if (most >= limit)
        return 0;
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t j = 0; j < s->m; j++)
            if (s->cost[i * s->stride + j] != LAP_CLOSED &&
                s->cost[i * s->stride + j] > s->at[i] + excess) {
                s->cost[i * s->stride + j] = LAP_CLOSED;
                closed = 1;
            }
    return closed;
}

static pt_status PT_NAME(assignment_one)(PT_NAME(assignment_shape) shape, const pt_group *group,
                                         const PT_REAL *t, lap *s, int64_t *cells) {
    int again = 0;
    do {
        lap_reset(s);
        s->cells = *cells;
        s->stop = group->stop;
        s->stop_ctx = group->stop_ctx;
        pt_status status = PT_NAME(assignment_costs)(s, shape, t, again);
        if (status == PT_OK)
            status = lap_solve(s);
        *cells = s->cells;
        if (status != PT_OK)
            return status;
        again = PT_NAME(assignment_narrow)(s);
    } while (again);
    return PT_OK;
}

static pt_status PT_NAME(assignment_solve)(const pt_problem *p, const pt_group *group,
                                           int32_t *code, void *work, pt_error *err) {
    const PT_NAME(assignment_shape) shape = PT_NAME(assignment_lines)(p);
    lap s = lap_begin(shape.n, shape.m, work);
    int64_t cells = 0;
    (void)err;
    for (int64_t d = 0; d < group->n_draws; d++) {
        const PT_REAL *t = (const PT_REAL *)group->theta + d * group->draw_step;
        const pt_status status = PT_NAME(assignment_one)(shape, group, t, &s, &cells);
        if (status != PT_OK)
            return status;
        for (int64_t i = 0; i < s.n; i++)
            code[d * p->code_len + i] =
                (int32_t)(i * shape.line_step + s.column[i] * shape.place_step);
    }
    return PT_OK;
}

/* Each line has one pair: the mean over its open cells is taken out; where the item is a square without closed cells, over
 * the columns too. (With closed ones that would have no end.) */
static void PT_NAME(assignment_project)(const pt_problem *p, int64_t row, const void *theta,
                                        double *x) {
    const PT_NAME(assignment_shape) shape = PT_NAME(assignment_lines)(p);
    const PT_REAL *t = theta;
    int64_t closed = 0;
    (void)row;
    for (int way = 0; way < 2 && (way == 0 || (shape.n == shape.m && closed == 0)); way++) {
        const int64_t line = way ? shape.place_step : shape.line_step,
                      place = way ? shape.line_step : shape.place_step;
        for (int64_t i = 0; i < shape.n; i++) {
            double sum = 0;
            int64_t open = 0;
            for (int64_t j = 0; j < shape.m; j++) {
                const int64_t at = i * line + j * place;
                x[at] = t[at] > -PT_INFINITY ? x[at] : 0;
                open += t[at] > -PT_INFINITY;
                sum += x[at];
            }
            closed += shape.m - open;
            for (int64_t j = 0; j < shape.m; j++)
                if (t[i * line + j * place] > -PT_INFINITY)
                    x[i * line + j * place] -= sum / (double)open;
        }
    }
}

static const pt_solver PT_NAME(assignment) = {
    .name = "assignment",
    .prepare = PT_NAME(assignment_prepare),
    .check = PT_NAME(assignment_check),
    .work_size = PT_NAME(assignment_work_size),
    .solve = PT_NAME(assignment_solve),
    .project = PT_NAME(assignment_project),
    .thresholds = PT_NAME(assignment_thresholds),
    .thresholds_size = PT_NAME(assignment_swaps_size),
};
