/* Sums in an order that depends on the number of elements alone. Included once per type (real.h).
 *
 * Element i of an event goes to lane i mod LANES. A lane takes up to `depth` elements in T (8: an error of 7 u; 1: none), is then
 * folded into a double (float32) or an unevaluated sum of two (float64), and the lanes are added as a tree, the upper half onto the
 * lower. So the order is the same for every vector width, and what follows the first fold is exact for all practical purposes. */

#if REAL == 64 /* once */
static inline pair two_sum(double a, double b) {
    double sum = a + b, part = sum - a;
    return (pair){sum, (a - (sum - part)) + (b - part)};
}

static inline void add_to(pair *sum, double x) {
    pair s = two_sum(sum->hi, x);
    sum->hi = s.hi;
    sum->lo += s.lo;
}

static inline void add_pair(pair *sum, pair x) {
    add_to(sum, x.hi);
    sum->lo += x.lo;
}

/* The error terms of a sum that overflowed, or met an infinity, are NaN, and mean nothing */
static inline double value_of(pair x) { return x.hi - x.hi == 0 ? x.hi + x.lo : x.hi; }
#endif

/* lo is used in float64 alone */
typedef struct { double hi[LANES], lo[REAL == 64 ? LANES : 1]; } RE(lanes);

static inline void RE(start)(RE(lanes) *s) { memset(s, 0, sizeof *s); }

static inline void RE(fold)(RE(lanes) *s, int l, T x) {
#if REAL == 32
    s->hi[l] += (double)x;
#else
    pair y = two_sum(s->hi[l], x);
    s->hi[l] = y.hi;
    s->lo[l] += y.lo;
#endif
}

/* The last elements of an event, fewer than LANES * 8 of them: the lanes that they reach */
static inline void RE(add_last)(RE(lanes) *s, const T *x, ptrdiff_t n) {
    T lane[LANES];
    ptrdiff_t i = LANES;
    for (int l = 0; l < LANES; l++) lane[l] = x[l];
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += x[i + l];
    for (int l = 0; i + l < n; l++) lane[l] += x[i + l];
    for (int l = 0; l < LANES; l++) RE(fold)(s, l, lane[l]);
}

/* The next n elements of an event; only the last call of an event may bring an n that is no multiple of LANES * 8 */
static void RE(add)(RE(lanes) *s, const T *x, ptrdiff_t n, int depth) {
    ptrdiff_t i = 0;
    if (depth == 1) {
        for (; i + LANES <= n; i += LANES)
            for (int l = 0; l < LANES; l++) RE(fold)(s, l, x[i + l]);
    } else {
        for (; i + LANES * 8 <= n; i += LANES * 8)
            for (int l = 0; l < LANES; l++) {
                const T *y = x + i + l;
                RE(fold)(s, l, y[0] + y[LANES] + y[2 * LANES] + y[3 * LANES] + y[4 * LANES] + y[5 * LANES] + y[6 * LANES] + y[7 * LANES]);
            }
        if (i + LANES <= n) {
            RE(add_last)(s, x + i, n - i);
            return;
        }
    }
    for (int l = 0; i + l < n; l++) RE(fold)(s, l, x[i + l]);
}

static inline void RE(fold_half)(RE(lanes) *s, int half) {
    for (int l = 0; l < half; l++) {
#if REAL == 32
        s->hi[l] += s->hi[l + half];
#else
        pair x = two_sum(s->hi[l], s->hi[l + half]);
        s->hi[l] = x.hi;
        s->lo[l] += s->lo[l + half] + x.lo;
#endif
    }
}

/* The sum of the first `used` lanes; the others are empty. (Constants, because a loop over `half` would go through memory.) */
static inline pair RE(total)(RE(lanes) *s, ptrdiff_t used) {
    if (LANES > 8 && used > 8) RE(fold_half)(s, LANES / 2);
    if (used > 4) RE(fold_half)(s, 4);
    if (used > 2) RE(fold_half)(s, 2);
    if (used > 1) RE(fold_half)(s, 1);
    return (pair){s->hi[0], REAL == 64 ? s->lo[0] : 0};
}

#if REAL == 32
/* What `total` makes of eight lanes */
static inline pair tree_of_eight(const double *x) {
    return (pair){((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])), 0};
}
#endif

/* A whole event at once: the same sum, with less ado where its length is one that compilers can be told */
static inline pair RE(sum_of)(const T *x, ptrdiff_t n, int depth) {
#if REAL == 32
    double eight[8];
#define TAKE(m)                                                                               \
    case m:                                                                                   \
        for (int l = 0; l < 8; l++) {                                                         \
            T low = x[l], high = x[l + 8];                                                    \
            for (int j = 1; j < m; j++) low += x[l + j * LANES], high += x[l + 8 + j * LANES]; \
            eight[l] = (double)low + (double)high;                                            \
        }                                                                                     \
        return tree_of_eight(eight);
    if (n % LANES == 0 && depth == 8) switch (n / LANES) { TAKE(1) TAKE(2) TAKE(3) TAKE(4) TAKE(5) TAKE(6) TAKE(7) TAKE(8) }
#undef TAKE
    if (n == 8) {
        for (int l = 0; l < 8; l++) eight[l] = (double)x[l];
        return tree_of_eight(eight);
    }
#endif
    RE(lanes) s;
    if (n >= LANES) {
        RE(start)(&s);
        RE(add)(&s, x, n, depth);
        return RE(total)(&s, LANES);
    }
    int width = n > 8 ? LANES : n > 4 ? 8 : n > 2 ? 4 : 2;
    for (int l = 0; l < width; l++) {
        s.hi[l] = l < n ? (double)x[l] : 0;
        if (REAL == 64) s.lo[l] = 0;
    }
    return RE(total)(&s, n);
}
