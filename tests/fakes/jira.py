"""Jira Cloud, REST API v3: issues with labels, comments and a work flow; refuses as it does, the search that is no more included."""

import json
import re
import threading
import time

from reply import JSON, PLAIN, Reply, basic_user, decode, media_type

BASE = "/rest/api/3/"
ISSUE = re.compile(r"/rest/api/3/issue/([^/]+)(?:/(comment|transitions))?")
JQL = re.compile(r'project = "([^"]+)" AND labels = "([^"]+)" ORDER BY created DESC')
MAX_SUMMARY, MAX_TEXT = 255, 32_767
PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")
# name: (id, from, to)
FLOW = {"Start": ("11", ("To Do",), "In Progress"), "Done": ("31", ("To Do", "In Progress"), "Done"), "Reopen": ("41", ("Done",), "To Do")}
CATEGORY = {"To Do": "new", "In Progress": "indeterminate", "Done": "done", "Waiting": "indeterminate"}

REFUSALS = {
    401: "Client must be authenticated to access this resource.",
    403: "You do not have permission to create issues in this project.",
    404: "Issue does not exist or you do not have permission to see it.",
    429: "Rate limit exceeded.",
}


class Refused(Exception):
    def __init__(self, status, message="", **errors):
        super().__init__(message or "; ".join(errors))
        self.status, self.message, self.errors = status, message, errors


class Jira:
    channel = "jira"
    prefix = "/rest/api/"

    def __init__(self):
        self._lock = threading.Lock()
        self.issues = {}  # key: {"project", "summary", "labels", "text", "comments", "status", …}

    def key(self, request):
        """The user, and what is asked: `ann/search`, `ann/create`, `ann/look`, `ann/comment`, `ann/transitions`."""
        user = basic_user(request)
        found = ISSUE.fullmatch(request.path)
        what = found[2] or "look" if found else "create" if request.path.endswith("/issue") else "search"
        return f"{user}/{what}"

    def decide(self, request):
        try:
            status, answer, word, text = self._answer(request)
        except Refused as refused:
            return error(refused.status, refused.message, refused.errors)
        body = b"" if answer is None else json.dumps(answer).encode()
        return Reply(bool(text), status, JSON if body else PLAIN, body, word, text)

    def fault(self, word):
        return Reply(False, 200, {"Content-Type": "text/html"}, b"<html>log in</html>", word, "")

    def refuse(self, status, word):
        """`429:SECONDS`, 400 with an error of the field that the word names, or the status alone."""
        if status == 429:
            reply = error(429, REFUSALS[429], {})
            return reply._replace(headers={**JSON, "Retry-After": word or "2", "RateLimit-Reason": "jira-burst-based"})
        return error(status, REFUSALS.get(status, ""), {word: f"Field '{word}' cannot be set."} if word else {})

    def reset(self):
        """The issues stay."""

    def _answer(self, request):
        if not re.fullmatch(r"Basic [\w+/]+=*", request.headers.get("Authorization", "")):
            raise Refused(401, REFUSALS[401])
        if request.path.startswith("/rest/api/3/search") and not request.path.endswith("/jql"):
            raise Refused(410, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")
        body = None
        if request.method != "GET":
            body = decode(request.body) if media_type(request) == "application/json" else None
            if not isinstance(body, dict):
                raise Refused(400, "There was an error parsing JSON. Check that your request body is valid.")
        elif request.body:
            raise Refused(400, "GET has no body")
        with self._lock:
            return self._route(request, body)

    def _route(self, request, body):
        asked = (request.method, request.path)
        if asked == ("POST", BASE + "search/jql"):
            return self._search(body)
        if asked == ("POST", BASE + "issue"):
            return self._create(body.get("fields"))
        match = ISSUE.fullmatch(request.path)
        if not match or match[1] not in self.issues:
            raise Refused(404, REFUSALS[404])
        issue = self.issues[match[1]]
        if (request.method, match[2]) == ("GET", None):
            return 200, shown(issue, request.query.get("fields", [""])[0].split(",")), "found", ""
        if (request.method, match[2]) == ("GET", "transitions"):
            listed = [{"id": i, "name": n, "to": {"name": to}} for n, (i, frm, to) in FLOW.items() if issue["status"] in frm]
            return 200, {"expand": "transitions", "transitions": listed}, "transitions", ""
        if (request.method, match[2]) == ("POST", "comment"):
            issue["comments"].append(plain(body.get("body"), "comment"))
            return 201, {"id": "1", "self": "x"}, "comment", f"{issue['key']} {issue['summary']}\n{issue['comments'][-1]}"
        if (request.method, match[2]) == ("POST", "transitions"):
            return self._move(issue, body)
        raise Refused(405, "method")

    def _search(self, body):
        jql = JQL.fullmatch(body.get("jql", ""))
        if not jql or not isinstance(body.get("fields"), list):
            raise Refused(400, "Error in the JQL Query")
        found = [i for i in self.issues.values() if i["project"] == jql[1] and jql[2] in i["labels"]]
        most = body.get("maxResults", 50)
        return 200, {"issues": [shown(i, body["fields"]) for i in found[::-1][:most]], "isLast": True}, f"{len(found)} found", ""

    def _create(self, fields):
        if not isinstance(fields, dict):
            raise Refused(400, fields="is required")
        project, kind = fields.get("project", {}).get("key"), fields.get("issuetype", {}).get("name")
        summary, labels = fields.get("summary"), fields.get("labels", [])
        if not project or project == "NONE":
            raise Refused(400, project="valid project is required")
        if kind not in ("Bug", "Task", "Incident"):
            raise Refused(400, issuetype="Specify a valid issue type")
        if not isinstance(summary, str) or not summary.strip() or "\n" in summary or len(summary) > MAX_SUMMARY:
            raise Refused(400, summary="Summary must be less than 255 characters.")
        if not all(isinstance(label, str) and label and " " not in label for label in labels):
            raise Refused(400, labels="The label contains spaces which is invalid.")
        if "priority" in fields and fields["priority"].get("name") not in PRIORITIES:
            raise Refused(400, priority="Specify a valid 'id' or 'name' for priority")
        text = plain(fields.get("description"), "description")
        key = f"{project}-{len(self.issues) + 1}"
        issue = {"key": key, "project": project, "summary": summary, "labels": labels, "text": text, "comments": []}
        self.issues[key] = issue | {"status": "To Do", "resolution": None, "resolved": None, "fields": fields}
        return 201, {"id": str(len(self.issues)), "key": key, "self": "x"}, key, f"{key} {summary}\n{text}"

    def _move(self, issue, body):
        number = body.get("transition", {}).get("id")
        name = next((n for n, (i, frm, _) in FLOW.items() if i == number and issue["status"] in frm), None)
        if not name:
            raise Refused(400, "It seems that you have tried to perform a workflow operation that is not valid")
        issue["status"] = FLOW[name][2]
        done = issue["status"] == "Done"
        issue |= {"resolution": "Done" if done else None, "resolved": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime()) if done else None}
        return 204, None, name, f"{issue['key']} {issue['summary']}: {name}"


