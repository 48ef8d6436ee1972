# cython: language_level=3, freethreading_compatible=True
"""All that takes OpenMP, for `_core`: the one parallel loop, what the runtime says, the fork handler. A module of its own, so that
where the runtime does not load, the kernels do, and have one thread.
"""

from cpython.pycapsule cimport PyCapsule_New
from cython.parallel cimport prange

cdef extern from "<omp.h>" nogil:
    int _OPENMP
    int omp_get_max_threads()
    int omp_in_parallel()

cdef extern from "src/threads.h" nogil:
    int fe_watch_fork()
    int fe_forked()
    const char *fe_openmp_runtime()


cdef void each(void (*body)(void *, ptrdiff_t) noexcept nogil, void *data, ptrdiff_t tasks, int threads) noexcept nogil:
    cdef ptrdiff_t task
    for task in prange(tasks, num_threads=threads, schedule="dynamic", chunksize=1):
        body(data, task)


if fe_watch_fork():
    raise ImportError("fastelbo could not register its fork handler (pthread_atfork): out of memory?")

cdef fe_team table
table.version = _OPENMP
table.max_threads = omp_get_max_threads
table.in_parallel = omp_in_parallel
table.forked = fe_forked
table.runtime = fe_openmp_runtime
table.each = each
team = PyCapsule_New(&table, FE_TEAM, NULL)
