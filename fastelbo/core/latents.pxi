"""Samples and the way back from them: a fast door each, and the one call behind the rules."""

cdef extern from "src/latents/latents.h" nogil:
    enum:
        CENTER, NOISE, RAW, ONE_OUT, SCALE_OUT, N_LATENTS
        DRAWN, GRADIENTS, BOUND, FLOORED
    ctypedef struct latents_sum:
        pass
    ctypedef struct sampling:
        int what, form, is_double, aliased, dims
        ptrdiff_t shape[64]
        uint64_t summed
        view operand[5]
        double floor, divisor, total
        int weighs_terms
        void *factor
        ptrdiff_t parts
        latents_sum *waiting
        latents_sum one
    void fe_sampling_arrange(sampling *)
    ptrdiff_t fe_sampling_tasks(const sampling *)
    size_t fe_sampling_bytes(const sampling *)
    ctypedef struct latents_set:
        size_t work[2]
        void (*run[2])(const sampling *, ptrdiff_t, void *) noexcept nogil
        void (*finish[2])(sampling *, void *) noexcept nogil
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


cdef void carry_out_latents(sampling *s, void *block, int threads) noexcept nogil:
    cdef latents_job j
    cdef ptrdiff_t task, tasks = fe_sampling_tasks(s)
    j.call = s
    j.work = <char *>((<uintptr_t>block + sizeof(size_t) + WORK_ALIGNMENT - 1) & ~<uintptr_t>(WORK_ALIGNMENT - 1))
    if threads > 1:
        openmp.each(carry_out_latents_task, &j, tasks, threads)
    else:  # without any call into OpenMP
        for task in range(tasks):
            latents.run[s.is_double](s, task, j.work)
    latents.finish[s.is_double](s, j.work)


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
    s.waiting = &s.one
    if bytes > sizeof(latents_sum):
        s.waiting = <latents_sum *>PyMem_Malloc(bytes)
        if s.waiting == NULL:
            give_work(block, threads)
            raise MemoryError(f"fastelbo: no memory for the {bytes:,} bytes that a call works in")
    if elements < ALONE_BELOW:
        carry_out_latents(s, block, threads)
    else:
        with nogil:
            carry_out_latents(s, block, threads)
    if s.waiting != &s.one:
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
    bint turned       # all arrays are in Fortran order: a row of all elements, as memory has them


cdef void lay(latents_door *d, int a, char *data, bint by_sample, bint by_row, bint by_column) noexcept:
    """A contiguous array that has its own elements for each sample, row, column, or not"""
    cdef ptrdiff_t item = 8 if d.call.is_double else 4
    cdef view *v = &d.call.operand[a]
    v.data, v.type = data, F64 if d.call.is_double else F32
    v.stride[2] = item if by_column else 0
    v.stride[1] = 0 if not by_row else item * d.columns if by_column else item
    v.stride[0] = item * d.columns * d.rows if by_sample else 0


cdef inline bint lies_so(latents_door *d, object x) noexcept:
    """A plain aligned, native array of the type, in C order, or in Fortran order where all are"""
    if not d.turned:
        return regular(x, d.typenum)
    return cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == d.typenum and cnp.PyArray_ISFARRAY_RO(<cnp.ndarray>x)


cdef bint open_latents(latents_door *d, object x, bint sampled) noexcept:
    """x gives dtype and shape, but for a leading axis of samples if it is `sampled`"""
    cdef int i
    if not cnp.PyArray_CheckExact(x):
        return False
    d.typenum = cnp.PyArray_TYPE(<cnp.ndarray>x)
    d.turned = not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x) and not sampled
    if (d.typenum != cnp.NPY_FLOAT32 and d.typenum != cnp.NPY_FLOAT64) or not lies_so(d, x):
        return False
    d.ndim, d.shape = cnp.PyArray_NDIM(<cnp.ndarray>x) - sampled, cnp.PyArray_DIMS(<cnp.ndarray>x) + sampled
    if d.ndim < 1:
        return False
    d.sampled, d.samples = sampled, cnp.PyArray_DIM(<cnp.ndarray>x, 0) if sampled else 1
    d.rows, d.columns = 1, d.shape[d.ndim - 1]
    for i in range(d.ndim - 1):
        d.rows *= d.shape[i]
    if d.turned:
        d.rows, d.columns = 1, d.rows * d.columns
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
    if not lies_so(d, x) or not has_shape(d, <cnp.ndarray>x, sampled):
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
    if d.turned or not regular(scale, d.typenum):
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


