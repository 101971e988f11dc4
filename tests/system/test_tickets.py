"""Programs that keep an alert or a ticket for each incident: told from its start to its end, and never given a second one."""

import os
import signal

import bodies
import pytest
from stack import states, wait

OPSGENIE = "system-opsgenie"
PAGERDUTY = "system-tests-of-pagerduty-000000"


def fire(stack, name, to):
    body = bodies.webhook(bodies.one_alert(name, to=to))
    stack.send("/webhook/alertmanager", body)
    return body


def told(stack, name, kind, state="delivered", deadline=90):
    """The notification of that kind, once it has ended so."""

    def probe():
        rows = [n for n in stack.incident(name)["notifications"] if n["kind"] == kind]
        assert rows and rows[0]["state"] == state, rows  # what failed is said again, in a row of its own
        return rows[0]

    return wait(f"{kind} of {name} to be {state}", probe, deadline)


def acknowledge(stack, name):
    stack.put(f"/api/v1/incidents/{stack.incident(name)['id']}/status", {"status": "acknowledged"})
    told(stack, name, "status")


def end(stack, name, body):
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    return told(stack, name, "resolved")


def pagerduty(stack, name):
    """The alerts there whose summary names it."""
    kept = stack.web.endpoints.of("/v2/enqueue").alerts
    return [a for (to, _), a in kept.items() if to == PAGERDUTY and name in a["summary"]]


def test_pagerduty_has_one_alert_from_start_to_end(stack, name):
    body = fire(stack, name, "to-pagerduty")
    told(stack, name, "opened")
    (alert,) = pagerduty(stack, name)
    assert (alert["state"], alert["triggers"]) == ("triggered", 1)
    acknowledge(stack, name)
    assert alert["state"] == "acknowledged"
    end(stack, name, body)
    assert alert["state"] == "resolved" and pagerduty(stack, name) == [alert] and alert["alerts"] == 1
    fire(stack, name, "to-pagerduty")
    told(stack, name, "reopened")
    assert alert["state"] == "triggered" and alert["alerts"] == 2


def test_pagerduty_has_one_alert_though_an_answer_was_lost(stack, name):
    stack.faults.push("pagerduty", PAGERDUTY, ["lost"])
    fire(stack, name, "to-pagerduty")
    row = told(stack, name, "opened")
    assert row["possible_duplicate"] and [d["outcome"] for d in row["deliveries"]] == ["retry", "delivered"]
    (alert,) = pagerduty(stack, name)
    assert (alert["triggers"], alert["alerts"]) == (2, 1)


def test_pagerduty_may_be_ourselves(stack, name):
    """What we tell PagerDuty, our own source takes as the vendor would: one incident, from start to end."""

    def there():
        return [i for i in stack.incidents(name) if i["source"] == "pagerduty"]

    body = bodies.webhook(bodies.one_alert(name, to="to-ourselves"))
    stack.send("/webhook/alertmanager", body)
    (incident,) = wait("the incident to come round", there)
    assert incident["status"] == "open" and incident["severity"] == "critical" and name in incident["title"]
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    wait("its end to come round", lambda: [i for i in there() if i["status"] == "resolved"])
    assert [i["id"] for i in there()] == [incident["id"]]


def opsgenie(stack, name):
    kept = stack.web.endpoints.of("/v2/alerts").alerts
    return [a for (key, _), a in kept.items() if key == OPSGENIE and name in a["message"]]


def test_opsgenie_has_one_alert_from_start_to_end(stack, name):
    body = fire(stack, name, "to-opsgenie")
    row = told(stack, name, "opened")
    assert row["deliveries"][0]["answer"] == "Created alert"
    (alert,) = opsgenie(stack, name)
    assert (alert["status"], alert["count"], alert["priority"]) == ("open", 1, "P1")
    acknowledge(stack, name)
    assert alert["acknowledged"]
    end(stack, name, body)
    assert alert["status"] == "closed" and opsgenie(stack, name) == [alert] and alert["alerts"] == 1


