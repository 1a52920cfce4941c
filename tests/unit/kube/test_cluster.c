#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_server.h"

#define P LABELS_PREFIX

struct given {
    const char *name; /* below the prefix, NULL at the end */
    const char *value;
};

struct outcome {
    struct arena arena;
    struct cluster cluster;
    struct problems problems;
};

static void read_with(const struct given *given, str image, str saved_as, struct outcome *outcome) {
    struct label list[32] = {0};
    struct labels labels = {list, 0};
    arena_init(&outcome->arena, NULL);
    problems_init(&outcome->problems, "F");
    for (; given->name != NULL; given++) {
        struct buf name = {0};
        buf_printf(&name, P "%s", given->name);
        list[labels.n].name = arena_str(&outcome->arena, buf_view(&name));
        list[labels.n].value = str_of(given->value);
        list[labels.n].line = (uint32_t)labels.n + 1;
        labels.n++;
        buf_fini(&name);
    }
    struct fake_server fake = {10000, 96 << 20};
    struct cluster_server server = {&fake, fake_server_set, fake_server_number};
    struct cluster_options options = {image, saved_as, STR("barograph:9"), &server};
    assert_int_equal(
        cluster_read(&labels, &options, &outcome->arena, &outcome->cluster, &outcome->problems),
        RC_OK);
    buf_char(&outcome->problems.text, '\0');
}

static void outcome_fini(struct outcome *outcome) {
    problems_fini(&outcome->problems);
    arena_fini(&outcome->arena);
}

static void expect_problems(const struct given *given, const char *expected) {
    struct outcome outcome;
    read_with(given, STR(""), STR(""), &outcome);
    assert_string_equal(outcome.problems.text.p, expected);
    outcome_fini(&outcome);
}

static void expect_image(const struct given *given, str image, str saved_as, const char *expected,
                         const char *problems) {
    struct outcome outcome;
    read_with(given, image, saved_as, &outcome);
    assert_string_equal(outcome.problems.text.p, problems);
    assert_true(str_eq(outcome.cluster.text[CLUSTER_IMAGE], str_of(expected)));
    outcome_fini(&outcome);
}

static void defaults_are_valid_and_suit_a_cluster(void **state) {
    struct outcome outcome;
    read_with((struct given[]){{"name", "db"}, {NULL}}, STR(""), STR(""), &outcome);
    const struct cluster *cluster = &outcome.cluster;
    assert_string_equal(outcome.problems.text.p, "");
    assert_true(str_eq(cluster->text[CLUSTER_NAME], STR("db")));
    assert_true(str_eq(cluster->text[CLUSTER_NAMESPACE], STR("barograph")));
    assert_int_equal(cluster->number[CLUSTER_REPLICAS], 1);
    assert_int_equal(cluster->number[CLUSTER_PORT], 4242);
    assert_int_equal(cluster->number[CLUSTER_MEMORY], 1 << 30);
    assert_int_equal(cluster->number[CLUSTER_TERMINATION_GRACE], 30);
    assert_int_equal(cluster->number[CLUSTER_NETWORK_POLICY], 1);
    assert_int_equal(cluster->number[CLUSTER_SERVICE_MONITOR], 0);
    assert_false(cluster_in_memory(cluster));
    assert_false(cluster_calls_out(cluster));
    assert_int_equal(cluster->setting_count, 1);
    assert_true(str_eq(cluster->settings[0].variable, STR("BAROGRAPH_LOG_FORMAT")));
    for (int key = 0; key < CLUSTER_KEYS; key++)
        assert_true(cluster_name((enum cluster_key)key)[0] != '\0' &&
                    cluster_help((enum cluster_key)key)[0] != '\0' &&
                    cluster_allowed((enum cluster_key)key)[0] != '\0');
    outcome_fini(&outcome);
}

static void server_keys_become_variables_in_order(void **state) {
    struct outcome outcome;
    read_with((struct given[]){{"config.self.forward", "a"},
                               {"config.log.format", "text"},
                               {"retention", "7d"},
                               {"storage", "none"},
                               {NULL}},
              STR(""), STR(""), &outcome);
    static const char *const expected[][2] = {{"BAROGRAPH_LOG_FORMAT", "text"},
                                              {"BAROGRAPH_SELF_FORWARD", "a"},
                                              {"BAROGRAPH_STORE_RETENTION", "*:7d"}};
    assert_string_equal(outcome.problems.text.p, "");
    assert_int_equal(outcome.cluster.setting_count, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_true(str_eq(outcome.cluster.settings[i].variable, str_of(expected[i][0])));
        assert_true(str_eq(outcome.cluster.settings[i].value, str_of(expected[i][1])));
    }
    assert_true(cluster_calls_out(&outcome.cluster));
    assert_true(cluster_in_memory(&outcome.cluster));
    outcome_fini(&outcome);
}

