"""What a fake endpoint decided about one request."""

import collections

# accepted: would a person have read it; answer: one word or code for the journal.
Reply = collections.namedtuple("Reply", "accepted status headers body answer text")

JSON = {"Content-Type": "application/json; charset=UTF-8"}
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}

Request = collections.namedtuple("Request", "method path query headers body")


def media_type(request):
    return request.headers.get("Content-Type", "").split(";")[0].strip().lower()
