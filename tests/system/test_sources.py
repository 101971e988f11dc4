"""Every source, from its own body to a message that was read, and back to quiet."""

import json
import time

import bodies
import pytest
import senders
from stack import Client, kinds, states, wait


def opened(stack, name, alerts=1):
    """The incident of `name`, once it is open and told."""

    def probe():
        incident = stack.incident(name)
        assert incident["status"] == "open" and incident["alerts_firing"] == alerts, incident
        assert kinds(incident) == ["opened"], kinds(incident)
        return stack.messages(name) and incident

    return wait(f"an open incident of {name}", probe)


def closed(stack, name, told=("opened", "resolved")):
    def probe():
        incident = stack.incident(name)
        assert incident["status"] == "resolved", incident["status"]
        assert kinds(incident) == list(told), kinds(incident)
        return len(stack.messages(name)) >= len(told) and incident

    return wait(f"the end of {name}", probe)


def test_alertmanager(stack, name):
    body = bodies.webhook(bodies.one_alert(name, instance="a"), bodies.one_alert(name, instance="b"))
    status, answer = stack.post("/webhook/alertmanager", body)
    assert status == 200 and answer["status"] == "accepted" and answer["request_id"]
    incident = opened(stack, name, alerts=2)
    assert incident["alert_name"] == "DiskFull" and incident["severity"] == "critical"
    assert sorted(a["id"] for a in incident["alerts"]) == sorted(a["fingerprint"] for a in body["alerts"])
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    assert closed(stack, name)["resolve_reason"] == "alerts"


def test_alertmanager_repeats_do_not_count(stack, name):
    body = bodies.webhook(bodies.one_alert(name))
    stack.send("/webhook/alertmanager", body)
    opened(stack, name)
    for _ in range(4):
        stack.send("/webhook/alertmanager", body)
    # The end has the same group key: it comes after the repeats, so that they have been seen when it has.
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    incident = closed(stack, name)
    assert incident["frequency_stats"]["count_24h"] == 1 and incident["aggregated_count"] == 1
    assert len(stack.messages(name)) == 2


def test_alertmanager_pair_counts_once(stack, name):
    """Two Alertmanagers of two Prometheus: each tells it, with a start of its own."""
    starts = time.time() - 60
    pair = [bodies.webhook(bodies.one_alert(name, starts=starts + late)) for late in (0, 7)]
    for body in pair * 2:
        stack.send("/webhook/alertmanager", body)
    opened(stack, name)
    for body in pair:
        stack.send("/webhook/alertmanager", bodies.resolved(body))
    incident = closed(stack, name)
    assert incident["frequency_stats"]["count_24h"] == 1 and incident["alerts_total"] == 1
    assert len(stack.messages(name)) == 2


def test_alertmanager_says_what_it_cut_off(stack, name):
    body = {**bodies.webhook(bodies.one_alert(name, to="to-slack")), "truncatedAlerts": 17}
    stack.send("/webhook/alertmanager", body)
    opened(stack, name)
    assert "17 more alerts of this group were cut off" in stack.messages(name)[0]["text"]


def test_what_ends_at_once_is_told_all_the_same(stack, name):
    body = bodies.webhook(bodies.one_alert(name))
    stack.send("/webhook/alertmanager", body)
    stack.send("/webhook/alertmanager", bodies.resolved(body))

    def probe():
        rows = sorted(stack.incident(name)["notifications"], key=lambda n: n["sequence"])
        assert [r["kind"] for r in rows] == ["opened", "resolved"], rows
        # Its start may have been overtaken: then the message of the end says both.
        assert rows[0]["state"] in ("delivered", "superseded") and rows[1]["state"] == "delivered", rows
        return stack.messages(name)

    wait(f"the news of {name}", probe)


def test_prometheus(stack, name):
    starts = time.time() - 10

    def report(ends=None):
        alert = senders.postable(
            "HostDown", starts, ends, {"summary": f"{name} is down"}, service=name, severity="critical", to="hook"
        )
        return stack.post("/api/v2/alerts", [alert])

    assert report() == (200, None)
    opened(stack, name)
    # It is re-sent every minute with a later promise.
    for later in range(300, 330, 10):
        report(time.time() + later)
    report(ends=time.time())
    assert closed(stack, name)["frequency_stats"]["count_24h"] == 1


def test_sentry(stack, name):
    issue = bodies.SentryIssue(name)
    assert bodies.post_sentry(stack, "issue", issue.issue("created"))[0] == 200
    incident = opened(stack, name)
    assert incident["source"] == "sentry" and incident["severity"] == "critical"
    again = issue.event()
    # The first event takes the place of `created`; the same event twice is one.
    for event in (issue.event(), again, again):
        assert bodies.post_sentry(stack, "event_alert", event)[0] == 200
    wait("both events", lambda: stack.incident(name)["frequency_stats"]["count_24h"] == 2)
    bodies.post_sentry(stack, "issue", issue.issue("resolved", resolution_type="now"))
    ended = wait("the end", lambda: stack.incident(name)["status"] == "resolved" and stack.incident(name))
    assert ended["frequency_stats"]["count_24h"] == 2


