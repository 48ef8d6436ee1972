"""What is raced: the losses, a row each, and their inputs, real data (digits, photographs) and synthetic.

The maths of a loss is written once, as text: what an element takes, and apart from it what a row takes.
numexpr, Numba, PyTorch and JAX all get theirs from here, so they compute the same thing; that it is right is
checked against `fastelbo.reference`, which follows from the declarations. Names in the text: the arguments,
`exp`, `log`, `d` (event size), `c` (½·log 2π), `half` and `one` (of the computing dtype: a literal 0.5 would
make Numba and numexpr compute in float64).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from processes import Args, Array

Buffers = list[Array]
Texts = dict[str, str]
NUMBERS = {"c": 0.5 * math.log(2.0 * math.pi), "half": 0.5, "one": 1.0}  # in the text


@dataclass(frozen=True, eq=False)  # a row is itself: usable as a key
class Op:
    """One loss: NLL or KL of each row (N, D) -> (N,), and the gradients of the sum of the rows."""

    name: str
    label: str
    public: str  # function of fastelbo
    args: tuple[str, ...]
    term: str  # per element, (N, D); its sum over the event is `total`
    row: str  # the loss of one row, from `total`
    grads: Texts  # gradient per element, (N, D)
    row_grads: Texts = field(default_factory=dict)  # of a scalar: per row, summed over the rows
    samples: int = 1  # of a decoder

    @property
    def wrt(self) -> tuple[str, ...]:
        """Arguments that get a gradient, those of full shape first."""
        return (*self.grads, *self.row_grads)


@dataclass(frozen=True, eq=False)
class Elbo:
    """The negative ELBO: NLL of S decoder samples and KL of the latents, both of the table, as one mean."""

    name: str
    label: str
    samples: int
    public: str = "neg_elbo"
    args: tuple[str, ...] = ("x", "recon", "logvar", "z_mean", "z_logvar")
    wrt: tuple[str, ...] = args[1:]  # in the order of the parts' own
    row_grads: Texts = field(default_factory=dict)

    @staticmethod
    def parts(args: Args) -> list[tuple[Op, Args]]:
        """The two losses, and their arguments under the names they have there."""
        nll = {"x": args["x"], "mean": args["recon"], "logvar": args["logvar"]}
        return [(OP["nll_logvar"], nll), (OP["kl"], {k: args[f"z_{k}"] for k in ("mean", "logvar")})]


Loss = Op | Elbo

_Q = "exp(logvar - prior_logvar)"  # KL(q ‖ p): the ratio of the variances,
_Z = "(mean - prior_mean) * exp(-prior_logvar)"  # and the scaled distance of the means

OPS = (
    Op(
        "nll_shared", "NLL, shared σ²", "gaussian_nll", ("x", "mean", "var"),
        term="(x - mean)**2",
        row="half * total / var + d * (c + half * log(var))",
        grads={"mean": "(mean - x) / var"},
        row_grads={"var": "half * (d - total / var) / var"},
    ),
    Op(
        "nll_var", "NLL, var", "gaussian_nll", ("x", "mean", "var"),
        term="log(var) + (x - mean)**2 / var",
        row="half * total + d * c",
        grads={"mean": "(mean - x) / var", "var": "half * (var - (x - mean)**2) / (var * var)"},
    ),
    Op(
        "nll_logvar", "NLL, logvar", "gaussian_nll", ("x", "mean", "logvar"),
        term="logvar + (x - mean)**2 * exp(-logvar)",
        row="half * total + d * c",
        grads={"mean": "(mean - x) * exp(-logvar)", "logvar": "half - half * (x - mean)**2 * exp(-logvar)"},
    ),
    Op(
        "kl", "KL(q‖N(0, I))", "gaussian_kl", ("mean", "logvar"),
        term="mean**2 + exp(logvar) - one - logvar",
        row="half * total",
        grads={"mean": "mean", "logvar": "half * (exp(logvar) - one)"},
    ),
    Op(
        "kl_pair", "KL(q‖p)", "gaussian_kl", ("mean", "logvar", "prior_mean", "prior_logvar"),
        term=f"{_Q} - one - (logvar - prior_logvar) + (mean - prior_mean) * {_Z}",
        row="half * total",
        grads={
            "mean": _Z,
            "logvar": f"half * ({_Q} - one)",
            "prior_mean": f"-{_Z}",
            "prior_logvar": f"half * (one - {_Q} - (mean - prior_mean) * {_Z})",
        },
    ),
)  # fmt: skip
OP = {op.name: op for op in OPS}
LOSSES: dict[str, Loss] = OP | {f"elbo_{s}": Elbo(f"elbo_{s}", f"−ELBO, S = {s}", s) for s in (1, 8)}


def function(names: Iterable[str], text: str, library: Any, **numbers: Any) -> Callable[..., Any]:
    """An expression of the table as a function of `names`, with exp and log of `library` (numpy, torch, …).

    A real function: evaluating text at every call would cost the contenders time, and no compiler traces it.
    """
    scope = {"exp": library.exp, "log": library.log} | NUMBERS | numbers
    return cast("Callable[..., Any]", eval(f"lambda {', '.join(names)}: {text}", scope))


def row_functions(op: Op, library: Any, **numbers: Any) -> list[Callable[..., Any]]:
    """The loss of a row and its scalars' gradients, as functions of `total`, `d` and the scalars."""
    texts = op.row, *op.row_grads.values()
    return [function(("total", "d", *op.row_grads), text, library, **numbers) for text in texts]


