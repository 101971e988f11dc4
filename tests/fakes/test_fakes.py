"""The fakes must refuse what the vendors refuse: every other test leans on them."""

import base64
import json
import smtplib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from email.message import EmailMessage
from pathlib import Path

import pytest
import slack
import wecom
from faults import Faults
from http_fake import HttpFake
from journal import Journal, for_people
from reply import Request
from smtp_fake import SmtpFake, read_message

JSON = "application/json"


def send(fake, path, body, kind=JSON, method="POST", headers=()):
    """(status, headers, body as text)"""
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    url = f"http://127.0.0.1:{fake.port}{path}"
    request = urllib.request.Request(url, raw, {"Content-Type": kind, **dict(headers)}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def post(fake, path, body, kind=JSON):
    status, _, text = send(fake, path, body, kind)
    return status, text


def last(fake):
    return fake.journal.since(0)[-1]


# WeCom robot

ROBOT = "/cgi-bin/webhook/send?key=K"


def markdown(content):
    return {"msgtype": "markdown", "markdown": {"content": content}}


def wecom_code(fake, body, path=ROBOT, kind=JSON):
    status, headers, text = send(fake, path, body, kind)
    answer = json.loads(text)
    assert status == 200 and headers["Error-Code"] == str(answer["errcode"])
    return answer["errcode"]


def test_wecom_takes_a_message_and_shows_it(fake):
    shown = markdown('# 🚨 **磁盘已满**\n> 服务：<font color="warning">db</font>\n[详情](http://c/1)')
    assert wecom_code(fake, shown) == 0
    record = last(fake)
    assert record["accepted"] and record["channel"] == "wecom" and record["endpoint"] == ROBOT
    assert record["text"] == "🚨 磁盘已满\n服务：db\n详情 <http://c/1>"
    assert json.loads(record["raw"]) == shown


def test_wecom_text_names_who_is_mentioned(fake):
    body = {"msgtype": "text", "text": {"content": "on fire", "mentioned_list": ["@all"]}}
    assert wecom_code(fake, body) == 0
    assert last(fake)["text"] == "@@all\non fire"


@pytest.mark.parametrize(
    "body, code",
    [
        (b"{", 47001),
        (b"[]", 47001),
        (b'{"msgtype":"text","text":{"content":"\xe7\xa3"}}', 40033),
        (b'{"msgtype":"text","text":{"content":"\\ud83d"}}', 40033),
        ({"msgtype": "poem"}, 40008),
        ({"msgtype": "text", "text": {}}, 44004),
        (markdown(""), 44004),
        (markdown("磁" * 1366), 40058),
        ({"msgtype": "text", "text": {"content": "x" * 2049}}, 40058),
    ],
)
def test_wecom_refuses_under_http_200(fake, body, code):
    assert wecom_code(fake, body) == code
    assert not last(fake)["accepted"]


def test_wecom_limits_are_in_bytes_and_inclusive(fake):
    assert wecom_code(fake, markdown("磁" * 1365 + "x")) == 0
    assert wecom_code(fake, {"msgtype": "text", "text": {"content": "x" * 2048}}) == 0


def test_wecom_wants_key_method_and_content_type(fake):
    assert wecom_code(fake, markdown("x"), path="/cgi-bin/webhook/send") == 93000
    assert wecom_code(fake, markdown("x"), kind="text/plain") == 47001
    assert json.loads(send(fake, ROBOT, b"", method="GET")[2])["errcode"] == 43002


def test_wecom_rate_is_per_key_and_ends_with_its_window():
    now = [0.0]
    robot = wecom.Wecom(clock=lambda: now[0])

    def code(key):
        body = json.dumps(markdown("x")).encode()
        request = Request("POST", "/cgi-bin/webhook/send", {"key": [key]}, {"Content-Type": JSON}, body)
        return json.loads(robot.decide(request).body)["errcode"]

    assert [code("a") for _ in range(20)] == [0] * 20
    assert code("a") == 45009 and code("b") == 0
    now[0] = 59.9
    assert code("a") == 45009
    now[0] = 60.0
    assert code("a") == 0


# Slack webhook

HOOK = "/services/T1/B1/X"


def section(text):
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def test_slack_takes_text_and_shows_it(fake):
    assert post(fake, HOOK, {"text": "*disk full* on <http://h|db> &lt;1%&gt;"}) == (200, "ok")
    assert last(fake)["text"] == "disk full on db <http://h> <1%>"


def test_slack_shows_blocks_rather_than_text(fake):
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "🚨 Disk & tape"}},
        section("full"),
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "*db*"}]},
        {"type": "divider"},
        {"type": "context", "elements": [{"type": "plain_text", "text": "now"}]},
    ]
    assert post(fake, HOOK, {"text": "preview", "blocks": blocks}) == (200, "ok")
    assert last(fake)["text"] == "🚨 Disk & tape\nfull\ndb\n──────────\nnow"


