/* The axes of a plan: in another order, merged where all its views allow it. */
#ifndef FASTELBO_AXES_H
#define FASTELBO_AXES_H

#include "kernels.h"

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

static void each_view(plan *p, void (*change)(ptrdiff_t *stride, const int *), const int *data) {
    for (int a = 0; a < N_ARGUMENTS; a++)
        if (p->argument[a].data) change(p->argument[a].stride, data);
    for (int a = 0; a < N_GRADS; a++)
        if (p->gradient[a].data) change(p->gradient[a].stride, data), change(p->collect[a].stride, data);
    change(p->value.stride, data);
    if (!p->join.value.data) return;
    change(p->join.samples.stride, data);
    change(p->join.nll.stride, data);
    change(p->join.value.stride, data);
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
    if (p->join.value.data) merge &= FITS(p->join.samples) && FITS(p->join.nll) && FITS(p->join.value);
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

#endif
