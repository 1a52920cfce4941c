#include "model/utf8.h"

/* What may follow a lead byte: Unicode's table 3-7 (well-formed byte sequences). Only the second
   byte is restricted beyond 80 .. BF. */
struct sequence {
    size_t length; /* 0: not a lead byte */
    uint8_t second_min;
    uint8_t second_max;
};

static struct sequence sequence_of(uint8_t lead) {
    if (lead < 0x80)
        return (struct sequence){1, 0, 0};
    if (lead >= 0xc2 && lead <= 0xdf)
        return (struct sequence){2, 0x80, 0xbf};
    if (lead >= 0xe0 && lead <= 0xef)
        return (struct sequence){3, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf};
    if (lead >= 0xf0 && lead <= 0xf4)
        return (struct sequence){4, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf};
    return (struct sequence){0, 0, 0};
}

/* How many of the first bytes belong to a beginning of a valid sequence. */
static size_t valid_prefix(const uint8_t *bytes, size_t n, struct sequence sequence) {
    size_t i = 1;
    for (; i < sequence.length && i < n; i++) {
        uint8_t min = i == 1 ? sequence.second_min : 0x80;
        uint8_t max = i == 1 ? sequence.second_max : 0xbf;
        if (bytes[i] < min || bytes[i] > max)
            break;
    }
    return i;
}

size_t utf8_decode(const char *bytes, size_t n, uint32_t *code_point) {
    if (n == 0)
        return 0;
    const uint8_t *b = (const uint8_t *)bytes;
    struct sequence sequence = sequence_of(b[0]);
    if (sequence.length == 0 || valid_prefix(b, n, sequence) < sequence.length)
        return 0;
    static const uint8_t lead_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = b[0] & lead_mask[sequence.length];
    for (size_t i = 1; i < sequence.length; i++)
        c = c << 6 | (b[i] & 0x3f);
    *code_point = c;
    return sequence.length;
}

size_t utf8_bad_length(const char *bytes, size_t n) {
    const uint8_t *b = (const uint8_t *)bytes;
    struct sequence sequence = sequence_of(b[0]);
    return sequence.length == 0 ? 1 : valid_prefix(b, n, sequence);
}

size_t utf8_encode(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}
