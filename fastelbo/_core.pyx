# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, binding=False
"""From Python objects to the kernels: fast doors for plain arrays, and `prepare` for the views that `_arrays` makes of all others.

A fast door looks at its arguments through NumPy's C API and takes the call if they are what most callers pass: C-contiguous
arrays of one dtype and shape, the last axis summed, nothing unusual asked for. It decides nothing: where anything is different, or
wrong, `_arrays.evaluate` gets the same arguments, and its word is the law.
"""

import os

import numpy as np
cimport numpy as cnp
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport INFINITY
from libc.stdint cimport uint64_t, uintptr_t

cnp.import_array()

cdef extern from "src/kernels.h" nogil:
    enum:
        NLL, KL, BERNOULLI, LAPLACE
        FIRST, SECOND, SCALE, PRIOR, WEIGHT, WHERE, N_ARGUMENTS, N_GRADS
        NONE, SUM, MEAN
        U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64, BOOL, SWAPPED
        VAR, STD, LOGVAR, LOGSTD, PRECISION, NUMBER, UNIT
        WORK_ALIGNMENT
    ctypedef struct view:
        char *data
        int type
        ptrdiff_t stride[64]
    ctypedef struct wide:
        double m
    ctypedef struct joining:
        view samples
        view nll
        view value
        ptrdiff_t count, step
        double unit, beta
    ctypedef struct plan:
        int loss, is_double, reduction, full, aliased, check_only, row_dims, dims, bad, apart, sums_only, other_rows, threads
        int kind[2]
        double parameter[3]
        double min_var, factor, x_scale
        ptrdiff_t shape[64]
        uint64_t broadcast[4]
        view argument[6]
        view gradient[4]
        view value
        double value_unit
        joining join
        wide reduced
        void *work
    ctypedef struct kernel_set:
        const char *name
        size_t work[2]
        void (*run[2])(plan *, ptrdiff_t, ptrdiff_t, int) noexcept nogil
        void (*finish_rows[2])(plan *) noexcept nogil
        double (*finish[2])(plan *) noexcept nogil
        double (*join)(const plan *, const plan *, double, double, double *) noexcept nogil
        void (*function[2])(int, const void *, void *, ptrdiff_t) noexcept nogil
    int fe_plan_sums_elements(const plan *)
    int fe_plan_is_direct(const plan *, int)
    void fe_plan_prepare(plan *)
    void fe_plan_apart(const plan *, int, plan *)
    void fe_plan_arrange(plan *)
    size_t fe_plan_bytes(const plan *)
    void fe_plan_share(plan *, int, size_t)
    size_t fe_plan_slabs(const plan *)
    void fe_plan_use(plan *, void *, void *)
    void fe_plan_first_wave(plan *)
    bint fe_plan_next_wave(plan *)
    bint fe_plan_look(plan *)
    ptrdiff_t fe_plan_tasks(const plan *)
    const kernel_set *fe_kernels(const char *)

cdef extern from "src/threads.h" nogil:
    const char *FE_OPENMP
    ctypedef struct fe_openmp_table:
        int version
        int (*max_threads)() noexcept nogil
        int (*thread_limit)() noexcept nogil
        int (*in_parallel)() noexcept nogil
        int (*forked)() noexcept nogil
        const char *(*runtime)() noexcept nogil
        void (*each)(void (*)(void *, ptrdiff_t, int) noexcept nogil, void *, ptrdiff_t, int) noexcept nogil

cdef extern from *:
    """
    /* What small calls work in, kept from one to the next, as malloc of so much takes longer than such a call: one block of each kind,
     * whichever thread comes. The block that a call does not find it allocates; the one that has no place here it frees. */
    static void *spare[3];
    static void *take_spare(int kind) { return __atomic_exchange_n(&spare[kind], NULL, __ATOMIC_ACQ_REL); }
    static int keep_spare(int kind, void *block) {
        void *none = NULL;
        return __atomic_compare_exchange_n(&spare[kind], &none, block, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
    """
    void *take_spare(int) nogil
    int keep_spare(int, void *) nogil

cdef extern from *:
    """
    /* What the threads of large calls work in. Each calling thread has its own part of the C library's heap: blocks of this size, taken and
     * freed there call after call, would leave some behind in every part. So a few are kept, for whoever comes; what a call does not find
     * it allocates, and what has no place here it frees. Without a lock, which a fork might copy while it is held. A block begins with
     * its size. */
    enum { TEAMS = 16 };
    #define MOST_OF_TEAMS ((size_t)1 << 22) /* bytes, of all that are kept */
    static void *team[TEAMS];
    static size_t of_teams;
    static void *take_team(void) {
        for (int i = 0; i < TEAMS; i++) {
            void *block = __atomic_load_n(&team[i], __ATOMIC_RELAXED) ? __atomic_exchange_n(&team[i], NULL, __ATOMIC_ACQ_REL) : NULL;
            if (!block) continue;
            __atomic_sub_fetch(&of_teams, *(size_t *)block, __ATOMIC_RELAXED);
            return block;
        }
        return NULL;
    }
    static int keep_team(void *block) {
        const size_t bytes = *(size_t *)block;
        if (__atomic_add_fetch(&of_teams, bytes, __ATOMIC_RELAXED) <= MOST_OF_TEAMS)
            for (int i = 0; i < TEAMS; i++) {
                void *none = NULL;
                if (__atomic_compare_exchange_n(&team[i], &none, block, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return 1;
            }
        __atomic_sub_fetch(&of_teams, bytes, __ATOMIC_RELAXED);
        return 0;
    }
    """
    void *take_team() nogil
    int keep_team(void *) nogil

