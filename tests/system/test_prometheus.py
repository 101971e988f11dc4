"""Debian's own Prometheus, Alertmanager and amtool as senders."""

import http.server
import json
import subprocess
import threading
import time

import bodies
import pytest
import senders
from stack import HTTP_FAKE_PORT, PORT_BASE, Client, kinds, wait

EXPORTER, PROMETHEUS, ALERTMANAGER = PORT_BASE + 12, PORT_BASE + 13, PORT_BASE + 14

PROMETHEUS_YML = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: exporter
    static_configs: [{{targets: ["127.0.0.1:{exporter}"]}}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["127.0.0.1:{target}"]}}]
"""
RULES_YML = """
groups:
  - name: always
    rules:
      - alert: AlwaysFiring
        expr: last_over_time(trouble[5m]) == 1 # a scrape that came too late is no end
        labels: {{severity: critical, service: {service}, job: {service}, to: hook}}
        annotations: {{summary: "trouble at {service}"}}
"""
ALERTMANAGER_YML = """
route: {{receiver: tocsin, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1s}}
receivers:
  - name: tocsin
    webhook_configs: [{{url: "{ingest}/webhook/alertmanager"}}]
"""
# As one would who moves from the vendors to us: their addresses are ours. Without a class the two would be called alike,
# and be one incident.
VENDORS_YML = """
route: {{receiver: tocsin, group_by: [service], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: tocsin
    webhook_configs: [{{url: "{ingest}/webhook/alertmanager"}}]
    pagerduty_configs:
      - url: "{ingest}/v2/enqueue"
        routing_key: "{pagerduty_key}"
        component: "{{{{ .CommonLabels.service }}}}"
        class: disk
        severity: "{{{{ .CommonLabels.severity }}}}"
    opsgenie_configs:
      - api_url: "{ingest}/"
        api_key: system-genie-key
        priority: P1
        update_alerts: true
"""

# As one would who tries us: Alertmanager goes on to tell its channels, and we tell the same ones beside it.
FAKE = f"http://127.0.0.1:{HTTP_FAKE_PORT}"
THEIRS, OURS = "told-by-alertmanager-00000000000", "told-by-tocsin-00000000000000000"
BESIDE_YML = """
route: {{receiver: both, group_by: [alertname, service], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: both
    webhook_configs: [{{url: "{ingest}/webhook/alertmanager"}}]
    slack_configs: [{{api_url: "{fake}/services/T1/B1/theirs", channel: "#ops", send_resolved: true}}]
    pagerduty_configs: [{{url: "{fake}/v2/enqueue", routing_key: "{theirs}"}}]
"""
BESIDE_ROUTES = """
    - matchers: ['to="beside"']
      receiver: beside
"""
BESIDE_RECEIVERS = f"""
  - name: beside
    slack_configs: [{{api_url: "{FAKE}/services/T1/B1/ours", channel: "#ops", send_resolved: true}}]
    pagerduty_configs: [{{url: "{FAKE}/v2/enqueue", routing_key: "{OURS}"}}]
"""


class Exporter(http.server.BaseHTTPRequestHandler):
    """One gauge, which the test turns off."""

    trouble = 1

    def do_GET(self):
        body = f"trouble {Exporter.trouble}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def exporter():
    Exporter.trouble = 1
    server = http.server.ThreadingHTTPServer(("127.0.0.1", EXPORTER), Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Exporter
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(stack, tmp_path):
    """run(program, *arguments) in the test's directory; ended after it."""
    running = []

    def start(program, *arguments):
        log = open(tmp_path / f"{program}.log", "wb")
        running.append(subprocess.Popen([program, *arguments], cwd=tmp_path, stdout=log, stderr=log))

    yield start
    for process in running:
        process.terminate()
        process.wait()


def start_prometheus(run, where, service, target):
    (where / "prometheus.yml").write_text(PROMETHEUS_YML.format(exporter=EXPORTER, target=target))
    (where / "rules.yml").write_text(RULES_YML.format(service=service))
    run(
        "prometheus", f"--web.listen-address=127.0.0.1:{PROMETHEUS}", "--config.file=prometheus.yml",
        f"--storage.tsdb.path={where}/tsdb", "--rules.alert.resend-delay=1s",
    )


def fires_once_and_ends(stack, service, exporter, reports):
    wait("the incident", lambda: stack.incident(service)["status"] == "open")
    # Re-sends must have come before it ends, or the test shows nothing about them.
    wait("some re-sends", lambda: reports() >= 4)
    exporter.trouble = 0
    ended = wait("the end", lambda: stack.incident(service)["status"] == "resolved" and stack.incident(service))
    assert ended["resolve_reason"] == "alerts"
    assert ended["alerts_total"] == 1 and ended["frequency_stats"]["count_24h"] == 1
    wait("both messages", lambda: kinds(stack.incident(service)) == ["opened", "resolved"] and len(stack.messages(service)) >= 2)
    assert len(stack.messages(service)) == 2


def metric(port, name):
    text = Client(f"http://127.0.0.1:{port}").request("GET", "/metrics")[1].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{"))


def test_prometheus_straight_to_ingest(stack, name, exporter, run, tmp_path):
    start_prometheus(run, tmp_path, name, stack.ingest_url.removeprefix("http://127.0.0.1:"))
    fires_once_and_ends(stack, name, exporter, lambda: metric(PROMETHEUS, "prometheus_notifications_sent_total"))


def test_prometheus_through_alertmanager(stack, name, exporter, run, tmp_path):
    start_alertmanager(run, tmp_path, ALERTMANAGER_YML.format(ingest=stack.ingest_url))
    start_prometheus(run, tmp_path, name, ALERTMANAGER)

    def notified():
        text = Client(f"http://127.0.0.1:{ALERTMANAGER}").request("GET", "/metrics")[1].decode()
        sent = [line for line in text.splitlines() if line.startswith('alertmanager_notifications_total{integration="webhook"}')]
        return float(sent[0].split()[-1])

    fires_once_and_ends(stack, name, exporter, notified)


def start_alertmanager(run, where, config):
    (where / "alertmanager.yml").write_text(config)
    run(
        "prometheus-alertmanager", f"--web.listen-address=127.0.0.1:{ALERTMANAGER}", "--cluster.listen-address=",
        "--config.file=alertmanager.yml", f"--storage.path={where}/am",
    )
    ready = lambda: Client(f"http://127.0.0.1:{ALERTMANAGER}").request("GET", "/-/ready")[0] == 200
    wait("Alertmanager", ready)


def test_alertmanager_tells_us_as_it_tells_vendors(stack, name, run, tmp_path):
    """One incident for each way in, each ended by what Alertmanager says of the end."""
    ways = ("alertmanager", "opsgenie", "pagerduty")
    start_alertmanager(run, tmp_path, VENDORS_YML.format(ingest=stack.ingest_url, pagerduty_key=bodies.PAGERDUTY_KEY))
    starts = time.time() - 10

    def report(ends=None):
        alert = senders.postable("DiskFull", starts, ends, service=name, severity="critical", to="hook")
        Client(f"http://127.0.0.1:{ALERTMANAGER}").post("/api/v2/alerts", [alert])

    def all_are(status):
        found = stack.incidents(name)
        assert sorted(i["source"] for i in found) == sorted(ways), found
        assert [i["status"] for i in found] == [status] * len(ways), [(i["source"], i["status"]) for i in found]
        return found

    report()
    for incident in wait("an incident for each way", lambda: all_are("open")):
        assert incident["severity"] == "critical" and incident["alerts_total"] == 1, incident
        assert "DiskFull" in incident["title"] or "DiskFull" in incident["alert_name"], incident
    report(ends=time.time())
    for incident in wait("their ends", lambda: all_are("resolved")):
        assert incident["resolve_reason"] == "alerts" and incident["frequency_stats"]["count_24h"] == 1, incident
        wait("both messages", lambda: kinds(stack.get(f"/api/v1/incidents/{incident['id']}")) == ["opened", "resolved"])


def read_beside(stack, service):
    """{(channel, who told it): texts}"""
    found = {}
    for m in stack.messages(service):
        if m["channel"] == "slack":
            found.setdefault(("slack", m["endpoint"].rpartition("/")[2]), []).append(m["text"])
        elif m["channel"] == "pagerduty":
            event = json.loads(m["raw"])
            who = "ours" if event["routing_key"] == OURS else "theirs"
            found.setdefault(("pagerduty", who), []).append(json.dumps(event.get("payload"), indent=2, ensure_ascii=False))
    return found


def test_our_messages_beside_alertmanagers_own(stack, name, run, tmp_path):
    """The same alert, told to the same vendors by both; docs/channels.md shows what this prints."""
    start_alertmanager(run, tmp_path, BESIDE_YML.format(ingest=stack.ingest_url, fake=FAKE, theirs=THEIRS))
    where = {"service": name, "instance": "db-1:9100", "mountpoint": "/var/lib/postgresql", "severity": "critical", "to": "beside"}
    notes = {
        "summary": f"The disk of {name} is nearly full",
        "description": "3 % of /var/lib/postgresql is left, and 2 GB an hour are written.",
        "runbook_url": "https://wiki.example.com/runbooks/disk-full",
    }

    def report(starts, ends=None):
        alert = senders.postable("DiskNearlyFull", starts, ends, notes, **where)
        Client(f"http://127.0.0.1:{ALERTMANAGER}").post("/api/v2/alerts", [alert])

    def all_told(n):
        found = read_beside(stack, name)
        assert {who: len(texts) for who, texts in found.items()} == {
            ("slack", "theirs"): n, ("slack", "ours"): n, ("pagerduty", "theirs"): n, ("pagerduty", "ours"): n,
        }, found
        return found

    with stack.receivers(BESIDE_ROUTES, BESIDE_RECEIVERS):
        report(starts := time.time() - 600)
        told = wait("all four messages", lambda: all_told(1))
        ours, theirs = told["slack", "ours"][0], told["slack", "theirs"][0]
        for word in (*notes.values(), "db-1:9100", "/var/lib/postgresql", "for 10m", "24h 1", "critical", "#/incidents/"):
            assert word in ours, (word, ours)
        assert "DiskNearlyFull" in theirs and "DiskNearlyFull" in ours
        report(starts, ends=time.time())
        told = wait("all four ends", lambda: all_told(2))
        assert ", after 1" in told["slack", "ours"][1]  # ten minutes, or eleven
    for (channel, who), texts in sorted(told.items()):
        print(f"── {channel}, {who}\n", *texts, sep="\n")


def test_amtool_adds_an_alert_and_ends_it(stack, name):
    def add(*arguments):
        command = ["amtool", f"--alertmanager.url={stack.ingest_url}", "alert", "add", *arguments]
        subprocess.run(command, check=True, capture_output=True)

    labels = (f"service={name}", "severity=critical", "to=hook")
    add(*labels, "--start=2026-01-02T03:04:05Z", "--generator-url=http://graph.example/")
    incident = wait("the incident", lambda: stack.incident(name)["status"] == "open" and stack.incident(name))
    assert f'service="{name}"' in incident["title"] and incident["link"] == "http://graph.example/"
    add(*labels, "--start=2026-01-02T03:04:05Z", "--end=2026-01-02T04:04:05Z")
    wait("the end", lambda: stack.incident(name)["status"] == "resolved")
