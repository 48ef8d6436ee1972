"""The Gaussian in bins: the likelihood of what is rounded to a grid, as 8-bit pixels are."""

import math
from typing import Any, Final

import numpy as np

from fastelbo._declare import EMPTY, Loss, Scale
from fastelbo._results import NLLGrad

_NLL = """\
Negative log-probability of bins under a diagonal Gaussian, in nats, summed over each event::

    NLL = Σ −log[Φ((x + bin/2 − μ)/σ) − Φ((x − bin/2 − μ)/σ)]

Φ is the standard normal distribution function. A bin is open below, Φ = 0 there, where x ≤ `low`, and
open above, Φ = 1, where x ≥ `high`. The honest likelihood of 8-bit pixels: it is a probability, so it is
≥ 0, can be compared between models and with codes (bits = nats/log 2), and no σ² makes it unbounded
below. As bin → 0 it is `gaussian_nll` − log bin. Right also where the difference of Φ has no digit left:
for bins far out in a tail, for bins far narrower than σ, and for those that hold all of the probability.

Parameters
----------
x, mean : array_like, real
    Data x, the middles of the bins, and means μ, of equal shapes; or one lacks *leading* axes of the
    other. See `gaussian_nll`.
var, std, logvar, logstd, precision : array_like, real
    The scale, as **exactly one** of σ², σ, log σ², log σ, 1/σ². Broadcasts to the shape of `x` and
    `mean`, as a scalar, (D,), (N, 1) or (N, D) does to (N, D). var, std and precision must be > 0.
bin : float
    Width of the bins, in the units of `mean`, finite and > 0: 1/255 for 8-bit pixels in [0, 1], 2/255 for
    those in [−1, 1].
low, high : float or None, default None
    Ends of the range of ``x·x_scale``, low < high: the bins of what is at or beyond them are open, so
    that the probabilities of all values sum to 1. None opens none. With ``x_scale=1/255`` the pixels
    0 … 255 lie between low=0.0 and high=1.0, not 255.
x_scale : float, default 1.0
    Factor of `x`, finite and not 0: `x` times it takes the place of `x`, so that 8-bit images stay as
    they are. The product is not rounded before `mean` is subtracted; it is before it is compared with
    `low` and `high`.
axis, weight, where, reduction, out
    As in `gaussian_nll`.
min_var : float, default 0.0
    Floor of σ², in every form of the scale, as in `gaussian_nll`. The scale's gradient is 0 below it.

Returns
-------
ndarray, NumPy scalar or float
    Nats, ≥ 0, in the dtypes of `gaussian_nll`. Of an element right to 20 eps·max(1, value).

Raises
------
TypeError
    As `gaussian_nll`; a `bin`, `low` or `high` that is not a real number.
ValueError
    As `gaussian_nll`; a `bin` that is not finite and > 0; a `low` or `high` that is not finite, or
    low ≥ high.

See Also
--------
discretized_gaussian_nll_grad : the value and its gradients in one pass.
gaussian_nll : the density instead of the probability.

Notes
-----
Infinite inputs give the limit. σ = 0: 0 in the bin, log 2 on its edge, inf outside. σ = inf: inf,
and log 2 in an open bin.

References
----------
.. [1] J. Ho, A. Jain and P. Abbeel, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239 (2020),
   eq. (13): the decoder term, with data in [−1, 1] and bins of 2/255.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> pixels = np.array([[0, 127, 255]], np.uint8)
>>> recon = np.array([[0.01, 0.5, 1.2]], np.float32)
>>> bins = {"bin": 1 / 255, "low": 0.0, "high": 1.0, "x_scale": 1 / 255}
>>> fe.discretized_gaussian_nll(pixels, recon, std=0.02, **bins).round(4)
array([3.6221], dtype=float32)
>>> every = np.arange(256, dtype=np.uint8)
>>> nll = fe.discretized_gaussian_nll(every, np.full(256, 0.3), std=0.02, axis=(), **bins)
>>> np.exp(-nll).sum().round(12)
np.float64(1.0)
>>> far = fe.discretized_gaussian_nll(10.0, 0.0, std=1e-3, bin=1e-3)  # 10⁴ σ out
>>> float(far.round(4))
49995010.2542
"""

