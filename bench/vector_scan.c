/*
 * How fast vectors are written and scanned, and how small they are.
 *
 * Works through many vectors (more than the caches hold when decoded) of each kind of data, and
 * prints points per second of one core. The memory bandwidth of the same machine in the same run
 * gives the ratio that survives a change of machine.
 *
 *   bench_vector_scan [points of a vector] [vectors]
 */
#include "base/check.h"
#include "codec/vector.h"
#include "os/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252u;

static double random_unit(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed * 2685821657736338717u >> 11) * 0x1p-53;
}

/* Box and Muller. */
static double random_normal(void) {
    return sqrt(-2 * log(1 - random_unit())) * cos(6.283185307179586 * random_unit());
}

/* ---- data ---- */

/* TSBS cpu-only: a clamped walk of N(0,1) steps, cut to an integer. */
static void fill_tsbs(struct points *points) {
    double level = random_unit() * 100;
    for (uint32_t i = 0; i < points->count; i++) {
        points->bits[i] = (uint64_t)(int64_t)level;
        level = fmin(100, fmax(0, level + random_normal()));
    }
}

static void fill_counter(struct points *points) {
    double level = 1e9 * random_unit();
    for (uint32_t i = 0; i < points->count; i++) {
        points->bits[i] = (uint64_t)(int64_t)level;
        level += 50 + random_normal();
    }
}

static void fill_decimals(struct points *points) {
    double level = random_unit() * 100;
    for (uint32_t i = 0; i < points->count; i++) {
        points->bits[i] = points_bits_of(rint(level * 100) / 100);
        level = fmin(100, fmax(0, level + random_normal() / 10));
    }
}

static void fill_random(struct points *points) {
    for (uint32_t i = 0; i < points->count; i++)
        points->bits[i] = points_bits_of(random_unit());
}

static const struct {
    const char *name;
    enum points_kind kind;
    void (*fill)(struct points *points);
} data[] = {
    {"tsbs integers", POINTS_INTEGERS, fill_tsbs},
    {"counter", POINTS_INTEGERS, fill_counter},
    {"2 decimals", POINTS_DOUBLES, fill_decimals},
    {"random doubles", POINTS_DOUBLES, fill_random},
};

/* ---- the set under measurement ---- */

struct set {
    uint32_t vectors;
    uint32_t count;
    int64_t *time_ms;
    uint64_t *bits;
    struct vector_summary *summaries;
    uint8_t *payloads;
    uint32_t *offsets;
};

static void *must_alloc(size_t n) {
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    CHECK(p != NULL);
    memset(p, 0, n);
    return p;
}

static struct points points_of(const struct set *set, uint32_t vector, enum points_kind kind) {
    return (struct points){set->count, kind, set->time_ms, set->bits + (size_t)vector * set->count,
                           NULL};
}

/* CPU time, so that neighbours on the machine disturb less. */
static double seconds(void) {
    return (double)clock_process_cpu_ns() * 1e-9;
}

static void encode_all(struct set *set, enum points_kind kind, enum vector_effort effort) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < set->vectors; i++) {
        struct points points = points_of(set, i, kind);
        set->offsets[i] = at;
        vector_encode(&points, effort, &set->summaries[i], set->payloads + at);
        at += set->summaries[i].payload_bytes;
    }
    set->offsets[set->vectors] = at;
}

static double scan_decode(const struct set *set) {
    static int64_t time_ms[LIMIT_VECTOR_POINTS];
    static uint64_t bits[LIMIT_VECTOR_POINTS], mask[LIMIT_VECTOR_POINTS / 64];
    struct points points = {0, POINTS_MIXED, time_ms, bits, mask};
    double total = 0;
    for (uint32_t i = 0; i < set->vectors; i++) {
        CHECK(vector_decode(&set->summaries[i], set->payloads + set->offsets[i], &points) == RC_OK);
        total += (double)time_ms[points.count - 1] + (double)bits[points.count / 2];
    }
    return total;
}

/* The values as doubles, added up: eight sums side by side, as an aggregate does. */
static double scan_decode_and_add(const struct set *set) {
    static double values[LIMIT_VECTOR_POINTS];
    double total = 0;
    for (uint32_t i = 0; i < set->vectors; i++) {
        CHECK(vector_decode_doubles(&set->summaries[i], set->payloads + set->offsets[i], values) ==
              RC_OK);
        double sums[8] = {0};
        for (uint32_t j = 0; j + 8 <= set->count; j += 8)
            for (uint32_t l = 0; l < 8; l++)
                sums[l] += values[j + l];
        for (uint32_t l = 0; l < 8; l++)
            total += sums[l];
    }
    return total;
}

/* All points but the first, so that the summary does not answer. */
static double scan_sum(const struct set *set) {
    double total = 0, sum;
    for (uint32_t i = 0; i < set->vectors; i++) {
        CHECK(vector_sum(&set->summaries[i], set->payloads + set->offsets[i], 1, set->count,
                         &sum) == RC_OK);
        total += sum;
    }
    return total;
}

