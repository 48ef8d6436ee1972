"""A forked child computes, serially, and never hangs; its parent stays parallel.

OpenMP's threads do not survive a fork, and a parallel region in the child would wait for them for ever. So
all this runs in processes of its own: an alarm kills a child that hangs, and fails the test.
"""

import ctypes
import os
import platform
from pathlib import Path

import pytest

import processes
from effort import effort
from fastelbo import _core

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(code: str) -> None:
    code = f'from forks import *\nwant = wanted()\n{code}\nprint("ended")'
    out = processes.run(code, timeout=effort(300, 1200), FASTELBO_NUM_THREADS="2")
    assert out.split()[-1] == "ended"


@pytest.mark.parametrize("state", ["never ran", "ran serial", "ran parallel", "a thread in a region"])
def test_every_way_to_have_a_child(state):
    """os.fork, a grandchild, multiprocessing's three methods, a Pool."""
    run(f"all_ways({state!r}, {effort(1, 20)})")


def test_forks_under_load():
    """Of a parent with two more threads, each always in a parallel region."""
    forks = effort(40, 1000)
    run(f"ends = under_load({forks}, 2)\nassert ends == {{'ended': {forks}}}, ends")


def test_without_the_handler_a_child_hangs():
    """So the other tests would see it hang: it is the parallel region that does not end, and nothing else."""
    if not hasattr(ctypes.PyDLL(None), "_Fork"):  # POSIX 2024; glibc from 2.34, musl from 1.2.2
        pytest.skip("this C library has no _Fork, which forks without the handlers")
    run("""
if OPENMP:
    assert without_handler(1, 1) == {"ended": 1}
    assert without_handler(1, 2) == {"hung": 1}
""")


def test_grandchildren_and_siblings():
    run("""
compute()
for pid in [fork(lambda: with_children(want)) for _ in range(3)]:
    ended_well(pid)
parent_is_parallel()
""")


def test_threads_of_a_child():
    run("""
compute()
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
compute()
def erring():
    child()
    bad = np.full_like(X, 2)
    bad[399, 499] = 0
    try:
        fe.gaussian_nll(X, MEAN, var=bad)
    except ValueError as error:
        assert "var[399, 499] is 0.0" in str(error)
    else:
        raise AssertionError
    child()
ended_well(fork(erring))
parent_is_parallel()
""")


def test_a_fork_server_that_has_imported_fastelbo():
    """Its children are forks like any other, although the server never computed."""
    run("""
multiprocessing.set_forkserver_preload(["fastelbo"])
by_process("forkserver", child, want)
parent_is_parallel()
""")


@pytest.mark.parametrize("shared", [True, False])
def test_an_import_after_the_fork(shared):
    """The runtime that another package used before the fork is dead in the child; one of its own is not."""
    if not _core.openmp_runtime().startswith("libgomp"):
        pytest.skip("needs libgomp: starts threads by its GOMP_parallel")
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc's list of libraries tells which was there first")
    name = _core.openmp_runtime()
    bundled = Path(_core.__file__).parents[1] / "fastelbo.libs" / name  # in a wheel
    library = bundled if bundled.exists() else name
    out = processes.run(
        f"""
import ctypes, os, signal
ctypes.CDLL(None).prctl(15, b"a) name")  # PR_SET_NAME: what the kernel tells of a process has it in brackets
body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
if {shared}:
    ctypes.CDLL("{library}").GOMP_parallel(body, None, 2, 0)
pid = os.fork()
if pid:
    assert os.waitpid(pid, 0)[1] == 0
else:
    signal.alarm(60)
    import forks
    forks.right(forks.wanted(), {1 if shared else 2})
    print("right", flush=True)
    os._exit(0)
""",
        FASTELBO_NUM_THREADS="2",
    )
    assert out.split() == ["right"]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_pools(method):
    """Only a forked child is serial: a spawned one is a process like any other."""
    run(f"""
signal.alarm(120)
rows = fe.gaussian_nll(X, MEAN, logvar=LOGVAR)
with multiprocessing.get_context("{method}").Pool(2) as pool:
    score = functools.partial(fe.gaussian_nll, logvar=LOGVAR)
    for got in pool.starmap(score, [(X, MEAN)] * 8):
        assert got.tobytes() == rows.tobytes()
    counts = [pool.apply(fe.get_num_threads) for _ in range(4)]
    assert set(counts) == {{1 if "{method}" == "fork" or not OPENMP else 2}}, counts
parent_is_parallel()
""")
