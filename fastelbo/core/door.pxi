"""What a fast door makes of its arguments: plain arrays of one dtype and shape, the last axis summed, are seen through NumPy's C API
as views of rows and columns. All that is different, or wrong, is left to the rules: a function returns False, or None."""


cdef union real:
    double as_double
    float as_float


cdef struct door:
    plan call
    int typenum
    cnp.npy_intp *shape
    int ndim
    ptrdiff_t rows, columns
    ptrdiff_t samples  # of the negative ELBO: arguments may have a leading axis of this size more; else 0
    int sampled        # bit a: argument a has it
    real scalar[4]     # Python floats, as the computing type
    int passed[4]      # among the arguments of the call, by the core's order; -1: not passed


cdef struct entrance:
    door half[2]  # of a negative ELBO the NLL and the KL, of a loss the first alone
    double beta
    char *value   # rows of the ELBO to fill where they are not reduced
    likeness likeness


cdef inline bint regular(object x, int typenum) noexcept:
    """A plain C-contiguous, aligned, native array of the type"""
    return (cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == typenum
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x))


cdef bint open_door(door *d, object x) noexcept:
    """x gives dtype and shape"""
    if not cnp.PyArray_CheckExact(x):
        return False
    d.typenum = cnp.PyArray_TYPE(<cnp.ndarray>x)
    if d.typenum != cnp.NPY_FLOAT32 and d.typenum != cnp.NPY_FLOAT64:
        return False
    d.ndim = cnp.PyArray_NDIM(<cnp.ndarray>x)
    if d.ndim < 1 or not regular(x, d.typenum):
        return False
    d.shape = cnp.PyArray_DIMS(<cnp.ndarray>x)
    d.samples = d.sampled = 0
    d.columns = d.shape[d.ndim - 1]
    d.rows = 1
    cdef int i
    for i in range(d.ndim - 1):
        d.rows *= d.shape[i]
    if d.rows == 0 or d.columns == 0:
        return False
    clear(&d.call)
    d.call.is_double = d.typenum == cnp.NPY_FLOAT64
    d.call.row_dims, d.call.dims = 1, 2
    d.call.shape[0], d.call.shape[1] = d.rows, d.columns
    return True


cdef inline bint same_shape(door *d, int ndim, cnp.npy_intp *shape) noexcept:
    cdef int i
    if ndim != d.ndim:
        return False
    for i in range(d.ndim):
        if shape[i] != d.shape[i]:
            return False
    return True


cdef inline void place(door *d, view *v, char *data, bint by_row, bint by_column) noexcept:
    """Strides of a contiguous array that has its own elements for each row, column, both or neither"""
    cdef ptrdiff_t item = 8 if d.call.is_double else 4
    v.data = data
    v.type = F64 if d.call.is_double else F32
    v.stride[1] = item if by_column else 0
    v.stride[0] = 0 if not by_row else item * d.columns if by_column else item


cdef inline bint hold_number(real *to, bint is_double, double value) noexcept:
    """In the computing type, unless that has nothing but infinity for it"""
    if is_double:
        to.as_double = value
        return True
    to.as_float = <float>value
    return to.as_float - to.as_float == 0 or value - value != 0


cdef inline bint hold(door *d, int argument, double x) noexcept:
    """A number takes the computing type, if that has one for it"""
    if not hold_number(&d.scalar[argument], d.call.is_double, x):
        return False
    place(d, &d.call.argument[argument], <char *>&d.scalar[argument], False, False)
    d.call.broadcast[argument] = 3
    return True


cdef inline bint is_number(door *d, object x) noexcept:
    """A Python float, which is weak, or a NumPy scalar of the computing type"""
    return PyFloat_CheckExact(x) or type(x) is (float64 if d.call.is_double else float32)


