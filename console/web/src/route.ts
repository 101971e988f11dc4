// The address after '#' is the page's only state: it can be bookmarked, shared and gone back to.

export interface Filters {
  status: string;
  severity: string;
  service: string;
  q: string;
  cursor: string;
}

export type Route = { view: "list"; filters: Filters } | { view: "incident"; id: string };

const NAMES = ["status", "severity", "service", "q", "cursor"] as const;
const DEFAULTS: Filters = { status: "active", severity: "", service: "", q: "", cursor: "" };

export function parseRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  const match = /^\/incidents\/([^/]+)$/.exec(path);
  if (match?.[1]) return { view: "incident", id: decode(match[1]) };
  const params = new URLSearchParams(query);
  const filters = { ...DEFAULTS };
  for (const name of NAMES) filters[name] = params.get(name) ?? DEFAULTS[name];
  return { view: "list", filters };
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

export function listHash(filters: Filters): string {
  const params = new URLSearchParams();
  for (const name of NAMES) if (filters[name] !== DEFAULTS[name]) params.set(name, filters[name]);
  const query = params.toString();
  return query ? `#/?${query}` : "#/";
}

export function incidentHash(id: string): string {
  return `#/incidents/${encodeURIComponent(id)}`;
}

export const PAGE_ROWS = 50;

/** The API's query for these filters; "all" is no filter. */
export function apiQuery(filters: Filters): URLSearchParams {
  const params = new URLSearchParams({ limit: String(PAGE_ROWS) });
  for (const name of NAMES) {
    const value = filters[name];
    if (value !== "" && !(name === "status" && value === "all")) params.set(name, value);
  }
  return params;
}
