"""The fakes of programs that keep an alert or a ticket refuse what the vendors refuse, and remember what they have."""

import json
import time
import urllib.error
import urllib.request

import pytest
from test_fakes import last, order, post, send



def exchange(fake, path, body, method, headers):
    """(status, headers, body as text), with headers of our own."""
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {**headers, **({"Content-Type": "application/json"} if raw is not None else {})}
    request = urllib.request.Request(f"http://127.0.0.1:{fake.port}{path}", raw, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


# PagerDuty

ENQUEUE, KEY = "/v2/enqueue", "k" * 32


def event(action="trigger", key="d", **payload):
    doc = {"routing_key": KEY, "event_action": action, "dedup_key": key}
    return {**doc, "payload": {"summary": "disk", "source": "db", "severity": "critical", **payload}}


def test_pagerduty_keeps_one_alert_by_its_key(fake):
    alerts = fake.endpoints.of(ENQUEUE).alerts
    for action, state in (("trigger", "triggered"), ("acknowledge", "acknowledged"), ("trigger", "acknowledged"), ("resolve", "resolved")):
        assert post(fake, ENQUEUE, event(action)) == (202, '{"status": "success", "message": "Event processed", "dedup_key": "d"}')
        assert alerts[(KEY, "d")]["state"] == state
    assert last(fake)["text"] == "resolve: disk"
    assert post(fake, ENQUEUE, event("resolve"))[0] == 202 and last(fake)["text"] == "resolve: nothing is open"
    assert (alerts[(KEY, "d")]["alerts"], alerts[(KEY, "d")]["triggers"]) == (1, 2)
    post(fake, ENQUEUE, event())
    assert alerts[(KEY, "d")]["alerts"] == 2


@pytest.mark.parametrize(
    "body, words",
    [
        (b"{", "invalid"),
        ({**event(), "routing_key": "short"}, "should be 32 characters"),
        ({**event(), "event_action": ""}, "'event_action' is missing or blank"),
        (event("explode"), "event_action"),
        (event("resolve", None), "dedup_key"),
        (event(key="d" * 256), "dedup_key"),
        ({**event(), "payload": None}, "payload"),
        (event(summary=""), "summary"),
        (event(summary="s" * 1025), "summary"),
        (event(severity="fatal"), "severity"),
        (event(source=None), "source"),
        (event(timestamp="yesterday"), "timestamp"),
        (event(custom_details=[]), "custom_details"),
        ({**event(), "links": [{"text": "x"}]}, "links"),
        (event(custom_details={"x": "x" * (512 << 10)}), "too large"),
    ],
)
def test_pagerduty_refuses(fake, body, words):
    status, answer = post(fake, ENQUEUE, body)
    answer = json.loads(answer)
    assert (status, answer["status"]) == (400, "invalid event") and words in " ".join(answer["errors"])
    assert not last(fake)["accepted"]


def test_pagerduty_refuses_on_demand(fake):
    assert order(fake, "pagerduty", KEY, "429", "200body:maybe", "403") == 200
    status, headers, answer = send(fake, ENQUEUE, event())
    assert status == 429 and "Retry-After" not in headers and json.loads(answer)["status"] == "throttle exceeded"
    assert [post(fake, ENQUEUE, event())[0] for _ in range(2)] == [200, 403]
    assert send(fake, ENQUEUE, event(), kind="text/plain")[0] == 400


def test_pagerduty_takes_version_1(fake):
    path = "/generic/2010-04-15/create_event.json"
    one = {"service_key": "S", "event_type": "trigger", "incident_key": "d", "description": "disk"}
    status, answer = post(fake, path, one)
    assert (status, json.loads(answer)["incident_key"]) == (200, "d")
    for broken in ({"service_key": ""}, {"event_type": "x"}, {"description": ""}, {"event_type": "resolve", "incident_key": ""}):
        assert post(fake, path, {**one, **broken})[0] == 400
    assert order(fake, "pagerduty", "S", "403") == 200
    assert post(fake, path, one)[0] == 403


# Opsgenie

GENIE = {"Authorization": "GenieKey K"}


def genie(fake, path="", body=None, method="POST", headers=GENIE):
    """(status, answer)"""
    status, _, answer = exchange(fake, f"/v2/alerts{path}", body, method, headers)
    return status, json.loads(answer)


def became(fake, answer):
    status, told = genie(fake, f"/requests/{answer['requestId']}", method="GET")
    return status, told.get("data", {}).get("isSuccess"), told.get("data", {}).get("status")


def test_opsgenie_keeps_one_alert_by_its_alias(fake):
    alerts = fake.endpoints.of("/v2/alerts").alerts
    status, answer = genie(fake, body={"message": "disk", "alias": "a"})
    assert status == 202 and became(fake, answer) == (200, True, "Created alert")
    genie(fake, body={"message": "other", "alias": "a"})
    assert (alerts[("K", "a")]["message"], alerts[("K", "a")]["count"], alerts[("K", "a")]["alerts"]) == ("disk", 2, 1)
    assert genie(fake, "/a/message?identifierType=alias", {"message": "other"}, "PUT")[0] == 202
    assert alerts[("K", "a")]["message"] == "other"
    for act in ("acknowledge", "close"):
        status, answer = genie(fake, f"/a/{act}?identifierType=alias", {"note": "n"})
        assert status == 202 and became(fake, answer)[1]
    assert alerts[("K", "a")]["status"] == "closed" and alerts[("K", "a")]["acknowledged"]
    status, answer = genie(fake, "/a/close?identifierType=alias", {})
    assert status == 202 and became(fake, answer) == (200, False, "Alert does not exist")


@pytest.mark.parametrize(
    "path, body, method, status",
    [
        ("", b"{", "POST", 422),
        ("", {"alias": "a"}, "POST", 422),
        ("", {"message": "m" * 131}, "POST", 422),
        ("", {"message": "m", "description": "d" * 15_001}, "POST", 422),
        ("", {"message": "m", "priority": "P6"}, "POST", 422),
        ("", {"message": "m", "tags": ["t"] * 21}, "POST", 422),
        ("", {"message": "m", "tags": ["t" * 51]}, "POST", 422),
        ("", {"message": "m", "details": {"n": 1}}, "POST", 422),
        ("", {"message": "m", "details": {"n": "x" * 8000}}, "POST", 422),
        ("", {"message": "m", "responders": [{"type": "team"}]}, "POST", 422),
        ("/a/close", {}, "POST", 422),
        ("/a/close?identifierType=alias", {}, "PUT", 404),
        ("/a/explode?identifierType=alias", {}, "POST", 404),
        ("/requests/unknown", None, "GET", 404),
    ],
)
def test_opsgenie_refuses(fake, path, body, method, status):
    assert genie(fake, path, body, method)[0] == status and not last(fake)["accepted"]


def test_opsgenie_wants_its_key_and_refuses_on_demand(fake):
    one = {"message": "m"}
    assert genie(fake, body=one, headers={"Authorization": "Bearer K"})[0] == 401
    assert order(fake, "opsgenie", "K", "429:7", "200body:no", "200body:late", "402") == 200
    status, headers, _ = exchange(fake, "/v2/alerts", one, "POST", GENIE)
    assert (status, headers["X-RateLimit-Period-In-Sec"]) == (429, "7")
    status, answer = genie(fake, body=one)
    assert status == 202 and became(fake, answer)[:2] == (200, False)
    status, answer = genie(fake, body=one)
    assert status == 202 and [became(fake, answer)[0] for _ in range(2)] == [404, 200]
    assert genie(fake, body=one)[0] == 402


# Jira

ANN = {"Authorization": "Basic YW5uOnRva2Vu"}
ISSUE = {"project": {"key": "OPS"}, "issuetype": {"name": "Bug"}, "summary": "disk", "labels": ["l"]}


def doc(text="full"):
    return {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}]}


