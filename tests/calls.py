"""Random calls of the public functions, many of them wrong somewhere, each from its number.

Arrays lie in arenas, in any layout, at any place, over one another. What is right or wrong about a call is
not known here: contract.py tells, and judge.py makes it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import arenas
import contract
import declared
import judge
import oracles
from fastelbo._declare import EMPTY, FLOORS, Scale

try:
    import ml_dtypes
except ImportError:  # not for every Python
    ml_dtypes = None

Array = np.ndarray

FLOATS = tuple(np.dtype(code) for code in "ffffdddde") + (
    (np.dtype(ml_dtypes.bfloat16),) if ml_dtypes else ()
)
INTEGERS = tuple(np.dtype(code) for code in "?bBhHiIqQ")
POOL = np.random.default_rng(20).integers(-32, 33, 1 << 19)
NOISE = np.random.default_rng(21).integers(0, 2, POOL.size).astype(bool)
LARGE = 1 << 17  # threads from here on, as _core.pyx has it
NAN = float("nan")


# --- random arrays ------------------------------------------------------------------------------------------


def raising(error: type[Exception]) -> Callable[[Array], Any]:
    class Raises:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
            raise error("no array")

    return lambda _: Raises()


class Wrapped:
    """An array-like that is no array, as those of other libraries."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array


class Stubborn(np.ndarray):
    """A subclass that takes part in nothing."""

    __array_ufunc__ = None  # type: ignore[assignment]

    def __array_function__(self, *_: Any) -> Any:
        raise AssertionError("called")


class Liar(np.ndarray):
    """A subclass whose attributes are not those of its memory."""

    shape = property(lambda self: (1 << 40,))  # type: ignore[assignment]
    ndim = property(lambda self: 1)  # type: ignore[assignment]
    strides = property(lambda self: (1 << 20,))  # type: ignore[assignment]
    dtype = property(lambda self: np.dtype(bool))  # type: ignore[assignment]
    size = property(lambda self: 1 << 40)  # type: ignore[assignment]


#: What may be passed in an array's place, made of it.
OBJECTS: dict[str, Callable[[Array], Any]] = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()) if a.ndim else a.item(),
    "array-like": Wrapped,
    "subclass": lambda a: a.view(Stubborn),
    "liar": lambda a: a.view(Liar),
    "matrix-like": lambda a: a.view(np.recarray) if a.dtype.kind != "V" else a,
    "memoryview": lambda a: memoryview(np.array(a, np.float32)),
    "masked": np.ma.masked_array,
    "number": lambda a: 1.0,
    "int": lambda a: 1,
    "bool": lambda a: True,
    "large int": lambda a: 10**15,
    "larger int": lambda a: 10**400,
    "None": lambda a: None,
    "str": lambda a: "1.0",
    "bytes": lambda a: b"1.0",
    "strings": lambda a: a.astype("U8") if a.dtype.kind != "V" else "x",
    "complex": lambda a: 1j,
    "dict": lambda a: {"x": a},
    "set": lambda a: {1.0},
    "object": lambda a: object(),
    "class": lambda a: np.float32,
    "generator": lambda a: (x for x in (1.0, 2.0)),
    "ragged": lambda a: [[1.0], [1.0, 2.0]],
    "empty list": lambda a: [],
    "raises ValueError": raising(ValueError),
    "raises TypeError": raising(TypeError),
    "raises RuntimeError": raising(RuntimeError),
    "raises ZeroDivisionError": raising(ZeroDivisionError),
    "raises MemoryError": raising(MemoryError),
    "no array": lambda a: type("Liar", (), {"__array__": lambda self, dtype=None, copy=None: [1.0]})(),
}


def objects_for(key: str) -> dict[str, Callable[[Array], Any]]:
    """Of a log scale e to any of them can be represented: infinite answers are test_special's."""
    log = declared.is_log(key)
    return {what: make for what, make in OBJECTS.items() if not (log and what == "large int")}


NOT_REAL = ("F", "D", "g", "O", "U3", "S2", "M8[D]", "m8[s]", "V2", "V4", "i4,f4", "G")


