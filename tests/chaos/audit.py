"""Compares what senders were promised with what was kept and what the channels were told. Pure: evidence in, lines out."""

import collections
import dataclasses

OFFENDERS_SHOWN = 5
FIRING, RESOLVED = 1, 2  # alerts.status
INCIDENT_RESOLVED = 4
ENDED = ("delivered", "failed", "suppressed", "superseded", "merged")

Notification = collections.namedtuple("Notification", "id receiver channel kind incident sequence state doubtful tried")
Incident = collections.namedtuple("Incident", "id service status by_silence")
Stored = collections.namedtuple("Stored", "key service incident status counted")


@dataclasses.dataclass
class Evidence:
    """What Postgres, the console and the sink say once everything has come to rest."""

    alerts: list = dataclasses.field(default_factory=list)  # Stored
    occurrences: list = dataclasses.field(default_factory=list)  # (key, identity)
    incidents: list = dataclasses.field(default_factory=list)
    notifications: list = dataclasses.field(default_factory=list)
    anomalies: dict = dataclasses.field(default_factory=dict)  # service: occurrences
    listed: dict = dataclasses.field(default_factory=dict)  # service: count_24h, as the API has it
    expired: int = 0  # timeline entries of ends by silence
    messages: list = dataclasses.field(default_factory=list)  # sink.Message


@dataclasses.dataclass
class Line:
    name: str
    value: int
    offenders: list = None  # of what must be 0; None: a figure

    @property
    def is_bad(self):
        return self.offenders is not None and self.value != 0

    def __str__(self):
        return f"{self.name}: {self.value}"


def must_be_none(name, offenders):
    offenders = sorted(offenders)
    return Line(name, len(offenders), offenders)


def audit(told, seen):
    """`told`: {key: sender.Told}."""
    return [
        *stored(told, seen),
        *ledger(seen),
        *sink(seen),
        must_be_none("resolved missing", resolved_missing(told, seen)),
        must_be_none("hidden", hidden(told, seen)),
        must_be_none("untold", untold(seen)),
        must_be_none("counts wrong", counts_wrong(told, seen)),
        Line("resolved by our absence", seen.expired + sum(i.by_silence for i in seen.incidents), []),
    ]


def stored(told, seen):
    rows = collections.Counter(a.key for a in seen.alerts)
    found = collections.Counter(seen.occurrences)
    accepted = {(key, identity) for key, t in told.items() for identity in t.accepted}
    tried = {(key, identity) for key, t in told.items() for identity in t.tried}
    twice = [f"{key} has {n} rows" for key, n in rows.items() if n > 1]
    twice += [f"{key} {identity} was never sent" for key, identity in found if key in told and (key, identity) not in tried]
    twice += [f"{key} {identity} {n} times" for (key, identity), n in found.items() if n > 1]
    return [
        Line("accepted", len(accepted)),
        Line("stored once", sum(found[o] == 1 and rows[o[0]] == 1 for o in accepted)),
        must_be_none("missing", [f"{key} {identity}" for key, identity in accepted if not found[key, identity]]),
        must_be_none("stored twice", twice),
    ]


def ledger(seen):
    states = collections.Counter(n.state for n in seen.notifications)
    open_ = [f"{n.id} {n.channel} {n.kind} {n.state}" for n in seen.notifications if n.state not in ENDED]
    untried = [f"{n.id} {n.channel} {n.kind}" for n in seen.notifications if n.state == "delivered" and not n.tried]
    return [
        *(Line(f"notifications {state}", states[state]) for state in ENDED),
        must_be_none("no end state", open_),
        must_be_none("delivered without an attempt", untried),
    ]


