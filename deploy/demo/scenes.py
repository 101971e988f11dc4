"""The scenes of the demo: what is sent through the front door, and what must come of it."""

import concurrent.futures
import copy
import json
import re
import time
import uuid

import senders
from stage import FAKED, Unmet, cut, told

SENTRY_SECRET = "demo-sentry-secret"
REPAIRS_TOKEN = "demo-repairs-token"

STORM_ALERTS, STORM_POST, STORM_SENDERS = 10_000, 64, 4
# What the storm has grown to when each update is due: the shipped thresholds.
CROSSINGS = ((3, "REPEAT"), (5, "ESCALATE"), (10, "PERMANENT_FIX"))


class Play:
    """One run. Its namespace is its own, so that a second run finds no anomaly of the first."""

    def __init__(self, stage):
        self.stage = stage
        self.started = time.time()
        self.run = time.strftime("%H%M%S")
        self.namespace = time.strftime("demo-%m%d-%H%M%S")
        self.ids = {}

    # Finding what was made

    def find(self, name):
        """The newest incident of this run for an alert name, with everything about it; None before there is one."""
        if name not in self.ids:
            for incident in self.stage.incidents(since=senders.rfc3339(self.started - 60)):
                if incident["alert_name"] == name and self._ours(incident):
                    self.ids[name] = incident["id"]
        return self.stage.incident(self.ids[name]) if name in self.ids else None

    def _ours(self, incident):
        return any((incident[place] or "").startswith(self.namespace) for place in ("namespace", "environment", "service"))

    def must(self, name, check):
        """A probe: check(incident) says None when it is as it should be, else what is not."""

        def probe():
            incident = self.find(name)
            if not incident:
                raise Unmet(f"no incident for {name}")
            wrong = check(incident)
            if wrong:
                raise Unmet(wrong)
            return incident

        return probe

    def read_about(self, name, at_least=1):
        """A probe: so many messages that a person can read name this alert."""

        def probe():
            found = [m for m in self.stage.messages() if name in m["text"]]
            if len(found) < at_least:
                raise Unmet(f"{len(found)} of {at_least} messages about {name} were read")
            return found

        return probe


def is_told(times):
    """Every receiver got so many messages about the incident, and all of them have ended."""

    def check(incident):
        rows = told(incident)
        if not rows or any(len(kinds) != times for kinds in rows.values()):
            return f"told {rows}, expected {times} per receiver"
        waiting = [n for n in incident["notifications"] if n["state"] in ("pending", "sending")]
        return f"{len(waiting)} notifications still wait" if waiting else None

    return check


def has(status=None, level=None, alerts=None, count=None):
    def check(incident):
        stats = incident["frequency_stats"]
        seen = (incident["status"], stats["escalation_level"], incident["alerts_total"], stats["count_24h"])
        wanted = (status, level, alerts, count)
        if any(w is not None and w != s for w, s in zip(wanted, seen)):
            return f"status, level, alerts, count are {seen}, expected {wanted}"
        return None

    return check


def both(*checks):
    def check(incident):
        return next((wrong for wrong in (c(incident) for c in checks) if wrong), None)

    return check


# 1. Alertmanager


def alertmanager(play):
    stage, now = play.stage, time.time() - 90
    where = {"namespace": play.namespace, "environment": "production"}
    alerts = [
        senders.alert(
            "HighErrorRate", now, service="checkout", severity="critical", **where,
            annotations={"summary": "12 % of the requests to checkout fail", "description": "5xx above 5 % for 5 minutes"},
        ),
        senders.alert(
            "SearchLatency", now, service="search", severity="critical", **where,
            annotations={"summary": "p99 of search is 4.2 s", "description": "p99 above 2 s for 10 minutes"},
        ),
        senders.alert(
            "DiskWillFill", now, service="postgres", severity="warning", instance="db-1", **where,
            annotations={"summary": "/var/lib/postgresql is full in 6 hours"},
        ),
    ]
    firing = senders.alertmanager(alerts, {"namespace": play.namespace})
    stage.ingest.post("/webhook/alertmanager", firing)
    for name in ("HighErrorRate", "SearchLatency"):
        stage.expect(f"{name}: one incident, one message to each receiver", play.must(name, is_told(1)))
        stage.expect(f"{name}: a person read it", play.read_about(name))
    stage.ingest.post("/webhook/alertmanager", firing)
    stage.expect("DiskWillFill: a warning waits for its digest, and is read there", play.read_about("DiskWillFill"))
    over = copy.deepcopy(firing)
    for alert in over["alerts"]:
        alert.update(status="resolved", endsAt=senders.rfc3339(time.time()))
    over["status"] = "resolved"
    stage.ingest.post("/webhook/alertmanager", over)
    for name in ("HighErrorRate", "SearchLatency"):
        stage.expect(
            f"{name}: resolved; the repeat made no message and counted nothing",
            play.must(name, both(has("resolved", count=1), is_told(2))),
        )
    stage.expect("DiskWillFill: resolved", play.must("DiskWillFill", has("resolved", count=1)))


