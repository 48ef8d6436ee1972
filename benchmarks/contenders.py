"""The contenders: one row each, and how each runs a loss of the table in ops.py.

A contender is a function of the number of threads, called once in the contender's own process,
which returns `build`. `build(task)` returns a call without arguments that computes the value of
every row, then the gradients where the task asks for them. Libraries are imported inside: a process
loads its own library and NumPy, nothing else. A contender whose library can write into given
buffers gets them; the others allocate, and that counts.
"""

from __future__ import annotations

import functools
import importlib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import numpy_forms
import ops
from ops import Elbo, Loss, Op

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], Any]


@dataclass(frozen=True)
class Task:
    """One loss on given arrays, with buffers for contenders that take them."""

    op: Loss
    args: dict[str, Any]
    grad: bool
    share: float | None = (
        None  # of a row in a mean: the value is then the rows' mean, the gradients are scaled
    )

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """The computing dtype, which all arrays have."""
        x: Array = next(a for a in self.args.values() if np.ndim(a))
        return x.dtype

    @property
    def arrays(self) -> dict[str, Array]:
        """The arguments that are no scalars."""
        return {k: a for k, a in self.args.items() if np.ndim(a)}

    def buffer(self) -> Array:
        """A full-size buffer whose pages exist already."""
        return np.full(self.args["mean"].shape, 0, self.dtype)

    def value(self) -> Array:
        """A buffer for one number per row."""
        return np.zeros(self.args["mean"].shape[:-1], self.dtype)

    def grads(self) -> list[Array]:
        """A buffer for each full-size gradient that is asked for."""
        full = [self.args[k] for k in self.op.wrt if np.ndim(self.args[k])]
        return [np.full(a.shape, 0, self.dtype) for a in full] if self.grad else []

    def parts(self) -> list[Task]:
        """The losses that an ELBO consists of, each as a share of the mean over the rows."""
        assert isinstance(self.op, Elbo)
        return [Task(op, args, self.grad, ops.share(args)) for op, args in self.op.parts(self.args)]


Build = Callable[[Task], Call]


def in_parts(build: Callable[[Task, Op], Call]) -> Build:
    """For libraries that know no ELBO: one call after the other, the means added."""

    def built(task: Task) -> Call:
        if not isinstance(task.op, Elbo):
            return build(task, task.op)
        first, second = (built(part) for part in task.parts())

        def call() -> Any:
            (nll, *nll_grads), (kl, *kl_grads) = first(), second()
            return (nll + kl, *nll_grads, *kl_grads)

        return call

    return built


def fastelbo(threads: int, *, reuse: bool = True) -> Build:
    """The public functions; with `out=`, or (not `reuse`) making new arrays at every call."""
    import fastelbo as fe

    fe.set_num_threads(threads)

    def build(task: Task) -> Call:
        names = [k for k in task.args if k in ("x", "mean", "recon", "z_mean")]
        positional = [task.args[k] for k in names]
        keywords = {k: a for k, a in task.args.items() if k not in names}
        if isinstance(task.op, Elbo):  # a mean: a number, for which there is no `out=`
            if not task.grad:
                f = functools.partial(fe.neg_elbo, *positional, **keywords)
                return lambda: f()[:1]
            value = None
        else:
            value = task.value() if reuse else None
            if not task.grad:
                f = functools.partial(getattr(fe, task.op.public), *positional, **keywords, out=value)
                return lambda: (f(),)
        # the gradient with respect to "logvar" is the member "scale", whatever the scale's form
        wrt = tuple(re.sub("(log)?var", "scale", k) for k in task.op.wrt)
        f = functools.partial(getattr(fe, task.op.public + "_grad"), *positional, **keywords, wrt=wrt)
        fields = f()._fields
        buffers = {"value": value} | dict(zip(wrt, task.grads(), strict=False)) if reuse else {}
        f = functools.partial(f, out=tuple(buffers.get(k) for k in fields))
        pick = operator.itemgetter(*(fields.index(k) for k in ("value", *wrt)))
        return lambda: pick(f())

    return build


def numpy(threads: int) -> Build:
    """Ufuncs with `out=`: see numpy_forms.py."""

    def build(task: Task, op: Op) -> Call:
        form, args, share = numpy_forms.FORMS[op.name], task.args, task.share
        value, grads, temporaries = task.value(), task.grads(), [task.buffer(), task.buffer()]

        def call() -> Any:
            row_grad = form(args, value, grads, temporaries)
            return (value, *grads) if row_grad is None else (value, *grads, row_grad)

        def call_mean() -> Any:
            form(args, value, grads, temporaries, share)
            return (value.sum(dtype=np.float64) * share, *grads)

        return call if share is None else call_mean

    return in_parts(build)


