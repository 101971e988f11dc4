"""Many alerts from several senders at once, that keep what was answered 2xx."""

import http.client
import threading
import time

import senders


class Storm:
    """Posts of Prometheus' shape. A post that got no 2xx is sent again, as Prometheus does: nothing may count twice.

    One anomaly per service; `services` names them, alerts take them in turn. `pause` seconds after each post make it
    last long enough for a test to break something in the middle.
    """

    def __init__(self, stack, services, alerts, per_post=16, workers=4, pause=0.0):
        starts = time.time()
        self._url = stack.ingest_url
        self.alerts = [
            senders.postable("QueueBacklog", starts, starts + 7200, service=services[n % len(services)],
                             severity="critical", to="hook", instance=f"worker-{n:05}")
            for n in range(alerts)
        ]
        self.pause = pause
        self.answered = 0
        self.refusals = 0
        self._posts = [self.alerts[i : i + per_post] for i in range(0, alerts, per_post)]
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(self._posts[i::workers],), daemon=True) for i in range(workers)]

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def join(self):
        for thread in self._threads:
            thread.join()
        return self

    def is_over(self):
        return not any(thread.is_alive() for thread in self._threads)

    def _send(self, posts):
        client = senders.Client(self._url)
        for post in posts:
            while not self._answered(client, post):
                time.sleep(0.2)
            with self._lock:
                self.answered += len(post)
            time.sleep(self.pause)

    def _answered(self, client, post):
        try:
            status, _ = client.request("POST", "/api/v2/alerts", post)
        except (OSError, http.client.HTTPException):
            status = 0
        if 200 <= status < 300:
            return True
        with self._lock:
            self.refusals += 1
        return False


def in_postgres(stack, services):
    """(alerts, occurrences) that Postgres holds of these services; equal when each is there exactly once."""
    names = ",".join(f"'{s}'" for s in services)
    where = f"labels->>'service' IN ({names})"
    alerts = stack.sql(f"SELECT count(*) FROM alerts WHERE {where}")
    occurrences = stack.sql(
        "SELECT count(*) FROM occurrences o JOIN alerts a USING (tenant, fingerprint) WHERE " + where.replace("labels", "a.labels")
    )
    return int(alerts[0][0]), int(occurrences[0][0])
