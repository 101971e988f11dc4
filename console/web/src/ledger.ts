// One message of the ledger: what became of it at a glance, its attempts on demand.

import type { Delivery, Ending, Notification, Told } from "./api";
import { h, type Child } from "./dom";
import { incidentHash } from "./route";
import { when } from "./time";
import { badge, count } from "./words";

/** A sign beside the word: neither colour nor language alone carries the meaning. */
const ENDINGS: Record<Ending, [sign: string, word: string]> = {
  pending: ["…", "waiting"],
  sending: ["→", "sending"],
  delivered: ["✓", "delivered"],
  failed: ["✗", "failed"],
  suppressed: ["⊘", "suppressed"],
  superseded: ["»", "superseded"],
  merged: ["⊕", "merged"],
};

export function ledgerItem(n: Notification, incident: string): HTMLElement {
  return h(
    "li",
    { class: "entry notification", "data-id": n.id, "data-state": n.state },
    h(
      "div",
      { class: "line" },
      endingBadge(n.state),
      h("strong", { class: "route" }, [n.channel, n.receiver].filter(Boolean).join(" → ")),
      n.destination !== null && h("span", { class: "quiet" }, n.destination),
      h("span", { class: "quiet" }, `${n.kind} · no. ${n.sequence}`),
      n.rule !== null && h("span", { class: "quiet" }, `rule “${n.rule}”`),
      when(n.ended_at ?? n.created_at),
    ),
    h("p", { class: "answer" }, ...outcome(n)),
    (n.possible_duplicate || n.told_instead?.possible_duplicate === true) &&
      h("p", { class: "warn" }, "It may have arrived twice: an earlier attempt ended without an answer."),
    unfold(n, incident),
  );
}

function endingBadge(state: Ending): HTMLElement {
  const [sign, word] = ENDINGS[state] ?? ["?", state];
  const el = badge("ending", state, ` ${word}`);
  el.prepend(h("span", { "aria-hidden": "true" }, sign));
  return el;
}

/** What the channel said, or why nobody asked it. */
function outcome(n: Notification): Child[] {
  const last = n.deliveries[n.deliveries.length - 1];
  switch (n.state) {
    case "delivered":
      return [last ? answerOf(last) : "", n.reason && ` (${n.reason})`];
    case "pending":
      return [
        n.reason || "Not sent yet.",
        n.next_attempt_at !== null && h("span", { class: "quiet" }, " · next attempt ", when(n.next_attempt_at)),
      ];
    case "merged":
      return n.told_instead ? [`${n.reason}: told in one message with others, `, ...fate(n.told_instead)] : [n.reason];
    case "superseded":
      return n.told_instead
        ? [`${n.reason}: no. ${n.told_instead.sequence}, ${n.told_instead.kind}`]
        : [n.reason];
    default:
      return [n.reason];
  }
}

/** How a digest ended, on the line of what it told. */
function fate(t: Told): Child[] {
  const last = t.deliveries[t.deliveries.length - 1];
  const words = t.state === "delivered" && last ? answerOf(last) : t.reason;
  return [endingBadge(t.state), " ", when(t.ended_at), words && `: ${words}`];
}

function answerOf(d: Delivery): string {
  const status = d.http_status === 0 ? "no answer" : `answer ${d.http_status}`;
  return d.answer === "" ? status : `${status}: ${d.answer}`;
}

function unfold(n: Notification, incident: string): HTMLElement | false {
  const merged = n.state === "merged" && n.told_instead !== null;
  const attempts = merged && n.told_instead ? n.told_instead.deliveries : n.deliveries;
  const total = merged ? attempts.length : Math.max(n.attempts, attempts.length);
  const others = n.incidents.filter((i) => i.id !== incident);
  if (attempts.length === 0 && others.length === 0) return false;
  return h(
    "details",
    {},
    h(
      "summary",
      {},
      [
        attempts.length > 0 && count(total, "attempt") + (merged ? " at the message of all" : ""),
        others.length > 0 && `also about ${count(others.length, "incident")}`,
      ]
        .filter(Boolean)
        .join(" · "),
    ),
    attempts.length < total &&
      attempts.length > 0 &&
      h("p", { class: "quiet" }, `The newest ${attempts.length}:`),
    h("ul", { class: "plain deliveries" }, ...attempts.map(attemptItem)),
    others.length > 0 && h("ul", {}, ...others.map((i) => h("li", {}, h("a", { href: incidentHash(i.id) }, i.title ?? i.id)))),
  );
}

function attemptItem(d: Delivery): HTMLElement {
  const status = d.http_status === 0 ? "no answer" : `answer ${d.http_status}`;
  return h(
    "li",
    { "data-outcome": d.outcome },
    h(
      "div",
      { class: "line" },
      badge("outcome", d.outcome),
      h("span", { class: "quiet" }, `attempt ${d.attempt} · ${status} · ${d.duration_ms} ms`),
      when(d.at),
    ),
    d.answer !== "" && h("pre", { tabindex: 0, "aria-label": "The channel's answer" }, d.answer),
    d.report !== null &&
      h("p", { class: "quiet report" }, `Reported later: ${d.report.state} (${d.report.words}) `, when(d.report.at)),
  );
}
