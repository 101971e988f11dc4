"""Real-shaped traffic: what Alertmanager, Prometheus and Sentry post, and a client that posts it."""

import datetime
import hashlib
import hmac
import http.client
import json
import time
import urllib.parse
import uuid

IDLE_S = 30  # then a client opens another connection, before a server closes the one that it has
FIRING_END = "0001-01-01T00:00:00Z"
FNV_OFFSET, FNV_PRIME = 14695981039346656037, 1099511628211


def rfc3339(seconds):
    """A Unix time as Go writes it."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fingerprint(labels):
    """Alertmanager's: 64-bit FNV-1a over the sorted labels."""
    value = FNV_OFFSET
    for name in sorted(labels):
        for byte in name.encode() + b"\xff" + labels[name].encode() + b"\xff":
            value = (value ^ byte) * FNV_PRIME & (1 << 64) - 1
    return f"{value:016x}"


def alert(name, starts, ends=None, annotations=None, **labels):
    """One alert of Alertmanager's webhook; `ends` makes it a resolved one."""
    labels = {"alertname": name, **labels}
    return {
        "status": "resolved" if ends else "firing",
        "labels": labels,
        "annotations": annotations or {},
        "startsAt": rfc3339(starts),
        "endsAt": rfc3339(ends) if ends else FIRING_END,
        "generatorURL": "http://prometheus.example:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
        "fingerprint": fingerprint(labels),
    }


def alertmanager(alerts, group_labels, receiver="tocsin"):
    """The webhook payload, version 4, around its alerts."""
    firing = any(a["status"] == "firing" for a in alerts)
    group = ", ".join(f'{k}="{v}"' for k, v in sorted(group_labels.items()))
    return {
        "receiver": receiver,
        "status": "firing" if firing else "resolved",
        "alerts": alerts,
        "groupLabels": group_labels,
        "commonLabels": _common([a["labels"] for a in alerts]),
        "commonAnnotations": _common([a["annotations"] for a in alerts]),
        "externalURL": "http://alertmanager.example:9093",
        "version": "4",
        "groupKey": "{}:{" + group + "}",
        "truncatedAlerts": 0,
    }


def _common(maps):
    return {k: v for k, v in maps[0].items() if all(m.get(k) == v for m in maps)}


def postable(name, starts, ends=None, annotations=None, **labels):
    """One alert as Prometheus posts it to /api/v2/alerts: while it fires, endsAt lies ahead."""
    return {
        "labels": {"alertname": name, **labels},
        "annotations": annotations or {},
        "startsAt": rfc3339(starts),
        "endsAt": rfc3339(ends or time.time() + 240),
        "generatorURL": "http://prometheus.example:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
    }


def sentry_issue(action, issue_id, title, culprit, project, level="error", **fields):
    """Body of resource `issue`."""
    now = rfc3339(time.time())
    issue = {
        "id": issue_id,
        "shortId": f"{project.upper()}-{issue_id[-3:]}",
        "title": title,
        "culprit": culprit,
        "permalink": None,
        "web_url": f"https://sentry.example/organizations/acme/issues/{issue_id}/",
        "url": f"https://sentry.example/api/0/organizations/acme/issues/{issue_id}/",
        "project_url": f"https://sentry.example/organizations/acme/issues/?project={project}",
        "level": level,
        "status": "resolved" if action == "resolved" else "unresolved",
        "substatus": "new" if action == "created" else "ongoing",
        "statusDetails": {},
        "platform": "python",
        "project": {"id": "17", "name": project, "slug": project, "platform": "python"},
        "metadata": {"type": title.split(":")[0], "value": title.partition(": ")[2], "filename": "app/api.py"},
        "priority": "high",
        "issueType": "error",
        "issueCategory": "error",
        "count": "1",
        "userCount": 1,
        "firstSeen": now,
        "lastSeen": now,
        "assignedTo": None,
        **fields,
    }
    return _sentry_body(action, {"issue": issue})


def sentry_event_alert(event_id, issue_id, title, culprit, project, rule, level="error", **fields):
    """Body of resource `event_alert`: an alert rule saw an event of an issue."""
    event = {
        "event_id": event_id,
        "issue_id": issue_id,
        "issue_url": f"https://sentry.example/api/0/organizations/acme/issues/{issue_id}/",
        "url": f"https://sentry.example/api/0/projects/acme/{project}/events/{event_id}/",
        "web_url": f"https://sentry.example/organizations/acme/issues/{issue_id}/events/{event_id}/",
        "title": title,
        "culprit": culprit,
        "level": level,
        "datetime": rfc3339(time.time()),
        "platform": "python",
        "project": 17,
        "metadata": {"type": title.split(":")[0], "value": title.partition(": ")[2]},
        "tags": [["environment", "production"], ["level", level], ["server_name", "web-1"]],
        **fields,
    }
    return _sentry_body("triggered", {"event": event, "triggered_rule": rule})


def _sentry_body(action, data):
    return {
        "action": action,
        "installation": {"uuid": "7a485448-a9e2-4c85-8a3c-4f44175783c9"},
        "data": data,
        "actor": {"type": "application", "id": "sentry", "name": "Sentry"},
    }


def sentry_headers(resource, body, secret):
    """Headers of one delivery; the signature covers the raw body and nothing else."""
    return {
        "Content-Type": "application/json",
        "Request-ID": uuid.uuid4().hex,
        "Sentry-Hook-Resource": resource,
        "Sentry-Hook-Timestamp": str(int(time.time())),
        "Sentry-Hook-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


class Client:
    """Keep-alive HTTP to one server. Not for several threads at once."""

    def __init__(self, url, timeout=30):
        parts = urllib.parse.urlsplit(url)
        self._prefix = parts.path.rstrip("/")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        self._used = time.monotonic()

    def request(self, method, path, body=None, headers=None):
        """(status, body bytes); OSError or HTTPException when there was no answer."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        if time.monotonic() - self._used > IDLE_S:
            self._connection.close()
        try:
            self._connection.request(method, self._prefix + path, body, headers)
            answer = self._connection.getresponse()
            text = answer.read()
            self._used = time.monotonic()
            return answer.status, text
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def get(self, path):
        """The JSON of a 200; RuntimeError with the answer otherwise."""
        return self._good("GET", path, None, None)

    def post(self, path, body, headers=None):
        """The JSON of a 2xx (None when it is empty); RuntimeError with the answer otherwise."""
        return self._good("POST", path, body, headers)

    def put(self, path, body):
        return self._good("PUT", path, body, None)

    def _good(self, method, path, body, headers):
        status, answer = self.request(method, path, body, headers)
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status} {answer.decode('utf-8', 'replace')[:300]}")
        return json.loads(answer) if answer else None
