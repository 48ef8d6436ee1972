/* The kernels without Python: a table of calls, on inputs that are the same on every machine, and a hash of each one's results.
 *
 *     driver [--list] [--ways] [--gradients MASK] [--isa LEVEL] [--threads N] [PART ...]
 *                                                                            only the cases with one of these in their name
 *
 * The cases are a few calls on much data; with --ways, for every loss and scale, one hash over all ways to call it, each in every
 * memory layout, which must not matter; --gradients: only these, bit a of the a-th argument. It fills a plan as _core.pyx does. Every
 * array has just the bytes that it needs, for tools that watch their ends. */
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include "kernels.h"
#include "threads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif
#if defined(__x86_64__)
#define MACHINE "x86-64"
#elif defined(__aarch64__)
#define MACHINE "arm64"
#else
#define MACHINE "unknown"
#endif

/* ---- the cases: all combinations of these tables ------------------------------------------------------------- */

enum { SAMPLES, ROWS, COLUMNS, AXES };
enum part { ONE, OF_COLUMNS, OF_ROWS, ELEMENTS, OF_SAMPLES, EVERY = 7, ABSENT }; /* a part's bits: the axes it has elements for */

typedef struct { const char *name; int loss, kind, prior_kind; enum part scale, second, prior; } op;
static const op OPS[] = {
    {"nll-var-one", NLL, VAR, UNIT, ONE, EVERY, ABSENT},
    {"nll-precision-rows", NLL, PRECISION, UNIT, OF_ROWS, EVERY, ABSENT},
    {"nll-std-columns", NLL, STD, UNIT, OF_COLUMNS, EVERY, ABSENT},
    {"nll-var", NLL, VAR, UNIT, ELEMENTS, EVERY, ABSENT},
    {"nll-logvar", NLL, LOGVAR, UNIT, ELEMENTS, EVERY, ABSENT},
    {"kl-var", KL, VAR, UNIT, ELEMENTS, ABSENT, ABSENT},
    {"kl-logvar", KL, LOGVAR, UNIT, ELEMENTS, ABSENT, ABSENT},
    {"kl-logvar-logvar", KL, LOGVAR, LOGVAR, ELEMENTS, EVERY, ELEMENTS},
    {"kl-std-precision", KL, STD, PRECISION, ELEMENTS, EVERY, ELEMENTS},
    {"bernoulli", BERNOULLI, LOGVAR, UNIT, ELEMENTS, ABSENT, ABSENT},
/* location-scale families, and those with more beside the scale: by std and by a logarithm */
#define OWN_OPS(NAME, name)
#define FAMILY_OPS(NAME, name) {#name "-std", NAME, STD, UNIT, ELEMENTS, EVERY, ABSENT}, {#name "-logstd", NAME, LOGSTD, UNIT, ELEMENTS, EVERY, ABSENT},
#define NUMBERED_OPS FAMILY_OPS
#define BINNED_OPS(NAME, name) {#name "-std", NAME, STD, UNIT, ELEMENTS, EVERY, ABSENT}, {#name "-logvar", NAME, LOGVAR, UNIT, ELEMENTS, EVERY, ABSENT},
#define LOSS(NAME, name, maths, ...) maths##_OPS(NAME, name)
    EACH_LOSS(LOSS)
#undef LOSS
    {"kl-std-std", KL, STD, STD, ELEMENTS, EVERY, ELEMENTS},
    {"laplace-logstd-rows", LAPLACE, LOGSTD, UNIT, OF_ROWS, EVERY, ABSENT},
    {"student_t-logstd-one", STUDENT_T, LOGSTD, UNIT, ONE, EVERY, ABSENT},
};
static const char *const WANTS[] = {"value", "grad", "weighted"}; /* each row's value; the mean over the rows, and every gradient; values of weighted rows */
enum { WANT_GRADIENTS = 1, WANT_WEIGHTED };
static const char *const TYPES[] = {"f32", "f64"};
typedef struct { const char *name; ptrdiff_t rows, columns; int far; } shape;
static const shape SHAPES[] = {
    {"128x784", 128, 784, 0},
    {"2000x8", 2000, 8, 0},
    {"5000x1", 5000, 1, 0},
    {"1500x3", 1500, 3, 0},
    {"500x17", 500, 17, 0},
    {"1x20000", 1, 20000, 0},
    {"33x1100-far", 33, 1100, 1}, /* a scale in a hundred near the ends of its range (2: a variance): such tiles go another way */
};
#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

