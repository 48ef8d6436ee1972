"""The same bits for every number of threads, split of the batch, ISA with FMA, place in memory, compiler, and
set of gradients.

The inputs' sums are nothing but rounding errors (sums.py), and the same on every machine. So is the hash that
`python tests/test_bits.py` prints, to compare machines and compilers.
"""

import functools
import hashlib
import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import declared
import fastelbo as fe
import instrumented
import processes
import sums
import variance
from effort import LARGE, effort
from fastelbo._declare import Loss
from marks import DTYPES


def combinations(loss: Loss) -> list[declared.Names]:
    """Its scales in each form; and a prior's in the same form, and in the next."""
    forms = [declared.forms(scale) for scale in loss.scales]
    alone = [(one,) for one in forms[0]] if forms else [()]
    turned = [prior[shift:] + prior[:shift] for prior in forms[1:] for shift in (0, 1)]
    return alone + [pair for prior in turned for pair in zip(forms[0], prior, strict=True)]


COMBINATIONS = [(name, choice) for name, loss in declared.LOSSES.items() for choice in combinations(loss)]
#: Around the lanes, the tiles and the chunks of an event; then, beyond 2¹⁷ elements, what threads share
LANES = [(5, length) for length in (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33)]
TILES = [(3, length) for length in (511, 512, 513, 1023, 1024, 1025)]
CHUNKS = [(2, 16383), (2, 16384), (2, 16385), (2, 20000)]
SHARED = [
    *[(70_001, 2), (20_011, 7), (8209, 16), (4099, 33), (600, 512), (130, 1025), (9, 16_385), (7, 20_000)],
    *[(1, 280_001), (6, 5003, 5)],
]
SHAPES = LANES + TILES + CHUNKS + SHARED
#: A scale's shape: an element each, one for each column, one for each row, one
PARTS = [lambda shape: shape, lambda shape: shape[-1:], lambda shape: (*shape[:-1], 1), lambda shape: ()]
OPTIONS = [
    {},
    {"reduction": "sum"},
    {"weight": "rows"},
    {"where": "elements"},
    {"reduction": "mean", "weight": "elements"},
    {"axis": 0},
    {"axis": ()},
    {"axis": None},
    {"weight": "rows", "where": "elements", "reduction": "sum"},
]
# 31 is coprime to 4 · 9: so every shape meets every part with every option
assert (len(SHAPES), len(PARTS), len(OPTIONS)) == (31, 4, 9)
assert 2 * len(COMBINATIONS) >= 4 * 9


