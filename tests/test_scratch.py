"""Sums over what an argument was broadcast along: a few MiB of scratch whatever the shapes, the right values,
and the same bits for all threads, layouts and other gradients asked for."""

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastelbo as fe
import processes
from fastelbo import _core
from marks import DTYPES
from memory import MOST, OF_THREAD, scratch

BESIDE = 1 << 20  # slabs, and rows that wait, beside accumulators that take the 4 MiB
SHAPES = [(3, 300, 500), (300, 3, 500), (300, 500, 3), (7, 1, 90_001)]
RNG = np.random.default_rng(13)
STATUS = Path("/proc/self/status")
pytestmark = pytest.mark.usefixtures("restored")


def data(dtype, *shapes):
    return [RNG.uniform(0.25, 1.75, shape).astype(dtype) for shape in shapes]


def check(function, args, kwargs, wrt, layouts=True):
    """A call's scratch, and that its bits depend on nothing but values and shapes; its result."""
    fe.set_num_threads(1)
    assert scratch(function, *args, wrt=wrt, **kwargs) < MOST
    got = function(*args, wrt=wrt, **kwargs)
    for name in wrt:
        alone = function(*args, wrt=name, **kwargs)
        assert_array_equal(getattr(alone, name), getattr(got, name))
        assert_array_equal(alone.value, got.value)
    for threads in (2, 7):
        fe.set_num_threads(threads)
        for one, other in zip(function(*args, wrt=wrt, **kwargs), got, strict=True):
            assert_array_equal(one, other)
    if layouts:
        turned = {key: np.asfortranarray(o) if isinstance(o, np.ndarray) else o for key, o in kwargs.items()}
        for one, other in zip(function(*map(np.asfortranarray, args), wrt=wrt, **turned), got, strict=True):
            assert_array_equal(one, other)
    return got


def check_scale(shape, part, axis, dtype, masked):
    x, mean, var, weight = data(dtype, shape, shape, part, shape)
    options = {"axis": axis}
    if masked:
        options |= {"weight": weight, "where": x > 0.4, "min_var": 0.5, "reduction": "sum", "x_scale": 0.5}
    got = check(fe.gaussian_nll_grad, (x, mean), options | {"var": var}, ("scale", "mean"), masked)
    options["var"] = np.broadcast_to(var, shape)
    full = fe.reference.gaussian_nll_grad(x, mean, wrt="scale", **options)
    over = tuple(i for i, (m, n) in enumerate(zip(part, shape, strict=True)) if m != n)
    terms = (np.abs(full.scale) + 1).sum(over, keepdims=True)
    eps = np.finfo(dtype).eps
    want = full.scale.sum(over, np.longdouble, keepdims=True)  # NumPy adds some one by one
    assert (np.abs(got.scale - want) <= 10 * eps * terms).all()
    assert_allclose(got.value, full.value, rtol=20 * eps, atol=0.01 * eps)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_broadcast_scale(shape, dtype):
    masked = itertools.cycle((False, True))
    axes = itertools.cycle((None, -1, tuple(range(-len(shape), -1)), None))
    for kept in itertools.product((False, True), repeat=len(shape)):
        part = tuple(n if keep else 1 for keep, n in zip(kept, shape, strict=True))
        for _ in range(2):
            check_scale(shape, part, next(axes), dtype, next(masked))
        next(masked)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("axis", [None, -1, (-2, -1), ()])
def test_data_that_samples_share(axis, dtype):
    x, other, scale = data(dtype, (300, 700), (4, 300, 700), (4, 1, 700))
    eps = np.finfo(dtype).eps
    for name, args, kwargs, wrt in (
        ("bernoulli_nll_grad", (x, other), {}, ("x", "logits")),
        ("gaussian_nll_grad", (x, other), {"logvar": scale}, ("x", "mean", "scale")),
        ("gaussian_kl_grad", (x,), {"prior_mean": other, "std": scale}, ("mean", "prior_mean", "scale")),
    ):
        got = check(getattr(fe, name), args, kwargs | {"axis": axis}, wrt, name == "gaussian_kl_grad")
        want = getattr(fe.reference, name)(*args, wrt=wrt, axis=axis, **kwargs)
        for one, two in zip(got, want, strict=True):
            if two is not None:
                assert_allclose(one, two, rtol=40 * eps, atol=400 * eps)


def test_sums_over_their_own_argument():
    """An output over the argument that it is the gradient of, which the others still read."""
    for axis, part in ((-1, (300_000,)), (None, (2, 1, 300_000)), ((-2, -1), (1, 3, 300_000))):
        x, mean, var = data("f4", (2, 3, 300_000), (2, 3, 300_000), part)
        options = {"axis": axis, "wrt": ("x", "mean", "scale")}
        want = fe.gaussian_nll_grad(x, mean, var=var, **options)
        got = fe.gaussian_nll_grad(x, mean, var=var, **options, out=(None, x, mean, var))
        assert got.scale is var
        for one, other in zip(got, want, strict=True):
            assert_array_equal(one, other)


