"""How many threads a call uses; and calls from many threads at once."""

import concurrent.futures
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest

import fastelbo as fe
import processes
from effort import effort

RNG = np.random.default_rng(6)
X, MEAN, LOGVAR = RNG.normal(size=(3, 300, 700)).astype(np.float32)  # more elements than threads start at
PARALLEL = bool(fe._core.openmp_version())
TASKS = Path("/proc/self/task")
pytestmark = pytest.mark.usefixtures("restored")


def call():
    return fe.gaussian_nll_grad(X, MEAN, logvar=LOGVAR, wrt=("x", "scale"))


def same(one, two) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True) if a is not None)


# --- set and get --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 1000, np.int64(3), np.uint8(2), 2**31, 2**64, 10**30])
def test_set_num_threads_goes_beyond_the_machine_but_not_beyond_1024(n):
    want = call()
    assert fe.set_num_threads(n) is None
    assert fe.get_num_threads() == (min(n, 1024) if PARALLEL else 1)
    assert type(fe.get_num_threads()) is int
    assert same(call(), want)


def test_none_restores_the_default():
    before = fe.get_num_threads()
    fe.set_num_threads(before + 3)
    fe.set_num_threads(None)
    assert fe.get_num_threads() == before


@pytest.mark.parametrize(
    ("n", "error"),
    [(n, ValueError) for n in (0, -1, -(2**70), np.int8(-1))]
    + [
        (n, TypeError)
        for n in (True, False, np.True_, 1.0, "2", [1], np.float64(2), np.array([1, 2]), 1j, b"1")
    ],
)
def test_what_is_no_number_of_threads(n, error):
    fe.set_num_threads(5)
    with pytest.raises(error, match=r"^n must be (at least 1|an int or None), not "):
        fe.set_num_threads(n)
    assert fe.get_num_threads() == (5 if PARALLEL else 1)


def test_it_holds_in_the_whole_process():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(fe.set_num_threads, 5).result()
        assert fe.get_num_threads() == pool.submit(fe.get_num_threads).result() == (5 if PARALLEL else 1)


# --- many threads -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not TASKS.exists(), reason="this system does not list a process's threads in /proc")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_samples_share_leave_work_for_many_threads(dtype):
    out = processes.run(f"""
import os, numpy as np, fastelbo as fe
fe.set_num_threads(16)
rows, samples = np.ones((256, 784), "{dtype}"), np.zeros((2, 256, 784), "{dtype}")
before = len(os.listdir("/proc/self/task"))
fe.gaussian_nll_grad(rows, samples, var=rows)
print(len(os.listdir("/proc/self/task")) - before)
""")
    assert int(out) == (15 if PARALLEL else 0)


@pytest.mark.skipif(not TASKS.exists(), reason="this system does not list a process's threads in /proc")
def test_threads_are_started_for_large_calls_only_and_end_with_their_caller():
    code = """
import os, threading, time
import numpy as np
import fastelbo as fe

def count():
    return len(os.listdir("/proc/self/task"))

def call(n):
    x = np.ones((n // 128, 128), np.float32)
    fe.gaussian_nll(x, x, var=1.0)

before = count()
call((1 << 17) - 128)
assert count() == before
for k in range(40):
    thread = threading.Thread(target=call, args=(1 << 17,))
    thread.start()
    thread.join()
for wait in range(1000):  # they end in their own time
    if count() == before:
        break
    time.sleep(0.01)
assert count() == before
call(1 << 17)
assert count() - before == (3 if fe._core.openmp_version() else 0)
"""
    processes.run(code, FASTELBO_NUM_THREADS="4")


@pytest.mark.skipif(not TASKS.exists(), reason="this system does not list a process's threads in /proc")
def test_a_thousand_callers_leave_nothing_behind():
    """Each thread that calls has OpenMP threads of its own: they and their memory end with it."""
    code = """
import os, threading, time
import numpy as np
import fastelbo as fe

x = np.ones((1024, 128), np.float32)

def count():
    return len(os.listdir("/proc/self/task"))

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")

def make(n, at_once=10):
    for _ in range(n // at_once):
        threads = [threading.Thread(target=fe.gaussian_nll, args=(x, x), kwargs={"var": 1.0})
                   for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

before = count()
make(100)
memory = resident()
make(1000)
for _ in range(1000):  # threads end in their own time
    if count() == before:
        break
    time.sleep(0.01)
assert count() == before
growth = resident() - memory
assert growth < 2**20, growth
"""
    processes.run(code, FASTELBO_NUM_THREADS="2")


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_from_many_threads_give_one_result(threads):
    fe.set_num_threads(threads)
    want = call()
    barrier = threading.Barrier(8)

    def calls():
        barrier.wait()
        return [same(call(), want) for _ in range(effort(20, 10_000 if threads == 2 else 100))]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = [pool.submit(calls) for _ in range(8)]
        assert all(itertools.chain.from_iterable(result.result() for result in results))


def test_errors_in_many_threads_stay_apart():
    """Half of the threads pass a variance of 0, and only they are told so."""
    fe.set_num_threads(2)
    good, bad = np.full_like(X, 2), np.full_like(X, 2)
    bad[211, 3] = 0
    want = fe.gaussian_nll(X, MEAN, var=good)

    def outcomes(var):
        for _ in range(20):
            try:
                yield np.array_equal(fe.gaussian_nll(X, MEAN, var=var), want)
            except ValueError as error:
                yield "var[211, 3] is 0.0" in str(error) and var is bad

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = [pool.submit(lambda var: list(outcomes(var)), var) for var in (good, bad) * 3]
        assert all(itertools.chain.from_iterable(result.result() for result in results))


def test_the_gil_is_released():
    """This thread sees rows appear one by one: it runs while the other computes."""
    fe.set_num_threads(1)
    x = np.broadcast_to(np.float32(1), (4000, 10_000))
    out = np.empty(len(x), np.float32)
    for _ in range(100):  # a busy machine may not let this thread run in time
        out[:] = np.nan
        other = threading.Thread(target=fe.gaussian_nll, args=(x, x), kwargs={"var": 1.0, "out": out})
        other.start()
        seen = False
        while other.is_alive() and not seen:
            seen = not np.isnan(out[0]) and np.isnan(out[-1])  # in this order
        other.join()
        if seen:
            return
    pytest.fail("no other Python thread ran during 100 calls")