cdef inline bint may_be_written(latents_door *d, object x, bint sampled) noexcept:
    return lies_so(d, x) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>x) and has_shape(d, <cnp.ndarray>x, sampled)


cdef object new_like_latents(latents_door *d, bint sampled):
    cdef cnp.npy_intp shape[64]
    cdef int i
    if not sampled:
        return new_array(d.ndim, d.shape, d.typenum, d.turned)
    shape[0] = d.samples
    for i in range(d.ndim):
        shape[i + 1] = d.shape[i]
    return new_array(d.ndim + 1, shape, d.typenum, d.turned)


cdef object scale_like(latents_door *d, object scale, object given):
    """An array for the scale's gradient, or the one given; None if that needs a closer look"""
    cdef cnp.npy_intp none = 0
    cdef view *v = &d.call.operand[RAW]
    cdef object x = given
    if not cnp.PyArray_CheckExact(scale):
        if given is not None:
            return None
        x = cnp.PyArray_SimpleNew(0, &none, d.typenum)
    elif given is None:
        x = new_array(cnp.PyArray_NDIM(<cnp.ndarray>scale), cnp.PyArray_DIMS(<cnp.ndarray>scale), d.typenum, d.turned)
    elif not lies_so(d, given) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>given) or not cnp.PyArray_SAMESHAPE(<cnp.ndarray>given, <cnp.ndarray>scale):
        return None
    lay(d, SCALE_OUT, cnp.PyArray_BYTES(<cnp.ndarray>x), False, v.stride[1] != 0, v.stride[2] != 0)
    return x


cdef bint is_free(latents_door *d, object out, tuple others, bint may_be_one) noexcept:
    """Whether an array is apart from all others; or exactly one of them, of as many bytes, where it may be. What is no array is apart."""
    cdef uintptr_t begin = <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>out), other
    cdef uintptr_t end = begin + cnp.PyArray_NBYTES(<cnp.ndarray>out), other_end
    for each in others:
        if not cnp.PyArray_CheckExact(each):
            continue
        other = <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>each)
        other_end = other + cnp.PyArray_NBYTES(<cnp.ndarray>each)
        if begin >= other_end or other >= end:
            continue
        if not may_be_one or begin != other or end != other_end:
            return False
        d.call.aliased = True
    return True


cdef inline bint splits(object out, object result, PyObject **first, PyObject **second) noexcept:
    """The two members of an `out`, which may be the result of an earlier call; False where it needs a closer look"""
    first[0] = second[0] = <PyObject *>None
    if out is None:
        return True
    if (type(out) is not tuple and type(out) is not result) or len(<tuple>out) != 2:
        return False
    first[0], second[0] = <PyObject *>(<tuple>out)[0], <PyObject *>(<tuple>out)[1]
    return True


cdef object draw_noise(latents_door *d, object rng, object n_samples, object inputs, object z, object place):
    """From the generator, in the latents' shape or with samples before it, to a new array or the one given. None where that, or `z`, the
    array for the samples, needs a closer look: then nothing was drawn"""
    cdef list shape = []
    cdef int i
    if type(rng) is not generator or d.turned:
        return None
    if n_samples is not None:
        if type(n_samples) is not int or n_samples < 1:
            return None
        shape.append(n_samples)
        d.sampled, d.samples = True, n_samples
        d.call.shape[0] = d.samples
    if z is not None and not (may_be_written(d, z, d.sampled) and is_free(d, z, (place,), False) and is_free(d, z, inputs, True)):
        return None
    if place is not None:
        if not may_be_written(d, place, d.sampled) or not is_free(d, place, inputs, False):
            return None
        return rng.standard_normal(None, float64 if d.call.is_double else float32, place)
    for i in range(d.ndim):
        shape.append(d.shape[i])
    return rng.standard_normal(tuple(shape), float64 if d.call.is_double else float32)


