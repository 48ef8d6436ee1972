/* Sums of w r^2, and of w, over events: optimal.h says in which order. Included once, for float64 (real.h). */
#ifndef FASTELBO_OPTIMAL_SUMS_H
#define FASTELBO_OPTIMAL_SUMS_H

#include "../math/elements.h"
#include "lanes.h"

typedef struct {
    double d[BLOCK_SIZE], y[BLOCK_SIZE], weight[BLOCK_SIZE];
    unsigned char counts[BLOCK_SIZE];
    double lanes[SUM_LANES][ACROSS];                  /* of a block of ACROSS lines */
    double across[ACROSS][ACROSS_BLOCKS][SUM_LANES]; /* ... of all blocks of lines of one event */
    events_across events;
} sums_work;

static ptrdiff_t offset_at(const optimal *o, const view *v, int from, int to, ptrdiff_t index) {
    ptrdiff_t offset = 0;
    for (int i = to - 1; i >= from && index; i--) {
        if (i == from) return offset + index * v->stride[i];
        offset += index % o->shape[i] * v->stride[i];
        index /= o->shape[i];
    }
    return offset;
}

/* Where a line's columns begin */
typedef struct { const char *at[N_OF_SUMS]; } line_of;

static line_of line_at(const optimal *o, ptrdiff_t row, ptrdiff_t line) {
    line_of x;
    for (int a = 0; a < N_OF_SUMS; a++) {
        const view *v = &o->argument[a];
        x.at[a] = v->data ? v->data + offset_at(o, v, 0, o->row_dims, row) + offset_at(o, v, o->row_dims, o->split, line) : NULL;
    }
    return x;
}

static inline ptrdiff_t last_stride(const optimal *o, int a) { return o->split < o->dims ? o->argument[a].stride[o->dims - 1] : 0; }

static int is_long(const view *v) { return v->type % SWAPPED == U64 || v->type % SWAPPED == I64; }

/* n elements of one run, as r = x x_scale - mean */
static void differences_of_run(const optimal *o, const char *x, const char *y, ptrdiff_t step, ptrdiff_t step_y, ptrdiff_t n, double *d, double *means) {
    const view *of_x = &o->argument[OF_X], *of_y = &o->argument[OF_MEAN];
    if (of_x->type == F32 && of_y->type == F32 && o->x_scale == 1 && step == sizeof(float) && step_y == sizeof(float)) {
        for (ptrdiff_t i = 0; i < n; i++) {
            float a, b;
            memcpy(&a, x + i * (ptrdiff_t)sizeof a, sizeof a);
            memcpy(&b, y + i * (ptrdiff_t)sizeof b, sizeof b);
            d[i] = (double)a - (double)b;
        }
        return;
    }
    pack_f64(of_y->type, means, y, step_y, n);
    if (o->x_scale != 1) {
        packs_f64[TIMES_FACTOR][of_x->type](d, x, step, n, o->x_scale, means);
        return;
    }
    pack_f64(of_x->type, d, x, step, n);
    for (ptrdiff_t i = 0; i < n; i++) d[i] -= means[i];
    if (!is_long(of_x) && !is_long(of_y)) return;
    for (int a = OF_X; a <= OF_MEAN; a++) { /* what doubles leave of them */
        if (!is_long(&o->argument[a])) continue;
        packs_f64[REST][o->argument[a].type](means, a == OF_X ? x : y, a == OF_X ? step : step_y, n, 1, NULL);
        for (ptrdiff_t i = 0; i < n; i++) d[i] += a == OF_X ? means[i] : -means[i];
    }
}

/* Columns [col, col + n) of an argument run by run: the place of each, and where it goes */
#define EACH_RUN(o, col, n, body)                                                                       \
    for (ptrdiff_t done = 0, some; done < (n); done += some) {                                          \
        const ptrdiff_t c = (col) + done, left = (o)->run - c % (o)->run;                               \
        some = smaller((n) - done, left);                                                               \
        body                                                                                            \
    }
static inline const char *in_line(const optimal *o, const line_of *x, int a, ptrdiff_t c) {
    const view *v = &o->argument[a];
    return x->at[a] + (o->run == o->columns ? c * last_stride(o, a) : offset_at(o, v, o->split, o->dims, c));
}

static void hide_masked(sums_work *w, ptrdiff_t n, int weighted) {
    for (ptrdiff_t i = 0; i < n; i++) w->d[i] = w->counts[i] ? w->d[i] : 0;
    for (ptrdiff_t i = 0; i < n && weighted; i++) w->weight[i] = w->counts[i] ? w->weight[i] : 0;
}

