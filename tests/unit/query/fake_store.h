/*
 * A store of plain arrays: replaces the engine's scan and index at link time. Runs come as points
 * or as vectors cut at random places, payloads can be damaged, series can vanish. For one test
 * program, which includes this once.
 */
#pragma once

#include "naive_model.h"
#include "store/index.h"
#include "store/scan.h"
#include "store/store.h"

#define B INT64_C(1356998400)

/* ---- randomness ---- */

static uint64_t seed = 1;

static uint64_t random_of(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int64_t below(int64_t n) {
    return (int64_t)(random_of(&seed) >> 11) % n;
}

static bool one_in(int64_t n) {
    return below(n) == 0;
}

/* ---- a store of arrays ---- */

enum { SERIES_MAX = 400 };

struct fake_series {
    struct series series; /* first: the engine's pointer is ours */
    struct series_tag tags[4];
    struct samples points;
};

static struct fake_series fakes[SERIES_MAX];
static uint32_t fake_count;
static const char *const metric_names[] = {"m"};
static const char *const key_names[] = {"host", "dc", "rack"};
static const char *const value_names[] = {"h1", "h2", "h3", "h4", "h5", "d1", "d2", "r1"};
static char cuts = 1; /* 0: points only, 1: mixed, 2: vectors only */
static bool damage;   /* payloads cannot be read */

struct index *store_index(struct store *store) {
    return (struct index *)store;
}

struct epoch_domain *store_epochs(struct store *store) {
    return (struct epoch_domain *)store;
}

void epoch_pin(struct epoch_domain *domain) {
}

void epoch_unpin(struct epoch_domain *domain) {
}

static uint64_t generation = 1;
static uint32_t removed_id; /* vanishes as soon as the query has selected */

uint64_t store_writers_enter(struct store *store) {
    return removed_id != 0 ? generation++ : generation;
}

void store_writers_leave(struct store *store) {
}

struct series *index_by_id(struct index *index, uint32_t id) {
    return id == removed_id ? NULL : &fakes[id - 1].series;
}

static uint32_t find_name(const char *const *names, size_t count, str name) {
    for (size_t i = 0; i < count; i++)
        if (str_eq(str_of(names[i]), name))
            return (uint32_t)i + 1;
    return 0;
}

uint32_t index_uid(struct index *index, enum index_kind kind, str name) {
    if (kind == INDEX_METRIC)
        return find_name(metric_names, COUNT_OF(metric_names), name);
    if (kind == INDEX_TAGK)
        return find_name(key_names, COUNT_OF(key_names), name);
    return find_name(value_names, COUNT_OF(value_names), name);
}

str index_name(struct index *index, enum index_kind kind, uint32_t uid) {
    if (kind == INDEX_METRIC)
        return str_of(metric_names[uid - 1]);
    return str_of(kind == INDEX_TAGK ? key_names[uid - 1] : value_names[uid - 1]);
}

uint32_t index_tag_value(const struct series *series, uint32_t key_uid) {
    for (uint32_t i = 0; i < series->tag_count; i++)
        if (series->tags[i].key_uid == key_uid)
            return series->tags[i].value_uid;
    return 0;
}

uint32_t index_tsuid_metric(struct index *index, str hex) {
    return hex.n == 0 ? 0 : 1 + (hex.p[0] == 'B');
}

struct series *index_by_tsuid(struct index *index, str hex) {
    uint32_t at = hex.n < 2 ? 0 : (uint32_t)(hex.p[1] - '0');
    return hex.n < 2 || at >= fake_count ? NULL : &fakes[at].series;
}

static bool meets(const struct series *series, const struct index_condition *condition) {
    uint32_t value = index_tag_value(series, condition->key_uid);
    switch (condition->kind) {
    case INDEX_HAS_KEY:
        return value != 0;
    case INDEX_LACKS_KEY:
        return value == 0;
    case INDEX_VALUE_IN:
        for (uint32_t i = 0; i < condition->value_count; i++)
            if (condition->value_uids[i] == value)
                return true;
        return false;
    case INDEX_VALUE_MATCH:
        break;
    }
    return value != 0 && condition->match(condition->context, str_of(value_names[value - 1]));
}

enum rc index_select(struct index *index, uint32_t metric_uid,
                     const struct index_condition *conditions, uint32_t condition_count,
                     int key_count, struct series_vec *out) {
    for (uint32_t i = 0; i < fake_count; i++) {
        bool ok = key_count < 0 || fakes[i].series.tag_count == key_count;
        for (uint32_t k = 0; k < condition_count; k++)
            ok = ok && meets(&fakes[i].series, &conditions[k]);
        if (ok && !series_vec_push(out, &fakes[i].series))
            return RC_NOMEM;
    }
    return RC_OK;
}

struct scan_state {
    const struct samples *points;
    size_t at, end;
    uint64_t random;
    int64_t time_ms[LIMIT_VECTOR_POINTS];
    uint64_t bits[LIMIT_VECTOR_POINTS];
    uint64_t mask[LIMIT_VECTOR_POINTS / 64];
    struct vector_summary summary;
    uint8_t *payload;
};

void scan_prefetch_first(struct scan *scan, const struct scan_row *row) {
}

void scan_prefetch(struct scan *scan, const struct scan_row *row, size_t at) {
}

enum rc scan_init(struct scan *scan, struct store *store, struct budget *budget) {
    *scan = (struct scan){.state = calloc(1, sizeof(struct scan_state))};
    scan->state->payload = malloc(vector_payload_bound(LIMIT_VECTOR_POINTS));
    scan->state->random = 88172645463325252u;
    return RC_OK;
}

void scan_fini(struct scan *scan) {
    free(scan->state->payload);
    free(scan->state);
}

enum rc scan_open(struct scan *scan, struct series *series, int64_t from_ms, int64_t to_ms) {
    const struct samples *points = &((struct fake_series *)series)->points;
    struct scan_state *state = scan->state;
    state->points = points;
    state->at = 0;
    while (state->at < points->n && points->p[state->at].t < from_ms)
        state->at++;
    state->end = state->at;
    while (state->end < points->n && points->p[state->end].t <= to_ms)
        state->end++;
    return RC_OK;
}

static enum points_kind kind_of(const struct points *points, uint32_t floats) {
    return floats == 0 ? POINTS_INTEGERS : floats == points->count ? POINTS_DOUBLES : POINTS_MIXED;
}

int scan_next(struct scan *scan) {
    struct scan_state *state = scan->state;
    size_t left = state->end - state->at;
    if (left == 0)
        return SCAN_END;
    size_t most = left < LIMIT_VECTOR_POINTS ? left : LIMIT_VECTOR_POINTS;
    uint32_t n = 1 + (uint32_t)(random_of(&state->random) >> 11) % (uint32_t)most;
    struct points points = {
        .count = n, .time_ms = state->time_ms, .bits = state->bits, .float_mask = state->mask};
    memset(state->mask, 0, sizeof(state->mask));
    uint32_t floats = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct sample s = state->points->p[state->at + i];
        state->time_ms[i] = s.t;
        state->bits[i] = s.is_float ? points_bits_of(s.d) : (uint64_t)s.i;
        state->mask[i / 64] |= (uint64_t)s.is_float << (i % 64);
        floats += s.is_float;
    }
    points.kind = kind_of(&points, floats);
    state->at += n;
    scan->points_seen += n;
    scan->points = points;
    if (cuts == 0 || (cuts == 1 && (random_of(&state->random) >> 20) % 2 == 0))
        return SCAN_POINTS;
    vector_encode(&points, VECTOR_FAST, &state->summary, state->payload);
    scan->summary = &state->summary;
    scan->points = (struct points){0};
    return SCAN_VECTOR;
}

