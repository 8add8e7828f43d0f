/* alignment_cells: the recurrences of an alignment, for a vector's worth of rows at a time.
 *
 * Positions (i, j) have i rows and j columns behind them. A band is ALIGNMENT_WIDTH rows; at step t its r-th row is at
 * column t - r, so that what a cell needs is there: from the left the same lane one step ago, from above the lane of
 * the row above one step ago, from the diagonal that lane two steps ago. Lane k holds row ALIGNMENT_WIDTH - 1 - k of the
 * band: a vector stored at the column of its last row puts each lane where its row has its own column, and the last
 * row's values, stored last, stay. */
#ifndef PT_REAL
#error "alignment_cells.tmpl.h is a template: include it from alignment.tmpl.h"
#endif

#define ALIGNMENT_WIDTH PT_WIDTH
#define ALIGNMENT_BITS 5                     /* of a cell: where its three states come from */
#define ALIGNMENT_PER_WORD (PT_F64 ? 12 : 6) /* cells */
#define ALIGNMENT_TILE 60                    /* steps laid out at a time: whole words */
#define ALIGNMENT_INLINE static inline __attribute__((always_inline))

/* ints[0], ints[1] */
enum { PT_NAME(alignment_global), PT_NAME(alignment_local), PT_NAME(alignment_semiglobal) };
enum { PT_NAME(alignment_fixed), PT_NAME(alignment_learned), PT_NAME(alignment_edges) };

/* Bits of a cell, fixed and learned gaps. M of (i + 1, j + 1) comes from H = max(start, M, X, Y) of (i, j). */
#define ALIGNMENT_X_BEST 1    /* X > M: G = max(M, X) is X */
#define ALIGNMENT_Y_BEST 2    /* Y > G: H is Y */
#define ALIGNMENT_BEGUN 4     /* local: H > 0, no start here */
#define ALIGNMENT_Y_LONGER 8  /* Y comes from Y, else from G above */
#define ALIGNMENT_X_LONGER 16 /* X comes from X, else from M on the left */
/* Transitions: bits 0 and 1 say where M comes from (0 start, 1 M, 2 X, 3 Y), bits 2 and 3 Y (0 M, 1 X, 2 Y). */

typedef PT_NAME(reals) PT_NAME(alignment_reals);
typedef PT_NAME(words) PT_NAME(alignment_words);

/* What the cells of a step hand on. down: H, G, Y; transitions: M, X, Y. */
typedef struct {
    PT_NAME(alignment_reals) m, x;        /* to the right */
    PT_NAME(alignment_reals) down[3];     /* to the row below */
    PT_NAME(alignment_reals) diagonal[3]; /* what came from above one step ago */
    PT_NAME(alignment_reals) best; /* the best end of each lane, and the step it was found in */
    PT_NAME(alignment_words) at;
} PT_NAME(alignment_front);

/* What lies left of a band's first column, by lane: S or -inf, and Y. */
typedef struct {
    PT_NAME(alignment_reals) start, y;
} PT_NAME(alignment_edge);

ALIGNMENT_INLINE PT_NAME(alignment_reals) PT_NAME(alignment_load)(const PT_REAL *from) {
    PT_NAME(alignment_reals) x;
    memcpy(&x, from, sizeof x);
    return x;
}

/* As `odd`, lane by lane. */
ALIGNMENT_INLINE PT_NAME(alignment_words) PT_NAME(alignment_odd)(PT_NAME(alignment_reals) x) {
    const PT_BITS size = ~(PT_BITS)0 >> 1, unit = (PT_BITS)1 << (PT_F64 ? 52 : 23);
    return ((PT_NAME(alignment_words))x & size) + unit;
}

ALIGNMENT_INLINE PT_NAME(alignment_reals) PT_NAME(alignment_all)(PT_REAL x) {
    return (PT_NAME(alignment_reals)){ 0 } + x;
}

