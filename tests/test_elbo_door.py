"""The fast door of the negative ELBO: it takes what it is for, and gives the bits of the general call.

Both make the same plan of the work or they differ. axis=(-1,) is the axis of the default, and never taken.
"""

import itertools

import numpy as np
import pytest

import fastelbo as fe
import sums
from elbos import WRT
from fastelbo import _losses
from fastelbo._declare import FORMS
from marks import DTYPES, REDUCTIONS, SAMPLES
from test_layouts import assert_same

#: Rows and features; those of one element are where broadcasting is told from a size of 1
SHAPES = ((5, 7), (1, 7), (5, 1), (1, 1), (2, 3, 7))
GENERAL = {"axis": (-1,)}
KEYWORDS = {"x": "x", "recon": "recon", "scale": "var", "z_mean": "z_mean", "z_scale": "z_var"}


def refuse(*arguments):
    raise AssertionError("the general call was taken")


@pytest.fixture
def closed(monkeypatch):
    """No way but through the door."""
    for name in ("neg_elbo", "neg_elbo_grad"):
        monkeypatch.setattr(_losses.doors[name], "general", refuse)


def scale_shapes(shape, samples):
    """All that broadcast to rows of `shape` and, with samples, to those."""
    found = [(), shape[-1:], (*shape[:-1], 1), shape]
    return found if samples is None else [*found, (samples, *shape[:-1], 1), (samples, *shape)]


def positive(k, shape, dtype):
    return sums.uniform(k, shape, dtype) + dtype(0.5) if shape else 0.75


def arguments(shape, samples, dtype, scale=None, z_scale=None, prior=None) -> dict:
    """Of a call; scales of the shapes given, by default an element each."""
    latents = (*shape[:-1], 4)
    lead = () if samples is None else (samples,)
    found = {"x": sums.uniform(0, shape, dtype), "recon": sums.uniform(1, lead + shape, dtype)}
    found |= {"z_mean": sums.uniform(2, latents, dtype) - dtype(0.5)}
    found |= {"var": positive(3, lead + shape if scale is None else scale, dtype)}
    found |= {"z_var": positive(4, latents if z_scale is None else z_scale, dtype)}
    if prior is not None:
        found |= {"prior_mean": sums.uniform(5, latents, dtype), "prior_var": positive(6, prior, dtype)}
    return found


def both(found, **options):
    """Of door and general call: the gradients, and the values of the other function, which are the same."""
    results = [fe.neg_elbo_grad(**found, **options, **way) for way in ({}, GENERAL)]
    values = {name: option for name, option in options.items() if name not in ("wrt", "out")}
    for way in ({}, GENERAL):
        assert_same(tuple(fe.neg_elbo(**found, **values, **way)), tuple(results[0][:3]))
    return results


@SAMPLES
@REDUCTIONS
@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_scale_gives_the_bits_of_the_general_call(shape, dtype, reduction, samples):
    latents = (*shape[:-1], 4)
    scales = scale_shapes(shape, samples)
    others = itertools.cycle(itertools.product(scale_shapes(latents, None), [None, (), (4,), latents]))
    for scale, (z_scale, prior) in itertools.product(scales, itertools.islice(others, 16)):
        found = arguments(shape, samples, dtype, scale, z_scale, prior)
        wrt = WRT[: 6 if prior is None else 7]
        assert_same(*both(found, reduction=reduction, beta=0.3, wrt=wrt), f"{scale}, {z_scale}, {prior}")


@pytest.mark.parametrize("samples", [None, 9])
@REDUCTIONS
@DTYPES
def test_large_sums_have_the_bits_of_the_general_call(dtype, reduction, samples):
    """Nothing but rounding errors: any other order of adding shows. Threads and several blocks take part."""
    rows, features, latents = 33, 700, 70
    lead = () if samples is None else (samples,)
    found = {
        "x": sums.wide(0, (rows, features), dtype, -1),
        "recon": sums.wide(1, (*lead, rows, features), dtype, -1),
        "z_mean": sums.wide(3, (rows, latents), dtype, -1),
        "prior_mean": sums.wide(4, (rows, latents), dtype, -1),
    }
    for shape in ((features,), (rows, 1), (rows, features), (*lead, rows, features)):
        found["var"] = sums.scale(2, shape, dtype)
        for z_shape in ((latents,), (rows, 1)):
            found |= {"z_var": sums.scale(5, z_shape, dtype), "prior_var": sums.scale(6, z_shape, dtype)}
            assert_same(*both(found, reduction=reduction, beta=0.3, wrt=WRT), f"{shape}, {z_shape}")


