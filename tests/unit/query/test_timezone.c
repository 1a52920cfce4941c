#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/attr.h"
#include "query/timezone.h"

#define HOUR_MS INT64_C(3600000)
/* 2013-01-01 01:00:00 UTC */
#define NOW_MS INT64_C(1357002000000)

static const struct timezone *zone(const char *name) {
    const struct timezone *found = timezone_find(str_of(name));
    if (found == NULL)
        fail_msg("no zone %s on this machine", name);
    return found;
}

/* ---- times ---- */

static void times_are_read_in_every_form(void **state) {
    static const struct {
        const char *text;
        int64_t time_ms;
        bool given_ms;
    } rows[] = {
        {"now", NOW_MS, true},
        {"NOW", NOW_MS, true},
        {"1h-ago", NOW_MS - HOUR_MS, true},
        {"30s-ago", NOW_MS - 30000, true},
        {"500ms-ago", NOW_MS - 500, true},
        {"2D-AGO", NOW_MS - 48 * HOUR_MS, true},
        {"1n-ago", NOW_MS - 30 * 24 * HOUR_MS, true},
        {"100y-ago", 0, true},
        {"0", 0, false},
        {"1356998400", 1356998400000, false},
        {"1356998400500", 1356998400500, true},
        {"13569984000", 13569984000, true},
        {"+1356998400", 1356998400, true},
        {"1364410924.250", 1364410924250, true},
        {"1364410924.5", 1364410924500, true},
        {"1364410924.25", 1364410924250, true},
        {"1364410924250ms", 1364410924250, true},
        {"12ms", 12, true},
        {"2013/01/01", 1356998400000, false},
        {"2013/01/01-01:30", 1357003800000, false},
        {"2013/01/01 01:30", 1357003800000, false},
        {"2013/01/01-01:30:15", 1357003815000, false},
        {"2013/01/01 01:30:15", 1357003815000, false},
        /* Months, days and hours roll over. */
        {"2012/13/01", 1356998400000, false},
        {"2012/12/32", 1356998400000, false},
        {"2012/12/31-24:00", 1356998400000, false},
        {"2012/02/30", 1330560000000, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t time_ms = -1;
        bool given_ms;
        struct err err;
        if (timezone_parse_time(str_of(rows[i].text), NULL, NOW_MS, &time_ms, &given_ms, &err) !=
            RC_OK)
            fail_msg("%s: %s", rows[i].text, err.message);
        if (time_ms != rows[i].time_ms || given_ms != rows[i].given_ms)
            fail_msg("%s is %" PRId64, rows[i].text, time_ms);
    }
}

static void bad_times_are_refused_with_their_reason(void **state) {
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "Invalid time: no text"},
        {"-1", "Invalid time: -1. Negative timestamps are not supported."},
        {"-", "Invalid time: -. Invalid character '-' in -"},
        {"abc", "Invalid time: abc. Invalid character 'a' in abc"},
        {"12x4", "Invalid time: 12x4. Invalid character 'x' in 12x4"},
        {"1h", "Invalid time: 1h. Invalid character 'h' in 1h"},
        {"99999999999999999999", "Invalid time: 99999999999999999999. Value out of range"},
        {"99999999999999999999ms", "Invalid time: 99999999999999999999ms. Value out of range"},
        {"1.5", "Invalid time: 1.5. Millisecond timestamps must be in the format <seconds>.<ms> "
                "where the milliseconds are limited to 3 digits"},
        {"1364410924.", "Invalid time: 1364410924.. Millisecond timestamps must be in the format "
                        "<seconds>.<ms> where the milliseconds are limited to 3 digits"},
        {"1364410924.2500",
         "Invalid time: 1364410924.2500. Millisecond timestamps must be in the format "
         "<seconds>.<ms> where the milliseconds are limited to 3 digits"},
        {"2013/1/1", "Invalid absolute date: 2013/1/1"},
        {"10:00", "Invalid absolute date: 10:00"},
        {"2013-01/01", "Invalid date: 2013-01/01. Unparseable date: \"2013-01/01\""},
        {"2013/01/01T01:30",
         "Invalid date: 2013/01/01T01:30. Unparseable date: \"2013/01/01T01:30\""},
        {"1q-ago", "Invalid duration (suffix): 1q"},
        {"-ago", "Invalid duration, must have an integer and unit: "},
        {"0s-ago", "Zero or negative duration: 0s"},
        {"-5s-ago", "Invalid duration (number): -5s"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t time_ms;
        struct err err;
        if (timezone_parse_time(str_of(rows[i].text), NULL, NOW_MS, &time_ms, NULL, &err) !=
            RC_INVALID)
            fail_msg("%s was taken", rows[i].text);
        assert_string_equal(err.message, rows[i].message);
    }
}

