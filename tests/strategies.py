"""Hypothesis strategies: dtypes, layouts, scales, and whole calls of the losses."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import declared
import variance
from fastelbo._declare import EMPTY, Loss, Scale

DTYPES = (np.float32, np.float64)
dtypes = st.sampled_from(DTYPES)
scale_names = st.sampled_from(tuple(variance.SCALES))
units = st.floats(-8, 8, width=32)  # an element, in units of σ


def _unaligned(array: np.ndarray) -> np.ndarray:
    buffer = np.empty(array.nbytes + 1, np.uint8)[1:]
    view = buffer.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _spaced(array: np.ndarray) -> np.ndarray:
    wide = np.full([2 * n for n in array.shape], 7, array.dtype)
    view = wide[(..., *[slice(None, None, 2)] * array.ndim)]
    view[...] = array
    return view


def _reversed(array: np.ndarray) -> np.ndarray:
    backwards = (..., *[slice(None, None, -1)] * array.ndim)
    return array[backwards].copy()[backwards]


def _read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


#: The same values, in other bytes.
LAYOUTS = {
    "contiguous": np.array,
    "fortran": lambda a: np.array(a, order="F"),  # np.asfortranarray makes 0-d arrays 1-d
    "reversed": _reversed,
    "spaced": _spaced,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "unaligned": _unaligned,
    "read-only": _read_only,
}
layouts = st.sampled_from(tuple(LAYOUTS.values()))


def shapes(min_dims: int = 1, max_dims: int = 3, max_side: int = 9) -> st.SearchStrategy[tuple[int, ...]]:
    """Non-empty shapes; a side of 9 is one more than the 8 additions of a lane."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, max_side=max_side)


@st.composite
def sigmas(draw, name: str, dtype) -> float:
    """σ from 1e-30 to 1e30, or as far as the scale's argument is a normal number of `dtype`."""
    kind, k = variance.SCALES[name]
    reach = math.log10(float(np.finfo(dtype).max)) - 1
    largest = min(30.0, reach * abs(k) / 2) if kind == "power" else 30.0
    return 10.0 ** draw(st.floats(-largest, largest))


@st.composite
def gaussians(draw):
    """x, mean and one shared scale: (x, mean, {name: raw}), σ over sixty decades and r within 16σ."""
    dtype, name = draw(dtypes), draw(scale_names)
    sigma = draw(sigmas(name, dtype))
    raw = dtype(variance.raw_of(name, 2 * math.log(sigma)))
    shape = draw(shapes())
    x, mean = [draw(layouts)(draw(hnp.arrays(dtype, shape, elements=units)) * dtype(sigma)) for _ in range(2)]
    return x, mean, {name: raw}


