/*
 * What this process may use of the machine: memory and processors, as limited by control groups
 * (v1 and v2), and what it and the machine are using, from /proc.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

/* Memory limit of this process in bytes: the smallest limit of its control group and all ancestors
   (v2: memory.max, v1: memory.limit_in_bytes), else the machine's memory. */
uint64_t machine_memory_limit(void);

/* As machine_memory_limit, but reading the files below `root` instead of "/" (for tests). */
uint64_t machine_memory_limit_below(const char *root);

/* Processors this process may use: affinity and control group quota (v2: cpu.max, v1:
   cpu.cfs_quota_us), rounded up, at least 1. */
uint32_t machine_processors(void);
uint32_t machine_processors_below(const char *root);

/* This host's name ("localhost" if it has none). Terminated. */
void machine_host_name(char *name, size_t size);

/* Resident memory of this process in bytes; 0 if unknown. */
uint64_t machine_resident_bytes(void);

/* Open file descriptors and threads of this process; 0 if unknown. */
uint32_t machine_open_files(void);
uint32_t machine_threads(void);

/* Raises the soft limit of open files to the hard one and returns it. */
uint64_t machine_raise_open_files(void);

/* Bounds the number of allocator arenas, so that memory freed by one thread serves the others. */
void machine_tune_allocator(void);

/* Gives free memory of the allocator back to the machine. */
void machine_trim_allocator(void);