def jira(fake, path, body=None, method="POST", headers=ANN):
    status, _, answer = exchange(fake, f"/rest/api/3/{path}", body, method, headers)
    return status, json.loads(answer) if answer else None


def test_jira_finds_moves_and_comments_an_issue(fake):
    status, made = jira(fake, "issue", {"fields": {**ISSUE, "description": doc()}})
    assert status == 201 and last(fake)["text"] == f"{made['key']} disk\nfull"
    jql = {"jql": 'project = "OPS" AND labels = "l" ORDER BY created DESC', "fields": ["status"]}
    (found,) = jira(fake, "search/jql", jql)[1]["issues"]
    assert found["key"] == made["key"] and found["fields"]["status"]["statusCategory"]["key"] == "new"
    assert jira(fake, "search/jql", {**jql, "jql": jql["jql"].replace('"l"', '"m"')}) == (200, {"issues": [], "isLast": True})
    path = f"issue/{made['key']}"
    assert jira(fake, f"{path}/comment", {"body": doc("more")})[0] == 201
    (done,) = [t["id"] for t in jira(fake, f"{path}/transitions", method="GET")[1]["transitions"] if t["name"] == "Done"]
    assert [jira(fake, f"{path}/transitions", {"transition": {"id": done}})[0] for _ in range(2)] == [204, 400]
    fields = jira(fake, f"{path}?fields=status,resolution", method="GET")[1]["fields"]
    assert fields["status"]["statusCategory"]["key"] == "done" and fields["resolution"] == {"name": "Done"} and len(fields) == 2


