#define _GNU_SOURCE /* dladdr */
#include "threads.h"

#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifndef _WIN32
#include <dlfcn.h>
#include <pthread.h>
#endif

/* libgomp's threads do not survive fork, and a parallel region in the child waits for them for ever. The handler sets a flag
 * and nothing else: it may call neither OpenMP nor anything that locks. */
static volatile int forked = 0;
#ifndef _WIN32
static void in_child(void) { forked = 1; }
#endif

int fe_watch_fork(void) {
#ifndef _WIN32
    return pthread_atfork(NULL, NULL, in_child);
#else
    return 0;
#endif
}

int fe_forked(void) { return forked; }

#ifdef _OPENMP
int fe_openmp_version(void) { return _OPENMP; }
int fe_openmp_max_threads(void) { return omp_get_max_threads(); }
int fe_in_parallel(void) { return omp_in_parallel(); }
#else
int fe_openmp_version(void) { return 0; }
int fe_openmp_max_threads(void) { return 1; }
int fe_in_parallel(void) { return 0; }
#endif

const char *fe_openmp_runtime(void) {
#if defined(_OPENMP) && !defined(_WIN32)
    Dl_info info;
    if (dladdr((void *)(size_t)omp_get_max_threads, &info) && info.dli_fname) {
        const char *slash = strrchr(info.dli_fname, '/');
        return slash ? slash + 1 : info.dli_fname;
    }
#endif
    return "";
}
