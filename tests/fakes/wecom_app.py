"""WeCom app messages: a token for the app's secret, then messages to members. Always HTTP 200, the verdict is `errcode`.

Members whose name begins with `gone` are not members. What is past a member's rate is dropped, and said to be sent.
"""

import collections
import json
import threading
import time

from reply import JSON, Reply, decode, media_type
from wecom import read_markdown

TOKEN, SEND = "/cgi-bin/gettoken", "/cgi-bin/message/send"
MAX_CONTENT = 2048
RATE, WINDOW_S = 30, 60
TOKEN_S = 7200

MESSAGES = {
    0: "ok",
    -1: "system busy",
    40001: "invalid credential",
    40008: "invalid message type",
    40013: "invalid corpid",
    40014: "invalid access_token",
    40056: "invalid agentid",
    42001: "access_token expired",
    43001: "require GET method",
    43002: "require POST method",
    44004: "empty content",
    45009: "api freq out of limit",
    47001: "data format error",
    60020: "not allow to access from your ip",
    81013: "user & party & tag all invalid",
}


class Refused(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


def secret_of(corp):
    return f"secret/of {corp}"


class WecomApp:
    channel = "wecom_app"
    prefix = (TOKEN, SEND)

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = {}  # token: until when
        self._issued = 0
        self._sent = collections.defaultdict(collections.deque)

    def key(self, request):
        """The company, which our tokens begin with."""
        corp = request.query.get("corpid", [""])[0]
        return corp or request.query.get("access_token", [""])[0].rpartition(".")[0]

    def decide(self, request):
        try:
            return self._give(request) if request.path == TOKEN else self._send(request)
        except Refused as refused:
            return error(refused.code)

    def fault(self, code):
        """40014 and 42001 take all tokens back, as WeCom may."""
        if int(code) in (40014, 42001):
            with self._lock:
                self._tokens.clear()
        return error(int(code))

    def reset(self):
        with self._lock:
            self._sent.clear()

    def _give(self, request):
        corp = self.key(request)
        if request.method != "GET":
            raise Refused(43001)
        if not corp:
            raise Refused(40013)
        if request.query.get("corpsecret", [""])[0] != secret_of(corp):
            raise Refused(40001)
        now = self._clock()
        with self._lock:
            mine = [t for t, until in self._tokens.items() if t.rpartition(".")[0] == corp and until > now]
            if not mine:  # as long as one is good, it is given again
                self._issued += 1
                mine = [f"{corp}.{self._issued}"]
                self._tokens[mine[0]] = now + TOKEN_S
            left = int(self._tokens[mine[0]] - now)
        body = {"errcode": 0, "errmsg": "ok", "access_token": mine[0], "expires_in": left}
        return Reply(False, 200, JSON, json.dumps(body).encode(), "token", f"token for {corp}")

    def _send(self, request):
        if request.method != "POST":
            raise Refused(43002)
        self._check_token(request.query.get("access_token", [""])[0])
        message = decode(request.body) if media_type(request) == "application/json" else None
        if not isinstance(message, dict):
            raise Refused(47001)
        if message.get("msgtype") not in ("text", "markdown"):
            raise Refused(40008)
        if not isinstance(message.get("agentid"), int):
            raise Refused(40056)
        content = message.get(message["msgtype"], {}).get("content")
        if not isinstance(content, str) or not content.strip():
            raise Refused(44004)
        return self._deliver(self.key(request), message, content)

    def _check_token(self, token):
        with self._lock:
            until = self._tokens.get(token)
        if until is None:
            raise Refused(40014)
        if until <= self._clock():
            raise Refused(42001)

    def _deliver(self, corp, message, content):
        names = [n for n in message.get("touser", "").split("|") if n]
        gone = [n for n in names if n.startswith("gone")]
        if len(gone) == len(names) and not message.get("toparty") and not message.get("totag"):
            raise Refused(81013)
        dropped = not any([self._debit((corp, name)) for name in names if name not in gone]) and len(names) > len(gone)
        shown = content.encode()[:MAX_CONTENT].decode("utf-8", "ignore")  # cut, not refused
        text = read_markdown(shown) if message["msgtype"] == "markdown" else shown
        body = {"errcode": 0, "errmsg": "ok", "invaliduser": "|".join(gone), "invalidparty": "", "invalidtag": "", "msgid": "m1"}
        return Reply(not dropped, 200, JSON, json.dumps(body).encode(), "dropped" if dropped else "ok", text)

    def _debit(self, member):
        now = self._clock()
        with self._lock:
            sent = self._sent[member]
            while sent and sent[0] <= now - WINDOW_S:
                sent.popleft()
            sent.append(now)
            return len(sent) <= RATE


def error(code):
    message = MESSAGES.get(code, "error")
    return Reply(False, 200, JSON, json.dumps({"errcode": code, "errmsg": message}).encode(), f"{code} {message}", "")
