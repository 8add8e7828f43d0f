/* grid_path: heaviest path across an h x w grid of node scores (4 or 8 neighbours), costs clipped at 0.
 *   ints       {neighbors}: 4 or 8
 *   arrays     const int64_t*: the source [0] and the target [1] of each row, as cells r * w + c
 *   code       bit v is set if the path visits cell v; both ends included, source = target is the one cell
 *
 * Entering v costs c[v] = max(-theta[v], 0): inf where closed. The cost of a walk is summed from the source on, rounded
 * at each step. Rounded addition is monotone and c >= 0, so a circle never pays, and the least cost D of a walk obeys
 *     D[source] = c[source],   D[v] = min over neighbours u of fl(D[u] + c[v]).                                   (1)
 * Relaxation in any order ends there: a value kept is always the cost of a walk, so not below D, and once no step
 * improves any value, induction along a walk shows that none is above that walk's cost. D's bits depend on no order.
 *
 * Tie rule. u is tight for v if fl(D[u] + c[v]) = D[v] < inf. The answer is a path of tight steps, that is, one of
 * which each beginning is a cheapest path to its own end; among those the one with the fewest cells; among those, seen
 * from the target back, the first predecessor in the order up, left, right, down, up-left, up-right, down-left,
 * down-right. Tight paths exist: a tree of Dijkstra's algorithm is made of tight steps.
 * A breadth-first search from the target back over tight steps, predecessors in that order, finds it: its queue holds
 * the cells of a level in the order of their first shortest paths, so a cell is reached by its first one. With H[v] the
 * fewest tight steps from the source, that path goes from v to the first tight u with H[u] = H[v] - 1.
 * The answer has no chord: were v_i and v_j neighbours with j > i + 1, then D[v_i] <= D[v_(j-1)] and (1) would make
 * v_i tight for v_j, so j = H[v_j] <= i + 1. So the set of visited cells and its ends give the order of the cells. */
#ifndef PT_REAL
#error "grid_path.tmpl.h: define PT_REAL, PT_SBITS, PT_INFINITY and PT_NAME first"
#endif
#include <assert.h>
#include <float.h>

#define GRID_SHIFT 4      /* PT_LANES = 1 << GRID_SHIFT */
#define GRID_PASSES 128   /* over the grid, or as much work in parts, before Dijkstra takes over */
#define GRID_POLL 1000000 /* relaxations between two questions to group->stop */
#define GRID_BLOCK 4      /* cells of one vector loop */
#define GRID_FEW 2 /* so few draws of so large a grid: Dijkstra at once, lanes would stay empty */
#define GRID_LARGE 16384
#define GRID_HUGE                                                                                  \
    1048576 /* cells from which so few draws do not lie in lanes: their memory would be PT_LANES times as much */

typedef struct {
    int32_t first, end; /* columns first <= j < end; may stick out of the grid */
} PT_NAME(grid_span);

/* The grid and the scratch of one call. Cell (r, c) is v = r * w + c, and p = (r + 1) * pitch + c + 1 in arrays with a
 * border (pitch = w + 1: the border right of one row is the border left of the next). */
typedef struct {
    int64_t h, w, pitch, cells; /* cells: of an array with border */
    int dirs;                   /* 4 or 8 */
    int64_t step[8];            /* to a neighbour, in p */
    int64_t end[2][PT_LANES];   /* p of the source and the target of each lane */
    const pt_group *group;
    int shift; /* PT_LANES = 1 << shift lie side by side in theta and dist; or 0, one alone */
    const PT_REAL *theta; /* h * w x PT_LANES */
    PT_REAL *dist;        /* cells x PT_LANES: D or more; inf on the border */
    PT_REAL *key;         /* h * w: costs in the heap */
    int32_t *cell;        /* cells: p in the heap or in a queue */
    int32_t *mark;        /* cells: where a search has been */
    PT_NAME(grid_span) *
        due[2];   /* h + 2 each; r + 1: what row r is to be relaxed from above, below */
    int64_t work; /* relaxations since the last poll */
} PT_NAME(grid);

/* -c: to subtract it is to add the cost. */
static inline PT_REAL PT_NAME(grid_gain)(PT_REAL theta) {
    return theta < 0 ? theta : 0;
}

static inline int64_t PT_NAME(grid_flat)(const PT_NAME(grid) * g, int64_t p) {
    return p - g->pitch - (uint32_t)p / (uint32_t)g->pitch;
}

