#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "query/downsample.h"

static struct downsample parsed(const char *text) {
    struct downsample downsample;
    struct err err;
    if (downsample_parse(str_of(text), &downsample, &err) != RC_OK)
        fail_msg("%s: %s", text, err.message);
    return downsample;
}

static struct downsample in_zone(const char *text, const char *zone) {
    struct downsample downsample = parsed(text);
    downsample.timezone = timezone_find(str_of(zone));
    if (downsample.timezone == NULL)
        fail_msg("no zone %s on this machine", zone);
    return downsample;
}

static void specifications_are_taken_apart(void **state) {
    static const struct {
        const char *text;
        struct downsample expected;
    } rows[] = {
        {"1m-avg-", {false, 60000, 1, 'm', false, AGGREGATOR_AVG, FILL_NONE, NULL}},
        {"1m-avg", {false, 60000, 1, 'm', false, AGGREGATOR_AVG, FILL_NONE, NULL}},
        {"500ms-sum-nan", {false, 500, 500, 'i', false, AGGREGATOR_SUM, FILL_NAN, NULL}},
        {"30s-p99-null", {false, 30000, 30, 's', false, AGGREGATOR_P99, FILL_NULL, NULL}},
        {"2h-zimsum-zero", {false, 7200000, 2, 'h', false, AGGREGATOR_ZIMSUM, FILL_ZERO, NULL}},
        {"1d-max-scalar", {false, 86400000, 1, 'd', false, AGGREGATOR_MAX, FILL_SCALAR, NULL}},
        {"1dc-sum", {false, 86400000, 1, 'd', true, AGGREGATOR_SUM, FILL_NONE, NULL}},
        {"2wc-first-none", {false, 1209600000, 2, 'w', true, AGGREGATOR_FIRST, FILL_NONE, NULL}},
        {"3n-last", {false, 7776000000, 3, 'n', false, AGGREGATOR_LAST, FILL_NONE, NULL}},
        {"1yc-dev-NaN", {false, 31536000000, 1, 'y', true, AGGREGATOR_DEV, FILL_NAN, NULL}},
        {"1H-count", {false, 3600000, 1, 'h', false, AGGREGATOR_COUNT, FILL_NONE, NULL}},
        {"20MS-min", {false, 20, 20, 'i', false, AGGREGATOR_MIN, FILL_NONE, NULL}},
        {"0all-sum", {true, 0, 0, 'i', false, AGGREGATOR_SUM, FILL_NONE, NULL}},
        {"all-max-zero", {true, 0, 0, 'i', false, AGGREGATOR_MAX, FILL_ZERO, NULL}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct downsample actual = parsed(rows[i].text);
        const struct downsample *expected = &rows[i].expected;
        if (actual.all != expected->all || actual.interval_ms != expected->interval_ms ||
            actual.count != expected->count || actual.unit != expected->unit ||
            actual.calendar != expected->calendar || actual.function != expected->function ||
            actual.fill != expected->fill || actual.timezone != NULL)
            fail_msg("%s is not what was expected", rows[i].text);
    }
}

static void bad_specifications_are_refused_with_their_reason(void **state) {
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"1m-",
         "Invalid downsampling specifier '1m-': must provide at least interval and function"},
        {"", "Invalid downsampling specifier '': must provide at least interval and function"},
        {"1m", "Invalid downsampling specifier '1m': must provide at least interval and function"},
        {"1m-avg-nan-x", "Invalid downsampling specifier '1m-avg-nan-x': must consist of interval, "
                         "function, and optional fill policy"},
        {"1m-nosuch", "No such downsampling function: nosuch"},
        {"1m--nan", "No such downsampling function: "},
        {"1m-none", "cannot use the NONE aggregator for downsampling"},
        {"1h-avg-lerp", "Unrecognized fill policy: lerp"},
        {"10m-avg-badbadbad", "Unrecognized fill policy: badbadbad"},
        {"5q-sum", "Invalid duration (suffix): 5q"},
        {"0s-sum", "Zero or negative duration: 0s"},
        {"10-sum", "Invalid duration, must have an integer and unit: 10"},
        {"m-sum", "Invalid duration (number): m"},
        {"1.5h-sum", "Invalid duration (suffix): 1.5h"},
        {"99999999999999999999s-sum", "Invalid duration (number): 99999999999999999999s"},
        {"9223372036854775807y-sum", "Duration must be less than 2^63 ms: 9223372036854775807y"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct downsample downsample;
        struct err err;
        assert_int_equal(downsample_parse(str_of(rows[i].text), &downsample, &err), RC_INVALID);
        assert_string_equal(err.message, rows[i].message);
    }
}

