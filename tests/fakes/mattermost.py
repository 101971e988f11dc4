"""Mattermost, incoming webhook: the text `ok`, or a JSON error beside the status."""

import json
import re

from markdown import read_markdown
from reply import JSON, PLAIN, Reply, decode, media_type

PATH = re.compile(r"/hooks/([^/]+)")
MAX_TEXT = 16383

REFUSALS = {
    400: "Unable to parse incoming data",
    403: "Incoming webhooks have been disabled by the system admin.",
    404: "Invalid webhook.",
}


class Mattermost:
    channel = "mattermost"
    prefix = "/hooks/"

    def key(self, request):
        return request.path.rsplit("/", 1)[-1]

    def decide(self, request):
        if not PATH.fullmatch(request.path) or request.method != "POST":
            return self.refuse(404, "")
        message = decode(request.body) if media_type(request) == "application/json" else None
        text = message.get("text") if isinstance(message, dict) else None
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
            return self.refuse(400, "")
        return Reply(True, 200, PLAIN, b"ok", "ok", read_markdown(text, backslash=True))

    def fault(self, word):
        return Reply(False, 200, PLAIN, word.encode(), word, "")

    def refuse(self, status, word):
        """`429:SECONDS` until the rate is whole again, or the status alone."""
        if status == 429:
            headers = {**PLAIN, "X-Ratelimit-Limit": "100", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": word or "1"}
            return Reply(False, 429, headers, b"limit exceeded", "429", "")
        body = {"id": "api.incoming_webhook", "message": REFUSALS.get(status, "error"), "status_code": status}
        return Reply(False, status, JSON, json.dumps(body).encode(), f"{status} {body['message']}", "")

    def reset(self):
        pass
