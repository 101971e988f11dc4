"""The console's page, in a real browser, on a real stack."""

import gzip
import json
import re
from datetime import datetime, timezone

HOSTILE = "<img src=x onerror=\"window.pwned=1\"><b>&amp;'"


def firing(service, name="HighLatency", severity="warning", **more):
    labels = {"alertname": name, "service": service, "severity": severity}
    return {
        "status": "firing",
        "labels": labels | more.get("labels", {}),
        "annotations": more.get("annotations", {}),
        "startsAt": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": more.get("link", ""),
    }


def watch(browser, tocsin, service, **filters):
    """Opens the list narrowed to this test's service."""
    query = "&".join(f"{k}={v}" for k, v in {"service": service, **filters}.items())
    browser.open(f"{tocsin.console}/#/?{query}")
    browser.wait_text("#feed", "Live")


def opened(browser, tocsin, service, **more):
    """Raises one incident, waits for its row, opens it by a click; returns its id."""
    watch(browser, tocsin, service)
    tocsin.post_alerts([firing(service, **more)])
    browser.click(".incident .title")
    browser.find(".head")
    return browser.script("return document.querySelector('.head').dataset.id")


def test_an_incident_appears_without_reload(browser, tocsin, service):
    watch(browser, tocsin, service)
    browser.wait_text("#summary", "No active incidents match")
    browser.script("window.sameDocument = true")

    tocsin.post_alerts([firing(service, severity="critical")])

    browser.find(".incident[data-severity=critical]")
    incident = tocsin.incidents(service=service)[0]
    assert browser.texts(".incident .title") == [incident["title"]]
    assert service in browser.text(".incident .place")
    assert browser.script("return document.title").startswith("(1) ")
    assert browser.script("return window.sameDocument") is True


def test_text_from_senders_stays_text(browser, tocsin, service):
    alert = firing(
        service,
        labels={"pod": HOSTILE},
        annotations={"summary": HOSTILE, "runbook_url": "https://runbooks.invalid/a?b=c"},
        link="javascript:window.pwned=1",
    )
    watch(browser, tocsin, service)
    tocsin.post_alerts([alert])
    browser.click(".incident .title")

    browser.wait_text(".alert", f"summary: {HOSTILE}")
    browser.click(".alert summary")
    browser.wait(lambda: HOSTILE in browser.texts(".alert dd"), "the label as it was sent")
    title = tocsin.incidents(service=service)[0]["title"]
    assert " ".join(browser.text("h1").split()) == " ".join(title.split())
    assert browser.count("main img, main b") == 0
    assert browser.script("return window.pwned === undefined")
    links = browser.script("return [...document.querySelectorAll('a')].map(a => a.href)")
    assert "https://runbooks.invalid/a?b=c" in links
    assert not [link for link in links if not link.startswith("http")]


def test_an_incident_shows_what_the_api_knows(browser, tocsin, service):
    identity = opened(browser, tocsin, service)
    incident = tocsin.get(f"/api/v1/incidents/{identity}")

    counts = incident["frequency_stats"]
    assert browser.texts("#frequency strong") == [
        str(counts[f"count_{window}"]) for window in ("1h", "24h", "7d", "30d")
    ]
    tier = incident["repair_stats"]["recommended_tier"]
    assert browser.text("#tier").startswith(f"Tier {tier}")
    assert browser.count("#proposal") == 1
    assert browser.count(".alert[data-status=firing]") == 1
    assert incident["timeline"]
    browser.wait(lambda: browser.count("[data-kind]") > 0, "a timeline entry")