ALIGNMENT_INLINE PT_NAME(alignment_reals)
    PT_NAME(alignment_pick)(PT_NAME(alignment_words) which, PT_NAME(alignment_reals) x,
                            PT_NAME(alignment_reals) y) {
    return (PT_NAME(alignment_reals))(((PT_NAME(alignment_words))x & which) |
                                      ((PT_NAME(alignment_words))y & ~which));
}

/* All ones where x > y. */
ALIGNMENT_INLINE PT_NAME(alignment_words)
    PT_NAME(alignment_more)(PT_NAME(alignment_reals) x, PT_NAME(alignment_reals) y) {
    return (PT_NAME(alignment_words))(x > y);
}

#define ALIGNMENT_NEXT(d, l) ((l) + (d))

/* Each lane gets the row above it, the first row `first`. */
ALIGNMENT_INLINE PT_NAME(alignment_reals)
    PT_NAME(alignment_above)(PT_NAME(alignment_reals) x, PT_REAL first) {
    return PT_SHUFFLE(x, PT_NAME(alignment_all)(first), ALIGNMENT_NEXT, 1);
}
#undef ALIGNMENT_NEXT

/* One step, fixed (open and extend are one number) or learned gaps: with w the scores of the entered cell
 *   M(i,j) = w_M + H(i-1,j-1)                                      H = max(G, Y), in local mode max(0, M, X, Y)
 *   X(i,j) = max(M(i,j-1) + w_open, X(i,j-1) + w_extend)           G = max(M, X)
 *   Y(i,j) = max(G(i-1,j) + w_open, Y(i-1,j) + w_extend)           of equal ones the one named first
 * Returns the bits. */
ALIGNMENT_INLINE PT_NAME(alignment_words)
    PT_NAME(alignment_step)(PT_NAME(alignment_front) * f, const PT_NAME(alignment_reals) w[3],
                            const PT_REAL *const above[3], int local) {
    PT_NAME(alignment_reals) up[3];
    for (int k = 0; k < 3; k++)
        up[k] = PT_NAME(alignment_above)(f->down[k], *above[k]);
    const PT_NAME(alignment_reals) m = w[0] + f->diagonal[0];
    const PT_NAME(alignment_reals) x_open = f->m + w[1], x_extend = f->x + w[2];
    const PT_NAME(alignment_reals) y_open = up[1] + w[1], y_extend = up[2] + w[2];
    const PT_NAME(alignment_words) x_longer = PT_NAME(alignment_more)(x_extend, x_open);
    const PT_NAME(alignment_words) y_longer = PT_NAME(alignment_more)(y_extend, y_open);
    const PT_NAME(alignment_reals) x = PT_NAME(alignment_pick)(x_longer, x_extend, x_open);
    const PT_NAME(alignment_reals) y = PT_NAME(alignment_pick)(y_longer, y_extend, y_open);
    const PT_NAME(alignment_words) x_best = PT_NAME(alignment_more)(x, m);
    const PT_NAME(alignment_reals) g = PT_NAME(alignment_pick)(x_best, x, m);
    const PT_NAME(alignment_words) y_best = PT_NAME(alignment_more)(y, g);
    PT_NAME(alignment_reals) h = PT_NAME(alignment_pick)(y_best, y, g);
    PT_NAME(alignment_words)
    bits = (x_best & ALIGNMENT_X_BEST) | (y_best & ALIGNMENT_Y_BEST) |
           (y_longer & ALIGNMENT_Y_LONGER) | (x_longer & ALIGNMENT_X_LONGER);
    if (local) {
        const PT_NAME(alignment_words) begun =
            PT_NAME(alignment_more)(h, PT_NAME(alignment_all)(0));
        h = PT_NAME(alignment_pick)(begun, h, PT_NAME(alignment_all)(0));
        bits |= begun & ALIGNMENT_BEGUN;
    }
    f->m = m;
    f->x = x;
    f->down[0] = h;
    f->down[1] = g;
    f->down[2] = y;
    f->diagonal[0] = up[0];
    return bits;
}