cdef extern from *:
    """
    #if defined(__clang__)
    #define FE_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FE_COMPILER "gcc " __VERSION__
    #else
    #define FE_COMPILER "unknown"
    #endif
    """
    const char *FE_COMPILER
    bint FASTELBO_OPENMP
    int PyFloat_CheckExact(object)
    double PyFloat_AsDouble(object)

SCALES = ("var", "std", "logvar", "logstd", "precision")

# Below this many elements a second thread costs more than it saves: waking it takes microseconds, and beside a busy
# neighbour a region may wait for a time slice.
DEF PARALLEL_FROM = 1 << 17
# Below this many, a few microseconds at most, letting other Python threads run would cost more than it gives.
DEF ALONE_BELOW = 1 << 12

cdef const kernel_set *kernels = NULL
cdef const fe_openmp_table *openmp = NULL
cdef object float32 = np.float32, float64 = np.float64
cdef object default_axis = None, evaluate = None, evaluate_elbo = None, results = None, get_num_threads = None
cdef object new = tuple.__new__  # of a named tuple, whose own goes through the interpreter
cdef tuple nll_fields = ("value", "x", "mean", "scale"), kl_fields = ("value", "mean", "scale", "prior_mean", "prior_scale")
cdef tuple elbo_fields = ("value", "nll", "kl", "x", "recon", "scale", "z_mean", "z_scale", "prior_mean", "prior_scale")
DEF ELBO_VALUES = 3
DEF ELBO_FIELDS = 10
DEF OF_LATENTS = 6  # from this field on
cdef int[4] nll_arguments = [-1, FIRST, SECOND, SCALE]
cdef int[5] kl_arguments = [-1, FIRST, SCALE, SECOND, PRIOR]
cdef int[10] elbo_arguments = [-1, -1, -1, FIRST, SECOND, SCALE, FIRST, SCALE, SECOND, PRIOR]


# ---- what this build and this machine are --------------------------------------------------------------------------


def isa_levels():
    """The instruction set levels this machine can run, best last."""
    return tuple([name for name in ("baseline", "v3", "v4") if fe_kernels(name.encode()) != NULL])


def isa():
    """The level in use."""
    return (<bytes>kernels.name).decode()


def compiler():
    return (<bytes>FE_COMPILER).decode()


OPENMP = FASTELBO_OPENMP != 0  # this build has _openmp
openmp_error = ""  # why that does not load


def openmp_version():
    """0 without it"""
    return openmp.version if openmp else 0


def openmp_max_threads():
    return openmp.max_threads() if openmp else 1


def openmp_runtime():
    return (<bytes>openmp.runtime()).decode() if openmp else ""


def openmp_thread_limit():
    return openmp.thread_limit() if openmp else 1


def in_parallel():
    return openmp != NULL and openmp.in_parallel() != 0


def forked():
    return openmp != NULL and openmp.forked() != 0


cdef int choose_kernels() except -1:
    global kernels
    name = os.environ.get("FASTELBO_ISA") or None
    kernels = fe_kernels(NULL) if name is None else fe_kernels(name.encode())
    if kernels == NULL:
        raise ImportError(
            f"FASTELBO_ISA={name!r} is no instruction set level of this machine: "
            f"unset it, or set it to one of {', '.join(isa_levels())}"
        )
    return 0


choose_kernels()


def use_openmp(table):
    """That of _openmp. Without it, each call has one thread."""
    global openmp
    openmp = <const fe_openmp_table *>PyCapsule_GetPointer(table, FE_OPENMP)


def register(axis, evaluate_, evaluate_elbo_, results_, get_num_threads_):
    """What the doors need of the modules that import this one."""
    global default_axis, evaluate, evaluate_elbo, results, get_num_threads
    default_axis, evaluate, evaluate_elbo, results, get_num_threads = axis, evaluate_, evaluate_elbo_, results_, get_num_threads_


# ---- carrying out a plan ---------------------------------------------------------------------------------------------


cdef struct job:  # a plan, and what it takes to carry it out
    plan *p
    plan *sums   # of gradients that are set apart
    int n_sums, threads, kind
    void *zeros  # of fe_plan_use, and behind them the slabs
    void *work   # p.work, which is aligned, lies in it


DEF OF_CALL = 0  # kinds of spare blocks
DEF OF_THREAD = 1
DEF OF_LATENTS_THREAD = 2


cdef void *take(int kind, size_t bytes) except NULL:
    """A block for one call, or one thread: too large for a small thread's stack"""
    cdef void *found = take_spare(kind)
    if found == NULL:
        found = PyMem_Malloc(bytes)
    if found == NULL:
        raise MemoryError(f"fastelbo: no memory for the {bytes:,} bytes that a call works in")
    return found


cdef void give(int kind, void *block) noexcept:
    if not keep_spare(kind, block):
        PyMem_Free(block)


