"""The fakes of chats with robots, bots and incoming webhooks refuse what the vendors refuse."""

import json
import time
import urllib.parse

import dingtalk
import feishu
import pytest
import teams
import wecom_app
from reply import Request
from test_fakes import JSON, last, order, post, send


# DingTalk

DING = "/robot/send?access_token=K"


def ding(text, **more):
    return {"msgtype": "markdown", "markdown": {"title": "t", "text": text}, **more}


def ding_answer(fake, body, path=DING, **more):
    status, _, text = send(fake, path, body, **more)
    assert status == 200
    return json.loads(text)


def test_dingtalk_takes_a_message_and_shows_it(fake):
    body = ding("**🚨 磁盘已满**  \n服务：db&lt;1&gt;  \n[详情](http://c/1)\n@138", at={"atMobiles": ["138", "139"]})
    assert ding_answer(fake, body) == {"errcode": 0, "errmsg": "ok"}
    assert last(fake)["text"] == "@@138\n🚨 磁盘已满\n服务：db<1>\n详情 <http://c/1>\n@138"


@pytest.mark.parametrize(
    "body, code",
    [
        (b"{", 40035),
        (b'{"msgtype":"text","text":{"content":"\\ud83d"}}', 40035),
        ({"msgtype": "poem"}, 400105),
        ({"msgtype": "markdown", "markdown": {"text": "x"}}, 40035),
        (ding(""), 40035),
        (ding("x" * 20_000), 40035),
    ],
)
def test_dingtalk_refuses_under_http_200(fake, body, code):
    assert ding_answer(fake, body)["errcode"] == code and not last(fake)["accepted"]


def test_dingtalk_wants_token_method_and_content_type(fake):
    assert ding_answer(fake, ding("x"), path="/robot/send")["errcode"] == 300005
    assert ding_answer(fake, ding("x"), kind="text/plain")["errcode"] == 43004
    assert ding_answer(fake, b"", method="GET")["errcode"] == 43002


def test_dingtalk_checks_the_signature_and_its_age(fake):
    def code(stamp, secret="SECsignedK"):
        sign = urllib.parse.quote(dingtalk.sign_of(str(stamp), secret), safe="")
        path = f"/robot/send?access_token=signedK&timestamp={stamp}&sign={sign}"
        return ding_answer(fake, ding("x"), path=path)["errcode"]

    now = int(time.time() * 1000)
    assert [code(now), code(now - 3_500_000), code(now - 3_700_000), code(now, "other")] == [0, 0, 310000, 310000]
    assert ding_answer(fake, ding("x"), path="/robot/send?access_token=signedK")["errcode"] == 310000
    vector = dingtalk.sign_of("1599360473000", "SECdemo")
    assert vector == "tGWkA5eQOQNCNPDgphtxIoNLO+/gD8Lcb705KQoRzeY="


def test_dingtalk_locks_out_for_ten_minutes():
    now = [0.0]
    robot = dingtalk.Dingtalk(clock=lambda: now[0])

    def answer():
        request = Request("POST", "/robot/send", {"access_token": ["K"]}, {"Content-Type": JSON}, json.dumps(ding("x")).encode())
        return json.loads(robot.decide(request).body)

    assert [answer()["errcode"] for _ in range(20)] == [0] * 20
    assert answer() == {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}
    now[0] = 599.9
    locked = answer()
    assert locked["errcode"] == 130101 and locked["punish"] == "deny"
    now[0] = 600.0
    assert answer()["errcode"] == 0


def test_dingtalk_gateway_answers_without_a_code(fake):
    assert order(fake, "dingtalk", "K", "200body:gateway", "200body:-1") == 200
    assert "errcode" not in ding_answer(fake, ding("x"))
    assert ding_answer(fake, ding("x"))["errcode"] == -1


# Feishu

BOT = "/open-apis/bot/v2/hook/"


def card(text, title="t"):
    head = {"template": "red", "title": {"tag": "plain_text", "content": title}}
    return {"msg_type": "interactive", "card": {"header": head, "elements": [{"tag": "markdown", "content": text}]}}


def feishu_answer(fake, body, token="K", **more):
    status, _, text = send(fake, BOT + token, body, **more)
    assert status == 200
    return json.loads(text)


