"""The rules for dtype, shape, axis, weight, where, out and overlap: all of them, and only here.

`evaluate` applies them in order, one function each, then runs the core once; `elbo` does so for two losses at
once. No full-size copy is made: the core sees *views* of one common shape, row axes first, event axes last,
with stride 0 along every axis an argument is broadcast over. Calls on plain equal arrays never come here: the
core's fast door takes them.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from fastelbo import _core
from fastelbo._declare import ANY_SIGN, DEFAULT_AXIS, VALUES, Loss
from fastelbo._threads import get_num_threads

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
_WayOut: TypeAlias = str | Callable[[Shape], str]  # of a message; it may depend on the shape that was passed

SCALES: Final = ("var", "std", "logvar", "logstd", "precision")
REDUCTIONS: Final = ("none", "sum", "mean")
WHOSE: Final = {"": "the scale", "z_": "the latents' scale", "prior_": "the prior's scale"}
MASKS: Final = ("where", "z_where")
REAL: Final = frozenset("?bBhHiIlLqQnNpPefd")  # dtype.char: booleans, integers, float16, float32, float64
CHUNK: Final = 1 << 16  # elements looked at together in the search for a bad scale: bounds its memory
OVERLAP_WORK: Final = 10_000  # candidates np.shares_memory may try; past it "may share" counts as "shares"


#: The names of means and data by another function's, for a gradient that is asked for by the wrong one
ALIKE: Final = {
    "mean": ("recon", "z_mean", "logits"),
    "recon": ("mean", "logits"),
    "logits": ("mean", "recon"),
    "z_mean": ("mean",),
    "z_scale": ("scale",),
}
#: Arguments of which differences are what counts: an offset may go
SHIFTED: Final = frozenset(("x", "mean", "recon", "z_mean", "prior_mean", "log_w"))

_LONG: Final = "pass np.asarray({name}, np.float64), without the digits beyond it"
_COMPLEX: Final = "take {name}.real and {name}.imag as two features, or np.abs({name})"
_TIME: Final = "divide a difference of times by a unit, as np.timedelta64(1, 's')"
#: The way out by dtype.char, where a plain conversion would lose something or fail
_NOT_REAL: Final = {"g": _LONG, "F": _COMPLEX, "D": _COMPLEX, "G": _COMPLEX, "m": _TIME, "M": _TIME}


class Frame(NamedTuple):
    """The common shape of a call, split into events (summed) and rows (what is left)."""

    data: str  # whose shape it is, for messages: "x and mean"
    shape: Shape
    events: Shape  # sorted axes
    rows: Shape  # sizes of the other axes
    order: Shape | None  # axes of the rows, then of the events; None where they already stand so


class Call(NamedTuple):
    """One loss, its arguments checked: all the core needs but the outputs."""

    loss: str
    value: str  # the value's name among the results
    members: tuple[str, ...]  # the names of the operands' gradients there, in the core's order
    names: Sequence[str]  # of the operands, as the caller knows them
    plain: Sequence[Any]  # what was passed: plain arrays, and Python scalars
    operands: Sequence[Array]  # the same, scalars in the computing dtype
    kinds: tuple[int, int]  # of the scale and the prior's, by SCALES; -1 for none
    dtype: np.dtype[Any]
    frame: Frame
    inputs: tuple[Array | None, ...]  # all that the core reads, as `inputs_of` has them
    floor: float = 0.0
    full: bool = True
    where: str = "where"  # the name of its mask, which a message may point to; empty for none
    x_scale: float = 1.0
    places: tuple[int, ...] = (0, 1, 2, 3)  # of the operands in the core's order


def evaluate(loss: Loss, grad: bool, given: Mapping[str, Any]) -> Any:
    """One loss by the rules; `given` has all parameters of its public function by name."""
    names = [name for name in loss.core[:2] if name] if loss.scales else list(loss.operands)
    passed = [given[name] for name in names]  # as the caller knows them
    kinds = [
        add_scale(names, passed, tuple([given.get(name) for name in scale.names]), scale.prefix)
        for scale in loss.scales
    ]
    plain = as_plain(names, passed)
    operands, dtype = as_computed(names, plain)
    axis, where, weight = given["axis"], given["where"], given["weight"]

    frame = joint_frame(loss.kernel, names, operands, axis)
    reduction = check_reduction(given["reduction"], axis, frame.shape)
    for name, operand in zip(names[2:], operands[2:], strict=True):
        check_fits(name, operand, frame)
    floor = variance_floor(given.get("min_var", 0.0))
    mask = None if where is None else as_mask(where, frame)
    weights = None if weight is None else as_weight(weight, dtype, frame)
    factor = x_factor(given.get("x_scale", 1.0), dtype)
    exact = 2 if loss.scales and factor == 1.0 else 0
    check_integers(names[exact:], operands[exact:], mask, frame.shape, shifted=bool(loss.scales))
    full = is_full(given.get("full", True))
    members = [name for name in loss.core if name] if loss.scales else list(loss.operands)
    call = Call(
        loss.kernel, "value", tuple(members[: len(operands)]), names, plain, operands,
        (kinds[0] if kinds else ANY_SIGN, kinds[1] if len(kinds) > 1 else -1), dtype, frame,
        inputs_of(operands, weights, mask), floor, full and "full" in loss.options, x_scale=factor,
        places=tuple([loss.core.index(name) for name in members]),
    )  # fmt: skip

    of_member = dict(zip(call.members, operands, strict=True))
    asked = asked_for(given["wrt"], loss.fields, of_member) if grad else ()
    shapes = {"value": frame.rows} | {name: of_member[name].shape for name in asked}
    out = given["out"]
    given_out, passed_out = given_arrays(out, loss.fields, grad, reduction, dtype, shapes, (names, plain))
    results = allocate(call, reduction, asked, given_out)
    check_first, copies = untangle(call, given_out, results) if given_out else (False, [])
    total = run(call, reduction, results, check_first)
    for target, result in copies:
        target[...] = result

    final = as_returned(results, passed_out)
    if reduction != "none":
        final["value"] = total
    return loss.result(*[final.get(name) for name in loss.fields]) if grad else final["value"]


# --- running ------------------------------------------------------------------------------------------------


def run(call: Call, reduction: str, results: dict[str, Array], check_first: bool) -> Any:
    """Fill `results`: the rows unless they are reduced, and the gradients asked for; the reduced value."""
    return carry_out(call, prepare(call, reduction, results, check_first), reduction, results)


def prepare(
    call: Call,
    reduction: str,
    results: dict[str, Array],
    check_first: bool,
    factor: float = 1.0,
    value_unit: float = 0.0,
    join: tuple[Array | None, float, Array, Array, float] | None = None,
) -> _core.Prepared | None:
    """The call as the core will run it, gradients times `factor`, with all memory that it takes: it may write
    over inputs, and memory must not run out then. None where there are no elements."""
    frame = call.frame
    if 0 in frame.shape:
        return None
    stretched = [_stretched(array, frame) for array in call.operands]
    gradients = [
        _spread(results[name], frame, writeable=True) if name in results else None for name in call.members
    ]
    views = _views(call)
    return _core.prepare(
        call.loss, call.dtype.char == "d", len(frame.events),
        (*_in_core_order(call, views[:4], None), *views[4:]), _in_core_order(call, stretched, 0), *call.kinds,
        call.floor, call.full, reduction, results.get(call.value), _in_core_order(call, gradients, None),
        check_first, get_num_threads, factor, call.x_scale, value_unit, join,
    )  # fmt: skip


def carry_out(call: Call, prepared: _core.Prepared | None, reduction: str, results: dict[str, Array]) -> Any:
    """Run what `prepare` made; the reduced value."""
    if prepared is None:
        return _fill_empty(call, results, reduction)
    total, bad = prepared.run()
    if bad:
        _raise_domain(call)
    return total


def check(call: Call, prepared: _core.Prepared | None) -> None:
    """Raise if a scale is not positive, and write nothing."""
    if prepared is not None and prepared.check():
        _raise_domain(call)


def inputs_of(
    operands: Sequence[Array], weight: Array | None, mask: Array | None
) -> tuple[Array | None, ...]:
    """All that the core reads, in its order: up to four operands, weight, where."""
    return (*_four(operands, None), weight, mask)


def _four(items: Sequence[Any], filler: Any) -> tuple[Any, ...]:
    return (*items, *[filler] * (4 - len(items)))


def _in_core_order(call: Call, items: Sequence[Any], filler: Any) -> tuple[Any, ...]:
    """What belongs to the operands, in the core's order."""
    found = [filler] * 4
    for place, item in zip(call.places, items, strict=False):
        found[place] = item
    return tuple(found)


