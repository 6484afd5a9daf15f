import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { type DriverCall, namedOutlets, type PduDriver } from '../driver.ts';
import { failed, noSuchOutlet, refused } from '../errors.ts';
import { checked } from '../options.ts';
import { CommandRunner, excerpt, expectSuccess, shellFields, type ShellAccess } from '../shell/runner.ts';

/** Options of {@link uhubctl}. */
export type UhubctlOptions = ShellAccess;

const schema = v.strictObject(shellFields);

/**
 * Ports of USB hubs that can switch each port, with uhubctl on the machine they are plugged into. Outlets
 * are `LOCATION:PORT`, such as `1-1.4:2`. Some ports power themselves again at once: that is read back,
 * and tried again. @throws `invalid-input`.
 */
export function uhubctl(options: UhubctlOptions): PduDriver {
  checked('the uhubctl options', schema, options);
  const runner = new CommandRunner(options);
  const run = async (outlet: string, action: readonly string[], call: DriverCall): Promise<string> => {
    const [location = '', port = ''] = outlet.split(':');
    const answer = await runner.run(['uhubctl', '-l', location, '-p', port, ...action], call);
    const said = answer.stdout + answer.stderr;
    if (/permission/i.test(said)) {
      throw refused(`uhubctl may not use the hub; add its udev rules or run it as root: ${excerpt(said)}`);
    }
    if (/No compatible devices/i.test(said)) {
      throw noSuchOutlet(`there is no hub at ${location} that switches its ports; 'uhubctl' lists those there are`);
    }
    expectSuccess('uhubctl', answer);
    return answer.stdout;
  };
  return {
    kind: 'uhubctl',
    address: runner.address,
    method: 'usb_hub',
    checkOutlet: namedOutlets(/\d+(?:-\d+(?:\.\d+)*)?:\d{1,2}/, '1-1.4:2'),
    repeats: 2,
    settleMs: 1_500,
    switch: async (outlet, wanted, call): Promise<void> => void (await run(outlet, ['-a', wanted], call)),
    async read(outlet, call): Promise<PowerState> {
      const port = outlet.split(':')[1] ?? '';
      const lines = (await run(outlet, [], call)).matchAll(/^\s*Port (\d+): [0-9a-f]{4}(.*)$/gm);
      // A USB 3 hub is listed twice, as the two hubs it is: the port has power while either gives it.
      const states = [...lines].filter(([, number]) => number === port).map(([, , words]) => stateIn(words ?? ''));
      if (states.length === 0) throw failed('uhubctl says nothing about this port');
      return states.includes('on') ? 'on' : states.every((state) => state === 'off') ? 'off' : 'unknown';
    },
  };
}

function stateIn(words: string): PowerState {
  if (/\bpower\b/.test(words)) return 'on';
  return /\boff\b/.test(words) ? 'off' : 'unknown';
}
