"""The contenders: a row each, and how each runs a loss of the table in ops.py.

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

import ops
from ops import Elbo, Loss, Op
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
        return ops.LOSSES[self.name]

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = next(a.dtype for a in self.args.values() if np.ndim(a))
        return dtype

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
    tasks = [Task(args, op.name, task.grad, task.threads, ops.share(args)) for op, args in parts]
    first, second = (build(part, op) for part, (op, _) in zip(tasks, parts, strict=True))

    def mean(value: Any, share: float | None) -> Any:  # a number where a library has added the rows itself
        return share * (value.sum(dtype=np.float64) if isinstance(value, np.ndarray) else value)

    def call() -> Any:
        (nll, *nll_grads), (kl, *kl_grads) = first(), second()
        return (mean(nll, tasks[0].share) + mean(kl, tasks[1].share), *nll_grads, *kl_grads)

    return call


def fastelbo(task: Task, *, reuse: bool = True) -> Call:
    """The public functions; with `out=`, or (not `reuse`) making new arrays at every call."""
    import fastelbo as fe

    loss, names = task.loss, [k for k in task.args if k in ("x", "mean", "recon", "z_mean")]
    positional = [task.args[k] for k in names]
    keywords = {k: a for k, a in task.args.items() if k not in names}
    mean = isinstance(loss, Elbo)  # a number, for which there is no `out=`
    value = task.buffer(task.shape[:-1]) if reuse and not mean else None
    f = partial(getattr(fe, loss.public + "_grad" * task.grad), *positional, **keywords)
    if not task.grad:
        into = partial(f, out=value)
        return (lambda: f()[:1]) if mean else (lambda: (into(),))
    # the gradient with respect to "logvar" is the member "scale", whatever the scale's form
    wrt = tuple(re.sub("(log)?var", "scale", k) for k in loss.wrt)
    fields = f(wrt=wrt)._fields
    buffers = {"value": value} | dict(zip(wrt, task.grads(), strict=False)) if reuse else {}
    f = partial(f, wrt=wrt, out=tuple(buffers.get(k) for k in fields))
    pick = operator.itemgetter(*(fields.index(k) for k in ("value", *wrt)))
    return lambda: pick(f())


def numpy(task: Task, op: Op) -> Call:
    """Ufuncs with `out=`: the forms in ops.py."""
    form, share = ops.FORMS[op.name], () if task.share is None else (task.share,)
    value, grads, temporaries = task.buffer(task.shape[:-1]), task.grads(), [task.buffer(), task.buffer()]

    def call() -> Any:
        row_grad = form(task.args, value, grads, temporaries, *share)
        return (value, *grads) if row_grad is None else (value, *grads, row_grad)

    return call


def numexpr(task: Task, op: Op) -> Call:
    """One compiled expression per result, into buffers; rows are summed by NumPy, which is faster at it."""
    import numexpr as ne

    kind = float if task.dtype == np.float32 else np.double  # numexpr's names for the two
    constants = {"half": 0.5, "one": 1.0, "share": task.share or 1.0}
    inputs = {k: np.asarray(a, task.dtype) for k, a in (task.args | constants).items()}

    def compiled(text: str) -> Call:
        names = [k for k in inputs if re.search(rf"\b{k}\b", text)]
        f = ne.NumExpr(text, [(k, kind) for k in names])
        return partial(f, *(inputs[k] for k in names), out=task.buffer(), ex_uses_vml=False)

    term, texts = compiled(op.term), op.grads.values() if task.grad else ()
    grads = [compiled(text if task.share is None else f"share * ({text})") for text in texts]
    finish, d, scalars = ops.finish(op), task.shape[-1], [task.args[k] for k in op.row_grads]

    def call() -> Any:
        value, row_grads = finish(term().sum(axis=-1), d, *scalars)
        return (value, *(f() for f in grads), *(np.sum(g) for g in row_grads if task.grad))

    return call


# Every element is loaded once; LLVM shares what term and gradients have in common. `scalar` is the gradient
# of a scalar argument, or the total of all rows. `x` may have fewer rows, one for several samples.
LOOP = """
def loop({arguments}, value__n{outputs}, share):
    n, d = mean__nd.shape
    scalar = 0.0
    for i in prange(n):
        total = zero
        for j in range(d):
            {loads}
            total += {term}
            {stores}
        row = {row}
        value__n[i] = row
        scalar += {scalar}
    return scalar
