"""ServiceNow's Table API: incidents, found by a query; a query with a field that it does not know finds everything."""

import json
import re
import threading
import uuid

from reply import JSON, Reply, basic_user, decode, media_type

TABLE = "/api/now/table/incident"
ONE = re.compile(re.escape(TABLE) + r"/([0-9a-f]{32})")
KNOWN = ("correlation_id", "active", "number", "state")
MAX_SHORT, MAX_TEXT = 160, 4000
CLOSED = ("7", "8")

REFUSALS = {
    401: ("User Not Authenticated", "Required to provide Auth information"),
    403: ("Insufficient rights to update records", "ACL Exception"),
    404: ("No Record found", "Record doesn't exist or ACL restricts the record retrieval"),
    400: ("Invalid table", "no"),
    429: ("Rate limit exceeded", "no"),
}


class Refused(Exception):
    def __init__(self, status):
        super().__init__(str(status))
        self.status = status


class Servicenow:
    channel = "servicenow"
    prefix = "/api/now/"

    def __init__(self):
        self._lock = threading.Lock()
        self.incidents = {}  # sys_id: the record, and "notes"

    def key(self, request):
        """The user, and the method: `ann/GET`."""
        user = basic_user(request)
        return f"{user}/{request.method}"

    def decide(self, request):
        try:
            with self._lock:
                return self._answer(request)
        except Refused as refused:
            return self.refuse(refused.status, "")

    def fault(self, word):
        """A developer's instance that sleeps."""
        return Reply(False, 200, {"Content-Type": "text/html"}, b"<html>Instance Hibernating page</html>", word, "")

    def refuse(self, status, word):
        message, detail = REFUSALS.get(status, ("error", "error"))
        body = {"error": {"message": message, "detail": detail}, "status": "failure"}
        headers = {**JSON, **({"Retry-After": word or "2"} if status == 429 else {})}
        return Reply(False, status, headers, json.dumps(body).encode(), f"{status} {message}", "")

    def reset(self):
        """The incidents stay."""

    def _answer(self, request):
        if not re.fullmatch(r"Basic [\w+/]+=*", request.headers.get("Authorization", "")):
            raise Refused(401)
        one = ONE.fullmatch(request.path)
        if one and one[1] not in self.incidents or not one and request.path != TABLE:
            raise Refused(404)
        if request.method == "GET" and not one:
            return self._find(request)
        if request.method == "GET":
            return self._give(request, 200, self.incidents[one[1]], "found", "")
        body = decode(request.body) if media_type(request) == "application/json" else None
        if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
            raise Refused(400)
        if request.method == "POST" and not one:
            return self._create(request, body)
        if request.method == "PATCH" and one:
            return self._change(request, self.incidents[one[1]], body)
        raise Refused(405)

    def _find(self, request):
        found = list(self.incidents.values())
        for condition in request.query.get("sysparm_query", [""])[0].split("^"):
            name, _, value = condition.partition("=")
            if name in KNOWN:
                found = [r for r in found if r[name] == value]
        shown = [self._fields(request, r) for r in found[: int(request.query.get("sysparm_limit", ["10000"])[0])]]
        return Reply(False, 200, JSON, json.dumps({"result": shown}).encode(), f"{len(shown)} found", "")

    def _fields(self, request, record):
        names = request.query.get("sysparm_fields", [""])[0]
        return {n: record[n] for n in names.split(",") if n in record} if names else record

    def _create(self, request, body):
        short = body.get("short_description", "")
        if not short.strip() or len(short) > MAX_SHORT or len(body.get("description", "")) > MAX_TEXT:
            raise Refused(400)
        if any(body.get(name, "3") not in ("1", "2", "3") for name in ("urgency", "impact")):
            raise Refused(400)
        number = f"INC{len(self.incidents) + 10001:07}"
        record = {"correlation_id": "", **body, "sys_id": uuid.uuid4().hex, "number": number, "state": "1", "active": "true", "notes": []}
        self.incidents[record["sys_id"]] = record
        return self._give(request, 201, record, number, f"{number} {short}\n{body.get('description', '')}")

    def _change(self, request, record, body):
        body = dict(body)
        if "work_notes" in body:
            record["notes"].append(body.pop("work_notes"))
        if body.get("state") == "6" and not (body.get("close_code") and body.get("close_notes")):
            raise Refused(403)  # the data policy of every instance
        record |= body
        record["active"] = str(record["state"] not in CLOSED).lower()
        note = record["notes"][-1] if record["notes"] else ""
        return self._give(request, 200, record, record["number"], f"{record['number']} {record['short_description']}\n{note}")

    def _give(self, request, status, record, word, text):
        headers = {**JSON, "Location": f"https://x{TABLE}/{record['sys_id']}"} if status == 201 else JSON
        body = json.dumps({"result": self._fields(request, record)}).encode()
        return Reply(bool(text), status, headers, body, word, text)
