import type { Clock, Timer } from '../contracts/runtime.ts';
import { inFlight } from '../store/in-flight.ts';

/** A timer of a {@link FakeClock} that has not fired yet. */
export interface PendingTimer {
  /** When it fires, in milliseconds since the Unix epoch. */
  readonly dueMs: number;
  /** Whether it was started with `background`. */
  readonly background: boolean;
}

/** A clock that stands still until a test moves it. */
export interface FakeClock extends Clock {
  /** Timers that have not fired, the next one first. */
  readonly pending: readonly PendingTimer[];
  /**
   * Moves time on by `durationMs`, firing what falls due in order. Before each timer, and at the
   * end, whatever the last one set in motion gets to run, so a timer that is started on the way and
   * falls due within the time fires too.
   * @throws TypeError while another call moves the clock; and what a timer's function throws.
   */
  advance(durationMs: number): Promise<void>;
  /**
   * Fires timers in order until only background ones are left. `maxTimers` (default 10,000) bounds
   * code that starts a new timer from each one.
   * @throws TypeError when the bound is reached, or while another call moves the clock.
   */
  runUntilIdle(options?: { readonly maxTimers?: number }): Promise<void>;
  /**
   * Fires timers in order, background ones included, until `promise` settles, and gives its result.
   * Time goes on while work waits for real files or sockets, unless {@link hold} says otherwise.
   */
  runUntil<T>(promise: Promise<T>): Promise<T>;
  /**
   * Keeps time from going on until `work` settles, and gives its result: for work that takes real time, such as
   * that of a real mail server. What bounds it must be a real clock, or nothing ends it.
   */
  hold<T>(work: Promise<T>): Promise<T>;
  /** Lets everything run that waits for no timer of this clock, without moving time. */
  settle(): Promise<void>;
}

interface FakeTimer extends PendingTimer {
  readonly fire: () => void;
}

/** Options of {@link fakeClock}. */
export interface FakeClockOptions {
  /**
   * Turns of the event loop that count as settled. Default 5: chains of promises and of immediates end in
   * fewer. Where everything is in memory and nothing waits for an immediate, 1 will do, and is quicker.
   */
  readonly settleTurns?: number;
}

/**
 * A clock for tests, standing at `startMs` (default 2026-01-01T00:00:00Z).
 *
 * @example
 * ```ts
 * const clock = fakeClock();
 * const waiting = sleep(clock, 60_000);
 * await clock.advance(60_000);
 * await waiting;
 * ```
 */
export function fakeClock(startMs: number = Date.UTC(2026, 0, 1), options: FakeClockOptions = {}): FakeClock {
  const { settleTurns = 5 } = options;
  let nowMs = startMs;
  let moving = false;
  let held = 0;
  const timers: FakeTimer[] = [];

  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < settleTurns; turn += inFlight.count + held === 0 ? 1 : 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const next = (): FakeTimer | undefined => timers[0];
  const cancel = (timer: FakeTimer): void => {
    const at = timers.indexOf(timer);
    if (at >= 0) timers.splice(at, 1);
  };
  const fire = (timer: FakeTimer): void => {
    cancel(timer);
    nowMs = Math.max(nowMs, timer.dueMs);
    timer.fire();
  };
  const move = async <T>(steps: () => Promise<T>): Promise<T> => {
    if (moving) throw new TypeError('The fake clock is being moved already; await that call first.');
    moving = true;
    try {
      return await steps();
    } finally {
      moving = false;
    }
  };

  return {
    now: () => nowMs,
    timer(delayMs, callback, options): Timer {
      const timer: FakeTimer = {
        dueMs: nowMs + Math.max(0, delayMs),
        background: options?.background ?? false,
        fire: callback,
      };
      const later = timers.findLastIndex((other) => other.dueMs <= timer.dueMs) + 1;
      timers.splice(later, 0, timer);
      return { [Symbol.dispose]: () => cancel(timer) };
    },
    get pending(): readonly PendingTimer[] {
      return timers.map(({ dueMs, background }) => ({ dueMs, background }));
    },
    settle,
    hold: async (work) => {
      held += 1;
      try {
        return await work;
      } finally {
        held -= 1;
      }
    },
    advance: (durationMs) =>
      move(async () => {
        const untilMs = nowMs + durationMs;
        await settle();
        for (let timer = next(); timer !== undefined && timer.dueMs <= untilMs; timer = next()) {
          fire(timer);
          await settle();
        }
        nowMs = untilMs;
        await settle();
      }),
    runUntilIdle: ({ maxTimers = 10_000 } = {}) =>
      move(async () => {
        await settle();
        for (let fired = 0; timers.some((timer) => !timer.background); fired += 1) {
          if (fired === maxTimers) throw new TypeError(`Timers still pending after ${maxTimers} fired.`);
          const timer = next();
          if (timer !== undefined) fire(timer);
          await settle();
        }
      }),
    runUntil: (promise) =>
      move(async () => {
        let settled = false;
        const mark = (): void => {
          settled = true;
        };
        promise.then(mark, mark);
        await settle();
        while (!settled) {
          const timer = next();
          if (timer !== undefined) fire(timer);
          await settle();
        }
        return promise;
      }),
  };
}
