"""Rules over the shipped policy: each kind of action, and a rate that moves an incident. See `rules` in tocsin.yml."""

import time

import bodies
from stack import kinds, wait

BOTH = {("webhook", "two-ways"), ("slack", "two-ways")}


def fire(stack, name, severity, **labels):
    body = bodies.webhook(bodies.one_alert(name, to="ruled", severity=severity, **labels))
    stack.send("/webhook/alertmanager", body)
    return body


def keep_clear_of_digests():
    """They go out at each quarter of an hour: not while a test looks at what waits for them."""
    left = 900 - time.time() % 900
    if left < 60:
        time.sleep(left + 1)


def where(stack, name):
    return {(m["channel"], m["endpoint"].rsplit("/", 1)[-1]) for m in stack.messages(name)}


def ledger(stack, name):
    return {(n["receiver"], n["channel"], n["kind"], n["state"], n["rule"]) for n in stack.incident(name)["notifications"]}


def gathered(stack, name):
    """(rule, seconds to the digest's next time) of the digests that an incident waits in."""
    return stack.sql(
        "SELECT substr(g.route, 67), min(t.due_at) % 86400000 = 0, min(t.due_at) % 3600000 = 0"
        " FROM digest_items d JOIN groups g ON g.tenant = d.tenant AND g.id = d.group_id JOIN timers t ON t.subject = uuid_send(g.id)"
        f" WHERE d.incident_id = '{stack.incident(name)['id']}' GROUP BY 1"
    )


def test_warnings_wait_but_for_a_rule(stack, name):
    """The policy's digest, and beside it the same severity told at once, by its fingerprint."""
    keep_clear_of_digests()
    fire(stack, name + "waits", "warning")
    fire(stack, name, "warning", error_type="connection_failed")
    wait("both messages", lambda: where(stack, name) == BOTH)
    assert {n["rule"] for n in stack.incident(name)["notifications"]} == {"redis is down"}
    assert stack.messages(name + "waits") == [] and len(gathered(stack, name + "waits")) == 1


def test_summaries_wait_for_their_time(stack, name):
    keep_clear_of_digests()
    fire(stack, name + "hourly", "critical", run="nightly")
    fire(stack, name + "daily", "critical", run="weekly")
    wait("an hourly digest", lambda: [row[0] for row in gathered(stack, name + "hourly")] == ["nightly jobs"])
    wait("a daily digest", lambda: [row[0] for row in gathered(stack, name + "daily")] == ["reports"])
    assert gathered(stack, name + "hourly")[0][2] == "t" and gathered(stack, name + "daily")[0][1] == "t"
    # One that no rule takes comes after them.
    fire(stack, name + "now", "critical")
    wait("both messages", lambda: where(stack, name + "now") == BOTH)
    assert stack.messages(name + "hourly") == stack.messages(name + "daily") == []


def test_one_channel_of_two(stack, name):
    body = fire(stack, name, "critical", run="chat")
    wait("the message", lambda: stack.messages(name))
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    wait("its end", lambda: len(stack.messages(name)) == 2)
    assert where(stack, name) == {("slack", "two-ways")}
    assert {n["rule"] for n in stack.incident(name)["notifications"]} == {"chat alone"}


def test_the_page_alone_is_a_row_of_the_ledger(stack, name):
    fire(stack, name, "critical", run="page")
    wait("its row", lambda: ledger(stack, name) == {("two-ways", "dashboard", "opened", "suppressed", "page alone")})
    assert stack.incident(name)["notifications"][0]["reason"] == 'rule "page alone": shown on the page alone'
    assert stack.messages(name) == []


def test_a_rate_moves_the_incident_once(stack, name):
    """By the fingerprint that the application gave the error: from the fourth event on to another receiver."""
    issue = bodies.SentryIssue(name)
    issue.what["fingerprint"] = ["storm", name]
    for n in range(6):
        assert bodies.post_sentry(stack, "event_alert", issue.event())[0] == 200
        wait("it to count", lambda n=n: stack.incident(name)["aggregated_count"] == n + 1)
    wait("both receivers", lambda: where(stack, name) >= {("webhook", "default"), ("webhook", "two-ways")})
    incident = stack.incident(name)
    assert [t["text"] for t in incident["timeline"] if t["kind"] == "rule"] == [
        'rule "sentry storm" from here on: 4 occurrences, > 3 per hour'
    ]
    moved = [n for n in incident["notifications"] if n["receiver"] == "two-ways"]
    assert {(n["channel"], n["rule"]) for n in moved} == {("webhook", "sentry storm")}
    assert [n["kind"] for n in moved].count("opened") == 1
    bodies.post_sentry(stack, "issue", issue.issue("resolved"))
    wait("the end, to both", lambda: kinds(stack.incident(name)).count("resolved") == 2)