def rows(op: Op, library: Any, **numbers: Any) -> Callable[..., Any]:
    """The loss of each row, as a function of the arguments by name, on `library`."""
    term = function(op.args, op.term, library, **numbers)
    row = row_functions(op, library, **numbers)[0]

    def loss(**args: Any) -> Any:
        return row(term(**args).sum(-1), args["mean"].shape[-1], *(args[k] for k in op.row_grads))

    return loss


def value(loss: Loss, library: Any, of: Callable[[Op, Any], Callable[..., Any]] = rows) -> Callable[..., Any]:
    """The loss of each row; of an ELBO, the mean. `of` makes the function of one row of the table."""
    if isinstance(loss, Op):
        return of(loss, library)
    nll, kl = (of(OP[name], library) for name in ("nll_logvar", "kl"))

    def mean(**args: Any) -> Any:
        (_, first), (_, second) = loss.parts(args)
        return nll(**first).mean() + kl(**second).mean()

    return mean


# The best form of each loss in NumPy that we know: no temporaries, `vecdot` where it fits. If you know a
# faster one, put it here. Each writes the sums of its terms to `value` and, where gradients are asked for,
# those of full shape to `g`, which may hold something else meanwhile; `t` has two temporaries. The buffers
# are the same at every call. `share` scales the gradients, by a factor that is there anyway.


def nll_shared(a: Args, value: Array, g: Buffers, t: Buffers) -> None:
    """One pass for r, one for Σ r²; the gradient is r scaled in place."""
    r = np.subtract(a["mean"], a["x"], out=g[0] if g else t[0])
    np.vecdot(r, r, out=value)
    if g:
        r *= 1 / float(a["var"])


def nll_var(a: Args, value: Array, g: Buffers, t: Buffers) -> None:
    """∂var = ½(1/v − (r/v)²)."""
    w = g[1] if g else t[1]
    total = np.log(a["var"], out=w).sum(axis=-1)
    r = np.subtract(a["mean"], a["x"], out=t[0])
    z = np.divide(r, a["var"], out=g[0] if g else w)
    np.vecdot(r, z, out=value)
    value += total
    if g:
        np.reciprocal(a["var"], out=w)
        w -= np.multiply(z, z, out=r)
        w *= 0.5


def nll_logvar(a: Args, value: Array, g: Buffers, t: Buffers, share: float = 1.0) -> None:
    """∂logvar = ½(1 − r·(r/v)); v divided by `share`, all but the log comes out scaled."""
    w, scale = g[1] if g else t[1], share if g else 1.0
    r = np.subtract(a["mean"], a["x"], out=t[0])
    np.exp(np.subtract(math.log(scale), a["logvar"], out=w), out=w)
    z = np.multiply(r, w, out=g[0] if g else w)
    np.vecdot(r, z, out=value)
    if scale != 1.0:
        value /= scale
    value += np.sum(a["logvar"], axis=-1)
    if g:
        np.multiply(r, z, out=w)
        w *= -0.5
        w += 0.5 * scale


