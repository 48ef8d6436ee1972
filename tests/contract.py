"""What the contract makes of a call, written a second time: which errors are right.

`Checks` tells the exception types that a call of any public function with array arguments may raise, from
its arguments alone; truths.py has the answer of a call without faults.
"""

from __future__ import annotations

import itertools
import math
import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import declared
import variance
from fastelbo._declare import EMPTY, FLOORS
from signatures import DEFAULTS, FUNCTIONS, VALUES, Shape, argument_of, scales_of
from sizes import Plain, best_var, rounded

AxisError = np.exceptions.AxisError
REAL = "?bBhHiIlLqQefd"


class Wrong(Exception):
    """Carries the exception type that the contract asks for."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind


def real(value: Any) -> np.ndarray:
    """`value` as a real array, by np.asarray."""
    if isinstance(value, np.ma.MaskedArray):
        raise Wrong(TypeError)
    if type(value) is int and abs(value) > sys.float_info.max:
        raise Wrong(ValueError)
    if type(value) is int:
        return np.asarray(float(value))
    try:
        array = np.asarray(value)
    except Exception as error:
        raise Wrong(type(error)) from None
    if array.dtype.name != "bfloat16" and array.dtype.char not in REAL:
        raise Wrong(TypeError)
    return array


def computing_dtype(values: Iterable[Any]) -> np.dtype:
    """NumPy's promotion with weak Python scalars, at least float32, and float64 for integers alone."""
    weak = [value if type(value) in (bool, int, float) else np.asarray(value).dtype for value in values]
    dtype = np.result_type(*[np.float16 if str(one) == "bfloat16" else one for one in weak])
    return np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float64)


def fits(own: Shape, shape: Shape) -> bool:
    try:
        return np.broadcast_shapes(own, shape) == shape
    except ValueError:
        return False


def joint(one: Shape, two: Shape) -> Shape:
    """Equal shapes, or one lacks leading axes of the other."""
    long, short = (one, two) if len(one) >= len(two) else (two, one)
    if long[len(long) - len(short) :] != short:
        raise Wrong(ValueError)
    return long


def need(condition: Any, kind: type[Exception] = ValueError) -> None:
    if not condition:
        raise Wrong(kind)


def events(axis: Any, ndim: int) -> Shape:
    if axis is None:
        return tuple(range(ndim))
    axes = axis if type(axis) is tuple else (axis,)
    need(not any(isinstance(i, bool) for i in axes), TypeError)
    try:
        axes = [operator.index(i) for i in axes]
    except TypeError:
        raise Wrong(TypeError) from None
    need(all(-max(ndim, 1) <= i < max(ndim, 1) for i in axes), AxisError)
    found = {i % max(ndim, 1) for i in axes}
    need(len(found) == len(axes))
    return tuple(sorted(found)) if ndim else ()


def from_the_end(axis: Any) -> bool:
    return axis is None or all(i < 0 for i in (axis if type(axis) is tuple else (axis,)))


def rows_of(shape: Shape, axis: Any) -> Shape:
    summed = events(axis, len(shape))
    return tuple([n for i, n in enumerate(shape) if i not in summed])


def number(value: Any, allowed: Any) -> None:
    array = real(value)
    need(array.ndim == 0)
    need(array.dtype != bool, TypeError)
    need(allowed(float(array)))


def not_negative(value: float) -> bool:
    return 0 <= value < math.inf


