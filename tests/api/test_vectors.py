"""The worked vectors of OpenTSDB's behaviour, through the HTTP API.

Times are seconds after B unless noted. A vector's `dps` must be equal number by number, integers as
integers and doubles as doubles.
"""
import math

import pytest

pytestmark = pytest.mark.sanitized

B = 1356998400
counter = [0]


def fresh(name):
    counter[0] += 1
    return f"v.{name}.{counter[0]}"


def store(server, metric, *series):
    """Each series: (tags, {offset: value}); returns nothing, all points acknowledged."""
    server.put([(metric, B + offset if isinstance(offset, int) else int(B * 1000 + offset * 1000), value, tags)
                for tags, points in series for offset, value in points.items()])


def ask(server, expression, start=B, end=B + 86400, **flags):
    return server.query(start, end, expression, **flags)


def dps(result):
    """The points of a single result, by offset to B."""
    assert len(result) == 1, result
    return {int(t) - B: v for t, v in result[0]["dps"].items()}


def same(actual, expected):
    """Equal, and of the same kind: an int is not a float."""
    assert list(actual) == list(expected), (actual, expected)
    for at, value in expected.items():
        assert type(actual[at]) is type(value), (at, actual[at], value)
        if isinstance(value, float):
            assert math.isclose(actual[at], value, rel_tol=1e-12), (at, actual[at], value)
        else:
            assert actual[at] == value, (at, actual[at], value)


V1 = [({"s": "1"}, {0: 40, 10: 50, 30: 70}), ({"s": "2"}, {10: 37, 20: 48})]
V1_EXPECTED = {
    "sum": [40, 87, 108, 70], "avg": [40, 43, 54, 70], "min": [40, 37, 48, 70], "max": [40, 50, 60, 70],
    "zimsum": [40, 87, 48, 70], "mimmin": [40, 37, 48, 70], "mimmax": [40, 50, 48, 70],
    "count": [1, 2, 2, 1], "dev": [0, 6, 6, 0], "diff": [0, -13, -12, 0], "mult": [40, 1850, 2880, 70],
    "median": [40, 50, 60, 70], "squareSum": [1600, 3869, 2304, 4900], "first": [40, 50, 0, 70],
    "last": [40, 37, 48, 70],
}


@pytest.mark.parametrize("aggregator", V1_EXPECTED)
def test_v1_interpolation_of_every_aggregator(server, aggregator):
    metric = fresh("v1")
    store(server, metric, *V1)
    same(dps(ask(server, f"{aggregator}:{metric}")), dict(zip([0, 10, 20, 30], V1_EXPECTED[aggregator])))


def test_v2_pfsum_holds_the_last_value(server):
    metric = fresh("v2")
    store(server, metric, ({"s": "1"}, {0: 40, 30: 70}), ({"s": "2"}, {10: 37, 20: 48}))
    same(dps(ask(server, f"pfsum:{metric}")), {0: 40, 10: 77, 20: 88, 30: 70})


def f1(server, metric, offset=0):
    store(server, metric, ({"host": "web01"}, {30 * i: i for i in range(1, 301)}),
          ({"host": "web02"}, {30 * i + offset: 301 - i for i in range(1, 301)}))


@pytest.mark.parametrize("aggregator", ["sum", "zimsum"])
def test_v3_aligned_series_sum_to_a_constant(server, aggregator):
    metric = fresh("v3")
    f1(server, metric)
    result = ask(server, f"{aggregator}:{metric}")
    same(dps(result), {30 * i: 301 for i in range(1, 301)})
    assert result[0]["aggregateTags"] == ["host"] and result[0]["tags"] == {}


def test_v4_zimsum_of_offset_series_alternates(server):
    metric = fresh("v4")
    f1(server, metric, 15)
    expected = {}
    for i in range(1, 301):
        expected[30 * i] = i
        expected[30 * i + 15] = 301 - i
    same(dps(ask(server, f"zimsum:{metric}")), expected)


