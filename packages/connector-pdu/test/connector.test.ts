import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { localShell, Secret, type BringupError, type PowerControlConfig } from '@bringup/core';
import { describe, expect, it } from 'vitest';
import * as drivers from '../src/index.ts';
import { splitHost } from '../src/options.ts';

const { apc, commandPower, eaton, gpio, gude, httpPower, ipmi, netio, pdu, pdudaemon, poeSwitch } = drivers;
const { raritan, redfish, serverTechnology, shellyGen2, snmpPdu, tasmota, uhubctl, usbRelay } = drivers;

const shell = localShell();
const community = new Secret('private');
const snmp = { version: 'v2c', community } as const;
const host = 'pdu.lab';

/** Paths of what is wrong. */
function issues(error: unknown): string[] {
  return ((error as BringupError).details['issues'] as { path: string }[]).map(({ path }) => path);
}

function wrong(make: () => unknown): string[] {
  try {
    make();
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid-input' });
    return issues(error);
  }
  return expect.fail('it is taken');
}

describe('options', () => {
  it.each<[string, () => unknown, string[]]>([
    ['a host that is none', () => netio({ host: 'http://pdu.lab/' }), ['host']],
    ['a port that is none', () => netio({ host: 'pdu.lab:99999' }), ['host']],
    ['a password in clear', () => netio({ host, password: 'sesame' as never }), ['password']],
    ['two at once', () => gude({ host: '', username: '' }), ['host', 'username']],
    ['what there is not', () => tasmota({ host, pasword: 'x' } as never), ['pasword']],
    ['a fingerprint that is none', () => redfish({ host, https: { fingerprint: 'AB:CD' } }), ['https.fingerprint']],
    ['an unknown version of SNMP', () => apc({ host, snmp: { version: 'v4' } as never }), ['snmp.version']],
    ['a community in clear', () => apc({ host, snmp: { version: 'v1', community: 'x' as never } }), ['snmp.community']],
    ['an unknown family', () => apc({ host, snmp, family: 'x' as never }), ['family']],
    [
      'a short passphrase',
      () => eaton({ host, snmp: { version: 'v3', username: 'u', authPassword: new Secret('short') } }),
      ['snmp.authPassword'],
    ],
    ['a unit that is none', () => raritan({ host, snmp, unit: 0 }), ['unit']],
    [
      'an object without a place for the outlet',
      () =>
        snmpPdu({ host, snmp, control: { oid: '1.3', on: 1, off: 2 }, status: { oid: '1.{outlet}', on: 1, off: 0.5 } }),
      ['control.oid', 'status.off'],
    ],
    ['no shell', () => uhubctl({ shell: {} as never }), ['shell']],
    ['a target without an account', () => usbRelay({ shell, target: { hostname: 'x' } as never }), ['target']],
    ['no command', () => commandPower({ shell, on: [], off: ['x'] }), ['on']],
    ['a path that is none', () => httpPower({ host, on: { path: 'x' }, off: { path: '/x' } }), ['on.path']],
    [
      'a pattern that is text',
      () =>
        httpPower({ host, on: { path: '/' }, off: { path: '/' }, state: { path: '/', on: 'x' as never, off: /y/ } }),
      ['state.on'],
    ],
    ['a version that is none', () => gpio({ shell, libgpiod: 3 as never }), ['libgpiod']],
    ['no account', () => ipmi({ shell, host, username: '', password: community }), ['username']],
    ['no name', () => pdudaemon({ host, hostname: '' }), ['hostname']],
    ['no driver', () => pdu({ devices: { x: {} as never } }), ['devices.x']],
    ['a name that can’t be told from a port', () => pdu({ devices: { 'a/b': netio({ host }) } }), ['devices.a/b']],
    ['no time', () => pdu({ devices: {}, settleMs: 0 }), ['settleMs']],
  ])('%s: an issue for the field', (_, make, paths) => {
    expect(wrong(make)).toEqual(paths);
  });

  it('no secret is in what is said of them', () => {
    const clear = 'pass-in-clear';
    for (const make of [
      () => netio({ host, password: clear as never }),
      () => apc({ host, snmp: { version: 'v1', community: clear as never } }),
      () => shellyGen2({ host, [clear]: clear } as never),
    ]) {
      let said = '';
      try {
        make();
      } catch (error) {
        said =
          (error as BringupError).details['issues'] === undefined
            ? ''
            : JSON.stringify((error as BringupError).message);
      }
      expect(said).not.toBe('');
      expect(said.replace(`${clear}: there is no such option`, '')).not.toContain(clear);
    }
  });
});

