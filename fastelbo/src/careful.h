/* One element of a call, read from the caller's memory, as wide numbers: term and gradients with its weight, where the loops over T would
 * leave the range of T on the way to a number within it. A hundred times slower than they are, for the few elements that ask for it.
 * Errors: a few u of double. Included once, for float64 (real.h). */

typedef struct { wide term, first, scale, prior; } wide_point;

typedef struct {
    wide term, weight, gradient[N_GRADS]; /* each with the weight; not with careful_factor */
    int counted;                          /* where has not removed it */
} careful;

/* ---- a scale ------------------------------------------------------------------------------------------------------------- */

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

/* ---- the losses ------------------------------------------------------------------------------------------------------------ */

/* An element: r, or the logit; its scale and form (of a Bernoulli NLL x), and the prior's */
typedef struct { wide r; double raw, prior; int kind; } element;

static wide_point careful_nll(const plan *p, const element *e) {
    const wide r = e->r;
    const double raw = e->raw;
    const int kind = e->kind;
    (void)p;
    const wide first = wide_times(r, inverse_variance(kind, raw)), half_t = wide_half(wide_times(r, first));
    return (wide_point){.term = wide_plus(wide_of(half_log_variance(kind, raw)), half_t),
                        .first = first,
                        .scale = wide_times(slope_of_log(kind, raw), wide_plus(wide_of(0.5), wide_minus(half_t)))};
}

/* The element by the loops for any scale, which know the limits. r = 0 leaves half of h(d) and of expm1(d), times the slopes */
static wide_point by_loop(const plan *p, double r, int kind, double raw, double prior) {
    double zero = 0, term = 0, first = 0, scale = 0, of_prior = 0;
    operands_f64 o = {&r, &zero, &raw, &prior, &term, &first, &scale, &of_prior, 1, 1, 1};
    (is_paired(p) ? two_scales_f64[kind][p->kind[1]][1][ANY] : one_scale_f64[p->loss][kind][3][ANY])(&o);
    return (wide_point){wide_of(term), wide_of(first), wide_of(scale), wide_of(of_prior)};
}

/* expm1(d)/2 of d = log(v_q/v_p) near 0, to its own relative accuracy, and half of h(d) */
static wide near_half_expm1(const plan *p, double raw, double prior, wide *half_h) {
    const int q = p->kind[0], of_p = p->kind[1];
    if (of_p != UNIT && !is_log(q) && !is_log(of_p)) {
        const int64_t k = -(inverse_variance(of_p, prior).e >> 1);
        raw = rescaled(q, raw, k), prior = rescaled(of_p, prior, k);
    }
    const wide_point x = by_loop(p, 0, q, raw, prior);
    const wide half = of_p != UNIT && is_log(of_p) ? wide_minus(wide_over(x.prior, slope_of_log(of_p, 0))) : wide_over(x.scale, slope_of_log(q, raw));
    *half_h = half.e < -400 ? wide_times(half, half) : x.term; /* h(d) = d^2/2 there, and below the range of double */
    return half;
}

static wide_point careful_kl(const plan *p, const element *e) {
    const int q = e->kind, of_p = p->kind[1], unit = !is_paired(p);
    const wide r = e->r;
    const double raw = e->raw, prior = e->prior;
    const wide inverse = unit ? wide_of(1) : inverse_variance(of_p, prior);
    const wide first = wide_times(r, inverse), half_t = wide_half(wide_times(r, first));
    const double half_d = half_log_variance(q, raw) - (unit ? 0 : half_log_variance(of_p, prior));
    if (half_d - half_d != 0) return by_loop(p, double_of(r), q, raw, prior);
    const int beyond = (is_log(q) && within_log(raw) != raw) || (!unit && is_log(of_p) && within_log(prior) != prior);
    const wide ratio = beyond ? wide_exp(2 * half_d) : wide_over(inverse, inverse_variance(q, raw));
    wide half_h, half_expm1;
    if (magnitude_f64(half_d) < 20) {
        half_expm1 = near_half_expm1(p, raw, prior, &half_h);
    } else {
        half_expm1 = wide_half(wide_plus(ratio, wide_of(-1)));
        half_h = wide_plus(half_expm1, wide_of(-half_d));
    }
    wide_point x = {.term = wide_plus(half_h, half_t), .first = first, .scale = wide_times(slope_of_log(q, raw), half_expm1)};
    if (!unit) x.prior = wide_times(slope_of_log(of_p, prior), wide_minus(wide_plus(half_expm1, half_t)));
    return x;
}

/* l: the logits; of x slope = 1 - x or -x, which a logit beyond the range of T may meet */
static wide_point careful_bernoulli(const plan *p, const element *e) {
    const double l = double_of(e->r);
    const wide x = wide_times(wide_of(e->raw), wide_of(p->x_scale));
    const wide slope = l > 0 ? wide_plus(wide_of(1), wide_minus(x)) : wide_minus(x);
    const double far = -magnitude_f64(l);
    const point_f64 at_zero = bernoulli_f64(far, 0);
    /* log(1 + e^-|l|) and its derivative, both e^-|l| beyond the range of double */
    const wide rest = far < -700 ? wide_exp(far) : wide_of(at_zero.term), of_rest = far < -700 ? rest : wide_of(at_zero.first);
    return (wide_point){.term = wide_plus(wide_times(slope, wide_of(l)), rest),
                        .first = l > 0 ? wide_plus(slope, wide_minus(of_rest)) : wide_plus(slope, of_rest),
                        .scale = wide_of(-l)};
}

