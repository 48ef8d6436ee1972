"""What a user writes in NumPy for a call: losses by numpy_forms.py, and what is made of them here."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastelbo._families import JOINTS, LOSSES
from numpy_forms import SCOPE, SIGMA, Args, Source, fitted, indexed, joint_source, loss_source, with_outputs


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
