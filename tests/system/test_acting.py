"""Whoever gets a message can act from it: by its links, by Slack's buttons, by a key of the telephone. What a vendor says
of it later stands in the ledger."""

import base64
import hashlib
import hmac
import json
import re
import time
import urllib.parse
import uuid

import bodies
import pytest
import slack
import twilio
from stack import Client, kinds, states, wait

LINK_SECRET, SLACK_SECRET = "system-link-secret-of-the-tests", "system-slack-signing-secret"  # of tocsin.yml
VERBS = {"acknowledge": 1, "claim": 2, "silence": 3, "resolve": 4}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def fire(stack, name, to, **labels):
    body = bodies.webhook(bodies.one_alert(name, to=to, **labels))
    stack.send("/webhook/alertmanager", body)
    return body


def told(stack, name, kind="opened", state="delivered"):
    def probe():
        found = states(stack.incident(name))
        assert found.get(kind) == state, found
        return True

    wait(f"{kind} of {name} to be {state}", probe)


def console(stack, method, path, body=None, headers=None):
    status, answer = Client(stack.console_url).request(method, path, body, headers)
    return status, answer.decode()


def people(stack, name):
    """(who, what) of the timeline's entries that people made."""
    entries = stack.incident(name)["timeline"]
    return sorted((e["actor"], e["text"]) for e in entries if e["kind"] in ("status", "note") and e["actor"])


# Links


def link(stack, name, verb, channel="mattermost"):
    """The path behind a link of the newest message about it."""
    text = stack.messages(name, channel)[-1]["text"]
    (url,) = re.findall(rf"{verb}[^<\n]* <(http://localhost:\d+/act/[\w-]+)>", text)
    return urllib.parse.urlsplit(url).path


def follow(stack, path, who):
    return console(stack, "POST", path, urllib.parse.urlencode({"name": who}).encode(), FORM)


def token(stack, name, verb, expires, secret=LINK_SECRET, receiver=b"to-mattermost"):
    """Written after common/act.h."""
    raw = bytes([1, VERBS[verb]]) + int(expires).to_bytes(5, "big") + uuid.UUID(stack.incident(name)["id"]).bytes
    raw += bytes([len(b"default")]) + b"default" + receiver
    mac = hmac.new(secret.encode(), b"tocsin act\0" + raw, hashlib.sha256).digest()[:16]
    return base64.urlsafe_b64encode(raw + mac).decode().rstrip("=")


def test_to_look_at_a_link_changes_nothing_and_its_button_acts(stack, name):
    fire(stack, name, "to-mattermost")
    told(stack, name)
    path = link(stack, name, "Acknowledge")
    for method in ("GET", "HEAD", "GET", "GET"):
        status, page = console(stack, method, path, headers={"User-Agent": "Slackbot-LinkExpanding 1.0"})
        assert status == 200 and ('<form method="post">' in page) == (method == "GET")
    assert stack.incident(name)["status"] == "open" and not people(stack, name)
    for _ in range(2):
        status, page = follow(stack, path, "Ann")
        assert status == 200 and "Acknowledged." in page or "acknowledged already" in page
    assert stack.incident(name)["status"] == "acknowledged" and "Ann (to-mattermost)" in console(stack, "GET", path)[1]
    assert people(stack, name) == [("Ann (to-mattermost)", "acknowledged")]
    status, page = follow(stack, link(stack, name, "Resolve"), "Bob")
    assert status == 200 and stack.incident(name)["status"] == "resolved"
    assert people(stack, name) == [("Ann (to-mattermost)", "acknowledged"), ("Bob (to-mattermost)", "resolved")]


def test_links_that_are_not_ours_are_refused_with_a_reason(stack, name):
    fire(stack, name, "to-mattermost")
    told(stack, name)
    soon = time.time() + 3600
    path = link(stack, name, "Resolve")
    raw = bytearray(base64.urlsafe_b64decode(path.removeprefix("/act/") + "=="))
    raw[1] = VERBS["acknowledge"]
    altered = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    refused = {
        "/act/" + token(stack, name, "resolve", soon, "somebody else's secret"): (403, "not one that we made"),
        "/act/" + altered: (403, "not one that we made"),
        path[:-4]: (403, "not one that we made"),
        "/act/" + token(stack, name, "resolve", time.time() - 60): (410, "has expired"),
    }
    for bad, (expected, why) in refused.items():
        for method in ("GET", "POST"):
            status, page = follow(stack, bad, "Eve") if method == "POST" else console(stack, method, bad)
            assert status == expected and why in page and "<form" not in page
    assert stack.incident(name)["status"] == "open" and not people(stack, name)
    # What is refused above is refused for what is wrong with it: the same token, good, is taken.
    assert follow(stack, "/act/" + token(stack, name, "resolve", soon), "Ann")[0] == 200
    assert stack.incident(name)["status"] == "resolved"


