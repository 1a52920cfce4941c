/*
 * Worked examples of OpenTSDB's answers, over a real store: points in tails, in vectors and in
 * segments give the same answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "medium/memory_medium.h"
#include "query/query.h"
#include "query/query_names.h"
#include "store/store.h"
#include "wire/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define B INT64_C(1356998400)

/* ---- a store ---- */

static struct medium *medium;
static struct store *store;
static struct err error;

static int64_t never(void *context) {
    return (B + 1000000) * 1000;
}

static const struct clock still = {never, NULL};

static int open_store(void **state) {
    struct store_options options;
    assert_int_equal(memory_medium_open(NULL, &medium, &error), RC_OK);
    store_options_default(&options, (size_t)256 << 20);
    static struct budget budget;
    budget_init(&budget, (size_t)256 << 20, NULL);
    options.medium = medium;
    options.clock = &still;
    options.budget = &budget;
    options.background = false;
    assert_int_equal(store_open(&options, &store, &error), RC_OK);
    return 0;
}

static int close_store(void **state) {
    assert_int_equal(store_close(store, &error), RC_OK);
    medium_close(medium);
    return 0;
}

/* `tags` is "host=a,dc=b". */
static struct series *series_of(const char *metric, const char *tags) {
    struct series_key key = {.metric = str_of(metric)};
    for (str rest = str_of(tags); rest.n > 0;) {
        const char *comma = memchr(rest.p, ',', rest.n);
        size_t n = comma == NULL ? rest.n : (size_t)(comma - rest.p);
        const char *equals = memchr(rest.p, '=', n);
        size_t at = (size_t)(equals - rest.p);
        key.tags[key.tag_count++] = (struct tag){{rest.p, at}, {equals + 1, n - at - 1}};
        rest = str_from(rest, comma == NULL ? n : n + 1);
    }
    assert_int_equal(series_key_canonicalise(&key, &error), RC_OK);
    struct series *series;
    assert_int_equal(index_series(store_index(store), &key, &series, &error), RC_OK);
    return series;
}

static void put_ms(const char *tags, int64_t time_ms, uint64_t bits, bool is_float) {
    (void)store_writers_enter(store);
    struct series *series = series_of("m", tags);
    uint8_t flag = is_float;
    struct store_batch batch = {1, &series, &time_ms, &bits, &flag};
    assert_int_equal(store_append(store, &batch, NULL, &error), RC_OK);
    store_writers_leave(store);
}

static void put(const char *tags, int64_t offset_s, int64_t value) {
    put_ms(tags, (B + offset_s) * 1000, (uint64_t)value, false);
}

static void put_double(const char *tags, int64_t offset_s, double value) {
    put_ms(tags, (B + offset_s) * 1000, points_bits_of(value), true);
}

/* ---- questions ---- */

static struct buf answer;

/* "{tags}[aggregateTags] time:value time:value ...", results apart by "; ". Times are relative to B
   unless they are far from it. */
static void format(void *context, const struct query *query, const struct query_result *result,
                   struct buf *out) {
    buf_char(out, '{');
    for (uint32_t i = 0; i < result->tag_count; i++) {
        struct tag tag = query_names_tag(result->names, result->tags[i]);
        buf_printf(out, "%s%.*s=%.*s", i == 0 ? "" : ",", STR_ARG(tag.key), STR_ARG(tag.value));
    }
    buf_str(out, STR("}["));
    for (uint32_t i = 0; i < result->aggregate_tag_count; i++)
        buf_printf(
            out, "%s%.*s", i == 0 ? "" : ",",
            STR_ARG(index_name(result->names->index, INDEX_TAGK, result->aggregate_tags[i])));
    buf_char(out, ']');
    for (uint64_t i = 0; i < result->point_count; i++) {
        buf_char(out, ' ');
        number_put_int(out, result->time_ms[i] / 1000 - B);
        buf_char(out, ':');
        bool ints = result->float_mask != NULL && (result->float_mask[i / 64] >> (i % 64) & 1) == 0;
        if (ints)
            number_put_int(out, (int64_t)result->bits[i]);
        else
            number_put_double(out, points_double_of(result->bits[i]));
    }
}

static enum rc take(void *context, str text, bool first) {
    if (!first)
        buf_str(&answer, STR("; "));
    buf_str(&answer, text);
    return RC_OK;
}

static enum rc ask_from(int64_t start_s, int64_t end_s, const char *m, const char *timezone) {
    struct arena arena;
    arena_init(&arena, NULL);
    char start[32], end[32];
    snprintf(start, sizeof(start), "%lld", (long long)start_s);
    snprintf(end, sizeof(end), "%lld", (long long)end_s);
    struct query_parameter parameters[] = {{STR("start"), str_of(start)},
                                           {STR("end"), str_of(end)},
                                           {STR("m"), str_of(m)},
                                           {STR("timezone"), str_of(timezone)}};
    struct query_parse_context context = {.now_ms = (B + 1000000) * 1000};
    struct query query;
    assert_int_equal(query_parse_get(parameters, 4, &context, &arena, &query, &error), RC_OK);
    static const struct query_sink sink = {format, take, NULL};
    struct query_limits limits = {
        .threads = 2, .budget = store_budget(store), .expansion_limit = 4096};
    buf_reset(&answer);
    enum rc rc = query_run(store, &query, &limits, &sink, NULL, &error);
    buf_char(&answer, '\0');
    arena_fini(&arena);
    return rc;
}

