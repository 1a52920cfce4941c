#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct config fresh(void) {
    struct config config;
    struct err err;
    assert_int_equal(config_init(&config, &err), RC_OK);
    return config;
}

static void defaults_are_valid(void **state) {
    struct config config = fresh();
    struct err err;
    assert_int_equal(config_check(&config, &err), RC_OK);
    assert_int_equal(config.number[CONFIG_PORT], 4242);
    assert_int_equal(config.number[CONFIG_BODY_MAX], 64 << 20);
    assert_int_equal(config.number[CONFIG_WINDOW], 86400000);
    assert_true(config_true(&config, CONFIG_AUTO_METRICS));
    config_fini(&config);
}

static void values_must_fit_their_key(void **state) {
    static const struct {
        const char *key, *value, *message;
    } cases[] = {
        {"tsd.network.port", "http", "tsd.network.port: \"http\" is not a number"},
        {"tsd.core.auto_create_metrics", "maybe",
         "tsd.core.auto_create_metrics: \"maybe\" is neither true nor false"},
        {"memory.limit", "2 GB", "memory.limit: \"2 GB\" is not a size such as 65536, 64M or 2G"},
        {"store.window", "1 fortnight",
         "store.window: \"1 fortnight\" is not a duration such as 500ms, 10s, 5m, 2h or 7d"},
        {"memory.limits", "1",
         "unknown configuration key \"memory.limits\" (`barograph help serve` lists all)"},
    };
    struct config config = fresh();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err err;
        assert_int_equal(config_set(&config, str_of(cases[i].key), str_of(cases[i].value), &err),
                         RC_INVALID);
        assert_string_equal(err.message, cases[i].message);
    }
    config_fini(&config);
}

static void an_opentsdb_file_is_read_as_it_is(void **state) {
    char path[] = "test-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "# a comment\n\ntsd.network.port = 4343\r\n"
                               "tsd.storage.hbase.zk_quorum=a,b,c\n"
                               "tsd.core.auto_create_metrics = False\n"
                               "tsd.http.cachedir = /tmp/opentsdb\n  store.retention=tmp.*:7d\n";
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    struct config config = fresh();
    struct err err = {0};
    assert_int_equal(config_load(&config, path, &err), RC_OK);
    assert_int_equal(config.number[CONFIG_PORT], 4343);
    assert_false(config_true(&config, CONFIG_AUTO_METRICS));
    assert_string_equal(config.text[CONFIG_RETENTION], "tmp.*:7d");
    config_fini(&config);
    unlink(path);
}

static void an_error_in_a_file_names_the_line(void **state) {
    char path[] = "test-config-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "tsd.network.port = 4343\nnonsense\n";
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    struct config config = fresh();
    struct err err = {0};
    assert_int_equal(config_load(&config, path, &err), RC_INVALID);
    char expected[100];
    snprintf(expected, sizeof(expected), "%s line 2: expected key = value", path);
    assert_string_equal(err.message, expected);
    config_fini(&config);
    unlink(path);
}

static void the_environment_sets_every_key(void **state) {
    const char *const environment[] = {"HOME=/root", "BAROGRAPH_TSD_NETWORK_PORT=1234",
                                       "BAROGRAPH_DATA_DIR=/data", "BAROGRAPH_MEMORY_LIMIT=1G",
                                       NULL};
    struct config config = fresh();
    struct err err = {0};
    assert_int_equal(config_load_environment(&config, environment, &err), RC_OK);
    assert_int_equal(config.number[CONFIG_PORT], 1234);
    assert_string_equal(config.text[CONFIG_DATA_DIR], "/data");
    assert_true(config.number[CONFIG_MEMORY_LIMIT] == UINT64_C(1) << 30);
    config_fini(&config);
}

