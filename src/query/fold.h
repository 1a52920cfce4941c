/*
 * Letters in lower case: ASCII, Latin, Greek, Cyrillic and Armenian by simple mappings that keep
 * the length of the UTF-8 text. Other characters, and bytes that are not UTF-8, stay as they are.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

/* Writes the lower-case form of `text` to `to`, which has room for text.n bytes. */
void fold_into(char *to, str text);

/* A lower-case copy in an arena; .p is NULL when memory is out. */
str fold_copy(struct arena *arena, str text);
