"""The Bernoulli negative log-likelihood, by logits."""

from typing import Any, Final

import numpy as np

from fastelbo._declare import Loss
from fastelbo._results import BernoulliNLLGrad

_NLL = """\
Negative log-likelihood of `x` under independent Bernoulli variables, in nats, summed over each event.

With logits l = log p/(1 − p), p the probability of a 1, it is the binary cross-entropy::

    NLL = −Σ x·log p + (1 − x)·log(1 − p) = Σ max(l, 0) − x·l + log(1 + e^−|l|)

Parameters
----------
x : array_like, real
    Data: 0 or 1, or a probability between them; of 8-bit pixels with ``x_scale=1/255``. Not checked: the
    formula is linear in x, and beyond [0, 1] has no lower bound.
logits : array_like, real
    Logits l of the shape of `x`; or one lacks *leading* axes of the other, as x of shape (N, D) does
    against S decoder samples (S, N, D). Size-1 axes are never stretched between the two.
x_scale : float, default 1.0
    Factor of `x`, as in `gaussian_nll`; but the product is rounded.
axis, weight, where, reduction, out
    As in `gaussian_nll`.

Returns
-------
ndarray, NumPy scalar or float
    Nats, in the dtypes of `gaussian_nll`. Never negative for x in [0, 1].

Raises
------
TypeError, ValueError
    For dtypes, shapes, `x_scale`, `axis`, `weight`, `where`, `reduction` and `out`, as `gaussian_nll`. No
    number is out of the domain.

See Also
--------
gaussian_nll : the other likelihood of the paper.

Notes
-----
p is never formed, so large logits lose no digits: x = 1 against l = 10⁴ costs 0, x = 0 costs 10⁴.
Infinite arguments give the limit: at l = +∞ the NLL is 0 for x = 1, +∞ for smaller x. For grey values in
[0, 1] it is the NLL of no density, and not comparable with that of a Gaussian.

References
----------
.. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013): the
   Bernoulli decoder log p(x|z), appendix C.1, eq. (11).

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
>>> logits = np.array([[-2.0, 0.0, 2.0], [1e4, -1e4, 0.0]], np.float32)
>>> fe.bernoulli_nll(x, logits).round(4)
array([0.947 , 0.6931], dtype=float32)
"""

_NLL_GRAD = """\
Value of `bernoulli_nll` and its gradients, in one pass.

Summed where an argument is broadcast, with p = 1/(1 + e^−l)::

    ∂logits = p − x        ∂x = −l

With an `x_scale` c it is ∂logits = p − c·x and ∂x = −c·l, with respect to `x` as passed.

Parameters
----------
x, logits, x_scale, axis, weight, where, reduction
    As in `bernoulli_nll`.
wrt : name or names of {"x", "logits"}, default ("logits",)
    The gradients to compute; the others are None and cost nothing.
out : tuple (value, x, logits) of ndarray or None, optional
    As in `gaussian_nll_grad`.

Returns
-------
BernoulliNLLGrad
    Named tuple (value, x, logits), with gradients as in `gaussian_nll_grad`.

Raises
------
TypeError, ValueError
    As `bernoulli_nll` and, for `wrt` and `out`, as `gaussian_nll_grad`.

References
----------
.. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013), appendix
   C.1.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([[0.0, 1.0], [0.25, 1.0]])
>>> value, _, d_logits = fe.bernoulli_nll_grad(x, np.zeros_like(x), reduction="mean")
>>> f"{value:.4f}"
'1.3863'
>>> d_logits
array([[ 0.25 , -0.25 ],
       [ 0.125, -0.25 ]])
"""


def _nll(a: Any) -> dict[str, Any]:
    return {
        "value": np.logaddexp(0.0, a.logits) - a.x_scale * a.x * a.logits,
        "x": -a.x_scale * a.logits,
        "logits": 1 / (1 + np.exp(-a.logits)) - a.x_scale * a.x,
    }


BERNOULLI_NLL: Final = Loss(
    name="bernoulli_nll",
    kernel="bernoulli",
    positional=("x", "logits"),
    operands=("x", "logits"),
    places=(2, 0),  # the logits, less 0, and the data in the place of a scale of any sign
    options=frozenset(("x_scale",)),
    result=BernoulliNLLGrad,
    wrt=("logits",),
    differences=False,
    alike=dict.fromkeys(("mean", "recon"), ("logits",)),
    maths=_nll,
    doc=_NLL,
    grad_doc=_NLL_GRAD,
)
