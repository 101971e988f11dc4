"""Debian's own Zabbix as a sender: our media type is imported, a trigger fires, is worked on and recovers."""

import pytest
from stack import DEADLINE_S, ROOT, kinds, wait
from zabbix import Zabbix

MEDIA_TYPE = ROOT / "deploy" / "examples" / "zabbix-media-type.yml"
WARNING, DISASTER = 2, 5


@pytest.fixture
def zabbix(stack, tmp_path):
    with Zabbix(stack.addresses["DATABASE_URL"], tmp_path) as zabbix:
        yield zabbix


def test_zabbix_server(stack, name, zabbix):
    zabbix.ask("usermacro.createglobal", macro="{$ZABBIX.URL}", value="https://zabbix.example")
    media_type = zabbix.import_media_type(MEDIA_TYPE)
    zabbix.tell_by(media_type, f"{stack.ingest_url}/webhook/zabbix")
    tags = [{"tag": "service", "value": name}, {"tag": "to", "value": "to-slack"}]
    zabbix.make_trigger(f"host-of-{name}", WARNING, tags=tags, opdata="value {ITEM.LASTVALUE}", comments=f"{name} is in trouble")

    zabbix.send(f"host-of-{name}", 1)
    incident = wait("the incident", lambda: stack.incident(name), 2 * DEADLINE_S)  # Zabbix takes its time on a busy machine
    assert incident["status"] == "open" and incident["source"] == "zabbix" and incident["severity"] == "warning"
    assert incident["title"] == f"Trouble 1 at host-of-{name}"
    assert incident["alert_name"] == "Trouble {ITEM.LASTVALUE} at {HOST.NAME}"
    problem = zabbix.problem()
    assert incident["link"].startswith("https://zabbix.example/tr_events.php?triggerid=")
    assert incident["link"].endswith(f"&eventid={problem}")
    wait("its message", lambda: kinds(stack.incident(name)) == ["opened"] and stack.messages(name))
    assert all(words in stack.messages(name)[0]["text"] for words in (f"{name} is in trouble", "value 1"))

    acknowledge, say, change_severity = 2, 4, 8
    act = acknowledge | say | change_severity
    zabbix.ask("event.acknowledge", eventids=[problem], action=act, message="on it", severity=DISASTER)
    wait("the severity", lambda: stack.incident(name)["severity"] == "critical")
    lines = wait("the note", lambda: [t["text"] for t in stack.incident(name)["timeline"] if "on it" in t["text"]])
    assert "acknowledged" in lines[0] and "in Zabbix" in lines[0]
    wait("the severity's message", lambda: kinds(stack.incident(name)) == ["opened", "severity"])

    zabbix.send(f"host-of-{name}", 0)
    ended = wait("the end", lambda: stack.incident(name)["status"] == "resolved" and stack.incident(name))
    assert ended["resolve_reason"] == "alerts" and ended["alerts_firing"] == 0
    wait("its message", lambda: kinds(stack.incident(name)) == ["opened", "severity", "resolved"])
    wait("Zabbix to know", lambda: [(a["status"], a["error"]) for a in zabbix.alerts()] == [("1", "")] * 3)
