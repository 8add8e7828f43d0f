/* places: the exact form of which entry stands at which place from the top, for top-k and permutations. In double;
 * included once by each ISA's object, after quadrature.h.
 *
 * N_-j(x) = how many of the others exceed x, a Poisson-binomial count with chances p_l = P(theta'_l > x); f_j the density of
 * theta'_j at x. With the table L_-j[r] = P(N_-j = r) and tables in which one special item, of weight f_l or f_l t_l, is
 * taken out of the count, S_-j = sum_{l != j} f_l L_-jl and St_-j = sum_{l != j} f_l t_l L_-jl (MATH, section 6):
 *   P(j at place r)        = int f_j L_-j[r]
 *   (J t)[r, j]            = int f_j (St_-j[r-1] - St_-j[r] - t_j (S_-j[r-1] - S_-j[r]))
 *   (J^T g)_l              = int f_l (dY/dp_l - sum_r S_-l[r] (g[r+1, l] - g[r, l])),   Y = sum_j f_j sum_r g[r, j] L_-j[r]
 * dY/dp_l by reverse mode; the diagonal of J is what makes its rows sum to 0 (theta only shifts x).
 *
 * All leave-one-out tables by halving: a node of items carries the table of all items outside it; its halves each get the
 * other half's items counted in, one by one: O(n k log n) a node of integration, positive terms only, so that every entry
 * keeps its relative accuracy. Counts above k - 1 are cut off.
 *
 * Nodes are the points of a trapezoidal rule, whose error falls exponentially for such integrands: an entry is seen only
 * by nodes within its reach, and entries far apart fall into clusters, each with its own origin. */
#ifndef PT_PLACES_H
#define PT_PLACES_H

#include "quadrature.h"

/* The lanes of one number, in the vectors of this instruction set. */
typedef double pt_wide __attribute__((vector_size(PT_VECTOR)));
#define PT_WIDES (PT_EXACT_LANES * (int64_t)sizeof(double) / PT_VECTOR)
#define PT_PLACE_SCAN 40 /* points at which the spread of places is looked at */

/* What is wanted, of the entries that are in; NULL: not. Entry j at place r stands at [r * n + j] where the order counts
 * (ordered), else at [j], summed over the places. */
typedef struct {
    int64_t n, k; /* entries, places wanted */
    int ordered;
    double *y, *jvp, *vjp;
    const double *t, *g;
    double *value; /* of the sum of the k largest */
    pt_poll_fn stop;
    void *stop_ctx;
} pt_places_want;

/* The items in reach of PT_EXACT_LANES nodes. */
typedef struct {
    int64_t n, rows;                     /* items; entries of a table */
    int64_t offset;                      /* items that exceed all nodes */
    int64_t *item;                       /* n: which entry of the race */
    double *u, *above, *below, *density; /* n x lanes each */
    double *slope;                       /* n x lanes: dY/dp */
    double *special;                     /* n x lanes: weight of the second special item */
    double *tables;                      /* the stack of tables */
    double *sum;                         /* lanes */
    const double *weight, *x; /* lanes: of the trapezoidal rule; nodes from the cluster's origin */
    double moment;            /* of the value */
    const pt_places_want *want;
    int with_special, with_second, with_slope;
} pt_places;

#define PT_TABLE(places) ((places)->rows * PT_EXACT_LANES)