@pytest.mark.parametrize(
    "path, body, status, word",
    [
        ("/services/T1/B1", {"text": "x"}, 404, "no_service"),
        (HOOK, b"{", 400, "invalid_payload"),
        (HOOK, b'{"text":"\xff"}', 400, "invalid_payload"),
        (HOOK, {}, 400, "no_text"),
        (HOOK, {"text": ""}, 400, "no_text"),
        (HOOK, {"blocks": [section("x")] * 51}, 400, "invalid_blocks"),
        (HOOK, {"blocks": [section("x" * 3001)]}, 400, "invalid_blocks"),
        (HOOK, {"blocks": [section("")]}, 400, "invalid_blocks"),
        (HOOK, {"blocks": [{"type": "section"}]}, 400, "invalid_blocks"),
        (HOOK, {"blocks": [{"type": "context"}]}, 400, "invalid_blocks"),
        (HOOK, {"blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}, 400, "invalid_blocks"),
        (HOOK, {"blocks": [{"type": "marquee"}]}, 400, "invalid_blocks"),
        (HOOK, {"blocks": [section("x" * 2700)] * 5}, 400, "msg_blocks_too_long"),
    ],
)
def test_slack_refuses_with_one_word(fake, path, body, status, word):
    assert post(fake, path, body) == (status, word)
    assert not last(fake)["accepted"]


def test_slack_refuses_on_demand_in_its_words(fake):
    assert order(fake, "slack", "X", "410:channel_is_archived", "404:no_service", "500:rollup_error", "429:7") == 200
    said = [post(fake, HOOK, {"text": "x"}) for _ in range(3)]
    assert said == [(410, "channel_is_archived"), (404, "no_service"), (500, "rollup_error")]
    status, headers, text = send(fake, HOOK, {"text": "x"})
    assert (status, headers["Retry-After"], text) == (429, "7", "rate_limited")


def test_slack_wants_post_and_json(fake):
    assert post(fake, HOOK, {"text": "x"}, "text/plain") == (400, "invalid_payload")
    assert send(fake, HOOK, b"", method="GET")[0] == 400


def test_slack_takes_one_a_second_and_says_how_long_to_wait():
    now = [0.0]
    hook = slack.Slack(clock=lambda: now[0])

    def answer(path=HOOK):
        return hook.decide(Request("POST", path, {}, {"Content-Type": JSON}, b'{"text": "x"}'))

    assert [answer().status, answer().status] == [200, 200]  # one may be early
    refused = answer()
    assert (refused.status, refused.headers["Retry-After"], refused.accepted) == (429, "1", False)
    assert answer("/services/T1/B1/Y").status == 200
    for second in range(1, 100):
        now[0] = second
        assert [answer().status, answer().status] == [200, 429]


# Generic webhook


def alert(status="firing", **labels):
    end = "0001-01-01T00:00:00Z" if status == "firing" else "2026-01-01T00:05:00.5Z"
    return {
        "status": status,
        "labels": {"alertname": "DiskFull", **labels},
        "annotations": {"summary": "no room"},
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": end,
        "generatorURL": "",
        "fingerprint": "0123456789abcdef",
    }


def payload(*alerts, **fields):
    alerts = list(alerts) or [alert()]
    firing = any(a["status"] == "firing" for a in alerts)
    body = {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "ops",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://c",
        "alerts": alerts,
    }
    body.update(fields)
    return body


def without(body, name):
    return {k: v for k, v in body.items() if k != name}


def test_webhook_takes_alertmanagers_payload(fake):
    body = payload(alert(host="a"), alert("resolved", host="b"), commonLabels={"alertname": "DiskFull"})
    assert post(fake, "/any/path", body) == (200, "ok")
    text = last(fake)["text"]
    assert text.startswith("[FIRING:1] to ops") and "resolved  DiskFull  host=b" in text


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"nothing", "body"),
        (payload(version="1"), "version"),
        (payload(truncatedAlerts="0"), "truncatedAlerts"),
        (payload(groupKey=""), "groupKey"),
        (payload(alerts=[]), "alerts"),
        (payload(commonLabels={"alertname": "Other"}), "commonLabels.alertname"),
        (payload(groupLabels={"n": 1}), "groupLabels"),
        (payload(status="resolved"), "an alert fires"),
        (payload(alert("resolved"), status="firing"), "no alert fires"),
        (payload({**alert(), "endsAt": "2026-01-01T00:00:00Z"}), "endsAt"),
        (payload({**alert("resolved"), "endsAt": "0001-01-01T00:00:00Z"}), "endsAt"),
        (payload({**alert(), "startsAt": "yesterday"}), "startsAt"),
        (payload({**alert(), "labels": {}}), "labels"),
        (payload(without(alert(), "fingerprint")), "fingerprint"),
        (without(payload(), "externalURL"), "externalURL"),
    ],
)
def test_webhook_refuses_and_says_why(fake, body, reason):
    status, text = post(fake, "/hook", body)
    assert status == 400 and reason in text
    assert not last(fake)["accepted"]