@pytest.mark.parametrize(
    "path, body, status, words",
    [
        ("search", {"jql": ""}, 410, "removed"),
        ("search/jql", {"jql": "labels = l", "fields": []}, 400, "JQL"),
        ("issue", b"{", 400, "parsing JSON"),
        ("issue", {"fields": {**ISSUE, "project": {"key": "NONE"}, "description": doc()}}, 400, "project"),
        ("issue", {"fields": {**ISSUE, "issuetype": {}, "description": doc()}}, 400, "issuetype"),
        ("issue", {"fields": {**ISSUE, "summary": "s" * 256, "description": doc()}}, 400, "summary"),
        ("issue", {"fields": {**ISSUE, "summary": "a\nb", "description": doc()}}, 400, "summary"),
        ("issue", {"fields": {**ISSUE, "labels": ["a b"], "description": doc()}}, 400, "labels"),
        ("issue", {"fields": {**ISSUE, "priority": {"name": "P1"}, "description": doc()}}, 400, "priority"),
        ("issue", {"fields": {**ISSUE, "description": "text"}}, 400, "description"),
        ("issue", {"fields": {**ISSUE, "description": doc("")}}, 400, "description"),
        ("issue", {"fields": {**ISSUE, "description": doc("x" * 32_768)}}, 400, "description"),
        ("issue/OPS-0/comment", {"body": doc()}, 404, "does not exist"),
    ],
)
def test_jira_refuses(fake, path, body, status, words):
    code, answer = jira(fake, path, body)
    assert code == status and words in json.dumps(answer) and not last(fake)["accepted"]


def test_jira_wants_a_user_and_refuses_on_demand(fake):
    assert jira(fake, "issue", {"fields": ISSUE}, headers={"Authorization": "Bearer x"})[0] == 401
    assert order(fake, "jira", "ann/create", "429:7", "400:priority", "200body:maybe") == 200
    status, headers, _ = exchange(fake, "/rest/api/3/issue", {}, "POST", ANN)
    assert (status, headers["Retry-After"]) == (429, "7")
    assert jira(fake, "issue", {}) == (400, {"errorMessages": [], "errors": {"priority": "Field 'priority' cannot be set."}})
    assert exchange(fake, "/rest/api/3/issue", {}, "POST", ANN)[0] == 200


# ServiceNow

TABLE = "/api/now/table/incident"


def snow(fake, rest="", body=None, method="GET", headers=ANN):
    status, _, answer = exchange(fake, TABLE + rest, body, method, headers)
    return status, json.loads(answer).get("result") if answer.startswith("{") else answer


def test_servicenow_finds_and_changes_a_record(fake):
    status, made = snow(fake, "", {"short_description": "disk", "correlation_id": "c"}, "POST")
    assert status == 201 and made["state"] == "1"
    query = "?sysparm_query=correlation_id%3Dc%5Eactive%3Dtrue&sysparm_fields=sys_id,state"
    assert snow(fake, query) == (200, [{"sys_id": made["sys_id"], "state": "1"}])
    one = f"/{made['sys_id']}"
    assert snow(fake, one, {"work_notes": "more"}, "PATCH")[0] == 200 and last(fake)["text"].endswith("disk\nmore")
    assert snow(fake, one, {"state": "6"}, "PATCH")[0] == 403
    assert snow(fake, one, {"state": "6", "close_code": "c", "close_notes": "n"}, "PATCH")[1]["active"] == "true"
    assert snow(fake, one, {"state": "7"}, "PATCH")[1]["active"] == "false" and snow(fake, query) == (200, [])


