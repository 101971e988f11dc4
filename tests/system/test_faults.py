"""Processes and servers die in the middle of the work. Nothing that was answered 2xx is lost, and nothing counts twice."""

import os
import signal
import time

import bodies
import pytest
from stack import kinds, wait
from traffic import Storm, in_postgres


def long_storm(stack, services):
    """About as long as it takes to end a process and start it again."""
    return Storm(stack, services, 3200, per_post=4, pause=0.02).start()


def settled(stack, services, storm):
    """Every alert of the storm is in Postgres exactly once, and every count says so."""
    total = len(storm.alerts)
    wait("every alert, exactly once", lambda: _exactly(in_postgres(stack, services), (total, total)), 180)
    for service in services:
        mine = sum(a["labels"]["service"] == service for a in storm.alerts)
        incident = stack.incident(service)
        stats = incident["frequency_stats"]
        assert (incident["alerts_total"], incident["aggregated_count"], stats["count_24h"]) == (mine, mine, mine)
        assert incident["status"] == "open" and stats["escalation_level"] == "PERMANENT_FIX"


def _exactly(seen, wanted):
    assert seen == wanted, f"alerts and occurrences are {seen}, expected {wanted}"
    return True


def told_once(stack, service):
    """One opening, and no crossing twice; every notification has ended."""

    def probe():
        incident = stack.incident(service)
        rows = incident["notifications"]
        assert all(r["state"] in ("delivered", "superseded", "merged") for r in rows), [r["state"] for r in rows]
        told = kinds(incident)
        assert told.count("opened") == 1 and len(told) <= 4 and set(told) <= {"opened", "crossing"}, told
        return True

    wait(f"every notification of {service} to end", probe)


@pytest.fixture
def whole(stack):
    """Whatever the test killed runs again after it."""
    yield stack
    for name, process in stack.status().items():
        if not process["ready"]:
            stack.restart(name)


def test_storm_is_one_incident(stack, name):
    storm = Storm(stack, [name], 3000, per_post=64).start().join()
    assert storm.refusals == 0
    settled(stack, [name], storm)
    told_once(stack, name)


def test_processor_killed_in_the_middle_of_a_storm(whole, name):
    services = [f"{name}n{n}" for n in range(4)]
    storm = long_storm(whole, services)
    wait("a third of the storm", lambda: in_postgres(whole, services)[0] > 1000)
    whole.kill("processor")
    assert not storm.is_over()
    time.sleep(1)  # it goes on while nobody processes
    whole.restart("processor")
    storm.join()
    settled(whole, services, storm)
    for service in services:
        told_once(whole, service)


def test_processor_stopped_with_term_in_the_middle_of_a_storm(whole, name):
    storm = long_storm(whole, [name])
    wait("some of the storm", lambda: in_postgres(whole, [name])[0] > 300)
    assert not storm.is_over()
    whole.restart("processor")
    storm.join()
    settled(whole, [name], storm)


def test_ingest_killed_in_the_middle_of_a_storm(whole, name):
    storm = long_storm(whole, [name])
    wait("some of the storm", lambda: storm.answered > 300)
    whole.kill("ingest")
    assert not storm.is_over()
    whole.restart("ingest")
    storm.join()
    assert storm.refusals > 0
    settled(whole, [name], storm)


def test_two_processors_share_the_work(whole, name):
    services = [f"{name}n{n}" for n in range(8)]
    whole.dev("up", "--scale", "processor=2")
    try:
        wait("the second processor", lambda: whole.status()["processor-2"]["ready"])
        storm = long_storm(whole, services)
        wait("a third of the storm", lambda: in_postgres(whole, services)[0] > 1000)
        whole.kill("processor-2")
        assert not storm.is_over()
        storm.join()
        settled(whole, services, storm)
    finally:
        whole.dev("up", "--scale", "processor=1")
    assert "processor-2" not in whole.status()


def test_kafka_away_fills_the_spool_which_drains_in_order(whole, name):
    """Firing and end of one group, over and over: only in order do they end resolved with each start counted."""
    whole.kill("kafka")
    rounds, body = 6, None
    for _ in range(rounds):
        time.sleep(0.01)  # a start after the end before it, to the millisecond
        body = bodies.webhook(bodies.one_alert(name, starts=time.time()))
        assert whole.post("/webhook/alertmanager", body)[0] == 200
        time.sleep(0.01)  # and an end after its start
        assert whole.post("/webhook/alertmanager", bodies.resolved(body))[0] == 200
    services = [f"{name}n{n}" for n in range(4)]
    storm = Storm(whole, services, 800).start().join()
    assert storm.refusals == 0 and not whole.incidents(name)
    whole.restart("kafka")
    settled(whole, services, storm)

    def said():
        incident = whole.incident(name)
        told = incident["status"], incident["frequency_stats"]["count_24h"]
        assert told == ("resolved", rounds), told
        return True

    wait("each start of the spooled incident, and its last end", said)
    # The door works as before.
    whole.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name + "x")))
    wait("a message after the outage", lambda: whole.messages(name + "x"))


