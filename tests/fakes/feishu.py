"""Feishu and Lark, custom bot: the verdict is `code` in the body of an HTTP 200.

A token that begins with `signed` has a secret, SEC and the token; one that begins with `old` answers in the old form.
"""

import base64
import collections
import hashlib
import hmac
import json
import re
import threading
import time

from markdown import read_markdown
from reply import JSON, Reply, decode, media_type

PATH = re.compile(r"/open-apis/bot/v2/hook/([^/]+)")
MAX_BODY = 20 << 10
RATES = ((5, 1), (100, 60))  # messages, seconds
SIGNED_FOR_S = 3600
COLOURS = {"blue", "green", "orange", "red"}

MESSAGES = {
    9499: "Bad Request",
    11232: "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]",
    19001: "param invalid: incoming webhook access token invalid",
    19021: "sign match fail or timestamp is not within one hour from current time",
    19022: "Ip Not Allowed",
    19024: "Key Words Not Found",
}


class Refused(Exception):
    pass


class Feishu:
    channel = "feishu"
    prefix = "/open-apis/"

    def __init__(self, clock=time.time):
        self._clock = clock
        self._lock = threading.Lock()
        self._sent = collections.defaultdict(collections.deque)

    def key(self, request):
        return request.path.rsplit("/", 1)[-1]

    def decide(self, request):
        text = ""
        try:
            text = self._check(request)
            self._debit(self.key(request))
        except Refused as refused:
            return error(int(str(refused)), text)
        body = {"StatusCode": 0, "StatusMessage": "success"}
        if not self.key(request).startswith("old"):
            body.update({"code": 0, "data": {}, "msg": "success"})
        return Reply(True, 200, JSON, json.dumps(body).encode(), "ok", text)

    def fault(self, word):
        return error(int(word), "")

    def reset(self):
        with self._lock:
            self._sent.clear()

    def _check(self, request):
        if not PATH.fullmatch(request.path):
            raise Refused(19001)
        if request.method != "POST" or media_type(request) != "application/json" or len(request.body) > MAX_BODY:
            raise Refused(9499)
        message = decode(request.body)
        if not isinstance(message, dict):
            raise Refused(9499)
        if self.key(request).startswith("signed"):
            self._check_sign(message, "SEC" + self.key(request))
        return _read(message)

    def _check_sign(self, message, secret):
        stamp = message.get("timestamp")
        if not isinstance(stamp, str) or not stamp.isdigit() or message.get("sign") != sign_of(stamp, secret):
            raise Refused(19021)
        if abs(int(stamp) - self._clock()) > SIGNED_FOR_S:
            raise Refused(19021)

    def _debit(self, key):
        now = self._clock()
        with self._lock:
            sent = self._sent[key]
            while sent and sent[0] <= now - RATES[-1][1]:
                sent.popleft()
            for most, seconds in RATES:
                if sum(at > now - seconds for at in sent) >= most:
                    raise Refused(11232)
            sent.append(now)


def sign_of(stamp, secret):
    mac = hmac.new(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256)
    return base64.b64encode(mac.digest()).decode()


def _read(message):
    if message.get("msg_type") == "text":
        return _text((message.get("content") or {}).get("text"))
    if message.get("msg_type") != "interactive":
        raise Refused(9499)
    try:
        card = message["card"]
        title, colour = card["header"]["title"], card["header"]["template"]
        parts = [(e["tag"], e["content"]) for e in card["elements"]]
    except (KeyError, TypeError):
        raise Refused(9499) from None
    if title.get("tag") != "plain_text" or colour not in COLOURS or any(tag != "markdown" for tag, _ in parts):
        raise Refused(9499)
    return "\n".join([_text(title.get("content")), *(read_markdown(_text(content)) for _, content in parts)])


def _text(value):
    if not isinstance(value, str) or not value.strip():
        raise Refused(9499)
    return value


def error(code, text):
    body = {"code": code, "msg": MESSAGES.get(code, "error"), "data": {}}
    return Reply(False, 200, JSON, json.dumps(body).encode(), f"{code} {body['msg']}", text)
