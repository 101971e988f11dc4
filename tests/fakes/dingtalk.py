"""DingTalk group robot: always HTTP 200, the verdict is `errcode` in the body.

A token that begins with `signed` has a secret, SEC and the token. Who sends a 21st message within a minute is locked
out for ten.
"""

import base64
import collections
import hashlib
import hmac
import json
import threading
import time

from markdown import read_markdown
from reply import JSON, Reply, decode, media_type

MAX_BODY = 20_000
RATE, WINDOW_S, LOCKED_S = 20, 60, 600
SIGNED_FOR_S = 3600

MESSAGES = {
    0: "ok",
    -1: "system busy",
    40035: "缺少参数 json",
    43002: "require POST method",
    43004: "invalid content-type",
    130101: "send too fast, exceed 20 times per minute",
    300005: "token is not exist",
    310000: "sign not match",
    400013: "group is dissolved",
    400102: "robot is stopped",
    400105: "unsupported msgtype",
    400106: "robot is not found",
    410100: "send too fast, exceed 20 times per minute",
}
# What the gateway in front says, with an errcode or without one.
GATEWAY = {"status": 1111, "wait": 5, "source": "x5", "punish": "deny", "uuid": "fake"}


class Refused(Exception):
    def __init__(self, code, gateway=False):
        super().__init__(code)
        self.code = code
        self.gateway = gateway


class Dingtalk:
    channel = "dingtalk"
    prefix = "/robot/"

    def __init__(self, clock=time.time):
        self._clock = clock
        self._lock = threading.Lock()
        self._sent = collections.defaultdict(collections.deque)
        self._locked = {}

    def key(self, request):
        return request.query.get("access_token", [""])[0]

    def decide(self, request):
        text = ""
        try:
            text = self._check(request)
            self._debit(self.key(request))
        except Refused as refused:
            return error(refused.code, text, GATEWAY if refused.gateway else {})
        return Reply(True, 200, JSON, _body(0, {}), "ok", text)

    def fault(self, word):
        if word == "gateway":
            return Reply(False, 200, JSON, json.dumps(GATEWAY).encode(), "gateway", "")
        return error(int(word), "", {})

    def reset(self):
        with self._lock:
            self._sent.clear()
            self._locked.clear()

    def _check(self, request):
        if request.method != "POST":
            raise Refused(43002)
        token = self.key(request)
        if request.path != "/robot/send" or not token:
            raise Refused(300005)
        if token.startswith("signed"):
            self._check_sign(request, "SEC" + token)
        if media_type(request) != "application/json":
            raise Refused(43004)
        message = decode(request.body)
        if not isinstance(message, dict) or len(request.body) > MAX_BODY:
            raise Refused(40035)
        return _read(message)

    def _check_sign(self, request, secret):
        stamp = request.query.get("timestamp", [""])[0]
        sign = request.query.get("sign", [""])[0]
        want = sign_of(stamp, secret)
        if not stamp.isdigit() or abs(int(stamp) / 1000 - self._clock()) > SIGNED_FOR_S or sign != want:
            raise Refused(310000)

    def _debit(self, key):
        now = self._clock()
        with self._lock:
            if self._locked.get(key, 0) > now:
                raise Refused(130101, gateway=True)
            sent = self._sent[key]
            while sent and sent[0] <= now - WINDOW_S:
                sent.popleft()
            if len(sent) >= RATE:
                self._locked[key] = now + LOCKED_S
                raise Refused(130101)
            sent.append(now)


def sign_of(stamp, secret):
    mac = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256)
    return base64.b64encode(mac.digest()).decode()


def _read(message):
    kind = message.get("msgtype")
    if kind not in ("text", "markdown"):
        raise Refused(400105)
    part = message.get(kind)
    text = part.get("content" if kind == "text" else "text") if isinstance(part, dict) else None
    title = part.get("title", "") if kind == "markdown" and isinstance(part, dict) else "-"
    if not isinstance(text, str) or not text.strip() or not isinstance(title, str) or not title.strip():
        raise Refused(40035)
    at = message.get("at") or {}
    # Only who stands in the text is named.
    names = [n for n in (at.get("atMobiles") or []) + (at.get("atUserIds") or []) if f"@{n}" in text]
    head = " ".join(f"@@{n}" for n in names) + "\n" if names else ""
    return head + (text if kind == "text" else read_markdown(text))


def _body(code, more):
    return json.dumps({**more, "errcode": code, "errmsg": MESSAGES.get(code, "error")}, ensure_ascii=False).encode()


def error(code, text, more):
    return Reply(False, 200, JSON, _body(code, more), f"{code} {MESSAGES.get(code, 'error')}", text)
