"""The reparameterisation trick, z = μ + σε, and its way back. The rules for arguments are in `_rules`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, SupportsIndex

import numpy as np
import numpy.typing as npt

from fastelbo import _core
from fastelbo._declare import Scale
from fastelbo._results import Reparameterized, ReparameterizeGrad
from fastelbo._rules import samples as rules
from fastelbo._rules.domain import check_positive
from fastelbo._rules.dtypes import as_computed
from fastelbo._rules.integers import check_integers
from fastelbo._rules.options import count_of, shape_of
from fastelbo._rules.outputs import as_returned
from fastelbo._rules.overlap import share_memory
from fastelbo._rules.real import as_plain
from fastelbo._rules.scales import add_scale
from fastelbo._threads import get_num_threads
from fastelbo._typing import Array, Out

#: Of all arguments, in order; None where the rules have to see to them
_draw_samples: Final[Callable[..., Reparameterized | None]] = _core.samples_door(
    Reparameterized, get_num_threads
)
_way_back: Final[Callable[..., ReparameterizeGrad | None]] = _core.way_back_door(
    ReparameterizeGrad, get_num_threads
)


def reparameterize(
    mean: npt.ArrayLike,
    *,
    var: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    logvar: npt.ArrayLike | None = None,
    logstd: npt.ArrayLike | None = None,
    precision: npt.ArrayLike | None = None,
    eps: npt.ArrayLike | None = None,
    rng: np.random.Generator | None = None,
    n_samples: SupportsIndex | None = None,
    out: tuple[Out, Out] | None = None,
) -> Reparameterized:
    """Samples of a diagonal Gaussian as a function of its parameters::

        z = μ + σε,    ε ~ N(0, I)

    With ε held, z has derivatives by μ and σ: `reparameterize_grad`.

    Parameters
    ----------
    mean : array_like, real
        Means μ, as (N, J). A scalar stands for a constant of the scale's shape.
    var, std, logvar, logstd, precision : array_like, real
        The scale, as **exactly one** of σ², σ, log σ², log σ, 1/σ². Broadcasts to the shape of `mean`. var,
        std and precision must be > 0; a σ of 0 is a `logstd` of −inf.
    eps : array_like, real, optional
        The noise ε, of the shape of z: that of `mean`, or (S, N, J) for S samples. Takes part in the
        computing dtype.
    rng : numpy.random.Generator, optional
        Where to draw ε from, in the computing dtype and in C order, whatever the layout of the arrays. Pass
        either this or `eps`.
    n_samples : int, optional
        S ≥ 1: z has the shape (S, N, J). Without it one sample is drawn, in the shape of `mean`.
    out : tuple (z, eps) of ndarray or None, optional
        Where to write z and a drawn ε; None allocates. An array is native, aligned, writeable, of the
        computing dtype and the shape of z; that for z may be an input, but not `eps`, which is returned.

    Returns
    -------
    Reparameterized
        Named tuple (z, eps): `eps` is what was passed, or what was drawn. z has NumPy's promotion of `mean`,
        the scale and `eps`, at least float32. `reparameterize_grad` takes both.

    Raises
    ------
    TypeError
        None or several of the five scale keywords; both or neither of `eps` and `rng`; an `rng` that is no
        numpy.random.Generator; dtypes as in `gaussian_nll`.
    ValueError
        var, std or precision that is not > 0, with the first index in C order and the value: nothing is then
        drawn or written. Shapes, `n_samples` or `out` against the rules above.

    Notes
    -----
    σε is right to a few units in the last place for every scale for which it can be represented, as e^(s/2)
    is not when logvar = 1500. Infinite arguments give the limit where there is one: with ε = 0 it is μ.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013):
       section 2.4, and eq. (10).

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> mean = np.array([[0.0, 1.0]], np.float32)
    >>> z, eps = fe.reparameterize(mean, var=4.0, eps=np.array([[0.5, -0.5]], np.float32))
    >>> z
    array([[1., 0.]], dtype=float32)
    >>> z, eps = fe.reparameterize(mean, logvar=0.0, rng=np.random.default_rng(0), n_samples=3)
    >>> z.shape, eps.dtype
    ((3, 1, 2), dtype('float32'))
    """
    found = _draw_samples(mean, var, std, logvar, logstd, precision, eps, rng, n_samples, out)
    if found is not None:
        return found
    names, passed = ["mean"], [mean]
    forms = {"var": var, "std": std, "logvar": logvar, "logstd": logstd, "precision": precision}
    add_scale(names, passed, Scale(), forms)
    name = names[1]
    if (eps is None) == (rng is None):
        raise TypeError(f"pass one of eps and rng, not {'neither' if eps is None else 'both'}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng must be a numpy.random.Generator, for example np.random.default_rng(0), not "
            f"{type(rng).__name__}"
        )
    if eps is not None:
        names.append("eps")
        passed.append(eps)
    plain = as_plain(names, passed)
    (mean, scale, *noise), dtype = as_computed(names, plain)
    check_integers(names, (mean, scale, *noise), ("mean",))
    latents = rules.latents(name, scale, mean.shape)
    count = None if n_samples is None else count_of("n_samples", n_samples)
    shape = noise[0].shape if noise else latents.shape if count is None else (count, *latents.shape)
    frame = rules.sampled("eps", shape, latents, count)

    outputs: Any = out  # unchecked so far
    if noise and isinstance(outputs, tuple) and len(outputs) == 2 and outputs[1] is not None:
        raise ValueError("out[1] (eps) is given, but eps is passed, and nothing drawn")
    shapes = {"z": shape} | ({} if noise else {"eps": shape})
    inputs = [mean, noise[0] if noise else mean, scale]  # ε yet to be drawn is none
    call = rules.sample_call(name, plain[1], inputs, dtype, frame)
    given, passed_out, results, copies = rules.places(
        out, Reparameterized._fields, call, shapes, (names, plain)
    )
    if noise and "z" in given and share_memory([given["z"]], noise):
        raise ValueError("out[0] (z) overlaps eps, which is returned for the gradient: pass another array")
    with np.errstate(all="ignore"):
        check_positive(call)
    if rng is not None:
        noise = [_draw(rng, results["eps"], (mean, scale))]
    rules.draw(call._replace(operands=(mean, noise[0], scale)), results["z"])
    for target, result in copies:
        target[...] = result
    if "eps" in given and noise[0] is not results["eps"]:
        given["eps"][...] = noise[0]
    return Reparameterized(**as_returned({"z": results["z"], "eps": noise[0]}, passed_out))


def _draw(rng: np.random.Generator, place: Array, inputs: tuple[Array, ...]) -> Array:
    """Draw into `place`, or a new array where that would overwrite an input or is not contiguous."""
    if not place.flags.c_contiguous or share_memory([place], inputs):
        place = np.empty(place.shape, place.dtype)
    rng.standard_normal(dtype=place.dtype.type, out=place)
    return place


def reparameterize_grad(
    grad_z: npt.ArrayLike,
    eps: npt.ArrayLike,
    *,
    var: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    logvar: npt.ArrayLike | None = None,
    logstd: npt.ArrayLike | None = None,
    precision: npt.ArrayLike | None = None,
    mean_shape: SupportsIndex | tuple[SupportsIndex, ...] | None = None,
    out: tuple[Out, Out] | None = None,
) -> ReparameterizeGrad:
    """Gradients for the mean and the scale of `reparameterize`, from that for its z.

    Summed over the samples, and over what an argument was broadcast over::

        ∂mean = Σ g        ∂logvar = Σ ½gεσ        ∂var = Σ ½gε/σ
        ∂std = Σ gε        ∂logstd = Σ gεσ         ∂precision = −Σ ½gεσ³

    Parameters
    ----------
    grad_z : array_like, real
        Gradient g of the loss for z, in the shape of z.
    eps : array_like, real
        The ε that `reparameterize` returned, in the same shape.
    var, std, logvar, logstd, precision : array_like, real
        The scale, as it was passed to `reparameterize`.
    mean_shape : tuple of ints, optional
        Shape of the mean, which is the scale's if not given. It must be given where the scale was broadcast:
        with a scale of (J,), a z of (N, J) may be N rows as well as N samples.
    out : tuple (mean, scale) of ndarray or None, optional
        Where to write each gradient; None allocates. An array has the computing dtype and the shape of its
        argument, and may be one of the inputs.

    Returns
    -------
    ReparameterizeGrad
        Named tuple (mean, scale), each in the shape of its argument, in NumPy's promotion of `grad_z`, `eps`
        and the scale, at least float32. Sums are in float64 and in an order that depends on shapes alone.

    Raises
    ------
    TypeError, ValueError
        As `reparameterize`; ValueError also where `mean_shape` must be given.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013):
       section 2.4.

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> mean, logvar = np.zeros((2, 1, 2), np.float32)
    >>> noise = np.array([[[2.0, 4.0]], [[6.0, 8.0]]], np.float32)  # two samples
    >>> z, eps = fe.reparameterize(mean, logvar=logvar, eps=noise)
    >>> fe.reparameterize_grad(np.ones_like(z), eps, logvar=logvar)
    ReparameterizeGrad(mean=array([[2., 2.]], dtype=float32), scale=array([[4., 6.]], dtype=float32))
    """
    found = _way_back(grad_z, eps, var, std, logvar, logstd, precision, mean_shape, out)
    if found is not None:
        return found
    names, passed = ["grad_z", "eps"], [grad_z, eps]
    forms = {"var": var, "std": std, "logvar": logvar, "logstd": logstd, "precision": precision}
    add_scale(names, passed, Scale(), forms)
    plain, name = as_plain(names, passed), names[2]
    (grad_z, eps, scale), dtype = as_computed(names, plain)
    check_integers(names, (grad_z, eps, scale))
    shape = grad_z.shape
    if eps.shape != shape:
        raise ValueError(f"grad_z has shape {shape} and eps {eps.shape}; both must have the shape of z")
    own = None if mean_shape is None else shape_of("mean_shape", mean_shape)
    latents = rules.latents_behind(name, scale, own, shape)
    frame = rules.sampled("grad_z", shape, latents, None)

    shapes = {"mean": latents.shape if own is None else own, "scale": scale.shape}
    call = rules.sample_call(name, plain[2], [grad_z, eps, scale], dtype, frame)
    _, passed_out, results, copies = rules.places(
        out, ReparameterizeGrad._fields, call, shapes, (names, plain)
    )
    with np.errstate(all="ignore"):
        check_positive(call)
    rules.way_back(call, results)
    for target, result in copies:
        target[...] = result
    return ReparameterizeGrad(**as_returned(results, passed_out))
