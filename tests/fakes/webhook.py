"""A generic webhook receiver that takes Alertmanager's payload, version 4, and nothing else."""

import json
import re

from reply import PLAIN, Reply, media_type

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
FIRING_END = "0001-01-01T00:00:00Z"
STATES = ("firing", "resolved")


class Refused(Exception):
    pass


class Webhook:
    channel = "webhook"
    prefix = "/"

    def key(self, request):
        return request.path

    def decide(self, request):
        try:
            payload = check(request)
        except Refused as refused:
            return Reply(False, 400, PLAIN, str(refused).encode(), f"400 {refused}", "")
        return Reply(True, 200, PLAIN, b"ok", "ok", read(payload))

    def fault(self, word):
        return Reply(False, 200, PLAIN, word.encode(), word, "")

    def reset(self):
        pass


def check(request):
    if request.method != "POST":
        raise Refused("method must be POST")
    if media_type(request) != "application/json":
        raise Refused("content type must be application/json")
    try:
        payload = json.loads(request.body.decode("utf-8"))
        json.dumps(payload, ensure_ascii=False).encode("utf-8")
    except ValueError as reason:
        raise Refused(f"body: {reason}") from None
    _need(isinstance(payload, dict), "body must be an object")
    _check_envelope(payload)
    for number, alert in enumerate(payload["alerts"]):
        _check_alert(alert, f"alerts[{number}]")
    _check_sums(payload)
    return payload


def _need(condition, reason):
    if not condition:
        raise Refused(reason)


def _check_envelope(payload):
    _need(payload.get("version") == "4", 'version must be "4"')
    for name in ("groupKey", "receiver"):
        _need(isinstance(payload.get(name), str) and payload[name], f"{name} must be a non-empty string")
    _need(isinstance(payload.get("externalURL"), str), "externalURL must be a string")
    cut = payload.get("truncatedAlerts")
    _need(type(cut) is int and cut >= 0, "truncatedAlerts must be an unsigned integer")
    _need(payload.get("status") in STATES, "status must be firing or resolved")
    for name in ("groupLabels", "commonLabels", "commonAnnotations"):
        _check_map(payload.get(name), name)
    _need(isinstance(payload.get("alerts"), list) and payload["alerts"], "alerts must be a non-empty array")


def _check_map(value, name):
    good = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
    _need(good, f"{name} must map strings to strings")


def _check_alert(alert, where):
    _need(isinstance(alert, dict), f"{where} must be an object")
    _need(alert.get("status") in STATES, f"{where}.status must be firing or resolved")
    _check_map(alert.get("labels"), f"{where}.labels")
    _check_map(alert.get("annotations"), f"{where}.annotations")
    _need(alert["labels"], f"{where}.labels must not be empty")
    for name in ("startsAt", "endsAt"):
        good = isinstance(alert.get(name), str) and TIME.fullmatch(alert[name])
        _need(good, f"{where}.{name} must be an RFC 3339 time")
    zero = alert["endsAt"] == FIRING_END
    _need(zero == (alert["status"] == "firing"), f"{where}.endsAt does not fit its status")
    _need(isinstance(alert.get("generatorURL"), str), f"{where}.generatorURL must be a string")
    print_ = alert.get("fingerprint")
    _need(isinstance(print_, str) and re.fullmatch(r"[0-9a-f]{16}", print_), f"{where}.fingerprint must be 16 hex digits")


def _check_sums(payload):
    """What the envelope says about its alerts must be so."""
    alerts = payload["alerts"]
    firing = any(a["status"] == "firing" for a in alerts)
    # Cut alerts may be the firing ones, so only the other direction is certain.
    _need(payload["status"] == "firing" or not firing, "status is resolved but an alert fires")
    _need(payload["status"] == "resolved" or firing or payload["truncatedAlerts"], "status is firing but no alert fires")
    for common, name in (("commonLabels", "labels"), ("commonAnnotations", "annotations")):
        for key, value in payload[common].items():
            _need(all(a[name].get(key) == value for a in alerts), f"{common}.{key} is not common")


def read(payload):
    firing = sum(a["status"] == "firing" for a in payload["alerts"])
    count = f":{firing}" if payload["status"] == "firing" else ""
    lines = [f"[{payload['status'].upper()}{count}] to {payload['receiver']}, group {payload['groupKey']}"]
    for alert in payload["alerts"]:
        labels = dict(alert["labels"])
        name = labels.pop("alertname", "(no name)")
        rest = " ".join(f"{k}={v}" for k, v in sorted(labels.items()))
        lines.append(f"{alert['status']:8}  {name}  {rest}")
        lines += [f"          {k}: {v}" for k, v in sorted(alert["annotations"].items())]
    if payload["truncatedAlerts"]:
        lines.append(f"… and {payload['truncatedAlerts']} more alerts")
    return "\n".join(lines)
