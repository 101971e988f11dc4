"""What the channels were told, read back from the fakes' journal."""

import collections
import json
import re

from http_fake import HttpFake

LINK = re.compile(r"#/incidents/([0-9a-f-]{36})")

# One message that a channel took. notification: only where the payload carries it; status: of a webhook.
Message = collections.namedtuple("Message", "channel receiver notification incident status sequence")


class Sink:
    def __init__(self, port):
        self.fake = HttpFake(port)
        self.faults = self.fake.faults

    def start(self):
        self.fake.start()
        return self

    def stop(self):
        self.fake.stop()

    def messages(self):
        """Everything that was accepted, oldest first; also where the answer was lost after it."""
        return [read(r) for r in self.fake.journal.since(0) if r["accepted"]]


def read(record):
    if record["channel"] != "webhook":
        links = LINK.findall(record["text"])
        # A digest tells of several, or of none by its link.
        incident = links[0] if len(set(links)) == 1 and "[Merged]" not in record["text"] else None
        return Message(record["channel"], None, None, incident, None, 0)
    payload = json.loads(record["raw"])
    own = payload["tocsin"]
    incident = own["incident"]["id"] if own.get("incident") else None
    return Message("webhook", payload["receiver"], own["notification_id"], incident, payload["status"], own.get("sequence", 0))