class Checks:
    """Each rule that is broken adds its exception type; what rests on a broken rule is left out."""

    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        self.row = FUNCTIONS[name]
        self.given = DEFAULTS[name] | dict(arguments)
        self.axis_given = "axis" in arguments
        self.found: set[type[BaseException]] = set()
        self.data: Shape = ()
        self.z_data: Shape = ()
        self.results: dict[str, Shape] | None = None
        self.domain = False  # whether a scale, or an optimal variance, is not positive
        self.run()

    def rule(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Wrong as wrong:
            self.found.add(wrong.kind)
            return None

    def run(self) -> None:
        row, given = self.row, self.given
        self.names = list(row.operands)
        for prefix, forms in scales_of(row, given).items():
            self.rule(need, len(forms) == 1 or (not forms and prefix == "prior_"), TypeError)
            self.names += forms
        if row.loss == "sample":
            self.rule(need, (given["eps"] is None) != (given["rng"] is None), TypeError)
            self.rule(need, given["rng"] is None or isinstance(given["rng"], np.random.Generator), TypeError)
            if given["eps"] is None:
                self.names.remove("eps")
        self.arrays = {key: self.rule(real, given[key]) for key in self.names}
        if self.found:
            return
        self.dtype = computing_dtype([given[key] for key in self.names])
        for key in self.names:
            self.rule(self.representable, given[key])
        self.shapes = {key: array.shape for key, array in self.arrays.items()}
        self.scale = {prefix: forms[0] for prefix, forms in scales_of(row, given).items() if forms}
        for option in (*FLOORS, "min_kl", "beta"):
            if option in given:
                self.rule(number, given[option], not_negative)
        if row.declared:
            self.rule(self.of_call, row.declared.parameters_of_call)
        if "x_scale" in given:
            self.rule(number, given["x_scale"], self.usable_factor)
        if "full" in given:
            self.rule(need, isinstance(given["full"], (bool, np.bool_)), TypeError)
        if "reduction" in given:
            self.rule(need, given["reduction"] in ("none", "sum", "mean"))
        for option, choices in (("per", ("dim", "row")), ("average", ("first", "last"))):
            if option in given:
                self.rule(need, given[option] in choices)
        asked = self.rule(self.asked) if "wrt" in given else ()
        self.results = self.rule(getattr(self, "shapes_" + row.loss))
        if self.results is not None and asked is not None:
            self.results |= {name: self.shape_of_gradient(name) for name in asked}
            if given.get("out") is not None:
                self.rule(self.check_out, self.results)
        if not self.found and self.not_positive(bool(asked)):
            self.domain = True
            self.found.add(ValueError)

    def of_call(self, parameters: Mapping[str, Any]) -> None:
        """A width is finite and > 0; the ends of a range are in order, and None for none."""
        ends = []
        for key, none in parameters.items():
            value = self.given[key]
            if none is EMPTY:
                self.rule(number, value, lambda width: 0 < width < math.inf)
            elif value is None or self.rule(number, value, math.isfinite) is None:
                ends.append(none if value is None else value)
        if not self.found and ends:
            need(all(float(one) < float(two) for one, two in itertools.pairwise(ends)))

    def representable(self, value: Any) -> None:
        """No Python scalar becomes infinite in the computing dtype."""
        if type(value) in (int, float) and math.isfinite(value):
            need(math.isfinite(rounded(value, self.dtype)))

    def usable_factor(self, value: float) -> bool:
        with np.errstate(all="ignore"):
            factor = float(self.dtype.type(value))
        return math.isfinite(factor) and factor != 0

    def asked(self) -> tuple[str, ...]:
        wrt = self.given["wrt"]
        try:
            names = [wrt] if isinstance(wrt, str) else list(dict.fromkeys(wrt))
        except TypeError:
            raise Wrong(TypeError) from None
        for name in names:
            need(name in self.row.out and name not in VALUES)
            need(argument_of(name, self.given) is not None)
        return tuple(names)

    def shape_of_gradient(self, name: str) -> Shape:
        return np.asarray(argument_of(name, self.given)).shape

    # --- shapes of the values, one rule for each loss

    def frame(self, one: str, two: str, axis: str = "axis") -> Shape:
        """The joint shape of two operands; `axis` must not count from the wrong end."""
        a, b = self.shapes[one], self.shapes[two]
        scalar = not (a and b)
        scalar_mean = self.row.declared is None or self.row.declared.scalar_mean
        if self.row.scales and scalar_mean and two == "prior_mean":
            own = self.shapes[self.scale["z_" if one == "z_mean" else ""]]
            if not a and not fits(own, b):
                a = own
        shape = joint(a, b)
        events(self.given[axis], len(shape))
        need(len(a) == len(b) or scalar or from_the_end(self.given[axis]))
        return shape

    def rest(self, shape: Shape, scales: Sequence[str], rows: Shape | None = None) -> Shape:
        """Scales, weight, where and reduction of a call on `shape`."""
        given = self.given
        own_rows = rows_of(shape, given["axis"])
        for prefix in scales:
            if prefix in self.scale:
                self.rule(need, fits(self.shapes[self.scale[prefix]], shape))
        self.mask("where", shape)
        weight = None if given["weight"] is None else self.rule(real, given["weight"])
        if weight is not None:
            whole = rows is None and weight.ndim == len(shape) and fits(weight.shape, shape)
            self.rule(need, whole or weight.shape == (own_rows if rows is None else rows))
        return own_rows

    def mask(self, key: str, shape: Shape) -> None:
        mask = None if self.given[key] is None else self.rule(real, self.given[key])
        if mask is not None:
            self.rule(need, mask.dtype == bool, TypeError)
            self.rule(need, fits(mask.shape, shape))

    def one_event(self, ndim: int) -> None:
        self.rule(need, self.given["reduction"] == "none" or self.axis_given or ndim != 1)

    def shapes_loss(self) -> dict[str, Shape]:
        self.data = self.frame(*self.row.data)
        self.one_event(len(self.data))
        for key in self.row.operands[2:]:
            self.rule(need, fits(self.shapes[key], self.data))
        return {"value": self.rest(self.data, tuple(self.row.forms))}

    def shapes_elbo(self) -> dict[str, Shape]:
        x, recon = self.shapes["x"], self.shapes["recon"]
        self.one_event(len(x))
        z_data = self.rule(self.frame, "z_mean", "prior_mean", "z_axis")
        extra = len(recon) - len(x)
        need(extra in (0, 1) and recon[extra:] == x and 0 not in recon[:extra])
        rows = rows_of(x, self.given["axis"])
        need(not extra or from_the_end(self.given["axis"]))
        self.data = recon
        if z_data is None:
            return {}
        self.z_data = z_data
        need(rows == rows_of(self.z_data, self.given["z_axis"]))
        for prefix in ("z_", "prior_"):
            if prefix in self.scale:
                need(fits(self.shapes[self.scale[prefix]], self.z_data))
        self.mask("z_where", self.z_data)
        self.rest(recon, ("",), rows)
        return dict.fromkeys(VALUES, rows)

    def shapes_optimal(self) -> dict[str, Shape]:
        self.data = self.frame("x", "mean")
        return {"value": self.rest(self.data, ())}

    shapes_variance = shapes_optimal

    def shapes_iwae(self) -> dict[str, Shape]:
        self.data = self.shapes[self.row.operands[0]]
        return {"value": rows_of(self.data, self.given["axis"])}

    def shapes_bits(self) -> dict[str, Shape]:
        shapes = self.shapes_iwae()
        need(self.axis_given or len(self.data) != 1)
        self.rest(self.data, (), shapes["value"])
        return shapes

    def shapes_sample(self) -> dict[str, Shape]:
        scale, count = self.shapes[self.scale[""]], self.given["n_samples"]
        latents = self.shapes["mean"] or scale
        need(fits(scale, latents))
        if count is not None:
            need(hasattr(count, "__index__") and not isinstance(count, bool), TypeError)
            need(operator.index(count) >= 1)
        if "eps" not in self.arrays:
            shape = latents if count is None else (operator.index(count), *latents)
            return {"z": shape, "eps": shape}
        eps = self.shapes["eps"]
        need((eps == latents and count is None) or (eps[1:] == latents and count in (None, *eps[:1])))
        return {"z": eps}

    def shapes_slope(self) -> dict[str, Shape]:
        scale, z, passed = self.shapes[self.scale[""]], self.shapes["grad_z"], self.given["mean_shape"]
        need(self.shapes["eps"] == z)
        own = scale
        if passed is not None:
            try:
                own = tuple([operator.index(n) for n in (passed if type(passed) is tuple else (passed,))])
            except TypeError:
                raise Wrong(TypeError) from None
            need(fits(scale, own or scale))
        else:
            need(z == scale or len(scale) > 1)
        latents = own or scale
        need(z == latents or (len(z) == len(latents) + 1 and z[1:] == latents))
        return {"mean": own, "scale": scale}

    # --- out, and the domain

    def check_out(self, shapes: dict[str, Shape]) -> None:
        out, fields, given = self.given["out"], self.row.out, self.given
        if fields == ("value",):
            out = (out,)
        need(isinstance(out, tuple), TypeError)
        if self.row.loss == "sample" and "eps" in self.arrays and len(out) == 2:
            self.rule(need, out[1] is None)
        need(len(out) == len(fields))
        arrays = {name: array for name, array in zip(fields, out, strict=True) if array is not None}
        for name, array in arrays.items():
            good = isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray)
            if self.rule(need, good, TypeError) or not good:
                continue
            array = arrays[name] = np.asarray(array)  # whatever a subclass says of itself
            reduced = given.get("reduction", "none") != "none"
            self.rule(need, name in shapes and not (reduced and name in VALUES))
            self.rule(need, array.dtype == self.dtype and array.shape == shapes.get(name, array.shape))
            self.rule(need, array.flags.writeable and array.flags.aligned and distinct(array))
        if self.found:
            return
        for i, one in enumerate(arrays.values()):
            for two in list(arrays.values())[:i]:
                need(not (one.size and np.shares_memory(one, two)))
        if self.row.loss == "sample" and "z" in arrays and "eps" in self.arrays:
            eps = self.arrays["eps"]
            copied = not eps.ndim and eps.dtype != self.dtype
            need(copied or not np.shares_memory(arrays["z"], eps))

    def not_positive(self, asked: bool) -> bool:
        """Whether a linear scale is not positive where it counts."""
        if self.row.loss == "optimal" and self.row.out and asked:
            return bool(np.any(best_var(**Plain(self).arguments)[0] == 0))
        numbers = {key: key for key in self.row.operands[2:]} if self.row.declared else {}
        for prefix, name in (self.scale | numbers).items():
            if declared.is_log(name):
                continue
            raw = rounded(self.given[name], self.dtype)
            lifted = self.floored(prefix, name)
            bad = raw < 0 if lifted else raw <= 0
            if self.row.loss not in ("sample", "slope"):
                latent = self.row.loss == "elbo" and prefix
                where = self.given["z_where" if latent else "where"]
                bad = np.broadcast_to(bad, self.z_data if latent else self.data)
                bad = bad & (True if where is None else np.asarray(where))
            if bad.any():
                return True
        return False

    def floored(self, prefix: str, form: str) -> bool:
        floor = next((self.given[key] for key in FLOORS if key in self.given), 0.0)
        inverse = variance.FORMS.get(form, ("", 1))[1] < 0
        return prefix == "" and not inverse and float(np.asarray(floor)) > 0


def distinct(array: np.ndarray) -> bool:
    """Whether no two elements share a byte."""
    if array.size < 2 or array.flags.forc:
        return True
    steps = [step * np.arange(n) for step, n in zip(array.strides, array.shape, strict=True)]
    at = np.sort(sum(np.ix_(*steps), start=np.zeros((), np.intp)).ravel())
    return bool((np.diff(at) >= array.itemsize).all())
