"""Which shapes go together, what `axis` leaves, and what comes back."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastelbo as fe
from fastelbo import reference
from fastelbo._declare import FORMS
from fastelbo._rules import run
from marks import DTYPES

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 3))
MEAN = RNG.normal(size=(2, 4, 3))
LOGVAR = RNG.normal(size=(2, 4, 3))


def like(array, shape):
    """The first elements of `array`, in `shape`: () is a 0-d array."""
    return array.ravel()[: int(np.prod(shape))].reshape(shape).copy()


def assert_same(got, want, shapes):
    """Named tuples of equal values, with gradients in the shapes of their arguments."""
    for name in got._fields:
        mine, plain = getattr(got, name), getattr(want, name)
        assert (mine is None) == (plain is None), name
        if mine is not None:
            assert_allclose(mine, plain, rtol=1e-12, atol=1e-14, err_msg=name)
            assert np.shape(mine) == (shapes[name] if name in shapes else np.shape(plain)), name


def assert_both_as_the_reference(options):
    assert_same(fe.gaussian_nll_grad(X, MEAN, **options), reference.gaussian_nll_grad(X, MEAN, **options), {})
    assert_same(fe.gaussian_kl_grad(MEAN, **options), reference.gaussian_kl_grad(MEAN, **options), {})


# --- x and mean ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x_shape", "mean_shape"),
    [
        ((4, 3), (4, 3)),
        ((3,), (4, 3)),
        ((4, 3), (3,)),
        ((4, 3), (2, 4, 3)),  # S decoder samples
        ((2, 4, 3), (3,)),
        ((4, 3), ()),
        ((), (4, 3)),
        ((3,), (3,)),
        ((1,), (4, 1)),  # an event of size 1, not a stretched axis
        ((), ()),
    ],
)
def test_one_of_x_and_mean_may_lack_leading_axes(x_shape, mean_shape):
    x, mean = like(X, x_shape), like(MEAN, mean_shape)
    options = {"logvar": np.array(0.3), "wrt": ("x", "mean", "scale")}
    got = fe.gaussian_nll_grad(x, mean, **options)
    assert_same(
        got, reference.gaussian_nll_grad(x, mean, **options), {"x": x_shape, "mean": mean_shape, "scale": ()}
    )
    assert_array_equal(got.value, fe.gaussian_nll(x, mean, logvar=0.3))


@pytest.mark.parametrize(
    "scale_shape", [(), (3,), (1,), (1, 3), (4, 1), (4, 3), (1, 1, 1), (2, 1, 3), (2, 4, 3)]
)
@pytest.mark.parametrize("form", ["var", "logvar", "precision"])
def test_scales_broadcast_by_numpys_rules(scale_shape, form):
    scale = like(np.exp(LOGVAR), scale_shape)
    got = fe.gaussian_nll_grad(X, MEAN, **{form: scale})
    assert_same(got, reference.gaussian_nll_grad(X, MEAN, **{form: scale}), {"scale": scale_shape})
    kl = fe.gaussian_kl_grad(MEAN, var=0.5, **{f"prior_{form}": scale}, wrt="prior_scale")
    plain = reference.gaussian_kl_grad(MEAN, var=0.5, **{f"prior_{form}": scale}, wrt="prior_scale")
    assert_same(kl, plain, {"prior_scale": scale_shape})


@pytest.mark.parametrize(
    ("axis", "scale_shape", "stretched"),
    [
        (-1, (), {0, 1, 2}),
        (-1, (4, 1), {0, 2}),
        (-1, (3,), {0, 1}),
        (-1, (2, 4, 3), set()),
        (0, (4, 3), {2}),  # in the core the event axes come last
        (0, (1, 4, 1), {1, 2}),
        ((0, 2), (4, 1), {1, 2}),
        ((0, 2), (2, 4, 1), {2}),
        ((), (4, 1), {0, 2}),
    ],
)
def test_the_core_learns_what_is_broadcast_from_shapes_never_from_strides(
    axis, scale_shape, stretched, monkeypatch
):
    seen = {}

    class Spy:
        def prepare(self, *args):
            seen["broadcast"] = args[4]
            return self

        def run(self):
            return None, False

    monkeypatch.setattr(run, "_core", Spy())
    bits = sum(1 << i for i in stretched)
    scale = like(LOGVAR, scale_shape)
    for equal in (scale, np.broadcast_to(scale.ravel()[:1].reshape((1,) * scale.ndim), scale_shape)):
        fe.gaussian_nll(X, MEAN, logvar=equal, axis=axis)
        assert seen["broadcast"] == (0, 0, bits, 0)
        fe.gaussian_kl(MEAN, logvar=equal, prior_logvar=equal, axis=axis)
        assert seen["broadcast"] == (0, 7, bits, bits)


@pytest.mark.parametrize(
    ("mean_shape", "prior_shape", "scale_shape", "rows"),
    [
        ((4, 3), (4, 3), (3,), (4,)),
        ((4, 3), (3,), (4, 3), (4,)),
        ((3,), (4, 3), (4, 1), (4,)),
        ((4, 3), (), (), (4,)),
        ((), (), (4, 3), (4,)),  # a scalar mean takes the scale's shape,
        ((), (3,), (4, 3), (4,)),  # and then follows the rule
        ((), (2, 4, 3), (4, 3), (2, 4)),
        ((), (4, 3), (), (4,)),
        ((), (4, 3), (4, 1), (4,)),  # which a scale never keeps from broadcasting
        ((), (), (), ()),
    ],
)
def test_mean_and_prior_mean_follow_the_same_rule(mean_shape, prior_shape, scale_shape, rows):
    mean, prior_mean, logvar = like(MEAN, mean_shape), like(X, prior_shape), like(LOGVAR, scale_shape)
    options = {
        "logvar": logvar,
        "prior_mean": prior_mean,
        "prior_logvar": np.array(0.2),
        "wrt": ("mean", "scale", "prior_mean", "prior_scale"),
    }
    got = fe.gaussian_kl_grad(mean, **options)
    shapes = {"value": rows, "mean": mean_shape, "scale": scale_shape, "prior_mean": prior_shape}
    assert_same(got, reference.gaussian_kl_grad(mean, **options), shapes | {"prior_scale": ()})


def test_the_default_prior_mean_has_a_gradient_too():
    got = fe.gaussian_kl_grad(MEAN, logvar=LOGVAR, wrt="prior_mean").prior_mean
    assert isinstance(got, np.float64)
    assert_allclose(got, -MEAN.sum())


# --- axis ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "rows"),
    [
        (-1, (2, 4)),
        (0, (4, 3)),
        (1, (2, 3)),
        ((1, 2), (2,)),
        ((0, 2), (4,)),
        ((2, 0), (4,)),
        ((-3, -1), (4,)),
        ((-1, 0), (4,)),
        ((), (2, 4, 3)),
        (None, ()),
        ((0, 1, 2), ()),
        (np.int64(1), (2, 3)),
    ],
)
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_axis_names_the_events_and_leaves_the_rows(axis, rows, layout):
    x, mean, logvar = layout(X), layout(MEAN), like(LOGVAR, (4, 1))
    got = fe.gaussian_nll_grad(x, mean, logvar=logvar, axis=axis, wrt=("x", "mean", "scale"))
    plain_axis = int(axis) if isinstance(axis, np.integer) else axis
    want = reference.gaussian_nll_grad(X, MEAN, logvar=logvar, axis=plain_axis, wrt=("x", "mean", "scale"))
    assert_same(got, want, {"value": rows, "x": X.shape, "mean": X.shape, "scale": (4, 1)})
    assert_allclose(
        fe.gaussian_kl(mean, logvar=logvar, axis=axis),
        reference.gaussian_kl(MEAN, logvar=logvar, axis=plain_axis),
    )


def test_events_are_in_c_order_over_the_sorted_axes():
    """So the bits don't depend on how `axis` is spelt, nor on where in the shape the event axes stand."""
    base = fe.gaussian_nll(X, MEAN, logvar=LOGVAR, axis=(0, 2))
    for axis in ((2, 0), (-1, -3)):
        assert_array_equal(fe.gaussian_nll(X, MEAN, logvar=LOGVAR, axis=axis), base)
    moved = [np.ascontiguousarray(array.transpose(1, 0, 2)).reshape(4, 6) for array in (X, MEAN, LOGVAR)]
    assert_array_equal(fe.gaussian_nll(moved[0], moved[1], logvar=moved[2]), base)


