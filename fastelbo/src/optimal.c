/* Sums and gradients at the optimal variance, compiled once per ISA level, as kernels.c is. */
#include "optimal/optimal.h"

#define REAL 64
#include "optimal/sums.h"
#include "optimal/gradients.h"
#include "math/next_type.h"

#define REAL 32
#include "optimal/gradients.h"
#include "math/next_type.h"

typedef union { sums_work sums; gradients_work_f32 f32; gradients_work_f64 f64; } optimal_work;

#define NAME_(x) fe_optimal_##x
#define NAME(x) NAME_(x)
extern const optimal_set NAME(ISA);
const optimal_set NAME(ISA) = {sizeof(optimal_work), sum_task, finish_sums, factors_of_rows, {gradient_task_f32, gradient_task_f64}};