enum rc scan_payload(struct scan *scan, const uint8_t **payload) {
    *payload = scan->state->payload;
    scan->damaged += damage;
    return damage ? RC_CORRUPT : RC_OK;
}

enum rc scan_decode(struct scan *scan) {
    struct scan_state *state = scan->state;
    scan->damaged += damage;
    if (damage)
        return RC_CORRUPT;
    scan->points =
        (struct points){.time_ms = state->time_ms, .bits = state->bits, .float_mask = state->mask};
    return vector_decode(&state->summary, state->payload, &scan->points);
}

void scan_close(struct scan *scan) {
}

/* ---- building data ---- */

static void clear_store(void) {
    for (uint32_t i = 0; i < fake_count; i++)
        free(fakes[i].points.p);
    memset(fakes, 0, sizeof(fakes));
    fake_count = 0;
}

/* Tags are given by UIDs, 0 for none. */
static struct fake_series *add_series(uint32_t host, uint32_t dc, uint32_t rack) {
    struct fake_series *fake = &fakes[fake_count++];
    uint32_t values[] = {host, dc, rack};
    for (uint32_t i = 0; i < COUNT_OF(values); i++)
        if (values[i] != 0)
            fake->tags[fake->series.tag_count++] = (struct series_tag){i + 1, values[i]};
    fake->series.id = fake_count;
    fake->series.metric_uid = 1;
    fake->series.tags = fake->tags;
    return fake;
}

static void add_int(struct fake_series *fake, int64_t offset_s, int64_t value) {
    samples_push(&fake->points, (struct sample){(B + offset_s) * 1000, false, value, 0});
}

static void add_double(struct fake_series *fake, int64_t offset_s, double value) {
    samples_push(&fake->points, (struct sample){(B + offset_s) * 1000, true, 0, value});
}
