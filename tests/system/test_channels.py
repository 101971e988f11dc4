"""Every channel delivers, and every answer of a channel ends as it should in the ledger."""

import re

import bodies
import pytest
from stack import states, wait

# Where the receiver `to-CHANNEL` of tocsin.yml sends.
KEYS = {
    "webhook": "/hook/plain",
    "wecom": "plain",
    "slack": "plain",
    "slack_bot": "xoxb-plain",
    "email": "plain@example.org",
    "dingtalk": "signed-plain",
    "feishu": "signed-plain",
    "telegram": "plain",
    "discord": "plain",
    "mattermost": "plain",
    "teams": "plain",
    "wecom_app": "plain",
    "twilio_sms": "+4930123456",
    "twilio_voice": "+4930123457",
    "aliyun_sms": "13800000000",
}
CHANNELS = tuple(KEYS)
# The first robots' twenty messages a minute are used up by then.
LATER = {
    **{channel: (f"to-{channel}", key) for channel, key in KEYS.items()},
    "wecom": ("to-wecom-2", "second"),
    "dingtalk": ("to-dingtalk-2", "signed-second"),
}
# How the address says that an earlier message is edited; None where that cannot be.
EDITS = {
    "dingtalk": None,
    "feishu": None,
    "telegram": "/editMessageText",
    "discord": "/messages/",
    "mattermost": None,
    "teams": None,
}


def fire(stack, name, to, **labels):
    stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name, to=to, **labels)))


def ended(stack, name, state):
    """The only notification of `name`, once it has ended in that state; of one that failed the first, since it is said again."""

    def probe():
        rows = stack.incident(name)["notifications"]
        assert [r["state"] for r in (rows[:1] if state == "failed" else rows)] == [state], rows
        return rows[0]

    return wait(f"the notification of {name} to be {state}", probe)


@pytest.mark.parametrize("channel", CHANNELS)
def test_delivers(stack, name, channel):
    fire(stack, name, f"to-{channel}")
    row = ended(stack, name, "delivered")
    assert row["channel"] == channel and row["receiver"] == f"to-{channel}" and not row["possible_duplicate"]
    assert [d["outcome"] for d in row["deliveries"]] == ["delivered"] and row["deliveries"][0]["answer"]
    (message,) = stack.messages(name)
    assert message["channel"] == channel and f"no room left for {name}" in message["text"]


@pytest.mark.parametrize("channel, words", [("wecom", ("来源", "服务", "时间")), ("slack", ("Source", "Service", "Time"))])
def test_speaks_the_language_of_its_readers(stack, name, channel, words):
    fire(stack, name, f"to-{channel}", environment="production")
    ended(stack, name, "delivered")
    (message,) = stack.messages(name)
    for word in (*words, "production"):
        assert word in message["text"]


@pytest.mark.parametrize("channel", EDITS)
def test_tells_an_incident_to_its_end(stack, name, channel):
    """Later news edits the first message, or is shorter than it."""
    to, _ = LATER[channel]
    body = bodies.webhook(bodies.one_alert(name, to=to))
    stack.send("/webhook/alertmanager", body)
    ended(stack, name, "delivered")
    stack.put(f"/api/v1/incidents/{stack.incident(name)['id']}/status", {"status": "acknowledged"})
    wait("the acknowledgement to be told", lambda: states(stack.incident(name)).get("status") == "delivered")
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    wait("the end to be told", lambda: states(stack.incident(name)).get("resolved") == "delivered")
    first, *later = stack.messages(name, channel)
    assert len(later) == 2
    if EDITS[channel]:
        assert EDITS[channel] not in first["endpoint"] and all(EDITS[channel] in m["endpoint"] for m in later)
    else:
        assert all(len(m["text"]) < len(first["text"]) for m in later)


def test_the_slack_bot_edits_its_message_and_tells_the_thread(stack, name):
    body = bodies.webhook(bodies.one_alert(name, to="to-slack_bot"))
    stack.send("/webhook/alertmanager", body)
    ended(stack, name, "delivered")
    stack.put(f"/api/v1/incidents/{stack.incident(name)['id']}/status", {"status": "acknowledged"})
    wait("the acknowledgement to be told", lambda: states(stack.incident(name)).get("status") == "delivered")
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    wait("the end to be told", lambda: states(stack.incident(name)).get("resolved") == "delivered")
    messages = stack.messages(name, "slack_bot")
    methods = [m["endpoint"].rsplit(".", 1)[-1] for m in messages]
    assert methods == ["postMessage", "update", "postMessage", "update", "postMessage"]
    first, *later = (bodies.json.loads(m["raw"]) for m in messages)
    assert first["channel"] == "#ops" and {m["channel"] for m in later} == {"C0OPS"}
    assert len({m.get("ts") or m.get("thread_ts") for m in later}) == 1


