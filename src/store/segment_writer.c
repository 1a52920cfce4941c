/*
 * Writing a segment: payloads go out in blocks as they come; the summaries of the series at hand
 * are kept until their group is full, packed groups until a good many can be written in one piece,
 * the directory until the end.
 */
#include "store/segment.h"
#include "store/segment_group.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/vec.h"

#include <stdlib.h>

enum {
    GROUPS_BYTES_KEPT = 1 << 20, /* packed groups are written together when they reach this */
    GROUP_LEVEL = 6,             /* zstd */
    BLOCK_LEVEL = 3, /* mostly in vain: payloads are packed; but equal small ones repeat */
};

VEC_DECLARE(summary_vec, struct vector_summary)
VEC_DECLARE(group_entry_vec, struct segment_group_entry)
VEC_DECLARE(block_entry_vec, struct segment_block_entry)

struct segment_writer {
    struct medium_object_writer *object;
    struct segment_info info;
    uint64_t offset;       /* bytes written */
    size_t groups_written; /* groups before this one have their place */
    struct group_entry_vec groups;
    struct block_entry_vec blocks;
    struct buf spool; /* packed groups not written yet */
    /* the group at hand */
    struct u32_vec ids;
    struct u32_vec firsts; /* one a series; the end is added when the group is closed */
    struct summary_vec summaries;
    uint64_t group_payload_bytes;
    uint32_t group_first_block;
    /* the payload block at hand */
    struct buf block;
    uint32_t block_vectors;
    struct buf scratch;
};

static enum rc no_memory(struct err *err) {
    return err_set(err, RC_NOMEM, "out of memory while writing a segment");
}

static enum rc put(struct segment_writer *writer, const void *bytes, size_t n, struct err *err) {
    if (n == 0)
        return RC_OK;
    TRY(medium_object_write(writer->object, bytes, n, err));
    writer->offset += n;
    return RC_OK;
}

static void writer_free(struct segment_writer *writer) {
    group_entry_vec_fini(&writer->groups);
    block_entry_vec_fini(&writer->blocks);
    u32_vec_fini(&writer->ids);
    u32_vec_fini(&writer->firsts);
    summary_vec_fini(&writer->summaries);
    buf_fini(&writer->spool);
    buf_fini(&writer->block);
    buf_fini(&writer->scratch);
    free(writer);
}

enum rc segment_writer_new(struct medium *medium, const struct segment_info *info,
                           struct segment_writer **out, struct err *err) {
    struct segment_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return no_memory(err);
    writer->info = *info;
    struct segment_info *own = &writer->info;
    own->time_first_ms = INT64_MAX;
    own->time_last_ms = INT64_MIN;
    own->series_count = own->vector_count = own->point_count = own->bytes = own->checksum = 0;
    enum rc rc = medium_object_create(medium, info->name, &writer->object, err);
    if (rc < 0) {
        writer_free(writer);
        return rc;
    }
    const uint64_t magic = SEGMENT_MAGIC;
    rc = put(writer, &magic, sizeof(magic), err);
    if (rc < 0) {
        segment_writer_abort(writer);
        return rc;
    }
    *out = writer;
    return RC_OK;
}

static enum rc close_block(struct segment_writer *writer, struct err *err) {
    if (writer->block_vectors == 0)
        return RC_OK;
    buf_reset(&writer->scratch);
    size_t raw = writer->block.n;
    size_t stored = segment_group_squeeze(writer->block.p, raw,
                                          writer->info.tight ? BLOCK_LEVEL : 0, &writer->scratch);
    if (raw > 0 && stored == 0)
        return no_memory(err);
    struct segment_block_entry entry = {
        .offset = writer->offset,
        .checksum = hash_checksum(writer->scratch.p, stored),
        .stored_bytes = (uint32_t)stored,
        .raw_bytes = (uint32_t)raw,
        .first_vector = (uint32_t)writer->info.vector_count - writer->block_vectors,
        .vector_count = writer->block_vectors,
    };
    if (!block_entry_vec_push(&writer->blocks, entry))
        return no_memory(err);
    TRY(put(writer, writer->scratch.p, stored, err));
    buf_reset(&writer->block);
    writer->block_vectors = 0;
    return RC_OK;
}

