/*
 * YAML out, for objects as Kubernetes takes them: block style, two spaces a level, and every text
 * in double quotes that a reader of YAML 1.1 or 1.2 could take for something else.
 */
#pragma once

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct yaml {
    struct buf *out;
    unsigned depth;
    bool item; /* the next line is the first of a list's item */
};

/* Begins a document ("---"). */
void yaml_document(struct yaml *yaml);

/* "# text". One line. */
void yaml_comment(struct yaml *yaml, const char *format, ...) PRINTF_LIKE(2, 3);

/* key: and a map or list below it, until yaml_close. */
void yaml_open(struct yaml *yaml, const char *key);

/* An item of a list, which is a map, until yaml_close. */
void yaml_item(struct yaml *yaml);
void yaml_close(struct yaml *yaml);

/* key: value */
void yaml_text(struct yaml *yaml, const char *key, str value);
void yaml_number(struct yaml *yaml, const char *key, uint64_t value);
void yaml_truth(struct yaml *yaml, const char *key, bool value);
/* key: {}, key: [] */
void yaml_empty(struct yaml *yaml, const char *key);
void yaml_empty_list(struct yaml *yaml, const char *key);
/* key: [a, b], or [a] where b is empty */
void yaml_list(struct yaml *yaml, const char *key, str a, str b);
