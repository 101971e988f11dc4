"""The life of an incident: acts of people, re-opening, ends by silence, severity and thresholds."""

import time

import bodies
import senders
from stack import WINDOW_S, Client, kinds, wait


def fire(stack, name, **labels):
    body = bodies.webhook(bodies.one_alert(name, **labels))
    stack.send("/webhook/alertmanager", body)
    return body


def in_status(stack, name, status):
    return wait(f"{name} to be {status}", lambda: stack.incident(name)["status"] == status and stack.incident(name))


def told(stack, name, *expected):
    def probe():
        assert kinds(stack.incident(name)) == list(expected), kinds(stack.incident(name))
        return len(stack.messages(name)) == len(expected)

    wait(f"{name} to be told {expected}", probe)


def test_people_act(stack, name):
    fire(stack, name)
    told(stack, name, "opened")
    path = f"/api/v1/incidents/{stack.incident(name)['id']}/status"
    for status in ("acknowledged", "investigating"):
        answer = stack.put(path, {"status": status, "note": f"{status} by a test"})
        assert answer["status"] == status
    assert stack.put(path, {"status": "resolved", "note": "rebooted it"})["resolve_reason"] == "manual"
    incident = in_status(stack, name, "resolved")
    lines = "\n".join(t["text"] for t in incident["timeline"])
    assert "rebooted it" in lines and "acknowledged by a test" in lines
    # The alert itself goes on: nothing live is hidden.
    assert [a["status"] for a in incident["alerts"]] == ["firing"]


def test_backward_steps_are_refused(stack, name):
    fire(stack, name)
    incident = in_status(stack, name, "open")
    path = f"/api/v1/incidents/{incident['id']}/status"
    stack.put(path, {"status": "investigating"})
    status, _ = Client(stack.console_url).request("PUT", path, {"status": "acknowledged"})
    assert 400 <= status < 500
    assert stack.incident(name)["status"] == "investigating"


def test_act_through_the_alert(stack, name):
    fire(stack, name)
    alert = in_status(stack, name, "open")["alerts"][0]
    stack.put(f"/api/v1/alerts/{alert['id']}/status", {"status": "acknowledged", "resolution_note": "on it"})
    assert in_status(stack, name, "acknowledged")["id"] == alert["incident_id"]


def test_manual_resolve_holds_until_a_new_occurrence(stack, name):
    body = fire(stack, name)
    incident = in_status(stack, name, "open")
    stack.put(f"/api/v1/incidents/{incident['id']}/status", {"status": "resolved"})
    stack.send("/webhook/alertmanager", body)
    # Of the same group, so that it is processed after the repeat.
    other = bodies.one_alert(name, instance="new")
    stack.send("/webhook/alertmanager", {**bodies.webhook(other), "groupKey": body["groupKey"]})
    again = in_status(stack, name, "open")
    assert again["id"] == incident["id"] and again["frequency_stats"]["count_24h"] == 2


def test_firing_again_within_the_window_reopens(stack, name):
    body = fire(stack, name)
    first = in_status(stack, name, "open")
    told(stack, name, "opened")
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    in_status(stack, name, "resolved")
    told(stack, name, "opened", "resolved")
    again = bodies.one_alert(name, starts=time.time())
    stack.send("/webhook/alertmanager", bodies.webhook(again))
    incident = in_status(stack, name, "open")
    assert incident["id"] == first["id"] and incident["frequency_stats"]["count_24h"] == 2
    assert incident["is_aggregated"] and incident["aggregated_count"] == 2
    told(stack, name, "opened", "resolved", "reopened")


def test_firing_after_the_window_is_a_new_incident(stack, name):
    body = fire(stack, name)
    in_status(stack, name, "open")
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    ended = in_status(stack, name, "resolved")
    time.sleep(WINDOW_S + 1)  # it runs between receive times
    stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name, starts=time.time())))
    found = wait("a second incident", lambda: len(stack.incidents(name)) == 2 and stack.incidents(name))
    assert found[1]["id"] == ended["id"] and found[0]["status"] == "open"
    assert found[0]["frequency_stats"]["count_24h"] == 2


def test_two_alerts_of_one_anomaly_are_one_incident(stack, name):
    first, second = bodies.one_alert(name, instance="a"), bodies.one_alert(name, instance="b")
    stack.send("/webhook/alertmanager", bodies.webhook(first))
    told(stack, name, "opened")
    stack.send("/webhook/alertmanager", bodies.webhook(second))
    wait("the second", lambda: stack.incident(name)["alerts_firing"] == 2)
    stack.send("/webhook/alertmanager", bodies.resolved(bodies.webhook(first)))
    wait("the first to end", lambda: stack.incident(name)["alerts_firing"] == 1)
    assert stack.incident(name)["status"] == "open"
    stack.send("/webhook/alertmanager", bodies.resolved(bodies.webhook(second)))
    in_status(stack, name, "resolved")
    told(stack, name, "opened", "resolved")


