/*
 * What to compact next.
 *
 *   1. Days that have become cold into a week (seven windows into one), then weeks into seven:
 *      once the long window ended two short windows ago, so that late points have mostly come. What
 *      comes later still joins by size, as in 2.
 *   2. Several segments of one window into one: size-tiered. From the newest backwards a run grows
 *      while the next older segment is not much larger than the run so far, so a point is rewritten
 *      a logarithmic number of times.
 *   3. A cold segment that is still in the fast encoding, alone.
 *
 * Whatever is chosen must leave recency as it is: the output takes the largest sequence of its
 * inputs, so no segment that stays may lie between two inputs in sequence and touch in time the
 * older of them.
 */
#include "store/internal.h"

#include "base/check.h"

enum {
    LEVELS = 3,         /* of windows: 1, 7, 49 times the fresh one */
    LEVEL_FACTOR = 7,   /* between them */
    COLD_WINDOWS = 2,   /* a window is cold when it ended this many windows ago */
    RUN_ACTIVE = 4,     /* segments worth merging while their window still fills */
    RUN_CLOSED = 2,     /* ... and afterwards */
    SIZE_RATIO = 3,     /* the next older joins if it is at most so many times the run */
    SEGMENTS_MANY = 12, /* so many segments in a window are merged whatever their sizes */
};

/* Larger outputs gain nothing and take long. */
#define OUTPUT_BYTES_MAX (UINT64_C(8) << 30)

struct choice {
    const struct segment_list *list;
    int64_t now_ms;
    struct segment **inputs;
    uint32_t max;
    uint32_t count;
};

static const struct segment_info *info_at(const struct choice *choice, uint32_t i) {
    return segment_info(choice->list->segments[i]);
}

static bool within(const struct segment_info *info, int64_t from_ms, int64_t to_ms) {
    return info->window_from_ms >= from_ms && info->window_to_ms <= to_ms;
}

static int64_t floor_to(int64_t time_ms, int64_t window_ms) {
    int64_t rest = time_ms % window_ms;
    return time_ms - (rest < 0 ? rest + window_ms : rest);
}

static bool is_cold(const struct choice *choice, int64_t window_to_ms, int64_t window_ms) {
    return window_to_ms <= choice->now_ms - COLD_WINDOWS * window_ms;
}

/* True if segment `i` may be among the inputs of [from, to) at all. */
static bool eligible(const struct choice *choice, uint32_t i, int64_t from_ms, int64_t to_ms) {
    return within(info_at(choice, i), from_ms, to_ms) &&
           segment_damaged(choice->list->segments[i]) == 0;
}

static bool is_chosen(const struct choice *choice, uint32_t i) {
    for (uint32_t k = 0; k < choice->count; k++) {
        if (choice->inputs[k] == choice->list->segments[i])
            return true;
    }
    return false;
}

/* No segment left out may be newer than an input that it touches in time and older than another
   input. The list is in order of sequence. */
static bool recency_holds(const struct choice *choice) {
    uint64_t largest = 0;
    for (uint32_t k = 0; k < choice->count; k++) {
        uint64_t sequence = segment_info(choice->inputs[k])->sequence;
        largest = sequence > largest ? sequence : largest;
    }
    for (uint32_t i = 0; i < choice->list->count; i++) {
        const struct segment_info *other = info_at(choice, i);
        if (other->sequence > largest || is_chosen(choice, i))
            continue;
        for (uint32_t k = 0; k < choice->count; k++) {
            const struct segment_info *input = segment_info(choice->inputs[k]);
            if (input->sequence <= other->sequence && input->time_first_ms <= other->time_last_ms &&
                other->time_first_ms <= input->time_last_ms)
                return false;
        }
    }
    return true;
}

/* Everything in [from, to), if it is at least `least` segments. */
static bool choose_all(struct choice *choice, int64_t from_ms, int64_t to_ms, uint32_t least) {
    uint64_t bytes = 0;
    choice->count = 0;
    for (uint32_t i = 0; i < choice->list->count && choice->count < choice->max; i++) {
        if (!eligible(choice, i, from_ms, to_ms))
            continue;
        bytes += info_at(choice, i)->bytes;
        choice->inputs[choice->count++] = choice->list->segments[i];
    }
    if (choice->count >= least && bytes <= OUTPUT_BYTES_MAX && recency_holds(choice))
        return true;
    choice->count = 0;
    return false;
}