def test_feishu_takes_a_card_and_shows_it(fake):
    assert feishu_answer(fake, card("**服务**：db &lt;1&gt;\n[详情](http://c/1)", "🚨 磁盘")) == {
        "StatusCode": 0,
        "StatusMessage": "success",
        "code": 0,
        "data": {},
        "msg": "success",
    }
    assert last(fake)["text"] == "🚨 磁盘\n服务：db <1>\n详情 <http://c/1>"
    assert feishu_answer(fake, card("x"), token="oldK") == {"StatusCode": 0, "StatusMessage": "success"}


@pytest.mark.parametrize(
    "body, code",
    [
        (b"{", 9499),
        (b'{"msg_type":"text","content":{"text":"\\ud83d"}}', 9499),
        ({"msg_type": "poem"}, 9499),
        (card(""), 9499),
        (card("x" * (20 << 10)), 9499),
        ({"msg_type": "interactive", "card": {}}, 9499),
    ],
)
def test_feishu_refuses_under_http_200(fake, body, code):
    assert feishu_answer(fake, body)["code"] == code and not last(fake)["accepted"]


def test_feishu_checks_the_signature_in_the_body(fake):
    def code(stamp, secret="SECsignedK"):
        return feishu_answer(fake, {**card("x"), "timestamp": stamp, "sign": feishu.sign_of(stamp, secret)}, "signedK")["code"]

    now = int(time.time())
    assert [code(str(now)), code(str(now - 3700)), code(str(now), "other")] == [0, 19021, 19021]
    number = {**card("x"), "timestamp": now, "sign": feishu.sign_of(now, "SECsignedK")}
    assert feishu_answer(fake, number, "signedK")["code"] == 19021
    assert feishu.sign_of("1599360473", "demo") == "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="


def test_feishu_takes_five_a_second_and_a_hundred_a_minute():
    now = [0.0]
    bot = feishu.Feishu(clock=lambda: now[0])

    def code():
        request = Request("POST", BOT + "K", {}, {"Content-Type": JSON}, json.dumps(card("x")).encode())
        return json.loads(bot.decide(request).body)["code"]

    assert [code() for _ in range(6)] == [0] * 5 + [11232]
    for second in range(1, 20):
        now[0] = second
        assert [code() for _ in range(5)] == [0] * 5
    now[0] = 30
    assert code() == 11232


# Slack's Web API

POST, UPDATE = "/api/chat.postMessage", "/api/chat.update"
BEARER = {"Authorization": "Bearer xoxb-1"}


def slack(fake, path, body, headers=BEARER, **more):
    status, _, text = send(fake, path, body, headers=headers, **more)
    assert status == 200
    return json.loads(text)


def section(text, **more):
    return {"channel": "#ops", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}], **more}


def press(name="Resolve", value="v", **more):
    text = {"type": "plain_text", "text": name}
    return {"type": "actions", "elements": [{"type": "button", "action_id": "a", "text": text, "value": value}], **more}


def test_slack_bot_sends_edits_and_answers(fake):
    first = slack(fake, POST, {**section("*disk* &lt;1&gt;"), "text": "disk"})
    assert first["ok"] and first["channel"] == "C0OPS" and last(fake)["text"] == "disk <1>"
    again = {"channel": first["channel"], "ts": first["ts"]}
    assert slack(fake, UPDATE, {**again, "text": "over", "blocks": []})["ok"] and last(fake)["text"] == "over"
    reply = slack(fake, POST, {"channel": "C0OPS", "thread_ts": first["ts"], "text": "news"})
    assert reply["ok"] and reply["ts"] != first["ts"]
    assert slack(fake, UPDATE, {**again, "ts": "9.9", "text": "x"})["error"] == "message_not_found"
    assert slack(fake, UPDATE, {**again, "channel": "#ops", "text": "x"})["error"] == "channel_not_found"
    assert slack(fake, POST, {"channel": "C0OPS", "thread_ts": "9.9", "text": "x"})["error"] == "thread_not_found"


@pytest.mark.parametrize(
    "path, body, headers, word",
    [
        ("/api/chat.delete", section("x"), BEARER, "unknown_method"),
        (POST, section("x"), {}, "not_authed"),
        (POST, section("x"), {"Authorization": "Bearer nonsense"}, "invalid_auth"),
        (POST, b"{", BEARER, "invalid_payload"),
        (POST, {"text": "x"}, BEARER, "channel_not_found"),
        (POST, {"channel": "#elsewhere", "text": "x"}, BEARER, "channel_not_found"),
        (POST, {"channel": "#ops"}, BEARER, "no_text"),
        (POST, section("x" * 3001), BEARER, "invalid_blocks"),
        (POST, {"channel": "#ops", "blocks": [press("x" * 76)]}, BEARER, "invalid_blocks"),
        (POST, {"channel": "#ops", "blocks": [press(value="x" * 2001)]}, BEARER, "invalid_blocks"),
        (UPDATE, section("x", username="t"), BEARER, "invalid_arguments"),
    ],
)
def test_slack_bot_refuses_under_http_200(fake, path, body, headers, word):
    assert slack(fake, path, body, headers) == {"ok": False, "error": word} and not last(fake)["accepted"]


