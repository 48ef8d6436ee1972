"""`reparameterize` and its gradient at any scale and at special values, against 60 digits."""

import itertools

import numpy as np
from mpmath import mp, mpf
from numpy.testing import assert_array_equal

import digits
import fastelbo as fe
import objectives
import rounding
import variance
from marks import DTYPES, NAMES, NOISY

RNG = np.random.default_rng(13)


def numbers(shape, dtype, *, positive=False) -> np.ndarray:
    """Signed numbers over all exponents of `dtype`, subnormal ones too."""
    limits = np.finfo(dtype)
    low, high = int(limits.minexp) - int(limits.nmant), int(limits.maxexp)
    with np.errstate(under="ignore"):
        array = np.ldexp(RNG.uniform(0.5, 1, shape), RNG.integers(low + 1, high, shape)).astype(dtype)
    return array if positive else array * RNG.choice([-1, 1], shape).astype(dtype)


def scale_argument(name: str, shape, dtype) -> np.ndarray:
    """σ as far as the argument, or products with σ, can be represented at all; half of them near 1."""
    if name in variance.LINEAR:
        wide = numbers(shape, dtype, positive=True)
    else:
        wide = RNG.uniform(-4, 4, shape) * -np.log(float(np.finfo(dtype).tiny))
    near = variance.raw_of(name, RNG.uniform(-3, 3, shape))
    return np.where(RNG.random(shape) < 0.5, wide, near).astype(dtype)


@NAMES
@DTYPES
def test_samples_at_any_scale(name, dtype):
    """σ is within 2 u: e^x is the kernels', √ and 1/ are rounded. Where it is no float64, within 8 u.

    It is then a product of up to three e^x. That with ε is rounded once more, the sum twice, in double and in
    `dtype`.
    """
    raw = scale_argument(name, 400, dtype)
    eps = np.where(RNG.random(400) < 0.5, numbers(400, dtype), RNG.normal(size=400)).astype(dtype)
    mean = np.where(RNG.random(400) < 0.5, 0, RNG.normal(size=400)).astype(dtype)
    got = fe.reparameterize(mean, **{name: raw}, eps=eps)
    terms = np.frompyfunc(lambda *at: objectives.sample_terms(at[0], name, *at[1:]), 3, 1)
    found = terms(*map(digits.exact, (mean, raw, eps)))
    exact = np.frompyfunc(sum, 1, 1)(found)
    product = np.frompyfunc(lambda t: abs(t[1]), 1, 1)(found)
    double = rounding.eps(np.float64) / 2
    sigma = np.frompyfunc(lambda raw: abs(variance.logvar(name, raw)) / 2 > 708, 1, 1)(digits.exact(raw))
    bound = np.where(sigma, 9, 3) * double * product + (double + rounding.eps(dtype) / 2) * abs(exact)
    assert rounding.check(got.z, exact, bound, dtype, name) > 200
    assert got.eps is eps
    assert got.z.dtype == dtype


@NAMES
@DTYPES
def test_gradients_at_any_scale(name, dtype):
    """∂precision is the longest product: σ³ with 2 u each, and 4 roundings; then that to `dtype`.

    The 10 u are less than the 6 eps of the policy. 8 u of σ, where that is no float64, and 2 roundings too.
    """
    raw = scale_argument(name, 400, dtype)
    grad_z, eps = (
        np.where(RNG.random(400) < 0.5, numbers(400, dtype), RNG.normal(size=400)).astype(dtype) for _ in "ge"
    )
    got = fe.reparameterize_grad(grad_z, eps, **{name: raw})
    slope = np.frompyfunc(lambda *at: objectives.sample_slope(at[0], at[1], name, at[2]), 3, 1)
    exact = slope(*map(digits.exact, (grad_z, eps, raw)))
    bound = (10 * rounding.eps(np.float64) / 2 + rounding.eps(dtype) / 2) * abs(exact)
    assert rounding.check(got.scale, exact, bound, dtype, name) > 200
    assert_array_equal(got.mean, grad_z)


@NAMES
def test_oracle_slope_is_the_derivative_of_the_oracle_sample(name):
    for raw in (mpf("0.3"), mpf("1.7")):
        for grad_z, eps in itertools.product((mpf(2), mpf("-0.7")), repeat=2):
            derivative = mp.diff(lambda at, eps=eps: sum(objectives.sample_terms(mpf(3), name, at, eps)), raw)
            exact = objectives.sample_slope(grad_z, eps, name, raw)
            assert abs(grad_z * derivative - exact) < mpf(10) ** -25


SPECIAL = [np.nan, 0.0, 1.0, -1.0, 2.0, 1e-30, 1e30, -1e30, 2e5, -2e5, np.inf, -np.inf]


@NAMES
@DTYPES
@NOISY
def test_special_values(name, dtype, noisy):
    """Limits for infinite arguments, NaN without one; and not a word from NumPy.

    σε is formed first: where that overflows, an infinite mean may meet an infinity.
    """
    raws = np.array([raw for raw in SPECIAL if name in variance.LOG or not raw <= 0], dtype)
    mean, raw, eps = (
        g.ravel() for g in np.meshgrid(np.array(SPECIAL, dtype), raws, np.array(SPECIAL, dtype))
    )
    with np.errstate(all=noisy):
        z = fe.reparameterize(mean, **{name: raw}, eps=eps).z
        got = fe.reparameterize_grad(mean, eps, **{name: raw})
    exact = [digits.exact(array) for array in (mean, raw, eps)]
    for i, (m, s, e) in enumerate(zip(*exact, strict=True)):
        found = objectives.sample_terms(m, name, s, e)
        kind = rounding.kind(sum(found), max(map(abs, found)), dtype)
        if mp.isinf(m) and mp.isfinite(found[1]) and abs(found[1]) > np.finfo(np.float64).max:
            kind = "any"
        assert kind in (rounding.kind(mpf(float(z[i])), 0, dtype), "any"), (m, s, e)
        slope = objectives.sample_slope(m, e, name, s)
        kind = rounding.kind(slope, abs(slope), dtype)
        assert kind in (rounding.kind(mpf(float(got.scale[i])), 0, dtype), "any"), (m, s, e)
    assert_array_equal(got.mean, mean)