def _views(call: Call) -> tuple[Array | None, ...]:
    return tuple([None if array is None else _spread(array, call.frame) for array in call.inputs])


def allocate(call: Call, reduction: str, asked: Iterable[str], given: dict[str, Array]) -> dict[str, Array]:
    """Where the core writes: arrays of the caller's, or new ones."""
    names = (call.value, *call.members)
    results = {name: array for name, array in given.items() if name in names}
    if reduction == "none" and call.value not in results:
        results[call.value] = np.empty(call.frame.rows, call.dtype)
    for name, operand in zip(call.members, call.operands, strict=True):
        if name in asked and name not in results:  # laid out like its argument, as NumPy's ufuncs do
            results[name] = np.empty_like(operand, dtype=call.dtype)
    return results


def as_returned(results: dict[str, Array], passed: dict[str, Any]) -> dict[str, Any]:
    """Given arrays are returned themselves, and other 0-d results are NumPy scalars."""
    return {name: array if array.ndim else array[()] for name, array in results.items()} | passed


# --- scales and dtypes --------------------------------------------------------------------------------------


def add_scale(names: list[str], passed: list[Any], scales: tuple[Any, ...] | None, prefix: str = "") -> int:
    """Append the scale that was passed to what is known of the call; its kind, or -1 without one.

    Exactly one form: std, variance and log-variance mixed up is the commonest bug in this field. A prior has
    at most one, and unit variance without; a loss that takes none has None for `scales`.
    """
    if scales is None:
        return -1
    found = [kind for kind, scale in enumerate(scales) if scale is not None]
    optional = prefix == "prior_"
    if len(found) > 1 or not (found or optional):
        choices = [prefix + name for name in SCALES]
        got = " and ".join([choices[kind] for kind in found]) or "none of them"
        how_many = "at most" if optional else "exactly"
        raise TypeError(f"give {WHOSE[prefix]} as {how_many} one of {', '.join(choices)}; got {got}")
    names += [prefix + SCALES[kind] for kind in found]
    passed += [scales[kind] for kind in found]
    return found[0] if found else -1


def _real(name: str, value: Any) -> Any:
    """`value` as a plain real ndarray; Python scalars come back as they are, being weak (NEP 50).

    Nobody looks at `value` again: a subclass may answer as it likes, and an array-like differently each time.
    """
    if type(value) is np.ndarray:
        array = value
    elif type(value) in (float, int, bool):
        if type(value) is int and abs(value) > sys.float_info.max:
            raise ValueError(f"{name} is an int beyond the range of float64")
        return value
    elif issubclass(type(value), np.ma.MaskedArray):
        mask = "z_where" if name.startswith("z_") else "where"
        left_out = {mask: f"{mask}.filled(False)", "weight": "weight.filled(0)"}.get(
            name, f"{name}.filled(...), or {name}.data and, in a loss that takes it, {mask}=~{name}.mask"
        )
        raise TypeError(f"{name} is a masked array, whose mask would be lost: pass {left_out}")
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:  # ragged lists
            raise ValueError(f"{name} does not make an array: {error}") from error
        except (RuntimeError, TypeError) as error:  # of tensors, which say the way out
            if isinstance(error, TypeError) and str(getattr(value, "dtype", "")) == "torch.bfloat16":
                raise TypeError(
                    f"{name} is a tensor of bfloat16, which NumPy lacks: pass {name}.float().numpy(), "
                    f"or {name}.view(torch.int16).numpy().view(ml_dtypes.bfloat16), which is read as it is"
                ) from error
            error.add_note(f"raised by np.asarray({name})")
            raise
    if not _is_real(array.dtype):
        found = "has"
        char = array.dtype.char if array.dtype.kind in "fcmM" else ""
        why = _NOT_REAL.get(char, "convert it, for example np.asarray({name}, np.float64)")
        if name in MASKS:
            raise TypeError(
                f"{name} must be boolean, not {array.dtype}: {_way_to_a_mask(name, value, array)}"
            )
        if array.dtype == object and hasattr(value, "to_numpy"):  # of pandas
            why = _way_from_pandas(value, array)
        if array.dtype == object and array.ndim == 0:  # nothing that NumPy takes for numbers
            of = "None" if value is None else f"a {type(value).__name__}"
            found, why = f"({of}) has", "pass a number or an array"
        why = why.format(name=name)
        raise TypeError(f"{name} {found} dtype {array.dtype}; it must be real, at most float64: {why}")
    return array


