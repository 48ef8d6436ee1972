"""Faults put into a copy of the package, one at a time, and the check that has to catch each.

    python tests/mutants.py [--only PART ...] [--list]

PART is a part of a mutant's name. Prints a line for each; exits with 1 if one survives, or if a check fails
on the package as it is. All of them take half an hour on two cores. A mutant whose text is not found, exactly
once, is an error. Needs what the checks need: gcc, clang, libomp (see sanitize.py), and setuptools and cython
as pyproject.toml has them.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import instrumented
from instrumented import Done

CORE, RULES, SRC = "fastelbo/core/", "fastelbo/_rules/", "fastelbo/src/"


Edits = tuple[tuple[str, str, str], ...]
PYTEST = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")


class Check(NamedTuple):
    """What Python runs in the mutant's copy, once that is built, or built for sanitizers."""

    command: tuple[str, ...]
    sanitized: bool = False
    builds: bool = True
    #: All instruction set levels, optimised: the compiler takes minutes for that
    as_shipped: bool = False
    #: of the output, where the exit status alone might have another reason
    says: str = ""

    def __str__(self) -> str:
        words = [word for word in self.command if word not in (*PYTEST, "--capture=sys")]
        return ("sanitizers: " if self.sanitized else "") + " ".join(words)


class Mutant(NamedTuple):
    """`edits`: (file, what is there once, what takes its place)."""

    name: str
    check: Check
    edits: Edits


def suite(*arguments: str, sanitized: bool = False) -> Check:
    return Check(
        (
            *PYTEST,
            *(["--capture=sys"] if sanitized else []),
            *arguments,
        ),  # UBSan writes to the channel itself
        sanitized,
        says="ERROR: AddressSanitizer|runtime error:" if sanitized else " failed|Fatal Python error",
    )


RACES = Check(("tests/sanitize.py", "threads", "nll-var"), builds=False, says="ThreadSanitizer: data race")
GOLDEN = Check(
    (*PYTEST, "--noconftest", "-o", "pythonpath=tests/native", "tests/native/test_golden.py", "-k", "levels"),
    builds=False,
    as_shipped=True,
    says=" failed",
)
COMPILES = Check(("-c", "import fastelbo"), says="do not survive -ffast-math")
LOCKED_TOTALS = """
        static char busy;
        while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE));
        add_pair(&p->totals[0].usual[row % SUMS_OF_ROWS], total);
        __atomic_clear(&busy, __ATOMIC_RELEASE);"""