def shown(issue, fields):
    resolution = issue["resolution"] and {"name": issue["resolution"]}
    all_of = {"status": {"name": issue["status"], "statusCategory": {"key": CATEGORY[issue["status"]]}}, "resolution": resolution}
    all_of |= {"resolutiondate": issue["resolved"], "summary": issue["summary"], "labels": issue["labels"]}
    return {"id": "1", "key": issue["key"], "fields": {name: all_of[name] for name in fields if name in all_of}}


def plain(doc, where):
    """What a document of Atlassian's says; as strict as its editor's schema."""
    if not isinstance(doc, dict) or doc.get("type") != "doc" or doc.get("version") != 1 or not doc.get("content"):
        raise Refused(400, **{where: "Operation value must be an Atlassian Document"})
    lines = []
    for block in doc["content"]:
        if block.get("type") != "paragraph":
            raise Refused(400, **{where: "INVALID_INPUT"})
        said = ""
        for node in block.get("content", []):
            known = node.get("type") == "hardBreak" or node.get("type") == "text" and isinstance(node.get("text"), str) and node["text"]
            marks = node.get("marks", [])
            if not known or not all(m.get("type") == "link" and m.get("attrs", {}).get("href") for m in marks):
                raise Refused(400, **{where: "INVALID_INPUT"})
            said += node.get("text", "\n")
        lines.append(said)
    text = "\n\n".join(lines)
    if len(text) > MAX_TEXT:
        raise Refused(400, **{where: "CONTENT_LIMIT_EXCEEDED"})
    return text


def error(status, message, errors):
    body = {"errorMessages": [message] if message else [], "errors": errors}
    return Reply(False, status, JSON, json.dumps(body).encode(), f"{status} {message or ', '.join(errors)}", "")
