/* A put line is a good point or an error with a text; a good one survives being written again. */
#include "base/buf.h"
#include "base/check.h"
#include "wire/number.h"
#include "wire/put_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool take(str line, struct put_line *put, struct series_key *key) {
    struct err err = {0};
    enum rc rc = put_line_parse(line, put, &err);
    if (rc == RC_OK)
        rc = put_line_key(put, key, &err);
    if (rc == RC_OK) {
        CHECK(key->tag_count <= LIMIT_TAGS_MAX);
        rc = series_key_canonicalise(key, &err);
    }
    CHECK(rc == RC_OK || (rc == RC_INVALID && err.message[0] != '\0'));
    return rc == RC_OK;
}

static void write_line(const struct put_line *put, const struct series_key *key, struct buf *out) {
    buf_str(out, key->metric);
    buf_char(out, ' ');
    number_put_int(out, put->time_ms);
    buf_char(out, ' ');
    if (put->value.is_float)
        number_put_double(out, points_double_of(put->value.bits));
    else
        number_put_int(out, (int64_t)put->value.bits);
    buf_char(out, ' ');
    for (uint32_t i = 0; i < key->tag_count; i++) {
        buf_str(out, key->tags[i].key);
        buf_char(out, '=');
        buf_str(out, key->tags[i].value);
        buf_char(out, ' ');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct series_key_rules rules = {.tags_max = LIMIT_TAGS_MAX};
    str line = {(const char *)data, size};
    struct put_line put, again;
    struct series_key key, key_again;
    if (!take(line, &put, &key))
        return 0;
    struct err err = {0};
    CHECK(series_key_check(&key, &rules, &err) == RC_OK || err.message[0] != '\0');
    /* Seconds come back as milliseconds, which must be large enough to be taken as such. */
    if (put.time_ms <= UINT32_MAX)
        return 0;
    struct buf out = {0};
    write_line(&put, &key, &out);
    CHECK(take(buf_view(&out), &again, &key_again));
    CHECK(again.time_ms == put.time_ms && again.value.bits == put.value.bits &&
          again.value.is_float == put.value.is_float);
    CHECK(series_key_hash(&key_again) == series_key_hash(&key));
    buf_fini(&out);
    return 0;
}
