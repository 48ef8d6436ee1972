/* The order of work of a call on the optimal variance: by shapes for the sums, by strides for the gradients, each of which is an element's own. */
#include "optimal.h"

#define SHORT_AXIS 16

static ptrdiff_t product_of(const optimal *o, int from, int to) {
    ptrdiff_t n = 1;
    for (int i = from; i < to; i++) n *= o->shape[i];
    return n;
}

/* Whether one stride walks through all columns of an argument */
static int is_one_run(const optimal *o, const view *v) {
    for (int i = o->split; v->data && i + 1 < o->dims; i++)
        if (v->stride[i] != v->stride[i + 1] * o->shape[i + 1]) return 0;
    return 1;
}

/* Whether all elements are floats or doubles that can be read where they are */
static int is_native(const optimal *o, const view *v) {
    if (v->type != F32 && v->type != F64) return 0;
    int all = (uintptr_t)v->data % (uintptr_t)size_of[v->type] == 0;
    for (int i = 0; i < o->dims; i++) all &= v->stride[i] % size_of[v->type] == 0;
    return all;
}

/* Lines of x and mean that lie across memory, and side by side: of the last row axis, or of the last axis of an event's lines */
static int axis_across(const optimal *o) {
    const view *x = &o->argument[OF_X], *mean = &o->argument[OF_MEAN];
    const ptrdiff_t item = size_of[x->type % SWAPPED];
    if (x->type != mean->type || !is_native(o, x) || !is_native(o, mean) || o->argument[OF_WHERE].data || o->x_scale != 1) return 0;
    if ((o->argument[OF_WEIGHT].data && !o->row_weight) || o->run != o->columns || o->columns < 2) return 0;
    if (x->stride[o->dims - 1] == item && mean->stride[o->dims - 1] == item) return 0;
    const int row = o->row_dims - 1;
    if (row >= 0 && o->shape[row] >= ACROSS && x->stride[row] == item && mean->stride[row] == item) return row + 1;
    const int axis = o->split - 1;
    if (axis < o->row_dims || o->shape[axis] < ACROSS || o->blocks > ACROSS_BLOCKS || o->lines != o->shape[axis]) return 0;
    return x->stride[axis] == item && mean->stride[axis] == item ? axis + 1 : 0;
}

/* Whether one stride walks through all elements of the arguments, event after event */
static int are_small(const optimal *o) {
    if (o->lines != 1 || o->columns > SMALL_EVENT) return 0;
    for (int a = 0; a < N_OF_SUMS; a++) {
        const view *v = &o->argument[a];
        ptrdiff_t next = 0, any = 0;
        if (!v->data || (a == OF_WEIGHT && o->row_weight)) continue;
        for (int i = o->dims - 1; i >= 0; i--) {
            if (o->shape[i] == 1) continue;
            if (any && v->stride[i] != next) return 0;
            next = v->stride[i] * o->shape[i], any = 1;
        }
    }
    return 1;
}

