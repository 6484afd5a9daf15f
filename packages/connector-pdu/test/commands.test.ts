import { inspect } from 'node:util';
import {
  BringupError,
  localShell,
  Secret,
  type PowerConnector,
  type PowerControlConfig,
  type ShellConnector,
} from '@bringup/core';
import { powerContract } from '@bringup/core/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { commandPower, gpio, ipmi, pdu, uhubctl, usbRelay, type PduDriver } from '../src/index.ts';
import { hastyClock } from './fixtures/clock.ts';
import { Commands } from './fixtures/commands.ts';

interface Case {
  readonly name: string;
  readonly config: PowerControlConfig;
  /** The state's name in the fixture, and its value when the outlet is on. */
  readonly state: string;
  readonly on?: '0' | '1';
  readonly tellsState?: false;
  readonly mark?: string;
  readonly driver: (shell: ShellConnector) => PduDriver;
}

const gpioConfig = { method: 'gpio_relay', gpioPin: 'gpiochip0:17' } as const;
const password = new Secret('sesame');

const relayctl = (shell: ShellConnector, stdin = password): PduDriver =>
  commandPower({
    shell,
    on: ['relayctl', 'set', '{outlet}', '1'],
    off: ['relayctl', 'set', '{outlet}', '0'],
    state: { argv: ['relayctl', 'get', '{outlet}'], on: /^closed$/m, off: /^open$/m },
    stdin,
  });
const bmc = (shell: ShellConnector, secret = password): PduDriver =>
  ipmi({ shell, host: 'bmc-3.lab', username: 'admin', password: secret, cipherSuite: 17 });

const cases: readonly Case[] = [
  {
    name: 'uhubctl',
    config: { method: 'usb_hub', usbHubPort: '1-1.4:2' },
    state: '2',
    driver: (shell) => uhubctl({ shell }),
  },
  { name: 'gpio', config: gpioConfig, state: '17', driver: (shell) => gpio({ shell }) },
  {
    name: 'gpio, active low',
    config: gpioConfig,
    state: '17',
    on: '0',
    driver: (shell) => gpio({ shell, activeLow: true }),
  },
  {
    name: 'gpio with libgpiod 1',
    config: gpioConfig,
    state: '17',
    tellsState: false,
    mark: 'v1',
    driver: (shell) => gpio({ shell, libgpiod: 1 }),
  },
  {
    name: 'usbrelay',
    config: { method: 'gpio_relay', gpioPin: 'BITFT_2' },
    state: 'BITFT_2',
    driver: (shell) => usbRelay({ shell }),
  },
  {
    name: 'ipmi',
    config: { method: 'network_pdu', pduAddress: 'dev', pduOutlet: 'chassis' },
    state: 'chassis',
    driver: bmc,
  },
  {
    name: 'a command',
    config: { method: 'network_pdu', pduAddress: 'dev', pduOutlet: 'k1' },
    state: 'k1',
    driver: relayctl,
  },
];

let commands: Commands;
const shells: ShellConnector[] = [];

function open(driver: (shell: ShellConnector) => PduDriver): PowerConnector {
  const shell = localShell();
  shells.push(shell);
  return pdu({ devices: { dev: driver(shell) }, settleMs: 1, clock: hastyClock });
}

beforeEach(async () => {
  commands = await Commands.make();
  vi.stubEnv('PATH', `${commands.folder}:${process.env['PATH']}`);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all(shells.splice(0).map((shell) => shell[Symbol.asyncDispose]()));
  await commands[Symbol.asyncDispose]();
});

for (const { name, config, state, on = '1', tellsState = true, mark, driver } of cases) {
  powerContract({
    name,
    setup: async () => {
      if (mark !== undefined) await commands.mark(mark);
      let reachable = true;
      const shell = localShell();
      shells.push(shell);
      const connector = open(() => driver(switchable(shell, () => reachable)));
      return {
        outlet: await connector.open(config),
        tellsState,
        actual: async () => ((await commands.value(state)) === on ? 'on' : 'off'),
        stick: () => commands.mark('stuck'),
        disconnect: () => void (reachable = false),
        dispose: async () => connector[Symbol.asyncDispose](),
      };
    },
  });
}

/** A shell whose machine can go away. */
function switchable(shell: ShellConnector, reachable: () => boolean): ShellConnector {
  return {
    name: shell.name,
    connect: async (target, options) => {
      if (reachable()) return shell.connect(target, options);
      throw new BringupError('connection-failed', 'the machine does not answer', { retryable: true });
    },
    [Symbol.asyncDispose]: () => shell[Symbol.asyncDispose](),
  };
}

