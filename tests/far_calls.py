"""Calls of every loss with extremes among their numbers, for the tests of factors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import declared
import fastelbo as fe
import signatures
import strategies
import variance
from fastelbo._declare import Scale

PRIORS = tuple([name for name, loss in declared.LOSSES.items() if len(loss.scales) == 2])
#: Each declared loss, and with a prior
ALONE = (*declared.LOSSES, *[f"{name} of a prior" for name in PRIORS])
LOSSES = (*ALONE, *declared.JOINTS)
SHAPES = ("number", "one", "row", "column", "elements")
DATA = ("recon", "x", "mean")
LATENT = ("z_mean", "z_scale", "prior_mean", "prior_scale")


class Call(NamedTuple):
    """A function, its arguments, and the names of the scales among them."""

    name: str
    arguments: dict[str, Any]
    scales: tuple[str, ...]
    dtype: Any

    def __call__(self, **changed: Any) -> dict[str, Any]:
        """Value and gradients, of all that is asked for."""
        got = getattr(fe, self.name)(**self.arguments | changed)._asdict()
        return {member: result for member, result in got.items() if result is not None}

    def argument(self, member: str) -> Any:
        return signatures.argument_of(member, {"prior_mean": 0.0} | self.arguments)

    def shape_of(self, member: str) -> tuple[int, ...]:
        """Of the elements that a member is made of."""
        latent = member in LATENT and "z_mean" in self.arguments
        key = "z_mean" if latent else next(key for key in DATA if key in self.arguments)
        return np.shape(self.arguments[key])

    @property
    def rows(self) -> int:
        return len(next(self.arguments[key] for key in ("x", "mean") if key in self.arguments))


def shape_of(kind: str, shape: tuple[int, int]) -> tuple[int, ...]:
    rows, columns = shape
    return {"number": (), "one": (1, 1), "row": (columns,), "column": (rows, 1), "elements": shape}[kind]


def numbers(dtype: Any, most: float = math.inf) -> st.SearchStrategy[float]:
    """Finite numbers of any size, half of them ordinary."""
    width, limits = np.finfo(dtype).bits, np.finfo(dtype)
    most = min(most, float(limits.max))
    ordinary = st.floats(-8, 8, width=32)
    decades = st.builds(
        lambda sign, m, e: float(np.clip(sign * m * 10.0**e, -most, most)),
        st.sampled_from((1, -1)), st.floats(1, 9.5, width=32),
        st.integers(int(math.log10(limits.smallest_subnormal)), int(math.log10(most)) - 1),
    )  # fmt: skip
    edges = (0.0, -0.0, float(limits.tiny), float(limits.smallest_subnormal), most, -most, most**0.5, 1e5)
    return st.one_of(ordinary, ordinary, decades, st.sampled_from(edges)).map(
        lambda one: float(np.array(one, f"f{width // 8}"))
    )


def raws(form: str, dtype: Any) -> st.SearchStrategy[float]:
    """Of a scale: any positive number, or a log to any that has a variance of any size."""
    limits = np.finfo(dtype)
    ordinary = st.floats(-4, 4, width=32).map(lambda s: float(variance.raw_of(form, s)))
    if declared.is_log(form):
        most = float(np.float32(1.2 * math.log(float(limits.max))))
        return ordinary | st.floats(-most, most, width=32) | st.sampled_from((800.0, -800.0, 0.0))
    return ordinary | numbers(dtype).map(lambda one: max(abs(one), float(limits.smallest_subnormal)))


@st.composite
def arrays(draw, shape: tuple[int, ...], dtype: Any, elements: st.SearchStrategy[float]) -> np.ndarray:
    count = math.prod(shape)
    drawn = draw(st.lists(elements, min_size=count, max_size=count))
    with np.errstate(all="ignore"):
        array = np.array(drawn, float).astype(dtype).reshape(shape)
    return np.clip(array, -np.finfo(dtype).max, np.finfo(dtype).max)


@st.composite
def scale(draw, of: Scale, shape: tuple[int, int], dtype: Any, kind: str | None = None) -> dict[str, Any]:
    key = draw(st.sampled_from(declared.forms(of)))
    form = declared.form_of(key)
    own = shape_of(kind or draw(st.sampled_from(SHAPES)), shape)
    raw = draw(arrays(own, dtype, raws(form, dtype)))
    if declared.is_linear(form):
        raw = np.maximum(raw, np.finfo(dtype).smallest_subnormal)
    return {key: np.asarray(raw)[()]}


@st.composite
def calls(draw, loss: str, kind: str | None = None, calm: bool = False) -> Call:
    """A call with extremes; `kind`: the shape of its scales. `calm`: no weight, no mask."""
    dtype = draw(strategies.dtypes)
    shape = draw(st.tuples(st.integers(1, 3), st.sampled_from((1, 2, 3, 9))))
    some = numbers(dtype)

    def data(own: tuple[int, ...]) -> np.ndarray:
        return draw(arrays(own, dtype, some))

    given: dict[str, Any] = {}
    name, with_prior = loss.removesuffix(" of a prior"), loss not in declared.LOSSES
    row = signatures.FUNCTIONS[f"{name}_grad"]
    if row.declared:
        one, two = row.data
        given = {one: data(shape)}
        if with_prior or two not in row.declared.defaults:
            given[two] = data(shape)
        for of in row.scales:
            if with_prior or of.required:
                given |= draw(scale(of, shape, dtype, kind))
        if row.declared.number:
            given[row.declared.number] = draw(st.sampled_from((0.5, 3.0, 40.0, math.inf)))
        given |= draw(st.sampled_from(declared.parameters(row.declared)))
    else:
        samples = draw(st.sampled_from(((), (2,))))
        latents = (shape[0], draw(st.integers(1, 2)))
        decoder, encoder, prior = row.scales
        given = {"x": data(shape), "recon": data((*samples, *shape)), "z_mean": data(latents)}
        given |= draw(scale(decoder, shape, dtype, kind)) | draw(scale(encoder, latents, dtype, kind))
        if draw(st.booleans()):
            given |= {"prior_mean": data(latents)} | draw(scale(prior, latents, dtype, kind))
    forms = tuple([key for key in given if declared.form_of(key) in variance.FORMS])
    have = {"prior_mean", *given}
    fields = [field for field in row.out if field not in signatures.VALUES]
    given["wrt"] = tuple(
        [field for field in fields if have.intersection(signatures.SCALES.get(field, [field]))]
    )
    given["axis"] = -1
    if not calm:
        mask_shape = np.shape(given.get("recon", given.get("x", given.get("mean"))))
        given["where"] = draw(st.none() | hnp.arrays(bool, mask_shape))
    return Call(f"{name}_grad", given, forms, dtype)
