"""The door of the optimal variance, and of the NLL there: arrays of one shape, or one of which lacks leading axes, with all options. It
returns None where the rules must see to it, or where some event's digits are not sure, before it writes anything."""

DEF LEAST_MEAN_SQUARE = 9.332636185032189e-302  # 2^-1000: below it a square may have been subnormal, see _squares.py
DEF MOST_EVENTS = 1 << 15  # of a call through the door, of which something is kept at once

cdef double HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
cdef tuple OPTIMAL_FIELDS = ("value", "x", "mean")


cdef struct optimal_door:
    optimal call
    int typenum                   # of results
    int ndim                      # of the common shape
    cnp.npy_intp *shape
    int axis[MOST_KEPT_DIMS]      # of the common shape: rows, then events
    ptrdiff_t elements, count     # of all events, of one
    cnp.npy_intp rows[MOST_KEPT_DIMS]


cdef inline int type_of(cnp.ndarray x) noexcept:
    """Of at most 32-bit integers or floats; -1 for others"""
    cdef int typenum = cnp.PyArray_TYPE(x), found
    if typenum == cnp.NPY_FLOAT:
        found = F32
    elif typenum == cnp.NPY_DOUBLE:
        found = F64
    elif typenum == cnp.NPY_UBYTE:
        found = U8
    elif typenum == NPY_HALF:
        found = F16
    elif typenum == cnp.NPY_BYTE:
        found = I8
    elif typenum == cnp.NPY_USHORT:
        found = U16
    elif typenum == cnp.NPY_SHORT:
        found = I16
    elif typenum == cnp.NPY_UINT:
        found = U32
    elif typenum == cnp.NPY_INT:
        found = I32
    else:
        return -1
    return found + SWAPPED if cnp.PyArray_ISBYTESWAPPED(x) else found


cdef int computing_type(int x, int mean) noexcept:
    """NumPy's promotion: float32 or float64"""
    cdef int a = x % SWAPPED, b = mean % SWAPPED
    cdef bint floats = a == F32 or b == F32 or a == F16 or b == F16
    if not floats or a == F64 or b == F64 or a == U32 or b == U32 or a == I32 or b == I32:
        return cnp.NPY_DOUBLE
    return cnp.NPY_FLOAT


cdef bint place_optimal(optimal_door *d, int a, cnp.ndarray x, int type) noexcept:
    """An argument that broadcasts to the common shape, or not"""
    cdef int i, k, ndim = cnp.PyArray_NDIM(x), lacking = d.ndim - ndim
    cdef view *v = &d.call.argument[a]
    if lacking < 0:
        return False
    v.data, v.type = cnp.PyArray_BYTES(x), type
    for i in range(d.ndim):
        k = d.axis[i] - lacking
        v.stride[i] = 0
        if k < 0 or cnp.PyArray_DIM(x, k) != d.call.shape[i]:
            if k >= 0 and cnp.PyArray_DIM(x, k) != 1:
                return False
        elif d.call.shape[i] != 1:
            v.stride[i] = cnp.PyArray_STRIDE(x, k)
    return True


cdef bint place_weight(optimal_door *d, cnp.ndarray x) noexcept:
    """As many axes as the data, or the shape of the rows"""
    cdef int i, type = type_of(x), n = d.call.row_dims
    cdef view *v = &d.call.argument[OF_WEIGHT]
    if (type % SWAPPED != F32 and type % SWAPPED != F64) or cnp.PyArray_NDIM(x) == 0:  # a number takes the computing type
        return False
    if cnp.PyArray_NDIM(x) == d.ndim:
        d.call.row_weight = True
        for i in range(n, d.ndim):
            if d.call.shape[i] != 1 and cnp.PyArray_DIM(x, d.axis[i]) != 1:
                d.call.row_weight = False
        return place_optimal(d, OF_WEIGHT, x, type)
    if cnp.PyArray_NDIM(x) != n:
        return False
    d.call.row_weight = True
    v.data, v.type = cnp.PyArray_BYTES(x), type
    for i in range(d.ndim):
        v.stride[i] = 0
        if i < n:
            if cnp.PyArray_DIM(x, i) != d.call.shape[i]:
                return False
            v.stride[i] = cnp.PyArray_STRIDE(x, i)
    return True


