/* Everything that computes, compiled once per ISA level: ISA names the level, and the compiler's flags select it. */
#include "kernels.h"

#define REAL 64
#include "walk/rows.h"
#include "walk/tables.h"
#include "math/next_type.h"

#define REAL 32
#include "walk/rows.h"
#include "walk/tables.h"
#include "math/next_type.h"

#define EACH(name)                                               \
    for (ptrdiff_t i = 0; i < n; i++) y[i] = name(x[i]);         \
    break
#define FUNCTION(REAL_T, suffix)                                                            \
    static void function_##suffix(int which, const void *from, void *to, ptrdiff_t n) {     \
        const REAL_T *x = from;                                                             \
        REAL_T *y = to;                                                                     \
        switch (which) {                                                                    \
            case 0: EACH(exp_##suffix);                                                     \
            case 1: EACH(log_full_##suffix);                                                \
            case 2: EACH(expm1_##suffix);                                                   \
            case 3: EACH(log1p_##suffix);                                                   \
        }                                                                                   \
    }
FUNCTION(float, f32)
FUNCTION(double, f64)

static const char *hole_in_tables(void) {
#if defined(__OPTIMIZE__)
    check_groups();
#endif
    const char *found = hole_f32();
    return found ? found : hole_f64();
}

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define NAME_(x) fe_kernels_##x
#define NAME(x) NAME_(x)
extern const kernel_set NAME(ISA);
const kernel_set NAME(ISA) = {STRING(ISA), {sizeof(work_f32), sizeof(work_f64)}, {run_f32, run_f64},
                                {finish_rows_f32, finish_rows_f64}, {finish_f32, finish_f64}, join_reduced, {function_f32, function_f64}, hole_in_tables};