@SAMPLES
@DTYPES
def test_the_door_takes_the_calls_it_is_for(dtype, samples, closed):
    shape = (5, 7)
    for scale, reduction, beta in itertools.product(
        scale_shapes(shape, samples), ("none", "sum", "mean"), (1.0, 0.25, 2)
    ):
        found = arguments(shape, samples, dtype, scale)
        fe.neg_elbo(**found, reduction=reduction, beta=beta)
        got = fe.neg_elbo_grad(**found, reduction=reduction, beta=beta, wrt=(*WRT[:5], "z_mean"))
        places = [None if i < 3 and reduction != "none" else member for i, member in enumerate(got)]
        out = tuple([np.empty_like(place) if isinstance(place, np.ndarray) else None for place in places])
        again = fe.neg_elbo_grad(**found, reduction=reduction, beta=beta, wrt=WRT[:5], out=out)
        for mine, place in zip(again, out, strict=True):
            assert place is None or mine is place
        assert_same(again, got)
        for name in WRT[:5]:
            one = fe.neg_elbo_grad(**found, reduction=reduction, beta=beta, wrt=name)
            assert_same(getattr(one, name), getattr(got, name))
    with pytest.raises(AssertionError, match="the general call was taken"):
        fe.neg_elbo(**found, **GENERAL)


@SAMPLES
@REDUCTIONS
@DTYPES
def test_every_scale_keyword_and_option(dtype, reduction, samples):
    found = arguments((5, 7), samples, dtype, prior=(5, 4))
    names = [name for name in found if name.endswith("var")]
    for forms in itertools.product(FORMS, repeat=3):
        mine = {name: array for name, array in found.items() if name not in names}
        keywords = [name.replace("var", form) for name, form in zip(names, forms, strict=True)]
        mine |= {keyword: found[name] for name, keyword in zip(names, keywords, strict=True)}
        assert_same(*both(mine, reduction=reduction, full=forms[0] == "std", wrt=WRT), str(forms))
    for beta in (0, 0.0, 1, 3, 2**53, 2**60, np.float32(0.3), np.float64(0.3), 5e-324):
        assert_same(*both(found, reduction=reduction, beta=beta, wrt=WRT), f"beta={beta!r}")


@DTYPES
def test_special_values(dtype):
    """NaN, infinities, and sums beyond the range of the dtype."""
    huge = np.finfo(dtype).max
    for name, value in itertools.product(("x", "recon", "z_mean", "var", "z_var"), (np.nan, np.inf, huge)):
        for samples, reduction in itertools.product((None, 2), ("none", "sum", "mean")):
            found = arguments((3, 4), samples, dtype)
            found[name][..., 1, 2] = value
            assert_same(*both(found, reduction=reduction, beta=3.0), f"{name} {value}")


@SAMPLES
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_outputs_over_inputs_have_the_bits_of_the_general_call(reduction, samples):
    """Each gradient over each input of its shape, also of the other half, and shifted by one row."""
    found = arguments((5, 4), samples, np.float32)
    for member, source, shift in itertools.product(WRT[:5], WRT[:5], (0, 1)):
        original, target = found[KEYWORDS[source]], found[KEYWORDS[member]]
        if original.shape != target.shape:
            continue
        results = []
        for way in ({}, GENERAL):
            buffer = np.empty((len(original) + 1, *original.shape[1:]), np.float32)
            mine = found | {KEYWORDS[source]: buffer[:-1]}
            buffer[:-1] = original
            out = tuple(
                [buffer[shift : len(original) + shift] if name == member else None for name in fields()]
            )
            results.append(fe.neg_elbo_grad(**mine, reduction=reduction, wrt=WRT[:5], out=out, **way))
        assert_same(*results, f"{member} over {source} + {shift}")


@SAMPLES
def test_values_over_inputs_have_the_bits_of_the_general_call(samples):
    found = arguments((5, 4), samples, np.float32)
    for member, name in itertools.product(fields()[:3], found):
        results = []
        for way in ({}, GENERAL):
            mine = found | {name: found[name].copy()}
            out = tuple([mine[name].ravel()[3:8] if field == member else None for field in fields()])
            results.append(fe.neg_elbo_grad(**mine, reduction="none", out=out, **way))
        assert_same(*results, f"{member} over {name}")


