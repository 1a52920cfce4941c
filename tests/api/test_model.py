"""The server against the naive model: random data, random queries, every number compared.

The data reach the server in the ways data do: in any order, some written over, a part before the server
is stopped or killed and the rest after, so that answers come from segments, logs and heads together.
"""
import json
import math
import os
import random
import urllib.parse
import http.client


import model

B = 1356998400
COMPARISONS = int(os.environ.get("MODEL_COMPARISONS", "10500"))
SEED = int(os.environ.get("MODEL_SEED", "20130101"))
FUNCTIONS = [a for a in model.AGGREGATORS if a != "none"]


def random_value(rng, kind):
    if kind == "ints":
        return rng.randint(-1000, 1000)
    if kind == "big":
        return rng.randint(-10**12, 10**12)
    if kind == "decimals":
        return round(rng.uniform(-100, 100), 2)
    if kind == "doubles":
        return rng.uniform(-1, 1) * 10 ** rng.randint(-3, 6)
    if kind == "extreme":
        return rng.choice([2**63 - 1, -2**63, 0, -1, rng.randint(-2**63, 2**63 - 1)])
    if kind == "seldom":
        return round(rng.uniform(-9, 9), 1) if rng.random() < 0.03 else rng.randint(-9, 9)
    return rng.choice([rng.randint(-50, 50), round(rng.uniform(-50, 50), 1)])


def random_series(rng):
    """Up to six series over up to three hours, regular or not, some in milliseconds; now and then so many
    that all threads share a group, or so many points that they fill several vectors."""
    out = []
    kind = rng.choice(["ints", "ints", "big", "decimals", "doubles", "mixed", "seldom", "extreme"])
    step = rng.choice([10, 15, 30, 60, 60])
    hours = rng.choice([0.1, 0.5, 1, 2.5])
    count, most = rng.randint(1, 6), 400
    if rng.random() < 0.02:
        count, hours, step = 300, 0.1, 60
    elif rng.random() < 0.06:
        count, most, hours, step = rng.randint(1, 2), 3000, 2.5, rng.choice([3, 5])
    for number in range(count):
        offset = rng.choice([0, 0, 0, rng.randint(0, step - 1)])
        start = B + rng.choice([0, 0, rng.randint(0, 1800)]) + offset
        times = range(start, int(B + 3600 * hours), step)
        times = [t for t in times if rng.random() < rng.choice([1, 1, 0.8, 0.3])][:rng.choice([1, 3, 40, most, most])]
        milliseconds = [t * 1000 + (rng.randint(0, 999) if rng.random() < 0.1 else 0) for t in times]
        if milliseconds:
            tags = {"host": f"h{number}", "dc": rng.choice(["lga", "dal"])}
            if rng.random() < 0.2:
                tags["rack"] = rng.choice("abc")
            out.append((tags, {t: random_value(rng, kind) for t in milliseconds}))
    return out


