/* Whether any cell of a table of functions is empty that a call may reach: its name, for the tests. Once per type (real.h). */
#ifndef TABLES_H
#define TABLES_H

#include "../loops/loops.h"
#include "careful.h"

#if REAL == 64 /* once */
#include <stdio.h>

static const char *const FORM_NAMES[N_SCALES] = {"var", "std", "logvar", "logstd", "precision"};
static const char *const LOSS_NAMES[N_LOSSES] = {
#define LOSS(NAME, name, ...) [NAME] = #name,
    EACH_LOSS(LOSS)
#undef LOSS
};
/* Whether its loops for ordinary scales are others than those for any: not where one way does for all (loops.h) */
enum { ORDINARY_OWN = 1, ORDINARY_FAMILY = 1, ORDINARY_NUMBERED = 1, ORDINARY_BINNED = 0 };
static const int HAS_ORDINARY[N_LOSSES] = {
#define LOSS(NAME, name, maths, ...) [NAME] = ORDINARY_##maths,
    EACH_LOSS(LOSS)
#undef LOSS
};
static char hole[120];

static const char *name_hole(const char *table, const char *a, const char *b, int gradients, const char *way) {
    snprintf(hole, sizeof hole, "%s has nothing for %s, %s, set of gradients %d, %s", table, a, b, gradients, way);
    return hole;
}
#endif

/* Loops that a loss, or pair of scales, must have: ORDINARY is none but for some, and STREAMED is beside it where there is a gradient */
static const char *RE(hole_in_ways)(const RE(loop) *loop, int has_ordinary, const char *table, const char *a, const char *b, int gradients) {
    if (!loop[ANY]) return name_hole(table, a, b, gradients, "loop for any scales");
    if (has_ordinary && !loop[ORDINARY]) return name_hole(table, a, b, gradients, "loop for ordinary scales");
    if (has_ordinary && STREAMS && gradients && !loop[STREAMED]) return name_hole(table, a, b, gradients, "streamed loop");
    return NULL;
}

static const char *RE(hole_of_loss)(int loss) {
    static const char *const table = REAL == 32 ? "one_scale_f32" : "one_scale_f64";
    const int forms = LOSSES[loss].forms;
    const char *found = NULL;
    for (int kind = 0; kind < N_SCALES; kind++) {
        const char *form = forms ? FORM_NAMES[kind] : "no scale";
        if (forms ? !(forms >> kind & 1) : kind != NO_FORM) continue;
        for (int want = 0; want < 4 && !found; want++)
            found = RE(hole_in_ways)(RE(one_scale)[loss][kind][want], HAS_ORDINARY[loss], table, LOSS_NAMES[loss], form, want);
    }
    return found || careful_of[loss] ? found : name_hole("careful_of", LOSS_NAMES[loss], "wide numbers", 0, "-");
}

static const char *RE(hole_of_pair)(int q, int p) {
    static const char *const table = REAL == 32 ? "two_scales_f32" : "two_scales_f64";
    const char *found = NULL;
    for (int want = 0; want < 2 && !found; want++)
        found = RE(hole_in_ways)(RE(two_scales)[q][p][want], q == p || (is_log(q) && is_log(p)), table, FORM_NAMES[q], FORM_NAMES[p], want);
    return found;
}

static const char *RE(hole_of_type)(int type) {
    char name[] = "type 00";
    name[5] = (char)('0' + type % SWAPPED / 10), name[6] = (char)('0' + type % SWAPPED % 10);
    const char *swapped = type < SWAPPED ? "native" : "byte-swapped";
    if (!RE(packs)[CONVERTED][type] || !RE(packs)[TIMES_FACTOR][type]) return name_hole("packs", name, swapped, 0, "converted or times a factor");
#if REAL == 64
    if ((type % SWAPPED == U64 || type % SWAPPED == I64) && !packs_f64[REST][type]) return name_hole("packs", name, swapped, 0, "rest");
#endif
    return NULL;
}

/* NULL: there is none */
static const char *RE(hole)(void) {
    const char *found = NULL;
    for (int loss = 0; loss < N_LOSSES && !found; loss++) found = RE(hole_of_loss)(loss);
    for (int pair = 0; pair < N_SCALES * N_SCALES && !found; pair++) found = RE(hole_of_pair)(pair / N_SCALES, pair % N_SCALES);
    for (int type = 0; type < N_TYPES && !found; type++) {
        found = RE(hole_of_type)(type);
        if (!found) found = RE(hole_of_type)(SWAPPED + type);
    }
    for (int i = 0; i < 6 && !found; i++)
        if (!RE(squares)[i / 3][i % 3]) found = name_hole("squares", i / 3 ? "a scale per row" : "one scale", "-", i % 3, "-");
    return found;
}

#endif