static void a_misspelt_variable_is_an_error(void **state) {
    const char *const environment[] = {"BAROGRAPH_MEMORY_LIMITS=1G", NULL};
    struct config config = fresh();
    struct err err = {0};
    assert_int_equal(config_load_environment(&config, environment, &err), RC_INVALID);
    assert_string_equal(err.message, "environment variable BAROGRAPH_MEMORY_LIMITS: no such option "
                                     "(`barograph help serve` lists all)");
    config_fini(&config);
}

static void the_variables_of_a_kubernetes_service_are_no_options(void **state) {
    const char *const environment[] = {"BAROGRAPH_SERVICE_HOST=10.0.0.1",
                                       "BAROGRAPH_SERVICE_PORT_HTTP=4242",
                                       "BAROGRAPH_PORT=tcp://10.0.0.1:4242",
                                       "BAROGRAPH_PORT_4242_TCP_PROTO=tcp",
                                       "BAROGRAPH_MEMORY_SERVICE_HOST=10.0.0.2",
                                       "BAROGRAPH_MEMORY_PORT=tcp://10.0.0.2:4242",
                                       "BAROGRAPH_MEMORY_SERVICE_PORT=4242",
                                       "BAROGRAPH_MEMORY_PORT_4242_TCP_ADDR=10.0.0.2",
                                       NULL};
    struct config config = fresh();
    struct err err = {0};
    assert_int_equal(config_load_environment(&config, environment, &err), RC_OK);
    assert_int_equal(config.number[CONFIG_PORT], 4242);
    config_fini(&config);
}

static void addresses_may_name_variables(void **state) {
    static const struct {
        const char *text, *expanded; /* NULL: an error */
    } cases[] = {
        {"0.0.0.0", "0.0.0.0"},
        {"${TEST_SERVICE_HOST}", "10.1.2.3"},
        {"${TEST_SERVICE_HOST}:${TEST_SERVICE_PORT}", "10.1.2.3:4711"},
        {"a${TEST_SERVICE_PORT}b", "a4711b"},
        {"${TEST_NO_SUCH_HOST}", NULL},
        {"$TEST_SERVICE_HOST", NULL},
        {"${TEST_SERVICE_HOST", NULL},
        {"${}", NULL},
    };
    assert_int_equal(setenv("TEST_SERVICE_HOST", "10.1.2.3", 1), 0);
    assert_int_equal(setenv("TEST_SERVICE_PORT", "4711", 1), 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config config = fresh();
        struct err err = {0};
        enum rc rc = config_set(&config, STR("self.forward"), str_of(cases[i].text), &err);
        assert_int_equal(rc, cases[i].expanded == NULL ? RC_INVALID : RC_OK);
        if (cases[i].expanded != NULL)
            assert_string_equal(config.text[CONFIG_SELF_FORWARD], cases[i].expanded);
        else
            assert_non_null(strstr(err.message, "self.forward: "));
        config_fini(&config);
    }
}

static void what_spans_keys_is_checked(void **state) {
    static const struct {
        const char *key, *value;
    } cases[] = {{"tsd.network.port", "70000"},
                 {"tsd.mode", "rx"},
                 {"tsd.http.request.cors_domains", "*,a.example"},
                 {"store.shards", "0"},
                 {"self.forward", "host:0"},
                 {"tsd.storage.max_tags", "33"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config config = fresh();
        struct err err = {0};
        assert_int_equal(config_set(&config, str_of(cases[i].key), str_of(cases[i].value), &err),
                         RC_OK);
        assert_int_equal(config_check(&config, &err), RC_INVALID);
        config_fini(&config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_valid),
        cmocka_unit_test(values_must_fit_their_key),
        cmocka_unit_test(an_opentsdb_file_is_read_as_it_is),
        cmocka_unit_test(an_error_in_a_file_names_the_line),
        cmocka_unit_test(the_environment_sets_every_key),
        cmocka_unit_test(a_misspelt_variable_is_an_error),
        cmocka_unit_test(the_variables_of_a_kubernetes_service_are_no_options),
        cmocka_unit_test(addresses_may_name_variables),
        cmocka_unit_test(what_spans_keys_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