describe('a host', () => {
  it.each([
    ['pdu.lab', 'pdu.lab', 80],
    ['pdu.lab:8080', 'pdu.lab', 8080],
    ['10.0.0.5:1', '10.0.0.5', 1],
    ['::1', '::1', 80],
    ['fd00::5:161', 'fd00::5:161', 80],
    ['[fd00::5]:161', 'fd00::5', 161],
  ])('%s is %s and port %i', (text, host, port) => {
    expect(splitHost(text, 80)).toEqual({ host, port });
  });

  it.each(['', 'a b', 'pdu.lab:', 'pdu.lab:0', 'pdu.lab:65536', 'user@pdu.lab', 'pdu.lab/x', '[::1', 'a:b:c:d!'])(
    '%j is none',
    (text) => {
      expect(splitHost(text, 80)).toBeUndefined();
    },
  );
});

it('SNMP’s library is not loaded before something is asked over SNMP', async () => {
  const script = `import Module from 'node:module';
    const { apc } = await import('@bringup/connector-pdu');
    const { Secret } = await import('@bringup/core');
    apc({ host: 'pdu.lab', snmp: { version: 'v2c', community: new Secret('x') } });
    console.log(Object.keys(Module._cache).filter((file) => file.includes('net-snmp')).length);`;
  const flags = ['--conditions=bringup-source', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e'];
  const cwd = new URL('.', import.meta.url);
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, script], { cwd });
  expect(stdout.trim()).toBe('0');
});

describe('finding an outlet', () => {
  const connector = pdu({
    devices: {
      rack: apc({ host, snmp }),
      sentry: serverTechnology({ host, snmp }),
      switch: poeSwitch({ host, snmp }),
      hub1: uhubctl({ shell }),
      hub2: uhubctl({ shell }),
      relays: gpio({ shell }),
    },
  });

  it('R18.1: serves the methods of its devices', () => {
    expect(connector.methods).toEqual(['network_pdu', 'usb_hub', 'gpio_relay']);
  });

  it.each<PowerControlConfig>([
    { method: 'network_pdu', pduAddress: 'rack', pduOutlet: '4' },
    { method: 'network_pdu', pduAddress: 'sentry', pduOutlet: '1.2.5' },
    { method: 'network_pdu', pduAddress: 'switch', pduOutlet: '2.48' },
    { method: 'usb_hub', usbHubPort: 'hub2/1-1.4:2' },
    { method: 'gpio_relay', gpioPin: 'gpiochip0:17' },
    { method: 'gpio_relay', relayAddress: 'relays', gpioPin: 'gpiochip0:17' },
  ])('R18.1: opens what a board names: %j', async (config) => {
    await using outlet = await connector.open(config);
    expect(outlet).toHaveProperty('on');
  });

  it.each<[string, PowerControlConfig, string]>([
    ['names nothing', { method: 'network_pdu', pduAddress: 'rack' }, 'pduOutlet'],
    ['names no device', { method: 'network_pdu', pduOutlet: '4' }, 'pduAddress'],
    ['names an unknown device', { method: 'network_pdu', pduAddress: 'attic', pduOutlet: '4' }, 'pduAddress'],
    ['names a device of another kind', { method: 'network_pdu', pduAddress: 'hub1', pduOutlet: '4' }, 'pduAddress'],
    ['names an outlet that can’t be', { method: 'network_pdu', pduAddress: 'rack', pduOutlet: 'four' }, 'pduOutlet'],
    ['names an outlet out of range', { method: 'network_pdu', pduAddress: 'rack', pduOutlet: '0' }, 'pduOutlet'],
    ['leaves open which hub', { method: 'usb_hub', usbHubPort: '1-1.4:2' }, 'usbHubPort'],
    ['names a port without its hub', { method: 'usb_hub', usbHubPort: 'hub1/2' }, 'usbHubPort'],
    ['is switched by hand', { method: 'manual' }, 'method'],
  ])('a board that %s is told which field', async (_, config, field) => {
    const error: unknown = await connector.open(config).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'invalid-input' });
    expect(issues(error)).toEqual([`powerControl.${field}`]);
  });

  it('an unknown device is answered with those that are known', async () => {
    await expect(connector.open({ method: 'network_pdu', pduAddress: 'attic', pduOutlet: '4' })).rejects.toThrow(
      "there is no device 'attic'; the connector 'pdu' has rack, sentry, switch",
    );
  });
});
