import { silentLogger, type Clock, type Random } from '@bringup/core';
import { fakeClock, seededRandom, type FakeClock } from '@bringup/core/testing';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { WorkEngine } from '../../src/work/engine.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../../src/work/handler.ts';
import type { BringupError } from '@bringup/core';
import { workKinds, type WorkKind } from '../../src/model/work.ts';

/** An engine with its store, in simulated time. */
export interface TestEngine extends AsyncDisposable {
  readonly engine: WorkEngine;
  readonly store: Store;
  readonly clock: FakeClock;
}

export interface TestEngineOptions {
  readonly clock?: FakeClock;
  /** Time of this engine's timers, when it is not the shared one. */
  readonly engineClock?: Clock;
  readonly path?: string;
  readonly store?: Store;
  readonly random?: Random;
}

/** An engine that runs the given handlers. */
export async function startEngine(
  handlers: readonly WorkHandler<never, unknown, never>[],
  options: TestEngineOptions = {},
): Promise<TestEngine> {
  const clock = options.clock ?? fakeClock();
  const store =
    options.store ?? (await Store.open(sqlite(options.path === undefined ? {} : { path: options.path }), clock));
  const random = options.random ?? seededRandom(7);
  const engine = new WorkEngine({ store, clock: options.engineClock ?? clock, random, logger: silentLogger });
  for (const handler of handlers) engine.register(handler as unknown as WorkHandler<unknown, unknown>);
  engine.start(workKinds);
  return {
    engine,
    store,
    clock,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      if (options.store === undefined) await store[Symbol.asyncDispose]();
    },
  };
}

/** A handler made of functions. */
export function handler<C = unknown>(
  kind: WorkKind,
  run: (context: WorkContext<C>, input: never) => Promise<unknown>,
  more: {
    readonly uncancellable?: boolean;
    readonly cleanUp?: (context: WorkContext<C>, error: BringupError, signal: AbortSignal) => Promise<void>;
  } = {},
): WorkHandler<never, unknown, never> {
  const made: WorkHandler<never, unknown, C> = {
    kind,
    ...(more.uncancellable !== undefined && { uncancellable: more.uncancellable }),
    async run(context, input): Promise<WorkResult<unknown>> {
      return { output: await run(context, input) };
    },
    ...(more.cleanUp !== undefined && {
      cleanUp: async (context: WorkContext<C>, _input: never, error: BringupError, signal: AbortSignal) =>
        more.cleanUp?.(context, error, signal),
    }),
  };
  return made as unknown as WorkHandler<never, unknown, never>;
}

/** Resolves when the signal aborts, by throwing its reason. */
export function untilStopped(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
