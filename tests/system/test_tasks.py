"""What the notifier does with a configuration alone: show a message, send a test one. No stack is needed."""

import json
import subprocess

import pytest
from stack import ROOT, HttpFake

EXAMPLES = ROOT / "deploy" / "examples"


@pytest.fixture
def fake():
    with HttpFake() as fake:
        yield fake


@pytest.fixture
def run(tmp_path, fake):
    config = tmp_path / "tocsin.yml"
    here = f"http://127.0.0.1:{fake.port}"
    config.write_text(
        json.dumps(
            {
                "limits": {"allow_private_addresses": ["127.0.0.0/8"]},
                "console": {"link_secret": "a secret that is long enough to be one"},
                "receivers": [
                    {
                        "name": "team",
                        "slack_bot_configs": [{"api_url": here + "/api/", "bot_token": "xoxb-s3cret", "channel": "#ops"}],
                        "webhook_configs": [{"url": here + "/hook/s3cret"}],
                        "dashboard_configs": [{}],
                    },
                    {"name": "typist", "discord_configs": [{"webhook_url": here + "/api/webhooks/1/x", "template": "{{titel}}"}]},
                    {"name": "nobody"},
                ],
            }
        )
    )

    def run(*args):
        program = ROOT / "build" / "dev" / "tocsin-notifier"
        return subprocess.run([program, "--config", config, *args], capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize("file", ["incident.json", "message.json"])
def test_shows_a_message_and_its_request_without_secrets_and_sends_nothing(run, fake, file):
    done = run("--render", "slack_bot", EXAMPLES / file)
    assert done.returncode == 0, done.stderr
    text, _, request = done.stdout.partition("--- team, to #ops at 127.0.0.1")
    assert "ValueError in recommend API" in text and "*Service*: recommend" in text
    head, _, body = request.partition("\n\n")
    assert "Authorization: …" in head and json.loads(body)["channel"] == "#ops"
    assert "s3cret" not in done.stdout and not fake.journal.since(0)
    assert "s3cret" not in run("--render", "webhook", EXAMPLES / file).stdout


def test_shows_a_message_of_a_channel_that_nobody_has(run):
    done = run("--render", "telegram", EXAMPLES / "incident.json")
    assert done.returncode == 0 and "<b>Service</b>: recommend" in done.stdout
    assert "there is no request to show" in done.stdout


def test_says_that_a_template_gave_way_to_the_built_in_layout(run):
    done = run("--render", "discord", EXAMPLES / "incident.json")
    assert done.returncode == 0 and "ValueError in recommend API" in done.stdout
    assert "template gives nothing here: it is empty" in done.stderr
    assert run("--render", "slack_bot", EXAMPLES / "incident.json").stderr == ""


@pytest.mark.parametrize(
    "args, words",
    [
        (["--render", "pigeon", "x"], "no channel pigeon"),
        (["--render", "slack", ROOT / "README.md"], "README.md:1: "),
        (["--send-test", "other"], "no receiver other"),
        (["--send-test", "nobody"], "nobody has no channel"),
    ],
)
def test_says_what_it_cannot_do(run, args, words):
    done = run(*args)
    assert done.returncode == 1 and words in done.stderr


def test_sends_one_test_message_on_each_channel_and_says_what_each_answered(run, fake):
    done = run("--send-test", "team")
    assert done.returncode == 0, done.stdout + done.stderr
    answers = done.stdout.splitlines()
    assert [a.split(",")[0] for a in answers] == ["slack_bot", "webhook", "dashboard"]
    assert all(": delivered: " in a for a in answers)
    sent = fake.journal.since(0)
    assert [r["channel"] for r in sent] == ["slack_bot", "webhook"] and all("Test message" in r["raw"] for r in sent)
    fake.faults.push("slack_bot", "xoxb-s3cret", ["200body:not_in_channel"])
    fake.faults.push("webhook", "/hook/s3cret", ["503"])
    done = run("--send-test", "team")
    assert done.returncode == 1
    assert "refused: not_in_channel" in done.stdout and "not now: fault on demand" in done.stdout
    assert "s3cret" not in done.stdout