/* ---- an element ------------------------------------------------------------------------------------------------------------ */

static double element_of(const plan *p, int a, ptrdiff_t row, ptrdiff_t col, double absent) {
    const view *v = &p->argument[a];
    double x;
    if (!v->data) return absent;
    pack_f64(v->type, &x, v->data + row_offset(p, v->stride, row) + offset_of(p, v->stride, p->row_dims, p->dims, col), 0, 1);
    return x;
}

/* What an integer beyond 2^53 has more than the double that element_of makes of it */
static double rest_of(const plan *p, int a, ptrdiff_t row, ptrdiff_t col) {
    const view *v = &p->argument[a];
    double x;
    if (!v->data || (v->type % SWAPPED != U64 && v->type % SWAPPED != I64)) return 0;
    packs_f64[REST][v->type](&x, v->data + row_offset(p, v->stride, row) + offset_of(p, v->stride, p->row_dims, p->dims, col), 0, 1, 1, NULL);
    return x;
}

/* x x_scale - y + rest */
static wide careful_difference(const plan *p, double x, double y, double rest) {
    if (rest != 0) return wide_plus(wide_of(x - y), wide_of(rest));
    const int scaled = p->x_scale != 1 && x_of(p) == FIRST;
    const double r = scaled ? product_minus_f64(x, p->x_scale, y) : x - y;
    if (scaled && magnitude_f64(r) < 0x1p-1022 && magnitude_f64(x * p->x_scale) < 0x1p-900) { /* 2^600 of it is not rounded */
        const wide raised = wide_of(product_minus_f64(x * 0x1p600, p->x_scale, y * 0x1p600));
        return (wide){raised.m, raised.e - 600};
    }
    if (r - r == 0) return wide_of(r);
    return wide_plus(scaled ? wide_times(wide_of(x), wide_of(p->x_scale)) : wide_of(x), wide_of(-y));
}

/* Whether min_var lifts this scale */
static int is_floored(const plan *p, double raw) {
    const double v = p->min_var;
    if (!(v > 0)) return 0;
    switch (p->kind[0]) {
        case VAR: return raw >= 0 && raw < v;
        case STD: return raw >= 0 && raw < __builtin_sqrt(v);
        case LOGVAR: return raw < log_f64(v, 0);
        case LOGSTD: return raw < 0.5 * log_f64(v, 0);
        default: return raw > 1 / v;
    }
}

static wide_point (*const careful_of[N_LOSSES])(const plan *, const element *) = {
#define LOSS(NAME, name, ...) [NAME] = careful_##name,
    EACH_LOSS(LOSS)
#undef LOSS
};

static wide_point careful_point(const plan *p, double a, double b, double rest, double raw, double prior) {
    const int floored = is_floored(p, raw), scaled = LOSSES[p->loss].forms != 0;
    const element e = {careful_difference(p, a, b, rest), floored ? p->min_var : raw, prior, floored ? VAR : p->kind[0]};
    const int usual = e.r.m - e.r.m == 0 && (!scaled || is_usual(e.kind, e.raw)) && (!is_paired(p) || is_usual(p->kind[1], prior));
    const double third = scaled ? e.raw : raw * p->x_scale;
    wide_point x = usual ? careful_of[p->loss](p, &e) : by_loop(p, double_of(e.r), e.kind, third, prior);
    if (floored) x.scale = wide_of(0);
    return x;
}

SELDOM careful careful_at(const plan *p, ptrdiff_t row, ptrdiff_t col) {
    careful c = {.counted = element_of(p, WHERE, row, col, 1) != 0};
    if (!c.counted) return c;
    const wide weight = wide_of(element_of(p, WEIGHT, row, col, 1));
    const wide_point x = careful_point(p, element_of(p, FIRST, row, col, 0), element_of(p, SECOND, row, col, 0), rest_of(p, FIRST, row, col) - rest_of(p, SECOND, row, col),
                                       element_of(p, SCALE, row, col, 0), element_of(p, PRIOR, row, col, 0));
    const wide gradient[N_GRADS] = {x.first, wide_minus(x.first), x.scale, x.prior};
    c.term = wide_times(weight, x.term);
    c.weight = weight;
    for (int a = 0; a < N_GRADS; a++) c.gradient[a] = wide_times(weight, gradient[a]);
    return c;
}

/* The factor of gradient a: p->factor might have left the range of double by itself */
static wide careful_factor(const plan *p, int a) {
    const wide factor = wide_over(wide_of(p->numerator), wide_of(p->denominator));
    return p->x_scale != 1 && a == x_of(p) ? wide_times(wide_of(p->x_scale), factor) : factor;
}
