/* viterbi: heaviest sequence of states, one of S at each of T steps; any sign.
 *   ints       {form, forbidden}. form VITERBI_EDGES: theta (T - 1, S, S) scores the edge from state r (row) to s (column);
 *              else theta (T, S) scores states, and edges have fixed scores: VITERBI_ONE (S, S) of them for all steps,
 *              VITERBI_EACH (T - 1, S, S). forbidden: some fixed score is -inf
 *   arrays     const int64_t*: T_i of each row, 1 <= T_i <= T; NULL: T.   const real*: the fixed scores
 *   theta      -inf beyond T_i
 *   code       the place in theta of each state, or edge, that is used; -1 beyond T_i
 *   fixed      sum of the fixed scores that are used; of a dense y the sum of y(t,r) score(r,s) y(t+1,s): what independent
 *              states with these chances have on average
 *
 * V(0,s) = theta(0,s), or 0 for edges;  V(t,s) = theta(t,s) + max over r of (V(t-1,r) + edge(r,s)), rounded at each step.
 * Tie rule: walking back from the end, the lowest state whose V, or V + edge, is the maximum.
 * Source: Viterbi 1967, Forney 1973. PT_LANES draws, innermost, advance together. */
#ifndef PT_REAL
#error "viterbi.tmpl.h is a template: include it from registry.tmpl.h"
#endif
#include <assert.h>

#include "cuts.h"

#define VITERBI_EDGES 0
#define VITERBI_ONE 1
#define VITERBI_EACH 2
#define VITERBI_POLL 65536 /* edges between two questions to group->stop */
#define VITERBI_BLOCK                                                                              \
    8 /* states in registers at a time: their chains of maxima hide each other's latency */

/* Reals of one vector register, and as many words; x > y is all ones where it holds. */
typedef PT_REAL PT_NAME(viterbi_reals) __attribute__((vector_size(PT_VECTOR)));
typedef PT_BITS PT_NAME(viterbi_words) __attribute__((vector_size(PT_VECTOR)));

/* Sizes and fixed scores of one problem. */
typedef struct {
    int64_t steps, states;
    int form;
    const PT_REAL *edges; /* of VITERBI_ONE and VITERBI_EACH */
} PT_NAME(viterbi);

static inline PT_NAME(viterbi) PT_NAME(viterbi_open)(const pt_problem *p) {
    const int form = (int)p->ints[0];
    return (PT_NAME(viterbi)){ p->dims[0] + (form == VITERBI_EDGES), p->dims[1], form,
                               form == VITERBI_EDGES ? NULL : p->arrays[1].data };
}

/* Fixed scores of the edges into step t >= 1. */
static inline const PT_REAL *PT_NAME(viterbi_edges)(const PT_NAME(viterbi) * v, int64_t t) {
    return v->form == VITERBI_EACH ? v->edges + (t - 1) * v->states * v->states : v->edges;
}

/* Steps of a row. */
static inline int64_t PT_NAME(viterbi_length)(const pt_problem *p, int64_t row) {
    const pt_array *lengths = &p->arrays[0];
    const int64_t most = p->dims[0] + (p->ints[0] == VITERBI_EDGES);
    if (!lengths->data)
        return most;
    const int64_t length = ((const int64_t *)lengths->data)[row * lengths->row_stride];
    assert(length >= 1 && length <= most);
    return length;
}

