import type { PowerConnector, PowerOutlet } from '../contracts/power.ts';
import { invalidInput } from '../errors.ts';
import { powerMethods, type PowerControlConfig, type PowerMethod } from '../model/power.ts';
import type { MemoryPowerOutlet } from './memory-power.ts';

/** Options of {@link memoryPowerConnector}. */
export interface MemoryPowerConnectorOptions {
  /** Default `memory`. */
  readonly name?: string;
  /** Default: all but `manual`. */
  readonly methods?: readonly PowerMethod[];
}

/** Reaches outlets in memory, once they are attached. */
export function memoryPowerConnector(options: MemoryPowerConnectorOptions = {}): MemoryPowerConnector {
  return new MemoryPowerConnector(options);
}

/** {@link memoryPowerConnector}'s connector. */
export class MemoryPowerConnector implements PowerConnector {
  readonly name: string;
  readonly methods: readonly PowerMethod[];
  readonly #outlets = new Map<string, MemoryPowerOutlet>();

  constructor({
    name = 'memory',
    methods = powerMethods.filter((method) => method !== 'manual'),
  }: MemoryPowerConnectorOptions) {
    this.name = name;
    this.methods = methods;
  }

  /** Makes an outlet known under the name that configurations use: a PDU's outlet, a hub's port, a relay's pin. */
  attach(name: string, outlet: MemoryPowerOutlet): void {
    this.#outlets.set(name, outlet);
  }

  async open({ pduOutlet, usbHubPort, gpioPin }: PowerControlConfig): Promise<PowerOutlet> {
    const name = pduOutlet ?? usbHubPort ?? gpioPin ?? '';
    const outlet = this.#outlets.get(name);
    if (outlet === undefined) {
      throw invalidInput('the power control', [{ path: 'powerControl', message: `there is no outlet '${name}'` }]);
    }
    // The outlet itself stays for whoever opens it next.
    return {
      on: (options) => outlet.on(options),
      off: (options) => outlet.off(options),
      state: (options) => outlet.state(options),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  /** Lets go of the outlets, which keep their state. */
  async [Symbol.asyncDispose](): Promise<void> {}
}
