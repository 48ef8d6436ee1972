"""What the contract makes of a call, written a second time: which errors are right, or which answer.

`Checks` tells the exception types that a call of any public function with array arguments may raise, from
its arguments alone; `truth` the answer of a call without faults, by `fastelbo.reference` where that has it,
and how far from it a result may be.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import operator
import sys
import types
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import declared
import fastelbo as fe
import oracles
from fastelbo import reference
from fastelbo._declare import EMPTY, FLOORS, Joint, Loss, Scale
from fastelbo.reference._rows import Rows, event_axes, sum_over
from fastelbo.reference._scales import log_variance

AxisError = np.exceptions.AxisError
VALUES = ("value", "nll", "kl")
REAL = "?bBhHiIlLqQefd"
Shape = tuple[int, ...]


class Function(NamedTuple):
    """A public function: its rules, its arrays but for scales, the members of `out`; and what declares it."""

    loss: str
    operands: tuple[str, ...]
    scales: tuple[Scale, ...] = ()
    out: tuple[str, ...] = ()
    declared: Loss | None = None

    @property
    def forms(self) -> dict[str, tuple[str, ...]]:
        """The keywords of its scales, by their prefixes."""
        return {scale.prefix: declared.forms(scale) for scale in self.scales}

    @property
    def data(self) -> tuple[str, ...]:
        """The two operands of a loss that make its shape."""
        return self.operands[:2]


def _of_loss(loss: Loss, grad: bool) -> Function:
    operands = (*loss.operands[:2], *([loss.number] if loss.number else []))
    return Function("loss", operands, loss.scales, loss.fields if grad else (loss.value,), loss)


def _of_joint(joint: Joint, grad: bool) -> Function:
    operands = (*joint.nll.operands[:2], *joint.kl.operands[:2])
    return Function("elbo", operands, joint.all_scales, joint.fields if grad else ())


_DECLARED = [(declared.LOSSES, _of_loss), (declared.JOINTS, _of_joint)]
FUNCTIONS = {
    name + "_grad" * grad: row(one, grad)
    for rows, row in _DECLARED
    for name, one in rows.items()
    for grad in (False, True)
} | {
    "optimal_var": Function("variance", ("x", "mean")),
    "optimal_nll": Function("optimal", ("x", "mean")),
    "optimal_nll_grad": Function("optimal", ("x", "mean"), (), fe.OptimalNLLGrad._fields),
    "reparameterize": Function("sample", ("mean", "eps"), (Scale(),), fe.Reparameterized._fields),
    "reparameterize_grad": Function("slope", ("grad_z", "eps"), (Scale(),), fe.ReparameterizeGrad._fields),
    "iwae_bound": Function("iwae", ("log_w",)),
    "free_bits": Function("bits", ("kl",)),
}
#: The keywords of all scales that a gradient may be with respect to
SCALES = {
    member: tuple(dict.fromkeys([key for row in FUNCTIONS.values() for key in row.forms.get(prefix, ())]))
    for member, prefix in (("scale", ""), ("z_scale", "z_"), ("prior_scale", "prior_"))
}
PARAMETERS = {name: inspect.signature(getattr(fe, name)).parameters for name in FUNCTIONS}
DEFAULTS = {name: {key: p.default for key, p in found.items()} for name, found in PARAMETERS.items()}


def scales_of(row: Function, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """The scales that are given, by prefix."""
    return {prefix: [key for key in keys if given[key] is not None] for prefix, keys in row.forms.items()}


def argument_of(member: str, given: Mapping[str, Any]) -> Any:
    """What a gradient is the gradient of; None for a prior that is not there."""
    if member not in SCALES:
        return given[member]
    return next((given[key] for key in SCALES[member] if given.get(key) is not None), None)


# --- which errors -------------------------------------------------------------------------------------------


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
        inverse = oracles.FORMS.get(form, ("", 1))[1] < 0
        return prefix == "" and not inverse and float(np.asarray(floor)) > 0


def distinct(array: np.ndarray) -> bool:
    """Whether no two elements share a byte."""
    if array.size < 2 or array.flags.forc:
        return True
    steps = [step * np.arange(n) for step, n in zip(array.strides, array.shape, strict=True)]
    at = np.sort(sum(np.ix_(*steps), start=np.zeros((), np.intp)).ravel())
    return bool((np.diff(at) >= array.itemsize).all())


def rounded(value: Any, dtype: np.dtype) -> np.ndarray:
    """In float64, but with the value that takes part: what has no axes is in the computing dtype."""
    array = np.asarray(value)
    with np.errstate(all="ignore"):
        return np.asarray(array if array.ndim else array.astype(dtype), np.float64)


# --- which answer -------------------------------------------------------------------------------------------


class Plain:
    """The numbers of a call in float64."""

    def __init__(self, checks: Checks) -> None:
        given = checks.given
        self.arguments = given | {key: rounded(given[key], checks.dtype) for key in checks.names}
        of_call = list(checks.row.declared.parameters_of_call) if checks.row.declared else []
        for option in (*FLOORS, "min_kl", "beta", *of_call):
            if given.get(option) is not None:
                self.arguments[option] = float(np.asarray(given[option]))
        if "x_scale" in given:
            self.arguments["x_scale"] = float(checks.dtype.type(float(np.asarray(given["x_scale"]))))
        if given.get("weight") is not None:
            self.arguments["weight"] = np.asarray(np.asarray(given["weight"]).astype(checks.dtype), float)
        for option in ("axis", "z_axis"):
            if option in given and not isinstance(given[option], tuple) and given[option] is not None:
                self.arguments[option] = int(given[option])
        for option in ("where", "z_where"):
            if given.get(option) is not None:
                self.arguments[option] = np.array(given[option])


class Answer(NamedTuple):
    """A result in float64, and the sum of the absolute terms it is made of."""

    value: Any
    size: Any


def truth(name: str, checks: Checks) -> dict[str, Answer]:
    """The members of the answer, or "value"; to be called before the arguments are overwritten.

    A member that sums any part of its elements is within 11·eps·Σ|term| of the exact answer: 6 eps an
    element, 8 additions of u, the last rounding. The reference rounds in float64, by its textbook formula:
    with |log σ²| ≤ 4 and |d| ≤ 8 its terms, of the sizes of `loss_sizes`, are right to 10 eps before they are
    summed. 32·eps·Σ|term| are ample for both, and an error of structure is a share of a term.
    """
    row, arguments = FUNCTIONS[name], Plain(checks).arguments
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference's, of the mean of nothing
        if row.loss in ("iwae", "bits"):
            return OTHERS[row.loss](**arguments)
        for prefix, scale in checks.scale.items():
            if 0 in (checks.z_data if row.loss == "elbo" and prefix else checks.data):  # no element counts
                arguments[scale] = np.ones_like(arguments[scale])
        if row.loss == "sample" and arguments["eps"] is None:
            noise = copy.deepcopy(arguments["rng"]).standard_normal(checks.results["z"], checks.dtype)
            arguments |= {"eps": noise.astype(float), "rng": None}
        arguments |= {"out": None} if "out" in arguments else {}
        found = getattr(reference, name)(**arguments)
        found = found._asdict() if hasattr(found, "_asdict") else {"value": found}
        if row.declared:
            size = loss_sizes(row.declared, arguments)
        elif row.loss == "elbo":
            size = elbo_sizes(declared.JOINTS[name.removesuffix("_grad")], arguments)
        else:
            size = SIZES[row.loss](**arguments)
        return {key: Answer(value, size[key]) for key, value in found.items() if value is not None}


def _scale(scale: Scale, given: Mapping[str, Any], log_floor: float = -np.inf) -> Any:
    """s = log σ², ds/d(raw) and raw; of a prior that is not passed s = 0."""
    for form, key in zip(oracles.SCALES, scale.names, strict=True):
        if key and given.get(key) is not None:
            raw = given[key]
            return (*log_variance(form, key, raw, given.get("where"), log_floor), raw)
    return np.zeros(()), np.zeros(()), np.zeros(())


def _rows(shape: Shape, given: Mapping[str, Any]) -> Rows:
    weight = given.get("weight")
    return Rows(
        shape, given["axis"], None if weight is None else abs(weight), given.get("where"),
        given.get("reduction", "none"),
    )  # fmt: skip


def loss_sizes(loss: Loss, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of any loss, by the maths of its declaration at all signs of its two operands, and at 0.

    They are the sums of a term's parts, whichever cancel; beside these a unit, of what each is: 1 for a
    value, 1/σ for the gradient of data, d log σ²/d(raw) for that of a scale.
    """
    factor, floor = given.get("x_scale", 1.0), given.get(loss.floor, 0.0)
    log_floor = np.log(floor) * (1 if loss.floor == "min_var" else 2) if floor else -np.inf
    found = [_scale(scale, given, -np.inf if i else float(log_floor)) for i, scale in enumerate(loss.scales)]
    a = types.SimpleNamespace(**given, scales=[(s, slope) for s, slope, _ in found])
    for key, none in loss.parameters_of_call.items():
        setattr(a, key, none if given[key] is None else given[key])
    first, second = (abs(given[key]) for key in loss.operands[:2])
    total: dict[str, Any] = dict.fromkeys(loss.fields, 0.0)
    for one, two in [*itertools.product((1, -1), repeat=2), (0, 0)]:
        setattr(a, loss.operands[0], one * first)
        setattr(a, loss.operands[1], two * second)
        a.r = factor * one * first - two * second
        total = {key: size + abs(a_term) for (key, size), a_term in _zip(total, loss.maths(a))}
    inverse = np.exp(-found[-1][0] / 2) if found else 1.0
    units = {"value": 1.0} | {key: (1 + abs(factor)) * inverse for key in loss.operands[:2]}
    units |= {key: abs(slope) for key, (_, slope, _) in zip(loss.operands[2:], found, strict=True)}
    likes = dict(zip(loss.operands, [first, second, *[raw for _, _, raw in found]], strict=True))
    shapes = [first.shape, second.shape]
    if loss.scalar_mean and not first.ndim:
        shapes.append(likes[loss.operands[2]].shape)
    rows = _rows(np.broadcast_shapes(*shapes), given)
    return {
        key: rows.grad(size + units[key], likes[key]) if key in likes else rows.value(size + units[key])
        for key, size in total.items()
    }