def _way_from_pandas(value: Any, array: Array) -> str:
    """What can be passed for a column that NumPy takes for objects: of missing values, or of strings."""
    if any(isinstance(item, str) for item in array.flat):
        if array.ndim > 1:  # a frame
            spelt, codes = "{name}.apply(pd.to_numeric)", ""
        else:
            spelt = "pd.to_numeric({name})"
            numbers = "{name}.cat.codes" if hasattr(value, "cat") else "pd.factorize({name})[0]"
            codes = f", or {numbers}, which are their numbers"
        return (
            f"of strings that spell numbers, pass {spelt}.to_numpy(np.float64); of categories, "
            f"pd.get_dummies({{name}}).to_numpy(np.float64), a feature for each{codes}"
        )
    present = "{name}.notna()" if hasattr(value, "notna") else "~{name}.isna()"
    return (
        "for missing values, pass {name}.to_numpy(np.float64, na_value=np.nan) and, "
        f"in a loss that takes it, where={present}"
    )


def _way_to_a_mask(name: str, value: Any, array: Array) -> str:
    kind = array.dtype.kind
    if not array.ndim:
        return "pass an array of True and False"
    if kind == "O" and hasattr(value, "fillna"):  # of pandas, with missing values
        return f"pass {name}.fillna(False).to_numpy(bool)"
    if kind in "mM":
        return f"pass ~np.isnat({name}) for what is no NaT"
    if kind in "cf":
        return f"pass np.not_equal({name}, 0)"
    true = {"O": True, "S": b"True", "U": "True"}.get(kind)
    if true:
        return f"pass np.equal({name}, {true!r}), for example"
    return "pass an array of True and False"