class Calls:
    """Call number `n` of a seed: the name of a function, and its arguments."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.memory = arenas.Arenas()

    def __getitem__(self, number: int) -> tuple[str, dict[str, Any]]:
        self.random = random.Random(self.seed << 40 | number)
        self.memory.begin()
        self.chance = self.random.random
        self.pick = self.random.choice
        name = self.pick(NAMES)
        self.usual = self.chance() < 0.45  # as the fast doors take it: plain arrays of one dtype, no options
        self.swaps = not self.usual and self.chance() < 0.3
        self.floats = [self.pick(FLOATS[:8])] if self.usual or self.chance() < 0.5 else FLOATS
        faults = self.random.choices((0, 1, 2), (60, 34, 6))[0]
        self.faults = [self.pick(FAULTS) for _ in range(faults)]
        self.arguments: dict[str, Any] = {}
        self.positive = False
        getattr(self, contract.FUNCTIONS[name].loss)(name)
        self.options(name)
        for fault in self.faults:
            getattr(self, fault)(name)
        self.poison()
        self.outputs(name)
        return name, self.arguments

    # --- one array

    def shape(self) -> tuple[int, ...]:
        if self.chance() < 0.0004:
            return self.pick(((1, LARGE + 9), (LARGE + 9, 1), (LARGE // 2 + 1, 2), (33, 2, 2111), (17, 9001)))
        sizes = [self.pick(SIDES) for _ in range(self.pick((0, 1, 1, 2, 2, 2, 2, 2, 3, 3, 4, 5)))]
        while math.prod(sizes) > 700:
            sizes[self.random.randrange(len(sizes))] = 2
        if self.chance() < 0.02 and sizes:
            sizes[self.random.randrange(len(sizes))] = 0
        return tuple(sizes)

    def part(self, shape: Sequence[int], stretch: float = 0.25) -> tuple[int, ...]:
        """A shape that broadcasts to `shape`."""
        if self.chance() < 0.4:
            return tuple(shape)
        sizes = [1 if self.chance() < stretch else n for n in shape]
        return tuple(sizes[self.random.randrange(len(sizes) + 1) if self.chance() < 0.5 else 0 :])

    def values(self, shape: Sequence[int], dtype: np.dtype, scale: str | None = None) -> Array:
        """Data within ±4, exact in every dtype; a scale with log σ² within ±2; or a mask."""
        count = math.prod(shape)
        start = self.random.randrange(POOL.size)
        eighths = POOL.take(np.arange(start, start + count), mode="wrap").reshape(shape)
        if scale is not None:
            form = declared.form_of(scale)
            if dtype.kind not in "fV":
                return np.asarray(abs(eighths) // 16 + declared.is_linear(form), dtype)
            return np.asarray(oracles.raw_of(form, eighths / 16), dtype)
        return np.asarray(eighths / 8 if dtype.kind in "fV" else abs(eighths) // 8, dtype)

    def put(self, values: Array, output: bool = False) -> Array:
        """The values in memory of any layout; an output's has no element twice."""
        dtype, shape, kind = values.dtype, values.shape, 0.0 if self.usual else self.chance()
        order, steps = list(reversed(range(len(shape)))), [1] * len(shape)
        if 0.45 < kind < 0.55:
            order.reverse()
        elif kind >= 0.55:
            self.random.shuffle(order)
            steps = [self.pick((1, 1, 2, 3, -1, -2, 1 if output else 0)) for _ in shape]
        misaligned = 0
        if not output and self.swaps:
            if dtype.itemsize > 1 and dtype.kind != "V" and self.chance() < 0.4:
                dtype = dtype.newbyteorder("S")
            if dtype.itemsize > 1 and self.chance() < 0.4:
                misaligned = self.random.randrange(1, dtype.itemsize)
        strides = arenas.strides_of(shape, dtype.itemsize, order, steps)
        slack = sum(arenas.offsets(shape, strides, dtype.itemsize)) if self.chance() < 0.3 else 0
        place = "between" if slack else self.pick(("end", "end", "start", "between"))
        slack = slack // 16 * 16
        array = self.memory.array(shape, dtype, strides, place, slack, misaligned)
        arenas.filled(array, values)
        if not output and self.chance() < 0.15:
            array.flags.writeable = False
        return array

    def add(self, key: str, shape: Sequence[int], scale: bool = False) -> None:
        """An argument of this shape; one without axes may be a number."""
        integers = not self.usual and self.chance() < 0.08
        dtype = self.pick(INTEGERS if integers else self.floats)
        values = self.values(shape, dtype, key if scale else None)
        values = abs(values) if key == "weight" and self.positive else values  # of others Σ w may cancel
        if not shape and self.chance() < 0.7:
            self.arguments[key] = values.item() if self.chance() < 0.7 else values[()]
        elif self.chance() < 0.02:
            self.arguments[key] = values.tolist()
        else:
            self.arguments[key] = self.put(values)

    def add_scale(self, shape: Sequence[int], scale: Scale) -> None:
        self.add(self.pick(declared.forms(scale)), self.part(shape), scale=True)

    def add_number(self, key: str, shape: Sequence[int]) -> None:
        """An operand > 0."""
        array = self.put(
            np.resize(np.array([0.5, 3.0, np.inf, 1.0, 40.0], self.pick("fde")), self.part(shape))
        )
        self.arguments[key] = array if array.ndim or self.chance() < 0.3 else array.item()

    # --- the arguments of each loss, right but for chance

    def axes(self, ndim: int, counts: bool) -> tuple[int, ...]:
        """Event axes, which this adds as `axis`, or -1 by default; counted from the end if they must be."""
        kind = self.chance()
        if self.usual or kind < 0.4 or not ndim:
            return (ndim - 1,) if ndim else ()
        events = tuple(self.random.sample(range(ndim), self.random.randrange(ndim + 1)))
        if kind < 0.5:
            self.arguments["axis"] = None
            return tuple(range(ndim))
        shift = ndim if not counts or self.chance() < 0.6 else 0
        passed = tuple([i - shift for i in events])
        self.arguments["axis"] = passed[0] if len(passed) == 1 and self.chance() < 0.5 else passed
        return events

    def pair(self, one: str, two: str) -> tuple[int, ...]:
        shape = self.shape()
        short = shape if self.chance() < 0.7 else shape[self.random.randrange(len(shape) + 1) :]
        parts = [shape, short]
        self.random.shuffle(parts)
        for key, part in zip((one, two), parts, strict=True):
            self.add(key, part)
        self.frame, self.events = shape, self.axes(len(shape), shape == short)
        return shape

    def loss(self, name: str) -> None:
        row = contract.FUNCTIONS[name]
        assert row.declared is not None
        one, two = row.data
        if two in row.declared.defaults and self.chance() < 0.5:
            self.frame = shape = self.shape()
            self.add(one, shape)
            self.events = self.axes(len(shape), True)
        else:
            shape = self.pair(one, two)
        for scale in row.scales:
            if scale.required or self.chance() < 0.5:
                self.add_scale(shape, scale)
        for key in row.operands[2:]:
            self.add_number(key, shape)
        of_call = declared.parameters(row.declared)
        self.arguments |= self.pick(of_call)

    def variance(self, name: str) -> None:
        shape = self.pair("x", "mean")
        if "axis" not in self.arguments:
            self.arguments["axis"], self.events = None, tuple(range(len(shape)))

    optimal = variance

    def elbo(self, name: str) -> None:
        decoder, encoder, prior = contract.FUNCTIONS[name].scales
        shape = self.shape()
        if len(shape) > 4 or math.prod(shape) > LARGE:
            shape = shape[:2]
        lead = (self.pick((1, 2, 3)),) if self.chance() < 0.4 else ()
        self.frame = (*lead, *shape)
        self.add("x", shape)
        self.add("recon", self.frame)
        self.add_scale(self.frame, decoder)
        events = self.axes(len(shape), not lead)
        self.events = tuple([i + len(lead) for i in events])
        self.rows = tuple([n for i, n in enumerate(shape) if i not in events])
        latents, z_axis = list(self.rows), []
        sides = SIDES[: 6 if math.prod(self.rows) < 1000 else 1]
        for size in [self.pick(sides) for _ in range(self.pick((0, 1, 1, 1, 2)))]:
            at = len(latents) if self.chance() < 0.7 else self.random.randrange(len(latents) + 1)
            latents.insert(at, size)
            z_axis = [i + (i >= at) for i in z_axis] + [at]
        if z_axis != [len(latents) - 1]:
            self.arguments["z_axis"] = tuple([i - len(latents) for i in z_axis])
        self.latents = tuple(latents)
        self.add("z_mean", latents)
        self.add_scale(latents, encoder)
        if self.chance() < 0.4:
            self.add("prior_mean", latents[self.random.randrange(len(latents) + 1) :])
        if self.chance() < 0.4:
            self.add_scale(latents, prior)

    def sample(self, name: str) -> None:
        latents = self.shape()
        samples = (self.pick((1, 2, 3)),) if self.chance() < 0.4 else ()
        self.add("mean", latents)
        self.add_scale(latents, *contract.FUNCTIONS[name].scales)
        if self.chance() < 0.6:
            self.add("eps", (*samples, *latents))
        else:
            self.arguments["rng"] = np.random.default_rng(self.random.randrange(1 << 30))
        if samples and ("rng" in self.arguments or self.chance() < 0.3):
            self.arguments["n_samples"] = samples[0]

    def slope(self, name: str) -> None:
        latents = self.shape()
        samples = (self.pick((1, 2, 3)),) if self.chance() < 0.4 else ()
        self.add("grad_z", (*samples, *latents))
        self.add("eps", (*samples, *latents))
        self.add_scale(latents, *contract.FUNCTIONS[name].scales)
        if self.chance() < 0.8:
            self.arguments["mean_shape"] = latents

    def iwae(self, name: str) -> None:
        self.one(name, "log_w")

    def bits(self, name: str) -> None:
        self.one(name, "kl")
        self.arguments |= {"min_kl": self.pick((0.0, 0.5, 2)), "per": self.pick(("dim", "row"))}
        self.arguments["average"] = self.pick(("first", "last"))

    def one(self, name: str, key: str) -> None:
        shape = self.shape()
        self.add(key, shape)
        self.frame, self.events = shape, self.axes(len(shape), True)

    # --- options

    def options(self, name: str) -> None:
        takes, given = contract.PARAMETERS[name], self.arguments
        for key, (chance, choices) in OPTIONS.items():
            wanted = key in ("reduction", "beta") or not self.usual
            if key in takes and key not in given and wanted and self.chance() < chance:
                given[key] = self.pick(choices)
        if "weight" in takes and not self.usual and self.chance() < 0.25:
            rows = tuple([n for i, n in enumerate(self.frame) if i not in self.events])
            shapes = [rows, [n if self.chance() < 0.6 else 1 for n in self.frame]]
            self.positive = contract.FUNCTIONS[name].loss in ("optimal", "variance", "bits")
            of_rows = name == "free_bits"
            self.add("weight", self.rows if "z_mean" in given else rows if of_rows else self.pick(shapes))
        for key, of in (("where", "frame"), ("z_where", "latents")):
            if key in takes and not self.usual and self.chance() < 0.25:
                self.mask(key, getattr(self, of))
        if "wrt" in takes and self.chance() < 0.8:
            fields = [field for field in contract.FUNCTIONS[name].out if field not in contract.VALUES]
            have = DEFAULT_MEANS | given
            fields = [field for field in fields if self.has(have, field)]
            wrt = tuple(self.random.sample(fields, self.random.randrange(len(fields) + 1)))
            given["wrt"] = wrt[0] if len(wrt) == 1 and self.chance() < 0.5 else wrt

    @staticmethod
    def has(given: Mapping[str, Any], field: str) -> bool:
        return any(key in given for key in contract.SCALES.get(field, (field,)))

    def mask(self, key: str, frame: Sequence[int]) -> None:
        shape = self.part(frame)
        start = self.random.randrange(NOISE.size - math.prod(shape))
        mask = NOISE[start : start + math.prod(shape)].reshape(shape)
        self.arguments[key] = self.put(mask)

    def poison(self) -> None:
        """NaN, or what is no scale, in elements that a mask removes."""
        if "z_mean" in self.arguments:
            latents = [*contract.SCALES["z_scale"], *contract.SCALES["prior_scale"]]
            self.poison_removed("where", self.frame, ("recon", *contract.SCALES["scale"]))
            self.poison_removed("z_where", self.latents, ("z_mean", "prior_mean", *latents))
        elif "where" in self.arguments:
            self.poison_removed("where", self.frame, self.arrays())

    def poison_removed(self, where: str, frame: tuple[int, ...], keys: Sequence[str]) -> None:
        mask = self.arguments.get(where)
        if not isinstance(mask, Array) or (mask.dtype, mask.shape) != (bool, frame) or self.chance() < 0.5:
            return
        removed = ~np.asarray(mask)
        for key in [key for key in self.arrays() if key in keys]:
            array = self.arguments[key]
            fit = array.shape == frame and array.dtype.kind == "f" and 0 not in array.strides
            if fit and array.flags.writeable:
                array[removed] = self.pick((NAN, np.inf, -1.0))

    # --- outputs, fresh or over inputs

    def outputs(self, name: str) -> None:
        fields = contract.FUNCTIONS[name].out
        if not fields or self.chance() < 0.4:
            return
        checks = contract.Checks(name, self.arguments)
        shapes = checks.results or {}
        dtype = getattr(checks, "dtype", np.dtype(np.float32))
        reduced = checks.given.get("reduction", "none") != "none"
        often = self.pick((0.3, 1.0))
        out: list[Any] = []
        for field in fields:
            absent = field not in shapes or (reduced and field in contract.VALUES)
            if self.chance() > (0.01 if absent else often):
                out.append(None)
            else:
                out.append(self.output(shapes.get(field, (2,)), dtype))
        if "wrong_out" in self.faults and out:
            i = self.random.randrange(len(out))
            if out[i] is not None:
                out[i] = self.spoilt(out[i])
            elif self.chance() < 0.3:
                out = out[1:]
        if fields == ("value",):
            self.arguments["out"] = out[0] if out else None
        else:
            self.arguments["out"] = out if self.chance() < 0.01 else tuple(out)

    def output(self, shape: Sequence[int], dtype: np.dtype) -> Array:
        arrays = [value for value in self.arguments.values() if isinstance(value, Array)]
        inputs = [value for value in arrays if self.memory.region_of(value) is not None]
        if not inputs or self.chance() < 0.5:
            return self.put(np.full(shape, -7.0, dtype), output=True)
        exact = [value for value in inputs if value.shape == tuple(shape) and value.dtype == dtype]
        over = self.pick(exact if exact and self.chance() < 0.8 else inputs)
        region = self.memory.region_of(over)
        assert region is not None
        strides = over.strides
        if over.shape != tuple(shape) or over.dtype != dtype or self.chance() < 0.2:
            order = list(range(len(shape)))
            self.random.shuffle(order)
            steps = [self.pick((1, 1, 1, -1, 2)) for _ in shape]
            strides = tuple(arenas.strides_of(shape, dtype.itemsize, order, steps))
        below, above = arenas.offsets(shape, strides, dtype.itemsize)
        half = (below + above) // 2 // dtype.itemsize * dtype.itemsize
        shift = self.pick((0, 0, 0, dtype.itemsize, -dtype.itemsize, half, -half))
        start = arenas.address(over) - arenas.address(region) + shift
        if start - below < 0 or start + above > region.size:
            return self.put(np.full(shape, -7.0, dtype), output=True)
        return np.ndarray(shape, dtype, region, start, strides)

    def spoilt(self, array: Array) -> Any:
        shape = array.shape
        other = self.pick(("f4", "f8", ">f4", ">f8", "f2", "i4", "i8", "?"))
        ways = (
            lambda: self.put(np.zeros(shape, other), output=True),
            lambda: self.put(np.zeros(self.altered(shape), array.dtype), output=True),
            lambda: np.broadcast_to(array, shape),
            lambda: array.tolist(),
            lambda: np.ma.masked_array(array),
            lambda: array.view(np.recarray) if array.dtype.kind == "f" else array,
            lambda: memoryview(array),
            lambda: self.unaligned(array),
            lambda: array.astype(object),
            lambda: np.ndarray(shape, array.dtype, self.put(array.ravel()[:1], True), 0, (0,) * len(shape)),
        )
        return self.pick(ways)()

    def unaligned(self, array: Array) -> Array:
        order, steps = list(reversed(range(array.ndim))), [1] * array.ndim
        strides = arenas.strides_of(array.shape, array.itemsize, order, steps)
        off = self.random.randrange(1, array.itemsize)
        return self.memory.array(array.shape, array.dtype, strides, misaligned=off)

    # --- faults

    def arrays(self) -> list[str]:
        real = (*FLOATS, *INTEGERS)
        given = {key: value for key, value in self.arguments.items() if isinstance(value, Array)}
        return [key for key, value in given.items() if value.dtype.newbyteorder("=") in real]

    def altered(self, shape: Sequence[int]) -> tuple[int, ...]:
        """One axis more or less, one element more or less along one, another order, or none at all."""
        sizes, i = list(shape), self.random.randrange(len(shape) or 1)
        ways: list[Callable[[], Sequence[int]]] = [
            lambda: [*sizes[:i], self.pick((1, 1, 2)), *sizes[i:]],
            lambda: sizes[:i] + sizes[i + 1 :],
            lambda: sizes[:i] + [n + 1 for n in sizes[i : i + 1]] + sizes[i + 1 :],
            lambda: sizes[:i] + [max(0, n - 1) for n in sizes[i : i + 1]] + sizes[i + 1 :],
            lambda: [math.prod(sizes)],
            lambda: sizes[::-1],
            lambda: [*sizes[:i], 0, *sizes[i + 1 :]],
        ]
        return tuple(self.pick(ways)())

    def wrong_shape(self, name: str) -> None:
        keys = self.arrays()
        if keys:
            key = self.pick(keys)
            old = self.arguments[key]
            scale = declared.form_of(key) in oracles.FORMS
            values = self.values(self.altered(old.shape), judge.native(old.dtype), key if scale else None)
            values = abs(values) if key == "weight" and self.positive else values
            self.arguments[key] = self.put(values)

    def wrong_dtype(self, name: str) -> None:
        keys = self.arrays()
        if keys:
            key = self.pick(keys)
            nothing = np.zeros((), self.pick(NOT_REAL))  # of any shape without its memory
            self.arguments[key] = np.broadcast_to(nothing, self.arguments[key].shape)

    def wrong_object(self, name: str) -> None:
        keys = [key for key in self.arguments if key not in NO_NUMBERS]
        if keys:
            key = self.pick(keys)
            value = self.arguments[key]
            numbers = key in self.arrays() or type(value) in (float, int)
            made_of = np.asarray(value) if numbers else np.zeros(2)
            self.arguments[key] = self.pick(tuple(objects_for(key).values()))(made_of)

    def wrong_scale(self, name: str) -> None:
        scales = contract.FUNCTIONS[name].scales
        if scales:
            keys = declared.forms(self.pick(scales))
            if self.chance() < 0.5:
                self.arguments[self.pick(keys)] = 1.0
            else:
                for key in keys:
                    self.arguments.pop(key, None)

    def wrong_option(self, name: str) -> None:
        keys = [key for key in WRONG if key in contract.PARAMETERS[name]]
        if keys:
            key = self.pick(keys)
            self.arguments[key] = self.pick(WRONG[key])

    def wrong_number(self, name: str) -> None:
        """Elements of a scale that are not positive."""
        for key in self.arrays():
            array = self.arguments[key]
            fit = array.size and array.flags.writeable and array.dtype.kind in "fi"
            numbers = contract.FUNCTIONS[name].operands[2:]
            if fit and (declared.is_linear(key) or (contract.FUNCTIONS[name].declared and key in numbers)):
                at = tuple([self.random.randrange(n) for n in array.shape])
                array[at] = self.pick((0, -1, 0))

    def wrong_out(self, name: str) -> None:
        """See `outputs`."""