def test_sentry_delivery_seen_twice_is_one(stack, name):
    issue = bodies.SentryIssue(name)
    raw = bodies.json.dumps(issue.event()).encode()
    headers = senders.sentry_headers("event_alert", raw, bodies.SENTRY_SECRET)
    for _ in range(3):
        stack.send("/webhook/sentry", raw, headers)
    bodies.post_sentry(stack, "issue", issue.issue("resolved"))
    ended = wait("the end", lambda: stack.incident(name)["status"] == "resolved" and stack.incident(name))
    assert ended["frequency_stats"]["count_24h"] == 1


def test_sentry_metric_alert_that_gets_worse(stack, name):
    """A warning waits for the digest; when it becomes critical it is told at once."""
    starts = time.time() - 60
    tell = lambda action: bodies.post_sentry(stack, "metric_alert", bodies.sentry_metric(name, action, starts))
    at_once = lambda: stack.messages(name, "webhook")
    assert tell("warning")[0] == 200
    wait("the warning", lambda: stack.incident(name)["severity"] == "warning")
    wait("the digest", lambda: stack.messages(name, "slack"))
    assert not at_once()
    tell("critical")
    wait("the critical", at_once)
    assert stack.incident(name)["severity"] == "critical"
    tell("resolved")
    ended = wait("the end", lambda: stack.incident(name)["status"] == "resolved" and stack.incident(name))
    assert ended["alerts_firing"] == 0 and ended["resolve_reason"] == "alerts"
    wait("its message", lambda: len(at_once()) == 2)


def test_sentry_our_own_comment_does_not_come_round(stack, name):
    issue = bodies.SentryIssue(name)
    bodies.post_sentry(stack, "issue", issue.issue("created"))
    opened(stack, name)
    actor = {"type": "application", "id": "f00d", "name": "Tocsin"}
    for text in ("Told to hook.\n\n(written by Tocsin)", "seen by Ann"):
        data = {"comment": text, "project_slug": name, "comment_id": 1, "issue_id": issue.id}
        bodies.post_sentry(stack, "comment", {"action": "created", "data": data, "actor": actor})
    entries = wait("the other comment", lambda: "seen by Ann" in str(stack.incident(name)["timeline"]) and stack.incident(name)["timeline"])
    assert "Told to hook" not in str(entries)
    assert kinds(stack.incident(name)) == ["opened"]


def test_grafana(stack, name):
    body = bodies.webhook(bodies.one_alert(name))
    stack.send("/webhook/grafana", bodies.grafana(body, f"[FIRING:1] {name}"))
    assert opened(stack, name)["source"] == "grafana"
    over = bodies.grafana(bodies.resolved(body), f"[RESOLVED] {name}")
    stack.send("/webhook/grafana", over)
    closed(stack, name)


def test_grafana_shows_its_values(stack, name):
    body = bodies.webhook(bodies.one_alert(name, to="to-slack"))
    stack.send("/webhook/grafana", bodies.grafana(body, f"[FIRING:1] {name}"))
    opened(stack, name)
    assert "A=1" in stack.messages(name)[0]["text"]


def tell(stack, sender, name, firing):
    method, path, headers, body = sender(name, firing)
    status, answer = Client(stack.ingest_url).request(method, path, body, headers)
    assert status in (200, 202), answer


@pytest.mark.parametrize(
    "sender",
    [
        bodies.signoz,
        bodies.healthchecks,
        bodies.healthchecks_get,
        bodies.jenkins,
        bodies.uptimekuma,
        bodies.uptimekuma_get,
        bodies.uptimekuma_form,
        bodies.datadog,
        bodies.datadog_form,
        bodies.opsgenie,
        bodies.opsgenie_delete,
        bodies.pagerduty,
        bodies.pagerduty_v1,
        bodies.zabbix,
        bodies.zabbix_oncall,
    ],
    ids=lambda sender: sender.__name__,
)
def test_short(stack, name, sender):
    """Told twice, it is one; then it ends."""
    tell(stack, sender, name, firing=True)
    tell(stack, sender, name, firing=True)
    assert opened(stack, name)["source"] == sender.__name__.partition("_")[0]
    tell(stack, sender, name, firing=False)
    assert closed(stack, name)["frequency_stats"]["count_24h"] == 1


