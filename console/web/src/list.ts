// The list of incidents: filters, rows that follow the server, older pages by cursor.

import { listIncidents, type Incident, type IncidentPage } from "./api";
import { h, keyed } from "./dom";
import { Feed, type FeedState } from "./feed";
import { apiQuery, incidentHash, listHash, PAGE_ROWS, type Filters } from "./route";
import { showState } from "./status";
import { when } from "./time";
import { badge, count, levelWords, place, statusWords } from "./words";

const STATUSES: [string, string][] = [
  ["active", "Active"],
  ["open", "Open"],
  ["acknowledged", "Acknowledged"],
  ["investigating", "Investigating"],
  ["resolved", "Resolved"],
  ["all", "All"],
];

const SEVERITIES: [string, string][] = [
  ["", "Any"],
  ["critical", "Critical"],
  ["error", "Error"],
  ["warning", "Warning"],
  ["info", "Info"],
];

const TYPING_PAUSE_MS = 300;

export class ListView {
  feed: Feed<IncidentPage> | null = null;
  private filters: Filters | null = null;
  private known: Set<string> | null = null;
  private typing = 0;

  private readonly status = select("f-status", STATUSES);
  private readonly severity = select("f-severity", SEVERITIES);
  private readonly service = h("input", { id: "f-service", type: "search", autocomplete: "off" });
  private readonly q = h("input", { id: "f-q", type: "search", autocomplete: "off" });
  private readonly summary = h("p", { class: "quiet", id: "summary" });
  private readonly news = h("p", { class: "unseen", role: "status", "aria-live": "polite" });
  private readonly rows = h("ul", { class: "plain incidents", id: "incidents" });
  private readonly newest = h("a", { class: "button", id: "newest", hidden: true }, "« Newest");
  private readonly older = h("a", { class: "button", id: "older", hidden: true }, "Older ›");
  private readonly el = this.build();

  /** `changed` is told of filters that the reader typed, which must not fill the history. */
  constructor(private readonly changed: (filters: Filters) => void) {}

  enter(main: Element, filters: Filters): void {
    if (!this.el.isConnected) main.replaceChildren(this.el);
    if (this.feed && this.filters && listHash(this.filters) === listHash(filters)) return;
    this.feed?.stop();
    this.filters = filters;
    this.known = null;
    this.fill(filters);
    this.rows.setAttribute("aria-busy", "true");
    document.title = "Incidents · Tocsin";
    showState({ kind: "loading" });
    this.feed = new Feed(
      (signal) => listIncidents(apiQuery(filters), signal),
      (page) => this.show(page, filters),
      (state) => this.follow(state),
    );
  }

  leave(): void {
    clearTimeout(this.typing);
    this.feed?.stop();
    this.feed = null;
  }

  /** Back from an incident: the reader goes on where he left. */
  focusRow(id: string): void {
    const row = this.rows.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"] a`);
    row?.focus();
    row?.scrollIntoView({ block: "nearest" });
  }

  hash(): string {
    return this.filters ? listHash(this.filters) : "#/";
  }

  private build(): HTMLElement {
    this.status.addEventListener("change", () => this.choose());
    this.severity.addEventListener("change", () => this.choose());
    for (const input of [this.service, this.q])
      input.addEventListener("input", () => {
        clearTimeout(this.typing);
        this.typing = window.setTimeout(() => this.changed(this.read()), TYPING_PAUSE_MS);
      });
    const submit = (e: Event) => {
      e.preventDefault();
      this.choose();
    };
    return h(
      "div",
      {},
      h("h1", {}, "Incidents"),
      h(
        "form",
        { class: "filters", role: "search", submit },
        field("Status", this.status),
        field("Severity", this.severity),
        field("Service", this.service),
        field("Text", this.q),
      ),
      this.summary,
      this.news,
      this.rows,
      h("nav", { class: "pages", "aria-label": "Pages" }, this.newest, this.older),
    );
  }

  private read(): Filters {
    return {
      status: this.status.value,
      severity: this.severity.value,
      service: this.service.value.trim(),
      q: this.q.value.trim(),
      cursor: "",
    };
  }

