"""The telnet protocol: replies, error lines, and clients that behave badly."""
import contextlib
import socket
import time

import pytest

pytestmark = pytest.mark.sanitized

T = 1356998400
counter = [0]


def fresh():
    counter[0] += 1
    return f"telnet.m{counter[0]}"


def test_put_says_nothing_and_stores(server):
    metric = fresh()
    assert server.telnet(f"put {metric} {T} 42 host=a\nput {metric} {T + 1} 4.5 host=a\r\n") == b""
    assert server.query(T, T + 9, f"sum:{metric}")[0]["dps"] == {str(T): 42, str(T + 1): 4.5}


def test_spaces_among_tags_and_at_the_end(server):
    metric = fresh()
    assert server.telnet(f"put {metric} {T} 1 host=a  dc=b \r\n") == b""
    assert server.query(T, T + 9, f"sum:{metric}")[0]["tags"] == {"host": "a", "dc": "b"}


@pytest.mark.parametrize("line, error", [
    ("put m 1 2", "put: illegal argument: not enough arguments (need least 4, got 3)"),
    ("put", "put: illegal argument: not enough arguments (need least 4, got 0)"),
    ("put m 12x4 1 h=a", "put: invalid value: Invalid character 'x' in 12x4"),
    ("put m 0 1 h=a", "put: illegal argument: invalid timestamp: 0"),
    ("put m 1356998400 abc h=a", "put: invalid value: Invalid character 'a' in abc"),
    ("put m 1356998400 4.x h=a", 'put: invalid value: For input string: "4.x"'),
    ("put m 1356998400 1 hostweb01", "put: illegal argument: invalid tag: hostweb01"),
    ("put m 1356998400 1 h=a h=b", "put: illegal argument: duplicate tag: h=b, tags={h=a}"),
    ("put sys:cpu 1356998400 1 h=a",
     'put: illegal argument: Invalid metric name ("sys:cpu"): illegal character: :'),
    ("put m 1356998400 1 k!=v",
     'put: illegal argument: Invalid tag name with value [v] ("k!"): illegal character: !'),
    ("foo", "unknown command: foo.  Try `help'."),
    ("", "unknown command: .  Try `help'."),
])
def test_error_lines(server, line, error):
    assert server.telnet(line + "\n") == (error + "\n").encode()


def test_too_many_tags(server):
    tags = " ".join(f"k{i}=v" for i in range(9))
    assert server.telnet(f"put m {T} 1 {tags}\n").startswith(
        b"put: illegal argument: Too many tags: 9 maximum allowed: 8, tags: {")


def test_long_error_lines_end_with_a_whole_character(server):
    for letters in range(1500, 1504):
        line = server.telnet(f"put {'x' * (letters % 4)}{'é' * letters}! {T} 1 h=a\n")
        assert line.decode().startswith("put: illegal argument: Invalid metric name") and line.endswith(b"\n")
        line = server.telnet(f"put {'x' * (letters % 4)}m {T} {'1' * 60}{'語' * letters} h=a\n")
        assert line.decode().startswith("put: invalid value: ")


def test_errors_do_not_close_the_connection(server):
    metric = fresh()
    assert server.telnet(f"put\nput m x 1 h=a\nput {metric} {T} 7 h=a\n").count(b"\n") == 2
    assert server.query(T, T + 9, f"sum:{metric}")[0]["dps"] == {str(T): 7}


def test_commands(server):
    version = server.telnet("version\n")
    assert version.startswith(b"net.opentsdb.tools 2.4.1 built at revision ") and version.count(b"\n") == 2
    assert server.telnet("help\n") == b"available commands: stats dropcaches version exit help put \n"
    assert server.telnet("dropcaches\n") == b"Caches dropped.\n"
    lines = server.telnet("stats\n").decode().splitlines()
    assert any(line.startswith("tsd.rpc.received ") and " type=put " in line for line in lines)
    assert all(len(line.split()) >= 4 for line in lines)


def test_lines_may_arrive_in_any_pieces(server):
    metric = fresh()
    text = "".join(f"put {metric} {T + i} {i} host=a\n" for i in range(50)).encode()
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(text), 7):
            s.sendall(text[i:i + 7])
        s.sendall(b"version\n")
        assert s.recv(100).startswith(b"net.opentsdb")
    assert len(server.query(T, T + 99, f"sum:{metric}")[0]["dps"]) == 50


