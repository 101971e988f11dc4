"""Discord webhook: 204, or 200 and the message where the sender waits for it; messages are kept, so that they can be
edited."""

import json
import re
import threading

from markdown import read_markdown
from reply import JSON, Reply, decode, media_type

PATH = re.compile(r"/api/webhooks/(\d+)/([^/]+)(?:/messages/(\d+))?")
MAX_CONTENT, MAX_EMBEDS, MAX_TITLE, MAX_DESCRIPTION, MAX_TOTAL = 2000, 10, 256, 4096, 6000

REFUSALS = {
    400: ("Invalid Form Body", 50035),
    401: ("401: Unauthorized", 0),
    403: ("Missing Permissions", 50013),
    404: ("Unknown Webhook", 10015),
}


class Refused(Exception):
    def __init__(self, status, message, code):
        super().__init__(message)
        self.status = status
        self.code = code


class Discord:
    channel = "discord"
    prefix = "/api/webhooks/"

    def __init__(self):
        self._lock = threading.Lock()
        self._sent = {}  # message: webhook's token

    def key(self, request):
        """The webhook's token."""
        match = PATH.fullmatch(request.path)
        return match[2] if match else ""

    def decide(self, request):
        try:
            text = self._check(request)
            number = self._take(request)
        except Refused as refused:
            return error(refused.status, str(refused), refused.code)
        if request.method == "POST" and request.query.get("wait") != ["true"]:
            return Reply(True, 204, {}, b"", "ok", text)
        return Reply(True, 200, JSON, json.dumps({"id": number, "channel_id": "1"}).encode(), "ok", text)

    def fault(self, word):
        return Reply(False, 200, JSON, json.dumps({"message": word}).encode(), word, "")

    def refuse(self, status, word):
        """`429:SECONDS`, or the status alone."""
        if status != 429:
            return error(status, *REFUSALS.get(status, ("error", 0)))
        body = {"message": "You are being rate limited.", "retry_after": float(word or 0.5), "global": False}
        headers = {**JSON, "Retry-After": str(int(word or 1)), "X-RateLimit-Scope": "user"}
        return Reply(False, 429, headers, json.dumps(body).encode(), "429", "")

    def reset(self):
        """What was sent stays."""

    def _check(self, request):
        match = PATH.fullmatch(request.path)
        if not match or (request.method == "PATCH") != bool(match[3]) or request.method not in ("POST", "PATCH"):
            raise Refused(404, "404: Not Found", 0)
        message = decode(request.body) if media_type(request) == "application/json" else None
        if not isinstance(message, dict):
            raise Refused(400, "The request body contains invalid JSON.", 50109)
        content, embeds = message.get("content") or "", message.get("embeds") or []
        parts = [(e.get("title") or "", e.get("description") or "") for e in embeds]
        good = (
            len(content) <= MAX_CONTENT
            and len(embeds) <= MAX_EMBEDS
            and all(len(t) <= MAX_TITLE and len(d) <= MAX_DESCRIPTION for t, d in parts)
            and sum(len(t) + len(d) for t, d in parts) <= MAX_TOTAL
        )
        if not good:
            raise Refused(400, *REFUSALS[400])
        shown = [content, *(s for part in parts for s in part)]
        text = "\n".join(read_markdown(s, backslash=True) for s in shown if s)
        if not text.strip():
            raise Refused(400, "Cannot send an empty message", 50006)
        return text

    def _take(self, request):
        number = PATH.fullmatch(request.path)[3]
        with self._lock:
            if not number:
                number = str(1000 + len(self._sent))
                self._sent[number] = self.key(request)
            elif self._sent.get(number) != self.key(request):
                raise Refused(404, "Unknown Message", 10008)
        return number


def error(status, message, code):
    body = json.dumps({"message": message, "code": code}).encode()
    return Reply(False, status, JSON, body, f"{status} {message}", "")
