"""Wrong numbers that were found, each against 60 digits, with its bound: see promises.py.

They are of four kinds: a reduction of an argument that goes wrong at one mantissa; a factor (β, a weight,
1/N, 1/S, x_scale) that meets a number which was already rounded to the computing dtype; a difference x − μ
that is no number of that dtype; and a detour through a square, or through a number of limited range.
"""

import math
import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from mpmath import mpf

import fastelbo as fe
import promises
import rounding
import variance
from marks import DTYPES

F4, F8 = np.float32, np.float64
ROOT = np.sqrt(2.0)


class Case(NamedTuple):
    """A call, and its members that are numbers of their type, or that were not; all are checked."""

    about: str
    name: str
    arguments: dict[str, Any]
    members: tuple[str, ...]

    def __str__(self) -> str:
        return re.sub(r"\W+", "-", f"{self.name} {self.about}")


def f4(*rows: Any) -> np.ndarray:
    return np.array(rows, F4)


def f8(*rows: Any) -> np.ndarray:
    return np.array(rows, F8)


def case(about: str, name: str, *members: str, **arguments: Any) -> Case:
    return Case(about, name, arguments, members or ("value",))


Z4, Z8 = f4([0.0]), f8([0.0])


# --- a mantissa ---------------------------------------------------------------------------------------------

#: √2 and its neighbours in each binade near 1, where the mantissa's inverse is beyond √2, or not
ROOTS = [
    case(f"{dtype.__name__} 2^{k} around √2", "gaussian_kl_grad", "value", "scale",
         mean=np.zeros(7, dtype), axis=(), wrt="scale",
         **{form: np.ldexp((dtype(ROOT).view(integer) + np.arange(-3, 4)).astype(integer).view(dtype), k)})
    for form in variance.LINEAR
    for dtype, integer in ((F4, np.int32), (F8, np.int64))
    for k in (-3, -2, -1, 0, 1, 2)
]  # fmt: skip
MANTISSAS = [case("√2", "gaussian_kl", mean=0.0, precision=ROOT), *ROOTS]


# --- a factor -----------------------------------------------------------------------------------------------

#: Latents whose KL or whose gradient is beyond the dtype, or nearly so
FAR_LATENTS = [
    (Z4, {"z_logvar": f4([95.0])}),
    (Z4, {"z_var": f4([1e-40])}),
    (Z4, {"z_std": f4([1e-39])}),
    (Z4, {"z_precision": f4([1e-20])}),
    (f4([1e20]), {"z_var": f4([1.0])}),
    (Z8, {"z_logvar": f8([720.0])}),
    (Z8, {"z_var": f8([1e-310])}),
    (Z8, {"z_std": f8([1e-309])}),
    (Z8, {"z_precision": f8([1e-155])}),
    (f8([1e156]), {"z_var": f8([1.0])}),
    (Z4, {"z_logvar": f4([95.0]), "prior_logvar": f4([0.5])}),
    (f4([1e20]), {"z_var": f4([1.0]), "prior_precision": f4([1e3])}),
]
FARTHER_LATENTS = [
    *FAR_LATENTS,
    (Z8, {"z_logvar": f8([800.0])}),
    (Z8, {"z_precision": f8([5e-324])}),
    (f8([1e300]), {"z_std": f8([1e300])}),
]
WARM_UP = [
    case(f"beta {beta} {next(iter(scale))} {number}", "neg_elbo_grad", "value", "z_mean", "z_scale",
         x=0 * z, recon=0 * z, z_mean=z, var=1.0, beta=beta, **scale)
    for beta, latents in ((0.0, FARTHER_LATENTS), (1e-6, FAR_LATENTS))
    for number, (z, scale) in enumerate(latents)
]  # fmt: skip

