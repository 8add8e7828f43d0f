/* rao_places: Rao-Blackwell terms where y tells the places of the entries in their order.
 *
 * List the allowed entries of a draw; coordinate j passes the others one by one as theta'_j grows. G(r, i) = what entry i
 * in place r from the top adds to <g, y>. When j passes i, which was in place r among the others, j goes from r + 1 to r
 * and i from r to r + 1: <g, y> changes by D(r, j) - D(r, i), D(r, i) = G(r, i) - G(r + 1, i). Ranks: D(r, i) = +-g_i for
 * every r, so that the list needs no order.
 */
#ifndef PT_REAL
#error "rao_places.tmpl.h is a template: include it from core_type.tmpl.h"
#endif

/* One draw's list. */
typedef struct {
    int64_t size; /* entries that matter: all allowed ones, or one more than there are places */
    int64_t n_allowed;
    int32_t *index;                           /* ordered from the top unless ranks */
    int32_t *at;                              /* n: where an entry stands in the list, or -1 */
    PT_REAL *value, *d_same, *d_next, *terms; /* theta', D(s, i_s), D(s - 1, i_s), scratch */
    PT_REAL *own;                             /* D(., j) */
} PT_NAME(place_list);

static inline int PT_NAME(gives_ranks)(const pt_problem *p) {
    return p->moves == PT_MOVES_PLACE && p->y_size == p->n;
}

static size_t PT_NAME(places_size)(const pt_problem *p) {
    return 8 * ((size_t)p->n * 8 + 64 + 64);
}

static void PT_NAME(places_start)(const pt_problem *p, char **work, PT_NAME(place_list) * list) {
    const size_t n = (size_t)p->n + 1;
    list->index = PT_NAME(slice)(work, n * sizeof(int32_t));
    list->at = PT_NAME(slice)(work, n * sizeof(int32_t));
    list->value = PT_NAME(slice)(work, n * sizeof(PT_REAL));
    list->d_same = PT_NAME(slice)(work, n * sizeof(PT_REAL));
    list->d_next = PT_NAME(slice)(work, n * sizeof(PT_REAL));
    list->terms = PT_NAME(slice)(work, n * sizeof(PT_REAL));
    list->own = PT_NAME(slice)(work, n * sizeof(PT_REAL));
}

/* Row of y for place r from the top, of `allowed` entries; -1: y does not tell this place. */
static inline int64_t PT_NAME(place_row)(const pt_problem *p, int64_t allowed, int64_t r) {
    if (r < 0 || r >= allowed || r >= p->places)
        return -1;
    return p->from_top ? r : allowed - 1 - r;
}

/* D(r, i) for one-hot places. */
static inline PT_REAL PT_NAME(place_step)(const pt_problem *p, int64_t allowed, const PT_REAL *g,
                                          int64_t r, int64_t i) {
    const int64_t above = PT_NAME(place_row)(p, allowed, r),
                  below = PT_NAME(place_row)(p, allowed, r + 1);
    return (above < 0 ? (PT_REAL)0 : g[above * p->n + i]) -
           (below < 0 ? (PT_REAL)0 : g[below * p->n + i]);
}

/* The list of a draw from its code: all allowed entries by index (ranks), or the highest ones in their order. */
static void PT_NAME(places_of)(const pt_problem *p, const int32_t *code, const PT_REAL *theta,
                               PT_NAME(place_list) * list) {
    list->size = list->n_allowed = 0;
    for (int64_t j = 0; j < p->n; j++) {
        list->at[j] = -1;
        list->n_allowed += theta[j] > -PT_INFINITY;
    }
    if (PT_NAME(gives_ranks)(p)) {
        for (int64_t j = 0; j < p->n; j++)
            if (theta[j] > -PT_INFINITY)
                list->index[list->size++] = (int32_t)j;
    } else {
        const int64_t known = p->code_len < list->n_allowed ? p->code_len : list->n_allowed;
        for (; list->size < known; list->size++)
            list->index[list->size] =
                code[p->from_top ? list->size : list->n_allowed - 1 - list->size];
        if (known < list->n_allowed) {
            const int32_t last = list->index[known - 1];
            list->index[list->size++] =
                (int32_t)PT_NAME(top_next)(theta, p->n, (PT_NAME(entry)){ theta[last], last });
        }
    }
    for (int64_t s = 0; s < list->size; s++) {
        list->value[s] = theta[list->index[s]];
        list->at[list->index[s]] = (int32_t)s;
    }
}

