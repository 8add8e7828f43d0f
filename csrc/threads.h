/* threads: the one place that starts threads. No kernel knows about them. */
#ifndef PT_THREADS_H
#define PT_THREADS_H

#include "perturbed.h"

/* Do task `index` (0 <= index < n_tasks) as worker `worker` (0 <= worker < n_workers). Asks `stop` between long steps.
 * Not PT_OK: no further task is started. */
typedef pt_status (*pt_task_fn)(void *ctx, int64_t index, int worker, pt_poll_fn stop,
                                void *stop_ctx);

/* Run all tasks on up to n_threads threads and wait.
 *   n_threads  [in]  from pt_threads_take; tasks are handed out in order, one at a time
 *   poll       [in]  asked from the calling thread about every 20 ms, also while it only waits; may be NULL
 * Each worker runs in the mode of pt_fp_enter. Returns the first status that
 * is not PT_OK in order of task number among those that ran, or PT_E_STOPPED. */
pt_status pt_parallel_for(int64_t n_tasks, int n_threads, pt_task_fn task, void *ctx,
                          pt_poll_fn poll, void *poll_ctx);

/* Threads for one call: up to `wanted`, fewer while other calls of this process use them, 1 in a forked child.
 * What was taken must be given back. */
int pt_threads_take(int wanted);
void pt_threads_give(int taken);

/* Set round-to-nearest with no flush-to-zero in the calling thread; returns what it had, for pt_fp_leave. */
uint64_t pt_fp_enter(void);
void pt_fp_leave(uint64_t old);

/* Seconds of a monotonic clock. */
double pt_now(void);

#endif
