// What a person does about an incident: take it, work on it, close it, with a note.

import { ApiError, setStatus, type Act, type Incident, type Status } from "./api";
import { h } from "./dom";
import { count } from "./words";

const ACTS: { act: Act; label: string; from: Status[] }[] = [
  { act: "acknowledged", label: "Acknowledge", from: ["open"] },
  { act: "investigating", label: "Investigate", from: ["open", "acknowledged"] },
  { act: "resolved", label: "Resolve", from: ["open", "acknowledged", "investigating"] },
];

export class Actions {
  readonly el: HTMLElement;
  private incident: Incident | null = null;
  private busy = false;

  private readonly note = h("textarea", { id: "note", rows: 2, maxlength: 2000 });
  private readonly buttons = ACTS.map(({ act, label }) =>
    h("button", { type: "button", "data-act": act, click: () => this.press(act) }, label),
  );
  private readonly warning = h("span", {});
  private readonly confirm = h(
    "div",
    { class: "confirm", hidden: true },
    this.warning,
    h(
      "button",
      { type: "button", id: "confirm-resolve", click: () => this.send("resolved") },
      "Resolve anyway",
    ),
    h("button", { type: "button", click: () => this.ask(false) }, "Cancel"),
  );
  private readonly said = h("p", { id: "act-said", role: "status", "aria-live": "polite" });
  private readonly error = h("p", { id: "act-error", class: "error", role: "alert" });

  /** `done` is called after the server took a change. */
  constructor(private readonly done: () => void) {
    this.el = h(
      "section",
      { class: "card", "aria-label": "What to do" },
      h("label", { for: "note" }, "Note (kept in the timeline)"),
      this.note,
      h("div", { class: "buttons" }, ...this.buttons),
      this.confirm,
      this.said,
      this.error,
    );
  }

  set(incident: Incident): void {
    this.incident = incident;
    this.enable();
    const firing = incident.alerts_firing;
    this.warning.textContent =
      `${count(firing, "alert")} still ${firing === 1 ? "fires" : "fire"}. ` +
      "Nobody will hear of this again until something new occurs.";
    if (incident.status === "resolved") this.ask(false);
  }

  /** Only forward: the order is open, acknowledged, investigating, resolved. */
  private enable(): void {
    const status = this.incident?.status;
    this.buttons.forEach((button, n) => {
      const allowed = status !== undefined && ACTS[n]?.from.includes(status) === true;
      // aria-disabled keeps the focus where it is when a poll changes what is allowed.
      button.setAttribute("aria-disabled", String(!allowed || this.busy));
    });
  }

  private press(act: Act): void {
    const button = this.buttons[ACTS.findIndex((a) => a.act === act)];
    if (button?.getAttribute("aria-disabled") === "true") return;
    if (act === "resolved" && this.incident && this.incident.alerts_firing > 0) this.ask(true);
    else void this.send(act);
  }

  private ask(open: boolean): void {
    if (this.confirm.hidden === !open) return;
    this.confirm.hidden = !open;
    if (open) this.confirm.querySelector("button")?.focus();
  }

  private async send(act: Act): Promise<void> {
    if (!this.incident || this.busy) return;
    this.busy = true;
    this.enable();
    this.error.textContent = "";
    this.said.textContent = "Sending …";
    try {
      await setStatus(this.incident.id, act, this.note.value.trim());
      this.said.textContent = `Done: ${act}.`;
      this.note.value = "";
      this.ask(false);
      this.done();
    } catch (e) {
      this.said.textContent = "";
      this.error.textContent = failure(act, e);
    } finally {
      this.busy = false;
      this.enable();
    }
  }
}

function failure(act: Act, e: unknown): string {
  if (e instanceof ApiError && e.status > 0) return `Not ${act}. ${e.message}`;
  const why = e instanceof ApiError ? e.message : String(e);
  // Without an answer the server may have taken it: do not claim that it did not.
  return `It is not known whether this was ${act}: ${why}. Look at the status above before you try again.`;
}
