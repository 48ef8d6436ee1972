/* The order of work of a call on latents: which axes go together, and what a task is. */
#include "latents.h"

typedef struct { int axis[MAX_DIMS], count; } axes;

static int merge(const sampling *s, int outer, int inner) {
    for (int a = 0; a < N_LATENTS; a++) {
        const view *v = &s->operand[a];
        if (v->data && v->stride[outer] != v->stride[inner] * s->shape[inner]) return 0;
    }
    return 1;
}

static ptrdiff_t size_of_step(ptrdiff_t step) { return step < 0 ? -step : step; }

/* Whether most operands have axis `outer` inside axis `inner`, as Fortran order does */
static int lies_inside(const sampling *s, int outer, int inner) {
    int votes = 0;
    for (int a = 0; a < N_LATENTS; a++) {
        const view *v = &s->operand[a];
        if (!v->data || !v->stride[outer] || !v->stride[inner]) continue;
        votes += size_of_step(v->stride[outer]) < size_of_step(v->stride[inner]) ? 1 : -1;
    }
    return votes > 0;
}

/* Axes of one kind, in C order, or as they lie in memory; those that memory walks as one become one */
static axes axes_of(sampling *s, int summed, int as_they_lie) {
    axes all = {.count = 0}, found = {.count = 0};
    for (int i = 0; i < s->dims; i++) {
        if (s->shape[i] == 1 || (int)(s->summed >> i & 1) != summed) continue;
        int at = all.count++;
        for (; at && as_they_lie && lies_inside(s, all.axis[at - 1], i); at--) all.axis[at] = all.axis[at - 1];
        all.axis[at] = i;
    }
    for (int k = 0; k < all.count; k++) {
        const int i = all.axis[k];
        if (found.count && merge(s, found.axis[found.count - 1], i))
            s->shape[i] *= s->shape[found.axis[--found.count]];
        found.axis[found.count++] = i;
    }
    return found;
}

static void reorder(sampling *s, const axes *order) {
    ptrdiff_t old[MAX_DIMS];
    memcpy(old, s->shape, sizeof(ptrdiff_t) * (size_t)s->dims);
    for (int i = 0; i < order->count; i++) s->shape[i] = old[order->axis[i]];
    for (int a = 0; a < N_LATENTS; a++) {
        view *v = &s->operand[a];
        if (!v->data) continue;
        memcpy(old, v->stride, sizeof(ptrdiff_t) * (size_t)s->dims);
        for (int i = 0; i < order->count; i++) v->stride[i] = old[order->axis[i]];
    }
}

static ptrdiff_t limited(ptrdiff_t x, ptrdiff_t most) { return x > most ? most : x < 1 ? 1 : x; }
static ptrdiff_t ratio_up(ptrdiff_t n, ptrdiff_t by) { return (n + by - 1) / by; }

/* Steps of a task, each of whose places has so many terms */
static void share(sampling *s, ptrdiff_t terms) {
    const ptrdiff_t width = s->columns < SPAN ? s->columns : SPAN;
    s->column_step = SPAN * limited(SHARE / SPAN / terms, SHARE);
    s->row_step = s->column_step < s->columns ? 1 : limited(SHARE / width / terms, s->rows);
}

/* How many parts a sum has is a matter of shape alone: that is the order of its additions */
static void share_sums(sampling *s) {
    const ptrdiff_t elements = s->rows * s->terms * s->columns;
    const ptrdiff_t most = s->by_column ? s->terms : ratio_up(s->terms * s->columns, SPAN);
    s->parts = limited(limited(limited(elements / WORTH_A_PART, MOST_PARTS), MOST_WAITING / fe_sampling_results(s)), most);
    share(s, ratio_up(s->terms, s->parts));
    if (s->by_column) return;
    s->column_step = s->columns; /* those of a part, which is a share of all terms */
    s->row_step = limited(SHARE / ratio_up(s->terms * s->columns, s->parts), s->rows);
}

/* Samples may go in any order: many terms first, for which a place of the scale is prepared once */
static void share_samples(sampling *s) {
    s->term_step = limited(SHARE / (s->columns < SPAN ? s->columns : SPAN), s->terms);
    s->parts = ratio_up(s->terms, s->term_step);
    share(s, s->term_step);
}

/* All terms of a place together */
static void share_places(sampling *s) {
    s->parts = 1, s->term_step = s->terms;
    s->column_step = s->by_column ? SHARE / s->terms : s->columns;
    if (s->column_step < 64) s->column_step = 64; /* cache lines */
    s->row_step = limited(SHARE / s->terms / s->columns, s->rows);
}

/* Places in C order, however memory has them: what costs are added up together is a matter of shape alone */
static void share_floors(sampling *s) {
    const ptrdiff_t results = fe_sampling_results(s), summed = s->rows * s->terms * s->columns / results;
    share_sums(s);
    const ptrdiff_t step = SHARE / ratio_up(summed, s->parts), least = ratio_up(results, MOST_WAITING);
    s->row_step = step > SPAN ? step - step % SPAN : step < 64 ? 64 : step; /* cache lines */
    if (s->row_step < least) s->row_step = ratio_up(least, SPAN) * SPAN;
    s->row_tasks = ratio_up(results, s->row_step), s->column_tasks = 1;
}

void fe_sampling_arrange(sampling *s) {
    int last = s->dims - 1;
    while (last >= 0 && s->shape[last] == 1) last--;
    s->by_column = last < 0 || !(s->summed >> last & 1);
    /* places whose sums nothing joins may go in any order */
    axes order = axes_of(s, 0, s->what == DRAWN || s->what == GRADIENTS), inner = axes_of(s, 1, 0), *of_columns = s->by_column ? &order : &inner;
    const int columns = of_columns->count ? of_columns->axis[--of_columns->count] : -1;
    s->kept = order.count, s->inner = inner.count;
    for (int i = 0; i < inner.count; i++) order.axis[order.count++] = inner.axis[i];
    if (columns >= 0) order.axis[order.count++] = columns;
    reorder(s, &order);
    s->rows = s->terms = s->columns = 1;
    for (int i = 0; i < s->kept; i++) s->rows *= s->shape[i];
    for (int i = 0; i < s->inner; i++) s->terms *= s->shape[s->kept + i];
    if (columns >= 0)
        s->columns = s->shape[s->kept + s->inner];
    else
        for (int a = 0; a < N_LATENTS; a++) s->operand[a].stride[0] = 0; /* of the one column */
    if (s->what == GRADIENTS)
        share_sums(s);
    else if (s->what == DRAWN)
        share_samples(s);
    else if (s->what == FLOORED) {
        share_floors(s);
        return;
    } else
        share_places(s);
    s->row_tasks = ratio_up(s->rows, s->row_step);
    s->column_tasks = ratio_up(s->columns, s->column_step);
}
