"""The Gaussian: its negative log-likelihood, and the KL divergence of two."""

from typing import Any, Final

import numpy as np

from fastelbo._declare import Loss, Scale
from fastelbo._results import KLGrad, NLLGrad

_NLL = """\
Negative log-likelihood of `x` under a diagonal Gaussian, in nats, summed over each event::

    NLL = Σ ½·log 2π + ½·log σ² + (x − μ)²/(2σ²)

With one σ² for all D elements this is D·MSE/(2σ²) + (D/2)·log(2πσ²): the *sum* of squares, not its mean.

Parameters
----------
x, mean : array_like, real
    Data x and means μ, of equal shapes; or one lacks *leading* axes of the other, as x of shape (N, D)
    does against S decoder samples (S, N, D). Size-1 axes are never stretched between the two. Integers
    that float64 would round are subtracted as integers.
var, std, logvar, logstd, precision : array_like, real
    The scale, as **exactly one** of σ², σ, log σ², log σ, 1/σ². Broadcasts to the shape of `x` and
    `mean`, as a scalar, (D,), (N, 1) or (N, D) does to (N, D). var, std and precision must be > 0.
x_scale : float, default 1.0
    Factor of `x`, finite and not 0: `x` times it takes the place of `x`, so that 8-bit images stay as
    they are, with ``x_scale=1/255``. It takes the computing dtype, as Python scalars do. The product is
    not rounded before `mean` is subtracted.
axis : int, tuple of ints, () or None, default -1
    Event axes, summed. ``()`` is elementwise, None takes all. Negative where `x` and `mean` differ in
    ndim, and neither is a scalar.
full : bool, default True
    False drops ½·log 2π for each element counted, and nothing else.
weight : array_like, real, optional
    Factors: of the rows, in the rows' shape; or with as many axes as the data, each of size 1 or equal,
    as (1, D) for features and (N, D) for elements. Its dtype does not take part in the computing dtype.
where : array_like of bool, optional
    Broadcasts to the data. False removes an element: what it holds touches neither value nor gradient.
min_var : float, default 0.0
    Floor of σ², in every form of the scale. The scale's gradient is 0 below it. It lifts no negative var
    or std, which may be a logarithm.
reduction : {"none", "sum", "mean"}, default "none"
    What becomes of the rows, which are what `axis` leaves. "mean" divides by their number, whatever
    `weight` and `where` say. For 1-D data `axis` must be given with "sum" and "mean".
out : ndarray, optional
    Where to write the rows: native, aligned, writeable, of the computing dtype and the rows' shape, in
    any layout that does not overlap itself. It may be one of the inputs.

Returns
-------
ndarray, NumPy scalar or float
    Nats. Rows have the computing dtype: NumPy's promotion of `x`, `mean` and the scale (Python scalars
    are weak, but none becomes infinite by it; bfloat16 counts as float16), at least float32, and float64
    for integers alone. Without axes a NumPy scalar; a Python float, summed in double, for "sum" and
    "mean"; `out` where it is given.

Raises
------
TypeError
    None or several of the five scale keywords; complex, object, string, datetime, longdouble or masked
    input; a `where` that is not boolean; a `full` that is not, or True and False for a number.
ValueError
    var, std or precision that is not > 0, with the first index in C order and the value: neither NaN,
    which propagates to its own row, nor elements removed by `where`, nor those lifted by `min_var`. A
    Python scalar that is infinite in the computing dtype; integers beyond 2⁵³, which float64 would round,
    as a scale, or as data with an `x_scale`: not in x − μ, which is exact, nor as factors (`weight`,
    `min_var`, …), which are rounded to float64.
    Shapes, `x_scale`, `axis`, `weight`, `min_var`, `reduction` or `out` against the rules above. After an
    error no input is changed.

See Also
--------
gaussian_nll_grad : the value and its gradients in one pass.
optimal_var : the shared σ² that minimises this.

References
----------
.. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013): the
   Gaussian decoder log p(x|z), appendix C.2, eq. (12).

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]], np.float32)
>>> recon = np.array([[0.5, 1.0, 1.0], [1.0, 1.0, 1.0]], np.float32)
>>> fe.gaussian_nll(x, recon, var=0.25).round(4)
array([3.1774, 0.6774], dtype=float32)
>>> sse = ((x - recon) ** 2).sum(axis=1)
>>> (sse / (2 * 0.25) + 3 / 2 * np.log(2 * np.pi * 0.25)).round(4)
array([3.1774, 0.6774])
>>> pixels = np.array([[0, 127, 255]], np.uint8)
>>> fe.gaussian_nll(pixels, recon[:1], var=0.25, x_scale=1 / 255).round(4)
array([1.6813], dtype=float32)
"""

