/*
 * The file medium: a directory.
 *
 *     DIR/lock            held (flock) by the one process that has the medium open
 *     DIR/logs/NAME       logs
 *     DIR/objects/NAME    objects; DIR/objects/.NAME.tmp while being written
 *     DIR/catalog/KEY     catalog values, each with a small header (version, length, checksum);
 *                         replaced by writing beside, syncing, renaming, syncing the directory
 */
#pragma once

#include "medium/medium.h"

/* Opens (and creates if missing) the directory. RC_CONFLICT if another process has it open, with a
   text that says so; RC_IO with a text that says what to do if it is not writable. Left-over
   temporary files are removed. */
enum rc file_medium_open(const char *directory, struct medium **out, struct err *err) MUST_USE;