/* p of cell v. */
static inline int64_t PT_NAME(grid_place)(const PT_NAME(grid) * g, int64_t v) {
    return v + (uint32_t)v / (uint32_t)g->w + g->pitch + 1;
}

static inline PT_REAL PT_NAME(grid_gain_at)(const PT_NAME(grid) * g, int64_t p, int lane) {
    return PT_NAME(grid_gain)(g->theta[(PT_NAME(grid_flat)(g, p) << g->shift) + lane]);
}

/* p of the source (end = 0) or the target (1) of a row. */
static int64_t PT_NAME(grid_end)(const pt_problem *p, int end, int64_t row) {
    const int64_t v = ((const int64_t *)p->arrays[end].data)[row * p->arrays[end].row_stride];
    assert(v >= 0 && v < p->n);
    return v + v / p->dims[1] + p->dims[1] + 2;
}

static int PT_NAME(grid_idle)(const pt_problem *p, int64_t row, int64_t at[2]) {
    for (int end = 0; end < 2; end++)
        at[end] = ((const int64_t *)p->arrays[end].data)[row * p->arrays[end].row_stride];
    return 2;
}

static size_t PT_NAME(grid_work_size)(const pt_problem *p) {
    const size_t h = (size_t)p->dims[0], w = (size_t)p->dims[1], cells = (h + 2) * (w + 1) + 1;
    return cells * (PT_LANES * sizeof(PT_REAL) + 2 * sizeof(int32_t)) + h * w * sizeof(PT_REAL) +
           2 * (h + 2) * sizeof(PT_NAME(grid_span));
}

/* Lay the grid out over work; without a group for a check. */
static void PT_NAME(grid_open)(const pt_problem *p, const pt_group *group, void *work,
                               PT_NAME(grid) * g) {
    static const int8_t dr[] = { -1, 0, 0, 1, -1, -1, 1, 1 }, dc[] = { 0, -1, 1, 0, -1, 1, -1, 1 };
    g->h = p->dims[0];
    g->w = p->dims[1];
    g->pitch = g->w + 1;
    g->cells = (g->h + 2) * g->pitch + 1;
    g->dirs = (int)p->ints[0];
    for (int k = 0; k < 8; k++)
        g->step[k] = dr[k] * g->pitch + dc[k];
    for (int i = 0; group && group->item_step > 1 && i < 2 * PT_LANES; i++)
        g->end[i / PT_LANES][i % PT_LANES] =
            PT_NAME(grid_end)(p, i / PT_LANES, group->row[i % PT_LANES]);
    g->group = group;
    g->shift = !group || group->item_step == 1 ? 0 : GRID_SHIFT;
    g->theta = group ? group->theta : NULL;
    g->dist = work;
    g->key = g->dist + g->cells * PT_LANES;
    g->cell = (int32_t *)(g->key + p->n);
    g->mark = g->cell + g->cells;
    g->due[0] = (PT_NAME(grid_span) *)(g->mark + g->cells);
    g->due[1] = g->due[0] + g->h + 2;
    g->work = 0;
}

/* Count relaxations. Not 0: the caller is to stop. */
static inline int PT_NAME(grid_stop)(PT_NAME(grid) * g, int64_t count) {
    if ((g->work += count) < GRID_POLL)
        return 0;
    g->work = 0;
    return g->group->stop && g->group->stop(g->group->stop_ctx);
}

/* Relax some cells of a row from another row. This loop and the next run flat over cells and lanes: both gcc and clang
 * then make vector code of them, and keep chains in registers. Both return not 0 if there was an improvement.
 *   d, from, theta [`count` reals]   bound: improvements above it are kept, but not told */
static inline PT_SBITS PT_NAME(grid_across)(PT_REAL *restrict d, const PT_REAL *restrict from,
                                            const PT_REAL *restrict theta, int64_t count,
                                            int diagonal, PT_REAL bound) {
    PT_SBITS any = 0;
    for (int64_t i = 0; i < count; i++) {
        const PT_REAL a = from[i - PT_LANES], b = from[i + PT_LANES], y = a < b ? a : b;
        const PT_REAL x = (diagonal && y < from[i] ? y : from[i]) - PT_NAME(grid_gain)(theta[i]);
        any |= (x < d[i]) & (x <= bound);
        d[i] = x < d[i] ? x : d[i];
    }
    return any;
}