def test_slack_bot_refuses_on_demand(fake):
    assert order(fake, "slack_bot", "xoxb-1", "429:7", "500", "200body:missing_scope") == 200
    status, headers, answer = send(fake, POST, section("x"), headers=BEARER)
    assert (status, headers["Retry-After"], json.loads(answer)["error"]) == (429, "7", "ratelimited")
    assert send(fake, POST, section("x"), headers=BEARER)[0] == 500
    assert slack(fake, POST, section("x"))["needed"] == "chat:write"


# Telegram

SEND, EDIT = "/botK/sendMessage", "/botK/editMessageText"


def tell(text, **more):
    return {"chat_id": -1, "text": text, "parse_mode": "HTML", **more}


def test_telegram_sends_and_edits(fake):
    status, answer = post(fake, SEND, tell("<b>disk &lt;1&gt;</b>\n<a href=\"http://c?a&amp;b\">more</a>"))
    number = json.loads(answer)["result"]["message_id"]
    assert status == 200 and last(fake)["text"] == "disk <1>\nmore"
    assert post(fake, EDIT, tell("over", message_id=number))[0] == 200
    status, answer = post(fake, EDIT, tell("over", message_id=number))
    assert status == 400 and "message is not modified" in answer
    status, answer = post(fake, EDIT, tell("over", message_id=9999))
    assert status == 400 and "message to edit not found" in answer


@pytest.mark.parametrize(
    "path, body, status, words",
    [
        ("/botK/getMe", tell("x"), 404, "Not Found"),
        (SEND, b"{", 400, "parse JSON"),
        (SEND, {"text": "x"}, 400, "chat_id is empty"),
        (SEND, tell(" "), 400, "message text is empty"),
        (SEND, tell("<b>x"), 400, "can't parse entities"),
        (SEND, tell("x</b>"), 400, "can't parse entities"),
        (SEND, tell("a < b"), 400, "can't parse entities"),
        (SEND, tell("<h1>x</h1>"), 400, "can't parse entities"),
        (SEND, tell("&lt;" * 4097), 400, "message is too long"),
        (SEND, tell("😀" * 2049), 400, "message is too long"),
    ],
)
def test_telegram_refuses(fake, path, body, status, words):
    code, answer = post(fake, path, body)
    assert code == status and words in json.loads(answer)["description"] and not last(fake)["accepted"]


def test_telegram_counts_what_is_shown(fake):
    assert post(fake, SEND, tell("<b>" + "&lt;" * 4096 + "</b>"))[0] == 200


def test_telegram_refuses_on_demand(fake):
    assert order(fake, "telegram", "K", "429:7", "400:migrate", "403", "401") == 200
    status, headers, answer = send(fake, SEND, tell("x"))
    assert (status, headers["Retry-After"], json.loads(answer)["parameters"]) == (429, "7", {"retry_after": 7})
    answers = [post(fake, SEND, tell("x")) for _ in range(3)]
    assert [status for status, _ in answers] == [400, 403, 401]
    assert json.loads(answers[0][1])["parameters"] == {"migrate_to_chat_id": -1009}


# Discord

WEBHOOK = "/api/webhooks/1/K"


def embed(text, title="t"):
    return {"embeds": [{"title": title, "description": text}]}


def test_discord_sends_and_edits(fake):
    assert post(fake, WEBHOOK, embed("x")) == (204, "")
    status, answer = post(fake, WEBHOOK + "?wait=true", embed("**a\\*b\\_** <\u200b\n[more](<http://c>)", "disk"))
    assert status == 200 and last(fake)["text"] == "disk\na*b_ <\nmore <http://c>"
    number = json.loads(answer)["id"]
    assert send(fake, f"{WEBHOOK}/messages/{number}", embed("over"), method="PATCH")[0] == 200
    for path, code in ((f"{WEBHOOK}/messages/7", 10008), (f"/api/webhooks/1/L/messages/{number}", 10008)):
        status, _, answer = send(fake, path, embed("over"), method="PATCH")
        assert (status, json.loads(answer)["code"]) == (404, code)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        {},
        {"content": "x" * 2001},
        embed("x" * 4097),
        embed("x", "t" * 257),
        {"embeds": embed("x")["embeds"] * 11},
        {"embeds": embed("x" * 3001)["embeds"] * 2},
    ],
)
def test_discord_refuses(fake, body):
    assert post(fake, WEBHOOK, body)[0] == 400 and not last(fake)["accepted"]


