"""Sentry's API for what is written back: comments on issues and their status. The same words twice within an hour are refused."""

import json
import re
import threading
import time

from reply import JSON, Reply, decode, media_type

PATH = re.compile(r"/api/0/organizations/([\w-]+)/issues/(\d+)/(?:(comments|notes)/)?")
STATES = ("resolved", "resolvedInNextRelease", "unresolved", "ignored")
HOUR_S = 3600

REFUSALS = {401: "Invalid token", 403: "You do not have permission to perform this action.", 404: "The requested resource does not exist"}


class Refused(Exception):
    def __init__(self, status, detail):
        super().__init__(detail)
        self.status = status


class Sentry:
    channel = "sentry"
    prefix = "/api/0/"

    def __init__(self, clock=time.time):
        self._lock = threading.Lock()
        self._clock = clock
        self.issues = {}  # id: {"status", "comments": [(when, text)]}

    def key(self, request):
        """The token, and the method: `TOKEN/POST`."""
        return f"{request.headers.get('Authorization', '').removeprefix('Bearer ')}/{request.method}"

    def decide(self, request):
        try:
            with self._lock:
                return self._answer(request)
        except Refused as refused:
            return error(refused.status, str(refused), {})

    def fault(self, word):
        return Reply(False, 200, {"Content-Type": "text/html"}, b"<html>log in</html>", word, "")

    def refuse(self, status, word):
        """`429:SECONDS`: by a header that names the moment; or the status alone."""
        if status != 429:
            return error(status, REFUSALS.get(status, "error"), {})
        reset = str(int(self._clock()) + int(word or 1))
        limits = {"Limit": "40", "Remaining": "0", "Reset": reset, "ConcurrentLimit": "25", "ConcurrentRemaining": "25"}
        return error(429, "You are attempting to use this endpoint too frequently.", {f"X-Sentry-Rate-Limit-{k}": v for k, v in limits.items()})

    def reset(self):
        """What was written stays."""

    def _answer(self, request):
        if not re.fullmatch(r"Bearer \S+", request.headers.get("Authorization", "")):
            raise Refused(401, REFUSALS[401])
        match = PATH.fullmatch(request.path)
        body = decode(request.body) if media_type(request) == "application/json" else None
        if not match or not isinstance(body, dict):
            raise Refused(404 if not match else 400, REFUSALS[404])
        issue = self.issues.setdefault(match[2], {"status": "unresolved", "comments": []})
        if match[3] and request.method == "POST":
            return self._comment(issue, body)
        if not match[3] and request.method == "PUT":
            if body.get("status") not in STATES:
                raise Refused(400, "status: not a valid choice")
            issue["status"] = body["status"]
            return Reply(True, 200, JSON, json.dumps({"id": match[2], "status": body["status"]}).encode(), body["status"], f"issue {match[2]}: {body['status']}")
        raise Refused(405, "method")

    def _comment(self, issue, body):
        text, now = body.get("text"), self._clock()
        if not isinstance(text, str) or not text.strip():
            raise Refused(400, "This field may not be blank.")
        if any(said == text and now - when < HOUR_S for when, said in issue["comments"]):
            raise Refused(400, "You have already posted that comment.")
        issue["comments"].append((now, text))
        return Reply(True, 201, JSON, json.dumps({"id": "1", "type": "note", "data": {"text": text}}).encode(), "comment", text)


def error(status, detail, headers):
    return Reply(False, status, {**JSON, **headers}, json.dumps({"detail": detail}).encode(), f"{status} {detail}", "")
