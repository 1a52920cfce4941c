"""A server stays in its memory budget: a storm of new series and queries over all of them are
slowed down or refused with a clear error, and what is there goes on being written and read."""
import http.client
import json
import socket
import threading
import time

from conftest import Server

T = 1356998400
EXISTING = 100
STORM = 1_000_000
BATCH = 5000


def peak_mib(server):
    """The most memory the process ever had (VmHWM)."""
    with open(f"/proc/{server.process.pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


class HttpStorm(threading.Thread):
    """New series by /api/put: every reply is either complete success or a clear refusal."""

    def __init__(self, server, first, count):
        super().__init__(daemon=True)
        self.server, self.first, self.count = server, first, count
        self.stored = 0
        self.refused = 0
        self.problem = None
        self.texts = set()

    def body(self, first):
        return "[" + ",".join(
            f'{{"metric":"storm.requests","timestamp":{T},"value":{i},'
            f'"tags":{{"host":"host{i // 100}","request":"r{i:09d}"}}}}'
            for i in range(first, first + BATCH)) + "]"

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            for first in range(self.first, self.first + self.count, BATCH):
                connection.request("POST", "/api/put?details", self.body(first),
                                   {"Content-Type": "application/json"})
                response = connection.getresponse()
                reply = json.loads(response.read())
                self.judge(response.status, reply)
        except Exception as e:  # the thread's end is judged by the test
            self.problem = repr(e)
        finally:
            connection.close()

    def judge(self, status, reply):
        assert status in (200, 400, 503), (status, reply)
        if "success" not in reply:
            assert status == 503 and "error" in reply
            self.refused += BATCH
            self.texts.add(reply["error"]["message"])
            return
        assert reply["success"] + reply["failed"] == BATCH
        assert (status == 200) == (reply["failed"] == 0)
        self.stored += reply["success"]
        self.refused += reply["failed"]
        self.texts.update(error["error"] for error in reply["errors"])


class TelnetStorm(threading.Thread):
    """New series by telnet put; reads the error lines."""

    def __init__(self, server, first, count):
        super().__init__(daemon=True)
        self.server, self.first, self.count = server, first, count
        self.errors = b""
        self.problem = None

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as s:
                reader = threading.Thread(target=self.read, args=(s,), daemon=True)
                reader.start()
                for first in range(self.first, self.first + self.count, BATCH):
                    s.sendall("".join(f"put storm.lines {T} {i} host=host{i // 100} request=t{i:09d}\n"
                                      for i in range(first, first + BATCH)).encode())
                s.sendall(b"exit\n")
                reader.join(60)
                assert not reader.is_alive(), "no end of the connection after exit"
        except Exception as e:
            self.problem = repr(e)

    def read(self, s):
        while part := s.recv(1 << 20):
            self.errors += part


def existing_points(t):
    return [("existing.load", t, i, {"host": f"h{i}"}) for i in range(EXISTING)]


def put_existing(server, t):
    """Writers of series that exist may be asked to wait, not more."""
    body = [dict(metric=m, timestamp=time_s, value=v, tags=tags) for m, time_s, v, tags in existing_points(t)]
    for _ in range(30):
        reply = server.post("/api/put", body)
        if reply.status == 204:
            return
        assert reply.status == 503 and b"memory" in reply.body or b"throttle" in reply.body, reply
        time.sleep(0.5)
    raise AssertionError(f"existing series cannot be written: {reply}")


def is_clear_refusal(reply):
    error = reply.json()["error"]
    return reply.status in (400, 408, 413, 503) and any(
        word in error["message"].lower() for word in ("memory", "limit", "timed out", "deadline"))


def query_everything(server, outcomes):
    for m in ("sum:storm.requests", "p99:storm.requests", "p99:storm.requests{host=*}", "dev:storm.lines",
              "sum:1m-avg:storm.requests", "none:storm.lines", "count:storm.requests{request=*}",
              "sum:existing.load"):
        reply = server.get("/api/query", start=1, end=4102444800, m=m)
        if reply.status == 200:
            outcomes[m] = len(reply.json())
        else:
            # Of a metric that the storm could not create nothing is known.
            assert is_clear_refusal(reply) or b"No such name" in reply.body, (m, reply)
            outcomes[m] = reply.json()["error"]["message"]


def storm(server, total, peak_limit_mib):
    put_existing(server, T)
    outcomes = {}
    half = total // 2
    writers = [HttpStorm(server, 0, half), TelnetStorm(server, half, total - half)]
    for writer in writers:
        writer.start()
    t = T
    while any(writer.is_alive() for writer in writers):
        t += 10
        put_existing(server, t)
        query_everything(server, outcomes)
        time.sleep(0.2)
    by_http, by_telnet = writers
    assert by_http.problem is None and by_telnet.problem is None, (by_http.problem, by_telnet.problem)
    assert by_http.stored + by_http.refused == half
    assert (by_http.refused > 0) == bool(by_http.texts)
    for text in by_http.texts | {line for line in by_telnet.errors.decode().splitlines()}:
        assert "memory" in text or "throttle" in text.lower(), text
    # Still answering: the existing series are whole, and so is what was stored.
    put_existing(server, t + 10)
    query_everything(server, outcomes)
    dps = server.query(T, t + 10, "sum:existing.load")[0]["dps"]
    assert dps == {str(at): EXISTING * (EXISTING - 1) // 2 for at in range(T, t + 11, 10)}
    peak = peak_mib(server)
    print(f"peak {peak:.0f} MiB, stored {by_http.stored}, refused {by_http.refused}, "
          f"telnet error lines {by_telnet.errors.count(b'put: ')}, {outcomes}, texts {by_http.texts}")
    assert peak < peak_limit_mib
    return by_http, by_telnet, outcomes


def test_a_million_new_series_in_512_mib(tmp_path):
    with Server(tmp_path / "data", "self.interval=0", "memory.limit=512M") as server:
        by_http, _, outcomes = storm(server, STORM, 700)
        # One series costs less than 1.5 KB, so that at least a sixth of these must have found room.
        assert by_http.stored > STORM // 6
        assert outcomes["sum:existing.load"] == 1


def test_the_same_storm_in_64_mib(tmp_path):
    server = Server(tmp_path / "data", "self.interval=0", "memory.limit=64M", "store.throttle=100ms")
    with server:
        by_http, by_telnet, _ = storm(server, 400_000, 64 + 64)
        assert by_http.refused > 0 and b"memory" in by_telnet.errors
        # The log says it too, and not once for each of the points.
        assert 1 <= server.log().count("points are refused: the ") <= 5, server.log()
        assert len(server.query(T, T + 1, "none:existing.load")) == EXISTING
    # What was stored fits the budget at the next start, too.
    server.start()
    assert len(server.query(T, T + 1, "none:existing.load")) == EXISTING
    put_existing(server, T + 86400)
    assert peak_mib(server) < 64 + 64
    assert server.stop() == 0


def test_lines_that_never_end_stay_in_the_budget(tmp_path):
    with Server(tmp_path / "data", "self.interval=0", "memory.limit=64M") as server:
        put_existing(server, T)
        clients, sent_away = [], 0
        for _ in range(200):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            clients.append(client)
            try:
                client.sendall(b"put endless.line " + b"9" * 900_000)
            except OSError:  # it was sent away meanwhile
                sent_away += 1
        put_existing(server, T + 10)
        assert peak_mib(server) < 64 + 64
        assert sent_away > 0 or "no memory for the line it began" in server.log()
        for client in clients:
            client.close()
        assert b"put: " not in server.telnet(f"put existing.load {T + 20} 5 host=h1\n")
        assert server.query(T + 20, T + 21, "sum:existing.load")[0]["dps"] == {str(T + 20): 5}


def test_a_batch_for_which_there_is_no_memory_may_be_sent_again(tmp_path):
    """Points that are good are never answered 400, on which clients drop them."""
    with Server(tmp_path / "data", "self.interval=0", "memory.limit=32M") as server:
        put_existing(server, T)
        statuses = set()
        for count in (100_000, 200_000, 300_000, 400_000):
            body = "[" + ",".join(f'{{"metric":"existing.load","timestamp":{T + i},"value":1,"tags":{{"host":"h1"}}}}'
                                  for i in range(count)) + "]"
            reply = server.post("/api/put?summary", body)
            statuses.add(reply.status)
            answer = reply.json()
            if reply.status == 200:
                assert (answer["success"], answer["failed"]) == (count, 0)
            else:
                assert reply.status == 503 and "memory budget" in json.dumps(answer)
                assert "success" not in answer or answer["success"] + answer["failed"] == count
        assert statuses == {200, 503}
        put_existing(server, T + 10)