@pytest.mark.parametrize("key", [OPSGENIE, f"{OPSGENIE}/requests"])
def test_opsgenie_has_one_alert_though_an_answer_was_lost(stack, name, key):
    stack.faults.push("opsgenie", key, ["lost"])
    fire(stack, name, "to-opsgenie")
    told(stack, name, "opened")
    (alert,) = opsgenie(stack, name)
    assert alert["alerts"] == 1 and alert["count"] == (1 if key.endswith("requests") else 2)


def test_opsgenie_says_later_that_it_did_nothing(stack, name):
    # At an address of its own: what failed is told again, and would take the next test's answers.
    stack.faults.push("opsgenie", f"{OPSGENIE}-2", ["200body:no"])
    fire(stack, name, "to-opsgenie-2")
    (delivery,) = told(stack, name, "opened", "failed")["deliveries"]
    assert (delivery["outcome"], delivery["answer"]) == ("rejected", "said no")


def test_opsgenie_is_asked_again_what_became_of_it(stack, name):
    """By the next attempt, which does not tell it a second time."""
    stack.faults.push("opsgenie", OPSGENIE, ["200body:late"])
    fire(stack, name, "to-opsgenie")
    row = told(stack, name, "opened")
    assert [d["outcome"] for d in row["deliveries"]] == ["retry", "delivered"] and row["deliveries"][-1]["answer"] == "said late"
    assert not opsgenie(stack, name)


def jira(stack, name):
    return [i for i in stack.web.endpoints.of("/rest/api/").issues.values() if name in i["summary"]]


def test_jira_has_one_issue_from_start_to_end(stack, name):
    body = fire(stack, name, "to-jira")
    told(stack, name, "opened")
    (issue,) = jira(stack, name)
    assert (issue["status"], issue["comments"], issue["fields"]["priority"]) == ("To Do", [], {"name": "High"})
    acknowledge(stack, name)
    assert len(issue["comments"]) == 1
    end(stack, name, body)
    assert (issue["status"], len(issue["comments"])) == ("Done", 2)
    fire(stack, name, "to-jira")
    told(stack, name, "reopened")
    assert (issue["status"], len(issue["comments"])) == ("To Do", 3) and jira(stack, name) == [issue]


@pytest.mark.parametrize("what", ["search", "create"])
def test_jira_has_one_issue_though_an_answer_was_lost(stack, name, what):
    stack.faults.push("jira", f"ann/{what}", ["lost"])
    fire(stack, name, "to-jira")
    told(stack, name, "opened")
    (issue,) = jira(stack, name)
    assert issue["comments"] == []


def test_jira_has_one_issue_though_the_notifier_was_killed(stack, name):
    """It died between the issue and its row; the next one finds the issue by its label."""
    notifier = stack.status()["notifier"]["pid"]
    stack.faults.push("jira", "ann/create", ["slow:3"])
    fire(stack, name, "to-jira")
    wait("the issue to be asked for", lambda: not stack.faults.waiting("jira", "ann/create"))
    os.kill(notifier, signal.SIGKILL)
    stack.restart("notifier")
    assert told(stack, name, "opened")["possible_duplicate"]
    (issue,) = jira(stack, name)
    assert issue["comments"] == []


def test_jira_says_which_transition_it_does_not_have(stack, name):
    body = fire(stack, name, "to-jira")
    told(stack, name, "opened")
    (issue,) = jira(stack, name)
    issue["status"] = "Waiting"
    row = end(stack, name, body)
    assert 'the transition "Done"' in row["reason"] and len(issue["comments"]) == 1


def servicenow(stack, name):
    return [r for r in stack.web.endpoints.of("/api/now/").incidents.values() if name in r["short_description"]]


def test_servicenow_has_one_record_from_start_to_end(stack, name):
    body = fire(stack, name, "to-servicenow")
    told(stack, name, "opened")
    (record,) = servicenow(stack, name)
    assert (record["state"], record["urgency"], record["impact"], record["notes"]) == ("1", "1", "1", [])
    acknowledge(stack, name)
    assert len(record["notes"]) == 1
    end(stack, name, body)
    assert (record["state"], record["close_code"]) == ("6", "Solution provided")
    fire(stack, name, "to-servicenow")
    told(stack, name, "reopened")
    assert (record["state"], len(record["notes"])) == ("2", 3) and servicenow(stack, name) == [record]


