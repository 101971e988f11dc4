"""A destination that fails for a while, or for good: nothing is lost, nobody else waits, and it is said."""

import bodies
from stack import states, wait


def fire(stack, name, to):
    stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name, to=to)))


def about(stack, receiver):
    """The incident about a receiver that takes nothing."""
    found = [i for i in stack.incidents(receiver) if i["alert_name"] == "TocsinReceiverFailing"]
    assert len(found) == 1, found
    return found[0]


def ledger(incident):
    return {(r["receiver"], r["kind"], r["state"]) for r in incident["notifications"]}


def test_what_a_receiver_refuses_is_told_by_its_fallback_and_is_an_alert_until_it_takes_one(stack, name):
    stack.faults.push("webhook", "/hook/falls", ["404*"])
    fire(stack, name + "a", "falls")
    wait(
        "the fallback to be told",
        lambda: ledger(stack.incident(name + "a")) == {("falls", "opened", "failed"), ("catches", "opened", "delivered")},
    )
    (message,) = stack.messages(name + "a")
    assert message["endpoint"] == "/hook/catches" and "falls did not take this message" in message["raw"]
    # Of both default receivers the one that it is about is passed by.
    wait(
        "the alert about it",
        lambda: ledger(about(stack, "falls"))
        == {("hook", "opened", "delivered"), ("catches", "opened", "delivered")},
    )
    fire(stack, name + "b", "falls")
    wait("the fallback to be told again", lambda: ("catches", "opened", "delivered") in ledger(stack.incident(name + "b")))
    assert about(stack, "falls")["aggregated_count"] == 1
    stack.faults.clear()
    fire(stack, name + "c", "falls")
    wait("it to take one", lambda: ledger(stack.incident(name + "c")) == {("falls", "opened", "delivered")})
    wait("the alert to end", lambda: about(stack, "falls")["status"] == "resolved")
    wait("its end to be told", lambda: ("hook", "resolved", "delivered") in ledger(about(stack, "falls")))


def test_a_failing_receiver_without_a_fallback_is_not_told_of_itself(stack, name):
    stack.faults.push("webhook", "/hook/alone", ["404*"])
    fire(stack, name, "alone")
    wait("the failure", lambda: ("alone", "opened", "failed") in ledger(stack.incident(name)))
    wait("the ledger to say it", lambda: ("alone", "opened", "suppressed") in ledger(about(stack, "alone")))
    reasons = {r["reason"] for r in about(stack, "alone")["notifications"] if r["receiver"] == "alone"}
    assert reasons == {"it is about receiver alone itself, without a fallback"}


def test_a_digest_that_one_channel_refuses_is_told_by_the_other_once(stack, name):
    stack.faults.push("slack", "digest-of-two", ["404*"])
    fire(stack, name + "a", "digest-of-two")
    wait("it to be tried again and again", lambda: [n["state"] for n in stack.incident(name + "a")["notifications"]].count("failed") >= 3)
    fire(stack, name + "b", "digest-of-two")
    wait("the next digest", lambda: stack.messages(name + "b", "webhook"))
    stack.faults.clear()
    wait("both to be told there", lambda: all(stack.messages(name + n, "slack") for n in "ab"))
    assert [len(stack.messages(name + n, channel)) for n in "ab" for channel in ("webhook", "slack")] == [1, 1, 1, 1]


def test_an_outage_of_one_channel_loses_nothing_and_delays_no_other(stack, name):
    ill = ["429:1", "500*2", "reset*2", "200body:maybe*2", "hang", "503*8", "503*"]
    stack.faults.push("slack", "outage", ill)
    for n in range(8):
        fire(stack, f"{name}s{n}", "outage")
        fire(stack, f"{name}w{n}", "to-webhook")
    for n in range(8):
        wait("the other channel", lambda: states(stack.incident(f"{name}w{n}")) == {"opened": "delivered"})
    assert not stack.messages(f"{name}s", "slack")

    wait("the breaker to open", lambda: stack.faults.waiting("slack", "outage") == 1)
    # The rate may have merged the eight into one message, which tries the channel itself. These two come too late for
    # that, and only one of them can be the next to try.
    for n in (8, 9):
        fire(stack, f"{name}s{n}", "outage")

    def held():
        rows = [r for n in (8, 9) for r in stack.incident(f"{name}s{n}")["notifications"]]
        assert {r["state"] for r in rows} <= {"pending", "sending"}, rows
        return any(r["reason"] == "the channel does not answer" for r in rows)

    wait("the breaker to hold one back", held)
    fire(stack, f"{name}x", "to-webhook")
    wait("the other channel", lambda: states(stack.incident(f"{name}x")) == {"opened": "delivered"})
    stack.faults.clear()

    def told():
        text = "\n".join(m["text"] for m in stack.messages(name, "slack"))
        missing = [f"{name}s{n}" for n in range(10) if f"{name}s{n}" not in text]
        assert not missing, missing
        ends = [states(stack.incident(f"{name}s{n}"))["opened"] for n in range(10)]
        assert set(ends) <= {"delivered", "merged"}, ends
        return True

    wait("every message to arrive", told)
