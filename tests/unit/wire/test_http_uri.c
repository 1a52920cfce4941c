#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "wire/http_uri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "path [name=value] [name=value]", or the error. */
static void expect_parsed(const char *target, const char *expected) {
    size_t n = strlen(target);
    char *copy = malloc(n + (n == 0));
    assert_non_null(copy);
    memcpy(copy, target, n);
    struct arena arena;
    arena_init(&arena, NULL);
    struct http_uri uri;
    struct err err = {0};
    struct buf out = {0};
    enum rc rc = http_uri_parse((str){copy, n}, &arena, &uri, &err);
    if (rc == RC_OK) {
        buf_str(&out, uri.path);
        for (uint32_t i = 0; i < uri.parameter_count; i++)
            buf_printf(&out, " [%.*s=%.*s]", STR_ARG(uri.parameters[i].name),
                       STR_ARG(uri.parameters[i].value));
    } else {
        assert_int_equal(rc, RC_INVALID);
        assert_int_equal(err_http_status(&err), 400);
        buf_str(&out, str_of(err.message));
    }
    buf_char(&out, '\0');
    assert_string_equal(out.p, expected);
    buf_fini(&out);
    arena_fini(&arena);
    free(copy);
}

static void a_target_is_split_into_path_and_parameters(void **state) {
    expect_parsed("/api/query", "/api/query");
    expect_parsed("/api/query?", "/api/query");
    expect_parsed("/api/query?start=1h-ago&m=sum:m{host=*}",
                  "/api/query [start=1h-ago] [m=sum:m{host=*}]");
    expect_parsed("/q?a=1;b=2&a=3", "/q [a=1] [b=2] [a=3]");
    expect_parsed("/a%20b?x", "/a%20b [x=]");
    expect_parsed("?x=1", "/ [x=1]");
    expect_parsed("", "");
}

static void odd_pieces_are_read_as_netty_does(void **state) {
    expect_parsed("/?ms&arrays=&x", "/ [ms=] [arrays=] [x=]");
    expect_parsed("/?&&a=1&;&b&", "/ [a=1] [b=]");
    expect_parsed("/?=v", "/ [v=]");
    expect_parsed("/?==v=w", "/ [v=w]");
    expect_parsed("/?=", "/");
    expect_parsed("/?a=b=c?d", "/ [a=b=c?d]");
}

static void escapes_are_decoded_to_utf8(void **state) {
    expect_parsed("/?m=sum%3Am%7Bhost%3D%2a%7D+x", "/ [m=sum:m{host=*} x]");
    expect_parsed("/?a%26b=c%3Dd", "/ [a&b=c=d]");
    expect_parsed("/?q=caf%C3%A9", "/ [q=caf\u00e9]");
    expect_parsed("/?q=caf\u00e9", "/ [q=caf\u00e9]");
    expect_parsed("/?q=100%%25", "/ [q=100%25]");
    expect_parsed("/?q=%ff%e1%80x", "/ [q=\ufffd\ufffdx]");
    expect_parsed("/?q=\xff", "/ [q=\ufffd]");
}

static void bad_escapes_are_refused(void **state) {
    expect_parsed("/?a=b%", "unterminated escape sequence at end of string: b%");
    expect_parsed("/?a=b%4", "partial escape sequence at end of string: b%4");
    expect_parsed("/?a=b%4&c=d", "partial escape sequence at end of string: b%4");
    expect_parsed("/?a=b%zz", "invalid escape sequence `%zz' at index 1 of: b%zz");
    expect_parsed("/?%4=b", "partial escape sequence at end of string: %4");
}

static void an_absolute_target_loses_its_host(void **state) {
    expect_parsed("http://host:4242/api/put?x=1", "/api/put [x=1]");
    expect_parsed("http://host", "/");
    expect_parsed("http://host?x=http://y/z", "/ [x=http://y/z]");
    expect_parsed("*", "*");
}

static void after_so_many_parameters_the_rest_is_ignored(void **state) {
    struct buf target = {0};
    buf_str(&target, STR("/?"));
    for (int i = 0; i < 100000; i++)
        buf_printf(&target, "&p%d=%d", i, i);
    buf_str(&target, STR("&bad=%"));
    struct arena arena;
    arena_init(&arena, NULL);
    struct http_uri uri;
    assert_int_equal(http_uri_parse(buf_view(&target), &arena, &uri, NULL), RC_OK);
    assert_int_equal(uri.parameter_count, URI_PARAMETERS_MAX);
    assert_true(str_eq(*http_uri_find(&uri, STR("p1023")), STR("1023")));
    assert_null(http_uri_find(&uri, STR("p1024")));
    arena_fini(&arena);
    buf_fini(&target);
}

static void the_last_of_repeated_parameters_is_found(void **state) {
    struct arena arena;
    arena_init(&arena, NULL);
    struct http_uri uri;
    assert_int_equal(http_uri_parse(STR("/?a=1&a=2&b=3"), &arena, &uri, NULL), RC_OK);
    assert_true(str_eq(*http_uri_find(&uri, STR("a")), STR("2")));
    assert_null(http_uri_find(&uri, STR("c")));
    arena_fini(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_is_split_into_path_and_parameters),
        cmocka_unit_test(odd_pieces_are_read_as_netty_does),
        cmocka_unit_test(escapes_are_decoded_to_utf8),
        cmocka_unit_test(bad_escapes_are_refused),
        cmocka_unit_test(an_absolute_target_loses_its_host),
        cmocka_unit_test(after_so_many_parameters_the_rest_is_ignored),
        cmocka_unit_test(the_last_of_repeated_parameters_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
