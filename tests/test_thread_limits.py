"""What limits the threads of a call: the environment, OpenMP, affinity, cgroups, a missing runtime."""

import os

import numpy as np
import pytest

import fastelbo as fe
import processes
from fastelbo import _threads
from test_threads import LOGVAR, MEAN, PARALLEL, TASKS, X, same

quota = _threads._quota.__wrapped__  # without its cache
pytestmark = pytest.mark.usefixtures("restored")


def default() -> int:
    """Of a fresh process with neither variable in its environment."""
    return int(processes.run("import fastelbo as fe; print(fe.get_num_threads())"))


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
