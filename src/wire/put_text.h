/*
 * Error texts that put lines and put JSON share; inside wire.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "model/points.h"
#include "model/series_key.h"

#include <stddef.h>
#include <stdint.h>

/* OpenTSDB's texts for a point that reads well and cannot be stored. Both return RC_INVALID. */
enum rc put_text_not_finite(struct err *err, str metric, int64_t timestamp, struct value value);
enum rc put_text_bad_timestamp(struct err *err, const struct series_key *key, int64_t timestamp,
                               struct value value);

/* Tags beyond LIMIT_TAGS_MAX, `count` in all; key holds the first ones. Returns RC_INVALID. */
enum rc put_text_too_many_tags(struct err *err, const struct series_key *key, uint64_t count);

/* The first character of `text` (n > 0), for showing: its bytes if they are UTF-8, else the
   replacement character. */
str put_text_character(str text);

/* Seconds or milliseconds, as the number's size says, to milliseconds; 0 if it is not in
   1 .. LIMIT_TIME_MS_MAX. */
static inline int64_t put_text_time_ms(int64_t timestamp) {
    if (LIKELY(timestamp > UINT32_MAX && timestamp <= LIMIT_TIME_MS_MAX))
        return timestamp;
    return timestamp > 0 && timestamp <= UINT32_MAX ? timestamp * 1000 : 0;
}
