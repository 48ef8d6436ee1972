/* The kernels without Python: a table of calls, on inputs that are the same on every machine, and a hash of each one's results.
 *
 *     driver [--list] [--isa LEVEL] [--threads N] [PART ...]        only the cases with one of these in their name
 *
 * It fills a plan as the doors of _core.pyx do. Every array has just the bytes that it needs, for tools that watch their ends. */
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include "kernels.h"

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

enum part { ONE, COLUMNS, ROWS, ELEMENTS, ABSENT }; /* a part's bits: an element for each column, for each row */

static const struct { const char *name; int loss, kind, prior_kind; enum part scale, second, prior; } OPS[] = {
    {"nll-var-one", NLL, VAR, UNIT, ONE, ELEMENTS, ABSENT},
    {"nll-precision-rows", NLL, PRECISION, UNIT, ROWS, ELEMENTS, ABSENT},
    {"nll-std-columns", NLL, STD, UNIT, COLUMNS, ELEMENTS, ABSENT},
    {"nll-var", NLL, VAR, UNIT, ELEMENTS, ELEMENTS, ABSENT},
    {"nll-logvar", NLL, LOGVAR, UNIT, ELEMENTS, ELEMENTS, ABSENT},
    {"kl-var", KL, VAR, UNIT, ELEMENTS, ABSENT, ABSENT},
    {"kl-logvar", KL, LOGVAR, UNIT, ELEMENTS, ABSENT, ABSENT},
    {"kl-logvar-logvar", KL, LOGVAR, LOGVAR, ELEMENTS, ELEMENTS, ELEMENTS},
    {"kl-std-precision", KL, STD, PRECISION, ELEMENTS, ELEMENTS, ELEMENTS},
    {"bernoulli", BERNOULLI, LOGVAR, UNIT, ELEMENTS, ABSENT, ABSENT},
};
static const char *const WANTS[] = {"value", "grad"}; /* each row's value; the mean over the rows, and every gradient */
static const char *const TYPES[] = {"f32", "f64"};
static const struct { const char *name; ptrdiff_t rows, columns; int far; } SHAPES[] = {
    {"128x784", 128, 784, 0},
    {"2000x8", 2000, 8, 0},
    {"1x20000", 1, 20000, 0},
    {"33x1100-far", 33, 1100, 1}, /* a scale in a hundred near the ends of its range: such tiles go another way */
};
#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

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
    if (is_log) return s * (is_double ? 236 : 29); /* exp(s) is finite, just */
    double shift = is_double ? 0x1p1000 : 0x1p120;
    return uniform(state, 0, 1) > 0.5 ? s * shift : s / shift;
}

static void fill(view *v, int kind, int is_bernoulli, int far, ptrdiff_t count, uint64_t *state) {
    for (ptrdiff_t i = 0; i < count; i++) {
        double x = kind == UNIT ? uniform(state, -2, 2) : is_bernoulli ? uniform(state, 0, 1) : scale_of(kind, v->type == F64, far, state);
        if (v->type == F64) ((double *)v->data)[i] = x;
        else ((float *)v->data)[i] = (float)x;
    }
}

/* ---- one call ---------------------------------------------------------------------------------------------------- */

static ptrdiff_t bytes_of(const plan *p, enum part part) {
    return (part & ROWS ? p->shape[0] : 1) * (part & COLUMNS ? p->shape[1] : 1) * (p->is_double ? 8 : 4);
}

static void place(const plan *p, view *v, enum part part) {
    ptrdiff_t item = p->is_double ? 8 : 4;
    void *memory;
    if (posix_memalign(&memory, 64, (size_t)bytes_of(p, part))) abort();
    v->data = memory;
    v->type = p->is_double ? F64 : F32;
    v->stride[1] = part & COLUMNS ? item : 0;
    v->stride[0] = !(part & ROWS) ? 0 : part & COLUMNS ? item * p->shape[1] : item;
}

/* A function of its own, because what happens in here is counted (instructions.py) */
__attribute__((noinline)) double carry_out(const kernel_set *kernels, plan *p, int threads) {
    ptrdiff_t tasks = fe_plan_tasks(p);
    const ptrdiff_t step = threads > 1 ? 1 : tasks;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
#endif
    for (ptrdiff_t task = 0; task < tasks; task += step) kernels->run[p->is_double](p, task, task + step);
    (void)threads;
    return kernels->finish[p->is_double](p);
}

