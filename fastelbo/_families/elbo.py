"""The negative ELBO of a Gaussian VAE: two losses, joined."""

from dataclasses import replace
from typing import Final

from fastelbo._declare import Joint, Scale
from fastelbo._families.gaussian import GAUSSIAN_KL, GAUSSIAN_NLL
from fastelbo._results import NegELBO, NegELBOGrad

_ELBO = """\
Negative evidence lower bound of a Gaussian VAE, in nats: what training minimises::

    −ELBO = 1/S Σ_s −log N(x; recon_s, σ²) + β·KL(N(z_mean, σ_z²) ‖ p)

The first term is `gaussian_nll` of `x` (N, D), averaged over S decoder samples, the second `gaussian_kl`
of the encoder's posteriors (N, J). Both are summed over their events, and then reduced alike.

Parameters
----------
x : array_like, real
    Data, (N, D) say.
recon : array_like, real
    Decoder means: of the shape of `x`, or with one leading axis of S samples more, as (S, N, D). Size-1
    axes are never stretched.
z_mean : array_like, real
    Means of the posteriors q(z|x), (N, J) say. Its rows are those of `x`: equal shapes, never broadcast.
    A scalar stands for a constant of the latents' scale's shape.
var, std, logvar, logstd, precision : array_like, real
    The decoder's scale, as **exactly one** of σ², σ, log σ², log σ, 1/σ². Broadcasts to the shape of
    `recon`, as a scalar, (D,), (N, 1), (N, D) or, one for each sample, (S, 1, 1) or (S, N, D) do.
z_var, z_std, z_logvar, z_logstd, z_precision : array_like, real
    The posteriors' scale, as **exactly one** of the five forms. Broadcasts to the shape of `z_mean`.
prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision : array_like, real
    The prior p, N(0, I) by default, as in `gaussian_kl`.
x_scale : float, default 1.0
    Factor of `x`, as in `gaussian_nll`.
beta : float, default 1.0
    Weight of the KL, finite and >= 0: 1 is the ELBO, 0 … 1 anneals it, more is the β-VAE [2]_. It is one
    number; for a β of each latent take `gaussian_kl_grad` with these, as (1, J), for its `weight`.
axis, z_axis : int, tuple of ints, () or None, default -1
    Event axes, summed: of `x` and `recon`, and of the latents. For images (N, C, H, W) axis=(-3, -2, -1).
    None takes all axes, but not that of the samples. `axis` must be negative where `recon` has samples.
full : bool, default True
    False drops ½·log 2π for each element of `x` counted, and nothing else.
weight : array_like, real, optional
    Factors of the rows, in the rows' shape: of both nll and kl.
where : array_like of bool, optional
    Broadcasts to the shape of `recon`. False removes an element of the data, from nll alone.
z_where : array_like of bool, optional
    Broadcasts to the shape of `z_mean`. False removes a latent, from kl alone: what z_mean, its scale and
    the prior hold there touches neither value nor gradient, and a scale need not be > 0. For padding, it
    takes ``where`` for the data and `z_where` for the latents: (N, T, 1) for both, say.
min_var : float, default 0.0
    Floor of the decoder's σ², as in `gaussian_nll`.
reduction : {"none", "sum", "mean"}, default "mean"
    What becomes of the rows. "mean" divides by their number, whatever `weight`, `where` and `z_where`
    say. For 1-D `x`, `axis` must be given with "sum" and "mean".

Returns
-------
NegELBO
    Named tuple (value, nll, kl), in nats: value = nll + beta·kl, with nll averaged over the samples, and
    kl without beta. Python floats for "sum" and "mean"; for "none" of the rows' shape, in the computing
    dtype, which is NumPy's promotion of all arguments but `weight` and the masks, as in `gaussian_nll`.

Raises
------
TypeError
    None or several scales of the decoder or the latents, several of the prior; otherwise as
    `gaussian_nll`.
ValueError
    `recon` without samples (S = 0: an average of nothing) or with more than one axis of them; rows of `x`
    and `z_mean` that differ; `beta` negative, NaN or infinite; otherwise as `gaussian_nll` and
    `gaussian_kl`.

See Also
--------
neg_elbo_grad : the values and their gradients in one pass.

References
----------
.. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013), eq. (7) and
   (10), appendices B and C.2.
.. [2] I. Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
   Framework", ICLR (2017), eq. (4).

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
>>> recon = np.stack([x + 0.1, x - 0.3])  # from two samples of z
>>> z_mean, z_logvar = np.array([[1.0, -0.5], [0.0, 0.2]]), np.full((2, 2), -1.0)
>>> value, nll, kl = fe.neg_elbo(x, recon, z_mean, var=0.25, z_logvar=z_logvar, beta=2.0)
>>> print(f"{value:.2f} = {nll:.2f} + 2·{kl:.2f}")
2.36 = 0.98 + 2·0.69
>>> bool(np.isclose(nll, fe.gaussian_nll(x, recon, var=0.25, reduction="mean")))
True
"""