def test_a_negative_axis_holds_where_x_and_mean_differ_in_ndim():
    x, mean = X[0], MEAN
    assert fe.gaussian_nll(x, mean, var=1.0, axis=(-1, -2)).shape == (2,)
    assert fe.gaussian_nll(x, mean, var=1.0, axis=None).shape == ()
    assert fe.gaussian_nll(x, mean, var=1.0, axis=()).shape == (2, 4, 3)
    with pytest.raises(ValueError, match="wrong end"):
        fe.gaussian_nll(x, mean, var=1.0, axis=1)


def test_axis_counts_for_mean_beside_a_scalar_prior_mean():
    assert fe.gaussian_kl(MEAN, var=1.0, axis=1).shape == (2, 3)
    assert fe.gaussian_kl(0.0, logvar=LOGVAR, axis=0).shape == (4, 3)
    assert fe.gaussian_kl(0.0, var=1.0, prior_mean=MEAN, axis=0).shape == (4, 3)


@pytest.mark.parametrize("options", [{}, {"axis": -1}, {"axis": 0}, {"axis": None}, {"axis": ()}])
def test_a_0d_input_is_one_event_of_size_1(options):
    value = fe.gaussian_nll(np.float32(1.0), np.float32(0.0), var=np.float32(1.0), **options)
    assert isinstance(value, np.float32)
    assert_allclose(value, 0.5 + 0.5 * np.log(2 * np.pi), rtol=1e-6)
    for reduction in ("sum", "mean"):
        assert isinstance(fe.gaussian_nll(1.0, 0.0, var=1.0, reduction=reduction, **options), float)


