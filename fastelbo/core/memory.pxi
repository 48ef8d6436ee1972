"""Calls like one that the rules found sound go straight to the kernels."""


cdef struct recollection:
    uint64_t hash
    void *door  # whose call it is; doors live as long as the process
    int words
    ptrdiff_t samples
    int source[2][6]         # the argument of the call that each of the kernels' is
    int value_dims
    cnp.npy_intp value_shape[MOST_KEPT_DIMS]
    outline half[2]
    # the words follow


cdef inline ptrdiff_t *words_of(recollection *r) noexcept:
    return <ptrdiff_t *>(r + 1)


cdef recollection *recall(const likeness *k, void *door) noexcept:
    """What is known of calls like this one, to be put back; NULL: nothing"""
    cdef recollection *r = <recollection *>take_memory(k.hash)
    if r == NULL:
        return NULL
    if r.hash == k.hash and r.door == door and r.words == k.n and not memcmp(words_of(r), k.word, k.n * sizeof(ptrdiff_t)):
        return r
    put_back(r)
    return NULL


cdef void put_back(recollection *r) noexcept:
    PyMem_Free(put_memory(r.hash, r))


cdef struct stretch:  # of memory
    uintptr_t begin, end


cdef stretch stretch_of(cnp.ndarray x) noexcept:
    cdef stretch s
    cdef ptrdiff_t last
    cdef int i
    s.begin = <uintptr_t>cnp.PyArray_DATA(x)
    s.end = s.begin + cnp.PyArray_ITEMSIZE(x)
    for i in range(cnp.PyArray_NDIM(x)):
        last = (cnp.PyArray_DIM(x, i) - 1) * cnp.PyArray_STRIDE(x, i)
        if last < 0:
            s.begin += last
        else:
            s.end += last
    return s


cdef bint is_apart(Door door, cnp.ndarray out, PyObject **args, tuple others) noexcept:
    """From all arrays among the arguments, and from the outputs before it"""
    cdef stretch own = stretch_of(out), other
    cdef int i
    for i in range(door.n_parameters):
        if i != door.out and cnp.PyArray_CheckExact(<object>args[i]):
            other = stretch_of(<cnp.ndarray>args[i])
            if own.begin < other.end and other.begin < own.end:
                return False
    for each in others:
        if each is <object>out:
            return True
        if each is not None:
            other = stretch_of(<cnp.ndarray>each)
            if own.begin < other.end and other.begin < own.end:
                return False
    return True


cdef bint place_arguments(recollection *r, int h, door *d, PyObject **args) noexcept:
    cdef plan *p = &d.call
    cdef int a, k
    cdef object x
    for a in range(N_ARGUMENTS):
        if not r.half[h].argument[a].given:
            continue
        k = r.source[h][a]
        if k < 0:
            d.scalar[a].as_double = 0.0  # of either type
        else:
            x = <object>args[k]
            if cnp.PyArray_CheckExact(x):
                p.argument[a].data = cnp.PyArray_BYTES(<cnp.ndarray>x)
                continue
            if not hold_number(&d.scalar[a], p.is_double, PyFloat_AsDouble(x)):
                return False
        p.argument[a].data = <char *>&d.scalar[a]
    return True


cdef bint describe(Door door, likeness *k, PyObject **args):
    """What makes the call like others; False: nothing would be kept of it"""
    cdef int i, found
    cdef role as_
    k.n = 0
    for i in range(door.n_parameters):
        x, as_ = <object>args[i], door.roles[i]
        if k.n + ROOM > MOST_WORDS:
            return False
        if as_ == AS_OPERAND:
            if not add_operand(k, x):
                return False
        elif as_ == AS_OPTION:
            if not add_option(k, x):
                return False
        elif as_ == AS_AXIS:
            if not add_axis(k, x, <PyObject *>door.default_axis):
                return False
        elif as_ == AS_REDUCTION:
            found = reduction_of(x)
            if found < 0:
                return False
            add(k, found)
        elif as_ == AS_WRT:
            found = wanted(x, door.fields, door.n_values)
            if found == 0:
                return False
            add(k, found)
        elif as_ == AS_OUT and not add_out(k, door.out_of(args), door.n_fields):
            return False
    k.hash = hash_of(k.word, k.n)
    return True


