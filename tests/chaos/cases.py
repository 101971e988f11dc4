"""What is sent: cases of a few alerts each, as the sources send them. Which and when is a function of the seed; bodies are made when sent."""

import dataclasses
import json
import random
import time
import uuid

import senders

SENTRY_SECRET = "chaos-sentry-secret"  # also in tocsin.yml
KINDS, SHARES = ("alertmanager", "prometheus", "generic", "sentry"), (45, 30, 15, 10)
RECEIVERS, LIKES = ("hook", "slack", "wecom"), (6, 3, 1)
HOT = 4  # anomalies that most alerts are of
HOT_SHARE = 0.8
COLD_CASES = 3  # of one other anomaly
RENEW_S = 60  # Prometheus sends again what still fires
PROMISE_S = 240  # and says that it fires until then


@dataclasses.dataclass
class Alert:
    key: str  # in the label `chaos_id`; of an issue of Sentry the project
    service: str  # decides the anomaly
    start_ms: int = 0  # of what fires, or fired last


@dataclasses.dataclass
class Case:
    """Alerts that are posted together. `steps` are done in order, each when the one before was taken."""

    number: int
    kind: str
    to: str
    alerts: list
    steps: list  # (seconds since the begin, fire | again | resolve)
    ended_ms: int = 0
    event_id: str = ""


def make(seed, run, seconds, rate):
    """`rate` cases a second; `run` keeps the names of two runs on one database apart."""
    rng = random.Random(f"cases {seed}")
    return [_case(rng, run, n, n / rate) for n in range(int(seconds * rate))]


def _case(rng, run, number, at):
    kind = rng.choices(KINDS, SHARES)[0]
    cold = f"{run}-cold{number // COLD_CASES // 5}"
    hot = rng.random() < HOT_SHARE
    size = 1 if kind in ("generic", "sentry") else rng.randint(1, 8)
    alerts = []
    for n in range(size):
        service = f"{run}-hot{rng.randrange(HOT)}" if hot else cold
        if alerts and kind == "alertmanager":
            service = alerts[0].service  # one group
        if kind == "sentry":
            service = f"{run}-issue{number}"
        alerts.append(Alert(service if kind == "sentry" else f"{run}-{number}-{n}", service))
    return Case(number, kind, rng.choices(RECEIVERS, LIKES)[0], alerts, _steps(rng, at))


def _steps(rng, at):
    """Most end, some begin again, some never end."""
    steps = [(at, "fire")]
    while rng.random() < 0.4:
        steps.append((steps[-1][0] + rng.uniform(1, 15), "again"))
    if rng.random() < 0.75:
        steps.append((steps[-1][0] + rng.uniform(2, 60), "resolve"))
        if rng.random() < 0.2:
            steps.append((steps[-1][0] + rng.uniform(2, 30), "fire"))
            if rng.random() < 0.7:
                steps.append((steps[-1][0] + rng.uniform(2, 30), "resolve"))
    return steps


class Post:
    """One step of a case as a request, and what its acceptance means. Sent again, saying the same, until it is taken."""

    def __init__(self, case, word):
        self.case, self.word = case, word
        now = int(time.time() * 1000)
        if case.kind != "sentry":
            for alert in case.alerts:
                if word == "fire":
                    alert.start_ms = max(now, case.ended_ms + 1)
        elif word in ("fire", "again"):
            case.event_id = uuid.uuid4().hex
        if word == "resolve":
            case.ended_ms = max(now, case.alerts[0].start_ms + 1)
        self._made = MAKERS[case.kind](case, word)
        self.occurrences = [] if word == "resolve" else [(a, _identity(case, a)) for a in case.alerts]


    def request(self):
        """Path, body, headers. A promise counts from when it is given, else a late one would be an end."""
        return _prometheus(self.case, self.word) if self.case.kind == "prometheus" else self._made


def _identity(case, alert):
    """Of the time that the alert began, as Tocsin keeps it."""
    return f"e:{case.event_id}" if case.kind == "sentry" else f"s:{alert.start_ms}"


def _labels(case, alert):
    return {"service": alert.service, "severity": "critical", "to": case.to, "chaos_id": alert.key}


def _alertmanager(case, word):
    ends = case.ended_ms / 1000 if word == "resolve" else None
    note = {"summary": f"{case.alerts[0].service} is in trouble"}
    alerts = [senders.alert("Chaos", a.start_ms / 1000, ends, note, **_labels(case, a)) for a in case.alerts]
    return "/webhook/alertmanager", _bytes(senders.alertmanager(alerts, {"case": str(case.number)})), None


def _prometheus(case, word):
    ends = case.ended_ms / 1000 if word == "resolve" else time.time() + PROMISE_S
    alerts = [senders.postable("Chaos", a.start_ms / 1000, ends, **_labels(case, a)) for a in case.alerts]
    return "/api/v2/alerts", _bytes(alerts), None


def _generic(case, word):
    alert = case.alerts[0]
    body = {
        "source": "chaos",
        "id": alert.key,
        "title": "Chaos",
        "severity": "critical",
        "labels": _labels(case, alert),
        "starts_at": senders.rfc3339(alert.start_ms / 1000),
        "status": "resolved" if word == "resolve" else "firing",
    }
    if word == "resolve":
        body["ends_at"] = senders.rfc3339(case.ended_ms / 1000)
    return "/api/v1/alerts", _bytes(body), None


def _sentry(case, word):
    issue, what = f"{case.number + 1000}", {"title": "Chaos: it broke", "culprit": "chaos.run", "project": case.alerts[0].service}
    if word == "resolve":
        resource, body = "issue", senders.sentry_issue("resolved", issue, **what)
    else:
        resource, body = "event_alert", senders.sentry_event_alert(case.event_id, issue, rule="every event", **what)
    raw = _bytes(body)
    return "/webhook/sentry", raw, senders.sentry_headers(resource, raw, SENTRY_SECRET)


def _bytes(value):
    return json.dumps(value, ensure_ascii=False).encode()


MAKERS = {"alertmanager": _alertmanager, "prometheus": _prometheus, "generic": _generic, "sentry": _sentry}
