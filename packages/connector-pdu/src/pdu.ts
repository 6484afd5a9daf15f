import { systemClock } from '@bringup/core';
import type { Clock, PowerConnector } from '@bringup/core';
import * as v from 'valibot';
import { PduConnector } from './connector.ts';
import type { PduDriver } from './driver.ts';
import { checked, milliseconds, optional, text } from './options.ts';

/** Options of {@link pdu}. */
export interface PduOptions {
  /**
   * The devices by the names that boards use for them, as `pduAddress` or `relayAddress`. A `usb_hub` or
   * `gpio_relay` need not be named by boards when it is the only one.
   */
  readonly devices: Readonly<Record<string, PduDriver>>;
  /** Name by which boards refer to the connector. Default `pdu`. */
  readonly name?: string;
  /**
   * An outlet must read back what it was switched to within this many milliseconds. Below
   * `limits.powerCallMs`, which bounds the whole call. Default: the driver's, mostly `limits.pduSettleMs`.
   */
  readonly settleMs?: number;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
}

const driver = v.custom<PduDriver>(
  (input) =>
    typeof input === 'object' &&
    input !== null &&
    (['switch', 'read', 'checkOutlet'] as const).every(
      (name) => typeof (input as Partial<PduDriver>)[name] === 'function',
    ) &&
    (['kind', 'address', 'method'] as const).every((name) => typeof (input as Partial<PduDriver>)[name] === 'string'),
  'must be a driver, such as netio({ … })',
);

const schema = v.object({
  devices: v.record(v.pipe(text, v.regex(/^[^/\s]+$/, 'must be a name without spaces and /')), driver),
  name: optional(text),
  settleMs: optional(milliseconds),
});

/**
 * Switches the power of boards by the devices it is given. Each change is read back where the device can
 * tell; one that did not happen is `power-failed`. Requests to one device are made one after the other.
 *
 * @example
 * ```ts
 * const power = pdu({
 *   devices: {
 *     'rack-1': apc({ host: '10.0.0.5', snmp: { version: 'v2c', community: new Secret('private') } }),
 *     desk: shellyGen2({ host: 'plug-3.lab' }),
 *   },
 * });
 * const outlet = await power.open({ method: 'network_pdu', pduAddress: 'rack-1', pduOutlet: '4' });
 * await outlet.off();
 * ```
 * @throws `invalid-input` with one issue per field.
 */
export function pdu(options: PduOptions): PowerConnector {
  checked('the pdu options', schema, options);
  const { devices, name = 'pdu', settleMs, clock = systemClock } = options;
  return new PduConnector(name, devices, { clock, settleMs });
}