X = f4([1e22], [1.0])
FIRST_ROW_OUT = [
    case("a row of weight 0", "gaussian_nll", x=X, mean=0 * X, var=1.0, weight=[0, 1], reduction="sum"),
    case("a row of weight 0, var an array", "gaussian_nll", x=X, mean=0 * X, var=1 + 0 * X, weight=[0, 1],
         reduction="sum"),
    case("a row of weight 0", "gaussian_nll_grad", "scale", "mean", x=X, mean=0 * X, logvar=0 * X,
         weight=[0, 1]),
    *[case(f"a row of weight 0, {form}", "gaussian_nll_grad", "scale", "mean", x=X, mean=0 * X, weight=[0, 1],
           **{form: variance.raw_of(form, 0 * X).astype(F4)}) for form in variance.SCALES],
    *[case(f"a row of weight 0, one {form}", "gaussian_nll_grad", "value", "scale", "mean", x=X, mean=0 * X,
           weight=[0, 1], **{form: F4(variance.raw_of(form, 0.0))}) for form in variance.SCALES],
    case("a row of weight 0", "gaussian_kl", mean=np.zeros((2, 1), F4), logvar=f4([100.0], [1.0]),
         weight=[0, 1],
         reduction="sum"),
    case("a row of weight 0", "gaussian_kl_grad", "value", "scale", mean=np.zeros((2, 1), F4),
         logvar=f4([100.0], [1.0]), weight=[0, 1]),
    case("a row of weight 0", "gaussian_kl_grad", "value", "scale", "mean", "prior_mean", "prior_scale",
         mean=f4([1e22], [1.0]), logvar=f4([0.0], [1.0]), prior_mean=f4([0.0], [0.5]), prior_var=f4([1e-3],
         [2.0]),
         weight=[0, 1], wrt=("mean", "scale", "prior_mean", "prior_scale")),
    case("a row of weight 0", "bernoulli_nll_grad", "value", "logits", "x", x=f4([1e30], [1.0]),
         logits=f4([1e30], [1.0]), weight=[0, 1], wrt=("x", "logits")),
    case("a row of weight 0", "bernoulli_nll", x=f4([1e30], [1.0]), logits=f4([1e30], [1.0]), weight=[0, 1],
         reduction="sum"),
]  # fmt: skip


def one_far(count: int, far: float, rest: float = 0.0) -> np.ndarray:
    x = np.full((count, 1), rest, F4)
    x[0] = far
    return x


FAR = one_far(1000, 5.4e19)
SMALL_FACTORS = [
    case("one of 1000 rows", "gaussian_nll_grad", "value", "scale", "mean", x=FAR, mean=0 * FAR, logvar=0.0,
         reduction="mean"),
    case("one of 1000 rows, a scale each", "gaussian_nll_grad", "value", "scale", "mean", x=FAR, mean=0 * FAR,
         logvar=0 * FAR, reduction="mean"),
    case("1e-38 by 1e20", "gaussian_nll_grad", "mean", "x", x=f4([1e-38]), mean=Z4, var=1e5, weight=[1e20],
         wrt=("x", "mean")),
    case("1e-38 by 1e20, an array", "gaussian_nll_grad", "mean", "x", x=f4([1e-38]), mean=Z4, var=f4([1e5]),
         weight=[1e20], wrt=("x", "mean")),
    case("1000 × 2.4e19, var a number", "gaussian_nll", x=np.full((1000, 1), 2.4e19, F4),
         mean=np.zeros((1000, 1), F4), var=1.0, reduction="sum"),
    case("1000 × 2.4e19, var an array", "gaussian_nll", x=np.full((1000, 1), 2.4e19, F4),
         mean=np.zeros((1000, 1), F4), var=np.ones((1000, 1), F4), reduction="sum"),
    case("1e22, reduced", "gaussian_nll", x=f4([1e22]), mean=Z4, var=1.0, reduction="mean"),
    case("1e22, reduced, var an array", "gaussian_nll", x=f4([1e22]), mean=Z4, var=f4([1.0]),
         reduction="mean"),
    case("1e22, reduced", "gaussian_kl", mean=f4([1e22]), var=f4([1.0]), reduction="mean"),
    case("logvar 100, reduced", "gaussian_kl", mean=Z4, logvar=f4([100.0]), reduction="sum"),
    case("1e30 × 1e30, reduced", "bernoulli_nll", x=f4([-1e30]), logits=f4([1e30]), reduction="sum"),
    case("beta 1e39", "neg_elbo_grad", "z_mean", x=f4([0.0, 0.0]), recon=f4([0.0, 0.0]), z_mean=f4([1e-10,
         0.0]),
         var=1.0, z_var=1.0, beta=1e39),
    case("beta 1e-46", "neg_elbo_grad", "z_mean", x=Z4, recon=Z4, z_mean=f4([1e30]), var=1.0, z_var=1.0,
         beta=1e-46),
    case("one sample of ten far off", "neg_elbo", "value", "nll", x=Z4, recon=one_far(10, 4.243e19)[:, None],
         z_mean=Z4, var=np.ones((10, 1, 1), F4), z_var=1.0, reduction="none"),
    case("one sample of ten far off, one var", "neg_elbo", "value", "nll", x=Z4,
         recon=one_far(10, 4.243e19)[:, None], z_mean=Z4, var=1.0, z_var=1.0, reduction="none"),
    case("weight 1e-10", "gaussian_nll", x=np.full((1, 4), 1e20, F4), mean=np.zeros((1, 4), F4),
         var=np.ones((1, 4), F4), weight=[1e-10]),
    case("weight 1e-10, one var", "gaussian_nll", x=np.full((1, 4), 1e20, F4), mean=np.zeros((1, 4), F4),
         var=1.0, weight=[1e-10]),
    case("x_scale 2^-80", "gaussian_nll_grad", "value", "x", "mean", "scale", x=f4([2.0**100]), mean=Z4,
         x_scale=2.0**-80, std=f4([2.0**20]), wrt=("x", "mean", "scale")),
]  # fmt: skip


