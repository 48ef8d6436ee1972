"""Forks of a process that computes: its children compute serially, and never hang; it stays parallel.

    python tests/forks.py [--forks 1000] [--threads 2] [--without-handler]

forks under load: other threads of the parent are in parallel regions, all the time. The last line has the
figures. With --without-handler the children are started by `_Fork`, which is `fork` without the handlers that
packages register, and nobody else computes: each child should hang with two threads, or the first command
proves nothing, and none with one.

Imported by what test_fork.py runs, in processes of their own, with FASTELBO_NUM_THREADS=2.
"""

import argparse
import contextlib
import ctypes
import functools
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

import fastelbo as fe

# Python 3.12 and later: "This process is multi-threaded, use of fork() may lead to deadlocks in the child"
warnings.filterwarnings("ignore", "This process", DeprecationWarning)

OPENMP = bool(fe._core.openmp_version())
PATIENCE = 60  # s; a child takes milliseconds
X, MEAN, LOGVAR = np.random.default_rng(7).normal(size=(3, 400, 500)).astype(np.float32)
ENDLESS = np.broadcast_to(np.float32(1), (2000, 8000))  # a call on it is nearly all parallel region


def compute() -> str:
    """What a call large enough for threads returns, as a hash."""
    grad = fe.gaussian_nll_grad(X, MEAN, logvar=LOGVAR)
    results = fe.gaussian_kl(MEAN, logvar=LOGVAR), grad.value, grad.mean, grad.scale
    return hashlib.sha256(b"".join(array.tobytes() for array in results)).hexdigest()


# --- processes ----------------------------------------------------------------------------------------------


def fork(task: Callable[[], object], by: Callable[[], int] = os.fork, patience: int = PATIENCE) -> int:
    """The pid of a child that runs the task; an alarm ends it where it hangs."""
    pid = by()
    if pid:
        return pid
    signal.alarm(patience)
    status = 1
    try:
        task()
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(status)


def end_of(pid: int) -> str:
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "hung" if number == signal.SIGALRM else f"killed by {signal.Signals(number).name}"
    return "failed" if os.WEXITSTATUS(status) else "ended"


def ended_well(pid: int) -> None:
    end = end_of(pid)
    assert end == "ended", f"a child {end}"


def raw_fork() -> int:
    """A fork of which nobody's handler is told; the child sees to the alarm alone."""
    return ctypes.PyDLL(None)._Fork()


@functools.cache
def wanted() -> str:
    """`compute`, by a child: this process may be one that has not computed yet."""
    reader, writer = os.pipe()
    ended_well(fork(lambda: os.write(writer, compute().encode())))
    os.close(writer)
    with open(reader) as stream:
        return stream.read()


# --- what a child and its parent must be --------------------------------------------------------------------


def right(want: str, threads: int) -> None:
    assert compute() == want  # first: where nobody is told of the fork, this is what hangs
    assert fe.get_num_threads() == (threads if OPENMP else 1)


def child(want: str | None = None) -> None:
    want = want or wanted()
    right(want, 1)
    fe.set_num_threads(4)  # ignored
    right(want, 1)


def spawned(want: str) -> None:
    """A process like any other."""
    signal.alarm(PATIENCE)
    right(want, 2)


def with_children(want: str) -> None:
    child(want)
    for pid in [fork(lambda: child(want)) for _ in range(3)]:
        ended_well(pid)
    child(want)


def threads_of_this_process() -> int:
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0


def threads_started(want: str) -> int:
    """By a call from a new thread."""
    found = []

    def call() -> None:
        before = threads_of_this_process()
        assert compute() == want
        found.append(threads_of_this_process() - before)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return found[0]


def parent_is_parallel() -> None:
    want = wanted()
    right(want, 2)
    if OPENMP and threads_of_this_process():
        tries = iter(range(1000))  # threads of earlier callers may be ending meanwhile
        while threads_started(want) != 1:
            next(tries)
            time.sleep(0.01)


# --- what the parent has done and does ----------------------------------------------------------------------


def ran(threads: int) -> None:
    fe.set_num_threads(threads)
    compute()
    fe.set_num_threads(2)