cdef int plan_sums(job *j) except -1:
    cdef plan *p = j.p
    cdef int a, n = 0
    for a in range(N_GRADS):
        n += p.apart >> a & 1 and p.gradient[a].data != NULL
    if not n:
        return 0
    j.sums = <plan *>PyMem_Malloc(n * sizeof(plan))
    if j.sums == NULL:
        raise MemoryError(f"fastelbo: no memory for the {n * sizeof(plan):,} bytes that a call works in")
    for a in range(N_GRADS):
        if p.apart >> a & 1 and p.gradient[a].data != NULL:
            fe_plan_apart(p, a, &j.sums[j.n_sums])
            j.n_sums += 1
    return 0


cdef int begin(job *j, plan *p, ptrdiff_t elements, int kind) except -1:
    """Take all memory that the plan needs, before anything is written; `end` gives it back"""
    cdef size_t bytes, slabs, work = max(kernels.work[0], kernels.work[1]) + WORK_ALIGNMENT
    cdef char *zeros
    cdef char *slab
    cdef int i, most = 1, threads
    j.p, j.sums, j.n_sums, j.kind, j.zeros, j.work = p, NULL, 0, kind, NULL, NULL
    if elements >= PARALLEL_FROM and openmp != NULL and not openmp.forked():
        most = get_num_threads()
    fe_plan_prepare(p)
    if p.apart:
        plan_sums(j)
    fe_plan_arrange(p)
    bytes = fe_plan_bytes(p)
    for i in range(j.n_sums):
        fe_plan_arrange(&j.sums[i])
        bytes += fe_plan_bytes(&j.sums[i])
    fe_plan_share(p, most, bytes)
    threads, slabs = p.threads, fe_plan_slabs(p)
    for i in range(j.n_sums):
        fe_plan_share(&j.sums[i], most, bytes)
        threads, slabs = max(threads, j.sums[i].threads), max(slabs, fe_plan_slabs(&j.sums[i]))
    j.threads = threads
    work *= threads
    bytes += slabs
    if threads > 1:
        work += sizeof(size_t)
        j.work = take_team()
        if j.work != NULL and (<size_t *>j.work)[0] < work:  # of fewer threads, whose calls are over
            PyMem_Free(j.work)
            j.work = NULL
    else:
        j.work = take_spare(kind)
    if j.work == NULL:
        j.work = PyMem_Malloc(work)
        if j.work != NULL and threads > 1:
            (<size_t *>j.work)[0] = work
    if bytes:
        j.zeros = PyMem_Calloc(bytes, 1)
    if j.work == NULL or (bytes and j.zeros == NULL):
        end(j)
        raise MemoryError(f"fastelbo: no memory for the {bytes + work:,} bytes that a call works in "
                          f"({bytes:,} for sums, {work:,} for {threads} thread{'s' * (threads > 1)})")
    p.work = <void *>((<uintptr_t>j.work + (sizeof(size_t) if threads > 1 else 0) + WORK_ALIGNMENT - 1) & ~<uintptr_t>(WORK_ALIGNMENT - 1))
    zeros = <char *>j.zeros
    slab = zeros + (bytes - slabs)
    fe_plan_use(p, zeros, slab)
    for i in range(j.n_sums):
        zeros += fe_plan_bytes(p if i == 0 else &j.sums[i - 1])
        j.sums[i].work = p.work
        fe_plan_use(&j.sums[i], zeros, slab)
    return 0


cdef void end(job *j) noexcept:
    if j.zeros != NULL:
        PyMem_Free(j.zeros)
    if j.sums != NULL:
        PyMem_Free(j.sums)
    if j.work != NULL and not (keep_team(j.work) if j.threads > 1 else keep_spare(j.kind, j.work)):
        PyMem_Free(j.work)
    j.zeros = j.sums = j.work = NULL


cdef void carry_out_one(void *data, ptrdiff_t task, int thread) noexcept nogil:
    cdef plan *p = <plan *>data
    kernels.run[p.is_double](p, task, task + 1, thread)


cdef void carry_out(plan *p) noexcept nogil:
    cdef ptrdiff_t tasks
    fe_plan_first_wave(p)
    while True:
        tasks = fe_plan_tasks(p)
        if p.threads <= 1 or tasks <= 1:  # without any call into OpenMP
            kernels.run[p.is_double](p, 0, tasks, 0)
        else:
            openmp.each(carry_out_one, p, tasks, p.threads if p.threads < tasks else <int>tasks)
        if p.bad:
            return
        if not p.check_only:
            kernels.finish_rows[p.is_double](p)
        if p.bad or not fe_plan_next_wave(p):
            return


cdef double finish(plan *p) noexcept nogil:
    cdef double total = kernels.finish[p.is_double](p)
    while fe_plan_look(p):  # some sums of gradients ask for it
        carry_out(p)
        kernels.finish[p.is_double](p)
    return total


cdef void check(job *j) noexcept nogil:
    """Only set `bad`"""
    j.p.check_only = 1
    carry_out(j.p)
    j.p.check_only = 0


cdef void compute(job *j, double *total) noexcept nogil:
    cdef int i
    if j.p.aliased:
        check(j)
    for i in range(j.n_sums):  # before an input might be overwritten
        if not j.p.bad:
            carry_out(&j.sums[i])
            finish(&j.sums[i])
            j.p.bad |= j.sums[i].bad
    if j.p.bad:
        return
    if j.p.aliased and fe_plan_sums_elements(j.p):
        compute_sums_first(j, total)
        return
    carry_out(j.p)
    if not j.p.bad:
        total[0] = finish(j.p)


