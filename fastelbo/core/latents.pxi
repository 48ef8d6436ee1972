"""Samples and the way back from them: a fast door each, and the one call behind the rules."""

cdef extern from "src/latents/latents.h" nogil:
    enum:
        CENTER, NOISE, RAW, ONE_OUT, SCALE_OUT, N_LATENTS
        DRAWN, GRADIENTS, BOUND
    ctypedef struct latents_sum:
        pass
    ctypedef struct sampling:
        int what, form, is_double, aliased, dims
        ptrdiff_t shape[64]
        uint64_t summed
        view operand[5]
        ptrdiff_t parts
        latents_sum *waiting
    void fe_sampling_arrange(sampling *)
    ptrdiff_t fe_sampling_tasks(const sampling *)
    size_t fe_sampling_bytes(const sampling *)
    ctypedef struct latents_set:
        size_t work[2]
        void (*run[2])(const sampling *, ptrdiff_t, void *) noexcept nogil
        void (*finish[2])(const sampling *) noexcept nogil
        int (*positive[2])(const void *, ptrdiff_t) noexcept nogil
    const latents_set *fe_latents(const kernel_set *)

cdef const latents_set *latents = fe_latents(kernels)
cdef size_t latents_work = (max(latents.work[0], latents.work[1]) + WORK_ALIGNMENT - 1) // WORK_ALIGNMENT * WORK_ALIGNMENT

DEF OF_SAMPLING = 3  # a kind of spare blocks


# --- carrying out ---------------------------------------------------------------------------------------------------


cdef struct latents_job:
    const sampling *call
    char *work


cdef void *take_work(int threads) except NULL:
    """A block for so many threads"""
    cdef size_t bytes = sizeof(size_t) + WORK_ALIGNMENT + threads * latents_work
    cdef void *found
    if threads == 1:
        return take(OF_SAMPLING, bytes)
    found = take_team()
    if found != NULL and (<size_t *>found)[0] < bytes:
        PyMem_Free(found)
        found = NULL
    if found == NULL:
        found = PyMem_Malloc(bytes)
        if found == NULL:
            raise MemoryError(f"fastelbo: no memory for the {bytes:,} bytes that a call works in")
        (<size_t *>found)[0] = bytes
    return found


cdef void give_work(void *block, int threads) noexcept:
    if not (keep_team(block) if threads > 1 else keep_spare(OF_SAMPLING, block)):
        PyMem_Free(block)


cdef void carry_out_latents_task(void *data, ptrdiff_t task, int thread) noexcept nogil:
    cdef latents_job *j = <latents_job *>data
    latents.run[j.call.is_double](j.call, task, j.work + thread * latents_work)


cdef void carry_out_latents(const sampling *s, void *block, int threads) noexcept nogil:
    cdef latents_job j
    cdef ptrdiff_t task, tasks = fe_sampling_tasks(s)
    j.call = s
    j.work = <char *>((<uintptr_t>block + sizeof(size_t) + WORK_ALIGNMENT - 1) & ~<uintptr_t>(WORK_ALIGNMENT - 1))
    if threads > 1:
        openmp.each(carry_out_latents_task, &j, tasks, threads)
    else:  # without any call into OpenMP
        for task in range(tasks):
            latents.run[s.is_double](s, task, j.work)
    if s.what == GRADIENTS and s.parts > 1:
        latents.finish[s.is_double](s)


cdef int execute_latents(sampling *s, object num_threads) except -1:
    """Run a call on views that have elements"""
    cdef ptrdiff_t elements = 1
    cdef size_t bytes
    cdef int i, threads = 1
    cdef void *block
    for i in range(s.dims):
        elements *= s.shape[i]
    fe_sampling_arrange(s)
    if elements >= PARALLEL_FROM and openmp != NULL and not openmp.forked():
        threads = min(<ptrdiff_t>num_threads(), fe_sampling_tasks(s))
    block = take_work(threads)
    bytes = fe_sampling_bytes(s)
    s.waiting = NULL
    if bytes:
        s.waiting = <latents_sum *>PyMem_Malloc(bytes)
        if s.waiting == NULL:
            give_work(block, threads)
            raise MemoryError(f"fastelbo: no memory for the {bytes:,} bytes that a call works in")
    if elements < ALONE_BELOW:
        carry_out_latents(s, block, threads)
    else:
        with nogil:
            carry_out_latents(s, block, threads)
    if bytes:
        PyMem_Free(s.waiting)
    give_work(block, threads)
    return 0


