import type { PowerState } from '@bringup/core';
import * as v from 'valibot';
import { type DriverCall, namedOutlets, type PduDriver } from '../driver.ts';
import { failed } from '../errors.ts';
import { checked, optional } from '../options.ts';
import { CommandRunner, expectSuccess, shellFields, type ShellAccess } from '../shell/runner.ts';

/** Options of {@link gpio}. */
export interface GpioOptions extends ShellAccess {
  /** The relay closes when its line is low. Default false. */
  readonly activeLow?: boolean;
  /**
   * Major version of libgpiod's tools on the machine: Debian 13 has 2, Debian 12 has 1. Version 1 can't
   * read a line without turning it into an input, which would drop the relay: with it, nothing is read
   * back. Default 2.
   */
  readonly libgpiod?: 1 | 2;
}

const schema = v.strictObject({
  ...shellFields,
  activeLow: optional(v.boolean('must be true or false')),
  libgpiod: optional(v.picklist([1, 2], 'must be 1 or 2')),
});

/**
 * Relays on GPIO lines, with libgpiod's tools on the machine that has them. Outlets are `CHIP:LINE`, such
 * as `gpiochip0:17`. The chip's driver must keep a line's level when nobody holds the line, as nearly all
 * do. @throws `invalid-input`.
 */
export function gpio(options: GpioOptions): PduDriver {
  const { activeLow = false, libgpiod = 2 } = checked('the gpio options', schema, options);
  const runner = new CommandRunner(options);
  const low = activeLow ? ['--active-low'] : [];
  const run = async (argv: readonly string[], call: DriverCall): Promise<string> => {
    const answer = await runner.run(argv, call);
    if (/unrecognized option|invalid option/i.test(answer.stderr)) {
      throw failed(`${argv[0]} there is not libgpiod ${libgpiod}'s; set libgpiod to the version it has`);
    }
    expectSuccess(argv[0] ?? '', answer);
    return answer.stdout.trim();
  };
  return {
    kind: 'gpio',
    address: runner.address,
    method: 'gpio_relay',
    tellsState: libgpiod === 2,
    checkOutlet: namedOutlets(/[A-Za-z0-9_.][A-Za-z0-9_.-]*:\d{1,4}/, 'gpiochip0:17'),
    async switch(outlet, wanted, call): Promise<void> {
      const [chip = '', line = ''] = outlet.split(':');
      const setting = `${line}=${wanted === 'on' ? 1 : 0}`;
      // Version 2 would hold the line until it is ended; to toggle after 0 means: set it and go.
      const how = libgpiod === 2 ? ['-t0', '-c', chip] : ['--mode=exit', chip];
      await run(['gpioset', ...low, ...how, setting], call);
    },
    async read(outlet, call): Promise<PowerState> {
      const [chip = '', line = ''] = outlet.split(':');
      if (libgpiod === 1) {
        await run(['gpioset', '--version'], call);
        return 'unknown';
      }
      const value = await run(['gpioget', ...low, '--as-is', '--numeric', '-c', chip, line], call);
      if (value === '1') return 'on';
      if (value === '0') return 'off';
      throw failed(`gpioget says '${value.slice(0, 50)}', which is neither 0 nor 1`);
    },
  };
}
