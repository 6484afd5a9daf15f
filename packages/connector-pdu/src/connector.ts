import { invalidInput, throwIfAborted } from '@bringup/core';
import type {
  CallOptions,
  PowerConnector,
  PowerControlConfig,
  PowerMethod,
  PowerOutlet,
  PowerState,
  PowerSwitchOptions,
} from '@bringup/core';
import { Device, type DeviceOptions } from './device.ts';
import type { PduDriver } from './driver.ts';

/** Where a board's configuration names its device and its outlet, by method. */
const fields = {
  network_pdu: { device: 'pduAddress', outlet: 'pduOutlet' },
  gpio_relay: { device: 'relayAddress', outlet: 'gpioPin' },
  usb_hub: { device: undefined, outlet: 'usbHubPort' },
} as const;

/** The outlets of the devices it was given. */
export class PduConnector implements PowerConnector {
  readonly name: string;
  readonly methods: readonly PowerMethod[];
  readonly #devices: ReadonlyMap<string, Device>;
  readonly #life = new AbortController();

  constructor(name: string, drivers: Readonly<Record<string, PduDriver>>, options: Omit<DeviceOptions, 'life'>) {
    this.name = name;
    const deviceOptions = { ...options, life: this.#life.signal };
    this.#devices = new Map(
      Object.entries(drivers).map(([key, driver]) => [key, new Device(key, driver, deviceOptions)]),
    );
    this.methods = [...new Set([...this.#devices.values()].map(({ driver }) => driver.method))];
  }

  async open(config: PowerControlConfig, { signal }: CallOptions = {}): Promise<PowerOutlet> {
    this.#check();
    throwIfAborted(signal, 'opening an outlet');
    const [device, outlet, path] = this.#find(config);
    const wrong = device.driver.checkOutlet(outlet);
    if (wrong !== undefined) {
      throw unfit(path, `'${outlet}' ${wrong}, as the outlets of ${device.name} (${device.driver.kind}) are named`);
    }
    return new PduOutlet(device, outlet, () => this.#check());
  }

  /** Ends the calls under way with `aborted`. The outlets stay as they are. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new TypeError('The pdu connector has been disposed.'));
  }

  #check(): void {
    if (this.#life.signal.aborted) throw new TypeError('The pdu connector has been disposed.');
  }

  #find(config: PowerControlConfig): [device: Device, outlet: string, path: string] {
    if (config.method === 'manual') throw unfit('method', 'a person switches it; no connector can');
    const { device: deviceField, outlet: outletField } = fields[config.method];
    const outlet = config[outletField];
    if (outlet === undefined) throw unfit(outletField, `a ${config.method} needs it`);
    if (deviceField !== undefined && config[deviceField] !== undefined) {
      return [this.#named(config[deviceField], config.method, deviceField), outlet, outletField];
    }
    // A hub has no address of its own: with several machines, the port's name begins with the machine's.
    const slash = config.method === 'usb_hub' ? outlet.indexOf('/') : -1;
    if (slash >= 0) {
      return [this.#named(outlet.slice(0, slash), config.method, outletField), outlet.slice(slash + 1), outletField];
    }
    return [this.#only(config.method, deviceField ?? outletField), outlet, outletField];
  }

  #named(name: string, method: PowerMethod, path: string): Device {
    const device = this.#devices.get(name);
    if (device === undefined) throw unfit(path, `there is no device '${name}'; ${this.#known(method)}`);
    if (device.driver.method === method) return device;
    throw unfit(path, `'${name}' is a ${device.driver.method}, and no ${method}`);
  }

  /** Where there is one device only, it need not be named. */
  #only(method: PowerMethod, path: string): Device {
    const devices = [...this.#devices.values()].filter(({ driver }) => driver.method === method);
    const [device] = devices;
    if (device === undefined || devices.length > 1) {
      const how = method === 'usb_hub' ? 'name the device in front of the port, as in DEVICE/1-1:2' : 'name the device';
      throw unfit(path, `${how}; ${this.#known(method)}`);
    }
    return device;
  }

  #known(method: PowerMethod): string {
    const names = [...this.#devices.values()].filter(({ driver }) => driver.method === method).map(({ name }) => name);
    return `the connector '${this.name}' has ${names.length === 0 ? `no ${method}` : names.join(', ')}`;
  }
}

function unfit(field: string, message: string): Error {
  return invalidInput('the power control', [{ path: `powerControl.${field}`, message }]);
}

/** One outlet, as whoever opened it holds it. */
class PduOutlet implements PowerOutlet {
  readonly #device: Device;
  readonly #outlet: string;
  readonly #check: () => void;
  #disposed = false;

  constructor(device: Device, outlet: string, check: () => void) {
    this.#device = device;
    this.#outlet = outlet;
    this.#check = check;
  }

  async on(options?: PowerSwitchOptions): Promise<void> {
    this.#open();
    return this.#device.set(this.#outlet, 'on', options);
  }

  async off(options?: PowerSwitchOptions): Promise<void> {
    this.#open();
    return this.#device.set(this.#outlet, 'off', options);
  }

  async state(options?: CallOptions): Promise<PowerState> {
    this.#open();
    return this.#device.state(this.#outlet, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
  }

  #open(): void {
    this.#check();
    if (this.#disposed) throw new TypeError(`Outlet ${this.#outlet} of ${this.#device.name} has been disposed.`);
  }
}
