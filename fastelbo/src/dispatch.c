/* Which ISA level this machine can run. One object per level is linked in (setup.py); plain function pointers choose. */
#include "kernels.h"

#if defined(FASTELBO_X86_LEVELS)
extern const kernel_set fe_kernels_baseline, fe_kernels_v3, fe_kernels_v4;

static int has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

static int has_v4(void) {
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd")
           && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

const kernel_set *fe_kernels(const char *name) {
    const kernel_set *best = has_v4() ? &fe_kernels_v4 : has_v3() ? &fe_kernels_v3 : &fe_kernels_baseline;
    if (!name) return best;
    if (!strcmp(name, "baseline")) return &fe_kernels_baseline;
    if (!strcmp(name, "v3") && has_v3()) return &fe_kernels_v3;
    if (!strcmp(name, "v4") && has_v4()) return &fe_kernels_v4;
    return NULL;
}
#else
extern const kernel_set fe_kernels_baseline; /* the compiler's default for the target; NEON with FMA on arm64 */

const kernel_set *fe_kernels(const char *name) {
    return !name || !strcmp(name, "baseline") ? &fe_kernels_baseline : NULL;
}
#endif
