/* The seam between the kernels' module and the one that has OpenMP in it: _openmp.pyx fills it, _core.pyx calls it, if it is there. The
 * policy, how many threads a call uses, is _threads.py's. */
#ifndef FASTELBO_THREADS_H
#define FASTELBO_THREADS_H

#include <stddef.h>

#define FE_TEAM "fastelbo._openmp.team" /* the capsule's name */

typedef struct {
    int version;               /* _OPENMP */
    int (*max_threads)(void);  /* as threadpoolctl, joblib and omp_set_num_threads left it */
    int (*in_parallel)(void);
    int (*forked)(void);       /* this process is a fork of one that had imported fastelbo, or may have used its OpenMP runtime */
    const char *(*runtime)(void); /* the file name of the runtime in use, "" where unknown */
    void (*each)(void (*body)(void *, ptrdiff_t), void *data, ptrdiff_t tasks, int threads); /* body(data, 0 ... tasks - 1) */
} fe_team;

/* threads.c */
int fe_watch_fork(void); /* once, at import; nonzero: it failed */
int fe_forked(void);
const char *fe_openmp_runtime(void);

#endif