cdef list as_before(Door door, entrance *e, PyObject **args):
    """The results by field of a call like one that is known; None if the rules must see to it"""
    cdef recollection *r = recall(&e.likeness, <void *>door)
    if r == NULL:
        return None
    try:
        return carry_out_again(door, r, e, args)
    finally:
        put_back(r)


cdef list carry_out_again(Door door, recollection *r, entrance *e, PyObject **args):
    cdef int h, i, typenum = cnp.NPY_DOUBLE if r.half[0].is_double else cnp.NPY_FLOAT, reduction = r.half[0].reduction
    cdef int bits = 0 if door.wrt < 0 else wanted(<object>args[door.wrt], door.fields, door.n_values)
    cdef double[3] totals
    cdef ptrdiff_t[2] elements
    cdef object out = door.out_of(args), rows = None
    cdef list found
    for h in range(door.count):
        restore(&e.half[h].call, &r.half[h])
        elements[h] = r.half[h].elements
        if not place_arguments(r, h, &e.half[h], args):
            return None
    if door.count == 2:
        if not read_beta(&e.beta, <object>args[door.beta]):
            return None
        e.half[1].call.factor = e.half[1].call.join.beta = e.beta
    found = place_results(door, r, e, args, bits, out, typenum)
    if found is None:
        return None
    if door.count == 1:
        if execute(&e.half[0].call, totals, elements[0], door.num_threads):
            return None
    else:
        if r.half[0].value_unit != 0:
            rows = sample_scratch(&e.half[0].call, &e.half[1].call, elements[0])
        if not run_elbo(e, elements, totals + 1, door.num_threads):
            return None
        if reduction != NONE:
            totals[0] = kernels.join(&e.half[0].call, &e.half[1].call, <double>r.samples if reduction == SUM else 1.0, e.beta, &totals[1])
    for i in range(door.n_fields):
        if i < door.n_values and reduction != NONE:
            found[i] = totals[i]
        elif found[i] is not None and (out is None or (<tuple>out)[i] is None):
            found[i] = as_returned(<cnp.ndarray>found[i])
    return found


cdef list place_results(Door door, recollection *r, entrance *e, PyObject **args, int bits, object out, int typenum):
    """Arrays for the results by field, new or as given"""
    cdef list found = [None] * door.n_fields
    cdef cnp.ndarray array
    cdef object given
    cdef plan *p
    cdef int i, a, h
    for i in range(door.n_fields):
        given = None if out is None else (<tuple>out)[i]
        h, a = door.of_half[i], door.argument[i]
        p = &e.half[h].call
        if a >= 0:
            if not bits >> i & 1:
                continue
            array = <cnp.ndarray>(new_like(<object>args[r.source[h][a]], typenum) if given is None else given)
            p.gradient[a].data = cnp.PyArray_BYTES(array)
        elif p.reduction != NONE:
            continue
        else:
            array = <cnp.ndarray>(new_array(r.value_dims, r.value_shape, typenum) if given is None else given)
            place_rows(door, e, i, cnp.PyArray_BYTES(array))
        if given is not None and not is_apart(door, array, args, <tuple>out):
            return None
        found[i] = array
    return found


cdef void place_rows(Door door, entrance *e, int field, char *data) noexcept:
    """Of the ELBO, in this order: value, nll, kl"""
    cdef joining *j = &e.half[1].call.join
    if door.count == 1 or field == 2:
        e.half[field >> 1].call.value.data = data
    elif field == 0:
        j.value.data = data
    else:
        j.nll.data = e.half[0].call.value.data = data


cdef object sample_scratch(plan *nll, plan *kl, ptrdiff_t elements):
    """Memory for the rows of samples"""
    cdef ptrdiff_t[1] count = [1]
    cdef int i
    for i in range(nll.row_dims):
        count[0] *= nll.shape[i]
    cdef cnp.ndarray rows = cnp.PyArray_SimpleNew(1, <cnp.npy_intp *>count, cnp.NPY_DOUBLE)
    nll.value.data = kl.join.samples.data = cnp.PyArray_BYTES(rows)
    return rows


