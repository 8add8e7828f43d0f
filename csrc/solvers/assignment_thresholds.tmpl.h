/* assignment_thresholds: where each cell enters or leaves the heaviest matching (MATH, section 5).
 * The best matching with a cell, or without it, is the draw's own after one cycle of exchanges. Nodes are the lines, and,
 * where places are left, one more that owns these. Edge a -> b: a takes b's place, at the loss theta[a, own] - theta[a, b's];
 * the last node takes any place, at no loss. Let D[b, a] be the least loss of a path from b to a, 0 for b = a.
 *   cell (a, j), j owned by b:  enters above theta[a, own] + D[b, a]
 *   cell (a, own):              leaves below theta[a, own] - min over the other cells of a of (threshold - theta)
 * All paths by Floyd and Warshall over losses that potentials make >= 0 (Johnson 1977): rounding cannot make a cycle
 * that gains, and sums stay of one sign. O(n^3) a draw. In double: what is lost is below theta's own rounding.
 * For assignment. */
#ifndef PT_REAL
#error "assignment_thresholds.tmpl.h is a template: include it from registry.tmpl.h"
#endif

typedef struct {
    int64_t n, nodes;       /* lines; and one more where places are left */
    double *loss, *gain;    /* nodes x nodes: of the shortest path, and <g, .> along it */
    double *potential;      /* nodes */
    int32_t *place, *owner; /* of a line; of a place */
    const PT_REAL *t, *g;   /* the item; cotangent or NULL */
    PT_NAME(assignment_shape) shape;
} PT_NAME(assignment_swaps);

static size_t PT_NAME(assignment_swaps_size)(const pt_problem *p) {
    const PT_NAME(assignment_shape) shape = PT_NAME(assignment_lines)(p);
    const size_t n = (size_t)shape.n + 1, m = (size_t)shape.m;
    return (2 * n * n + n) * sizeof(double) + (n + m) * sizeof(int32_t);
}

static PT_NAME(assignment_swaps) PT_NAME(assignment_swaps_lay)(const pt_problem *p, void *work) {
    PT_NAME(assignment_swaps) s = { .shape = PT_NAME(assignment_lines)(p), .loss = work };
    s.n = s.shape.n;
    s.nodes = s.n + (s.n < s.shape.m);
    s.gain = s.loss + s.nodes * s.nodes;
    s.potential = s.gain + s.nodes * s.nodes;
    s.place = (int32_t *)(s.potential + s.nodes);
    s.owner = s.place + s.n;
    return s;
}

static inline int64_t PT_NAME(assignment_cell)(const PT_NAME(assignment_swaps) * s, int64_t i,
                                               int64_t j) {
    return i * s->shape.line_step + j * s->shape.place_step;
}

/* Edges of the matching that is given by its cells. */
static void PT_NAME(assignment_swaps_edges)(PT_NAME(assignment_swaps) * s, const int32_t *code) {
    const int64_t n = s->n, nodes = s->nodes;
    for (int64_t j = 0; j < s->shape.m; j++)
        s->owner[j] = (int32_t)n;
    for (int64_t i = 0; i < n; i++) {
        s->place[i] = (int32_t)((code[i] - i * s->shape.line_step) / s->shape.place_step);
        s->owner[s->place[i]] = (int32_t)i;
    }
    for (int64_t k = 0; k < nodes * nodes; k++) {
        s->loss[k] = k < n * nodes ? PT_INFINITY : 0; /* the last node's, if there is one, are 0 */
        s->gain[k] = 0;
    }
    for (int64_t i = 0; i < n; i++) {
        double *loss = s->loss + i * nodes, *gain = s->gain + i * nodes;
        const double own = (double)s->t[code[i]];
        for (int64_t j = 0; j < s->shape.m; j++) {
            const int64_t cell = PT_NAME(assignment_cell)(s, i, j), b = s->owner[j];
            const double x = own - (double)s->t[cell];
            if (x < loss[b]) {
                loss[b] = x;
                gain[b] = s->g ? (double)s->g[cell] - (double)s->g[code[i]] : 0;
            }
        }
        loss[i] = gain[i] = 0;
    }
}

