"""Fast ways of what is made of losses, for plain arrays of one dtype: None where the rules must see to the arguments."""

DEF LEAST_MEAN_SQUARE = 9.332636185032189e-302  # 2^-1000: below it a square may have been subnormal, see _squares.py

cdef double HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
cdef int SQUARED = loss_of("nll")


cdef bint half_squares(entrance *e, cnp.ndarray x, cnp.ndarray mean, bint by_row, cnp.ndarray sums, object num_threads) except -1:
    """Half the sum of (x - mean)^2 of each row, or of all rows, in double: the NLL at variance 1, as the rules have it"""
    cdef door *d = &e.half[0]
    cdef plan *p = &d.call
    cdef ptrdiff_t item = 8 if d.typenum == cnp.NPY_FLOAT64 else 4
    cdef double total
    cdef int a
    p.is_double, p.loss, p.full, p.reduction = True, SQUARED, False, NONE
    p.kind[0], p.kind[1] = VAR, UNIT
    p.row_dims, p.dims = by_row, 1 + by_row
    if not by_row:
        p.shape[0] = d.rows * d.columns
    for a in range(2):
        p.argument[a].data, p.argument[a].type = cnp.PyArray_BYTES(mean if a else x), F64 if item == 8 else F32
        p.argument[a].stride[0], p.argument[a].stride[by_row] = item * d.columns, item
    d.scalar[SCALE].as_double = 1.0
    p.argument[SCALE].data, p.argument[SCALE].type = <char *>&d.scalar[SCALE], F64
    p.argument[SCALE].stride[0] = p.argument[SCALE].stride[1] = 0
    p.broadcast[SCALE] = 3 if by_row else 1
    p.value.data, p.value.type = cnp.PyArray_BYTES(sums), F64
    p.value.stride[0], p.value.stride[1] = 8 if by_row else 0, 0
    return not execute(p, &total, d.rows * d.columns, num_threads)


cdef bint squares_are_sure(double *half_sum, ptrdiff_t n, double count) noexcept nogil:
    """Make mean squares of them; False where some digits might be missing, or something is no number"""
    cdef ptrdiff_t i
    cdef double mean_square
    for i in range(n):
        mean_square = half_sum[i] / (count / 2)
        if not (half_sum[i] >= LEAST_MEAN_SQUARE * (count + count) and LEAST_MEAN_SQUARE <= mean_square < INFINITY):
            return False
        half_sum[i] = mean_square
    return True


def mean_squares(x, mean, axis, num_threads, /):
    """The mean of (x - mean)^2 over the last axis (-1), or all (None), as float64, and of how many; None: the rules must see to it."""
    cdef entrance *e
    cdef cnp.ndarray sums
    cdef ptrdiff_t count, n
    cdef bint by_row = axis is not None
    if by_row and (type(axis) is not int or axis != -1):
        return None
    e = <entrance *>take(OF_CALL, sizeof(entrance))
    try:
        if (not open_door(&e.half[0], x) or not regular(mean, e.half[0].typenum)
                or not same_shape(&e.half[0], cnp.PyArray_NDIM(<cnp.ndarray>mean), cnp.PyArray_DIMS(<cnp.ndarray>mean))):
            return None
        sums = cnp.PyArray_SimpleNew(e.half[0].ndim - 1 if by_row else 0, e.half[0].shape, cnp.NPY_FLOAT64)
        half_squares(e, x, mean, by_row, sums, num_threads)
        n = e.half[0].rows if by_row else 1
        count = e.half[0].columns if by_row else e.half[0].rows * e.half[0].columns
        if not squares_are_sure(<double *>cnp.PyArray_DATA(sums), n, <double>count):
            return None
    finally:
        give(OF_CALL, e)
    return sums, count


def optimal_rows(x, mean, axis, bint full, num_threads, /):
    """Of `mean_squares` the NLL at that variance too, as (NLL, mean squares), float64: the additions of _objectives.py, in its order."""
    cdef object found = mean_squares(x, mean, axis, num_threads)
    cdef cnp.ndarray squares, rows
    cdef double *row
    cdef double count, constant = 2 * HALF_LOG_2PI if full else 0.0
    cdef ptrdiff_t i
    if found is None:
        return None
    squares, count = (<tuple>found)[0], (<tuple>found)[1]
    rows = cnp.PyArray_SimpleNew(cnp.PyArray_NDIM(squares), cnp.PyArray_DIMS(squares), cnp.NPY_FLOAT64)
    row = <double *>cnp.PyArray_DATA(rows)
    kernels.function[1](1, cnp.PyArray_DATA(squares), row, cnp.PyArray_SIZE(squares))
    for i in range(cnp.PyArray_SIZE(squares)):
        row[i] = (row[i] + constant + 1.0) * 0.5 * count
    return rows, squares


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
    value = cnp.PyArray_SimpleNew(ndim - 1, shape, typenum)
    ess = cnp.PyArray_SimpleNew(ndim - 1, shape, typenum)
    weights = cnp.PyArray_SimpleNew(ndim, whole, typenum)
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


cdef void look_plain(view *v, cnp.ndarray x) noexcept:
    """A plain array of float32 or float64"""
    cdef int i
    v.data, v.type = cnp.PyArray_BYTES(x), F64 if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64 else F32
    for i in range(cnp.PyArray_NDIM(x)):
        v.stride[i] = cnp.PyArray_STRIDE(x, i)
