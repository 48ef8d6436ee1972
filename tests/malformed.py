"""Calls of every function that are wrong or odd somewhere: what can vary, crossed with the arguments."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import arenas
import calls
import contract
import declared
import oddities
import signatures
import variance

MEMORY = arenas.Arenas()
DTYPES = [np.dtype(code) for code in "?bBhHiIqQefd"]
LEAST = 300  # cases of each function


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of a right call of a declared loss."""
    loss = declared.LOSSES[name]
    found: dict[str, tuple[int, ...]] = dict.fromkeys(loss.operands[:2], (3, 4))
    if not loss.scales:
        return found | {loss.operands[1]: (2, 3, 4), "weight": (2, 3), "where": (3, 4)}
    for i, scale in enumerate(loss.scales):
        found[declared.forms(scale)[-i]] = ((3, 4), (3, 1))[i]
    found |= {loss.number: (4,)} if loss.number else {}
    several = len(loss.scales) > 1
    return found | {"weight": (3, 4) if several else (3,), "where": (4,) if several else (3, 4)}


#: A right call of each function; the shapes of its arrays.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    **{name: shapes_of(name) for name in declared.LOSSES},
    "neg_elbo": {
        "x": (3, 4), "recon": (2, 3, 4), "precision": (2, 3, 4), "z_mean": (3, 5), "z_var": (3, 1),
        "prior_mean": (3, 5), "prior_logstd": (5,), "weight": (3,), "where": (3, 4),
    },
    "optimal_nll": {"x": (3, 4), "mean": (3, 4)},
    "optimal_var": {"x": (3, 4), "mean": (3, 4)},
    "reparameterize": {"mean": (3, 4), "std": (3, 4), "eps": (2, 3, 4)},
    "reparameterize_grad": {"grad_z": (2, 3, 4), "eps": (2, 3, 4), "logstd": (3, 4)},
    "iwae_bound": {"log_w": (3, 4)},
    "free_bits": {"kl": (3, 4)},
}  # fmt: skip
SHAPES |= {name: SHAPES[name.removesuffix("_grad")] for name in signatures.FUNCTIONS if name not in SHAPES}
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: declared.parameters(loss)[-1] for name, loss in declared.LOSSES.items()},
    "free_bits": {"min_kl": 0.5, "per": "dim", "average": "first"},
    "reparameterize_grad": {"mean_shape": (3, 4)},
    "neg_elbo": {"reduction": "none"},
}
OPTIONS |= {
    name: OPTIONS.get(name.removesuffix("_grad"), {}) for name in signatures.FUNCTIONS if name not in OPTIONS
}
#: Shapes of one argument, from that of a right one: an axis more or less, sizes ± 1, 0 and 1, other orders.
RESHAPED: list[Callable[[tuple[int, ...]], tuple[int, ...]]] = [
    lambda s: (),
    lambda s: (0,),
    lambda s: (1,),
    lambda s: s[1:],
    lambda s: s[:-1],
    lambda s: (1, *s),
    lambda s: (2, *s),
    lambda s: (*s, 1),
    lambda s: (1, 1, 1, 1, 1),
    lambda s: (*(2,) * (5 - len(s)), *s),
    lambda s: s[::-1],
    lambda s: (int(np.prod(s)),),
    lambda s: (0, *s[1:]),
    lambda s: (*s[:-1], 0),
    lambda s: (*s[:-1], 1),
    lambda s: (1, *s[1:]),
    lambda s: (s[0] + 1, *s[1:]),
    lambda s: (s[0] - 1, *s[1:]),
    lambda s: (*s[:-1], s[-1] + 1),
    lambda s: (*s[:-1], s[-1] - 1),
]
#: Order of the axes (innermost first: 1), steps along them, place in the arena, bytes off, writeable
LAYOUTS: dict[str, tuple[int, tuple[int, ...], str, int, bool]] = {
    "C, at the end": (-1, (1,), "end", 0, True),
    "C, at the start": (-1, (1,), "start", 0, True),
    "Fortran": (1, (1,), "end", 0, True),
    "steps": (-1, (2, 3), "end", 0, True),
    "reversed": (-1, (-1,), "start", 0, True),
    "mixed": (1, (-2, 1, -1), "between", 0, True),
    "repeated": (-1, (0,), "end", 0, True),
    "rows repeated": (-1, (1, 0, 0), "start", 0, True),
    "unaligned": (-1, (1,), "between", 1, True),
    "read-only": (-1, (1,), "end", 0, False),
}
AXES: tuple[Any, ...] = (None, (), 0, -1, (0, -1), (1,), (-2, -1), np.int64(-1))
FRAMES = (
    (),
    (1,),
    (5,),
    (0,),
    (0, 3),
    (3, 0),
    (2, 0, 3),
    (2, 3, 2),
    (1, 2, 1, 3),
    (2, 1, 2, 1, 2),
    (0, 2**40),
)
HUGE = 2**31 + 9
NUMBERS = {loss.number for loss in declared.LOSSES.values()}

