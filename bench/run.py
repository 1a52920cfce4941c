#!/usr/bin/env python3
"""The server and a peer (VictoriaMetrics) on the same TSBS-like data in the same run, as a table.

    bench/run.py BUILD [HOSTS [EPOCHS]]     4000 hosts x 10 metrics x 360 epochs: 14.4 M points

Figures are points per second of the server's CPU time for writes, the best of several tries for queries.
Everything listens on 127.0.0.1 and is ended by its process id.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build-bench")
HOSTS = int(sys.argv[2]) if len(sys.argv) > 2 else 4000
EPOCHS = int(sys.argv[3]) if len(sys.argv) > 3 else 360
JSON_EPOCHS = max(1, EPOCHS // 8)
START = 1451606400
END = START + EPOCHS * 10
METRICS = ["usage_user", "usage_system", "usage_idle", "usage_nice", "usage_iowait", "usage_irq",
           "usage_softirq", "usage_steal", "usage_guest", "usage_guest_nice"]
TRIES = 7


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid):
    match = re.search(r"RssAnon:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    return int(match.group(1)) * 1024


def tree_bytes(path):
    """Allocated bytes; a file that vanishes meanwhile does not count."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total


class Peer:
    """A server process with ports for telnet, put and queries."""

    name = "?"

    def __init__(self):
        self.data = tempfile.mkdtemp(prefix="bench-")
        self.process = None

    def wait(self, port, path):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.get(port, path)[0] == 200:
                    return
            time.sleep(0.002)
        raise RuntimeError(f"{self.name} does not answer")

    def get(self, port, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST" if body else "GET", path, body)
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        return reply.status, data

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)

    def end(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.data, ignore_errors=True)


class Barograph(Peer):
    name = "Barograph"

    def start(self):
        self.port = self.telnet_port = self.put_port = free_port()
        self.process = subprocess.Popen(
            [BUILD / "barograph", "serve", "--port", str(self.port), "--bind", "127.0.0.1", "--data-dir", self.data,
             "--set", "self.interval=0"], stdout=subprocess.DEVNULL)
        began = time.monotonic()
        self.wait(self.port, "/api/version")
        return time.monotonic() - began

    def double_groupby_all(self):
        body = json.dumps({"start": START, "end": END - 1, "queries": [
            {"aggregator": "avg", "metric": f"cpu.{m}", "downsample": "1h-avg",
             "filters": [{"type": "wildcard", "tagk": "hostname", "filter": "*", "groupBy": True}]}
            for m in METRICS]})
        return self.get(self.port, "/api/query", body)

    def single_groupby(self):
        return self.get(self.port, f"/api/query?start={START}&end={END - 1}&m="
                        + urllib.parse.quote("max:1m-max:cpu.usage_user{hostname=host_17}"))

    def lastpoint(self):
        return self.get(self.port, "/api/query/last?timeseries=cpu.usage_user&resolve")

    def settle(self):
        """Everything in segments (a clean stop makes a checkpoint) and compacted."""
        self.stop()
        self.start()
        merged = -1
        while merged != (merged := self.compactions()):
            time.sleep(3)

    def compactions(self):
        return re.search(rb"store_compactions_total (\d+)", self.get(self.port, "/metrics")[1]).group(1)

    def stored_bytes(self):
        """Segments, names and manifest; the log is not data at rest."""
        return tree_bytes(self.data) - tree_bytes(os.path.join(self.data, "logs"))