static void every_mistake_is_listed_with_its_line(void **state) {
    expect_problems(
        (struct given[]){{"replicas", "3"},
                         {"Name", "db"},
                         {"config.nonsense", "1"},
                         {"config.log.level", "bad"},
                         {"config.log.file", "a\nb"},
                         {"config.store.mode", "memory"},
                         {"memory", "1Mi"},
                         {NULL}},
        "F:1: " P "replicas: \"3\" is more than one, and a store is on one machine today: several "
        "Pods would be several databases; allowed: 0 or 1\n"
        "F:2: " P "Name: no such label; allowed below " P
        ": name, namespace, image, replicas, storage, storage-class, memory, cpu, cpu-limit, port, "
        "service-type, ingress-host, ingress-class, ingress-tls, service-monitor, network-policy, "
        "termination-grace, retention, config.<key of the server>\n"
        "F:3: " P "config.nonsense: no such key\n"
        "F:4: " P "config.log.level: \"bad\" does not fit\n"
        "F:5: " P "config.log.file: the value must be text in UTF-8 without control characters\n"
        "F:6: " P "config.store.mode: contradicts the manifests, which set it: use the label " P
        "storage (none is memory only)\n"
        "F:7: " P "memory: \"1Mi\" is too small to work; allowed: a quantity from 64Mi on\n");
}

static void contradictions_name_both_sides(void **state) {
    expect_problems((struct given[]){{"storage", "none"}, {"storage-class", "fast"}, {NULL}},
                    "F:2: " P "storage-class: contradicts " P
                    "storage, which is none: there is no volume\n");
    expect_problems((struct given[]){{"ingress-class", "nginx"}, {"ingress-tls", "cert"}, {NULL}},
                    "F:1: " P "ingress-class: contradicts that there is no " P "ingress-host\n"
                    "F:2: " P "ingress-tls: contradicts that there is no " P "ingress-host\n");
    expect_problems((struct given[]){{"cpu", "2"}, {"cpu-limit", "1"}, {NULL}},
                    "F:2: " P "cpu-limit: \"1\" contradicts " P
                    "cpu, of which \"2\" is requested; allowed: as much or more\n");
    expect_problems((struct given[]){{"config.server.drain", "40s"}, {NULL}},
                    "F: " P "termination-grace: \"30s\" contradicts server.drain_delay and "
                    "server.drain: the Pod would be killed before it has stopped; allowed: 45s or "
                    "more\n");
    expect_problems((struct given[]){{"storage", "3Gi"}, {"config.log.bytes_max", "1G"}, {NULL}},
                    "F:1: " P "storage: \"3Gi\" is too small for log.bytes_max; allowed: 4 times "
                    "that or more\n");
    /* A value that is wrong in itself contradicts nothing. */
    expect_problems((struct given[]){{"cpu", "x"}, {"cpu-limit", "1m"}, {NULL}},
                    "F:1: " P "cpu: \"x\" is no number of processors; allowed: processors such as "
                    "500m, 2 or 1.5, from 10m on\n"
                    "F:2: " P "cpu-limit: \"1m\" is too small to work; allowed: processors such as "
                    "500m, 2 or 1.5, from 10m on\n");
    expect_problems(
        (struct given[]){
            {"service-type", "NodePort"}, {"ingress-host", "a.org"}, {"replicas", "0"}, {NULL}},
        "");
}

static void the_image_comes_from_the_nearest_source(void **state) {
    struct given none[] = {{"name", "db"}, {NULL}};
    struct given label[] = {{"image", "app:1"}, {NULL}};
    expect_image(none, STR(""), STR(""), "barograph:9", "");
    expect_image(none, STR(""), STR("saved:2"), "saved:2", "");
    expect_image(label, STR(""), STR("saved:2"), "app:1", "");
    expect_image(label, STR("option:3"), STR("saved:2"), "option:3", "");
    expect_image(none, STR(""), STR("saved:latest"), "saved:latest",
                 "F: " P "image: the image was saved as \"saved:latest\", which is another image "
                 "every time, so nobody knows what will run; give this label or --image; allowed: "
                 "[registry/]name:tag or [registry/]name@sha256:..., not latest\n");
}

static void a_cluster_without_labels_is_a_mistake(void **state) {
    expect_problems((struct given[]){{NULL}},
                    "F: no label describes a cluster. If the defaults are what you want, one is "
                    "enough: LABEL " P "name=\"barograph\". `barograph help kube` lists all\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_valid_and_suit_a_cluster),
        cmocka_unit_test(server_keys_become_variables_in_order),
        cmocka_unit_test(every_mistake_is_listed_with_its_line),
        cmocka_unit_test(contradictions_name_both_sides),
        cmocka_unit_test(the_image_comes_from_the_nearest_source),
        cmocka_unit_test(a_cluster_without_labels_is_a_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
