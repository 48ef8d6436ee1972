"""The losses in the race: one row per loss, its maths written once, as text.

Every contender that takes an expression (numexpr, Numba, PyTorch, JAX) and the float64 reference
get theirs from here, so all of them compute the same thing. Names in the text: the arguments,
`exp`, `log`, `d` (event size), `c` (½·log 2π), `half` and `one` (of the computing dtype: a literal
0.5 would make Numba and numexpr compute in float64).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

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
    row_grads: dict[str, str]  # gradient of a scalar argument: per row, summed over the rows

    @property
    def wrt(self) -> tuple[str, ...]:
        """Arguments that get a gradient, those of full shape first."""
        return (*self.grads, *self.row_grads)


@dataclass(frozen=True, eq=False)
class Elbo:
    """The negative ELBO: NLL of S decoder samples and KL of the latents, both of the table, as one mean."""

    samples: int
    public: str = "neg_elbo"
    args: tuple[str, ...] = ("x", "recon", "logvar", "z_mean", "z_logvar")
    wrt: tuple[str, ...] = ("recon", "logvar", "z_mean", "z_logvar")  # in the order of the parts' own

    @property
    def name(self) -> str:
        """The key of the table."""
        return f"elbo_{self.samples}"

    @property
    def label(self) -> str:
        """For people."""
        return f"−ELBO, S = {self.samples}"

    @staticmethod
    def arguments(args: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Those of the NLL and of the KL, under the names they have there."""
        nll = {"x": args["x"], "mean": args["recon"], "logvar": args["logvar"]}
        return nll, {"mean": args["z_mean"], "logvar": args["z_logvar"]}

    def parts(self, args: dict[str, Any]) -> list[tuple[Op, dict[str, Any]]]:
        """The two losses with their arguments."""
        return list(zip((OP["nll_logvar"], OP["kl"]), self.arguments(args), strict=True))


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
        row_grads={},
    ),
    Op(
        "nll_logvar", "NLL, logvar", "gaussian_nll", ("x", "mean", "logvar"),
        term="logvar + (x - mean)**2 * exp(-logvar)",
        row="half * total + d * c",
        grads={"mean": "(mean - x) * exp(-logvar)", "logvar": "half - half * (x - mean)**2 * exp(-logvar)"},
        row_grads={},
    ),
    Op(
        "kl", "KL(q‖N(0, I))", "gaussian_kl", ("mean", "logvar"),
        term="mean**2 + exp(logvar) - one - logvar",
        row="half * total",
        grads={"mean": "mean", "logvar": "half * (exp(logvar) - one)"},
        row_grads={},
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
        row_grads={},
    ),
)  # fmt: skip
OP = {op.name: op for op in OPS}
LOSSES: dict[str, Loss] = OP | {f"elbo_{s}": Elbo(s) for s in (1, 8)}


def function(names: Iterable[str], text: str, library: Any) -> Callable[..., Any]:
    """An expression of the table as a function of `names`, with exp and log of `library` (numpy, torch, …).

    A real function: evaluating text at every call would cost the contenders time, and no compiler traces it.
    """
    scope = {"exp": library.exp, "log": library.log, "c": C, "half": 0.5, "one": 1}
    exec(f"def f({', '.join(names)}):\n    return {text}", scope)
    return cast("Callable[..., Any]", scope["f"])


def value(op: Loss, library: Any) -> Callable[..., Any]:
    """The loss of each row, as a function of the arguments by name, on `library`; of an ELBO, the mean."""
    if isinstance(op, Elbo):
        nll, kl = (value(OP[name], library) for name in ("nll_logvar", "kl"))

        def mean(**args: Any) -> Any:
            first, second = op.arguments(args)
            return nll(**first).mean() + kl(**second).mean()

        return mean
    term = function(op.args, op.term, library)
    row = function(("total", "d", *op.row_grads), op.row, library)

    def loss(**args: Any) -> Any:
        return row(term(**args).sum(-1), args["mean"].shape[-1], *(args[k] for k in op.row_grads))

    return loss


def rows(op: Op) -> Callable[..., Any]:
    """A function of total, d and the scalars: each row's loss, and its share of each scalar's gradient."""
    grads = "".join(f"{text}, " for text in op.row_grads.values())
    return function(("total", "d", *op.row_grads), f"({op.row}, ({grads}))", np)


@dataclass(frozen=True)
class Reference:
    """What float64 NumPy says: values, the size of their terms, and a sample of each gradient."""

    value: np.ndarray[Any, Any]
    magnitude: np.ndarray[Any, Any]
    grads: tuple[np.ndarray[Any, Any], ...]


SAMPLE = 20_000  # gradient elements that are compared


def sample(full: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Evenly spaced elements of a gradient, so that checking 200 MB costs nothing."""
    flat = full.reshape(-1)
    return flat[:: max(1, flat.size // SAMPLE)]


def share(args: dict[str, Any]) -> float:
    """The weight that one row has in a mean over all rows (and samples)."""
    return 1.0 / float(np.prod(args["mean"].shape[:-1]))


def reference(op: Loss, args: dict[str, Any]) -> Reference:
    """The answer in float64, by blocks of rows."""
    if isinstance(op, Elbo):
        parts = [(share(own), reference(part, own)) for part, own in op.parts(args)]
        return Reference(
            value=np.asarray(sum(r.value.mean() for _, r in parts)),
            magnitude=np.asarray(sum(r.magnitude.mean() for _, r in parts)),
            grads=tuple(weight * g for weight, r in parts for g in r.grads),
        )
    if args["mean"].ndim > 2:  # samples become rows
        shape = args["mean"].shape
        args = {k: np.broadcast_to(a, shape).reshape(-1, shape[-1]) for k, a in args.items()}
    n, d = args["mean"].shape
    step = max(1, 2**20 // d)
    total, size = np.empty(n), np.empty(n)
    term = function(op.args, op.term, np)
    for i in range(0, n, step):
        block = {k: np.asarray(a[i : i + step] if np.ndim(a) else a, np.float64) for k, a in args.items()}
        terms = term(**block)
        total[i : i + step], size[i : i + step] = terms.sum(-1), np.abs(terms).sum(-1)
    scalars = {k: float(args[k]) for k in op.row_grads}
    few = scalars | {k: sample(a).astype(np.float64) for k, a in args.items() if np.ndim(a)}
    grads = [np.asarray(function(op.args, text, np)(**few)) for text in op.grads.values()]
    finish = rows(op)
    value, row_grads = finish(total, d, **scalars)
    return Reference(
        value=value,
        magnitude=np.abs(finish(size, d, **scalars)[0]),
        grads=(*grads, *(np.asarray(np.sum(g)) for g in row_grads)),
    )
