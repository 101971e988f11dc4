#!/usr/bin/env python3
"""Keeps what outlives a cell: Postgres, and each request's broker and services.

    keeper.py FILE

A cell is a process of its own, gone when the next one starts, so what they share is started here. The keeper knows
processes and no more; what they are for is written in lane.py. The path of its socket stands in FILE. It takes one
JSON object a line and answers each with one:

    {"do": "hello", "owner": PID}      {"home": DIR}: where everything lies. The keeper lives as long as an owner does
    {"do": "start", "name", "argv", "env"}   {"pid"}: stdin and stdout are for `tell`, the rest goes to NAME.log
    {"do": "signal", "name", "number"}
    {"do": "status"}                   {NAME: {"pid", "code"}}, code null while it runs
    {"do": "tell", "name", "line"}     {"line"}: what it answers
"""

import ctypes
import json
import os
import pwd
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PDEATHSIG = 1
NOBODY = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # Postgres does not run as root
_libc = ctypes.CDLL(None)


def _die_with_parent():
    _libc.prctl(PDEATHSIG, signal.SIGKILL)


class Postgres:
    """A private one that only a Unix socket leads to. Nothing has to survive it, so it never waits for the disk."""

    def __init__(self, home):
        self.dir = home / "postgres"
        self.dir.mkdir()
        self._process = None
        self._who = {}
        if NOBODY:
            os.chown(self.dir, NOBODY.pw_uid, NOBODY.pw_gid)
            self._who = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}
        self._bin = Path(subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip())

    def start(self):
        data = str(self.dir / "data")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.dir, **self._who}
        init = [self._bin / "initdb", "-D", data, "-U", "tocsin", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-N"]
        subprocess.run(init, check=True, **quiet)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.dir),
            "fsync": "off",
            "max_connections": "300",
        }
        argv = [self._bin / "postgres", "-D", data, *(f"--{k}={v}" for k, v in options.items())]
        self._process = subprocess.Popen(argv, preexec_fn=_die_with_parent, **quiet)
        ready = [self._bin / "pg_isready", "-q", "-h", self.dir, "-d", "postgres"]
        while subprocess.run(ready).returncode:
            if self._process.poll() is not None:
                raise RuntimeError("Postgres ended at its start")
            time.sleep(0.05)

    def stop(self):
        if not self._process:
            return
        self._process.send_signal(signal.SIGQUIT)  # at once, its children with it
        self._process.wait()


class Keeper:
    def __init__(self, home):
        self.home = home
        self._children = {}
        self._owners = set()

    def hello(self, owner):
        self._owners.add(owner)
        return {"home": str(self.home)}

    def has_owner(self):
        self._owners = {pid for pid in self._owners if os.path.exists(f"/proc/{pid}")}
        return bool(self._owners)

    def start(self, name, argv, env):
        with open(self.home / f"{name}.log", "ab") as log:
            self._children[name] = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **env},
                preexec_fn=_die_with_parent,
            )
        return {"pid": self._children[name].pid}

    def signal(self, name, number):
        self._children[name].send_signal(number)
        return {}

    def status(self):
        return {name: {"pid": c.pid, "code": c.poll()} for name, c in self._children.items()}

    def tell(self, name, line):
        child = self._children[name]
        if line:
            child.stdin.write(line.encode() + b"\n")
            child.stdin.flush()
        return {"line": child.stdout.readline().decode()}

    def end(self):
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()


def answer(keeper, line):
    try:
        request = json.loads(line)
        return getattr(keeper, request.pop("do"))(**request)
    except (KeyError, OSError, TypeError) as reason:
        return {"error": f"{type(reason).__name__}: {reason}"}


def serve(keeper, listener):
    """Until no owner is left; one that has not said hello yet has a minute."""
    patience = time.monotonic() + 60
    pending = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while keeper.has_owner() or (time.monotonic() < patience and not keeper.status()):
            for key, _ in selector.select(0.5):
                if key.fileobj is listener:
                    client = listener.accept()[0]
                    pending[client] = b""
                    selector.register(client, selectors.EVENT_READ)
                    continue
                client = key.fileobj
                data = client.recv(65536)
                if not data:
                    selector.unregister(client)
                    del pending[client]
                    client.close()
                    continue
                *lines, pending[client] = (pending[client] + data).split(b"\n")
                for line in lines:
                    client.sendall(json.dumps(answer(keeper, line)).encode() + b"\n")


def main(file):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = Path(tempfile.mkdtemp(prefix="tocsin-matrix-"))
    home.chmod(0o755)  # for the user that Postgres runs as
    keeper, postgres = Keeper(home), Postgres(home)
    try:
        postgres.start()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(home / "keeper"))
            listener.listen()
            file.with_suffix(".new").write_text(str(home / "keeper"))
            file.with_suffix(".new").rename(file)
            serve(keeper, listener)
    finally:
        file.unlink(missing_ok=True)
        keeper.end()
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
