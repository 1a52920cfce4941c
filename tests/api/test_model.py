"""The server against the naive model: random data, random queries, every number compared."""
import json
import math
import os
import random
import urllib.parse
import http.client

import pytest

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
    return rng.choice([rng.randint(-50, 50), round(rng.uniform(-50, 50), 1)])


def random_series(rng):
    """Up to six series over up to three hours, regular or not, some in milliseconds."""
    out = []
    kind = rng.choice(["ints", "ints", "big", "decimals", "doubles", "mixed"])
    step = rng.choice([10, 15, 30, 60, 60])
    hours = rng.choice([0.1, 0.5, 1, 2.5])
    for number in range(rng.randint(1, 6)):
        offset = rng.choice([0, 0, 0, rng.randint(0, step - 1)])
        start = B + rng.choice([0, 0, rng.randint(0, 1800)]) + offset
        times = range(start, int(B + 3600 * hours), step)
        times = [t for t in times if rng.random() < rng.choice([1, 1, 0.8, 0.3])][:rng.choice([1, 3, 40, 400])]
        milliseconds = [t * 1000 + (rng.randint(0, 999) if rng.random() < 0.1 else 0) for t in times]
        if milliseconds:
            tags = {"host": f"h{number}", "dc": rng.choice(["lga", "dal"])}
            out.append((tags, {t: random_value(rng, kind) for t in milliseconds}))
    return out


def random_query(rng):
    spec = None
    if rng.random() < 0.6:
        interval = rng.choice([(10000, "10s"), (60000, "1m"), (60000, "1m"), (300000, "5m"), (1000000, "1000s"),
                               (3600000, "1h"), ("all", "0all"), (7500, "7500ms")])
        spec = (interval, rng.choice(FUNCTIONS), rng.choice(["none", "none", "nan", "zero", "null"]))
    rate = None
    if rng.random() < 0.25 and not (spec and spec[0][0] == "all"):
        rate = rng.choice([(False, model.INT_MAX, 0, False), (True, model.INT_MAX, 0, True),
                           (True, 10**13, 0, False), (True, 10**13, 50, False)])
    start = B * 1000 + rng.choice([0, rng.randint(-1800, 3600) * 1000, rng.randint(0, 3600000)])
    end = start + rng.choice([600, 3600, 10000]) * 1000 + rng.choice([0, rng.randint(0, 999)])
    return {"name": rng.choice(model.AGGREGATORS), "spec": spec, "rate": rate, "start_ms": start, "end_ms": end,
            "group_by": rng.choice([(), (), ("dc",), ("dc", "host")])}


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


def test_random_queries_give_what_the_model_gives(server):
    rng = random.Random(SEED)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    keys, values_seen = {}, {}
    compared = rounds = 0
    while compared < COMPARISONS:
        rounds += 1
        metric = f"model.m{rounds}"
        series = random_series(rng)
        if not series:
            continue
        points = [(metric, t, v, tags) for tags, values in series for t, v in values.items()]
        rng.shuffle(points)
        # The first point of each series fixes the UIDs of its tags, in order of their keys; the order of UIDs
        # is the order of series in a group.
        for tags, _ in series:
            for key in sorted(tags):
                keys.setdefault(key, len(keys))
                values_seen.setdefault(tags[key], len(values_seen))
        heads = [(metric, min(values), values[min(values)], tags) for tags, values in series]
        server.put(heads, "summary")
        server.put(points, "summary")
        series.sort(key=lambda s: sorted((keys[k], values_seen[v]) for k, v in s[0].items()))
        for _ in range(60):
            query = random_query(rng)
            target = "/api/query?" + urllib.parse.urlencode(
                {"start": query["start_ms"], "end": query["end_ms"], "m": expression(metric, query)}) + "&ms&arrays"
            connection.request("GET", target)
            reply = connection.getresponse()
            body = reply.read()
            spec = query["spec"] and (query["spec"][0][0], *query["spec"][1:])
            expected = model.answer(series, query["name"], query["start_ms"], query["end_ms"], spec, query["rate"],
                                    query["group_by"])
            if infinite(expected):
                continue
            assert reply.status == 200, (SEED, target, body[:500])
            difference = compare(json.loads(body), expected, query)
            assert difference is None, f"seed {SEED}, round {rounds}, {target}: {difference}\n{series}"
            compared += 1
    print(f"{compared} comparisons in {rounds} rounds")
