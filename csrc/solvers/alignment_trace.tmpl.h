/* alignment_trace: one item and its scratch, what lies at its borders, and the way back from its end. */
#ifndef PT_REAL
#error "alignment_trace.tmpl.h is a template: include it from alignment.tmpl.h"
#endif

/* One draw to be aligned, and its scratch. */
typedef struct {
    int mode, kind, channels;
    int query_is_free, target_is_free; /* semiglobal */
    int64_t n, m;                      /* rows and columns in use, 0 allowed */
    int64_t pitch;                     /* elements from a row of theta to the next */
    PT_REAL gap[2];                    /* fixed gaps: scores of opening and extending */
    const PT_REAL *theta;
    PT_REAL *row[3];      /* see alignment_band */
    PT_REAL *column;      /* n + 1: H(i, 0) */
    uint8_t *row_bits;    /* m + 1: bits of (0, j) */
    uint8_t *column_bits; /* n + 1: bits of (i, 0) */
    PT_REAL *tile;        /* ALIGNMENT_TILE steps */
    PT_BITS *bits;        /* band, word, lane */
    int64_t words;        /* of a band */
} PT_NAME(alignment_item);

/* An end: the best that was found, of equal ones the empty alignment, else the first, row by row. */
typedef struct {
    PT_REAL value;
    int64_t i, j;
    int empty;
} PT_NAME(alignment_end);

static inline void PT_NAME(alignment_offer)(PT_NAME(alignment_end) * best, PT_REAL value, int64_t i,
                                            int64_t j, int empty) {
    const int before = !best->empty && (empty || i < best->i || (i == best->i && j < best->j));
    if (value > best->value || (value == best->value && before))
        *best = (PT_NAME(alignment_end)){ value, i, j, empty };
}

/* Score of opening (channel 1) or extending (2) a gap by the step into (i, j); 0 beside an empty sequence, which has no
 * cell to charge. */
static inline PT_REAL PT_NAME(alignment_gap)(const PT_NAME(alignment_item) * a, int channel,
                                             int64_t i, int64_t j) {
    if (a->kind == PT_NAME(alignment_fixed))
        return a->gap[channel - 1];
    if (a->n == 0 || a->m == 0)
        return 0;
    return a->theta[(i > 0 ? i - 1 : 0) * a->pitch + (j > 0 ? j - 1 : 0) * a->channels + channel];
}

/* May an alignment start at (i, j), both on a border; end at (i, j)? Local ones start and end anywhere. */
static inline int PT_NAME(alignment_starts)(const PT_NAME(alignment_item) * a, int64_t i,
                                            int64_t j) {
    return (i == 0 || a->query_is_free) && (j == 0 || a->target_is_free);
}

static inline int PT_NAME(alignment_ends)(const PT_NAME(alignment_item) * a, int64_t i, int64_t j) {
    return (i == a->n || (a->query_is_free && j == a->m)) &&
           (j == a->m || (a->target_is_free && i == a->n));
}

/* Row 0: M (here the start), X and what follows from them; Y is not there.
 * Writes a->row and a->row_bits, and offers the ends that lie here. */
static void PT_NAME(alignment_first_row)(const PT_NAME(alignment_item) * a,
                                         PT_NAME(alignment_end) * end) {
    const int anywhere = a->mode == PT_NAME(alignment_local);
    PT_REAL before = -PT_INFINITY, x = -PT_INFINITY;
    for (int64_t j = 0; j <= a->m; j++) {
        const PT_REAL start = !anywhere && PT_NAME(alignment_starts)(a, 0, j) ? 0 : -PT_INFINITY;
        int bits = 0;
        if (!anywhere && j > 0) {
            const PT_REAL open = before + PT_NAME(alignment_gap)(a, 1, 0, j),
                          extend = x + PT_NAME(alignment_gap)(a, 2, 0, j);
            bits |= extend > open ? ALIGNMENT_X_LONGER : 0;
            x = extend > open ? extend : open;
        }
        bits |= x > start ? ALIGNMENT_X_BEST : 0;
        const PT_REAL g = x > start ? x : start;
        const int from_m = anywhere && a->kind != PT_NAME(alignment_edges);
        a->row[0][j] = from_m ? 0 : g;
        a->row[1][j] = g;
        a->row[2][j] = -PT_INFINITY;
        a->row_bits[j] = (uint8_t)bits;
        before = start;
        if (!anywhere && PT_NAME(alignment_ends)(a, 0, j))
            PT_NAME(alignment_offer)(end, g, 0, j, start >= g);
    }
}

/* Column 0: M (the start), Y. Writes a->column, a->column_bits, and offers the ends that lie here. */
static void PT_NAME(alignment_first_column)(const PT_NAME(alignment_item) * a,
                                            PT_NAME(alignment_end) * end) {
    PT_REAL before = 0, y = -PT_INFINITY;
    a->column[0] = -PT_INFINITY;
    a->column_bits[0] = 0;
    for (int64_t i = 1; i <= a->n; i++) {
        const PT_REAL start = PT_NAME(alignment_starts)(a, i, 0) ? 0 : -PT_INFINITY;
        const PT_REAL open = before + PT_NAME(alignment_gap)(a, 1, i, 0),
                      extend = y + PT_NAME(alignment_gap)(a, 2, i, 0);
        y = extend > open ? extend : open;
        a->column_bits[i] = (uint8_t)((extend > open ? ALIGNMENT_Y_LONGER : 0) |
                                      (y > start ? ALIGNMENT_Y_BEST : 0));
        a->column[i] = y;
        before = start;
        if (PT_NAME(alignment_ends)(a, i, 0))
            PT_NAME(alignment_offer)(end, y > start ? y : start, i, 0, start >= y);
    }
}