def test_discord_refuses_on_demand(fake):
    assert order(fake, "discord", "K", "429:3", "404") == 200
    status, headers, answer = send(fake, WEBHOOK, embed("x"))
    assert (status, headers["Retry-After"], json.loads(answer)["retry_after"]) == (429, "3", 3.0)
    status, answer = post(fake, WEBHOOK, embed("x"))
    assert status == 404 and json.loads(answer)["code"] == 10015


# Mattermost

HOOKS = "/hooks/K"


def test_mattermost_takes_text_and_shows_it(fake):
    assert post(fake, HOOKS, {"text": "**disk\\_full**\n_late_\n[more](http://c)"}) == (200, "ok")
    assert last(fake)["text"] == "disk_full\nlate\nmore <http://c>"


@pytest.mark.parametrize("body", [b"{", {}, {"text": ""}, {"text": "磁" * 16384}])
def test_mattermost_refuses(fake, body):
    assert post(fake, HOOKS, body)[0] == 400 and not last(fake)["accepted"]


def test_mattermost_limit_is_in_characters(fake):
    assert post(fake, HOOKS, {"text": "磁" * 16383}) == (200, "ok")


def test_mattermost_refuses_on_demand(fake):
    assert order(fake, "mattermost", "K", "429:3", "404") == 200
    status, headers, _ = send(fake, HOOKS, {"text": "x"})
    assert (status, headers["X-Ratelimit-Reset"]) == (429, "3")
    assert post(fake, HOOKS, {"text": "x"})[0] == 404


# Teams

FLOW = "/workflows/K/triggers/manual/paths/invoke?api-version=2016-06-01&sp=x&sv=1.0&sig=s"


# ntfy


def push(**more):
    return {"topic": "K", "title": "t", "message": "x", **more}


def test_ntfy_takes_a_message_and_shows_it(fake):
    status, _, text = send(fake, "/ntfy", push(message="世界", priority=5, actions=[{"action": "view", "label": "a", "url": "http://c"}]))
    assert status == 200 and json.loads(text)["id"]
    assert last(fake)["text"] == "t\n世界\na <http://c>"


@pytest.mark.parametrize(
    "body, code",
    [
        (b"{", 40024),
        (push(message=7), 40024),
        (push(topic="a/b"), 40009),
        (push(priority=6), 40007),
        (push(actions=[{"action": "view", "label": "a"}]), 40018),
        (push(message="ü" * 2049), 40014),
        (push(message="x" * 8192), 41303),
    ],
)
def test_ntfy_refuses(fake, body, code):
    status, _, text = send(fake, "/ntfy", body)
    assert status == code // 100 and json.loads(text)["code"] == code


def test_ntfy_has_sixty_requests_and_one_more_every_five_seconds(fake):
    began, answers = time.monotonic(), []
    while 429 not in answers:
        answers.append(send(fake, "/ntfy", push())[0])
    assert 60 <= answers.count(200) == len(answers) - 1 <= 60 + (time.monotonic() - began) / 5
    assert order(fake, "ntfy", "K", "403", "429:42908") == 200



def adaptive(*texts, **more):
    body = [{"type": "TextBlock", "text": text, "wrap": True} for text in texts]
    content = {"type": "AdaptiveCard", "version": "1.2", "body": body, **more}
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": content}]}


def test_teams_takes_a_card_and_shows_it(fake):
    link = {"type": "Action.OpenUrl", "title": "Details", "url": "http://c/1"}
    assert post(fake, FLOW, adaptive("🚨 \\[x\\]", "**Service**: db", actions=[link])) == (202, "")
    assert last(fake)["text"] == "🚨 [x]\nService: db\nDetails <http://c/1>"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        {"text": "x"},
        adaptive(),
        adaptive(""),
        adaptive("x", version="1.0"),
        adaptive("x", actions=[{"type": "Action.OpenUrl", "title": "t", "url": "javascript:"}]),
        adaptive("x" * (28 << 10)),
    ],
)
def test_teams_refuses(fake, body):
    status, text = post(fake, FLOW, body)
    assert status == 400 and json.loads(text)["error"]["code"] and not last(fake)["accepted"]


