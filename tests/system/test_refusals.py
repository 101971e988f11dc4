"""What is not taken is refused with a reason, and stops nothing else."""

import json
import socket
import subprocess

import bodies
import pytest
from stack import PORT_BASE, ROOT, Client, kinds, wait


def refused(answer, status):
    """The reason for a person in an error answer."""
    got, body = answer
    assert got == status, body
    assert body["error"]["code"] and body["error"]["message"], body
    return body["error"]["message"]


def still_works(stack, name):
    stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name)))
    wait(f"{name} after the refusals", lambda: kinds(stack.incident(name)) == ["opened"])


@pytest.mark.parametrize("path", ["/webhook/alertmanager", "/webhook/grafana", "/api/v1/alerts"])
@pytest.mark.parametrize("body", [b"{", b"", b'{"a":1}x', b"\xff\xfe", b'{"a":"\xc3"}'])
def test_malformed_json(stack, path, body):
    refused(stack.post(path, body), 400)


def test_too_deep(stack):
    assert "deep" in refused(stack.post("/webhook/alertmanager", b"[" * 40 + b"]" * 40), 413)


def test_malformed_json_for_prometheus(stack):
    status, body = Client(stack.ingest_url).request("POST", "/api/v2/alerts", b"{")
    assert status == 400 and body


def test_schema(stack):
    """What no sender of ours would send. Webhooks may carry a body of the user's own making: they are kept, and dead."""
    assert "title" in refused(stack.post("/api/v1/alerts", {"severity": "critical"}), 400)
    status, answer = Client(stack.ingest_url).request("POST", "/api/v2/alerts", [{"annotations": {}}])
    assert status in (400, 422) and answer


def test_get_only_where_the_source_takes_it(stack):
    for method, path in (("GET", "alertmanager"), ("GET", "signoz/token"), ("HEAD", "uptimekuma"), ("DELETE", "uptimekuma")):
        status, _ = Client(stack.ingest_url).request(method, f"/webhook/{path}?msg=x")
        assert status == 405, (method, path, status)
    refused(stack.post("/webhook/uptimekuma", b"--b", {"Content-Type": "multipart/form-data; boundary=b"}), 400)


def test_wrong_signature(stack, name):
    body = bodies.SentryIssue(name).issue("created")
    refused(bodies.post_sentry(stack, "issue", body, secret="another"), 401)
    raw = json.dumps(body).encode()
    refused(stack.post("/webhook/sentry", raw), 401)
    headers = bodies.senders.sentry_headers("issue", raw, bodies.SENTRY_SECRET)
    refused(stack.post("/webhook/sentry", raw + b" ", headers), 401)
    still_works(stack, name)
    assert all(i["source"] != "sentry" for i in stack.incidents(name))


def test_tokens(stack, name):
    body = bodies.webhook(bodies.one_alert(name))
    refused(stack.post("/webhook/guarded", body), 401)
    refused(stack.post("/webhook/guarded", body, {"Authorization": "Bearer wrong"}), 401)
    refused(stack.post("/webhook/guarded/wrong", body), 401)
    stack.send("/webhook/guarded", body, {"Authorization": "Bearer system-bearer-token"})
    stack.send("/webhook/guarded/system-path-token", body)
    wait("the incident", lambda: stack.incident(name)["status"] == "open")
    report = {"incident_id": stack.incident(name)["id"], "action": "x", "outcome": "success"}
    refused(stack.post("/api/v1/repairs", report), 401)
    refused(stack.post("/api/v1/repairs", report, {"Authorization": "Bearer wrong"}), 401)


def test_too_large(stack, name):
    refused(stack.post("/webhook/alertmanager", b" " * (8 << 20)), 413)
    many = bodies.webhook(*[bodies.one_alert(name, instance=str(n)) for n in range(2100)])
    refused(stack.post("/webhook/alertmanager", many), 413)
    still_works(stack, name)


