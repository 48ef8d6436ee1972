/* From the shapes of a call to the order of its work: which rows form a block, how gradients of broadcast arguments are
 * collected, how much scratch that takes. What orders the sums depends on shapes alone, never on strides, values, threads or on which
 * results were asked for: that is what makes the bits reproducible. (Merging axes, `uniform` and `single` read strides, and change no
 * order.) */
#include "kernels.h"

#include <stdlib.h>

#define MOST_BLOCKS 64
#define GROUP_ELEMENTS ((ptrdiff_t)1 << 16) /* what S samples share stays in the second-level cache meanwhile */
#define LARGEST_GROUP 512
#define BLOCKS_BESIDE_GROUPS 16              /* at least, if there are rows for them: threads have to share them */
#define ELEMENTS_PER_BLOCK ((ptrdiff_t)1 << 14)
#ifndef STREAMED_BYTES                        /* tests, sanitizers: fewer */
#define STREAMED_BYTES ((ptrdiff_t)1 << 25) /* of gradients: a third-level cache, or what one call may take of a shared one */
#endif
#define ROWS_PER_BLOCK 16                 /* folding a block's accumulators must cost little beside its rows */
#define MOST_ACCUMULATORS ((ptrdiff_t)1 << 19) /* doubles: 4 MiB */

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static ptrdiff_t extent(const plan *p, int from, int to, uint64_t without) {
    ptrdiff_t n = 1;
    for (int i = from; i < to; i++)
        if (!(without >> i & 1)) n *= p->shape[i];
    return n;
}

static uint64_t bits(int from, int to) {
    uint64_t all = 0;
    for (int i = from; i < to; i++) all |= (uint64_t)1 << i;
    return all;
}

/* What the collectors of a call take per task if the row axes in `inner` are walked for each group of outer rows. An argument whose
 * summed row axes all lie there is complete after each group (SLAB); others need all their elements at once (GLOBAL). */
static ptrdiff_t collectors(const plan *p, uint64_t inner, collector *c) {
    uint64_t rows = bits(0, p->row_dims), events = bits(p->row_dims, p->dims);
    ptrdiff_t total = 0;
    for (int a = 0; a < N_GRADS; a++) {
        uint64_t summed = p->broadcast[a];
        int of_row = p->constant && a >= SCALE; /* its gradient comes once a row, not once an element */
        int crosses_chunks = p->chunks > 1 && (summed & events) && !of_row;
        c[a].by_column = !(summed & events) && !of_row;
        c[a].event_size = of_row ? 1 : c[a].by_column ? (p->columns < p->chunk ? p->columns : p->chunk)
                                                        : extent(p, p->row_dims, p->dims, summed);
        if (!(summed & rows) && !crosses_chunks && ((of_row) || c[a].by_column))
            c[a].mode = DIRECT, c[a].size = 0;
        else if (!(summed & rows & ~inner) && !crosses_chunks)
            c[a].mode = SLAB, c[a].size = extent(p, 0, p->row_dims, summed | (rows & ~inner)) * c[a].event_size;
        else
            c[a].mode = GLOBAL, c[a].size = extent(p, 0, p->row_dims, summed) * c[a].event_size;
        c[a].turns = of_row && c[a].mode == GLOBAL && c[a].size == 1;
        if (c[a].turns) c[a].size = TURNS;
        c[a].offset = total;
        total += c[a].size * (c[a].mode == SLAB ? p->group : 1);
    }
    return total;
}

/* The set of row axes to walk for each group of the others: the one that needs the fewest accumulators, but leaves rows to share among threads */
static uint64_t choose_inner(const plan *p) {
    collector c[N_GRADS];
    uint64_t rows = bits(0, p->row_dims), best = 0;
    ptrdiff_t least = collectors(p, 0, c);
    for (int a = 0; a < N_GRADS; a++) {
        uint64_t inner = p->broadcast[a] & rows;
        if (!inner || extent(p, 0, p->row_dims, inner) == 1) continue;
        ptrdiff_t size = collectors(p, inner, c);
        if (size < least) least = size, best = inner;
    }
    return best;
}

static void each_view(plan *p, void (*change)(ptrdiff_t *stride, const int *), const int *data) {
    for (int a = 0; a < N_ARGUMENTS; a++)
        if (p->argument[a].data) change(p->argument[a].stride, data);
    for (int a = 0; a < N_GRADS; a++)
        if (p->gradient[a].data) change(p->gradient[a].stride, data), change(p->collect[a].stride, data);
    change(p->value.stride, data);
}