def _is_real(dtype: np.dtype[Any]) -> bool:
    """Kind and char: those of dtypes that packages add may have either in common with NumPy's own."""
    return (dtype.kind in "biuf" and dtype.char in REAL) or _is_bfloat16(dtype)


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """That of the package ml_dtypes, which need not be installed."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def as_plain(names: Sequence[str], passed: Sequence[Any]) -> list[Any]:
    """The arguments as plain real arrays, and Python scalars."""
    return [_real(name, value) for name, value in zip(names, passed, strict=True)]


def as_operands(names: Sequence[str], passed: Sequence[Any]) -> tuple[list[Array], np.dtype[Any]]:
    """The arguments as arrays, and the computing dtype."""
    return as_computed(names, as_plain(names, passed))


def as_computed(names: Sequence[str], values: Sequence[Any]) -> tuple[list[Array], np.dtype[Any]]:
    """Plain arrays and scalars as arrays, and the computing dtype: NumPy's own promotion, but float32 or
    float64.

    bfloat16 counts as float16, of which NumPy knows how it goes with all others.
    """
    dtype = np.result_type(
        *[np.float16 if type(v) is np.ndarray and _is_bfloat16(v.dtype) else v for v in values]
    )
    dtype = np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float64)
    return [_array(name, value, dtype) for name, value in zip(names, values, strict=True)], dtype


def _array(name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """Scalars take the computing dtype here, rounded, but none becomes infinite by it; arrays keep theirs.

    And so do integers that float64 would round: the core subtracts them as they are, and `check_integers`
    says where it can't.
    """
    if type(value) is np.ndarray and (value.ndim or value.dtype == dtype):
        return value
    with np.errstate(all="ignore"):
        array = np.asarray(value, dtype)
    if type(value) is not np.ndarray and not np.isfinite(array) and math.isfinite(value):
        raise ValueError(
            f"{name} is {value!r}, which is {array} in {dtype}: pass np.float64({name}), and all is computed "
            "in float64"
        )
    if dtype.char == "d" and (type(value) is int or (type(value) is np.ndarray and value.dtype.kind in "iu")):
        whole = int(value)
        if whole != int(array):
            if not -(1 << 63) <= whole < 1 << 64:
                raise ValueError(
                    f"{name} is {whole}, which float64 would round: pass float({name}) if it may"
                )
            return np.asarray(value)
    return array


def check_integers(
    names: Sequence[str],
    operands: Sequence[Array],
    mask: Array | None = None,
    shape: Shape = (),
    shifted: bool = True,
) -> None:
    """No integer that float64 would round: digits lost here may be all that the result is made of.

    shifted: data and means count by their differences, so that an offset may be subtracted from all.
    """
    for name, array in zip(names, operands, strict=True):
        if array.dtype.kind not in "iu" or array.dtype.itemsize < 8:
            continue
        flat = _first(array, _is_rounded, mask, shape or array.shape)
        if flat is not None:
            index = [int(i) for i in np.unravel_index(flat, array.shape)]
            first = "subtract an offset first, or " if shifted and name in SHIFTED else ""
            raise ValueError(
                f"{name} has integers that float64 would round: {name}{index or ''} is {array.flat[flat]}; "
                f"{first}pass np.asarray({name}, np.float64) if they may be rounded"
            )


def _is_rounded(x: Array) -> Array:
    """Whether float64 lacks digits of 64-bit integers: the lower 11 bits go apart, so nothing overflows."""
    low = x & x.dtype.type(0x7FF)
    rest = (x - low).astype(np.float64) - x.astype(np.float64) + low.astype(np.float64)
    lacking: Array = rest != 0
    return lacking


# --- shapes -------------------------------------------------------------------------------------------------


def joint_frame(
    loss: str, names: Sequence[str], operands: Sequence[Array], axis: Any, axis_name: str = "axis"
) -> Frame:
    """The frame of two operands whose shapes are equal, or one of which lacks leading axes of the other."""
    (a_name, b_name), (a, b) = names[:2], (operands[0].shape, operands[1].shape)
    if loss == "kl" and not a and not _fits(operands[2].shape, b):
        a = operands[2].shape  # a scalar mean stands for a constant mean of the scale's shape
    shape = a if a == b else _joint_shape(a_name, b_name, a, b)
    data = f"{a_name} and {b_name}"
    events = event_axes(axis, shape, data, axis_name)
    if len(a) != len(b) and a and b and not counts_from_the_end(axis):  # a scalar has no axes to be counted
        own = a if all(-len(a) <= i < len(a) for i in as_tuple(axis)) else shape
        way_out = tuple([i - len(own) for i in event_axes(axis, own, data, axis_name)])
        raise ValueError(
            f"{axis_name}={axis!r} may count from the wrong end: {a_name} has {len(a)} axes, "
            f"{b_name} {len(b)}; pass {axis_name}={way_out}"
        )
    return frame_of(data, shape, events)


def frame_of(data: str, shape: Shape, events: Shape) -> Frame:
    """Rows are the axes that are no event axes."""
    row_axes = tuple([i for i in range(len(shape)) if i not in events])
    order = None if not events or events[0] == len(row_axes) else row_axes + events
    return Frame(data, shape, events, tuple([shape[i] for i in row_axes]), order)


def _joint_shape(a_name: str, b_name: str, a: Shape, b: Shape) -> Shape:
    """One may lack leading axes of the other, but size-1 axes are never stretched.

    By NumPy's rule (N, 1) against (N,) is an N x N loss, which fits a slope of 0 to y = 2x.
    """
    (name, shape), (short_name, short) = ((a_name, a), (b_name, b))[:: 1 if len(a) >= len(b) else -1]
    if shape[len(shape) - len(short) :] == short:
        return shape
    raise ValueError(
        f"{a_name} has shape {a} and {b_name} has shape {b}; they must be equal, or one may lack leading "
        f"axes of the other{mismatch(name, shape, short_name, short)}"
    )


def mismatch(name: str, shape: Shape, short_name: str, short: Shape, samples: bool = True) -> str:
    """The way out for two shapes that do not match, after a colon; empty where none suggests itself.

    samples: `name` may have an axis of them. np.reshape and its like take lists and columns of pandas too.
    """
    if shape == (*short, 1):
        return f": pass np.reshape({name}, {short}), or np.reshape({short_name}, {shape})"
    if shape[len(shape) - len(short) :] == short:
        return f": pass np.broadcast_to({short_name}, {shape}) if you mean that"
    if all(1 in (m, n) or m == n for m, n in zip(reversed(shape), reversed(short), strict=False)):
        stretched = f"np.broadcast_to({short_name}, {shape})"
        if not _fits(short, shape):
            stretched = f"np.broadcast_arrays({name}, {short_name})"
        return f": size-1 axes are not stretched; if you mean that, use {stretched}"
    if shape == short[::-1]:
        return f": pass np.asarray({short_name}).T if its axes are in the other order"
    if shape[0] == short[0] and math.prod(shape) == math.prod(short):
        return f": pass np.reshape({name}, {short})"
    ways_out = []
    if shape[:-1] == short:
        repeated = f"np.broadcast_to(np.reshape({short_name}, {(*short, 1)}), {shape})"
        ways_out = [f"{repeated} if {short_name} is the same along the last axis"]
    for i in range(1, len(shape) if samples and (len(short) > 1 or short_name == "x" or not ways_out) else 0):
        if shape[:i] + shape[i + 1 :] == short:
            ways_out += [f"np.moveaxis({name}, {i}, 0) if its axis {i} is that of the samples"]
            break
    return f": pass {', or '.join(ways_out)}" if ways_out else ""


def event_axes(axis: Any, shape: Shape, data: str, name: str = "axis") -> Shape:
    """The axes that are summed, sorted; 0-d data is one event of size 1, as for NumPy's reductions."""
    ndim = len(shape)
    if axis is DEFAULT_AXIS:
        return (ndim - 1,) if ndim else ()
    if axis is None:
        return tuple(range(ndim))
    try:
        if any(isinstance(i, bool) for i in as_tuple(axis)):
            raise TypeError
        axes = [operator.index(i) for i in as_tuple(axis)]
    except TypeError:
        raise TypeError(f"{name} must be an int, a tuple of ints, () or None, not {axis!r}") from None
    span = ndim or 1
    for i in axes:
        if not -span <= i < span:
            raise np.exceptions.AxisError(f"{name} {i} is out of bounds for {data} of shape {shape}")
    events = sorted({i % span for i in axes})
    if len(events) < len(axes):
        raise ValueError(f"{name}={axis!r} names an axis twice")
    return tuple(events) if ndim else ()


def as_tuple(axis: Any) -> tuple[Any, ...]:
    return axis if type(axis) is tuple else (axis,)


def counts_from_the_end(axis: Any) -> bool:
    return axis is None or all(i < 0 for i in as_tuple(axis))


