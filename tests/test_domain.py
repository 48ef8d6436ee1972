"""What must be > 0 and which element is named, what `where` removes, `min_var` lifts, and NaN reaches."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastelbo as fe
from marks import DTYPES

POSITIVE = ("var", "std", "precision")
LOGS = ("logvar", "logstd")
ZEROS = np.zeros((4, 3))


def kl_of(**scale):
    return fe.gaussian_kl(ZEROS, **scale)


def kl_against(**scale):
    return fe.gaussian_kl(ZEROS, var=1.0, **{f"prior_{name}": value for name, value in scale.items()})


CALLS = {
    "nll": lambda **scale: fe.gaussian_nll(ZEROS, ZEROS, **scale),
    "nll_grad": lambda **scale: fe.gaussian_nll_grad(ZEROS, ZEROS, **scale),
    "kl": kl_of,
    "kl_grad": lambda **scale: fe.gaussian_kl_grad(ZEROS, **scale),
    "kl_prior": kl_against,
}


def scale_with(value, index, shape=(4, 3), dtype=np.float64):
    scale = np.ones(shape, dtype)
    scale[index] = value
    return scale


@pytest.mark.parametrize("value", [0.0, -0.0, -1.5, -np.inf])
@pytest.mark.parametrize("form", POSITIVE)
@pytest.mark.parametrize("call", CALLS)
def test_the_message_names_argument_index_and_value(call, form, value):
    name = f"prior_{form}" if call == "kl_prior" else form
    message = re.escape(f"{name} must be > 0: {name}[2, 1] is {value}")
    with pytest.raises(ValueError, match=message):
        CALLS[call](**{form: scale_with(value, (2, 1))})
    with pytest.raises(ValueError, match=message):
        CALLS[call](**{form: scale_with(value, (2, 1), dtype=np.float32)})


@pytest.mark.parametrize("axis", [-1, 0, (), None])
def test_the_index_is_the_smallest_in_c_order(axis):
    var = scale_with(0.0, ([1, 0, 3, 1], [0, 2, 0, 2]))
    with pytest.raises(ValueError, match=r"var\[0, 2\] is 0\.0"):
        fe.gaussian_nll(ZEROS, ZEROS, var=var, axis=axis)
    with pytest.raises(ValueError, match=r"var\[0, 2\] is 0\.0"):
        fe.gaussian_nll(ZEROS, ZEROS, var=np.asfortranarray(var), axis=axis)


@pytest.mark.parametrize(
    ("shape", "index"),
    [((3,), "1"), ((1, 3), "0, 1"), ((4, 1), "2, 0"), ((2, 4, 3), "1, 2, 0"), ((1, 1, 3), "0, 0, 2")],
)
def test_the_index_is_in_the_argument_as_passed(shape, index):
    x = np.zeros((2, 4, 3))
    var = scale_with(-1.0, tuple(map(int, index.split(", "))), shape)
    with pytest.raises(ValueError, match=re.escape(f"var[{index}] is -1.0")):
        fe.gaussian_nll(x, x, var=var)
    with pytest.raises(ValueError, match=re.escape(f"prior_std[{index}] is -1.0")):
        fe.gaussian_kl(x, var=1.0, prior_std=var)
    transposed = np.zeros((4, 2, 3)).transpose(1, 0, 2)
    with pytest.raises(ValueError, match=re.escape(f"var[{index}] is -1.0")):
        fe.gaussian_nll(transposed, transposed, var=var, axis=(0, 2))


def test_scalars_have_no_index():
    for var in (0.0, np.float32(0.0), np.array(0.0)):
        with pytest.raises(ValueError, match=r"var must be > 0: var is 0\.0"):
            fe.gaussian_nll(ZEROS, ZEROS, var=var)
    with pytest.raises(ValueError, match=r"std must be > 0: std is -3"):
        fe.gaussian_nll(ZEROS, ZEROS, std=-3)


def test_a_python_scalar_that_rounds_to_zero_is_shown_as_passed():
    x = ZEROS.astype(np.float32)
    with pytest.raises(ValueError, match="1e-300, which is 0 in float32"):
        fe.gaussian_nll(x, x, var=1e-300)
    assert np.isfinite(fe.gaussian_nll(ZEROS, ZEROS, var=1e-300)).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_, np.float16, ">f4", ">f8"])
def test_every_dtype_is_checked(dtype):
    with pytest.raises(ValueError, match=r"var\[2, 1\] is (0|0\.0|False)"):
        fe.gaussian_nll(ZEROS, ZEROS, var=scale_with(0, (2, 1), dtype=dtype))


def test_a_bad_element_is_found_far_into_a_large_argument():
    x = np.zeros((300, 1000), np.float32)
    var = scale_with(0.0, ([299, 299], [998, 999]), x.shape, np.float32)
    for layout in (np.array, np.asfortranarray, lambda a: np.array(a[::-1])[::-1]):
        with pytest.raises(ValueError, match=r"var\[299, 998\]"):
            fe.gaussian_nll(x, x, var=layout(var))
    where = np.ones(x.shape, bool)
    where[299, 998] = False
    with pytest.raises(ValueError, match=r"var\[299, 999\]"):
        fe.gaussian_nll(x, x, var=var, where=where)


def test_the_scale_is_named_before_the_prior():
    with pytest.raises(ValueError, match=r"^std must be > 0: std\[3\]"):
        fe.gaussian_kl(np.zeros((1, 5)), std=scale_with(0.0, 3, (5,)), prior_var=scale_with(0.0, 1, (5,)))


@pytest.mark.parametrize("value", [0.0, -5.0, -np.inf])
@pytest.mark.parametrize("form", LOGS)
def test_log_forms_take_every_number(form, value):
    for call in CALLS.values():
        call(**{form: scale_with(value, (2, 1))})


def test_subnormal_scales_are_positive():
    for dtype in (np.float32, np.float64):
        tiny = np.finfo(dtype).smallest_subnormal
        x = np.zeros((1, 2), dtype)
        assert not np.isnan(fe.gaussian_nll(x, x, var=tiny)).any()
        assert not np.isnan(fe.gaussian_kl(x, var=tiny)).any()


# --- where --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -1.0, 0.0])
def test_where_removes_by_selection(rubbish):
    """What stands in a removed element reaches neither value nor gradient, and is not checked."""
    rng = np.random.default_rng(2)
    x, mean, var, prior_var = rng.uniform(1, 2, size=(4, 6, 3))
    where = rng.uniform(size=x.shape) < 0.7
    assert not where.all(axis=1).all()
    dirty = [np.where(where, array, rubbish) for array in (x, mean, var, prior_var)]
    wrt = ("x", "mean", "scale")
    clean = fe.gaussian_nll_grad(x, mean, var=var, where=where, wrt=wrt)
    for got, want in zip(
        fe.gaussian_nll_grad(dirty[0], dirty[1], var=dirty[2], where=where, wrt=wrt), clean, strict=True
    ):
        assert_array_equal(got, want)
        assert not np.isnan(got).any()
    for gradient in clean[1:]:
        assert_array_equal(gradient[~where], 0)
    terms = fe.gaussian_nll(x, mean, var=var, axis=())
    assert_allclose(clean.value, np.where(where, terms, 0).sum(1))
    wrt = ("mean", "scale", "prior_mean", "prior_scale")
    clean = fe.gaussian_kl_grad(mean, var=var, prior_mean=x, prior_var=prior_var, where=where, wrt=wrt)
    soiled = fe.gaussian_kl_grad(
        dirty[1], var=dirty[2], prior_mean=dirty[0], prior_var=dirty[3], where=where, wrt=wrt
    )
    for got, want in zip(soiled, clean, strict=True):
        assert_array_equal(got, want)


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -1.0, 0.0])
@pytest.mark.parametrize("form", POSITIVE + LOGS)
@pytest.mark.parametrize("columns", [3, 9000])
def test_a_removed_row_is_out_of_reach_of_its_scale(form, rubbish, columns):
    """One scale for each row, and rubbish as that of a row without an element left: a row of padding, say."""
    if form in LOGS and rubbish in (0.0, -1.0):
        rubbish = -np.inf
    rng = np.random.default_rng(4)
    x, mean = rng.uniform(1, 2, size=(2, 4, columns))
    scale = rng.uniform(1, 2, (4, 1))
    where = np.arange(4)[:, np.newaxis] != 2
    dirty = np.where(where, scale, rubbish)
    for weight in (None, np.ones(4)):
        options = {"where": where, "weight": weight}
        want, got = (
            fe.gaussian_nll_grad(x, mean, **{form: raw}, wrt=("x", "mean", "scale"), **options)
            for raw in (scale, dirty)
        )
        kl_want, kl_got = (
            fe.gaussian_kl_grad(
                x, prior_mean=mean, **{form: raw, f"prior_{form}": raw}, **options,
                wrt=("mean", "scale", "prior_mean", "prior_scale"),
            )
            for raw in (scale, dirty)
        )  # fmt: skip
        for mine, clean in zip((*got, *kl_got), (*want, *kl_want), strict=True):
            assert_array_equal(mine, clean)
            assert_array_equal(mine[2], 0)


@DTYPES
@pytest.mark.parametrize(("columns", "kept"), [(2000, slice(0, 1024)), (40_000, slice(16_384, None))])
@pytest.mark.parametrize("scale", [4.0, np.array([[4.0], [0.5]])])
def test_a_whole_stretch_of_a_row_may_be_removed(dtype, columns, kept, scale):
    """The last that a task takes at once, or the first that threads share: the scale counts all the same."""
    x = np.random.default_rng(2).standard_normal((2, columns)).astype(dtype)
    where = np.zeros(x.shape, bool)
    where[:, kept] = True
    found = fe.gaussian_nll_grad(x, 0 * x, var=dtype(scale), where=where)
    alone = fe.gaussian_nll_grad(x[:, kept], 0 * x[:, kept], var=dtype(scale))
    few = 64 * np.finfo(dtype).eps  # their sums are in another order
    assert_allclose(found.value, alone.value, rtol=few)
    assert_allclose(found.scale, alone.scale, rtol=few, atol=few * columns)


def test_a_broadcast_scale_is_checked_where_any_of_its_elements_counts():
    var = scale_with(0.0, 1, (3,))
    where = np.ones((4, 3), bool)
    where[:, 1] = False
    fe.gaussian_nll(ZEROS, ZEROS, var=var, where=where)
    fe.gaussian_nll(ZEROS, ZEROS, var=var, where=where[0])
    where[3, 1] = True
    with pytest.raises(ValueError, match=r"var\[1\] is 0\.0"):
        fe.gaussian_nll(ZEROS, ZEROS, var=var, where=where)
    with pytest.raises(ValueError, match=r"var\[3, 0\] is 0\.0"):
        fe.gaussian_nll(
            ZEROS,
            ZEROS,
            var=scale_with(0.0, ([1, 3], [0, 0]), (4, 1)),
            where=np.arange(4)[:, np.newaxis] == 3,
        )
    with pytest.raises(ValueError, match=r"var is 0\.0"):
        fe.gaussian_nll(ZEROS, ZEROS, var=0.0, where=where)
    fe.gaussian_nll(ZEROS, ZEROS, var=0.0, where=False)


# --- min_var ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "below", "above"),
    [
        ("var", [0.0, -0.0, 0.2], [0.3, 2.0]),
        ("std", [0.0, -0.0, 0.4], [0.6, 2.0]),
        ("logvar", [-np.inf, -100.0, -2.0], [-1.0, 3.0]),
        ("logstd", [-np.inf, -100.0, -1.0], [-0.5, 3.0]),
        ("precision", [np.inf, 1e30, 5.0], [3.0, 0.1]),
    ],
)
def test_min_var_floors_every_form_with_zero_gradient_below(form, below, above):
    scale = np.array([below + above])
    x = np.linspace(1, 2, 5)[np.newaxis]
    got = fe.gaussian_nll_grad(x, 0.0, **{form: scale}, min_var=0.25, axis=(), wrt=("x", "scale"))
    floored = np.arange(5) < len(below)
    assert_allclose(got.value[0, floored], fe.gaussian_nll(x, 0.0, var=0.25, axis=())[0, floored], rtol=1e-14)
    assert_allclose(got.x[0, floored], x[0, floored] / 0.25, rtol=1e-14)
    assert_array_equal(got.scale[0, floored], 0)
    plain = fe.gaussian_nll_grad(x, 0.0, **{form: np.where(floored, 1.0, scale)}, axis=(), wrt=("x", "scale"))
    for name in ("value", "x", "scale"):  # above it changes nothing
        assert_allclose(getattr(got, name)[0, ~floored], getattr(plain, name)[0, ~floored], rtol=1e-14)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_min_var_lifts_no_precision_that_is_not_positive(value):
    """min_var caps a precision from above: what is not > 0 there has no variance to floor."""
    with pytest.raises(ValueError, match=r"precision must be > 0: precision\[2, 1\]"):
        fe.gaussian_nll(ZEROS, ZEROS, precision=scale_with(value, (2, 1)), min_var=0.1)


@pytest.mark.parametrize("module", [fe, fe.reference])
@pytest.mark.parametrize("shape", [(), (3,), (4, 1), (4, 3)])
@pytest.mark.parametrize("form", ["var", "std"])
@pytest.mark.parametrize("value", [-1e-300, -1.0, -np.inf])
def test_min_var_lifts_no_negative_scale(value, form, shape, module):
    """It may be a logarithm passed under the wrong name."""
    scale = np.ones(shape)
    scale[(-1,) * scale.ndim] = value
    arguments = {"x": ZEROS, "mean": ZEROS, form: scale}
    with pytest.raises(ValueError, match=f"{form} must be > 0"):
        module.gaussian_nll(**arguments, min_var=1e30)
    with pytest.raises(ValueError, match=f"{form} must be > 0"):
        module.gaussian_nll_grad(**arguments, min_var=0.25)
    if shape:
        where = np.broadcast_to(scale > 0, ZEROS.shape)
        module.gaussian_nll(**arguments, min_var=0.25, where=where)


def test_a_negative_scale_under_a_floor_is_named_before_anything_is_written():
    var = scale_with(-5.0, (2, 1))
    kept = var.copy()
    with pytest.raises(ValueError, match=r"var\[2, 1\] is -5.0 \(pass it as logvar if it is a logarithm"):
        fe.gaussian_nll_grad(ZEROS, ZEROS, var=var, min_var=0.1, out=(None, None, None, var))
    assert_array_equal(var, kept)


# --- NaN ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "raw"), [("var", 0.0), ("std", 0.0), ("precision", np.inf)])
def test_a_floor_below_the_range_of_the_dtype_is_its_smallest_number(form, raw):
    """min_var=1e-60 is 0 in float32; a scale beyond it is finite and positive all the same."""
    zeros = ZEROS.astype(np.float32)
    got = fe.gaussian_nll(zeros, zeros, **{form: np.float32(raw)}, min_var=1e-60)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("argument", ["x", "mean", "var", "std", "logvar", "logstd", "precision", "weight"])
@DTYPES
def test_nan_propagates_to_its_own_row_silently(argument, dtype):
    arrays = {"x": np.ones((4, 3), dtype), "mean": np.zeros((4, 3), dtype)}
    form = argument if argument not in ("x", "mean", "weight") else "var"
    arrays[form] = np.ones((4, 3), dtype)
    arrays["weight"] = np.ones((4, 3), dtype)
    arrays[argument][2, 1] = np.nan
    with np.errstate(all="raise"):
        got = fe.gaussian_nll_grad(**arrays)
        kl = fe.gaussian_kl_grad(
            **{("prior_mean" if name == "x" else name): array for name, array in arrays.items()}
        )
        fe.gaussian_nll(**arrays, reduction="sum")
    bad = np.arange(4) == 2
    for value in (got.value, kl.value):
        assert_array_equal(np.isnan(value), bad)
    element = bad[:, np.newaxis] & (np.arange(3) == 1)
    assert_array_equal(np.isnan(got.mean), element)
    assert_array_equal(np.isnan(got.scale), element)


def test_nan_is_not_an_error_beside_one():
    var = scale_with(np.nan, (0, 0))
    fe.gaussian_nll(ZEROS, ZEROS, var=var)
    var[1, 1] = 0.0
    with pytest.raises(ValueError, match=r"var\[1, 1\]"):
        fe.gaussian_nll(ZEROS, ZEROS, var=var)


@pytest.mark.parametrize("state", ["ignore", "raise", "call"])
def test_errstate_plays_no_part(state):
    x = np.array([[1e30, np.inf, np.nan]], np.float32)
    with np.errstate(all=state, call=lambda *_: pytest.fail("called")):
        fe.gaussian_nll_grad(x, -x, logvar=-200.0, axis=())
        fe.gaussian_kl_grad(x, logvar=np.float32(1000.0), reduction="sum")
        with pytest.raises(ValueError, match="var must be > 0"):
            fe.gaussian_nll(x, x, var=np.array([np.nan, 1.0, 0.0]))
        fe.optimal_var(x, -x)
