"""What a plan is but for its memory: kept of a call that the rules found sound, for the calls that are like it."""

DEF MOST_KEPT_DIMS = 8


cdef struct outline_view:
    bint given
    int type
    ptrdiff_t stride[MOST_KEPT_DIMS]


cdef struct outline:
    int loss, is_double, reduction, full, row_dims, dims
    int kind[2]
    double parameter[3]
    double min_var, factor, x_scale, value_unit
    ptrdiff_t elements
    ptrdiff_t shape[MOST_KEPT_DIMS]
    uint64_t broadcast[4]
    outline_view argument[6]
    outline_view gradient[4]
    outline_view value
    bint joins
    ptrdiff_t count, step  # of the samples that are joined
    double unit
    outline_view samples, nll, joined


cdef inline void draw_view(outline_view *o, const view *v, int dims) noexcept:
    cdef int i
    o.given, o.type = v.data != NULL, v.type
    for i in range(dims if o.given else 0):
        o.stride[i] = v.stride[i]


cdef inline void restore_view(view *v, const outline_view *o, int dims, char *data) noexcept:
    cdef int i
    v.data = NULL
    if not o.given:
        return
    v.data, v.type = data, o.type
    for i in range(dims):
        v.stride[i] = o.stride[i]


cdef bint draw(outline *o, const plan *p, ptrdiff_t elements) noexcept:
    """False for a call that is not kept: of many axes, or one that writes over its inputs"""
    cdef int i
    if p.dims > MOST_KEPT_DIMS or p.aliased:
        return False
    o.loss, o.is_double, o.reduction, o.full, o.row_dims, o.dims = p.loss, p.is_double, p.reduction, p.full, p.row_dims, p.dims
    o.min_var, o.factor, o.x_scale, o.value_unit, o.elements = p.min_var, p.factor, p.x_scale, p.value_unit, elements
    for i in range(2):
        o.kind[i] = p.kind[i]
    for i in range(N_PARAMETERS):
        o.parameter[i] = p.parameter[i]
    for i in range(p.dims):
        o.shape[i] = p.shape[i]
    for i in range(N_ARGUMENTS):
        draw_view(&o.argument[i], &p.argument[i], p.dims)
    for i in range(N_GRADS):
        o.broadcast[i] = p.broadcast[i]
        draw_view(&o.gradient[i], &p.gradient[i], p.dims)
    draw_view(&o.value, &p.value, p.dims)
    o.joins = p.join.value.data != NULL
    if o.joins:
        o.count, o.step, o.unit = p.join.count, p.join.step, p.join.unit
        draw_view(&o.samples, &p.join.samples, p.dims)
        draw_view(&o.nll, &p.join.nll, p.dims)
        draw_view(&o.joined, &p.join.value, p.dims)
    return True


cdef void restore(plan *p, const outline *o) noexcept:
    """All but the data of views: arguments, gradients and values that were given are still to be placed"""
    cdef int i
    p.loss, p.is_double, p.reduction, p.full, p.row_dims, p.dims = o.loss, o.is_double, o.reduction, o.full, o.row_dims, o.dims
    p.min_var, p.factor, p.x_scale, p.value_unit = o.min_var, o.factor, o.x_scale, o.value_unit
    p.aliased = p.check_only = p.bad = p.sums_only = 0
    for i in range(2):
        p.kind[i] = o.kind[i]
    for i in range(N_PARAMETERS):
        p.parameter[i] = o.parameter[i]
    for i in range(o.dims):
        p.shape[i] = o.shape[i]
    for i in range(N_ARGUMENTS):
        restore_view(&p.argument[i], &o.argument[i], o.dims, NULL)
    for i in range(N_GRADS):
        p.broadcast[i] = o.broadcast[i]
        restore_view(&p.gradient[i], &o.gradient[i], o.dims, NULL)
    restore_view(&p.value, &o.value, o.dims, NULL)
    p.join.count = 0
    p.join.value.data = NULL
    if o.joins:
        p.join.count, p.join.step, p.join.unit = o.count, o.step, o.unit
        restore_view(&p.join.samples, &o.samples, o.dims, NULL)
        restore_view(&p.join.nll, &o.nll, o.dims, NULL)
        restore_view(&p.join.value, &o.joined, o.dims, NULL)