/* A block's differences, 0 where they do not count, and behind them up to the end of their lines; and its weights */
static void gather_block(const optimal *o, const line_of *x, ptrdiff_t col, ptrdiff_t n, sums_work *w) {
    const int weighted = o->argument[OF_WEIGHT].data && !o->row_weight, masked = x->at[OF_WHERE] != NULL;
    const ptrdiff_t end = LINE * lines_of(n);
    EACH_RUN(o, col, n, {
        differences_of_run(o, in_line(o, x, OF_X, c), in_line(o, x, OF_MEAN, c), last_stride(o, OF_X), last_stride(o, OF_MEAN), some, w->d + done, w->y + done);
        if (weighted) pack_f64(o->argument[OF_WEIGHT].type, w->weight + done, in_line(o, x, OF_WEIGHT, c), last_stride(o, OF_WEIGHT), some);
        if (masked) {
            const char *from = in_line(o, x, OF_WHERE, c);
            const ptrdiff_t step = last_stride(o, OF_WHERE);
            if (step == 1)
                for (ptrdiff_t i = 0; i < some; i++) w->counts[done + i] = from[i] != 0;
            else
                for (ptrdiff_t i = 0; i < some; i++) w->counts[done + i] = from[i * step] != 0;
        }
    })
    if (masked) hide_masked(w, n, weighted);
    for (ptrdiff_t i = n; i < end; i++) w->d[i] = w->weight[i] = 0;
}

static ptrdiff_t count_of_block(const unsigned char *counts, ptrdiff_t n) {
    unsigned count = 0;
    for (ptrdiff_t i = 0; i < n; i++) count += counts[i];
    return (ptrdiff_t)count;
}

/* What there is of an event */
typedef struct { block_sums squares, weights; ptrdiff_t count; int odd; } event_sums;

static void sum_block(const optimal *o, const line_of *x, ptrdiff_t col, ptrdiff_t n, sums_work *w, event_sums *to) {
    const int weighted = o->argument[OF_WEIGHT].data && !o->row_weight, of_x = o->argument[OF_X].type;
    double sums[SUM_LANES];
    const ptrdiff_t lines = lines_of(n), item = of_x < N_TYPES ? size_of[of_x] : 0;
    const int flat = n == LINE * lines && o->run == o->columns && of_x == o->argument[OF_MEAN].type && last_stride(o, OF_X) == item && last_stride(o, OF_MEAN) == item
                     && ((uintptr_t)x->at[OF_X] | (uintptr_t)x->at[OF_MEAN]) % (uintptr_t)(item ? item : 1) == 0;
    if (flat && !weighted && !x->at[OF_WHERE] && o->x_scale == 1 && (of_x == F32 || of_x == F64)) {
        if (of_x == F32)
            squares_of_floats((const float *)(const void *)x->at[OF_X] + col, (const float *)(const void *)x->at[OF_MEAN] + col, lines, sums);
        else
            squares_of_doubles((const double *)(const void *)x->at[OF_X] + col, (const double *)(const void *)x->at[OF_MEAN] + col, lines, sums);
        to->count += n;
        add_block(&to->squares, sums);
        return;
    }
    gather_block(o, x, col, n, w);
    if (weighted)
        weighted_squares(w->d, w->weight, lines, sums);
    else
        squares_of_differences(w->d, w->weight, lines, sums);
    add_block(&to->squares, sums);
    to->count += x->at[OF_WHERE] ? count_of_block(w->counts, n) : n;
    if (!weighted) return;
    sum_of_weights(w->d, w->weight, lines, sums);
    add_block(&to->weights, sums);
    int negative = 0;
    for (ptrdiff_t i = 0; i < n; i++) negative |= w->weight[i] < 0;
    to->odd |= negative;
}

static void sum_lines_across(const optimal *o, const line_of *x, ptrdiff_t block, double (*to)[ACROSS]) {
    const ptrdiff_t step = last_stride(o, OF_X), step_y = last_stride(o, OF_MEAN), col = block * BLOCK_SIZE, n = smaller(BLOCK_SIZE, o->columns - col);
    (o->argument[OF_X].type == F32 ? lines_of_floats : lines_of_doubles)(x->at[OF_X] + col * step, x->at[OF_MEAN] + col * step_y, step, step_y, n, to);
}

/* ---- tasks -------------------------------------------------------------------------------------------------------------------- */

