"""The discretized Gaussian: oracle and plain NumPy against identities; the polynomials of the core."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from mpmath import mp, mpf

import bins
import coefficients
import oracles
import rounding
import variance
from digits import Exact
from fastelbo import reference

#: μ, σ, bin of pixels between low = −1 and high = 1
PIXELS = [
    (0.3, 0.05, 2 / 255),
    (-0.999, 1e-3, 2 / 255),
    (0.1, 30.0, 0.25),
    (5.0, 0.1, 0.125),
    (0.0, 1e-4, 1.0),
]
#: (x − μ)/σ, bin/σ; also 10⁴ σ out, narrow in a tail, and bins of nearly all the probability
PLACES = [
    (0.0, 0.1), (0.7, 0.9), (0.7, 1.2), (-3.0, 0.25), (2.0, 4.5), (1.2, 1e-9), (-8.0, 3.0), (40.0, 1e-3),
    (0.2, 11.0), (1e4, 1.0), (-1e4, 1e-6), (300.0, 500.0), (3.0, 60.0),
]  # fmt: skip
ENDS = ["closed", "below", "above"]


def at(place, ends):
    """x = z, μ = 0, σ = 1."""
    z, width = place
    return {"bin": width, "low": z if ends == "below" else None, "high": z if ends == "above" else None}


@pytest.mark.parametrize(("mean", "std", "width"), PIXELS)
def test_the_probabilities_of_all_bins_sum_to_1(mean, std, width):
    pixels = -1 + np.arange(round(2 / width) + 1) * np.float64(width)
    high = pixels[-1]
    exact = oracles.discretized_gaussian(pixels, mean, width, -1.0, high, members=("value",), std=std)[
        "value"
    ]
    total = mp.fsum(mp.exp(-value) for value in exact.value)
    # the edges of neighbours are the numbers x ± bin/2, whose bins may miss each other by the rounding of x
    gaps = 2 * sum(abs(mpf(a) + mpf(width) - mpf(b)) for a, b in itertools.pairwise(pixels)) / std
    assert abs(total - 1) <= gaps + mpf(10) ** -50
    terms = reference.discretized_gaussian_nll(pixels, mean, std=std, bin=width, low=-1.0, high=high, axis=())
    assert abs(np.exp(-terms).sum() - 1) <= float(gaps) + 1e-13


@pytest.mark.parametrize("scale", variance.SCALES)
@pytest.mark.parametrize("r", [0.0, 0.4, -1.7, 9.0])
def test_a_narrow_bin_holds_its_width_times_the_density(r, scale):
    """Up to (h²/6)·(z² − 1), h = bin/(2σ)."""
    raw, width = variance.raw_of(scale, 0.6), 2.0**-40
    found, limit = (
        oracles.discretized_gaussian(r, 0.0, width, **{scale: raw}),
        oracles.nll(r, 0.0, **{scale: raw}),
    )
    limit["value"] = Exact(limit["value"].value - mp.log(width), limit["value"].size)
    for member in oracles.NLL_MEMBERS:
        assert abs(found[member].value - limit[member].value) <= 200 * mpf(width) ** 2
    own = reference.discretized_gaussian_nll_grad(
        [r], [0.0], **{scale: raw}, bin=width, wrt=("x", "mean", "scale")
    )
    of_density = reference.gaussian_nll_grad([r], [0.0], **{scale: raw}, wrt=("x", "mean", "scale"))
    np.testing.assert_allclose(own.value, of_density.value - np.log(width), rtol=1e-14)
    for got, want in zip(own[1:], of_density[1:], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("scale", variance.SCALES)
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("place", PLACES)
def test_the_oracle_s_gradients_are_the_value_s_derivatives(place, ends, scale):
    raw, bin_ = mpf(float(variance.raw_of(scale, 0.0))), at(place, ends)
    width, z = mpf(place[1]), mpf(place[0])
    low = mpf(bin_["low"]) if ends == "below" else -mp.inf
    high = mpf(bin_["high"]) if ends == "above" else mp.inf

    def value(mean, raw):
        return bins.discretized_gaussian_terms("value", z, mean, scale, raw, width, low, high)[0]

    for member, function, point in (
        ("mean", lambda m: value(m, raw), mpf(0)),
        ("scale", lambda q: value(mpf(0), q), raw),
    ):
        terms = bins.discretized_gaussian_terms(member, z, mpf(0), scale, raw, width, low, high)
        step = mpf(10) ** -15
        numerical = (
            8 * (function(point + step) - function(point - step))
            - (function(point + 2 * step) - function(point - 2 * step))
        ) / (12 * step)
        assert abs(sum(terms) - numerical) <= mpf(10) ** -30 * max(abs(term) for term in terms)
    signs = [
        bins.discretized_gaussian_terms(m, z, mpf(0), scale, raw, width, low, high) for m in ("x", "mean")
    ]
    assert sum(signs[0]) == -sum(signs[1])


@pytest.mark.parametrize("scale", variance.SCALES)
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("place", PLACES)
def test_plain_numpy_is_right(place, ends, scale):
    raw, bin_ = variance.raw_of(scale, 0.0), at(place, ends)
    exact = oracles.discretized_gaussian(place[0], 0.0, **bin_, **{scale: raw})
    got = reference.discretized_gaussian_nll_grad(
        [place[0]], [0.0], **bin_, **{scale: raw}, wrt=("x", "mean", "scale")
    )
    for member, array in zip(oracles.NLL_MEMBERS, got, strict=True):
        value, size = exact[member]
        rounding.check(
            np.reshape(array, ()), value, size * 100 * rounding.eps(np.float64), np.float64, member
        )


@pytest.mark.parametrize(
    ("r", "logvar", "ends", "value", "mean", "scale"),
    [
        (1.0, -np.inf, "closed", np.inf, -np.inf, -np.inf),
        (0.1, -np.inf, "closed", 0.0, 0.0, 0.0),
        (0.25, -np.inf, "closed", np.log(2), -np.inf, 0.0),
        (1.0, np.inf, "closed", np.inf, 0.0, 0.5),
        (1.0, np.inf, "above", np.log(2), 0.0, 0.0),
        (-np.inf, 0.0, "closed", np.inf, np.inf, -np.inf),
        (np.inf, np.inf, "closed", np.inf, np.nan, np.nan),
        (np.nan, 0.0, "closed", np.nan, np.nan, np.nan),
    ],
)
def test_limits_of_the_oracle(r, logvar, ends, value, mean, scale):
    exact = oracles.discretized_gaussian(r, 0.0, **at((r, 0.5), ends), logvar=logvar)
    got = [float(exact[member].value.item()) for member in ("value", "mean", "scale")]
    np.testing.assert_allclose(got, [value, mean, scale], rtol=1e-15)


def test_the_polynomials_are_those_of_their_script(capsys):
    coefficients.main()
    header = (Path(__file__).parents[1] / "fastelbo/src/losses/discretized.h").read_text()
    found = set(re.findall(r"-?0x[0-9a-f.]+p[-+]\d+f?", header))
    want = set(re.findall(r"-?0x[0-9a-f.]+p[-+]\d+f?", capsys.readouterr().out))
    assert want - found <= {"0x1p+0", "0x1p+0f", "0x1p-1f"}  # 1 and ½
    assert len(found - want - {"0x1p-900"}) == 2  # ½·log 2π of each type; and a bound of the wide numbers
