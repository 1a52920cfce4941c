#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "os/thread.h"
#include "store/epoch.h"

#include <stdatomic.h>
#include <stdlib.h>

static void count_release(void *pointer, void *context) {
    (void)pointer;
    ++*(int *)context;
}

static void what_is_retired_while_a_reader_is_pinned_waits_for_it(void **state) {
    struct epoch_domain *domain = epoch_domain_new();
    int released = 0, thing = 0;
    epoch_pin(domain);
    epoch_retire(domain, &thing, count_release, &released);
    for (int i = 0; i < 10; i++)
        epoch_collect(domain);
    assert_int_equal(released, 0);
    epoch_unpin(domain);
    epoch_collect(domain);
    assert_int_equal(released, 1);
    epoch_domain_free(domain);
    assert_int_equal(released, 1);
}

static void pins_nest(void **state) {
    struct epoch_domain *domain = epoch_domain_new();
    int released = 0, thing = 0;
    epoch_pin(domain);
    epoch_pin(domain);
    epoch_retire(domain, &thing, count_release, &released);
    epoch_unpin(domain);
    for (int i = 0; i < 10; i++)
        epoch_collect(domain);
    assert_int_equal(released, 0);
    epoch_unpin(domain);
    epoch_collect(domain);
    assert_int_equal(released, 1);
    epoch_domain_free(domain);
}

static void freeing_a_domain_releases_everything(void **state) {
    struct epoch_domain *domain = epoch_domain_new();
    int released = 0, thing = 0;
    epoch_pin(domain);
    for (int i = 0; i < 1000; i++)
        epoch_retire(domain, &thing, count_release, &released);
    assert_int_equal(released, 0);
    epoch_unpin(domain);
    epoch_domain_free(domain);
    assert_int_equal(released, 1000);
    epoch_domain_free(NULL);
}

static void retiring_collects_in_batches_on_its_own(void **state) {
    struct epoch_domain *domain = epoch_domain_new();
    int released = 0, thing = 0;
    for (int i = 0; i < 10000; i++) {
        epoch_retire(domain, &thing, count_release, &released);
        assert_true(i + 1 - released <= 256);
    }
    epoch_domain_free(domain);
    assert_int_equal(released, 10000);
}

struct chain {
    struct epoch_domain *domain;
    int released;
    int left;
};

static void release_and_retire_another(void *pointer, void *context) {
    struct chain *chain = context;
    chain->released++;
    if (chain->left-- > 0)
        epoch_retire(chain->domain, pointer, release_and_retire_another, chain);
}

static void a_release_may_retire(void **state) {
    struct chain chain = {epoch_domain_new(), 0, 500};
    epoch_retire(chain.domain, &chain, release_and_retire_another, &chain);
    epoch_collect(chain.domain);
    assert_true(chain.released >= 1);
    epoch_domain_free(chain.domain);
    assert_int_equal(chain.released, 501);
}

