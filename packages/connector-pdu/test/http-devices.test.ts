import { inspect } from 'node:util';
import { isBringupError, limits, Secret, type PowerOutlet } from '@bringup/core';
import { fakeClock, powerContract, type FakeClock } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import {
  gude,
  httpPower,
  netio,
  pdu,
  pdudaemon,
  redfish,
  shellyGen1,
  shellyGen2,
  tasmota,
  type PduDriver,
} from '../src/index.ts';
import { hastyClock } from './fixtures/clock.ts';
import * as fake from './fixtures/devices.ts';
import type { Fault, HttpDevice, HttpDeviceOptions } from './fixtures/http-device.ts';

interface Case {
  readonly name: string;
  readonly outlet: string;
  readonly missing?: string;
  /** How the device lets people in; undefined where it has no such thing. */
  readonly scheme?: 'Basic' | 'MD5' | 'SHA-256';
  readonly device: (options: HttpDeviceOptions, password: string) => HttpDevice;
  readonly driver: (host: string, password: Secret) => PduDriver;
}

const password = 'sesame-öffne-dich "&?';

const cases: readonly Case[] = [
  {
    name: 'netio',
    outlet: '3',
    missing: '9',
    scheme: 'Basic',
    device: (options) => new fake.NetioDevice(options),
    driver: (host, secret) => netio({ host, username: 'tester', password: secret }),
  },
  {
    name: 'gude',
    outlet: '8',
    missing: '9',
    scheme: 'Basic',
    device: (options) => new fake.GudeDevice(options),
    driver: (host, secret) => gude({ host, username: 'tester', password: secret }),
  },
  {
    name: 'tasmota',
    outlet: '1',
    missing: '2',
    device: (_, wanted) => Object.assign(new fake.TasmotaDevice(), { password: wanted }),
    driver: (host, secret) => tasmota({ host, password: secret }),
  },
  {
    name: 'shelly gen1',
    outlet: '0',
    scheme: 'Basic',
    device: (options) => new fake.ShellyGen1Device(options),
    driver: (host, secret) => shellyGen1({ host, username: 'tester', password: secret }),
  },
  {
    name: 'shelly gen2',
    outlet: '3',
    missing: '4',
    scheme: 'SHA-256',
    device: (options) => new fake.ShellyGen2Device(options),
    driver: (host, secret) => shellyGen2({ host, password: secret }),
  },
  {
    name: 'redfish',
    outlet: '1',
    missing: '2',
    scheme: 'Basic',
    device: (options) => new fake.RedfishDevice(options),
    driver: (host, secret) => redfish({ host, https: false, username: 'tester', password: secret }),
  },
  {
    name: 'generic http',
    outlet: 'desk:4',
    scheme: 'MD5',
    device: (options) => new fake.PlainDevice(options),
    driver: (host, secret) =>
      httpPower({
        host,
        username: 'tester',
        password: secret,
        on: { method: 'PUT', path: '/sockets/{outlet}', body: 'closed' },
        off: { method: 'PUT', path: '/sockets/{outlet}', body: 'open' },
        state: { path: '/sockets/{outlet}', on: /\bclosed\b/, off: /\bopen\b/g },
      }),
  },
];

async function deviceOf({ device, scheme }: Case): Promise<HttpDevice> {
  const username = scheme === 'SHA-256' ? 'admin' : 'tester';
  return device(scheme === undefined ? {} : { login: { scheme, username, password } }, password).start();
}

/** Time that goes by only while the device has been asked something. */
function passing(device: HttpDevice): FakeClock {
  const clock = fakeClock();
  let moved: Promise<void> = Promise.resolve();
  device.onRequest = () => {
    moved = moved.then(() => clock.advance(limits.pduRequestMs + limits.pduPollMs));
  };
  return clock;
}

interface Failing {
  readonly secret?: string;
  readonly outlet?: string;
  readonly act?: (outlet: PowerOutlet) => Promise<unknown>;
}

/** The device with a fault, and how an outlet of it fails. */
async function failureOf(
  entry: Case,
  prepare: (device: HttpDevice) => void,
  { secret = password, outlet = entry.outlet, act = (o) => o.on() }: Failing,
): Promise<unknown> {
  await using device = await deviceOf(entry);
  prepare(device);
  const clock = device.fault === 'silent' ? passing(device) : hastyClock;
  const devices = { dev: entry.driver(device.host, new Secret(secret)) };
  await using connector = pdu({ devices, clock, settleMs: 30 });
  const opened = await connector.open({ method: 'network_pdu', pduAddress: 'dev', pduOutlet: outlet });
  const error: unknown = await act(opened).then(
    () => 'success',
    (reason: unknown) => reason,
  );
  expect(inspect(error, { depth: 10 }) + JSON.stringify(error)).not.toContain(secret);
  return error;
}

