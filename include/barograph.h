/*
 * libbarograph: a time-series database inside your application.
 *
 *     barograph_options options;
 *     barograph_error error;
 *     barograph *db;
 *     barograph_options_default(&options);
 *     options.directory = "metrics";
 *     if (barograph_open(&options, &db, &error) != BAROGRAPH_OK)
 *         fprintf(stderr, "%s\n", error.message);
 *
 * Concepts. A series is a metric name and a set of tags; a point of it is a time in milliseconds
 * since 1970 UTC and a value, a 64-bit integer or a double; integers stay integers. At one time a
 * series has one value: the last one put. Points may come in any order.
 *
 * Threads. All functions may be called from any thread at the same time, except that nothing may
 * use a database while barograph_close runs.
 *
 * Durability. With BAROGRAPH_DURABLE, barograph_put returns when its points are on stable storage,
 * without it, they are within `commit_interval_ms`. Without a directory everything is in memory.
 *
 * Errors. Functions return BAROGRAPH_OK or a negative code, and the reason in *error (which may be
 * NULL). Nothing is left half done: a failed put may have stored a prefix of whole batches.
 */
#ifndef BAROGRAPH_H
#define BAROGRAPH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BAROGRAPH_VERSION "0.1.0"

typedef struct barograph barograph;

enum {
    BAROGRAPH_OK = 0,
    BAROGRAPH_NO_MEMORY = -1,
    BAROGRAPH_IO = -2,
    BAROGRAPH_CORRUPT = -3,
    BAROGRAPH_NO_SPACE = -4,
    BAROGRAPH_INVALID = -5,   /* an argument is wrong; the message says which */
    BAROGRAPH_NOT_FOUND = -6, /* no such metric, tag or series */
    BAROGRAPH_LIMIT = -7,
    BAROGRAPH_TIMEOUT = -8,
    BAROGRAPH_CANCELLED = -9,
    BAROGRAPH_CLOSED = -10,
    BAROGRAPH_CONFLICT = -11, /* another process has the directory open */
    BAROGRAPH_BUSY = -12      /* over the memory limit: put again later */
};

typedef struct barograph_error {
    int code;
    char message[512]; /* one line */
} barograph_error;

typedef struct barograph_options {
    size_t size;                 /* set by barograph_options_default: sizeof(barograph_options) */
    const char *directory;       /* created if missing; NULL: in memory only */
    size_t memory_limit_bytes;   /* what the database may use: 256 MiB */
    uint32_t commit_interval_ms; /* 50 */
    uint32_t max_tags;           /* tags a series may have: 32 */
    uint32_t query_threads;      /* 1 */
} barograph_options;

void barograph_options_default(barograph_options *options);

/* Opens (recovers) a database. On success *db must be closed by barograph_close. */
int barograph_open(const barograph_options *options, barograph **db, barograph_error *error);

/* Makes everything durable and frees the database. NULL is harmless. */
int barograph_close(barograph *db, barograph_error *error);

typedef struct barograph_tag {
    const char *key;
    const char *value;
} barograph_tag;

/* A series within one open database; never 0. */
typedef uint32_t barograph_series;

/* Finds or creates a series. Names may hold letters, digits and - _ . / ; at least one tag. Ask
   once and keep the answer: it is valid until the database is closed, or until the series is
   removed. A series that has no points, because it never got one or all have been deleted, is
   removed after a delete; then a put says BAROGRAPH_NOT_FOUND, and the series is opened again. */
int barograph_series_open(barograph *db, const char *metric, const barograph_tag *tags,
                          size_t tag_count, barograph_series *series, barograph_error *error);

typedef struct barograph_point {
    barograph_series series;
    uint32_t is_double; /* 0: value.integer, 1: value.real (must be finite) */
    int64_t time_ms;    /* 1 .. 9999999999999 */
    union {
        int64_t integer;
        double real;
    } value;
} barograph_point;

enum { BAROGRAPH_DURABLE = 1 /* return when the points are on stable storage */ };

/* Puts `count` points, of any series in any order; batches of thousands are best. Nothing is
   allocated per point. */
int barograph_put(barograph *db, const barograph_point *points, size_t count, unsigned flags,
                  barograph_error *error);

/* One time series of an answer. Valid only during the callback. */
typedef struct barograph_result {
    const char *metric;
    const barograph_tag *tags; /* those all members of the group share */
    size_t tag_count;
    size_t count;
    const int64_t *time_ms;
    const double *values; /* integers converted; NaN: an empty bucket */
} barograph_result;

/* Return non-zero to stop the query (it then returns BAROGRAPH_CANCELLED). */
typedef int barograph_callback(void *context, const barograph_result *result);

/* Runs a query in OpenTSDB's notation: `start` and `end` as in "1h-ago", "2024/01/31-12:00:00" or
   seconds or milliseconds (end NULL: now); `expression` as in "sum:1m-avg:cpu.user{host=*}". Calls
   `callback` for each group, in order, from the calling thread's point of view one at a time. */
int barograph_query(barograph *db, const char *start, const char *end, const char *expression,
                    barograph_callback *callback, void *context, barograph_error *error);

/* Deletes exactly the points of the series an expression selects in [start, end]. */
int barograph_delete(barograph *db, const char *start, const char *end, const char *expression,
                     uint64_t *deleted, barograph_error *error);

#ifdef __cplusplus
}
#endif

#endif
