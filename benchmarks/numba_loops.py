"""Numba's entry: one source, filled in from the table of losses, compiled once per loss and dtype."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

import ops
from ops import Op

if TYPE_CHECKING:
    from contenders import Call, Task

# Every element is loaded once; LLVM shares what term and gradients have in common. `scalar` is the
# gradient of a scalar argument, or the total of all rows. `x` may have fewer rows, one for several samples.
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
INDENT = "\n            "
PARALLEL_FROM = 2**15  # elements; below, starting threads costs more than they save


@functools.cache
def compiled(
    op: Op, dtype: np.dtype[Any], grad: bool, parallel: bool, whole: bool, mean: bool, samples: bool
) -> Any:
    """The fused loop of one loss; where rows are cut (not `whole`), their raw totals are left to the caller.

    `mean`: a part of an ELBO, with gradients scaled and all rows added; `samples`: x has fewer rows.

    Constants have the computing dtype: a double would drag the arithmetic along.
    """
    full = [k for k in op.args if k not in op.row_grads]
    wanted = op.grads if grad else {}
    source = LOOP.format(
        arguments=", ".join(f"{k}__nd" if k in full else k for k in op.args),
        outputs="".join(f", grad_{k}__nd" for k in wanted),
        loads=INDENT.join(
            f"{k} = {k}__nd[{'i % x__nd.shape[0]' if samples and k == 'x' else 'i'}, j]" for k in full
        ),
        term=op.term,
        stores=INDENT.join(
            f"grad_{k}__nd[i, j] = " + (f"share * ({text})" if mean else text) for k, text in wanted.items()
        ),
        row=op.row if whole else "total",
        scalar="row" if mean else next(iter(op.row_grads.values()), "0.0") if grad and whole else "0.0",
    )
    scope: dict[str, Any] = {"exp": math.exp, "log": math.log, "prange": numba.prange, "c": dtype.type(ops.C)}
    scope |= {"zero": dtype.type(0), "half": dtype.type(0.5), "one": dtype.type(1)}
    exec(source, scope)
    return numba.njit(parallel=parallel, fastmath=True)(scope["loop"])


def build(task: Task, op: Op, threads: int) -> Call:
    """A long single row is cut into pieces, so that the threads have something to share."""
    dtype, shape = task.dtype, task.args["mean"].shape
    n, d = math.prod(shape[:-1]), shape[-1]
    parallel = threads > 1 and n * d >= PARALLEL_FROM
    cut = parallel and n == 1 and d % 1000 == 0
    mean, samples = task.share is not None, len(shape) > 2
    loop = compiled(op, dtype, task.grad, parallel, not cut, mean, samples)
    grads, value = task.grads(), np.zeros(1000, dtype) if cut else task.value().reshape(-1)
    share = task.share or 1.0
    rows = [
        a.reshape((1000, -1) if cut else (-1, d)) if np.ndim(a) else dtype.type(a) for a in task.args.values()
    ]
    operands = [
        *rows,
        value,
        *(g.reshape(rows[0].shape if cut else (n, d)) for g in grads),
        dtype.type(share),
    ]
    finish, scalars = ops.rows(op), [task.args[k] for k in op.row_grads]

    def call() -> Any:
        scalar = loop(*operands)
        return (value, *grads, scalar) if scalars and task.grad else (value, *grads)

    def call_cut() -> Any:
        loop(*operands)
        row, row_grads = finish(value.sum(dtype=np.float64), d, *scalars)
        return (row if mean else np.asarray([row], dtype), *grads, *(row_grads if task.grad else ()))

    def call_mean() -> Any:
        return (loop(*operands) * share, *grads)

    return call_cut if cut else call_mean if mean else call