def numexpr(threads: int) -> Build:
    """One compiled expression per result, into buffers; rows are summed by NumPy, which is faster at it."""
    import numexpr as ne

    ne.set_num_threads(threads)

    def build(task: Task, op: Op) -> Call:
        dtype, d = task.dtype, task.args["mean"].shape[-1]
        kind = float if dtype == np.float32 else np.double  # numexpr's names for the two
        constants = {"half": 0.5, "one": 1.0, "share": task.share or 1.0}
        inputs = {k: np.asarray(a, dtype) for k, a in (task.args | constants).items()}

        def compiled(text: str) -> Call:
            names = [k for k in inputs if re.search(rf"\b{k}\b", text)]
            f = ne.NumExpr(text, [(k, kind) for k in names])
            return functools.partial(f, *(inputs[k] for k in names), out=task.buffer(), ex_uses_vml=False)

        term = compiled(op.term)
        texts = op.grads.values() if task.grad else ()
        grads = [compiled(text if task.share is None else f"share * ({text})") for text in texts]
        finish, scalars = ops.rows(op), [task.args[k] for k in op.row_grads]

        def call() -> Any:
            value, row_grads = finish(term().sum(axis=-1), d, *scalars)
            if task.share is not None:
                value = value.sum(dtype=np.float64) * task.share
            return (value, *(f() for f in grads), *(np.sum(g) for g in row_grads if task.grad))

        return call

    return in_parts(build)


def numba(threads: int) -> Build:
    """One fused loop, rows in parallel, fastmath, into buffers; its source is filled in from the table."""
    import numba_loops

    return in_parts(lambda task, op: numba_loops.build(task, op, threads))