def _zip(sizes: Mapping[str, Any], terms: Mapping[str, Any]) -> Any:
    return [((key, size), terms[key]) for key, size in sizes.items()]


def elbo_sizes(joint: Joint, given: dict[str, Any]) -> dict[str, Any]:
    x, recon, beta, reduction = given["x"], given["recon"], given["beta"], given["reduction"]
    sampled = recon.ndim > x.ndim
    samples = len(recon) if sampled else 1
    event = tuple([i - x.ndim for i in event_axes(x.ndim, given["axis"])])
    weight = given["weight"]
    spread = None if weight is None else np.expand_dims(weight, event)
    if spread is not None and sampled:
        spread = spread[np.newaxis]
    nll = _half(joint.nll, given, axis=event, weight=spread)
    kl = _half(joint.kl, given)
    value = nll["value"].mean(axis=0) if sampled and reduction == "none" else nll["value"]
    value = value / samples if reduction == "sum" else value
    share = 1 if reduction == "mean" else samples
    found = {"value": value + beta * kl["value"], "nll": value, "kl": kl["value"]}
    for half, factor, sizes in ((joint.nll, 1 / share, nll), (joint.kl, beta, kl)):
        own = declared.LOSSES[half.name].operands
        found |= {name: factor * sizes[mine] for name, mine in zip(half.operands, own, strict=True)}
    return found


