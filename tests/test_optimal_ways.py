"""The σ-VAE's ways through memory: for all layouts and threads, through the door or by the rules, bits are
the same."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
from marks import DTYPES
from objectives import call_optimal, optimum
from rounding import DOUBLE, check, eps

RNG = np.random.default_rng(29)

SHAPES = [(5, 7), (40, 3, 6), (33, 300), (300, 33), (20, 20, 20), (17, 1), (1, 17), (2, 90_000), (90_000, 2)]
LAYOUTS = {
    "Fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: a[::-1, ..., ::-1].copy()[::-1, ..., ::-1],
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()) if a.dtype.kind == "f" else a,
    "unaligned": lambda a: np.frombuffer(b"?" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
}


def results(x, mean, axis, **options):
    grad = fe.optimal_nll_grad(x, mean, axis=axis, wrt=("x", "mean"), min_var=1e-3, **options)
    return [fe.optimal_var(x, mean, axis, **options), fe.optimal_nll(x, mean, axis=axis, **options), *grad]


def same(got, want):
    for mine, theirs in zip(got, want, strict=True):
        assert_array_equal(mine, theirs)
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype


def axes_of(shape):
    found = [None, -1, 0, *([(0, 2), (1, 2), (0, 1)] if len(shape) == 3 else [])]
    # an event of one element has a variance of its own, and nothing to say of the order
    return [axis for axis in found if axis is None or np.prod([shape[i] for i in np.atleast_1d(axis)]) > 1]


@DTYPES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layouts_and_threads_have_the_same_bits(shape, dtype):
    x, mean = RNG.normal(size=(2, *shape)).astype(dtype)
    weight, mask = RNG.random(shape).astype(dtype) + dtype(0.5), RNG.random(shape) < 0.9
    mask.ravel()[:: max(1, shape[-1] // 2)] = True
    for axis, names in itertools.product(axes_of(shape), ((), ("weight",), ("where",), ("weight", "where"))):
        options = {name: value for name, value in (("weight", weight), ("where", mask)) if name in names}
        if math.prod(shape) > 1000 and "where" not in names and names:
            continue  # as slow, and the same code
        want = results(x, mean, axis, **options)
        for laid in LAYOUTS.values():
            same(results(laid(x), laid(mean), axis, **{k: laid(v) for k, v in options.items()}), want)
        fe.set_num_threads(2)
        same(results(x, mean, axis, **options), want)
        fe.set_num_threads(None)


@DTYPES
@pytest.mark.parametrize("axis", [None, -1, 0, (0, 1), ()])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_the_door_has_the_bits_of_the_rules(reduction, axis, dtype):
    """A weight in a class of its own is for the rules, as a mask that lacks axes of the data is not."""

    class Own(np.ndarray):
        pass

    x, mean = RNG.normal(size=(2, 6, 70)).astype(dtype)
    rows = [n for i, n in enumerate(x.shape) if axis not in (None, (0, 1)) and (axis == () or i != axis % 2)]
    options = {"axis": axis, "min_var": 0.9, "reduction": reduction}
    for weight in (RNG.random(x.shape), RNG.random((1, 70)), np.ones((6, 70), dtype), RNG.random(rows)):
        if not weight.ndim:
            continue
        for extra in ({}, {"where": x > -1.5}, {"x_scale": 0.7}, {"full": False}):
            calls = [
                fe.optimal_nll_grad(x, mean, weight=w, **options, **extra, wrt=["mean", "x"])
                for w in (weight, weight.view(Own))
            ]
            same(*calls)
            same([fe.optimal_nll(x, mean, weight=weight, **options, **extra)], calls[0][:1])


@DTYPES
def test_options_against_60_digits(dtype):
    """Pixels with a factor, a mean that lacks axes, floors, weights of rows and of features."""
    pixels, x = RNG.integers(0, 256, (4, 9), np.uint8), RNG.normal(size=(4, 9)).astype(dtype)
    mean = RNG.random((4, 9)).astype(dtype)
    factor = float(dtype(1 / 255))
    cases = [
        (pixels, mean, {"x_scale": factor}),
        (pixels, mean, {"x_scale": factor, "axis": 0, "where": pixels > 20}),
        (x, mean[0], {"axis": -1, "weight": np.arange(1.0, 5.0)}),
        (x, mean[0], {"axis": None, "weight": mean[:1] + dtype(1)}),
        (x, mean, {"axis": (), "min_var": 0.5}),
        (x, mean, {"axis": 0, "min_var": 1.0, "reduction": "mean", "full": False}),
    ]
    bound = (9 * eps(dtype) + 12 * DOUBLE) * (1 + 4)
    for one, other, options in cases:
        exact = call_optimal(one, other, **{"axis": None} | options)
        got = fe.optimal_nll_grad(one, other, **options, wrt=("x", "mean"))
        for name, (value, size) in exact.items():
            own = np.float64 if name == "value" and "reduction" in options else dtype
            assert check(getattr(got, name), value, bound * size, own, f"{name} of {options}")


def test_outputs_are_written_where_they_are():
    """Also into named tuples, as results are; a gradient in Fortran order is one as good."""
    x, mean = RNG.normal(size=(2, 128, 32))
    want = fe.optimal_nll_grad(x, mean, axis=-1, wrt=("x", "mean"))
    out = fe.OptimalNLLGrad(np.empty(128), np.empty((128, 32)), np.empty((128, 32), order="F"))
    got = fe.optimal_nll_grad(x, mean, axis=-1, wrt=("x", "mean"), out=out)
    assert all(one is two for one, two in zip(got, out, strict=True))
    same(got, want)
    both = np.empty((2, 128, 32))
    got = fe.optimal_nll_grad(x, mean, axis=-1, wrt=("x", "mean"), out=(None, both[0], both[1]))
    same(got, want)
    for out in ((None, both[0], both[0]), (None, both[0, ::-1], both[0])):
        with pytest.raises(ValueError, match="overlap"):
            fe.optimal_nll_grad(x, mean, axis=-1, wrt=("x", "mean"), out=out)


def test_a_weight_of_0_hides_what_overflows():
    x, zero = np.array([1e200, 2.0, 1e-200]), np.zeros(3)
    for weight in ([0.0, 1.0, 0.0], [0.0, 3.0, 0.0]):
        assert fe.optimal_var(x, zero, weight=np.array(weight)) == 4.0
        got = fe.optimal_nll_grad(x, zero, weight=np.array(weight))
        assert_array_equal(got.mean, [0.0, -weight[1] / 2, 0.0])
    rows = fe.optimal_var(x[:2, None], zero[:2, None], -1, weight=np.array([0.0, 1.0]))
    assert_array_equal(rows, [np.nan, 4.0])


@DTYPES
def test_gradients_whose_parts_leave_the_dtype(dtype):
    """r overflows beside a large floor; 1/σ² is beyond the dtype; a weight brings back what was subnormal."""
    limits = np.finfo(dtype)
    most, tiny = float(limits.max), float(limits.tiny)
    cases = [
        ([0.75 * most, 1.0], [-0.75 * most, 0.0], {"min_var": 1e300 if dtype == np.float64 else 1e76}),
        ([most**0.5 / 8, tiny**0.5], [0.0, 0.0], {"weight": np.array([1.0, most**0.5])}),
        ([1e3 * tiny, 2e3 * tiny], [0.0, 0.0], {"weight": np.array([1.0, 2.0])}),
    ]
    for x, mean, options in cases:
        x, mean = np.array(x, dtype), np.array(mean, dtype)
        slope = optimum(x, mean, **options).slope
        got = fe.optimal_nll_grad(x, mean, wrt=("x", "mean"), **options)
        assert check(got.x, slope, (8 * eps(dtype) + 12 * DOUBLE) * abs(slope), dtype, "∂x")
        assert_array_equal(got.x, -got.mean)


def test_an_element_that_lacks_digits_changes_no_other():
    """It is formed again by itself: so strips, which lie as memory does, change no bit."""
    x, mean = np.array([[1e-310, -8.0], [-6.0, -5.0]]), np.zeros((2, 2))
    weight = np.array([[0.2, 0.8], [0.8, 0.6]])
    plain = fe.optimal_nll_grad(x, mean, weight=weight, axis=-1).mean
    turned = [np.asfortranarray(a) for a in (x, mean, weight)]
    np.testing.assert_array_equal(fe.optimal_nll_grad(*turned[:2], weight=turned[2], axis=-1).mean, plain)


@pytest.mark.parametrize(
    ("dtype", "x", "x_scale", "min_var"),
    [
        ("f4", 3e-38, 1e-3, 1e-3),
        ("f4", 1e-38, 1e-3, 1e-3),
        ("f8", 1e-309, 1e-6, 1e-10),
        ("f8", 3e-300, 1e-20, 1e-250),
    ],
)
def test_digits_that_x_scale_takes_from_r_come_back_over_the_variance(dtype, x, x_scale, min_var):
    x = np.array([[x, 1.0]], dtype)
    got = fe.optimal_nll_grad(x, np.zeros_like(x), x_scale=x_scale, min_var=min_var, axis=()).mean[0, 0]
    with mpmath.workdps(50):
        factor = mpmath.mpf(float(x.dtype.type(x_scale)))
        exact = -mpmath.mpf(float(x[0, 0])) * factor / mpmath.mpf(min_var)
        error = abs(mpmath.mpf(float(got)) - exact)
    assert error <= 4 * float(np.finfo(dtype).eps) * abs(exact) + float(np.finfo(dtype).smallest_subnormal)


def test_a_weight_without_axes_is_one_number_whether_outputs_lie_over_inputs_or_not():
    x, mean, weight = np.array([3, -7], "f4"), np.zeros(2, "f4"), np.array(0.03)
    plain = fe.optimal_nll_grad(x, mean, weight=weight).mean
    over = mean.copy()
    fe.optimal_nll_grad(x, over, weight=weight, out=(None, None, over))
    np.testing.assert_array_equal(over, plain)


@pytest.mark.parametrize("shape", [(17, 0), (0, 3), (0,)])
def test_operands_of_fewer_axes_without_elements(shape):
    x, mean = np.zeros(shape, "f4"), np.zeros((1, *shape), "f4")
    found = fe.optimal_nll_grad(x, mean, wrt=("x", "mean"))
    assert found.value == 0.0
    assert found.x.shape == shape
    assert found.mean.shape == (1, *shape)
    assert fe.optimal_nll(x, mean) == 0.0
