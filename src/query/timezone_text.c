/*
 * Times and durations as a query writes them.
 */
#include "query/timezone.h"

#include "base/attr.h"

enum { SECONDS_DIGITS = 10 }; /* up to ten characters are seconds, more are milliseconds */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static size_t count_digits(str text) {
    size_t n = 0;
    while (n < text.n && is_digit(text.p[n]))
        n++;
    return n;
}

/* The value of a text of digits only; false if it does not fit. */
static bool parse_digits(str digits, int64_t *value) {
    int64_t sum = 0;
    for (size_t i = 0; i < digits.n; i++)
        if (__builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, digits.p[i] - '0', &sum))
            return false;
    *value = sum;
    return digits.n > 0;
}

/* Milliseconds of a unit; 0 if there is no such unit. */
static int64_t unit_ms(str unit) {
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {
        {"ms", 1},       {"s", 1000},      {"m", 60000},      {"h", 3600000},
        {"d", 86400000}, {"w", 604800000}, {"n", 2592000000}, {"y", 31536000000},
    };
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (str_eq_nocase(unit, str_of(units[i].name)))
            return units[i].ms;
    return 0;
}

enum rc timezone_parse_duration(str text, int64_t *duration_ms, struct err *err) {
    size_t digits = count_digits(text);
    if (digits == text.n)
        return err_set(err, RC_INVALID, "Invalid duration, must have an integer and unit: %.*s",
                       STR_ARG(text));
    int64_t count;
    if (!parse_digits((str){text.p, digits}, &count))
        return err_set(err, RC_INVALID, "Invalid duration (number): %.*s", STR_ARG(text));
    if (count == 0)
        return err_set(err, RC_INVALID, "Zero or negative duration: %.*s", STR_ARG(text));
    int64_t unit = unit_ms(str_from(text, digits));
    if (unit == 0)
        return err_set(err, RC_INVALID, "Invalid duration (suffix): %.*s", STR_ARG(text));
    if (__builtin_mul_overflow(count, unit, duration_ms))
        return err_set(err, RC_INVALID, "Duration must be less than 2^63 ms: %.*s", STR_ARG(text));
    return RC_OK;
}

static bool ends_nocase(str text, str end) {
    return text.n >= end.n && str_eq_nocase(str_from(text, text.n - end.n), end);
}

static enum rc parse_relative(str text, int64_t now_ms, int64_t *time_ms, struct err *err) {
    int64_t ago_ms;
    TRY(timezone_parse_duration((str){text.p, text.n - STR("-ago").n}, &ago_ms, err));
    /* There are no points before 1970. */
    *time_ms = now_ms > ago_ms ? now_ms - ago_ms : 0;
    return RC_OK;
}

/* Reads `text` by `form`, in which y, M, d, H, m and s stand for digits, '_' for '-' or a space,
   and all else for itself. The sums go to fields[] in the order yMdHms. */
static bool match_form(str text, str form, int64_t fields[6]) {
    static const char letters[] = "yMdHms";
    if (text.n != form.n)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *letter = strchr(letters, form.p[i]);
        char c = text.p[i];
        if (letter != NULL) {
            if (!is_digit(c))
                return false;
            fields[letter - letters] = fields[letter - letters] * 10 + (c - '0');
        } else if (form.p[i] == '_' ? c != '-' && c != ' ' : c != form.p[i]) {
            return false;
        }
    }
    return true;
}

static enum rc parse_absolute(str text, const struct timezone *zone, int64_t *time_ms,
                              struct err *err) {
    static const char *const forms[] = {"yyyy/MM/dd", "yyyy/MM/dd_HH:mm", "yyyy/MM/dd_HH:mm:ss"};
    bool known_length = false;
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        str form = str_of(forms[i]);
        int64_t fields[6] = {0};
        known_length |= text.n == form.n;
        if (!match_form(text, form, fields))
            continue;
        int64_t ms_of_day = ((fields[3] * 60 + fields[4]) * 60 + fields[5]) * 1000;
        *time_ms = timezone_from_local_late_ms(
            zone, timezone_local_ms(fields[0], fields[1], fields[2], ms_of_day));
        return RC_OK;
    }
    if (!known_length)
        return err_set(err, RC_INVALID, "Invalid absolute date: %.*s", STR_ARG(text));
    return err_set(err, RC_INVALID, "Invalid date: %.*s. Unparseable date: \"%.*s\"", STR_ARG(text),
                   STR_ARG(text));
}