cdef bint choose_events(optimal_door *d, object axis) noexcept:
    """Rows, then events, of the common shape"""
    cdef uint64_t events = 0
    cdef long k
    cdef int i, n = 0
    if axis is None:
        events = (<uint64_t>1 << d.ndim) - 1
    elif type(axis) is int:
        if not -d.ndim <= axis < d.ndim:
            return False
        k = axis
        events = <uint64_t>1 << (k + d.ndim if k < 0 else k)
    elif type(axis) is tuple:
        for each in <tuple>axis:
            if type(each) is not int or not -d.ndim <= each < d.ndim:
                return False
            k = each
            k += d.ndim if k < 0 else 0
            if events >> k & 1:
                return False
            events |= <uint64_t>1 << k
    else:
        return False
    for i in range(d.ndim):
        if not events >> i & 1:
            d.axis[n], d.rows[n] = i, d.shape[i]
            n += 1
    d.call.row_dims = n
    for i in range(d.ndim):
        if events >> i & 1:
            d.axis[n] = i
            n += 1
    return True


cdef bint open_optimal(optimal_door *d, object x, object mean, object axis, object x_scale, object weight, object where) noexcept:
    cdef cnp.ndarray a, b
    cdef optimal *o = &d.call
    cdef double factor
    cdef int i, of_x, of_mean
    if not cnp.PyArray_CheckExact(x) or not cnp.PyArray_CheckExact(mean) or not PyFloat_CheckExact(x_scale):
        return False
    a, b = <cnp.ndarray>x, <cnp.ndarray>mean
    of_x, of_mean = type_of(a), type_of(b)
    if of_x < 0 or of_mean < 0 or cnp.PyArray_NDIM(a) == 0 or cnp.PyArray_NDIM(b) == 0:
        return False
    if cnp.PyArray_NDIM(a) >= cnp.PyArray_NDIM(b):
        d.ndim, d.shape = cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a)
    else:
        d.ndim, d.shape = cnp.PyArray_NDIM(b), cnp.PyArray_DIMS(b)
    if d.ndim > MOST_KEPT_DIMS or not choose_events(d, axis):
        return False
    if cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b) and axis is not None and (type(axis) is not int or axis >= 0):
        return False
    for i in range(min(cnp.PyArray_NDIM(a), cnp.PyArray_NDIM(b))):  # sizes of 1 are not stretched
        if cnp.PyArray_DIM(a, cnp.PyArray_NDIM(a) - 1 - i) != cnp.PyArray_DIM(b, cnp.PyArray_NDIM(b) - 1 - i):
            return False
    d.typenum = computing_type(of_x, of_mean)
    o.is_double, o.dims = d.typenum == cnp.NPY_DOUBLE, d.ndim
    d.elements = d.count = 1
    for i in range(d.ndim):
        o.shape[i] = d.shape[d.axis[i]]
        d.elements *= o.shape[i]
        d.count *= o.shape[i] if i >= o.row_dims else 1
    if d.elements == 0 or d.elements // d.count > MOST_EVENTS:
        return False
    factor = PyFloat_AsDouble(x_scale)
    o.x_scale = factor if o.is_double else <double><float>factor
    if o.x_scale - o.x_scale != 0 or o.x_scale == 0:
        return False
    place_optimal(d, OF_X, a, of_x)
    place_optimal(d, OF_MEAN, b, of_mean)
    o.argument[OF_WEIGHT].data = o.argument[OF_WHERE].data = o.gradient[0].data = o.gradient[1].data = NULL
    o.row_weight = o.aliased = False
    o.exponent = NULL
    o.divisor = 1.0
    if weight is not None and (not cnp.PyArray_CheckExact(weight) or not place_weight(d, <cnp.ndarray>weight)):
        return False
    if where is None:
        return True
    return (cnp.PyArray_CheckExact(where) and cnp.PyArray_TYPE(<cnp.ndarray>where) == cnp.NPY_BOOL
            and place_optimal(d, OF_WHERE, <cnp.ndarray>where, BOOL))


cdef bint sums_are_sure(optimal_door *d, double *squares) noexcept nogil:
    """Make mean squares of the sums, 1 of an event of which nothing counts; False where some digits might be missing, or something is no number"""
    cdef optimal *o = &d.call
    cdef ptrdiff_t i
    cdef double half, total, mean_square
    for i in range(o.rows):
        half, total = 0.5 * squares[i], o.total[i]
        if o.odd[i]:
            return False
        if half == 0 and total == 0:
            squares[i] = 1.0
            continue
        mean_square = squares[i] / total
        if not (half >= LEAST_MEAN_SQUARE * (d.count + total) and LEAST_MEAN_SQUARE <= mean_square < INFINITY):
            return False
        squares[i] = mean_square
    return True


