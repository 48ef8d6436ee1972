/* The tasks of a call on latents. Once per type (real.h). */
#ifndef LATENTS_TASKS_H
#define LATENTS_TASKS_H

#include "back.h"
#include "bound.h"
#include "draw.h"
#include "floor.h"

typedef union { RE(bound_work) of_bound; RE(floor_work) of_floors; } RE(any_work); /* they begin with a latents_work */

static void RE(run_latents)(const sampling *s, ptrdiff_t task, void *memory) {
    if (s->what == FLOORED) {
        RE(floor_task)(s, task, memory);
        return;
    }
    RE(latents_work) *w = RE(begin_latents)(s, memory);
    const ptrdiff_t part = task % s->parts, column = task / s->parts % s->column_tasks * s->column_step;
    const ptrdiff_t row = task / s->parts / s->column_tasks * s->row_step, term = part * s->term_step;
    const latents_place from = {row, term, column};
    const latents_place to = {smaller(row + s->row_step, s->rows), smaller(term + s->term_step, s->terms), smaller(column + s->column_step, s->columns)};
    if (s->what == BOUND)
        RE(bound_task)(memory, from, to);
    else if (s->what == GRADIENTS)
        RE(back_task)(w, part, from, to);
    else
        RE(sample_task)(w, from, to);
}

/* After all tasks */
static void RE(finish_latents)(sampling *s, void *memory) {
    if (s->what == FLOORED) s->total = RE(finish_floors)(s, memory);
    if (s->what == GRADIENTS && s->parts > 1) RE(finish_sums)(s);
}

#endif
