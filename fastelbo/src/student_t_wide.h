/* Student's t (student_t.h) as wide numbers, where the loops over T would leave its range on the way. Errors: a few u of double. Included once,
 * for float64, after location.h. */

/* log(1 + t), t >= 0 */
static wide wide_log1p(wide t) {
    if (t.e < -60) return t;
    if (t.e > 60) return wide_of(log_f64(t.m, 1) + (double)t.e * 0.69314718055994530942);
    return wide_of(log1p_f64(double_of(t)));
}

/* Of a finite z and df > 0, which may be infinite */
static wide_shape wide_student_t(const wide_standard *at) {
    const wide z = at->z;
    const double df = at->number;
    const wide one = wide_of(1), nu = wide_of(df), square = wide_times(z, z), t = wide_over(square, nu), sum = wide_plus(one, t);
    const wide linear = wide_plus(z, wide_over(z, nu));
    const wide twice = t.m == 0 || t.e < -60 ? wide_times(linear, z) : wide_times(wide_plus(nu, one), wide_log1p(t));
    return (wide_shape){.value = wide_half(twice),
                        .slope = wide_over(linear, sum),
                        .of_log = wide_over(wide_plus(one, wide_minus(square)), sum)};
}

/* inverse_std stops at exp(2^14), where the term goes on as (df + 1) log|r/s| */
static wide_point careful_student_t(const plan *p, const wide_element *e) {
    wide_point x = careful_location(p, e, wide_student_t);
    const double beyond = is_log(e->kind) ? within_log(e->raw) - e->raw : 0;
    if (beyond > 0 && e->r.m != 0) x.term = wide_plus(x.term, wide_times(wide_plus(wide_of(e->prior), wide_of(1)), wide_of(beyond)));
    return x;
}
