/* c_program: the core from plain C. Checks itself; prints the y of a ranking for the key given as argument.
 *
 * Built by test_c_api.py from this file and csrc's sources, core_avx2.c and core_avx512.c left out.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perturbed.h"

#define ROWS 2
#define N 4

static int failures;

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "line %d: %s\n", __LINE__, #what);                                     \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static const double theta[ROWS * N] = { 0.5, 1.5, -0.25, 1.0, -1.0, 0.125, 2.0, 0.0 };
static const double epsilon[ROWS] = { 0.5, 1.0 };

static pt_job make_job(const char *solver, const double *items, int64_t n_samples) {
    pt_job job;
    memset(&job, 0, sizeof job);
    job.solver = solver;
    job.f64 = 1;
    job.batch_dims[0] = ROWS;
    job.n_batch_dims = 1;
    job.item_dims[0] = N;
    job.n_item_dims = 1;
    job.theta = items;
    job.epsilon = epsilon;
    job.noise.kind = PT_NORMAL;
    job.key = pt_key(3, 0, 0);
    job.n_samples = n_samples;
    job.baseline = PT_HYBRID;
    job.memory_limit = 1 << 24;
    job.n_threads = 2;
    return job;
}

static void check_argmax(void) {
    pt_job job = make_job("argmax", theta, 64);
    pt_error err = { PT_OK, -1, "" };
    double y[ROWS * N], value[ROWS], error[ROWS], grad[ROWS * N], told[ROWS * N];
    const double g[ROWS * N] = { 1, -2, 3, 0.5, 0, 1, -1, 2 };
    const pt_forward_out out = { .y = y, .value = value, .value_stderr = error };
    CHECK(pt_prepare(&job, &err) == PT_OK);
    CHECK(job.n_rows == ROWS && job.n == N && job.problem.y_size == N);
    CHECK(pt_forward(&job, &out, &err) == PT_OK);
    CHECK(pt_vjp(&job, g, grad, told, &err) == PT_OK);
    for (int r = 0; r < ROWS; r++) {
        double sum = 0, inner = 0, top = theta[r * N];
        for (int j = 0; j < N; j++) {
            const double count = y[r * N + j] * 64;
            CHECK(count == floor(count) && count >= 0 && count <= 64);
            sum += y[r * N + j];
            inner += y[r * N + j] * theta[r * N + j];
            top = fmax(top, theta[r * N + j]);
            CHECK(told[r * N + j] > 0);
        }
        CHECK(sum == 1);
        CHECK(value[r] > inner && value[r] > top &&
              error[r] > 0); /* noise only adds to a maximum */
        /* The mean gradient along (1, .., 1) is 0 within its error. */
        double along = 0, spread = 0;
        for (int j = 0; j < N; j++) {
            along += grad[r * N + j];
            spread += told[r * N + j];
        }
        CHECK(fabs(along) < 3 * spread);
    }
    /* A constant cotangent: <y, g> is the same in every draw, and the baseline takes it away. */
    const double ones[ROWS * N] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    CHECK(pt_vjp(&job, ones, grad, NULL, &err) == PT_OK);
    for (int i = 0; i < ROWS * N; i++)
        CHECK(fabs(grad[i]) < 1e-12);
    pt_release(&job);
    CHECK(job.codes == NULL && job.y_mean == NULL);
    CHECK(pt_forward(&job, &out, &err) == PT_OK); /* may be used again */
    pt_release(&job);
}