void fe_optimal_arrange_sums(optimal *o) {
    o->rows = product_of(o, 0, o->row_dims);
    o->split = o->dims;
    o->columns = 1;
    while (o->split > o->row_dims && o->columns < BLOCK_SIZE) o->columns *= o->shape[--o->split];
    o->lines = product_of(o, o->row_dims, o->split);
    o->blocks = (o->columns + BLOCK_SIZE - 1) / BLOCK_SIZE;
    o->run = o->split < o->dims ? o->shape[o->dims - 1] : 1;
    int flat = 1;
    for (int a = 0; a < N_OF_SUMS; a++) flat &= is_one_run(o, &o->argument[a]);
    if (flat) o->run = o->columns;
    o->chunk_lines = o->lines, o->chunk_blocks = o->blocks, o->chunks = 1;
    if (o->blocks > CHUNK_BLOCKS) {
        o->chunk_lines = 1, o->chunk_blocks = CHUNK_BLOCKS;
        o->chunks = o->lines * ((o->blocks + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS);
    } else if (o->lines * o->blocks > CHUNK_BLOCKS) {
        o->chunk_lines = CHUNK_BLOCKS / o->blocks;
        o->chunks = (o->lines + o->chunk_lines - 1) / o->chunk_lines;
    }
    o->across = axis_across(o);
    o->small = are_small(o);
    o->rows_together = OPTIMAL_SHARE / (o->lines * o->columns);
    o->rows_together = o->rows_together < ACROSS ? ACROSS : o->rows_together - o->rows_together % ACROSS;
    if (o->chunks > 1 || o->lines * o->columns >= OPTIMAL_SHARE) o->rows_together = o->across && o->across <= o->row_dims ? ACROSS : 1;
    o->part = NULL;
}

static ptrdiff_t size_of_step(ptrdiff_t step) { return step < 0 ? -step : step; }

/* Strides of axis i of the call: of the arguments, variances and factors, then of the gradients */
typedef struct { ptrdiff_t shape, stride[N_OF_OPTIMAL], gradient[2]; } walk_axis;

static int is_before(const optimal *o, const walk_axis *a, const walk_axis *b) {
    const int k = o->gradient[1].data ? 1 : 0;
    return size_of_step(a->gradient[k]) > size_of_step(b->gradient[k]);
}

static int is_merged(const walk_axis *outer, const walk_axis *inner) {
    int all = 1;
    for (int a = 0; a < N_OF_OPTIMAL; a++) all &= outer->stride[a] == inner->stride[a] * inner->shape;
    for (int k = 0; k < 2; k++) all &= outer->gradient[k] == inner->gradient[k] * inner->shape;
    return all;
}

void fe_optimal_arrange_gradients(optimal *o) {
    walk_axis axis[MAX_DIMS + 1], x;
    int n = 0;
    ptrdiff_t step = 1;
    o->rows = product_of(o, 0, o->row_dims);
    for (int i = o->dims - 1; i >= 0; i--) {
        if (o->shape[i] == 1) continue;
        x.shape = o->shape[i];
        for (int a = 0; a < N_OF_SUMS; a++) x.stride[a] = o->argument[a].data ? o->argument[a].stride[i] : 0;
        x.stride[OF_VARIANCE] = x.stride[OF_FACTOR] = i < o->row_dims ? step : 0;
        if (i < o->row_dims) step *= o->shape[i];
        for (int k = 0; k < 2; k++) x.gradient[k] = o->gradient[k].data ? o->gradient[k].stride[i] : 0;
        int at = n++;
        for (; at > 0 && is_before(o, &axis[at - 1], &x); at--) axis[at] = axis[at - 1];
        axis[at] = x;
    } /* the innermost first */
    int dims = 0;
    for (int i = 0; i < n; i++) {
        if (dims && is_merged(&axis[i], &axis[dims - 1])) {
            axis[dims - 1].shape *= axis[i].shape;
            continue;
        }
        axis[dims++] = axis[i];
    }
    for (int i = 1; i < dims; i++) /* a long axis within, though it may lie apart: strips take their time */
        if (axis[0].shape < SHORT_AXIS && axis[i].shape >= SHORT_AXIS) x = axis[0], axis[0] = axis[i], axis[i] = x;
    if (!dims) {
        memset(&axis[0], 0, sizeof axis[0]);
        axis[0].shape = dims = 1;
    }
    o->walk_dims = dims, o->walk_rows = 1;
    for (int i = 0; i < dims; i++) {
        const walk_axis *from = &axis[dims - 1 - i];
        o->walk_shape[i] = from->shape;
        for (int a = 0; a < N_OF_OPTIMAL; a++) o->walk_stride[a][i] = from->stride[a];
        for (int k = 0; k < 2; k++) o->gradient_stride[k][i] = from->gradient[k];
        if (i < dims - 1) o->walk_rows *= from->shape;
    }
    o->walk_columns = o->walk_shape[dims - 1];
}
