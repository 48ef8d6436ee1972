"""What makes calls alike: types, shapes, strides and options, as words that can be compared. What the rules find depends on nothing
else, but for numbers in the place of arrays, 64-bit integers and memory that is shared, which are looked at in each call."""

DEF MOST_WORDS = 320
DEF ROOM = 24  # for the words of an array, or an axis

cdef enum role: AS_OPERAND, AS_OPTION, AS_AXIS, AS_REDUCTION, AS_WRT, AS_OUT, AS_BETA

# What a word says of an argument; of an array, what else is in the word
cdef enum tag: NOTHING = 1, YES, NO, WEAK_FLOAT, WEAK_INT, FLOAT32, FLOAT64, CHOSEN, DEFAULT, ONE_AXIS, AXES, ARRAY, SEVERAL

DEF LONGEST_INT = 1 << 53


cdef struct likeness:
    int n
    uint64_t hash
    ptrdiff_t word[MOST_WORDS]


cdef inline void add(likeness *k, ptrdiff_t word) noexcept:
    k.word[k.n] = word
    k.n += 1


cdef inline bint add_array(likeness *k, cnp.ndarray x) noexcept:
    """One of axes, of at most 32-bit integers or floats; a dtype's byte order is in the flags"""
    cdef int i, ndim = cnp.PyArray_NDIM(x), typenum = cnp.PyArray_TYPE(x)
    if ndim == 0 or ndim > MOST_KEPT_DIMS or k.n + ROOM > MOST_WORDS:
        return False
    if not (typenum == cnp.NPY_FLOAT or typenum == cnp.NPY_DOUBLE or typenum == NPY_HALF or typenum <= cnp.NPY_UINT):
        return False
    add(k, ARRAY | ndim << 8 | typenum << 16 | <ptrdiff_t>cnp.PyArray_ISALIGNED(x) << 32
        | <ptrdiff_t>cnp.PyArray_ISWRITEABLE(x) << 33 | <ptrdiff_t>cnp.PyArray_ISBYTESWAPPED(x) << 34)
    for i in range(ndim):
        add(k, cnp.PyArray_DIM(x, i))
        add(k, cnp.PyArray_STRIDE(x, i))
    return True


cdef inline bint add_operand(likeness *k, object x) noexcept:
    if x is None:
        add(k, NOTHING)
    elif cnp.PyArray_CheckExact(x):
        return add_array(k, <cnp.ndarray>x)
    elif PyFloat_CheckExact(x):
        add(k, WEAK_FLOAT)
    elif type(x) is float32:
        add(k, FLOAT32)
    elif type(x) is float64:
        add(k, FLOAT64)
    elif type(x) is int:
        if not -LONGEST_INT <= x <= LONGEST_INT:
            return False
        add(k, WEAK_INT)
    else:
        return False
    return True


cdef inline bint add_option(likeness *k, object x) noexcept:
    """A value that the rules look at"""
    cdef double value
    cdef ptrdiff_t bits = 0
    if x is None:
        add(k, NOTHING)
    elif x is True:
        add(k, YES)
    elif x is False:
        add(k, NO)
    elif PyFloat_CheckExact(x) or (type(x) is int and -LONGEST_INT <= x <= LONGEST_INT):
        value = PyFloat_AsDouble(x)
        memcpy(&bits, &value, sizeof(value))
        add(k, WEAK_FLOAT if PyFloat_CheckExact(x) else WEAK_INT)
        add(k, bits)
    else:
        return False
    return True


cdef inline bint add_axis(likeness *k, object x, PyObject *default_axis) noexcept:
    if <PyObject *>x == default_axis:
        add(k, DEFAULT)
    elif x is None:
        add(k, NOTHING)
    elif type(x) is int:
        if not -64 <= x < 64:
            return False
        add(k, ONE_AXIS)
        add(k, <ptrdiff_t>x)
    elif type(x) is tuple:
        if len(<tuple>x) > MOST_KEPT_DIMS:
            return False
        add(k, AXES | len(<tuple>x) << 8)
        for each in <tuple>x:
            if type(each) is not int or not -64 <= each < 64:
                return False
            add(k, <ptrdiff_t>each)
    else:
        return False
    return True


cdef inline bint add_out(likeness *k, object x, int fields) noexcept:
    """An array or None for each field"""
    if x is None:
        add(k, NOTHING)
        return True
    if type(x) is not tuple or len(<tuple>x) != fields:
        return False
    add(k, SEVERAL)
    for each in <tuple>x:
        if k.n + ROOM > MOST_WORDS:
            return False
        if each is None:
            add(k, NOTHING)
        elif not cnp.PyArray_CheckExact(each) or not add_array(k, <cnp.ndarray>each):
            return False
    return True