describe('commands that switch', () => {
  const bmcOutlet = { method: 'network_pdu', pduAddress: 'dev', pduOutlet: 'chassis' } as const;
  const relayOutlet = { method: 'network_pdu', pduAddress: 'dev', pduOutlet: 'k1' } as const;
  const port = { method: 'usb_hub', usbHubPort: '1-1.4:2' } as const;

  it('a USB port that powers itself again is switched off again', async () => {
    const outlet = await open((shell) => uhubctl({ shell })).open(port);
    await outlet.on();
    await commands.mark('again', 'once\ntwice\n');
    await outlet.off();
    expect(await outlet.state()).toBe('off');
    expect((await commands.calls()).filter((line) => line.includes('-a off'))).toHaveLength(3);
  });

  it('one that does so for ever has not switched', async () => {
    const outlet = await open((shell) => uhubctl({ shell })).open(port);
    await outlet.on();
    await commands.mark('again', 'x\n'.repeat(100));
    await expect(outlet.off()).rejects.toMatchObject({
      code: 'power-failed',
      details: { wanted: 'off', actual: 'on' },
    });
  });

  it('on a machine that was reached too late are not run', async () => {
    let reached = false;
    const outlet = await open((shell) => uhubctl({ shell: switchable(shell, () => (reached = true)) })).open(port);
    const beforeSending = (): void => {
      if (reached) throw new BringupError('aborted', 'it is too late by now');
    };
    await expect(outlet.on({ beforeSending })).rejects.toThrow('it is too late by now');
    expect(reached).toBe(true);
    expect(await commands.calls()).toEqual([]);
  });

  it('a hub that is not there, or may not be used, says what to do', async () => {
    const connector = open((shell) => uhubctl({ shell }));
    const missing = await connector.open({ method: 'usb_hub', usbHubPort: '3-7:1' });
    await expect(missing.on()).rejects.toMatchObject({ code: 'invalid-input' });
    await commands.mark('broken', 'There were permission problems while accessing USB.\n');
    const refused = await connector.open(port);
    await expect(refused.on()).rejects.toMatchObject({
      code: 'authentication-failed',
      message: expect.stringContaining('udev') as string,
    });
  });

  it('a password reaches ipmitool in its environment and no command line, and a wrong one is told apart', async () => {
    await (await open(bmc).open(bmcOutlet)).on();
    expect(await commands.calls()).toContain(
      'ipmitool -v -I lanplus -H bmc-3.lab -p 623 -U admin -E -R 2 -N 1 -C 17 chassis power on',
    );
    expect((await commands.calls()).join()).not.toContain('sesame');
    const wrong = await open((shell) => bmc(shell, new Secret('guess'))).open(bmcOutlet);
    const error: unknown = await wrong.on().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'authentication-failed', retryable: false });
    expect(inspect(error, { depth: 10 })).not.toContain('guess');
  });

  it('a user who may look but not switch is told so', async () => {
    await commands.mark('broken', 'Set Chassis Power Control to Up/On failed: Insufficient privilege level\n');
    const outlet = await open(bmc).open(bmcOutlet);
    await expect(outlet.on()).rejects.toMatchObject({
      code: 'authentication-failed',
      message: expect.stringContaining('may not switch') as string,
    });
  });

  it('a BMC that is away may come back', async () => {
    await commands.mark('away');
    const outlet = await open(bmc).open(bmcOutlet);
    await expect(outlet.on()).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
    await expect(outlet.state()).rejects.toMatchObject({ code: 'connection-failed', retryable: true });
  });

  it('what a command repeats of its secret input is not in the error', async () => {
    const outlet = await open((shell) => relayctl(shell, new Secret('guess'))).open(relayOutlet);
    const error: unknown = await outlet.on().catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'power-failed',
      details: { exitCode: 3 },
      message: expect.stringContaining('[secret] is wrong') as string,
    });
    expect(inspect(error, { depth: 10 })).not.toContain('guess');
  });

  it('a command that is not installed is a missing dependency, by its name', async () => {
    vi.stubEnv('PATH', await commands.only());
    for (const [name, driver, config] of [
      ['uhubctl', (shell: ShellConnector) => uhubctl({ shell }), port],
      ['usbrelay', (shell: ShellConnector) => usbRelay({ shell }), { method: 'gpio_relay', gpioPin: 'BITFT_1' }],
      ['ipmitool', bmc, bmcOutlet],
      ['relayctl', relayctl, relayOutlet],
    ] as const) {
      await commands.remove(name);
      const outlet = await open(driver).open(config);
      await expect(outlet.on()).rejects.toMatchObject({
        code: 'dependency-missing',
        details: { program: name },
        message: expect.stringContaining(name) as string,
      });
    }
  });

  it('an outlet’s name is never looked at by a shell, nor taken for an option', async () => {
    const connector = open(relayctl);
    for (const pduOutlet of ['$(touch x)', '-rf', 'a;b', 'a b', "'", 'x\ny']) {
      await expect(connector.open({ ...relayOutlet, pduOutlet })).rejects.toMatchObject({
        code: 'invalid-input',
        details: { issues: [{ path: 'powerControl.pduOutlet' }] },
      });
    }
  });

  it('libgpiod’s other version is recognised, and nothing is taken for switched', async () => {
    await commands.mark('v1');
    const outlet = await open((shell) => gpio({ shell })).open(gpioConfig);
    await expect(outlet.on()).rejects.toMatchObject({
      code: 'power-failed',
      message: expect.stringContaining('set libgpiod') as string,
    });
    await commands.remove('v1');
    const other = await open((shell) => gpio({ shell, libgpiod: 1 })).open(gpioConfig);
    await expect(other.on()).rejects.toMatchObject({ code: 'power-failed' });
  });

  it('a relay board that is unplugged is told from a relay that is off', async () => {
    const outlet = await open((shell) => usbRelay({ shell })).open({ method: 'gpio_relay', gpioPin: 'OTHER_1' });
    await expect(outlet.state()).rejects.toMatchObject({ code: 'invalid-input' });
  });
});