/* Points of a series into "bucket->sum" pairs, through bucket starts alone. */
static void assert_sums(const struct downsample *downsample, const int64_t points[][2], size_t n,
                        const char *expected) {
    char text[512];
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        int64_t bucket = downsample_bucket(downsample, points[i][0]);
        int64_t next = downsample_next(downsample, bucket);
        int64_t sum = 0;
        for (; i < n && points[i][0] < next; i++) {
            assert_int_equal(downsample_bucket(downsample, points[i][0]), bucket);
            sum += points[i][1];
        }
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%lld->%lld ",
                                 (long long)bucket / 1000, (long long)sum);
        assert_true(used < sizeof(text));
    }
    assert_string_equal(text, expected);
}

static void plain_buckets_are_multiples_since_1970(void **state) {
    const int64_t b = 1356998400000;
    const int64_t v15[][2] = {{b, 40},           {b + 2000000, 50}, {b + 3600000, 40},
                              {b + 3605000, 50}, {b + 7200000, 40}, {b + 9200000, 50}};
    struct downsample thousand = parsed("1000s-avg");
    assert_sums(&thousand, v15, COUNT_OF(v15),
                "1356998000->40 1357000000->50 1357002000->90 1357005000->40 1357007000->50 ");
    const int64_t v16[][2] = {{b + 5000, 1},  {b + 15000, 2},  {b + 25000, 4},
                              {b + 35000, 8}, {b + 45000, 16}, {b + 55000, 32}};
    struct downsample fifteen = parsed("15s-sum");
    assert_sums(&fifteen, v16, COUNT_OF(v16),
                "1356998400->1 1356998415->6 1356998430->8 1356998445->48 ");
    /* Weeks start on Thursday. */
    struct downsample week = parsed("1w-sum");
    assert_int_equal(downsample_bucket(&week, b), 1356566400000);
    assert_int_equal(downsample_bucket(&week, -1), -604800000);
    struct downsample longest = parsed("9223372036854775807ms-sum");
    assert_int_equal(downsample_bucket(&longest, b), 0);
    assert_true(downsample_next(&longest, INT64_MAX - 1) == INT64_MAX);
}

static void calendar_days_start_at_local_midnight(void **state) {
    const int64_t t = 1450137600000;
    const int64_t points[][2] = {{t, 1},
                                 {t + 86399000, 2},
                                 {t + 126001000, 3},
                                 {t + 172799000, 4},
                                 {t + 172800000, 5},
                                 {t + 242999000, 6}};
    static const struct {
        const char *zone, *expected;
    } rows[] = {
        {"UTC", "1450137600->3 1450224000->7 1450310400->11 "},
        {"Pacific/Funafuti", "1450094400->1 1450180800->5 1450267200->9 1450353600->6 "},
        {"Pacific/Fiji", "1450090800->1 1450177200->2 1450263600->12 1450350000->6 "},
        {"Asia/Kabul", "1450121400->1 1450207800->5 1450294200->15 "},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct downsample day = in_zone("1dc-sum", rows[i].zone);
        assert_sums(&day, points, COUNT_OF(points), rows[i].expected);
    }
}

static void a_calendar_day_in_denver_holds_all_six_points(void **state) {
    const int64_t b = 1356998400000;
    const int64_t points[][2] = {{b + 5000, 1},  {b + 15000, 2},  {b + 25000, 4},
                                 {b + 35000, 8}, {b + 45000, 16}, {b + 55000, 32}};
    struct downsample day = in_zone("1dc-sum", "America/Denver");
    assert_sums(&day, points, COUNT_OF(points), "1356937200->63 ");
}

static void calendar_months_follow_the_calendar(void **state) {
    const int64_t points[][2] = {{1448928000000, 1}, {1451559600000, 2}, {1451606400000, 3},
                                 {1454284800000, 4}, {1456704000000, 5}, {1456772400000, 6}};
    struct downsample month = in_zone("1nc-sum", "UTC");
    assert_sums(&month, points, COUNT_OF(points), "1448928000->3 1451606400->3 1454284800->15 ");
}

