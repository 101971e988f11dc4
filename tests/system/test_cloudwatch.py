"""CloudWatch alarms as Amazon SNS posts them: signed, with the certificate and the confirmations at an https server whose
authority is private, as `ingest.fetch_ca_file` and the source's `hosts` tell ingest (tocsin.yml)."""

import json
import time
import uuid

import pytest
import sns
from stack import wait
from test_sources import closed, opened

TEXT = {"Content-Type": "text/plain; charset=UTF-8"}  # so does SNS call its JSON
RAW = "/webhook/cloudwatch-raw/system-raw-token"


def post(stack, message, path="/webhook/cloudwatch", **headers):
    body = message if isinstance(message, str) else json.dumps(message)
    return stack.post(path, body.encode(), {**TEXT, **headers})


def send(stack, *args, **headers):
    status, answer = post(stack, *args, **headers)
    assert status == 200, (status, answer)


def alarm(name, state, **more):
    return sns.alarm(f"{name} is busy", state, AlarmDescription=f"severity=critical service={name}", **more)


def topic_of(name):
    return {"TopicArn": f"arn:aws:sns:eu-west-1:123456789012:{name}"}


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_alarm(stack, name, version):
    fires = stack.sns.notification(alarm(name, "ALARM"), version, Subject=f'ALARM: "{name} is busy" in EU (Ireland)')
    send(stack, fires)
    send(stack, fires)
    incident = opened(stack, name)
    assert incident["source"] == "cloudwatch" and incident["severity"] == "critical"
    # Without data nobody knows: it goes on.
    send(stack, stack.sns.notification(alarm(name, "INSUFFICIENT_DATA", before="ALARM"), version))
    wait("the alert without data", lambda: stack.incident(name)["alerts_total"] == 2)
    assert stack.incident(name)["status"] == "open" and stack.incident(name)["alerts_firing"] == 2
    send(stack, stack.sns.notification(alarm(name, "OK", before="INSUFFICIENT_DATA"), version))
    closed(stack, name)


def test_a_late_retry_opens_nothing_again(stack, name):
    """SNS tries again for up to an hour, by the same MessageId."""
    fires = stack.sns.notification(alarm(name, "ALARM", at=time.time() - 5))
    send(stack, fires)
    opened(stack, name)
    send(stack, stack.sns.notification(alarm(name, "OK", before="ALARM")))
    closed(stack, name)
    send(stack, fires)
    # Of the same alarm, and so behind it.
    send(stack, stack.sns.notification(alarm(name, "INSUFFICIENT_DATA")))
    wait("what came last", lambda: stack.incident(name)["alerts_total"] == 2)
    assert stack.incident(name)["alerts_firing"] == 1


def test_any_text(stack, name):
    topic = topic_of(name)
    for _ in range(2):
        send(stack, stack.sns.notification("Your budget is used up.", Subject=f"Budget of {name}", **topic))
    incident = wait("both messages", lambda: (found := stack.incident(name))["frequency_stats"]["count_24h"] == 2 and found)
    assert incident["title"] == f"Budget of {name}" and incident["alerts_total"] == 1


def test_raw_delivery(stack, name):
    """Without an envelope, and so by the entry's secret."""
    headers = {"x-amz-sns-rawdelivery": "true", "x-amz-sns-topic-arn": topic_of(name)["TopicArn"]}
    send(stack, alarm(name, "ALARM"), RAW, **{"x-amz-sns-message-id": str(uuid.uuid4())}, **headers)
    opened(stack, name)
    send(stack, alarm(name, "OK", before="ALARM"), RAW, **{"x-amz-sns-message-id": str(uuid.uuid4())}, **headers)
    closed(stack, name)
    other = f"{name}-text"
    headers |= {"x-amz-sns-topic-arn": topic_of(other)["TopicArn"], "x-amz-sns-message-id": str(uuid.uuid4())}
    send(stack, "[prod] a line that is no JSON", RAW, **headers)
    incident = wait("the text", lambda: stack.incident(other))
    assert incident["title"] == "[prod] a line that is no JSON"
    assert post(stack, alarm(name, "ALARM"), RAW + "x")[0] == 401
    assert post(stack, alarm(name, "ALARM"))[0] == 401  # where raw delivery is not wanted


def test_what_is_forged(stack, name):
    good = stack.sns.notification(alarm(name, "ALARM"))
    elsewhere = stack.sns.envelope("Notification", "x", SigningCertURL="https://localhost:21010/x.pem")
    old = sns.stamp(time.time() - 2 * 86400)
    before = len(stack.sns.gets)
    for message in (
        {**good, "Message": good["Message"].replace("busy", "idle")},
        {**good, "MessageId": str(uuid.uuid4())},
        {**good, "Subject": "smuggled"},
        {k: v for k, v in good.items() if k != "Signature"},
        {**good, "SignatureVersion": "1"},
        {**good, "SigningCertURL": good["SigningCertURL"].replace("https", "http")},
        elsewhere,
        stack.sns.notification("x", TopicArn="arn:aws:sns:eu-west-1:210987654321:alarms"),
        stack.sns.notification("x", Timestamp=old),
        "[]",
    ):
        status, answer = post(stack, message)
        assert status == 401, (status, answer, message)
    assert stack.sns.gets[before:] in ([], [sns.CERTIFICATE])
    assert stack.incidents(name) == []


def test_subscriptions(stack):
    def confirmed():
        return [path for path in stack.sns.gets if "Action=" in path]

    before = len(confirmed())
    message = stack.sns.subscription()
    send(stack, message)
    assert message["SubscribeURL"].endswith(confirmed()[-1]) and len(confirmed()) == before + 1
    # Who leaves is not asked to stay; nobody is asked for what nobody signed, or anywhere else.
    send(stack, stack.sns.subscription("UnsubscribeConfirmation"))
    assert post(stack, {**stack.sns.subscription(), "Token": "other"})[0] == 401
    assert post(stack, stack.sns.subscription(host="localhost:21010"))[0] == 400
    assert post(stack, stack.sns.subscription(TopicArn="arn:aws:sns:eu-west-1:210987654321:alarms"))[0] == 401
    assert len(confirmed()) == before + 1
    # What SNS itself refuses is not confirmed: it is for SNS to try again.
    message = stack.sns.subscription()
    stack.sns.tokens.remove(message["Token"])
    assert post(stack, message)[0] == 503
    # Raw delivery is no way around the signature.
    assert post(stack, {**stack.sns.subscription(), "Token": "other"}, RAW)[0] == 401


def test_a_certificate_that_does_not_come(stack, name):
    """503, never taken unverified; what waits for it is in nobody else's way."""
    hung = stack.sns.notification(alarm(name, "ALARM"), certificate=f"/{name}-hangs.pem")
    missing = stack.sns.notification(alarm(name, "ALARM"), certificate=f"/{name}-missing.pem")
    known = stack.sns.notification("x")
    send(stack, known)  # its certificate is at hand from here on
    stack.sns.status = 404
    try:
        assert post(stack, missing)[0] == 503
    finally:
        stack.sns.status = 200
    stack.sns.free.clear()
    try:
        status, answer = post(stack, hung)
        assert status == 503, answer
        send(stack, stack.sns.notification("y"))
        stack.send("/api/v1/alerts", {"title": "meanwhile", "service": f"{name}-other"})
    finally:
        stack.sns.free.set()
    assert stack.incidents(name) == []
    wait("the retry", lambda: post(stack, hung)[0] == 200)
    opened(stack, name)
