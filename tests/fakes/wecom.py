"""WeCom group robot: always HTTP 200, the verdict is `errcode` in the body and in a header."""

import collections
import json
import re
import threading
import time

from reply import JSON, Reply, media_type

PATH = "/cgi-bin/webhook/send"
LIMITS = {"text": 2048, "markdown": 4096, "markdown_v2": 4096}
RATE, WINDOW_S = 20, 60

MESSAGES = {
    0: "ok",
    -1: "system busy",
    40008: "invalid message type",
    40033: "invalid charset",
    43002: "require POST method",
    44004: "empty content",
    45009: "api freq out of limit",
    47001: "data format error",
    93000: "invalid webhook url, hint: [1700000000_1_fake], from ip: 127.0.0.1, "
    "more info at https://open.work.weixin.qq.com/devtool/query?e=93000",
}


class Refused(Exception):
    def __init__(self, code, message=None):
        super().__init__(code)
        self.code = code
        self.message = message or MESSAGES.get(code, "error")


class Wecom:
    channel = "wecom"
    prefix = "/cgi-bin/"  # what is not the app's

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._sent = collections.defaultdict(collections.deque)

    def key(self, request):
        return request.query.get("key", [""])[0]

    def decide(self, request):
        text = ""
        try:
            text = self._check(request)
            self._debit(self.key(request))
        except Refused as refused:
            return error(refused.code, refused.message, text)
        return Reply(True, 200, _headers(0, "ok"), _body(0, "ok"), "ok", text)

    def fault(self, code):
        return error(int(code), MESSAGES.get(int(code), "error"), "")

    def reset(self):
        with self._lock:
            self._sent.clear()

    def _check(self, request):
        if request.method != "POST":
            raise Refused(43002)
        if not self.key(request):
            raise Refused(93000)
        if media_type(request) != "application/json":
            raise Refused(47001, "data format error, content type must be application/json")
        message = _decode(request.body)
        kind = message.get("msgtype")
        if kind not in LIMITS:
            raise Refused(40008)
        part = message.get(kind)
        content = part.get("content") if isinstance(part, dict) else None
        if not isinstance(content, str) or not content.strip():
            raise Refused(44004)
        if len(content.encode("utf-8")) > LIMITS[kind]:
            raise Refused(40058, f"{kind}.content exceed max length {LIMITS[kind]}. invalid Request Parameter")
        return _mentions(part) + (content if kind == "text" else read_markdown(content))

    def _debit(self, key):
        now = self._clock()
        with self._lock:
            sent = self._sent[key]
            while sent and sent[0] <= now - WINDOW_S:
                sent.popleft()
            if len(sent) >= RATE:
                raise Refused(45009)
            sent.append(now)


def _decode(body):
    try:
        message = json.loads(body.decode("utf-8"))
        # An escaped lone surrogate is half a character that was cut.
        json.dumps(message, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise Refused(40033) from None
    except ValueError:
        raise Refused(47001) from None
    if not isinstance(message, dict):
        raise Refused(47001)
    return message


def _mentions(part):
    names = list(part.get("mentioned_list") or []) + list(part.get("mentioned_mobile_list") or [])
    return " ".join("@" + name for name in names) + "\n" if names else ""


def read_markdown(content):
    """WeCom's subset of Markdown the way its client shows it."""
    content = re.sub(r"</?font[^>]*>", "", content)
    content = re.sub(r"\[([^\]]*)\]\(([^)]*)\)", lambda m: f"{m[1]} <{m[2]}>", content)
    content = re.sub(r"^#{1,6} +", "", content, flags=re.M)
    content = re.sub(r"^> ?", "", content, flags=re.M)
    return re.sub(r"\*\*(.+?)\*\*|`([^`\n]+)`", lambda m: m[1] or m[2], content)


def _headers(code, message):
    ascii_only = message.encode("ascii", "replace").decode()
    return {**JSON, "Error-Code": str(code), "Error-Msg": ascii_only}


def _body(code, message):
    return json.dumps({"errcode": code, "errmsg": message}).encode()


def error(code, message, text):
    return Reply(False, 200, _headers(code, message), _body(code, message), f"{code} {message}", text)