def test_v5_sum_of_offset_series_interpolates(server):
    metric = fresh("v5")
    f1(server, metric, 15)
    times = [30 * i + half for i in range(1, 301) for half in (0, 15)]
    # Between two points of its own each series is half way, truncated: one rises, the other falls.
    same(dps(ask(server, f"sum:{metric}")), dict(zip(times, [1] + [301, 302] * 299 + [1])))
    same(dps(ask(server, f"avg:{metric}")), dict(zip(times, [1] + [150, 151] * 299 + [1])))
    same(dps(ask(server, f"count:{metric}")), dict(zip(times, [1] + [2] * 598 + [1])))


def test_v6_missing_points(server):
    metric = fresh("v6")
    first = {10 * i: i + 1 for i in range(300) if i % 3 != 0}
    second = {10 * i: 300 - i for i in range(300) if (300 - i) % 2 == 1}
    store(server, metric, ({"host": "web01"}, first), ({"host": "web02"}, second))
    there = {t: [s[t] for s in (first, second) if t in s] for t in sorted(first.keys() | second.keys())}
    assert len(there) == 250
    for aggregator, function, begin in [
            ("zimsum", sum, [301, 3, 297, 5, 301, 301, 9]), ("mimmax", max, [299, 3, 297, 5, 295, 293, 9]),
            ("mimmin", min, [2, 3, 297, 5, 6, 8, 9])]:
        result = dps(ask(server, f"{aggregator}:{metric}"))
        same(result, {t: function(values) for t, values in there.items()})
        assert list(result.values())[:7] == begin


def test_v7_downsample_and_rate(server):
    metric = fresh("v7")
    store(server, metric, ({"host": "web01"}, {30 * i: i for i in range(1, 301)}))
    result = dps(ask(server, f"sum:1m-avg:{metric}"))
    expected = {0: 1.0, **{60 * i: 2 * i + 0.5 for i in range(1, 150)}, 9000: 300.0}
    same(result, expected)
    same(dps(ask(server, f"sum:1m-avg:rate:{metric}")),
         {60: 0.025, **{60 * i: 2 / 60 for i in range(2, 150)}, 9000: 0.025})


def test_v8_one_float_makes_its_neighbourhood_double(server):
    metric = fresh("v8")
    store(server, metric, ({"s": "1"}, {0: 1, 10: 2, 20: 3.5, 30: 4, 40: 5}))
    same(dps(ask(server, f"sum:{metric}")), {0: 1, 10: 2.0, 20: 3.5, 30: 4, 40: 5})


def test_v9_all_in_one_bucket(server):
    metric = fresh("v9")
    store(server, metric, ({"host": "web01"}, {30 * i: i for i in range(1, 301)}))
    same(dps(ask(server, f"sum:0all-sum:{metric}", B, 1357041600)), {0: 45150.0})
    same(dps(ask(server, f"sum:0all-sum:{metric}", 1356998500, 1356998600)), {100: 15.0})


def test_v10_values_before_the_start_take_part(server):
    metric = fresh("v10")
    store(server, metric, ({"s": "1"}, {0: 0, 60: 60}), ({"s": "2"}, {30: 100, 90: 100}))
    same(dps(ask(server, f"sum:{metric}", B + 20)), {30: 130, 60: 160, 90: 100})
    metric = fresh("v10b")
    store(server, metric, ({"s": "1"}, {3540: 10, 3660: 30}), ({"s": "2"}, {3600: 100}))
    same(dps(ask(server, f"sum:{metric}", B + 3600, B + 3650)), {3600: 100})
    same(dps(ask(server, f"sum:{metric}", B + 3590, B + 3650)), {3600: 120})


@pytest.mark.parametrize("option, expected", [
    ("rate{counter,10000,35}", {60: 1.0, 90: 0.0, 120: 1.0}),
    ("rate{dropcounter,10000,35}", {60: 1.0, 120: 1.0}),
    ("rate{counter,100}", {60: 1.0, 90: 50 / 30, 120: 1.0}),
    ("rate", {60: 1.0, 90: -50 / 30, 120: 1.0}),
])
def test_v11_counters(server, option, expected):
    metric = fresh("v11")
    store(server, metric, ({"s": "1"}, {30: 45, 60: 75, 90: 25, 120: 55}))
    same(dps(ask(server, f"sum:{option}:{metric}")), expected)


