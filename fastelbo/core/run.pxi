"""Carrying out a plan: its memory, its threads, its tasks wave after wave."""

cdef struct job:  # a plan, and what it takes to carry it out
    plan *p
    plan *sums   # of gradients that are set apart
    int n_sums, threads, kind
    void *zeros  # of fe_plan_use, and behind them the slabs
    void *panels
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


cdef int begin(job *j, plan *p, ptrdiff_t elements, int kind, object num_threads) except -1:
    """Take all memory that the plan needs, before anything is written; `end` gives it back. num_threads() is how many there may be"""
    cdef size_t bytes, slabs, panels, work = max(kernels.work[0], kernels.work[1]) + WORK_ALIGNMENT
    cdef char *zeros
    cdef char *slab
    cdef int i, most = 1, threads
    j.p, j.sums, j.n_sums, j.kind, j.zeros, j.panels, j.work = p, NULL, 0, kind, NULL, NULL, NULL
    if elements >= PARALLEL_FROM and openmp != NULL and not openmp.forked():
        most = num_threads()
    fe_plan_prepare(p)
    if p.apart:
        plan_sums(j)
    fe_plan_arrange(p)
    bytes = fe_plan_bytes(p)
    for i in range(j.n_sums):
        fe_plan_arrange(&j.sums[i])
        bytes += fe_plan_bytes(&j.sums[i])
    fe_plan_share(p, most, bytes)
    threads, slabs, panels = p.threads, fe_plan_slabs(p), fe_plan_panels(p)
    for i in range(j.n_sums):
        fe_plan_share(&j.sums[i], most, bytes)
        threads, slabs = max(threads, j.sums[i].threads), max(slabs, fe_plan_slabs(&j.sums[i]))
        panels = max(panels, fe_plan_panels(&j.sums[i]))
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
    if panels:
        j.panels = PyMem_Malloc(panels)
    if j.work == NULL or (bytes and j.zeros == NULL) or (panels and j.panels == NULL):
        end(j)
        bytes += panels
        raise MemoryError(f"fastelbo: no memory for the {bytes + work:,} bytes that a call works in "
                          f"({bytes:,} for sums, {work:,} for {threads} thread{'s' * (threads > 1)})")
    p.work = <void *>((<uintptr_t>j.work + (sizeof(size_t) if threads > 1 else 0) + WORK_ALIGNMENT - 1) & ~<uintptr_t>(WORK_ALIGNMENT - 1))
    zeros = <char *>j.zeros
    slab = zeros + (bytes - slabs)
    fe_plan_use(p, zeros, slab)
    p.panel = j.panels
    for i in range(j.n_sums):
        zeros += fe_plan_bytes(p if i == 0 else &j.sums[i - 1])
        j.sums[i].work, j.sums[i].panel = p.work, j.panels
        fe_plan_use(&j.sums[i], zeros, slab)
    return 0


cdef void end(job *j) noexcept:
    if j.zeros != NULL:
        PyMem_Free(j.zeros)
    if j.panels != NULL:
        PyMem_Free(j.panels)
    if j.sums != NULL:
        PyMem_Free(j.sums)
    if j.work != NULL and not (keep_team(j.work) if j.threads > 1 else keep_spare(j.kind, j.work)):
        PyMem_Free(j.work)
    j.zeros = j.sums = j.panels = j.work = NULL


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


cdef int execute(plan *p, double *total, ptrdiff_t elements, object num_threads) except -1:
    """Run a call; 1 if some scale was <= 0 (the outputs are then unspecified; untouched where one is an input)."""
    cdef job j
    begin(&j, p, elements, OF_THREAD, num_threads)
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
    for i in range(N_PARAMETERS):
        p.parameter[i] = 0.0
    p.factor = p.x_scale = 1.0