@DTYPES
@pytest.mark.parametrize("name", FORMS)
def test_a_numpy_number_is_a_scale(name, dtype):
    """Of the computing dtype it takes the short way of a Python float, to what the same 0-d array gives."""
    x, mean, number = LOGVAR.astype(dtype), MEAN.astype(dtype), dtype(0.7)
    for function in (fe.gaussian_nll_grad, fe.gaussian_kl_grad):
        args = (x, mean) if function is fe.gaussian_nll_grad else (mean,)
        got, want = (function(*args, **{name: scale}) for scale in (number, np.array(number)))
        assert_array_equal(got.value, want.value)
        assert_array_equal(got.mean, want.mean)
        assert type(got.scale) is type(want.scale) is dtype
        assert got.scale == want.scale
    other = np.float32 if dtype is np.float64 else np.float64  # strong, as in NEP 50
    assert fe.gaussian_nll(x, mean, **{name: other(0.7)}).dtype == np.float64


# --- weight and where ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "shape"),
    [
        (-1, (2, 4)),  # the rows' shape
        (-1, (1, 1, 3)),  # features
        (-1, (2, 4, 3)),  # elements
        (-1, (2, 4, 1)),
        (-1, (1, 4, 1)),
        (0, (4, 3)),
        (1, (2, 3)),
        ((0, 2), (4,)),
        ((0, 2), (2, 1, 3)),
        ((), (2, 4, 3)),
        (None, ()),
        (None, (1, 4, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, bool])
def test_weight_multiplies_rows_features_or_elements(axis, shape, dtype):
    weight = like(np.arange(1, 25), shape).astype(dtype)
    options = {"logvar": like(LOGVAR, (3,)), "axis": axis, "weight": weight}
    assert_both_as_the_reference(options)


def test_a_1d_weight_is_of_the_rows_also_where_n_is_d():
    x, weight = X.ravel()[:9].reshape(3, 3), np.array([1.0, 10.0, 100.0])
    plain = fe.gaussian_nll(x, 0.0, var=1.0)
    assert_allclose(fe.gaussian_nll(x, 0.0, var=1.0, weight=weight), weight * plain)
    by_feature = fe.gaussian_nll(x, 0.0, var=1.0, axis=(), weight=np.broadcast_to(weight, (3, 3))).sum(-1)
    assert_allclose(fe.gaussian_nll(x, 0.0, var=1.0, weight=weight[np.newaxis]), by_feature)


@pytest.mark.parametrize("shape", [(), (3,), (4, 1), (1, 3), (4, 3), (2, 1, 1), (2, 4, 3)])
def test_where_broadcasts_by_numpys_rules(shape):
    where = like(np.arange(24) % 3 == 0, shape)
    options = {"logvar": LOGVAR, "where": where, "axis": (0, -1)}
    assert_both_as_the_reference(options)


@pytest.mark.parametrize("where", [True, False, np.True_, [True, False, True]])
def test_where_may_be_any_boolean_array_like(where):
    got = fe.gaussian_nll(X, MEAN, var=1.0, where=where)
    assert_allclose(got, reference.gaussian_nll(X, MEAN, var=1.0, where=where))


# --- dtypes -------------------------------------------------------------------------------------------------

F2, F4, F8, I4, U1, B1 = np.float16, np.float32, np.float64, np.int32, np.uint8, np.bool_


def test_a_scalar_has_no_axes_that_could_be_counted_from_the_wrong_end():
    images = np.ones((2, 3, 4))
    for axis in (1, (1, 2), 0, None, -1):
        want = fe.gaussian_nll(images, np.zeros_like(images), var=1.0, axis=axis)
        assert_array_equal(fe.gaussian_nll(images, 0.0, var=1.0, axis=axis), want)
        assert_array_equal(fe.gaussian_nll(0.0, images, var=1.0, axis=axis), want)
        assert_array_equal(
            fe.gaussian_kl(images, var=1.0, axis=axis),
            fe.gaussian_kl(0 * images, var=1.0, prior_mean=1.0, axis=axis),
        )
        assert_array_equal(
            fe.bernoulli_nll(images, 0.0, axis=axis), fe.bernoulli_nll(images, 0 * images, axis=axis)
        )
        assert_array_equal(fe.optimal_var(images, 0.0, axis), fe.optimal_var(images, 0 * images, axis))
        slope = fe.optimal_nll_grad(images, 0.0, axis=axis, wrt="x").x
        assert_array_equal(slope, fe.optimal_nll_grad(images, 0 * images, axis=axis, wrt="x").x)


# --- no elements --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis", "rows"),
    [((0, 3), -1, (0,)), ((3, 0), -1, (3,)), ((0,), None, ()), ((0, 0), (), (0, 0)), ((2, 0, 3), 0, (0, 3))],
)
def test_empty_arrays_work(shape, axis, rows):
    x = np.empty(shape, F4)
    scale = np.full((1,) * len(shape), -1.0, F4)  # no element, so none to check
    got = fe.gaussian_nll_grad(x, x, var=scale, axis=axis, wrt=("x", "mean", "scale"))
    kl = fe.gaussian_kl_grad(
        x, var=scale, prior_var=-1.0, axis=axis, wrt=("mean", "scale", "prior_mean", "prior_scale")
    )
    for result in (got, kl):
        assert result.value.shape == rows
        assert_array_equal(result.value, 0)
        assert result.scale.shape == scale.shape
        assert_array_equal(result.scale, 0)
        assert result.mean.shape == shape
    assert isinstance(kl.prior_scale, F4)
    assert kl.prior_scale == kl.prior_mean == 0
    value, out = np.full(rows, 7, F4), np.full(scale.shape, 7, F4)
    again = fe.gaussian_nll_grad(x, x, var=scale, axis=axis, wrt="scale", out=(value, None, None, out))
    assert again.scale is out
    assert again.value is value
    assert_array_equal(out, 0)
    assert_array_equal(value, 0)
