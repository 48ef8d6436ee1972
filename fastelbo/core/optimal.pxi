"""The sums and gradients of the optimal variance: what its door (optimal_door.pxi), and _squares.py and _objectives.py, compute with."""

cdef extern from "src/optimal/optimal.h" nogil:
    enum:
        OF_X, OF_MEAN, OF_WEIGHT, OF_WHERE, N_OF_SUMS
    ctypedef struct event_sum:
        pass
    ctypedef struct optimal:
        int is_double, dims, row_dims, row_weight, aliased
        ptrdiff_t shape[64]
        view argument[4]
        double x_scale
        view gradient[2]
        ptrdiff_t rows
        event_sum *part
        double *squares
        double *total
        unsigned char *odd
        double *factor
        const double *variance
        const int64_t *exponent
        double divisor
    void fe_optimal_arrange_sums(optimal *)
    void fe_optimal_arrange_gradients(optimal *)
    ptrdiff_t fe_optimal_sum_tasks(const optimal *)
    size_t fe_optimal_parts(const optimal *)
    ptrdiff_t fe_optimal_gradient_tasks(const optimal *)
    ctypedef struct optimal_set:
        size_t work
        void (*sum)(const optimal *, ptrdiff_t, void *) noexcept nogil
        void (*finish)(const optimal *) noexcept nogil
        void (*factors)(const optimal *) noexcept nogil
        void (*gradient[2])(const optimal *, ptrdiff_t, void *) noexcept nogil
    const optimal_set *fe_optimal(const kernel_set *)