def test_servicenow_finds_everything_by_a_field_that_it_does_not_know(fake):
    snow(fake, "", {"short_description": "one", "correlation_id": "x"}, "POST")
    assert len(snow(fake, "?sysparm_query=no_such_field%3Dc")[1]) >= 1


@pytest.mark.parametrize(
    "rest, body, method, headers, status",
    [
        ("", None, "GET", {}, 401),
        ("", {"description": "d"}, "POST", ANN, 400),
        ("", {"short_description": "s" * 161}, "POST", ANN, 400),
        ("", {"short_description": "s", "urgency": "4"}, "POST", ANN, 400),
        ("", {"short_description": 1}, "POST", ANN, 400),
        ("/" + "0" * 32, {"state": "6"}, "PATCH", ANN, 404),
    ],
)
def test_servicenow_refuses(fake, rest, body, method, headers, status):
    assert snow(fake, rest, body, method, headers)[0] == status and not last(fake)["accepted"]


def test_servicenow_sleeps_and_refuses_on_demand(fake):
    assert order(fake, "servicenow", "ann/GET", "200body:asleep", "429:7", "401") == 200
    status, headers, answer = exchange(fake, TABLE, None, "GET", ANN)
    assert (status, headers["Content-Type"]) == (200, "text/html") and "Hibernating" in answer
    status, headers, _ = exchange(fake, TABLE, None, "GET", ANN)
    assert (status, headers["Retry-After"]) == (429, "7")
    status, _, answer = exchange(fake, TABLE, None, "GET", ANN)
    assert status == 401 and json.loads(answer)["error"]["message"] == "User Not Authenticated"


# Sentry

TOKEN = {"Authorization": "Bearer T"}


def sentry(fake, path, body, method, headers=TOKEN):
    status, _, answer = exchange(fake, f"/api/0/organizations/acme/issues/{path}", body, method, headers)
    return status, json.loads(answer)


def test_sentry_takes_a_comment_once_and_a_status(fake):
    assert sentry(fake, "7/comments/", {"text": "hello"}, "POST")[0] == 201 and last(fake)["text"] == "hello"
    assert sentry(fake, "7/comments/", {"text": "hello"}, "POST") == (400, {"detail": "You have already posted that comment."})
    assert sentry(fake, "7/", {"status": "resolved"}, "PUT") == (200, {"id": "7", "status": "resolved"})
    issue = fake.endpoints.of("/api/0/").issues["7"]
    assert issue["status"] == "resolved" and len(issue["comments"]) == 1


@pytest.mark.parametrize(
    "path, body, method, headers, status",
    [
        ("7/comments/", {"text": "x"}, "POST", {}, 401),
        ("7/comments/", {"text": " "}, "POST", TOKEN, 400),
        ("7/comments/", b"{", "POST", TOKEN, 400),
        ("7/comments", {"text": "x"}, "POST", TOKEN, 404),
        ("x/comments/", {"text": "x"}, "POST", TOKEN, 404),
        ("7/", {"status": "over"}, "PUT", TOKEN, 400),
        ("7/", {"status": "resolved"}, "POST", TOKEN, 405),
    ],
)
def test_sentry_refuses(fake, path, body, method, headers, status):
    assert sentry(fake, path, body, method, headers)[0] == status and not last(fake)["accepted"]


def test_sentry_names_the_moment_until_which_it_refuses(fake):
    assert order(fake, "sentry", "T/POST", "429:7", "403") == 200
    began = int(time.time())
    status, headers, _ = exchange(fake, "/api/0/organizations/acme/issues/7/comments/", {"text": "x"}, "POST", TOKEN)
    assert status == 429 and began + 7 <= int(headers["X-Sentry-Rate-Limit-Reset"]) <= time.time() + 7
    assert sentry(fake, "7/comments/", {"text": "x"}, "POST")[0] == 403
