/*
 * A store on the memory medium beside a naive model of it, for the tests of the engine.
 *
 * The model is a table: series x slots of time. Each cell knows the state that is certain (the last
 * acknowledged write or delete) and the states that later, unacknowledged operations may have left.
 */
#pragma once

#include "base/hash.h"
#include "medium/memory_medium.h"
#include "store/scan.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENGINE_SERIES = 12,
    ENGINE_SLOTS = 3000,
    ENGINE_MAYBE = 4,
    ENGINE_STEP_MS = 60000,
    ENGINE_EVER = 1 << 17
};

#define ENGINE_BASE_MS INT64_C(1700006400000)

struct cell_state {
    bool present;
    bool is_float;
    uint64_t bits;
};

struct cell {
    struct cell_state certain;
    uint8_t maybe_count; /* ENGINE_MAYBE: too many to tell, anything that was sent goes */
    struct cell_state maybe[ENGINE_MAYBE];
};

struct engine {
    struct medium *medium;
    struct budget budget;
    struct clock clock;
    int64_t now_ms;
    int64_t keep_ms; /* of all metrics; 0: for ever, or the test looks itself */
    struct store_options options;
    struct store *store;
    struct cell cells[ENGINE_SERIES][ENGINE_SLOTS];
    struct cell_state seen[ENGINE_SLOTS];
    uint64_t ever[ENGINE_EVER]; /* hashes of all points ever sent; 0: free */
    uint32_t reports;
    bool verbose;
};

static int64_t engine_now(void *context) {
    return ((struct engine *)context)->now_ms;
}

static void engine_report(void *context, bool problem, const char *line) {
    struct engine *engine = context;
    __atomic_add_fetch(&engine->reports, 1, __ATOMIC_RELAXED);
    if (engine->verbose || getenv("ENGINE_VERBOSE") != NULL)
        print_message("  store: %s\n", line);
}

static struct engine *engine_new(void) {
    struct engine *engine = calloc(1, sizeof(*engine));
    assert_non_null(engine);
    budget_init(&engine->budget, 256 << 20, NULL);
    assert_int_equal(memory_medium_open(NULL, &engine->medium, NULL), RC_OK);
    memory_medium_claim_durable(engine->medium);
    engine->now_ms = ENGINE_BASE_MS + INT64_C(3) * 86400000;
    engine->clock = (struct clock){engine_now, engine};
    store_options_default(&engine->options, 256 << 20);
    engine->options.medium = engine->medium;
    engine->options.clock = &engine->clock;
    engine->options.budget = &engine->budget;
    engine->options.background = false;
    engine->options.log.commit_interval_ms = 1;
    engine->options.log.retry_interval_ms = 5;
    engine->options.throttle_ms = 10;
    engine->options.clock_patience_s = 0; /* its clock jumps all the time */
    engine->options.report = engine_report;
    engine->options.report_context = engine;
    return engine;
}

static enum rc engine_open(struct engine *engine) {
    struct err err = {0};
    enum rc rc = store_open(&engine->options, &engine->store, &err);
    if (rc < 0)
        engine_report(engine, true, err.message);
    return rc;
}

static enum rc engine_close(struct engine *engine) {
    enum rc rc = store_close(engine->store, NULL);
    engine->store = NULL;
    return rc;
}

static void engine_free(struct engine *engine) {
    if (engine->store != NULL)
        (void)!engine_close(engine);
    assert_int_equal(budget_used(&engine->budget), 0);
    medium_close(engine->medium);
    free(engine);
}

static void engine_key(uint32_t series, struct series_key *key, char *text, size_t size) {
    snprintf(text, size, "h%u", series / 3);
    key->metric = series % 3 == 0 ? STR("cpu.user") : series % 3 == 1 ? STR("mem.free") : STR("io");
    key->tag_count = 1;
    key->tags[0] = (struct tag){STR("host"), str_of(text)};
}

/* NULL if it does not exist (and is not created). */
static struct series *engine_series(struct engine *engine, uint32_t number, bool create,
                                    enum rc *rc) {
    struct series_key key;
    char text[16];
    struct series *series = NULL;
    engine_key(number, &key, text, sizeof(text));
    *rc = RC_OK;
    if (create)
        *rc = index_series(store_index(engine->store), &key, &series, NULL);
    else
        series = index_find(store_index(engine->store), &key);
    return series;
}

