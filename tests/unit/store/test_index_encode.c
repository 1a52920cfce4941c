#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/buf.h"
#include "store/index.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    struct budget budget;
    struct epoch_domain *readers;
    struct index *index;
};

static void open_index(struct fixture *f, size_t limit_bytes) {
    budget_init(&f->budget, limit_bytes, NULL);
    f->readers = epoch_domain_new();
    struct index_options options = {.shards = 4,
                                    .uid_width = {3, 3, 3},
                                    .auto_create = {true, true, true},
                                    .budget = &f->budget,
                                    .readers = f->readers};
    assert_int_equal(index_new(&options, &f->index), RC_OK);
}

static void close_index(struct fixture *f) {
    index_free(f->index);
    epoch_domain_free(f->readers);
    assert_int_equal(budget_used(&f->budget), 0);
}

static struct series *make(struct fixture *f, const char *metric, const char *host) {
    struct series_key key = {
        .metric = str_of(metric), .tag_count = 1, .tags = {{STR("host"), str_of(host)}}};
    struct series *series;
    assert_int_equal(index_series(f->index, &key, &series, NULL), RC_OK);
    return series;
}

static struct buf encode(struct fixture *f, uint64_t from, uint64_t *next) {
    struct buf bytes = {0};
    assert_int_equal(index_encode_since(f->index, from, &bytes, next), RC_OK);
    return bytes;
}

static enum rc apply(struct fixture *f, const void *bytes, size_t n, struct err *err) {
    return index_apply(f->index, bytes, n, err);
}

static void the_bytes_are_those_of_the_format_page(void **state) {
    struct fixture f;
    open_index(&f, 0);
    struct series *first = make(&f, "cpu", "a");
    struct series *second = make(&f, "cpu", "b");
    first->shard = 3; /* whatever the hash of the key says */
    second->shard = 1;
    uint64_t next;
    struct buf bytes = encode(&f, 0, &next);
    static const char expected[] = "\x01"
                                   "\x01\x00\x01\x03"
                                   "cpu"
                                   "\x01\x01\x01\x04"
                                   "host"
                                   "\x01\x02\x01\x01"
                                   "a"
                                   "\x01\x02\x02\x01"
                                   "b"
                                   "\x02\x01\x03\x01\x01\x01\x01"
                                   "\x02\x02\x01\x01\x01\x01\x02";
    assert_int_equal(bytes.n, sizeof(expected) - 1);
    assert_memory_equal(bytes.p, expected, bytes.n);
    assert_int_equal(next, index_sequence(f.index));
    buf_fini(&bytes);

    bytes = encode(&f, next, &next);
    assert_int_equal(bytes.n, 0);
    index_remove(f.index, first);
    buf_fini(&bytes);
    bytes = encode(&f, next, &next);
    static const char removal[] = "\x01\x04\x01\x01\x03\x02\x01\x01";
    assert_int_equal(bytes.n, sizeof(removal) - 1);
    assert_memory_equal(bytes.p, removal, bytes.n);
    buf_fini(&bytes);
    close_index(&f);
}

static void damaged_bytes_change_nothing(void **state) {
    struct fixture f;
    open_index(&f, 0);
    make(&f, "cpu", "a");
    index_remove(f.index, make(&f, "cpu", "b"));
    make(&f, "cpu", "c");
    uint64_t next;
    struct buf bytes = encode(&f, 0, &next);
    for (size_t i = 0; i < bytes.n; i++) {
        struct fixture g;
        struct err err;
        open_index(&g, 0);
        enum rc rc = apply(&g, bytes.p, i, &err);
        assert_true(rc == RC_OK || rc == RC_CORRUPT);
        if (rc == RC_CORRUPT) {
            assert_int_equal(index_name_count(g.index, INDEX_METRIC), 0);
            assert_int_equal(index_sequence(g.index), 1);
        }
        close_index(&g);
    }
    bytes.p[bytes.n - 1] = (char)0xff;
    struct fixture g;
    struct err err;
    open_index(&g, 0);
    assert_int_equal(apply(&g, bytes.p, bytes.n, &err), RC_CORRUPT);
    assert_non_null(strstr(err.message, "are damaged at byte"));
    bytes.p[0] = 9;
    assert_int_equal(apply(&g, bytes.p, bytes.n, &err), RC_CORRUPT);
    assert_string_equal(err.message, "definitions of names and series in an unknown version");
    assert_int_equal(index_name_count(g.index, INDEX_METRIC), 0);
    close_index(&g);
    buf_fini(&bytes);
    close_index(&f);
}