def run_latents(str form, bint is_double, bint back, uint64_t summed, tuple views, bint aliased, num_threads, /):
    """One call on checked views of z's shape, samples first: mean, or the gradient for z; noise; scale, which the mean's gradient does
    not need; then z, or the gradients of the mean and the scale, None where not asked for.

    summed: bit i is set where the scale as passed (or, of the mean's gradient, the mean) is broadcast along axis i; aliased: a result
    lies over an input, element by element.
    """
    cdef sampling s
    s.what, s.form, s.is_double = GRADIENTS if back else DRAWN, SCALES.index(form), is_double
    s.summed, s.aliased = summed, aliased
    take_views(&s, views)
    execute_latents(&s, num_threads)


def run_bound(bint is_double, uint64_t summed, tuple views, num_threads, /):
    """The importance-weighted bound on checked views of one shape: log weights, value, weights, effective sample size. summed: bit i is
    set where axis i is one of the samples."""
    cdef sampling s
    s.what, s.form, s.is_double, s.summed, s.aliased = BOUND, STD, is_double, summed, False
    take_views(&s, (views[0], views[1], None, views[2], views[3]))
    execute_latents(&s, num_threads)


cdef int take_views(sampling *s, tuple views) except -1:
    cdef cnp.ndarray first = views[0]
    cdef int i
    s.dims = cnp.PyArray_NDIM(first)
    for i in range(s.dims):
        s.shape[i] = cnp.PyArray_DIM(first, i)
    for i in range(N_LATENTS):
        s.operand[i].data = NULL
        if views[i] is not None:
            look(&s.operand[i], views[i])
    return 0


# --- the doors ------------------------------------------------------------------------------------------------------


cdef struct latents_door:
    sampling call
    real number       # a scale that is a Python float
    int typenum, ndim # of the latents
    cnp.npy_intp *shape
    ptrdiff_t rows, columns, samples
    bint sampled      # there is an axis of samples


cdef void lay(latents_door *d, int a, char *data, bint by_sample, bint by_row, bint by_column) noexcept:
    """A contiguous array that has its own elements for each sample, row, column, or not"""
    cdef ptrdiff_t item = 8 if d.call.is_double else 4
    cdef view *v = &d.call.operand[a]
    v.data, v.type = data, F64 if d.call.is_double else F32
    v.stride[2] = item if by_column else 0
    v.stride[1] = 0 if not by_row else item * d.columns if by_column else item
    v.stride[0] = item * d.columns * d.rows if by_sample else 0


cdef bint open_latents(latents_door *d, object x, bint sampled) noexcept:
    """x gives dtype and shape, but for a leading axis of samples if it is `sampled`"""
    cdef int i
    if not cnp.PyArray_CheckExact(x):
        return False
    d.typenum = cnp.PyArray_TYPE(<cnp.ndarray>x)
    if (d.typenum != cnp.NPY_FLOAT32 and d.typenum != cnp.NPY_FLOAT64) or not regular(x, d.typenum):
        return False
    d.ndim, d.shape = cnp.PyArray_NDIM(<cnp.ndarray>x) - sampled, cnp.PyArray_DIMS(<cnp.ndarray>x) + sampled
    if d.ndim < 1:
        return False
    d.sampled, d.samples = sampled, cnp.PyArray_DIM(<cnp.ndarray>x, 0) if sampled else 1
    d.rows, d.columns = 1, d.shape[d.ndim - 1]
    for i in range(d.ndim - 1):
        d.rows *= d.shape[i]
    d.call.is_double, d.call.dims, d.call.aliased = d.typenum == cnp.NPY_FLOAT64, 3, False
    d.call.shape[0], d.call.shape[1], d.call.shape[2] = d.samples, d.rows, d.columns
    for i in range(N_LATENTS):
        d.call.operand[i].data = NULL
    return d.rows > 0 and d.columns > 0 and d.samples > 0


cdef inline bint has_shape(latents_door *d, cnp.ndarray x, bint sampled) noexcept:
    cdef int i
    if cnp.PyArray_NDIM(x) != d.ndim + sampled or (sampled and cnp.PyArray_DIM(x, 0) != d.samples):
        return False
    for i in range(d.ndim):
        if cnp.PyArray_DIM(x, i + sampled) != d.shape[i]:
            return False
    return True