static uint64_t fnv1a(uint64_t hash, const void *data, ptrdiff_t bytes) {
    for (ptrdiff_t i = 0; i < bytes; i++) hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3;
    return hash;
}

static uint64_t call(const kernel_set *kernels, int op, int grads, int is_double, int shape, int threads) {
    plan p;
    uint64_t state = 2013, hash = 0xcbf29ce484222325;
    double zero = 0, total;
    memset(&p, 0, sizeof p);
    p.loss = OPS[op].loss, p.full = p.loss == NLL, p.is_double = is_double, p.factor = p.x_scale = 1;
    p.kind[0] = OPS[op].kind, p.kind[1] = OPS[op].prior_kind;
    p.reduction = grads ? MEAN : NONE;
    p.row_dims = 1, p.dims = 2;
    p.shape[0] = SHAPES[shape].rows, p.shape[1] = SHAPES[shape].columns;

    enum part parts[N_GRADS] = {ELEMENTS, OPS[op].second, OPS[op].scale, OPS[op].prior};
    int kinds[N_GRADS] = {UNIT, UNIT, p.kind[0], p.kind[1]};
    for (int a = 0; a < N_GRADS; a++) {
        if (parts[a] == ABSENT) continue;
        place(&p, &p.argument[a], parts[a]);
        fill(&p.argument[a], kinds[a], p.loss == BERNOULLI, SHAPES[shape].far, bytes_of(&p, parts[a]) / (is_double ? 8 : 4), &state);
        p.broadcast[a] = (parts[a] & ROWS ? 0 : 1) | (parts[a] & COLUMNS ? 0 : 2);
        if (grads) place(&p, &p.gradient[a], parts[a]);
    }
    if (parts[SECOND] == ABSENT) { /* the number 0 */
        p.argument[SECOND].data = (char *)&zero, p.argument[SECOND].type = is_double ? F64 : F32;
        p.broadcast[SECOND] = p.loss == BERNOULLI ? 0 : 3;
    }
    if (!grads) place(&p, &p.value, ROWS);

    plan prepared = p;
    if (fe_plan_prepare(&prepared)) abort();
    total = carry_out(kernels, &prepared, threads);
    if (prepared.bad) abort();
    fe_plan_release(&prepared);

    if (grads) hash = fnv1a(hash, &total, sizeof total);
    else hash = fnv1a(hash, p.value.data, bytes_of(&p, ROWS)), free(p.value.data);
    for (int a = 0; a < N_GRADS; a++) {
        if (parts[a] == ABSENT) continue;
        if (grads) hash = fnv1a(hash, p.gradient[a].data, bytes_of(&p, parts[a])), free(p.gradient[a].data);
        free(p.argument[a].data);
    }
    return hash;
}

/* ---- the command --------------------------------------------------------------------------------------------------- */

static int chosen(const char *name, int count, char **selection) {
    for (int i = 0; i < count; i++)
        if (strstr(name, selection[i])) return 1;
    return count == 0;
}

int main(int argc, char **argv) {
    const char *level = NULL;
    int list = 0, threads = 1, i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--list")) list = 1;
        else if (!strcmp(argv[i], "--isa") && i + 1 < argc) level = argv[++i];
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc) threads = atoi(argv[++i]);
        else return fprintf(stderr, "driver: %s? [--list] [--isa LEVEL] [--threads N] [PART ...]\n", argv[i]), 2;
    }
#ifndef _OPENMP
    if (threads != 1) return fputs("driver: built without OpenMP, so for one thread\n", stderr), 2;
#endif
    const kernel_set *kernels = fe_kernels(level);
    if (!kernels) return fprintf(stderr, "driver: this machine does not have the level %s\n", level), 2;
    if (!list) printf("%s\n%s\n%s\n", COMPILER, MACHINE, kernels->name);
    for (int op = 0; op < COUNT(OPS); op++)
        for (int shape = 0; shape < COUNT(SHAPES); shape++)
            for (int is_double = 0; is_double < COUNT(TYPES); is_double++)
                for (int grads = 0; grads < COUNT(WANTS); grads++) {
                    char name[80];
                    snprintf(name, sizeof name, "%s/%s/%s/%s", OPS[op].name, WANTS[grads], TYPES[is_double], SHAPES[shape].name);
                    if (!chosen(name, argc - i, argv + i)) continue;
                    if (list) puts(name);
                    else printf("%s %016" PRIx64 "\n", name, call(kernels, op, grads, is_double, shape, threads));
                }
    return 0;
}