_NLL_GRAD = """\
Value of `discretized_gaussian_nll` and its gradients, in one pass.

With t a standard normal variable cut to [a, b], the bin in units of σ from μ, summed where an argument is
broadcast::

    a, b = (x ∓ bin/2 − μ)/σ      E[t] = (φ(a) − φ(b))/P
    P = Φ(b) − Φ(a)               1 − E[t²] = (b·φ(b) − a·φ(a))/P

    ∂x = E[t]/σ = −∂mean          ∂logvar = ½(1 − E[t²])     ∂var = (1 − E[t²])/(2v)
    ∂std = (1 − E[t²])/σ          ∂logstd = 1 − E[t²]        ∂precision = −(1 − E[t²])/(2τ)

An open end is a = −∞ or b = ∞. As bin → 0, t is r/σ and these are the gradients of `gaussian_nll`. With
an `x_scale` c it is c·x in the place of x, and c·∂x, with respect to `x` as passed.

Parameters
----------
x, mean, var, std, logvar, logstd, precision, x_scale, axis, weight, where, min_var, reduction
    As in `discretized_gaussian_nll`.
bin, low, high
    As in `discretized_gaussian_nll`.
wrt : name or names of {"x", "mean", "scale"}, default ("mean", "scale")
    The gradients to compute; the others are None and cost nothing. "scale" is with respect to the keyword
    that was passed. That of x is at a given bin: an open end stays open.
out : tuple (value, x, mean, scale) of ndarray or None, optional
    Where to write each member, as in `gaussian_nll_grad`.

Returns
-------
NLLGrad
    Named tuple (value, x, mean, scale), as of `gaussian_nll_grad`. Of an element right to 20 eps of the
    largest term of the formula: of E[t] the larger of its parts from t > 0 and from t < 0, of the scale 1
    or E[t²].

Raises
------
TypeError, ValueError
    As `discretized_gaussian_nll`; ValueError also as `gaussian_nll_grad`.

References
----------
.. [1] J. Ho, A. Jain and P. Abbeel, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239 (2020),
   eq. (13).

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> pixels = np.array([[0, 127, 255]], np.uint8)
>>> recon = np.array([[0.01, 0.5, 0.9]], np.float32)
>>> loss, _, d_mean, d_logstd = fe.discretized_gaussian_nll_grad(
...     pixels, recon, logstd=-4.0, bin=1 / 255, low=0.0, high=1.0, x_scale=1 / 255, reduction="mean"
... )
>>> f"{loss:.4f}"
'20.5303'
>>> d_mean.round(3)
array([[  59.878,    5.823, -301.839]], dtype=float32)
>>> d_logstd.round(3)
np.float32(-29.089)
"""

_HALF_LOG_2PI: Final = 0.5 * np.log(2 * np.pi)
_erfc: Final = np.frompyfunc(math.erfc, 1, 1)


def _mills(t: Any) -> Any:
    """(1 − Φ(t))/φ(t) for t ≥ 0: erfc where that has its digits, then its continued fraction."""
    near = np.minimum(t, 3.0)
    fraction = np.copy(t)
    for k in range(100, 0, -1):
        fraction = t + k / fraction
    of_near = np.sqrt(np.pi / 2) * np.asarray(_erfc(near / np.sqrt(2)), np.float64) * np.exp(0.5 * near**2)
    return np.where(t < 3, of_near, 1 / fraction)