def test_what_others_did(stack, name):
    """Acknowledged at PagerDuty's address and at Opsgenie's: so it is here. Snoozed and noted: a line on the timeline."""

    def acknowledged(name, actor):
        incident = wait(f"{name} to be acknowledged", lambda: stack.incident(name)["status"] == "acknowledged" and stack.incident(name))
        assert [(t["actor"], t["text"]) for t in incident["timeline"] if t["kind"] == "status"] == [(actor, "acknowledged")]
        wait("the acknowledgement to be told", lambda: states(stack.incident(name)).get("status") == "delivered")

    tell(stack, bodies.pagerduty, name, firing=True)
    opened(stack, name)
    ack = {"routing_key": bodies.PAGERDUTY_KEY, "event_action": "acknowledge", "dedup_key": f"key-{name}", "client": "Zabbix"}
    assert stack.post("/v2/enqueue", ack) == (202, {"status": "success", "message": "Event processed", "dedup_key": f"key-{name}"})
    acknowledged(name, "Zabbix")
    tell(stack, bodies.pagerduty, name, firing=False)
    closed(stack, name, ("opened", "status", "resolved"))

    other = f"{name}-og"
    status, answer = stack.post("/v2/alerts", bodies.opsgenie(other, firing=True)[3], bodies.GENIE)
    assert status == 202 and stack.post("/v2/alerts", {"message": "x"})[0] == 401
    opened(stack, other)
    asked = f"/v2/alerts/requests/{answer['requestId']}"
    status, said = Client(stack.ingest_url).request("GET", asked, headers=bodies.GENIE)  # at the address that was told
    assert status == 200 and Client(stack.ingest_url).request("GET", asked)[0] == 401
    became = json.loads(said)["data"]
    assert became == stack.get(asked)["data"]
    assert became["isSuccess"] and became["action"] == "Create" and became["alias"] == f"alias-{other}"
    at = f"/v2/alerts/alias-{other}"
    snooze = {"endTime": "2026-01-02T05:00:00Z", "user": "ann@example.com"}
    status, answer = stack.post(f"{at}/snooze?identifierType=alias", snooze, bodies.GENIE)
    assert status == 202 and answer["result"] == "Request will be processed" and answer["requestId"]
    stack.send(f"{at}/notes?identifierType=alias", {"note": "looking", "user": "bob@example.com"}, bodies.GENIE)
    told = lambda: [(t["actor"], t["text"]) for t in stack.incident(other)["timeline"] if t["kind"] == "note"]
    expected = [("ann@example.com", "snoozed until 2026-01-02T05:00:00Z"), ("bob@example.com", "looking")]
    wait("both lines", lambda: sorted(told()) == expected)
    assert stack.incident(other)["status"] == "open"
    stack.send(f"/v2/alerts/{became['alertId']}/acknowledge", {"user": "ann@example.com"}, bodies.GENIE)
    acknowledged(other, "ann@example.com")
    stack.send(f"/v2/alerts/{became['alertId']}/close", {"user": "ann@example.com"}, bodies.GENIE)
    closed(stack, other, ("opened", "status", "resolved"))


def test_signoz_without_data_is_the_same_problem(stack, name):
    """The alert that fires without data joins the incident of the rule that fired, and holds it open."""
    rule = {"ruleId": f"rule-{name}", "starts": time.time() - 5}
    slow = bodies.one_alert(name, alertname="Slow", **rule)
    missing = bodies.one_alert(name, alertname="[No data] Slow", nodata="true", **rule)
    stack.send("/webhook/signoz", bodies.webhook(slow))
    opened(stack, name)
    over = bodies.resolved(bodies.webhook(slow))
    stack.send("/webhook/signoz", {**over, "status": "firing", "alerts": [missing, *over["alerts"]]})
    wait("both alerts", lambda: stack.incident(name)["alerts_total"] == 2)
    assert stack.incident(name)["status"] == "open"
    stack.send("/webhook/signoz", bodies.resolved(bodies.webhook(missing)))
    closed(stack, name)


def test_generic(stack, name):
    body = {
        "source": "nightly-backup",
        "severity": "critical",
        "title": f"Backup of {name} failed",
        "description": "pg_dump ended with 1",
        "tags": ["backup"],
        "metadata": {"host": "db-1"},
        "labels": {"service": name, "to": "hook"},
    }
    status, answer = stack.post("/api/v1/alerts", body)
    assert status == 202 and answer["id"] and len(answer["alerts"]) == 1
    incident = opened(stack, name)
    assert incident["title"] == body["title"]
    assert incident["alerts"][0]["id"] == answer["alerts"][0]
    assert stack.get(answer["status_url"])["incident_id"] == incident["id"]


def test_generic_posts_are_an_occurrence_each(stack, name):
    body = {"source": "cron", "severity": "critical", "title": f"{name} failed", "service": name}
    for _ in range(3):
        stack.send("/api/v1/alerts", body)
    probe = lambda: stack.incident(name)["frequency_stats"]["escalation_level"] == "REPEAT"
    wait("three occurrences", probe)
    assert stack.incident(name)["frequency_stats"]["count_1h"] == 3


def test_one_incident_however_it_comes(stack, name):
    """The same alert straight from Prometheus and through Alertmanager is one alert."""
    starts = time.time() - 20
    alert = bodies.one_alert(name, starts=starts)
    stack.send("/webhook/alertmanager", bodies.webhook(alert))
    labels = {k: v for k, v in alert["labels"].items() if k != "alertname"}
    stack.send("/api/v2/alerts", [senders.postable("DiskFull", starts, **labels)])
    opened(stack, name)
    stack.send("/webhook/alertmanager", bodies.resolved(bodies.webhook(alert)))
    incident = closed(stack, name)
    assert incident["alerts_total"] == 1 and incident["frequency_stats"]["count_24h"] == 1
