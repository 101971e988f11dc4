"""A stack of the run's own, started by deploy/dev, whose processes can be killed and come back without it.

A process comes back as the one that died was: same program, arguments, environment and user, as a supervisor would do it.
Its record in run/ is kept up, so that `deploy/dev down` ends it.
"""

import http.client
import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from senders import Client

ROOT = Path(__file__).resolve().parents[2]
SPOOL_BYTES = 64 << 20
OURS = ("ingest", "processor", "notifier", "learner", "console")
SCALED = ("ingest", "processor", "notifier")
COPY_PORTS = 20  # apart, as deploy/dev has them
READY_S = 60


class Process:
    """One process of the stack. `lock` is held by whoever breaks or mends it."""

    def __init__(self, world, name, like=None):
        self.name, self.home = name, world.home
        self.lock = threading.RLock()
        self.wanted = like is None
        self._child = None
        self._record = world.home / "run" / f"{name}.pid"
        self._read(like or self)

    def _read(self, like):
        pid, _, port, *stamp = like._record.read_text().split()
        proc = Path("/proc") / pid
        self._argv = proc.joinpath("cmdline").read_bytes().decode().split("\0")[:-1]
        self._environ = dict(v.split("=", 1) for v in proc.joinpath("environ").read_bytes().decode().split("\0") if "=" in v)
        self._uid = proc.stat().st_uid
        self.port, self._stamp = int(port), stamp
        if self.name == "redis":  # it writes something else over its arguments
            keep_nothing = ["--dir", str(self.home / "redis"), "--save", "", "--appendonly", "no"]
            self._argv = ["redis-server", "--bind", "127.0.0.1", "--port", port, *keep_nothing]
        if like is not self:
            self.port += COPY_PORTS * (int(self.name[-1]) - 1)
            self._environ["TOCSIN__PROCESSOR__LISTEN"] = f"127.0.0.1:{self.port}"
            self._stamp = ["-"]

    @property
    def pid(self):
        return int(self._record.read_text().split()[0])

    def is_alive(self):
        if self._child and self._child.poll() is not None:
            return False
        try:
            pid, start, *_ = self._record.read_text().split()
        except OSError:
            return False
        return _start_time(pid) == start

    def signal(self, number):
        """False when it is dead already."""
        if not self.is_alive():
            return False
        os.kill(self.pid, number)
        return True

    def died_of(self):
        """The signal, or None: it ended by itself, or was not started here."""
        code = self._child.poll() if self._child else None
        return signal.Signals(-code).name if code and code < 0 else None

    def wait_dead(self, seconds):
        end = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < end:
            time.sleep(0.02)
        return not self.is_alive()

    def start(self):
        self.wanted = True
        user = pwd.getpwuid(self._uid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        with open(self.home / "log" / f"{self.name}.log", "ab") as log:
            self._child = subprocess.Popen(
                self._argv, env=self._environ, cwd=self.home, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user,
            )
        record = " ".join([str(self._child.pid), _start_time(self._child.pid) or "0", str(self.port), *self._stamp])
        new = self._record.with_suffix(".new")
        new.write_text(record + "\n")
        new.replace(self._record)

    def is_ready(self):
        if not self.is_alive():
            return False
        if self.name == "kafka":
            return _kafka_serves(self.port)
        if self.name in ("postgres", "redis"):
            return _is_open(self.port)
        try:
            return Client(f"http://127.0.0.1:{self.port}", 2).request("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def bring_back(self, seconds=READY_S):
        """Start it until it stays; a server that finds the remains of its last life gives up once or twice."""
        end = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > end:
                return False
            if not self.is_alive():
                self.start()
            time.sleep(0.1)
        return True

    def metric(self, name):
        """Sum of a metric over its labels; None when it does not answer."""
        try:
            text = Client(f"http://127.0.0.1:{self.port}", 3).request("GET", "/metrics")[1].decode()
        except (OSError, http.client.HTTPException):
            return None
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)


def _start_time(pid):
    """As deploy/lib/process.sh has it: in ticks since the boot; None for who is gone, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields[19]


def _is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def _kafka_serves(port):
    """As deploy/lib/process.sh asks it: Metadata, whose answer counts the brokers that are not fenced."""
    request = b"\0\x03\0\x04\0\0\0\x01\xff\xff\0\0\0\0\0"
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as peer:
            peer.settimeout(2)
            peer.sendall(len(request).to_bytes(4, "big") + request)
            answer = b""
            while len(answer) < 16 and (more := peer.recv(16 - len(answer))):
                answer += more
    except OSError:
        return False
    return int.from_bytes(answer[12:16], "big") > 0


class World:
    def __init__(self, home, port_base):
        self.home, self.port_base = Path(home), port_base
        self.sink_port = port_base + 10
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN", "KAFKA_BROKERS", "DATABASE_URL", "REDIS_URL"))}
        self.environ = {**kept, "TOCSIN_HOME": str(self.home), "TOCSIN_PORT_BASE": str(port_base)}
        self.spool_is_mounted = False
        self.processes = {}

    def up(self):
        """Everything runs, two of each that is scaled. The data of the run before is gone."""
        mark = self.home / "chaos"
        if self.home.exists() and any(self.home.iterdir()) and not mark.exists():
            raise RuntimeError(f"{self.home} has something else in it: choose another TOCSIN_HOME")
        self.unmount_spool()
        self.dev("reset")
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / ".tocsin").touch()  # a home of deploy/dev, whatever else is in it
        mark.mkdir(exist_ok=True)
        config = mark / "tocsin.yml"
        text = Path(__file__).with_name("tocsin.yml").read_text()
        config.write_text(text.replace("127.0.0.1:23010", f"127.0.0.1:{self.sink_port}"))
        self.environ["TOCSIN_CONFIG"] = str(config)
        self.dev("up", "kafka", "postgres", "redis")
        self.mount_spool()
        self.dev("up", *sum((["--scale", f"{n}=2"] for n in SCALED), []))
        names = [*OURS, *(f"{n}-2" for n in SCALED), "kafka", "postgres", "redis"]
        self.processes = {n: Process(self, n) for n in names}
        self.processes["processor-3"] = Process(self, "processor-3", self.processes["processor"])
        self.addresses = self._env()

    def down(self):
        try:
            self.dev("down")
        finally:
            self.unmount_spool()

    def dev(self, *args):
        done = subprocess.run([ROOT / "deploy" / "dev", *args], env=self.environ, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"deploy/dev {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def _env(self):
        script = 'set -a; eval "$1"; env -0'
        lines = subprocess.run(
            ["bash", "-c", script, "env", self.dev("env")], env=self.environ, capture_output=True, text=True, check=True
        ).stdout
        return dict(line.split("=", 1) for line in lines.split("\0") if line)

    # A disk of the spool's own, that can be full. Without root the spool's bound takes its place.

    def mount_spool(self):
        spool = self.home / "spool"
        if os.geteuid() == 0:
            user = pwd.getpwnam("tocsin")
            options = f"size={SPOOL_BYTES},uid={user.pw_uid},gid={user.pw_gid},mode=755"
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tocsin-chaos", spool], capture_output=True)
            self.spool_is_mounted = done.returncode == 0
        if not self.spool_is_mounted:
            self.environ["TOCSIN__INGEST__SPOOL_MAX"] = "1m"

    def unmount_spool(self):
        spool = self.home / "spool"
        if os.path.ismount(spool):
            subprocess.run(["umount", "--lazy", spool], check=True)
        self.spool_is_mounted = False

    # Servers, asked directly

    def sql(self, query, seconds=60):
        """Rows as lists of text; RuntimeError when Postgres does not answer."""
        command = ["psql", "-X", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", self.addresses["DATABASE_URL"], "-c", query]
        environ = {**os.environ, "PGOPTIONS": f"-c search_path={self.addresses['TOCSIN_SCHEMA']}", "PGCONNECT_TIMEOUT": "5"}
        environ["PGAPPNAME"] = "chaos"
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return [line.split("\t") for line in done.stdout.splitlines() if line]

    def redis(self, *command):
        return subprocess.run(["redis-cli", "-u", self.addresses["REDIS_URL"], *command], capture_output=True).returncode == 0

    def ingest_urls(self):
        return [f"http://127.0.0.1:{self.processes[n].port}" for n in ("ingest", "ingest-2")]

    def incidents(self):
        """All incidents as the console lists them."""
        client, cursor, found = Client(self.addresses["TOCSIN_CONSOLE_URL"]), "", []
        while True:
            page = client.get(f"/api/v1/incidents?limit=500{cursor}")
            found += page["incidents"]
            if not page.get("next_cursor"):
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def log_tail(self, name, lines=5):
        text = (self.home / "log" / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])
