"""One result, to the last bit, for the same values in any layout, and in any dtype that holds them exactly.

And wherever the results go: a gradient is the same in an output of any layout. The large inputs' sums are
nothing but rounding errors (sums.py), which show any change of order.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import declared
import fastelbo as fe
import strategies
import sums
from marks import DTYPES

RNG = np.random.default_rng(5)
#: Two operands of data; then scales, each in one of its forms, and a number > 0 if there is one
OPERANDS = {
    name: (
        *loss.operands[:2],
        *[declared.forms(scale)[-1 - i] for i, scale in enumerate(loss.scales)],
        *([loss.number] if loss.number else []),
    )
    for name, loss in declared.LOSSES.items()
}
NAN = np.float32(np.nan)
LARGE = (40, 3, 1151)  # beyond the size from which threads are used
LOSSES = pytest.mark.parametrize("loss", OPERANDS)


def _transposed(array):
    return np.array(array.T).T


def _field(array):
    """A field of packed records: neither aligned nor contiguous."""
    records = np.zeros(array.shape, np.dtype([("flag", np.int8), ("x", array.dtype), ("id", np.int16)]))
    records["x"] = array
    return records["x"]


def _inner_reversed(array):
    return array[..., ::-1].copy()[..., ::-1] if array.ndim else array.copy()


def _swapped_field(array):
    return _field(array.astype(array.dtype.newbyteorder("S")))


LAYOUTS = strategies.LAYOUTS | {
    "transposed": _transposed,
    "inner reversed": _inner_reversed,
    "field": _field,
    "swapped field": _swapped_field,
}
OUTPUTS = ("contiguous", "fortran", "reversed", "spaced", "transposed", "inner reversed")
AXES = pytest.mark.parametrize("axis", [-1, (-3, -1), (-2, -1), ()])


def bits(array) -> np.ndarray:
    """As integers, to compare; any NaN is as good as another."""
    array = np.asarray(array)
    return np.where(np.isnan(array), NAN, array).view(f"u{array.itemsize}")


def assert_same(got, want, what="") -> None:
    """The same bits, member by member, and NumPy's dtype and shape with them."""
    results = (got, want) if isinstance(want, tuple) else ((got,), (want,))
    for i, (mine, expected) in enumerate(zip(*results, strict=True)):
        assert (mine is None) == (expected is None)
        if mine is not None:
            assert np.asarray(mine).dtype == np.asarray(expected).dtype
            np.testing.assert_array_equal(bits(mine), bits(expected), f"{what}: member {i}", strict=True)


def evaluate(loss, arguments, **options):
    of_call = declared.parameters(declared.LOSSES[loss])[-1]
    wrt = declared.members(declared.LOSSES[loss], arguments)[1:]
    return getattr(fe, f"{loss}_grad")(**arguments, wrt=wrt, **of_call | options)


def value(loss, arguments, **options):
    return getattr(fe, loss)(**arguments, **declared.parameters(declared.LOSSES[loss])[-1] | options)


def inputs(loss, dtype, shape=LARGE, sign=-1):
    """Data that are odd, or even for use with odd weights, and scales."""
    names = OPERANDS[loss]
    data = {name: sums.wide(k, shape, dtype, sign) for k, name in enumerate(names[:2])}
    return data | {name: sums.scale(k, shape, dtype) for k, name in enumerate(names[2:], 2)}


def with_odd(array, odd, rows):
    """A copy with an element in each of these rows."""
    array = array.copy()
    array[rows, [row % array.shape[1] for row in rows]] = odd
    return array


def mapped(array, folder):
    path = folder / str(id(array))
    array.tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@AXES
@DTYPES
@LOSSES
def test_every_layout_gives_the_same_bits(loss, dtype, axis, weighted, tmp_path):
    arguments = inputs(loss, dtype, sign=1 if weighted else -1)
    if weighted:
        arguments["weight"] = sums.wide(4, LARGE, dtype, -1)
    want = evaluate(loss, arguments, axis=axis)
    layouts = LAYOUTS | {"memory-mapped": lambda array: mapped(array, tmp_path)}
    for (layout, make), name in zip(layouts.items(), itertools.cycle(arguments), strict=False):
        views = {name: make(array) for name, array in arguments.items()}
        assert_same(evaluate(loss, views, axis=axis), want, layout)
        assert_same(value(loss, views, axis=axis), want.value, layout)
        assert_same(evaluate(loss, arguments | {name: views[name]}, axis=axis), want, f"{layout}: {name}")


