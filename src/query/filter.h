/*
 * Tag value filters of OpenTSDB 2.4, and not_key.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum filter_type {
    FILTER_LITERAL_OR,
    FILTER_ILITERAL_OR,
    FILTER_NOT_LITERAL_OR,
    FILTER_NOT_ILITERAL_OR,
    FILTER_WILDCARD,
    FILTER_IWILDCARD,
    FILTER_REGEXP,
    FILTER_NOT_KEY,
    FILTER_TYPES
};

struct filter_matcher; /* compiled pattern: defined in filter.c */

struct filter {
    enum filter_type type;
    str type_name; /* as reported: a legacy "web*" tag is matched without case but reported
                      "wildcard" */
    str key;
    str text; /* the filter expression */
    bool group_by;
    const str
        *literals; /* of the *_or types: split on |, lower-cased for the i-types, sorted, unique */
    uint32_t literal_count;
    struct filter_matcher *matcher;
};

/* Name, description and an example of a type, for /api/config/filters. */
void filter_describe(enum filter_type type, const char **name, const char **description,
                     const char **examples);

/* Builds one filter; compiles regular expressions and globs. RC_INVALID with OpenTSDB's texts
   ("Could not find a tag value filter of the type: x", "Filter must contain an asterisk", ...).
   All its memory is in the arena, compiled patterns too. */
enum rc filter_make(str type, str key, str text, bool group_by, struct arena *query_arena,
                    struct filter *filter, struct err *err) MUST_USE;

/* Legacy form of a tag value: "*", "a|b", "web*", "regexp(...)". */
enum rc filter_make_legacy(str key, str value, bool group_by, struct arena *query_arena,
                           struct filter *filter, struct err *err) MUST_USE;

/* Whether a value passes. Safe from several threads. For FILTER_NOT_KEY always false. */
bool filter_matches(const struct filter *filter, str value);

/* After matching: RC_INVALID if a regular expression was given up on some value because it took too
   long (that value then did not match), so that the query can fail instead of answering wrong. */
enum rc filter_check(const struct filter *filter, struct err *err) MUST_USE;