static void a_thread_may_pin_more_domains_than_it_remembers(void **state) {
    struct epoch_domain *domains[40];
    for (size_t i = 0; i < COUNT_OF(domains); i++) {
        domains[i] = epoch_domain_new();
        epoch_pin(domains[0]);
        epoch_pin(domains[i]);
        epoch_unpin(domains[i]);
        epoch_unpin(domains[0]);
    }
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT_OF(domains); i++) {
            epoch_pin(domains[i]);
            epoch_unpin(domains[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(domains); i++)
        epoch_domain_free(domains[i]);
}

static void *pin_and_end(void *context) {
    epoch_pin(context);
    epoch_unpin(context);
    return NULL;
}

static void threads_that_ended_hold_nothing_back(void **state) {
    struct epoch_domain *domain = epoch_domain_new();
    for (int i = 0; i < 200; i++) {
        struct thread thread;
        assert_int_equal(thread_start(&thread, "pin", pin_and_end, domain, NULL), RC_OK);
        thread_join(&thread);
    }
    int released = 0, thing = 0;
    epoch_retire(domain, &thing, count_release, &released);
    epoch_collect(domain);
    assert_int_equal(released, 1);
    epoch_domain_free(domain);
}

static void *pin_and_outlive(void *context) {
    struct epoch_domain **domains = context;
    epoch_pin(domains[0]);
    epoch_unpin(domains[0]);
    epoch_domain_free(domains[0]);
    domains[1] = epoch_domain_new();
    epoch_pin(domains[1]);
    epoch_unpin(domains[1]);
    return NULL;
}

static void a_thread_may_outlive_a_domain(void **state) {
    struct epoch_domain *domains[2] = {epoch_domain_new(), NULL};
    struct thread thread;
    assert_int_equal(thread_start(&thread, "pin", pin_and_outlive, domains, NULL), RC_OK);
    thread_join(&thread);
    epoch_domain_free(domains[1]);
}

/* ---- readers against a writer: a released node is poisoned, so a reader would notice ---- */

/* More than one block of reader slots; the thread sanitizer lets one of so many run at a time. */
#if defined(__SANITIZE_THREAD__)
#define READER_THREADS 6
#else
#define READER_THREADS 80
#endif

enum { ALIVE = 0x600d600d, DEAD = 0x0dead0de, READERS = READER_THREADS };

struct node {
    _Atomic uint32_t state;
    struct node *next;
};

struct race {
    struct epoch_domain *domain;
    _Atomic(struct node *) current;
    _Atomic bool stop;
    _Atomic uint64_t dead_seen;
    _Atomic uint64_t reads;
    _Atomic uint64_t released;
};

static void poison(void *pointer, void *context) {
    struct node *node = pointer;
    struct race *race = context;
    atomic_store_explicit(&node->state, DEAD, memory_order_relaxed);
    atomic_fetch_add(&race->released, 1);
    free(node);
}

static void *read_until_stopped(void *context) {
    struct race *race = context;
    while (!atomic_load(&race->stop)) {
        epoch_pin(race->domain);
        struct node *node = atomic_load_explicit(&race->current, memory_order_acquire);
        for (int i = 0; i < 20; i++)
            if (atomic_load_explicit(&node->state, memory_order_relaxed) != ALIVE)
                atomic_fetch_add(&race->dead_seen, 1);
        epoch_unpin(race->domain);
        atomic_fetch_add(&race->reads, 1);
    }
    return NULL;
}

static struct node *node_new(void) {
    struct node *node = calloc(1, sizeof(*node));
    assert_non_null(node);
    atomic_store(&node->state, ALIVE);
    return node;
}

static void readers_never_see_released_memory(void **state) {
    struct race race = {.domain = epoch_domain_new(), .current = node_new()};
    struct thread threads[READERS];
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(thread_start(&threads[i], "reader", read_until_stopped, &race, NULL),
                         RC_OK);
    uint64_t retired = 0;
    for (int i = 0; i < 5000 || atomic_load(&race.reads) < 2000; i++) {
        struct node *old = atomic_exchange(&race.current, node_new());
        epoch_retire(race.domain, old, poison, &race);
        retired++;
    }
    atomic_store(&race.stop, true);
    for (size_t i = 0; i < READERS; i++)
        thread_join(&threads[i]);
    epoch_collect(race.domain);
    assert_int_equal(atomic_load(&race.dead_seen), 0);
    assert_int_equal(atomic_load(&race.released), retired);
    free(atomic_load(&race.current));
    epoch_domain_free(race.domain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_retired_while_a_reader_is_pinned_waits_for_it),
        cmocka_unit_test(pins_nest),
        cmocka_unit_test(freeing_a_domain_releases_everything),
        cmocka_unit_test(retiring_collects_in_batches_on_its_own),
        cmocka_unit_test(a_release_may_retire),
        cmocka_unit_test(a_thread_may_pin_more_domains_than_it_remembers),
        cmocka_unit_test(threads_that_ended_hold_nothing_back),
        cmocka_unit_test(a_thread_may_outlive_a_domain),
        cmocka_unit_test(readers_never_see_released_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
