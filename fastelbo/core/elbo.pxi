"""A negative ELBO through the doors of its halves: both are open before either runs."""


cdef bint read_beta(double *to, object beta) noexcept:
    """False where the rules must see to it"""
    if type(beta) is int:
        if not 0 <= beta <= LONGEST_INT:
            return False
    elif not PyFloat_CheckExact(beta):
        return False
    to[0] = PyFloat_AsDouble(beta)
    return 0.0 <= to[0] < INFINITY


cdef bint belong_together(entrance *e, object beta) noexcept:
    """The open halves, with this beta"""
    cdef door *nll = &e.half[0]
    cdef door *kl = &e.half[1]
    cdef int i
    if not read_beta(&e.beta, beta) or nll.typenum != kl.typenum or nll.ndim != kl.ndim or nll.ndim == 1:
        return False
    for i in range(nll.ndim - 1):
        if nll.shape[i] != kl.shape[i]:
            return False
    kl.call.factor = e.beta
    if nll.samples and nll.call.reduction != MEAN:  # that one is over S·N rows by itself
        nll.call.factor = 1.0 / nll.samples
    return True


cdef void lead(door *d, view *v, bint by_sample) noexcept:
    """One more axis before those of a placed array"""
    if v.data == NULL:
        return
    cdef ptrdiff_t size = size_of(d, v) if by_sample else 0
    v.stride[2], v.stride[1], v.stride[0] = v.stride[1], v.stride[0], size


cdef void add_samples(door *d) noexcept:
    """From (N, D) to (S, N, D): the order of a frame in the rules, on which the bits depend"""
    cdef int i
    cdef bint by_sample
    for i in range(PRIOR):
        by_sample = d.sampled >> i & 1
        lead(d, &d.call.argument[i], by_sample)
        lead(d, &d.call.gradient[i], by_sample)
        d.call.broadcast[i] = d.call.broadcast[i] << 1 | (not by_sample)
    lead(d, &d.call.value, True)
    d.call.row_dims, d.call.dims = 2, 3
    d.call.shape[0], d.call.shape[1], d.call.shape[2] = d.samples, d.rows, d.columns


cdef object sample_rows(entrance *e):
    """Rows of samples: float64, in a unit"""
    cdef door *d = &e.half[0]
    cdef view *v = &d.call.value
    cdef cnp.npy_intp count = d.samples * d.rows
    cdef cnp.ndarray rows = cnp.PyArray_SimpleNew(1, &count, cnp.NPY_FLOAT64)
    v.data, v.type = cnp.PyArray_BYTES(rows), F64
    v.stride[0], v.stride[1], v.stride[2] = 8 * d.rows, 8, 0
    d.call.value_unit = unit_of_samples(d.call.is_double, d.samples)
    return rows


cdef void join_door(entrance *e, char *nll, bint sampled) noexcept:
    """The rows of nll, those of samples, and of value, to the KL that joins them"""
    cdef door *d = &e.half[1]
    cdef joining *j = &d.call.join
    place(d, &j.nll, nll, True, False)
    place(d, &j.value, e.value, True, False)
    j.samples = e.half[0].call.value
    j.count, j.step, j.beta, j.unit = 0, 0, e.beta, 1.0
    if sampled:
        j.count, j.step, j.unit = e.half[0].samples, j.samples.stride[0], e.half[0].call.value_unit
    j.samples.stride[0], j.samples.stride[1] = 8 if sampled else 0, 0


cdef bint run_elbo(entrance *e, ptrdiff_t *elements, double *totals, object num_threads) except -1:
    """Both halves; False if some scale was <= 0 (no input is then changed)"""
    cdef job jobs[2]
    cdef plan *nll = &e.half[0].call
    cdef plan *kl = &e.half[1].call
    begin(&jobs[0], nll, elements[0], OF_THREAD, num_threads)
    try:
        begin(&jobs[1], kl, elements[1], OF_LATENTS_THREAD, num_threads)
    except:
        end(&jobs[0])
        raise
    if elements[0] + elements[1] < ALONE_BELOW:
        run_both(jobs, totals)
    else:
        with nogil:
            run_both(jobs, totals)
    end(&jobs[0])
    end(&jobs[1])
    return not nll.bad and not kl.bad


cdef void run_both(job *jobs, double *totals) noexcept nogil:
    if jobs[0].p.aliased or jobs[1].p.aliased:
        check(&jobs[1])
    if not jobs[1].p.bad:
        compute(&jobs[0], &totals[0])
    if not jobs[0].p.bad and not jobs[1].p.bad:
        compute(&jobs[1], &totals[1])


cdef bint execute_elbo(entrance *e, double *totals, object num_threads) except -1:
    """Both halves, joined: the totals are of value, nll and kl. False if the rules must see to it."""
    cdef door *nll = &e.half[0]
    cdef door *kl = &e.half[1]
    cdef object rows = None
    cdef double average = 0
    cdef char *nll_rows = nll.call.value.data
    cdef bint reduced = nll.call.reduction != NONE
    cdef ptrdiff_t[2] elements = [max(nll.samples, 1) * nll.rows * nll.columns, kl.rows * kl.columns]
    if nll.samples:
        add_samples(nll)
        if not reduced:
            rows = sample_rows(e)
    if not reduced:
        join_door(e, nll_rows, rows is not None)
    if not run_elbo(e, elements, totals + 1, num_threads):
        return False
    if reduced:
        totals[0] = kernels.join(&nll.call, &kl.call, <double>nll.samples if nll.samples and nll.call.reduction == SUM else 1.0,
                                 e.beta, &average)
        totals[1] = average
    return True
