/* The sums of sums.h over elements AT(x, i), of type ELEMENT, of one SOURCE x. Included once per type and source; SUM names what it defines, WIDTH is an attribute. */

/* Lane l of the elements from i: `group` (8, 4) in a tree */
#define TREE4(i) ((AT(x, i) + AT(x, (i) + LANES)) + (AT(x, (i) + 2 * LANES) + AT(x, (i) + 3 * LANES)))

/* The next n elements from x_0; only the last call of an event may bring an n that is no multiple of LANES * 8 */
WIDTH static void SUM(add)(RE(lanes) *s, SOURCE x, ptrdiff_t from, ptrdiff_t n, int group) {
    ptrdiff_t i = from, end = from + n;
    ELEMENT lane[LANES];
#define FOLD(count, sum_of_lane)                                           \
    for (; i + LANES * (count) <= end; i += LANES * (count)) {             \
        for (int l = 0; l < LANES; l++) lane[l] = sum_of_lane;             \
        for (int l = 0; l < LANES; l++) RE(fold)(s, l, lane[l]);           \
    }
    if (group == 8) FOLD(8, TREE4(i + l) + TREE4(i + l + 4 * LANES))
    if (group >= 4) FOLD(4, TREE4(i + l))
    if (group == 1) FOLD(1, AT(x, i + l))
#undef FOLD
    if (end - i >= LANES) {
        for (int l = 0; l < LANES; l++) lane[l] = AT(x, i + l);
        for (i += LANES; i + LANES <= end; i += LANES)
            for (int l = 0; l < LANES; l++) lane[l] += AT(x, i + l);
        for (int l = 0; i + l < end; l++) lane[l] += AT(x, i + l);
        for (int l = 0; l < LANES; l++) RE(fold)(s, l, lane[l]);
    } else {
        for (int l = 0; i + l < end; l++) RE(fold)(s, l, AT(x, i + l));
    }
}

/* A whole event at once: the same sum, with less ado where its length is one that compilers can be told */
WIDTH static pair SUM(sum)(SOURCE x, ptrdiff_t from, ptrdiff_t n, int group) {
    RE(lanes) s;
#define LANE_SUMS(count, sum_of_lane)                                          \
    if (n == (count) * LANES) {                                                \
        for (int l = 0; l < LANES; l++) {                                      \
            const ptrdiff_t i = from + l;                                      \
            s.hi[l] = (double)(sum_of_lane);                                   \
            if (REAL == 64) s.lo[l] = 0;                                       \
        }                                                                      \
        return RE(total)(&s, LANES);                                           \
    }
    if (LANES == 16 && n == 8) {
        for (int l = 0; l < 8; l++) s.hi[l] = (double)AT(x, from + l);
        return RE(total)(&s, 8);
    }
    LANE_SUMS(1, AT(x, i))
    if (group >= 4) {
        LANE_SUMS(2, AT(x, i) + AT(x, i + LANES))
        LANE_SUMS(4, TREE4(i))
    }
    if (group == 8) LANE_SUMS(8, TREE4(i) + TREE4(i + 4 * LANES))
#undef LANE_SUMS
    if (n >= LANES) {
        RE(start)(&s);
        SUM(add)(&s, x, from, n, group);
        return RE(total)(&s, LANES);
    }
    int width = n > 8 ? LANES : n > 4 ? 8 : n > 2 ? 4 : 2;
    for (int l = 0; l < width; l++) {
        s.hi[l] = l < n ? (double)AT(x, from + l) : 0;
        if (REAL == 64) s.lo[l] = 0;
    }
    return RE(total)(&s, n);
}

#undef TREE4
#undef SOURCE
#undef ELEMENT
#undef AT
#undef SUM
#undef WIDTH
