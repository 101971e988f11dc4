#!/usr/bin/python3
"""Amazon SNS as far as its subscribers see it: messages signed as Amazon signs them, and over https the certificate that proves
it and the address that confirms a subscription. Authority, certificates and keys are its own; openssl makes them.

  sns.py DIR    write the vectors of tests/vectors/sns: three messages, signed with DIR/signing.key
"""

import base64
import http.server
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from pathlib import Path

SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
CERTIFICATE = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"


def openssl(*args, **more):
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, **more).stdout


def sign(message, key):
    """The message with its signature; `key` is a file."""
    text = "".join(f"{k}\n{message[k]}\n" for k in SIGNED[message["Type"]] if k in message)
    digest = {"1": "-sha1", "2": "-sha256"}[message["SignatureVersion"]]
    signature = openssl("dgst", digest, "-sign", key, input=text.encode())
    return {**message, "Signature": base64.b64encode(signature).decode()}


def stamp(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))


def alarm(name, state, at=None, before="OK", **fields):
    """What CloudWatch publishes when an alarm changes its state."""
    topic = "arn:aws:sns:eu-west-1:123456789012:alarms"
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(at or time.time()))
    return {
        "AlarmName": name,
        "AlarmDescription": "The machines are busy.",
        "AWSAccountId": "123456789012",
        "NewStateValue": state,
        "NewStateReason": "Threshold Crossed: 1 out of the last 1 datapoints [91.2] was greater than the threshold (80.0).",
        "StateChangeTime": at,
        "Region": "EU (Ireland)",
        "AlarmArn": f"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}",
        "OldStateValue": before,
        "OKActions": [topic],
        "AlarmActions": [topic],
        "InsufficientDataActions": [],
        "Trigger": {
            "MetricName": "CPUUtilization",
            "Namespace": "AWS/EC2",
            "Dimensions": [{"value": "i-0123456789abcdef0", "name": "InstanceId"}],
            "Period": 60,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 80.0,
        },
        **fields,
    }


class Sns(http.server.ThreadingHTTPServer):
    """Serves from its own threads. `gets` are the paths that were asked for; while `held` is set nothing is answered."""

    daemon_threads = True
    block_on_close = False
    topic = "arn:aws:sns:eu-west-1:123456789012:alarms"

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.dir = Path(tempfile.mkdtemp(prefix="tocsin-sns-"))
        self.dir.chmod(0o755)
        self.ca_file, self.key = self.dir / "ca.pem", self.dir / "signing.key"
        self._make_certificates()
        self.gets, self.tokens, self.status = [], [], 200
        self.free = threading.Event()
        self.free.set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.dir / "server.pem", self.dir / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"localhost:{self.server_address[1]}"
        self.certificate = (self.dir / "signing.pem").read_bytes()

    def _make_certificates(self):
        make = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30")
        ca = ("-CA", self.ca_file, "-CAkey", self.dir / "ca.key")
        openssl(*make, "-keyout", self.dir / "ca.key", "-out", self.ca_file, "-subj", "/CN=a private authority")
        openssl(
            *make, *ca, "-keyout", self.dir / "server.key", "-out", self.dir / "server.pem", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
        )
        openssl(*make, "-keyout", self.key, "-out", self.dir / "signing.pem", "-subj", "/CN=sns.amazonaws.com")

    def start(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def stop(self):
        self.free.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A peer that goes away is part of the play."""

    def envelope(self, kind, text, version="2", certificate=CERTIFICATE, **fields):
        message = {
            "Type": kind,
            "MessageId": str(uuid.uuid4()),
            "TopicArn": self.topic,
            "Message": text if isinstance(text, str) else json.dumps(text),
            "Timestamp": stamp(time.time()),
            "SignatureVersion": version,
            "SigningCertURL": f"https://{self.host}{certificate}",
            **fields,
        }
        return sign(message, self.key)

    def notification(self, text, version="2", **fields):
        unsubscribe = f"https://{self.host}/?Action=Unsubscribe&SubscriptionArn={self.topic}:{uuid.uuid4()}"
        return self.envelope("Notification", text, version, UnsubscribeURL=unsubscribe, **fields)

    def subscription(self, kind="SubscriptionConfirmation", host=None, **fields):
        token = uuid.uuid4().hex
        self.tokens.append(token)
        confirm = f"https://{host or self.host}/?Action=ConfirmSubscription&TopicArn={self.topic}&Token={token}"
        text = f"You have chosen to subscribe to the topic {self.topic}."
        return self.envelope(kind, text, Token=token, SubscribeURL=confirm, **fields)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.gets.append(self.path)
        self.server.free.wait()
        url = urllib.parse.urlsplit(self.path)
        token = urllib.parse.parse_qs(url.query).get("Token", [""])[0]
        if self.server.status != 200:
            return self._send(self.server.status, b"no")
        if url.path.endswith(".pem"):
            return self._send(200, self.server.certificate)
        if token in self.server.tokens:
            return self._send(200, b"<ConfirmSubscriptionResponse/>")
        return self._send(400, b"no such token")

    def log_message(self, format, *args):
        """`gets` says it."""

    def _send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def vectors(directory):
    directory = Path(directory)
    common = {
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
        "Timestamp": "2030-01-02T03:04:05.000Z",
        "SigningCertURL": f"https://sns.eu-west-1.amazonaws.com{CERTIFICATE}",
    }
    text = "A line,\nanother with \"quotes\", a tab\t and a letter \N{LATIN SMALL LETTER E WITH ACUTE}."
    subscribe = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:123456789012:alarms&Token=2336412f37fb687f5d51e6e241d09c80"
    confirmation = {"Message": "You have chosen to subscribe.", "SubscribeURL": subscribe, "Token": "2336412f37fb687f5d51e6e241d09c80"}
    for name, own in {
        "notification_v1": {"Type": "Notification", "Message": text, "Subject": "A subject", "SignatureVersion": "1"},
        "notification_v2": {"Type": "Notification", "Message": text, "SignatureVersion": "2"},
        "subscription_v2": {"Type": "SubscriptionConfirmation", **confirmation, "SignatureVersion": "2"},
    }.items():
        message = {**common, **own, "MessageId": str(uuid.uuid5(uuid.NAMESPACE_URL, name))}
        (directory / f"{name}.json").write_text(json.dumps(sign(message, directory / "signing.key"), indent=1) + "\n")


if __name__ == "__main__":
    vectors(sys.argv[1])
