// The line under the header: is what you see current, and if not, since when and why.

import type { AnyFeed, FeedState } from "./feed";
import { clock, span } from "./time";

const bar = byId("feed");
const text = byId("feed-text");
const ageText = byId("feed-age");
const retry = byId("feed-retry");

function byId(id: string): HTMLElement {
  const el = document.getElementById(id);
  if (!el) throw new Error(`no #${id}`);
  return el;
}

/** `text` is a live region: it changes only when the state does, the ages beside it tick silently. */
export function showState(state: FeedState): void {
  const said = sentence(state);
  bar.dataset["state"] = state.kind;
  if (text.textContent !== said) text.textContent = said;
  showAge(state);
}

function sentence(state: FeedState): string {
  switch (state.kind) {
    case "loading":
      return "Loading …";
    case "live":
      return "Live";
    case "slow":
      return `The server is slow to answer. ${staleSince(state.at)}`;
    case "failing":
      return state.error.status === 0
        ? `Not live. The server does not answer: ${state.error.message}. ${staleSince(state.at)}`
        : `Not live. The server answers with an error: ${state.error.message}. ${staleSince(state.at)}`;
  }
}

function staleSince(at: number | null): string {
  return at === null
    ? "Nothing could be loaded yet."
    : `What you see is from ${clock(at)} and may be out of date.`;
}

export function showAge(state: FeedState): void {
  retry.hidden = state.kind !== "failing";
  ageText.textContent = ageOf(state);
}

function ageOf(state: FeedState): string {
  switch (state.kind) {
    case "loading":
      return "";
    case "live":
      return `updated ${span(Date.now() - state.at)} ago`;
    case "slow":
      return state.at === null ? "" : `${span(Date.now() - state.at)} old`;
    case "failing":
      return `next try in ${span(state.retryAt - Date.now() + 999)}`;
  }
}

export function onRetry(current: () => AnyFeed | null): void {
  retry.addEventListener("click", () => current()?.refresh());
}
