"""The contenders: a row each, and how each runs a loss of the table in losses.py.

A contender turns a task into a call without arguments that computes the value of every row, then the
gradients where the task asks for them. Libraries are imported inside: a process loads its own and NumPy,
nothing else. A contender whose library can write into buffers gets them; others allocate, and that counts.
"""

from __future__ import annotations

import importlib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

import losses
from losses import NUMBERS, Elbo, Loss, Op
from processes import Array, Call, Contender


@dataclass(frozen=True)
class Task:
    """One loss on given arrays, with buffers for contenders that take them."""

    args: dict[str, Any]
    name: str
    grad: bool
    threads: int
    share: float | None = None  # of a row in a mean: the value is the rows' mean, the gradients are scaled

    @property
    def loss(self) -> Loss:
        return losses.LOSSES[self.name]

    @property
    def dtype(self) -> np.dtype[Any]:
        first: Array = next(iter(self.args.values()))
        return first.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the means: (N, D), or (S, N, D)."""
        return np.shape(self.args["mean"])

    def buffer(self, shape: tuple[int, ...] | None = None) -> Array:
        """A buffer whose pages exist already, full-size or of a shape."""
        return np.full(self.shape if shape is None else shape, 0, self.dtype)

    def grads(self) -> list[Array]:
        """A buffer for each full-size gradient that is asked for."""
        full = [self.args[k] for k in self.loss.wrt if self.grad and np.ndim(self.args[k])]
        return [self.buffer(a.shape) for a in full]


def in_parts(build: Callable[[Task, Op], Call], task: Task) -> Call:
    """For libraries that know no ELBO: one call after the other, the means of their rows added."""
    if not isinstance(task.loss, Elbo):
        return build(task, task.loss)
    parts = task.loss.parts(task.args)
    tasks = [Task(args, op.name, task.grad, task.threads, losses.share(args)) for op, args in parts]
    first, second = (build(part, op) for part, (op, _) in zip(tasks, parts, strict=True))

    def mean(value: Any, share: float | None) -> Any:  # a number where a library has added the rows itself
        return share * (value.sum(dtype=np.float64) if isinstance(value, np.ndarray) else value)

    def call() -> Any:
        (nll, *nll_grads), (kl, *kl_grads) = first(), second()
        return (mean(nll, tasks[0].share) + mean(kl, tasks[1].share), *nll_grads, *kl_grads)

    return call


def fastelbo(task: Task, *, reuse: bool = True) -> Call:
    """The public functions; with `out=`, or (not `reuse`) making new arrays at every call."""
    f, names = losses.public(task.loss, task.args, grad=task.grad)
    mean = isinstance(task.loss, Elbo)  # a number, for which there is no `out=`
    value = task.buffer(task.shape[:-1]) if reuse and not mean else None
    if not task.grad:
        into = partial(f, out=value)
        return (lambda: f()[:1]) if mean else (lambda: (into(),))
    wrt = tuple(names.values())
    fields = f(wrt=wrt)._fields
    buffers = {"value": value} | dict(zip(wrt, task.grads(), strict=False)) if reuse else {}
    f = partial(f, wrt=wrt, out=tuple(buffers.get(k) for k in fields))
    pick = operator.itemgetter(*(fields.index(k) for k in ("value", *wrt)))
    return lambda: pick(f())


def numpy(task: Task, op: Op) -> Call:
    """Ufuncs with `out=`: the forms in losses.py, and what the table makes of their sums: it is affine."""
    form, share = losses.FORMS[op.name], () if task.share is None else (task.share,)
    value, grads, temporaries = task.buffer(task.shape[:-1]), task.grads(), [task.buffer(), task.buffer()]
    row, *row_grads = losses.row_functions(op, np)
    n, d, scalars = value.size, task.shape[-1], [task.args[k] for k in op.row_grads]
    slope, shift = row(1.0, 0, *scalars), row(0.0, d, *scalars)

    def call() -> Any:
        form(task.args, value, grads, temporaries, *share)
        total = value.sum(dtype=np.float64) if row_grads and grads else 0.0
        sums = [n * f(total / n, d, *scalars) for f in row_grads if grads]
        np.multiply(value, slope, out=value)
        if shift:
            np.add(value, shift, out=value)
        return (value, *grads, *sums)

    return call


def numexpr(task: Task, op: Op) -> Call:
    """One compiled expression per result, into buffers; rows are summed by NumPy, which is faster at it."""
    import numexpr as ne

    kind = float if task.dtype == np.float32 else np.double  # numexpr's names for the two
    numbers = NUMBERS | {"share": task.share or 1.0}
    inputs = {k: np.asarray(a, task.dtype) for k, a in (task.args | numbers).items()}

    def compiled(text: str) -> Call:
        names = [k for k in inputs if re.search(rf"\b{k}\b", text)]
        f = ne.NumExpr(text, [(k, kind) for k in names])
        return partial(f, *(inputs[k] for k in names), out=task.buffer(), ex_uses_vml=False)

    term, texts = compiled(op.term), op.grads.values() if task.grad else ()
    grads = [compiled(text if task.share is None else f"share * ({text})") for text in texts]
    row, *row_grads = losses.row_functions(op, np)
    rest = task.shape[-1], *(task.args[k] for k in op.row_grads)

    def call() -> Any:
        total = term().sum(axis=-1)
        sums = [np.sum(f(total, *rest)) for f in row_grads if grads]
        return (row(total, *rest), *(f() for f in grads), *sums)

    return call


# Every element is loaded once; LLVM shares what term and gradients have in common. `scalar` is the gradient
# of a scalar argument, or the total of all rows. `x` may have fewer rows, one for several samples. Threads
# share the rows, or the elements of a single row.
LOOP = """
def loop({arguments}, value__n{outputs}, share):
    n, d = mean__nd.shape
    scalar = 0.0
    for i in {over_rows}(n):
        total = zero
        for j in {over_elements}(d):
            {loads}
            total += {term}
            {stores}
        row = {row}
        value__n[i] = row
        scalar += {scalar}
    return scalar