MUTANTS = [
    # --- memory
    Mutant(
        "over-read: one element more of an array that is converted",
        suite("tests/test_layouts.py", sanitized=True),
        (
            (
                f"{SRC}walk/tiles.h",
                "(dst, whole, size, t->rows * t->cols, factor",
                "(dst, whole, size, t->rows * t->cols + 1, factor",
            ),
        ),
    ),
    Mutant(
        "over-write: one element more of a gradient that is not contiguous",
        suite("tests/test_layouts.py", sanitized=True),
        (
            (
                f"{SRC}walk/tiles.h",
                "RE(unpack)(src, v->data + offset_of(p, v->stride, 0, p->dims, at), s.stride, done);",
                "RE(unpack)(src, v->data + offset_of(p, v->stride, 0, p->dims, at), s.stride, done + 1);",
            ),
        ),
    ),
    Mutant(
        "the last elements of a streamed tile not written",
        suite("tests/test_streams.py")._replace(as_shipped=True),
        ((f"{SRC}loops/streams.h", "if (edge) { EACH_OUTPUT", "if (part == 0) { EACH_OUTPUT"),),
    ),
    Mutant(
        "streamed: gradients of a pair that nobody asked for, to a buffer",
        suite("tests/test_streams.py", "-k", "pair")._replace(as_shipped=True),
        ((f"{SRC}walk/give.h", "pair && w->want ? WANT_FIRST | WANT_SCALE : w->want;", "w->want;"),),
    ),
    Mutant(
        "outputs streamed that lie otherwise in their lines",
        suite("tests/test_streams.py")._replace(as_shipped=True),
        ((f"{SRC}walk/give.h", "return line && !apart;", "return line != 0;"),),
    ),
    Mutant(
        "no check of the lengths at the fast door",
        suite("tests/test_errors.py", "tests/test_shapes.py", sanitized=True),
        (
            (
                f"{CORE}door.pxi",
                "!= d.shape[i]:\n            return False\n    return True\n\n\ncdef inline void place",
                "!= d.shape[i]:\n            pass\n    return True\n\n\ncdef inline void place",
            ),
        ),
    ),
    Mutant(
        "no check of the dtype at the fast door",
        suite("tests/test_malformed.py"),
        (
            (
                f"{CORE}door.pxi",
                "cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == typenum",
                "cnp.PyArray_CheckExact(x)",
            ),
        ),
    ),
    Mutant(
        "index beyond a table of types: byte-swapped ones",
        suite("tests/test_layouts.py", sanitized=True),
        ((f"{SRC}walk/tiles.h", "size_of[v->type % SWAPPED]", "size_of[v->type]"),),
    ),
    Mutant(
        "positions as int: wrong beyond 2³¹ elements",
        suite("tests/test_large.py")._replace(as_shipped=True),
        (
            (
                f"{SRC}walk/tiles.h",
                "static run run_at(const plan *p, const ptrdiff_t *stride, ptrdiff_t col,",
                "static run run_at(const plan *p, const ptrdiff_t *stride, int col,",
            ),
        ),
    ),
    Mutant(
        "a reference leaked to each `out`",
        suite("tests/test_memory.py", "-k", "small_calls"),
        (
            (
                f"{CORE}kernels.pxi",
                "    int PyFloat_CheckExact(object)\n",
                "    int PyFloat_CheckExact(object)\n    void Py_INCREF(object)\n",
            ),
            (
                f"{CORE}door.pxi",
                "        array = <cnp.ndarray>given\n",
                "        array = <cnp.ndarray>given\n        Py_INCREF(given)\n",
            ),
        ),
    ),
    Mutant(
        "scratch memory never freed",
        suite("tests/test_memory.py", "-k", "small_calls"),
        ((f"{CORE}run.pxi", "        PyMem_Free(j.zeros)\n", "        pass\n"),),
    ),
    # --- threads
    Mutant(
        "race: all tasks add to one total",
        RACES,
        (
            (f"{SRC}walk/terms.h", "&p->totals[w->region.task];", "&p->totals[0];"),
            (
                f"{SRC}walk/ends.h",
                "RE(add_totals)(&p->totals[w->region.task],",
                "RE(add_totals)(&p->totals[0],",
            ),
        ),
    ),
    Mutant(
        "race: all tasks share the accumulators of a gradient",
        RACES,
        (
            (
                f"{SRC}walk/collect.h",
                "p->accumulator + whose.task * p->accumulators",
                "p->accumulator + 0 * whose.task * p->accumulators",
            ),
        ),
    ),
    Mutant(
        "race: a task says that a scale is not positive",
        RACES,
        (
            (
                f"{SRC}walk/terms.h",
                "    if (RE(has_bad_scale)(w)) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);",
                "    if (RE(has_bad_scale)(w)) p->bad = 1;",
            ),
        ),
    ),
    # --- rows that end many at a time
    Mutant(
        "single elements put as they are, though one has to be taken apart",
        suite("tests/test_short_rows.py", "-k", "odd_in_one_row"),
        (
            (
                f"{SRC}walk/ends.h",
                "odd |= RE(mask)(!(RE(magnitude)(term[i]) < settled));",
                "odd |= 0 * (term[i] < settled);",
            ),
        ),
    ),
    Mutant(
        "rows end together under a scale that is none",
        suite("tests/test_short_rows.py", "-k", "scale_that_is_none"),
        ((f"{SRC}walk/ends.h", "if (w->unusual || !RE(put_together)(p))", "if (!RE(put_together)(p))"),),
    ),
    Mutant(
        "an element more in the lanes of a short row",
        suite("tests/test_short_rows.py", "-k", "bits_that_they_have_alone"),
        ((f"{SRC}sums/many.h", "l < left ? x[whole + l]", "l <= left ? x[whole + l]"),),
    ),
    Mutant(
        "totals added in the order in which tasks end",
        suite("tests/test_bits.py", "-k", "number_of_threads"),
        (
            (
                f"{SRC}walk/work.h",
                "        add_pair(&p->totals[whose.task].usual[row % SUMS_OF_ROWS], total);",
                LOCKED_TOTALS,
            ),
        ),
    ),
    Mutant(
        "the fork handler does nothing: children hang",
        suite("tests/test_fork.py", "-k", "an_error_in_a_child")._replace(says="a child hung"),
        ((f"{SRC}threads.c", "static void in_child(void) { forked = 1; }", "static void in_child(void) {}"),),
    ),
    # --- bits
    Mutant(
        "another order of adding, at one level",
        GOLDEN,
        (
            (
                f"{SRC}sums/sum_source.inc.h",
                "#define TREE4(i) ((",
                "#if defined(__AVX2__) && !defined(__AVX512F__)\n"
                "#define TREE4(i) \\\n"
                "    (AT(x, (i) + LANES) + (AT(x, i) + (AT(x, (i) + 2 * LANES) + AT(x, (i) + 3 * LANES))))\n"
                "#else\n#define TREE4(i) ((",
            ),
            (
                f"{SRC}sums/sum_source.inc.h",
                "(AT(x, (i) + 2 * LANES) + AT(x, (i) + 3 * LANES)))\n\n",
                "(AT(x, (i) + 2 * LANES) + AT(x, (i) + 3 * LANES)))\n#endif\n\n",
            ),
        ),
    ),
    Mutant(
        "the compiler may fuse products at one level",
        GOLDEN,
        (("setup.py", '"v3": ["-march=x86-64-v3"]', '"v3": ["-march=x86-64-v3", "-ffp-contract=fast"]'),),
    ),
    Mutant(
        "the order of a sum follows the strides",
        suite("tests/test_layouts.py"),
        (
            (
                f"{SRC}walk/collect.h",
                "for (int i = p->dims - 1; i >= p->row_dims && stride[i] == 0; i--) length *= p->shape[i];",
                "length = p->shape[p->dims - 1];",
            ),
        ),
    ),
    Mutant(
        "-ffast-math", COMPILES, (("setup.py", '    "-std=c11",\n', '    "-std=c11",\n    "-ffast-math",\n'),)
    ),
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
    # --- outputs
    Mutant(
        "in place, the scale of a row that where removes is checked",
        suite("tests/test_out.py", "-k", "where"),
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
        suite("tests/test_out.py", "-k", "where"),
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
        suite("tests/test_out.py"),
        ((f"{CORE}run.pxi", "    if j.p.aliased:\n", "    if False:\n"),),
    ),
    Mutant(
        "no check for outputs that overlap, at the fast door",
        suite("tests/test_errors.py", "tests/test_out.py"),
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
        suite("tests/test_out.py"),
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
        suite("tests/test_errors.py"),
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
]


QUICK: Edits = (
    ("setup.py", 'return platform.machine().lower() in {"x86_64", "amd64"}', "return False"),
    ("setup.py", '    "-O3",\n', '    "-O1",\n'),
    ("tests/native/driver.py", '"-dumpmachine"]).startswith("x86_64")', '"-dumpmachine"]) == ""'),
)


def apply(edits: Edits, tree: Path) -> None:
    for file, old, new in edits:
        path = tree / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            sys.exit(f"{file} has this {text.count(old)} times, not once:\n{old}")
        path.write_text(text.replace(old, new), encoding="utf-8")


def build(check: Check, tree: Path) -> Done:
    """Build what the check needs; some build it themselves."""
    if not check.as_shipped:
        apply(QUICK, tree)
    if not check.builds:
        return Done(0, "")
    return instrumented.build(tree, instrumented.SANITIZED if check.sanitized else {})


def run(check: Check, tree: Path) -> Done:
    environment = instrumented.memory_sanitizers(tree) if check.sanitized else {}
    done = instrumented.run([sys.executable, *check.command], tree, environment, timeout=600)
    return Done(done.status, done.output + "".join(instrumented.reports(tree).values()))


def catches(check: Check, done: Done) -> bool:
    """It failed, and for its own reason: not because nothing could be built, say."""
    return done.status != 0 and any(text in done.output for text in check.says.split("|"))


class Unchanged:
    """The package without any mutant: what catches one must pass here."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack, self.trees, self.passed = stack, {}, {}

    def passes(self, check: Check) -> bool:
        """Whether a check passes; each is run, and each kind of build made, once."""
        if check in self.passed:
            return self.passed[check]
        kind = check.sanitized, check.builds, check.as_shipped
        done = Done(0, "")
        if kind not in self.trees:
            self.trees[kind] = self.stack.enter_context(instrumented.copy_of_tree())
            done = build(check, self.trees[kind])
        if not done.status:
            done = run(check, self.trees[kind])
        self.passed[check] = not done.status
        if done.status:
            print(f"{check}: fails without any mutant\n{done.output[-3000:]}")
        return self.passed[check]


def judge(mutant: Mutant, unchanged: Unchanged) -> bool:
    """Whether the mutant is caught; a line that says so, and where it is not, what the check said."""
    begin = time.monotonic()
    with instrumented.copy_of_tree() as tree:
        apply(mutant.edits, tree)
        done = done_building = build(mutant.check, tree)
        if not done.status:
            done = run(mutant.check, tree)
    ran = not done_building.status or mutant.check is COMPILES
    caught = ran and catches(mutant.check, done) and unchanged.passes(mutant.check)
    seconds = time.monotonic() - begin
    print(
        f"{'caught  ' if caught else 'SURVIVED'}  {mutant.name}  →  {mutant.check}  [{seconds:.0f} s]",
        flush=True,
    )
    if not caught:
        print(done.output[-1500:])
    return caught


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART")
    parser.add_argument(
        "--list",
        action="store_true",
        help="names and checks; that all texts are there",
    )
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if any(part in mutant.name for part in given.only)]
    with instrumented.copy_of_tree() as tree:
        originals = {
            file: (tree / file).read_text(encoding="utf-8") for m in MUTANTS for file, _, _ in m.edits
        }
        for mutant in MUTANTS:  # before anything takes minutes
            apply(mutant.edits, tree)
            for file in originals:
                (tree / file).write_text(originals[file], encoding="utf-8")
    if given.list:
        print("\n".join(f"{mutant.name}  →  {mutant.check}" for mutant in chosen))
        return 0
    with ExitStack() as stack:
        unchanged = Unchanged(stack)
        caught = sum([judge(mutant, unchanged) for mutant in chosen])
    print(f"{caught} of {len(chosen)} mutants caught")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
