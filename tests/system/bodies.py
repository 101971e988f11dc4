"""Bodies as the sources send them, short to write in a test. The wire shapes are the demo's (deploy/demo/senders.py)."""

import json
import time
import urllib.parse
import uuid
import zlib

import senders

SENTRY_SECRET = "system-sentry-secret"
GENIE = {"Authorization": "GenieKey system-genie-key"}
PAGERDUTY_KEY = "0123456789abcdef0123456789ABCDEF"


def one_alert(name, to="hook", alertname="DiskFull", ends=None, starts=None, **labels):
    """An alert of a test: `name` is its service, the label `to` decides the receiver (tocsin.yml)."""
    labels = {"severity": "critical", "service": name, "to": to, **labels}
    note = {"summary": f"no room left for {name}"}
    return senders.alert(alertname, starts or time.time() - 5, ends, note, **labels)


def webhook(*alerts):
    return senders.alertmanager(list(alerts), {"service": alerts[0]["labels"]["service"]})


def resolved(body):
    """The same webhook when all of it is over."""
    alerts = [{**a, "status": "resolved", "endsAt": senders.rfc3339(time.time())} for a in body["alerts"]]
    return {**body, "status": "resolved", "alerts": alerts}


def grafana(body, title):
    """Grafana's envelope around Alertmanager's."""
    firing = body["status"] == "firing"
    extra = {"silenceURL": "", "dashboardURL": "http://grafana/d/1", "panelURL": "", "values": {"A": 1}, "valueString": "[ var='A' value=1 ]"}
    return {
        **body,
        "version": "1",
        "orgId": 1,
        "title": title,
        "state": "alerting" if firing else "ok",
        "message": title,
        "alerts": [{**a, **extra} for a in body["alerts"]],
    }


def post_sentry(stack, resource, body, secret=SENTRY_SECRET):
    raw = json.dumps(body).encode()
    return stack.post("/webhook/sentry", raw, senders.sentry_headers(resource, raw, secret))


class SentryIssue:
    """One issue of a project that bears the test's name."""

    def __init__(self, name):
        self.id = str(uuid.uuid4().int % 10**10)
        self.what = {"title": f"ValueError: {name} went wrong", "culprit": "api in rank", "project": name}

    def issue(self, action, **fields):
        return senders.sentry_issue(action, self.id, **self.what, **fields)

    def event(self, event_id=None):
        return senders.sentry_event_alert(event_id or uuid.uuid4().hex, self.id, rule="every event", **self.what)


def sentry_metric(name, action, starts):
    """A metric alert of a project that bears the test's name; one incident of it by its start."""
    over = action == "resolved"
    alert = {"id": str(zlib.crc32(f"{name}{starts}".encode())), "title": f"Errors of {name}", "projects": [name]}
    alert |= {"date_started": senders.rfc3339(starts), "date_closed": senders.rfc3339(time.time()) if over else None}
    alert |= {"alert_rule": {"id": "7", "name": f"Errors of {name}", "aggregate": "count()", "query": "level:error"}}
    data = {"metric_alert": alert, "description_title": f"{action.title()}: Errors of {name}", "description_text": "1000 events"}
    return {"action": action, "data": data, "actor": {"type": "application", "id": "sentry", "name": "Sentry"}}


# Senders whose bodies are short. Each makes (method, path, headers, body) of a state of what bears the test's name.

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def signoz(name, firing):
    alert = one_alert(name, alertname="Slow", ends=None if firing else time.time(), ruleId=f"rule-{name}", starts=START)
    return "POST", "/webhook/signoz", {}, webhook(alert)


def healthchecks(name, firing):
    """As curl posts JSON of which it was told nothing."""
    body = {"code": f"code-{name}", "status": "down" if firing else "up", "name": f"backup of {name}"}
    body |= {"now": senders.rfc3339(START if firing else time.time()), "tags": f"nightly service:{name} severity:critical"}
    return "POST", "/webhook/healthchecks", FORM, body


def healthchecks_get(name, firing):
    _, path, _, body = healthchecks(name, firing)
    return "GET", f"{path}?{urllib.parse.urlencode(body)}", {}, None


def jenkins(name, firing):
    """Through a mapping."""
    build = {"number": 18, "phase": "FINALIZED", "status": "FAILURE" if firing else "SUCCESS"}
    return "POST", "/webhook/jenkins", {}, {"name": name, "build": build}