def test_an_incident_that_has_more_says_which_are_here(browser, tocsin, database, service):
    identity = opened(browser, tocsin, service)
    browser.find(".notification[data-state=suppressed]")
    assert browser.count(".part") == 0
    database(MORE % {"id": identity})

    def note(section, wanted):
        css = f"section[aria-label={section}] .part"
        browser.wait_text(css, wanted)
        return browser.script("const a = document.querySelector(arguments[0] + ' a'); return a && a.href", css)

    alerts = note("Alerts", "Only the first 1,000 alerts are here. Those that fire come before the others. All of")
    older = note("Notifications", "Only the newest 500 messages are here. Older ones")
    assert note("Timeline", "Only the newest 1,000 entries are here.") is None
    buttons = browser.texts("section .small")
    assert buttons == ["Show the first 1,000 alerts", "Show the newest 500 messages", "Show the newest 1,000 entries"]

    listed = tocsin.get(alerts.removeprefix(tocsin.console))
    assert len(listed["alerts"]) == 500 and listed["next_cursor"]
    told = {n["id"] for n in tocsin.get(f"/api/v1/incidents/{identity}")["notifications"]}
    rest = tocsin.get(older.removeprefix(tocsin.console))
    assert rest["next_cursor"] is None
    assert len(told | {n["id"] for n in rest["notifications"]}) == 601

    browser.click("section[aria-label=Notifications] .small")
    browser.wait(lambda: browser.count(".notification") == 500, "the newest 500")
    browser.find("section[aria-label=Notifications] .part")


# A thousand of each beside what is there, and six hundred messages.
MORE = """
INSERT INTO alerts SELECT r.* FROM alerts a, generate_series(1, 1000) k, LATERAL jsonb_populate_record(a,
  jsonb_build_object('fingerprint', k)) r WHERE a.incident_id = '%(id)s';
INSERT INTO timeline SELECT tenant, incident_id, at - k, cause, 'note', '', 'no. ' || k
  FROM (SELECT * FROM timeline WHERE incident_id = '%(id)s' LIMIT 1) t, generate_series(1, 1000) k;
CREATE TEMP TABLE more AS SELECT r.* FROM notifications n, generate_series(1, 600) k, LATERAL
  jsonb_populate_record(n, jsonb_build_object('id', gen_random_uuid(), 'group_id', gen_random_uuid(),
  'created_at', n.created_at - k)) r WHERE n.incident_id = '%(id)s';
INSERT INTO notifications SELECT * FROM more;
INSERT INTO notification_incidents SELECT tenant, id, '%(id)s', created_at FROM more;
"""


def test_acknowledge_then_resolve_with_notes(browser, tocsin, service):
    identity = opened(browser, tocsin, service)
    path = f"/api/v1/incidents/{identity}"

    browser.type("#note", "mine, looking")
    browser.click("[data-act=acknowledged]")
    browser.find(".head[data-status=acknowledged]")
    browser.wait(lambda: any("mine, looking" in t for t in browser.texts("[data-kind]")), "the note")
    assert tocsin.get(path)["status"] == "acknowledged"
    assert browser.script("return document.querySelector('#note').value") == ""

    browser.click("[data-act=investigating]")
    browser.find(".head[data-status=investigating]")

    # One alert still fires: a slip of the finger must not end the incident.
    browser.type("#note", "rolled back")
    browser.click("[data-act=resolved]")
    browser.find("#confirm-resolve")
    assert tocsin.get(path)["status"] == "investigating"
    browser.click("#confirm-resolve")
    browser.find(".head[data-status=resolved]")
    after = tocsin.get(path)
    assert (after["status"], after["resolve_reason"]) == ("resolved", "manual")
    assert any("rolled back" in entry["text"] for entry in after["timeline"])
    assert browser.count(".buttons [aria-disabled=true]") == 3

    browser.click(".back")
    browser.wait_text("#summary", "No active incidents match")
    browser.choose("#f-status", "resolved")
    browser.find(f'.incident[data-id="{identity}"][data-status=resolved]')


def test_filters_narrow_the_list_and_live_in_the_address(browser, tocsin, service):
    wanted = f"Wanted{service[4:]}"
    tocsin.post_alerts(
        [firing(service, wanted, "critical"), firing(service, "Other", "info")]
    )
    watch(browser, tocsin, service)
    browser.wait(lambda: browser.count(".incident") == 2, "both incidents")

    browser.choose("#f-severity", "critical")
    browser.wait(lambda: browser.count(".incident") == 1, "the critical one alone")
    browser.find(".incident[data-severity=critical]")

    browser.choose("#f-severity", "")
    browser.wait(lambda: browser.count(".incident") == 2, "both again")
    browser.type("#f-q", wanted)
    browser.wait(lambda: f"q={wanted}" in browser.script("return location.href"), "the text in the address")
    browser.wait(lambda: browser.count(".incident") == 1, "the one with that text")
    address = browser.script("return location.href")
    assert f"q={wanted}" in address and f"service={service}" in address

    browser.open("about:blank")
    browser.open(address)
    browser.find(".incident[data-severity=critical]")
    assert browser.count(".incident") == 1
    assert browser.script("return document.querySelector('#f-q').value") == wanted