static void dates_are_read_in_their_zone(void **state) {
    static const struct {
        const char *text, *zone;
        int64_t time_ms;
    } rows[] = {
        {"2013/01/01", "UTC", 1356998400000},
        {"2012/12/31-17:00", "America/Denver", 1356998400000},
        {"2013/07/01-00:00", "America/Denver", 1372658400000},
        {"2013/01/01-05:30", "Asia/Kolkata", 1356998400000},
        /* In the gap of spring the clock goes on; in the overlap of autumn it is winter already. */
        {"2013/03/10-02:30", "America/Denver", 1362907800000},
        {"2013/11/03-01:30", "America/Denver", 1383467400000},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t time_ms = 0;
        assert_int_equal(timezone_parse_time(str_of(rows[i].text), zone(rows[i].zone), NOW_MS,
                                             &time_ms, NULL, NULL),
                         RC_OK);
        assert_int_equal(time_ms, rows[i].time_ms);
    }
}

static void durations_have_eight_units(void **state) {
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"500ms", 500},    {"1s", 1000},       {"5m", 300000},
        {"1h", 3600000},   {"1d", 86400000},   {"7d", 604800000},
        {"1w", 604800000}, {"1n", 2592000000}, {"2y", 63072000000},
        {"1H", 3600000},   {"5MS", 5},         {"9223372036854775807ms", INT64_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t ms = 0;
        assert_int_equal(timezone_parse_duration(str_of(rows[i].text), &ms, NULL), RC_OK);
        assert_int_equal(ms, rows[i].ms);
    }
}

/* ---- civil dates ---- */

/* Day by day from 1600 to 2400 with the rules of school. */
static void civil_dates_follow_the_gregorian_calendar(void **state) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year = 1600;
    int month = 1, day = 1, weekday = 6; /* 1600-01-01 was a Saturday */
    for (int64_t days = -135140; year < 2400; days++) {
        struct civil civil;
        timezone_civil(days * 24 * HOUR_MS + 4321, &civil);
        if (civil.year != year || civil.month != month || civil.day != day ||
            civil.weekday != weekday || civil.ms_of_day != 4321)
            fail_msg("day %" PRId64 " is %" PRId64 "-%d-%d", days, civil.year, civil.month,
                     civil.day);
        assert_int_equal(timezone_local_ms(year, month, day, 4321), days * 24 * HOUR_MS + 4321);
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        weekday = (weekday + 1) % 7;
        if (++day <= lengths[month - 1] + (month == 2 && leap))
            continue;
        day = 1;
        if (++month <= 12)
            continue;
        month = 1;
        year++;
    }
}

static void no_instant_is_too_far(void **state) {
    static const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < COUNT_OF(extremes); i++) {
        struct civil civil;
        timezone_civil(extremes[i], &civil);
        assert_in_range(civil.month, 1, 12);
        (void)timezone_local_ms(extremes[i], extremes[i], extremes[i], extremes[i]);
        (void)timezone_from_local_ms(zone("America/Denver"), extremes[i]);
        assert_int_equal(timezone_offset_ms(NULL, extremes[i]), 0);
    }
}

/* ---- zones ---- */

/* The C library reads the same files: every hour for two centuries, it must say the same. */
static void offsets_equal_those_of_the_c_library(void **state) {
    static const char *const names[] = {"America/Denver",    "Europe/Dublin", "Australia/Lord_Howe",
                                        "Africa/Casablanca", "Asia/Tehran",   "America/Sao_Paulo",
                                        "Pacific/Apia",      "Asia/Kolkata",  "Antarctica/Troll",
                                        "America/Godthab"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct timezone *mine = zone(names[i]);
        assert_int_equal(setenv("TZ", names[i], 1), 0);
        tzset();
        for (int64_t t = -2000000000; t < 4400000000; t += 5 * 3600 + 17) {
            struct tm tm;
            time_t at = (time_t)t;
            assert_non_null(localtime_r(&at, &tm));
            if (timezone_offset_ms(mine, t * 1000) != tm.tm_gmtoff * INT64_C(1000))
                fail_msg("%s at %" PRId64 ": %" PRId64 " s, not %ld s", names[i], t,
                         timezone_offset_ms(mine, t * 1000) / 1000, tm.tm_gmtoff);
        }
    }
    unsetenv("TZ");
}