cdef bint enter(door *d, int argument, object x, bint may_broadcast) noexcept:
    """x with the shape (..., D) of the data, or as a scale may be: (D,), (..., 1), a number"""
    cdef char *data
    cdef cnp.npy_intp *shape
    cdef int i, ndim
    if is_number(d, x):
        return may_broadcast and hold(d, argument, PyFloat_AsDouble(x))
    if not regular(x, d.typenum):
        return False
    data, shape, ndim = cnp.PyArray_BYTES(<cnp.ndarray>x), cnp.PyArray_DIMS(<cnp.ndarray>x), cnp.PyArray_NDIM(<cnp.ndarray>x)
    if d.samples and ndim == d.ndim + 1:
        if shape[0] != d.samples:
            return False
        d.sampled |= 1 << argument
        shape, ndim = shape + 1, ndim - 1
    if same_shape(d, ndim, shape):
        place(d, &d.call.argument[argument], data, True, True)
        return True
    if not may_broadcast:
        return False
    if ndim == 1 and shape[0] == d.columns:
        place(d, &d.call.argument[argument], data, False, True)
        d.call.broadcast[argument] = 1
        return True
    if ndim != d.ndim or shape[ndim - 1] != 1:
        return False
    for i in range(ndim - 1):
        if shape[i] != d.shape[i]:
            return False
    place(d, &d.call.argument[argument], data, True, False)
    d.call.broadcast[argument] = 2
    return True


cdef inline ptrdiff_t size_of(door *d, view *v) noexcept:
    """Bytes of a placed array"""
    return ((d.rows if v.stride[0] else 1) * (d.columns if v.stride[1] else 1)) * (8 if d.call.is_double else 4)


cdef object result_array(door *d, view *out, int ndim, cnp.npy_intp *shape, bint by_row, bint by_column, object given):
    """The array a result goes to, new or as given; None if that one needs a closer look"""
    cdef cnp.ndarray array
    cdef int i
    if given is None:
        array = new_array(ndim, shape, d.typenum)
    else:
        if not regular(given, d.typenum) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>given):
            return None
        array = <cnp.ndarray>given
        if cnp.PyArray_NDIM(array) != ndim:
            return None
        for i in range(ndim):
            if cnp.PyArray_DIM(array, i) != shape[i]:
                return None
    place(d, out, cnp.PyArray_BYTES(array), by_row, by_column)
    return array


cdef int reduction_of(object name) noexcept:
    """The reduction; -1 for a name that needs a closer look"""
    return NONE if name is "none" else SUM if name is "sum" else MEAN if name is "mean" else -1


cdef object gradient_through(door *d, int argument, object like, object given):
    """The output of an argument's gradient, in the argument's shape"""
    cdef cnp.npy_intp none = 0
    cdef view *v = &d.call.argument[argument]
    if is_number(d, like):
        return result_array(d, &d.call.gradient[argument], 0, &none, False, False, given)
    return result_array(d, &d.call.gradient[argument], cnp.PyArray_NDIM(<cnp.ndarray>like), cnp.PyArray_DIMS(<cnp.ndarray>like),
                        v.stride[0] != 0, v.stride[1] != 0, given)


cdef int place_of(object name, tuple fields) except -2:
    """Index of a name, -1 for none; nearly always it is the very object"""
    cdef int i
    for i in range(len(fields)):
        if fields[i] is name:
            return i
    return fields.index(name) if name in fields else -1


cdef inline object as_returned(cnp.ndarray array):
    """Without axes: a NumPy scalar"""
    return array if cnp.PyArray_NDIM(array) else cnp.PyArray_ToScalar(cnp.PyArray_DATA(array), array)


cdef int wanted(object wrt, tuple fields, int values) except -1:
    """The gradients asked for, as bits by field; 0 for anything that needs a closer look, as the first `values` fields do"""
    cdef int i, bits = 0
    if type(wrt) is str:
        wrt = (wrt,)
    elif type(wrt) is list:
        wrt = tuple(<list>wrt)
    elif type(wrt) is not tuple:
        return 0
    for name in <tuple>wrt:
        i = place_of(name, fields)
        if i < values:
            return 0
        bits |= 1 << i
    return bits
