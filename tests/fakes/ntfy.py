"""ntfy, a message published as JSON to the server's root (here below /ntfy)."""

import json
import re
import threading
import time

from reply import JSON, Reply, decode

TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
MAX_MESSAGE = 4096
MAX_BODY = 2 * MAX_MESSAGE
BURST, EVERY_S = 60, 5  # requests of a visitor

ERRORS = {
    40007: "invalid priority parameter",
    40009: "invalid request: topic invalid",
    40014: "invalid request: attachments not allowed",
    40018: "invalid request: actions invalid",
    40024: "invalid request: request body must be valid JSON",
    40101: "unauthorized",
    40301: "forbidden",
    40401: "page not found",
    41303: "JSON body too large",
    42901: "limit reached: too many requests, please be nice",
    42908: "limit reached: too many messages",
    50001: "internal server error",
}


class Refused(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Ntfy:
    channel = "ntfy"
    prefix = "/ntfy"

    def __init__(self):
        self._lock = threading.Lock()
        self.reset()

    def key(self, request):
        message = decode(request.body)
        return message.get("topic", "*") if isinstance(message, dict) else "*"

    def decide(self, request):
        try:
            message = self._read(request)
        except Refused as refused:
            return self._error(refused.code)
        answer = {"id": "sPs71M8A2T", "time": int(time.time()), "event": "message", "topic": message["topic"], "message": message["message"]}
        lines = [message.get("title", ""), message["message"], " · ".join(f"{a['label']} <{a['url']}>" for a in message.get("actions", []))]
        return Reply(True, 200, JSON, json.dumps(answer).encode(), "ok", "\n".join(line for line in lines if line))

    def _read(self, request):
        if request.path.rstrip("/") != self.prefix or request.method not in ("POST", "PUT"):
            raise Refused(40401)
        if not self._spend():
            raise Refused(42901)
        if len(request.body) > MAX_BODY:
            raise Refused(41303)
        message = decode(request.body)
        if not isinstance(message, dict) or not isinstance(message.get("message"), str):
            raise Refused(40024)
        if not isinstance(message.get("topic"), str) or not TOPIC.fullmatch(message["topic"]):
            raise Refused(40009)
        if message.get("priority", 3) not in range(1, 6):
            raise Refused(40007)
        actions = message.get("actions", [])
        if len(actions) > 3 or not all(a.get("action") == "view" and a.get("label") and a.get("url") for a in actions):
            raise Refused(40018)
        if len(message["message"].encode()) > MAX_MESSAGE:
            raise Refused(40014)
        return message

    def _spend(self):
        with self._lock:
            now = time.monotonic()
            self._left = min(BURST, self._left + (now - self._at) / EVERY_S)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def _error(self, code):
        body = {"code": code, "http": code // 100, "error": ERRORS.get(code, "error")}
        return Reply(False, code // 100, JSON, json.dumps(body).encode(), f"{code} {body['error']}", "")

    def fault(self, word):
        return Reply(False, 200, JSON, word.encode(), word, "")

    def refuse(self, status, word):
        return self._error(int(word) if word else status * 100 + (8 if status == 429 else 1))

    def reset(self):
        with self._lock:
            self._left, self._at = BURST, time.monotonic()