cdef void compute_sums_first(job *j, double *total) noexcept nogil:
    """The sums alone, which may have to read their elements again; then what may be written over them"""
    cdef char *places[5]
    cdef double ignored
    cdef wide reduced
    cdef int i, other_rows = j.p.other_rows
    for i in range(N_GRADS):
        places[i] = j.p.gradient[i].data
        if fe_plan_is_direct(j.p, i):
            j.p.gradient[i].data = NULL
    places[N_GRADS] = j.p.value.data
    j.p.value.data, j.p.other_rows = NULL, 1
    carry_out(j.p)
    total[0] = finish(j.p)
    reduced = j.p.reduced
    for i in range(N_GRADS):
        j.p.gradient[i].data = places[i] if fe_plan_is_direct(j.p, i) else NULL
    j.p.value.data, j.p.other_rows = places[N_GRADS], other_rows
    if not j.p.bad:
        carry_out(j.p)
        ignored = finish(j.p)  # twice the sum
        j.p.reduced = reduced


cdef int execute(plan *p, double *total, ptrdiff_t elements) except -1:
    """Run a call; 1 if some scale was <= 0 (the outputs are then unspecified; untouched where one is an input)."""
    cdef job j
    begin(&j, p, elements, OF_THREAD)
    if elements < ALONE_BELOW:
        compute(&j, total)
    else:
        with nogil:
            compute(&j, total)
    end(&j)
    return p.bad


cdef void clear(plan *p) noexcept:
    cdef int i
    for i in range(N_ARGUMENTS):
        p.argument[i].data = NULL
    for i in range(N_GRADS):
        p.gradient[i].data = NULL
        p.broadcast[i] = 0
    p.value.data = p.join.value.data = NULL
    p.aliased = p.check_only = p.bad = p.sums_only = 0
    p.value_unit = 0.0
    p.join.count = 0
    p.min_var = 0.0
    p.factor = p.x_scale = 1.0


# ---- the general call --------------------------------------------------------------------------------------------------

cdef dict type_codes = {
    "?1": BOOL, "u1": U8, "i1": I8, "u2": U16, "i2": I16, "u4": U32, "i4": I32, "u8": U64, "i8": I64,
    "f2": F16, "V2": BF16, "f4": F32, "f8": F64,  # _arrays lets no other V2 through
}  # fmt: skip


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

    def __cinit__(self):
        clear(&self.p)
        self.j.zeros = self.j.sums = self.j.work = NULL
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
    double min_var, bint full, str reduction, value, tuple gradients, bint aliased, double factor=1.0, double x_scale=1.0,
    double value_unit=0.0, tuple join=None, /,
):  # fmt: skip
    """One call on checked views of one common shape, row axes first, the last `n_event` axes the event.

    arguments: x, mean, scale, prior scale, weight, where (the KL: mean, prior mean, ...; the Bernoulli NLL: x, logits), None where
    absent, of any real dtype and layout; broadcast: for the first four, bit i set where the argument as passed is broadcast along axis i;
    kinds: indices into SCALES, prior_kind -1 for unit variance; value: the rows, or None if reduced; gradients: of the
    first four, None where not asked for, with stride 0 along summed axes; aliased: some output is an input; factor: of
    every gradient; x_scale: x times it, a number of the computing dtype, takes the place of x; value_unit: not 0 for the rows of samples,
    float64 in this unit; join: of the KL in a negative ELBO (samples or None, their unit, nll, value, beta), whose rows it fills.
    """
    cdef Prepared call = Prepared()
    cdef plan *p = &call.p
    cdef int i
    cdef cnp.ndarray first = arguments[0]
    call.views = (arguments, gradients, value)
    call.elements = cnp.PyArray_SIZE(first)
    p.loss = {"nll": NLL, "kl": KL, "bernoulli": BERNOULLI, "laplace": LAPLACE}[loss]
    if p.loss == BERNOULLI:  # losses/bernoulli.h: the logits and zero for x and mean, x for a scale of any sign
        scale_kind = LOGVAR
        arguments = (arguments[1], None, arguments[0], None, *arguments[4:])
        broadcast, gradients = (broadcast[1], 0, broadcast[0], 0), (gradients[1], None, gradients[0], None)
        p.argument[SECOND].data, p.argument[SECOND].type = <char *>&call.zero, F64 if is_double else F32
        for i in range(cnp.PyArray_NDIM(first)):
            p.argument[SECOND].stride[i] = 0
    p.is_double, p.aliased = is_double, aliased
    p.full = full  # the loss's constant: of the KL and the Bernoulli NLL 0
    p.reduction = SUM if reduction == "sum" else MEAN if reduction == "mean" else NONE
    p.kind[0], p.kind[1], p.min_var, p.factor, p.x_scale = scale_kind, prior_kind, min_var, factor, x_scale
    p.dims = cnp.PyArray_NDIM(first)
    p.row_dims = p.dims - n_event
    for i in range(p.dims):
        p.shape[i] = cnp.PyArray_DIM(first, i)
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
    if join is not None:
        call.views = (*call.views, join)
        join_rows(p, join[0], join[1], join[2], join[3], join[4])
    begin(&call.j, p, call.elements, OF_THREAD)
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


