/* From the shapes of a call to the order of its work: which rows form a block, how gradients of broadcast arguments are
 * collected, how much scratch that takes. What orders the sums depends on shapes alone, never on strides, values, threads or on which
 * results were asked for: that is what makes the bits reproducible. (Merging axes, `uniform` and `single` read strides, and change no
 * order.) */
#include "axes.h"
#include "kernels.h"

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
#define MOST_SLABS (MOST_ACCUMULATORS / 8)     /* of a thread */
#define BYTES_OF_SUMS (MOST_ACCUMULATORS * (ptrdiff_t)sizeof(double))
#define LEAST_BESIDE ((ptrdiff_t)1 << 20)      /* bytes of slabs beside accumulators, however many those are: threads need them */
#define MOST_WAITING 8192                      /* parts, nearly 1 MiB of them: a wave takes long enough to be worth waking threads for */
#define LEAST_WAITING 512                      /* beside accumulators, however many those are */
#define PANEL_BYTES ((ptrdiff_t)1 << 19)        /* of all panels of a thread: they stay in the second-level cache */
#define LEAST_PANEL_ROWS 4
#define MOST_PANEL_ROWS 512
#define APART_CHUNK 4096                       /* columns whose sums stay in the second-level cache beside a tile */

/* What the collectors of a call take for a task if the row axes in `inner` are walked for each group of outer rows. An argument whose
 * summed row axes all lie there is complete after each group (SLAB); others need all their elements at once (GLOBAL). */
static ptrdiff_t collectors(const plan *p, uint64_t inner, collector *c) {
    uint64_t rows = bits(0, p->row_dims), events = bits(p->row_dims, p->dims);
    ptrdiff_t all = 0;
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
        if (p->apart >> a & 1) c[a].mode = GLOBAL, c[a].size = 0;
        c[a].turns = of_row && c[a].mode == GLOBAL && c[a].size == 1;
        if (c[a].turns) c[a].size = TURNS;
        all += c[a].size * (c[a].mode == SLAB ? p->group : 1);
    }
    return all;
}

