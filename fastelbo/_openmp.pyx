# cython: language_level=3, freethreading_compatible=True
"""What needs OpenMP, for `_core`: a module of its own, so that where the runtime does not load, the kernels do, on one thread."""

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "src/threads.h":
    const char *FE_OPENMP
    ctypedef struct fe_openmp_table:
        pass
    const fe_openmp_table fe_openmp
    int fe_watch_fork()

if fe_watch_fork():
    raise ImportError("fastelbo could not register its fork handler (pthread_atfork): out of memory?")
table = PyCapsule_New(<void *>&fe_openmp, FE_OPENMP, NULL)
