/* grid_path: heaviest path across an h x w grid of node scores (4 or 8 neighbours), costs clipped at 0.
 *
 *   ints       {neighbors}: 4 or 8
 *   arrays[0]  const int64_t*: source cell r * w + c of each row
 *   arrays[1]  const int64_t*: target cell of each row
 *   code       bit v is set if the path visits cell v; both ends included, source = target is the one cell
 *
 * Entering v costs c[v] = max(-theta[v], 0): inf where closed. The cost of a walk is summed from the source on, rounded
 * at each step. Rounded addition is monotone and c >= 0, so fl(a + c) >= a, and a + c <= b + c where a <= b. Hence the
 * least cost D[v] of a walk from the source to v satisfies
 *     D[source] = c[source],   D[v] = min over neighbours u of fl(D[u] + c[v])                                    (1)
 * and relaxation in any order ends there: values kept are always costs of walks, so never below D, and once no edge
 * improves any of them, induction along a walk bounds each by that walk's cost. The bits of D depend on no order.
 *
 * Tie rule. u is tight for v if fl(D[u] + c[v]) = D[v]. The answer is a path of tight steps (each beginning of it is a
 * cheapest path to its own end); among those the one with the fewest cells; among those, seen from the target back,
 * the first predecessor in the order of `grid_dr`, `grid_dc`: up, left, right, down, then up-left, up-right, down-left,
 * down-right. Tight paths exist: Dijkstra's tree is made of tight steps.
 * With H[v] the fewest tight steps from the source, the answer takes from v the first tight u with H[u] = H[v] - 1. If
 * v has one tight predecessor, that is it: H is needed only from the first cell with several, and a walk without H ends
 * because H falls at each step, also where costs are 0.
 * The answer is chordless: if v_i, v_j were neighbours with j > i + 1, then D[v_i] <= D[v_(j-1)] and (1) make v_i tight
 * for v_j, so H[v_j] <= i + 1 < j. So the set of visited cells and the ends give the order of the cells. */
#ifndef PT_REAL
#error "grid_path.tmpl.h: define PT_REAL, PT_F64 and PT_NAME first"
#endif
#include <assert.h>

/* Passes over the whole grid (or as much work in parts) before unfinished lanes go to Dijkstra. */
#define GRID_PASSES 128
/* Relaxations between two questions to group->stop. */
#define GRID_POLL 1000000
/* Cells relaxed by one call of a vector loop. */
#define GRID_BLOCK 4

/* A truth value as wide as PT_REAL, so that a vector loop has one width. */
#if PT_F64
typedef int64_t PT_NAME(grid_flag);
#else
typedef int32_t PT_NAME(grid_flag);
#endif

/* Columns first <= j < end of a row that changed since a neighbouring row was relaxed from it. */
typedef struct {
    int32_t first, end;
} PT_NAME(grid_span);

/* The grid and the scratch of one call. Cells have two numbers: v = r * w + c, and p = (r + 1) * pitch + c + 1 in
 * arrays with a border (pitch = w + 1: the border right of one row is the border left of the next). */
typedef struct {
    int64_t h, w, pitch, cells;  /* cells: size of a bordered array */
    int dirs;                    /* 4 or 8 */
    int64_t step[8], step_p[8];  /* to a neighbour, in v and in p */
    PT_REAL *dist;               /* cells x PT_LANES: upper bounds of D, inf on the border */
    PT_REAL *key;                /* h * w: costs in the heap */
    int32_t *cell;               /* h * w: cells in the heap, or a queue */
    int32_t *level;              /* cells: 1 + steps of a search, 0 where it has not been */
    PT_NAME(grid_span) * due[2]; /* h + 2 each: of the row above (0), below (1) row r at r + 1 */
    const PT_REAL *theta;        /* the group's, h * w x PT_LANES */
    int64_t work;                /* relaxations since the last poll */
} PT_NAME(grid);
static const int8_t PT_NAME(grid_dr)[8] = { -1, 0, 0, 1, -1, -1, 1, 1 };
static const int8_t PT_NAME(grid_dc)[8] = { 0, -1, 1, 0, -1, 1, -1, 1 };