def uptimekuma(name, firing):
    beat = {"monitorID": zlib.crc32(name.encode()), "status": int(not firing), "time": "2026-01-02 03:04:05.678", "msg": "timeout", "important": True}
    monitor = {"id": beat["monitorID"], "name": name, "type": "http", "url": "https://example.com", "tags": []}
    return "POST", "/webhook/uptimekuma", {}, {"heartbeat": beat, "monitor": monitor, "msg": f"[{name}] timeout"}


def uptimekuma_get(name, firing):
    _, path, _, body = uptimekuma(name, firing)
    query = {k: v if k == "msg" else json.dumps(v) for k, v in body.items()}
    return "GET", f"{path}?{urllib.parse.urlencode(query)}", {}, None


def uptimekuma_form(name, firing):
    _, path, _, body = uptimekuma(name, firing)
    form = f'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n{json.dumps(body)}\r\n--b--\r\n'
    return "POST", path, {"Content-Type": "multipart/form-data; boundary=b"}, form.encode()


def datadog(name, firing):
    body = {"alert_id": "77", "scope": f"service:{name}", "transition": "Triggered" if firing else "Recovered", "priority": "P1"}
    body |= {"type": "error" if firing else "success", "title": f"[P1] [Triggered] {name} is slow", "tags": f"env:prod,service:{name}"}
    return "POST", "/webhook/datadog", {}, {**body, "date": str(int(time.time() * 1000)), "event_id": uuid.uuid4().hex}


def datadog_form(name, firing):
    _, path, _, body = datadog(name, firing)
    return "POST", path, FORM, urllib.parse.urlencode(body).encode()


def opsgenie(name, firing):
    """As Opsgenie's libraries do; the close goes by the alias."""
    if not firing:
        return "POST", f"/v2/alerts/alias-{name}/close?identifierType=alias", GENIE, {"user": "Ann"}
    body = {"message": f"{name} is down", "alias": f"alias-{name}", "priority": "P1", "tags": [f"service:{name}"]}
    return "POST", "/v2/alerts", GENIE, body


def opsgenie_delete(name, firing):
    """As Zabbix and curl may: no body at all."""
    created = opsgenie(name, firing=True)
    return created if firing else ("DELETE", f"/v2/alerts/alias-{name}?identifierType=alias", GENIE, None)


def pagerduty(name, firing):
    """As PagerDuty's libraries do: a resolve says no more than its key."""
    body = {"routing_key": PAGERDUTY_KEY, "event_action": "trigger" if firing else "resolve", "dedup_key": f"key-{name}"}
    payload = {"summary": f"{name} is down", "source": "web-1", "severity": "critical", "component": name}
    return "POST", "/v2/enqueue", {}, {**body, "payload": payload} if firing else body


def pagerduty_v1(name, firing):
    body = {"service_key": PAGERDUTY_KEY, "event_type": "trigger" if firing else "resolve", "incident_key": f"key-{name}"}
    words = {"description": f"{name} is down", "details": {"service": name}}
    return "POST", "/generic/2010-04-15/create_event.json", {}, {**body, **words}


def zabbix(name, firing):
    """As our media type posts it, with the macros that have no value in a problem."""
    body = {"event_id": str(zlib.crc32(name.encode())), "event_source": "0", "event_value": str(int(firing)), "update_status": "0"}
    body |= {"severity": "5", "trigger_severity": "5", "name": "Disk is full", "trigger_name": "Disk is full", "host": f"host of {name}"}
    return "POST", "/webhook/zabbix", {}, {**body, "trigger_id": "7", "tags": [{"tag": "service", "value": name}], "user": "{USER.FULLNAME}"}


def zabbix_oncall(name, firing):
    text = f"Problem name: Disk is full\nHost: {name}\nSeverity: Disaster\n"
    body = {"alert_uid": str(zlib.crc32(name.encode())), "title": f"Disk of {name} is full", "state": "alerting" if firing else "ok", "message": text}
    return "POST", "/webhook/zabbix", {}, {**body, "link_to_upstream_details": "{$ZABBIX.URL}/tr_events.php?triggerid=7"}


START = time.time() - 5  # of what fires, in this run
