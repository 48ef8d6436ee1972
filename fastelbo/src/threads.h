/* What the operating system and the OpenMP runtime say about threads. The policy is _threads.py's. */
#ifndef FASTELBO_THREADS_H
#define FASTELBO_THREADS_H

int fe_watch_fork(void);        /* once, at import; nonzero: it failed */
int fe_forked(void);            /* this process is a fork of one that had imported fastelbo, or may have used its OpenMP runtime */
int fe_openmp_version(void);    /* _OPENMP, 0 in a serial build */
int fe_openmp_max_threads(void); /* as threadpoolctl, joblib and omp_set_num_threads left it */
int fe_in_parallel(void);
const char *fe_openmp_runtime(void); /* the file name of the runtime in use, "" where unknown */

#endif
