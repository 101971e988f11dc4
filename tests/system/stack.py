"""A real stack of the tests' own, driven from outside through `deploy/dev`, and ways to wait for what it does."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "fakes"), str(ROOT / "deploy" / "demo")]

from http_fake import HttpFake  # noqa: E402
from senders import Client  # noqa: E402
from smtp_fake import SmtpFake  # noqa: E402
from sns import Sns  # noqa: E402

PORT_BASE = int(os.environ.get("TOCSIN_TEST_PORT_BASE", 21000))
HTTP_FAKE_PORT, SMTP_FAKE_PORT, SNS_PORT = PORT_BASE + 10, PORT_BASE + 11, PORT_BASE + 17
WINDOW_S = 20  # aggregation.window of tocsin.yml
DEADLINE_S = int(os.environ.get("TOCSIN_TEST_DEADLINE", 90))  # seconds; more on a slow machine
OURS = ("ingest", "processor", "notifier", "learner", "console")


def wait(what, probe, deadline=DEADLINE_S):
    """Wait until probe() is true and return it. An AssertionError of the probe says how far it is."""
    end, last = time.monotonic() + deadline, ""
    while True:
        try:
            found = probe()
            if found:
                return found
            last = repr(found)
        except (AssertionError, OSError, RuntimeError) as reason:
            last = f"{type(reason).__name__}: {reason}"
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s for {what}: {last}")
        time.sleep(0.2)


class Stack:
    """One stack and the channels it sends to. `journal` and `faults` belong to the fakes, in this process."""

    def __init__(self, home):
        self.home = Path(home)
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")},
            "TOCSIN_HOME": str(self.home),
            "TOCSIN_PORT_BASE": str(PORT_BASE),
            "TOCSIN_CONFIG": str(self._config()),
        }
        self.sns = Sns(SNS_PORT)
        self.environ["TOCSIN__INGEST__FETCH_CA_FILE"] = str(self.sns.ca_file)
        self.web = HttpFake(HTTP_FAKE_PORT)
        self.journal, self.faults = self.web.journal, self.web.faults
        self.mail = SmtpFake(SMTP_FAKE_PORT, self.journal, self.faults)

    def _config(self):
        """tocsin.yml, which has the usual ports, with ours."""
        config = self.home.with_name(f"{self.home.name}.yml")  # nothing else may be in a stack's home before it
        usual = Path(__file__).with_name("tocsin.yml").read_text()
        config.write_text(re.sub(r"(127\.0\.0\.1|localhost):21(\d{3})", lambda m: f"{m[1]}:{PORT_BASE + int(m[2])}", usual))
        return config

    def up(self):
        self.web.start()
        self.mail.start()
        self.sns.start()
        self.dev("up")
        self.addresses = self._env()
        self.ingest_url = self.addresses["TOCSIN_INGEST_URL"]
        self.console_url = self.addresses["TOCSIN_CONSOLE_URL"]
        return self

    def down(self):
        try:
            self.dev("down")
        finally:
            self.web.stop()
            self.mail.stop()
            self.sns.stop()
            Path(self.environ["TOCSIN_CONFIG"]).unlink()

    def dev(self, *args, check=True):
        """deploy/dev ARGS; its output when that succeeds."""
        done = subprocess.run([ROOT / "deploy" / "dev", *args], env=self.environ, capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"deploy/dev {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def _env(self):
        """What a shell makes of `deploy/dev env`."""
        script = 'set -a; eval "$1"; env -0'
        lines = subprocess.run(
            ["bash", "-c", script, "env", self.dev("env")], env=self.environ, capture_output=True, text=True, check=True
        ).stdout
        return dict(line.split("=", 1) for line in lines.split("\0") if line)

    # Processes

    def status(self):
        """{name: {"name", "pid", "port", "ready"}}"""
        return {p["name"]: p for p in map(json.loads, self.dev("status", "--json").splitlines())}

    def kill(self, name, number=signal.SIGKILL):
        os.kill(self.status()[name]["pid"], number)

    def restart(self, name):
        self.dev("restart", name)

    @contextlib.contextmanager
    def receivers(self, routes, receivers):
        """More of both, in front of those of tocsin.yml, for as long as the block lasts."""
        usual = self.environ["TOCSIN_CONFIG"]
        text = Path(usual).read_text()
        for under, more in (("  routes:\n", routes), ("receivers:\n", receivers)):
            text, times = re.subn(f"^{under}", lambda m, more=more: m[0] + more, text, flags=re.M)
            assert times == 1, under
        mine = self.home / "more.yml"
        mine.write_text(text)
        try:
            self._configure(mine)
            yield
        finally:
            self._configure(usual)

    def _configure(self, config):
        self.environ["TOCSIN_CONFIG"] = str(config)
        self.dev("up", "processor", "notifier")

    def sql(self, query):
        """Rows as lists of text."""
        out = self.dev("psql", "-X", "-A", "-t", "-F", "\t", "-c", query)
        return [line.split("\t") for line in out.splitlines() if line]

    def redis(self, *command):
        subprocess.run(["redis-cli", "-u", self.addresses["REDIS_URL"], *command], check=True, capture_output=True)

    def max_message(self, topic, size):
        """The operator's limit on a topic (without prefix), by Kafka's own tool and the classes that its server runs with."""
        words = Path(f"/proc/{self.status()['kafka']['pid']}/cmdline").read_text().split("\0")
        server = ["--bootstrap-server", self.addresses["KAFKA_BROKERS"]]
        what = ["--alter", "--topic", f"tocsin.{topic}", "--add-config", f"max.message.bytes={size}"]
        command = ["java", "-cp", words[words.index("-cp") + 1], "kafka.admin.ConfigCommand", *server, *what]
        subprocess.run(command, check=True, capture_output=True)

    def metric(self, service, name):
        """The value of a metric without labels."""
        port = self.status()[service]["port"]
        text = Client(f"http://127.0.0.1:{port}").request("GET", "/metrics")[1].decode()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))

    def logs(self):
        """{file name: text} of everything that our processes wrote."""
        return {f.name: f.read_text(errors="replace") for f in (self.home / "log").rglob("*") if f.is_file()}

    # The door and the console. A connection per call: tests stop servers under them.

    def post(self, path, body, headers=None):
        """(status, JSON or None)"""
        status, answer = Client(self.ingest_url).request("POST", path, body, headers)
        return status, json.loads(answer) if answer else None

    def send(self, path, body, headers=None):
        """post() of something that must be taken."""
        return Client(self.ingest_url).post(path, body, headers)

    def get(self, path):
        return Client(self.console_url).get(path)

    def put(self, path, body):
        return Client(self.console_url).put(path, body)

    def incidents(self, service):
        """All incidents of a service, newest first, with everything about each."""
        listed = self.get(f"/api/v1/incidents?service={service}&limit=100")["incidents"]
        return [self.get(f"/api/v1/incidents/{i['id']}") for i in listed]

    def incident(self, service):
        """The only incident of a service."""
        found = self.incidents(service)
        assert len(found) == 1, f"{len(found)} incidents of {service}"
        return found[0]

    def messages(self, word, channel=None):
        """Messages that a person could read and that name the word, oldest first."""
        return [
            r
            for r in self.journal.since(0)
            if r["accepted"] and word in r["text"] and channel in (None, r["channel"])
        ]


def kinds(incident):
    """What the ledger says was told about an incident, in order; digests are about more than one."""
    rows = [n for n in incident["notifications"] if n["kind"] not in ("digest", "merge")]
    return [n["kind"] for n in sorted(rows, key=lambda n: n["sequence"])]


def states(incident):
    return {n["kind"]: n["state"] for n in incident["notifications"]}
