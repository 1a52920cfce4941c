#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "kube/dockerfile.h"

#include <stdlib.h>
#include <string.h>

#define P "io.barograph.cluster."

/* One line a label: "line name=value", or "line name: why it cannot be known"; then problems. */
static void describe(const struct labels *labels, const struct problems *problems,
                     struct buf *out) {
    for (size_t i = 0; i < labels->n; i++) {
        const struct label *label = &labels->p[i];
        assert_true(str_starts(label->name, STR(P)));
        str name = str_from(label->name, sizeof(P) - 1);
        buf_printf(out, "%u %.*s", label->line, STR_ARG(name));
        if (label->unreadable != NULL)
            buf_printf(out, ": %s\n", label->unreadable);
        else
            buf_printf(out, "=%.*s\n", STR_ARG(label->value));
    }
    buf_str(out, buf_view(&problems->text));
    buf_char(out, '\0');
}

/* Reads from a copy of exactly that length, so that a sanitizer sees every byte too far. */
static void expect_with(struct dockerfile_argument *arguments, size_t count, const char *text,
                        const char *expected) {
    size_t n = strlen(text);
    char *copy = malloc(n + (n == 0));
    assert_non_null(copy);
    memcpy(copy, text, n);
    struct arena arena;
    struct labels labels;
    struct problems problems;
    struct buf out = {0};
    arena_init(&arena, NULL);
    problems_init(&problems, "F");
    assert_int_equal(dockerfile_read((str){copy, n}, arguments, count, &arena, &labels, &problems),
                     RC_OK);
    free(copy);
    describe(&labels, &problems, &out);
    assert_string_equal(out.p, expected);
    buf_fini(&out);
    problems_fini(&problems);
    arena_fini(&arena);
}

static void expect(const char *text, const char *expected) {
    expect_with(NULL, 0, text, expected);
}

static void labels_are_read_with_their_lines(void **state) {
    expect("FROM scratch\nLABEL " P "name=db\n", "2 name=db\n");
    expect("FROM scratch\n\nLABEL " P "a=1 other=2 " P "b=3", "3 a=1\n3 b=3\n");
    expect("\xef\xbb\xbf"
           "FROM scratch\r\nLABEL " P "a=1\r\n",
           "2 a=1\n");
    expect("from scratch\nlAbEl " P "a=1\n", "2 a=1\n");
    expect("FROM scratch\nLABEL other=1\n", "");
}

static void continuation_lines_are_joined(void **state) {
    expect("FROM scratch\nLABEL " P "a=1 \\\n  " P "b=2 \\\n  " P "c=3\n", "2 a=1\n3 b=2\n4 c=3\n");
    expect("FROM scratch\nLABEL " P "a=1 \\  \n\n# a comment \\\n   # another\n  " P "b=2\n",
           "2 a=1\n6 b=2\n");
    expect("FROM scratch\nLABEL " P "a=\"x\\\n  y\"\n", "2 a=x  y\n");
    expect("FROM scratch\nLABEL \\\n" P "a=1", "3 a=1\n");
    expect("FROM scratch\nLABEL " P "a=1 \\", "2 a=1\n");
    /* An escaped escape character ends the line as it is. */
    expect("FROM scratch\nLABEL " P "a=x\\\\\nLABEL " P "b=2\n", "2 a=x\\\n3 b=2\n");
}