cdef bint enter_like(latents_door *d, int a, object x, bint sampled) noexcept:
    """x with the shape of the latents, or of their samples"""
    if not regular(x, d.typenum) or not has_shape(d, <cnp.ndarray>x, sampled):
        return False
    lay(d, a, cnp.PyArray_BYTES(<cnp.ndarray>x), sampled, True, True)
    return True


cdef bint enter_scale(latents_door *d, object scale) noexcept:
    """A scale of the latents' shape, of (D,), (..., 1), or a number"""
    cdef cnp.ndarray x
    cdef double number
    cdef int i
    if PyFloat_CheckExact(scale) or type(scale) is (float64 if d.call.is_double else float32):
        number = PyFloat_AsDouble(scale)
        if d.call.is_double:
            d.number.as_double = number
        else:
            d.number.as_float = <float>number
            if d.number.as_float - d.number.as_float != 0 and number - number == 0:
                return False
        lay(d, RAW, <char *>&d.number, False, False, False)
        d.call.summed = 7
        return True
    if enter_like(d, RAW, scale, False):
        d.call.summed = 1
        return True
    if not regular(scale, d.typenum):
        return False
    x = <cnp.ndarray>scale
    if cnp.PyArray_NDIM(x) == 1 and cnp.PyArray_DIM(x, 0) == d.columns:
        lay(d, RAW, cnp.PyArray_BYTES(x), False, False, True)
        d.call.summed = 3
        return True
    if cnp.PyArray_NDIM(x) != d.ndim or cnp.PyArray_DIM(x, d.ndim - 1) != 1:
        return False
    for i in range(d.ndim - 1):
        if cnp.PyArray_DIM(x, i) != d.shape[i]:
            return False
    lay(d, RAW, cnp.PyArray_BYTES(x), False, True, False)
    d.call.summed = 5
    return True


cdef object only_scale(latents_door *d, PyObject **forms):
    """The one scale that is passed, entered; None where there are none or several, or it needs a closer look: as if it is not positive"""
    cdef PyObject *found = NULL
    cdef view *v = &d.call.operand[RAW]
    cdef int i
    for i in range(5):
        if forms[i] != <PyObject *>None:
            if found != NULL:
                return None
            found, d.call.form = forms[i], i
    if found == NULL or not enter_scale(d, <object>found):
        return None
    if d.call.form != LOGVAR and d.call.form != LOGSTD and not latents.positive[d.call.is_double](
        v.data, (d.rows if v.stride[1] else 1) * (d.columns if v.stride[2] else 1)
    ):  # fmt: skip
        return None
    return <object>found


cdef object new_result(latents_door *d, int a, object like):
    """An array for a result, of the shape of another"""
    cdef cnp.ndarray x = cnp.PyArray_SimpleNew(cnp.PyArray_NDIM(<cnp.ndarray>like), cnp.PyArray_DIMS(<cnp.ndarray>like), d.typenum)
    cdef view *v = &d.call.operand[RAW]
    if a == SCALE_OUT:
        lay(d, a, cnp.PyArray_BYTES(x), False, v.stride[1] != 0, v.stride[2] != 0)
    else:
        lay(d, a, cnp.PyArray_BYTES(x), a == ONE_OUT and d.call.what == DRAWN and d.sampled, True, True)
    return x


cdef object draw_noise(latents_door *d, object rng, object n_samples):
    """From the generator, in the latents' shape or with samples before it; None where that needs a closer look"""
    cdef list shape = []
    cdef int i
    if type(rng) is not generator:
        return None
    if n_samples is not None:
        if type(n_samples) is not int or n_samples < 1:
            return None
        shape.append(n_samples)
        d.sampled, d.samples = True, n_samples
        d.call.shape[0] = d.samples
    for i in range(d.ndim):
        shape.append(d.shape[i])
    return rng.standard_normal(tuple(shape), float64 if d.call.is_double else float32)


cdef object generator = np.random.Generator