@pytest.mark.parametrize("scale", ["var", "z_var"])
@SAMPLES
def test_an_error_through_the_door_leaves_every_input_untouched(samples, scale):
    """Also where only the other half writes over an input; and the message is that of the general call."""
    found = arguments((5, 7), samples, np.float64)
    found[scale][..., -1, -1] = 0.0
    before = {name: array.copy() for name, array in found.items()}
    for use in itertools.product([False, True], repeat=len(KEYWORDS)):
        over = [found[name] if used else None for name, used in zip(KEYWORDS.values(), use, strict=True)]
        out = (None, None, None, *over, None, None)
        messages = []
        for way in ({}, GENERAL):
            with pytest.raises(ValueError, match="must be > 0") as caught:
                fe.neg_elbo_grad(**found, wrt=tuple(KEYWORDS), out=out, **way)
            messages.append(str(caught.value))
            for name, array in found.items():
                np.testing.assert_array_equal(array, before[name])
        assert messages[0] == messages[1]


def fields() -> tuple[str, ...]:
    return fe.NegELBOGrad._fields


BASE = arguments((4, 3), 2, np.float64)
BUFFER = np.empty((5, 4))
#: What looks like a call for the door, and is none
STRANGE = {
    "no samples": {"recon": np.zeros((0, 4, 3)), "var": 1.0},
    "other samples": {"var": np.ones((3, 4, 3))},
    "one scale a sample": {"var": np.ones((2, 1, 1))},
    "size-1 axis of samples": {"var": np.ones((1, 4, 3))},
    "two axes of samples": {"recon": np.zeros((5, 2, 4, 3)), "var": 1.0},
    "1-D": {"x": np.zeros(3), "recon": np.zeros((2, 3)), "z_mean": np.zeros(2), "var": 1.0, "z_var": 1.0,
            "reduction": "none"},
    "rows differ": {"z_mean": np.zeros((5, 4)), "z_var": 1.0},
    "more axes of latents": {"z_mean": np.zeros((4, 2, 4)), "z_var": 1.0},
    "dtypes differ": {"z_mean": np.zeros((4, 4), np.float32), "z_var": 1.0},
    "all float32 but a scalar": {
        **arguments((4, 3), 2, np.float32), "z_var": np.float64(0.5),
    },
    "lists": {"z_mean": BASE["z_mean"].tolist()},
    "Fortran order": {"recon": np.asfortranarray(BASE["recon"])},
    "no recon": {"recon": None},
    "scalar mean": {"z_mean": 0.5},
    "shared prior mean": {"prior_mean": np.ones(4)},
    "prior of int": {"prior_mean": 1, "prior_var": 2},
    "weight": {"weight": np.arange(4.0)},
    "where": {"where": BASE["x"] > 0.3},
    "z_where": {"z_where": BASE["z_mean"] > 0.3},
    "x_scale": {"x_scale": 0.5},
    "x_scale of 0": {"x_scale": 0},
    "floor": {"min_var": 0.7},
    "z_axis": {"z_axis": -1},
    "no rows": {"x": np.zeros((0, 3)), "recon": np.zeros((2, 0, 3)), "z_mean": np.zeros((0, 4)),
                "var": 1.0, "z_var": 1.0},
    "beta of nothing": {"beta": None},
    "beta beyond": {"beta": 10**400},
    "beta < 0": {"beta": -1},
    "beta NaN": {"beta": np.nan},
    "two scales": {"std": 1.0},
    "no reduction": {"reduction": "avg"},
    "a value": {"wrt": ("recon", "kl"), "reduction": "none"},
    "nothing": {"wrt": ()},
    "no prior": {"wrt": ("prior_scale",)},
    "a list": {"wrt": ["recon", "z_mean"]},
    "not asked": {"out": (*[None] * 3, np.zeros((4, 3)), *[None] * 6)},
    "a reduced value": {"out": (np.zeros(4), *[None] * 9)},
    "read-only": {"out": (*[None] * 6, sums.read_only(np.zeros((4, 4))), *[None] * 3)},
    "list of out": {"out": [None] * 10},
    "one output twice": {"out": (*[None] * 6, BUFFER[:4], BUFFER[:4], None, None)},
    "outputs overlap": {"out": (*[None] * 6, BUFFER[:4], BUFFER[1:], None, None)},
    "nll over kl": {"out": (None, BUFFER[0], BUFFER[0], *[None] * 7), "reduction": "none"},
    "short out": {"out": (None,) * 9},
}  # fmt: skip


@pytest.mark.parametrize("case", STRANGE)
def test_what_the_door_does_not_take_is_as_in_the_general_call(case):
    outcomes = []
    for way in ({}, GENERAL):
        try:
            outcomes.append(fe.neg_elbo_grad(**BASE | STRANGE[case] | way))
        except Exception as error:  # compared below
            outcomes.append((type(error), str(error).replace("axis=(-1,)", "axis=-1")))
    if isinstance(outcomes[0], fe.NegELBOGrad):
        assert_same(*outcomes)
    else:
        assert outcomes[0] == outcomes[1]