static inline PT_NAME(viterbi_reals) PT_NAME(viterbi_load)(const PT_REAL *from) {
    PT_NAME(viterbi_reals) x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline PT_NAME(viterbi_words)
    PT_NAME(viterbi_pick)(PT_NAME(viterbi_words) which, PT_NAME(viterbi_words) x,
                          PT_NAME(viterbi_words) y) {
    return (x & which) | (y & ~which);
}

/* What one step works on: V of the step before and of this one, state s at [s * PT_LANES], and the state that each
 * comes from.
 *   edge   [in]  the edge from r to s at edge[(r * states + s) * width]; width PT_LANES, or 1: the same for all draws
 *   theta  [in]  of the states, as V; NULL: 0 */
typedef struct {
    int64_t states;
    const PT_REAL *before, *edge, *theta;
    PT_REAL *after;
    PT_BITS *from;
} PT_NAME(viterbi_step);

/* V of `block` states from s on, for a vector's worth of draws from lane l on. */
static inline void PT_NAME(viterbi_block)(const PT_NAME(viterbi_step) * step, int64_t s, int l,
                                          int block, int width) {
    PT_NAME(viterbi_reals) best[VITERBI_BLOCK];
    PT_NAME(viterbi_words) from[VITERBI_BLOCK];
    for (int k = 0; k < block; k++) {
        best[k] = (PT_NAME(viterbi_reals)){ 0 } - PT_INFINITY;
        from[k] = (PT_NAME(viterbi_words)){ 0 };
    }
    for (int64_t r = 0; r < step->states; r++) {
        const PT_NAME(viterbi_reals) before =
            PT_NAME(viterbi_load)(step->before + r * PT_LANES + l);
        const PT_NAME(viterbi_words) own = (PT_NAME(viterbi_words)){ 0 } + (PT_BITS)r;
        const PT_REAL *w = step->edge + (r * step->states + s) * width;
        for (int k = 0; k < block; k++) {
            const PT_NAME(viterbi_reals) x =
                width == 1 ? before + w[k] : before + PT_NAME(viterbi_load)(w + k * PT_LANES + l);
            const PT_NAME(viterbi_words) more = (PT_NAME(viterbi_words))(x > best[k]);
            best[k] = (PT_NAME(viterbi_reals))PT_NAME(viterbi_pick)(
                more, (PT_NAME(viterbi_words))x, (PT_NAME(viterbi_words))best[k]);
            from[k] = PT_NAME(viterbi_pick)(more, own, from[k]);
        }
    }
    for (int k = 0; k < block; k++) {
        if (step->theta)
            best[k] += PT_NAME(viterbi_load)(step->theta + (s + k) * PT_LANES + l);
        memcpy(step->after + (s + k) * PT_LANES + l, &best[k], sizeof best[k]);
        memcpy(step->from + (s + k) * PT_LANES + l, &from[k], sizeof from[k]);
    }
}

/* V of one step from that before it. */
static inline void PT_NAME(viterbi_advance)(const PT_NAME(viterbi_step) * step, int width) {
    for (int l = 0; l < PT_LANES; l += PT_VECTOR / (int)sizeof(PT_REAL)) {
        int64_t s = 0;
        for (; s + VITERBI_BLOCK <= step->states; s += VITERBI_BLOCK)
            PT_NAME(viterbi_block)(step, s, l, VITERBI_BLOCK, width);
        for (; s + 2 <= step->states; s += 2)
            PT_NAME(viterbi_block)(step, s, l, 2, width);
        if (s < step->states)
            PT_NAME(viterbi_block)(step, s, l, 1, width);
    }
}

/* V of step t >= 1, and where its states come from. */
static void PT_NAME(viterbi_into)(const PT_NAME(viterbi) * v, int64_t t, const PT_REAL *theta,
                                  const PT_REAL *before, PT_REAL *after, PT_BITS *from) {
    const int64_t n = v->states, size = n * PT_LANES;
    PT_NAME(viterbi_step) step = { n, before, NULL, NULL, after, from + (t - 1) * size };
    if (v->form == VITERBI_EDGES) {
        step.edge = theta + (t - 1) * n * size;
        PT_NAME(viterbi_advance)(&step, PT_LANES);
    } else {
        step.edge = PT_NAME(viterbi_edges)(v, t);
        step.theta = theta + t * size;
        PT_NAME(viterbi_advance)(&step, 1);
    }
}

/* The lowest state with the largest V, of one lane. */
static int64_t PT_NAME(viterbi_last)(int64_t states, const PT_REAL *value) {
    int64_t last = 0;
    for (int64_t s = 1; s < states; s++)
        last = value[s * PT_LANES] > value[last * PT_LANES] ? s : last;
    return last;
}

/* The sequence of one lane, back from state s of its last step.   from [S of each step but the first] x PT_LANES */
static void PT_NAME(viterbi_trace)(const PT_NAME(viterbi) * v, const PT_BITS *from, int lane,
                                   int64_t length, int64_t s, int32_t *code) {
    const int64_t n = v->states, edges = v->form == VITERBI_EDGES;
    for (int64_t t = length - edges; t < v->steps - edges; t++)
        code[t] = -1;
    for (int64_t t = length - 1; t > 0; t--) {
        const int64_t r = (int64_t)from[((t - 1) * n + s) * PT_LANES + lane];
        assert(r >= 0 && r < n);
        code[t - edges] = (int32_t)(edges ? ((t - 1) * n + r) * n + s : t * n + s);
        s = r;
    }
    if (!edges)
        code[0] = (int32_t)s;
}

static pt_status PT_NAME(viterbi_prepare)(pt_problem *p, pt_error *err) {
    const int64_t form = p->n_ints == 2 ? p->ints[0] : -1;
    if (form < VITERBI_EDGES || form > VITERBI_EACH || p->n_arrays != 2)
        return pt_fail(err, PT_E_VALUE, -1, "transitions must be one matrix, or one a step");
    if (p->n_dims != (form == VITERBI_EDGES ? 3 : 2) || p->n < 1)
        return pt_fail(err, PT_E_VALUE, -1,
                       "theta must have items of shape (T, S), or (T - 1, S, S)");
    size_t bytes; /* of the scratch or more */
    if (p->n > INT32_MAX || !pt_mul_size(p->dims[0] + 2, (p->dims[1] + 1) * 256, &bytes))
        return pt_fail(err, PT_E_VALUE, -1, "theta has too many entries an item: %lld",
                       (long long)p->n);
    p->y_size = p->n;
    p->code_len = p->dims[0];
    p->code_kind = PT_CODE_INDEX;
    p->code_step = 0;
    p->lanes = PT_LANES;
    p->open_is_right = !p->ints[1];
    p->linear = 1;
    p->sign = 1;
    p->moves = PT_MOVES_THRESHOLD;
    p->moves_lanes = 1;
    return PT_OK;
}

/* Which states are reached over open ones and open edges, where there are closed ones.   work: 2 x S bytes */
static pt_status PT_NAME(viterbi_check)(const pt_problem *p, int64_t row, const void *item,
                                        void *work, pt_error *err) {
    const PT_NAME(viterbi) v = PT_NAME(viterbi_open)(p);
    const int64_t n = v.states, length = PT_NAME(viterbi_length)(p, row);
    const int64_t used = v.form == VITERBI_EDGES ? (length - 1) * n * n : length * n;
    const PT_REAL *theta = item;
    uint8_t *reached = work, *next = reached + n;
    if (!p->ints[1] && PT_NAME(all_open)(theta, used))
        return PT_OK;
    for (int64_t s = 0; s < n; s++)
        reached[s] = v.form == VITERBI_EDGES || theta[s] > -PT_INFINITY;
    for (int64_t t = 1; t < length; t++) {
        const PT_REAL *edge =
            v.form == VITERBI_EDGES ? theta + (t - 1) * n * n : PT_NAME(viterbi_edges)(&v, t);
        memset(next, 0, (size_t)n);
        for (int64_t r = 0; r < n; r++)
            for (int64_t s = 0; reached[r] && s < n; s++)
                next[s] |= edge[r * n + s] > -PT_INFINITY;
        for (int64_t s = 0; s < n; s++)
            reached[s] = next[s] && (v.form == VITERBI_EDGES || theta[t * n + s] > -PT_INFINITY);
    }
    if (memchr(reached, 1, (size_t)n))
        return PT_OK;
    return pt_fail(err, PT_E_INFEASIBLE, row,
                   "no sequence of %lld states over states and edges that are not closed (-inf)",
                   (long long)length);
}

static size_t PT_NAME(viterbi_work_size)(const pt_problem *p) {
    const PT_NAME(viterbi) v = PT_NAME(viterbi_open)(p);
    return (size_t)((v.steps + 1) * v.states) * PT_LANES * sizeof(PT_REAL) + 2 * (size_t)v.states;
}

/* The last state of each lane and the states that the others come from.   work as work_size, from at its start
 * Returns PT_OK, PT_E_STOPPED, or PT_E_INFEASIBLE where a score overflows. */
static pt_status PT_NAME(viterbi_run)(const PT_NAME(viterbi) * v, const pt_group *group,
                                      const int64_t length[PT_LANES], PT_BITS *from,
                                      int64_t last[PT_LANES], pt_error *err) {
    const int64_t size = v->states * PT_LANES;
    const PT_REAL *theta = group->theta;
    PT_REAL *value[2] = { (PT_REAL *)(from + (v->steps - 1) * size), NULL };
    int64_t longest = 1, edges = 0;
    pt_status status = PT_OK;
    value[1] = value[0] + size;
    for (int l = 0; l < PT_LANES; l++)
        longest = length[l] > longest ? length[l] : longest;
    for (int64_t k = 0; k < size; k++)
        value[0][k] = v->form == VITERBI_EDGES ? 0 : theta[k];
    for (int64_t t = 0; t < longest; t++) {
        if (t > 0)
            PT_NAME(viterbi_into)(v, t, theta, value[(t + 1) % 2], value[t % 2], from);
        for (int l = 0; l < group->n_draws; l++) {
            if (t != length[l] - 1)
                continue;
            last[l] = PT_NAME(viterbi_last)(v->states, value[t % 2] + l);
            const PT_REAL score = value[t % 2][last[l] * PT_LANES + l];
            if (!(score > -PT_INFINITY && score < PT_INFINITY))
                status = pt_fail(err, PT_E_INFEASIBLE, group->row[l],
                                 "the score of the states overflows");
        }
        if ((edges += v->states * size) >= VITERBI_POLL) {
            edges = 0;
            if (group->stop && group->stop(group->stop_ctx))
                return PT_E_STOPPED;
        }
    }
    return status;
}

static pt_status PT_NAME(viterbi_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                        void *work, pt_error *err) {
    const PT_NAME(viterbi) v = PT_NAME(viterbi_open)(p);
    int64_t length[PT_LANES], last[PT_LANES];
    assert(group->item_step == PT_LANES && group->draw_step == 1 && group->n_draws <= PT_LANES);
    for (int l = 0; l < PT_LANES; l++)
        length[l] = PT_NAME(viterbi_length)(p, group->row[l]);
    const pt_status status = PT_NAME(viterbi_run)(&v, group, length, work, last, err);
    for (int l = 0; l < group->n_draws && status == PT_OK; l++)
        PT_NAME(viterbi_trace)(&v, work, l, length[l], last[l], code + l * p->code_len);
    return status;
}

/* y_r y_s edge(r, s), nothing where an end is not used. */
static inline double PT_NAME(viterbi_share)(const PT_REAL *edge, int64_t n, int64_t r, int64_t s,
                                            double weight) {
    return weight != 0 ? weight * (double)edge[r * n + s] : 0;
}

static double PT_NAME(viterbi_fixed)(const pt_problem *p, int64_t row, const int32_t *code,
                                     const void *dense) {
    const PT_NAME(viterbi) v = PT_NAME(viterbi_open)(p);
    const int64_t n = v.states, length = PT_NAME(viterbi_length)(p, row);
    const PT_REAL *y = dense;
    double sum = 0;
    for (int64_t t = 1; v.form != VITERBI_EDGES && t < length; t++) {
        const PT_REAL *edge = PT_NAME(viterbi_edges)(&v, t);
        if (code) {
            sum += PT_NAME(viterbi_share)(edge, n, code[t - 1] % n, code[t] % n, 1);
            continue;
        }
        for (int64_t r = 0; r < n; r++)
            for (int64_t s = 0; y[(t - 1) * n + r] != 0 && s < n; s++)
                sum += PT_NAME(viterbi_share)(edge, n, r, s,
                                              (double)y[(t - 1) * n + r] * (double)y[t * n + s]);
    }
    return sum;
}

/* ---- thresholds (MATH, section 5): best paths through each state or edge, and without it ---- */

/* Tables of one draw, in double. */
typedef struct {
    PT_NAME(viterbi) v;
    const PT_REAL *theta, *g; /* g: NULL where changes are not asked for */
    int64_t length;
    path_sum *before; /* steps x states: best parts up to a state, its own score not included */
    path_sum *past;   /* states: best parts after a state of a step, its own score not included */
    path_sum *next;   /* states: the same of a step, own score included */
    path_sum *rest;   /* of a level: best paths through each entry, its own score not included */
} PT_NAME(viterbi_marginals);

static inline path_sum PT_NAME(viterbi_entry)(const PT_NAME(viterbi_marginals) * m, int64_t j) {
    return (path_sum){ (double)m->theta[j], m->g ? (double)m->g[j] : 0 };
}

static inline path_sum PT_NAME(viterbi_own)(const PT_NAME(viterbi_marginals) * m, int64_t t,
                                            int64_t s) {
    if (m->v.form == VITERBI_EDGES)
        return (path_sum){ 0, 0 };
    return PT_NAME(viterbi_entry)(m, t * m->v.states + s);
}

/* The edge from state r to state s of step t >= 1. */
static inline path_sum PT_NAME(viterbi_edge)(const PT_NAME(viterbi_marginals) * m, int64_t t,
                                             int64_t r, int64_t s) {
    const int64_t n = m->v.states;
    if (m->v.form == VITERBI_EDGES)
        return PT_NAME(viterbi_entry)(m, ((t - 1) * n + r) * n + s);
    return (path_sum){ (double)PT_NAME(viterbi_edges)(&m->v, t)[r * n + s], 0 };
}

static void PT_NAME(viterbi_before)(const PT_NAME(viterbi_marginals) * m) {
    const int64_t n = m->v.states;
    for (int64_t s = 0; s < n; s++)
        m->before[s] = (path_sum){ 0, 0 };
    for (int64_t t = 1; t < m->length; t++) {
        path_sum *into = m->before + t * n;
        for (int64_t s = 0; s < n; s++)
            into[s] = path_none();
        for (int64_t r = 0; r < n; r++) {
            const path_sum from = path_join(into[r - n], PT_NAME(viterbi_own)(m, t - 1, r));
            for (int64_t s = 0; s < n; s++)
                into[s] = path_most(into[s], path_join(from, PT_NAME(viterbi_edge)(m, t, r, s)));
        }
    }
}

/* Thresholds of a level: `count` entries of theta from j0 on, of which each path uses one, and this draw's `used`. */
static void PT_NAME(viterbi_changes)(const PT_NAME(viterbi_marginals) * m, int64_t j0,
                                     int64_t count, int64_t used, PT_REAL *tau, PT_REAL *change) {
    path_cut cut = path_cut_none();
    for (int64_t k = 0; k < count; k++)
        path_cut_offer(&cut, path_join(m->rest[k], PT_NAME(viterbi_entry)(m, j0 + k)), k);
    const path_sum whole = cut.best[0], other = path_cut_without(&cut, used - j0);
    for (int64_t k = 0; k < count; k++) {
        const path_sum in = path_join(m->rest[k], PT_NAME(viterbi_entry)(m, j0 + k)),
                       out = k == used - j0 ? other : whole;
        if (!(in.score > -INFINITY))
            continue;
        tau[j0 + k] = (PT_REAL)(out.score - m->rest[k].score);
        if (m->g)
            change[j0 + k] = (PT_REAL)(in.g - out.g);
    }
}

/* Thresholds level by level, from the last step to the first. */
static void PT_NAME(viterbi_levels)(const PT_NAME(viterbi_marginals) * m, const int32_t *code,
                                    PT_REAL *tau, PT_REAL *change) {
    const int64_t n = m->v.states;
    const int edges = m->v.form == VITERBI_EDGES;
    for (int64_t s = 0; s < n; s++)
        m->past[s] = (path_sum){ 0, 0 };
    for (int64_t t = m->length - 1; t >= 0; t--) {
        const path_sum *before = m->before + t * n;
        for (int64_t s = 0; s < n; s++) {
            m->rest[s] = path_join(before[s], m->past[s]);
            m->next[s] = path_join(PT_NAME(viterbi_own)(m, t, s), m->past[s]);
        }
        if (!edges)
            PT_NAME(viterbi_changes)(m, t * n, n, code[t], tau, change);
        if (t == 0)
            return;
        for (int64_t r = 0; r < n; r++) {
            m->past[r] = path_none();
            for (int64_t s = 0; s < n; s++) {
                const path_sum edge = PT_NAME(viterbi_edge)(m, t, r, s);
                m->past[r] = path_most(m->past[r], path_join(edge, m->next[s]));
                if (edges)
                    m->rest[r * n + s] = path_join(before[r - n], m->next[s]);
            }
        }
        if (edges)
            PT_NAME(viterbi_changes)(m, (t - 1) * n * n, n * n, code[t - 1], tau, change);
    }
}

static size_t PT_NAME(viterbi_thresholds_size)(const pt_problem *p) {
    const PT_NAME(viterbi) v = PT_NAME(viterbi_open)(p);
    const size_t n = (size_t)v.states;
    return ((size_t)v.steps * n + 2 * n + (v.form == VITERBI_EDGES ? n * n : n)) * sizeof(path_sum);
}

static pt_status PT_NAME(viterbi_thresholds)(const pt_problem *p, const pt_group *group,
                                             const int32_t *code, const void *g, void *taus,
                                             void *changes, void *work, pt_error *err) {
    PT_NAME(viterbi_marginals) m = { .v = PT_NAME(viterbi_open)(p), .g = g, .before = work };
    (void)err;
    m.length = PT_NAME(viterbi_length)(p, group->row[0]);
    m.past = m.before + m.v.steps * m.v.states;
    m.next = m.past + m.v.states;
    m.rest = m.next + m.v.states;
    for (int64_t d = 0; d < group->n_draws; d++) {
        PT_REAL *tau = (PT_REAL *)taus + d * group->draw_step;
        PT_REAL *change = g ? (PT_REAL *)changes + d * group->draw_step : NULL;
        m.theta = (const PT_REAL *)group->theta + d * group->draw_step;
        for (int64_t j = 0; j < p->n; j++)
            tau[j] = PT_INFINITY;
        for (int64_t j = 0; g && j < p->n; j++)
            change[j] = 0;
        PT_NAME(viterbi_before)(&m);
        PT_NAME(viterbi_levels)(&m, code + d * p->code_len, tau, change);
        if (group->stop && group->stop(group->stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static const pt_solver PT_NAME(viterbi_solver) = {
    .name = "viterbi",
    .prepare = PT_NAME(viterbi_prepare),
    .check = PT_NAME(viterbi_check),
    .work_size = PT_NAME(viterbi_work_size),
    .solve = PT_NAME(viterbi_solve),
    .fixed = PT_NAME(viterbi_fixed),
    .thresholds = PT_NAME(viterbi_thresholds),
    .thresholds_size = PT_NAME(viterbi_thresholds_size),
};