# 2. Sentry


def sentry(play):
    stage = play.stage
    issue_id = f"{int(play.started)}"
    what = {"title": "ValueError: no scores for item", "culprit": "recommend.api in rank", "project": play.namespace}
    _sentry(stage, "issue", senders.sentry_issue("created", issue_id, **what))
    name = stage.expect("a first-seen Sentry error is an incident at once", lambda: _sentry_name(play))
    stage.expect(f"{name}: told at once", play.must(name, is_told(1)))
    for _ in range(3):
        event = senders.sentry_event_alert(uuid.uuid4().hex, issue_id, rule="every event", **what)
        _sentry(stage, "event_alert", event)
    stage.expect(
        f"{name}: seen three times, one update: REPEAT; the rest waits for the digest",
        play.must(name, both(has(level="REPEAT", count=3), is_told(2))),
    )


def _sentry(stage, resource, body):
    raw = json.dumps(body).encode()
    stage.ingest.post("/webhook/sentry", raw, senders.sentry_headers(resource, raw, SENTRY_SECRET))


def _sentry_name(play):
    for incident in play.stage.incidents(since=senders.rfc3339(play.started - 60)):
        if incident["source"] == "sentry" and play._ours(incident):
            return incident["alert_name"]
    return None


def digest(play):
    def probe():
        found = [m for m in play.stage.messages() if "[Digest]" in m["text"] and "ValueError" in m["text"]]
        if not found:
            raise Unmet("no digest tells of ValueError yet")
        return found

    play.stage.expect("the recurrences of ValueError are read in a digest", probe)


# 3. Prometheus


def prometheus(play):
    stage, now = play.stage, time.time() - 30
    where = {"namespace": play.namespace, "severity": "critical", "job": "node"}
    note = {"summary": "the host does not answer"}
    alerts = [senders.postable("HostDown", now, annotations=note, instance=f"node-{n}:9100", **where) for n in (1, 2)]
    stage.ingest.post("/api/v2/alerts", alerts)
    stage.expect("HostDown: two hosts, one incident, one message", play.must("HostDown", both(has("open", alerts=2), is_told(1))))
    stage.expect("HostDown: a person read it", play.read_about("HostDown"))


# 4. The storm


def storm(play):
    stage, now = play.stage, time.time()

    def alerts(first, last):
        return [
            senders.postable(
                "QueueBacklog", now, now + 3600, annotations={"summary": "the queue of orders grows"},
                service="orders", namespace=play.namespace, severity="critical", instance=f"worker-{n:05}",
            )
            for n in range(first, last)
        ]

    sent = 1
    stage.ingest.post("/api/v2/alerts", alerts(0, 1))
    stage.expect("QueueBacklog: the first of the storm is told", play.must("QueueBacklog", is_told(1)))
    for times, (upto, level) in enumerate(CROSSINGS, 2):
        stage.ingest.post("/api/v2/alerts", alerts(sent, upto))
        sent = upto
        stage.expect(f"QueueBacklog: {upto} of them, one update: {level}", play.must("QueueBacklog", both(has(level=level), is_told(times))))
    took = _flood(stage, alerts(sent, STORM_ALERTS))
    print(f"  … {STORM_ALERTS - sent:,} more alerts posted and answered in {took:.1f} s", flush=True)
    stage.expect(
        f"QueueBacklog: {STORM_ALERTS:,} alerts, one incident, and not one message more",
        play.must("QueueBacklog", both(has("open", "PERMANENT_FIX", STORM_ALERTS, STORM_ALERTS), is_told(4))),
    )
    if sum(i["alert_name"] == "QueueBacklog" and play._ours(i) for i in stage.incidents(status="active")) != 1:
        raise Unmet("the storm made more than one incident")


def _flood(stage, alerts):
    posts = [alerts[i : i + STORM_POST] for i in range(0, len(alerts), STORM_POST)]

    def send(mine):
        client = senders.Client(stage.ingest_url)
        for post in mine:
            client.post("/api/v2/alerts", post)

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(STORM_SENDERS) as pool:
        list(pool.map(send, [posts[i::STORM_SENDERS] for i in range(STORM_SENDERS)]))
    return time.monotonic() - begun


