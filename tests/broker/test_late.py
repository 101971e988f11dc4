"""Our programs start before Kafka does: they wait for it, say so, end when they are told to, and work once it is there."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TOCSIN_BUILD", ROOT / "build" / "dev"))
sys.path[:0] = [str(ROOT / "tests" / "matrix"), str(ROOT / "deploy" / "demo")]

import senders  # noqa: E402
from keeper import Postgres  # noqa: E402
from lane import wait  # noqa: E402

WAITING = ("processor", "learner")  # the others have something to do without Kafka
PROGRAMS = ("ingest", "notifier", *WAITING)
CONFIG = """
kafka: {session_timeout: 3500ms, fetch_wait: 100ms} # the mock's groups wait 3 s for their first members
ingest: {listen: '127.0.0.1:0', beat_interval: 1s}
processor: {listen: '127.0.0.1:0'}
notifier: {listen: '127.0.0.1:0'}
learner: {listen: '127.0.0.1:0'}
repairs: {tokens: [late-token]}
route: {receiver: nobody, group_by: [incident]}
receivers: [{name: nobody}]
"""


class Program:
    """One of ours, its stderr in a file."""

    def __init__(self, name, home, env):
        self.name = name
        self._log = home / f"{name}.log"
        argv = [BUILD / f"tocsin-{name}", "--config", home / "tocsin.yml"]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(argv, env={**os.environ, **env}, stdout=log, stderr=log)

    def get(self, path):
        client = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=30)
        try:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        finally:
            client.close()

    def port(self):
        for line in self._log.read_text(errors="replace").splitlines():
            if '"service_started"' in line:
                return json.loads(line)["port"]
        raise AssertionError(f"{self.name} has not started; exit code {self._process.poll()}")

    def wait_for(self, path, status):
        def probe():
            got = self.get(path)
            assert got[0] == status, got
            return got[1]

        return wait(f"{status} from {self.name}{path}", probe)

    def end(self, number=signal.SIGTERM):
        self._process.send_signal(number)
        return self._process.wait(timeout=60)

    def kill(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def home():
    home = Path(tempfile.mkdtemp(prefix="tocsin-late-"))
    home.chmod(0o755)  # for the user that Postgres runs as
    (home / "tocsin.yml").write_text(CONFIG)
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def url(home):
    postgres = Postgres(home)
    try:
        postgres.start()
        yield f"postgresql://tocsin@/postgres?host={postgres.dir}"
    finally:
        postgres.stop()


class World:
    """A schema of its own, and a port for a broker that is not there yet."""

    def __init__(self, home, url):
        self._home, self._url, self._schema = home, url, f"late_{time.time_ns()}"
        migrate = [ROOT / "deploy" / "migrate", self._schema]
        subprocess.run(migrate, env={**os.environ, "DATABASE_URL": url}, check=True, stdout=subprocess.DEVNULL)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self._port = s.getsockname()[1]
        spool = home / self._schema
        spool.mkdir()
        self._env = {
            "TOCSIN__KAFKA__BROKERS": f"127.0.0.1:{self._port}",
            "TOCSIN__POSTGRES__URL": url,
            "TOCSIN__POSTGRES__SCHEMA": self._schema,
            "TOCSIN__INGEST__SPOOL_DIR": str(spool),
        }
        self._running = []

    def start(self, name):
        self._running.append(Program(name, self._home, self._env))
        return self._running[-1]

    def start_broker(self):
        argv = [BUILD / "tests" / "broker" / "tocsin-mock-broker", "--port", str(self._port)]
        broker = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self._running.append(broker)
        assert json.loads(broker.stdout.readline())["brokers"].endswith(f":{self._port}")

    def value(self, query):
        """The one text of one row; "" when there is none."""
        argv = ["psql", "-X", "-A", "-t", "-d", self._url, "-c", query]
        env = {**os.environ, "PGOPTIONS": f"-c search_path={self._schema}"}
        return subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout.strip()

    def close(self):
        for program in self._running:
            program.kill()


@pytest.fixture
def world(home, url):
    world = World(home, url)
    try:
        yield world
    finally:
        world.close()


def in_want_of_kafka(program):
    program.wait_for("/healthz", 200)
    assert "Kafka does not answer" in program.wait_for("/readyz", 503)
    assert program.get("/metrics")[0] == 200


@pytest.mark.parametrize("name", WAITING)
def test_says_what_it_waits_for_and_ends_when_told_to(world, name):
    program = world.start(name)
    in_want_of_kafka(program)
    assert program.end() == 0


@pytest.mark.parametrize("name", sorted(set(PROGRAMS) - set(WAITING)))
def test_is_ready_without_kafka_and_ends_when_told_to(world, name):
    program = world.start(name)
    program.wait_for("/readyz", 200)
    assert program.end() == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_ends_when_told_to_at_its_start(world, name):
    program = world.start(name)
    wait(f"{name} to start", program.port)
    assert program.end() == 0


def test_works_once_kafka_is_there(world):
    programs = {name: world.start(name) for name in PROGRAMS}
    for name in WAITING:
        in_want_of_kafka(programs[name])
    programs["ingest"].wait_for("/readyz", 200)
    ingest = senders.Client(f"http://127.0.0.1:{programs['ingest'].port()}")
    ingest.post("/webhook/alertmanager", senders.alertmanager([senders.alert("Late", starts=time.time())], {}))
    world.start_broker()
    for program in programs.values():
        program.wait_for("/readyz", 200)
    incident = wait("the incident", lambda: world.value("SELECT id FROM incidents"))
    repair = {"incident_id": incident, "action": "wait", "outcome": "success"}
    ingest.post("/api/v1/repairs", repair, {"Authorization": "Bearer late-token"})
    wait("the repair", lambda: world.value("SELECT action FROM repairs") == "wait")
    assert world.value("SELECT count(*) FROM offsets WHERE cluster_id = ''") == "0"
    assert [program.end() for program in programs.values()] == [0] * len(programs)
