#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_server.h"
#include "kube/manifests.h"

#include <stdio.h>

#define P LABELS_PREFIX

/* The manifests of one label besides the name. */
static void write(const char *name, const char *value, struct buf *out) {
    struct label list[2] = {{.name = STR(P "name"), .value = STR("db")},
                            {.name = str_of(name), .value = str_of(value)}};
    struct labels labels = {list, 2};
    struct fake_server fake = {10000, 96 << 20};
    struct cluster_server server = {&fake, fake_server_set, fake_server_number};
    struct cluster_options options = {STR(""), STR(""), STR("barograph:9"), &server};
    struct arena arena;
    struct problems problems;
    struct cluster cluster;
    arena_init(&arena, NULL);
    problems_init(&problems, "F");
    assert_int_equal(cluster_read(&labels, &options, &arena, &cluster, &problems), RC_OK);
    assert_int_equal(problems.count, 0);
    struct manifests_origin origin = {"barograph 9", "my\nDockerfile"};
    manifests_write(&cluster, &origin, out);
    assert_false(out->failed);
    buf_char(out, '\0');
    problems_fini(&problems);
    arena_fini(&arena);
}

/* The kinds, in order, each with a blank. */
static void expect_kinds(const char *name, const char *value, const char *expected) {
    struct buf text = {0}, kinds = {0};
    write(name, value, &text);
    for (str left = str_of(text.p); left.n > 0;) {
        size_t end = str_find(left, '\n');
        str line = {left.p, end};
        if (str_starts(line, STR("kind: ")))
            buf_printf(&kinds, "%.*s ", STR_ARG(str_from(line, 6)));
        left = str_from(left, end < left.n ? end + 1 : end);
    }
    buf_char(&kinds, '\0');
    assert_string_equal(kinds.p, expected);
    buf_fini(&text);
    buf_fini(&kinds);
}

static bool contains(const struct buf *text, const char *part) {
    return strstr(text->p, part) != NULL;
}

static void objects_come_in_order(void **state) {
    const char *common = "Namespace ServiceAccount ConfigMap NetworkPolicy ";
    char expected[256];
    snprintf(expected, sizeof(expected), "%sStatefulSet Service Service PodDisruptionBudget ",
             common);
    expect_kinds(P "storage", "1Gi", expected);
    snprintf(expected, sizeof(expected), "%sDeployment Service Service PodDisruptionBudget ",
             common);
    expect_kinds(P "storage", "none", expected);
    expect_kinds(P "network-policy", "false",
                 "Namespace ServiceAccount ConfigMap StatefulSet Service Service "
                 "PodDisruptionBudget ");
    snprintf(expected, sizeof(expected),
             "%sStatefulSet Service Service PodDisruptionBudget Ingress ", common);
    expect_kinds(P "ingress-host", "a.org", expected);
    snprintf(expected, sizeof(expected),
             "%sStatefulSet Service Service PodDisruptionBudget ServiceMonitor ", common);
    expect_kinds(P "service-monitor", "true", expected);
}

static void the_source_is_named_on_one_line(void **state) {
    struct buf text = {0};
    write(P "port", "5000", &text);
    assert_true(str_starts(buf_view(&text), STR("# Made by barograph 9 kube out of the labels of "
                                                "my?Dockerfile: change those, not this.\n---\n")));
    assert_true(contains(&text, "          ports:\n"
                                "            - name: tsdb\n"
                                "              protocol: TCP\n"
                                "              containerPort: 5000\n"));
    assert_true(contains(&text, "BAROGRAPH_TSD_NETWORK_PORT: \"5000\"\n"));
    buf_fini(&text);
}

static void the_version_is_a_tag_that_fits_a_label(void **state) {
    static const char *const cases[][2] = {
        {"app:1.2", "    app.kubernetes.io/version: \"1.2\"\n"},
        {"localhost:5000/app:v1", "    app.kubernetes.io/version: v1\n"},
        {"app:_1", NULL},
        {"app:1.", NULL},
        {"localhost:5000/app@sha256:"
         "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf text = {0};
        write(P "image", cases[i][0], &text);
        assert_true(contains(&text, cases[i][1] == NULL ? cases[i][0] : cases[i][1]));
        assert_int_equal(contains(&text, "app.kubernetes.io/version"), cases[i][1] != NULL);
        buf_fini(&text);
    }
}

static str hash_line(const struct buf *text) {
    const char *at = strstr(text->p, "barograph.io/config");
    assert_non_null(at);
    return (str){at, strcspn(at, "\n")};
}

static void a_changed_configuration_changes_the_pod(void **state) {
    struct buf one = {0}, same = {0}, other = {0}, elsewhere = {0};
    write(P "config.log.level", "info", &one);
    write(P "config.log.level", "info", &same);
    write(P "config.log.level", "warn", &other);
    write(P "cpu", "1", &elsewhere);
    assert_string_equal(one.p, same.p);
    assert_false(str_eq(hash_line(&one), hash_line(&other)));
    assert_int_equal(hash_line(&one).n, strlen("barograph.io/config: \"0123456789abcdef\""));
    buf_fini(&one);
    buf_fini(&same);
    buf_fini(&other);
    buf_fini(&elsewhere);
}

static void memory_that_is_out_is_noticed_at_the_end(void **state) {
    struct buf out = {.max = 1000};
    struct cluster cluster = {0};
    for (int key = 0; key < CLUSTER_KEYS; key++)
        cluster.text[key] = str_of(cluster_default((enum cluster_key)key));
    struct manifests_origin origin = {"p", "s"};
    manifests_write(&cluster, &origin, &out);
    assert_true(out.failed);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_come_in_order),
        cmocka_unit_test(the_source_is_named_on_one_line),
        cmocka_unit_test(the_version_is_a_tag_that_fits_a_label),
        cmocka_unit_test(a_changed_configuration_changes_the_pod),
        cmocka_unit_test(memory_that_is_out_is_noticed_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