/* One step, local, a score for each edge into the entered cell, in the order S>M, M>M, X>M, Y>M, M>X, X>X, M>Y, X>Y, Y>Y. */
ALIGNMENT_INLINE PT_NAME(alignment_words)
    PT_NAME(alignment_edge_step)(PT_NAME(alignment_front) * f, const PT_NAME(alignment_reals) w[9],
                                 const PT_REAL *const above[3]) {
    PT_NAME(alignment_reals) up[3], m = w[0], y;
    PT_NAME(alignment_words) bits = { 0 }, from = { 0 };
    for (int k = 0; k < 3; k++) {
        const PT_NAME(alignment_reals) other = f->diagonal[k] + w[1 + k];
        const PT_NAME(alignment_words) more = PT_NAME(alignment_more)(other, m);
        m = PT_NAME(alignment_pick)(more, other, m);
        bits = (bits & ~more) | (more & (PT_BITS)(k + 1));
        up[k] = PT_NAME(alignment_above)(f->down[k], *above[k]);
    }
    const PT_NAME(alignment_reals) x_open = f->m + w[4], x_extend = f->x + w[5];
    const PT_NAME(alignment_words) x_longer = PT_NAME(alignment_more)(x_extend, x_open);
    y = up[0] + w[6];
    for (int k = 1; k < 3; k++) {
        const PT_NAME(alignment_reals) other = up[k] + w[6 + k];
        const PT_NAME(alignment_words) more = PT_NAME(alignment_more)(other, y);
        y = PT_NAME(alignment_pick)(more, other, y);
        from = (from & ~more) | (more & (PT_BITS)(k << 2));
    }
    f->m = f->down[0] = m;
    f->x = f->down[1] = PT_NAME(alignment_pick)(x_longer, x_extend, x_open);
    f->down[2] = y;
    for (int k = 0; k < 3; k++)
        f->diagonal[k] = up[k];
    return bits | from | (x_longer & ALIGNMENT_X_LONGER);
}

/* Where a band stands and what it reads and writes. */
typedef struct {
    int kind, local, channels;
    int64_t m;            /* columns */
    PT_REAL gap[2];       /* fixed gaps: scores of opening and extending */
    const PT_REAL *theta; /* of this tile: step, channel, lane */
    PT_REAL *row
        [3]; /* f->down of the row above at each position j, replaced by that of the band's last */
    PT_BITS *bits; /* of this band: word, lane */
    PT_BITS first; /* number of the band's first step among all steps */
    const PT_NAME(alignment_edge) * edge;
    /* global and semiglobal: lanes of the last row, lanes of rows that exist, free ends of each */
    PT_NAME(alignment_words) last_row, inside;
    int row_is_free, column_is_free;
} PT_NAME(alignment_band);

/* Rows whose first column is still to come show what lies left of it. */
ALIGNMENT_INLINE void PT_NAME(alignment_hold)(PT_NAME(alignment_front) * f,
                                              const PT_NAME(alignment_band) * b,
                                              PT_NAME(alignment_words) early) {
    const PT_NAME(alignment_reals) none = PT_NAME(alignment_all)(-PT_INFINITY);
    const PT_NAME(alignment_reals) start = b->edge->start, y = b->edge->y;
    const PT_NAME(alignment_reals) h =
        PT_NAME(alignment_pick)(PT_NAME(alignment_more)(y, start), y, start);
    f->m = PT_NAME(alignment_pick)(early, start, f->m);
    f->x = PT_NAME(alignment_pick)(early, none, f->x);
    f->down[0] = PT_NAME(alignment_pick)(early, h, f->down[0]);
    f->down[1] = PT_NAME(alignment_pick)(early, start, f->down[1]);
    f->down[2] = PT_NAME(alignment_pick)(early, y, f->down[2]);
}

