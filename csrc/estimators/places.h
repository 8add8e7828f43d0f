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
 * Tables of all places: place_tables.h. Where only the first k together count: top_tables.h.
 *
 * Nodes are the points of a trapezoidal rule, whose error falls exponentially for such integrands: an entry is seen only
 * by nodes within its reach, and entries far apart fall into clusters, each with its own origin. */
#ifndef PT_PLACES_H
#define PT_PLACES_H

#include "place_tables.h"
#include "top_tables.h"

#define PT_PLACE_STEPS 7     /* of a bisection */
#define PT_PLACE_SCAN 400    /* points at most at which the spread of places is looked at */
#define PT_PLACE_LOOSER 1.25 /* between nodes, where results are floats */

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

/* Whether P(N <= most) is below PT_MASS (PT_COARSE_MASS) for a count N of this mean and variance: by Bernstein's bound, or
 * by Chernoff's for a Poisson count, exp(most - mean + most log(mean / most)). */
static int pt_place_hopeless(const pt_race *race, double most, double mean, double variance) {
    const double beyond = mean - most - 1, needed = race->coarse ? 28 : 48.5;
    if (!(beyond > 0))
        return 0;
    const double poisson = most > 0 ? most * log_f64(mean / most) : 0;
    return beyond * beyond > 2 * needed * (variance + beyond / 3) || mean - most - poisson > needed;
}

/* About the x up to which (from low on) the count of entries above is at least this, or is hopeless for `most` places. */
static double pt_place_level(const pt_race *race, const int64_t *order, const pt_cluster *c,
                             pt_places *p, double least, double most) {
    double low = c->low, high = c->high;
    for (int step = 0; step < PT_PLACE_STEPS; step++) {
        const double x = 0.5 * (low + high);
        double count, variance, density;
        pt_place_scan(race, order, c, p, x, &count, &variance, &density);
        if (most < 0 ? count >= least : pt_place_hopeless(race, most, count, variance))
            low = x;
        else
            high = x;
    }
    return most < 0 ? high : low;
}

/* Spacing of nodes: what the narrowest noise asks for, and what the places do: where the count changes with x at a rate of
 * sum f, a place is sqrt(1 + sum p (1 - p)) / sum f wide. Moves c->low up to where no more than the wanted places lie
 * above. */
static double pt_place_spacing(const pt_race *race, const int64_t *order, pt_cluster *c,
                               pt_places *p, int64_t places) {
    const double widest = race->kind == PT_NORMAL ? 0.36 : race->kind == PT_GUMBEL ? 0.25 : 0.4;
    const double looser = race->coarse ? PT_PLACE_LOOSER : 1, k = (double)places;
    double spacing = widest * looser * race->narrowest;
    if (c->last - c->first > places) /* else none is ever hopeless */
        c->low = pt_place_level(race, order, c, p, 0, k - 1);
    const double top = pt_place_level(race, order, c, p, 0.25, -1);
    const double steps = (top - c->low) / (0.7 * race->narrowest);
    const int points = steps < 8 ? 8 : steps < PT_PLACE_SCAN ? (int)steps : PT_PLACE_SCAN;
    for (int q = 0; q <= points; q++) {
        double count, variance, density;
        pt_place_scan(race, order, c, p, top + (c->low - top) * q / points, &count, &variance,
                      &density);
        if (density > 0 && count < k + 1 + (race->coarse ? 2 : 3) * __builtin_sqrt(variance)) {
            const double wide = 0.62 * looser * __builtin_sqrt(1 + variance) / density;
            spacing = wide < spacing ? wide : spacing;
        }
    }
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
    const double up = pt_reach_above(race), down = pt_reach_below(race);
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
    const double up = pt_reach_above(race), down = pt_reach_below(race);
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
            (want->ordered ? pt_place_all : pt_top_all)(p);
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
           pt_take_size((pt_place_tables(n, with_slope) + pt_top_tables(n)) * k * PT_EXACT_LANES,
                        sizeof(double));
}

/* All that is wanted of a row; sums are added to what is there.   work [tmp] pt_places_size bytes */
static pt_status pt_places_run(const pt_race *race, const pt_places_want *want, void *work) {
    const int64_t n = race->n, most = PT_EXACT_LANES * (n > PT_EXACT_LANES ? n : PT_EXACT_LANES);
    const double up = pt_reach_above(race);
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