static void local_times_lead_back_to_their_instant(void **state) {
    static const char *const names[] = {"America/Denver", "Australia/Lord_Howe", "Pacific/Apia"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct timezone *z = zone(names[i]);
        for (int64_t t = 0; t < 2000000000000; t += 7 * HOUR_MS / 2 + 1) {
            int64_t local = t + timezone_offset_ms(z, t);
            int64_t early = timezone_from_local_ms(z, local);
            int64_t late = timezone_from_local_late_ms(z, local);
            if ((early != t && late != t) || early > late)
                fail_msg("%s at %" PRId64, names[i], t);
            assert_int_equal(early + timezone_offset_ms(z, early), local);
            assert_int_equal(late + timezone_offset_ms(z, late), local);
        }
    }
}

static void gaps_and_overlaps_are_resolved_as_promised(void **state) {
    const struct timezone *denver = zone("America/Denver");
    int64_t gap = timezone_local_ms(2013, 3, 10, 5 * HOUR_MS / 2);
    assert_int_equal(timezone_from_local_ms(denver, gap), 1362907800000);
    assert_int_equal(timezone_from_local_late_ms(denver, gap), 1362907800000);
    int64_t overlap = timezone_local_ms(2013, 11, 3, 3 * HOUR_MS / 2);
    assert_int_equal(timezone_from_local_ms(denver, overlap), 1383463800000);
    assert_int_equal(timezone_from_local_late_ms(denver, overlap), 1383467400000);
}

static void names_that_are_not_zones_are_unknown(void **state) {
    static const char *const names[] = {
        "",         "No/Where",        "/etc/localtime",  "../zoneinfo/UTC", "America",
        "America/", "America//Denver", "zone.tab",        "america/denver",  "UTC\n",
        "./UTC",    "right/UTC",       "America/Denver/",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_null(timezone_find(str_of(names[i])));
    assert_null(timezone_find((str){"UTC\0x", 5}));
    assert_non_null(timezone_find(STR("UTC")));
    assert_non_null(timezone_find(STR("EST5EDT")));
    assert_ptr_equal(zone("America/Denver"), zone("America/Denver"));
    assert_ptr_equal(zone("PST"), zone("America/Los_Angeles"));
    assert_ptr_equal(zone("VST"), zone("Asia/Ho_Chi_Minh"));
}

/* ---- zone files ---- */

struct zone_file {
    uint8_t bytes[1024];
    size_t n;
};

static void put(struct zone_file *file, uint64_t value, unsigned bytes) {
    while (bytes-- > 0)
        file->bytes[file->n++] = (uint8_t)(value >> (8 * bytes));
}

static void put_header(struct zone_file *file, char version, uint32_t times, uint32_t types) {
    memcpy(file->bytes + file->n, "TZif", 4);
    file->n += 4;
    put(file, (uint8_t)version, 1);
    memset(file->bytes + file->n, 0, 27);
    file->n += 27;
    put(file, times, 4);
    put(file, types, 4);
    put(file, 4, 4); /* characters: "X\0Y\0" */
}

/* A file with two transitions, +1 h at 1000 s and -1 h at 2000 s, and a rule. */
static struct zone_file make_file(const char *rule) {
    struct zone_file file = {.n = 0};
    put_header(&file, '2', 0, 1);
    put(&file, 0, 6);
    put(&file, 0, 4);
    put_header(&file, '2', 2, 3);
    put(&file, 1000, 8);
    put(&file, 2000, 8);
    put(&file, 0x0102, 2);
    put(&file, 0, 6);
    put(&file, 3600, 4);
    put(&file, 0x0100, 2);
    put(&file, (uint32_t)-3600, 4);
    put(&file, 0x0002, 2);
    put(&file, 0x58005900, 4);
    file.n += (size_t)snprintf((char *)file.bytes + file.n, 200, "\n%s\n", rule);
    return file;
}

static int64_t offset_by_rule(const char *rule, int64_t time_s) {
    struct zone_file file = make_file(rule);
    struct timezone *z = timezone_parse(file.bytes, file.n);
    if (z == NULL)
        fail_msg("%s was refused", rule);
    int64_t offset_ms = timezone_offset_ms(z, time_s * 1000);
    timezone_free(z);
    return offset_ms / 1000;
}

static void transitions_hold_from_their_second_on(void **state) {
    static const struct {
        int64_t time_s, offset_s;
    } rows[] = {{-5000, 0}, {999, 0}, {1000, 3600}, {1999, 3600}, {2000, -3600}, {5000, -3600}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(offset_by_rule("", rows[i].time_s), rows[i].offset_s);
}

static void rules_hold_after_the_last_transition(void **state) {
    static const struct {
        const char *rule;
        int64_t time_s, offset_s;
    } rows[] = {
        {"AAA-2", 1999, 3600},
        {"AAA-2", 2000, 7200},
        {"<-03>3", 5000, -10800},
        {"<+0545>-5:45", 5000, 20700},
        {"AAA-5:30:15", 5000, 19815},
        /* 2030-01-01 and 2030-07-01 */
        {"MST7MDT,M3.2.0,M11.1.0", 1893456000, -25200},
        {"MST7MDT,M3.2.0,M11.1.0", 1909094400, -21600},
        /* The change of 2030-03-10 09:00 UTC, to the second. */
        {"MST7MDT,M3.2.0,M11.1.0", 1899363599, -25200},
        {"MST7MDT,M3.2.0,M11.1.0", 1899363600, -21600},
        /* Summer in the south goes over new year. */
        {"AAA-10BBB,M10.1.0,M4.1.0/3", 1893456000, 39600},
        {"AAA-10BBB,M10.1.0,M4.1.0/3", 1909094400, 36000},
        /* Half an hour of summer, negative summer, days by number. */
        {"AAA-10:30BBB-11,M10.1.0,M4.1.0", 1893456000, 39600},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 1893456000, 0},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 1909094400, 3600},
        {"AAA0BBB,J60/0,J61/0", 1898553600, 3600},  /* 2030-03-01 */
        {"AAA0BBB,59/0,60/0", 1898553600, 3600},    /* 2030-03-01 */
        {"AAA0BBB,59/0,60/0", 1835395200, 3600},    /* 2028-02-29 */
        {"AAA0BBB,J60/0,J61/0", 1835395200, 0},     /* 2028-02-29 */
        {"AAA0BBB,J60/0,J61/0", 1835481600, 3600},  /* 2028-03-01 */
        {"EEE3FFF,0/0,J365/23", 1893456000, -7200}, /* summer all year */
        {"EEE3FFF,0/0,J365/23", 1909094400, -7200},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1909094400, -3600},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t offset_s = offset_by_rule(rows[i].rule, rows[i].time_s);
        if (offset_s != rows[i].offset_s)
            fail_msg("%s at %" PRId64 " is %" PRId64, rows[i].rule, rows[i].time_s, offset_s);
    }
}

