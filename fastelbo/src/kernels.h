/* The seam between the compiled parts: what a call looks like (plan), and what one ISA level offers (kernel_set).
 *
 * A call has up to six arguments and four gradients. All are views of one common shape: outer row axes, inner row axes, event
 * axes. _core.pyx fills the first half of a plan, plan.c derives the second half, and kernel_set.run carries out task after task, in
 * any order, on any thread. Whatever changes the order of a sum is derived from SHAPES alone, so that the bits depend on nothing else;
 * strides, and what was asked for, only choose how memory is walked. */
#ifndef FASTELBO_KERNELS_H
#define FASTELBO_KERNELS_H

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(__ASSOCIATIVE_MATH__) \
    || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "fastelbo's promises on NaN, infinities and bits do not survive -ffast-math or a part of it: have the compiler do without"
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Not left to the compiler: a loop with a call in it is not vectorised */
#define INLINE static inline __attribute__((always_inline))

/* What is seldom done: kept out of the frames and registers of what is done always */
#define SELDOM static __attribute__((noinline, cold))

#define MAX_DIMS 64 /* NumPy's own limit */

#include "losses/losses.h"
#include "types.h"

enum reduction { NONE, SUM, MEAN };

static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

typedef struct {
    char *data; /* NULL: not given, or not asked for */
    int type;
    ptrdiff_t stride[MAX_DIMS]; /* bytes */
} view;

/* How the gradient of a broadcast argument is collected. Its elements are the kept axes of the common shape, in C order. */
typedef struct {
    enum mode { DIRECT, SLAB, GLOBAL } mode; /* every element written once; complete after its group of rows; after the whole call */
    int by_column;                      /* no event axis is summed: a task holds only its own columns */
    int turns;                          /* one number from all rows, added in TURNS sums: row i to the i mod TURNS-th */
    ptrdiff_t offset, size;             /* within the accumulators, in elements; SLAB: for each outer row of a group */
    ptrdiff_t low;                      /* from a sum to its lower half, float64 alone */
    ptrdiff_t event_size;               /* elements a row */
    ptrdiff_t stride[MAX_DIMS];         /* elements; 0 along a summed axis */
} collector;

typedef struct { double hi, lo; } pair; /* an unevaluated sum */

typedef struct { double m; int64_t e; } wide; /* m 2^e, 1/2 <= |m| < 1; zero, infinite and NaN as m, with e = 0: wide.h */
typedef struct { double hi, lo; int64_t e; } wide_sum; /* (hi + lo) 2^e; all zero: nothing */
typedef struct { ptrdiff_t task; int thread; } region; /* whose accumulators: GLOBAL those of the task, SLAB of the thread */

typedef struct {
    pair sum, weight;
    const wide_sum *apart; /* complete terms, gradients of the scale and the prior's, of elements that are in neither: mend.h. Or NULL */
    int counted;           /* some element was not removed by where */
} partial;                 /* of one row and one chunk of columns */

typedef struct { partial part; wide_sum apart[3]; } kept_partial;

#define SUMS_OF_ROWS 8 /* row i to the i mod SUMS_OF_ROWS-th, so that they are added up in vectors */
typedef struct { pair usual[SUMS_OF_ROWS]; wide_sum far; } grand_total; /* the rows' sum; those near the end of double's range, and beyond, in `far` */

/* What becomes of the rows of a KL in a negative ELBO: value = nll + beta kl, nll averaged over the samples */
typedef struct {
    view samples, nll, value;   /* one of the first two is read; both others are written. value.data NULL: nothing of this */
    ptrdiff_t count, step;      /* of the samples, whose rows are doubles in units of `unit`; 0: there are none */
    double unit, beta;
} joining;

/* Tasks that run together. Rows that are cut into chunks wait for their sums, so they come in waves, one after the other, each finished
 * before the next begins: what waits stays small whatever the shape. All other calls are one wave. */
