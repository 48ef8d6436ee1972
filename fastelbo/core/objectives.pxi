"""A fast way to the importance-weighted bound, for plain arrays of one dtype."""


def bound(log_w, axis, result, num_threads, /):
    """The importance-weighted bound along one axis, as a `result`; None: the rules must see to it."""
    cdef sampling s
    cdef cnp.npy_intp shape[64]
    cdef cnp.npy_intp *whole
    cdef cnp.ndarray x, weights
    cdef int i, k, typenum, ndim, along
    cdef ptrdiff_t step
    if type(axis) is not int or not cnp.PyArray_CheckExact(log_w):
        return None
    x = <cnp.ndarray>log_w
    typenum, ndim, whole = cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x)
    if typenum != cnp.NPY_FLOAT32 and typenum != cnp.NPY_FLOAT64 or not regular(x, typenum):
        return None
    if not -ndim <= axis < ndim or cnp.PyArray_SIZE(x) == 0:
        return None
    along = axis + ndim if axis < 0 else axis
    for i in range(ndim - 1):
        shape[i] = whole[i + (i >= along)]
    value = new_array(ndim - 1, shape, typenum)
    ess = new_array(ndim - 1, shape, typenum)
    weights = new_array(ndim, whole, typenum)
    s.what, s.form, s.is_double, s.summed, s.aliased, s.dims = BOUND, STD, typenum == cnp.NPY_FLOAT64, <uint64_t>1 << along, False, ndim
    s.operand[RAW].data = NULL
    look_plain(&s.operand[CENTER], x)
    look_plain(&s.operand[ONE_OUT], weights)
    look_plain(&s.operand[NOISE], <cnp.ndarray>value)
    look_plain(&s.operand[SCALE_OUT], <cnp.ndarray>ess)
    for k in (NOISE, SCALE_OUT):
        step = 8 if s.is_double else 4
        for i in range(ndim - 1, -1, -1):
            s.operand[k].stride[i] = 0 if i == along else step
            step *= 1 if i == along else whole[i]
    for i in range(ndim):
        s.shape[i] = whole[i]
    execute_latents(&s, num_threads)
    return new(result, (as_returned(<cnp.ndarray>value), weights, as_returned(<cnp.ndarray>ess)))


# --- free bits --------------------------------------------------------------------------------------------------------


cdef bint weigh(const double *weight, const char *there, ptrdiff_t n, double rows, double *by, double *share, double *total) noexcept:
    """The weights of a mean over rows, in units of a power of two near the largest, so that nothing over- or underflows that the mean does
    not; their sum, in an order of its own; and what each row is multiplied by in that mean, times `rows`. NaN is that of rows that are
    not there. NULL: all are 1; all are there. False where they have no sum to divide by."""
    cdef double hi[8]
    cdef double lo[8]
    cdef double x, sum, part, largest = 0, down
    cdef ptrdiff_t i
    cdef int l, unit = 0
    for i in range(n):
        x = 1.0 if weight == NULL else weight[i]
        by[i] = NAN if there != NULL and not there[i] else x
        if by[i] == x and fabs(x) > largest:
            largest = fabs(x)
        elif by[i] != by[i] and (there == NULL or there[i]):
            return False
    if not 0 < largest < INFINITY:
        return False
    frexp(largest, &unit)
    for l in range(8):
        hi[l] = lo[l] = 0
    for i in range(n):
        if by[i] != by[i]:
            continue
        down = ldexp(by[i], -unit)
        by[i] = down if down != 0 or by[i] == 0 else copysign(5e-324, by[i])
        l = i & 7
        sum = hi[l] + by[i]
        part = sum - hi[l]
        lo[l] += (hi[l] - (sum - part)) + (by[i] - part)
        hi[l] = sum
    for l in range(1, 8):
        sum = hi[0] + hi[l]
        part = sum - hi[0]
        lo[0] += ((hi[0] - (sum - part)) + (hi[l] - part)) + lo[l]
        hi[0] = sum
    total[0] = hi[0] + lo[0]
    for i in range(n):
        share[i] = by[i] * (rows / total[0])
    return total[0] != 0


