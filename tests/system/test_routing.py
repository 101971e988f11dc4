"""Which messages there are: grouping as in Alertmanager, waiting for a group, digests, several receivers."""

import json
import time

import bodies
from stack import kinds, wait


def test_group_of_several_alerts_is_one_message(stack, name):
    """group_by without `incident`: Alertmanager's rule. group_wait gathers what comes together."""
    for attempt in range(5):
        service, began = f"{name}n{attempt}", time.monotonic()
        for alertname in ("DiskFull", "DiskSlow", "DiskLost"):
            stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(service, to="grouped", alertname=alertname)))
        wait("all three", lambda service=service: len(stack.incidents(service)) == 3)
        if time.monotonic() - began < 3:
            break  # else this machine took longer than group_wait
    wait("the group", lambda: stack.messages(service))
    (message,) = stack.messages(service)
    payload = json.loads(message["raw"])
    assert payload["groupLabels"] == {"service": service}
    assert sorted(a["labels"]["alertname"] for a in payload["alerts"]) == ["DiskFull", "DiskLost", "DiskSlow"]


def test_group_tells_a_new_member_and_the_end(stack, name):
    alerts = [bodies.one_alert(name, to="grouped", alertname=n) for n in ("DiskFull", "DiskSlow")]
    stack.send("/webhook/alertmanager", bodies.webhook(alerts[0]))
    wait("the first message", lambda: len(stack.messages(name)) == 1)
    stack.send("/webhook/alertmanager", bodies.webhook(alerts[1]))
    wait("the second message", lambda: len(stack.messages(name)) == 2)
    assert len(json.loads(stack.messages(name)[1]["raw"])["alerts"]) == 2
    stack.send("/webhook/alertmanager", bodies.resolved(bodies.webhook(*alerts)))
    wait("the end", lambda: json.loads(stack.messages(name)[-1]["raw"])["status"] == "resolved")


def test_digest_tells_everything_at_once(stack, name):
    services = [f"{name}n{n}" for n in range(3)]
    for service in services:
        stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(service, to="digest", severity="warning")))
    wait("a digest about the last", lambda: stack.messages(services[-1]))
    assert all(len(stack.messages(service)) == 1 for service in services)
    assert len(stack.messages(name)) < len(services)


def test_continue_tells_both_receivers(stack, name):
    stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name, to="both")))
    wait("both messages", lambda: len(stack.messages(name)) == 2)
    assert {m["channel"] for m in stack.messages(name)} == {"webhook", "slack"}


def test_send_resolved_false_is_heeded(stack, name):
    body = bodies.webhook(bodies.one_alert(name, to="no-end"))
    stack.send("/webhook/alertmanager", body)
    wait("the message", lambda: len(stack.messages(name)) == 1)
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    wait("the end", lambda: stack.incident(name)["status"] == "resolved")
    # A later incident of another service through the same receiver comes after it.
    stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name + "x", to="no-end")))
    wait("the marker", lambda: stack.messages(name + "x"))
    assert len([m for m in stack.messages(name) if name + "x" not in m["text"]]) == 1


def test_repeat_interval_reminds(stack, name):
    stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name, to="reminder")))
    wait("a reminder", lambda: kinds(stack.incident(name))[:2] == ["opened", "repeat"])
    stack.put(f"/api/v1/incidents/{stack.incident(name)['id']}/status", {"status": "acknowledged"})


def test_sentry_recurrence_goes_to_the_digest(stack, name):
    """First seen: at once. Seen again: only in the digest of warnings."""
    issue = bodies.SentryIssue(name)
    bodies.post_sentry(stack, "issue", issue.issue("created"))
    wait("the first message", lambda: stack.messages(name))
    for _ in range(2):
        bodies.post_sentry(stack, "event_alert", issue.event())
    wait("the digest", lambda: stack.messages(name, "slack"))
    assert kinds(stack.incident(name)) == ["opened"]
