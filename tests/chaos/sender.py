"""Sends the cases at their times, whatever the answers, and keeps what was answered.

A post that got no 2xx goes out again until it is taken; the next step of a case waits for that, as a sender's
own queue does. Two steps never meet in one millisecond. Alerts with a promise are renewed as Prometheus does, and a renewal that fails is not kept.
"""

import collections
import heapq
import http.client
import itertools
import random
import threading
import time

import cases
from senders import Client

WORKERS = 32
TIMEOUT_S = 10
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.3, 10
STEP_S = 0.02  # between two steps of a case, however late they are
ANSWERS_KEPT = 1 << 20


class Told:
    """What was said about one alert."""

    def __init__(self, service):
        self.service = service
        self.tried = set()  # identities of occurrences that may be known, answered or not
        self.accepted = set()
        self.firing = None  # what was accepted last


class Ledger:
    """What the senders may count on. Not for several threads at once: the sender's lock is around it."""

    def __init__(self):
        self.alerts = {}

    def tried(self, post):
        for alert, identity in post.occurrences:
            self._of(alert).tried.add(identity)

    def taken(self, post):
        for alert, identity in post.occurrences:
            self._of(alert).accepted.add(identity)
        for alert in post.case.alerts:
            self._of(alert).firing = post.word != "resolve"

    def _of(self, alert):
        return self.alerts.setdefault(alert.key, Told(alert.service))


Answer = collections.namedtuple("Answer", "at ms status")  # status 0: none


class _Due:
    """A case and where it stands."""

    def __init__(self, case):
        self.case = case
        self.next = 0
        self.post = None  # waits to be taken
        self.failures = 0
        self.promised = False

    @property
    def over(self):
        return self.next >= len(self.case.steps) and not self.post


class Sender:
    def __init__(self, urls, work):
        self._urls = urls
        self._lock = threading.Condition()
        self._queue = []
        self._order = itertools.count()
        self._dues = [_Due(c) for c in work]
        self._begun = self._stopping = False
        self._finished_at = None
        self.ledger = Ledger()
        self.answers = collections.deque(maxlen=ANSWERS_KEPT)
        self.unexpected = collections.Counter()
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(WORKERS)]

    def start(self):
        self._zero = time.monotonic()
        with self._lock:
            for due in self._dues:
                self._put(self._zero + due.case.steps[0][0], due)
        for thread in self._threads:
            thread.start()
        return self

    def finish(self):
        """No new case; those that began come to their end now, and what still fires goes on being renewed."""
        with self._lock:
            self._finished_at = time.monotonic()
            started = [d for d in self._dues if d.next > 0 or d.post]
            for due in started:
                if not due.post:
                    self._skip_to_end(due)
            self._dues = started
            self._queue = [(min(at, self._finished_at), n, due) for at, n, due in self._queue if due.next > 0 or due.post]
            heapq.heapify(self._queue)
            self._lock.notify_all()

    def _skip_to_end(self, due):
        if not due.over and due.case.steps[due.next][1] != "resolve":
            due.next = len(due.case.steps)

    def waiting(self):
        """Cases of which something is not taken yet."""
        with self._lock:
            return sum(not d.over for d in self._dues)

    def accepted(self):
        """Occurrences that were answered 2xx."""
        with self._lock:
            return sum(len(told.accepted) for told in self.ledger.alerts.values())

    def stop(self):
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join(TIMEOUT_S + 1)

    def _put(self, at, due):
        heapq.heappush(self._queue, (at, next(self._order), due))
        self._lock.notify()

    def _take(self):
        """The next case that is due; None at the end."""
        with self._lock:
            while not self._stopping:
                wait = self._queue[0][0] - time.monotonic() if self._queue else 1
                if wait <= 0:
                    return heapq.heappop(self._queue)[2]
                self._lock.wait(wait)
        return None

    def _work(self, number):
        clients = [Client(u, TIMEOUT_S) for u in self._urls]
        backoff = random.Random(number)  # not of the plan: its times depend on the answers anyway
        while due := self._take():
            post, renewal = self._next_post(due)
            if not post:
                continue
            status = self._send(clients[(due.case.number + due.failures) % len(clients)], post)
            with self._lock:
                self._after(due, post, renewal, 200 <= status < 300, backoff)

    def _next_post(self, due):
        with self._lock:
            if due.post:
                return due.post, False
            case = due.case
            if self._finished_at and due.next == 0:
                return None, False
            if due.next < len(case.steps) and self._step_at(due) <= time.monotonic():
                due.post = cases.Post(case, case.steps[due.next][1])
                due.next += 1
                self.ledger.tried(due.post)
                return due.post, False
            if due.promised:
                return cases.Post(case, "again"), True
            return None, False

    def _step_at(self, due):
        at = self._zero + due.case.steps[due.next][0]
        return min(at, self._finished_at) if self._finished_at else at

    def _send(self, client, post):
        begin = time.monotonic()
        try:
            status, _ = client.request("POST", *post.request())
        except (OSError, http.client.HTTPException):
            status = 0
        self.answers.append(Answer(begin - self._zero, (time.monotonic() - begin) * 1000, status))
        if status and not 200 <= status < 300 and status != 503:
            self.unexpected[status] += 1
        return status

    def _after(self, due, post, renewal, taken, backoff):
        now = time.monotonic()
        if not taken and not renewal:
            due.failures += 1
            most = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(due.failures, 8))
            self._put(now + backoff.uniform(BACKOFF_MIN_S, most), due)
            return
        if not renewal:
            self.ledger.taken(post)
            due.post, due.failures = None, 0
            due.promised = due.case.kind == "prometheus" and post.word != "resolve"
            if self._finished_at:
                self._skip_to_end(due)
        else:
            due.failures += not taken
        at = self._step_at(due) if due.next < len(due.case.steps) else None
        if due.promised:
            at = min(at or now + cases.RENEW_S, now + cases.RENEW_S)
        if at is not None:
            self._put(max(at, now + STEP_S), due)
