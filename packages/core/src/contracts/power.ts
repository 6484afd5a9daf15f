import type { PowerControlConfig, PowerMethod, PowerState } from '../model/power.ts';
import type { CallOptions } from './runtime.ts';

/** How long a command to an outlet may take, and whether it still may be given. */
export interface PowerSwitchOptions extends CallOptions {
  /**
   * Called right before the command goes out, with nothing to wait for in between; what it throws ends the call, and nothing is sent.
   * No outlet knows leases: whoever decided to switch may have stood still since, or waited for his turn at the device, and another process
   * may have the board by now.
   */
  readonly beforeSending?: () => void;
}

/**
 * The power of one board. Every set is read back where the device can tell: a change that did not
 * happen is `power-failed`, never a success.
 */
export interface PowerOutlet extends AsyncDisposable {
  /** @throws `power-failed`, `connection-failed`, `aborted`, `deadline-exceeded`; what `beforeSending` throws, perhaps as a cause. */
  on(options?: PowerSwitchOptions): Promise<void>;
  /** @throws as `on`. */
  off(options?: PowerSwitchOptions): Promise<void>;
  /** @throws as `on`. */
  state(options?: CallOptions): Promise<PowerState>;
}

/** Reaches the power of boards by one or more methods. `manual` needs no connector: a person switches. */
export interface PowerConnector extends AsyncDisposable {
  /** Name by which boards refer to it, such as `snmp` or `uhubctl`. */
  readonly name: string;
  /** Methods it serves. */
  readonly methods: readonly PowerMethod[];
  /**
   * The outlet that a configuration names. Requests to one device are serialised by the connector.
   * @throws `invalid-input` for a configuration it can't read, `connection-failed`,
   * `authentication-failed`, `dependency-missing`, `deadline-exceeded`, `aborted`.
   */
  open(config: PowerControlConfig, options?: CallOptions): Promise<PowerOutlet>;
}
