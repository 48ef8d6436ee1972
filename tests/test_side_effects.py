"""What importing and calling leave as they were: the process is the user's."""

import platform

import pytest

import processes

SETUP = """
import ctypes, json, os, resource, signal, sys, threading, time, warnings
import numpy as np

def environment():
    "As C sees it, which os.environ need not."
    variables = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    found = []
    while variables[len(found)] is not None:
        found.append(variables[len(found)])
    return found

def tasks():
    return sorted(os.listdir("/proc/self/task"))

def state():
    return {
        "environment": environment(),
        "affinity": {task: os.sched_getaffinity(int(task)) for task in tasks()},
        "signal handlers": [signal.getsignal(number) for number in signal.valid_signals()],
        "NumPy's settings": (np.geterr(), np.get_printoptions(), str(np.random.get_state()[1])),
        "warnings": list(warnings.filters),
        "limits": [resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT")],
        "scheduling": (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)),
        "mode of arithmetic": mode(),
    }

libm = ctypes.CDLL("libm.so.6")

def mode():
    "Rounding; and on x86-64 MXCSR but for its six flags of what has happened: FTZ, DAZ, masks."
    environment = (ctypes.c_uint32 * 64)()
    assert libm.fegetenv(environment) == 0
    return libm.fegetround(), environment[7] & ~63 if os.uname().machine == "x86_64" else 0

def changed(before):
    now = state()
    return [name for name in before if now[name] != before[name]]
"""
CALLS = """
x = np.random.default_rng(5).normal(size=(300, 700))
for dtype in (np.float32, np.float64):
    for scale in ("var", "std", "logvar", "logstd", "precision"):
        for value in (1.0, 1e-30, 0.0 if scale.startswith("log") else 1e30):
            fe.gaussian_nll_grad(x.astype(dtype), 0 * x.astype(dtype), **{scale: value})
            fe.gaussian_kl_grad(x.astype(dtype), **{scale: value})
    tiny = np.full((300, 700), np.finfo(dtype).smallest_subnormal)
    fe.gaussian_nll_grad(tiny, 0 * tiny, logvar=tiny)
    fe.bernoulli_nll_grad(np.ones_like(tiny), tiny)
    try:
        fe.gaussian_nll(tiny, 0 * tiny, var=0 * tiny)
        raise AssertionError
    except ValueError:
        pass
"""
pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc",
    reason="reads /proc, and the layout of glibc's fenv_t",
)


def test_importing_changes_nothing_of_the_process():
    processes.run(f"""{SETUP}
before = state()
import fastelbo as fe
assert not changed(before), changed(before)
""")


def test_calls_change_nothing_of_the_process():
    """Its threads, those of OpenMP among them, may run where they might before."""
    processes.run(
        f"""{SETUP}
import fastelbo as fe
before = state()
{CALLS}
fe.set_num_threads(1)
{CALLS}
affinity = before.pop("affinity")
assert not changed(before), changed(before)
assert set(map(frozenset, state()["affinity"].values())) == set(map(frozenset, affinity.values()))
""",
        FASTELBO_NUM_THREADS="4",
    )


def test_calls_open_no_file_and_start_no_process():
    """But for the quota of CPUs, as far as Python can hear it; what the import opens is Python's own."""
    processes.run(f"""{SETUP}
import fastelbo as fe
np.random.default_rng  # is imported when it is asked for
quota, others = ("/proc/self/cgroup", "/sys/fs/cgroup"), []

def hear(event, arguments):
    opens = event == "open" and not str(arguments[0]).startswith(quota)
    starts = ("subprocess", "socket", "os.fork", "os.exec", "os.posix_spawn", "os.system")
    if opens or event.startswith(starts):
        others.append((event, arguments))

sys.addaudithook(hear)
fe.show_config()
{CALLS}
assert not others, others
""")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_subnormals_survive(threads):
    """In the arithmetic of this process and of its threads, and in the kernels."""
    processes.run(
        """
import threading
import numpy as np
import fastelbo as fe

def least(dtype):
    return np.finfo(dtype).smallest_subnormal

def survive():
    for dtype in (np.float32, np.float64):
        assert np.array([least(dtype)]) * dtype(1) == least(dtype)
        assert (np.array([2 * least(dtype)]) * dtype(0.5))[0] == least(dtype)

survive()
for dtype in (np.float32, np.float64):
    x = np.full((400, 400), least(dtype))
    grad = fe.gaussian_nll_grad(x, np.zeros_like(x), var=1.0, wrt=("x", "mean"))
    assert (grad.x == least(dtype)).all()
    assert (grad.mean == -least(dtype)).all()
    survive()
thread = threading.Thread(target=survive)
thread.start()
thread.join()
assert 5e-324 * 1.0 > 0
""",
        FASTELBO_NUM_THREADS=threads,
    )


def test_waiting_threads_sleep():
    """A moment after a call, its threads use no CPU: they spin for milliseconds, and then wait."""
    processes.run(
        """
import time
import numpy as np
import fastelbo as fe

x = np.ones((2000, 1000), np.float32)
fe.gaussian_nll(x, x, var=1.0)
time.sleep(0.3)
before = time.process_time()
time.sleep(0.5)
used = time.process_time() - before
assert used < 0.25, used  # one that spins uses half a second
""",
        FASTELBO_NUM_THREADS="2",
    )
