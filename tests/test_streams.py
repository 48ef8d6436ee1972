"""Gradients too large for the caches go past them (loops/streams.h): to the same bits, and nowhere else.

The kernels' test_golden.py has all losses and scales; here are the outputs of a call, wherever they lie.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import fastelbo as fe
from marks import DTYPES

PLAN = Path(__file__).parents[1] / "fastelbo" / "src" / "plan.c"
STREAMED = 1 << int(
    re.search(r"STREAMED_BYTES \(\(ptrdiff_t\)1 << (\d+)\)", PLAN.read_text())[1]
)  # bytes, or more
COLUMNS = 1031
MARGIN = 64  # elements about an output


def of_nll(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    fe.gaussian_nll_grad(x, mean, logvar=scale, out=(out[0], None, out[1], out[2]))


def of_mean(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    fe.gaussian_nll_grad(x, mean, logvar=scale, wrt="mean", out=(out[0], None, out[1], None))


def of_shared_variance(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    fe.gaussian_nll_grad(x, mean, var=0.7, wrt="mean", out=(out[0], None, out[1], None))


def of_scaled_x(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    """Not the loop's last word: so it is not streamed."""
    fe.gaussian_nll_grad(x, mean, logvar=scale, x_scale=0.1, wrt="x", out=(out[0], out[1], None, None))


def of_a_sum(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    """The scale's gradient is one number."""
    options = {"reduction": "sum", "wrt": ("mean", "scale")}
    fe.gaussian_nll_grad(x, mean, var=0.7, out=(None, None, out[1], None), **options)
    out[0][...] = 0


def of_kl(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    fe.gaussian_kl_grad(mean, logvar=scale, out=(out[0], out[1], out[2], None, None))


def of_kl_pair(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    """Nobody asks for the gradient of the prior's scale, which the loop of a pair forms with the other's."""
    fe.gaussian_kl_grad(
        mean, logvar=scale, prior_mean=x, prior_logvar=x, out=(out[0], out[1], out[2], None, None)
    )


def of_the_mean_of_a_pair(
    x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]
) -> None:
    fe.gaussian_kl_grad(
        mean, logvar=scale, prior_logvar=x, wrt="mean", out=(out[0], out[1], None, None, None)
    )


def of_both_scales(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    third = np.empty_like(x)
    wrt = ("mean", "scale", "prior_scale")
    fe.gaussian_kl_grad(
        mean, logvar=scale, prior_logvar=x, wrt=wrt, out=(out[0], third, out[1], None, out[2])
    )


def of_prior_scale(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: Sequence[np.ndarray]) -> None:
    fe.gaussian_kl_grad(
        mean, logvar=scale, prior_logvar=x, wrt="prior_scale", out=(out[0], None, None, None, out[1])
    )


def placed(shape: tuple[int, int], dtype: type, shift: int, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """All of some memory, and an array within: so many elements from a cache line on, rows so far apart."""
    rows, columns = shape
    memory = np.full(rows * (columns + gap) + 2 * MARGIN, 7, dtype)
    begin = MARGIN // 2 - memory.ctypes.data // memory.itemsize % (64 // memory.itemsize) + shift
    array = memory[begin : begin + rows * (columns + gap)].reshape(rows, columns + gap)[:, :columns]
    return memory, array


@pytest.mark.parametrize(
    "call",
    [
        of_nll,
        of_mean,
        of_scaled_x,
        of_shared_variance,
        of_a_sum,
        of_kl,
        of_kl_pair,
        of_the_mean_of_a_pair,
        of_both_scales,
        of_prior_scale,
    ],
)
@DTYPES
@pytest.mark.parametrize(("shifts", "gap"), [((0, 0), 0), ((5, 5), 0), ((3, 3), 2), ((0, 3), 0)])
def test_bits_and_margins(call: Callable[..., None], dtype: type, shifts: tuple[int, int], gap: int) -> None:
    rows = STREAMED // (COLUMNS * np.dtype(dtype).itemsize) + 1
    bits = np.dtype(f"i{np.dtype(dtype).itemsize}")
    rng = np.random.default_rng(3)
    inputs = [np.resize(rng.standard_normal((64, COLUMNS), dtype), (rows, COLUMNS)) for _ in range(3)]
    inputs[2][rows // 2, 7] = 300  # no ordinary scale
    value, few = np.empty(rows, dtype), rows // 16
    memories, grads = zip(*[placed((rows, COLUMNS), dtype, shift, gap) for shift in shifts], strict=True)
    call(*inputs, (value, *grads))
    for row in range(0, rows, few):
        part = [x[row : row + few] for x in inputs]
        expected = [np.empty(len(part[0]), dtype), *[np.full_like(part[0], 7) for _ in grads]]
        call(*part, expected)
        for found, each in zip((value, *grads), expected, strict=True):
            np.testing.assert_array_equal(found[row : row + few].view(bits), each.view(bits))
    for grad in grads:
        grad[...] = 7
    for memory in memories:
        assert (memory == 7).all(), "something was written beside an output"