static void malformed_rules_are_refused(void **state) {
    static const char *const rules[] = {
        "A1",
        "AAA",
        "AAA25",
        "AAA1BBB",
        "AAA1BBB,M1.1.1",
        "<AA1",
        "<>1",
        "AAA1x",
        "AAA1:60",
        "AAA1BBB,M13.1.0,M1.1.0",
        "AAA1BBB,M0.1.0,M1.1.0",
        "AAA1BBB,M1.6.0,M1.1.0",
        "AAA1BBB,M1.1.7,M1.1.0",
        "AAA1BBB,J0,J1",
        "AAA1BBB,366,1",
        "AAA1BBB,1/168,2",
        "AAA1BBB,1,2,3",
        "AAA99999999999999999999",
    };
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        struct zone_file file = make_file(rules[i]);
        if (timezone_parse(file.bytes, file.n) != NULL)
            fail_msg("%s was taken", rules[i]);
    }
}

static void a_damaged_zone_file_is_refused(void **state) {
    struct zone_file whole = make_file("AAA-2");
    for (size_t n = 0; n < whole.n; n++) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, whole.bytes, n);
        assert_null(timezone_parse(cut, n));
        free(cut);
    }
    /* Transitions out of order, a type that is not there, an offset beyond a day. */
    size_t body = whole.n - strlen("\nAAA-2\n") - 4 - 18 - 2 - 16;
    const struct {
        size_t at;
        uint8_t value;
    } damages[] = {{body + 6, 0xff}, {body + 16, 3}, {body + 18, 0x7f}};
    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        struct zone_file damaged = whole;
        damaged.bytes[damages[i].at] = damages[i].value;
        assert_null(timezone_parse(damaged.bytes, damaged.n));
    }
    struct timezone *z = timezone_parse(whole.bytes, whole.n);
    assert_non_null(z);
    timezone_free(z);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read_in_every_form),
        cmocka_unit_test(bad_times_are_refused_with_their_reason),
        cmocka_unit_test(dates_are_read_in_their_zone),
        cmocka_unit_test(durations_have_eight_units),
        cmocka_unit_test(civil_dates_follow_the_gregorian_calendar),
        cmocka_unit_test(no_instant_is_too_far),
        cmocka_unit_test(offsets_equal_those_of_the_c_library),
        cmocka_unit_test(local_times_lead_back_to_their_instant),
        cmocka_unit_test(gaps_and_overlaps_are_resolved_as_promised),
        cmocka_unit_test(names_that_are_not_zones_are_unknown),
        cmocka_unit_test(transitions_hold_from_their_second_on),
        cmocka_unit_test(rules_hold_after_the_last_transition),
        cmocka_unit_test(malformed_rules_are_refused),
        cmocka_unit_test(a_damaged_zone_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