/* Writes the groups kept and gives them their places. */
static enum rc write_groups(struct segment_writer *writer, struct err *err) {
    uint64_t offset = writer->offset;
    TRY(put(writer, writer->spool.p, writer->spool.n, err));
    for (; writer->groups_written < writer->groups.n; writer->groups_written++) {
        struct segment_group_entry *entry = &writer->groups.p[writer->groups_written];
        entry->offset = offset;
        offset += entry->stored_bytes;
    }
    CHECK(offset == writer->offset);
    buf_reset(&writer->spool);
    return RC_OK;
}

static enum rc close_group(struct segment_writer *writer, struct err *err) {
    uint32_t series_count = (uint32_t)writer->ids.n;
    if (series_count == 0)
        return RC_OK;
    TRY(close_block(writer, err));
    if (!u32_vec_push(&writer->firsts, (uint32_t)writer->summaries.n))
        return no_memory(err);
    buf_reset(&writer->scratch);
    segment_group_pack(writer->ids.p, writer->firsts.p, series_count, writer->summaries.p,
                       &writer->scratch);
    if (writer->scratch.failed)
        return no_memory(err);
    if (writer->scratch.n > UINT32_MAX)
        return err_set(err, RC_LIMIT, "too many vectors of one series in a segment");
    size_t at = writer->spool.n;
    size_t stored =
        segment_group_squeeze(writer->scratch.p, writer->scratch.n, GROUP_LEVEL, &writer->spool);
    if (stored == 0)
        return no_memory(err);
    struct segment_group_entry entry = {
        .checksum = hash_checksum(writer->spool.p + at, stored),
        .stored_bytes = (uint32_t)stored,
        .raw_bytes = (uint32_t)writer->scratch.n,
        .first_series = writer->ids.p[0],
        .last_series = writer->ids.p[series_count - 1],
        .series_count = series_count,
        .first_vector = (uint32_t)(writer->info.vector_count - writer->summaries.n),
        .vector_count = (uint32_t)writer->summaries.n,
        .first_block = writer->group_first_block,
    };
    if (!group_entry_vec_push(&writer->groups, entry))
        return no_memory(err);
    writer->ids.n = writer->firsts.n = writer->summaries.n = 0;
    writer->group_payload_bytes = 0;
    writer->group_first_block = (uint32_t)writer->blocks.n;
    return writer->spool.n >= GROUPS_BYTES_KEPT ? write_groups(writer, err) : RC_OK;
}

static enum rc begin_series(struct segment_writer *writer, uint32_t series_id, struct err *err) {
    if (writer->summaries.n >= SEGMENT_GROUP_VECTORS ||
        writer->group_payload_bytes >= SEGMENT_GROUP_PAYLOAD_BYTES)
        TRY(close_group(writer, err));
    if (!u32_vec_push(&writer->ids, series_id) ||
        !u32_vec_push(&writer->firsts, (uint32_t)writer->summaries.n))
        return no_memory(err);
    writer->info.series_count++;
    return RC_OK;
}