def check_reduction(reduction: Any, axis: Any, shape: Shape) -> str:
    """The reduction, as a plain string."""
    name = choice("reduction", reduction, REDUCTIONS)
    if name != "none":
        check_one_event(f"reduction={name!r} of 1-D data", axis, shape)
    return name


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """The one of `choices` that `value` is, of whatever subclass of str."""
    if isinstance(value, str) and value in choices:
        return choices[choices.index(value)]
    few = len(choices) == 2
    listed = (" or " if few else ", ").join([repr(one) for one in choices])
    raise ValueError(f"{name} must be {'' if few else 'one of '}{listed}, not {value!r}")


def is_full(full: Any) -> bool:
    if isinstance(full, (bool, np.bool_)):
        return bool(full)
    raise TypeError(f"full must be True or False, not {full!r}")


def check_one_event(what: str, axis: Any, shape: Shape) -> None:
    """1-D data are an event, or a batch of numbers: where that changes the result, someone has to say it."""
    if axis is DEFAULT_AXIS and len(shape) == 1:
        size = shape[0]
        raise ValueError(
            f"{what}, axis not given: one event of size {size}, or {size} observations? "
            "pass axis=-1 or axis=()"
        )


def check_fits(name: str, array: Array, frame: Frame) -> None:
    """NumPy's broadcasting, but never beyond the data's shape: a scale must not add rows to the loss."""
    own, shape = array.shape, frame.shape
    if own == shape or not own or _fits(own, shape):
        return
    if own == frame.rows:
        way_out = f"one for each row is np.reshape({name}, {_with_events(own, frame)})"
        way_out += f", as {own} is one for each element of the last axis" if len(own) == 1 else ""
    elif placed := _placed(own, shape):
        fits = [fit[next((i for i, n in enumerate(fit) if n != 1), 0) :] for fit in placed]
        way_out = " or ".join([f"np.reshape({name}, {fit})" for fit in fits])
        axes = [str(i) for i, n in enumerate(placed[0]) if n != 1 and len(placed) == 1]
        along = f"along ax{'is' if len(axes) == 1 else 'es'} {', '.join(axes)} of them" if axes else ""
        way_out = f"{along or 'with size-1 axes'} it is {way_out}"
    elif len(own) > len(shape) or _fits(shape, own):
        verb = "are" if " and " in frame.data else "is"
        way_out = f"{frame.data} {verb} not broadcast to {name}; if you mean that, use np.broadcast_to"
    else:
        rows = _with_events(frame.rows, frame)
        way_out = f"a scalar, {shape[-1:]}, {rows} or {shape} would, for example"
    raise ValueError(
        f"{name} has shape {own}, which does not broadcast to {shape}, the shape of {frame.data}: {way_out}"
    )


def _fits(own: Shape, shape: Shape) -> bool:
    """Whether `own` broadcasts to exactly `shape`."""
    return len(own) <= len(shape) and all(
        n in (1, m) for n, m in zip(reversed(own), reversed(shape), strict=False)
    )


def _placed(own: Shape, shape: Shape) -> list[Shape]:
    """`own` with size-1 axes put in, so that it broadcasts to `shape`: as far behind, and as far ahead, as
    its sizes let it. One shape where that is the same, none where it is impossible."""
    if len(own) >= len(shape):
        return []
    behind, ahead = _leftmost(own[::-1], shape[::-1]), _leftmost(own, shape)
    return list(dict.fromkeys((behind[::-1], ahead))) if behind and ahead else []


def _leftmost(own: Shape, shape: Shape) -> Shape:
    sizes = list(own)
    placed = tuple([sizes.pop(0) if sizes and sizes[0] in (1, n) else 1 for n in shape])
    return () if sizes else placed


def _with_events(rows: Shape, frame: Frame) -> Shape:
    """The rows' shape with a size-1 axis for each event axis."""
    sizes = iter(rows)
    return tuple([1 if i in frame.events else next(sizes) for i in range(len(frame.shape))])


def as_weight(weight: Any, dtype: np.dtype[Any], frame: Frame) -> Array:
    """The rows' shape, or as many axes as the data: told by the number alone, so N = D changes no meaning."""
    array = _array("weight", _real("weight", weight), dtype)
    own, shape = array.shape, frame.shape
    if len(own) == len(shape) and _fits(own, shape):
        return array
    if own == frame.rows:
        return along_rows(array, frame)
    rows, placed = frame.rows, _placed(own, shape)
    way_out = "" if own else "multiply the result by a scalar. "
    if own and placed:
        ways = " or ".join([f"np.reshape(weight, {candidate})" for candidate in placed])
        way_out = f"did you mean {ways}? "
        if len(own) == len(rows) == 1 and _fits(own, shape):
            way_out += f"In a batch of {own[0]} rows it would have weighted those. "
    features = tuple([n if i in frame.events else 1 for i, n in enumerate(shape)])
    kinds = {"rows": rows, "features": features} if rows and frame.events else {}
    shapes = ", ".join([f"{fit} to weight {what}" for what, fit in (kinds | {"elements": shape}).items()])
    raise ValueError(
        f"weight has shape {own}, and {frame.data} have shape {shape}: {way_out}Pass shape {shapes}; "
        "with as many axes as the data, any may be 1"
    )


def row_weight(weight: Any, dtype: np.dtype[Any], rows: Shape, why: str) -> Array:
    """One weight a row, for losses that share their rows but not their events."""
    array = _array("weight", _real("weight", weight), dtype)
    if array.shape == rows:
        return array
    way_out = "" if array.ndim else "; multiply the result by a scalar"
    if array.ndim and array.size == math.prod(rows):
        way_out = f": pass np.reshape(weight, {rows})"
    raise ValueError(
        f"weight has shape {array.shape}; it must have that of the rows, {rows}, as {why}{way_out}"
    )


def along_rows(array: Array, frame: Frame) -> Array:
    """`array` of the rows' shape, or that of the last of them, with a size-1 axis for each event axis."""
    lacking = len(frame.rows) - array.ndim
    axes = range(lacking, len(frame.shape))
    return array[(..., *[np.newaxis if i in frame.events else slice(None) for i in axes])]


