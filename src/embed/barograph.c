/*
 * libbarograph: the public face of the engine. Everything here is translation; nothing is decided.
 */
#include "barograph.h"

#include "medium/file_medium.h"
#include "medium/memory_medium.h"
#include "query/query.h"
#include "query/query_names.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)BAROGRAPH_BUSY == RC_THROTTLE && (int)BAROGRAPH_CONFLICT == RC_CONFLICT &&
                   (int)BAROGRAPH_NO_SPACE == RC_NO_SPACE &&
                   (int)BAROGRAPH_CANCELLED == RC_CANCELLED,
               "the public codes are the engine's");

struct barograph {
    struct budget budget;
    struct medium *medium;
    struct store *store;
    struct index *index;
    struct series_key_rules rules;
    uint32_t query_threads;
};

static int give_error(barograph_error *error, enum rc rc, const struct err *err) {
    if (error != NULL) {
        error->code = rc;
        const char *text = err->message[0] != '\0' ? err->message : err_text(rc);
        size_t n = strnlen(text, sizeof(error->message) - 1);
        memcpy(error->message, text, n);
        error->message[n] = '\0';
    }
    return rc;
}

/* What must not be NULL, by name. */
static enum rc needs(const void *argument, const char *name, struct err *err) {
    return argument != NULL ? RC_OK : err_set(err, RC_INVALID, "%s is NULL", name);
}

PUBLIC void barograph_options_default(barograph_options *options) {
    *options = (barograph_options){
        .size = sizeof(*options),
        .memory_limit_bytes = (size_t)256 << 20,
        .commit_interval_ms = 50,
        .max_tags = LIMIT_TAGS_MAX,
        .query_threads = 1,
    };
}

static enum rc open_parts(barograph *db, const barograph_options *options, struct err *err) {
    budget_init(&db->budget, options->memory_limit_bytes, NULL);
    if (options->directory == NULL)
        TRY(memory_medium_open(&db->budget, &db->medium, err));
    else
        TRY(file_medium_open(options->directory, &db->medium, err));
    struct store_options store_options;
    store_options_default(&store_options, options->memory_limit_bytes);
    store_options.medium = db->medium;
    store_options.clock = &clock_system;
    store_options.budget = &db->budget;
    store_options.log.commit_interval_ms = options->commit_interval_ms;
    store_options.background = true;
    TRY(store_open(&store_options, &db->store, err));
    db->index = store_index(db->store);
    return RC_OK;
}

PUBLIC int barograph_open(const barograph_options *options, barograph **out,
                          barograph_error *error) {
    struct err err = {0};
    if (needs(options, "options", &err) < 0 || needs(out, "db", &err) < 0)
        return give_error(error, RC_INVALID, &err);
    if (options->size != sizeof(*options) || options->max_tags < 1 ||
        options->max_tags > LIMIT_TAGS_MAX || options->commit_interval_ms == 0) {
        err_set(&err, RC_INVALID,
                "options: begin with barograph_options_default; max_tags is 1 to "
                "32, commit_interval_ms at least 1");
        return give_error(error, RC_INVALID, &err);
    }
    barograph *db = calloc(1, sizeof(*db));
    if (db == NULL)
        return give_error(error, RC_NOMEM, &err);
    db->rules.tags_max = options->max_tags;
    db->rules.special_chars = STR("");
    db->query_threads = options->query_threads == 0 ? 1 : options->query_threads;
    enum rc rc = open_parts(db, options, &err);
    if (rc < 0) {
        medium_close(db->medium);
        free(db);
        return give_error(error, rc, &err);
    }
    *out = db;
    return BAROGRAPH_OK;
}

PUBLIC int barograph_close(barograph *db, barograph_error *error) {
    if (db == NULL)
        return BAROGRAPH_OK;
    struct err err = {0};
    enum rc rc = store_close(db->store, &err);
    medium_close(db->medium);
    free(db);
    return rc < 0 ? give_error(error, rc, &err) : BAROGRAPH_OK;
}

static enum rc check_names(const char *metric, const barograph_tag *tags, size_t tag_count,
                           struct err *err) {
    TRY(needs(metric, "metric", err));
    if (tag_count > 0)
        TRY(needs(tags, "tags", err));
    for (size_t i = 0; i < tag_count; i++) {
        TRY(needs(tags[i].key, "the key of a tag", err));
        TRY(needs(tags[i].value, "the value of a tag", err));
    }
    return RC_OK;
}

