#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/buf.h"
#include "store/index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An index with all that it needs. */
struct fixture {
    struct budget budget;
    struct epoch_domain *readers;
    struct index *index;
};

static struct index_options options_of(struct fixture *f) {
    return (struct index_options){.shards = 4,
                                  .uid_width = {3, 3, 3},
                                  .auto_create = {true, true, true},
                                  .budget = &f->budget,
                                  .readers = f->readers};
}

static void open_index(struct fixture *f, size_t limit_bytes) {
    budget_init(&f->budget, limit_bytes, NULL);
    f->readers = epoch_domain_new();
    struct index_options options = options_of(f);
    assert_int_equal(index_new(&options, &f->index), RC_OK);
}

static void close_index(struct fixture *f) {
    index_free(f->index);
    epoch_domain_free(f->readers);
    assert_int_equal(budget_used(&f->budget), 0);
}

/* The key of "metric k=v k=v", tags in canonical order as written. */
static struct series_key key_of(const char *text) {
    struct series_key key = {.tag_count = 0};
    const char *end = strchrnul(text, ' ');
    key.metric = (str){text, (size_t)(end - text)};
    while (*end != '\0') {
        const char *at = end + 1, *equals = strchr(at, '=');
        end = strchrnul(at, ' ');
        key.tags[key.tag_count++] =
            (struct tag){{at, (size_t)(equals - at)}, {equals + 1, (size_t)(end - equals - 1)}};
    }
    return key;
}

static struct series *make(struct fixture *f, const char *text) {
    struct series_key key = key_of(text);
    struct series *series = NULL;
    struct err err = {0};
    assert_int_equal(index_series(f->index, &key, &series, &err), RC_OK);
    return series;
}

static struct series *find(struct fixture *f, const char *text) {
    struct series_key key = key_of(text);
    return index_find(f->index, &key);
}

/* "metric k=v ..." of a series, tags by key UID. */
static void assert_key(struct fixture *f, const struct series *series, const char *expected) {
    struct series_key key;
    struct buf text = {0};
    index_key(f->index, series, &key);
    buf_str(&text, key.metric);
    for (uint32_t i = 0; i < key.tag_count; i++)
        buf_printf(&text, " %.*s=%.*s", STR_ARG(key.tags[i].key), STR_ARG(key.tags[i].value));
    buf_char(&text, '\0');
    assert_string_equal(text.p, expected);
    buf_fini(&text);
}

static void assert_tsuid(struct fixture *f, const struct series *series, const char *expected) {
    struct buf text = {0};
    index_tsuid(f->index, series, &text);
    buf_char(&text, '\0');
    assert_string_equal(text.p, expected);
    assert_ptr_equal(index_by_tsuid(f->index, str_of(expected)), series);
    buf_fini(&text);
}

static void a_series_is_made_once_and_found_by_names_id_and_tsuid(void **state) {
    struct fixture f;
    open_index(&f, 0);
    assert_null(find(&f, "cpu dc=a host=w1"));
    assert_int_equal(index_series_count(f.index), 0);
    struct series *first = make(&f, "cpu dc=a host=w1");
    struct series *second = make(&f, "cpu dc=a host=w2");
    assert_ptr_equal(make(&f, "cpu dc=a host=w1"), first);
    assert_ptr_equal(find(&f, "cpu dc=a host=w2"), second);
    assert_int_equal(first->id, 1);
    assert_int_equal(second->id, 2);
    assert_int_equal(index_series_count(f.index), 2);
    assert_int_equal(index_series_id_max(f.index), 2);
    assert_int_equal(index_name_count(f.index, INDEX_TAGV), 3);
    assert_ptr_equal(index_by_id(f.index, 2), second);
    assert_null(index_by_id(f.index, 0));
    assert_null(index_by_id(f.index, 3));
    const uint32_t ids[] = {2, 1, 2, 3, 1};
    struct series *many[5];
    assert_int_equal(index_by_ids(f.index, ids, 3, many), 3);
    assert_true(many[0] == second && many[1] == first && many[2] == second);
    assert_int_equal(index_by_ids(f.index, ids, 5, many), 3);
    assert_int_equal(index_by_ids(f.index, (const uint32_t[]){5000000}, 1, many), 0);
    assert_key(&f, first, "cpu dc=a host=w1");
    assert_tsuid(&f, first, "000001000001000001000002000002");
    assert_tsuid(&f, second, "000001000001000001000002000003");
    close_index(&f);
}