/* Make losses >= 0: loss[a, b] + potential[a] - potential[b], potential[b] the least loss of any path to b. */
static void PT_NAME(assignment_swaps_reduce)(PT_NAME(assignment_swaps) * s) {
    const int64_t nodes = s->nodes;
    double *restrict potential = s->potential;
    int changed = 1;
    for (int64_t a = 0; a < nodes; a++)
        potential[a] = 0;
    for (int64_t round = 0; round < nodes && changed; round++) {
        changed = 0;
        for (int64_t a = 0; a < nodes; a++) {
            const double *restrict loss = s->loss + a * nodes, from = potential[a];
            for (int64_t b = 0; b < nodes; b++) {
                const double x = from + loss[b];
                changed |= x < potential[b];
                potential[b] = x < potential[b] ? x : potential[b];
            }
        }
    }
    for (int64_t a = 0; a < nodes; a++)
        for (int64_t b = 0; b < nodes; b++) {
            const double x = s->loss[a * nodes + b] + potential[a] - potential[b];
            s->loss[a * nodes + b] = a == b || x < 0 ? 0 : x;
        }
}

/* Shortest paths from a, by way of k. */
static inline void PT_NAME(assignment_swaps_via)(PT_NAME(assignment_swaps) * s, int64_t a,
                                                 int64_t k) {
    const int64_t nodes = s->nodes;
    double *restrict loss = s->loss + a * nodes, *restrict gain = s->gain + a * nodes;
    const double *restrict on = s->loss + k * nodes, *restrict gained = s->gain + k * nodes;
    const double to = loss[k], won = gain[k];
    for (int64_t b = 0; b < nodes; b++) {
        const double x = to + on[b], y = won + gained[b];
        const int better = x < loss[b];
        loss[b] = better ? x : loss[b];
        gain[b] = better ? y : gain[b];
    }
}

static pt_status PT_NAME(assignment_swaps_paths)(PT_NAME(assignment_swaps) * s,
                                                 const pt_group *group) {
    for (int64_t k = 0; k < s->nodes; k++) {
        for (int64_t a = 0; a < s->nodes; a++)
            if (a != k)
                PT_NAME(assignment_swaps_via)(s, a, k);
        if (s->nodes >= 64 && group->stop && group->stop(group->stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static void PT_NAME(assignment_swaps_tell)(const PT_NAME(assignment_swaps) * s, const int32_t *code,
                                           PT_REAL *tau, PT_REAL *change) {
    for (int64_t i = 0; i < s->n; i++) {
        const double own = (double)s->t[code[i]];
        double least = PT_INFINITY, rival = 0; /* the best cycle through i */
        for (int64_t j = 0; j < s->shape.m; j++) {
            const int64_t cell = PT_NAME(assignment_cell)(s, i, j), b = s->owner[j];
            if (b == i)
                continue;
            const double path = s->loss[b * s->nodes + i] - s->potential[b] + s->potential[i];
            const double loss = own - (double)s->t[cell] + path;
            double gain = 0;
            if (s->g && path < PT_INFINITY)
                gain = (double)s->g[cell] - (double)s->g[code[i]] + s->gain[b * s->nodes + i];
            tau[cell] = (PT_REAL)(own + path);
            if (s->g)
                change[cell] = (PT_REAL)gain;
            rival = loss < least ? gain : rival;
            least = loss < least ? loss : least;
        }
        tau[code[i]] = (PT_REAL)(own - least);
        if (s->g)
            change[code[i]] = (PT_REAL)-rival;
    }
}

static pt_status PT_NAME(assignment_thresholds)(const pt_problem *p, const pt_group *group,
                                                const int32_t *code, const void *g, void *tau,
                                                void *change, void *work, pt_error *err) {
    PT_NAME(assignment_swaps) s = PT_NAME(assignment_swaps_lay)(p, work);
    s.g = g;
    (void)err;
    for (int64_t d = 0; d < group->n_draws; d++, code += p->code_len) {
        const int64_t at = d * group->draw_step;
        s.t = (const PT_REAL *)group->theta + at;
        PT_NAME(assignment_swaps_edges)(&s, code);
        PT_NAME(assignment_swaps_reduce)(&s);
        const pt_status status = PT_NAME(assignment_swaps_paths)(&s, group);
        if (status != PT_OK)
            return status;
        PT_NAME(assignment_swaps_tell)
        (&s, code, (PT_REAL *)tau + at, g ? (PT_REAL *)change + at : NULL);
        if (group->stop && group->stop(group->stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}
