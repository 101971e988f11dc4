"""The ledger says what was sent, to whom, when, with what answer, and if not, why not."""

import contextlib
import json
import re

import bodies
import pytest
from stack import HTTP_FAKE_PORT, Client, wait

FAKE = f"127.0.0.1:{HTTP_FAKE_PORT}"


def fire(stack, name, to, **labels):
    body = bodies.webhook(bodies.one_alert(name, to=to, **labels))
    stack.send("/webhook/alertmanager", body)
    return body


def ledger(stack, name, **filters):
    """What the ledger says about the only incident of a service, oldest first."""
    query = "&".join(f"{k}={v}" for k, v in {"limit": 100, **filters}.items())
    page = stack.get(f"/api/v1/incidents/{stack.incident(name)['id']}/notifications?{query}")
    assert page["next_cursor"] is None
    return page["notifications"][::-1]


def row(stack, name, state, kind="opened"):
    """The first notification of that kind about a service, once it is in that state. One that failed is said again."""

    def probe():
        found = [n for n in ledger(stack, name) if n["kind"] == kind]
        assert found and found[0]["state"] == state, found
        return found[0]

    return wait(f"the {kind} message about {name} to be {state}", probe)


def outcomes(notification):
    return [(d["attempt"], d["outcome"], d["http_status"]) for d in notification["deliveries"]]


@contextlib.contextmanager
def no_notifier(stack):
    stack.kill("notifier")
    try:
        yield
    finally:
        stack.restart("notifier")


def test_delivered(stack, name):
    fire(stack, name, "to-slack")
    told = row(stack, name, "delivered")
    assert (told["receiver"], told["channel"], told["sequence"], told["severity"]) == ("to-slack", "slack", 1, "critical")
    assert told["destination"] == f"{FAKE}/services/T1/B1/…" and told["reason"] == ""
    assert outcomes(told) == [(1, "delivered", 200)] and told["deliveries"][0]["answer"] == "ok"
    assert told["deliveries"][0]["duration_ms"] >= 0 and not told["possible_duplicate"]
    assert told["created_at"] <= told["ended_at"] and told["next_attempt_at"] is None
    incident = stack.incident(name)
    assert told["incident_id"] == incident["id"] and told["group"]["labels"] == {"incident": incident["id"]}
    assert told["incidents"] == [{"id": incident["id"], "title": incident["title"]}]
    # The same row, wherever one asks.
    assert stack.get(f"/api/v1/notifications/{told['id']}") == told == incident["notifications"][0]
    assert told in stack.get("/api/v1/notifications?receiver=to-slack&channel=slack&kind=opened&state=delivered")["notifications"]


@pytest.mark.parametrize(
    "to, channel, key, answer, status, words, destination",
    [
        ("to-wecom-2", "wecom", "second", "200body:93000", 200, "invalid webhook url", FAKE),
        ("to-slack", "slack", "plain", "404", 404, "fault on demand", f"{FAKE}/services/T1/B1/…"),
        ("to-email", "email", "plain@example.org", "550", 550, "550", "plain@example.org"),
    ],
)
def test_failed_in_the_channels_own_words(stack, name, to, channel, key, answer, status, words, destination):
    stack.faults.push(channel, key, [answer])
    fire(stack, name, to)
    failed = row(stack, name, "failed")
    assert outcomes(failed) == [(1, "rejected", status)] and failed["ended_at"]
    assert words in failed["reason"] and words in failed["deliveries"][0]["answer"]
    assert failed["destination"] == destination


def test_no_secret_stands_in_it(stack, name):
    fire(stack, name, "to-wecom-2")
    fire(stack, name + "s", "to-slack")
    for service in (name, name + "s"):
        told = row(stack, service, "delivered")
        assert not re.search(r"key=|second|B1/plain", json.dumps(told)), told


def test_retried(stack, name):
    stack.faults.push("webhook", "/hook/plain", ["500"])
    fire(stack, name, "to-webhook")
    told = row(stack, name, "delivered")
    assert outcomes(told) == [(1, "retry", 500), (2, "delivered", 200)] and told["attempts"] == 2
    assert told["deliveries"][0]["answer"] == "fault on demand" and not told["possible_duplicate"]


