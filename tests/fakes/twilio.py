"""Twilio's Messages and Calls: a form with basic authentication; 201, or an error with a code of Twilio's."""

import base64
import json
import re
import urllib.parse
import xml.etree.ElementTree

from reply import JSON, Reply, media_type

PATH = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]*)/(Messages|Calls)\.json")
NUMBER = re.compile(r"\+[1-9]\d{3,14}")
MAX_BODY, MAX_TWIML = 1600, 4000
LANGUAGES = ("en-US", "en-GB", "de-DE", "zh-CN", "zh-HK", "zh-TW")

ERRORS = {
    12100: (400, "Document parse failure"),
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "Internal Server Error"),
    21211: (400, "The 'To' number is not a valid phone number."),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21606: (400, "The 'From' phone number is not a valid message-capable number."),
    21608: (400, "The number is unverified."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21614: (400, "'To' number is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit."),
}
BY_STATUS = {401: 20003, 404: 20404, 429: 20429, 500: 20500}


class Refused(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


def token_of(account):
    return f"token of {account}"


class Twilio:
    """What messages and calls share."""

    prefix = "/2010-04-01/"

    def __init__(self):
        self._count = 0

    def key(self, request):
        """The number that is told or called."""
        return fields_of(request).get("To", "")

    def decide(self, request):
        try:
            text = self._check(request)
        except Refused as refused:
            return error(refused.code)
        self._count += 1
        body = {"sid": f"{self.kind}{self._count:032x}", "status": "queued", "error_code": None, "error_message": None}
        return Reply(True, 201, JSON, json.dumps(body).encode(), "201", text)

    def fault(self, word):
        return Reply(False, 200, {"Content-Type": "text/html"}, word.encode(), word, "")

    def refuse(self, status, word):
        """`400:CODE`, or the status alone."""
        code = int(word) if word.isdigit() and int(word) in ERRORS else BY_STATUS.get(status, 20500)
        return error(code, status)

    def reset(self):
        pass

    def _check(self, request):
        match = PATH.fullmatch(request.path)
        if not match or request.method != "POST":
            raise Refused(20404)
        pair = f"{match[1]}:{token_of(match[1])}".encode()
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(pair).decode():
            raise Refused(20003)
        fields = fields_of(request)
        if not NUMBER.fullmatch(fields.get("To", "")):
            raise Refused(21211)
        return self._read(fields)


class TwilioSms(Twilio):
    channel = "twilio_sms"
    suffix = "/Messages.json"
    kind = "SM"

    def _read(self, fields):
        if bool(fields.get("From")) == bool(fields.get("MessagingServiceSid")):
            raise Refused(21603)
        body = fields.get("Body", "")
        if not body.strip():
            raise Refused(21602)
        if len(body) > MAX_BODY:
            raise Refused(21617)
        return body


class TwilioVoice(Twilio):
    channel = "twilio_voice"
    suffix = "/Calls.json"
    kind = "CA"

    def _read(self, fields):
        if not NUMBER.fullmatch(fields.get("From", "")):
            raise Refused(21606)
        if not 0 < len(fields.get("Twiml", "")) <= MAX_TWIML:
            raise Refused(12100)
        return read_twiml(fields["Twiml"])


def fields_of(request):
    if media_type(request) != "application/x-www-form-urlencoded":
        return {}
    try:
        pairs = urllib.parse.parse_qsl(request.body.decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeError:
        return {}
    return dict(pairs)


def read_twiml(text):
    """What is heard, and where a key leads."""
    try:
        root = xml.etree.ElementTree.fromstring(text)
    except xml.etree.ElementTree.ParseError:
        raise Refused(12100) from None
    said = [say.text for say in root.iter("Say") for _ in range(int(say.get("loop", "1")))]
    if root.tag != "Response" or not said or any(say.get("language") not in LANGUAGES for say in root.iter("Say")):
        raise Refused(12100)
    keys = [f"key 1 <{g.get('action')}>" for g in root.iter("Gather")]
    return "\n".join(said + keys)


def error(code, status=None):
    usual, message = ERRORS[code]
    body = {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}", "status": status or usual}
    return Reply(False, status or usual, JSON, json.dumps(body).encode(), f"{code} {message}", "")
