/* Memory of large results. Included by _core.pyx alone.
 *
 * An array that is allocated anew at every call gets pages that do not exist yet, and touching them for the first time takes the system
 * up to eight times as long as the call. So what a large result leaves behind when it is freed is kept for the next one, up to a bound.
 * NumPy asks through its interface for allocators (NEP 49), for the arrays that are made while `allocator` is set, and for no others. */
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define LARGE_RESULT ((size_t)1 << 17) /* bytes; below, the C library keeps the pages itself */
#define HUGE_PAGE ((size_t)1 << 21)
#define MOST_KEPT ((size_t)1 << 26) /* bytes, of all that are kept, unless the environment says otherwise */
enum { MOST_BLOCKS = 16, LINE = 64 };

/* What stands before the elements, in a line of its own */
typedef struct {
    void *block;     /* as malloc has it */
    size_t capacity; /* of the elements */
} result_head;

static struct {
    char locked; /* nobody waits for it: who finds it locked, after a fork for ever, does without */
    int count;
    size_t bytes, most;
    void *data[MOST_BLOCKS]; /* the oldest first */
} kept = {.most = MOST_KEPT};

static int lock_kept(void) { return !__atomic_test_and_set(&kept.locked, __ATOMIC_ACQUIRE); }
static void unlock_kept(void) { __atomic_clear(&kept.locked, __ATOMIC_RELEASE); }

static result_head *head_of(void *data) { return (result_head *)((char *)data - LINE); }
static void release_result(void *data) { free(head_of(data)->block); }

/* Sizes are rounded up by at most an eighth, so that results of nearly one size share a block. */
static size_t capacity_of(size_t size) {
    size_t step = LINE;
    while (step << 4 < size) step <<= 1;
    return size > SIZE_MAX - step ? size : (size + step - 1) / step * step;
}

static void *take_kept(size_t capacity) {
    void *found = NULL;
    if (!lock_kept()) return NULL;
    for (int i = kept.count - 1; i >= 0 && !found; i--)
        if (head_of(kept.data[i])->capacity == capacity) {
            found = kept.data[i];
            kept.count--;
            kept.bytes -= capacity;
            memmove(kept.data + i, kept.data + i + 1, (size_t)(kept.count - i) * sizeof *kept.data);
        }
    unlock_kept();
    return found;
}

/* Of what is kept, the oldest goes until the rest is at most so much. Under the lock; the caller frees what it is given. */
static int leave_kept(size_t bytes, int blocks, void **gone) {
    int n = 0;
    while (kept.bytes > bytes || kept.count > blocks) {
        gone[n] = kept.data[n];
        kept.bytes -= head_of(gone[n++])->capacity;
        kept.count--;
    }
    memmove(kept.data, kept.data + n, (size_t)kept.count * sizeof *kept.data);
    return n;
}
static void release_results(void **gone, int n) {
    while (n) release_result(gone[--n]);
}

static void free_result(void *context, void *data, size_t size) {
    (void)context, (void)size;
    if (!data) return;
    const size_t capacity = head_of(data)->capacity;
    void *gone[MOST_BLOCKS] = {data};
    int n = 1;
    if (capacity >= LARGE_RESULT && lock_kept()) {
        if (capacity <= kept.most) {
            n = leave_kept(kept.most - capacity, MOST_BLOCKS - 1, gone);
            kept.data[kept.count++] = data;
            kept.bytes += capacity;
        }
        unlock_kept();
    }
    release_results(gone, n);
}

/* What is beyond so many bytes goes. */
static void drop_kept(size_t most) {
    void *gone[MOST_BLOCKS];
    if (!lock_kept()) return;
    const int n = leave_kept(most, MOST_BLOCKS, gone);
    unlock_kept();
    release_results(gone, n);
}

/* At most so many bytes from now on */
static void keep_results(size_t most) {
    kept.most = most;
    drop_kept(most);
}

static void *new_result(void *context, size_t size) {
    (void)context;
    const size_t capacity = capacity_of(size), line = capacity < 2 * HUGE_PAGE ? LINE : HUGE_PAGE;
    void *data = take_kept(capacity);
    if (data) return data;
    if (capacity > SIZE_MAX / 2) return NULL;
    char *block = malloc(capacity + line + LINE);
    if (!block) { /* perhaps for want of what is kept */
        drop_kept(0);
        if (!(block = malloc(capacity + line + LINE))) return NULL;
    }
    data = (void *)(((uintptr_t)block + LINE + line - 1) / line * line);
#ifdef MADV_HUGEPAGE
    if (line == HUGE_PAGE) madvise(data, capacity / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* as NumPy does */
#endif
    *head_of(data) = (result_head){block, capacity};
    return data;
}

static void *new_zeros(void *context, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    void *data = new_result(context, count * size);
    return data ? memset(data, 0, count * size) : NULL;
}

/* For ndarray.resize */
static void *resize_result(void *context, void *data, size_t size) {
    if (data && head_of(data)->capacity >= size) return data;
    void *larger = new_result(context, size);
    if (!larger || !data) return larger;
    memcpy(larger, data, head_of(data)->capacity);
    free_result(context, data, 0);
    return larger;
}

static PyDataMem_Handler allocator = {"fastelbo", 1, {NULL, new_result, new_zeros, resize_result, free_result}};

