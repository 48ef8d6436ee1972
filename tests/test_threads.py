"""How many threads a call uses; and calls from many threads at once."""

import concurrent.futures
import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import fastelbo as fe
import processes
from effort import effort
from fastelbo import _threads

RNG = np.random.default_rng(6)
X, MEAN, LOGVAR = RNG.normal(size=(3, 300, 700)).astype(np.float32)  # more elements than threads start at
PARALLEL = bool(fe._core.openmp_version())
TASKS = Path("/proc/self/task")
quota = _threads._quota.__wrapped__  # without its cache
pytestmark = pytest.mark.usefixtures("restored")


def default() -> int:
    """Of a fresh process with neither variable in its environment."""
    return int(processes.run("import fastelbo as fe; print(fe.get_num_threads())"))


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


# --- the environment ----------------------------------------------------------------------------------------

LARGE_CALL = """
import warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import fastelbo as fe
x = np.ones((300, 700), np.float32)
assert (fe.gaussian_nll(x, x, var=1.0, full=False) == 0).all()
print(fe.get_num_threads(), *[f"{w.category.__name__}: {w.message}" for w in caught])
assert all(w.filename == "<string>" and w.lineno == 6 for w in caught), caught  # of the import above
"""


@pytest.mark.parametrize("text", ["1", "3", "100", "", "99999999999999999999"])
def test_fastelbo_num_threads(text):
    want = (min(int(text), 1024) if text else default()) if PARALLEL else 1
    assert processes.run(LARGE_CALL, FASTELBO_NUM_THREADS=text).split() == [str(want)]


@pytest.mark.parametrize("text", ["0", "-1", "two", "True", "1.5", "4,3", "0x2", "\udcff", "9" * 5000])
def test_rubbish_in_fastelbo_num_threads_is_ignored_with_a_warning(text):
    n, category, message = processes.run(LARGE_CALL, FASTELBO_NUM_THREADS=text).split(maxsplit=2)
    assert int(n) == default()
    assert category == "RuntimeWarning:"
    assert (
        message.strip()
        == f"FASTELBO_NUM_THREADS={text!r} is not a number of threads, an int >= 1: it is ignored"
    )


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("", None),
        ("0", None),
        ("1", 1),
        ("4,3", 4),
        ("1,4", 1),
        ("1000000", None),
        ("many", None),
        ("-2", None),
    ],
)
def test_omp_num_threads_is_a_limit(text, limit):
    want = min(default(), limit or 1 << 30)
    assert processes.run(LARGE_CALL, OMP_NUM_THREADS=text).split() == [str(want)]


@pytest.mark.parametrize(
    "setting",
    [
        *("OMP_THREAD_LIMIT=1", "OMP_THREAD_LIMIT=2", "OMP_THREAD_LIMIT=0", "OMP_THREAD_LIMIT=few"),
        *("OMP_DYNAMIC=true", "OMP_DYNAMIC=maybe", "OMP_MAX_ACTIVE_LEVELS=0", "OMP_STACKSIZE=huge"),
        *("OMP_PROC_BIND=true", "OMP_PROC_BIND=spread", "OMP_PROC_BIND=rubbish", "OMP_PLACES=cores"),
        *("OMP_WAIT_POLICY=active", "OMP_WAIT_POLICY=passive", "OMP_SCHEDULE=static", "OMP_NESTED=true"),
    ],
)
def test_what_openmp_is_told_is_no_harm(setting):
    """Fewer threads than asked for, or others; a runtime says itself what is rubbish."""
    name, value = setting.split("=")
    out = processes.run(LARGE_CALL, FASTELBO_NUM_THREADS="4", **{name: value})
    limits = {"OMP_THREAD_LIMIT=1": 1, "OMP_THREAD_LIMIT=2": 2, "OMP_MAX_ACTIVE_LEVELS=0": 1}
    assert out.split() == [str(limits.get(setting, 4)) if PARALLEL else "1"]


