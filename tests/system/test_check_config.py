"""A configuration with a mistake is refused before anything starts."""

import re
import subprocess

import pytest
from stack import OURS, ROOT

GOOD = ROOT / "tests" / "system" / "tocsin.yml"


def check(service, file):
    program = ROOT / "build" / "dev" / f"tocsin-{service}"
    return subprocess.run([program, "--config", file, "--check-config"], capture_output=True, text=True)


@pytest.mark.parametrize("service", OURS)
def test_unknown_key_is_named_with_its_place(stack, tmp_path, service):
    bad = tmp_path / "bad.yml"
    text = GOOD.read_text()
    bad.write_text(text + "frequenzy:\n  repeat: 3\n")
    line = text.count("\n") + 1
    done = check(service, bad)
    assert done.returncode == 1
    assert re.search(rf"bad\.yml:{line}:1\b.*frequenzy", done.stderr), done.stderr


def test_unknown_key_inside_a_section(stack, tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text("kafka:\n  brokers: 127.0.0.1:9092\n  brokerz: none\n")
    done = check("processor", bad)
    assert done.returncode == 1 and re.search(r"bad\.yml:3:3\b.*brokerz", done.stderr), done.stderr


def test_a_template_is_named_with_its_place_and_that_in_it(stack, tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text(
        "receivers:\n  - name: a\n    slack_configs:\n      - api_url: http://x.example/y\n"
        "        template: |\n          a\n          {{b\n"
    )
    done = check("notifier", bad)
    assert done.returncode == 1
    assert "bad.yml:5:19: receivers.0.slack_configs.0.template: in its text at 2:1: this tag is never closed" in done.stderr
    (tmp_path / "text").write_text("{{/a}}")
    bad.write_text(bad.read_text().split("        template")[0] + "        template_file: text\n")
    assert "bad.yml:5:24: receivers.0.slack_configs.0.template_file: in its text at 1:1: " in check("notifier", bad).stderr


@pytest.mark.parametrize("service", OURS)
def test_good_file(stack, service):
    done = check(service, GOOD)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "address, warned",
    [("0.0.0.0:9000", True), (":9000", True), ("[::]:9000", True), ("10.1.2.3:9000", True)]
    + [("127.0.0.1:9000", False), ("localhost:9000", False), ("[::1]:9000", False)],
)
def test_open_sources_on_a_network_are_warned_of(stack, tmp_path, address, warned):
    file = tmp_path / "open.yml"
    file.write_text(f"ingest: {{listen: '{address}'}}\nsources: {{grafana: {{path_token: t}}}}\n")
    done = check("ingest", file)
    assert done.returncode == 0 and ("anybody who reaches it may send to alertmanager, " in done.stderr) == warned
    assert "grafana" not in done.stderr and "cloudwatch" not in done.stderr
    file.write_text(f"console: {{listen: '{address}'}}\n")
    done = check("console", file)
    assert done.returncode == 0 and ("and has no logins" in done.stderr) == warned


@pytest.mark.parametrize("file", ["tocsin.yml", "demo.yml", "mapping.yml", "rules.yml"])
def test_shipped_files(stack, file):
    for service in OURS:
        done = check(service, ROOT / "deploy" / "examples" / file)
        assert done.returncode == 0, done.stderr


def test_print_config_hides_secrets(stack):
    program = ROOT / "build" / "dev" / "tocsin-ingest"
    done = subprocess.run([program, "--config", GOOD, "--print-config"], capture_output=True, text=True)
    assert done.returncode == 0 and "tocsin.yml:" in done.stdout and "default" in done.stdout
    for secret in ("system-sentry-secret", "system-bearer-token", "system-path-token", "system-repairs-token"):
        assert secret not in done.stdout + done.stderr
