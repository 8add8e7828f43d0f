/* core_avx2: the kernels for avx2. */
#define PT_ISA "avx2"
#define PT_KERNEL_SET pt_kernels_avx2
#include "core.tmpl.h"