def test_timestamp_forms(server):
    metric = fresh()
    server.telnet(f"put {metric} 1356998400 1 h=a\nput {metric} 1356998400001 2 h=a\n"
                  f"put {metric} 1356998400.500 3 h=a\n")
    assert server.query(T, T + 9, f"sum:{metric}", ms=True)[0]["dps"] == {
        "1356998400000": 1, "1356998400001": 2, "1356998400500": 3}


def test_a_client_that_never_reads_its_errors_blocks_nobody(server):
    metric = fresh()
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(30)
        s.sendall(b"put bad\n" * 200000)
        s.sendall(f"put {metric} {T} 1 h=a\n".encode())
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            reply = server.get("/api/query", start=T, end=T + 9, m=f"sum:{metric}")
            if reply.status == 200:
                break
            time.sleep(0.05)
        assert reply.status == 200
    assert server.telnet("version\n") != b""


def test_silent_and_half_closed_clients_are_harmless(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    half = socket.create_connection(("127.0.0.1", server.port))
    half.sendall(b"version\n")
    half.shutdown(socket.SHUT_WR)
    assert half.recv(100).startswith(b"net.opentsdb")
    half.close()
    metric = fresh()
    partial = socket.create_connection(("127.0.0.1", server.port))
    partial.sendall(f"put {metric} {T} 1 h=".encode())
    assert server.telnet("version\n") != b""
    partial.close()
    for s in silent:
        s.close()
    assert server.get("/api/version").status == 200


def test_a_line_of_a_mebibyte_is_refused_and_the_server_lives(server):
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as s:
        s.settimeout(30)
        with contextlib.suppress(OSError):
            s.sendall(b"put " + b"x" * (3 << 20))
        received = b""
        with contextlib.suppress(OSError):
            while part := s.recv(65536):
                received += part
    assert b"line too long" in received or received == b""
    assert server.telnet("version\n") != b""


def test_bytes_of_every_value_are_answered_and_harm_nobody(server):
    metric = fresh()
    assert server.telnet(bytes(range(256)) * 100 + b"\n").count(b"unknown command") == 101
    for byte in range(256):
        if byte in (10, 13, 32):
            continue
        assert server.telnet(b"version\nput m%c 1356998400 1 h=a\n" % byte).count(b"\n") >= 2
    server.telnet(f"put {metric} {T} 1 h=a\n")
    assert server.query(T, T + 9, f"sum:{metric}")[0]["dps"] == {str(T): 1}


def test_a_beginning_of_a_line_that_memory_cannot_keep_is_refused(make_server):
    server = make_server("memory.limit=16M")
    with contextlib.ExitStack() as stack:
        texts = []
        for _ in range(40):
            s = stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", server.port))))
            s.settimeout(0.2)
            with contextlib.suppress(OSError):
                s.sendall(b"put " + b"x" * 900_000)
                texts.append(s.recv(1000))
        assert b"put: Please throttle writes: too many unfinished lines, retry later\n" in texts
        assert "no memory for the line it began" in server.log()
    metric = fresh()
    assert server.telnet(f"put {metric} {T} 1 h=a\n") == b""
    assert server.query(T, T + 9, f"sum:{metric}")[0]["dps"] == {str(T): 1}


def test_read_only_mode_does_not_know_put(make_server):
    server = make_server("tsd.mode=ro")
    assert server.telnet(f"put m {T} 1 h=a\n") == b"unknown command: put.  Try `help'.\n"
    assert server.post("/api/put", {}).status == 404


def test_what_the_server_calls_its_own_series_is_no_line(make_server):
    """Its keys are shorter than a line's, in the cache that all share."""
    server = make_server("self.interval=1h")
    wrong = "put: illegal argument: invalid tag: put\n"
    assert server.telnet(f"put tsd.rpc.received {T} 1 put\n") == wrong.encode()
    server.telnet(f"put tsd.process.uptime_seconds {T} 1 \n")
    for metric in "tsd.rpc.received", "tsd.process.uptime_seconds":
        assert all(not result["dps"] for result in server.query(T, T + 9, f"none:{metric}"))


def test_the_same_bytes_are_another_key_as_json(make_server):
    server = make_server('tsd.core.tag.allow_specialchars={":=}')
    line = f'put "m" {T} 1 {{"a":"b="}}\n'
    point = f'{{"metric":"m","timestamp":{T},"value":2,"tags":{{"a":"b="}}}}'
    assert server.post("/api/put", point).status == 204
    server.telnet(line)
    assert server.query(T, T + 9, "none:m")[0]["dps"] == {str(T): 2}
