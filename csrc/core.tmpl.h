/* core: all templates for float, then for double, as one exported table. Needs PT_ISA (a string) and PT_KERNEL_SET (the
 * table's name); included once by each ISA's object. Everything but the table is static. */
#if !defined(PT_ISA) || !defined(PT_KERNEL_SET)
#error "core.tmpl.h needs PT_ISA and PT_KERNEL_SET"
#endif

#include <stdint.h>
#include <string.h>

#include "kernels.h"
#include "rng.h"
#include "sort_places.h"

/* Bytes of a vector register, for the few loops that are written with vector types: loops over arrays of lanes would do,
 * but gcc and clang each leave some of these in memory. */
#if defined(__AVX512F__)
#define PT_VECTOR 64
#elif defined(__AVX2__)
#define PT_VECTOR 32
#else
#define PT_VECTOR 16
#endif

#include "real_f32.h"
#include "math.tmpl.h"
#include "real_end.h"

#include "real_f64.h"
#include "math.tmpl.h"
#include "real_end.h"

#include "noise_mean.h"
#include "sum_of_gamma.h"

#include "estimators/places.h"
#include "estimators/rank_series.h"

#include "real_f32.h"
#include "core_type.tmpl.h"
#include "real_end.h"

#include "real_f64.h"
#include "core_type.tmpl.h"
#include "real_end.h"

const pt_kernel_set PT_KERNEL_SET = { PT_ISA, &kernels_f32, &kernels_f64 };
