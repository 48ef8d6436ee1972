"""What a mix of an error and a KL optimises."""

import itertools
import math

import numpy as np
import pytest
from mpmath import mpf

import fastelbo as fe
import rounding

RNG = np.random.default_rng(17)


def test_the_usual_mixes():
    d = 784
    assert fe.implied_objective("mean", "sum", n_features=d) == (d / 2, 1.0, 1.0)
    assert fe.implied_objective("sum", "sum") == (0.5, 1.0, 1.0)
    assert fe.implied_objective("sum", "sum", error_weight=0.5) == (1.0, 1.0, 1.0)
    assert fe.implied_objective("mean", "mean", n_features=d, n_latents=16) == (24.5, 1.0, 1 / 16)
    assert fe.implied_objective("mean", "sum", n_features=d, var=1.0) == (1.0, d / 2, 2 / d)
    assert fe.implied_objective("sum", "sum", kl_weight=4.0, var=0.5).beta == 4.0


@pytest.mark.parametrize("error", ["mean", "sum"])
@pytest.mark.parametrize("kl", ["mean", "sum"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 3.0)])
@pytest.mark.parametrize("var", [None, 0.3])
def test_gradients_of_the_mix_are_those_of_the_negative_elbo(error, kl, weights, var):
    """Times `scale`; and so are the values, but for the constant. The mix is differentiated by hand."""
    x, recon = RNG.normal(size=(2, 6, 11))
    mean, logvar = RNG.normal(size=(2, 6, 3))
    implied = fe.implied_objective(
        error, kl, n_features=11, n_latents=3, error_weight=weights[0], kl_weight=weights[1], var=var
    )
    assert implied.var == var if var else implied.beta == 1.0
    a, b = weights[0] / (11 if error == "mean" else 1), weights[1] / (3 if kl == "mean" else 1)
    nll = fe.gaussian_nll_grad(x, recon, var=implied.var)
    divergence = fe.gaussian_kl_grad(mean, logvar=logvar)
    pairs = [
        (a * 2 * (recon - x), nll.mean),
        (b * mean, implied.beta * divergence.mean),
        (b * np.expm1(logvar) / 2, implied.beta * divergence.scale),
    ]
    for mix, elbo in pairs:
        np.testing.assert_allclose(mix, implied.scale * elbo, rtol=1e-13)
    mix = a * np.sum((x - recon) ** 2, axis=-1) + b * divergence.value
    elbo = nll.value + implied.beta * divergence.value
    constant = 11 / 2 * math.log(2 * math.pi * implied.var)
    np.testing.assert_allclose(mix, implied.scale * (elbo - constant), rtol=1e-12)


@pytest.mark.parametrize("var", [None, 1e-308, 0.3, 1.7e308])
@pytest.mark.parametrize("sizes", [(1, 1), (784, 3), (10**300, 7), (3, 10**400)])
def test_implied_objective_at_extremes(sizes, var):
    """Right to the last digit wherever all three numbers are floats, whatever their products are."""
    for a, b in itertools.product([5e-324, 1e-200, 0.1, 3.0, 1e200, 1.7e308], repeat=2):
        options = {"n_features": sizes[0], "n_latents": sizes[1], "error_weight": a, "kl_weight": b}
        error, kl = mpf(a) / sizes[0], mpf(b) / sizes[1]
        sigma2 = kl / (2 * error) if var is None else mpf(var)
        want = (sigma2, mpf(1) if var is None else kl / (2 * error * sigma2), 2 * sigma2 * error)
        if all(0 < float(exact) < math.inf for exact in want):
            got = fe.implied_objective("mean", "mean", var=var, **options)
            for mine, exact in zip(got, want, strict=True):
                assert type(mine) is float
                assert abs(mine - exact) <= rounding.ulp(exact, np.float64) / 2 * (1 + mpf(2) ** -100)
        else:
            with pytest.raises(ValueError, match=r"^the (var|beta|scale) of this mix is too (large|small) "):
                fe.implied_objective("mean", "mean", var=var, **options)
