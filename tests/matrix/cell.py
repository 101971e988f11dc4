#!/usr/bin/env python3
"""One cell of the matrix: cell.py REQUEST FAULT

Alerts flow through ingest and two processors while the broker fails several requests of that kind in that way. Every
one is answered 2xx before its sender hangs up, all of them are there once, and the next alerts flow.
"""

import os
import sys
import time

import audit
from lane import SERVICES, Kept, Lane, wait
from traffic import Traffic

LATE_S = 5
FAULTS = {"TRANSPORT": "closed", "LATENCY": f"late {LATE_S * 1000}"}  # the others are called as Kafka calls them

# How many requests fail: several in a row, and of those that seldom come a few.
COUNTS = {
    "Produce": 12,
    "Fetch": 24,
    "Metadata": 8,
    "JoinGroup": 2,
    "SyncGroup": 2,
    "Heartbeat": 3,
    "OffsetCommit": 2,
    "FindCoordinator": 2,
}
LATE_MAX = 3  # they may come one after the other


def provoke(lane, request):
    """Make requests of this kind come by that do not come by all the time."""
    if request in ("JoinGroup", "SyncGroup", "FindCoordinator", "Metadata"):
        lane.renew_second()  # it asks for all of these, and the other one joins and syncs again
    if request == "Metadata":
        # Whoever is told to look elsewhere asks where.
        lane.fault("Produce", 3, "NOT_LEADER_FOR_PARTITION")
        lane.fault("Fetch", 3, "NOT_LEADER_FOR_PARTITION")


def hit(lane, request, fault):
    """The fault, until the broker has failed every request that it was to fail."""
    count = min(COUNTS[request], LATE_MAX) if fault == "LATENCY" else COUNTS[request]
    lane.fault(request, count, FAULTS.get(fault, fault))
    provoke(lane, request)

    def probe():
        left = lane.left(request)
        assert left == 0, f"{left} of {count} are left"
        return True

    wait(f"{count} {request} to fail", probe)


def stored(lane, traffic):
    assert not traffic.refused, f"{len(traffic.refused)} were refused or not answered: {traffic.refused[:5]}"
    wait("everything that was accepted, once", lambda: audit.stored_once(lane, traffic))


def cell(lane, request, fault):
    pids = {name: lane.process(name)["pid"] for name in ("broker", "ingest", "processor")}
    traffic = Traffic(lane, f"{request}-{fault}-{os.getpid()}".lower()).start()
    try:
        wait("the first alerts", lambda: lane.sql(f"SELECT 1 FROM incidents WHERE service = '{traffic.service}'"))
        hit(lane, request, fault)
        if fault == "LATENCY":
            time.sleep(LATE_S)  # the last answer is still on its way
        so_far = traffic.count()
        wait("some more alerts", lambda: traffic.count() >= so_far + 20)
    finally:
        traffic.stop()
    stored(lane, traffic)

    after = Traffic(lane, traffic.service + "-after").start()
    wait("new alerts to be accepted", lambda: after.count() >= 10)
    stored(lane, after.stop())
    for name in SERVICES:
        lane.wait_ready(name)
    assert pids == {name: lane.process(name)["pid"] for name in pids}
    wait("every offset to stand at the end", lambda: audit.read_to_the_end(lane))
    audit.nothing_dead(lane)
    audit.stored_once(lane, traffic)  # whatever else was on its way doubled nothing
    return traffic.count()


def main(request, fault):
    lane = Lane(Kept(), request)
    lane.up()
    try:
        print(f"{cell(lane, request, fault)} alerts, each accepted and stored once")
    except BaseException:
        for name in ("broker", *SERVICES):
            print(f"--- {name}", *lane.log(name)[-60:], sep="\n")
        lane.down()
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
