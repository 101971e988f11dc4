"""Slack. Incoming webhook: plain text answers, the error is one word. Web API: the error is a word under HTTP 200, and
messages are kept, so that they can be edited and answered."""

import hashlib
import hmac
import html
import json
import math
import re
import threading
import time
import urllib.parse

from reply import JSON, PLAIN, Reply, media_type

PATH = re.compile(r"/services/T[^/]*/B[^/]*/([^/]+)")
MAX_BLOCKS, MAX_TOTAL = 50, 13_000
MAX_HEADER, MAX_SECTION, MAX_FIELD = 150, 3_000, 2_000
MAX_PARTS = 10  # fields of a section, elements of a context
MAX_BUTTONS, MAX_BUTTON, MAX_VALUE = 25, 75, 2_000
SHOWN_CHARS = 40_000
# One message a second. One may come a second early: requests do not arrive as evenly as they leave.
EVERY_S, EARLY_S = 1.0, 1.0

STATUS = {
    "invalid_payload": 400,
    "invalid_blocks": 400,
    "msg_blocks_too_long": 400,
    "no_text": 400,
    "user_not_found": 400,
    "action_prohibited": 403,
    "channel_not_found": 404,
    "no_service": 404,
    "channel_is_archived": 410,
    "rollup_error": 500,
}


class Refused(Exception):
    pass


class Early(Exception):
    """Its argument: in how many seconds it would have been taken."""


def signature(secret, timestamp, body):
    """X-Slack-Signature of a body that is posted."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()


def pressed(button, user="ann", ts="1700000000.000001"):
    """The form that Slack posts when somebody presses this button, an element of the block `actions`."""
    action = {"action_id": button["action_id"], "block_id": "b", "type": "button", "value": button["value"], "action_ts": ts}
    payload = {"type": "block_actions", "user": {"id": "U1", "username": user, "name": user, "team_id": "T1"}, "actions": [action]}
    payload |= {"api_app_id": "A1", "trigger_id": "1.2", "response_url": "https://hooks.slack.com/actions/T1/1/x"}
    return urllib.parse.urlencode({"payload": json.dumps(payload)}).encode()


class Slack:
    channel = "slack"
    prefix = "/services/"

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._next = {}  # key: when the next message would be on time

    def key(self, request):
        """The last part of the path: the webhook's secret, which names it."""
        return request.path.rsplit("/", 1)[-1]

    def decide(self, request):
        try:
            text = self._check(request)
            self._debit(self.key(request))
        except Refused as refused:
            word = str(refused)
            return Reply(False, STATUS[word], PLAIN, word.encode(), word, "")
        except Early as early:
            headers = {**PLAIN, "Retry-After": str(math.ceil(early.args[0]))}
            return Reply(False, 429, headers, b"rate_limited", "429", "")
        return Reply(True, 200, PLAIN, b"ok", "ok", text)

    def fault(self, word):
        return Reply(False, 200, PLAIN, word.encode(), word, "")

    def refuse(self, status, word):
        """With the vendor's word, as `410:channel_is_archived`; `429:SECONDS`; or the status alone."""
        if STATUS.get(word) == status:
            return Reply(False, status, PLAIN, word.encode(), word, "")
        headers = {**PLAIN, "Retry-After": word or "2"} if word or status == 429 else PLAIN
        return Reply(False, status, headers, b"rate_limited" if status == 429 else b"fault on demand", str(status), "")

    def reset(self):
        with self._lock:
            self._next.clear()

    def _debit(self, key):
        now = self._clock()
        with self._lock:
            due = max(now, self._next.get(key, now))
            if due - now > EARLY_S:
                raise Early(due - now - EARLY_S)
            self._next[key] = due + EVERY_S

    def _check(self, request):
        if not PATH.fullmatch(request.path):
            raise Refused("no_service")
        if request.method != "POST" or media_type(request) != "application/json":
            raise Refused("invalid_payload")
        return _read_message(_decode(request.body))


class SlackApi:
    """chat.postMessage and chat.update of a bot that is in every channel but `#elsewhere`."""

    channel = "slack_bot"
    prefix = "/api/chat."

    def __init__(self):
        self._lock = threading.Lock()
        self._sent = {}  # (token, channel's id): {ts: the thread's ts}

    def key(self, request):
        """The bot's token."""
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def decide(self, request):
        try:
            message = self._check(request)
            text = _read_message(message)
            where, ts = self._take(self.key(request), request.path.rsplit(".", 1)[-1], message)
        except Refused as refused:
            return self.fault(str(refused))
        body = {"ok": True, "channel": where, "ts": ts, "message": {}}
        return Reply(True, 200, JSON, json.dumps(body).encode(), "ok", text)

    def fault(self, word):
        body = {"ok": False, "error": word}
        if word == "missing_scope":
            body["needed"] = "chat:write"
        return Reply(False, 200, JSON, json.dumps(body).encode(), word, "")

    def refuse(self, status, word):
        """`429:SECONDS`, or the status alone."""
        reply = self.fault("ratelimited" if status == 429 else "internal_error")
        headers = {**JSON, "Retry-After": word or "2"} if status == 429 else JSON
        return reply._replace(status=status, headers=headers, answer=str(status))

    def reset(self):
        """What was sent stays."""

    def _check(self, request):
        if request.path not in ("/api/chat.postMessage", "/api/chat.update"):
            raise Refused("unknown_method")
        if not self.key(request):
            raise Refused("not_authed")
        if not re.fullmatch(r"xoxb-[\w-]+", self.key(request)):
            raise Refused("invalid_auth")
        if request.method != "POST" or media_type(request) != "application/json":
            raise Refused("invalid_post_type")
        message = _decode(request.body)
        for name in ("channel", "ts", "thread_ts", "text"):
            if not isinstance(message.get(name, ""), str):
                raise Refused("invalid_arguments")
        for name in ("username", "icon_emoji", "icon_url"):
            if name in message and request.path.endswith("update"):
                raise Refused("invalid_arguments")
        return message

    def _take(self, token, method, message):
        name = message.get("channel", "")
        if not name or name == "#elsewhere":
            raise Refused("channel_not_found")
        where = "C0" + name[1:].upper() if name.startswith("#") else name
        with self._lock:
            sent = self._sent.setdefault((token, where), {})
            if method == "update":
                # An id alone names what was posted; a name does not.
                if name.startswith("#"):
                    raise Refused("channel_not_found")
                if message.get("ts") not in sent:
                    raise Refused("message_not_found")
                return where, message["ts"]
            thread = message.get("thread_ts")
            if thread is not None and thread not in sent:
                raise Refused("thread_not_found")
            ts = f"1700000000.{len(sent) + 1:06}"
            sent[ts] = thread
            return where, ts