static void tags_are_ordered_by_the_uid_of_their_key(void **state) {
    struct fixture f;
    open_index(&f, 0);
    uint32_t uid;
    assert_int_equal(index_assign(f.index, INDEX_TAGK, STR("zone"), &uid, NULL), RC_OK);
    assert_int_equal(uid, 1);
    struct series *series = make(&f, "m a=x b=x zone=y");
    assert_key(&f, series, "m zone=y a=x b=x");
    assert_tsuid(&f, series, "000001000001000002000002000001000003000001");
    assert_int_equal(index_tag_value(series, 1), 2);
    assert_int_equal(index_tag_value(series, 3), 1);
    assert_int_equal(index_tag_value(series, 4), 0);
    assert_ptr_equal(make(&f, "m a=x b=x zone=y"), series);
    close_index(&f);
}

static void missing_names_that_may_not_be_created_are_named(void **state) {
    struct fixture f;
    budget_init(&f.budget, 0, NULL);
    f.readers = epoch_domain_new();
    struct index_options options = options_of(&f);
    options.auto_create[INDEX_METRIC] = false;
    options.auto_create[INDEX_TAGV] = false;
    assert_int_equal(index_new(&options, &f.index), RC_OK);
    struct series_key key = key_of("cpu host=w1");
    struct series *series;
    struct err err;
    uint32_t uid;
    assert_int_equal(index_series(f.index, &key, &series, &err), RC_NOT_FOUND);
    assert_string_equal(err.message, "No such name for 'metrics': 'cpu'");
    assert_int_equal(index_assign(f.index, INDEX_METRIC, STR("cpu"), &uid, &err), RC_OK);
    assert_int_equal(index_series(f.index, &key, &series, &err), RC_NOT_FOUND);
    assert_string_equal(err.message, "No such name for 'tagv': 'w1'");
    assert_int_equal(index_name_count(f.index, INDEX_TAGK), 0);
    assert_int_equal(index_assign(f.index, INDEX_TAGV, STR("w1"), &uid, &err), RC_OK);
    assert_int_equal(index_series(f.index, &key, &series, &err), RC_OK);
    assert_int_equal(index_assign(f.index, INDEX_TAGV, (str){"", 0}, &uid, &err), RC_INVALID);
    close_index(&f);
}

static void removal_frees_names_and_never_gives_their_uids_again(void **state) {
    struct fixture f;
    open_index(&f, 0);
    struct series *first = make(&f, "cpu host=w1");
    struct series *second = make(&f, "cpu host=w2");
    index_remove(f.index, first);
    assert_null(find(&f, "cpu host=w1"));
    assert_null(index_by_id(f.index, 1));
    assert_int_equal(index_uid(f.index, INDEX_TAGV, STR("w1")), 0);
    assert_null(index_name(f.index, INDEX_TAGV, 1).p);
    assert_int_equal(index_uid(f.index, INDEX_METRIC, STR("cpu")), 1);
    assert_null(index_by_tsuid(f.index, STR("000001000001000001")));
    struct series *again = make(&f, "cpu host=w1");
    assert_int_equal(again->id, 3);
    assert_tsuid(&f, again, "000001000001000003");
    index_remove(f.index, again);
    index_remove(f.index, second);
    assert_int_equal(index_series_count(f.index), 0);
    assert_int_equal(index_name_count(f.index, INDEX_METRIC), 0);
    assert_int_equal(index_name_count(f.index, INDEX_TAGK), 0);
    assert_int_equal(index_name_count(f.index, INDEX_TAGV), 0);
    struct u32_vec metrics = {0};
    assert_int_equal(index_metrics(f.index, &metrics), RC_OK);
    assert_int_equal(metrics.n, 0);
    assert_int_equal(index_series_id_max(f.index), 3);
    close_index(&f);
}