cdef void make_rows(optimal_door *d, double *row, double *variance, double floor, bint full) noexcept nogil:
    """NLL at the mean squares in `variance`, which are floored: the additions of _objectives.py, in its order"""
    cdef optimal *o = &d.call
    cdef ptrdiff_t i
    cdef double ratio, constant = 2 * HALF_LOG_2PI if full else 0.0
    for i in range(o.rows):
        row[i] = 1.0
        if variance[i] < floor:
            row[i], variance[i] = variance[i] / floor, floor
    kernels.function[1](1, variance, o.squares, o.rows)
    for i in range(o.rows):
        row[i] = (o.squares[i] + constant + row[i]) * 0.5 * o.total[i]
        if o.total[i] == 0:
            row[i] = 0.0


cdef double fold_rows(double *x, ptrdiff_t n) noexcept nogil:
    """Their sum by halves, as _blocks.fold has it; x is overwritten"""
    cdef ptrdiff_t i, half
    while n > 1:
        half = (n + 1) // 2
        for i in range(n - half):
            x[i] += x[half + i]
        n = half
    return x[0]


cdef object rows_array(optimal_door *d, const double *row, object given):
    """In the computing type"""
    cdef cnp.ndarray array
    cdef double *as_double
    cdef float *as_float
    cdef ptrdiff_t i
    array = new_array(d.call.row_dims, d.rows, d.typenum) if given is None else <cnp.ndarray>given
    if d.call.is_double:
        as_double = <double *>cnp.PyArray_DATA(array)
        for i in range(d.call.rows):
            as_double[i] = row[i]
    else:
        as_float = <float *>cnp.PyArray_DATA(array)
        for i in range(d.call.rows):
            as_float[i] = <float>row[i]
    return as_returned(array) if given is None else given


cdef bint is_free_output(optimal_door *d, object given, int ndim, const cnp.npy_intp *shape, bint in_rows, tuple arguments, tuple out) noexcept:
    """Whether an output can be written: of this shape, and apart from all else"""
    cdef stretch own, other
    cdef cnp.ndarray array
    cdef int i
    if not cnp.PyArray_CheckExact(given):
        return False
    array = <cnp.ndarray>given
    if cnp.PyArray_TYPE(array) != d.typenum or cnp.PyArray_NDIM(array) != ndim or not cnp.PyArray_ISWRITEABLE(array):
        return False
    if not cnp.PyArray_ISALIGNED(array) or cnp.PyArray_ISBYTESWAPPED(array):
        return False
    if not cnp.PyArray_IS_C_CONTIGUOUS(array) and (in_rows or not cnp.PyArray_IS_F_CONTIGUOUS(array)):
        return False
    for i in range(ndim):
        if cnp.PyArray_DIM(array, i) != shape[i]:
            return False
    own = stretch_of(array)
    for each in arguments + out:
        if each is None or each is given:
            continue
        other = stretch_of(<cnp.ndarray>each)
        if own.begin < other.end and other.begin < own.end:
            return False
    for each in arguments:
        if each is given:
            return False
    i = 0
    for each in out:
        i += each is given
    return i == 1


cdef bint are_free(optimal_door *d, tuple out, tuple operands, int bits, bint reduced, tuple arguments) noexcept:
    """The outputs that are given"""
    cdef int k
    for each in out:
        if each is not None and not cnp.PyArray_CheckExact(each):
            return False
    if out[0] is not None and (reduced or not is_free_output(d, out[0], d.call.row_dims, d.rows, True, arguments, out)):
        return False
    for k in range(2):
        if out[k + 1] is not None and (not bits >> (k + 1) & 1 or not is_free_output(d, out[k + 1], d.ndim, d.shape, False, arguments, out)):
            return False
    return True


