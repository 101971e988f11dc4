"""What a fake endpoint decided about one request."""

import base64
import collections
import json

# accepted: would a person have read it; answer: one word or code for the journal.
Reply = collections.namedtuple("Reply", "accepted status headers body answer text")

JSON = {"Content-Type": "application/json; charset=UTF-8"}
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}

Request = collections.namedtuple("Request", "method path query headers body")


def decode(body):
    """JSON as UTF-8 without halves of characters, else None: an escaped lone surrogate is one that was cut."""
    try:
        value = json.loads(body.decode("utf-8"))
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError:
        return None
    return value


def media_type(request):
    return request.headers.get("Content-Type", "").split(";")[0].strip().lower()


def basic_user(request):
    """The user of HTTP basic authentication; "" when there is none."""
    kind, _, pair = request.headers.get("Authorization", "").partition(" ")
    try:
        return base64.b64decode(pair, validate=True).decode().partition(":")[0] if kind == "Basic" else ""
    except ValueError:
        return ""