# ---- fast doors ----------------------------------------------------------------------------------------------------------

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


cdef struct elbo:
    door half[2]  # the NLL and the KL
    double beta
    char *value   # rows to fill where they are not reduced


cdef inline bint regular(object x, int typenum) noexcept:
    """A plain C-contiguous, aligned, native array of the type"""
    return (cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == typenum
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x))


cdef bint open_door(door *d, object x, object axis) noexcept:
    """x gives dtype and shape"""
    if not cnp.PyArray_CheckExact(x) or axis is not default_axis:
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


cdef inline bint hold(door *d, int argument, double x) noexcept:
    """A number takes the computing type, unless that has none but infinity for it"""
    if d.call.is_double:
        d.scalar[argument].as_double = x
    else:
        d.scalar[argument].as_float = <float>x
        if d.scalar[argument].as_float - d.scalar[argument].as_float != 0 and x - x == 0:
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


cdef bint disentangle(door *d, view *out, bint summed) noexcept:
    """Whether an output is apart from every input, or one of them exactly, and no sum"""
    cdef int i
    cdef view *v
    cdef uintptr_t begin = <uintptr_t>out.data, other
    for i in range(4):
        v = &d.call.argument[i]
        other = <uintptr_t>v.data
        if v.data == NULL or v.data == <char *>&d.scalar[i]:
            continue
        if other >= begin + size_of(d, out) or begin >= other + size_of(d, v):
            continue
        if summed or other != begin or out.stride[0] != v.stride[0] or out.stride[1] != v.stride[1]:
            return False
        d.call.aliased = 1
    return True


cdef object result_array(door *d, view *out, int ndim, cnp.npy_intp *shape, bint by_row, bint by_column, object given):
    """The array a result goes to, new or as given; None if that one needs a closer look"""
    cdef cnp.ndarray array
    cdef int i
    if given is None:
        array = cnp.PyArray_SimpleNew(ndim, shape, d.typenum)
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


cdef inline bint apart(door *d, view *a, view *b) noexcept:
    return (a.data == NULL or b.data == NULL or <uintptr_t>a.data >= <uintptr_t>b.data + size_of(d, b)
            or <uintptr_t>b.data >= <uintptr_t>a.data + size_of(d, a))


cdef int reduction_of(object name) noexcept:
    """The reduction; -1 for a name that needs a closer look"""
    return NONE if name is "none" else SUM if name is "sum" else MEAN if name is "mean" else -1


cdef int choose_scale(door *d, int argument, object var, object std, object logvar, object logstd, object precision) noexcept:
    """Enter the one scale that is given; its kind, UNIT where none is, -2 where it does not fit"""
    cdef int kind = UNIT, given = 0
    cdef object scale = None
    if var is not None:
        scale, kind, given = var, VAR, given + 1
    if std is not None:
        scale, kind, given = std, STD, given + 1
    if logvar is not None:
        scale, kind, given = logvar, LOGVAR, given + 1
    if logstd is not None:
        scale, kind, given = logstd, LOGSTD, given + 1
    if precision is not None:
        scale, kind, given = precision, PRECISION, given + 1
    if given > 1 or (given and not enter(d, argument, scale, True)):
        return -2
    return kind


cdef object value_through(door *d, object out):
    """Run a call for its value; None if the general call must see to it"""
    cdef double total = 0
    cdef object value = None
    if d.call.reduction == NONE:
        value = result_array(d, &d.call.value, d.ndim - 1, d.shape, True, False, out)
        if value is None or (out is not None and not disentangle(d, &d.call.value, False)):
            return None
    elif out is not None or d.ndim == 1:
        return None
    if execute(&d.call, &total, d.rows * d.columns):
        return None  # the general call names the element
    if d.call.reduction != NONE:
        return total
    return value if out is not None else as_returned(value)


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
    elif type(wrt) is not tuple:
        return 0
    for name in <tuple>wrt:
        i = place_of(name, fields)
        if i < values:
            return 0
        bits |= 1 << i
    return bits


cdef object gradients_through(door *d, tuple fields, const int *argument, tuple likes, object wrt, object out):
    """Run a call for value and gradients; None if the general call must see to it. By field: argument[i] is its number,
    likes[i] the argument as passed, whose shape its gradient has."""
    cdef int bits = wanted(wrt, fields, 1), count = len(fields), i, j
    cdef list found = [None] * count
    cdef object given = None
    cdef double total = 0
    cdef bint reduced = d.call.reduction != NONE
    if bits == 0 or (out is not None and (type(out) is not tuple or len(<tuple>out) != count)):
        return None
    for i in range(count):
        given = None if out is None else (<tuple>out)[i]
        if i == 0 and not reduced:
            found[0] = result_array(d, &d.call.value, d.ndim - 1, d.shape, True, False, given)
        elif i > 0 and bits >> i & 1 and likes[i] is not None:
            found[i] = gradient_through(d, argument[i], likes[i], given)
        elif i > 0 and not bits >> i & 1 and given is None:
            continue
        elif i == 0 and given is None and d.ndim > 1:
            continue
        else:
            return None
        if found[i] is None or (given is not None
                                and not disentangle(d, &d.call.value if i == 0 else &d.call.gradient[argument[i]],
                                                    i > 0 and d.call.broadcast[argument[i]] != 0)):
            return None
    for i in range(count):
        for j in range(i if out is not None else 0):
            if not apart(d, &d.call.value if i == 0 else &d.call.gradient[argument[i]],
                         &d.call.value if j == 0 else &d.call.gradient[argument[j]]):
                return None
    if execute(&d.call, &total, d.rows * d.columns):
        return None
    for i in range(count):
        if found[i] is not None and (out is None or (<tuple>out)[i] is None):
            found[i] = as_returned(<cnp.ndarray>found[i])
    if reduced:
        found[0] = total
    return found