# --- a difference -------------------------------------------------------------------------------------------

A = f4([3e38])
B = f8([1.5e308])
BEYOND = [
    *[case(f"2a, {form}", "gaussian_nll_grad", *members, x=a, mean=-a, wrt=("x", "mean", "scale"),
           **{form: np.asarray(raw, a.dtype)})
      for a, most in ((A, 3e38), (B, 1.5e308))
      for members, forms in (
          (("value", "x", "mean", "scale"),
           (("std", [most]), ("logstd", [np.log(most)]), ("logvar", [2 * np.log(most)]), ("std", most),
            ("logstd", np.log(most)))),
          (("x", "mean"), (("var", [most]), ("precision", [1 / most]))))  # r²/σ² is beyond
      for form, raw in forms],
    *[case("2a", "gaussian_kl_grad", "value", "mean", "scale", "prior_mean", "prior_scale", mean=a, std=a,
           prior_mean=-a, prior_std=a, wrt=("mean", "scale", "prior_mean", "prior_scale")) for a in (A, B)],
    *[case("2a", "optimal_nll_grad", "value", "x", "mean", x=a, mean=-a, wrt=("x", "mean")) for a in (A, B)],
    case("2a", "neg_elbo_grad", "value", "nll", "recon", "scale", x=A, recon=-A, z_mean=Z4, std=A, z_var=1.0),
]  # fmt: skip


# --- a detour -----------------------------------------------------------------------------------------------

