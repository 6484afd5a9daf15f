import type { Clock, PowerMethod, PowerState } from '@bringup/core';

/** What each call of a driver's function comes with. */
export interface DriverCall {
  /** Aborts when nobody waits for the call any more. The function then ends soon, and starts nothing new. */
  readonly signal: AbortSignal;
  /** The time that waits and deadlines go by. */
  readonly clock: Clock;
  /**
   * Throws when it is too late to send a command. Called before the driver is; a driver that has to connect or log in
   * calls it once more when it has, and sends the command at once.
   */
  readonly beforeSending: () => void;
}

/**
 * Says what is wrong with an outlet's name, in words that go on from its quotation, such as `is not a
 * number from 1 to 8`; undefined when nothing is.
 */
export type OutletCheck = (outlet: string) => string | undefined;

/**
 * How one device is driven. A driver does one thing at a time and keeps nothing; all that is the same
 * for every device is done around it: calls to one device come one after the other, what was switched
 * is read back, deadlines end calls, and errors are given the names of the device and the outlet.
 *
 * docs/writing-a-connector.md shows a driver.
 */
export interface PduDriver {
  /** What it drives, in messages: `netio`. */
  readonly kind: string;
  /** Where the device is, in messages: `10.0.0.7:8080`. */
  readonly address: string;
  /** How boards refer to its outlets, see `PowerControlConfig`. */
  readonly method: Exclude<PowerMethod, 'manual'>;
  /** Asked when a board's outlet is opened, before anything is sent. */
  readonly checkOutlet: OutletCheck;
  /** Whether the device can tell what its outlets are. Without, nothing is read back. Default true. */
  readonly tellsState?: boolean;
  /** An outlet reads back what it was switched to within this time, unless the user says otherwise. Default `limits.pduSettleMs`. */
  readonly settleMs?: number;
  /** How often an outlet is switched once more when it reads back otherwise. Default 0. */
  readonly repeats?: number;
  /**
   * Tells the device to switch. Need not wait until it has: that is read back.
   * @throws `connection-failed` (retryable; `details.sent: false` when the device can't have heard of it),
   * `authentication-failed`, `power-failed`, `invalid-input` for an outlet that the device does not have.
   */
  switch(outlet: string, wanted: 'on' | 'off', call: DriverCall): Promise<void>;
  /**
   * What the device says; `unknown` while it is between the two. Safe to repeat. Of a device that can't tell,
   * it makes sure that it is there. @throws as `switch`.
   */
  read(outlet: string, call: DriverCall): Promise<PowerState>;
}

/** Outlets that are numbers. Default: from 1 on. */
export function numberedOutlets({
  min = 1,
  max = 999,
}: { readonly min?: number; readonly max?: number } = {}): OutletCheck {
  return (outlet) => {
    const right = /^(?:0|[1-9]\d{0,5})$/.test(outlet) && Number(outlet) >= min && Number(outlet) <= max;
    return right ? undefined : `is not a number from ${min} to ${max}`;
  };
}

/** Outlets whose whole name matches. `like` is an example, for the message. */
export function namedOutlets(pattern: RegExp, like: string): OutletCheck {
  const whole = new RegExp(`^(?:${pattern.source})$`, pattern.flags.replaceAll(/[gy]/g, ''));
  return (outlet) => (whole.test(outlet) ? undefined : `is not like ${like}`);
}