describe.each(cases)('$name', (entry) => {
  const { outlet: name, driver } = entry;

  powerContract({
    name: entry.name,
    setup: async () => {
      const device = await deviceOf(entry);
      const connector = pdu({
        devices: { dev: driver(device.host, new Secret(password)) },
        settleMs: 30,
        clock: hastyClock,
      });
      const outlet = await connector.open({ method: 'network_pdu', pduAddress: 'dev', pduOutlet: name });
      return {
        outlet,
        tellsState: true,
        actual: () => (device.live.has(name) ? 'on' : 'off'),
        stick: () => void (device.stuck = true),
        disconnect: () => device.unplug(),
        dispose: async () => {
          await connector[Symbol.asyncDispose]();
          await device.unplug();
        },
      };
    },
  });

  const failing = (prepare: (device: HttpDevice) => void, how: Failing = {}): Promise<unknown> =>
    failureOf(entry, prepare, how);

  it('tells a refused password, and never what it was', async () => {
    for (const act of [(o: PowerOutlet) => o.on(), (o: PowerOutlet) => o.state()]) {
      const error = await failing(() => {}, { secret: 'guessed-wrong', act });
      expect(error).toMatchObject({ code: 'authentication-failed', retryable: false });
    }
  });

  it.each<[Fault, string, boolean]>([
    ['silent', 'connection-failed', true],
    ['cut', 'connection-failed', true],
    ['endless', 'power-failed', false],
    ['no-http', 'power-failed', true],
    ['redirect', 'power-failed', false],
    ['busy', 'power-failed', true],
  ])('a device whose answers are %s has not switched, as %s', async (fault, code, retryable) => {
    for (const act of [(o: PowerOutlet) => o.on(), (o: PowerOutlet) => o.state()]) {
      const error = await failing((device) => (device.fault = fault), { act });
      expect(error).toMatchObject({ code, retryable, details: { device: 'dev', outlet: name } });
      expect((error as Error).message).toContain(`outlet ${name} of dev`);
    }
  });

  it('a page instead of data is a failure, not a state', async () => {
    const error = await failing((device) => (device.fault = 'garbage'), { act: (o) => o.state() });
    expect(isBringupError(error, 'power-failed')).toBe(entry.name !== 'generic http');
  });

  it('a command whose answer is lost has worked when the outlet reads back so, and only then', async () => {
    expect(await failing((device) => (device.faultOfCommands = 'cut'))).toBe('success');
    const stuck = await failing((device) => {
      device.faultOfCommands = 'cut';
      device.stuck = true;
    });
    expect(stuck).toMatchObject({ code: 'connection-failed', retryable: true });
  });
});

// Two of them have no list of their outlets to be missing from.
it.each(cases.filter(({ missing }) => missing !== undefined))(
  '$name says so when it has no such outlet, as a fault of the configuration',
  async (entry) => {
    for (const act of [(o: PowerOutlet) => o.on(), (o: PowerOutlet) => o.state()]) {
      const error = await failureOf(entry, () => {}, { outlet: entry.missing ?? '', act });
      expect(error).toMatchObject({ code: 'invalid-input' });
    }
  },
);

const requests = {
  on: { method: 'PUT', path: '/sockets/3', body: 'closed' },
  off: { method: 'PUT', path: '/sockets/3' },
} as const;

describe.each([
  {
    name: 'pdudaemon',
    device: () => new fake.PdudaemonServer(),
    driver: (host: string) => pdudaemon({ host, hostname: 'rack' }),
  },
  {
    name: 'generic http that does not say how to ask',
    device: () => new fake.PlainDevice(),
    driver: (host: string) => httpPower({ host, ...requests }),
  },
])('$name', ({ name, device: make, driver }) => {
  powerContract({
    name,
    setup: async () => {
      const device = await make().start();
      const connector = pdu({ devices: { dev: driver(device.host) }, clock: hastyClock });
      return {
        outlet: await connector.open({ method: 'network_pdu', pduAddress: 'dev', pduOutlet: '3' }),
        tellsState: false,
        actual: () => (device.live.has('3') ? 'on' : 'off'),
        stick: () => void (device.stuck = true),
        disconnect: () => device.unplug(),
        dispose: async () => {
          await connector[Symbol.asyncDispose]();
          await device.unplug();
        },
      };
    },
  });
});

describe('quirks of devices', () => {
  it('a Tasmota with several relays numbers them', async () => {
    await using device = await Object.assign(new fake.TasmotaDevice(), { relays: 4 }).start();
    await using connector = pdu({ devices: { t: tasmota({ host: device.host }) } });
    const outlet = await connector.open({ method: 'network_pdu', pduAddress: 't', pduOutlet: '3' });
    await outlet.on();
    expect([...device.live]).toEqual(['3']);
  });

  it('a BMC that can’t be switched off hard says what it offers', async () => {
    await using device = await Object.assign(new fake.RedfishDevice(), { allowed: ['On', 'GracefulShutdown'] }).start();
    device.live.add('1');
    await using connector = pdu({ devices: { bmc: redfish({ host: device.host, https: false }) } });
    const outlet = await connector.open({ method: 'network_pdu', pduAddress: 'bmc', pduOutlet: '1' });
    await expect(outlet.off()).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('GracefulShutdown') as string,
    });
  });

  it('a token goes along as a header, and into no error', async () => {
    await using device = await new fake.PlainDevice().start();
    const driver = httpPower({
      host: device.host,
      on: { path: '/nowhere/{outlet}' },
      off: { path: '/nowhere/{outlet}' },
      headers: { authorization: new Secret('Bearer t0ken') },
    });
    await using connector = pdu({ devices: { d: driver } });
    const outlet = await connector.open({ method: 'network_pdu', pduAddress: 'd', pduOutlet: 'a' });
    const error: unknown = await outlet.on().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'power-failed', details: { status: 404 } });
    expect(inspect(error, { depth: 10 })).not.toContain('t0ken');
    expect(await outlet.state()).toBe('unknown');
  });
});
