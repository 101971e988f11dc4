"""Senders that mean harm, or cannot help it. What is refused says why and reaches no store; what is taken and cannot be read is dead
with a reason; meanwhile everybody else is served, and ingest's memory stays where it was."""

import gzip
import json
import re
import socket
import threading
import time
import urllib.parse
from pathlib import Path

import bodies
import pytest
import senders
from stack import Client, wait

REFUSED = "refused-by-the-door"  # the service of everything that must not come in
MAX_BODY, MAX_ALERTS, MAX_LABELS = 1 << 20, 2000, 64  # of tocsin.yml and the defaults
GROWTH_MIB = 32  # of ingest over this whole file


def alert(service=REFUSED, **labels):
    return bodies.one_alert(service, **labels)


def whole(body):
    return json.dumps(body).encode()


def post_bytes(body, head="", path="/webhook/alertmanager", version="HTTP/1.1"):
    """A request as it goes over the wire; `head` more header lines. A Content-Length unless they frame the body."""
    framed = re.search("(?i)content-length|transfer-encoding", head)
    lines = [f"POST {path} {version}", "Host: tocsin", *([] if framed else [f"Content-Length: {len(body)}"]), *head.splitlines()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def dial(stack):
    address = urllib.parse.urlsplit(stack.ingest_url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def talk(stack, data):
    """Everything that the server says to these bytes until it closes; "" when it only closes."""
    heard = b""
    with dial(stack) as peer:
        try:
            peer.sendall(data)
            while more := peer.recv(1 << 16):
                heard += more
        except ConnectionError:
            pass
    return heard


def answers(heard):
    return [int(s) for s in re.findall(rb"^HTTP/1\.1 (\d+) ", heard, re.M) if s != b"100"]


def reason(heard):
    """What the error of the first answer says to a person."""
    return json.loads(heard.partition(b"\r\n\r\n")[2])["error"]["message"]


# Bystanders


class Others:
    """A sender that does nothing wrong, for as long as the `with` lasts. Each post is an alert of one incident."""

    def __init__(self, stack, name):
        self.stack, self.name, self.statuses = stack, name, []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _send(self):
        client = Client(self.stack.ingest_url)
        while not self._over.is_set():
            body = bodies.webhook(alert(self.name, instance=str(len(self.statuses))))
            try:
                status, _ = client.request("POST", "/webhook/alertmanager", body)
            except OSError as reason:
                status = repr(reason)
            self.statuses.append(status)
            time.sleep(0.02)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self._over.set()
        self._thread.join()
        if failure[0]:
            return
        assert self.statuses and set(self.statuses) == {200}, self.statuses
        wait("the bystander's alerts", lambda: self.stack.incident(self.name)["alerts_total"] == len(self.statuses))


@pytest.fixture
def others(stack, name):
    with Others(stack, name) as sender:
        yield sender


def resident_mib(stack):
    text = Path(f"/proc/{stack.status()['ingest']['pid']}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) / 1024


def large_bodies(stack):
    """Fifty senders of 10 MiB at once, and fifty whose largest body stops before its last byte."""
    held, found = [dial(stack) for _ in range(50)], []
    most = post_bytes(b" " * (MAX_BODY - 1), f"Content-Length: {MAX_BODY}")
    too_much = post_bytes(b" " * (10 << 20), "Connection: close")
    threads = [threading.Thread(target=peer.sendall, args=(most,)) for peer in held]
    threads += [threading.Thread(target=lambda: found.append(answers(talk(stack, too_much)))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[413]] * 50, found
    for peer in held:
        peer.sendall(b"x")
        assert answers(peer.recv(1 << 16)) == [400]
        peer.close()


@pytest.fixture(scope="module", autouse=True)
def memory(stack):
    """What ingest holds once it was busy is what it needs, whatever comes."""
    for _ in range(100):
        stack.send("/webhook/alertmanager", bodies.webhook(alert("warm-up")))
    large_bodies(stack)
    before, pid = resident_mib(stack), stack.status()["ingest"]["pid"]
    yield
    assert stack.status()["ingest"]["pid"] == pid
    after = resident_mib(stack)
    assert after - before < GROWTH_MIB, f"ingest grew from {before:.0f} to {after:.0f} MiB"


def dead(stack):
    """Reasons of the records that the processor could not take, oldest first."""
    lines = "\n".join(text for file, text in stack.logs().items() if file.startswith("processor"))
    return [json.loads(line)["reason"] for line in lines.splitlines() if '"record_dead"' in line]


# Framing

SMUGGLED = post_bytes(whole(bodies.webhook(alert())))
BODY = whole(bodies.webhook(alert()))
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

SHAPES = {
    "length and chunked": post_bytes(CHUNKS, f"{LENGTH}\nTransfer-Encoding: chunked"),
    "chunked and length": post_bytes(CHUNKS, f"Transfer-Encoding: chunked\n{LENGTH}"),
    "two lengths": post_bytes(BODY, f"{LENGTH}\nContent-Length: 4"),
    "the same length twice": post_bytes(BODY, f"{LENGTH}\n{LENGTH}"),
    "space before the colon": post_bytes(BODY, f"Content-Length : {len(BODY)}"),
    "two hosts": post_bytes(BODY, "Host: elsewhere"),
    "no host": SMUGGLED.replace(b"Host: tocsin\r\n", b""),
    "a folded line": post_bytes(BODY, f"X-A: b\n {LENGTH}"),
    "bare LF": SMUGGLED.replace(b"\r\n", b"\n"),
    "bare LF before a length": post_bytes(BODY, "X-A: b").replace(b"X-A: b\r\n", b"X-A: b\nX-B: c\r\n"),
    "bare CR": post_bytes(BODY, "X-A: b").replace(b"X-A: b\r\n", b"X-A: b\rX-B: c\r\n"),
    "blanks before the address": SMUGGLED.replace(b"POST ", b"POST  "),
    "NUL in a value": post_bytes(BODY, "X-A: b\0c"),
    "NUL in the address": post_bytes(BODY, path="/webhook/alertmanager\0"),
    "control character in the address": post_bytes(BODY, path="/webhook/alertmanager?a=\x01"),
    "blanks in the address": post_bytes(BODY, path="/webhook/alertmanager x"),
    "an unknown encoding": post_bytes(CHUNKS, "Transfer-Encoding: gzip, chunked"),
    "chunked in HTTP/1.0": post_bytes(CHUNKS, "Transfer-Encoding: chunked", version="HTTP/1.0"),
    "HTTP/1.2": post_bytes(BODY, version="HTTP/1.2"),
}
# Refused by the library before we are asked, in words of its own.
LIBRARY = {
    "a list of lengths": post_bytes(BODY, f"{LENGTH}, {len(BODY)}"),
    "a signed length": post_bytes(BODY, f"Content-Length: +{len(BODY)}"),
    "a hexadecimal length": post_bytes(BODY, f"Content-Length: {len(BODY):#x}"),
    "NUL in a name": post_bytes(BODY, "X-\0A: b"),
    "no chunk size": post_bytes(b"\r\n" + CHUNKS, "Transfer-Encoding: chunked"),
    "a chunk size that is no number": post_bytes(b"0x" + CHUNKS, "Transfer-Encoding: chunked"),
    "a negative chunk size": post_bytes(b"-" + CHUNKS, "Transfer-Encoding: chunked"),
    "a chunk size past 64 bits": post_bytes(b"f" * 17 + b"\r\n" + BODY, "Transfer-Encoding: chunked"),
    "a chunk longer than it says": post_bytes(b"2\r\n" + BODY + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "no name": post_bytes(BODY, "just words"),
    "a huge header": post_bytes(BODY, "X-A: " + "a" * 100_000),
    "10,000 headers": post_bytes(BODY, "\n".join(f"X-{n}: {n}" for n in range(10_000))),
    "a huge address": post_bytes(BODY, path="/webhook/" + "a" * 100_000),
    "HTTP/2 on HTTP/1": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200 + b"\r\n\r\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_framing_that_another_server_may_read_differently(stack, shape):
    """One answer that says why, and the connection ends: what stands behind is never a request."""
    heard = talk(stack, SHAPES[shape] + SMUGGLED)
    assert answers(heard) == [400] and reason(heard), heard


@pytest.mark.parametrize("shape", LIBRARY)
def test_framing_that_nobody_can_read(stack, shape):
    """Refused, or just cut off; what stands behind is no request either."""
    found = answers(talk(stack, LIBRARY[shape] + SMUGGLED))
    assert all(400 <= status <= 505 for status in found), found


def test_plain_framing_is_taken(stack, name):
    """The same requests without what is wrong with them."""
    body = whole(bodies.webhook(alert(name)))
    chunks = b"1\r\n%s\r\n%X\r\n%s\r\n0\r\nX-T: t\r\n\r\n" % (body[:1], len(body) - 1, body[1:])
    data = post_bytes(body) + post_bytes(chunks, "Transfer-Encoding: chunked") + post_bytes(body, "X-A:  b \nConnection: close")
    assert answers(talk(stack, data)) == [200] * 3


# Bodies


def nested(depth):
    return b'{"groupKey":"x","alerts":' + b"[" * depth + b"]" * depth + b"}"


def in_string(raw):
    return whole(bodies.webhook(alert(marker="MARK"))).replace(b"MARK", raw)


BODIES = {
    "deeper than a stack": (nested(100_000), 413, "deep"),
    "never closed": (b"[" * 500_000, 413, "deep"),
    "10 MiB": (b" " * (10 << 20) + BODY, 413, "larger than"),
    "10 MiB of brackets": (b"[" * (10 << 20), 413, "larger than"),
    "100,000 small alerts": (b'{"alerts":[' + b"{}," * 99_999 + b"{}]}", 413, "100000 alerts"),
    "100,000 alerts": (whole({"alerts": [{"labels": {"alertname": "A", "service": REFUSED}}] * 100_000}), 413, "larger than"),
    "overlong UTF-8": (in_string(b"\xc0\xaf"), 400, "UTF-8"),
    "a surrogate in UTF-8": (in_string(b"\xed\xa0\x80"), 400, "UTF-8"),
    "half a character": (in_string(b"\xe4\xbd"), 400, "UTF-8"),
    "a NUL in a string": (in_string(b"\0"), 400, "control character"),
    "a NUL behind it": (BODY + b"\0", 400, "after the end"),
    "two bodies": (BODY + BODY, 400, "after the end"),
    "half a body": (BODY[:-1], 400, "unfinished"),
    "nothing": (b"", 400, "empty"),
    "NaN": (b'{"alerts":[NaN]}', 400, "unexpected"),
    "a comma too many": (b'{"alerts":[],}', 400, "expected"),
    "a byte-order mark": (b"\xef\xbb\xbf" + BODY, 400, "unexpected"),
    "UTF-16": (BODY.decode().encode("utf-16"), 400, "unexpected"),
}


@pytest.mark.parametrize("what", BODIES)
def test_bodies_that_are_refused(stack, others, what):
    body, status, word = BODIES[what]
    got, answer = stack.post("/webhook/alertmanager", body)
    assert got == status and word in answer["error"]["message"], answer
    assert answer["error"]["code"] in ("bad_request", "too_large")


def test_chunked_body_past_the_cap(stack):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    heard = talk(stack, post_bytes(chunk * 40 + b"0\r\n\r\n", "Transfer-Encoding: chunked\nConnection: close"))
    assert answers(heard) == [413] and "larger than" in reason(heard)


def test_compressed_body(stack):
    """Nothing is unpacked here, so nothing small can become large."""
    status, answer = stack.post("/webhook/alertmanager", gzip.compress(BODY), {"Content-Encoding": "gzip"})
    assert status == 415 and "gzip" in answer["error"]["message"]
    token = {"Authorization": "Bearer system-claims-token"}
    status, answer = stack.post("/api/v1/repairs", b"{}", {**token, "Content-Encoding": "gzip"})
    assert status == 415 and answer["error"]["code"] == "unsupported_encoding"
    status, _ = stack.post("/webhook/alertmanager", bodies.webhook(alert("warm-up")), {"Content-Encoding": "identity"})
    assert status == 200


def test_refused_in_the_words_of_the_api(stack):
    client = Client(stack.ingest_url)
    for body, wanted in ((nested(100), 413), (b"[" + BODY, 400), (whole([{"labels": 1}]), 400), (whole([{}]), 422)):
        status, answer = client.request("POST", "/api/v2/alerts", body)
        assert status == wanted and json.loads(answer)["message"], answer


# Taken, and what becomes of it


def taken(stack, body, path="/webhook/alertmanager", headers=None):
    status, answer = Client(stack.ingest_url).request("POST", path, body, headers)
    assert 200 <= status < 300, answer


def test_too_many_labels_are_cut_and_marked(stack, name):
    extra = {f"l{n:05}": "x" for n in range(10_000)}
    taken(stack, {"groupKey": name, "alerts": [{"labels": {"alertname": name, "a0": name, **extra}}]})
    rows = wait("the cut alert", lambda: stack.sql(f"SELECT labels::text FROM alerts WHERE labels->>'a0' = '{name}'"))
    labels = json.loads(rows[0][0])
    assert len(rows) == 1 and len(labels) == MAX_LABELS and labels["alertname"] == name


def test_long_values_are_cut_and_marked(stack, name):
    long = {key: key + "ä" * 50_000 for key in ("namespace", "reason", "instance")}
    taken(stack, {"groupKey": name, "alerts": [alert(name, **long)]})
    wait("the incident", lambda: stack.incident(name))
    rows = stack.sql(f"SELECT labels::text FROM alerts WHERE labels->>'service' = '{name}'")
    labels = json.loads(rows[0][0])
    assert all(len(labels[key].encode()) <= 2048 and "…#" in labels[key] for key in long)


def test_text_that_no_database_takes(stack, name):
    """Escapes that JSON lets through: a NUL, halves of surrogate pairs."""
    body = whole(bodies.webhook(alert(name, odd="MARK"))).replace(b"MARK", rb"a\u0000b\ud800c\udc00")
    taken(stack, body)
    wait("the incident", lambda: stack.incident(name)["status"] == "open")
    rows = stack.sql(f"SELECT labels->>'odd' FROM alerts WHERE labels->>'service' = '{name}'")
    assert rows == [["a\ufffdb\ufffdc\ufffd"]]


def test_a_delivery_id_that_is_no_text(stack, name):
    """A header may hold any bytes; the issue behind it counts all the same, once."""
    issue = bodies.SentryIssue(name)
    for ident in (b"\xff\xfe\xfd", b"i" * 5000):
        raw = whole(issue.issue("created"))
        headers = senders.sentry_headers("issue", raw, bodies.SENTRY_SECRET)
        taken(stack, raw, "/webhook/sentry", {**headers, "Request-ID": ident})
        taken(stack, raw, "/webhook/sentry", {**headers, "Request-ID": ident})
    wait("the incident", lambda: stack.incident(name)["frequency_stats"]["count_24h"] == 1)
    long = issue.event("e" * 9000)
    status, _ = bodies.post_sentry(stack, "event_alert", long)
    assert status == 200
    wait("the event", lambda: stack.incident(name)["alerts_total"] == 1)
    assert not any("UTF" in why or "index row" in why for why in dead(stack))


UNREADABLE = {
    "a number past all numbers": (in_string(b'x","n":MARK,"m":"').replace(b"MARK", b"1e999"), "number overflow"),
    "an integer of 400 digits": (in_string(b'x","n":MARK,"m":"').replace(b"MARK", b"9" * 400), "number overflow"),
    "no alerts": (b'{"status":"firing"}', "no array `alerts`"),
    "alerts without labels": (b'{"alerts":[{"status":"firing"}]}', "no labels"),
}
# Bodies of the user's own making, where the sender lets him.
OF_ONES_OWN = {
    "signoz": ({"text": "Slow"}, "no array `alerts`"),
    "healthchecks": ({"text": "Backup is down"}, "no `code`"),
    "uptimekuma": ({"title": "Page is down"}, "neither `heartbeat` nor `msg`"),
    "datadog": ({"text": "Slow"}, "neither `alert_id` nor `event_id`"),
    "zabbix": ({"subject": "Problem: Slow", "message": "a script of ones own"}, "neither `event_id` nor `alert_uid`"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_taken_but_unreadable_is_dead_with_a_reason(stack, name, what):
    body, word = UNREADABLE[what]
    before = len(dead(stack))
    taken(stack, body)
    wait("the dead record", lambda: [reason for reason in dead(stack)[before:] if word in reason])
    wait("the outbox", lambda: stack.sql("SELECT count(*) FROM outbox") == [["0"]])
    taken(stack, bodies.webhook(alert(name)))
    wait("an incident behind it", lambda: stack.incident(name)["status"] == "open")


@pytest.mark.parametrize("source", OF_ONES_OWN)
def test_a_body_of_ones_own_is_dead_with_a_reason(stack, source):
    body, word = OF_ONES_OWN[source]
    before = len(dead(stack))
    taken(stack, body, f"/webhook/{source}")
    wait("the dead record", lambda: [reason for reason in dead(stack)[before:] if word in reason])


def test_of_equal_keys_the_last_is_meant(stack, name):
    first, body = (json.dumps(bodies.webhook(alert(service))).encode() for service in (REFUSED, name))
    taken(stack, first[:-1] + b"," + body[1:])
    wait("its incident", lambda: stack.incident(name)["status"] == "open")


# Crowds


def connections(stack):
    text = Client(stack.ingest_url).request("GET", "/metrics")[1].decode()
    return int(re.search(r"^tocsin_http_connections (\d+)", text, re.M)[1])


def test_a_crowd_of_slow_senders(stack, others):
    """One byte a second in the headers or in the body, hundreds at once: each is told so or cut off at its deadline."""
    crowd = [dial(stack) for _ in range(300)]
    starts = (b"POST /webhook/alert", post_bytes(b"", "X-A: b")[:-2], post_bytes(b"", f"Content-Length: {MAX_BODY}") + b" " * 60_000)
    for n, peer in enumerate(crowd):
        peer.sendall(starts[n % 3])
        peer.settimeout(0)
    heard = {}

    def all_cut():
        """A byte more from each that is still there."""
        for n, peer in enumerate(crowd):
            if n in heard:
                continue
            try:
                peer.send(b" " if n % 3 == 2 else b"a")
                heard[n] = peer.recv(1 << 16)
            except BlockingIOError:
                pass
            except ConnectionError:
                heard[n] = b""
        time.sleep(0.8)
        assert len(heard) == len(crowd), f"{len(heard)} of {len(crowd)} are cut"
        return True

    assert connections(stack) >= len(crowd)
    wait("every slow sender to be cut", all_cut, 60)
    assert {tuple(answers(h)) for h in heard.values()} <= {(), (408,)}
    assert any("in time" in reason(h) for h in heard.values() if h)
    for peer in crowd:
        peer.close()


def test_a_crowd_of_large_bodies(stack, others):
    large_bodies(stack)


def test_nothing_of_what_was_refused_is_stored(stack, name):
    """Behind all of it, in the same partition of each topic: a good one has arrived, and nothing else has."""
    same_group = bodies.webhook(alert()) | {"alerts": [alert(name)]}
    taken(stack, same_group)
    wait("the last of all", lambda: stack.incident(name)["status"] == "open")
    assert not stack.incidents(REFUSED)
    assert stack.sql(f"SELECT count(*) FROM alerts WHERE labels->>'service' = '{REFUSED}'") == [["0"]]
