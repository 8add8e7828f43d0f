/* real_end: forget what real_f32.h or real_f64.h defined. */
#undef PT_REAL
#undef PT_BITS
#undef PT_SBITS
#undef PT_F64
#undef PT_NAME
#undef PT_SQRT
#undef PT_INFINITY
#undef PT_LARGEST
#undef PT_FAR
#undef PT_ROUNDING