@pytest.mark.skipif(not STATUS.exists(), reason="this system does not tell a process's memory in /proc")
def test_within_a_limit():
    """Values, and gradients into arrays of the caller's, in 50 MB beside the data."""
    code = """
import resource
import numpy as np
import fastelbo as fe

def ones(*shape):
    return np.ones(shape, np.float32)

x, image, logvar, mask = ones(1024, 768), ones(1, 3, 1024, 1024), ones(1, 1, 1024, 1024), ones(4096)
recon, square, scales = ones(4, 1024, 768), ones(4096, 4096), ones(4096, 1)
calls = [
    lambda: fe.gaussian_nll(image, image, logvar=logvar, axis=(-3, -2, -1)),
    lambda: fe.optimal_nll(x, recon),
    lambda: fe.bernoulli_nll(x, recon, axis=None),
    lambda: fe.gaussian_nll_grad(square, square, logvar=mask, axis=None, wrt="scale"),
    lambda: fe.gaussian_nll_grad(square, square, logvar=scales, axis=None, wrt="scale"),
    lambda: fe.gaussian_nll_grad(image, image, var=logvar, axis=(-3, -2, -1), wrt="scale"),
]
fe.gaussian_nll(square, square, var=1.0)  # starts the threads
with open("/proc/self/status") as lines:
    size = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmSize:"))
resource.setrlimit(resource.RLIMIT_AS, (size + 50_000_000, -1))
for call in calls:
    call()
"""
    processes.run(code, FASTELBO_NUM_THREADS="2")


class Planned(Exception):
    """A call that ends before it computes anything; with the bytes that it has taken until then."""


def planned(monkeypatch, name, threads, args, kwargs):
    def prepare(*arguments: Any):
        tracemalloc.start()
        try:
            call = original(*arguments)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        del call
        raise Planned(peak)

    original = _core.prepare
    fe.set_num_threads(threads)
    with monkeypatch.context() as patched:
        patched.setattr(_core, "prepare", prepare)
        with pytest.raises(Planned) as caught:
            getattr(fe, name)(*args, **kwargs)
    return caught.value.args[0]


def alike(dtype, *shape):
    """One number, 0 bytes apart: an array of any size, and no memory."""
    return np.broadcast_to(dtype(1), shape)


@DTYPES
@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize(
    "shape", [(1, 10**10), (10**6, 10**5), (10**9, 20_000), (2, 3, 10**8), (17, 10**9)], ids=str
)
def test_rows_in_chunks_of_any_size(shape, reduction, dtype, monkeypatch):
    data, each = alike(dtype, *shape), alike(dtype, *shape)
    options: dict[str, Any] = {"reduction": reduction}
    if reduction == "none":
        options["out"] = np.empty(shape[:-1], dtype)  # all pages of it untouched
    for scale in (each, alike(dtype, *shape[:-1], 1), dtype(2)):
        for threads in (1, 64):
            most = MOST + (threads - 1) * OF_THREAD
            options["std"] = scale
            assert planned(monkeypatch, "gaussian_nll", threads, (data, data), options) < most
            assert planned(monkeypatch, "gaussian_kl", threads, (data,), options) < most


@DTYPES
@pytest.mark.parametrize("threads", [1, 64])
@pytest.mark.parametrize("samples", [3, 300, 10**6])
@pytest.mark.parametrize("row", [(40, 20_000), (1, 10**6), (4, 250_000)], ids=str)
def test_sums_of_rows_in_chunks(row, samples, threads, dtype, monkeypatch):
    shape = (samples, *row)
    one, many = alike(dtype, *row), alike(dtype, *shape)
    for scale in (alike(dtype, *row[1:]), alike(dtype, *row), alike(dtype, row[0], 1), dtype(2)):
        for wrt in ("scale", ("x", "scale")):
            options = {"var": scale, "wrt": wrt, "reduction": "sum"}
            got = planned(monkeypatch, "gaussian_nll_grad", threads, (one, many), options)
            assert got < MOST + BESIDE + (threads - 1) * OF_THREAD


@pytest.mark.parametrize(("threads", "dtype"), [(1, np.float32), (3, np.float64)])
def test_sums_of_more_rows_than_wait_together(threads, dtype):
    """Of whole numbers, so that every order of the additions gives the same."""
    fe.set_num_threads(threads)
    numbers = RNG.integers(-9, 9, 40_000).astype(dtype)
    up_to = np.append(0, np.cumsum(numbers))

    def windows(*shape, steps):
        strides = [step * numbers.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(numbers, shape, strides, writeable=False)

    x, mean, var = windows(9_000, 17_000, steps=(1, 1)), np.zeros(17_000, dtype), alike(dtype, 9_000, 17_000)
    got = fe.gaussian_nll_grad(x, mean, var=var, full=False, wrt="mean")
    assert_array_equal(got.mean, up_to[:17_000] - up_to[9_000:26_000])
    squares = np.append(0, np.cumsum(numbers * numbers))
    assert_array_equal(got.value, (squares[17_000:26_000] - squares[:9_000]) / 2)
    half = fe.gaussian_nll(x[4_000:5_000], mean, var=var[:1_000], full=False)
    assert_array_equal(half, got.value[4_000:5_000])

    for samples in (3_000, 4_500):  # one row's go together, or are too many for that
        x, mean = np.zeros((2, 17_000), dtype), windows(samples, 2, 17_000, steps=(1, 5_000, 1))
        got = fe.gaussian_nll_grad(x, mean, var=alike(dtype, *mean.shape), wrt="x", reduction="sum")
        for row, begin in enumerate((0, 5_000)):
            ends = up_to[begin + samples : begin + samples + 17_000] - up_to[begin : begin + 17_000]
            assert_array_equal(got.x[row], -ends)
