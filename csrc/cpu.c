/* cpu: picks one set of kernels, once, by what the processor has or PERTURBED_CPU asks for. */
#include "kernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    const pt_kernel_set *set;
    int usable;
} choice;

#ifdef PT_HAVE_AVX2
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}
#endif

#ifdef PT_HAVE_AVX512
static int has_avx512(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd");
}
#endif

static const pt_kernel_set *pick(const char **problem) {
    const choice choices[] = {
#ifdef PT_HAVE_AVX512
        { "avx512", &pt_kernels_avx512, has_avx512() },
#endif
#ifdef PT_HAVE_AVX2
        { "avx2", &pt_kernels_avx2, has_avx2() },
#endif
        { "baseline", &pt_kernels_base, 1 },
    };
    const size_t n = sizeof choices / sizeof choices[0];
    const char *wanted = getenv("PERTURBED_CPU");
    *problem = NULL;
    if (wanted && *wanted) {
        for (size_t i = 0; i < n; i++)
            if (strcmp(choices[i].name, wanted) == 0) {
                if (choices[i].usable)
                    return choices[i].set;
                *problem = "PERTURBED_CPU asks for an instruction set that this processor lacks";
            }
        if (!*problem)
            *problem =
                "PERTURBED_CPU must be baseline, avx2 or avx512, and this build must have it";
    }
    for (size_t i = 0; i < n; i++)
        if (choices[i].usable)
            return choices[i].set;
    return &pt_kernels_base;
}

/* Every thread that gets here first finds the same answer, so a race is harmless. */
static _Atomic(const pt_kernel_set *) chosen;
static _Atomic(const char *) problem_found;

const pt_kernel_set *pt_kernels_in_use(void) {
    const pt_kernel_set *set = atomic_load(&chosen);
    if (!set) {
        const char *problem;
        set = pick(&problem);
        atomic_store(&problem_found, problem);
        atomic_store(&chosen, set);
    }
    return set;
}

const char *pt_isa(void) {
    return pt_kernels_in_use()->isa;
}

const char *pt_isa_problem(void) {
    pt_kernels_in_use();
    return atomic_load(&problem_found);
}

const char *pt_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}