def test_v12_the_pseudo_rate_before_the_first_rate(server):
    metric = fresh("v12")
    store(server, metric, ({"s": "c"}, {30 * k: 10**12 + 3000 * k for k in range(4)}),
          ({"s": "d"}, {60 + 30 * k: 2 * 10**12 + 6000 * k for k in range(3)}))
    same(dps(ask(server, f"sum:rate:{metric}")),
         {30: 1573.8410241084578, 60: 1573.8410241084578, 90: 300.0, 120: 200.0})


def test_v13_rates_over_irregular_steps(server):
    metric = fresh("v13")
    store(server, metric, ({"s": "1"}, {0: 40, 2000: 50, 3600: 40, 3605: 50, 7200: 40, 9200: 50}))
    same(dps(ask(server, f"sum:rate:{metric}")),
         {2000: 0.005, 3600: -0.00625, 3605: 2.0, 7200: -10 / 3595, 9200: 0.005})
    same(dps(ask(server, "sum:rate{counter,70}:" + metric)),
         {2000: 0.005, 3600: 0.0375, 3605: 2.0, 7200: 60 / 3595, 9200: 0.005})


def test_v14_counters_wrap_at_64_bits(server):
    metric = fresh("v14")
    store(server, metric, ({"s": "1"}, {30: 2**63 - 56, 60: 2**63 - 26, 90: 5}))
    same(dps(ask(server, "sum:rate{counter}:" + metric)), {60: 1.0, 90: 1.0})


def test_v15_buckets_are_aligned_to_the_epoch(server):
    metric = fresh("v15")
    store(server, metric, ({"s": "1"}, {0: 40, 2000: 50, 3600: 40, 3605: 50, 7200: 40, 9200: 50}))
    same(dps(ask(server, f"sum:1000s-avg:{metric}")), {1600: 50.0, 3600: 45.0, 6600: 40.0, 8600: 50.0})
    same(dps(ask(server, f"sum:1000s-avg:{metric}", B - 400)),
         {-400: 40.0, 1600: 50.0, 3600: 45.0, 6600: 40.0, 8600: 50.0})


def test_v16_sums_of_buckets(server):
    metric = fresh("v16")
    store(server, metric, ({"s": "1"}, {5: 1, 15: 2, 25: 4, 35: 8, 45: 16, 55: 32}))
    same(dps(ask(server, f"sum:15s-sum:{metric}")), {0: 1.0, 15: 6.0, 30: 8.0, 45: 48.0})
    same(dps(ask(server, f"sum:0all-sum:{metric}", B + 15, B + 45)), {15: 14.0})


@pytest.mark.parametrize("fill, empty", [("nan", "NaN"), ("null", None), ("zero", 0.0)])
def test_v17_fills_in_milliseconds(server, fill, empty):
    metric = fresh("v17")
    t0 = B * 1000 + 500
    server.put([(metric, t0 + 25 * k, 1, {"s": "1"}) for k in (4, 5, 7, 12, 15, 24, 25, 26, 27)])
    result = server.query(t0, t0 + 800, f"sum:100ms-sum-{fill}:{metric}", ms=True)
    values = {int(t) - t0: v for t, v in result[0]["dps"].items()}
    e = empty
    assert values == dict(zip(range(0, 900, 100), [e, 3.0, e, 2.0, e, e, 4.0, e, e]))


DAY = 86400
DST = 1450137600


