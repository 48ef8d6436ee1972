# What passes from _openmp.pyx to _core.pyx
cdef extern from "src/threads.h" nogil:
    const char *FE_TEAM
    ctypedef struct fe_team:
        int version
        int (*max_threads)() noexcept nogil
        int (*in_parallel)() noexcept nogil
        int (*forked)() noexcept nogil
        const char *(*runtime)() noexcept nogil
        void (*each)(void (*)(void *, ptrdiff_t) noexcept nogil, void *, ptrdiff_t, int) noexcept nogil
