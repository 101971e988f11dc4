"""Secrets stay where they belong: not in logs, not in Kafka's raw copy of headers, not in the API."""

import bodies
from stack import wait

# Every secret of tocsin.yml; the channels' are in their URLs.
SECRETS = (
    "system-sentry-secret", "system-bearer-token", "system-path-token", "system-raw-token", "system-repairs-token", "system-claims-token",
    "system-link-secret", "system-slack-signing-secret", "token of AC1", "key=plain", "T1/B1/plain",
)


def test_no_secret_is_told(stack, name):
    for channel, key in (("slack", "plain"), ("wecom", "plain")):
        stack.faults.push(channel, key, ["500", "reset", "404" if channel == "slack" else "200body:93000"])
        stack.send("/webhook/alertmanager", bodies.webhook(bodies.one_alert(name + channel, to=f"to-{channel}")))
    stack.post("/webhook/guarded/system-path-token", b"{")
    stack.post("/webhook/guarded", b"{", {"Authorization": "Bearer system-bearer-token"})
    bodies.post_sentry(stack, "issue", {"action": 1})
    told = []
    for channel in ("slack", "wecom"):
        # It is told again some time after.
        wait(f"{channel} to fail", lambda: "failed" in (r["state"] for r in stack.incident(name + channel)["notifications"]))
        told.append(repr(stack.incident(name + channel)))
    logs = stack.logs()
    assert any("tocsin-notifier" in text or "notifier" in file for file, text in logs.items())
    for file, text in [*logs.items(), *enumerate(told)]:
        for secret in SECRETS:
            assert secret not in text, f"{secret} in {file}"
