/*
 * Words of an instruction, and the substitution of variables in them, by Docker's rules.
 */
#pragma once

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

static inline bool dockerfile_words_is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Takes the next word off *left: up to a blank, quotes mean nothing. Empty at the end. */
str dockerfile_words_next(str *left);

/* As a shell splits (for here-documents): a blank in quotes or after a backslash ends no word. */
str dockerfile_words_shell(str *left);

/* As ARG, ENV and LABEL split: the same, with the escape character of the file, and single quotes
   in which it means nothing. A word keeps its quotes and escapes, and is a part of *left. */
str dockerfile_words_pair(str *left, char escape);

enum dockerfile_variable {
    DOCKERFILE_UNSET,     /* declared without a value: counts as empty */
    DOCKERFILE_SET,       /* *value is its value */
    DOCKERFILE_UNDECLARED /* nobody knows it; or its value, and *reason says why */
};

/* Looks a variable up. */
struct dockerfile_scope {
    void *context;
    enum dockerfile_variable (*find)(void *context, str name, str *value, const char **reason);
};

/* Appends `word` to `out` with quotes taken off, escapes resolved and variables replaced: $X ${X}
   ${X:-w} ${X-w} ${X:+w} ${X+w} ${X:?w} ${X?w}. False if the value cannot be known: *reason says
   why (a constant text, or one of scope->find), of *variable if that is not empty. */
bool dockerfile_words_expand(str word, char escape, const struct dockerfile_scope *scope,
                             struct buf *out, const char **reason, str *variable) MUST_USE;