class Victoria(Peer):
    name = "VictoriaMetrics"

    def start(self):
        self.port, self.telnet_port, self.put_port = free_port(), free_port(), free_port()
        self.process = subprocess.Popen(
            ["victoria-metrics", f"-httpListenAddr=127.0.0.1:{self.port}",
             f"-opentsdbListenAddr=127.0.0.1:{self.telnet_port}",
             f"-opentsdbHTTPListenAddr=127.0.0.1:{self.put_port}", f"-storageDataPath={self.data}",
             "-retentionPeriod=100y", "-search.latencyOffset=0s", "-loggerLevel=ERROR"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = time.monotonic()
        self.wait(self.port, "/health")
        return time.monotonic() - began

    def range(self, expression, step):
        return self.get(self.port, f"/api/v1/query_range?start={START}&end={END - 1}&step={step}&nocache=1&query="
                        + urllib.parse.quote(expression))

    def double_groupby_all(self):
        return self.range('avg(avg_over_time({__name__=~"cpu.usage_.*"}[1h])) by (__name__, hostname)', 3600)

    def single_groupby(self):
        return self.range('max(max_over_time(cpu.usage_user{hostname="host_17"}[1m]))', 60)

    def lastpoint(self):
        return self.get(self.port, f"/api/v1/query?time={END}&nocache=1&query="
                        + urllib.parse.quote("last_over_time(cpu.usage_user[1h])"))

    def stored_bytes(self):
        return tree_bytes(self.data)

    def settle(self):
        self.get(self.port, "/internal/force_flush")
        self.get(self.port, "/internal/force_merge")
        time.sleep(5)


def load(peer, how, port, epochs, first=0):
    out = subprocess.run([BUILD / "bench" / "bench_load", "--by", how, "--port", str(port),
                          "--pid", str(peer.process.pid), "--hosts", str(HOSTS), "--epochs", str(epochs),
                          "--skip", str(first)], check=True, capture_output=True, text=True).stdout
    return float(re.search(r"([\d.]+) M points/CPU s", out).group(1))


def best(call):
    """Least wall time of several tries, milliseconds; and the CPU's."""
    call()
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        status, data = call()
        times.append((time.perf_counter() - began) * 1000)
        assert status == 200 and len(data) > 50, (status, data[:300])
    return min(times)


def measure(peer):
    figures = {}
    try:
        figures["start, empty (ms)"] = peer.start() * 1000
        before = resident_bytes(peer.process.pid)
        figures["telnet put (M points/CPU s)"] = load(peer, "telnet", peer.telnet_port, EPOCHS)
        time.sleep(2)  # an hour of points came in seconds: both give memory back about every second
        figures["memory a series, hot (bytes)"] = (resident_bytes(peer.process.pid) - before) / (HOSTS * 10)
        figures["double-groupby-all, hot (ms)"] = best(peer.double_groupby_all)
        figures["single-groupby-1-1-1, hot (ms)"] = best(peer.single_groupby)
        peer.settle()
        figures["bytes a point, stored, with index"] = peer.stored_bytes() / (HOSTS * 10 * EPOCHS)
        figures["double-groupby-all, stored (ms)"] = best(peer.double_groupby_all)
        figures["single-groupby-1-1-1, stored (ms)"] = best(peer.single_groupby)
        figures["lastpoint (ms)"] = best(peer.lastpoint)
        figures["/api/put (M points/CPU s)"] = load(peer, "http", peer.put_port, JSON_EPOCHS, EPOCHS)
        peer.process.kill()
        peer.process.wait()
        figures["start after kill -9 (ms)"] = peer.start() * 1000
    finally:
        peer.end()
    return figures


def main():
    peers = [Barograph()] + ([Victoria()] if shutil.which("victoria-metrics") else [])
    print(f"{HOSTS} hosts x {len(METRICS)} metrics x {EPOCHS} epochs = {HOSTS * 10 * EPOCHS / 1e6:.1f} M points, 8 tags, "
          f"{os.cpu_count()} processors")
    results = {peer.name: measure(peer) for peer in peers}
    ours = results["Barograph"]
    theirs = results.get("VictoriaMetrics")
    print(f"{'':36}{'Barograph':>12}{'VictoriaMetrics':>18}{'times better':>14}")
    for key, value in ours.items():
        line = f"{key:36}{value:12.3f}"
        if theirs:
            ratio = value / theirs[key] if "CPU s" in key else theirs[key] / max(value, 1e-9)
            line += f"{theirs[key]:18.3f}{ratio:14.1f}"
        print(line)


if __name__ == "__main__":
    main()