static double row_weight_at(const optimal *o, ptrdiff_t row) {
    const view *v = &o->argument[OF_WEIGHT];
    double weight;
    pack_f64(v->type, &weight, v->data + offset_at(o, v, 0, o->row_dims, row), 0, 1);
    return weight;
}

static event_sum ended(const optimal *o, const event_sums *s) {
    event_sum x = {total_of_blocks(&s->squares), {(double)s->count, 0}, s->odd};
    if (o->argument[OF_WEIGHT].data && !o->row_weight) x.weight = total_of_blocks(&s->weights);
    return x;
}

static void put_row(const optimal *o, ptrdiff_t row, const event_sum *x) {
    double squares = value_of(x->squares), total = value_of(x->weight);
    int odd = x->odd;
    if (o->argument[OF_WEIGHT].data && o->row_weight) {
        const double weight = row_weight_at(o, row);
        odd |= (weight < 0) | ((weight == 0) & (squares - squares != 0)); /* 0 times what overflows is 0 */
        squares *= weight, total *= weight;
    }
    o->squares[row] = squares, o->total[row] = total, o->odd[row] = (unsigned char)odd;
}

static void put(const optimal *o, ptrdiff_t row, ptrdiff_t chunk, const event_sum *x) {
    if (o->chunks > 1)
        o->part[row * o->chunks + chunk] = *x;
    else
        put_row(o, row, x);
}

/* Of an event: lines, and blocks of each */
typedef struct { ptrdiff_t line, last_line, block, last_block; } event_part;

static inline ptrdiff_t size_of_block(const optimal *o, ptrdiff_t block) { return smaller(BLOCK_SIZE, o->columns - block * BLOCK_SIZE); }

static void sum_row(const optimal *o, ptrdiff_t row, event_part part, sums_work *w, event_sums *to) {
    memset(to, 0, sizeof *to);
    for (ptrdiff_t line = part.line; line < part.last_line; line++) {
        const line_of x = line_at(o, row, line);
        if (o->across > o->row_dims && line + ACROSS <= part.last_line) {
            for (ptrdiff_t b = part.block; b < part.last_block; b++) {
                sum_lines_across(o, &x, b, w->lanes);
                for (int j = 0; j < ACROSS; j++)
                    for (int l = 0; l < SUM_LANES; l++) w->across[j][b][l] = w->lanes[l][j];
            }
            for (int j = 0; j < ACROSS; j++)
                for (ptrdiff_t b = part.block; b < part.last_block; b++) add_block(&to->squares, w->across[j][b]);
            to->count += ACROSS * o->columns;
            line += ACROSS - 1;
        } else {
            for (ptrdiff_t b = part.block; b < part.last_block; b++) sum_block(o, &x, b * BLOCK_SIZE, size_of_block(o, b), w, to);
        }
    }
}

/* ACROSS rows from this one on, side by side; 0: the row axis ends before */
static int sum_rows_across(const optimal *o, ptrdiff_t row, ptrdiff_t last, ptrdiff_t chunk, event_part part, sums_work *w) {
    if (!o->across || o->across > o->row_dims || row + ACROSS > last || o->shape[o->row_dims - 1] - row % o->shape[o->row_dims - 1] < ACROSS) return 0;
    events_across *sums = &w->events;
    double count = 0;
    int any = 0;
    for (ptrdiff_t line = part.line; line < part.last_line; line++) {
        const line_of x = line_at(o, row, line);
        for (ptrdiff_t b = part.block; b < part.last_block; b++, any = 1) {
            count += (double)size_of_block(o, b);
            sum_lines_across(o, &x, b, any ? w->lanes : sums->hi);
            if (!any) memset(sums->lo, 0, sizeof sums->lo);
            for (int l = 0; any && l < SUM_LANES; l++) add_across(sums->hi[l], sums->lo[l], w->lanes[l], NULL);
        }
    }
    for (int half = SUM_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) add_across(sums->hi[l], sums->lo[l], sums->hi[l + half], sums->lo[l + half]);
    for (int j = 0; j < ACROSS; j++) {
        const event_sum x = {{sums->hi[0][j], sums->lo[0][j]}, {count, 0}, 0};
        put(o, row + j, chunk, &x);
    }
    return 1;
}

/* The stride of all elements of an argument, of events that are small */
static ptrdiff_t only_stride(const optimal *o, int a) {
    for (int i = o->dims - 1; i >= 0; i--)
        if (o->shape[i] != 1) return o->argument[a].stride[i];
    return 0;
}