# 5. Repairs


def repairs(play):
    stage = play.stage
    incident = play.find("QueueBacklog")
    before = incident["proposed_repair"]
    print(f"  proposed before: {_proposal(before)}")
    # Whatever is proposed now fails, and the other step works.
    loser, winner = "restart_pod", "scale_up"
    if before and before["action"] == winner:
        loser, winner = winner, loser
    for outcome in [(loser, "failure")] * 3 + [(winner, "success")] * 4:
        _report(stage, incident["id"], *outcome)

    def risen(incident):
        now = incident["proposed_repair"]
        good = now and now["action"] == winner and now["successes"] >= 4
        return None if good else f"proposed: {_proposal(now)}"

    after = stage.expect(f"{winner} rises above {loser}", play.must("QueueBacklog", risen))
    stats = after["repair_stats"]
    print(f"  proposed after:  {_proposal(after['proposed_repair'])}")
    print(f"  repairs: {stats['successful_attempts']} of {stats['total_attempts']} worked, recommended tier {stats['recommended_tier']}")


def _report(stage, incident_id, action, outcome):
    body = {
        "incident_id": incident_id,
        "action": action,
        "outcome": outcome,
        "by": "demo",
        "note": "the queue drained" if outcome == "success" else "no change after 10 minutes",
        "verified": True,
    }
    stage.ingest.post("/api/v1/repairs", body, {"Authorization": f"Bearer {REPAIRS_TOKEN}"})


def _proposal(step):
    if not step:
        return "nothing"
    return f"{step['action']}: {step['successes']} of {step['attempts']} worked (playbook version {step['playbook_version']})"


# 6. Each channel

MESSAGE_LINES = 12
EVERYWHERE = "-everywhere"  # ends the service whose incidents demo.yml leads to each channel
HAN = re.compile("[\u4e00-\u9fff]")
TOKEN = re.compile(r"(/act/[-\w.~]{6})[-\w.~]+")  # too long to be looked at: `deploy/dev fakes` shows it whole


def every_channel(play):
    """An error of Sentry, since only that has an issue to write back to."""
    stage, issue_id = play.stage, str(int(play.started) + 1)
    what = {"title": "TimeoutError: no answer from payments", "culprit": "checkout.api in pay", "project": play.namespace + EVERYWHERE}
    _sentry(stage, "issue", senders.sentry_issue("created", issue_id, **what))
    channels = sorted(FAKED | {"dashboard"})
    read = stage.expect(
        f"TimeoutError: one incident, read on each of {len(channels)} channels",
        lambda: _read_everywhere(play, what["project"], channels),
        hide=lambda record: "TimeoutError" in record["text"] or not record["accepted"],
    )
    for channel, language, text in read:
        lines = cut(["  │ " + TOKEN.sub(r"\1…", line) for line in text.splitlines() if line.strip("━ ")], MESSAGE_LINES)
        print("\n".join(["", f"    ── {channel} · {language}", *("    " + line for line in lines)]))


def _read_everywhere(play, service, channels):
    """(channel, language, text) of what each channel was told; a channel twice where its own language is not English."""
    incident = next((i for i in play.stage.incidents(since=senders.rfc3339(play.started - 60)) if i["service"] == service), None)
    if not incident:
        raise Unmet("there is no incident yet")
    rows = play.stage.incident(incident["id"])["notifications"]
    messages = [m for m in play.stage.messages() if "TimeoutError" in m["text"]]
    found = []
    for channel in channels:
        mine = [row for row in rows if row["channel"] == channel]
        for row in mine:
            if row["state"] not in ("pending", "sending", "delivered"):
                raise RuntimeError(f"{channel} of {row['receiver']}: {row['state']}: {row['reason']}")
        if not mine or any(row["state"] != "delivered" for row in mine):
            raise Unmet(f"{channel}: {'it waits' if mine else 'nothing was meant for it: is it in demo.yml?'}")
        if channel != "dashboard":
            texts = [m["text"] for m in messages if m["channel"] == channel]
        else:  # nobody is sent anything: its row is the message
            texts = [f"{row['state']} to {row['receiver']}: {row['kind']}, {row['severity']}, at {row['destination']}" for row in mine]
        if len(texts) < len(mine):
            raise Unmet(f"{channel}: {len(mine)} messages were delivered, {len(texts)} were read")
        told_in = {"zh-CN" if HAN.search(text) else "en": text for text in texts}
        if "en" not in told_in:
            raise Unmet(f"{channel}: nothing in English: is it told twice in demo.yml?")
        found += [(channel, language, told_in[language]) for language in ("zh-CN", "en") if language in told_in]
    return found
