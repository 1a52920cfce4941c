/*
 * The instructions of a Dockerfile as logical lines: comments gone, continuation lines joined, the
 * bodies of here-documents passed over.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"
#include "base/vec.h"
#include "kube/problems.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From byte `at` of the logical line on, the text stands in line `line` of the file. */
struct dockerfile_mark {
    size_t at;
    uint32_t line;
};

VEC_DECLARE(dockerfile_marks, struct dockerfile_mark)

struct dockerfile_lines {
    str left;      /* not read yet */
    uint32_t line; /* lines read */
    char escape;   /* '\\', or what "# escape=" says */
    struct buf text;
    struct dockerfile_marks marks;
    bool failed; /* memory ran out */
};

/* Starts before the first line; reads the parser directives. */
void dockerfile_lines_init(struct dockerfile_lines *lines, str text, struct problems *problems);
void dockerfile_lines_fini(struct dockerfile_lines *lines);

/* Moves to the next instruction: *instruction is its text, valid until the next call. False at the
   end, and when memory is out (lines->failed). */
bool dockerfile_lines_next(struct dockerfile_lines *lines, str *instruction,
                           struct problems *problems);

/* The line of the file in which byte `at` of the current instruction stands. */
uint32_t dockerfile_lines_at(const struct dockerfile_lines *lines, size_t at);
