"""New arrays for results. The memory of a large one is kept for the next when it is freed (src/results.h)."""

cdef extern from "src/results.h":
    enum:
        LARGE_RESULT
    cnp.PyDataMem_Handler allocator
    size_t kept_bytes "kept.bytes", kept_most "kept.most"
    void keep_results(size_t)

cdef object results_allocator = PyCapsule_New(&allocator, "mem_handler", NULL)


cdef object new_array(int ndim, cnp.npy_intp *shape, int typenum, bint fortran=False):
    """As np.empty"""
    cdef double size = 8 if typenum == cnp.NPY_FLOAT64 else 4
    cdef int i
    for i in range(ndim):
        size *= shape[i]
    if size < LARGE_RESULT:
        return cnp.PyArray_EMPTY(ndim, shape, typenum, fortran)
    before = cnp.PyDataMem_SetHandler(results_allocator)
    try:
        return cnp.PyArray_EMPTY(ndim, shape, typenum, fortran)
    finally:
        cnp.PyDataMem_SetHandler(before)


cdef object new_like(object like, int typenum):
    """As np.empty_like: laid out like an argument, if that has axes"""
    cdef cnp.npy_intp none = 0
    if not cnp.PyArray_CheckExact(like):
        return cnp.PyArray_SimpleNew(0, &none, typenum)
    if cnp.PyArray_SIZE(<cnp.ndarray>like) * (8 if typenum == cnp.NPY_FLOAT64 else 4) < LARGE_RESULT:
        return PyArray_NewLikeArray(<cnp.ndarray>like, cnp.NPY_KEEPORDER, as_reference(typenum), 0)
    before = cnp.PyDataMem_SetHandler(results_allocator)
    try:
        return PyArray_NewLikeArray(<cnp.ndarray>like, cnp.NPY_KEEPORDER, as_reference(typenum), 0)
    finally:
        cnp.PyDataMem_SetHandler(before)


def empty(shape, dtype):
    """For the rules"""
    before = cnp.PyDataMem_SetHandler(results_allocator)
    try:
        return np.empty(shape, dtype)
    finally:
        cnp.PyDataMem_SetHandler(before)


def empty_like(array, dtype):
    before = cnp.PyDataMem_SetHandler(results_allocator)
    try:
        return np.empty_like(array, dtype)
    finally:
        cnp.PyDataMem_SetHandler(before)


def kept_memory():
    """Bytes that are kept, and the most that ever are"""
    return kept_bytes, kept_most


def keep_memory(most):
    """At most so many bytes from now on"""
    keep_results(most)


cdef int choose_memory() except -1:
    name = os.environ.get("FASTELBO_KEEP_MIB") or None
    if name is not None:
        if not name.isdecimal() or int(name) >= 1 << 40:
            raise ImportError(
                f"FASTELBO_KEEP_MIB={name!r} is no number of MiB: unset it, or set it to how much memory of "
                "freed results may be kept for the next ones (64 if unset; 0 keeps none)"
            )
        keep_results(int(name) << 20)
    return 0


choose_memory()