def kl(a: Args, value: Array, g: Buffers, t: Buffers, share: float = 1.0) -> None:
    """Σ eˢ − s in one buffer, Σ μ² by vecdot; ∂mean is a copy."""
    e = np.exp(a["logvar"], out=g[1] if g else t[0])
    np.sum(np.subtract(e, a["logvar"], out=g[0] if g else e), axis=-1, out=value)
    value += np.vecdot(a["mean"], a["mean"])
    value -= e.shape[-1]
    if g:
        if share == 1.0:
            np.copyto(g[0], a["mean"])
        else:
            np.multiply(a["mean"], share, out=g[0])
        e -= 1
        e *= 0.5 * share


def kl_pair(a: Args, value: Array, g: Buffers, t: Buffers) -> None:
    """As `kl`, of s = s_q − s_p, with the squared distance of the means in units of the prior."""
    e, z = (g[1], g[0]) if g else (t[1], t[1])
    s = np.subtract(a["logvar"], a["prior_logvar"], out=t[0])
    np.exp(s, out=e)
    np.sum(np.subtract(e, s, out=s), axis=-1, out=value)
    if g:
        e -= 1
        e *= 0.5
    np.exp(np.negative(a["prior_logvar"], out=z), out=z)
    delta = np.subtract(a["mean"], a["prior_mean"], out=s)  # s is spent
    z *= delta
    value += np.vecdot(z, delta)
    value -= s.shape[-1]
    if g:
        np.multiply(z, delta, out=g[3])
        g[3] *= -0.5
        g[3] -= e
        np.negative(z, out=g[2])


FORMS: dict[str, Callable[..., None]] = {
    form.__name__: form for form in (nll_shared, nll_var, nll_logvar, kl, kl_pair)
}


def share(args: Args) -> float:
    """The weight that one row has in a mean over all rows (and samples)."""
    return 1.0 / float(math.prod(args["mean"].shape[:-1]))


def public(loss: Loss, args: Args, *, grad: bool, module: str = "fastelbo") -> tuple[Any, dict[str, str]]:
    """fastelbo's function or its reference, given a loss's arguments; and its name for each gradient.

    Which arguments are positional, and what the gradient of a scale is called, the declaration says.
    """
    from fastelbo import _families  # here: of the contenders only fastelbo loads it

    declared: Any = (_families.LOSSES | _families.JOINTS)[loss.public]
    scales = {name: f"{scale.prefix}scale" for scale in declared.all_scales for name in scale.names}
    positional = [args[k] for k in declared.positional]
    keywords = {k: a for k, a in args.items() if k not in declared.positional}
    function = getattr(importlib.import_module(module), loss.public + "_grad" * grad)
    return partial(function, *positional, **keywords), {k: scales.get(k, k) for k in loss.wrt}


SHAPES = {
    f"{n}x{d}": (n, d)
    for n, d in ((1, 2), (128, 32), (128, 784), (1024, 3072), (8192, 3072), (1, 10**7), (10**6, 8))
}
LARGEST = 8192 * 3072  # elements of several decoder samples
PATCH = 16  # a photograph's row is one patch of 16×16 pixels × 3 colours = 768 values


@dataclass(frozen=True)
class Case:
    """Named input arrays: `nll` holds what NLL and ELBO take, `kl` what the KL takes."""

    nll: Args
    kl: Args
    var: float  # the shared σ²

    def args(self, loss: Loss) -> Args:
        """The arguments of one loss; a shared variance is a scalar.

        Several samples are of a decoder that hears its latents: each is a little different.
        """
        source = self.nll if "x" in loss.args else self.kl
        found: Args = {k: self.var if k in loss.row_grads else source[k] for k in loss.args}
        draw = np.random.default_rng(loss.samples).standard_normal
        for k in ("recon", "logvar") if loss.samples > 1 else ():
            shape, dtype = (loss.samples, *found[k].shape), found[k].dtype.type
            found[k] = found[k] + 0.1 * self.var**0.5 * draw(shape, dtype)
        return found