def _half(half: Loss, given: Mapping[str, Any], **other: Any) -> dict[str, Any]:
    """Of a loss in a joint, where some of its arguments have other names."""
    own = declared.LOSSES[half.name]
    called = dict(zip(own.operands, half.operands, strict=True)) | {"axis": half.axis, "where": half.mask}
    for mine, there in zip(own.scales, half.scales, strict=True):
        called |= dict(zip(mine.names, there.names, strict=True))
    names = [parameter.name for parameter in own.parameters(grad=False) if parameter.name != "out"]
    return loss_sizes(own, {name: given[called.get(name, name)] for name in names} | other)


def best_var(x: Any, mean: Any, x_scale: float, axis: Any, min_var: float = 0.0, **given: Any) -> Any:
    """σ*² of the reference, 1 where nothing counts; and how large its terms are."""
    with np.errstate(all="ignore"):
        r, size = x_scale * x - mean, abs(x_scale * x) + abs(mean)
        rows = _rows(r.shape, given | {"axis": axis, "reduction": "none"})
        total, sse, most = (
            np.expand_dims(sum_over(rows.select(squares), rows.event), rows.event)
            for squares in (np.ones_like(r), r * r, size * size)
        )
        nothing = (total == 0) & (sse == 0)
        var = np.maximum(np.where(nothing, 1.0, sse / total), min_var)
        return var, np.where(nothing, 0.0, most / total)