def _torch(threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    return torch


def _autograd(torch: Any, task: Task, loss: Callable[..., Any]) -> Call:
    """A call of a loss on tensors: values from tensors that need no graph, gradients by autograd."""
    wrt = task.op.wrt if task.grad else ()
    tensors = {
        k: torch.as_tensor(np.asarray(a, task.dtype)).requires_grad_(k in wrt) for k, a in task.args.items()
    }
    leaves = [tensors[k] for k in wrt]

    def gradients() -> Any:
        value = loss(**tensors)
        return (value.detach(), *torch.autograd.grad(value.sum(), leaves))

    return gradients if task.grad else lambda: (loss(**tensors),)


def _traceable(
    task: Task, library: Any, vjp: Callable[..., Any]
) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
    """A function for a compiler, f(leaves, rest), and its two arguments: value, or value and gradients.

    The compiler sees forward and backward pass as one graph: PyTorch's is twice as fast then as with two.
    """
    op, loss = task.op, ops.value(task.op, library)

    def value(leaves: dict[str, Any], rest: dict[str, Any]) -> Any:
        return (loss(**leaves, **rest),)

    def gradients(leaves: dict[str, Any], rest: dict[str, Any]) -> Any:
        rows, back = vjp(lambda parts: loss(**parts, **rest), leaves)
        (grads,) = back(library.ones_like(rows))
        return (rows, *(grads[k] for k in op.wrt))

    args = {k: library.asarray(np.asarray(a, task.dtype)) for k, a in task.args.items()}
    leaves = {k: args.pop(k) for k in op.wrt}
    return gradients if task.grad else value, leaves, args


def torch_eager(threads: int) -> Build:
    """The expression of the table, op by op."""
    torch = _torch(threads)

    def build(task: Task) -> Call:
        return _autograd(torch, task, ops.value(task.op, torch))

    return build


def torch_library(threads: int) -> Build:
    """What PyTorch ships: `F.gaussian_nll_loss` and `torch.distributions.kl_divergence`."""
    torch = _torch(threads)

    def nll(**t: Any) -> Any:
        var = t["var"] if "var" in t else t["logvar"].exp()
        var = var.expand(t["mean"].shape[0]) if var.ndim == 0 else var
        return torch.nn.functional.gaussian_nll_loss(
            t["mean"], t["x"].expand(t["mean"].shape), var, full=True, eps=0, reduction="none"
        ).sum(-1)

    def kl(**t: Any) -> Any:
        zero = torch.zeros((), dtype=t["mean"].dtype)
        pairs = [(t["mean"], t["logvar"]), (t.get("prior_mean", zero), t.get("prior_logvar", zero))]
        normal = functools.partial(torch.distributions.Normal, validate_args=False)
        return torch.distributions.kl_divergence(*(normal(m, (s / 2).exp()) for m, s in pairs)).sum(-1)

    def neg_elbo(**t: Any) -> Any:
        by_nll = nll(x=t["x"], mean=t["recon"], logvar=t["logvar"])
        return by_nll.mean() + kl(mean=t["z_mean"], logvar=t["z_logvar"]).mean()

    losses = {"gaussian_nll": nll, "gaussian_kl": kl, "neg_elbo": neg_elbo}

    def build(task: Task) -> Call:
        return _autograd(torch, task, losses[task.op.public])

    return build


def torch_compile(threads: int) -> Build:
    """The expression of the table through `torch.compile`, shapes static."""
    torch = _torch(threads)

    def build(task: Task) -> Call:
        f, leaves, rest = _traceable(task, torch, torch.func.vjp)
        torch._dynamo.reset()  # a loss of its own per shape, not one more guard
        compiled = torch.compile(f, dynamic=False, fullgraph=True)
        return lambda: compiled(leaves, rest)

    return build


def jax(threads: int) -> Build:
    """`jax.jit` of the value, or of the value and its vector-Jacobian product."""
    library: Any = importlib.import_module("jax")
    library.config.update("jax_enable_x64", True)
    library.devices()  # makes its threads, on the cores that it is to have

    def build(task: Task) -> Call:
        f, leaves, rest = _traceable(task, library.numpy, library.vjp)
        compiled = library.jit(f)
        return lambda: library.block_until_ready(compiled(leaves, rest))

    return build


def bandwidth(threads: int) -> Build:
    """The floor: the same streams of memory with next to no arithmetic.

    Values: a dot product of each pair of inputs reads everything once. Gradients: additions and negations
    that read each input and write each gradient once. One slice per thread.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads)

    def cut(arrays: list[Array]) -> list[list[Array]]:
        """The slice of each array for each thread."""
        flat = [a.reshape(-1) for a in arrays]
        return [
            [a[a.size * i // threads : a.size * (i + 1) // threads] for a in flat] for i in range(threads)
        ]

    def slices(task: Task) -> list[list[tuple[list[Array], list[Array]]]]:
        """For each thread, the inputs and outputs of each size of array."""
        inputs, outputs = list(task.arrays.values()), task.grads()
        sizes = dict.fromkeys(a.size for a in inputs)
        groups = [([a for a in inputs if a.size == n], [g for g in outputs if g.size == n]) for n in sizes]
        return [[(cut(ins)[i], cut(outs)[i]) for ins, outs in groups] for i in range(threads)]

    def stream(inputs: list[Array], outputs: list[Array]) -> None:
        if not outputs:
            for first, second in zip(inputs[::2], inputs[1::2] + inputs[-1:], strict=False):
                np.dot(first, second)
            return
        queue = iter(inputs)
        pairs = len(inputs) - len(outputs)
        for i, out in enumerate(outputs):
            if i < pairs:
                np.add(next(queue), next(queue), out=out)
            else:
                np.negative(next(queue), out=out)

    def work(part: list[tuple[list[Array], list[Array]]]) -> None:
        for inputs, outputs in part:
            stream(inputs, outputs)

    def build(task: Task) -> Call:
        parts = slices(task)
        if threads == 1:
            return lambda: work(parts[0])
        return lambda: list(pool.map(work, parts))

    return build


@dataclass(frozen=True)
class Contender:
    """A row of the race: how it is named, what it needs, how it is set up."""

    name: str
    label: str
    package: str  # what must be installed
    setup: Callable[[int], Build]
    compiled: bool = False
    env: dict[str, str] = field(default_factory=dict)  # "{n}" is the number of threads


CONTENDERS = (
    Contender("fastelbo", "fastelbo", "fastelbo", fastelbo),
    Contender("fastelbo_new", "no out=", "fastelbo", functools.partial(fastelbo, reuse=False)),
    Contender("numpy", "NumPy", "numpy", numpy),
    Contender("numexpr", "numexpr", "numexpr", numexpr, env={"NUMEXPR_MAX_THREADS": "{n}"}),
    Contender("numba", "Numba", "numba", numba, compiled=True, env={"NUMBA_NUM_THREADS": "{n}"}),
    Contender("torch", "torch", "torch", torch_eager),
    Contender("torch_library", "torch loss", "torch", torch_library),
    Contender("torch_compile", "torch.compile", "torch", torch_compile, compiled=True),
    Contender("jax", "jax.jit", "jax", jax, compiled=True, env={"JAX_PLATFORMS": "cpu"}),
    # its threads are those of `bandwidth`: OpenBLAS would cut each slice once more
    Contender("bandwidth", "memory", "numpy", bandwidth, env={"OPENBLAS_NUM_THREADS": "1"}),
)
CONTENDER = {c.name: c for c in CONTENDERS}
PEERS = tuple(c for c in CONTENDERS if c.package != "fastelbo" and c.name != "bandwidth")