/* ---- the way back ---- */

enum { PT_NAME(alignment_s), PT_NAME(alignment_m), PT_NAME(alignment_x), PT_NAME(alignment_y) };

static inline int PT_NAME(alignment_bits_at)(const PT_NAME(alignment_item) * a, int64_t i,
                                             int64_t j) {
    if (i == 0)
        return a->row_bits[j];
    if (j == 0)
        return a->column_bits[i];
    const int64_t band = (i - 1) / ALIGNMENT_WIDTH, r = (i - 1) % ALIGNMENT_WIDTH, t = j - 1 + r;
    const int64_t word = band * a->words + t / ALIGNMENT_PER_WORD;
    return (int)(a->bits[word * ALIGNMENT_WIDTH + ALIGNMENT_WIDTH - 1 - r] >>
                 t % ALIGNMENT_PER_WORD * ALIGNMENT_BITS) &
           31;
}

/* M or what stands for it on a border. */
static inline int PT_NAME(alignment_m_or_s)(int64_t i, int64_t j) {
    return i > 0 && j > 0 ? PT_NAME(alignment_m) : PT_NAME(alignment_s);
}

/* The state that H (y_too) or G of (i, j) is. */
static inline int PT_NAME(alignment_state)(const PT_NAME(alignment_item) * a, int64_t i, int64_t j,
                                           int y_too) {
    const int local = a->mode == PT_NAME(alignment_local);
    if (local && (i == 0 || j == 0))
        return PT_NAME(alignment_s);
    const int bits = PT_NAME(alignment_bits_at)(a, i, j);
    if (y_too && local && !(bits & ALIGNMENT_BEGUN))
        return PT_NAME(alignment_s);
    if (y_too && (bits & ALIGNMENT_Y_BEST))
        return PT_NAME(alignment_y);
    return bits & ALIGNMENT_X_BEST ? PT_NAME(alignment_x) : PT_NAME(alignment_m_or_s)(i, j);
}

/* What precedes `state` of (i, j). *channel: what the step between them is charged as. */
static inline int PT_NAME(alignment_before)(const PT_NAME(alignment_item) * a, int state, int64_t i,
                                            int64_t j, int *channel) {
    const int edges = a->kind == PT_NAME(alignment_edges);
    const int bits =
        edges || state != PT_NAME(alignment_m) ? PT_NAME(alignment_bits_at)(a, i, j) : 0;
    if (state == PT_NAME(alignment_m)) {
        const int from = edges ? bits & 3 : PT_NAME(alignment_state)(a, i - 1, j - 1, 1);
        *channel = edges ? from : 0;
        return from;
    }
    if (state == PT_NAME(alignment_x)) {
        const int longer = (bits & ALIGNMENT_X_LONGER) != 0;
        *channel = (edges ? 4 : 1) + longer;
        return longer ? state : PT_NAME(alignment_m_or_s)(i, j - 1);
    }
    if (edges) {
        *channel = 6 + (bits >> 2 & 3);
        return PT_NAME(alignment_m) + (bits >> 2 & 3);
    }
    const int longer = (bits & ALIGNMENT_Y_LONGER) != 0;
    *channel = 1 + longer;
    return longer ? state : PT_NAME(alignment_state)(a, i - 1, j, 0);
}

/* Write down what the alignment that ends in `end` uses, from there back. */
static void PT_NAME(alignment_trace)(const PT_NAME(alignment_item) * a,
                                     const PT_NAME(alignment_end) * end, int64_t code_len,
                                     int32_t *code) {
    int64_t i = end->i, j = end->j, used = 0;
    int state = a->mode == PT_NAME(alignment_local) ? PT_NAME(alignment_m)
                                                    : PT_NAME(alignment_state)(a, i, j, 1);
    if (end->empty)
        state = PT_NAME(alignment_s);
    while (state != PT_NAME(alignment_s)) {
        int channel;
        const int from = PT_NAME(alignment_before)(a, state, i, j, &channel);
        const int64_t cell = (i > 0 ? i - 1 : 0) * a->pitch + (j > 0 ? j - 1 : 0) * a->channels;
        const int seen = a->kind == PT_NAME(alignment_fixed) ? state == PT_NAME(alignment_m)
                                                             : a->n > 0 && a->m > 0;
        assert(i >= 0 && j >= 0 && i + j > 0 && used + seen <= code_len);
        if (seen)
            code[used++] = (int32_t)(cell + channel);
        i -= state != PT_NAME(alignment_x);
        j -= state != PT_NAME(alignment_y);
        state = from;
    }
    while (used < code_len)
        code[used++] = -1;
}
