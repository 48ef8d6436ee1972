"""What a seeded fault is, and what catches it; and the faults in memory, threads and bits, for mutants.py."""

from typing import NamedTuple

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
                "RE(add_totals)(&p->totals[w->region.task], row,",
                "RE(add_totals)(&p->totals[0], row,",
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
    # --- rows that end many at a time, or lie across memory; calls that are known
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
        "the last rows of a panel are not written",
        suite("tests/test_layouts.py", "-k", "across_memory and gaussian_nll"),
        ((f"{SRC}walk/rows.h", "    RE(write_panels)(w);\n", ""),),
    ),
    Mutant(
        "a panel's gradient is written in place where a tile is one element",
        suite("tests/test_layouts.py", "-k", "columns_of_every"),
        ((f"{SRC}walk/give.h", "&& !p->aliased && !in_panel ?", "&& !p->aliased ?"),),
    ),
    Mutant(
        "a panel has rows beyond those that are left to it",
        suite("tests/test_layouts.py", "-k", "odd_rows"),
        (
            (
                f"{SRC}walk/rows.h",
                "left_until = w->stop = row + w->tile.rows;",
                "left_until = row + w->tile.rows;",
            ),
        ),
    ),
    Mutant(
        "the lanes of rows across memory are added in another order",
        suite("tests/test_layouts.py", "-k", "columns_of_every"),
        (
            (
                f"{SRC}sums/across.h",
                "TREE4(0) + TREE4(4) :",
                "((TREE4(0) + AT(4)) + AT(5)) + (AT(6) + AT(7)) :",
            ),
        ),
    ),
    Mutant(
        "a call is known whatever its strides",
        suite("tests/test_known_calls.py", "-k", "differs or again"),
        ((f"{CORE}likeness.pxi", "        add(k, cnp.PyArray_STRIDE(x, i))\n", ""),),
    ),
    Mutant(
        "outputs over inputs are not looked for in a known call",
        suite("tests/test_known_calls.py", "-k", "overlaps"),
        ((f"{CORE}memory.pxi", "if given is not None and not is_apart", "if False and not is_apart"),),
    ),
    Mutant(
        "memory of a freed result handed out twice",
        suite("tests/test_kept_memory.py"),
        ((f"{SRC}results.h", "            kept.count--;\n", ""),),
    ),
    Mutant(
        "memory of freed results kept without bound",
        suite("tests/test_kept_memory.py"),
        ((f"{SRC}results.h", "leave_kept(kept.most - capacity,", "leave_kept(kept.most,"),),
    ),
    Mutant(
        "the allocator of results stays that of all arrays",
        suite("tests/test_kept_memory.py"),
        (
            (
                f"{CORE}results.pxi",
                "fortran)\n    finally:\n        cnp.PyDataMem_SetHandler(before)",
                "fortran)\n    finally:\n        pass",
            ),
        ),
    ),
    Mutant(
        "-ffast-math", COMPILES, (("setup.py", '    "-std=c11",\n', '    "-std=c11",\n    "-ffast-math",\n'),)
    ),
]