DETOURS = [
    *[case(f"r {r}", "optimal_nll_grad", "value", "x", "mean", x=np.full((2, 3), r), mean=np.zeros((2, 3)),
           wrt=("x", "mean")) for r in (1e-170, 1.234567e-161, 1e154, 1e-200, 1e200, 1e-300, 1e300)],
    *[case(f"r {r}", "optimal_nll", x=np.full((2, 3), r), mean=np.zeros((2, 3)))
      for r in (1e-170, 1.234567e-161, 1e154, 1e-200, 1e200)],
    *[case(f"nothing is above the floor, {form}", "gaussian_nll", x=Z4, mean=Z4, min_var=1e-50, **{form: raw})
      for form, raw in {"var": Z4, "std": Z4, "logvar": f4([-np.inf]), "logstd": f4([-np.inf]),
                        "precision": f4([np.inf])}.items()],
    *[case(f"floor {floor} {form} {dtype.__name__}", "gaussian_nll_grad", "value", "mean",
           x=np.array([[1.5]], dtype),
           mean=np.array([[0.25]], dtype), min_var=floor, **{form: np.array([[raw]], dtype)})
      for dtype in (F4, F8) for floor in (1e-30, 3e-30, 7e-29, 4e-21, 1e-12, 3e-5, 0.7, 1e30)
      for form, raw in (("logvar", -80.0), ("logstd", -40.0), ("var", 1e-35), ("std", 1e-18),
                        ("precision", 1e35))],
    case("a floor beyond float32", "gaussian_nll", x=Z4, mean=Z4, precision=f4([1.0]), min_var=1e300),
    case("a floor beyond float32", "gaussian_nll", x=Z4, mean=Z4, logvar=f4([0.0]), min_var=1e300),
    *[case(f"a subnormal residual, {form}", "gaussian_nll_grad", "x", "mean", x=f4([1.4e-45]), mean=Z4,
           wrt=("x", "mean"), **{form: raw})
      for form, raw in (("std", F4(3e-4)), ("std", f4([3e-4])), ("var", f4([9e-8])), ("logvar", f4([-16.2])),
                        ("logstd", f4([-8.1])), ("precision", f4([1.1e7])))],
    *[case(f"a subnormal residual, {form}", "gaussian_kl_grad", "mean", "prior_mean", mean=f4([1.4e-45]),
           prior_mean=Z4, var=f4([1e-7]), wrt=("mean", "prior_mean"), **{form: raw})
      for form, raw in (("prior_std", f4([3e-4])), ("prior_var", f4([9e-8])), ("prior_logvar", f4([-16.2])),
                        ("prior_logstd", f4([-8.1])), ("prior_precision", f4([1.1e7])))],
    case("x 1e155, a subnormal precision", "gaussian_nll_grad", "scale", x=f8([1e155]), mean=Z8,
         precision=1e-310, wrt="scale"),
    case("x 1e155, a subnormal precision, an array", "gaussian_nll_grad", "scale", x=f8([1e155]), mean=Z8,
         precision=f8([1e-310]), wrt="scale"),
    *[case(f"a subnormal {form}", "gaussian_nll_grad", "scale", x=f8([x]), mean=Z8, wrt="scale",
           **{form: raw})
      for form, raw, x in (("var", 1e-310, 1.0001e-155), ("std", 1e-310, 1.001e-310),
                           ("var", 3e-309, 4e-155))],
]  # fmt: skip


# --- a product, or a weight, that is rounded before something large meets it --------------------------------

