/* The seam between the compiled parts: what a call looks like (plan), and what one ISA level offers (kernel_set).
 *
 * A call has up to six arguments and four gradients. All are views of one common shape: outer row axes, inner row axes, event
 * axes. _core.pyx fills the first half of a plan, plan.c derives the second half, and kernel_set.run carries out task after task, in
 * any order, on any thread. Whatever changes the order of a sum is derived from SHAPES alone, so that the bits depend on nothing else;
 * strides, and what was asked for, only choose how memory is walked. */
#ifndef FASTELBO_KERNELS_H
#define FASTELBO_KERNELS_H

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "fastelbo's promises on NaN, infinities and bits do not survive -ffast-math or -ffinite-math-only: remove them from CFLAGS"
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Not left to the compiler: a loop with a call in it is not vectorised */
#define INLINE static inline __attribute__((always_inline))

#define MAX_DIMS 64 /* NumPy's own limit */

enum loss { NLL, KL, BERNOULLI, N_LOSSES };
enum scale { VAR, STD, LOGVAR, LOGSTD, PRECISION, N_SCALES, UNIT = -1 };
enum reduction { NONE, SUM, MEAN };
enum argument { FIRST, SECOND, SCALE, PRIOR, N_GRADS, WEIGHT = N_GRADS, WHERE, N_ARGUMENTS };

/* Element types an argument may have; a byte-swapped one has SWAPPED added */
enum type { U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64, N_TYPES, SWAPPED = 16 };

typedef struct {
    char *data; /* NULL: not given, or not asked for */
    int type;
    ptrdiff_t stride[MAX_DIMS]; /* bytes */
} view;

/* How the gradient of a broadcast argument is collected. Its elements are the kept axes of the common shape, in C order. */
typedef struct {
    enum { DIRECT, SLAB, GLOBAL } mode; /* every element written once; complete after its group of rows; after the whole call */
    int by_column;                      /* no event axis is summed: a task holds only its own columns */
    int turns;                          /* one number from all rows, added in TURNS sums: row i to the i mod TURNS-th */
    ptrdiff_t offset, size;             /* within a task's accumulators, in elements; SLAB: for each outer row of a group */
    ptrdiff_t event_size;               /* elements a row */
    ptrdiff_t stride[MAX_DIMS];         /* elements; 0 along a summed axis */
} collector;

typedef struct { double hi, lo; } pair; /* an unevaluated sum */

typedef struct {
    pair sum, weight;
    int counted; /* some element was not removed by where */
} partial;       /* of one row and one chunk of columns */

typedef struct plan {
    /* the call */
    int loss, is_double, reduction;
    int full;       /* with log(2 pi)/2 for each element (the KL has none) */
    int aliased;    /* some output is an input */
    int check_only; /* only set `bad` */
    int kind[2]; /* of SCALE and PRIOR */
    double min_var, factor; /* of every gradient; prepared: with the mean's 1/N */
    double x_scale;         /* x times this takes the place of x; a number of the computing type */
    int row_dims, dims;
    ptrdiff_t shape[MAX_DIMS];
    uint64_t broadcast[N_GRADS]; /* bit i: the argument, by its shape, is broadcast along axis i */
    view argument[N_ARGUMENTS], gradient[N_GRADS], value;

    /* derived: the order of work */
    ptrdiff_t rows, columns;      /* N and D */
    ptrdiff_t outer, inner;       /* rows = outer * inner */
    ptrdiff_t group;              /* outer rows that go together through the inner ones */
    ptrdiff_t blocks, chunks;     /* tasks = row blocks x chunks of columns */
    ptrdiff_t chunk;              /* columns of a chunk */
    int outer_dims;               /* the first of the row axes */
    int constant;                 /* the scales are constant along the event: exp and log once a row */
    int uniform;                  /* ... and the same for all rows */
    int plain;                    /* ... of an NLL without weights: all that counts is sum r^2 */
    int in_double;                /* constant, of floats without weights: r^2 is summed in double, where it has to be */
    int streams;                  /* gradients for which a cache is too small, and nothing but the loop to write them */
    int single;                   /* bit a: argument a is one element, for all rows and columns */
    collector collect[N_GRADS];
    ptrdiff_t accumulators;       /* per task */
    double *accumulator;          /* (tasks + 1) x accumulators x (1 float32, 2 float64): hi, then lo */
    ptrdiff_t parts;              /* of a row: of LONGEST_CHUNK columns each, one or several a chunk */
    partial *partials;            /* rows x parts, where chunks > 1 */
    pair *totals;                 /* per task + 1, where reduced */
    void *scratch;                /* holds the three */
    int bad;                      /* some scale was <= 0 */
} plan;

/* 0, or -1 when memory ran out (nothing is held then) */
int fe_plan_prepare(plan *p);
void fe_plan_release(plan *p);
static inline int x_of(const plan *p) { return p->loss == BERNOULLI ? SCALE : FIRST; } /* the argument that is x */
static inline ptrdiff_t fe_plan_tasks(const plan *p) { return p->blocks * p->chunks; }

typedef struct {
    const char *name;
    void (*run[2])(plan *, ptrdiff_t task, ptrdiff_t last); /* [is_double]: tasks [task, last) */
    double (*finish[2])(plan *);            /* after all tasks: what is left to sum, in order; the reduced value */
    void (*function[2])(int which, const void *x, void *y, ptrdiff_t n); /* exp, log, expm1, log1p: for the tests */
} kernel_set;

/* NULL: this machine (or the name) has none. name NULL: the best. */
const kernel_set *fe_kernels(const char *name);

#define TURNS 4

#define LONGEST_CHUNK 16384 /* columns; longer rows are cut, their partial sums added in order */

#endif
