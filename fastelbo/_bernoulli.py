"""A stand-in for the core's kernel of the Bernoulli NLL, in NumPy, with the arguments of `_core.run`.

It takes extended precision where NumPy has it, and temporaries. The kernel replaces it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _times(one: Array, two: Array) -> Array:
    """A product in which 0 makes 0, of infinite factors too."""
    return np.where(((one == 0) & ~np.isnan(two)) | ((two == 0) & ~np.isnan(one)), 0, one * two)


def run(
    loss: str,
    is_double: bool,
    n_event: int,
    arguments: tuple[Array | None, ...],
    broadcast: tuple[int, ...],
    scale_kind: int,
    prior_kind: int,
    min_var: float,
    full: bool,
    reduction: str,
    value: Array | None,
    gradients: tuple[Array | None, ...],
    aliased: bool,
    /,
) -> tuple[float | None, bool]:
    """As `_core.run`; no argument of this loss is out of its domain."""
    x, logits, _, _, weight, where = (
        None if array is None else np.array(array, np.longdouble, order="C") for array in arguments
    )
    assert x is not None
    assert logits is not None
    with np.errstate(all="ignore"):
        # max(l, 0) − x·l, as one product
        terms = _times(np.where(logits > 0, 1 - x, -x), logits) + np.log1p(np.exp(-abs(logits)))
        derivatives = [-logits, 1 / (1 + np.exp(-logits)) - x]
        n_rows = np.prod(x.shape[: x.ndim - n_event])
        share = np.longdouble(n_rows if reduction == "mean" else 1)

        def select(array: Array) -> Array:
            weighted = array if weight is None else weight * array
            return weighted if where is None else np.where(where != 0, weighted, 0)

        rows = select(terms).sum(axis=tuple(range(x.ndim - n_event, x.ndim)))
        for target, derivative, bits in zip(gradients, derivatives, broadcast, strict=False):
            if target is not None:
                axes = tuple([i for i in range(x.ndim) if bits >> i & 1])
                summed = (select(derivative) / share).sum(axis=axes, keepdims=True)
                target[tuple([slice(1) if i in axes else slice(None) for i in range(x.ndim)])] = summed
        if value is not None:
            value[...] = rows
        return None if reduction == "none" else float(rows.sum() / share), False
