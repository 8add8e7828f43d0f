/* threads: OpenMP, forks, the floating-point environment, Ctrl-C. The only file with pragmas of OpenMP.
 *
 * GNU's OpenMP runtime hangs in a child that was forked after its parent had used it: the child runs serially. Calls
 * from a pool of threads share one budget, so that together they do not use more threads than one call would.
 */
#define _GNU_SOURCE
#include "threads.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <unistd.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define POLL_SECONDS 0.02

double pt_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- floating-point environment ---- */

#if defined(__SSE2__)
uint64_t pt_fp_enter(void) {
    const unsigned int old = _mm_getcsr();
    _mm_setcsr(0x1F80u); /* MXCSR's default: exceptions masked, round to nearest, nothing flushed */
    return old;
}
void pt_fp_leave(uint64_t old) {
    _mm_setcsr((unsigned int)old);
}
#elif defined(__aarch64__)
uint64_t pt_fp_enter(void) {
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return old;
}
void pt_fp_leave(uint64_t old) {
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
}
#else
uint64_t pt_fp_enter(void) {
    return 0;
}
void pt_fp_leave(uint64_t old) {
    (void)old;
}
#endif

/* ---- budget ---- */

static atomic_int threads_in_use;
static atomic_int forked;

#if defined(__unix__) || defined(__APPLE__)
static void after_fork(void) {
    atomic_store(&forked, 1);
    atomic_store(&threads_in_use, 0);
}
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static void watch_forks(void) {
    pthread_atfork(NULL, NULL, after_fork);
}
#endif

int pt_threads_take(int wanted) {
#ifndef _OPENMP
    wanted = 1;
#endif
#if defined(__unix__) || defined(__APPLE__)
    pthread_once(&fork_once, watch_forks);
#endif
    if (wanted < 1 || atomic_load(&forked))
        wanted = 1;
    int used = atomic_load(&threads_in_use), taken;
    do {
        taken = wanted - used > 1 ? wanted - used : 1;
    } while (!atomic_compare_exchange_weak(&threads_in_use, &used, used + taken));
    return taken;
}

void pt_threads_give(int taken) {
    atomic_fetch_sub(&threads_in_use, taken);
}

/* ---- parallel for ---- */

typedef struct {
    int64_t n_tasks;
    pt_task_fn task;
    void *ctx;
    pt_poll_fn poll;
    void *poll_ctx;
    double next_poll;
    atomic_llong next, done;
    atomic_int stopped;
    atomic_llong failed_at; /* lowest task that failed */
    atomic_int status;
    atomic_flag lock;
} team;

static int stop_flag(void *ctx) {
    return atomic_load_explicit(&((team *)ctx)->stopped, memory_order_relaxed);
}

/* The calling thread's own: also asks upwards, by the clock. */
static int stop_or_poll(void *ctx) {
    team *t = ctx;
    if (stop_flag(t))
        return 1;
    if (!t->poll)
        return 0;
    double now = pt_now();
    if (now < t->next_poll)
        return 0;
    t->next_poll = now + POLL_SECONDS;
    if (t->poll(t->poll_ctx))
        atomic_store(&t->stopped, 1);
    return stop_flag(t);
}

static void record_failure(team *t, int64_t index, pt_status status) {
    while (atomic_flag_test_and_set(&t->lock))
        ;
    if (index < atomic_load(&t->failed_at)) {
        atomic_store(&t->failed_at, index);
        atomic_store(&t->status, (int)status);
    }
    atomic_flag_clear(&t->lock);
}

/* Tasks below a failed one still run, so that the lowest bad row is found; tasks above it need not. */
static void work(team *t, int worker) {
    const uint64_t mode = pt_fp_enter();
    pt_poll_fn stop = worker == 0 ? stop_or_poll : stop_flag;
    for (;;) {
        int64_t i = atomic_fetch_add(&t->next, 1);
        if (i >= t->n_tasks)
            break;
        if (!stop(t) && i < atomic_load(&t->failed_at)) {
            pt_status status = t->task(t->ctx, i, worker, stop, t);
            if (status != PT_OK)
                record_failure(t, i, status);
        }
        atomic_fetch_add(&t->done, 1);
    }
    pt_fp_leave(mode);
}

#ifdef _OPENMP
/* The calling thread has nothing left to do: it waits for the others and goes on asking upwards. */
static void wait_for_others(team *t) {
    for (int spins = 0; atomic_load(&t->done) < t->n_tasks; spins++) {
        if (spins < 2000)
            continue;
        stop_or_poll(t);
        struct timespec nap = { 0, 200000 };
        nanosleep(&nap, NULL);
    }
}
#endif

pt_status pt_parallel_for(int64_t n_tasks, int n_threads, pt_task_fn task, void *ctx,
                          pt_poll_fn poll, void *poll_ctx) {
    team t = { .n_tasks = n_tasks,
               .task = task,
               .ctx = ctx,
               .poll = poll,
               .poll_ctx = poll_ctx,
               .lock = ATOMIC_FLAG_INIT };
    atomic_init(&t.next, 0);
    atomic_init(&t.done, 0);
    atomic_init(&t.stopped, 0);
    atomic_init(&t.failed_at, INT64_MAX);
    atomic_init(&t.status, PT_OK);
    t.next_poll = poll ? pt_now() + POLL_SECONDS : 0;
    if (n_threads > n_tasks)
        n_threads = (int)n_tasks;
#ifdef _OPENMP
    if (n_threads > 1) {
#pragma omp parallel num_threads(n_threads)
        {
            int worker = omp_get_thread_num();
            work(&t, worker);
            if (worker == 0)
                wait_for_others(&t);
        }
    } else
#endif
        work(&t, 0);
    if (atomic_load(&t.status) != PT_OK)
        return (pt_status)atomic_load(&t.status);
    return atomic_load(&t.stopped) ? PT_E_STOPPED : PT_OK;
}

/* ---- what the machine offers ---- */

int pt_has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

/* Cores that the control group's quota allows (cgroup v2 "quota period", or the two files of v1); 0: no limit found. */
static int cgroup_cores(void) {
    double quota = -1, period = -1;
    char text[64];
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f) {
        if (fgets(text, sizeof text, f) && strncmp(text, "max", 3) != 0)
            (void)sscanf(text, "%lf %lf", &quota, &period);
        fclose(f);
    } else {
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r"))) {
            (void)!fscanf(f, "%lf", &quota);
            fclose(f);
        }
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r"))) {
            (void)!fscanf(f, "%lf", &period);
            fclose(f);
        }
    }
    if (quota <= 0 || period <= 0)
        return 0;
    int cores = (int)(quota / period);
    return cores < 1 ? 1 : cores;
}

int pt_usable_cores(void) {
    long cores = 1;
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        cores = CPU_COUNT(&set);
    else
        cores = sysconf(_SC_NPROCESSORS_ONLN);
#elif defined(__APPLE__)
    cores = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    int quota = cgroup_cores();
    if (quota > 0 && quota < cores)
        cores = quota;
    return cores < 1 ? 1 : (int)cores;
}