@pytest.mark.parametrize("what", ["GET", "POST"])
def test_servicenow_has_one_record_though_an_answer_was_lost(stack, name, what):
    stack.faults.push("servicenow", f"ann/{what}", ["lost"])
    fire(stack, name, "to-servicenow")
    told(stack, name, "opened")
    (record,) = servicenow(stack, name)
    assert record["notes"] == []


def sentry(stack, issue):
    return stack.web.endpoints.of("/api/0/").issues[issue.id]


def test_sentry_is_written_back_what_became_of_its_issue(stack, name):
    """Each act is a comment with our mark; an end that Sentry does not know resolves the issue there."""
    service = f"{name}-written-back"
    issue = bodies.SentryIssue(service)
    bodies.post_sentry(stack, "issue", issue.issue("created"))
    told(stack, service, "opened")
    acknowledge(stack, service)
    stack.put(f"/api/v1/incidents/{stack.incident(service)['id']}/status", {"status": "resolved"})
    told(stack, service, "resolved")
    there = sentry(stack, issue)
    assert there["status"] == "resolved" and len(there["comments"]) == 3
    assert all(text.endswith("(written by Tocsin)") for _, text in there["comments"])


def test_sentry_keeps_its_own_end_and_hears_nothing_twice(stack, name):
    service = f"{name}-written-back"
    issue = bodies.SentryIssue(service)
    stack.faults.push("sentry", "system-sentry-token/POST", ["lost"])
    bodies.post_sentry(stack, "issue", issue.issue("created"))
    row = told(stack, service, "opened")
    assert row["possible_duplicate"]
    bodies.post_sentry(stack, "issue", issue.issue("resolved"))
    told(stack, service, "resolved")
    there = sentry(stack, issue)
    assert there["status"] == "unresolved" and len(there["comments"]) == 2


def test_sentry_names_the_moment_from_which_it_may_be_asked(stack, name):
    service = f"{name}-written-back"
    stack.faults.push("sentry", "system-sentry-token/POST", ["429:2", "500"])
    bodies.post_sentry(stack, "issue", bodies.SentryIssue(service).issue("created"))
    row = told(stack, service, "opened")
    assert [d["outcome"] for d in row["deliveries"]] == ["retry", "retry", "delivered"]


TRIES = [
    ("jira", "ann/search", ["500", "429:1", "200body:maybe", "reset"]),
    ("opsgenie", OPSGENIE, ["500", "429:1", "reset"]),
    ("pagerduty", PAGERDUTY, ["500", "429:1", "200body:maybe", "reset"]),
    ("servicenow", "ann/GET", ["500", "429:1", "reset"]),
]


@pytest.mark.parametrize("channel, key, answers", TRIES)
def test_tries_again(stack, name, channel, key, answers):
    stack.faults.push(channel, key, answers)
    fire(stack, name, f"to-{channel}")
    row = told(stack, name, "opened")
    assert [d["outcome"] for d in row["deliveries"]] == ["retry"] * len(answers) + ["delivered"]


REFUSALS = [
    ("jira", "ann/create", "400:priority", "Field 'priority'"),
    ("opsgenie", OPSGENIE, "422", "not processable"),
    ("pagerduty", PAGERDUTY, "400", "invalid event"),
    ("servicenow", "ann/POST", "403", "Insufficient rights"),
]


@pytest.mark.parametrize("channel, key, answer, words", REFUSALS)
def test_gives_up_and_says_what_the_channel_said(stack, name, channel, key, answer, words):
    stack.faults.push(channel, key, [answer])
    fire(stack, name, f"to-{channel}")
    (delivery,) = told(stack, name, "opened", "failed")["deliveries"]
    assert delivery["outcome"] == "rejected" and words in f"{delivery['http_status']} {delivery['answer']}"
