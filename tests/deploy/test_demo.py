"""deploy/dev demo, as a newcomer runs it, next to whatever else runs here: on a stack of its own."""

import json
import os
import pathlib
import subprocess

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
PORT_BASE = 23100


@pytest.fixture
def dev(tmp_path):
    mine = ("TOCSIN_", "KAFKA_BROKERS", "DATABASE_URL", "REDIS_URL")
    env = {k: v for k, v in os.environ.items() if not k.startswith(mine)}
    env |= {"TOCSIN_HOME": str(tmp_path / "var"), "TOCSIN_PORT_BASE": str(PORT_BASE)}

    def run(*args):
        done = subprocess.run([TREE / "deploy/dev", *args], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    try:
        yield run
    finally:
        run("reset")


def processes_of_the_stack(home):
    """By what they inherited, or, where a server writes its title over that, by where they work."""
    mark = f"TOCSIN_PORT_BASE={PORT_BASE}\0".encode()
    found = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() or os.readlink(process / "cwd").startswith(home):
                found.add(int(process.name))
        except OSError:
            continue
    return found


def test_twice_in_a_row_and_nothing_stays(dev):
    for _ in range(2):
        told = dev("demo")
        # What people read, on every channel; the first run of a clone shows it, too.
        for channel in ("wecom", "slack", "email", "webhook"):
            assert f"  {channel}  " in told
        assert "QueueBacklog: 10,000 alerts, one incident, and not one message more" in told
        assert f"http://127.0.0.1:{PORT_BASE + 1}/" in told
    status = [json.loads(line) for line in dev("status", "--json").splitlines()]
    assert all(one["ready"] for one in status)
    assert {one["port"] for one in status if one["name"] == "fakes"} == {PORT_BASE + 10}
    home = next(line.split()[-1] for line in dev("status").splitlines() if "data and logs in" in line)
    assert processes_of_the_stack(home) >= {one["pid"] for one in status}
    dev("down")
    assert processes_of_the_stack(home) == set()