@pytest.mark.skipif(not TASKS.exists(), reason="this system does not list a process's threads in /proc")
@pytest.mark.parametrize("chosen", ["", "3"])
@pytest.mark.parametrize(
    "limit",
    ["OMP_THREAD_LIMIT=1", "OMP_THREAD_LIMIT=2", "OMP_MAX_ACTIVE_LEVELS=0", "OMP_NUM_THREADS=1", "A=B"],
)
def test_get_num_threads_says_what_a_call_uses(limit, chosen):
    """Those that a large call starts, and the one that makes it."""
    name, value = limit.split("=")
    code = """
import os
import numpy as np
import fastelbo as fe
x = np.ones((1000, 1000), np.float32)
before = len(os.listdir("/proc/self/task"))
fe.gaussian_nll(x, x, var=1.0)
print(fe.get_num_threads(), 1 + len(os.listdir("/proc/self/task")) - before)
"""
    said, used = processes.run(code, FASTELBO_NUM_THREADS=chosen, **{name: value}).split()
    assert said == used


@pytest.mark.skipif(not TASKS.exists(), reason="the limit on this system's memory may count differently")
def test_one_thread_where_none_can_be_started():
    """OpenMP ends the process where it is refused a thread; FASTELBO_NUM_THREADS=1 does not ask for any."""
    code = """
import resource
import numpy as np
import fastelbo as fe
x = np.ones((300, 700), np.float32)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**20,) * 2)  # a stack takes 8 MiB
assert (fe.gaussian_nll(x, x, var=1.0, full=False) == 0).all()
"""
    processes.run(code, FASTELBO_NUM_THREADS="1")
    if PARALLEL:
        with pytest.raises(AssertionError, match=r"Thread creation failed|thread"):
            processes.run(code, FASTELBO_NUM_THREADS="2")


# --- the machine --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not PARALLEL, reason="a serial build has no runtime to lose")
def test_without_the_runtime_calls_are_serial_the_same_and_say_so_once(tmp_path):
    """As where libgomp does not load: the module that is linked to it cannot be imported."""
    np.save(tmp_path / "given.npy", [X, MEAN, LOGVAR])
    code = f"""
import sys, warnings
import numpy as np
sys.modules["fastelbo._openmp"] = None
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import fastelbo as fe
(warning,) = said
assert warning.category is RuntimeWarning and warning.filename == "<string>", warning
assert str(warning.message).startswith("fastelbo runs on one thread, because"), warning
fe.set_num_threads(3)
assert fe.get_num_threads() == 1
x, mean, logvar = np.load({str(tmp_path / "given.npy")!r})
got = fe.gaussian_nll_grad(x, mean, logvar=logvar, wrt=("x", "mean", "scale"))
np.savez({str(tmp_path / "got.npz")!r}, *got)
fe.show_config()
"""
    assert "OpenMP           none: import of fastelbo._openmp halted" in processes.run(code)
    with np.load(tmp_path / "got.npz") as got:
        assert same(got.values(), fe.gaussian_nll_grad(X, MEAN, logvar=LOGVAR, wrt=("x", "mean", "scale")))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
@pytest.mark.parametrize("pinned", ["", "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"])
def test_affinity_is_read_at_each_call(pinned):
    """Whether or not the process started on one CPU, as by taskset."""
    code = (
        f"import os\n{pinned}"
        + """
import fastelbo as fe
before, cpus = fe.get_num_threads(), os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(cpus)})
assert fe.get_num_threads() == 1
fe.set_num_threads(3)  # the user knows better
assert fe.get_num_threads() == (3 if fe._core.openmp_version() else 1)
fe.set_num_threads(None)
os.sched_setaffinity(0, cpus)
assert fe.get_num_threads() == before <= len(cpus)
"""
    )
    processes.run(code)


