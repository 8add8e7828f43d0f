/* real_f64: what the templates need to be compiled for double. */
#define PT_REAL double
#define PT_BITS uint64_t
#define PT_SBITS int64_t
#define PT_F64 1
#define PT_NAME(name) name##_f64
#define PT_SQRT __builtin_sqrt
#define PT_INFINITY __builtin_inf()
#define PT_LARGEST 0x1.fffffffffffffp1023
#define PT_FAR 0x1p500 /* its square is finite */
#define PT_ROUNDING 1e-13