def optimal_sizes(x: Any, mean: Any, x_scale: float, full: bool = True, **given: Any) -> dict[str, Any]:
    """What rounding makes of the MSE is a share of the squares of |x| + |mean|, not of r²."""
    r = abs(x_scale * x) + abs(mean)
    rows = _rows(r.shape, given)
    var, most = best_var(x, mean, x_scale, **given)
    return {
        "value": rows.value(full + abs(np.log(var)) / 2 + np.broadcast_to(most / var, r.shape)),
        "x": rows.grad(abs(x_scale) * r / var * (1 + most / var), x),
        "mean": rows.grad(r / var * (1 + most / var), mean),
        "variance": np.squeeze(most, rows.event),
    }


def sample_sizes(mean: Any, eps: Any, **given: Any) -> dict[str, Any]:
    s, _, _ = _scale(Scale(), given)
    return {"z": abs(mean) + np.exp(s / 2) * abs(eps), "eps": np.zeros(())}


def slope_sizes(grad_z: Any, eps: Any, mean_shape: Any, **given: Any) -> dict[str, Any]:
    s, slope, raw = _scale(Scale(), given)
    rows = Rows(grad_z.shape, (), None, None, "none")
    return {
        "mean": rows.grad(abs(grad_z), np.empty(raw.shape if mean_shape is None else mean_shape)),
        "scale": rows.grad(abs(grad_z * eps * np.exp(s / 2) * slope) / 2, raw),
    }


SIZES = {
    "optimal": optimal_sizes,
    "variance": lambda **given: {"value": optimal_sizes(**given)["variance"]},
    "sample": sample_sizes,
    "slope": slope_sizes,
}


def iwae(log_w: Any, axis: Any) -> dict[str, Answer]:
    axes = events(axis, log_w.ndim)
    most = log_w.max(initial=-1e300)
    w = np.exp(log_w - most)  # none underflows, of |log w| ≤ 8
    total = w.sum(axis=axes, keepdims=True)
    value = most + np.log(total.squeeze(axes) / np.float64(math.prod([w.shape[i] for i in axes])))
    ess = (total**2 / np.sum(w * w, axis=axes, keepdims=True)).squeeze(axes)
    return {"value": Answer(value, 8 + abs(value)), "weights": Answer(w / total, 8 * w / total),
            "ess": Answer(ess, 8 * ess)}  # fmt: skip


def bits(
    kl: Any, min_kl: float, per: str, average: str, axis: Any, weight: Any, where: Any
) -> dict[str, Answer]:
    dims = events(axis, kl.ndim)
    batch = tuple([i for i in range(kl.ndim) if i not in dims])
    counts = np.broadcast_to(True if where is None else where, kl.shape)
    floored = np.where(counts, kl, 0.0)
    if per == "row":
        floored = floored.sum(axis=dims, keepdims=True)
        counts = np.any(counts, axis=dims, keepdims=True) if where is not None else np.array(True)
    w = np.where(counts, 1.0 if weight is None else np.expand_dims(weight, dims), 0.0)
    w = w + np.zeros(floored.shape)
    total = w.sum(axis=batch, keepdims=True)
    gone = np.zeros(total.shape, bool) if where is None else ~np.any(counts, axis=batch, keepdims=True)
    sizes = (w * abs(floored)).sum(axis=batch, keepdims=True) / total
    if average == "first":
        floored = (w * floored).sum(axis=batch, keepdims=True) / total
        costs = np.maximum(floored, min_kl)
    else:
        costs = (w * np.maximum(floored, min_kl)).sum(axis=batch, keepdims=True) / total
    value = np.where(gone, 0.0, costs).sum() if not gone.size or not gone.all() else np.nan
    share = np.where(gone, 0.0, w * math.prod([kl.shape[i] for i in batch]) / total)
    factor = np.where(np.isnan(floored), np.nan, floored >= min_kl) * share
    if where is not None:
        factor = np.where(np.reshape(where, (1,) * (kl.ndim - np.ndim(where)) + np.shape(where)), factor, 0.0)
    if weight is None and where is None:
        factor = np.where(np.isnan(floored), np.nan, floored >= min_kl)
    size = np.where(gone, 0.0, sizes).sum() + abs(value)
    return {"value": Answer(value, size), "factor": Answer(factor, abs(factor))}


OTHERS = {"iwae": iwae, "bits": bits}