static void a_removed_series_stays_readable_while_a_reader_is_pinned(void **state) {
    struct fixture f;
    open_index(&f, 0);
    struct series *series = make(&f, "cpu host=w1");
    str name = index_name(f.index, INDEX_TAGV, 1);
    epoch_pin(f.readers);
    index_remove(f.index, series);
    for (int i = 0; i < 100; i++) {
        char text[96];
        snprintf(text, sizeof(text), "cpu host=other%d", i);
        make(&f, text);
    }
    epoch_collect(f.readers);
    assert_true(series->removed);
    assert_int_equal(series->id, 1);
    assert_int_equal(series->tags[0].value_uid, 1);
    assert_true(str_eq(name, STR("w1")));
    epoch_unpin(f.readers);
    close_index(&f);
}

static void the_memory_of_removed_series_is_used_again(void **state) {
    struct fixture f;
    open_index(&f, 0);
    struct index_memory memory;
    uint64_t early = 0;
    for (int i = 0; i < 30000; i++) {
        char text[96];
        snprintf(text, sizeof(text), "m%d k%d=v%d", i, i, i);
        index_remove(f.index, make(&f, text));
        index_memory(f.index, &memory);
        if (i == 10000)
            early = memory.names_bytes + memory.series_bytes + memory.sets_bytes;
    }
    uint64_t late = memory.names_bytes + memory.series_bytes + memory.sets_bytes;
    uint64_t events = 20000 * 8 * 5; /* each series comes and goes in 8, remembered in 5 bytes */
    assert_true(late < early + events + (32 << 10));
    close_index(&f);
}

static void uids_beyond_their_width_are_shown_with_an_escape(void **state) {
    struct fixture f;
    budget_init(&f.budget, 0, NULL);
    f.readers = epoch_domain_new();
    struct index_options options = options_of(&f);
    options.uid_width[INDEX_TAGV] = 1;
    options.uid_width[INDEX_METRIC] = 5;
    assert_int_equal(index_new(&options, &f.index), RC_OK);
    struct series *series = NULL;
    for (int i = 1; i <= 300; i++) {
        char text[96];
        snprintf(text, sizeof(text), "m k=%d", i);
        series = make(&f, text);
        struct buf hex = {0};
        index_tsuid(f.index, series, &hex);
        assert_ptr_equal(index_by_tsuid(f.index, buf_view(&hex)), series);
        assert_int_equal(index_tsuid_metric(f.index, buf_view(&hex)), 1);
        buf_fini(&hex);
    }
    assert_tsuid(&f, series, "0000000001000001FF0000012C");
    assert_tsuid(&f, index_by_id(f.index, 254), "0000000001000001FE");
    assert_tsuid(&f, index_by_id(f.index, 255), "0000000001000001FF000000FF");
    assert_ptr_equal(index_by_tsuid(f.index, STR("0000000001000001ff0000012c")), series);
    const char *malformed[] = {"",
                               "00",
                               "0000000001000001FF0000012",
                               "0000000001000001FF000000FE",
                               "0000000001000001",
                               "000000000100000G01",
                               "0000000001000001FF",
                               "0000000001000001FEFE",
                               "1000000001000001FE"};
    for (size_t i = 0; i < COUNT_OF(malformed); i++)
        assert_null(index_by_tsuid(f.index, str_of(malformed[i])));
    assert_int_equal(index_uid_parse(f.index, INDEX_TAGV, STR("FF0000012C")), 300);
    assert_int_equal(index_uid_parse(f.index, INDEX_TAGK, STR("00012c")), 300);
    assert_int_equal(index_uid_parse(f.index, INDEX_TAGK, STR("FFFFFF01000000")), 1 << 24);
    assert_int_equal(index_uid_parse(f.index, INDEX_TAGK, STR("012c")), 0);
    assert_int_equal(index_uid_parse(f.index, INDEX_TAGK, STR("00012c00")), 0);
    close_index(&f);
}

