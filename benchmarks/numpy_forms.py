"""A call of fastelbo in NumPy, as a user would write it for float32.

A loss is Python source, made of the call's arguments and one formula per form of its scale: the term of an
element and its derivatives, with nothing done for accuracy or range. What `axis`, `weight`, `where`,
`reduction` … make of it is written once for all.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastelbo._declare import DEFAULT_AXIS, VALUES, Joint, Loss
from fastelbo._families import JOINTS, LOSSES

Args = Mapping[str, Any]
Shape = tuple[int, ...]
LOG_2PI = math.log(2 * math.pi)
SCOPE = {"np": np, "math": math, "LOG_2": math.log(2), "LOG_2PI": LOG_2PI}
LABEL = r"(?<![\w.])({})\b"  # a whole name, not an attribute


class MissingError(Exception):
    """NumPy has no such function; says which."""


class Formula(NamedTuple):
    """Of an element, with r = μ − x, or μ − μ_p in a KL; of a Bernoulli variable with its logits for μ.

    ‹…› is what full=False drops; `log` and `exp` without a module are of scales, which may be numbers.
    """

    term: str
    steps: str  # what a user gives a name, if it is used twice
    mean: str  # the derivatives
    scale: str  # of a Bernoulli variable: by x
    prior_scale: str = ""


_C = "math.lgamma(df / 2) - math.lgamma((df + 1) / 2) + 0.5 * math.log(math.pi * df)"
_T = "0.5 * (df + 1) * np.log(p)"
_F = Formula
# fmt: off
FORMULAS: dict[str, dict[str, Formula]] = {
    "nll": {
        "var": _F("0.5 * (log(‹2 * np.pi * ›var) + z2)", "z2 = r**2 / var",
                  "r / var", "0.5 * (1 - z2) / var"),
        "std": _F("‹0.5 * LOG_2PI + ›log(std) + 0.5 * z**2", "z = r / std", "z / std", "(1 - z**2) / std"),
        "logvar": _F("0.5 * (‹LOG_2PI + ›logvar + z2)", "w = exp(-logvar); z2 = r**2 * w",
                     "r * w", "0.5 * (1 - z2)"),
        "logstd": _F("‹0.5 * LOG_2PI + ›logstd + 0.5 * z**2", "w = exp(-logstd); z = r * w",
                     "z * w", "1 - z**2"),
        "precision": _F("0.5 * (‹LOG_2PI ›- log(precision) + r**2 * precision)", "", "r * precision",
                        "0.5 * (r**2 - 1 / precision)"),
    },
    "laplace": {
        "scale": _F("log(‹2 * ›scale) + a", "a = np.abs(r) / scale", "np.sign(r) / scale", "(1 - a) / scale"),
        "logscale": _F("‹LOG_2 + ›logscale + a", "w = exp(-logscale); a = np.abs(r) * w",
                       "np.sign(r) * w", "1 - a"),
    },
    "student_t": {
        "scale": _F(f"‹{_C} + ›log(scale) + {_T}", "z = r / scale; p = 1 + z**2 / df",
                    "(df + 1) / df * z / p / scale", "(1 - z**2) / p / scale"),
        "logscale": _F(f"‹{_C} + ›logscale + {_T}", "w = exp(-logscale); z = r * w; p = 1 + z**2 / df",
                       "(df + 1) / df * z / p * w", "(1 - z**2) / p"),
    },
    "bernoulli": {"": _F("np.log(p) - x * logits", "e = np.exp(logits); p = 1 + e", "e / p - x", "-logits")},
    "kl": {
        "var": _F("0.5 * (r**2 + var - 1 - log(var))", "", "r", "0.5 * (1 - 1 / var)"),
        "std": _F("0.5 * (r**2 + std**2 - 1) - log(std)", "", "r", "std - 1 / std"),
        "logvar": _F("0.5 * (r**2 + v - 1 - logvar)", "v = exp(logvar)", "r", "0.5 * (v - 1)"),
        "logstd": _F("0.5 * (r**2 + v - 1) - logstd", "v = exp(2 * logstd)", "r", "v - 1"),
        "precision": _F("0.5 * (r**2 + v - 1 + log(precision))", "v = 1 / precision",
                        "r", "0.5 * (1 - v) * v"),
    },
    "kl with a prior": {
        "var": _F("0.5 * (v + z2 - 1 - log(v))", "v = var / prior_var; z2 = r**2 / prior_var",
                  "r / prior_var", "0.5 * (v - 1) / var", "0.5 * (1 - v - z2) / prior_var"),
        "std": _F("0.5 * (v + z**2 - 1 - log(v))", "v = (std / prior_std)**2; z = r / prior_std",
                  "z / prior_std", "(v - 1) / std", "(1 - v - z**2) / prior_std"),
        "logvar": _F("0.5 * (v + z2 - 1 + prior_logvar - logvar)",
                     "w = exp(-prior_logvar); v = exp(logvar - prior_logvar); z2 = r**2 * w",
                     "r * w", "0.5 * (v - 1)", "0.5 * (1 - v - z2)"),
        "logstd": _F("0.5 * (v + z2 - 1) + prior_logstd - logstd",
                     "w = exp(-2 * prior_logstd); v = exp(2 * (logstd - prior_logstd)); z2 = r**2 * w",
                     "r * w", "v - 1", "1 - v - z2"),
        "precision": _F("0.5 * (v + z2 - 1 - log(v))",
                        "v = prior_precision / precision; z2 = r**2 * prior_precision",
                        "r * prior_precision", "0.5 * (1 - v) / precision",
                        "0.5 * (v + z2 - 1) / prior_precision"),
    },
}
# fmt: on
#: Kernels that NumPy has no function for
NO_FORMULA = {"discretized": "NumPy has no erf"}
FLOORED = {
    "var": "np.maximum(var, min_var)",
    "std": "np.maximum(std, math.sqrt(min_var))",
    "logvar": "np.maximum(logvar, math.log(min_var))",
    "logstd": "np.maximum(logstd, 0.5 * math.log(min_var))",
    "precision": "np.minimum(precision, 1 / min_var)",
    "scale": "np.maximum(scale, min_scale)",
    "logscale": "np.maximum(logscale, math.log(min_scale))",
}
#: σ, and its derivative
SIGMA = {
    "var": ("np.sqrt(var)", "0.5 / np.sqrt(var)"),
    "std": ("std", ""),
    "logvar": ("np.exp(0.5 * logvar)", "0.5 * np.exp(0.5 * logvar)"),
    "logstd": ("np.exp(logstd)", "np.exp(logstd)"),
    "precision": ("1 / np.sqrt(precision)", "-0.5 * precision**-1.5"),
}


# --- text ---------------------------------------------------------------------------------------------------


def rename(text: str, names: Mapping[str, str]) -> str:
    """Whole names replaced, all at once."""
    if not names:
        return text
    return re.sub(LABEL.format("|".join(map(re.escape, names))), lambda found: names[found[1]], text)


def uses(text: str, name: str) -> int:
    """How often a name occurs."""
    return len(re.findall(LABEL.format(re.escape(name)), text))


class Source:
    """A function to be: steps with names, results, and which of these it returns."""

    def __init__(self) -> None:
        self.steps: dict[str, str] = {}
        self.results: dict[str, str] = {}
        self.returned: list[str] = []

    def settle(self) -> None:
        """Drop the steps that nothing uses, and put those used once where they are used."""
        for name in reversed(list(self.steps)):
            text, others = self.steps[name], (*self.steps.values(), *self.results.values())
            if sum(uses(other, name) for other in others) > 1 and not text.isidentifier():
                continue
            del self.steps[name]
            step = text if text.isidentifier() else f"({text})"
            for texts in (self.steps, self.results):
                texts.update({key: rename(text, {name: step}) for key, text in texts.items()})

    def text(self, given: Args) -> str:
        """The function, of the arguments that it uses."""
        self.settle()
        lines = [f"{name} = {text}" for name, text in (self.steps | self.results).items()]
        parameters = [name for name in given if any(uses(line, name) for line in lines)]
        body = "".join(f"    {line}\n" for line in lines)
        return f"def call({', '.join(parameters)}):\n{body}    return {', '.join(self.returned)},\n"


def summed(text: str, shape: Shape, axes: Sequence[int], to: Shape | None = None) -> str:
    """A sum over axes; `to` is the shape that is left where it is not `shape` without the axes."""
    if not axes:
        return text
    over = "" if len(axes) == len(shape) else str(axes[0]) if len(axes) == 1 else str(tuple(axes))
    if to == ():
        return f"({text}).sum()"
    left = tuple([n for i, n in enumerate(shape) if i not in axes])
    return f"({text}).sum({over})" + (f".reshape({to})" if to and to != left else "")


def fitted(text: str, shape: Shape, to: Shape) -> str:
    """Summed over what an argument has not, or has with size 1."""
    wide = (1,) * (len(shape) - len(to)) + to
    return summed(text, shape, [i for i, n in enumerate(wide) if n == 1 < shape[i]], to)


def indexed(name: str, ndim: int, without: Sequence[int]) -> str:
    """With axes of size 1 in some places."""
    return f"{name}[{', '.join('None' if i in without else ':' for i in range(ndim))}]"


# --- losses -------------------------------------------------------------------------------------------------


def formula_of(loss: Loss, own: Loss, given: Args) -> tuple[Formula, dict[str, str]]:
    """The formula for the form that is passed, and the loss's names by those in it, which are `own`'s."""
    if loss.kernel not in FORMULAS:
        raise MissingError(NO_FORMULA[loss.kernel])
    if own.number and np.ndim(given[own.number]) and given.get("full", True):
        raise MissingError("NumPy has no lgamma")
    names = dict(zip(own.operands, loss.operands, strict=True))
    for mine, theirs in zip(own.scales, loss.scales, strict=True):
        names |= {a: b for a, b in zip(mine.names, theirs.names, strict=True) if a}
    passed = [key for scale in own.scales for key in scale.names if key and names[key] in given]
    prior = " with a prior" if len(passed) > 1 else ""
    return FORMULAS[loss.kernel + prior][passed[0] if passed else ""], names


class Part:
    """One loss of a call, which may be a call of its own."""

    def __init__(self, loss: Loss, given: Args, source: Source, prefix: str = "") -> None:
        own = next(each for each in LOSSES.values() if each.kernel == loss.kernel)
        self.loss, self.given, self.source = loss, given, source
        self.formula, self.names = formula_of(loss, own, given)
        self.canonical = {theirs: mine for mine, theirs in self.names.items()}
        self.shapes = {k: np.shape(a) for k, a in given.items() if isinstance(a, (np.ndarray, float))}
        scales = [name for scale in loss.scales for name in scale.names if name in given]
        self.scale, data = next(iter(scales), ""), [name for name in loss.operands if name in given]
        self.module = "np" if any(self.shapes[name] for name in scales) else "math"
        self._place(data + scales, given.get(loss.axis, DEFAULT_AXIS))
        self.floored = "floored" if given.get(loss.floor) else ""
        if self.floored:
            self._step(self.canonical[self.scale], "floored", FLOORED[self.canonical[self.scale]])
        if "x_scale" in given and "x" in data:
            self._step("x", "scaled", "x * x_scale")
        one, two = (*own.operands[:2],) if loss.kernel == "kl" else ("mean", "x")
        if own.differences:
            self._step("r", f"{prefix}r", f"{one} - {two}" if two == "x" or self.names[two] in given else one)
        for step in self.formula.steps.split("; ") if self.formula.steps else ():
            name, text = step.split(" = ")
            self._step(name, prefix + name, text)

    def _place(self, names: list[str], axis: Any) -> None:
        """The frame of all elements, the samples' axis in it, if there is one, and those of the events."""
        self.frame = np.broadcast_shapes(*[self.shapes[name] for name in names])
        ndim = len(self.frame)
        self.lead = ndim - len(self.shapes[names[0]]) if self.loss.value == "nll" else 0
        axes = range(self.lead, ndim) if axis is None else np.atleast_1d(np.array(axis, int)).tolist()
        self.events = tuple([i % ndim for i in axes])
        self.rows = tuple([n for i, n in enumerate(self.frame) if i >= self.lead and i not in self.events])
        weight = self.given.get("weight")
        self.by_rows = weight is not None and np.shape(weight) == self.rows and self.events != ()

    def _step(self, of: str, name: str, text: str) -> None:
        """A step of the source, which takes the place of a name in the formula."""
        self.source.steps[name] = self._own(text)
        self.shapes[name] = self._shape(self.source.steps[name])
        self.names[of] = name

    def _own(self, text: str) -> str:
        """A text of the formula, in the names and for the arguments of this call."""
        text = re.sub("‹(.*?)›", r"\1" if self.given.get("full", True) else "", text)
        return rename(re.sub(r"(?<![\w.])(log|exp)\(", rf"{self.module}.\1(", text), self.names)

    def _shape(self, text: str) -> Shape:
        return np.broadcast_shapes(*[shape for name, shape in self.shapes.items() if uses(text, name)])

    def _counted(self, text: str, weighted: bool) -> str:
        """With what `weight`, if so, and `where` make of an element."""
        if weighted and "weight" in self.given:
            events, ndim = [i - self.lead for i in self.events], len(self.frame) - self.lead
            text = f"({text}) * {indexed('weight', ndim, events) if self.by_rows else 'weight'}"
        return f"np.where({self.loss.mask}, {text}, 0)" if self.loss.mask in self.given else text

    def value(self, reduction: str) -> str:
        """What the loss returns."""
        text = self._counted(self._own(self.formula.term), weighted=not self.by_rows)
        text = summed(text, self.frame, self.events)
        text = f"({text}).mean(0)" if self.lead else text
        text = f"({text}) * weight" if self.by_rows else text
        return text if reduction == "none" else f"({text}).{reduction}()"

    def gradient(self, operand: str, reduction: str, factor: str = "") -> str:
        """The derivative of what is returned, summed over the axes that the argument has not."""
        name, second = self.canonical[operand], "scale" if self.loss.scales else "x"
        text = self._own(self.formula[{second: 3, "prior_scale": 4}.get(name, 2)])
        text = f"-({text})" if name == "prior_mean" or (name == "x" != second) else text
        shape = self._shape(text)
        if self.floored and name == "scale":
            text = f"np.where({self.floored} == {self.scale}, {text}, 0)"
        counted = self._counted(text, weighted=True)
        to = self.shapes[self._argument(operand)]
        text = self._summed_to(counted, self.frame if counted != text else shape, to)
        text = f"({text}) * x_scale" if operand == "x" and "x_scale" in self.given else text
        text = f"{factor} * ({text})" if factor else text
        count = math.prod(self.frame[: self.lead]) * (math.prod(self.rows) if reduction == "mean" else 1)
        text = f"({text}) / {count}" if count != 1 else text
        return f"{text}.copy()" if text.isidentifier() else text

    def _argument(self, operand: str) -> str:
        scales = dict(zip(self.loss.operands[::-1], self.loss.scales[::-1], strict=False))
        names = scales[operand].names if operand in scales else (operand,)
        return next(name for name in names if name in self.given)

    def _summed_to(self, text: str, shape: Shape, to: Shape) -> str:
        """Of a shape that may itself be short of the frame: what is the same all over is multiplied."""
        if to == self.frame:
            return text
        wide = [(1,) * (len(self.frame) - len(s)) + s for s in (shape, to)]
        times = math.prod(n for n, a, b in zip(self.frame, *wide, strict=True) if a == b == 1)
        text = fitted(text, wide[0], to)
        return f"{times} * ({text})" if times > 1 else text


