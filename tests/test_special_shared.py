"""Special values of a shared scale have one class in every shape of it, under weights, masks and sums."""

import itertools
from typing import Any

import numpy as np
import pytest

import fastelbo as fe
import rounding
import summing
import variance
from marks import DTYPES

SHAPES = {"number": (), "row": (3,), "column": (2, 1), "one": (1, 1)}
SPECIAL = (np.nan, np.inf, "largest", "smallest", "tiny", -np.inf)
OPTIONS = {
    "plain": {},
    "weight": {"weight": np.array([1, 2], np.float32)},
    "infinite weight": {"weight": np.array([np.inf, 1], np.float32)},
    "where": {"where": np.array([[True, True, False]])},
    "sum": {"reduction": "sum"},
}


def special(what: Any, dtype: Any) -> Any:
    limits = np.finfo(dtype)
    numbers = {"largest": limits.max, "smallest": limits.smallest_subnormal, "tiny": limits.tiny}
    return dtype(numbers.get(what, what))


def agree(got: Any, want: Any, size: Any, dtype: Any) -> bool:
    """One class, or both near the largest number; if finite, within 64 eps of a size, and subnormal units."""
    got, want, size = (np.asarray(one, float) for one in (got, want, size))
    with np.errstate(all="ignore"):
        near = abs(got - want) <= 64 * rounding.eps(dtype) * size + 8 * float(
            np.finfo(dtype).smallest_subnormal
        )
        overflows = (abs(want) > 0.99 * float(np.finfo(dtype).max)) & (got * want > 0)
    return bool(np.all(near | (got == want) | overflows | (np.isnan(got) & np.isnan(want))))


@DTYPES
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("form", variance.SCALES)
@pytest.mark.parametrize("loss", ["gaussian_nll", "gaussian_kl", "prior"])
def test_special_values_have_one_class_in_every_shape_of_scale(loss, form, options, dtype):
    """A scale that is shared, or one a row, against the same numbers for each element (see test_special)."""
    call = fe.gaussian_nll_grad if loss == "gaussian_nll" else fe.gaussian_kl_grad
    own, given = ("prior_scale", {"var": dtype(0.7)}) if loss == "prior" else ("scale", {})
    key, wrong = "prior_" + form if loss == "prior" else form, []
    for what, r, (name, shape) in itertools.product(
        SPECIAL, (0.0, 1.5, -np.inf, np.nan, "largest"), SHAPES.items()
    ):
        raw = special(what, dtype)
        if raw <= 0 and form in variance.LINEAR:
            continue
        x = np.full((2, 3), 0.5, dtype)
        x[0, 1] = special(r, dtype)
        scale = np.full(shape, raw, dtype)
        if name == "column":
            scale[1] = variance.raw_of(form, 0.3)
        operands = (x, np.zeros_like(x)) if loss == "gaussian_nll" else (x,)
        wrt = (("x",) if loss == "gaussian_nll" else ()) + ("mean", own)
        options_of = given | OPTIONS[options] | {"wrt": wrt}
        got = call(*operands, **{key: scale}, **options_of)._asdict()
        each = call(*operands, **{key: np.broadcast_to(scale, x.shape).copy()}, **options_of)._asdict()
        with np.errstate(all="ignore"):
            elements = np.asarray(each[own], float)
            each[own], size = (
                summing.sum_to(array, x.shape, shape).astype(float) for array in (elements, abs(elements))
            )
        if not np.isnan(
            [float(raw), float(x[0, 1])]
        ).any():  # a shared variance of 0: what is not 0 outgrows the logarithms
            each["value"] = np.where(np.isnan(each["value"]), got["value"], each["value"])
        for member in ("value", *wrt):
            most = size if member == own else abs(np.asarray(each[member], float)) + 1500
            if member == own and (
                options == "infinite weight" or not np.isnan(elements).any()
            ):  # infinite ones of both signs have no sum
                each[own] = np.where(np.isnan(each[own]), got[own], each[own])
            if not agree(got[member], each[member], most, dtype):
                about = f"{member} of {key}={raw} as {name}, r={r}"
                wrong.append(f"{about}: {np.array(got[member])}, not {np.array(each[member])}")
    assert not wrong, f"{len(wrong)} wrong, such as " + "; ".join(wrong[:: len(wrong) // 5 + 1])
