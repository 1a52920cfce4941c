/*
 * What struct scan keeps between calls. Private to scan*.c.
 */
#pragma once

#include "store/scan_merge.h"

struct scan_state {
    struct epoch_domain *epochs;
    struct scan_merge merge;
    bool open;
};
