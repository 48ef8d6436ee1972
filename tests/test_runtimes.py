"""Beside other packages that compute in threads: OpenMP runtimes of their own, and pools of processes.

`pytest -rP tests/test_runtimes.py` prints which runtimes were loaded.
"""

import importlib.util
import itertools
import os

import pytest

import processes

NEEDED = {"sklearn": "scikit-learn", "torch": "torch", "numba": "numba", "joblib": "joblib"}
COMPUTE = {
    "sklearn": """
from sklearn.cluster import KMeans
points = np.random.default_rng(1).normal(size=(5000, 8))
def with_sklearn():
    return KMeans(8, n_init=1, max_iter=5, tol=0, random_state=0).fit(points).cluster_centers_
""",
    "torch": """
import torch
torch.set_num_threads(2)
rows = torch.from_numpy(np.random.default_rng(2).normal(size=(1000, 1000)))
def with_torch():
    return torch.softmax(rows, 1).numpy()
""",
}
ORDERS = [
    (before, after)
    for count in (1, 2)
    for packages in itertools.combinations(COMPUTE, count)
    for before, after in ((packages, ()), ((), packages))
]


def need(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install {NEEDED[package]}")


def run(code: str, **environment: str) -> str:
    """Other packages' warnings are not ours."""
    out = processes.run(f"import warnings\nwarnings.simplefilter('ignore')\n{code}", 300, **environment)
    print(out)
    return out


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    ("before", "after"), ORDERS, ids=[f"{'+'.join(b)} fastelbo {'+'.join(a)}".strip() for b, a in ORDERS]
)
def test_other_runtimes(before, after):
    """Each computes in parallel in turn, before fastelbo is imported or after it; then children are forked.

    They compute with fastelbo alone: the other packages do not promise to. PyTorch's wheel brings a
    libgomp.so.1, which is fastelbo's too where it was there first.
    """
    packages = before + after
    need(*packages)
    out = run(
        f"""
import numpy as np
{"".join(COMPUTE[name] for name in before)}
first = {{function.__name__: function() for function in [{", ".join(f"with_{name}" for name in before)}]}}
from forks import *
{"".join(COMPUTE[name] for name in after)}
others = [{", ".join(f"with_{name}" for name in packages)}]
want = wanted()

def all_in_turn():
    right(want, 2)
    for function in others:
        result = function()
        assert np.allclose(result, first.setdefault(function.__name__, result), rtol=1e-9)

for _ in range(20):
    all_in_turn()
for _ in range(5):
    ended_well(fork(lambda: child(want)))
    all_in_turn()
parent_is_parallel()

import threadpoolctl
loaded = [os.path.basename(pool["filepath"]) for pool in threadpoolctl.threadpool_info()
          if pool["user_api"] == "openmp"]
assert not OPENMP or any(name.startswith(fe._core.openmp_runtime()) for name in loaded), loaded
print("OpenMP runtimes:", *sorted(loaded))
""",
        FASTELBO_NUM_THREADS="2",
    )
    assert "OpenMP runtimes:" in out


JOBLIB = """
from joblib import Parallel, delayed, parallel_config
import numpy as np
import fastelbo as fe

x, mean, logvar = np.random.default_rng(7).normal(size=(3, 400, 500)).astype(np.float32)
want = fe.gaussian_nll(x, mean, logvar=logvar)
with parallel_config({config}):
    for got in Parallel(n_jobs=2)(delayed(fe.gaussian_nll)(x, mean, logvar=logvar) for _ in range(20)):
        assert got.tobytes() == want.tobytes()
    print(*set(Parallel(n_jobs=2)(delayed(fe.get_num_threads)() for _ in range(20))))
"""


@pytest.mark.parametrize(
    ("config", "threads"),
    [
        ("backend='loky', inner_max_num_threads=1", 1),
        ("backend='multiprocessing'", 1),
        ("backend='threading'", None),
    ],
)
def test_joblib(config, threads):
    """Its limit for processes holds; its threads have none, and share fastelbo's default."""
    need("joblib")
    default = processes.run("import fastelbo as fe; print(fe.get_num_threads())")
    assert run(JOBLIB.format(config=config)).split() == [str(threads or int(default))]


def test_inside_numba_prange():
    """Numba's OpenMP layer, which may share fastelbo's runtime: a region in its region would be too many."""
    need("numba")
    run(
        """
import numba
import numpy as np
import fastelbo as fe

x, mean = np.random.default_rng(7).normal(size=(2, 300, 700)).astype(np.float32)
want = fe.gaussian_nll(x, mean, var=2.0)

@numba.njit(parallel=True)
def loop(n):
    threads, same = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for i in numba.prange(n):
        with numba.objmode(count="int64", right="int64"):
            count = fe.get_num_threads()
            right = int(np.array_equal(fe.gaussian_nll(x, mean, var=2.0), want))
        threads[i], same[i] = count, right
    return threads, same

threads, same = loop(8)
assert same.all()
assert numba.threading_layer() == "omp"
assert set(threads) <= {1, 4 if fe._core.openmp_version() else 1}, threads
print("threads inside prange:", *set(threads.tolist()))
""",
        FASTELBO_NUM_THREADS="4",
        NUMBA_THREADING_LAYER="omp",
        NUMBA_NUM_THREADS="2",
    )
