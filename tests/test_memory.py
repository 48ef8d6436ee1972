"""No full-size copies, and nothing left behind: 300 MB pass through a call, and the peak hardly grows.

The peak is VmHWM, of the process's own memory map: ru_maxrss would begin with the parent's. What a call must
allocate, rows or gradients, is left out by `out`, or counted.
"""

from pathlib import Path

import pytest

import processes

STATUS = Path("/proc/self/status")
pytestmark = pytest.mark.skipif(
    not STATUS.exists() or "VmHWM" not in STATUS.read_text(),
    reason="this system does not tell a process's peak memory in /proc/self/status",
)
MOST = 8_000_000  # bytes

SETUP = """
import numpy as np
import fastelbo as fe

def status(name):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

def growth(call):
    call(*[array[:512] for array in arrays])  # what a first call sets up: threads, and their stacks
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")  # forget earlier peaks
    before = status("VmRSS:")
    assert status("VmHWM:") - before < 2_000_000  # else an earlier peak would hide this one
    call(*arrays)
    return status("VmHWM:") - before

def filled(shape, number):
    array = np.empty(shape, np.float32)
    array[...] = number
    return array

arrays = [filled((49152, 512), number) for number in (1.5, 0.5, 2)]  # 302 MB
arrays.append(filled(49152, 0))
"""
#: In terms of x, mean, scale and rows; together the first three have 300 MB
CALLS = {
    "nll": "fe.gaussian_nll(x, mean, logvar=scale, out=rows)",
    "kl": "fe.gaussian_kl(x, prior_mean=mean, logvar=scale, out=rows)",
    "reduced": "fe.gaussian_nll(x, mean, logvar=scale, reduction='mean')",
    "weight and where": "fe.gaussian_nll(x, mean, var=2.0, weight=scale, where=True, out=rows)",
    "columns": "fe.gaussian_nll(x, mean, logvar=scale, axis=0)",
    "broadcast": "fe.gaussian_nll(x, mean[0], logvar=scale[:, :1], out=rows)",
    "one row": "fe.gaussian_nll(x.ravel(), mean.ravel(), logvar=scale.ravel())",
    "strided": "fe.gaussian_nll(x[:, ::2], mean[:, ::-2], logvar=scale[:, 1::2], out=rows)",
    "transposed": "fe.gaussian_nll(x.T, mean.T, logvar=scale.T, axis=0, out=rows)",
    "reversed": "fe.gaussian_kl(x[::-1, ::-1], prior_mean=mean[::-1], logvar=scale, out=rows)",
    "integers": "fe.gaussian_nll(x.view('u1'), mean.view('u1'), var=1.0, axis=None)",
    "in place": """fe.gaussian_nll_grad(
        x, mean, logvar=scale, wrt=('x', 'mean', 'scale'), out=(rows, x, mean, scale)
    )""",
    "in place, strided": """fe.gaussian_nll_grad(
        x[:, ::2], mean[:, ::2], logvar=scale[:, ::2], out=(rows, None, mean[:, ::2], scale[:, ::2])
    )""",
    "in place, kl": """fe.gaussian_kl_grad(
        x, prior_mean=mean, logvar=scale, out=(rows, x, scale, None, None)
    )""",
    "gradient of a scale for each row": """fe.gaussian_nll_grad(
        x, mean, logvar=scale[:, :1], out=(rows, None, mean, None)
    )""",
    "bernoulli": "fe.bernoulli_nll(x, mean, weight=scale, out=rows)",
    "bernoulli, in place": "fe.bernoulli_nll_grad(x, mean, wrt=('x', 'logits'), out=(rows, x, mean))",
    "sigma-VAE": "fe.optimal_nll_grad(x, mean, axis=-1, min_var=1e-6, out=(rows, None, mean))",
    "samples": "fe.reparameterize(x, logvar=scale, eps=mean, out=(x, None))",
    "gradients of samples": "fe.reparameterize_grad(x, mean, logvar=scale, out=(x, scale))",
    "neg_elbo, in place": """fe.neg_elbo_grad(
        x, mean, x, logvar=scale, z_var=2.0, beta=0.5, reduction='sum',
        out=(None, None, None, None, mean, scale, x, None, None, None),
    )""",
    "neg_elbo of samples": """fe.neg_elbo_grad(
        x[: len(x) // 8], mean.reshape(8, -1, 512), x[: len(x) // 8, :8],
        logvar=scale.reshape(8, -1, 512), z_var=2.0, beta=0.5, reduction='none',
        out=(*[None] * 4, mean.reshape(8, -1, 512), scale.reshape(8, -1, 512), *[None] * 4),
    )""",
    "neg_elbo, value": "fe.neg_elbo(x, mean, x, logvar=scale[0], z_logvar=scale, weight=rows)",
    "gradients of what samples share, and of what rows share": """fe.gaussian_nll_grad(
        x[: len(x) // 2].reshape(-1, 4096), mean.reshape(2, -1, 4096), var=np.full(4096, 2, 'f4'), axis=(),
        reduction='sum', wrt=('x', 'scale'), out=(None, scale[: len(x) // 2].reshape(-1, 4096), None, None),
    )""",
    "gradient of a shared mean": "fe.gaussian_nll_grad(x, mean[0], var=2.0, out=(rows, None, None, None))",
    "sigma-VAE, masked": """fe.optimal_nll_grad(
        x, mean, axis=-1, where=True, weight=scale, min_var=1e-6, out=(rows, None, mean)
    )""",
}


