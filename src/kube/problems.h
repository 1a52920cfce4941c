/*
 * What is wrong with a file, as lines of text. Nobody stops at the first mistake, so that a person
 * can mend all of them at once.
 */
#pragma once

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum { PROBLEMS_SHOWN_MAX = 100 }; /* more are counted, not written */

struct problems {
    const char *source; /* what the lines begin with: the name of the file */
    struct buf text;    /* whole lines, owned */
    size_t count;
};

void problems_init(struct problems *problems, const char *source);
void problems_fini(struct problems *problems);

/* Adds "source:line: subject: text" and a newline; without the line if it is 0, without the subject
   if it is empty. Bytes that are no printable text (of subject and text) become '?'. */
void problems_add(struct problems *problems, uint32_t line, str subject, const char *format, ...)
    PRINTF_LIKE(4, 5);