"""
PARALLEL_FROM = 2**15  # elements; below, starting threads costs Numba more than they save
PIECES = 1000  # of a long single row, so that the threads have something to share


@cache
def numba_loop(op: Op, dtype: np.dtype[Any], grad: bool, parallel: bool, cut: bool, mean: bool) -> Any:
    """The fused loop of one loss. `cut`: into raw totals of pieces; `mean`: gradients scaled, all rows added.

    Constants have the computing dtype: a double would drag the arithmetic along.
    """
    import numba as nb

    full = [k for k in op.args if k not in op.row_grads]
    wanted = op.grads if grad else {}
    rows = {k: "i % x__nd.shape[0]" if mean and k == "x" else "i" for k in full}
    source = LOOP.format(
        arguments=", ".join(f"{k}__nd" if k in full else k for k in op.args),
        outputs="".join(f", grad_{k}__nd" for k in wanted),
        loads="; ".join(f"{k} = {k}__nd[{i}, j]" for k, i in rows.items()),
        term=op.term,
        stores="; ".join(f"grad_{k}__nd[i, j] = {'share * ' * mean}({text})" for k, text in wanted.items()),
        row="total" if cut else op.row,
        scalar="row" if mean else next(iter(op.row_grads.values()), "0.0") if grad and not cut else "0.0",
    )
    numbers = {"c": ops.C, "zero": 0.0, "half": 0.5, "one": 1.0}
    scope: dict[str, Any] = {"exp": math.exp, "log": math.log, "prange": nb.prange}
    scope |= {k: dtype.type(v) for k, v in numbers.items()}
    exec(source, scope)
    return nb.njit(parallel=parallel, fastmath=True)(scope["loop"])


def numba(task: Task, op: Op) -> Call:
    """One fused loop, rows in parallel, fastmath, into buffers; its source is filled in from the table."""
    n, d, number = math.prod(task.shape[:-1]), task.shape[-1], task.dtype.type
    parallel = task.threads > 1 and n * d >= PARALLEL_FROM
    cut, mean = parallel and n == 1 and d % PIECES == 0, task.share is not None
    loop = numba_loop(op, task.dtype, task.grad, parallel, cut, mean)
    grads, value = task.grads(), task.buffer((PIECES if cut else n,))
    table = (PIECES, -1) if cut else (-1, d)
    rows = [a.reshape(table) if np.ndim(a) else number(a) for a in task.args.values()]
    operands = [*rows, value, *(g.reshape(table) for g in grads), number(task.share or 1.0)]
    finish, scalars = ops.finish(op), [task.args[k] for k in op.row_grads]

    def call() -> Any:
        loop(*operands)
        return (value, *grads)

    def call_cut() -> Any:
        loop(*operands)
        row, row_grads = finish(value.sum(dtype=np.float64), d, *scalars)
        return (np.asarray([row], task.dtype), *grads, *(row_grads if task.grad else ()))

    if mean and not cut:
        return lambda: (loop(*operands), *grads)
    if scalars and task.grad and not cut:
        return lambda: (value, *grads, loop(*operands))
    return call_cut if cut else call


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
    wrt, loss = task.loss.wrt, ops.value(task.loss, library)

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

    return _autograd(task, ops.value(task.loss, torch))


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
    return _autograd(task, ops.value(task.loss, torch, lambda op, _: shipped[op.public]))


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

    pool, groups = (
        ThreadPoolExecutor(task.threads),
        ([a for a in task.args.values() if np.ndim(a)], task.grads()),
    )

    def part(thread: int, size: int) -> list[Call]:
        own = slice(size * thread // task.threads, size * (thread + 1) // task.threads)
        ins, outs = ([a.reshape(-1)[own] for a in group if a.size == size] for group in groups)
        if not outs:
            return [partial(np.dot, a, b) for a, b in zip(ins[::2], ins[1::2] + ins[-1:], strict=False)]
        pairs = min(len(ins) - len(outs), len(outs))
        sums = [partial(np.add, ins[2 * i], ins[2 * i + 1], out=outs[i]) for i in range(pairs)]
        return sums + [partial(np.negative, ins[pairs + i], out=outs[i]) for i in range(pairs, len(outs))]

    sizes = {a.size for a in groups[0]}
    parts = [[call for size in sizes for call in part(i, size)] for i in range(task.threads)]

    def work(calls: list[Call]) -> None:
        for call in calls:
            call()

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