@pytest.mark.parametrize("zone, first, expected", [
    ("UTC", DST, [3.0, 7.0, 11.0]),
    ("Pacific/Funafuti", 1450094400, [1.0, 5.0, 9.0, 6.0]),
    ("Pacific/Fiji", 1450090800, [1.0, 2.0, 12.0, 6.0]),
    ("Asia/Kabul", 1450121400, [1.0, 5.0, 15.0]),
])
def test_v18_calendar_days_in_time_zones(server, zone, first, expected):
    metric = fresh("v18")
    points = {0: 1, 86399: 2, 126001: 3, 172799: 4, 172800: 5, 242999: 6}
    server.put([(metric, DST + t, v, {"s": "1"}) for t, v in points.items()])
    reply = server.post("/api/query", {
        "start": first, "end": DST + 3 * DAY, "timezone": zone,
        "queries": [{"aggregator": "sum", "metric": metric, "downsample": "1dc-sum"}]})
    assert reply.status == 200, reply
    result = reply.json()[0]["dps"]
    assert result == {str(first + i * DAY): value for i, value in enumerate(expected)}


def test_v19_a_local_day_begins_before_the_data(server):
    metric = fresh("v19")
    store(server, metric, ({"s": "1"}, {5: 1, 15: 2, 25: 4, 35: 8, 45: 16, 55: 32}))
    reply = server.post("/api/query", {
        "start": 1356937200, "end": B + 60, "timezone": "America/Denver", "useCalendar": True,
        "queries": [{"aggregator": "sum", "metric": metric, "downsample": "1d-sum"}]})
    assert reply.json()[0]["dps"] == {"1356937200": 63.0}


def test_v20_calendar_months(server):
    metric = fresh("v20")
    times = [1448928000, 1451559600, 1451606400, 1454284800, 1456704000, 1456772400]
    server.put([(metric, t, v + 1, {"s": "1"}) for v, t in enumerate(times)])
    result = server.query(1448928000, 1456790000, f"sum:1nc-sum:{metric}")
    assert result[0]["dps"] == {"1448928000": 3.0, "1451606400": 3.0, "1454284800": 15.0}


V21_INTS = {"p50": 25, "p75": 37, "p95": 40, "ep50r3": 20, "ep50r7": 25, "ep75r3": 30, "ep75r7": 32,
            "median": 30, "dev": 11, "avg": 25, "diff": 30}
V21_FLOATS = {"p75": 37.5, "ep50r3": 25.0, "ep75r3": 37.5, "ep75r7": 37.5, "dev": 11.180339887498949}


@pytest.mark.parametrize("aggregator", V21_INTS)
def test_v21_statistics_of_integers(server, aggregator):
    metric = fresh("v21")
    store(server, metric, *[({"s": str(i)}, {0: 10 * i}) for i in range(1, 5)])
    same(dps(ask(server, f"{aggregator}:{metric}")), {0: V21_INTS[aggregator]})


@pytest.mark.parametrize("aggregator", V21_FLOATS)
def test_v21_statistics_of_doubles(server, aggregator):
    metric = fresh("v21f")
    store(server, metric, *[({"s": str(i)}, {0: 10.0 * i}) for i in range(1, 5)])
    same(dps(ask(server, f"{aggregator}:{metric}")), {0: V21_FLOATS[aggregator]})


@pytest.mark.parametrize("kind", ["p{}", "ep{}r3", "ep{}r7"])
def test_v22_percentiles_of_a_thousand_series(server, kind):
    metric = "v.v22"
    store(server, metric, *[({"s": str(i)}, {0: i}) for i in range(1, 1001)])
    for percentile, expected in [(50, 500), (75, 750), (90, 900), (95, 950), (99, 990), (999, 999)]:
        same(dps(ask(server, f"{kind.format(percentile)}:{metric}")), {0: expected})


@pytest.mark.parametrize("aggregator, values, expected", [
    ("median", [5, 2, -1, 400, 3], 3), ("median", [5, 2, -1, 400, 3, -42], 3), ("median", [42], 42),
    ("squareSum", [1, 2], 5), ("dev", [3, 3, 3], 0), ("dev", [1, 2], 0), ("dev", [1.0, 2.0], 0.5),
    ("avg", [-1, -2], -1),
])
def test_v23_small_sets(server, aggregator, values, expected):
    metric = fresh("v23")
    store(server, metric, *[({"s": str(i)}, {0: v}) for i, v in enumerate(values)])
    same(dps(ask(server, f"{aggregator}:{metric}")), {0: expected})