def loss_source(loss: Loss, grad: bool, given: Args) -> Source:
    """A loss, and its gradients."""
    part, reduction = Part(loss, given, Source()), given.get("reduction", "none")
    texts = {"value": part.value(reduction)}
    texts |= {name: part.gradient(name, reduction) for name in wanted(loss, grad, given)}
    return with_outputs(part.source, texts, given)


def joint_source(joint: Joint, grad: bool, given: Args) -> Source:
    """An ELBO: two losses, and their gradients."""
    source, reduction, beta = Source(), given.get("reduction", "mean"), str(given.get("beta", ""))
    nll, kl = Part(joint.nll, given, source), Part(joint.kl, given, source, "z_")
    texts = {
        "nll": nll.value(reduction),
        "kl": kl.value(reduction),
        "value": f"nll + {beta} * kl" if beta else "nll + kl",
    }
    for name in wanted(joint, grad, given):
        of_nll = name in joint.nll.operands
        texts[name] = nll.gradient(name, reduction) if of_nll else kl.gradient(name, reduction, beta)
    found = with_outputs(source, texts, given)
    found.returned.insert(0, found.returned.pop(2))
    return found


def wanted(loss: Loss | Joint, grad: bool, given: Args) -> list[str]:
    """The gradients that are asked for, in the order of the results."""
    wrt = given.get("wrt", loss.wrt) if grad else ()
    return [name for name in loss.fields if name == wrt or (not isinstance(wrt, str) and name in wrt)]