def test_waiting_says_why_and_until_when(stack, name):
    stack.faults.push("webhook", "/hook/plain", ["429:15"])
    fire(stack, name, "to-webhook")
    (waiting,) = wait("a refusal", lambda: [n for n in ledger(stack, name) if n["state"] == "pending" and n["deliveries"]])
    assert outcomes(waiting) == [(1, "retry", 429)] and waiting["reason"] == "fault on demand"
    assert waiting["next_attempt_at"] > waiting["deliveries"][0]["at"] and waiting["ended_at"] is None
    # Nothing is wrong with the next one but that it goes to the same address.
    fire(stack, name + "b", "to-webhook")
    (behind,) = wait("a reason", lambda: [n for n in ledger(stack, name + "b") if n["reason"]])
    assert behind["reason"] == "the rate of the channel is used up"
    assert behind["deliveries"] == [] and behind["next_attempt_at"]
    listed = stack.get("/api/v1/notifications?state=pending&receiver=to-webhook")["notifications"]
    assert [n["id"] for n in listed] == [behind["id"], waiting["id"]]
    for service in (name, name + "b"):
        assert row(stack, service, "delivered")["next_attempt_at"] is None


def test_superseded_by_which(stack, name):
    with no_notifier(stack):
        body = fire(stack, name, "to-webhook")
        row(stack, name, "pending")
        stack.send("/webhook/alertmanager", bodies.resolved(body))
        newer = row(stack, name, "pending", "resolved")
    newer = row(stack, name, "delivered", "resolved")
    older = row(stack, name, "superseded")
    assert older["superseded_by"] == newer["id"] and older["reason"] == "a newer message was delivered"
    assert (older["told_instead"]["kind"], older["told_instead"]["sequence"], older["told_instead"]["state"]) == (
        "resolved", 2, "delivered",
    )
    assert older["destination"] == FAKE and older["deliveries"] == []


def test_merged_into_which_digest(stack, name):
    services = [f"{name}n{n}" for n in range(6)]
    with no_notifier(stack):
        for service in services:
            fire(stack, service, "ledger-robot")
        for service in services:
            row(stack, service, "pending")

    def probe():
        rows = [n for s in services for n in ledger(stack, s)]
        assert {n["state"] for n in rows} == {"delivered", "merged"}, [n["state"] for n in rows]
        assert all(n["told_instead"]["state"] == "delivered" for n in rows if n["state"] == "merged")
        return rows

    rows = wait("every message to end", probe)
    merged = [n for n in rows if n["state"] == "merged"]
    assert len(rows) == 6 and len(merged) == 4
    for n in merged:
        assert n["reason"] == "the rate of the channel is used up" and n["deliveries"] == []
        assert n["told_instead"]["id"] == n["merged_into"] and n["told_instead"]["kind"] == "merge"
        assert n["told_instead"]["deliveries"][-1]["outcome"] == "delivered"
    # And the other way round: the digest says of which incidents it spoke.
    for digest in {n["merged_into"] for n in merged}:
        told = stack.get(f"/api/v1/notifications/{digest}")
        spoken = {n["incident_id"] for n in merged if n["merged_into"] == digest}
        assert told["kind"] == "merge" and {i["id"] for i in told["incidents"]} == spoken


def test_no_answer_is_a_possible_duplicate(stack, name):
    stack.faults.push("slack", "plain", ["lost"])
    fire(stack, name, "to-slack")
    told = row(stack, name, "delivered")
    assert told["possible_duplicate"] and outcomes(told) == [(1, "retry", 0), (2, "delivered", 200)]
    assert told["deliveries"][0]["answer"]


def test_suppressed_because_the_receiver_wants_no_end(stack, name):
    body = fire(stack, name, "no-end")
    row(stack, name, "delivered")
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    over = row(stack, name, "suppressed", "resolved")
    assert over["reason"] == "send_resolved is false" and over["deliveries"] == [] and over["ended_at"]