NOT_POSITIVE = (0.0, -0.0, -1.0, -np.inf)

#: Without these the fast doors take what is usual
BARE = {"weight": None, "where": None}

Case = tuple[str, Callable[[], dict[str, Any]]]


def laid_out(values: np.ndarray, layout: str = "C, at the end", slack: int = 0) -> np.ndarray:
    order, steps, place, off, writeable = LAYOUTS[layout]
    axes = list(range(values.ndim))[::order]
    steps = tuple(itertools.islice(itertools.cycle(steps), values.ndim))
    strides = arenas.strides_of(values.shape, values.itemsize, axes, steps)
    misaligned = off if values.itemsize > 1 else 0
    array = MEMORY.array(
        values.shape, values.dtype, strides, "between" if slack else place, slack, misaligned
    )
    arenas.filled(array, values)
    array.flags.writeable = writeable
    return array


def numbers(key: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Data within ±4 and scales with |log σ²| ≤ 2, exact in every dtype."""
    dtype = np.dtype(dtype)
    count, form = int(np.prod(shape)), declared.form_of(key)
    eighths = np.resize(np.arange(-32, 32) * 7 % 65 - 32, count).reshape(shape)
    if key == "where":
        return np.asarray(eighths % 3 > 0, dtype)
    if form in variance.FORMS:
        smooth = variance.raw_of(form, eighths / 16) if dtype.kind == "f" else 1 + eighths % 3
        return np.asarray(smooth, dtype)
    if key in NUMBERS:
        return np.asarray(1 + abs(eighths) // 8, dtype)
    return np.asarray(eighths / 8 if dtype.kind == "f" else abs(eighths) // 8, dtype)


def right(name: str, dtype: Any = np.float64, **other: Any) -> dict[str, Any]:
    """A right call, but for `other`."""
    arrays = {
        key: laid_out(numbers(key, shape, bool if key == "where" else dtype))
        for key, shape in SHAPES[name].items()
        if key not in other
    }
    given = arrays | OPTIONS[name] | other
    if "wrt" in signatures.PARAMETERS[name] and "wrt" not in given:
        fields = [field for field in signatures.FUNCTIONS[name].out if field not in signatures.VALUES]
        given["wrt"] = tuple([field for field in fields if calls.Calls.has(given, field)])
    return given


def of_arguments(name: str) -> Iterator[Case]:
    """dtype × layout; no number; another shape; another object: of each argument in turn."""
    for key, shape in SHAPES[name].items():
        swapped = [dtype.newbyteorder("S") for dtype in DTYPES if dtype.itemsize > 1]
        for dtype, layout in itertools.product([*DTYPES, *swapped], LAYOUTS):
            yield (
                f"{key} of {dtype}, {layout}",
                lambda key=key, dtype=dtype, layout=layout, shape=shape: right(
                    name, **{key: laid_out(numbers(key, shape, dtype), layout)}
                ),
            )
        for code in oddities.NOT_REAL:
            yield (
                f"{key} of {code}",
                lambda key=key, code=code, shape=shape: right(name, **{key: np.zeros(shape, code)}),
            )
        usual = bool if key == "where" else np.float64
        for i, reshaped in enumerate(RESHAPED):
            other = reshaped(shape)
            yield (
                f"{key} of shape {other} ({i})",
                lambda key=key, other=other, usual=usual: right(
                    name, **{key: laid_out(numbers(key, other, usual))}
                ),
            )
        for what, make in oddities.objects_for(key).items():
            yield (
                f"{key}: {what}",
                lambda key=key, make=make, usual=usual, shape=shape: right(
                    name, **{key: make(numbers(key, shape, usual))}
                ),
            )


def bare(name: str) -> dict[str, None]:
    return BARE if "where" in signatures.PARAMETERS[name] else {}


def of_usual_arguments(name: str) -> Iterator[Case]:
    """Another shape of each argument, where a fast door may be open."""
    for key, shape in SHAPES[name].items():
        for i, reshaped in enumerate(RESHAPED if key not in BARE else ()):
            other = reshaped(shape)
            yield (
                f"{key} of shape {other} ({i}), no weight",
                lambda key=key, other=other: right(
                    name, **bare(name) | {key: laid_out(numbers(key, other, np.float64))}
                ),
            )


def of_frames(name: str) -> Iterator[Case]:
    """All arguments of one shape, with every axis and reduction."""
    takes = signatures.PARAMETERS[name]
    keys = [key for key in SHAPES[name] if key not in ("weight", "where")]

    def make(shape: tuple[int, ...], dtype: Any, **options: Any) -> dict[str, Any]:
        if 2**40 in shape:
            arrays = {key: np.broadcast_to(numbers(key, (0, 1), dtype), shape) for key in keys}
        else:
            arrays = {key: laid_out(numbers(key, shape, dtype)) for key in keys}
        options |= {"mean_shape": shape} if "mean_shape" in takes else {}
        absent = dict.fromkeys(("weight", "where") if "where" in takes else ())
        return right(name, dtype, **absent | arrays | options)

    for shape, dtype in itertools.product(FRAMES, ("f4", "f8")):
        axes = (None, (0, -1)) if 2**40 in shape else AXES  # others may leave 2⁴⁰ rows
        axes = axes if "axis" in takes else (None,)
        reductions = ("none", "sum", "mean") if "reduction" in takes else (None,)
        for axis, reduction in itertools.product(axes, reductions):
            options = {"axis": axis, "z_axis": axis, "reduction": reduction}
            options = {key: value for key, value in options.items() if key in takes}
            yield f"{dtype} {shape}, {options}", lambda s=shape, d=dtype, o=options: make(s, d, **o)


def of_options(name: str) -> Iterator[Case]:
    for key, values in oddities.WRONG.items():
        if key in signatures.PARAMETERS[name]:
            for value in values:
                yield f"{key}={value!r}", lambda key=key, value=value: right(name, **{key: value})
    for keys in signatures.FUNCTIONS[name].forms.values():
        for key in keys:
            yield f"{key} too", lambda key=key: right(name) | {key: 1.0}
            yield f"no {key}", lambda key=key: right(name) | {key: None}
        linear = filter(declared.is_linear, keys)
        for key, bad, at in itertools.product(linear, NOT_POSITIVE, (0, -1)):
            yield (
                f"{key} of {bad} at {at}",
                lambda key=key, bad=bad, at=at, keys=keys: not_positive(name, keys, key, bad, at),
            )
    for key, bad, at in itertools.product(NUMBERS & SHAPES[name].keys(), NOT_POSITIVE, (0, -1)):
        yield (
            f"{key} of {bad} at {at}",
            lambda key=key, bad=bad, at=at: not_positive(name, (key,), key, bad, at),
        )


def not_positive(name: str, keys: tuple[str, ...], key: str, bad: float, at: int) -> dict[str, Any]:
    given = right(name)
    (old,) = [other for other in SHAPES[name] if other in keys]
    shape = given.pop(old).shape
    values = numbers(key, shape, np.float64)
    values.ravel()[at] = bad
    return given | {key: laid_out(values)}


def of_outputs(name: str) -> Iterator[Case]:
    """Each member of `out` in turn: of any layout, over any argument, or wrong."""
    fields = signatures.FUNCTIONS[name].out
    arrays = [key for key in SHAPES[name] if key not in BARE and (key, name) != ("eps", "reparameterize")]
    for i, field in enumerate(fields):
        for layout in LAYOUTS:
            yield (
                f"{field}: {layout}",
                lambda i=i, layout=layout: with_out(name, i, lambda a: laid_out(a, layout)),
            )
        for what, make in OUT.items():
            yield f"{field}: {what}", lambda i=i, make=make: with_out(name, i, make)
        for key, (what, shift) in itertools.product(arrays, SHIFTS.items()):
            yield f"{field} over {key}, {what}", lambda i=i, key=key, shift=shift: over(name, i, key, shift)
    for size in range(len(fields) + 2 if fields else 0):
        yield f"a tuple of {size}", lambda size=size: right(name) | {"out": (None,) * size}


OUT: dict[str, Callable[[np.ndarray], Any]] = {
    **{
        f"of {code}": lambda a, code=code: laid_out(a.astype(code))
        for code in ("f4", ">f8", ">f4", "f2", "i8", "?")
    },
    **{
        f"shape {i}": lambda a, f=f: laid_out(np.resize(a, f(a.shape or (1,))))
        for i, f in enumerate(RESHAPED)
    },
    "None": lambda a: None,
    "list": lambda a: a.tolist(),
    "tuple": lambda a: (1.0,),
    "number": lambda a: 1.0,
    "str": lambda a: "out",
    "memoryview": lambda a: memoryview(a),
    "masked": np.ma.masked_array,
    "subclass": lambda a: laid_out(a).view(np.recarray) if a.ndim else laid_out(a),
    "stubborn": lambda a: laid_out(a).view(oddities.Stubborn),
    "liar": lambda a: laid_out(a).view(oddities.Liar),
    "liar of size 1": lambda a: laid_out(np.resize(a, (1,) * a.ndim)).view(oddities.Liar),
    "complex": lambda a: a.astype(complex),
    "objects": lambda a: a.astype(object),
    "structured": lambda a: np.zeros(a.shape, "f8,f8"),
}  # fmt: skip
#: Elements between an input and the output over it, of its span
SHIFTS: dict[str, Callable[[int], int]] = {
    "exactly": lambda n: 0,
    "one on": lambda n: 1,
    "one back": lambda n: -1,
    "half on": lambda n: n // 2,
    "half back": lambda n: -(n // 2),
    "behind": lambda n: n,
}


def with_out(name: str, i: int, make: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """A right call with one member of `out`, made of an array as it should be."""
    given = right(name, **bare(name))
    if name == "reparameterize":  # whose ε is drawn
        del given["eps"]
        given |= {"rng": np.random.default_rng(3), "n_samples": 2}
    fields = signatures.FUNCTIONS[name].out
    checks = contract.Checks(name, given)
    assert checks.results is not None
    shape = checks.results.get(fields[i], (3, 4))
    out = [None] * len(fields)
    out[i] = make(np.full(shape, -7.0, checks.dtype))
    return given | {"out": out[0] if fields == ("value",) else tuple(out)}


def over(name: str, i: int, key: str, shift: Callable[[int], int]) -> dict[str, Any]:
    """The same, with the output in the memory of an argument."""
    given = with_out(name, i, lambda a: a)
    out = given["out"]
    place = out[i] if isinstance(out, tuple) else out
    source = laid_out(np.array(given[key]), "C, at the end", slack=1024)
    region = MEMORY.region_of(source)
    assert region is not None
    step = shift(source.nbytes // 8) * 8
    start = arenas.address(source) - arenas.address(region) + step
    start -= start % 8  # a mask lies anywhere
    lying = np.ndarray(place.shape, place.dtype, region, start)
    moved = tuple([lying if j == i else None for j in range(len(out))]) if isinstance(out, tuple) else lying
    return given | {key: source, "out": moved}


def of_huge(name: str) -> Iterator[Case]:
    """More than 2³¹ elements by strides of 0, and something wrong: told without a look at them."""
    row = signatures.FUNCTIONS[name]
    keys = [key for key in SHAPES[name] if key not in ("weight", "where")]

    def make(**other: Any) -> dict[str, Any]:
        arrays = {key: np.broadcast_to(np.float32(1), (HUGE,)) for key in keys}
        given = OPTIONS[name] | ({"mean_shape": (HUGE,)} if row.loss == "slope" else {})
        return given | arrays | other

    for key in keys:
        for shape in ((HUGE - 1,), (2, HUGE - 1), (HUGE, 2)):
            if len(keys) > 1 or shape[0] == 2:
                other = np.broadcast_to(np.float32(1), shape)
                axis = {"axis": 5} if len(keys) == 1 else {}
                yield f"{key} of {shape}", lambda key=key, other=other, axis=axis: make(**{key: other} | axis)
        wrong = np.broadcast_to(np.complex64(1), (HUGE,))
        yield f"{key} complex", lambda key=key, wrong=wrong: make(**{key: wrong})
    for key, value in (("axis", 7), ("reduction", "all"), ("per", "x"), ("min_var", -1.0), ("n_samples", -1)):
        if key in signatures.PARAMETERS[name]:
            yield f"{key}={value!r}", lambda key=key, value=value: make(**{key: value})


def cases(name: str, share: int = 1) -> Iterator[Case]:
    """All; or a share of the most numerous, one in so many but at least 300."""
    first = list(of_arguments(name))
    step = max(1, min(share, len(first) // LEAST))
    yield from random.Random(name).sample(first, len(first) // step)
    for source in (of_usual_arguments, of_frames, of_options, of_outputs, of_huge):
        yield from source(name)