def test_webhook_wants_post_and_json(fake):
    assert send(fake, "/hook", b"", method="GET")[0] == 400
    assert post(fake, "/hook", payload(), "text/plain")[0] == 400


# Control, faults and journal


def order(fake, channel, key, *answers):
    return post(fake, "/_control", {"channel": channel, "key": key, "answers": list(answers)})[0]


def test_faults_come_in_order_for_their_key_only(fake):
    assert order(fake, "slack", "X", "429", "500*2", "404:9") == 200
    assert post(fake, "/services/T1/B1/Y", {"text": "x"})[0] == 200
    status, headers, _ = send(fake, HOOK, {"text": "x"})
    assert (status, headers["Retry-After"]) == (429, "2")
    assert [post(fake, HOOK, {"text": "x"})[0] for _ in range(4)] == [500, 500, 404, 200]


def test_star_answers_for_all_keys_until_reset(fake):
    assert order(fake, "wecom", "*", "502*") == 200
    assert [send(fake, ROBOT + str(n), markdown("x"))[0] for n in range(3)] == [502] * 3
    post(fake, "/_reset", {})
    assert wecom_code(fake, markdown("x")) == 0


def test_error_bodies_under_http_200(fake):
    assert order(fake, "wecom", "K", "200body:93000") == 200
    assert wecom_code(fake, markdown("x")) == 93000
    assert order(fake, "slack", "X", "200body:rollup_error*2") == 200
    assert [post(fake, HOOK, {"text": "x"}) for _ in range(2)] == [(200, "rollup_error")] * 2
    assert not last(fake)["accepted"]


@pytest.mark.parametrize("answer, accepted", [("reset", False), ("close", False), ("lost", True)])
def test_broken_connections(fake, answer, accepted):
    order(fake, "slack", "X", answer)
    with pytest.raises(OSError):
        post(fake, HOOK, {"text": "x"})
    assert last(fake)["accepted"] is accepted and last(fake)["answer"] == answer


