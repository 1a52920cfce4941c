/*
 * The labels that describe a cluster, as they were found: readers (dockerfile.h, image_archive.h)
 * collect them, cluster.h checks them.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LABELS_MAX = 4096 }; /* of ours, in one image */

/* Whose labels they are, and what all of them begin with. */
#define LABELS_DOMAIN "io.barograph"
#define LABELS_PREFIX LABELS_DOMAIN ".cluster."

/* True for LABELS_DOMAIN and what is below it, in any case of letters: a label that was meant for
   us, if perhaps misspelt. */
bool labels_is_ours(str name);

struct label {
    str name; /* the whole name */
    str value;
    uint32_t line;          /* where it is written; 0: in no line of text */
    const char *unreadable; /* why its value cannot be known; NULL: it is known */
};

/* Each name once, in the order of the source. The array lives in the reader's arena. */
struct labels {
    struct label *p;
    size_t n;
};