static inline pt_wide pt_load_wide(const double *x) {
    pt_wide v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void pt_store_wide(pt_wide v, double *x) {
    memcpy(x, &v, sizeof v);
}

/* Count an item in: a[r] = below a[r] + above a[r-1], and for a table with a special item
 * s[r] = below s[r] + above s[r-1] + weight a[r]. Both tables have `filled` entries before and one more after (at most
 * rows). second: another special table, or NULL. */
static inline void pt_count_in(const pt_places *p, int64_t i, int64_t filled, double *a, double *s,
                               double *second) {
    const int64_t last = filled < p->rows ? filled : p->rows - 1;
    for (int64_t c = 0; c < PT_WIDES; c++) {
        const int64_t lane = c * (PT_VECTOR / (int64_t)sizeof(double));
        const pt_wide up = pt_load_wide(p->above + i * PT_EXACT_LANES + lane);
        const pt_wide stay = pt_load_wide(p->below + i * PT_EXACT_LANES + lane);
        if (s) {
            const pt_wide f = pt_load_wide(p->density + i * PT_EXACT_LANES + lane);
            for (int64_t r = last; r >= 0; r--) {
                double *at = s + r * PT_EXACT_LANES + lane;
                pt_wide x =
                    stay * pt_load_wide(at) + f * pt_load_wide(a + r * PT_EXACT_LANES + lane);
                if (r > 0)
                    x += up * pt_load_wide(at - PT_EXACT_LANES);
                pt_store_wide(x, at);
            }
        }
        if (second) {
            const pt_wide f = pt_load_wide(p->special + i * PT_EXACT_LANES + lane);
            for (int64_t r = last; r >= 0; r--) {
                double *at = second + r * PT_EXACT_LANES + lane;
                pt_wide x =
                    stay * pt_load_wide(at) + f * pt_load_wide(a + r * PT_EXACT_LANES + lane);
                if (r > 0)
                    x += up * pt_load_wide(at - PT_EXACT_LANES);
                pt_store_wide(x, at);
            }
        }
        for (int64_t r = last; r >= 0; r--) {
            double *at = a + r * PT_EXACT_LANES + lane;
            pt_wide x = stay * pt_load_wide(at);
            if (r > 0)
                x += up * pt_load_wide(at - PT_EXACT_LANES);
            pt_store_wide(x, at);
        }
    }
}

/* The other way for derivatives: before [in] the table that item i was counted into; grad [in, out] dY/d(table after),
 * then dY/d(table before). Adds to slope. */
static inline void pt_count_back(const pt_places *p, int64_t i, int64_t filled,
                                 const double *before, double *grad) {
    const int64_t last = filled < p->rows ? filled : p->rows - 1;
    for (int64_t c = 0; c < PT_WIDES; c++) {
        const int64_t lane = c * (PT_VECTOR / (int64_t)sizeof(double));
        const pt_wide up = pt_load_wide(p->above + i * PT_EXACT_LANES + lane);
        const pt_wide stay = pt_load_wide(p->below + i * PT_EXACT_LANES + lane);
        pt_wide slope = pt_load_wide(p->slope + i * PT_EXACT_LANES + lane), was = { 0 };
        for (int64_t r = 0; r <= last; r++) {
            double *at = grad + r * PT_EXACT_LANES + lane;
            const pt_wide x = pt_load_wide(at),
                          a = pt_load_wide(before + r * PT_EXACT_LANES + lane);
            slope += x * (was - a);
            was = a;
            const pt_wide above = r < last ? pt_load_wide(at + PT_EXACT_LANES) : (pt_wide){ 0 };
            pt_store_wide(stay * x + up * above, at);
        }
        pt_store_wide(slope, p->slope + i * PT_EXACT_LANES + lane);
    }
}

/* Item i's table is ready: add its part of y, J t, and the special part of J^T g; leaves dY/d(table) in grad. */
static void pt_place_leaf(pt_places *p, int64_t i, const double *a, const double *s,
                          const double *second, double *grad) {
    const pt_places_want *want = p->want;
    const int64_t j = p->item[i], n = want->n;
    const double *f = p->density + i * PT_EXACT_LANES;
    double wf[PT_EXACT_LANES], term[PT_EXACT_LANES];
    for (int l = 0; l < PT_EXACT_LANES; l++)
        wf[l] = p->weight[l] * f[l];
    double total[PT_EXACT_LANES] = { 0 }, along[PT_EXACT_LANES] = { 0 };
    for (int64_t r = 0; r < p->rows; r++) {
        const double *row = a + r * PT_EXACT_LANES;
        const int64_t at = (p->offset + r) * n + j;
        if (!want->ordered) {
            for (int l = 0; l < PT_EXACT_LANES; l++)
                total[l] += row[l];
            continue;
        }
        for (int l = 0; l < PT_EXACT_LANES; l++)
            term[l] = wf[l] * row[l];
        if (want->y)
            want->y[at] += pt_sum_lanes(term);
        if (want->jvp) {
            const double *one = s + r * PT_EXACT_LANES, *both = second + r * PT_EXACT_LANES;
            const double t = want->t[j];
            for (int l = 0; l < PT_EXACT_LANES; l++) {
                const double now = both[l] - t * one[l];
                term[l] = wf[l] * (along[l] - now);
                along[l] = now;
            }
            want->jvp[at] += pt_sum_lanes(term);
        }
        if (want->vjp) {
            const double g = want->g[at], next = p->offset + r + 1 < want->k ? want->g[at + n] : 0;
            const double *one = s + r * PT_EXACT_LANES;
            for (int l = 0; l < PT_EXACT_LANES; l++) {
                total[l] += one[l] * (g - next);
                grad[r * PT_EXACT_LANES + l] = f[l] * g;
            }
        }
    }
    for (int l = 0; l < PT_EXACT_LANES; l++)
        term[l] = wf[l] * total[l];
    if (want->ordered) {
        if (want->vjp)
            want->vjp[j] += pt_sum_lanes(term);
        return;
    }
    const double chance = pt_sum_lanes(term);
    if (want->y)
        want->y[j] += chance;
    if (want->value) {
        for (int l = 0; l < PT_EXACT_LANES; l++)
            term[l] *= p->x[l];
        p->moment += pt_sum_lanes(term);
    }
    if (want->jvp) { /* J is symmetric; the differences of tables add up to their last entry */
        const double *one = s + (p->rows - 1) * PT_EXACT_LANES;
        const double *both = second + (p->rows - 1) * PT_EXACT_LANES, t = want->t[j];
        for (int l = 0; l < PT_EXACT_LANES; l++)
            term[l] = wf[l] * (t * one[l] - both[l]);
        want->jvp[j] += p->offset + p->rows == want->k ? pt_sum_lanes(term) : 0;
    }
}

/* Items from .. to - 1: a, s, second [in] tables of all other items, `filled` entries each; free [tmp] the stack above.
 * grad [out] dY/da, where slopes are wanted. */
static void pt_place_node(pt_places *p, int64_t from, int64_t to, int64_t filled, const double *a,
                          const double *s, const double *second, double *grad, double *stack) {
    if (to - from == 1) {
        pt_place_leaf(p, from, a, s, second, grad);
        return;
    }
    const int64_t size = PT_TABLE(p), middle = (from + to) / 2;
    const size_t bytes = (size_t)size * sizeof(double);
    double *own = p->with_slope ? stack : NULL; /* grad of a half */
    stack += p->with_slope ? size : 0;
    for (int half = 0; half < 2; half++) {
        const int64_t i0 = half ? from : middle, i1 = half ? middle : to;
        double *free_ = stack, *b = free_, *sb = NULL, *second_b = NULL;
        if (p->with_special) {
            sb = free_ += size;
            memcpy(sb, s, bytes);
        }
        if (p->with_second) {
            second_b = free_ += size;
            memcpy(second_b, second, bytes);
        }
        double *kept = free_ += size; /* tables before each item, for the way back */
        memcpy(b, a, bytes);
        free_ += p->with_slope ? (i1 - i0) * size : 0;
        for (int64_t i = i0; i < i1; i++) {
            if (p->with_slope)
                memcpy(kept + (i - i0) * size, b, bytes);
            pt_count_in(p, i, filled + (i - i0), b, sb, second_b);
        }
        pt_place_node(p, half ? middle : from, half ? to : middle, filled + (i1 - i0), b, sb,
                      second_b, own, free_);
        if (!p->with_slope)
            continue;
        for (int64_t i = i1 - 1; i >= i0; i--)
            pt_count_back(p, i, filled + (i - i0), kept + (i - i0) * size, own);
        for (int64_t l = 0; l < size; l++)
            grad[l] = half ? grad[l] + own[l] : own[l];
    }
}

/* Tables on the stack at most: for each level those of a node, and with slopes those before each item. */
static int64_t pt_place_tables(int64_t n, int with_slope) {
    int64_t tables = 4 + 4;
    for (int64_t size = n; size > 1; size = (size + 1) / 2)
        tables += 5 + (with_slope ? (size + 1) / 2 : 0);
    return tables;
}

/* All items at these nodes. */
static void pt_place_nodes(pt_places *p) {
    const int64_t size = PT_TABLE(p);
    const size_t bytes = (size_t)size * sizeof(double);
    double *a = p->tables, *s = a + size, *second = s + size, *grad = second + size;
    memset(a, 0, 4 * bytes);
    for (int l = 0; l < PT_EXACT_LANES; l++)
        a[l] = 1;
    if (p->with_slope)
        memset(p->slope, 0, (size_t)(p->n * PT_EXACT_LANES) * sizeof(double));
    pt_place_node(p, 0, p->n, 1, a, p->with_special ? s : NULL, p->with_second ? second : NULL,
                  grad, grad + size);
    for (int64_t i = 0; p->with_slope && i < p->n; i++) {
        const double *f = p->density + i * PT_EXACT_LANES, *slope = p->slope + i * PT_EXACT_LANES;
        double term[PT_EXACT_LANES];
        for (int l = 0; l < PT_EXACT_LANES; l++)
            term[l] = p->weight[l] * f[l] * slope[l];
        p->want->vjp[p->item[i]] += pt_sum_lanes(term);
    }
}

/* ---- nodes ---- */

/* A stretch of entries whose reaches overlap, in order of their upper ends. */
typedef struct {
    double origin, low, high; /* nodes lie between origin + low and origin + high */
    int64_t first, last;      /* entries of order[] */
} pt_cluster;

/* sum of p, of p (1 - p), and of f over a cluster at origin + x. */
static void pt_place_scan(const pt_race *race, const int64_t *order, const pt_cluster *c,
                          pt_places *p, double x, double *count, double *variance,
                          double *density) {
    double sums[3] = { 0 };
    const int64_t most = PT_EXACT_LANES * PT_EXACT_LANES;
    for (int64_t i0 = c->first; i0 < c->last; i0 += most) {
        const int64_t n = c->last - i0 < most ? c->last - i0 : most;
        for (int64_t i = 0; i < n; i++) {
            const int64_t j = order[i0 + i];
            p->u[i] = (x - (race->theta[j] - c->origin)) / race->width[j];
        }
        pt_fill_parts(race->kind, n, p->u, p->above, p->below, p->density);
        for (int64_t i = 0; i < n; i++) {
            sums[0] += p->above[i];
            sums[1] += p->above[i] * p->below[i];
            sums[2] += p->density[i] / race->width[order[i0 + i]];
        }
    }
    *count = sums[0];
    *variance = sums[1];
    *density = sums[2];
}

/* Spacing of nodes: what the narrowest noise asks for, and what the places do: where the count changes with x at a rate of
 * sum f, a place is sqrt(1 + sum p (1 - p)) / sum f wide. Moves c->low up to where no more than the wanted places lie
 * above. */
static double pt_place_spacing(const pt_race *race, const int64_t *order, pt_cluster *c,
                               pt_places *p, int64_t places) {
    const double widest = race->kind == PT_NORMAL ? 0.36 : race->kind == PT_GUMBEL ? 0.25 : 0.4;
    double spacing = widest * race->narrowest;
    double low = c->high;
    for (int q = 0; q <= PT_PLACE_SCAN; q++) {
        const double x = c->high + (c->low - c->high) * q / PT_PLACE_SCAN;
        double count, variance, density;
        pt_place_scan(race, order, c, p, x, &count, &variance, &density);
        low = x;
        const double k = (double)places, beyond = count - k;
        if (density > 0 && count < k + 1 + 3 * __builtin_sqrt(variance)) {
            const double wide = 0.62 * __builtin_sqrt(1 + variance) / density;
            spacing = wide < spacing ? wide : spacing;
        }
        /* Bernstein: P(count <= k - 1) < 1e-21 */
        if (beyond > 0 && beyond * beyond > 97 * (variance + beyond / 3))
            break;
    }
    c->low = low;
    return spacing;
}

/* order[0..n) by key, largest first: merge sort, bottom up. */
static void pt_place_sort(const double *key, int64_t n, int64_t *order, int64_t *spare) {
    int64_t *from = order, *to = spare;
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t start = 0; start < n; start += 2 * width) {
            const int64_t middle = start + width < n ? start + width : n;
            const int64_t end = start + 2 * width < n ? start + 2 * width : n;
            int64_t a = start, b = middle;
            for (int64_t i = start; i < end; i++)
                to[i] = b >= end || (a < middle && key[from[a]] >= key[from[b]]) ? from[a++]
                                                                                 : from[b++];
        }
        int64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order)
        memcpy(order, from, (size_t)n * sizeof *order);
}