def digits() -> Array:
    """Scikit-learn's 1797 handwritten digits, 8×8 pixels of 0 … 16."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data)


def photos() -> Array:
    """Scikit-learn's two photographs (china.jpg, flower.jpg) as rows of patches, 8-bit values as floats."""
    from sklearn.datasets import load_sample_images

    window = (PATCH, PATCH, 3)
    views = [sliding_window_view(image, window) for image in load_sample_images().images]
    rows = [view[::PATCH, ::PATCH].reshape(-1, math.prod(window)) for view in views]
    return np.concatenate(rows).astype(np.float64)


def linear_vae(x: Array, latents: int) -> tuple[Args, Args]:
    """What the best linear VAE makes of `x`: the inputs of its NLL, and of its KL.

    The optimum is probabilistic PCA (Tipping & Bishop 1999; Lucas et al. 2019): the decoder returns
    the mean, the posterior of a latent is N(m, σ²/λ) by the eigenvalue λ. The variance of a pixel
    is that of its column, times how badly its row is reconstructed: a decoder that has learned
    where it is unsure. For KL(q‖p), p lies halfway to N(0, I).
    """
    centre = x.mean(axis=0)
    eigen, axes = np.linalg.eigh(np.cov(x, rowvar=False))
    eigen, axes = eigen[: -latents - 1 : -1], axes[:, : -latents - 1 : -1]
    scores = (x - centre) @ axes
    mean = centre + scores @ axes.T
    square = (x - mean) ** 2
    row = square.mean(axis=1, keepdims=True)
    var = np.maximum(square.mean(axis=0) * row, 1e-3 * square.mean() ** 2) / square.mean()
    noise = square.sum(axis=1).mean() / (x.shape[1] - latents)
    z_mean = scores * np.sqrt(eigen - noise) / eigen
    z_logvar = np.broadcast_to(np.log(noise / eigen), z_mean.shape)
    kl = {"mean": z_mean, "logvar": z_logvar, "prior_mean": z_mean / 2, "prior_logvar": z_logvar / 2}
    return {"x": x, "mean": mean, "var": var, "logvar": np.log(var)}, kl


def synthetic(shape: tuple[int, int], dtype: Any) -> tuple[Args, Args]:
    """Normal variates of a shape of the field; log-variances around −1."""
    draw = np.random.default_rng(2013).standard_normal
    x, mean = (draw(shape, dtype=dtype) for _ in range(2))
    logvar, prior = (0.5 * draw(shape, dtype=dtype) - 1 for _ in range(2))
    nll = {"x": x, "mean": mean, "var": np.exp(logvar), "logvar": logvar}
    return nll, {"mean": mean, "logvar": logvar, "prior_mean": x, "prior_logvar": prior}


REAL: dict[str, tuple[Callable[[], Array], int]] = {"digits": (digits, 16), "photos": (photos, 64)}  # latents
CASES = (*REAL, *SHAPES)


def fits(loss: Loss, case: str) -> bool:
    """Whether the arrays of all contenders fit side by side; real data are small."""
    return loss.samples == 1 or case in REAL or loss.samples * math.prod(SHAPES[case]) <= LARGEST


def load(case: str, dtype: str) -> Case:
    """The arrays of a case, C-contiguous, of one dtype."""
    if case in REAL:
        rows, latents = REAL[case]
        nll, kl = linear_vae(rows(), latents)
    else:
        nll, kl = synthetic(SHAPES[case], np.dtype(dtype))
        latents = max(2, min(32, SHAPES[case][1] // 4))
    nll |= {"recon": nll["mean"]} | {f"z_{k}": kl[k][:, :latents] for k in ("mean", "logvar")}
    nll, kl = ({k: np.ascontiguousarray(a, dtype) for k, a in arrays.items()} for arrays in (nll, kl))
    # not the optimum σ² = MSE, where the gradient vanishes and a comparison would say nothing
    var = 2 * float(np.mean((nll["x"][:4096] - nll["mean"][:4096]) ** 2, dtype=np.float64))
    return Case(nll, kl, float(np.dtype(dtype).type(var)))
