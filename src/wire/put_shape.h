/*
 * How a client writes its points, so that the next one can be read by comparing bytes.
 *
 * A client makes all its points with the same code: members in one order, the same blanks, the same
 * further members. So the text of a point is pieces that repeat around four gaps that change:
 *
 *     {"metric": <metric> ,"timestamp": <time> ,"value": <value> ,"tags": <tags> }
 *
 * A shape is learned from a point that put_json has read in full. After that a point of a series
 * that is expected is read without parsing: its pieces are compared with those of the shape, its
 * metric and tags with those of the series, and only the two numbers are read.
 *
 * Nothing is read that way that put_json would read otherwise. A gap is a whole token, or all that
 * stands between the quotes of a string; metric and tags are tokens that put_json has once taken;
 * and the numbers are written in the plain way (digits, none in front that is a zero too many, a
 * fraction) that means the same in quotes and without. What follows a gap is the first byte of a
 * piece, which ended the token then and ends it now. So the object has the same members with other
 * values in the gaps. Whatever else stands there is no match, and put_json reads it.
 */
#pragma once

#include "base/str.h"
#include "model/points.h"
#include "wire/put_json.h"

#include <stdbool.h>
#include <stdint.h>

enum { PUT_SHAPE_GAPS = 4, PUT_SHAPE_PIECE_BYTES = 128, PUT_SHAPE_WORDS = 2 };

struct put_shape_piece {
    uint64_t words[PUT_SHAPE_WORDS]; /* its first bytes, zeros behind its end */
    uint64_t masks[PUT_SHAPE_WORDS]; /* which of them count */
    uint32_t n;
    char bytes[PUT_SHAPE_PIECE_BYTES];
};

/* Zeroed: nothing is known yet. Holds copies, so it outlives the body it was learned from. */
struct put_shape {
    bool known;
    bool strange;                /* the last text that was compared is of another shape */
    uint8_t gap[PUT_SHAPE_GAPS]; /* which one comes after piece i */
    size_t bytes;                /* of all pieces */
    struct put_shape_piece piece[PUT_SHAPE_GAPS + 1];
};

/* Learns from a point without an error. Nothing is known if it cannot be learned from (escapes,
   long pieces). Cost: linear in the pieces. */
void put_shape_learn(struct put_shape *shape, const struct put_json_point *point);

/* Whether learning could be of use: nothing is known, or the last text was strange. */
static inline bool put_shape_wants_point(const struct put_shape *shape) {
    return !shape->known || shape->strange;
}

/* Reads the point that begins at `p` if it is of this shape and series (texts as in metric_raw and
   tags_raw of struct put_json_point, not empty): returns its end, or NULL and nothing is read. Near
   `end` that is always so. */
const char *put_shape_read(struct put_shape *shape, const char *p, const char *end, str metric,
                           str tags, int64_t *time_ms, struct value *value);