/* stride'[i] = stride[order[i]]; order[-1] is their number */
static void permute(ptrdiff_t *stride, const int *order) {
    ptrdiff_t old[MAX_DIMS];
    int n = order[-1];
    memcpy(old, stride, (size_t)n * sizeof *old);
    for (int i = 0; i < n; i++) stride[i] = old[order[i]];
}

static void reorder(plan *p, uint64_t inner) {
    int order[MAX_DIMS + 1], n = 1;
    ptrdiff_t shape[MAX_DIMS];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < p->row_dims; i++)
            if ((int)(inner >> i & 1) == pass) order[n++] = i;
        if (pass == 0) p->outer_dims = n - 1;
    }
    for (int i = p->row_dims; i < p->dims; i++) order[n++] = i;
    order[0] = p->dims;
    memcpy(shape, p->shape, sizeof shape);
    for (int i = 0; i < p->dims; i++) p->shape[i] = shape[order[i + 1]];
    each_view(p, permute, order + 1);
}

/* data = {i, n, merge}: drop axis i of n; its outer neighbour takes over its stride if they are merged */
static void drop(ptrdiff_t *stride, const int *data) {
    int i = data[0];
    if (data[2]) stride[i - 1] = stride[i];
    memmove(stride + i, stride + i + 1, (size_t)(data[1] - i - 1) * sizeof *stride);
}

static int can_merge(const plan *p, int i) {
    int merge = 1;
#define FITS(v) ((v).stride[i - 1] == (v).stride[i] * p->shape[i])
    for (int a = 0; a < N_ARGUMENTS; a++) merge &= !p->argument[a].data || FITS(p->argument[a]);
    for (int a = 0; a < N_GRADS; a++) merge &= !p->gradient[a].data || (FITS(p->gradient[a]) && FITS(p->collect[a]));
    return merge && (!p->value.data || FITS(p->value));
#undef FITS
}

/* Drop axes of size 1 and merge neighbours, so that nearly every call has one row axis and one event axis */
static void collapse(plan *p) {
    int groups[3] = {p->outer_dims, p->row_dims - p->outer_dims, p->dims - p->row_dims};
    for (int g = 2, end = p->dims; g >= 0; g--) {
        int begin = end - groups[g];
        for (int i = end - 1; i >= begin; i--) {
            int merge = i > begin && can_merge(p, i);
            if (p->shape[i] != 1 && !merge) continue;
            if (p->shape[i] == 1) merge = 0;
            int data[3] = {i, p->dims, merge};
            if (merge) p->shape[i - 1] *= p->shape[i];
            each_view(p, drop, data);
            memmove(p->shape + i, p->shape + i + 1, (size_t)(p->dims - i - 1) * sizeof *p->shape);
            p->dims--, groups[g]--;
        }
        end = begin;
    }
    p->outer_dims = groups[0];
    p->row_dims = groups[0] + groups[1];
}

/* Strides of the collected elements: C order over the axes that are kept */
static void collector_strides(plan *p, int outer_dims) {
    for (int a = 0; a < N_GRADS; a++) {
        collector *c = &p->collect[a];
        int of_row = p->constant && a >= SCALE;
        ptrdiff_t step = 1;
        if (!p->gradient[a].data) continue;
        for (int i = p->dims - 1; i >= 0; i--) {
            if (i == p->row_dims - 1) step = c->event_size;
            int kept = !(p->broadcast[a] >> i & 1) && p->shape[i] > 1 && !(of_row && i >= p->row_dims)
                       && !(c->mode == SLAB && i < outer_dims);
            c->stride[i] = kept ? step : 0;
            if (kept) step *= p->shape[i];
        }
    }
}

static void permute_masks(plan *p, uint64_t inner) {
    for (int a = 0; a < N_GRADS; a++) {
        uint64_t mask = 0;
        int n = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i < p->row_dims; i++)
                if ((int)(inner >> i & 1) == pass) mask |= (p->broadcast[a] >> i & 1) << n++;
        p->broadcast[a] = mask | (p->broadcast[a] & bits(p->row_dims, p->dims));
    }
}

/* Whether an argument is the same along axes [0, to) */
static int is_same(const plan *p, int a, int to) {
    for (int i = 0; p->argument[a].data && i < to; i++)
        if (p->argument[a].stride[i]) return 0;
    return 1;
}

/* Where gradients are complete as the loop forms them: nothing has to read them again */
static int may_stream(const plan *p) {
    const int both = p->gradient[FIRST].data && p->gradient[SECOND].data, last = p->constant ? SECOND : PRIOR;
    const int more = both || p->argument[WEIGHT].data || p->argument[WHERE].data || p->min_var > 0 || p->x_scale != 1;
    ptrdiff_t outputs = 0;
    for (int a = FIRST; a <= last; a++) outputs += p->gradient[a].data && p->collect[a].mode == DIRECT;
    return !p->aliased && !more && outputs * p->rows * p->columns * (p->is_double ? 8 : 4) >= STREAMED_BYTES;
}