cdef object factors_of_rows(cnp.ndarray factor, const double *share, int ndim, cnp.npy_intp *sizes, ptrdiff_t n):
    """The factors times the shares of rows, which have size 1 along the dimensions; None where one of these leaves the range of the type"""
    cdef int typenum = cnp.PyArray_TYPE(factor)
    cdef cnp.ndarray of_rows = cnp.PyArray_SimpleNew(ndim, sizes, typenum)
    cdef void *data = cnp.PyArray_DATA(of_rows)
    cdef double x
    cdef ptrdiff_t i
    for i in range(n):
        x = 0.0 if share[i] != share[i] else share[i]
        if typenum == cnp.NPY_FLOAT64:
            (<double *>data)[i] = x
        else:
            (<float *>data)[i] = <float>x
            x = <double>(<float *>data)[i]
        if x - x != 0:
            return None
    return np.multiply(factor, of_rows)


cdef object floor_bits(sampling *s, int typenum, bint of_rows, bint first, uint64_t dims, const double *weight, const char *there, object num_threads):
    """Value and factor of KLs that are in place, in their own shape, by the weights of all rows in C order; None where some sum is infinite or
    NaN, or the weights have none. dims: bit i is set where axis i is one of the dimensions"""
    cdef cnp.npy_intp shape[64]
    cdef cnp.npy_intp sizes[64]
    cdef ptrdiff_t n = 1, step = 8
    cdef double total
    cdef int i
    cdef bint weighted = weight != NULL or there != NULL
    cdef double *share = NULL
    cdef object factor, value
    for i in range(s.dims):
        sizes[i] = 1 if dims >> i & 1 else s.shape[i]
        n *= sizes[i]
        shape[i] = 1 if (of_rows if dims >> i & 1 else first) else s.shape[i]
    s.what, s.form, s.aliased, s.floor, s.weighs_terms = FLOORED, STD, False, s.floor, weighted and first
    s.summed = (dims if of_rows else 0) | ((<uint64_t>2 << (s.dims - 1)) - 1 & ~dims if first else 0)
    for i in range(NOISE, N_LATENTS):
        s.operand[i].data = NULL
    total = <double>n
    if weighted:
        share = <double *>PyMem_Malloc(2 * n * sizeof(double))
        if share == NULL:
            raise MemoryError(f"fastelbo: no memory for the {2 * n * sizeof(double):,} bytes that a call works in")
    try:
        if weighted:
            if not weigh(weight, there, n, <double>n, share + n, share, &total):
                return None
            s.operand[NOISE].data, s.operand[NOISE].type = <char *>(share + n if first else share), F64
            for i in range(s.dims - 1, -1, -1):
                s.operand[NOISE].stride[i] = 0 if dims >> i & 1 else step
                step *= sizes[i]
        factor = new_array(s.dims, shape, typenum)
        s.divisor, s.factor = total if first else 1.0, cnp.PyArray_DATA(<cnp.ndarray>factor)
        execute_latents(s, num_threads)
        if s.total - s.total != 0:
            return None
        if weighted and first:
            factor = factors_of_rows(<cnp.ndarray>factor, share, s.dims, sizes, n)
    finally:
        PyMem_Free(share)
    return None if factor is None else (s.total if first else s.total / <double>n, factor)


def run_floor(bint is_double, kl, double floor, bint of_rows, bint first, uint64_t dims, weights, there, num_threads, /):
    """The value and the factor of free bits, of checked KLs, that have elements; None where NumPy has to see to it. dims: bit i is set where axis i
    is one of the dimensions. weights, there: float64 and bool, for all rows in C order, or None."""
    cdef sampling s
    take_views(&s, (kl, None, None, None, None))
    s.is_double, s.floor = is_double, floor
    return floor_bits(
        &s, cnp.NPY_FLOAT64 if is_double else cnp.NPY_FLOAT32, of_rows, first, dims,
        NULL if weights is None else <const double *>cnp.PyArray_DATA(<cnp.ndarray>weights),
        NULL if there is None else <const char *>cnp.PyArray_DATA(<cnp.ndarray>there), num_threads,
    )  # fmt: skip


