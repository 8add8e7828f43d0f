/* memory: aligned blocks for a call's work, sums and codes; whole arrays of the caller's, by all threads. */
#ifdef __linux__
#define _DEFAULT_SOURCE /* madvise */
#endif
#include "engine.h"
#include "threads.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define LARGE_PAGE ((size_t)1 << 21)

/* Large blocks fault in 2 MB at a time, not 4 kB: a call's codes are written once and read once. */
static void *allocate(size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes >= 4 * LARGE_PAGE && bytes < SIZE_MAX - LARGE_PAGE) {
        bytes = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
        void *p = aligned_alloc(LARGE_PAGE, bytes);
        if (p)
            (void)madvise(p, bytes, MADV_HUGEPAGE);
        return p;
    }
#endif
    return aligned_alloc(64, bytes);
}

void *pt_block(int64_t count, size_t element) {
    size_t bytes;
    if (!pt_mul_size(count, (int64_t)element, &bytes) || bytes > SIZE_MAX - 128)
        return NULL;
    return allocate((bytes + 127) & ~(size_t)63);
}

void *pt_zeros(int64_t count, size_t element) {
    void *p = pt_block(count, element);
    if (p)
        memset(p, 0, (size_t)count * element);
    return p;
}

/* ---- blocks that are read or written once, by all threads ---- */

#define PIECE ((size_t)1 << 20) /* bytes of a task */

typedef struct {
    const char *from;
    char *to; /* NULL: look for what is not finite */
    size_t bytes;
    int f64;
} pieces;

/* All exponents' bits set: an infinity or NaN. Adding one at the exponent carries into the sign. */
static int finite_floats(const uint32_t *x, size_t count) {
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++)
        bad |= (x[i] & 0x7FFFFFFFu) + 0x00800000u;
    return !(bad >> 31);
}

static int finite_doubles(const uint64_t *x, size_t count) {
    uint64_t bad = 0;
    for (size_t i = 0; i < count; i++)
        bad |= (x[i] & 0x7FFFFFFFFFFFFFFFu) + 0x0010000000000000u;
    return !(bad >> 63);
}

static pt_status do_piece(void *ctx, int64_t index, int worker, pt_poll_fn stop, void *stop_ctx) {
    const pieces *p = ctx;
    const size_t at = (size_t)index * PIECE, left = p->bytes - at;
    const size_t bytes = left < PIECE ? left : PIECE;
    const void *from = p->from + at;
    (void)worker, (void)stop, (void)stop_ctx;
    if (p->to)
        memcpy(p->to + at, from, bytes);
    else if (p->f64 ? !finite_doubles(from, bytes / 8) : !finite_floats(from, bytes / 4))
        return PT_E_VALUE;
    return PT_OK;
}

static pt_status do_pieces(pieces *p, int n_threads) {
    const int64_t count = (int64_t)((p->bytes + PIECE - 1) / PIECE);
    const int taken = count > 1 ? pt_threads_take(n_threads) : 0;
    double next_poll = pt_first_poll();
    const pt_status status =
        pt_parallel_for(count, taken ? taken : 1, do_piece, p, NULL, NULL, &next_poll);
    if (taken)
        pt_threads_give(taken);
    return status;
}

int pt_all_finite(const void *x, int f64, int64_t count, int n_threads) {
    pieces p = { .from = x, .bytes = (size_t)count * (f64 ? 8 : 4), .f64 = f64 };
    return do_pieces(&p, n_threads) == PT_OK;
}

void pt_copy(const void *from, size_t bytes, void *to, int n_threads) {
    pieces p = { .from = from, .to = to, .bytes = bytes };
    (void)do_pieces(&p, n_threads);
}
