"""Where the demo plays: the running stack, the fakes at its end, and a way to wait for what must happen."""

import os
import subprocess
import sys
import time
from pathlib import Path

from senders import Client

ROOT = Path(__file__).resolve().parents[2]
FAKES = ROOT / "tests" / "fakes"
sys.path.insert(0, str(FAKES))

from http_fake import endpoints  # noqa: E402  (found by the line above)
from journal import for_people  # noqa: E402

DEADLINE_S = 120
SHOWN_LINES = 24
FAKED = {fake.channel for fake in endpoints()} | {"email"}


class Unmet(Exception):
    """Something that Tocsin promises did not happen."""


class Stage:
    def __init__(self, environ=os.environ):
        missing = [n for n in ("TOCSIN_INGEST_URL", "TOCSIN_CONSOLE_URL") if not environ.get(n)]
        if missing:
            raise Unmet(f"{' and '.join(missing)} not set: run ./deploy/dev demo, or eval \"$(./deploy/dev env)\" first")
        self.home = Path(environ.get("TOCSIN_HOME", ROOT / "var"))
        self.ingest_url = environ["TOCSIN_INGEST_URL"]
        self.console_url = environ["TOCSIN_CONSOLE_URL"]
        self.ingest = Client(self.ingest_url)
        self.console = Client(self.console_url)
        self.http_port = int(environ.get("TOCSIN_FAKE_HTTP_PORT") or environ.get("TOCSIN_FAKES_PORT") or 9210)
        self.smtp_port = int(environ.get("TOCSIN_FAKE_SMTP_PORT") or self.http_port + 1)
        self.fakes = Client(f"http://127.0.0.1:{self.http_port}")
        self.mark = self.shown = None  # places in the fakes' log: where the demo began, what was printed

    def start_fakes(self):
        """Ours that still run are kept; a port that somebody else has is an error of theirs to explain."""
        run = self.home / "run"
        run.mkdir(parents=True, exist_ok=True)
        pid_file = run / "fakes.pid"
        if not _alive(pid_file):
            self._spawn(run, pid_file)
        self.expect("the fake channels answer", lambda: self.fakes.get("/_log") is not None)
        self.fakes.post("/_reset", {})
        self.mark = self.shown = self.fakes.get("/_log")["next"]

    def _spawn(self, run, pid_file):
        program = [sys.executable, FAKES / "http_fake.py", "--print", "--log", run / "fakes.jsonl"]
        ports = ["--port", str(self.http_port), "--smtp-port", str(self.smtp_port)]
        logs = self.home / "log"
        logs.mkdir(exist_ok=True)
        environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        with open(logs / "fakes.log", "ab") as log:
            process = subprocess.Popen(
                [*program, *ports], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=environ
            )
        pid_file.write_text(f"{process.pid} {_start_time(process.pid)} {self.http_port}\n")
        time.sleep(0.3)
        if process.poll() is not None:
            pid_file.unlink()
            raise Unmet(f"the fake channels did not start on ports {self.http_port} and {self.smtp_port}, see {logs / 'fakes.log'}")

    def messages(self):
        """What was read on the channels since the demo began."""
        return [r for r in self.fakes.get(f"/_log?since={self.mark}")["records"] if r["accepted"]]

    def show_messages(self, hide=None):
        log = self.fakes.get(f"/_log?since={self.shown}")
        self.shown = log["next"]
        for record in log["records"]:
            if hide and hide(record):
                continue
            block = cut(for_people(record).rstrip("\n").split("\n"), SHOWN_LINES)
            print("\n".join("    " + line for line in block), end="\n\n", flush=True)

    def expect(self, what, probe, deadline=DEADLINE_S, hide=None):
        """Wait until probe() is true and return it. A probe may raise Unmet to say how far it is. Messages are shown meanwhile, but
        for those that hide() holds of."""
        end, last = time.monotonic() + deadline, "nothing yet"
        while True:
            try:
                found = probe()
                if found:
                    break
            except Unmet as reason:
                last = str(reason)
            except OSError as reason:
                last = f"{type(reason).__name__}: {reason}"
            if time.monotonic() > end:
                raise Unmet(f"{what}; after {deadline} s: {last}")
            time.sleep(0.2)
            if self.shown is not None:
                self.show_messages(hide)
        if self.shown is not None:
            self.show_messages(hide)
        print(f"  ✓ {what}", flush=True)
        return found

    # The console, as the scenes ask it

    def incidents(self, **filters):
        query = "&".join(f"{k}={v}" for k, v in filters.items())
        found, cursor = [], ""
        while True:
            page = self.console.get(f"/api/v1/incidents?limit=100&{query}{cursor}")
            found += page["incidents"]
            if not page["next_cursor"]:
                return found
            cursor = "&cursor=" + page["next_cursor"]

    def incident(self, incident_id):
        return self.console.get(f"/api/v1/incidents/{incident_id}")

    def ledger(self, since):
        """(channel, kind, state, how many) of every notification made since then. From Postgres: a digest is of no one incident."""
        query = (
            "SELECT channel, kind, state, count(*) FROM notifications "
            f"WHERE created_at >= {int(since * 1000)} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        psql = [ROOT / "deploy" / "dev", "psql", "-X", "-A", "-t", "-F", "\t", "-c", query]
        done = subprocess.run(psql, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise Unmet(f"the ledger cannot be read: {done.stderr.strip()}")
        return [line.split("\t") for line in done.stdout.splitlines()]


def cut(lines, most):
    return lines if len(lines) <= most else [*lines[:most], f"  │ … {len(lines) - most} more lines"]


def told(incident):
    """{(receiver, channel): [kind of each message about this incident alone, in order]}; held back on purpose: not told."""
    receivers = {}
    for row in sorted(incident["notifications"], key=lambda n: n["sequence"]):
        if row["state"] != "suppressed" and row["kind"] not in ("digest", "merge"):
            receivers.setdefault((row["receiver"], row["channel"]), []).append(row["kind"])
    return receivers


def _start_time(pid):
    """Field 22 of /proc/PID/stat: with the pid it names a process for good."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _alive(pid_file):
    try:
        pid, started = pid_file.read_text().split()[:2]
        os.kill(int(pid), 0)
        return _start_time(int(pid)) == started
    except (OSError, ValueError):
        return False