def test_unknown_source_and_path(stack):
    assert "nobody" in refused(stack.post("/webhook/nobody", {}), 404)
    refused(stack.post("/nowhere", {}), 404)


def test_unknown_incident_and_bad_filters(stack):
    console = Client(stack.console_url)
    none = "01890000-0000-7000-8000-000000000000"
    for method, path, body, wanted in (
        ("GET", f"/api/v1/incidents/{none}", None, 404),
        ("GET", "/api/v1/incidents/x", None, 404),
        ("GET", "/api/v1/incidents?status=happy", None, 400),
        ("GET", "/api/v1/incidents?limit=many", None, 400),
        ("GET", "/api/v1/incidents?cursor=x", None, 400),
        ("GET", "/api/v1/nothing", None, 404),
        ("PUT", f"/api/v1/incidents/{none}/status", {"status": "resolved"}, 404),
        ("PUT", f"/api/v1/incidents/{none}/status", {"status": "happy"}, 400),
        ("PUT", f"/api/v1/incidents/{none}/status", b"{", 400),
    ):
        status, answer = console.request(method, path, body)
        assert status == wanted, (method, path, status, answer)
        assert json.loads(answer)["error"]["message"], path


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length : 2",
        "Content-Length: 2\r\nHost: other",
    ],
)
def test_smuggling_shapes(stack, head):
    host, port = stack.ingest_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as peer:
        peer.sendall(f"POST /webhook/alertmanager HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n{{}}".encode())
        answer = peer.makefile("rb").readline()
    assert answer.split()[1:2] == [b"400"], answer


@pytest.fixture
def lonely_ingest(stack, request):
    """An ingest of its own that finds no Kafka, with the spool that the test wants."""
    port = PORT_BASE + 19
    program = ROOT / "build" / "dev" / "tocsin-ingest"
    sets = {"ingest.listen": f"127.0.0.1:{port}", "kafka.brokers": "127.0.0.1:1", **request.param(stack)}
    flags = [x for k, v in sets.items() for x in ("--set", f"{k}={v}")]
    log = open(stack.home / "log" / "lonely.log", "ab")
    process = subprocess.Popen([program, "--config", stack.environ["TOCSIN_CONFIG"], *flags], stdout=log, stderr=log)
    try:
        wait("the lonely ingest", lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
        yield Client(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()
        log.close()


def spool(name, size):
    return lambda stack: {"ingest.spool_dir": stack.home / name, "ingest.spool_max": size}


@pytest.mark.parametrize("lonely_ingest", [lambda stack: {"ingest.spool_dir": ""}], indirect=True)
def test_neither_kafka_nor_spool(stack, lonely_ingest, name):
    status, answer = lonely_ingest.request("POST", "/webhook/alertmanager", bodies.webhook(bodies.one_alert(name)))
    assert refused((status, json.loads(answer)), 503)
    status, answer = lonely_ingest.request("POST", "/webhook/nobody", {})
    assert refused((status, json.loads(answer)), 404)
    still_works(stack, name)


@pytest.mark.parametrize("lonely_ingest", [spool("spool-small", "1m")], indirect=True)
def test_spool_full(lonely_ingest, name):
    body = bodies.webhook(bodies.one_alert(name, padding="x" * 100_000))
    statuses = []
    while 503 not in statuses and len(statuses) < 500:
        status, answer = lonely_ingest.request("POST", "/webhook/alertmanager", body)
        statuses.append(status)
    assert statuses[0] == 200 and statuses[-1] == 503
    assert refused((status, json.loads(answer)), 503)


def test_slow_body_does_not_hold_a_connection_for_ever(stack):
    host, port = stack.ingest_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as peer:
        peer.sendall(b"POST /webhook/alertmanager HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
        peer.settimeout(0.5)

        def ended():
            """One byte more; has the server answered, or gone?"""
            try:
                peer.sendall(b" ")
                peer.recv(1 << 16)
                return True
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait("the end of a connection that gives one byte at a time", ended)
