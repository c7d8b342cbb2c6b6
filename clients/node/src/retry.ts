/**
 * When to ask again: exponential backoff with full jitter (a random share of the backoff), never less than the service's
 * advice, and never a wait that would end after the deadline.
 */

const INITIAL_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;

/** Milliseconds to wait before the next try, undefined to give up. `done` counts the retries so far, from 0. */
export function waitBeforeRetry(tried: {
  readonly done: number;
  readonly retryAfterMs: number | undefined;
  readonly remainingMs: number;
  readonly jitter: number;
}): number | undefined {
  const backoff = Math.min(INITIAL_BACKOFF_MS * 2 ** tried.done, MAX_BACKOFF_MS);
  const wait = Math.max(tried.jitter * backoff, tried.retryAfterMs ?? 0);
  return wait < tried.remainingMs ? wait : undefined;
}