def _read_message(message):
    blocks = message.get("blocks") or []
    _check_blocks(blocks)
    shown = [_read_block(b) for b in blocks]
    shown += [_read_attachment(a) for a in message.get("attachments") or []]
    text = message.get("text")
    if text is not None and not isinstance(text, str):
        raise Refused("invalid_payload")
    # With blocks the text is only the notification's preview.
    lines = [s for s in shown if s] or ([read_mrkdwn(text)[:SHOWN_CHARS]] if text else [])
    if not lines:
        raise Refused("no_text")
    return "\n".join(lines)


def _decode(body):
    try:
        message = json.loads(body.decode("utf-8"))
        json.dumps(message, ensure_ascii=False).encode("utf-8")
    except ValueError:
        raise Refused("invalid_payload") from None
    if not isinstance(message, dict):
        raise Refused("invalid_payload")
    return message


def _check_blocks(blocks):
    if not isinstance(blocks, list) or len(blocks) > MAX_BLOCKS:
        raise Refused("invalid_blocks")
    for block in blocks:
        if not isinstance(block, dict) or block.get("type") not in CHECKS:
            raise Refused("invalid_blocks")
        CHECKS[block["type"]](block)
    if sum(len(_read_block(b)) for b in blocks) > MAX_TOTAL:
        raise Refused("msg_blocks_too_long")


def _check_text(part, limit, kinds=("mrkdwn", "plain_text")):
    good = (
        isinstance(part, dict)
        and part.get("type") in kinds
        and isinstance(part.get("text"), str)
        and 0 < len(part["text"]) <= limit
    )
    if not good:
        raise Refused("invalid_blocks")


def _check_header(block):
    _check_text(block.get("text"), MAX_HEADER, ("plain_text",))


def _check_section(block):
    if "text" in block:
        _check_text(block["text"], MAX_SECTION)
    elif not block.get("fields"):
        raise Refused("invalid_blocks")
    _check_parts(block.get("fields") or [])


def _check_context(block):
    if not block.get("elements"):
        raise Refused("invalid_blocks")
    _check_parts(block["elements"])


def _check_parts(parts):
    if len(parts) > MAX_PARTS:
        raise Refused("invalid_blocks")
    for part in parts:
        _check_text(part, MAX_FIELD)


def _check_actions(block):
    elements = block.get("elements")
    if not isinstance(elements, list) or not 0 < len(elements) <= MAX_BUTTONS:
        raise Refused("invalid_blocks")
    for element in elements:
        _check_text(element.get("text"), MAX_BUTTON, ("plain_text",))
        if len(element.get("value", "")) > MAX_VALUE:
            raise Refused("invalid_blocks")
    ids = [e.get("action_id") for e in elements]
    if len(set(ids)) != len(ids):
        raise Refused("invalid_blocks")


CHECKS = {
    "header": _check_header,
    "section": _check_section,
    "context": _check_context,
    "actions": _check_actions,
    "divider": lambda block: None,
}


def _read_block(block):
    if block["type"] == "divider":
        return "──────────"
    if block["type"] == "actions":
        return "  ".join(f"[ {e.get('text', {}).get('text', '?')} ]" for e in block["elements"])
    parts = [block["text"]] if "text" in block else []
    parts += block.get("fields") or block.get("elements") or []
    return "\n".join(_read_text(p) for p in parts)


def _read_text(part):
    return read_mrkdwn(part["text"]) if part["type"] == "mrkdwn" else part["text"]


def _read_attachment(attachment):
    parts = [attachment.get(k) for k in ("pretext", "title", "text")]
    return "\n".join(read_mrkdwn(p) for p in parts if p) or read_mrkdwn(attachment.get("fallback") or "")


def read_mrkdwn(text):
    """Slack's mark-up the way its client shows it."""
    text = re.sub(r"<([^|>]+)\|([^>]*)>", lambda m: f"{m[2]} <{m[1]}>", text)
    text = re.sub(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])", r"\1", text)
    text = re.sub(r"^(>|&gt;) ?", "", text, flags=re.M)
    return html.unescape(text.replace("`", ""))