static const char *ask(int64_t start, int64_t end, const char *m) {
    assert_int_equal(ask_from(B + start, B + end, m, "UTC"), RC_OK);
    return answer.p;
}

static int forget(void **state) {
    buf_fini(&answer);
    return close_store(state);
}

/* ---- two hosts every thirty seconds, rising and falling ---- */

static void fixture(int64_t shift_s) {
    for (int64_t i = 1; i <= 300; i++) {
        put("host=web01", 30 * i, i);
        put("host=web02", 30 * i + shift_s, 301 - i);
    }
}

static void check_fixture(void) {
    struct buf expected = {0};
    buf_str(&expected, STR("{}[host]"));
    for (int64_t i = 1; i <= 300; i++)
        buf_printf(&expected, " %lld:301", (long long)(30 * i));
    buf_char(&expected, '\0');
    assert_string_equal(ask(0, 20000, "sum:m"), expected.p);
    assert_string_equal(ask(0, 20000, "zimsum:m"), expected.p);
    buf_reset(&expected);
    buf_str(&expected, STR("{host=web01}[]"));
    for (int64_t k = 0; k <= 150; k++) {
        buf_printf(&expected, " %lld:", (long long)(60 * k));
        number_put_double(&expected, k == 0 ? 1.0 : k == 150 ? 300.0 : 2.0 * (double)k + 0.5);
    }
    buf_char(&expected, '\0');
    assert_string_equal(ask(0, 20000, "sum:1m-avg:m{host=web01}"), expected.p);
    buf_fini(&expected);
    assert_string_equal(ask(0, 43200, "sum:0all-sum:m{host=web01}"), "{host=web01}[] 0:45150.0");
    assert_string_equal(ask(100, 200, "sum:0all-sum:m{host=web01}"), "{host=web01}[] 100:15.0");
    assert_string_equal(ask(90, 270, "sum:1m-sum:m{host=web01}"),
                        "{host=web01}[] 120:9.0 180:13.0 240:17.0");
    assert_string_equal(ask(8900, 9100, "sum:1m-avg:rate:m{host=web01}"),
                        "{host=web01}[] 8940:0.03333333333333333 9000:0.025");
    assert_string_equal(ask(0, 9100, "sum:1h-max:m{host=*}"),
                        "{host=web01}[] 0:119.0 3600:239.0 7200:300.0; "
                        "{host=web02}[] 0:300.0 3600:181.0 7200:61.0");
}

static void tails_vectors_and_segments_answer_alike(void **state) {
    fixture(0);
    check_fixture();
    assert_int_equal(store_checkpoint(store, &error), RC_OK);
    check_fixture();
    assert_int_equal(store_compact(store, &error), RC_OK);
    check_fixture();
}

static void offset_series_are_interpolated(void **state) {
    fixture(15);
    assert_string_equal(ask(0, 100, "sum:m"), "{}[host] 30:1 45:301 60:302 75:301 90:302");
    assert_string_equal(ask(8960, 20000, "sum:m"), "{}[host] 8970:302 8985:301 9000:302 9015:1");
    assert_string_equal(ask(0, 100, "avg:m"), "{}[host] 30:1 45:150 60:151 75:150 90:151");
    assert_string_equal(ask(0, 80, "zimsum:m"), "{}[host] 30:1 45:300 60:2 75:299");
    assert_string_equal(ask(9000, 20000, "count:m"), "{}[host] 9000:2 9015:1");
}

static void series_with_gaps(void **state) {
    for (int64_t i = 0; i < 300; i++) {
        if (i % 3 != 0)
            put("host=web01", 10 * i, i + 1);
        if ((300 - i) % 2 != 0)
            put("host=web02", 10 * i, 300 - i);
    }
    assert_string_equal(ask(0, 80, "zimsum:m"),
                        "{}[host] 10:301 20:3 30:297 40:5 50:301 70:301 80:9");
    assert_string_equal(ask(0, 50, "mimmax:m"), "{}[host] 10:299 20:3 30:297 40:5 50:295");
    assert_string_equal(ask(0, 50, "mimmin:m"), "{}[host] 10:2 20:3 30:297 40:5 50:6");
}

static void count_sees_interpolated_slots(void **state) {
    put("extra=f", 0, 42);
    put("extra=f", 30, 40);
    put("extra=t", 15, 100);
    put("extra=t", 45, 200);
    assert_string_equal(ask(0, 100, "count:m"), "{}[extra] 0:1 15:2 30:2 45:1");
    assert_string_equal(ask(0, 100, "sum:m"), "{}[extra] 0:42 15:141 30:190 45:200");
}

