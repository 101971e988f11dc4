"""PagerDuty, Events API v2 and v1: 202 (v1: 200), and alerts by their key, so that a second trigger is no second alert."""

import json
import re
import threading

from reply import JSON, PLAIN, Reply, decode, media_type

V2, V1 = "/v2/enqueue", "/generic/2010-04-15/create_event.json"
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")
MAX_BODY, MAX_SUMMARY, MAX_KEY, KEY_LENGTH = 512 << 10, 1024, 255, 32
TEXTS = ("component", "group", "class")


class Refused(Exception):
    pass


class Pagerduty:
    channel = "pagerduty"
    prefix = (V2, V1)

    def __init__(self):
        self._lock = threading.Lock()
        self.alerts = {}  # (routing key, dedup key): {"state", "summary", "triggers", "alerts"}

    def key(self, request):
        """The routing (v1: service) key."""
        event = decode(request.body)
        event = event if isinstance(event, dict) else {}
        return str(event.get("routing_key") or event.get("service_key") or "")

    def decide(self, request):
        try:
            event = check(request)
        except Refused as refused:
            return self.refuse(400, str(refused))
        key, text = self._take(event)
        if request.path == V1:
            answer = {"status": "success", "message": "Event processed", "incident_key": key}
            return Reply(True, 200, JSON, json.dumps(answer).encode(), event["action"], text)
        answer = {"status": "success", "message": "Event processed", "dedup_key": key}
        return Reply(True, 202, JSON, json.dumps(answer).encode(), event["action"], text)

    def fault(self, word):
        """The right words under the wrong status."""
        return Reply(False, 200, JSON, json.dumps({"status": "success", "message": word}).encode(), f"200 {word}", "")

    def refuse(self, status, word):
        """`429:SECONDS`, though the vendor names no time; 400 with the reason; or the status alone."""
        if status == 429:
            message = "Requests for this service are arriving too quickly.  Please retry later."
            body = {"status": "throttle exceeded", "message": message, "errors": ["Enhance Your Calm."]}
            return Reply(False, 429, {**JSON, **({"Retry-After": word} if word else {})}, json.dumps(body).encode(), "429", "")
        if status == 400:
            body = {"status": "invalid event", "message": "Event object is invalid", "errors": [word or "no"]}
            return Reply(False, 400, JSON, json.dumps(body).encode(), f"400 {word}", "")
        return Reply(False, status, PLAIN, b"", str(status), "")

    def reset(self):
        """What was told stays."""

    def _take(self, event):
        with self._lock:
            key = event["key"] or f"generated{len(self.alerts)}"
            alert = self.alerts.setdefault((event["to"], key), {"state": "resolved", "summary": "", "triggers": 0, "alerts": 0})
            if event["action"] == "trigger":
                alert["alerts"] += alert["state"] == "resolved"
                alert["state"] = "triggered" if alert["state"] == "resolved" else alert["state"]
                alert["triggers"] += 1
                alert["summary"] = event["summary"]
            elif alert["state"] != "resolved":
                alert["state"] = f"{event['action']}d"
            else:
                return key, f"{event['action']}: nothing is open"
            return key, "\n".join(part for part in (f"{event['action']}: {alert['summary']}", event["text"]) if part)


def need(condition, reason):
    if not condition:
        raise Refused(reason)


def check(request):
    """The event as {to, key, action, summary, text}."""
    need(request.method == "POST" and media_type(request) == "application/json", "Content-Type must be application/json")
    need(len(request.body) <= MAX_BODY, "Event object is too large")
    event = decode(request.body)
    need(isinstance(event, dict), "Event object is invalid")
    return check_v1(event) if request.path == V1 else check_v2(event)


def check_v2(event):
    routing, action, key = (event.get(name) for name in ("routing_key", "event_action", "dedup_key"))
    need(isinstance(routing, str) and len(routing) == KEY_LENGTH, "Length of 'routing_key' is incorrect (should be 32 characters)")
    need(action, "'event_action' is missing or blank")
    need(action in ACTIONS, f"'event_action' is invalid: {action}")
    need(key is None or isinstance(key, str) and len(key) <= MAX_KEY, "'dedup_key' is invalid")
    need(key or action == "trigger", "'dedup_key' is missing or blank")
    seen = {"to": routing, "key": key, "action": action, "summary": "", "text": ""}
    if action != "trigger":
        return seen
    payload = event.get("payload")
    need(isinstance(payload, dict), "'payload' is missing or blank")
    for name in ("summary", "source", "severity"):
        need(isinstance(payload.get(name), str) and payload[name].strip(), f"'payload.{name}' is missing or blank")
    need(len(payload["summary"]) <= MAX_SUMMARY, "'payload.summary' is too long")
    need(payload["severity"] in SEVERITIES, "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')")
    need("timestamp" not in payload or TIME.fullmatch(str(payload["timestamp"])), "'payload.timestamp' is invalid")
    for name in TEXTS:
        need(isinstance(payload.get(name, ""), str), f"'payload.{name}' is invalid")
    need(isinstance(payload.get("custom_details", {}), dict), "'payload.custom_details' is invalid")
    for name, member in (("links", "href"), ("images", "src")):
        listed = event.get(name, [])
        need(isinstance(listed, list) and all(isinstance(one, dict) and one.get(member) for one in listed), f"'{name}' is invalid")
    seen["summary"] = payload["summary"]
    seen["text"] = payload.get("custom_details", {}).get("text", "")
    return seen


def check_v1(event):
    need(isinstance(event.get("service_key"), str) and event["service_key"], "Service key is missing or blank")
    need(event.get("event_type") in ACTIONS, "Event type is invalid")
    need(event["event_type"] != "trigger" or event.get("description"), "Description is missing or blank")
    need(event["event_type"] == "trigger" or event.get("incident_key"), "Incident key is missing or blank")
    seen = {"to": event["service_key"], "key": event.get("incident_key"), "action": event["event_type"]}
    text = event.get("details", {}).get("text", "") if event["event_type"] == "trigger" else ""
    return {**seen, "summary": event.get("description", ""), "text": text}