/* Rows [first, last) of small events, so many at a time as fill a block, to the bit as sum_row has each */
static void sum_small_rows(const optimal *o, ptrdiff_t first, ptrdiff_t last, sums_work *w) {
    const int weighted = o->argument[OF_WEIGHT].data && !o->row_weight, masked = o->argument[OF_WHERE].data != NULL;
    const ptrdiff_t cols = o->columns, most = BLOCK_SIZE / cols, of_x = only_stride(o, OF_X), of_mean = only_stride(o, OF_MEAN);
    double d[LINE] = {0}, weights[LINE] = {0};
    for (ptrdiff_t row = first, rows; row < last; row += rows) {
        rows = smaller(most, last - row);
        const ptrdiff_t n = rows * cols, at = row * cols;
        differences_of_run(o, o->argument[OF_X].data + at * of_x, o->argument[OF_MEAN].data + at * of_mean, of_x, of_mean, n, w->d, w->y);
        if (weighted) {
            const ptrdiff_t step = only_stride(o, OF_WEIGHT);
            pack_f64(o->argument[OF_WEIGHT].type, w->weight, o->argument[OF_WEIGHT].data + at * step, step, n);
        }
        if (masked) {
            const ptrdiff_t step = only_stride(o, OF_WHERE);
            for (ptrdiff_t i = 0; i < n; i++) w->counts[i] = o->argument[OF_WHERE].data[(at + i) * step] != 0;
            hide_masked(w, n, weighted);
        }
        for (ptrdiff_t r = 0; r < rows; r++) {
            const double *from = w->d + r * cols, *by = w->weight + r * cols;
            event_sum x = {{0, 0}, {(double)(masked ? count_of_block(w->counts + r * cols, cols) : cols), 0}, 0};
            if (cols <= SUM_LANES) {
                for (ptrdiff_t i = 0; i < cols; i++) d[i] = weighted ? weighted_square(from[i], by[i], 0) : from[i] * from[i];
                x.squares = total_of_few(d, cols);
            } else {
                block_sums sums = {{0}, {0}};
                memcpy(d, from, (size_t)cols * sizeof *d);
                if (weighted) memcpy(weights, by, (size_t)cols * sizeof *d);
                (weighted ? weighted_squares : squares_of_differences)(d, weights, 1, sums.hi);
                x.squares = total_of_blocks(&sums);
            }
            if (weighted) {
                block_sums sums = {{0}, {0}};
                memcpy(weights, by, (size_t)cols * sizeof *d);
                sum_of_weights(d, weights, 1, sums.hi);
                x.weight = total_of_blocks(&sums);
                for (ptrdiff_t i = 0; i < cols; i++) x.odd |= weights[i] < 0;
            }
            put_row(o, row + r, &x);
        }
    }
}

static void sum_task(const optimal *o, ptrdiff_t task, void *memory) {
    sums_work *w = memory;
    event_sums sums;
    const ptrdiff_t chunk = task % o->chunks, of_line = (o->blocks + o->chunk_blocks - 1) / o->chunk_blocks;
    const ptrdiff_t line = chunk / of_line * o->chunk_lines, block = chunk % of_line * o->chunk_blocks;
    const event_part part = {line, smaller(line + o->chunk_lines, o->lines), block, smaller(block + o->chunk_blocks, o->blocks)};
    const ptrdiff_t first = task / o->chunks * o->rows_together, last = smaller(first + o->rows_together, o->rows);
    if (o->small) {
        sum_small_rows(o, first, last, w);
        return;
    }
    for (ptrdiff_t row = first; row < last; row++) {
        if (sum_rows_across(o, row, last, chunk, part, w)) {
            row += ACROSS - 1;
            continue;
        }
        sum_row(o, row, part, w, &sums);
        const event_sum x = ended(o, &sums);
        put(o, row, chunk, &x);
    }
}

/* Rows that were cut into chunks */
static void finish_sums(const optimal *o) {
    for (ptrdiff_t row = 0; row < o->rows && o->chunks > 1; row++) {
        event_sum x = o->part[row * o->chunks];
        for (ptrdiff_t c = 1; c < o->chunks; c++) {
            const event_sum *y = &o->part[row * o->chunks + c];
            add_pair(&x.squares, y->squares);
            add_pair(&x.weight, y->weight);
            x.odd |= y->odd;
        }
        put_row(o, row, &x);
    }
}

#endif
