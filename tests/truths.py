"""Which answer of a call without faults is right, by `fastelbo.reference` where that has it; how nearly."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any, NamedTuple

import numpy as np

import declared
from contract import Checks, events
from fastelbo import reference
from signatures import FUNCTIONS
from sizes import SIZES, Plain, elbo_sizes, loss_sizes


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
