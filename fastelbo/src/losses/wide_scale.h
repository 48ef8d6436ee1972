/* An element as wide numbers, where the maths in T would leave the range of T on the way to a number within it (careful.h): what the losses
 * share, as scale.h has it in T. Errors: a few u of double. Included once, for float64 (real.h). */
#ifndef FASTELBO_WIDE_SCALE_H
#define FASTELBO_WIDE_SCALE_H

#include "../math/wide.h"

typedef struct { wide term, first, scale, prior; } wide_point;

/* r, or the logit; x, rounded as in T; scale and prior scale (of a loss without a scale x; of one with a number for each element that);
 * what r is rounded by, of a loss that takes it */
typedef struct { wide r; double x, raw, prior; int kind; double lost; } wide_element;

/* The element by the loops for any scale, which know the limits: careful.h */
static wide_point by_loop(const plan *p, const wide_element *e);

static int is_log(int kind) { return kind == LOGVAR || kind == LOGSTD; }

static double within_log(double raw) { return at_least_f64(at_most_f64(raw, 0x1p14), -0x1p14); }

static wide inverse_variance(int kind, double raw) {
    const wide x = wide_of(raw), one = wide_of(1);
    switch (kind) {
        case VAR: return wide_over(one, x);
        case STD: return wide_over(wide_over(one, x), x);
        case LOGVAR: return wide_exp(-within_log(raw));
        case LOGSTD: return wide_exp(-2 * within_log(raw));
        default: return x;
    }
}

static double half_log_variance(int kind, double raw) {
    switch (kind) {
        case VAR: return 0.5 * log_f64(raw, 0);
        case STD: return log_f64(raw, 0);
        case LOGVAR: return 0.5 * raw;
        case LOGSTD: return raw;
        default: return -0.5 * log_f64(raw, 0);
    }
}

/* d log v/d raw */
static wide slope_of_log(int kind, double raw) {
    switch (kind) {
        case VAR: return wide_over(wide_of(1), wide_of(raw));
        case STD: return wide_over(wide_of(2), wide_of(raw));
        case LOGVAR: return wide_of(1);
        case LOGSTD: return wide_of(2);
        default: return wide_over(wide_of(-1), wide_of(raw));
    }
}

static int is_usual(int kind, double raw) { return raw - raw == 0 && (is_log(kind) || raw > 0); }

/* raw of the variance times 4^-k */
static double rescaled(int kind, double raw, int64_t k) {
    const wide x = wide_of(raw);
    return is_log(kind) ? raw : double_of((wide){x.m, x.e + (kind == VAR ? -2 * k : kind == STD ? -k : 2 * k)});
}

/* 1/sigma */
static wide inverse_std(int kind, double raw) {
    switch (kind) {
        case STD: return wide_over(wide_of(1), wide_of(raw));
        case LOGVAR: return wide_exp(-0.5 * within_log(raw));
        case LOGSTD: return wide_exp(-within_log(raw));
        default: return wide_root(inverse_variance(kind, raw));
    }
}

#endif