typedef struct {
    ptrdiff_t row, last_row;     /* outer ones */
    ptrdiff_t chunk, last_chunk; /* not all: of a single row */
    ptrdiff_t block, last_block; /* those with a part in it */
} wave;

typedef struct plan {
    /* the call */
    int loss, is_double, reduction;
    int full;       /* with the loss's constant for each element */
    int aliased;    /* some output is an input */
    int check_only; /* only set `bad` */
    enum { NOT_ALONE, BY_ROW, BY_COLUMN } sums_only; /* the sums of one gradient that was set apart; no value */
    int kind[2]; /* of SCALE and PRIOR */
    double parameter[N_PARAMETERS]; /* of the loss; numbers of the computing type */
    double min_var, factor; /* of every gradient; prepared: with the mean's 1/N */
    double numerator, denominator; /* prepared: of the factor */
    double x_scale;         /* x times this takes the place of x; a number of the computing type */
    int row_dims, dims;
    ptrdiff_t shape[MAX_DIMS];
    uint64_t broadcast[N_GRADS]; /* bit i: the argument, by its shape, is broadcast along axis i */
    view argument[N_ARGUMENTS], gradient[N_GRADS], value;
    double value_unit; /* not 0: the rows are of samples, and go to `value` as doubles in this unit, so that their sum is one */
    joining join;
    int other_rows;    /* rows are not just put into `value` */

    /* derived: of the loss */
    const traits *traits;
    int paired;                   /* there is a prior's scale */
    int divided;                  /* scales that are constant along the event divide its squares */
    double constant_of_element;   /* where full */

    /* derived: the order of work */
    ptrdiff_t rows, columns;      /* N and D */
    ptrdiff_t outer, inner;       /* rows = outer * inner */
    uint64_t inner_axes;
    ptrdiff_t group;              /* outer rows that go together through the inner ones */
    ptrdiff_t blocks, chunks;     /* tasks = row blocks x chunks of columns */
    ptrdiff_t chunk;              /* columns of a chunk */
    int outer_dims;               /* the first of the row axes */
    int constant;                 /* the scales are constant along the event: exp and log once a row */
    int uniform;                  /* ... and the same for all rows */
    int plain;                    /* ... of an NLL without weights: all that counts is sum r^2 */
    int in_double;                /* constant, of floats without weights: r^2 is summed in double, where it has to be */
    int streams;                  /* gradients for which a cache is too small, and nothing but the loop to write them */
    unsigned panels;              /* bit a: argument a lies from row to row (walk/panels.h); bit N_ARGUMENTS + a: its gradient does */
    ptrdiff_t panel_rows;         /* of each panel, at most; as many elements of T take panel_size */
    ptrdiff_t panel_size;
    void *panel;                  /* of all threads, one after the other */
    int single;                   /* bit a: argument a is one element, for all rows and columns */
    collector collect[N_GRADS];
    int apart;                    /* bit a: the sums of gradient a are so many that they have a plan of their own */
    ptrdiff_t accumulators, slabs; /* GLOBAL, per task; SLAB, per thread: of what is asked for */
    double *accumulator;          /* tasks x accumulators x (1 float32, 2 float64): hi, then lo */
    double *slab;                 /* threads x slabs, the same */
    ptrdiff_t parts;              /* of a row: of LONGEST_CHUNK columns each, one or several a chunk */
    wave now;
    ptrdiff_t wave_rows, wave_chunks; /* of a wave, at most: outer rows; chunks */
    ptrdiff_t waiting;            /* parts that wait for the end of a wave, at most, where chunks > 1; unless sums_only */
    kept_partial *kept;           /* those parts; behind them, what there is of a row that goes on in the next wave */
    kept_partial *partials;       /* rows x parts, of which the wave's alone have a place: in `kept` */
    grand_total *totals;          /* per block, where reduced; one, where rows are finished in order */
    void *work;                   /* what each thread works in, one after the other: nothing of it lies on a stack, which may be small */
    wide reduced;                 /* the reduced value */
    int bad;                      /* some scale was <= 0 */
    int doubted;                  /* some sum of gradients is 0, infinite, NaN: fe_plan_look */
    int look;                     /* all tasks once more, and `finish`, to say whether it is right (look.h) */
    int threads;                  /* that share the work */
} plan;

