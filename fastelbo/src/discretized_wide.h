/* The discretized Gaussian of one element as wide numbers, for careful.h: where z^2/2 leaves the range of double, a weight may bring it back.
 * The function of double does the work, as its arguments leave the range of double only where the limit is known. Included once, for
 * float64 (real.h), after wide_scale.h. */

/* is_usual(kind, raw), r finite */
static wide_point careful_discretized(const plan *p, const wide_element *e) {
    const wide r = e->r;
    const double raw = e->raw, bin = p->parameter[0];
    const int kind = e->kind, open_below = e->x < p->parameter[1], open_above = e->x > p->parameter[2];
    const int open = open_below || open_above, turn = !open_above && (open_below || r.m < 0);
    const wide inverse = inverse_std(kind, raw), half = wide_half(wide_of(bin)), turned = turn ? wide_minus(r) : r;
    const wide slope = wide_half(slope_of_log(kind, raw)); /* d log sigma/d raw */
    const wide z = wide_times(r.m < 0 ? wide_minus(r) : r, inverse), h = wide_times(half, inverse);
    const wide a = wide_times(wide_plus(wide_plus(turned, wide_minus(half)), wide_of(turn ? -e->lost : e->lost)), inverse);
    wide term, mean = a, scale = wide_minus(wide_times(a, a));
    if (a.m > 0 && a.e > 500) {
        term = wide_half(wide_times(a, a)); /* beside which the rest of it is nothing, and E[t] = a */
    } else {
        const double excess = is_log(kind) ? (kind == LOGVAR ? 0.5 : 1) * (raw - within_log(raw)) : 0;
        const cut_f64 x = discretized_f64(double_of(z), double_of(a), double_of(h), h.m, (double)(h.e + 1), excess, -open);
        const int tiny = x.narrow && z.e < -900; /* E[t] = z (1 - h^2/3 + ...) */
        const cut_f64 of_normal = tiny ? discretized_f64(0x1p-900, double_of(a), double_of(h), h.m, 0, 0, 0) : x;
        term = wide_of(x.term);
        mean = tiny ? wide_times(z, wide_scaled(of_normal.mean, 900)) : wide_of(x.mean);
        scale = wide_of(x.scale);
    }
    return (wide_point){.term = term, .first = wide_times(turn ? wide_minus(mean) : mean, inverse), .scale = wide_times(slope, scale)};
}
