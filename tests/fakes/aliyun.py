"""Aliyun's SendSms: RPC style, signed; the verdict is `Code` in the body."""

import base64
import datetime
import hashlib
import hmac
import json
import re
import urllib.parse

from reply import JSON, Reply, media_type

NUMBER = re.compile(r"\+?\d{5,20}")
NEEDED = ("AccessKeyId", "Format", "PhoneNumbers", "SignName", "SignatureNonce", "TemplateCode", "Timestamp")
AGE_S = 15 * 60
VARIABLE_MAX = 35  # of most kinds of variable; a template SMS_wide… has others

# HTTP status of what the gateway refuses; the service's own errors come under 200.
GATEWAY = {
    "InvalidAccessKeyId.NotFound": 404,
    "InvalidAction.NotFound": 404,
    "InvalidTimeStamp.Expired": 400,
    "MissingParameter": 400,
    "SignatureDoesNotMatch": 400,
    "SignatureNonceUsed": 400,
    "Throttling.User": 400,
    "ServiceUnavailable": 503,
}


class Refused(Exception):
    pass


def secret_of(key):
    return f"secret of {key}"


def quote(text):
    return urllib.parse.quote(text, safe="~")


def sign_of(method, fields, secret):
    form = "&".join(f"{quote(name)}={quote(value)}" for name, value in sorted(fields.items()))
    mac = hmac.new((secret + "&").encode(), f"{method}&%2F&{quote(form)}".encode(), hashlib.sha1)
    return base64.b64encode(mac.digest()).decode()


class Aliyun:
    channel = "aliyun_sms"
    prefix = "/aliyun"

    def __init__(self):
        self._nonces = set()

    def key(self, request):
        """The first number."""
        return fields_of(request).get("PhoneNumbers", "").split(",")[0]

    def decide(self, request):
        try:
            text = self._check(request)
        except Refused as refused:
            return error(str(refused))
        body = {"Code": "OK", "Message": "OK", "BizId": "1^0", "RequestId": "R1"}
        return Reply(True, 200, JSON, json.dumps(body).encode(), "OK", text)

    def fault(self, word):
        return error(word, 200)

    def refuse(self, status, word):
        """`400:throttled`, `429`, or the status alone."""
        code = "Throttling.User" if status == 429 or word == "throttled" else "ServiceUnavailable" if status >= 500 else "SignatureDoesNotMatch"
        return error(code, status)

    def reset(self):
        self._nonces.clear()

    def _check(self, request):
        fields = fields_of(request)
        signature = fields.pop("Signature", "")
        if any(not fields.get(name) for name in NEEDED) or request.method != "POST":
            raise Refused("MissingParameter")
        if (fields.get("Action"), fields.get("Version")) != ("SendSms", "2017-05-25"):
            raise Refused("InvalidAction.NotFound")
        if fields["AccessKeyId"].startswith("unknown"):
            raise Refused("InvalidAccessKeyId.NotFound")
        at = datetime.datetime.strptime(fields["Timestamp"] + "+0000", "%Y-%m-%dT%H:%M:%SZ%z")
        if abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) > AGE_S:
            raise Refused("InvalidTimeStamp.Expired")
        if signature != sign_of(request.method, fields, secret_of(fields["AccessKeyId"])):
            raise Refused("SignatureDoesNotMatch")
        if fields["SignatureNonce"] in self._nonces:
            raise Refused("SignatureNonceUsed")
        self._nonces.add(fields["SignatureNonce"])
        if not all(NUMBER.fullmatch(number) for number in fields["PhoneNumbers"].split(",")):
            raise Refused("isv.MOBILE_NUMBER_ILLEGAL")
        most = 200 if fields["TemplateCode"].startswith("SMS_wide") else VARIABLE_MAX
        return read_variables(fields.get("TemplateParam", ""), most)


def read_variables(text, most):
    try:
        variables = json.loads(text)
    except ValueError:
        raise Refused("isv.INVALID_JSON_PARAM") from None
    if not isinstance(variables, dict) or not all(isinstance(v, str) and v for v in variables.values()):
        raise Refused("isv.INVALID_JSON_PARAM")
    for value in variables.values():
        if "://" in value or "www." in value:
            raise Refused("isv.PARAM_NOT_SUPPORT_URL")
        if len(value) > most:
            raise Refused("isv.PARAM_LENGTH_LIMIT")
        if "【" in value or "】" in value or "\n" in value:
            raise Refused("isv.INVALID_PARAMETERS")
    return " ".join(f"{name}={value}" for name, value in variables.items())


def fields_of(request):
    if media_type(request) != "application/x-www-form-urlencoded":
        return {}
    try:
        return dict(urllib.parse.parse_qsl(request.body.decode("ascii"), keep_blank_values=True, errors="strict"))
    except UnicodeError:
        return {}


def error(code, status=None):
    body = {"Code": code, "Message": f"about {code}", "RequestId": "R1"}
    return Reply(False, status or GATEWAY.get(code, 200), JSON, json.dumps(body).encode(), code, "")
