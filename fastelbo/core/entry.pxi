"""The one door of all public losses, made from a declaration."""


cdef struct half:          # of a call: a loss, and where its arguments lie among those of the call; -1: nowhere
    int loss
    int kind               # of a SCALE that is no scale, as the data of a Bernoulli NLL; -1: that of the form that is passed
    int operand[4]
    int form[2][5]         # of SCALE and PRIOR
    int is_optional[4]     # the operand may be a number
    int parameter[3]       # of the loss
    double none[3]         # what None is there; NaN: it has no default
    int axis, full, weight, where, min_var, x_scale


cdef inline bint is_float(PyObject *x, double value) noexcept:
    return PyFloat_CheckExact(<object>x) and PyFloat_AsDouble(<object>x) == value


cdef bint asks_nothing_unusual(const half *h, PyObject **args) noexcept:
    if args[h.weight] != <PyObject *>None or args[h.where] != <PyObject *>None:
        return False
    if h.full >= 0 and <object>args[h.full] is not True and <object>args[h.full] is not False:
        return False
    if h.min_var >= 0 and not is_float(args[h.min_var], 0.0):
        return False
    return h.x_scale < 0 or is_float(args[h.x_scale], 1.0)


cdef int choose_form(door *d, int argument, const int *form, PyObject **args) noexcept:
    """Enter the one scale that is passed; its kind, UNIT where none is, -2 where it does not fit"""
    cdef int kind, found = UNIT
    for kind in range(5):
        if form[kind] < 0 or args[form[kind]] == <PyObject *>None:
            continue
        if found != UNIT or not enter(d, argument, <object>args[form[kind]], True):
            return -2
        found, d.passed[argument] = kind, form[kind]
    return found


cdef bint take_parameters(door *d, const half *h, PyObject **args) noexcept:
    """A width, and beyond what x it is open: numbers of the computing type, as the rules have them"""
    cdef int i
    cdef object x
    cdef double[3] found
    for i in range(3):
        x = <object>args[h.parameter[i]]
        if x is None and h.none[i] == h.none[i]:
            found[i] = h.none[i]
        elif PyFloat_CheckExact(x):
            found[i] = PyFloat_AsDouble(x)
            if found[i] - found[i] != 0:
                return False
        else:
            return False
    if not found[0] > 0 or not found[1] < found[2]:
        return False
    found[1] += 0.5 * found[0]
    found[2] -= 0.5 * found[0]
    for i in range(3):
        d.call.parameter[i] = found[i] if d.call.is_double else <double><float>found[i]
    return d.call.parameter[0] > 0 and d.call.parameter[0] < INFINITY


cdef bint open_half(door *d, const half *h, PyObject **args, PyObject *default_axis, int reduction, bint may_have_samples) noexcept:
    cdef object x = <object>args[h.operand[FIRST]], operand
    cdef int i
    if args[h.axis] != default_axis or not asks_nothing_unusual(h, args) or not open_door(d, x):
        return False
    d.call.loss, d.call.full, d.call.reduction = h.loss, h.full >= 0 and <object>args[h.full] is True, reduction
    place(d, &d.call.argument[FIRST], cnp.PyArray_BYTES(<cnp.ndarray>x), True, True)
    for i in range(4):
        d.passed[i] = h.operand[i]
    if h.operand[SECOND] < 0:
        hold(d, SECOND, 0.0)
        d.call.broadcast[SECOND] = 0
    elif may_have_samples:
        operand = <object>args[h.operand[SECOND]]
        if cnp.PyArray_CheckExact(operand) and cnp.PyArray_NDIM(<cnp.ndarray>operand) == d.ndim + 1:
            d.samples = cnp.PyArray_DIM(<cnp.ndarray>operand, 0)
    for i in range(SECOND, 4):
        if h.operand[i] < 0:
            continue
        operand = <object>args[h.operand[i]]
        if h.is_optional[i] and PyFloat_CheckExact(operand):
            if not hold(d, i, PyFloat_AsDouble(operand)):
                return False
        elif not enter(d, i, operand, i == PRIOR):
            return False
    d.call.kind[0] = h.kind if h.kind >= 0 else choose_form(d, SCALE, h.form[0], args)
    d.call.kind[1] = choose_form(d, PRIOR, h.form[1], args) if h.operand[PRIOR] < 0 else NUMBER
    if h.parameter[0] >= 0 and not take_parameters(d, h, args):
        return False
    return d.call.kind[0] >= 0 and d.call.kind[1] >= UNIT


cdef inline ptrdiff_t whole_size(door *d) noexcept:
    """Bytes of an array of all elements"""
    return max(d.samples, 1) * d.rows * d.columns * (8 if d.call.is_double else 4)


DEF MOST_FIELDS = 12
DEF MOST_PARAMETERS = 40


