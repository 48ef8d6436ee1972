"""Nothing is kept: after many calls, right or wrong, no reference and no memory is left behind."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest

import fastelbo as fe
import processes

STATUS = Path("/proc/self/status")
N = 1000  # of each call; a leak of one object a call leaves a thousand, caches far fewer


def shared():
    generator = np.random.default_rng(5)
    x, mean, prior = generator.normal(size=(3, 6, 8)).astype(np.float32)
    scale, rows = np.full((6, 8), 0.5, np.float32), np.empty(6, np.float32)
    return {"x": x, "mean": mean, "prior": prior, "scale": scale, "rows": rows, "bad": -scale}


#: In terms of what `shared` makes: the fast doors, the general calls, and errors of each kind
CALLS = {
    "fast value": lambda a: fe.gaussian_nll(a["x"], a["mean"], var=a["scale"], out=a["rows"]),
    "fast gradients": lambda a: fe.gaussian_nll_grad(
        a["x"], a["mean"], logvar=a["scale"], out=(a["rows"], None, a["prior"], None)
    ),
    "fast KL": lambda a: fe.gaussian_kl_grad(
        a["mean"], std=a["scale"], prior_mean=a["x"], out=(a["rows"], a["prior"], None, None, None)
    ),
    "fast ELBO": lambda a: fe.neg_elbo_grad(
        a["x"], a["mean"], a["prior"], var=2.0, z_logvar=a["scale"], wrt=("recon", "z_mean")
    ),
    "fast Bernoulli": lambda a: fe.bernoulli_nll(a["scale"], a["mean"], out=a["rows"]),
    "general value": lambda a: fe.gaussian_nll(a["x"][:, ::2], a["mean"][:, ::2], var=2.0, out=a["rows"]),
    "general gradients": lambda a: fe.gaussian_nll_grad(
        a["x"], a["mean"], std=a["scale"], axis=0, weight=a["x"] > 0, out=(None, None, a["prior"], None)
    ),
    "samples": lambda a: fe.reparameterize(a["mean"], logvar=a["scale"], eps=a["x"]),
    "domain, fast": lambda a: fe.gaussian_nll(a["x"], a["mean"], var=a["bad"], out=a["rows"]),
    "domain, general": lambda a: fe.gaussian_kl_grad(a["x"][:, ::2], var=a["bad"][:, ::2]),
    "shape": lambda a: fe.gaussian_nll(a["x"], a["mean"][:, :7], var=a["scale"]),
    "out": lambda a: fe.gaussian_nll(a["x"], a["mean"], var=a["scale"], out=a["rows"][:5]),
    "two scales": lambda a: fe.gaussian_nll(a["x"], a["mean"], var=a["scale"], std=a["scale"]),
    "dtype": lambda a: fe.gaussian_kl(a["x"].astype(complex), var=a["scale"]),
}


def call_many(call, arrays, count):
    for _ in range(count):
        with contextlib.suppress(TypeError, ValueError):
            call(arrays)


@pytest.mark.parametrize("name", CALLS)
def test_no_reference_is_kept(name):
    arrays = shared()
    call_many(CALLS[name], arrays, 5)  # what a first call keeps
    singletons = [None, np.dtype(np.float32), np.ndarray, fe.gaussian_nll]
    before, blocks = [sys.getrefcount(a) for a in [*arrays.values(), *singletons]], sys.getallocatedblocks()
    call_many(CALLS[name], arrays, N)
    after = [sys.getrefcount(a) for a in [*arrays.values(), *singletons]]
    assert max(abs(n - m) for n, m in zip(before, after, strict=True)) < N // 2
    assert sys.getallocatedblocks() - blocks < N // 2


@pytest.mark.skipif(
    not STATUS.exists(), reason="this system does not tell a process's memory in /proc/self/status"
)
def test_scratch_memory_is_freed():
    """8 KB of accumulators and more in each call: 2000 of them would be seen."""
    code = """
import numpy as np
import fastelbo as fe

def resident():
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

x = np.ones((40, 1000), np.float32)
bad = np.zeros(1000, np.float32)
def calls(count):
    for _ in range(count):
        fe.gaussian_nll_grad(x, x[0], var=x[0], reduction="mean")
        try:
            fe.gaussian_nll_grad(x, x[0], var=bad, reduction="mean")
        except ValueError:
            pass
calls(50)
before = resident()
calls(1000)
print(resident() - before)
"""
    assert int(processes.run(code, FASTELBO_NUM_THREADS="1")) < 2_000_000
