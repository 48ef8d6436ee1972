"""What the core takes from C: the plan of a call, the kernels, the threads."""

cdef extern from "src/kernels.h" nogil:
    enum:
        N_LOSSES
        FIRST, SECOND, SCALE, PRIOR, WEIGHT, WHERE, N_ARGUMENTS, N_GRADS
        NONE, SUM, MEAN
        U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64, BOOL, SWAPPED
        VAR, STD, LOGVAR, LOGSTD, PRECISION, NUMBER, UNIT, N_PARAMETERS
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
        void *panel
    ctypedef struct traits:
        int forms, takes
    const traits *LOSSES
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
    size_t fe_plan_panels(const plan *)
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
    static const char *const loss_names[N_LOSSES] = {
    #define LOSS(NAME, name, ...) [NAME] = #name,
        EACH_LOSS(LOSS)
    #undef LOSS
    };
    """
    const char **loss_names

cdef extern from "src/blocks.h" nogil:
    void *take_spare(int)
    int keep_spare(int, void *)
    enum:
        MEMORIES
    uint64_t hash_of(const ptrdiff_t *, int)
    void *take_memory(uint64_t)
    void *put_memory(uint64_t, void *)
    void *take_team()
    int keep_team(void *)

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
    ctypedef PyObject *(*PyCFunction)(PyObject *, PyObject *)
    ctypedef struct PyMethodDef:
        const char *ml_name
        PyCFunction ml_meth
        int ml_flags
        const char *ml_doc
    int METH_FASTCALL
    object PyCFunction_NewEx(PyMethodDef *, object, PyObject *)

cdef extern from "numpy/arrayobject.h":
    enum:
        NPY_HALF
    object PyArray_NewLikeArray(cnp.ndarray, cnp.NPY_ORDER, PyObject *, int)
    PyObject *as_reference "PyArray_DescrFromType"(int)  # whose reference PyArray_NewLikeArray takes