def with_outputs(source: Source, texts: dict[str, str], given: Args) -> Source:
    """Results under names of their own, or in the arrays of `out`."""
    for name, text in texts.items():
        own = name if name in VALUES else f"d_{name}"
        out = f"out_{name}" in given
        source.results[f"out_{name}[...]" if out else own] = text
        source.returned.append(f"out_{name}" if out else own)
    return source


# --- what is made of the losses, and samples ----------------------------------------------------------------


def optimal_source(name: str, given: Args) -> Source:
    """`optimal_var`, `optimal_nll` and its gradients."""
    source, frame, axis, weight = Source(), np.shape(given["x"]), given.get("axis"), given.get("weight")
    events = range(len(frame)) if axis is None else [axis % len(frame)]
    x, by_rows = "x * x_scale" if "x_scale" in given else "x", weight is not None and weight.ndim < len(frame)
    count, size = str(math.prod(frame[i] for i in events)), math.prod(frame)
    source.steps["r"], over = f"mean - {x}", "" if axis is None else str(axis)
    if "where" in given or (weight is not None and not by_rows):
        counted = "np.where(where, r**2, 0)" if "where" in given else "(weight * r**2)"
        count = "total"
        source.steps["total"] = f"{'where' if 'where' in given else 'weight'}.sum({axis}, dtype=r.dtype)"
        source.steps["mse"] = f"{counted}.sum({over}) / total"
    else:
        source.steps["mse"] = f"(r**2).mean({over})"
    if name == "optimal_var":
        return with_outputs(source, {"value": "mse"}, given)
    floor, reduction = given.get("min_var"), given.get("reduction", "none")
    source.steps["v"] = f"np.maximum(mse, {floor})" if floor else "mse"
    constant = "LOG_2PI + " if given.get("full", True) else ""
    value = f"0.5 * {count} * ({constant}np.log(v) + {'mse / v' if floor else '1'})"
    value += " * weight" if by_rows else ""
    texts = {"value": value if reduction == "none" else f"({value}).{reduction}()"}
    grad = "r / v" if axis is None else f"r / {indexed('v', len(frame), events)}"
    if weight is not None:
        grad += f" * {indexed('weight', len(frame), events) if by_rows else 'weight'}"
    grad = f"np.where(where, {grad}, 0)" if "where" in given else grad
    grad += f" / {size // math.prod(frame[i] for i in events)}" if reduction == "mean" else ""
    grads = {"x": f"-({grad})" + (" * x_scale" if "x_scale" in given else ""), "mean": grad}
    wrt = given.get("wrt", "mean") if name == "optimal_nll_grad" else ()
    return with_outputs(source, texts | {k: t for k, t in grads.items() if k == wrt or k in wrt}, given)