/* ---- suggestions ---- */

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void suggestions_come_in_byte_order_however_names_arrive_and_go(void **state) {
    enum { NAMES = 9000 };
    struct fixture f;
    open_index(&f, 0);
    static char names[NAMES][24];
    static char *sorted[NAMES];
    size_t count = 0;
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "n%llu",
                 (unsigned long long)((uint64_t)i * 2654435761u % 1000003));
        char text[96];
        snprintf(text, sizeof(text), "m k=%.23s", names[i]);
        struct series *series = make(&f, text);
        if (i % 7 == 3 && i > 4000)
            index_remove(f.index, series);
        else
            sorted[count++] = names[i];
        if (i % 1500 != 1499 && i > 3)
            continue;
        qsort(sorted, count, sizeof(*sorted), compare_strings);
        const char *prefixes[] = {"", "n", "n1", "n99", "n5000", "x"};
        for (size_t p = 0; p < COUNT_OF(prefixes); p++) {
            for (uint32_t max = 1; max <= 10000; max *= 100) {
                struct str_vec out = {0};
                assert_int_equal(index_suggest(f.index, INDEX_TAGV, str_of(prefixes[p]), max, &out),
                                 RC_OK);
                size_t n = 0;
                for (size_t s = 0; s < count && n < max; s++) {
                    if (strncmp(sorted[s], prefixes[p], strlen(prefixes[p])) != 0)
                        continue;
                    assert_true(n < out.n);
                    assert_true(str_eq(out.p[n], str_of(sorted[s])));
                    n++;
                }
                assert_int_equal(out.n, n);
                str_vec_fini(&out);
            }
        }
    }
    close_index(&f);
}

/* ---- budget ---- */

static void over_budget_new_series_are_refused_and_existing_ones_go_on(void **state) {
    struct fixture f;
    open_index(&f, 1 << 20);
    struct err err = {0};
    uint64_t made = 0;
    enum rc rc = RC_OK;
    char text[128];
    for (int i = 0; rc == RC_OK; i++) {
        snprintf(text, sizeof(text), "metric%d dc=a host=host%d rack=%d", i % 10, i, i % 100);
        struct series_key key = key_of(text);
        struct series *series;
        rc = index_series(f.index, &key, &series, &err);
        made += rc == RC_OK;
    }
    assert_int_equal(rc, RC_THROTTLE);
    assert_string_equal(err.message, "the index has reached its memory limit of 1 MiB; existing "
                                     "series are still written");
    assert_true(made > 1000);
    assert_true(budget_used(&f.budget) <= 1 << 20);
    assert_int_equal(index_series_count(f.index), made);
    uint64_t names = index_name_count(f.index, INDEX_TAGV);
    for (uint64_t i = 0; i < made; i++) {
        snprintf(text, sizeof(text), "metric%d dc=a host=host%d rack=%d", (int)i % 10, (int)i,
                 (int)i % 100);
        assert_int_equal(make(&f, text)->id, i + 1);
    }
    struct series_key key = key_of("another a=b");
    struct series *series;
    for (int i = 0; i < 1000; i++)
        (void)!index_series(f.index, &key, &series, &err);
    assert_int_equal(index_name_count(f.index, INDEX_TAGV) - names <= 1, 1);
    for (uint32_t id = 1; id <= made / 2; id++)
        index_remove(f.index, index_by_id(f.index, id));
    epoch_collect(f.readers);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "metric%d dc=a host=fresh%d rack=%d", i % 10, i, i % 100);
        make(&f, text);
    }
    close_index(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_series_is_made_once_and_found_by_names_id_and_tsuid),
        cmocka_unit_test(tags_are_ordered_by_the_uid_of_their_key),
        cmocka_unit_test(missing_names_that_may_not_be_created_are_named),
        cmocka_unit_test(removal_frees_names_and_never_gives_their_uids_again),
        cmocka_unit_test(a_removed_series_stays_readable_while_a_reader_is_pinned),
        cmocka_unit_test(the_memory_of_removed_series_is_used_again),
        cmocka_unit_test(uids_beyond_their_width_are_shown_with_an_escape),
        cmocka_unit_test(suggestions_come_in_byte_order_however_names_arrive_and_go),
        cmocka_unit_test(over_budget_new_series_are_refused_and_existing_ones_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
