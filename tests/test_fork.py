"""A forked child computes, serially, and never hangs; its parent stays parallel.

OpenMP's threads do not survive a fork, and a parallel region in the child would wait for them for ever. So
all this runs in processes of its own: an alarm kills a child that hangs, and fails the test.
"""

import os

import pytest

import processes

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

SETUP = """
import multiprocessing, os, signal, threading, time, warnings
import numpy as np
import fastelbo as fe

# Python 3.12 and later: "This process is multi-threaded, use of fork() may lead to deadlocks in the child"
warnings.filterwarnings("ignore", "This process", DeprecationWarning)
assert os.environ["FASTELBO_NUM_THREADS"] == "2"
OPENMP = bool(fe._core.openmp_version())
x, mean, logvar = np.random.default_rng(7).normal(size=(3, 400, 500)).astype(np.float32)

def compute():
    grad = fe.gaussian_nll_grad(x, mean, logvar=logvar)
    results = fe.gaussian_kl(mean, logvar=logvar), grad.value, grad.mean, grad.scale
    return b"".join(array.tobytes() for array in results)

def fork(task):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(60)
    status = 1
    try:
        task()
        status = 0
    finally:
        os._exit(status)

def ended_well(pid):
    status = os.waitpid(pid, 0)[1]
    assert not os.WIFSIGNALED(status), f"a child was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    assert os.WEXITSTATUS(status) == 0

def child():
    assert fe.get_num_threads() == 1
    assert compute() == want
    fe.set_num_threads(4)  # ignored
    assert fe.get_num_threads() == 1
    assert compute() == want

def count():
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0

def started():  # threads, by a call from a new thread
    found = []
    def call():
        before = count()
        assert compute() == want
        found.append(count() - before)
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return found[0]

def parent_is_parallel():
    assert fe.get_num_threads() == (2 if OPENMP else 1)
    assert compute() == want
    if OPENMP and count():
        tries = iter(range(1000))  # threads of earlier callers may be ending meanwhile
        while started() != 1:
            next(tries)
            time.sleep(0.01)
"""

FORKS = """
fe.set_num_threads(1)
serial = compute()
fe.set_num_threads(2)
want = compute()
assert want == serial
parent_is_parallel()
for _ in range(20):  # nobody else computes
    ended_well(fork(child))

done, counts = threading.Event(), [0, 0]
def busy(k):
    while not done.is_set():
        compute()
        counts[k] += 1
threads = [threading.Thread(target=busy, args=(k,)) for k in range(2)]
for thread in threads:
    thread.start()
while not all(counts):
    time.sleep(0.001)
try:
    for _ in range(20):  # others are in parallel regions
        at = sum(counts)
        ended_well(fork(child))
        while sum(counts) == at:
            time.sleep(0.001)
finally:
    done.set()
    for thread in threads:
        thread.join()
parent_is_parallel()
"""


def run(code: str) -> None:
    out = processes.run(SETUP + code + 'print("ended")', timeout=300, FASTELBO_NUM_THREADS="2")
    assert out.split()[-1] == "ended"


def test_forty_forks():
    run(FORKS)


def test_the_child_of_a_parent_that_never_computed():
    run("""
ended_well(fork(lambda: globals().update(want=compute()) or child()))
want = compute()
ended_well(fork(child))
parent_is_parallel()
""")


def test_grandchildren_and_siblings():
    run("""
want = compute()
def with_children():
    child()
    for pid in [fork(child) for _ in range(3)]:
        ended_well(pid)
for pid in [fork(with_children) for _ in range(3)]:
    ended_well(pid)
parent_is_parallel()
""")


def test_threads_of_a_child():
    run("""
want = compute()
def with_threads():
    right = []
    threads = [threading.Thread(target=lambda: right.append(compute() == want)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 4
ended_well(fork(with_threads))
parent_is_parallel()
""")


def test_an_error_in_a_child():
    run("""
want = compute()
def erring():
    child()
    bad = np.full_like(x, 2)
    bad[399, 499] = 0
    try:
        fe.gaussian_nll(x, mean, var=bad)
    except ValueError as error:
        assert "var[399, 499] is 0.0" in str(error)
    else:
        raise AssertionError
    child()
ended_well(fork(erring))
parent_is_parallel()
""")


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_pools(method):
    """Only a forked child is serial: a spawned one is a process like any other."""
    run(f"""
from functools import partial
signal.alarm(120)
want = fe.gaussian_nll(x, mean, logvar=logvar)
with multiprocessing.get_context("{method}").Pool(2) as pool:
    score = partial(fe.gaussian_nll, logvar=logvar)
    for got in pool.starmap(score, [(x, mean)] * 8):
        assert got.tobytes() == want.tobytes()
    counts = [pool.apply(fe.get_num_threads) for _ in range(4)]
    assert set(counts) == {{1 if "{method}" == "fork" or not OPENMP else 2}}, counts
want = compute()
parent_is_parallel()
""")
