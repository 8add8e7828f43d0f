/* memory: aligned blocks for a call's work, sums and codes. */
#ifdef __linux__
#define _DEFAULT_SOURCE /* madvise */
#endif
#include "engine.h"

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