/* First: the order of work. Then fe_plan_apart makes the plan of each gradient that is `apart`, to be carried out before this one, which
 * may write over inputs; their outputs must be no inputs. Then fe_plan_arrange, of each, to walk memory well. */
void fe_plan_prepare(plan *p);
void fe_plan_apart(const plan *p, int a, plan *sums);
void fe_plan_arrange(plan *p);
/* The memory for sums is the caller's, as `work` is: so many zeros, and the slabs, which plans that run one after the other may share */
size_t fe_plan_bytes(const plan *p);
void fe_plan_share(plan *p, int threads, size_t bytes); /* among those that have tasks, and room for slabs beside so many bytes */
size_t fe_plan_slabs(const plan *p);
size_t fe_plan_panels(const plan *p); /* of `panel`, for all threads */
void fe_plan_use(plan *p, void *zeros, void *slabs);
/* Wave after wave: run all its tasks, then finish_rows; after the last of them, finish */
void fe_plan_first_wave(plan *p);
int fe_plan_next_wave(plan *p); /* 0: there is none */
/* After `finish`: whether to run all waves, and `finish`, once more; false after that */
int fe_plan_look(plan *p);
int fe_plan_is_direct(const plan *p, int a); /* every element of this argument's gradient is written once */
int fe_plan_sums_elements(const plan *p);    /* others are added up, of elements that may have to be read again */
static inline int x_of(const plan *p) { return p->traits->x; } /* the argument that is x */
/* What n elements have that `full` drops; 0, whatever n is, where they have nothing */
static inline double constants_of(const plan *p, double n) { return p->constant_of_element != 0 ? p->constant_of_element * n : 0; }
static inline ptrdiff_t fe_plan_tasks(const plan *p) { /* of the current wave */
    return (p->now.last_block - p->now.block) * (p->now.last_chunk - p->now.chunk);
}

/* Where the outer rows of a block begin, those in the wave. A block with accumulators adds up the same rows whatever the wave, as that is
 * the order of its sums; without them blocks are how the wave is shared among threads. */
static inline ptrdiff_t fe_block_begin(const plan *p, ptrdiff_t block) {
    const wave *w = &p->now;
    if (!p->accumulators) return w->row + (w->last_row - w->row) * (block - w->block) / (w->last_block - w->block);
    const ptrdiff_t row = p->outer * block / p->blocks;
    return row < w->row ? w->row : row < w->last_row ? row : w->last_row;
}

typedef struct {
    const char *name;
    size_t work[2];                         /* [is_double]: bytes of plan.work that a thread takes, of WORK_ALIGNMENT */
    void (*run[2])(plan *, ptrdiff_t task, ptrdiff_t last, int thread); /* tasks [task, last) of the wave */
    void (*finish_rows[2])(plan *);         /* after the tasks of a wave: the rows that are complete, in order */
    double (*finish[2])(plan *);            /* after all waves: what is left to sum, in order; the reduced value */
    double (*join)(const plan *nll, const plan *kl, double samples, double beta, double *average); /* of two reduced values */
    void (*function[2])(int which, const void *x, void *y, ptrdiff_t n); /* exp, log, expm1, log1p: for the tests */
    const char *(*hole)(void); /* the name of a cell that is empty in some table of functions though a call may reach it; NULL: there is none */
} kernel_set;

/* NULL: this machine (or the name) has none. name NULL: the best. */
const kernel_set *fe_kernels(const char *name);

#define TURNS 4

#define CACHE_LINE 64
#define WORK_ALIGNMENT CACHE_LINE

#define LONGEST_CHUNK 16384 /* columns; longer rows are cut, their partial sums added in order */

#endif