def as_mask(where: Any, frame: Frame, name: str = "where", weight: bool = True) -> Array:
    """weight: the loss takes one that can stand in for this mask."""
    mask = _real(name, where)
    mask = mask if type(mask) is np.ndarray else np.asarray(mask)
    if mask.dtype.char != "?":
        instead = ", or use weight" if weight else ""
        raise TypeError(f"{name} must be boolean, not {mask.dtype}: pass np.not_equal({name}, 0){instead}")
    check_fits(name, mask, frame)
    return mask


def number(name: str, value: Any, what: str, positive: bool = False, instead: _WayOut = "") -> float:
    """A finite number >= 0, or > 0; `instead`: the way out for arrays."""
    real = _one_number(name, value, instead)
    if not 0.0 <= float(real) < math.inf or (positive and real == 0):
        raise ValueError(f"{name} must be a finite {what} {'>' if positive else '>='} 0, not {value!r}")
    return float(real)


def _one_number(name: str, value: Any, instead: _WayOut) -> Any:
    """A real number, which True and False are not."""
    real = _real(name, value)
    if np.ndim(real):
        way_out = instead(real.shape) if callable(instead) else instead
        if real.size == 1:
            way_out = f"pass {name}.item()" if hasattr(value, "item") else f"pass {name}{'[0]' * real.ndim}"
        way_out = f": {way_out}" if way_out else ""
        raise ValueError(f"{name} must be one number, not an array of shape {real.shape}{way_out}")
    if type(real) is bool or (type(real) is np.ndarray and real.dtype.char == "?"):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return real


def variance_floor(min_var: Any) -> float:
    return number("min_var", min_var, "variance", instead="pass var=np.maximum(var, min_var)")


def x_factor(x_scale: Any, dtype: np.dtype[Any]) -> float:
    """`x_scale` as a number of the computing dtype, which it takes as Python scalars do."""
    if type(x_scale) is float and x_scale == 1.0:
        return 1.0
    real = _one_number("x_scale", x_scale, "multiply x by it")
    with np.errstate(all="ignore"):
        factor = float(dtype.type(real))
    if not math.isfinite(factor) or factor == 0:
        rounded = f", which is {factor} in {dtype}" if math.isfinite(real) and real != 0 else ""
        raise ValueError(f"x_scale must be finite and not 0, not {x_scale!r}{rounded}")
    return factor


def _spread(array: Array, frame: Frame, writeable: bool = False) -> Array:
    """`array` broadcast to the common shape, rows first: a view, never a copy.

    As np.broadcast_to and as_strided would do, at half their price.
    """
    if array.shape != frame.shape:
        access: Any = [["readwrite" if writeable else "readonly"]]
        flags: Any = ["multi_index", "reduce_ok"]
        array = np.nditer([array], flags, access, itershape=frame.shape, order="C").itviews[0]
    return array if frame.order is None else array.transpose(frame.order)


def _stretched(array: Array, frame: Frame) -> int:
    """The axes, in the core's order, an argument is broadcast along, as bits: by shape, never by strides.

    The core derives from these bits, and from nothing else, how it sums: so a layout never changes a result.
    """
    own, shape = array.shape, frame.shape
    if own == shape:
        return 0
    lacking, order = len(shape) - len(own), frame.order or range(len(shape))
    bits = 0
    for bit, i in enumerate(order):
        if i < lacking or own[i - lacking] != shape[i]:
            bits |= 1 << bit
    return bits


def _fill_empty(call: Call, results: dict[str, Array], reduction: str) -> float:
    """No elements: values of empty events and gradients of broadcast arguments are empty sums."""
    for result in results.values():
        result.fill(0)
    return math.nan if reduction == "mean" and 0 in call.frame.rows else 0.0


# --- out ----------------------------------------------------------------------------------------------------


def asked_for(
    wrt: str | Iterable[str], fields: tuple[str, ...], members: dict[str, Array]
) -> tuple[str, ...]:
    """The gradients asked for, each once."""
    choices = ", ".join([repr(name) for name in fields if name not in VALUES])
    try:
        asked = (wrt,) if isinstance(wrt, str) else tuple(dict.fromkeys(wrt))
    except TypeError:
        raise TypeError(f"wrt must be one name or several of {choices}, not {wrt!r}") from None
    for name in asked:
        if name not in members:
            if name == "prior_scale" and name in fields:
                raise ValueError(
                    "wrt names 'prior_scale', but no prior scale was passed: pass prior_var=1.0, say"
                )
            whose = [prefix for prefix in WHOSE if name in [prefix + form for form in SCALES]]
            hints = [
                f"; {WHOSE[prefix]}'s gradient is '{prefix}scale' whatever its form"
                for prefix in whose
                if f"{prefix}scale" in fields
            ]
            alike = [repr(field) for field in ALIKE.get(name, ()) if field in fields]
            hint = "".join(hints) + (f"; did you mean {' or '.join(alike)}?" if alike else "")
            raise ValueError(f"wrt must name some of {choices}, not {name!r}{hint}")
    return asked