/* Keep the best end: local M anywhere, else H in the last row and column; of equal ones the first. */
ALIGNMENT_INLINE void PT_NAME(alignment_keep)(PT_NAME(alignment_front) * f,
                                              const PT_NAME(alignment_band) * b,
                                              PT_NAME(alignment_words) column, PT_BITS step) {
    const PT_NAME(alignment_reals) value = b->local ? f->m : f->down[0];
    PT_NAME(alignment_words) better = PT_NAME(alignment_more)(value, f->best);
    if (!b->local) {
        const PT_NAME(alignment_words) is_last =
            (PT_NAME(alignment_words))(column == (PT_BITS)(b->m - 1));
        const PT_NAME(alignment_words) is_there =
            (PT_NAME(alignment_words))(column < (PT_BITS)b->m);
        PT_NAME(alignment_words) allowed = b->last_row & is_last;
        if (b->row_is_free)
            allowed |= b->last_row & is_there;
        if (b->column_is_free)
            allowed |= b->inside & is_last;
        better &= allowed;
    }
    f->best = PT_NAME(alignment_pick)(better, value, f->best);
    f->at = (better & ((PT_NAME(alignment_words)){ 0 } + step)) | (~better & f->at);
}

/* Steps t0 .. t0 + count - 1 of a band, count <= ALIGNMENT_TILE, t0 a multiple of it.
 * kind, local: b->kind and b->local, as constants.   ends: whether an end may lie in these steps */
ALIGNMENT_INLINE void PT_NAME(alignment_tile)(PT_NAME(alignment_front) * front,
                                              const PT_NAME(alignment_band) * b, int64_t t0,
                                              int64_t count, int kind, int local, int ends) {
    PT_NAME(alignment_front) f = *front;
    PT_NAME(alignment_words) row; /* of the band */
    for (int k = 0; k < ALIGNMENT_WIDTH; k++)
        row[k] = (PT_BITS)(ALIGNMENT_WIDTH - 1 - k);
    const int channels = kind == PT_NAME(alignment_fixed)     ? 1
                         : kind == PT_NAME(alignment_learned) ? 3
                                                              : 9;
    PT_NAME(alignment_reals) w[9];
    w[1] = PT_NAME(alignment_all)(b->gap[0]);
    w[2] = PT_NAME(alignment_all)(b->gap[1]);
    const PT_REAL *theta = b->theta;
    PT_BITS *to = b->bits + t0 / ALIGNMENT_PER_WORD * ALIGNMENT_WIDTH;
    for (int64_t s = 0; s < count; to += ALIGNMENT_WIDTH) {
        const int64_t end = s + ALIGNMENT_PER_WORD < count ? s + ALIGNMENT_PER_WORD : count;
        PT_NAME(alignment_words) word = { 0 };
        for (int shift = 0; s < end; s++, shift += ALIGNMENT_BITS) {
            const int64_t t = t0 + s;
            const PT_REAL *above[3];
            for (int k = 0; k < 3; k++)
                above[k] = b->row[k] + t + 1;
            for (int c = 0; c < channels; c++, theta += ALIGNMENT_WIDTH)
                w[c] = PT_NAME(alignment_load)(theta);
            PT_NAME(alignment_words)
            bits = kind == PT_NAME(alignment_edges) ? PT_NAME(alignment_edge_step)(&f, w, above)
                                                    : PT_NAME(alignment_step)(&f, w, above, local);
            word |= bits << shift;
            if (!local && t < ALIGNMENT_WIDTH - 1)
                PT_NAME(alignment_hold)(&f, b, (PT_NAME(alignment_words))(row > (PT_BITS)t));
            if (ends)
                PT_NAME(alignment_keep)(&f, b, (PT_BITS)t - row, b->first + (PT_BITS)t);
            for (int k = 0; k < 3; k++)
                memcpy(b->row[k] + (t + 2 - ALIGNMENT_WIDTH), &f.down[k], sizeof f.down[k]);
        }
        memcpy(to, &word, sizeof word);
    }
    *front = f;
}
