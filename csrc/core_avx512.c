/* core_avx512: the kernels for avx512. */
#define PT_ISA "avx512"
#define PT_KERNEL_SET pt_kernels_avx512
#include "core.tmpl.h"