/* With --ways: all losses and scales, the n-th in the k-th way with the (n + k)-th shape: rows that share a tile, rows of several, and
 * what threads share, by rows and by columns (the last: of squares alone) */
static const shape WIDE_SHAPES[] = {
    {"", 5, 37, 2}, {"", 3, 1030, 2}, {"", 40, 16, 0}, {"", 2, 517, 0},     {"", 70, 1, 0},    {"", 3, 7, 2},    {"", 9, 64, 0},
    {"", 4, 255, 0}, {"", 20, 8, 0},  {"", 6, 128, 0}, {"", 34, 1000, 0}, {"", 1, 17000, 0}, {"", 1, 70000, 0},
};
enum { SMALL_SHAPES = 10, USUAL_SHAPES = 12 };
static const op WIDE_OPS[] = { /* each with every kind of scale */
    {"nll-%s", NLL, 0, UNIT, ELEMENTS, EVERY, ABSENT},
    {"nll-%s-one", NLL, 0, UNIT, ONE, EVERY, ABSENT},
    {"nll-%s-columns", NLL, 0, UNIT, OF_COLUMNS, EVERY, ABSENT},
    {"nll-%s-rows", NLL, 0, UNIT, OF_ROWS, EVERY, ABSENT},
    {"kl-%s", KL, 0, UNIT, ELEMENTS, ABSENT, ABSENT},
    {"kl-%s-one", KL, 0, UNIT, ONE, ABSENT, ABSENT},
    {"kl-%s-columns", KL, 0, UNIT, OF_COLUMNS, ABSENT, ABSENT},
    {"kl-%s-rows", KL, 0, UNIT, OF_ROWS, ABSENT, ABSENT},
    {"kl-%s-var", KL, 0, VAR, ELEMENTS, EVERY, ELEMENTS},
    {"kl-%s-std", KL, 0, STD, ELEMENTS, EVERY, ELEMENTS},
    {"kl-%s-logvar", KL, 0, LOGVAR, ELEMENTS, EVERY, ELEMENTS},
    {"kl-%s-logstd", KL, 0, LOGSTD, ELEMENTS, EVERY, ELEMENTS},
    {"kl-%s-precision", KL, 0, PRECISION, ELEMENTS, EVERY, ELEMENTS},
    {"kl-%s-rows-std-one", KL, 0, STD, OF_ROWS, EVERY, ONE},
    {"kl-%s-rows-logvar-columns", KL, 0, LOGVAR, OF_ROWS, EVERY, OF_COLUMNS},
    {"bernoulli", BERNOULLI, LOGVAR, UNIT, ELEMENTS, ABSENT, ABSENT},
};
static const op FAMILY_OPS[] = { /* each with its kinds of scale; after all others, whose numbers choose their shapes */
#define OWN_WIDE_OPS(NAME, name)
#define FAMILY_WIDE_OPS(NAME, name) {#name "-%s", NAME, 0, UNIT, ELEMENTS, EVERY, ABSENT}, {#name "-%s-one", NAME, 0, UNIT, ONE, EVERY, ABSENT},
#define NUMBERED_WIDE_OPS FAMILY_WIDE_OPS
#define BINNED_WIDE_OPS FAMILY_WIDE_OPS
#define LOSS(NAME, name, maths, ...) maths##_WIDE_OPS(NAME, name)
    EACH_LOSS(LOSS)
#undef LOSS
};
typedef struct {
    enum reduction reduction;
    ptrdiff_t samples;              /* that share x; 0: there is no such axis */
    enum part lacking;              /* axes that the mean has no elements for */
    enum part weight, where;        /* ONE: not given */
    int of_x, of_mean;              /* types, NATIVE */
    double x_scale, min_var;
    int in_place;                   /* gradients lie over their arguments, where they can */
} way;
enum { NATIVE = N_TYPES };
static const way WAYS[] = {
    {NONE, 0, ONE, ONE, ONE, NATIVE, NATIVE, 1, 0, 0},
    {NONE, 0, ONE, ELEMENTS, ONE, NATIVE, NATIVE, 1, 0, 0},
    {NONE, 0, ONE, ONE, ELEMENTS, NATIVE, NATIVE, 1, 0, 0},
    {NONE, 0, ONE, ONE, ONE, NATIVE, NATIVE, 1, 0, 1},
    {SUM, 0, ONE, ONE, ONE, U8, F16, 0x1p-6, 0, 0},
    {MEAN, 0, ONE, OF_ROWS, ONE, F16, BF16, 1, 0, 0},
    {SUM, 0, ONE, ONE, ONE, BF16, NATIVE, 1, 0.25, 0},
    {SUM, 0, OF_ROWS, ONE, ONE, I16, NATIVE, 0x1p-6, 0, 0},
    {MEAN, 0, OF_COLUMNS, OF_COLUMNS, OF_ROWS, NATIVE, NATIVE, 1, 0, 0},
    {SUM, 0, ELEMENTS, ELEMENTS, ELEMENTS, NATIVE, NATIVE, 1, 0.25, 1},
    {MEAN, 3, ONE, ONE, ONE, NATIVE, NATIVE, 1, 0, 0},
    {NONE, 3, ONE, OF_ROWS, OF_COLUMNS, NATIVE, NATIVE, 1, 0, 0},
};
enum layout { C_ORDER, F_ORDER, REVERSED_WITH_GAPS, SWAPPED_UNALIGNED, N_LAYOUTS };

