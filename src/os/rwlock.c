#include "os/thread.h"

#include "base/check.h"

void rwlock_init(struct rwlock *lock) {
    pthread_rwlockattr_t attributes;
    CHECK(pthread_rwlockattr_init(&attributes) == 0);
    CHECK(pthread_rwlockattr_setkind_np(&attributes,
                                        PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
    CHECK(pthread_rwlock_init(&lock->raw, &attributes) == 0);
    CHECK(pthread_rwlockattr_destroy(&attributes) == 0);
}

void rwlock_fini(struct rwlock *lock) {
    CHECK(pthread_rwlock_destroy(&lock->raw) == 0);
}

void rwlock_read(struct rwlock *lock) {
    CHECK(pthread_rwlock_rdlock(&lock->raw) == 0);
}

void rwlock_write(struct rwlock *lock) {
    CHECK(pthread_rwlock_wrlock(&lock->raw) == 0);
}

void rwlock_unlock(struct rwlock *lock) {
    CHECK(pthread_rwlock_unlock(&lock->raw) == 0);
}
