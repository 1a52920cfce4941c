"""/api/put: statuses, bodies and error texts, and that good points of a bad request are stored."""
import gzip
import json
import re
import socket
import time
import zlib

import pytest

pytestmark = pytest.mark.sanitized

T = 1365465600
counter = [0]


def fresh():
    counter[0] += 1
    return f"put.m{counter[0]}"


def point(**changes):
    body = {"metric": fresh(), "timestamp": T, "value": 42, "tags": {"h": "a"}}
    body.update(changes)
    return {k: v for k, v in body.items() if v is not ...}


def read(server, metric):
    return server.query(T - 3600, T + 3600, f"sum:{metric}")


def test_success_without_flags_is_204_and_empty(server):
    reply = server.post("/api/put", point())
    assert (reply.status, reply.body) == (204, b"")


def test_summary_and_details(server):
    assert server.post("/api/put?summary", point()).json() == {"success": 1, "failed": 0}
    assert server.post("/api/put?details", point()).json() == {"success": 1, "failed": 0, "errors": []}
    assert server.post("/api/put?summary&details=false", point()).json() == {
        "success": 1, "failed": 0, "errors": []}


@pytest.mark.parametrize("value, stored", [
    ("4.2", 4.2), (4.2, 4.2), ("4e1", 40.0), (-5, -5), ("+5", 5), (42, 42), (42.0, 42.0), ("-0", 0), ("1.", 1.0),
    (".5", 0.5), ("1.5f", 1.5), ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -2**63),
])
def test_values_keep_their_kind(server, value, stored):
    p = point(value=value)
    assert server.post("/api/put", p).status == 204
    got = list(read(server, p["metric"])[0]["dps"].values())[0]
    assert (type(got), got) == (type(stored), stored)


@pytest.mark.parametrize("changes, error", [
    ({"value": "NaN"}, "Unable to parse value to a number"),
    ({"value": "notanum"}, "Unable to parse value to a number"),
    ({"value": "42bucks"}, "Unable to parse value to a number"),
    ({"value": 99999999999999999999}, "Unable to parse value to a number"),
    ({"value": ""}, "Empty value"), ({"value": None}, "Empty value"), ({"value": ...}, "Empty value"),
    ({"timestamp": ...}, "Invalid timestamp"), ({"timestamp": 0}, "Invalid timestamp"),
    ({"timestamp": -1}, "Invalid timestamp"),
    ({"metric": ""}, "Metric name was empty"), ({"metric": ...}, "Metric name was empty"),
    ({"tags": {}}, "Missing tags"), ({"tags": ...}, "Missing tags"),
    ({"metric": "a b"}, 'Invalid metric name ("a b"): illegal character:  '),
    ({"tags": {"h!": "a"}}, 'Invalid tag name with value [a] ("h!"): illegal character: !'),
    ({"tags": {"h": "a!"}}, 'Invalid tag value with key [h] ("a!"): illegal character: !'),
])
def test_rejected_points_say_why(server, changes, error):
    reply = server.post("/api/put?details", point(**changes))
    body = reply.json()
    assert (reply.status, body["success"], body["failed"]) == (400, 0, 1)
    assert body["errors"][0]["error"] == error


def test_too_many_tags(server):
    reply = server.post("/api/put?details", point(tags={f"k{i}": "v" for i in range(9)}))
    assert reply.status == 400
    assert reply.json()["errors"][0]["error"].startswith("Too many tags: 9 maximum allowed: 8, tags: {")


def test_details_echo_the_point(server):
    p = point(value="x")
    assert server.post("/api/put?details", p).json() == {
        "success": 0, "failed": 1, "errors": [{"datapoint": {**p, "value": "x"},
                                               "error": "Unable to parse value to a number"}]}


def test_a_bad_point_does_not_keep_the_good_ones_out(server):
    good, bad = point(), point(value="x")
    reply = server.post("/api/put?details", [good, bad, point()])
    assert (reply.status, reply.json()["success"], reply.json()["failed"]) == (400, 2, 1)
    assert read(server, good["metric"])[0]["dps"] == {str(T): 42}


def test_a_bad_point_without_flags_is_one_error(server):
    reply = server.post("/api/put", [point(), point(value="x")])
    assert (reply.status, reply.json()["error"]["code"]) == (400, 400)
    assert reply.json()["error"]["message"] == "One or more data points had errors"
    assert reply.json()["error"]["details"] == \
        'Please see the TSD logs or append "details" to the put request'


