/* alignment_soft: T log of the sum over all alignments of exp(score / T), and its gradient, over the states of
 * alignment_trace.tmpl.h. Logarithms in double, whatever the type of theta.
 *
 * Forward: L[state](i, j) = log of the sum over all ways to get there. Backward, from the ends: the chance that an
 * alignment passes a state is handed to what precedes it, in the shares exp(L of the way - L of the state). */
#ifndef PT_REAL
#error "alignment_soft.tmpl.h is a template: include it from alignment.tmpl.h"
#endif

typedef struct {
    PT_NAME(alignment_item) a;
    double temperature;
    double *log_sum[4]; /* of M, X, Y (1 .. 3), (n + 1) x (m + 1) each */
    double *chance[4];  /* of the states of two rows of positions, 2 x (m + 1) each */
    double *grad;       /* n x m x channels of the item's own shape, or NULL */
} PT_NAME(alignment_sums);

/* One way into a state: what precedes it, where, the entry it is charged at (-1: none) and log of its weight. */
typedef struct {
    int state;
    int64_t i, j, entry;
    double log_weight;
} PT_NAME(alignment_way);

static inline double PT_NAME(alignment_log_of)(const PT_NAME(alignment_sums) * s, int state,
                                               int64_t i, int64_t j) {
    const PT_NAME(alignment_item) *a = &s->a;
    if (state != PT_NAME(alignment_s))
        return s->log_sum[state][i * (a->m + 1) + j];
    const int starts = a->mode == PT_NAME(alignment_local) ||
                       ((i == 0 || j == 0) && PT_NAME(alignment_starts)(a, i, j));
    return starts ? 0 : -(double)PT_INFINITY;
}

/* The ways into a state of (i, j), at most four; returns how many. */
static int PT_NAME(alignment_ways)(const PT_NAME(alignment_sums) * s, int state, int64_t i,
                                   int64_t j, PT_NAME(alignment_way) ways[4]) {
    const PT_NAME(alignment_item) *a = &s->a;
    const int edges = a->kind == PT_NAME(alignment_edges),
              local = a->mode == PT_NAME(alignment_local);
    const int is_m = state == PT_NAME(alignment_m);
    const int64_t pi = i - (state != PT_NAME(alignment_x)),
                  pj = j - (state != PT_NAME(alignment_y));
    const int64_t cell = (i > 0 ? i - 1 : 0) * a->pitch + (j > 0 ? j - 1 : 0) * a->channels;
    int count = 0;
    if (pi < 0 || pj < 0)
        return 0;
    for (int from = PT_NAME(alignment_s); from <= PT_NAME(alignment_y); from++) {
        const int gap_from = from == PT_NAME(alignment_s) ? PT_NAME(alignment_m) : from;
        if (!is_m && (gap_from > state || (from == PT_NAME(alignment_s) && local)))
            continue; /* no Y > X; a local alignment begins with M */
        int channel = is_m ? (edges ? from : 0) : gap_from == state ? 2 : 1;
        if (!is_m && edges)
            channel = state == PT_NAME(alignment_x) ? 3 + gap_from : 5 + gap_from;
        const int seen = a->kind != PT_NAME(alignment_fixed) ? a->n > 0 && a->m > 0 : is_m;
        const PT_REAL w =
            is_m || edges ? a->theta[cell + channel] : PT_NAME(alignment_gap)(a, channel, i, j);
        ways[count++] = (PT_NAME(alignment_way)){ from, pi, pj, seen ? cell + channel : -1,
                                                  PT_NAME(alignment_log_of)(s, from, pi, pj) +
                                                      (double)w / s->temperature };
    }
    return count;
}

/* log of a sum of at most `count` exponentials. */
static double PT_NAME(alignment_log_sum)(const PT_NAME(alignment_way) * ways, int count) {
    double most = -(double)PT_INFINITY, sum = 0;
    for (int k = 0; k < count; k++)
        most = ways[k].log_weight > most ? ways[k].log_weight : most;
    if (!(most > -(double)PT_INFINITY && most < (double)PT_INFINITY))
        return most;
    for (int k = 0; k < count; k++)
        sum += exp_f64(ways[k].log_weight - most);
    return most + log_f64(sum);
}

/* Does an alignment end in this state of (i, j)? */
static inline int PT_NAME(alignment_is_end)(const PT_NAME(alignment_item) * a, int state, int64_t i,
                                            int64_t j) {
    return a->mode == PT_NAME(alignment_local) ? state == PT_NAME(alignment_m)
                                               : PT_NAME(alignment_ends)(a, i, j);
}

/* Is there an empty alignment? */
static int PT_NAME(alignment_may_be_empty)(const PT_NAME(alignment_item) * a) {
    return a->mode == PT_NAME(alignment_local) || (a->n == 0 && a->m == 0) ||
           (a->query_is_free && a->target_is_free) || (a->query_is_free && a->m == 0) ||
           (a->target_is_free && a->n == 0);
}

static pt_status PT_NAME(alignment_stop)(const pt_group *group, int64_t m, int64_t *cells) {
    if ((*cells += 32 * (m + 1)) < ALIGNMENT_POLL)
        return PT_OK;
    *cells = 0;
    return group->stop && group->stop(group->stop_ctx) ? PT_E_STOPPED : PT_OK;
}