/* bad: no scale is positive, which has to be found; there is no hash then */
typedef struct { const op *op; const shape *shape; const way *way; enum layout layout; int grads, is_double, bad; } request;

static int gradients = (1 << N_GRADS) - 1;

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

static double uniform(uint64_t *state, double low, double high) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return low + (high - low) * ((double)((z ^ z >> 31) >> 11) * 0x1p-53);
}

static double scale_of(int kind, int is_double, int far, uint64_t *state) {
    int is_log = kind == LOGVAR || kind == LOGSTD;
    double s = is_log ? uniform(state, -3, 3) : uniform(state, 0.0625, 4);
    if (!far || uniform(state, 0, 1) > 0.01) return s;
    if (is_log) return s * (is_double ? 236 : 29) / (kind == LOGSTD ? 2 : 1); /* exp(s) is finite, just */
    double shift = far == 2 && kind == STD ? (is_double ? 0x1p500 : 0x1p60) : is_double ? 0x1p1000 : 0x1p120;
    return uniform(state, 0, 1) > 0.5 ? s * shift : s / shift;
}

static const int SIZE[N_TYPES] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 1};

/* x as an element of v's type; integers in 1/64 */
static void put(const view *v, char *to, double x) {
    float f = (float)x;
    int32_t bits, whole = (int32_t)(x * 64);
    int type = v->type % SWAPPED, last = SIZE[type] - 1;
    memcpy(&bits, &f, sizeof bits);
    int32_t half = (bits & 0x7fffffff) < 0x38800000 ? 0 : (int32_t)((uint32_t)bits >> 16 & 0x8000) | (((bits & 0x7fffffff) - 0x38000000) >> 13);
    int32_t of_type[] = {[U8] = whole < 0 ? -whole : whole, [I16] = whole, [F16] = half, [BF16] = (int32_t)((uint32_t)bits >> 16), [F32] = bits, [BOOL] = whole};
    char bytes[8];
    memcpy(bytes, type == F64 ? (void *)&x : &of_type[type], (size_t)last + 1); /* little-endian */
    for (int i = 0; i <= last; i++) to[i] = bytes[v->type >= SWAPPED ? last - i : i];
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

enum { AS_NUMPY = 16 }; /* bytes: so far from a cache line NumPy's large arrays lie, by the C library's doing */
static void *held[2 * N_ARGUMENTS + 1];
static int n_held;

/* Memory for a part */
static void place(const plan *p, view *v, int type, enum part part, enum layout layout) {
    if (type == NATIVE) type = p->is_double ? F64 : F32;
    ptrdiff_t item = SIZE[type], step = layout == REVERSED_WITH_GAPS ? -3 * item : item, bytes = item;
    int odd = layout == SWAPPED_UNALIGNED;
    for (int k = 0; k < AXES; k++) {
        int axis = layout == F_ORDER ? k : AXES - 1 - k;
        v->stride[axis] = part >> (AXES - 1 - axis) & 1 ? step : 0;
        if (!v->stride[axis]) continue;
        bytes += (step < 0 ? -step : step) * (p->shape[axis] - 1);
        step *= p->shape[axis];
    }
    void *memory;
    int shift = AS_NUMPY + odd;
    if (posix_memalign(&memory, 64, (size_t)(bytes + shift))) abort();
    held[n_held++] = memory;
    v->data = (char *)memory + shift + (step < 0 ? bytes - item : 0);
    v->type = type + (odd && item > 1 ? SWAPPED : 0);
}

static ptrdiff_t length(const plan *p, enum part part, int axis) { return part >> (AXES - 1 - axis) & 1 ? p->shape[axis] : 1; }

/* Every address `to` of a part's elements, in C order */
#define EACH(p, v, part, to)                                                                                          \
    for (ptrdiff_t s_ = 0; s_ < length(p, part, SAMPLES); s_++)                                                       \
        for (ptrdiff_t r_ = 0; r_ < length(p, part, ROWS); r_++)                                                      \
            for (char *row_ = (v)->data + s_ * (v)->stride[SAMPLES] + r_ * (v)->stride[ROWS], *to = row_, *end_ = NULL; !end_; end_ = row_) \
                for (ptrdiff_t c_ = length(p, part, COLUMNS); c_ > 0; c_--, to += (v)->stride[COLUMNS])

static uint64_t fnv1a(uint64_t hash, const void *data, ptrdiff_t bytes) {
    for (ptrdiff_t i = 0; i < bytes; i++) hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3;
    return hash;
}

static uint64_t hash_of(uint64_t hash, const plan *p, const view *v, enum part part) {
    EACH(p, v, part, element) hash = fnv1a(hash, element, SIZE[v->type]);
    return hash;
}

/* ---- one call ---------------------------------------------------------------------------------------------------- */

#ifdef _OPENMP
typedef struct {
    const kernel_set *kernels;
    plan *p;
} job;

static void run_one(void *data, ptrdiff_t task, int thread) {
    const job *j = data;
    j->kernels->run[j->p->is_double](j->p, task, task + 1, thread);
}
#endif

static void run_wave(const kernel_set *kernels, plan *p, int threads) {
#ifdef _OPENMP
    job j = {kernels, p};
    if (threads > 1) {
        fe_openmp.each(run_one, &j, fe_plan_tasks(p), threads);
        return;
    }
#endif
    (void)threads;
    kernels->run[p->is_double](p, 0, fe_plan_tasks(p), 0);
}

static void run_tasks(const kernel_set *kernels, plan *p, int threads) {
    fe_plan_first_wave(p);
    do {
        run_wave(kernels, p, threads);
        if (!p->bad && !p->check_only) kernels->finish_rows[p->is_double](p);
    } while (!p->bad && fe_plan_next_wave(p));
}

/* What happens in here is counted (instructions.py): a function of its own, of which compilers make no copies, as they can't see who calls it */
__attribute__((noinline)) void carry_out(void (*all)(void *), void *data) { all(data); }
static void (*volatile counted)(void (*)(void *), void *) = carry_out;

typedef struct {
    const kernel_set *kernels;
    plan *p;
    int threads;
    double total;
} whole_call;

static void run_call(void *data) {
    whole_call *c = data;
    run_tasks(c->kernels, c->p, c->threads);
    c->total = c->kernels->finish[c->p->is_double](c->p);
    while (fe_plan_look(c->p)) {
        run_tasks(c->kernels, c->p, c->threads);
        c->kernels->finish[c->p->is_double](c->p);
    }
}

static uint64_t call(const kernel_set *kernels, request q, int threads) {
    plan p;
    uint64_t state = 2013, hash = 0xcbf29ce484222325;
    const double zero = 0;
    memset(&p, 0, sizeof p);
    const double parameters[N_PARAMETERS] = {0.25, -1.5, 1.5}; /* a width, ends */
    memcpy(p.parameter, parameters, sizeof parameters);
    p.loss = q.op->loss, p.full = 1, p.is_double = q.is_double, p.factor = 1;
    const int takes_number = LOSSES[p.loss].takes & TAKES_NUMBER; /* beside the scale, like it */
    p.kind[0] = q.op->kind, p.kind[1] = takes_number ? NUMBER : q.op->prior_kind;
    p.reduction = q.way->reduction, p.min_var = p.loss == KL || p.loss == BERNOULLI ? 0 : q.way->min_var;
    p.x_scale = p.loss == KL ? 1 : q.way->x_scale;
    p.row_dims = 2, p.dims = AXES;
    p.shape[SAMPLES] = q.way->samples ? q.way->samples : 1, p.shape[ROWS] = q.shape->rows, p.shape[COLUMNS] = q.shape->columns;

    enum layout layout = q.layout, of_result = layout == SWAPPED_UNALIGNED ? C_ORDER : layout;
    enum part second = q.op->second == ABSENT ? ABSENT : q.op->second & ~q.way->lacking;
    enum part parts[N_ARGUMENTS] = {ELEMENTS, second, q.op->scale, takes_number ? q.op->scale : q.op->prior, q.way->weight, q.way->where};
    int kinds[N_ARGUMENTS] = {UNIT, UNIT, p.kind[0], p.kind[1], VAR, UNIT}, types[N_ARGUMENTS];
    for (int a = 0; a < N_ARGUMENTS; a++) types[a] = NATIVE;
    if (p.loss != KL) types[p.loss == BERNOULLI ? SCALE : FIRST] = q.way->of_x, types[p.loss == BERNOULLI ? FIRST : SECOND] = q.way->of_mean;
    types[WHERE] = BOOL;
    for (int a = 0; a < N_ARGUMENTS; a++) {
        if (parts[a] == ABSENT || (a >= WEIGHT && parts[a] == ONE)) continue;
        view *v = &p.argument[a];
        place(&p, v, types[a], parts[a], layout);
        EACH(&p, v, parts[a], element) {
            double x = a == WHERE ? uniform(&state, 0, 1) > 0.2 : kinds[a] == UNIT ? uniform(&state, -2, 2)
                     : p.loss == BERNOULLI && a == SCALE ? uniform(&state, 0, 1) : scale_of(kinds[a], p.is_double, q.shape->far, &state);
            put(v, element, q.bad && a == SCALE ? -1 : x);
        }
        if (a >= N_GRADS) continue;
        for (int axis = 0; axis < AXES; axis++) p.broadcast[a] |= (uint64_t)!(parts[a] >> (AXES - 1 - axis) & 1) << axis;
        if (!q.grads || !(gradients >> a & 1) || kinds[a] == NUMBER) continue;
        int over = q.way->in_place && p.shape[SAMPLES] == 1 && (parts[a] & ELEMENTS) == ELEMENTS && v->type == (p.is_double ? F64 : F32);
        if (over) p.gradient[a] = *v, p.aliased = 1;
        else place(&p, &p.gradient[a], NATIVE, parts[a], of_result);
    }
    if (parts[SECOND] == ABSENT) { /* the number 0 */
        p.argument[SECOND].data = (char *)&zero, p.argument[SECOND].type = p.is_double ? F64 : F32;
        p.broadcast[SECOND] = p.loss == BERNOULLI ? 0 : 7;
    }
    if (p.reduction == NONE) place(&p, &p.value, NATIVE, OF_SAMPLES | OF_ROWS, of_result);

    plan prepared = p;
    fe_plan_prepare(&prepared);
    if (prepared.apart) abort();
    fe_plan_arrange(&prepared);
    const size_t sums = fe_plan_bytes(&prepared);
    fe_plan_share(&prepared, threads, sums);
    threads = prepared.threads;
    char *zeros = calloc(sums + fe_plan_slabs(&prepared) + 1, 1);
    if (!zeros || posix_memalign(&prepared.work, WORK_ALIGNMENT, kernels->work[p.is_double] * (size_t)threads)) abort();
    fe_plan_use(&prepared, zeros, zeros + sums);
    prepared.panel = malloc(fe_plan_panels(&prepared) + 1);
    if (p.aliased) prepared.check_only = 1, run_tasks(kernels, &prepared, threads), prepared.check_only = 0;
    double total = 0;
    if (q.bad && !prepared.bad) run_tasks(kernels, &prepared, threads);
    if (!prepared.bad) {
        whole_call c = {kernels, &prepared, threads, 0};
        counted(run_call, &c);
        total = c.total;
    }
    if (prepared.bad != q.bad) abort();
    free(zeros), free(prepared.work), free(prepared.panel);

    if (p.reduction != NONE) hash = fnv1a(hash, &total, sizeof total);
    else if (!q.bad) hash = hash_of(hash, &p, &p.value, OF_SAMPLES | OF_ROWS);
    for (int a = 0; a < N_GRADS; a++)
        if (p.gradient[a].data && !q.bad) hash = hash_of(hash, &p, &p.gradient[a], parts[a]);
    while (n_held) free(held[--n_held]);
    return hash;
}

/* One loss and scale, or pair of scales, in all ways; 0 if the layout matters, where that takes no time to see */
static uint64_t call_in_all_ways(const kernel_set *kernels, const op *o, int number, int is_double, int threads) {
    uint64_t hash = 0xcbf29ce484222325;
    for (int k = 0; k < COUNT(WAYS); k++) {
        int shape = (number + k) % USUAL_SHAPES;
        if (shape == USUAL_SHAPES - 1 && o->loss == NLL && o->scale != ELEMENTS) shape++;
        request q = {o, &WIDE_SHAPES[shape], &WAYS[k], C_ORDER, 1, is_double, 0};
        uint64_t expected = call(kernels, q, threads);
        for (q.layout = 1; q.layout < N_LAYOUTS && shape < SMALL_SHAPES; q.layout++)
            if (call(kernels, q, threads) != expected) return fprintf(stderr, "%s: way %d, layout %d\n", o->name, k, q.layout), 0;
        hash = fnv1a(hash, &expected, sizeof expected);
        q.layout = C_ORDER, q.bad = o->loss != BERNOULLI && o->kind != LOGVAR && o->kind != LOGSTD && !q.way->min_var && q.way->where == ONE;
        if (q.bad && shape >= SMALL_SHAPES) call(kernels, q, threads);
    }
    return hash;
}

#include "latents.h"

/* The number-th of WIDE_OPS with each scale, and its name; 0 after the last */
static int wide_op(int number, op *o, char *name, size_t size) {
    static const char *const kinds[N_SCALES] = {"var", "std", "logvar", "logstd", "precision"};
    const int others = (COUNT(WIDE_OPS) - 1) * N_SCALES + 1; /* the last is the Bernoulli NLL, without a scale */
    if (number >= others + COUNT(FAMILY_OPS) * N_SCALES) return 0;
    if (number >= others) number -= others, *o = FAMILY_OPS[number / N_SCALES];
    else *o = WIDE_OPS[number / N_SCALES];
    snprintf(name, size, o->loss == BERNOULLI ? "bernoulli" : o->name, kinds[number % N_SCALES]);
    o->kind = o->loss == BERNOULLI ? LOGVAR : number % N_SCALES;
    return 1;
}

/* ---- the command --------------------------------------------------------------------------------------------------- */

static int chosen(const char *name, int count, char **selection) {
    for (int i = 0; i < count; i++)
        if (strstr(name, selection[i])) return 1;
    return count == 0;
}

int main(int argc, char **argv) {
    const char *level = NULL;
    int list = 0, ways = 0, threads = 1, i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--list")) list = 1;
        else if (!strcmp(argv[i], "--ways")) ways = 1;
        else if (!strcmp(argv[i], "--gradients") && i + 1 < argc) gradients = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--isa") && i + 1 < argc) level = argv[++i];
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc) threads = atoi(argv[++i]);
        else return fprintf(stderr, "driver: %s? [--list] [--ways] [--gradients MASK] [--isa LEVEL] [--threads N] [PART ...]\n", argv[i]), 2;
    }
