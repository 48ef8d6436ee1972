/* Student's t (student_t.h) as wide numbers, where the loops over T would leave its range on the way. Errors: a few u of double. Included once,
 * for float64, after wide.h. */

typedef struct { wide value, slope, log_scale; } wide_student;

/* log(1 + t), t >= 0 */
static wide wide_log1p(wide t) {
    if (t.e < -60) return t;
    if (t.e > 60) return wide_of(log_f64(t.m, 1) + (double)t.e * 0.69314718055994530942);
    return wide_of(log1p_f64(double_of(t)));
}

/* Of a finite z and df > 0, which may be infinite */
static wide_student wide_student_t_of_z(wide z, double df) {
    const wide one = wide_of(1), nu = wide_of(df), square = wide_times(z, z), t = wide_over(square, nu), sum = wide_plus(one, t);
    const wide linear = wide_plus(z, wide_over(z, nu));
    const wide twice = t.e < -60 ? wide_times(linear, z) : wide_times(wide_plus(nu, one), wide_log1p(t));
    return (wide_student){.value = wide_half(twice),
                          .slope = wide_over(linear, sum),
                          .log_scale = wide_over(wide_plus(one, wide_minus(square)), sum)};
}
