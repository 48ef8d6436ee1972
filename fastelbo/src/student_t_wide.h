/* The same element as student_t.h's, as wide numbers, where the loops over T would leave its range on the way. Errors: a few u of double.
 * Included once, for float64, after careful.h. */

/* log(1 + t), t >= 0 */
static wide wide_log1p(wide t) {
    if (t.e < -60) return t;
    if (t.e > 60) return wide_of(log_f64(t.m, 1) + (double)t.e * 0.69314718055994530942);
    return wide_of(log1p_f64(double_of(t)));
}

/* Of a finite r, a scale s > 0 as 1/s, log s and d log s/d raw, and df > 0; without the constant */
static wide_point careful_student_t(wide r, wide inverse, double log_scale, wide slope_of_log_scale, double df) {
    const wide one = wide_of(1), nu = wide_of(df), z = wide_times(r, inverse), square = wide_times(z, z), t = wide_over(square, nu);
    const wide linear = wide_plus(z, wide_over(z, nu)), sum = wide_plus(one, t);
    const wide value = t.e < -60 ? wide_times(linear, z) : wide_times(wide_plus(nu, one), wide_log1p(t)); /* twice; nu may be infinite */
    return (wide_point){.term = wide_plus(wide_of(log_scale), wide_half(value)),
                        .first = wide_times(wide_over(linear, sum), inverse),
                        .scale = wide_times(slope_of_log_scale, wide_over(wide_plus(one, wide_minus(square)), sum))};
}