def test_hang_says_nothing_until_the_peer_goes(fake):
    order(fake, "webhook", "/h", "hang")
    before = len(fake.journal.since(0))
    with socket.create_connection(("127.0.0.1", fake.port)) as peer:
        peer.sendall(b"POST /h HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
        while not fake.journal.since(before):
            time.sleep(0.01)
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
    assert last(fake)["answer"] == "hang"


def test_slow_answers_as_usual(fake):
    order(fake, "slack", "X", "slow:0.01")
    assert post(fake, HOOK, {"text": "x"}) == (200, "ok")


@pytest.mark.parametrize("body", [b"{", {}, {"channel": "slack", "answers": ["maybe"]}, {"channel": "wecom", "answers": ["200body:x"]}])
def test_control_refuses_what_it_does_not_know(fake, body):
    assert post(fake, "/_control", body)[0] == 400


def test_log_can_be_read_from_a_mark(fake):
    mark = len(fake.journal.since(0))
    post(fake, HOOK, {"text": "磁盘"})
    log = json.loads(send(fake, f"/_log?since={mark}", b"", method="GET")[2])
    assert [r["text"] for r in log["records"]] == ["磁盘"] and log["next"] == mark + 1


def test_keep_alive_serves_many_requests_on_one_connection(fake):
    with socket.create_connection(("127.0.0.1", fake.port)) as peer:
        answers = peer.makefile("rb")
        for _ in range(3):
            peer.sendall(b"POST /_reset HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            while answers.readline() != b"\r\n":
                pass
            assert answers.read(2) == b"{}"


def test_journal_file_and_print(tmp_path):
    journal = Journal(tmp_path / "log")
    journal.add("slack", "/x", False, "500", "two\nlines", b"\xff")
    journal.close()
    record = json.loads((tmp_path / "log").read_text())
    assert record["raw"] == "\\xff" and record["seq"] == 1 and record["time"].endswith("+00:00")
    shown = for_people(record)
    assert shown.startswith("✗ ") and "  │ two\n  │ lines\n" in shown


# SMTP


@pytest.fixture
def mail():
    with SmtpFake() as fake:
        yield fake


def letter(**headers):
    message = EmailMessage()
    message["From"] = "tocsin@example.org"
    message["To"] = "ops@example.org"
    message["Subject"] = "🚨 磁盘已满"
    message["Date"] = "Thu, 01 Jan 2026 00:00:00 +0000"
    message["Message-ID"] = "<1@example.org>"
    for name, value in headers.items():
        del message[name]
        message[name] = value
    message.set_content("磁盘\n.\n..dots\n", cte="base64")
    return message


def client(fake):
    return smtplib.SMTP("127.0.0.1", fake.port, timeout=20)


def test_smtp_takes_a_message_and_shows_it(mail):
    with client(mail) as session:
        session.send_message(letter())
        session.send_message(letter())
    assert len(mail.journal.since(0)) == 2
    record = last(mail)
    assert record["accepted"] and record["endpoint"] == "ops@example.org"
    assert record["text"] == "From: tocsin@example.org\nTo: ops@example.org\nSubject: 🚨 磁盘已满\n\n磁盘\n.\n..dots"


def test_smtp_takes_the_stuffed_dots_away(mail):
    head = "\r\n".join(f"{k}: {v}" for k, v in [("From", "a@b"), ("To", "c@d"), ("Subject", "s"), ("Date", "now"), ("Message-ID", "<1>")])
    with client(mail) as session:
        session.sendmail("a@b", ["c@d"], f"{head}\r\n\r\n.dot\r\n")
    assert last(mail)["text"].endswith("\n\n.dot")


@pytest.mark.parametrize("code", [451, 550])
def test_smtp_refuses_at_rcpt(mail, code):
    mail.faults.push("email", "ops@example.org", [str(code)])
    with client(mail) as session:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            session.send_message(letter())
        assert refused.value.recipients["ops@example.org"][0] == code
        session.send_message(letter())
    assert [r["accepted"] for r in mail.journal.since(0)] == [False, True]


def test_smtp_one_of_two_recipients_is_refused(mail):
    mail.faults.push("email", "b@example.org", ["550"])
    with client(mail) as session:
        refused = session.send_message(letter(), to_addrs=["a@example.org", "b@example.org"])
    assert list(refused) == ["b@example.org"]
    assert last(mail)["accepted"] and last(mail)["endpoint"] == "a@example.org"


def test_smtp_session_ends_early(mail):
    mail.faults.push("email", "*", ["421"])
    session = client(mail)
    with pytest.raises(smtplib.SMTPResponseException) as ended:
        session.send_message(letter())
    assert ended.value.smtp_code == 421


@pytest.mark.parametrize("answer, accepted", [("close", False), ("lost", True)])
def test_smtp_closes_after_the_dot(mail, answer, accepted):
    mail.faults.push("email", "*", [answer])
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client(mail).send_message(letter())
    assert last(mail)["accepted"] is accepted and last(mail)["answer"] == answer


def test_smtp_keeps_the_sequence(mail):
    session = client(mail)
    assert session.mail("a@b")[0] == 503
    session.helo()
    assert session.rcpt("a@b")[0] == 503
    assert session.docmd("DATA")[0] == 503
    assert session.docmd("MAIL", "a@b")[0] == 501
    assert session.docmd("MAIL", "FROM:<a@b> SIZE=99999999")[0] == 552
    assert session.mail("a@b")[0] == 250
    assert session.rcpt("nobody")[0] == 501
    assert session.docmd("STARTTLS")[0] == 502
    assert session.docmd("AUTH", "PLAIN eA==")[0] == 502
    assert session.docmd("TURN")[0] == 500
    assert session.rset()[0] == 250
    assert session.quit()[0] == 221


def raw_data(mail, text):
    session = client(mail)
    session.ehlo()
    session.mail("a@b")
    session.rcpt("c@d")
    session.docmd("DATA")
    session.sock.sendall(text + b"\r\n.\r\n")
    return session.getreply()[0]


def test_smtp_refuses_bad_lines(mail):
    good = letter().as_bytes().replace(b"\n", b"\r\n")
    assert raw_data(mail, good) == 250
    assert raw_data(mail, good.replace(b"\r\n\r\n", b"\n\n")) == 554
    assert raw_data(mail, good + b"x" * 999) == 500
    assert raw_data(mail, good.replace(b"Date", b"When")) == 554


@pytest.mark.parametrize(
    "before, after",
    [
        (b"Message-ID", b"Other"),
        (b"Subject: =?", b"Subject: \xe7=?"),
        (b'charset="utf-8"', b'charset="klingon"'),
        (b'charset="utf-8"', b'charset="us-ascii"'),
    ],
)
def test_smtp_refuses_unreadable_messages(before, after):
    good = letter().as_bytes().replace(b"\n", b"\r\n")
    assert read_message(good)
    bad = good.replace(before, after)
    assert bad != good
    with pytest.raises((ValueError, LookupError)):
        read_message(bad)


@pytest.mark.parametrize("password, works", [("p", True), ("q", False)])
def test_smtp_login(password, works):
    with SmtpFake(login=("u", "p")) as fake:
        session = client(fake)
        session.ehlo()
        assert session.mail("a@b")[0] == 530
        initial = base64.b64encode(f"\0u\0{password}".encode()).decode()
        assert session.docmd("AUTH", "PLAIN " + initial)[0] == (235 if works else 535)
        assert session.mail("a@b")[0] == (250 if works else 530)
        session.quit()


def test_one_control_for_both_servers():
    journal, faults = Journal(), Faults()
    with HttpFake(0, journal, faults) as web, SmtpFake(0, journal, faults) as mail:
        assert order(web, "email", "ops@example.org", "451") == 200
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client(mail).send_message(letter())
        log = json.loads(send(web, "/_log", b"", method="GET")[2])
        assert [r["channel"] for r in log["records"]] == ["email"]


def test_program_serves_both_and_ends_on_term(tmp_path):
    ports = [free_port(), free_port()]
    log = tmp_path / "log"
    program = [sys.executable, Path(__file__).parent / "http_fake.py", "--print", "--log", log]
    process = subprocess.Popen(
        [*program, "--port", str(ports[0]), "--smtp-port", str(ports[1])], stdout=subprocess.PIPE, text=True
    )
    try:
        for port in ports:
            wait_for(port)
        with smtplib.SMTP("127.0.0.1", ports[1], timeout=20) as session:
            session.send_message(letter())
    finally:
        process.terminate()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and "│ Subject: 🚨 磁盘已满" in out
    assert json.loads(log.read_text())["channel"] == "email"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(port):
    for _ in range(400):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")
