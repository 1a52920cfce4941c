/*
 * Files and directories.
 *
 * Each function is one system call, repeated when interrupted or partial. A failure becomes an
 * enum rc and a sentence that names the path, the reason and what the operator can do about it:
 *
 *   RC_NOT_FOUND  the path does not exist         RC_CONFLICT  it exists already
 *   RC_NO_SPACE   file system full, or quota      RC_IO        everything else
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file {
    int fd;     /* -1: closed */
    char *path; /* owned; for the texts */
};

enum file_mode {
    FILE_READ,       /* must exist */
    FILE_CREATE_NEW, /* must not exist: RC_CONFLICT; for reading and writing */
    FILE_OPEN,       /* created if missing; for reading and writing */
    FILE_REPLACE     /* created or emptied; for reading and writing */
};

/* A name of the longest length the file medium makes, under a directory of sane length. */
enum { FILE_PATH_MAX = 4096 };

/* Opens `path`; files are made readable by the owner and the group only. `file` is valid only on
   RC_OK; it belongs to the caller until file_close. */
enum rc file_open(const char *path, enum file_mode mode, struct file *file,
                  struct err *err) MUST_USE;

/* Closes and frees. Harmless on a closed file. */
void file_close(struct file *file);

/* Reads up to `n` bytes at `offset`; *got < n only at the end of the file. */
enum rc file_read_at(const struct file *file, uint64_t offset, void *bytes, size_t n, size_t *got,
                     struct err *err) MUST_USE;

/* Writes `n` bytes at `offset`. On failure a prefix may have been written. */
enum rc file_write_at(const struct file *file, uint64_t offset, const void *bytes, size_t n,
                      struct err *err) MUST_USE;

/* Makes contents and size durable (not the times, nor the name: see file_sync_directory). */
enum rc file_sync(const struct file *file, struct err *err) MUST_USE;

enum rc file_size(const struct file *file, uint64_t *size, struct err *err) MUST_USE;
enum rc file_truncate(const struct file *file, uint64_t size, struct err *err) MUST_USE;

/* Takes the exclusive lock of the file until it is closed or the process ends. RC_CONFLICT at once
   if another open file has it. */
enum rc file_lock(const struct file *file, struct err *err) MUST_USE;

/* Maps the first `size` bytes (at least 1) for reading; valid after the file is closed, until
   file_unmap. Reading a page that the disk cannot deliver raises SIGBUS. */
enum rc file_map(const struct file *file, size_t size, const uint8_t **bytes,
                 struct err *err) MUST_USE;
void file_unmap(const uint8_t *bytes, size_t size);

/* Appends the whole file to `out`. RC_LIMIT if it has more than `bytes_max` bytes (counted while
   reading, so it works on pipes and /proc too), RC_NOMEM if `out` cannot hold it. */
enum rc file_read_all(const char *path, size_t bytes_max, struct buf *out,
                      struct err *err) MUST_USE;

/* RC_OK or RC_NOT_FOUND; `size` may be NULL. */
enum rc file_stat(const char *path, uint64_t *size, struct err *err) MUST_USE;

/* Gives `from` the name `to`, replacing what has it. Durable after file_sync_directory. */
enum rc file_rename(const char *from, const char *to, struct err *err) MUST_USE;
enum rc file_remove(const char *path, struct err *err) MUST_USE;

/* Makes the names in a directory durable. */
enum rc file_sync_directory(const char *path, struct err *err) MUST_USE;

/* Creates `path` and its missing parents; RC_OK if it is there already. The directories that
   received a new name are synced. */
enum rc file_make_directory(const char *path, struct err *err) MUST_USE;

/* Calls `each` for every regular file in a directory, in no particular order; stops at the first
   non-zero return and returns it. A file removed meanwhile is left out. */
enum rc file_list(const char *path, enum rc (*each)(void *context, const char *name, uint64_t size),
                  void *context, struct err *err) MUST_USE;

/* Bytes an unprivileged process could still write to the file system that holds `path`. */
enum rc file_space(const char *path, uint64_t *free_bytes, struct err *err) MUST_USE;