cdef int source_of(Door door, int h, int a, PyObject **args) noexcept:
    """The argument of the call that is the kernels' a-th; -1: none"""
    cdef half *of = &door.halves[h]
    cdef int kind
    if a == WEIGHT:
        return of.weight
    if a == WHERE:
        return of.where
    if of.operand[a] >= 0 or a < SCALE:
        return of.operand[a]
    for kind in range(5):
        if of.form[a - SCALE][kind] >= 0 and args[of.form[a - SCALE][kind]] != <PyObject *>None:
            return of.form[a - SCALE][kind]
    return -1


cdef bint know_half(Door door, recollection *r, int h, Prepared prepared, PyObject **args, result):
    """False if something lies elsewhere than a call like this would find it"""
    cdef int a, i, k
    cdef char *data
    if not prepared.drawn:
        return False
    r.half[h] = prepared.kept
    for a in range(N_ARGUMENTS):
        r.source[h][a] = source_of(door, h, a, args)
        k = r.source[h][a]
        data = prepared.argument[a]
        if data == NULL:
            continue
        if k < 0:
            if data != <char *>&prepared.zero:
                return False
        elif cnp.PyArray_CheckExact(<object>args[k]) and data != cnp.PyArray_BYTES(<cnp.ndarray>(<object>args[k])):
            return False
    for i in range(door.n_values, door.n_fields):
        a = door.argument[i]
        if door.of_half[i] == h and cnp.PyArray_CheckExact(result[i]) and prepared.gradient[a] != cnp.PyArray_BYTES(<cnp.ndarray>result[i]):
            return False
    return True


cdef bint know_rows(Door door, recollection *r, PyObject **args, tuple prepared, object value):
    """The shape of the values, where they are not reduced; False: they lie elsewhere"""
    cdef int i
    cdef tuple out
    r.value_dims = 0
    if r.half[0].reduction != NONE:
        return True
    if cnp.PyArray_CheckExact(value):
        r.value_dims = cnp.PyArray_NDIM(<cnp.ndarray>value)
        for i in range(r.value_dims):
            r.value_shape[i] = cnp.PyArray_DIM(<cnp.ndarray>value, i)
        if door.count == 1 and (<Prepared>prepared[0]).value != cnp.PyArray_BYTES(<cnp.ndarray>value):
            return False
    out = door.out_of(args)
    if door.count == 2 and out is not None:
        return out[0] is None and out[1] is None and out[2] is None  # rows go to where they were given in the end
    return True


cdef int remember(Door door, likeness *k, PyObject **args, tuple prepared, object result) except -1:
    cdef recollection *r
    cdef object each
    cdef int h
    cdef bint known = True
    for each in prepared:
        if each is None:
            return 0
    r = <recollection *>PyMem_Malloc(sizeof(recollection) + k.n * sizeof(ptrdiff_t))
    if r == NULL:
        return 0
    try:
        results = result if door.result is not None else (result,)
        for h in range(door.count):
            known = known and know_half(door, r, h, <Prepared>prepared[h], args, results)
        known = known and know_rows(door, r, args, prepared, results[0])
    except:
        PyMem_Free(r)
        raise
    if not known:
        PyMem_Free(r)
        return 0
    r.hash, r.door, r.words, r.samples = k.hash, <void *>door, k.n, 1
    if door.count == 2:
        r.samples = samples_of(<object>args[door.halves[0].operand[FIRST]], <object>args[door.halves[0].operand[SECOND]])
    memcpy(words_of(r), k.word, k.n * sizeof(ptrdiff_t))
    put_back(r)
    return 0


cdef ptrdiff_t samples_of(object x, object recon) noexcept:
    if not cnp.PyArray_CheckExact(recon):
        return 1
    cdef int ndim = cnp.PyArray_NDIM(<cnp.ndarray>x) if cnp.PyArray_CheckExact(x) else 0
    return cnp.PyArray_DIM(<cnp.ndarray>recon, 0) if cnp.PyArray_NDIM(<cnp.ndarray>recon) > ndim else 1


def forget():
    """Free all that is known of calls, so that the next goes through the rules: for the tests."""
    cdef int i
    for i in range(MEMORIES):
        PyMem_Free(take_memory(i))
