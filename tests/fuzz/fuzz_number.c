/* Numbers agree with the C library, and doubles that are written read back the same. */
#include "base/check.h"
#include "wire/number.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_integer(str text, const char *terminated, int64_t value) {
    char *end;
    errno = 0;
    long long expected = strtoll(terminated, &end, 10);
    CHECK(errno == 0 && end == terminated + text.n && expected == value);
}

/* The library skips fewer blanks than Java in front, and stops at the suffix it does not know. */
static void check_double(const char *text, size_t n, double value) {
    for (; n > 0 && (uint8_t)*text <= ' '; n--)
        text++;
    char *end;
    double expected = strtod(text, &end);
    CHECK(end > text);
    /* Some subnormal hexadecimals glibc rounds the wrong way; Java does not. */
    bool hexadecimal = memchr(text, 'x', n) != NULL || memchr(text, 'X', n) != NULL;
    if (hexadecimal && fabs(value) <= DBL_MIN)
        return;
    CHECK(points_bits_of(expected) == points_bits_of(value));
}

static void check_written(double value) {
    struct buf out = {0};
    number_put_double(&out, value);
    struct value again = {0};
    CHECK(!out.failed && out.n <= 26);
    CHECK(number_parse_value(buf_view(&out), &again, NULL) == NUMBER_OK);
    CHECK(again.is_float && again.bits == points_bits_of(value));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = malloc(size + 1);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    copy[size] = '\0';
    str text = {(const char *)data, size};
    struct value value = {0};
    char bad;
    enum number_outcome outcome = number_parse_value(text, &value, &bad);
    if (outcome == NUMBER_OK && value.is_float) {
        check_double(copy, size, points_double_of(value.bits));
        check_written(points_double_of(value.bits));
    } else if (outcome == NUMBER_OK) {
        check_integer(text, copy, (int64_t)value.bits);
    }
    if (size >= 8) {
        uint64_t bits;
        memcpy(&bits, data, sizeof(bits));
        if (isfinite(points_double_of(bits)))
            check_written(points_double_of(bits));
    }
    free(copy);
    return 0;
}