static int64_t engine_time(uint32_t slot) {
    return ENGINE_BASE_MS + (int64_t)slot * ENGINE_STEP_MS;
}

/* True if the model lets points of the slot grow too old. */
static bool engine_is_expired(const struct engine *engine, uint32_t slot) {
    return engine->keep_ms > 0 && engine_time(slot) < engine->now_ms - engine->keep_ms;
}

/* ---- the model ---- */

static void cell_may_be(struct cell *cell, struct cell_state state) {
    if (cell->maybe_count < ENGINE_MAYBE)
        cell->maybe[cell->maybe_count++] = state;
    else
        fail_msg("too many unacknowledged operations on one cell");
}

static void cell_is(struct cell *cell, struct cell_state state) {
    cell->certain = state;
    cell->maybe_count = 0;
}

static bool state_equal(struct cell_state a, struct cell_state b) {
    return a.present == b.present && (!a.present || (a.is_float == b.is_float && a.bits == b.bits));
}

static bool cell_allows(const struct cell *cell, struct cell_state state) {
    bool allowed = state_equal(cell->certain, state);
    for (uint8_t i = 0; i < cell->maybe_count; i++)
        allowed |= state_equal(cell->maybe[i], state);
    return allowed;
}

/* True if the point is among those ever sent; adds it if `add`. */
static bool engine_was_sent(struct engine *engine, uint32_t number, uint32_t slot,
                            struct cell_state state, bool add) {
    uint64_t hash =
        hash_u64(hash_u64(hash_u64(number * 65536 + slot) ^ state.bits) + state.is_float) | 1;
    uint32_t at = (uint32_t)(hash >> 32) % ENGINE_EVER;
    for (uint32_t i = 0; i < ENGINE_EVER; i++, at = (at + 1) % ENGINE_EVER) {
        if (engine->ever[at] == hash)
            return true;
        if (engine->ever[at] != 0)
            continue;
        if (add)
            engine->ever[at] = hash;
        return false;
    }
    fail_msg("the set of points sent is full");
    return false;
}

/* ---- operations ---- */

enum { ENGINE_BATCH = 200 };

/* Appends `count` random points. Returns the rc; the model follows what may and must have happened.
 */
__attribute__((unused)) static enum rc engine_append(struct engine *engine, uint64_t seed,
                                                     uint32_t count, bool wait) {
    static struct series *series[ENGINE_BATCH];
    static int64_t time_ms[ENGINE_BATCH];
    static uint64_t bits[ENGINE_BATCH];
    static uint8_t is_float[ENGINE_BATCH];
    static uint32_t numbers[ENGINE_BATCH];
    static uint32_t slots[ENGINE_BATCH];
    struct store_batch batch = {count, series, time_ms, bits, is_float};
    uint32_t center = (uint32_t)(hash_u64(seed) % ENGINE_SLOTS);
    enum rc rc = RC_OK;
    store_writers_enter(engine->store);
    for (uint32_t i = 0; i < count && rc == RC_OK; i++) {
        uint64_t r = hash_u64(seed * 1000 + i + 1);
        numbers[i] = (uint32_t)(r % ENGINE_SERIES);
        slots[i] = r % 16 == 0 ? (uint32_t)(r >> 8) % ENGINE_SLOTS : (center + i) % ENGINE_SLOTS;
        series[i] = engine_series(engine, numbers[i], true, &rc);
        time_ms[i] = engine_time(slots[i]);
        is_float[i] = numbers[i] % 2 == 0 ? 0 : (uint8_t)(numbers[i] % 4 == 1 || r >> 63);
        bits[i] = is_float[i] ? points_bits_of((double)(int64_t)(r >> 40) / 100) : r >> 20;
    }
    uint64_t commit = 0;
    if (rc == RC_OK)
        rc = store_append(engine->store, &batch, &commit, NULL);
    store_writers_leave(engine->store);
    bool sent = rc == RC_OK;
    if (rc == RC_OK && wait)
        rc = store_commit_wait(engine->store, commit, 0, NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct cell *cell = &engine->cells[numbers[i]][slots[i]];
        struct cell_state state = {true, is_float[i], bits[i]};
        engine_was_sent(engine, numbers[i], slots[i], state, true);
        if (sent && wait && rc == RC_OK)
            cell_is(cell, state);
        else if (!state_equal(cell->certain, state) || cell->maybe_count > 0)
            cell_may_be(cell, state);
    }
    return rc;
}

