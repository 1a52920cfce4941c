/*
 * The rule at the end of a zone file: a POSIX TZ string such as "MST7MDT,M3.2.0,M11.1.0", with the
 * extensions of RFC 8536. It tells the offsets after the last transition of the file.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum timezone_rule_form {
    TIMEZONE_RULE_JULIAN, /* Jn: day 1 .. 365, February 29 is never counted */
    TIMEZONE_RULE_DAY,    /* n: day 0 .. 365 */
    TIMEZONE_RULE_WEEKDAY /* Mm.w.d: weekday d of week w (5: the last) of month m */
};

struct timezone_rule_change {
    enum timezone_rule_form form;
    int day; /* of the first two forms */
    int month, week, weekday;
    int64_t seconds; /* of the day, local time before the change; may be negative or beyond a day */
};

struct timezone_rule {
    int64_t standard_s; /* seconds east of UTC */
    int64_t summer_s;
    bool has_summer;
    struct timezone_rule_change start; /* of summer time */
    struct timezone_rule_change end;
};

/* Parses the string; false if it is malformed. */
bool timezone_rule_parse(str text, struct timezone_rule *rule);

/* Offset from UTC in seconds at an instant in seconds. */
int64_t timezone_rule_offset_s(const struct timezone_rule *rule, int64_t time_s);