static void quotes_and_escapes_are_resolved(void **state) {
    static const struct {
        const char *written, *value;
    } cases[] = {
        {"\"a b\"", "a b"},
        {"'a b'", "a b"},
        {"a\\ b", "a b"},
        {"\"a\\\"b\"", "a\"b"},
        {"'a\\b'", "a\\b"},
        {"\"a\\b\"", "a\\b"},
        {"a\"b c\"d", "ab cd"},
        {"\"\"", ""},
        {"", ""},
        {"a=b=c", "a=b=c"},
        {"\"it's\"", "it's"},
        {"'say \"x\"'", "say \"x\""},
        {"\\$X", "$X"},
        {"'$X'", "$X"},
        {"\"\\$X\"", "$X"},
        {"$", "$"},
        {"a$/b", "a$/b"},
        {"\"a\"'b'c", "abc"},
        {"\xc3\xa4", "\xc3\xa4"},
        {"#x", "#x"},
        {"\"a\\\\\"", "a\\"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf text = {0}, expected = {0};
        buf_printf(&text, "FROM scratch\nLABEL " P "a=%s " P "b=1\n", cases[i].written);
        buf_printf(&expected, "2 a=%s\n2 b=1\n", cases[i].value);
        buf_char(&text, '\0');
        buf_char(&expected, '\0');
        expect(text.p, expected.p);
        buf_fini(&text);
        buf_fini(&expected);
    }
}

static void names_are_quoted_and_substituted_too(void **state) {
    expect("FROM x\nARG K=name\nLABEL \"" P "$K\"=\"db\"\n", "3 name=db\n");
    expect("FROM x\nLABEL \"" P "name=db\"\n",
           "F:2: \"" P "name: the name of the label: a double quote without its partner\n");
}

static void the_old_form_is_one_label(void **state) {
    expect("FROM x\nLABEL " P "a some \"quoted\" words = x\n", "2 a=some quoted words = x\n");
    expect("FROM x\nLABEL " P "a\t1\n", "2 a=1\n");
    expect("FROM x\nLABEL " P "a=1 stray " P "b=2\n",
           "2 a=1\n2 b=2\nF:2: \"stray\" has no =; what follows the first pair must be "
           "name=value\n");
}

static void the_escape_directive_changes_the_escape_character(void **state) {
    expect("# escape=`\nFROM x\nLABEL " P "a=C:\\dir `\n  " P "b=`$x\n", "3 a=C:\\dir\n4 b=$x\n");
    expect("# syntax=docker/dockerfile:1\n#  EsCape = ` \nFROM x\nLABEL " P "a=`$x\n", "4 a=$x\n");
    /* After a comment, an empty line or an unknown directive it is a comment itself. */
    expect("# hello\n# escape=`\nFROM x\nLABEL " P "a=\\$x\n", "4 a=$x\n");
    expect("\n# escape=`\nFROM x\nLABEL " P "a=\\$x\n", "4 a=$x\n");
    expect("# unknown=1\n# escape=`\nFROM x\nLABEL " P "a=\\$x\n", "4 a=$x\n");
    expect("# escape=x\nFROM x\nLABEL " P "a=1\n",
           "3 a=1\nF:1: # escape: \"x\" is neither \\ nor `, which are allowed\n");
}

static void the_last_stage_counts_and_the_last_of_equal_labels(void **state) {
    expect("FROM a\nLABEL " P "a=1\nFROM b\nLABEL " P "b=2\n", "4 b=2\n");
    expect("FROM a\nLABEL " P "a=1 " P "b=1\nLABEL " P "a=2\n", "2 b=1\n3 a=2\n");
    expect("FROM a AS one\nLABEL " P "a=1 " P "b=1\nFROM two\nFROM ONE\nLABEL " P "b=2\n",
           "2 a=1\n5 b=2\n");
    expect("FROM --platform=linux/amd64 a as One\nLABEL " P "a=1\nFROM --platform=$X one\n",
           "2 a=1\n");
    expect("FROM a\nLABEL " P "a=1\nFROM b\nRUN x\n",
           "F:2: " P "a: stands in a stage that is not the last; put the labels below the FROM in "
           "line 3\n");
    expect("FROM a\nONBUILD LABEL " P "a=1\nLABEL " P "b=2\n", "3 b=2\n");
}

static void variables_are_substituted(void **state) {
    static const struct {
        const char *written, *value;
    } cases[] = {
        {"$SET", "set"},
        {"${SET}", "set"},
        {"\"$SET-x\"", "set-x"},
        {"${SET:-w}", "set"},
        {"${NONE:-w}", "w"},
        {"${EMPTY:-w}", "w"},
        {"${EMPTY-w}", ""},
        {"${NONE-w}", "w"},
        {"${SET:+w}", "w"},
        {"${EMPTY:+w}", ""},
        {"${EMPTY+w}", "w"},
        {"${NONE:+w}", ""},
        {"${SET:?no}", "set"},
        {"${NONE:-$SET}", "set"},
        {"${NONE:-${NONE:-x}y}", "xy"},
        {"${NONE:-\"a b\"}", "a b"},
        {"${DECLARED}", ""},
        {"${DECLARED:-w}", "w"},
        {"a${SET}b", "asetb"},
        {"${NONE:-'$SET'}", "$SET"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf text = {0}, expected = {0};
        buf_printf(&text, "FROM x\nARG SET=set EMPTY= DECLARED\nLABEL " P "a=%s\n",
                   cases[i].written);
        buf_printf(&expected, "3 a=%s\n", cases[i].value);
        buf_char(&text, '\0');
        buf_char(&expected, '\0');
        expect(text.p, expected.p);
        buf_fini(&text);
        buf_fini(&expected);
    }
}

static void a_value_that_cannot_be_known_says_why(void **state) {
    static const struct {
        const char *written, *reason;
    } cases[] = {
        {"$NONE", "NONE: not set by any ARG or ENV of this file"},
        {"$1", "1: not set by any ARG or ENV of this file"},
        {"${NONE", "a substitution without its }"},
        {"${NONE:-x", "a substitution without its }"},
        {"${}", "a bad substitution: ${ needs the name of a variable"},
        {"${SET#s}", "a substitution by pattern, which is not followed here; the forms ${X}, "
                     "${X:-word}, ${X:+word} and ${X:?word} are"},
        {"${NONE:?needed}", "NONE: ${X:?...} demands a value"},
        {"$SET\"x", "a double quote without its partner"},
        {"'x", "a single quote without its partner"},
        {"$TARGETARCH", "TARGETARCH: set by Docker from the platform; give it with --build-arg"},
        {"$BAD", "NONE: not set by any ARG or ENV of this file"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf text = {0}, expected = {0};
        buf_printf(&text, "FROM x\nARG SET=set TARGETARCH\nENV BAD=a$NONE\nLABEL " P "a=%s\n",
                   cases[i].written);
        buf_printf(&expected, "4 a: %s\n", cases[i].reason);
        buf_char(&text, '\0');
        buf_char(&expected, '\0');
        expect(text.p, expected.p);
        buf_fini(&text);
        buf_fini(&expected);
    }
}

static void arguments_have_docker_s_scopes(void **state) {
    /* Global ones are seen in a stage only where they are repeated. */
    expect("ARG V=1\nFROM x\nLABEL " P "a=$V\n",
           "3 a: V: not set by any ARG or ENV of this file\n");
    expect("ARG V=1\nARG W=$V.2\nFROM x\nARG W\nLABEL " P "a=$W\n", "5 a=1.2\n");
    expect("ARG V=1\nFROM x\nARG V=2\nLABEL " P "a=$V\n", "4 a=2\n");
    expect("ARG V=one\nFROM x AS one\nLABEL " P "a=1\nFROM $V\n", "3 a=1\n");
    /* A stage ends its own; one made from it goes on with them. */
    expect("FROM x\nARG V=1\nFROM y\nLABEL " P "a=$V\n",
           "4 a: V: not set by any ARG or ENV of this file\n");
    expect("FROM x AS s\nARG V=1\nFROM s\nARG V\nLABEL " P "a=$V\n", "5 a=1\n");
    /* Declared later is not declared. */
    expect("FROM x\nLABEL " P "a=$V\nARG V=1\n",
           "2 a: V: not set by any ARG or ENV of this file\n");
    /* ENV hides ARG; in the other order builders differ. */
    expect("FROM x\nENV V=env\nARG V=arg\nLABEL " P "a=$V\n",
           "4 a: one of its variables is set by ENV and then by ARG, and Docker's builders do not "
           "agree which counts\n");
    expect("FROM x\nENV V=env\nARG V\nLABEL " P "a=$V\n", "4 a=env\n");
    expect("FROM x\nENV V=env\nARG V=env\nLABEL " P "a=$V\n", "4 a=env\n");
    expect("FROM x\nARG V=arg\nENV V=env$V\nLABEL " P "a=$V\n", "4 a=envarg\n");
    expect("FROM x\nENV V some words\nLABEL " P "a=$V\n", "3 a=some words\n");
    /* One instruction sees what was before it. */
    expect("FROM x\nENV A=1\nENV A=2 B=$A\nLABEL " P "a=$A$B\n", "4 a=21\n");
}

static void build_arguments_come_before_defaults(void **state) {
    struct dockerfile_argument arguments[] = {{STR("V"), STR("given"), false},
                                              {STR("UNUSED"), STR("x"), false},
                                              {STR("E"), STR(""), false}};
    expect_with(arguments, COUNT_OF(arguments),
                "ARG V=1\nFROM x\nARG V=2\nARG E=3\nLABEL " P "a=$V$E\n", "5 a=given\n");
    assert_true(arguments[0].used);
    assert_false(arguments[1].used);
    struct dockerfile_argument platform[] = {{STR("TARGETARCH"), STR("arm64"), false}};
    expect_with(platform, 1, "FROM x\nARG TARGETARCH\nLABEL " P "a=$TARGETARCH\n", "3 a=arm64\n");
}

static void here_documents_are_passed_over(void **state) {
    expect("FROM x\nRUN <<EOF\nLABEL " P "a=no\nEOF\nLABEL " P "a=yes\n", "5 a=yes\n");
    expect("FROM x\nRUN cat <<-\"E F\" >x && cat <<'B'\nLABEL " P "a=no\n\tE F\nLABEL " P
           "a=no\nB\nLABEL " P "a=yes\n",
           "7 a=yes\n");
    expect("FROM x\nCOPY <<a.txt <<b.txt /\nFROM y\na.txt\n\\\nb.txt\nLABEL " P "a=yes\n",
           "7 a=yes\n");
    expect("FROM x\nRUN echo \"<<EOF\" 1<<2<3\nLABEL " P "a=yes\n", "3 a=yes\n");
    expect("FROM x\nONBUILD RUN <<E\nLABEL " P "a=no\nE\nLABEL " P "a=yes\n", "5 a=yes\n");
    expect("FROM x\nLABEL " P "a=<<EOF\nLABEL " P "b=1\n", "2 a=<<EOF\n3 b=1\n");
    expect("FROM x\nRUN <<EOF\nLABEL " P "a=no\n",
           "F:2: the here-document \"EOF\" has no end: a line with just its name\n");
}

static void what_is_no_dockerfile_is_refused(void **state) {
    expect("", "F: no FROM: this is neither a Dockerfile nor an image archive\n");
    expect("name: x\nkind: y\n",
           "F:1: \"name:\" is no instruction of a Dockerfile; this is neither "
           "a Dockerfile nor an image archive\n");
    expect("FROM x\nLABLE " P "a=1\nLABEL " P "b=1\n",
           "3 b=1\nF:2: \"LABLE\" is no instruction of a Dockerfile\n");
    expect("LABEL " P "a=1\nFROM x\n", "F:1: LABEL: only ARG may stand before the first FROM\n");
    expect("FROM x AS\nLABEL " P "a=1\n",
           "2 a=1\nF:1: FROM: \"FROM image\" or \"FROM image AS name\" is allowed\n");
}

static void which_stage_is_meant_must_be_known(void **state) {
    expect("FROM x AS s-amd64\nLABEL " P "a=1\nFROM s-$TARGETARCH\n",
           "F:3: FROM: which stage is meant: TARGETARCH: not set by any ARG or ENV of this file\n");
    expect("FROM s-$TARGETARCH\nLABEL " P "a=1\n", "2 a=1\n");
}

static void values_that_grow_without_end_are_refused(void **state) {
    struct buf text = {0};
    buf_str(&text, STR("FROM x\nENV V=0123456789\n"));
    for (int i = 0; i < 30; i++)
        buf_str(&text, STR("ENV V=$V$V\n"));
    buf_str(&text, STR("LABEL " P "a=$V\n"));
    buf_char(&text, '\0');
    expect(text.p, "33 a: longer than 64 KiB once its variables are replaced\n");
    buf_fini(&text);
}

static void more_variables_than_a_stage_may_have_stop_the_reading(void **state) {
    struct buf text = {0};
    buf_str(&text, STR("FROM x\n"));
    for (int i = 0; i < DOCKERFILE_VARIABLES_MAX + 2; i++)
        buf_printf(&text, "ENV V%d=1\n", i);
    buf_char(&text, '\0');
    expect(text.p, "F:4098: more than 4096 variables: the rest is not read\n");
    buf_fini(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_read_with_their_lines),
        cmocka_unit_test(continuation_lines_are_joined),
        cmocka_unit_test(quotes_and_escapes_are_resolved),
        cmocka_unit_test(names_are_quoted_and_substituted_too),
        cmocka_unit_test(the_old_form_is_one_label),
        cmocka_unit_test(the_escape_directive_changes_the_escape_character),
        cmocka_unit_test(the_last_stage_counts_and_the_last_of_equal_labels),
        cmocka_unit_test(variables_are_substituted),
        cmocka_unit_test(a_value_that_cannot_be_known_says_why),
        cmocka_unit_test(arguments_have_docker_s_scopes),
        cmocka_unit_test(build_arguments_come_before_defaults),
        cmocka_unit_test(here_documents_are_passed_over),
        cmocka_unit_test(what_is_no_dockerfile_is_refused),
        cmocka_unit_test(which_stage_is_meant_must_be_known),
        cmocka_unit_test(values_that_grow_without_end_are_refused),
        cmocka_unit_test(more_variables_than_a_stage_may_have_stop_the_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
