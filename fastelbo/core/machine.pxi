"""What this build and this machine are: instruction sets, OpenMP."""


def isa_levels():
    """The instruction set levels this machine can run, best last."""
    return tuple([name for name in ("baseline", "v3", "v4") if fe_kernels(name.encode()) != NULL])


def isa():
    """The level in use."""
    return (<bytes>kernels.name).decode()


def compiler():
    return (<bytes>FE_COMPILER).decode()


OPENMP = FASTELBO_OPENMP != 0  # this build has _openmp
openmp_error = ""  # why that does not load


def openmp_version():
    """0 without it"""
    return openmp.version if openmp else 0


def openmp_max_threads():
    return openmp.max_threads() if openmp else 1


def openmp_runtime():
    return (<bytes>openmp.runtime()).decode() if openmp else ""


def openmp_thread_limit():
    return openmp.thread_limit() if openmp else 1


def in_parallel():
    return openmp != NULL and openmp.in_parallel() != 0


def forked():
    return openmp != NULL and openmp.forked() != 0


cdef int choose_kernels() except -1:
    global kernels
    name = os.environ.get("FASTELBO_ISA") or None
    kernels = fe_kernels(NULL) if name is None else fe_kernels(name.encode())
    if kernels == NULL:
        raise ImportError(
            f"FASTELBO_ISA={name!r} is no instruction set level of this machine: "
            f"unset it, or set it to one of {', '.join(isa_levels())}"
        )
    return 0


choose_kernels()


def use_openmp(table):
    """That of _openmp. Without it, each call has one thread."""
    global openmp
    openmp = <const fe_openmp_table *>PyCapsule_GetPointer(table, FE_OPENMP)
