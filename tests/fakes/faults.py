"""Faults on demand: answers queued per endpoint, consumed one per request.

An answer is one of
  ok            what the endpoint would say anyway
  429, 500, …   that HTTP status (SMTP: 451 and 550 at RCPT, 421 in mid-session), with the vendor's body where it
                has one; `429:7` asks for seven seconds, `400:WORD` is a refusal that the fake knows by that word
  200body:CODE  HTTP 200 with the vendor's error body
  hang          no answer until the peer gives up
  slow:SECONDS  the usual answer, late
  reset         a TCP reset instead of an answer
  close         the connection is closed instead of an answer; the message is thrown away
  lost          the message is taken, then the connection is closed without an answer
and may end in `*N` (that many times) or `*` (from now on).
"""

import re
import threading

ANSWER = re.compile(r"(ok|[45]\d\d(:[\w-]+)?|200body:[^\s*]+|hang|slow:\d+(\.\d+)?|reset|close|lost)(\*\d*)?")


CODED = ("dingtalk", "feishu", "wecom", "wecom_app")  # their error bodies carry a number


class Faults:
    def __init__(self):
        self._lock = threading.Lock()
        self._queues = {}

    def push(self, channel, key, answers):
        """Raises ValueError for an answer that no fake could give."""
        parsed = [_parse(a) for a in answers]
        for answer, _ in parsed:
            if channel in CODED and answer.startswith("200body:") and answer != "200body:gateway":
                int(answer[len("200body:") :])
        with self._lock:
            self._queues.setdefault((channel, key), []).extend(parsed)

    def take(self, channel, key):
        """The next answer for this endpoint, else for any endpoint of the channel (key `*`), else `ok`."""
        with self._lock:
            for queue in (self._queues.get((channel, key)), self._queues.get((channel, "*"))):
                if queue:
                    return _next(queue)
        return "ok"

    def waiting(self, channel, key):
        """How many queued answers of this endpoint nobody has asked for yet."""
        with self._lock:
            return len(self._queues.get((channel, key), ()))

    def clear(self):
        with self._lock:
            self._queues.clear()


def _parse(answer):
    match = ANSWER.fullmatch(answer) if isinstance(answer, str) else None
    if not match:
        raise ValueError(f"unknown answer {answer!r}")
    times = match.group(4)
    if times is None:
        return [answer, 1]
    return [answer[: -len(times)], int(times[1:]) if times[1:] else None]


def _next(queue):
    head = queue[0]
    if head[1] is not None:
        head[1] -= 1
        if head[1] <= 0:
            queue.pop(0)
    return head[0]