def test_a_link_silences_and_what_fires_afterwards_is_told_when_that_is_over(stack, name):
    body = fire(stack, name, "to-mattermost")
    told(stack, name)
    status, page = follow(stack, link(stack, name, "Silence"), "Ann")
    assert status == 200 and "Silenced." in page
    (silence,) = [s for s in stack.get("/api/v1/silences?status=active")["silences"] if name in json.dumps(s["matchers"])]
    assert silence["created_by"] == "Ann (to-mattermost)"
    assert people(stack, name) == [("Ann (to-mattermost)", f"silenced until {silence['ends_at']}")]
    # What cannot be edited stays as it is. Who was told the start is told the end.
    told(stack, name, "silence", "suppressed")
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    told(stack, name, "resolved")
    fire(stack, name, "to-mattermost", starts=time.time())
    told(stack, name, "reopened", "suppressed")
    (kept,) = [n for n in stack.incident(name)["notifications"] if n["kind"] == "reopened"]
    assert kept["reason"].startswith(f"silence {silence['id']} of Ann (to-mattermost) until ") and not kept["deliveries"]
    assert len(stack.messages(name, "mattermost")) == 2
    status, ended = console(stack, "DELETE", f"/api/v1/silences/{silence['id']}")
    assert status == 200 and json.loads(ended)["status"] == "expired"
    wait("what still fires to be told", lambda: kinds(stack.incident(name)) == ["opened", "silence", "resolved", "reopened", "reopened"])
    wait("it to arrive", lambda: len(stack.messages(name, "mattermost")) == 3)


# Slack


def press(stack, body, secret=SLACK_SECRET, late=0, sent=None):
    at = str(int(time.time() - late))
    headers = {**FORM, "X-Slack-Request-Timestamp": at, "X-Slack-Signature": slack.signature(secret, at, body)}
    return console(stack, "POST", "/callback/slack", sent or body, headers)


def buttons(stack, name, at=-1):
    """{action_id: element} of a message."""
    edits = [m for m in stack.messages(name, "slack_bot") if "blocks" in m["raw"]]
    rows = [b["elements"] for b in json.loads(edits[at]["raw"])["blocks"] if b["type"] == "actions"]
    return {e["action_id"]: e for row in rows for e in row}


def edited(stack, name):
    """The first message as it reads now."""
    edits = [m for m in stack.messages(name, "slack_bot") if m["endpoint"].endswith("chat.update")]
    return "".join(b["text"]["text"] for b in json.loads(edits[-1]["raw"])["blocks"] if b["type"] == "section")


def test_a_button_of_slack_acts_once_and_the_message_is_edited(stack, name):
    fire(stack, name, "to-slack_bot")
    told(stack, name)
    shown = buttons(stack, name)
    assert list(shown) == list(VERBS)
    body = slack.pressed(shown["acknowledge"], user="ann")
    for _ in range(2):  # Slack posts again when it saw no answer
        assert press(stack, body) == (200, "")
    assert people(stack, name) == [("ann (to-slack_bot)", "acknowledged")]
    told(stack, name, "status")
    assert "*Owner*: ann (to-slack_bot)" in edited(stack, name)
    assert list(buttons(stack, name)) == ["claim", "silence", "resolve"]  # nobody acknowledges twice
    assert press(stack, slack.pressed(buttons(stack, name)["claim"], user="bob"))[0] == 200
    wait("the message to name who has it now", lambda: "*Owner*: bob (to-slack_bot)" in edited(stack, name))
    assert "Taken over by bob (to-slack_bot)" in edited(stack, name)
    assert press(stack, slack.pressed(buttons(stack, name)["silence"], user="bob"))[0] == 200
    wait("the message to say that it is silenced", lambda: "Silenced until " in edited(stack, name))
    assert re.search(r"Silenced until .+ by bob \(to-slack_bot\)\.", edited(stack, name))
    (silence,) = [s for s in stack.get("/api/v1/silences?status=active")["silences"] if name in json.dumps(s["matchers"])]
    assert console(stack, "DELETE", f"/api/v1/silences/{silence['id']}")[0] == 200
    wait("the message to say that this is over", lambda: "No longer silenced." in edited(stack, name))
    assert "Silenced until" not in edited(stack, name)
    assert press(stack, slack.pressed(shown["resolve"], user="bob"))[0] == 200
    bob = "bob (to-slack_bot)"
    acts = people(stack, name)
    assert acts[0] == ("ann (to-slack_bot)", "acknowledged") and [who for who, _ in acts[1:]] == [bob] * 3
    assert [what.split(" ")[0] for _, what in acts[1:]] == ["resolved", "silenced", "taken"]
    told(stack, name, "resolved")
    assert not buttons(stack, name)
    assert len([m for m in stack.messages(name, "slack_bot") if m["endpoint"].endswith("chat.postMessage") and "thread_ts" not in m["raw"]]) == 1