static inline PT_REAL PT_NAME(grid_inf)(void) {
    PT_REAL x;
#if PT_F64
    const uint64_t bits = 0x7ff0000000000000u;
#else
    const uint32_t bits = 0x7f800000u;
#endif
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* -c: subtracting it adds the cost. */
static inline PT_REAL PT_NAME(grid_gain)(PT_REAL theta) {
    return theta < 0 ? theta : 0;
}

/* Next slice of `bytes` bytes, 64-byte aligned, at *offset of work. */
static void *PT_NAME(grid_slice)(void *work, size_t *offset, int64_t count, size_t size) {
    void *slice = work ? (char *)work + *offset : NULL;
    *offset += ((size_t)count * size + 63) / 64 * 64;
    return slice;
}

/* Lay out the grid over work; work = NULL: only count. Returns the bytes needed. */
static size_t PT_NAME(grid_open)(const pt_problem *p, void *work, PT_NAME(grid) * g) {
    size_t offset = 0;
    g->h = p->dims[0];
    g->w = p->dims[1];
    g->pitch = g->w + 1;
    g->cells = (g->h + 2) * g->pitch + 1;
    g->dirs = (int)p->ints[0];
    g->work = 0;
    for (int k = 0; k < 8; k++) {
        g->step[k] = PT_NAME(grid_dr)[k] * g->w + PT_NAME(grid_dc)[k];
        g->step_p[k] = PT_NAME(grid_dr)[k] * g->pitch + PT_NAME(grid_dc)[k];
    }
    g->dist = PT_NAME(grid_slice)(work, &offset, g->cells * PT_LANES, sizeof(PT_REAL));
    g->key = PT_NAME(grid_slice)(work, &offset, p->n, sizeof(PT_REAL));
    g->cell = PT_NAME(grid_slice)(work, &offset, p->n, sizeof(int32_t));
    g->level = PT_NAME(grid_slice)(work, &offset, g->cells, sizeof(int32_t));
    for (int i = 0; i < 2; i++)
        g->due[i] = PT_NAME(grid_slice)(work, &offset, g->h + 2, sizeof *g->due[i]);
    return offset;
}

static int64_t PT_NAME(grid_end)(const pt_problem *p, int end, int64_t row) {
    const int64_t v = ((const int64_t *)p->arrays[end].data)[row * p->arrays[end].row_stride];
    assert(v >= 0 && v < p->n);
    return v;
}

static int64_t PT_NAME(grid_bordered)(const PT_NAME(grid) * g, int64_t v) {
    return v + v / g->w + g->pitch + 1;
}

/* Neighbour k of cell v = (r, c), or -1 outside the grid. */
static inline int64_t PT_NAME(grid_neighbor)(const PT_NAME(grid) * g, int64_t r, int64_t c, int k) {
    const int64_t r2 = r + PT_NAME(grid_dr)[k], c2 = c + PT_NAME(grid_dc)[k];
    return r2 >= 0 && r2 < g->h && c2 >= 0 && c2 < g->w ? r2 * g->w + c2 : -1;
}

/* Count `count` relaxations; 1 if the caller is to stop. */
static inline int PT_NAME(grid_stop)(PT_NAME(grid) * g, const pt_group *group, int64_t count) {
    g->work += count;
    if (g->work < GRID_POLL)
        return 0;
    g->work = 0;
    return group->stop && group->stop(group->stop_ctx);
}

/* Relax cells from the row above or below. The three loops below are flat over cells and lanes, so that they become
 * vector code under gcc and clang alike.
 *   d      [in, out]  count reals of the row
 *   from   [in]       the same columns of the other row
 *   bound  [in]       improvements above this are kept, but not told
 * Return not 0 if there was an improvement. */
static inline PT_NAME(grid_flag)
    PT_NAME(grid_across)(PT_REAL *restrict d, const PT_REAL *restrict from,
                         const PT_REAL *restrict theta, int64_t count, int diagonal,
                         PT_REAL bound) {
    PT_NAME(grid_flag) any = 0;
    for (int64_t i = 0; i < count; i++) {
        PT_REAL x = from[i];
        if (diagonal) {
            const PT_REAL a = from[i - PT_LANES], b = from[i + PT_LANES], y = a < b ? a : b;
            x = x < y ? x : y;
        }
        x -= PT_NAME(grid_gain)(theta[i]);
        const PT_REAL old = d[i];
        any |= (x < old) & (x <= bound);
        d[i] = x < old ? x : old;
    }
    return any;
}

/* The same from the cell on the left, left to right. */
static inline PT_NAME(grid_flag)
    PT_NAME(grid_right)(PT_REAL *d, const PT_REAL *restrict theta, int64_t count) {
    PT_NAME(grid_flag) any = 0;
    for (int64_t i = 0; i < count; i++) {
        const PT_REAL x = d[i - PT_LANES] - PT_NAME(grid_gain)(theta[i]), old = d[i];
        any |= x < old;
        d[i] = x < old ? x : old;
    }
    return any;
}

/* The same from the cell on the right, right to left. */
static inline PT_NAME(grid_flag)
    PT_NAME(grid_left)(PT_REAL *d, const PT_REAL *restrict theta, int64_t count) {
    PT_NAME(grid_flag) any = 0;
    for (int64_t i = count - 1; i >= 0; i--) {
        const PT_REAL x = d[i + PT_LANES] - PT_NAME(grid_gain)(theta[i]), old = d[i];
        any |= x < old;
        d[i] = x < old ? x : old;
    }
    return any;
}

static inline int PT_NAME(grid_step_right)(const PT_NAME(grid) * g, PT_REAL *d, const PT_REAL *t,
                                           int64_t j) {
    d += j * PT_LANES;
    t += j * PT_LANES;
    if (g->w - j >= GRID_BLOCK)
        return PT_NAME(grid_right)(d, t, GRID_BLOCK * PT_LANES) != 0;
    return PT_NAME(grid_right)(d, t, (g->w - j) * PT_LANES) != 0;
}

static inline int PT_NAME(grid_step_left)(PT_REAL *d, const PT_REAL *t, int64_t j) {
    if (j >= GRID_BLOCK)
        return PT_NAME(grid_left)(d + (j - GRID_BLOCK) * PT_LANES, t + (j - GRID_BLOCK) * PT_LANES,
                                  GRID_BLOCK * PT_LANES) != 0;
    return PT_NAME(grid_left)(d, t, j * PT_LANES) != 0;
}

static inline void PT_NAME(grid_widen)(PT_NAME(grid_span) * span, int64_t first, int64_t end) {
    span->first = first < span->first ? (int32_t)first : span->first;
    span->end = end > span->end ? (int32_t)end : span->end;
}

/* Straight walks inside row r from its changed columns first <= j < end, as far as they improve something; both ways
 * at once, so that two chains hide each other's latency. In place is right: that only adds walks that turn back, and
 * those cost no less. */
static void PT_NAME(grid_along)(PT_NAME(grid) * g, int64_t r, int64_t first, int64_t end) {
    PT_REAL *d = g->dist + ((r + 1) * g->pitch + 1) * PT_LANES;
    const PT_REAL *t = g->theta + r * g->w * PT_LANES;
    int64_t right = first, left = end;
    int more_right = 1, more_left = 1;
    for (; right < end; right += GRID_BLOCK, left -= GRID_BLOCK) {
        PT_NAME(grid_step_right)(g, d, t, right);
        PT_NAME(grid_step_left)(d, t, left);
    }
    for (; right < g->w && more_right; right += GRID_BLOCK)
        more_right = PT_NAME(grid_step_right)(g, d, t, right);
    for (; left > 0 && more_left; left -= GRID_BLOCK)
        more_left = PT_NAME(grid_step_left)(d, t, left);
    right = right < g->w ? right : g->w;
    left = left > 0 ? left : 0;
    PT_NAME(grid_widen)(&g->due[0][r + 2], left, right);
    PT_NAME(grid_widen)(&g->due[1][r], left, right);
}

/* Relax row r where its neighbour at r + side has changed.   Returns the cells relaxed. */
static inline int64_t PT_NAME(grid_row)(PT_NAME(grid) * g, int64_t r, int side, int diagonal,
                                        PT_REAL bound) {
    PT_NAME(grid_span) *due = &g->due[side > 0][r + 1];
    PT_REAL *d = g->dist + ((r + 1) * g->pitch + 1) * PT_LANES;
    const PT_REAL *from = d + side * g->pitch * PT_LANES, *t = g->theta + r * g->w * PT_LANES;
    const int64_t first = due->first > diagonal ? due->first - diagonal : 0;
    const int64_t end = due->end + diagonal < g->w ? due->end + diagonal : g->w;
    int64_t changed = -1, changed_end = 0;
    due->first = INT32_MAX;
    due->end = 0;
    for (int64_t j = first; j < end; j += GRID_BLOCK) {
        const int64_t i = j * PT_LANES;
        PT_NAME(grid_flag) any;
        if (g->w - j >= GRID_BLOCK)
            any = PT_NAME(grid_across)(d + i, from + i, t + i, GRID_BLOCK * PT_LANES, diagonal,
                                       bound);
        else
            any = PT_NAME(grid_across)(d + i, from + i, t + i, (g->w - j) * PT_LANES, diagonal,
                                       bound);
        if (any) {
            changed = changed < 0 ? j : changed;
            changed_end = j + GRID_BLOCK;
        }
    }
    if (changed >= 0)
        PT_NAME(grid_along)(g, r, changed, changed_end < g->w ? changed_end : g->w);
    return end - first;
}

/* One pass over the rows that may improve from their neighbour at row + side (-1: downwards, 1: upwards).
 * Returns the cells relaxed, or -1 if the caller is to stop. */
static int64_t PT_NAME(grid_pass)(PT_NAME(grid) * g, const pt_group *group, const int64_t *target,
                                  int side) {
    const PT_NAME(grid_span) *due = g->due[side > 0];
    PT_REAL bound = 0;
    int64_t done = 0;
    for (int l = 0; l < PT_LANES; l++) {
        const PT_REAL d = g->dist[target[l] * PT_LANES + l];
        bound = bound < d ? d : bound;
    }
    for (int64_t i = 0; i < g->h; i++) {
        const int64_t r = side < 0 ? i : g->h - 1 - i;
        if (due[r + 1].first >= due[r + 1].end)
            continue;
        const int64_t cells = g->dirs == 8 ? PT_NAME(grid_row)(g, r, side, 1, bound)
                                           : PT_NAME(grid_row)(g, r, side, 0, bound);
        done += cells;
        if (PT_NAME(grid_stop)(g, group, cells * PT_LANES))
            return -1;
    }
    return done;
}

/* A heap of (key, cell), least key first. */
static void PT_NAME(grid_push)(PT_NAME(grid) * g, int64_t size, PT_REAL key, int64_t v) {
    int64_t i = size;
    for (; i > 0 && key < g->key[(i - 1) / 2]; i = (i - 1) / 2) {
        g->key[i] = g->key[(i - 1) / 2];
        g->cell[i] = g->cell[(i - 1) / 2];
    }
    g->key[i] = key;
    g->cell[i] = (int32_t)v;
}

/* Drop the first of `size` entries. */
static void PT_NAME(grid_pop)(PT_NAME(grid) * g, int64_t size) {
    const PT_REAL key = g->key[size - 1];
    const int32_t v = g->cell[size - 1];
    int64_t i = 0;
    for (int64_t child = 1; child < size - 1; child = 2 * i + 1) {
        if (child + 1 < size - 1 && g->key[child + 1] < g->key[child])
            child++;
        if (!(g->key[child] < key))
            break;
        g->key[i] = g->key[child];
        g->cell[i] = g->cell[child];
        i = child;
    }
    g->key[i] = key;
    g->cell[i] = v;
}

/* Dijkstra from scratch on one lane, for all cells not above the target.   source [v], target [p]
 * All steps into a cell cost the same, so the
 * first neighbour taken from the heap gives its least cost: each cell is pushed once. Returns 1 to stop. */
static int PT_NAME(grid_dijkstra)(PT_NAME(grid) * g, const pt_group *group, int lane,
                                  int64_t source, int64_t target) {
    const PT_REAL *theta = (const PT_REAL *)group->theta + lane;
    PT_REAL *dist = g->dist + lane;
    const PT_REAL inf = PT_NAME(grid_inf)();
    int64_t size = 1;
    for (int64_t p = 0; p < g->cells; p++)
        dist[p * PT_LANES] = inf;
    g->key[0] = 0 - PT_NAME(grid_gain)(theta[source * PT_LANES]);
    g->cell[0] = (int32_t)source;
    dist[PT_NAME(grid_bordered)(g, source) * PT_LANES] = g->key[0];
    while (size > 0 && g->key[0] <= dist[target * PT_LANES]) {
        const PT_REAL d = g->key[0];
        const int64_t v = g->cell[0], r = v / g->w, c = v % g->w, p = v + r + g->pitch + 1;
        PT_NAME(grid_pop)(g, size--);
        for (int k = 0; k < g->dirs; k++) {
            const int64_t v2 = PT_NAME(grid_neighbor)(g, r, c, k), p2 = p + g->step_p[k];
            if (v2 < 0 || dist[p2 * PT_LANES] < inf)
                continue;
            const PT_REAL x = d - PT_NAME(grid_gain)(theta[v2 * PT_LANES]);
            if (!(x < inf))
                continue;
            dist[p2 * PT_LANES] = x;
            PT_NAME(grid_push)(g, size++, x, v2);
        }
        if (PT_NAME(grid_stop)(g, group, g->dirs))
            return 1;
    }
    return 0;
}

/* Does no step improve a lane where it matters?   target [p] */
static int PT_NAME(grid_settled)(const PT_NAME(grid) * g, int lane, int64_t target) {
    const PT_REAL *dist = g->dist + lane, *theta = g->theta + lane, bound = dist[target * PT_LANES];
    for (int64_t r = 0, v = 0; r < g->h; r++)
        for (int64_t c = 0; c < g->w; c++, v++) {
            const int64_t p = v + r + g->pitch + 1;
            const PT_REAL gain = PT_NAME(grid_gain)(theta[v * PT_LANES]);
            for (int k = 0; k < g->dirs; k++) {
                const PT_REAL x = dist[(p + g->step_p[k]) * PT_LANES] - gain;
                if (x < dist[p * PT_LANES] && x <= bound)
                    return 0;
            }
        }
    return 1;
}

/* D of all lanes, where it is not above the target's: the answer sees no other cell (a tight predecessor costs no more
 * than the cell, and one that is above the target stays so). So an improvement above the target's present cost need not
 * travel.   source [v], target [p] of each lane */
static pt_status PT_NAME(grid_costs)(PT_NAME(grid) * g, const pt_group *group,
                                     const int64_t *source, const int64_t *target) {
    int64_t budget = GRID_PASSES * g->h * g->w, down, up;
    for (int64_t i = 0; i < g->cells * PT_LANES; i++)
        g->dist[i] = PT_NAME(grid_inf)();
    for (int64_t r = 0; r < g->h + 2; r++)
        g->due[0][r] = g->due[1][r] = (PT_NAME(grid_span)){ INT32_MAX, 0 };
    for (int l = 0; l < PT_LANES; l++)
        g->dist[PT_NAME(grid_bordered)(g, source[l]) * PT_LANES + l] =
            0 - PT_NAME(grid_gain)(g->theta[source[l] * PT_LANES + l]);
    for (int l = 0; l < PT_LANES; l++)
        if (l == 0 || source[l] != source[l - 1])
            PT_NAME(grid_along)(g, source[l] / g->w, source[l] % g->w, source[l] % g->w + 1);
    do {
        down = PT_NAME(grid_pass)(g, group, target, -1);
        up = down < 0 ? -1 : PT_NAME(grid_pass)(g, group, target, 1);
        if (up < 0)
            return PT_E_STOPPED;
        budget -= down + up;
    } while (down + up > 0 && budget > 0);
    for (int l = 0; l < PT_LANES && down + up > 0; l++)
        if (!PT_NAME(grid_settled)(g, l, target[l]) &&
            PT_NAME(grid_dijkstra)(g, group, l, source[l], target[l]))
            return PT_E_STOPPED;
    return PT_OK;
}

/* Is u tight for a cell of cost -gain with D = d?   [u at p] */
static inline int PT_NAME(grid_tight)(const PT_REAL *dist, int64_t p, PT_REAL gain, PT_REAL d) {
    return dist[p * PT_LANES] - gain == d;
}

/* Levels for the walk from `from` back to `source`: level[p] - 1 = tight steps from p to `from` where p is on a shortest
 * tight path between the two, else 0. There H[from] - H[p] = level[p] - 1. Costs only the tight ancestors of `from`.
 *   dist, theta [of one lane]   from, source [p]
 * Returns the relaxations done. */
static int64_t PT_NAME(grid_levels)(PT_NAME(grid) * g, const PT_REAL *dist, const PT_REAL *theta,
                                    int64_t from, int64_t source) {
    int64_t size = 1;
    memset(g->level, 0, (size_t)g->cells * sizeof *g->level);
    g->level[from] = 1;
    g->cell[0] = (int32_t)from;
    for (int64_t i = 0; g->level[source] == 0 && i < size; i++) {
        const int64_t p = g->cell[i], v = p - g->pitch - p / g->pitch;
        for (int k = 0; k < g->dirs; k++) {
            const int64_t u = p + g->step_p[k];
            if (g->level[u] ||
                !PT_NAME(grid_tight)(dist, u, PT_NAME(grid_gain)(theta[v * PT_LANES]),
                                     dist[p * PT_LANES]))
                continue;
            g->level[u] = g->level[p] + 1;
            g->cell[size++] = (int32_t)u;
        }
    }
    /* From the source's level down: keep what a kept cell is tight for. */
    const int32_t top = g->level[source];
    for (int64_t i = size - 1; i >= 0; i--) {
        const int64_t p = g->cell[i], v = p - g->pitch - p / g->pitch;
        int keep = p == source;
        for (int k = 0; k < g->dirs && g->level[p] < top && !keep; k++) {
            const int64_t u = p + g->step_p[k];
            keep = g->level[u] == g->level[p] + 1 &&
                   PT_NAME(grid_tight)(dist, u, PT_NAME(grid_gain)(theta[v * PT_LANES]),
                                       dist[p * PT_LANES]);
        }
        if (!keep)
            g->level[p] = 0;
    }
    return 2 * size * g->dirs;
}

static inline void PT_NAME(grid_mark)(int32_t *code, int64_t v) {
    code[v / 32] = (int32_t)((uint32_t)code[v / 32] | (uint32_t)1 << (v % 32));
}

/* Mark the path of one lane in code. Returns 1 to stop. */
static int PT_NAME(grid_trace)(PT_NAME(grid) * g, const pt_group *group, int lane, int64_t source,
                               int64_t target, int32_t *code) {
    const PT_REAL *theta = (const PT_REAL *)group->theta + lane, *dist = g->dist + lane;
    int64_t v = target, p = PT_NAME(grid_bordered)(g, target);
    int leveled = 0;
    PT_NAME(grid_mark)(code, v);
    while (v != source) {
        const PT_REAL gain = PT_NAME(grid_gain)(theta[v * PT_LANES]), d = dist[p * PT_LANES];
        int64_t dv = 0, dp = 0;
        int count = 0;
        for (int k = 0; k < g->dirs; k++) {
            const int tight = PT_NAME(grid_tight)(dist, p + g->step_p[k], gain, d);
            count += tight;
            dv += tight ? g->step[k] : 0;
            dp += tight ? g->step_p[k] : 0;
        }
        assert(count > 0);
        if (count > 1) {
            if (!leveled) {
                const int64_t p0 = PT_NAME(grid_bordered)(g, source);
                if (PT_NAME(grid_stop)(g, group, PT_NAME(grid_levels)(g, dist, theta, p, p0)))
                    return 1;
                leveled = 1;
            }
            int k = 0;
            while (g->level[p + g->step_p[k]] != g->level[p] + 1 ||
                   !PT_NAME(grid_tight)(dist, p + g->step_p[k], gain, d))
                k++;
            dv = g->step[k];
            dp = g->step_p[k];
        }
        v += dv;
        p += dp;
        PT_NAME(grid_mark)(code, v);
    }
    return 0;
}

static pt_status PT_NAME(grid_prepare)(pt_problem *p, pt_error *err) {
    size_t bytes;
    if (p->n_ints != 1 || (p->ints[0] != 4 && p->ints[0] != 8))
        return pt_fail(err, PT_E_VALUE, -1, "neighbors must be 4 or 8");
    if (p->n_dims != 2 || p->dims[0] < 1 || p->dims[1] < 1)
        return pt_fail(err, PT_E_VALUE, -1, "theta must have items of shape (h, w) with h, w >= 1");
    const int64_t h = p->dims[0], w = p->dims[1], limit = INT32_MAX / 2;
    if (h > limit || w > limit || (h + 2) * (w + 1) >= limit ||
        !pt_mul_size((h + 2) * (w + 1) + 1, 2 * PT_LANES * sizeof(PT_REAL), &bytes))
        return pt_fail(err, PT_E_VALUE, -1, "theta has too large a grid: %lld x %lld cells",
                       (long long)h, (long long)w);
    p->y_size = p->n;
    p->code_len = (p->n + 31) / 32;
    p->code_step = 0;
    p->code_kind = PT_CODE_BITS;
    p->lanes = PT_LANES;
    p->linear = 1;
    p->sign = 1;
    p->clipped = 1;
    p->no_neg_inf = 0;
    p->top = 0;
    p->serial = 0;
    return PT_OK;
}

/* Breadth-first search over open cells, where a row has closed ones. */
static pt_status PT_NAME(grid_check)(const pt_problem *p, int64_t row, const void *theta,
                                     void *work, pt_error *err) {
    const PT_REAL *t = theta, minus_inf = -PT_NAME(grid_inf)();
    const int64_t w = p->dims[1];
    const int64_t ends[2] = { PT_NAME(grid_end)(p, 0, row), PT_NAME(grid_end)(p, 1, row) };
    PT_NAME(grid) g;
    int64_t size = 0, closed = 0;
    for (int64_t v = 0; v < p->n; v++)
        closed += t[v] == minus_inf;
    if (!closed)
        return PT_OK;
    for (int i = 0; i < 2; i++)
        if (t[ends[i]] == minus_inf)
            return pt_fail(err, PT_E_INFEASIBLE, row, "%s (%lld, %lld) is closed (-inf)",
                           i ? "target" : "source", (long long)(ends[i] / w),
                           (long long)(ends[i] % w));
    PT_NAME(grid_open)(p, work, &g);
    for (int64_t v = 0; v < p->n; v++)
        g.level[v] = t[v] == minus_inf;
    g.level[ends[0]] = 1;
    g.cell[size++] = (int32_t)ends[0];
    for (int64_t i = 0; i < size && !g.level[ends[1]]; i++)
        for (int k = 0; k < g.dirs; k++) {
            const int64_t v = PT_NAME(grid_neighbor)(&g, g.cell[i] / w, g.cell[i] % w, k);
            if (v < 0 || g.level[v])
                continue;
            g.level[v] = 1;
            g.cell[size++] = (int32_t)v;
        }
    if (g.level[ends[1]])
        return PT_OK;
    return pt_fail(err, PT_E_INFEASIBLE, row,
                   "no path from source (%lld, %lld) to target (%lld, %lld)",
                   (long long)(ends[0] / w), (long long)(ends[0] % w), (long long)(ends[1] / w),
                   (long long)(ends[1] % w));
}

static size_t PT_NAME(grid_work_size)(const pt_problem *p) {
    PT_NAME(grid) g;
    return PT_NAME(grid_open)(p, NULL, &g);
}

static pt_status PT_NAME(grid_solve)(const pt_problem *p, const pt_group *group, int32_t *code,
                                     void *work, pt_error *err) {
    PT_NAME(grid) g;
    int64_t source[PT_LANES], target[PT_LANES], target_p[PT_LANES];
    assert(group->item_step == PT_LANES && group->draw_step == 1 && group->n_draws <= PT_LANES);
    PT_NAME(grid_open)(p, work, &g);
    g.theta = group->theta;
    for (int l = 0; l < PT_LANES; l++) {
        source[l] = PT_NAME(grid_end)(p, 0, group->row[l]);
        target[l] = PT_NAME(grid_end)(p, 1, group->row[l]);
        target_p[l] = PT_NAME(grid_bordered)(&g, target[l]);
    }
    const pt_status status = PT_NAME(grid_costs)(&g, group, source, target_p);
    if (status != PT_OK)
        return status;
    memset(code, 0, (size_t)(group->n_draws * p->code_len) * sizeof *code);
    for (int l = 0; l < (int)group->n_draws; l++) {
        if (!(g.dist[target_p[l] * PT_LANES + l] < PT_NAME(grid_inf)()))
            return pt_fail(err, PT_E_INFEASIBLE, group->row[l], "the cost of the path overflows");
        if (PT_NAME(grid_trace)(&g, group, l, source[l], target[l], code + l * p->code_len))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

static const pt_solver PT_NAME(grid_path) = { "grid_path", PT_NAME(grid_prepare),
                                              PT_NAME(grid_check), PT_NAME(grid_work_size),
                                              PT_NAME(grid_solve) };