_NLL_GRAD = """\
Value of `gaussian_nll` and its gradients, in one pass.

With r = x − μ, v = σ² and τ = 1/v, summed where an argument is broadcast::

    ∂x = r/v = −∂mean            ∂logvar = ½(1 − r²/v)       ∂var = (v − r²)/(2v²)
    ∂std = (1 − r²/v)/σ          ∂logstd = 1 − r²/v          ∂precision = ½(r²τ − 1)/τ

With an `x_scale` c it is r = c·x − μ and ∂x = c·r/v, with respect to `x` as passed.

Parameters
----------
x, mean, var, std, logvar, logstd, precision, x_scale, axis, full, weight, where, min_var, reduction
    As in `gaussian_nll`.
wrt : name or names of {"x", "mean", "scale"}, default ("mean", "scale")
    The gradients to compute; the others are None and cost nothing. "scale" is with respect to the keyword
    that was passed.
out : tuple (value, x, mean, scale) of ndarray or None, optional
    Where to write each member; None allocates. An array has the computing dtype and the shape of the
    value, or of the argument it is the gradient of, and may be one of the inputs: gradients written over
    the arguments save their memory.

Returns
-------
NLLGrad
    Named tuple (value, x, mean, scale). A gradient has the shape of its argument, in the computing dtype:
    that of a broadcast argument is the sum over what it was broadcast over. It is the gradient of the
    value returned, and of its sum where ``reduction="none"``.

Raises
------
TypeError, ValueError
    As `gaussian_nll`; ValueError also for unknown names in `wrt`, for an array in `out` that was not
    asked for, or for one in place of a reduced value, and for two outputs that overlap.

References
----------
.. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013), appendix
   C.2.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([[0.5, 1.0], [2.0, 3.0]], np.float32)
>>> loss, _, d_mean, d_logvar = fe.gaussian_nll_grad(x, np.zeros_like(x), logvar=0.0, reduction="mean")
>>> f"{loss:.4f}"
'5.4004'
>>> d_mean
array([[-0.25, -0.5 ],
       [-1.  , -1.5 ]], dtype=float32)
>>> d_logvar
np.float32(-2.5625)
"""

_KL = """\
KL divergence of a diagonal Gaussian from a prior, in nats, summed over each event::

    KL(q ‖ p) = Σ ½(e^d − 1 − d) + (μ − μ_p)²/(2σ_p²)        with d = log σ² − log σ_p²

Against the default prior N(0, 1) that is ½ Σ μ² + σ² − 1 − log σ². Never negative, and exact to a few
units in the last place where q and p nearly agree, which the textbook form is not.

Parameters
----------
mean : array_like, real
    Means μ of q. A scalar stands for a constant of the scale's shape.
var, std, logvar, logstd, precision : array_like, real
    The scale of q, as **exactly one** of σ², σ, log σ², log σ, 1/σ². Broadcasts to the shape of `mean`
    and `prior_mean`. var, std and precision must be > 0.
prior_mean : array_like, real, default 0.0
    Means of p: the shape of `mean`, or one of the two lacks *leading* axes of the other.
prior_var, prior_std, prior_logvar, prior_logstd, prior_precision : array_like, real
    The scale of p, as **at most one** of the five forms; unit variance without.
axis, weight, where, reduction, out
    As in `gaussian_nll`.

Returns
-------
ndarray, NumPy scalar or float
    Nats, in the dtypes of `gaussian_nll`; the prior takes part in the promotion.

Raises
------
TypeError
    None or several scales of q, or several of p; otherwise as `gaussian_nll`.
ValueError
    As `gaussian_nll`, for the scales of q and p.

References
----------
.. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013): appendix B,
   the solution of −KL(q ‖ p) for two Gaussians, and eq. (10).

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> mean = np.array([[0.0, 0.0], [1.0, -1.0]], np.float32)
>>> fe.gaussian_kl(mean, logvar=np.array([0.0, -1.0], np.float32)).round(4)
array([0.1839, 1.1839], dtype=float32)
>>> fe.gaussian_kl(mean, var=0.5, prior_mean=mean, prior_var=0.5)
array([0., 0.], dtype=float32)
"""