static void calendar_days_follow_the_zone(void **state) {
    for (int64_t i = 0; i < 6; i++)
        put("host=a", 5 + 10 * i, INT64_C(1) << i);
    assert_int_equal(ask_from(1356937200, B + 100, "sum:1dc-sum:m", "America/Denver"), RC_OK);
    assert_string_equal(answer.p, "{host=a}[] -61200:63.0");
}

static void calendar_months_start_on_the_first(void **state) {
    static const int64_t times[] = {1448928000, 1451559600, 1451606400,
                                    1454284800, 1456704000, 1456772400};
    for (size_t i = 0; i < COUNT_OF(times); i++)
        put("host=a", times[i] - B, (int64_t)i + 1);
    assert_int_equal(ask_from(1448928000, 1456790000, "sum:1nc-sum:m", "UTC"), RC_OK);
    char expected[128];
    snprintf(expected, sizeof(expected), "{host=a}[] %lld:3.0 %lld:3.0 %lld:15.0",
             (long long)(1448928000 - B), (long long)(1451606400 - B), (long long)(1454284800 - B));
    assert_string_equal(answer.p, expected);
}

static void percentiles_of_a_thousand_series(void **state) {
    for (int64_t i = 1; i <= 1000; i++) {
        char tags[32];
        snprintf(tags, sizeof(tags), "host=h%lld", (long long)i);
        put(tags, 10, i);
    }
    static const struct {
        const char *m, *expected;
    } cases[] = {
        {"p50:m", "{}[host] 10:500"},    {"p75:m", "{}[host] 10:750"},
        {"p90:m", "{}[host] 10:900"},    {"p95:m", "{}[host] 10:950"},
        {"p99:m", "{}[host] 10:990"},    {"p999:m", "{}[host] 10:999"},
        {"ep50r3:m", "{}[host] 10:500"}, {"ep95r7:m", "{}[host] 10:950"},
        {"sum:m", "{}[host] 10:500500"}, {"max:m", "{}[host] 10:1000"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(ask(0, 100, cases[i].m), cases[i].expected);
}

static void filters_and_groups_of_the_documentation(void **state) {
    put("host=web01,dc=dal", 10, 3);
    put("host=web02,dc=dal", 10, 2);
    put("host=web03,dc=dal", 10, 10);
    put("host=web01", 10, 1);
    put("host=web01,owner=jdoe", 10, 4);
    put("host=web01,dc=lax", 10, 8);
    put("host=web02,dc=lax", 10, 4);
    assert_string_equal(ask(0, 100, "sum:m{host=web01}"), "{host=web01,owner=jdoe}[dc] 10:16");
    assert_string_equal(ask(0, 100, "sum:m{host=web01,dc=dal}"), "{dc=dal,host=web01}[] 10:3");
    assert_string_equal(ask(0, 100, "sum:m{host=*,dc=dal}"),
                        "{dc=dal,host=web01}[] 10:3; {dc=dal,host=web02}[] 10:2; "
                        "{dc=dal,host=web03}[] 10:10");
    assert_string_equal(ask(0, 100, "sum:m{dc=dal|lax}"),
                        "{dc=dal}[host] 10:15; {dc=lax}[host] 10:12");
    assert_string_equal(ask(0, 100, "sum:explicit_tags:m{host=web01}"), "{host=web01}[] 10:1");
    assert_string_equal(
        ask(0, 100, "sum:explicit_tags:m{host=*}{dc=*}"),
        "{host=web01}[dc] 10:11; {host=web02}[dc] 10:6; {dc=dal,host=web03}[] 10:10");
}

static void the_last_write_of_a_time_wins(void **state) {
    put("host=a", 10, 1);
    put("host=a", 20, 2);
    assert_int_equal(store_checkpoint(store, &error), RC_OK);
    put_double("host=a", 10, 2.5);
    put("host=a", 5, 7);
    assert_string_equal(ask(0, 100, "sum:m"), "{host=a}[] 5:7.0 10:2.5 20:2");
    assert_string_equal(ask(0, 100, "count:0all-count:m"), "{host=a}[] 0:1.0");
    assert_string_equal(ask(0, 100, "sum:0all-count:m"), "{host=a}[] 0:3.0");
}

static void what_was_deleted_is_gone(void **state) {
    for (int64_t i = 0; i < 10; i++)
        put("host=a", 10 * i, i);
    struct series *series = series_of("m", "host=a");
    uint64_t deleted;
    assert_int_equal(
        store_delete(store, &series, 1, (B + 15) * 1000, (B + 85) * 1000, &deleted, &error), RC_OK);
    assert_int_equal(deleted, 7);
    assert_string_equal(ask(0, 100, "sum:m"), "{host=a}[] 0:0 10:1 90:9");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, forget)
    const struct CMUnitTest tests[] = {
        TEST(tails_vectors_and_segments_answer_alike),
        TEST(offset_series_are_interpolated),
        TEST(series_with_gaps),
        TEST(count_sees_interpolated_slots),
        TEST(calendar_days_follow_the_zone),
        TEST(calendar_months_start_on_the_first),
        TEST(percentiles_of_a_thousand_series),
        TEST(filters_and_groups_of_the_documentation),
        TEST(the_last_write_of_a_time_wins),
        TEST(what_was_deleted_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
