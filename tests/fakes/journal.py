"""What reached the fakes: kept in memory for tests, appended to a file, shown to a person."""

import datetime
import json
import sys
import threading


class Journal:
    """Thread-safe list of records, numbered from 1 in the order in which they were decided."""

    def __init__(self, path=None, show=False):
        self._lock = threading.Lock()
        self._records = []
        self._file = open(path, "a", encoding="utf-8") if path else None
        self._show = show

    def add(self, channel, endpoint, accepted, answer, text, raw):
        """`raw` is bytes; undecodable ones survive as backslash escapes."""
        now = datetime.datetime.now(datetime.timezone.utc)
        record = {
            "time": now.isoformat(timespec="milliseconds"),
            "channel": channel,
            "endpoint": endpoint,
            "accepted": accepted,
            "answer": answer,
            "text": text,
            "raw": raw.decode("utf-8", "backslashreplace"),
        }
        with self._lock:
            record["seq"] = len(self._records) + 1
            self._records.append(record)
            if self._file:
                self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
                self._file.flush()
            if self._show:
                sys.stdout.write(for_people(record))
                sys.stdout.flush()
        return record

    def since(self, seq):
        with self._lock:
            return self._records[seq:]

    def close(self):
        if self._file:
            self._file.close()


def for_people(record):
    """One record as a block of text: who was told, what, and what the endpoint said."""
    mark = "✓" if record["accepted"] else "✗"
    clock = datetime.datetime.fromisoformat(record["time"]).astimezone().strftime("%H:%M:%S")
    head = f"{mark} {clock}  {record['channel']}  {record['endpoint']}  → {record['answer']}"
    body = "\n".join("  │ " + line for line in record["text"].splitlines())
    return f"{head}\n{body}\n\n" if body else f"{head}\n\n"
