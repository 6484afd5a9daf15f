import type { StoredError } from '../errors.ts';

/** `unknown` where the device can't tell. */
export type PowerState = 'on' | 'off' | 'unknown';

/** How a board's power can be switched; `manual`: by a person. */
export const powerMethods = ['usb_hub', 'network_pdu', 'gpio_relay', 'manual'] as const;

/** How a board's power is switched. */
export type PowerMethod = (typeof powerMethods)[number];

/**
 * How a power cycle goes: off, a delay, on, then the board is watched until it answers. Every field has
 * a default.
 */
export interface PowerSequence {
  /** Wait before the power is cut. Default 0. */
  readonly beforeOffMs?: number;
  /** The power stays off for this long. Default {@link Limits.powerOffMs}. */
  readonly offMs?: number;
  /** Wait after the power is back before the board is asked for the first time. Default 0. */
  readonly afterOnMs?: number;
  /** The board must answer within this time after that. Default {@link Limits.boardRecoveryMs}. */
  readonly recoveryMs?: number;
}

/** What is done to a board's power. */
export type PowerAction = 'on' | 'off' | 'cycle';

/**
 * Why it is done: somebody asked (`request`), the board could not be reached (`recovery`), or it hung
 * while it was in use (`hang`).
 */
export type PowerTrigger = 'request' | 'recovery' | 'hang';

/** What becomes of a board that hangs during a test. */
export type HangPolicy = 'power-cycle' | 'leave';

/**
 * How it went. `answered`: the board was seen to come back. `switched`: the power was switched, and
 * nothing more was to be watched. `asked`: its power is switched by hand, and a person was asked to.
 */
export type PowerResult = 'answered' | 'switched' | 'asked';

/** One entry of a board's power history. Times are milliseconds since the Unix epoch. */
export interface PowerEvent {
  /** Also the id of the work item that does it. */
  readonly id: string;
  readonly boardId: string;
  readonly action: PowerAction;
  readonly trigger: PowerTrigger;
  /** Who asked for it. */
  readonly by: string;
  /** Why, for a person. */
  readonly reason: string;
  readonly state: 'pending' | 'succeeded' | 'failed' | 'cancelled';
  readonly result?: PowerResult;
  readonly error?: StoredError;
  /** Times the power was cut. */
  readonly cycles: number;
  /** When the power was cut last. */
  readonly offAt?: number;
  /** When it was given last. */
  readonly onAt?: number;
  /** When the board was seen to answer again. */
  readonly answeredAt?: number;
  readonly createdAt: number;
  readonly finishedAt?: number;
}

/** What is known of a board's power. */
export interface PowerStatus {
  readonly boardId: string;
  readonly control: PowerControlConfig;
  readonly sequence: Required<PowerSequence>;
  /** Read from the device; `unknown` where it can't tell, or where a person switches. */
  readonly state: PowerState;
  /** What is being done to it right now. */
  readonly underWay?: PowerEvent;
  /** Set when a person has to look after it: what happened and what to do. */
  readonly intervention?: string;
}

/** Where a board's power is switched. Which of the fields are needed depends on the method. */
export interface PowerControlConfig {
  readonly method: PowerMethod;
  /** Name of the power connector. Default: the first one of the lab that serves the method. */
  readonly power?: string;
  /** `usb_hub`: hub location and port as uhubctl names them, such as `1-1.4:2`. */
  readonly usbHubPort?: string;
  /** `network_pdu`: host name or address of the unit, with its port where that is not the usual one. */
  readonly pduAddress?: string;
  /** `network_pdu`: number or name of the outlet. */
  readonly pduOutlet?: string;
  /** `gpio_relay`: chip and line, such as `gpiochip0:17`. */
  readonly gpioPin?: string;
  /** `gpio_relay`: machine or device the relay hangs on. */
  readonly relayAddress?: string;
}
