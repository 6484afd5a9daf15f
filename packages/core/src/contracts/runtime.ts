/** A timer that was started; disposing it before it fires cancels it. */
export interface Timer extends Disposable {}

/**
 * Time, injected. Everything in the SDK that waits, times out or stamps a record asks this clock,
 * so that tests can run a whole lab in simulated time.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /**
   * Calls `fire` once, after `delayMs`, never before. A real clock's timers keep the process alive unless
   * `background` is set.
   */
  timer(delayMs: number, fire: () => void, options?: { readonly background?: boolean }): Timer;
}

/** Randomness, injected: a seeded one makes ids, jitter and back-off repeatable. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
}

/** Where diagnostic messages go. Has pino's shape, so a pino logger fits; silent by default. */
export interface Logger {
  /** Steps on the way; of use only to somebody looking for a fault. */
  debug(details: object, message: string): void;
  /** What the lab does. */
  info(details: object, message: string): void;
  /** Something went wrong and was made good, or may go wrong soon. */
  warn(details: object, message: string): void;
  /** Something went wrong that somebody has to look at. */
  error(details: object, message: string): void;
}

/** What nearly every operation takes. */
export interface CallOptions {
  /** Aborting it ends the call with `aborted`; what that leaves running is said by each contract. */
  readonly signal?: AbortSignal;
  /** The call fails with `deadline-exceeded` after this many milliseconds. */
  readonly timeoutMs?: number;
}