/* Exact normal argmax of two equal entries: 1/2 each, value theta + epsilon / sqrt(pi). */
static void check_exact(void) {
    const double pairs[ROWS * N] = { 1, 1, -INFINITY, -INFINITY, -3, -INFINITY, -3, -INFINITY };
    pt_job job = make_job("argmax", pairs, 1);
    pt_error err = { PT_OK, -1, "" };
    double y[ROWS * N], value[ROWS], jac[ROWS * N * N];
    CHECK(pt_prepare(&job, &err) == PT_OK && pt_has_exact(&job));
    const pt_exact_io io = { .y = y, .value = value, .jac = jac };
    CHECK(pt_exact(&job, &io, &err) == PT_OK);
    CHECK(fabs(y[0] - 0.5) < 1e-14 && fabs(y[1] - 0.5) < 1e-14 && y[2] == 0 && y[3] == 0);
    CHECK(fabs(y[4] - 0.5) < 1e-14 && fabs(y[6] - 0.5) < 1e-14 && y[5] == 0 && y[7] == 0);
    CHECK(fabs(value[0] - (1 + 0.5 / sqrt(acos(-1.0)))) < 1e-14);
    CHECK(fabs(value[1] - (-3 + 1 / sqrt(acos(-1.0)))) < 1e-14);
    CHECK(fabs(jac[0] - 1 / (2 * sqrt(acos(-1.0)) * 0.5)) < 1e-13 && jac[1] == -jac[0]);
    pt_release(&job);
}

static void check_errors(void) {
    double bad[ROWS * N];
    memcpy(bad, theta, sizeof bad);
    bad[N + 2] = NAN;
    pt_job job = make_job("argmax", bad, 8);
    pt_error err = { PT_OK, -1, "" };
    CHECK(pt_prepare(&job, &err) == PT_E_VALUE);
    CHECK(err.status == PT_E_VALUE && err.row == 1);
    CHECK(strstr(err.message, "NaN") && strstr(err.message, "theta[1, 2]"));
    pt_release(&job);

    for (int j = 0; j < N; j++)
        bad[j] = -INFINITY;
    bad[N + 2] = 0;
    job = make_job("argmax", bad, 8);
    err = (pt_error){ PT_OK, -1, "" };
    CHECK(pt_prepare(&job, &err) == PT_E_INFEASIBLE && err.row == 0);
    pt_release(&job);

    job = make_job("simplex", theta, 8);
    err = (pt_error){ PT_OK, -1, "" };
    CHECK(pt_prepare(&job, &err) == PT_E_VALUE && strlen(err.message) > 0);
    pt_release(&job);

    job = make_job("top_k", theta, 8);
    job.ints[0] = N + 1;
    job.n_ints = 2;
    err = (pt_error){ PT_OK, -1, "" };
    CHECK(pt_prepare(&job, &err) != PT_OK && strstr(err.message, "k must"));
    CHECK(pt_prepare(&job, NULL) != PT_OK); /* err may be left out */
    pt_release(&job);
}

static int say_stop(void *ctx) {
    ++*(int *)ctx;
    return 1;
}

static void check_poll(void) {
    int asked = 0;
    double y[ROWS * N];
    pt_job job = make_job("ranking", theta, 10 * 1000 * 1000);
    pt_error err = { PT_OK, -1, "" };
    job.n_ints = 1;
    job.memory_limit = 1 << 16;
    job.poll = say_stop;
    job.poll_ctx = &asked;
    CHECK(pt_prepare(&job, &err) == PT_OK);
    CHECK(pt_forward(&job, &(pt_forward_out){ .y = y }, &err) == PT_E_STOPPED);
    CHECK(asked >= 1);
    pt_release(&job);
}

/* y_eps of a ranking, and J^T g, with all digits: what the Python layer gives for the same key. */
static void print_ranking(uint64_t key) {
    pt_job job = make_job("ranking", theta, 100);
    pt_error err = { PT_OK, -1, "" };
    double y[ROWS * N], grad[ROWS * N];
    job.n_ints = 1;
    job.key = key;
    CHECK(pt_prepare(&job, &err) == PT_OK);
    CHECK(pt_forward(&job, &(pt_forward_out){ .y = y }, &err) == PT_OK);
    CHECK(pt_vjp(&job, theta, grad, NULL, &err) == PT_OK);
    for (int i = 0; i < ROWS * N; i++)
        printf("%a %a\n", y[i], grad[i]);
    pt_release(&job);
}

int main(int argc, char **argv) {
    CHECK(pt_isa_problem() == NULL && strlen(pt_isa()) > 0 && strlen(pt_compiler()) > 0);
    CHECK(pt_usable_cores() >= 1);
    check_argmax();
    check_exact();
    check_errors();
    check_poll();
    print_ranking(argc > 1 ? strtoull(argv[1], NULL, 10) : 0);
    return failures > 0;
}
