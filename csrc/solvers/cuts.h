/* cuts: the best path without an element, for paths that cross every level exactly once (MATH, section 5).
 *
 * Every path that leaves element e out crosses e's level by another element; so it is the best of the best paths through
 * the others there. The best two of a level answer this for each of its elements. Sums of paths are double: differences of
 * two long sums follow. */
#ifndef PT_CUTS_H
#define PT_CUTS_H

#include <math.h>
#include <stdint.h>

/* A path, or a part of one: its score, and the sum of g over what it uses. */
typedef struct {
    double score, g;
} path_sum;

/* No path. */
static inline path_sum path_none(void) {
    return (path_sum){ -INFINITY, 0 };
}

static inline path_sum path_join(path_sum a, path_sum b) {
    return (path_sum){ a.score + b.score, a.g + b.g };
}

static inline path_sum path_most(path_sum a, path_sum b) {
    return b.score > a.score ? b : a;
}

/* The best paths through two elements of a level, best first. */
typedef struct {
    path_sum best[2];
    int64_t first; /* the element of best[0]; -1: none */
} path_cut;

static inline path_cut path_cut_none(void) {
    return (path_cut){ { path_none(), path_none() }, -1 };
}

/* The best path through `element` is x. */
static inline void path_cut_offer(path_cut *cut, path_sum x, int64_t element) {
    if (x.score > cut->best[0].score) {
        cut->best[1] = cut->best[0];
        cut->best[0] = x;
        cut->first = element;
    } else if (x.score > cut->best[1].score)
        cut->best[1] = x;
}

static inline path_sum path_cut_without(const path_cut *cut, int64_t element) {
    return cut->best[cut->first == element];
}

#endif
