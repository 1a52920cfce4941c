/*
 * Definitions of names and series as bytes: what index_encode.c writes and index_apply.c reads. The
 * byte table is in docs/format/names.md.
 */
#pragma once

enum { INDEX_ENTRY_VERSION = 1 };

enum index_entry {
    INDEX_ENTRY_NAME = 1,       /* kind, UID, length, bytes */
    INDEX_ENTRY_SERIES = 2,     /* id, shard, metric UID, tag count, (key UID, value UID)... */
    INDEX_ENTRY_NAMES_GONE = 3, /* kind, first UID, count */
    INDEX_ENTRY_SERIES_GONE = 4 /* first id, count */
};
