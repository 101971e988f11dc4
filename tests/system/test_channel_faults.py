"""Five destinations that fail in five ways for two minutes, beside others that are well, while notifiers die.

What the five were to be told arrives once they are well again; nobody else waits for them; a message comes twice only where
no answer came, or the notifier died before it wrote the answer down, and then its row says so.
"""

import collections
import datetime
import os
import re
import signal
import statistics
import sys
import threading
import time

import bodies
import pytest
from stack import HTTP_FAKE_PORT, ROOT, SMTP_FAKE_PORT, wait

sys.path.append(str(ROOT / "tests" / "chaos"))

import audit  # noqa: E402
import sink  # noqa: E402

CALM_S, FAULTS_S, DEATHS = 20, 120, 4
FAKE = f"http://127.0.0.1:{HTTP_FAKE_PORT}"

# receiver: (the fake and its key, what it answers). What comes later than notifier.request_timeout, and what is lost, was
# taken by the channel all the same.
ILL = {
    "ill-429": (("slack", "ill"), ["429:3*"]),
    "ill-500": (("mattermost", "ill"), ["500*"]),
    "ill-hang": (("webhook", "/hook/ill"), ["slow:7*2", "hang*"]),
    "ill-reset": (("feishu", "ill"), ["lost*2", "reset*"]),
    "ill-body": (("wecom", "ill"), ["200body:-1*"]),
}
NO_ANSWER = {"ill-hang", "ill-reset"}
WELL = ("well-webhook", "well-slack", "well-email")
SLOW = "well-slow"  # takes a message, and the notifier dies before it can say so
EVERY_S = {**dict.fromkeys(ILL, 4.0), **dict.fromkeys(WELL, 2.0)}

CONFIGS = {
    "ill-429": f"slack_configs: [{{api_url: '{FAKE}/services/T1/B1/ill'}}]",
    "ill-500": f"mattermost_configs: [{{webhook_url: '{FAKE}/hooks/ill'}}]",
    "ill-hang": f"webhook_configs: [{{url: '{FAKE}/hook/ill'}}]",
    "ill-reset": f"feishu_configs: [{{url: '{FAKE}/open-apis/bot/v2/hook/ill'}}]",
    "ill-body": f"wecom_configs: [{{url: '{FAKE}/cgi-bin/webhook/send?key=ill'}}]",
    "well-webhook": f"webhook_configs: [{{url: '{FAKE}/hook/well'}}]",
    "well-slack": f"slack_configs: [{{api_url: '{FAKE}/services/T1/B1/well'}}]",
    "well-email": "email_configs: [{to: well@example.org, from: tocsin@example.org, require_tls: false,"
    f" smarthost: '127.0.0.1:{SMTP_FAKE_PORT}'}}]",
    SLOW: f"webhook_configs: [{{url: '{FAKE}/hook/slow'}}]",
}
ROUTES = "".join(f"    - {{matchers: ['to=\"{r}\"'], receiver: {r}}}\n" for r in CONFIGS)
RECEIVERS = "".join(f"  - name: {r}\n    {config}\n" for r, config in CONFIGS.items())
ENDPOINTS = re.compile(r"ill|well|/hook/slow")

# The last but three: attempts whose answer nobody wrote down.
ROWS_SQL = f"""
SELECT n.id, n.receiver, n.channel, n.kind, coalesce(n.incident_id::text, ''), n.seq, n.state, n.possible_duplicate::int,
       count(*) FILTER (WHERE d.outcome = 'delivered'), n.attempts - count(d.attempt), coalesce(n.merged_into::text, ''), i.service
FROM notifications n LEFT JOIN incidents i ON i.tenant = n.tenant AND i.id = n.incident_id
LEFT JOIN deliveries d ON d.tenant = n.tenant AND d.notification_id = n.id
WHERE n.receiver = ANY ('{{{",".join(CONFIGS)}}}') GROUP BY n.tenant, n.id, i.service
"""
STATE_SQL = """
SELECT n.state, n.lease_by FROM notifications n JOIN incidents i ON i.tenant = n.tenant AND i.id = n.incident_id
WHERE i.service = '{}' AND n.attempts > 0
"""

Row = collections.namedtuple("Row", "told unwritten merged_into service")


@pytest.fixture
def two_notifiers(stack):
    with stack.receivers(ROUTES, RECEIVERS):
        stack.dev("up", "--scale", "notifier=2", "notifier")
        try:
            yield stack
        finally:
            stack.dev("up", "--scale", "notifier=1", "notifier")


class Play:
    """Fires an incident at each receiver in its rhythm, as long as a block that begins with start()."""

    def __init__(self, stack, name):
        self._stack, self._name = stack, name
        self._lock = threading.Lock()
        self.fired = {}  # service: (receiver, when)

    def fire(self, receiver):
        with self._lock:
            service = f"{self._name}n{len(self.fired):04}"
            self.fired[service] = (receiver, time.time())
        self._stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(service, to=receiver)))
        return service

    def start(self, receivers):
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(dict.fromkeys(receivers, 0.0),), daemon=True)
        self._thread.start()
        return self

    def stop(self):
        self._over.set()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _run(self, due):
        while not self._over.wait(0.05):
            for receiver in due:
                if due[receiver] <= time.monotonic():
                    due[receiver] = time.monotonic() + EVERY_S[receiver]
                    self.fire(receiver)

    def of(self, receivers):
        with self._lock:
            return [s for s, (r, _) in self.fired.items() if r in receivers]


