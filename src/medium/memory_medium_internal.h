/*
 * What the files of the memory medium share: memory_medium.c (logs and the whole), _entry.c (names
 * and bytes), _publish.c (objects and catalog values), _faults.c (when and how things fail).
 */
#pragma once

#include "medium/medium_ops.h"
#include "medium/memory_medium.h"
#include "os/thread.h"

enum { MEMORY_MEDIUM_KINDS = 3, MEMORY_MEDIUM_SECTOR = 512 };

/* One named run of bytes. Counted: the table holds one reference, each open handle another, so a
   removed one lives on until it is closed. All fields are guarded by the medium's lock, except the
   bytes of a committed object, which no longer change. */
struct memory_entry {
    uint32_t refs;
    uint8_t *bytes;
    size_t n;
    size_t capacity;
    size_t durable;    /* logs: bytes that survive the power cycle for certain */
    size_t lost_from;  /* logs: [lost_from, lost_to) was covered by a failed sync: */
    size_t lost_to;    /*       it may be lost whatever is synced later */
    uint64_t version;  /* catalog */
    uint64_t checksum; /* catalog */
    bool unconfirmed;  /* catalog: the put that failed took effect nevertheless */
    char name[MEDIUM_NAME_MAX + 1];
};

/* Ascending by name. */
struct memory_table {
    struct memory_entry **p;
    size_t n;
    size_t capacity;
};

struct memory_medium {
    struct medium base;
    struct mutex lock; /* guards everything below */
    struct budget *budget;
    struct memory_table tables[MEMORY_MEDIUM_KINDS];
    uint64_t used; /* bytes (n, not capacity) of all entries alive */
    uint64_t epoch;
    uint64_t handles; /* open logs, objects and writers */
    uint64_t operations;
    struct memory_medium_faults faults;
    uint64_t random;
    uint64_t crash_in; /* operations until the crash; 0: none planned */
    bool crashed;
};

enum memory_outcome {
    MEMORY_OUTCOME_DONE,  /* go on */
    MEMORY_OUTCOME_CRASH, /* this operation is the one that crashes */
    MEMORY_OUTCOME_DEAD   /* a crash was earlier */
};

/* Counts an operation and decides its fate. With the lock held, like all below. */
enum memory_outcome memory_medium_operation(struct memory_medium *medium);

/* A pseudo-random number below `limit` (0 if that is 0). */
uint64_t memory_medium_random(struct memory_medium *medium, uint64_t limit);

/* True in `percent` of the calls; draws nothing if `percent` is 0. */
bool memory_medium_chance(struct memory_medium *medium, uint32_t percent);

/* ---- memory_medium_entry.c ---- */

/* An empty entry with one reference, in no table; NULL if memory is out. */
struct memory_entry *memory_medium_entry_new(const char *name);
void memory_medium_entry_unref(struct memory_medium *medium, struct memory_entry *entry);

/* Makes the capacity at least `need`, charged. RC_NO_SPACE if the budget does not allow it. */
enum rc memory_medium_entry_grow(struct memory_medium *medium, struct memory_entry *entry,
                                 size_t need, struct err *err) MUST_USE;
enum rc memory_medium_entry_add(struct memory_medium *medium, struct memory_entry *entry,
                                const void *bytes, size_t n, struct err *err) MUST_USE;

/* Where `name` is in the table, or belongs. */
size_t memory_medium_position(const struct memory_table *table, const char *name, bool *found);

/* Adds an entry whose name is not there; the table takes its own reference. */
enum rc memory_medium_insert(struct memory_table *table, struct memory_entry *entry,
                             struct err *err) MUST_USE;

/* The entry of that name, borrowed, or NULL. */
struct memory_entry *memory_medium_find(struct memory_medium *medium, enum medium_kind kind,
                                        const char *name);

/* As memory_medium_find, but RC_NOT_FOUND. */
enum rc memory_medium_require(struct memory_medium *medium, enum medium_kind kind, const char *name,
                              struct memory_entry **out, struct err *err) MUST_USE;

/* How many of `n` bytes fit below faults.space_bytes. */
size_t memory_medium_room(const struct memory_medium *medium, size_t n);

/* RC_IO as often as the faults say. */
enum rc memory_medium_read_fault(struct memory_medium *medium, const char *name,
                                 struct err *err) MUST_USE;
enum rc memory_medium_sync_fault(struct memory_medium *medium, struct err *err) MUST_USE;

/* Set the text and return the code. */
enum rc memory_medium_crashed(struct err *err);
enum rc memory_medium_out_of_memory(struct err *err);
enum rc memory_medium_no_room(struct err *err);

/* Ends a handle's use of its entry. Without the lock held. */
void memory_medium_close_handle(struct medium *medium, struct memory_entry *entry);

/* ---- memory_medium_publish.c: as in struct medium_ops ---- */

enum rc memory_medium_object_create(struct medium *medium, const char *name,
                                    struct medium_object_writer **out, struct err *err);
enum rc memory_medium_object_write(struct medium_object_writer *writer, const void *bytes, size_t n,
                                   struct err *err);
enum rc memory_medium_object_commit(struct medium_object_writer *writer, struct err *err);
void memory_medium_object_abort(struct medium_object_writer *writer);
enum rc memory_medium_object_open(struct medium *medium, const char *name,
                                  struct medium_object **out, struct err *err);
uint64_t memory_medium_object_size(const struct medium_object *object);
enum rc memory_medium_object_read(struct medium_object *object, uint64_t offset, void *bytes,
                                  size_t n, struct err *err);
const uint8_t *memory_medium_object_map(struct medium_object *object);
void memory_medium_object_close(struct medium_object *object);
enum rc memory_medium_catalog_get(struct medium *medium, const char *key, struct buf *value,
                                  uint64_t *version, struct err *err);
enum rc memory_medium_catalog_put(struct medium *medium, const char *key, const void *bytes,
                                  size_t n, uint64_t expected, struct err *err);
