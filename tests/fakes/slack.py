"""Slack incoming webhook: plain text answers, the error is one word."""

import html
import json
import re

from reply import PLAIN, Reply, media_type

PATH = re.compile(r"/services/T[^/]*/B[^/]*/([^/]+)")
MAX_BLOCKS, MAX_TOTAL = 50, 13_000
MAX_HEADER, MAX_SECTION, MAX_FIELD = 150, 3_000, 2_000
MAX_PARTS = 10  # fields of a section, elements of a context
SHOWN_CHARS = 40_000

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


class Slack:
    channel = "slack"
    prefix = "/services/"

    def key(self, request):
        """The last part of the path: the webhook's secret, which names it."""
        return request.path.rsplit("/", 1)[-1]

    def decide(self, request):
        try:
            text = self._check(request)
        except Refused as refused:
            word = str(refused)
            return Reply(False, STATUS[word], PLAIN, word.encode(), word, "")
        return Reply(True, 200, PLAIN, b"ok", "ok", text)

    def fault(self, word):
        return Reply(False, 200, PLAIN, word.encode(), word, "")

    def reset(self):
        pass

    def _check(self, request):
        if not PATH.fullmatch(request.path):
            raise Refused("no_service")
        if request.method != "POST" or media_type(request) != "application/json":
            raise Refused("invalid_payload")
        message = _decode(request.body)
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
    if not isinstance(block.get("elements"), list) or not block["elements"]:
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