/* Relax `block` cells from column j on (last: where the last block of the row starts), each from the one before it:
 * left to right (side = -1) or right to left (1).   d, theta [the row, at column 0] */
static inline PT_SBITS PT_NAME(grid_chain)(PT_REAL *d, const PT_REAL *restrict theta, int64_t j,
                                           int64_t last, int block, int side) {
    const int64_t start = (j < 0 ? 0 : j < last ? j : last) * PT_LANES;
    PT_SBITS any = 0;
    for (int64_t i = 0; i < block * PT_LANES; i++) {
        const int64_t k = start + (side < 0 ? i : block * PT_LANES - 1 - i);
        const PT_REAL x = d[k + side * PT_LANES] - PT_NAME(grid_gain)(theta[k]), old = d[k];
        any |= x < old;
        d[k] = x < old ? x : old;
    }
    return any;
}

/* Straight walks inside row r from its changed columns first <= j < end, as far as they improve something. Right and
 * left take turns: two chains hide each other's latency. In place is right, as is a block that is shifted to fit into
 * the row: both only add relaxations, and in a row a walk that turns back improves nothing. */
static inline void PT_NAME(grid_along)(PT_NAME(grid) * g, int64_t r, int64_t first, int64_t end,
                                       int block) {
    PT_REAL *d = g->dist + ((r + 1) * g->pitch + 1) * PT_LANES;
    const PT_REAL *theta = g->theta + r * g->w * PT_LANES;
    const int64_t last = g->w - block;
    int64_t right = first, left = end - block;
    PT_SBITS more = 1;
    for (; right < end; right += block, left -= block) {
        PT_NAME(grid_chain)(d, theta, right, last, block, -1);
        PT_NAME(grid_chain)(d, theta, left, last, block, 1);
    }
    for (; more && right < g->w; right += block)
        more = PT_NAME(grid_chain)(d, theta, right, last, block, -1);
    for (more = 1; more && left > -block; left -= block)
        more = PT_NAME(grid_chain)(d, theta, left, last, block, 1);
    for (int i = 0; i < 2; i++) {
        PT_NAME(grid_span) *due = &g->due[i][i ? r : r + 2];
        due->first = left + block < due->first ? (int32_t)(left + block) : due->first;
        due->end = right > due->end ? (int32_t)right : due->end;
    }
}

/* Relax row r where its neighbour at r + side has changed.   bound: see grid_across   Returns the cells relaxed. */
static inline int64_t PT_NAME(grid_row)(PT_NAME(grid) * g, int64_t r, int side, int block,
                                        PT_REAL bound) {
    const int diagonal = g->dirs == 8;
    PT_NAME(grid_span) *due = &g->due[side > 0][r + 1];
    const int64_t first = due->first > diagonal ? due->first - diagonal : 0;
    const int64_t end = due->end + diagonal < g->w ? due->end + diagonal : g->w;
    int64_t changed = end, changed_end = 0;
    *due = (PT_NAME(grid_span)){ INT32_MAX, 0 };
    for (int64_t j = first; j < end; j += block) {
        const int64_t c = j < g->w - block ? j : g->w - block, size = block * PT_LANES;
        const PT_REAL *theta = g->theta + (r * g->w + c) * PT_LANES;
        PT_REAL *d = g->dist + ((r + 1) * g->pitch + 1 + c) * PT_LANES;
        if (!PT_NAME(grid_across)(d, d + side * g->pitch * PT_LANES, theta, size, diagonal, bound))
            continue;
        changed = j < changed ? j : changed;
        changed_end = j + block;
    }
    if (changed < changed_end)
        PT_NAME(grid_along)(g, r, changed, changed_end, block);
    return end - first;
}

/* A pass down and a pass up over the rows that may improve.   Returns the cells relaxed, or -1 to stop. */
static int64_t PT_NAME(grid_sweep)(PT_NAME(grid) * g) {
    int64_t done = 0;
    PT_REAL bound = 0;
    for (int64_t i = 0; i < 2 * g->h; i++) {
        const int side = i < g->h ? -1 : 1;
        const int64_t r = side < 0 ? i : 2 * g->h - 1 - i;
        for (int l = 0; i % g->h == 0 && l < PT_LANES; l++) {
            const PT_REAL x = g->dist[g->end[1][l] * PT_LANES + l];
            bound = l == 0 || bound < x ? x : bound;
        }
        if (g->due[side > 0][r + 1].first >= g->due[side > 0][r + 1].end)
            continue;
        const int64_t cells = g->w < GRID_BLOCK ? PT_NAME(grid_row)(g, r, side, 1, bound)
                                                : PT_NAME(grid_row)(g, r, side, GRID_BLOCK, bound);
        done += cells;
        if (PT_NAME(grid_stop)(g, cells * PT_LANES))
            return -1;
    }
    return done;
}

