/* alignment_gaps: what fixed gaps cost, from the matched cells alone. */
#ifndef PT_REAL
#error "alignment_gaps.tmpl.h is a template: include it from alignment.tmpl.h"
#endif

/* Penalties, free ends and lengths of a row. */
typedef struct {
    double open, extend;
    int mode, query_is_free, target_is_free;
    int64_t n, m;
} PT_NAME(alignment_costs);

static double PT_NAME(alignment_gap_cost)(const PT_NAME(alignment_costs) * c, int64_t length) {
    return length > 0 ? c->open + c->extend * (double)(length - 1) : 0;
}

/* Between two matches, or an end and a match: one gap in each sequence, the target's columns first. */
static double PT_NAME(alignment_between)(const PT_NAME(alignment_costs) * c, int64_t rows,
                                         int64_t columns) {
    return PT_NAME(alignment_gap_cost)(c, rows) + PT_NAME(alignment_gap_cost)(c, columns);
}

/* Before the first match, or after the last. */
static double PT_NAME(alignment_outside)(const PT_NAME(alignment_costs) * c, int64_t rows,
                                         int64_t columns) {
    if (c->mode == PT_NAME(alignment_local))
        return 0;
    double least = PT_NAME(alignment_between)(c, rows, columns);
    if (c->query_is_free && PT_NAME(alignment_gap_cost)(c, columns) < least)
        least = PT_NAME(alignment_gap_cost)(c, columns);
    if (c->target_is_free && PT_NAME(alignment_gap_cost)(c, rows) < least)
        least = PT_NAME(alignment_gap_cost)(c, rows);
    return least;
}

/* Without a match: a prefix of one sequence and a suffix of one may be free. */
static double PT_NAME(alignment_unmatched)(const PT_NAME(alignment_costs) * c) {
    if (c->mode == PT_NAME(alignment_local) || (c->query_is_free && c->target_is_free))
        return 0;
    return PT_NAME(alignment_outside)(c, c->n, c->m);
}

/* Cheapest gaps that go with matches, given in order from the first or from the last: add one after the other. */
typedef struct {
    double cost;
    int64_t i, j; /* of the match before; -1: none yet */
    int broken;   /* the matches are no alignment */
} PT_NAME(alignment_chain);

static void PT_NAME(alignment_match)(const PT_NAME(alignment_costs) * c,
                                     PT_NAME(alignment_chain) * chain, int64_t i, int64_t j) {
    chain->broken |= i >= c->n || j >= c->m;
    if (chain->i < 0)
        chain->cost += PT_NAME(alignment_outside)(c, i, j);
    else if (i <= chain->i || j <= chain->j)
        chain->broken = 1;
    else
        chain->cost += PT_NAME(alignment_between)(c, i - chain->i - 1, j - chain->j - 1);
    chain->i = i;
    chain->j = j;
}

static double PT_NAME(alignment_chain_end)(const PT_NAME(alignment_costs) * c,
                                           const PT_NAME(alignment_chain) * chain) {
    if (chain->broken)
        return -(double)PT_INFINITY;
    const double after =
        chain->i < 0 ? PT_NAME(alignment_unmatched)(c)
                     : PT_NAME(alignment_outside)(c, c->n - chain->i - 1, c->m - chain->j - 1);
    return -(chain->cost + after);
}
