#include "codec/entropy.h"

#include "base/bytes.h"
#include "base/check.h"
#include "codec/kernels.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum {
    SPREAD_STEP = (ENTROPY_STATES >> 1) + (ENTROPY_STATES >> 3) + 3, /* odd: visits every state */
    COST_UNITS = 256 /* of a bit: a cost fits 16 bits signed, and 1024 of them 31 */
};

/* Decoding: state -> what to add the next bits to (bits 16-31), symbol (8-15), how many bits. */
static uint32_t decode_tables[ENTROPY_BOOKS][ENTROPY_STATES];
/* Encoding: the states of symbol s in order, from starts[s] on. */
static uint16_t encode_tables[ENTROPY_BOOKS][ENTROPY_STATES];
static uint16_t starts[ENTROPY_BOOKS][ENTROPY_SYMBOLS];
static int16_t costs[ENTROPY_BOOKS][ENTROPY_SYMBOLS];
static uint8_t modes[ENTROPY_BOOKS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t log2_of(uint32_t v) {
    return 31 - (uint32_t)__builtin_clz(v);
}

/* Which symbol each state stands for: every symbol spread evenly over the states. */
static void spread(const uint16_t *frequencies, uint8_t *symbol_of) {
    uint32_t at = 0;
    for (uint32_t s = 0; s < ENTROPY_SYMBOLS; s++)
        for (uint32_t i = 0; i < frequencies[s]; i++) {
            symbol_of[at] = (uint8_t)s;
            at = (at + SPREAD_STEP) % ENTROPY_STATES;
        }
    CHECK(at == 0);
}

static void build_book(uint32_t book) {
    const uint16_t *frequencies = entropy_books[book];
    uint8_t symbol_of[ENTROPY_STATES];
    uint32_t next[ENTROPY_SYMBOLS];
    uint32_t total = 0;
    spread(frequencies, symbol_of);
    for (uint32_t s = 0; s < ENTROPY_SYMBOLS; s++) {
        starts[book][s] = (uint16_t)total;
        total += frequencies[s];
        next[s] = frequencies[s];
        if (frequencies[s] > frequencies[modes[book]])
            modes[book] = (uint8_t)s;
    }
    CHECK(total == ENTROPY_STATES);
    for (uint32_t s = 0; s < ENTROPY_SYMBOLS; s++) {
        bool is_known = frequencies[s] > 0;
        double bits = ENTROPY_STATE_BITS - log2(frequencies[is_known ? s : modes[book]]);
        costs[book][s] = (int16_t)lround(COST_UNITS * (bits + (is_known ? 0 : ENTROPY_MISS_BITS)));
    }
    for (uint32_t state = 0; state < ENTROPY_STATES; state++) {
        uint32_t s = symbol_of[state], x = next[s]++;
        uint32_t bits = ENTROPY_STATE_BITS - log2_of(x);
        decode_tables[book][state] = ((x << bits) - ENTROPY_STATES) << 16 | s << 8 | bits;
        encode_tables[book][starts[book][s] + x - frequencies[s]] = (uint16_t)state;
    }
}

static void build_all(void) {
    for (uint32_t book = 0; book < ENTROPY_BOOKS; book++)
        build_book(book);
}

uint32_t entropy_choose(const int16_t counts[ENTROPY_SYMBOLS], uint32_t *book) {
    pthread_once(&once, build_all);
    uint32_t cost;
    *book = kernels_best()->cheapest(counts, costs[0], ENTROPY_BOOKS, &cost);
    return (cost + COST_UNITS - 1) / COST_UNITS;
}

uint32_t entropy_mode(uint32_t book) {
    pthread_once(&once, build_all);
    return modes[book];
}

/* ---- encoding ---- */

struct bit_writer {
    uint8_t *out;
    uint64_t pending;
    uint32_t used;
};

static void put_bits(struct bit_writer *writer, uint32_t bits, uint32_t count) {
    writer->pending |= (uint64_t)bits << writer->used;
    writer->used += count;
    while (writer->used >= 8) {
        *writer->out++ = (uint8_t)writer->pending;
        writer->pending >>= 8;
        writer->used -= 8;
    }
}

/* The decoder walks forwards, so the encoder walks backwards and keeps what each step sheds. */
uint8_t *entropy_put(uint32_t book, const uint8_t *symbols, uint32_t n, uint8_t *out) {
    CHECK(n >= ENTROPY_VALUES_MIN && n <= LIMIT_VECTOR_POINTS && book < ENTROPY_BOOKS);
    pthread_once(&once, build_all);
    uint32_t lanes = entropy_lanes(n), states[ENTROPY_LANES_MAX];
    uint16_t shed[LIMIT_VECTOR_POINTS];
    uint8_t shed_bits[LIMIT_VECTOR_POINTS];
    for (uint32_t i = n; i-- > 0;) {
        uint32_t s = symbols[i], frequency = entropy_books[book][s];
        const uint16_t *states_of = &encode_tables[book][starts[book][s]];
        CHECK(frequency > 0);
        uint32_t *state = &states[i % lanes];
        if (i + lanes >= n) {
            *state = states_of[0];
            continue;
        }
        uint32_t x = *state + ENTROPY_STATES;
        uint32_t bits = log2_of(x) - log2_of(frequency);
        if (x >> bits < frequency)
            bits--;
        shed[i] = (uint16_t)(x & ((1u << bits) - 1));
        shed_bits[i] = (uint8_t)bits;
        *state = states_of[(x >> bits) - frequency];
    }
    struct bit_writer writer = {out, 0, 0};
    for (uint32_t l = 0; l < lanes; l++)
        put_bits(&writer, states[l], ENTROPY_STATE_BITS);
    for (uint32_t i = 0; i + lanes < n; i++)
        put_bits(&writer, shed[i], shed_bits[i]);
    put_bits(&writer, 0, 7);
    return writer.out;
}

/* ---- decoding ---- */

enum rc entropy_take(uint32_t book, const uint8_t *stream, uint32_t stream_bytes, uint32_t n,
                     uint32_t *symbols) {
    CHECK(n >= ENTROPY_VALUES_MIN && n <= LIMIT_VECTOR_POINTS && book < ENTROPY_BOOKS);
    if (stream_bytes > ENTROPY_STREAM_BYTES_MAX)
        return RC_CORRUPT;
    pthread_once(&once, build_all);
    /* The kernel loads 8 bytes at a time and trusts the stream's length. */
    uint8_t padded[ENTROPY_STREAM_BYTES_MAX + 16];
    memcpy(padded, stream, stream_bytes);
    memset(padded + stream_bytes, 0, sizeof(padded) - stream_bytes);
    uint32_t bits =
        kernels_best()->entropy(decode_tables[book], padded, n, entropy_lanes(n), symbols);
    return (bits + 7) / 8 == stream_bytes ? RC_OK : RC_CORRUPT;
}
