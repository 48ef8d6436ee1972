"""Outputs that share memory with inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from fastelbo._rules.call import Call, scalars_of, views_of
from fastelbo._rules.frames import spread
from fastelbo._rules.overlap import overlap, share_memory
from fastelbo._typing import Array


def untangle(
    call: Call, given: dict[str, Array], results: dict[str, Array], later: Iterable[Array | None] = ()
) -> tuple[bool, list[tuple[Array, Array]]]:
    """Outputs that share memory with inputs: whether to check the domain first, and what to copy in the end.

    In place is right only where output and input are the same element by element, unsummed: the core reads an
    element before it writes it. Any other overlap goes by a fresh array in `results`, copied after success;
    and so does one with what is read `later`, after this call.
    """
    check_first = share_memory(given.values(), scalars_of(call))
    copies: list[tuple[Array, Array]] = []
    frame, arrays = call.frame, call.inputs
    views = arrays if 0 in frame.shape else views_of(call)
    for name, target in given.items():
        if name not in results:
            continue
        shared = [
            view
            for array, view in zip(arrays, views, strict=True)
            if array is not None and view is not None and overlap(target, array)
        ]
        kept = share_memory([target], later)
        if not shared and not kept:
            continue
        view = results[name]
        if not kept and view.size == math.prod(frame.shape):
            view = (
                view[(..., *[np.newaxis] * len(frame.events))]
                if name == call.loss.value
                else spread(view, frame)
            )
            if all(_same_elements(view, other) for other in shared):
                check_first = True
                continue
        results[name] = np.empty_like(results[name], shape=target.shape)
        copies.append((target, results[name]))
    return check_first, copies


def _same_elements(one: Array, two: Array) -> bool:
    return one is two or (
        one.dtype == two.dtype
        and one.__array_interface__["data"][0] == two.__array_interface__["data"][0]
        and all(n == 1 or s == t for n, s, t in zip(one.shape, one.strides, two.strides, strict=True))
    )
