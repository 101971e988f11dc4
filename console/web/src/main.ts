// Routes the address to a view, and ticks the ages once a second.

import { DetailView } from "./detail";
import type { AnyFeed } from "./feed";
import { ListView } from "./list";
import { listHash, parseRoute } from "./route";
import { onRetry, showAge } from "./status";
import { refreshAges, zoneName } from "./time";

const main = document.getElementById("main") as HTMLElement;
const list = new ListView((filters) => {
  history.replaceState(null, "", listHash(filters));
  go();
});
let detail: DetailView | null = null;
let opened: string | null = null;

function go(): void {
  const route = parseRoute(location.hash);
  detail?.leave();
  detail = null;
  if (route.view === "incident") {
    list.leave();
    opened = route.id;
    detail = new DetailView(main, route.id, list.hash());
    window.scrollTo(0, 0);
    return;
  }
  list.enter(main, route.filters);
  if (opened !== null) list.focusRow(opened);
  opened = null;
}

function current(): AnyFeed | null {
  return detail?.feed ?? list.feed;
}

const zone = document.getElementById("zone");
if (zone) zone.textContent = zoneName();

// A plain "#main" link would be taken for a route.
document.querySelector(".skip")?.addEventListener("click", (e) => {
  e.preventDefault();
  main.focus();
});

onRetry(current);
setInterval(() => {
  if (document.hidden) return;
  refreshAges();
  const feed = current();
  feed?.tick();
  if (feed) showAge(feed.state);
}, 1000);
window.addEventListener("hashchange", go);
go();