def rows_of(stack):
    return [
        Row(audit.Notification(*r[:5], int(r[5]), r[6], r[7] == "1", r[8] != "0"), int(r[9]), r[10], r[11])
        for r in stack.sql(ROWS_SQL)
    ]


def by_service(rows):
    """{service: its row and, where it was merged, the digest's}"""
    merges = {r.told.id: r for r in rows if r.told.kind == "merge"}
    return {r.service: [r, *([merges[r.merged_into]] if r.merged_into else [])] for r in rows if r.service}


def ended(stack, services):
    found = by_service(rows_of(stack))
    waiting = [s for s in services if s not in found or found[s][-1].told.state not in audit.ENDED]
    assert not waiting, f"{len(waiting)} of {len(services)} wait, the first are {waiting[:3]}"
    return found


def taken(records):
    """{service: when each message that names it was taken}"""
    found = collections.defaultdict(list)
    for r in records:
        for service in set(re.findall(r"no room left for (\w+)", r["text"])) if r["accepted"] else ():
            found[service].append(datetime.datetime.fromisoformat(r["time"]).timestamp())
    return found


def die_after_acceptance(stack, play):
    """kill -9 the notifier that waits for the slow channel's answer, which takes the message all the same."""
    names = {p["pid"]: n for n, p in stack.status().items()}
    if before := play.of([SLOW]):
        wait("the one before to end, which could take the slow answer", lambda: ended(stack, before))
    stack.faults.push("webhook", "/hook/slow", ["slow:4"])
    service = play.fire(SLOW)
    wait("the slow channel to be asked", lambda: not stack.faults.waiting("webhook", "/hook/slow"))
    ((_, lease_by),) = wait("its row", lambda: stack.sql(STATE_SQL.format(service)))
    if not lease_by:
        return None  # answered before we looked
    pid = int(lease_by.partition(".")[0])
    os.kill(pid, signal.SIGKILL)
    ((state, _),) = stack.sql(STATE_SQL.format(service))
    wait("the first copy", lambda: [m for m in stack.messages(service) if m["endpoint"] == "/hook/slow"])
    stack.restart(names[pid])
    return service if state == "sending" else None


def print_delays(play, read, phases):
    """How long the channels that are well took: the test asserts an order, never a time."""
    for name, begin, end in phases:
        for receiver in WELL:
            took = [(read[s][0] - at) * 1000 for s, (r, at) in play.fired.items() if r == receiver and begin <= at < end]
            print(f"{name}: {receiver}: {len(took)} messages, p50 {statistics.median(took):.0f} ms,"
                  f" p99 {statistics.quantiles(took, n=100, method='inclusive')[98]:.0f} ms")


def test_two_minutes_of_every_fault_lose_nothing_and_delay_nobody_else(two_notifiers, name):
    stack, play, before = two_notifiers, Play(two_notifiers, name), len(two_notifiers.journal.since(0))
    begin = time.time()
    with play.start(WELL):
        time.sleep(CALM_S)

    ill = time.time()
    for where, answers in ILL.values():
        stack.faults.push(*where, answers)
    with play.start(EVERY_S):
        time.sleep(FAULTS_S / 2)
        dying, doubled = time.time(), set()
        for n in range(DEATHS):
            time.sleep(max(0.0, dying + n * FAULTS_S / 2 / DEATHS - time.time()))
            doubled.add(die_after_acceptance(stack, play))
        time.sleep(max(0.0, ill + FAULTS_S - time.time()))
    doubled.discard(None)

    # All that is well was told while the others are still ill, and of these nobody was.
    found = wait("what is well to be told", lambda: ended(stack, play.of((*WELL, SLOW))))
    assert all(found[s][-1].told.state == "delivered" for s in play.of((*WELL, SLOW)))
    assert not [s for s in play.of(ILL) if s in found and found[s][-1].told.state in audit.ENDED]
    recovery = len(stack.journal.since(0))
    assert set(play.of((*WELL, SLOW))) <= set(taken(stack.journal.since(before)))
    stack.faults.clear()
    found = wait("what was ill to be told", lambda: ended(stack, play.of(CONFIGS)), 180)
    late = taken(stack.journal.since(recovery))
    assert [s for s in play.of(ILL) if s not in late] == []
    assert {found[s][-1].told.state for s in play.of(CONFIGS)} == {"delivered"}

    records = [r for r in stack.journal.since(before) if ENDPOINTS.search(r["endpoint"])]
    read = taken(records)
    print_delays(play, read, (("calm", begin, ill), ("faults", ill, dying), ("faults and deaths", dying, time.time())))
    check_doubles(found, play, read, doubled)
    seen = audit.Evidence(notifications=[r.told for r in rows_of(stack)], messages=[sink.read(r) for r in records if r["accepted"]])
    lines = audit.ledger(seen) + audit.sink(seen)
    print(audit.report(lines))
    assert not audit.failed(lines), audit.report(lines)


def check_doubles(found, play, read, doubled):
    twice = {s for s in play.of(CONFIGS) if len(read[s]) > 1}
    unmarked = [s for s in twice if not any(r.told.doubtful for r in found[s])]
    assert not unmarked, unmarked
    # Nobody asked twice who had answered, unless the answer died with the notifier.
    unasked = [s for s in twice if play.fired[s][0] not in NO_ANSWER and not any(r.unwritten for r in found[s])]
    assert not unasked, unasked
    assert doubled and twice >= doubled and all(len(read[s]) == 2 for s in doubled)
    assert {play.fired[s][0] for s in twice} >= NO_ANSWER