def test_the_dashboard_is_told_by_the_row_alone(stack, name):
    before = len(stack.journal.since(0))
    fire(stack, name, "to-dashboard")
    row = ended(stack, name, "delivered")
    assert row["channel"] == "dashboard" and row["destination"] == "the page"
    assert not [r for r in stack.journal.since(before) if name in r["raw"]]


def test_email_is_for_its_recipient(stack, name):
    fire(stack, name, "to-email")
    ended(stack, name, "delivered")
    (message,) = stack.messages(name)
    assert message["endpoint"] == "plain@example.org"
    assert re.search(r"^Subject: .*\S", message["text"], re.M)


def test_the_mails_of_an_incident_are_one_thread(stack, name):
    fire(stack, name, "to-email")
    ended(stack, name, "delivered")
    stack.put(f"/api/v1/incidents/{stack.incident(name)['id']}/status", {"status": "acknowledged"})
    wait("the acknowledgement to be told", lambda: states(stack.incident(name)).get("status") == "delivered")
    mails = [m["raw"] for m in stack.messages(name)]
    assert len(mails) == 2
    ids, *roots = ([re.search(rf"^{header}: *(\S+)", m, re.M)[1] for m in mails] for header in ("Message-ID", "In-Reply-To", "References"))
    assert ids[0] != ids[1] and len(set(roots[0] + roots[1])) == 1


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("answers", [["500"], ["429:1"], ["reset", "close"]])
def test_tries_again(stack, name, channel, answers):
    if channel == "email":
        answers = {"500": ["451"], "429:1": ["421"], "reset": ["close"]}[answers[0]]
    stack.faults.push(channel, KEYS[channel], answers)
    fire(stack, name, f"to-{channel}")
    row = ended(stack, name, "delivered")
    assert [d["outcome"] for d in row["deliveries"]] == ["retry"] * len(answers) + ["delivered"]
    assert [d["attempt"] for d in row["deliveries"]] == list(range(1, len(answers) + 2))
    assert len(stack.messages(name)) == 1


@pytest.mark.parametrize(
    "channel, answer, words",
    [
        ("webhook", "400", "400"),
        ("slack", "404", "404"),
        ("slack", "410:channel_is_archived", "channel_is_archived"),
        ("slack_bot", "200body:not_in_channel", "not_in_channel"),
        ("slack_bot", "200body:missing_scope", "chat:write is needed"),
        ("wecom", "200body:93000", "93000"),
        ("wecom", "200body:40058", "40058"),
        ("dingtalk", "200body:310000", "310000"),
        ("feishu", "200body:19024", "19024"),
        ("telegram", "403", "bot was blocked"),
        ("discord", "400", "50035"),
        ("mattermost", "404", "Invalid webhook"),
        ("teams", "404", "WorkflowNotFound"),
        ("wecom_app", "200body:60020", "60020"),
        ("twilio_sms", "400:21610", "21610"),
        ("twilio_voice", "400:21211", "21211"),
        ("aliyun_sms", "200body:isv.AMOUNT_NOT_ENOUGH", "isv.AMOUNT_NOT_ENOUGH"),
        ("email", "550", "550"),
    ],
)
def test_gives_up_and_says_what_the_channel_said(stack, name, channel, answer, words):
    stack.faults.push(channel, KEYS[channel], [answer])
    fire(stack, name, f"to-{channel}")
    row = ended(stack, name, "failed")
    (delivery,) = row["deliveries"]
    assert delivery["outcome"] == "rejected" and words in f"{delivery['http_status']} {delivery['answer']}"
    assert row["reason"]
    # After `retry_cap`; until then it could take the next test's answers.
    (message,) = wait("it to be said again", lambda: stack.messages(name))
    assert message["channel"] == channel


@pytest.mark.parametrize(
    "channel, answer",
    [
        ("wecom", "200body:-1"),
        ("slack", "200body:maybe"),
        ("slack_bot", "200body:internal_error"),
        ("dingtalk", "200body:-1"),
        ("telegram", "200body:maybe"),
        ("discord", "200body:maybe"),
        ("mattermost", "200body:maybe"),
        ("teams", "200body:connector"),
        ("wecom_app", "200body:-1"),
        ("twilio_sms", "200body:maybe"),
        ("aliyun_sms", "200body:isp.SYSTEM_ERROR"),
    ],
)
def test_error_under_http_200_is_no_delivery(stack, name, channel, answer):
    stack.faults.push(channel, KEYS[channel], [answer])
    fire(stack, name, f"to-{channel}")
    row = ended(stack, name, "delivered")
    first, second = row["deliveries"]
    assert (first["outcome"], first["http_status"], second["outcome"]) == ("retry", 200, "delivered")


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_answer_is_said_to_be_a_possible_duplicate(stack, name, channel):
    to, key = LATER[channel]
    stack.faults.push(channel, key, ["lost"])
    fire(stack, name, to)
    row = ended(stack, name, "delivered")
    assert row["possible_duplicate"] and len(row["deliveries"]) == 2
    read = stack.messages(name)
    assert len(read) == 2
    if channel == "email":
        first, second = (re.search(r"^Message-ID: *(\S+)", m["raw"], re.M | re.I)[1] for m in read)
        assert first == second


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_that_hangs_is_left(stack, name, channel):
    to, key = LATER[channel]
    stack.faults.push(channel, key, ["hang"])
    fire(stack, name, to)
    row = ended(stack, name, "delivered")
    assert [d["outcome"] for d in row["deliveries"]] == ["retry", "delivered"]


