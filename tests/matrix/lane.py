"""The shared part of one request's cells: a broker that takes orders, an ingest and two processors on a schema of their own."""

import fcntl
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = Path(os.environ.get("TOCSIN_BUILD", ROOT / "build" / "dev"))
DEADLINE_S = int(os.environ.get("TOCSIN_TEST_DEADLINE", 90))  # seconds; more on a slow machine

SOURCES = re.findall(r"^SOURCE\((\w+)\)", (ROOT / "common" / "sources.def").read_text(), re.M)
PREFIX = "tocsin."
TOPICS = [PREFIX + name for name in (*(f"raw.{s}" for s in SOURCES), "beat", "repairs", "dead")]
SERVICES = ("ingest", "processor", "second")  # `second` is a processor too: the one that comes and goes


def wait(what, probe, deadline=DEADLINE_S):
    """Wait until probe() is true and return it. An AssertionError of the probe says how far it is."""
    end, last = time.monotonic() + deadline, ""
    while True:
        try:
            found = probe()
            if found:
                return found
            last = repr(found)
        except (AssertionError, OSError, http.client.HTTPException) as reason:
            last = f"{type(reason).__name__}: {reason}"
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s for {what}: {last}")
        time.sleep(0.1)


class Kept:
    """The keeper (keeper.py), started when there is none. Its owner is our parent: ctest, or a shell."""

    def __init__(self):
        self._file = BUILD / "tests" / "matrix" / "keeper"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with open(self._file.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._connect() or self._start()
        self.home = Path(self._greeting["home"])

    def _connect(self):
        try:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(self._file.read_text())
            self._lines = self._socket.makefile("r")
            self._greeting = self.ask("hello", owner=os.getppid())
            return True
        except (OSError, json.JSONDecodeError):  # none, or one that is about to end
            return False

    def _start(self):
        with open(self._file.with_suffix(".log"), "wb") as log:
            subprocess.Popen(
                [sys.executable, HERE / "keeper.py", self._file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait(f"the keeper (see {log.name})", self._connect)

    def ask(self, do, **what):
        self._socket.sendall(json.dumps({"do": do, **what}).encode() + b"\n")
        answer = json.loads(self._lines.readline())
        if "error" in answer:
            raise RuntimeError(f"keeper: {do} {what}: {answer['error']}")
        return answer


class Lane:
    def __init__(self, kept, name):
        self._kept = kept
        self._name = name.lower()
        self._home = kept.home / self._name
        self._about = self._home / "about.json"
        self._env = {}

    # Life

    def up(self):
        """All of it runs and is ready: as the last cell left it, or made anew when that left it broken."""
        if not (self._about.exists() and all(self.alive(n) for n in ("broker", *SERVICES))):
            self._make()
        self._env = json.loads(self._about.read_text())
        for name in SERVICES:
            self.wait_ready(name)

    def down(self):
        for name in ("broker", *SERVICES):
            if self.alive(name):
                self._kept.ask("signal", name=self._id(name), number=signal.SIGKILL)

    def _make(self):
        self.down()
        broker = [BUILD / "tests" / "broker" / "tocsin-mock-broker", "--control", *TOPICS]
        self._start("broker", *broker)
        brokers = self._tell("")["brokers"]
        schema = f"{self._name}_{time.time_ns()}"
        url = f"postgresql://tocsin@/postgres?host={self._kept.home / 'postgres'}"
        migrate = [ROOT / "deploy" / "migrate", schema]
        subprocess.run(migrate, env={**os.environ, "DATABASE_URL": url}, check=True, stdout=subprocess.DEVNULL)
        spool = self._home / schema
        spool.mkdir(parents=True)
        self._env = {
            "TOCSIN__KAFKA__BROKERS": brokers,
            "TOCSIN__POSTGRES__URL": url,
            "TOCSIN__POSTGRES__SCHEMA": schema,
            "TOCSIN__INGEST__SPOOL_DIR": str(spool),
        }
        self._about.write_text(json.dumps(self._env))
        for name in SERVICES:
            self._start_service(name)

    def _start_service(self, name):
        program = "ingest" if name == "ingest" else "processor"
        self._start(name, BUILD / f"tocsin-{program}", "--config", HERE / "tocsin.yml")

    def _start(self, name, *argv):
        self._kept.ask("start", name=self._id(name), argv=[str(a) for a in argv], env=self._env)

    def _id(self, name):
        return f"{self._name}.{name}"

    def process(self, name):
        """{"pid", "code"}, code None while it runs"""
        return self._kept.ask("status").get(self._id(name), {"pid": 0, "code": 0})

    def alive(self, name):
        return self.process(name)["code"] is None

    def wait_ready(self, name):
        def probe():
            assert self.alive(name), f"{name} ended with {self.process(name)['code']}"
            status, answer = self.get(name, "/readyz")
            assert status == 200, answer
            return True

        wait(f"{name} to be ready", probe)

    def renew_second(self):
        """The second processor leaves its group and another one joins."""
        self._kept.ask("signal", name=self._id("second"), number=signal.SIGTERM)
        wait("the second processor to end", lambda: not self.alive("second"))
        assert self.process("second")["code"] == 0, self.process("second")
        self._start_service("second")

    # What can be asked of it

    def _tell(self, line):
        answer = json.loads(self._kept.ask("tell", name=self._id("broker"), line=line)["line"])
        assert "error" not in answer, f"broker: {line}: {answer['error']}"
        return answer

    def fault(self, request, count, what):
        self._tell(f"fault {request} {count} {what}")

    def left(self, request):
        """How many requests are still to fail."""
        return self._tell(f"left {request}")["left"]

    def ends(self):
        """{topic without prefix: [end of each partition]}"""
        return {topic.removeprefix(PREFIX): ends for topic, ends in self._tell("ends").items()}

    def port(self, name):
        pid = self.process(name)["pid"]
        for line in self.log(name):
            if '"service_started"' in line and json.loads(line)["pid"] == pid:
                return json.loads(line)["port"]
        raise AssertionError(f"{name} has not started")

    def get(self, name, path):
        client = http.client.HTTPConnection("127.0.0.1", self.port(name), timeout=30)
        try:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        finally:
            client.close()

    def log(self, name):
        file = self._kept.home / f"{self._id(name)}.log"
        return file.read_text(errors="replace").splitlines() if file.exists() else []

    def sql(self, query):
        """Rows as lists of text."""
        argv = ["psql", "-X", "-A", "-t", "-F", "\t", "-d", self._env["TOCSIN__POSTGRES__URL"], "-c", query]
        env = {**os.environ, "PGOPTIONS": f"-c search_path={self._env['TOCSIN__POSTGRES__SCHEMA']}"}
        out = subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout
        return [line.split("\t") for line in out.splitlines() if line]