def given_arrays(
    out: Any,
    fields: tuple[str, ...],
    grad: bool,
    reduction: str,
    dtype: np.dtype[Any],
    shapes: dict[str, Shape],
    arguments: tuple[Sequence[str], Sequence[Any]],
) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays in `out` by name, checked, and the same as they were passed; none if `out` is None.

    The core writes through their pointers without a further look: so all is read off plain views, made once,
    as the attributes of a subclass are its own affair. `shapes` has the values and the gradients asked for,
    `arguments` what makes the dtype: names and plain values.
    """
    if out is None:
        return {}, {}
    if not grad:
        labels, out = {"value": "out"}, (out,)
    elif not isinstance(out, tuple):
        raise TypeError(f"out must be a tuple ({', '.join(fields)}), or None, not {type(out).__name__}")
    elif len(out) != len(fields):
        raise ValueError(f"out must have {len(fields)} members ({', '.join(fields)}), not {len(out)}")
    else:
        labels = {name: f"out[{i}] ({name})" for i, name in enumerate(fields)}
    passed = {name: array for name, array in zip(labels, out, strict=True) if array is not None}
    for name, array in passed.items():
        if not _writes_through(array):
            raise TypeError(f"{labels[name]} must be a NumPy array or None, not {type(array).__name__}")
    given = {name: np.asarray(array) for name, array in passed.items()}
    for name, array in given.items():
        if name in VALUES and reduction != "none":
            fault = f"must be None: with reduction={reduction!r} the value is a Python float"
        elif name not in shapes:
            fault = f"is given, but wrt does not name {name!r}"
        elif array.dtype != dtype:
            fault = f"must have the computing dtype, native {dtype}, not {array.dtype}"
            fault += _asked_for_double(*arguments) if array.dtype == np.float32 else ""
        elif array.shape != shapes[name]:
            fault = f"must have shape {shapes[name]}, not {array.shape}"
        elif not array.flags.writeable:
            fault = "is read-only"
        elif not array.flags.aligned:
            fault = "is not aligned"
        elif _overlaps_itself(array):
            fault = "overlaps itself in memory, as np.broadcast_to's results do"
        else:
            continue
        raise ValueError(f"{labels[name]} {fault}")
    for one, two in itertools.combinations(given, 2):
        if _share_memory(given[one], given[two]):
            raise ValueError(f"{labels[one]} and {labels[two]} overlap in memory")
    return given, passed


def _asked_for_double(names: Sequence[str], plain: Sequence[Any]) -> str:
    """Which argument made float64 of float32, and the way out."""
    arrays = [(name, value) for name, value in zip(names, plain, strict=True) if type(value) is np.ndarray]
    wide = [(name, value) for name, value in arrays if np.result_type(value, np.float32) == np.float64]
    if not wide:
        return ""
    causes = ", ".join([f"{name} is {value.dtype}" for name, value in wide])
    ways_out = [f"np.asarray({name}, np.float32)" if value.ndim else f"float({name})" for name, value in wide]
    return f": {causes}; pass {', '.join(ways_out)} to compute in float32"


def _writes_through(array: Any) -> bool:
    """np.memmap does, say; a masked array would keep its mask. By type: `__class__` may be anything."""
    return issubclass(type(array), np.ndarray) and not issubclass(type(array), np.ma.MaskedArray)


def _overlaps_itself(array: Array) -> bool:
    if array.flags.forc or array.size < 2:
        return False
    axes = sorted([(abs(step), n) for step, n in zip(array.strides, array.shape, strict=True) if n > 1])
    extent = array.itemsize
    for step, n in axes:
        if step < extent:
            break
        extent += step * (n - 1)
    else:
        return False  # every axis steps over all the smaller ones
    if not axes[0][0]:
        return True
    # Interleaved axes, from as_strided: are the (aligned) addresses distinct?
    offsets = functools.reduce(np.add.outer, [step * np.arange(n) for step, n in axes])
    return np.unique(offsets).size < array.size


def share_memory(some: Iterable[Array], others: Iterable[Array | None]) -> bool:
    """Whether any two of them overlap."""
    pairs = itertools.product(some, others)
    return any(two is not None and _share_memory(one, two) for one, two in pairs)


def scalars_of(call: Call) -> list[Array]:
    """Arrays without axes, as passed: the core reads copies of them, and yet no error may change them."""
    return [value for value in call.plain if type(value) is np.ndarray and not value.ndim]


def _share_memory(one: Array, two: Array) -> bool:
    if one is two or not np.may_share_memory(one, two):
        return one is two and one.size > 0
    try:
        return np.shares_memory(one, two, max_work=OVERLAP_WORK)  # type: ignore[arg-type]  # any int
    except np.exceptions.TooHardError:
        return True


def untangle(
    call: Call, given: dict[str, Array], results: dict[str, Array], later: Iterable[Array | None] = ()
) -> tuple[bool, list[tuple[Array, Array]]]:
    """Outputs that share memory with inputs: whether to check the domain first, and what to copy in the end.

    In place is right only where output and input are the same element by element, unsummed: the core reads an
    element before it writes it. Any other overlap goes by a fresh array in `results`, copied after success;
    and so does one with what is read `later`, after this call.
    """
    check_first = share_memory(given.values(), scalars_of(call))
    copies: list[tuple[Array, Array]] = []
    frame, arrays = call.frame, call.inputs
    views = arrays if 0 in frame.shape else _views(call)
    for name, target in given.items():
        if name not in results:
            continue
        shared = [
            view
            for array, view in zip(arrays, views, strict=True)
            if array is not None and view is not None and _share_memory(target, array)
        ]
        kept = share_memory([target], later)
        if not shared and not kept:
            continue
        view = results[name]
        if not kept and view.size == math.prod(frame.shape):
            view = (
                view[(..., *[np.newaxis] * len(frame.events))] if name == call.value else _spread(view, frame)
            )
            if all(_same_elements(view, other) for other in shared):
                check_first = True
                continue
        results[name] = np.empty_like(results[name], shape=target.shape)
        copies.append((target, results[name]))
    return check_first, copies


def _same_elements(one: Array, two: Array) -> bool:
    return one is two or (
        one.dtype == two.dtype
        and one.__array_interface__["data"][0] == two.__array_interface__["data"][0]
        and all(n == 1 or s == t for n, s, t in zip(one.shape, one.strides, two.strides, strict=True))
    )


# --- domain -------------------------------------------------------------------------------------------------


def _raise_domain(call: Call) -> NoReturn:
    """The core met a scale that is not positive: name the first, in C order of the argument as passed."""
    names = call.names[2:]
    for name, value, scale, kind in zip(names, call.plain[2:], call.operands[2:], call.kinds, strict=False):
        form = SCALES[kind]
        if form.startswith("log"):
            continue
        lifted = (
            call.floor > 0.0 and form != "precision"
        )  # what is not negative; min_var only caps a precision
        flat = _first(scale, _is_negative if lifted else _is_not_positive, call.inputs[-1], call.frame.shape)
        if flat is None:
            continue
        index = [int(i) for i in np.unravel_index(flat, scale.shape)]
        shown = str(scale.flat[flat])
        negative, prefix = scale.flat[flat] < 0 and form in ("var", "std"), name[: -len(form)]
        ways_out = [f"pass it as {prefix}log{form} if it is a logarithm"] if negative else []
        if not index and type(value) in (float, int) and value > 0:
            shown = f"{value!r}, which is 0 in {scale.dtype}"
            ways_out = [f"pass np.float64({name}) to compute in float64"]
        elif call.loss == "sample" and form in ("var", "std") and not negative:
            ways_out += [f"pass log{form}, which is -np.inf for a σ of 0"]
        ways_out += [f"use {call.where} to leave elements out"] if call.where else []
        ways_out += (
            ["min_var for a floor"] if call.loss == "nll" and form != "precision" and not negative else []
        )
        hint = f" ({', '.join(ways_out)})" if ways_out else ""
        raise ValueError(f"{name} must be > 0: {name}{index or ''} is {shown}{hint}")
    raise ValueError(f"{' and '.join(names)} must be > 0; an argument was changed during the call")


def _is_not_positive(x: Array) -> Array:
    bad: Array = x <= 0
    return bad


def _is_negative(x: Array) -> Array:
    bad: Array = x < 0
    return bad


def _first(array: Array, is_bad: Callable[[Array], Array], mask: Array | None, shape: Shape) -> int | None:
    """Flat index of the first bad element that counts: as one does if any it is broadcast to does."""
    counts = None
    if mask is not None:
        padded = (1,) * (len(shape) - array.ndim) + array.shape
        stretched = tuple([i for i, n in enumerate(padded) if n == 1])
        mask = mask[(np.newaxis,) * (len(shape) - mask.ndim)]
        if stretched:
            mask = np.any(mask, axis=stretched, keepdims=True)
        counts = np.broadcast_to(mask, padded)[(0,) * (len(shape) - array.ndim)]
    for start in range(0, array.size, CHUNK):
        bad = is_bad(array.flat[start : start + CHUNK])
        if counts is not None:
            bad &= counts.flat[start : start + CHUNK]
        if bad.any():
            return start + int(bad.argmax())
    return None


# --- samples and objectives ---------------------------------------------------------------------------------


def latents(name: str, scale: Array, mean_shape: Shape) -> Frame:
    """The frame of μ and σ, without samples; a scalar mean takes the scale's shape, as in the KL."""
    shape = mean_shape or scale.shape
    frame = frame_of("mean", shape, (len(shape) - 1,) if shape else ())
    check_fits(name, scale, frame)
    return frame