/* The next cluster from entry `first` of the order on. */
static pt_cluster pt_next_cluster(const pt_race *race, const int64_t *order, int64_t first) {
    const double up = pt_reach_above(race->kind), down = pt_reach_below(race->kind);
    pt_cluster c = { .origin = race->theta[order[first]], .first = first, .last = first };
    c.high = up * race->width[order[first]];
    c.low = c.high;
    for (; c.last < race->n; c.last++) {
        const int64_t j = order[c.last];
        const double x = race->theta[j] - c.origin;
        if (x + up * race->width[j] < c.low)
            break;
        c.low = x - down * race->width[j] < c.low ? x - down * race->width[j] : c.low;
    }
    return c;
}

/* Choose the items in reach of nodes x and work out their chances.   Returns whether any place is left for them. */
static int pt_place_choose(const pt_race *race, const int64_t *order, const pt_cluster *c,
                           pt_places *p) {
    const double up = pt_reach_above(race->kind), down = pt_reach_below(race->kind);
    const double highest = p->x[0], lowest = p->x[PT_EXACT_LANES - 1];
    p->n = 0;
    p->offset = c->first;
    for (int64_t i = c->first; i < c->last; i++) {
        const int64_t j = order[i];
        const double theta = race->theta[j] - c->origin, w = race->width[j];
        if (theta - highest > down * w)
            p->offset++;
        else if (lowest - theta <= up * w)
            p->item[p->n++] = j;
    }
    const int64_t left = p->want->k - p->offset;
    if (left <= 0)
        return 0;
    p->rows = left < p->n ? left : p->n;
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t j = p->item[i];
        const double inverse = 1 / race->width[j], theta = race->theta[j] - c->origin;
        for (int l = 0; l < PT_EXACT_LANES; l++)
            p->u[i * PT_EXACT_LANES + l] = (p->x[l] - theta) * inverse;
    }
    pt_fill_parts(race->kind, p->n * PT_EXACT_LANES, p->u, p->above, p->below, p->density);
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t j = p->item[i];
        const double inverse = 1 / race->width[j], t = p->with_second ? p->want->t[j] : 0;
        for (int l = 0; l < PT_EXACT_LANES; l++) {
            p->density[i * PT_EXACT_LANES + l] *= inverse;
            p->special[i * PT_EXACT_LANES + l] = p->density[i * PT_EXACT_LANES + l] * t;
        }
    }
    return 1;
}

