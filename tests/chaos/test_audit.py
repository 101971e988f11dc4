"""The auditor finds what is wrong, each in a world that is right but for one thing."""

import copy

import audit
import pytest
from audit import Evidence, Incident, Notification, Stored
from sender import Told
from sink import Message


def told(service, firing, *identities):
    one = Told(service)
    one.tried, one.accepted, one.firing = set(identities), set(identities), firing
    return one


@pytest.fixture
def right():
    """One alert fires, another began twice and is over; an open and a resolved incident, both told."""
    promised = {"a": told("s1", True, "s:1"), "b": told("s2", False, "s:1", "s:2")}
    seen = Evidence(
        alerts=[Stored("a", "s1", "I1", audit.FIRING, 1), Stored("b", "s2", "I2", audit.RESOLVED, 2)],
        occurrences=[("a", "s:1"), ("b", "s:1"), ("b", "s:2")],
        incidents=[Incident("I1", "s1", 1, 0), Incident("I2", "s2", audit.INCIDENT_RESOLVED, 0)],
        notifications=[
            Notification("n1", "hook", "webhook", "opened", "I1", 1, "delivered", False, True),
            Notification("n2", "hook", "webhook", "opened", "I2", 1, "delivered", False, True),
            Notification("n3", "hook", "webhook", "resolved", "I2", 2, "delivered", False, True),
            Notification("n4", "slack", "slack", "opened", "I2", 1, "delivered", False, True),
        ],
        anomalies={"s1": 1, "s2": 2},
        listed={"s1": 1, "s2": 2},
        messages=[
            Message("webhook", "hook", "n1", "I1", "firing", 1),
            Message("webhook", "hook", "n2", "I2", "firing", 1),
            Message("webhook", "hook", "n3", "I2", "resolved", 2),
            Message("slack", None, None, "I2", None, 0),
        ],
    )
    return promised, seen


def lines(right):
    return {line.name: line.value for line in audit.audit(*right)}


def bad(right):
    """What is wrong, apart from the one thing that other lines may show too."""
    return {line.name: line.value for line in audit.failed(audit.audit(*right))}


def replace(rows, index, **changes):
    rows[index] = rows[index]._replace(**changes)


def test_right_is_right(right):
    found = lines(right)
    assert bad(right) == {}
    assert (found["accepted"], found["stored once"], found["notifications delivered"]) == (3, 3, 4)
    assert str(audit.audit(*right)[0]) == "accepted: 3"


def test_missing(right):
    promised, seen = right
    seen.occurrences.remove(("b", "s:2"))
    assert bad(right)["missing"] == 1 and lines(right)["stored once"] == 2


def test_missing_alert(right):
    promised, seen = right
    promised["c"] = told("s1", True, "s:9")
    assert bad(right)["missing"] == 1
    assert "  missing: c s:9" in audit.report(audit.audit(*right))


def test_not_accepted_is_not_missing(right):
    promised, _ = right
    promised["a"].tried.add("s:7")
    assert bad(right) == {}


def test_arrived_without_an_answer_counts(right):
    promised, seen = right
    promised["a"].tried.add("s:7")
    seen.occurrences.append(("a", "s:7"))
    assert bad(right) == {"counts wrong": 1}
    seen.anomalies["s1"] = seen.listed["s1"] = 2
    replace(seen.alerts, 0, counted=2)
    assert bad(right) == {}


@pytest.mark.parametrize("extra", [("a", "s:1"), ("a", "r:5")])
def test_stored_twice(right, extra):
    right[1].occurrences.append(extra)
    assert bad(right)["stored twice"] == 1


def test_two_rows_of_an_alert(right):
    right[1].alerts.append(right[1].alerts[0])
    assert bad(right)["stored twice"] == 1 and lines(right)["stored once"] == 2


@pytest.mark.parametrize("state", ["pending", "sending"])
def test_no_end_state(right, state):
    replace(right[1].notifications, 1, state=state)
    assert bad(right)["no end state"] == 1


def test_delivered_without_an_attempt(right):
    replace(right[1].notifications, 1, tried=False)
    assert bad(right) == {"delivered without an attempt": 1}


@pytest.mark.parametrize("message", [1, 3])
def test_doubled(right, message):
    seen = right[1]
    seen.messages.append(seen.messages[message])
    assert bad(right) == {"doubled without a mark": 1} and lines(right)["doubled at the sink"] == 1
    for n in range(4):
        replace(seen.notifications, n, doubtful=True)
    assert bad(right) == {} and lines(right)["doubled at the sink"] == 1


def test_a_mark_elsewhere_excuses_nothing(right):
    seen = right[1]
    seen.messages.append(seen.messages[1])
    replace(seen.notifications, 0, doubtful=True)
    assert bad(right) == {"doubled without a mark": 1}


def test_unknown_at_the_sink(right):
    replace(right[1].messages, 0, notification="n9")
    assert bad(right)["unknown at the sink"] == 1


def test_end_of_an_alert_is_missing(right):
    replace(right[1].alerts, 1, status=audit.FIRING)
    assert bad(right) == {"resolved missing": 1}


def test_end_of_an_incident_is_missing(right):
    replace(right[1].incidents, 1, status=1)
    assert bad(right) == {"resolved missing": 1}


def test_end_was_not_told(right):
    del right[1].messages[2]
    del right[1].notifications[2]
    assert bad(right) == {"resolved missing": 1}


def test_hidden_alert(right):
    replace(right[1].alerts, 0, status=audit.RESOLVED)
    assert bad(right) == {"hidden": 1}


def test_fires_in_a_resolved_incident(right):
    replace(right[1].incidents, 0, status=audit.INCIDENT_RESOLVED)
    assert bad(right)["hidden"] == 1


def test_open_and_nobody_was_told(right):
    seen = right[1]
    del seen.messages[0], seen.notifications[0]
    assert bad(right) == {"untold": 1}


def test_delivered_and_nobody_got_it(right):
    right[1].notifications.append(Notification("n5", "hook", "webhook", "crossing", "I1", 2, "delivered", False, True))
    assert bad(right) == {"untold": 1}


@pytest.mark.parametrize("where", ["anomalies", "listed"])
def test_counts(right, where):
    getattr(right[1], where)["s2"] += 1
    assert bad(right) == {"counts wrong": 1}


def test_resolved_by_our_absence(right):
    right[1].expired = 2
    assert bad(right) == {"resolved by our absence": 2}


def test_report_shows_the_first_few(right):
    promised, _ = copy.deepcopy(right)
    found = audit.audit(promised, Evidence())
    text = audit.report([audit.must_be_none("missing", [f"x{n}" for n in range(9)]), *found])
    assert text.startswith("missing: 9") and text.count("  missing: x") == audit.OFFENDERS_SHOWN and "and 4 more" in text