enum rc segment_writer_add(struct segment_writer *writer, uint32_t series_id,
                           const struct vector_summary *summary, const uint8_t *payload,
                           struct err *err) {
    struct segment_info *info = &writer->info;
    size_t series = writer->ids.n;
    CHECK(summary->count > 0 && summary->payload_bytes <= SEGMENT_BLOCK_BYTES_MAX / 2);
    CHECK(summary->time_first_ms <= summary->time_last_ms);
    if (info->vector_count == UINT32_MAX)
        return err_set(err, RC_LIMIT, "too many vectors in a segment");
    if (series == 0 || writer->ids.p[series - 1] != series_id) {
        CHECK(series == 0 || writer->ids.p[series - 1] < series_id);
        TRY(begin_series(writer, series_id, err));
    } else {
        CHECK(writer->summaries.p[writer->summaries.n - 1].time_last_ms < summary->time_first_ms);
    }
    if (writer->block.n > 0 && writer->block.n + summary->payload_bytes > SEGMENT_BLOCK_BYTES)
        TRY(close_block(writer, err));
    buf_add(&writer->block, payload, summary->payload_bytes);
    if (writer->block.failed || !summary_vec_push(&writer->summaries, *summary))
        return no_memory(err);
    writer->block_vectors++;
    writer->group_payload_bytes += summary->payload_bytes;
    info->vector_count++;
    info->point_count += summary->count;
    if (summary->time_first_ms < info->time_first_ms)
        info->time_first_ms = summary->time_first_ms;
    if (summary->time_last_ms > info->time_last_ms)
        info->time_last_ms = summary->time_last_ms;
    return RC_OK;
}

/* The directory as stored: group entries, then block entries. */
static enum rc write_directory(struct segment_writer *writer, struct segment_footer *footer,
                               struct err *err) {
    struct buf *directory = &writer->scratch;
    buf_reset(directory);
    buf_add(directory, writer->groups.p, writer->groups.n * sizeof(*writer->groups.p));
    buf_add(directory, writer->blocks.p, writer->blocks.n * sizeof(*writer->blocks.p));
    if (directory->failed)
        return no_memory(err);
    footer->group_count = (uint32_t)writer->groups.n;
    footer->block_count = (uint32_t)writer->blocks.n;
    footer->directory_checksum = hash_checksum(directory->p, directory->n);
    for (int copy = 0; copy < 2; copy++) {
        footer->directory_offset[copy] = writer->offset;
        TRY(put(writer, directory->p, directory->n, err));
    }
    return RC_OK;
}

static enum rc write_footer(struct segment_writer *writer, struct segment_footer *footer,
                            struct err *err) {
    const struct segment_info *info = &writer->info;
    footer->magic = SEGMENT_FOOTER_MAGIC;
    footer->version = SEGMENT_VERSION;
    footer->flags = info->tight ? SEGMENT_FLAG_TIGHT : 0;
    footer->shard = info->shard;
    footer->sequence = info->sequence;
    footer->window_from_ms = info->window_from_ms;
    footer->window_to_ms = info->window_to_ms;
    footer->time_first_ms = info->time_first_ms;
    footer->time_last_ms = info->time_last_ms;
    footer->series_count = info->series_count;
    footer->vector_count = info->vector_count;
    footer->point_count = info->point_count;
    footer->bytes = writer->offset + 2 * sizeof(*footer);
    footer->checksum = hash_checksum(footer, offsetof(struct segment_footer, checksum));
    TRY(put(writer, footer, sizeof(*footer), err));
    return put(writer, footer, sizeof(*footer), err);
}

enum rc segment_writer_commit(struct segment_writer *writer, struct segment_info *info,
                              struct err *err) {
    struct segment_footer footer = {0};
    enum rc rc = close_group(writer, err);
    if (rc == RC_OK)
        rc = write_groups(writer, err);
    if (rc == RC_OK)
        rc = write_directory(writer, &footer, err);
    if (rc == RC_OK)
        rc = write_footer(writer, &footer, err);
    if (rc < 0) {
        segment_writer_abort(writer);
        return rc;
    }
    rc = medium_object_commit(writer->object, err);
    if (rc == RC_OK) {
        *info = writer->info;
        info->bytes = footer.bytes;
        info->checksum = footer.checksum;
    }
    writer_free(writer);
    return rc;
}

void segment_writer_abort(struct segment_writer *writer) {
    if (writer == NULL)
        return;
    medium_object_abort(writer->object);
    writer_free(writer);
}