cdef object generator = np.random.Generator


cdef object draw_samples(tuple with_it, PyObject **args, Py_ssize_t count):
    """mean, five forms of the scale, eps, rng, n_samples, out; None: the rules must see to it"""
    cdef latents_door d
    cdef PyObject *z_place
    cdef PyObject *eps_place
    cdef object mean = <object>args[0], eps = <object>args[6], rng = <object>args[7], n_samples = <object>args[8], z, scale
    if count != 10 or not splits(<object>args[9], with_it[0], &z_place, &eps_place) or (eps is None) == (rng is None) or not open_latents(&d, mean, False):
        return None
    scale = only_scale(&d, args + 1)
    if scale is None:
        return None
    d.call.what = DRAWN
    if eps is None:
        eps = draw_noise(&d, rng, n_samples, (mean, scale), <object>z_place, <object>eps_place)
        if eps is None:
            return None
    elif n_samples is not None or not cnp.PyArray_CheckExact(eps) or eps_place != <PyObject *>None:
        return None
    elif cnp.PyArray_NDIM(<cnp.ndarray>eps) == d.ndim + 1:
        d.sampled, d.samples = True, cnp.PyArray_DIM(<cnp.ndarray>eps, 0)
        d.call.shape[0] = d.samples
        if d.samples < 1 or d.turned:
            return None
    if not enter_like(&d, NOISE, eps, d.sampled):
        return None
    lay(&d, CENTER, cnp.PyArray_BYTES(<cnp.ndarray>mean), False, True, True)
    if z_place == <PyObject *>None:
        z = new_like_latents(&d, d.sampled)
    else:
        z = <object>z_place
        if not may_be_written(&d, z, d.sampled) or not is_free(&d, z, (eps,), False) or not is_free(&d, z, (mean, scale), True):
            return None
    lay(&d, ONE_OUT, cnp.PyArray_BYTES(<cnp.ndarray>z), d.sampled, True, True)
    execute_latents(&d.call, with_it[1])
    return new(with_it[0], (z, eps))


cdef object way_back(tuple with_it, PyObject **args, Py_ssize_t count):
    """grad_z, eps, five forms of the scale, mean_shape, out; None: the rules must see to it"""
    cdef latents_door d
    cdef PyObject *mean_place
    cdef PyObject *scale_place
    cdef object grad_z = <object>args[0], eps = <object>args[1], scale, d_mean, d_scale
    cdef bint sampled = False, apart
    cdef int i
    if count != 9 or not splits(<object>args[8], with_it[0], &mean_place, &scale_place) or not cnp.PyArray_CheckExact(grad_z):
        return None
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
    if not open_latents(&d, grad_z, sampled) or not enter_like(&d, NOISE, eps, sampled):
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
    if mean_place == <PyObject *>None:
        d_mean = new_like_latents(&d, False)
    else:
        d_mean = <object>mean_place
        if not may_be_written(&d, d_mean, False):
            return None
    d_scale = scale_like(&d, scale, <object>scale_place)
    if d_scale is None:
        return None
    apart = d.call.summed != 1
    if mean_place != <PyObject *>None and not is_free(&d, d_mean, (grad_z, eps, scale), not sampled and not apart):
        return None
    if scale_place != <PyObject *>None and not is_free(&d, d_scale, (grad_z, eps, scale), not sampled and not apart):
        return None
    if (mean_place != <PyObject *>None or scale_place != <PyObject *>None) and not is_free(&d, d_mean, (d_scale,), False):
        return None
    if apart:
        execute_latents(&d.call, with_it[1])
        open_latents(&d, grad_z, sampled)
        lay(&d, CENTER, cnp.PyArray_BYTES(<cnp.ndarray>grad_z), sampled, True, True)
        d.call.summed = 1
    lay(&d, ONE_OUT, cnp.PyArray_BYTES(<cnp.ndarray>d_mean), False, True, True)
    execute_latents(&d.call, with_it[1])
    return new(with_it[0], (d_mean, as_returned(<cnp.ndarray>d_scale)))


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
