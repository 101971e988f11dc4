"""The fakes of telephone services refuse what the vendors refuse."""

import base64
import datetime
import json
import urllib.parse

import aliyun
import pytest
import twilio
from test_fakes import last, order, send

FORM = "application/x-www-form-urlencoded"


# Twilio

SMS, CALL = "Messages", "Calls"


def twilio_send(fake, resource, fields, account="AC1", token=None):
    raw = urllib.parse.urlencode(fields).encode()
    pair = base64.b64encode(f"{account}:{token or twilio.token_of(account)}".encode()).decode()
    path = f"/2010-04-01/Accounts/{account}/{resource}.json"
    status, _, text = send(fake, path, raw, kind=FORM, headers={"Authorization": "Basic " + pair})
    return status, json.loads(text)


def sms(**more):
    return {"To": "+4930123456", "From": "+15005550006", "Body": "Größe: 1", **more}


def call(twiml="<Response><Say language='zh-CN' loop='2'>磁盘</Say></Response>", **more):
    return {"To": "+4930123456", "From": "+15005550006", "Twiml": twiml, **more}


def test_twilio_takes_messages_and_calls(fake):
    status, answer = twilio_send(fake, SMS, sms())
    assert status == 201 and answer["sid"].startswith("SM") and answer["status"] == "queued"
    assert last(fake)["text"] == "Größe: 1" and last(fake)["channel"] == "twilio_sms"
    status, answer = twilio_send(fake, CALL, call())
    assert status == 201 and answer["sid"].startswith("CA")
    assert last(fake)["text"] == "磁盘\n磁盘" and last(fake)["channel"] == "twilio_voice"


@pytest.mark.parametrize(
    "resource, fields, code",
    [
        (SMS, sms(To="030123456"), 21211),
        (SMS, sms(From=""), 21603),
        (SMS, sms(MessagingServiceSid="MG1"), 21603),
        (SMS, sms(Body=" "), 21602),
        (SMS, sms(Body="x" * 1601), 21617),
        (CALL, call(From="Ops"), 21606),
        (CALL, call("<Response><Say language='en-US'>a & b</Say></Response>"), 12100),
        (CALL, call("<Response><Say language='tlh'>x</Say></Response>"), 12100),
        (CALL, call("<Response></Response>"), 12100),
        (CALL, call("<Response><Say language='en-US'>" + "x" * 4000 + "</Say></Response>"), 12100),
    ],
)
def test_twilio_refuses(fake, resource, fields, code):
    status, answer = twilio_send(fake, resource, fields)
    assert status == 400 and answer["code"] == code and not last(fake)["accepted"]


def test_twilio_wants_the_accounts_token(fake):
    status, answer = twilio_send(fake, SMS, sms(), token="other")
    assert (status, answer["code"]) == (401, 20003)


def test_twilio_refuses_on_demand(fake):
    order(fake, "twilio_sms", "+4930123456", "400:21610", "429")
    answers = [twilio_send(fake, SMS, sms()) for _ in range(3)]
    assert [(status, answer.get("code")) for status, answer in answers] == [(400, 21610), (429, 20429), (201, None)]


def test_twilio_signs_as_its_documentation():
    fields = {"CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "From": "+14158675309", "Digits": "1234", "To": "+18005551212"}
    assert twilio.signature("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", fields) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_twilio_posts_back_what_became_of_a_message(fake):
    back = f"http://127.0.0.1:{fake.port}/hook/status?tenant=a"
    twilio_send(fake, SMS, sms(Body="seven", StatusCallback=back))
    messages = fake.endpoints.of("/2010-04-01/Accounts/AC1/Messages.json")
    messages.report("seven", "undelivered", ErrorCode="30003")
    posted = dict(urllib.parse.parse_qsl(last(fake)["raw"]))
    assert last(fake)["endpoint"] == "/hook/status?tenant=a" and posted["MessageSid"] == messages.newest("seven")["sid"]
    assert (posted["MessageStatus"], posted["ErrorCode"]) == ("undelivered", "30003")


def test_twilio_refuses_a_callback_that_is_no_address(fake):
    assert twilio_send(fake, SMS, sms(StatusCallback="localhost/x"))[1]["code"] == 21609


# Aliyun


def ask(**more):
    now = datetime.datetime.now(datetime.timezone.utc)
    fields = {
        "AccessKeyId": "K",
        "Action": "SendSms",
        "Format": "JSON",
        "PhoneNumbers": "13800000000,+8613900000000",
        "SignName": "运维",
        "SignatureNonce": str(now.timestamp()),
        "TemplateCode": "SMS_1",
        "TemplateParam": json.dumps({"title": "磁盘"}),
        "Timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Version": "2017-05-25",
    }
    return {**fields, **more}


def aliyun_code(fake, fields, secret=None):
    signed = {**fields, "Signature": aliyun.sign_of("POST", fields, secret or aliyun.secret_of(fields["AccessKeyId"]))}
    return json.loads(send(fake, "/aliyun", urllib.parse.urlencode(signed).encode(), kind=FORM)[2])["Code"]


def params(**values):
    return ask(TemplateParam=json.dumps(values))


def test_aliyun_takes_a_message_and_shows_its_variables(fake):
    assert aliyun_code(fake, ask()) == "OK"
    assert last(fake)["text"] == "title=磁盘" and last(fake)["accepted"]


@pytest.mark.parametrize(
    "fields, code",
    [
        (ask(Timestamp="2020-01-01T00:00:00Z"), "InvalidTimeStamp.Expired"),
        (ask(AccessKeyId="unknown"), "InvalidAccessKeyId.NotFound"),
        (ask(Action="SendCall"), "InvalidAction.NotFound"),
        (ask(SignName=""), "MissingParameter"),
        (ask(PhoneNumbers="ann"), "isv.MOBILE_NUMBER_ILLEGAL"),
        (ask(TemplateParam="{"), "isv.INVALID_JSON_PARAM"),
        (params(a=1), "isv.INVALID_JSON_PARAM"),
        (params(a=""), "isv.INVALID_JSON_PARAM"),
        (params(a="see http://x"), "isv.PARAM_NOT_SUPPORT_URL"),
        (params(a="x" * 36), "isv.PARAM_LENGTH_LIMIT"),
        (params(a="【x】"), "isv.INVALID_PARAMETERS"),
    ],
)
def test_aliyun_refuses(fake, fields, code):
    assert aliyun_code(fake, {**fields, "SignatureNonce": code + str(fields)}) == code and not last(fake)["accepted"]


def test_aliyun_checks_the_signature_and_that_it_is_new(fake):
    assert aliyun_code(fake, ask(), secret="other") == "SignatureDoesNotMatch"
    fields = ask()
    assert [aliyun_code(fake, fields) for _ in range(2)] == ["OK", "SignatureNonceUsed"]


def test_aliyun_signs_as_its_documentation():
    fields = {
        "AccessKeyId": "testid",
        "Action": "DescribeRegions",
        "Format": "XML",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "SignatureVersion": "1.0",
        "Timestamp": "2016-02-23T12:46:24Z",
        "Version": "2014-05-26",
    }
    assert aliyun.sign_of("GET", fields, "testsecret") == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="