"""
PARALLEL_FROM = 2**15  # elements; below, starting threads costs Numba more than they save


@cache
def numba_loop(op: Op, dtype: np.dtype[Any], grad: bool, parallel: bool, single: bool, mean: bool) -> Any:
    """The fused loop of one loss. `single`: of one row; `mean`: gradients scaled, all rows added.

    Constants have the computing dtype: a double would drag the arithmetic along.
    """
    import numba as nb

    full = [k for k in op.args if k not in op.row_grads]
    wanted = op.grads if grad else {}
    rows = {k: "i % x__nd.shape[0]" if mean and k == "x" else "i" for k in full}
    source = LOOP.format(
        arguments=", ".join(f"{k}__nd" if k in full else k for k in op.args),
        outputs="".join(f", grad_{k}__nd" for k in wanted),
        over_rows="range" if single else "prange",
        over_elements="prange" if single else "range",
        loads="; ".join(f"{k} = {k}__nd[{i}, j]" for k, i in rows.items()),
        term=op.term,
        stores="; ".join(f"grad_{k}__nd[i, j] = {'share * ' * mean}({text})" for k, text in wanted.items()),
        row=op.row,
        scalar="row" if mean else next(iter(op.row_grads.values()), "0.0") if grad else "0.0",
    )
    scope: dict[str, Any] = {"exp": math.exp, "log": math.log, "prange": nb.prange}
    scope |= {k: dtype.type(v) for k, v in (NUMBERS | {"zero": 0.0}).items()}
    exec(source, scope)
    return nb.njit(parallel=parallel, fastmath=True)(scope["loop"])


def numba(task: Task, op: Op) -> Call:
    """One fused loop, rows in parallel, fastmath, into buffers; its source is filled in from the table."""
    n, d, number = math.prod(task.shape[:-1]), task.shape[-1], task.dtype.type
    parallel, mean = task.threads > 1 and n * d >= PARALLEL_FROM, task.share is not None
    loop = numba_loop(op, task.dtype, task.grad, parallel, parallel and n == 1, mean)
    grads, value = task.grads(), task.buffer((n,))
    rows = [a.reshape(-1, d) if np.ndim(a) else number(a) for a in task.args.values()]
    call = partial(loop, *rows, value, *(g.reshape(-1, d) for g in grads), number(task.share or 1.0))
    if mean:
        return lambda: (call(), *grads)
    if op.row_grads and task.grad:
        return lambda: (value, *grads, call())
    return lambda: (call(), value, *grads)[1:]


def _autograd(task: Task, loss: Callable[..., Any]) -> Call:
    """A call of a loss on tensors: values from tensors that need no graph, gradients by autograd."""
    import torch

    wrt = task.loss.wrt if task.grad else ()
    arrays = {k: np.asarray(a, task.dtype) for k, a in task.args.items()}
    tensors = {k: torch.as_tensor(a).requires_grad_(k in wrt) for k, a in arrays.items()}
    leaves = [tensors[k] for k in wrt]

    def gradients() -> Any:
        value = loss(**tensors)
        return (value.detach(), *torch.autograd.grad(value.sum(), leaves))

    return gradients if task.grad else lambda: (loss(**tensors),)


def _traceable(task: Task, library: Any, vjp: Callable[..., Any]) -> tuple[Callable[..., Any], Any, Any]:
    """A function for a compiler, f(leaves, rest), and its two arguments: value, or value and gradients.

    The compiler sees forward and backward pass as one graph: PyTorch's is twice as fast then as with two.
    """
    wrt, loss = task.loss.wrt, losses.value(task.loss, library)

    def value(leaves: dict[str, Any], rest: dict[str, Any]) -> Any:
        return (loss(**leaves, **rest),)

    def gradients(leaves: dict[str, Any], rest: dict[str, Any]) -> Any:
        rows, back = vjp(lambda parts: loss(**parts, **rest), leaves)
        (grads,) = back(library.ones_like(rows))
        return (rows, *(grads[k] for k in wrt))

    args = {k: library.asarray(np.asarray(a, task.dtype)) for k, a in task.args.items()}
    leaves = {k: args.pop(k) for k in wrt}
    return gradients if task.grad else value, leaves, args


def torch_eager(task: Task) -> Call:
    """The expression of the table, op by op."""
    import torch

    return _autograd(task, losses.value(task.loss, torch))


def torch_library(task: Task) -> Call:
    """What PyTorch ships: `F.gaussian_nll_loss` and `torch.distributions.kl_divergence`."""
    import torch

    def nll(**t: Any) -> Any:
        var = t["var"] if "var" in t else t["logvar"].exp()
        var = var.expand(t["mean"].shape[0]) if var.ndim == 0 else var
        options = {"full": True, "eps": 0, "reduction": "none"}
        x = t["x"].expand(t["mean"].shape)
        return torch.nn.functional.gaussian_nll_loss(t["mean"], x, var, **options).sum(-1)

    def kl(**t: Any) -> Any:
        zero = torch.zeros((), dtype=t["mean"].dtype)
        pairs = [(t["mean"], t["logvar"]), (t.get("prior_mean", zero), t.get("prior_logvar", zero))]
        normals = [torch.distributions.Normal(m, (s / 2).exp(), validate_args=False) for m, s in pairs]
        return torch.distributions.kl_divergence(*normals).sum(-1)

    shipped = {"gaussian_nll": nll, "gaussian_kl": kl}
    return _autograd(task, losses.value(task.loss, torch, lambda op, _: shipped[op.public]))


def torch_compile(task: Task) -> Call:
    """The expression of the table through `torch.compile`, shapes static."""
    import torch

    f, leaves, rest = _traceable(task, torch, torch.func.vjp)
    torch._dynamo.reset()  # a loss of its own per shape, not one more guard
    compiled = torch.compile(f, dynamic=False, fullgraph=True)
    return lambda: compiled(leaves, rest)


def jax(task: Task) -> Call:
    """`jax.jit` of the value, or of the value and its vector-Jacobian product."""
    library = importlib.import_module("jax")
    f, leaves, rest = _traceable(task, library.numpy, library.vjp)
    compiled = library.jit(f)
    return lambda: library.block_until_ready(compiled(leaves, rest))


def bandwidth(task: Task) -> Call:
    """The floor: the same streams of memory with next to no arithmetic; one slice per thread.

    Values: a dot product of each pair of inputs reads everything once. Gradients: additions and negations
    that read each input and write each gradient once.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool, inputs = ThreadPoolExecutor(task.threads), [a for a in task.args.values() if np.ndim(a)]
    outputs, sizes = task.grads(), {a.size for a in inputs}

    def part(thread: int, size: int) -> list[Call]:
        own = slice(size * thread // task.threads, size * (thread + 1) // task.threads)
        ins, outs = ([a.reshape(-1)[own] for a in group if a.size == size] for group in (inputs, outputs))
        if not outs:
            return [partial(np.dot, a, b) for a, b in zip(ins[::2], ins[1::2] + ins[-1:], strict=False)]
        pairs = min(len(ins) - len(outs), len(outs))
        sums = [partial(np.add, ins[2 * i], ins[2 * i + 1], out=outs[i]) for i in range(pairs)]
        return sums + [partial(np.negative, ins[pairs + i], out=outs[i]) for i in range(pairs, len(outs))]

    def work(calls: list[Call]) -> None:
        for call in calls:
            call()

    parts = [[call for size in sizes for call in part(i, size)] for i in range(task.threads)]

    def call() -> None:
        list(pool.map(work, parts))

    return call if task.threads > 1 else partial(work, parts[0])


def load(name: str, threads: int) -> None:
    """Import a library, and tell it the number of threads."""
    library = importlib.import_module(name)
    if name == "jax":
        library.config.update("jax_enable_x64", True)
        library.devices()  # makes its threads, on the cores that it is to have
    elif hasattr(library, "set_num_threads"):
        library.set_num_threads(threads)


N = "{n}"  # the number of threads
CONTENDERS = (
    Contender("fastelbo", "fastelbo", "fastelbo", fastelbo, peer=False, unit=True),
    Contender("fastelbo_new", "no out=", "fastelbo", partial(fastelbo, reuse=False), peer=False),
    Contender("numpy", "NumPy", "numpy", partial(in_parts, numpy), unit=True),
    Contender("numexpr", "numexpr", "numexpr", partial(in_parts, numexpr), env={"NUMEXPR_MAX_THREADS": N}),
    Contender("numba", "Numba", "numba", partial(in_parts, numba), True, env={"NUMBA_NUM_THREADS": N}),
    Contender("torch", "torch", "torch", torch_eager),
    Contender("torch_library", "torch loss", "torch", torch_library),
    Contender("torch_compile", "torch.compile", "torch", torch_compile, True, says="torch.compile",
              env={"TORCHINDUCTOR_COMPILE_THREADS": "1"}),
    Contender("jax", "jax.jit", "jax", jax, True, env={"JAX_PLATFORMS": "cpu"}),
    # its threads are those of `bandwidth`: OpenBLAS would cut each slice once more
    Contender("bandwidth", "memory", "numpy", bandwidth, peer=False, unit=True,
              env={"OPENBLAS_NUM_THREADS": "1"}),
)  # fmt: skip
CONTENDER = {c.name: c for c in CONTENDERS}
PEERS = tuple(c for c in CONTENDERS if c.peer)
