"""Free bits: a KL that costs at least so much. Whole rows go through the core, other masks through NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fastelbo import _blocks, _core
from fastelbo._declare import DEFAULT_AXIS
from fastelbo._results import FreeBits
from fastelbo._rules.axes import check_one_event, event_axes
from fastelbo._rules.dtypes import as_operands
from fastelbo._rules.frames import Frame, along_rows, frame_of, with_events
from fastelbo._rules.integers import check_integers
from fastelbo._rules.options import choice, number
from fastelbo._rules.weights import as_mask, row_weight
from fastelbo._threads import get_num_threads
from fastelbo._typing import Array, Axis, Shape

#: Of all arguments, in order; None where the rules have to see to them
_floor_bits: Final[Callable[..., FreeBits | None]] = _core.bits_door(FreeBits, DEFAULT_AXIS, get_num_threads)


def free_bits(
    kl: npt.ArrayLike,
    min_kl: float,
    *,
    per: Literal["dim", "row"],
    average: Literal["first", "last"],
    axis: Axis = DEFAULT_AXIS,
    weight: npt.ArrayLike | None = None,
    where: npt.ArrayLike | None = None,
) -> FreeBits:
    """KL that costs at least `min_kl` nats, so that nothing is gained by making it smaller.

    With λ = `min_kl`, N rows and the KL of row n and dimension j, one of four modes::

        per="dim", average="first"    Σⱼ max(λ, (1/N) Σₙ KLₙⱼ)       Kingma et al.
        per="dim", average="last"     (1/N) Σₙ Σⱼ max(λ, KLₙⱼ)
        per="row", average="first"    max(λ, (1/N) Σₙ Σⱼ KLₙⱼ)
        per="row", average="last"     (1/N) Σₙ max(λ, Σⱼ KLₙⱼ)

    With weights (1/N) Σₙ is Σₙ wₙ· / Σₙ wₙ, the mean over the rows that count: λ is what a *real* row has to
    cost, so padding is in no mean, other than in the losses, whose "mean" divides by all rows.

    Parameters
    ----------
    kl : array_like, real
        KL of each latent in nats, as (N, J): ``gaussian_kl(..., axis=())``. For groups of latents the KL of
        each: ``gaussian_kl(..., axis=-1)`` of shape (N, J/size, size).
    min_kl : float
        λ ≥ 0, in nats: of each dimension, or of each row. Times log 2 for bits.
    per : {"dim", "row"}
        What the floor is for: each dimension, or the sum of them.
    average : {"first", "last"}
        Whether the mean over the batch is taken before the floor, or after it.
    axis : int, tuple of ints, () or None, default -1
        The axes of the dimensions; the others are the batch. Of 1-D data it has to be given.
    weight : array_like, real, optional
        Weights of the rows in the mean over the batch, in the rows' shape.
    where : array_like of bool, optional
        Broadcasts to `kl`. False removes a KL, as those of padded steps: (N, T, 1) for (N, T, J), say. What
        it holds touches nothing. The mean of a dimension is over the rows in which it is left; a row of which
        nothing is left is in no mean, and a dimension of which nothing is left not in the sum.

    Returns
    -------
    FreeBits
        Named tuple (value, factor). `value` is a Python float, in nats; NaN if no row counts. `factor` is 1
        where the KL counts, at the floor too, and 0 below it; it has as many axes as `kl`, with size 1 where
        all share it. With `weight` or `where` it is N·wₙ/Σ w in place of 1, with N all rows, and 0 for what
        is removed: so ``factor/N`` is always the derivative of `value` with respect to `kl`. Multiply the
        gradients of the KL's mean over the batch by it, or let ``gaussian_kl_grad(..., weight=factor,
        where=where, reduction="mean")`` do so. NaN makes the value NaN, and what shares its floor.

    Raises
    ------
    TypeError, ValueError
        For the dtype, `axis` and `where`, as `gaussian_nll`; ValueError also for unknown modes, for a
        `min_kl` that is not finite and ≥ 0, and for a `weight` that has not the rows' shape.

    References
    ----------
    .. [1] D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever and M. Welling, "Improving
       Variational Inference with Inverse Autoregressive Flow", arXiv:1606.04934 (2016), appendix C.8.

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> mean, logvar = np.array([[0.1, 2.0], [0.3, 1.0]]), np.zeros((2, 2))
    >>> kl = fe.gaussian_kl(mean, logvar=logvar, axis=())
    >>> value, factor = fe.free_bits(kl, 0.5, per="dim", average="first")
    >>> value, factor
    (1.75, array([[0., 1.]]))
    >>> fe.gaussian_kl_grad(mean, logvar=logvar, weight=factor, reduction="mean").mean
    array([[0. , 1. ],
           [0. , 0.5]])

    With a row of padding:

    >>> kl = np.array([[0.1, 2.0], [0.3, 1.0], [np.nan, np.nan]])
    >>> value, factor = fe.free_bits(kl, 0.5, per="row", average="last", where=[[True], [True], [False]])
    >>> round(value, 4), factor.T
    (1.7, array([[1.5, 1.5, 0. ]]))
    """
    found = _floor_bits(kl, min_kl, per, average, axis, weight, where)
    if found is not None:
        return found
    (array,), dtype = as_operands(("kl",), (kl,))
    check_integers(("kl",), (array,))
    check_one_event(f"kl of shape {array.shape}", axis, array.shape)
    dims = event_axes(axis, array.shape, "kl")
    of_rows = choice("per", per, ("dim", "row")) == "row"
    first = choice("average", average, ("first", "last")) == "first"
    instead = "call free_bits for each part of kl that has one of them"
    floor = number("min_kl", min_kl, "number of nats", instead=instead)
    frame = frame_of("kl", array.shape, dims)
    weights = None if weight is None else _row_weights(weight, frame)
    own: Any = True
    if where is not None:
        own = as_mask(where, frame, weight=False)
        own = own[(np.newaxis,) * (array.ndim - own.ndim)]
    bits = _Bits(array, dtype, floor, frame, of_rows, first, weights, own)
    with np.errstate(all="ignore"):
        of_whole_rows = own is True or all(own.shape[i] == 1 for i in dims)
        found = bits.of_kernel() if array.size and of_whole_rows else None
        return bits.of_any() if found is None else found


class _Bits(NamedTuple):
    """A call of `free_bits`, checked."""

    kl: Array
    dtype: np.dtype[Any]
    floor: float
    frame: Frame
    of_rows: bool
    first: bool
    weights: Any  # of the rows, with size 1 along the dimensions, or None
    own: Any  # what `where` leaves, with as many axes as kl, or True

    @property
    def batch(self) -> Shape:
        return tuple([i for i in range(self.kl.ndim) if i not in self.frame.events])

    def of_kernel(self) -> FreeBits | None:
        """Where `own` leaves whole rows; None where some sum is infinite or NaN, or has no weight."""
        rows, dims = self.frame.rows, self.frame.events
        weights = None if self.weights is None else np.ascontiguousarray(self.weights)
        there = None
        if self.own is not True:
            there = np.ascontiguousarray(np.broadcast_to(self.own, with_events(rows, self.frame)))
        found = _core.run_floor(
            self.dtype.char == "d", self.kl, self.floor, self.of_rows, self.first, sum(1 << i for i in dims),
            weights, there, get_num_threads,
        )  # fmt: skip
        return None if found is None else FreeBits(found[0], found[1][()])

    def of_any(self) -> FreeBits:
        """The same in NumPy, whatever is left, and whatever sums come to."""
        array, floor, own, of_rows = self.kl, self.floor, self.own, self.of_rows
        dims, batch, size = self.frame.events, self.batch, np.float64(math.prod(self.frame.rows))
        floored = np.array(array, np.float64, order="C")
        counts: Any = own
        if own is not True:
            floored = np.where(own, floored, 0.0)
            counts = np.broadcast_to(own, array.shape)
            counts = np.any(counts, axis=dims, keepdims=True) if of_rows else counts
        counted, total, gone = _batch_weights(self.weights, counts, batch, size)
        share = np.where(gone, 0.0, counted * (size / total))
        nothing = np.size(gone) > 0 and np.all(gone)

        def floored_at(kl: Array, floor: float) -> tuple[float, Array]:
            if of_rows:
                kl = _blocks.fold(kl, dims)
            if self.first:
                kl = _blocks.fold(_weighted(kl, counted, counted), batch) / total
                costs, rows = np.where(gone, 0.0, np.maximum(kl, floor)), np.float64(1)
            else:
                costs, rows = _weighted(np.maximum(kl, floor), counted, share), size
            value = _blocks.fold(costs, range(array.ndim)) / rows
            indicator = np.where(np.isnan(kl), np.nan, kl >= floor)
            return math.nan if nothing else value.item(), np.where(own, indicator * share, 0.0)

        value, factor = floored_at(floored, floor)
        if not nothing and not math.isfinite(value):
            # A sum may have overflowed that a mean would have brought back.
            down = 200
            if np.any(np.isfinite(floored) & (abs(floored) > np.ldexp(1.0, 1023 - down))):
                value, factor = floored_at(np.ldexp(floored, -down), math.ldexp(floor, -down))
                value = float(np.ldexp(value, down))
        return FreeBits(value, factor.astype(self.dtype)[()])


def _weighted(kl: Any, weights: Any, share: Any) -> Any:
    """KL times its share, by the weights; an infinite one of weight 0 is in no mean that there is either."""
    products = kl * share
    infinite = np.isinf(kl)
    if infinite.any():
        products = np.where(
            infinite, np.where((weights == 0) & ~np.isnan(share), 0.0, kl * np.sign(weights)), products
        )
    return products


def _row_weights(weight: Any, frame: Frame) -> Any:
    why = "the mean over the batch is of rows"
    array = row_weight(weight, np.dtype(np.float64), frame.rows, why)
    return along_rows(array.astype(np.float64), frame)


def _batch_weights(weights: Any, counts: Any, batch: tuple[int, ...], size: Any) -> tuple[Any, Any, Any]:
    """w, 0 for what does not count; its sum over the batch; and whether nothing counts there.

    w is in units of a power of two near the largest |w| of each mean, and so no sum or product over- or
    underflows that the mean does not.
    """
    if weights is None and counts is True:
        return np.float64(1), size, False
    counted = np.where(counts, 1.0 if weights is None else weights, 0.0)
    gone = False if counts is True else ~np.any(counts, axis=batch, keepdims=True)
    if weights is not None:
        largest = np.max(abs(counted), axis=batch, keepdims=True, initial=0.0)
        unit = np.where(np.isfinite(largest), np.frexp(largest)[1], 0)
        scaled = np.ldexp(counted, -unit)
        least = np.copysign(np.finfo(np.float64).smallest_subnormal, counted)
        counted = np.where((counted != 0) & (scaled == 0), least, scaled)
    return counted, _blocks.fold(counted, batch), gone
