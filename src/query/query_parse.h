/*
 * The parts of query parsing, shared by the GET and the POST form.
 *
 *     GET:  query_parse_get  -> query_parse_m for each m= and tsuid= -> query_parse_validate
 *     POST: query_parse_post -> JSON to the same structures          -> query_parse_validate
 *
 * Before validation a query holds texts and filters; validation reads the times, looks up names and
 * removes repeated sub queries.
 */
#pragma once

#include "query/query.h"

/* A query with more sub queries than this is refused: repeated ones are found by comparing all. */
enum { QUERY_PARSE_SUBS_MAX = 4096 };

/* As many filters as any series could need, and few enough to compare each with each. */
enum { QUERY_PARSE_FILTERS_MAX = 1024 };

/* A larger POST body is refused. A parsed document takes up to 20 times its text. */
enum { QUERY_PARSE_BODY_BYTES_MAX = 4 << 20 };

/* Parses the value of an m= parameter, or of tsuid= if `by_tsuid`, into a zeroed sub query. */
enum rc query_parse_m(str text, bool by_tsuid, struct arena *query_arena, struct query_sub *sub,
                      struct err *err) MUST_USE;

/* Makes room for `count` sub queries, zeroed; RC_INVALID if they are too many. */
enum rc query_parse_make_subs(struct query *query, size_t count, struct arena *query_arena,
                              struct err *err) MUST_USE;

/* Checks and completes a query made of texts. On failure err has OpenTSDB's message and, as
   details, the query as far as it is known. */
enum rc query_parse_validate(struct query *query, const struct query_parse_context *context,
                             struct err *err) MUST_USE;

/* Parses digits with an optional sign; beyond int64 it stops at the limit. False if it is not an
   integer. */
bool query_parse_saturated(str text, int64_t *value);

/* The rate options of a query that gives none. */
struct query_rate query_parse_default_rate(void);

/* RC_NOMEM with its text. */
enum rc query_parse_no_memory(struct err *err);