cdef bint usual(object full, object weight, object where, object min_var, object x_scale) noexcept:
    return ((full is True or full is False) and weight is None and where is None
            and PyFloat_CheckExact(min_var) and PyFloat_AsDouble(min_var) == 0.0
            and PyFloat_CheckExact(x_scale) and PyFloat_AsDouble(x_scale) == 1.0)


cdef bint open_nll(door *d, object x, object mean, object var, object std, object logvar, object logstd, object precision,
                   object axis, object full, object weight, object where, object min_var, object reduction, object x_scale,
                   bint samples) noexcept:
    if not usual(full, weight, where, min_var, x_scale) or not open_door(d, x, axis):
        return False
    if samples and cnp.PyArray_CheckExact(mean) and cnp.PyArray_NDIM(<cnp.ndarray>mean) == d.ndim + 1:
        d.samples = cnp.PyArray_DIM(<cnp.ndarray>mean, 0)
    place(d, &d.call.argument[FIRST], cnp.PyArray_BYTES(<cnp.ndarray>x), True, True)
    if not enter(d, SECOND, mean, False):
        return False
    d.call.loss, d.call.full = NLL, full is True
    d.call.kind[0] = choose_scale(d, SCALE, var, std, logvar, logstd, precision)
    d.call.kind[1] = UNIT
    d.call.reduction = reduction_of(reduction)
    return d.call.kind[0] >= 0 and d.call.reduction >= 0


cdef bint open_kl(door *d, object mean, object var, object std, object logvar, object logstd, object precision, object prior_mean,
                  object prior_var, object prior_std, object prior_logvar, object prior_logstd, object prior_precision,
                  object axis, object weight, object where, object reduction) noexcept:
    if weight is not None or where is not None or not open_door(d, mean, axis):
        return False
    place(d, &d.call.argument[FIRST], cnp.PyArray_BYTES(<cnp.ndarray>mean), True, True)
    if PyFloat_CheckExact(prior_mean):
        if not hold(d, SECOND, PyFloat_AsDouble(prior_mean)):
            return False
    elif not enter(d, SECOND, prior_mean, False):
        return False
    d.call.loss, d.call.full = KL, False
    d.call.kind[0] = choose_scale(d, SCALE, var, std, logvar, logstd, precision)
    d.call.kind[1] = choose_scale(d, PRIOR, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision)
    d.call.reduction = reduction_of(reduction)
    return d.call.kind[0] >= 0 and d.call.kind[1] >= UNIT and d.call.reduction >= 0


cdef inline object only(object var, object std, object logvar, object logstd, object precision):
    return var if var is not None else std if std is not None else logvar if logvar is not None else logstd if logstd is not None else precision


def nll(x, mean, var, std, logvar, logstd, precision, axis, full, weight, where, min_var, reduction, out, x_scale, /):
    cdef door *d = <door *>take(OF_CALL, sizeof(elbo))
    cdef object value = None
    try:
        if open_nll(d, x, mean, var, std, logvar, logstd, precision, axis, full, weight, where, min_var, reduction, x_scale, False):
            value = value_through(d, out)
    finally:
        give(OF_CALL, d)
    if value is not None:
        return value
    return evaluate("nll", False, x, mean, (var, std, logvar, logstd, precision), None,
                    axis, full, weight, where, min_var, reduction, (), out, x_scale)


def nll_grad(x, mean, var, std, logvar, logstd, precision, axis, full, weight, where, min_var, reduction, wrt, out, x_scale, /):
    cdef door *d = <door *>take(OF_CALL, sizeof(elbo))
    cdef object found = None
    try:
        if open_nll(d, x, mean, var, std, logvar, logstd, precision, axis, full, weight, where, min_var, reduction, x_scale, False):
            likes = (None, x, mean, only(var, std, logvar, logstd, precision))
            found = gradients_through(d, nll_fields, nll_arguments, likes, wrt, out)
    finally:
        give(OF_CALL, d)
    if found is not None:
        return new(results[0], found)
    return evaluate("nll", True, x, mean, (var, std, logvar, logstd, precision), None,
                    axis, full, weight, where, min_var, reduction, wrt, out, x_scale)


def kl(mean, var, std, logvar, logstd, precision, prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision,
       axis, weight, where, reduction, out, /):
    cdef door *d = <door *>take(OF_CALL, sizeof(elbo))
    cdef object value = None
    try:
        if open_kl(d, mean, var, std, logvar, logstd, precision, prior_mean, prior_var, prior_std, prior_logvar, prior_logstd,
                   prior_precision, axis, weight, where, reduction):
            value = value_through(d, out)
    finally:
        give(OF_CALL, d)
    if value is not None:
        return value
    return evaluate("kl", False, mean, prior_mean, (var, std, logvar, logstd, precision),
                    (prior_var, prior_std, prior_logvar, prior_logstd, prior_precision),
                    axis, True, weight, where, 0.0, reduction, (), out)


