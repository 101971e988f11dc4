// One incident: what it is, what to do, what was told to whom.

import {
  alertsPath,
  getIncident,
  ledgerPath,
  type Alert,
  type Incident,
  type IncidentDetail,
  type Notification,
  type RepairAttempt,
  type TimelineEntry,
} from "./api";
import { Actions } from "./actions";
import { facts, h, isWebUrl, keyed, link, LongList, type Part } from "./dom";
import { Feed } from "./feed";
import { ledgerItem } from "./ledger";
import { showState } from "./status";
import { when } from "./time";
import { badge, compact, count, levelWords, percent, place, statusWords, tierWords } from "./words";

const ALERTS_SHOWN = 5;
const SHOWN = 25;

/** An alert, and the labels that tell it from the others of its incident. */
interface AlertRow {
  alert: Alert;
  own: string;
}

export class DetailView {
  readonly feed: Feed<IncidentDetail>;
  private readonly head = h("div", {});
  private readonly actions = new Actions(() => this.feed.refresh());
  private readonly next = h("div", {});
  private readonly frequency = h("div", {});
  private readonly facts = h("div", {});
  private readonly alerts = new LongList<AlertRow>("No alerts.", ALERTS_SHOWN, (r) => r.alert.id, alertItem);
  private readonly told = new LongList<Notification>(
    "Nobody was told.",
    SHOWN,
    (n) => n.id,
    (n) => ledgerItem(n, this.id),
  );
  private readonly timeline = new LongList<TimelineEntry>(
    "Nothing yet.",
    2 * SHOWN,
    (t) => `${t.at} ${t.kind} ${t.actor} ${t.text}`,
    timelineItem,
  );
  private readonly body = h(
    "div",
    { class: "columns", hidden: true },
    h(
      "div",
      { class: "aside" },
      this.actions.el,
      section("Next step", this.next),
      section("How often", this.frequency),
    ),
    h(
      "div",
      { class: "content" },
      section("Alerts", this.alerts.el),
      section("Notifications", this.told.el),
      section("Timeline", this.timeline.el),
      section("Facts", this.facts),
    ),
  );
  private readonly shown = new Set<string>();

  constructor(
    main: Element,
    private readonly id: string,
    back: string,
  ) {
    document.title = "Incident · Tocsin";
    main.replaceChildren(
      h("p", {}, h("a", { class: "back", href: back }, "← All incidents")),
      this.head,
      this.body,
    );
    showState({ kind: "loading" });
    this.feed = new Feed((signal) => getIncident(id, signal), (i) => this.show(i), showState);
  }

  leave(): void {
    this.feed.stop();
  }

  private show(i: IncidentDetail): void {
    const { alerts, alerts_more, timeline, timeline_more, notifications, notifications_more, ...incident } = i;
    one(this.head, incident, heading);
    this.actions.set(i);
    one(this.next, incident, nextStep);
    one(this.frequency, i.frequency_stats, frequencyTable);
    one(this.facts, incident, factList);
    this.alerts.set(alertRows(alerts), alerts_more ? firstAlerts(i) : null);
    this.told.set(newestFirst(notifications, (n) => n.created_at), notifications_more ? newestTold(i) : null);
    this.timeline.set(newestFirst(timeline, (t) => t.at), timeline_more ? newestEntries(i) : null);
    this.body.hidden = false;
    document.title = `${i.status}: ${i.title} · Tocsin`;
    this.focusOnce(i.id);
  }

  /** A screen reader starts at the title, once. */
  private focusOnce(id: string): void {
    if (this.shown.has(id)) return;
    this.shown.add(id);
    this.head.querySelector("h1")?.focus({ preventScroll: true });
  }
}

function one<T>(parent: Element, item: T, render: (item: T) => HTMLElement): void {
  keyed(parent, [item], () => "only", render);
}

function section(title: string, body: HTMLElement): HTMLElement {
  return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), body);
}

/** Firing ones first. */
function alertRows(alerts: Alert[]): AlertRow[] {
  const rank = (a: Alert) => (a.status === "firing" ? 0 : 1);
  const first = alerts[0]?.labels ?? {};
  const common = (key: string) => alerts.every((a) => a.labels[key] === first[key]);
  const keys = new Set(alerts.flatMap((a) => Object.keys(a.labels)));
  const varying = [...keys].filter((key) => !common(key)).sort();
  const own = (a: Alert) =>
    varying.flatMap((key) => (key in a.labels ? [`${key}=${a.labels[key]}`] : [])).join(" ");
  return [...alerts].sort((a, b) => rank(a) - rank(b)).map((alert) => ({ alert, own: own(alert) }));
}

function newestFirst<T>(items: T[], at: (item: T) => string): T[] {
  return [...items].sort((a, b) => Date.parse(at(b)) - Date.parse(at(a)));
}

function firstAlerts(i: IncidentDetail): Part {
  return {
    these: `the first ${count(i.alerts.length, "alert")}`,
    note: "Those that fire come before the others.",
    others: { text: "All of them (JSON)", href: alertsPath(i.id) },
  };
}

function newestTold(i: IncidentDetail): Part {
  const oldest = i.notifications[0]?.created_at ?? i.updated_at;
  return {
    these: `the newest ${count(i.notifications.length, "message")}`,
    others: { text: "Older ones (JSON)", href: ledgerPath(i.id, oldest) },
  };
}

function newestEntries(i: IncidentDetail): Part {
  return { these: `the newest ${count(i.timeline.length, "entry", "entries")}` };
}

