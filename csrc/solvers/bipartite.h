/* bipartite: alternating paths in a bipartite graph whose edges are bits, and the first of perfect matchings. */
#ifndef PT_BIPARTITE_H
#define PT_BIPARTITE_H

#include <stdint.h>
#include <string.h>

/* A matching of rows to columns. One more row, number n_rows, may stand for all rows that a rectangle lacks to be square:
 * it owns the columns that no row has. */
typedef struct {
    int64_t n_rows, n_cols;
    int64_t words;   /* of 64 columns */
    uint64_t *edge;  /* (n_rows + 1) x words: bit j of row i: i may have column j */
    uint64_t *seen;  /* words: columns that a search has reached, or must not reach */
    uint64_t *goal;  /* words: columns where it ends */
    uint64_t *left;  /* words: columns that are not settled yet */
    int32_t *column; /* n_rows + 1: the column of a row, or -1 */
    int32_t *owner;  /* n_cols: the row of a column, or -1 */
    int32_t *from;   /* n_cols: the row from which a search reached a column */
    int32_t *queue;  /* n_rows + 1: rows in the order of a search */
    int64_t reached; /* rows in the queue */
} bipartite;

static inline void bits_set(uint64_t *bits, int64_t j) {
    bits[j / 64] |= UINT64_C(1) << j % 64;
}

static inline void bits_clear(uint64_t *bits, int64_t j) {
    bits[j / 64] &= ~(UINT64_C(1) << j % 64);
}

static inline int bits_test(const uint64_t *bits, int64_t j) {
    return (int)(bits[j / 64] >> j % 64 & 1);
}

/* The first bit at or after j, or -1. */
static int64_t bits_next(const uint64_t *bits, int64_t words, int64_t j) {
    int64_t w = j / 64;
    if (w >= words)
        return -1;
    uint64_t x = bits[w] & ~UINT64_C(0) << j % 64;
    while (!x && ++w < words)
        x = bits[w];
    return x ? w * 64 + __builtin_ctzll(x) : -1;
}

static size_t bipartite_size(int64_t n_rows, int64_t n_cols) {
    const size_t n = (size_t)n_rows + 1, m = (size_t)n_cols, words = (m + 63) / 64;
    return (n + 3) * words * sizeof(uint64_t) + (2 * n + 2 * m) * sizeof(int32_t) + 64;
}

/* No edges, nothing matched. */
static void bipartite_reset(bipartite *g) {
    memset(g->edge, 0, (size_t)((g->n_rows + 4) * g->words) * sizeof(uint64_t));
    memset(g->column, 0xff, (size_t)(g->n_rows + 1 + g->n_cols) * sizeof(int32_t));
}

/* Lay a graph over work, bipartite_size bytes. */
static bipartite bipartite_begin(int64_t n_rows, int64_t n_cols, void *work) {
    bipartite g = { .n_rows = n_rows, .n_cols = n_cols, .words = (n_cols + 63) / 64 };
    g.edge = work;
    g.seen = g.edge + (n_rows + 1) * g.words;
    g.goal = g.seen + g.words;
    g.left = g.goal + g.words;
    g.column = (int32_t *)(g.left + g.words);
    g.owner = g.column + n_rows + 1;
    g.from = g.owner + n_cols;
    g.queue = g.from + n_cols;
    bipartite_reset(&g);
    return g;
}

/* From row `start` breadth first along edges to columns that are not in seen, and from these to their owners, until a
 * column in goal is reached: that column, or -1. */
static int64_t bipartite_search(bipartite *g, int64_t start) {
    g->queue[0] = (int32_t)start;
    g->reached = 1;
    for (int64_t head = 0; head < g->reached; head++) {
        const int32_t row = g->queue[head];
        for (int64_t w = 0; w < g->words; w++) {
            uint64_t fresh = g->edge[row * g->words + w] & ~g->seen[w];
            g->seen[w] |= fresh;
            for (; fresh; fresh &= fresh - 1) {
                const int64_t j = w * 64 + __builtin_ctzll(fresh);
                g->from[j] = row;
                if (bits_test(g->goal, j))
                    return j;
                const int32_t next = g->owner[j];
                if (next == g->n_rows) { /* the row for all that lack: once, by its first column */
                    if (g->column[next] >= 0)
                        continue;
                    g->column[next] = (int32_t)j;
                }
                g->queue[g->reached++] = next;
            }
        }
    }
    return -1;
}