static void a_lost_piece_costs_only_what_needs_it(void **state) {
    struct fixture f, g;
    open_index(&f, 0);
    open_index(&g, 0);
    uint64_t next = index_sequence(f.index);
    make(&f, "cpu", "a");
    struct buf first = encode(&f, next, &next);
    make(&f, "mem", "a");
    make(&f, "mem", "b");
    struct buf lost = encode(&f, next, &next);
    make(&f, "mem", "c");
    make(&f, "disk", "c");
    struct buf last = encode(&f, next, &next);
    struct err err;
    assert_int_equal(apply(&g, first.p, first.n, &err), RC_OK);
    assert_int_equal(apply(&g, last.p, last.n, &err), RC_CORRUPT);
    assert_string_equal(err.message,
                        "1 definitions of names or series contradict others or lack their names");
    assert_int_equal(index_series_count(g.index), 2);
    assert_int_equal(index_by_id(g.index, 5)->metric_uid, 3);
    assert_null(index_by_id(g.index, 4));
    assert_int_equal(make(&g, "mem", "c")->id, 6);
    buf_fini(&first);
    buf_fini(&lost);
    buf_fini(&last);
    close_index(&f);
    close_index(&g);
}

struct receiver {
    struct fixture *fixture;
    size_t most;
    int count;
};

static enum rc receive(void *context, const uint8_t *bytes, size_t n) {
    struct receiver *receiver = context;
    assert_true(n <= receiver->most);
    receiver->count++;
    return apply(receiver->fixture, bytes, n, NULL);
}

/* Also on an older index, whose series use names that are gone by now. */
static void definitions_in_pieces_say_the_same_as_the_whole(void **state) {
    struct fixture f, whole, pieces;
    open_index(&f, 0);
    open_index(&whole, 0);
    open_index(&pieces, 0);
    struct series *gone[100];
    uint64_t next;
    for (int i = 0; i < 300; i++) {
        char host[16];
        snprintf(host, sizeof(host), "h%d", i);
        struct series *series = make(&f, i % 2 == 0 ? "cpu" : "mem", host);
        if (i < 100)
            gone[i] = series;
    }
    struct buf early = encode(&f, 0, &next);
    assert_int_equal(apply(&whole, early.p, early.n, NULL), RC_OK);
    assert_int_equal(apply(&pieces, early.p, early.n, NULL), RC_OK);
    for (int i = 0; i < 100; i++)
        index_remove(f.index, gone[i]);
    struct buf late = encode(&f, 0, &next);
    struct receiver receiver = {&pieces, 64, 0};
    assert_int_equal(apply(&whole, late.p, late.n, NULL), RC_OK);
    assert_int_equal(
        index_pieces((const uint8_t *)late.p, late.n, receiver.most, receive, &receiver), RC_OK);
    assert_true(receiver.count > 50);
    struct buf a = encode(&whole, 0, &next);
    struct buf b = encode(&pieces, 0, &next);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    assert_int_equal(index_series_count(pieces.index), 200);
    assert_int_equal(index_pieces((const uint8_t *)late.p, late.n - 1, 64, receive, &receiver),
                     RC_CORRUPT);
    buf_fini(&early);
    buf_fini(&late);
    buf_fini(&a);
    buf_fini(&b);
    close_index(&f);
    close_index(&whole);
    close_index(&pieces);
}