SMALL = {F4: (-1e-30, 1.3e-14, 3e-19), F8: (-1e-300, 1.3e-20, 1e-150)}
ROUNDED = [
    *[case(f"x·x_scale {type(x).__name__} {form} {shape}", "gaussian_nll_grad", "value", "x", "mean", "scale",
           x=np.full((2, 3), x, dtype), mean=np.zeros((2, 3), dtype), x_scale=c, wrt=("x", "mean", "scale"),
           **{form: np.full(shape, variance.raw_of(form, 2 * np.log(std))).astype(dtype)})
      for dtype, (x, c, std) in SMALL.items() for form in variance.SCALES
      for shape in ((), (3,), (2, 1), (2, 3))],
    *[case(f"x·x_scale under a weight, {shape}", "gaussian_nll_grad", "value", "x", "mean",
           x=np.full((2, 3), -2.8e-45, F4), mean=np.zeros((2, 3), F4), x_scale=1e-14, wrt=("x", "mean"),
           std=np.full(shape, 1e-12, F4), weight=[1e20, 1e30]) for shape in ((), (3,), (2, 1), (2, 3))],
    case("x·x_scale, an event of 200", "gaussian_nll_grad", "value", "x", "mean", "scale",
         x=np.full((2, 200), -2.8e-45, F4), mean=np.zeros((2, 200), F4), x_scale=1e-14, std=F4(2e-26),
         wrt=("x", "mean", "scale")),
    case("x·x_scale beside what is stored in 16 bits", "gaussian_nll_grad", "value", "x", "mean", "scale",
         x=np.full((2, 200), -2.8e-45, F4), mean=np.zeros((2, 200), np.float16), x_scale=1e-14, std=F4(2e-26),
         wrt=("x", "mean", "scale")),
    case("x·x_scale under a broadcast mean", "gaussian_nll_grad", "value", "mean", "x",
         x=np.full((5, 3), -2.8e-45, F4), mean=np.zeros(3, F4), x_scale=1e-14, std=np.full((5, 3), 2e-26, F4),
         wrt=("x", "mean")),
    *[case(f"x·x_scale {dtype.__name__} of far logits {reduction}", "bernoulli_nll_grad", "value", "x",
           "logits", x=np.array([[x, 0.0, 0.5]], dtype), logits=np.array([[-far, 2.0, -1.0]], dtype),
           x_scale=1e-3, reduction=reduction, wrt=("x", "logits"))
      for dtype, x, far in ((F4, 1.4e-42, 1e37), (F8, 5.3e-321, 1e160)) for reduction in ("none", "sum")],
    *[case(f"a weight that float32 rounds to 0 or infinity, {shape} {form} {reduction}", "gaussian_nll_grad",
           "value", "mean", "scale", x=f4([far, 0.5], [far, 2.0]), mean=f4([0.0, 0.0], [0.0, 0.0]),
           **{form: np.full(shape, variance.raw_of(form, np.log(var))).astype(F4)},
           weight=np.array(weight), reduction=reduction)
      for far, var, weight in ((1e15, 1.0, [1e-60, 1.0]), (1e-15, 1e20, [1e50, 1.0]))
      for shape in ((), (2,), (2, 1), (2, 2)) for form in ("var", "logvar") for reduction in ("none", "sum")
      if weight[0] < 1 or (form == "var" and reduction == "sum")],
    *[case(f"a far x·x_scale under a weight that float32 rounds to 0, {samples} means", "gaussian_nll_grad",
           "x", "scale", x=f4([-1.93]), mean=np.zeros((samples, 1, 1), F4), x_scale=2e31, var=1.0,
           weight=np.full((samples, 1), 6.6e-97), wrt=("x", "scale")) for samples in (1, 3)],
    case("a weight of 1e-60, swapped", "gaussian_nll", x=f4([1e15]), mean=Z4, var=f4([1.0]),
         weight=np.array([1e-60], ">f8"), reduction="sum"),
    *[case(f"{form} {raw}, {shape} {reduction}", "gaussian_nll_grad", "value", x=f4([1.0, 2.0], [3.0, 4.0]),
           mean=np.zeros((2, 2), F4), reduction=reduction, **{form: np.full(shape, raw, F4)})
      for form, raws in (("logvar", (-340.0, -354.0, -400.0, -560.0, -700.0)), ("logstd", (-177.0, -300.0)))
      for raw in raws for shape in ((), (2,), (2, 1), (2, 2)) for reduction in ("sum", "mean")],
    *[case(f"logvar -400 of the data, {shape} {reduction}", "neg_elbo", "value", "nll",
           x=f4([1.0, 2.0], [3.0, 4.0]), recon=np.zeros((3, 2, 2), F4), logvar=np.full(shape, -400, F4),
           z_mean=np.zeros((2, 1), F4), z_var=1.0, reduction=reduction)
      for shape in ((), (2,), (2, 1), (2, 2)) for reduction in ("sum", "mean")],
    case("a variance far beyond float32", "optimal_nll_grad", "value", "x", "mean",
         x=f4([2.4823904e20, 1.3743576], [1.3960310, 0.18837869]), mean=f4([2.4823904e20, 4.7620482],
         [4.0023570, -1.5124238]), x_scale=4.346121513781895e33, wrt=("x", "mean")),
]  # fmt: skip

CASES = [*MANTISSAS, *WARM_UP, *FIRST_ROW_OUT, *SMALL_FACTORS, *BEYOND, *DETOURS, *ROUNDED]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_right_to_its_bound(case):
    got = getattr(fe, case.name)(**case.arguments)
    arguments = {key: value for key, value in case.arguments.items() if key != "wrt"}
    assert promises.check(case.name, arguments, got)
    for member in case.members:
        assert np.all(np.isfinite(getattr(got, member, got))), member


# --- what is not a number of the table ----------------------------------------------------------------------


