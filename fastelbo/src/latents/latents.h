/* The seam of what is done with latents beside their losses: samples z = mean + sigma eps, and the way back from a gradient for z;
 * the importance-weighted bound, whose samples are the summed axis; and free bits, where those axes are summed over which a floor is
 * shared. One object per ISA level (latents.c), as for the losses.
 *
 * A call has three operands and one or two results, all views of the shape of z, samples first. Axes are of two kinds: along `summed` ones
 * the scale, or what a gradient belongs to, is broadcast; the others are kept. What depends on the scale alone is done once for a kept
 * place, and sums run over the summed axes in C order: so their bits follow from shapes alone. */
#ifndef FASTELBO_LATENTS_H
#define FASTELBO_LATENTS_H

#include "../kernels.h"

enum latents_operand { CENTER /* mean, or gradient for z */, NOISE, RAW, ONE_OUT /* z, or the mean's gradient */, SCALE_OUT, N_LATENTS };
enum bound_operand { LOG_WEIGHTS = CENTER, VALUE = NOISE, WEIGHTS = ONE_OUT, EFFECTIVE = SCALE_OUT };
enum floor_operand { KLS = CENTER, SHARES = NOISE /* weights, as doubles; data NULL: none */ };

#define SPAN 1024           /* elements in flight: their few arrays stay in the first-level cache, or nearly so */
#define SHARE 32768         /* elements of a task, about: some microseconds */
#define WORTH_A_PART 65536  /* elements of a sum that are added up by themselves, so that threads share them */
#define MOST_PARTS 64
#define MOST_WAITING 32768  /* sums of parts that wait for the end */

typedef struct { double hi[2], lo[2]; } latents_sum; /* of the mean's gradient, and of the scale's */

typedef struct sampling {
    /* the call */
    enum { DRAWN, GRADIENTS, BOUND, FLOORED } what;
    int form, is_double;
    int aliased;             /* some result lies over an operand, element by element */
    int dims;
    ptrdiff_t shape[MAX_DIMS];
    uint64_t summed;         /* bit i: axis i is */
    view operand[N_LATENTS]; /* data NULL: not asked for */
    /* of free bits */
    double floor, divisor;   /* a place costs max(floor, sum/divisor) */
    int weighs_terms;        /* weights are those of what is summed, not of the places */
    void *factor;            /* of the places, contiguous in C order */
    double total;            /* out: of all costs */

    /* derived: shape and strides are those of `kept` axes, then of `inner` summed ones, then of the columns, which are of either kind */
    int kept, inner;
    int by_column;           /* columns are kept */
    ptrdiff_t rows, terms, columns; /* kept places without the columns; summed ones; columns */
    ptrdiff_t row_step, term_step, column_step; /* of a task */
    ptrdiff_t row_tasks, column_tasks, parts;
    latents_sum *waiting;    /* parts x results, where parts > 1; the costs of each task of free bits, where not */
    latents_sum one;         /* ... which there is room for here */
} sampling;

void fe_sampling_arrange(sampling *s);
static inline ptrdiff_t fe_sampling_tasks(const sampling *s) { return s->row_tasks * s->column_tasks * s->parts; }
static inline ptrdiff_t fe_sampling_results(const sampling *s) { return s->by_column ? s->rows * s->columns : s->rows; }
static inline size_t fe_sampling_bytes(const sampling *s) {
    const int of_parts = s->parts > 1 && (s->what == GRADIENTS || s->what == FLOORED);
    const ptrdiff_t sums = of_parts ? s->parts * fe_sampling_results(s) : s->what == FLOORED ? s->row_tasks : 0;
    return (size_t)sums * sizeof(latents_sum);
}

typedef struct latents_set {
    size_t work[2];                                               /* [is_double]: bytes a thread takes, of WORK_ALIGNMENT */
    void (*run[2])(const sampling *, ptrdiff_t task, void *work); /* tasks in any order, on any thread */
    void (*finish[2])(sampling *, void *work);                    /* after them */
    int (*positive[2])(const void *x, ptrdiff_t n);               /* whether none is <= 0 */
    const char *(*hole)(void);                                    /* which loop a form of the scale lacks; NULL: none. For the tests */
} latents_set;

const latents_set *fe_latents(const kernel_set *); /* of the same level */

#endif
