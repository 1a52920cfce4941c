"""Transport, routing and the small endpoints."""
import contextlib
import gzip
import json
import re
import socket
import time

import pytest

pytestmark = pytest.mark.sanitized

T = 1356998400


@pytest.fixture(scope="module", autouse=True)
def data(server):
    server.put([("http.cpu", T + 10 * i, i, {"host": f"web{h:02}", "dc": "lga"}) for i in range(6) for h in range(3)])
    server.put([("http.mem", T, 1.5, {"host": "web00"})])


def error(reply):
    return reply.status, reply.json()["error"]["message"]


def test_version(server):
    body = server.get("/api/version").json()
    assert body["version"] == "2.4.1" and all(isinstance(v, str) for v in body.values())
    assert server.get("/version").text.startswith("net.opentsdb.tools 2.4.1")
    assert server.get("/version?json").json()["version"] == "2.4.1"
    assert server.post("/api/version", "").status == 200


def test_versioned_paths_case_and_slashes(server):
    for path in ("/api/v1/version", "/API/Version", "/api/version/", "//api//version"):
        assert server.get(path).status == 200, path
    reply = server.get("/api/v2/version")
    assert error(reply) == (501, "Requested API version is greater than the max implemented")
    assert reply.json()["error"]["details"] == "API version [2] is greater than the max [1]"
    assert error(server.get("/api/v1x/version")) == (400, "Invalid API version format supplied")


def test_long_request_lines_are_served_or_refused_with_a_reply(server):
    assert server.get("/api/version?" + "&".join(f"a{i}=1" for i in range(1024))).status == 200
    assert server.get("/api/version?x=" + "a" * 60000).status == 200
    assert server.get("/api/version?x=" + "a" * 120000).status == 414
    assert server.request("GET", "/api/version", headers={"X-Long": "a" * 60000}).status == 200
    assert server.request("GET", "/api/version", headers={"X-Long": "a" * 120000}).status == 431


