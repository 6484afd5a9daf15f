import type { Clock } from '../contracts/runtime.ts';
import { toBringupError } from '../errors.ts';
import { operations, type ConnectorType, type Operation, type Operations } from './operations.ts';
import type { Attributes } from './tally.ts';
import type { Telemetry } from './telemetry.ts';

/** Measures what is asked of connectors, in one place for all of them. */
export class CallMeter {
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;

  constructor(telemetry: Telemetry, clock: Clock) {
    this.#telemetry = telemetry;
    this.#clock = clock;
  }

  /** The connector, whose calls are measured, and those of whatever it opens. All else of it is as it was. */
  connector<C extends object>(type: ConnectorType, connector: C): C {
    const { name } = connector as { readonly name?: unknown };
    const attributes = {
      'bringup.connector.type': type,
      ...(typeof name === 'string' && { 'bringup.connector.name': name }),
    };
    return this.#measured(connector, operations[type], attributes, undefined);
  }

  #measured<T extends object>(given: T, measured: Operations, attributes: Attributes, target: string | undefined): T {
    const wrapped = new Map<string | symbol, { readonly method: unknown; readonly call: unknown }>();
    // Not over the object itself: what is frozen could not be wrapped.
    return new Proxy(Object.create(Object.getPrototypeOf(given) as object | null) as T, {
      get: (_proxied, key) => {
        const method: unknown = Reflect.get(given, key, given);
        if (typeof method !== 'function') return method;
        const known = wrapped.get(key);
        if (known?.method === method) return known.call;
        const operation = typeof key === 'string' && Object.hasOwn(measured, key) ? measured[key] : undefined;
        const plain = (...args: unknown[]): unknown => Reflect.apply(method, given, args);
        const call = operation === undefined ? plain : this.#call(String(key), operation, plain, attributes, target);
        wrapped.set(key, { method, call });
        return call;
      },
      has: (_proxied, key) => Reflect.has(given, key),
      ownKeys: () => Reflect.ownKeys(given),
      getOwnPropertyDescriptor: (_proxied, key) => {
        const own = Reflect.getOwnPropertyDescriptor(given, key);
        return own && { ...own, configurable: true };
      },
      set: (_proxied, key, value) => Reflect.set(given, key, value, given),
    });
  }

  #call(
    name: string,
    operation: Operation,
    method: (...args: unknown[]) => unknown,
    of: Attributes,
    knownTarget: string | undefined,
  ): (...args: unknown[]) => unknown {
    const attributes = { ...of, 'bringup.connector.operation': name };
    if (operation.streams === true) {
      return (...args) =>
        this.#stream(
          () => method(...args) as AsyncIterable<unknown>,
          () => this.#begin(name, operation, attributes, knownTarget),
        );
    }
    return async (...args) => {
      const target = knownTarget ?? operation.target?.(args[0]);
      const call = this.#begin(name, operation, attributes, target);
      try {
        const result = await call.within(() => method(...args));
        call.end();
        return operation.opens === undefined || typeof result !== 'object' || result === null
          ? result
          : this.#measured(result, operation.opens, of, target);
      } catch (error) {
        call.end(error);
        throw error;
      }
    };
  }

  async *#stream(open: () => AsyncIterable<unknown>, begin: () => Call): AsyncGenerator<unknown, void, undefined> {
    const call = begin();
    try {
      yield* call.within(open);
      call.end();
    } catch (error) {
      call.end(error);
      throw error;
    } finally {
      // Its caller had enough: that is as good as the end.
      call.end();
    }
  }

  #begin(name: string, { small }: Operation, attributes: Attributes, target: string | undefined): Call {
    const at = this.#clock.now();
    const span =
      small === true
        ? undefined
        : this.#telemetry.begin({
            name: `${String(attributes['bringup.connector.type'])}.${name}`,
            role: 'client',
            at,
            attributes: { ...attributes, ...(target !== undefined && { 'server.address': target }) },
          });
    let ended = false;
    return {
      within: (act) => (span === undefined ? act() : span.within(act)),
      end: (error) => {
        if (ended) return;
        ended = true;
        const code = error === undefined ? undefined : toBringupError(error).code;
        const now = this.#clock.now();
        const seconds = Math.max(0, now - at) / 1000;
        this.#telemetry.record('callDuration', seconds, {
          ...attributes,
          ...(code !== undefined && { 'error.type': code }),
        });
        span?.end(now, {}, code);
      },
    };
  }
}

/** A call under way. */
interface Call {
  within<T>(act: () => T): T;
  /** Ends it; the first time counts. */
  end(error?: unknown): void;
}