@contextlib.contextmanager
def load(threads: int) -> Iterator[Callable[[], None]]:
    """Other threads in parallel regions; what waits until each has ended another one."""
    done, counts = threading.Event(), [0] * threads

    def busy(k: int) -> None:
        while not done.is_set():
            fe.gaussian_nll(ENDLESS, ENDLESS, var=1.0)
            counts[k] += 1

    def progress() -> None:
        at = list(counts)
        while any(now == before for now, before in zip(counts, at, strict=True)):
            time.sleep(0.0005)

    pool = [threading.Thread(target=busy, args=(k,)) for k in range(threads)]
    for thread in pool:
        thread.start()
    try:
        progress()
        yield progress
    finally:
        done.set()
        for thread in pool:
            thread.join()


@contextlib.contextmanager
def state(name: str) -> Iterator[None]:
    if name == "ran serial":
        ran(1)
    elif name == "ran parallel":
        ran(2)
    with load(1) if name == "a thread in a region" else contextlib.nullcontext():
        yield


STATES = ("never ran", "ran serial", "ran parallel", "a thread in a region")


# --- ways to have a child -----------------------------------------------------------------------------------


def by_process(method: str, target: Callable[[str], None], want: str) -> None:
    process = multiprocessing.get_context(method).Process(target=target, args=(want,))
    process.start()
    process.join(PATIENCE)
    end = "hung" if process.exitcode is None else f"has exit status {process.exitcode}"
    process.kill()
    assert end == "has exit status 0", f"a child {end}"


def by_pool(want: str) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map_async(child, [want] * 4, chunksize=1).get(PATIENCE)


WAYS: dict[str, Callable[[str], None]] = {
    "os.fork": lambda want: ended_well(fork(lambda: child(want))),
    "grandchild": lambda want: ended_well(fork(lambda: with_children(want))),
    "fork": lambda want: by_process("fork", child, want),
    "forkserver": lambda want: by_process("forkserver", spawned, want),
    "spawn": lambda want: by_process("spawn", spawned, want),
    "Pool": by_pool,
}


def all_ways(name: str, times: int) -> None:
    """Every way, so often, while the parent is in the state of that name."""
    want = wanted()
    with state(name):
        for way, start in WAYS.items():
            for _ in range(times):
                try:
                    start(want)
                except BaseException as error:
                    error.add_note(f"{way}, {name}")
                    raise
    parent_is_parallel()


# --- the figure ---------------------------------------------------------------------------------------------


def under_load(forks: int, threads: int) -> Counter[str]:
    """How children of a parent whose other threads compute ended."""
    want = wanted()
    parent_is_parallel()
    ends: Counter[str] = Counter()
    with load(threads) as progress:
        for _ in range(forks):
            ends[end_of(fork(lambda: child(want)))] += 1
            progress()
    parent_is_parallel()
    return ends


def without_handler(forks: int, threads: int, patience: int = 3) -> Counter[str]:
    """How children ended that use so many threads, because no handler has told them of the fork."""
    want = wanted()
    parent_is_parallel()

    def unaware() -> None:
        fe.set_num_threads(threads)
        right(want, threads)

    return Counter(end_of(fork(unaware, raw_fork, patience)) for _ in range(forks))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--forks", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2, help="of the parent that compute meanwhile")
    parser.add_argument("--without-handler", action="store_true")
    options = parser.parse_args()
    if not OPENMP:
        print("a serial build: nothing to show")
        return 1
    fe.set_num_threads(2)
    begin = time.monotonic()
    if options.without_handler:
        one, two = (without_handler(options.forks, threads) for threads in (1, 2))
        hung = f"{two['hung']} hung with two threads, {one['hung']} with one"
        print(f"{options.forks} forks without the handler: {hung}")
        return (one["ended"], two["hung"]) != (options.forks,) * 2
    ends = under_load(options.forks, options.threads)
    failed = ends.total() - ends["ended"] - ends["hung"]
    seconds = time.monotonic() - begin
    print(
        f"{options.forks} forks beside {options.threads} threads in parallel regions, {seconds:.0f} s:"
        f" {ends['hung']} hung, {failed} failed; the parent is parallel after"
    )
    return ends["ended"] != options.forks


if __name__ == "__main__":
    raise SystemExit(main())