def test_thresholds_cross_once_each(stack, name):
    sent, levels = 0, (("none", 1), ("REPEAT", 3), ("ESCALATE", 5), ("PERMANENT_FIX", 10), ("PERMANENT_FIX", 14))
    expected = []
    for level, upto in levels:
        alerts = [bodies.one_alert(name, severity="warning", instance=str(n)) for n in range(sent, upto)]
        stack.send("/webhook/alertmanager", bodies.webhook(*alerts))
        sent = upto
        wait(f"{upto} occurrences", lambda: stack.incident(name)["frequency_stats"]["count_24h"] == sent)
        assert stack.incident(name)["frequency_stats"]["escalation_level"] == level
        if upto != 14:
            expected.append("crossing" if expected else "opened")
        told(stack, name, *expected)
    assert stack.incident(name)["severity"] == "critical"


def test_raised_severity_is_told(stack, name):
    fire(stack, name, severity="warning")
    told(stack, name, "opened")
    fire(stack, name, severity="critical")
    told(stack, name, "opened", "severity")
    assert stack.incident(name)["severity"] == "critical"


def test_promise_that_passes_ends_the_alert(stack, name):
    """A sender that went away: endsAt passes, nobody said that it is over."""
    alert = senders.postable("HostDown", time.time() - 5, time.time() + 3, service=name, severity="critical", to="hook")
    stack.send("/api/v2/alerts", [alert])
    in_status(stack, name, "open")
    incident = wait("the end by silence", lambda: stack.incident(name)["status"] == "resolved" and stack.incident(name), 180)
    assert incident["resolve_reason"] == "expired"
    told(stack, name, "opened", "resolved")


def test_promise_that_is_renewed_does_not_end_the_alert(stack, name):
    starts, expiring = time.time() - 5, name + "x"

    def report(service, ends):
        alert = senders.postable("HostDown", starts, ends, service=service, severity="critical", to="hook")
        stack.send("/api/v2/alerts", [alert])

    report(name, time.time() + 2)
    report(expiring, time.time() + 2)
    report(name, time.time() + 3600)
    # Both were due at the same time: when one has ended by silence, the other has been looked at.
    wait("the other one's end", lambda: stack.incident(expiring)["status"] == "resolved", 180)
    assert stack.incident(name)["status"] == "open"


def test_lists_and_filters(stack, name):
    fire(stack, name, severity="critical")
    fire(stack, name, severity="warning", alertname="Other")
    wait("both", lambda: len(stack.incidents(name)) == 2)

    def listed(**filters):
        query = "&".join(f"{k}={v}" for k, v in {"service": name, **filters}.items())
        return [i["alert_name"] for i in stack.get(f"/api/v1/incidents?{query}")["incidents"]]

    assert listed() == ["Other", "DiskFull"] and listed(severity="critical") == ["DiskFull"]
    assert listed(status="active") == ["Other", "DiskFull"] and listed(status="resolved") == []
    assert listed(q="Other") == ["Other"] and listed(since=senders.rfc3339(time.time() + 60)) == []
    first = stack.get(f"/api/v1/incidents?service={name}&limit=1")
    second = stack.get(f"/api/v1/incidents?service={name}&limit=1&cursor={first['next_cursor']}")
    assert [p["incidents"][0]["alert_name"] for p in (first, second)] == ["Other", "DiskFull"]
    mine = [a for a in stack.get("/api/v1/alerts?status=active&severity=critical&limit=100")["alerts"] if a["labels"]["service"] == name]
    assert [a["labels"]["alertname"] for a in mine] == ["DiskFull"]


def test_fields_that_users_count_on(stack, name):
    fire(stack, name)
    in_status(stack, name, "open")
    incident = stack.get(f"/api/v1/incidents?service={name}")["incidents"][0]
    assert set(incident["frequency_stats"]) >= {
        "count_1h", "count_24h", "count_7d", "count_30d", "first_seen", "last_seen", "escalation_level",
    }
    assert set(incident["repair_stats"]) >= {
        "total_attempts", "successful_attempts", "last_repair_action", "last_repair_time", "repair_history", "recommended_tier",
    }
    assert {"is_aggregated", "aggregated_count", "aggregation_window_start"} <= set(incident)