cdef bint is_of_rows(cnp.ndarray x, cnp.ndarray kl, int along, int size) noexcept:
    """Whether x has the shape of kl, but for `size` axes, 0 or 1 of size 1, in place of one"""
    cdef int i, ndim = cnp.PyArray_NDIM(kl)
    if cnp.PyArray_NDIM(x) != ndim - 1 + size or (size and cnp.PyArray_DIM(x, along) != 1):
        return False
    for i in range(ndim):
        if i != along and cnp.PyArray_DIM(x, i if size or i < along else i - 1) != cnp.PyArray_DIM(kl, i):
            return False
    return True


cdef object enter_bits(tuple with_it, PyObject **args, Py_ssize_t count):
    """kl, min_kl, per, average, axis, weight, where; None: the rules must see to it"""
    cdef sampling s
    cdef cnp.ndarray x
    cdef object kl = <object>args[0], per = <object>args[2], average = <object>args[3], axis = <object>args[4]
    cdef object weight = <object>args[5], where = <object>args[6], found, weights = None
    cdef bint of_rows, first
    cdef int i, typenum, ndim, along = -1
    if count != 7 or not PyFloat_CheckExact(<object>args[1]) or type(per) is not str or type(average) is not str or not cnp.PyArray_CheckExact(kl):
        return None
    x = <cnp.ndarray>kl
    s.floor, typenum, ndim = PyFloat_AsDouble(<object>args[1]), cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x)
    if not 0.0 <= s.floor < INFINITY or (typenum != cnp.NPY_FLOAT32 and typenum != cnp.NPY_FLOAT64) or not cnp.PyArray_ISBEHAVED_RO(x):
        return None
    if axis is not with_it[1]:
        if type(axis) is not int or not -ndim <= axis < ndim:
            return None
        along = axis
    elif ndim < 2:
        return None
    if along < 0:
        along += ndim
    of_rows, first = per == "row", average == "first"
    if not (of_rows or per == "dim") or not (first or average == "last") or cnp.PyArray_SIZE(x) == 0:
        return None
    if weight is not None:
        if not (regular(weight, cnp.NPY_FLOAT32) or regular(weight, cnp.NPY_FLOAT64)) or not is_of_rows(<cnp.ndarray>weight, x, along, 0):
            return None
        weights = weight if cnp.PyArray_TYPE(<cnp.ndarray>weight) == cnp.NPY_FLOAT64 else cnp.PyArray_Cast(<cnp.ndarray>weight, cnp.NPY_FLOAT64)
    if where is not None and not (regular(where, cnp.NPY_BOOL) and is_of_rows(<cnp.ndarray>where, x, along, 1)):
        return None
    s.is_double, s.dims = typenum == cnp.NPY_FLOAT64, ndim
    for i in range(ndim):
        s.shape[i] = cnp.PyArray_DIM(x, i)
    look_plain(&s.operand[CENTER], x)
    found = floor_bits(
        &s, typenum, of_rows, first, <uint64_t>1 << along,
        NULL if weight is None else <const double *>cnp.PyArray_DATA(<cnp.ndarray>weights),
        NULL if where is None else <const char *>cnp.PyArray_DATA(<cnp.ndarray>where), with_it[2],
    )  # fmt: skip
    return None if found is None else new(with_it[0], found)


cdef PyMethodDef bits_definition = [b"free_bits", <PyCFunction><void *>enter_bits, METH_FASTCALL, NULL]


def bits_door(result, default_axis, num_threads):
    """The fast door of `free_bits`: a callable of all its arguments in order, None where the rules must see to them."""
    return PyCFunction_NewEx(&bits_definition, (result, default_axis, num_threads), NULL)


cdef void look_plain(view *v, cnp.ndarray x) noexcept:
    """A plain array of float32 or float64"""
    cdef int i
    v.data, v.type = cnp.PyArray_BYTES(x), F64 if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64 else F32
    for i in range(cnp.PyArray_NDIM(x)):
        v.stride[i] = cnp.PyArray_STRIDE(x, i)
