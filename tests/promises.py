"""What the precision policy promises of a whole call: weighted, summed, reduced, with its factors.

The bounds are those of test_accuracy and test_elbo, where they are derived; here they are put together for
any call. A result is within its bound of the answer at 60 digits wherever that is a number of its type;
where it is beyond, it is infinite. A reduced value is a Python float: it has the range of float64, and the
digits of the computing dtype. Of a sum whose parts are beyond float64, in both directions, nothing is
promised.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from mpmath import mp, mpf

import contract
import declared
import oracles
import rounding
import signatures
import summing
import variance
from digits import Exact
from rounding import eps
from variance import LOG

VALUES = signatures.VALUES
LARGEST = mpf(float(np.finfo(float).max))
#: How far an element may be off, in eps of its size: of a bin's probability by docs/numerics.md; of all
#: others, as of the NLL, some products, a logarithm, and what the factors round. Laplace's |x − μ|/b has four
#: roundings, of r, s, e^(−s) and the product, log b has two, and three terms are added: 3½ eps with a
#: weight. Student's t has 8u = 4 eps, 4½ with c(ν); the factors' roundings are three, 1½ eps.
ELEMENT = {"discretized_gaussian_nll": 20}
USUAL = 6
LANES = 4  # eps of the sum of the sizes: 8 additions of u
LAST = 1  # ... and the last rounding, of a gradient that is summed


def kl_ulps(q: str, p: str | None) -> int:
    """The bound of a KL, in ULP; a log form against a linear one has its slack on top."""
    if p is None:
        return 4 if q in LOG else 6
    return 6 if q in LOG and p in LOG else 8


def scale_of(prefix: str, arguments: Mapping[str, Any]) -> str | None:
    return next((form for form in variance.SCALES if arguments.get(prefix + form) is not None), None)


def is_divergence(loss: str) -> bool:
    """Whether the value is in ULP: no term of it is negative, unlike those of a likelihood."""
    return loss in declared.LOSSES and len(declared.LOSSES[loss].scales) == 2


def kl_slack(arguments: Mapping[str, Any], prefix: str, dtype: np.dtype) -> dict[str, Any]:
    """Of a log form against a linear one: what an error of d makes of value, ∂scale and ∂prior_scale."""
    q, p = scale_of(prefix, arguments), scale_of("prior_", arguments)
    if q is None or p is None or (q in LOG) == (p in LOG):
        return {}
    raw, prior_raw = arguments[prefix + q], arguments["prior_" + p]
    mean = arguments["z_mean" if prefix else "mean"]
    elbo = bool(prefix)
    shapes = [
        np.shape(mean),
        np.shape(arguments.get("prior_mean", 0.0)),
        () if np.ndim(mean) else np.shape(raw),
    ]
    axis = arguments.get("z_axis" if elbo else "axis", -1)
    where = arguments.get("z_where" if elbo else "where")
    reduction = arguments.get("reduction", "mean" if elbo else "none")
    sums = summing.Sums(np.broadcast_shapes(*shapes), axis, arguments.get("weight"), where, reduction)
    raws = [sums.spread(one) for one in (raw, prior_raw)]
    slack = {
        key: Exact(part, part) for key, part in rounding.logvar_slack(q, raws[0], p, raws[1], dtype).items()
    }
    return {
        "value": sums.value(slack["value"]).size,
        "scale": sums.grad(slack["scale"], raw).size,
        "prior_scale": sums.grad(slack["prior_scale"], prior_raw).size,
    }


def bounds(
    name: str, arguments: Mapping[str, Any], exact: Mapping[str, Exact], dtype: np.dtype
) -> dict[str, Any]:
    """How far each member may be from its exact value."""
    loss, e = name.removesuffix("_grad"), eps(dtype)
    elbo = loss in declared.JOINTS
    reduction = arguments.get("reduction", "mean" if elbo else "none")
    reduced, found = reduction != "none", {}
    kl_prefix = "z_" if elbo else ""
    slack = kl_slack(arguments, kl_prefix, dtype) if elbo or is_divergence(loss) else {}
    element = ELEMENT.get(loss, USUAL)
    beta = float(arguments.get("beta", 1.0)) if elbo else 1.0
    for member, (value, size) in exact.items():
        if member == "kl" or (is_divergence(loss) and member == "value"):
            most = (
                kl_ulps(scale_of(kl_prefix, arguments) or "logvar", scale_of("prior_", arguments)) + reduced
            )
            found[member] = most * rounding.ulp(value, dtype) + slack.get("value", 0)
        elif member in VALUES:
            found[member] = (element + LANES + (2 if elbo and not reduced else elbo)) * e * size
        else:
            most = element + (0 if is_elementwise(loss, member, arguments) else LANES + LAST)
            most += 2 * elbo + 2 * (elbo and reduction == "mean") + (loss == "optimal_nll")
            found[member] = most * e * size
            own = member.removeprefix("z_")
            if own in ("scale", "prior_scale") and (not elbo or member != "scale"):
                found[member] = found[member] + beta * slack.get(own, 0)
    if elbo:
        both = exact["nll"].size + beta * exact["kl"].value
        found["value"] = found["nll"] + beta * found["kl"] + e * both
    return found


def is_elementwise(loss: str, member: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a gradient's argument has an element for each of the loss."""
    argument = signatures.argument_of(member, dict.fromkeys(ALL) | dict(arguments))
    names = signatures.FUNCTIONS[loss].data
    if loss in declared.JOINTS:
        joint = declared.JOINTS[loss]
        half = joint.kl if member in joint.kl.operands else joint.nll
        names = half.operands[:2]
    full = np.broadcast_shapes(*[np.shape(arguments[key]) for key in names if key in arguments])
    if is_divergence(loss) and not full:
        full = np.shape(argument)
    return np.shape(argument) == full