def test_older_pages_hold_every_incident_once(browser, tocsin, service):
    tocsin.post_alerts([firing(service, f"Storm{n}") for n in range(60)])
    watch(browser, tocsin, service)
    browser.wait(lambda: browser.count(".incident") == 50, "a full page")
    browser.wait_text("#summary", "older")
    browser.wait(lambda: len(tocsin.incidents(service=service, limit=100)) == 60, "60 incidents")
    # The link follows the live page; what it names is settled once the last incident is in.
    newest = shown(browser, lambda ids: ids == api_ids(tocsin, service))

    browser.click("#older")
    older = shown(browser, lambda ids: len(ids) == 10)
    assert len(newest | older) == 60

    browser.click("#newest")
    shown(browser, lambda ids: ids == newest)


def test_none_among_the_newest_is_not_none_at_all(browser, tocsin, database, service):
    identity = opened(browser, tocsin, service, severity="info")
    database(NEWER % service)

    watch(browser, tocsin, service, status="all", severity="info")
    browser.wait_text("#summary", "No incidents match these filters among the newest; Older looks further.")
    browser.click("#older")
    browser.wait_text("#summary", "None here; Older looks further.")
    browser.click("#older")
    shown(browser, lambda ids: ids == {identity})
    browser.wait_text("#summary", "1 older incident here.")

    database(f"UPDATE incidents SET severity = 1 WHERE service = '{service}' AND title = 'no. 20000'")
    browser.click("#newest")
    browser.wait_text("#summary", "The newest 1 incident matches these filters; Older looks further.")


# Twice as many as are looked at for a page: resolved, of another severity, each opened a little later.
NEWER = """
INSERT INTO incidents SELECT r.* FROM incidents i, generate_series(1, 20000) k, LATERAL jsonb_populate_record(i,
  jsonb_build_object('id', gen_random_uuid(), 'title', 'no. ' || k, 'status', 4, 'severity', 2, 'resolved_by', 2,
  'opened_at', i.opened_at + k)) r WHERE i.service = '%s';
"""


def shown(browser, settled):
    """The ids on the page, once they are as they should be."""
    source = "return [...document.querySelectorAll('.incident')].map(e => e.dataset.id)"

    def ids():
        found = set(browser.script(source))
        return found if settled(found) else None

    return browser.wait(ids, "the rows of this page")


def api_ids(tocsin, service):
    return {i["id"] for i in tocsin.incidents(service=service, status="active", limit=50)}


def test_stale_data_is_called_stale(browser, tocsin, service):
    tocsin.post_alerts([firing(service)])
    watch(browser, tocsin, service)
    browser.find(".incident")

    browser.offline(True)
    browser.wait_text("#feed-text", "Not live. The server does not answer")
    browser.wait_text("#feed-text", "may be out of date")
    assert browser.count(".incident") == 1

    browser.find("#feed-retry")

    browser.offline(False)
    browser.wait(lambda: browser.text("#feed-text") == "Live", "the page live again")


def test_rows_of_one_filter_never_stand_under_another(browser, tocsin, service):
    tocsin.post_alerts([firing(service)])
    watch(browser, tocsin, service)
    browser.find(".incident")

    browser.offline(True)
    browser.choose("#f-severity", "info")
    browser.wait_text("#feed-text", "Nothing could be loaded yet")
    assert browser.count(".incident") == 0


def test_an_act_without_an_answer_is_not_called_done(browser, tocsin, service):
    identity = opened(browser, tocsin, service)
    browser.offline(True)
    browser.type("#note", "keep this")
    browser.click("[data-act=acknowledged]")
    browser.wait_text("#act-error", "not known whether")
    assert browser.script("return document.querySelector('#note').value") == "keep this"
    assert tocsin.get(f"/api/v1/incidents/{identity}")["status"] == "open"


