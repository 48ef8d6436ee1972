"""The best form that we know of each loss in NumPy: no temporaries, `vecdot` where it fits.

Each function overwrites `value` and, where gradients are asked for, `g` (one buffer per gradient); `t` has
temporaries. The buffers are the same at every call. `share` scales the gradients, for a mean over rows: it
goes into a factor that is there anyway. If you know a faster form, put it here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ops import C

Array = np.ndarray[Any, np.dtype[Any]]
Form = Callable[..., Any]


def _affine(value: Array, scale: float, shift: float) -> None:
    np.multiply(value, value.dtype.type(scale), out=value)
    np.add(value, value.dtype.type(shift), out=value)


def nll_shared(a: dict[str, Any], value: Array, g: list[Array], t: list[Array]) -> Any:
    """One pass for r, one for Σ r²; the gradient is r scaled in place."""
    d, var = a["mean"].shape[-1], float(a["var"])
    r = g[0] if g else t[0]
    np.subtract(a["mean"], a["x"], out=r)
    np.vecdot(r, r, out=value)
    grad_var = 0.5 * (value.size * d - float(value.sum(dtype=np.float64)) / var) / var if g else None
    _affine(value, 0.5 / var, d * (C + 0.5 * float(np.log(var))))
    if g:
        np.multiply(r, r.dtype.type(1 / var), out=r)
    return grad_var


def nll_var(a: dict[str, Any], value: Array, g: list[Array], t: list[Array]) -> Any:
    """∂var = ½(1/v − (r/v)²)."""
    r, w = t[0], g[1] if g else t[1]
    log_var = np.log(a["var"], out=w)
    total = np.sum(log_var, axis=-1)
    np.subtract(a["mean"], a["x"], out=r)
    z = np.divide(r, a["var"], out=g[0] if g else w)
    np.vecdot(r, z, out=value)
    np.add(value, total, out=value)
    _affine(value, 0.5, r.shape[-1] * C)
    if g:
        np.reciprocal(a["var"], out=g[1])
        np.multiply(z, z, out=r)
        np.subtract(g[1], r, out=g[1])
        np.multiply(g[1], r.dtype.type(0.5), out=g[1])


def nll_logvar(a: dict[str, Any], value: Array, g: list[Array], t: list[Array], share: float = 1.0) -> Any:
    """∂logvar = ½(1 − r·(r/v)); v divided by `share`, all but the log comes out scaled."""
    r, w = t[0], g[1] if g else t[1]
    np.subtract(a["mean"], a["x"], out=r)
    if share == 1.0 or not g:
        share = 1.0
        np.negative(a["logvar"], out=w)
    else:
        np.subtract(w.dtype.type(math.log(share)), a["logvar"], out=w)
    np.exp(w, out=w)
    z = np.multiply(r, w, out=g[0] if g else w)
    np.vecdot(r, z, out=value)
    if share != 1.0:
        np.multiply(value, value.dtype.type(1.0 / share), out=value)
    np.add(value, np.sum(a["logvar"], axis=-1), out=value)
    _affine(value, 0.5, r.shape[-1] * C)
    if g:
        np.multiply(r, z, out=g[1])
        np.multiply(g[1], r.dtype.type(-0.5), out=g[1])
        np.add(g[1], r.dtype.type(0.5 * share), out=g[1])


def kl(a: dict[str, Any], value: Array, g: list[Array], t: list[Array], share: float = 1.0) -> Any:
    """Σ eˢ − s in one buffer, Σ μ² by vecdot; ∂mean is a copy."""
    e, s = g[1] if g else t[0], a["logvar"]
    np.exp(s, out=e)
    u = np.subtract(e, s, out=g[0] if g else e)
    np.sum(u, axis=-1, out=value)
    np.add(value, np.vecdot(a["mean"], a["mean"]), out=value)
    _affine(value, 0.5, -0.5 * s.shape[-1])
    if g:
        if share == 1.0:
            np.copyto(g[0], a["mean"])
        else:
            np.multiply(a["mean"], e.dtype.type(share), out=g[0])
        np.subtract(e, e.dtype.type(1), out=e)
        np.multiply(e, e.dtype.type(0.5 * share), out=e)


def kl_pair(a: dict[str, Any], value: Array, g: list[Array], t: list[Array]) -> Any:
    """As `kl`, of s = s_q − s_p, with the squared distance of the means in units of the prior."""
    s, e, z = (t[0], g[1], g[0]) if g else (t[0], t[1], t[1])
    delta = s  # once s is spent
    np.subtract(a["logvar"], a["prior_logvar"], out=s)
    np.exp(s, out=e)
    np.subtract(e, s, out=s)
    np.sum(s, axis=-1, out=value)
    if g:
        np.subtract(e, e.dtype.type(1), out=e)
        np.multiply(e, e.dtype.type(0.5), out=e)
    np.negative(a["prior_logvar"], out=z)
    np.exp(z, out=z)
    np.subtract(a["mean"], a["prior_mean"], out=delta)
    np.multiply(z, delta, out=z)
    np.add(value, np.vecdot(z, delta), out=value)
    _affine(value, 0.5, -0.5 * s.shape[-1])
    if g:
        np.multiply(z, delta, out=g[3])
        np.multiply(g[3], z.dtype.type(-0.5), out=g[3])
        np.subtract(g[3], e, out=g[3])
        np.negative(z, out=g[2])


FORMS: dict[str, Form] = {f.__name__: f for f in (nll_shared, nll_var, nll_logvar, kl, kl_pair)}