/* "<ten digits>.<one to three digits>": the fraction is taken for what it is, whatever its length.
 */
static enum rc parse_dotted(str text, int64_t *time_ms, struct err *err) {
    size_t dot = str_find(text, '.');
    str seconds = {text.p, dot};
    str fraction = str_from(text, dot + 1);
    if (count_digits(seconds) != SECONDS_DIGITS || dot != SECONDS_DIGITS || fraction.n == 0 ||
        fraction.n > 3 || count_digits(fraction) != fraction.n)
        return err_set(err, RC_INVALID,
                       "Invalid time: %.*s. Millisecond timestamps must be in the format "
                       "<seconds>.<ms> where the milliseconds are limited to 3 digits",
                       STR_ARG(text));
    int64_t whole = 0, part = 0;
    (void)parse_digits(seconds, &whole);
    (void)parse_digits(fraction, &part);
    for (size_t i = fraction.n; i < 3; i++)
        part *= 10;
    *time_ms = whole * 1000 + part;
    return RC_OK;
}

static enum rc parse_unix(str text, int64_t *time_ms, bool *given_ms, struct err *err) {
    str digits = text;
    bool negative = text.p[0] == '-';
    if (negative || text.p[0] == '+')
        digits = str_from(text, 1);
    size_t n = count_digits(digits);
    if (digits.n == 0 || n < digits.n)
        return err_set(err, RC_INVALID, "Invalid time: %.*s. Invalid character '%c' in %.*s",
                       STR_ARG(text), digits.n == 0 ? text.p[0] : digits.p[n], STR_ARG(text));
    if (negative)
        return err_set(err, RC_INVALID,
                       "Invalid time: %.*s. Negative timestamps are not supported.", STR_ARG(text));
    if (!parse_digits(digits, time_ms))
        return err_set(err, RC_INVALID, "Invalid time: %.*s. Value out of range", STR_ARG(text));
    *given_ms = text.n > SECONDS_DIGITS;
    if (!*given_ms)
        *time_ms *= 1000;
    return RC_OK;
}

static enum rc parse_time(str text, const struct timezone *zone, int64_t now_ms, int64_t *time_ms,
                          bool *given_ms, struct err *err) {
    *given_ms = true;
    if (text.n == 0)
        return err_set(err, RC_INVALID, "Invalid time: no text");
    if (str_eq_nocase(text, STR("now"))) {
        *time_ms = now_ms;
        return RC_OK;
    }
    if (ends_nocase(text, STR("-ago")))
        return parse_relative(text, now_ms, time_ms, err);
    if (text.n > 2 && count_digits(text) == text.n - 2 &&
        str_eq(str_from(text, text.n - 2), STR("ms"))) {
        if (parse_digits((str){text.p, text.n - 2}, time_ms))
            return RC_OK;
        return err_set(err, RC_INVALID, "Invalid time: %.*s. Value out of range", STR_ARG(text));
    }
    if (str_find(text, '/') < text.n || str_find(text, ':') < text.n) {
        *given_ms = false;
        return parse_absolute(text, zone, time_ms, err);
    }
    if (str_find(text, '.') < text.n)
        return parse_dotted(text, time_ms, err);
    return parse_unix(text, time_ms, given_ms, err);
}

enum rc timezone_parse_time(str text, const struct timezone *zone, int64_t now_ms, int64_t *time_ms,
                            bool *given_ms, struct err *err) {
    bool in_ms = false;
    TRY(parse_time(text, zone, now_ms, time_ms, &in_ms, err));
    if (given_ms != NULL)
        *given_ms = in_ms;
    return RC_OK;
}
