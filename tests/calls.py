"""Random calls of the public functions, many of them wrong somewhere, each from its number.

Arrays lie in arenas, in any layout, at any place, over one another. What is right or wrong about a call is
not known here: contract.py tells, and judge.py makes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import arenas
import contract
import declared
import judge
import signatures
import variance
from fastelbo._declare import FLOORS
from oddities import NAN, NOT_REAL, WRONG, objects_for
from random_arrays import FLOATS, LARGE, POOL, SIDES, Array, Arrays

NOISE = np.random.default_rng(21).integers(0, 2, POOL.size).astype(bool)


class Calls(Arrays):
    """Call number `n` of a seed: the name of a function, and its arguments."""

    def __getitem__(self, number: int) -> tuple[str, dict[str, Any]]:
        self.begin(number)
        name = self.pick(NAMES)
        self.usual = self.chance() < 0.45  # as the fast doors take it: plain arrays of one dtype, no options
        self.swaps = not self.usual and self.chance() < 0.3
        self.floats = [self.pick(FLOATS[:8])] if self.usual or self.chance() < 0.5 else FLOATS
        faults = self.random.choices((0, 1, 2), (60, 34, 6))[0]
        self.faults = [self.pick(FAULTS) for _ in range(faults)]
        getattr(self, signatures.FUNCTIONS[name].loss)(name)
        self.options(name)
        for fault in self.faults:
            getattr(self, fault)(name)
        self.poison()
        self.outputs(name)
        return name, self.arguments

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
        row = signatures.FUNCTIONS[name]
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
        decoder, encoder, prior = signatures.FUNCTIONS[name].scales
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
        self.add_scale(latents, *signatures.FUNCTIONS[name].scales)
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
        self.add_scale(latents, *signatures.FUNCTIONS[name].scales)
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
        takes, given = signatures.PARAMETERS[name], self.arguments
        for key, (chance, choices) in OPTIONS.items():
            wanted = key in ("reduction", "beta") or not self.usual
            if key in takes and key not in given and wanted and self.chance() < chance:
                given[key] = self.pick(choices)
        if "weight" in takes and not self.usual and self.chance() < 0.25:
            rows = tuple([n for i, n in enumerate(self.frame) if i not in self.events])
            shapes = [rows, [n if self.chance() < 0.6 else 1 for n in self.frame]]
            self.positive = signatures.FUNCTIONS[name].loss in ("optimal", "variance", "bits")
            of_rows = name == "free_bits"
            self.add("weight", self.rows if "z_mean" in given else rows if of_rows else self.pick(shapes))
        for key, of in (("where", "frame"), ("z_where", "latents")):
            if key in takes and not self.usual and self.chance() < 0.25:
                self.mask(key, getattr(self, of))
        if "wrt" in takes and self.chance() < 0.8:
            fields = [field for field in signatures.FUNCTIONS[name].out if field not in signatures.VALUES]
            have = DEFAULT_MEANS | given
            fields = [field for field in fields if self.has(have, field)]
            wrt = tuple(self.random.sample(fields, self.random.randrange(len(fields) + 1)))
            given["wrt"] = wrt[0] if len(wrt) == 1 and self.chance() < 0.5 else wrt

    @staticmethod
    def has(given: Mapping[str, Any], field: str) -> bool:
        return any(key in given for key in signatures.SCALES.get(field, (field,)))

    def mask(self, key: str, frame: Sequence[int]) -> None:
        shape = self.part(frame)
        start = self.random.randrange(NOISE.size - math.prod(shape))
        mask = NOISE[start : start + math.prod(shape)].reshape(shape)
        self.arguments[key] = self.put(mask)

    def poison(self) -> None:
        """NaN, or what is no scale, in elements that a mask removes."""
        if "z_mean" in self.arguments:
            latents = [*signatures.SCALES["z_scale"], *signatures.SCALES["prior_scale"]]
            self.poison_removed("where", self.frame, ("recon", *signatures.SCALES["scale"]))
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
        fields = signatures.FUNCTIONS[name].out
        if not fields or self.chance() < 0.4:
            return
        checks = contract.Checks(name, self.arguments)
        shapes = checks.results or {}
        dtype = getattr(checks, "dtype", np.dtype(np.float32))
        reduced = checks.given.get("reduction", "none") != "none"
        often = self.pick((0.3, 1.0))
        out: list[Any] = []
        for field in fields:
            absent = field not in shapes or (reduced and field in signatures.VALUES)
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

    # --- faults

    def wrong_shape(self, name: str) -> None:
        keys = self.arrays()
        if keys:
            key = self.pick(keys)
            old = self.arguments[key]
            scale = declared.form_of(key) in variance.FORMS
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
        scales = signatures.FUNCTIONS[name].scales
        if scales:
            keys = declared.forms(self.pick(scales))
            if self.chance() < 0.5:
                self.arguments[self.pick(keys)] = 1.0
            else:
                for key in keys:
                    self.arguments.pop(key, None)

    def wrong_option(self, name: str) -> None:
        keys = [key for key in WRONG if key in signatures.PARAMETERS[name]]
        if keys:
            key = self.pick(keys)
            self.arguments[key] = self.pick(WRONG[key])

    def wrong_number(self, name: str) -> None:
        """Elements of a scale that are not positive."""
        for key in self.arrays():
            array = self.arguments[key]
            fit = array.size and array.flags.writeable and array.dtype.kind in "fi"
            numbers = signatures.FUNCTIONS[name].operands[2:]
            if fit and (declared.is_linear(key) or (signatures.FUNCTIONS[name].declared and key in numbers)):
                at = tuple([self.random.randrange(n) for n in array.shape])
                array[at] = self.pick((0, -1, 0))

    def wrong_out(self, name: str) -> None:
        """See `outputs`."""


NAMES = tuple(signatures.FUNCTIONS)
DEFAULT_MEANS = {"prior_mean": 0.0}
NO_NUMBERS = (
    "rng", "wrt", "per", "average", "n_samples", "mean_shape", "axis", "z_axis", "reduction", "full"
)  # fmt: skip
FAULTS = (
    "wrong_shape", "wrong_shape", "wrong_dtype", "wrong_object", "wrong_scale", "wrong_option",
    "wrong_number", "wrong_out",
)  # fmt: skip
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
