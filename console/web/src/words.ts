// What the API's words mean, for people.

import type { Frequency, Incident } from "./api";
import { h } from "./dom";

const LEVELS: Record<string, string> = {
  none: "not recurring",
  REPEAT: "keeps coming back",
  ESCALATE: "comes back often",
  PERMANENT_FIX: "needs a permanent fix",
};

const TIERS: Record<number, string> = {
  1: "restart",
  2: "mitigate",
  3: "root cause",
  4: "architecture",
};

const REASONS: Record<string, string> = {
  alerts: "its alerts resolved",
  manual: "by a person",
  expired: "its alerts went silent",
};

export function levelWords(level: Frequency["escalation_level"]): string {
  return LEVELS[level] ?? level;
}

export function tierWords(tier: number): string {
  const name = TIERS[tier];
  return name ? `Tier ${tier}: ${name}` : `Tier ${tier}`;
}

export function statusWords(i: Incident): string {
  const why = i.status === "resolved" && i.resolve_reason ? REASONS[i.resolve_reason] : undefined;
  return why ? `resolved (${why})` : i.status;
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** A number that fits a narrow cell: "12,841", "1.3M". */
export function compact(n: number): string {
  return n.toLocaleString("en", n < 100_000 ? {} : { notation: "compact" });
}

export function percent(ratio: number): string {
  return `${Math.round(ratio * 100)} %`;
}

/** A small label whose word carries the meaning; the colour only helps. */
export function badge(group: string, value: string, text = value): HTMLElement {
  return h("span", { class: `badge ${group}`, "data-value": value }, text);
}

/** "checkout · shop · production": what is known of where. */
export function place(i: Incident): string {
  return [i.service, i.namespace, i.environment].filter((s) => s !== "").join(" · ");
}
