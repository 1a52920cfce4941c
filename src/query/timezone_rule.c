#include "query/timezone_rule.h"

#include "query/timezone.h"

enum { HOUR_S = 3600, DAY_S = 86400 };

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Takes `c` from the front if it is there. */
static bool take(str *text, char c) {
    if (text->n == 0 || text->p[0] != c)
        return false;
    *text = str_from(*text, 1);
    return true;
}

static bool take_number(str *text, int max, int *number) {
    int value = 0;
    size_t digits = 0;
    for (; digits < text->n && is_digit(text->p[digits]); digits++) {
        value = value * 10 + (text->p[digits] - '0');
        if (value > max)
            return false;
    }
    *text = str_from(*text, digits);
    *number = value;
    return digits > 0;
}

/* "MST", or anything in angle brackets. The names themselves are of no use here. */
static bool take_name(str *text) {
    size_t n = 0;
    if (take(text, '<')) {
        n = str_find(*text, '>');
        if (n == 0 || n == text->n)
            return false;
        *text = str_from(*text, n + 1);
        return true;
    }
    while (n < text->n && is_letter(text->p[n]))
        n++;
    *text = str_from(*text, n);
    return n >= 3;
}

/* "[+-]hh[:mm[:ss]]" in seconds. */
static bool take_time(str *text, int hours_max, int64_t *seconds) {
    bool negative = take(text, '-');
    if (!negative)
        (void)take(text, '+');
    int hours, minutes = 0, rest = 0;
    if (!take_number(text, hours_max, &hours))
        return false;
    if (take(text, ':')) {
        if (!take_number(text, 59, &minutes))
            return false;
        if (take(text, ':') && !take_number(text, 59, &rest))
            return false;
    }
    int64_t total = (int64_t)hours * HOUR_S + minutes * 60 + rest;
    *seconds = negative ? -total : total;
    return true;
}

static bool take_date(str *text, struct timezone_rule_change *change) {
    if (take(text, 'J')) {
        change->form = TIMEZONE_RULE_JULIAN;
        return take_number(text, 365, &change->day) && change->day >= 1;
    }
    if (!take(text, 'M')) {
        change->form = TIMEZONE_RULE_DAY;
        return take_number(text, 365, &change->day);
    }
    change->form = TIMEZONE_RULE_WEEKDAY;
    return take_number(text, 12, &change->month) && change->month >= 1 && take(text, '.') &&
           take_number(text, 5, &change->week) && change->week >= 1 && take(text, '.') &&
           take_number(text, 6, &change->weekday);
}

static bool take_change(str *text, struct timezone_rule_change *change) {
    change->seconds = 2 * HOUR_S;
    return take(text, ',') && take_date(text, change) &&
           (!take(text, '/') || take_time(text, 167, &change->seconds));
}

bool timezone_rule_parse(str text, struct timezone_rule *rule) {
    *rule = (struct timezone_rule){0};
    int64_t west;
    if (!take_name(&text) || !take_time(&text, 24, &west))
        return false;
    rule->standard_s = -west;
    if (text.n == 0)
        return true;
    rule->has_summer = true;
    rule->summer_s = rule->standard_s + HOUR_S;
    if (!take_name(&text))
        return false;
    if (text.n > 0 && text.p[0] != ',') {
        if (!take_time(&text, 24, &west))
            return false;
        rule->summer_s = -west;
    }
    return take_change(&text, &rule->start) && take_change(&text, &rule->end) && text.n == 0;
}

static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    return timezone_local_ms(year, month, day, 0) / 1000 / DAY_S;
}

static bool is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int weekday_of(int64_t days) {
    struct civil civil;
    timezone_civil(days * DAY_S * 1000, &civil);
    return civil.weekday;
}

/* Day number since 1970 of a change in a year. */
static int64_t day_of_change(const struct timezone_rule_change *change, int64_t year) {
    int64_t new_year = days_of(year, 1, 1);
    if (change->form == TIMEZONE_RULE_DAY)
        return new_year + change->day;
    if (change->form == TIMEZONE_RULE_JULIAN)
        return new_year + change->day - 1 + (is_leap(year) && change->day >= 60);
    int64_t first = days_of(year, change->month, 1);
    int64_t day = first + (change->weekday - weekday_of(first) + 7) % 7 + 7 * (change->week - 1);
    return day < days_of(year, change->month + 1, 1) ? day : day - 7;
}

int64_t timezone_rule_offset_s(const struct timezone_rule *rule, int64_t time_s) {
    if (!rule->has_summer)
        return rule->standard_s;
    struct civil civil;
    timezone_civil((time_s + rule->standard_s) * 1000, &civil);
    int64_t start =
        day_of_change(&rule->start, civil.year) * DAY_S + rule->start.seconds - rule->standard_s;
    int64_t end =
        day_of_change(&rule->end, civil.year) * DAY_S + rule->end.seconds - rule->summer_s;
    bool summer = start < end ? time_s >= start && time_s < end : time_s >= start || time_s < end;
    return summer ? rule->summer_s : rule->standard_s;
}