_ROWS = [signatures.FUNCTIONS[name] for name in (*declared.LOSSES, *declared.JOINTS)]
#: All arguments of losses that take part in the computing dtype
ALL = tuple(
    dict.fromkeys([key for row in _ROWS for key in itertools.chain(row.operands, *row.forms.values())])
)


def summed(loss: str, member: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a member adds terms of both signs."""
    if member in VALUES:
        return loss in declared.LOSSES and not declared.LOSSES[loss].differences
    return not is_elementwise(loss, member, arguments)


def computing_dtype(arguments: Mapping[str, Any]) -> np.dtype:
    return contract.computing_dtype([arguments[key] for key in ALL if arguments.get(key) is not None])


def check(
    name: str, arguments: Mapping[str, Any], got: Any, members: Iterable[str] | None = None,
    exact: Mapping[str, Exact] | None = None, what: str = "",
) -> int:  # fmt: skip
    """Assert that a call's result is right, in those members or all; return how many answers were finite."""
    dtype = computing_dtype(arguments)
    exact = oracles.call(name, **arguments) if exact is None else exact
    allowed = bounds(name, arguments, exact, dtype)
    results = got._asdict() if hasattr(got, "_asdict") else {"value": got}
    reduction = arguments.get(
        "reduction", "mean" if name.removesuffix("_grad") in declared.JOINTS else "none"
    )
    checked = 0
    for member in results if members is None else members:
        result = results[member]
        if result is None:
            continue
        value, size = exact[member]
        wide = reduction != "none" and member in VALUES
        shown = f"{what or name}: {member}"
        if summed(name.removesuffix("_grad"), member, arguments):
            value = np.where(size > LARGEST, mp.inf, value)  # not compared
        own = np.dtype(float) if wide else dtype
        checked += rounding.check(result, value, allowed[member], own, shown)
        for index in np.ndindex(value.shape):
            kind, one = rounding.kind(value[index], size[index], own), np.asarray(result)[index]
            if mp.isinf(value[index]) and size[index] != mp.inf:
                continue
            if kind == "nan":
                assert np.isnan(one), f"{shown} at {index} is {one}, not NaN"
            elif kind in ("inf", "-inf"):
                assert one == float(kind), f"{shown} at {index} is {one}, not {kind}"
    return checked