/* Give each row on the path that a search found the column it reached, from the last, j, to `start`. */
static void bipartite_shift(bipartite *g, int64_t start, int64_t j) {
    for (;;) {
        const int32_t row = g->from[j], before = g->column[row];
        g->owner[j] = row;
        g->column[row] = (int32_t)j;
        if (row == start)
            return;
        j = before;
    }
}

/* Match all rows, one after the other by an augmenting path. Returns n_rows, or the first row for which there is none:
 * then the `reached` rows in the queue have but reached - 1 columns together (Hall 1935). */
static int64_t bipartite_match(bipartite *g) {
    for (int64_t j = 0; j < g->n_cols; j++)
        bits_set(g->goal, j);
    for (int64_t i = 0; i < g->n_rows; i++) {
        memset(g->seen, 0, (size_t)g->words * sizeof(uint64_t));
        const int64_t j = bipartite_search(g, i);
        if (j < 0)
            return i;
        bipartite_shift(g, i, j);
        bits_clear(g->goal, j);
    }
    return g->n_rows;
}

/* Has a row another column than its own among those left? */
static int bipartite_has_choice(const bipartite *g, int64_t i) {
    uint64_t others = 0;
    const int64_t own = g->column[i];
    for (int64_t w = 0; w < g->words; w++) {
        uint64_t mine = own / 64 == w ? UINT64_C(1) << own % 64 : 0;
        others |= g->edge[i * g->words + w] & g->left[w] & ~mine;
    }
    return others != 0;
}

/* The same for the row that stands for all that lack: a column left that a true row owns? */
static int bipartite_spare_has_choice(const bipartite *g) {
    for (int64_t j = 0; (j = bits_next(g->left, g->words, j)) >= 0; j++)
        if (g->owner[j] < g->n_rows && bits_test(g->edge + g->n_rows * g->words, j))
            return 1;
    return 0;
}

/* Settle the columns that every perfect matching gives to the same row: those of rows that have no choice, again and again.
 * What stays in left lies on an alternating cycle, or leads to one. Returns 1 if nothing stays. */
static int bipartite_settle(bipartite *g) {
    int spare = g->n_cols > g->n_rows, changed = 1;
    int64_t n_left = g->n_rows;
    memset(g->left, 0, (size_t)g->words * sizeof(uint64_t));
    for (int64_t j = 0; j < g->n_cols; j++)
        bits_set(g->left, j);
    while (changed && n_left > 0) {
        changed = 0;
        if (spare && !bipartite_spare_has_choice(g)) {
            for (int64_t j = 0; j < g->n_cols; j++)
                if (g->owner[j] == g->n_rows)
                    bits_clear(g->left, j);
            spare = 0;
            changed = 1;
        }
        for (int64_t k = 0; k < 2 * g->n_rows; k++) { /* up and down */
            const int64_t i = k < g->n_rows ? k : 2 * g->n_rows - 1 - k, j = g->column[i];
            if (!bits_test(g->left, j) || bipartite_has_choice(g, i))
                continue;
            bits_clear(g->left, j);
            n_left--;
            changed = 1;
        }
    }
    return n_left == 0;
}

/* Give row i the lowest column that it can have in a perfect matching (of the rows and the row for all that lack) without a
 * change of the columns that are settled, and settle it. It can have column j if an alternating path leads from j's owner to
 * i's column. For all rows in turn, after bipartite_settle: the lexicographically first perfect matching. */
static void bipartite_prefer(bipartite *g, int64_t i) {
    const int64_t own = g->column[i];
    if (!bits_test(g->left, own))
        return;
    for (int64_t w = 0; w < g->words; w++)
        g->seen[w] = ~g->left[w];
    memset(g->goal, 0, (size_t)g->words * sizeof(uint64_t));
    bits_set(g->goal, own);
    const uint64_t *edge = g->edge + i * g->words;
    for (int64_t j = 0; (j = bits_next(edge, g->words, j)) >= 0 && j < own; j++) {
        if (bits_test(g->seen, j)) /* settled, or no path leads back from it */
            continue;
        const int64_t start = g->owner[j];
        bits_set(g->seen, j);
        g->column[g->n_rows] = start == g->n_rows ? (int32_t)j : -1;
        const int64_t end = bipartite_search(g, start);
        if (end < 0)
            continue;
        bipartite_shift(g, start, end);
        g->owner[j] = (int32_t)i;
        g->column[i] = (int32_t)j;
        break;
    }
    bits_clear(g->left, g->column[i]);
}

#endif