NAMES = tuple(contract.FUNCTIONS)
SIDES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33)
DEFAULT_MEANS = {"prior_mean": 0.0}
NO_NUMBERS = (
    "rng", "wrt", "per", "average", "n_samples", "mean_shape", "axis", "z_axis", "reduction", "full"
)  # fmt: skip
FAULTS = (
    "wrong_shape", "wrong_shape", "wrong_dtype", "wrong_object", "wrong_scale", "wrong_option",
    "wrong_number", "wrong_out",
)  # fmt: skip
#: Numbers of the whole call, and the ends of a range
OF_CALL = {key: none for loss in declared.LOSSES.values() for key, none in loss.parameters_of_call.items()}
WIDTHS = [key for key, none in OF_CALL.items() if none is EMPTY]
ENDS = [key for key in OF_CALL if key not in WIDTHS]
#: How often an option is given, and what it may be
OPTIONS: dict[str, tuple[float, Sequence[Any]]] = {
    "x_scale": (
        0.3,
        (0.5, 2, -1.0, -0.125, float(np.float32(1 / 255)), np.float32(0.25), np.array(0.5)),
    ),
    "full": (0.2, (True, False, np.True_, np.False_)),
    **dict.fromkeys(FLOORS, (0.25, (0.0, 0.5, 1.0, 1, np.float32(0.5), np.array(1.0)))),
    "reduction": (0.5, ("none", "sum", "mean")),
    "beta": (0.4, (0.0, 1, 0.5, 2.5, np.float32(0.25))),
}
#: Options that are wrong, in most calls
WRONG: dict[str, Sequence[Any]] = {
    "axis": (7, -7, 1.0, "x", [0], (0, 0), (-1, 7), (None,), {}, np.int64(0), True, 0, (0, 1)),
    "z_axis": (7, 1.0, "x", (-1, -1), None, (), -1, 0),
    "reduction": ("all", None, 0, "Mean", ("sum",)),
    "full": (0, 1, "no", None, np.ones(2, bool)),
    **dict.fromkeys(
        FLOORS, (-1.0, NAN, math.inf, True, "0.1", None, [0.1, 0.2], 1j, object(), -0.0, 10**400)
    ),
    **dict.fromkeys(WIDTHS, (0.0, -1.0, NAN, math.inf, True, "1", None, [1.0], 1j, object(), 10**400)),
    **dict.fromkeys(ENDS, (NAN, math.inf, -math.inf, True, "1", None, [1.0], 1j, object(), 10**400)),
    "x_scale": (0.0, NAN, math.inf, True, np.True_, "1", None, [1.0, 2.0], 1j, 1e-300, 10**400),
    "beta": (-1.0, NAN, math.inf, True, np.array(False), "1", None, [1.0], 1j, -0.0),
    "min_kl": (-1.0, NAN, math.inf, True, "1", None, [1.0], 1j),
    "wrt": ("value", "y", None, 3, ("x", "y"), (1,), ([],), "scale", "prior_scale", ["mean"] * 2, {"mean"}),
    "out": ((), [], np.zeros(3), 3, "out", (None,), (np.zeros(2),) * 2),
    "per": ("rows", None, 1),
    "average": ("never", None, 1),
    "weight": (1.0, "1", None, np.ones(3), 1j, object()),
    "where": (1, 1.0, "True", None, np.ones(3), [1, 0], True, False, object()),
    "z_where": (1, "True", None, np.ones(3), True, False, object()),
    "rng": (None, 0, np.random, np.random.RandomState(0)),
    "eps": (None, 0.0, "eps", 1j),
    "n_samples": (0, -1, 1.0, "3", None, 2, True, np.int8(2)),
    "mean_shape": (None, (), 3, (3,), "3", (-1,), (2.0,), (1, 1, 1, 1)),
}
