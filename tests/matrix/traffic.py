"""Alerts that each have an id of their own, and what was answered."""

import http.client
import sys
import threading
import time

from lane import ROOT

sys.path.append(str(ROOT / "deploy" / "demo"))
import senders  # noqa: E402

PATIENCE_S = 4  # then a sender hangs up: less than a late broker takes, so that who waits for it is seen (cell.py)
FIRING, RESOLVED = 1, 2


class Traffic:
    """Posts of three shapes, side by side, until it is stopped; all in one service.

    Keyless, as Prometheus posts: several alerts, each a state. Keyed, as Alertmanager posts: one that begins and at once
    ends, so that it ends resolved only in order. Events, of our own form: each post counts, so that a copy would show.
    """

    def __init__(self, lane, service):
        self._port = lane.port("ingest")
        self.service = service
        self.accepted = {"keyless": {}, "keyed": {}, "event": {}}  # id -> status in the end
        self.refused = []  # (id, status), or why there was none
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(s,), daemon=True) for s in ("keyless", "keyed", "event")]

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self

    def count(self):
        return sum(len(ids) for ids in self.accepted.values())

    def _send(self, shape):
        client = senders.Client(f"http://127.0.0.1:{self._port}", timeout=PATIENCE_S)
        n = 0
        while True:
            getattr(self, "_" + shape)(client, f"{self.service}-{shape}-{n:06}")
            n += 1
            if self._stopped.wait(0.05):
                return

    def _labels(self, shape, name):
        return {"name": shape, "service": self.service, "severity": "critical", "instance": name}

    def _keyless(self, client, name):
        names = [f"{name}-{i}" for i in range(4)]
        posts = [senders.postable(starts=time.time(), ends=time.time() + 7200, **self._labels("keyless", n)) for n in names]
        self._post(client, "/api/v2/alerts", posts, "keyless", {n: FIRING for n in names})

    def _keyed(self, client, name):
        starts = time.time()
        group = {"service": self.service, "instance": name}
        begin = senders.alert(starts=starts, **self._labels("keyed", name))
        end = senders.alert(starts=starts, ends=starts + 0.001, **self._labels("keyed", name))
        if self._post(client, "/webhook/alertmanager", senders.alertmanager([begin], group), "keyed", {name: FIRING}):
            self._post(client, "/webhook/alertmanager", senders.alertmanager([end], group), "keyed", {name: RESOLVED})

    def _event(self, client, name):
        body = {"title": "event", "service": self.service, "severity": "critical", "instance": name}
        self._post(client, "/api/v1/alerts", body, "event", {name: FIRING})

    def _post(self, client, path, body, shape, names):
        try:
            status, _ = client.request("POST", path, body)
        except (OSError, http.client.HTTPException) as reason:
            status = repr(reason)
        if status not in (200, 202):
            self.refused.append((sorted(names)[0], status))
            return False
        self.accepted[shape].update(names)
        return True