def test_only_its_own_page_makes_a_silence(browser, tocsin, service):
    source = (
        "const [url, mode, body] = arguments;"
        "return fetch(url, {method: 'POST', mode, body}).then(answer => answer.type)"
    )
    body = json.dumps({"matchers": [{"name": "service", "value": service}], "duration": "1m"})
    url = tocsin.console + "/api/v1/silences"

    def made():
        return [s for s in tocsin.get("/api/v1/silences")["silences"] if service in str(s)]

    browser.open(tocsin.ingest + "/healthz")  # another origin; of text no browser asks first
    assert browser.script(source, url, "no-cors", body) == "opaque"
    assert made() == []
    browser.open(tocsin.console)
    assert browser.script(source, url, "same-origin", body) == "basic"
    assert len(made()) == 1


def test_an_unknown_incident_says_so(browser, tocsin):
    browser.open(f"{tocsin.console}/#/incidents/00000000-0000-0000-0000-000000000000")
    browser.wait_text("#feed-text", "HTTP 404")


def test_keyboard_alone_opens_an_incident_and_comes_back(browser, tocsin, service):
    tocsin.post_alerts([firing(service)])
    watch(browser, tocsin, service)
    browser.find(".incident")

    def tab_to(css):
        for _ in range(40):
            browser.press("Tab")
            if browser.script("return document.activeElement.matches(arguments[0])", css):
                return
        raise AssertionError(f"Tab does not reach {css}")

    tab_to(".incident .title")
    browser.press("Enter")
    browser.find(".head")
    browser.wait(lambda: browser.script("return document.activeElement.tagName") == "H1", "focus")
    tab_to("[data-act=acknowledged]")
    browser.press("Enter")
    browser.find(".head[data-status=acknowledged]")
    browser.script("history.back()")
    browser.wait(
        lambda: browser.script("return document.activeElement.matches('.incident .title')"),
        "focus on the row again",
    )


def test_focus_survives_live_updates(browser, tocsin, service):
    tocsin.post_alerts([firing(service, "First")])
    watch(browser, tocsin, service)
    browser.find(".incident")
    browser.script("document.querySelector('.incident .title').focus()")
    first = browser.script("return document.activeElement.href")

    # The row is rendered anew when its incident changes, and moves when newer ones come.
    tocsin.post_alerts([firing(service, "First", labels={"pod": "two"}), firing(service, "Second")])
    browser.wait(lambda: browser.count(".incident") == 2, "the second incident")
    browser.wait(lambda: "2 alerts" in " ".join(browser.texts(".incident")), "the second alert")
    assert browser.script("return document.activeElement.href") == first


def test_phone_width_needs_no_sideways_scrolling(browser, tocsin, service):
    long = "A" + "VeryLongNameWithoutSpaces" * 8
    browser.cdp(
        "Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True
    )
    width = "return document.documentElement.scrollWidth"
    opened(browser, tocsin, service, name=long, annotations={"description": "x" * 400})
    browser.find(".alert")
    assert browser.script(width) <= 360
    browser.click(".back")
    browser.find(".incident")
    assert browser.script(width) <= 360


def test_light_and_dark_are_readable(browser, tocsin, service):
    opened(browser, tocsin, service, severity="critical")
    browser.find(".alert")
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.cdp("Emulation.setEmulatedMedia", features=[feature])
        poor = browser.script(CONTRAST)
        assert not poor, f"{scheme}: {poor}"


# WCAG's contrast ratio of every piece of text against what lies behind it; returns those under 4.5.
CONTRAST = """
const rgb = c => c.match(/[\\d.]+/g).map(Number);
const lum = c => rgb(c).slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = e => {
  for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if ((rgb(c)[3] ?? 1) > 0) return c;
  }
  return 'rgb(255, 255, 255)';
};
const poor = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  if (!own || !e.checkVisibility()) continue;
  const [a, b] = [lum(getComputedStyle(e).color), lum(behind(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) poor.push([e.outerHTML.slice(0, 120), ratio]);
}
return poor;
"""


def test_policy_is_strict_and_nothing_offends_it(browser, tocsin, service):
    headers, html = tocsin.fetch("/")
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]

    opened(browser, tocsin, service)
    browser.find(".alert")
    assert [entry for entry in browser.console_log() if entry["level"] == "SEVERE"] == []

    scripts = re.findall(r'src="(/assets/[^"]+\.js)"', html.decode())
    assert scripts
    assert sum(len(gzip.compress(tocsin.fetch(path)[1])) for path in scripts) < 30_000
