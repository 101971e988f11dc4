"""Opsgenie's alert API: everything is taken (202) and done afterwards; what became of it is asked for by its request."""

import json
import re
import threading
import uuid

from reply import JSON, Reply, decode, media_type

REQUEST = re.compile(r"/v2/alerts/requests/([^/]+)")
ACT = re.compile(r"/v2/alerts/([^/]+)/(acknowledge|close|message|description|notes)")
LIMITS = {"message": 130, "alias": 512, "description": 15_000, "entity": 512, "source": 100, "user": 100, "note": 25_000}
RESPONDERS = ("team", "user", "escalation", "schedule")

REFUSALS = {
    400: "Request body is not processable.",
    401: "Could not authenticate",
    402: "This feature is not available in your plan",
    403: "You are not authorized to do this operation",
    404: "Resource not found",
    422: "Request body is not processable. Please check the errors.",
    429: "You are making too many requests!",
}


class Refused(Exception):
    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Opsgenie:
    channel = "opsgenie"
    prefix = "/v2/alerts"

    def __init__(self):
        self._lock = threading.Lock()
        self._ends = {}  # request id: (done, words); None: nobody has asked yet
        self._slow = set()
        self.alerts = {}  # (key, alias): {"status", "message", "count", "alerts", …}

    def key(self, request):
        """The API key; `KEY/requests` where it is asked what became of a request."""
        key = request.headers.get("Authorization", "").removeprefix("GenieKey ")
        return f"{key}/requests" if REQUEST.fullmatch(request.path) else key

    def decide(self, request):
        try:
            return self._decide(request)
        except Refused as refused:
            return self.refuse(refused.status, str(refused))

    def fault(self, word):
        """`200body:no` is 202 and then no success; `200body:late`: asked at once, it is not processed yet."""
        number = str(uuid.uuid4())
        with self._lock:
            self._ends[number] = (word != "no", f"said {word}")
            if word == "late":
                self._slow.add(number)
        return taken(number, f"202 {word}", accepted=False)

    def refuse(self, status, word):
        body = {"message": REFUSALS.get(status, "error"), "took": 0.01, "requestId": str(uuid.uuid4())}
        headers = dict(JSON)
        if status == 429:
            headers |= {"X-RateLimit-State": "THROTTLED", "X-RateLimit-Reason": "ACCOUNT", "X-RateLimit-Period-In-Sec": word or "60"}
        elif word:
            body["errors"] = {"reason": word}
        return Reply(False, status, headers, json.dumps(body).encode(), f"{status} {word}", "")

    def reset(self):
        """What was told stays."""

    def _decide(self, request):
        if not request.headers.get("Authorization", "").startswith("GenieKey "):
            raise Refused(401, "key")
        asked = REQUEST.fullmatch(request.path)
        if asked:
            return self._tell(request, asked[1])
        body = decode(request.body) if media_type(request) == "application/json" else None
        if not isinstance(body, dict):
            raise Refused(422, "body")
        for name, most in LIMITS.items():
            if not isinstance(body.get(name, ""), str) or len(body.get(name, "")) > most:
                raise Refused(422, name)
        key = self.key(request)
        if request.path == "/v2/alerts" and request.method == "POST":
            return self._create(key, body)
        act = ACT.fullmatch(request.path)
        edit = act and act[2] in ("message", "description")
        if not act or request.method != ("PUT" if edit else "POST"):
            raise Refused(404, "path")
        if edit and not body.get(act[2], "").strip():
            raise Refused(422, act[2])
        if request.query.get("identifierType") != ["alias"]:
            raise Refused(422, "identifierType")
        return self._act(key, act[1], act[2], body)

    def _tell(self, request, number):
        with self._lock:
            if request.method != "GET" or request.body or number not in self._ends or number in self._slow:
                self._slow.discard(number)
                raise Refused(404, "Request not found. It might not be processed, yet.")
            done, words = self._ends[number]
        data = {"success": done, "isSuccess": done, "action": "x", "processedAt": "2026-01-02T03:04:05Z", "status": words}
        return Reply(False, 200, JSON, json.dumps({"data": data, "took": 0.01, "requestId": "r"}).encode(), words, "")

    def _create(self, key, body):
        check_alert(body)
        with self._lock:
            fresh = {"status": "closed", "message": "", "count": 0, "alerts": 0}
            alert = self.alerts.setdefault((key, body.get("alias") or str(uuid.uuid4())), fresh)
            if alert["status"] == "closed":
                alert |= {"status": "open", "alerts": alert["alerts"] + 1, "count": 0, "acknowledged": False}
            alert["count"] += 1
            # As there: what is open keeps its words, only the count goes up.
            if alert["count"] == 1:
                alert |= {name: body.get(name) for name in ("message", "description", "priority", "tags", "details")}
            return self._done(True, "Created alert", f"{alert['message']}\n{body.get('description', '')}")

    def _act(self, key, alias, act, body):
        with self._lock:
            alert = self.alerts.get((key, alias))
            if not alert or alert["status"] == "closed":
                return self._done(False, "Alert does not exist", f"{act}: nothing is open")
            if act == "close":
                alert["status"] = "closed"
            elif act == "acknowledge":
                alert["acknowledged"] = True
            elif act in ("message", "description"):
                alert[act] = body[act]
            return self._done(True, f"{act} done", f"{act}: {alert['message']}")

    def _done(self, done, words, text):
        number = str(uuid.uuid4())
        self._ends[number] = (done, words)
        return taken(number, words, text=text)


def taken(number, answer, text="", accepted=True):
    body = {"result": "Request will be processed", "took": 0.1, "requestId": number}
    return Reply(accepted, 202, JSON, json.dumps(body).encode(), answer, text)


def check_alert(body):
    def need(good, name):
        if not good:
            raise Refused(422, name)

    need(body.get("message", "").strip(), "message")
    need(body.get("priority", "P3") in ("P1", "P2", "P3", "P4", "P5"), "priority")
    tags, details, responders = body.get("tags", []), body.get("details", {}), body.get("responders", [])
    need(isinstance(tags, list) and len(tags) <= 20 and all(isinstance(t, str) and 0 < len(t) <= 50 for t in tags), "tags")
    need(isinstance(details, dict) and all(isinstance(v, str) for v in details.values()), "details")
    need(sum(len(k) + len(v) for k, v in details.items()) <= 8000, "details")
    need(isinstance(responders, list) and all(r.get("type") in RESPONDERS and len(r) > 1 for r in responders), "responders")