def kl_grad(mean, var, std, logvar, logstd, precision, prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision,
            axis, weight, where, reduction, wrt, out, /):
    cdef door *d = <door *>take(OF_CALL, sizeof(elbo))
    cdef object found = None
    try:
        if open_kl(d, mean, var, std, logvar, logstd, precision, prior_mean, prior_var, prior_std, prior_logvar, prior_logstd,
                   prior_precision, axis, weight, where, reduction):
            likes = (None, mean, only(var, std, logvar, logstd, precision), prior_mean,
                     only(prior_var, prior_std, prior_logvar, prior_logstd, prior_precision))
            found = gradients_through(d, kl_fields, kl_arguments, likes, wrt, out)
    finally:
        give(OF_CALL, d)
    if found is not None:
        return new(results[1], found)
    return evaluate("kl", True, mean, prior_mean, (var, std, logvar, logstd, precision),
                    (prior_var, prior_std, prior_logvar, prior_logstd, prior_precision),
                    axis, True, weight, where, 0.0, reduction, wrt, out)


# ---- the negative ELBO: two doors, opened before either call runs ---------------------------------------------------------


cdef bint open_elbo(elbo *e, object beta) noexcept:
    """Both halves are open: whether they belong together"""
    cdef door *nll = &e.half[0]
    cdef door *kl = &e.half[1]
    cdef int i
    if type(beta) is int:
        if not 0 <= beta <= 1 << 53:
            return False
    elif not PyFloat_CheckExact(beta):
        return False
    e.beta = PyFloat_AsDouble(beta)
    if not 0.0 <= e.beta < INFINITY or nll.typenum != kl.typenum or nll.ndim != kl.ndim or nll.ndim == 1:
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
    """From (N, D) to (S, N, D): the order of _arrays.Frame, on which the bits depend"""
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


cdef bint overlap(cnp.ndarray one, cnp.ndarray two) noexcept:
    cdef uintptr_t begin = <uintptr_t>cnp.PyArray_DATA(one), other = <uintptr_t>cnp.PyArray_DATA(two)
    return begin < other + <uintptr_t>cnp.PyArray_NBYTES(two) and other < begin + <uintptr_t>cnp.PyArray_NBYTES(one)


cdef bint disentangle_elbo(elbo *e, list found, tuple likes, tuple out) noexcept:
    """Whether each array in out is apart from the others and from every input; a gradient may also be an input of its own half,
    exactly and unsummed"""
    cdef int i, j, size = 8 if e.half[0].call.is_double else 4
    cdef door *d
    cdef view *v
    for i in range(ELBO_FIELDS):
        if found[i] is None or out[i] is None:
            continue
        d = &e.half[i >= OF_LATENTS]
        for j in range(i):
            if found[j] is not None and overlap(<cnp.ndarray>found[i], <cnp.ndarray>found[j]):
                return False
        for j in range(ELBO_VALUES, ELBO_FIELDS):
            if not cnp.PyArray_CheckExact(likes[j]) or not overlap(<cnp.ndarray>found[i], <cnp.ndarray>likes[j]):
                continue
            if i < ELBO_VALUES or (i >= OF_LATENTS) != (j >= OF_LATENTS):
                return False
            v = &d.call.argument[elbo_arguments[j]]
            if (cnp.PyArray_DATA(<cnp.ndarray>found[i]) != cnp.PyArray_DATA(<cnp.ndarray>likes[j])
                    or cnp.PyArray_NBYTES(<cnp.ndarray>found[i]) != cnp.PyArray_NBYTES(<cnp.ndarray>likes[j])
                    or cnp.PyArray_NBYTES(<cnp.ndarray>found[i]) != max(d.samples, 1) * d.rows * d.columns * size):
                return False
            d.call.aliased = 1
    return True


cdef list places(elbo *e, tuple likes, int bits, object out):
    """Arrays for the results by field, new or as given; None if the general call must see to it"""
    cdef list found = [None] * ELBO_FIELDS
    cdef door *d
    cdef object given
    cdef int i
    cdef cnp.npy_intp *shape
    if out is not None and (type(out) is not tuple or len(<tuple>out) != ELBO_FIELDS):
        return None
    for i in range(ELBO_FIELDS):
        given = None if out is None else (<tuple>out)[i]
        d = &e.half[i >= OF_LATENTS]
        if i < ELBO_VALUES and d.call.reduction == NONE:
            d = &e.half[i == 2]
            found[i] = result_array(d, &d.call.value, d.ndim - 1, d.shape, True, False, given)
            if i == 0:
                e.value = d.call.value.data
        elif i >= ELBO_VALUES and bits >> i & 1 and likes[i] is not None:
            found[i] = gradient_through(d, elbo_arguments[i], likes[i], given)
        elif given is None and not bits >> i & 1:
            continue
        else:
            return None
        if found[i] is None:
            return None
    return found if out is None or disentangle_elbo(e, found, likes, <tuple>out) else None