def parts(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes that broadcast to `shape`: leading axes lacking, others of size 1."""
    ones = st.tuples(*[st.sampled_from((1, n)) for n in shape])
    return st.builds(lambda sizes, lacking: sizes[lacking:], ones, st.integers(0, len(shape)))


@st.composite
def data(draw, shape: tuple[int, ...]):
    """Real numbers within ±4 of any dtype and layout, exact in each; if 0-d perhaps a Python scalar."""
    dtype = np.dtype(draw(st.sampled_from("ffddeBb?")))
    eighths = draw(hnp.arrays(np.int8, shape, elements=st.integers(-32, 32)))
    array = np.asarray(eighths / 8 if dtype.kind == "f" else abs(eighths) // 8, dtype)
    return array.item() if not shape and draw(st.booleans()) else draw(layouts)(array)


@st.composite
def scales(draw, shape: tuple[int, ...], scale: Scale):
    """{keyword: raw} with log σ² within ±2."""
    name, dtype = draw(st.sampled_from(declared.forms(scale))), draw(st.sampled_from("ffde"))
    eighths = draw(hnp.arrays(np.int8, shape, elements=st.integers(-16, 16)))
    raw = variance.raw_of(declared.form_of(name), eighths / 8)
    return {name: draw(layouts)(np.asarray(raw, dtype))}


@st.composite
def axes(draw, ndim: int):
    """None, one axis or several, counted from the end: (axis as passed, its non-negative axes)."""
    some = draw(st.lists(st.integers(1, max(ndim, 1)), unique=True, max_size=ndim))
    axis = draw(st.sampled_from((None, -1, tuple([-i for i in some]))))
    events = range(ndim) if axis is None else (axis,) if axis == -1 else axis
    return axis, {i % ndim for i in events} if ndim else set()


@st.composite
def numbers(draw, shape: tuple[int, ...]):
    """An operand > 0 without a gradient, infinity included."""
    dtype = draw(st.sampled_from("ffde"))
    return draw(hnp.arrays(dtype, shape, elements=st.sampled_from((0.25, 1.0, 3.0, 40.0, np.inf))))


def of_call(loss: Loss) -> st.SearchStrategy[dict[str, float | None]]:
    """Numbers of the whole call: what has no default is a width, the others the ends of a range."""

    def one(none) -> st.SearchStrategy[float | None]:
        if none is EMPTY:
            return st.sampled_from((2.0**-9, 0.25, 4.0))
        return st.sampled_from((None, float(np.copysign(1.75, none))))

    return st.fixed_dictionaries({name: one(none) for name, none in loss.parameters_of_call.items()})


@st.composite
def calls(draw, name: str):
    """Return (the data's shape, operands, scales, options), each by keyword, of a valid call of a loss."""
    loss = declared.LOSSES[name]
    shape = draw(shapes(min_dims=0, max_side=4))
    short = shape[draw(st.integers(0, len(shape))) :]
    one, two = draw(st.permutations((shape, short)))
    scale_shape = draw(parts(shape))
    if loss.scalar_mean and (not one or draw(st.booleans())):
        one, scale_shape = (), shape  # a scalar mean takes the scale's shape
    axis, events = draw(axes(len(shape)))
    rows = tuple([n for i, n in enumerate(shape) if i not in events])
    eighths = st.integers(0, 16).map(lambda n: n / 8)
    weight_shape = draw(st.sampled_from((rows, tuple([draw(st.sampled_from((1, n))) for n in shape]))))
    options = {
        "axis": axis,
        "reduction": draw(st.sampled_from(("none", "sum", "mean"))),
        "weight": draw(st.none() | hnp.arrays(np.float32, weight_shape, elements=eighths)),
        "where": draw(st.none() | parts(shape).flatmap(lambda part: hnp.arrays(bool, part))),
    }
    operands = {key: draw(data(part)) for key, part in zip(loss.operands[:2], (one, two), strict=True)}
    if loss.number:
        operands[loss.number] = draw(numbers(draw(parts(shape))))
    given = {}
    for scale, part in zip(loss.scales, (scale_shape, draw(parts(shape))), strict=False):
        if scale.required or draw(st.booleans()):
            given |= draw(scales(part, scale))
    if "full" in loss.options:
        options["full"] = draw(st.booleans())
    if loss.floor:
        options[loss.floor] = draw(st.sampled_from((0.0, 0.5, 1.0)))
    return shape, operands, given, options | draw(of_call(loss))


@st.composite
def neg_elbos(draw):
    """Return (shapes of recon and of the latents, operands, scales, options), of a valid neg_elbo."""
    shape = draw(shapes(min_dims=0, max_side=3))
    axis, events = draw(axes(len(shape)))
    rows = [n for i, n in enumerate(shape) if i not in events]
    latents, z_axis = list(rows), []
    for size in draw(st.lists(st.integers(1, 3), max_size=2)):  # event axes of the latents, anywhere
        place = draw(st.integers(0, len(latents)))
        latents.insert(place, size)
        z_axis = [i + (i >= place) for i in z_axis] + [place]
    sampled = draw(st.sampled_from(((), (1,), (3,)))) + shape
    eighths = st.integers(0, 16).map(lambda n: n / 8)
    options = {
        "axis": axis,
        "z_axis": tuple([i - len(latents) for i in z_axis]),
        "beta": draw(eighths),
        "full": draw(st.booleans()),
        "min_var": draw(st.sampled_from((0.0, 0.5))),
        "reduction": draw(st.sampled_from(("none", "sum", "mean"))),
        "weight": draw(st.none() | hnp.arrays(np.float32, tuple(rows), elements=eighths)),
        "where": draw(st.none() | parts(sampled).flatmap(lambda part: hnp.arrays(bool, part))),
    }
    if draw(st.booleans()):
        options["z_where"] = draw(parts(tuple(latents)).flatmap(lambda part: hnp.arrays(bool, part)))
    prior = latents[draw(st.integers(0, len(latents))) :]
    shapes_of = {"x": shape, "recon": sampled, "z_mean": tuple(latents), "prior_mean": tuple(prior)}
    operands = {name: draw(data(part)) for name, part in shapes_of.items()}
    decoder, encoder, prior_scale = declared.JOINTS["neg_elbo"].all_scales
    given = draw(scales(draw(parts(sampled)), decoder)) | draw(scales(draw(parts(tuple(latents))), encoder))
    if draw(st.booleans()):
        given |= draw(scales(draw(parts(tuple(latents))), prior_scale))
    return (sampled, tuple(latents)), operands, given, options
