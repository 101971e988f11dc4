"""Twilio's Messages and Calls: a form with basic authentication; 201, or an error with a code of Twilio's. What becomes
of them, and keys that are pressed, are posted back signed, when the test says so."""

import base64
import hashlib
import hmac
import json
import re
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree

from reply import JSON, Reply, media_type

PATH = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]*)/(Messages|Calls)\.json")
URL = re.compile(r"https?://[^/?#]+(/[^#]*)?")
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
    21609: (400, "The 'StatusCallback' URL is not a valid URL."),
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


def signature(token, url, fields):
    """X-Twilio-Signature of a form that is posted to this address."""
    text = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def call_back(token, url, fields):
    """(status, body) of what answers there."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature(token, url, fields)}
    request = urllib.request.Request(url, urllib.parse.urlencode(fields).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Twilio:
    """What messages and calls share."""

    prefix = "/2010-04-01/"

    def __init__(self):
        self._count = 0
        self.taken = []  # what was accepted: its fields, account, sid and text

    def key(self, request):
        """The number that is told or called."""
        return fields_of(request).get("To", "")

    def decide(self, request):
        try:
            text = self._check(request)
        except Refused as refused:
            return error(refused.code)
        self._count += 1
        sid = f"{self.kind}{self._count:032x}"
        self.taken.append({**fields_of(request), "account": PATH.fullmatch(request.path)[1], "sid": sid, "text": text})
        body = {"sid": sid, "status": "queued", "error_code": None, "error_message": None}
        return Reply(True, 201, JSON, json.dumps(body).encode(), "201", text)

    def report(self, one, status, token=None, **more):
        """Post this status of a message, or of the newest that has this word in its text: (status, body) of the answer.
        `token` signs instead of the account's; `more` are fields such as ErrorCode."""
        one = self.newest(one) if isinstance(one, str) else one
        fields = {f"{self.resource}Sid": one["sid"], f"{self.resource}Status": status, "AccountSid": one["account"], "To": one["To"], **more}
        return call_back(token or token_of(one["account"]), one["StatusCallback"], fields)

    def newest(self, word):
        return next(one for one in reversed(self.taken) if word in one["text"])

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
        if "StatusCallback" in fields and not URL.fullmatch(fields["StatusCallback"]):
            raise Refused(21609)
        return self._read(fields)


class TwilioSms(Twilio):
    channel = "twilio_sms"
    suffix = "/Messages.json"
    kind, resource = "SM", "Message"

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
    kind, resource = "CA", "Call"

    def press(self, word, digits, token=None):
        """Post the keys that were pressed in the newest call that says the word."""
        one = self.newest(word)
        action = next(g.get("action") for g in xml.etree.ElementTree.fromstring(one["Twiml"]).iter("Gather"))
        fields = {"CallSid": one["sid"], "AccountSid": one["account"], "To": one["To"], "From": one["From"], "Digits": digits}
        return call_back(token or token_of(one["account"]), action, fields)

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
