"""HTTP clients that are slow, silent, half-closed or never read: nobody else notices."""
import contextlib
import json
import os
import socket
import time

import pytest

from conftest import Server

T = 1356998400
SERIES = 200
POINTS = 1000
LARGE = f"/api/query?start={T}&end={T + POINTS}&m=none:slow.m"
STREAM_BYTES = 3 << 19  # HTTP_STREAM_BUFFER_MAX
CONNECTION_BYTES = 256 << 10  # the connection, the query and its last block
WORKER_BYTES = 256 << 10  # working memory of one thread of such a query
# Some 20 MB: more than the stream, the kernel's buffers (4 MiB) and the results under way hold together.
HUGE = LARGE + "".join(f"&m=none:1s-{function}:slow.m" for function in ("avg", "min", "max", "last"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("slow") / "data", "self.interval=0", "query.concurrent_max=4",
                "memory.limit=256M") as running:
        for first in range(0, SERIES, 20):
            running.put([("slow.m", T + i, i, {"host": f"h{host}"})
                         for host in range(first, first + 20) for i in range(POINTS)], flags="")
        yield running


def connect(server, receive_bytes=None):
    s = socket.socket()
    if receive_bytes is not None:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    s.settimeout(60)
    s.connect(("127.0.0.1", server.port))
    return s


def ask(s, target, verb="GET"):
    s.sendall(f"{verb} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def answers_quickly(server, seconds=5.0):
    """A small query and a put, as another client would send them."""
    begin = time.monotonic()
    reply = server.request("GET", f"/api/query?start={T}&end={T + 5}&m=sum:slow.m%7Bhost=h1%7D", timeout=seconds)
    assert reply.status == 200 and list(reply.json()[0]["dps"].values()) == [0, 1, 2, 3, 4, 5]
    assert server.request("POST", "/api/put", json.dumps({"metric": "slow.put", "timestamp": T, "value": 1,
                                                          "tags": {"h": "a"}}), timeout=seconds).status == 204
    assert time.monotonic() - begin < seconds


def answers_quickly_without_queries(server, seconds=5.0):
    reply = server.request("POST", "/api/put", json.dumps({"metric": "slow.put", "timestamp": T, "value": 1,
                                                           "tags": {"h": "a"}}), timeout=seconds)
    assert reply.status == 204, reply
    assert server.request("GET", "/api/version", timeout=seconds).status == 200


def metric_value(server, name):
    for line in server.get("/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no {name} in /metrics")


def charged(server):
    return metric_value(server, 'barograph_memory_bytes{type="charged"}')


def wait_for(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def peak_mib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def cpu_seconds(server):
    fields = open(f"/proc/{server.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_idle(server):
    begin = cpu_seconds(server)
    time.sleep(0.5)
    return cpu_seconds(server) - begin < 0.1


def threads(server):
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


@pytest.mark.sanitized
def test_clients_that_never_read_a_large_answer_block_nobody(server):
    answer = len(server.get(LARGE).body)
    before = charged(server)
    # For each client: the stream, full, and the results behind it, in buffers twice as large at most.
    bound = CONNECTION_BYTES + STREAM_BYTES + 2 * answer + os.cpu_count() * WORKER_BYTES
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            s = stack.enter_context(contextlib.closing(connect(server, 4096)))
            ask(s, LARGE)
        # All wait for their readers: no place may be taken now, however slow this machine is.
        assert wait_for(lambda: is_idle(server), 60), "somebody spins"
        answers_quickly(server)
        assert 12 * (1 << 20) < charged(server) - before < 12 * bound
    assert wait_for(lambda: charged(server) <= before + (1 << 20)), "memory stays with clients that are gone"
    answers_quickly(server)


def status_line(s, seconds=10):
    s.settimeout(seconds)
    with contextlib.suppress(OSError):
        return s.recv(100).split(b"\r\n")[0]
    return b""


def test_hundreds_of_clients_that_never_read_stay_in_the_budget(tmp_path):
    limit = 64 << 20
    with Server(tmp_path / "data", "self.interval=0", f"memory.limit={limit}") as server:
        for first in range(0, SERIES, 20):
            server.put([("slow.m", T + i, i, {"host": f"h{host}"})
                        for host in range(first, first + 20) for i in range(POINTS)], flags="")
        before = charged(server)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(contextlib.closing(connect(server, 4096))) for _ in range(100)]
            for s in clients:
                ask(s, LARGE)
            most = 0
            for _ in range(20):
                most = max(most, charged(server))
                time.sleep(0.1)
            assert limit // 2 < most <= limit, "what is held for them is charged"
            answers_quickly_without_queries(server)
            reply = server.get(f"/api/query?start={T}&end={T + 5}&m=sum:slow.m%7Bhost=h1%7D")
            assert reply.status == 200 or (reply.status == 503 and b"memory" in reply.body), reply
            lines = [status_line(s, 0.05) for s in clients]
            assert lines.count(b"HTTP/1.1 503 Service Unavailable") > 20 and lines.count(b"HTTP/1.1 200 OK") > 5
            assert "over the memory budget, retry later" in server.log()
            assert peak_mib(server) < (limit >> 20) + 64
        assert wait_for(lambda: charged(server) <= before + (1 << 20)), "memory stays with clients that are gone"
        assert server.request("GET", LARGE).status == 200


def test_answers_of_other_calls_that_nobody_reads_are_charged(tmp_path):
    limit = 64 << 20
    with Server(tmp_path / "data", "self.interval=0", f"memory.limit={limit}") as server:
        server.put([("slow.m", T, i, {"host": f"h{i:06d}" + "x" * 200}) for i in range(5000)], flags="")
        body = "[" + ",".join(["null"] * 30000) + "]"
        lookup = f"GET /api/search/lookup?m=slow.m&limit=0 HTTP/1.1\r\nHost: x\r\n\r\n"
        details = f"POST /api/put?details HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        before = charged(server)
        with contextlib.ExitStack() as stack:
            for text in [lookup, details] * 50:
                stack.enter_context(contextlib.closing(connect(server, 4096))).sendall(text.encode())
            time.sleep(1)
            assert limit // 4 < charged(server) <= limit
            answers_quickly_without_queries(server)
            assert peak_mib(server) < (limit >> 20) + 64
        assert wait_for(lambda: charged(server) <= before + (1 << 20)), "memory stays with clients that are gone"
        assert len(server.get("/api/search/lookup?m=slow.m&limit=0").json()["results"]) == 5000


def test_connections_are_charged_and_turned_away_when_they_fill_their_share(tmp_path):
    limit = 64 << 20
    with Server(tmp_path / "data", "self.interval=0", f"memory.limit={limit}") as server:
        before = charged(server)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(contextlib.closing(connect(server))) for _ in range(300)]
            for s in clients:
                ask(s, "/api/version")
            lines = [status_line(s) for s in clients]
            served = lines.count(b"HTTP/1.1 200 OK")
            assert served + lines.count(b"HTTP/1.1 503 Service Unavailable") == 300
            # A quarter of the memory is for connections; each is charged 128 KiB. Those of the start may
            # not be closed yet.
            most = limit // 4 // (128 << 10)
            assert most - 5 < served <= most
            assert peak_mib(server) < 64
            assert server.telnet("version\n") != b"" and server.telnet(f"put slow.turned {T} 1 h=a\n") == b""
        assert wait_for(lambda: "200" in str(server.get("/health").status))
        assert wait_for(lambda: charged(server) <= before + (1 << 20))
        assert server.query(T, T + 1, "sum:slow.turned")[0]["dps"] == {str(T): 1}


def test_a_declared_length_takes_no_memory_from_others(server):
    before = charged(server)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            s = stack.enter_context(contextlib.closing(connect(server)))
            s.sendall(b"POST /api/put HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n[")
        time.sleep(0.3)
        assert charged(server) - before < 30 * ((128 + 64) << 10) + (1 << 20)
        answers_quickly(server)


@pytest.mark.sanitized
def test_a_slow_reader_gets_the_whole_answer(server):
    with contextlib.closing(connect(server, 4096)) as s:
        s.sendall(f"GET {LARGE} HTTP/1.0\r\n\r\n".encode())
        received = b""
        for _ in range(5):
            time.sleep(0.2)
            received += s.recv(1000)
        while part := s.recv(1 << 20):
            received += part
    head, body = received.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.")
    answer = json.loads(body)
    assert len(answer) == SERIES
    assert all(r["dps"] == {str(T + i): i for i in range(POINTS)} for r in answer)


@pytest.mark.sanitized
def test_clients_that_send_slowly_or_stop_in_the_middle(server):
    body = json.dumps({"metric": "slow.sent", "timestamp": T, "value": 7, "tags": {"h": "a"}})
    text = f"POST /api/put HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    with contextlib.ExitStack() as stack:
        for cut in range(1, len(text), 9):
            s = stack.enter_context(contextlib.closing(connect(server)))
            s.sendall(text[:cut])
        answers_quickly(server)
        slow = stack.enter_context(contextlib.closing(connect(server)))
        for i in range(0, len(text), 5):
            slow.sendall(text[i:i + 5])
            time.sleep(0.005)
        assert slow.recv(1000).startswith(b"HTTP/1.1 204")
    answers_quickly(server)
    assert server.query(T, T + 1, "sum:slow.sent")[0]["dps"] == {str(T): 7}


@pytest.mark.sanitized
def test_many_silent_clients(server):
    before = threads(server)
    with contextlib.ExitStack() as stack:
        for i in range(300):
            s = stack.enter_context(contextlib.closing(connect(server)))
            if i % 3 == 0:
                s.sendall(b"G")
            elif i % 3 == 1:
                s.sendall(b"GET /api/version HTTP/1.1\r\nHost: x\r\n")
        answers_quickly(server)
    assert wait_for(lambda: threads(server) <= before + 10), "threads stay for clients that are gone"


@pytest.mark.sanitized
def test_idle_connections_are_closed_after_the_socket_timeout_whatever_they_said(tmp_path):
    with Server(tmp_path / "data", "self.interval=0", "tsd.core.socket.timeout=1") as server:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(contextlib.closing(connect(server))) for _ in range(4)]
            for s, said in zip(clients, (b"", b"put", b"GET /api", b"GET /api/version HTTP/1.1\r\nHost: x\r\n\r\n")):
                s.sendall(said)
            for s in clients:
                s.settimeout(10)
                while s.recv(1 << 16):
                    pass


@pytest.mark.sanitized
@pytest.mark.parametrize("target", ["/api/version", f"/api/query?start={T}&end={T + 5}&m=sum:slow.m", LARGE])
def test_a_half_closed_client_still_gets_its_answer(server, target):
    with contextlib.closing(connect(server)) as s:
        ask(s, target)
        s.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := s.recv(1 << 20):
                received += part
    assert received.startswith(b"HTTP/1.1 200"), received[:100]
    assert received.rstrip().endswith((b"]", b"}", b"0")), received[-50:]


@pytest.mark.sanitized
def test_pipelined_requests_are_answered_in_order(server):
    body = '{"metric":"slow.pipe","timestamp":%d,"value":%d,"tags":{"h":"a"}}'
    text = "".join(f"POST /api/put?summary HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body % (T + i, i))}\r\n\r\n"
                   + body % (T + i, i) for i in range(100, 150))
    with contextlib.closing(connect(server)) as s:
        s.sendall(text.encode() + b"GET /api/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while part := s.recv(1 << 16):
            received += part
    assert received.count(b'{"success":1,"failed":0}') == 50
    assert received.index(b'"version"') > received.rindex(b'"success"')


def test_a_client_that_leaves_stops_its_query(tmp_path):
    """The query would take many seconds; soon after its client is gone the server is idle."""
    with Server(tmp_path / "data", "self.interval=0", "query.threads=1", "tsd.query.timeout=0") as server:
        lines = ",".join('{"metric":"long.m","timestamp":%d,"value":%d,"tags":{"h":"x%d"}}' % (T + i, i, h)
                         for h in range(50) for i in range(2000))
        assert server.post("/api/put", "[" + lines + "]").status == 204
        # The same sub query again and again, each a little different so that none is left out.
        queries = [{"aggregator": "dev", "metric": "long.m", "tags": {"h": "|".join(f"x{k}" for k in range(50) if k != i % 50)},
                    "downsample": f"{1 + i}ms-avg-nan"} for i in range(3000)]
        body = json.dumps({"start": T, "end": T + 2000, "queries": queries})
        with contextlib.closing(connect(server)) as s:
            s.sendall(f"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            time.sleep(1.5)
            begin = cpu_seconds(server)
            assert wait_for(lambda: cpu_seconds(server) - begin > 0.1, 30), "the query was to be a long one"
        assert wait_for(lambda: is_idle(server), 30), "the query goes on without its client"
        # It was given up, and did not come to its end meanwhile.
        counts = [line for line in server.get("/stats").text.splitlines() if line.startswith("tsd.http.query.")]
        assert any(line.split()[0] == "tsd.http.query.exceptions" and int(line.split()[2]) == 1 for line in counts), counts
        assert server.query(T, T + 1, "sum:long.m{h=x1}")[0]["dps"] == {str(T): 0, str(T + 1): 1}


def test_a_client_that_reads_nothing_is_given_up_at_the_deadline(tmp_path):
    with Server(tmp_path / "data", "self.interval=0", "tsd.query.timeout=1500") as server:
        for first in range(0, SERIES, 20):
            server.put([("slow.m", T + i, i, {"host": f"h{host}"})
                        for host in range(first, first + 20) for i in range(POINTS)], flags="")
        before = charged(server)
        with contextlib.closing(connect(server, 4096)) as s:
            ask(s, HUGE)
            assert wait_for(lambda: "tsd.http.query.exceptions" in server.get("/stats").text and any(
                line.startswith("tsd.http.query.exceptions") and int(line.split()[2]) == 1
                for line in server.get("/stats").text.splitlines()), 5)
            assert charged(server) - before < STREAM_BYTES + (1 << 20), "more than what may still be sent"
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while part := s.recv(1 << 20):
                    received += part
        # The end of the chunks is missing: nobody takes this for a whole answer.
        assert received.startswith(b"HTTP/1.1 200") and not received.endswith(b"0\r\n\r\n")


@pytest.mark.sanitized
def test_clients_that_do_not_read_do_not_keep_the_server_from_stopping(tmp_path):
    server = Server(tmp_path / "data", "self.interval=0", "server.drain=1s").start()
    for first in range(0, SERIES, 20):
        server.put([("slow.m", T + i, i, {"host": f"h{host}"})
                    for host in range(first, first + 20) for i in range(POINTS)], flags="")
    with contextlib.ExitStack() as stack:
        for target in (LARGE, LARGE, LARGE, LARGE, LARGE, LARGE, "/api/version"):
            ask(stack.enter_context(contextlib.closing(connect(server, 4096))), target)
        stack.enter_context(contextlib.closing(connect(server))).sendall(b"POST /api/put HTTP/1.1\r\nContent-Le")
        time.sleep(0.5)
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 10


def test_a_server_with_all_the_connections_it_has_memory_for_still_answers_probes(tmp_path):
    with Server(tmp_path / "data", "self.interval=0", "memory.limit=16M") as server, contextlib.ExitStack() as stack:
        for _ in range(100):
            s = stack.enter_context(contextlib.closing(connect(server)))
            ask(s, "/api/version")
            if b" 503 " in s.recv(1000):
                break
        else:
            raise AssertionError("a hundred connections have room in four MiB")
        assert server.get("/api/version").status == 503
        assert (server.get("/health").status, server.get("/health").text) == (200, "alive\n")
        assert (server.get("/ready").status, server.get("/ready").text) == (200, "ready\n")


def test_a_body_that_trickles_after_a_quick_beginning_is_no_idle_connection(tmp_path):
    points = [{"metric": "slow.trickle", "timestamp": T + i, "value": i, "tags": {"h": "a"}} for i in range(3000)]
    body = json.dumps(points).encode()
    with Server(tmp_path / "data", "self.interval=0", "tsd.core.socket.timeout=3") as server:
        with contextlib.closing(connect(server)) as s:
            s.sendall(f"POST /api/put HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            s.sendall(body[:40000])
            for at in range(40000, 40000 + 14 * 2000, 2000):
                time.sleep(0.5)
                s.sendall(body[at:at + 2000])
            s.sendall(body[40000 + 14 * 2000:])
            assert status_line(s).startswith(b"HTTP/1.1 204")
        assert len(server.query(T, T + 3000, "sum:slow.trickle")[0]["dps"]) == 3000
