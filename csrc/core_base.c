/* core_base: the kernels for baseline. */
#define PT_ISA "baseline"
#define PT_KERNEL_SET pt_kernels_base
#include "core.tmpl.h"
