"""The faults in numbers and outputs, for mutants.py."""

from faults import CORE, GOLDEN, RULES, SRC, Mutant, suite

MUTANTS = [
    # --- numbers
    Mutant(
        "wrong sign: gradient of a precision",
        suite("tests/test_gradients.py"),
        (
            (
                f"{SRC}losses/gaussian.h",
                "FMA((T)0.5 * r, r, (T)-0.5 / raw)",
                "FMA((T)0.5 * r, r, (T)0.5 / raw)",
            ),
        ),
    ),
    Mutant(
        "wrong sign: gradient of a scale that all share",
        suite("tests/test_gradients.py"),
        ((f"{SRC}walk/work.h", "g -= squares * s->slope;", "g += squares * s->slope;"),),
    ),
    Mutant(
        "the KL's ½ of the squares is missing",
        suite("tests/test_accuracy.py", "-k", "standard_normal"),
        ((f"{SRC}losses/kl.h", "y.term = FMA((T)0.5 * r, r, x.half_h);", "y.term = FMA(r, r, x.half_h);"),),
    ),
    Mutant(
        "expm1(s) − s near 0 by subtraction",
        suite("tests/test_accuracy.py", "-k", "standard_normal"),
        ((f"{SRC}math/fmath.h", "I near = v.e == 0;", "I near = 0;"),),
    ),
    Mutant(
        "1/S is missing where samples are summed",
        suite("tests/test_elbo_door.py"),
        (
            (
                f"{CORE}elbo.pxi",
                "<double>nll.samples if nll.samples and nll.call.reduction == SUM else 1.0",
                "1.0",
            ),
        ),
    ),
    Mutant(
        "samples of float32: a scale that is no better than float",
        suite("tests/test_sampling.py", "-k", "rounded_once"),
        ((f"{SRC}latents/element.h", "return FMA(y, h * FMA(h, 0.375, 0.5), y);", "return y + 0 * h;"),),
    ),
    Mutant(
        "gradients of samples: the last part of a sum is missing",
        suite("tests/test_sampling.py"),
        (
            (
                f"{SRC}latents/back.h",
                "for (ptrdiff_t part = 0; part < s->parts; part++) {",
                "for (ptrdiff_t part = 0; part < s->parts - 1; part++) {",
            ),
        ),
    ),
    Mutant(
        "the importance-weighted bound without 1/S",
        suite("tests/test_iwae.py"),
        ((f"{SRC}latents/bound.h", "log_full_f64(b.total / count)", "log_full_f64(b.total)"),),
    ),
    Mutant(
        "free bits: a floor rounded to the type of the KLs",
        suite("tests/test_free_bits.py", "-k", "floor_between"),
        ((f"{SRC}latents/floor.h", "bits += x < floor;", "bits += 0;"),),
    ),
    Mutant(
        "free bits: NaN costs the floor",
        suite("tests/test_free_bits.py", "-k", "special"),
        ((f"{SRC}latents/floor.h", "return m < floor ? floor : m;", "return m > floor ? m : floor;"),),
    ),
    Mutant(
        "NaN goes through where",
        suite("tests/test_domain.py"),
        (
            (
                f"{SRC}walk/gather.h",
                "mask[i] != 0 ? (ones ? (T)1 : x[i]) : unused",
                "mask[i] != 0 ? (ones ? (T)1 : x[i]) : 0 * x[i] + unused",
            ),
        ),
    ),
    Mutant(
        "a gradient below min_var",
        suite("tests/test_domain.py"),
        (
            (
                f"{SRC}walk/give.h",
                "RE(is_lifted)(w, w->raw_scale[i]) ? (T)0 : g[i]",
                "w->raw_scale[i] > w->highest ? (T)0 : g[i]",
            ),
        ),
    ),
    Mutant(
        "a weight that float holds as 0 is 0",
        suite("tests/test_found.py", "-k", "weight-that"),
        (
            (
                f"{SRC}math/elements.h",
                "((x) != 0 && (float)(x) == 0 ? 0x1p-149f : (float)(x))",
                "((float)(x))",
            ),
        ),
    ),
    Mutant(
        "x times x_scale that is rounded to nothing",
        suite("tests/test_found.py", "-k", "x_scale"),
        (
            (
                f"{SRC}walk/gather.h",
                "    if (w->rounds_below != 0) RE(find_rounded)(w, x, w->buffer[x], less);\n",
                "",
            ),
        ),
    ),
    Mutant(
        "a shared scale's factor within float alone",
        suite("tests/test_found.py", "-k", "logvar or logstd"),
        ((f"{SRC}walk/constant.h", "far ? s.a * s.b : power;", "power == 0 ? s.a * s.b : s.a * s.b;"),),
    ),
    Mutant(
        "a subnormal residual depends on its neighbours",
        suite("tests/test_found.py", "-k", "neighbours"),
        (
            (
                f"{SRC}walk/mend.h",
                "(lost && RE(has_lost_digits)(w, at + i))",
                "(subnormal && RE(is_subnormal)(w->o.a[at + i] - w->o.b[at + i]))",
            ),
        ),
    ),
    Mutant(
        "a sum is never looked at again",
        suite("tests/test_found.py", "-k", "judged_by or many_small"),
        ((f"{SRC}plan.c", "p->look = p->doubted && !p->look;", "p->look = 0;"),),
    ),
    Mutant(
        "one NaN speaks for all sums",
        suite("tests/test_found.py", "-k", "judged_by"),
        ((f"{SRC}walk/collect.h", "sum > 0 && sum < BY_RIGHT", "sum < 0"),),
    ),
    Mutant(
        "a weight that is one number keeps the zeros of an earlier tile",
        suite("tests/test_malformed.py", "-k", "random_calls"),
        ((f"{SRC}walk/mend.h", "        w->spread &= ~(1 << WEIGHT);", "       "),),
    ),
    Mutant(
        "tiles longer than a buffer, where outputs lie over inputs",
        GOLDEN,
        ((f"{SRC}walk/plain.h", "return !p->aliased && p->x_scale == 1", "return p->x_scale == 1"),),
    ),
    Mutant(
        "what is beyond the range of float64 comes out as any number",
        suite("tests/test_found.py"),
        ((f"{SRC}math/wide.h", "    if (x.e > EXP_MAX + 1) return x.m * INFINITE;\n", ""),),
    ),
    Mutant(
        "infinite squares do not win over a logarithm of −inf",
        suite("tests/test_shared_scales.py", "-k", "special and nll and log"),
        (
            (
                f"{SRC}walk/work.h",
                "loss = squares == INFINITE && base == base ?",
                "loss = squares == INFINITE && base != base ?",
            ),
        ),
    ),
    Mutant(
        "a factor that is subnormal makes gradients of the differences",
        suite("tests/test_shared_scales.py", "-k", "far and nll"),
        (
            (
                f"{SRC}walk/plain.h",
                "(c >= SMALLEST_NORMAL || c <= -SMALLEST_NORMAL) && c - c == 0",
                "c - c == 0",
            ),
        ),
    ),
    Mutant(
        "sums of squares are trusted that are near the smallest normal number",
        suite("tests/test_shared_scales.py", "-k", "far and nll"),
        ((f"{SRC}sums/squares.h", "(REAL == 32 ? 0x1p-96 :", "(REAL == 32 ? 0x1p-118 :"),),
    ),
    Mutant(
        "beside the optimal variance, a weight of 0 does not hide what overflows",
        suite("tests/test_optimal_ways.py", "-k", "weight_of_0"),
        (
            (
                f"{SRC}optimal/lanes.h",
                "FMA(w == 0 ? d : d * d, w, sum)",
                "FMA(d * d, w, sum)",
            ),
        ),
    ),
    Mutant(
        "lines across memory are added in another order than those along it",
        suite("tests/test_optimal_ways.py", "-k", "layouts"),
        (
            (
                f"{SRC}optimal/lanes.h",
                "(lane[0][l][j] + lane[1][l][j]) + (lane[2][l][j] + lane[3][l][j])",
                "((lane[0][l][j] + lane[1][l][j]) + lane[2][l][j]) + lane[3][l][j]",
            ),
        ),
    ),
    Mutant(
        "a gradient at the optimal variance that overflows on its way stays infinite",
        suite("tests/test_optimal_ways.py", "-k", "leave_the_dtype"),
        (
            (
                f"{SRC}optimal/gradients.h",
                "        if (odd || lost) RE(mend_strip)",
                "        if (odd > 2 || lost) RE(mend_strip)",
            ),
        ),
    ),
    # --- outputs
    Mutant(
        "in place, the scale of a row that where removes is checked",
        suite("tests/test_out_over_inputs.py", "-k", "where"),
        (
            (
                f"{SRC}walk/rows.h",
                "bad |= w->scale[r].bad && (p->uniform ? w->counted : RE(row_counts)(w, r));",
                "bad |= w->scale[r].bad;",
            ),
        ),
    ),
    Mutant(
        "in place, the scale of a row reaches what where removes",
        suite("tests/test_out_over_inputs.py", "-k", "where"),
        (
            (
                f"{SRC}walk/give.h",
                "if (p->constant && p->argument[WHERE].data) { /* a row's",
                "if (p->constant && p->argument[WHERE].data && !p->aliased) { /* a row's",
            ),
        ),
    ),
    Mutant(
        "arrays whose overlap is too hard to find count as apart",
        suite("tests/test_out.py", "-k", "too_hard"),
        (
            (
                RULES + "overlap.py",
                "TooHardError:\n        return True",
                "TooHardError:\n        return False",
            ),
        ),
    ),
    Mutant(
        "-funsafe-math-optimizations of the environment reaches the linker",
        suite("tests/test_builds.py", "-k", "options"),
        (("setup.py", "|-funsafe-math-optimizations", ""),),
    ),
    Mutant(
        "the domain is not checked before inputs are overwritten",
        suite("tests/test_out_over_inputs.py"),
        ((f"{CORE}run.pxi", "    if j.p.aliased:\n", "    if False:\n"),),
    ),
    Mutant(
        "no check for outputs that overlap, at the fast door",
        suite("tests/test_errors_of_out.py", "tests/test_out_over_inputs.py"),
        ((f"{CORE}entry.pxi", "            for k in range(i):\n", "            for k in range(0):\n"),),
    ),
    Mutant(
        "a partial overlap with an input goes unnoticed, at the fast door",
        suite("tests/test_malformed.py"),
        (
            (
                f"{CORE}entry.pxi",
                "                        return False\n                    d.call.aliased = 1\n",
                "                        pass\n                    d.call.aliased = 1\n",
            ),
        ),
    ),
    Mutant(
        "a partial overlap with an input goes unnoticed, elsewhere",
        suite("tests/test_out_over_inputs.py"),
        (
            (
                RULES + "inplace.py",
                "            if all(_same_elements(view, other) for other in shared):\n",
                "            if True:\n",
            ),
        ),
    ),
    Mutant(
        "read-only outputs are written",
        suite("tests/test_errors_of_out.py"),
        (
            (
                f"{CORE}door.pxi",
                "if not regular(given, d.typenum) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>given):",
                "if not regular(given, d.typenum):",
            ),
        ),
    ),
    Mutant(
        "a sum under weights that T rounds to a subnormal number is not looked at again",
        suite("tests/test_found.py", "-k", "far"),
        ((f"{SRC}walk/look.h", "(g * weight) & (RE(magnitude)(weight) >= SMALLEST_NORMAL)", "(g * weight)"),),
    ),
    Mutant(
        "where x − mean leaves the range of T, gradients of Student's t stay at their limits",
        suite("tests/test_extremes.py", "-k", "student_t_nll_grad"),
        ((f"{SRC}losses/losses.h", ".takes = TAKES_NUMBER, .fades = 1, ", ".takes = TAKES_NUMBER, "),),
    ),
    Mutant(
        "e^−|l| is rounded twice where it is subnormal",
        suite("tests/test_bernoulli.py", "-k", "every_size"),
        ((f"{SRC}losses/bernoulli.h", "raised = ROUNDER + 64;", "raised = ROUNDER + 64 * (a < 80);"),),
    ),
    Mutant(
        "the difference of two scales is taken for exact where it is not",
        suite("tests/test_accuracy.py", "-k", "way_changes"),
        ((f"{SRC}losses/pair.h", "(2 * a > b) & (a < 2 * b)", "(3 * a > b) & (a < 3 * b)"),),
    ),
    Mutant(
        "what where removes keeps a scale that is none",
        suite("tests/test_in_common.py"),
        (
            (
                f"{SRC}walk/work.h",
                "x < INFINITE : RE(is_ordinary)(p->kind[a - SCALE], x);",
                "x < INFINITE : 1;",
            ),
        ),
    ),
]