/* The newest segments of [from, to), as far back as their sizes fit together. */
static bool choose_run(struct choice *choice, int64_t from_ms, int64_t to_ms, uint32_t least) {
    uint64_t bytes = 0;
    uint32_t n = 0;
    choice->count = 0;
    for (uint32_t i = choice->list->count; i-- > 0 && n < choice->max;) {
        if (!eligible(choice, i, from_ms, to_ms))
            continue;
        uint64_t older = info_at(choice, i)->bytes;
        if ((n > 0 && older / SIZE_RATIO > bytes) || bytes + older > OUTPUT_BYTES_MAX)
            break;
        bytes += older;
        choice->inputs[n++] = choice->list->segments[i];
    }
    for (uint32_t k = 0; k < n / 2; k++) {
        struct segment *swap = choice->inputs[k];
        choice->inputs[k] = choice->inputs[n - 1 - k];
        choice->inputs[n - 1 - k] = swap;
    }
    choice->count = n;
    if (n >= least && recency_holds(choice))
        return true;
    choice->count = 0;
    return false;
}

/* Rule 1: shorter windows inside the cold window of `long_ms` that segment `i` is in. */
static bool choose_lengthen(struct choice *choice, uint32_t i, int64_t long_ms) {
    const struct segment_info *info = info_at(choice, i);
    int64_t from_ms = floor_to(info->window_from_ms, long_ms);
    return info->window_to_ms - info->window_from_ms < long_ms &&
           is_cold(choice, from_ms + long_ms, long_ms / LEVEL_FACTOR) &&
           (choose_run(choice, from_ms, from_ms + long_ms, 2) ||
            choose_all(choice, from_ms, from_ms + long_ms, SEGMENTS_MANY));
}

/* Rule 2: the window of segment `i` (of `window_ms`). */
static bool choose_window(struct choice *choice, uint32_t i, int64_t window_ms) {
    const struct segment_info *info = info_at(choice, i);
    bool closed = info->window_to_ms <= choice->now_ms;
    return info->window_to_ms - info->window_from_ms == window_ms &&
           (choose_run(choice, info->window_from_ms, info->window_to_ms,
                       closed ? RUN_CLOSED : RUN_ACTIVE) ||
            choose_all(choice, info->window_from_ms, info->window_to_ms, SEGMENTS_MANY));
}

/* Rule 3. */
static bool choose_alone(struct choice *choice, uint32_t i, int64_t window_ms) {
    const struct segment_info *info = info_at(choice, i);
    if (info->tight || !eligible(choice, i, info->window_from_ms, info->window_to_ms) ||
        info->window_to_ms - info->window_from_ms != window_ms ||
        !is_cold(choice, info->window_to_ms, window_ms))
        return false;
    choice->inputs[0] = choice->list->segments[i];
    choice->count = 1;
    return true;
}

uint32_t compact_choose(const struct segment_list *list, int64_t now_ms, int64_t window_ms,
                        struct segment **inputs, uint32_t max, int64_t *output_window_ms) {
    CHECK(window_ms > 0 && max > 1);
    struct choice choice = {.list = list, .now_ms = now_ms, .inputs = inputs, .max = max};
    int64_t level_ms = window_ms;
    for (int level = 1; level < LEVELS; level++) {
        level_ms *= LEVEL_FACTOR;
        for (uint32_t i = 0; i < list->count; i++) {
            *output_window_ms = level_ms;
            if (choose_lengthen(&choice, i, level_ms))
                return choice.count;
        }
    }
    level_ms = window_ms;
    for (int level = 0; level < LEVELS; level++, level_ms *= LEVEL_FACTOR) {
        for (uint32_t i = 0; i < list->count; i++) {
            *output_window_ms = level_ms;
            if (choose_window(&choice, i, level_ms) || choose_alone(&choice, i, level_ms))
                return choice.count;
        }
    }
    return 0;
}