_KL_GRAD = """\
Value of `gaussian_kl` and its gradients, in one pass.

With Δ = μ − μ_p, v = σ², v_p = σ_p², d = log v − log v_p, summed where an argument is broadcast::

    ∂mean = Δ/v_p = −∂prior_mean
    ∂logvar = ½(e^d − 1)         ∂prior_logvar = −½(e^d − 1) − ½Δ²/v_p

and for the other forms of a scale these times 1/v (var), 2/σ (std), 2 (logstd), −v (precision).

Parameters
----------
mean, var, std, logvar, logstd, precision, prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, \
prior_precision, axis, weight, where, reduction
    As in `gaussian_kl`.
wrt : name or names of {"mean", "scale", "prior_mean", "prior_scale"}, default ("mean", "scale")
    The gradients to compute; the others are None and cost nothing. "scale" and "prior_scale" are with
    respect to the keywords that were passed; "prior_scale" needs one.
out : tuple (value, mean, scale, prior_mean, prior_scale) of ndarray or None, optional
    As in `gaussian_nll_grad`.

Returns
-------
KLGrad
    Named tuple (value, mean, scale, prior_mean, prior_scale), with gradients as in `gaussian_nll_grad`.

Raises
------
TypeError, ValueError
    As `gaussian_kl` and, for `wrt` and `out`, as `gaussian_nll_grad`.

References
----------
.. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013), appendix B.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> mean = np.array([[0.0, 0.5]], np.float32)
>>> grad = fe.gaussian_kl_grad(mean, var=np.array([[1.0, 2.0]], np.float32))
>>> grad.mean
array([[0. , 0.5]], dtype=float32)
>>> grad.scale
array([[0.  , 0.25]], dtype=float32)
"""


def _nll(a: Any) -> dict[str, Any]:
    """s = log σ², z = r/σ."""
    (s, slope) = a.scales[0]
    inv_std = np.exp(-0.5 * s)
    z = a.r * inv_std
    return {
        "value": a.full * 0.5 * np.log(2 * np.pi) + 0.5 * s + 0.5 * z * z,
        "x": a.x_scale * z * inv_std,
        "mean": -z * inv_std,
        "scale": 0.5 * np.where(slope == 0, 0.0, 1 - z * z) * slope,
    }


def _kl(a: Any) -> dict[str, Any]:
    """z = r/σ_p, d = log σ² − log σ_p²."""
    (s_q, slope_q), (s_p, slope_p) = a.scales
    inv_std = np.exp(-0.5 * s_p)
    z, d = a.r * inv_std, s_q - s_p
    return {
        "value": 0.5 * (np.expm1(d) - d) + 0.5 * z * z,
        "mean": z * inv_std,
        "prior_mean": -z * inv_std,
        "scale": 0.5 * np.expm1(d) * slope_q,
        "prior_scale": -0.5 * (np.expm1(d) + z * z) * slope_p,
    }


_MEANS: Final = dict.fromkeys(("recon", "z_mean", "logits"), ("mean",))
_ALIKE: Final = _MEANS | {"z_scale": ("scale",)}

GAUSSIAN_NLL: Final = Loss(
    name="gaussian_nll",
    kernel="nll",
    positional=("x", "mean"),
    operands=("x", "mean", "scale"),
    scales=(Scale(),),
    options=frozenset(("x_scale", "full", "min_var")),
    result=NLLGrad,
    wrt=("mean", "scale"),
    alike=_ALIKE,
    maths=_nll,
    doc=_NLL,
    grad_doc=_NLL_GRAD,
)
GAUSSIAN_KL: Final = Loss(
    name="gaussian_kl",
    kernel="kl",
    positional=("mean",),
    operands=("mean", "prior_mean", "scale", "prior_scale"),
    scales=(Scale(), Scale(prefix="prior_", whose="the prior's scale", required=False)),
    defaults={"prior_mean": 0.0},
    result=KLGrad,
    wrt=("mean", "scale"),
    scalar_mean=True,
    alike=_ALIKE,
    maths=_kl,
    doc=_KL,
    grad_doc=_KL_GRAD,
)
