// The console's API as this page uses it: shapes, and fetch with a deadline and readable errors.

export type Status = "open" | "acknowledged" | "investigating" | "resolved";
export type Act = Exclude<Status, "open">;
export type Severity = "critical" | "error" | "warning" | "info";

export interface Frequency {
  count_1h: number;
  count_24h: number;
  count_7d: number;
  count_30d: number;
  first_seen: string;
  last_seen: string;
  escalation_level: "none" | "REPEAT" | "ESCALATE" | "PERMANENT_FIX";
}

export interface RepairAttempt {
  at: string;
  action: string;
  outcome: "success" | "failure" | "unknown" | "pending";
  note: string;
  by: string;
}

export interface RepairStats {
  total_attempts: number;
  successful_attempts: number;
  last_repair_action: string | null;
  last_repair_time: string | null;
  repair_history: RepairAttempt[];
  recommended_tier: number;
}

export interface ProposedRepair {
  action: string;
  successes: number;
  attempts: number;
  success_rate: number;
  wilson_lower: number;
  last_used: string | null;
  playbook_version: number;
  text: string;
}

export interface Incident {
  id: string;
  tenant: string;
  title: string;
  status: Status;
  resolve_reason: "alerts" | "manual" | "expired" | null;
  severity: Severity;
  service: string;
  namespace: string;
  environment: string;
  source: string;
  alert_name: string;
  error_type: string;
  anomaly_key: string;
  opened_at: string;
  updated_at: string;
  resolved_at: string | null;
  alerts_firing: number;
  alerts_total: number;
  is_aggregated: boolean;
  aggregated_count: number;
  aggregation_window_start: string;
  link: string | null;
  frequency_stats: Frequency;
  repair_stats: RepairStats;
  proposed_repair: ProposedRepair | null;
}

export interface TimelineEntry {
  at: string;
  kind: string;
  actor: string;
  text: string;
}

export interface Alert {
  id: string;
  status: "firing" | "resolved";
  severity: Severity;
  starts_at: string;
  ends_at: string | null;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  link: string | null;
  count: number;
  incident_id: string | null;
}

export interface Delivery {
  attempt: number;
  at: string;
  duration_ms: number;
  outcome: "delivered" | "retry" | "rejected";
  http_status: number;
  answer: string;
  /** What the vendor said of it later. */
  report: { state: "under way" | "sent" | "arrived" | "lost"; at: string; words: string } | null;
}

export type Ending =
  | "pending"
  | "sending"
  | "delivered"
  | "failed"
  | "suppressed"
  | "superseded"
  | "merged";

/** What stands in the ledger about a message; of the one that told something instead, only this. */
export interface Told {
  id: string;
  kind: string;
  sequence: number;
  destination: string | null;
  state: Ending;
  reason: string;
  possible_duplicate: boolean;
  ended_at: string | null;
  deliveries: Delivery[];
}

export interface Notification extends Told {
  incident_id: string | null;
  incidents: { id: string; title: string | null }[];
  receiver: string;
  rule: string | null;
  channel: string;
  created_at: string;
  next_attempt_at: string | null;
  attempts: number;
  told_instead: Told | null;
}

/** Timeline and notifications are the newest, oldest first; alerts the first, firing ones before others. */
export interface IncidentDetail extends Incident {
  timeline: TimelineEntry[];
  timeline_more: boolean;
  alerts: Alert[];
  alerts_more: boolean;
  notifications: Notification[];
  notifications_more: boolean;
}

export interface IncidentPage {
  incidents: Incident[];
  next_cursor: string | null;
}

export interface Answer<T> {
  body: T;
  /** The server's clock minus ours, in ms: ages are told by the server's clock. */
  skewMs: number | null;
}

/** `message` is a sentence for a person; `status` is 0 when no answer came at all. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const DEADLINE_MS = 10_000;

export function listIncidents(
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<Answer<IncidentPage>> {
  return request<IncidentPage>("GET", `/api/v1/incidents?${query}`, signal);
}

export function getIncident(id: string, signal: AbortSignal): Promise<Answer<IncidentDetail>> {
  return request<IncidentDetail>("GET", `/api/v1/incidents/${encodeURIComponent(id)}`, signal);
}

/** Where every alert of an incident is listed. */
export function alertsPath(id: string): string {
  return `/api/v1/alerts?${new URLSearchParams({ incident: id, limit: "500" })}`;
}

/** Where its messages up to that time are listed. */
export function ledgerPath(id: string, until: string): string {
  const query = new URLSearchParams({ until, limit: "500" });
  return `/api/v1/incidents/${encodeURIComponent(id)}/notifications?${query}`;
}

export function setStatus(id: string, status: Act, note: string): Promise<Answer<Incident>> {
  const path = `/api/v1/incidents/${encodeURIComponent(id)}/status`;
  return request<Incident>("PUT", path, null, { status, note });
}

async function request<T>(
  method: "GET" | "PUT",
  path: string,
  signal: AbortSignal | null,
  body?: unknown,
): Promise<Answer<T>> {
  const deadline = new AbortController();
  const abort = () => deadline.abort();
  const timer = setTimeout(abort, DEADLINE_MS);
  signal?.addEventListener("abort", abort);
  try {
    const init: RequestInit = { method, signal: deadline.signal, cache: "no-cache" };
    init.headers = { Accept: "application/json" };
    if (body !== undefined) {
      init.headers = { ...init.headers, "Content-Type": "application/json" };
      init.body = JSON.stringify(body);
    }
    const response = await fetch(path, init);
    const text = await response.text();
    return { body: parse<T>(response, text), skewMs: skew(response) };
  } catch (e) {
    if (e instanceof ApiError) throw e;
    if (signal?.aborted) throw e;
    if (deadline.signal.aborted)
      throw new ApiError(`no answer within ${DEADLINE_MS / 1000} s`, 0);
    throw new ApiError("it cannot be reached", 0);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

function parse<T>(response: Response, text: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // A proxy's own error page, most often.
    throw new ApiError(`HTTP ${response.status}, and the answer is not JSON`, response.status);
  }
  if (response.ok) return value as T;
  const error = (value as { error?: { code?: string; message?: string } } | null)?.error;
  const why = error?.message || error?.code || response.statusText;
  throw new ApiError(`HTTP ${response.status}: ${why}`, response.status);
}

function skew(response: Response): number | null {
  const date = Date.parse(response.headers.get("Date") ?? "");
  return Number.isNaN(date) ? null : date - Date.now();
}
