"""What was acknowledged is there after kill -9, after SIGTERM, and beside damaged files."""
import contextlib
import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import threading
import time

import pytest

from conftest import PROGRAM, Server, free_port, unavailable

SEED = int(os.environ.get("TEST_SEED", random.randrange(1 << 32)))
T = 1356998400
DAY = 86400
OLDEST = 1
NEWEST = 4102444800


class Ledger:
    """What one client sent and what it knows to be stored: by (metric, writer, lane, time) the
    acknowledged value, and the values sent later of which nothing is known."""

    def __init__(self):
        self.stored = {}
        self.unknown = {}

    def sending(self, points):
        for key, value in points:
            self.unknown.setdefault(key, []).append(value)

    def acknowledged(self, points):
        for key, value in points:
            self.stored[key] = value
            self.unknown.pop(key, None)


class Writer(threading.Thread):
    """Puts batches by HTTP until the server goes away: series that go on in order, points all over
    forty days that overwrite each other, and new series now and then."""

    def __init__(self, number, port, ledger, seed, pause=0.0):
        super().__init__(daemon=True)
        self.number = number
        self.port = port
        self.ledger = ledger
        self.random = random.Random(f"{seed}/{number}")
        self.pause = pause
        self.batches = 0
        self.refused = None
        self.ended = threading.Event()

    def batch(self):
        rng = self.random
        step = sum(len(v) for v in (self.ledger.stored, self.ledger.unknown))
        lanes = 2 + step // 2000
        points = {}
        for i in range(rng.choice((1, 20, 60, 150))):
            if rng.random() < 0.5:
                key = ("kill.steady", self.number, rng.randrange(lanes), (T + step + i) * 1000)
                points[key] = step * 1000 + i
            else:
                key = ("kill.wild", self.number, rng.randrange(3),
                       T * 1000 + rng.randrange(400) * (DAY // 10) * 1000 + rng.randrange(2))
                points[key] = step + i + 0.25
        return list(points.items())

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            while not self.ended.is_set():
                points = self.batch()
                body = json.dumps([{"metric": metric, "timestamp": ms, "value": value,
                                    "tags": {"writer": f"w{writer}", "lane": f"l{lane}"}}
                                   for (metric, writer, lane, ms), value in points])
                self.ledger.sending(points)
                connection.request("POST", "/api/put", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                text = response.read()
                if response.status != 204:
                    self.refused = (response.status, text)
                    return
                self.ledger.acknowledged(points)
                self.batches += 1
                time.sleep(self.pause)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()


@contextlib.contextmanager
def writers_of(ledgers, server, seed):
    """Writers at work while the block runs, which ends the server and thereby them."""
    writers = [Writer(number, server.port, ledger, seed) for number, ledger in ledgers.items()]
    for writer in writers:
        writer.start()
    yield writers
    for writer in writers:
        writer.join(30)


def read_all(server):
    found = {}
    for metric in ("kill.steady", "kill.wild"):
        reply = server.get("/api/query", start=OLDEST, end=NEWEST, m=f"none:{metric}", ms="", arrays="")
        if reply.status == 400 and b"No such name for 'metrics'" in reply.body:
            continue
        assert reply.status == 200, reply
        for series in reply.json():
            writer, lane = int(series["tags"]["writer"][1:]), int(series["tags"]["lane"][1:])
            for ms, value in series["dps"]:
                found[metric, writer, lane, ms] = value
    return found


def check(server, ledgers):
    """Compares the server with the ledgers; what is there now must be there the next time too."""
    found = read_all(server)
    for ledger in ledgers.values():
        for key, value in ledger.stored.items():
            got = found.pop(key, None)
            if got != value or type(got) is not type(value):
                assert got in ledger.unknown.get(key, ()), \
                    f"{key}: acknowledged {value}, found {got} (seed {SEED})"
                ledger.stored[key] = got
    for key, value in found.items():
        ledger = ledgers[key[1]]
        assert value in ledger.unknown.get(key, ()), f"{key}: {value} was never sent (seed {SEED})"
        ledger.stored[key] = value
    for ledger in ledgers.values():
        ledger.unknown.clear()


@pytest.mark.parametrize("kills, settings", [
    (14, ()),
    (14, ("store.checkpoint_interval=1s", "log.bytes_max=64K", "store.window=7d")),
    (6, ("store.shards=1", "log.commit_interval=5ms", "log.bytes_max=1", "memory.limit=64M")),
], ids=("defaults", "checkpoints", "checkpoints-all-the-time"))
def test_kills_at_random_moments(tmp_path, kills, settings):
    rng = random.Random(SEED)
    ledgers = {number: Ledger() for number in range(3)}
    server = Server(tmp_path / "data", "self.interval=0", *settings)
    acknowledged = 0
    try:
        for turn in range(kills):
            server.start()
            check(server, ledgers)
            with writers_of(ledgers, server, f"{SEED}/{turn}") as writers:
                time.sleep(rng.choice((0.02, 0.1, 0.3, 0.6)) * rng.random() + 0.01)
                server.kill()
            assert [writer.refused for writer in writers] == [None] * len(writers)
            acknowledged += sum(writer.batches for writer in writers)
        server.start()
        check(server, ledgers)
        assert acknowledged > kills
        assert server.log().count("damaged") == 0
        # A start that has nothing left to repair finds the same.
        assert server.stop() == 0
        server.start()
        check(server, ledgers)
    finally:
        if server.process is not None:
            server.kill()


def test_kills_during_the_start(tmp_path):
    ledgers = {0: Ledger()}
    server = Server(tmp_path / "data", "self.interval=0", "log.bytes_max=64K").start()
    with writers_of(ledgers, server, SEED):
        time.sleep(0.5)
        server.kill()
    for delay in (0, 0.002, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1):
        server.start(wait=False)
        time.sleep(delay)
        server.kill()
    with server:
        check(server, ledgers)


@pytest.mark.sanitized
def test_terminated_under_load_exits_with_0_and_loses_nothing(tmp_path):
    ledgers = {number: Ledger() for number in range(3)}
    server = Server(tmp_path / "data", "self.interval=0")
    for turn in range(3):
        server.start()
        check(server, ledgers)
        with writers_of(ledgers, server, f"{SEED}/{turn}") as writers:
            time.sleep(0.3)
            assert server.stop() == 0, server.log()
        assert all(writer.batches > 0 for writer in writers)
    with server:
        check(server, ledgers)


def telnet_lines(server, first, count):
    """Sends lines and waits until the server has read them all."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
        s.sendall("".join(f"put telnet.kept {T + i} {i} host=a\n" for i in range(first, first + count)).encode()
                  + b"version\n")
        while b"built" not in s.recv(4096):
            pass


@pytest.mark.sanitized
def test_telnet_points_older_than_the_commit_interval_survive_a_kill(tmp_path):
    server = Server(tmp_path / "data", "self.interval=0", "log.commit_interval=50ms").start()
    sent = 0
    for count in (1, 1000, 20000):
        telnet_lines(server, sent, count)
        sent += count
        time.sleep(0.05 + 0.5)
        server.kill()
        server.start()
        dps = server.query(OLDEST, NEWEST, "sum:telnet.kept")[0]["dps"]
        assert dps == {str(T + i): i for i in range(sent)}
    assert server.stop() == 0


def test_telnet_points_read_before_the_end_are_kept(tmp_path):
    server = Server(tmp_path / "data", "self.interval=0", "log.commit_interval=60s").start()
    telnet_lines(server, 0, 500)
    assert server.stop() == 0
    with server:
        assert len(server.query(OLDEST, NEWEST, "sum:telnet.kept")[0]["dps"]) == 500


def test_a_delete_that_was_answered_stays_done(tmp_path):
    settings = ("self.interval=0", "tsd.http.query.allow_delete=true", "store.checkpoint_interval=1s")
    server = Server(tmp_path / "data", *settings).start()
    expected = {T + i: i for i in range(2000)}
    server.put([("gone.some", t, v, {"h": "a"}) for t, v in expected.items()])
    rng = random.Random(SEED)
    for turn in range(6):
        first = T + rng.randrange(1900)
        reply = server.request("DELETE", f"/api/query?start={first}&end={first + 40}&m=sum:gone.some")
        assert reply.status == 200, reply
        for t in range(first, first + 41):
            expected.pop(t, None)
        # One of the deleted points is written again: it must not go with the delete.
        server.put([("gone.some", first + 3, turn, {"h": "a"})])
        expected[first + 3] = turn
        if turn % 2 == 1:
            time.sleep(1.2)
        server.kill()
        server.start()
        assert server.query(OLDEST, NEWEST, "sum:gone.some")[0]["dps"] == \
            {str(t): v for t, v in sorted(expected.items())}, f"turn {turn}, seed {SEED}"
    assert server.stop() == 0


# ---- the directory ----

def run_serve(*arguments, prefix=(), timeout=60):
    return subprocess.run([*prefix, PROGRAM, "serve", "--bind", "127.0.0.1", "--port", str(free_port()),
                           *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout)


@pytest.mark.sanitized
def test_a_second_server_on_the_same_directory_is_refused(make_server):
    server = make_server()
    second = run_serve("--data-dir", str(server.data_dir))
    assert second.returncode == 1
    assert f"data directory {server.data_dir} is in use by another process" in second.stdout
    server.put([("still.served", T, 1, {"h": "a"})])
    assert server.query(T, T + 1, "sum:still.served")[0]["dps"] == {str(T): 1}


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    # The superuser may write anywhere unless he gives that up.
    prefix = () if os.geteuid() != 0 else ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    for directory in (closed, closed / "data"):
        result = run_serve("--data-dir", str(directory), prefix=prefix)
        assert result.returncode == 1
        assert str(directory) in result.stdout and "ermission denied" in result.stdout, result.stdout
    (tmp_path / "file").write_text("not a directory")
    result = run_serve("--data-dir", str(tmp_path / "file"))
    assert result.returncode == 1
    assert str(tmp_path / "file") in result.stdout and "ot a directory" in result.stdout, result.stdout


# ---- damage ----

BATCHES = 40
LANES = 8
PER_LANE = 25


def damage_points():
    """By batch, lane and time; every value differs."""
    return {(batch, lane, T + batch * PER_LANE + i): (batch * LANES + lane) * PER_LANE + i
            for batch in range(BATCHES) for lane in range(LANES) for i in range(PER_LANE)}


def put_damage_points(server):
    """One request a batch: in the log that is one record for each shard."""
    points = damage_points()
    for wanted in range(BATCHES):
        server.put([("damage.m", t, value, {"lane": f"l{lane}"})
                    for (batch, lane, t), value in points.items() if batch == wanted])


def served(server):
    """All that is there; a value that was not put fails."""
    found = {(int(series["tags"]["lane"][1:]), int(t)): value
             for series in server.query(OLDEST, NEWEST, "none:damage.m")
             for t, value in series["dps"].items()}
    for lane in range(LANES):
        assert found.pop((lane, T - 1)) == -1
    return found


def lost_by(server):
    """Starts the server on its damaged files: what is lost, by batch and lane. New points are taken,
    and the next start finds all of them."""
    server.start()
    found = served(server)
    lost = {}
    for (batch, lane, t), value in damage_points().items():
        if (lane, t) in found:
            assert found.pop((lane, t)) == value
        else:
            lost.setdefault((batch, lane), []).append(t)
    assert found == {}
    server.put([("damage.new", T, 1, {"lane": "l0"})])
    before = served(server)
    assert server.stop() == 0
    with server:
        assert served(server) == before
        assert server.query(T, T + 1, "sum:damage.new")[0]["dps"] == {str(T): 1}
    return lost


def flip(path, offset, bit=0):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def files_of(directory, kind):
    return sorted(p for p in pathlib.Path(directory).rglob("*")
                  if p.is_file() and p.name.startswith(kind) and p.suffix != ".copy")


def make_damage_store(directory, *, checkpointed):
    """Eight series whose names and first points are checkpointed, and all their other points, which
    are in segments too or only in the log."""
    server = Server(directory / "data", "self.interval=0").start()
    server.put([("damage.m", T - 1, -1, {"lane": f"l{lane}"}) for lane in range(LANES)])
    assert server.stop() == 0
    server.start()
    put_damage_points(server)
    if checkpointed:
        assert server.stop() == 0
    else:
        server.kill()
    return server.data_dir


@pytest.fixture(scope="module")
def store_in_log(tmp_path_factory):
    return make_damage_store(tmp_path_factory.mktemp("log"), checkpointed=False)


@pytest.fixture(scope="module")
def store_in_segments(tmp_path_factory):
    return make_damage_store(tmp_path_factory.mktemp("segments"), checkpointed=True)


def copy_of(store, tmp_path, number=0):
    subprocess.run(["cp", "-a", str(store), str(tmp_path / f"data{number}")], check=True)
    return Server(tmp_path / f"data{number}", "self.interval=0")


def largest(directory, kind):
    return max(files_of(directory, kind), key=lambda p: p.stat().st_size)


def test_undamaged_copies_lose_nothing(tmp_path, store_in_log, store_in_segments):
    assert lost_by(copy_of(store_in_log, tmp_path, 0)) == {}
    assert lost_by(copy_of(store_in_segments, tmp_path, 1)) == {}


@pytest.mark.sanitized
def test_a_bit_flip_in_the_log_costs_one_record_and_is_reported(tmp_path, store_in_log):
    rng = random.Random(SEED)
    size = largest(store_in_log, "log-").stat().st_size
    for number in range(8):
        server = copy_of(store_in_log, tmp_path, number)
        offset = rng.randrange(32, size * 9 // 10)
        flip(largest(server.data_dir, "log-"), offset, rng.randrange(8))
        lost = lost_by(server)
        where = f"offset {offset}, seed {SEED}"
        # One record has the points of one batch that are of one shard.
        assert len({batch for batch, lane in lost}) == 1, where
        assert len(lost) < LANES, where
        assert all(len(times) == PER_LANE for times in lost.values()), where
        assert "log: 1 damaged records" in server.log(), where


def test_a_log_cut_off_anywhere_loses_only_its_end(tmp_path, store_in_log):
    rng = random.Random(SEED)
    size = largest(store_in_log, "log-").stat().st_size
    cuts = [size - 1, size - 30, 32, 31, 0] + [rng.randrange(33, size) for _ in range(4)]
    for number, length in enumerate(cuts):
        server = copy_of(store_in_log, tmp_path, number)
        log = largest(server.data_dir, "log-")
        os.truncate(log, length)
        lost = lost_by(server)
        where = f"length {length} of {size}, seed {SEED}"
        first = min(batch for batch, lane in lost)
        # Of the batch in which the cut is, some shards may be whole; nothing after it is left.
        assert {(batch, lane) for batch in range(first + 1, BATCHES) for lane in range(LANES)} <= set(lost), where
        assert all(len(times) == PER_LANE for times in lost.values()), where
        assert length > 32 or first == 0, where


def test_zeros_behind_the_log_are_no_damage(tmp_path, store_in_log):
    """A crash of the machine can leave a file longer than what was written."""
    server = copy_of(store_in_log, tmp_path)
    with open(largest(server.data_dir, "log-"), "ab") as log:
        log.write(bytes(10000))
    assert lost_by(server) == {}
    assert "damaged" not in server.log()


@pytest.mark.sanitized
def test_a_bit_flip_in_a_segment_is_isolated_and_reported(tmp_path, store_in_segments):
    rng = random.Random(SEED)
    hit = 0
    for number in range(10):
        server = copy_of(store_in_segments, tmp_path, number)
        segment = largest(server.data_dir, "seg-")
        offset = rng.randrange(segment.stat().st_size) if number > 1 else 8 + number
        flip(segment, offset, rng.randrange(8))
        lost = lost_by(server)
        where = f"{segment.name} offset {offset}, seed {SEED}"
        # A segment is of one shard; directory and footer are there twice.
        lanes = {lane for batch, lane in lost}
        assert len(lanes) < LANES, where
        if lost:
            hit += 1
            assert "damaged" in server.log(), where
    assert hit > 0


@pytest.mark.parametrize("kind", ["manifest", "names-"])
def test_what_is_kept_twice_survives_the_loss_of_one(tmp_path, store_in_segments, kind):
    for number, harm in enumerate((lambda p: flip(p, p.stat().st_size // 2), lambda p: os.truncate(p, 10),
                                   lambda p: p.unlink())):
        server = copy_of(store_in_segments, tmp_path, number)
        for path in files_of(server.data_dir, kind):
            if not path.name.endswith(".previous"):
                harm(path)
        assert lost_by(server) == {}, kind
        assert "manifest" in server.log() if kind == "manifest" else "copy" in server.log()


# ---- a full disk ----

@pytest.fixture
def on_small_disk(tmp_path):
    """A server whose data are on a file system of 4 MiB, and what enlarges it when called."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        unavailable("file systems cannot be mounted here; the faulty medium of the unit tests has to do")
    server = Server(directory / "data", "self.interval=0")
    server.log_path = tmp_path / "log"
    try:
        yield server.start(), lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(directory)], check=True)
    finally:
        if server.process is not None:
            server.kill()
        subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_full_disk_refuses_writers_until_there_is_room(on_small_disk):
    server, enlarge = on_small_disk
    rng = random.Random(SEED)
    stored = {}
    for batch in range(2000):
        points = {T + batch * 1000 + i: rng.random() for i in range(1000)}
        reply = server.post("/api/put", [{"metric": "full.m", "timestamp": t, "value": v, "tags": {"h": "a"}}
                                         for t, v in points.items()])
        if reply.status != 204:
            break
        stored.update(points)
    assert reply.status == 503 and "no space left" in reply.json()["error"]["details"], reply
    assert len(stored) > 10000

    def all_are_there():
        dps = server.query(T, max(stored), "sum:full.m")[0]["dps"]
        assert dps == {str(t): v for t, v in stored.items()}

    all_are_there()
    assert server.get("/health").status == 200
    # Whatever form of answer was asked for, it says why.
    point = {"metric": "full.more", "timestamp": T, "value": 1, "tags": {"h": "a"}}
    for flags in ("summary", "details", "summary&details&sync"):
        reply = server.post("/api/put?" + flags, [point, dict(point, value="x")])
        answer = reply.json()
        assert reply.status == 503 and (answer["success"], answer["failed"]) == (0, 2), reply
        assert answer["error"]["code"] == 503 and "no space left" in answer["error"]["details"]
        assert "1 data points were not stored" in answer["error"]["message"]
        if "details" in flags:
            refused, lost = answer["errors"]
            assert refused["datapoint"]["value"] == "x" and lost["datapoint"] is None
            assert "no space left" in lost["error"]
    log = server.log()
    assert log.count("nothing more is stored, and writers are refused: ") == 1 and "no space left" in log
    enlarge()
    one = {"metric": "full.again", "timestamp": T, "value": 1, "tags": {"h": "a"}}
    deadline = time.monotonic() + 15
    while (reply := server.post("/api/put", one)).status != 204 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert reply.status == 204, reply
    assert "what is written is stored again" in server.log()
    server.kill()
    server.start()
    all_are_there()
    assert server.query(T, T + 1, "sum:full.again")[0]["dps"] == {str(T): 1}
    assert server.stop() == 0


def test_a_full_disk_is_in_the_log_when_only_telnet_writes(on_small_disk):
    """Nobody waits for such a commit, and no statistics are recorded that could fail."""
    server, _ = on_small_disk
    rng = random.Random(SEED)
    for batch in range(100):
        server.telnet("".join(f"put full.lines {T + batch * 20000 + i} {rng.random()} h=a\n" for i in range(20000)))
        if "no space left" in server.log():
            break
    deadline = time.monotonic() + 10
    while "no space left" not in server.log() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "nothing more is stored, and writers are refused: " in server.log()
    assert "no space left" in server.log()
