/* What is done with latents beside their losses, as cases of the driver: samples and their gradients for each form of the scale, the
 * importance-weighted bound, free bits. Included by driver.c. */
#include "latents/latents.h"

typedef struct {
    const char *name;
    int what, form;
    enum part scale;    /* of samples and gradients; the summed axes of the others */
    ptrdiff_t samples;
    int weighs;         /* free bits, with weights: 1 of what is summed, 2 of the places */
} latents_op;
#define SAMPLE_OPS(FORM, form)                                                                                                     \
    {"sample-" #form, DRAWN, FORM, ELEMENTS, 1, 0}, {"sample-" #form "-columns", DRAWN, FORM, OF_COLUMNS, 1, 0},                  \
    {"back-" #form, GRADIENTS, FORM, ELEMENTS, 1, 0}, {"back-" #form "-samples", GRADIENTS, FORM, ELEMENTS, 3, 0},
static const latents_op LATENTS_OPS[] = {
    SAMPLE_OPS(VAR, var)
    SAMPLE_OPS(STD, std)
    SAMPLE_OPS(LOGVAR, logvar)
    SAMPLE_OPS(LOGSTD, logstd)
    SAMPLE_OPS(PRECISION, precision)
    {"sample-logvar-rows", DRAWN, LOGVAR, OF_ROWS, 1, 0},
    {"sample-logvar-samples", DRAWN, LOGVAR, ELEMENTS, 3, 0},
    {"back-logvar-rows", GRADIENTS, LOGVAR, OF_ROWS, 1, 0},
    {"back-logvar-columns", GRADIENTS, LOGVAR, OF_COLUMNS, 1, 0},
    {"back-logvar-one", GRADIENTS, LOGVAR, ONE, 1, 0},
    {"bound-of-columns", BOUND, STD, OF_ROWS, 1, 0},
    {"bound-of-rows", BOUND, STD, OF_COLUMNS, 1, 0},
    {"floor", FLOORED, STD, ONE, 1, 0},
    {"floor-weighted", FLOORED, STD, ONE, 1, 2},
    {"floor-of-columns", FLOORED, STD, OF_ROWS, 1, 0},
    {"floor-of-columns-weighted", FLOORED, STD, OF_ROWS, 1, 1},
    {"floor-of-rows", FLOORED, STD, OF_COLUMNS, 1, 0},
    {"floor-of-all", FLOORED, STD, ELEMENTS, 1, 0},
};

typedef struct {
    const latents_set *set;
    sampling *call;
    char *work;
    int threads;
} latents_job;

static void run_latents_task(void *data, ptrdiff_t task, int thread) {
    const latents_job *j = data;
    j->set->run[j->call->is_double](j->call, task, j->work + (size_t)thread * j->set->work[j->call->is_double]);
}

static void run_latents_call(void *data) {
    const latents_job *j = data;
    const ptrdiff_t tasks = fe_sampling_tasks(j->call);
#ifdef _OPENMP
    if (j->threads > 1) fe_openmp.each(run_latents_task, data, tasks, j->threads);
#endif
    for (ptrdiff_t task = 0; j->threads == 1 && task < tasks; task++) run_latents_task(data, task, 0);
    j->set->finish[j->call->is_double](j->call, j->work);
}

static ptrdiff_t count_of(const sampling *s, enum part part) {
    return (part & OF_SAMPLES ? s->shape[SAMPLES] : 1) * (part & OF_ROWS ? s->shape[ROWS] : 1) * (part & OF_COLUMNS ? s->shape[COLUMNS] : 1);
}

/* A contiguous array for a part of the shape; its elements within these limits, or as a scale has them */
static void place_latents(sampling *s, int a, enum part part, int type, int kind, double low, double high, uint64_t *state, int far) {
    view *v = &s->operand[a];
    ptrdiff_t step = SIZE[type];
    v->type = type, v->data = held[n_held++] = malloc((size_t)(count_of(s, part) * step));
    for (int i = AXES - 1; i >= 0; i--) {
        const int own = part >> (AXES - 1 - i) & 1;
        v->stride[i] = own ? step : 0;
        if (own) step *= s->shape[i];
    }
    for (ptrdiff_t i = 0; i < count_of(s, part); i++) put(v, v->data + i * SIZE[type], kind == UNIT ? uniform(state, low, high) : scale_of(kind, s->is_double, far, state));
}

static uint64_t call_latents(const latents_set *set, const latents_op *o, const shape *shape, int is_double, int threads) {
    sampling s = {.what = o->what, .form = o->form, .is_double = is_double, .dims = AXES, .shape = {o->samples, shape->rows, shape->columns}};
    uint64_t state = 2013, hash = 0xcbf29ce484222325;
    const int type = is_double ? F64 : F32;
    enum part of_z = EVERY, of_one = EVERY, of_scale = ABSENT;
    char *work;
    if (o->what == DRAWN || o->what == GRADIENTS) {
        s.summed = (1 << SAMPLES) | (o->scale & OF_ROWS ? 0 : 1 << ROWS) | (o->scale & OF_COLUMNS ? 0 : 1 << COLUMNS);
        place_latents(&s, CENTER, o->what == DRAWN ? ELEMENTS : of_z, type, UNIT, -2, 2, &state, 0);
        place_latents(&s, NOISE, of_z, type, UNIT, -2, 2, &state, 0);
        place_latents(&s, RAW, o->scale, type, o->form, 0, 0, &state, shape->far);
        of_one = o->what == DRAWN ? of_z : o->scale == ELEMENTS ? ELEMENTS : ABSENT, of_scale = o->what == DRAWN ? ABSENT : o->scale;
    } else {
        s.summed = (o->scale & OF_ROWS ? 1 << ROWS : 0) | (o->scale & OF_COLUMNS ? 1 << COLUMNS : 0);
        place_latents(&s, CENTER, ELEMENTS, type, UNIT, 0, 2, &state, 0);
        if (o->what == BOUND) {
            of_one = ELEMENTS, of_scale = o->scale ^ ELEMENTS;
            place_latents(&s, NOISE, of_scale, type, UNIT, 0, 0, &state, 0);
        } else {
            if (o->weighs) place_latents(&s, SHARES, OF_ROWS, F64, UNIT, 0, 2, &state, 0);
            s.floor = 1, s.weighs_terms = o->weighs == 1, s.divisor = o->scale == ONE ? 1 : 1.0625 * (double)shape->rows;
            of_one = o->scale ^ ELEMENTS;
        }
    }
    if (of_one != ABSENT) place_latents(&s, ONE_OUT, of_one, type, UNIT, 0, 0, &state, 0);
    if (of_scale != ABSENT) place_latents(&s, SCALE_OUT, of_scale, type, UNIT, 0, 0, &state, 0);
    const view results[] = {s.operand[ONE_OUT], s.operand[SCALE_OUT], s.operand[NOISE]};
    const ptrdiff_t counts[] = {of_one == ABSENT ? 0 : count_of(&s, of_one), of_scale == ABSENT ? 0 : count_of(&s, of_scale), o->what == BOUND ? count_of(&s, of_scale) : 0};
    if (o->what == FLOORED) s.factor = s.operand[ONE_OUT].data, s.operand[ONE_OUT].data = NULL;
    fe_sampling_arrange(&s);
    if (posix_memalign((void **)&work, WORK_ALIGNMENT, set->work[is_double] * (size_t)threads)) abort();
    s.waiting = malloc(fe_sampling_bytes(&s) + 1);
    latents_job j = {set, &s, work, threads};
    counted(run_latents_call, &j);
    free(work), free(s.waiting);
    for (int i = 0; i < 3; i++) hash = fnv1a(hash, results[i].data, counts[i] * SIZE[type]);
    if (o->what == FLOORED) hash = fnv1a(hash, &s.total, sizeof s.total);
    while (n_held) free(held[--n_held]);
    return hash;
}