def test_requests_that_are_refused_half_way_leave_nothing_behind(make_server):
    server = make_server("server.drain=60s")
    for junk in (b"GET /api/version?" + b"a&" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET /api/version HTTP/1.1\r\nX: " + b"a" * 200000 + b"\r\n\r\n",
                 b"GET /api/version HTTP/1.1\r\n" + b"X: a\r\n" * 20000 + b"\r\n",
                 b"POST /api/put HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
                 b"POST /api/put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
        with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as s, \
                contextlib.suppress(OSError):
            s.sendall(junk)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 30, "a request that is gone is still waited for"


def test_unknown_paths(server):
    assert server.get("/api/nosuch").json() == {"error": {"code": 404, "message": "Endpoint not found"}}
    assert server.get("/api").status == 404
    assert server.get("/nosuch").headers["content-type"].startswith("text/html")
    assert server.get("/nosuch?json").json() == {"err": "Page Not Found"}
    assert server.get("/apiary").headers["content-type"].startswith("text/html")
    assert server.get("//API/nosuch").json()["error"]["code"] == 404


def test_jsonp_and_content_type(server):
    reply = server.get("/api/version?jsonp=cb")
    assert reply.text.startswith("cb({") and reply.text.endswith("})")
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    assert server.get("/api/nosuch?jsonp=cb").text == 'cb({"error":{"code":404,"message":"Endpoint not found"}})'
    reply = server.get(f"/api/query?start={T}&m=sum:http.mem&jsonp=cb")
    assert reply.text.startswith("cb([{") and reply.text.endswith("}])")


def test_serializer(server):
    assert server.get("/api/version?serializer=json").status == 200
    reply = server.get("/api/version?serializer=xml&other=1")
    assert error(reply) == (400, "Requested serializer was not found")
    assert reply.json()["error"]["details"] == "Could not find a serializer with the name: xml"


def test_replies_are_compressed_when_asked(server):
    reply = server.request("GET", "/api/stats", headers={"Accept-Encoding": "gzip"})
    assert reply.headers["content-encoding"] == "gzip"
    assert isinstance(json.loads(gzip.decompress(reply.body)), list)
    target = f"/api/query?start={T}&m=sum:http.cpu%7Bhost=*%7D"
    reply = server.request("GET", target, headers={"Accept-Encoding": "gzip"})
    plain = server.get(target)
    body = gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body
    assert body == plain.body


@pytest.mark.parametrize("accept, compressed", [
    ("gzip", True), ("GZIP", True), ("deflate, gzip;q=0.5", True), ("x-gzip", True), ("br, gzip ; q=1.0", True),
    ("gzip;q=0", False), ("gzip; q=0.000", False), ("deflate", False), ("identity", False), ("", False),
])
def test_what_accept_encoding_says(server, accept, compressed):
    reply = server.request("GET", "/api/stats", headers={"Accept-Encoding": accept})
    assert (reply.headers.get("content-encoding") == "gzip") == compressed
    json.loads(gzip.decompress(reply.body) if compressed else reply.body)


def test_suggest(server):
    assert server.get("/api/suggest?type=metrics&q=http.").json() == ["http.cpu", "http.mem"]
    assert server.get("/suggest?type=tagk").json() == ["dc", "host"]
    assert server.get("/api/suggest?type=tagv&q=web&max=2").json() == ["web00", "web01"]
    assert server.post("/api/suggest", {"type": "tagv", "q": "web01", "max": 5}).json() == ["web01"]
    assert error(server.get("/api/suggest")) == (400, "Missing 'type' parameter")
    assert error(server.get("/api/suggest?type=x")) == (400, "Invalid 'type' parameter:x")
    assert error(server.get("/api/suggest?type=tagk&max=x")) == (400, "Unable to parse 'max' as a number")


def test_lookup(server):
    body = server.get("/api/search/lookup?m=http.cpu%7Bhost=*%7D&limit=2").json()
    assert (body["type"], body["metric"], body["tags"]) == ("LOOKUP", "http.cpu", [{"key": "host", "value": "*"}])
    assert body["totalResults"] == 2 and body["results"][0]["tags"] == {"host": "web00", "dc": "lga"}
    assert server.get("/api/search/lookup?m=http.cpu%7Bhost=web01,host=web02%7D").json()["totalResults"] == 2
    assert server.get("/api/search/lookup?m=%7B*=web00%7D&limit=0").json()["totalResults"] == 2
    assert server.post("/api/search/lookup", {"metric": "http.mem", "tags": []}).json()["totalResults"] == 1
    for limit in (1, "1"):
        assert server.post("/api/search/lookup", {"metric": "http.cpu", "limit": limit}).json()["totalResults"] == 1
    assert server.post("/api/search/lookup", {"metric": "http.cpu", "limit": "x"}).status == 400
    reply = server.get("/api/search/lookup?m=nosuch")
    assert error(reply) == (404, "Unable to resolve one or more UIDs")
    assert reply.json()["error"]["details"] == "No such name for 'metrics': 'nosuch'"


def test_last(server):
    body = server.get("/api/query/last?timeseries=http.cpu%7Bhost=web01%7D&resolve").json()
    assert len(body) == 1
    assert {k: v for k, v in body[0].items() if k != "tsuid"} == {
        "metric": "http.cpu", "timestamp": (T + 50) * 1000, "value": "5", "tags": {"host": "web01", "dc": "lga"}}
    again = server.get(f"/api/query/last?tsuids={body[0]['tsuid']}").json()
    assert again == [{"timestamp": (T + 50) * 1000, "value": "5", "tsuid": body[0]["tsuid"]}]
    posted = server.post("/api/query/last", {"queries": [{"metric": "http.mem"}], "resolveNames": True}).json()
    assert (posted[0]["value"], posted[0]["tags"]) == ("1.5", {"host": "web00"})
    assert server.get("/api/query/last?timeseries=http.cpu&back_scan=24").json() == []
    assert error(server.get("/api/query/last")) == (400, "Missing sub queries")


def test_tsuids_select_series(server):
    tsuid = server.get("/api/query/last?timeseries=http.cpu%7Bhost=web01%7D").json()[0]["tsuid"]
    reply = server.get(f"/api/query?start={T}&tsuid=sum:{tsuid}&show_tsuids").json()
    assert reply[0]["tsuids"] == [tsuid] and reply[0]["tags"] == {"host": "web01", "dc": "lga"}


def test_aggregators_config_and_filters(server):
    assert len(server.get("/api/aggregators").json()) == 35
    assert set(server.get("/api/config/filters").json()) == {
        "literal_or", "iliteral_or", "not_literal_or", "not_iliteral_or", "wildcard", "iwildcard", "regexp", "not_key"}
    config = server.get("/api/config").json()
    assert config["tsd.network.port"] == str(server.port) and list(config) == sorted(config)


def test_stats_and_metrics(server):
    stats = server.get("/api/stats").json()
    names = {s["metric"] for s in stats}
    assert {"tsd.connectionmgr.connections", "tsd.rpc.received", "tsd.datapoints.added", "tsd.uid.ids-used"} <= names
    assert all(isinstance(s["value"], str) and s["tags"]["host"] for s in stats)
    assert server.get("/stats").text.startswith("tsd.")
    text = server.get("/metrics").text
    assert "# TYPE barograph_datapoints_added_total counter\nbarograph_datapoints_added_total{type=\"all\"} " in text
    for line in text.splitlines():
        assert line.startswith("# TYPE ") or float(line.rsplit(" ", 1)[1]) is not None


def test_every_family_of_metrics_has_its_type_once(server):
    lines = server.get("/metrics").text.splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    samples = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert sorted(types) == sorted(samples)


def test_health(server):
    assert server.get("/health").status == 200
    assert (server.get("/ready").status, server.get("/ready").text) == (200, "ready\n")


def test_methods(server):
    assert error(server.request("PUT", "/api/query")) == (405, "Method not allowed")
    assert error(server.request("OPTIONS", "/api/version")) == (405, "Method not allowed")
    assert error(server.get("/api/query?method_override=")) == (405, "Missing method override value")
    assert error(server.get("/api/query?method_override=x")) == (405, "Unknown or unsupported method override value")


@pytest.mark.parametrize("path, verbs", [
    ("/api/put", "POST"), ("/api/query", "GET POST DELETE"), ("/api/query/last", "GET POST DELETE"),
    ("/api/suggest", "GET POST"), ("/api/aggregators", "GET POST"), ("/api/config", "GET POST"),
    ("/api/config/filters", "GET POST"), ("/api/version", "GET POST"), ("/api/serializers", "GET POST"),
    ("/api/stats", "GET POST"), ("/api/dropcaches", "GET DELETE"), ("/aggregators", "GET POST"),
    ("/version", "GET POST"), ("/stats", "GET POST"), ("/metrics", "GET"),
])
def test_each_endpoint_has_its_verbs(server, path, verbs):
    refused = {verb for verb in ("GET", "POST", "PUT", "DELETE") if server.request(verb, path).status == 405}
    assert refused == {"GET", "POST", "PUT", "DELETE"} - set(verbs.split())
    for verb in refused if path.startswith("/api/") else ():
        assert server.request(verb, path).json()["error"]["details"] == \
            f"The HTTP method [{verb}] is not permitted for this endpoint"


def test_a_search_by_another_verb_is_400_as_in_opentsdb(server):
    for verb in ("PUT", "DELETE"):
        reply = server.request(verb, "/api/search/lookup?m=cpu")
        assert reply.status == 400 and reply.json()["error"] == {
            "code": 400, "message": "Unsupported HTTP request method", "details": f"Unsupported method: {verb}"}


def test_cross_origin(make_server):
    server = make_server("tsd.http.request.cors_domains=http://a.example,http://b.example")
    reply = server.request("OPTIONS", "/api/version", headers={"Origin": "http://A.example"})
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["access-control-allow-origin"] == "http://A.example"
    assert reply.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE"
    reply = server.request("GET", "/api/version", headers={"Origin": "http://c.example"})
    assert (reply.status, reply.json()["error"]["message"]) == (200, "CORS domain not allowed")
    assert server.get("/api/version").status == 200


def test_pipelined_requests_and_keep_alive(server):
    request = b"GET /api/version HTTP/1.1\r\nHost: x\r\n\r\n"
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as s:
        s.settimeout(30)
        s.sendall(request * 5 + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while part := s.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200") == 6


def long_put(metric, points):
    """A request whose body is far longer than what one read takes."""
    body = json.dumps([{"metric": metric, "timestamp": T + i, "value": i, "tags": {"h": "x" * 200}}
                       for i in range(points)]).encode()
    return b"POST /api/put?summary HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def statuses(s, n):
    """The statuses of the next `n` replies; all have a summary as their body."""
    received = b""
    while received.count(b"}") < n:
        part = s.recv(65536)
        assert part, received
        received += part
    return re.findall(rb"HTTP/1.1 (\d+)", received)


def test_long_bodies_come_in_pieces_of_any_size(server):
    request = long_put("http.pieces", 1500)
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as s:
        for first, step in [(len(request), 1), (200_000, 50_000), (100_000, 100), (150, 40_000), (70_000, 300_000)]:
            s.sendall(request[:first])
            rest = request[first:]
            while rest and len(rest) > len(request) - first - 20 * step:
                time.sleep(0.002)
                s.sendall(rest[:step])
                rest = rest[step:]
            s.sendall(rest)
            assert statuses(s, 1) == [b"200"]
        s.sendall(request * 3)
        assert statuses(s, 3) == [b"200"] * 3
        s.sendall(request[:100_000])
    assert len(server.query(T, T + 3000, "sum:http.pieces")[0]["dps"]) == 1500


def test_who_goes_in_the_middle_of_a_long_body_stores_nothing_and_is_forgotten(make_server):
    server = make_server("server.drain=60s")
    request = long_put("http.gone", 1500)
    for cut in (100_000, 200_000, len(request) - 1):
        with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as s:
            s.sendall(request[:cut])
            time.sleep(0.05)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 30, "a request that is gone is still waited for"
    server.start()
    assert server.get("/api/suggest?type=metrics&q=http.gone").json() == []


def test_a_slow_request_does_not_hold_others_up(server):
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as slow:
        slow.sendall(b"POST /api/put HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert server.get("/api/version").status == 200


def test_query_errors(server):
    reply = server.get(f"/api/query?start={T}&m=sum:nosuch")
    assert error(reply) == (400, "No such name for 'metrics': 'nosuch'")
    assert reply.json()["error"]["details"] == "No such name for 'metrics': 'nosuch'"
    assert error(server.get(f"/api/query?start={T}&m=sum:http.cpu%7Bnokey=a%7D"))[0] == 400
    assert error(server.get("/api/query?m=sum:http.cpu")) == (400, "Missing parameter <code>start</code>")
    assert error(server.get(f"/api/query?start={T}")) == (400, "Missing sub queries")
    assert error(server.post("/api/query", '{"start":'))[0] == 400
    assert error(server.post("/api/query", "")) == (400, "Missing message content")
    assert error(server.get(f"/api/query?start={T}&m=nosuch:http.cpu"))[0] == 400
    assert "trace" not in reply.json()["error"]


def test_a_grid_that_cannot_fit_in_memory_is_refused_at_once(server):
    began = time.monotonic()
    reply = server.get("/api/query?start=1&end=9999999999999&ms&m=sum:1ms-avg-nan:http.mem")
    assert reply.status == 503 and "memory" in reply.json()["error"]["message"]
    assert time.monotonic() - began < 5


def test_a_pattern_that_takes_too_long_is_refused(server):
    server.put([("http.slow", T, 1, {"h": "a" * 40 + "-"})])
    reply = server.post("/api/query", {"start": T, "queries": [
        {"aggregator": "sum", "metric": "http.slow",
         "filters": [{"type": "regexp", "tagk": "h", "filter": "^(a+)+$", "groupBy": False}]}]})
    assert reply.status == 400 and "takes too long to match" in reply.json()["error"]["message"]


def test_a_server_that_only_writes_answers_no_readers(make_server):
    server = make_server("tsd.mode=wo")
    assert server.post("/api/put", {"metric": "wo.m", "timestamp": T, "value": 1, "tags": {"h": "a"}}).status == 204
    for path in ("/", "/suggest", "/api/suggest", "/api/query", "/api/query/last", "/api/search/lookup"):
        assert server.get(path).status == 404, path
    for path in ("/health", "/ready", "/metrics", "/version", "/api/version", "/stats"):
        assert server.get(path).status == 200, path


def test_unknown_metrics_can_be_skipped(make_server):
    server = make_server("tsd.query.skip_unknown_metrics=true")
    server.put([("a.b", T, 1, {"h": "a"})])
    assert len(server.query(T, T + 9, "sum:a.b", "sum:nosuch")) == 1


def test_empty_results(server):
    assert server.query(T + 86400, T + 90000, "sum:http.cpu") == []
    inside_the_hour = server.query(T + 100, T + 200, "sum:http.cpu")
    assert inside_the_hour[0]["dps"] == {}


def test_output_forms(server):
    arrays = server.query(T, T + 9, "sum:http.mem", arrays=True)
    assert arrays[0]["dps"] == [[T, 1.5]]
    shown = server.query(T, T + 9, "sum:http.mem", show_query=True, show_tsuids=True, show_summary=True, show_stats=True)
    assert shown[0]["query"]["index"] == 0 and shown[0]["query"]["aggregator"] == "sum"
    assert len(shown[0]["tsuids"]) == 1 and "stats" in shown[0]
    summary = shown[-1]["statsSummary"]
    assert summary["totalTime"] > 0 and all(value >= 0 for value in summary.values())
    assert list(shown[0]) == ["metric", "tags", "aggregateTags", "query", "tsuids", "dps", "stats"]


def test_deletes_are_guarded_and_exact(make_server, server):
    guarded = server.request("DELETE", f"/api/query?start={T}&m=sum:http.cpu")
    assert error(guarded) == (400, "Bad request")
    allowed = make_server("tsd.http.query.allow_delete=true")
    allowed.put([("d.m", T + i, i, {"h": "a"}) for i in range(100)])
    reply = allowed.request("DELETE", f"/api/query?start={T + 10}&end={T + 19}&m=sum:d.m")
    assert reply.status == 200 and len(reply.json()[0]["dps"]) == 10
    left = allowed.query(T, T + 200, "sum:d.m")[0]["dps"]
    assert sorted(map(int, left)) == [T + i for i in range(100) if not 10 <= i <= 19]
    allowed.stop()
    allowed.start()
    assert allowed.query(T, T + 200, "sum:d.m")[0]["dps"] == left


def test_point_limit_is_413(make_server):
    server = make_server("tsd.query.limits.data_points.default=50")
    server.put([("l.m", T + i, i, {"h": "a"}) for i in range(100)])
    reply = server.get(f"/api/query?start={T}&end={T + 200}&m=sum:l.m")
    assert error(reply) == (413, "Sorry, you have attempted to fetch more than our limit of 50 data points. Please "
                                 "try filtering using more tags or decrease your time range.")


def test_a_long_answer_is_streamed_and_whole(server):
    server.put([("http.long", T * 1000 + i, i, {"h": "a"}) for i in range(100000)], "summary")
    result = server.query(T, T + 200, "sum:http.long", ms=True)
    assert len(result[0]["dps"]) == 100000


def test_bad_requests_of_http_itself(server):
    for junk in (b"GET\r\n\r\n", b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", b"AAAA" * 30000,
                 b"POST /api/put HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"):
        with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as s:
            s.settimeout(10)
            with contextlib.suppress(OSError):
                s.sendall(junk)
                s.shutdown(socket.SHUT_WR)
                s.recv(65536)
    assert server.get("/api/version").status == 200