static void who_asks_for_more_than_is_remembered_gets_everything(void **state) {
    struct fixture f, g;
    open_index(&f, 0);
    open_index(&g, 0);
    uint64_t next = index_sequence(f.index), start = next;
    for (int i = 0; i < 240000; i++) {
        char host[16];
        snprintf(host, sizeof(host), "h%d", i);
        struct series *series = make(&f, "cpu", host);
        if (i % 3 == 0)
            index_remove(f.index, series);
        if (i == 100) {
            struct buf early = encode(&f, start, &next);
            assert_int_equal(apply(&g, early.p, early.n, NULL), RC_OK);
            buf_fini(&early);
        }
        if (i % 10000 == 9999) {
            struct buf consumed = encode(&f, next, &next);
            buf_fini(&consumed);
        }
    }
    struct buf all = encode(&f, start + 200, &next);
    assert_int_equal(apply(&g, all.p, all.n, NULL), RC_OK);
    assert_int_equal(index_series_count(g.index), 160000);
    assert_int_equal(index_name_count(g.index, INDEX_TAGV), 160000);
    assert_int_equal(index_series_id_max(g.index), 240000);
    buf_fini(&all);
    close_index(&f);
    close_index(&g);
}

static void what_is_stored_is_held_even_over_budget(void **state) {
    struct fixture f, g;
    open_index(&f, 0);
    for (int i = 0; i < 5000; i++) {
        char host[16];
        snprintf(host, sizeof(host), "h%d", i);
        make(&f, "cpu", host);
    }
    uint64_t next;
    struct buf bytes = encode(&f, 0, &next);
    open_index(&g, 64 << 10);
    assert_int_equal(apply(&g, bytes.p, bytes.n, NULL), RC_OK);
    assert_int_equal(index_series_count(g.index), 5000);
    struct series_key key = {
        .metric = STR("cpu"), .tag_count = 1, .tags = {{STR("host"), STR("another")}}};
    struct series *series;
    enum rc rc = RC_OK;
    for (int i = 0; i < 5000 && rc == RC_OK; i++) {
        char host[16];
        snprintf(host, sizeof(host), "new%d", i);
        key.tags[0].value = str_of(host);
        rc = index_series(g.index, &key, &series, NULL);
    }
    assert_int_equal(rc, RC_THROTTLE);
    buf_fini(&bytes);
    close_index(&f);
    close_index(&g);
}

static void ids_that_are_gone_for_ever_take_no_memory(void **state) {
    struct fixture f;
    open_index(&f, 0);
    /* a thousand million ids of series and of tag values were given and are gone */
    const uint8_t bytes[] = {1, 4, 1, 0x80, 0x94, 0xeb, 0xdc, 3,
                             3, 2, 1, 0x80, 0x94, 0xeb, 0xdc, 3};
    assert_int_equal(apply(&f, bytes, sizeof(bytes), NULL), RC_OK);
    assert_int_equal(index_series_id_max(f.index), 1000000000);
    assert_true(budget_used(&f.budget) < 32 << 20);
    struct series *series = make(&f, "cpu", "a");
    assert_int_equal(series->id, 1000000001);
    assert_int_equal(series->tags[0].value_uid, 1000000001);
    struct buf tsuid = {0};
    index_tsuid(f.index, series, &tsuid);
    assert_true(str_eq(buf_view(&tsuid), STR("000001000001FFFFFF3B9ACA01")));
    assert_ptr_equal(index_by_tsuid(f.index, buf_view(&tsuid)), series);
    buf_fini(&tsuid);
    uint64_t next;
    struct buf again = encode(&f, 0, &next);
    assert_true(again.n < 100);
    struct fixture g;
    open_index(&g, 0);
    assert_int_equal(apply(&g, again.p, again.n, NULL), RC_OK);
    assert_int_equal(index_series_id_max(g.index), 1000000001);
    buf_fini(&again);
    close_index(&g);
    close_index(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_the_format_page),
        cmocka_unit_test(damaged_bytes_change_nothing),
        cmocka_unit_test(a_lost_piece_costs_only_what_needs_it),
        cmocka_unit_test(definitions_in_pieces_say_the_same_as_the_whole),
        cmocka_unit_test(who_asks_for_more_than_is_remembered_gets_everything),
        cmocka_unit_test(what_is_stored_is_held_even_over_budget),
        cmocka_unit_test(ids_that_are_gone_for_ever_take_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
