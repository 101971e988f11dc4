"""Waits until the stack has come to rest, and reads what it then holds."""

import http.client
import time

from audit import Evidence, Incident, Notification, Stored

PROCESSORS, INGESTS = ("processor", "processor-2"), ("ingest", "ingest-2")
# In a row, a second apart: longer than the partitions of a processor that died belong to nobody, and so show no lag.
CALM_LOOKS = 15

KEY = "coalesce(a.labels->>'chaos_id', a.labels->>'service')"
WAITING_SQL = """
SELECT (SELECT count(*) FROM notifications WHERE state IN ('pending', 'sending')),
       (SELECT count(*) FROM timers WHERE kind = 1 AND due_at <= extract(epoch FROM now()) * 1000),
       (SELECT count(*) FROM outbox),
       greatest(0, {accepted} - (SELECT count(*) FROM occurrences))
"""


def unrest(world, accepted):
    """What still moves; empty when nothing does. What is not stored yet has all the time that there is."""
    moving = {}
    for name in PROCESSORS:
        moving[f"lag of {name}"] = world.processes[name].metric("tocsin_lag_records")
    for name in INGESTS:
        moving[f"spool of {name}"] = world.processes[name].metric("tocsin_ingest_spool_records")
    try:
        (counts,) = world.sql(WAITING_SQL.format(accepted=accepted))
        moving.update(zip(("notifications", "due timers", "outbox", "not stored"), map(int, counts)))
    except RuntimeError as reason:
        moving[f"Postgres: {reason}"] = 1
    return {what: n for what, n in moving.items() if n != 0}


def wait_for_rest(world, sender, seconds, say):
    """True when it came."""
    end, calm, said = time.monotonic() + seconds, 0, 0.0
    while calm < CALM_LOOKS:
        waiting = sender.waiting()
        moving = {"cases": waiting} if waiting else unrest(world, sender.accepted())
        calm = 0 if moving else calm + 1
        if time.monotonic() > end:
            say(f"no rest after {seconds} s: {moving}")
            return False
        if moving and time.monotonic() > said + 10:
            said = time.monotonic()
            say(f"waiting: {moving}")
        time.sleep(1)
    return True


def read(world, sink):
    seen = Evidence(messages=sink.messages())
    rows = world.sql(f"SELECT {KEY}, labels->>'service', incident_id, status, occurrences FROM alerts a")
    seen.alerts = [Stored(key, service, incident, int(status), int(n)) for key, service, incident, status, n in rows]
    rows = world.sql(f"SELECT {KEY}, identity FROM occurrences o JOIN alerts a USING (tenant, fingerprint)")
    seen.occurrences = [(key, identity) for key, identity in rows]
    rows = world.sql("SELECT id, service, status, coalesce(resolved_by = 3, false)::int FROM incidents")
    seen.incidents = [Incident(id_, service, int(status), int(silent)) for id_, service, status, silent in rows]
    rows = world.sql(
        "SELECT id, receiver, channel, kind, incident_id, seq, state, possible_duplicate::int, EXISTS (SELECT FROM deliveries d"
        " WHERE d.tenant = n.tenant AND d.notification_id = n.id AND d.outcome = 'delivered')::int FROM notifications n"
    )
    seen.notifications = [Notification(*r[:5], int(r[5]), r[6], r[7] == "1", r[8] == "1") for r in rows]
    rows = world.sql("SELECT service, sum(occurrences) FROM anomalies GROUP BY service")
    seen.anomalies = {service: int(n) for service, n in rows}
    ((expired,),) = world.sql("SELECT count(*) FROM timeline WHERE kind = 'expired'")
    seen.expired = int(expired)
    seen.listed = listed_counts(world)
    return seen


def listed_counts(world):
    try:
        return {i["service"]: i["frequency_stats"]["count_24h"] for i in world.incidents()}
    except (OSError, RuntimeError, http.client.HTTPException) as reason:
        raise RuntimeError(f"the console does not list incidents: {reason}") from None