def test_warm_up_leaves_nothing_of_the_kl():
    """At beta = 0 the NLL alone, and gradients of exactly 0."""
    for z, scale in FARTHER_LATENTS:
        got = fe.neg_elbo_grad(0 * z, 0 * z, z, var=1.0, beta=0.0, **scale)
        assert got.value == got.nll == pytest.approx(0.5 * np.log(2 * np.pi))
        assert got.z_mean.tolist() == got.z_scale.tolist() == [[0.0]]


def test_sum_of_many_small_gradients():
    """Σ of 10⁸ gradients of 1e-46, none of which is a number of float32."""
    count = 100_000_000
    x = np.broadcast_to(f4(1e-23).ravel()[0], (count,))
    got = fe.gaussian_nll_grad(x, F4(0), precision=F4(1e-23), axis=-1, wrt="mean").mean
    exact = -(mpf(float(F4(1e-23))) ** 2) * count
    rounding.check(got, np.array(exact, object), 11 * rounding.eps(F4) * abs(exact), F4, "∂mean")


# --- sums that are looked at once more ----------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("rows", [7, 40_000])
@pytest.mark.parametrize("form", ["precision", "var", "logvar"])
def test_a_sum_is_judged_by_its_own_elements(form, rows, dtype):
    """NaN is one column's, an infinite gradient before the mean another's, zeros a third's."""
    most = 1.5 * math.sqrt(np.finfo(dtype).max)
    x, mean = np.zeros((rows, 5), dtype), np.zeros(5, dtype)
    x[1, 1], x[2, 3], x[:, 4] = most, np.finfo(dtype).tiny / 3, 0.5
    scale = np.full(5, {"precision": 1.0, "var": 1e-3, "logvar": 0.0}[form], dtype)
    options = {"reduction": "mean", "wrt": ("mean", "scale"), form: scale}
    want = fe.gaussian_nll_grad(x, mean, **options)
    x[rows - 1, 0] = np.nan
    got = fe.gaussian_nll_grad(x, mean, **options)
    for one, other in ((got.mean, want.mean), (got.scale, want.scale)):
        assert np.isnan(one[0])
        assert one[1:].tobytes() == other[1:].tobytes()
        assert np.isfinite(other[1:]).all() or form == "var"
    part = {"x": x[:7, 1:], "mean": mean[1:], form: scale[1:], "reduction": "mean"}
    assert promises.check("gaussian_nll_grad", part, fe.gaussian_nll_grad(**part))


def test_an_element_does_not_depend_on_its_neighbours():
    """Not where its r is subnormal, beside a scale or a residual near the end of the range."""
    rng = np.random.default_rng(5)
    for dtype in (F4, F8):
        tiny = float(np.finfo(dtype).tiny)
        for form in variance.SCALES:
            x = np.array([rng.uniform(0, tiny, 200), rng.normal(size=200)], dtype)
            raw = variance.raw_of(form, rng.normal(size=(2, 200))).astype(dtype)
            far = raw.copy()
            far[1] = variance.raw_of(form, np.full(200, math.log(tiny)))
            for weight in (None, rng.uniform(0.1, 3, 2)):
                one, other = (
                    fe.gaussian_nll_grad(x, 0 * x, weight=weight, wrt=("x", "scale"), **{form: scale})
                    for scale in (raw, far)
                )
                assert one.x[0].tobytes() == other.x[0].tobytes(), (form, dtype)
                assert one.scale[0].tobytes() == other.scale[0].tobytes(), (form, dtype)


@DTYPES
def test_an_exact_product_is_not_formed_again(dtype):
    """x·x_scale that is subnormal and exact has the bits of the same x without a factor."""
    tiny = np.finfo(dtype).smallest_subnormal
    x, logits, mean = np.array([[tiny, 0.5]], dtype), np.array([[0.3, 1]], dtype), np.zeros((1, 2), dtype)
    for reduction in ("none", "mean"):
        one, other = (
            (
                fe.bernoulli_nll(data, logits, x_scale=factor, reduction=reduction),
                fe.gaussian_nll(data, mean, var=np.ones((1, 2), dtype), x_scale=factor, reduction=reduction),
            )
            for data, factor in ((2 * x, 1.0), (x, 2.0))
        )
        assert one == other
