/* Blocks of memory that calls work in, kept from one to the next. Included by _core.pyx alone. */
/* What small calls work in, kept from one to the next, as malloc of so much takes longer than such a call: one block of each kind,
 * whichever thread comes. The block that a call does not find it allocates; the one that has no place here it frees. */
static void *spare[4];
static void *take_spare(int kind) { return __atomic_exchange_n(&spare[kind], NULL, __ATOMIC_ACQ_REL); }
static int keep_spare(int kind, void *block) {
    void *none = NULL;
    return __atomic_compare_exchange_n(&spare[kind], &none, block, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

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

/* What is known of calls that were checked, by their likeness: a table of so many, of which each call takes one out and puts it back, so
 * that none is read while another thread changes it. A new one takes the place of the one that lay there. */
enum { MEMORIES = 256 };
static uint64_t hash_of(const ptrdiff_t *word, int n) { /* its lowest bits depend on all words */
    uint64_t hash = 0x9e3779b97f4a7c15;
    for (int i = 0; i < n; i++) {
        hash = (hash ^ (uint64_t)word[i]) * 0xff51afd7ed558ccd;
        hash ^= hash >> 32;
    }
    return hash;
}
static void *memory[MEMORIES];
static void *take_memory(uint64_t at) {
    void **slot = &memory[at % MEMORIES];
    return __atomic_load_n(slot, __ATOMIC_RELAXED) ? __atomic_exchange_n(slot, NULL, __ATOMIC_ACQ_REL) : NULL;
}
/* What was there: the caller's to free */
static void *put_memory(uint64_t at, void *block) { return __atomic_exchange_n(&memory[at % MEMORIES], block, __ATOMIC_ACQ_REL); }
