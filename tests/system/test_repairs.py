"""What repaired an incident is remembered, proposed, and told."""

import uuid

import bodies
from stack import wait

TOKEN = {"Authorization": "Bearer system-repairs-token"}
CLAIMS = {"Authorization": "Bearer system-claims-token"}


def opened(stack, name):
    stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name, alertname="A" + name)))
    return wait("the incident", lambda: stack.incident(name))


def report(stack, incident, action, outcome, token=TOKEN, **fields):
    body = {"incident_id": incident["id"], "action": action, "outcome": outcome, "by": "ann", **fields}
    return stack.post("/api/v1/repairs", body, token)


def stats(stack, name, attempts):
    def probe():
        incident = stack.incident(name)
        assert incident["repair_stats"]["total_attempts"] == attempts, incident["repair_stats"]
        return incident

    return wait(f"{attempts} repairs", probe)


def test_verified_outcomes_make_a_step_rise(stack, name):
    incident = opened(stack, name)
    for outcome in ("failure", "failure"):
        status, answer = report(stack, incident, "restart_pod", outcome, verified=True)
        assert status == 202 and answer["status"] == "accepted"
    stats(stack, name, 2)
    for note in ("drained", "drained again", "and again"):
        report(stack, incident, "drain_queue", "success", verified=True, note=note)
    seen = stats(stack, name, 5)
    assert seen["repair_stats"]["successful_attempts"] == 3
    assert seen["repair_stats"]["last_repair_action"] == "drain_queue"
    newest = seen["repair_stats"]["repair_history"][0]
    assert (newest["action"], newest["outcome"], newest["note"]) == ("drain_queue", "success", "and again")
    step = wait("the proposal", lambda: stack.incident(name)["proposed_repair"])
    assert (step["action"], step["successes"], step["attempts"]) == ("drain_queue", 3, 3)


def test_next_message_proposes_what_worked(stack, name):
    incident = opened(stack, name)
    action = "drain_" + name
    for _ in range(3):
        report(stack, incident, action, "success", verified=True)
    wait("the proposal", lambda: (stack.incident(name)["proposed_repair"] or {}).get("action") == action)
    body = bodies.webhook(bodies.one_alert(name, alertname="A" + name, instance="b", to="to-slack", severity="critical"))
    stack.send("/webhook/alertmanager", bodies.resolved(bodies.webhook(bodies.one_alert(name, alertname="A" + name))))
    wait("its end", lambda: stack.incident(name)["status"] == "resolved")
    stack.send("/webhook/alertmanager", body)
    wait("a message that proposes it", lambda: [m for m in stack.messages(name, "slack") if action in m["text"]])


def test_a_claim_is_pending_until_it_is_proven(stack, name):
    incident = opened(stack, name)
    assert report(stack, incident, "restart_pod", "success", CLAIMS)[0] == 202
    seen = wait("the claim", lambda: stack.incident(name)["repair_stats"]["repair_history"])
    assert seen[0]["outcome"] == "pending"
    assert stack.incident(name)["repair_stats"]["successful_attempts"] == 0


def test_a_token_without_the_right_verifies_nothing(stack, name):
    incident = opened(stack, name)
    status, _ = report(stack, incident, "restart_pod", "success", CLAIMS, verified=True)
    if status == 202:
        wait("the claim", lambda: stack.incident(name)["repair_stats"]["repair_history"])
    assert stack.incident(name)["repair_stats"]["successful_attempts"] == 0


def test_bad_reports_are_refused(stack, name):
    incident = opened(stack, name)
    assert report(stack, incident, "restart_pod", "miracle")[0] == 400
    assert report(stack, {"id": "x"}, "restart_pod", "success")[0] == 400
    assert stack.post("/api/v1/repairs", b"{", TOKEN)[0] == 400
    # An incident that nobody knows: taken, remembered nowhere, and in nobody's way.
    report(stack, {"id": str(uuid.uuid4())}, "restart_pod", "success", verified=True)
    report(stack, incident, "restart_pod", "failure", verified=True)
    stats(stack, name, 1)