/* Places for the sums that are asked for */
static void place_collectors(plan *p) {
    ptrdiff_t of_mode[] = {[DIRECT] = 0, [SLAB] = 0, [GLOBAL] = 0};
    for (int a = 0; a < N_GRADS; a++) {
        collector *c = &p->collect[a];
        c->offset = of_mode[c->mode];
        if (p->gradient[a].data) of_mode[c->mode] += c->size * (c->mode == SLAB ? p->group : 1);
    }
    for (int a = 0; a < N_GRADS; a++) p->collect[a].low = of_mode[p->collect[a].mode];
    p->slabs = of_mode[SLAB], p->accumulators = of_mode[GLOBAL];
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

/* What all collectors of a mode take */
static ptrdiff_t taken(const plan *p, enum mode mode) {
    ptrdiff_t size = 0;
    for (int a = 0; a < N_GRADS; a++)
        if (p->collect[a].mode == mode) size += p->collect[a].size * (mode == SLAB ? p->group : 1);
    return size;
}

/* The collector that takes most of this mode */
static int largest(const plan *p, enum mode mode) {
    int found = -1;
    for (int a = 0; a < N_GRADS; a++)
        if (p->collect[a].mode == mode && (found < 0 || p->collect[a].size > p->collect[found].size)) found = a;
    return found;
}

/* Parts of rows that wait for each other where the axes in `inner` are walked together, as a slab wants them */
static ptrdiff_t waiting_together(const plan *p, uint64_t inner) {
    return p->chunks > 1 && inner ? extent(p, 0, p->row_dims, ~inner) * p->parts : 1;
}

/* The gradients that are collected in slabs by the tasks themselves, not as their rows are finished */
static int slabs_of_tasks(const plan *p) {
    int found = 0;
    for (int a = 0; a < N_GRADS; a++) found |= (p->collect[a].mode == SLAB && p->collect[a].by_column) << a;
    return found;
}

/* Set the inner axes, and gradients apart until the accumulators of the others fit */
static uint64_t choose_order(plan *p, ptrdiff_t words) {
    for (p->apart = 0;;) {
        uint64_t inner = p->row_dims > 1 ? choose_inner(p) : 0;
        collectors(p, inner, p->collect);
        if (waiting_together(p, inner) > MOST_WAITING) {
            const int found = slabs_of_tasks(p);
            p->apart |= found;
            if (found) continue;
            collectors(p, inner = 0, p->collect);
        }
        enum mode mode = taken(p, SLAB) > MOST_SLABS / words ? SLAB : taken(p, GLOBAL) > MOST_ACCUMULATORS / words / p->chunks ? GLOBAL : DIRECT;
        if (mode == DIRECT) return inner;
        p->apart |= 1 << largest(p, mode);
    }
}

/* The same of a plan of sums_only: the gradient's own rows, for each of them all that are summed */
static uint64_t order_of_sums(plan *p) {
    int a = 0;
    while (!p->gradient[a].data) a++;
    p->apart = ~(1 << a);
    return p->broadcast[a] & bits(0, p->row_dims);
}

/* Whether the order of rows shows in any sum that is asked for */
static int sums_rows(const plan *p) {
    int any = p->reduction != NONE || p->sums_only;
    for (int a = 0; a < N_GRADS; a++) any |= p->gradient[a].data && p->collect[a].mode != DIRECT;
    return any;
}

static size_t bytes_of_totals(const plan *p) {
    return p->reduction != NONE ? (size_t)(p->chunks > 1 ? 1 : p->blocks) * sizeof(grand_total) : 0;
}
static size_t bytes_of_accumulators(const plan *p) {
    return (size_t)(p->blocks * p->chunks * p->accumulators) * (p->is_double ? 2 : 1) * sizeof(double);
}
static size_t bytes_of_partials(const plan *p) { return p->waiting ? (size_t)(p->waiting + 1) * sizeof(kept_partial) : 0; }
static size_t bytes_of_slabs(const plan *p) { return (size_t)p->slabs * (p->is_double ? 2 : 1) * sizeof(double); } /* of a thread */

/* How much of the call goes together: as many rows as may wait beside the accumulators, or as many chunks of one */
static void choose_waves(plan *p) {
    p->wave_rows = p->outer, p->wave_chunks = p->chunks, p->waiting = 0, p->kept = NULL;
    if (p->chunks > 1 && !p->sums_only) {
        const ptrdiff_t beside = (BYTES_OF_SUMS - (ptrdiff_t)bytes_of_accumulators(p)) / (ptrdiff_t)sizeof(kept_partial);
        const ptrdiff_t of_row = p->inner * p->parts, of_chunk = p->chunk / LONGEST_CHUNK, together = p->inner > 1 ? p->group : 1;
        const ptrdiff_t room = beside > MOST_WAITING ? MOST_WAITING : beside < LEAST_WAITING ? LEAST_WAITING : beside;
        if (of_row > room && p->inner == 1)
            p->wave_rows = 1, p->wave_chunks = room / of_chunk, p->waiting = p->wave_chunks * of_chunk;
        else
            p->wave_rows = smaller(p->outer, together * of_row < room ? room / of_row : together), p->waiting = p->wave_rows * of_row;
    }
    fe_plan_first_wave(p);
}

static void know_loss(plan *p) {
    p->traits = &LOSSES[p->loss];
    p->paired = p->kind[1] >= 0 && p->kind[1] < N_SCALES;
    p->divided = p->traits->squares == OVER_VARIANCE || p->paired;
    p->constant_of_element = p->full ? p->traits->constant : 0;
}

void fe_plan_prepare(plan *p) {
    uint64_t long_axes = 0, events;
    const ptrdiff_t words = p->is_double ? 2 : 1;
    know_loss(p);
    for (int i = 0; i < p->dims; i++) long_axes |= p->shape[i] != 1 ? (uint64_t)1 << i : 0;
    for (int a = 0; a < N_GRADS; a++) p->broadcast[a] &= long_axes;
    events = long_axes & bits(p->row_dims, p->dims);
    p->rows = extent(p, 0, p->row_dims, 0);
    p->columns = extent(p, p->row_dims, p->dims, 0);
    if (!p->sums_only) { /* it has them already */
        p->numerator = p->factor, p->denominator = p->reduction == MEAN && p->rows ? (double)p->rows : 1;
        p->factor /= p->denominator;
    }
    p->constant = p->traits->squares && p->columns > 1 && !(events & ~p->broadcast[SCALE]) && (!p->paired || !(events & ~p->broadcast[PRIOR]));
    int unweighted = p->constant && !p->argument[WEIGHT].data && !p->argument[WHERE].data;
    p->plain = unweighted && p->traits->squares == OVER_VARIANCE;
    p->in_double = unweighted && !p->is_double;
    p->chunk = p->plain && !(p->broadcast[FIRST] | p->broadcast[SECOND]) ? 4 * LONGEST_CHUNK : LONGEST_CHUNK;
    if (p->sums_only) p->chunk = p->sums_only == BY_COLUMN || !p->columns ? APART_CHUNK : p->columns;
    p->chunks = p->columns > p->chunk ? (p->columns + p->chunk - 1) / p->chunk : 1;
    p->parts = (p->columns + LONGEST_CHUNK - 1) / LONGEST_CHUNK;

    p->group = 1; /* while axes are chosen: few rows must be summed as many are */
    p->inner_axes = p->sums_only ? order_of_sums(p) : choose_order(p, words);
    collectors(p, p->inner_axes, p->collect);
    if (p->columns == 1 && !sums_rows(p)) p->inner_axes = 0; /* single elements are walked as they lie, not by what nobody asked for */
    collectors(p, p->inner_axes, p->collect);
    ptrdiff_t slab = taken(p, SLAB);
    p->inner = extent(p, 0, p->row_dims, ~p->inner_axes);
    p->outer = extent(p, 0, p->row_dims, p->inner_axes);
    p->group = smaller(smaller(p->outer, LARGEST_GROUP), GROUP_ELEMENTS / (p->columns ? p->columns : 1));
    if (slab) p->group = smaller(p->group, MOST_ACCUMULATORS / BLOCKS_BESIDE_GROUPS / (slab * words));
    if (!p->sums_only) p->group = smaller(p->group, MOST_WAITING / waiting_together(p, p->inner_axes));
    if (p->group < 1) p->group = 1;
    const ptrdiff_t both = collectors(p, p->inner_axes, p->collect);
    const ptrdiff_t accumulators = taken(p, GLOBAL);
    ptrdiff_t blocks = smaller((p->outer + ROWS_PER_BLOCK - 1) / ROWS_PER_BLOCK, p->rows * p->columns / ELEMENTS_PER_BLOCK);
    ptrdiff_t room = both ? MOST_ACCUMULATORS / (both * words) : MOST_BLOCKS;
    if (accumulators) room = smaller(room, MOST_ACCUMULATORS / (accumulators * words) / p->chunks);
    p->blocks = smaller(smaller(blocks, room), MOST_BLOCKS);
    if (p->blocks < 1) p->blocks = 1;
    place_collectors(p);
    choose_waves(p);
    p->bad = p->doubted = p->look = 0;
    p->other_rows = p->value_unit != 0 || p->join.value.data || !p->value.data;
}

void fe_plan_apart(const plan *p, int a, plan *sums) {
    const uint64_t summed = p->broadcast[a];
    int last = p->dims - 1;
    *sums = *p;
    while (last > 0 && p->shape[last] == 1) last--;
    const uint64_t as_last = summed >> last & 1;
    while (last > 0 && (p->shape[last - 1] == 1 || (summed >> (last - 1) & 1) == as_last)) last--;
    sums->row_dims = last;
    sums->sums_only = as_last ? BY_ROW : BY_COLUMN;
    sums->reduction = SUM; /* of no interest; `factor` has the mean's 1/N already */
    sums->aliased = 0;
    sums->value.data = sums->join.value.data = NULL;
    for (int b = 0; b < N_GRADS; b++)
        if (b != a) sums->gradient[b].data = NULL;
    fe_plan_prepare(sums);
}

/* Whether elements follow one another from row to row, and not along the row */
static int lies_across(const plan *p, const view *v) {
    const ptrdiff_t size = size_of[v->type % SWAPPED], along = v->data ? v->stride[p->dims - 1] : 0;
    return along != 0 && along != size && v->stride[p->outer_dims - 1] == size;
}

/* What is read and written in panels (walk/panels.h) */
static void choose_panels(plan *p) {
    const ptrdiff_t columns = smaller(p->columns, p->chunk), size = p->is_double ? 8 : 4;
    ptrdiff_t count = 0;
    p->panels = 0;
    if (p->outer_dims < 1 || p->dims - p->row_dims != 1 || p->inner != 1 || columns < 2) return;
    for (int a = 0; a < N_ARGUMENTS; a++) p->panels |= (unsigned)lies_across(p, &p->argument[a]) << a;
    for (int a = 0; a < N_GRADS; a++)
        if (p->collect[a].mode == DIRECT) p->panels |= (unsigned)lies_across(p, &p->gradient[a]) << (N_ARGUMENTS + a);
    for (int a = 0; a < N_ARGUMENTS + N_GRADS; a++) count += p->panels >> a & 1;
    if (!count) return;
    p->panel_rows = smaller(smaller(p->shape[p->outer_dims - 1], PANEL_BYTES / (columns * size * count)), MOST_PANEL_ROWS);
    if (p->panel_rows > CACHE_LINE / size) p->panel_rows -= p->panel_rows % (CACHE_LINE / size);
    p->panel_size = p->panel_rows * columns;
    if (p->panel_rows < LEAST_PANEL_ROWS) p->panels = 0;
}

void fe_plan_arrange(plan *p) {
    for (int a = 0; a < N_GRADS; a++)
        if (p->apart >> a & 1) p->gradient[a].data = NULL;
    p->outer_dims = p->row_dims;
    if (p->inner_axes) {
        reorder(p, p->inner_axes);
        permute_masks(p, p->inner_axes);
    }
    collector_strides(p, p->outer_dims);
    collapse(p);
    p->uniform = is_same(p, SCALE, p->row_dims) && is_same(p, PRIOR, p->row_dims);
    p->streams = may_stream(p);
    choose_panels(p);
    p->single = 0;
    for (int a = 0; a < N_ARGUMENTS; a++) p->single |= is_same(p, a, p->dims) << a;
}

static size_t bytes_of_panels(const plan *p) { /* of a thread */
    size_t count = 0;
    for (int a = 0; a < N_ARGUMENTS + N_GRADS; a++) count += p->panels >> a & 1;
    return count ? count * (size_t)p->panel_size * (p->is_double ? 8 : 4) : 0;
}

size_t fe_plan_bytes(const plan *p) { return bytes_of_partials(p) + bytes_of_totals(p) + bytes_of_accumulators(p); }

size_t fe_plan_panels(const plan *p) { return (size_t)p->threads * bytes_of_panels(p); }

size_t fe_plan_slabs(const plan *p) { return (size_t)p->threads * bytes_of_slabs(p); }

void fe_plan_share(plan *p, int threads, size_t bytes) {
    const ptrdiff_t slab = (ptrdiff_t)(bytes_of_slabs(p) + bytes_of_panels(p)), in_wave = p->blocks * p->wave_rows / p->outer + 2; /* it may cut two blocks */
    ptrdiff_t most = smaller(threads, (p->accumulators ? smaller(p->blocks, in_wave) : p->blocks) * p->wave_chunks);
    if (slab) {
        const ptrdiff_t beside = BYTES_OF_SUMS - (ptrdiff_t)bytes;
        most = smaller(most, (beside < LEAST_BESIDE ? LEAST_BESIDE : beside) / slab);
    }
    p->threads = most < 1 ? 1 : (int)most;
}

void fe_plan_use(plan *p, void *zeros, void *slabs) {
    char *at = zeros;
    p->kept = (kept_partial *)at;
    p->totals = (grand_total *)(at += bytes_of_partials(p));
    p->accumulator = (double *)(at + bytes_of_totals(p));
    p->slab = slabs;
}

static void set_wave(plan *p, ptrdiff_t row, ptrdiff_t chunk) {
    wave *w = &p->now;
    w->row = row, w->last_row = smaller(row + p->wave_rows, p->outer);
    w->chunk = chunk, w->last_chunk = smaller(chunk + p->wave_chunks, p->chunks);
    w->block = 0, w->last_block = p->blocks;
    if (p->wave_rows < p->outer && p->accumulators) {
        /* the blocks with rows in it; where groups are walked together, which orders sums, none is cut */
        w->block = ((row + 1) * p->blocks - 1) / p->outer;
        const ptrdiff_t last = (w->last_row * p->blocks - 1) / p->outer, begin = p->outer * last / p->blocks;
        const ptrdiff_t end = p->outer * (last + 1) / p->blocks;
        if (p->inner > 1 && w->last_row < end) w->last_row -= (w->last_row - (begin > row ? begin : row)) % p->group;
        w->last_block = w->last_row > begin ? last + 1 : last;
    } else if (w->last_block > w->last_row - row) {
        w->last_block = w->last_row - row;
    }
    /* the wave's first part is the first that is kept: a row and a part are found as if all rows were */
    const uintptr_t before = (uintptr_t)(row * p->inner * p->parts + chunk * (p->chunk / LONGEST_CHUNK)) * sizeof(kept_partial);
    if (p->waiting) p->partials = (kept_partial *)((uintptr_t)p->kept - before);
}

void fe_plan_first_wave(plan *p) { set_wave(p, 0, 0); }

int fe_plan_next_wave(plan *p) {
    if (p->now.last_chunk < p->chunks)
        set_wave(p, p->now.row, p->now.last_chunk);
    else if (p->now.last_row < p->outer)
        set_wave(p, p->now.last_row, 0);
    else
        return 0;
    return 1;
}

int fe_plan_look(plan *p) {
    p->look = p->doubted && !p->look;
    p->doubted = 0;
    if (p->look) memset(p->accumulator, 0, bytes_of_accumulators(p));
    return p->look;
}

int fe_plan_is_direct(const plan *p, int a) { return p->collect[a].mode == DIRECT; }

int fe_plan_sums_elements(const plan *p) {
    int any = 0;
    for (int a = 0; a < N_GRADS; a++) any |= p->gradient[a].data && !fe_plan_is_direct(p, a) && !(p->constant && a >= SCALE);
    return any;
}
