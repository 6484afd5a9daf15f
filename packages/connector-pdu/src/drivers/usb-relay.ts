import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { namedOutlets, type PduDriver } from '../driver.ts';
import { noSuchOutlet } from '../errors.ts';
import { checked } from '../options.ts';
import { CommandRunner, expectSuccess, shellFields, type ShellAccess } from '../shell/runner.ts';

/** Options of {@link usbRelay}. */
export type UsbRelayOptions = ShellAccess;

const schema = v.strictObject(shellFields);

/**
 * USB HID relay boards, with usbrelay on the machine they are plugged into. Outlets are `BOARD_RELAY` as
 * usbrelay lists them, such as `BITFT_1`. @throws `invalid-input`.
 */
export function usbRelay(options: UsbRelayOptions): PduDriver {
  checked('the usbRelay options', schema, options);
  const runner = new CommandRunner(options);
  return {
    kind: 'usbrelay',
    address: runner.address,
    method: 'gpio_relay',
    // Relay 0 would rename the board.
    checkOutlet: namedOutlets(/[A-Za-z0-9]{1,16}_[1-9]\d?/, 'BITFT_1'),
    async switch(outlet, wanted, call): Promise<void> {
      const answer = await runner.run(['usbrelay', `${outlet}=${wanted === 'on' ? 1 : 0}`], call);
      expectSuccess('usbrelay', answer);
    },
    async read(outlet, call): Promise<PowerState> {
      const answer = await runner.run(['usbrelay'], call);
      const lines = answer.stdout.split('\n').map((line) => line.trim());
      if (lines.includes(`${outlet}=1`)) return 'on';
      if (lines.includes(`${outlet}=0`)) return 'off';
      expectSuccess('usbrelay', answer);
      throw noSuchOutlet('usbrelay lists no such relay; is the board plugged in?');
    },
  };
}
