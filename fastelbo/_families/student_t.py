"""Student's t: the robust negative log-likelihood."""

from typing import Any, Final

import numpy as np

from fastelbo._declare import Loss, Scale
from fastelbo._results import NLLGrad

_NLL = """\
Negative log-likelihood of `x` under Student's t distributions, in nats, summed over each event::

    NLL = Σ c(ν) + log s + ½(ν + 1)·log(1 + (x − μ)²/(νs²))
    c(ν) = log Γ(ν/2) − log Γ((ν + 1)/2) + ½·log πν

A robust loss: it grows like (ν + 1)·log|x − μ|, not like a square, so that outliers count for little.
ν = 1 is the Cauchy distribution, ν = ∞ the Gaussian of standard deviation s.

Parameters
----------
x, mean : array_like, real
    Data x and locations μ; shapes as in `gaussian_nll`. μ is the mean where ν > 1.
df : array_like, real
    Degrees of freedom ν > 0, inf included: a number, or one for each feature or element; broadcasts to
    the shape of `x` and `mean`. It has no gradient.
scale, logscale : array_like, real
    The scale s, as **exactly one** of s and log s. It is not the standard deviation, which is
    s·√(ν/(ν − 2)) for ν > 2 and infinite or undefined below. Broadcasts to the shape of `x` and `mean`,
    as a scalar, (D,), (N, 1) or (N, D) does to (N, D). scale must be > 0.
x_scale, axis, weight, where, reduction, out
    As in `gaussian_nll`.
full : bool, default True
    False drops c(ν) for each element counted, and nothing else.
min_scale : float, default 0.0
    Floor of s, in both forms. The scale's gradient is 0 below it. It lifts no negative scale, which may
    be a logarithm.

Returns
-------
ndarray, NumPy scalar or float
    Nats, in the dtypes of `gaussian_nll`; `df` takes part in the promotion.

Raises
------
TypeError
    None or both of the two scale keywords; otherwise as `gaussian_nll`.
ValueError
    scale or df that is not > 0, with the first index in C order and the value: neither NaN, which
    propagates to its own row, nor elements removed by `where`; otherwise as `gaussian_nll`.

See Also
--------
student_t_nll_grad : the value and its gradients in one pass.
gaussian_nll : the limit ν = ∞.
laplace_nll : the L1 loss.

References
----------
.. [1] C. M. Bishop, "Pattern Recognition and Machine Learning" (Springer, 2006), eq. (B.64), with
   precision λ = 1/s².
.. [2] H. Takahashi, T. Iwata, Y. Yamanaka, M. Yamada and S. Yagi, "Student-t Variational Autoencoder for
   Robust Density Estimation", IJCAI (2018): as the decoder of a VAE.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([0.1, -0.4, 20.0])  # the last is an outlier
>>> fe.student_t_nll(x, np.zeros(3), df=3.0, scale=1.0, axis=()).round(4)
array([ 1.0075,  1.1048, 10.8015])
>>> fe.gaussian_nll(x, np.zeros(3), std=1.0, axis=()).round(4)
array([  0.9239,   0.9989, 200.9189])
>>> fe.student_t_nll(x, np.zeros(3), df=1.0, scale=1.0, axis=()).round(4)
array([1.1547, 1.2931, 7.1387])
>>> np.log(np.pi * (1 + x**2)).round(4)  # Cauchy
array([1.1547, 1.2931, 7.1387])
"""

_NLL_GRAD = """\
Value of `student_t_nll` and its gradients, in one pass.

With z = (x − μ)/s and ν = `df`, summed where an argument is broadcast::

    ∂x = (ν + 1)·z/(ν + z²)/s = −∂mean
    ∂scale = ν(1 − z²)/(ν + z²)/s          ∂logscale = ν(1 − z²)/(ν + z²)

and their limits at ν = ∞. Beyond z = ±√ν, ∂x falls again, to (ν + 1)/(x − μ); ∂logscale lies between −ν
and 1. With an `x_scale` c it is z = (c·x − μ)/s, and ∂x, with respect to `x` as passed, is c times that.

Parameters
----------
x, mean, df, scale, logscale, x_scale, axis, full, weight, where, min_scale, reduction
    As in `student_t_nll`.
wrt : name or names of {"x", "mean", "scale"}, default ("mean", "scale")
    The gradients to compute; the others are None and cost nothing. "scale" is with respect to the keyword
    that was passed. There is none with respect to `df`.
out : tuple (value, x, mean, scale) of ndarray or None, optional
    As in `gaussian_nll_grad`.

Returns
-------
NLLGrad
    Named tuple (value, x, mean, scale), as of `gaussian_nll_grad`.

Raises
------
TypeError, ValueError
    As `student_t_nll` and `gaussian_nll_grad`.

References
----------
.. [1] C. M. Bishop, "Pattern Recognition and Machine Learning" (Springer, 2006), eq. (B.64), of which
   these are the derivatives.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([[0.5, 1.0], [2.0, 40.0]])
>>> loss = fe.student_t_nll_grad(x, np.zeros_like(x), df=3.0, scale=1.0, reduction="mean")
>>> f"{loss.value:.4f}"
'9.4978'
>>> loss.mean.round(4)
array([[-0.3077, -0.5   ],
       [-0.5714, -0.0499]])
>>> loss.scale.round(4)
np.float64(-1.793)
"""


def _constant(df: Any) -> Any:
    """c(ν) = log Γ(a) − log Γ(a + ½) + ½·log 2πa with a = ν/2.

    It is ½·log 2π and, for a >= 16, a series in 1/a; from a to a + 16 it changes by logarithms.
    """
    a = 0.5 * df
    y = 1 / (a + 16)
    c = 0.5 * np.log(2 * np.pi) + y * np.polyval([31 / 18432, -17 / 14336, 1 / 640, -1 / 192, 1 / 8], y * y)
    for j in range(16):
        c = c + np.log1p(0.5 / (a + j))
    return c - 0.5 * np.log1p(16 / a)


def _nll(a: Any) -> dict[str, Any]:
    """½s is the logarithm of the scale; z = r/scale."""
    (s, slope) = a.scales[0]
    inverse = np.exp(-0.5 * s)
    z = a.r * inverse
    linear, t = z + z / a.df, z * z / a.df
    # log(1 + t) is t where that is below the rounding error; df may be infinite
    bulk = np.where(t < 2.0**-53, 0.5 * linear * z, 0.5 * (a.df + 1) * np.log1p(t))
    return {
        "value": (_constant(a.df) if a.full else 0.0) + 0.5 * s + bulk,
        "x": a.x_scale * linear / (1 + t) * inverse,
        "mean": -linear / (1 + t) * inverse,
        "scale": 0.5 * np.where(slope == 0, 0.0, (1 - z * z) / (1 + t)) * slope,
    }


STUDENT_T_NLL: Final = Loss(
    name="student_t_nll",
    kernel="student_t",
    positional=("x", "mean"),
    operands=("x", "mean", "scale"),
    scales=(Scale(("", "scale", "", "logscale", "")),),
    number="df",
    number_limit="inf is the Gaussian",
    options=frozenset(("x_scale", "full", "min_scale")),
    result=NLLGrad,
    wrt=("mean", "scale"),
    alike={"loc": ("mean",), "recon": ("mean",)},
    maths=_nll,
    doc=_NLL,
    grad_doc=_NLL_GRAD,
)