def test_ingest_killed_with_a_full_spool_gives_it_to_the_next(whole, name):
    whole.kill("kafka")
    storm = Storm(whole, [name], 400).start().join()
    whole.kill("ingest")
    whole.restart("kafka")
    whole.restart("ingest")
    settled(whole, [name], storm)


def test_what_is_too_large_after_its_2xx_is_set_aside(whole, name):
    """A topic of the operator's that takes less than ingest: the alert waits on disk, and only it."""
    large, small = f"{name}large", f"{name}small"
    padding = os.urandom(50_000).hex()  # does not compress

    def is_set_aside():
        return whole.metric("ingest", "tocsin_ingest_spool_set_aside") == 1 and not whole.incidents(large)

    whole.max_message("raw.alertmanager", 30_000)
    try:
        whole.kill("kafka")
        whole.send("/webhook/alertmanager", bodies.webhook({**bodies.one_alert(large), "annotations": {"log": padding}}))
        whole.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(small)))
        whole.restart("kafka")
        wait("what is behind it", lambda: whole.messages(small))
        wait("it is set aside", is_set_aside)
        whole.restart("ingest")
        wait("it is tried, and set aside again", is_set_aside)
    finally:
        whole.max_message("raw.alertmanager", 16 << 20)
    whole.restart("ingest")
    wait("it is told at last", lambda: whole.messages(large))
    wait("nothing of it on disk", lambda: not list((whole.home / "spool").glob("*/*.aside")))
    assert whole.incident(large)["frequency_stats"]["count_24h"] == 1


def test_kafka_that_hangs(whole, name):
    whole.kill("kafka", signal.SIGSTOP)
    try:
        storm = Storm(whole, [name], 200).start().join()
    finally:
        whole.kill("kafka", signal.SIGCONT)
    assert storm.refusals == 0
    settled(whole, [name], storm)


def test_redis_is_only_a_cache(whole, name):
    storm = long_storm(whole, [name])
    wait("some of the storm", lambda: in_postgres(whole, [name])[0] > 300)
    whole.redis("FLUSHALL")
    wait("more of the storm", lambda: in_postgres(whole, [name])[0] > 800)
    whole.kill("redis")
    assert not storm.is_over()
    storm.join()
    settled(whole, [name], storm)
    told_once(whole, name)
    whole.restart("redis")
    whole.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name + "x")))
    wait("an incident after it", lambda: whole.messages(name + "x"))
    assert whole.incident(name)["frequency_stats"]["count_24h"] == len(storm.alerts)


def test_postgres_away_for_a_while(whole, name):
    whole.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name)))
    wait("the first incident", lambda: whole.messages(name))
    whole.kill("postgres")
    storm = Storm(whole, [name + "s"], 800).start().join()
    assert storm.refusals == 0
    whole.restart("postgres")
    settled(whole, [name + "s"], storm)
    told_once(whole, name + "s")


def test_notifier_killed_between_acceptance_and_its_row(whole, name):
    """The channel took the message, the notifier died: it is sent again, and the ledger says so."""
    notifier = whole.status()["notifier"]["pid"]
    whole.faults.push("slack", "slow", ["slow:4"])
    whole.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name, to="slow-slack")))
    wait("the request", lambda: not whole.faults.waiting("slack", "slow"))
    os.kill(notifier, signal.SIGKILL)
    assert [r["state"] for r in whole.incident(name)["notifications"]] == ["sending"]
    wait("the first copy", lambda: whole.messages(name))
    whole.restart("notifier")

    def probe():
        (row,) = whole.incident(name)["notifications"]
        assert row["state"] == "delivered" and row["possible_duplicate"], row
        return True

    wait("the second copy", probe)
    assert len(whole.messages(name)) == 2


def test_notifier_killed_with_many_waiting(whole, name):
    services = [f"{name}n{n:02}" for n in range(40)]
    whole.kill("notifier")
    for service in services:
        whole.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(service)))
    wait("the last incident", lambda: whole.incident(services[-1])["notifications"])
    whole.restart("notifier")
    wait("some messages", lambda: len(whole.messages(name)) > 5)
    whole.kill("notifier")
    whole.restart("notifier")

    def probe():
        rows = [r for s in services for r in whole.incident(s)["notifications"]]
        assert {r["state"] for r in rows} == {"delivered"}, [r["state"] for r in rows]
        return rows

    rows = wait("every message to be delivered", probe)
    for service, row in zip(services, rows):
        copies = len(whole.messages(service))
        assert copies == 1 or (copies == 2 and row["possible_duplicate"]), (service, copies)


def test_poison_record_goes_to_the_dead_and_blocks_nobody(whole, name):
    """Authentic, stored, answered 2xx, and not to be decoded: a Sentry resource that says nothing."""
    status, _ = bodies.post_sentry(whole, "issue", {"action": "created", "data": {"issue": {"id": []}}})
    assert status == 200
    issue = bodies.SentryIssue(name)
    bodies.post_sentry(whole, "issue", issue.issue("created"))
    wait("the incident behind it", lambda: whole.incident(name)["status"] == "open")