cdef class Door:
    """A public function; `entry` is a callable of all its arguments, in the order of its signature.

    It takes the calls that most callers make, and gives the others to `general`, with the same arguments: the rules have the last word.
    """

    cdef half halves[2]
    cdef int of_half[MOST_FIELDS]
    cdef int argument[MOST_FIELDS]
    cdef int n_parameters, count, n_fields, n_values, reduction, wrt, out, beta
    cdef role roles[MOST_PARAMETERS]  # of the arguments
    cdef tuple fields
    cdef object result, default_axis, num_threads
    cdef public object general

    def __init__(self, tuple parameters, tuple halves, tuple fields, result, default_axis, num_threads, general):
        """parameters: the names in the signature. halves: for each loss a dict of its kernel; its operands by the core's order, None where
        it has none, and which of them are `optional`; `kind` of a scale that is none; the names of the forms of its scale and its
        prior's; and of its options, by what they are. fields: of the result, as (name, half, argument in the core's
        order; -1 for values). result: a named tuple of them, or None for a value alone. num_threads() is how many there may be."""
        cdef int i, k, s
        index = {name: i for i, name in enumerate(parameters)}
        assert len(fields) <= MOST_FIELDS and len(parameters) <= MOST_PARAMETERS
        self.n_parameters, self.count, self.n_fields = len(parameters), len(halves), len(fields)
        for k in range(self.count):
            spec = halves[k]
            self.halves[k].loss, self.halves[k].kind = loss_of(spec["kernel"]), spec["kind"]
            for i in range(4):
                self.halves[k].operand[i] = index.get(spec["operands"][i], -1)
                self.halves[k].is_optional[i] = spec["operands"][i] in spec["optional"]
            for s in range(2):
                for i in range(5):
                    self.halves[k].form[s][i] = index.get(spec["forms"][s][i], -1) if spec["forms"][s] else -1
            for i in range(3):
                self.halves[k].parameter[i], self.halves[k].none[i] = -1, NAN
            for i, (name, none) in enumerate(spec["parameters"]):
                self.halves[k].parameter[i] = index[name]
                if isinstance(none, float):
                    self.halves[k].none[i] = none
            missing = [form for form, name in enumerate(spec["forms"][0] or ()) if name and not LOSSES[self.halves[k].loss].forms >> form & 1]
            if missing:
                raise LookupError(f"src/losses/losses.h has no form {SCALES[missing[0]]} of the loss {spec['kernel']!r}")
            at = {option: index[called] for option, called in spec["options"].items()}
            self.halves[k].axis, self.halves[k].weight, self.halves[k].where = at["axis"], at["weight"], at["where"]
            self.halves[k].full, self.halves[k].min_var = at.get("full", -1), at.get("min_var", -1)
            self.halves[k].x_scale = at.get("x_scale", -1)
        for i in range(self.n_fields):
            self.of_half[i], self.argument[i] = fields[i][1], fields[i][2]
            self.n_values += self.argument[i] < 0
        self.fields = tuple([name for name, _, _ in fields])
        self.reduction, self.wrt, self.out = index["reduction"], index.get("wrt", -1), index.get("out", -1)
        self.beta = index.get("beta", -1)
        self.result, self.default_axis, self.num_threads, self.general = result, default_axis, num_threads, general
        self.know_roles()

    cdef void know_roles(self) noexcept:
        cdef int i, h
        cdef half *of
        for i in range(self.n_parameters):
            self.roles[i] = AS_OPERAND
        for h in range(self.count):
            of = &self.halves[h]
            self.roles[of.axis] = AS_AXIS
            for i in range(3):
                if of.parameter[i] >= 0:
                    self.roles[of.parameter[i]] = AS_OPTION
            for i in (of.full, of.min_var, of.x_scale):
                if i >= 0:
                    self.roles[i] = AS_OPTION
        self.roles[self.reduction] = AS_REDUCTION
        if self.wrt >= 0:
            self.roles[self.wrt] = AS_WRT
        if self.out >= 0:
            self.roles[self.out] = AS_OUT
        if self.beta >= 0:
            self.roles[self.beta] = AS_BETA

    def entry(self):
        """The callable: a builtin, which takes its arguments without a tuple of them."""
        return PyCFunction_NewEx(&entry_definition, self, NULL)

    cdef object call(self, PyObject **args):
        cdef entrance *e = <entrance *>take(OF_CALL, sizeof(entrance))
        cdef list found = None
        cdef bint described = False
        try:
            found = self.through(e, args)
            if found is None:
                described = describe(self, &e.likeness, args)
                if described:
                    found = as_before(self, e, args)
            if found is None:
                return self.by_rules(e, args, described)
        finally:
            give(OF_CALL, e)
        return found[0] if self.result is None else new(self.result, found)

    cdef object out_of(self, PyObject **args):
        """Where results go: one or None for each field, as a plain tuple where it is a result of such a call; or what was passed"""
        if self.out < 0 or <object>args[self.out] is None:
            return None
        if self.wrt < 0:
            return (<object>args[self.out],)
        return tuple(<object>args[self.out]) if type(<object>args[self.out]) is self.result else <object>args[self.out]

    cdef object by_rules(self, entrance *e, PyObject **args, bint described):
        result, prepared = self.general(*[<object>args[i] for i in range(self.n_parameters)])
        if described:
            remember(self, &e.likeness, args, prepared, result)
        return result

    cdef list through(self, entrance *e, PyObject **args):
        """The results by field, or None if the rules must see to it"""
        cdef int i, bits = 0, reduction = reduction_of(<object>args[self.reduction])
        cdef object out = self.out_of(args)
        cdef list found
        cdef double totals[3]
        if reduction < 0:
            return None
        if self.wrt >= 0:
            bits = wanted(<object>args[self.wrt], self.fields, self.n_values)
            if bits == 0:
                return None
        if out is not None and (type(out) is not tuple or len(<tuple>out) != self.n_fields):
            return None
        for i in range(self.count):
            if not open_half(&e.half[i], &self.halves[i], args, <PyObject *>self.default_axis, reduction, i == 0 and self.count == 2):
                return None
        if self.count == 2 and not belong_together(e, <object>args[self.beta]):
            return None
        found = self.places(e, args, bits, out)
        if found is None or not self.execute(e, totals):
            return None
        for i in range(self.n_fields):
            if i < self.n_values and reduction != NONE:
                found[i] = totals[i]
            elif found[i] is not None and (out is None or (<tuple>out)[i] is None):
                found[i] = as_returned(<cnp.ndarray>found[i])
        return found

    cdef bint execute(self, entrance *e, double *totals) except -1:
        """False if some scale was <= 0: the rules name the element"""
        if self.count == 2:
            return execute_elbo(e, totals, self.num_threads)
        return not execute(&e.half[0].call, totals, e.half[0].rows * e.half[0].columns, self.num_threads)

    cdef list places(self, entrance *e, PyObject **args, int bits, object out):
        """Arrays for the results by field, new or as given; None if the rules must see to it"""
        cdef list found = [None] * self.n_fields
        cdef door *d
        cdef object given
        cdef int i, a
        for i in range(self.n_fields):
            given = None if out is None else (<tuple>out)[i]
            d, a = &e.half[self.of_half[i]], self.argument[i]
            if a < 0 and d.call.reduction == NONE:
                found[i] = result_array(d, &d.call.value, d.ndim - 1, d.shape, True, False, given)
                if i == 0:
                    e.value = d.call.value.data
            elif a >= 0 and bits >> i & 1 and d.passed[a] >= 0:
                found[i] = gradient_through(d, a, <object>args[d.passed[a]], given)
            elif given is None and (d.ndim > 1 if a < 0 else not bits >> i & 1):
                continue
            else:
                return None
            if found[i] is None:
                return None
        return found if out is None or self.disentangle(e, found, out) else None

    cdef bint disentangle(self, entrance *e, list found, tuple out) noexcept:
        """Whether each array in out is apart from the others and from every input; a gradient may also be an input of its own half,
        exactly and unsummed"""
        cdef int i, k, a
        cdef uintptr_t other
        cdef uintptr_t[MOST_FIELDS] begin
        cdef uintptr_t[MOST_FIELDS] end
        cdef ptrdiff_t size
        cdef door *d
        cdef view *v
        for i in range(self.n_fields):
            begin[i] = end[i] = 0
            if found[i] is not None:
                begin[i] = <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>found[i])
                end[i] = begin[i] + cnp.PyArray_NBYTES(<cnp.ndarray>found[i])
            if found[i] is None or out[i] is None:
                continue
            for k in range(i):
                if begin[i] < end[k] and begin[k] < end[i]:
                    return False
            for k in range(self.count):
                d = &e.half[k]
                for a in range(4):
                    v = &d.call.argument[a]
                    if v.data == NULL or v.data == <char *>&d.scalar[a]:
                        continue
                    other, size = <uintptr_t>v.data, size_of(d, v) * (d.samples if d.sampled >> a & 1 else 1)
                    if begin[i] >= other + size or other >= end[i]:
                        continue
                    if (self.argument[i] < 0 or self.of_half[i] != k or begin[i] != other or end[i] != other + size
                            or size != whole_size(d)):
                        return False
                    d.call.aliased = 1
        return True


cdef object enter_door(Door door, PyObject **args, Py_ssize_t count):
    if count != door.n_parameters:
        raise TypeError(f"{door.n_parameters} arguments are wanted, not {count}")
    return door.call(args)


cdef PyMethodDef entry_definition = [b"entry", <PyCFunction><void *>enter_door, METH_FASTCALL, NULL]