def reparameterize_source(name: str, given: Args) -> Source:
    """z = μ + σε."""
    source, form = Source(), next(form for form in SIGMA if form in given)
    shape = (
        (given["n_samples"], *np.shape(given["mean"])) if "n_samples" in given else np.shape(given["mean"])
    )
    if "eps" not in given:
        place = "out=out_eps" if "out_eps" in given else str(shape)
        dtype = np.asarray(given["mean"]).dtype.newbyteorder("=")
        source.results["eps"] = f"rng.standard_normal({place}, dtype=np.{dtype})"
    with_outputs(source, {"z": f"mean + {of_numbers(SIGMA[form][0], given[form])} * eps"}, given)
    source.returned.append("eps")
    return source


def reparameterize_grad_source(name: str, given: Args) -> Source:
    """Summed over samples, and over what the scale is broadcast over."""
    form = next(form for form in SIGMA if form in given)
    shape, scale, slope = np.shape(given["grad_z"]), np.shape(given[form]), SIGMA[form][1]
    mean = fitted("grad_z", shape, given.get("mean_shape", scale))
    product = "grad_z * eps" + (f" * ({of_numbers(slope, given[form])})" if slope else "")
    texts = {"mean": f"{mean}.copy()" if mean == "grad_z" else mean, "scale": fitted(product, shape, scale)}
    return with_outputs(Source(), texts, given)