def sampled(name: str, shape: Shape, frame: Frame, n_samples: int | None = None) -> Frame:
    """The frame of z, of `shape`: that of the latents, or with one axis of samples before theirs."""
    lead = len(shape) - len(frame.shape)
    counts = (None, *shape[:1]) if lead else (None,)
    if lead not in (0, 1) or shape[lead:] != frame.shape or n_samples not in counts:
        wanted = f"(S, {str(frame.shape)[1:]}" if frame.shape else "(S,)"
        either = f"{frame.shape}, or {wanted} for S samples"
        expected = either if n_samples is None else f"{(n_samples, *frame.shape)}, n_samples first"
        raise ValueError(
            f"{name} has shape {shape}; for a {frame.data} of shape {frame.shape} it must have {expected}"
        )
    return frame_of("z", shape, ())


def count_of(name: str, value: Any) -> int:
    """A number of samples, or of elements."""
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {value!r}") from None
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return count


def shape_of(name: str, sizes: Any) -> Shape:
    """A shape passed as an argument, an int or a tuple of them, as NumPy takes it."""
    try:
        return tuple([operator.index(n) for n in (sizes if isinstance(sizes, tuple) else (sizes,))])
    except TypeError:
        raise TypeError(f"{name} must be a tuple of ints, not {sizes!r}") from None


def latents_behind(name: str, scale: Array, mean_shape: Shape | None, z: Shape) -> Frame:
    """The frame of μ and σ behind a gradient of shape `z`; an error where rows and samples look alike."""
    own = scale.shape
    if mean_shape is not None:
        return latents(name, scale, mean_shape)
    if z not in (own, (*z[:1], *own)):
        fault = "is not that, nor that of samples of it"
    elif z != own and len(own) < 2:
        fault = f"may be {z[0]} samples as well as rows that share it"
    else:
        return latents(name, scale, own)
    raise ValueError(
        f"{name} has shape {own}, and grad_z, of shape {z}, {fault}: "
        "pass mean_shape, the shape of the mean that went into reparameterize"
    )


def sample_call(name: str, value: Any, operands: Sequence[Array], dtype: np.dtype[Any], frame: Frame) -> Call:
    """A call that the core has no part in: two operands and the scale, passed as `value`."""
    kinds, names, plain = (SCALES.index(name), -1), ("", "", name), (None, None, value)
    inputs = inputs_of(operands, None, None)
    return Call("sample", "", (), names, plain, operands, kinds, dtype, frame, inputs, where="")


def check_positive(call: Call) -> None:
    """var, std, precision > 0, looked at before anything is written or drawn."""
    scale, linear = call.operands[2], not call.names[2].startswith("log")
    if linear and scale.size and np.fmin.reduce(scale, axis=None) <= 0:
        _raise_domain(call)


def places(
    out: Any,
    fields: tuple[str, ...],
    call: Call,
    shapes: dict[str, Shape],
    arguments: tuple[Sequence[str], Sequence[Any]],
) -> tuple[dict[str, Array], dict[str, Any], dict[str, Array], list[tuple[Array, Array]]]:
    """Where to write results of these shapes: the arrays of `out`, plain and as passed, the results, what to
    copy in the end."""
    given, passed = given_arrays(out, fields, True, "none", call.dtype, shapes, arguments)
    results = dict(given)
    _, copies = untangle(call, given, results) if given else (False, [])
    results = {name: np.empty(shape, call.dtype) for name, shape in shapes.items()} | results
    return given, passed, results, copies