def case(number: int):
    """(name, loss, arguments, options) of a case."""
    (loss, choice), dtype, shape = CASES[number]
    turn, n = divmod(number, ONCE)
    declaration = declared.LOSSES[loss]
    full, part, other = shape, PARTS[(n + turn) % 4](shape), PARTS[(n // 4 + turn // 2) % 4](shape)
    given = OPTIONS[(n + turn) % 9]
    short = shape[-1:] if n % 5 == 0 and given.get("axis") != 0 else full
    names = declaration.operands[:2]
    options = dict(given)
    sign = 1 if "weight" in options else -1  # of the data; weights are odd
    shapes = dict(zip(names, (full, short), strict=True))
    arguments = {name: sums.wide(k, shapes[name], dtype, sign) for k, name in enumerate(names)}
    for k, (name, own) in enumerate(zip(choice, (part, other), strict=False), 2):
        arguments[name] = sums.scale(k, own, dtype)
    if declaration.number:
        arguments[declaration.number] = sums.scale(3, other, dtype)
    of_call = declared.parameters(declaration)
    arguments |= of_call[n % len(of_call)]
    if "weight" in options:
        options["weight"] = sums.wide(4, shape[:-1] if options["weight"] == "rows" else shape, dtype, -1)
    if "where" in options:
        options["where"] = sums.mask(5, shape)
    name = f"{loss} {choice} {np.dtype(dtype)} {shape} {part} {given}"
    return f"{name} {turn}" if turn else name, loss, arguments, options


#: Once, and on demand in more parts with more options
CASES = list(itertools.product(COMBINATIONS, (np.float32, np.float64), SHAPES))
ONCE = len(CASES)
CASES *= effort(1, 9)


def of_members(loss: str, arguments) -> dict:
    """The gradients there are, and the argument of each."""
    keys = declared.gradients(declared.LOSSES[loss])
    found = {member: [arguments[key] for key in own if key in arguments] for member, own in keys.items()}
    return {member: one[0] for member, one in found.items() if one}


def grad(loss: str, arguments, options, wrt=None):
    wrt = tuple(of_members(loss, arguments)) if wrt is None else wrt
    return getattr(fe, f"{loss}_grad")(**arguments, **options, wrt=wrt)


def digest(result) -> str:
    sha = hashlib.sha256()
    for member in result:
        if member is not None:
            sha.update(np.asarray(member).tobytes())
    return sha.hexdigest()[:16]


def moved(array, by: int):
    """A copy, this many elements from where one would begin."""
    array = np.asarray(array)
    copy = np.empty(array.size + by, array.dtype)[by:].reshape(array.shape)
    copy[...] = array
    return copy


def digests(numbers, offset: int = 0) -> dict[str, str]:
    """By case; with an offset, of arguments elsewhere in memory, each in a place of its own."""
    found = {}
    for n in numbers:
        name, loss, arguments, options = case(n)
        if offset:
            arguments = {key: moved(a, offset + k) for k, (key, a) in enumerate(arguments.items())}
        found[name] = digest(grad(loss, arguments, options))
    return found


def count_threads(expected: int) -> int:
    """Of this process; more than expected only if they stay: those of an earlier team end in their time."""
    tasks = Path("/proc/self/task")
    for _ in range(1000):
        count = len(os.listdir(tasks)) if tasks.exists() else 0
        if count <= expected:
            break
        time.sleep(0.001)
    return count


def report(offset: int = 0) -> dict:
    """What a process computes, and with what."""
    found, before, most = {}, count_threads(sys.maxsize), 0
    for n in sorted(range(len(CASES)), key=lambda n: n % len(SHAPES)):  # the inputs of a shape are kept
        found |= digests([n], offset)
        most = max(most, count_threads(before + fe.get_num_threads() - 1))
    made = {"isa": fe._core.isa(), "compiler": fe._core.compiler()}
    return made | {"threads": fe.get_num_threads(), "added": most - before, "digests": found}


@functools.cache
def of_process(offset: int = 0, **environment: str) -> dict:
    code = f"import json, test_bits; print(json.dumps(test_bits.report({offset})))"
    return json.loads(processes.run(code, timeout=effort(120, 1200), **environment))


def differing(one: dict[str, str], two: dict[str, str]) -> list[str]:
    assert one.keys() == two.keys()
    return [name for name in one if one[name] != two[name]]


def test_every_case_is_one_of_its_own():
    assert len(of_process(FASTELBO_NUM_THREADS="1")["digests"]) == len(CASES) == effort(1, 9) * ONCE


@pytest.mark.parametrize("threads", effort([2, 3, 7], [2, 3, 4, 7, 16]))
def test_the_number_of_threads_changes_no_bit(threads):
    one, many = (of_process(FASTELBO_NUM_THREADS=str(n)) for n in (1, threads))
    assert not differing(one["digests"], many["digests"])
    if fe._core.openmp_version():
        assert (one["threads"], many["threads"]) == (1, threads)
        if Path("/proc/self/task").exists():
            assert (one["added"], many["added"]) == (0, threads - 1)


@pytest.mark.usefixtures("restored")
def test_set_num_threads_changes_no_bit():
    numbers = range(3, len(CASES), 10)
    want = of_process(FASTELBO_NUM_THREADS="1")["digests"]
    for threads in (7, 1, 3, 2):
        fe.set_num_threads(threads)
        got = digests(numbers)
        assert not differing(got, {name: want[name] for name in got}), threads


def test_all_levels_with_fma_give_the_same_bits():
    levels = [level for level in fe._core.isa_levels() if level != "baseline"]
    if len(levels) < 2:
        pytest.skip(f"the levels with FMA that this machine can run, {levels}, are less than two")
    pins = [{} if level == fe._core.isa() else {"FASTELBO_ISA": level} for level in levels]
    reports = [of_process(FASTELBO_NUM_THREADS="2", **pin) for pin in pins]
    assert [each["isa"] for each in reports] == levels
    for each in reports[1:]:
        assert not differing(reports[0]["digests"], each["digests"])


@pytest.mark.parametrize("offset", effort([1], [1, 3, 8]))
def test_the_place_in_memory_changes_no_bit(offset):
    one = of_process(FASTELBO_NUM_THREADS="1")
    assert not differing(one["digests"], of_process(offset, FASTELBO_NUM_THREADS="2")["digests"])


@pytest.mark.skipif(not LARGE, reason="builds the package: run with HYPOTHESIS_PROFILE=large")
@pytest.mark.parametrize("level", fe._core.isa_levels())
def test_the_compiler_changes_no_bit(level, built_by_clang):
    mine = of_process(FASTELBO_NUM_THREADS="2", FASTELBO_ISA=level)
    path = os.pathsep.join([str(processes.TESTS), str(built_by_clang)])
    other = of_process(FASTELBO_NUM_THREADS="2", FASTELBO_ISA=level, PYTHONPATH=path)
    assert (other["isa"], other["compiler"][:5]) == (mine["isa"], "clang") != mine["compiler"][:5]
    assert not differing(mine["digests"], other["digests"])


@pytest.fixture(scope="module")
def built_by_clang():
    import driver  # in native/, which conftest.py adds, and not every process of its own has

    clang = driver.installed(*driver.CLANGS)
    if clang is None:
        pytest.skip("clang is not installed: on Debian, apt install clang")
    with instrumented.copy_of_tree() as tree:
        built = instrumented.build(tree, {"CC": clang})
        assert not built.status, built.output
        yield tree


def test_the_baseline_keeps_the_bounds():
    """It may differ in the last place, within the same bounds: their tests, on it."""
    if fe._core.isa() == "baseline":
        pytest.skip("the baseline is what this machine runs: test_accuracy.py has tested it")
    chosen = "elements or far_scales or constant_rows or (standard_normal and (1e-06 or 0.01))"
    arguments = ["-q", "-p", "no:cacheprovider", "-k", chosen, str(processes.TESTS / "test_accuracy.py")]
    code = f"import sys, pytest; sys.exit(pytest.main({arguments}))"
    out = processes.run(code, timeout=effort(120, 1200), FASTELBO_ISA="baseline")
    assert " passed" in out


@pytest.mark.parametrize("start", range(11))
def test_what_is_asked_changes_no_bit(start):
    """The value alone, and any set of gradients, of an eleventh of the cases."""
    for n in range(start, len(CASES), effort(11 * 7, 11)):
        name, loss, arguments, options = case(n)
        want = grad(loss, arguments, options)
        value = getattr(fe, loss)(**arguments, **options)
        assert digest([value]) == digest([want.value]), name
        names = tuple(of_members(loss, arguments))
        for wrt in itertools.chain.from_iterable(itertools.combinations(names, k) for k in range(len(names))):
            got = grad(loss, arguments, options, wrt)
            expected = want._replace(**dict.fromkeys(set(names) - set(wrt)))
            assert digest(got) == digest(expected), f"{name}: {wrt}"


def pieces(rows: int) -> dict[str, list[slice]]:
    ends = {
        "halves": [rows // 2, rows],
        "squares": [*[k * k for k in range(1, rows) if k * k < rows], rows],
        "rows": range(1, rows + 1),
    }
    parts = {name: [slice(*pair) for pair in itertools.pairwise([0, *at])] for name, at in ends.items()}
    return parts | {"rows": parts["rows"][:: rows // 300 + 1]}


def of_rows(array, rows: slice, count: int, ndim: int):
    """These rows of an argument that has them."""
    has_rows = np.ndim(array) == ndim and array.shape[0] == count
    return array[rows] if has_rows else array


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_splits_of_the_batch_change_no_bit(shape):
    """Rows, and gradients of what is not broadcast: at once, in odd pieces, row by row, and as 1-D events."""
    for n in range(SHAPES.index(shape), len(CASES), len(SHAPES)):
        name, loss, arguments, options = case(n)
        if options.keys() & {"axis", "reduction"}:
            continue
        want, count = grad(loss, arguments, options), shape[0]
        own = [member for member, a in of_members(loss, arguments).items() if np.shape(a) == shape]
        splits = pieces(count)
        if len(shape) == 2:
            splits["events"] = range(0, count, count // 100 + 1)
        for split, parts in splits.items():
            for rows in parts:
                mine = {key: of_rows(a, rows, count, len(shape)) for key, a in arguments.items()}
                got = grad(loss, mine, {key: a[rows] for key, a in options.items()})
                for member in ("value", *own):
                    same = digest([getattr(got, member)]) == digest([getattr(want, member)[rows]])
                    assert same, f"{name}: {member} of {rows}, {split}"


@DTYPES
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize(("count", "length"), [(1100, 1), (530, 7), (100, 1025), (5, 16_385)])
def test_samples_that_share_x_change_no_bit(count, length, part, dtype):
    """Rows go in groups through the samples (plan.c): neither that nor what is asked beside changes a sum."""
    samples, x = sums.wide(0, (3, count, length), dtype, -1), sums.wide(1, (count, length), dtype, -1)
    scale = sums.scale(2, PARTS[part]((count, length)), dtype)

    def of(rows=slice(None), wrt=("x", "mean", "scale"), **options):
        own = scale[rows] if scale.ndim == 2 else scale
        return fe.gaussian_nll_grad(x[rows], samples[:, rows], var=own, wrt=wrt, **options)

    want = of()
    for rows in (slice(0, count // 3), slice(count // 3, count), slice(count - 1, count)):
        got = of(rows)
        assert digest([got.value, got.mean]) == digest([want.value[:, rows], want.mean[:, rows]])
        assert digest([got.x]) == digest([want.x[rows]])
        assert scale.ndim < 2 or digest([got.scale]) == digest([want.scale[rows]])
    mean = of(reduction="mean")
    for name in ("x", "mean", "scale"):
        assert digest([getattr(of(wrt=name), name)]) == digest([getattr(want, name)]), name
        assert digest([getattr(of(wrt=name, reduction="mean"), name)]) == digest([getattr(mean, name)]), name


@DTYPES
@pytest.mark.parametrize(("loss", "choice"), [(loss, choice) for loss, choice in COMBINATIONS if choice])
def test_neighbours_change_no_bit(loss, choice, dtype):
    """Tiles of ordinary scales have a shorter way (losses/scale.h): one that is not changes only itself."""
    generator = np.random.default_rng(12)
    q, p = (*map(declared.form_of, choice), None)[:2]
    largest = 0.97 * np.log(np.finfo(dtype).max)
    s = np.concatenate([generator.uniform(-reach, reach, 90) for reach in (1e-3, 1, 0.44 * largest, largest)])
    s_p = s + generator.normal(size=s.size) if p == q else generator.permutation(s)
    names = declared.LOSSES[loss].operands[:2]
    arguments = {name: generator.normal(size=s.size).astype(dtype) for name in names}
    for name, log in zip(choice, (s, s_p), strict=False):
        arguments[name] = variance.raw_of(declared.form_of(name), log).astype(dtype)
    elementwise = {"axis": ()} | declared.plain(declared.LOSSES[loss])
    want = grad(loss, arguments, elementwise)
    for reach in (0.1, 0.2, 0.4, 0.6, 0.8):
        some = (np.abs(s) < reach * largest) & (np.abs(s_p) < reach * largest if p else True)
        got = grad(loss, {name: a[some] for name, a in arguments.items()}, elementwise)
        alike = [digest([a]) == digest([b[some]]) for a, b in zip(got, want, strict=True) if a is not None]
        assert all(alike), (reach, alike)
    for i in range(0, s.size, 7):
        got = grad(loss, {name: a[i : i + 1] for name, a in arguments.items()}, elementwise)
        assert digest(got) == digest([None if b is None else b[i : i + 1] for b in want]), i


if __name__ == "__main__":
    everything = report()
    print(
        everything["isa"], digest([np.frombuffer("".join(everything["digests"].values()).encode(), np.uint8)])
    )


@pytest.mark.parametrize("length", [16_385, 65_537])
def test_a_mean_for_all_rows_splits_as_well(length):
    """Here a batch of one row differs from others in what is broadcast, and in how long rows are cut."""
    rng = np.random.default_rng(length)
    for _ in range(20):  # one call in five showed it
        x, mean = rng.normal(size=(2, length)), rng.normal(size=length)
        want = fe.gaussian_nll(x, mean, var=0.7)
        assert [fe.gaussian_nll(row, mean, var=0.7) for row in x] == want.tolist()


@DTYPES
def test_nan_keeps_its_sign_in_the_gradient_of_the_mean(dtype):
    x, mean = np.full((3, 40), np.nan, dtype), np.zeros((3, 40), dtype)
    both = fe.gaussian_nll_grad(x, mean, var=2.0, wrt=("x", "mean"))
    assert digest([fe.gaussian_nll_grad(x, mean, var=2.0, wrt="mean").mean]) == digest([both.mean])
