import type { CallOptions } from './runtime.ts';

/** `unknown` where the device can't tell. */
export type PowerState = 'on' | 'off' | 'unknown';

/**
 * The power of one board. Every set is read back where the device can tell: a change that did not
 * happen is `power-failed`, never a success.
 */
export interface PowerOutlet extends AsyncDisposable {
  /** @throws `power-failed`, `connection-failed`, `aborted`, `deadline-exceeded`. */
  on(options?: CallOptions): Promise<void>;
  /** @throws as `on`. */
  off(options?: CallOptions): Promise<void>;
  /** @throws as `on`. */
  state(options?: CallOptions): Promise<PowerState>;
}
