/* The seam between the kernels' module, _core, and the one that needs OpenMP, _openmp: a table, if that module is there. The policy,
 * how many threads a call uses, is _threads.py's. */
#ifndef FASTELBO_THREADS_H
#define FASTELBO_THREADS_H

#include <stddef.h>

#define FE_OPENMP "fastelbo._openmp.table" /* the capsule's name */

typedef struct {
    int version;                  /* _OPENMP */
    int (*max_threads)(void);     /* as threadpoolctl, joblib and omp_set_num_threads left it */
    int (*thread_limit)(void);    /* how many a region gets at most, whatever it asks for */
    int (*in_parallel)(void);
    int (*forked)(void);          /* this process is a fork of one that had imported fastelbo, or may have used its OpenMP runtime */
    const char *(*runtime)(void); /* the file name of the runtime in use, "" where unknown */
    /* body(data, 0 ... tasks - 1, the number of the thread that does it) */
    void (*each)(void (*body)(void *, ptrdiff_t, int), void *data, ptrdiff_t tasks, int threads);
} fe_openmp_table;

extern const fe_openmp_table fe_openmp;
int fe_watch_fork(void); /* once, at import; nonzero: it failed */

#endif