@AXES
@DTYPES
@LOSSES
def test_strides_of_0_give_the_bits_of_a_copy(loss, dtype, axis):
    """Also where a whole argument, by its shape an element each, is one number in memory."""
    arguments = inputs(loss, dtype)
    repeats = {
        "elements": lambda array: np.broadcast_to(array[..., :1], array.shape),
        "rows": lambda array: np.broadcast_to(array[:1, :1], array.shape),
        "one": lambda array: np.broadcast_to(array[0, 0, 0], array.shape),
        "overlapping": lambda array: as_strided(array, array.shape, (0, array.itemsize, array.itemsize)),
    }
    for (what, make), name in itertools.product(repeats.items(), [None, *OPERANDS[loss]]):
        views = {key: make(a) if name in (None, key) else a for key, a in arguments.items()}
        copies = {key: np.array(view, order="C") for key, view in views.items()}
        assert_same(evaluate(loss, views, axis=axis), evaluate(loss, copies, axis=axis), (what, name))


#: Rows × features that go some rows at a time: many, few, and more features than fit
ACROSS = ((333, 50), (37, 1151), (21, 20000))


@pytest.mark.parametrize("shape", ACROSS)
@DTYPES
@LOSSES
def test_rows_that_lie_across_memory_give_the_same_bits(loss, dtype, shape):
    """In Fortran order, all arguments or some, masked and weighted; outputs too, apart or in place."""
    arguments = inputs(loss, dtype, shape)
    where, weight = sums.uniform(8, shape, dtype) > 0.4, sums.uniform(9, shape, dtype) + dtype(0.5)
    across = {name: np.asfortranarray(array) for name, array in arguments.items()}
    for options in ({}, {"where": where}, {"weight": weight}, {"where": where, "weight": weight}):
        want = evaluate(loss, arguments, **options)
        turned = {name: np.asfortranarray(array) for name, array in options.items()}
        got = evaluate(loss, across, **turned)
        assert_same(got, want, "all")
        flipped = {name: array.T for name, array in (arguments | options).items()}
        flipped_want = [None if m is None else m if m.ndim == 1 else m.T for m in want]
        assert_same(tuple(evaluate(loss, {k: np.ascontiguousarray(a) for k, a in flipped.items()}, axis=0)),
                    tuple(flipped_want), "axis=0")  # fmt: skip
        assert_same(evaluate(loss, across, **options), want, "without the options")
        assert_same(evaluate(loss, arguments, **turned), want, "the options alone")
        out = tuple([np.asfortranarray(np.full_like(member, np.nan)) for member in want])
        assert_same(evaluate(loss, arguments, **options, out=out), want, "outputs")
        mine = {name: array.copy(order="F") for name, array in across.items()}
        places = dict(zip(OPERANDS[loss], mine.values(), strict=True))
        fields = declared.LOSSES[loss].fields
        out = tuple([places.get(name) if i else None for i, name in enumerate(fields)])
        assert_same(evaluate(loss, mine, **turned, out=out), want, "in place")
    swapped = {name: array.astype(array.dtype.newbyteorder("S")) for name, array in across.items()}
    assert_same(evaluate(loss, swapped), evaluate(loss, arguments), "byte-swapped")


#: Features around every length that a row's sum is made of otherwise, and so many that a tile has one of them
FEATURES = (
    *(2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100, 127, 128, 129, 255, 256, 257),
    *(512, 513, 700, 1024, 1025),
)
#: Of a scale for all, for each row, for each feature, for each element
PARTS = ((slice(1), slice(1)), (slice(None), slice(1)), (slice(1), slice(None)), (slice(None), slice(None)))