/* A local time as text, to state buckets by the clock on the wall. */
static int64_t local(const char *zone, int64_t year, int month, int day, int hour, int minute) {
    return timezone_from_local_ms(
        timezone_find(str_of(zone)),
        timezone_local_ms(year, month, day, (hour * INT64_C(60) + minute) * 60000));
}

static void multiples_count_from_their_base(void **state) {
    static const char zone[] = "America/Denver";
    static const struct {
        const char *text;
        int at[6], start[5], next[5]; /* at: with seconds; 2013 is the year */
    } rows[] = {
        {"15mc-sum", {2013, 6, 5, 13, 44, 9}, {2013, 6, 5, 13, 30}, {2013, 6, 5, 13, 45}},
        {"7mc-sum", {2013, 6, 5, 23, 58, 0}, {2013, 6, 5, 23, 55}, {2013, 6, 6, 0, 0}},
        {"6hc-sum", {2013, 6, 5, 13, 44, 9}, {2013, 6, 5, 12, 0}, {2013, 6, 5, 18, 0}},
        {"5hc-sum", {2013, 6, 2, 1, 0, 0}, {2013, 6, 2, 1, 0}, {2013, 6, 2, 6, 0}},
        {"10dc-sum", {2013, 1, 25, 5, 0, 0}, {2013, 1, 21, 0, 0}, {2013, 1, 31, 0, 0}},
        {"10dc-sum", {2013, 12, 31, 5, 0, 0}, {2013, 12, 27, 0, 0}, {2014, 1, 1, 0, 0}},
        {"1wc-sum", {2013, 6, 5, 5, 0, 0}, {2013, 6, 2, 0, 0}, {2013, 6, 9, 0, 0}},
        {"3wc-sum", {2013, 1, 2, 5, 0, 0}, {2012, 12, 30, 0, 0}, {2013, 1, 20, 0, 0}},
        {"3wc-sum", {2013, 12, 30, 5, 0, 0}, {2013, 12, 29, 0, 0}, {2014, 1, 19, 0, 0}},
        {"3nc-sum", {2013, 6, 5, 5, 0, 0}, {2013, 4, 1, 0, 0}, {2013, 7, 1, 0, 0}},
        {"5nc-sum", {2013, 12, 5, 5, 0, 0}, {2013, 11, 1, 0, 0}, {2014, 1, 1, 0, 0}},
        {"1yc-sum", {2013, 12, 5, 5, 0, 0}, {2013, 1, 1, 0, 0}, {2014, 1, 1, 0, 0}},
        {"10yc-sum", {2013, 12, 5, 5, 0, 0}, {2010, 1, 1, 0, 0}, {2020, 1, 1, 0, 0}},
        {"24nc-sum", {2013, 12, 5, 5, 0, 0}, {2012, 1, 1, 0, 0}, {2014, 1, 1, 0, 0}},
        {"20sc-sum", {2013, 6, 5, 13, 44, 59}, {2013, 6, 5, 13, 44}, {2013, 6, 5, 13, 45}},
        {"7200sc-sum", {2013, 6, 5, 13, 44, 59}, {2013, 6, 5, 12, 0}, {2013, 6, 5, 14, 0}},
        {"90000msc-sum", {2013, 6, 5, 13, 2, 59}, {2013, 6, 5, 13, 1}, {2013, 6, 5, 13, 3}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct downsample downsample = in_zone(rows[i].text, zone);
        const int *at = rows[i].at, *start = rows[i].start, *next = rows[i].next;
        int64_t time_ms = local(zone, at[0], at[1], at[2], at[3], at[4]) + at[5] * 1000;
        int64_t start_ms = local(zone, start[0], start[1], start[2], start[3], start[4]);
        int64_t next_ms = local(zone, next[0], next[1], next[2], next[3], next[4]);
        if (strncmp(rows[i].text, "20s", 3) == 0)
            start_ms += 40000;
        if (strncmp(rows[i].text, "90000", 5) == 0)
            start_ms += 30000;
        if (downsample_bucket(&downsample, time_ms) != start_ms ||
            downsample_next(&downsample, start_ms) != next_ms)
            fail_msg("%s at row %zu: %lld .. %lld, expected %lld .. %lld", rows[i].text, i,
                     (long long)downsample_bucket(&downsample, time_ms),
                     (long long)downsample_next(&downsample, start_ms), (long long)start_ms,
                     (long long)next_ms);
    }
}

static void days_are_as_long_as_the_clock_makes_them(void **state) {
    struct downsample day = in_zone("1dc-sum", "America/Denver");
    /* 2013-03-10 has 23 hours, 2013-11-03 has 25. */
    int64_t spring = local("America/Denver", 2013, 3, 10, 0, 0);
    int64_t autumn = local("America/Denver", 2013, 11, 3, 0, 0);
    assert_int_equal(downsample_next(&day, spring) - spring, 23 * 3600000);
    assert_int_equal(downsample_next(&day, autumn) - autumn, 25 * 3600000);
    struct downsample six = in_zone("6hc-sum", "America/Denver");
    assert_int_equal(downsample_bucket(&six, spring + 22 * 3600000), spring + 18 * 3600000);
    assert_int_equal(downsample_next(&six, spring + 18 * 3600000), spring + 23 * 3600000);
    /* In Santiago the day of the change has no midnight and starts at one. */
    struct downsample chile = in_zone("1dc-sum", "America/Santiago");
    int64_t noon = local("America/Santiago", 2019, 9, 8, 12, 0);
    assert_int_equal(downsample_bucket(&chile, noon), noon - 11 * 3600000);
    /* In Havana the day of the change has two midnights and starts with the first. */
    struct downsample cuba = in_zone("1dc-sum", "America/Havana");
    noon = local("America/Havana", 2018, 11, 4, 12, 0);
    assert_int_equal(downsample_bucket(&cuba, noon), noon - 13 * 3600000);
    /* Samoa had no 30 December 2011. */
    struct downsample samoa = in_zone("1dc-sum", "Pacific/Apia");
    int64_t before = local("Pacific/Apia", 2011, 12, 29, 0, 0);
    assert_int_equal(downsample_next(&samoa, before) - before, 24 * 3600000);
    assert_int_equal(downsample_next(&samoa, before), local("Pacific/Apia", 2011, 12, 31, 0, 0));
}

/* Whatever the specification and the zone: buckets tile time, and their starts are their own. */
static void buckets_tile_time(void **state) {
    static const char *const zones[] = {"UTC",
                                        "America/Denver",
                                        "Asia/Kabul",
                                        "Pacific/Apia",
                                        "Australia/Lord_Howe",
                                        "Africa/Casablanca",
                                        "Europe/Dublin",
                                        "America/Santiago",
                                        "Asia/Tehran",
                                        "Africa/Monrovia"};
    static const char *const specifications[] = {
        "1sc",  "7sc",   "90sc", "1mc",  "25mc", "30mc",  "90mc",  "1hc",    "5hc",      "6hc",
        "25hc", "800hc", "1dc",  "2dc",  "9dc",  "400dc", "1wc",   "2wc",    "3wc",      "60wc",
        "1nc",  "2nc",   "5nc",  "18nc", "1yc",  "3yc",   "10msc", "333msc", "70000msc", "400yc"};
    srand(11);
    for (size_t z = 0; z < COUNT_OF(zones); z++) {
        for (size_t s = 0; s < COUNT_OF(specifications); s++) {
            char text[32];
            snprintf(text, sizeof(text), "%s-sum", specifications[s]);
            struct downsample downsample = in_zone(text, zones[z]);
            for (int i = 0; i < 60; i++) {
                int64_t time_ms = ((int64_t)rand() * 1000 + rand() % 1000) * 2 - 100000000000;
                int64_t start = downsample_bucket(&downsample, time_ms);
                int64_t next = downsample_next(&downsample, start);
                int64_t inside = start + rand() % (next - start);
                if (start > time_ms || time_ms >= next ||
                    downsample_bucket(&downsample, start) != start ||
                    downsample_bucket(&downsample, next) != next ||
                    downsample_bucket(&downsample, next - 1) != start ||
                    downsample_bucket(&downsample, inside) != start)
                    fail_msg("%s in %s at %lld: %lld .. %lld", text, zones[z], (long long)time_ms,
                             (long long)start, (long long)next);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specifications_are_taken_apart),
        cmocka_unit_test(bad_specifications_are_refused_with_their_reason),
        cmocka_unit_test(plain_buckets_are_multiples_since_1970),
        cmocka_unit_test(calendar_days_start_at_local_midnight),
        cmocka_unit_test(a_calendar_day_in_denver_holds_all_six_points),
        cmocka_unit_test(calendar_months_follow_the_calendar),
        cmocka_unit_test(multiples_count_from_their_base),
        cmocka_unit_test(days_are_as_long_as_the_clock_makes_them),
        cmocka_unit_test(buckets_tile_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