__attribute__((unused)) static enum rc engine_delete(struct engine *engine, uint32_t number,
                                                     uint32_t from, uint32_t to) {
    enum rc rc;
    struct series *series = engine_series(engine, number, false, &rc);
    if (series == NULL)
        return RC_OK;
    uint64_t expected = 0;
    bool certain = true;
    for (uint32_t slot = from; slot <= to; slot++) {
        expected += engine->cells[number][slot].certain.present && !engine_is_expired(engine, slot);
        certain &= engine->cells[number][slot].maybe_count == 0;
    }
    uint64_t deleted;
    store_readers_enter(engine->store);
    rc =
        store_delete(engine->store, &series, 1, engine_time(from), engine_time(to), &deleted, NULL);
    store_readers_leave(engine->store);
    if (rc == RC_OK && certain)
        assert_int_equal(deleted, expected);
    for (uint32_t slot = from; slot <= to; slot++) {
        struct cell *cell = &engine->cells[number][slot];
        if (rc == RC_OK)
            cell_is(cell, (struct cell_state){0});
        else
            cell_may_be(cell, (struct cell_state){0});
    }
    return rc;
}

/* ---- comparing ---- */

static void engine_read(struct engine *engine, struct scan *scan, struct series *series) {
    memset(engine->seen, 0, sizeof(engine->seen));
    assert_int_equal(scan_open(scan, series, INT64_MIN, INT64_MAX), RC_OK);
    int outcome;
    int64_t before = INT64_MIN;
    while ((outcome = scan_next(scan)) > 0) {
        if (outcome == SCAN_VECTOR && scan_decode(scan) < 0)
            continue;
        for (uint32_t i = 0; i < scan->points.count; i++) {
            int64_t time_ms = scan->points.time_ms[i];
            assert_true(time_ms > before);
            before = time_ms;
            int64_t slot = (time_ms - ENGINE_BASE_MS) / ENGINE_STEP_MS;
            assert_true(slot >= 0 && slot < ENGINE_SLOTS && engine_time((uint32_t)slot) == time_ms);
            engine->seen[slot] =
                (struct cell_state){true, points_is_float(&scan->points, i), scan->points.bits[i]};
        }
    }
    assert_int_equal(outcome, 0);
    scan_close(scan);
}

/* Every cell must be in an allowed state; that state is certain from then on. After damage points
   may also be missing, or older ones show where newer ones are lost, but nothing that was never
   sent. */
static void engine_compare_all(struct engine *engine, bool damaged, const char *when) {
    struct scan scan;
    assert_int_equal(scan_init(&scan, engine->store, &engine->budget), RC_OK);
    for (uint32_t number = 0; number < ENGINE_SERIES; number++) {
        enum rc rc;
        struct series *series = engine_series(engine, number, false, &rc);
        memset(engine->seen, 0, sizeof(engine->seen));
        if (series != NULL)
            engine_read(engine, &scan, series);
        for (uint32_t slot = 0; slot < ENGINE_SLOTS; slot++) {
            struct cell *cell = &engine->cells[number][slot];
            struct cell_state seen = engine->seen[slot];
            bool allowed = damaged
                               ? !seen.present || engine_was_sent(engine, number, slot, seen, false)
                           : engine_is_expired(engine, slot) ? !seen.present
                                                             : cell_allows(cell, seen);
            if (!allowed)
                fail_msg("%s: series %u slot %u: present %d bits %" PRIx64
                         ", expected present %d bits %" PRIx64 " (or one of %d)",
                         when, number, slot, seen.present, seen.bits, cell->certain.present,
                         cell->certain.bits, cell->maybe_count);
            cell_is(cell, seen);
        }
    }
    scan_fini(&scan);
}

__attribute__((unused)) static void engine_compare(struct engine *engine, const char *when) {
    engine_compare_all(engine, false, when);
}