static double scan_headers(const struct set *set) {
    double sum = 0, max = 0;
    for (uint32_t i = 0; i < set->vectors; i++) {
        sum += set->summaries[i].sum;
        max = fmax(max, set->summaries[i].max);
    }
    return sum + max;
}

/* Points per second in the best of several runs of at least 50 ms together. */
static double rate_of(const struct set *set, double (*scan)(const struct set *set)) {
    static volatile double sink;
    double best = 1e9, spent = 0;
    for (int run = 0; run < 1000 && (run < 3 || spent < 0.1); run++) {
        double start = seconds();
        sink = scan(set);
        double took = seconds() - start;
        best = took < best ? took : best;
        spent += took;
    }
    (void)sink;
    return (double)set->vectors * set->count / best;
}

static double encode_rate(struct set *set, enum points_kind kind, enum vector_effort effort) {
    double best = 1e9;
    for (int run = 0; run < 3; run++) {
        double start = seconds();
        encode_all(set, kind, effort);
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    return (double)set->vectors * set->count / best;
}

static void print_row(const char *name, const char *effort, const struct set *set, double encode) {
    double points = (double)set->vectors * set->count;
    printf("%-15s %-5s %8.3f %8.3f %9.3f %9.3f %9.3f %9.3f %9.3f\n", name, effort,
           set->offsets[set->vectors] / points,
           (set->offsets[set->vectors] + 64.0 * set->vectors) / points, encode * 1e-9,
           rate_of(set, scan_decode) * 1e-9, rate_of(set, scan_decode_and_add) * 1e-9,
           rate_of(set, scan_sum) * 1e-9, rate_of(set, scan_headers) * 1e-9);
}

/* Bytes read per second by adding up doubles that no cache holds, and by memcpy. */
static void print_memory(void) {
    size_t n = (size_t)1 << 23;
    double *from = must_alloc(n * sizeof(*from)), *to = must_alloc(n * sizeof(*to));
    double best_copy = 1e9, best_add = 1e9;
    volatile double sink = 0;
    for (int run = 0; run < 5; run++) {
        double start = seconds();
        memcpy(to, from, n * sizeof(*to));
        double took = seconds() - start;
        best_copy = took < best_copy ? took : best_copy;
        start = seconds();
        double sums[16] = {0};
        for (size_t i = 0; i < n; i += 16)
            for (size_t l = 0; l < 16; l++)
                sums[l] += to[i + l];
        for (size_t l = 0; l < 16; l++)
            sink += sums[l];
        took = seconds() - start;
        best_add = took < best_add ? took : best_add;
    }
    (void)sink;
    double giga = (double)n * sizeof(*to) * 1e-9;
    printf("memory: memcpy %.1f GB/s, sum of plain doubles %.1f GB/s = %.3f G points/s\n",
           giga / best_copy, giga / best_add, giga / best_add / 8);
    free(from);
    free(to);
}

int main(int argc, char **argv) {
    struct set set = {.count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1024,
                      .vectors = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 4096};
    if (set.count < 2 || set.count > LIMIT_VECTOR_POINTS || set.vectors < 1)
        return 2;
    size_t points = (size_t)set.count * set.vectors;
    set.time_ms = must_alloc(set.count * sizeof(*set.time_ms));
    set.bits = must_alloc(points * sizeof(*set.bits));
    set.summaries = must_alloc(set.vectors * sizeof(*set.summaries));
    set.payloads = must_alloc(vector_payload_bound(set.count) * ((size_t)set.vectors + 1));
    set.offsets = must_alloc(((size_t)set.vectors + 1) * sizeof(*set.offsets));
    for (uint32_t i = 0; i < set.count; i++)
        set.time_ms[i] = INT64_C(1451606400000) + i * INT64_C(10000);
    print_memory();
    printf("%u vectors of %u points; rates in G points/s of one core\n", set.vectors, set.count);
    printf("%-15s %-5s %8s %8s %9s %9s %9s %9s %9s\n", "data", "", "B/point", "+summary", "encode",
           "decode", "dec+add", "sum", "headers");
    for (size_t d = 0; d < COUNT_OF(data); d++) {
        for (uint32_t i = 0; i < set.vectors; i++) {
            struct points one = points_of(&set, i, data[d].kind);
            data[d].fill(&one);
        }
        double fast = encode_rate(&set, data[d].kind, VECTOR_FAST);
        print_row(data[d].name, "fast", &set, fast);
        double tight = encode_rate(&set, data[d].kind, VECTOR_TIGHT);
        print_row(data[d].name, "tight", &set, tight);
    }
    free(set.time_ms);
    free(set.bits);
    free(set.summaries);
    free(set.payloads);
    free(set.offsets);
    return 0;
}