NO_LIMIT = 1 << 30
V1 = "12:cpuset:/docker/7\n4:cpu,cpuacct:/docker/7\n1:name=systemd:/docker/7\n"
CGROUPS = {
    "no limit": ("0::/a\n", {"a/cpu.max": "max 100000\n", "cpu.max": "max 100000\n"}, NO_LIMIT),
    "no files": ("0::/a/b\n", {}, NO_LIMIT),
    "rounded up": ("0::/a\n", {"a/cpu.max": "150000 100000\n"}, 2),
    "exact": ("0::/a\n", {"a/cpu.max": "400000 100000\n"}, 4),
    "below one": ("0::/a\n", {"a/cpu.max": "1000 100000\n"}, 1),
    "of a parent": ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
    "the least": ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "700000 100000\n"}, 2),
    "namespace": ("0::/\n", {"cpu.max": "50000 20000\n"}, 3),
    "outside": ("0::/../sibling\n", {"cpu.max": "200000 100000\n"}, 2),
    "rubbish": ("0::/a\n", {"a/cpu.max": "lots\n", "cpu.max": "100000 0\n"}, NO_LIMIT),
    "no cgroup's line": ("\n7\n0::/a\n", {"a/cpu.max": "200000 100000\n"}, 2),
    "a name that is no text": ("0::/\udcff\n", {"\udcff/cpu.max": "200000 100000\n"}, 2),
    "not ours": ("0::/a\n", {"b/cpu.max": "100000 100000\n"}, NO_LIMIT),
    "version 1": (
        V1,
        {"cpu/docker/7/cpu.cfs_quota_us": "250000\n", "cpu/docker/7/cpu.cfs_period_us": "100000\n"},
        3,
    ),
    "version 1, no limit": (
        V1,
        {"cpu/docker/7/cpu.cfs_quota_us": "-1\n", "cpu/docker/7/cpu.cfs_period_us": "100000\n"},
        NO_LIMIT,
    ),
    "version 1, mounted inside": (
        V1,
        {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"},
        2,
    ),
    "version 1, other controllers": (
        "3:cpuset:/x\n2:memory:/x\n",
        {"x/cpu.max": "100000 100000\n", "cpu/x/cpu.cfs_quota_us": "1\n"},
        NO_LIMIT,
    ),
}


@pytest.mark.parametrize("kind", CGROUPS)
def test_cgroup_quota(kind, tmp_path):
    own, files, want = CGROUPS[kind]
    (tmp_path / "own").write_text(own, errors="surrogateescape")
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert quota(tmp_path / "fs", tmp_path / "own") == want


def test_a_system_without_cgroups(tmp_path):
    assert quota(tmp_path, tmp_path / "own") == NO_LIMIT


@pytest.mark.parametrize("n", [1, NO_LIMIT])
def test_the_quota_is_a_limit(n, monkeypatch):
    want = min(n, fe.get_num_threads())
    monkeypatch.setattr(_threads, "_quota", lambda: n)
    assert fe.get_num_threads() == want


def test_threadpoolctl_limits_are_honoured():
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    before = fe.get_num_threads()
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert fe.get_num_threads() == 1
    assert fe.get_num_threads() == before


NESTED = """
import ctypes
import numpy as np
import fastelbo as fe

runtime = ctypes.CDLL(fe._core.openmp_runtime())
x, mean = np.random.default_rng(7).normal(size=(2, 300, 700)).astype(np.float32)
want, seen = fe.gaussian_nll(x, mean, var=2.0), []

@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def body(_):
    seen.append((fe.get_num_threads(), np.array_equal(fe.gaussian_nll(x, mean, var=2.0), want)))

runtime.GOMP_parallel(body, None, 2, 0)
assert seen == [(1, True)] * 2, seen
assert fe.get_num_threads() == 4
"""


@pytest.mark.skipif(not PARALLEL, reason="a serial build has no parallel regions")
@pytest.mark.parametrize("environment", [{}, {"OMP_MAX_ACTIVE_LEVELS": "3"}])
def test_a_call_inside_a_parallel_region_is_serial(environment):
    processes.run(NESTED, FASTELBO_NUM_THREADS="4", **environment)


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
