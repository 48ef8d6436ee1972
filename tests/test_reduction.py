"""`reduction` acts on the rows, and gradients are those of what is returned."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import declared
import fastelbo as fe
from fastelbo import reference
from marks import DTYPES, REDUCTIONS

RNG = np.random.default_rng(1)
X, MEAN, LOGVAR = (RNG.normal(size=(2, 5, 3)) for _ in range(3))
SCALES = {"var": np.exp(LOGVAR), "std": np.exp(LOGVAR / 2), "logvar": LOGVAR, "logstd": LOGVAR / 2}
SCALES |= {"scale": SCALES["std"], "logscale": SCALES["logstd"]}


def arguments(name, dtype=float):
    """Of any declared loss, with one scale, in the last of its first four forms."""
    loss = declared.LOSSES[name]
    own = [declared.forms(scale)[:4][-1] for scale in loss.scales if scale.required]
    data = {key: a for key, a in zip(loss.operands, (X, MEAN), strict=False) if key not in loss.defaults}
    arrays = data | {key: SCALES[key] for key in own}
    return {key: array.astype(dtype) for key, array in arrays.items()} | declared.plain(loss)


def call_of(name, grad=False):
    return lambda **options: getattr(fe, name + "_grad" * grad)(**arguments(name) | options)


LOSSES = {name: (call_of(name), X.shape) for name in declared.LOSSES}
GRADS = {name: call_of(name, grad=True) for name in declared.LOSSES}
WEIGHT = RNG.uniform(size=(2, 5))
WHERE = np.array([True, False, True])


@pytest.mark.parametrize("loss", LOSSES)
@DTYPES
@pytest.mark.parametrize("axis", [-1, (1, 2), (), None])
def test_a_reduced_value_is_a_python_float(loss, dtype, axis):
    given, call = arguments(loss, dtype), getattr(fe, loss)
    rows = call(**given, axis=axis)
    for reduction, reduce in (("sum", np.sum), ("mean", np.mean)):
        got = call(**given, axis=axis, reduction=reduction)
        assert type(got) is float
        assert_allclose(got, reduce(rows.astype(float)), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    "options", [{"weight": WEIGHT}, {"where": WHERE}, {"weight": WEIGHT, "where": WHERE}, {"where": False}]
)
@pytest.mark.parametrize("loss", LOSSES)
def test_mean_divides_by_the_number_of_rows_whatever_weight_and_where_say(loss, options):
    call, _ = LOSSES[loss]
    assert_allclose(call(reduction="mean", **options), call(reduction="sum", **options) / 10)


@REDUCTIONS
@pytest.mark.parametrize("loss", GRADS)
def test_gradients_are_those_of_the_value_returned(loss, reduction):
    """Of its sum where reduction="none": by 4th-order central differences along a random direction."""
    direction, step = RNG.normal(size=X.shape), 1e-3
    options = {"reduction": reduction, "weight": WEIGHT, "where": WHERE}
    given = arguments(loss)
    keys = [key for key, a in given.items() if np.shape(a) == X.shape]
    names = [declared.gradient_of(declared.LOSSES[loss], key) for key in keys]
    grad = GRADS[loss](**options, wrt=tuple(names))

    def total(t):
        moved = {key: given[key] + t * direction for key in keys[-2:]}
        return np.sum(getattr(fe, loss)(**given | moved, **options))

    slope = (8 * (total(step) - total(-step)) - (total(2 * step) - total(-2 * step))) / (12 * step)
    terms = sum(getattr(grad, name) for name in names[-2:]) * direction  # which may cancel
    assert_allclose(np.sum(terms), slope, rtol=0, atol=1e-9 * np.sum(abs(terms)))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("loss", GRADS)
def test_gradient_functions_return_the_value_of_the_value_functions(loss, reduction):
    call, _ = LOSSES[loss]
    got = GRADS[loss](reduction=reduction)
    assert type(got.value) is float
    assert got.value == call(reduction=reduction)


def test_sums_are_accumulated_in_double_from_unrounded_rows():
    """Rows of 2²³ + ½, which float32 cannot hold: two of them are 2²⁴ + 1."""
    x = np.array([[4096.0, 1.0], [4096.0, 1.0]], np.float32)
    options = {"var": 1.0, "full": False}
    assert fe.gaussian_nll(x, 0.0, reduction="sum", **options) == 2.0**24 + 1
    assert fe.gaussian_nll(x, 0.0, reduction="mean", **options) == 2.0**23 + 0.5
    assert fe.gaussian_nll_grad(x, np.zeros_like(x), reduction="sum", **options).value == 2.0**24 + 1


@pytest.mark.parametrize("shape", [(0, 3), (0, 0)])
def test_the_mean_of_no_rows_is_nan_silently(shape):
    x = np.empty(shape, np.float32)
    with np.errstate(all="raise"):
        assert np.isnan(fe.gaussian_nll(x, x, var=1.0, reduction="mean"))
        assert np.isnan(fe.gaussian_kl(x, var=1.0, reduction="mean"))
        assert fe.gaussian_nll(x, x, var=1.0, reduction="sum") == 0.0
        got = fe.gaussian_nll_grad(x, x, var=np.float32(1.0), reduction="mean")
    assert np.isnan(got.value)
    assert got.mean.shape == shape
    assert got.scale == 0.0


@pytest.mark.parametrize("columns", [1, 3])
def test_tiny_gradients_are_summed_before_they_are_divided(columns):
    """1/N of an element is subnormal here, their mean is not; what is not summed has its 1/N beside it."""
    rows, tiny = 2**14 + 1, np.float32(1.1e-36)
    x, zero = np.full((rows, columns), tiny), np.zeros(columns, np.float32)
    for scale in (np.float32(1), np.ones((rows, columns), np.float32)):
        options = {"prior_mean": zero, "var": scale, "reduction": "mean"}
        alone = fe.gaussian_kl_grad(x, **options, wrt="prior_mean")
        both = fe.gaussian_kl_grad(x, **options, wrt=("mean", "prior_mean"))
        assert_allclose(alone.prior_mean, np.full(columns, -tiny), rtol=2**-22, atol=0)
        assert_array_equal(both.prior_mean, alone.prior_mean)
        assert_allclose(both.mean, x / np.float64(rows), rtol=0, atol=2.0**-149)
    precision = np.full(columns, 2.0**117, np.float32)
    nll = fe.gaussian_nll_grad(x, x, precision=precision, reduction="mean", wrt="scale")
    assert_allclose(nll.scale, -0.5 / precision, rtol=2**-22, atol=0)


def test_empty_events_are_rows_of_zero():
    x = np.empty((3, 0))
    assert fe.gaussian_nll(x, x, var=1.0, reduction="mean") == 0.0
    assert fe.gaussian_kl(x, var=1.0, reduction="sum") == 0.0


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_1d_data_must_say_what_an_event_is(reduction):
    x = X[0, :, 0]
    for call in (
        lambda **options: fe.gaussian_nll(x, 0.0, var=1.0, reduction=reduction, **options),
        lambda **options: fe.gaussian_nll_grad(x, x, var=1.0, reduction=reduction, **options).value,
        lambda **options: fe.gaussian_kl(x, var=1.0, reduction=reduction, **options),
        lambda **options: fe.gaussian_kl_grad(0.0, var=x * x, reduction=reduction, **options).value,
    ):
        with pytest.raises(
            ValueError, match=r"one event of size 5, or 5 observations\? pass axis=-1 or axis=\(\)"
        ):
            call()
        divisor = {"sum": 1, "mean": 5}[reduction]
        assert_allclose(call(axis=()), call(axis=-1) / divisor)
        assert call(axis=-1) == call(axis=None)


def test_1d_data_without_reduction_is_one_event():
    x = X[0, 0]
    assert_allclose(fe.gaussian_nll(x, x, var=1.0), reference.gaussian_nll(x, x, var=1.0))
    assert isinstance(fe.gaussian_nll(x, x, var=1.0), np.float64)


@pytest.mark.parametrize("loss", LOSSES)
def test_full_false_drops_a_constant_for_each_counted_element(loss):
    """½·log 2π of the Gaussian: the value at r = 0 and a scale of 1, for some of them."""
    call, _ = LOSSES[loss]
    if "full" not in declared.LOSSES[loss].options:
        with pytest.raises(TypeError, match="full"):
            call(full=False)
        return
    one, two = declared.LOSSES[loss].operands[:2]
    form = declared.forms(declared.LOSSES[loss].scales[0])[:4][-1]
    constant = getattr(fe, loss)(**arguments(loss) | {one: 0.0, two: 0.0, form: 0.0})
    options = {"weight": WEIGHT, "where": WHERE}
    assert_allclose(call(**options) - call(full=False, **options), WEIGHT * 2 * constant)
    assert_allclose(call() - call(full=False), 3 * constant)


def test_the_constant_of_the_gaussian():
    assert_allclose(fe.gaussian_nll(0.0, 0.0, var=1.0), 0.5 * np.log(2 * np.pi))
    assert fe.gaussian_nll(0.0, 0.0, var=1.0, full=False) == 0


TINY = np.finfo(np.float64).tiny
HUGE = {
    "rows of 5.6e306": (lambda: (np.full((32, 1), 0.5), np.zeros((32, 1))), {"var": TINY}),
    "squares of 9e306": (lambda: (np.full((40, 1), 0.3e154), np.zeros((40, 1))), {"var": 1.0}),
    "many": (lambda: (np.full((1000, 3), 0.3e154), np.zeros((1000, 3))), {"var": 1.0}),
}


@pytest.mark.parametrize("case", HUGE)
@pytest.mark.parametrize("wrt", ["x", "mean", "scale", ("mean", "scale")])
def test_a_mean_of_rows_whose_sum_is_no_double(case, wrt):
    """Each row is a double, and so is their mean; the same bits whatever is asked for beside."""
    make, scale = HUGE[case]
    x, mean = make()
    row = fe.gaussian_nll(x[:1], mean[:1], **scale)[0]
    value = fe.gaussian_nll(x, mean, **scale, reduction="mean")
    assert value == pytest.approx(row, rel=1e-15)
    assert fe.gaussian_nll_grad(x, mean, **scale, reduction="mean", wrt=wrt).value == value


def test_a_mean_of_kls_whose_sum_is_no_double():
    mean, std = np.full((40, 1), 3e153), np.ones((40, 1))
    assert fe.gaussian_kl(mean, std=std, reduction="mean") == pytest.approx(4.5e306, rel=1e-15)