def test_what_slack_did_not_sign_or_sent_at_another_time_changes_nothing(stack, name):
    fire(stack, name, "to-slack_bot")
    told(stack, name)
    body = slack.pressed(buttons(stack, name)["resolve"])
    assert press(stack, body, secret="another secret")[0] == 401
    assert press(stack, body, late=301 + 5)[0] == 401
    assert press(stack, body, late=-301 - 5)[0] == 401
    assert press(stack, body, sent=body.replace(b"ann", b"eve"))[0] == 401
    assert console(stack, "POST", "/callback/slack", body, FORM)[0] == 401
    forged = {"action_id": "resolve", "value": token(stack, name, "resolve", time.time() + 60, "another")}
    assert press(stack, slack.pressed(forged))[0] == 403
    assert stack.incident(name)["status"] == "open" and not people(stack, name)
    assert press(stack, body)[0] == 200
    assert stack.incident(name)["status"] == "resolved"


# Telephones


def phone(stack, resource):
    return stack.web.endpoints.of(f"/2010-04-01/Accounts/AC1/{resource}.json")


def row(stack, name, state, kind="opened"):
    """The first notification of the kind to whom it was meant for, once it is in that state."""

    def probe():
        rows = [n for n in stack.incident(name)["notifications"] if n["kind"] == kind and n["receiver"] != "catches"]
        rows.sort(key=lambda n: n["sequence"])
        assert rows and rows[0]["state"] == state, rows
        return rows[0]

    return wait(f"{kind} of {name} to be {state}", probe)


def test_a_key_of_the_telephone_acknowledges(stack, name):
    fire(stack, name, "to-twilio_voice")
    told(stack, name)
    calls = phone(stack, "Calls")
    assert calls.press(name, "1", token="another")[0] == 401
    status, said = calls.press(name, "7")
    assert status == 200 and "Nothing was changed" in said and stack.incident(name)["status"] == "open"
    status, said = calls.press(name, "1")
    assert status == 200 and "Acknowledged." in said
    assert stack.incident(name)["status"] == "acknowledged"
    assert people(stack, name) == [("+4930123457 (to-twilio_voice)", "acknowledged")]


def test_a_message_that_arrived_stays_delivered(stack, name):
    fire(stack, name, "to-twilio_sms")
    before = row(stack, name, "delivered")
    assert before["deliveries"][0]["report"] is None  # Twilio may never say
    messages = phone(stack, "Messages")
    for status in ("queued", "sent", "delivered", "delivered", "sent", "queued"):
        assert messages.report(name, status) == (204, "")
    after = row(stack, name, "delivered")
    assert (after["deliveries"][0]["report"]["state"], after["deliveries"][0]["report"]["words"]) == ("arrived", "delivered")
    assert after["ended_at"] == before["ended_at"] and len(stack.messages(name)) == 1


def test_a_message_that_was_lost_has_failed_and_is_said_again(stack, name):
    fire(stack, name, "to-twilio_sms")
    row(stack, name, "delivered")
    messages = phone(stack, "Messages")
    first = messages.newest(name)
    assert messages.report(name, "failed", token="another")[0] == 401
    assert row(stack, name, "delivered")["deliveries"][0]["report"] is None
    assert messages.report(name, "undelivered", ErrorCode="30003")[0] == 204
    lost = row(stack, name, "failed")
    assert lost["reason"].startswith("undelivered, error 30003") and lost["deliveries"][0]["outcome"] == "delivered"
    assert lost["deliveries"][0]["report"]["state"] == "lost"
    for late in ("sent", "delivered", "undelivered"):  # out of order, contradicted, twice
        assert messages.report(first, late)[0] == 204
    assert row(stack, name, "failed")["deliveries"][0]["report"]["words"] == "undelivered, error 30003"
    again = wait("it to be said again", lambda: len(stack.messages(name)) == 2 and kinds(stack.incident(name)))
    assert again == ["opened", "opened"]
    assert "twilio_sms to to-twilio_sms: failed: undelivered, error 30003" in [e["text"] for e in stack.incident(name)["timeline"]]
    # The receiver takes messages, and yet fails until one arrives.
    failing = lambda: [i["status"] for i in stack.incidents("to-twilio_sms")]
    wait("the alert about the receiver", lambda: "open" in failing())
    assert messages.report(name, "delivered")[0] == 204
    wait("its end", lambda: set(failing()) == {"resolved"})


def test_what_a_telephone_did_not_get_its_fallback_does(stack, name):
    fire(stack, name, "phone-falls")
    row(stack, name, "delivered")
    assert phone(stack, "Calls").report(name, "no-answer")[0] == 204
    lost = row(stack, name, "failed")
    assert lost["reason"] == "no-answer; told to catches instead"
    wait("the fallback to be told", lambda: stack.messages(name, "webhook"))