@pytest.mark.parametrize("body, message", [
    ("hello", "The JSON must start as an object or an array"), ("", "Missing request content"),
    ("[]", "No datapoints found in content"), ('{"metric":', "Unable to parse the given JSON"),
])
def test_bodies_that_are_no_points(server, body, message):
    reply = server.post("/api/put", body)
    assert (reply.status, reply.json()["error"]["message"]) == (400, message)


def test_json_cut_off_at_every_byte_is_refused_and_stores_nothing(server):
    p = point()
    text = json.dumps([p, point()])
    for n in range(1, len(text)):
        reply = server.post("/api/put?details", text[:n])
        assert reply.status == 400 and "error" in reply.json(), text[:n]
    assert server.get("/api/query", start=T, m="sum:" + p["metric"]).status == 400 or \
        read(server, p["metric"]) == []


def test_bytes_that_are_not_utf8_are_refused(server):
    reply = server.post("/api/put", b'{"metric":"m\xff","timestamp":1,"value":1,"tags":{"h":"a"}}')
    assert reply.status == 400


def test_deep_json_is_refused_or_skipped(server):
    deep = '{"metric":"put.deep","timestamp":1365465600,"value":1,"tags":{"h":"a"},"x":' + "[" * 100000 + "]" * 100000 + "}"
    assert server.post("/api/put", deep).status == 400


def test_a_million_tags_are_refused(server):
    tags = ",".join(f'"k{i}":"v"' for i in range(1000000))
    reply = server.post("/api/put?details",
                        '{"metric":"put.many","timestamp":1365465600,"value":1,"tags":{%s}}' % tags)
    assert reply.status == 400
    assert "Too many tags" in reply.json()["errors"][0]["error"]


def test_unicode_letters_may_stand_in_names(server):
    p = point(tags={"straße": "Zürich", "市": "東京"})
    assert server.post("/api/put", p).status == 204
    assert read(server, p["metric"])[0]["tags"] == p["tags"]


@pytest.mark.parametrize("encoding, encode", [
    ("gzip", gzip.compress), ("deflate", zlib.compress),
    ("deflate", lambda b: zlib.compressobj(wbits=-15).compress(b) or zlib.compress(b)),
])
def test_compressed_bodies(server, encoding, encode):
    p = point()
    reply = server.post("/api/put", encode(json.dumps(p).encode()), {"Content-Encoding": encoding})
    assert reply.status == 204, reply
    assert read(server, p["metric"])[0]["dps"] == {str(T): 42}


def test_a_gzip_body_may_be_several_members_in_a_row(server):
    p, q = point(), point()
    body = gzip.compress(f"[{json.dumps(p)},".encode()) + gzip.compress(f"{json.dumps(q)}]".encode())
    reply = server.post("/api/put?summary", body, {"Content-Encoding": "gzip"})
    assert (reply.status, reply.json()) == (200, {"success": 2, "failed": 0})
    whole = gzip.compress(json.dumps(p).encode())
    for tail in (b"junk", whole[:-3]):
        assert server.post("/api/put", whole + tail, {"Content-Encoding": "gzip"}).status == 400


def test_a_body_that_is_not_gzip_is_refused(server):
    reply = server.post("/api/put", b"not gzip at all", {"Content-Encoding": "gzip"})
    assert reply.status == 400