/* Fill s->log_sum; *total: log of the sum over all alignments. */
static pt_status PT_NAME(alignment_forward)(const PT_NAME(alignment_sums) * s,
                                            const pt_group *group, double *total) {
    const PT_NAME(alignment_item) *a = &s->a;
    const int empty = PT_NAME(alignment_may_be_empty)(a);
    double most = empty ? 0 : -(double)PT_INFINITY, sum = empty; /* sum exp(most) so far */
    int64_t cells = 0;
    for (int64_t i = 0; i <= a->n; i++) {
        for (int64_t j = 0; j <= a->m; j++)
            for (int state = PT_NAME(alignment_m); state <= PT_NAME(alignment_y); state++) {
                PT_NAME(alignment_way) ways[4];
                const int count = PT_NAME(alignment_ways)(s, state, i, j, ways);
                const double x = PT_NAME(alignment_log_sum)(ways, count);
                s->log_sum[state][i * (a->m + 1) + j] = x;
                if (x == (double)PT_INFINITY) {
                    *total = x;
                    return PT_OK;
                }
                if (!(x > -(double)PT_INFINITY) || !PT_NAME(alignment_is_end)(a, state, i, j))
                    continue;
                sum = x > most ? sum * exp_f64(most - x) + 1 : sum + exp_f64(x - most);
                most = x > most ? x : most;
            }
        if (PT_NAME(alignment_stop)(group, a->m, &cells) != PT_OK)
            return PT_E_STOPPED;
    }
    *total = most + log_f64(sum);
    return PT_OK;
}

/* Add the chances of all steps to s->grad. */
static pt_status PT_NAME(alignment_backward)(const PT_NAME(alignment_sums) * s,
                                             const pt_group *group, double total) {
    const PT_NAME(alignment_item) *a = &s->a;
    const int64_t row = a->m + 1;
    int64_t cells = 0;
    for (int state = 0; state < 4; state++)
        memset(s->chance[state], 0, (size_t)(2 * row) * sizeof(double));
    for (int64_t i = a->n; i >= 0; i--) {
        for (int64_t j = a->m; j >= 0; j--)
            for (int state = PT_NAME(alignment_y); state >= PT_NAME(alignment_m); state--) {
                const double x = s->log_sum[state][i * row + j];
                double *chance = &s->chance[state][(i & 1) * row + j];
                PT_NAME(alignment_way) ways[4];
                if (PT_NAME(alignment_is_end)(a, state, i, j) && x > -(double)PT_INFINITY)
                    *chance += exp_f64(x - total);
                const int count = *chance > 0 ? PT_NAME(alignment_ways)(s, state, i, j, ways) : 0;
                for (int k = 0; k < count; k++) {
                    const double share = *chance * exp_f64(ways[k].log_weight - x);
                    s->chance[ways[k].state][(ways[k].i & 1) * row + ways[k].j] += share;
                    if (ways[k].entry >= 0)
                        s->grad[ways[k].entry] += share;
                }
            }
        for (int state = 0; state < 4; state++) /* for row i - 2 */
            memset(s->chance[state] + (i & 1) * row, 0, (size_t)row * sizeof(double));
        if (PT_NAME(alignment_stop)(group, a->m, &cells) != PT_OK)
            return PT_E_STOPPED;
    }
    return PT_OK;
}

/* Where what lies in work begins; NULL: only its size, in *bytes. */
static void PT_NAME(alignment_soft_lay_out)(PT_NAME(alignment_sums) * s, int64_t n, int64_t m,
                                            int64_t size, char *work, size_t *bytes) {
    const size_t table = (size_t)((n + 1) * (m + 1)) * sizeof(double);
    char *at = work ? work : (char *)(uintptr_t)64;
    const char *begin = at;
    for (int state = 1; state < 4; state++)
        s->log_sum[state] = PT_NAME(alignment_part)(&at, table);
    for (int state = 0; state < 4; state++)
        s->chance[state] = PT_NAME(alignment_part)(&at, (size_t)(2 * (m + 1)) * sizeof(double));
    s->grad = PT_NAME(alignment_part)(&at, (size_t)size * sizeof(double));
    *bytes = (size_t)(at - begin);
}

static size_t PT_NAME(alignment_soft_size)(const pt_problem *p) {
    PT_NAME(alignment_sums) s;
    size_t bytes;
    PT_NAME(alignment_soft_lay_out)(&s, p->dims[0], p->dims[1], p->n, NULL, &bytes);
    return bytes + PT_NAME(alignment_work_size)(p);
}

static pt_status PT_NAME(alignment_soft)(const pt_problem *p, const pt_group *group,
                                         double temperature, double *value, void *grad, void *work,
                                         pt_error *err) {
    PT_NAME(alignment_sums) s = { .temperature = temperature };
    PT_REAL *out = grad;
    double total = 0;
    size_t bytes;
    PT_NAME(alignment_soft_lay_out)(&s, p->dims[0], p->dims[1], p->n, work, &bytes);
    PT_NAME(alignment_begin)(p, group->row[0], group->theta, (char *)work + bytes, &s.a);
    pt_status status = PT_NAME(alignment_forward)(&s, group, &total);
    *value = temperature * total;
    if (status == PT_OK && !(*value > -(double)PT_INFINITY && *value < (double)PT_INFINITY))
        return pt_fail(err, PT_E_INFEASIBLE, group->row[0], "the score of the alignment overflows");
    if (status != PT_OK || !grad)
        return status;
    memset(s.grad, 0, (size_t)p->n * sizeof(double));
    status = PT_NAME(alignment_backward)(&s, group, total);
    for (int64_t k = 0; k < p->n; k++)
        out[k] = (PT_REAL)s.grad[k];
    return status;
}