/* Put (key, p) into a heap of `size` entries, least key first. */
static void PT_NAME(grid_push)(PT_NAME(grid) * g, int64_t size, PT_REAL key, int64_t p) {
    int64_t i = size;
    for (; i > 0 && key < g->key[(i - 1) / 2]; i = (i - 1) / 2) {
        g->key[i] = g->key[(i - 1) / 2];
        g->cell[i] = g->cell[(i - 1) / 2];
    }
    g->key[i] = key;
    g->cell[i] = (int32_t)p;
}

/* Drop the first of `size` entries: its hole sinks to a leaf, where the last entry is put. */
static void PT_NAME(grid_pop)(PT_NAME(grid) * g, int64_t size) {
    const int64_t end = size - 1;
    int64_t i = 0;
    for (int64_t k = 1; k < end; k = 2 * i + 1) {
        k += k + 1 < end && g->key[k + 1] < g->key[k];
        g->key[i] = g->key[k];
        g->cell[i] = g->cell[k];
        i = k;
    }
    PT_NAME(grid_push)(g, i, g->key[end], g->cell[end]);
}

/* mark = 1 on the border and in closed cells, 0 elsewhere.   theta [cell v at v * stride] */
static void PT_NAME(grid_walls)(PT_NAME(grid) * g, const PT_REAL *theta, int64_t stride) {
    for (int64_t p = 0; p < g->cells; p++)
        g->mark[p] = 1;
    for (int64_t v = 0; v < g->h * g->w; v++)
        g->mark[PT_NAME(grid_place)(g, v)] = theta[v * stride] == -PT_INFINITY;
}

/* Dijkstra from scratch on one lane, for all cells not above the target. All steps into a cell cost the same, so the
 * first neighbour taken from the heap gives a cell its least cost: each is pushed once.   Not 0: stop. */
static int PT_NAME(grid_dijkstra)(PT_NAME(grid) * g, int lane) {
    const int64_t source = g->end[0][lane], target = g->end[1][lane];
    PT_REAL *dist = g->dist + lane;
    const int shift = g->shift;
    int64_t size = 0, stop = 0;
    PT_NAME(grid_walls)(g, g->theta + lane, 1 << shift);
    PT_NAME(grid_push)(g, size++, dist[source << shift], source);
    for (int64_t p = 0; p < g->cells; p++)
        dist[p << shift] = p == source ? g->key[0] : PT_INFINITY;
    g->mark[source] = 1;
    while (!stop && size > 0 && g->key[0] <= dist[target << shift]) {
        const PT_REAL d = g->key[0];
        const int64_t p = g->cell[0];
        PT_NAME(grid_pop)(g, size--);
        for (int k = 0; k < g->dirs; k++) {
            const int64_t u = p + g->step[k];
            if (g->mark[u])
                continue;
            g->mark[u] = 1;
            dist[u << shift] = d - PT_NAME(grid_gain_at)(g, u, lane);
            PT_NAME(grid_push)(g, size++, dist[u << shift], u);
        }
        stop = PT_NAME(grid_stop)(g, g->dirs);
    }
    return stop != 0;
}

/* D of all lanes where it is not above the target's; elsewhere dist stays above that. A tight predecessor costs no more
 * than its cell: nothing else counts, and improvements above the target's present cost need not travel.   Not 0: stop. */
