"""Reading: what a query may cost, what its texts say, and the look-ups beside it."""
import contextlib
import json
import socket
import time

import pytest

B = 1356998400
HARD_PATTERN = "^(.*)(.*)(.*)[xyz]$"  # some tenths of a millisecond for a value of fifty bytes


def hard_query(metric):
    return {"start": B, "end": B + 60, "queries": [{"aggregator": "count", "metric": metric, "filters": [
        {"type": "regexp", "tagk": "host", "filter": HARD_PATTERN, "groupBy": False}]}]}


def store_hard_values(server, count):
    server.put([("hard", B, 1, {"host": "a" * 45 + str(i)}) for i in range(count)], "summary")


def test_the_deadline_holds_while_a_pattern_is_matched_against_many_values(make_server):
    server = make_server("tsd.query.timeout=300")
    store_hard_values(server, 40000)
    started = time.monotonic()
    reply = server.post("/api/query", hard_query("hard"))
    assert reply.status == 408 and reply.json()["error"]["message"] == "Query timed out"
    assert time.monotonic() - started < 5


def test_a_client_that_leaves_ends_the_matching_of_a_pattern(make_server):
    server = make_server()
    store_hard_values(server, 100000)
    body = json.dumps(hard_query("hard"))
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as client:
        client.sendall(f"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        time.sleep(0.5)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 8


def unread(server, target):
    """A client that has asked and reads nothing yet."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    client.sendall(f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    return client


def read_all(client):
    with contextlib.closing(client):
        data = b""
        while part := client.recv(1 << 20):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("target, members", [
    ("/api/search/lookup?m=wide&limit=0", lambda answer: len(answer["results"])),
    ("/api/query/last?timeseries=wide&resolve", len),
    ("/api/suggest?type=tagv&max=1000000", len),
])
def test_long_answers_that_nobody_reads_are_refused_before_memory_ends(make_server, target, members):
    server = make_server("memory.limit=160M")
    server.put([("wide", B, 1, {"host": f"{i:06d}" + "a" * 300}) for i in range(40000)], "summary")
    clients = []
    for _ in range(12):
        clients.append(unread(server, target))
        time.sleep(0.3)
    answers = [read_all(client) for client in clients]
    assert {status for status, _ in answers} == {200, 503}
    for status, body in answers:
        if status == 200:
            assert members(json.loads(body)) == 40000
        else:
            assert "memory" in json.loads(body)["error"]["message"]
    assert members(server.get(target).json()) == 40000, "what was charged came back"


# ---- what a query says of itself ----

QUERY_MEMBERS = {
    "aggregator": "sum", "metric": "q.self", "tsuids": None, "downsample": "1m-avg", "rate": False,
    "filters": [{"tagk": "host", "filter": "*", "group_by": False, "type": "wildcard"},
                {"tagk": "host", "filter": "a|b", "group_by": True, "type": "literal_or"}],
    "tags": {"host": "literal_or(a|b)"}, "percentiles": None, "index": 0, "rateOptions": None,
    "explicitTags": False, "useFuzzyFilter": True, "preAggregate": False, "rollupUsage": None, "rollupTable": "raw",
    "showHistogramBuckets": False, "histogramQuery": False, "useMultiGets": True,
}


def test_show_query_has_every_member_and_the_keys_that_are_filtered_once(make_server):
    server = make_server()
    server.put([("q.self", B, 1, {"host": "a"}), ("q.self", B, 1, {"host": "b"})])
    result = server.query(B, B + 60, "sum:1m-avg:q.self{host=a|b}{host=wildcard(*)}", show_query=True)
    assert [r["query"] for r in result] == [{**QUERY_MEMBERS, "filterTagKs": ["AAAB"]}] * 2


def test_two_groupings_by_one_key_are_one_tag_of_the_query(make_server):
    server = make_server()
    server.put([("q.two", B, 1, {"host": "a"})])
    filters = [{"type": kind, "tagk": "host", "filter": text, "groupBy": True}
               for kind, text in (("wildcard", "*"), ("literal_or", "a"))]
    reply = server.post("/api/query", {"start": B, "end": B + 60, "showQuery": True, "queries": [
        {"aggregator": "sum", "metric": "q.two", "filters": filters}]})
    pairs = json.loads(reply.body, object_pairs_hook=list)
    query = dict(dict(pairs[0])["query"])
    assert query["tags"] == [("host", "literal_or(a)")]


@pytest.mark.parametrize("flag", [True, "true", 1])
def test_histogram_buckets_are_said_not_to_be_there(server, flag):
    reply = server.post("/api/query", {"start": B, "queries": [
        {"aggregator": "sum", "metric": "x", "showHistogramBuckets": flag}]})
    assert reply.status == 501
    assert server.get("/api/query", start=B, m="sum:show-histogram-buckets:x").status == 501


def test_an_unknown_serializer_is_named_and_nothing_after_it(server):
    reply = server.get("/api/version?serializer=foo&secret=bar")
    assert reply.status == 400
    assert reply.json() == {"error": {"code": 400, "message": "Requested serializer was not found",
                                      "details": "Could not find a serializer with the name: foo"}}


# ---- look-ups with bodies ----

def test_numbers_and_truth_values_in_bodies_are_taken_as_their_texts(server):
    server.put([("q.last", B, 1, {"host": "1"}), ("q.last", B, 2, {"host": "2"})])
    reply = server.post("/api/query/last", {"queries": [{"metric": "q.last", "tags": {"host": 1}}],
                                            "resolveNames": "true"})
    assert [(r["metric"], r["tags"], r["value"]) for r in reply.json()] == [("q.last", {"host": "1"}, "1")]
    late = {"queries": [{"metric": "q.last"}], "backScan": "24"}
    assert server.post("/api/query/last", late).json() == []
    assert server.post("/api/query/last", {**late, "backScan": "x"}).status == 400
    assert server.post("/api/suggest", {"type": "metrics", "max": 1.5}).status == 400


def test_a_lookup_by_body_may_ask_for_every_metric(server):
    server.put([("q.star", B, 1, {"star": "only"})])
    reply = server.post("/api/search/lookup", {"metric": "*", "limit": 0})
    assert reply.status == 200 and "q.star" in [r["metric"] for r in reply.json()["results"]]
    reply = server.post("/api/search/lookup", {"limit": 0})
    assert reply.status == 400


def test_searches_that_need_a_plugin_are_refused(server):
    reply = server.get("/api/search/tsmeta?query=x")
    assert reply.status == 400 and reply.json()["error"]["message"] == "Searching is not enabled"