cdef bint place_gradients(optimal_door *d, int bits, tuple operands, tuple out, list found):
    """False where one is summed"""
    cdef cnp.ndarray array
    cdef int i, k
    for k in range(2):
        if not bits >> (k + 1) & 1:
            continue
        if cnp.PyArray_NDIM(<cnp.ndarray>operands[k]) != d.ndim:
            return False
        array = <cnp.ndarray>(new_like(operands[k], d.typenum) if out is None or out[k + 1] is None else out[k + 1])
        found[k + 1] = array
        d.call.gradient[k].data, d.call.gradient[k].type = cnp.PyArray_BYTES(array), F64 if d.call.is_double else F32
        for i in range(d.ndim):
            d.call.gradient[k].stride[i] = cnp.PyArray_STRIDE(array, d.axis[i])
    return True


def optimal_var(x, mean, axis, x_scale, weight, where, num_threads, /):
    """The mean squares of the events; None: the rules must see to it."""
    cdef optimal_door *d = <optimal_door *>PyMem_Malloc(sizeof(optimal_door))
    if d == NULL:
        raise MemoryError()
    try:
        if not open_optimal(d, x, mean, axis, x_scale, weight, where):
            return None
        return var_through(d, num_threads)
    finally:
        PyMem_Free(d)


cdef object var_through(optimal_door *d, object num_threads):
    cdef ptrdiff_t n = d.elements // d.count, i
    cdef char *block = <char *>PyMem_Malloc(n * (2 * sizeof(double) + 1))
    cdef optimal *o = &d.call
    if block == NULL:
        raise MemoryError()
    try:
        o.squares = <double *>block
        o.total, o.odd = o.squares + n, <unsigned char *>(o.squares + 2 * n)
        execute_optimal(o, False, num_threads)
        if not sums_are_sure(d, o.squares):
            return None
        for i in range(n):
            if o.total[i] == 0:
                o.squares[i] = NAN
        return rows_array(d, o.squares, None)
    finally:
        PyMem_Free(block)


def optimal_nll(x, mean, x_scale, axis, full, weight, where, min_var, reduction, wrt, out, result, num_threads, /):
    """The NLL there; with `result`, a named tuple, its gradients too. None: the rules must see to it."""
    cdef optimal_door *d
    cdef int how = reduction_of(reduction), bits = 0
    if how < 0 or (full is not True and full is not False) or not PyFloat_CheckExact(min_var) or not 0.0 <= PyFloat_AsDouble(min_var) < INFINITY:
        return None
    if result is not None:
        bits = wanted(wrt, OPTIMAL_FIELDS, 1)
        if bits == 0 or (out is not None and (not isinstance(out, tuple) or len(<tuple>out) != 3)):
            return None
    d = <optimal_door *>PyMem_Malloc(sizeof(optimal_door))
    if d == NULL:
        raise MemoryError()
    try:
        if not open_optimal(d, x, mean, axis, x_scale, weight, where):
            return None
        if out is not None and type(out) is not tuple:
            out = tuple(out)
        if out is not None and not are_free(d, out, (x, mean), bits, how != NONE, (x, mean, weight, where)):
            return None
        return nll_through(d, full is True, PyFloat_AsDouble(min_var), how, bits, (x, mean), out, result, num_threads)
    finally:
        PyMem_Free(d)


cdef object nll_through(optimal_door *d, bint full, double floor, int how, int bits, tuple operands, tuple out, object result, object num_threads):
    cdef ptrdiff_t n = d.elements // d.count, i
    cdef char *block = <char *>PyMem_Malloc(n * (4 * sizeof(double) + 1))
    cdef double *variance
    cdef double *row
    cdef optimal *o = &d.call
    cdef list found = [None, None, None]
    if block == NULL:
        raise MemoryError()
    try:
        o.squares = <double *>block
        o.total, variance, row, o.odd = o.squares + n, o.squares + 2 * n, o.squares + 3 * n, <unsigned char *>(o.squares + 4 * n)
        execute_optimal(o, False, num_threads)
        if not sums_are_sure(d, o.squares):
            return None
        memcpy(variance, o.squares, n * sizeof(double))
        make_rows(d, row, variance, floor, full)
        if bits and not place_gradients(d, bits, operands, out, found):
            return None
        if how == NONE:
            found[0] = rows_array(d, row, None if out is None else out[0])
        else:
            found[0] = fold_rows(row, n)
            if how == MEAN:
                found[0], o.divisor = found[0] / <double>n, <double>n
        if result is None:
            return found[0]
        o.variance, o.factor = variance, o.squares
        execute_optimal(o, True, num_threads)
        return new(result, found)
    finally:
        PyMem_Free(block)