@pytest.mark.parametrize("part", PARTS, ids=["one", "rows", "features", "elements"])
@DTYPES
@LOSSES
def test_columns_of_every_number_give_the_same_bits(loss, dtype, part):
    """Whole vectors of rows and some that are left, under scales of every shape; of 17 rows, one is odd."""
    first = OPERANDS[loss][0]
    for features, rows in itertools.product(FEATURES, (17, 83)):
        arguments = inputs(loss, dtype, (rows, features))
        arguments |= {name: arguments[name][part].copy() for name in OPERANDS[loss][2:]}
        if rows == 17:
            arguments |= {first: with_odd(arguments[first], np.finfo(dtype).max, [rows // 2])}
        across = {name: np.asfortranarray(array) for name, array in arguments.items()}
        for reduction in ("none", "sum"):
            want = evaluate(loss, arguments, reduction=reduction)
            assert_same(evaluate(loss, across, reduction=reduction), want, (features, rows))
            assert_same(value(loss, across, reduction=reduction), want.value, (features, rows))


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e-42, 1e30])
@DTYPES
@LOSSES
def test_odd_rows_among_columns_give_the_same_bits(loss, dtype, odd):
    """They are walked in another way, the rows before and after them not."""
    arguments, first = inputs(loss, dtype, (700, 40)), OPERANDS[loss][0]
    arguments |= {first: with_odd(arguments[first], odd, [3, 70, 71, 640, 699])}
    for part in PARTS:
        scaled = arguments | {name: arguments[name][part].copy() for name in OPERANDS[loss][2:]}
        across = {name: np.asfortranarray(array) for name, array in scaled.items()}
        for threads in (1, 3):
            fe.set_num_threads(threads)
            assert_same(evaluate(loss, across), evaluate(loss, scaled), (part, threads))


@pytest.mark.parametrize(
    ("of_data", "of_scale"),
    [
        *[(LARGE, (1151,)), (LARGE, (3, 1)), (LARGE, (40, 3, 1)), (LARGE, (40, 1, 1)), (LARGE, (1, 3, 1151))],
        *[((), LARGE), ((1151,), (40, 1, 1151)), ((3, 1151), ()), ((), ())],
    ],
)
@AXES
@DTYPES
@LOSSES
def test_broadcast_arguments_of_every_layout_give_the_same_bits(loss, dtype, axis, of_data, of_scale):
    first, second, *scales = OPERANDS[loss]
    arguments = {first: sums.wide(0, LARGE, dtype, -1), second: sums.wide(1, of_data, dtype, -1)}
    arguments |= {name: sums.scale(k, of_scale, dtype) for k, name in enumerate(scales)}
    want = evaluate(loss, arguments, axis=axis)
    for layout, make in LAYOUTS.items():
        views = {name: make(array) for name, array in arguments.items()}
        assert_same(evaluate(loss, views, axis=axis), want, layout)
    equal = {name: arguments[name].reshape(-1)[0] for name in scales}
    views = arguments | {name: np.broadcast_to(one, of_scale) for name, one in equal.items()}
    copies = arguments | {name: np.full(of_scale, one) for name, one in equal.items()}
    assert_same(evaluate(loss, views, axis=axis), evaluate(loss, copies, axis=axis))


@AXES
@DTYPES
@LOSSES
def test_outputs_of_every_layout_get_the_same_bits(loss, dtype, axis):
    arguments = inputs(loss, dtype)
    want = evaluate(loss, arguments, axis=axis)
    for layout in OUTPUTS:
        out = tuple([LAYOUTS[layout](np.full_like(member, np.nan)) for member in want])
        got = evaluate(loss, arguments, axis=axis, out=out)
        assert all(mine is given for mine, given in zip(got, out, strict=True))
        assert_same(got, want, layout)


@st.composite
def laid_out(draw, loss):
    """A valid call, each array in some layout; and the same in contiguous arrays."""
    _, operands, scales, options = draw(strategies.calls(loss))
    kinds = st.sampled_from(tuple(LAYOUTS.values()))

    def lay(argument):
        return draw(kinds)(argument) if isinstance(argument, np.ndarray) else argument

    def plain(argument):
        native = isinstance(argument, np.ndarray) and argument.dtype.newbyteorder("=")
        return np.array(argument, native) if native else argument

    arguments = operands | scales
    extras = {name: options.pop(name) for name in ("weight", "where")}
    views = {name: lay(argument) for name, argument in arguments.items()}
    given = {name: None if extra is None else lay(extra) for name, extra in extras.items()}
    copies = {name: plain(argument) for name, argument in views.items()}
    return views | given, copies | extras, options


@LOSSES
@given(payload=st.data(), output=st.sampled_from(OUTPUTS))
def test_any_shape_and_layout(loss, payload, output):
    views, copies, options = payload.draw(laid_out(loss))
    want = evaluate(loss, copies, **options)
    assert_same(evaluate(loss, views, **options), want)
    assert_same(value(loss, views, **options), want.value)
    out = tuple([
        None if member is None or type(member) is float else LAYOUTS[output](np.full_like(member, np.nan))
        for member in want
    ])  # fmt: skip
    assert_same(evaluate(loss, views, out=out, **options), want)


# --- dtypes -------------------------------------------------------------------------------------------------

KINDS = [np.dtype(bool), *[np.dtype(kind + size) for kind in "iu" for size in "1248"]]


def whole_range(kind) -> np.ndarray:
    """Both ends of the integers of a dtype, and 1000 between."""
    if kind.kind == "b":
        return np.arange(1000) % 2 == 1
    ends = np.iinfo(kind)
    between = RNG.integers(ends.min, ends.max, 1000, kind, endpoint=True)
    return np.concatenate([np.array([ends.min, 0, 1, ends.max - 1, ends.max], kind), between])


@pytest.mark.parametrize("kind", KINDS, ids=str)
@DTYPES
@LOSSES
def test_integers_and_booleans_are_converted_as_numpy_does(loss, dtype, kind):
    """To the nearest number of the computing dtype, which a weight, unlike the data, has no part in.

    Data beyond 2⁵³ are not converted at all: test_integers.py.
    """
    exact = whole_range(kind)
    held = exact // 2**11 if exact.itemsize == 8 and exact.dtype.kind in "iu" else exact
    arguments = inputs(loss, dtype, exact.shape)
    name = OPERANDS[loss][0]
    for make in (np.array, LAYOUTS["byte-swapped"], _field):
        computing = np.result_type(kind, dtype)
        got = evaluate(loss, arguments | {name: make(held)}, axis=())
        assert_same(got, evaluate(loss, arguments | {name: held.astype(computing)}, axis=()))
        got = evaluate(loss, arguments, axis=(), weight=make(exact))
        assert_same(got, evaluate(loss, arguments, axis=(), weight=exact.astype(dtype)))


@pytest.mark.parametrize("kind", ["i2", "u1", ">u8", "e", ">e", "?"])
@LOSSES
def test_scales_of_any_dtype(loss, kind):
    """Positive scales and numbers, one for each element and one for each row."""
    for shape in ((40, 33), (40, 1), (33,), ()):
        arguments = inputs(loss, np.float32, (40, 33))
        for name in OPERANDS[loss][2:]:
            scale = RNG.integers(1, 9, shape).astype(kind)
            floats = np.asarray(scale, np.result_type(scale, np.float32))
            got, want = (evaluate(loss, arguments | {name: raw}) for raw in (scale, floats))
            assert_same(got, want)


@DTYPES
@LOSSES
def test_all_float16_numbers(loss, dtype):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    arguments = inputs(loss, dtype, every.shape)
    name = OPERANDS[loss][0]
    with np.errstate(invalid="ignore"):  # NaN
        want = evaluate(loss, arguments | {name: every.astype(dtype)}, axis=())
    for make in (np.array, LAYOUTS["byte-swapped"], _field):
        assert_same(evaluate(loss, arguments | {name: make(every)}, axis=()), want)


@LOSSES
def test_where_of_every_layout(loss):
    arguments = inputs(loss, np.float32)
    where = RNG.uniform(size=LARGE) < 0.5
    want = evaluate(loss, arguments, where=where)
    for layout, make in LAYOUTS.items():
        assert_same(evaluate(loss, arguments, where=make(where)), want, layout)
    removed = {name: np.where(where, array, np.nan) for name, array in arguments.items()}
    assert_same(evaluate(loss, removed, where=where), want)