static pt_status pt_place_cluster(const pt_race *race, const int64_t *order, pt_cluster *c,
                                  pt_places *p) {
    const pt_places_want *want = p->want;
    const double spacing = pt_place_spacing(race, order, c, p, want->k - c->first);
    double x[PT_EXACT_LANES], weight[PT_EXACT_LANES];
    p->x = x;
    p->weight = weight;
    p->moment = 0;
    for (int l = 0; l < PT_EXACT_LANES; l++)
        weight[l] = spacing;
    for (int64_t q = 0; c->high - spacing * (double)q > c->low; q += PT_EXACT_LANES) {
        for (int64_t l = 0; l < PT_EXACT_LANES; l++)
            x[l] = c->high - spacing * ((double)(q + l) + 0.5);
        if (want->stop(want->stop_ctx))
            return PT_E_STOPPED;
        if (!pt_place_choose(race, order, c, p))
            break;
        if (p->n > 0)
            pt_place_nodes(p);
    }
    if (want->value) {
        const int64_t left = want->k - c->first, in = c->last - c->first;
        *want->value += (race->top + c->origin) * (double)(left < in ? left : in) + p->moment;
    }
    return PT_OK;
}

static size_t pt_places_size(int64_t n, int64_t k, int with_slope) {
    const int64_t most = PT_EXACT_LANES * (n > PT_EXACT_LANES ? n : PT_EXACT_LANES);
    return 3 * pt_take_size(n, sizeof(int64_t)) + pt_take_size(n, sizeof(double)) +
           5 * pt_take_size(most, sizeof(double)) +
           (with_slope ? pt_take_size(most, sizeof(double)) : 0) +
           pt_take_size(pt_place_tables(n, with_slope) * k * PT_EXACT_LANES, sizeof(double));
}