def random_query(rng):
    spec = None
    if rng.random() < 0.6:
        interval = rng.choice([(10000, "10s"), (60000, "1m"), (60000, "1m"), (300000, "5m"), (1000000, "1000s"),
                               (3600000, "1h"), ("all", "0all"), (7500, "7500ms"), (7200000, "2h"), (86400000, "1d")])
        spec = (interval, rng.choice(FUNCTIONS), rng.choice(["none", "none", "nan", "zero", "null"]))
    rate = None
    if rng.random() < 0.25 and not (spec and spec[0][0] == "all"):
        rate = rng.choice([(False, model.INT_MAX, 0, False), (True, model.INT_MAX, 0, True),
                           (True, 10**13, 0, False), (True, 10**13, 50, False)])
    start = B * 1000 + rng.choice([0, rng.randint(-1800, 3600) * 1000, rng.randint(0, 3600000)])
    end = start + rng.choice([600, 3600, 10000]) * 1000 + rng.choice([0, rng.randint(0, 999)])
    if rng.random() < 0.2:  # about the hour, where the window changes
        end = max(end // 3600000 * 3600000 + rng.choice([-1000, -1, 0, 1, 3599000]), start + 1000)
    end_in_ms = end % 1000 != 0 or rng.random() < 0.5
    return {"name": rng.choice(model.AGGREGATORS), "spec": spec, "rate": rate, "start_ms": start, "end_ms": end,
            "end_in_ms": end_in_ms, "group_by": rng.choice([(), (), ("dc",), ("dc", "host"), ("rack",)])}


def expression(metric, query):
    parts = [query["name"]]
    if query["spec"]:
        (_, text), function, fill = query["spec"]
        parts.append(f"{text}-{function}" + ("" if fill == "none" else f"-{fill}"))
    if query["rate"]:
        counter, maximum, reset, drop = query["rate"]
        if not counter:
            parts.append("rate")
        elif drop:
            parts.append("rate{dropcounter}")
        else:
            parts.append("rate{counter,%d,%d}" % (maximum, reset))
    tags = ",".join(f"{k}=*" for k in query["group_by"])
    parts.append(metric + ("{%s}" % tags if tags else ""))
    return ":".join(parts)


def close(actual, expected):
    if actual is None or actual == "NaN":
        return isinstance(expected, float) and math.isnan(expected)
    if type(actual) is not type(expected):
        return False
    if isinstance(expected, int):
        return actual == expected
    return math.isclose(actual, expected, rel_tol=1e-9, abs_tol=1e-9)


def dps_of(result):
    return [(int(t), v) for t, v in result["dps"]]


def compare(results, expected, query):
    """None, or what differs."""
    if len(results) != len(expected):
        return f"{len(results)} groups instead of {len(expected)}"
    left = dict(expected)
    for result in results:
        if query["name"] == "none":
            candidates = [k for k in left if len(left[k]) == len(result["dps"]) and all(
                t == et and close(v, ev) for (t, v), (et, ev) in zip(dps_of(result), left[k]))]
            if not candidates:
                return f"no series gives {dps_of(result)[:5]}"
            del left[candidates[0]]
            continue
        want = left.pop(tuple(result["tags"][k] for k in query["group_by"]), None)
        got = dps_of(result)
        if want is None:
            return f"unexpected group {result['tags']}"
        if [t for t, _ in got] != [t for t, _ in want]:
            return f"times {[t for t, _ in got][:8]}... instead of {[t for t, _ in want][:8]}..."
        for (t, v), (_, w) in zip(got, want):
            if not close(v, w):
                return f"at {t}: {v!r} instead of {w!r}"
    return None


def infinite(expected):
    return any(isinstance(v, float) and math.isinf(v) for points in expected.values() for _, v in points)


class Metric:
    """What a metric of the test holds in the end, and what of it is still to be put."""

    def __init__(self, name, series):
        self.name = name
        self.series = series
        self.points = [(name, t, v, tags) for tags, values in series for t, v in values.items()]
        self.is_small = len(self.points) < 2500
        # Sums of such values as doubles depend on the order of adding, which is nobody's promise.
        self.as_integers = any(isinstance(v, int) and abs(v) > 2**53 for _, _, v, _ in self.points)

    def query(self, rng):
        query = random_query(rng)
        return {**query, "spec": None, "rate": None} if self.as_integers else query

    def begin(self, server, rng, uids):
        """The first point of each series fixes the UIDs of its tags, in order of their keys; the order of
        UIDs is the order of series in a group. A part of the points is put, some with values that will not
        last."""
        for tags, _ in self.series:
            for key in sorted(tags):
                uids.setdefault(key, len(uids))
                uids.setdefault((tags[key],), len(uids))
        other = [(self.name, min(values), rng.choice([7, 7.5]), tags) for tags, values in self.series]
        server.put(other, "summary")
        other = [(m, t, rng.choice([-1, 0.25]), tags) for m, t, _, tags in rng.sample(self.points, len(self.points) // 5)]
        server.put(other, "summary")
        order = rng.random()
        if order < 0.5:
            rng.shuffle(self.points)
        elif order < 0.75:
            self.points.sort(key=lambda point: point[1])
        self.put(server, rng.choice([len(self.points), rng.randint(0, len(self.points))]))
        self.series.sort(key=lambda s: sorted((uids[k], uids[(v,)]) for k, v in s[0].items()))

    def put(self, server, count):
        server.put(self.points[:count], "summary")
        del self.points[:count]


def compare_once(connection, metric, query):
    """False if the answer would be infinite, which is an error."""
    expected = model.answer(
        metric.series, query["name"], query["start_ms"], query["end_ms"],
        query["spec"] and (query["spec"][0][0], *query["spec"][1:]), query["rate"], query["group_by"],
        query["end_in_ms"])
    if infinite(expected):
        return False
    end = query["end_ms"] if query["end_in_ms"] else query["end_ms"] // 1000
    target = "/api/query?" + urllib.parse.urlencode(
        {"start": query["start_ms"], "end": end, "m": expression(metric.name, query)}) + "&ms&arrays"
    connection.request("GET", target)
    reply = connection.getresponse()
    body = reply.read()
    assert reply.status == 200, (SEED, target, body[:500])
    difference = compare(json.loads(body), expected, query)
    assert difference is None, f"seed {SEED}, {target}: {difference}\n{metric.series}"
    return True


def interrupt(server, rng):
    """Nothing, or a stop, which leaves segments, or a kill, which leaves the log."""
    what = rng.random()
    if what < 0.35:
        server.stop()
    elif what < 0.5:
        server.kill()
    if server.process is None:
        server.start()


def test_random_queries_give_what_the_model_gives(make_server):
    rng = random.Random(SEED)
    server = make_server("store.checkpoint_interval=2s")
    uids = {}
    compared = number = 0
    while compared < COMPARISONS:
        metrics = []
        for _ in range(4):
            series = random_series(rng)
            number += 1
            if series:
                metrics.append(Metric(f"model.m{number}", series))
                metrics[-1].begin(server, rng, uids)
        interrupt(server, rng)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for metric in metrics:
            metric.put(server, len(metric.points))
            compared += sum(compare_once(connection, metric, metric.query(rng))
                            for _ in range(60 if metric.is_small else 15))
        connection.close()
    print(f"{compared} comparisons with {number} metrics")