PUBLIC int barograph_series_open(barograph *db, const char *metric, const barograph_tag *tags,
                                 size_t tag_count, barograph_series *out, barograph_error *error) {
    struct err err = {0};
    if (needs(db, "db", &err) < 0 || needs(out, "series", &err) < 0)
        return give_error(error, RC_INVALID, &err);
    if (tag_count > LIMIT_TAGS_MAX) {
        err_set(&err, RC_INVALID, "too many tags: %zu, at most %d", tag_count, LIMIT_TAGS_MAX);
        return give_error(error, RC_INVALID, &err);
    }
    if (check_names(metric, tags, tag_count, &err) < 0)
        return give_error(error, RC_INVALID, &err);
    struct series_key key = {.metric = str_of(metric), .tag_count = (uint32_t)tag_count};
    for (size_t i = 0; i < tag_count; i++)
        key.tags[i] = (struct tag){str_of(tags[i].key), str_of(tags[i].value)};
    struct series *series;
    store_writers_enter(db->store);
    enum rc rc = series_key_canonicalise(&key, &err);
    if (rc == RC_OK)
        rc = series_key_check(&key, &db->rules, &err);
    if (rc == RC_OK)
        rc = index_series(db->index, &key, &series, &err);
    if (rc == RC_OK)
        *out = series->id;
    store_writers_leave(db->store);
    return rc < 0 ? give_error(error, rc, &err) : BAROGRAPH_OK;
}

/* The points of a part stay where the application has them; what is found for them is on the stack,
   so that threads share nothing. */
enum { PART_POINTS = 2048 };

/* Negative if the point's kind, time or value may not be stored: each is a difference or a sum that
   has its sign bit set only then, so that no branch is needed. */
static int64_t fault_of(const barograph_point *point) {
    const uint64_t exponent = UINT64_C(0x7ff) << 52;
    uint64_t bits, time_ms = (uint64_t)point->time_ms, is_double = point->is_double;
    memcpy(&bits, &point->value, sizeof(bits));
    uint64_t not_finite = (bits & exponent) + (is_double << 52);
    return (int64_t)(not_finite | (1 - is_double) | (time_ms - 1) |
                     ((uint64_t)LIMIT_TIME_MS_MAX - time_ms));
}

/* Takes the series of the points; returns how many come before the first that cannot be stored. */
static uint32_t look_over(const barograph_point *points, uint32_t n, uint32_t *ids) {
    int64_t any = 0;
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = points[i].series;
        any |= fault_of(&points[i]);
    }
    uint32_t good = n;
    for (uint32_t i = 0; any < 0 && i < good; i++)
        if (fault_of(&points[i]) < 0)
            good = i;
    return good;
}

static enum rc cannot_store(const barograph_point *point, uint32_t i, struct err *err) {
    if (point->is_double > 1)
        return err_set(err, RC_INVALID, "point %u: is_double is neither 0 nor 1", i);
    if (point->time_ms < 1 || point->time_ms > LIMIT_TIME_MS_MAX)
        return err_set(err, RC_INVALID, "point %u: time %lld is not in 1 .. 9999999999999 ms", i,
                       (long long)point->time_ms);
    return err_set(err, RC_INVALID, "point %u: the value is not finite", i);
}

static enum rc find_series(barograph *db, const barograph_point *points, uint32_t n,
                           struct series **series, struct err *err) {
    uint32_t ids[PART_POINTS];
    uint32_t good = look_over(points, n, ids);
    uint32_t found = index_by_ids(db->index, ids, good, series);
    if (UNLIKELY(found < good))
        return err_set(err, RC_NOT_FOUND, "point %u: there is no series %u; open it", found,
                       points[found].series);
    return LIKELY(good == n) ? RC_OK : cannot_store(&points[good], good, err);
}

static enum rc put_part(barograph *db, const barograph_point *points, uint32_t n, uint64_t *commit,
                        struct err *err) {
    struct series *series[PART_POINTS];
    store_writers_enter(db->store);
    enum rc rc = find_series(db, points, n, series, err);
    if (rc == RC_OK) {
        struct store_batch batch = {.count = n,
                                    .series = series,
                                    .time_ms = &points->time_ms,
                                    .bits = (const void *)&points->value,
                                    .is_float = (const void *)&points->is_double,
                                    .stride = sizeof(*points),
                                    .checked = true};
        rc = store_append(db->store, &batch, commit, err);
    }
    store_writers_leave(db->store);
    return rc;
}

PUBLIC int barograph_put(barograph *db, const barograph_point *points, size_t count, unsigned flags,
                         barograph_error *error) {
    struct err err = {0};
    uint64_t commit = 0;
    enum rc rc = needs(db, "db", &err);
    if (rc == RC_OK && count > 0)
        rc = needs(points, "points", &err);
    for (size_t done = 0; rc == RC_OK && done < count;) {
        size_t left = count - done;
        uint32_t n = (uint32_t)(left < PART_POINTS ? left : PART_POINTS);
        rc = put_part(db, points + done, n, &commit, &err);
        done += n;
    }
    if (rc == RC_OK && count > 0 && (flags & BAROGRAPH_DURABLE) != 0)
        rc = store_commit_wait(db->store, commit, 0, &err);
    return rc < 0 ? give_error(error, rc, &err) : BAROGRAPH_OK;
}

/* ---- queries ---- */

struct asking {
    barograph_callback *callback;
    void *context;
};

static enum rc parse(const char *start, const char *end, const char *expression,
                     struct arena *arena, struct query *query, struct err *err) {
    TRY(needs(start, "start", err));
    TRY(needs(expression, "expression", err));
    struct query_parameter parameters[3] = {{STR("start"), str_of(start)},
                                            {STR("m"), str_of(expression)}};
    uint32_t count = 2;
    if (end != NULL)
        parameters[count++] = (struct query_parameter){STR("end"), str_of(end)};
    struct query_parse_context context = {clock_wall_ms(&clock_system), STR("UTC")};
    return query_parse_get(parameters, count, &context, arena, query, err);
}

