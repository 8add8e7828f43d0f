/* real_f32: what the templates need to be compiled for float. */
#define PT_REAL float
#define PT_BITS uint32_t
#define PT_SBITS int32_t
#define PT_F64 0
#define PT_NAME(name) name##_f32
#define PT_SQRT __builtin_sqrtf
#define PT_INFINITY __builtin_inff()
#define PT_LARGEST 0x1.fffffep127f
#define PT_FAR 0x1p60f /* its square is finite */
#define PT_ROUNDING 1e-5