function heading(i: Incident): HTMLElement {
  const level = i.frequency_stats.escalation_level;
  return h(
    "div",
    { class: "head", "data-id": i.id, "data-severity": i.severity, "data-status": i.status },
    h("h1", { tabindex: -1 }, i.title || i.alert_name || i.id),
    h(
      "div",
      { class: "line" },
      badge("severity", i.severity),
      badge("status", i.status, statusWords(i)),
      level !== "none" && badge("level", level, levelWords(level)),
      h("span", { class: "quiet" }, place(i)),
    ),
    h(
      "div",
      { class: "line quiet" },
      h("span", {}, "opened ", when(i.opened_at)),
      i.resolved_at !== null && h("span", {}, "resolved ", when(i.resolved_at)),
      h("span", {}, `${i.alerts_firing.toLocaleString("en")} of ${count(i.alerts_total, "alert")} firing`),
    ),
  );
}

function nextStep(i: Incident): HTMLElement {
  const stats = i.repair_stats;
  return h(
    "div",
    {},
    proposal(i),
    h("p", { id: "tier" }, h("strong", {}, tierWords(stats.recommended_tier)), " recommended"),
    h(
      "p",
      { class: "quiet", id: "repairs" },
      stats.total_attempts === 0
        ? "No repair was tried yet."
        : `${stats.successful_attempts} of ${count(stats.total_attempts, "repair attempt")} succeeded.`,
    ),
    stats.last_repair_action !== null &&
      h("p", { class: "quiet" }, `Last: ${stats.last_repair_action}, `, when(stats.last_repair_time)),
    stats.repair_history.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, "Repair history"),
        h("ul", { class: "plain" }, ...stats.repair_history.map(repairItem)),
      ),
  );
}

function proposal(i: Incident): HTMLElement {
  const p = i.proposed_repair;
  if (!p) return h("p", { class: "quiet", id: "proposal" }, "No step is known to help here.");
  return h(
    "div",
    { class: "proposal", id: "proposal" },
    h("p", { class: "action" }, p.action),
    p.text !== "" && h("p", {}, p.text),
    facts([
      ["helped", `${p.successes} of ${count(p.attempts, "time")} (${percent(p.success_rate)})`],
      ["at least", `${percent(p.wilson_lower)} (Wilson lower bound)`],
      ["last used", when(p.last_used)],
      ["playbook", `version ${p.playbook_version}`],
    ]),
  );
}

function repairItem(r: RepairAttempt): HTMLElement {
  return h(
    "li",
    { class: "entry" },
    h("div", { class: "line" }, badge("outcome", r.outcome), h("strong", {}, r.action), when(r.at)),
    (r.note !== "" || r.by !== "") &&
      h("p", { class: "quiet" }, [r.note, r.by && `by ${r.by}`].filter(Boolean).join(" · ")),
  );
}

function frequencyTable(f: Incident["frequency_stats"]): HTMLElement {
  const cell = (label: string, n: number) =>
    h("div", { class: "count" }, h("strong", { title: n }, compact(n)), h("span", {}, label));
  return h(
    "div",
    {},
    h(
      "div",
      { class: "counts", id: "frequency" },
      cell("1 hour", f.count_1h),
      cell("24 hours", f.count_24h),
      cell("7 days", f.count_7d),
      cell("30 days", f.count_30d),
    ),
    facts([
      [
        "level",
        h(
          "span",
          { class: "line" },
          f.escalation_level !== "none" && badge("level", f.escalation_level),
          levelWords(f.escalation_level),
        ),
      ],
      ["first seen", when(f.first_seen)],
      ["last seen", when(f.last_seen)],
    ]),
  );
}

function factList(i: Incident): HTMLElement {
  return facts([
    ["alert", i.alert_name],
    ["error", i.error_type],
    ["service", i.service],
    ["namespace", i.namespace],
    ["environment", i.environment],
    ["source", i.source],
    ["tenant", i.tenant],
    ["link", i.link !== null && link(i.link, i.link)],
    ["updated", when(i.updated_at)],
    [
      "aggregated",
      i.is_aggregated &&
        h("span", {}, `${count(i.aggregated_count, "occurrence")} since `, when(i.aggregation_window_start)),
    ],
    ["anomaly", h("code", {}, i.anomaly_key)],
    ["incident", h("code", {}, i.id)],
  ]);
}

function alertItem({ alert: a, own }: AlertRow): HTMLElement {
  const labels = Object.entries(a.labels);
  const name = a.labels["alertname"] ?? a.id;
  return h(
    "li",
    { class: "entry alert", "data-id": a.id, "data-status": a.status },
    h(
      "div",
      { class: "line" },
      badge("state", a.status),
      badge("severity", a.severity),
      h("strong", {}, name),
      a.count > 1 && h("span", { class: "quiet" }, `×${a.count.toLocaleString("en")}`),
      a.link !== null && link(a.link, isWebUrl(a.link) ? "source ↗" : a.link),
    ),
    own !== "" && h("p", {}, h("code", {}, own)),
    h(
      "p",
      { class: "quiet" },
      "since ",
      when(a.starts_at),
      a.status === "resolved" && a.ends_at !== null && h("span", {}, ", ended ", when(a.ends_at)),
    ),
    ...Object.entries(a.annotations).map(([key, value]) =>
      h("p", { class: "annotation" }, h("span", { class: "quiet" }, `${key}: `), link(value, value)),
    ),
    h(
      "details",
      {},
      h("summary", {}, count(labels.length, "label")),
      facts(labels.map(([key, value]) => [key, h("code", {}, value)])),
    ),
  );
}

function timelineItem(t: TimelineEntry): HTMLElement {
  return h(
    "li",
    { class: "entry", "data-kind": t.kind },
    h(
      "div",
      { class: "line quiet" },
      when(t.at),
      h("span", {}, [t.kind, t.actor].filter(Boolean).join(" · ")),
    ),
    t.text !== "" && h("p", {}, t.text),
  );
}
