"""When which fault comes. A pure function of the seed, the minutes and what is left out, so that a failing seed can be run again."""

import dataclasses
import random

OURS = ("ingest", "ingest-2", "processor", "processor-2", "notifier", "notifier-2", "learner", "console")
SERVERS = ("kafka", "postgres", "redis")
WEIGHTS = {"learner": 1, "console": 1}  # the others of ours: 3

KILLS_PER_MINUTE = 8.5
SESSION_TIMEOUT_S = 8  # kafka.session_timeout
AWAY_FROM_MINUTES, AWAY_S = 10, 360
QUIET_S = 4  # at both ends: the first faults find work to break, the last ones work to finish
HEAL_S = {"kafka": 12, "postgres": 5, "redis": 2, "channel": 0, "connection": 0}  # until it can be hit again; ours: 4

# What a channel's endpoint does, as tests/fakes/faults.py says it. Only the fake of WeCom has codes for a body's error.
ENDPOINTS = (
    ("webhook", ("hang*3",)),
    ("webhook", ("reset*5",)),
    ("webhook", ("500*8",)),
    ("webhook", ("429:3*4",)),
    ("webhook", ("lost*3",)),
    ("slack", ("reset*4",)),
    ("slack", ("429:3*3", "500*3")),
    ("wecom", ("200body:45009",) * 3),
    ("wecom", ("200body:-1",) * 4),
    ("slack", ("hang*2", "lost*2")),
)


@dataclasses.dataclass(frozen=True)
class Fault:
    at: float  # seconds since the first
    kind: str
    target: str
    lasts: float = 0.0
    detail: tuple = ()

    def __str__(self):
        lasts = f" for {self.lasts:.1f} s" if self.lasts else ""
        detail = f" {' '.join(self.detail)}" if self.detail else ""
        return f"{self.at:6.1f} s  {self.kind} {self.target}{detail}{lasts}"


class _Planner:
    def __init__(self, seed, seconds, without):
        self.random = random.Random(f"{seed} {seconds} {' '.join(sorted(without))}")
        self.seconds = seconds
        self.without = frozenset(without)
        self.faults = []
        self.busy = {}  # target: [(from, to)]

    def lasts(self, low, high):
        return round(self.random.uniform(low, high), 1)

    def place(self, kind, targets, lasts=0.0, detail=()):
        """At a random time at which none of the targets is broken already; later faults find no room, and are left out."""
        targets = targets if isinstance(targets, tuple) else (targets,)
        if self.without.intersection(targets):
            return False
        for _ in range(200):
            at = round(self.random.uniform(QUIET_S, max(QUIET_S, self.seconds - QUIET_S - lasts)), 1)
            taken = {t: (at, at + lasts + HEAL_S.get(t, 4)) for t in targets}
            if all(self.is_free(t, *span) for t, span in taken.items()):
                for target, span in taken.items():
                    self.busy.setdefault(target, []).append(span)
                self.faults.append(Fault(at, kind, targets[0], lasts, detail))
                return True
        return False

    def is_free(self, target, begin, end):
        return all(end <= b or begin >= e for b, e in self.busy.get(target, ()))

    def times(self, per_minute, least=1):
        return max(least, round(per_minute * self.seconds / 60))

    def outages(self):
        """The long ones, first, while there is room; processes of ours die meanwhile."""
        long = self.seconds / 10
        self.place("freeze", ("kafka", "spool"), max(6.0, long))
        self.place("full", ("spool", "kafka"), max(5.0, long / 3))
        self.place("outage", "postgres", max(6.0, long))
        for _ in range(self.times(0.3)):
            target = self.random.choice(("processor", "processor-2"))
            self.place("zombie", target, self.lasts(SESSION_TIMEOUT_S + 2, SESSION_TIMEOUT_S + 6))

    def servers(self):
        for target, kills in (("kafka", 0.3), ("postgres", 0.4), ("redis", 0.3)):
            for _ in range(self.times(kills)):
                self.place("kill", target, self.lasts(0.1, 3))
            for _ in range(self.times(0.15, 0)):
                self.place("stop", target, self.lasts(0.1, 3))
        for _ in range(self.times(0.6)):
            self.place("flush", "redis")
        for _ in range(self.times(1.5, 2)):
            self.place("cut", "connection", self.lasts(1, 3))

    def ours(self):
        for _ in range(self.times(0.5)):
            self.place("join", "processor-3", self.lasts(6, 20), (self.random.choice(("TERM", "KILL")),))
        for _ in range(self.times(0.4)):
            self.place("stop", self.random.choice(OURS[:6]), self.lasts(0.1, 3))
        weights = [WEIGHTS.get(name, 3) for name in OURS]
        wanted = self.times(KILLS_PER_MINUTE) - sum(f.kind == "kill" for f in self.faults)
        for _ in range(wanted):
            self.place("kill", self.random.choices(OURS, weights)[0], self.lasts(0.1, 3))

    def endpoints(self):
        for n in range(self.times(2, 4)):
            channel, answers = ENDPOINTS[n % len(ENDPOINTS)]
            self.place("answer", "channel", 0.0, (channel, *answers))

    def away(self):
        """All of ours away in the middle: what comes later moves back, and nothing reaches across."""
        at = round(self.random.uniform(0.3, 0.7) * self.seconds, 1)
        for target in (*OURS, *SERVERS, "processor-3", "spool", "connection"):
            self.busy.setdefault(target, []).append((at - 5, at))
        return at


def make(seed, minutes, without=()):
    """The faults in the order in which they come."""
    planner = _Planner(seed, minutes * 60, without)
    away_at = planner.away() if minutes >= AWAY_FROM_MINUTES else None
    planner.outages()
    planner.servers()
    planner.ours()
    planner.endpoints()
    faults = planner.faults
    if away_at is not None:
        faults = [f if f.at < away_at else dataclasses.replace(f, at=round(f.at + AWAY_S, 1)) for f in faults]
        faults.append(Fault(away_at, "away", "all of ours", float(AWAY_S)))
    return sorted(faults, key=lambda f: (f.at, f.kind, f.target))


def seconds(minutes):
    """How long faults come, the away fault on top."""
    return minutes * 60 + (AWAY_S if minutes >= AWAY_FROM_MINUTES else 0)
