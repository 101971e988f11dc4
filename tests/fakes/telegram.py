"""Telegram's Bot API: `ok` in the body, and the status the same as `error_code`.

Messages are kept, so that they can be edited.
"""

import collections
import html
import json
import re
import threading

from reply import JSON, Reply, decode, media_type

PATH = re.compile(r"/bot([^/]+)/(sendMessage|editMessageText)")
MAX_TEXT = 4096
TAGS = {"a", "b", "blockquote", "code", "del", "em", "i", "ins", "pre", "s", "span", "strike", "strong", "u"}
TAG = re.compile(r"<(/?)([a-z]+)((?: [a-z]+=\"[^\"<>]*\")*)>")

# By status: what stands behind "STATUS:" of an ordered answer.
REFUSALS = {
    400: "Bad Request: chat not found",
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    500: "Internal Server Error",
}


class Refused(Exception):
    def __init__(self, status, description, **parameters):
        super().__init__(description)
        self.status = status
        self.parameters = parameters


class Telegram:
    channel = "telegram"
    prefix = "/bot"

    def __init__(self):
        self._lock = threading.Lock()
        self._chats = collections.defaultdict(dict)

    def key(self, request):
        """The bot's token."""
        match = PATH.fullmatch(request.path)
        return match[1] if match else ""

    def decide(self, request):
        try:
            message, text = self._check(request)
            number = self._take(request, message, text)
        except Refused as refused:
            return error(refused.status, str(refused), refused.parameters)
        kind = "group" if str(message["chat_id"]).startswith("-") else "private"
        result = {"message_id": number, "date": 1, "chat": {"id": message["chat_id"], "type": kind}}
        return Reply(True, 200, JSON, json.dumps({"ok": True, "result": result}).encode(), "ok", text)

    def fault(self, word):
        return error(200, word, {})

    def refuse(self, status, word):
        """`429:SECONDS`, `400:migrate` to chat -1009, `400:too-long`, or the status alone."""
        if status == 429:
            wait = int(word or 2)
            return error(429, f"Too Many Requests: retry after {wait}", {"retry_after": wait})
        if word == "migrate":
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            return error(status, text, {"migrate_to_chat_id": -1009})
        if word == "too-long":
            return error(status, "Bad Request: message is too long", {})
        return error(status, REFUSALS.get(status, "error"), {})

    def reset(self):
        """What was sent stays."""

    def _check(self, request):
        match = PATH.fullmatch(request.path)
        if not match:
            raise Refused(404, "Not Found")
        if request.method != "POST" or media_type(request) != "application/json":
            raise Refused(400, "Bad Request: message text is empty")
        message = decode(request.body)
        if not isinstance(message, dict):
            raise Refused(400, "Bad Request: can't parse JSON object")
        if not isinstance(message.get("chat_id"), (int, str)) or message["chat_id"] == "":
            raise Refused(400, "Bad Request: chat_id is empty")
        text = message.get("text")
        if not isinstance(text, str) or not text.strip():
            raise Refused(400, "Bad Request: message text is empty")
        if message.get("parse_mode") not in (None, "HTML"):
            raise Refused(400, "Bad Request: unsupported parse_mode")
        shown = read_html(text) if message.get("parse_mode") else text
        if utf16(shown) > MAX_TEXT:
            raise Refused(400, "Bad Request: message is too long")
        return message, shown

    def _take(self, request, message, text):
        chat = self._chats[(self.key(request), str(message["chat_id"]))]
        with self._lock:
            if not request.path.endswith("/editMessageText"):
                chat[len(chat) + 1] = text
                return len(chat)
            number = message.get("message_id")
            if number not in chat:
                raise Refused(400, "Bad Request: message to edit not found")
            if chat[number] == text:
                raise Refused(400, "Bad Request: message is not modified: specified new message content is the same")
            chat[number] = text
            return number


def utf16(text):
    return len(text.encode("utf-16-le")) // 2


def read_html(text):
    """What is shown of Telegram's HTML; as strict as its parser."""
    shown, opened, at = [], [], 0
    while at < len(text):
        if text[at] != "<":
            end = text.find("<", at)
            end = len(text) if end < 0 else end
            shown.append(html.unescape(text[at:end]))
            at = end
            continue
        tag = TAG.match(text, at)
        if not tag or tag[2] not in TAGS:
            raise Refused(400, f"Bad Request: can't parse entities: Unsupported start tag at byte offset {at}")
        at = tag.end()
        if not tag[1]:
            opened.append(tag[2])
        elif not opened or opened.pop() != tag[2]:
            raise Refused(400, f"Bad Request: can't parse entities: Unmatched end tag at byte offset {at}")
    if opened:
        raise Refused(400, f"Bad Request: can't parse entities: Can't find end tag corresponding to start tag {opened[-1]}")
    return "".join(shown)


def error(status, description, parameters):
    body = {"ok": False, "error_code": status, "description": description}
    headers = dict(JSON)
    if parameters:
        body["parameters"] = parameters
    if "retry_after" in parameters:
        headers["Retry-After"] = str(parameters["retry_after"])
    return Reply(False, status, headers, json.dumps(body).encode(), f"{status} {description}", "")