def _cut(z: Any, h: Any, a: Any, open_end: Any) -> tuple[Any, Any, Any]:
    """Return −log P, E[t] and 1 − E[t²] of t ~ N(0, 1) cut to [a, z + h], a = z − h and z ≥ 0, or to [a, ∞).

    No difference of Φ is formed that cancels. With y = zh, φ(z + h) = φ(a)·exp(−2y).
    """
    # a narrow bin: P = 2h·φ(z)·(mean of exp(−ys − h²s²/2) over −1 ≤ s ≤ 1), by Gauss and Legendre
    narrow = ~open_end & (h < 0.5) & (z * h < 0.25)
    width, y = np.where(narrow, h, 0.25)[..., np.newaxis], np.where(narrow, z * h, 0.0)[..., np.newaxis]
    nodes, weights = np.polynomial.legendre.leggauss(16)
    density = 0.5 * weights * np.exp(-y * nodes - 0.5 * (width * nodes) ** 2)
    total = density.sum(axis=-1)
    offset, square = (nodes * density).sum(axis=-1) / total, (nodes**2 * density).sum(axis=-1) / total
    narrow_value = _HALF_LOG_2PI + 0.5 * z * z - np.log(2 * h) - np.log(total)
    narrow_mean, narrow_square = z + h * offset, z * z + 2 * z * h * offset + h * h * square
    # beyond the mean: P = φ(a)·(mills(a) − exp(−2y)·mills(b)); around it: 1 − P is the two tails
    ratio = np.where(open_end, 0.0, np.exp(-2 * z * h))
    beyond, size = a >= 0, np.abs(a)
    of_b = np.where(ratio == 0, 0.0, ratio * _mills(z + h))
    part = _mills(size) - of_b
    phi = np.exp(-0.5 * a * a - _HALF_LOG_2PI)
    tails = phi * (_mills(size) + of_b)
    value = np.where(beyond, 0.5 * a * a + _HALF_LOG_2PI - np.log(part), -np.log1p(-tails))
    density_at_a = np.where(beyond, 1 / part, phi / (1 - tails))
    of_edges = np.where(ratio == 0, 0.0, ratio * (z + h)) - a
    scale = np.where(density_at_a == 0, 0.0, density_at_a * of_edges)
    return (
        np.where(narrow, narrow_value, value),
        np.where(narrow, narrow_mean, density_at_a * (1 - ratio)),
        np.where(narrow, 1 - narrow_square, scale),
    )


def _nll(a: Any) -> dict[str, Any]:
    """By symmetry z >= 0, or the bin is open above."""
    (s, slope) = a.scales[0]
    inv_std, x, half = np.exp(-0.5 * s), a.x_scale * a.x, 0.5 * a.bin
    below, above = x < a.low + half, x > a.high - half
    sign = np.where(above, 1.0, np.where(below | (a.r < 0), -1.0, 1.0))
    z, h, near = np.abs(a.r) * inv_std, half * inv_std, (sign * a.r - half) * inv_std
    shape = np.broadcast_shapes(a.r.shape, s.shape)
    value, mean_t, rest = _cut(*[np.broadcast_to(part, shape) for part in (z, h, near, below | above)])
    return {
        "value": value,
        "x": a.x_scale * sign * mean_t * inv_std,
        "mean": -sign * mean_t * inv_std,
        "scale": 0.5 * np.where(slope == 0, 0.0, rest) * slope,
    }


DISCRETIZED_GAUSSIAN_NLL: Final = Loss(
    name="discretized_gaussian_nll",
    kernel="discretized",
    positional=("x", "mean"),
    operands=("x", "mean", "scale"),
    scales=(Scale(),),
    parameters_of_call={"bin": EMPTY, "low": -np.inf, "high": np.inf},
    options=frozenset(("x_scale", "min_var")),
    result=NLLGrad,
    wrt=("mean", "scale"),
    alike={"recon": ("mean",), "z_mean": ("mean",), "logits": ("mean",)},
    maths=_nll,
    doc=_NLL,
    grad_doc=_NLL_GRAD,
)
