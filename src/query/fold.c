#include "query/fold.h"

#include "base/attr.h"

#include <stdint.h>

/* Upper-case characters first .. last, every `stride`-th, and the way to their lower-case form. */
static const struct {
    uint16_t first, last;
    uint8_t stride;
    int16_t distance;
} ranges[] = {
    /* Latin */
    {0x00c0, 0x00d6, 1, 32},
    {0x00d8, 0x00de, 1, 32},
    {0x0100, 0x012e, 2, 1},
    {0x0132, 0x0136, 2, 1},
    {0x0139, 0x0147, 2, 1},
    {0x014a, 0x0176, 2, 1},
    {0x0178, 0x0178, 1, -121},
    {0x0179, 0x017d, 2, 1},
    {0x01a0, 0x01a4, 2, 1},
    {0x01af, 0x01af, 1, 1},
    {0x01cd, 0x01db, 2, 1},
    {0x01de, 0x01ee, 2, 1},
    {0x01f8, 0x021e, 2, 1},
    {0x0222, 0x0232, 2, 1},
    {0x1e00, 0x1e94, 2, 1},
    {0x1ea0, 0x1efe, 2, 1},
    /* Greek */
    {0x0386, 0x0386, 1, 38},
    {0x0388, 0x038a, 1, 37},
    {0x038c, 0x038c, 1, 64},
    {0x038e, 0x038f, 1, 63},
    {0x0391, 0x03a1, 1, 32},
    {0x03a3, 0x03ab, 1, 32},
    /* Cyrillic */
    {0x0400, 0x040f, 1, 80},
    {0x0410, 0x042f, 1, 32},
    {0x0460, 0x0480, 2, 1},
    {0x048a, 0x04be, 2, 1},
    {0x04c0, 0x04c0, 1, 15},
    {0x04c1, 0x04cd, 2, 1},
    {0x04d0, 0x052e, 2, 1},
    /* Armenian */
    {0x0531, 0x0556, 1, 48},
};

static uint32_t lower(uint32_t character) {
    for (size_t i = 0; i < COUNT_OF(ranges); i++)
        if (character >= ranges[i].first && character <= ranges[i].last &&
            (character - ranges[i].first) % ranges[i].stride == 0)
            return (uint32_t)((int32_t)character + ranges[i].distance);
    return character;
}

/* Number of bytes of the character at the front if it takes two or three, else 1. */
static size_t length_of(str text) {
    unsigned char first = (unsigned char)text.p[0];
    size_t n = first >= 0xc3 && first <= 0xdf ? 2 : first >= 0xe1 && first <= 0xef ? 3 : 1;
    if (n > text.n)
        return 1;
    for (size_t i = 1; i < n; i++)
        if ((text.p[i] & 0xc0) != 0x80)
            return 1;
    return n;
}

/* No mapping of the table changes the number of bytes. */
void fold_into(char *to, str text) {
    for (size_t n; text.n > 0; text = str_from(text, n), to += n) {
        n = length_of(text);
        const unsigned char *at = (const unsigned char *)text.p;
        if (n == 1) {
            to[0] = (char)(at[0] >= 'A' && at[0] <= 'Z' ? at[0] + ('a' - 'A') : at[0]);
        } else if (n == 2) {
            uint32_t character = lower((at[0] & 0x1fu) << 6 | (at[1] & 0x3fu));
            to[0] = (char)(0xc0 | character >> 6);
            to[1] = (char)(0x80 | (character & 0x3f));
        } else {
            uint32_t character =
                lower((at[0] & 0x0fu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu));
            to[0] = (char)(0xe0 | character >> 12);
            to[1] = (char)(0x80 | (character >> 6 & 0x3f));
            to[2] = (char)(0x80 | (character & 0x3f));
        }
    }
}

str fold_copy(struct arena *arena, str text) {
    char *copy = arena_alloc(arena, text.n + 1);
    if (copy == NULL)
        return (str){NULL, 0};
    fold_into(copy, text);
    return (str){copy, text.n};
}
