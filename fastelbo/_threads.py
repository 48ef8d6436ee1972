"""The thread policy: how many threads a call uses. All of it, and only here."""

from __future__ import annotations

import math
import operator
import os
from functools import lru_cache
from pathlib import Path
from typing import Final

from fastelbo import _core

CGROUPS: Final = Path("/sys/fs/cgroup")
#: OpenMP ends the process where it cannot start the threads that it is asked for.
MOST: Final = 1024


def set_num_threads(n: int | None) -> None:
    """Set how many threads later calls use, in the whole process.

    Parameters
    ----------
    n : int or None
        At least 1; taken as it is, even beyond the number of cores and the limits of others (OMP_NUM_THREADS,
        threadpoolctl). A call has 1,024 at most, and no more than OMP_THREAD_LIMIT; `get_num_threads` says
        how many that leaves. None restores the default.

    Raises
    ------
    TypeError
        `n` is no integer; True and False are none.
    ValueError
        `n` < 1.

    Notes
    -----
    Results do not depend on it, to the last bit. Small calls are serial whatever it says. In a forked child
    every call is serial: the runtime's threads do not survive a fork. The environment variable
    FASTELBO_NUM_THREADS does the same from outside.

    Examples
    --------
    >>> import fastelbo as fe
    >>> fe.set_num_threads(2)
    >>> fe.get_num_threads()
    2
    >>> fe.set_num_threads(None)
    """
    global _chosen
    if n is not None:
        try:
            if isinstance(n, bool):
                raise TypeError
            n = operator.index(n)
        except TypeError:
            raise TypeError(f"n must be an int or None, not {n!r}") from None
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}: pass None for the default")
    _chosen = n  # one store: atomic


def get_num_threads() -> int:
    """How many threads the next call would use, were it large enough to repay them.

    Returns
    -------
    int
        What `set_num_threads` or FASTELBO_NUM_THREADS say; else the least of the CPUs this thread may run on,
        the cgroup's CPU quota rounded up, OMP_NUM_THREADS and OpenMP's own limit, which threadpoolctl and
        joblib set. Never more than 1,024, nor than OMP_THREAD_LIMIT. 1 in a forked child, inside a parallel
        region, and without OpenMP: in a build that has none, or where its runtime does not load.

    Examples
    --------
    >>> import fastelbo as fe
    >>> fe.get_num_threads() >= 1
    True
    """
    if not _core.openmp_version() or _core.forked() or _core.in_parallel():
        return 1
    n = _chosen
    if n is None:
        n = min(_affinity(), _quota(), _omp_num_threads, _core.openmp_max_threads())
    return max(1, min(n, MOST, _core.openmp_thread_limit()))


def _affinity() -> int:
    """CPUs this thread may run on, now."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def _quota(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """The cgroup's CPU quota, rounded up: the least along the path to the root. Read once: it takes files."""
    quotas = [math.inf]
    try:
        lines = own.read_text(errors="surrogateescape").split("\n")  # a group's name is any bytes
    except OSError:
        return 1 << 30
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        base = root / "cpu" if "cpu" in controllers.split(",") else root
        if controllers and "cpu" not in controllers.split(","):
            continue
        inside = base / path.lstrip("/")
        quotas += [_quota_of(group) for group in (inside, *inside.parents) if group.is_relative_to(base)]
    least = min(quotas)
    return 1 << 30 if math.isinf(least) else max(1, math.ceil(least))


def _quota_of(group: Path) -> float:
    """CPUs granted to one cgroup, by version 2's or version 1's files; inf without a limit."""
    for quota_and_period in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = " ".join([(group / name).read_text() for name in quota_and_period]).split()
            if quota != "max" and int(quota) > 0:
                return int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return math.inf


def _from_environment(name: str, first_of_list: bool = False) -> int | None:
    """A thread count in the environment, or None."""
    text = os.environ.get(name, "")
    try:
        n = int(text.split(",")[0] if first_of_list else text)
    except ValueError:
        n = 0
    return n if n >= 1 else None


_chosen: int | None = _from_environment("FASTELBO_NUM_THREADS")
#: for the import to warn of, which knows who imports
rubbish: Final = os.environ.get("FASTELBO_NUM_THREADS", "") if _chosen is None else ""
_omp_num_threads: Final = _from_environment("OMP_NUM_THREADS", first_of_list=True) or 1 << 30