@pytest.mark.parametrize("code", ("40014", "42001"))
def test_wecom_renews_a_token_that_was_taken_back(stack, name, code):
    """In the same attempt, and tells who was not reached."""
    fire(stack, name + "a", "to-wecom_app")
    row = ended(stack, name + "a", "delivered")
    assert "gone1" in row["reason"]
    since = len(stack.journal.since(0))
    stack.faults.push("wecom_app", "plain", ["200body:" + code])
    fire(stack, name + "b", "to-wecom_app")
    row = ended(stack, name + "b", "delivered")
    assert [d["outcome"] for d in row["deliveries"]] == ["delivered"]
    asked = [r["endpoint"].split("?")[0].rpartition("/")[2] for r in stack.journal.since(since) if r["channel"] == "wecom_app"]
    assert asked == ["send", "gettoken", "send"]


def test_nobody_is_called_for_what_a_person_did(stack, name):
    fire(stack, name, "to-twilio_voice")
    ended(stack, name, "delivered")
    stack.put(f"/api/v1/incidents/{stack.incident(name)['id']}/status", {"status": "acknowledged"})
    wait("the acknowledgement not to be told", lambda: states(stack.incident(name)).get("status") == "suppressed")
    (call,) = stack.messages(name)
    assert call["text"].count(f"no room left for {name}") == 2  # said twice


def test_a_channel_that_hangs_holds_up_no_other(stack, name):
    stack.faults.push("slack", "plain", ["hang*"])
    fire(stack, name + "a", "to-slack")
    wait("the hanging request", lambda: [r for r in stack.journal.since(0) if r["answer"] == "hang" and name + "a" in r["raw"]])
    fire(stack, name + "b", "to-webhook")
    ended(stack, name + "b", "delivered")
    assert states(stack.incident(name + "a")) != {"opened": "delivered"}
    stack.faults.clear()
    ended(stack, name + "a", "delivered")


def test_webhook_says_the_whole_story(stack, name):
    """Firing and end of a group, in the payload that Alertmanager's receivers know."""
    alerts = [bodies.one_alert(name, to="to-webhook", instance=i) for i in "ab"]
    body = bodies.webhook(*alerts)
    stack.send("/webhook/alertmanager", body)
    ended(stack, name, "delivered")
    stack.send("/webhook/alertmanager", bodies.resolved(body))
    wait("both messages", lambda: len(stack.messages(name)) == 2)
    firing, over = (bodies.json.loads(m["raw"]) for m in stack.messages(name))
    assert (firing["status"], over["status"]) == ("firing", "resolved")
    assert firing["receiver"] == "to-webhook" and firing["groupKey"] == over["groupKey"]
    sent = {a["fingerprint"]: a["labels"] for a in alerts}
    assert {a["fingerprint"]: a["labels"] for a in firing["alerts"]} == sent
    assert {a["fingerprint"]: a["labels"] for a in over["alerts"]} == sent


def test_a_robot_is_never_asked_for_more_than_it_takes(stack, name):
    """More messages than the robot's rate allows: they merge into digests, and every incident is named."""
    services = [f"{name}n{n:02}" for n in range(30)]
    for service in services:
        fire(stack, service, "to-storm-robot")

    def probe():
        rows = [r for s in services for r in stack.incident(s)["notifications"] if r["kind"] == "opened"]
        assert len(rows) == len(services)
        assert {r["state"] for r in rows} <= {"delivered", "merged"}, sorted(r["state"] for r in rows)
        assert any(r["state"] == "merged" for r in rows)
        return True

    wait("every notification to end", probe, 180)

    def all_read():
        text = "\n".join(m["text"] for m in stack.messages(name, "wecom"))
        missing = [s for s in services if s not in text]
        assert not missing, missing
        return True

    wait("every incident to be read", all_read)
    asked = [r for r in stack.journal.since(0) if "key=storm-robot" in r["endpoint"]]
    assert len(asked) < len(services) and all(r["accepted"] for r in asked), [r["answer"] for r in asked]
