"""The losses in the race: a row each, its maths written once, as text, and its best form in NumPy.

Every contender that takes an expression (numexpr, Numba, PyTorch, JAX) and the float64 reference get theirs
from here, so all of them compute the same thing. Names in the text: the arguments, `exp`, `log`, `d` (event
size), `c` (½·log 2π), `half` and `one` (of the computing dtype: a literal 0.5 would make Numba and numexpr
compute in float64).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np

from processes import Array, sample

Args = dict[str, Any]
C = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, eq=False)  # a row is itself: usable as a key
class Op:
    """One loss: NLL or KL of each row (N, D) -> (N,), and the gradients of the sum of the rows."""

    name: str
    label: str
    public: str  # function of fastelbo; x and the means are positional, the rest goes by its own name
    args: tuple[str, ...]
    term: str  # per element, (N, D); its sum over the event is `total`
    row: str  # the loss of one row, from `total`
    grads: dict[str, str]  # gradient per element, (N, D)
    row_grads: dict[str, str] = field(
        default_factory=dict
    )  # gradient of a scalar argument: per row, summed over the rows

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
    wrt: tuple[str, ...] = ("recon", "logvar", "z_mean", "z_logvar")  # in the order of the parts' own

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


def function(names: Iterable[str], text: str, library: Any) -> Callable[..., Any]:
    """An expression of the table as a function of `names`, with exp and log of `library` (numpy, torch, …).

    A real function: evaluating text at every call would cost the contenders time, and no compiler traces it.
    """
    scope = {"exp": library.exp, "log": library.log, "c": C, "half": 0.5, "one": 1}
    return cast("Callable[..., Any]", eval(f"lambda {', '.join(names)}: {text}", scope))


def rows(op: Op, library: Any) -> Callable[..., Any]:
    """The loss of each row, as a function of the arguments by name, on `library`."""
    term = function(op.args, op.term, library)
    row = function(("total", "d", *op.row_grads), op.row, library)

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


def finish(op: Op) -> Callable[..., Any]:
    """A function of total, d and the scalars: each row's loss, and its share of each scalar's gradient."""
    grads = "".join(f"{text}, " for text in op.row_grads.values())
    return function(("total", "d", *op.row_grads), f"({op.row}, ({grads}))", np)


def share(args: Args) -> float:
    """The weight that one row has in a mean over all rows (and samples)."""
    return 1.0 / float(math.prod(args["mean"].shape[:-1]))


class Reference(NamedTuple):
    """What float64 NumPy says: values, the size of their terms, and a sample of each gradient."""

    value: Array
    magnitude: Array
    grads: tuple[Array, ...]


def reference(loss: Loss, args: Args) -> Reference:
    """The answer in float64, by blocks of rows."""
    if isinstance(loss, Elbo):
        parts = [(share(own), reference(op, own)) for op, own in loss.parts(args)]
        value, size = (np.sum([getattr(r, k).mean() for _, r in parts]) for k in ("value", "magnitude"))
        return Reference(value, size, tuple(weight * g for weight, r in parts for g in r.grads))
    shape = args["mean"].shape
    if len(shape) > 2:  # samples become rows
        args = {k: np.broadcast_to(a, shape).reshape(-1, shape[-1]) for k, a in args.items()}
    n, d = args["mean"].shape
    step = max(1, 2**20 // d)
    total, size = np.empty(n), np.empty(n)
    term = function(loss.args, loss.term, np)
    for i in range(0, n, step):
        block = {k: np.asarray(a[i : i + step] if np.ndim(a) else a, np.float64) for k, a in args.items()}
        terms = term(**block)
        total[i : i + step], size[i : i + step] = terms.sum(-1), np.abs(terms).sum(-1)
    scalars = {k: float(args[k]) for k in loss.row_grads}
    few = scalars | {k: sample(a).astype(np.float64) for k, a in args.items() if np.ndim(a)}
    grads = [np.asarray(function(loss.args, text, np)(**few)) for text in loss.grads.values()]
    value, row_grads = finish(loss)(total, d, **scalars)
    magnitude = np.abs(finish(loss)(size, d, **scalars)[0])
    return Reference(value, magnitude, (*grads, *(np.asarray(np.sum(g)) for g in row_grads)))


# The best form of each loss in NumPy that we know: no temporaries, `vecdot` where it fits. If you know a
# faster one, put it here. Each overwrites `value` and, where gradients are asked for, `g` (one buffer each);
# `t` has two temporaries. The buffers are the same at every call. `share` scales the gradients, for a mean
# over rows: it goes into a factor that is there anyway.


def _affine(value: Array, scale: float, shift: float) -> None:
    np.multiply(value, value.dtype.type(scale), out=value)
    np.add(value, value.dtype.type(shift), out=value)


def nll_shared(a: Args, value: Array, g: list[Array], t: list[Array]) -> Any:
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


def nll_var(a: Args, value: Array, g: list[Array], t: list[Array]) -> Any:
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


def nll_logvar(a: Args, value: Array, g: list[Array], t: list[Array], share: float = 1.0) -> Any:
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


def kl(a: Args, value: Array, g: list[Array], t: list[Array], share: float = 1.0) -> Any:
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


def kl_pair(a: Args, value: Array, g: list[Array], t: list[Array]) -> Any:
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


FORMS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (nll_shared, nll_var, nll_logvar, kl, kl_pair)}
