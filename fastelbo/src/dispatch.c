/* Which ISA level this machine can run. One object per level is linked in (setup.py); plain function pointers choose. */
#include "kernels.h"
#include "latents/latents.h"
#include "optimal/optimal.h"

#if defined(FASTELBO_X86_LEVELS)
#if defined(__AVX__) || defined(__FMA__) || defined(__POPCNT__) || defined(__BMI__) || (defined(__SSE3__) && !defined(__APPLE__))
#error "the baseline must run on every x86-64, and the compiler adds instructions to -march=x86-64: have it do without"
#endif
#include <cpuid.h>

extern const kernel_set fe_kernels_baseline, fe_kernels_v3, fe_kernels_v4;
extern const latents_set fe_latents_baseline, fe_latents_v3, fe_latents_v4;
extern const optimal_set fe_optimal_baseline, fe_optimal_v3, fe_optimal_v4;

/* The rest of x86-64-v3, for which not all compilers have names. (Virtual machines hide one or another.) */
static int has_small_parts_of_v3(void) {
    unsigned a, b, c, d, of_1 = 0, of_7 = 0, extended = 0;
    if (__get_cpuid(1, &a, &b, &c, &d)) of_1 = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) of_7 = b;
    if (__get_cpuid(0x80000001, &a, &b, &c, &d)) extended = c;
    const unsigned movbe_and_f16c = 1u << 22 | 1u << 29, bmi1_and_bmi2 = 1u << 3 | 1u << 8, lzcnt = 1u << 5;
    return (of_1 & movbe_and_f16c) == movbe_and_f16c && (of_7 & bmi1_and_bmi2) == bmi1_and_bmi2 && (extended & lzcnt);
}

static int has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_small_parts_of_v3();
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

const latents_set *fe_latents(const kernel_set *set) {
    return set == &fe_kernels_v4 ? &fe_latents_v4 : set == &fe_kernels_v3 ? &fe_latents_v3 : &fe_latents_baseline;
}

const optimal_set *fe_optimal(const kernel_set *set) {
    return set == &fe_kernels_v4 ? &fe_optimal_v4 : set == &fe_kernels_v3 ? &fe_optimal_v3 : &fe_optimal_baseline;
}
#else
extern const latents_set fe_latents_baseline;
extern const optimal_set fe_optimal_baseline;
extern const kernel_set fe_kernels_baseline; /* the compiler's default for the target; NEON with FMA on arm64 */

const kernel_set *fe_kernels(const char *name) {
    return !name || !strcmp(name, "baseline") ? &fe_kernels_baseline : NULL;
}

const latents_set *fe_latents(const kernel_set *set) {
    (void)set;
    return &fe_latents_baseline;
}

const optimal_set *fe_optimal(const kernel_set *set) {
    (void)set;
    return &fe_optimal_baseline;
}
#endif
