"""The fakes of programs that keep an alert or a ticket refuse what the vendors refuse, and remember what they have."""

import json

import pytest
from test_fakes import last, order, post, send

# PagerDuty

ENQUEUE, KEY = "/v2/enqueue", "k" * 32


def event(action="trigger", key="d", **payload):
    doc = {"routing_key": KEY, "event_action": action, "dedup_key": key}
    return {**doc, "payload": {"summary": "disk", "source": "db", "severity": "critical", **payload}}


def test_pagerduty_keeps_one_alert_by_its_key(fake):
    alerts = fake.endpoints.of(ENQUEUE).alerts
    for action, state in (("trigger", "triggered"), ("acknowledge", "acknowledged"), ("trigger", "acknowledged"), ("resolve", "resolved")):
        assert post(fake, ENQUEUE, event(action)) == (202, '{"status": "success", "message": "Event processed", "dedup_key": "d"}')
        assert alerts[(KEY, "d")]["state"] == state
    assert last(fake)["text"] == "resolve: disk"
    assert post(fake, ENQUEUE, event("resolve"))[0] == 202 and last(fake)["text"] == "resolve: nothing is open"
    assert (alerts[(KEY, "d")]["alerts"], alerts[(KEY, "d")]["triggers"]) == (1, 2)
    post(fake, ENQUEUE, event())
    assert alerts[(KEY, "d")]["alerts"] == 2


@pytest.mark.parametrize(
    "body, words",
    [
        (b"{", "invalid"),
        ({**event(), "routing_key": "short"}, "should be 32 characters"),
        ({**event(), "event_action": ""}, "'event_action' is missing or blank"),
        (event("explode"), "event_action"),
        (event("resolve", None), "dedup_key"),
        (event(key="d" * 256), "dedup_key"),
        ({**event(), "payload": None}, "payload"),
        (event(summary=""), "summary"),
        (event(summary="s" * 1025), "summary"),
        (event(severity="fatal"), "severity"),
        (event(source=None), "source"),
        (event(timestamp="yesterday"), "timestamp"),
        (event(custom_details=[]), "custom_details"),
        ({**event(), "links": [{"text": "x"}]}, "links"),
        (event(custom_details={"x": "x" * (512 << 10)}), "too large"),
    ],
)
def test_pagerduty_refuses(fake, body, words):
    status, answer = post(fake, ENQUEUE, body)
    answer = json.loads(answer)
    assert (status, answer["status"]) == (400, "invalid event") and words in " ".join(answer["errors"])
    assert not last(fake)["accepted"]


def test_pagerduty_refuses_on_demand(fake):
    assert order(fake, "pagerduty", KEY, "429", "200body:maybe", "403") == 200
    status, headers, answer = send(fake, ENQUEUE, event())
    assert status == 429 and "Retry-After" not in headers and json.loads(answer)["status"] == "throttle exceeded"
    assert [post(fake, ENQUEUE, event())[0] for _ in range(2)] == [200, 403]
    assert send(fake, ENQUEUE, event(), kind="text/plain")[0] == 400


def test_pagerduty_takes_version_1(fake):
    path = "/generic/2010-04-15/create_event.json"
    one = {"service_key": "S", "event_type": "trigger", "incident_key": "d", "description": "disk"}
    status, answer = post(fake, path, one)
    assert (status, json.loads(answer)["incident_key"]) == (200, "d")
    for broken in ({"service_key": ""}, {"event_type": "x"}, {"description": ""}, {"event_type": "resolve", "incident_key": ""}):
        assert post(fake, path, {**one, **broken})[0] == 400
    assert order(fake, "pagerduty", "S", "403") == 200
    assert post(fake, path, one)[0] == 403