def test_v24_count_counts_filled_slots(server):
    metric = fresh("v24")
    store(server, metric, ({"extra": "f"}, {0: 42, 30: 40}), ({"extra": "t"}, {15: 100, 45: 200}))
    same(dps(ask(server, f"count:{metric}")), {0: 1, 15: 2, 30: 2, 45: 1})
    same(dps(ask(server, f"sum:{metric}")), {0: 42, 15: 141, 30: 190, 45: 200})


def test_v25_empty_minutes_are_nan(server):
    metric = fresh("v25")
    store(server, metric, ({"s": "1"}, {0: 1, 120: 5}))
    assert dps(ask(server, f"sum:1m-sum-nan:{metric}", B, B + 240)) == {
        0: 1.0, 60: "NaN", 120: 5.0, 180: "NaN", 240: "NaN"}


def test_v26_nan_is_a_value_and_absence_is_interpolated(server):
    metric = fresh("v26")
    store(server, metric, ({"s": "1"}, {0: 1.0, 60: 2.0, 120: 3.0}), ({"s": "2"}, {0: 10.0, 120: 30.0}))
    same(dps(ask(server, f"sum:1m-sum:{metric}", B, B + 120)), {0: 11.0, 60: 22.0, 120: 33.0})
    same(dps(ask(server, f"sum:1m-sum-nan:{metric}", B, B + 120)), {0: 11.0, 60: 2.0, 120: 33.0})


def test_v27_edges_of_downsampling(server):
    metric = fresh("v27")
    store(server, metric, ({"host": "web01"}, {30 * i: i for i in range(1, 301)}))
    same(dps(ask(server, f"sum:1m-sum:{metric}", B + 90, B + 270)), {120: 9.0, 180: 13.0, 240: 17.0})


@pytest.mark.parametrize("sign", [1, -1])
def test_v28_integer_interpolation_truncates_toward_zero(server, sign):
    metric = fresh("v28")
    store(server, metric, ({"s": "1"}, {0: 0, 3: 10 * sign}), ({"s": "2"}, {0: 0, 1: 0, 2: 0, 3: 0}))
    same(dps(ask(server, f"sum:{metric}")), {0: 0, 1: 3 * sign, 2: 6 * sign, 3: 10 * sign})


def test_v31_filters(server):
    metric = fresh("v31")
    rows = [({"host": "web01", "dc": "dal"}, 3), ({"host": "web02", "dc": "dal"}, 2),
            ({"host": "web03", "dc": "dal"}, 10), ({"host": "web01"}, 1),
            ({"host": "web01", "owner": "jdoe"}, 4), ({"host": "web01", "dc": "lax"}, 8),
            ({"host": "web02", "dc": "lax"}, 4)]
    store(server, metric, *[(tags, {0: value}) for tags, value in rows])

    def values(expression):
        return [r["dps"][str(B)] for r in ask(server, expression)]

    result = ask(server, f"sum:{metric}{{host=web01}}")
    assert result[0]["dps"] == {str(B): 16}
    assert result[0]["tags"] == {"host": "web01", "owner": "jdoe"} and result[0]["aggregateTags"] == ["dc"]
    assert values(f"sum:{metric}{{host=web01,dc=dal}}") == [3]
    assert values(f"sum:{metric}{{host=*,dc=dal}}") == [3, 2, 10]
    assert [(r["tags"], r["aggregateTags"]) for r in ask(server, f"sum:{metric}{{dc=dal|lax}}")] == [
        ({"dc": "dal"}, ["host"]), ({"dc": "lax"}, ["host"])]
    assert values(f"sum:{metric}{{dc=dal|lax}}") == [15, 12]
    assert values(f"sum:explicit_tags:{metric}{{host=web01}}") == [1]
    assert values(f"sum:explicit_tags:{metric}{{host=*}}{{dc=*}}") == [11, 6, 10]