def measure(*calls: str) -> list[int]:
    code = SETUP + "".join(f"print(growth(lambda x, mean, scale, rows: {call}))\n" for call in calls)
    return [int(line) for line in processes.run(code, FASTELBO_NUM_THREADS="2").split()]


def test_small_calls_leave_nothing_behind():
    """CI's share of soak.py: right and wrong calls, again and again."""
    code = """
from soak import Soak, resident, threads
some = Soak(1, 200)  # 290 rounds: an object a round is more than may be cached
some.run(lambda: some.made >= 8_000)
counts, memory, running = some.counts(), resident(), threads()
some.made = 0
some.run(lambda: some.made >= 60_000)
print(resident() - memory, threads() - running, some.failed, some.moved(counts))
"""
    grown, started, failed, moved = processes.run(code, FASTELBO_NUM_THREADS="2").split(maxsplit=3)
    assert int(grown) < 1 << 20
    assert int(started) == 0
    assert int(failed) > 1000
    assert moved.strip() == "[]"


def test_the_measurement_sees_a_copy():
    (grown,) = measure("np.sum(x - mean)")
    assert grown > 90_000_000


@pytest.mark.parametrize("numbers", [0, 1])
def test_peak_memory_hardly_grows(numbers):
    names = list(CALLS)[numbers::2]
    grown = dict(zip(names, measure(*[CALLS[name] for name in names]), strict=True))
    print(grown)
    assert {name: growth for name, growth in grown.items() if growth >= MOST} == {}


def test_memory_runs_out_before_an_input_is_changed():
    """The latents' half wants more than is left, for its 64 threads, when that of x has what it wants."""
    code = """
import resource
import numpy as np
import fastelbo as fe

def status(name):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

x, z = np.ones((4096, 2), np.float32), np.ones((4096, 512), np.float32)
held = [array.copy() for array in (x, z)]
calls = [
    lambda: fe.neg_elbo_grad(
        x, 0 * x, z, var=1.0, z_var=2.0, weight=weight, wrt=("x", "z_mean"), reduction="sum",
        out=(None, None, None, x, None, None, z, None, None, None),
    )
    for weight in (None, np.full(4096, 2, np.float32))
]
calls.append(lambda: fe.gaussian_kl_grad(z, var=2.0, wrt="mean", out=(None, z, None, None, None)))
for call in calls:
    call()
x[...], z[...] = held
fe.set_num_threads(1024)
for call in calls:
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize:") + 2_000_000, -1))
    try:
        call()
    except MemoryError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    assert np.array_equal(x, held[0]) and np.array_equal(z, held[1])
"""
    lines = processes.run(code, FASTELBO_NUM_THREADS="1").splitlines()
    assert len(lines) == 3
    assert all("64 threads" in line for line in lines)