def test_teams_wants_its_own_address(fake):
    assert post(fake, FLOW.replace("&sig=s", ""), adaptive("x"))[0] == 401
    assert post(fake, "/workflows/K", adaptive("x"))[0] == 404
    assert post(fake, FLOW, adaptive("x"), kind="text/plain")[0] == 400


def test_teams_takes_four_a_second():
    now = [0.0]
    flow = teams.Teams(clock=lambda: now[0])
    path, query = FLOW.split("?")
    asked = Request("POST", path, urllib.parse.parse_qs(query), {"Content-Type": JSON}, json.dumps(adaptive("x")).encode())
    assert [flow.decide(asked).status for _ in range(5)] == [202] * 4 + [429]
    now[0] = 1.0
    assert flow.decide(asked).status == 202


def test_teams_connectors_told_errors_under_200(fake):
    assert order(fake, "teams", "K", "200body:connector", "404") == 200
    assert "HTTP error 429" in post(fake, FLOW, adaptive("x"))[1]
    assert post(fake, FLOW, adaptive("x"))[0] == 404


# WeCom app

APP_SEND = "/cgi-bin/message/send?access_token="


def app_message(text="x", **more):
    return {"touser": "ann|bob", "msgtype": "markdown", "agentid": 7, "markdown": {"content": text}, **more}


def app_token(fake, corp="K", secret=None):
    query = urllib.parse.urlencode({"corpid": corp, "corpsecret": secret or wecom_app.secret_of(corp)})
    return json.loads(send(fake, f"/cgi-bin/gettoken?{query}", None, method="GET")[2])


def app_answer(fake, token, body):
    return json.loads(send(fake, APP_SEND + token, body)[2])


def test_wecom_app_wants_a_token_for_the_secret(fake):
    assert app_token(fake, secret="other")["errcode"] == 40001
    given = app_token(fake)
    assert given["errcode"] == 0 and 0 < given["expires_in"] <= 7200
    assert app_token(fake)["access_token"] == given["access_token"]
    assert app_answer(fake, given["access_token"], app_message("**a** [b](http://c)"))["errcode"] == 0
    assert last(fake)["text"] == "a b <http://c>" and last(fake)["accepted"]
    assert app_answer(fake, "K.999", app_message())["errcode"] == 40014


def test_wecom_app_takes_tokens_back(fake):
    old = app_token(fake)["access_token"]
    order(fake, "wecom_app", "K", "200body:42001")
    assert [app_answer(fake, old, app_message())["errcode"] for _ in range(2)] == [42001, 40014]
    new = app_token(fake)["access_token"]
    assert new != old and app_answer(fake, new, app_message())["errcode"] == 0


def test_wecom_app_tells_who_is_no_member(fake):
    token = app_token(fake)["access_token"]
    answer = app_answer(fake, token, app_message(touser="ann|gone1|gone2"))
    assert answer["errcode"] == 0 and answer["invaliduser"] == "gone1|gone2"
    assert app_answer(fake, token, app_message(touser="gone1"))["errcode"] == 81013


@pytest.mark.parametrize(
    "body, code",
    [
        (b"{", 47001),
        (app_message(msgtype="poem"), 40008),
        (app_message(agentid="7"), 40056),
        (app_message(""), 44004),
    ],
)
def test_wecom_app_refuses_under_http_200(fake, body, code):
    assert app_answer(fake, app_token(fake)["access_token"], body)["errcode"] == code and not last(fake)["accepted"]


def test_wecom_app_cuts_and_drops_without_a_word():
    now = [0.0]
    app = wecom_app.WecomApp(clock=lambda: now[0])

    def ask(path, query, body=None):
        query = {name: [value] for name, value in query.items()}
        raw = json.dumps(body).encode() if body else b""
        return app.decide(Request("POST" if body else "GET", path, query, {"Content-Type": JSON}, raw))

    asked = {"corpid": "K", "corpsecret": wecom_app.secret_of("K")}
    token = json.loads(ask("/cgi-bin/gettoken", asked).body)["access_token"]
    answers = [ask("/cgi-bin/message/send", {"access_token": token}, app_message("磁" * 800)) for _ in range(31)]
    assert all(json.loads(a.body)["errcode"] == 0 for a in answers)
    assert [a.accepted for a in answers] == [True] * 30 + [False]
    assert answers[0].text == "磁" * 682
    now[0] = 7200.0
    assert json.loads(ask("/cgi-bin/message/send", {"access_token": token}, app_message()).body)["errcode"] == 42001
