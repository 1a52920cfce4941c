#include "base/scaled.h"

bool scaled_split(str text, uint64_t *number, str *unit) {
    uint64_t n = 0;
    size_t digits = 0;
    for (; digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9'; digits++)
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(text.p[digits] - '0'), &n))
            return false;
    if (digits == 0)
        return false;
    *number = n;
    *unit = str_from(text, digits);
    return true;
}

/* The factor of a unit, or 0 if there is no such unit. */
static uint64_t factor_of(str unit, const struct scaled_unit *units, size_t count) {
    if (unit.n == 0)
        return 1;
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(unit, str_of(units[i].name)))
            return units[i].factor;
    return 0;
}

bool scaled_parse(str text, const struct scaled_unit *units, size_t count, uint64_t *value) {
    uint64_t number;
    str unit;
    if (!scaled_split(text, &number, &unit))
        return false;
    uint64_t factor = factor_of(unit, units, count);
    if (factor == 0 || __builtin_mul_overflow(number, factor, &number) || number > INT64_MAX)
        return false;
    *value = number;
    return true;
}

bool scaled_parse_duration(str text, uint64_t *ms) {
    static const struct scaled_unit units[] = {
        {"ms", 1},
        {"s", 1000},
        {"m", 60000},
        {"h", 3600000},
        {"d", 86400000},
        {"w", 604800000},
        {"y", UINT64_C(31536000000)},
    };
    return scaled_parse(text, units, COUNT_OF(units), ms);
}