#ifndef _OPENMP
    if (threads != 1) return fputs("driver: built without OpenMP, so for one thread\n", stderr), 2;
#endif
    const kernel_set *kernels = fe_kernels(level);
    if (!kernels) return fprintf(stderr, "driver: this machine does not have the level %s\n", level), 2;
    const latents_set *latents = fe_latents(kernels);
    const char *hole = kernels->hole() ? kernels->hole() : latents->hole();
    if (hole) return fprintf(stderr, "driver: %s\n", hole), 1;
    if (!list) printf("%s\n%s\n%s\n", COMPILER, MACHINE, kernels->name);
    char name[80], of_op[60];
    op o;
    for (int n = 0; !ways && n < COUNT(OPS); n++)
        for (int shape = 0; shape < COUNT(SHAPES); shape++)
            for (int is_double = 0; is_double < COUNT(TYPES); is_double++)
                for (int want = 0; want < COUNT(WANTS); want++) {
                    snprintf(name, sizeof name, "%s/%s/%s/%s", OPS[n].name, WANTS[want], TYPES[is_double], SHAPES[shape].name);
                    if (!chosen(name, argc - i, argv + i)) continue;
                    const int grads = want == WANT_GRADIENTS;
                    way plain = {.reduction = grads ? MEAN : NONE, .weight = want == WANT_WEIGHTED ? OF_ROWS : ONE, .of_x = NATIVE, .of_mean = NATIVE, .x_scale = 1};
                    request q = {&OPS[n], &SHAPES[shape], &plain, C_ORDER, grads, is_double, 0};
                    if (list) puts(name);
                    else printf("%s %016" PRIx64 "\n", name, call(kernels, q, threads));
                }
    for (int n = 0; !ways && n < COUNT(LATENTS_OPS); n++)
        for (int shape = 0; shape < COUNT(SHAPES); shape++)
            for (int is_double = 0; is_double < COUNT(TYPES); is_double++) {
                snprintf(name, sizeof name, "%s/%s/%s", LATENTS_OPS[n].name, TYPES[is_double], SHAPES[shape].name);
                if (!chosen(name, argc - i, argv + i)) continue;
                if (list) puts(name);
                else printf("%s %016" PRIx64 "\n", name, call_latents(latents, &LATENTS_OPS[n], &SHAPES[shape], is_double, threads));
            }
    for (int n = 0; ways && wide_op(n, &o, of_op, sizeof of_op); n++) {
        if (LOSSES[o.loss].forms && !(LOSSES[o.loss].forms >> o.kind & 1)) continue;
        for (int is_double = 0; is_double < COUNT(TYPES); is_double++) {
            snprintf(name, sizeof name, "%s/%s", of_op, TYPES[is_double]);
            if (!chosen(name, argc - i, argv + i)) continue;
            if (list) puts(name);
            else printf("%s %016" PRIx64 "\n", name, call_in_all_ways(kernels, &o, n, is_double, threads));
        }
    }
    return 0;
}