def processor_with(stack, config):
    """The processor alone with another configuration."""
    stack.kill("processor")
    stack.environ["TOCSIN_CONFIG"] = str(config)
    stack.dev("up", "processor")


def test_suppressed_because_the_receiver_is_gone(stack, name, tmp_path):
    body = fire(stack, name, "leaver")
    row(stack, name, "delivered")
    with_it = stack.environ["TOCSIN_CONFIG"]
    without = tmp_path / "tocsin.yml"
    text = open(with_it).read()
    for entry in (r"    - matchers: \['to=\"leaver\"'\]\n      receiver: leaver\n", r"  - name: leaver\n(    .*\n)+"):
        text, n = re.subn(entry, "", text)
        assert n == 1
    without.write_text(text)
    processor_with(stack, without)
    try:
        stack.send("/webhook/alertmanager", bodies.resolved(body))
        over = row(stack, name, "suppressed", "resolved")
    finally:
        processor_with(stack, with_it)
    assert over["reason"] == "receiver leaver is no longer in the configuration" and over["receiver"] == "leaver"
    assert over["channel"] == "" and over["destination"] is None


def test_digests_stand_in_the_ledger_of_each_incident(stack, name):
    services = [f"{name}n{n}" for n in range(3)]
    for service in services:
        fire(stack, service, "digest", severity="warning")
    digests = {row(stack, s, "delivered", "digest")["id"]: s for s in services}
    spoken = [i["id"] for d in digests for i in stack.get(f"/api/v1/notifications/{d}")["incidents"]]
    assert {stack.incident(s)["id"] for s in services} <= set(spoken)


def test_a_group_of_alerts_stands_in_the_ledger_of_each_incident(stack, name):
    for alertname in ("DiskFull", "DiskSlow"):
        fire(stack, name, "grouped", alertname=alertname)

    def probe():
        incidents = stack.incidents(name)
        told = [[n["id"] for n in i["notifications"] if n["state"] == "delivered"] for i in incidents]
        assert len(told) == 2 and all(told) and set(told[0]) & set(told[1]), told
        return incidents

    incidents = wait("one message about both", probe)
    both = [n for n in incidents[0]["notifications"] if len(n["incidents"]) == 2][0]
    assert both["kind"] == "alerts" and both["incident_id"] is None and both["group"]["labels"] == {"service": name}
    assert {i["id"] for i in both["incidents"]} == {i["id"] for i in incidents}


def test_pages_and_filters(stack, name):
    body = fire(stack, name, "to-webhook")
    row(stack, name, "delivered")
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    row(stack, name, "delivered", "resolved")
    of = f"/api/v1/notifications?incident={stack.incident(name)['id']}"
    first = stack.get(f"{of}&limit=1")
    second = stack.get(f"{of}&limit=1&cursor={first['next_cursor']}")
    assert [p["notifications"][0]["kind"] for p in (first, second)] == ["resolved", "opened"]
    assert second["next_cursor"] is None
    assert [n["kind"] for n in stack.get(f"{of}&kind=opened")["notifications"]] == ["opened"]
    assert stack.get(f"{of}&state=failed")["notifications"] == []
    since = first["notifications"][0]["created_at"]
    assert [n["kind"] for n in stack.get(f"{of}&since={since}")["notifications"]] == ["resolved"]


@pytest.mark.parametrize(
    "query, says",
    [
        ("state=sent", "pending, sending, delivered, failed, suppressed, superseded or merged"),
        ("channel=pigeon", "channel must be aliyun_sms, dashboard"),
        ("kind=x", "opened, reopened, crossing, severity, status, resolved, repeat, alerts, digest, silence or merge"),
        ("incident=x", "the id of an incident"),
        ("since=x", "2026-01-02T03:04:05Z"),
    ],
)
def test_an_unknown_value_is_refused_with_those_that_are_known(stack, query, says):
    status, answer = Client(stack.console_url).request("GET", f"/api/v1/notifications?{query}")
    assert status == 400 and says in json.loads(answer)["error"]["message"]