def of_numbers(text: str, value: Any) -> str:
    """With functions of `math`, if it is of a number."""
    return text if np.ndim(value) else text.replace("np.", "math.")


def iwae_source(name: str, given: Args) -> Source:
    """The bound, the weights, the effective sample size."""
    source, axis, size = Source(), given.get("axis", 0), np.shape(given["log_w"])
    count = math.prod(size) if axis is None else size[axis]
    keep = f"{axis}, keepdims=True"
    source.steps |= {"top": f"log_w.max({keep})", "e": "np.exp(log_w - top)", "total": f"e.sum({keep})"}
    source.results |= {"value": f"(np.log(total / {count}) + top).squeeze({axis})", "weights": "e / total"}
    source.results["ess"] = f"1 / (weights**2).sum({axis})"
    source.returned = list(source.results)
    return source


def free_bits_source(name: str, given: Args) -> Source:
    """The floored KL, and its derivative for each KL, of a matrix."""
    source, floor, dims = Source(), given["min_kl"], given.get("axis", -1) % 2
    batch, n = f"({1 - dims}, keepdims=True)", np.shape(given["kl"])[1 - dims]
    weight = indexed("weight", 2, [dims]) if "weight" in given else "where.astype(kl.dtype)"
    weighted = "weight" in given or "where" in given
    source.steps |= {"own": "np.where(where, kl, 0)" if "where" in given else "kl", "w": weight}
    source.steps["share"] = "w / w.sum()"
    source.steps["k"] = f"own.sum({dims}, keepdims=True)" if given["per"] == "row" else "own"
    if given["average"] == "first":
        source.steps["m"] = f"(share * k).sum{batch}" if weighted else f"k.mean{batch}"
        value = f"np.maximum(m, {floor}).sum()"
    else:
        source.steps["m"] = "k"
        value = (
            f"(share * np.maximum(m, {floor})).sum()" if weighted else f"np.maximum(m, {floor}).sum() / {n}"
        )
    share = f" * ({n} * share)" if weighted else ".astype(kl.dtype)"
    source.results |= {"value": value, "factor": f"(m >= {floor})" + share}
    source.returned = list(source.results)
    return source


