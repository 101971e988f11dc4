// Times as a tired reader wants them: the viewer's own zone, and how long ago.

import { h } from "./dom";

let skewMs = 0;

/** Ages follow the server's clock; its Date header has whole seconds, so small differences are noise. */
export function correctClock(serverMinusOurs: number | null): void {
  if (serverMinusOurs !== null) skewMs = Math.abs(serverMinusOurs) > 2000 ? serverMinusOurs : 0;
}

export function now(): number {
  return Date.now() + skewMs;
}

/** "14:03:09" today, "2026-01-31 14:03:09" otherwise: one form, whatever the locale. */
export function clock(t: number): string {
  const d = new Date(t);
  const today = new Date(now()).toDateString() === d.toDateString();
  const hms = [d.getHours(), d.getMinutes(), d.getSeconds()].map(two).join(":");
  return today ? hms : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${hms}`;
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}

/** "12 s", "5 min", "3 h 20 min", "6 d 4 h": two units at most. */
export function span(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const min = Math.floor(s / 60);
  if (min < 60) return `${min} min`;
  const hours = Math.floor(min / 60);
  if (hours < 24) return pair(hours, "h", min % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

function pair(a: number, unit: string, b: number, smaller: string): string {
  return b === 0 ? `${a} ${unit}` : `${a} ${unit} ${b} ${smaller}`;
}

export function age(t: number): string {
  const ms = now() - t;
  return ms < -1000 ? `in ${span(-ms)}` : `${span(ms)} ago`;
}

/** A <time> that keeps its age current; "both" shows the clock time too. */
export function when(iso: string | null, show: "age" | "both" = "both"): HTMLElement {
  const t = iso === null ? NaN : Date.parse(iso);
  if (iso === null || Number.isNaN(t)) return h("span", { class: "quiet" }, "–");
  const el = h("time", { datetime: iso, "data-show": show, title: new Date(t).toString() });
  write(el, t);
  return el;
}

export function refreshAges(): void {
  for (const el of document.querySelectorAll<HTMLElement>("time[data-show]"))
    write(el, Date.parse(el.getAttribute("datetime") ?? ""));
}

function write(el: HTMLElement, t: number): void {
  const text = el.dataset["show"] === "age" ? age(t) : `${clock(t)} · ${age(t)}`;
  // An unchanged text node keeps a reader's selection.
  if (el.textContent !== text) el.textContent = text;
}

export function zoneName(): string {
  const minutes = -new Date().getTimezoneOffset();
  const sign = minutes < 0 ? "−" : "+";
  const abs = Math.abs(minutes);
  const offset = `UTC${sign}${Math.floor(abs / 60)}${abs % 60 ? `:${two(abs % 60)}` : ""}`;
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name === "UTC" ? "Times in UTC" : `Times in ${name} (${offset})`;
}