cdef object sample_rows(elbo *e):
    """Rows of samples: float64, in a unit"""
    cdef door *d = &e.half[0]
    cdef view *v = &d.call.value
    cdef cnp.npy_intp count = d.samples * d.rows
    cdef cnp.ndarray rows = cnp.PyArray_SimpleNew(1, &count, cnp.NPY_FLOAT64)
    v.data, v.type = cnp.PyArray_BYTES(rows), F64
    v.stride[0], v.stride[1], v.stride[2] = 8 * d.rows, 8, 0
    d.call.value_unit = unit_of_samples(d.call.is_double, d.samples)
    return rows


cdef void join_door(elbo *e, char *nll, bint sampled) noexcept:
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


cdef bint run_elbo(elbo *e, double *totals) except -1:
    """Both halves; False if some scale was <= 0 (no input is then changed)"""
    cdef job jobs[2]
    cdef plan *nll = &e.half[0].call
    cdef plan *kl = &e.half[1].call
    cdef ptrdiff_t elements[2]
    cdef int i
    for i in range(2):
        elements[i] = max(e.half[i].samples, 1) * e.half[i].rows * e.half[i].columns
    begin(&jobs[0], nll, elements[0], OF_THREAD)
    try:
        begin(&jobs[1], kl, elements[1], OF_LATENTS_THREAD)
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


cdef list elbo_through(elbo *e, tuple likes, int bits, object out):
    """Run both halves; the results by field, or None if the general call must see to it"""
    cdef door *nll = &e.half[0]
    cdef door *kl = &e.half[1]
    cdef list found = places(e, likes, bits, out)
    cdef object rows = None
    cdef double average = 0
    cdef double totals[2]
    cdef char *nll_rows
    cdef int i
    if found is None:
        return None
    nll_rows = nll.call.value.data
    if nll.samples:
        add_samples(nll)
        if nll.call.reduction == NONE:
            rows = sample_rows(e)
    if nll.call.reduction == NONE:
        join_door(e, nll_rows, rows is not None)
    if not run_elbo(e, totals):
        return None
    for i in range(ELBO_VALUES, ELBO_FIELDS):
        if bits >> i & 1 and (out is None or (<tuple>out)[i] is None):
            found[i] = as_returned(<cnp.ndarray>found[i])
    if nll.call.reduction != NONE:
        found[0] = kernels.join(&nll.call, &kl.call, <double>nll.samples if nll.samples and nll.call.reduction == SUM else 1.0,
                                e.beta, &average)
        found[1], found[2] = average, totals[1]
    return found


def neg_elbo(x, recon, z_mean, var, std, logvar, logstd, precision, z_var, z_std, z_logvar, z_logstd, z_precision, prior_mean,
             prior_var, prior_std, prior_logvar, prior_logstd, prior_precision, x_scale, beta, axis, z_axis, full, weight, where,
             z_where, min_var, reduction, grad, wrt, out, /):
    cdef elbo *e
    cdef list found = None
    cdef int bits = wanted(wrt, elbo_fields, ELBO_VALUES) if grad else 0
    e = <elbo *>take(OF_CALL, sizeof(elbo))
    try:
        if ((bits or not grad)
                and open_nll(&e.half[0], x, recon, var, std, logvar, logstd, precision, axis, full, weight, where, min_var, reduction,
                             x_scale, True)
                and open_kl(&e.half[1], z_mean, z_var, z_std, z_logvar, z_logstd, z_precision, prior_mean, prior_var, prior_std,
                            prior_logvar, prior_logstd, prior_precision, z_axis, weight, z_where, reduction)
                and open_elbo(e, beta)):
            likes = (None, None, None, x, recon, only(var, std, logvar, logstd, precision),
                     z_mean, only(z_var, z_std, z_logvar, z_logstd, z_precision), prior_mean,
                     only(prior_var, prior_std, prior_logvar, prior_logstd, prior_precision))
            found = elbo_through(e, likes, bits, out)
    finally:
        give(OF_CALL, e)
    if found is None:
        found = evaluate_elbo(x, recon, z_mean, (var, std, logvar, logstd, precision),
                              (z_var, z_std, z_logvar, z_logstd, z_precision), prior_mean,
                              (prior_var, prior_std, prior_logvar, prior_logstd, prior_precision),
                              x_scale, beta, axis, z_axis, full, weight, where, z_where, min_var, reduction, wrt, out)
    return new(results[3], found) if grad else new(results[2], found[:ELBO_VALUES])


# ---- for the tests ---------------------------------------------------------------------------------------------------------


def elementary(str name, cnp.ndarray x):
    """exp, log, expm1 or log1p as the kernels compute them, of a contiguous float32 or float64 array."""
    cdef cnp.ndarray y = cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)
    cdef int which = ("exp", "log", "expm1", "log1p").index(name)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(x)
    if not (regular(x, cnp.NPY_FLOAT32) or regular(x, cnp.NPY_FLOAT64)) or cnp.PyArray_NDIM(x) != 1:
        raise TypeError("x must be a contiguous 1-D array of float32 or float64")
    cdef const void *source = cnp.PyArray_DATA(x)
    cdef void *target = cnp.PyArray_DATA(y)
    cdef int is_double = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    with nogil:
        kernels.function[is_double](which, source, target, n)
    return y
