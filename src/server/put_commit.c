#include "server/put_commit.h"

#include "base/check.h"
#include "os/clock.h"
#include "os/thread.h"

#include <stdbool.h>
#include <stdlib.h>

enum {
    STEP_NS = PUT_COMMIT_MOMENT_NS / 4,    /* who sees nobody come for so long waits no longer */
    FORGET_NS = 10 * PUT_COMMIT_MOMENT_NS, /* a commit that long ago tells nothing about the next */
    TRUST_MAX = 4,
    PAUSE_COMMITS = 16
};

/* A put that waits; on its thread's stack. */
struct waiter {
    struct waiter *next;
    uint64_t commit;
    bool leads; /* it was woken to lead, not because its points are durable */
    enum rc rc;
    struct semaphore wake;
};

struct put_commit {
    put_commit_sync *sync;
    void *context;

    struct mutex lock; /* guards the rest */
    struct condition all_here;
    struct waiter *waiting; /* first come first; those of the commit under way are not in it */
    struct waiter **last_link;
    uint32_t waiting_count;
    bool led;           /* there is a leader */
    uint32_t wanted;    /* not 0: the leader waits until that many wait */
    uint32_t last_seen; /* puts that waited when the last commit ended, its own included */
    int64_t last_end_ns;
    uint32_t trust; /* how often it may be waited in vain before there is a pause */
    uint32_t pause; /* commits to come before others are waited for again */
};

struct put_commit *put_commit_new(put_commit_sync *sync, void *context) {
    struct put_commit *commits = calloc(1, sizeof(*commits));
    if (commits == NULL)
        return NULL;
    commits->sync = sync;
    commits->context = context;
    commits->last_link = &commits->waiting;
    commits->trust = TRUST_MAX;
    mutex_init(&commits->lock);
    condition_init(&commits->all_here);
    return commits;
}

void put_commit_free(struct put_commit *commits) {
    if (commits == NULL)
        return;
    CHECK(commits->waiting == NULL);
    condition_fini(&commits->all_here);
    mutex_fini(&commits->lock);
    free(commits);
}

/* ---- the moment ---- */

/* Until as many wait as are wanted, or nobody has come for a step, or the moment is over. */
static void wait_for_others(struct put_commit *commits, int64_t now) {
    int64_t end = now + PUT_COMMIT_MOMENT_NS;
    uint32_t before = 0;
    while (commits->waiting_count < commits->wanted && commits->waiting_count > before &&
           now < end) {
        before = commits->waiting_count;
        now += STEP_NS;
        while (commits->waiting_count < commits->wanted &&
               condition_wait_until(&commits->all_here, &commits->lock, now))
            ;
    }
}

static void learn_trust(struct put_commit *commits, bool most_came) {
    if (most_came && commits->trust < TRUST_MAX)
        commits->trust++;
    if (!most_came && --commits->trust == 0) {
        commits->trust = 1;
        commits->pause = PAUSE_COMMITS;
    }
}

static void give_others_a_moment(struct put_commit *commits) {
    if (commits->waiting_count >= commits->last_seen)
        return;
    if (commits->pause > 0) {
        commits->pause--;
        return;
    }
    int64_t now = clock_monotonic_ns();
    if (now - commits->last_end_ns > FORGET_NS)
        return;
    commits->wanted = commits->last_seen;
    wait_for_others(commits, now);
    learn_trust(commits, commits->waiting_count * 2 > commits->wanted);
    commits->wanted = 0;
}

/* ---- leading ---- */

static struct waiter *take_waiting(struct put_commit *commits, uint32_t *count, uint64_t *commit) {
    struct waiter *all = commits->waiting;
    *count = commits->waiting_count;
    *commit = 0;
    for (const struct waiter *w = all; w != NULL; w = w->next)
        *commit = w->commit > *commit ? w->commit : *commit;
    commits->waiting = NULL;
    commits->last_link = &commits->waiting;
    commits->waiting_count = 0;
    return all;
}

/* Ends a commit of `count` puts; the next leader if anybody waits. */
static struct waiter *hand_over(struct put_commit *commits, uint32_t count) {
    struct waiter *next = commits->waiting;
    commits->last_seen = count + commits->waiting_count;
    commits->last_end_ns = clock_monotonic_ns();
    commits->led = next != NULL;
    if (next != NULL)
        next->leads = true;
    return next;
}

static void wake(struct waiter *waiters, const struct waiter *self, enum rc rc) {
    for (struct waiter *w = waiters, *next; w != NULL; w = next) {
        next = w->next;
        if (w == self)
            continue;
        w->rc = rc;
        semaphore_post(&w->wake);
    }
}

/* Called under the lock, which it gives back. */
static enum rc lead(struct put_commit *commits, const struct waiter *self) {
    struct err unused;
    uint32_t count;
    uint64_t commit;
    give_others_a_moment(commits);
    struct waiter *waiters = take_waiting(commits, &count, &commit);
    mutex_unlock(&commits->lock);
    enum rc rc = commits->sync(commits->context, commit, &unused);
    mutex_lock(&commits->lock);
    struct waiter *next = hand_over(commits, count);
    mutex_unlock(&commits->lock);
    if (next != NULL)
        semaphore_post(&next->wake); /* first: the log should not be idle */
    wake(waiters, self, rc);
    return rc;
}

static enum rc wait_or_lead(struct put_commit *commits, struct waiter *self) {
    mutex_lock(&commits->lock);
    *commits->last_link = self;
    commits->last_link = &self->next;
    commits->waiting_count++;
    if (commits->led) {
        bool complete = commits->waiting_count == commits->wanted;
        mutex_unlock(&commits->lock);
        if (complete)
            condition_signal(&commits->all_here);
        semaphore_wait(&self->wake);
        if (!self->leads)
            return self->rc;
        mutex_lock(&commits->lock);
    }
    commits->led = true;
    return lead(commits, self);
}

enum rc put_commit_wait(struct put_commit *commits, uint64_t commit, struct err *err) {
    struct waiter self = {.commit = commit};
    semaphore_init(&self.wake);
    enum rc rc = wait_or_lead(commits, &self);
    semaphore_fini(&self.wake);
    /* What has failed for the last position may have been done for this one; if not, the text of
       the error is wanted. */
    return rc == RC_OK ? RC_OK : commits->sync(commits->context, commit, err);
}
