/*
 * Labels out of a Dockerfile, without building it.
 *
 * What is followed is what Docker documents: the last stage counts; a stage made FROM an earlier
 * one inherits its labels and variables; the last of several equal labels wins; ARG before the
 * first FROM is global and reaches a stage where an ARG repeats its name; ENV hides ARG; one
 * instruction sees the variables as they were before it. ONBUILD is for other images and is passed
 * over.
 *
 * Labels of an external base image cannot be seen here; its archive shows them (image_archive.h).
 */
#pragma once

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "kube/labels.h"
#include "kube/problems.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    DOCKERFILE_BYTES_MAX = 1 << 20,
    DOCKERFILE_VALUE_MAX = 1 << 16, /* bytes of one value after substitution */
    DOCKERFILE_VARIABLES_MAX = 4096 /* ARG and ENV that a stage can see */
};

/* --build-arg NAME=VALUE. */
struct dockerfile_argument {
    str name;
    str value;
    bool used; /* set by dockerfile_read: an ARG of that name exists */
};

/* Reads `text` and stores the labels of the last stage that labels_is_ours says are ours. What is
   wrong with the file is added to `problems`; labels whose value cannot be known are handed out
   with the reason. RC_NOMEM is the only error. The labels live in `arena` and borrow nothing. */
enum rc dockerfile_read(str text, struct dockerfile_argument *arguments, size_t argument_count,
                        struct arena *arena, struct labels *labels,
                        struct problems *problems) MUST_USE;
