"""A Teams workflow's webhook: 202 and no body for an adaptive card, a JSON error for anything else."""

import collections
import json
import re
import threading
import time

from markdown import read_markdown
from reply import JSON, Reply, decode, media_type

PATH = re.compile(r"/workflows/([^/]+)/triggers/manual/paths/invoke")
QUERY = ("api-version", "sp", "sv", "sig")
MAX_BODY = 28 << 10
RATE, WINDOW_S = 4, 1

REFUSALS = {
    400: ("TriggerInputSchemaMismatch", "The input body for trigger 'manual' did not match its schema definition."),
    401: ("DirectApiAuthorizationRequired", "The request must be authenticated only by Shared Access scheme."),
    404: ("WorkflowNotFound", "The workflow could not be found."),
    429: ("TooManyRequests", "Rate limit is exceeded."),
}


class Teams:
    channel = "teams"
    prefix = "/workflows/"

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._sent = collections.defaultdict(collections.deque)

    def key(self, request):
        """The workflow's name."""
        match = PATH.fullmatch(request.path)
        return match[1] if match else ""

    def decide(self, request):
        if not PATH.fullmatch(request.path) or request.method != "POST":
            return self.refuse(404, "")
        if any(not request.query.get(name) for name in QUERY):
            return self.refuse(401, "")
        message = decode(request.body) if media_type(request) == "application/json" else None
        try:
            text = read_card(message)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return self.refuse(400, "")
        if len(request.body) > MAX_BODY:
            return self.refuse(400, "size")
        if not self._debit(self.key(request)):
            return self.refuse(429, "")
        return Reply(True, 202, {}, b"", "202", text)

    def fault(self, word):
        """`connector` as the retired connectors told it, else that text."""
        if word == "connector":
            word = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429"
        return Reply(False, 200, {"Content-Type": "text/plain"}, word.encode(), word, "")

    def refuse(self, status, word):
        """`429:SECONDS`, or the status alone."""
        code, message = REFUSALS.get(status, ("InternalServerError", "error"))
        if word == "size":
            code, message = "RequestEntityTooLarge", "Request Entity too large"
        headers = {**JSON, "Retry-After": word or "2"} if status == 429 else JSON
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        return Reply(False, status, headers, body, f"{status} {code}", "")

    def reset(self):
        with self._lock:
            self._sent.clear()

    def _debit(self, key):
        now = self._clock()
        with self._lock:
            sent = self._sent[key]
            while sent and sent[0] <= now - WINDOW_S:
                sent.popleft()
            sent.append(now)
            return len(sent) <= RATE


def read_card(message):
    """What is shown of the one card; raises when it is none."""
    (attachment,) = message["attachments"]
    card = attachment["content"]
    major, minor = card["version"].split(".")
    if message["type"] != "message" or attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
        raise ValueError
    if card["type"] != "AdaptiveCard" or (int(major), int(minor)) < (1, 2) or not card["body"]:
        raise ValueError
    shown = [read_block(block) for block in card["body"]]
    for action in card.get("actions", []):
        if action["type"] != "Action.OpenUrl" or not re.match(r"https?://", action["url"]):
            raise ValueError
        shown.append(f"{action['title']} <{action['url']}>")
    return "\n".join(shown)


def read_block(block):
    if block["type"] != "TextBlock" or not block["text"] or not isinstance(block["text"], str):
        raise ValueError
    return read_markdown(block["text"], backslash=True)