# --- calls --------------------------------------------------------------------------------------------------

OTHERS: dict[str, Callable[[str, Args], Source]] = {
    **dict.fromkeys(("optimal_var", "optimal_nll", "optimal_nll_grad"), optimal_source),
    "reparameterize": reparameterize_source,
    "reparameterize_grad": reparameterize_grad_source,
    "iwae_bound": iwae_source,
    "free_bits": free_bits_source,
}


def numpy_call(name: str, given: Args) -> functools.partial[Any]:
    """What a user would write for a call of fastelbo; MissingError where NumPy can't."""
    args, base, grad = dict(given), name.removesuffix("_grad"), name.endswith("_grad")
    out = args.pop("out", None)
    if out is not None:
        names, arrays = getattr(out, "_fields", ("value",)), out if isinstance(out, tuple) else (out,)
        args |= {f"out_{k}": a for k, a in zip(names, arrays, strict=True) if a is not None}
    if name in OTHERS:
        source = OTHERS[name](name, args)
    elif base in LOSSES:
        source = loss_source(LOSSES[base], grad, args)
    else:
        source = joint_source(JOINTS[base], grad, args)
    space: dict[str, Any] = dict(SCOPE)
    exec(text := source.text(args), space)
    function = space["call"]
    function.__doc__ = text
    taken = function.__code__.co_varnames[: function.__code__.co_argcount]
    return functools.partial(function, **{key: args[key] for key in taken})
