/* forest_search: the forest of one draw under the constraints of forest_constraints.tmpl.h. */
#ifndef PT_REAL
#error "forest_search.tmpl.h is a template: include it from registry.tmpl.h"
#endif

/* The matrix of an edge list: of parallel edges the first in order. */
static void PT_NAME(forest_expand_list)(PT_NAME(forest_search) * c, const pt_problem *p,
                                        const int64_t *ends, const PT_REAL *theta) {
    for (int64_t i = 0; i < c->n * c->stride; i++)
        c->w[i] = -PT_INFINITY;
    for (int64_t e = 0; e < p->n; e++) {
        const int64_t i = ends[2 * e], j = ends[2 * e + 1];
        if (!(theta[e] > c->w[i * c->stride + j]))
            continue;
        c->w[i * c->stride + j] = c->w[j * c->stride + i] = theta[e];
        c->id[i * c->n + j] = c->id[j * c->n + i] = (int32_t)e;
    }
}

static pt_status PT_NAME(forest_search_start)(PT_NAME(forest_search) * c, const pt_problem *p,
                                              const int64_t *ends, int64_t d, int *exact) {
    const int few = c->n_units <= PT_FOREST_UNITS;
    *exact = few && c->n << c->n_units <= PT_FOREST_WORK;
    int64_t clusters = -1;
    if (*exact)
        clusters = PT_NAME(forest_exact)(c);
    else {
        const pt_status status = PT_NAME(forest_sort)(p, c->group, d, c->sorted, c->rest);
        if (status != PT_OK)
            return status;
        clusters = PT_NAME(forest_greedy)(c, p, ends);
        if (clusters != c->k)
            clusters = PT_NAME(forest_colour)(c);
    }
    return clusters == c->k ? PT_OK : PT_E_INFEASIBLE;
}

/* Solve draw d of a group under a row's constraints.   edges [out] n - 1 words, as of a code */
static pt_status PT_NAME(forest_constrained)(const pt_problem *p, const pt_group *group, int64_t d,
                                             int64_t k, const int64_t *ends, const int8_t *limit,
                                             int32_t *edges, char *work, pt_error *err) {
    const PT_REAL *theta = (const PT_REAL *)group->theta + d * group->draw_step;
    PT_NAME(forest_search) c;
    double total = 0, rounding = 0;
    int exact;
    PT_NAME(forest_lay)(p, work, &c);
    c.k = k;
    c.group = group;
    PT_NAME(forest_take)(&c, limit);
    if (ends)
        PT_NAME(forest_expand_list)(&c, p, ends, theta);
    else
        PT_NAME(forest_expand)(c.n, theta, c.w);
    for (int64_t e = 0; e < p->n; e++) {
        const double x = (double)(theta[e] < 0 ? -theta[e] : theta[e]);
        rounding += theta[e] > -PT_INFINITY ? x * PT_FOREST_GAIN : 0.0;
    }
    pt_status status = PT_NAME(forest_search_start)(&c, p, ends, d, &exact);
    if (status == PT_OK)
        status = PT_NAME(forest_resolve)(&c, &total);
    if (status == PT_E_INFEASIBLE || (status == PT_OK && !(total > -(double)PT_INFINITY)))
        return pt_fail(err, PT_E_INFEASIBLE, group->row[d],
                       "no forest found of k = %lld trees under its constraints", (long long)k);
    if (status == PT_OK && !exact)
        status = PT_NAME(forest_improve)(&c, total, rounding);
    c.s.count = c.n - k;
    if (status == PT_OK)
        PT_NAME(forest_write)(&c.s, c.n, k, c.id, edges);
    return status;
}