static int allocate(plan *p) {
    size_t tasks = (size_t)fe_plan_tasks(p) + 1;
    size_t doubles = tasks * (size_t)p->accumulators * (p->is_double ? 2 : 1);
    size_t partials = p->chunks > 1 ? (size_t)(p->rows * p->parts) : 0;
    size_t totals = p->reduction != NONE ? tasks : 0;
    size_t bytes = doubles * sizeof(double) + partials * sizeof(partial) + totals * sizeof(pair);
    p->scratch = NULL;
    if (!bytes) return 0;
    char *memory = calloc(bytes, 1);
    if (!memory) return -1;
    p->scratch = memory;
    p->partials = (partial *)memory;
    p->totals = (pair *)(memory + partials * sizeof(partial));
    p->accumulator = (double *)(memory + partials * sizeof(partial) + totals * sizeof(pair));
    return 0;
}

int fe_plan_prepare(plan *p) {
    uint64_t long_axes = 0, events;
    for (int i = 0; i < p->dims; i++) long_axes |= p->shape[i] != 1 ? (uint64_t)1 << i : 0;
    for (int a = 0; a < N_GRADS; a++) p->broadcast[a] &= long_axes;
    events = long_axes & bits(p->row_dims, p->dims);
    p->rows = extent(p, 0, p->row_dims, 0);
    p->columns = extent(p, p->row_dims, p->dims, 0);
    if (p->reduction == MEAN && p->rows) p->factor /= (double)p->rows;
    p->constant = p->loss != BERNOULLI && p->columns > 1 && !(events & ~p->broadcast[SCALE]) && (p->kind[1] == UNIT || !(events & ~p->broadcast[PRIOR]));
    int unweighted = p->constant && !p->argument[WEIGHT].data && !p->argument[WHERE].data;
    p->plain = unweighted && p->loss == NLL;
    p->in_double = unweighted && !p->is_double;
    p->chunk = p->plain && !(p->broadcast[FIRST] | p->broadcast[SECOND]) ? 4 * LONGEST_CHUNK : LONGEST_CHUNK;
    p->chunks = p->columns > p->chunk ? (p->columns + p->chunk - 1) / p->chunk : 1;
    p->parts = (p->columns + LONGEST_CHUNK - 1) / LONGEST_CHUNK;

    p->group = 1; /* while axes are chosen: few rows must be summed as many are */
    uint64_t inner = p->row_dims > 1 ? choose_inner(p) : 0;
    p->accumulators = collectors(p, inner, p->collect);
    ptrdiff_t words = p->is_double ? 2 : 1, slab = 0;
    for (int a = 0; a < N_GRADS; a++) slab += p->collect[a].mode == SLAB ? p->collect[a].size : 0;
    p->inner = extent(p, 0, p->row_dims, ~inner);
    p->outer = extent(p, 0, p->row_dims, inner);
    p->group = smaller(smaller(p->outer, LARGEST_GROUP), GROUP_ELEMENTS / (p->columns ? p->columns : 1));
    if (slab) p->group = smaller(p->group, MOST_ACCUMULATORS / BLOCKS_BESIDE_GROUPS / (slab * words));
    if (p->group < 1) p->group = 1;
    if (slab && p->group > 1) p->accumulators = collectors(p, inner, p->collect);
    ptrdiff_t blocks = smaller((p->outer + ROWS_PER_BLOCK - 1) / ROWS_PER_BLOCK, p->rows * p->columns / ELEMENTS_PER_BLOCK);
    ptrdiff_t room = p->accumulators ? MOST_ACCUMULATORS / (p->accumulators * words) : MOST_BLOCKS;
    p->blocks = smaller(smaller(blocks, room), MOST_BLOCKS);
    if (p->blocks < 1) p->blocks = 1;

    p->outer_dims = p->row_dims;
    if (inner) {
        reorder(p, inner);
        permute_masks(p, inner);
    }
    collector_strides(p, p->outer_dims);
    collapse(p);
    p->uniform = is_same(p, SCALE, p->row_dims) && is_same(p, PRIOR, p->row_dims);
    p->streams = may_stream(p);
    p->single = 0;
    for (int a = 0; a < N_ARGUMENTS; a++) p->single |= is_same(p, a, p->dims) << a;
    p->bad = 0;
    return allocate(p);
}

void fe_plan_release(plan *p) {
    free(p->scratch);
    p->scratch = NULL;
}
