"""The general call: a plan of checked views."""

cdef dict type_codes = {
    "?1": BOOL, "u1": U8, "i1": I8, "u2": U16, "i2": I16, "u4": U32, "i4": I32, "u8": U64, "i8": I64,
    "f2": F16, "V2": BF16, "f4": F32, "f8": F64,  # no other V2 comes through the rules
}  # fmt: skip
cdef dict losses = {(<bytes>loss_names[i]).decode(): i for i in range(N_LOSSES)}


def kernels_of_losses():
    """The names of the losses that the kernels have."""
    return tuple(losses)


cdef int loss_of(str name) except -1:
    if name not in losses:
        raise LookupError(f"src/losses/losses.h has no loss {name!r}, only {', '.join(losses)}")
    return losses[name]


cdef int look(view *v, cnp.ndarray array) except -1:
    cdef int i
    cdef str name = array.dtype.str  # byte order, kind, size
    v.data = cnp.PyArray_BYTES(array)
    v.type = type_codes["?1" if name[1] == "b" else name[1:]]
    if cnp.PyArray_ISBYTESWAPPED(array):
        v.type += SWAPPED
    for i in range(cnp.PyArray_NDIM(array)):
        v.stride[i] = cnp.PyArray_STRIDE(array, i)
    return 0


cdef class Prepared:
    """A call on checked views, and all memory that it takes: what `prepare` makes."""

    cdef plan p
    cdef job j
    cdef double zero
    cdef ptrdiff_t elements
    cdef tuple views  # that it points into
    cdef bint drawn
    cdef outline kept       # of it, if drawn
    cdef char *argument[6]  # ... and its memory
    cdef char *gradient[4]
    cdef char *value

    def __cinit__(self):
        clear(&self.p)
        self.j.zeros = self.j.sums = self.j.panels = self.j.work = NULL
        self.zero = 0.0

    def __dealloc__(self):
        end(&self.j)

    def check(self):
        """Whether some scale that counts is <= 0; nothing is written."""
        with nogil:
            check(&self.j)
        return self.p.bad != 0

    def run(self):
        """The reduced value, or None, and whether some scale that counts was <= 0. Once."""
        cdef double total = 0
        if self.elements < ALONE_BELOW:
            compute(&self.j, &total)
        else:
            with nogil:
                compute(&self.j, &total)
        end(&self.j)
        return (None if self.p.reduction == NONE else total), self.p.bad != 0


def prepare(
    str loss, bint is_double, int n_event, tuple arguments, tuple broadcast, int scale_kind, int prior_kind,
    double min_var, bint full, str reduction, value, tuple gradients, bint aliased, num_threads, double factor=1.0,
    double x_scale=1.0, double value_unit=0.0, tuple join=None, tuple parameters=(), /,
):  # fmt: skip
    """One call on checked views of one common shape, row axes first, the last `n_event` axes the event.

    arguments: the two operands whose difference counts (of which the second may be None, for 0), scale, prior scale, weight, where, of any
    real dtype and layout; None where absent; broadcast: for the first four, bit i set where the argument as passed is broadcast along
    axis i; kinds: indices into SCALES, prior_kind -1 for unit variance; value: the rows, or None if reduced; gradients: of the
    first four, None where not asked for, with stride 0 along summed axes; aliased: some output is an input; num_threads(): how many there
    may be; factor: of every gradient; x_scale: x times it, a number of the computing dtype, takes the place of x; value_unit: not 0 for
    the rows of samples, float64 in this unit; join: of the KL in a negative ELBO (samples or None, their unit, nll, value, beta), whose
    rows it fills; parameters: of the loss, numbers of the computing dtype.
    """
    cdef Prepared call = Prepared()
    cdef plan *p = &call.p
    cdef int i
    cdef cnp.ndarray first = arguments[FIRST]
    call.views = (arguments, gradients, value)
    call.elements = cnp.PyArray_SIZE(first)
    p.loss = loss_of(loss)
    p.is_double, p.aliased = is_double, aliased
    p.full = full
    p.reduction = SUM if reduction == "sum" else MEAN if reduction == "mean" else NONE
    p.kind[0], p.kind[1], p.min_var, p.factor, p.x_scale = scale_kind, prior_kind, min_var, factor, x_scale
    p.dims = cnp.PyArray_NDIM(first)
    p.row_dims = p.dims - n_event
    for i in range(p.dims):
        p.shape[i] = cnp.PyArray_DIM(first, i)
    if arguments[SECOND] is None:
        p.argument[SECOND].data, p.argument[SECOND].type = <char *>&call.zero, F64 if is_double else F32
        for i in range(p.dims):
            p.argument[SECOND].stride[i] = 0
    for i in range(N_ARGUMENTS):
        if arguments[i] is not None:
            look(&p.argument[i], arguments[i])
    for i in range(N_GRADS):
        p.broadcast[i] = broadcast[i]
        if gradients[i] is not None:
            look(&p.gradient[i], gradients[i])
    if value is not None:
        look(&p.value, value)
        for i in range(p.row_dims, p.dims):
            p.value.stride[i] = 0
    p.value_unit = value_unit
    for i in range(len(parameters)):
        p.parameter[i] = parameters[i]
    if join is not None:
        call.views = (*call.views, join)
        join_rows(p, join[0], join[1], join[2], join[3], join[4])
    call.drawn = draw(&call.kept, p, call.elements)
    for i in range(N_ARGUMENTS):
        call.argument[i] = p.argument[i].data
    for i in range(N_GRADS):
        call.gradient[i] = p.gradient[i].data
    call.value = p.value.data
    begin(&call.j, p, call.elements, OF_THREAD, num_threads)
    return call


cdef int join_rows(plan *p, samples, double unit, nll, value, double beta) except -1:
    cdef joining *j = &p.join
    cdef int i
    look(&j.nll, nll)
    look(&j.value, value)
    j.samples.data, j.count, j.unit, j.beta = NULL, 0, unit, beta
    if samples is not None:
        look(&j.samples, samples)
        j.count, j.step = cnp.PyArray_DIM(samples, 0), j.samples.stride[0]
    for i in range(p.dims):
        j.samples.stride[i] = j.samples.stride[i + 1] if samples is not None and i < p.row_dims else 0
        if i >= p.row_dims:
            j.nll.stride[i] = j.value.stride[i] = 0
    return 0


def joined(Prepared nll, Prepared kl, double samples, double beta):
    """Value and nll, averaged over the samples, of two reduced values, which may have left the range of float64"""
    cdef double average
    value = kernels.join(&nll.p, &kl.p, samples, beta, &average)
    return value, average


def unit_of_samples(bint is_double, ptrdiff_t count):
    """In which the rows of that many samples can be added: float64 holds those of float32"""
    cdef double unit = 1.0
    while is_double and unit < count:
        unit *= 2
    return unit