static int PT_NAME(grid_costs)(PT_NAME(grid) * g) {
    const int few = g->group->n_draws <= GRID_FEW && g->h * g->w >= GRID_LARGE;
    int64_t budget = few ? 0 : GRID_PASSES * g->h * g->w, done = 1;
    for (int64_t i = 0; i < g->cells * PT_LANES; i++)
        g->dist[i] = PT_INFINITY;
    for (int64_t r = 0; r < g->h + 2; r++)
        g->due[0][r] = g->due[1][r] = (PT_NAME(grid_span)){ INT32_MAX, 0 };
    for (int l = 0; l < PT_LANES; l++)
        g->dist[g->end[0][l] * PT_LANES + l] = 0 - PT_NAME(grid_gain_at)(g, g->end[0][l], l);
    for (int l = 0; l < PT_LANES; l++) {
        const int64_t p = g->end[0][l], r = p / g->pitch - 1, c = p % g->pitch - 1;
        if (l == 0 || p != g->end[0][l - 1])
            PT_NAME(grid_along)(g, r, c, c + 1, g->w < GRID_BLOCK ? 1 : GRID_BLOCK);
    }
    for (; done > 0 && budget > 0; budget -= done)
        done = PT_NAME(grid_sweep)(g);
    for (int l = 0; l < g->group->n_draws && done > 0; l++)
        done = PT_NAME(grid_dijkstra)(g, l) ? -1 : done;
    return done < 0;
}

/* Mark the path of one lane in code: search back from the target, in the order of the tie rule. Little besides the
 * path and its plateaus is seen.   g->mark [0 before and after]   Not 0: stop. */
static int PT_NAME(grid_trace)(PT_NAME(grid) * g, int lane, int32_t *code) {
    const PT_REAL *dist = g->dist + lane;
    const int64_t source = g->end[0][lane], target = g->end[1][lane];
    const int shift = g->shift;
    int64_t size = 1;
    g->cell[0] = g->mark[target] = (int32_t)target;
    for (int64_t i = 0; g->mark[source] == 0; i++) {
        const int64_t p = g->cell[i];
        const PT_REAL d = dist[p << shift], gain = PT_NAME(grid_gain_at)(g, p, lane);
        assert(i < size);
        /* Write always, count where it is so: a branch here would be hard to predict. */
        for (int k = 0; k < g->dirs; k++) {
            const int64_t u = p + g->step[k];
            const int fresh = (g->mark[u] == 0) & (dist[u << shift] - gain == d);
            g->mark[u] = fresh ? (int32_t)p : g->mark[u];
            g->cell[size] = (int32_t)u;
            size += fresh;
        }
    }
    for (int64_t p = source, before = 0; p != before; before = p, p = g->mark[p]) {
        const int64_t v = PT_NAME(grid_flat)(g, p);
        code[v / 32] |= (int32_t)((uint32_t)1 << v % 32);
    }
    for (int64_t i = 0; i < size; i++)
        g->mark[g->cell[i]] = 0;
    return PT_NAME(grid_stop)(g, size * g->dirs);
}

static pt_status PT_NAME(grid_prepare)(pt_problem *p, pt_error *err) {
    if (p->n_ints != 1 || (p->ints[0] != 4 && p->ints[0] != 8))
        return pt_fail(err, PT_E_VALUE, -1, "neighbors must be 4 or 8");
    if (p->n_dims != 2 || p->dims[0] < 1 || p->dims[1] < 1)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have items of shape (h, w) with h, w >= 1");
    const long long h = p->dims[0], w = p->dims[1];
    size_t bytes; /* of the scratch or more: p fits int32, and work_size size_t */
    if (h + 2 > INT32_MAX / 2 / (w + 1) || !pt_mul_size((h + 2) * (w + 2), 256, &bytes))
        return pt_fail(err, PT_E_VALUE, -1, "theta has too many cells: %lld x %lld", h, w);
    p->y_size = p->n;
    p->code_len = (p->n + 31) / 32;
    p->code_kind = PT_CODE_BITS;
    p->lanes = PT_LANES;
    p->lanes_from = p->n < GRID_HUGE ? 0 : GRID_FEW + 1;
    p->open_is_right = 1;
    p->moves = PT_MOVES_THRESHOLD;
    p->moves_lanes = PT_LANES;
    p->linear = p->clipped = 1;
    p->sign = 1;
    p->code_step = p->top = p->no_neg_inf = p->serial = 0;
    return PT_OK;
}

