"""deploy/dev demo, as a newcomer runs it, next to whatever else runs here: on a stack of its own."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests/fakes"))

import http_fake  # noqa: E402  (found by the line above)

PORT_BASE = 23100


@pytest.fixture
def dev(tmp_path):
    mine = ("TOCSIN_", "KAFKA_BROKERS", "DATABASE_URL", "REDIS_URL")
    env = {k: v for k, v in os.environ.items() if not k.startswith(mine)}
    env |= {"TOCSIN_HOME": str(tmp_path / "var"), "TOCSIN_PORT_BASE": str(PORT_BASE)}

    command = str(TREE / "deploy/dev")

    def run(*args):
        done = run.anyhow(*args)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    run.anyhow = lambda *args: subprocess.run([command, *args], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    run.begin = lambda *args: subprocess.Popen([command, *args], env=env, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
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


def channels():
    """Those that can be played here: who has a fake, e-mail, and the page."""
    return {fake.channel for fake in http_fake.endpoints()} | {"email", "dashboard"}


def those_that_speak_chinese():
    return {file.stem for file in (TREE / "notifier/channels").glob("*.c") if '.locale = "zh-CN"' in file.read_text()}


def shown_on_each_channel(told):
    """{channel: {language: lines}} of the scene that tells one incident everywhere."""
    blocks = re.findall(r"^    ── (\w+) · (\S+)\n((?:      │ .*\n)+)", told, re.M)
    shown = {}
    for channel, language, lines in blocks:
        assert language not in shown.setdefault(channel, {})
        shown[channel][language] = lines.splitlines()
    return shown


def fakes_list_what_they_were_told(dev):
    slack = [json.loads(line) for line in dev("fakes", "--json", "--channel", "slack").splitlines()]
    assert slack and all(one["accepted"] and one["channel"] == "slack" for one in slack)
    assert [one["seq"] for one in slack] == sorted(one["seq"] for one in slack)
    everything = [json.loads(line) for line in dev("fakes", "--json", "--all").splitlines()]
    assert {one["channel"] for one in everything} == channels() - {"dashboard"}
    assert any(not one["accepted"] for one in everything)  # who was asked for a token, or for an issue that is not there
    for_people = dev("fakes", "--channel", "email")
    assert "✓ " in for_people and "  │ Subject: " in for_people and "slack" not in for_people
    wrong = dev.anyhow("fakes", "--channel", "pigeon")
    assert wrong.returncode == 1 and "there is no fake of pigeon" in wrong.stderr
    following = dev.begin("fakes", "-f", "--json", "--channel", "mattermost")
    try:
        before = json.loads(following.stdout.readline())
        post = urllib.request.Request(f"http://127.0.0.1:{PORT_BASE + 10}/hooks/later", b'{"text": "later"}', {"Content-Type": "application/json"})
        urllib.request.urlopen(post).close()
        while "/hooks/later" not in (line := following.stdout.readline()):
            assert line, "it ended"
        assert json.loads(line)["seq"] > before["seq"]
    finally:
        following.terminate()
        following.wait()
    # As when somebody else has ended them.
    pid = next(one["pid"] for one in map(json.loads, dev("status", "--json").splitlines()) if one["name"] == "fakes")
    os.kill(pid, signal.SIGTERM)
    while "no fakes run in" not in (told := dev.anyhow("fakes")).stderr:
        # Before they are gone they have closed their port.
        assert told.returncode == 0 or "no fakes answer" in told.stderr, told.stderr


def test_twice_in_a_row_and_nothing_stays(dev):
    assert "no stack runs" in dev.anyhow("fakes").stderr
    for _ in range(2):
        told = dev("demo")
        # What people read, on every channel; the first run of a clone shows it, too.
        shown = shown_on_each_channel(told)
        assert sorted(shown) == sorted(channels())
        assert all("en" in languages for languages in shown.values())
        assert {c for c, languages in shown.items() if "zh-CN" in languages} == those_that_speak_chinese()
        assert all(len(lines) <= 13 for languages in shown.values() for lines in languages.values())
        assert "QueueBacklog: 10,000 alerts, one incident, and not one message more" in told
        assert f"http://127.0.0.1:{PORT_BASE + 1}/" in told
    status = [json.loads(line) for line in dev("status", "--json").splitlines()]
    assert all(one["ready"] for one in status)
    assert {one["port"] for one in status if one["name"] == "fakes"} == {PORT_BASE + 10}
    home = next(line.split()[-1] for line in dev("status").splitlines() if "data and logs in" in line)
    assert processes_of_the_stack(home) >= {one["pid"] for one in status}
    fakes_list_what_they_were_told(dev)
    dev("down")
    assert processes_of_the_stack(home) == set()
