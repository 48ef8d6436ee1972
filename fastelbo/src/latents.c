/* What is computed of latents beside their losses, compiled once per ISA level, as kernels.c is. */
#include "latents/latents.h"

#define REAL 64
#include "latents/tasks.h"
#include "math/next_type.h"

#define REAL 32
#include "latents/tasks.h"
#include "math/next_type.h"

static const char *hole_in_loops(void) {
    const char *found = hole_in_forms_f32();
    return found ? found : hole_in_forms_f64();
}

#define NAME_(x) fe_latents_##x
#define NAME(x) NAME_(x)
extern const latents_set NAME(ISA);
const latents_set NAME(ISA) = {{sizeof(any_work_f32), sizeof(any_work_f64)}, {run_latents_f32, run_latents_f64},
                               {finish_latents_f32, finish_latents_f64}, {positive_f32, positive_f64}, hole_in_loops};