def sink(seen):
    doubled, unmarked = [], []
    rows = {n.id: n for n in seen.notifications}
    copies = collections.Counter(m.notification for m in seen.messages if m.notification)
    for id_, n in copies.items():
        if n > 1:
            doubled.append(id_)
            if id_ not in rows or not rows[id_].doubtful:
                unmarked.append(f"{id_} {n} times")
    for (channel, incident), n in _texts(seen).items():
        told = [r for r in seen.notifications if (r.channel, r.incident) == (channel, incident)]
        if n > sum(r.state == "delivered" for r in told):
            doubled.append(incident)
            if not any(r.doubtful for r in told):
                unmarked.append(f"{channel} about {incident} {n} times")
    return [
        Line("doubled at the sink", len(doubled)),
        must_be_none("doubled without a mark", unmarked),
        must_be_none("unknown at the sink", [id_ for id_ in copies if id_ not in rows]),
    ]


def _texts(seen):
    """Messages without an id in them: how many of a channel were about one incident."""
    return collections.Counter((m.channel, m.incident) for m in seen.messages if not m.notification and m.incident)


def resolved_missing(told, seen):
    """Alerts whose end was taken, incidents of only such alerts, and receivers that were told of those as firing."""
    offenders, of_incident = [], collections.defaultdict(list)
    for a in seen.alerts:
        over = a.key in told and told[a.key].firing is False
        of_incident[a.incident].append(over)
        if over and a.status != RESOLVED:
            offenders.append(f"alert {a.key} has status {a.status}")
    over = set()
    for i in seen.incidents:
        if of_incident[i.id] and all(of_incident[i.id]):
            over.add(i.id)
            if i.status != INCIDENT_RESOLVED:
                offenders.append(f"incident {i.id} of {i.service} has status {i.status}")
    last = {}
    for m in seen.messages:
        if m.incident in over and m.receiver:
            key = (m.incident, m.receiver)
            last[key] = max(last.get(key, (0, "")), (m.sequence, m.status))
    return offenders + [f"{who} heard last that {what} is {s}" for (what, who), (_, s) in last.items() if s != "resolved"]


def hidden(told, seen):
    """What fires, and does not stand as firing in an open incident."""
    status = {i.id: i.status for i in seen.incidents}
    offenders = []
    for a in seen.alerts:
        if a.key in told and told[a.key].firing:
            if a.status != FIRING:
                offenders.append(f"alert {a.key} has status {a.status}")
            elif status.get(a.incident) in (None, INCIDENT_RESOLVED):
                offenders.append(f"alert {a.key} fires in the incident {a.incident}, which has status {status.get(a.incident)}")
    return offenders


def untold(seen):
    """Open incidents that nobody was told of, and deliveries that nobody got."""
    told = {m.incident for m in seen.messages}
    got = {m.notification for m in seen.messages}
    offenders = [f"incident {i.id} of {i.service}" for i in seen.incidents if i.status != INCIDENT_RESOLVED and i.id not in told]
    return offenders + [
        f"{n.id} {n.kind}" for n in seen.notifications if n.channel == "webhook" and n.state == "delivered" and n.id not in got
    ]


def counts_wrong(told, seen):
    """Each anomaly's counts against what was accepted, and what arrived without an answer."""
    found = set(seen.occurrences)
    expected, of_alerts = collections.Counter(), collections.Counter()
    for key, t in told.items():
        expected[t.service] += len(t.accepted | {i for i in t.tried if (key, i) in found})
    for a in seen.alerts:
        of_alerts[a.service] += a.counted
    offenders = []
    for service, n in expected.items():
        counts = (seen.anomalies.get(service, 0), seen.listed.get(service, 0), of_alerts[service])
        if n and set(counts) != {n}:
            offenders.append(f"{service}: {n} expected; anomaly, API, alerts say {counts}")
    return offenders


def failed(lines):
    return [line for line in lines if line.is_bad]


def report(lines):
    """As it is printed: a line each, then the first few offenders of what is bad."""
    text = [str(line) for line in lines]
    for line in failed(lines):
        text += [f"  {line.name}: {o}" for o in line.offenders[:OFFENDERS_SHOWN]]
        if len(line.offenders) > OFFENDERS_SHOWN:
            text.append(f"  {line.name}: … and {len(line.offenders) - OFFENDERS_SHOWN} more")
    return "\n".join(text)
