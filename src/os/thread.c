#include "os/thread.h"

#include "base/check.h"

#include <signal.h>
#include <string.h>

enum rc thread_start(struct thread *thread, const char *name, void *(*run)(void *), void *context,
                     struct err *err) {
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES) == 0);
    int e = pthread_create(&thread->raw, &attributes, run, context);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (e != 0)
        return err_set(err, RC_NOMEM, "cannot start thread %s: %s", name, strerror(e));
    char short_name[16] = {0};
    strncpy(short_name, name, sizeof(short_name) - 1);
    (void)pthread_setname_np(thread->raw, short_name);
    return RC_OK;
}

void thread_join(struct thread *thread) {
    CHECK(pthread_join(thread->raw, NULL) == 0);
}
