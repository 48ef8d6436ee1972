"""A call of fastelbo in NumPy, as a user would write it for float32.

A loss is Python source, made of the call's arguments and one formula per form of its scale: the term of an
element and its derivatives, with nothing done for accuracy or range. What `axis`, `weight`, `where`,
`reduction` … make of it is written once for all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastelbo._declare import DEFAULT_AXIS, VALUES, Joint, Loss
from fastelbo._families import LOSSES

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