static void PT_NAME(place_steps)(const pt_problem *p, const PT_REAL *g,
                                 PT_NAME(place_list) * list) {
    for (int64_t s = 0; s < list->size; s++) {
        const int64_t i = list->index[s];
        if (PT_NAME(gives_ranks)(p)) {
            list->d_same[s] = list->d_next[s] = p->from_top ? -g[i] : g[i];
            continue;
        }
        list->d_same[s] = PT_NAME(place_step)(p, list->n_allowed, g, s, i);
        list->d_next[s] = s > 0 ? PT_NAME(place_step)(p, list->n_allowed, g, s - 1, i) : 0;
    }
}

/* terms[s] = where the noise of coordinate j must be for theta'_j to be at entry s. */
static void PT_NAME(place_arguments)(const PT_NAME(movers) * m, int64_t j,
                                     const PT_NAME(place_list) * list) {
    const PT_REAL theta = m->theta[j], inverse = m->inverse[j];
    if (m->multiplicative)
        for (int64_t s = 0; s < list->size; s++)
            list->terms[s] = PT_NAME(factor_at)(m, j, list->value[s]);
    else
        for (int64_t s = 0; s < list->size; s++)
            list->terms[s] = PT_NAME(bounded)((list->value[s] - theta) * inverse);
}

/* (J^T g)_j of one draw. */
static double PT_NAME(place_slope)(const pt_job *job, const PT_REAL *g, int64_t j,
                                   const PT_NAME(movers) * m, PT_NAME(place_list) * list) {
    const pt_problem *p = &job->problem;
    const int64_t size = list->size, at = list->at[j] < 0 ? size : list->at[j];
    if (m->slope[j] == 0)
        return 0;
    PT_NAME(place_arguments)(m, j, list);
    PT_NAME(densities)(&job->noise, size, list->terms);
    if (at < size)
        list->terms[at] = 0;
    if (PT_NAME(gives_ranks)(p)) {
        const PT_REAL own = p->from_top ? -g[j] : g[j];
        for (int64_t s = 0; s < size; s++)
            list->own[s] = own - list->d_same[s];
    } else {
        for (int64_t s = 0; s < at; s++)
            list->own[s] = PT_NAME(place_step)(p, list->n_allowed, g, s, j) - list->d_same[s];
        for (int64_t s = at; s < size; s++)
            list->own[s] =
                s > at ? PT_NAME(place_step)(p, list->n_allowed, g, s - 1, j) - list->d_next[s] : 0;
    }
    return (double)m->slope[j] * PT_NAME(product_sum)(list->terms, list->own, size);
}

/* Column j of y given the others: x[row of place r] = P(place r), or the expected rank. */
static void PT_NAME(place_chances)(const pt_job *job, int64_t j, const PT_NAME(movers) * m,
                                   PT_NAME(place_list) * list, double *x) {
    const pt_problem *p = &job->problem;
    const int64_t size = list->size, at = list->at[j] < 0 ? size : list->at[j];
    PT_NAME(place_arguments)(m, j, list);
    PT_NAME(tails)(&job->noise, size, list->terms);
    if (m->multiplicative && m->theta[j] < 0)
        for (int64_t s = 0; s < size; s++)
            list->terms[s] = 1 - list->terms[s];
    if (PT_NAME(gives_ranks)(p)) {
        double above = 0;
        for (int64_t s = 0; s < size; s++)
            above += s == at ? 0.0 : (double)list->terms[s];
        x[j] = p->from_top ? (double)size - above : 1 + above;
        return;
    }
    double reached = 0; /* P(place <= r - 1) */
    for (int64_t s = 0, r = 0; s <= size; s++) {
        if (s == at)
            continue;
        const double now = s < size ? (double)list->terms[s] : 1.0;
        const int64_t row = PT_NAME(place_row)(p, list->n_allowed, r++);
        if (row >= 0)
            x[row * p->n + j] = now - reached;
        reached = now;
    }
}
