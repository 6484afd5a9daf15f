/** `unknown` where the device can't tell. */
export type PowerState = 'on' | 'off' | 'unknown';

/** How a board's power can be switched; `manual`: by a person. */
export const powerMethods = ['usb_hub', 'network_pdu', 'gpio_relay', 'manual'] as const;

/** How a board's power is switched. */
export type PowerMethod = (typeof powerMethods)[number];

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
