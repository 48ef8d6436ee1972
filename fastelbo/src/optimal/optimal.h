/* The seam of the variance that minimises a Gaussian NLL: sums of w r^2 and of w over each event, and w r/variance. One object per ISA
 * level (optimal.c), as for the losses.
 *
 * The walk of the losses is not used, as it needs the scale before it begins, rounds r to the computing type, and mends in the same pass what
 * leaves its range. Here sums are doubles, of differences in double, and an event whose sum cannot be trusted is left to _squares.py.
 *
 * An event is so many LINES of so many COLUMNS, by its shape alone: its last axis, and those before it while that is shorter than a block. A
 * line is cut into blocks of BLOCK_SIZE elements. Element i of a block goes to lane i mod 32, where at most eight are added, and the lanes are
 * added as a tree; blocks are added error-free, in order. (An error of 8 + 2 + 3 additions, and of r^2: 16 u, whatever the event's
 * size.) So bits follow from shapes alone, and lines that lie across memory are summed 16 at a time, in vectors along them. */
#ifndef FASTELBO_OPTIMAL_H
#define FASTELBO_OPTIMAL_H

#include "../kernels.h"

enum optimal_operand { OF_X, OF_MEAN, OF_WEIGHT, OF_WHERE, N_OF_SUMS, OF_VARIANCE = N_OF_SUMS, OF_FACTOR, N_OF_OPTIMAL };

#define BLOCK_SIZE 256
#define CHUNK_BLOCKS 256 /* of an event, added up by themselves, so that threads share them */
#define OPTIMAL_SHARE 32768 /* elements of a task, about */
#define SMALL_EVENT 32
#define ACROSS 16 /* lines at a time */
#define ACROSS_BLOCKS 32 /* of lines of one event, at most: their sums wait for their turn */

typedef struct { pair squares, weight; int odd; } event_sum; /* of a chunk: w r^2, w; odd: some weight is < 0 */

typedef struct optimal {
    /* the call */
    int is_double;      /* the computing type, of gradients */
    int dims, row_dims; /* row axes, then event axes */
    ptrdiff_t shape[MAX_DIMS];
    view argument[N_OF_SUMS];
    int row_weight;     /* the weight, by its shape, is the same along the event */
    double x_scale;
    view gradient[2];   /* of x and mean, elementwise; data NULL: not asked for */
    int aliased;        /* some gradient lies over an argument, element by element */

    /* derived: sums */
    ptrdiff_t rows, lines, columns, run; /* run: columns that one stride walks through */
    int split;          /* the first axis of the columns */
    ptrdiff_t blocks;   /* of a line */
    ptrdiff_t chunks, chunk_lines, chunk_blocks;
    ptrdiff_t rows_together; /* of a task */
    int across;         /* 0; the axis along which ACROSS lines are contiguous, + 1 */
    int small;          /* events of at most a LINE of elements that follow one another, in all arguments, as the elements do */
    event_sum *part;    /* rows x chunks, where chunks > 1 */
    double *squares, *total; /* results, of each row */
    unsigned char *odd;      /* ... which others have to sum: with a weight < 0, or of 0 beside what overflows */

    /* derived: gradients. Axes in the order of their memory */
    int walk_dims;
    ptrdiff_t walk_shape[MAX_DIMS], walk_stride[N_OF_OPTIMAL][MAX_DIMS], gradient_stride[2][MAX_DIMS];
    ptrdiff_t walk_rows, walk_columns;
    double *factor;     /* of each row: d/d mean = -r times it; 0: its elements are taken one by one */
    const double *variance;  /* of each row, times 2^exponent; exponent NULL: it is 0 */
    const int64_t *exponent;
    double divisor;     /* of all gradients */
} optimal;

void fe_optimal_arrange_sums(optimal *);
void fe_optimal_arrange_gradients(optimal *);
static inline ptrdiff_t fe_optimal_sum_tasks(const optimal *o) { return (o->rows + o->rows_together - 1) / o->rows_together * o->chunks; }
static inline size_t fe_optimal_parts(const optimal *o) { return o->chunks > 1 ? (size_t)(o->rows * o->chunks) * sizeof(event_sum) : 0; }
static inline ptrdiff_t fe_optimal_gradient_tasks(const optimal *o) {
    return (o->walk_rows * o->walk_columns + OPTIMAL_SHARE - 1) / OPTIMAL_SHARE;
}

typedef struct optimal_set {
    size_t work;                                           /* bytes a thread takes, of WORK_ALIGNMENT */
    void (*sum)(const optimal *, ptrdiff_t task, void *work); /* tasks in any order, on any thread */
    void (*finish)(const optimal *);                       /* after them, where chunks > 1 */
    void (*factors)(const optimal *);                      /* before the gradients: of each row */
    void (*gradient[2])(const optimal *, ptrdiff_t task, void *work);
} optimal_set;

const optimal_set *fe_optimal(const kernel_set *); /* of the same level */

#endif