cdef const optimal_set *optimals = fe_optimal(kernels)
latents_work = max(latents_work, (optimals.work + WORK_ALIGNMENT - 1) // WORK_ALIGNMENT * WORK_ALIGNMENT)  # they share blocks


# --- carrying out ---------------------------------------------------------------------------------------------------


cdef struct optimal_job:
    const optimal *call
    char *work
    bint gradients


cdef void carry_out_optimal_task(void *data, ptrdiff_t task, int thread) noexcept nogil:
    cdef optimal_job *j = <optimal_job *>data
    cdef void *work = j.work + thread * latents_work
    if j.gradients:
        optimals.gradient[j.call.is_double](j.call, task, work)
    else:
        optimals.sum(j.call, task, work)


cdef void carry_out_optimal(optimal_job *j, ptrdiff_t tasks, int threads) noexcept nogil:
    cdef ptrdiff_t task
    if j.gradients:
        optimals.factors(j.call)
    if threads > 1:
        openmp.each(carry_out_optimal_task, j, tasks, threads)
    else:  # without any call into OpenMP
        for task in range(tasks):
            carry_out_optimal_task(j, task, 0)
    if not j.gradients:
        optimals.finish(j.call)


cdef ptrdiff_t elements_of(const optimal *o) noexcept:
    cdef ptrdiff_t n = 1
    cdef int i
    for i in range(o.dims):
        n *= o.shape[i]
    return n


cdef int execute_optimal(optimal *o, bint gradients, object num_threads) except -1:
    """The sums, or the gradients, of a call that has elements"""
    cdef ptrdiff_t elements = elements_of(o), tasks
    cdef optimal_job j
    cdef size_t bytes = 0
    cdef int threads = 1
    cdef void *block
    if gradients:
        fe_optimal_arrange_gradients(o)
        tasks = fe_optimal_gradient_tasks(o)
    else:
        fe_optimal_arrange_sums(o)
        tasks, bytes = fe_optimal_sum_tasks(o), fe_optimal_parts(o)
    if elements >= PARALLEL_FROM and openmp != NULL and not openmp.forked():
        threads = min(<ptrdiff_t>num_threads(), tasks)
    block = take_work(threads)
    if bytes:
        o.part = <event_sum *>PyMem_Malloc(bytes)
        if o.part == NULL:
            give_work(block, threads)
            raise MemoryError(f"fastelbo: no memory for the {bytes:,} bytes that a call works in")
    j.call, j.gradients = o, gradients
    j.work = <char *>((<uintptr_t>block + sizeof(size_t) + WORK_ALIGNMENT - 1) & ~<uintptr_t>(WORK_ALIGNMENT - 1))
    if elements < ALONE_BELOW:
        carry_out_optimal(&j, tasks, threads)
    else:
        with nogil:
            carry_out_optimal(&j, tasks, threads)
    if bytes:
        PyMem_Free(o.part)
    give_work(block, threads)
    return 0


# --- behind the rules -----------------------------------------------------------------------------------------------


cdef int take_optimal(optimal *o, bint is_double, int n_event, tuple arguments, bint row_weight, double x_scale) except -1:
    cdef cnp.ndarray first = arguments[OF_X]
    cdef int i
    o.is_double, o.dims = is_double, cnp.PyArray_NDIM(first)
    o.row_dims, o.row_weight, o.x_scale, o.aliased, o.divisor, o.exponent = o.dims - n_event, row_weight, x_scale, False, 1.0, NULL
    for i in range(o.dims):
        o.shape[i] = cnp.PyArray_DIM(first, i)
    for i in range(N_OF_SUMS):
        o.argument[i].data = NULL
        if arguments[i] is not None:
            look(&o.argument[i], arguments[i])
    o.gradient[0].data = o.gradient[1].data = NULL
    return 0


def sums_of_squares(bint is_double, int n_event, tuple arguments, bint row_weight, double x_scale, num_threads, /):
    """Of checked views of one common shape, row axes first (x, mean, weight and where, None where absent), the sums of w r^2 and of w of each
    event, and which others have to sum: (squares, total, odd), flat. row_weight: the weight, by its shape, is the same along the event."""
    cdef optimal *o = <optimal *>PyMem_Malloc(sizeof(optimal))
    cdef cnp.npy_intp n = 1
    cdef int i
    if o == NULL:
        raise MemoryError()
    try:
        take_optimal(o, is_double, n_event, arguments, row_weight, x_scale)
        for i in range(o.row_dims):
            n *= o.shape[i]
        squares, total, odd = [cnp.PyArray_SimpleNew(1, &n, typenum) for typenum in (cnp.NPY_DOUBLE, cnp.NPY_DOUBLE, cnp.NPY_BOOL)]
        o.squares, o.total = <double *>cnp.PyArray_DATA(<cnp.ndarray>squares), <double *>cnp.PyArray_DATA(<cnp.ndarray>total)
        o.odd = <unsigned char *>cnp.PyArray_DATA(<cnp.ndarray>odd)
        if n and elements_of(o):
            execute_optimal(o, False, num_threads)
        else:
            for each in (squares, total, odd):
                (<cnp.ndarray>each).fill(0)
        return squares, total, odd
    finally:
        PyMem_Free(o)


def optimal_gradients(
    bint is_double, int n_event, tuple arguments, bint row_weight, double x_scale, tuple gradients, cnp.ndarray variance,
    cnp.ndarray exponent, double divisor, bint aliased, num_threads, /,
):  # fmt: skip
    """Of the same views the gradients for x and mean, None where not asked for, at variances 2^exponent times those given: flat arrays of
    float64 and int64. aliased: some gradient lies over an argument, element by element."""
    cdef optimal *o = <optimal *>PyMem_Malloc(sizeof(optimal))
    cdef cnp.ndarray factor
    cdef int k
    if o == NULL:
        raise MemoryError()
    try:
        take_optimal(o, is_double, n_event, arguments, row_weight, x_scale)
        for k in range(2):
            if gradients[k] is not None:
                look(&o.gradient[k], gradients[k])
        factor = np.empty_like(variance)
        o.variance, o.exponent = <const double *>cnp.PyArray_DATA(variance), <const int64_t *>cnp.PyArray_DATA(exponent)
        o.factor, o.divisor, o.aliased = <double *>cnp.PyArray_DATA(factor), divisor, aliased
        if elements_of(o):
            execute_optimal(o, True, num_threads)
    finally:
        PyMem_Free(o)