cdef object draw_samples(tuple with_it, PyObject **args, Py_ssize_t count):
    """mean, five forms of the scale, eps, rng, n_samples, out; None: the rules must see to it"""
    cdef latents_door d
    cdef object mean = <object>args[0], eps = <object>args[6], rng = <object>args[7], n_samples = <object>args[8], z
    if count != 10 or <object>args[9] is not None or (eps is None) == (rng is None) or not open_latents(&d, mean, False):
        return None
    if only_scale(&d, args + 1) is None:
        return None
    d.call.what = DRAWN
    if eps is None:
        eps = draw_noise(&d, rng, n_samples)
        if eps is None:
            return None
    elif n_samples is not None or not cnp.PyArray_CheckExact(eps):
        return None
    elif cnp.PyArray_NDIM(<cnp.ndarray>eps) == d.ndim + 1:
        d.sampled, d.samples = True, cnp.PyArray_DIM(<cnp.ndarray>eps, 0)
        d.call.shape[0] = d.samples
        if d.samples < 1:
            return None
    if not enter_like(&d, NOISE, eps, d.sampled):
        return None
    lay(&d, CENTER, cnp.PyArray_BYTES(<cnp.ndarray>mean), False, True, True)
    z = new_result(&d, ONE_OUT, eps)
    execute_latents(&d.call, with_it[1])
    return new(with_it[0], (z, eps))


cdef object way_back(tuple with_it, PyObject **args, Py_ssize_t count):
    """grad_z, eps, five forms of the scale, mean_shape, out; None: the rules must see to it"""
    cdef latents_door d
    cdef object grad_z = <object>args[0], scale, d_mean, d_scale
    cdef cnp.ndarray x
    cdef bint sampled
    cdef int i
    if count != 9 or <object>args[8] is not None or not cnp.PyArray_CheckExact(grad_z):
        return None
    sampled = False
    if <object>args[7] is not None:
        if type(<object>args[7]) is not tuple:
            return None
        sampled = cnp.PyArray_NDIM(<cnp.ndarray>grad_z) == len(<tuple>args[7]) + 1
    else:
        for i in range(2, 7):  # it is the scale's shape, then
            if args[i] != <PyObject *>None:
                if not cnp.PyArray_CheckExact(<object>args[i]) or cnp.PyArray_NDIM(<cnp.ndarray>args[i]) < 2:
                    return None
                sampled = cnp.PyArray_NDIM(<cnp.ndarray>grad_z) == cnp.PyArray_NDIM(<cnp.ndarray>args[i]) + 1
    if not open_latents(&d, grad_z, sampled) or not enter_like(&d, NOISE, <object>args[1], sampled):
        return None
    scale = only_scale(&d, args + 2)
    if scale is None:
        return None
    if <object>args[7] is None:
        if d.call.summed != 1:
            return None
    elif not is_shape(&d, <tuple>args[7]):
        return None
    lay(&d, CENTER, cnp.PyArray_BYTES(<cnp.ndarray>grad_z), sampled, True, True)
    d.call.what = GRADIENTS
    d_mean = cnp.PyArray_SimpleNew(d.ndim, d.shape, d.typenum)
    if not cnp.PyArray_CheckExact(scale):
        return None
    d_scale = new_result(&d, SCALE_OUT, scale)
    if d.call.summed != 1:
        execute_latents(&d.call, with_it[1])
        open_latents(&d, grad_z, sampled)
        lay(&d, CENTER, cnp.PyArray_BYTES(<cnp.ndarray>grad_z), sampled, True, True)
        d.call.summed = 1
    lay(&d, ONE_OUT, cnp.PyArray_BYTES(<cnp.ndarray>d_mean), False, True, True)
    execute_latents(&d.call, with_it[1])
    return new(with_it[0], (d_mean, d_scale))


cdef bint is_shape(latents_door *d, tuple shape) except -1:
    """That of the latents, as plain ints"""
    cdef int i
    if len(shape) != d.ndim:
        return False
    for i in range(d.ndim):
        if type(shape[i]) is not int or shape[i] != d.shape[i]:
            return False
    return True


cdef PyMethodDef samples_definition = [b"draw_samples", <PyCFunction><void *>draw_samples, METH_FASTCALL, NULL]
cdef PyMethodDef back_definition = [b"way_back", <PyCFunction><void *>way_back, METH_FASTCALL, NULL]


def samples_door(result, num_threads):
    """The fast door of `reparameterize`: a callable of all its arguments in order, None where the rules must see to them."""
    return PyCFunction_NewEx(&samples_definition, (result, num_threads), NULL)


def way_back_door(result, num_threads):
    """The same of `reparameterize_grad`."""
    return PyCFunction_NewEx(&back_definition, (result, num_threads), NULL)
