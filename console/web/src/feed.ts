// Polls one thing while the page is visible, backs off when it fails, and always knows how old
// what is on the screen is.

import { ApiError, type Answer } from "./api";
import { correctClock } from "./time";

const PERIOD_MS = 2000;
const SLOW_MS = 6000;
const BACKOFF_MAX_MS = 30_000;

export type FeedState =
  | { kind: "loading" }
  | { kind: "live"; at: number }
  | { kind: "slow"; at: number | null }
  | { kind: "failing"; at: number | null; error: ApiError; retryAt: number };

/** A feed, whatever it loads. */
export type AnyFeed = Pick<Feed<unknown>, "state" | "refresh" | "tick">;

export class Feed<T> {
  state: FeedState = { kind: "loading" };
  private readonly created = Date.now();
  private goodAt: number | null = null;
  private failures = 0;
  private timer = 0;
  private inFlight: AbortController | null = null;
  private stopped = false;

  constructor(
    private readonly load: (signal: AbortSignal) => Promise<Answer<T>>,
    private readonly show: (body: T) => void,
    private readonly changed: (state: FeedState) => void,
  ) {
    document.addEventListener("visibilitychange", this.wake);
    window.addEventListener("online", this.wake);
    void this.poll();
  }

  stop(): void {
    this.stopped = true;
    this.cancel();
    document.removeEventListener("visibilitychange", this.wake);
    window.removeEventListener("online", this.wake);
  }

  /** Asks again at once; an answer that was under way is not shown any more. */
  refresh(): void {
    this.cancel();
    void this.poll();
  }

  /** Called every second: a feed that has heard nothing for a while must not look live. */
  tick(): void {
    if (document.hidden || this.state.kind === "failing" || this.state.kind === "slow") return;
    if (Date.now() - (this.goodAt ?? this.created) > SLOW_MS)
      this.enter({ kind: "slow", at: this.goodAt });
  }

  private readonly wake = (): void => {
    if (document.hidden) this.cancel();
    else this.refresh();
  };

  private cancel(): void {
    clearTimeout(this.timer);
    this.inFlight?.abort();
    this.inFlight = null;
  }

  private async poll(): Promise<void> {
    if (this.stopped || document.hidden) return;
    const mine = new AbortController();
    this.inFlight = mine;
    try {
      const answer = await this.load(mine.signal);
      if (this.inFlight !== mine) return;
      correctClock(answer.skewMs);
      this.show(answer.body);
      this.failures = 0;
      this.goodAt = Date.now();
      this.enter({ kind: "live", at: this.goodAt });
      this.again(PERIOD_MS);
    } catch (e) {
      if (this.inFlight === mine) this.failed(e);
    }
  }

  private failed(e: unknown): void {
    // What show() throws means that the answer has not the shape this page knows: say so, too.
    const error = e instanceof ApiError ? e : new ApiError(`its answer is unreadable (${e})`, 200);
    this.failures++;
    const ceiling = Math.min(BACKOFF_MAX_MS, PERIOD_MS * 2 ** this.failures);
    const wait = PERIOD_MS + Math.random() * (ceiling - PERIOD_MS);
    this.enter({ kind: "failing", at: this.goodAt, error, retryAt: Date.now() + wait });
    this.again(wait);
  }

  private again(ms: number): void {
    this.inFlight = null;
    this.timer = window.setTimeout(() => void this.poll(), ms);
  }

  private enter(state: FeedState): void {
    this.state = state;
    this.changed(state);
  }
}
