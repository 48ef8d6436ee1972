#define _GNU_SOURCE /* dladdr1 */
#include "threads.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>
#ifndef _WIN32
#include <dlfcn.h>
#include <pthread.h>
#endif
#if defined(__linux__) && defined(__GLIBC__)
#include <link.h>
#define CAN_TELL_WHO_LOADED_OPENMP
#endif

/* libgomp's threads do not survive fork, and a parallel region in the child waits for them for ever. The handler sets a flag
 * and nothing else: it may call neither OpenMP nor anything that locks. */
static volatile int forked = 0;
#ifndef _WIN32
static void in_child(void) { forked = 1; }
#endif

/* No handler tells of a fork before the import. If this process is one, and the runtime was there before this library, then another
 * package (NumPy, say, by its BLAS) may have used it before the fork, and its threads are as dead. A runtime that this library brought
 * along is new. */
#ifdef CAN_TELL_WHO_LOADED_OPENMP
static int is_fork_without_exec(void) {
    char stat[512] = ""; /* pid (name) state ppid pgrp session tty tpgid flags ... */
    unsigned flags = 0;
    FILE *file = fopen("/proc/self/stat", "r");
    if (!file) return 0;
    size_t length = fread(stat, 1, sizeof stat - 1, file);
    fclose(file);
    stat[length] = 0;
    const char *name_end = strrchr(stat, ')');
    return name_end && sscanf(name_end, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && flags & 0x40; /* PF_FORKNOEXEC */
}

static int runtime_was_loaded_before(void) {
    Dl_info info;
    struct link_map *own, *runtime; /* in the order of loading */
    if (!dladdr1((void *)(size_t)in_child, &info, (void **)&own, RTLD_DL_LINKMAP)
        || !dladdr1((void *)(size_t)omp_get_max_threads, &info, (void **)&runtime, RTLD_DL_LINKMAP))
        return 0;
    while (own && own != runtime) own = own->l_prev;
    return own != NULL;
}
#endif

int fe_watch_fork(void) {
#ifdef CAN_TELL_WHO_LOADED_OPENMP
    forked |= runtime_was_loaded_before() && is_fork_without_exec();
#endif
#ifndef _WIN32
    return pthread_atfork(NULL, NULL, in_child);
#else
    return 0;
#endif
}

static int thread_limit(void) { return omp_get_max_active_levels() < 1 ? 1 : omp_get_thread_limit(); }

static int is_forked(void) { return forked; }

static const char *runtime(void) {
#ifndef _WIN32
    Dl_info info;
    if (dladdr((void *)(size_t)omp_get_max_threads, &info) && info.dli_fname) {
        const char *slash = strrchr(info.dli_fname, '/');
        return slash ? slash + 1 : info.dli_fname;
    }
#endif
    return "";
}

static void each(void (*body)(void *, ptrdiff_t, int), void *data, ptrdiff_t tasks, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (ptrdiff_t task = 0; task < tasks; task++) body(data, task, omp_get_thread_num());
}

const fe_openmp_table fe_openmp = {_OPENMP, omp_get_max_threads, thread_limit, omp_in_parallel, is_forked, runtime, each};
