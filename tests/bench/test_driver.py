"""The driver's parts against the real programs: what is sent, what is heard, and how both are counted."""

import http.client
import http.server
import json
import os
import socket
import threading
import time

import procs
import pytest
import report
from programs import Load, Sink, milliseconds, quantiles


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Echo(http.server.BaseHTTPRequestHandler):
    """Takes alerts and posts them on as Alertmanager would; every tenth request is refused."""

    protocol_version = "HTTP/1.1"
    lock, bodies, count = threading.Lock(), [], 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with Echo.lock:
            Echo.count += 1
            refused = Echo.count % 10 == 0
            if not refused:
                Echo.bodies.append(json.loads(body))
        self.send_response(503 if refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass


@pytest.fixture
def echo():
    Echo.bodies, Echo.count = [], 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_was_accepted_is_what_arrived(echo):
    load = Load(echo, rate=500, seconds=1, keys=50, names=5, zipf=1.1, resolved=0.5, connections=4, run="t").result()
    said = [alert for body in Echo.bodies for alert in body]
    assert load["requests"] == load["due"] == Echo.count and load["unsent"] == load["unanswered"] == 0
    assert load["accepted"] == load["alerts"] == len(said) == load["ms"]["n"]
    assert load["statuses"]["prometheus 503"] == Echo.count // 10 == load["refused_ms"]["n"]
    firing = [a for a in said if milliseconds(a["endsAt"]) > time.time() * 1000]
    assert load["starts"] == len({(a["labels"]["instance"], a["startsAt"]) for a in firing})
    assert load["keys"] == len({a["labels"]["instance"] for a in firing})
    assert {a["labels"]["namespace"] for a in said} == {"t"} and len({a["labels"]["alertname"] for a in said}) <= 5


def test_fresh_keys_are_each_sent_once(echo):
    load = Load(echo, rate=0, seconds=30, keys=300, batch=7, fresh=True, connections=3, run="f").result()
    names = [alert["labels"]["instance"] for body in Echo.bodies for alert in body]
    assert len(names) == len(set(names)) == load["alerts"] == load["keys"]
    assert load["requests"] == 43


def test_nobody_there_is_an_error():
    with pytest.raises(RuntimeError):
        Load(f"127.0.0.1:{free_port()}", rate=10, seconds=1).result()


def message(port, path, alerts, key=None):
    body = json.dumps({"version": "4", "alerts": alerts}).encode()
    headers = {"Idempotency-Key": key} if key else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", path, body, headers)
    assert connection.getresponse().status == 200
    connection.close()


def test_the_sink_notes_what_is_new_once(tmp_path):
    port = free_port()
    sink = Sink(port, tmp_path / "sink.tsv")
    alert = {"status": "firing", "labels": {"instance": "r-1:9"}, "startsAt": "2026-01-02T03:04:05.678Z"}
    end = time.monotonic() + 10
    while True:
        try:
            message(port, "/a", [alert, {**alert, "labels": {"instance": "q-1:9"}}], "one")
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
    message(port, "/a", [alert], "two")
    message(port, "/a", [{**alert, "status": "resolved"}], "two")
    message(port, "/b", [alert])
    heard = sink.heard("/a", "r")
    assert list(heard) == ["r-1:9"]
    assert [(start, status) for _, start, status in heard["r-1:9"]] == [(1767323045678, "firing"), (1767323045678, "resolved")]
    assert len(sink.heard("/a", "q")) == len(sink.heard("/b", "r")) == 1
    sink.forget()
    assert sink.heard("/a", "r") == {}
    assert sink.stop() == {"messages": 4, "alerts": 5, "stale": 1, "copies": 1, "odd": 0}


def test_quantiles_are_nearest_ranks():
    assert quantiles([]) == {"n": 0}
    assert quantiles(range(1, 101)) == {"n": 100, "p50": 50, "p99": 99, "max": 100}
    assert quantiles([3]) == {"n": 1, "p50": 3, "p99": 3, "max": 3}


def test_costs_are_of_the_process_and_its_children():
    costs = procs.Costs({"me": os.getpid()})
    keep = bytearray(os.urandom(1 << 20)) * 64
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    spent = costs.so_far()["me"]
    assert spent["cpu_s"] >= 0.25 and spent["rss_grown"] >= spent["rss_held"] >= len(keep) * 0.9
    assert os.getpid() in procs.family(os.getppid())


def test_a_target_is_met_or_not():
    def rows(ours, theirs):
        lines = {"accept": {"ours": {"single": {"accepted_per_s": ours}}, "theirs": {"single": {"accepted_per_s": theirs}}}}
        return report.targets(lines)

    assert rows(30000, 20000) == [
        {"figure": "single-alert POSTs accepted durably [/s]", "target": ">= 20000 and >= 1x", "ours": 30000, "theirs": 20000, "ratio": 1.5, "met": True}
    ]
    assert not rows(30000, 40000)[0]["met"] and not rows(10000, 5000)[0]["met"]
    assert "NOT MET" in report.target_table(rows(10000, 5000))