_ELBO_GRAD = """\
Values of `neg_elbo` and the gradients of the first, in one pass over each array.

With the gradients of `gaussian_nll_grad` for each sample, and of `gaussian_kl_grad`::

    ∂recon_s = 1/S ∂mean NLL_s       ∂x, ∂scale = 1/S Σ_s ∂NLL_s
    ∂z_mean, ∂z_scale, ∂prior_mean, ∂prior_scale = β·∂KL

What flows back from ∂recon, through the decoder and the samples z_s = z_mean + σ_z·ε_s, is yours to add.

Parameters
----------
x, recon, z_mean, var, std, logvar, logstd, precision, z_var, z_std, z_logvar, z_logstd, z_precision, \
prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision, x_scale, beta, axis, z_axis, \
full, weight, where, z_where, min_var, reduction
    As in `neg_elbo`.
wrt : name or names of {"x", "recon", "scale", "z_mean", "z_scale", "prior_mean", "prior_scale"}
    The gradients to compute, by default ("recon", "scale", "z_mean", "z_scale"); the others are None and
    cost nothing. Those of scales are with respect to the keywords that were passed.
out : tuple of 10 (ndarray or None), optional
    Where to write each member, in their order; None allocates. An array has the computing dtype and the
    shape of the rows, or of the argument it is the gradient of, and may be one of the inputs. Values
    have no place here if they are reduced.

Returns
-------
NegELBOGrad
    Named tuple (value, nll, kl, x, recon, scale, z_mean, z_scale, prior_mean, prior_scale), with values
    as in `neg_elbo` and gradients as in `gaussian_nll_grad`: 1/S and beta are in them.

Raises
------
TypeError, ValueError
    As `neg_elbo` and, for `wrt` and `out`, as `gaussian_nll_grad`. After an error no input is changed.

References
----------
.. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013), eq. (7) and
   (10), appendices B and C.2.

Examples
--------
>>> import numpy as np
>>> import fastelbo as fe
>>> x, recon = np.array([[0.0, 1.0]]), np.array([[[0.5, 1.5]], [[0.5, 0.5]]])  # two samples
>>> grad = fe.neg_elbo_grad(x, recon, np.array([[1.0]]), var=0.5, z_var=np.array([[0.5]]))
>>> grad.recon
array([[[ 0.5,  0.5]],
<BLANKLINE>
       [[ 0.5, -0.5]]])
>>> grad.scale, grad.z_mean, grad.z_scale
(np.float64(1.0), array([[1.]]), array([[-0.5]]))
"""

_NLL: Final = replace(GAUSSIAN_NLL, public=False, value="nll", operands=("x", "recon", "scale"))

NEG_ELBO: Final = Joint(
    name="neg_elbo",
    nll=_NLL,
    of_samples=replace(_NLL, value="samples"),
    kl=replace(
        GAUSSIAN_KL,
        public=False,
        value="kl",
        axis="z_axis",
        mask="z_where",
        operands=("z_mean", "prior_mean", "z_scale", "prior_scale"),
        scales=(Scale(prefix="z_", whose="the latents' scale"), GAUSSIAN_KL.scales[1]),
    ),
    positional=("x", "recon", "z_mean"),
    value_result=NegELBO,
    result=NegELBOGrad,
    wrt=("recon", "scale", "z_mean", "z_scale"),
    alike={"mean": ("recon", "z_mean"), "logits": ("recon",)},
    doc=_ELBO,
    grad_doc=_ELBO_GRAD,
)