/* All that is wanted of a row; sums are added to what is there.   work [tmp] pt_places_size bytes */
static pt_status pt_places_run(const pt_race *race, const pt_places_want *want, void *work) {
    const int64_t n = race->n, most = PT_EXACT_LANES * (n > PT_EXACT_LANES ? n : PT_EXACT_LANES);
    const double up = pt_reach_above(race->kind);
    pt_places p = { .want = want };
    char *at = work;
    int64_t *order = pt_take(&at, n, sizeof *order), *spare = pt_take(&at, n, sizeof *spare);
    double *key = pt_take(&at, n, sizeof *key);
    p.with_slope = want->vjp != NULL;
    p.with_second = want->jvp != NULL;
    p.with_special = p.with_slope || p.with_second;
    p.item = pt_take(&at, n, sizeof *p.item);
    p.u = pt_take(&at, most, sizeof(double));
    p.above = pt_take(&at, most, sizeof(double));
    p.below = pt_take(&at, most, sizeof(double));
    p.density = pt_take(&at, most, sizeof(double));
    p.special = pt_take(&at, most, sizeof(double));
    p.slope = p.with_slope ? pt_take(&at, most, sizeof(double)) : NULL;
    p.tables = (double *)(void *)at;
    for (int64_t j = 0; j < n; j++) {
        order[j] = j;
        key[j] = race->theta[j] + up * race->width[j];
    }
    pt_place_sort(key, n, order, spare);
    pt_status status = PT_OK;
    for (int64_t first = 0; first < n && first < want->k && status == PT_OK;) {
        pt_cluster c = pt_next_cluster(race, order, first);
        first = c.last;
        status = pt_place_cluster(race, order, &c, &p);
    }
    return status;
}

#endif
