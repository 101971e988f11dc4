"""docs/generic.schema.json says of a body what the generic source says of it: the schema is asked, and tocsin-ingest --try-source."""

import json
import os
import pathlib
import subprocess

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INGEST = os.environ.get("TOCSIN_INGEST", ROOT / "build" / "dev" / "tocsin-ingest")
SCHEMA = json.loads((ROOT / "docs" / "generic.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
GOLDEN = ROOT / "tests" / "golden" / "sources" / "generic"

TIME = "2026-01-02T03:04:05Z"
ALERT = {
    "title": "x", "id": "1", "source": "cron", "status": "firing", "severity": "error", "description": "d", "link": "l",
    "starts_at": TIME, "ends_at": TIME, "tags": ["a"], "labels": {"a": "b", "n": 1}, "annotations": {"c": True}, "metadata": {"service": "s", "deep": {"er": 1}},
}  # fmt: skip

TAKEN = [
    {"title": "x"}, {"title": 404}, {"title": True}, {"title": "\n x"}, {"title": "\u0000"}, {"title": "\u00a0"}, [], [ALERT], [ALERT, {"title": "y"}],
    *({**ALERT, key: None} for key in ALERT if key != "title"),
    {**ALERT, "status": ""}, {**ALERT, "status": "resolved"}, {**ALERT, "severity": "whatever"}, {**ALERT, "id": 7}, {**ALERT, "unknown": {"member": []}},
    *({**ALERT, "starts_at": t} for t in ("2026-01-02t03:04:05z", "2026-01-02 03:04:05.123456789+23:59", "2016-12-31T23:59:60Z", "0001-01-01T00:00:00Z")),
]  # fmt: skip
REFUSED = [
    "x", 1, None, True, {}, [[]], [None], [ALERT, {}], {"title": ""}, {"title": " \t\r\n"}, {"title": None}, {"title": ["x"]}, {"title": {"x": 1}},
    *({**ALERT, "status": s} for s in ("broken", "Firing", 1, True)),
    *({**ALERT, key: v} for key in ("labels", "annotations", "metadata") for v in ("a", 1, ["a"], False)),
    *({**ALERT, "tags": v} for v in ("a", 1, {"a": 1}, True)),
    *({**ALERT, key: v} for key in ("starts_at", "ends_at")
      for v in ("", "soon", 1767323045, "2026-01-02", "2026-13-01T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-02T24:00:00Z", "2026-01-02T03:04:05",
                "2026-01-02T03:04:05.Z", "2026-01-02T03:60:05Z", " 2026-01-02T03:04:05Z", True, [TIME], {})),
]  # fmt: skip
# Of no use, and left out by the source; who validates wants to know of it.
LEFT_OUT = [
    {**ALERT, "status": []}, {**ALERT, "severity": {"of": 1}}, {**ALERT, "link": ["l"]}, {**ALERT, "tags": [1]}, {**ALERT, "labels": {"a": {"b": 1}}},
]  # fmt: skip


def taken(body):
    command = [INGEST, "--try-source", "generic", "-"]
    done = subprocess.run(command, input=body, capture_output=True, check=False)
    answer = json.loads(done.stdout)
    assert answer["accepted"] == (done.returncode == 0), answer
    assert answer["accepted"] or answer["status"] == 400, answer
    return answer["accepted"]


def valid(body):
    return VALIDATOR.is_valid(body)


def short(body):
    return json.dumps(body)[:60]


def test_the_schema_is_one_and_its_examples_are_good():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for body in SCHEMA["examples"]:
        assert valid(body) and taken(json.dumps(body).encode())


@pytest.mark.parametrize("body", TAKEN, ids=short)
def test_both_take(body):
    assert taken(json.dumps(body).encode()) and valid(body)


@pytest.mark.parametrize("body", REFUSED, ids=short)
def test_both_refuse(body):
    assert not taken(json.dumps(body).encode()) and not valid(body)


@pytest.mark.parametrize("body", LEFT_OUT, ids=short)
def test_the_schema_alone_minds(body):
    assert taken(json.dumps(body).encode()) and not valid(body)


def cases():
    return sorted(path for path in GOLDEN.glob("*.json") if not path.name.endswith(".expected.json"))


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_golden_bodies(path):
    expected = json.loads(path.with_suffix(".expected.json").read_text())
    why = expected.get("refused", {}).get("why", "")
    if "scan" in expected or why.startswith("JSON:"):
        pytest.skip("no JSON, of which a schema says nothing")
    assert valid(json.loads(path.read_text())) == (not why)
