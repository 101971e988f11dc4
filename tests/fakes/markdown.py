"""Markdown the way a chat's client shows it, as far as messages use it."""

import html
import re

INVISIBLE = "\u200b"


def read_markdown(text, backslash=False):
    """`backslash`: one in front of a sign takes its meaning. Entities show as their character."""
    kept = []

    def keep(match):
        kept.append(match[1])
        return f"\x00{len(kept) - 1}\x00"

    if backslash:
        text = re.sub(r"\\([!-/:-@\[-`{-~])", keep, text)
    text = re.sub(r"\[([^\]]*)\]\(<?([^)>]*)>?\)", lambda m: f"{m[1]} <{m[2]}>", text)
    text = re.sub(r"^#{1,6} +", "", text, flags=re.M)
    text = re.sub(r"^> ?", "", text, flags=re.M)
    text = re.sub(r"\*\*(.+?)\*\*|`([^`\n]+)`", lambda m: m[1] or m[2], text)
    text = re.sub(r"(?<!\w)_([^_\n]+)_(?!\w)", r"\1", text)
    text = re.sub(r" +$", "", text, flags=re.M)
    text = re.sub("\x00(\\d+)\x00", lambda m: kept[int(m[1])], text)
    return (text if backslash else html.unescape(text)).replace(INVISIBLE, "")
