"""The ledger on an incident's page: what became of each message, at a glance."""

import pytest
from test_page import CONTRAST, firing, opened


@pytest.fixture
def channels(tocsin):
    if tocsin.channels is None:
        pytest.skip("the channels of a stack that is not ours give no answers on demand")
    yield tocsin.channels
    tocsin.channels.faults.clear()


def line(browser, state):
    """The text of the incident's message in that state, once there is one. What failed is said again, in another."""
    css = f".notification[data-state={state}]"
    browser.find(css)
    return " ".join(browser.text(css).split())


def unfold(browser, state):
    """The attempts at it."""
    css = f".notification[data-state={state}]"
    browser.click(f"{css} summary")
    browser.find(f"{css} .deliveries li")
    return [" ".join(t.split()) for t in browser.texts(f"{css} .deliveries li")]


def test_delivered_after_a_retry_without_reload(browser, tocsin, channels, service):
    channels.faults.push("slack", "secret", ["500*2"])
    opened(browser, tocsin, service, labels={"to": "slack"})
    browser.script("window.sameDocument = true")
    text = line(browser, "delivered")
    assert text.startswith("✓ delivered slack → checkout-team #checkout at 127.0.0.1:22010/services/T1/B1/…")
    assert "opened · no. 1" in text and "answer 200: ok" in text
    assert "secret" not in browser.script("return document.documentElement.outerHTML")
    first, second, third = unfold(browser, "delivered")
    assert first.startswith("retry attempt 1 · answer 500") and "fault on demand" in first
    assert second.startswith("retry attempt 2") and third.startswith("delivered attempt 3 · answer 200")
    assert browser.script("return window.sameDocument") is True


def test_failed_with_the_vendors_own_words(browser, tocsin, channels, service):
    channels.faults.push("wecom", "secret", ["200body:93000"])
    opened(browser, tocsin, service, labels={"to": "robot"})
    text = line(browser, "failed")
    assert text.startswith("✗ failed wecom → night-shift 127.0.0.1:22010") and "invalid webhook url" in text
    (attempt,) = unfold(browser, "failed")
    assert attempt.startswith("rejected attempt 1 · answer 200") and "93000" in attempt


def test_no_answer_may_have_arrived_twice(browser, tocsin, channels, service):
    channels.faults.push("slack", "secret", ["lost"])
    opened(browser, tocsin, service, labels={"to": "slack"})
    assert "It may have arrived twice" in line(browser, "delivered")
    assert "no answer" in unfold(browser, "delivered")[0]


def test_merged_into_a_digest_shows_how_that_ended(browser, tocsin, channels, service):
    alerts = [firing(service, f"Full{n}", labels={"to": "robot"}) for n in range(5)]
    tocsin.post_alerts(alerts)

    def merged():
        listed = [tocsin.get(f"/api/v1/incidents/{i['id']}") for i in tocsin.incidents(service=service)]
        rows = [n for i in listed for n in i["notifications"]]
        ended = all(n["state"] == "delivered" or (n["told_instead"] or {}).get("state") == "delivered" for n in rows)
        return len(rows) == 5 and ended and [n for n in rows if n["state"] == "merged"]

    told = browser.wait(merged, "a digest")[0]
    browser.open(f"{tocsin.console}/#/incidents/{told['incident_id']}")
    text = line(browser, "merged")
    assert text.startswith("⊕ merged wecom → night-shift") and "the rate of the channel is used up" in text
    assert "told in one message with others, ✓ delivered" in text and "answer 200" in text
    (attempt,) = unfold(browser, "merged")
    assert attempt.startswith("delivered attempt 1 · answer 200")


def test_it_is_readable_in_the_dark_and_on_a_phone(browser, tocsin, channels, service):
    channels.faults.push("wecom", "secret", ["200body:93000"])
    browser.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    opened(browser, tocsin, service, labels={"to": "robot"})
    line(browser, "failed")
    unfold(browser, "failed")
    assert browser.script("return document.documentElement.scrollWidth") <= 360
    for scheme in ("light", "dark"):
        browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        poor = browser.script(CONTRAST)
        assert not poor, f"{scheme}: {poor}"
