#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "kube/cluster_value.h"

#include <stdio.h>

enum { BAD = -1 };

struct value_case {
    enum cluster_value_kind kind;
    const char *text;
    int64_t number; /* BAD: refused */
};

static void expect(const struct value_case *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t number;
        const char *wrong = cluster_value_check(cases[i].kind, str_of(cases[i].text), &number);
        if ((wrong == NULL) != (cases[i].number != BAD) ||
            (wrong == NULL && number != (uint64_t)cases[i].number))
            fail_msg("\"%s\": %s, %llu", cases[i].text, wrong == NULL ? "fine" : wrong,
                     (unsigned long long)number);
    }
}

#define KIND(kind, text, number)                                                                   \
    { CLUSTER_VALUE_##kind, text, number }
#define LONG52 "a234567890123456789012345678901234567890123456789012"

static void names_are_kubernetes_names(void **state) {
    const struct value_case cases[] = {
        KIND(NAME, "db", 0),
        KIND(NAME, "a-1", 0),
        KIND(NAME, "1a", BAD),
        KIND(NAME, "", BAD),
        KIND(NAME, "A", BAD),
        KIND(NAME, "a_b", BAD),
        KIND(NAME, "a-", BAD),
        KIND(NAME, "-a", BAD),
        KIND(NAME, LONG52, 0),
        KIND(NAME, LONG52 "3", BAD),
        KIND(NAME, "a.b", BAD),
        KIND(NAMESPACE, "1a", 0),
        KIND(NAMESPACE, "", BAD),
        KIND(NAMESPACE, "default", BAD),
        KIND(NAMESPACE, "kube-system", BAD),
        KIND(NAMESPACE, LONG52 "34567890123", 0),
        KIND(NAMESPACE, LONG52 "345678901234", BAD),
        KIND(SUBDOMAIN, "fast.ssd-1", 0),
        KIND(SUBDOMAIN, "a..b", BAD),
        KIND(SUBDOMAIN, ".a", BAD),
        KIND(SUBDOMAIN, "a.", BAD),
        KIND(SUBDOMAIN, "", BAD),
        KIND(HOST, "tsdb.example.org", 0),
        KIND(HOST, "*.example.org", 0),
        KIND(HOST, "*", BAD),
        KIND(HOST, "a.*.org", BAD),
        KIND(HOST, "10.0.0.1", BAD),
        KIND(HOST, "a b", BAD),
        KIND(HOST, "x1.org2", 0),
        KIND(HOST, "Tsdb.org", BAD),
    };
    expect(cases, COUNT_OF(cases));
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void images_have_a_fixed_version(void **state) {
    const struct value_case cases[] = {
        KIND(IMAGE, "barograph:0.1.0", 0),
        KIND(IMAGE, "registry.example.org:5000/team/app_x:v1.2-rc.1", 0),
        KIND(IMAGE, "localhost/app:1", 0),
        KIND(IMAGE, "app@sha256:" HEX64, 0),
        KIND(IMAGE, "app:latest@sha256:" HEX64, 0),
        KIND(IMAGE, "app", BAD),
        KIND(IMAGE, "app:latest", BAD),
        KIND(IMAGE, "localhost:5000/app", BAD),
        KIND(IMAGE, "app:", BAD),
        KIND(IMAGE, ":1", BAD),
        KIND(IMAGE, "", BAD),
        KIND(IMAGE, "App:1", BAD),
        KIND(IMAGE, "app:1 ", BAD),
        KIND(IMAGE, "app:1@sha256:0", BAD),
        KIND(IMAGE, "app:-1", BAD),
        KIND(IMAGE, "a//b:1", BAD),
        KIND(IMAGE, "http://a/b:1", BAD),
        KIND(IMAGE, "a:b:1", BAD),
    };
    expect(cases, COUNT_OF(cases));
}

static void quantities_are_those_of_kubernetes(void **state) {
    const int64_t gi = INT64_C(1) << 30;
    const struct value_case cases[] = {
        KIND(STORAGE, "20Gi", 20 * gi),
        KIND(STORAGE, "1.5Gi", gi * 3 / 2),
        KIND(STORAGE, "1G", 1000000000),
        KIND(STORAGE, "1073741824", gi),
        KIND(STORAGE, "none", 0),
        KIND(STORAGE, "511Mi", BAD),
        KIND(STORAGE, "20GB", BAD),
        KIND(STORAGE, "20 Gi", BAD),
        KIND(STORAGE, "-1Gi", BAD),
        KIND(STORAGE, "Gi", BAD),
        KIND(STORAGE, "", BAD),
        KIND(STORAGE, "1..5Gi", BAD),
        KIND(STORAGE, "None", BAD),
        KIND(STORAGE, "9999999999999999Ti", BAD),
        KIND(STORAGE, "999999999999999Ti", BAD),
        KIND(MEMORY, "64Mi", 64 << 20),
        KIND(MEMORY, "63Mi", BAD),
        KIND(MEMORY, "128m", BAD),
        KIND(MEMORY, "2gi", BAD),
        KIND(CPU, "500m", 500),
        KIND(CPU, "2", 2000),
        KIND(CPU, "1.5", 1500),
        KIND(CPU, ".5", 500),
        KIND(CPU, "9m", BAD),
        KIND(CPU, "0", BAD),
        KIND(CPU, "two", BAD),
        KIND(CPU, "2000", BAD),
    };
    expect(cases, COUNT_OF(cases));
}

static void numbers_and_words_are_checked(void **state) {
    const struct value_case cases[] = {
        KIND(REPLICAS, "0", 0),
        KIND(REPLICAS, "1", 1),
        KIND(REPLICAS, "2", BAD),
        KIND(REPLICAS, "", BAD),
        KIND(REPLICAS, "99999999999999999999", BAD),
        KIND(PORT, "4242", 4242),
        KIND(PORT, "1024", 1024),
        KIND(PORT, "65535", 65535),
        KIND(PORT, "1023", BAD),
        KIND(PORT, "65536", BAD),
        KIND(PORT, "http", BAD),
        KIND(SERVICE_TYPE, "NodePort", 0),
        KIND(SERVICE_TYPE, "nodeport", BAD),
        KIND(TRUTH, "true", 1),
        KIND(TRUTH, "false", 0),
        KIND(TRUTH, "yes", BAD),
        KIND(TRUTH, "", BAD),
    };
    expect(cases, COUNT_OF(cases));
}

static void durations_have_units(void **state) {
    const struct value_case cases[] = {
        KIND(GRACE, "30s", 30),        KIND(GRACE, "2m", 120),
        KIND(GRACE, "2000ms", 2),      KIND(GRACE, "1500ms", BAD),
        KIND(GRACE, "30", BAD),        KIND(GRACE, "2h", BAD),
        KIND(GRACE, "s", BAD),         KIND(GRACE, "99999999999999y", BAD),
        KIND(RETENTION, "30d", 0),     KIND(RETENTION, "tmp.*:7d, *:1y", 0),
        KIND(RETENTION, "*:7d,", 0),   KIND(RETENTION, "0d", BAD),
        KIND(RETENTION, "30", BAD),    KIND(RETENTION, ":7d", BAD),
        KIND(RETENTION, "*:", BAD),    KIND(RETENTION, "*:7", BAD),
        KIND(RETENTION, "7d,8d", BAD), KIND(RETENTION, "", BAD),
    };
    expect(cases, COUNT_OF(cases));
}

/* The server takes all of these. */
static void durations_are_written_in_one_way(void **state) {
    const struct value_case cases[] = {
        KIND(GRACE, "30S", BAD),
        KIND(GRACE, "2000mS", BAD),
        KIND(RETENTION, "1Y", BAD),
        KIND(RETENTION, "4294967295s", 0),
        KIND(RETENTION, "4294967296s", BAD),
    };
    expect(cases, COUNT_OF(cases));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_kubernetes_names),
        cmocka_unit_test(images_have_a_fixed_version),
        cmocka_unit_test(quantities_are_those_of_kubernetes),
        cmocka_unit_test(numbers_and_words_are_checked),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(durations_are_written_in_one_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