/* A result travels from a worker to the caller as the bytes of its columns. */
struct packed {
    uint32_t tag_count;
    uint64_t count;
};

static void pack_str(struct buf *out, str s) {
    uint64_t n = s.n;
    buf_add(out, &n, sizeof(n));
    buf_str(out, s);
    buf_char(out, '\0');
}

static void format(void *context, const struct query *query, const struct query_result *result,
                   struct buf *out) {
    struct packed packed = {result->tag_count, result->point_count};
    buf_add(out, &packed, sizeof(packed));
    buf_add(out, result->time_ms, result->point_count * sizeof(int64_t));
    for (uint64_t i = 0; i < result->point_count; i++) {
        bool is_float =
            result->float_mask == NULL || (result->float_mask[i / 64] >> (i % 64) & 1) != 0;
        double value =
            is_float ? points_double_of(result->bits[i]) : (double)(int64_t)result->bits[i];
        buf_add(out, &value, sizeof(value));
    }
    pack_str(out, result->metric);
    for (uint32_t i = 0; i < result->tag_count; i++) {
        struct tag tag = query_names_tag(result->names, result->tags[i]);
        pack_str(out, tag.key);
        pack_str(out, tag.value);
    }
}

static const char *unpack_str(const char **at) {
    uint64_t n;
    memcpy(&n, *at, sizeof(n));
    const char *text = *at + sizeof(n);
    *at = text + n + 1;
    return text;
}

static enum rc deliver(void *context, str text, bool first) {
    struct asking *asking = context;
    struct packed packed;
    memcpy(&packed, text.p, sizeof(packed));
    /* The text is a heap block with the header in front: copy the columns to where they align. */
    size_t column = packed.count * sizeof(int64_t);
    int64_t *times = malloc(column * 2 + 1);
    barograph_tag *tags = calloc(packed.tag_count + 1, sizeof(*tags));
    enum rc rc = RC_NOMEM;
    if (times != NULL && tags != NULL) {
        const char *at = text.p + sizeof(packed);
        memcpy(times, at, column * 2);
        at += column * 2;
        const char *metric = unpack_str(&at);
        for (uint32_t i = 0; i < packed.tag_count; i++) {
            tags[i].key = unpack_str(&at);
            tags[i].value = unpack_str(&at);
        }
        barograph_result result = {metric,       tags,  packed.tag_count,
                                   packed.count, times, (const double *)(times + packed.count)};
        rc = asking->callback(asking->context, &result) == 0 ? RC_OK : RC_CANCELLED;
    }
    free(tags);
    free(times);
    return rc;
}

PUBLIC int barograph_query(barograph *db, const char *start, const char *end,
                           const char *expression, barograph_callback *callback, void *context,
                           barograph_error *error) {
    struct err err = {0};
    if (needs(db, "db", &err) < 0 || needs((const void *)(uintptr_t)callback, "callback", &err) < 0)
        return give_error(error, RC_INVALID, &err);
    struct arena arena;
    arena_init(&arena, &db->budget);
    struct query query;
    struct asking asking = {callback, context};
    enum rc rc = parse(start, end, expression, &arena, &query, &err);
    if (rc == RC_OK) {
        struct query_limits limits = {
            .threads = db->query_threads, .budget = &db->budget, .expansion_limit = 4096};
        struct query_sink sink = {format, deliver, &asking};
        struct query_counters counters = {0};
        rc = query_run(db->store, &query, &limits, &sink, &counters, &err);
    }
    arena_fini(&arena);
    return rc < 0 ? give_error(error, rc, &err) : BAROGRAPH_OK;
}

PUBLIC int barograph_delete(barograph *db, const char *start, const char *end,
                            const char *expression, uint64_t *deleted, barograph_error *error) {
    struct err err = {0};
    if (needs(db, "db", &err) < 0)
        return give_error(error, RC_INVALID, &err);
    struct arena arena;
    arena_init(&arena, &db->budget);
    struct query query;
    uint64_t total = 0;
    enum rc rc = parse(start, end, expression, &arena, &query, &err);
    struct query_limits limits = {.threads = 1, .budget = &db->budget, .expansion_limit = 4096};
    for (uint32_t i = 0; rc == RC_OK && i < query.sub_count; i++) {
        struct series_vec series = {0};
        uint64_t n = 0;
        store_readers_enter(db->store);
        rc = query_select(db->store, &query.subs[i], &limits, &series, &err);
        if (rc == RC_OK)
            rc = store_delete(db->store, series.p, (uint32_t)series.n, query.start_ms, query.end_ms,
                              &n, &err);
        store_readers_leave(db->store);
        total += n;
        series_vec_fini(&series);
    }
    if (deleted != NULL)
        *deleted = total;
    arena_fini(&arena);
    return rc < 0 ? give_error(error, rc, &err) : BAROGRAPH_OK;
}