/* Breadth-first search over open cells, where a row has closed ones. */
static pt_status PT_NAME(grid_check)(const pt_problem *p, int64_t row, const void *theta,
                                     void *work, pt_error *err) {
    const PT_REAL *t = theta;
    const int64_t end[2] = { PT_NAME(grid_end)(p, 0, row), PT_NAME(grid_end)(p, 1, row) };
    long long at[4]; /* row and column of the source, of the target */
    int64_t size = 0, open = 0;
    PT_NAME(grid) g;
    while (open < p->n && t[open] > -PT_INFINITY)
        open++;
    if (open == p->n)
        return PT_OK;
    PT_NAME(grid_open)(p, NULL, work, &g);
    PT_NAME(grid_walls)(&g, t, 1);
    for (int i = 0; i < 2; i++) {
        at[2 * i] = end[i] / g.pitch - 1;
        at[2 * i + 1] = end[i] % g.pitch - 1;
        if (g.mark[end[i]])
            return pt_fail(err, PT_E_INFEASIBLE, row, "%s (%lld, %lld) is closed (-inf)",
                           i ? "target" : "source", at[2 * i], at[2 * i + 1]);
    }
    g.mark[end[0]] = 1;
    g.cell[size++] = (int32_t)end[0];
    for (int64_t i = 0; i < size && !g.mark[end[1]]; i++)
        for (int k = 0; k < g.dirs; k++) {
            const int64_t u = g.cell[i] + g.step[k];
            g.cell[size] = (int32_t)u;
            size += !g.mark[u];
            g.mark[u] = 1;
        }
    if (g.mark[end[1]])
        return PT_OK;
    return pt_fail(err, PT_E_INFEASIBLE, row,
                   "no path from source (%lld, %lld) to target (%lld, %lld)", at[0], at[1], at[2],
                   at[3]);
}

/* Mark the path of a lane whose costs are there. */
static pt_status PT_NAME(grid_path_of)(PT_NAME(grid) * g, int lane, int64_t row, int32_t *code,
                                       pt_error *err) {
    if (!(g->dist[(g->end[1][lane] << g->shift) + lane] < PT_INFINITY))
        return pt_fail(err, PT_E_INFEASIBLE, row, "the cost of the path overflows");
    return PT_NAME(grid_trace)(g, lane, code) ? PT_E_STOPPED : PT_OK;
}

/* Draws that lie one after the other. */
static pt_status PT_NAME(grid_solve_each)(const pt_problem *p, PT_NAME(grid) * g, int32_t *code,
                                          pt_error *err) {
    const pt_group *group = g->group;
    pt_status status = PT_OK;
    for (int64_t d = 0; d < group->n_draws && status == PT_OK; d++) {
        g->theta = (const PT_REAL *)group->theta + d * group->draw_step;
        for (int i = 0; i < 2; i++)
            g->end[i][0] = PT_NAME(grid_end)(p, i, group->row[d]);
        g->dist[g->end[0][0]] = 0 - PT_NAME(grid_gain_at)(g, g->end[0][0], 0);
        if (PT_NAME(grid_dijkstra)(g, 0))
            return PT_E_STOPPED;
        memset(g->mark, 0, (size_t)g->cells * sizeof *g->mark);
        status = PT_NAME(grid_path_of)(g, 0, group->row[d], code + d * p->code_len, err);
    }
    return status;
}

static pt_status PT_NAME(grid_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                     void *work, pt_error *err) {
    pt_status status = PT_OK;
    PT_NAME(grid) g;
    PT_NAME(grid_open)(p, group, work, &g);
    memset(code, 0, (size_t)(group->n_draws * p->code_len) * sizeof *code);
    if (g.shift == 0)
        return PT_NAME(grid_solve_each)(p, &g, code, err);
    assert(group->item_step == PT_LANES && group->draw_step == 1 && group->n_draws <= PT_LANES);
    if (PT_NAME(grid_costs)(&g))
        return PT_E_STOPPED;
    memset(g.mark, 0, (size_t)g.cells * sizeof *g.mark);
    for (int l = 0; l < group->n_draws && status == PT_OK; l++)
        status = PT_NAME(grid_path_of)(&g, l, group->row[l], code + l * p->code_len, err);
    return status;
}

#include "grid_thresholds.tmpl.h"

static const pt_solver PT_NAME(grid_path) = {
    .name = "grid_path",
    .prepare = PT_NAME(grid_prepare),
    .check = PT_NAME(grid_check),
    .work_size = PT_NAME(grid_work_size),
    .solve = PT_NAME(grid_solve),
    .idle = PT_NAME(grid_idle),
    .thresholds = PT_NAME(grid_thresholds),
    .thresholds_size = PT_NAME(grid_thresholds_size),
};
