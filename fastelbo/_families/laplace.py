"""The Laplace negative log-likelihood: the L1 loss."""

from typing import Any, Final

import numpy as np

from fastelbo._declare import Loss, Scale
from fastelbo._results import NLLGrad

_NLL = """\
Negative log-likelihood of `x` under Laplace distributions, in nats, summed over each event::

    NLL = Σ log 2 + log b + |x − μ|/b

It is the L1 loss: with one scale b for all D elements D·MAE/b + D·log 2b, with the mean absolute error
MAE = Σ|x − μ|/D. The b that minimises it is MAE.

Parameters
----------
x, mean : array_like, real
    Data x and medians μ, which are means too; shapes as in `gaussian_nll`.
scale, logscale : array_like, real
    The scale b, as **exactly one** of b and log b. It is not the standard deviation, which is √2·b.
    Broadcasts to the shape of `x` and `mean`, as a scalar, (D,), (N, 1) or (N, D) does to (N, D). scale
    must be > 0.
x_scale, axis, weight, where, reduction, out
    As in `gaussian_nll`.
full : bool, default True
    False drops log 2 for each element counted, and nothing else.
min_scale : float, default 0.0
    Floor of b, in both forms. The scale's gradient is 0 below it. It lifts no negative scale, which may
    be a logarithm.

Returns
-------
ndarray, NumPy scalar or float
    Nats, in the dtypes of `gaussian_nll`.

Raises
------
TypeError
    None or both of the two scale keywords; otherwise as `gaussian_nll`.
ValueError
    scale that is not > 0, with the first index in C order and the value; otherwise as `gaussian_nll`.

See Also
--------
laplace_nll_grad : the value and its gradients in one pass.
student_t_nll : heavier tails, and smooth at 0.

References
----------
.. [1] S. Kotz, T. J. Kozubowski and K. Podgórski, "The Laplace Distribution and Generalizations"
   (Birkhäuser, 2001), section 2.1.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
>>> recon = np.array([[0.5, 1.0, 1.0], [1.0, 1.0, 1.0]])
>>> fe.laplace_nll(x, recon, scale=0.25).round(4)
array([ 3.9206, -2.0794])
>>> mae = abs(x - recon).mean()
>>> fe.laplace_nll(x, recon, scale=mae, axis=None).round(4)
np.float64(1.8411)
>>> print(round(6 * (1 + np.log(2 * mae)), 4))
1.8411
"""

_NLL_GRAD = """\
Value of `laplace_nll` and its gradients, in one pass.

With r = x − μ, summed where an argument is broadcast::

    ∂x = sign(r)/b = −∂mean      ∂scale = (1 − |r|/b)/b      ∂logscale = 1 − |r|/b

At r = 0, where the loss has a kink, ∂x is 0. With an `x_scale` c it is r = c·x − μ and ∂x = c·sign(r)/b,
with respect to `x` as passed.

Parameters
----------
x, mean, scale, logscale, x_scale, axis, full, weight, where, min_scale, reduction
    As in `laplace_nll`.
wrt : name or names of {"x", "mean", "scale"}, default ("mean", "scale")
    The gradients to compute; the others are None and cost nothing. "scale" is with respect to the keyword
    that was passed.
out : tuple (value, x, mean, scale) of ndarray or None, optional
    As in `gaussian_nll_grad`.

Returns
-------
NLLGrad
    Named tuple (value, x, mean, scale), as of `gaussian_nll_grad`.

Raises
------
TypeError, ValueError
    As `laplace_nll` and `gaussian_nll_grad`.

References
----------
.. [1] S. Kotz, T. J. Kozubowski and K. Podgórski, "The Laplace Distribution and Generalizations"
   (Birkhäuser, 2001), section 2.1.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([[0.5, 1.0], [0.0, 3.0]])
>>> loss = fe.laplace_nll_grad(x, np.zeros_like(x), scale=2.0, reduction="mean")
>>> f"{loss.value:.4f}"
'3.8976'
>>> loss.mean
array([[-0.25, -0.25],
       [-0.  , -0.25]])
>>> loss.scale
np.float64(0.4375)
"""


def _nll(a: Any) -> dict[str, Any]:
    """½s = log b."""
    (s, slope) = a.scales[0]
    inverse = np.exp(-0.5 * s)
    size = np.abs(a.r) * inverse
    return {
        "value": a.full * np.log(2) + 0.5 * s + size,
        "x": a.x_scale * np.sign(a.r) * inverse,
        "mean": -np.sign(a.r) * inverse,
        "scale": 0.5 * np.where(slope == 0, 0.0, 1 - size) * slope,
    }


LAPLACE_NLL: Final = Loss(
    name="laplace_nll",
    kernel="laplace",
    positional=("x", "mean"),
    operands=("x", "mean", "scale"),
    scales=(Scale(("", "scale", "", "logscale", "")),),
    options=frozenset(("x_scale", "full", "min_scale")),
    result=NLLGrad,
    wrt=("mean", "scale"),
    alike={"loc": ("mean",), "recon": ("mean",)},
    maths=_nll,
    doc=_NLL,
    grad_doc=_NLL_GRAD,
)
