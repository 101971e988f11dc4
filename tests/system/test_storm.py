"""A thousand incidents within a minute, told to four chats at once: each keeps its vendor's rate, and leaves nobody out.

The fakes refuse what the vendors refuse: WeCom from the 21st message of a minute, DingTalk the same and for ten minutes
more, Feishu above five a second or a hundred a minute, Slack above one a second.
"""

import collections
import datetime
import re
import threading
import time

import bodies
import pytest
import senders
from stack import HTTP_FAKE_PORT, wait

INCIDENTS, SECONDS, SENDERS = 1000, 60, 4
FAKE = f"http://127.0.0.1:{HTTP_FAKE_PORT}"
ROUTES = """
    - matchers: ['to="four"']
      receiver: four
"""
RECEIVERS = f"""
  - name: four
    wecom_configs:
      - url: {FAKE}/cgi-bin/webhook/send?key=four
    dingtalk_configs:
      - url: {FAKE}/robot/send?access_token=signed-four
        secret: SECsigned-four
    feishu_configs:
      - url: {FAKE}/open-apis/bot/v2/hook/signed-four
        secret: SECsigned-four
    slack_configs:
      - api_url: {FAKE}/services/T1/B1/four
"""
CHATS = ("wecom", "dingtalk", "feishu", "slack")
# What our receiver's four messages about one incident are in Postgres, and the digest that each may be in.
ROWS_SQL = """
SELECT n.channel, n.kind, n.state, coalesce(m.kind, ''), coalesce(m.state, ''), count(*)
FROM notifications n LEFT JOIN notifications m ON m.tenant = n.tenant AND m.id = n.merged_into
WHERE n.receiver = 'four' GROUP BY 1, 2, 3, 4, 5
"""


@pytest.fixture
def four(stack):
    with stack.receivers(ROUTES, RECEIVERS):
        yield stack


class Gale:
    """One incident after the other, each when it is due: what is late makes none of the others wait."""

    def __init__(self, url, services):
        self._url, self._services = url, services
        self._begin = time.monotonic()
        self.late = 0.0
        self._threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join()

    def _send(self, first):
        client = senders.Client(self._url)
        for n in range(first, len(self._services), SENDERS):
            due = self._begin + n * SECONDS / len(self._services)
            time.sleep(max(0.0, due - time.monotonic()))
            client.post("/webhook/alertmanager", bodies.webhook(filling_up(self._services[n])))
            self.late = max(self.late, time.monotonic() - due)


class Stalls:
    """When this process stood still, and its fakes with it: what was sent meanwhile arrives at once, which no sender can help."""

    def __init__(self):
        self._ends = []
        threading.Thread(target=self._watch, daemon=True).start()

    def excuse(self, record):
        at = datetime.datetime.fromisoformat(record["time"]).timestamp()
        return any(-0.5 <= at - end <= 2 for end in self._ends)

    def _watch(self):
        while True:
            before = time.time()
            time.sleep(0.05)
            if time.time() - before > 0.5:
                self._ends.append(time.time())


def filling_up(service):
    """Its title is as long as titles are, so that no fifty of them fit into 4,096 bytes."""
    note = {"summary": f"{service} has 3 % of its disk left, which is used up before the next backup"}
    labels = {"severity": "critical", "service": service, "to": "four"}
    return senders.alert("DiskFillsUp", time.time() - 5, None, note, **labels)


def rows(stack):
    return [(*words, int(n)) for *words, n in stack.sql(ROWS_SQL)]


def ended(stack):
    found = rows(stack)
    waiting = [r for r in found if r[2] in ("pending", "sending")]
    opened = collections.Counter()
    for channel, kind, *_, n in found:
        opened[channel] += n if kind == "opened" else 0
    assert not waiting and opened == dict.fromkeys(CHATS, INCIDENTS), (waiting, dict(opened))
    return found


def test_a_thousand_incidents_in_a_minute_to_four_chats(four, name):
    services = [f"{name}-{n:04}" for n in range(INCIDENTS)]
    before = len(four.journal.since(0))
    stalls = Stalls()
    gale = Gale(four.ingest_url, services)
    gale.join()
    assert gale.late < SECONDS, "the senders were too slow for this to be a storm of one minute"
    found = wait("every message to end", lambda: ended(four), 240)

    asked = [r for r in four.journal.since(before) if "four" in r["endpoint"]]
    refused = [(r["channel"], r["answer"]) for r in asked if not r["accepted"] and not stalls.excuse(r)]
    assert refused == []
    for chat in CHATS:
        texts = [r["text"] for r in asked if r["channel"] == chat and r["accepted"]]
        told = collections.Counter(s for t in texts for s in set(re.findall(rf"{name}-\d{{4}}(?= has 3 %)", t)))
        print(f"{chat}: {len(texts)} messages, {len(told)} incidents")
        assert [s for s in services if told[s] != 1] == []
        assert len(texts) < INCIDENTS / 4 and not [t for t in texts if re.search("and .* more|另外", t)]
    # Each row has its end; what was merged says into which digest, and that one arrived.
    for channel, kind, state, into, its_end, n in found:
        expected = ("merge", "delivered") if state == "merged" else ("", "")
        assert state in ("delivered", "merged") and (into, its_end) == expected, (channel, kind, state, into, its_end, n)
