#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/buf.h"
#include "os/thread.h"
#include "store/index.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/*
 * Creators, readers, a remover and a logger on one index. Each name and series says in itself what
 * it must be, so a reader can tell whether it was handed something torn or recycled.
 */

enum { HOSTS = 3000, METRICS = 3, READERS = 2, CREATORS = 2 };

struct race {
    struct budget budget;
    struct epoch_domain *readers;
    struct index *index;
    struct index *replica;
    _Atomic uint32_t creators_left;
    _Atomic uint64_t wrong;
    _Atomic uint64_t selected;
    uint64_t logged; /* the sequence number the logger has come to */
};

static struct index *open_index(struct race *race) {
    struct index_options options = {.shards = 4,
                                    .uid_width = {3, 3, 3},
                                    .auto_create = {true, true, true},
                                    .budget = &race->budget,
                                    .readers = race->readers};
    struct index *index;
    return index_new(&options, &index) == RC_OK ? index : NULL;
}

static void expect(struct race *race, bool right) {
    if (!right)
        atomic_fetch_add(&race->wrong, 1);
}

/* metricM host=H twin=H */
static void check_series(struct race *race, const struct series *series) {
    struct series_key key;
    index_key(race->index, series, &key);
    expect(race, series->id != 0 && series->tag_count == 2);
    expect(race, series->tags[0].value_uid == series->tags[1].value_uid);
    if (key.tags[0].value.p != NULL)
        expect(race, key.tags[0].value.n >= 2 && key.tags[0].value.p[0] == 'h');
}

static void *create(void *context) {
    struct race *race = context;
    for (int i = 0; i < HOSTS * METRICS; i++) {
        char metric[16], host[16];
        snprintf(metric, sizeof(metric), "metric%d", i % METRICS);
        snprintf(host, sizeof(host), "h%d", i / METRICS);
        struct series_key key = {
            .metric = str_of(metric),
            .tag_count = 2,
            .tags = {{STR("host"), str_of(host)}, {STR("twin"), str_of(host)}}};
        struct series *series;
        epoch_pin(race->readers);
        expect(race, index_series(race->index, &key, &series, NULL) == RC_OK);
        check_series(race, series);
        epoch_unpin(race->readers);
    }
    atomic_fetch_sub(&race->creators_left, 1);
    return NULL;
}

static bool ends_in_seven(void *context, str value) {
    struct race *race = context;
    expect(race, value.n >= 2 && value.p[0] == 'h');
    return value.p[value.n - 1] == '7';
}

static void *select_and_suggest(void *context) {
    struct race *race = context;
    for (int round = 0; atomic_load(&race->creators_left) > 0; round++) {
        epoch_pin(race->readers);
        uint32_t host = index_uid(race->index, INDEX_TAGK, STR("host"));
        struct index_condition condition = {
            .kind = INDEX_VALUE_MATCH, .key_uid = host, .match = ends_in_seven, .context = race};
        struct series_vec found = {0};
        uint32_t metric = index_uid(race->index, INDEX_METRIC, STR("metric1"));
        expect(race, index_select(race->index, round % 2 == 0 ? metric : 0, &condition, 1, 2,
                                  &found) == RC_OK);
        for (size_t i = 0; i < found.n; i++)
            check_series(race, found.p[i]);
        atomic_fetch_add(&race->selected, found.n);
        series_vec_fini(&found);
        struct str_vec names = {0};
        expect(race, index_suggest(race->index, INDEX_TAGV, STR("h1"), 50, &names) == RC_OK);
        for (size_t i = 0; i < names.n; i++)
            expect(race, str_starts(names.p[i], STR("h1")) &&
                             (i == 0 || str_cmp(names.p[i - 1], names.p[i]) < 0));
        str_vec_fini(&names);
        struct index_memory memory;
        index_memory(race->index, &memory);
        epoch_unpin(race->readers);
    }
    return NULL;
}

static void *remove_some(void *context) {
    struct race *race = context;
    for (uint32_t id = 1; atomic_load(&race->creators_left) > 0; id++) {
        while (id > index_series_id_max(race->index) && atomic_load(&race->creators_left) > 0)
            continue;
        struct series *series = index_by_id(race->index, id);
        if (series != NULL && id % 3 != 0)
            index_remove(race->index, series);
    }
    return NULL;
}

static void log_since(struct race *race, uint64_t from, uint64_t *next) {
    struct buf bytes = {0};
    expect(race, index_encode_since(race->index, from, &bytes, next) == RC_OK);
    expect(race, index_apply(race->replica, (const uint8_t *)bytes.p, bytes.n, NULL) == RC_OK);
    buf_fini(&bytes);
}

static void *keep_log(void *context) {
    struct race *race = context;
    for (int round = 0; atomic_load(&race->creators_left) > 0; round++) {
        uint64_t unused;
        log_since(race, race->logged, &race->logged);
        if (round % 4 == 3)
            log_since(race, 0, &unused);
    }
    return NULL;
}

static void assert_same(struct index *a, struct index *b) {
    assert_int_equal(index_series_count(a), index_series_count(b));
    assert_int_equal(index_series_id_max(a), index_series_id_max(b));
    for (int kind = 0; kind < INDEX_KINDS; kind++)
        assert_int_equal(index_name_count(a, (enum index_kind)kind),
                         index_name_count(b, (enum index_kind)kind));
    for (uint32_t id = 1; id <= index_series_id_max(a); id++) {
        const struct series *x = index_by_id(a, id), *y = index_by_id(b, id);
        assert_int_equal(x == NULL, y == NULL);
        if (x == NULL)
            continue;
        struct series_key key;
        index_key(a, x, &key);
        assert_ptr_equal(index_find(b, &key), y);
    }
}

static void creators_readers_removers_and_loggers_share_an_index(void **state) {
    static struct race race;
    budget_init(&race.budget, 0, NULL);
    race.readers = epoch_domain_new();
    race.index = open_index(&race);
    race.replica = open_index(&race);
    race.logged = index_sequence(race.index);
    atomic_store(&race.creators_left, CREATORS);
    struct thread threads[CREATORS + READERS + 2];
    size_t n = 0;
    for (int i = 0; i < CREATORS; i++)
        assert_int_equal(thread_start(&threads[n++], "create", create, &race, NULL), RC_OK);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(thread_start(&threads[n++], "read", select_and_suggest, &race, NULL),
                         RC_OK);
    assert_int_equal(thread_start(&threads[n++], "remove", remove_some, &race, NULL), RC_OK);
    assert_int_equal(thread_start(&threads[n++], "log", keep_log, &race, NULL), RC_OK);
    while (n > 0)
        thread_join(&threads[--n]);
    log_since(&race, race.logged, &race.logged);
    assert_int_equal(atomic_load(&race.wrong), 0);
    assert_true(atomic_load(&race.selected) > 0);
    assert_true(index_series_count(race.index) > HOSTS / 4);
    assert_same(race.index, race.replica);
    index_free(race.index);
    index_free(race.replica);
    epoch_domain_free(race.readers);
    assert_int_equal(budget_used(&race.budget), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creators_readers_removers_and_loggers_share_an_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