def test_chunked_and_large_bodies(server):
    metric = fresh()
    body = json.dumps([dict(metric=metric, timestamp=T + i, value=i, tags={"h": "a" * 100}) for i in range(20000)])
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(b"POST /api/put?summary HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = body.encode()
        for i in range(0, len(data), 50000):
            part = data[i:i + 50000]
            s.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        s.sendall(b"0\r\n\r\n")
        answer = b""
        while b"failed" not in answer:
            answer += s.recv(65536)
    assert b'{"success":20000,"failed":0}' in answer
    assert len(server.query(T, T + 30000, f"sum:{metric}")[0]["dps"]) == 20000


def test_a_body_beyond_the_limit_is_413(make_server):
    server = make_server("http.body_bytes_max=100000")
    assert server.post("/api/put", "[" + " " * 99990 + "]").status == 400
    reply = server.post("/api/put", "[" + " " * 200000 + "]")
    assert (reply.status, reply.json()["error"]["code"]) == (413, 413)
    bomb = gzip.compress(b"[" + b" " * 10_000_000 + b"]")
    assert server.post("/api/put", bomb, {"Content-Encoding": "gzip"}).status == 413


def test_a_client_that_sends_all_of_a_body_that_is_too_large_reads_why(make_server):
    server = make_server("http.body_bytes_max=1M")
    body = b"[" + b" " * (40 << 20) + b"]"
    for _ in range(3):
        reply = server.post("/api/put", body)
        assert (reply.status, reply.json()["error"]["message"]) == (413, "Request body is too large")


def test_a_client_that_asks_before_it_sends_too_much_is_told_at_once(server):
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.settimeout(30)
        s.sendall(b"POST /api/put HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        assert s.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_body_of_exactly_the_limit_is_taken_however_it_is_packed(make_server):
    server = make_server("http.body_bytes_max=100000")
    text = json.dumps(point()).encode()
    for size, status in ((100000, 204), (100001, 413)):
        body = text + b" " * (size - len(text))
        for encoding, packed in (("identity", body), ("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
            assert server.post("/api/put", packed, {"Content-Encoding": encoding}).status == status, (size, encoding)


def test_put_wants_post(server):
    reply = server.get("/api/put")
    assert (reply.status, reply.json()["error"]["message"]) == (405, "Method not allowed")
    assert reply.json()["error"]["details"] == "The HTTP method [GET] is not permitted for this endpoint"


def test_sync_waits_and_counts_timeouts(server):
    assert server.post("/api/put?sync", point()).status == 204
    assert server.post("/api/put?sync&summary&sync_timeout=60000", point()).json() == {
        "success": 1, "failed": 0, "timeouts": 0}


def test_a_commit_that_takes_too_long_is_told_with_its_counts(server):
    for _ in range(200):
        reply = server.post("/api/put?sync&sync_timeout=1", [point(), point(value="x")])
        assert reply.status == 400
        if "timedout" in reply.json()["error"]["message"]:
            assert reply.json()["error"]["message"] == \
                "The put call has timedout with 0 successful writes, 1 failed writes and 1 timed out writes."
            return
    pytest.skip("every commit was done within a millisecond")


def test_seconds_and_milliseconds_are_the_same_instant(server):
    metric = fresh()
    server.put([(metric, T, 1, {"h": "a"}), (metric, T * 1000, 2, {"h": "a"}), (metric, T * 1000 + 1, 3, {"h": "a"})])
    result = server.query(T, T + 1, f"sum:{metric}", ms=True)
    assert result[0]["dps"] == {str(T * 1000): 2, str(T * 1000 + 1): 3}


def test_late_and_repeated_points_last_write_wins(server):
    metric = fresh()
    times = list(range(T, T + 500))
    server.put([(metric, t, 0, {"h": "a"}) for t in reversed(times)])
    server.put([(metric, t, t - T, {"h": "a"}) for t in times[::7]])
    dps = server.query(T, T + 600, f"sum:{metric}")[0]["dps"]
    assert dps == {str(t): (t - T if (t - T) % 7 == 0 else 0) for t in times}


def test_far_past_and_future_points_are_kept(server):
    metric = fresh()
    now = int(time.time())
    server.put([(metric, t, 1, {"h": "a"}) for t in (1, 86400, now + 10 * 365 * 86400)])
    assert len(server.query(1, now + 11 * 365 * 86400, f"sum:{metric}")[0]["dps"]) == 3


def test_metrics_are_not_created_when_told_so(make_server):
    server = make_server("tsd.core.auto_create_metrics=false")
    reply = server.post("/api/put?details", point())
    assert (reply.status, reply.json()["errors"][0]["error"]) == (400, "Unknown metric")
    answer = server.telnet(f"put {fresh()} {T} 1 h=a\n")
    assert answer == f"put: unknown metric: No such name for 'metrics': 'put.m{counter[0]}'\n".encode()


def test_the_log_names_the_client_and_the_reason_and_is_not_flooded(make_server):
    server = make_server("self.interval=0")
    assert server.post("/api/put", [point(metric="bad name"), point(), point(value="x")]).status == 400
    server.telnet("put half\n" * 3000)
    lines = [line for line in server.log().splitlines() if " client: " in line]
    assert re.search(r" client: 127\.0\.0\.1:\d+ /api/put: 2 points rejected, the first: .*bad name", lines[0]), lines
    assert re.search(r" client: 127\.0\.0\.1:\d+ put: illegal argument: ", lines[1]), lines
    assert 3 <= len(lines) < 100