  private choose(): void {
    clearTimeout(this.typing);
    location.hash = listHash(this.read());
  }

  private fill(filters: Filters): void {
    this.status.value = filters.status;
    this.severity.value = filters.severity;
    for (const [input, value] of [
      [this.service, filters.service],
      [this.q, filters.q],
    ] as const)
      if (input.value.trim() !== value) input.value = value;
  }

  private follow(state: FeedState): void {
    // Rows of other filters must not stand under these.
    if (state.kind === "failing" && state.at === null) {
      keyed<Incident>(this.rows, [], (i) => i.id, row);
      this.summary.textContent = "";
    }
    showState(state);
  }

  private show(page: IncidentPage, filters: Filters): void {
    keyed(this.rows, page.incidents, (i) => i.id, row);
    this.rows.removeAttribute("aria-busy");
    const n = page.incidents.length;
    const more = page.next_cursor !== null;
    this.summary.textContent = summaryOf(n, more, filters);
    this.newest.hidden = filters.cursor === "";
    this.newest.href = listHash({ ...filters, cursor: "" });
    this.older.hidden = !more;
    this.older.href = listHash({ ...filters, cursor: page.next_cursor ?? "" });
    document.title = `(${n}${more ? "+" : ""}) Incidents · Tocsin`;
    this.announce(page.incidents);
  }

  private announce(incidents: Incident[]): void {
    const fresh = incidents.filter((i) => this.known && !this.known.has(i.id));
    if (fresh[0])
      this.news.textContent =
        fresh.length === 1
          ? `New: ${fresh[0].severity}, ${fresh[0].title}`
          : `${fresh.length} new incidents, first: ${fresh[0].severity}, ${fresh[0].title}`;
    this.known = new Set([...(this.known ?? []), ...incidents.map((i) => i.id)]);
  }
}

/** The server looks at so many rows for a page: one that is not full may have a next one, and that nothing. */
function summaryOf(n: number, more: boolean, filters: Filters): string {
  const kind = filters.status === "all" ? "" : `${filters.status} `;
  const narrowed = filters.severity !== "" || filters.service !== "" || filters.q !== "";
  const match = narrowed ? (n === 1 ? " matches these filters" : " match these filters") : "";
  const further = "Older looks further.";
  if (filters.cursor !== "" && n === 0) return more ? `None here; ${further}` : "Nothing older.";
  if (filters.cursor !== "")
    return `${count(n, `older ${kind}incident`)} here. New ones appear on the newest page.`;
  if (n === 0) return `No ${kind}incidents${match}${more ? ` among the newest; ${further}` : "."}`;
  const all = `${count(n, `${kind}incident`)}${match}`;
  if (!more) return `${all}.`;
  return `The newest ${all}; ${n < PAGE_ROWS ? further : "there are older ones."}`;
}

function row(i: Incident): HTMLElement {
  const level = i.frequency_stats.escalation_level;
  return h(
    "li",
    { class: "incident", "data-id": i.id, "data-severity": i.severity, "data-status": i.status },
    h(
      "div",
      { class: "line" },
      badge("severity", i.severity),
      h("a", { class: "title", href: incidentHash(i.id) }, i.title || i.alert_name || i.id),
    ),
    h(
      "div",
      { class: "line quiet" },
      badge("status", i.status, statusWords(i)),
      level !== "none" && badge("level", level, levelWords(level)),
      h("span", { class: "place" }, place(i)),
    ),
    h(
      "div",
      { class: "line quiet" },
      h("span", {}, "opened ", when(i.opened_at, "age")),
      h("span", {}, `${i.alerts_firing.toLocaleString("en")} of ${count(i.alerts_total, "alert")} firing`),
      h("span", {}, `${i.frequency_stats.count_24h.toLocaleString("en")}× in 24 h`),
    ),
  );
}

function field(label: string, input: HTMLElement): HTMLElement {
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input);
}

function select(id: string, options: [string, string][]): HTMLSelectElement {
  return h("select", { id }, ...options.map(([value, text]) => option(value, text)));
}

function option(value: string, text: string): HTMLOptionElement {
  const el = h("option", {}, text);
  el.value = value;
  return el;
}
