"""The reparameterisation trick, z = μ + σε, and its way back. The rules for arguments are in `_rules`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from fastelbo import _blocks
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
from fastelbo._typing import Array, Out

#: m·2^k, so that σ, its powers and its products neither over- nor underflow on the way
_Split: TypeAlias = tuple[Array, Array]

#: e^±x is a normal float64 up to here
_NORMAL: Final = 708.0
#: Four such factors do: from x = 2200 on no product of e^±x and two numbers can be represented
_FACTORS: Final = 4


def _exp(x: Array) -> _Split:
    step = np.clip(x, -_NORMAL, _NORMAL)
    mantissa, exponent = np.frexp(_blocks.elementary("exp", step))
    rest = x - step  # exact
    if rest.any():
        for _ in range(1, _FACTORS):
            step = np.clip(rest, -_NORMAL, _NORMAL)
            factor, power = np.frexp(_blocks.elementary("exp", step))
            mantissa, exponent, rest = mantissa * factor, exponent + power, rest - step
        mantissa = np.where(np.isinf(x), np.maximum(x, 0.0), mantissa)
    return mantissa, exponent


class _Form(NamedTuple):
    """One way to state σ: σ = rawᵏ or e^(k·raw), so that dσ/d raw = k·σⁿ."""

    sigma: Callable[[Array], _Split]
    k: float
    n: int


_FORMS: Final = {
    "var": _Form(lambda raw: np.frexp(np.sqrt(raw)), 0.5, -1),
    "std": _Form(np.frexp, 1.0, 0),
    "logvar": _Form(lambda raw: _exp(0.5 * raw), 0.5, 1),
    "logstd": _Form(_exp, 1.0, 1),
    "precision": _Form(lambda raw: np.frexp(1 / np.sqrt(raw)), -0.5, 3),
}


def _product(sigma: _Split, n: int, *factors: Array | float) -> _Split:
    """Product of the factors and σⁿ, as if the exponents had no bounds."""
    product, exponent = np.frexp(factors[0])
    for factor in factors[1:]:
        mantissa, power = np.frexp(factor)
        product, exponent = product * mantissa, exponent + power
    mantissa, power = sigma
    for _ in range(abs(n)):
        product = product * mantissa if n > 0 else product / mantissa
    if np.isnan(product).any():  # 0·∞ is its limit, 0, where the 0 is a factor and not itself a limit
        zero = functools.reduce(np.logical_or, [factor == 0 for factor in factors])
        unknown = functools.reduce(np.logical_or, [np.isnan(factor) for factor in factors])
        product = np.where(zero & ~unknown & ~np.isnan(mantissa if n else 0.0), 0.0, product)
    return product, exponent + n * power


def _sample(mean: Array, sigma: _Split, eps: Array) -> Array:
    """μ + σε, also where σε overflows and the sum does not."""
    product, exponent = _product(sigma, 1, eps)
    z: Array = mean + np.ldexp(product, exponent)
    if np.isfinite(z).all():
        return z
    far = ~np.isfinite(z) & np.isfinite(product) & ~np.isnan(mean)
    if far.any():
        product, shift = np.frexp(product)
        down = 4
        exponent = np.minimum(exponent + shift - down, np.finfo(np.float64).maxexp)  # far above μ/2^down
        z = np.where(far, np.ldexp(np.ldexp(mean, -down) + np.ldexp(product, exponent), down), z)
    return z


def _block(array: Array, index: _blocks.Index) -> Array:
    return np.asarray(array[_blocks.part(array, index)], np.float64)


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
        lead, samples = _lead(shape, latents.shape)
        for index in _blocks.blocks(latents.shape, max(1, _blocks.ELEMENTS // samples)):
            center, sigma = _block(mean, index), _FORMS[name].sigma(_block(scale, index))
            for some in _slices(lead, samples):
                z = _sample(center, sigma, _block(noise[0], (*some, *index)))
                results["z"][_blocks.part(results["z"], (*some, *index))] = z
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


def _lead(shape: tuple[int, ...], latents: tuple[int, ...]) -> tuple[_blocks.Index, int]:
    """The index of the axis of samples, if there is one, and the number of samples."""
    return ((slice(None),), max(1, shape[0])) if len(shape) > len(latents) else ((), 1)


class _Terms(NamedTuple):
    """What a block of latents adds to the gradients for the mean, g, and for the scale, k·g·ε·σⁿ."""

    form: _Form
    sigma: _Split
    grad_z: Array
    eps: Array
    at: _blocks.Index
    lead: _blocks.Index
    samples: int

    def split(self, which: int, some: _blocks.Index) -> _Split:
        """Those for the mean (0) or for the scale (1) of some samples."""
        g = _block(self.grad_z, (*some, *self.at))
        if not which:
            return np.frexp(g)
        noise = _block(self.eps, (*some, *self.at))
        return _product(self.sigma, self.form.n, self.form.k, g, noise)

    def plain(self, which: int, some: _blocks.Index) -> Array:
        """The same as numbers."""
        return np.ldexp(*self.split(which, some)) if which else _block(self.grad_z, (*some, *self.at))

    def folded(self, which: int, axes: Sequence[int]) -> Array:
        """Their sum over `axes`."""
        if self.samples <= _blocks.ELEMENTS:
            return _blocks.fold(self.plain(which, self.lead), axes)
        return self._by_parts(lambda some: self.plain(which, (some,)), axes)

    def split_folded(self, which: int, axes: Sequence[int]) -> _Split:
        """The same, where they or their sum overflow."""
        if self.samples <= _blocks.ELEMENTS:
            return _blocks.fold_split(*self.split(which, self.lead), axes)
        slices = _slices(self.lead, self.samples)
        tops = [_blocks.fold_split(*self.split(which, some), axes)[1] for some in slices]
        top = functools.reduce(np.maximum, tops)

        def scaled(some: slice) -> Array:
            mantissa, exponent = self.split(which, (some,))
            found: Array = np.ldexp(mantissa, exponent - top)
            return found

        return self._by_parts(scaled, axes), top

    def _by_parts(self, part: Callable[[slice], Array], axes: Sequence[int]) -> Array:
        """Of a single latent: blocks with so many samples have no more."""
        return _blocks.fold(_blocks.fold_parts(part, self.samples, _blocks.ELEMENTS), axes)


def _slices(lead: _blocks.Index, samples: int) -> Iterator[_blocks.Index]:
    """The same index, of as many samples at a time as make a block."""
    if samples <= _blocks.ELEMENTS:
        yield lead
        return
    for start in range(0, samples, _blocks.ELEMENTS):
        yield (slice(start, start + _blocks.ELEMENTS),)


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
        lead, samples = _lead(shape, latents.shape)
        form = _FORMS[name]
        d_mean, d_scale = [_blocks.Sums(results[part], latents.shape, len(lead)) for part in shapes]
        for index in _blocks.blocks(latents.shape, max(1, _blocks.ELEMENTS // samples)):
            sigma = form.sigma(_block(scale, index))
            terms = _Terms(form, sigma, grad_z, eps, index, lead, samples)
            both = []  # before any write: outputs may be inputs
            for which, sums in enumerate((d_mean, d_scale)):
                term = terms.folded(which, sums.axes)
                far = sums.overflows(index, term)
                both.append((sums, term, terms.split_folded(which, sums.axes) if far else None))
            for sums, term, split in both:
                sums.join(index, term, split)
        d_mean.finish()
        d_scale.finish()
        for target, result in copies:
            target[...] = result
    return ReparameterizeGrad(**as_returned(results, passed_out))
